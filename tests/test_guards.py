"""Statuses of runs that go wrong, one test for each; changes that a message proposes are made, and work."""

import re
from dataclasses import replace

import numpy as np
import pytest
from helpers import ORNSTEIN_UHLENBECK, QUADRATIC, case_of

from gridflow.case.changes import parse_setting
from gridflow.energy.base import BoundEnergy, Energy, Evaluation
from gridflow.errors import SolveError
from gridflow.scheme.exact_jko import ExactWassersteinStepper
from gridflow.scheme.finite_volume.implicit_stepper import ImplicitStepper
from gridflow.scheme.finite_volume.stepper import FiniteVolumeStepper
from gridflow.scheme.guards import check_step
from gridflow.solver import solve


def proposed(case, message):
    """The case with all --set of a message."""
    return case.replace(dict(map(parse_setting, re.findall(r"--set (\S+[^\s,;])", message))))


def after_steps(monkeypatch, stepper, number, change):
    """Every step of a scheme but the first ones ends in a changed state."""
    step, done = stepper.step, []

    def changed(self, state, dt, interval=np.inf):
        done.append(1)
        new = step(self, state, dt, interval)
        return change(state, new) if len(done) > number else new

    monkeypatch.setattr(stepper, "step", changed)


FAULTS = {
    "non-finite density": lambda state, new: replace(new, density=new.density * np.nan),
    "a negative density -1.00e-20": lambda state, new: replace(new, density_min=-1e-20),
    "relative mass error 1.00e-11, above 1e-12": lambda state, new: replace(new, density=new.density * (1 + 1e-11)),
    "the energy rose by ": lambda state, new: replace(new, free_energy=state.free_energy + 1e-3),
    "step underflow at time": lambda state, new: replace(new, time=state.time),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_of_a_step_is_a_status_and_the_last_good_state_is_kept(fault, monkeypatch):
    after_steps(monkeypatch, FiniteVolumeStepper, 5, FAULTS[fault])
    dataset = solve(case_of(QUADRATIC))
    assert dataset.attrs["status"].startswith(f"failed: {fault}")
    assert int(dataset["steps"][-1]) == 5
    assert 0 < float(dataset["time"][-1]) < 1
    assert (dataset["density"] >= 0).all()


@pytest.mark.parametrize("time", [1.2345678, 0.99999951, 1.0000004])
def test_the_time_that_is_proposed_is_before_the_step_that_failed(time):
    case = case_of(QUADRATIC)
    problem = case.problem()
    stepper = case.scheme.init(problem)
    state = stepper.start(problem.start / problem.grid.volume, time)
    with pytest.raises(SolveError, match="step underflow") as error:
        check_step(state, state, 0.0, stepper, 0.0)
    assert 0.9999 * time < proposed(case, str(error.value)).time.stop < time


def test_every_scheme_that_claims_a_decrease_is_held_to_it(monkeypatch):
    table = {k: v for k, v in ORNSTEIN_UHLENBECK.items() if k not in ("exact", "flow")}
    scheme = {"kind": "exact-wasserstein", "tau": 0.1}
    after_steps(monkeypatch, ExactWassersteinStepper, 1, lambda state, new: replace(new, free_energy=state.free_energy + 1.0))
    dataset = solve(case_of(table, scheme=scheme))
    assert dataset.attrs["status"].startswith("failed: the energy rose by 1.00e+00, above its round-off")
    assert "scheme.kind" in dataset.attrs["status"]


def test_a_flow_that_is_annealed_is_held_to_a_decrease_at_the_temperatures_of_the_step(monkeypatch):
    """A run of which F rises by Ḋ∫ρ log ρ > 0 is completed (`tests/test_annealing.py`); more than that is a fault."""
    changes = {"exact": None, "flow__annealing": {"kind": "exponential", "time": 0.2, "floor": 0.05}, "time__stop": 0.1}
    after_steps(monkeypatch, ImplicitStepper, 3, lambda state, new: replace(new, free_energy=state.free_energy + 0.1))
    status = solve(case_of(ORNSTEIN_UHLENBECK, **changes)).attrs["status"]
    assert status.startswith("failed: the energy rose by ")


class Cliff(Energy, BoundEnergy):
    """∫V dρ, V = −x, of which the slope is 10²⁰ times as large once the mean has passed 0.5."""

    convex = False

    def bind(self, grid):
        self.x = grid.coordinate("theta")
        return self

    def evaluate(self, mass):
        steep = 1e20 if float(np.vdot(mass, self.x)) > 0.5 else 1.0
        potential = -steep * self.x
        return Evaluation(float(np.vdot(mass, potential)), potential, 1e-12 * steep)


def test_velocities_that_no_step_can_follow_end_the_run():
    """A cell in a time of 10⁻²¹ at time 0.2, whose round-off is 3·10⁻¹⁷."""
    case = case_of(QUADRATIC, exact=None)
    status = solve(case, energy=Cliff()).attrs["status"]
    assert status.startswith("failed: step underflow at time 0.")
    assert "below the round-off" in status
    assert solve(proposed(case, status), energy=Cliff()).attrs["status"] == "completed"


def test_a_limit_on_steps_proposes_one_that_is_enough():
    case = case_of(QUADRATIC, time__max_steps=7)
    status = solve(case).attrs["status"]
    assert status.startswith("failed: 7 steps done at time 0.")
    assert solve(proposed(case, status)).attrs["status"] == "completed"


def test_mass_in_one_cell_proposes_a_time_before():
    """x → x e^{−t}: the deviation 0.3 falls below a cell of 0.1 at time 1.1."""
    table = {k: v for k, v in ORNSTEIN_UHLENBECK.items() if k not in ("exact", "flow")}
    energy = {"kind": "potential", "terms": {"x": {"kind": "quadratic", "centre": 0.05}}}
    case = case_of(table, energy=energy, space__x__cells=80, time__stop=6.0, time__save=25)
    (warning,) = solve(case).attrs["warnings"].splitlines()
    assert re.match(r"\d+% of the mass is in one cell at the end \(above 50%\)", warning)
    assert "warnings" not in solve(proposed(case, warning)).attrs


def test_exact_steps_that_stand_still_propose_longer_ones():
    """τ|V'| = 0.01 is less than half a cell of 0.125."""
    table = {k: v for k, v in ORNSTEIN_UHLENBECK.items() if k not in ("exact", "flow")}
    energy = {"kind": "potential", "terms": {"x": {"kind": "linear", "slope": 1.0}}}
    case = case_of(table, energy=energy, scheme={"kind": "exact-wasserstein", "tau": 0.01}, time__stop=0.2, time__save=2)
    dataset = solve(case)
    assert float(dataset["step_w2"][-1]) == 0
    (warning,) = dataset.attrs["warnings"].splitlines()
    assert warning.startswith("no step of 0.01 moved anything, and one of 0.08 does")
    moving = solve(proposed(case, warning))
    assert "warnings" not in moving.attrs
    assert float(moving["energy"][-1]) < float(moving["energy"][0])
