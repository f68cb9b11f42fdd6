"""Lines in blocks, (n, BLOCK): their cells taken from a field, side by side, and put back; a column is a line."""

from typing import Any

from gridflow import compiled
from gridflow.scheme.finite_volume.compiler import least

SAME_BITS = {"nnan", "ninf", "nsz"}
"""Freedoms of the compiler that change no result: a function that is compiled by itself, and once more inside of another, as the
functions here are, gives the same bits in a run that compiles and in one that finds all compiled."""
inner: Any = compiled.inner(fastmath=SAME_BITS)

BLOCK = 32
"""Lines side by side: as many as vectorised loops take in one turn, which hides the latency of divisions; blocks of lines of a
thousand cells stay in the second-level cache."""
TILE = 8
"""Cells of a line that are taken at a time where lines are not side by side in memory: a piece of the cache. A loop over so
few is unrolled; longer ones become instructions that scatter, which take longer than a store for each number."""
TINY = 1e-290
"""Densities below this are set to 0: subnormal numbers cost 3 to 5 times the time."""


@inner
def load(block, values, offsets, m, stride):
    """The lines that start at `offsets` as columns of a block."""
    n = block.shape[0]
    if offsets[m - 1] - offsets[0] == m - 1:
        for i in range(n):
            for q in range(m):
                block[i, q] = values[offsets[0] + i * stride + q]
    else:
        whole = n - n % TILE
        for start in range(0, whole, TILE):
            for q in range(m):
                for i in range(TILE):
                    block[start + i, q] = values[offsets[q] + (start + i) * stride]
        for i in range(whole, n):
            for q in range(m):
                block[i, q] = values[offsets[q] + i * stride]


@inner
def take_lines(mass, values, offsets, L, stride, block, last):
    """The masses of the lines from `block` on, 0 in columns without a line, and where they start; returns their number."""
    n, m = L.volume.size, min(BLOCK, last - block)
    for q in range(m):
        offsets[q] = (block + q) // stride * (n * stride) + (block + q) % stride
    load(mass, values, offsets, m, stride)
    for i in range(n):
        for q in range(m):
            mass[i, q] *= L.volume[i]
        for q in range(m, BLOCK):
            mass[i, q] = 0.0
    return m


@inner
def store(values, block, inverse_volume, offsets, m, stride):
    """Densities from masses of a block, into the lines that start at `offsets`."""
    n = block.shape[0]
    if offsets[m - 1] - offsets[0] == m - 1:
        for i in range(n):
            for q in range(m):
                density = block[i, q] * inverse_volume[i]
                values[offsets[0] + i * stride + q] = density if density > TINY else 0.0
    else:
        whole = n - n % TILE
        for start in range(0, whole, TILE):
            for q in range(m):
                for i in range(TILE):
                    density = block[start + i, q] * inverse_volume[start + i]
                    values[offsets[q] + (start + i) * stride] = density if density > TINY else 0.0
        for i in range(whole, n):
            for q in range(m):
                density = block[i, q] * inverse_volume[i]
                values[offsets[q] + i * stride] = density if density > TINY else 0.0


@inner
def is_negative(y):
    """Whether there is a negative number."""
    low, values = 0.0, y.reshape(-1)
    for k in range(values.size):
        low = least(low, values[k])
    return low < 0.0
