"""A slab: the cells of a grid that one rank has, cut across the longest line or circle, and a few of its neighbours' cells.

    cells of the cut factor      0 … n
    rank k has its own           [n k/P, n(k + 1)/P)
    and of its neighbours        `ghosts` on either side, none beyond a wall

A field on a slab has all of these cells. Those of neighbours are copies (`exchange`), as many as a stencil reaches, so that what
a step computes in the cells of its own is what it would be on the whole grid, operation by operation. They count nothing in
integrals: their `weights`, and with them `volume`, are 0. Functions of the position, as features and potentials are, are computed
in all of them.
"""

from collections.abc import Callable
from functools import cached_property, reduce
from math import prod
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from gridflow.errors import require
from gridflow.slabs.ranks import Ranks
from gridflow.space.coordinate import coordinate_of
from gridflow.space.factor import Array
from gridflow.space.grid import Grid, Result
from gridflow.space.piece import goes_around, piece

DRAWN = 2**22
"""Random numbers that are drawn at a time: those of other ranks among them are thrown away."""
GHOSTS = 2
"""What a stencil reaches to one side."""
CELLS_MIN = 2 * GHOSTS
"""Of a slab along the cut: what stencils of both neighbours reach."""


class Slab(Grid):
    """The slab of one rank. whole : the grid; axis : of the cut factor; ghosts : cells of a neighbour beyond either end"""

    alone: ClassVar[bool] = False

    def __init__(self, whole: Grid, ranks: Ranks, axis: int, ghosts: int) -> None:
        self.grid, self.ranks, self.axis, self.ghosts = whole, ranks, axis, ghosts
        factor = whole.factors[axis]
        n, self.around = factor.size, goes_around(factor)
        self.ends = np.array([n * k // ranks.size for k in range(ranks.size + 1)])
        self.before = ghosts if self.around or ranks.rank > 0 else 0
        self.after = ghosts if self.around or ranks.rank < ranks.size - 1 else 0
        numbers = np.arange(self.ends[ranks.rank] - self.before, self.ends[ranks.rank + 1] + self.after)
        self.cells = numbers % n
        self.factors = tuple(piece(coordinate_of(factor), numbers) if k == axis else f for k, f in enumerate(whole.factors))
        self.order, self.shape = whole.order, tuple(f.size for f in self.factors)
        self.mobility = tuple(np.ascontiguousarray(self.cut(m)) for m in whole.mobility)
        self.own = (slice(None),) * axis + (slice(self.before, self.shape[axis] - self.after),)

    @property
    def whole(self) -> Grid:
        return self.grid

    @property
    def attributes(self) -> dict[str, str]:
        return {"slabs": f"{self.ranks.size} ranks, cut along {self.order[self.axis]}"}

    @property
    def weights(self) -> list[Array]:
        found = [f.volumes for f in self.factors]
        found[self.axis] = self.of_own(found[self.axis])
        return found

    def of_own(self, values: Array) -> Array:
        """Values at the cells along the cut, 0 at those of neighbours."""
        return values_at(values, self.own[-1:])

    def total(self, values: Any) -> Any:
        return self.ranks.total(values)

    def largest(self, values: Any) -> Any:
        return self.ranks.largest(values)

    def exchange(self, field: Array) -> Array:
        if self.ghosts > 0:
            self.ranks.exchange(field, self.axis, self.before, self.after, self.around)
        return field

    @cached_property
    def padded(self) -> "Slab":
        return self if self.ghosts >= GHOSTS else Slab(self.grid, self.ranks, self.axis, GHOSTS)

    def pad(self, field: Array) -> Array:
        if self.padded is self:
            return field
        found = np.empty(self.padded.shape)
        found[self.padded.own] = field[self.own]
        return self.padded.exchange(found)

    @property
    def writes(self) -> bool:
        return self.ranks.rank == 0

    def first(self, call: Callable[[], Result]) -> Result:
        return self.ranks.first(call)

    def gather(self, field: Array) -> Array:
        more = field.ndim - len(self.shape)
        if more < 0 or field.shape[more:] != self.shape:
            return field
        found = self.ranks.gather(field[(slice(None),) * more + self.own], more + self.axis, self.ends)
        return np.empty(0) if found is None else found

    def scatter(self, field: Array) -> Array:
        more = field.ndim - len(self.shape)
        if more < 0 or field.shape[more:] != self.grid.shape:
            return field
        return field.take(self.cells, more + self.axis)

    def cut(self, field: np.ndarray) -> np.ndarray:
        return field if field.shape[self.axis] == 1 else field.take(self.cells, self.axis)

    def has_wall(self, axis: int, side: int) -> bool:
        return axis != self.axis or (not self.around and self.ranks.rank == (0, self.ranks.size - 1)[side])

    def drawn(self, draw: Callable[[tuple[int, ...]], Array]) -> Array:
        whole, found = self.grid.shape, np.empty(self.shape)
        rows = max(1, DRAWN // int(np.prod(whole[1:])))
        for start in range(0, whole[0], rows):
            numbers = draw((min(rows, whole[0] - start), *whole[1:]))
            if self.axis > 0:
                found[start : start + rows] = self.cut(numbers)
                continue
            here = (self.cells >= start) & (self.cells < start + rows)
            found[here] = numbers[self.cells[here] - start]
        return found

    def density(self, masses: Array) -> Array:
        return masses / reduce(np.multiply.outer, [f.volumes for f in self.factors])

    def cells_of(self, axes: tuple[int, ...]) -> NDArray[np.int64] | slice:
        if self.axis not in axes:
            return slice(None)
        shape = [self.grid.shape[k] for k in axes]
        numbers = np.arange(int(np.prod(shape))).reshape(shape)
        return numbers.take(self.cells, axes.index(self.axis)).reshape(-1)

    def counted(self, masses: Array) -> Array:
        return values_at(masses, self.own)

    def of_factors(self, axes: list[int]) -> Grid:
        found, cut = Grid([self.grid.factors[k] for k in axes]), self.order[self.axis]
        return Slab(found, self.ranks, found.order.index(cut), self.ghosts) if cut in found.order else found

    def joined(self, axes: tuple[int, ...], values: Array) -> Array:
        found = np.zeros(int(np.prod([self.grid.shape[k] for k in axes])))
        found[self.cells_of(axes)] += values  # 0 in the cells of neighbours, of which no cell is one twice
        joined: Array = self.total(found)
        return joined

    def with_faces(self, field: Array, axis: int) -> Array:
        """The cells on both sides of the faces of this rank along a factor: those before its own cells, along the cut."""
        if axis != self.axis:
            return field[self.own]
        first = max(self.before - 1, 0)
        return field[(slice(None),) * axis + (slice(first, self.shape[axis] - self.after),)]

    def marginal_masses(self, density: Array, name: str) -> Array:
        return self.joined((self.order.index(name),), super().marginal_masses(density, name))

    @cached_property
    def block(self) -> tuple[int, int, int]:
        """Shape of the own cells around the cut: (before, n of this rank, after)."""
        n = self.shape[self.axis] - self.before - self.after
        return prod(self.shape[: self.axis]), n, prod(self.shape[self.axis + 1 :])

    def turned(self, field: Array) -> Array:
        """Some whole lines along the cut of a field, (before, n, after): see `Ranks.turned`."""
        own = np.ascontiguousarray(field.reshape(self.shape)[self.own])
        return self.ranks.turned(own.reshape(self.block), self.ends)

    def turned_back(self, lines: Array) -> Array:
        """The own cells of the field of which these are some lines, of the shape `block`."""
        return self.ranks.turned_back(lines, self.ends, self.block)


def values_at(values: Array, index: tuple[slice, ...]) -> Array:
    """The values there, 0 elsewhere."""
    kept = np.zeros_like(values)
    kept[index] = values[index]
    return kept


def lines_that_move(grid: Grid) -> list[int]:
    """Lines and circles along which mass moves, any of which a cut may cross."""
    return [k for k, f in enumerate(grid.factors) if f.one_dimensional and grid.mobility[k].max() > 0]


def cut_axis(grid: Grid) -> int:
    """Of the longest line or circle along which mass moves. Raises InputError for a space without one."""
    lines = lines_that_move(grid)
    allowed, fix = "a space with an interval or a circle, which is cut", "run it without mpiexec"
    require(lines != [], "mpiexec with a space without intervals and circles", allowed, fix)
    return max(lines, key=lambda k: (grid.shape[k], k))


def slab_of(grid: Grid, ranks: Ranks, ghosts: int) -> Slab:
    """The slab of this rank. Raises InputError for more ranks than the cut has cells for."""
    axis = cut_axis(grid)
    factor = grid.factors[axis]
    most = factor.size // CELLS_MIN
    received = f"{ranks.size} ranks for the {factor.size} cells of {factor.name!r}, the longest line of this grid"
    allowed = f"at most {most}: {CELLS_MIN} cells for each"
    require(ranks.size <= most, received, allowed, f"use mpiexec -n {max(most, 1)} or fewer, or more space.{factor.name}.cells")
    return Slab(grid, ranks, axis, ghosts)
