"""Finished runs of a verdict are kept: a validation that was killed goes on, to the same numbers."""

import shlex
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import xarray
from helpers import ORNSTEIN_UHLENBECK, QUADRATIC, case_of

from gridflow.case.case import Case
from gridflow.cli import main
from gridflow.energy.base import ROUNDOFF, BoundEnergy, Energy, Evaluation, ParticleEnergy, ParticleEvaluation
from gridflow.errors import InputError
from gridflow.output.dataset import attributes
from gridflow.output.kept import publish
from gridflow.output.lock import lock_path, locked
from gridflow.particles.simulation import Simulator
from gridflow.progress import Progress
from gridflow.space.distances import Quantiles
from gridflow.verdict import finished, grids
from gridflow.verdict.output import Output
from gridflow.verdict.runner import validate
from gridflow.verdict.sketches import arrays_of, sketches_of

LIMIT = {"threshold": 0.2, "reason": "whether it passes is not the question here"}
FEW = {
    "counts": [8, 16, 64],
    "ensembles": 8,
    "verdict": {"count": 32, "ensembles": 8},
    "integrator": {"kind": "rk2", "step": 0.1},
}
KINDS = ("w1", "w2", "energy_distance", "sliced_w1", "energy", "prediction", "moments", "mass")
TABLE = {
    **QUADRATIC,
    "space": {"theta": {"kind": "interval", "bounds": [-3.0, 3.0], "cells": 16}},
    "particles": FEW,
    "validation": dict.fromkeys(KINDS, LIMIT) | {"times": 2},
}
RUNS = 2 + 4 + 3 * 8 + 8
"""Two for the error in time, three grids and the sensitivity, ensembles."""
COSTS = {"history", "grid_seconds", "particle_seconds", "worth_seconds", "time_ratio", "table"}
"""Attributes that differ between two validations of one case."""


def same_numbers(one, two):
    """Whether two verdicts are the same bit by bit, but for what runs cost."""
    assert set(one.attrs) == set(two.attrs)
    assert {k for k in one.attrs if one.attrs[k] != two.attrs[k]} <= COSTS
    xarray.testing.assert_identical(one.assign_attrs(two.attrs), two)


class Made:
    """Which runs are made, and not read."""

    def __init__(self, monkeypatch):
        self.grids, self.particles = 0, 0
        grid_path, run = grids.grid_path, Simulator.run

        def counted_path(*arguments):
            self.grids += 1
            return grid_path(*arguments)

        def counted_run(*arguments, **options):
            self.particles += 1
            return run(*arguments, **options)

        monkeypatch.setattr(grids, "grid_path", counted_path)
        monkeypatch.setattr(Simulator, "run", counted_run)

    def since(self):
        """Runs on grids and of particles since the last call."""
        found, self.grids, self.particles = (self.grids, self.particles), 0, 0
        return found


@pytest.fixture(autouse=True)
def no_picture(monkeypatch):
    """Drawing takes longer than all runs here."""
    from matplotlib.figure import Figure

    monkeypatch.setattr("gridflow.verdict.picture.verdict_figure", lambda result: Figure())


@pytest.fixture(scope="module")
def uninterrupted():
    return validate(case_of(TABLE))


@pytest.fixture
def made(monkeypatch):
    return Made(monkeypatch)


@pytest.fixture
def kept_of(monkeypatch):
    """The files of a validation that is interrupted when all its runs are finished."""

    def interrupted(*_):
        raise KeyboardInterrupt

    def kept(case, directory, **options):
        with monkeypatch.context() as patch:
            patch.setattr(Output, "write", interrupted)
            with pytest.raises(KeyboardInterrupt):
                validate(case, directory, **options)
        return sorted((Path(directory) / "test-validation.kept").glob("*"))

    return kept


# ------------------------------------------------------------------------------------------------------ killed and resumed
KILLED = """
import os, signal, sys
from gridflow.cli import main
from gridflow.verdict import finished

write = finished.write_kept

def write_and_die(path, *rest):
    write(path, *rest)
    if len(list(path.parent.glob("*.run"))) >= int(sys.argv[1]):
        os.kill(os.getpid(), signal.SIGKILL)

finished.write_kept = write_and_die
main(["validate", "test.toml", "--quiet", "--threads", "2"])
"""


