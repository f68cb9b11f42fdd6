"""Clouds: weighted particles in a product of factors, and how they are drawn from an initial density."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from gridflow.errors import InputError
from gridflow.space.density import Component
from gridflow.space.factor import Array, Factor, columns_of

Sampling = Literal["random", "sobol"]


@dataclass(frozen=True)
class Cloud:
    """points : (n_particles, n_columns) in the storage order of the grid, one column for each factor, three for a surface;
    weights : (n_particles,) with sum 1."""

    points: Array
    weights: Array

    @property
    def size(self) -> int:
        return len(self.weights)


def fold(points: Array, factors: tuple[Factor, ...]) -> Array:
    """All particles back into the space: mirrored at walls, wrapped on circles, retracted to surfaces; labels stay."""
    return np.hstack([on(f, points[:, c], f.fold) for f, c in zip(factors, columns_of(factors), strict=True)])


def retract(points: Array, factors: tuple[Factor, ...]) -> Array:
    """Surfaces alone, in place: lines and circles stay unfolded, and columns beyond those of the factors what they are."""
    for factor, c in zip(factors, columns_of(factors), strict=True):
        if factor.is_mesh:
            points[:, c] = factor.fold(points[:, c])
    return points


def on(factor: Factor, block: Array, function: Callable[[Array], Array]) -> Array:
    """A function of positions, (n,) or (n, 3), of a block of columns (n, 1) or (n, 3)."""
    return function(block) if factor.is_mesh else function(block[:, 0])[:, None]


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
    columns = columns_of(factors)
    starts = np.cumsum([1, *(2 if f.is_mesh else 1 for f in factors)])
    levels = unit_points(count, int(starts[-1]), seed, sampling)
    weights = np.array([c.weight for c in components])
    chosen = np.minimum(np.searchsorted(np.cumsum(weights / weights.sum()), levels[:, 0], side="right"), len(components) - 1)
    points = np.empty((count, columns[-1].stop))
    for number, component in enumerate(components):
        mine = chosen == number
        for k, factor in enumerate(factors):
            mine_levels = levels[mine, starts[k] : starts[k + 1]]
            level = mine_levels if factor.is_mesh else mine_levels[:, 0]
            points[mine, columns[k]] = component.density[factor.name].quantile(level, factor).reshape(-1, factor.columns)
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
