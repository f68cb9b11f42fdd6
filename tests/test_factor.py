"""Factors: geometry, Laplacian, heat kernel."""

import re
from pathlib import Path

import numpy as np
import pytest

import gridflow
from gridflow.errors import InputError
from gridflow.scheme.jko.scaling import prolongation
from gridflow.space.circle import Circle, Ellipse
from gridflow.space.coordinate import Coordinate, coordinate_of
from gridflow.space.densities import Uniform
from gridflow.space.ellipsoid import Ellipsoid
from gridflow.space.factor import Factor
from gridflow.space.grid import Grid
from gridflow.space.labels import Labels
from gridflow.space.line import Grading, Interval
from gridflow.space.mesh import surface_of
from gridflow.space.specs import FactorSpec
from gridflow.space.sphere import Sphere

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
    assert not factor.one_dimensional
    assert factor.volumes.tolist() == [0.5, 0.25, 0.25]
    np.testing.assert_array_equal(factor.heat_kernel(1.0), np.eye(3))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Interval(bounds=(1.0, -1.0), cells=8), "not increasing"),
        (lambda: Interval(bounds=(1.0, 1.00000000000001), cells=64), "too close for 64 cells"),
        (lambda: LINES["graded"].extension(1.0), "extension of the graded interval 'x'"),
        (lambda: Interval(bounds=(0.0, 1.0), cells=8, grading=Grading(focus=2.0, ratio=3.0)), "outside bounds"),
        (lambda: Labels(values=[1.0, 1.0]), "not distinct"),
        (lambda: Labels(values=[1.0, 2.0], volumes=[1.0]), "give one per value"),
    ],
)
def test_wrong_factors_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    "mesh",
    [Sphere(level=1).factor("b"), Ellipsoid(level=1, covariance=np.diag([3.0, 1.0, 0.5]).tolist()).factor("b")],
    ids=lambda m: m.kind,
)
def test_surfaces_answer_or_refuse_whatever_a_factor_answers(mesh):
    """Nothing that is written for one coordinate is inherited by a surface: it is answered anew, or refused."""
    for name in set(vars(Coordinate)) - set(dir(Factor)):
        assert not hasattr(mesh, name), name
    with pytest.raises(InputError, match=r"(?s)of the surface 'b'\n.*intervals, circles and ellipses"):
        coordinate_of(mesh)
    assert (mesh.size, mesh.columns, mesh.components, mesh.reach) == (42, 3, 3, 1.0)
    assert (mesh.one_dimensional, mesh.period, mesh.walls, mesh.moves) == (False, 0.0, None, True)
    assert (mesh.areas.size, mesh.edges.size, surface_of(mesh)) == (0, 0, mesh)
    assert mesh.total_volume == pytest.approx(4 * np.pi, rel=2e-3)
    assert mesh.refinement(1000) is mesh.coarsening(1) is mesh
    kernel = mesh.heat_kernel(0.1)
    assert kernel.min() >= 0
    np.testing.assert_allclose(kernel, mesh.heat_operator(0.1)(np.eye(mesh.size)), atol=1e-12)


EVERY = {
    **LINES,
    "labels": Labels(values=[-1.0, 1.0, 3.0], volumes=[0.5, 0.25, 0.25]).factor("x"),
    "ellipse": Ellipse(covariance=[[2.0, 0.5], [0.5, 1.0]], cells=24).factor("x"),
    "sphere": Sphere(level=1).factor("x"),
    "ellipsoid": Ellipsoid(level=1, covariance=np.diag([3.0, 1.0, 0.5]).tolist()).factor("x"),
}


def test_every_registered_factor_is_tested():
    assert {f.kind for f in EVERY.values()} == {spec.__struct_config__.tag for spec in FactorSpec.__args__}


def test_final_classes_replace_a_definition_at_most_once():
    for factor in EVERY.values():
        chain = [c for c in type(factor).__mro__ if issubclass(c, Factor)]
        names = {name for c in chain for name in vars(c) if not name.startswith("_")} - set(Factor.__dataclass_fields__)
        for name in names:
            assert sum(name in vars(c) for c in chain) <= 3, (factor.kind, name)
        assert not [c for c in type(factor).__subclasses__() if c.__module__.startswith("gridflow.")]


