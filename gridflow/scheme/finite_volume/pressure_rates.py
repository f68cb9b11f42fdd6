"""Rates of the fluxes of `gridflow.scheme.finite_volume.pressure` along all lines of a factor, in one compiled pass."""

from typing import Any

import numpy as np

from gridflow import compiled
from gridflow.energy.internal import EMPTY
from gridflow.scheme.finite_volume.lines import SAME_BITS

kernel: Any = compiled.kernel(fastmath=SAME_BITS, nogil=True)

CLOSE = 1e-5
"""Relative difference of densities up to which K is P' at their mean, and Q their mean: both err by 1e−10 there."""

STEEP = 700.0
"""|s| from which B(|s|) is 0 beside |s|."""


@kernel
def face_rates(right, left, rho, pressure, slope, diffusivity, rest, mobility, L, stride):
    """What every cell gives to the next along its line, per mass and time, and to the one before it: (n_cells,), in C order.

    rho, pressure, slope, diffusivity, rest : ρ, P, U', P', η at the cells, (n_cells,); mobility : of each line, L, stride : as
    in `lines.advance_lines`. What goes through walls is left as it is.
    """
    n = L.volume.size
    for block in range(mobility.size // stride):
        for i in range(0 if L.circle else 1, n):
            before = i - 1 if i > 0 else n - 1
            start, other = (block * n + i) * stride, (block * n + before) * stride
            for q in range(stride):
                a, b = other + q, start + q
                gap, both, fall, drop = rho[a] - rho[b], rho[a] + rho[b], pressure[a] - pressure[b], rest[a] - rest[b]
                bend = slope[a] - slope[b]
                close = abs(gap) <= CLOSE * both
                secant = 0.5 * (diffusivity[a] + diffusivity[b]) if close else fall / gap
                part = 0.5 * drop if close or bend == 0.0 else drop * (fall / bend) / both  # no product that is 0
                k = L.rate[i] * mobility[block * stride + q]
                if abs(part) <= secant:
                    ahead, back = secant + part, secant - part
                else:
                    rise = 0.0 if close else np.log(max(rho[a], EMPTY)) - np.log(max(rho[b], EMPTY))
                    fitted = secant if rise == 0.0 else bend / rise
                    against = abs(drop) / np.expm1(abs(drop) / fitted) if abs(drop) < STEEP * fitted else 0.0
                    ahead, back = against + max(drop, 0.0), against + max(-drop, 0.0)
                right[a] = k * L.inverse_volume[before] * ahead
                left[b] = k * L.inverse_volume[i] * back
