"""Sums over pairs of scattered points: a NumPy definition and a compiled version.

    s_i = Σ_j w_j k(x_i, y_j),    g_i = ∂s_i/∂x_i

`gaussian_sum` for k = Π_k κ(x_ik − y_jk) with κ a Gaussian, periodic along circles; `pair_sum` for other kernels in R^d.
No n_points × n_sources array is made. On most grids the same sums are faster (`gridflow.energy.mmd.convolution`).
"""

from math import factorial, log
from typing import Literal

import numpy as np
from numba import njit

from gridflow.space.factor import Array

REORDER = {"reassoc", "contract", "arcp", "nsz"}
"""Compiled sums may be reordered, so that they vectorise; non-finite numbers keep their meaning."""
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
        pulls = np.sum([-d / bandwidth**2 * np.exp(-(d**2) / (2 * bandwidth**2)) for d in images], axis=0)
        slopes.append(pulls / np.where(values > 0, values, 1.0))
        kernel *= values
    return kernel @ weights, np.stack([(kernel * slope) @ weights for slope in slopes], axis=1)


BLOCK = 1024
"""Sources at a time: three columns and a buffer are 32 KiB."""
EXP_SQUARINGS = 8
EXP_COEFFICIENTS = tuple(1.0 / factorial(k) for k in range(10, -1, -1))


@njit(fastmath=REORDER, nogil=True, error_model="numpy", inline="always")
def exp_decaying(x):
    """e^x for x ≤ 0 as (Taylor polynomial of e^(x/256))^256: relative error 1e−12, and loops that vectorise.

    Below −64 it stays at e^−64 = 2e−28, which no sum of kernels can see.
    """
    y = max(x, -64.0) / 2.0**EXP_SQUARINGS
    value = EXP_COEFFICIENTS[0]
    for k in range(1, 11):
        value = value * y + EXP_COEFFICIENTS[k]
    for _ in range(EXP_SQUARINGS):
        value *= value
    return value


@njit(fastmath=REORDER, nogil=True, error_model="numpy", cache=True)
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


@njit(fastmath=REORDER, nogil=True, error_model="numpy", cache=True)
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
                slopes[k] = slope / value if value > 0.0 else 0.0  # beyond 38 bandwidths nothing is felt
            values[i] += term
            for k in range(dim):
                gradient[i, k] += term * slopes[k]


# ----------------------------------------------------------------------------------------------------- other kernels in R^d
PairKernel = Literal["laplace", "imq", "riesz", "polynomial"]
CODES: dict[PairKernel, int] = {"laplace": 0, "imq": 1, "riesz": 2, "polynomial": 3}
LAPLACE, MULTIQUADRIC, RIESZ = 0, 1, 2
TINY = 1e-200
"""Added to no distance, but put in place of smaller squares: where two points coincide the gradient is 0 (S4)."""


def pair_sum(points: Array, sources: Array, weights: Array, kernel: PairKernel, parameter: float) -> tuple[Array, Array]:
    """(s, g): (n_points,) and (n_points, n_dim). With r = |x − y| and q the parameter, k is

    laplace exp(−r/q); imq (1 + r²/q²)^(−1/2); riesz −r^q; polynomial (1 + x·y)^q. ∇k = 0 where a radial one has a kink, at r = 0.
    """
    points, sources, weights = (np.ascontiguousarray(a) for a in (points, sources, weights))
    if sorts(kernel, parameter, points.shape[1]):
        return sorted_sum(points[:, 0], sources[:, 0], weights)
    return pair_sum_compiled(points, sources, weights, CODES[kernel], parameter, True)


def sorts(kernel: PairKernel, parameter: float, dim: int) -> bool:
    """−|x − y| in one dimension: sums over those on the left and those on the right, O(n log n)."""
    return kernel == "riesz" and parameter == 1.0 and dim == 1


