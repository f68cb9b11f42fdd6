"""Finite volumes with an implicit temperature: steps as long as accuracy allows.

How the drift is carried depends on the Péclet number Pe = |grad ξ|L/D of the density, L its length |grad log ρ|⁻¹, in the mean
square (`Implicit.peclet`); at rest it is 1, whatever the cells:

* Pe ≤ PECLET_LOW, *fitted* steps: exponentially fitted lines carry drift and diffusion together, implicitly. Positive, mass kept,
  e^{−ξ/D}/Z at rest; the free energy is checked in every step. Their diffusivity is too large by DP²/12, P = |ξ_c − ξ_o|/D that
  of a cell: an error of order 2, which is Pe times that of second-order transport;
* Pe ≥ PECLET_HIGH, *split* steps: the second-order sweep carries the drift, explicitly, between two implicit half steps of
  diffusion alone (Strang). As D → 0 it is the scheme without temperature. Where the splitting would raise the free energy, close
  to rest, a fitted step is done instead. Where mass slides along kinks (`gridflow.scheme.finite_volume.sliding`), the viscosity
  acts in these steps, beside the diffusion, and not in fitted ones;
* between the two the new density is a mean of both, with weights that change smoothly.

Beside the limits of the sweep, where there is one, dt obeys an estimate of the error in time: now and then a step is done again
as two of half its length. At order 2 their errors are 4 : 1, so that 4/3 of the difference is that of the long step. In L1 it may
be `ERROR_MAX`·(√accuracy/n)³ of the mass, n the cells along one direction. The error of other steps is predicted from the last
measurement, and a step of which too much is predicted is measured. At rest, where nothing moves, fitted steps grow without bound.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Self

import numpy as np

from gridflow.energy.base import Evaluation
from gridflow.errors import SolveError, require
from gridflow.flow.term import FlowTerm, Point, SplitStep, half_steps, steps_at
from gridflow.problem import Problem
from gridflow.scheme.base import State
from gridflow.scheme.finite_volume.curvature import Curvature
from gridflow.scheme.finite_volume.implicit import Implicit, Spread
from gridflow.scheme.finite_volume.limits import ENERGY_SAFETY
from gridflow.scheme.finite_volume.sliding import Viscosity
from gridflow.scheme.finite_volume.stages import STAGES_MAX, Stages
from gridflow.scheme.finite_volume.stepper import ATTEMPTS, FiniteVolumeStepper
from gridflow.space.factor import Array
from gridflow.space.grid import Grid

PECLET_LOW, PECLET_HIGH = 2.0, 4.0
"""A fitted step is as long as accuracy allows and costs a tenth of the split steps in the same time, which buys cells 2.2 times
finer in two dimensions, where steps are proportional to cells: at equal cost both errors are equal at Pe = 5, and at 2 they are
about equal on the same cells for densities that move over one or two of their widths (`tests/test_implicit.py`)."""
ERROR_MAX = 100.0
"""Steps are then proportional to 1/n, and their errors add up, and fade, to at most about the error in space."""
CELLS_MIN = 16
"""Cells that the tolerance counts at least: with fewer it would be a share of all mass."""
ROUNDOFF = 1e-13
"""Of an L1 distance of densities of mass 1: no tolerance is smaller."""
TEMPERATURES = (1e-100, 1e30)
"""Whose ratios with potentials and cells are numbers of the machine."""
SAFETY, GROWTH = 0.9, 4.0
"""Share of the step that meets the tolerance; largest factor between two measured steps."""
WAIT, WAIT_LONG = 8, 32
"""Steps between two measurements, where the error binds dt and where something else does: one costs two steps more. The errors of
those between are predicted."""
CARRIED = ("peclet", "error_step", "measured_step", "measured_error", "measured_move")
TINY = 1e-300
"""In place of the length of a measured step that moved nothing."""


class ImplicitStepper(FiniteVolumeStepper):
    """Finite volumes with implicit temperature and diffusion, bound to a problem.

    A state carries among its `reports` "peclet"; of the last measurement its length "measured_step", the error then
    ("measured_error") and the L1 distance that it moved ("measured_move"); "error_step", the step that it allows; and "due", the
    steps to the next one.
    """

    def __init__(self, problem: Problem, order: int, cfl: float, accuracy: float, sliding: bool = False) -> None:
        super().__init__(problem, order, cfl, accuracy, sliding, fitted=False)
        self.dyadic = False
        grid, temperature = problem.grid, problem.temperature
        self.others = [split_step(grid, term) for term in problem.terms if term.splits and not term.fits]
        self.implicit = Implicit(grid, grid.mobility, temperature, problem.bound.linear)
        if all(isinstance(step, Spread) for step in self.others):  # of any length: the estimate of the error looks after them
            self.stages = Stages(self.transport, self.drive, self.limits, STAGES_MAX)
        self.split_steps = [*self.others, *([Spread(self.implicit)] if self.implicit.moving else [])]
        require(
            temperature == 0 or TEMPERATURES[0] <= temperature <= TEMPERATURES[1],
            f"flow.temperature = {temperature:g}",
            f"0, or {TEMPERATURES[0]:g} to {TEMPERATURES[1]:g}",
            "choose units in which it is of the size of the potentials",
        )
        spread = [step.implicit for step in self.others if isinstance(step, Spread)]
        self.first_time = min(implicit.first_time() for implicit in (self.implicit, *spread))
        whole = grid.whole
        moving = [f for f, m in zip(whole.factors, whole.mobility, strict=True) if f.moves and m.max() > 0]
        moving += [whole.factors[axis] for implicit in spread for axis in implicit.moving]
        cells = max([CELLS_MIN, *(int(f.size ** (1 / f.dimension)) for f in moving)])
        self.tolerance = max(ERROR_MAX * (accuracy**0.5 / cells) ** 3, ROUNDOFF)

    def at(self, temperature: float) -> Self:
        other = super().at(temperature)
        other.others = steps_at(self.others, temperature)
        if self.implicit.moving:
            other.implicit = self.implicit.at(temperature)
            other.split_steps = [*other.others, Spread(other.implicit)]
        return other

    def parts(self, viscosity: Viscosity | None) -> Sequence[SplitStep]:
        """The temperature diffuses beside a viscosity, in the same lines."""
        if viscosity is None or not self.implicit.moving:
            return super().parts(viscosity)
        return [*self.others, *viscosity.steps(self.implicit.temperature)]

    def share(self, state: State) -> float:
        """Weight of the fitted step."""
        if self.problem.driven or not self.implicit.moving:
            return 0.0  # no free energy falls, or nothing diffuses that the energy knows of
        x = (state.reports["peclet"] - PECLET_LOW) / (PECLET_HIGH - PECLET_LOW)
        x = min(max(x, 0.0), 1.0)
        return 1 - x * x * (3 - 2 * x)

    def may_rise(self, state: State) -> bool:
        return True  # `attempt` looks after it

    @property
    def reports(self) -> tuple[str, ...]:
        return (*super().reports, *(("peclet", "cell_peclet", "fitted_share") if self.implicit.moving else ()))

    def report(self, state: State) -> dict[str, float]:
        if not self.implicit.moving:
            return super().report(state)
        cells = self.at_time(state.time).implicit.cell_peclet(state.density, state.evaluation.potential)
        own = {"peclet": state.reports["peclet"], "cell_peclet": cells, "fitted_share": self.share(state)}
        return {**super().report(state), **own}

    def dissipation_now(self, density: Array, evaluation: Evaluation) -> float:
        """Of fitted steps where a temperature drives the flow; second order for split ones."""
        if self.problem.driven or not self.implicit.moving:
            return super().dissipation_now(density, evaluation)
        xi = evaluation.first_variation
        return self.implicit.dissipation(density, xi) + sum(term.dissipation(density, xi) for term in self.problem.terms)

    def carried(self, state: State, reports: dict[str, float]) -> dict[str, float]:
        own = {name: state.reports[name] for name in CARRIED}
        return {**reports, **own, "due": max(0.0, state.reports["due"] - 1)}

    def first_step(self, density: Array, evaluation: Evaluation) -> float:
        """No other limit than `Implicit.first_time`: what sweeps need is found when one is done."""
        return np.inf

    def start(self, density: Array, time: float = 0.0, dt: float = np.inf) -> State:
        state = super().start(density, time, dt)
        own = {**dict.fromkeys(CARRIED, 0.0), "peclet": self.peclet(state), "error_step": self.first_time, "due": 0.0}
        return replace(state, dt=min(state.dt, self.first_time), reports={**state.reports, **own})

    def peclet(self, state: State) -> float:
        """See `Implicit.peclet`, at the temperature of the time."""
        if not self.implicit.moving:
            return np.inf
        return self.at_time(state.time).implicit.peclet(state.density, state.evaluation.potential)

    def step(self, state: State, dt_max: float, interval: float = np.inf) -> State:
        state = self.with_curvature(state)
        dt, due = min(state.dt, dt_max), state.reports["due"] == 0
        for _ in range(ATTEMPTS):
            new, dt_retry = self.measured(state, dt) if due else self.trial(state, dt)
            if new is not None and not due and self.predicted_error(state, new) > self.tolerance * self.mass(new):
                due = True  # and the same once more
                continue
            if new is not None:
                reports = {**new.reports, "peclet": self.peclet(new)}
                return replace(new, dt=min(new.dt, reports["error_step"]), reports=reports)
            dt = min(dt_retry, dt / 2)
        raise SolveError(self.no_step(state, dt))

    def mass(self, state: State) -> float:
        """∫ρ dV."""
        return self.grid.integrate(state.density)

    def distance(self, one: State, two: State) -> float:
        """L1 distance of two densities."""
        difference = one.density - two.density
        return float(self.grid.total(np.vdot(np.abs(difference, out=difference), self.grid.volume)))

    def predicted_error(self, state: State, new: State) -> float:
        """Of a step, from the last measurement: proportional to the speed and to the cube of the step."""
        reports, dt = state.reports, new.time - state.time
        longer = dt / reports["measured_step"]
        return reports["measured_error"] * longer**2 * self.distance(new, state) / max(reports["measured_move"], TINY)

    def measured(self, state: State, dt: float) -> tuple[State | None, float]:
        """Two steps of dt/2, compared with one of dt."""
        volume = self.weights_of_error(state)
        long, dt_retry = self.trial(state, dt)
        if long is None:
            return None, dt_retry
        middle, dt_retry = self.trial(state, dt / 2)
        new = None if middle is None else self.trial(middle, dt / 2)[0]
        if new is None:
            return None, dt / 2
        error = 4 / 3 * float(self.grid.total(np.vdot(np.abs(new.density - long.density), volume)))
        factor = SAFETY * float(np.cbrt(self.tolerance * self.mass(new) / error)) if error > 0 else np.inf
        if factor < 0.5:
            return None, factor * dt
        error_step = dt * min(factor, GROWTH)
        if dt < state.dt and factor > 1:  # cut short by a save
            error_step = max(error_step, state.reports["error_step"])
        grows = factor > 2 and dt == state.dt and error_step < new.dt
        due = 0.0 if grows else float(WAIT if error_step < 2 * min(new.dt, dt) else WAIT_LONG)
        own = {"measured_step": dt, "measured_error": error, "measured_move": self.distance(new, state)}
        return replace(new, reports={**new.reports, **own, "error_step": error_step, "due": due}), dt

    def weights_of_error(self, state: State) -> Array:
        """Volumes of cells in the estimate of the error, those with a viscosity times the share of the fitted step.

        In a fitted step no viscosity acts, and its error is measured in all cells. In a split one what drift and viscosity do to
        the profile of a kink does not become small before dt is a small part of h/|velocity|, and is left out. Of a mean of both
        the error of the fitted step counts as much as it adds, and with it no more than that part of the other one.
        """
        viscosity, share = self.viscosity(state), self.share(state)
        return self.grid.volume if viscosity is None else share * self.grid.volume + (1 - share) * viscosity.volume_beside

    def attempt(self, state: State, dt: float) -> tuple[State | None, float]:
        """A fitted step, a split one, or their mean; a fitted one where another would raise the free energy."""
        share = self.share(state)
        if share == 1:
            return self.fitted_step(state, dt)
        new, dt_retry = super().attempt(state, dt)
        if new is None:
            return None, dt_retry
        if share > 0:
            fitted, dt_retry = self.fitted_step(state, dt)
            if fitted is None:
                return None, dt_retry
            new = self.mean(state, fitted, new, share, dt)
        if self.energy_decreases and new.free_energy - state.free_energy > new.rise_roundoff:
            return self.fitted_step(state, dt)
        return new, dt

    def mean(self, state: State, fitted: State, split: State, share: float, dt: float) -> State:
        """The state after a step dt from `state` that was done in two ways, which differ by the error in space alone.

        (To second order in time; the mean adds ⅛dt²(A − B)²ρ, A and B the generators of the two, which fall like h².)
        """
        density = share * fitted.density + (1 - share) * split.density
        final = self.drive.evaluate(density, split.time)
        value, roundoff, entropy = self.problem.free_energy(density, final)
        return replace(
            split,
            density=density,
            evaluation=final,
            free_energy=value,
            entropy=entropy,
            dissipation=(state.free_energy - value) / dt,
            rise=max(state.rise, value - state.free_energy),
            rise_roundoff=max(state.rise_roundoff, roundoff),
        )

    def fitted_step(self, state: State, dt: float) -> tuple[State | None, float]:
        """A step in which lines carry all of the drift: (new state, _) or (None, the step to try next)."""
        end = state.time + dt
        here = Point(state.density, partial(self.drive.evaluate, time=state.time), state.evaluation)
        before, dt_terms = half_steps(here, self.others, dt / 2)
        if before is None or dt * ENERGY_SAFETY > dt_terms:
            return None, dt_terms
        there = Point(self.implicit.step(before[-1], dt), here.evaluate)
        behind, _ = half_steps(there, self.others[::-1], dt / 2)
        if behind is None:
            return None, dt / 2
        density, final = behind[-1].density, behind[-1].evaluation
        value, roundoff, entropy = self.problem.free_energy(density, final)
        rise = value - state.free_energy
        if self.energy_decreases and rise > roundoff:
            return None, dt / 2
        dt_new, arrays = dt_terms, state.arrays
        if arrays:
            curvature = Curvature.of_arrays(arrays)
            dt_new, arrays = min(dt_new, curvature.step_max), curvature.after_step().arrays()
        new = State(
            density=density,
            time=end,
            dt=dt_new,
            evaluation=final,
            free_energy=value,
            entropy=entropy,
            dissipation=-rise / dt,
            density_min=min(state.density_min, self.transport.least(density)),
            rise=max(state.rise, rise),
            rise_roundoff=max(state.rise_roundoff, roundoff),
            arrays=arrays,
            reports=self.carried(state, {}),
        )
        return new, dt

    def with_curvature(self, state: State) -> State:
        """The state with the curvature measured where it is due; an energy that is linear has none."""
        if self.problem.bound.linear and self.share(state) == 1:
            return state
        return super().with_curvature(state)


def split_step(grid: Grid, term: FlowTerm[Any]) -> SplitStep:
    """A term itself, or the implicit step of one that is nothing but diffusion along single factors."""
    rates = term.diffusion_rates()
    return term if rates is None else Spread(Implicit(grid, [np.full((1,) * len(grid.factors), rate) for rate in rates], 1.0))
