"""Sums over the faces along all lines of one factor, each in one pass over the cells: drift, diffusion and dissipation.

Arrays are (n_cells,) in C order; a face lies between the cells `one` and `two`, the latter the one that it comes before.
"""

from typing import Any

from gridflow import compiled
from gridflow.scheme.finite_volume.lines import half_coth_large

kernel: Any = compiled.kernel(fastmath=True, nogil=True)
inlined: Any = compiled.inner(fastmath=True, forceinline=True)

TINY = 1e-290
"""Keeps a quotient of two densities finite where both are 0."""


@inlined
def drift_of_face(one, two, rise):
    """ρ(Δξ)², ρ(Δ log ρ)² and ρ at a face between densities; ρ is their sum. rise : Δξ

    Δ log ρ = 2Δρ/(ρ_one + ρ_two), at most 2: a jump between two cells is no steeper than what they resolve.
    """
    both, step = one + two, one - two
    return both * rise * rise, 4.0 * step * step / (both + TINY), both


@inlined
def fall_of_face(one, two, s, rise):
    """(B(−s)ρ_one − B(s)ρ_two)·rise, B(s) = s/(eˢ − 1): ≥ 0 for rise = s + Δ log ρ."""
    mean = half_coth_large(s)
    return (max(mean + 0.5 * s, 0.0) * one - max(mean - 0.5 * s, 0.0) * two) * rise


@kernel
def drift_and_diffusion(density, xi, across, L, stride):
    """Σ ρ(Δξ)², Σ ρ(Δ log ρ)² and Σ ρ over the faces along all lines, weighed by A/d and `across`, (n_lines,)."""
    n, drift, diffusion, total = L.volume.size, 0.0, 0.0, 0.0
    for block in range(across.size // stride):
        start, weights = block * n * stride, across[block * stride :]
        for b in range(0 if L.circle else 1, n if stride > 1 else 1):
            before, here = start + (b - 1 if b > 0 else n - 1) * stride, start + b * stride
            rho_one, rho_two, xi_one, xi_two = density[before:], density[here:], xi[before:], xi[here:]
            for q in range(stride):
                one, two, three = drift_of_face(rho_one[q], rho_two[q], xi_one[q] - xi_two[q])
                weight = L.rate[b] * weights[q]
                drift, diffusion, total = drift + weight * one, diffusion + weight * two, total + weight * three
        if stride == 1:
            rho, potential = density[start:], xi[start:]
            for b in range(n - 1):
                one, two, three = drift_of_face(rho[b], rho[b + 1], potential[b] - potential[b + 1])
                weight = L.rate[b + 1] * weights[0]
                drift, diffusion, total = drift + weight * one, diffusion + weight * two, total + weight * three
    return drift, diffusion, total


@kernel
def dissipation(density, xi, log, across, L, stride, factor):
    """Σ F(s + Δ log ρ) over the same faces with the same weights, F the exponentially fitted fluxes for a unit diffusivity.

    log : log ρ; factor : 1/D, so that s = Δξ/D
    """
    n, total = L.volume.size, 0.0
    for block in range(across.size // stride):
        start, weights = block * n * stride, across[block * stride :]
        for b in range(0 if L.circle else 1, n if stride > 1 else 1):
            before, here = start + (b - 1 if b > 0 else n - 1) * stride, start + b * stride
            rho_one, rho_two, xi_one, xi_two = density[before:], density[here:], xi[before:], xi[here:]
            log_one, log_two = log[before:], log[here:]
            for q in range(stride):
                s = factor * (xi_one[q] - xi_two[q])
                total += L.rate[b] * weights[q] * fall_of_face(rho_one[q], rho_two[q], s, s + log_one[q] - log_two[q])
        if stride == 1:
            rho, potential, logs = density[start:], xi[start:], log[start:]
            for b in range(n - 1):
                s = factor * (potential[b] - potential[b + 1])
                total += L.rate[b + 1] * weights[0] * fall_of_face(rho[b], rho[b + 1], s, s + logs[b] - logs[b + 1])
    return total
