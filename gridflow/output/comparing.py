"""Distances of densities and clouds by name, each from sketches that are made once per measure."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np

from gridflow.errors import InputError, require
from gridflow.space.distances import Quantiles, Slices, quantiles_of_cells, quantiles_of_points, wasserstein
from gridflow.space.factor import Array, Factor, block, columns_of, factor_index
from gridflow.space.grid import Grid

Kind = Literal["w1", "w2", "sliced", "energy"]
TITLES: dict[str, str] = {
    "w1": "Wasserstein distance W1",
    "w2": "Wasserstein distance W2",
    "sliced": "sliced W1, the mean of W1 over directions",
    "energy": "root of the energy distance",
}
SAME = 1e-9
"""Relative difference of ends and periods that counts as rounding."""


@dataclass(frozen=True)
class Metric:
    """A distance. of_cells : (grid, cell masses) ↦ sketch; of_points : (points, weights) ↦ sketch; between : two sketches.

    factors : those that are compared; whole : in the full space, so that both have all of them, with the same ends
    """

    factors: tuple[Factor, ...]
    of_cells: Callable[[Grid, Array], Any]
    of_points: Callable[[Array, Array], Any]
    between: Callable[[Any, Any], float]
    whole: bool = False


def metric_of(kind: str, along: str | None, grid: Grid) -> Metric:
    """The distance of a kind on the space of a grid. Raises InputError for a kind or a factor that there is not."""
    require(kind in get_args(Kind), f"a distance of kind {kind!r}", ", ".join(get_args(Kind)), "use one of these")
    if kind in ("w1", "w2"):
        return along_factor(1 if kind == "w1" else 2, one_axis(kind, along, grid), grid.factors)
    received = f"a distance of kind {kind!r} along {along!r}"
    require(along is None, received, "w1 or w2 along a factor", "leave out along: it is one of the full space")
    slices = Slices(grid.factors)
    between = slices.sliced_wasserstein1 if kind == "sliced" else slices.energy_distance
    return Metric(grid.factors, slices.of_grid, slices.of_points, between, whole=True)


def one_axis(kind: str, along: str | None, grid: Grid) -> int:
    """Index of the factor along which marginals are compared: the only one by default. Raises InputError."""
    names = ", ".join(f.name for f in grid.factors)
    if along is None and len(grid.factors) > 1:
        first = grid.factors[-1].name
        fix = f'for marginals add along="{first}"; for the full space use "sliced" or "energy"'
        raise InputError(f"{kind} on the product of {names}", "one factor, where it is exact", fix)
    axis = 0 if along is None else factor_index(grid.factors, along, "along")
    factor = grid.factors[axis]
    received = f"{kind} on the surface {factor.name!r}"
    require(factor.columns == 1, received, "intervals, circles and labels", 'use "sliced" or "energy"')
    return axis


def along_factor(power: int, axis: int, factors: tuple[Factor, ...]) -> Metric:
    """W_power of the marginals along one factor."""
    factor, columns = factors[axis], columns_of(factors)[axis]

    def of_points(points: Array, weights: Array) -> Quantiles:
        return quantiles_of_points(block(points, columns), weights, factor)

    def of_cells(grid: Grid, masses: Array) -> Quantiles:
        axis = factor_index(grid.factors, factor.name, "a distance")
        mine, marginal = grid.factors[axis], masses.sum(axis=tuple(k for k in range(masses.ndim) if k != axis))
        return quantiles_of_cells(marginal, mine) if mine.edges.size else quantiles_of_points(mine.points, marginal, mine)

    return Metric((factor,), of_cells, of_points, lambda one, two: wasserstein(one, two, power))


def check_same_space(metric: Metric, other: Grid) -> None:
    """Raises InputError where the factors that are compared are others than those of another grid; cells may differ."""
    known, names = {f.name: f for f in other.factors}, [f.name for f in metric.factors]
    fits = set(names) == set(known) if metric.whole else set(names) <= set(known)
    received = f"a distance along {', '.join(names)} to a density on {', '.join(known)}"
    require(fits, received, "the same factors", "compare marginals along a factor that both have: along=…")
    for factor in metric.factors:
        one, two = (ends_of(f, metric.whole) for f in (factor, known[factor.name]))
        same = one.size == two.size and bool(np.abs(one - two).max() <= SAME * np.abs(one).max())
        kinds = " and ".join(f"{f.kind} {np.round(e, 6).tolist()}" for f, e in ((factor, one), (known[factor.name], two)))
        received = f"a distance of densities on different {factor.name!r}: {kinds}"
        require(same, received, "the same period, for sliced and energy distances the same ends", "solve both on one space")


def ends_of(factor: Factor, whole: bool) -> Array:
    """Numbers that a factor shares with other grids of its space: columns and period, and ends or labels where they matter."""
    ends = [*(factor.walls or ())] if factor.moves else factor.points.tolist()
    return np.array([factor.columns, factor.period, *(ends if whole else ())])
