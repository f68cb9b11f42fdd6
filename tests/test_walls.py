"""Mass at the walls of a box is warned of, on grids and for particles, and not elsewhere."""

import numpy as np
import pytest
from helpers import ORNSTEIN_UHLENBECK, QUADRATIC, case_of
from test_guards import proposed

from gridflow.particles.cloud import Cloud
from gridflow.particles.integrator import RungeKutta2
from gridflow.particles.simulation import simulate
from gridflow.solver import solve
from gridflow.space.walls import wall_shares_particles
from gridflow.verdict.runner import validate

DOWNHILL = {
    **{k: v for k, v in ORNSTEIN_UHLENBECK.items() if k not in ("exact", "flow")},
    "space": {"x": {"kind": "interval", "bounds": [-4.0, 4.0], "cells": 64}},
    "energy": {"kind": "potential", "terms": {"x": {"kind": "linear", "slope": -1.0}}},
    "time": {"stop": 3.0, "save": 4},
}
"""Mass around −0.8 moves to the right with speed 1: to 2.2 ± 0.4 at time 3."""


def test_a_run_that_stays_inside_has_no_warning():
    assert "warnings" not in solve(case_of(DOWNHILL)).attrs
    assert simulate(case_of(DOWNHILL), 64, integrator=RungeKutta2(0.05)).warnings == ()


@pytest.mark.parametrize("stop", [4.2, 8.0])
def test_mass_that_flows_into_a_wall_is_warned_of(stop, tmp_path):
    """At time 4.2 one particle in a hundred has reached the wall at 4 (3.4 + 2.3·0.4 > 4 − a cell), at time 8 all have."""
    case = case_of(DOWNHILL, time__stop=stop)
    dataset, run = solve(case, tmp_path / "a.nc"), simulate(case, 512, sampling="sobol", integrator=RungeKutta2(0.05))
    for warning in (dataset.attrs["warnings"], *run.warnings):
        assert warning.startswith("walls of 'x': up to ")
        assert "fix: wider space.x.bounds" in warning
    assert len(run.warnings) == 1
    assert float(dataset["boundary_mass"].max()) > 1e-3
    wide = case.replace({"space.x.bounds": [-4.0, 14.0]})
    assert "warnings" not in solve(wide).attrs
    assert simulate(wide, 512, sampling="sobol", integrator=RungeKutta2(0.05)).warnings == ()


def test_the_terminal_shows_the_warning(tmp_path, capsys, monkeypatch):
    from gridflow.cli import main

    monkeypatch.chdir(tmp_path)
    (tmp_path / "box.toml").write_text(case_of(DOWNHILL).text())
    assert main(["solve", "box.toml", "--set", "time.stop=8.0"]) == 0
    assert "warning: walls of 'x'" in capsys.readouterr().err
    assert main(["solve", "box.toml", "--overwrite"]) == 0
    assert "warning" not in capsys.readouterr().err


def test_mirrored_particles_count_wherever_they_are():
    """A particle that has gone through the wall and is back in the middle of the box by mirroring."""
    grid = case_of(DOWNHILL).grid()
    points = np.array([[0.0], [8.0], [3.99], [-3.99], [2.0]])
    assert wall_shares_particles(grid, points, np.full(5, 0.2)) == {"x": pytest.approx(0.6)}
    assert simulate(case_of(DOWNHILL), Cloud(np.array([[0.0]]), np.ones(1)), integrator=RungeKutta2(0.05)).warnings == ()


def test_circles_labels_and_frozen_factors_have_no_walls():
    space = {
        "x": {"kind": "circle", "cells": 16},
        "s": {"kind": "labels", "values": [-1.0, 1.0]},
        "y": {"kind": "interval", "bounds": [0.0, 1.0], "cells": 4},
    }
    table = {
        **DOWNHILL,
        "space": space,
        "energy": {"kind": "potential"},
        "initial": [{"density": {name: {"kind": "uniform"} for name in space}}],
        "flow": {"mobility": {"y": {"value": 0.0}}},
    }
    assert "warnings" not in solve(case_of(table)).attrs


