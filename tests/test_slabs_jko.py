"""Entropic JKO steps in slabs over the ranks of MPI: what they compute is what a whole grid does, in as many iterations."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import xarray
from test_slabs import MPIEXEC, Several, run_mpi, with_mpi

import gridflow
from gridflow.errors import InputError
from gridflow.slabs.problem import cut_problem

STEPS = 5
RELATIVE = 1e-10
"""Of the largest density after STEPS steps: a hundredth of the tolerance of a step. Sums in another order change the iterates by
1e−16, and what the iteration keeps in single precision by up to 1e−7 of its last steps."""
OF_SMALL_DIFFERENCES = {"boundary_mass", "constr_even", "constr_odd"}
"""Numbers that are small differences of large ones: their round-off is relative to those."""


def potential(space: dict, **more: object) -> dict:
    """A case with an interval x and a potential along it."""
    terms = {"x": {"kind": "quadratic", "stiffness": 3.0, "centre": 0.7}}
    others = {name: {"kind": "uniform"} for name in space}
    start = {"density": {**others, "x": {"kind": "normal", "mean": 0.4, "deviation": 0.15}}}
    x = {"kind": "interval", "bounds": [-1.0, 2.0], "cells": 26}
    return {
        "title": "a potential",
        "space": {"x": x, **space},
        "energy": {"kind": "potential", "terms": terms},
        "initial": [start],
        "scheme": {"kind": "jko", "tau": 0.02},
        "time": {"stop": 1.0, "save": 2},
        **more,
    }


LINE = {"kind": "interval", "bounds": [0.0, 1.0]}
SHIPPED = {
    "bn-circle-jko": {"space.angle.cells": 110, "space.a.cells": 96},  # products in logarithms; the cut is a circle
    "bn-ellipse-jko": {"space.angle.cells": 36, "space.a.cells": 40, "scheme.bias": "debias"},  # in the linear domain
    "relu-jko": {"space.w.cells": 66, "space.b.cells": 70, "flow.temperature": 0.02},  # in single precision; coarser grids
    "bn-sphere-jko": {"space.b.level": 1, "space.a.cells": 24, "scheme.bias": "plain"},  # a surface beside the cut
}
OWN = {
    "line": potential({}, flow={"temperature": 0.05}),  # one line for all ranks
    "accuracy": potential({"y": {**LINE, "cells": 17}}, scheme={"kind": "jko", "tau": 0.02, "accuracy": 4.0}),
    "frozen": potential({"y": {**LINE, "cells": 30}}, flow={"mobility": {"y": {"value": 0.0}}}),  # the cut is not last
    "speeds": potential(
        {"s": {"kind": "labels", "values": [0.5, 1.0, 2.0]}, "y": {**LINE, "cells": 70}},
        flow={"mobility": {"y": {"factor": "s", "power": 1.0}}, "temperature": 0.05},
    ),
    "reaction": potential({"y": {**LINE, "cells": 17}}, flow={"reaction": {"rate": 1.0}}),
}
RANKS = {2: [*SHIPPED, *OWN], 3: ["relu-jko", "line", "speeds"]}
"""Names of the cases by the number of ranks: on three, slabs and parts of lines are not equal."""


def case_of(name: str) -> gridflow.Case:
    changes = {**SHIPPED.get(name, {}), "time.max_steps": STEPS, "time.save": 3}
    return (gridflow.load_case(name) if name in SHIPPED else gridflow.Case.from_dict(OWN[name])).replace(changes)


@pytest.fixture(scope="module")
def solved(tmp_path_factory):
    """Folders of results on 2 ranks, and of some cases on 3, by their number."""
    folders = {}
    for ranks, names in RANKS.items():
        folders[ranks] = folder = tmp_path_factory.mktemp("slabs")
        for name in names:
            (folder / f"{name}.toml").write_text(case_of(name).text())
        shutil.copytree(Path(gridflow.load_case("relu-jko").directory) / "data", folder / "data")
        run_mpi(ranks, [sys.executable, str(Path(__file__).with_name("solve_in_slabs.py")), str(folder)])
    return folders


@with_mpi
@pytest.mark.parametrize(("name", "ranks"), [(name, ranks) for ranks, names in RANKS.items() for name in names])
def test_slabs_compute_what_a_whole_grid_does(solved, name, ranks):
    with xarray.open_dataset(solved[ranks] / f"{name}.{ranks}.nc") as other:
        one = gridflow.solve(case_of(name))
        assert one.attrs["status"] == other.attrs["status"]
        assert set(one.data_vars) == set(other.data_vars)
        for variable in ("steps", "iterations"):
            np.testing.assert_array_equal(one[variable], other[variable])
        for variable in sorted(set(map(str, one.data_vars)) - OF_SMALL_DIFFERENCES):
            a, b = one[variable].to_numpy(), other[variable].to_numpy()
            largest = float(np.nanmax(np.abs(a), initial=0.0)) if a.dtype.kind == "f" else 1.0
            np.testing.assert_allclose(b, a, rtol=0, atol=RELATIVE * largest, err_msg=variable)
        assert one["steps"].values[-1] >= STEPS - 2, "too few steps to compare"
        assert one["iterations"].values[-1] > STEPS


@with_mpi
def test_a_run_in_slabs_goes_on_without_them(tmp_path):
    """With the extrapolated start and the history of the step before, which are fields of the checkpoint."""
    small = {"space.angle.cells": 37, "space.a.cells": 36, "time.stop": 12.5, "time.save": 3}
    settings = [word for key, value in small.items() for word in ("--set", f"{key}={value}")]
    case, output = gridflow.load_case("bn-circle-jko").replace(small), tmp_path / "run.nc"
    command = [sys.executable, "-m", "gridflow", "solve", "bn-circle-jko", "-o", str(output), *settings]
    env = {**os.environ, "PYTHONPATH": str(Path(gridflow.__file__).parents[1])}
    with subprocess.Popen([str(MPIEXEC), "-n", "2", *command], env=env, stderr=subprocess.DEVNULL) as process:
        while process.poll() is None and not (tmp_path / "run.nc.part").exists():
            time.sleep(0.05)
        time.sleep(0.5)  # some of a hundred steps
        process.terminate()
    ended, whole = gridflow.solve(case, output, resume=True), gridflow.solve(case)
    assert ended.attrs["status"] == "completed"
    np.testing.assert_array_equal(ended["iterations"], whole["iterations"])
    np.testing.assert_allclose(ended["density"], whole["density"], rtol=0, atol=RELATIVE * float(whole["density"].max()))


@pytest.mark.parametrize(
    ("name", "changes", "said"),
    [
        ("relu-jko-algorithm-1", {}, 'scheme.algorithm = "scaling": use "newton"'),
        ("congestion", {}, "2 ranks with"),  # an energy that acts cell by cell
        ("bn-circle-jko", {"space.angle.cells": 4, "space.a.cells": 4}, "at most 1: 4 cells for each"),
    ],
)
def test_what_does_not_come_in_slabs_is_refused(name, changes, said):
    case = gridflow.load_case(name).replace(changes)
    with pytest.raises(InputError, match=said):
        cut_problem(case, case.problem(None), Several(0, 2))
