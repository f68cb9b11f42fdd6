"""The implicit step along one factor: what drives it, and how it is done along lines.

`gridflow.scheme.finite_volume.surface_axis` has surfaces, `gridflow.scheme.finite_volume.implicit` puts factors together.
"""

from math import prod
from typing import NamedTuple, Protocol

import numpy as np

from gridflow.scheme.finite_volume.blocks import BLOCK
from gridflow.scheme.finite_volume.line_sums import dissipation, drift_and_diffusion
from gridflow.scheme.finite_volume.lines import Line, advance_lines
from gridflow.scheme.finite_volume.spread import rates_of_line, spread_lines
from gridflow.space.factor import Array, Factor
from gridflow.space.grid import Grid
from gridflow.threads import share_out

SHARED_MIN = 2**16
"""Cells from which lines are shared out among threads, as face sweeps are."""
ALIKE = 64 * float(np.finfo(float).eps)
"""Difference of two lines of ξ, relative to the largest |ξ|, that counts as round-off."""


class Drift(NamedTuple):
    """What drives the mass along a factor: factor·(ξ_c − ξ_o), factor = 1/D, 0 for diffusion alone.

    field : ξ, shape of the grid, or where factor = 0 a viscosity beside the diffusivity, which the mobility multiplies too; where
        factor < 0, along lines and circles, rates as `lines.advance_lines` takes them, (2, *shape of the grid)
    line : ξ of one line, (n, 1), where it is that of all lines up to constants
    """

    field: Array
    factor: float
    line: Array | None = None


NO_DRIFT = Drift(np.zeros(1), 0.0)


class Axis(Protocol):
    """The implicit step along one factor."""

    def advance(self, density: Array, drift: Drift, time: float, diffusivity: float, second_order: bool) -> Array:
        """The density after `time`, of second or first order."""

    def alike_line(self, grid: Grid, xi: Array, axis: int) -> Array | None:
        """ξ of the first line along this factor, (n, 1), where it is that of all of them up to constants; else None."""

    def sums(self, density: Array, xi: Array) -> tuple[float, float, float]:
        """See `line_sums.drift_and_diffusion`."""

    def dissipation(self, density: Array, xi: Array, log: Array, factor: float) -> float:
        """See `line_sums.dissipation`."""


class LineAxis:
    """Along an interval or a circle.

    stride : cells in memory from one of a line to the next; mobility : of every line; across : volumes that go with them, both
    (n_lines,) in the order of the cells
    """

    def __init__(self, line: Factor, stride: int, mobility: Array, across: Array) -> None:
        rate = np.ascontiguousarray((line.areas / line.distances)[:-1])
        self.line, self.stride = Line(line.volumes, 1 / line.volumes, rate, line.period > 0), stride
        self.mobility, self.across = mobility, mobility * across
        self.alike = bool(np.ptp(self.mobility) == 0)
        self.still = np.zeros((line.size, 1))
        self.last_rates: tuple[Array, float, float, tuple[Array, Array]] | None = None

    def advance(self, density: Array, drift: Drift, time: float, diffusivity: float, second_order: bool) -> Array:
        out = np.empty_like(density)
        flat, before, field, lines = out.reshape(-1), density.reshape(-1), drift.field.reshape(-1), self.mobility.size
        one = self.still if drift.field.size == 1 else drift.line  # NO_DRIFT
        line, stride, factor = self.line, self.stride, drift.factor
        rates = self.rates(one, diffusivity, factor) if self.alike and second_order and one is not None else None

        def work(first: int, last: int) -> None:
            """Blocks of lines."""
            first, last = first * BLOCK, min(last * BLOCK, lines)
            if rates is not None:
                spread_lines(flat, before, *rates, line, stride, time, first, last)
            else:
                arrays = flat, before, field, self.mobility
                advance_lines(*arrays, line, stride, time, diffusivity, factor, second_order, first, last)

        blocks = -(-lines // BLOCK)
        if density.size < SHARED_MIN:
            work(0, blocks)
        else:
            share_out(work, blocks)
        return out

    def rates(self, one: Array, diffusivity: float, factor: float) -> tuple[Array, Array]:
        """`rates_of_line`, kept from step to step."""
        if self.last_rates is None or self.last_rates[0] is not one or self.last_rates[1:3] != (diffusivity, factor):
            rates = rates_of_line(self.line, one[:, 0], diffusivity * float(self.mobility[0]), factor)
            self.last_rates = one, diffusivity, factor, rates
        return self.last_rates[3]

    def alike_line(self, grid: Grid, xi: Array, axis: int) -> Array | None:
        return alike_line(grid, np.moveaxis(xi, axis, 0).reshape(grid.shape[axis], -1))

    def sums(self, density: Array, xi: Array) -> tuple[float, float, float]:
        drift, diffusion, total = drift_and_diffusion(density.reshape(-1), xi.reshape(-1), self.across, self.line, self.stride)
        return drift, diffusion, total

    def dissipation(self, density: Array, xi: Array, log: Array, factor: float) -> float:
        fields = (field.reshape(-1) for field in (density, xi, log))
        total: float = dissipation(*fields, self.across, self.line, self.stride, factor)
        return total


def alike_line(grid: Grid, values: Array) -> Array | None:
    """The first column of values (n, n_lines), where it is that of all of them up to constants; else None."""
    differs, largest = grid.largest(np.array([np.ptp(values - values[0], axis=1).max(), np.abs(values).max()])).tolist()
    return None if differs > ALIKE * largest else np.ascontiguousarray(values[:, :1])


def line_axis(grid: Grid, axis: int, mobility: Array) -> LineAxis:
    """Along an interval or a circle of a grid, whose lines are in memory."""
    others = tuple(k for k in range(len(grid.shape)) if k != axis)
    return LineAxis(grid.factors[axis], prod(grid.shape[axis + 1 :]), of_lines(grid, axis, mobility), grid.flat_volumes(others))


def of_lines(grid: Grid, axis: int, mobility: Array) -> Array:
    """M of every line along a factor, (n_lines,), in the order of the cells."""
    return np.ascontiguousarray(np.broadcast_to(mobility, grid.shape).take(0, axis=axis).reshape(-1))
