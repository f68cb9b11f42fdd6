"""Kernels that are functions of the distance, not compiled: of one's own, or special functions."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from gridflow.space.factor import Array
from gridflow.sums.door import numpy_alone
from gridflow.sums.pairs import Sums

BLOCK = 2**22
"""Pairs at a time of sums that are not compiled: 32 MiB for each array."""


@dataclass(frozen=True)
class OfDistance:
    """A kernel of one's own, k(r), and its derivative, functions of arrays of distances r ≥ 0; `definite` as of other kernels."""

    value: Callable[[Array], Array]
    slope: Callable[[Array], Array]
    definite: bool = False

    def radial(self, squared: Array) -> Array:
        return np.asarray(self.value(np.sqrt(squared)), dtype=float)

    def order(self, dim: int) -> int:
        """As of other kernels."""
        return 2

    def sum(self, points: Array, sources: Array, weights: Array, lengths: Array, gradient: bool = True) -> Sums:
        numpy_alone("a kernel of one's own in Python")
        at_zero = float(self.radial(np.zeros(1))[0])
        return blockwise_sum(points, sources, weights, self.value, self.slope if gradient else None, at_zero)


def blockwise_sum(
    points: Array,
    sources: Array,
    weights: Array,
    value: Callable[[Array], Array],
    slope: Callable[[Array], Array] | None,
    at_zero: float,
) -> Sums:
    """Sums of a function of r > 0 that is not compiled, and of its derivative; `at_zero` and no slope where r = 0."""
    values, slopes, size = np.zeros(len(points)), np.zeros(points.shape), max(1, BLOCK // max(len(sources), 1))
    for start in range(0, len(points), size):
        rows = slice(start, start + size)
        apart = points[rows, None] - sources
        r = np.sqrt((apart**2).sum(axis=2))
        away = np.where(r > 0, r, 1.0)
        values[rows] = np.where(r > 0, value(away), at_zero) @ weights
        if slope is not None:
            rate = np.where(r > 0, slope(away) / away, 0.0) * weights
            slopes[rows] = np.einsum("ij,ijk->ik", rate, apart)
    return values, slopes
