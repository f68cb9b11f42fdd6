"""The face sweep: one forward-Euler stage of ∂ρ/∂t = div(ρ M grad ξ + D M grad ρ) on a product grid.

Notation, per face f between the cells c and o of one factor, all others fixed:

    F = A_f ρ_f u_f,   u_f = M (ξ_c − ξ_o)/d_f                                     flux from c to o
    ρ_f = ρ_a + t_a d_f (towards the face)                                          a: the upwind cell
    t = clip((x + y)/4, min(0, max(x, y)), max(0, min(x, y)))                        half the limited slope (MC)

with x, y the one-sided differences per length on both sides of a. Then ρ_f lies between the two cells, ρ_f ≥ 0, and
ρ_f ≤ κ ρ_a with κ = 1 + (largest ratio of neighbouring distances), so that the stage keeps ρ ≥ 0 as soon as
dt·κ·max_cells Σ_faces A_f max(u_f, 0)/V ≤ 1. With a temperature D the flux is exponentially fitted instead
(Scharfetter and Gummel 1969): F = (A D M/d)(B(−s) ρ_c − B(s) ρ_o), s = (ξ_c − ξ_o)/D, B(s) = s/(eˢ − 1), which has the sign of
(ξ + D log ρ)_c − (ξ + D log ρ)_o: the discrete free energy decreases.

Layout: a field is a matrix (rows, m) whose rows run along the last factor. A row is finished before the next one starts: the
flux and the half slopes of a leading factor are carried from row r to row r + stride in a buffer, so each is computed once and
fields are read once. Loops (`gridflow.scheme.finite_volume.rows`) are kept so short that LLVM proves, with at most eight pointer
checks, that they may be vectorised: fusing them again costs a factor of two. `sweep_along` and `sweep_across` take whole fields
and the number of the row: rows that pass through two inlined functions keep their reference counts, which cost as much as the
row. Surfaces come first, face by face (`gridflow.scheme.finite_volume.mesh`).

numba's cache of `stage` looks at this file alone: after a change of rows.py or mesh.py, delete it or touch this file.
"""

import numpy as np

from gridflow.scheme.finite_volume.mesh import mesh_changes
from gridflow.scheme.finite_volume.rows import (
    add,
    copy,
    divergence_across,
    fluxes_across,
    fluxes_along,
    inlined,
    kernel,
    maximum_into,
    minimum_into,
    outflow_across,
    outflow_along,
    slopes_across,
    slopes_along,
)

TINY = 1e-290
"""Densities below this are set to 0: far below round-off of any mass, and subnormal numbers cost 3 to 5 times the time."""


@kernel
def stage(out, base, rho, xi, dt, T, second_order, temperature):
    """One stage on fields of shape (rows, m): out = ρ + dt·L(ρ) if `base` is None, else (base + ρ + dt·L(ρ))/2.

    `second_order` is None (first order, or fitted fluxes) or True, `temperature` None or D > 0: numba compiles one kernel
    for each combination. T : `Tables`. `out` must be none of the inputs.

    Returns (the largest outflow rate max_cells Σ_faces (what leaves per density and time), 0 in second stages;
    Σ V ξ (out − ρ); Σ V ξ (ρ − base), 0 in first stages; min out).
    """
    rows, m = rho.shape
    gain, outflow, top, low = np.zeros(m), np.zeros(m), np.zeros(m), np.full(m, np.inf)
    flux, slope, slope_before = np.zeros(m + 1), np.zeros(m), np.zeros(m)
    fluxes, slopes = np.zeros((2 * T.buffers, m)), np.zeros((2 * T.buffers, m))
    moved_after, moved_before = 0.0, 0.0
    mesh_changes(rho, xi, base, T, second_order, temperature)
    for r in range(rows):
        sweep_along(gain, outflow, flux, slope, rho, xi, base, r, T, second_order, temperature)
        sweep_across(gain, outflow, fluxes, slopes, slope_before, rho, xi, base, r, T, second_order, temperature)
        if base is None:
            maximum_into(top, outflow)
            euler(out[r], rho[r], gain, flux, T.last_inverse_volume, dt)
        else:
            euler_average(out[r], base[r], rho[r], gain, flux, T.last_inverse_volume, dt)
            moved_before += T.row_volume[r] * energy_of_change(xi[r], base[r], rho[r], T.last_volume)
        moved_after += T.row_volume[r] * energy_of_change(xi[r], rho[r], out[r], T.last_volume)
        minimum_into(low, out[r])
    return top.max(), moved_after, moved_before, low.min()


