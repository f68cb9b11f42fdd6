"""Fluxes through the faces of surfaces (`gridflow.space.mesh`), added to both cells, face by face, before rows are swept:

    ρ_f = ρ_a + clip((x + y)/4, …),  x = ρ_b − ρ_a towards the downwind cell b, y = Σ w (ρ_a − ρ_behind) from its mirror image,

so that κ = 1 + max Σw.
"""

import numpy as np

from gridflow.scheme.finite_volume.rows import flux_scharfetter_gummel, flux_upwind, inlined, kernel, outflow_of_face


@kernel
def mesh_gain(gain, rho, xi, T, shrink, temperature):
    """Write what surfaces bring to cells into `gain`, shape (rows, m)."""
    last = T.size.size
    gain[:] = 0.0
    for k in range(last):
        if T.has_polygons[k]:
            gain_leading(gain, rho, xi, k, T, shrink, temperature)
    if T.has_polygons[last]:
        gain_last(gain.T, rho.T, xi.T, last, T, shrink, temperature)


@kernel
def mesh_outflow(outflow, xi, T, temperature):
    """Write the rate of what leaves cells through the faces of surfaces into `outflow`, shape (rows, m)."""
    last = T.size.size
    outflow[:] = 0.0
    for k in range(last):
        if T.has_polygons[k]:
            outflow_leading(outflow, xi, k, T, temperature)
    if T.has_polygons[last]:
        outflow_last(outflow.T, xi.T, last, T, temperature)


@kernel
def gain_leading(gain, rho, xi, k, T, shrink, temperature):
    """Add what the leading mesh factor k brings to every cell."""
    rows, m = rho.shape
    n, s, cell = T.size[k], T.stride[k], T.first_cell[k]
    through = np.empty(m)
    for block in range(0, rows, n * s):
        for f in range(T.first_face[k], T.first_face[k + 1]):
            i, j = T.ends[f, 0], T.ends[f, 1]
            inverse_i, inverse_j = T.inverse_volume[cell + i], T.inverse_volume[cell + j]
            w = (T.weights[f, 0], T.weights[f, 1], T.weights[f, 2], T.weights[f, 3])
            for z in range(block, block + s):
                c, o = z + s * i, z + s * j
                b = (z + s * T.behind[f, 0], z + s * T.behind[f, 1], z + s * T.behind[f, 2], z + s * T.behind[f, 3])
                mesh_fluxes(through, rho, xi, c, o, b, w, T.rate[f] * T.mobility[k, c], shrink, temperature)
                transfer(gain[c], gain[o], through, inverse_i, inverse_j)


@kernel
def gain_last(gain, rho, xi, k, T, shrink, temperature):
    """The same for a mesh as the last factor, whose cells make up the rows; all arrays are transposed."""
    cell = T.first_cell[k]
    for r in range(rho.shape[1]):
        for f in range(T.first_face[k], T.first_face[k + 1]):
            i, j = T.ends[f, 0], T.ends[f, 1]
            b = (T.behind[f, 0], T.behind[f, 1], T.behind[f, 2], T.behind[f, 3])
            w = (T.weights[f, 0], T.weights[f, 1], T.weights[f, 2], T.weights[f, 3])
            through = mesh_flux(rho, xi, i, j, r, b, w, T.rate[f] * T.mobility[k, r], shrink, temperature)
            gain[i, r] -= through * T.inverse_volume[cell + i]
            gain[j, r] += through * T.inverse_volume[cell + j]


@kernel
def outflow_leading(outflow, xi, k, T, temperature):
    """Add the rate of what leaves every cell along the leading mesh factor k."""
    n, s, cell = T.size[k], T.stride[k], T.first_cell[k]
    for block in range(0, xi.shape[0], n * s):
        for f in range(T.first_face[k], T.first_face[k + 1]):
            i, j = T.ends[f, 0], T.ends[f, 1]
            inverse_i, inverse_j = T.inverse_volume[cell + i], T.inverse_volume[cell + j]
            for z in range(block, block + s):
                c, o = z + s * i, z + s * j
                rate = T.rate[f] * T.mobility[k, c]
                add_outflow(outflow[c], outflow[o], xi[c], xi[o], rate * inverse_i, rate * inverse_j, temperature)


@kernel
def outflow_last(outflow, xi, k, T, temperature):
    """The same for a mesh as the last factor; all arrays are transposed."""
    cell = T.first_cell[k]
    for r in range(xi.shape[1]):
        for f in range(T.first_face[k], T.first_face[k + 1]):
            i, j = T.ends[f, 0], T.ends[f, 1]
            rate, dxi = T.rate[f] * T.mobility[k, r], xi[i, r] - xi[j, r]
            outflow[i, r] += outflow_of_face(dxi, rate * T.inverse_volume[cell + i], temperature)
            outflow[j, r] += outflow_of_face(-dxi, rate * T.inverse_volume[cell + j], temperature)


@inlined
def mesh_flux(rho, xi, c, o, q, b, w, rate, shrink, temperature):
    """Flux from row c to row o at the place q of the rows; b, w : two rows behind c, two behind o, and their weights."""
    dxi, rho_c, rho_o = xi[c, q] - xi[o, q], rho[c, q], rho[o, q]
    if temperature is not None:
        return flux_scharfetter_gummel(dxi, rho_c, rho_o, rate, temperature)
    behind_c = w[0] * (rho_c - rho[b[0], q]) + w[1] * (rho_c - rho[b[1], q])
    behind_o = w[2] * (rho_o - rho[b[2], q]) + w[3] * (rho_o - rho[b[3], q])
    return flux_upwind(dxi * rate, rho_c, rho_o, behind_c, -behind_o, shrink)


@inlined
def mesh_fluxes(out, rho, xi, c, o, b, w, rate, shrink, temperature):
    """`mesh_flux` at all places of two rows."""
    for q in range(out.size):
        out[q] = mesh_flux(rho, xi, c, o, q, b, w, rate, shrink, temperature)


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
