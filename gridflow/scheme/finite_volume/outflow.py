"""The largest rate of what leaves a cell, per density: max_cells Σ_faces A_f max(u_f, 0)/V for upwind fluxes.

A loop of its own, because one stage of a step needs it and the others do not.
"""

from gridflow.scheme.finite_volume.compiler import apart, greatest
from gridflow.scheme.finite_volume.rows import by_row, fill, inlined, kernel, outflow_of_face, scale


@kernel
def largest_outflow(xi, T, temperature, start, stop, work):
    """The largest rate in rows start to stop, with those of surfaces in T.mesh_outflow."""
    m, last = xi.shape[1], T.leading.shape[0] - 1
    rates, speed, top = apart(work[2, :m]), apart(work[0, : m + 1]), 0.0
    fill(rates, T.mesh_outflow, 0)
    for r in range(start, stop):
        if r == start or T.mobility[last + 1, r] != T.mobility[last + 1, r - 1]:
            scale(speed, T.last_faces, T.mobility[last + 1, r])
        if T.adds:
            fill(rates, T.mesh_outflow, r % T.mesh_outflow.shape[0])
        for k in range(last + 1):
            c = T.leading[k, 2] + r // T.leading[k, 1] % T.leading[k, 0]
            scaled = T.mobility[k, r] * T.inverse_volume[c]
            rate = (T.faces[c, 0, 0] * scaled, T.faces[c, 1, 0] * scaled)
            if k < last:
                add_outflow(rates, xi, r + T.around[c, 1], r, r + T.around[c, 2], rate, temperature)
                continue
            top = outflow(
                top, rates, xi, r + T.around[c, 1], r, r + T.around[c, 2], rate, speed, T.last_cells, T.edges, temperature
            )
    return top


@by_row
def add_outflow(rates, xi, before, r, after, rate, temperature):
    """Add the rates of what leaves row r through both faces of a leading factor."""
    for q in range(xi.shape[1]):
        rates[q] += outflow_of_cell(xi[r, q], xi[before, q], xi[after, q], rate[0], rate[1], temperature)


@by_row
def outflow(top, rates, xi, before, r, after, rate, speed, cells, edges, temperature):
    """The largest of `top` and, in row r, of `rates` and what leaves cells along a leading and the last factor."""
    for q in range(xi.shape[1] - 2):
        here = xi[r, q + 1]
        across = outflow_of_cell(here, xi[before, q + 1], xi[after, q + 1], rate[0], rate[1], temperature)
        along = outflow_of_cell(here, xi[r, q], xi[r, q + 2], speed[q + 1], speed[q + 2], temperature)
        top = greatest(top, rates[q + 1] + across + along * cells[0, q + 1])
    for k in range(0, 4, 2):  # both ends
        west, q, east = edges[k, 2], edges[k, 3], edges[k + 1, 3]
        across = outflow_of_cell(xi[r, q], xi[before, q], xi[after, q], rate[0], rate[1], temperature)
        along = outflow_of_cell(xi[r, q], xi[r, west], xi[r, east], speed[q], speed[q + 1], temperature)
        top = greatest(top, rates[q] + across + along * cells[0, q])
    return top


@inlined
def outflow_of_cell(here, before, after, rate_before, rate_after, temperature):
    """Rate at which mass leaves a cell through two faces, per density."""
    return outflow_of_face(here - before, rate_before, temperature) + outflow_of_face(here - after, rate_after, temperature)
