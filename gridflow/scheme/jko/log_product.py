"""Products with matrices of positive numbers in logarithms, log Σ_j exp(L_ij + f_j), for fields f of any range.

Within a block of 8 × 8 entries they are a matrix product of scaled exponentials, between blocks logarithms.
"""

from typing import Any

import numpy as np
from numba import njit

from gridflow.space.factor import Array

compiled: Any = njit(nogil=True, error_model="numpy", cache=True)
BLOCK = 8
"""Cells of a block: its products are exact for slopes up to some 20 nats per cell, steeper rows are summed term by term."""
SMALLEST = 345.0
"""e^−345 = 1e−150: the product of two such numbers is still normal."""


def in_blocks(logs: Array) -> tuple[Array, Array, Array]:
    """(logs, the largest of every block, e^(logs − largest) blockwise (n_blocks, n_blocks, BLOCK, BLOCK))."""
    n = len(logs)
    count = -(-n // BLOCK)
    padded = np.full((count * BLOCK, count * BLOCK), -np.inf)
    padded[:n, :n] = logs
    blocks = padded.reshape(count, BLOCK, count, BLOCK).swapaxes(1, 2)
    tops = np.maximum(blocks.max(axis=(2, 3)), -1e300)
    scaled = np.exp(blocks - tops[:, :, None, None])
    scaled[scaled < np.exp(-SMALLEST)] = 0.0
    return logs, tops, np.ascontiguousarray(scaled)


@compiled
def log_product(logs, tops, scaled, field):
    """(n, k): log Σ_j exp(logs[i, j] + field[j, a]).

    A block row sums the products of its blocks, each scaled by the largest term that it can have; blocks below e^−SMALLEST of
    the largest are left out. Rows with a sum so small that this could be felt are summed term by term.
    """
    n, after = field.shape
    count = len(tops)
    out = np.empty_like(field)
    weights, largest = scaled_field(field, count)
    highest = np.empty(count)
    for j in range(count):
        highest[j] = largest[j].max()
    top, total = np.empty(after), np.empty((BLOCK, after))
    for i in range(count):
        sum_of_blocks(total, top, tops[i, i] + largest[i], tops[i], scaled[i], weights, largest, highest)
        for k in range(min(BLOCK, n - i * BLOCK)):
            row = i * BLOCK + k
            for a in range(after):
                if total[k, a] > 1e-130:  # what was left out is below n·1e−150
                    out[row, a] = top[a] + np.log(total[k, a])
                else:
                    out[row, a] = log_sum_of_row(logs, tops, field, largest, row, a)
    return out


@compiled
def scaled_field(field, count):
    """(e^(f − the largest f of the block), (count·BLOCK, k), 0 below e^−SMALLEST; the largest of every block, (count, k))."""
    n, after = field.shape
    weights, largest = np.zeros((count * BLOCK, after)), np.full((count, after), -np.inf)
    for j in range(n):
        for a in range(after):
            largest[j // BLOCK, a] = max(largest[j // BLOCK, a], field[j, a])
    for j in range(n):
        for a in range(after):
            difference = field[j, a] - largest[j // BLOCK, a]
            weights[j, a] = np.exp(difference) if difference > -SMALLEST else 0.0
    return weights, largest


@compiled
def sum_of_blocks(total, top, own, tops, scaled, weights, largest, highest):
    """Sums of one block row, e^top·total: `top` (k,) is the largest exponent that a block can have, `total` (BLOCK, k).

    own : (k,) that of the block on the diagonal; tops (n_blocks,), scaled (n_blocks, BLOCK, BLOCK) of this block row
    """
    after, count = top.size, tops.size
    factor, part = np.empty(after), np.empty((BLOCK, after))
    top[:] = own
    lowest = top.min() - SMALLEST
    for j in range(count):
        if tops[j] + highest[j] > lowest:
            for a in range(after):
                top[a] = max(top[a], tops[j] + largest[j, a])
    total[:] = 0.0
    for j in range(count):
        if tops[j] + highest[j] <= lowest:
            continue
        needed = False
        for a in range(after):
            difference = tops[j] + largest[j, a] - top[a]
            factor[a] = np.exp(difference) if difference > -SMALLEST else 0.0
            needed |= difference > -SMALLEST
        if needed:
            np.dot(scaled[j], weights[j * BLOCK : (j + 1) * BLOCK], part)
            for k in range(BLOCK):
                for a in range(after):
                    total[k, a] += factor[a] * part[k, a]


@compiled
def log_sum_of_row(logs, tops, field, largest, row, a):
    """log Σ_j exp(logs[row, j] + field[j, a]); blocks that cannot reach the largest term are skipped."""
    n, count, i = len(logs), len(tops), row // BLOCK
    top = -np.inf
    for step in range(2 * count):  # from the nearest block outwards
        j = i + (step + 1) // 2 if step % 2 else i - step // 2
        if 0 <= j < count and tops[i, j] + largest[j, a] > top:
            for m in range(j * BLOCK, min(n, (j + 1) * BLOCK)):
                top = max(top, logs[row, m] + field[m, a])
    total = 0.0
    for j in range(count):
        if tops[i, j] + largest[j, a] > top - 40.0:
            for m in range(j * BLOCK, min(n, (j + 1) * BLOCK)):
                term = logs[row, m] + field[m, a] - top
                if term > -40.0:  # below 4e−18 of the largest
                    total += np.exp(term)
    return top + np.log(total)
