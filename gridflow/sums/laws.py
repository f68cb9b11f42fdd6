"""Kernels of interactions beyond those of discrepancies: attraction and repulsion, bounded or singular.

k(x, y) of r = |x − y|, or of x·y; the interaction of a case is amplitude·k (`gridflow.energy.interaction.interaction`).

    power-law     r^a/a − r^b/b, or one of the two        attraction at a distance and repulsion nearby where a > b
    logarithmic   −log r                                  a log gas; 2π times Newton's repulsion in the plane
    morse         C_r e^{−r/ℓ_r} − C_a e^{−r/ℓ_a}
    bessel        (1 − λ²Δ)⁻¹ in R^d, d = 1, 2, 3         screened Newton
    cosine        cos(2πn(x − y)/L) on a circle           Kuramoto's coupling
    exponential   e^{rate·x·y}                            self-attention on spheres (Geshkovski et al. 2023)

Where k is infinite at r = 0 points do not act on themselves: sums leave r = 0 out, and on a grid `gridflow.sums.lattice` has what
stands for it. With a `softening` ε > 0, r is (|x − y|² + ε²)^½ in power laws and logarithms, on grids and at particles alike;
with a `mollification` particles alone have a smooth logarithm, and grids −log r (`gridflow.sums.powers`).

definite : whether k is positive definite on differences of equal mass: its energy is then convex in the density
peaked : whether `gridflow.sums.lattice` gives k(0) on a grid, because k is infinite or steep there; singular : infinite
"""

from math import pi
from typing import Annotated, ClassVar, Literal

import numpy as np
import scipy
from msgspec import Meta

from gridflow.space.factor import Array, Factor
from gridflow.sums.circles import CircleCosine
from gridflow.sums.distance import OfDistance, blockwise_sum
from gridflow.sums.door import numpy_alone, pair_sum
from gridflow.sums.elementary import compiled, exp_decaying, inlined
from gridflow.sums.formulas import Formula
from gridflow.sums.kernel import PairKernel
from gridflow.sums.kernels import TINY, Gaussian, laplace_sum
from gridflow.sums.pairs import Sums, combined, product_sum, radial_sum
from gridflow.sums.powers import Logarithmic, PowerLaw

Length = Annotated[float, Meta(gt=0.0)]


class Morse(PairKernel, frozen=True, forbid_unknown_fields=True, tag="morse", tag_field="kind"):
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

    @property
    def formula(self) -> Formula:
        terms = [f"Elem(p, {k}) * Exp(-Elem(p, {k + 1}) * Sqrt({{s}}))" for k in (0, 2)]
        slopes = [f"-Elem(p, {k + 1}) * {term} * Rsqrt({{s}})" for k, term in zip((0, 2), terms, strict=True)]
        return Formula(" + ".join(terms), " + ".join(slopes))

    @property
    def numbers(self) -> tuple[float, ...]:
        return tuple(number for height, length in self.parts for number in (height, 1 / length))

    def rows(self, points: Array, sources: Array, weights: Array, gradient: bool) -> Sums:
        return combined((height, laplace_sum(points, sources, weights, 1 / length, gradient)) for height, length in self.parts)


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


