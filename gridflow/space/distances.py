"""Distances between probability measures: densities on a grid, particle clouds, or one of each.

In one dimension the Wasserstein distances are exact: a measure is its quantile function, linear over every cell of a density
(uniform inside its cells) and constant over every particle. On a line

    W_p^p = ∫₀¹ |Q(s) − R(s)|^p ds,

on a circle the same with R(s − α), continued by R(s + 1) = R(s) + length, at the best α: the integral is a convex function of α
(Delon, Salomon and Sobolevski 2010). In the full space measures are projected on directions (`Slices`). All distances
are in units of the coordinates, or dimensionless.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from math import gamma, pi, sqrt

import numpy as np

from gridflow.compiled import kernel
from gridflow.space.factor import Array, Factor, block, columns_of
from gridflow.space.grid import Grid

GOLDEN = (sqrt(5) - 1) / 2
SEARCH_STEPS = 72
"""Golden-section steps for α in [−1, 1]: 2·0.618⁷² = 2e−15 of a turn."""
N_DIRECTIONS = 32
N_BINS = 1024
"""Directions and bins of sliced distances; both sides of a distance use the same ones."""


# ------------------------------------------------------------------------------------------------------ one dimension
@dataclass(frozen=True, eq=False)
class Quantiles:
    """A measure on a line or a circle by its quantile function, linear from `left` to `right` over each piece.

    levels : (n_pieces + 1,) from 0 to 1, not decreasing; left, right : (n_pieces,) positions; length : of a circle, 0 on a line
    """

    levels: Array
    left: Array
    right: Array
    length: float


def quantiles_of_cells(masses: Array, factor: Factor) -> Quantiles:
    """Cell masses (n_cells,) of a density that is uniform inside each cell."""
    return Quantiles(unit_levels(masses), factor.edges[:-1], factor.edges[1:], factor.period)


def quantiles_of_points(x: Array, weights: Array, factor: Factor) -> Quantiles:
    """Weighted points on a factor, (n_points,) each."""
    order = np.argsort(x, kind="stable")
    return Quantiles(unit_levels(weights[order]), x[order], x[order], factor.period)


def unit_levels(masses: Array) -> Array:
    """Sums of masses from 0 to 1 exactly, (n_pieces + 1,): both quantile functions are walked to the same end."""
    levels = np.concatenate([[0.0], np.cumsum(masses)])
    levels /= levels[-1]
    levels[-1] = 1.0
    return levels


def wasserstein(one: Quantiles, two: Quantiles, power: int) -> float:
    """W_1 or W_2 (power 1 or 2) of two measures on the same line or circle."""

    def cost(shift: float) -> float:
        turns = np.floor(-shift)
        level = -shift - turns
        piece = min(max(int(np.searchsorted(two.levels, level, "right")) - 1, 0), two.left.size - 1)
        start = (piece, level, turns)
        return transport(one.levels, one.left, one.right, two.levels, two.left, two.right, one.length, power, start)

    return max(least_of_convex(cost) if one.length > 0 else cost(0.0), 0.0) ** (1 / power)


def least_of_convex(cost: Callable[[float], float]) -> float:
    """Minimum of a convex function on [−1, 1], by golden sections."""
    lower, upper = -1.0, 1.0
    a, b = upper - GOLDEN * (upper - lower), lower + GOLDEN * (upper - lower)
    cost_a, cost_b = cost(a), cost(b)
    for _ in range(SEARCH_STEPS):
        if cost_a <= cost_b:
            upper, b, cost_b = b, a, cost_a
            a = upper - GOLDEN * (upper - lower)
            cost_a = cost(a)
        else:
            lower, a, cost_a = a, b, cost_b
            b = lower + GOLDEN * (upper - lower)
            cost_b = cost(b)
    return min(cost_a, cost_b)


def wasserstein1(masses: Array, other: Array, factor: Factor) -> float:
    """W1 between two densities given by their cell masses on one factor, (n_cells,) each."""
    return wasserstein(quantiles_of_cells(masses, factor), quantiles_of_cells(other, factor), 1)


SMALLEST = 1e-290
"""Masses below it do not count: the slope of a quantile function over a subnormal one is no number."""


@kernel(nogil=True)
def transport(levels1, left1, right1, levels2, left2, right2, length, power, start):
    """∫₀¹ |Q₁(s) − Q₂(s − shift)|^power ds, walking along both quantile functions at once.

    start : piece of Q₂ that holds −shift, the rest of −shift after its whole turns, and these
    """
    j, level2, turns = start
    i, level1, total = 0, 0.0, 0.0
    while i < left1.size:
        width1, width2 = levels1[i + 1] - levels1[i], levels2[j + 1] - levels2[j]
        step = min(levels1[i + 1] - level1, levels2[j + 1] - level2)
        if step > SMALLEST:
            slope1, slope2 = (right1[i] - left1[i]) / width1, (right2[j] - left2[j]) / width2
            first = left1[i] + slope1 * (level1 - levels1[i]) - (left2[j] + slope2 * (level2 - levels2[j]) + turns * length)
            last = first + (slope1 - slope2) * step
            if power == 2:
                total += step * (first * first + first * last + last * last) / 3.0
            elif first * last >= 0.0:
                total += step * 0.5 * abs(first + last)
            else:  # |linear function| with a zero inside
                total += step * 0.5 * (first * first + last * last) / (abs(first) + abs(last))
        if levels1[i + 1] - level1 <= levels2[j + 1] - level2:
            level2 += max(step, 0.0)
            i += 1
            level1 = levels1[i]
        else:
            level1 += max(step, 0.0)
            j += 1
            if j == left2.size:
                j = 0
                turns += 1.0
            level2 = levels2[j]
    return total


# ---------------------------------------------------------------------------------------------------- the full space
@dataclass(frozen=True, eq=False)
class Slices:
    """Distribution functions F_ω of measures on a product of factors, projected on directions ω.

    The space is embedded (`Factor.length_image`): lines and labels by their coordinate, circles as round circles of their length,
    surfaces as the unit sphere that they are isometric to. With means over directions, and distribution functions at the ends of
    fine bins,

        sliced W1 = mean_ω ∫|F_ω − G_ω| dx,    energy distance² = 2E|X−Y| − E|X−X'| − E|Y−Y'| = 2c_d mean_ω ∫(F_ω − G_ω)² dx,

    c_d = √π Γ((d+1)/2)/Γ(d/2), because |x| is c_d times the mean of |ω·x| (Rabin et al. 2011; Székely and Rizzo 2013).
    """

    factors: tuple[Factor, ...]

    @cached_property
    def directions(self) -> Array:
        """(n_directions, n_dim) unit vectors, spread evenly over half a sphere (opposite directions give the same distances)."""
        dim = sum(f.components for f in self.factors)
        if dim == 1:
            return np.ones((1, 1))
        steps = (np.arange(N_DIRECTIONS) + 0.5) / N_DIRECTIONS
        if dim == 2:
            return np.stack([np.cos(pi * steps), np.sin(pi * steps)], axis=1)
        if dim == 3:  # a Fibonacci lattice: equal areas, golden angle
            turn, radius = 2 * pi * GOLDEN * np.arange(N_DIRECTIONS), np.sqrt(1 - steps**2)
            return np.stack([radius * np.cos(turn), radius * np.sin(turn), steps], axis=1)
        normal = np.random.default_rng(0).standard_normal((N_DIRECTIONS, dim))
        return normal / np.linalg.norm(normal, axis=1)[:, None]

    @cached_property
    def edges(self) -> Array:
        """(n_bins + 1,) ends of the bins: the range of all projections, the same for every direction."""
        reach = sqrt(sum(f.reach**2 for f in self.factors)) * (1 + 1e-9)
        return np.linspace(-reach, reach, N_BINS + 1)

    def of_points(self, points: Array, weights: Array) -> Array:
        """Distribution functions of weighted points (n_points, n_columns), ending at 1: (n_directions, n_bins + 1)."""
        embedded = np.hstack(
            [f.length_image(block(points, c)) for f, c in zip(self.factors, columns_of(self.factors), strict=True)]
        )
        edges, width = self.edges, self.edges[1] - self.edges[0]
        result = np.zeros((len(self.directions), edges.size))
        for row, direction in enumerate(self.directions):
            bins = np.minimum(((embedded @ direction - edges[0]) / width).astype(np.int64), N_BINS - 1)
            result[row, 1:] = np.cumsum(np.bincount(bins, weights, N_BINS))
        return result / weights.sum()

    def of_grid(self, grid: Grid, masses: Array) -> Array:
        """The same for cell masses on any grid of this space; a cell casts a uniform shadow of the right mean and variance."""
        result = np.zeros((len(self.directions), self.edges.size))
        starts = np.cumsum([f.components for f in self.factors])[:-1]
        for row, direction in enumerate(self.directions):
            parts = {f.name: part for f, part in zip(self.factors, np.split(direction, starts), strict=True)}
            centre, square = np.zeros(grid.shape), np.zeros(grid.shape)
            for k, factor in enumerate(grid.factors):
                middles, widths_squared = factor.shadow(parts[factor.name])
                centre += grid.along(k, middles)
                square += grid.along(k, widths_squared)
            shadows(centre.ravel(), np.sqrt(square).ravel(), masses.ravel(), self.edges, result[row])
        return result / masses.sum()

    def sliced_wasserstein1(self, one: Array, two: Array) -> float:
        """Mean over directions of W1 between the projections."""
        return float(np.abs(one - two).sum() * (self.edges[1] - self.edges[0]) / len(self.directions))

    def energy_distance(self, one: Array, two: Array) -> float:
        """The root of the energy distance: a norm of the difference of the measures."""
        dim = self.directions.shape[1]
        constant = 2 * sqrt(pi) * gamma((dim + 1) / 2) / gamma(dim / 2)
        return sqrt(constant * float(((one - two) ** 2).sum()) * (self.edges[1] - self.edges[0]) / len(self.directions))


@kernel(nogil=True)
def shadows(centres, widths, masses, edges, distribution):
    """Add the distribution functions of uniform densities [centre ± width/2] at the bin ends, (n_bins + 1,)."""
    lower, bin_width, last = edges[0], edges[1] - edges[0], edges.size - 1
    jumps = np.zeros(edges.size)  # mass that is complete from this bin end on
    for i in range(centres.size):
        if masses[i] == 0.0:
            continue
        left, right = centres[i] - 0.5 * widths[i], centres[i] + 0.5 * widths[i]
        first = max(0, min(int(np.ceil((left - lower) / bin_width)), last))
        complete = max(0, min(int(np.ceil((right - lower) / bin_width)), last))
        for k in range(first, complete):
            distribution[k] += masses[i] * (edges[k] - left) / (right - left)
        jumps[complete] += masses[i]
    total = 0.0
    for k in range(edges.size):
        total += jumps[k]
        distribution[k] += total
