"""Everything that a verdict rests on, run and measured: grids, exact solution, particle ensembles.

    grid            the case, and the same with two and with four times wider cells
    exact           where the case names an exact solution
    random runs     `ensembles` independent runs of N particles for every N in `counts`
    verdict runs    as many of `verdict` particles, drawn by `sampling`
    time step       one run repeated with a refined step on the same Brownian path
    start           the clouds of the verdict runs at t = 0, which are made without the grid (`gridflow.verdict.start`)

A particle run is reduced to its sketches as soon as it is done: distances are all that is kept.
"""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import xarray

from gridflow.case.case import Case
from gridflow.energy.base import BoundEnergy, bound_to
from gridflow.energy.network.data import Data
from gridflow.errors import InputError, SolveError, suggestion
from gridflow.particles.cloud import Sampling
from gridflow.particles.simulation import ParticleRun, Simulator
from gridflow.progress import Tally
from gridflow.scheme.exact_jko import ExactWasserstein
from gridflow.scheme.jko.scheme import JKO
from gridflow.solver import solve
from gridflow.space.factor import Array
from gridflow.space.grid import Grid
from gridflow.verdict.coarsening import LEVELS, coarsened
from gridflow.verdict.quantities import Measure, Quantity, quantities_of
from gridflow.verdict.start import Start, compared_start, cyclic_pairs, marginals_of_points

RISE_MAX = 1e-6
"""An energy that rises by more than this share above its start tells a particle run without noise that diverges."""

Sketches = list[list[Any]]
"""One sketch per quantity and time."""


@dataclass(frozen=True)
class Series:
    """Ensembles of one N.

    distance : (n_quantities, n_times, n_ensembles) to the grid; null : (n_quantities, n_times, n_pairs) between two of them;
    energy : (n_times, n_ensembles); seconds : of the first run, alone; starts : of every ensemble the marginals at t = 0
    """

    count: int
    distance: Array
    null: Array
    energy: Array
    seconds: float
    starts: list[list[Any]]


@dataclass(frozen=True)
class Plan:
    """A case that all runs share; `picked` are the numbers of the saves that are compared, at `times`. energy : of one's own."""

    case: Case
    energy: Any
    model: Any
    grid: Grid
    bound: BoundEnergy
    quantities: list[Quantity]
    picked: list[int]
    times: list[float]


@dataclass(frozen=True)
class Grids:
    """What the grid runs find: distances, (n_quantities, n_times).

    fine : sketches of the case itself; start : its cell masses at t = 0
    coarse : [between the grid and the twice wider one, between that and the four times wider one], the largest over the saves
        around each time, because a difference that changes its sign there would look like no error; exact : of the grid, or None;
    sensitivity : per relative error of the speed; energy : (n_times,) of the grid;
    diagnostics : its dissipation and the other numbers of its energy, at the end; seconds, steps : cost of the run;
    warnings : those of its dataset, one in a line
    """

    fine: Sketches
    start: Array
    coarse: Array
    exact: Array | None
    sensitivity: Array
    energy: Array
    diagnostics: dict[str, float]
    seconds: float
    steps: int
    warnings: str


@dataclass(frozen=True)
class Experiment:
    """All that was run.

    start : of the grid beside that of the clouds; time_step : distance of a particle run to its refined twin;
    random, verdict : the ensembles
    """

    plan: Plan
    grids: Grids
    start: Start
    time_step: Array
    random: list[Series]
    verdict: Series
    particle_order: int


def check_case(case: Case) -> None:
    """Raises InputError for a case that says too little for a verdict."""
    if case.particles is None:
        raise InputError(
            f"{case.name} has no [particles]",
            "counts, ensembles, integrator and seed of particle runs",
            "add [particles] to the case",
        )
    if not case.validation.thresholds():
        raise InputError(
            f"{case.name} has no thresholds in [validation]",
            "for example w1 = { threshold = 0.01, reason = '…' }",
            "add one for each quantity that should be judged; nothing passes by default",
        )


