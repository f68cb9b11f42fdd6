"""Linear Fokker–Planck equations in quadratic and linear potentials, with and without reaction."""

from collections.abc import Callable
from typing import ClassVar

import numpy as np

from gridflow.energy.potential import Linear, PotentialEnergy, Quadratic
from gridflow.exact.base import Exact, Trajectory
from gridflow.exact.normals import affine, normal_masses, normals
from gridflow.problem import Problem
from gridflow.space.densities import Normal
from gridflow.space.factor import Array


class OrnsteinUhlenbeck(Exact, frozen=True, forbid_unknown_fields=True, tag="ornstein-uhlenbeck", tag_field="kind"):
    """V = k(x − c)²/2 and temperature D: means relax like e^{−kt}, variances to D/k (Uhlenbeck and Ornstein 1930).

    What diffusion adds to a variance is v̇ = −2kv + 2D(t), v(0) = 0, for a temperature that falls too.
    """

    needs: ClassVar[str] = "one interval, normal components and a quadratic potential, no mobility or reaction"
    knows: ClassVar[frozenset[str]] = frozenset({"temperature"})
    anneals: ClassVar[bool] = True

    def solution_of(self, problem: Problem) -> Callable[[float], Array]:
        components, potential = normals(self, problem), single_term(self, problem)
        self.require(isinstance(potential, Quadratic) and potential.stiffness > 0)
        assert isinstance(potential, Quadratic)
        stiffness, flow = potential.stiffness, problem.flow
        path = Trajectory(lambda _, y: [2 * flow.temperature_at(y[1]) - 2 * stiffness * y[0], 1.0], [0.0, 0.0])

        def at(t: float) -> Array:
            decay = float(np.exp(-stiffness * t))
            constant = -flow.temperature / stiffness * float(np.expm1(-2 * stiffness * t))
            variance = float(path.at(t)[0]) if problem.annealed else constant
            return normal_masses(affine(components, decay, potential.centre * (1 - decay), variance), problem.grid.factors[0])

        return at


class Reacting(Exact, frozen=True, forbid_unknown_fields=True, tag="normal-reaction", tag_field="kind"):
    """Transport, temperature and reaction in V = a x²/2 + b x + c keep normal densities normal, up to their mass.

    With mobility M, for ρ = e^l N(m, s): moments of the equation with V up to order two, and Cov(x, V) = s(am + b),
    Cov((x − m)², V) = as², give

        ṁ = −(M + κs)(am + b),    ṡ = −2Mas + 2MD − κas²,    l̇ = −κ(a(s + m²)/2 + bm + c)

    for every component by itself, the equation being linear; with `conserve` the sum is divided by its mass. Where the reaction
    has the entropy, D(1 + log ρ) beside V, it is linear no longer, and one component stays normal:

        ṡ += κDs,    l̇ −= κD(l + ½ − ½ log 2πs)
    """

    needs: ClassVar[str] = (
        "one interval, normal components (one alone if flow.reaction.entropy), a quadratic or linear potential,"
        " no diffusion along a factor"
    )
    knows: ClassVar[frozenset[str]] = frozenset({"temperature", "reaction"})

    def solution_of(self, problem: Problem) -> Callable[[float], Array]:
        components, (a, b, c) = normals(self, problem, mobility=True), potential_coefficients(self, problem)
        mobility = float(problem.grid.mobility[0].ravel()[0])  # a number: the one factor has no other to depend on
        rate, temperature = problem.flow.reaction.rate, problem.flow.temperature
        entropic = temperature if problem.flow.reaction.entropy else 0.0
        self.require(entropic == 0 or len(components) == 1)

        def speed(_: float, state: Array) -> list[float]:
            mean, variance, log = state
            entropy = entropic * (log + 0.5 - 0.5 * float(np.log(2 * np.pi * variance)))
            return [
                -(mobility + rate * variance) * (a * mean + b),
                2 * mobility * (temperature - a * variance) - rate * variance * (a * variance - entropic),
                -rate * (a * (variance + mean**2) / 2 + b * mean + c + entropy),
            ]

        paths = [Trajectory(speed, [n.mean, n.deviation**2, float(np.log(w))]) for w, n in components]

        def at(t: float) -> Array:
            result = np.zeros(problem.grid.size)
            for mean, variance, log in (path.at(t) for path in paths):
                result += np.exp(log) * Normal(mean, float(np.sqrt(variance))).between(problem.grid.factors[0].edges)
            return result / result.sum() if problem.flow.reaction.conserve else result

        return at


def single_term(exact: Exact, problem: Problem) -> Quadratic | Linear:
    """The one term of a potential. Raises InputError."""
    energy = exact.energy_of(problem, PotentialEnergy)
    terms = list(energy.terms.values())
    exact.require(len(terms) == 1 and isinstance(terms[0], Quadratic | Linear) and not energy.parts)
    assert isinstance(terms[0], Quadratic | Linear)
    return terms[0]


def potential_coefficients(exact: Exact, problem: Problem) -> tuple[float, float, float]:
    """(a, b, c) of V = a x²/2 + b x + c."""
    term = single_term(exact, problem)
    if isinstance(term, Quadratic):
        return term.stiffness, -term.stiffness * term.centre, term.stiffness * term.centre**2 / 2
    return 0.0, term.slope, 0.0


LinearSolution = OrnsteinUhlenbeck | Reacting
