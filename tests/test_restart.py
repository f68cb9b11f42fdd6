"""Nothing is lost: kept files, killed and interrupted runs, what `--resume` does with what they leave."""

import errno
import json
import os
import random
import re
import resource
import shlex
import shutil
import signal
import subprocess
import sys
from hashlib import blake2b
from types import SimpleNamespace

import netCDF4
import numpy as np
import pytest
import xarray
from helpers import ORNSTEIN_UHLENBECK, QUADRATIC, case_of

from gridflow import restart, run, run_files
from gridflow.case.case import load_case
from gridflow.cli import main
from gridflow.commands import solve as solve_command
from gridflow.errors import InputError
from gridflow.interrupts import SIGNALS, Stop, holding, interruptions, stopping
from gridflow.output import dataset, kept
from gridflow.output.checkpoint import read_checkpoint
from gridflow.output.kept import DIGEST, FORMAT, UnreadableError, read_kept, retried, write_kept
from gridflow.output.lock import lock_path, locked, start_of, this_process
from gridflow.output.part import Part
from gridflow.output.remains import differences
from gridflow.paths import checkpoint_path, older_path, part_path
from gridflow.progress import Progress
from gridflow.scheme.finite_volume.stepper import FiniteVolumeStepper
from gridflow.solver import solve
from validation.faults import kills

CASE = case_of(QUADRATIC, time__save=9)

ARRAYS = {
    "density": np.linspace(0.0, 1.0, 12).reshape(3, 4),
    "mode": np.array(np.nan),
    "none": np.zeros((0, 5)),
    "half": np.arange(6, dtype=np.float32).reshape(2, 3).T,
    "counts": np.array([1, -2], dtype=np.int64),
}
NUMBERS = {"time": 0.1 + 0.2, "dt": float("inf"), "case": "title = 'ξ'", "walls": {"theta": 1e-300}}


# ------------------------------------------------------------------------------------------------------------- kept files
def test_a_kept_file_is_read_as_it_was_written(tmp_path):
    path = tmp_path / "a.kept"
    write_kept(path, ARRAYS, NUMBERS)
    arrays, numbers = read_kept(path)
    assert numbers == NUMBERS
    assert list(arrays) == list(ARRAYS)
    for name, array in ARRAYS.items():
        assert arrays[name].dtype == array.dtype
        np.testing.assert_array_equal(arrays[name], array)
        assert arrays[name].shape == array.shape
    assert list(tmp_path.iterdir()) == [path]


def test_the_file_before_stays_as_the_older_one(tmp_path):
    path, older = tmp_path / "a", tmp_path / "a.old"
    for number in (1, 2, 3):
        write_kept(path, {}, {"number": number}, older)
    assert read_kept(path)[1] == {"number": 3}
    assert read_kept(older)[1] == {"number": 2}


def test_a_file_that_cannot_be_kept_leaves_the_one_before(tmp_path, monkeypatch):
    path = tmp_path / "a"
    write_kept(path, ARRAYS, NUMBERS)
    with pytest.raises(TypeError, match="'bad' holds object"):
        write_kept(path, {"bad": np.array([None])}, {})

    def full(number):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_kept(path, {}, {})
    assert read_kept(path)[1] == NUMBERS
    assert list(tmp_path.iterdir()) == [path]


def test_only_errors_that_pass_are_tried_again(monkeypatch):
    waited: list[float] = []
    monkeypatch.setattr(kept.time, "sleep", waited.append)
    left = [errno.ESTALE, errno.EBUSY]

    def call():
        if left:
            raise OSError(left.pop(), "busy")
        return "done"

    assert retried(call) == "done"
    assert waited == list(kept.WAITS[:2])
    left = [errno.EAGAIN] * 9
    with pytest.raises(OSError, match="busy"):
        retried(call)
    assert len(left) == 9 - 1 - len(kept.WAITS)
    for number in (errno.ENOSPC, errno.EROFS, errno.EDQUOT, errno.ENOENT, errno.EFBIG):
        left, waited[:] = [number] * 2, []
        with pytest.raises(OSError, match="busy"):
            retried(call)
        assert (len(left), waited) == (1, [])


def of_header(header: bytes, rest: bytes = b"") -> bytes:
    """A file whose checksums fit, whatever it holds."""
    head = FORMAT + len(header).to_bytes(8, "little") + header
    return head + blake2b(head, digest_size=DIGEST).digest() + rest


