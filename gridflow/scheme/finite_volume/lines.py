"""Implicit steps along the lines of one factor: exp(dt·A) for the fluxes of drift and diffusion through its faces.

A is the generator of mass moving along one line, tridiagonal (cyclic on a circle). Through face f between the cells l and r

    F = k (B(−s) ρ_l − B(s) ρ_r),   k = A_f D M/d_f,   s = (ξ_l − ξ_r)/D,   B(s) = s/(eˢ − 1)

exponentially fitted (Scharfetter and Gummel 1969); or, without drift, F = k(ρ_l − ρ_r), with k = A_f M (D + ν_f)/d_f, where the
mean viscosity of both cells, ν_f, may add to the diffusivity. In place of the exponential stands

    R = (I − γ dt A)⁻² (I + (1 − 2γ) dt A),   γ = 1 − 1/√2

the diagonally implicit Runge–Kutta method of order 2 that is L-stable (Alexander 1977, SIAM J. Numer. Anal. 14, 1006–1021). With
P = (I − γ dt A)⁻¹ it is R = P((1 + √2)P − √2 I), without the product dt·A, which would lose the mass of a line in long steps. P
is nonnegative; a line that R leaves negative somewhere is redone by (I − dt/2 A)⁻², of order 1 and never negative. Where ξ is
fixed, R keeps the densities ∝ e^{−ξ/D} at rest.

The unknowns are masses, in which the columns of A sum to 0: elimination then needs no difference at all (`eliminate`), so that
the mass of every line is kept to round-off however long the step. Lines are worked on in blocks, side by side in registers.
"""

from typing import Any, NamedTuple

import numpy as np

from gridflow import compiled
from gridflow.scheme.finite_volume.blocks import BLOCK, SAME_BITS, is_negative, load, store, take_lines
from gridflow.space.factor import Array

kernel: Any = compiled.kernel(fastmath=SAME_BITS, nogil=True)
inner: Any = compiled.inner(fastmath=SAME_BITS)
inlined: Any = compiled.inner(fastmath=SAME_BITS, forceinline=True)

ROOT = 2**0.5
GAMMA = 1 - 0.5**0.5
SERIES_MAX = 4.0
"""|s| up to which (s/2)coth(s/2) is a series at s/8, doubled three times; beyond it is one at s/64, doubled six times."""
COTH_ONE = 40.0
"""|s| from which coth(s/2) = 1 to round-off."""


class Line(NamedTuple):
    """A line or circle as kernels read it: volumes of the cells and 1/volumes, A/d of the face before each cell, 0 at a wall."""

    volume: Array
    inverse_volume: Array
    rate: Array
    circle: bool


@inlined
def half_coth_series(t2):
    """x(t) = (t/2)coth(t/2) from t², |t| ≤ 0.63: Σ B₂ₙ t²ⁿ/(2n)!, the next term is below 1e−17."""
    high = 1 / 47900160 + t2 * (-691 / 1307674368000 + t2 * (1 / 74724249600))
    return 1 + t2 * (1 / 12 + t2 * (-1 / 720 + t2 * (1 / 30240 + t2 * (-1 / 1209600 + t2 * high))))


@inlined
def half_coth(s):
    """(s/2)coth(s/2) for |s| ≤ SERIES_MAX, by x(2t) = x(t) + t²/(4x(t))."""
    t2 = s * s * (1 / 64)
    x = half_coth_series(t2)
    x += t2 / (4 * x)
    x += t2 / x
    return x + 4 * t2 / x


@inlined
def half_coth_large(s):
    """The same for any s."""
    z = abs(s)
    t2 = min(z, COTH_ONE) * (1 / 64)
    t2 *= t2
    x = half_coth_series(t2)
    x += t2 / (4 * x)
    x += t2 / x
    x += 4 * t2 / x
    x += 16 * t2 / x
    x += 64 * t2 / x
    x += 256 * t2 / x
    return x + 0.5 * max(z - COTH_ONE, 0.0)


@inlined
def rates_fitted(right, left, xi, factor, mobility, k_a, k_b, a, b, m):
    """What cell a gives through its face to the cell b, and b to a, per mass and time."""
    steep = 0.0
    for q in range(m):
        steep = max(steep, abs(xi[a, q] - xi[b, q]))
    if steep * factor <= SERIES_MAX:
        for q in range(m):
            s = (xi[a, q] - xi[b, q]) * factor
            x = half_coth(s)
            right[a, q] = mobility[q] * k_a * (x + 0.5 * s)
            left[b, q] = mobility[q] * k_b * (x - 0.5 * s)
    else:
        for q in range(m):
            s = (xi[a, q] - xi[b, q]) * factor
            x = half_coth_large(s)
            right[a, q] = mobility[q] * k_a * max(x + 0.5 * s, 0.0)
            left[b, q] = mobility[q] * k_b * max(x - 0.5 * s, 0.0)


@inlined
def rates_viscous(right, left, viscosity, mobility, diffusivity, rate_a, rate_b, a, b, m):
    """The same without drift, with a viscosity ≥ 0; the maximum with 0 keeps sums from being reordered where there is none."""
    for q in range(m):
        k = mobility[q] * (diffusivity + max(0.0, 0.5 * (viscosity[a, q] + viscosity[b, q])))
        right[a, q] = rate_a * k
        left[b, q] = rate_b * k


@inner
def rates(right, left, field, mobility, rate, inverse_volume, diffusivity, factor, circle, m):
    """The rates of all faces of a block, from ξ where `factor` > 0, else from the viscosity."""
    n = right.shape[0]
    for b in range(0 if circle else 1, n):
        a = b - 1 if b > 0 else n - 1
        rate_a, rate_b = rate[b] * inverse_volume[a], rate[b] * inverse_volume[b]
        if factor > 0.0:
            rates_fitted(right, left, field, factor, mobility, diffusivity * rate_a, diffusivity * rate_b, a, b, m)
        else:
            rates_viscous(right, left, field, mobility, diffusivity, rate_a, rate_b, a, b, m)
    if not circle:
        for q in range(m):
            left[0, q] = 0.0
            right[n - 1, q] = 0.0


