"""Temperature and diffusion implicitly, factor by factor: how a density moves where steps are not bound to h².

A = Σ_k A_k, A_k the fluxes of drift and diffusion, or of diffusion alone, along factor k (`gridflow.scheme.finite_volume.lines`).
With ξ fixed, one step is the palindrome of half steps along all factors but the one with the most cells, a whole one along that,
and the half steps in reverse (Strang 1968). Where ξ moves with ρ it is taken from the middle of the step, to which a step of
first order leads, so that the order is 2.
"""

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass
from typing import Self

import numpy as np

from gridflow.energy.base import Evaluation
from gridflow.errors import SolveError
from gridflow.flow.term import Advance, Point
from gridflow.scheme.finite_volume.axis import NO_DRIFT, Axis, Drift, line_axis
from gridflow.scheme.finite_volume.cut_axis import CutAxis
from gridflow.scheme.finite_volume.surface_axis import SurfaceAxis
from gridflow.slabs.slab import Slab
from gridflow.space.factor import Array
from gridflow.space.grid import Grid
from gridflow.space.mesh import surface_of

DRIFT_MIN = 1e-8
"""Of a drift that counts, in temperatures per cell: its square is the round-off of a density."""


def axis_of(grid: Grid, axis: int, mobility: Array) -> Axis:
    """The implicit step along a factor."""
    mesh = surface_of(grid.factors[axis])
    if mesh is not None:
        return SurfaceAxis(grid, axis, mobility, mesh)
    if isinstance(grid, Slab) and axis == grid.axis:
        return CutAxis(grid, mobility)
    return line_axis(grid, axis, mobility)


