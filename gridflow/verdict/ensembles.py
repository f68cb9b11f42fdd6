"""The particle runs of a verdict: independent ensembles of every N, and one run beside itself with refined steps."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np

from gridflow.errors import SolveError
from gridflow.particles.cloud import Sampling
from gridflow.particles.simulation import ParticleRun, Simulator
from gridflow.particles.spec import Particles
from gridflow.progress import Progress
from gridflow.space.factor import Array
from gridflow.sums.choice import handed_on
from gridflow.threads import SIDE_BY_SIDE
from gridflow.verdict.finished import NOT_KEPT, Finished, Parts, determining_text
from gridflow.verdict.plan import Plan
from gridflow.verdict.quantities import CloudSnapshot
from gridflow.verdict.sketches import Sketches
from gridflow.verdict.start import cyclic_pairs, marginals_of_points
from gridflow.verdict.under_way import RunUnderWay

MOLLIFICATION_FACTOR = 4 / 3
"""Error over the change that half the length makes, 1/(1 − 2^−2)."""
RISE_MAX = 1e-6
"""A particle run without noise whose energy rises by more than this share above its start diverges."""


ARRAYS = ("points", "weights", "energy", "prediction")
"""Fields of a particle run that are arrays; a run without data has no prediction."""


def parts_of_run(run: ParticleRun) -> Parts:
    """A particle run as it is kept."""
    fields = dict(vars(run))
    arrays = {name: fields.pop(name) for name in ARRAYS}
    return {name: array for name, array in arrays.items() if array is not None}, fields


def run_of(arrays: dict[str, Array], numbers: dict[str, Any]) -> ParticleRun:
    """The run of `parts_of_run`."""
    fields: dict[str, Any] = {**dict.fromkeys(ARRAYS), **arrays, **numbers}
    fields |= {name: tuple(numbers[name]) for name in ("warnings", "columns")}
    return ParticleRun(**fields)


@dataclass(frozen=True)
class Series:
    """Ensembles of one N.

    distance : (n_quantities, n_times, n_ensembles) to the grid; null : (n_quantities, n_times, n_pairs) between two of them;
    time_step : (n_quantities, n_times), of a run to its refined twin
    energy : (n_times, n_ensembles); seconds : of the first run, alone; starts : of every ensemble the marginals at t = 0
    """

    count: int
    distance: Array
    null: Array
    time_step: Array
    energy: Array
    seconds: float
    starts: list[list[Any]]


def series_of(
    plan: Plan,
    count: int,
    sketches: list[Sketches],
    grid: Sketches,
    time_step: Array,
    energy: Array,
    seconds: float,
    starts: list[list[Any]],
) -> Series:
    """Ensembles measured against the grid and each other."""
    pairs = cyclic_pairs(len(sketches))
    distance = np.stack([plan.distances(s, grid) for s in sketches], axis=-1)
    null = np.stack([plan.distances(sketches[i], sketches[j]) for i, j in pairs], axis=-1)
    return Series(count, distance, null, time_step, energy, seconds, starts)


@dataclass(frozen=True)
class Runs:
    """Particle runs of a case, as sketches at the validated times; so many side by side, those that are `finished` not again."""

    plan: Plan
    simulator: Simulator
    side_by_side: int = 1
    finished: Finished = NOT_KEPT

    @property
    def particles(self) -> Particles:
        """The particle runs that the case asks for."""
        assert self.plan.particles is not None
        return self.plan.particles

    @cached_property
    def case_text(self) -> str:
        """What of the case determines a particle run, beside the integrator and the times, which are those of the verdict."""
        return determining_text(self.plan.case, "scheme", "time") + repr(self.simulator.integrator)

    def run(self, count: int, sampling: Sampling, number: int, **options: Any) -> ParticleRun:
        """The run `number` of N particles, from a seed of its own. Raises SolveError if it diverges."""
        seed = int(np.random.SeedSequence([self.particles.seed, count, number, sampling == "sobol"]).generate_state(1)[0])
        chosen = {"times": [0.0, *self.plan.times], "seed": seed, "sampling": sampling, **options}
        label = "-".join(["particles", str(count), sampling, str(number), *options])
        determined_by = {"case": self.case_text, "count": count, **chosen}
        return run_of(*self.finished.parts(label, determined_by, partial(self.run_parts, count, number, chosen)))

    def run_parts(self, count: int, number: int, chosen: dict[str, Any], kept: Path | None) -> Parts:
        """The run itself, as it is kept; kept : the start of the name of the file from which it goes on, if any."""
        keeper = None if kept is None else RunUnderWay(kept.with_name(f"{kept.name}.particles"))
        return parts_of_run(self.checked_run(count, number, {**chosen, "keeper": keeper}))

    def checked_run(self, count: int, number: int, chosen: dict[str, Any]) -> ParticleRun:
        """The run. Raises SolveError if it diverges, or some of its steps did not reach their tolerance."""
        name = f"ensemble {number + 1} of {count} particles"
        try:
            run = self.simulator.run(count, **chosen)
        except SolveError as error:
            raise SolveError(f"{name}: {error}") from None
        if run.unconverged:
            fault = f"{run.unconverged} of its steps ended before their tolerance"
            raise SolveError(f"{name}: {fault}; use more iterations in particles.integrator")
        first, highest = run.energy[0], run.energy.max()
        if highest > first + RISE_MAX * abs(first) and self.simulator.problem.lowers_energy_of_particles:
            fault = f"its energy rose from {first:.4g} to {highest:.4g}"
            raise SolveError(f"{name} diverged: {fault}; use a smaller step in particles.integrator")
        return run

    def sketches(self, run: ParticleRun) -> Sketches:
        """Sketches of a run at the validated times."""
        predictions = [None] * len(run.energy) if run.prediction is None else run.prediction
        states = [
            CloudSnapshot(self.simulator.factors, run.points[k], run.weights_at(k), run.energy[k], predictions[k])
            for k in range(1, len(run.energy))
        ]
        return self.plan.sketches(states)

    def time_step(self, tally: Progress) -> Array:
        """Error in time of particle runs, (n_quantities, n_times), by one of them."""
        particles = self.particles
        fewest = min(particles.counts[0], particles.verdict.count)  # with the longest steps, where dt = η/N
        count = fewest if particles.integrator.step_falls_with_count else particles.counts[-1]
        return self.refinement_error(count, tally)

    @cached_property
    def mollifies(self) -> bool:
        """Whether a kernel between particles is mollified, on a length of every N."""
        return self.simulator.energy.refined() is not self.simulator.energy

    def refinement_error(self, count: int, tally: Progress) -> Array:
        """Error of a run of N particles, (n_quantities, n_times): it against itself with halved steps, on one Brownian path, and
        with half the length on which kernels are mollified, of order 2."""
        particles = self.particles
        coarse = self.run(count, particles.verdict.sampling, 0, pieces=2)
        tally.advance()
        fine = self.run(count, particles.verdict.sampling, 0, substeps=2)
        tally.advance()
        factor = max(particles.integrator.error_factor, MOLLIFICATION_FACTOR if self.mollifies else 0.0)
        return factor * self.plan.distances(self.sketches(coarse), self.sketches(fine))

    def series(self, count: int, ensembles: int, sampling: Sampling, grid: Sketches, time_step: Array, tally: Progress) -> Series:
        """Independent ensembles of one N, measured against the grid and each other; the first one alone, for its time."""
        if self.mollifies:
            time_step = self.refinement_error(count, tally)
        tally.stage(f"{ensembles} × {count} particles, {sampling}")
        sketches, energies, seconds, starts = [], [], [], []
        for run in self.ensembles(count, sampling, ensembles, tally):
            sketches.append(self.sketches(run))
            energies.append(run.energy[1:])
            seconds.append(run.seconds)
            starts.append(marginals_of_points(self.simulator.factors, run.points[0], run.weights_at(0)))
            tally.advance()
        return series_of(self.plan, count, sketches, grid, time_step, np.stack(energies, axis=-1), seconds[0], starts)

    def ensembles(self, count: int, sampling: Sampling, number: int, tally: Progress) -> Iterator[ParticleRun]:
        """Runs 0 to `number` − 1 of N particles: the first alone, then the others side by side."""
        yield self.run(count, sampling, 0)
        pool = ThreadPoolExecutor(self.side_by_side, thread_name_prefix=SIDE_BY_SIDE, **handed_on())
        try:
            yield from pool.map(lambda k: self.run(count, sampling, k), range(1, number))
        except KeyboardInterrupt:
            tally.note("stops when the particle runs under way are done")
            raise
        finally:
            pool.shutdown(cancel_futures=True)  # an interrupt or a run that fails waits for the runs under way only
