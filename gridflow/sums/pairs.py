"""Compiled loops over pairs of scattered points:

    s_i = Σ_j w_j k(x_i, y_j),    g_i = ∂s_i/∂x_i

`radial_sum` for any function of r = |x − y|, `product_sum` for any of 1 + x·y in R^d. No array of all pairs is made. A row is
summed in the same order whatever other rows there are, so that rows may be shared out among threads and keep their bits.
(On most grids the same sums are faster: `gridflow.energy.interaction.convolution`.)
"""

from collections.abc import Callable, Iterable
from functools import reduce

import numpy as np

from gridflow.space.factor import Array
from gridflow.sums.elementary import inlined
from gridflow.threads import share_out

Sums = tuple[Array, Array]
"""Σ_j w_j k(x_i, y_j), (n_points,), and its gradient in x_i, (n_points, n_dim); 0 or left out without `gradient`."""
BLOCK = 768
"""Sources at a time: their coordinates in space, weights and a buffer are 30 KiB, and stay in the first-level cache."""
SHARED_PAIRS = 400_000
"""Fewer pairs than this take less than 0.4 ms, and two threads, which take 0.15 ms to wake and to wait for, no less."""


def contiguous(*arrays: Array) -> list[Array]:
    """Copies where necessary, so that one version is compiled."""
    return [np.ascontiguousarray(a) for a in arrays]


def shared_rows(compute: Callable[[Array], Sums], points: Array, n_sources: int) -> Sums:
    """`compute` of points (n_points, n_dim), rows shared out among the threads that the work under way may use."""
    if len(points) * n_sources < SHARED_PAIRS:
        return compute(points)
    values, gradient = np.empty(len(points)), np.empty(points.shape)

    def work(first: int, last: int) -> None:
        values[first:last], gradient[first:last] = compute(points[first:last])

    share_out(work, len(points))
    return values, gradient


def combined(parts: Iterable[tuple[float, Sums]]) -> Sums:
    """Σ factor·(s, g)."""
    scaled = [(factor * s, factor * g) for factor, (s, g) in parts]
    return reduce(np.add, [s for s, _ in scaled]), reduce(np.add, [g for _, g in scaled])


@inlined
def radial_sum(kernel, points, sources, weights, parameter, with_gradient):
    """(s, g) for a function of r: `kernel(w, r², parameter)`, compiled, returns (w k, w (dk/dr)/r).

    points (n_points, n_dim), sources (n_sources, n_dim), weights (n_sources,), contiguous. Row by row over blocks of sources, in
    one loop for up to three dimensions; without `with_gradient` g is 0.
    """
    n, m, dim = points.shape[0], sources.shape[0], points.shape[1]
    values, gradient = np.zeros(n), np.zeros((n, dim))
    columns, terms = sources.T.copy(), np.empty(BLOCK)
    for start in range(0, m, BLOCK):
        w, y = weights[start : start + BLOCK], columns[:, start : start + BLOCK]
        for i in range(n):
            if dim == 1:
                total, slope_0 = radial_row_1(kernel, points[i, 0], y[0], w, parameter)
                slope_1, slope_2 = 0.0, 0.0
            elif dim == 2:
                total, slope_0, slope_1 = radial_row_2(kernel, points[i, 0], points[i, 1], y[0], y[1], w, parameter)
                slope_2 = 0.0
            elif dim == 3:
                x, x_1, x_2 = points[i, 0], points[i, 1], points[i, 2]
                total, slope_0, slope_1, slope_2 = radial_row_3(kernel, x, x_1, x_2, y[0], y[1], y[2], w, parameter)
            else:
                total = radial_row(kernel, points[i], y, w, parameter, terms, gradient[i], with_gradient)
            values[i] += total
            if with_gradient and dim <= 3:
                gradient[i, 0] += slope_0
                if dim > 1:
                    gradient[i, 1] += slope_1
                if dim > 2:
                    gradient[i, 2] += slope_2
    return values, gradient


@inlined
def radial_row_1(kernel, x, y, w, parameter):
    """(s, g) of one point on a line over a block of sources."""
    total, slope_0 = 0.0, 0.0
    for j in range(w.size):
        d = x - y[j]
        value, slope = kernel(w[j], d * d, parameter)
        total += value
        slope_0 += slope * d
    return total, slope_0


@inlined
def radial_row_2(kernel, x_0, x_1, y_0, y_1, w, parameter):
    """The same in the plane."""
    total, slope_0, slope_1 = 0.0, 0.0, 0.0
    for j in range(w.size):
        d_0, d_1 = x_0 - y_0[j], x_1 - y_1[j]
        value, slope = kernel(w[j], d_0 * d_0 + d_1 * d_1, parameter)
        total += value
        slope_0 += slope * d_0
        slope_1 += slope * d_1
    return total, slope_0, slope_1


@inlined
def radial_row_3(kernel, x_0, x_1, x_2, y_0, y_1, y_2, w, parameter):
    """The same in space."""
    total, slope_0, slope_1, slope_2 = 0.0, 0.0, 0.0, 0.0
    for j in range(w.size):
        d_0, d_1, d_2 = x_0 - y_0[j], x_1 - y_1[j], x_2 - y_2[j]
        value, slope = kernel(w[j], d_0 * d_0 + d_1 * d_1 + d_2 * d_2, parameter)
        total += value
        slope_0 += slope * d_0
        slope_1 += slope * d_1
        slope_2 += slope * d_2
    return total, slope_0, slope_1, slope_2


@inlined
def radial_row(kernel, x, y, w, parameter, terms, gradient, with_gradient):
    """The same in any dimension: r² in a buffer, in which the slope takes its place; the gradient is added to its row."""
    for j in range(w.size):
        terms[j] = 0.0
    for k in range(x.size):
        for j in range(w.size):
            terms[j] += (x[k] - y[k, j]) * (x[k] - y[k, j])
    total = 0.0
    for j in range(w.size):
        value, terms[j] = kernel(w[j], terms[j], parameter)
        total += value
    if with_gradient:
        for k in range(x.size):
            slope = 0.0
            for j in range(w.size):
                slope += terms[j] * (x[k] - y[k, j])
            gradient[k] += slope
    return total


@inlined
def product_sum(kernel, points, sources, weights, parameter, with_gradient):
    """The same for a function of b = 1 + x·y: `kernel(w, b, parameter)` returns (w k, w dk/db)."""
    n, m, dim = points.shape[0], sources.shape[0], points.shape[1]
    values, gradient = np.zeros(n), np.zeros((n, dim))
    columns, terms = sources.T.copy(), np.empty(BLOCK)
    for start in range(0, m, BLOCK):
        w, y = weights[start : start + BLOCK], columns[:, start : start + BLOCK]
        for i in range(n):
            for j in range(w.size):
                terms[j] = 1.0
            for k in range(dim):
                x = points[i, k]
                for j in range(w.size):
                    terms[j] += x * y[k, j]
            total = 0.0
            for j in range(w.size):
                value, terms[j] = kernel(w[j], terms[j], parameter)
                total += value
            values[i] += total
            if with_gradient:
                for k in range(dim):
                    slope = 0.0
                    for j in range(w.size):
                        slope += terms[j] * y[k, j]
                    gradient[i, k] += slope
    return values, gradient
