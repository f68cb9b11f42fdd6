"""Particle runs of a case: the same energy, space and flow as on the grid, as N weighted particles."""

import time
from dataclasses import dataclass
from functools import reduce
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from msgspec import Meta, Struct, field

from gridflow.energy.base import ParticleEnergy, completed, particles_of
from gridflow.energy.mmd.smoothing import REACH
from gridflow.errors import InputError, SolveError
from gridflow.flow.noise import refuse_noise
from gridflow.particles.cloud import Cloud, Sampling, draw_cloud, fold
from gridflow.particles.dynamics import Dynamics
from gridflow.particles.integrator import GradientDescent, IntegratorSpec, RungeKutta2
from gridflow.space.factor import Array, Factor, columns_of
from gridflow.space.walls import OF_PARTICLES, largest_shares, wall_shares_particles, wall_warnings

if TYPE_CHECKING:
    from gridflow.case.case import Case

Count = Annotated[int, Meta(ge=2, le=10_000_000)]


class VerdictRuns(Struct, frozen=True, forbid_unknown_fields=True):
    """The ensembles that a verdict rests on: scrambled Sobol points are as independent of each other as random ones, and far
    closer to the density, so that the verdict is sharper."""

    count: Count = 4096
    ensembles: Annotated[int, Meta(ge=8, le=1000)] = 12
    sampling: Sampling = "sobol"


class Particles(Struct, frozen=True, forbid_unknown_fields=True):
    """The particle runs of a case.

    counts : N of the random runs that show the sampling error of a particle run, increasing; ensembles : independent runs of each
    """

    counts: Annotated[list[Count], Meta(min_length=3)]
    integrator: IntegratorSpec = field(default_factory=lambda: RungeKutta2(0.05))
    ensembles: Annotated[int, Meta(ge=8, le=1000)] = 32
    verdict: VerdictRuns = field(default_factory=VerdictRuns)
    seed: Annotated[int, Meta(ge=0)] = 1

    def __post_init__(self) -> None:
        if sorted(set(self.counts)) != self.counts or self.counts[-1] < 8 * self.counts[0]:
            raise ValueError(f"counts {self.counts} do not increase to at least eight times the first: too few for a rate")


@dataclass(frozen=True)
class ParticleRun:
    """points : (n_times, n_particles, n_columns), columns in the storage order of the grid; weights : (n_particles,), with a
    reaction (n_times, n_particles); energy : (n_times,); prediction : (n_times, n_data, n_outputs) or None; evaluations of the
    velocity; seconds of wall time; warnings, one sentence each: mass that the walls have mirrored (`gridflow.space.walls`);
    unconverged : proximal steps that ended before their tolerance, where the integrator goes on."""

    times: list[float]
    points: Array
    weights: Array
    energy: Array
    prediction: Array | None
    evaluations: int
    seconds: float
    warnings: tuple[str, ...] = ()
    unconverged: int = 0

    def weights_at(self, number: int) -> Array:
        """Weights at a saved time, (n_particles,)."""
        return self.weights if self.weights.ndim == 1 else self.weights[number]


