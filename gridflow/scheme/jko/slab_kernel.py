"""The Gibbs kernel of a grid that is cut into slabs: by transposition along the cut.

Along the lines beside the cut, products are those of `GibbsKernel` on what a rank has. For the line along the cut each rank gets
some of its lines as a whole (`gridflow.slabs.ranks`), all of the modes of which it filters, and gives them back. Factors of K
commute: between two products with K that follow each other, fields stay as they are.
"""

from math import prod

import numpy as np
import scipy

from gridflow.errors import require
from gridflow.scheme.jko.gibbs import GibbsKernel, lines_of
from gridflow.slabs.ranks import longer_side
from gridflow.slabs.slab import Slab
from gridflow.space.factor import Array
from gridflow.space.grid import Grid


class SlabKernel(GibbsKernel):
    """K on a slab, with the matrices of the whole grid; shape and lines are those of the slab.

    cut : axis of fields (blocks, line, line, …); block : their shape around it, (before, n of this rank, after)
    some : numbers of the whole lines that this rank gets, along the axis `side` of `block`
    """

    def __init__(self, slab: Slab, epsilon: float) -> None:
        super().__init__(slab.whole, epsilon)
        large = [f.name for f, surface in zip(self.factors, self.surfaces, strict=True) if surface is not None]
        received, allowed = f"mpiexec with entropic transport on the large surface {', '.join(large)}", "surfaces with a matrix"
        require(not large, received, allowed, "run it without mpiexec, or lower its level")
        self.grid, self.slab, self.whole_shape = slab, slab, self.shape
        self.cut = 1 + self.factors.index(slab.whole.factors[slab.axis])
        self.shape = (*self.shape[: self.cut], slab.shape[slab.axis], *self.shape[self.cut + 1 :])
        self.lines = lines_of(self.shape)
        self.block, self.side = slab.block, longer_side(slab.block)
        self.some = np.array_split(np.arange(self.block[self.side]), slab.ranks.size)[slab.ranks.rank]
        before = self.some if self.side == 0 else np.arange(self.block[0])
        stack, blocks = len(self.matrices[self.cut - 1]), before // prod(self.shape[1 : self.cut])
        ends = np.searchsorted(blocks, np.arange(stack + 1)) if stack > 1 else [0, before.size]
        self.rows = [slice(ends[k], ends[k + 1]) for k in range(stack)]
        """Of whole lines (before, n, after) with the same mobility."""

    def turned(self, field: Array) -> Array:
        """Some whole lines of a field, (before, n, after)."""
        return self.slab.turned(field)

    def turned_back(self, lines: Array) -> Array:
        """The field of this rank, of its `shape`."""
        return self.slab.turned_back(lines).reshape(self.shape)

    def beside(self) -> list[int]:
        """Axes of the lines beside the cut."""
        return [axis for axis in range(1, len(self.shape)) if axis != self.cut]

    def apply(self, field: Array) -> Array:
        x = field.reshape(self.shape)
        for axis in self.beside():
            x = self.along_axis(self.matrices[axis - 1], x, axis)
        return self.turned_back(self.along_cut(self.matrices[self.cut - 1], self.turned(x))).reshape(field.shape)

    def along_cut(self, stack: Array, lines: Array) -> Array:
        """A matrix, or one per block, times whole lines."""
        out = np.empty(lines.shape)
        for matrix, rows in zip(stack, self.rows, strict=True):
            if lines.shape[2] > 1:
                np.matmul(matrix, lines[rows], out=out[rows])
            else:
                np.matmul(lines[rows, :, 0], matrix.T, out=out[rows, :, 0])
        return out

    def in_logarithms(self, logs: Array) -> Array:
        return self.turned_back(self.cut_in_logarithms(self.turned(self.beside_in_logarithms(logs)))).reshape(logs.shape)

    def after_division(self, log_before: Array, logs: Array) -> Array:
        if self.wide:
            return super().after_division(log_before, logs)
        between = self.cut_in_logarithms(self.turned(self.beside_in_logarithms(logs)))
        after = self.cut_in_logarithms(self.turned(np.ascontiguousarray(log_before)) - between)
        return self.beside_in_logarithms(self.turned_back(after)).reshape(logs.shape)

    def beside_in_logarithms(self, logs: Array) -> Array:
        """The products along lines beside the cut."""
        x = np.ascontiguousarray(logs).reshape(self.shape)
        for axis in self.beside():
            out, products, line = np.empty(self.shape), self.log_products[axis - 1], self.lines[axis - 1]
            for block in range(self.blocks):
                products[block % len(products)](x[block].reshape(line), out[block].reshape(line))
            x = out
        return x

    def cut_in_logarithms(self, lines: Array) -> Array:
        """The product along whole lines."""
        out = np.empty_like(lines)
        for product, rows in zip(self.log_products[self.cut - 1], self.rows, strict=True):
            if rows.stop > rows.start:
                product(lines[rows], out[rows])
        return out

    def filtered(self, symbol: Array) -> Array:
        whole = np.broadcast_to(symbol, self.whole_shape)
        if self.side == 0:
            part = whole[np.unravel_index(self.some, self.whole_shape[: self.cut])]
            return part.reshape(self.some.size, self.whole_shape[self.cut], self.block[2])
        after = np.unravel_index(self.some, self.whole_shape[self.cut + 1 :])
        part = whole[(slice(None),) * (self.cut + 1) + after]
        return part.reshape(self.block[0], self.whole_shape[self.cut], self.some.size)

    def filter(self, field: Array, symbol: Array) -> Array:
        transforms, _ = self.modes
        x, others = field.reshape(self.shape), [(axis, transforms[axis - 1]) for axis in self.beside()]
        cosines = [axis for axis, transform in others if transform is None]
        for axis, transform in others:
            x = self.along_axis(transform[0], x, axis) if isinstance(transform, tuple) else x
        x = scipy.fft.dctn(x, axes=cosines, norm="ortho") if cosines else x
        lines, along = self.turned(x), transforms[self.cut - 1]
        if isinstance(along, tuple):
            lines = self.along_cut(along[1], self.along_cut(along[0], lines) * symbol)
        elif lines.size > 0:  # there may be fewer lines than ranks
            lines = scipy.fft.dct(lines, axis=1, norm="ortho") * symbol
            lines = scipy.fft.idct(lines, axis=1, norm="ortho", overwrite_x=True)
        x = self.turned_back(lines)
        x = scipy.fft.idctn(x, axes=cosines, norm="ortho", overwrite_x=True) if cosines else x
        for axis, transform in others:
            x = self.along_axis(transform[1], x, axis) if isinstance(transform, tuple) else x
        return x.reshape(field.shape)


def kernel_on(grid: Grid, epsilon: float) -> GibbsKernel:
    """K on a grid, or on a slab of one."""
    return SlabKernel(grid, epsilon) if isinstance(grid, Slab) else GibbsKernel(grid, epsilon)
