"""Spheres and ellipsoids: the mesh is a Voronoi mesh, its Laplacian converges, and the batch-norm metric is the sphere's."""

import math

import numpy as np
import pytest
from helpers import QUADRATIC
from scipy.sparse.linalg import expm_multiply
from scipy.spatial import SphericalVoronoi

from gridflow.case.case import Case
from gridflow.errors import InputError
from gridflow.output.ugrid import longitude_latitude
from gridflow.space.ellipsoid import Ellipsoid, mesh_ellipsoid, metric
from gridflow.space.mesh import arc, unit
from gridflow.space.sphere import Sphere, icosphere, relax

COVARIANCE = np.array([[1.0, 0.3, 0.1], [0.3, 2.0, -0.2], [0.1, -0.2, 0.5]])

HARMONICS = {  # degree: harmonic polynomials, restricted to the sphere
    1: lambda x, y, z: 0.5 * x - 0.3 * y + z,
    2: lambda x, y, z: x * y + 0.5 * (z * z - x * x),
    3: lambda x, y, z: x * (x * x - 3 * y * y) + y * (4 * z * z - x * x - y * y),
    4: lambda x, y, z: x * y * (x * x - y * y) + z * x * (x * x - 3 * y * y),
}


@pytest.fixture(scope="module")
def meshes():
    return {level: Sphere(level=level).factor("b") for level in range(6)}


@pytest.mark.parametrize("level", range(5))
@pytest.mark.parametrize("relaxation", [0, 3, 20])
def test_cells_are_those_of_scipy(level, relaxation):
    mesh = Sphere(level=level, relaxation=relaxation).factor("b")
    assert mesh.size == 10 * 4**level + 2
    assert abs(mesh.volumes.sum() / (4 * np.pi) - 1) < 1e-12
    voronoi = SphericalVoronoi(mesh.points)
    np.testing.assert_allclose(mesh.volumes, voronoi.calculate_areas(), rtol=1e-9)  # scipy sums angles
    np.testing.assert_array_equal(np.diff(mesh.first), [len(r) for r in voronoi.regions])


def test_relaxation_moves_cell_points_to_centroids():
    """The off-centre distance, in cell widths, is a third after three steps; faces then come closer to the geodesics' middles."""
    offsets = []
    for relaxation in (0, 3):
        points, triangles = relax(*icosphere(4), relaxation)
        offsets.append(np.sqrt(np.mean(arc(points, relax(points, triangles, 1)[0]) ** 2)))
    assert offsets[1] < 0.5 * offsets[0]


def test_half_faces_are_consistent(meshes):
    for mesh in meshes.values():
        cell, back = mesh.cells, mesh.reverse
        np.testing.assert_array_equal(back[back], np.arange(back.size))
        np.testing.assert_array_equal(mesh.neighbour[back], cell)
        np.testing.assert_array_equal(mesh.face_lengths, mesh.face_lengths[back])
        np.testing.assert_array_equal(mesh.face_distances, mesh.face_distances[back])
        end = mesh.corners[back]  # where a half-face ends, the next one of its cell starts
        following = np.arange(cell.size) + 1
        last = mesh.first[1:] - 1
        following[last] = mesh.first[:-1]
        np.testing.assert_array_equal(mesh.corners[following], end)
        turn = np.linalg.det(np.stack([mesh.points[cell], mesh.nodes[mesh.corners], mesh.nodes[end]], axis=1))
        assert turn.min() > 0  # counter-clockwise seen from outside, and Delaunay


def test_faces_bisect_orthogonally(meshes):
    for mesh in meshes.values():
        a, b = mesh.points[mesh.cells], mesh.points[mesh.neighbour]
        start, end = mesh.nodes[mesh.corners], mesh.nodes[mesh.corners[mesh.reverse]]
        for node in (start, end):
            np.testing.assert_allclose(arc(node, a), arc(node, b), rtol=1e-12)
        plane = np.cross(start, end)  # the great circle of the face: it is the mirror plane of the two points
        np.testing.assert_allclose(np.abs(np.sum(unit(plane) * unit(b - a), axis=1)), 1.0, rtol=1e-12)


def test_cells_are_sorted_for_locality(meshes):
    mesh = meshes[5]
    assert np.abs(mesh.neighbour - mesh.cells).max() < 6 * np.sqrt(mesh.size)  # bandwidth: the cells around a circle


