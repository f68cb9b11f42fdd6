"""The implicit step along a surface: the resolvents of `gridflow.scheme.finite_volume.lines` by sparse elimination."""

from collections.abc import Iterator

import numpy as np
import scipy

from gridflow.errors import SolveError
from gridflow.scheme.finite_volume.axis import Drift, alike_line, of_lines
from gridflow.scheme.finite_volume.lines import GAMMA, ROOT
from gridflow.scheme.finite_volume.spread import bernoulli
from gridflow.space.factor import Array, Indices
from gridflow.space.grid import Grid
from gridflow.space.mesh import Mesh

RESOLVENTS_KEPT = 4
"""Of a surface: those of a step and of half of it, on one matrix."""


class SurfaceAxis:
    """Along a surface: the same resolvents by sparse elimination, which for these matrices needs no pivots and keeps ρ ≥ 0."""

    def __init__(self, grid: Grid, axis: int, mobility: Array, mesh: Mesh) -> None:
        self.grid, self.mesh, self.axis = grid, mesh, axis
        self.mobility = of_lines(grid, axis, mobility)
        self.across = self.mobility * grid.flat_volumes(tuple(k for k in range(len(grid.shape)) if k != axis))
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

    def alike_line(self, grid: Grid, xi: Array, axis: int) -> Array | None:
        return alike_line(grid, np.moveaxis(xi, axis, 0).reshape(self.mesh.size, -1))

    def columns(self, *fields: Array) -> Iterator[Array]:
        """Fields as (cells of the surface, all others)."""
        return (np.moveaxis(field, self.axis, 0).reshape(self.mesh.size, -1) for field in fields)

    def dissipation(self, density: Array, xi: Array, log: Array, factor: float) -> float:
        left, right, rate = self.mesh.faces
        rho, potential, log = self.columns(density, xi, log)
        slope = factor * (potential[left] - potential[right])
        ahead, back = bernoulli(slope)
        flux = rate[:, None] * self.across * (ahead * rho[left] - back * rho[right])
        return float(np.vdot(flux, slope + log[left] - log[right]))

    def sums(self, density: Array, xi: Array) -> tuple[float, float, float]:
        left, right, rate = self.mesh.faces
        rho, potential = self.columns(density, xi)
        weight, both = rate[:, None] * self.across, rho[left] + rho[right]
        rise, step = potential[left] - potential[right], rho[left] - rho[right]
        diffusion = 4 * step * step / (both + np.finfo(float).tiny)
        return float(np.vdot(weight, both * rise * rise)), float(np.vdot(weight, diffusion)), float(np.vdot(weight, both))

    def groups(self, slope: Array) -> list[Indices]:
        """Columns that share one matrix: those of the same mobility and of the same drift, up to constants."""
        if alike_line(self.grid, slope) is None:
            return list(np.arange(self.mobility.size)[:, None])
        values, which = np.unique(self.mobility, return_inverse=True)
        return [np.flatnonzero(which == k) for k in range(values.size)]

    def take(self, slope: Array) -> None:
        """Makes A of one column, acting on masses, for unit diffusivity; slope : ξ/D, up to a constant. The last one is kept."""
        mesh, slope = self.mesh, slope - slope[0]
        if self.slope is not None and np.array_equal(slope, self.slope):
            return
        self.slope = slope
        self.resolvents.clear()
        left, right, rate = mesh.faces
        ahead, back = bernoulli(slope[left] - slope[right])
        gives, takes = rate * ahead / mesh.volumes[left], rate * back / mesh.volumes[right]
        rows = np.concatenate([right, left, left, right])
        places = np.concatenate([left, right, left, right])
        entries = np.concatenate([gives, takes, -gives, -takes])
        self.matrix = scipy.sparse.csc_matrix((entries, (rows, places)), (mesh.size, mesh.size))

    def advanced(self, masses: Array, slope: Array, time: float, second_order: bool) -> Array:
        """R of `lines`, or one resolvent; columns that R leaves negative are redone. time : in units of 1/diffusivity"""
        self.take(slope)
        if not second_order:
            return self.resolved(masses, time)
        once = self.resolved(masses, GAMMA * time)
        after = self.resolved((1 + ROOT) * once - ROOT * masses, GAMMA * time)
        negative = after.min(axis=0) < 0
        if negative.any():
            after[:, negative] = self.resolved(self.resolved(masses[:, negative], 0.5 * time), 0.5 * time)
        return after

    def resolved(self, masses: Array, time: float) -> Array:
        """(I − time·A)⁻¹ masses. Its columns sum to 1 but for round-off in long steps: every mass is brought back."""
        after: Array = self.resolvent(time).solve(masses)
        sums, kept = after.sum(axis=0), masses.sum(axis=0)
        return after * np.where(sums != 0, kept / np.where(sums != 0, sums, 1.0), 1.0)

    def resolvent(self, time: float) -> "scipy.sparse.linalg.SuperLU":
        """The factors of I − time·A for the last generator; the last few are kept."""
        if time not in self.resolvents:
            if len(self.resolvents) == RESOLVENTS_KEPT:
                self.resolvents.pop(next(iter(self.resolvents)))
            matrix = (scipy.sparse.identity(self.mesh.size, format="csc") - time * self.matrix).tocsc()
            options = {"SymmetricMode": True}
            try:
                factors = scipy.sparse.linalg.splu(matrix, permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options=options)
            except RuntimeError as error:  # "Factor is exactly singular": rates beyond 1/round-off
                raise SolveError(f"an implicit step of {time:.3g} diffusion times on {self.mesh.name!r} is singular") from error
            self.resolvents[time] = factors
        return self.resolvents[time]
