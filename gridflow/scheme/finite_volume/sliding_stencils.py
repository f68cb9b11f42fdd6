"""Stencils along one line or circle, of which the tensor of sliding is made (`gridflow.scheme.finite_volume.sliding_tensor`).

All fields are (before, n, after), n the cells along the axis; tables of neighbours stop at walls or go around a circle.
"""

from typing import Any, NamedTuple

import numpy as np

from gridflow import compiled
from gridflow.space.factor import Array, Factor, Indices
from gridflow.space.grid import Grid

kernel: Any = compiled.kernel(fastmath=True, nogil=True)
inlined: Any = compiled.inner(fastmath=True, forceinline=True)

SMOOTH = 6.0
"""3 removes what a smooth ξ has to O(h⁴); 6 leaves 0 wherever ξ'' varies by less than a factor of two over four cells."""


class Along(NamedTuple):
    """A line or circle as kernels read it.

    shape : (before, n, after), of a field; cells : (n, 5), those two before to two behind a cell, stopped by walls
    bends : (n, 2) faces on both sides of the cell whose bend counts, named by the cell before them
    slopes : (n, 2) the faces 3/2 cells before and behind, named likewise
    inverse_distance : (n,) 1/d of the face behind a cell
    inverse_span : (n,) 1/(distance of both neighbours), one-sided at walls; inverse_span_inside : the same, 0 at walls
    length : (n,) ℓ; uniform : all ℓ are equal
    """

    shape: tuple[int, int, int]
    cells: Indices
    bends: Indices
    slopes: Indices
    inverse_distance: Array
    length: Array
    inverse_span: Array
    inverse_span_inside: Array
    uniform: bool


def along(grid: Grid, axis: int) -> Along:
    """The tables of a line or circle."""
    factor, n = grid.factors[axis], grid.shape[axis]
    before, after = int(np.prod(grid.shape[:axis])), int(np.prod(grid.shape[axis + 1 :]))
    cells = np.arange(n)
    circle = factor.period > 0
    distance = factor.distances[1:].copy()  # behind every cell
    if not circle:
        distance[-1] = distance[-2]
    ahead, back = distance, np.roll(distance, 1)
    if not circle:
        back[0] = ahead[0]
    centre = cells if circle else np.clip(cells, 1, n - 2)
    last_face = n - 1 if circle else n - 2
    around = neighbours(factor, cells[:, None] + np.arange(-2, 3), n - 1)
    inverse_span = 1 / span(around, cells, ahead, back)
    at_wall = (around[:, 1] == cells) | (around[:, 3] == cells)
    return Along(
        shape=(before, n, after),
        cells=around,
        bends=np.stack([(centre - 1) % n, centre], axis=1),
        slopes=neighbours(factor, cells[:, None] + np.array([-2, 1]), last_face),
        inverse_distance=1 / distance,
        length=(ahead + back) / 2,
        inverse_span=inverse_span,
        inverse_span_inside=np.where(at_wall, 0.0, inverse_span),
        uniform=factor.uniform,
    )


def neighbours(factor: Factor, numbers: Indices, last: int) -> Indices:
    """Numbers around a circle, or stopped at 0 and `last`."""
    return np.ascontiguousarray(numbers % factor.size if factor.period > 0 else np.clip(numbers, 0, last))


def span(around: Indices, cells: Indices, ahead: Array, back: Array) -> Array:
    """Distance from the neighbour before every cell to the one behind it, which at a wall is the cell itself."""
    both: Array = np.where(around[:, 1] != cells, back, 0.0) + np.where(around[:, 3] != cells, ahead, 0.0)
    return both


@kernel
def slope_behind(out, xi, cells, inverse_distance):
    """Slope of ξ through the face behind every cell; all fields are (before, n, after)."""
    for a in range(xi.shape[0]):
        for i in range(xi.shape[1]):
            east, inverse = cells[i, 3], inverse_distance[i]
            for q in range(xi.shape[2]):
                out[a, i, q] = (xi[a, east, q] - xi[a, i, q]) * inverse


@kernel
def bend(out, slope, bends):
    """j, the jump of the slope at every cell."""
    for a in range(slope.shape[0]):
        for i in range(slope.shape[1]):
            west, east = bends[i, 0], bends[i, 1]
            for q in range(slope.shape[2]):
                out[a, i, q] = max(0.0, slope[a, east, q] - slope[a, west, q])


@inlined
def pad(row, values, a, cells):
    """A line of the last axis with two cells more at both ends, so that loops along it are vectorised."""
    n = values.shape[1]
    for o in range(2):
        row[o], row[n + 2 + o] = values[a, cells[0, o], 0], values[a, cells[n - 1, 3 + o], 0]
    for i in range(n):
        row[i + 2] = values[a, i, 0]


@inlined
def jump_of_five(j0, j1, j2, j3, j4):
    """J from j of five cells."""
    return max(0.0, j1 + j2 + j3 - SMOOTH * min(j0, j4))


@inlined
def largest_of_five(v0, v1, v2, v3, v4):
    """Their maximum."""
    return max(max(max(v0, v1), max(v3, v4)), v2)


