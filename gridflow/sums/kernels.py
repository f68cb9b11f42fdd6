"""Kernels k(x, y) of positions in the product of the factors: of interactions, and of maximum mean discrepancies (S4).

r is the Euclidean distance over all factors, labels included; a Gaussian alone is a product over factors, and may wind around
circles. Riesz kernels are positive definite for measures of mass 0 only: mass is 1 on both sides, so that a constant added to k
changes nothing.

What a kernel declares is in `gridflow.sums.kernel`, how it is summed in `gridflow.sums.door`.
"""

from math import gamma, pi, sin
from typing import Annotated

import numpy as np
import scipy
from msgspec import Meta

from gridflow.space.factor import Array, Factor
from gridflow.sums.circles import WoundGaussian, along, slope
from gridflow.sums.door import pair_sum
from gridflow.sums.elementary import LOG2E, compiled, exp2_decaying, exp_decaying, inlined, power_and_inverse
from gridflow.sums.formulas import Formula
from gridflow.sums.kernel import PairKernel
from gridflow.sums.pairs import Sums, product_sum, radial_sum
from gridflow.sums.sliced import distance_sums_sliced, slice_directions
from gridflow.sums.sorting import distance_sums_sorted, laplace_sums_sorted
from gridflow.sums.waves import gaussian_sums_by_waves

Bandwidth = Annotated[float, Meta(gt=0.0)]
SLICE_SEED = 0
"""Of the directions of a run, which are the same in all its sums: the gradient is that of the energy."""
TINY = 1e-200
"""Put in place of smaller r², added to no distance: where two points coincide the gradient is 0 (S4)."""


@inlined
def gaussian(weight: float, squared: float, rate: float) -> tuple[float, float]:
    """w 2^(−rate·r²); its slope is left without a factor, which the whole sum gets."""
    value = weight * exp2_decaying(-rate * squared)
    return value, value


@compiled
def gaussian_sum(points: Array, sources: Array, weights: Array, rate: float, gradient: bool) -> Sums:
    values, slopes = radial_sum(gaussian, points, sources, weights, rate * LOG2E, gradient)
    return values, -2.0 * rate * slopes


class Gaussian(PairKernel, frozen=True, forbid_unknown_fields=True, tag="gaussian", tag_field="kind"):
    """exp(−r²/(2·bandwidth²)), summed over all windings of a circle."""

    bandwidth: Bandwidth

    def radial(self, squared: Array) -> Array:
        return np.exp(-squared / (2 * self.bandwidth**2))

    @property
    def formula(self) -> Formula:
        return Formula("Exp(-p * {s})", "-IntCst(2) * p * Exp(-p * {s})")

    @property
    def numbers(self) -> tuple[float, ...]:
        return (0.5 / self.bandwidth**2,)

    def rows(self, points: Array, sources: Array, weights: Array, gradient: bool) -> Sums:
        return gaussian_sum(points, sources, weights, *self.numbers, gradient)

    def order(self, dim: int) -> int:
        return 1 if dim == 1 else 2

    def by_structure(self, points: Array, sources: Array, weights: Array) -> Sums | None:
        return gaussian_sums_by_waves(points, sources, weights, self.bandwidth, 0.0) if points.shape[1] == 1 else None

    def sum(self, points: Array, sources: Array, weights: Array, lengths: Array, gradient: bool = True) -> Sums:
        return pair_sum(self.wound(lengths), points, sources, weights, gradient)

    def sum_over_pairs(self, points: Array, sources: Array, weights: Array, lengths: Array) -> Sums:
        """As `sum`, with all digits of small sums of positive weights: densities, by which others are divided."""
        return pair_sum(self.wound(lengths), points, sources, weights, relative=True)

    def wound(self, lengths: Array) -> "Gaussian | WoundGaussian":
        """As the engines sum it; lengths : circumferences, 0 for lines."""
        return WoundGaussian(self.bandwidth, lengths) if lengths.any() else self

    def along(self, difference: Array, period: float) -> Array:
        """`gridflow.sums.circles.along` with this bandwidth."""
        return along(difference, period, self.bandwidth)

    def slope(self, difference: Array, period: float) -> Array:
        """Derivative of `along` in the difference."""
        return slope(difference, period, self.bandwidth)

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


class Laplace(PairKernel, frozen=True, forbid_unknown_fields=True, tag="laplace", tag_field="kind"):
    """exp(−r/bandwidth)."""

    bandwidth: Bandwidth

    def radial(self, squared: Array) -> Array:
        return np.exp(-np.sqrt(squared) / self.bandwidth)

    @property
    def formula(self) -> Formula:
        return Formula("Exp(-p * Sqrt({s}))", "-p * Exp(-p * Sqrt({s})) * Rsqrt({s})")

    @property
    def numbers(self) -> tuple[float, ...]:
        return (1 / self.bandwidth,)

    def rows(self, points: Array, sources: Array, weights: Array, gradient: bool) -> Sums:
        return laplace_sum(points, sources, weights, *self.numbers, gradient)

    def order(self, dim: int) -> int:
        return 1 if dim == 1 else 2

    def by_structure(self, points: Array, sources: Array, weights: Array) -> Sums | None:
        return laplace_sums_sorted(points, sources, weights, *self.numbers) if points.shape[1] == 1 else None


