"""Kernels k(x, y) of positions in the product of the factors: of interactions, and of maximum mean discrepancies (S4).

r is the Euclidean distance over all factors, labels included; a Gaussian alone is a product over factors, and may wind around
circles. Riesz kernels are positive definite for measures of mass 0 only: mass is 1 on both sides, so that a constant added to k
changes nothing.

A kernel is a class with its numbers, `radial(r²)` where it is one, and `sum` over scattered points, compiled (`laplace_sum`, …)
for a scalar function of the kernel (`laplace`, …), see `gridflow.sums.pairs`. numba's cache of the sums looks at this file alone:
touch it after a change there.
"""

from functools import reduce
from math import ceil, gamma, pi, sin
from typing import Annotated

import numpy as np
import scipy
from msgspec import Meta, Struct

from gridflow.space.factor import Array, Factor
from gridflow.sums.elementary import compiled, exp_decaying, inlined, power
from gridflow.sums.pairs import WINDINGS, contiguous, gaussian_sum, product_sum, radial_sum, sorted_sum

Bandwidth = Annotated[float, Meta(gt=0.0)]
Sums = tuple[Array, Array]
"""Σ_j w_j k(x_i, y_j), (n_points,), and its gradient in x_i, (n_points, n_dim); 0 or left out without `gradient`."""


TINY = 1e-200
"""Put in place of smaller r², added to no distance: where two points coincide the gradient is 0 (S4)."""


class Gaussian(Struct, frozen=True, forbid_unknown_fields=True, tag="gaussian", tag_field="kind"):
    """exp(−r²/(2·bandwidth²)), summed over all windings of a circle."""

    bandwidth: Bandwidth

    def radial(self, squared: Array) -> Array:
        return np.exp(-squared / (2 * self.bandwidth**2))

    def sum(self, points: Array, sources: Array, weights: Array, lengths: Array, gradient: bool = True) -> Sums:
        return gaussian_sum(points, sources, weights, self.bandwidth, lengths)

    def along(self, difference: Array, period: float) -> Array:
        """exp(−d²/(2·bandwidth²)) of coordinate differences, any shape, summed over the windings of a circle (period > 0).

        A Gaussian of the geodesic distance is not positive definite there.
        """
        return np.sum([np.exp(-(d**2) / (2 * self.bandwidth**2)) for d in self.windings(difference, period)], axis=0)

    def slope(self, difference: Array, period: float) -> Array:
        """Derivative of `along` in the difference."""
        scale = self.bandwidth**2
        return reduce(np.add, [-d / scale * np.exp(-(d**2) / (2 * scale)) for d in self.windings(difference, period)])

    def windings(self, difference: Array, period: float) -> list[Array]:
        """Differences from all images that are not below round-off."""
        turns = 1 + ceil(WINDINGS * self.bandwidth / period) if period > 0 else 0
        return [difference + period * turn for turn in range(-turns, turns + 1)]

    def matrix(self, factor: Factor) -> Array:
        """`along` between the cell points of a factor, (n_cells, n_cells); on a surface of the distances in R³."""
        if factor.columns > 1:
            return self.radial(np.sum([(x[:, None] - x) ** 2 for x in factor.points.T], axis=0))
        return self.along(factor.points[:, None] - factor.points[None, :], factor.period)


@inlined
def laplace(weight: float, squared: float, rate: float) -> tuple[float, float]:
    r = np.sqrt(max(squared, TINY))
    value = weight * exp_decaying(-rate * r)
    return value, -rate * value / r


@compiled
def laplace_sum(points: Array, sources: Array, weights: Array, rate: float, gradient: bool) -> Sums:
    return radial_sum(laplace, points, sources, weights, rate, gradient)


class Laplace(Struct, frozen=True, forbid_unknown_fields=True, tag="laplace", tag_field="kind"):
    """exp(−r/bandwidth)."""

    bandwidth: Bandwidth

    def radial(self, squared: Array) -> Array:
        return np.exp(-np.sqrt(squared) / self.bandwidth)

    def sum(self, points: Array, sources: Array, weights: Array, lengths: Array, gradient: bool = True) -> Sums:
        return laplace_sum(*contiguous(points, sources, weights), 1 / self.bandwidth, gradient)


@inlined
def multiquadric(weight: float, squared: float, rate: float) -> tuple[float, float]:
    square = 1.0 / (1.0 + rate * rate * squared)
    value = weight * np.sqrt(square)
    return value, -rate * rate * square * value


@compiled
def multiquadric_sum(points: Array, sources: Array, weights: Array, rate: float, gradient: bool) -> Sums:
    return radial_sum(multiquadric, points, sources, weights, rate, gradient)


