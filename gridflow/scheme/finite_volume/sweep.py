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
fields are read once. Loops are kept so short that LLVM proves, with at most eight pointer checks, that they may be vectorised:
fusing them again costs a factor of two.

On a mesh (`gridflow.space.mesh`) fluxes are added to both cells, face by face, before the rows are swept:

    ρ_f = ρ_a + clip((x + y)/4, …),  x = ρ_b − ρ_a towards the downwind cell b, y = Σ w (ρ_a − ρ_behind) from its mirror image,

so that κ = 1 + max Σw.
"""

from typing import Any, NamedTuple

import numpy as np
from numba import njit

from gridflow.space.factor import Array, Factor
from gridflow.space.grid import Grid
from gridflow.space.mesh import Mesh

kernel: Any = njit(fastmath=True, error_model="numpy", cache=True)
inlined: Any = njit(fastmath=True, error_model="numpy", cache=True, forceinline=True)
TINY = 1e-290
"""Densities below this are set to 0: far below round-off of any mass, and subnormal numbers cost 3 to 5 times the time."""

SHRINK = 1.0 - 16 * float(np.finfo(float).eps)
"""Face values are extrapolated over this share of the distance: beside an empty cell ρ_f = ρ_a − ρ_a, and no rounding of
the product d·t may turn that negative."""


class Tables(NamedTuple):
    """What the sweep needs of a grid. Leading factors (all but the last) first, per factor k or per face j of all of them."""

    size: np.ndarray  # (K,) cells of the leading factors
    stride: np.ndarray  # (K,) rows between neighbours
    is_line: np.ndarray  # (K,) faces exist
    is_circle: np.ndarray  # (K + 1,) the last entry is the last factor
    face: np.ndarray  # (K,) first face of a factor in rate, distance, inverse_distance
    rate: np.ndarray  # A/d
    distance: np.ndarray  # d, shrunk by SHRINK
    inverse_distance: np.ndarray  # 1/d, and 0 at walls: no difference there
    cell: np.ndarray  # (K + 1,) first cell of a factor in inverse_volume
    inverse_volume: np.ndarray
    buffer: np.ndarray  # (K,) first buffer row of a factor
    buffers: int  # buffer rows of all factors
    mobility: np.ndarray  # (K + 1, rows), per row
    is_mesh: np.ndarray  # (K + 1,)
    mesh_face: np.ndarray  # (K + 2,) faces of all meshes: those of factor k are mesh_face[k]:mesh_face[k + 1]
    ends: np.ndarray  # (n_faces, 2) cells on both sides
    mesh_rate: np.ndarray  # A/d
    behind: np.ndarray  # (n_faces, 4) two cells behind either end
    weights: np.ndarray  # (n_faces, 4)
    mesh_sum: np.ndarray  # (rows, m) working memory for meshes, one row without any: fresh memory would cost more than the sums
    mesh_out: np.ndarray
    last_rate: np.ndarray  # the same for the last factor, (m + 1,) or (m,)
    last_distance: np.ndarray
    last_inverse_distance: np.ndarray
    last_inverse_volume: np.ndarray
    last_volume: np.ndarray
    row_volume: np.ndarray  # (rows,) volume of the leading factors


def sweep_tables(grid: Grid) -> Tables:
    leading, last = grid.factors[:-1], grid.factors[-1]

    def joined(values: list[Any]) -> np.ndarray:
        return np.concatenate([np.zeros(0), *values])

    def indices(values: list[Any]) -> np.ndarray:
        return joined(values).astype(np.int64)

    def starts(counts: list[int]) -> np.ndarray:
        return np.cumsum([0, *counts])[:-1].astype(np.int64)

    sizes = [f.size for f in leading]
    rows = int(np.prod(sizes))
    stride = [int(np.prod(sizes[k + 1 :])) for k in range(len(leading))]
    lead_shape = (*sizes, 1)
    mobility = np.array([np.broadcast_to(m, lead_shape).reshape(rows) for m in grid.mobility], dtype=float)
    everything = [*sizes, last.size]
    meshes = [f if isinstance(f, Mesh) else None for f in grid.factors]

    buffers = [s if f.is_line else 0 for f, s in zip(leading, stride, strict=True)]
    return Tables(
        size=np.array(sizes, dtype=np.int64),
        stride=np.array(stride, dtype=np.int64),
        is_line=np.array([f.is_line for f in leading], dtype=np.bool_),
        is_circle=np.array([f.is_circle for f in grid.factors], dtype=np.bool_),
        face=starts([f.areas.size for f in leading]),
        rate=joined([f.areas / f.distances for f in leading]),
        distance=joined([f.distances * SHRINK for f in leading]),
        inverse_distance=joined([inverse_distance(f) for f in leading]),
        cell=starts(everything),
        inverse_volume=joined([1 / f.volumes for f in grid.factors]),
        buffer=starts(buffers),
        buffers=sum(buffers),
        mobility=mobility,
        is_mesh=np.array([m is not None for m in meshes], dtype=np.bool_),
        mesh_face=np.cumsum([0, *(len(m.once) if m else 0 for m in meshes)]),
        ends=indices([np.stack([m.cells, m.neighbour], axis=1)[m.once].ravel() for m in meshes if m]).reshape(-1, 2),
        mesh_rate=joined([(m.face_lengths / m.face_distances)[m.once] for m in meshes if m]),
        behind=indices([np.hstack([m.behind, m.behind[m.reverse]])[m.once].ravel() for m in meshes if m]).reshape(-1, 4),
        weights=joined([np.hstack([m.weights, m.weights[m.reverse]])[m.once].ravel() for m in meshes if m]).reshape(-1, 4),
        mesh_sum=np.zeros((rows if any(meshes) else 1, last.size)),
        mesh_out=np.zeros((rows if any(meshes) else 1, last.size)),
        last_rate=last.areas / last.distances if last.is_line else np.zeros(last.size + 1),
        last_distance=last.distances * SHRINK if last.is_line else np.ones(last.size + 1),
        last_inverse_distance=inverse_distance(last) if last.is_line else np.zeros(last.size + 1),
        last_inverse_volume=1 / last.volumes,
        last_volume=last.volumes,
        row_volume=np.ascontiguousarray(grid.volume.reshape(rows, last.size)[:, 0] / last.volumes[0]),
    )


def inverse_distance(factor: Factor) -> Array:
    return np.where(factor.areas > 0, 1 / factor.distances, 0.0)


def upwind_ratio(grid: Grid) -> float:
    """κ = 1 + the largest ratio of the distances on both sides of a cell: ρ_f ≤ κ ρ_a (2 on uniform grids)."""
    ratio = max([float(f.weights.sum(axis=1).max()) for f in grid.factors if isinstance(f, Mesh)], default=0.0)
    for factor in grid.factors:
        if factor.is_line:
            open_faces = factor.distances[factor.areas > 0]
            quotient = open_faces[1:] / open_faces[:-1]
            ratio = max(ratio, quotient.max(initial=0.0), (1 / quotient).max(initial=0.0))
    return 1.0 + ratio


# ------------------------------------------------------------------------------------------ one row of one factor
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
def upwind(u, c, o, dt_c, dt_o):
    """Flux from c to o; dt = distance × half slope of either cell."""
    return max(u, 0.0) * (c + dt_c) + min(u, 0.0) * (o - dt_o)


@inlined
def bernoulli(s):
    """(B(−s), B(s)) for B(s) = s/(eˢ − 1), without overflow: B(−s) = B(s) + s."""
    z = abs(s)
    b = z / np.expm1(z) if z > 1e-12 else 1.0 - 0.5 * z
    return b + max(s, 0.0), b + max(-s, 0.0)


@inlined
def fitted(dxi, c, o, rate, temperature):
    """Scharfetter–Gummel flux from c to o."""
    ahead, back = bernoulli(dxi / temperature)
    return rate * temperature * (ahead * c - back * o)


@inlined
def fitted_outflow(dxi, rate, temperature):
    """Coefficient of the upwind cell in `fitted`: what leaves the cell per density."""
    return rate * temperature * bernoulli(dxi / temperature)[0]


@inlined
def fluxes_across(out, rho_c, rho_o, t_c, t_o, xi_c, xi_o, rate, distance, temperature):
    for q in range(out.size):
        if temperature is None:
            out[q] = upwind((xi_c[q] - xi_o[q]) * rate, rho_c[q], rho_o[q], distance * t_c[q], distance * t_o[q])
        else:
            out[q] = fitted(xi_c[q] - xi_o[q], rho_c[q], rho_o[q], rate, temperature)


@inlined
def face_along(left, right, f, rho, t, xi, rate, distance, mobility, temperature):
    if temperature is None:
        u = (xi[left] - xi[right]) * (rate[f] * mobility)
        return upwind(u, rho[left], rho[right], distance[f] * t[left], distance[f] * t[right])
    return fitted(xi[left] - xi[right], rho[left], rho[right], rate[f] * mobility, temperature)


@inlined
def fluxes_along(out, rho, t, xi, rate, distance, mobility, circle, temperature):
    m = rho.size
    for f in range(1, m):
        out[f] = face_along(f - 1, f, f, rho, t, xi, rate, distance, mobility, temperature)
    out[0] = face_along(m - 1, 0, 0, rho, t, xi, rate, distance, mobility, temperature) if circle else 0.0
    out[m] = out[0]


@inlined
def divergence_across(acc, west, east, inverse_volume):
    for q in range(acc.size):
        acc[q] += (west[q] - east[q]) * inverse_volume


@inlined
def leaving(dxi, rate, temperature):
    """Rate at which mass leaves a cell through one face, per density."""
    return max(dxi, 0.0) * rate if temperature is None else fitted_outflow(dxi, rate, temperature)


@inlined
def outflow_along(out, xi, rate, mobility, inverse_volume, circle, temperature):
    m = xi.size
    for q in range(1, m - 1):
        east = leaving(xi[q] - xi[q + 1], rate[q + 1] * mobility, temperature)
        out[q] = (east + leaving(xi[q] - xi[q - 1], rate[q] * mobility, temperature)) * inverse_volume[q]
    for q in (0, m - 1):
        w, e = (q - 1) % m, (q + 1) % m
        east = leaving(xi[q] - xi[e], rate[q + 1] * mobility, temperature) if circle or q == 0 else 0.0
        west = leaving(xi[q] - xi[w], rate[q] * mobility, temperature) if circle or q > 0 else 0.0
        out[q] = (east + west) * inverse_volume[q]


@inlined
def outflow_across(out, west, centre, east, rate_west, rate_east, temperature):
    for q in range(out.size):
        out[q] += leaving(centre[q] - east[q], rate_east, temperature) + leaving(centre[q] - west[q], rate_west, temperature)


@inlined
def mesh_flux(dxi, c, o, behind_c, behind_o, rate, second_order, temperature):
    """Flux from c to o through a face of a mesh; the differences behind both point away from the face."""
    if temperature is not None:
        return fitted(dxi, c, o, rate, temperature)
    if second_order is None:
        return upwind(dxi * rate, c, o, 0.0, 0.0)
    return upwind(dxi * rate, c, o, SHRINK * half_slope(o - c, behind_c), SHRINK * half_slope(o - c, -behind_o))


@inlined
def mesh_divergence(rho, xi, i, j, i1, i2, j1, j2, q, weights, rate, second_order, temperature):
    """Flux through one face of a mesh, from the row i to the row j, at the place q of the rows."""
    c, o = rho[i, q], rho[j, q]
    behind_c = weights[0] * (c - rho[i1, q]) + weights[1] * (c - rho[i2, q])
    behind_o = weights[2] * (o - rho[j1, q]) + weights[3] * (o - rho[j2, q])
    return mesh_flux(xi[i, q] - xi[j, q], c, o, behind_c, behind_o, rate, second_order, temperature)


@inlined
def mesh_fluxes(out, c, o, c1, c2, o1, o2, xi_c, xi_o, w1, w2, w3, w4, rate, second_order, temperature):
    """`mesh_flux` for two rows of cells c and o with those behind either: one store and eight loads, so that it is vectorised."""
    for q in range(out.size):
        behind_c = w1 * (c[q] - c1[q]) + w2 * (c[q] - c2[q])
        behind_o = w3 * (o[q] - o1[q]) + w4 * (o[q] - o2[q])
        out[q] = mesh_flux(xi_c[q] - xi_o[q], c[q], o[q], behind_c, behind_o, rate, second_order, temperature)


@inlined
def add_multiple(total, values, factor):
    for q in range(total.size):
        total[q] += values[q] * factor


@inlined
def transfer(from_c, to_o, flux, inverse_c, inverse_o):
    """What a flux takes from one row of cells and brings to the other."""
    for q in range(flux.size):
        from_c[q] -= flux[q] * inverse_c
        to_o[q] += flux[q] * inverse_o


@inlined
def add_leaving(out_c, out_o, xi_c, xi_o, rate_c, rate_o, temperature):
    for q in range(out_c.size):
        out_c[q] += leaving(xi_c[q] - xi_o[q], rate_c, temperature)
        out_o[q] += leaving(xi_o[q] - xi_c[q], rate_o, temperature)


@kernel
def mesh_stage(divergence, outflow, rho, xi, k, T, second_order, temperature, with_outflow):
    """Add what the leading mesh factor k brings to every cell, and the rate of what leaves it, to fields of shape (rows, m)."""
    rows, m = rho.shape
    n, s, cell = T.size[k], T.stride[k], T.cell[k]
    flux = np.empty(m)
    for block in range(0, rows, n * s):
        for f in range(T.mesh_face[k], T.mesh_face[k + 1]):
            i, j = T.ends[f, 0], T.ends[f, 1]
            inverse_i, inverse_j = T.inverse_volume[cell + i], T.inverse_volume[cell + j]
            w1, w2, w3, w4 = T.weights[f, 0], T.weights[f, 1], T.weights[f, 2], T.weights[f, 3]
            for z in range(block, block + s):
                c, o = z + s * i, z + s * j
                c1, c2, o1, o2 = z + s * T.behind[f, 0], z + s * T.behind[f, 1], z + s * T.behind[f, 2], z + s * T.behind[f, 3]
                rate = T.mesh_rate[f] * T.mobility[k, c]
                mesh_fluxes(
                    flux, rho[c], rho[o], rho[c1], rho[c2], rho[o1], rho[o2], xi[c], xi[o], w1, w2, w3, w4,
                    rate, second_order, temperature,
                )  # fmt: skip
                transfer(divergence[c], divergence[o], flux, inverse_i, inverse_j)
                if with_outflow:
                    add_leaving(outflow[c], outflow[o], xi[c], xi[o], rate * inverse_i, rate * inverse_j, temperature)


@kernel
def mesh_stage_last(divergence, outflow, rho, xi, k, T, second_order, temperature, with_outflow):
    """The same for a mesh as the last factor, whose cells make up the rows; all arrays are transposed."""
    cell = T.cell[k]
    for r in range(rho.shape[1]):
        mobility = T.mobility[k, r]
        for f in range(T.mesh_face[k], T.mesh_face[k + 1]):
            i, j = T.ends[f, 0], T.ends[f, 1]
            rate = T.mesh_rate[f] * mobility
            weights = (T.weights[f, 0], T.weights[f, 1], T.weights[f, 2], T.weights[f, 3])
            i1, i2, j1, j2 = T.behind[f, 0], T.behind[f, 1], T.behind[f, 2], T.behind[f, 3]
            flux = mesh_divergence(rho, xi, i, j, i1, i2, j1, j2, r, weights, rate, second_order, temperature)
            divergence[i, r] -= flux * T.inverse_volume[cell + i]
            divergence[j, r] += flux * T.inverse_volume[cell + j]
            if with_outflow:
                dxi = xi[i, r] - xi[j, r]
                outflow[i, r] += leaving(dxi, rate * T.inverse_volume[cell + i], temperature)
                outflow[j, r] += leaving(-dxi, rate * T.inverse_volume[cell + j], temperature)


@inlined
def maximum_into(top, values):
    """Elementwise: a scalar maximum would be one long chain of dependent operations."""
    for q in range(top.size):
        top[q] = max(top[q], values[q])


@inlined
def minimum_into(low, values):
    for q in range(low.size):
        low[q] = min(low[q], values[q])


@inlined
def flushed(value):
    """Zero instead of values next to the smallest floats: their rounding is not relative and may turn a density negative."""
    return value if abs(value) > TINY else 0.0


@inlined
def euler(out, rho, acc, flux, inverse_volume, dt):
    """out = ρ + dt·(what the leading factors bring + what the last factor brings)."""
    for q in range(out.size):
        out[q] = flushed(rho[q] + dt * (acc[q] + (flux[q] - flux[q + 1]) * inverse_volume[q]))


@inlined
def euler_average(out, base, rho, acc, flux, inverse_volume, dt):
    for q in range(out.size):
        new = rho[q] + dt * (acc[q] + (flux[q] - flux[q + 1]) * inverse_volume[q])
        out[q] = flushed(0.5 * (base[q] + new))


@inlined
def moved(potential, before, after, volume):
    """Σ V ξ (ρ_after − ρ_before) over a row."""
    total = 0.0
    for q in range(before.size):
        total += potential[q] * (after[q] - before[q]) * volume[q]
    return total


# ------------------------------------------------------------------------------------------------------ the stage
@kernel
def stage(out, base, rho, xi, dt, T, second_order, temperature):
    """One stage on fields of shape (rows, m): out = ρ + dt·L(ρ) if `base` is None, else (base + ρ + dt·L(ρ))/2.

    `second_order` is None (first order, or fitted fluxes) or True, `temperature` None or D > 0: numba compiles one kernel
    for each combination. `out` must be none of the inputs.

    Returns (the largest outflow rate max_cells Σ_faces (what leaves per density and time), 0 in second stages;
    Σ V ξ (out − ρ); Σ V ξ (ρ − base), 0 in first stages; min out).
    """
    rows, m = rho.shape
    K = T.size.size
    acc = np.zeros(m)
    rate_out = np.zeros(m)
    top, low = np.zeros(m), np.full(m, np.inf)
    moved_after, moved_before = 0.0, 0.0
    flux = np.zeros(m + 1)
    t = np.zeros(m)
    t_row = np.zeros(m)
    carried_flux = np.zeros(
        (2 * T.buffers, m)
    )  # two rows each, by the parity of the cell: one is read while the other is written
    carried_slope = np.zeros((2 * T.buffers, m))
    last_circle = T.is_circle[K]
    mesh_sum, mesh_out = T.mesh_sum, T.mesh_out
    mesh_rows = mesh_sum.shape[0]
    mesh_sum[:] = 0.0
    if base is None:
        mesh_out[:] = 0.0
    for k in range(K):
        if T.is_mesh[k]:
            mesh_stage(mesh_sum, mesh_out, rho, xi, k, T, second_order, temperature, base is None)
    if T.is_mesh[K]:
        mesh_stage_last(mesh_sum.T, mesh_out.T, rho.T, xi.T, K, T, second_order, temperature, base is None)
    for r in range(rows):
        centre = rho[r]
        if second_order is not None:
            slopes_along(t, centre, T.last_inverse_distance, last_circle)
        fluxes_along(flux, centre, t, xi[r], T.last_rate, T.last_distance, T.mobility[K, r], last_circle, temperature)
        acc[:] = mesh_sum[r % mesh_rows]
        if base is None:
            outflow_along(rate_out, xi[r], T.last_rate, T.mobility[K, r], T.last_inverse_volume, last_circle, temperature)
            add_multiple(rate_out, mesh_out[r % mesh_rows], 1.0)
        for k in range(K):
            if not T.is_line[k]:
                continue
            n = T.size[k]
            s = T.stride[k]
            i = r // s % n
            first = r - s * i
            if T.is_circle[k]:
                west, east, beyond = first + s * ((i - 1) % n), first + s * ((i + 1) % n), first + s * ((i + 2) % n)
                j_beyond = (i + 1) % n + 1
            else:
                west, east, beyond = first + s * max(i - 1, 0), first + s * min(i + 1, n - 1), first + s * min(i + 2, n - 1)
                j_beyond = min(i + 2, n)
            j = T.face[k] + i
            mobility = T.mobility[k, r]
            b = 2 * (T.buffer[k] + r % s)
            here, there = b + i % 2, b + (i + 1) % 2
            if i == 0:  # nothing carried yet: the slope of this row, and on a circle the flux through its west face
                if second_order is not None:
                    slopes_across(
                        carried_slope[here], rho[west], centre, rho[east], T.inverse_distance[j], T.inverse_distance[j + 1]
                    )
                    if T.is_circle[k]:
                        beyond_west = first + s * ((n - 2) % n)
                        slopes_across(
                            t_row, rho[beyond_west], rho[west], centre, T.inverse_distance[j + n - 1], T.inverse_distance[j]
                        )
                fluxes_across(
                    carried_flux[here], rho[west], centre, t_row, carried_slope[here], xi[west], xi[r],
                    T.rate[j] * mobility, T.distance[j], temperature,
                )  # fmt: skip
            if second_order is not None:
                slopes_across(
                    carried_slope[there], centre, rho[east], rho[beyond],
                    T.inverse_distance[j + 1], T.inverse_distance[T.face[k] + j_beyond],
                )  # fmt: skip
            fluxes_across(
                carried_flux[there], centre, rho[east], carried_slope[here], carried_slope[there], xi[r], xi[east],
                T.rate[j + 1] * mobility, T.distance[j + 1], temperature,
            )  # fmt: skip
            inverse_volume = T.inverse_volume[T.cell[k] + i]
            divergence_across(acc, carried_flux[here], carried_flux[there], inverse_volume)
            if base is None:
                scale = mobility * inverse_volume
                outflow_across(rate_out, xi[west], xi[r], xi[east], T.rate[j] * scale, T.rate[j + 1] * scale, temperature)
        if base is None:
            maximum_into(top, rate_out)
            euler(out[r], centre, acc, flux, T.last_inverse_volume, dt)
        else:
            euler_average(out[r], base[r], centre, acc, flux, T.last_inverse_volume, dt)
            moved_before += T.row_volume[r] * moved(xi[r], base[r], centre, T.last_volume)
        moved_after += T.row_volume[r] * moved(xi[r], centre, out[r], T.last_volume)
        minimum_into(low, out[r])
    return top.max(), moved_after, moved_before, low.min()


@kernel
def moved_energy(potential, before, after, T):
    """Σ V ξ (ρ_after − ρ_before) on fields of shape (rows, m), in one pass."""
    total = 0.0
    for r in range(before.shape[0]):
        total += T.row_volume[r] * moved(potential[r], before[r], after[r], T.last_volume)
    return total
