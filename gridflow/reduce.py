"""Sums over pairs of scattered points: a NumPy definition and a compiled version.

    s_i = Σ_j w_j Π_k κ(x_ik − y_jk),    g_i = ∂s_i/∂x_i

with κ a Gaussian, periodic along circles. On grids the same sums are products of small matrices (`gridflow.energy.mmd`).
"""

import numpy as np
from numba import njit

from gridflow.space.factor import Array

WINDINGS = 9.0
"""Images of a periodic Gaussian farther than so many bandwidths are below round-off, exp(−9²/2) = 3e−18."""


def gaussian_sum(points: Array, sources: Array, weights: Array, bandwidth: float, lengths: Array) -> tuple[Array, Array]:
    """(s, g): (n_points,) and (n_points, n_dim), from points (n_points, n_dim), sources (n_sources, n_dim), weights (n_sources,).

    lengths : (n_dim,) circumference of a circle, 0 for a line.
    """
    return gaussian_sum_compiled(
        np.ascontiguousarray(points), np.ascontiguousarray(sources), weights, bandwidth, np.ascontiguousarray(lengths)
    )


def gaussian_sum_numpy(points: Array, sources: Array, weights: Array, bandwidth: float, lengths: Array) -> tuple[Array, Array]:
    """The definition; O(n_points·n_sources) memory."""
    kernel = np.ones((len(points), len(sources)))
    slopes = []
    for k, length in enumerate(lengths):
        difference = points[:, None, k] - sources[None, :, k]
        turns = int(np.ceil(WINDINGS * bandwidth / length)) + 1 if length > 0 else 0
        images = [difference + turn * length for turn in range(-turns, turns + 1)]
        values = np.sum([np.exp(-(d**2) / (2 * bandwidth**2)) for d in images], axis=0)
        slopes.append(np.sum([-d / bandwidth**2 * np.exp(-(d**2) / (2 * bandwidth**2)) for d in images], axis=0) / values)
        kernel *= values
    return kernel @ weights, np.stack([(kernel * slope) @ weights for slope in slopes], axis=1)


@njit(fastmath=True, error_model="numpy", cache=True)
def gaussian_sum_compiled(points, sources, weights, bandwidth, lengths):
    n, m, dim = points.shape[0], sources.shape[0], points.shape[1]
    scale = 1.0 / (bandwidth * bandwidth)
    values, gradient = np.zeros(n), np.zeros((n, dim))
    slopes = np.zeros(dim)
    periodic = lengths.max() > 0
    for i in range(n):
        if not periodic:
            for j in range(m):
                square = 0.0
                for k in range(dim):
                    square += (points[i, k] - sources[j, k]) ** 2
                term = weights[j] * np.exp(-0.5 * scale * square)
                values[i] += term
                for k in range(dim):
                    gradient[i, k] -= term * scale * (points[i, k] - sources[j, k])
            continue
        for j in range(m):
            term = weights[j]
            for k in range(dim):
                difference = points[i, k] - sources[j, k]
                turns = int(np.ceil(9.0 * bandwidth / lengths[k])) + 1 if lengths[k] > 0 else 0
                value, slope = 0.0, 0.0
                for turn in range(-turns, turns + 1):
                    d = difference + turn * lengths[k]
                    image = np.exp(-0.5 * scale * d * d)
                    value += image
                    slope -= scale * d * image
                term *= value
                slopes[k] = slope / value
            values[i] += term
            for k in range(dim):
                gradient[i, k] += term * slopes[k]
    return values, gradient
