"""Sums of a function with one kink, σ(z) = s₊ max(z, 0) + s₋ min(z, 0), of scalar products in the plane, by sorted angles:

    f_j = Σ_i m_i σ(b_i·x_j),    g_i = Σ_j r_j σ(b_i·x_j)

in O(n_points + n_data). Write x_j = ±x'_j with the angle of x'_j in [0, π), and sort the x' by their angles. The line b_i·x = 0
cuts the sorted x' at one place: b_i·x' has the sign ε_i behind it, and −ε_i before it. With σ(z) = ½(s₊ + s₋)z + ½(s₊ − s₋)|z|

    g_i = b_i·[½(s₊ + s₋)X + ½(s₊ − s₋)ε_i(P_n − 2P_k)],    P_k = Σ_{j<k} r_j x'_j,    X = Σ_j r_j x_j,

a prefix sum, and f likewise by sums of the m_i b_i with cuts up to j. Where one sign of x' is all there is, points that no datum
activates have the sum 0 exactly, as in a sum term by term.

Data between two neighbouring cuts see one and the same linear function. They form a group: the cut k of a point lies before the
group k. For a squared error a group with more than two data is worth two of them, see `merge`.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gridflow.compiled import inner
from gridflow.space.factor import Array
from gridflow.sums.elementary import REORDER, compiled


@dataclass(frozen=True)
class SortedData:
    """Vectors in the plane, sorted by the angle of ±x in [0, π).

    order : numbers of the data, sorted, (n_data,); angles : (n_data,); vectors : x', (n_data, 2); signs : of x = ±x', (n_data,)
    """

    order: NDArray[np.int64]
    angles: Array
    vectors: Array
    signs: Array

    @classmethod
    def of(cls, vectors: Array) -> "SortedData":
        """Vectors (n_data, 2), sorted."""
        lower = (vectors[:, 1] < 0) | ((vectors[:, 1] == 0) & (vectors[:, 0] < 0))
        signs = np.where(lower, -1.0, 1.0)
        turned = vectors * signs[:, None]
        angles = np.arctan2(turned[:, 1], turned[:, 0])
        order = np.argsort(angles, kind="stable")
        return cls(order, angles[order], np.ascontiguousarray(turned[order]), signs[order])

    def cuts(self, points: Array) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """For vectors b, (n_points, 2): how many data are before the line b·x = 0, and whether b·x' > 0 behind it."""
        turns = (np.arctan2(points[:, 1], points[:, 0]) + np.pi / 2) / np.pi
        halves = np.floor(turns)
        return np.searchsorted(self.angles, np.pi * (turns - halves)), halves % 2 != 0


def grouped(cuts: list[NDArray[np.int64]], n_data: int) -> tuple[NDArray[np.int64], list[NDArray[np.int32]]]:
    """(first datum of every group, and n_data; the cuts of each array by number of the group behind them)."""
    seen = np.zeros(n_data + 1, dtype=bool)
    seen[[0, n_data]] = True
    for array in cuts:
        seen[array] = True
    number = np.cumsum(seen, dtype=np.int32) - np.int32(1)
    return np.flatnonzero(seen), [number[array] for array in cuts]


@dataclass(frozen=True)
class KinkedSums:
    """The sums f and g for fixed points and data.

    slopes : s₋ and s₊; starts : first datum of every group, and n_data, (n_groups + 1,); vectors, signs : of the sorted data;
    points : b, (n_points, 2); places : the cut of every point, plus n_groups + 1 where ε = 1
    """

    slopes: tuple[float, float]
    starts: NDArray[np.int64]
    vectors: Array
    signs: Array
    points: Array
    places: NDArray[np.int32]

    @property
    def shares(self) -> tuple[float, float]:
        """½(s₊ + s₋) and ½(s₊ − s₋)."""
        below, above = self.slopes
        return (above + below) / 2, (above - below) / 2

    def over_points(self, masses: Array) -> Array:
        """f, (n_data,), of the sorted data, from m (n_points,)."""
        jumps = collect(self.places, self.points, masses, 2 * self.starts.size)
        return values_at_data(jumps, self.starts, self.vectors, self.signs, *self.shares)

    def over_data(self, residual: Array) -> Array:
        """g, (n_points,), from r (n_data,) of the sorted data."""
        table = prefix_table(residual, self.starts, self.vectors, self.signs, *self.shares)
        return values_at_points(self.places, self.points, table)


@compiled
def collect(places, points, masses, size):
    """Σ m_i b_i of the points with each place, (size, 2). Neighbours often share theirs: their sum stays in registers."""
    total = np.zeros((size, 2))
    place, first, second = places[0], 0.0, 0.0
    for i in range(places.size):
        if places[i] != place:
            total[place, 0] += first
            total[place, 1] += second
            place, first, second = places[i], 0.0, 0.0
        first += masses[i] * points[i, 0]
        second += masses[i] * points[i, 1]
    total[place, 0] += first
    total[place, 1] += second
    return total