def of_table(table: list, rest: bytes = b"", **changes) -> bytes:
    digest = blake2b(rest, digest_size=DIGEST).hexdigest()
    header = {"gridflow": kept.gridflow.__version__, "numbers": {}, "arrays": table, "digest": digest, **changes}
    return of_header(json.dumps(header).encode(), rest)


BAD = {
    "empty": (b"", "damaged"),
    "another file": (b"PK\x03\x04" + bytes(100), "damaged"),
    "a header longer than the file": (FORMAT + b"\xff" * 8 + bytes(40), "damaged"),
    "another format": (FORMAT.replace(b"1", b"2") + bytes(100), "version"),
    "another version": (of_table([], gridflow="0.0.9"), "version"),
    "no version": (of_header(b"{}"), "version"),
    "no JSON": (of_header(b"(1, 2"), "damaged"),
    "deep JSON": (of_header(b"[" * 100_000), "damaged"),
    "no table": (of_header(b"[]"), "damaged"),
    "no numbers": (of_table([], numbers=[1]), "damaged"),
    "no arrays": (of_table([], arrays=None), "damaged"),
    "objects": (of_table([["a", "|O", [1]]], bytes(8)), "damaged"),
    "a type that is none": (of_table([["a", "(1, 2", [1]]], bytes(8)), "damaged"),
    "a shape that is none": (of_table([["a", "<f8", "x"]], bytes(8)), "damaged"),
    "more than the file holds": (of_table([["a", "<f8", [10**12]]], bytes(8)), "damaged"),
    "a negative length": (of_table([["a", "<f8", [-1, -1]]], bytes(8)), "damaged"),
    "no length at all": (of_table([["a", "<f8", [0, 10**30]]]), "damaged"),
    "too short": (of_table([["a", "<f8", [2]]], bytes(15)), "damaged"),
    "too long": (of_table([["a", "<f8", [2]]], bytes(17)), "damaged"),
    "one name twice": (of_table([["a", "<f8", [1]], ["a", "<f8", [1]]], bytes(16)), "damaged"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_file_of_any_content_is_readable_or_says_why_not(name, tmp_path):
    content, reason = BAD[name]
    (tmp_path / "a").write_bytes(content)
    with pytest.raises(UnreadableError) as caught:
        read_kept(tmp_path / "a")
    assert caught.value.reason == reason, caught.value


def test_a_missing_file_and_a_directory_are_unreadable(tmp_path):
    for path, reason in ((tmp_path / "a", "missing"), (tmp_path, "damaged"), (tmp_path / "a" / "b", "missing")):
        with pytest.raises(UnreadableError) as caught:
            read_kept(path)
        assert caught.value.reason == reason


def test_no_damage_goes_unseen(tmp_path):
    """Every cut, and every bit that flips: of 600 places of a file of about 700 bytes."""
    path, chance = tmp_path / "a", random.Random(20261126)
    write_kept(path, ARRAYS, NUMBERS)
    good = path.read_bytes()
    for _ in range(300):
        place = chance.randrange(len(good))
        flipped = bytearray(good)
        flipped[place] ^= 1 << chance.randrange(8)
        for content in (bytes(flipped), good[:place]):
            path.write_bytes(content)
            with pytest.raises(UnreadableError):
                read_kept(path)


# ------------------------------------------------------------------------------------------------------------- the lock
def test_one_run_at_a_time(tmp_path):
    path = tmp_path / "a.nc"
    with locked(path):
        assert lock_path(path).exists()
        with pytest.raises(InputError, match=rf"'a.nc' is being written by the process {os.getpid()} on .* since 20"):
            solve(CASE, path, overwrite=True)
    assert list(tmp_path.iterdir()) == []


def test_a_lock_dies_with_its_process(tmp_path):
    """SIGKILL: the file stays, and means nothing."""
    path = tmp_path / "a.nc"
    script = "import sys, time; from pathlib import Path; from gridflow.output.lock import locked\n"
    script += "with locked(Path(sys.argv[1])): print('locked', flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", script, str(path)], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout.readline() == "locked\n"
        with pytest.raises(InputError, match=f"the process {child.pid} "), locked(path):
            pass
        child.kill()
        child.wait()
    assert lock_path(path).exists()
    with locked(path):
        pass
    assert list(tmp_path.iterdir()) == []


LIVING = this_process() | {"pid": os.getppid(), "start": start_of(os.getppid())}


@pytest.mark.parametrize(
    ("holder", "message"),
    [
        (LIVING, "wait for it, or choose another name$"),
        (LIVING | {"host": "elsewhere"}, r"if that process has ended, remove a\.nc\.lock"),
        (LIVING | {"start": "1"}, None),  # its number is that of another process now
        (LIVING | {"pid": 2**22 + 1}, None),  # beyond the largest number of Linux
        (LIVING | {"pid": "x"}, None),
        ([], None),
    ],
    ids=["lives", "another host", "used again", "dead", "no number", "no table"],
)
def test_without_locks_of_the_file_system_the_process_counts(holder, message, tmp_path, monkeypatch):
    monkeypatch.setattr("gridflow.output.lock.flocked", lambda number: None)
    path = tmp_path / "a.nc"
    lock_path(path).write_text(json.dumps(holder))
    if message is None:
        with locked(path):
            assert json.loads(lock_path(path).read_text())["pid"] == os.getpid()
            with pytest.raises(InputError, match="is being written"), locked(path):
                pass
        assert list(tmp_path.iterdir()) == []
    else:
        with pytest.raises(InputError, match=message), locked(path):
            pass


# -------------------------------------------------------------------------------------------------- what --resume goes on from
class Notes(Progress):
    """Keeps the sentences on how a run begins; ends it in a step as a kill would, or by Ctrl-C."""

    def __init__(self, killed=0, interrupted=0):
        self.notes, self.killed, self.interrupted = [], killed, interrupted

    def note(self, text):
        self.notes.append(text)

    def update(self, state, steps, mass_error):
        if steps == self.killed:
            raise Killed
        if steps == self.interrupted:
            raise KeyboardInterrupt


class Killed(BaseException):
    """Nothing handles it: what is on the disk is what a kill leaves, but for the lock."""


def kill_in_step(number, path, case=CASE, **options):
    with pytest.raises(Killed):
        solve(case, path, progress=Notes(killed=number), **options)


def resume(path, case=CASE, whole=None):
    """The one note of a resumed run, whose result must be that of a run without interruptions, with nothing beside it."""
    progress = Notes()
    found, whole = solve(case, path, progress=progress, resume=True), solve(case) if whole is None else whole
    assert {k: v for k, v in found.attrs.items() if k not in ("wall_seconds", "history", "records")} == {
        k: v for k, v in whole.attrs.items() if k not in ("wall_seconds", "history")
    }
    for name in whole.variables:
        np.testing.assert_array_equal(found[name], whole[name], err_msg=name)
    assert [p.name for p in path.parent.iterdir()] == [path.name]
    (note,) = progress.notes
    return note


@pytest.fixture
def at_every_step(monkeypatch):
    """A checkpoint after every step."""
    monkeypatch.setattr(run, "CHECKPOINT_SECONDS", -1.0)
    monkeypatch.setattr(run_files, "checkpoint_interval", lambda seconds: -1.0)


@pytest.fixture(scope="module")
def whole():
    return solve(CASE)


def test_resume_starts_where_there_is_nothing(tmp_path, whole):
    assert resume(tmp_path / "a.nc", whole=whole) == "there is nothing to go on from; starts anew"


def test_a_run_killed_before_its_first_checkpoint_starts_anew(tmp_path, whole):
    kill_in_step(9, tmp_path / "a.nc")
    assert resume(tmp_path / "a.nc", whole=whole) == "the run before had no checkpoint yet; starts anew"


SCHEMES = {
    "explicit": (QUADRATIC, {}),
    "implicit": (ORNSTEIN_UHLENBECK, {}),
    "heat semigroup": (ORNSTEIN_UHLENBECK, {"scheme__diffusion": "heat-semigroup"}),
    "JKO": (QUADRATIC, {"scheme": {"kind": "jko", "tau": 0.05}}),
    "JKO of an accuracy": (QUADRATIC, {"scheme": {"kind": "jko", "tau": 0.05, "accuracy": 5.0}}),
    "exact JKO": (QUADRATIC, {"scheme": {"kind": "exact-wasserstein", "tau": 0.1}}),
}


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_killed_run_goes_on_bit_by_bit(scheme, tmp_path, at_every_step):
    table, changes = SCHEMES[scheme]
    case, path = case_of(table, **changes), tmp_path / "a.nc"
    for number in (2, 4, 5):
        kill_in_step(number, path, case, resume=True)
    with xarray.open_dataset(part_path(path)) as part:
        assert np.isfinite(part["density"]).all()
    assert resume(path, case).startswith("goes on from time ")


def test_a_complete_run_is_not_done_again(tmp_path, whole, capsys):
    path = tmp_path / "a.nc"
    solve(CASE, path)
    before = path.read_bytes()
    for options in ({}, {"overwrite": True}):
        progress = Notes()
        again = solve(CASE, path, resume=True, progress=progress, **options)
        assert progress.notes == ["a.nc is complete: nothing is done"]
        np.testing.assert_array_equal(again["density"], whole["density"])
    assert path.read_bytes() == before
    words = ["solve", "teacher-1d-quadratic", "-o", str(tmp_path / "b.nc"), "--set", "time.stop=0.01", "--resume"]
    assert main(words) == 0
    assert main(words) == 0
    assert "b.nc is complete: nothing is done" in capsys.readouterr().err


def cut(path, part):
    checkpoint_path(path).write_bytes(checkpoint_path(path).read_bytes()[:100])


def change(path, part, **changes):
    arrays, numbers = read_kept(checkpoint_path(path))
    arrays |= changes.pop("arrays", {})
    write_kept(checkpoint_path(path), arrays, {k: v for k, v in (numbers | changes).items() if v is not None})


def change_part(path, part):
    with part.open("r+b") as file:
        file.seek(read_checkpoint(checkpoint_path(path)).numbers.part_begin + 20)
        file.write(b"?")


DAMAGES = {
    "cut": (cut, "'a.nc.checkpoint' is cut off, or no kept file"),
    "empty": (lambda path, part: checkpoint_path(path).write_bytes(b""), "is cut off"),
    "without its case": (
        lambda path, part: change(path, part, case=None),
        "is no checkpoint: Object missing required field `case`",
    ),
    "a number that is none": (lambda path, part: change(path, part, counters={"steps": "x"}), "is no checkpoint: Expected `int`"),
    "another shape": (
        lambda path, part: change(path, part, arrays={"density": np.ones((2, 3))}),
        "holds a state of another shape",
    ),
    "without a number of the state": (
        lambda path, part: change(path, part, state={"time": 0.5}),
        "holds a state of another shape",
    ),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_a_damaged_checkpoint_is_passed_over(name, tmp_path, whole, at_every_step):
    """The one before is taken, or else the run starts anew."""
    damage, says = DAMAGES[name]
    path = tmp_path / "a.nc"
    kill_in_step(9, path)
    damage(path, part_path(path))
    note = resume(path, whole=whole)
    assert says in note
    assert "; goes on from time " in note
    path.unlink()
    kill_in_step(9, path)
    older_path(path).unlink()
    damage(path, part_path(path))
    note = resume(path, whole=whole)
    assert says in note
    assert note.endswith("; starts anew")


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (change_part, "'a.nc.part' is damaged: the checksum of its records differs"),
        (lambda path, part: part.write_bytes(b""), "holds fewer records than its checkpoint counts"),
        (lambda path, part: part.write_bytes(part.read_bytes()[:6500]), "holds fewer records than its checkpoint counts"),
        (lambda path, part: part.unlink(), "'a.nc.part' is missing beside its checkpoint"),
    ],
    ids=["changed", "empty", "cut", "missing"],
)
def test_a_damaged_part_starts_anew(damage, says, tmp_path, whole):
    path = tmp_path / "a.nc"
    solve(CASE, path, progress=Notes(interrupted=14))
    damage(path, part_path(path))
    note = resume(path, whole=whole)
    assert says in note
    assert note.endswith("; starts anew")


