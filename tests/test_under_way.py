"""Long runs of a verdict go on after they were killed, to the last bit: those of particles, and those on grids."""

from functools import partial

import numpy as np
import pytest
from helpers import QUADRATIC, case_of

from gridflow.errors import SolveError
from gridflow.particles.integrator import Adaptive, GradientDescent, RungeKutta2
from gridflow.particles.proximal import ProximalPoint
from gridflow.particles.simulation import Simulator
from gridflow.progress import Progress
from gridflow.run import Run
from gridflow.verdict import grids
from gridflow.verdict.finished import NOT_KEPT, Finished
from gridflow.verdict.plan import plan_of
from gridflow.verdict.under_way import RunUnderWay

CHANGES = {
    "noise": {"flow.temperature": 0.1},
    "weights": {"flow.reaction.rate": 0.5},
    "neither": {},
}
RUNS = {
    "gradient descent": (GradientDescent(step=0.05), "noise"),
    "minibatches": (GradientDescent(step=0.05, batch=3), "neither"),
    "Heun with noise": (RungeKutta2(step=0.05), "noise"),
    "Heun with weights": (RungeKutta2(step=0.05), "weights"),
    "proximal points": (ProximalPoint(step=0.05), "neither"),
    "adaptive": (Adaptive(tolerance=1e-9), "neither"),
    "adaptive with weights": (Adaptive(tolerance=1e-9), "weights"),
}
TIMES = [0.0, 0.12, 0.5, 0.6]
"""3, 8 and 2 steps."""


@pytest.fixture
def at_every_step(monkeypatch):
    """A file after every step."""
    for module, loop in (("verdict.under_way", "verdict.under_way"), ("run_files", "run")):
        monkeypatch.setattr(f"gridflow.{loop}.CHECKPOINT_SECONDS", -1.0)
        monkeypatch.setattr(f"gridflow.{module}.checkpoint_interval", lambda seconds: -1.0)


class Killed(RunUnderWay):
    """Ends in step `number`, without its file."""

    def __init__(self, path, number):
        super().__init__(path)
        self.number, self.steps = number, 0

    def after_step(self, dynamics, course):
        self.steps += 1
        if self.steps == self.number:
            raise KeyboardInterrupt
        super().after_step(dynamics, course)


@pytest.mark.parametrize("name", RUNS)
def test_a_killed_particle_run_goes_on_bit_by_bit(name, tmp_path, at_every_step):
    """Killed in its first step, within an interval, in the last step of one, and in the first of the next; or somewhere."""
    integrator, changes = RUNS[name]
    simulator = Simulator(case_of(QUADRATIC).replace(CHANGES[changes]).problem())
    run = partial(simulator.run, 20, times=TIMES, integrator=integrator, seed=3)
    whole, path = run(), tmp_path / "a"
    adaptive = isinstance(integrator, Adaptive)  # which takes long steps
    for number in (1, 2, 2) if adaptive else (1, 2, 2, 4, 4):
        with pytest.raises(KeyboardInterrupt):
            run(keeper=Killed(path, number))
    last = Killed(path, -1)
    found = run(keeper=last)
    assert last.steps == 3 + 8 + 2 - 1 - 1 - 3 - 3 or adaptive
    assert found.seconds > last.seconds > 0
    for field in ("points", "weights", "energy", "prediction"):
        np.testing.assert_array_equal(getattr(found, field), getattr(whole, field))
    assert (found.evaluations, found.unconverged) == (whole.evaluations, whole.unconverged)


def test_a_damaged_file_is_not_used(tmp_path, at_every_step):
    simulator = Simulator(case_of(QUADRATIC).problem())
    run = partial(simulator.run, 20, times=TIMES, integrator=RungeKutta2(step=0.05))
    whole, path = run(), tmp_path / "a"
    with pytest.raises(KeyboardInterrupt):
        run(keeper=Killed(path, 5))
    path.write_bytes(path.read_bytes()[:-3])
    last = Killed(path, -1)
    np.testing.assert_array_equal(run(keeper=last).points, whole.points)
    assert last.steps == 3 + 8 + 2


def test_a_short_run_makes_no_file(tmp_path):
    keeper = RunUnderWay(tmp_path / "a")
    Simulator(case_of(QUADRATIC).problem()).run(20, times=TIMES, integrator=RungeKutta2(step=0.05), keeper=keeper)
    assert list(tmp_path.iterdir()) == []


def test_a_run_that_fails_leaves_no_empty_folder(tmp_path):
    """Else the next validation would be told that one was interrupted."""

    def failing(kept):
        raise SolveError("diverged")

    with pytest.raises(SolveError):
        Finished(tmp_path / "kept").parts("a", {}, failing)
    assert list(tmp_path.iterdir()) == []


LIMIT = {"threshold": 0.2, "reason": "whether it passes is not the question here"}
SCHEMES = {"explicit": {}, "JKO": {"scheme": {"kind": "jko", "tau": 0.05}}}


@pytest.mark.parametrize("scheme", SCHEMES)
def test_grids_that_are_killed_go_on_bit_by_bit(scheme, tmp_path, at_every_step, monkeypatch):
    """Every third checkpoint is the last that its process writes."""
    table = {**QUADRATIC, "validation": {"w1": LIMIT, "energy": LIMIT, "times": 2}}
    plan = plan_of(case_of(table).replace(SCHEMES[scheme]), None)
    tally = Progress()
    whole = grids.run_grids(plan, tally, NOT_KEPT)
    taken, save_checkpoint = [], Run.save_checkpoint

    def killed(self):
        save_checkpoint(self)
        taken.append(self.counters.steps)
        if len(taken) % 3 == 0:
            raise KeyboardInterrupt

    monkeypatch.setattr(Run, "save_checkpoint", killed)
    finished, interruptions = Finished(tmp_path / "kept"), 0
    while True:
        try:
            found = grids.run_grids(plan, tally, finished)
            break
        except KeyboardInterrupt:
            interruptions += 1
    assert interruptions > 4
    for name in ("start", "coarse", "sensitivity", "energy"):
        np.testing.assert_array_equal(getattr(found, name), getattr(whole, name))
    assert (found.diagnostics, found.steps, found.warnings) == (whole.diagnostics, whole.steps, whole.warnings)
    assert {path.suffix for path in (tmp_path / "kept").iterdir()} == {".run"}
