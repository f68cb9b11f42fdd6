"""Sliding along kinks of ξ: a viscosity across them (`gridflow.scheme.finite_volume.sliding_tensor`) as parts of a step.

Its diagonal is implicit, a split step along every axis half a step before the transport and half a step after it, in reverse
order; a temperature adds to it there. Face values and cross fluxes go with the stages of the transport
(`gridflow.scheme.finite_volume.sliding_fluxes`). No part bounds dt: in a kink, drift and viscosity balance, and what a step does
to its profile, of a width fixed in cells, would not become small with dt as the limits of accuracy have it, which are measured
beside kinks (`gridflow.scheme.finite_volume.implicit_stepper` for those with fitted steps). Where A = 0 nothing is computed.

Mass in a kink is spread over a width fixed in cells. The mean of what slides does not converge to that of the exact flow but to
0.98 to 1.00 of it, depending on the angle, while its W1 distance along the valley converges (`validation/valley.py`).

Across a kink with unequal slopes the spread mass is heavier on the flat side, and its mean is off by O(h): with slopes 1.5 and
0.5 by 0.9 cells, with 1.95 and 0.05 by 1.7 cells along the grid and 2.1 at an angle of 0.5 (`tests/test_sliding.py`).

The viscosity does work: E may rise by ⟨ξ, ρ' − ρ⟩, which is measured in every part (`work_of_step`), and by no more where E is
convex, with ξ from the end of a split part, since E(ρ') − E(ρ) ≤ ⟨ξ(ρ'), ρ' − ρ⟩.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from gridflow.energy.base import Evaluation
from gridflow.errors import require
from gridflow.flow.term import Advance, Point
from gridflow.scheme.finite_volume.axis import Drift, LineAxis, line_axis
from gridflow.scheme.finite_volume.sliding_fluxes import (
    add_cross_flux,
    add_flux_along,
    add_leaving,
    blend_faces,
    energy_of_change,
    flush,
    move,
    to_shares,
)
from gridflow.scheme.finite_volume.sliding_stencils import Along, central
from gridflow.scheme.finite_volume.sliding_tensor import SlidingTensor, Tensor
from gridflow.space.factor import Array
from gridflow.space.grid import Grid


def check_sliding(grid: Grid, order: int, fitted: bool) -> None:
    """Raises InputError where the viscosity cannot act. fitted : the fluxes of the sweep contain a temperature."""
    what = "scheme.sliding = true"
    require(order == 2, f"{what} with order = 1", "order = 2, whose face values it changes", "remove one of them")
    moving = [f for f, m in zip(grid.factors, grid.mobility, strict=True) if f.moves and m.max() > 0]
    surfaces = ", ".join(f.name for f in moving if not f.one_dimensional)
    allowed = "intervals, circles and labels, and surfaces with mobility 0"
    require(not surfaces, f"{what} on the surface {surfaces}", allowed, "remove scheme.sliding")
    one = f"{what} where mass moves along {len(moving)} interval or circle"
    require(len(moving) > 1, one, "at least two: a kink is oblique to two", "remove scheme.sliding")
    fix = 'use scheme.diffusion = "implicit"'
    require(not fitted, f'{what} with scheme.diffusion = "scharfetter-gummel"', "a temperature that is split off", fix)


@dataclass(frozen=True)
class SlideAlong:
    """Diffusion along one axis by A_kk, and by a temperature, as a part of a step that is split off."""

    grid: Grid
    axis: LineAxis
    viscosity: Drift
    temperature: float

    def advance(self, point: Point, time: float) -> Advance:
        """exp(time·∂_k (A_kk + D M) ∂_k)."""
        density = self.axis.advance(point.density, self.viscosity, time, self.temperature, True)
        density *= self.grid.integrate(point.density) / self.grid.integrate(density)  # round-off, kept from adding up
        return Advance(density)

    def change(self, before: Evaluation, after: Evaluation, density: Array, carried: float) -> None:
        """Nothing that limits a step."""


class Memory(NamedTuple):
    """Working memory, (n_cells,) each: fresh memory would cost more than the sums. fluxes : by axis"""

    slope: Array
    leaving: Array
    fluxes: dict[int, Array]


class Viscosity:
    """The viscosity of one step."""

    def __init__(self, grid: Grid, axes: dict[int, LineAxis], tables: dict[int, Along], tensor: Tensor, memory: Memory) -> None:
        self.grid, self.axes, self.tables, self.tensor, self.memory = grid, axes, tables, tensor, memory

    def steps(self, temperature: float) -> list[SlideAlong]:
        """The implicit parts, one for each axis; a temperature diffuses beside the viscosity."""
        diagonal = self.tensor.diagonal
        return [SlideAlong(self.grid, axis, Drift(diagonal[k], 0.0), temperature) for k, axis in self.axes.items()]

    def correct(self, out: Array, rho: Array, xi: Array, time: float) -> tuple[float, float]:
        """Add face values and cross fluxes to what a stage made of `rho`.

        All arrays have the layout of a density on the grid, in any shape; time : dt, or dt/2 in second stages. Returns the sums
        Σ V ξ·(change) by the cross fluxes, and by all that moves through faces with a viscosity.
        """
        kinks, volume = 0.0, self.grid.volume
        leaving, fluxes = self.memory.leaving, self.fluxes(rho)
        leaving[:] = 0.0
        for k, axis in self.axes.items():
            kinks += blend_faces(*self.along(k, out, rho, xi, self.tensor.tau, volume), axis.mobility, axis.line, time)
        for k, axis in self.axes.items():
            add_leaving(*self.along(k, leaving, fluxes[k]), axis.line, time)
        to_shares(leaving, out.reshape(-1))
        work = self.move(out, fluxes, leaving, xi, time)
        flush(out.reshape(-1))
        return work, kinks + work

    def power(self, rho: Array, xi: Array) -> float:
        """Rate at which the viscosity raises the energy, by diffusion and by other face values. ≥ 0 but for those."""
        change, fluxes = np.zeros(rho.size), self.fluxes(rho)
        for k, axis in self.axes.items():
            blend_faces(*self.along(k, change, rho, xi, self.tensor.tau, self.grid.volume), axis.mobility, axis.line, 1.0)
            add_flux_along(*self.along(k, fluxes[k], self.tensor.diagonal[k], rho), axis.mobility, axis.line)
        blended = float(np.vdot(change * self.grid.volume.reshape(-1), xi))
        return blended + self.move(change, fluxes, np.ones(rho.size), xi, 1.0)

    def fluxes(self, rho: Array) -> dict[int, Array]:
        """The cross fluxes along every axis, in the working memory."""
        slope, fluxes = self.memory.slope, self.memory.fluxes
        for flux in fluxes.values():
            flux[:] = 0.0
        for k in self.axes:
            table = self.tables[k]
            central(*self.along(k, slope, rho), table.cells, table.inverse_span_inside)
            for other in (m for m in self.axes if m != k):
                mixed = self.tensor.mixed[min(k, other), max(k, other)]
                add_cross_flux(*self.along(other, fluxes[other], mixed, slope), self.axes[other].line.circle)
        return fluxes

    def move(self, out: Array, fluxes: dict[int, Array], share: Array, xi: Array, time: float) -> float:
        """Move what all fluxes bring in `time`; returns Σ V ξ·(change)."""
        work = 0.0
        for k, axis in self.axes.items():
            work += move(*self.along(k, out, fluxes[k], share, xi, self.grid.volume), axis.line, time)
        return work

    @cached_property
    def volume_beside(self) -> Array:
        """Volumes of the cells where nothing of it acts, 0 elsewhere."""
        return np.where(self.tensor.tau > 0, 0.0, self.grid.volume)

    def work_of_step(self, before: Sequence[Point], behind: Sequence[Point], stages: float) -> float:
        """Energy that the viscosity may have added in a step: by its split parts before and behind the transport, and its stages.

        before, behind : the points around the split parts; stages : the work of the cross fluxes
        """
        work, parts = stages, len(self.axes)
        for start, end in ((before[-1 - parts], before[-1]), (behind[0], behind[parts])):
            fields = end.evaluation.first_variation, start.density, end.density, self.grid.volume
            work += max(0.0, energy_of_change(*(field.reshape(-1) for field in fields)))
        return work

    def along(self, axis: int, *fields: Array) -> Iterator[Array]:
        """Fields as (before, n, after) of an axis, views."""
        n, after = self.grid.shape[axis], self.axes[axis].stride
        return (field.reshape(self.grid.size // (n * after), n, after) for field in fields)


class Sliding:
    """The viscosity of every step on one grid."""

    def __init__(self, grid: Grid) -> None:
        self.grid = grid
        axes = [k for k, (f, m) in enumerate(zip(grid.factors, grid.mobility, strict=True)) if f.moves and m.max() > 0]
        self.axes = {k: line_axis(grid, k, grid.mobility[k]) for k in axes}
        self.tensor = SlidingTensor(grid, axes)
        self.memory = Memory(np.empty(grid.size), np.empty(grid.size), {k: np.empty(grid.size) for k in axes})
        self.last: tuple[Array, Viscosity | None] | None = None

    def viscosity(self, xi: Array) -> Viscosity | None:
        """The viscosity of ξ, or None where it is 0; that of the last ξ is kept, and overwritten by the next."""
        if self.last is None or self.last[0] is not xi:
            tensor = self.tensor.of(xi)
            self.last = xi, None if tensor is None else Viscosity(self.grid, self.axes, self.tensor.tables, tensor, self.memory)
        return self.last[1]
