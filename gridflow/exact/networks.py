"""Networks of one weight with exact solutions: their velocities are linear in the weight, with coefficients that move."""

from collections.abc import Callable

import numpy as np

from gridflow.energy.network.data import Data
from gridflow.energy.network.spec import NetworkEnergy
from gridflow.exact.base import Exact, Trajectory, require_exact
from gridflow.exact.normals import affine, first_moment, normal_masses, normals, second_moment
from gridflow.problem import Problem
from gridflow.space.factor import Array


class QuadraticActivation(Exact, frozen=True, forbid_unknown_fields=True, tag="quadratic-activation", tag_field="kind"):
    """φ = (θx)², d = 1: E = (c/2)(m₂ − m₂*)², c = E x⁴; ρ is scaled by s, ṡ = −2c(m₂ − m₂*)s, ṁ₂ = −4c(m₂ − m₂*)m₂."""

    def solution(self, problem: Problem) -> Callable[[float], Array]:
        name, needs = "quadratic-activation", "one interval, normal components, a quadratic teacher and student, no temperature"
        components = normals(problem, name, needs)
        data = single_neuron_data(problem, name, needs, "quadratic")
        fourth = float(data.weights @ data.inputs[:, 0] ** 4)
        target = float(data.weights @ (data.inputs[:, 0] ** 2 * data.targets[:, 0])) / fourth  # y = m₂* x²
        require_exact(np.allclose(data.targets[:, 0], target * data.inputs[:, 0] ** 2), name, needs)

        def rate(_: float, state: Array) -> list[float]:
            pull = 2 * fourth * (state[1] - target)
            return [-pull * state[0], -2 * pull * state[1]]

        path = Trajectory(rate, [1.0, second_moment(components)])
        return lambda t: normal_masses(affine(components, path.at(t)[0], 0.0), problem.grid.factors[0])


class IdentityActivation(Exact, frozen=True, forbid_unknown_fields=True, tag="identity-activation", tag_field="kind"):
    """φ = θx, d = 1: translation, ṁ₁ = −c(m₁ − m₁*), c = E x²."""

    def solution(self, problem: Problem) -> Callable[[float], Array]:
        name, needs = "identity-activation", "one interval, normal components, an identity teacher and student, no temperature"
        components = normals(problem, name, needs)
        data = single_neuron_data(problem, name, needs, "identity")
        rate = float(data.weights @ data.inputs[:, 0] ** 2)
        target = float(data.weights @ (data.inputs[:, 0] * data.targets[:, 0])) / rate
        require_exact(np.allclose(data.targets[:, 0], target * data.inputs[:, 0]), name, needs)
        start = first_moment(components)

        def at(t: float) -> Array:
            return normal_masses(affine(components, 1.0, (target - start) * -float(np.expm1(-rate * t))), problem.grid.factors[0])

        return at


def single_neuron_data(problem: Problem, name: str, needs: str, activation: str) -> Data:
    """The data of a network of one weight per neuron, without anything beside its squared loss. Raises InputError."""
    energy = problem.energy
    require_exact(isinstance(energy, NetworkEnergy), name, needs)
    assert isinstance(energy, NetworkEnergy)
    spec, data = energy.spec, energy.data
    plain = spec.loss == "squared" and spec.decay == 0 and not spec.bias and not spec.normalization
    require_exact(plain and spec.activation == activation and problem.flow.temperature == 0, name, needs)
    require_exact(data.inputs.shape[1] == data.targets.shape[1] == 1, name, needs)
    return data


NetworkSolution = QuadraticActivation | IdentityActivation
