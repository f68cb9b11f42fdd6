"""Feature values v(θ; x) over cells and data, and sums over either.

`FeatureMatrix` stores them while they fit a memory budget, and recomputes them block by block beyond it. Cheaper forms of the
same sums are in `gridflow.energy.network.kinked` and `gridflow.energy.network.low_rank`.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import cached_property, reduce

import numpy as np
from numpy.typing import NDArray

from gridflow.space.factor import Array

STORED_BYTES = 2**30
"""Feature matrices up to this size are stored: reading them back is faster than recomputing any activation but the ReLU."""
BLOCK_ENTRIES = 2**17
"""Entries of a recomputed block: 1 MiB, so that it stays in the second-level cache between its two uses."""

Chosen = slice | NDArray[np.int64]
Entries = Callable[[Chosen, Chosen], Array]
"""Feature values v of chosen inner cells at chosen data, (n_cells, n_data)."""


def row_blocks(n_rows: int, n_columns: int, entries: int) -> list[slice]:
    """Blocks of whole rows with about so many entries each."""
    step = max(1, entries // n_columns)
    return [slice(k, min(k + step, n_rows)) for k in range(0, n_rows, step)]


class Features(ABC):
    """v for inner cells and data. n_inner, n_data : how many; note : how sums are computed, for the dataset."""

    n_inner: int
    n_data: int
    note: str

    @abstractmethod
    def predict(self, moments: Array) -> Array:
        """Sums over cells, (n_terms, n_inner) → (n_terms, n_data)."""

    @abstractmethod
    def pull_back(self, residuals: Array) -> Array:
        """Sums over data, (n_terms, n_data) → (n_terms, n_inner)."""

    @abstractmethod
    def largest(self) -> Array:
        """max |v| over the cells, or a bound on it, (n_data,)."""

    def forgetful(self) -> "Features":
        """The same for rare use: nothing of the size of the data is stored."""
        return self

    @abstractmethod
    def at_cells(self, cells: Chosen) -> "Features":
        """The features of some of the cells, (n_chosen,)."""


class FeatureMatrix(Features):
    """The matrix (n_inner, n_data) of v: `stored` as one block, or None."""

    def __init__(self, entries: Entries, n_inner: int, n_data: int, note: str = "full matrix", stores: bool = True) -> None:
        self.entries, self.n_inner, self.n_data, self.note = entries, n_inner, n_data, note
        self.fits = stores and n_inner * n_data * 8 <= STORED_BYTES
        self.blocks = [slice(0, n_inner)] if self.fits else row_blocks(n_inner, n_data, BLOCK_ENTRIES)

    @cached_property
    def stored(self) -> Array | None:
        """The matrix, where it fits the budget."""
        return self.entries(self.blocks[0], slice(0, self.n_data)) if self.fits else None

    def at(self, block: slice) -> Array:
        """v of one of the `blocks`, (n_rows, n_data)."""
        return self.entries(block, slice(0, self.n_data)) if self.stored is None else self.stored

    def predict(self, moments: Array) -> Array:
        return reduce(np.add, (moments[:, b] @ self.at(b) for b in self.blocks))

    def pull_back(self, residuals: Array) -> Array:
        return np.concatenate([residuals @ self.at(b).T for b in self.blocks], axis=1)

    def largest(self) -> Array:
        return reduce(np.maximum, (np.abs(self.at(b)).max(axis=0) for b in self.blocks))

    def forgetful(self) -> "FeatureMatrix":
        return FeatureMatrix(self.entries, self.n_inner, self.n_data, self.note, stores=False)

    def at_cells(self, cells: Chosen) -> "FeatureMatrix":
        numbers = np.arange(self.n_inner)[cells]
        return FeatureMatrix(lambda rows, data: self.entries(numbers[rows], data), numbers.size, self.n_data, self.note)
