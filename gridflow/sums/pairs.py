"""Sums over pairs of scattered points, compiled:

    s_i = Σ_j w_j k(x_i, y_j),    g_i = ∂s_i/∂x_i

`gaussian_sum` for k = Π_k κ(x_ik − y_jk) with κ a Gaussian, periodic along circles; `radial_sum` for any function of r = |x − y|
and `product_sum` for any of 1 + x·y in R^d; `sorted_sum` for −|x − y| in one dimension. No n_points × n_sources array is made. On
most grids the same sums are faster (`gridflow.energy.interaction.convolution`).
"""

import numpy as np

from gridflow.space.factor import Array
from gridflow.sums.elementary import compiled, exp_decaying, inlined

WINDINGS = 9.0
"""Images of a periodic Gaussian farther than so many bandwidths are below round-off, exp(−9²/2) = 3e−18."""


def gaussian_sum(points: Array, sources: Array, weights: Array, bandwidth: float, lengths: Array) -> tuple[Array, Array]:
    """(s, g): (n_points,) and (n_points, n_dim), from points (n_points, n_dim), sources (n_sources, n_dim), weights (n_sources,).

    lengths : (n_dim,) circumference of a circle, 0 for a line.
    """
    points, sources, lengths = contiguous(points, sources, lengths)
    return gaussian_sum_compiled(points, sources, weights, bandwidth, lengths)


def contiguous(*arrays: Array) -> list[Array]:
    """Copies where necessary, so that one version is compiled."""
    return [np.ascontiguousarray(a) for a in arrays]


BLOCK = 1024
"""Sources at a time: three columns and a buffer are 32 KiB."""


@compiled
def gaussian_sum_compiled(points, sources, weights, bandwidth, lengths):
    """On lines alone, row by row over blocks of sources that stay in the first-level cache; with circles, pair by pair."""
    n, m, dim = points.shape[0], sources.shape[0], points.shape[1]
    scale = 1.0 / (bandwidth * bandwidth)
    values, gradient = np.zeros(n), np.zeros((n, dim))
    if lengths.max() > 0:
        gaussian_sum_windings(values, gradient, points, sources, weights, scale, bandwidth, lengths)
        return values, gradient
    columns, terms = sources.T.copy(), np.empty(BLOCK)
    for start in range(0, m, BLOCK):
        size = min(BLOCK, m - start)
        w = weights[start : start + size]
        for i in range(n):
            x, column = points[i, 0], columns[0, start : start + size]
            for j in range(size):
                terms[j] = (x - column[j]) * (x - column[j])
            for k in range(1, dim):
                x, column = points[i, k], columns[k, start : start + size]
                for j in range(size):
                    terms[j] += (x - column[j]) * (x - column[j])
            total = 0.0
            for j in range(size):
                terms[j] = w[j] * exp_decaying(-0.5 * scale * terms[j])
                total += terms[j]
            values[i] += total
            for k in range(dim):
                x, column, total = points[i, k], columns[k, start : start + size], 0.0
                for j in range(size):
                    total += terms[j] * (x - column[j])
                gradient[i, k] -= scale * total
    return values, gradient


@compiled
def gaussian_sum_windings(values, gradient, points, sources, weights, scale, bandwidth, lengths):
    """Pair by pair over the windings of circles, added to `values` and `gradient`."""
    dim = points.shape[1]
    slopes = np.zeros(dim)
    for i in range(points.shape[0]):
        for j in range(sources.shape[0]):
            term = weights[j]
            for k in range(dim):
                difference = points[i, k] - sources[j, k]
                turns = int(np.ceil(WINDINGS * bandwidth / lengths[k])) + 1 if lengths[k] > 0 else 0
                value, slope = 0.0, 0.0
                for turn in range(-turns, turns + 1):
                    d = difference + turn * lengths[k]
                    image = np.exp(-0.5 * scale * d * d)
                    value += image
                    slope -= scale * d * image
                term *= value
                slopes[k] = slope / value if value > 0.0 else 0.0  # beyond 38 bandwidths all is 0
            values[i] += term
            for k in range(dim):
                gradient[i, k] += term * slopes[k]


@inlined
def radial_sum(kernel, points, sources, weights, parameter, with_gradient):
    """(s, g) for a function of r: `kernel(w, r², parameter)`, compiled, returns (w k, w (dk/dr)/r).

    points (n_points, n_dim), sources (n_sources, n_dim), weights (n_sources,), contiguous. Row by row over a buffer of all
    sources, in which r² is replaced by the slope; without `with_gradient` g is 0.
    """
    n, m, dim = points.shape[0], sources.shape[0], points.shape[1]
    values, gradient = np.zeros(n), np.zeros((n, dim))
    columns, terms = sources.T.copy(), np.empty(m)
    for i in range(n):
        terms[:] = 0.0
        for k in range(dim):
            x = points[i, k]
            for j in range(m):
                terms[j] += (x - columns[k, j]) * (x - columns[k, j])
        total = 0.0
        for j in range(m):
            value, terms[j] = kernel(weights[j], terms[j], parameter)
            total += value
        values[i] = total
        if with_gradient:
            for k in range(dim):
                x, total = points[i, k], 0.0
                for j in range(m):
                    total += terms[j] * (x - columns[k, j])
                gradient[i, k] = total
    return values, gradient


@inlined
def product_sum(kernel, points, sources, weights, parameter, with_gradient):
    """The same for a function of b = 1 + x·y: `kernel(w, b, parameter)` returns (w k, w dk/db)."""
    n, m, dim = points.shape[0], sources.shape[0], points.shape[1]
    values, gradient = np.zeros(n), np.zeros((n, dim))
    columns, terms = sources.T.copy(), np.empty(m)
    for i in range(n):
        terms[:] = 1.0
        for k in range(dim):
            x = points[i, k]
            for j in range(m):
                terms[j] += x * columns[k, j]
        total = 0.0
        for j in range(m):
            value, terms[j] = kernel(weights[j], terms[j], parameter)
            total += value
        values[i] = total
        if with_gradient:
            for k in range(dim):
                total = 0.0
                for j in range(m):
                    total += terms[j] * columns[k, j]
                gradient[i, k] = total
    return values, gradient


def sorted_sum(points: Array, sources: Array, weights: Array) -> tuple[Array, Array]:
    """(s, g) for −|x − y| in one dimension, points (n_points, 1): sums over those on the left and on the right, O(n log n)."""
    points, sources = points[:, 0], sources[:, 0]
    order = np.argsort(sources, kind="stable")
    place = sources[order]
    middle = place[place.size // 2]  # moments about it cancel less
    mass = np.concatenate([[0.0], np.cumsum(weights[order])])
    moment = np.concatenate([[0.0], np.cumsum(weights[order] * (place - middle))])
    first, last = np.searchsorted(place, points, side="left"), np.searchsorted(place, points, side="right")
    gradient = mass[-1] - mass[last] - mass[first]
    values = (points - middle) * gradient + moment[first] + moment[last] - moment[-1]
    return values, gradient[:, None]
