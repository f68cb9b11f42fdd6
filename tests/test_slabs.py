"""A grid in slabs over the ranks of MPI: what it computes is what a whole grid does."""

import os
import pickle
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import xarray

import gridflow
from gridflow.errors import InputError, SolveError
from gridflow.launched import mpiexec_path
from gridflow.output.kept import UnreadableError
from gridflow.output.lock import locked
from gridflow.slabs.ranks import Ranks
from gridflow.slabs.slab import Slab, cut_axis, slab_of
from gridflow.space.circle import Circle
from gridflow.space.grid import Grid
from gridflow.space.labels import Labels
from gridflow.space.line import Grading, Interval
from gridflow.space.piece import piece
from gridflow.space.sphere import Sphere

MPIEXEC = mpiexec_path()
with_mpi = pytest.mark.skipif(MPIEXEC is None or find_spec("mpi4py") is None, reason="needs mpi4py and its mpiexec")
STEPS = 100
CASES = {
    "bn-circle": {"space.angle.cells": 37, "space.a.cells": 36},  # the cut is a circle, a mobility depends on a line
    "linear-network": {"space.w.cells": 30, "space.alpha.cells": 41},
    "relu-weight-decay": {"space.w.cells": 16, "space.b.cells": 17, "space.alpha.cells": 20},
    "relu-regression": {"space.w.cells": 24, "space.b.cells": 26},  # labels
    "bn-sphere": {"space.b.level": 2, "space.a.cells": 24},  # a surface beside the cut
    "teacher-weights": {"space.u.cells": 12, "space.v.cells": 14, "space.w.cells": 15},  # statements
    "ornstein-uhlenbeck": {"space.x.cells": 64},  # implicit, one line for all ranks
    "torsion": {"space.angle.cells": 60},  # implicit, a circle
    "langevin-network": {"space.w.cells": 28, "space.b.cells": 30},
    "langevin-annealing": {"space.x.cells": 64},
    "gaussian-mixture-fisher-rao": {"space.x.cells": 40, "space.y.cells": 32},  # a reaction
    "mmd-gaussian": {"space.x.cells": 56, "space.y.cells": 60},  # kernels of low rank along both
    "mmd-diffusion": {"space.x.cells": 30, "space.y.cells": 36},  # full matrices
    "kuramoto": {"space.theta.cells": 64},
    "varying": {  # a mobility that varies from line to line along the cut, along which ξ is the same up to constants
        "space.x.cells": 40,
        "space.y.cells": 32,
        "energy": {"kind": "potential", "terms": {name: {"kind": "quadratic"} for name in "xy"}},
        "flow.mobility": {"x": {"factor": "y", "power": 2}},
    },
    "fitted": {"space.w.cells": 28, "space.b.cells": 30, "scheme.diffusion": "scharfetter-gummel"},
}
"""Small changes of shipped cases."""
OTHERS = {"fitted": "langevin-network", "varying": "gaussian-mixture-sampling"}
"""The shipped cases of those with names of their own."""
POLITE = {"OPENBLAS_NUM_THREADS": "1", "MPIR_CVAR_ENABLE_HEAVY_YIELD": "1", "MPIR_CVAR_POLLS_BEFORE_YIELD": "50"}
"""Processes of MPICH that wait for each other leave the processors to others, of which there may be fewer than processes."""
RELATIVE = 1e-12
"""Of the largest density after STEPS steps: sums in another order, 1e−16, and what steps make of them."""
OF_SMALL_DIFFERENCES = {"time", "time_step", "error_w1", "error_l1", "boundary_mass"}
"""Numbers that are small differences of large ones, or steps that follow from such: their round-off is relative to those."""


def case_of(name: str) -> gridflow.Case:
    case = gridflow.load_case(OTHERS.get(name, name))
    return case.replace({**CASES[name], "time.max_steps": STEPS, "time.save": 3})


@pytest.fixture(scope="module")
def solved(tmp_path_factory):
    """The folder with every case on 1, 2 and 3 ranks."""
    folder = tmp_path_factory.mktemp("slabs")
    for name in CASES:
        case = case_of(name)
        for data in Path(case.directory).glob("data"):
            if not (folder / "data").exists():
                shutil.copytree(data, folder / "data")
        (folder / f"{name}.toml").write_text(case.text())
    for ranks in (2, 3):
        run_mpi(ranks, [sys.executable, str(Path(__file__).with_name("solve_in_slabs.py")), str(folder)])
    return folder


