"""The start of the grid beside the clouds at t = 0: what grids alone cannot show.

A start that is wrong by a share of a cell on every grid looks, between two grids, like an error of first order, and the estimate
of that error allows for it. But the initial densities of a case are known exactly. Particles are drawn by their quantile
functions, cells are filled by their distribution functions, two pieces of code that share no line; and a density that is uniform
inside each cell differs from the exact one by

    W1 ≤ Σ_cells h³/12 max|ρ'| = O(h²),

which is computed here as the W1 between the cells of the grid and far smaller ones, density by density. So along every factor

    mean of W1(cloud, grid) ≤ q₀ + that error,

q₀ the largest W1 between two independent clouds, must hold for a right start: the density is the mean of the clouds and W1 is
convex, so that a cloud is, in the mean, no farther from the density than from another cloud (Jensen); without a margin, because
points of a Sobol sequence on a uniform density are exactly as far. For labels the distance is half the sum of the
differences of their masses, and cells make no error. Surfaces are left out: cell points stand for cells there.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from gridflow.space.densities import DensitySpec, Weights
from gridflow.space.distances import quantiles_of_cells, quantiles_of_points, wasserstein
from gridflow.space.factor import Array, Factor, block, columns_of
from gridflow.space.grid import Grid
from gridflow.space.mixture import Component
from gridflow.space.radial import Line

LAGS = (1, 2, 3)
"""Ensemble k is compared with k + 1, k + 2, k + 3, cyclically: nearly as much as all pairs, for less."""
REFINEMENT = 16
"""Far smaller cells: what they leave is 1/256 of the error of the cells."""
CELLS_FINE = 4096
"""Number of these cells, at least: for graded grids, whose smallest cells are small."""
ROUNDOFF_SHARE = 1e-9
"""Share of the length of a factor below which distances are round-off."""


@dataclass(frozen=True)
class Start:
    """By factor, but for surfaces: mean distance of the clouds to the start of the grid, and what is allowed."""

    names: list[str]
    distance: Array
    allowed: Array

    @property
    def outcome(self) -> list[str]:
        """pass or fail, by factor."""
        return ["pass" if d <= a else "fail" for d, a in zip(self.distance, self.allowed, strict=True)]


def cyclic_pairs(ensembles: int) -> list[tuple[int, int]]:
    """Pairs of ensembles that are compared, by lag."""
    return [(k, (k + lag) % ensembles) for lag in LAGS for k in range(ensembles)]


def marginals_of_points(factors: tuple[Factor, ...], points: Array, weights: Array) -> list[Any]:
    """Marginals of a cloud along every factor but surfaces: quantiles, or the masses of labels."""
    found: list[Any] = []
    for factor, columns in zip(factors, columns_of(factors), strict=True):
        x = block(points, columns)
        if factor.one_dimensional:
            found.append(quantiles_of_points(x, weights, factor))
        elif factor.columns == 1:
            found.append(np.array([weights[x == value].sum() for value in factor.points]) / weights.sum())
    return found


def marginal_of_cells(masses: Array, factor: Factor) -> Any:
    """Quantiles of cell masses (n_cells,) along a line or circle, the masses themselves of labels."""
    return quantiles_of_cells(masses, factor) if factor.one_dimensional else masses


def start_comparison(components: list[Component], grid: Grid, masses: Array, starts: list[list[Any]]) -> Start:
    """Distances of the cell masses in which a grid starts to clouds, given as `marginals_of_points` of every ensemble."""
    factors = [f for f in grid.factors if f.columns == 1]
    distance, allowed = np.zeros(len(factors)), np.zeros(len(factors))
    for k, factor in enumerate(factors):
        axis = grid.order.index(factor.name)
        marginal = masses.sum(axis=tuple(a for a in range(masses.ndim) if a != axis))
        mine = marginal_of_cells(marginal, factor)
        clouds = [marginals[k] for marginals in starts]
        null = [gap(clouds[i], clouds[j], factor) for i, j in cyclic_pairs(len(clouds))]
        scale = factor.total_volume if factor.one_dimensional else 1.0
        distance[k] = np.mean([gap(c, mine, factor) for c in clouds])
        allowed[k] = max(null) + error_of_cells(components, factor, grid) + ROUNDOFF_SHARE * scale
    return Start([f.name for f in factors], distance, allowed)


def gap(one: Any, two: Any, factor: Factor) -> float:
    """W1 along a line or circle; half the sum of differences between the masses of labels."""
    return wasserstein(one, two, 1) if factor.one_dimensional else float(np.abs(one - two).sum() / 2)


def error_of_cells(components: list[Component], factor: Factor, grid: Grid) -> float:
    """Bound of W1 between a mixture and its cell averages along one factor: W1 is convex."""
    total = sum(c.weight for c in components)
    return sum(c.weight / total * error_of_density(c.marginal(factor, grid.factors), factor) for c in components)


def error_of_density(density: DensitySpec | Line, factor: Factor) -> float:
    """W1 between the cells of a factor and far smaller ones, 0 for labels."""
    if isinstance(density, Weights):  # uniform inside the cells
        return 0.0
    fine = factor.refinement(max(CELLS_FINE, REFINEMENT * factor.size))
    return gap(marginal_of_cells(density.masses(factor), factor), marginal_of_cells(density.masses(fine), fine), factor)
