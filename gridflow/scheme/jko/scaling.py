"""Over-relaxed scaling for one entropic JKO step, from coarse to fine grids, in logarithms.

For a given first variation ξ a step without inner loop over the energy solves, for φ = log a,

    (1 + g)φ = −(2τ/ε)ξ − g log K e^u,    u = log q − log K e^φ,    g = 2τD/ε − β

(β is what the bias takes out of the entropy, `gridflow.scheme.jko.scheme`). Alternating both equations converges for every start;
both are over-relaxed by ω = 2/(1 + √(1 − g/(1 + g))), the best factor near the solution, where the error then falls like
m(ω − 1)^m in m sweeps. Far from it, in cells that are all but empty, over-relaxation may also swing without end. Alternation
itself never does for g > −½: log K e^u is Lipschitz with constant 1 in the largest norm, so that a sweep with ω = 1 multiplies
the error by |g|/(1 + g) or less. (At g = −½, compensation without temperature, ω = 0.83 < 1 is what damps it.)
Hence ω is halved towards 1, from the best point so far, wherever a window of 4/(2 − ω) sweeps does not halve
the error; near the solution it divides it by ten. The potential εφ hardly depends on ε, so that coarser grids with their larger
ε give good starts.
"""

from dataclasses import dataclass

import numpy as np

from gridflow.scheme.jko.gibbs import GibbsKernel
from gridflow.space.factor import Array
from gridflow.space.grid import Grid

COARSEST = 16
"""Cells per line of the coarsest grid."""
COARSE_TOLERANCE = 1e-3
"""Error of the marginal in L1 on the coarse grids: their own error is larger."""


def relaxed_scaling(
    kernel: GibbsKernel,
    before: Array,
    log_before: Array,
    drive: Array,
    g: float,
    start: Array,
    tolerance: float,
    sweeps: int,
) -> tuple[Array, int]:
    """φ for a given drive (2τ/ε)ξ, with the marginal q met to the tolerance in L1, and the number of sweeps that it took.

    before : masses qV
    """
    share, fixed = g / (1 + g), -drive / (1 + g)
    omega = 2 / (1 + np.sqrt(1 - share))
    potential, u = start, log_before - kernel.apply_log(start)
    best, kept, allowed, since = np.inf, (potential, u), np.inf, 0
    for sweep in range(1, sweeps + 1):
        potential = (1 - omega) * potential + omega * (fixed - share * kernel.apply_log(u))
        exact = log_before - kernel.apply_log(potential)
        error, since = float(kernel.grid.largest(np.abs(u - exact).max())), since + 1
        if error < tolerance:
            return potential, sweep
        u = (1 - omega) * u + omega * exact
        if error < best:
            best, kept = error, (potential, u)
        if error > 100 * best or (since >= 4 / (2 - omega) and best > 0.5 * allowed):  # swings
            omega, (potential, u), allowed, since = 1 + (omega - 1) / 2, kept, best, 0
        elif since >= 4 / (2 - omega):
            allowed, since = best, 0
    return kept[0], sweeps


@dataclass(frozen=True)
class Hierarchy:
    """Grids with half the cells along every line that allows it, and their kernels with four times the ε, from fine to coarse.

    Of a slab the coarser ones are whole, and every rank has them.
    """

    grids: list[Grid]
    kernels: list[GibbsKernel]

    @classmethod
    def below(cls, grid: Grid, kernel: GibbsKernel) -> "Hierarchy":
        """The grids with two, four, … times wider cells."""
        grids, kernels = [grid], [kernel]
        while (coarse := coarse_grid(grids[-1].whole)) is not None:
            grids.append(coarse)
            kernels.append(GibbsKernel(coarse, 4 * kernels[-1].epsilon))
        return cls(grids, kernels)

    def start(self, log_before: Array, drive: Array, g: float, beta: float, sweeps: int) -> Array:
        """φ of the finest grid, from over-relaxed scaling on all coarser ones; drive = (2τ/ε)ξ, g = 2τD/ε − β."""
        masses, drives = [np.exp(log_before) * self.grids[0].volume], [drive]
        for fine, coarse in zip(self.grids[:-1], self.grids[1:], strict=True):
            masses.append(restriction(masses[-1], coarse.shape, fine))
            drives.append(restriction(drives[-1] * fine.volume, coarse.shape, fine) / coarse.volume / 4)
        potential, lowest = None, -float(self.grids[0].largest(-log_before.min()))
        for level in range(len(self.grids) - 1, 0, -1):
            grid, kernel = self.grids[level], self.kernels[level]
            density = masses[level] / grid.volume
            with np.errstate(divide="ignore"):
                logs = np.maximum(np.log(density), lowest)
            g_level = (g + beta) / 4**level - beta
            begin = -drives[level] / (1 + g_level) if potential is None else potential
            found, _ = relaxed_scaling(kernel, masses[level], logs, drives[level], g_level, begin, COARSE_TOLERANCE, sweeps)
            after = found + kernel.apply_log(logs - kernel.apply_log(found))
            kept = beta * np.maximum(after, after.max() - 80.0)  # what does not scale with 1/ε
            potential = prolongation(4 * (found - kept) + kept, self.grids[level - 1].whole)
        return -drive / (1 + g) if potential is None else self.grids[0].scatter(potential)


def coarse_grid(grid: Grid) -> Grid | None:
    """The grid with the cells of its lines joined in pairs; None where no line is long and even enough."""
    factors = [f.coarsening(COARSEST) for f in grid.factors]
    if all(f.size == coarse.size for f, coarse in zip(grid.factors, factors, strict=True)):
        return None
    mobility = {}
    for factor, values in zip(grid.factors, grid.mobility, strict=True):
        source = next((f.name for f, n in zip(grid.factors, values.shape, strict=True) if n > 1), None)
        mobility[factor.name] = (source, values.ravel())
    coarse = Grid(factors, mobility)
    return coarse if coarse.order == grid.order else None


def restriction(masses: Array, shape: tuple[int, ...], grid: Grid) -> Array:
    """Sums over the pairs of cells that were joined; on the whole coarse grid, also those of a slab."""
    for axis, n in enumerate(shape):
        cells = grid.cells_of((axis,))
        if not isinstance(cells, slice):  # along the cut
            found = np.zeros((*masses.shape[:axis], n, *masses.shape[axis + 1 :]))
            places = cells // (grid.whole.shape[axis] // n)
            np.add.at(np.moveaxis(found, axis, 0), places, np.moveaxis(masses, axis, 0))
            masses = grid.total(found)
        elif masses.shape[axis] != n:
            masses = masses.reshape(*masses.shape[:axis], n, 2, *masses.shape[axis + 1 :]).sum(axis=axis + 1)
    return masses


def prolongation(field: Array, grid: Grid) -> Array:
    """A field on the halved grid at the cell points of this one: linear, extrapolated at walls."""
    for axis, factor in enumerate(grid.factors):
        n = field.shape[axis]
        if n == factor.size:
            continue
        first, last = field.take([0], axis), field.take([n - 1], axis)
        if factor.period > 0:
            before, behind = last, first
        else:  # extrapolated to the cells at the walls
            before, behind = 2 * first - field.take([1], axis), 2 * last - field.take([n - 2], axis)
        wide = np.concatenate([before, field, behind], axis)
        left, right = wide.take(range(n), axis), wide.take(range(2, n + 2), axis)
        pairs = np.stack([0.75 * field + 0.25 * left, 0.75 * field + 0.25 * right], axis + 1)
        field = pairs.reshape(*field.shape[:axis], 2 * n, *field.shape[axis + 1 :])
    return field