def test_a_part_of_another_run_is_not_taken_for_its_own(tmp_path, whole):
    """A checkpoint put back by hand beside the part of a run that was started anew."""
    path = tmp_path / "a.nc"
    solve(CASE, path, progress=Notes(interrupted=14))
    stale = checkpoint_path(path).read_bytes()
    kill_in_step(1, path, overwrite=True)
    assert not checkpoint_path(path).exists()
    checkpoint_path(path).write_bytes(stale)
    assert "holds fewer records" in resume(path, whole=whole)


def test_another_case_is_refused_with_the_difference(tmp_path):
    other = case_of(QUADRATIC, scheme__cfl=0.5, time__save=9)
    for name, begin in {
        "a.nc": lambda path: solve(CASE, path, progress=Notes(interrupted=9)),
        "b.nc": lambda path: kill_in_step(9, path),
        "c.nc": lambda path: solve(CASE, path),
    }.items():
        path = tmp_path / name
        begin(path)
        before = {p: p.read_bytes() for p in tmp_path.iterdir()}
        with pytest.raises(
            InputError, match=rf"differs from the one of '{name}':\n    scheme.cfl: 0.9 -> 0.5\n  allowed: the same"
        ):
            solve(other, path, resume=True)
        assert {p: p.read_bytes() for p in tmp_path.iterdir()} == before
    solve(other, tmp_path / "c.nc", resume=True, overwrite=True)
    assert solve(other, tmp_path / "c.nc", resume=True).attrs["case"] == other.text()


