"""Kernels of interactions beyond those of discrepancies: attraction and repulsion, bounded or singular.

k(x, y) of r = |x − y|, or of x·y; the interaction of a case is amplitude·k (`gridflow.energy.interaction.interaction`).

    power-law     r^a/a − r^b/b, or one of the two        attraction at a distance and repulsion nearby where a > b
    logarithmic   −log r                                  a log gas; 2π times Newton's repulsion in the plane
    morse         C_r e^{−r/ℓ_r} − C_a e^{−r/ℓ_a}
    bessel        (1 − λ²Δ)⁻¹ in R^d, d = 1, 2, 3         screened Newton
    cosine        cos(2πn(x − y)/L) on a circle           Kuramoto's coupling
    exponential   e^{rate·x·y}                            self-attention on spheres (Geshkovski et al. 2023)

Where k is infinite at r = 0 points do not act on themselves: sums leave r = 0 out, and on a grid `gridflow.sums.lattice` has what
stands for it. With a `softening` ε > 0, r is (|x − y|² + ε²)^½ in power laws and logarithms, on grids and at
particles alike.

definite : whether k is positive definite on differences of equal mass: its energy is then convex in the density
peaked : whether `gridflow.sums.lattice` gives k(0) on a grid, because k is infinite or steep there
"""

from math import pi
from typing import Annotated, ClassVar, Literal

import numpy as np
import scipy
from msgspec import Meta, Struct

from gridflow.space.factor import Array, Factor
from gridflow.sums.distance import OfDistance, blockwise_sum
from gridflow.sums.elementary import compiled, exp_decaying, inlined, power
from gridflow.sums.kernels import TINY, Gaussian, Sums, laplace_sum
from gridflow.sums.pairs import contiguous, product_sum, radial_sum

Length = Annotated[float, Meta(gt=0.0)]
Softening = Annotated[float, Meta(ge=0.0)]


def raised(squared: Array, softening: float, exponent: float) -> Array:
    """r^exponent of squared distances; 0 where r = 0 and the power is infinite."""
    square = squared + softening**2
    with np.errstate(divide="ignore"):
        return np.where(square > 0, square ** (exponent / 2), 0.0 if exponent < 0 else 0.0**exponent)


@inlined
def soft_power(weight: float, squared: float, parameters: tuple[float, float]) -> tuple[float, float]:
    """w r^p/p and w r^(p − 2), r² = squared + ε², (p, ε²) = parameters; 0 where r = 0."""
    exponent, square = parameters
    away = max(squared + square, TINY)
    value = weight * power(away, exponent / 2) if away > TINY else 0.0
    return value / exponent, value / away


@compiled
def power_sum(points: Array, sources: Array, weights: Array, exponent: float, square: float, gradient: bool) -> Sums:
    return radial_sum(soft_power, points, sources, weights, (exponent, square), gradient)


def square_sum(points: Array, sources: Array, weights: Array, square: float) -> Sums:
    """Sums of (r² + ε²)/2 by the moments of the sources about their mean."""
    total = float(weights.sum())
    centre = weights @ sources / total if total != 0 else np.zeros(sources.shape[1])
    spread, first = float(weights @ ((sources - centre) ** 2).sum(axis=1)), weights @ (sources - centre)
    away = points - centre
    values = 0.5 * (total * ((away**2).sum(axis=1) + square) + spread) - away @ first
    return values, total * away - first


@inlined
def minus_log(weight: float, squared: float, square: float) -> tuple[float, float]:
    away = max(squared + square, TINY)
    value = -0.5 * weight * np.log(away) if away > TINY else 0.0
    return value, -weight / away if away > TINY else 0.0


@compiled
def log_sum(points: Array, sources: Array, weights: Array, square: float, gradient: bool) -> Sums:
    return radial_sum(minus_log, points, sources, weights, square, gradient)


