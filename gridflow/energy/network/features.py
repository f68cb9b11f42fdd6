"""Feature values v(θ; x) over cells and data: one stored matrix, or blocks of rows that are recomputed."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce

import numpy as np

from gridflow.space.factor import Array

STORED_BYTES = 2**30
"""Feature matrices up to this size are stored: reading them back is faster than recomputing any activation but the ReLU."""
BLOCK_ENTRIES = 2**17
"""Entries of a recomputed block: 1 MiB, so that it stays in the second-level cache between its two uses."""

Rows = Callable[[slice], Array]
"""Feature values v of a slice of inner cells, (n_rows, n_data)."""


@dataclass(frozen=True, eq=False)
class StoredFeatures:
    """Inner features as one matrix (n_inner, n_data)."""

    matrix: Array

    def predict(self, moments: Array) -> Array:
        """(n_terms, n_inner) → (n_terms, n_data)."""
        return moments @ self.matrix

    def pull_back(self, residuals: Array) -> Array:
        """(n_terms, n_data) → (n_terms, n_inner)."""
        return residuals @ self.matrix.T

    def largest(self) -> Array:
        return np.abs(self.matrix).max(axis=0)


@dataclass(frozen=True, eq=False)
class RecomputedFeatures:
    """Inner features that do not fit the memory budget: recomputed in blocks of rows."""

    rows: Rows
    n_inner: int
    n_data: int

    def blocks(self) -> list[slice]:
        step = max(1, BLOCK_ENTRIES // self.n_data)
        return [slice(k, min(k + step, self.n_inner)) for k in range(0, self.n_inner, step)]

    def predict(self, moments: Array) -> Array:
        return reduce(np.add, (moments[:, b] @ self.rows(b) for b in self.blocks()))

    def pull_back(self, residuals: Array) -> Array:
        return np.concatenate([residuals @ self.rows(b).T for b in self.blocks()], axis=1)

    def largest(self) -> Array:
        return reduce(np.maximum, (np.abs(self.rows(b)).max(axis=0) for b in self.blocks()))


def features(rows: Rows, n_inner: int, n_data: int) -> StoredFeatures | RecomputedFeatures:
    """Stored where they fit the memory budget."""
    if n_inner * n_data * 8 <= STORED_BYTES:
        return StoredFeatures(rows(slice(0, n_inner)))
    return RecomputedFeatures(rows, n_inner, n_data)
