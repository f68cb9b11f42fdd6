"""Temperature and diffusion implicitly, factor by factor: how a density moves where steps are not bound to h².

A = Σ_k A_k, A_k the fluxes of drift and diffusion, or of diffusion alone, along factor k (`gridflow.scheme.finite_volume.lines`).
With ξ fixed, one step is the palindrome of half steps along all factors but the one with the most cells, a whole one along that,
and the half steps in reverse (Strang 1968). Where ξ moves with ρ it is taken from the middle of the step, to which a step of
first order leads, so that the order is 2.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
import scipy

from gridflow.energy.base import Evaluation
from gridflow.flow.term import Advance, Point
from gridflow.scheme.finite_volume.lines import GAMMA, Line, advance_lines
from gridflow.scheme.finite_volume.spread import spread_lines
from gridflow.space.factor import Array, Indices
from gridflow.space.grid import Grid
from gridflow.space.mesh import Mesh, surface_of

ALIKE = 64 * float(np.finfo(float).eps)
"""Difference of two lines of ξ, relative to the largest |ξ|, that counts as round-off."""


class Drift(NamedTuple):
    """What drives the mass along a factor: factor·(ξ_c − ξ_o), factor = 1/D, 0 for diffusion alone.

    field : ξ, shape of the grid; line : ξ of one line, (n, 1), where it is that of all lines up to constants
    """

    field: Array
    factor: float
    line: Array | None = None


RESOLVENTS_KEPT = 4
"""Of a surface: those of a step and of half of it, on one matrix."""
NO_DRIFT = Drift(np.zeros(1), 0.0)


class Axis(Protocol):
    """The implicit step along one factor."""

    def advance(self, density: Array, drift: Drift, time: float, diffusivity: float, second_order: bool) -> Array:
        """The density after `time`, of second or first order."""


class LineAxis:
    """Along an interval or a circle."""

    def __init__(self, grid: Grid, axis: int, mobility: Array) -> None:
        line = grid.factors[axis]
        rate = np.ascontiguousarray((line.areas / line.distances)[:-1])
        self.line = Line(line.volumes, 1 / line.volumes, rate, line.period > 0)
        self.stride = int(np.prod(grid.shape[axis + 1 :]))
        self.mobility = of_lines(grid, axis, mobility)
        self.alike = bool(np.ptp(self.mobility) == 0)
        self.still = np.zeros((line.size, 1))

    def advance(self, density: Array, drift: Drift, time: float, diffusivity: float, second_order: bool) -> Array:
        out = np.empty_like(density)
        flat, before, factor, lines = out.reshape(-1), density.reshape(-1), drift.factor, self.mobility.size
        one = self.still if factor == 0.0 else drift.line
        if self.alike and second_order and one is not None:
            spread_lines(flat, before, one, self.line, self.stride, time, diffusivity * self.mobility[0], factor, 0, lines)
        else:
            arrays = flat, before, drift.field.reshape(-1), self.mobility
            advance_lines(*arrays, self.line, self.stride, time, diffusivity, factor, second_order, 0, lines)
        return out


class SurfaceAxis:
    """Along a surface: the same resolvents by sparse elimination, which for these matrices needs no pivots and keeps ρ ≥ 0."""

    def __init__(self, grid: Grid, axis: int, mobility: Array, mesh: Mesh) -> None:
        self.mesh, self.axis = mesh, axis
        self.mobility = of_lines(grid, axis, mobility)
        self.slope: Array | None = None
        self.matrix = scipy.sparse.csc_matrix((mesh.size, mesh.size))
        self.resolvents: dict[float, scipy.sparse.linalg.SuperLU] = {}

    def advance(self, density: Array, drift: Drift, time: float, diffusivity: float, second_order: bool) -> Array:
        mesh = self.mesh
        columns = np.moveaxis(density, self.axis, 0)
        masses = columns.reshape(mesh.size, -1) * mesh.volumes[:, None]
        slope = np.zeros((mesh.size, 1))
        if drift.factor > 0:
            slope = drift.factor * np.moveaxis(drift.field, self.axis, 0).reshape(mesh.size, -1)
        after = np.empty_like(masses)
        for group in self.groups(slope):
            one, rate = slope[:, group[0] % slope.shape[1]], diffusivity * float(self.mobility[group[0]])
            after[:, group] = self.advanced(masses[:, group], one, rate * time, second_order)
        densities = np.maximum(after, 0.0) / mesh.volumes[:, None]
        return np.ascontiguousarray(np.moveaxis(densities.reshape(columns.shape), 0, self.axis))

    def groups(self, slope: Array) -> list[Indices]:
        """Columns that share one matrix: those of the same mobility and of the same drift, up to constants."""
        if alike_line(slope) is None:
            return list(np.arange(self.mobility.size)[:, None])
        values, which = np.unique(self.mobility, return_inverse=True)
        return [np.flatnonzero(which == k) for k in range(values.size)]

    def generator(self, slope: Array) -> "scipy.sparse.csc_matrix":
        """A of one column, acting on masses, for unit diffusivity; slope : ξ/D, up to a constant. The last one is kept."""
        mesh, slope = self.mesh, slope - slope[0]
        if self.slope is not None and np.array_equal(slope, self.slope):
            return self.matrix
        self.slope = slope
        self.resolvents.clear()
        left, right, rate = mesh.faces
        step = slope[left] - slope[right]
        ahead, back = bernoulli(step)
        gives, takes = rate * ahead / mesh.volumes[left], rate * back / mesh.volumes[right]
        rows = np.concatenate([right, left, left, right])
        places = np.concatenate([left, right, left, right])
        entries = np.concatenate([gives, takes, -gives, -takes])
        self.matrix = scipy.sparse.csc_matrix((entries, (rows, places)), (mesh.size, mesh.size))
        return self.matrix

    def advanced(self, masses: Array, slope: Array, time: float, second_order: bool) -> Array:
        """R of `lines`, or one resolvent; columns that R leaves negative are redone. time : in units of 1/diffusivity"""
        generator = self.generator(slope)
        if not second_order:
            return np.asarray(self.resolvent(time).solve(masses))
        resolvent = self.resolvent(GAMMA * time)
        after: Array = resolvent.solve(resolvent.solve(masses + (1 - 2 * GAMMA) * time * (generator @ masses)))
        negative = after.min(axis=0) < 0
        if negative.any():
            resolvent = self.resolvent(0.5 * time)
            after[:, negative] = resolvent.solve(resolvent.solve(masses[:, negative]))
        return after

    def resolvent(self, time: float) -> "scipy.sparse.linalg.SuperLU":
        """The factors of I − time·A for the last generator; the last few are kept."""
        if time not in self.resolvents:
            if len(self.resolvents) == RESOLVENTS_KEPT:
                self.resolvents.pop(next(iter(self.resolvents)))
            matrix = (scipy.sparse.identity(self.mesh.size, format="csc") - time * self.matrix).tocsc()
            options = {"SymmetricMode": True}
            factors = scipy.sparse.linalg.splu(matrix, permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options=options)
            self.resolvents[time] = factors
        return self.resolvents[time]


def bernoulli(s: Array) -> tuple[Array, Array]:
    """(B(−s), B(s)), B(s) = s/(eˢ − 1), as (s/2)coth(s/2) ± s/2: to round-off of the larger one."""
    half = 0.5 * s
    with np.errstate(invalid="ignore"):
        mean = np.where(np.abs(s) > 1e-8, half / np.tanh(half), 1.0)
    return np.maximum(mean + half, 0.0), np.maximum(mean - half, 0.0)


def alike_line(values: Array) -> Array | None:
    """The first column of values (n, n_lines), where it is that of all of them up to constants; else None."""
    differs = np.ptp(values - values[0], axis=1).max() > ALIKE * np.abs(values).max()
    return None if differs else np.ascontiguousarray(values[:, :1])


def of_lines(grid: Grid, axis: int, mobility: Array) -> Array:
    """M of every line along a factor, (n_lines,), in the order of the cells."""
    return np.ascontiguousarray(np.broadcast_to(mobility, grid.shape).take(0, axis=axis).reshape(-1))


def axis_of(grid: Grid, axis: int, mobility: Array) -> Axis:
    """The implicit step along a factor."""
    mesh = surface_of(grid.factors[axis])
    return LineAxis(grid, axis, mobility) if mesh is None else SurfaceAxis(grid, axis, mobility, mesh)


class Implicit:
    """Steps along all factors that diffuse.

    mobility : M of every factor, which broadcasts against the grid; temperature : D, so that D·M is the diffusivity and D the
    unit of the potential that drives; linear : this potential does not depend on ρ
    """

    def __init__(self, grid: Grid, mobility: Sequence[Array], temperature: float, linear: bool = True) -> None:
        self.grid, self.mobility, self.temperature, self.linear = grid, mobility, temperature, linear
        moving = [k for k, f in enumerate(grid.factors) if f.moves and temperature * mobility[k].max() > 0]
        self.moving = sorted(moving, key=lambda k: grid.factors[k].size)
        self.axes = {k: axis_of(grid, k, mobility[k]) for k in moving}
        self.constant = all(m.size == 1 for m in mobility)
        self.drifts: dict[int, Drift] = {}  # along every factor where ξ is linear and has been seen

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
            line = alike_line(np.moveaxis(xi, axis, 0).reshape(self.grid.shape[axis], -1))
            self.drifts[axis] = Drift(xi, 1 / self.temperature, line)
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
        return density * (before / self.grid.integrate(density))  # round-off, kept from adding up

    def along(self, density: Array, drift: Drift, axis: int, time: float, *, second_order: bool) -> Array:
        """Along one factor."""
        return self.axes[axis].advance(density, drift, time, self.temperature, second_order)

    def sides(self, field: Array, axis: int) -> tuple[Array, Array]:
        """A field at the cells on both sides of the faces along a factor."""
        factor = self.grid.factors[axis]
        if factor.walls is None:
            left, right, _ = factor.faces
            return field.take(left, axis), field.take(right, axis)
        before = (slice(None),) * axis
        return field[(*before, slice(None, -1))], field[(*before, slice(1, None))]  # views

    def weight(self, axis: int) -> Array:
        """D·M·A/d of the faces along a factor times the volume across; broadcasts against `sides`."""
        grid, factor = self.grid, self.grid.factors[axis]
        volume, _ = self.sides(grid.volume / grid.along(axis, factor.volumes), axis)
        return volume * grid.along(axis, factor.faces.rate) * (self.mobility[axis] * self.temperature)

    def peclet(self, density: Array, xi: Array) -> float:
        """(∫ρM|grad ξ|² / ∫ρM|D grad log ρ|²)^½, the root mean square of the drift over that of diffusion: 1 at rest."""
        log, drift, diffusion = np.log(np.maximum(density, np.finfo(float).tiny)), 0.0, 0.0
        for axis in self.moving:
            weight = self.weight(axis) * np.add(*self.sides(density, axis))
            for_xi, for_log = np.subtract(*self.sides(xi, axis)), np.subtract(*self.sides(log, axis))
            drift += float(np.vdot(weight, for_xi * for_xi))
            diffusion += float(np.vdot(weight, for_log * for_log))
        return float(np.sqrt(drift / diffusion)) / self.temperature if diffusion > 0 else np.inf if drift > 0 else 0.0

    def cell_peclet(self, density: Array, xi: Array) -> float:
        """Root mean square of |ξ_c − ξ_o|/D over the mass at the faces, the largest of all factors."""
        masses, largest = density * self.grid.volume, 0.0
        for axis in self.moving:
            mass, step = np.add(*self.sides(masses, axis)), np.subtract(*self.sides(xi, axis))
            largest = max(largest, float(np.vdot(mass, step * step) / mass.sum()))
        return largest**0.5 / self.temperature

    def dissipation(self, density: Array, xi: Array) -> float:
        """Σ F_f (ξ + D log ρ)|_o^c over the faces, ≥ 0, for the fitted fluxes F: −dF/dt of fitted steps, short ones."""
        log, total = self.temperature * np.log(np.maximum(density, np.finfo(float).tiny)), 0.0
        for axis in self.moving:
            step = np.subtract(*self.sides(xi, axis))
            ahead, back = bernoulli(step / self.temperature)
            flux = np.subtract(*(rate * side for rate, side in zip((ahead, back), self.sides(density, axis), strict=True)))
            total += float(np.vdot(self.weight(axis) * flux, step + np.subtract(*self.sides(log, axis))))
        return total

    def first_time(self) -> float:
        """h²/D of the smallest cell: a step that is hardly too long for any density."""
        grid, times = self.grid, [np.inf]
        for axis in self.moving:
            factor, largest = grid.factors[axis], self.temperature * float(self.mobility[axis].max())
            times.append(float(factor.volumes.min()) ** (2 / factor.dimension) / largest)
        return min(times)


@dataclass(frozen=True)
class Spread:
    """Diffusion alone, as a part of a step that is split off."""

    implicit: Implicit

    def advance(self, point: Point, time: float) -> Advance:
        """exp(time·Σ A_k)."""
        return Advance(self.implicit.spread(point.density, time))

    def change(self, before: Evaluation, after: Evaluation, density: Array, carried: float) -> None:
        """Nothing that limits a step."""