def shifted(x):
    """Changes by which everything is so far to the right; more digits of the bounds count than of their distance."""
    normal = {"kind": "normal", "mean": x - 0.8, "deviation": 0.4}
    return {"space__x__bounds": [x - 4.0, x + 4.0], "initial": [{"density": {"x": normal}}]}


CUT_OFF = {
    "drift": ({}, {"time__stop": 8.0}),
    "pressed": ({}, {"time__stop": 4.2, "space__x__bounds": [-8.0, 3.0]}),
    "temperature": ({"x": {"kind": "quadratic"}}, {"flow__temperature": 2.0, "time__save": 21}),
    "both walls": (
        {"x": {"kind": "quadratic", "stiffness": 1e-3}},
        {"flow__temperature": 1.0, "time__stop": 6.0, "time__save": 21},
    ),
    "far from 0": ({}, {"time__stop": 8.0, **shifted(3e8 + 1 / 3)}),
    "accelerated": ({"x": {"kind": "quadratic", "stiffness": -1.0}}, {"time__stop": 1.6, "time__save": 33}),
}


@pytest.mark.parametrize("name", CUT_OFF)
def test_the_proposed_bounds_hold_the_mass(name):
    """Once or, where what is beyond the wall is faster than at it, twice proposed."""
    terms, changes = CUT_OFF[name]
    case = case_of(DOWNHILL, **({"energy__terms": terms} if terms else {}), **changes)
    for _ in range(2 if name == "accelerated" else 1):
        warnings = solve(case).attrs["warnings"].splitlines()
        (warning,) = [line for line in warnings if line.startswith("walls of 'x'")]
        wider = proposed(case, warning.split("; where the space ends")[0])
        assert wider.grid().factors[0].cell_width == pytest.approx(case.grid().factors[0].cell_width, rel=0.02)
        case = wider
    assert "walls" not in solve(case).attrs.get("warnings", "")


def test_proposed_bounds_do_not_hold_the_noise_of_a_temperature_that_has_fallen():
    """∫D dt = 0.2 + 0.3: a way of 5·√(2·0.5) beyond a wall. With D of the start, 20, it is 55 long."""
    annealing = {"kind": "exponential", "time": 0.01, "floor": 0.1}
    case = case_of(DOWNHILL, energy={"kind": "potential"}, flow={"temperature": 20.0, "annealing": annealing}, time__save=21)
    (warning,) = [line for line in solve(case).attrs["warnings"].splitlines() if line.startswith("walls of 'x'")]
    lower, upper = proposed(case, warning.split("; where the space ends")[0]).space["x"].bounds
    assert lower > -4 - 5 - 2
    assert upper < 4 + 5 + 2


def test_walls_that_are_part_of_the_problem_are_not_warned_of():
    case = case_of(DOWNHILL, time__stop=8.0)
    closed = proposed(case, solve(case).attrs["mass_at_walls"].split("; where the space ends")[1])
    assert closed.space["x"].closed
    dataset, run = solve(closed), simulate(closed, 64, integrator=RungeKutta2(0.05))
    assert "mass_at_walls" not in dataset.attrs
    assert "walls" not in dataset.attrs["warnings"]
    assert run.warnings == ()


@pytest.mark.parametrize(("closed", "verdict"), [(False, "inconclusive"), (True, "pass")])
def test_a_verdict_does_not_rest_on_walls_with_mass(closed, verdict):
    """Uniform on the box, at rest: grid and exact solution agree, which says nothing of a line."""
    threshold = {"threshold": 1.0, "reason": "walls are judged here, not errors"}
    table = {
        **QUADRATIC,
        "energy": {"kind": "potential"},
        "initial": [{"density": {"theta": {"kind": "cosine", "amplitude": 0.5}}}],
        "flow": {"temperature": 0.1},
        "time": {"stop": 0.1, "save": 2},
        "validation": {"w1": threshold, "times": 1},
        "exact": {"kind": "heat"},
    }
    result = validate(case_of(table, space__theta__closed=closed))
    assert result.attrs["verdict"] == verdict
    from gridflow.verdict.table import table as text

    assert ("with mass at walls" in text(result)) == (verdict == "inconclusive")
    assert ("--set space.theta.bounds=[" in text(result)) == (verdict == "inconclusive")