@inner
def eliminate(inverse, border, right, left, g, circle, m):
    """1/d of the pivots d of I − gA, first cell first: d_i = g·right_i + e_i, e_{i+1} = 1 + g·left_{i+1} e_i/d_i, sums alone.

    On a circle the last cell closes the line: `border` is (I − gA)⁻¹ of its column over the others, and its own pivot is
    1 + Σ border, since the columns sum to 1.
    """
    n = right.shape[0]
    end = n - 1 if circle else n
    for q in range(m):
        e = 1.0 + g * left[0, q]
        inverse[0, q] = 1 / (g * right[0, q] + e)
        border[0, q] = e * inverse[0, q]
    for i in range(1, end):
        for q in range(m):
            e = 1.0 + g * left[i, q] * border[i - 1, q]
            inverse[i, q] = 1 / (g * right[i, q] + e)
            border[i, q] = e * inverse[i, q]
    if circle:
        for q in range(m):
            border[0, q] = g * right[end, q] * inverse[0, q]
        for i in range(1, end):
            for q in range(m):
                enters = g * left[end, q] if i == end - 1 else 0.0
                border[i, q] = (enters + g * right[i - 1, q] * border[i - 1, q]) * inverse[i, q]
        for q in range(m):
            border[end, q] = 1.0 + border[end - 1, q]
        for i in range(end - 2, -1, -1):
            for q in range(m):
                border[i, q] += g * left[i + 1, q] * inverse[i, q] * border[i + 1, q]
                border[end, q] += border[i, q]


@inner
def resolve(y, inverse, border, right, left, g, circle, m):
    """y ← (I − gA)⁻¹ y."""
    n = right.shape[0]
    end = n - 1 if circle else n
    for q in range(m):
        y[0, q] *= inverse[0, q]
    for i in range(1, end):
        for q in range(m):
            y[i, q] = (y[i, q] + g * right[i - 1, q] * y[i - 1, q]) * inverse[i, q]
    for i in range(end - 2, -1, -1):
        for q in range(m):
            y[i, q] += g * left[i + 1, q] * inverse[i, q] * y[i + 1, q]
    if circle:
        for q in range(m):
            enters = y[end, q] + g * (right[end - 1, q] * y[end - 1, q] + left[0, q] * y[0, q])
            y[end, q] = enters / border[end, q]
        for i in range(end):
            for q in range(m):
                y[i, q] += border[i, q] * y[end, q]


@inner
def swap(y, other, m):
    """Exchange two blocks."""
    for i in range(y.shape[0]):
        for q in range(m):
            y[i, q], other[i, q] = other[i, q], y[i, q]


@inner
def take_nonnegative(y, other, m):
    """Replace columns of y by those of another block that have no negative number."""
    n = y.shape[0]
    for q in range(m):
        lowest = 0.0
        for i in range(n):
            lowest = min(lowest, other[i, q])
        if not lowest < 0.0:
            for i in range(n):
                y[i, q] = other[i, q]


@inner
def extrapolate(y, mass, m):
    """y ← (1 + √2)y − √2 mass."""
    for i in range(y.shape[0]):
        for q in range(m):
            y[i, q] = (1 + ROOT) * y[i, q] - ROOT * mass[i, q]


@kernel
def advance_lines(out, rho, field, mobility, L, stride, time, diffusivity, factor, second_order, first, last):
    """Advance the lines first ≤ l < last by `time`, from `rho` into `out`, which may be the same: (n_cells,) each, in C order.

    field : ξ where factor = 1/D > 0, else the viscosity; (1,) where there is none; where factor < 0 the rates themselves, what
        every cell gives to the next and then what every cell gives to the one before it, (2 n_cells,), nothing through walls
    mobility : of each line. L : `Line`.
    stride : cells from one to the next of a line, the product of the sizes of all later factors.
    second_order : R, else one resolvent of the whole time, of order 1.
    """
    n = L.volume.size
    mass, y, xi = np.empty((n, BLOCK)), np.empty((n, BLOCK)), np.zeros((n, BLOCK))
    right, left = np.empty((n, BLOCK)), np.empty((n, BLOCK))
    inverse, border = np.empty((n, BLOCK)), np.empty((n, BLOCK))
    offsets = np.empty(BLOCK, np.int64)
    for block in range(first, last, BLOCK):
        m = take_lines(mass, rho, offsets, L, stride, block, last)
        y[:] = mass
        if factor < 0.0:
            load(right, field[: rho.size], offsets, m, stride)
            load(left, field[rho.size :], offsets, m, stride)
        else:
            if field.size > 1:
                load(xi, field, offsets, m, stride)
            rates(right, left, xi, mobility[block:], L.rate, L.inverse_volume, diffusivity, factor, L.circle, m)
        g = GAMMA * time if second_order else time
        for resolvent in range(4):  # both of R, or the only one; both of order 1
            if resolvent % 2 == 0:
                eliminate(inverse, border, right, left, g, L.circle, m)
            resolve(y, inverse, border, right, left, g, L.circle, m)
            if resolvent == 0:
                if not second_order:
                    break
                extrapolate(y, mass, m)
            elif resolvent == 1:
                if not is_negative(y):
                    break
                swap(y, mass, m)
                g = 0.5 * time
            elif resolvent == 3:
                take_nonnegative(y, mass, m)
        store(out, y, L.inverse_volume, offsets, m, stride)
