"""Power laws and logarithms, kernels of attraction and repulsion (`gridflow.sums.laws`): infinite at r = 0, or softened there.

Particles may have mollified logarithms. With k_ε = −½log(r² + ε²), N of them have

    (1 − ε∂_ε) k_ε = −½log(r² + ε²) + ε²/(r² + ε²),    ε = mollification·N^{−1/2}

On a line k_ε is −log r averaged over Poisson's kernel, its Fourier transform is (π/|q|)e^{−ε|q|}, and that of the above

    (π/|q|)(1 + ε|q|)e^{−ε|q|} = (π/|q|)(1 − (εq)²/2 + …) > 0:

positive definite as −log r, and nearer to it by an order than k_ε: fields of smooth densities err by ε² ~ 1/N, less than the
N^{−1/2} of a sample. On a line ε is many times the spacing 1/N of particles: their sum is an integral, and the rate at which
neighbours repel each other, which bounds explicit steps, at most 2.64·max ρ/ε. In the plane ε is the spacing, and the velocity
that a pair gives itself at most 1.1/(Nε). A verdict measures what ε changes (`gridflow.verdict.ensembles`).
"""

from typing import Annotated, ClassVar

import numpy as np
from msgspec import Meta

from gridflow.space.factor import Array
from gridflow.sums.elementary import LN2, compiled, inlined, log2_and_inverse, power_and_inverse
from gridflow.sums.formulas import Formula
from gridflow.sums.kernel import PairKernel
from gridflow.sums.kernels import TINY
from gridflow.sums.pairs import Sums, combined, radial_sum

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
    value, inverse = power_and_inverse(away, exponent / 2)
    value *= weight if away > TINY else 0.0
    return value / exponent, value * inverse


@compiled
def power_sum(points: Array, sources: Array, weights: Array, exponent: float, square: float, gradient: bool) -> Sums:
    return radial_sum(soft_power, points, sources, weights, (exponent, square), gradient)


def square_sum(points: Array, sources: Array, weights: Array, square: float) -> Sums:
    """Sums of (r² + ε²)/2 by the moments of the sources about their mean, weighted by |w|: it lies among them for all signs."""
    total, sizes = float(weights.sum()), np.abs(weights)
    centre = sizes @ sources / sizes.sum() if sizes.any() else np.zeros(sources.shape[1])
    spread, first = float(weights @ ((sources - centre) ** 2).sum(axis=1)), weights @ (sources - centre)
    away = points - centre
    values = 0.5 * (total * ((away**2).sum(axis=1) + square) + spread) - (away * first).sum(axis=1)
    return values, total * away - first


@inlined
def binary_log(weight: float, squared: float, square: float) -> tuple[float, float]:
    """w log₂ r² and w/r², r² = squared + ε²; their factors the whole sums get."""
    away = max(squared + square, TINY)
    log2, inverse = log2_and_inverse(away)
    kept = weight if away > TINY else 0.0
    return kept * log2, kept * inverse


@compiled
def log_sum(points: Array, sources: Array, weights: Array, square: float, gradient: bool) -> Sums:
    values, slopes = radial_sum(binary_log, points, sources, weights, square, gradient)
    return -0.5 * LN2 * values, -slopes


class PowerLaw(PairKernel, frozen=True, forbid_unknown_fields=True, tag="power-law", tag_field="kind"):
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
    def singular(self) -> bool:
        return self.softening == 0 and self.least < 0

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

    @property
    def formula(self) -> Formula:
        square, terms = f"({{s}} + Elem(p, {len(self.parts)}))", range(len(self.parts))
        signs = ["" if sign > 0 else "-" for sign, _ in self.parts]
        value = " + ".join(f"{signs[k]}Exp(Elem(p, {k}) / IntCst(2) * Log({square})) / Elem(p, {k})" for k in terms)
        slope = " + ".join(f"{signs[k]}Exp((Elem(p, {k}) / IntCst(2) - IntCst(1)) * Log({square}))" for k in terms)
        return Formula(value, slope, singular=self.softening == 0)

    @property
    def numbers(self) -> tuple[float, ...]:
        return (*(p for _, p in self.parts), self.softening**2)

    def order(self, dim: int) -> int:
        return 1 if self.quadratic else 2

    def by_structure(self, points: Array, sources: Array, weights: Array) -> Sums | None:
        return self.rows(points, sources, weights, True) if self.quadratic else None

    def rows(self, points: Array, sources: Array, weights: Array, gradient: bool) -> Sums:
        square = self.softening**2

        def term(p: float) -> Sums:
            if p == 2:
                return square_sum(points, sources, weights, square)
            return power_sum(points, sources, weights, float(p), square, gradient)

        return combined((sign, term(p)) for sign, p in self.parts)


@inlined
def mollified_binary_log(weight: float, squared: float, square: float) -> tuple[float, float]:
    """w(log₂ R² − (2/ln 2)ε²/R²) and w(1 + 2ε²/R²)/R², R² = squared + ε²."""
    log2, inverse = log2_and_inverse(max(squared + square, TINY))
    share = square * inverse
    return weight * (log2 - 2 / LN2 * share), weight * (1 + 2 * share) * inverse


@compiled
def mollified_log_sum(points: Array, sources: Array, weights: Array, square: float, gradient: bool) -> Sums:
    values, slopes = radial_sum(mollified_binary_log, points, sources, weights, square, gradient)
    return -0.5 * LN2 * values, -slopes


class MollifiedLogarithm(PairKernel, frozen=True):
    """−½log(r² + ε²) + ε²/(r² + ε²), of particles; length : ε."""

    length: float

    def radial(self, squared: Array) -> Array:
        square = squared + self.length**2
        return -0.5 * np.log(square) + self.length**2 / square

    @property
    def formula(self) -> Formula:
        value = "p * Inv({s} + p) - Log({s} + p) / IntCst(2)"
        return Formula(value, "-(IntCst(1) + IntCst(2) * p * Inv({s} + p)) * Inv({s} + p)")

    @property
    def numbers(self) -> tuple[float, ...]:
        return (self.length**2,)

    def rows(self, points: Array, sources: Array, weights: Array, gradient: bool) -> Sums:
        return mollified_log_sum(points, sources, weights, *self.numbers, gradient)


class Logarithmic(PairKernel, frozen=True, forbid_unknown_fields=True, tag="logarithmic", tag_field="kind"):
    """−log r. softening : ε in r² + ε², of grids and particles; mollification : of particles alone, see above, 0 for none."""

    softening: Softening = 0.0
    mollification: Softening = 0.0
    definite: ClassVar[bool] = True
    peaked: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.softening > 0 and self.mollification > 0:
            raise ValueError("a softened logarithm with a mollification of particles; remove one of them")

    def of_particles(self, count: int) -> "Logarithmic | MollifiedLogarithm":
        """The kernel between so many particles."""
        return MollifiedLogarithm(self.mollification * count**-0.5) if self.mollification > 0 else self

    @property
    def singular(self) -> bool:
        return self.softening == 0

    def radial(self, squared: Array) -> Array:
        square = squared + self.softening**2
        return -0.5 * np.log(np.where(square > 0, square, 1.0))

    @property
    def formula(self) -> Formula:
        return Formula("-Log({s} + p) / IntCst(2)", "-Inv({s} + p)", singular=self.softening == 0)

    @property
    def numbers(self) -> tuple[float, ...]:
        return (self.softening**2,)

    def rows(self, points: Array, sources: Array, weights: Array, gradient: bool) -> Sums:
        return log_sum(points, sources, weights, *self.numbers, gradient)