def test_upwind_triangles_extrapolate_linear_functions_exactly(meshes):
    """The weights reproduce the mirror image in the tangent plane, hence every linear function of it."""
    for mesh in meshes.values():
        normal = mesh.points[mesh.cells]

        def ahead(index, mesh=mesh, normal=normal):
            other = mesh.points[index]
            flat = unit(other - np.sum(other * normal, axis=1, keepdims=True) * normal)
            return flat * arc(normal, other)[:, None]

        behind = sum(mesh.weights[:, [k]] * ahead(mesh.behind[:, k]) for k in range(2))
        np.testing.assert_allclose(behind, -ahead(mesh.neighbour), atol=1e-13)
        assert mesh.weights.min() >= 0
        assert mesh.weights.sum(axis=1).max() < 1.4
        assert (mesh.behind != mesh.neighbour[:, None]).all()


def test_laplacian_keeps_mass_and_constants(meshes):
    for mesh in meshes.values():
        laplacian, scale = mesh.sparse_laplacian, np.abs(mesh.sparse_laplacian).max()
        assert np.abs(laplacian @ np.ones(mesh.size)).max() < 1e-13 * scale
        assert np.abs(laplacian.T @ mesh.volumes).max() < 1e-13 * scale * mesh.volumes.max()
    off = meshes[2].laplacian()
    np.fill_diagonal(off, 0.0)
    assert off.min() >= 0


@pytest.mark.parametrize("degree", HARMONICS)
def test_heat_flow_of_harmonics_is_of_second_order(meshes, degree):
    """exp(tΔ)Y = exp(−l(l + 1)t)Y, at the time when Y has fallen to 1/e; the error is relative, in L2."""
    rate = degree * (degree + 1)
    errors = []
    for level in (3, 4, 5):
        mesh = meshes[level]
        exact = HARMONICS[degree](*mesh.points.T)
        flow = expm_multiply(mesh.sparse_laplacian / rate, exact)
        errors.append(np.sqrt(mesh.volumes @ (flow * np.e - exact) ** 2 / (mesh.volumes @ exact**2)))
    slopes = -np.diff(np.log2(errors))  # the cells of a level are half as wide as those of the level before
    assert (slopes >= 1.9).all(), (errors, slopes)
    assert errors[-1] < 2e-3  # 1.8e−3 at degree 4


@pytest.mark.parametrize("degree", HARMONICS)
def test_rayleigh_quotients_are_of_second_order(meshes, degree):
    errors = []
    for level in (3, 4, 5):
        mesh = meshes[level]
        values = HARMONICS[degree](*mesh.points.T)
        quotient = -(mesh.volumes * values) @ (mesh.sparse_laplacian @ values) / (mesh.volumes @ values**2)
        errors.append(abs(quotient / (degree * (degree + 1)) - 1))
    assert errors[0] / errors[1] > 2**1.9
    assert errors[1] / errors[2] > 2**1.9
    assert errors[-1] < 2e-3


def test_positions(meshes, rng):
    mesh = meshes[3]
    np.testing.assert_array_equal(mesh.cell_of(mesh.points * 3.0), np.arange(mesh.size))
    np.testing.assert_allclose(mesh.distance(), arc(mesh.points[:, None], mesh.points[None]), atol=1e-15)
    assert mesh.distance().max() == pytest.approx(np.pi, abs=1e-12)
    x = rng.normal(size=(50, 3))
    np.testing.assert_allclose(mesh.fold(x), unit(x))
    np.testing.assert_array_equal(mesh.embed(x), x)
    b, g = unit(x), rng.normal(size=(50, 3))
    np.testing.assert_allclose(mesh.unfolded_gradient(b, b, g), g - b * np.sum(b * g, axis=1, keepdims=True), atol=1e-14)
    axes = np.array([[1.0, 0, 0], [0, 1, 0], [0, 0, 1], [-1, -1, 0], [1, -1, -math.sqrt(2)]])
    np.testing.assert_allclose(longitude_latitude(axes), [[0, 0], [90, 0], [0, 90], [-135, 0], [-45, -45]], atol=1e-13)


