"""Feature values v(θ; x) over cells and data, stored while they fit a memory budget, and recomputed block by block beyond it."""

from collections.abc import Callable
from functools import reduce

import numpy as np

from gridflow.space.factor import Array

STORED_BYTES = 2**30
"""Feature matrices up to this size are stored: reading them back is faster than recomputing any activation but the ReLU."""
BLOCK_ENTRIES = 2**17
"""Entries of a recomputed block: 1 MiB, so that it stays in the second-level cache between its two uses."""

Rows = Callable[[slice], Array]
"""Feature values v of a slice of inner cells, (n_rows, n_data)."""


def row_blocks(n_rows: int, n_columns: int, entries: int) -> list[slice]:
    """Blocks of whole rows with about so many entries each."""
    step = max(1, entries // n_columns)
    return [slice(k, min(k + step, n_rows)) for k in range(0, n_rows, step)]


class FeatureMatrix:
    """The matrix (n_inner, n_data) of v: `stored` as one block, or None."""

    def __init__(self, rows: Rows, n_inner: int, n_data: int) -> None:
        fits = n_inner * n_data * 8 <= STORED_BYTES
        self.blocks = [slice(0, n_inner)] if fits else row_blocks(n_inner, n_data, BLOCK_ENTRIES)
        self.rows, self.stored = rows, rows(self.blocks[0]) if fits else None

    def at(self, block: slice) -> Array:
        """v of one of the `blocks`, (n_rows, n_data)."""
        return self.rows(block) if self.stored is None else self.stored

    def predict(self, moments: Array) -> Array:
        """(n_terms, n_inner) → (n_terms, n_data)."""
        return reduce(np.add, (moments[:, b] @ self.at(b) for b in self.blocks))

    def pull_back(self, residuals: Array) -> Array:
        """(n_terms, n_data) → (n_terms, n_inner)."""
        return np.concatenate([residuals @ self.at(b).T for b in self.blocks], axis=1)

    def largest(self) -> Array:
        """max |v| over the cells, (n_data,)."""
        return reduce(np.maximum, (np.abs(self.at(b)).max(axis=0) for b in self.blocks))