class PowerLaw(Struct, frozen=True, forbid_unknown_fields=True, tag="power-law", tag_field="kind"):
    """r^attraction/attraction − r^repulsion/repulsion; one of them may be left out. Exponents above −d, not 0."""

    attraction: float | None = None
    repulsion: float | None = None
    softening: Softening = 0.0

    def __post_init__(self) -> None:
        exponents = [p for p in (self.attraction, self.repulsion) if p is not None]
        if not exponents:
            raise ValueError("a power law without exponents; give attraction, repulsion or both")
        if any(p == 0 or not abs(p) <= 12 for p in exponents):
            raise ValueError("exponents of a power law are not 0 (use kind = 'logarithmic'), and at most 12")

    @property
    def parts(self) -> list[tuple[float, float]]:
        """(sign, exponent) of the terms."""
        signed = [(1.0, self.attraction), (-1.0, self.repulsion)]
        return [(sign, p) for sign, p in signed if p is not None]

    @property
    def least(self) -> float:
        """The smallest exponent: k ~ r^least at r = 0."""
        return min(p for _, p in self.parts)

    @property
    def peaked(self) -> bool:
        return self.least < 1

    @property
    def quadratic(self) -> bool:
        """Whether sums are moments, O(n) together."""
        return all(p == 2 for _, p in self.parts)

    @property
    def definite(self) -> bool:
        """−r^b/b for b < 2 (Schoenberg 1938), and any multiple of r² repelling."""
        return self.attraction is None and self.least <= 2

    def radial(self, squared: Array) -> Array:
        return np.sum([sign * raised(squared, self.softening, p) / p for sign, p in self.parts], axis=0)

    def sum(self, points: Array, sources: Array, weights: Array, lengths: Array, gradient: bool = True) -> Sums:
        points, sources, weights = contiguous(points, sources, weights)
        values, slopes = np.zeros(len(points)), np.zeros(points.shape)
        for sign, p in self.parts:
            if p == 2:
                value, slope = square_sum(points, sources, weights, self.softening**2)
            else:
                value, slope = power_sum(points, sources, weights, float(p), self.softening**2, gradient)
            values, slopes = values + sign * value, slopes + sign * slope
        return values, slopes


class Logarithmic(Struct, frozen=True, forbid_unknown_fields=True, tag="logarithmic", tag_field="kind"):
    """−log r."""

    softening: Softening = 0.0
    definite: ClassVar[bool] = True
    peaked: ClassVar[bool] = True

    def radial(self, squared: Array) -> Array:
        square = squared + self.softening**2
        return -0.5 * np.log(np.where(square > 0, square, 1.0))

    def sum(self, points: Array, sources: Array, weights: Array, lengths: Array, gradient: bool = True) -> Sums:
        return log_sum(*contiguous(points, sources, weights), self.softening**2, gradient)


class Morse(Struct, frozen=True, forbid_unknown_fields=True, tag="morse", tag_field="kind"):
    """repulsion·e^{−r/repulsion_length} − attraction·e^{−r/attraction_length}."""

    repulsion: Annotated[float, Meta(ge=0.0)] = 1.0
    repulsion_length: Length = 1.0
    attraction: Annotated[float, Meta(ge=0.0)] = 0.5
    attraction_length: Length = 2.0
    peaked: ClassVar[bool] = False

    @property
    def definite(self) -> bool:
        return self.attraction == 0

    @property
    def parts(self) -> list[tuple[float, float]]:
        """(height, length) of both exponentials."""
        return [(self.repulsion, self.repulsion_length), (-self.attraction, self.attraction_length)]

    def radial(self, squared: Array) -> Array:
        r = np.sqrt(squared)
        return np.sum([height * np.exp(-r / length) for height, length in self.parts], axis=0)

    def sum(self, points: Array, sources: Array, weights: Array, lengths: Array, gradient: bool = True) -> Sums:
        points, sources, weights = contiguous(points, sources, weights)
        values, slopes = np.zeros(len(points)), np.zeros(points.shape)
        for height, length in self.parts:
            value, slope = laplace_sum(points, sources, weights, 1 / length, gradient)
            values, slopes = values + height * value, slopes + height * slope
        return values, slopes


@inlined
def screened_line(weight: float, squared: float, rate: float) -> tuple[float, float]:
    r = np.sqrt(max(squared, TINY))
    value = weight * 0.5 * rate * exp_decaying(-rate * r)
    return value, -rate * value / r


@inlined
def screened_space(weight: float, squared: float, rate: float) -> tuple[float, float]:
    r = np.sqrt(max(squared, TINY))
    value = weight * rate * rate / (4 * pi) * exp_decaying(-rate * r) / r if squared > TINY else 0.0
    return value, -value * (rate + 1 / r) / r


@compiled
def screened_line_sum(points: Array, sources: Array, weights: Array, rate: float, gradient: bool) -> Sums:
    return radial_sum(screened_line, points, sources, weights, rate, gradient)


