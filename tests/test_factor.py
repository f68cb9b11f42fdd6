"""Factors: geometry, Laplacian, heat kernel."""

import numpy as np
import pytest

from gridflow.errors import InputError
from gridflow.space.factor import Circle, Factor, Grading, Interval, Labels
from gridflow.space.mesh import Mesh
from gridflow.space.sphere import Ellipsoid, Sphere

LINES = {
    "interval": Interval(bounds=(-1.0, 2.0), cells=24).factor("x"),
    "graded": Interval(bounds=(-1.0, 2.0), cells=24, grading=Grading(focus=0.5, ratio=5.0)).factor("x"),
    "circle": Circle(cells=24).factor("x"),
}


@pytest.mark.parametrize("factor", LINES.values(), ids=LINES.keys())
def test_cells_cover_the_factor_and_contain_their_points(factor):
    assert factor.volumes.sum() == pytest.approx(factor.edges[-1] - factor.edges[0], rel=1e-14)
    assert (factor.points > factor.edges[:-1]).all()
    assert (factor.points < factor.edges[1:]).all()
    inner = factor.edges[1:-1]
    np.testing.assert_allclose(inner, (factor.points[1:] + factor.points[:-1]) / 2, rtol=0, atol=1e-14)  # faces bisect the points


def test_graded_cells_are_smallest_at_the_focus_and_grow_by_the_ratio():
    factor = Interval(bounds=(-1.0, 2.0), cells=400, grading=Grading(focus=0.5, ratio=5.0)).factor("x")
    smallest = factor.points[np.argmin(factor.volumes[1:-1]) + 1]
    assert smallest == pytest.approx(0.5, abs=2 * factor.volumes.min())
    # the map derivative at cell points misses its extremes by O(1/n)
    assert factor.volumes[1:-1].max() / factor.volumes[1:-1].min() == pytest.approx(5.0, rel=0.02)


def test_distance_on_the_circle_is_geodesic():
    factor = Circle(cells=8).factor("x")
    assert factor.distance().max() == pytest.approx(np.pi)
    assert factor.distance()[0, 7] == pytest.approx(2 * np.pi / 8)
    assert Interval(bounds=(0.0, 1.0), cells=8).factor("x").distance()[0, 7] == pytest.approx(7 / 8)


@pytest.mark.parametrize("factor", LINES.values(), ids=LINES.keys())
def test_laplacian_conserves_mass_and_keeps_constants(factor):
    laplacian = factor.laplacian()
    np.testing.assert_allclose(
        laplacian @ np.ones(factor.size), 0, atol=1e-11
    )  # entries of size 1/h² = 1e2..1e3, times round-off
    np.testing.assert_allclose(factor.volumes @ laplacian, 0, atol=1e-12)
    assert (laplacian - np.diag(laplacian.diagonal()) >= 0).all()


@pytest.mark.parametrize("factor", LINES.values(), ids=LINES.keys())
@pytest.mark.parametrize("time", [1e-4, 0.1, 30.0])
def test_heat_kernel_is_a_positive_semigroup_that_keeps_mass(factor, time):
    kernel = factor.heat_kernel(time)
    assert (kernel >= 0).all()
    np.testing.assert_allclose(factor.volumes @ kernel, factor.volumes, rtol=1e-14)
    # squaring log2(rate·time) times loses that many bits at most
    np.testing.assert_allclose(kernel @ kernel, factor.heat_kernel(2 * time), rtol=1e-10, atol=1e-14)


def test_heat_kernel_damps_a_discrete_harmonic_at_its_exact_rate():
    factor = Circle(cells=24).factor("x")
    wave = np.cos(3 * factor.points)
    h = factor.volumes[0]
    rate = (2 - 2 * np.cos(3 * h)) / h**2  # eigenvalue of the three-point Laplacian
    np.testing.assert_allclose(factor.heat_kernel(0.2) @ wave, np.exp(-0.2 * rate) * wave, atol=1e-13)


def test_labels_have_no_faces_and_given_volumes():
    factor = Labels(values=[-1.0, 1.0, 3.0], volumes=[0.5, 0.25, 0.25]).factor("s")
    assert not factor.is_line
    assert factor.volumes.tolist() == [0.5, 0.25, 0.25]
    np.testing.assert_array_equal(factor.heat_kernel(1.0), np.eye(3))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Interval(bounds=(1.0, -1.0), cells=8), "not increasing"),
        (lambda: Interval(bounds=(0.0, 1.0), cells=8, grading=Grading(focus=2.0, ratio=3.0)), "outside bounds"),
        (lambda: Labels(values=[1.0, 1.0]), "not distinct"),
        (lambda: Labels(values=[1.0, 2.0], volumes=[1.0]), "give one per value"),
    ],
)
def test_wrong_factors_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


SHARED = {
    "columns", "components", "heat_kernel", "is_circle", "is_line", "is_mesh", "is_round", "length", "moves", "radius", "refined",
    "size",
}  # fmt: skip
"""What `Factor` answers rightly for surfaces too."""


@pytest.mark.parametrize(
    "mesh",
    [Sphere(level=1).factor("b"), Ellipsoid(level=1, covariance=np.diag([3.0, 1.0, 0.5]).tolist()).factor("b")],
    ids=lambda m: m.kind,
)
def test_surfaces_answer_or_refuse_whatever_a_factor_answers(mesh):
    """Nothing that is written for one coordinate is inherited by a surface: it is answered anew, declared here, or refused."""
    answers = {name for name in vars(Factor) if not name.startswith("_") and name not in Factor.__dataclass_fields__}
    assert answers - set(vars(Mesh)) == SHARED
    arguments = {"halved": (), "gaussian_kernel": (0.1,), "gaussian": (mesh.points, 0.1)}
    for name in ("chart_tangent", "embed_tangent", "fold_slope", "gaussian", "gaussian_kernel", "halved"):
        with pytest.raises(InputError, match=r"(?s)of the surface 'b'\n.*intervals, circles and ellipses"):
            getattr(mesh, name)(*arguments.get(name, (mesh.points,)))
    assert (mesh.size, mesh.columns, mesh.components, mesh.radius) == (42, 3, 3, 1.0)
    assert (mesh.is_line, mesh.is_circle, mesh.is_mesh, mesh.is_round, mesh.moves) == (False, False, True, True, True)
    assert mesh.length == pytest.approx(4 * np.pi, rel=2e-3)
    assert mesh.refined(1000) is mesh
    kernel = mesh.heat_kernel(0.1)
    assert kernel.min() >= 0
    np.testing.assert_allclose(kernel, mesh.heat_operator(0.1)(np.eye(mesh.size)), atol=1e-12)
