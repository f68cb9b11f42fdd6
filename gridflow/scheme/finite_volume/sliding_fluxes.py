"""What the viscosity of sliding (`gridflow.scheme.finite_volume.sliding_tensor`) adds to one stage of the face sweep.

*Face values.* Where τ acts, the limited slope would cut the peak of the mass in a kink. With θ = min(1, 2τ_f/|ξ_l − ξ_r|) the
face value is

    v = v_MC + θ (min((ρ_l + ρ_r)/2, 2ρ_a) − v_MC),   a the upwind cell;

v ≤ 2ρ_a, so that the limit on dt stays.

*Cross fluxes.* F_k = −Σ_{l≠k} A_kl ∂_lρ through the faces of axis k, A and the central differences ∂_lρ means of both cells; at
walls ∂_lρ = 0. They may ask more of a cell than it has: after the sweep they are scaled by R = min(1, ρ/(dt·Σ F_out)) of the cell
that *gives*, which keeps mass and positivity for every dt.

All fields are (before, n, after), n the cells along the axis; L : `gridflow.scheme.finite_volume.lines.Line`, whose rates, 1/d,
belong to the face before each cell.
"""

from typing import Any

from gridflow import compiled

kernel: Any = compiled.kernel(fastmath=True, nogil=True)
inlined: Any = compiled.inner(fastmath=True, forceinline=True)

LEFT = 1e-12
"""Share of a cell that cross fluxes never take, so that no rounding turns a density negative."""
TINY = 1e-290
"""Densities below this are set to 0, as in the sweep."""


@inlined
def limited(downwind, behind):
    """Half the limited slope towards a face, from the slopes on both sides of the upwind cell."""
    half = 0.25 * (downwind + behind)
    return min(max(half, min(0.0, max(downwind, behind))), max(0.0, min(downwind, behind)))


@kernel
def blend_faces(out, rho, xi, tau, volume, mobility, L, time):
    """Add to `out` what the face values θ bring in `time`; mobility : (before·after,), of each line.

    Returns Σ V ξ·(change) of all that moves through faces with a viscosity, by the drift and these values.
    """
    before, n, after = rho.shape
    moved = 0.0
    for a in range(before):
        for c in range(0 if L.circle else 1, n):
            b = c - 1 if c > 0 else n - 1
            west, east = b - 1 if b > 0 else n - 1, c + 1 if c < n - 1 else 0
            rate, rate_b, rate_c = L.rate[c], L.rate[b], L.rate[east]
            for q in range(after):
                strength, step = tau[a, b, q] + tau[a, c, q], xi[a, b, q] - xi[a, c, q]
                if strength > 0.0 and step != 0.0:
                    left, right = rho[a, b, q], rho[a, c, q]
                    if step > 0.0:
                        up, half = left, limited((right - left) * rate, (left - rho[a, west, q]) * rate_b)
                    else:
                        up, half = right, limited((left - right) * rate, (right - rho[a, east, q]) * rate_c)
                    centre = min(0.5 * (left + right), 2.0 * up)
                    theta = min(1.0, strength / abs(step))
                    value, speed = up + half / rate, time * mobility[a * after + q] * rate * step
                    flux = speed * theta * (centre - value)
                    moved -= volume[a, b, q] * L.inverse_volume[b] * step * (speed * value + flux)
                    out[a, b, q] -= flux * L.inverse_volume[b]
                    out[a, c, q] += flux * L.inverse_volume[c]
    return moved


@kernel
def add_cross_flux(flux, mixed, slope, circle):
    """Add −A_kl ∂_lρ to the fluxes through the face before each cell."""
    before, n, after = flux.shape
    for a in range(before):
        for c in range(0 if circle else 1, n):
            b = c - 1 if c > 0 else n - 1
            for q in range(after):
                flux[a, c, q] -= 0.25 * (mixed[a, b, q] + mixed[a, c, q]) * (slope[a, b, q] + slope[a, c, q])


@kernel
def add_flux_along(flux, diagonal, rho, mobility, L):
    """Add −A_kk ∂_kρ, from A_kk/M_k: the explicit form of what the lines do."""
    before, n, after = flux.shape
    for a in range(before):
        for c in range(0 if L.circle else 1, n):
            b = c - 1 if c > 0 else n - 1
            for q in range(after):
                strength = 0.5 * (diagonal[a, b, q] + diagonal[a, c, q]) * mobility[a * after + q]
                flux[a, c, q] -= strength * L.rate[c] * (rho[a, c, q] - rho[a, b, q])


@kernel
def add_leaving(leaving, flux, L, time):
    """Add to `leaving` the densities that fluxes ask of their cells in `time`."""
    before, n, after = flux.shape
    for a in range(before):
        for c in range(0 if L.circle else 1, n):
            b = c - 1 if c > 0 else n - 1
            for q in range(after):
                asked = time * flux[a, c, q]
                leaving[a, b, q] += max(asked, 0.0) * L.inverse_volume[b]
                leaving[a, c, q] += max(-asked, 0.0) * L.inverse_volume[c]


@kernel
def to_shares(leaving, out):
    """R of every cell in place of what is asked of it."""
    for c in range(leaving.size):
        had = (1.0 - LEFT) * max(out[c], 0.0)
        leaving[c] = had / leaving[c] if leaving[c] > had else 1.0


@kernel
def move(out, flux, share, xi, volume, L, time):
    """Move what the fluxes bring in `time`, scaled by the share of the cell that gives; returns Σ V ξ·(change).

    volume : of the cells of the grid
    """
    before, n, after = flux.shape
    work = 0.0
    for a in range(before):
        for c in range(0 if L.circle else 1, n):
            b = c - 1 if c > 0 else n - 1
            for q in range(after):
                asked = time * flux[a, c, q]
                moved = asked * (share[a, b, q] if asked > 0.0 else share[a, c, q])
                out[a, b, q] -= moved * L.inverse_volume[b]
                out[a, c, q] += moved * L.inverse_volume[c]
                work += volume[a, b, q] * L.inverse_volume[b] * moved * (xi[a, c, q] - xi[a, b, q])
    return work


@kernel
def energy_of_change(xi, before, after, volume):
    """Σ V ξ (ρ_after − ρ_before), (n_cells,) each."""
    total = 0.0
    for c in range(xi.size):
        total += volume[c] * xi[c] * (after[c] - before[c])
    return total


@kernel
def flush(out):
    """0 in place of subnormal numbers."""
    for c in range(out.size):
        if abs(out[c]) < TINY:
            out[c] = 0.0