# ---------------------------------------------------------------------------------------------------------- ellipsoid
def test_the_metric_is_proposition_1_as_printed(rng):
    points = rng.normal(size=(200, 3))
    points /= np.sqrt(np.einsum("ni,ij,nj->n", points, COVARIANCE, points))[:, None]
    outer, identity = points[:, :, None] * points[:, None, :], np.eye(3)
    inner = (identity - outer @ COVARIANCE) @ (identity - COVARIANCE @ outer)
    square = np.einsum("ni,ij,nj->n", points, COVARIANCE @ COVARIANCE, points)[:, None, None]
    printed = (identity - COVARIANCE @ outer @ COVARIANCE / square) @ np.linalg.pinv(inner, rcond=1e-10)
    printed /= np.sum(points**2, axis=1)[:, None, None]
    np.testing.assert_allclose(metric(points, COVARIANCE), printed, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("covariance", [COVARIANCE, np.diag([4.0, 1.0, 0.25]), np.eye(3)], ids=["full", "diagonal", "identity"])
def test_the_ellipsoid_is_the_sphere(meshes, covariance):
    """Proposition 1 with T b = b/‖b‖: lengths and areas from G are those of the sphere, up to the quadrature (order 6)."""
    errors = []
    for level in (2, 3, 4):
        sphere, mesh = meshes[level], mesh_ellipsoid(meshes[level], covariance, "1")
        np.testing.assert_allclose(np.einsum("ni,ij,nj->n", mesh.points, covariance, mesh.points), 1.0, rtol=1e-14)
        np.testing.assert_allclose(unit(mesh.points), sphere.points, atol=1e-15)
        np.testing.assert_allclose(mesh.face_lengths, sphere.face_lengths, rtol=1e-9)
        np.testing.assert_allclose(mesh.face_distances, sphere.face_distances, rtol=1e-7)
        np.testing.assert_allclose(mesh.volumes, sphere.volumes, rtol=1e-5)
        np.testing.assert_array_equal(mesh.face_lengths, mesh.face_lengths[mesh.reverse])
        assert mesh.volumes.sum() == pytest.approx(4 * np.pi, rel=2e-7)
        errors.append(np.abs(mesh.volumes - sphere.volumes).sum() / (4 * np.pi))
    assert (np.diff(np.log2(errors)) < -5).all(), errors
    assert errors[-1] < 1e-9
    assert abs(mesh.sparse_laplacian - sphere.sparse_laplacian).max() < 1e-9 * abs(sphere.sparse_laplacian).max()


def test_gradients_on_the_ellipsoid(meshes, rng):
    """S1 (14) is tangent, and g(grad f, v) = df(v) for tangent v in the metric of Proposition 1."""
    mesh = mesh_ellipsoid(meshes[1], COVARIANCE, "1")
    g, v = rng.normal(size=(2, mesh.size, 3))
    gradient = mesh.unfolded_gradient(mesh.points, mesh.points, g)
    normal = mesh.points @ COVARIANCE
    np.testing.assert_allclose(np.sum(normal * gradient, axis=1), 0.0, atol=1e-13)
    v -= normal * (np.sum(normal * v, axis=1) / np.sum(normal**2, axis=1))[:, None]
    product = np.einsum("ni,nij,nj->n", gradient, metric(mesh.points, COVARIANCE), v)
    np.testing.assert_allclose(product, np.sum(g * v, axis=1), atol=1e-12)


def test_positions_on_the_ellipsoid(meshes, rng):
    mesh = mesh_ellipsoid(meshes[2], COVARIANCE, "1")
    x = mesh.fold(rng.normal(size=(20, 3)))
    np.testing.assert_allclose(np.einsum("ni,ij,nj->n", x, COVARIANCE, x), 1.0)
    np.testing.assert_array_equal(mesh.cell_of(x), meshes[2].cell_of(x))
    np.testing.assert_allclose(mesh.distance(), meshes[2].distance(), atol=1e-14)


# ---------------------------------------------------------------------------------------------------------- bad input


WRONG = {
    "too many cells": ({"kind": "sphere", "level": 9}, r"(?s)space.theta.level = 9\n.*int <= 8"),
    "negative level": ({"kind": "sphere", "level": -1}, ">= 0"),
    "unknown key": ({"kind": "sphere", "levels": 2}, "did you mean 'level'"),
    "not symmetric": ({"kind": "ellipsoid", "level": 1, "covariance": [[1, 2, 0], [0, 1, 0], [0, 0, 1]]}, "not symmetric"),
    "not positive": ({"kind": "ellipsoid", "level": 1, "covariance": [[1, 2, 0], [2, 1, 0], [0, 0, 1]]}, "eigenvalues"),
    "wrong size": ({"kind": "ellipsoid", "level": 1, "covariance": [[1, 0], [0, 1]]}, "three rows of three numbers"),
}


@pytest.mark.parametrize(("factor", "message"), WRONG.values(), ids=WRONG.keys())
def test_wrong_factors_are_refused(factor, message):
    with pytest.raises(InputError, match=message) as error:
        Case.from_dict({**QUADRATIC, "space": {"theta": factor}})
    assert "allowed:" in str(error.value)
    assert "fix:" in str(error.value)


def test_an_ellipsoid_that_the_level_does_not_resolve_is_refused():
    with pytest.raises(InputError, match="use a higher level"):
        Ellipsoid(covariance=np.diag([1e4, 1.0, 1e-4]).tolist(), level=1).factor("b")
