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

Layout: a field is a matrix (rows, m) whose rows run along the last factor. A row is finished before the next one starts. Surfaces
come first, face by face (`gridflow.scheme.finite_volume.mesh`); then bands of rows (`gridflow.scheme.finite_volume.rows`).
"""

import numpy as np

from gridflow.scheme.finite_volume.compiler import apart
from gridflow.scheme.finite_volume.mesh import mesh_gain, mesh_outflow
from gridflow.scheme.finite_volume.outflow import largest_outflow
from gridflow.scheme.finite_volume.rows import (
    add_across,
    add_gain,
    fill,
    finish_across,
    fluxes_along,
    kernel,
    scale,
    start_across,
)
from gridflow.scheme.finite_volume.tables import SHRINK, Tables
from gridflow.space.factor import Array
from gridflow.threads import share_out

HUGE = float(np.finfo(float).max)
"""No density is larger: fast arithmetic knows no infinity."""


def stage(
    out: Array,
    base: Array | None,
    rho: Array,
    xi: Array,
    dt: float,
    tables: Tables,
    second_order: bool | None,
    temperature: float | None,
    share: float = 0.5,
) -> tuple[float, float, float, float]:
    """One stage on fields of shape (rows, m): out = ρ + dt·L(ρ) without `base`, else (1 − share)·base + share·(ρ + dt·L(ρ)).

    second_order : None or False for fluxes of first order; temperature : None, or D > 0 of fitted fluxes. `out` must be none of
    the inputs.

    Returns (the largest outflow rate max_cells Σ_faces (what leaves per density and time) without `base`, else 0;
    Σ V ξ (out − ρ); Σ V ξ (ρ − base), 0 without; min out).
    """
    T, shrink = tables.rows, SHRINK if second_order else 0.0
    if tables.surfaces is not None:
        mesh_gain(T.mesh_gain, rho, xi, tables.surfaces, shrink, temperature)
    outflow = largest_rate(xi, tables, temperature) if base is None else 0.0
    base, share = (rho, 1.0) if base is None else (base, share)
    measured = np.empty((3, tables.bands.size - 1))

    def work(first: int, last: int) -> None:
        sweep(out, base, rho, xi, dt, share, T, shrink, temperature, tables.bands, first, last, tables.work[first], measured)

    share_out(work, measured.shape[1])
    moved, moved_before, low = measured.tolist()
    return outflow, sum(moved), sum(moved_before), min(low)


def largest_rate(xi: Array, tables: Tables, temperature: float | None) -> float:
    """The largest outflow rate alone."""
    T, rates = tables.rows, [0.0]
    if tables.surfaces is not None:
        mesh_outflow(T.mesh_outflow, xi, tables.surfaces, temperature)

    def work(first: int, last: int) -> None:
        rates.append(largest_outflow(xi, T, temperature, tables.bands[first], tables.bands[last], tables.work[first]))

    share_out(work, tables.bands.size - 1)
    return max(rates)


def moved_energy(potential: Array, before: Array, after: Array, tables: Tables) -> float:
    """Σ V ξ (ρ_after − ρ_before) on fields of shape (rows, m), in one pass."""
    total: float = energy_of_change(potential, before, after, tables.rows)
    return total


@kernel
def sweep(out, base, rho, xi, dt, share, T, shrink, temperature, bands, first, last, work, measured):
    """Sweep bands first to last, and write what they measure; arrays : see `Tables`."""
    for k in range(first, last):
        measured[0, k], measured[1, k], measured[2, k] = sweep_rows(
            out, base, rho, xi, dt, share, T, shrink, temperature, bands[k], bands[k + 1], work
        )  # fmt: skip


@kernel
def sweep_rows(out, base, rho, xi, dt, share, T, shrink, temperature, start, stop, work):
    """Sweep the rows start to stop. Returns (Σ V ξ (out − ρ), Σ V ξ (ρ − base), min out) over them."""
    m, last = rho.shape[1], T.leading.shape[0] - 1
    out, speed, along, gain, through = apart(out), apart(work[0, : m + 1]), apart(work[1]), apart(work[2, :m]), apart(work[3:])
    moved, moved_before, low = 0.0, 0.0, HUGE
    for r in range(start, stop):
        if r == start or T.mobility[last + 1, r] != T.mobility[last + 1, r - 1]:
            scale(speed, T.last_faces, T.mobility[last + 1, r])
        fluxes_along(along, rho, xi, r, speed, T.last_faces, T.edges, shrink, temperature)
        if T.adds:
            fill(gain, T.mesh_gain, r % T.mesh_gain.shape[0])
        for k in range(last + 1):
            size, stride, cell, buffer = T.leading[k, 0], T.leading[k, 1], T.leading[k, 2], T.leading[k, 3]
            i = r // stride % size
            c, b, mobility = cell + i, buffer + r % stride, T.mobility[k, r]
            around = (T.around[c, 0], T.around[c, 1], T.around[c, 2], T.around[c, 3])
            if i == 0 or r - stride < start:
                face = (T.faces[c, 0, 0] * mobility, T.faces[c, 0, 1], T.faces[c, 0, 2])
                start_across(through, b, rho, xi, r, around, face, shrink, temperature)
            face = (T.faces[c, 1, 0] * mobility, T.faces[c, 1, 1], T.faces[c, 1, 2])
            if k < last:
                add_across(gain, through, b, rho, xi, r, around, face, T.inverse_volume[c], shrink, temperature)
                continue
            if T.adds:
                add_gain(through, b, gain, 1 / T.inverse_volume[c])
            one, two, low = finish_across(
                out, base, share, dt, along, through, b, rho, xi, r, around, face, T.inverse_volume[c], T.last_cells, low,
                shrink, temperature,
            )  # fmt: skip
            moved += T.row_volume[r] * one
            moved_before += T.row_volume[r] * two
    return moved, moved_before, low


@kernel
def energy_of_change(potential, before, after, T):
    """Σ V ξ (ρ_after − ρ_before)."""
    total = 0.0
    for r in range(before.shape[0]):
        part = 0.0
        for q in range(before.shape[1]):
            part += potential[r, q] * (after[r, q] - before[r, q]) * T.last_cells[1, q]
        total += T.row_volume[r] * part
    return total
