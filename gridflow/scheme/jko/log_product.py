"""Products with matrices of positive numbers in logarithms, log Σ_j exp(L_ij + f_j), for fields f of any range.

Within a block of 8 × 8 entries they are a matrix product of scaled exponentials. The scale of every block of a field is a power
of two, kept as an integer: no field leaves the range of doubles. Blocks of the matrix that cannot be felt are skipped, so that a
narrow kernel costs O(n · width).
"""

from typing import Any

import numpy as np
from numba import njit

from gridflow.compiled import kernel
from gridflow.scheme.jko.logarithms import LOG2, logarithm, power_of_two, scaled_exponential
from gridflow.space.factor import Array
from gridflow.sums.elementary import bits_of

compiled: Any = kernel(fastmath={"contract"}, nogil=True)
inner: Any = njit(fastmath={"contract"}, nogil=True, error_model="numpy")
BLOCK = 8
"""Cells of a block: its products are exact for slopes up to some 20 nats per cell, steeper rows are summed term by term."""
STRIP = 64
"""Columns of a field that are worked on at a time: they stay in the cache, and loops over them vectorise."""
SMALLEST = -500
"""2^−500 = 3e−151: smaller factors are taken as zero, the product of two larger ones is normal."""
FELT = 1e-130
"""Sums of scaled terms above it do not feel what was taken as zero, less than n·1e−150."""
FELT_BITS, ONE_BITS = int(np.float64(FELT).view(np.int64)), 1023 << 52
"""Positive numbers are ordered as their bits are: integers, so that a minimum vectorises."""
MANY = 1 << 60
NEGLIGIBLE = 60
"""Blocks with terms below 2^−60 of a sum are skipped."""


