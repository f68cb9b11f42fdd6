"""Compiled functions: kept where something can be written, used again while their sources are the same, announced when new."""

import os
import shutil
import subprocess
import sys
from importlib import import_module, invalidate_caches
from pathlib import Path

import pytest

import gridflow
from gridflow.compiled import kernel, on_compilation, source_stamp
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
