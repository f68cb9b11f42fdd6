"""Mixtures of normal densities on one interval, which linear velocities keep."""

import numpy as np

from gridflow.exact.base import require_exact
from gridflow.problem import Problem
from gridflow.space.densities import Normal
from gridflow.space.factor import Array, Factor


def normals(problem: Problem, name: str, needs: str, reaction: bool = False) -> list[tuple[float, Normal]]:
    """Weights (sum 1) and normal components of the initial density of a problem on one interval. Raises InputError."""
    require_exact(
        reaction or (problem.flow.mobility == {} and problem.flow.reaction.rate == 0), name, needs + ", no mobility, no reaction"
    )
    require_exact(len(problem.grid.factors) == 1 and problem.grid.factors[0].walls is not None, name, needs)
    densities = [(c.weight, *c.density.values()) for c in problem.initial]
    require_exact(all(len(d) == 2 and isinstance(d[1], Normal) for d in densities), name, needs)
    total = sum(c.weight for c in problem.initial)
    return [(c.weight / total, d) for c in problem.initial for d in c.density.values() if isinstance(d, Normal)]


def normal_masses(components: list[tuple[float, Normal]], factor: Factor) -> Array:
    return np.sum([weight * normal.between(factor.edges) for weight, normal in components], axis=0)


def affine(
    components: list[tuple[float, Normal]], scale: float, shift: float, variance: float = 0.0
) -> list[tuple[float, Normal]]:
    """Push a mixture forward by x ↦ scale·x + shift, then convolve it with N(0, variance)."""
    return [(w, Normal(scale * n.mean + shift, float(np.hypot(scale * n.deviation, np.sqrt(variance))))) for w, n in components]


def first_moment(components: list[tuple[float, Normal]]) -> float:
    return sum(w * n.mean for w, n in components)


def second_moment(components: list[tuple[float, Normal]]) -> float:
    return sum(w * (n.mean**2 + n.deviation**2) for w, n in components)