class Bessel(PairKernel, frozen=True, forbid_unknown_fields=True, tag="bessel", tag_field="kind"):
    """The fundamental solution of 1 − length²·Δ in R^dimension: e^{−r/λ}/(2λ), K₀(r/λ)/(2πλ²), e^{−r/λ}/(4πλ²r)."""

    length: Length
    dimension: Literal[1, 2, 3] = 2
    definite: ClassVar[bool] = True

    @property
    def peaked(self) -> bool:
        return self.dimension > 1

    @property
    def singular(self) -> bool:
        return self.dimension > 1

    def radial(self, squared: Array) -> Array:
        s = np.sqrt(squared) / self.length
        if self.dimension == 1:
            return np.exp(-s) / (2 * self.length)
        away = np.where(s > 0, s, 1.0)
        if self.dimension == 2:
            return np.where(s > 0, scipy.special.k0(away) / (2 * pi * self.length**2), 0.0)
        return np.where(s > 0, np.exp(-away) / (4 * pi * away * self.length**3), 0.0)

    @property
    def formula(self) -> Formula:
        if self.dimension == 1:
            value = "p * Exp(-p * Sqrt({s})) / IntCst(2)"
            return Formula(value, f"-p * {value} * Rsqrt({{s}})")
        value = "Elem(p, 1) * Exp(-Elem(p, 0) * Sqrt({s})) * Rsqrt({s})"
        return Formula(value, f"-{value} * (Elem(p, 0) + Rsqrt({{s}})) * Rsqrt({{s}})", singular=True)

    @property
    def numbers(self) -> tuple[float, ...]:
        return (1 / self.length,) if self.dimension == 1 else (1 / self.length, 1 / (4 * pi * self.length**2))

    def rows(self, points: Array, sources: Array, weights: Array, gradient: bool) -> Sums:
        rows = screened_line_sum if self.dimension == 1 else screened_space_sum
        return rows(points, sources, weights, 1 / self.length, gradient)

    def sum(self, points: Array, sources: Array, weights: Array, lengths: Array, gradient: bool = True) -> Sums:
        if self.dimension != 2:
            return pair_sum(self, points, sources, weights, gradient)
        numpy_alone("a kernel with Bessel functions")
        scale = 1 / (2 * pi * self.length**2)
        value = lambda r: scale * scipy.special.k0(r / self.length)  # noqa: E731
        slope = lambda r: -scale / self.length * scipy.special.k1(r / self.length)  # noqa: E731
        return blockwise_sum(points, sources, weights, value, slope if gradient else None, at_zero=0.0)


class Cosine(PairKernel, frozen=True, forbid_unknown_fields=True, tag="cosine", tag_field="kind"):
    """cos(2π·wavenumber·(x − y)/L) on one circle of length L."""

    wavenumber: Annotated[int, Meta(ge=1, le=1000)] = 1
    definite: ClassVar[bool] = True

    def matrix(self, factor: Factor) -> Array:
        """k between the cell points, (n_cells, n_cells)."""
        return np.cos(2 * pi * self.wavenumber / factor.period * (factor.points[:, None] - factor.points))

    def order(self, dim: int) -> int:
        return 1

    def sum(self, points: Array, sources: Array, weights: Array, lengths: Array, gradient: bool = True) -> Sums:
        return pair_sum(CircleCosine(2 * pi * self.wavenumber / float(lengths[0])), points, sources, weights, gradient)


@inlined
def exponential(weight: float, base: float, rate: float) -> tuple[float, float]:
    value = weight * np.exp(rate * (base - 1.0))
    return value, rate * value


@compiled
def exponential_sum(points: Array, sources: Array, weights: Array, rate: float, gradient: bool) -> Sums:
    return product_sum(exponential, points, sources, weights, rate, gradient)


class Exponential(PairKernel, frozen=True, forbid_unknown_fields=True, tag="exponential", tag_field="kind"):
    """e^{rate·x·y} of positions as vectors: cos and sin on a circle of radius 1, points of R³ on a surface."""

    rate: Annotated[float, Meta(gt=0.0)] = 1.0
    definite: ClassVar[bool] = True

    def matrix(self, factor: Factor) -> Array:
        """k between the cell points, (n_cells, n_cells)."""
        vectors = factor.embed(factor.points)
        return np.exp(self.rate * (vectors @ vectors.T))

    @property
    def formula(self) -> Formula:
        """Of vectors, see `matrix`."""
        return Formula("Exp(p * ({s} - IntCst(1)))", "p * Exp(p * ({s} - IntCst(1)))", of="product")

    @property
    def numbers(self) -> tuple[float, ...]:
        return (self.rate,)

    def of_product(self, base: Array) -> Array:
        return np.exp(self.rate * (base - 1))

    def rows(self, points: Array, sources: Array, weights: Array, gradient: bool) -> Sums:
        return exponential_sum(points, sources, weights, self.rate, gradient)


Law = PowerLaw | Logarithmic | Morse | Bessel | Cosine | Exponential
"""What an interaction may name beside the kernels of discrepancies."""

RadialLaw = PowerLaw | Logarithmic | Morse | Bessel | OfDistance
Peaked = PowerLaw | Logarithmic | Bessel
Product = Gaussian | Cosine | Exponential
"""Kernels that are a product over the factors, with a `matrix` for each."""