@inlined
def multiquadric(weight: float, squared: float, rate: float) -> tuple[float, float]:
    square = 1.0 / (1.0 + rate * rate * squared)
    value = weight * np.sqrt(square)
    return value, -rate * rate * square * value


@compiled
def multiquadric_sum(points: Array, sources: Array, weights: Array, rate: float, gradient: bool) -> Sums:
    return radial_sum(multiquadric, points, sources, weights, rate, gradient)


class InverseMultiquadric(PairKernel, frozen=True, forbid_unknown_fields=True, tag="imq", tag_field="kind"):
    """(1 + r²/bandwidth²)^(−1/2)."""

    bandwidth: Bandwidth

    def radial(self, squared: Array) -> Array:
        return 1 / np.sqrt(1 + squared / self.bandwidth**2)

    @property
    def formula(self) -> Formula:
        base = "(IntCst(1) + Square(p) * {s})"
        return Formula(f"Rsqrt{base}", f"-Square(p) * Rsqrt{base} / {base}")

    @property
    def numbers(self) -> tuple[float, ...]:
        return (1 / self.bandwidth,)

    def rows(self, points: Array, sources: Array, weights: Array, gradient: bool) -> Sums:
        return multiquadric_sum(points, sources, weights, *self.numbers, gradient)


@inlined
def riesz(weight: float, squared: float, exponent: float) -> tuple[float, float]:
    away = max(squared, TINY)
    value, inverse = power_and_inverse(away, exponent / 2)
    value *= -weight if away > TINY else 0.0
    return value, exponent * value * inverse


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


class Riesz(PairKernel, frozen=True, forbid_unknown_fields=True, tag="riesz", tag_field="kind"):
    """−r^exponent, 0 < exponent < 2.

    slices : of scattered points in several dimensions, −r as a mean over so many directions (`gridflow.sums.sliced`); 0: exactly
    """

    exponent: Annotated[float, Meta(gt=0.0, lt=2.0)] = 1.0
    slices: Annotated[int, Meta(ge=0, le=1_000_000)] = 0

    def __post_init__(self) -> None:
        if self.slices > 0 and self.exponent != 1.0:
            raise ValueError("slices are for exponent = 1; remove them, or the exponent")

    def radial(self, squared: Array) -> Array:
        return -(squared ** (self.exponent / 2))

    @property
    def formula(self) -> Formula:
        if self.exponent == 1.0:
            return Formula("-p * Sqrt({s})", "-p * Rsqrt({s})", singular=True)
        return Formula("-Exp(p / IntCst(2) * Log({s}))", "-p * Exp((p / IntCst(2) - IntCst(1)) * Log({s}))", singular=True)

    @property
    def numbers(self) -> tuple[float, ...]:
        return (self.exponent,)

    def rows(self, points: Array, sources: Array, weights: Array, gradient: bool) -> Sums:
        rows = distance_sum if self.exponent == 1.0 else riesz_sum
        return rows(points, sources, weights, self.exponent, gradient)

    def order(self, dim: int) -> int:
        return 1 if self.exponent == 1.0 and (dim == 1 or self.slices > 0) else 2

    def by_structure(self, points: Array, sources: Array, weights: Array) -> Sums | None:
        dim = points.shape[1]
        if self.order(dim) == 2:
            return None
        if dim == 1:
            return distance_sums_sorted(points, sources, weights)
        return distance_sums_sliced(points, sources, weights, slice_directions(dim, self.slices, SLICE_SEED))


@inlined
def polynomial(weight: float, base: float, degree: float) -> tuple[float, float]:
    slope = weight
    for _ in range(int(degree) - 1):
        slope *= base
    return slope * base, degree * slope


@compiled
def polynomial_sum(points: Array, sources: Array, weights: Array, degree: float, gradient: bool) -> Sums:
    return product_sum(polynomial, points, sources, weights, degree, gradient)


class Polynomial(PairKernel, frozen=True, forbid_unknown_fields=True, tag="polynomial", tag_field="kind"):
    """(1 + x·y)^degree: depends on moments up to that degree only."""

    degree: Annotated[int, Meta(ge=1, le=12)]

    @property
    def formula(self) -> Formula:
        power = [" * ".join(["{s}"] * k) or "IntCst(1)" for k in range(self.degree + 1)]
        return Formula(power[self.degree], f"IntCst({self.degree}) * {power[self.degree - 1]}", of="product")

    @property
    def numbers(self) -> tuple[float, ...]:
        return (float(self.degree),)

    def of_product(self, base: Array) -> Array:
        return base**self.degree

    def rows(self, points: Array, sources: Array, weights: Array, gradient: bool) -> Sums:
        return polynomial_sum(points, sources, weights, *self.numbers, gradient)


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
