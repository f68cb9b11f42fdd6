"""Compiled functions: kept where something can be written, used again while their sources are the same, announced when new."""

import os
import shutil
import subprocess
import sys
from importlib import import_module, invalidate_caches
from pathlib import Path

import pytest

import gridflow
from gridflow.caches import is_own_file, is_private, own, user_folder
from gridflow.case.shipped import shipped_directory
from gridflow.compiled import config, is_trusted, kernel, machine_code_folder, on_compilation, source_stamp
from gridflow.progress import Bar, Lines, RunTally

TOP = "from called import FACTOR, half\n\ndef top(x):\n    return half(x) + FACTOR\n"
CALLED = "from gridflow.compiled import inner\nFACTOR = 2.0\n\n@inner()\ndef half(x):\n    return 0.5 * x\n"


@pytest.fixture
def modules(tmp_path, monkeypatch):
    """Writes the two modules `top` and `called`, with changes, and returns the function `top` as a new process would see it."""
    monkeypatch.syspath_prepend(tmp_path)

    def write(old="", new=""):
        for name, text in (("called", CALLED), ("top", TOP)):
            (tmp_path / f"{name}.py").write_text(text.replace(old, new))
            sys.modules.pop(name, None)
        for path in tmp_path.glob("__pycache__/*.pyc"):  # Python compares whole seconds
            path.unlink()
        invalidate_caches()
        return import_module("top").top

    yield write
    for name in ("called", "top"):
        sys.modules.pop(name, None)


def test_a_function_is_compiled_once_and_announced_then(modules):
    told = []
    for _ in range(2):  # the second time it is another function with the same source, as in the next process
        function = kernel()(modules())
        with on_compilation(told.append):
            assert function(3.0) == 3.5
            assert function(4) == 4.0  # other types: compiled too, not announced again
    assert told == [True]


@pytest.mark.parametrize(("old", "new"), [("0.5 * x", "0.25 * x"), ("FACTOR = 2.0", "FACTOR = 3.0"), ("x):", "x):  # why")])
def test_the_sources_of_what_it_calls_count(modules, old, new):
    before = source_stamp(modules(), {})
    assert source_stamp(modules(), {}) == before
    assert source_stamp(modules(), {"fastmath": True}) != before
    assert source_stamp(modules(old, new), {}) != before


RUN = """
import numpy as np
from gridflow.compiled import on_compilation
from gridflow.space.distances import wasserstein1
from gridflow.space.line import Interval
with on_compilation(print):
    print(wasserstein1(np.array([1.0, 0.0]), np.array([0.0, 1.0]), Interval(bounds=(0.0, 2.0), cells=2).factor("x")))
"""


def outcome(package: Path, home: Path):
    kept = {k: v for k, v in os.environ.items() if k not in ("NUMBA_CACHE_DIR", "XDG_CACHE_HOME")}
    environment = {**kept, "PYTHONPATH": str(package), "HOME": str(home)}
    done = subprocess.run([sys.executable, "-c", RUN], capture_output=True, text=True, check=True, env=environment, cwd=package)
    return done.stdout.split()


def test_a_package_that_cannot_be_written(tmp_path):
    """Root may write anywhere, so that files stand where numba would make its folders."""
    source = Path(gridflow.__file__).parent
    shutil.copytree(source, tmp_path / "gridflow", ignore=shutil.ignore_patterns("__pycache__", "cases"))
    for folder in [tmp_path / "gridflow", *(d for d in (tmp_path / "gridflow").rglob("*") if d.is_dir())]:
        (folder / "__pycache__").write_text("no folder")
    home = tmp_path / "home"
    home.mkdir()
    assert outcome(tmp_path, home) == ["True", "1.0"]
    assert outcome(tmp_path, home) == ["1.0"]  # kept in the folder of the user
    assert list(home.rglob("*.nbi"))
    locked = tmp_path / "locked"
    locked.write_text("no folder")
    assert outcome(tmp_path, locked) == ["False", "1.0"]  # kept nowhere, and no failure
    assert outcome(tmp_path, locked) == ["False", "1.0"]


@pytest.mark.parametrize("shown", [lambda: Bar("mine", 1.0), lambda: Lines("mine", 1.0), lambda: RunTally("mine")])
@pytest.mark.parametrize(("kept", "part"), [(True, "once"), (False, "NUMBA_CACHE_DIR")])
def test_progress_says_that_it_compiles(shown, kept, part, capsys):
    progress = shown()
    progress.compiling(kept)
    progress.close()
    line = next(line for line in capsys.readouterr().err.splitlines() if "compiling" in line)
    assert line.strip().startswith("mine: compiling")
    assert part in line


@pytest.mark.slow
def test_a_run_that_compiles_and_one_that_does_not_have_the_same_bits(tmp_path):
    """Else a run that is resumed would differ from one that was not interrupted."""
    text = """
from hashlib import sha256
from gridflow import load_case, solve
for name in ("ornstein-uhlenbeck", "relu-xor", "bn-circle"):
    case = load_case(name)
    case = case.replace({f"space.{n}.cells": 48 for n, f in case.space.items() if f.resolution_key == "cells"})
    dataset = solve(case.replace({"time.stop": case.time.stop / 20, "time.save": 3, "exact": None}))
    print(sha256(dataset["density"].values.tobytes()).hexdigest())
"""
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
    runs = [subprocess.run([sys.executable, "-c", text], env=environment, capture_output=True, check=True) for _ in range(2)]
    assert runs[0].stdout == runs[1].stdout
    assert len(runs[0].stdout.split()) == 3