@pytest.mark.parametrize("after", [4, 20])
def test_a_killed_validation_goes_on_to_the_same_verdict(after, uninterrupted, tmp_path, monkeypatch, made):
    """Killed among the grids, and within the ensembles."""
    case = case_of(TABLE)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "test.toml").write_text(case.text(), encoding="utf-8")
    killed = subprocess.run([sys.executable, "-c", KILLED, str(after)], check=False)
    assert killed.returncode == -signal.SIGKILL
    kept = len(list(tmp_path.glob("test-validation.kept/*.run")))
    assert after <= kept < RUNS
    made.since()
    assert main(["validate", "test.toml", "--quiet", "--resume"]) in (0, 1)
    assert sum(made.since()) == RUNS - kept
    with xarray.open_dataset("test-validation.nc") as file:
        same_numbers(uninterrupted, file.load())
    assert sorted(p.name for p in tmp_path.iterdir()) == ["test-validation.nc", "test-validation.png", "test.toml"]


def test_costs_are_those_of_the_runs_when_they_were_made(tmp_path, kept_of, made):
    case = case_of(TABLE)
    kept = kept_of(case, tmp_path)
    assert made.since() == (4, RUNS - 4)
    assert len(kept) == RUNS
    grid = next(path for path in kept if path.name.startswith("grid-1-"))
    first = next(path for path in kept if path.name.startswith("particles-64-random-0-"))
    seconds = [finished.read_kept(path)[1]["numbers"]["seconds"] for path in (grid, first)]
    found = validate(case, tmp_path, resume=True)
    assert made.since() == (0, 0)
    assert [found.attrs["grid_seconds"], found.attrs["particle_seconds"]] == seconds
    assert sorted(p.name for p in tmp_path.iterdir()) == ["test-validation.nc", "test-validation.png"]


def test_a_damaged_file_is_made_again(uninterrupted, tmp_path, kept_of, made):
    case = case_of(TABLE)
    kept = kept_of(case, tmp_path)
    made.since()
    grid, particles = (next(p for p in kept if p.name.startswith(kind)) for kind in ("grid-2", "particles-16"))
    grid.write_bytes(grid.read_bytes()[:-1])
    particles.write_bytes(b"nonsense")
    kept[-1].with_name("particles-64.run.tmp").write_bytes(b"half of a file")
    same_numbers(uninterrupted, validate(case, tmp_path, resume=True))
    assert made.since() == (1, 1)
    assert not (tmp_path / "test-validation.kept").exists()


def test_a_complete_verdict_is_not_made_again(tmp_path, made):
    case = case_of(TABLE)
    complete = validate(case, tmp_path)
    made.since()
    left = tmp_path / "test-validation.kept" / "grid-1.run"  # by a process that was killed after its files were complete
    left.parent.mkdir()
    left.touch()
    lock_path(tmp_path / "test-validation.nc").touch()
    xarray.testing.assert_identical(validate(case, tmp_path, resume=True), complete)
    assert made.since() == (0, 0)
    assert not left.parent.exists()
    assert {path.name for path in tmp_path.iterdir()} == {"test-validation.nc", "test-validation.png"}
    with pytest.raises(InputError, match="exists"):
        validate(case.replace({"particles.seed": 2}), tmp_path, resume=True)


def test_a_process_that_is_killed_between_the_two_files_goes_on(tmp_path, made, uninterrupted, monkeypatch):
    """The picture has its name by then, and the data have not."""

    def killed_at_data(part, path):
        if path.suffix == ".nc":
            raise KeyboardInterrupt
        publish(part, path)

    with monkeypatch.context() as patch:
        patch.setattr("gridflow.verdict.output.publish", killed_at_data)
        with pytest.raises(KeyboardInterrupt):
            validate(case_of(TABLE), tmp_path)
    assert (tmp_path / "test-validation.png").is_file()
    made.since()
    same_numbers(uninterrupted, validate(case_of(TABLE), tmp_path, resume=True))
    assert made.since() == NOTHING


def without(*names):
    """A dataset that lacks attributes and variables."""
    return lambda d: d.drop_vars([n for n in names if n in d]).assign_attrs({n: 0 for n in names if n in d.attrs})