def sorted_sum(points: Array, sources: Array, weights: Array) -> tuple[Array, Array]:
    order = np.argsort(sources, kind="stable")
    place = sources[order]
    middle = place[place.size // 2]  # moments about it cancel less
    mass = np.concatenate([[0.0], np.cumsum(weights[order])])
    moment = np.concatenate([[0.0], np.cumsum(weights[order] * (place - middle))])
    first, last = np.searchsorted(place, points, side="left"), np.searchsorted(place, points, side="right")
    gradient = mass[-1] - mass[last] - mass[first]
    values = (points - middle) * gradient + moment[first] + moment[last] - moment[-1]
    return values, gradient[:, None]


def pair_values(points: Array, sources: Array, weights: Array, kernel: PairKernel, parameter: float) -> Array:
    """s alone, (n_points,)."""
    points, sources, weights = (np.ascontiguousarray(a) for a in (points, sources, weights))
    if sorts(kernel, parameter, points.shape[1]):
        return sorted_sum(points[:, 0], sources[:, 0], weights)[0]
    return pair_sum_compiled(points, sources, weights, CODES[kernel], parameter, False)[0]


def pair_sum_numpy(points: Array, sources: Array, weights: Array, kernel: PairKernel, parameter: float) -> tuple[Array, Array]:
    """The definition; O(n_points·n_sources) memory."""
    if kernel == "polynomial":
        base = 1 + points @ sources.T
        return base**parameter @ weights, (parameter * base ** (parameter - 1) * weights) @ sources
    difference = points[:, None] - sources[None]
    r = np.sqrt((difference**2).sum(axis=2))
    away = np.where(r > 0, r, 1.0)
    if kernel == "laplace":
        values = np.exp(-r / parameter)
        slopes = -values / parameter
    elif kernel == "imq":
        values = 1 / np.sqrt(1 + r**2 / parameter**2)
        slopes = -(values**3) * r / parameter**2
    else:
        values, slopes = -(r**parameter), -parameter * away ** (parameter - 1)
    pulls = np.where(r > 0, slopes / away, 0.0) * weights
    return values @ weights, (pulls[:, :, None] * difference).sum(axis=1)


LOG_COEFFICIENTS = tuple(2.0 / (log(2.0) * (2 * k + 1)) for k in range(14, -1, -1))
"""log₂ m = s·Σ c_k s^(2k) with s = (m − 1)/(m + 1) ≤ 1/3 for m in [1, 2): the next term is below 1e−15."""
POWER_COEFFICIENTS = tuple(log(2.0) ** k / factorial(k) for k in range(12, -1, -1))
"""2^f for |f| ≤ ½: the next term is below 1e−15."""
MANTISSA, ONE, TWO52 = (1 << 52) - 1, 1023 << 52, 1075 << 52
"""Bits of a double: the mantissa, 1.0, and 2⁵², to which an integer below is added by setting its bits."""
ROUND = 1.5 * 2.0**52
"""Adding and subtracting it rounds to an integer."""


@njit(fastmath={"contract"}, nogil=True, error_model="numpy", cache=True)
def powers(base, exponent, value, work):
    """value = base^exponent for normal positive numbers, in loops that vectorise: relative error 1e−13 up to e^±300.

    Exponents are split off and put back in the bits of the numbers; sums must not be reordered here.
    """
    bits, value_bits, work_bits = base.view(np.int64), value.view(np.int64), work.view(np.int64)
    for j in range(base.size):
        work_bits[j] = (bits[j] >> 52) | TWO52
    for j in range(base.size):
        value_bits[j] = (bits[j] & MANTISSA) | ONE
    for j in range(base.size):
        s = (value[j] - 1.0) / (value[j] + 1.0)
        square = s * s
        series = LOG_COEFFICIENTS[0]
        for k in range(1, 15):
            series = series * square + LOG_COEFFICIENTS[k]
        y = exponent * ((work[j] - (2.0**52 + 1023.0)) + s * series)
        whole = y + ROUND
        work[j] = whole
        f = y - (whole - ROUND)
        power = POWER_COEFFICIENTS[0]
        for k in range(1, 13):
            power = power * f + POWER_COEFFICIENTS[k]
        value[j] = power
    for j in range(base.size):
        work_bits[j] = (work_bits[j] + 1023) << 52
    for j in range(base.size):
        value[j] *= work[j]


@njit(fastmath=REORDER, nogil=True, error_model="numpy", cache=True)
def pair_sum_compiled(points, sources, weights, code, parameter, with_gradient):
    """Row by row over a buffer of all sources: squares or products, then w·k, then w·(dk/dr)/r in their place."""
    n, m, dim = points.shape[0], sources.shape[0], points.shape[1]
    values, gradient = np.zeros(n), np.zeros((n, dim))
    columns, terms = sources.T.copy(), np.empty(m)
    radial = code <= RIESZ
    inverse, half = 1.0 / parameter, parameter / 2
    power, work = np.empty(m), np.empty(m)
    for i in range(n):
        terms[:] = 0.0 if radial else 1.0
        for k in range(dim):
            x = points[i, k]
            if radial:
                for j in range(m):
                    terms[j] += (x - columns[k, j]) * (x - columns[k, j])
            else:
                for j in range(m):
                    terms[j] += x * columns[k, j]
        total = 0.0
        if code == LAPLACE:
            for j in range(m):
                r = np.sqrt(max(terms[j], TINY))
                value = weights[j] * exp_decaying(-inverse * r)
                total += value
                terms[j] = -inverse * value / r
        elif code == MULTIQUADRIC:
            for j in range(m):
                square = 1.0 / (1.0 + inverse * inverse * terms[j])
                value = weights[j] * np.sqrt(square)
                total += value
                terms[j] = -inverse * inverse * square * value
        elif code == RIESZ and parameter == 1.0:
            for j in range(m):
                r = np.sqrt(terms[j])
                total -= weights[j] * r
                terms[j] = -weights[j] / max(r, TINY)
        elif code == RIESZ:
            for j in range(m):
                terms[j] = max(terms[j], TINY)
            powers(terms, half, power, work)
            for j in range(m):
                value = -weights[j] * power[j] if terms[j] > TINY else 0.0
                total += value
                terms[j] = parameter * value / terms[j]
        else:
            for j in range(m):
                value = weights[j]
                for _ in range(int(parameter) - 1):
                    value *= terms[j]
                total += value * terms[j]
                terms[j] = parameter * value
        values[i] = total
        if with_gradient:
            for k in range(dim):
                x, total = points[i, k], 0.0
                if radial:
                    for j in range(m):
                        total += terms[j] * (x - columns[k, j])
                else:
                    for j in range(m):
                        total += terms[j] * columns[k, j]
                gradient[i, k] = total
    return values, gradient