@compiled
def values_at_data(jumps, starts, vectors, signs, mean, half):
    """f at the sorted data from the sums of `collect`."""
    n = starts.size
    whole_0, whole_1, all_0, all_1 = 0.0, 0.0, 0.0, 0.0
    for k in range(n):
        whole_0 += jumps[k, 0] + jumps[n + k, 0]
        whole_1 += jumps[k, 1] + jumps[n + k, 1]
        all_0 += jumps[n + k, 0] - jumps[k, 0]
        all_1 += jumps[n + k, 1] - jumps[k, 1]
    values = np.empty(signs.size)
    sum_0, sum_1 = 0.0, 0.0
    for k in range(n - 1):
        sum_0 += jumps[n + k, 0] - jumps[k, 0]
        sum_1 += jumps[n + k, 1] - jumps[k, 1]
        odd_0, odd_1 = half * (2 * sum_0 - all_0), half * (2 * sum_1 - all_1)
        for j in range(starts[k], starts[k + 1]):
            even = mean * signs[j]
            values[j] = vectors[j, 0] * (even * whole_0 + odd_0) + vectors[j, 1] * (even * whole_1 + odd_1)
    return values


@compiled
def prefix_table(residual, starts, vectors, signs, mean, half):
    """What b_i is multiplied with, by place, (2·(n_groups + 1), 2)."""
    n = starts.size
    table = np.empty((2 * n, 2))
    sum_0, sum_1, signed_0, signed_1 = 0.0, 0.0, 0.0, 0.0
    for k in range(n):
        table[k, 0], table[k, 1] = sum_0, sum_1
        if k == n - 1:
            break
        for j in range(starts[k], starts[k + 1]):
            a, b = residual[j] * vectors[j, 0], residual[j] * vectors[j, 1]
            sum_0 += a
            sum_1 += b
            signed_0 += signs[j] * a
            signed_1 += signs[j] * b
    signed_0, signed_1 = mean * signed_0, mean * signed_1
    for k in range(n):
        odd_0, odd_1 = half * (sum_0 - 2 * table[k, 0]), half * (sum_1 - 2 * table[k, 1])
        table[k, 0], table[k, 1] = signed_0 - odd_0, signed_1 - odd_1
        table[n + k, 0], table[n + k, 1] = signed_0 + odd_0, signed_1 + odd_1
    return table


@compiled
def values_at_points(places, points, table):
    """g from the `prefix_table`."""
    values = np.empty(places.size)
    for i in range(places.size):
        k = places[i]
        values[i] = points[i, 0] * table[k, 0] + points[i, 1] * table[k, 1]
    return values


def merge(starts: NDArray[np.int64], rows: Array, signs: Array) -> tuple[NDArray[np.int64], Array, Array, float]:
    """At most two rows for the data of each group and sign, so that |f − y|² of any function that is linear there stays.

    rows : x' and y of the sorted data, times the roots of their weights, (n_data, 2 + n_outputs).
    Returns the new starts, rows and signs, and Σ|y|² of the parts of y that no linear function reaches.
    """
    merged = np.empty((4 * (starts.size - 1) + 1, rows.shape[1]))  # the last one for what is merged into two before it
    new_signs = np.empty(4 * (starts.size - 1))
    new_starts = np.zeros_like(starts)
    rest = merge_compiled(starts, rows, signs, new_starts, merged, new_signs)
    count = int(new_starts[-1])
    return new_starts, merged[:count].copy(), new_signs[:count].copy(), rest


@compiled
def merge_compiled(starts, rows, signs, new_starts, merged, new_signs):
    """Rows of each group and sign, turned by plane rotations into a triangle of two."""
    width, rest, count = rows.shape[1], 0.0, 0
    for group in range(starts.size - 1):
        for sign in (1.0, -1.0):
            first = count
            for j in range(starts[group], starts[group + 1]):
                if signs[j] != sign:
                    continue
                target = min(count, first + 2)
                for o in range(width):
                    merged[target, o] = rows[j, o]
                for upper in range(first, target):
                    rotate(merged, upper, target, upper - first)
                if target < first + 2:
                    new_signs[target] = sign
                    count += 1
                else:
                    for o in range(2, width):
                        rest += merged[target, o] * merged[target, o]
        new_starts[group + 1] = count
    return rest


@inner(fastmath=REORDER)
def rotate(rows, upper, lower, column):
    """Turn two rows so that the lower one is 0 in a column."""
    length = np.hypot(rows[upper, column], rows[lower, column])
    if length == 0.0:
        return
    cosine, sine = rows[upper, column] / length, rows[lower, column] / length
    for k in range(rows.shape[1]):
        a, b = rows[upper, k], rows[lower, k]
        rows[upper, k], rows[lower, k] = cosine * a + sine * b, cosine * b - sine * a
    rows[lower, column] = 0.0
