"""Progress: what a person sees on a terminal and what a log holds."""

import sys
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from helpers import QUADRATIC, case_of

from gridflow.energy.base import Evaluation
from gridflow.progress import Bar, Lines, Progress, RunTally, has_bars, in_notebook, progress_for, shown
from gridflow.scheme.base import State
from gridflow.solver import solve


@pytest.mark.parametrize("kind", [Bar, Lines])
def test_progress_shows_energy_mass_error_step_and_remaining_time(kind, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    progress = kind("quadratic", 1.0)
    progress.interval = 0.0
    if kind is Bar:
        progress.bar.mininterval = 0.0
    solve(case_of(QUADRATIC), progress=progress)
    text = capsys.readouterr().err
    for part in ("quadratic", "E=", "mass error=", "dt=", "steps=", "t="):
        assert part in text
    assert ("<" if kind is Bar else "remaining=") in text
    assert "100%" in text


def test_lines_go_to_logs_and_bars_to_terminals(monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: False, raising=False)
    assert isinstance(progress_for("a", 1.0), Lines)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    bar = progress_for("a", 1.0)
    assert isinstance(bar, Bar)
    bar.close()


def test_the_first_line_has_no_remaining_time(capsys):
    """Nothing is done yet by which to tell it."""
    progress = Lines("a", 1.0)
    progress.interval = 0.0
    state = State(np.ones(2), 0.25, 0.1, Evaluation(1.0, np.ones(2), 0.0), 1.0)
    progress.update(state, 1, 0.0)
    progress.update(replace(state, time=0.5), 2, 0.0)
    first, second = capsys.readouterr().err.splitlines()
    assert "remaining" not in first
    assert "50%" in second
    assert "remaining=" in second


def test_a_kernel_of_jupyter_is_a_notebook(monkeypatch):
    assert not in_notebook()
    for config, found in (({}, False), ({"IPKernelApp": {}}, True)):
        fake = SimpleNamespace(get_ipython=lambda config=config: SimpleNamespace(config=config))
        monkeypatch.setitem(sys.modules, "IPython", fake)
        assert in_notebook() == has_bars() == found


def test_progress_true_chooses_what_fits(capsys):
    assert isinstance(shown(True, lambda: Lines("a", 1.0)), Lines)
    for silent in (False, None):
        assert type(shown(silent, lambda: Lines("a", 1.0))) is Progress
    mine = RunTally("mine")
    assert shown(mine, Progress) is mine
    solve(case_of(QUADRATIC), progress=True)
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize("terminal", [True, False])
def test_a_tally_counts_runs(terminal, capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal, raising=False)
    tally = RunTally("mine")
    tally.start(3)
    for name in ("coarse", "fine", "particles"):
        tally.stage(name)
        tally.advance()
    tally.close()
    text = capsys.readouterr().err
    assert "mine" in text
    assert ("3/3" if terminal else "2/3 runs; now particles") in text
