"""Products with matrices of positive numbers in logarithms, log Σ_j exp(L_ij + f_j), for fields f of any range.

Within a block of 8 × 8 entries they are a matrix product of scaled exponentials. The scale of every block of a field is a power
of two, kept as an integer: no field leaves the range of doubles. Blocks of the matrix that cannot be felt are skipped, so that a
narrow kernel costs O(n · width).
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from gridflow import compiled
from gridflow.scheme.jko.logarithms import LOG2, logarithm, power_of_two, scaled_exponential
from gridflow.space.factor import Array
from gridflow.sums.elementary import bits_of

kernel: Any = compiled.kernel(fastmath={"contract"}, nogil=True)
inner: Any = compiled.inner(fastmath={"contract"})
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
SMALLEST_TERM = -50.0
"""Nats of a term below the largest one: smaller ones are not felt by a sum term by term."""
MANY = 1 << 60
NEGLIGIBLE = 60
"""Blocks with terms below 2^−60 of a sum are skipped."""


def in_blocks(logs: Array) -> tuple[Array, NDArray[np.int64], Array]:
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


def log_product(logs: Array, tops: NDArray[np.int64], scaled: Array, field: Array, out: Array) -> None:
    """out[b, i, a] = log Σ_j exp(logs[i, j] + field[b, j, a]), both (n_before, n, n_after) and contiguous.

    Columns are the lines of a field: neighbours in memory, or, where its last axis is the line, n apart.
    """
    before, n, after = field.shape
    lines = (before, after, after, 1) if after > 1 else (1, before, 1, n)
    if product_of_strips(tops, scaled, field.reshape(-1), out.reshape(-1), n, *lines):
        sum_marked(logs, field.reshape(-1), out.reshape(-1), *lines)


@kernel
def product_of_strips(tops, scaled, field, out, n, groups, columns, cell, column):
    """The product for groups of columns, strip by strip; cell, column : steps in memory from one to the next.

    A block row sums the products of its blocks, each scaled by the largest term that it can have. Returns how many rows have a
    sum so small that what is taken as zero could be felt: it is marked by an infinite result.
    """
    count, marked = tops.shape[0], 0
    weights, exponents, cells = np.zeros((count * BLOCK, STRIP)), np.empty((BLOCK, STRIP), np.int64), np.empty((BLOCK, STRIP))
    largest, smallest = np.empty((count, STRIP), np.int64), np.empty((count, STRIP), np.int64)
    highest, felt, top = np.empty(count, np.int64), np.empty(count, np.int64), np.empty(STRIP, np.int64)
    total, factor = np.empty((BLOCK, STRIP)), np.empty(STRIP)
    for group in range(groups):
        for start in range(0, columns, STRIP):
            first, width = group * n * columns + start * column, min(STRIP, columns - start)
            for j in range(count):
                size = min(BLOCK, n - j * BLOCK)
                copy(cells, field, first + j * BLOCK * cell, size, width, cell, column, False)
                highest[j] = scale(weights, exponents, cells, largest, smallest, j, size, width)
            for i in range(count):
                size, near = min(BLOCK, n - i * BLOCK), felt_blocks(felt, top, tops, largest, highest, smallest, i, width)
                for k in range(BLOCK):
                    for a in range(width):
                        total[k, a] = 0.0
                for f in range(near):
                    scaled_block(cells, factor, weights, largest, top, tops[i, felt[f]], felt[f], width)
                    add_product(total, scaled, i, felt[f], cells, width)
                marked += logarithms(cells, total, top, size, width)
                copy(cells, out, first + i * BLOCK * cell, size, width, cell, column, True)
    return marked


@inner
def copy(block, field, first, size, width, cell, column, back):
    """Cells of columns, the first one at `first`, into a block, or back."""
    if column == 1:
        for k in range(size):
            line = field[first + k * cell :]
            for a in range(width):
                if back:
                    line[a] = block[k, a]
                else:
                    block[k, a] = line[a]
    else:
        for a in range(width):
            line = field[first + a * column :]
            for k in range(size):
                if back:
                    line[k] = block[k, a]
                else:
                    block[k, a] = line[k]


@inner
def scale(weights, exponents, cells, largest, smallest, block, size, width):
    """weights ← e^f/2^(the largest exponent of the block), zero below 2^SMALLEST, for the cells f of a block.

    largest, smallest : exponents, (n_blocks, STRIP). Returns the largest of all.
    """
    first, highest = block * BLOCK, -MANY
    for a in range(width):
        largest[block, a], smallest[block, a] = -MANY, MANY
    for k in range(size):
        for a in range(width):
            exponents[k, a], weights[first + k, a] = scaled_exponential(cells[k, a])
            largest[block, a] = max(largest[block, a], exponents[k, a])
            smallest[block, a] = min(smallest[block, a], exponents[k, a])
    for k in range(size):
        for a in range(width):
            difference = exponents[k, a] - largest[block, a]
            weights[first + k, a] *= power_of_two(difference) if difference > SMALLEST else 0.0
    for a in range(width):
        highest = max(highest, largest[block, a])
    return highest


@inner
def felt_blocks(felt, top, tops, largest, highest, smallest, own, width):
    """Number of the blocks of a block row that can be felt, listed in `felt`; `top` (STRIP,) : exponents of their largest terms.

    No sum of the row is below the smallest value of its own block: K has its largest entry on the diagonal, of the order of one.
    """
    found, lowest = 0, MANY
    for a in range(width):
        top[a] = tops[own, own] + largest[own, a]
        lowest = min(lowest, smallest[own, a])
    for j in range(highest.size):
        exponent = tops[own, j]
        if exponent + highest[j] < lowest - NEGLIGIBLE and j != own:
            continue
        reach = -MANY
        for a in range(width):
            reach = max(reach, largest[j, a] - smallest[own, a])
        if reach + exponent >= -NEGLIGIBLE or j == own:
            felt[found] = j
            found += 1
            for a in range(width):
                top[a] = max(top[a], exponent + largest[j, a])
    return found


@inner
def scaled_block(part, factor, weights, largest, top, exponent, block, width):
    """A block of weights times 2^(its exponents + that of the matrix − top)."""
    for a in range(width):
        difference = exponent + largest[block, a] - top[a]
        factor[a] = power_of_two(difference) if difference > SMALLEST else 0.0
    for k in range(BLOCK):
        for a in range(width):
            part[k, a] = weights[block * BLOCK + k, a] * factor[a]


@inner
def add_product(total, scaled, i, j, part, width):
    """total += (a block of the matrix)·part, (BLOCK, BLOCK) times (BLOCK, width): two rows at a time, coefficients apart."""
    for k in range(0, BLOCK, 2):
        a0, a1, a2, a3, a4, a5, a6, a7 = scaled[i, j, k]
        b0, b1, b2, b3, b4, b5, b6, b7 = scaled[i, j, k + 1]
        for a in range(width):
            p0, p1, p2, p3 = part[0, a], part[1, a], part[2, a], part[3, a]
            p4, p5, p6, p7 = part[4, a], part[5, a], part[6, a], part[7, a]
            total[k, a] += a0 * p0 + a1 * p1 + a2 * p2 + a3 * p3 + a4 * p4 + a5 * p5 + a6 * p6 + a7 * p7
            total[k + 1, a] += b0 * p0 + b1 * p1 + b2 * p2 + b3 * p3 + b4 * p4 + b5 * p5 + b6 * p6 + b7 * p7


@inner
def logarithms(out, total, top, size, width):
    """log(total·2^top), infinite where `total` is too small; the number of rows in which it is."""
    marked = 0
    for k in range(size):
        least = ONE_BITS
        for a in range(width):
            least = min(least, bits_of(total[k, a]))
            out[k, a] = logarithm(total[k, a], top[a])
        if least < FELT_BITS:
            marked += 1
            for a in range(width):
                if total[k, a] <= FELT:
                    out[k, a] = np.inf
    return marked


@kernel
def sum_marked(logs, field, out, groups, columns, cell, column):
    """log Σ_j exp(logs[i, j] + f[j]) term by term, where `out` is infinite."""
    n = logs.shape[0]
    for line in range(groups * columns):
        first = line // columns * (n * columns) + line % columns * column
        for i in range(n):
            if out[first + i * cell] != np.inf:
                continue
            top, terms = -np.inf, 0.0
            for j in range(n):
                top = max(top, logs[i, j] + field[first + j * cell])
            for j in range(n):
                term = logs[i, j] + field[first + j * cell] - top
                if term > SMALLEST_TERM:
                    exponent, value = scaled_exponential(term)
                    terms += value * power_of_two(exponent)
            out[first + i * cell] = top + logarithm(terms, 0)
