"""Sums over pairs of cells of a surface, compiled and by KeOps, and the Gibbs kernel made of them."""

import os
import subprocess
import sys
from contextlib import nullcontext

import numpy as np
import pytest
from scipy.sparse.linalg import expm_multiply

from gridflow.errors import InputError
from gridflow.scheme.jko import gibbs
from gridflow.scheme.jko.gibbs import GibbsKernel
from gridflow.scheme.jko.scheme import JKO
from gridflow.scheme.jko.surface_kernel import ChebyshevModes
from gridflow.space.circle import Circle
from gridflow.space.densities import Fisher
from gridflow.space.ellipsoid import Ellipsoid
from gridflow.space.grid import Grid
from gridflow.space.labels import Labels
from gridflow.space.line import Interval
from gridflow.space.mesh import unit
from gridflow.space.sphere import Sphere
from gridflow.sums import choice, geodesic, keops
from gridflow.sums.choice import Reductions, reductions
from gridflow.sums.geodesic import BLOCK, Ball, log_sum, log_sum_compiled, log_sum_keops
from gridflow.threads import blas_threads
from tests.reference import geodesic as reference
from tests.test_surface import NORTH, flow

SPHERE = Sphere(level=3).factor("b")
EPSILON = 1.5 * float(SPHERE.volumes.max())
ELLIPSOID = Ellipsoid(level=2, covariance=[[2.0, 0.3, 0.0], [0.3, 1.0, 0.0], [0.0, 0.0, 0.5]]).factor("b")


@pytest.mark.parametrize("slope", [0.0, 30.0, 1000.0, 1e5])
@pytest.mark.parametrize("count", [1, BLOCK, BLOCK + 1, 642])
def test_the_compiled_sum_is_its_definition(rng, slope, count):
    """Fields of any range; e^−40 of every sum is left out, and round-off is that of the field."""
    points = SPHERE.image if count == 642 else unit(rng.normal(size=(count, 3)))
    field = np.stack([slope * points[:, 2], slope * rng.normal(size=count)], axis=1)
    expected = reference.log_sum(points, field, EPSILON)
    np.testing.assert_allclose(log_sum_compiled(Ball.of(points), field, EPSILON), expected, rtol=1e-14, atol=1e-11)


def test_threads_do_not_change_a_bit(rng):
    field, found = rng.normal(size=(SPHERE.size, 2)), []
    for threads in (1, 3):
        with blas_threads(threads):
            found.append(log_sum_compiled(Ball.of(SPHERE.image), field, EPSILON))
    np.testing.assert_array_equal(*found)


def test_blocks_are_neighbours():
    ball = Ball.of(SPHERE.image)
    assert sorted(ball.order) == list(range(SPHERE.size))
    assert np.median(ball.radii) <= 3 * np.sqrt(SPHERE.volumes.mean())  # a round block of 16 cells has a radius of 2.3


def test_keops_agrees_and_mends_its_folder(tmp_path):
    """In a process of its own, because pykeops keeps what it imported: in a folder with a torn cache file, then once more."""
    script = """
import os, sys
from pathlib import Path
import numpy as np
from gridflow.sums import keops
from gridflow.sums.geodesic import Ball, log_sum_keops
from gridflow.space.sphere import Sphere
from gridflow.threads import blas_threads
from tests.reference import geodesic as reference
with keops.private_folder() as folder:
    keops.import_pykeops()
for inner in folder.iterdir():
    (inner / "get_keops_dll_impl_cache.pkl").write_bytes(b"")
for name in [n for n in sys.modules if n.split(".")[0] in ("pykeops", "keopscore")]:
    del sys.modules[name]
mesh = Sphere(level=1).factor("b")
ball = Ball.of(mesh.image)
field = np.stack([300 * mesh.image[:, 0], np.zeros(mesh.size)], axis=1)
print(np.abs(log_sum_keops(ball.points, field, 0.2) - reference.log_sum(mesh.image, field, 0.2)).max())
print(folder.stat().st_mode & 0o777 == 0o700, folder.is_relative_to(Path(os.environ["XDG_CACHE_HOME"])))
"""
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    difference, private = done.stdout.strip().splitlines()  # and nothing else was printed
    assert float(difference) <= 1e-11  # round-off of a field of 300
    assert private == "True True"


@pytest.mark.parametrize("engine", ["numpy", "numba", "keops"])
def test_every_engine_sums_logarithms(engine, rng):
    field = np.stack([300 * SPHERE.image[:, 0], rng.normal(size=SPHERE.size)], axis=1)
    with reductions(Reductions(engine=engine)) as use:
        found = log_sum(Ball.of(SPHERE.image), field, EPSILON)
    np.testing.assert_allclose(found, reference.log_sum(SPHERE.image, field, EPSILON), rtol=1e-14, atol=1e-11)
    assert use.text.startswith(engine)


def test_without_keops_the_sums_are_compiled_and_the_user_is_told(monkeypatch):
    def broken(*_):
        raise keops.KeOpsUnavailable("no compiler")

    monkeypatch.setattr(geodesic, "log_sum_keops", broken)
    monkeypatch.setattr(choice, "engine", lambda pairs: "keops")
    choice.warn_once.cache_clear()
    ball, field = Ball.of(SPHERE.image), np.zeros((SPHERE.size, 1))
    with pytest.warns(RuntimeWarning, match="no compiler"):
        result = log_sum(ball, field, EPSILON)
    np.testing.assert_array_equal(result, log_sum_compiled(ball, field, EPSILON))
    log_sum(ball, field, EPSILON)  # once: a second warning would be an error here
    with reductions(Reductions(engine="keops")), pytest.raises(InputError, match="no compiler"):
        log_sum(ball, field, EPSILON)


