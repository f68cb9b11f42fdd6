"""Ensembles of a user's own particles, measured like those that gridflow makes.

They are taken as they are: nothing is known of their error in time, of other numbers of particles, nor of what they cost. What
cannot be compared or that makes no sense in the space of the case is wrong input.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from gridflow.errors import require
from gridflow.particles.simulation import Simulator
from gridflow.progress import Progress
from gridflow.space.factor import Array, Factor, columns_of
from gridflow.verdict.ensembles import Series, series_of
from gridflow.verdict.own_particles import OwnRun, Source, own_runs
from gridflow.verdict.plan import Plan
from gridflow.verdict.quantities import CloudSnapshot
from gridflow.verdict.sketches import Sketches
from gridflow.verdict.start import marginals_of_points

ENSEMBLES_MIN = 8
"""As many as cases of gridflow have at least: a 95 % quantile needs pairs."""
OUTSIDE = 1e-6
"""Share of its size by which a position may be off its factor, and of the mass by which weights may: single precision."""
ROUNDOFF = 1e-12
"""Share by which folding changes positions that are inside."""
SAME_TIME = 1e-6
"""A time is one of those compared up to this share of the whole time: single precision."""


@dataclass(frozen=True)
class OwnEnsembles:
    """Runs of equal size that have all times of the plan. Raises InputError for others (`own_ensembles`)."""

    plan: Plan
    simulator: Simulator
    runs: list[OwnRun]

    @property
    def count(self) -> int:
        """Particles of a run."""
        return self.runs[0].points.shape[1]

    @cached_property
    def start(self) -> bool:
        """Whether all runs have time 0."""
        return all(self.number_of(run, 0.0) is not None for run in self.runs)

    @property
    def notes(self) -> list[str]:
        """What a verdict on these particles cannot say."""
        unknown = ["their error in time is unknown, and taken as 0", "the rate in N is not judged: all have the same N"]
        without = [] if self.start else ["the start is not compared: they have no time 0"]
        found = f"particles of one's own: {len(self.runs)} ensembles of {self.count}"
        return [found, *unknown, *without, "the worth is counted in particles like these, by N^(-1/2)"]

    def number_of(self, run: OwnRun, time: float) -> int | None:
        """Which of the times of a run is `time`; None where there is none."""
        if run.times.size == 0:
            return None
        near = int(np.abs(run.times - time).argmin())
        return near if abs(run.times[near] - time) <= SAME_TIME * self.plan.times[-1] else None

    def snapshot(self, run: OwnRun, time: float) -> CloudSnapshot:
        """The state of a run at a time that it has. Raises InputError for positions or weights that the case cannot have."""
        number = self.number_of(run, time)
        assert number is not None
        where, factors = f"{run.name} at time {time:g}", self.simulator.factors
        columns = zip(factors, columns_of(factors), strict=True)
        points = np.hstack([inside(f, run.points[number][:, c], where) for f, c in columns])
        weights = self.weights(None if run.weights is None else run.weights[number], where)
        self.simulator.energy.check_start(points, weights)
        evaluation = self.simulator.energy.evaluate(points, weights)
        received = f"{where}: the energy at the particles is {evaluation.value}"
        require(bool(np.isfinite(evaluation.value)), received, "a finite number", "correct the positions")
        return CloudSnapshot(factors, points, weights, evaluation.value, evaluation.prediction)

    def weights(self, given: Array | None, where: str) -> Array:
        """Weights (n_particles,) as they are given, or equal ones."""
        keeps = self.plan.problem.keeps_mass
        if given is None:
            received = f"{where}: no weights, in a flow that changes the mass"
            require(keeps, received, "particles with weights", "add the variable `weight`")
            return np.full(self.count, 1 / self.count)
        good = bool(np.isfinite(given).all() and (given >= 0).all() and given.sum() > 0)
        require(good, f"{where}: weights that are negative or no numbers", "numbers ≥ 0", "correct them")
        received = f"{where}: weights with the sum {given.sum():.6g}"
        kept = not keeps or abs(given.sum() - 1) <= OUTSIDE
        require(kept, received, "the sum 1", "divide them by their sum, or leave them out")
        return np.array(given)

    def sketches(self, tally: Progress) -> tuple[list[Sketches], Array, list[list[Any]]]:
        """Of every run its sketches, its energies (n_times, n_ensembles), and its marginals at t = 0."""
        sketches, energies, starts = [], [], []
        for run in self.runs:
            if self.start:
                cloud = self.snapshot(run, 0.0)
                starts.append(marginals_of_points(cloud.factors, cloud.points, cloud.weights))
            snapshots = [self.snapshot(run, time) for time in self.plan.times]
            sketches.append(self.plan.sketches(snapshots))
            energies.append([s.energy for s in snapshots])
            tally.advance()
        return sketches, np.transpose(energies), starts

    def series(self, found: tuple[list[Sketches], Array, list[list[Any]]], grid: Sketches) -> Series:
        """These ensembles, measured against the grid and each other; nobody knows what they cost."""
        sketches, energies, starts = found
        no_twin = np.zeros((len(self.plan.quantities), len(self.plan.times)))
        return series_of(self.plan, self.count, sketches, grid, no_twin, energies, np.nan, starts)


def own_ensembles(plan: Plan, simulator: Simulator, particles: Source | Sequence[Source]) -> OwnEnsembles:
    """The ensembles in files, datasets or runs. Raises InputError for those that cannot be compared."""
    ensembles = OwnEnsembles(plan, simulator, own_runs(particles, simulator.factors))
    received = f"{len(ensembles.runs)} ensembles of particles"
    fix = "make independent runs from other seeds, and give all of them: several files, or a dimension `ensemble`"
    require(len(ensembles.runs) >= ENSEMBLES_MIN, received, f"at least {ENSEMBLES_MIN}, whose distances are measured", fix)
    sizes = {run.points.shape[1]: run.name for run in ensembles.runs}
    received = "ensembles of different size: " + ", ".join(f"{size} particles in {name}" for size, name in sizes.items())
    require(len(sizes) == 1, received, "as many particles in each", "leave the smaller ones out, or take equally many of each")
    require(min(sizes) >= 2, f"ensembles of {min(sizes)} particles", "at least 2 particles", "use more particles")
    for run in ensembles.runs:
        missing = [f"{time:g}" for time in plan.times if ensembles.number_of(run, time) is None]
        received = f"{run.name} has the times {', '.join(f'{t:g}' for t in run.times[:8])}, without {', '.join(missing)}"
        allowed = f"the times at which the case is compared: {', '.join(f'{t:g}' for t in plan.times)}"
        require(not missing, received, allowed, "save the particles there, or compare the end alone: validation.times = 1")
    distinct = {run.points[-1].tobytes() for run in ensembles.runs}
    received = f"{len(ensembles.runs)} ensembles, of which {len(ensembles.runs) - len(distinct)} repeat others"
    require(len(distinct) == len(ensembles.runs), received, "independent runs", "run each from a seed of its own")
    return ensembles


def inside(factor: Factor, x: Array, where: str) -> Array:
    """Positions in a factor, (n_particles, n_columns of it), as they are but for round-off. Raises InputError for others."""
    bad = int((~np.isfinite(x)).sum())
    received = f"{where}: {bad} positions in {factor.name!r} that are no numbers"
    require(bad == 0, received, "finite numbers", "leave these particles out at all times, or repeat the run")
    if not factor.moves:
        near = factor.points[np.abs(x - factor.points).argmin(axis=1)][:, None]
        allowed, fix = f"its labels: {', '.join(f'{v:g}' for v in factor.points[:8])}", "use these values"
    elif factor.columns > 1:
        near, allowed, fix = factor.fold(x), "points on the surface", "scale the vectors onto it"
    else:
        near, (lower, upper) = factor.fold(x), (factor.edges[0], factor.edges[-1])
        allowed, fix = f"from {lower:g} to {upper:g}", "widen the bounds of the case, or mirror particles at its walls"
    off = np.abs(near - x).max(axis=1)
    size = 1.0 if factor.columns > 1 else max(1.0, factor.total_volume)
    if factor.period == 0:  # around a circle any number of turns is right
        worst = x[off.argmax()]
        outside = int((off > OUTSIDE * size).sum())
        shown = ", ".join(f"{v:.6g}" for v in worst)
        require(outside == 0, f"{where}: {outside} positions outside of {factor.name!r}, such as {shown}", allowed, fix)
    return np.where(off[:, None] > ROUNDOFF * size, near, x)