class Implicit:
    """Steps along all factors that diffuse.

    mobility : M of every factor, which broadcasts against the grid; temperature : D, so that D·M is the diffusivity and D the
    unit of the potential that drives; linear : this potential does not depend on ρ
    """

    def __init__(self, grid: Grid, mobility: Sequence[Array], temperature: float, linear: bool = True) -> None:
        self.grid, self.mobility, self.temperature, self.linear = grid, mobility, temperature, linear
        largest = [float(grid.largest(m.max())) for m in mobility]
        moving = [k for k, f in enumerate(grid.factors) if f.moves and temperature * largest[k] > 0]
        self.moving = sorted(moving, key=lambda k: grid.whole.factors[k].size)
        self.axes = {k: axis_of(grid, k, mobility[k]) for k in moving}
        self.constant = all(m.size == 1 for m in mobility)
        self.drifts: dict[int, Drift] = {}  # along every factor where ξ is linear and has been seen

    def at(self, temperature: float) -> Self:
        """The same for another temperature above 0; it shares lines and matrices."""
        other = copy(self)
        other.temperature = temperature
        other.drifts = {axis: drift._replace(factor=1 / temperature) for axis, drift in self.drifts.items()}
        return other

    def step(self, point: Point, time: float) -> Array:
        """The density after `time`, second order, where lines carry all of the drift."""
        xi = point.evaluation.potential
        if not self.linear:
            middle = point.density
            for axis in self.moving:
                middle = self.along(middle, Drift(xi, 1 / self.temperature), axis, time / 2, second_order=False)
            xi = point.evaluate(middle).potential
        drifts = {axis: self.drift(xi, axis) for axis in self.moving}
        return self.palindrome(point.density, drifts, time)

    def spread(self, density: Array, time: float) -> Array:
        """The same for diffusion alone."""
        return self.palindrome(density, dict.fromkeys(self.moving, NO_DRIFT), time)

    def drift(self, xi: Array, axis: int) -> Drift:
        """The drift along a factor; where ξ does not depend on ρ it is asked once whether all lines have the same."""
        if not self.linear:
            return Drift(xi, 1 / self.temperature)
        if axis not in self.drifts:
            self.drifts[axis] = Drift(xi, 1 / self.temperature, self.axes[axis].alike_line(self.grid, xi, axis))
        return self.drifts[axis]

    def palindrome(self, density: Array, drifts: dict[int, Drift], time: float) -> Array:
        """The density after `time` for fixed drifts. Where all lines are alike the steps commute, and are whole ones."""
        before = self.grid.integrate(density)
        if self.constant and all(drift.factor == 0.0 or drift.line is not None for drift in drifts.values()):
            lengths = [(axis, time) for axis in self.moving]
        else:
            halves = [(axis, time / 2) for axis in self.moving[:-1]]
            lengths = [*halves, (self.moving[-1], time), *halves[::-1]]
        for axis, length in lengths:
            density = self.along(density, drifts[axis], axis, length, second_order=True)
        after = self.grid.integrate(density)
        if not after > 0:
            raise SolveError(f"a density of the mass {after} after an implicit step of {time:.3g}")
        scale = before / after  # round-off, kept from adding up
        return np.multiply(density, scale, out=density) if lengths else density * scale

    def along(self, density: Array, drift: Drift, axis: int, time: float, *, second_order: bool) -> Array:
        """Along one factor."""
        return self.axes[axis].advance(density, drift, time, self.temperature, second_order)

    def sides(self, field: Array, axis: int) -> tuple[Array, Array]:
        """A field at the cells on both sides of the faces along a factor."""
        factor = self.grid.factors[axis]
        if isinstance(self.grid, Slab):
            field = self.grid.with_faces(field, axis)
        if factor.walls is None:
            left, right, _ = factor.faces
            return field.take(left, axis), field.take(right, axis)
        before = (slice(None),) * axis
        return field[(*before, slice(None, -1))], field[(*before, slice(1, None))]  # views

    def peclet(self, density: Array, xi: Array) -> float:
        """(∫ρM|grad ξ|² / ∫ρM|D grad log ρ|²)^½, the root mean square of the drift over that of diffusion: 1 at rest.

        0 where the drift between two cells is below DRIFT_MIN temperatures; infinite where it meets a density without gradient.
        """
        sums = [self.axes[axis].sums(density, xi) for axis in self.moving]
        drift, diffusion, total = self.grid.total(np.sum(sums, axis=0)).tolist()
        if drift <= (DRIFT_MIN * self.temperature) ** 2 * total:
            return 0.0
        return float(np.sqrt(drift / diffusion)) / self.temperature if diffusion > 0 else np.inf

    def cell_peclet(self, density: Array, xi: Array) -> float:
        """Root mean square of |ξ_c − ξ_o|/D over the mass at the faces, the largest of all factors."""
        masses, largest = self.grid.exchange(density * self.grid.volume), 0.0
        for axis in self.moving:
            mass, step = np.add(*self.sides(masses, axis)), np.subtract(*self.sides(xi, axis))
            squares, total = self.grid.total(np.array([np.vdot(mass, step * step), mass.sum()])).tolist()
            largest = max(largest, squares / total)
        return largest**0.5 / self.temperature

    def dissipation(self, density: Array, xi: Array) -> float:
        """Σ F_f (ξ + D log ρ)|_o^c over the faces, ≥ 0, for the fitted fluxes F: −dF/dt of fitted steps, short ones."""
        log = np.log(np.maximum(density, np.finfo(float).tiny))
        falls = (self.axes[axis].dissipation(density, xi, log, 1 / self.temperature) for axis in self.moving)
        return self.temperature**2 * float(self.grid.total(sum(falls)))

    def first_time(self) -> float:
        """h²/D of the smallest cell: a step that is hardly too long for any density."""
        grid, times = self.grid.whole, [np.inf]
        for axis in self.moving:
            factor, largest = grid.factors[axis], self.temperature * float(self.grid.largest(self.mobility[axis].max()))
            times.append(float(factor.volumes.min()) ** (2 / factor.dimension) / largest)
        return min(times)


@dataclass(frozen=True)
class Spread:
    """Diffusion alone, by a temperature or a pressure, as a part of a step that is split off."""

    implicit: Implicit

    def advance(self, point: Point, time: float) -> Advance:
        """exp(time·Σ A_k)."""
        return Advance(self.implicit.spread(point.density, time))

    def change(self, before: Evaluation, after: Evaluation, density: Array, carried: float) -> None:
        """Nothing that limits a step."""
