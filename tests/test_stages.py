"""Steps of many stages: the formula of the scheme, its order in time, and how many stages a step takes."""

from pathlib import Path

import numpy as np
import pytest
from helpers import QUADRATIC, case_of

from gridflow.energy.potential import DoubleWell, PotentialEnergy
from gridflow.flow.term import Point
from gridflow.problem import Problem
from gridflow.scheme.finite_volume.limits import Limits
from gridflow.scheme.finite_volume.scheme import FiniteVolume
from gridflow.scheme.finite_volume.stages import STAGES_MAX, Stages
from gridflow.space.circle import Circle
from gridflow.space.grid import Grid
from gridflow.space.line import Interval
from gridflow.space.mixture import mixture_masses
from tests.reference.sweep import flux_divergence

GRID = Grid([Interval(bounds=(-1.5, 1.5), cells=12).factor("x"), Circle(cells=10).factor("angle")])


def potential_state(rng):
    stepper = FiniteVolume().init(Problem(GRID, PotentialEnergy({"x": DoubleWell()})))
    return stepper, stepper.start(0.5 + rng.random(GRID.shape))


def quadratic():
    case = case_of({k: v for k, v in QUADRATIC.items() if k != "exact"}, scheme__order=1)
    problem = case.problem()
    density = mixture_masses(case.initial, problem.grid, Path(), "initial") / problem.grid.volume
    stepper = case.scheme.init(problem)
    return stepper, stepper.start(density)


@pytest.mark.parametrize("count", [1, 2, 3, 9])
def test_a_step_is_euler_steps_and_a_mean(count, rng, monkeypatch):
    monkeypatch.setattr(Limits, "accuracy", lambda self, *limits: np.inf)  # twelve cells are too coarse for it
    stepper, state = potential_state(rng)
    dt_positive = stepper.limits.positivity(stepper.transport.outflow(state.density, state.evaluation))
    h = 0.9 * dt_positive
    moved, _ = stepper.stages.advance(Point(state.density, stepper.drive.evaluate, state.evaluation), state, count * h)
    rho, xi = state.density, state.evaluation.first_variation
    for _ in range(count):
        rho = rho + h * flux_divergence(GRID, rho, xi, True, None)[0]
    last = rho + h * flux_divergence(GRID, rho, xi, True, None)[0]
    expected = (state.density + count * last) / (count + 1)
    np.testing.assert_allclose(moved.density, expected, rtol=0, atol=1e-13)  # round-off of ten steps
    falls = (GRID.volume * xi * flux_divergence(GRID, state.density, xi, True, None)[0]).sum()
    assert moved.energy == pytest.approx(count * h * falls, rel=1e-10)


@pytest.mark.parametrize("count", [1, 4, 9])
def test_second_order_in_time_for_any_number_of_stages(count, monkeypatch):
    """Fixed grid and fixed steps of a fixed number of stages against very small ones."""
    stepper, start = quadratic()
    monkeypatch.setattr(Stages, "euler_steps", lambda self, state, dt, dt_positive, viscosity: count)
    span = 0.125

    def run(steps):
        state = start
        for _ in range(steps):
            state, _ = stepper.attempt(state, span / steps)
        return state.density

    finest = run(1024)
    gaps = [np.abs(run(n) - finest).sum() for n in (16, 32, 64)]
    orders = np.log2(np.array(gaps[:-1]) / np.array(gaps[1:]))
    assert np.abs(orders - 2).max() <= 0.1, f"errors {gaps}"


def test_as_few_stages_as_the_limits_admit(rng):
    stepper, state = potential_state(rng)
    found = [stepper.stages.euler_steps(state, dt, 0.1) for dt in (0.01, 0.1, 0.1001, 0.35, 0.9, 5.0)]
    assert found == [1, 1, 2, 4, 9, STAGES_MAX - 1]


def test_a_step_that_is_too_long_for_all_stages_is_refused(rng):
    stepper, state = potential_state(rng)
    dt_positive = stepper.limits.positivity(stepper.transport.outflow(state.density, state.evaluation))
    moved, dt = stepper.stages.advance(Point(state.density, stepper.drive.evaluate, state.evaluation), state, 20 * dt_positive)
    assert moved is None
    assert dt == pytest.approx((STAGES_MAX - 1) * dt_positive)


def test_where_the_energy_needs_shorter_euler_steps_more_are_taken(monkeypatch):
    """E = ½(m₂ − 1)²: a step of thrice what the energy admits, where positivity admits all, takes more than three."""
    stepper, state = quadratic()
    for _ in range(60):
        state = stepper.step(state, np.inf)
    state = stepper.start(state.density)
    counts = []
    advance_by = Stages.advance_by

    def counted(self, count, *rest):
        counts.append(count)
        return advance_by(self, count, *rest)

    monkeypatch.setattr(Stages, "advance_by", counted)
    monkeypatch.setattr(Limits, "energy", lambda self, dt, *rest: 0.01)
    new, _ = stepper.attempt(state, 0.025)
    assert counts == [1, 3]
    assert new is not None


def test_steps_are_long_where_positivity_binds(rng):
    """A run to the same time takes a fraction of the steps of Heun's method and ends at the same density."""
    grid = Grid([Interval(bounds=(-1.5, 1.5), cells=200).factor("x")])
    stepper = FiniteVolume(accuracy=30.0).init(Problem(grid, PotentialEnergy({"x": DoubleWell()})))
    start = stepper.start(1.5 + np.sin(3 * grid.coordinate("x")))
    density, steps = reached(stepper, start, 0.1)
    stepper.stages.euler_max = 1
    heun, steps_heun = reached(stepper, start, 0.1)
    assert steps < steps_heun / 3
    assert np.abs(density - heun).max() < 1e-2 * heun.max()  # the error in time


def reached(stepper, state, time):
    steps = 0
    while state.time < time:
        state, steps = stepper.step(state, time - state.time), steps + 1
    return state.density, steps
