"""Mixtures of normal densities on one interval, which linear velocities keep."""

import numpy as np

from gridflow.exact.base import Exact
from gridflow.problem import Problem
from gridflow.space.densities import Normal
from gridflow.space.factor import Array, Factor


def normals(exact: Exact, problem: Problem, mobility: bool = False) -> list[tuple[float, Normal]]:
    """Weights (sum 1) and normal components of the initial density of a problem on one interval. Raises InputError."""
    exact.require(mobility or problem.flow.mobility == {})
    exact.require(len(problem.grid.factors) == 1 and problem.grid.factors[0].walls is not None)
    total = sum(c.weight for c in problem.initial)
    found = [(c.weight / total, d) for c in problem.initial for d in c.density.values() if isinstance(d, Normal)]
    exact.require(len(found) == len(problem.initial))
    return found


def normal_masses(components: list[tuple[float, Normal]], factor: Factor) -> Array:
    """Cell masses of a mixture."""
    return np.sum([weight * normal.between(factor.edges) for weight, normal in components], axis=0)


def affine(
    components: list[tuple[float, Normal]], scale: float, shift: float, variance: float = 0.0
) -> list[tuple[float, Normal]]:
    """Push a mixture forward by x ↦ scale·x + shift, then convolve it with N(0, variance)."""
    return [(w, Normal(scale * n.mean + shift, float(np.hypot(scale * n.deviation, np.sqrt(variance))))) for w, n in components]


def first_moment(components: list[tuple[float, Normal]]) -> float:
    """m₁ of a mixture."""
    return sum(w * n.mean for w, n in components)


def second_moment(components: list[tuple[float, Normal]]) -> float:
    """m₂ of a mixture."""
    return sum(w * (n.mean**2 + n.deviation**2) for w, n in components)