def run_mpi(ranks: int, command: list[str], code: int = 0, cwd: Path | None = None) -> str:
    """What processes of an mpiexec print."""
    root = Path(__file__).parents[1]
    env = {**os.environ, **POLITE, "PYTHONPATH": os.pathsep.join([str(root), os.environ.get("PYTHONPATH", "")])}
    found = subprocess.run(
        [str(MPIEXEC), "-n", str(ranks), *command], capture_output=True, text=True, timeout=300, cwd=cwd or root, env=env
    )
    assert found.returncode == code, found.stdout + found.stderr
    return found.stdout + found.stderr


@with_mpi
@pytest.mark.parametrize("ranks", [2, 3])
@pytest.mark.parametrize("name", CASES)
def test_slabs_compute_what_a_whole_grid_does(solved, name, ranks):
    whole = solved / f"{name}.1.nc"
    if not whole.exists():
        gridflow.solve(case_of(name), whole)
    with xarray.open_dataset(whole) as one, xarray.open_dataset(solved / f"{name}.{ranks}.nc") as other:
        assert one.attrs["status"] == other.attrs["status"]
        assert set(one.variables) == set(other.variables)
        assert other.attrs["slabs"].startswith(f"{ranks} ranks, cut along ")
        for variable in sorted(set(map(str, one.variables)) - OF_SMALL_DIFFERENCES):
            a, b = one[variable].to_numpy(), other[variable].to_numpy()
            largest = float(np.nanmax(np.abs(a), initial=0.0)) if a.dtype.kind == "f" else 1.0
            np.testing.assert_allclose(b, a, rtol=0, atol=RELATIVE * largest, err_msg=variable)
        assert one["steps"].values[-1] >= 15, "too few steps to compare"


@with_mpi
def test_a_run_in_slabs_goes_on_with_another_number_of_ranks(tmp_path):
    small = ["--set", "space.angle.cells=37", "--set", "space.a.cells=36", "--set", "time.stop=3", "--quiet"]
    first = ["--set", "time.max_steps=15"]
    command = [sys.executable, "-m", "gridflow", "solve", "bn-circle", "-o", "run.nc", *small]
    run_mpi(3, [*command, *first], code=1, cwd=tmp_path)
    run_mpi(2, [*command, "--set", "time.max_steps=25", "--resume"], code=1, cwd=tmp_path)
    case = gridflow.load_case("bn-circle").replace({"space.angle.cells": 37, "space.a.cells": 36, "time.stop": 3.0})
    ended = gridflow.solve(case, tmp_path / "run.nc", resume=True)
    whole = gridflow.solve(case)
    assert ended.attrs["status"] == "completed"
    largest = float(whole["density"].max())
    np.testing.assert_allclose(ended["density"], whole["density"], rtol=0, atol=RELATIVE * largest)


@with_mpi
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["solve", "heat-sphere"], "a space with an interval or a circle"),
        (["solve", "keller-segel"], "2 ranks with"),
        (["solve", "mmd-noise"], "2 ranks with flow.noise_injection"),
        (["solve", "linear-network", "--set", "space.w.cells=4", "--set", "space.alpha.cells=6"], "at most 1: 4 cells for each"),
        (["solve", "linear-network", "--set", "scheme.diffusion=heat-semigroup"], "heat-semigroup"),
        (["validate", "linear-network"], "mpiexec for gridflow solve"),
    ],
)
def test_what_does_not_come_in_slabs_is_said_once_and_nothing_is_begun(tmp_path, arguments, said):
    text = run_mpi(2, [sys.executable, "-m", "gridflow", *arguments], code=2, cwd=tmp_path)
    assert text.count(said) == 1
    assert "fix:" in text
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(find_spec("mpi4py") is None, reason="needs mpi4py")
def test_an_mpiexec_of_another_mpi_is_recognised(tmp_path):
    env = {**os.environ, "OMPI_COMM_WORLD_SIZE": "4", "OMPI_COMM_WORLD_RANK": "0"}
    command = [sys.executable, "-m", "gridflow", "solve", "linear-network"]
    found = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=env)
    assert found.returncode == 2
    assert "started 4 processes, each of which is alone" in found.stderr
    assert list(tmp_path.iterdir()) == []


def test_without_an_mpiexec_nothing_of_mpi_is_imported(tmp_path):
    code = "import sys; from gridflow.cli import main; main(sys.argv[1:]); sys.exit('mpi4py' in sys.modules)"
    command = ["solve", "linear-network", "--quiet", "--set", "space.w.cells=8", "--set", "space.alpha.cells=8"]
    assert subprocess.run([sys.executable, "-c", code, *command], cwd=tmp_path, capture_output=True).returncode == 0


