"""Sums over pairs on a line by sorting, in O(n log n): exact for −|x − y| and for exp(−|x − y|/bandwidth).

Where points coincide the gradient is 0, as in the sums over all pairs.
"""

import numpy as np

from gridflow.space.factor import Array
from gridflow.sums.elementary import compiled
from gridflow.sums.pairs import Sums


def distance_sums_sorted(points: Array, sources: Array, weights: Array) -> Sums:
    """(s, g) for −|x − y|, points (n_points, 1), sources (n_sources, 1): sums over those on the left and on the right."""
    source_order = np.argsort(sources[:, 0])
    order = source_order if points is sources else np.argsort(points[:, 0])
    values, gradient = np.empty(len(points)), np.empty(points.shape)
    scan(values, gradient[:, 0], points[:, 0], order, sources[:, 0], source_order, weights)
    return values, gradient


@compiled
def scan(values, gradient, points, order, sources, source_order, weights):
    """From left to right through points and sources at once, with sums over sources before a point, and up to it."""
    n = sources.size
    size, middle = 0.0, 0.0
    for j in range(n):
        size += abs(weights[j])
        middle += abs(weights[j]) * sources[j]
    middle = middle / size if size > 0.0 else 0.0  # moments about the mean cancel less
    total, moment = 0.0, 0.0
    for j in range(n):
        total += weights[j]
        moment += weights[j] * (sources[j] - middle)
    before, through, moment_before, moment_through = 0.0, 0.0, 0.0, 0.0
    first, last = 0, 0
    for i in order:
        x = points[i]
        while first < n and sources[source_order[first]] < x:
            j = source_order[first]
            before += weights[j]
            moment_before += weights[j] * (sources[j] - middle)
            first += 1
        while last < n and sources[source_order[last]] <= x:
            j = source_order[last]
            through += weights[j]
            moment_through += weights[j] * (sources[j] - middle)
            last += 1
        gradient[i] = total - through - before
        values[i] = (x - middle) * gradient[i] + moment_before + moment_through - moment


def laplace_sums_sorted(points: Array, sources: Array, weights: Array, rate: float) -> Sums:
    """(s, g) for exp(−rate·|x − y|), points (n_points, 1), sources (n_sources, 1).

    The sum over all places on the left of a place is that of its neighbour, and the neighbour's own mass, decayed by the
    distance; likewise on the right. No terms of opposite signs are added that all pairs would not add.
    """
    place, inverse = np.unique(sources[:, 0], return_inverse=True)
    mass = np.bincount(inverse, weights)
    decay = np.exp(-rate * np.diff(place))
    left, right = both_sides(mass, decay)
    x = points[:, 0]
    first, last = np.searchsorted(place, x, side="left"), np.searchsorted(place, x, side="right")
    before, after = np.maximum(first - 1, 0), np.minimum(last, place.size - 1)
    on_left = np.where(first > 0, left[before] * np.exp(-rate * np.abs(x - place[before])), 0.0)
    on_right = np.where(last < place.size, right[after] * np.exp(-rate * np.abs(place[after] - x)), 0.0)
    here = np.where(last > first, mass[np.minimum(first, place.size - 1)], 0.0)
    return on_left + here + on_right, rate * (on_right - on_left)[:, None]


@compiled
def both_sides(mass, decay):
    """Sums over each place and all on its left, and over each and all on its right, decayed by their distance."""
    n = mass.size
    left, right = np.empty(n), np.empty(n)
    left[0], right[n - 1] = mass[0], mass[n - 1]
    for k in range(1, n):
        left[k] = left[k - 1] * decay[k - 1] + mass[k]
    for k in range(n - 2, -1, -1):
        right[k] = right[k + 1] * decay[k] + mass[k]
    return left, right
