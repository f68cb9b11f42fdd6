"""Features of low rank: v(θ; x) = Σ_k c_k(θ) v(θ_k; x) with few cells θ_k of the grid, within round-off.

Smooth activations make matrices over cells and data of rank 10 to 60, however many cells and data there are. The skeleton
(`gridflow.sums.low_rank`) of a small matrix is that of all its entries. For a large one it is that of some cells and some data,
evenly spaced in their order; it is compared with the entries at all data for some cells, and at all cells for some data, and
where it errs these cells and data join in. The error in `note` is the largest difference over the largest value found in this
comparison, which takes every entry of a matrix of moderate size.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gridflow.energy.network.features import STORED_BYTES, Entries, FeatureMatrix, Features, row_blocks
from gridflow.space.factor import Array
from gridflow.sums.low_rank import TOLERANCE, Skeleton, skeleton

Numbers = NDArray[np.int64]
WHOLE_ENTRIES = 2**22
"""Matrices of so many entries are eliminated as they are: 32 MiB."""
SIDE = 2048
"""Cells and data of the matrix that stands for a larger one."""
CHECK_ENTRIES = 2**27
"""Entries that are compared, about a second; in blocks of BLOCK."""
BLOCK = 2**21
ROUNDS = 8
"""Comparisons after which a rank counts as not found."""
RANK_MAX = 600
"""Elimination to a larger rank takes longer than the steps of most runs save."""
RANK_SHARE = 0.7
"""Largest rank, as a share of cells and data, that is worth it."""


class LowRankFeatures(Features):
    """v = C v(pivots). coefficients : C, (n_inner, rank); pivots : v of these cells at the data."""

    def __init__(self, coefficients: Array, pivots: FeatureMatrix, note: str) -> None:
        self.coefficients, self.pivots, self.note = coefficients, pivots, note
        self.n_inner, self.n_data = len(coefficients), pivots.n_data

    def predict(self, moments: Array) -> Array:
        return self.pivots.predict(moments @ self.coefficients)

    def pull_back(self, residuals: Array) -> Array:
        return self.pivots.pull_back(residuals) @ self.coefficients.T

    def largest(self) -> Array:
        blocks = row_blocks(self.n_inner, self.coefficients.shape[1], BLOCK)
        return max(float(np.abs(self.coefficients[b]).sum(axis=1).max()) for b in blocks) * self.pivots.largest()

    def forgetful(self) -> "LowRankFeatures":
        return LowRankFeatures(self.coefficients, self.pivots.forgetful(), self.note)


def low_rank_features(entries: Entries, n_inner: int, n_data: int) -> LowRankFeatures | None:
    """Features of low rank; None where their rank is too large to be a gain, or does not reach the tolerance."""
    rank_max = min(RANK_MAX, int(RANK_SHARE * min(n_inner, n_data)), STORED_BYTES // (8 * n_inner))
    whole = n_inner * n_data <= WHOLE_ENTRIES
    cells, data = (evenly(n, n if whole else SIDE) for n in (n_inner, n_data))
    for _ in range(ROUNDS):
        found = skeleton(entries(cells, data), rank_max)
        if found is None or found.rank == 0:
            return None
        cross = Cross.of(entries, found, cells, data, n_inner)
        comparison = cross.compare(n_inner, n_data)
        if comparison.error <= TOLERANCE:
            note = f"rank {found.rank} of {n_data} data, relative error {comparison.error:.0e}"
            return LowRankFeatures(cross.coefficients, cross.rows(n_data), note)
        if whole:
            return None
        cells, data = np.union1d(cells, comparison.cells), np.union1d(data, comparison.data)
    return None


def evenly(total: int, count: int) -> Numbers:
    """At most so many numbers below the total, evenly spaced, the first and the last among them."""
    return np.unique(np.linspace(0, total - 1, min(count, total)).round().astype(np.int64))


@dataclass(frozen=True)
class Comparison:
    """error : largest difference over the largest entry; cells, data : where blocks differ most."""

    error: float
    cells: Numbers
    data: Numbers


@dataclass(frozen=True)
class Cross:
    """A skeleton found on some cells and data. pivots : its cells, by their numbers on the grid; coefficients : C."""

    entries: Entries
    pivots: Numbers
    coefficients: Array

    @classmethod
    def of(cls, entries: Entries, found: Skeleton, cells: Numbers, data: Numbers, n_inner: int) -> "Cross":
        """From the cells and data on which it was found."""
        coefficients, columns = np.empty((n_inner, found.rank)), data[found.columns]
        for block in row_blocks(n_inner, found.rank, BLOCK):
            coefficients[block] = found.coefficients(entries(block, columns))
        return cls(entries, cells[found.rows], coefficients)

    def rows(self, n_data: int) -> FeatureMatrix:
        """v of the pivots at all data."""
        pivots = self.pivots
        return FeatureMatrix(lambda cells, data: self.entries(pivots[cells], data), pivots.size, n_data)

    def compare(self, n_inner: int, n_data: int) -> Comparison:
        """With all entries, or with the entries of all data for some cells and of all cells for some data."""
        all_cells, all_data = evenly(n_inner, n_inner), evenly(n_data, n_data)
        if n_inner * n_data <= CHECK_ENTRIES:
            return self.difference([(all_cells, all_data)])
        some_cells, some_data = (evenly(n, max(16, CHECK_ENTRIES // m)) for n, m in ((n_inner, n_data), (n_data, n_inner)))
        return self.difference([(some_cells, all_data), (all_cells, some_data)])

    def difference(self, parts: list[tuple[Numbers, Numbers]]) -> Comparison:
        """The comparison with the entries of cells and data."""
        largest, error = 0.0, 0.0
        worst: list[tuple[float, int, int]] = []
        for cells, data in parts:
            c = self.coefficients if cells.size == len(self.coefficients) else self.coefficients[cells]
            for block in row_blocks(data.size, cells.size + self.pivots.size, BLOCK):
                values = self.entries(cells, data[block])
                largest = max(largest, float(np.abs(values).max()))
                left = np.abs(values - c @ self.entries(self.pivots, data[block]))
                i, j = np.unravel_index(int(np.argmax(left)), left.shape)
                error = max(error, float(left[i, j]))
                worst.append((float(left[i, j]), int(cells[i]), int(data[block][j])))
        limit = TOLERANCE * largest / 2
        chosen = [(i, j) for size, i, j in worst if size > limit]
        numbers = np.array(chosen, dtype=np.int64).reshape(-1, 2)
        return Comparison(error / largest if largest > 0 else 0.0, numbers[:, 0], numbers[:, 1])
