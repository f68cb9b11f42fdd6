"""Linear Fokker–Planck equations in quadratic and linear potentials, with and without reaction."""

from collections.abc import Callable

import numpy as np

from gridflow.energy.potential import Linear, PotentialEnergy, Quadratic
from gridflow.exact.base import Exact, Trajectory, require_exact
from gridflow.exact.normals import affine, normal_masses, normals
from gridflow.problem import Problem
from gridflow.space.densities import Normal
from gridflow.space.factor import Array


class OrnsteinUhlenbeck(Exact, frozen=True, forbid_unknown_fields=True, tag="ornstein-uhlenbeck", tag_field="kind"):
    """V = k(x − c)²/2 and temperature D: means relax like e^{−kt}, variances to D/k (Uhlenbeck and Ornstein 1930)."""

    def solution(self, problem: Problem) -> Callable[[float], Array]:
        name, needs = "ornstein-uhlenbeck", "one interval, normal components and a quadratic potential"
        components = normals(problem, name, needs)
        potential = single_term(problem, name, needs)
        require_exact(isinstance(potential, Quadratic) and potential.stiffness > 0, name, needs)
        assert isinstance(potential, Quadratic)

        def at(t: float) -> Array:
            decay = float(np.exp(-potential.stiffness * t))
            variance = -problem.flow.temperature / potential.stiffness * float(np.expm1(-2 * potential.stiffness * t))
            return normal_masses(affine(components, decay, potential.centre * (1 - decay), variance), problem.grid.factors[0])

        return at


class Reacting(Exact, frozen=True, forbid_unknown_fields=True, tag="normal-reaction", tag_field="kind"):
    """Transport, temperature and reaction in V = a x²/2 + b x + c keep normal densities normal, up to their mass.

    With mobility M, for ρ = e^l N(m, s): moments of the equation with V up to order two, and Cov(x, V) = s(am + b),
    Cov((x − m)², V) = as², give

        ṁ = −(M + κs)(am + b),    ṡ = −2Mas + 2MD − κas²,    l̇ = −κ(a(s + m²)/2 + bm + c)

    for every component by itself, the equation being linear; with `conserve` the sum is divided by its mass.
    """

    def solution(self, problem: Problem) -> Callable[[float], Array]:
        name, needs = "normal-reaction", "one interval, normal components, a quadratic or linear potential"
        components = normals(problem, name, needs, reaction=True)
        a, b, c = potential_coefficients(problem, name, needs)
        mobility = float(problem.grid.mobility[0].ravel()[0])  # a number: the one factor has no other to depend on
        rate, diffusion = problem.flow.reaction.rate, mobility * problem.flow.temperature

        def speed(_: float, state: Array) -> list[float]:
            mean, variance, _ = state
            return [
                -(mobility + rate * variance) * (a * mean + b),
                -2 * mobility * a * variance + 2 * diffusion - rate * a * variance**2,
                -rate * (a * (variance + mean**2) / 2 + b * mean + c),
            ]

        paths = [Trajectory(speed, [n.mean, n.deviation**2, float(np.log(w))]) for w, n in components]

        def at(t: float) -> Array:
            result = np.zeros(problem.grid.size)
            for mean, variance, log in (path.at(t) for path in paths):
                result += np.exp(log) * Normal(mean, float(np.sqrt(variance))).between(problem.grid.factors[0].edges)
            return result / result.sum() if problem.flow.reaction.conserve else result

        return at


def single_term(problem: Problem, name: str, needs: str) -> Quadratic | Linear:
    """The one term of a potential. Raises InputError."""
    terms = list(problem.energy.terms.values()) if isinstance(problem.energy, PotentialEnergy) else []
    term = terms[0] if len(terms) == 1 else None
    require_exact(isinstance(term, Quadratic | Linear), name, needs)
    assert isinstance(term, Quadratic | Linear)
    return term


def potential_coefficients(problem: Problem, name: str, needs: str) -> tuple[float, float, float]:
    """(a, b, c) of V = a x²/2 + b x + c."""
    term = single_term(problem, name, needs)
    if isinstance(term, Quadratic):
        return term.stiffness, -term.stiffness * term.centre, term.stiffness * term.centre**2 / 2
    return 0.0, term.slope, 0.0


LinearSolution = OrnsteinUhlenbeck | Reacting
