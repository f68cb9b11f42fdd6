"""Kernels of the face sweep on one row of cells: `_along` the last factor, `_across` from row to row of a leading one.

Names: rho, xi the fields; t half slopes; c and o the cells on both sides of a face, the flux runs from c to o.
"""

from typing import Any

import numpy as np
from numba import njit

kernel: Any = njit(fastmath=True, error_model="numpy", cache=True)
inlined: Any = njit(fastmath=True, error_model="numpy", cache=True, forceinline=True)


@inlined
def half_slope(x, y):
    """Half the MC-limited slope from the one-sided slopes x and y."""
    return min(max(0.25 * (x + y), min(max(x, y), 0.0)), max(min(x, y), 0.0))


@inlined
def slopes_across(out, west, centre, east, inverse_west, inverse_east):
    """Half slopes of a row along a leading factor, from the rows on both sides."""
    for q in range(out.size):
        out[q] = half_slope((centre[q] - west[q]) * inverse_west, (east[q] - centre[q]) * inverse_east)


@inlined
def slopes_along(out, rho, inverse, circle):
    """Half slopes along the last factor."""
    m = rho.size
    for q in range(1, m - 1):
        out[q] = half_slope((rho[q] - rho[q - 1]) * inverse[q], (rho[q + 1] - rho[q]) * inverse[q + 1])
    out[0] = half_slope((rho[0] - rho[m - 1]) * inverse[0], (rho[1] - rho[0]) * inverse[1]) if circle else 0.0
    out[m - 1] = half_slope((rho[m - 1] - rho[m - 2]) * inverse[m - 1], (rho[0] - rho[m - 1]) * inverse[m]) if circle else 0.0


@inlined
def flux_upwind(u, c, o, dt_c, dt_o):
    """Flux from c to o; dt = distance × half slope of either cell."""
    return max(u, 0.0) * (c + dt_c) + min(u, 0.0) * (o - dt_o)


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
def outflow_scharfetter_gummel(dxi, rate, temperature):
    """Coefficient of the upwind cell in `flux_scharfetter_gummel`: what leaves the cell per density."""
    return rate * temperature * bernoulli(dxi / temperature)[0]


@inlined
def fluxes_across(out, rho_c, rho_o, t_c, t_o, xi_c, xi_o, rate, distance, temperature):
    """Fluxes from a row c to the row o after it along a leading factor; t_c, t_o their half slopes."""
    for q in range(out.size):
        if temperature is None:
            out[q] = flux_upwind((xi_c[q] - xi_o[q]) * rate, rho_c[q], rho_o[q], distance * t_c[q], distance * t_o[q])
        else:
            out[q] = flux_scharfetter_gummel(xi_c[q] - xi_o[q], rho_c[q], rho_o[q], rate, temperature)


@inlined
def face_along(left, right, f, rho, t, xi, rate, distance, mobility, temperature):
    """Flux through face f of the last factor, between the cells left and right."""
    if temperature is None:
        u = (xi[left] - xi[right]) * (rate[f] * mobility)
        return flux_upwind(u, rho[left], rho[right], distance[f] * t[left], distance[f] * t[right])
    return flux_scharfetter_gummel(xi[left] - xi[right], rho[left], rho[right], rate[f] * mobility, temperature)


@inlined
def fluxes_along(out, rho, t, xi, rate, distance, mobility, circle, temperature):
    """Fluxes through all faces of the last factor, (m + 1,); 0 through walls."""
    m = rho.size
    for f in range(1, m):
        out[f] = face_along(f - 1, f, f, rho, t, xi, rate, distance, mobility, temperature)
    out[0] = face_along(m - 1, 0, 0, rho, t, xi, rate, distance, mobility, temperature) if circle else 0.0
    out[m] = out[0]


@inlined
def divergence_across(gain, west, east, inverse_volume):
    """Add what the fluxes through both faces bring to a row."""
    for q in range(gain.size):
        gain[q] += (west[q] - east[q]) * inverse_volume


@inlined
def outflow_of_face(dxi, rate, temperature):
    """Rate at which mass leaves a cell through one face, per density."""
    return max(dxi, 0.0) * rate if temperature is None else outflow_scharfetter_gummel(dxi, rate, temperature)


@inlined
def outflow_along(out, xi, rate, mobility, inverse_volume, circle, temperature):
    """Rate of what leaves each cell through the faces of the last factor, per density."""
    m = xi.size
    for q in range(1, m - 1):
        east = outflow_of_face(xi[q] - xi[q + 1], rate[q + 1] * mobility, temperature)
        out[q] = (east + outflow_of_face(xi[q] - xi[q - 1], rate[q] * mobility, temperature)) * inverse_volume[q]
    for q in (0, m - 1):
        w, e = (q - 1) % m, (q + 1) % m
        east = outflow_of_face(xi[q] - xi[e], rate[q + 1] * mobility, temperature) if circle or q == 0 else 0.0
        west = outflow_of_face(xi[q] - xi[w], rate[q] * mobility, temperature) if circle or q > 0 else 0.0
        out[q] = (east + west) * inverse_volume[q]


@inlined
def outflow_across(out, west, centre, east, rate_west, rate_east, temperature):
    """Add the rate of what leaves each cell through both faces of a leading factor."""
    for q in range(out.size):
        out[q] += outflow_of_face(centre[q] - east[q], rate_east, temperature) + outflow_of_face(
            centre[q] - west[q], rate_west, temperature
        )


@inlined
def copy(out, values):
    for q in range(out.size):
        out[q] = values[q]


@inlined
def add(total, values):
    for q in range(total.size):
        total[q] += values[q]


@inlined
def maximum_into(top, values):
    """Elementwise: a scalar maximum would be one long chain of dependent operations."""
    for q in range(top.size):
        top[q] = max(top[q], values[q])


@inlined
def minimum_into(low, values):
    """The same for the minimum."""
    for q in range(low.size):
        low[q] = min(low[q], values[q])