class Simulator:
    """Particle runs of one case: what they share (data, tabulated kernels) is computed once. Runs may go side by side in threads.

    energy : an energy of one's own with `particles(factors)`, instead of the one in the case
    """

    def __init__(self, case: "Case", energy: Any = None) -> None:
        self.case = case
        self.grid = case.grid()
        self.factors = self.grid.factors
        model = energy or case.energy.load(Path(case.directory))
        self.energy = particles_of(model, self.factors)
        noise = case.flow.noise_injection
        if noise.acts:
            if case.flow.reaction.acts:
                raise InputError("noise injection for particles with a reaction", "one of the two", "remove flow.reaction")
            self.energy = completed(self.energy.widened(REACH * noise.level), ParticleEnergy)
        self.mobility = particle_mobility(case, self.factors)
        rates = [case.flow.diffusion.get(f.name, 0.0) for f in self.factors]
        self.diffusion = np.repeat(rates, [f.columns for f in self.factors])

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
    ) -> ParticleRun:
        """See `simulate`; pieces, substeps : see `Dynamics`."""
        case, factors = self.case, self.factors
        chosen = integrator or (case.particles.integrator if case.particles is not None else None)
        if chosen is None:
            raise InputError(f"a particle run of {case.name} without an integrator", "one in [particles]", "pass integrator=…")
        if not isinstance(chosen, GradientDescent) or chosen.batch is not None:
            refuse_noise(case.flow.noise_injection, "another integrator than full gradient descent")
        cloud = particles
        if not isinstance(cloud, Cloud):
            cloud = draw_cloud(case.initial, factors, cloud, seed, sampling, self.energy.strata)
        self.energy.check_start(cloud.points, cloud.weights)
        saves = case.time.save_times() if times is None else times
        if len(saves) < 2 or saves[0] != 0 or any(a >= b for a, b in pairwise(saves)):
            raise InputError(f"times {saves}", "at least two, increasing from 0", "begin with 0.0")
        random, batches = np.random.default_rng([seed, 1]), np.random.default_rng([seed, 2])
        dynamics = Dynamics(
            self.energy, factors, cloud.weights, self.mobility, case.flow.temperature, random, batches, pieces, substeps,
            reaction=case.flow.reaction, diffusion=self.diffusion, injection=case.flow.noise_injection,
        )  # fmt: skip
        began = time.perf_counter()
        with np.errstate(over="ignore", invalid="ignore"):  # a run that diverges is told by its velocity
            states = [dynamics.split(state) for state in chosen.run(dynamics, dynamics.state(cloud.points), saves)]
            points, weights = [fold(p, factors) for p, _ in states], [w for _, w in states]
            seconds = time.perf_counter() - began
            results = [self.energy.evaluate(p, w) for p, w in zip(points, weights, strict=True)]
        values = np.array([r.value for r in results])
        if not np.isfinite(values).all():
            raise SolveError("a particle run diverged (its energy is not finite); use a smaller step")
        predictions = [r.prediction for r in results if r.prediction is not None]
        prediction = np.stack(predictions) if predictions else None
        kept = np.stack(weights) if case.flow.reaction.acts else cloud.weights
        shares = reduce(largest_shares, (wall_shares_particles(self.grid, *state) for state in states))
        warnings = tuple(wall_warnings(factors, shares, OF_PARTICLES))
        counts = dynamics.evaluations, seconds, warnings, dynamics.unconverged
        return ParticleRun(saves, np.stack(points), kept, values, prediction, *counts)


def simulate(
    case: "Case",
    particles: int | Cloud,
    *,
    times: list[float] | None = None,
    seed: int = 0,
    sampling: Sampling = "random",
    integrator: IntegratorSpec | None = None,
    energy: Any = None,
) -> ParticleRun:
    """Run N particles drawn from the initial density of a case, or a weighted cloud of one's own.

    times : of the saves, increasing from 0; default those of the case; integrator : default that of [particles];
    energy : an energy of one's own with `particles(factors)`, instead of the one in the case

    Raises InputError for a case or a choice that cannot run, SolveError for a run that diverges.
    """
    return Simulator(case, energy).run(particles, times=times, seed=seed, sampling=sampling, integrator=integrator)


def particle_mobility(case: "Case", factors: tuple[Factor, ...]) -> Any:
    """M of every factor at the particles: (n_particles, n_columns), or (n_columns,) where it is constant."""
    columns = {f.name: c for f, c in zip(factors, columns_of(factors), strict=True)}
    values = [case.flow.mobility[f.name].value if f.name in case.flow.mobility else 1.0 for f in factors]
    constant = np.repeat(values, [f.columns for f in factors])
    varying = [(columns[n], columns[m.factor].start, m.power) for n, m in case.flow.mobility.items() if m.factor is not None]
    if not varying:
        return lambda points: constant

    def mobility(points: Array) -> Array:
        values = np.broadcast_to(constant, points.shape).copy()
        for column, source, power in varying:  # the source has one column: a mobility that depends on a surface is refused
            values[:, column] *= points[:, [source]] ** power
        return values

    return mobility
