"""Sums of Gaussians of the geodesic distance on the unit sphere, in logarithms:

    out_i = log Σ_j exp(f_j − dist(x_i, x_j)²/ε)

for fields f of any range: the products with the Gibbs kernel of a surface whose matrix does not fit. `log_sum_compiled` visits
points in blocks of neighbours and leaves out blocks that cannot reach e^−40 of a sum; its cost follows the width of the Gaussian.
`log_sum_keops` takes all pairs and is made for GPUs. `log_sum` takes the engine that the run has chosen (`gridflow.sums.choice`).
"""

from dataclasses import dataclass
from math import comb

import numpy as np
import scipy
from numpy.typing import NDArray

from gridflow.space.factor import Array
from gridflow.sums import choice
from gridflow.sums.definition import ENTRIES
from gridflow.sums.door import by_engine
from gridflow.sums.elementary import compiled, exp_decaying, inlined
from gridflow.sums.keops import Reduction
from gridflow.threads import share_out

BLOCK = 16
"""Points of a block: a vector of exponentials, and a diameter of some five cells."""
NEGLIGIBLE = 40.0
"""Nats: n terms below e^−40 of a sum are less than n·4e−18 of it."""


@dataclass(frozen=True, eq=False)
class Ball:
    """Points on the unit sphere in blocks of neighbours.

    points : (n, 3) unit vectors; order : (n,) the points block by block; centres, radii : of the blocks, radii geodesic
    """

    points: Array
    order: NDArray[np.int64]
    centres: Array
    radii: Array

    @classmethod
    def of(cls, points: Array) -> "Ball":
        """Of unit vectors (n, 3)."""
        order = np.concatenate(blocks_of_neighbours(points, np.arange(len(points))))
        sorted_points = points[order]
        starts = np.arange(0, len(points), BLOCK)
        centres = np.add.reduceat(sorted_points, starts)
        centres /= np.linalg.norm(centres, axis=1, keepdims=True)
        chords = np.linalg.norm(sorted_points - np.repeat(centres, BLOCK, axis=0)[: len(points)], axis=1)
        return cls(points, order, centres, 2 * np.arcsin(np.minimum(1.0, np.maximum.reduceat(chords, starts) / 2)))


