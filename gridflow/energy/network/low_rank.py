"""Features of low rank: v(θ; x) = Σ_k c_k(θ) v(θ_k; x) with few cells θ_k of the grid, within round-off.

Smooth activations make matrices over cells and data of rank 10 to 60, however many cells and data there are. The skeleton
(`gridflow.sums.low_rank`) of a small matrix is that of all its entries. For a large one it is that of some cells and some data,
evenly spaced in their order; it is compared with the entries at all data for some cells, and at all cells for some data, and
where it errs these cells and data join in. The error in `note` is the largest difference found in this comparison, which takes
every entry of a matrix of moderate size. Differences count relative to the size of the feature at their datum: an outlying datum,
be its weight 0, hides no others.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gridflow.energy.network.features import STORED_BYTES, Chosen, Entries, FeatureMatrix, Features, row_blocks
from gridflow.space.factor import Array
from gridflow.sums.low_rank import TOLERANCE, Skeleton, skeleton

Numbers = NDArray[np.int64]
WHOLE_ENTRIES = 2**22
"""Matrices of so many entries are eliminated as they are: 32 MiB."""
SIDE = 1024
"""Cells and data of the matrix that stands for a larger one."""
QUICK_SIDE = 2003
"""Cells and data of a first comparison, mostly others than those."""
CHECK_ENTRIES = 2**25
"""Entries of the last one, which takes seconds."""
SIZE_CELLS = 32
"""Cells that tell the size of a feature at a datum: the corners of the grid are among them."""
BLOCK = 1024
"""Cells and data of a block: it stays in the third-level cache with its coefficients."""
SPREAD = 200
"""Data that are spread over the inputs: those far from all others are few, and a feature may be largest there."""
JOINING = 32
"""Cells and data of a block that join in where it errs."""
ROUNDS = 12
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
        blocks = row_blocks(self.n_inner, 1, BLOCK)
        return max(float(np.abs(self.coefficients[b]).sum(axis=1).max()) for b in blocks) * self.pivots.largest()

    def forgetful(self) -> "LowRankFeatures":
        return LowRankFeatures(self.coefficients, self.pivots.forgetful(), self.note)

    def at_cells(self, cells: Chosen) -> "LowRankFeatures":
        return LowRankFeatures(np.ascontiguousarray(self.coefficients[cells]), self.pivots, self.note)


def low_rank_features(entries: Entries, n_inner: int, n_data: int, apart: Numbers) -> LowRankFeatures | None:
    """Features of low rank; None where their rank is too large to be a gain, or does not reach the tolerance.

    apart : data that are taken in any case, see `spread`
    """
    rank_max = min(RANK_MAX, int(RANK_SHARE * min(n_inner, n_data)), STORED_BYTES // (8 * n_inner))
    whole = n_inner * n_data <= WHOLE_ENTRIES
    cells, data = (evenly(n, n if whole else SIDE) for n in (n_inner, n_data))
    data = np.union1d(data, apart)
    quick = [(evenly(n_inner, QUICK_SIDE), evenly(n_data, QUICK_SIDE))]
    sizes = sizes_at_data(entries, n_inner, n_data)

    def scaled(cells: Chosen, data: Chosen) -> Array:
        """v over its size at every datum: C is the same."""
        values: Array = entries(cells, data) / sizes[data]
        return values

    for _ in range(1 if whole else ROUNDS):
        found = skeleton(scaled(cells, data), rank_max)
        if found is None or found.rank == 0:
            return None
        cross = Cross(scaled, found, cells[found.rows], data[found.columns])
        comparison = cross.compare(comparable(n_inner, n_data) if whole else quick)
        if comparison.error <= TOLERANCE and not whole:
            comparison = cross.compare(comparable(n_inner, n_data))
        if comparison.error <= TOLERANCE:
            note = f"rank {found.rank} of {n_data} data, relative error {comparison.error:.0e}"
            pivots = rows_of(entries, cross.pivots, n_data)
            return LowRankFeatures(cross.coefficients(evenly(n_inner, n_inner)), pivots, note)
        cells, data = np.union1d(cells, comparison.cells), np.union1d(data, comparison.data)
    return None


def sizes_at_data(entries: Entries, n_inner: int, n_data: int) -> Array:
    """Largest |v| at every datum, over SIZE_CELLS cells; 1 where all are 0, (n_data,)."""
    cells, sizes = evenly(n_inner, SIZE_CELLS), np.empty(n_data)
    for block in row_blocks(n_data, 1, 16 * BLOCK):
        sizes[block] = np.abs(entries(cells, evenly(n_data, n_data)[block])).max(axis=0)
    return np.where(sizes > 0, sizes, 1.0)


def rows_of(entries: Entries, pivots: Numbers, n_data: int) -> FeatureMatrix:
    """v of some cells at all data."""
    return FeatureMatrix(lambda rows, data: entries(pivots[rows], data), pivots.size, n_data)


def comparable(n_inner: int, n_data: int) -> list[tuple[Numbers, Numbers]]:
    """All cells and data; or some cells with all data, and all cells with some data, where those are too many."""
    cells, data = evenly(n_inner, n_inner), evenly(n_data, n_data)
    if n_inner * n_data <= CHECK_ENTRIES:
        return [(cells, data)]
    some_cells, some_data = (evenly(n, max(16, CHECK_ENTRIES // m)) for n, m in ((n_inner, n_data), (n_data, n_inner)))
    return [(some_cells, data), (cells, some_data)]


def evenly(total: int, count: int) -> Numbers:
    """At most so many numbers below the total, evenly spaced, the first and the last among them."""
    return np.arange(total) if count >= total else np.linspace(0, total - 1, count).round().astype(np.int64)


def spread(inputs: Array) -> Numbers:
    """Data whose inputs, (n_data, n_dim), lie evenly between the smallest and the largest, along every coordinate."""
    found = []
    for column in inputs.T:
        order = np.argsort(column, kind="stable")
        places = np.linspace(column[order[0]], column[order[-1]], SPREAD)
        found.append(order[np.minimum(np.searchsorted(column[order], places), column.size - 1)])
    return np.unique(np.concatenate(found))


@dataclass(frozen=True)
class Comparison:
    """error : largest difference of entries over their size at the datum; cells, data : where blocks differ most."""

    error: float
    cells: Numbers
    data: Numbers


@dataclass(frozen=True)
class Cross:
    """A skeleton found on some cells and data. pivots, columns : its cells and data, by their numbers among all."""

    entries: Entries
    found: Skeleton
    pivots: Numbers
    columns: Numbers

    def coefficients(self, cells: Numbers) -> Array:
        """C of cells, (n_cells, rank)."""
        values = np.empty((cells.size, self.found.rank))
        for block in row_blocks(cells.size, 1, 16 * BLOCK):
            values[block] = self.found.coefficients(self.entries(cells[block], self.columns))
        return values

    def compare(self, parts: list[tuple[Numbers, Numbers]]) -> Comparison:
        """The comparison with all entries of cells and data, for each pair of them."""
        largest, error = 0.0, 0.0
        bad_cells: list[Numbers] = []
        bad_data: list[Numbers] = []
        for cells, data in parts:
            for rows in row_blocks(cells.size, 1, BLOCK):
                c = self.coefficients(cells[rows])
                for columns in row_blocks(data.size, cells[rows].size, BLOCK**2):
                    values = self.entries(cells[rows], data[columns])
                    largest = max(largest, float(np.abs(values).max()))
                    values = np.abs(values - c @ self.entries(self.pivots, data[columns]))
                    error, limit = max(error, float(values.max())), TOLERANCE * largest / 2
                    bad_cells.append(cells[rows][worst(values.max(axis=1), limit)])
                    bad_data.append(data[columns][worst(values.max(axis=0), limit)])
        return Comparison(error / largest if largest > 0 else 0.0, np.concatenate(bad_cells), np.concatenate(bad_data))


def worst(errors: Array, limit: float) -> Numbers:
    """Numbers of the largest errors above a limit."""
    found = np.argsort(-errors, kind="stable")[:JOINING]
    return found[errors[found] > limit]