@pytest.mark.parametrize("change", [without("table"), without("outcome"), without("verdict"), without("worth")])
def test_a_complete_verdict_that_is_damaged_is_refused_and_made_anew(change, tmp_path, monkeypatch):
    monkeypatch.setattr("gridflow.verdict.runner.verdict_of", lambda *arguments: read)
    path = tmp_path / "test-validation.nc"
    read = xarray.Dataset(
        {n: ("quantity", ["w1"]) for n in ("quantity", "outcome", "reason")} | {"threshold": ("quantity", [1.0])}
    )
    read.attrs = attributes(case_of(TABLE), "validate") | {"quick": 0, "table": "w1", "verdict": "pass", "worth": 1.0}
    validate(case_of(TABLE), tmp_path)
    xarray.testing.assert_identical(validate(case_of(TABLE), tmp_path, resume=True), read)
    change(read).to_netcdf(path)
    with pytest.raises(InputError, match=r"(?s)'test-validation\.nc' is damaged.*start anew with --overwrite"):
        validate(case_of(TABLE), tmp_path, resume=True)
    validate(case_of(TABLE), tmp_path, resume=True, overwrite=True)
    xarray.testing.assert_identical(validate(case_of(TABLE), tmp_path, resume=True), read)


# -------------------------------------------------------------------------------------------------- what a run depends on
NOTHING, PARTICLES, GRIDS, ALL = (0, 0), (0, RUNS - 4), (4, 0), (4, RUNS - 4)


@pytest.mark.parametrize(
    ("change", "again"),
    [
        ({"validation.w1.threshold": 0.1, "title": "another", "exact": None}, NOTHING),
        ({"particles.integrator.step": 0.05}, PARTICLES),
        ({"particles.seed": 2}, PARTICLES),
        ({"scheme.cfl": 0.8}, GRIDS),
        ({"initial.0.weight": 0.5}, ALL),
        ({"reductions.engine": "numpy"}, ALL),
        ({"validation.times": 1}, (1, RUNS - 4)),
        ({"validation.mass": None}, GRIDS),
        ({"particles.counts": [8, 16, 128]}, (0, 8 + 2)),  # the longest run tells the error in time
        ({"particles.counts": [4, 16, 64]}, (0, 8)),
    ],
    ids=lambda value: ", ".join(value) if isinstance(value, dict) else "",
)
def test_runs_that_a_change_concerns_are_made_again(change, again, tmp_path, kept_of, made):
    """Thresholds and words concern none, the seed and the integrator particles alone, the scheme the grids alone."""
    kept_of(case_of(TABLE), tmp_path)
    made.since()
    validate(case_of(TABLE).replace(change), tmp_path, resume=True)
    assert made.since() == again


def test_the_content_of_files_counts(tmp_path, kept_of, made):
    """A case names a file of data: its text does not change with it."""
    data = {"kind": "file", "file": "data.csv", "inputs": ["x"], "targets": ["y"]}
    (tmp_path / "data.csv").write_text("x,y\n0.5,0.1\n-0.3,0.2\n", encoding="utf-8")
    table = {**TABLE, "energy": {**TABLE["energy"], "data": data}}
    del table["exact"]
    case = Case.from_dict(table, "test", tmp_path)
    kept_of(case, tmp_path)
    made.since()
    (tmp_path / "data.csv").write_text("x,y\n0.5,0.1\n-0.3,0.3\n", encoding="utf-8")
    validate(case, tmp_path, resume=True)
    assert made.since() == ALL


def test_another_source_of_gridflow_counts(tmp_path, kept_of, made, monkeypatch):
    kept_of(case_of(TABLE), tmp_path)
    made.since()
    (tmp_path / "package").mkdir()
    monkeypatch.setattr(finished.gridflow, "__file__", str(tmp_path / "package" / "__init__.py"))
    validate(case_of(TABLE), tmp_path, resume=True)
    assert made.since() == ALL


