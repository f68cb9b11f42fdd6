"""Few data in place of many, for the squared loss alone.

With Φ = √μ v, (n_data, n_inner) for all branches side by side, and Φ = Q R, Q of orthonormal columns,

    ½Σ_j μ_j |f_j − y_j|² = ½|Φm − √μ y|² = ½|R m − t|² + c,    t = Qᵀ√μ y,    c = ½|√μ y|² − ½|t|²

so that a step sums over the rows of R: the rank of the features, however many data there are. Q is never made: blocks of data are
added to the triangle of [Φ √μy] by QR (Golub and Van Loan, Matrix Computations, §5.2), whose last rows are √(2c). Unlike the Gram
matrix ΦᵀΦ = RᵀR this keeps the digits of small losses. Features with one kink have more structure than a rank
(`gridflow.energy.network.kinked`).
"""

from dataclasses import dataclass

import numpy as np

from gridflow.energy.network.data import Data
from gridflow.energy.network.features import STORED_BYTES, Chosen, FeatureMatrix, Features, row_blocks
from gridflow.energy.network.kinked import KinkedFeatures, merged
from gridflow.energy.network.low_rank import LowRankFeatures
from gridflow.space.factor import Array

FEWER = 0.8
"""Largest share of the data that is worth it."""
OPERATIONS_MAX = 1e12
"""Of the QR: a minute, where every evaluation of a full matrix would take n_inner·n_data."""
BLOCK_ENTRIES = 2**21
"""Entries of a block of Φ."""
SMALL = 2**16
"""Matrices with fewer entries stay: their products take less than all else in a step."""


@dataclass(frozen=True)
class Reduction:
    """features : of every branch, at few data; data : their targets, with weights 1; constant : c."""

    features: list[Features]
    data: Data
    constant: float


def reduction(features: list[Features], data: Data) -> Reduction | None:
    """Features of all branches at fewer data; None where that is no gain."""
    kinked = [f for f in features if isinstance(f, KinkedFeatures)]
    if len(kinked) == len(features):
        fewer, few, constant = merged(kinked, data)
        return Reduction([*fewer], few, constant) if len(few.targets) <= FEWER * len(data.targets) else None
    bases = [basis(f) for f in features]
    if any(b is None for b in bases):
        return None
    return factored([b for b in bases if b is not None], [f.note for f in features], data)


Basis = tuple[FeatureMatrix, Array | None]
"""Features of some cells, (rank, n_data), and coefficients C of all cells, (n_inner, rank); None where they are all cells."""


def basis(features: Features) -> Basis | None:
    """Cells whose features span all, where there are few."""
    if isinstance(features, LowRankFeatures):
        return features.pivots, features.coefficients
    if isinstance(features, FeatureMatrix) and features.n_inner * features.n_data > SMALL:
        return features, None
    return None


def factored(bases: list[Basis], notes: list[str], data: Data) -> Reduction | None:
    """The reduction by QR."""
    ends = np.cumsum([0, *(pivots.n_inner for pivots, _ in bases)])
    rank, n_data = int(ends[-1]), len(data.targets)
    cells = sum(pivots.n_inner if c is None else len(c) for pivots, c in bases)
    if rank > FEWER * n_data or 2.0 * n_data * rank**2 > OPERATIONS_MAX or 8 * rank * cells > STORED_BYTES:
        return None
    triangle = triangle_of(bases, data)
    found: list[Features] = []
    for (_, coefficients), first, last, note in zip(bases, ends[:-1], ends[1:], notes, strict=True):
        part = triangle[:rank, first:last]
        matrix = np.ascontiguousarray(part.T) if coefficients is None else coefficients @ part.T
        added = f", {n_data} data in {rank} rows" if coefficients is None else ""
        found.append(StoredFeatures(matrix, note + added))
    few = Data(np.zeros((rank, 0)), np.ascontiguousarray(triangle[:rank, rank:]), np.ones(rank))
    return Reduction(found, few, float((triangle[rank:, rank:] ** 2).sum()) / 2)


def triangle_of(bases: list[Basis], data: Data) -> Array:
    """The triangle of [Φ √μy], (rank + n_outputs, rank + n_outputs)."""
    columns = sum(pivots.n_inner for pivots, _ in bases) + data.targets.shape[1]
    triangle: Array = np.zeros((columns, columns))
    for block in row_blocks(len(data.targets), columns, BLOCK_ENTRIES):
        values = [pivots.entries(slice(0, pivots.n_inner), block).T for pivots, _ in bases]
        rows = np.hstack([*values, data.targets[block]]) * np.sqrt(data.weights[block])[:, None]
        triangle = np.asarray(np.linalg.qr(np.vstack([triangle, rows]), mode="r"))
    return triangle


class StoredFeatures(Features):
    """A matrix (n_inner, n_data) of moderate size."""

    def __init__(self, matrix: Array, note: str) -> None:
        self.matrix, self.note = matrix, note
        self.n_inner, self.n_data = matrix.shape

    def predict(self, moments: Array) -> Array:
        return moments @ self.matrix

    def pull_back(self, residuals: Array) -> Array:
        return residuals @ self.matrix.T

    def largest(self) -> Array:
        return np.maximum(self.matrix.max(axis=0), -self.matrix.min(axis=0))

    def at_cells(self, cells: Chosen) -> "StoredFeatures":
        return StoredFeatures(np.ascontiguousarray(self.matrix[cells]), self.note)