@inlined
def sweep_along(gain, outflow, flux, slope, rho, xi, base, r, T, second_order, temperature):
    """Fluxes of row r along the last factor; what surfaces bring to its cells starts `gain`, what leaves them is `outflow`."""
    circle, mobility, mesh_row = T.is_periodic[-1], T.mobility[-1, r], r % T.mesh_sum.shape[0]
    if second_order is not None:
        slopes_along(slope, rho[r], T.last_inverse_distance, circle)
    fluxes_along(flux, rho[r], slope, xi[r], T.last_rate, T.last_distance, mobility, circle, temperature)
    copy(gain, T.mesh_sum[mesh_row])
    if base is None:
        outflow_along(outflow, xi[r], T.last_rate, mobility, T.last_inverse_volume, circle, temperature)
        add(outflow, T.mesh_out[mesh_row])


@inlined
def sweep_across(gain, outflow, fluxes, slopes, slope_before, rho, xi, base, r, T, second_order, temperature):
    """Add what the leading factors bring to row r to `gain`. West fluxes and half slopes are carried, east ones are computed.

    fluxes, slopes : (2·buffers, m): two rows each, by the parity of the cell: one is read while the other is written.
    """
    for k in range(T.size.size):
        if not T.has_faces[k]:
            continue
        i = r // T.stride[k] % T.size[k]
        c, mobility = T.cell[k] + i, T.mobility[k, r]
        west, east, beyond = r + T.around[c, 1], r + T.around[c, 2], r + T.around[c, 3]
        buffer = 2 * (T.buffer[k] + r % T.stride[k])
        here, there = buffer + i % 2, buffer + (i + 1) % 2
        if i == 0:
            start_across(fluxes[here], slopes[here], slope_before, rho, xi, r, c, mobility, T, second_order, temperature)
        if second_order is not None:
            inverse_east, inverse_beyond = T.inverse_distance[c, 2], T.inverse_distance[c, 3]
            slopes_across(slopes[there], rho[r], rho[east], rho[beyond], inverse_east, inverse_beyond)
        rate, distance, scale = T.rate[c, 1] * mobility, T.distance[c, 1], mobility * T.inverse_volume[c]
        fluxes_across(fluxes[there], rho[r], rho[east], slopes[here], slopes[there], xi[r], xi[east], rate, distance, temperature)
        divergence_across(gain, fluxes[here], fluxes[there], T.inverse_volume[c])
        if base is None:
            outflow_across(outflow, xi[west], xi[r], xi[east], T.rate[c, 0] * scale, T.rate[c, 1] * scale, temperature)


@kernel
def start_across(flux, slope, slope_before, rho, xi, r, c, mobility, T, second_order, temperature):
    """At the first cell c of a leading factor, row r: its half slopes and, on a circle, the flux through its west face."""
    before, west, east, inverse = r + T.around[c, 0], r + T.around[c, 1], r + T.around[c, 2], T.inverse_distance[c]
    if second_order is not None:
        slopes_across(slope_before, rho[before], rho[west], rho[r], inverse[0], inverse[1])
        slopes_across(slope, rho[west], rho[r], rho[east], inverse[1], inverse[2])
    rate, distance = T.rate[c, 0] * mobility, T.distance[c, 0]
    fluxes_across(flux, rho[west], rho[r], slope_before, slope, xi[west], xi[r], rate, distance, temperature)


@inlined
def flush(value):
    """Zero instead of values next to the smallest floats: their rounding is not relative and may turn a density negative."""
    return value if abs(value) > TINY else 0.0


@inlined
def euler(out, rho, gain, flux, inverse_volume, dt):
    """out = ρ + dt·(what the leading factors bring + what the last factor brings)."""
    for q in range(out.size):
        out[q] = flush(rho[q] + dt * (gain[q] + (flux[q] - flux[q + 1]) * inverse_volume[q]))


@inlined
def euler_average(out, base, rho, gain, flux, inverse_volume, dt):
    """out = (base + what `euler` gives)/2."""
    for q in range(out.size):
        new = rho[q] + dt * (gain[q] + (flux[q] - flux[q + 1]) * inverse_volume[q])
        out[q] = flush(0.5 * (base[q] + new))


@inlined
def energy_of_change(potential, before, after, volume):
    """Σ V ξ (ρ_after − ρ_before) over a row."""
    total = 0.0
    for q in range(before.size):
        total += potential[q] * (after[q] - before[q]) * volume[q]
    return total


@kernel
def moved_energy(potential, before, after, T):
    """Σ V ξ (ρ_after − ρ_before) on fields of shape (rows, m), in one pass."""
    total = 0.0
    for r in range(before.shape[0]):
        total += T.row_volume[r] * energy_of_change(potential[r], before[r], after[r], T.last_volume)
    return total