# -------------------------------------------------------------------------------------------------- energies of one's own
class Spring(Energy):
    """stiffness/2·∫x² dρ."""

    def __init__(self, stiffness, also=None):
        self.stiffness, self.also = stiffness, also

    def bind(self, grid):
        return BoundSpring(grid.coordinate("x"), self.stiffness)

    def particles(self, factors):
        return SpringOfParticles(self.stiffness)


class BoundSpring(BoundEnergy):
    def __init__(self, x, stiffness):
        self.x, self.stiffness = x, stiffness

    def evaluate(self, mass):
        xi = self.stiffness * self.x**2 / 2
        return Evaluation(float(mass @ xi), xi, ROUNDOFF * float(mass @ xi))


class SpringOfParticles(ParticleEnergy):
    def __init__(self, stiffness):
        self.stiffness = stiffness

    def evaluate(self, points, weights, batch=None):
        xi = self.stiffness * points[:, 0] ** 2 / 2
        return ParticleEvaluation(float(weights @ xi), self.stiffness * points)


SPRING = case_of(
    {
        **ORNSTEIN_UHLENBECK,
        "particles": FEW,
        "space": {"x": {"kind": "interval", "bounds": [-4.0, 4.0], "cells": 32}},
        "validation": {"w1": LIMIT, "times": 1},
    },
    exact=None,
)


def test_the_instance_of_an_energy_counts(tmp_path, kept_of, made):
    kept_of(SPRING, tmp_path, energy=Spring(1.0))
    for other, again in ((Spring(1.0), NOTHING), (Spring(1.1), ALL), (Spring(1.0, also=2), ALL)):
        made.since()
        kept_of(SPRING, tmp_path, resume=True, energy=other)
        assert made.since() == again


def test_of_an_energy_without_identity_nothing_is_kept(tmp_path, kept_of):
    """A function without a name could be any."""
    with pytest.warns(UserWarning, match=r"finished runs are not kept: .*Spring cannot be identified"):
        assert kept_of(SPRING, tmp_path, energy=Spring(1.0, also=lambda x: x)) == []
    typed = type("Typed", (Spring,), {"__module__": "typed_in"})
    assert finished.identity_of_energy(SPRING.problem(Spring(1.0))) is not None
    assert finished.identity_of_energy(SPRING.problem(typed(1.0))) is None


# ------------------------------------------------------------------------------------------------------------ interrupted
def test_an_interrupt_says_what_is_kept_and_how_to_go_on(tmp_path, monkeypatch, capsys):
    """The command that it prints is then run."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my case.toml").write_text(case_of(TABLE).text(), encoding="utf-8")
    advance, done = Progress.advance, []

    def interrupted(self):
        done.append(1)
        if len(done) == 10:
            raise KeyboardInterrupt
        return advance(self)

    words = ["validate", "my case.toml", "-o", "out", "--set", "validation.times=1", "--threads", "1", "--quiet"]
    with monkeypatch.context() as patch:
        patch.setattr(Progress, "advance", interrupted)
        assert main(words) == 1
    text, command = capsys.readouterr().err.strip().splitlines()
    kept = len(list((tmp_path / "out" / "my case-validation.kept").iterdir()))
    assert f"interrupted: {kept} finished runs are kept in {Path('out') / 'my case-validation.kept'}" in text
    assert kept >= 10
    assert main(words) == 2
    assert "--resume to go on with it, or --overwrite to start anew" in capsys.readouterr().err
    assert main(shlex.split(command)[1:]) in (0, 1)
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["my case-validation.nc", "my case-validation.png"]


def test_an_interrupt_during_start_up_says_how_to_go_on(tmp_path, monkeypatch, capsys):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("gridflow.verdict.runner.check_coarsening", interrupted)
    assert main(["validate", "ornstein-uhlenbeck", "--quick"]) == 1
    text, command = capsys.readouterr().err.strip().splitlines()
    assert "0 finished runs are kept" in text
    assert command.strip() == "gridflow validate ornstein-uhlenbeck --quick --resume"
    assert list(tmp_path.iterdir()) == []


TWICE = """
import os, signal, sys, threading, time
from gridflow import cli, interrupts
from gridflow.threads import SIDE_BY_SIDE
from gridflow.verdict.ensembles import Runs

interrupts.SAME = 0.0
run, began, stop = Runs.run, threading.Event(), threading.Event()

