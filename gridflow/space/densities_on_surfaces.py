"""Named probability densities on surfaces: functions of the cosine to an axis (`gridflow.space.densities` has the contract)."""

from typing import Annotated

import numpy as np
import scipy
from msgspec import Meta, Struct

from gridflow.space.distribution import inverse, singular, surface_under
from gridflow.space.factor import Array, Factor
from gridflow.space.mesh import unit

Direction = tuple[float, float, float]


class Fisher(Struct, frozen=True, forbid_unknown_fields=True, tag="fisher", tag_field="kind"):
    """von Mises–Fisher density on a surface, κ exp(κ(cos − 1))/(2π(1 − e^{−2κ})), cos to `direction` on the unit sphere it is
    isometric to (Fisher 1953)."""

    direction: Direction
    concentration: Annotated[float, Meta(gt=0.0, le=1e4)]

    def __post_init__(self) -> None:
        check_direction(self.direction)

    def masses(self, factor: Factor) -> Array:
        """Masses of the cells, (n_cells,)."""
        k = self.concentration
        return surface_under(factor, "fisher").zonal_masses(
            lambda cosine: k * np.exp(k * (cosine - 1)) / (-2 * np.pi * np.expm1(-2 * k)), self.direction
        )

    def logarithm(self, x: Array, factor: Factor) -> tuple[Array, Array]:
        """See `Normal.logarithm`; the derivative is a vector of R³."""
        k, (cosine, slope) = self.concentration, cosine_to(self.direction, surface_under(factor, "fisher").fold(x))
        return k * (cosine - 1) + np.log(k / (-2 * np.pi * np.expm1(-2 * k))), k * slope

    def quantile(self, level: Array, factor: Factor) -> Array:
        """Positions from (n, 2) levels in (0, 1): the cosine by its distribution function, and the turn around the axis."""
        k = self.concentration
        cosine = 1 + np.log(level[:, 0] + (1 - level[:, 0]) * np.exp(-2 * k)) / k
        return surface_under(factor, "fisher").around(self.direction, cosine, level[:, 1])


class Harmonic(Struct, frozen=True, forbid_unknown_fields=True, tag="harmonic", tag_field="kind"):
    """(1 + amplitude·P_l(cos))/4π on a surface, cos to `axis` on the unit sphere it is isometric to: a spherical harmonic of
    degree l, eigenfunction of the Laplacian with l(l + 1)."""

    amplitude: Annotated[float, Meta(ge=-1.0, le=1.0)]
    degree: Annotated[int, Meta(ge=1, le=16)] = 1
    axis: Direction = (0.0, 0.0, 1.0)

    def __post_init__(self) -> None:
        check_direction(self.axis)

    def masses(self, factor: Factor) -> Array:
        """Masses of the cells, (n_cells,)."""
        return surface_under(factor, "harmonic").zonal_masses(
            lambda cosine: (1 + self.amplitude * scipy.special.eval_legendre(self.degree, cosine)) / (4 * np.pi), self.axis
        )

    def logarithm(self, x: Array, factor: Factor) -> tuple[Array, Array]:
        """See `Normal.logarithm`. Raises InputError for a density that vanishes somewhere."""
        if abs(self.amplitude) == 1:
            raise singular(f"a harmonic density on {factor.name!r} that may vanish at a point", "use an amplitude below 1")
        cosine, slope = cosine_to(self.axis, surface_under(factor, "harmonic").fold(x))
        polynomial = np.polynomial.Legendre.basis(self.degree)
        value = 1 + self.amplitude * polynomial(cosine)
        return np.log(value / (4 * np.pi)), (self.amplitude * polynomial.deriv()(cosine) / value)[:, None] * slope

    def quantile(self, level: Array, factor: Factor) -> Array:
        """The distribution function of the cosine, inverted by bisection; ∫P_l = (P_{l+1} − P_{l−1})/(2l + 1)."""
        n = self.degree

        def below(x: Array) -> Array:
            wave = (scipy.special.eval_legendre(n + 1, x) - scipy.special.eval_legendre(n - 1, x)) / (2 * n + 1)
            return (x + 1 + self.amplitude * wave) / 2

        cosine = inverse(below, level[:, 0], -1.0, 1.0, 55)
        return surface_under(factor, "harmonic").around(self.axis, cosine, level[:, 1])


def cosine_to(direction: Direction, x: Array) -> tuple[Array, Array]:
    """(cosine of the angle between an axis and the images b/‖b‖ of positions (n, 3), (n,); its derivative in R³, (n, 3))."""
    image, axis = unit(x), np.array(direction) / np.linalg.norm(direction)
    cosine = image @ axis
    return cosine, (axis - image * cosine[:, None]) / np.linalg.norm(x, axis=1, keepdims=True)


def check_direction(direction: Direction) -> None:
    """Raises ValueError for the vector 0."""
    if not np.linalg.norm(direction) > 1e-12:
        raise ValueError(f"direction {list(direction)} has no length; give a vector other than 0")
