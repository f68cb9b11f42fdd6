"""Finite volumes in space, SSP Runge–Kutta 2 in time, with a step that keeps ρ ≥ 0 and lets the energy decrease.

The steps in time, and the limits that keep ρ ≥ 0 and let the energy decrease: `gridflow.scheme.finite_volume.stages`.

Temperature D > 0 adds D·M·Δρ: implicitly, without a parabolic limit on dt ("implicit", the default:
`gridflow.scheme.finite_volume.implicit_stepper`); explicitly by exponentially fitted fluxes ("scharfetter-gummel": the free
energy E + D∫ρ log ρ decreases; first order where |grad ξ| h ≫ D, order 2 as h → 0); or by the heat semigroup of each factor in
Strang splitting ("heat-semigroup": second-order transport, but the free energy may rise by the splitting error, and the dataset
says by how much).

A temperature that falls (`flow.annealing`) stands still in every step, at its mean (`gridflow.flow.temperature`): `at` is the
stepper of one temperature, and the energy of that temperature is what a step is held to.

Diffusion along single factors (`flow.diffusion`), which is part of no energy, is always split off like that.

Reaction (`gridflow.flow.reaction`) is added by Strang splitting too. Together a step is a palindrome: half steps of the split
terms, the transport, the half steps in reverse. Reaction and transport lower the same energy, so that its decrease is kept by
redoing steps, as above. It is not claimed where the reaction leaves the entropy of a temperature out. Two more limits on dt:

* energy: the first stage of a reaction step is an Euler step, and keeps the limit above;
* accuracy: along the paths of the flow ξ changes in a step by δ, part of it carried (−dt·M|grad ξ|²) and part because ρ changes,
  so that the exponent of the reaction changes by κ·dt·δ; half of it, the difference of a step of first and of second order, may
  be accuracy/n², n the cells of the largest factor (at least 64).
"""

from collections.abc import Sequence
from copy import copy
from dataclasses import replace
from functools import partial
from typing import Self

import numpy as np

from gridflow.energy.base import Evaluation
from gridflow.errors import SolveError
from gridflow.flow.term import Point, SplitStep, half_steps, steps_at
from gridflow.problem import Problem
from gridflow.scheme.base import State
from gridflow.scheme.finite_volume.curvature import Curvature, Linearised
from gridflow.scheme.finite_volume.drive import Drive
from gridflow.scheme.finite_volume.limits import ENERGY_SAFETY, Limits
from gridflow.scheme.finite_volume.sliding import Sliding, Viscosity
from gridflow.scheme.finite_volume.stages import ENERGY_MAX, HEUN, STAGES_MAX, Stages
from gridflow.scheme.finite_volume.transport import Transport
from gridflow.space.factor import Array

ATTEMPTS = 60
"""Steps are redone with at most half the step: 60 halvings end below round-off of any time."""


