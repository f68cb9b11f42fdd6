"""−|x − y| in R^d as a mean of its values along directions, each of them a sum by sorting: O(n_directions·n log n).

For a unit vector ω, uniform on the sphere,

    |x| = c_d E|ω·x|,    c_d = √π Γ((d + 1)/2)/Γ(d/2),

so that s(x) = −Σ_j w_j|x − y_j| is c_d times the mean of the sums of −|ω·x − ω·y_j| on a line (Hertrich, Wald, Altekrüger and
Hagemann 2024, ICLR). The gradient is that of the mean itself. With P random directions both are unbiased, and

    E(s_P − s)²  ≤ (c_d²/d − 1)/P · (Σ_j |w_j||x − y_j|)²        c_d²/d − 1 = 1/3 in space, below π/2 − 1 in any dimension
    E|g_P − g|² ≤ (c_d² − 1)/P · (Σ_j |w_j|)²                    c_d² − 1 = 3 in space

with equality for one source. In the plane directions are equally spaced, turned by a random angle: with a = π/(2P) the relative
error of |x| is at most a²/2, that of its gradient a.
"""

from functools import reduce
from itertools import pairwise
from math import gamma, pi, sqrt

import numpy as np

from gridflow.space.factor import Array
from gridflow.sums.pairs import Sums
from gridflow.sums.sorting import distance_sums_sorted
from gridflow.threads import share_out

GROUPS = 8
"""Directions are added in so many groups, whatever threads there are: bits do not depend on them."""


def slice_factor(dim: int) -> float:
    """c_d."""
    return sqrt(pi) * gamma((dim + 1) / 2) / gamma(dim / 2)


def slice_errors(dim: int, count: int) -> tuple[float, float]:
    """Bounds of the errors in the mean square of s and of g, in units of Σ|w||x − y| and of Σ|w|, for random directions."""
    factor = slice_factor(dim)
    return sqrt((factor**2 / dim - 1) / count), sqrt((factor**2 - 1) / count)


def slice_directions(dim: int, count: int, seed: int) -> Array:
    """(count, dim) unit vectors."""
    random = np.random.default_rng(seed)
    if dim == 2:  # opposite directions count as one
        angles = pi / count * (np.arange(count) + random.random())
        return np.stack([np.cos(angles), np.sin(angles)], axis=1)
    normal = random.standard_normal((count, dim))
    return normal / np.linalg.norm(normal, axis=1, keepdims=True)


def distance_sums_sliced(points: Array, sources: Array, weights: Array, directions: Array) -> Sums:
    """(s, g) for −|x − y|, points (n_points, n_dim), sources (n_sources, n_dim), directions (n_directions, n_dim)."""
    count, dim = directions.shape
    ends = [count * k // min(GROUPS, count) for k in range(min(GROUPS, count) + 1)]
    groups = [directions[a:b] for a, b in pairwise(ends)]
    found: list[Sums] = [(np.zeros(0), np.zeros((0, 0)))] * len(groups)

    def work(first: int, last: int) -> None:
        for k in range(first, last):
            found[k] = sums_along(points, sources, weights, groups[k])

    share_out(work, len(groups))
    scale = slice_factor(dim) / count
    return scale * reduce(np.add, [s for s, _ in found]), scale * reduce(np.add, [g for _, g in found])


def sums_along(points: Array, sources: Array, weights: Array, directions: Array) -> Sums:
    """The sum over some directions."""
    values, gradient = np.zeros(len(points)), np.zeros(points.shape)
    for direction in directions:
        places = (sources @ direction)[:, None]
        shadows = places if points is sources else (points @ direction)[:, None]
        value, slope = distance_sums_sorted(shadows, places, weights)
        values += value
        gradient += slope * direction
    return values, gradient
