"""Progress: what a person sees on a terminal and what a log holds."""

import sys

import pytest
from helpers import QUADRATIC, case_of

from gridflow.progress import Bar, Lines, RunTally, progress_for
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