def endless(self, *rest, **options):
    if threading.current_thread().name.startswith(SIDE_BY_SIDE):
        began.set()
        threading.Event().wait()
    return run(self, *rest, **options)

def message(*rest):
    stop.set()
    print(*rest, file=sys.stderr)

def interrupts_every_half_second():
    began.wait()
    while not stop.wait(0.5):
        os.kill(os.getpid(), signal.SIGINT)

Runs.run, cli.message = endless, message
signal.signal(signal.SIGINT, signal.default_int_handler)
threading.Thread(target=interrupts_every_half_second, daemon=True).start()
sys.exit(cli.main(["validate", "test.toml", "--threads", "2"]))
"""


def test_a_second_interrupt_does_not_wait_for_particle_runs_under_way(tmp_path):
    (tmp_path / "test.toml").write_text(case_of(TABLE).text(), encoding="utf-8")
    child = [sys.executable, "-c", TWICE]
    ended = subprocess.run(child, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert ended.returncode == 1, ended.stderr
    assert "stops when the particle runs under way are done" in ended.stderr
    assert "interrupted: 7 finished runs are kept in test-validation.kept" in ended.stderr
    assert len(list(tmp_path.glob("test-validation.kept/*.run"))) == 7  # in time, on grids, and the first of eight particles


def test_a_full_disk_says_what_is_kept(tmp_path, monkeypatch, capsys):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(finished, "write_kept", full)
    (tmp_path / "test.toml").write_text(case_of(TABLE).text(), encoding="utf-8")
    assert main(["validate", "test.toml", "--quiet"]) == 1
    lines = capsys.readouterr().err.strip().splitlines()
    assert lines[0] == "gridflow: No space left on device"
    assert lines[-1].strip() == "gridflow validate test.toml --quiet --resume"


def test_with_overwrite_alone_it_starts_anew(tmp_path, kept_of, made):
    kept_of(case_of(TABLE), tmp_path)
    made.since()
    validate(case_of(TABLE), tmp_path, overwrite=True)
    assert made.since() == ALL


def test_two_validations_do_not_write_one_output(tmp_path):
    with locked(tmp_path / "test-validation.nc"), pytest.raises(InputError, match="is being written by the process"):
        validate(case_of(TABLE), tmp_path)
    with pytest.raises(InputError, match="resume without a directory"):
        validate(case_of(TABLE), resume=True)


def test_what_somebody_else_put_there_stays(tmp_path, kept_of):
    kept_of(case_of(TABLE), tmp_path)
    mine = tmp_path / "test-validation.kept" / "notes.txt"
    mine.write_text("precious", encoding="utf-8")
    validate(case_of(TABLE), tmp_path, resume=True)
    assert list(mine.parent.iterdir()) == [mine]


# ----------------------------------------------------------------------------------------------------------------- pieces
def test_sketches_come_back_from_arrays_bit_by_bit(rng):
    """Quantities that share their sketches share them again."""
    shared = [Quantiles(rng.random(4), rng.random(3), rng.random(3), length) for length in (0.0, 2.5)]
    sketches = [shared, [0.5, np.float64(1 / 3)], list(shared), [rng.random((2, 3)) for _ in range(2)]]
    found = sketches_of(arrays_of(sketches))
    assert found[2] is found[0]
    for one, two in zip(shared, found[0], strict=True):
        for name in ("levels", "left", "right", "length"):
            np.testing.assert_array_equal(vars(one)[name], vars(two)[name])
    np.testing.assert_array_equal(sketches[1], found[1])
    np.testing.assert_array_equal(sketches[3], found[3])


def test_reductions_are_recorded_for_runs_that_are_read(tmp_path, kept_of):
    """Pairs of a kernel are summed by an engine, which the verdict names, also where no sum was computed again."""
    energy = {"kind": "interaction", "kernel": {"kind": "gaussian", "bandwidth": 2.0}}
    case = case_of({**TABLE, "energy": energy, "exact": None, "validation": {"w1": LIMIT, "times": 1}})
    kept_of(case, tmp_path)
    found = validate(case, tmp_path, resume=True)
    assert found.attrs["reductions"] == validate(case).attrs["reductions"] != ""