def place(folder: Path, mode: int) -> Path:
    folder.mkdir()
    folder.chmod(mode)  # mkdir heeds the umask
    return folder


@pytest.mark.skipif(os.name != "posix", reason="owners and modes of folders")
def test_a_folder_that_others_can_write_is_not_private(tmp_path):
    assert is_private(place(tmp_path / "own", 0o755))
    for number, mode in enumerate((0o777, 0o775, 0o757, 0o1777)):
        shared = place(tmp_path / str(number), mode)
        assert not is_private(shared)
        assert is_private(place(shared / "below", 0o700)) == (mode == 0o1777)  # as below /tmp
    assert not is_private(tmp_path / "nowhere")
    (tmp_path / "link").symlink_to(tmp_path / "link")
    assert not is_private(tmp_path / "link")
    (tmp_path / "own" / "code.nbi").write_bytes(b"")
    assert is_own_file(tmp_path / "own" / "code.nbi")
    (tmp_path / "own" / "code.nbi").chmod(0o666)
    (tmp_path / "own" / "linked.nbi").symlink_to(tmp_path / "own")
    assert not is_own_file(tmp_path / "own" / "code.nbi")
    assert not is_own_file(tmp_path / "own" / "linked.nbi")


@pytest.mark.skipif(os.name != "posix", reason="owners and modes of folders")
@pytest.mark.parametrize(("owner", "mode", "trusted"), [(0, 0o40755, True), (1, 0o40755, False), (0, 0o41777, False)])
def test_folders_of_others_are_not_trusted(owner, mode, trusted):
    stranger = os.geteuid() + 1
    assert own(os.stat_result((mode, 0, 0, 1, owner * stranger, 0, 0, 0, 0, 0))) == trusted


@pytest.mark.skipif(os.name != "posix", reason="owners and modes of folders")
def test_the_folder_of_the_user_is_private(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    place(tmp_path / "cache", 0o755)
    place(tmp_path / "cache" / "gridflow", 0o777)
    folder = user_folder("machine-code")
    assert folder == tmp_path / "cache" / "gridflow" / "machine-code"
    assert {path.stat().st_mode & 0o777 for path in (folder, folder.parent)} == {0o700}
    (folder / "kept").write_bytes(b"")
    assert user_folder("machine-code") == folder
    assert (folder / "kept").exists()
    folder.chmod(0o777)  # since then it may have been planted
    assert user_folder("machine-code") == folder
    assert list(folder.iterdir()) == []
    for base in ("relative", "/dev/null/home", str(place(tmp_path / "shared", 0o777))):
        monkeypatch.setenv("XDG_CACHE_HOME", base)
        assert user_folder("machine-code") is None


@pytest.mark.skipif(os.name != "posix", reason="owners and modes of folders")
def test_machine_code_is_not_kept_where_others_can_write(tmp_path, monkeypatch):
    monkeypatch.setitem(vars(config), "CACHE_DIR", str(place(tmp_path / "shared", 0o777)))
    source = tmp_path / "package"
    assert machine_code_folder(source) == source / "__pycache__"
    (source / "__pycache__").chmod(0o777)
    is_trusted.cache_clear()
    machine_code_folder.cache_clear()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    kept = machine_code_folder(source)
    assert kept is not None
    assert kept.parent == tmp_path / "cache" / "gridflow" / "machine-code"
    (kept / "planted.nbi").write_bytes(b"")
    (kept / "planted.nbi").chmod(0o666)
    is_trusted.cache_clear()
    machine_code_folder.cache_clear()
    assert machine_code_folder(source) is None


@pytest.mark.slow
def test_a_read_only_package_and_no_home(tmp_path):
    """Root may write anywhere: files stand where folders would be made, and home lies below a device."""
    source = Path(gridflow.__file__).parent
    shutil.copytree(source, tmp_path / "gridflow", ignore=shutil.ignore_patterns("__pycache__", "cases"))
    shutil.copytree(shipped_directory(), tmp_path / "cases")
    for folder in [tmp_path / "gridflow", *(d for d in (tmp_path / "gridflow").rglob("*") if d.is_dir())]:
        (folder / "__pycache__").write_text("no folder")
    kept = {k: v for k, v in os.environ.items() if k not in ("NUMBA_CACHE_DIR", "XDG_CACHE_HOME", "MPLCONFIGDIR")}
    work = tmp_path / "work"
    work.mkdir()
    command = [sys.executable, "-m", "gridflow.cli", "solve", "ornstein-uhlenbeck", "-o", "a.nc", "--quiet"]
    command += ["--set", "time.stop=0.05", "--set", "time.save=2", "--set", "space.x.cells=32"]
    environment = {**kept, "PYTHONPATH": str(tmp_path), "HOME": "/dev/null/home"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, cwd=work)
    assert (done.returncode, done.stderr) == (0, "")
    assert [path.name for path in work.iterdir()] == ["a.nc"]
