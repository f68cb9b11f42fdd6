"""On which factors a kernel is defined, integrable and resolved."""

import numpy as np

from gridflow.errors import InputError, require
from gridflow.space.factor import Factor
from gridflow.sums.distance import OfDistance
from gridflow.sums.kernels import Gaussian, InverseMultiquadric, Kernel, Laplace, Polynomial
from gridflow.sums.lattice import check_integrable
from gridflow.sums.laws import Bessel, Cosine, Exponential, Law, Morse, Peaked, Product

NamedKernel = Kernel | Law
AnyKernel = NamedKernel | OfDistance

FIX = "name other factors in energy.factors, or choose another kernel"
SIDES_MAX = 1.5
"""Longest over shortest side of a cell for singular kernels. On longer ones neighbours along the short side outweigh the value
that stands for r = 0, and mass that repels itself forms stripes: from 1 : 2 in space, from 1 : 2.5 in the plane."""
WIDEST = 1.5
"""Bandwidth of a Gaussian over the length of a circle."""
WAVE_CELLS = 4
"""Cells along one wave, at least."""


def check_space(kernel: AnyKernel, factors: tuple[Factor, ...]) -> None:
    """Raises InputError for factors on which a kernel is not defined, not integrable or not resolved."""
    kind = "of distance" if isinstance(kernel, OfDistance) else str(kernel.__struct_config__.tag)
    moves = any(f.moves for f in factors)
    require(moves, f"an interaction with the kernel {kind!r} of labels alone", "a factor in which mass moves", FIX)
    check_factors(kernel, kind, factors)
    if isinstance(kernel, Peaked):
        check_peaked(kernel, kind, factors)
    check_wound(kernel, factors)
    for what, length, key in lengths_of(kernel):
        for factor in (f for f in factors if f.moves):
            received = f"{what} {length:g} below the cell size {factor.cell_width:.3g} of {factor.name!r}"
            fix = f"change energy.kernel.{key}, or raise the number of cells"
            require(length >= factor.cell_width * (1 - 1e-9), received, f"{what} of at least one cell", fix)


def check_wound(kernel: AnyKernel, factors: tuple[Factor, ...]) -> None:
    """Raises InputError for a Gaussian on a circle on which it is constant to round-off: e^(−2π²·WIDEST²) = 2e−20."""
    for factor in (f for f in factors if f.period > 0 and isinstance(kernel, Gaussian)):
        assert isinstance(kernel, Gaussian)
        received = f"a bandwidth {kernel.bandwidth:g} on the circle {factor.name!r} of length {factor.period:.3g}"
        allowed = f"at most {WIDEST:g} times its length: a wider kernel is the same at all distances"
        require(kernel.bandwidth <= WIDEST * factor.period, received, allowed, "lower the bandwidth")


def check_factors(kernel: AnyKernel, kind: str, factors: tuple[Factor, ...]) -> None:
    """Raises InputError for factors on which a kernel is not defined."""
    lines, circles = [f for f in factors if f.one_dimensional], [f for f in factors if f.period > 0]
    surfaces = [f for f in factors if f.columns > 1]
    if isinstance(kernel, Cosine):
        require(len(factors) == 1 and len(circles) == 1, "the kernel 'cosine' of other factors", "one circle alone", FIX)
        most = factors[0].size // WAVE_CELLS
        received = f"the wavenumber {kernel.wavenumber} on {factors[0].size} cells"
        require(kernel.wavenumber <= most, received, f"at most {most}", "raise the number of cells")
    if not isinstance(kernel, Product):
        for circle in circles:
            allowed = "gaussian, which winds around it, cosine and exponential"
            raise InputError(f"the kernel {kind!r} on the circle {circle.name!r}", allowed, FIX)
        received = f"the kernel {kind!r} of the factors {', '.join(f.name for f in factors)}"
        allowed = "one surface alone; gaussian and exponential for products"
        require(not surfaces or len(factors) == 1, received, allowed, FIX)
    if isinstance(kernel, Polynomial):
        require(not surfaces, f"the kernel {kind!r} on a surface", "gaussian, laplace, imq, riesz, morse and exponential", FIX)
    if isinstance(kernel, Bessel):
        require(len(factors) == kernel.dimension == len(lines), f"bessel of {len(factors)} factors", "as many as dimension", FIX)


def check_peaked(kernel: Peaked, kind: str, factors: tuple[Factor, ...]) -> None:
    """Raises InputError for factors on which a singular kernel is not integrable, or its sums are not resolved."""
    lines = [f for f in factors if f.one_dimensional]
    smooth = all(f.columns == 1 for f in factors)
    require(smooth, f"the kernel {kind!r} on a surface", "kernels that are smooth or have a kink at r = 0", FIX)
    require(len(lines) <= 3, f"the kernel {kind!r} of {len(lines)} lines", "at most three", FIX)
    check_integrable(kernel, len(lines))
    if not kernel.peaked:
        return
    uniform = len(lines) == 1 or all(f.uniform for f in lines)
    require(uniform, f"the kernel {kind!r} on graded cells", "equal cells, or one line", FIX)
    sides = [f.cell_width for f in lines]
    received = f"the kernel {kind!r} on cells with sides of {' and '.join(f'{side:.3g}' for side in sides)}"
    fix = "choose the numbers of cells so that the sides are about equal"
    require(len(lines) == 1 or max(sides) <= SIDES_MAX * min(sides), received, f"sides within a factor {SIDES_MAX:g}", fix)
    for factor in (f for f in factors if not f.moves and f.size > 1):
        gap = float(np.diff(np.sort(factor.points)).min())
        received = f"the kernel {kind!r} of labels {factor.name!r} {gap:.3g} apart, nearer than a cell of {max(sides):.3g}"
        fix = "leave them out of energy.factors, or use finer cells"
        require(gap >= max(sides), received, "labels at least one cell apart", fix)


def lengths_of(kernel: AnyKernel) -> list[tuple[str, float, str]]:
    """(name, length, key) of what the cells must resolve."""
    if isinstance(kernel, Gaussian | Laplace | InverseMultiquadric):
        return [("a bandwidth", kernel.bandwidth, "bandwidth")]
    if isinstance(kernel, Bessel):
        return [("a length", kernel.length, "length")]
    if isinstance(kernel, Morse):
        both = [(kernel.repulsion, "repulsion_length"), (kernel.attraction, "attraction_length")]
        lengths = {"repulsion_length": kernel.repulsion_length, "attraction_length": kernel.attraction_length}
        return [("a length", lengths[key], key) for height, key in both if height > 0]
    if isinstance(kernel, Exponential):
        return [("twice the width rate^(−1/2),", 2 * kernel.rate**-0.5, "rate")]  # the midpoint rule then errs by 1 %
    return []
