"""Kernels of a maximum mean discrepancy, k(x, y) of positions in the product of the factors (S4).

r is the Euclidean distance over all factors, labels included; a Gaussian alone is a product over factors, and may wind around
circles. Riesz kernels are positive definite for measures of mass 0 only: mass is 1 on both sides, so that a constant added to k
changes nothing.
"""

from math import gamma, pi, sin
from typing import Annotated, ClassVar

import numpy as np
from msgspec import Meta, Struct
from scipy.special import zeta

from gridflow.space.factor import Array
from gridflow.sums.pairs import PairKernel

Bandwidth = Annotated[float, Meta(gt=0.0)]


class Gaussian(Struct, frozen=True, forbid_unknown_fields=True, tag="gaussian", tag_field="kind"):
    """exp(−r²/(2·bandwidth²)), summed over all windings of a circle."""

    bandwidth: Bandwidth

    @property
    def parameter(self) -> float:
        return self.bandwidth

    def radial(self, squared: Array) -> Array:
        return np.exp(-squared / (2 * self.bandwidth**2))


class Laplace(Struct, frozen=True, forbid_unknown_fields=True, tag="laplace", tag_field="kind"):
    """exp(−r/bandwidth)."""

    bandwidth: Bandwidth
    word: ClassVar[PairKernel] = "laplace"

    @property
    def parameter(self) -> float:
        return self.bandwidth

    def radial(self, squared: Array) -> Array:
        return np.exp(-np.sqrt(squared) / self.bandwidth)


class InverseMultiquadric(Struct, frozen=True, forbid_unknown_fields=True, tag="imq", tag_field="kind"):
    """(1 + r²/bandwidth²)^(−1/2)."""

    bandwidth: Bandwidth
    word: ClassVar[PairKernel] = "imq"

    @property
    def parameter(self) -> float:
        return self.bandwidth

    def radial(self, squared: Array) -> Array:
        return 1 / np.sqrt(1 + squared / self.bandwidth**2)


class Riesz(Struct, frozen=True, forbid_unknown_fields=True, tag="riesz", tag_field="kind"):
    """−r^exponent, 0 < exponent < 2."""

    exponent: Annotated[float, Meta(gt=0.0, lt=2.0)] = 1.0
    word: ClassVar[PairKernel] = "riesz"

    @property
    def parameter(self) -> float:
        return self.exponent

    def radial(self, squared: Array) -> Array:
        return -(squared ** (self.exponent / 2))


class Polynomial(Struct, frozen=True, forbid_unknown_fields=True, tag="polynomial", tag_field="kind"):
    """(1 + x·y)^degree: sees moments up to that degree only."""

    degree: Annotated[int, Meta(ge=1, le=12)]
    word: ClassVar[PairKernel] = "polynomial"

    @property
    def parameter(self) -> float:
        return float(self.degree)


Radial = Gaussian | Laplace | InverseMultiquadric | Riesz
Kernel = Radial | Polynomial


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
    zeta_negative = -(2**-p) * pi ** (-p - 1) * sin(pi * p / 2) * gamma(1 + p) * float(zeta(1 + p))  # ζ(−p)
    return 2 * zeta_negative * volumes**p
