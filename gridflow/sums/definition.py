"""Sums over pairs as they are defined, in NumPy, block by block of rows: the engine "numpy".

Slopes are those of the formula for values, by a complex step: (d/ds)k(s) = Im k(s + ih)/h, without a difference that cancels.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from gridflow.space.factor import Array
from gridflow.sums.pairs import Sums

ENTRIES = 2**18
"""Pairs of a block: 2 MiB for each array of them."""
STEP = 1e-20
"""Of the complex step, in units of s: far below round-off, and far above the smallest number."""


Profile = Callable[[Any], Any]
"""k as a function of s, elementwise, of real and of complex arrays."""


def in_blocks(compute: Callable[[Array], Sums], points: Array, n_sources: int) -> Sums:
    """`compute` of blocks of the points, one after the other."""
    rows = max(1, ENTRIES // max(n_sources, 1))
    parts = [compute(points[k : k + rows]) for k in range(0, len(points), rows)]
    return np.concatenate([s for s, _ in parts]), np.concatenate([g for _, g in parts])


def distance_definition(profile: Profile, points: Array, sources: Array, weights: Array) -> Sums:
    """(s, g) for k = profile(r²); where points coincide the gradient is 0."""
    difference = points[:, None] - sources[None]
    squared = (difference**2).sum(axis=2)
    away = np.where(squared > 0, squared, 1.0)
    slopes = np.where(squared > 0, 2 * profile(away * (1 + STEP * 1j)).imag / (STEP * away), 0.0)
    return profile(squared) @ weights, ((slopes * weights)[:, :, None] * difference).sum(axis=1)


def product_definition(profile: Profile, points: Array, sources: Array, weights: Array) -> Sums:
    """(s, g) for k = profile(1 + x·y)."""
    base = 1 + points @ sources.T
    slopes = profile(base + STEP * 1j).imag / STEP
    return profile(base) @ weights, (slopes * weights) @ sources