def check_diagnostics(case: Case, known: tuple[str, ...]) -> None:
    """Raises InputError for thresholds on numbers that the energy does not tell."""
    unknown = sorted(set(case.validation.diagnostics) - set(known))
    if unknown:
        raise InputError(
            f"validation.diagnostics names {unknown[0]!r}",
            f"numbers that this energy tells: {', '.join(known) or 'none'}",
            suggestion(unknown[0], known) or "remove it, or let the energy tell it (energy.stationarity)",
        )


def validation_times(case: Case) -> list[int]:
    """Numbers of the saves that are compared: the last one and, denser towards the start, earlier ones, but never time 0."""
    last = len(case.time.save_times()) - 1
    wanted = np.geomspace(last, 1, min(case.validation.times, last))
    return sorted({round(float(k)) for k in wanted})


def run_experiment(case: Case, energy: Any, tally: Tally) -> Experiment:
    """Run everything. Raises InputError for a case that cannot be validated, SolveError for a run that fails or diverges."""
    plan = plan_of(case, energy)
    tally.start(len(LEVELS) + 1 + runs_of(plan.case))
    runs = Runs(plan, Simulator.of(plan.case, plan.model))
    tally.tell("time step of the particles")  # first: it is cheap and finds out whether particles can run at all
    time_step = runs.time_step(tally)
    return compared(runs, time_step, run_grids(plan, tally), tally)


def runs_of(case: Case) -> int:
    """Particle runs of a verdict."""
    assert case.particles is not None
    return case.particles.ensembles * len(case.particles.counts) + case.particles.verdict.ensembles + 2


def plan_of(case: Case, energy: Any) -> Plan:
    """Raises InputError for a case that cannot be validated."""
    check_case(case)
    case = case.replace({"time.steady": 0.0})  # all runs end at the same time
    model = energy or case.energy.load(Path(case.directory))
    grid = case.grid()
    bound = bound_to(grid, model)
    check_diagnostics(case, bound.diagnostics)
    weights = bound.data.weights if isinstance(bound.data, Data) else None
    quantities = quantities_of(case.validation, grid.factors, weights)
    picked = validation_times(case)
    return Plan(case, energy, model, grid, bound, quantities, picked, [case.time.save_times()[k] for k in picked])


def run_grids(plan: Plan, tally: Tally) -> Grids:
    """The case on all its grids. Raises SolveError for a run that does not complete."""
    case, quantities, picked = plan.case, plan.quantities, plan.picked
    order = 2 if plan.bound.smooth else 1  # a velocity that jumps
    sketches: dict[int, Sketches] = {}  # at every save
    for factor in LEVELS:
        tally.tell(f"grid with {factor}-fold cells" if factor > 1 else "grid")
        measures, dataset = grid_path(plan, coarsened(case, factor, order))
        sketches[factor] = [[q.sketch(m) for m in measures] for q in quantities]
        tally.advance()
    start = measures[0].masses
    assert start is not None
    tally.tell("sensitivity")
    sensitive = sensitivity(plan, coarsened(case, 2, order))
    tally.advance()
    fine = [[s[k] for k in picked] for s in sketches[1]]
    exact = None
    if case.exact is not None:
        solution = [grid_measure(plan.grid, plan.bound, m) for m in case.exact.masses(case.problem(plan.model), plan.times)]
        exact = between(quantities, fine, [[q.sketch(m) for m in solution] for q in quantities])
    pairs = [(sketches[1], sketches[2]), (sketches[2], sketches[4])]
    return Grids(
        fine=fine,
        start=start,
        coarse=np.stack([largest_around(between(quantities, *pair), picked) for pair in pairs]),
        exact=exact,
        sensitivity=sensitive,
        energy=np.array([measures[k].energy for k in picked]),
        diagnostics={name: float(dataset[name][-1]) for name in ("dissipation", *plan.bound.diagnostics)},
        seconds=float(dataset.attrs["wall_seconds"]),
        steps=int(dataset["steps"][-1]),
        warnings=dataset.attrs.get("warnings", ""),
    )