def test_the_differences_of_two_cases():
    case = case_of(QUADRATIC)
    assert differences(case.text(), "# of another format\n" + case.text()) == {}
    found = differences(case.text(), case.replace({"initial.0.weight": 0.25, "exact": None}).text())
    assert found == {"initial.0.weight": "0.6 -> 0.25", "exact.kind": "quadratic-activation -> -"}
    assert list(differences("a = ", "b = 1")) == ["the text of the case"]


# ------------------------------------------------------------------------------------------------------------ longer runs
@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_complete_run_goes_on_longer(scheme, tmp_path, monkeypatch):
    """As if it had been as long from the start, bit by bit, where the file has the arrays of the last state."""
    monkeypatch.setattr(restart, "FINAL_SHARE", 10.0)
    table, changes = SCHEMES[scheme]
    short = case_of({**table, "exact": None}, **{**changes, "time__save": 5})
    long = short.replace({"time.stop": 2 * short.time.stop, "time.save": 9})
    path = tmp_path / "a.nc"
    solve(short, path)
    kill_in_step(int(xarray.open_dataset(path)["steps"][-1]) + 2, path, long, resume=True)
    assert xarray.open_dataset(path).sizes["time"] == 5  # until the longer one is complete
    assert resume(path, long) == f"goes on from time {short.time.stop:g}"