def in_blocks(logs: Array) -> tuple[Array, Array, Array]:
    """(logs, exponents of the largest entry of every block, e^logs/2^exponent blockwise (n_blocks, n_blocks, BLOCK, BLOCK))."""
    n = len(logs)
    count = -(-n // BLOCK)
    padded = np.full((count * BLOCK, count * BLOCK), -np.inf)
    padded[:n, :n] = logs
    blocks = padded.reshape(count, BLOCK, count, BLOCK).swapaxes(1, 2)
    tops = np.ceil(np.maximum(blocks.max(axis=(2, 3)) / LOG2, -(2.0**40)))
    scaled = np.exp(blocks - LOG2 * tops[:, :, None, None])
    scaled[scaled < 2.0**SMALLEST] = 0.0
    return logs, tops.astype(np.int64), np.ascontiguousarray(scaled)


@compiled
def log_product(logs, tops, scaled, field, out):
    """out[b, i, a] = log Σ_j exp(logs[i, j] + field[b, j, a]), both (n_before, n, n_after).

    Strips have the line first: columns of a field, or rows of one whose last axis is the line.
    """
    before, n, after = field.shape
    if after == 1:
        rows, target = field.reshape(1, before, n), out.reshape(1, before, n)
        for start in range(0, before, STRIP):
            strip_product(logs, tops, scaled, rows[0], target[0], start, min(STRIP, before - start), True)
    else:
        for group in range(before):
            for start in range(0, after, STRIP):
                strip_product(logs, tops, scaled, field[group], out[group], start, min(STRIP, after - start), False)


@inner
def load(block, field, first, size, start, rows):
    """Cells first … first + size − 1 of the line, columns from `start`, or rows of the field."""
    width = block.shape[1]
    if rows:
        for a in range(width):
            line = field[start + a, first : first + size]
            for k in range(size):
                block[k, a] = line[k]
    else:
        for k in range(size):
            line, target = field[first + k, start : start + width], block[k]
            for a in range(width):
                target[a] = line[a]


@inner
def store(block, field, first, size, start, rows):
    """The opposite of `load`."""
    width = block.shape[1]
    if rows:
        for a in range(width):
            line = field[start + a, first : first + size]
            for k in range(size):
                line[k] = block[k, a]
    else:
        for k in range(size):
            line, source = field[first + k, start : start + width], block[k]
            for a in range(width):
                line[a] = source[a]


@inner
def strip_product(logs, tops, scaled, field, out, start, width, rows):
    """The same for one strip.

    A block row sums the products of its blocks, each scaled by the largest term that it can have. Rows with a sum so small that
    what is taken as zero could be felt are summed term by term.
    """
    n, count = len(logs), len(tops)
    weights, largest, smallest = scaled_strip(field, n, count, start, width, rows)
    highest = np.empty(count, np.int64)
    for j in range(count):
        highest[j] = largest[j].max()
    felt, top, total = np.empty(count, np.int64), np.empty(width, np.int64), np.empty((BLOCK, width))
    factor, part = np.empty(width), np.empty((BLOCK, width))
    for i in range(count):
        size = min(BLOCK, n - i * BLOCK)
        near = felt[: felt_blocks(felt, top, tops[i], largest, highest, smallest[i], i)]
        total[:] = 0.0
        for j in near:
            scaled_block(part, factor, weights[j * BLOCK : (j + 1) * BLOCK], largest[j], top, tops[i, j])
            add_product(total, scaled[i, j], part)
        for k in range(size):
            least, sums, result = ONE_BITS, total[k], part[k]
            for a in range(width):
                least = min(least, bits_of(sums[a]))
                result[a] = logarithm(sums[a], top[a])
            if least < FELT_BITS:
                row_sum(part[k], total[k], logs[i * BLOCK + k], field, near, start, rows)
        store(part, out, i * BLOCK, size, start, rows)


@inner
def scaled_strip(field, n, count, start, width, rows):
    """(e^f/2^(the largest exponent of the block), zero below 2^SMALLEST; largest and smallest exponents, (n_blocks, width))."""
    weights, exponents = np.zeros((count * BLOCK, width)), np.empty((BLOCK, width), np.int64)
    largest, smallest = np.full((count, width), -MANY), np.full((count, width), MANY)
    cells = np.empty((BLOCK, width))
    for block in range(count):
        first = block * BLOCK
        size = min(BLOCK, n - first)
        load(cells, field, first, size, start, rows)
        top, low = largest[block], smallest[block]
        for k in range(size):
            weight, cell, exponent = weights[first + k], cells[k], exponents[k]
            for a in range(width):
                exponent[a], weight[a] = scaled_exponential(cell[a])
                top[a] = max(top[a], exponent[a])
                low[a] = min(low[a], exponent[a])
        for k in range(size):
            weight, exponent = weights[first + k], exponents[k]
            for a in range(width):
                difference = exponent[a] - top[a]
                weight[a] *= power_of_two(difference) if difference > SMALLEST else 0.0
    return weights, largest, smallest


@inner
def felt_blocks(felt, top, tops, largest, highest, smallest, own):
    """Number of the blocks of a block row that can be felt, listed in `felt`; `top` (width,) : exponents of their largest terms.

    No sum of the row is below the smallest value of its own block: K has its largest entry on the diagonal, of the order of one.
    """
    count, width = largest.shape
    found, lowest = 0, MANY
    for a in range(width):
        top[a] = tops[own] + largest[own, a]
        lowest = min(lowest, smallest[a])
    for j in range(count):
        if tops[j] + highest[j] < lowest - NEGLIGIBLE and j != own:
            continue
        reach = -MANY
        for a in range(width):
            reach = max(reach, largest[j, a] - smallest[a])
        if reach + tops[j] >= -NEGLIGIBLE or j == own:
            felt[found] = j
            found += 1
            for a in range(width):
                top[a] = max(top[a], tops[j] + largest[j, a])
    return found


@inner
def scaled_block(part, factor, weights, largest, top, exponent):
    """A block of weights (BLOCK, width) times 2^(its exponents + that of the matrix − top)."""
    for a in range(top.size):
        difference = exponent + largest[a] - top[a]
        factor[a] = power_of_two(difference) if difference > SMALLEST else 0.0
    for k in range(BLOCK):
        for a in range(top.size):
            part[k, a] = weights[k, a] * factor[a]


@inner
def add_product(total, matrix, part):
    """total += matrix·part, (BLOCK, BLOCK) times (BLOCK, width): two rows at a time, their coefficients in registers."""
    for k in range(0, BLOCK, 2):
        a0, a1, a2, a3, a4, a5, a6, a7 = matrix[k]
        b0, b1, b2, b3, b4, b5, b6, b7 = matrix[k + 1]
        for a in range(part.shape[1]):
            p0, p1, p2, p3 = part[0, a], part[1, a], part[2, a], part[3, a]
            p4, p5, p6, p7 = part[4, a], part[5, a], part[6, a], part[7, a]
            total[k, a] += a0 * p0 + a1 * p1 + a2 * p2 + a3 * p3 + a4 * p4 + a5 * p5 + a6 * p6 + a7 * p7
            total[k + 1, a] += b0 * p0 + b1 * p1 + b2 * p2 + b3 * p3 + b4 * p4 + b5 * p5 + b6 * p6 + b7 * p7


@inner
def row_sum(out, total, logs, field, near, start, rows):
    """log Σ_j exp(logs[j] + f[j]) over the cells of the blocks `near`, into `out` where `total` is too small."""
    n, width = logs.size, out.size
    top, terms, cells = np.full(width, -np.inf), np.zeros(width), np.empty((1, width))
    for block in near:
        for j in range(block * BLOCK, min(n, (block + 1) * BLOCK)):
            load(cells, field, j, 1, start, rows)
            for a in range(width):
                top[a] = max(top[a], logs[j] + cells[0, a])
    for block in near:
        for j in range(block * BLOCK, min(n, (block + 1) * BLOCK)):
            load(cells, field, j, 1, start, rows)
            for a in range(width):
                exponent, value = scaled_exponential(max(logs[j] + cells[0, a] - top[a], -700.0))
                terms[a] += value * power_of_two(exponent)
    for a in range(width):
        if total[a] <= FELT:
            out[a] = top[a] + logarithm(terms[a], 0)
