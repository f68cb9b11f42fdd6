"""Matrices of low rank: A ≈ L R with few columns of L, by elimination with pivots, and with the error measured.

    A symmetric, ≥ 0     A ≈ F Fᵀ            `symmetric_factor`: Cholesky with pivots
    any A                A ≈ C A[rows]       `skeleton`: rows of A itself, by Gaussian elimination with complete pivoting

A pivot is the first of the largest numbers that are left: nothing is random, and the largest number that is left at the end is
the error. (Cholesky with pivots: Harbrecht, Peters and Schneider 2012, Appl. Numer. Math. 62, 428–440; skeletons: Goreinov,
Tyrtyshnikov and Zamarashkin 1997, Linear Algebra Appl. 261, 1–21.)
"""

from dataclasses import dataclass

import numpy as np
import scipy
from numpy.typing import NDArray

from gridflow.space.factor import Array
from gridflow.sums.elementary import compiled

TOLERANCE = 1e-13
"""Largest error over the largest entry that counts as round-off: what a sum of a thousand terms commits."""
FACTOR_STOP, SKELETON_STOP = 1e-14, 5e-15
"""Elimination goes on to these shares of the largest entry: below the tolerance by as much as a skeleton found on some entries
may err at others."""


@dataclass(frozen=True)
class SymmetricFactor:
    """F Fᵀ for a symmetric matrix ≥ 0. factor : F, (n, rank); error : largest entry of the difference over that of the matrix."""

    factor: Array
    error: float

    @property
    def rank(self) -> int:
        """Columns of F."""
        return self.factor.shape[1]


def symmetric_factor(matrix: Array, rank_max: int) -> SymmetricFactor | None:
    """F of a symmetric matrix ≥ 0, (n, n), within the tolerance; None where it takes more than `rank_max` columns.

    What is left is ≥ 0, so that no entry of it is larger than the largest on its diagonal.
    """
    left, columns = matrix.diagonal().copy(), np.zeros((rank_max, len(matrix)))
    largest = float(left.max())
    for k in range(rank_max):
        pivot = int(np.argmax(left))
        if left[pivot] <= FACTOR_STOP * largest:
            factor = np.ascontiguousarray(columns[:k].T)
            error = float(np.abs(matrix - factor @ factor.T).max()) / largest
            return SymmetricFactor(factor, error) if error <= TOLERANCE else None
        columns[k] = (matrix[pivot] - columns[:k, pivot] @ columns[:k]) / np.sqrt(left[pivot])
        left -= columns[k] ** 2
    return None


@dataclass(frozen=True)
class Skeleton:
    """A ≈ C A[rows]: (n_rows, n_columns) by the rows with the numbers `rows`, and the columns on which they were found.

    lower, upper : unit triangular and triangular, (rank, rank): A[rows][:, columns] = lower @ upper
    """

    rows: NDArray[np.int64]
    columns: NDArray[np.int64]
    lower: Array
    upper: Array

    @property
    def rank(self) -> int:
        """Rows that stand for all."""
        return self.rows.size

    def coefficients(self, chosen: Array) -> Array:
        """C, (n, rank), of rows of A given on the columns of the skeleton, (n, rank)."""
        solve = scipy.linalg.solve_triangular
        multipliers = solve(self.upper, chosen.T, trans="T")
        return np.ascontiguousarray(solve(self.lower, multipliers, lower=True, trans="T", unit_diagonal=True).T)


def skeleton(matrix: Array, rank_max: int) -> Skeleton | None:
    """The skeleton of a matrix, within SKELETON_STOP of its largest entry; None where it takes more than `rank_max` rows."""
    left = np.array(matrix)
    rows, columns = np.zeros(rank_max + 1, dtype=np.int64), np.zeros(rank_max + 1, dtype=np.int64)
    rank = eliminate(left, rows, columns, SKELETON_STOP, rank_max)
    if rank > rank_max:
        return None
    rows, columns = rows[:rank], columns[:rank]
    both = left[np.ix_(rows, columns)]  # multipliers below the diagonal, rows that were left on and above it
    return Skeleton(rows, columns, np.tril(both, -1) + np.eye(rank), np.triu(both))


@compiled
def eliminate(left, rows, columns, stop, rank_max):
    """The rank of `left`, or rank_max + 1 where it is larger; `left` is overwritten by multipliers and by what was left.

    Pivots go to `rows` and `columns`. Columns that had a pivot keep their multipliers, rows that had one what they eliminated.
    """
    n, m = left.shape
    free_row, free_column = np.ones(n, dtype=np.bool_), np.ones(m)
    largest, first = -1.0, 0.0
    row, column = 0, 0
    for i in range(n):
        for j in range(m):
            if abs(left[i, j]) > largest:
                largest, row, column = abs(left[i, j]), i, j
    first = largest
    for k in range(min(n, m) + 1):
        if not largest > stop * first:
            return k
        if k == rank_max:
            return rank_max + 1
        rows[k], columns[k] = row, column
        free_row[row], free_column[column] = False, 0.0
        pivot, eliminator = left[row, column], left[row]
        largest = -1.0
        for i in range(n):
            if not free_row[i]:
                continue
            left[i, column] /= pivot
            share, top = left[i, column], 0.0
            for j in range(m):
                left[i, j] -= free_column[j] * share * eliminator[j]
                top = max(top, free_column[j] * abs(left[i, j]))
            if top > largest:
                largest, row = top, i
        chosen, best = left[row], -1.0
        for j in range(m):
            if free_column[j] * abs(chosen[j]) > best:
                best, column = free_column[j] * abs(chosen[j]), j
    return min(n, m)