def blocks_of_neighbours(points: Array, members: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """Blocks of neighbours, all of them full but the last: halves along the longest extent until one block is left."""
    if len(members) <= BLOCK:
        return [members]
    inside = points[members]
    half = BLOCK * -(-len(members) // (2 * BLOCK))
    members = members[np.argpartition(inside[:, np.argmax(np.ptp(inside, axis=0))], half)]
    return blocks_of_neighbours(points, members[:half]) + blocks_of_neighbours(points, members[half:])


def log_sum(ball: Ball, field: Array, epsilon: float) -> Array:
    """out (n, k) for finite fields f (n, k). Raises InputError for an engine that was insisted on and does not work."""
    return by_engine(
        len(ball.points) ** 2,
        keops=lambda precision: log_sum_keops(ball.points, field, epsilon, precision),
        numpy=lambda: log_sum_numpy(ball.points, field, epsilon),
        numba=lambda: log_sum_compiled(ball, field, epsilon),
    )


def log_sum_numpy(points: Array, field: Array, epsilon: float) -> Array:
    """The definition, block by block of rows."""
    rows = max(1, ENTRIES // field.size)
    return np.concatenate([log_sum_block(points[k : k + rows], points, field, epsilon) for k in range(0, len(points), rows)])


def log_sum_block(rows: Array, points: Array, field: Array, epsilon: float) -> Array:
    """The rows of some points, (n_rows, k)."""
    difference, total = rows[:, None] - points, rows[:, None] + points
    distance = 2 * np.arctan2(np.linalg.norm(difference, axis=2), np.linalg.norm(total, axis=2))
    return scipy.special.logsumexp(field - (distance**2 / epsilon)[:, :, None], axis=1)


KEOPS_LOG_SUM = Reduction(
    "f - Square(IntCst(2) * Atan2(Norm2(x - y), Norm2(x + y))) * e",
    ["x = Vi(3)", "y = Vj(3)", "f = Vj(1)", "e = Pm(1)"],
    "LogSumExp",
)


def log_sum_keops(points: Array, field: Array, epsilon: float, precision: choice.Precision = "float64") -> Array:
    """All pairs, column by column. Raises KeOpsUnavailable."""
    points, rate = np.ascontiguousarray(points, dtype=precision), np.array([1 / epsilon], dtype=precision)
    columns = [np.ascontiguousarray(column[:, None], dtype=precision) for column in field.T]
    return np.concatenate([KEOPS_LOG_SUM(points, points, column, rate) for column in columns], axis=1).astype(float)


def log_sum_compiled(ball: Ball, field: Array, epsilon: float) -> Array:
    """Block by block of rows, shared out among threads."""
    points, sorted_field = ball.points[ball.order], field[ball.order]
    highest, found = largest_of_blocks(sorted_field, len(ball.centres)), np.empty_like(sorted_field)

    def work(first: int, last: int) -> None:
        log_sum_in_blocks(found, points, ball.centres, ball.radii, sorted_field, highest, epsilon, first, last)

    share_out(work, len(ball.centres))
    out = np.empty_like(field)
    out[ball.order] = found
    return out


@inlined
def angle(a, b):
    """Angle between two unit vectors, accurate for close and for opposite ones."""
    minus = (a[0] - b[0]) ** 2 + (a[1] - b[1]) ** 2 + (a[2] - b[2]) ** 2
    plus = (a[0] + b[0]) ** 2 + (a[1] + b[1]) ** 2 + (a[2] + b[2]) ** 2
    return 2.0 * np.arctan2(np.sqrt(minus), np.sqrt(plus))


NEAR = 0.3
SQUARE_COEFFICIENTS = tuple(2.0 / (n * n * comb(2 * n, n)) for n in range(10, 0, -1))


@inlined
def near_square(a, b):
    """Square of an angle below NEAR: 4 arcsin²(chord/2) = Σ 2 chord^2n/(n² binomial(2n, n)), ten terms, relative error 1e−17."""
    square = (a[0] - b[0]) ** 2 + (a[1] - b[1]) ** 2 + (a[2] - b[2]) ** 2
    value = SQUARE_COEFFICIENTS[0]
    for k in range(1, 10):
        value = value * square + SQUARE_COEFFICIENTS[k]
    return value * square


@compiled
def log_sum_in_blocks(out, points, centres, radii, field, highest, epsilon, first, last):
    """(n, k) of a range of blocks, for points and fields sorted by blocks.

    Every row keeps the largest exponent so far, and the sum relative to it. highest : in every block, (n_blocks, k)
    """
    n, columns = field.shape
    count, lowest = len(centres), np.empty(columns)
    top, total = np.empty((columns, BLOCK)), np.empty((columns, BLOCK))
    cost, terms = np.empty((BLOCK, BLOCK)), np.empty(BLOCK)
    for i in range(first, last):
        start, rows = i * BLOCK, min(BLOCK, n - i * BLOCK)
        gap = 0.0
        for step in range(count):
            j = i if step == 0 else step if step > i else step - 1  # its own block first: it bounds the sums from below
            if step > 0:
                gap = max(0.0, angle(centres[i], centres[j]) - radii[i] - radii[j])
                margin = -np.inf
                for k in range(columns):
                    margin = max(margin, highest[j, k] - lowest[k])
                if margin - gap * gap / epsilon < -NEGLIGIBLE:
                    continue
            others, near = min(BLOCK, n - j * BLOCK), gap + 2 * (radii[i] + radii[j]) < NEAR
            costs_of_blocks(cost, points, start, rows, j * BLOCK, others, near, epsilon)
            for k in range(columns):
                if step > 0 and highest[j, k] - lowest[k] - gap * gap / epsilon < -NEGLIGIBLE:
                    continue
                add_block(top, total, terms, field, cost, j * BLOCK, others, k, rows, step == 0)
                lowest[k] = top[k, :rows].min()
        for r in range(rows):
            for k in range(columns):
                out[start + r, k] = top[k, r] + np.log(total[k, r])


def largest_of_blocks(field: Array, count: int) -> Array:
    """Largest value in every block, (n_blocks, k)."""
    return np.maximum.reduceat(field, BLOCK * np.arange(count))


@inlined
def costs_of_blocks(cost, points, start, rows, other_start, others, near, epsilon):
    """dist²/ε between the points of two blocks."""
    for r in range(rows):
        for c in range(others):
            a, b = points[start + r], points[other_start + c]
            cost[r, c] = (near_square(a, b) if near else angle(a, b) ** 2) / epsilon


@inlined
def add_block(top, total, terms, field, cost, other_start, others, k, rows, first):
    """Add the terms of one block of sources to the sums e^top·total of a block of rows, column k."""
    for r in range(rows):
        largest = -np.inf
        for c in range(others):
            terms[c] = field[other_start + c, k] - cost[r, c]
            largest = max(largest, terms[c])
        if first:
            top[k, r], total[k, r] = largest, 0.0
        elif largest > top[k, r]:
            total[k, r] *= exp_decaying(top[k, r] - largest)
            top[k, r] = largest
        elif largest < top[k, r] - NEGLIGIBLE:
            continue
        part = 0.0
        for c in range(others):
            part += exp_decaying(terms[c] - top[k, r])
        total[k, r] += part
