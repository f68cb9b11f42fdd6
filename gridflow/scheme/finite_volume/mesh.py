"""Fluxes through the faces of surfaces (`gridflow.space.mesh`), added to both cells, face by face, before rows are swept:

    ρ_f = ρ_a + clip((x + y)/4, …),  x = ρ_b − ρ_a towards the downwind cell b, y = Σ w (ρ_a − ρ_behind) from its mirror image,

so that κ = 1 + max Σw.
"""

import numpy as np

from gridflow.scheme.finite_volume.rows import flux_scharfetter_gummel, flux_upwind, half_slope, inlined, kernel, outflow_of_face
from gridflow.scheme.finite_volume.tables import SHRINK


@kernel
def mesh_changes(rho, xi, base, T, second_order, temperature):
    """Write what surfaces bring to cells into T.mesh_sum and, in first stages, the rate of what leaves them into T.mesh_out."""
    last = T.size.size
    T.mesh_sum[:] = 0.0
    if base is None:
        T.mesh_out[:] = 0.0
    for k in range(last):
        if T.has_polygons[k]:
            mesh_leading(T.mesh_sum, T.mesh_out, rho, xi, k, T, second_order, temperature, base is None)
    if T.has_polygons[last]:
        mesh_last(T.mesh_sum.T, T.mesh_out.T, rho.T, xi.T, last, T, second_order, temperature, base is None)


@kernel
def mesh_leading(gain, outflow, rho, xi, k, T, second_order, temperature, with_outflow):
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
                transfer(gain[c], gain[o], flux, inverse_i, inverse_j)
                if with_outflow:
                    add_outflow(outflow[c], outflow[o], xi[c], xi[o], rate * inverse_i, rate * inverse_j, temperature)


@kernel
def mesh_last(gain, outflow, rho, xi, k, T, second_order, temperature, with_outflow):
    """The same for a mesh as the last factor, whose cells make up the rows; all arrays are transposed."""
    cell = T.cell[k]
    for r in range(rho.shape[1]):
        mobility = T.mobility[k, r]
        for f in range(T.mesh_face[k], T.mesh_face[k + 1]):
            i, j = T.ends[f, 0], T.ends[f, 1]
            rate = T.mesh_rate[f] * mobility
            weights = (T.weights[f, 0], T.weights[f, 1], T.weights[f, 2], T.weights[f, 3])
            i1, i2, j1, j2 = T.behind[f, 0], T.behind[f, 1], T.behind[f, 2], T.behind[f, 3]
            flux = mesh_flux_at(rho, xi, i, j, i1, i2, j1, j2, r, weights, rate, second_order, temperature)
            gain[i, r] -= flux * T.inverse_volume[cell + i]
            gain[j, r] += flux * T.inverse_volume[cell + j]
            if with_outflow:
                dxi = xi[i, r] - xi[j, r]
                outflow[i, r] += outflow_of_face(dxi, rate * T.inverse_volume[cell + i], temperature)
                outflow[j, r] += outflow_of_face(-dxi, rate * T.inverse_volume[cell + j], temperature)


@inlined
def mesh_flux(dxi, c, o, behind_c, behind_o, rate, second_order, temperature):
    """Flux from c to o through a face of a mesh; the differences behind both point away from the face."""
    if temperature is not None:
        return flux_scharfetter_gummel(dxi, c, o, rate, temperature)
    if second_order is None:
        return flux_upwind(dxi * rate, c, o, 0.0, 0.0)
    return flux_upwind(dxi * rate, c, o, SHRINK * half_slope(o - c, behind_c), SHRINK * half_slope(o - c, -behind_o))


@inlined
def mesh_flux_at(rho, xi, i, j, i1, i2, j1, j2, q, weights, rate, second_order, temperature):
    """`mesh_flux` from row i to row j, with the rows behind either, at the place q of the rows."""
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
def transfer(from_c, to_o, flux, inverse_c, inverse_o):
    """Take a flux from one row of cells and bring it to the other."""
    for q in range(flux.size):
        from_c[q] -= flux[q] * inverse_c
        to_o[q] += flux[q] * inverse_o


@inlined
def add_outflow(out_c, out_o, xi_c, xi_o, rate_c, rate_o, temperature):
    """Add the rate of what leaves either row of cells through the face between them."""
    for q in range(out_c.size):
        out_c[q] += outflow_of_face(xi_c[q] - xi_o[q], rate_c, temperature)
        out_o[q] += outflow_of_face(xi_o[q] - xi_c[q], rate_o, temperature)
