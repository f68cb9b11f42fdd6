"""Networks of one weight with exact solutions: their velocities are linear in the weight, with coefficients that move."""

from collections.abc import Callable
from typing import ClassVar

import numpy as np

from gridflow.energy.network.data import Data
from gridflow.energy.network.spec import NetworkEnergy
from gridflow.exact.base import Exact, Trajectory
from gridflow.exact.normals import affine, first_moment, normal_masses, normals, second_moment
from gridflow.problem import Problem
from gridflow.space.factor import Array


class QuadraticActivation(Exact, frozen=True, forbid_unknown_fields=True, tag="quadratic-activation", tag_field="kind"):
    """φ = (θx)², d = 1: E = (c/2)(m₂ − m₂*)², c = E x⁴; ρ is scaled by s, ṡ = −2c(m₂ − m₂*)s, ṁ₂ = −4c(m₂ − m₂*)m₂."""

    needs: ClassVar[str] = "one interval, normal components, a quadratic teacher and student; no temperature, mobility, reaction"

    def solution_of(self, problem: Problem) -> Callable[[float], Array]:
        components, data = normals(self, problem), single_neuron_data(self, problem, "quadratic")
        fourth = float(data.weights @ data.inputs[:, 0] ** 4)
        self.require(fourth > 0)
        target = float(data.weights @ (data.inputs[:, 0] ** 2 * data.targets[:, 0])) / fourth  # y = m₂* x²
        self.require(np.allclose(data.targets[:, 0], target * data.inputs[:, 0] ** 2))

        def rate(_: float, state: Array) -> list[float]:
            pull = 2 * fourth * (state[1] - target)
            return [-pull * state[0], -2 * pull * state[1]]

        path = Trajectory(rate, [1.0, second_moment(components)])
        return lambda t: normal_masses(affine(components, path.at(t)[0], 0.0), problem.grid.factors[0])


class IdentityActivation(Exact, frozen=True, forbid_unknown_fields=True, tag="identity-activation", tag_field="kind"):
    """φ = θx, d = 1: translation, ṁ₁ = −c(m₁ − m₁*), c = E x²."""

    needs: ClassVar[str] = "one interval, normal components, an identity teacher and student; no temperature, mobility, reaction"

    def solution_of(self, problem: Problem) -> Callable[[float], Array]:
        components, data = normals(self, problem), single_neuron_data(self, problem, "identity")
        rate = float(data.weights @ data.inputs[:, 0] ** 2)
        self.require(rate > 0)
        target = float(data.weights @ (data.inputs[:, 0] * data.targets[:, 0])) / rate
        self.require(np.allclose(data.targets[:, 0], target * data.inputs[:, 0]))
        start = first_moment(components)

        def at(t: float) -> Array:
            return normal_masses(affine(components, 1.0, (target - start) * -float(np.expm1(-rate * t))), problem.grid.factors[0])

        return at


def single_neuron_data(exact: Exact, problem: Problem, activation: str) -> Data:
    """The data of a network of one weight per neuron, without anything beside its squared loss. Raises InputError."""
    energy = exact.energy_of(problem, NetworkEnergy)
    spec, data = energy.spec, energy.data
    exact.require(spec.loss == "squared" and spec.decay == 0 and not spec.bias and not spec.normalization)
    exact.require(spec.activation == activation)
    exact.require(data.inputs.shape[1] == data.targets.shape[1] == 1)
    return data


NetworkSolution = QuadraticActivation | IdentityActivation