class FiniteVolumeStepper:
    """Finite volumes bound to a problem: everything that is reused between steps. Diffusion is explicit, or the heat semigroup.

    order, cfl, accuracy, sliding : see `gridflow.scheme.finite_volume.scheme`; fitted : whether the fluxes contain the
    temperature, which is split off else
    """

    def __init__(
        self, problem: Problem, order: int, cfl: float, accuracy: float, sliding: bool = False, *, fitted: bool = True
    ) -> None:
        self.problem, self.grid = problem, problem.grid
        self.transport = Transport(problem, order, fitted=fitted)
        self.limits = Limits.of(cfl, accuracy, problem.grid.whole, self.transport)
        terms = [t for t in problem.terms if t.splits and not (t.fits and fitted)]
        self.split_steps: list[SplitStep] = list(terms)
        self.dyadic = any(t.diffuses for t in terms)
        self.drive = Drive(problem, self.transport)
        self.stages = Stages(self.transport, self.drive, self.limits, HEUN if terms else STAGES_MAX)
        self.sliding = Sliding(problem.grid) if sliding else None
        self.works = sliding and problem.temperature == 0

    def at(self, temperature: float) -> Self:
        """The stepper of the problem with a temperature that stands still; it shares tables and matrices."""
        other = copy(self)
        other.problem = self.problem.at(temperature)
        other.transport = self.transport.at(other.problem)
        other.stages = self.stages.at(other.transport)
        other.split_steps = steps_at(self.split_steps, temperature)
        return other

    def at_time(self, time: float) -> Self:
        """That of the temperature of a time."""
        return self.at(self.problem.flow.temperature_at(time)) if self.problem.annealed else self

    @property
    def reports(self) -> tuple[str, ...]:
        """Names of the numbers that it adds to every save."""
        return (*self.drive.reports, *(("viscous_work",) if self.works else ()))

    def report(self, state: State) -> dict[str, float]:
        """The numbers of `reports` for a state."""
        return {**self.drive.numbers(state.density, state.reports), **self.works_until(state)}

    def works_until(self, state: State, added: float = 0.0) -> dict[str, float]:
        """The report of the work of the viscosity in all steps to a state, and of what a step adds."""
        return {"viscous_work": state.reports.get("viscous_work", 0.0) + added} if self.works else {}

    def parts(self, viscosity: Viscosity | None) -> Sequence[SplitStep]:
        """What a step splits off, in the order before the transport."""
        return self.split_steps if viscosity is None else [*self.split_steps, *viscosity.steps(0.0)]

    def warnings(self, state: State) -> list[str]:
        """Of fitted fluxes that are not resolved."""
        return self.at_time(state.time).transport.warnings(state.density, state.evaluation.first_variation)

    @property
    def conserves_mass(self) -> bool:
        """Whether every step conserves the mass."""
        return self.problem.keeps_mass

    @property
    def energy_decreases(self) -> bool:
        """Whether this scheme claims that the (free) energy never increases."""
        return self.problem.bound.convex and not self.dyadic and self.problem.lowers_energy

    def may_rise(self, state: State) -> bool:
        """Whether an attempt from this state is a step where it raises the energy, too."""
        return not self.energy_decreases

    def carried(self, state: State, reports: dict[str, float]) -> dict[str, float]:
        """The reports of a new state, with what else it carries from the one before."""
        return reports

    def dissipation(self, density: Array, evaluation: Evaluation, time: float = 0.0) -> float:
        """−dF/dt of the flow discrete in space, at the temperature of a time (`gridflow.scheme.finite_volume.transport`)."""
        return self.at_time(time).dissipation_now(density, evaluation)

    def dissipation_now(self, density: Array, evaluation: Evaluation) -> float:
        """The same at the temperature of this stepper."""
        falls = self.transport.dissipation(density, evaluation)
        if self.sliding is None or not self.works:
            return falls
        viscosity = self.sliding.viscosity(evaluation.potential)
        return falls if viscosity is None else falls - viscosity.power(density, evaluation.potential)

    def start(self, density: Array, time: float = 0.0, dt: float = np.inf) -> State:
        """The state of a density; without `dt` the first step is bound by positivity alone."""
        density = np.ascontiguousarray(density, dtype=float)
        reports = self.drive.level(density, time)
        evaluation = self.drive.evaluate(density, time, reports.get("noise_level", 0.0))
        now = self.at_time(time)
        dt = now.first_step(density, evaluation) if np.isinf(dt) else dt
        return now.transport.state(density, time, dt, evaluation, now.dissipation_now(density, evaluation), reports=reports)

    def first_step(self, density: Array, evaluation: Evaluation) -> float:
        """The Euler step that positivity allows; the accuracy is not known yet."""
        return self.limits.positivity(self.transport.outflow(density.reshape(self.transport.view), evaluation))

    def step(self, state: State, dt_max: float, interval: float = np.inf) -> State:
        """One accepted step of at most dt_max. Raises SolveError if no step is acceptable or a value is not finite."""
        state = self.with_curvature(state)
        dt = min(state.dt, dt_max)
        for _ in range(ATTEMPTS):
            if self.dyadic:  # a ladder below the time between saves: the matrices of the semigroup are reused
                unit = interval if np.isfinite(interval) else 1.0
                dt = unit * 2.0 ** np.floor(np.log2(dt / unit * (1 + 1e-9)))
            new, dt_retry = self.trial(state, dt)
            if new is not None:
                return new
            dt = min(dt_retry, dt / 2)
        raise SolveError(self.no_step(state, dt))

    def trial(self, state: State, dt: float) -> tuple[State | None, float]:
        """An attempt at the mean temperature of the step."""
        if not self.problem.annealed:
            return self.attempt(state, dt)
        flow = self.problem.flow
        mean = flow.mean_temperature(state.time, state.time + dt)
        new, dt_retry = self.at(mean).attempt(state.at(mean), dt)
        return None if new is None else new.at(flow.temperature_at(new.time)), dt_retry

    def no_step(self, state: State, dt: float) -> str:
        """The message where every attempt failed; dt : what would be tried next."""
        return (
            f"no acceptable step at time {state.time:.6g}: in steps down to {dt:.1e} the density falls below 0, or the energy"
            f" rises above its round-off {state.evaluation.roundoff:.1e}, though it is claimed to fall; use scheme.order = 1, or"
            " correct value and first_variation of an energy of your own"
        )

    def with_curvature(self, state: State) -> State:
        """The state with the curvature of the energy, measured where it is due, and the step that it allows."""
        curvature = self.curvature(state)
        largest = self.stages.most(self.viscosity(state)) * curvature.step_max
        dt = min(state.dt, largest) if state.arrays else self.limits.curvature(state.dt, largest)
        return replace(state, arrays={**state.arrays, **curvature.arrays()}, dt=dt)

    def curvature(self, state: State) -> Curvature:
        """The curvature that a state carries, measured anew where it is due."""
        before = Curvature.of_arrays(state.arrays) if state.arrays else None
        if before is not None and before.due > 0:
            return before
        linearised = self.linearised(state)
        return linearised.first() if before is None else linearised.renewal(before, state.dt)

    def linearised(self, state: State) -> Linearised:
        """The flow linearised around a state."""
        return self.drive.linearised(state.density, state.time, state.reports.get("noise_level", 0.0))

    def viscosity(self, state: State) -> Viscosity | None:
        """That of a step from a state, where mass slides along kinks."""
        return None if self.sliding is None else self.sliding.viscosity(state.evaluation.potential)

    def attempt(self, state: State, dt: float) -> tuple[State | None, float]:
        """(new state, _) or (None, the step to try next)."""
        level, end = state.reports.get("noise_level", 0.0), state.time + dt
        here = Point(state.density, partial(self.drive.evaluate, time=state.time, level=level), state.evaluation)
        viscosity = self.viscosity(state)
        parts = self.parts(viscosity)
        before, dt_terms = half_steps(here, parts, dt / 2)
        if before is None or dt * ENERGY_SAFETY > dt_terms:
            return None, dt_terms
        start = before[-1]
        moved, dt_retry = self.stages.advance(start, state, dt, viscosity)
        if moved is None:
            return None, dt_retry
        there = Point(moved.density, partial(self.drive.evaluate, time=end, level=self.drive.level_later(end, level)))
        behind, _ = half_steps(there, parts[::-1], dt / 2)
        if behind is None:
            return None, dt / 2
        density = behind[-1].density
        reports = self.drive.level(density, end)
        final = self.drive.evaluate(density, end, reports.get("noise_level", 0.0))
        after = Point(density, self.drive.evaluate, final)
        dt_change = self.limit_of_changes(state, before, after, moved.energy, dt)
        if dt_change < dt / 2:
            return None, dt_change
        value, roundoff, entropy = self.problem.free_energy(density, final)
        rise = value - state.free_energy
        work = viscosity.work_of_step(before, [*behind[:-1], after], moved.work) if viscosity else 0.0
        if not self.may_rise(state) and rise > work + roundoff:
            return None, dt / 2
        dt_new, arrays = min(moved.limit, dt_terms, dt_change), {}
        if state.arrays:
            curvature = Curvature.of_arrays(state.arrays)
            dt_new = self.limits.curvature(dt_new, self.stages.euler_max * curvature.step_max)
            arrays = {**curvature.after_step().arrays(), ENERGY_MAX: np.array(moved.energy_max)}
        low = self.transport.least(density) if parts else np.inf
        new = State(
            density=density,
            time=end,
            dt=float(dt_new),
            evaluation=final,
            free_energy=value,
            entropy=entropy,
            dissipation=self.dissipation_in_step(start, moved.energy, rise, dt),
            density_min=min(state.density_min, moved.low, low),
            rise=max(state.rise, rise),
            rise_roundoff=max(state.rise_roundoff, roundoff),
            arrays=arrays,
            reports=self.carried(state, {**reports, **self.works_until(state, work)}),
        )
        return new, dt

    def limit_of_changes(self, state: State, before: list[Point], after: Point, moved: float, dt: float) -> float:
        """The step for which the split terms change by no more than the tolerance while they act."""
        limit, start = np.inf, before[-1]
        for term, own in zip(self.split_steps, before[1:], strict=False):  # lines of a viscosity, behind them, limit nothing
            carried = abs(moved)
            if own is not start:  # moved by the terms behind it
                shift = (start.density - own.density) * self.grid.volume
                carried += 2 * abs(float(self.grid.total(np.vdot(start.evaluation.first_variation, shift))))
            change = term.change(state.evaluation, after.evaluation, after.density, carried)
            if change is not None:
                limit = min(limit, self.limits.change(dt, change), max(2 * dt, state.dt))
        return limit

    def dissipation_in_step(self, start: Point, moved: float, rise: float, dt: float) -> float:
        """−dF/dt during a step, as cheap as can be."""
        if self.sliding is not None or any(term.diffuses for term in self.problem.terms):
            return -rise / dt
        xi = start.evaluation.first_variation
        return sum(term.dissipation(start.density, xi) for term in self.problem.terms) - moved / dt