@with_mpi
def test_an_output_that_another_run_writes_is_refused_by_all(tmp_path):
    with locked(tmp_path / "run.nc"):
        text = run_mpi(2, [sys.executable, "-m", "gridflow", "solve", "linear-network", "-o", "run.nc"], code=2, cwd=tmp_path)
    assert text.count("is being written by") == 1
    assert "Traceback" not in text


@pytest.mark.parametrize(
    "error", [InputError("a", "b", "c"), UnreadableError(Path("a.nc"), "damaged", "is no file"), SolveError("no step")]
)
def test_errors_of_one_process_reach_the_others(error):
    found = pickle.loads(pickle.dumps(error))
    assert (type(found), str(found), vars(found)) == (type(error), str(error), vars(error))


# ------------------------------------------------------------------------------------------------------ without an mpiexec
class Several(Ranks):
    """A rank that only knows its number."""

    def __init__(self, rank: int, size: int) -> None:
        self.rank, self.size = rank, size


GRIDS = {
    "line": Grid([Interval((-1.0, 3.0), 11).factor("x"), Circle(7).factor("t")]),
    "graded": Grid([Interval((0.0, 1.0), 23, Grading(0.3, 5.0)).factor("x"), Labels([1.0, -1.0]).factor("s")]),
    "circle": Grid([Circle(13).factor("t"), Interval((0.0, 1.0), 5).factor("x")]),
    "surface": Grid([Sphere(level=1).factor("b"), Interval((0.0, 1.0), 9).factor("x")]),
}


def slabs(grid: Grid, size: int, ghosts: int = 2) -> list[Slab]:
    return [slab_of(grid, Several(rank, size), ghosts) for rank in range(size)]


@pytest.mark.parametrize("name", GRIDS)
@pytest.mark.parametrize("size", [1, 2])
def test_every_cell_counts_in_one_slab(name, size):
    grid = GRIDS[name]
    field = np.random.default_rng(1).random(grid.shape)
    found = sum(float(np.vdot(slab.cut(field), slab.volume)) for slab in slabs(grid, size))
    assert found == pytest.approx(float(np.vdot(field, grid.volume)), rel=1e-14)
    own = sum(slab.cut(field)[slab.own].size for slab in slabs(grid, size))
    assert own == grid.size
    layers = sum(int(slab.boundary[slab.own].sum()) for slab in slabs(grid, size))
    assert layers == int(grid.boundary.sum())


@pytest.mark.parametrize("name", GRIDS)
def test_faces_of_a_slab_are_those_of_the_grid(name):
    grid = GRIDS[name]
    for slab in slabs(grid, 2):
        whole, part = grid.factors[slab.axis], slab.factors[slab.axis]
        np.testing.assert_array_equal(part.volumes, whole.volumes[slab.cells])
        inside = slice(1, -1)
        np.testing.assert_array_equal(part.distances[inside], whole.distances[slab.cells[1:]])
        np.testing.assert_allclose(np.diff(part.points), part.distances[inside], atol=1e-15)
        at_wall = [part.edges[0] == whole.edges[0], part.edges[-1] == whole.edges[-1]]
        assert [slab.before == 0, slab.after == 0] == (at_wall if whole.walls else [False, False])
        np.testing.assert_allclose(part.embed(part.points), whole.embed(whole.points)[slab.cells], atol=1e-14)


def test_a_piece_of_a_circle_goes_on_beyond_the_seam():
    circle = Circle(8).factor("t")
    found = piece(circle, np.arange(-2, 3))
    np.testing.assert_allclose(np.diff(found.points), circle.volumes[0])
    np.testing.assert_allclose(np.diff(found.edges), circle.volumes[0])


def test_numbers_drawn_for_a_slab_are_those_of_its_cells():
    for grid in GRIDS.values():
        numbers = np.random.default_rng(3).standard_normal(grid.shape)
        for slab in slabs(grid, 2):
            np.testing.assert_array_equal(slab.drawn(np.random.default_rng(3).standard_normal), slab.cut(numbers))


def test_the_longest_line_that_moves_is_cut():
    still = Grid([Interval((0.0, 1.0), 20).factor("x"), Circle(12).factor("t")], {"x": (None, np.zeros(1))})
    assert still.order[cut_axis(still)] == "t"
    with pytest.raises(InputError, match="space without intervals and circles"):
        cut_axis(Grid([Sphere(level=1).factor("b")]))
    with pytest.raises(InputError, match="at most 2"):
        slab_of(GRIDS["line"], Several(0, 3), 2)
