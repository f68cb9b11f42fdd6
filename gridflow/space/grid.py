"""The grid: a product of factors.

Storage order is labels first, then surfaces, then lines by size, the longest line last, because the last axis is contiguous in
memory and the sweeps run along it. `Grid.order` names the axes; datasets are written with named dimensions.

A field on the grid has one of four layouts, which share memory wherever a view is possible:

    grid                (n_1, …, n_K)            one axis per factor in storage order: densities, cell masses, ξ
    rows                (n_rows, m)              rows along the last factor, m = n_K: the face sweep of finite volumes
    Split               (n_outer, n_inner)       a group of factors against all others: moments of networks (`Split`)
    one factor          (before, n_k, after)     one factor between all before and all behind it: small matrices along an axis
"""

from collections.abc import Callable
from functools import cached_property, reduce
from math import prod
from typing import Any, ClassVar, TypeVar

import numpy as np
from numpy.typing import NDArray

from gridflow.errors import InputError, require
from gridflow.html import table_html
from gridflow.space.factor import Array, Factor, factor_index
from gridflow.space.split import Split

Result = TypeVar("Result")


class Grid:
    """Product of factors with an optional mobility per factor.

    Parameters
    ----------
    factors : the factors, in any order
    mobility : {factor name: (factor name it depends on or None, values)}: M of the factor, constant or one value per cell of
        *another* factor (1/c² of a neuron length c, r^{−2} of a polar angle). Default 1. A mobility 0 freezes the factor.

    Attributes
    ----------
    factors : tuple of Factor in storage order
    shape : tuple of int
    volume : what a cell counts in integrals, its volume, shape of the grid; 0 in the cells that a slab has of its neighbours

    A grid may be one slab of a larger one (`gridflow.slabs.slab`): sums over all cells go through `total`, `largest`, `sum` and
    `integrate`, fields get cells of neighbours by `exchange` and `pad`. On a whole grid these do nothing more.

    Raises InputError for no factors, two factors of one name, a mobility with a wrong number of values or with values that are
    not finite and ≥ 0, and a mobility that depends on its own factor, on one that depends on it or on one that is not there.
    """

    def __init__(
        self,
        factors: list[Factor],
        mobility: dict[str, tuple[str | None, Array]] | None = None,
    ) -> None:
        mobility = mobility or {}
        names = sorted(f.name for f in factors)
        require(len(names) > 0, "a grid without factors", "at least one", "add a line, a circle, labels or a surface")
        require(len(set(names)) == len(names), f"factors called {', '.join(names)}", "one factor of each name", "rename them")
        sources = {source for source, _ in mobility.values()}
        self.factors = tuple(
            sorted(factors, key=lambda f: (f.one_dimensional, f.columns, f.one_dimensional and f.name not in sources, f.size))
        )
        self.order = tuple(f.name for f in self.factors)
        self.shape = tuple(f.size for f in self.factors)
        self.mobility = tuple(self.broadcast_mobility(f, *mobility.get(f.name, (None, np.ones(1)))) for f in self.factors)
        unknown = set(mobility) - set(self.order)
        if unknown:
            factor_index(self.factors, min(unknown), "flow.mobility")

    def broadcast_mobility(self, factor: Factor, source: str | None, values: Array) -> Array:
        """Mobility of a factor as an array that broadcasts against the grid."""
        index = None if source is None else factor_index(self.factors, source, f"flow.mobility.{factor.name}")
        size = 1 if index is None else self.factors[index].size
        if np.size(values) != size or not (np.isfinite(values) & (np.asarray(values) >= 0)).all():
            raise InputError(
                f"the mobilities {values} of {factor.name!r}",
                f"{size} finite numbers ≥ 0",
                "give one number, or one for each cell of the factor that it depends on",
            )
        if index is None:
            return np.reshape(values, (1,) * len(self.factors))
        if not factor.one_dimensional and self.factors[index].moves:
            raise InputError(
                f"flow.mobility.{factor.name} depends on {source!r}",
                "for labels and surfaces a number, or one that depends on labels",
                "let a line or a circle depend on that factor",
            )
        if source == factor.name or (index == len(self.factors) - 1 and factor.one_dimensional):
            raise InputError(
                f"flow.mobility.{factor.name} depends on {source!r}",
                "a factor other than itself, and not both factors on each other",
                "let it depend on another factor",
            )
        return self.along(index, values)

    def along(self, axis: int, values: np.ndarray) -> np.ndarray:
        """Values of one factor, reshaped to broadcast against the grid."""
        return values.reshape([-1 if k == axis else 1 for k in range(len(self.factors))])

    def coordinate(self, name: str) -> Array:
        """Cell points of the line, circle or labels `name`, broadcasting against densities."""
        axis = factor_index(self.factors, name, "a coordinate")
        surface = self.factors[axis].columns > 1
        require(not surface, f"the coordinate of the surface {name!r}", "a line, a circle or labels", "use flat_coordinates")
        return self.along(axis, self.factors[axis].points)

    def flat_coordinates(self, axes: tuple[int, ...]) -> dict[str, Array]:
        """Coordinates of all points of a group of factors by name, the last axis fastest.

        (product of their sizes,) each, or (product of their sizes, 3) for a surface.
        """
        shape = [self.shape[k] for k in axes]
        numbers = np.indices(shape).reshape(len(axes), int(np.prod(shape)))
        return {self.order[k]: self.factors[k].points[cells] for k, cells in zip(axes, numbers, strict=True)}

    def flat_volumes(self, axes: tuple[int, ...]) -> Array:
        """What the cells of a group of factors count in integrals, in the same order, (product of their sizes,)."""
        return reduce(np.multiply.outer, [self.weights[k] for k in axes], np.ones(1)).reshape(-1)

    @cached_property
    def volume(self) -> Array:
        """See above."""
        return np.ascontiguousarray(reduce(np.multiply.outer, self.weights))

    @property
    def weights(self) -> list[Array]:
        """What the cells of every factor count in integrals, (n_cells,) each: their volumes."""
        return [f.volumes for f in self.factors]

    @property
    def whole(self) -> "Grid":
        """The grid of which this one is a slab."""
        return self

    alone: ClassVar[bool] = True
    """Whether it is a whole one."""

    @property
    def attributes(self) -> dict[str, str]:
        """Of the dataset: how it is cut."""
        return {}

    own: tuple[Any, ...] = (...,)
    """Index of the cells that are no neighbour's."""

    def total(self, values: Any) -> Any:
        """Numbers summed over all slabs."""
        return values

    def largest(self, values: Any) -> Any:
        """The largest of all slabs."""
        return values

    def sum(self, field: Array) -> float:
        """Σ over all cells."""
        return float(self.total(field[self.own].sum()))

    @property
    def writes(self) -> bool:
        """Whether this process writes files."""
        return True

    def first(self, call: Callable[[], Result]) -> Result:
        """What a call returns, or raises, in the process that writes, which alone makes it."""
        return call()

    def exchange(self, field: Array) -> Array:
        """A field whose cells of neighbours are theirs: the same array."""
        return field

    @property
    def padded(self) -> "Grid":
        """The grid with cells of neighbours."""
        return self

    def pad(self, field: Array) -> Array:
        """A field on the `padded` grid."""
        return field

    def gather(self, field: Array) -> Array:
        """A field, or several along leading axes, on the whole grid in the process that writes; an empty array in others."""
        return field

    def scatter(self, field: Array) -> Array:
        """The cells of this grid of such a field of the whole one; other arrays are as they were."""
        return field

    def cut(self, field: np.ndarray) -> np.ndarray:
        """A field on the whole grid, or one that broadcasts against it, at the cells of this one."""
        return field

    def has_wall(self, axis: int, side: int) -> bool:
        """Whether the first (0) or last (1) cells along a factor with walls are at the wall."""
        return True

    def drawn(self, draw: Callable[[tuple[int, ...]], Array]) -> Array:
        """Numbers drawn one after the other for the cells of the whole grid, in their order; draw : of a shape."""
        return draw(self.shape)

    def density(self, masses: Array) -> Array:
        """Masses over volumes."""
        return masses / self.volume

    def cells_of(self, axes: tuple[int, ...]) -> NDArray[np.int64] | slice:
        """Which cells of a group of factors of the whole grid, the last axis fastest, these are."""
        return slice(None)

    def counted(self, masses: Array) -> Array:
        """Cell masses as integrals count them: 0 in the cells of neighbours."""
        return masses

    def of_factors(self, axes: list[int]) -> "Grid":
        """The product of some of the factors, all of which move freely."""
        return Grid([self.factors[k] for k in axes])

    def joined(self, axes: tuple[int, ...], values: Array) -> Array:
        """Sums over the cells of all other factors, at those of a group of the whole grid."""
        return values

    @property
    def size(self) -> int:
        """Number of cells."""
        return prod(self.shape)

    def rows(self) -> list[tuple[str, str, int, str, str, str]]:
        """Name, kind, cells, extent, volumes and mobility of every factor, in words."""
        found = []
        for f, m in zip(self.factors, self.mobility, strict=True):
            ends, volumes = f.edges if f.edges.size else f.points, f"{f.volumes.min():g} to {f.volumes.max():g}"
            extent, mobility = f"[{ends.min():g}, {ends.max():g}]", "1" if (m == 1).all() else f"{m.min():g} to {m.max():g}"
            found.append((f.name, f.kind, f.size, extent, volumes, mobility))
        return found

    def __repr__(self) -> str:
        return "\n".join(
            f"{name}: {kind}, {size} cells in {extent}, volumes {volumes}" + (f", mobility {mobility}" if mobility != "1" else "")
            for name, kind, size, extent, volumes, mobility in self.rows()
        )

    def _repr_html_(self) -> str:
        head = ("factor", "kind", "cells", "extent", "volumes", "mobility")
        return table_html(self.rows(), head, f"grid of {self.size} cells")

    def integrate(self, density: Array) -> float:
        """∫ρ dV."""
        return float(self.total(np.vdot(density, self.volume)))

    def marginal_masses(self, density: Array, name: str) -> Array:
        """Masses of the cells of one factor, (n_cells of it,)."""
        axis = factor_index(self.factors, name, "a marginal")
        other = tuple(k for k in range(len(self.factors)) if k != axis)
        return (density * self.volume).sum(axis=other)

    def boundary_mass(self, density: Array) -> float:
        """Mass in the outermost cell layer of every no-flux factor that is not frozen."""
        return float(self.total((density * self.volume)[self.boundary].sum()))

    @cached_property
    def boundary(self) -> NDArray[np.bool_]:
        """True in the outermost cell layer of every no-flux factor that is not frozen."""
        layer, whole = np.zeros(self.shape, dtype=bool), self.whole
        for axis, factor in enumerate(whole.factors):
            if factor.walls and whole.mobility[axis].max() > 0:
                outer = np.zeros(factor.size, dtype=bool)
                outer[[0, -1]] = True
                layer |= self.cut(whole.along(axis, outer))
        return layer

    def split(self, names: tuple[str, ...]) -> Split:
        """The grid seen as a matrix: the factors `names` against all others."""
        return Split(self, names)
