"""Particle runs of a case: the same energy, space and flow as on the grid, as N weighted particles."""

import time
from dataclasses import dataclass, replace
from functools import cached_property, reduce
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from gridflow.case.case import Case
from gridflow.energy.base import Energy
from gridflow.energy.check import check_at_particles
from gridflow.energy.own import is_compared, name_of
from gridflow.errors import InputError, SolveError, require
from gridflow.flow.flow import check_drive, check_terms
from gridflow.html import table_html
from gridflow.memory import require_memory
from gridflow.particles.cloud import Cloud, Sampling, column_names, draw_cloud, fold
from gridflow.particles.dynamics import Dynamics, Keeper
from gridflow.particles.integrator import IntegratorSpec
from gridflow.problem import Problem
from gridflow.space.factor import Array, columns_of
from gridflow.space.mixture import Component, factor_masses
from gridflow.space.walls import OF_PARTICLES, largest_shares, wall_shares_particles, wall_warnings
from gridflow.sums.choice import reductions
from gridflow.threads import blas_threads

if TYPE_CHECKING:
    import xarray


@dataclass(frozen=True)
class ParticleRun:
    """points : (n_times, n_particles, n_columns), columns in the storage order of the grid; weights : (n_particles,), with a
    reaction (n_times, n_particles); energy : (n_times,); prediction : (n_times, n_data, n_outputs) or None; evaluations of the
    velocity; seconds of wall time; warnings, one sentence each: mass that the walls have mirrored (`gridflow.space.walls`);
    unconverged : proximal steps that ended before their tolerance, where the integrator goes on; reductions : how sums over pairs
    were computed, empty where there were none; columns : their names."""

    times: list[float]
    points: Array
    weights: Array
    energy: Array
    prediction: Array | None
    evaluations: int
    seconds: float
    warnings: tuple[str, ...] = ()
    unconverged: int = 0
    reductions: str = ""
    columns: tuple[str, ...] = ()

    def rows(self) -> list[tuple[str, str]]:
        """What the run was, in words."""
        n_times, count, _ = self.points.shape
        found = [
            ("particles", str(count)),
            ("times", f"{n_times}, from {self.times[0]:g} to {self.times[-1]:g}"),
            ("energy", f"{self.energy[0]:.6g} -> {self.energy[-1]:.6g}"),
            ("cost", f"{self.evaluations} evaluations, {self.seconds:.2g} s"),
        ]
        return found + [("warning", line) for line in self.warnings]

    def __repr__(self) -> str:
        return "<ParticleRun: " + "; ".join(f"{name} {text}" for name, text in self.rows()) + ">"

    def _repr_html_(self) -> str:
        return table_html(self.rows(), caption="particle run")

    def weights_at(self, number: int) -> Array:
        """Weights at a saved time, (n_particles,)."""
        return self.weights if self.weights.ndim == 1 else self.weights[number]

    def to_dataset(self) -> "xarray.Dataset":
        """Positions by column, `weight` and `energy` on the dimensions time and particle, as `gridflow.validate` reads them."""
        import xarray

        taken = {"time", "particle", "weight", "energy"} & set(self.columns)
        require(not taken, f"a factor called {min(taken, default='')!r}", "other names in a dataset of particles", "rename it")
        found = {name: (("time", "particle"), self.points[:, :, k]) for k, name in enumerate(self.columns)}
        weight = (("time", "particle")[2 - self.weights.ndim :], self.weights)
        return xarray.Dataset({"time": self.times, **found, "weight": weight, "energy": ("time", self.energy)})


