"""The implicit step along the factor across which a grid is cut into slabs: by transposition.

Lines along it lie on all ranks. For the step each rank gets some of the lines as a whole, moves the mass along them, and gives
them back; sums over faces are taken where the cells are, each face by the rank that has the cell behind it.
"""

import numpy as np

from gridflow.scheme.finite_volume.axis import ALIKE, Drift, LineAxis, of_lines
from gridflow.slabs.ranks import longer_side
from gridflow.slabs.slab import Slab
from gridflow.space.factor import Array
from gridflow.space.grid import Grid


class CutAxis:
    """Along the cut. here : the lines as they lie on this rank, with faces of its own; there : whole ones, some of all."""

    def __init__(self, slab: Slab, mobility: Array) -> None:
        self.slab, axis = slab, slab.axis
        shape, line = slab.shape, slab.factors[axis]
        others = tuple(k for k in range(len(shape)) if k != axis)
        lines, volumes = of_lines(slab, axis, mobility), slab.flat_volumes(others)
        before, _, after = slab.block
        self.here = LineAxis(line, after, lines, volumes)
        self.here.line = self.here.line._replace(rate=slab.of_own(self.here.line.rate))
        mine, across = (
            np.array_split(values.reshape(before, 1, after), slab.ranks.size, axis=longer_side(slab.block))[slab.ranks.rank]
            for values in (lines, volumes)
        )
        whole = slab.whole.factors[axis]
        self.there = LineAxis(whole, mine.shape[2], mine.ravel(), across.ravel()) if mine.size else None
        if self.there is not None:
            self.there.alike = self.here.alike  # of all lines: ranks do the same

    def advance(self, density: Array, drift: Drift, time: float, diffusivity: float, second_order: bool) -> Array:
        """The density after `time`."""
        by_line = self.here.alike and second_order and drift.line is not None
        field = drift.field if drift.field.size == 1 or by_line else self.slab.turned(drift.field)
        moved = self.slab.turned(density)
        if self.there is not None:  # there may be fewer lines than ranks
            moved = self.there.advance(moved, drift._replace(field=field), time, diffusivity, second_order)
        out, shape = np.empty_like(density), density[self.slab.own].shape
        out[self.slab.own] = self.slab.turned_back(moved).reshape(shape)
        return self.slab.exchange(out)

    def alike_line(self, grid: Grid, xi: Array, axis: int) -> Array | None:
        """As `LineAxis` has it: each line differs from the first by one number on all ranks."""
        values = np.moveaxis(xi, axis, 0).reshape(xi.shape[axis], -1)
        apart = values - values[:, :1]
        highest, lowest = grid.largest(np.stack([apart.max(axis=0), -apart.min(axis=0)]))
        if (highest + lowest).max() > ALIKE * float(grid.largest(np.abs(values).max())):
            return None
        return grid.joined((axis,), self.slab.of_own(values[:, 0]))[:, None]

    def sums(self, density: Array, xi: Array) -> tuple[float, float, float]:
        """See `LineAxis`; over the faces of this rank."""
        return self.here.sums(density, xi)

    def dissipation(self, density: Array, xi: Array, log: Array, factor: float) -> float:
        """See `LineAxis`; over the faces of this rank."""
        return self.here.dissipation(density, xi, log, factor)