def compared(runs: "Runs", time_step: Array, grids: Grids, tally: Tally) -> Experiment:
    """All ensembles of particles beside the grids."""
    case, particles = runs.plan.case, runs.plan.case.particles
    assert particles is not None
    series = [runs.series(n, particles.ensembles, "random", grids.fine, tally) for n in particles.counts]
    chosen = particles.verdict
    verdict = runs.series(chosen.count, chosen.ensembles, chosen.sampling, grids.fine, tally)
    start = compared_start(case.initial, runs.plan.grid, grids.start, verdict.starts)
    return Experiment(runs.plan, grids, start, time_step, series, verdict, runs.simulator.energy.order)


def grid_measure(grid: Grid, bound: BoundEnergy, masses: Array) -> Measure:
    evaluation = bound.evaluate(masses)
    return Measure(grid.factors, evaluation.value, evaluation.prediction, grid=grid, masses=masses)


def sensitivity(plan: Plan, case: Case) -> Array:
    """Distance per relative error of the speed, (n_quantities, n_times), on the grid of a coarsened case.

    A velocity 1 + δ times too large, and with it temperature and reaction, solves the case in faster time, ρ((1 + δ)t): δ = 1 %.
    """
    late = [1.01 * t for t in plan.times]
    if isinstance(case.scheme, JKO | ExactWasserstein):  # the same steps, 1 % longer: each errs by itself, however short
        longer = {"time.stop": late[-1], "time.save": late, "scheme.tau": 1.01 * case.scheme.tau}
        before = grid_path(plan, case.replace({"time.stop": plan.times[-1], "time.save": plan.times}))[0][1:]
        after = grid_path(plan, case.replace(longer))[0][1:]
    else:
        saves = sorted({*plan.times, *late})
        path = grid_path(plan, case.replace({"time.stop": late[-1], "time.save": saves}))[0]
        measures = dict(zip([0.0, *saves], path, strict=True))
        before, after = [measures[t] for t in plan.times], [measures[t] for t in late]
    rows = [[q.distance(q.sketch(a), q.sketch(b)) for a, b in zip(before, after, strict=True)] for q in plan.quantities]
    return np.array(rows) / 0.01


def grid_path(plan: Plan, case: Case) -> tuple[list[Measure], xarray.Dataset]:
    """The solution of a coarsened case at every save, and its dataset. Raises SolveError for a run that does not complete."""
    grid = case.grid()
    dataset = solve(case.replace({"exact": None}), energy=plan.energy)
    if dataset.attrs["status"] == "interrupted":
        raise KeyboardInterrupt
    if dataset.attrs["status"] != "completed":
        raise SolveError(f"the grid run ended {dataset.attrs['status']}")
    bound = bound_to(grid, plan.model)
    masses = dataset["density"].transpose("time", *grid.order).to_numpy() * grid.volume
    return [grid_measure(grid, bound, m) for m in masses], dataset


def largest_around(distances: Array, picked: list[int]) -> Array:
    """Maxima over the saves nearest, in ratio, to each of the picked ones: (n_quantities, n_saves) → (n_quantities, n_times)."""
    borders = [0, *(round(float(np.sqrt(a * b))) for a, b in pairwise(picked)), distances.shape[1] - 1]
    return np.stack([distances[:, a : b + 1].max(axis=1) for a, b in pairwise(borders)], axis=1)


def between(quantities: list[Quantity], one: Sketches, two: Sketches) -> Array:
    """Distances of two histories, (n_quantities, n_times)."""
    return np.array(
        [[q.distance(a, b) for a, b in zip(*pair, strict=True)] for q, *pair in zip(quantities, one, two, strict=True)]
    )