class Simulator:
    """Particle runs of one problem, which share data and tabulated kernels. Runs may go side by side in threads.

    integrator, times : of runs that do not choose their own
    """

    def __init__(self, problem: Problem, integrator: IntegratorSpec | None = None, times: list[float] | None = None) -> None:
        self.problem, self.integrator, self.times = problem, integrator, times
        self.factors = problem.grid.factors
        self.energy = problem.particles
        check_drive(self.energy.driven, problem.terms)
        for term in problem.terms:
            self.energy = term.at_particles(self.energy)
        self.mobility = particle_mobility(problem)
        self.compares = is_compared(problem.energy)

    @cached_property
    def initial(self) -> list[Component]:
        """The components from which particles are drawn. Raises InputError for densities that do not fit their factors."""
        for component in self.problem.initial:
            if component.density:
                factor_masses(component, self.factors, "initial")
            if component.joint is not None:
                component.joint.check(self.factors)
        return list(self.problem.initial)

    @classmethod
    def of(cls, case: Case, energy: Energy | None = None, **options: Any) -> Self:
        """Particle runs of a case, with the integrator and the save times that it names."""
        integrator = None if case.particles is None else case.particles.integrator
        return cls(case.problem(energy), integrator, case.time.save_times(), **options)

    def run(
        self,
        particles: int | Cloud,
        *,
        times: list[float] | None = None,
        seed: int = 0,
        sampling: Sampling = "random",
        integrator: IntegratorSpec | None = None,
        pieces: int = 1,
        substeps: int = 1,
        keeper: Keeper | None = None,
    ) -> ParticleRun:
        """See `simulate`; pieces, substeps, keeper : see `Dynamics`; with substeps the energy is `ParticleEnergy.refined` too."""
        problem, chosen = self.problem, integrator or self.integrator
        if chosen is None:
            raise InputError("a particle run without an integrator", "one in [particles]", "pass integrator=…")
        saves = [float(t) for t in (times if times is not None else self.times or [])]
        count = len(particles.points) if isinstance(particles, Cloud) else particles
        columns = sum(f.columns for f in self.factors)
        fix = "use fewer particles, or fewer saves"
        require_memory(f"{count} particles at {len(saves)} times", 24 * count * (columns + 1) * max(2, len(saves)), fix)
        cloud = particles
        if not isinstance(cloud, Cloud):
            cloud = draw_cloud(self.initial, self.factors, cloud, seed, sampling, self.energy.strata)
        self.energy.check_start(cloud.points, cloud.weights)
        self.check_energy(cloud)
        increase = len(saves) >= 2 and saves[0] == 0 and all(a < b < np.inf for a, b in pairwise(saves))
        require(increase, f"times {saves}", "at least two, increasing from 0", "begin with 0.0")
        energy = self.energy if substeps == 1 else self.energy.refined()
        random, batches = np.random.default_rng([seed, 1]), np.random.default_rng([seed, 2])
        dynamics = Dynamics(
            energy, problem.grid.factors, cloud.weights, self.mobility, problem.terms, problem.flow.mean_temperature,
            random, batches, pieces, substeps, keeper,
        )  # fmt: skip
        check_terms(problem.terms, chosen.knows, chosen.label, f"use particles.integrator.kind = {chosen.instead}")
        began = time.perf_counter()
        with np.errstate(over="ignore", invalid="ignore"):  # the velocity of a run that diverges stops it
            states = [dynamics.split(state) for state in chosen.run(dynamics, dynamics.state(cloud.points), saves)]
            before = 0.0 if keeper is None else keeper.seconds
            return self.result(saves, states, dynamics, before + time.perf_counter() - began)

    def check_energy(self, cloud: Cloud) -> None:
        """Compares the numbers of an energy of one's own, at the first cloud. Raises InputError (`gridflow.energy.check`)."""
        if self.compares:
            name, keeps_mass = name_of(self.problem.energy), self.problem.keeps_mass
            check_at_particles(name, self.energy, self.factors, cloud.points, cloud.weights, keeps_mass)
            self.compares = False

    def result(self, saves: list[float], states: list[tuple[Array, Array]], dynamics: Dynamics, seconds: float) -> ParticleRun:
        """The run of unfolded positions and weights at the times. Raises SolveError where its energy is not finite."""
        points, weights = [fold(p, self.factors) for p, _ in states], [w for _, w in states]
        evaluations = [dynamics.energy.evaluate(p, w) for p, w in zip(points, weights, strict=True)]
        values = np.array([e.value for e in evaluations])
        if not np.isfinite(values).all():
            raise SolveError("a particle run diverged (its energy is not finite); use a smaller step")
        predictions = [e.prediction for e in evaluations if e.prediction is not None]
        shares = reduce(largest_shares, (wall_shares_particles(self.problem.grid, *state) for state in states))
        return ParticleRun(
            times=saves,
            points=np.stack(points),
            weights=np.stack(weights) if dynamics.weighs else dynamics.weights,
            energy=values,
            prediction=np.stack(predictions) if predictions else None,
            evaluations=dynamics.evaluations,
            seconds=seconds,
            warnings=tuple(wall_warnings(self.factors, shares, OF_PARTICLES)),
            unconverged=dynamics.unconverged,
            columns=tuple(column_names(self.factors)),
        )


def simulate(
    case: Case,
    particles: int | Cloud,
    *,
    times: list[float] | None = None,
    seed: int = 0,
    sampling: Sampling = "random",
    integrator: IntegratorSpec | None = None,
    energy: Energy | None = None,
    threads: int | None = None,
) -> ParticleRun:
    """Run N particles drawn from the initial density of a case, or a weighted cloud of one's own.

    times : of the saves, increasing from 0; default those of the case; integrator : default that of [particles];
    energy : an energy of one's own with `particles(factors)`, instead of the one in the case
    threads : of BLAS and sums over pairs; default that of the environment variable GRIDFLOW_THREADS, else 1 (`gridflow.threads`)

    >>> run = gridflow.simulate(gridflow.load_case("ornstein-uhlenbeck"), 100, seed=1, times=[0.0, 0.5, 1.0])
    >>> run.points.shape, run.weights.shape, run.energy.shape
    ((3, 100, 1), (100,), (3,))

    Raises InputError for a case or a choice that cannot run, SolveError for a run that diverges.
    """
    with blas_threads(threads), reductions(case.reductions) as use:
        run = Simulator.of(case, energy).run(particles, times=times, seed=seed, sampling=sampling, integrator=integrator)
    return replace(run, reductions=use.text)


def particle_mobility(problem: Problem) -> Any:
    """M of every factor at the particles: (n_particles, n_columns), or (n_columns,) where it is constant."""
    factors, mobility = problem.grid.factors, problem.flow.mobility
    columns = {f.name: c for f, c in zip(factors, columns_of(factors), strict=True)}
    values = [mobility[f.name].value if f.name in mobility else 1.0 for f in factors]
    constant = np.repeat(values, [f.columns for f in factors])
    varying = [(columns[n], columns[m.factor].start, m.power) for n, m in mobility.items() if m.factor is not None]
    if not varying:
        return lambda points: constant

    def at(points: Array) -> Array:
        values = np.broadcast_to(constant, points.shape).copy()
        for column, source, power in varying:  # the source has one column: a mobility that depends on a surface is refused
            values[:, column] *= points[:, [source]] ** power
        return values

    return at
