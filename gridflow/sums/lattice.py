"""Singular kernels on lattices: what stands for k(0), and which kernels are integrable."""

from math import gamma, pi

import numpy as np
import scipy

from gridflow.errors import require
from gridflow.space.factor import Array
from gridflow.sums.laws import Law, Peaked, PowerLaw

MARGIN = 1e-3
"""Of exponents above −d: nearer to it the energy is that of the nearest neighbours, and no quadrature knows it."""
FLATNESS = 8
"""Of the cutoff e^{−(r/s)^8}: it changes the value at r = 0 by (h/s)^8."""
QUADRATURE = 1e-12
"""Error of the integral, over that of |k|."""
CUTOFF_CELLS = {1: 100, 2: 40, 3: 14}
"""s in cells, by the dimension: (h/s)^8 is 1e−16, 2e−13, 7e−10."""


def lattice_value(kernel: "Peaked", widths: Array) -> float:
    """What stands for k(0) in a sum over the points of a lattice, which then is the integral of a smooth density to second order.

    With a smooth cutoff c(r) that is flat at 0, (∫k c dx − V Σ' k(x_n) c(x_n))/V over the other points of the lattice: for −log r
    on a line it is −log(h/2π), for r^p there −2ζ(−p)h^p (Navot 1961, 1962).

    widths : of the cell along every line, (dim,)
    """
    dim, volume = widths.size, float(np.prod(widths))
    reach = CUTOFF_CELLS[dim] * float(widths.max())
    ends = [int(np.ceil(1.6 * reach / h)) for h in widths]  # e^{−1.6^8} = 2e−19
    squares = [(h * np.arange(-n, n + 1)) ** 2 for h, n in zip(widths, ends, strict=True)]
    squared = squares[0]
    for more in squares[1:]:
        squared = np.add.outer(squared, more)
    with_cutoff = kernel.radial(squared) * np.exp(-((squared / reach**2) ** (FLATNESS // 2)))
    with_cutoff.flat[with_cutoff.size // 2] = 0.0
    sphere = 2 * pi ** (dim / 2) / gamma(dim / 2)

    def ring(u: float) -> float:  # r = u^6: powers of r above −dim are smooth enough there
        r = reach * u**6
        value = kernel.radial(np.array([r * r]))[0] * np.exp(-((r / reach) ** FLATNESS))
        return float(sphere * r ** (dim - 1) * value * 6 * reach * u**5)

    size = volume * float(np.abs(with_cutoff).sum())  # the integral itself may vanish, where k changes its sign
    whole, _ = scipy.integrate.quad(ring, 0.0, 1.6 ** (1 / 6), epsabs=QUADRATURE * size, epsrel=QUADRATURE, limit=400)
    return (whole - volume * float(with_cutoff.sum())) / volume


def check_integrable(kernel: Law, dim: int) -> None:
    """Raises InputError for a kernel whose integral over a ball of R^dim is infinite."""
    if isinstance(kernel, PowerLaw) and kernel.softening == 0:
        received = f"a power law with the exponent {kernel.least:g} in {dim} dimension{'s' * (dim > 1)}"
        allowed = f"exponents above −{dim} + {MARGIN:g}: at −{dim} the energy of a density is infinite"
        require(kernel.least >= MARGIN - dim, received, allowed, "raise it, or give a softening")
