"""All runs and measurements that a verdict rests on: grids, exact solution, particle ensembles.

    grid            the case, and the same with two and with four times wider cells
    exact           where the case names an exact solution
    random runs     `ensembles` independent runs of N particles for every N in `counts`
    verdict runs    as many of `verdict` particles, drawn by `sampling`
    time step       one run repeated with a refined step on the same Brownian path; where kernels are mollified, one of every N
    start           the clouds of the verdict runs at t = 0, which are made without the grid (`gridflow.verdict.start`)

A particle run is reduced to its sketches as soon as it is done: distances are all that stays in memory. In files, runs are kept
until the verdict is written (`gridflow.verdict.finished`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gridflow.case.case import Case
from gridflow.energy.base import Energy, ParticleEnergy
from gridflow.particles.simulation import Simulator
from gridflow.progress import Progress
from gridflow.space.factor import Array
from gridflow.verdict.coarsening import LEVELS
from gridflow.verdict.ensembles import Runs, Series
from gridflow.verdict.finished import finished_runs
from gridflow.verdict.grids import Grids, run_grids
from gridflow.verdict.own_particles import Source
from gridflow.verdict.own_series import own_ensembles
from gridflow.verdict.plan import Plan, plan_of
from gridflow.verdict.start import Start, start_comparison

Own = Source | Sequence[Source]
NO_START = Start([], np.zeros(0), np.zeros(0))
"""Where nothing is compared at t = 0."""


@dataclass(frozen=True)
class Experiment:
    """All that was run.

    start : of the grid beside that of the clouds
    random, verdict : the ensembles, and `particle_energy`, the energy in them; none where the case has no particles
    notes : what those of a user's own leave open
    """

    plan: Plan
    grids: Grids
    start: Start
    random: list[Series]
    verdict: Series | None
    particle_energy: ParticleEnergy | None
    notes: tuple[str, ...] = ()

    @property
    def judging(self) -> Series:
        """The ensembles that the verdict rests on, of a case with particles."""
        assert self.verdict is not None
        return self.verdict


def run_experiment(
    case: Case,
    energy: Energy | None,
    tally: Progress,
    side_by_side: int = 1,
    folder: Path | None = None,
    own: Own | None = None,
) -> Experiment:
    """The experiment of a case, with so many particle runs at a time; folder : where finished runs are kept and looked for;
    own : particle runs of a user's own, in place of those of the case.

    Raises InputError where it cannot be validated, SolveError for a run that fails or diverges.
    """
    plan = plan_of(case, energy, own is not None)
    if own is not None:
        return experiment_with_own(plan, own, tally, folder)
    if plan.particles is None:
        tally.start(len(LEVELS) + 1)
        grids = run_grids(plan, tally, finished_runs(plan.problem, folder))
        return Experiment(plan, grids, NO_START, [], None, None)
    simulator, particles = Simulator.of(plan.case, plan.problem.energy), plan.particles
    finished = finished_runs(plan.problem, folder)
    runs = Runs(plan, simulator, side_by_side, finished.of_particles(simulator))
    particle_runs = particles.ensembles * len(particles.counts) + particles.verdict.ensembles + 2
    particle_runs += 2 * (len(particles.counts) + 1) if runs.mollifies else 0
    tally.start(len(LEVELS) + 1 + particle_runs)
    tally.stage("time step of the particles")  # first: it is cheap and finds out whether particles can run at all
    time_step = runs.time_step(tally)
    return run_ensembles(runs, time_step, run_grids(plan, tally, finished), tally)


def experiment_with_own(plan: Plan, own: Own, tally: Progress, folder: Path | None) -> Experiment:
    """The grids of a case beside particle runs of a user's own, which are read and checked first."""
    simulator = Simulator.of(plan.case, plan.problem.energy)
    tally.stage("reads particles")
    ensembles = own_ensembles(plan, simulator, own)
    tally.start(len(LEVELS) + 1 + len(ensembles.runs))
    found = ensembles.sketches(tally)
    grids = run_grids(plan, tally, finished_runs(plan.problem, folder))
    series = ensembles.series(found, grids.fine)
    start = start_comparison(plan.case.initial, plan.problem.grid, grids.start, series.starts) if ensembles.start else NO_START
    return Experiment(plan, grids, start, [], series, simulator.energy, tuple(ensembles.notes))


def run_ensembles(runs: Runs, time_step: Array, grids: Grids, tally: Progress) -> Experiment:
    """The experiment of grids that have run, with all ensembles of particles."""
    plan, particles = runs.plan, runs.particles
    chosen = particles.verdict
    series = [runs.series(n, particles.ensembles, "random", grids.fine, time_step, tally) for n in particles.counts]
    verdict = runs.series(chosen.count, chosen.ensembles, chosen.sampling, grids.fine, time_step, tally)
    start = start_comparison(plan.case.initial, plan.problem.grid, grids.start, verdict.starts)
    return Experiment(plan, grids, start, series, verdict, runs.simulator.energy)