def test_steady_and_limited_runs_go_on_longer(tmp_path):
    steady = case_of(QUADRATIC, time__stop=20.0, time__save=11, time__steady=1e-3)
    limited = case_of(QUADRATIC, time__max_steps=7)
    for short, longer, status in (
        (steady, steady.replace({"time.stop": 40.0, "time.save": 21}), "steady"),
        (limited, limited.replace({"time.max_steps": 1000}), "completed"),
    ):
        path = tmp_path / f"{status}.nc"
        solve(short, path)
        found, whole = solve(longer, path, resume=True), solve(longer)
        assert found.attrs["status"] == whole.attrs["status"] == status
        for name in whole.variables:
            np.testing.assert_array_equal(found[name], whole[name], err_msg=name)


def test_without_its_arrays_a_longer_run_is_the_same_but_for_the_error_in_time(tmp_path, monkeypatch):
    monkeypatch.setattr(restart, "FINAL_SHARE", 0.0)
    short = case_of(QUADRATIC, time__save=5)
    long = short.replace({"time.stop": 2.0, "time.save": 9})
    solve(short, tmp_path / "a.nc")
    found, whole = solve(long, tmp_path / "a.nc", resume=True), solve(long)
    np.testing.assert_array_equal(found["density"][:5], whole["density"][:5])
    # the curvature is measured anew, and with it the steps change; 1e−2 is the error in space (`tests/test_dataset.py`)
    assert np.abs(found["density"] - whole["density"]).max() < 1e-3


def test_an_interrupted_run_may_get_more_steps(tmp_path, whole):
    limited, path = CASE.replace({"time.max_steps": 50}), tmp_path / "a.nc"
    solve(limited, path, progress=Notes(interrupted=9))
    assert resume(path, whole=whole).startswith("goes on from time ")