def test_a_formula_that_fails_twice_is_unavailable(monkeypatch, tmp_path):
    monkeypatch.setattr(keops, "keops_folder", lambda: tmp_path)
    monkeypatch.setenv("KEOPS_CACHE_FOLDER", str(tmp_path))
    (tmp_path / "torn").mkdir()
    calls = []

    def fail(self, *_):
        calls.append(sorted(tmp_path.iterdir()))
        raise ImportError("file too short")

    monkeypatch.setattr(keops.Reduction, "first_call", fail)
    monkeypatch.setattr(geodesic.KEOPS_LOG_SUM, "call", None)
    with pytest.raises(keops.KeOpsUnavailable, match="file too short"):
        log_sum_keops(SPHERE.image, np.zeros((SPHERE.size, 1)), EPSILON)
    assert tmp_path / "torn" in calls[0]
    assert calls[1:] == [[]]  # emptied between the attempts


def test_on_a_cpu_keops_keeps_to_the_threads_of_the_run(monkeypatch):
    seen = []

    class Libraries:
        def limit(self, limits, user_api):
            seen.append((limits, user_api))
            return nullcontext()

    monkeypatch.setattr(keops, "openmp", Libraries)
    reduction = keops.Reduction("x", [], "Sum")
    reduction.call = lambda *values, backend: values
    with blas_threads(2):
        assert reduction(1.0) == (1.0,)
    assert seen == ([] if keops.gpu_available() else [(2, "openmp")])


def test_an_unwritable_cache_becomes_a_temporary_folder(monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    keops.keops_folder.cache_clear()
    folder = keops.keops_folder()
    keops.keops_folder.cache_clear()
    assert folder.is_dir()
    assert not folder.is_relative_to(tmp_path)


# ------------------------------------------------------------------------------------------------ the kernel made of them
LINE = Interval(bounds=(-1.0, 2.0), cells=12).factor("a")
SIGNS = Labels(values=[-1.0, 1.0]).factor("sign")


def kernels(grid, epsilon, monkeypatch):
    """With matrices, and without that of the surface."""
    dense = GibbsKernel(grid, epsilon)
    monkeypatch.setattr(gibbs, "DENSE_MAX", 100)
    return dense, GibbsKernel(grid, epsilon)


@pytest.mark.parametrize("mobility", [{}, {"b": ("sign", np.array([0.0, 2.0]))}], ids=["plain", "by label"])
def test_a_surface_without_a_matrix_has_the_same_products(rng, monkeypatch, mobility):
    grid = Grid([SIGNS, LINE, ELLIPSOID], mobility)
    dense, sums = kernels(grid, 1.5 * float(ELLIPSOID.volumes.max()), monkeypatch)
    assert sums.surfaces.count(None) == 1
    for scale in (1.0, 800.0):
        field = scale * rng.random(grid.shape)
        np.testing.assert_allclose(sums.apply_log(field), dense.apply_log(field), rtol=1e-12, atol=1e-11)
    positive = 0.1 + rng.random(grid.shape)
    np.testing.assert_allclose(sums.apply(positive), dense.apply(positive), rtol=1e-11)
    np.testing.assert_allclose(sums.apply(np.ones(grid.shape)), 1.0, rtol=1e-12)


def test_functions_of_the_laplacian_are_polynomials_of_it(rng):
    modes, field = ChebyshevModes(SPHERE), rng.random((5, SPHERE.size))
    times = np.array([0.1, 0.5, 1.0, 2.0, 4.0])[:, None] * EPSILON
    result = modes.filter(field, np.exp(times * modes.eigenvalues), 1)
    for row, time in enumerate(times[:, 0]):
        np.testing.assert_allclose(result[row], expm_multiply(time * SPHERE.sparse_laplacian, field[row]), rtol=1e-9)


def test_preconditioners_with_and_without_a_matrix_are_close(rng, monkeypatch):
    """1/(1 + 5(1 − σ²)) on a product with a line; σ is exp((ε/4)Δ): off by 0.14 at most, the symbol by 5 %."""
    grid = Grid([LINE, SPHERE])
    dense, sums = kernels(grid, EPSILON, monkeypatch)
    field = rng.random(grid.shape)
    one, two = (k.filter(field, 1 / (1 + 5 * (1 - k.modes[1] ** 2))) for k in (dense, sums))
    assert np.linalg.norm(one - two) <= 0.05 * np.linalg.norm(one)


@pytest.mark.parametrize("bias", ["plain", "compensate", "debias"])
def test_jko_steps_without_a_matrix_are_the_same(monkeypatch, bias):
    """To the tolerance of the steps, and in about as many iterations."""
    scheme, spec, start = JKO(tau=0.05, bias=bias, tolerance=1e-9), Sphere(level=3), Fisher((1.0, 0.5, -0.5), 8.0)
    dense = flow(scheme, spec, NORTH, start, 0.1, temperature=0.2)[1]
    monkeypatch.setattr(gibbs, "DENSE_MAX", 100)
    sums = flow(scheme, spec, NORTH, start, 0.1, temperature=0.2)[1]
    assert np.abs(dense.density - sums.density) @ SPHERE.volumes <= 1e-7
    assert sums.reports["iterations"] <= 1.5 * dense.reports["iterations"]


def test_two_large_surfaces_and_long_lines_are_refused(monkeypatch):
    monkeypatch.setattr(gibbs, "DENSE_MAX", 30)
    two = Grid([Sphere(level=1).factor("b"), Sphere(level=1).factor("c")])
    with pytest.raises(InputError, match="one such surface"):
        GibbsKernel(two, 0.5)
    with pytest.raises(InputError, match="at most 30 cells of an interval"):
        GibbsKernel(Grid([Circle(cells=40).factor("angle")]), 0.5)