@inlined
def smooth_of_five(v0, v1, v2, v3, v4):
    """(¼, ½, ¼) of those in the middle."""
    return 0.25 * (v1 + v3) + 0.5 * v2


@inlined
def mean_of_five(v0, v1, v2, v3, v4):
    """Their mean."""
    return 0.2 * (((v0 + v1) + (v3 + v4)) + v2)


@kernel
def kink(out, values, cells):
    """J from j."""
    before, n, after = values.shape
    row = np.empty(n + 4)
    for a in range(before):
        if after == 1:
            pad(row, values, a, cells)
            for i in range(n):
                out[a, i, 0] = jump_of_five(row[i], row[i + 1], row[i + 2], row[i + 3], row[i + 4])
            continue
        for i in range(n):
            c0, c1, c2, c3, c4 = cells[i, 0], cells[i, 1], cells[i, 2], cells[i, 3], cells[i, 4]
            for q in range(after):
                v0, v1, v2, v3, v4 = values[a, c0, q], values[a, c1, q], values[a, c2, q], values[a, c3, q], values[a, c4, q]
                out[a, i, q] = jump_of_five(v0, v1, v2, v3, v4)


@kernel
def rises(ahead, back, slope, jump, sign, slopes):
    """Add what this axis has of n·grad ξ on either side of a kink, times |n|, to `ahead` and, with the other sign, to `back`.

    Where |sign| < 1 the rest is the smaller one of both sides, to both.
    """
    for a in range(slope.shape[0]):
        for i in range(slope.shape[1]):
            west, east = slopes[i, 0], slopes[i, 1]
            for q in range(slope.shape[2]):
                before, behind, s = -slope[a, west, q], slope[a, east, q], sign[a, i, q]
                least = min(before, behind)
                ahead[a, i, q] += jump[a, i, q] * (least + max(s, 0.0) * (behind - least) + max(-s, 0.0) * (before - least))
                back[a, i, q] += jump[a, i, q] * (least + max(s, 0.0) * (before - least) + max(-s, 0.0) * (behind - least))


@kernel
def largest(out, values, cells):
    """The maximum over five cells along the axis."""
    before, n, after = values.shape
    row = np.empty(n + 4)
    for a in range(before):
        if after == 1:
            pad(row, values, a, cells)
            for i in range(n):
                out[a, i, 0] = largest_of_five(row[i], row[i + 1], row[i + 2], row[i + 3], row[i + 4])
            continue
        for i in range(n):
            c0, c1, c2, c3, c4 = cells[i, 0], cells[i, 1], cells[i, 2], cells[i, 3], cells[i, 4]
            for q in range(after):
                v0, v1, v2, v3, v4 = values[a, c0, q], values[a, c1, q], values[a, c2, q], values[a, c3, q], values[a, c4, q]
                out[a, i, q] = largest_of_five(v0, v1, v2, v3, v4)


@kernel
def smoothed(out, values, cells):
    """(¼, ½, ¼) along the axis."""
    before, n, after = values.shape
    row = np.empty(n + 4)
    for a in range(before):
        if after == 1:
            pad(row, values, a, cells)
            for i in range(n):
                out[a, i, 0] = smooth_of_five(row[i], row[i + 1], row[i + 2], row[i + 3], row[i + 4])
            continue
        for i in range(n):
            c0, c1, c2, c3, c4 = cells[i, 0], cells[i, 1], cells[i, 2], cells[i, 3], cells[i, 4]
            for q in range(after):
                v0, v1, v2, v3, v4 = values[a, c0, q], values[a, c1, q], values[a, c2, q], values[a, c3, q], values[a, c4, q]
                out[a, i, q] = smooth_of_five(v0, v1, v2, v3, v4)


@kernel
def mean(out, values, cells):
    """The mean over five cells along the axis."""
    before, n, after = values.shape
    row = np.empty(n + 4)
    for a in range(before):
        if after == 1:
            pad(row, values, a, cells)
            for i in range(n):
                out[a, i, 0] = mean_of_five(row[i], row[i + 1], row[i + 2], row[i + 3], row[i + 4])
            continue
        for i in range(n):
            c0, c1, c2, c3, c4 = cells[i, 0], cells[i, 1], cells[i, 2], cells[i, 3], cells[i, 4]
            for q in range(after):
                v0, v1, v2, v3, v4 = values[a, c0, q], values[a, c1, q], values[a, c2, q], values[a, c3, q], values[a, c4, q]
                out[a, i, q] = mean_of_five(v0, v1, v2, v3, v4)


@kernel
def central(out, values, cells, inverse_span):
    """Central differences along the axis."""
    before, n, after = values.shape
    row = np.empty(n + 4)
    for a in range(before):
        if after == 1:
            pad(row, values, a, cells)
            for i in range(n):
                out[a, i, 0] = (row[i + 3] - row[i + 1]) * inverse_span[i]
            continue
        for i in range(n):
            west, east, inverse = cells[i, 1], cells[i, 3], inverse_span[i]
            for q in range(after):
                out[a, i, q] = (values[a, east, q] - values[a, west, q]) * inverse