@pytest.mark.parametrize(
    ("changes", "fix"),
    [
        ({"time.stop": 2.0}, "time.save = 9, for example"),
        ({"time.stop": 1.7}, "give time.save as a list"),
        ({"time.stop": 0.5, "time.save": 3}, "time.save = 3, for example"),
    ],
)
def test_records_that_a_longer_run_would_not_have_are_refused(changes, fix, tmp_path):
    path = tmp_path / "a.nc"
    solve(case_of(QUADRATIC), path)
    before = path.read_bytes()
    with pytest.raises(InputError, match=f"save times other than those of the 5 records of 'a.nc'[^$]*{fix}"):
        solve(case_of(QUADRATIC).replace(changes), path, resume=True)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_changed_file_is_not_extended(tmp_path):
    path = tmp_path / "a.nc"
    solve(case_of(QUADRATIC), path)
    with netCDF4.Dataset(path, "a") as file:
        file.variables["energy"][0] = 7.0
    before = path.read_bytes()
    with pytest.raises(InputError, match=r"'a\.nc' is damaged, or changed"):
        solve(case_of(QUADRATIC, time__stop=2.0, time__save=9), path, resume=True)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_another_version_is_refused(tmp_path, monkeypatch):
    solve(CASE, tmp_path / "a.nc", progress=Notes(interrupted=9))
    monkeypatch.setattr("gridflow.__version__", "99")
    with pytest.raises(InputError, match=r"'a.nc.checkpoint' was written by gridflow .*; this is gridflow 99\n"):
        solve(CASE, tmp_path / "a.nc", resume=True)
    assert checkpoint_path(tmp_path / "a.nc").exists()


# ------------------------------------------------------------------------------------------------------ checkpoints by cost
@pytest.mark.parametrize(("seconds", "interval"), [(0.0, 2.0), (0.04, 2.0), (0.1, 5.0), (36.0, 1800.0), (100.0, 1800.0)])
def test_checkpoints_take_a_fiftieth_of_a_run(seconds, interval):
    assert restart.checkpoint_interval(seconds) == pytest.approx(interval)


def test_the_first_checkpoint_comes_after_two_seconds(tmp_path, monkeypatch):
    """A clock on which a step takes half a second and a checkpoint a tenth: then one every five seconds."""
    now, written, taken = [100.0], [], []
    write, step = run_files.write_checkpoint, FiniteVolumeStepper.step

    def slow_write(*arguments):
        now[0] += 0.1
        written.append(len(taken))
        write(*arguments)

    def slow_step(*arguments):
        now[0] += 0.5
        taken.append(now[0])
        return step(*arguments)

    for module in (run, run_files):
        monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: now[0]))
    monkeypatch.setattr(run_files, "write_checkpoint", slow_write)
    monkeypatch.setattr(FiniteVolumeStepper, "step", slow_step)
    steps = int(solve(CASE, tmp_path / "a.nc")["steps"][-1])
    assert written == list(range(5, steps + 1, 10))  # more than 2 s, then more than 5 s later


# ------------------------------------------------------------------------------------------------------------------ signals
def test_held_signals_come_at_the_end_and_once():
    said = []

    def work():
        with stopping(), holding() as held:
            with held:
                with held:
                    os.kill(os.getpid(), signal.SIGTERM)
                    os.kill(os.getpid(), signal.SIGINT)
                said.append("done")
            said.append("never")

    with pytest.raises(KeyboardInterrupt):
        work()
    assert said == ["done"]


def test_a_signal_soon_after_another_asks_for_the_same(capsys, monkeypatch):
    now = [0.0]
    monkeypatch.setattr("gridflow.interrupts.time", SimpleNamespace(monotonic=lambda: now[0]))
    stop = Stop()
    with pytest.raises(KeyboardInterrupt):
        stop(signal.SIGTERM, None)
    now[0] = 2.9
    stop(signal.SIGINT, None)
    assert capsys.readouterr().err == "gridflow: already stopping\n"
    now[0] = 10.0  # the first one was lost
    with pytest.raises(KeyboardInterrupt):
        stop(signal.SIGTERM, None)


def test_handlers_are_restored_and_ignored_signals_stay_ignored():
    before = [signal.getsignal(n) for n in SIGNALS]
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with stopping(), holding():
            os.kill(os.getpid(), signal.SIGHUP)
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before[-1])
    assert [signal.getsignal(n) for n in SIGNALS] == before