@dataclass(frozen=True)
class Runs:
    """Particle runs of a case, as sketches at the validated times."""

    plan: Plan
    simulator: Simulator

    def run(self, count: int, sampling: Sampling, number: int, **options: Any) -> ParticleRun:
        """Run number `number` of N particles. Raises SolveError if it diverges."""
        particles = self.plan.case.particles
        assert particles is not None
        seed = int(np.random.SeedSequence([particles.seed, count, number, sampling == "sobol"]).generate_state(1)[0])
        times = [0.0, *self.plan.times]
        try:
            run = self.simulator.run(count, times=times, seed=seed, sampling=sampling, **options)
        except SolveError as error:
            raise SolveError(f"ensemble {number + 1} of {count} particles: {error}") from None
        if run.unconverged:
            raise SolveError(
                f"ensemble {number + 1} of {count} particles: {run.unconverged} of its steps ended before their tolerance;"
                " use more iterations in particles.integrator"
            )
        rises = run.energy.max() > run.energy[0] + RISE_MAX * abs(run.energy[0])
        if rises and self.simulator.problem.lowers_energy_of_particles:
            rise = f"{run.energy[0]:.4g} to {run.energy.max():.4g}"
            raise SolveError(
                f"ensemble {number + 1} of {count} particles diverged: its energy rose from {rise}; use a smaller step in"
                " particles.integrator"
            )
        return run

    def sketches(self, run: ParticleRun) -> Sketches:
        factors = self.simulator.factors
        measures = [
            Measure(factors, e, None if run.prediction is None else run.prediction[k], points=p, weights=run.weights_at(k))
            for k, (p, e) in enumerate(zip(run.points[1:], run.energy[1:], strict=True), start=1)
        ]
        return [[q.sketch(m) for m in measures] for q in self.plan.quantities]

    def time_step(self, tally: Tally) -> Array:
        """Error in time of a particle run: it against itself with halved steps, on one Brownian path."""
        particles = self.plan.case.particles
        assert particles is not None
        by_rate = getattr(particles.integrator, "learning_rate", None) is not None  # dt = η/N: the fewest have the longest steps
        count = min(particles.counts[0], particles.verdict.count) if by_rate else particles.counts[-1]
        coarse = self.run(count, particles.verdict.sampling, 0, pieces=2)
        tally.advance()
        fine = self.run(count, particles.verdict.sampling, 0, substeps=2)
        tally.advance()
        return particles.integrator.error_factor * between(self.plan.quantities, self.sketches(coarse), self.sketches(fine))

    def series(self, count: int, ensembles: int, sampling: Sampling, grid: Sketches, tally: Tally) -> Series:
        """Independent ensembles of one N; the first one alone, for its time, the others side by side."""
        tally.tell(f"{ensembles} × {count} particles, {sampling}")
        sketches, energies, seconds, starts = [], [], [], []
        for run in self.ensembles(count, sampling, ensembles):
            sketches.append(self.sketches(run))
            energies.append(run.energy[1:])
            seconds.append(run.seconds)
            starts.append(marginals_of_points(self.simulator.factors, run.points[0], run.weights_at(0)))
            tally.advance()
        pairs = cyclic_pairs(ensembles)
        distance = np.stack([between(self.plan.quantities, s, grid) for s in sketches], axis=-1)
        null = np.stack([between(self.plan.quantities, sketches[i], sketches[j]) for i, j in pairs], axis=-1)
        return Series(count, distance, null, np.stack(energies, axis=-1), seconds[0], starts)

    def ensembles(self, count: int, sampling: Sampling, number: int) -> Iterator[ParticleRun]:
        yield self.run(count, sampling, 0)
        pool = ThreadPoolExecutor(os.cpu_count())
        try:
            yield from pool.map(lambda k: self.run(count, sampling, k), range(1, number))
        finally:
            pool.shutdown(cancel_futures=True)  # an interrupt or a run that fails waits for the runs under way only
