"""What `gridflow show` says about memory and time."""

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from helpers import QUADRATIC, case_of, problem_of

from gridflow.case import cost
from gridflow.case.case import BYTES_PER_CELL, load_case
from gridflow.case.cost import Cost, cost_of, extrapolation, small_case
from gridflow.errors import InputError
from gridflow.memory import limits_of_groups, memory_limit, unlimited


def test_two_samples_are_extrapolated_linearly():
    assert extrapolation(np.array([10.0, 20.0]), np.array([3.0, 5.0]), 100) == pytest.approx(21.0)
    assert extrapolation(np.array([10.0, 20.0]), np.array([5.0, 5.0]), 100) == pytest.approx(25.0)  # in proportion: no slope


@pytest.mark.parametrize("name", ["ensemble-resnet-3", "relu-representations-pairs", "bn-sphere"])
def test_small_cases_have_about_as_many_cells_as_their_target(name):
    for target in (cost.SMALL, cost.LARGE):
        size = small_case(load_case(name), target).grid().size
        assert target / 2 < size < 2 * target  # whole numbers of cells per factor


@pytest.mark.parametrize(("name", "cells"), [("ensemble-resnet-3", 60), ("relu-weight-decay", 56)])
def test_the_memory_of_a_run_is_what_was_said(name, cells):
    """Against a step on the grid itself: within a quarter, because temporaries do not grow quite in proportion."""
    case = load_case(name)
    case = case.replace({f"space.{factor}.cells": cells for factor in case.space})
    stated = cost_of(case)
    assert stated.problem == ""
    assert stated.step_seconds > 0
    grid = case.grid()
    energy = case.energy.load(Path(case.directory))
    tracemalloc.start()
    stepper = case.scheme.init(problem_of(grid, energy.bind(grid), 0.0))
    stepper.step(stepper.start(np.full(grid.shape, 1 / grid.volume.sum())), 1.0)
    used = tracemalloc.get_traced_memory()[1] + grid.volume.nbytes
    tracemalloc.stop()
    assert stated.run_bytes == pytest.approx(used, rel=0.25)


def test_what_cannot_be_measured_is_said():
    jko = case_of(QUADRATIC, space__theta__cells=100_000, scheme={"kind": "jko", "tau": 0.1})
    assert "not for entropic JKO" in cost_of(jko).lines()[-1]
    narrow = load_case("mmd-gaussian").replace({"space.x.cells": 4000, "space.y.cells": 4000, "energy.bandwidth": 0.05})
    assert "below the cell size" in cost_of(narrow).lines()[-1]


def test_small_grids_are_not_measured():
    assert cost_of(case_of(QUADRATIC)).lines() == ["grid: theta 64 cells; a density takes 0.5 KiB"]


def test_numbers_are_in_readable_units():
    lines = Cost({"a": 1000, "b": 3000}, 3.5 * 2**30, 0.0123, (10, 20)).lines()
    assert lines[0] == "grid: a 1000 × b 3000 = 3000000 cells; a density takes 22.9 MiB"
    assert lines[1] == "a run holds about 3.5 GiB of arrays, and a step takes about 12 ms:"
    assert "12 s" in Cost({"a": 1}, 1.0, 12.3, (1, 2)).lines()[1]


def test_grids_beyond_memory_are_refused(monkeypatch):
    monkeypatch.setattr("gridflow.memory.memory_limit", lambda: 24 * 2**30)
    changes = {"space.theta.cells": 20000, "space.b": {"kind": "circle", "cells": 20000}}
    with pytest.raises(InputError, match=r"(?s)400000000 cells: about 29.8 GiB\n.*at most 24 GiB.*fewer cells.*--force"):
        case_of(QUADRATIC).replace(changes).grid()
    monkeypatch.setattr("gridflow.memory.memory_limit", lambda: 100 * BYTES_PER_CELL)
    with pytest.raises(InputError, match="a grid of 101 cells"):
        case_of(QUADRATIC, space__theta__cells=101).grid()
    with unlimited():
        case_of(QUADRATIC, space__theta__cells=101).grid()
    case_of(QUADRATIC, space__theta__cells=100).grid()


def test_the_memory_is_that_of_the_machine_the_container_and_the_shell(monkeypatch, tmp_path):
    resource = pytest.importorskip("resource")
    whole = memory_limit()
    assert 2**28 < whole < 2**50
    group = tmp_path / "one" / "two"
    group.mkdir(parents=True)
    monkeypatch.setattr("gridflow.memory.GROUPS", tmp_path)
    monkeypatch.setattr("gridflow.memory.OWN_GROUP", tmp_path / "own")
    (tmp_path / "own").write_text("1:cpu:/elsewhere\n0::/one/two\n")
    (group / "memory.max").write_text("max\n")
    assert limits_of_groups() == []
    (tmp_path / "one" / "memory.max").write_text("4096000\n")
    assert memory_limit() == 4096000
    monkeypatch.setattr(resource, "getrlimit", lambda which: (1234, resource.RLIM_INFINITY))
    assert memory_limit() == 1234
