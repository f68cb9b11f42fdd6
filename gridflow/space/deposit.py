"""Masses of points on the cells of a grid."""

from functools import reduce
from typing import Any

import numpy as np

from gridflow.space.factor import Array, block, columns_of
from gridflow.space.grid import Grid


def deposit(points: Array, weights: Array, grid: Grid) -> Array:
    """Masses of weighted points, (n_points, n_columns), on the cells whose points are next to them, shape of the grid.

    Shares are linear along every coordinate, so that the mean is kept; beyond the last cell point of an interval, on labels and
    on surfaces all goes to the nearest cell.
    """
    total = np.zeros(grid.shape)
    pairs = [f.neighbours(block(points, c)) for f, c in zip(grid.factors, columns_of(grid.factors), strict=True)]
    for corner in np.ndindex(*(2,) * len(pairs)):
        share = reduce(np.multiply, [p[1][c] for p, c in zip(pairs, corner, strict=True)], weights)
        cells: Any = tuple(p[0][c] for p, c in zip(pairs, corner, strict=True))
        np.add.at(total, cells, share)
    return total