class InverseMultiquadric(Struct, frozen=True, forbid_unknown_fields=True, tag="imq", tag_field="kind"):
    """(1 + r²/bandwidth²)^(−1/2)."""

    bandwidth: Bandwidth

    def radial(self, squared: Array) -> Array:
        return 1 / np.sqrt(1 + squared / self.bandwidth**2)

    def sum(self, points: Array, sources: Array, weights: Array, lengths: Array, gradient: bool = True) -> Sums:
        return multiquadric_sum(*contiguous(points, sources, weights), 1 / self.bandwidth, gradient)


@inlined
def riesz(weight: float, squared: float, exponent: float) -> tuple[float, float]:
    away = max(squared, TINY)
    value = -weight * power(away, exponent / 2) if away > TINY else 0.0
    return value, exponent * value / away


@compiled
def riesz_sum(points: Array, sources: Array, weights: Array, exponent: float, gradient: bool) -> Sums:
    return radial_sum(riesz, points, sources, weights, exponent, gradient)


@inlined
def minus_distance(weight: float, squared: float, exponent: float) -> tuple[float, float]:
    r = np.sqrt(squared)
    return -weight * r, -weight / max(r, TINY)


@compiled
def distance_sum(points: Array, sources: Array, weights: Array, exponent: float, gradient: bool) -> Sums:
    return radial_sum(minus_distance, points, sources, weights, exponent, gradient)


class Riesz(Struct, frozen=True, forbid_unknown_fields=True, tag="riesz", tag_field="kind"):
    """−r^exponent, 0 < exponent < 2."""

    exponent: Annotated[float, Meta(gt=0.0, lt=2.0)] = 1.0

    def radial(self, squared: Array) -> Array:
        return -(squared ** (self.exponent / 2))

    def sum(self, points: Array, sources: Array, weights: Array, lengths: Array, gradient: bool = True) -> Sums:
        if self.exponent == 1.0 and points.shape[1] == 1:
            return sorted_sum(points, sources, weights)
        compiled_sum = distance_sum if self.exponent == 1.0 else riesz_sum
        return compiled_sum(*contiguous(points, sources, weights), self.exponent, gradient)


@inlined
def polynomial(weight: float, base: float, degree: float) -> tuple[float, float]:
    slope = weight
    for _ in range(int(degree) - 1):
        slope *= base
    return slope * base, degree * slope


@compiled
def polynomial_sum(points: Array, sources: Array, weights: Array, degree: float, gradient: bool) -> Sums:
    return product_sum(polynomial, points, sources, weights, degree, gradient)


class Polynomial(Struct, frozen=True, forbid_unknown_fields=True, tag="polynomial", tag_field="kind"):
    """(1 + x·y)^degree: depends on moments up to that degree only."""

    degree: Annotated[int, Meta(ge=1, le=12)]

    def sum(self, points: Array, sources: Array, weights: Array, lengths: Array, gradient: bool = True) -> Sums:
        return polynomial_sum(*contiguous(points, sources, weights), float(self.degree), gradient)


Radial = Gaussian | Laplace | InverseMultiquadric | Riesz
Kernel = Radial | Polynomial


def periods(factors: tuple[Factor, ...]) -> Array:
    """Circumferences, 0 for lines, labels and the three columns of a surface, (n_columns,): the `lengths` of sums."""
    return np.array([f.period for f in factors for _ in range(f.columns)])


def self_correction(kernel: Kernel, lines: int, volumes: Array) -> Array:
    """What to add to k(0) = k(x_i, x_i) for cells of the given volumes, so that sums over cell points are of second order.

    Point values make the discrete energy positive definite whenever k is: it is the energy of a measure. Beside the h² of any
    midpoint rule they err by c·h^(n_lines + p)·ρ where k − k(0) ~ r^p at 0, so that only Riesz kernels with p < 1 along a single
    line need a correction: 2ζ(−p)h^p for k(0) (Navot 1961). The symbol of the sum over a uniform lattice is then, up to
    a positive factor, |θ|^(−1−p) + Σ_{m≠0} (|θ + 2πm|^(−1−p) − |2πm|^(−1−p)), least at θ = π, where it is
    2π^(−1−p)(1 − 2^(−p))ζ(1 + p) > 0: still positive definite. For p = 1 point values make the velocities of faces exact.
    """
    if not isinstance(kernel, Riesz) or kernel.exponent >= 1 or lines != 1:
        return np.zeros_like(volumes)
    p = kernel.exponent
    zeta_negative = -(2**-p) * pi ** (-p - 1) * sin(pi * p / 2) * gamma(1 + p) * float(scipy.special.zeta(1 + p))  # ζ(−p)
    return 2 * zeta_negative * volumes**p
