"""Finite volumes with an implicit internal energy: steps as long as accuracy allows.

U'(ρ), a part of ξ, diffuses with P'(ρ) = ρU''(ρ), and its rest η = ξ − U'(ρ) carries the mass. As with a temperature
(`gridflow.scheme.finite_volume.implicit_stepper`, with D → P'), both are done together by implicit lines where diffusion is as
fast as the drift, at rest for example (`gridflow.scheme.finite_volume.pressure`), and where the drift is faster, the
second-order sweep carries it, explicitly, between two implicit half steps of the diffusion. The energy is checked in every step.
Where U is all of the energy no drift is left, and a sweep is never done. A temperature diffuses in the same lines.
"""

from dataclasses import replace

import numpy as np

from gridflow.energy.base import Evaluation
from gridflow.energy.sum import with_rest
from gridflow.flow.temperature import Temperature
from gridflow.flow.term import Point
from gridflow.problem import Problem
from gridflow.scheme.base import State
from gridflow.scheme.finite_volume.drive import Drive
from gridflow.scheme.finite_volume.implicit import Spread
from gridflow.scheme.finite_volume.implicit_stepper import ImplicitStepper
from gridflow.scheme.finite_volume.pressure import Pressure
from gridflow.scheme.finite_volume.stages import STAGES_MAX, Stages
from gridflow.space.factor import Array


def splits_internal(problem: Problem) -> bool:
    """Whether these steps do a problem: an internal energy, at most a temperature, and no surface on which mass moves."""
    grid = problem.grid
    flat = all(f.one_dimensional or m.max() == 0 or not f.moves for f, m in zip(grid.factors, grid.mobility, strict=True))
    return problem.bound.local is not None and all(isinstance(term, Temperature) for term in problem.terms) and flat


class RestDrive(Drive):
    """Evaluations in which η drives the mass."""

    def evaluate(self, density: Array, time: float = 0.0, level: float = 0.0) -> Evaluation:
        evaluation, rest = with_rest(self.problem.bound, density, self.problem.grid.volume)
        return replace(self.problem.finite(evaluation), drive=rest)


class InternalStepper(ImplicitStepper):
    """Finite volumes with an implicit internal energy, bound to a problem."""

    def __init__(self, problem: Problem, order: int, cfl: float, accuracy: float) -> None:
        super().__init__(problem, order, cfl, accuracy)
        law = problem.bound.local
        assert law is not None
        self.implicit = Pressure(problem.grid, law, problem.temperature)
        self.drive = RestDrive(problem, self.transport)
        self.stages = Stages(self.transport, self.drive, self.limits, STAGES_MAX)
        self.split_steps = [Spread(self.implicit)]

    @property
    def pressure(self) -> Pressure:
        """What does the implicit lines."""
        assert isinstance(self.implicit, Pressure)
        return self.implicit

    def start(self, density: Array, time: float = 0.0, dt: float = np.inf) -> State:
        self.first_time = self.pressure.time_of_cells(density)
        return super().start(density, time, dt)

    def with_curvature(self, state: State) -> State:
        return super().with_curvature(state) if state.evaluation.potential.any() else state

    def dissipation_now(self, density: Array, evaluation: Evaluation) -> float:
        """Of the fluxes of implicit lines."""
        return self.pressure.falls(density, evaluation)

    def dissipation_in_step(self, start: Point, moved: float, rise: float, dt: float) -> float:
        return -rise / dt
