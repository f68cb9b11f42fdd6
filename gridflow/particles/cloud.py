"""Clouds: weighted particles in a product of factors, and how they are drawn from an initial density."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from gridflow.errors import InputError
from gridflow.space.density import Component
from gridflow.space.factor import Array, Factor

Sampling = Literal["random", "sobol"]


@dataclass(frozen=True)
class Cloud:
    """points : (n_particles, n_factors), columns in the storage order of the grid; weights : (n_particles,) with sum 1."""

    points: Array
    weights: Array

    @property
    def size(self) -> int:
        return len(self.weights)


def fold(points: Array, factors: tuple[Factor, ...]) -> Array:
    """All particles back into the space: mirrored at walls, wrapped on circles; labels stay."""
    return np.stack([f.fold(points[:, k]) for k, f in enumerate(factors)], axis=1)


def draw_cloud(
    components: list[Component], factors: tuple[Factor, ...], count: int, seed: int, sampling: Sampling = "random"
) -> Cloud:
    """N particles of equal weight from a mixture of products, independent or by a scrambled Sobol sequence.

    Both use the quantile functions of the named densities; the first coordinate of the sequence chooses the component. Seeded:
    the same seed gives the same cloud.

    Raises InputError for fewer than one particle, and for a component that comes from a file.
    """
    if count < 1:
        raise InputError(f"{count} particles", "at least 1", "ask for more particles")
    if any(not c.density for c in components):
        raise InputError("particles from an initial density in a file", "named densities", "write the density as a mixture")
    levels = unit_points(count, len(factors) + 1, seed, sampling)
    weights = np.array([c.weight for c in components])
    chosen = np.minimum(np.searchsorted(np.cumsum(weights / weights.sum()), levels[:, 0], side="right"), len(components) - 1)
    points = np.empty((count, len(factors)))
    for number, component in enumerate(components):
        mine = chosen == number
        for k, factor in enumerate(factors):
            points[mine, k] = component.density[factor.name].quantile(levels[mine, k + 1], factor)
    return Cloud(points, np.full(count, 1 / count))


def unit_points(count: int, dimension: int, seed: int, sampling: Sampling) -> Array:
    """Points in the open unit cube, (count, dimension)."""
    if sampling == "sobol":
        from scipy.stats import qmc

        engine = qmc.Sobol(dimension, seed=seed)
        points = engine.random_base2(int(np.ceil(np.log2(count))))[:count]
    else:
        points = np.random.default_rng(seed).random((count, dimension))
    tiny = np.finfo(float).tiny
    return np.clip(points, tiny, 1 - np.finfo(float).epsneg)