@pytest.mark.parametrize("factor", EVERY.values(), ids=EVERY.keys())
def test_faces_make_the_laplacian(factor):
    left, right, rate = factor.faces
    expected = np.zeros((factor.size, factor.size))
    for a, b, r in zip(left, right, rate, strict=True):
        for here, there in ((a, b), (b, a)):
            expected[here, there] += r / factor.volumes[here]
            expected[here, here] -= r / factor.volumes[here]
    np.testing.assert_allclose(factor.laplacian(), expected, atol=1e-12 * np.abs(expected).max(initial=1.0))


@pytest.mark.parametrize("name", [name for name in EVERY if name != "ellipsoid"])
def test_derivatives_of_positions(name):
    """`unfolded_gradient` and `pull_back` against differences, of a function of the weight vector at unfolded positions."""
    rng, factor = np.random.default_rng(0), EVERY[name]
    slope = rng.normal(size=factor.components)
    x = Uniform().quantile(rng.random((7, factor.dimension)).squeeze(), factor).reshape(7, factor.columns)
    unfolded = x if factor.columns == 3 or not factor.moves else x + np.arange(-3, 4)[:, None] * 4.0
    inside = factor.fold(unfolded)

    def value(points):
        folded = factor.fold(points)
        return factor.embed(folded if factor.columns == 3 else folded[:, 0]) @ slope

    position = inside if factor.columns == 3 else inside[:, 0]
    gradient = factor.unfolded_gradient(unfolded, inside, factor.pull_back(position, np.tile(slope, (7, 1))))
    move = factor.walk(inside, 1e-4 * rng.normal(size=inside.shape))
    difference = (value(unfolded + move) - value(unfolded - move)) / 2
    np.testing.assert_allclose((gradient * move).sum(axis=1), difference, atol=1e-8)


@pytest.mark.parametrize("factor", EVERY.values(), ids=EVERY.keys())
def test_cells_projected_on_a_direction(factor):
    """Shadows lie within reach, and their middles are those of the centres."""
    direction = np.eye(factor.components)[0]
    middles, squares = factor.shadow(direction)
    np.testing.assert_allclose(middles, factor.length_image(factor.centres) @ direction)
    assert (squares >= 0).all()
    assert np.abs(middles).max() <= factor.reach * (1 + 1e-12)
    assert factor.cell_width**2 == pytest.approx(factor.volumes.max() ** (2 / factor.dimension) if factor.moves else 0.0)


@pytest.mark.parametrize("name", ["interval", "graded", "circle", "ellipse"])
def test_linear_functions_survive_coarsening(name):
    """Interpolation from joined cells is exact for what is linear in the index, and constants stay constants."""
    factor = EVERY[name]
    coarse = factor.coarsening(12)
    assert coarse.size == factor.size // 2
    assert factor.coarsening(13) is factor
    field = np.tile(np.arange(12.0), (3, 1))
    fine = prolongation(field, Grid([Labels(values=[1.0, 2.0, 3.0]).factor("s"), factor]))
    assert fine.shape == (3, 24)
    np.testing.assert_allclose(np.diff(fine[0])[1:-2], 0.5)
    np.testing.assert_allclose(prolongation(np.ones((12, 48)), Grid([factor, Circle(cells=48).factor("y")])), 1.0)
    np.testing.assert_allclose(coarse.total_volume, factor.total_volume)


FLAG = re.compile(
    r"\.is_(line|mesh|circle|round)\b|isinstance\([^)]*\b(Mesh|Factor|Coordinate)\b|(factor|\bf|factors\[\w+\])\.kind (==|!=|in)"
)


def test_geometry_is_branched_on_in_space_alone():
    root = Path(gridflow.__file__).parent
    names = {str(p.relative_to(root)) for p in root.rglob("*.py") if FLAG.search(p.read_text(encoding="utf-8"))}
    assert [n for n in sorted(names) if not n.startswith("space/")] == []