@compiled
def screened_space_sum(points: Array, sources: Array, weights: Array, rate: float, gradient: bool) -> Sums:
    return radial_sum(screened_space, points, sources, weights, rate, gradient)


class Bessel(Struct, frozen=True, forbid_unknown_fields=True, tag="bessel", tag_field="kind"):
    """The fundamental solution of 1 − length²·Δ in R^dimension: e^{−r/λ}/(2λ), K₀(r/λ)/(2πλ²), e^{−r/λ}/(4πλ²r)."""

    length: Length
    dimension: Literal[1, 2, 3] = 2
    definite: ClassVar[bool] = True

    @property
    def peaked(self) -> bool:
        return self.dimension > 1

    def radial(self, squared: Array) -> Array:
        s = np.sqrt(squared) / self.length
        if self.dimension == 1:
            return np.exp(-s) / (2 * self.length)
        away = np.where(s > 0, s, 1.0)
        if self.dimension == 2:
            return np.where(s > 0, scipy.special.k0(away) / (2 * pi * self.length**2), 0.0)
        return np.where(s > 0, np.exp(-away) / (4 * pi * away * self.length**3), 0.0)

    def sum(self, points: Array, sources: Array, weights: Array, lengths: Array, gradient: bool = True) -> Sums:
        if self.dimension != 2:
            found = screened_line_sum if self.dimension == 1 else screened_space_sum
            return found(*contiguous(points, sources, weights), 1 / self.length, gradient)
        scale = 1 / (2 * pi * self.length**2)
        value = lambda r: scale * scipy.special.k0(r / self.length)  # noqa: E731
        slope = lambda r: -scale / self.length * scipy.special.k1(r / self.length)  # noqa: E731
        return blockwise_sum(points, sources, weights, value, slope if gradient else None, at_zero=0.0)


class Cosine(Struct, frozen=True, forbid_unknown_fields=True, tag="cosine", tag_field="kind"):
    """cos(2π·wavenumber·(x − y)/L) on one circle of length L."""

    wavenumber: Annotated[int, Meta(ge=1, le=1000)] = 1
    definite: ClassVar[bool] = True

    def matrix(self, factor: Factor) -> Array:
        """k between the cell points, (n_cells, n_cells)."""
        return np.cos(2 * pi * self.wavenumber / factor.period * (factor.points[:, None] - factor.points))

    def sum(self, points: Array, sources: Array, weights: Array, lengths: Array, gradient: bool = True) -> Sums:
        rate = 2 * pi * self.wavenumber / float(lengths[0])
        x, y = rate * points[:, 0], rate * sources[:, 0]
        even, odd = float(weights @ np.cos(y)), float(weights @ np.sin(y))
        return np.cos(x) * even + np.sin(x) * odd, (rate * (np.cos(x) * odd - np.sin(x) * even))[:, None]


@inlined
def exponential(weight: float, base: float, rate: float) -> tuple[float, float]:
    value = weight * np.exp(rate * (base - 1.0))
    return value, rate * value


@compiled
def exponential_sum(points: Array, sources: Array, weights: Array, rate: float, gradient: bool) -> Sums:
    return product_sum(exponential, points, sources, weights, rate, gradient)


class Exponential(Struct, frozen=True, forbid_unknown_fields=True, tag="exponential", tag_field="kind"):
    """e^{rate·x·y} of positions as vectors: cos and sin on a circle of radius 1, points of R³ on a surface."""

    rate: Annotated[float, Meta(gt=0.0)] = 1.0
    definite: ClassVar[bool] = True

    def matrix(self, factor: Factor) -> Array:
        """k between the cell points, (n_cells, n_cells)."""
        vectors = factor.embed(factor.points)
        return np.exp(self.rate * (vectors @ vectors.T))

    def sum(self, points: Array, sources: Array, weights: Array, lengths: Array, gradient: bool = True) -> Sums:
        """Of vectors, see `matrix`."""
        return exponential_sum(*contiguous(points, sources, weights), self.rate, gradient)


Law = PowerLaw | Logarithmic | Morse | Bessel | Cosine | Exponential
"""What an interaction may name beside the kernels of discrepancies."""

RadialLaw = PowerLaw | Logarithmic | Morse | Bessel | OfDistance
Peaked = PowerLaw | Logarithmic | Bessel
Product = Gaussian | Cosine | Exponential
"""Kernels that are a product over the factors, with a `matrix` for each."""