WORDS = ["solve", "teacher-1d-quadratic", "-o", "a.nc", "--set", "space.theta.cells=64"]


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def whole_of_words():
    return solve(load_case("teacher-1d-quadratic").replace({"space.theta.cells": 64}))


def go_on(error, whole):
    """Runs the command that a message ends with; the result is that of a run without interruptions."""
    command = shlex.split(error.splitlines()[-1])
    assert command[:2] == ["gridflow", "solve"]
    assert command[-1] == "--resume"
    assert main(command[1:]) == 0
    with xarray.open_dataset("a.nc") as found:
        for name in whole.variables:
            np.testing.assert_array_equal(found[name], whole[name], err_msg=name)
    assert os.listdir() == ["a.nc"]


@pytest.mark.parametrize(
    "place", ["a step", "a record", "the end of a record", "a checkpoint", "the end of the run", "the start"]
)
def test_sigterm_twice_anywhere_loses_nothing_and_says_how_to_go_on(
    place, here, capsys, monkeypatch, whole_of_words, at_every_step
):
    method = {
        "a step": (FiniteVolumeStepper, "step"),
        "a record": (Part, "write"),
        "the end of a record": (Part, "count"),
        "a checkpoint": (kept, "publish"),
        "the end of the run": (dataset, "write_complete"),
        "the start": (solve_command, "changed_case"),
    }[place]
    call, calls = getattr(*method), []

    def signalled(*arguments):
        calls.append(1)
        if len(calls) == (1 if place in ("the end of the run", "the start") else 9):
            os.kill(os.getpid(), signal.SIGTERM)
            os.kill(os.getpid(), signal.SIGTERM)
        return call(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(*method, signalled)
        assert main(WORDS) == 1
    error = capsys.readouterr().err
    assert "gridflow: already stopping" in error or "interrupted" in error
    go_on(error, whole_of_words)


def broken_by(cause):
    """What Numba makes of an exception that a signal raises while it calls compiled code."""
    raise SystemError("returned a result with an exception set") from cause


def test_an_interruption_of_compiled_code_is_one(here, capsys, monkeypatch, whole_of_words):
    calls = []

    def step(self, *arguments):
        calls.append(1)
        return broken_by(KeyboardInterrupt()) if len(calls) == 4 else whole_step(self, *arguments)

    whole_step = FiniteVolumeStepper.step
    with monkeypatch.context() as patch:
        patch.setattr(FiniteVolumeStepper, "step", step)
        assert main(WORDS) == 1
    error = capsys.readouterr().err
    assert "interrupted" in error
    go_on(error, whole_of_words)
    with pytest.raises(SystemError), interruptions():
        broken_by(ValueError())


def test_signals_while_the_command_line_is_imported_are_obeyed_after_that(here):
    """Python's own answers are silence and a traceback."""
    script = (
        "import os, sys\n"
        "class Finder:\n"
        "    def find_spec(self, name, *rest):\n"
        "        if name == 'gridflow.commands.solve':\n"
        "            os.kill(os.getpid(), {0})\n"
        "            os.kill(os.getpid(), {0})\n"
        "sys.meta_path.insert(0, Finder())\n"
        "from gridflow.__main__ import main\nsys.exit(main())"
    )
    for number in SIGNALS:
        command = [sys.executable, "-c", script.format(int(number)), *WORDS]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr == "gridflow: solve was interrupted; the same command starts it again\n"
        assert os.listdir() == []


def test_a_signal_while_numpy_is_imported_says_how_to_go_on(here):
    """It cannot be imported a second time, to look at what there is."""
    script = (
        "import sys\n"
        "class Finder:\n"
        "    def find_spec(self, name, *rest):\n"
        "        if name == 'numpy.linalg':\n"
        "            raise KeyboardInterrupt\n"
        "sys.meta_path.insert(0, Finder())\n"
        "from gridflow.cli import main\nsys.exit(main(sys.argv[1:]))"
    )
    done = subprocess.run([sys.executable, "-c", script, *WORDS], capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stderr
    command = shlex.join(["gridflow", *WORDS, "--resume"])
    assert done.stderr == f"interrupted before its first checkpoint: it will start anew. Go on with:\n  {command}\n"


# ------------------------------------------------------------------------------------------- disks and memory that do not suffice
def test_a_full_disk_leaves_what_resume_needs(here, capsys, whole_of_words, at_every_step):
    """Files of at most so many bytes: none, the part, and the complete file cannot be written."""
    hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    for size in (100, 9_000, 20_000):
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
        try:
            assert main([*WORDS, "--overwrite"]) == 1
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
        error = capsys.readouterr().err
        assert re.search(r"gridflow: .*File too large.*: a\.nc", error)
        assert not any(name.endswith((".tmp", ".lock")) for name in os.listdir())
        go_on(error, whole_of_words)


@pytest.mark.parametrize("changes", [{}, {"time__steady": 1e-3, "time__stop": 20.0}], ids=["completed", "steady"])
def test_a_run_whose_end_cannot_be_written_has_no_step_to_do_again(changes, tmp_path, monkeypatch):
    def full(*arguments):
        raise OSError(errno.ENOSPC, "No space left on device")

    case, path = case_of(QUADRATIC, **changes), tmp_path / "a.nc"
    with monkeypatch.context() as patch:
        patch.setattr(dataset, "write_complete", full)
        with pytest.raises(OSError, match="No space left"):
            solve(case, path)
    whole = solve(case)
    assert resume(path, case, whole) == f"goes on from time {float(whole['time'][-1]):.6g}"


def test_a_directory_that_vanishes_is_an_error(tmp_path, capsys, monkeypatch, at_every_step):
    folder, step = tmp_path / "gone", FiniteVolumeStepper.step
    folder.mkdir()

    def removes(*arguments):
        shutil.rmtree(folder, ignore_errors=True)
        return step(*arguments)

    monkeypatch.setattr(FiniteVolumeStepper, "step", removes)
    assert main([*WORDS, "-o", str(folder / "a.nc")]) == 1
    assert f"gridflow: No such file or directory: {folder}/a.nc.checkpoint.tmp" in capsys.readouterr().err


def test_memory_that_does_not_suffice_leaves_a_checkpoint(here, capsys, monkeypatch, whole_of_words):
    step, steps = FiniteVolumeStepper.step, []

    def large(*arguments):
        steps.append(1)
        if len(steps) == 12:
            raise MemoryError("Unable to allocate 8.00 EiB")
        return step(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(FiniteVolumeStepper, "step", large)
        assert main(WORDS) == 1
    error = capsys.readouterr().err
    assert "gridflow: the memory does not suffice: Unable to allocate 8.00 EiB\n  a.nc with a checkpoint" in error
    go_on(error, whole_of_words)


# -------------------------------------------------------------------------------------------------------------- real kills
@pytest.mark.parametrize("place", ["Part.count", "kept.publish", "dataset.publish", "run_files.remove_checkpoints"])
def test_sigkill_in_a_write(place, here, capsys, whole_of_words):
    """Between a record and its number, before a checkpoint and the complete file have their names, before the rest is removed."""
    script = (
        "import os, signal, sys\n"
        "from gridflow import run, run_files\nfrom gridflow.output import dataset, kept\nfrom gridflow.output.part import Part\n"
        "run.CHECKPOINT_SECONDS, run_files.checkpoint_interval = -1.0, lambda seconds: -1.0\n"
        f"calls, call = [], {place}\n"
        "def killed(*arguments):\n"
        "    calls.append(1)\n"
        f"    if len(calls) == {2 if place == 'run_files.remove_checkpoints' else 1 if place == 'dataset.publish' else 9}:\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "    return call(*arguments)\n"
        f"{place} = killed\n"
        "from gridflow.cli import main\nmain(sys.argv[1:])"
    )
    done = subprocess.run([sys.executable, "-c", script, *WORDS], capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    command = shlex.join(["gridflow", *WORDS, "--resume"])
    go_on(command, whole_of_words)


def test_the_tool_that_kills_sees_a_difference_in_one_bit(tmp_path):
    one, two = tmp_path / "a.nc", tmp_path / "b.nc"
    solve(CASE, one)
    solve(CASE, two)
    assert kills.same(one, two)
    with netCDF4.Dataset(two, "a") as file:
        file.variables["energy"][3] = np.nextafter(file.variables["energy"][3], 1.0)
    assert not kills.same(one, two)
