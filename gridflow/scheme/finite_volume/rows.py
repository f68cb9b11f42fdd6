"""Kernels of the face sweep on one row of cells: `_along` the last factor, `_across` from row to row of a leading one.

Names: rho, xi the fields; a face lies between the cells c and o, its flux runs from c to o; `behind` is the cell before c and
`beyond` the one after o.

Each loop is vectorised. It is as long as it can be without storing more than it saves: the time goes into loads and stores. It
starts at 0 and adds to its index: numba lets an index count from the end where it cannot exclude that it is negative, and such a
loop is not vectorised. Functions of a row are inlined by numba, not by LLVM, so that their loops are compiled where `apart` is
known, and once. They take whole fields and the number of the row: rows as arrays of their own would be counted.
"""

from typing import Any

import numpy as np
from numba import njit

from gridflow import compiled
from gridflow.scheme.finite_volume.compiler import least

kernel: Any = compiled.kernel(fastmath=True, nogil=True)
inlined: Any = compiled.inner(fastmath=True, nogil=True, forceinline=True)
by_row: Any = njit(fastmath=True, error_model="numpy", nogil=True, inline="always")

TINY = 1e-290
"""Densities below this are set to 0: far below round-off of any mass, and subnormal numbers cost 3 to 5 times the time."""


@inlined
def half_slope(x, y):
    """Half the MC-limited slope from the one-sided slopes x and y."""
    return min(max(0.25 * (x + y), min(max(x, y), 0.0)), max(min(x, y), 0.0))


@inlined
def flux_upwind(u, c, o, before, after, shrink):
    """Flux from c to o at the velocity u; before, after : differences behind c and beyond o, over the distance of c and o.

    shrink : 0 for first order, else `SHRINK`
    """
    step = half_slope(o - c, before if u > 0 else after)
    return max(u, 0.0) * c + min(u, 0.0) * o + abs(u) * shrink * step


@inlined
def bernoulli(s):
    """(B(−s), B(s)) for B(s) = s/(eˢ − 1), without overflow: B(−s) = B(s) + s."""
    z = abs(s)
    b = z / np.expm1(z) if z > 1e-12 else 1.0 - 0.5 * z
    return b + max(s, 0.0), b + max(-s, 0.0)


@inlined
def flux_scharfetter_gummel(dxi, c, o, rate, temperature):
    """Scharfetter–Gummel flux from c to o."""
    ahead, back = bernoulli(dxi / temperature)
    return rate * temperature * (ahead * c - back * o)


@inlined
def flux(dxi, rate, c, o, behind, beyond, weight_c, weight_o, shrink, temperature):
    """Flux from c to o. dxi : ξ_c − ξ_o; rate : M A/d; weights : distance of c and o over that to the cell behind either."""
    if temperature is not None:
        return flux_scharfetter_gummel(dxi, c, o, rate, temperature)
    return flux_upwind(dxi * rate, c, o, (c - behind) * weight_c, (beyond - o) * weight_o, shrink)


@inlined
def outflow_of_face(dxi, rate, temperature):
    """Rate at which mass leaves a cell through one face, per density: the coefficient of the upwind cell in its flux."""
    return max(dxi, 0.0) * rate if temperature is None else rate * temperature * bernoulli(dxi / temperature)[0]


@inlined
def flush(value):
    """Zero instead of values next to the smallest floats: their rounding is not relative and may turn a density negative."""
    return value if abs(value) > TINY else 0.0


@by_row
def fluxes_along(out, rho, xi, r, speed, faces, edges, shrink, temperature):
    """Fluxes of row r through all faces of the last factor, (m + 1,). speed : M A/d; faces, edges : see `Tables`."""
    for q in range(rho.shape[1] - 3):
        out[q + 2] = flux(
            xi[r, q + 1] - xi[r, q + 2], speed[q + 2], rho[r, q + 1], rho[r, q + 2], rho[r, q], rho[r, q + 3],
            faces[1, q + 2], faces[2, q + 2], shrink, temperature,
        )  # fmt: skip
    for k in range(4):
        f, behind, c, o, beyond = edges[k]
        out[f] = flux(
            xi[r, c] - xi[r, o], speed[f], rho[r, c], rho[r, o], rho[r, behind], rho[r, beyond],
            faces[1, f], faces[2, f], shrink, temperature,
        )  # fmt: skip


@by_row
def start_across(through, b, rho, xi, r, around, face, shrink, temperature):
    """Fluxes through the face before row r of a leading factor, into row b of `through`; arguments: see `add_across`."""
    behind, before, beyond = r + around[0], r + around[1], r + around[2]
    rate, weight_c, weight_o = face
    for q in range(rho.shape[1]):
        through[b, q] = flux(
            xi[before, q] - xi[r, q], rate, rho[before, q], rho[r, q], rho[behind, q], rho[beyond, q],
            weight_c, weight_o, shrink, temperature,
        )  # fmt: skip


@by_row
def add_across(gain, through, b, rho, xi, r, around, face, inverse_volume, shrink, temperature):
    """Add what a leading factor brings to row r to `gain`.

    through : row b has the fluxes through the face before the row, and then through that after it
    around : rows to the cells behind, before, after and beyond; face : M A/d and weights of the face after the row
    """
    before, after, beyond = r + around[1], r + around[2], r + around[3]
    rate, weight_c, weight_o = face
    for q in range(rho.shape[1]):
        east = flux(
            xi[r, q] - xi[after, q], rate, rho[r, q], rho[after, q], rho[before, q], rho[beyond, q],
            weight_c, weight_o, shrink, temperature,
        )  # fmt: skip
        gain[q] += (through[b, q] - east) * inverse_volume
        through[b, q] = east


@by_row
def finish_across(
    out, base, share, dt, along, through, b, rho, xi, r, around, face, inverse_volume, cells, low, shrink, temperature
):  # fmt: skip
    """out = (1 − share)·base + share·(ρ + dt·gain) in row r; gain is what the last factor, by `along`, and a leading one bring.

    cells : (2, m) 1/V and V of the last factor. Returns (Σ V ξ (out − ρ), Σ V ξ (ρ − base), the smaller of `low` and min out).
    """
    before, after, beyond = r + around[1], r + around[2], r + around[3]
    rate, weight_c, weight_o = face
    moved, moved_before = 0.0, 0.0
    for q in range(rho.shape[1]):
        east = flux(
            xi[r, q] - xi[after, q], rate, rho[r, q], rho[after, q], rho[before, q], rho[beyond, q],
            weight_c, weight_o, shrink, temperature,
        )  # fmt: skip
        gain = (along[q] - along[q + 1]) * cells[0, q] + (through[b, q] - east) * inverse_volume
        through[b, q] = east
        new = flush((1.0 - share) * base[r, q] + share * (rho[r, q] + dt * gain))
        out[r, q] = new
        low = least(low, new)
        weight = xi[r, q] * cells[1, q]
        moved += weight * (new - rho[r, q])
        moved_before += weight * (rho[r, q] - base[r, q])
    return moved, moved_before, low


@by_row
def add_gain(through, b, gain, volume):
    """Let a gain of row r pass through the face before it."""
    for q in range(gain.size):
        through[b, q] += gain[q] * volume


@by_row
def fill(out, values, r):
    """Row r of `values`."""
    for q in range(out.size):
        out[q] = values[r, q]


@by_row
def scale(out, values, factor):
    """The first row of `values` times a number."""
    for q in range(out.size):
        out[q] = values[0, q] * factor
