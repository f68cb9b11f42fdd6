"""Spheres and ellipsoids in R³ as factors: icosahedral Voronoi cells.

The Delaunay triangulation is a subdivided icosahedron whose vertices are moved to the centroids of their Voronoi cells (Lloyd);
cells are the dual polygons. The ellipsoid Ω = {bᵀΣb = 1} carries the metric G of batch normalisation (S1 Proposition 1), in which
it is isometric to the sphere by T b = b/‖b‖. T places its cells; their lengths and areas come from G alone, so the two factors
are two computations of one geometry.
"""

from dataclasses import replace
from math import pi
from typing import Annotated, Any, ClassVar

import numpy as np
import scipy
from msgspec import Meta, Struct
from numpy.typing import NDArray

from gridflow.errors import InputError
from gridflow.space.factor import Array
from gridflow.space.mesh import Indices, Mesh, arc, unit

LEVEL_MAX = 8
BYTES_PER_CELL = 2000
"""Measured peak of building a mesh."""
QUADRATURE_ERROR_MAX = 1e-3
"""Largest relative error of the area of an ellipsoid: below the discretisation error of a level that resolves it."""
BLOCK = 20_000
"""Half-faces whose quadrature points are held at a time."""

Level = Annotated[int, Meta(ge=0)]
Relaxation = Annotated[int, Meta(ge=0, le=1000)]


def check_level(level: int) -> None:
    if level > LEVEL_MAX:
        cells = 10 * 4**level + 2
        raise ValueError(
            f"level {level} has {cells:.3g} cells and would take about {cells * BYTES_PER_CELL / 2**30:.3g} GiB to build; "
            f"use at most level {LEVEL_MAX} ({10 * 4**LEVEL_MAX + 2} cells, {10 * 4**LEVEL_MAX * BYTES_PER_CELL / 2**30:.1f} GiB)"
        )


class Sphere(Struct, frozen=True, forbid_unknown_fields=True, tag="sphere", tag_field="kind"):
    """The unit sphere with 10·4^level + 2 cells; `relaxation` Lloyd steps after each subdivision centre their points.

    A density is a mean over a cell, a difference of two densities one of values at points: on cells that are not centred the
    Laplacian is of first order. Heat in the harmonic of degree 1, levels 2 to 6: order 1.1, 0.8, 1.3 with 3 steps at the end
    only; 1.98, 1.98, 1.97, 1.97 with 10 after each subdivision, which move the long waves of the error on coarse levels.
    """

    level: Level
    relaxation: Relaxation = 10
    units: str = "1"

    resolution_key: ClassVar[str | None] = "level"

    def __post_init__(self) -> None:
        check_level(self.level)

    def factor(self, name: str) -> Mesh:
        return mesh_sphere(name, self.units, *sorted_cells(*icosphere(self.level, self.relaxation)))

    def coarser(self) -> "Sphere":
        """The same sphere with cells of twice the width."""
        return Sphere(level=coarser_level(self.level), relaxation=self.relaxation, units=self.units)


class Ellipsoid(Struct, frozen=True, forbid_unknown_fields=True, tag="ellipsoid", tag_field="kind"):
    """Ω = {bᵀΣb = 1} in R³ with the metric G of S1 Proposition 1, where Σ is `covariance`; cells as on the sphere."""

    covariance: list[list[float]]
    level: Level
    relaxation: Relaxation = 10
    units: str = "1"

    resolution_key: ClassVar[str | None] = "level"

    def __post_init__(self) -> None:
        check_level(self.level)
        rows = [len(row) for row in self.covariance]
        if rows != [3, 3, 3]:
            raise ValueError(f"covariance has rows of {rows} numbers; write three rows of three numbers")
        matrix = np.array(self.covariance)
        if not np.allclose(matrix, matrix.T, rtol=1e-12, atol=0.0):
            raise ValueError(f"covariance {self.covariance} is not symmetric; write a symmetric positive definite matrix")
        eigenvalues = np.linalg.eigvalsh(matrix)
        if not eigenvalues[0] > 1e-12 * eigenvalues[-1]:
            raise ValueError(
                f"covariance {self.covariance} has eigenvalues {eigenvalues.tolist()}; all must be positive: "
                "leave out inputs that are constant or copies of others"
            )

    def factor(self, name: str) -> Mesh:
        """Raises InputError where the level does not resolve the ellipsoid."""
        return mesh_ellipsoid(
            Sphere(level=self.level, relaxation=self.relaxation).factor(name), np.array(self.covariance), self.units
        )

    def coarser(self) -> "Ellipsoid":
        """The same ellipsoid with cells of twice the width."""
        level = coarser_level(self.level)
        return Ellipsoid(covariance=self.covariance, level=level, relaxation=self.relaxation, units=self.units)


def coarser_level(level: int) -> int:
    if level == 0:
        raise InputError("a coarser mesh than level 0", "level 1 or more", "use a higher level")
    return level - 1


# ------------------------------------------------------------------------------------------------------ triangulation
def icosphere(level: int, relaxation: int = 0) -> tuple[Array, Indices]:
    """Vertices (n, 3) and counter-clockwise triangles (2n − 4, 3) of the icosahedron, subdivided and relaxed `level` times."""
    golden = (1 + 5**0.5) / 2
    rectangle = np.array([[0.0, s, t * golden] for s in (-1, 1) for t in (-1, 1)])
    points = unit(np.concatenate([np.roll(rectangle, shift, axis=1) for shift in range(3)]))
    triangles = scipy.spatial.ConvexHull(points).simplices.astype(np.int64)
    inward = np.linalg.det(points[triangles]) < 0
    triangles[inward] = triangles[inward, ::-1]
    for _ in range(level):
        points, triangles = relaxed(*subdivided(points, triangles), relaxation)
    return points, triangles


def subdivided(points: Array, triangles: Indices) -> tuple[Array, Indices]:
    """Every triangle cut into four at the middles of its sides."""
    sides = np.sort(triangles[:, [[0, 1], [1, 2], [2, 0]]], axis=2).reshape(-1, 2)
    sides, index = np.unique(sides, axis=0, return_inverse=True)
    middle = len(points) + index.reshape(-1, 3)  # of the sides ab, bc, ca
    (a, b, c), (ab, bc, ca) = triangles.T, middle.T
    parts = [(a, ab, ca), (ab, b, bc), (ca, bc, c), (ab, bc, ca)]
    return np.concatenate([points, unit(points[sides].sum(axis=1))]), np.concatenate([np.stack(t, axis=1) for t in parts])


def sorted_cells(points: Array, triangles: Indices) -> tuple[Array, Indices]:
    """Cells renumbered so that neighbours are close in memory (reverse Cuthill–McKee)."""
    graph = scipy.sparse.coo_matrix((np.ones(triangles.size), (triangles.ravel(), np.roll(triangles, 1, axis=1).ravel()))).tocsr()
    order = scipy.sparse.csgraph.reverse_cuthill_mckee(graph, symmetric_mode=True)
    position = np.empty(order.size, dtype=np.int64)
    position[order] = np.arange(order.size)
    return points[order], position[triangles]


def relaxed(points: Array, triangles: Indices, steps: int) -> tuple[Array, Indices]:
    """Lloyd's algorithm: points moved to the centroids of their Voronoi cells.

    The vector area of a spherical polygon, ∫x dA, is half the sum over its sides of arc length times unit normal.
    """
    for _ in range(steps):
        cell, _, _, start, end = half_faces(points, triangles)
        nodes = circumcentres(points, triangles)
        sides = unit(np.cross(nodes[start], nodes[end])) * arc(nodes[start], nodes[end])[:, None]
        points = unit(np.stack([np.bincount(cell, side) for side in sides.T], axis=1))
    return points, triangles


def circumcentres(points: Array, triangles: Indices) -> Array:
    a, b, c = points[triangles.T]
    return unit(np.cross(b - a, c - a))


def half_faces(points: Array, triangles: Indices) -> tuple[Indices, Indices, Indices, Indices, Indices]:
    """(cell, neighbour, reverse, start, end), (n_half,) each: sorted by cells, counter-clockwise about each.

    The side from a to b of a counter-clockwise triangle is the half-face of the cell a towards b; the face ends at the centre of
    this triangle, on the left, and starts at the centre of the triangle on the right.
    """
    cell, neighbour = triangles.T.ravel(), np.roll(triangles, -1, axis=1).T.ravel()
    left = np.tile(np.arange(len(triangles)), 3)
    x, y = tangent_coordinates(points, cell, neighbour)
    order = np.lexsort((np.arctan2(y, x), cell))
    cell, neighbour, left = cell[order], neighbour[order], left[order]
    reverse = np.empty(cell.size, dtype=np.int64)
    reverse[np.lexsort((neighbour, cell))] = np.lexsort((cell, neighbour))
    return cell, neighbour, reverse, left[reverse], left


def tangent_coordinates(points: Array, cell: Indices, other: Indices) -> tuple[Array, Array]:
    """Where the cells `other` lie in the tangent planes of the cells `cell`: direction and length of the geodesic."""
    axis = np.where(np.abs(points[:, 2:]) < 0.9, [[0.0, 0.0, 1.0]], [[1.0, 0.0, 0.0]])
    first = unit(np.cross(axis, points))
    second = np.cross(points, first)
    a, b = points[cell], points[other]
    ahead = unit(b - np.sum(a * b, axis=1, keepdims=True) * a) * arc(a, b)[:, None]
    return np.sum(ahead * first[cell], axis=1), np.sum(ahead * second[cell], axis=1)


# ------------------------------------------------------------------------------------------------------------- sphere
def mesh_sphere(name: str, units: str, points: Array, triangles: Indices) -> Mesh:
    """The Voronoi cells of `points` (n_cells, 3), whose Delaunay triangulation is given."""
    cell, neighbour, reverse, start, end = half_faces(points, triangles)
    nodes = circumcentres(points, triangles)
    behind, weights = upwind_triangles(points, cell, neighbour)
    none = np.zeros(0)
    return Mesh(
        name=name,
        kind="sphere",
        units=units,
        points=points,
        volumes=np.bincount(cell, triangle_area(points[cell], nodes[start], nodes[end])).astype(np.float64),
        edges=none,
        areas=none,
        distances=none,
        nodes=nodes,
        corners=start,
        first=np.searchsorted(cell, np.arange(len(points) + 1)),
        neighbour=neighbour,
        reverse=reverse,
        face_lengths=arc(nodes[start], nodes[end]),
        face_distances=arc(points[cell], points[neighbour]),
        behind=behind,
        weights=weights,
        covariance=np.eye(3),
    )


def triangle_area(a: Array, b: Array, c: Array) -> Array:
    """Areas of spherical triangles with corners (n, 3): Van Oosterom and Strackee, IEEE Trans. Biomed. Eng. 30 (1983), eq. 8."""

    def dot(u: Array, v: Array) -> Array:
        return np.sum(u * v, axis=1)

    return 2 * np.arctan2(dot(a, np.cross(b, c)), 1 + dot(a, b) + dot(b, c) + dot(c, a))


def upwind_triangles(points: Array, cell: Indices, neighbour: Indices) -> tuple[Indices, Array]:
    """`behind` and `weights` (n_half, 2): two consecutive neighbours that hold the mirror image of the neighbour between them.

    With d_h the neighbours of a cell in its tangent plane, −d_h = w₁d_k + w₂d_{k+1}, w ≥ 0.
    """
    x, y = tangent_coordinates(points, cell, neighbour)
    first = np.searchsorted(cell, np.arange(len(points) + 1))
    degree, start = np.diff(first)[cell], first[cell]
    slot = np.arange(cell.size) - start
    best = np.full(cell.size, -np.inf)
    behind, weights = np.zeros((cell.size, 2), dtype=np.int64), np.zeros((cell.size, 2))
    for shift in range(1, int(degree.max())):
        k, following = start + (slot + shift) % degree, start + (slot + shift + 1) % degree
        determinant = x[k] * y[following] - y[k] * x[following]
        w = np.stack([y * x[following] - x * y[following], x * y[k] - y * x[k]], axis=1) / determinant[:, None]
        better = w.min(axis=1) > best
        best[better] = w.min(axis=1)[better]
        behind[better], weights[better] = np.stack([neighbour[k], neighbour[following]], axis=1)[better], w[better]
    return behind, np.maximum(weights, 0.0)  # −1e−16 where the mirror image lies on a neighbour's ray


# ---------------------------------------------------------------------------------------------------------- ellipsoid
def mesh_ellipsoid(sphere: Mesh, covariance: Array, units: str) -> Mesh:
    """The image of a mesh of the sphere under T⁻¹p = p/‖p‖_Σ, with lengths and areas computed from G."""
    points, nodes = (p / norm(p, covariance) for p in (sphere.points, sphere.nodes))
    start, end = nodes[sphere.corners], nodes[sphere.corners[sphere.reverse]]
    once = np.flatnonzero(np.arange(sphere.reverse.size) < sphere.reverse)  # one half of each face
    face_lengths, face_distances = np.empty((2, sphere.reverse.size))
    for values, a, b in ((face_lengths, start, end), (face_distances, points[sphere.cells], points[sphere.neighbour])):
        values[once] = in_blocks(curve_length, covariance, a[once], b[once])
        values[sphere.reverse[once]] = values[once]
    triangles = in_blocks(surface_area, covariance, points[sphere.cells], start, end)
    volumes = np.bincount(sphere.cells, triangles).astype(np.float64)
    error = abs(volumes.sum() / (4 * pi) - 1)
    if error > QUADRATURE_ERROR_MAX:
        raise InputError(
            f"the ellipsoid {sphere.name!r} has an area wrong by {100 * error:.2g} %: its cells are too wide for its shape",
            f"at most {100 * QUADRATURE_ERROR_MAX:g} %",
            "use a higher level, or standardise the inputs",
        )
    changes: dict[str, Any] = {"kind": "ellipsoid", "units": units, "covariance": covariance, "points": points, "nodes": nodes}
    return replace(sphere, **changes, volumes=volumes, face_lengths=face_lengths, face_distances=face_distances)


def norm(p: Array, covariance: Array) -> Array:
    """‖p‖_Σ, (…, 3) → (…, 1)."""
    return np.sqrt(np.sum((p @ covariance) * p, axis=-1, keepdims=True))


def metric(b: Array, covariance: Array) -> Array:
    """G at points (…, 3) of Ω, S1 Proposition 1: ‖b‖⁻²(I − Σbbᵀ Σ/(bᵀΣ²b)) [(I − bbᵀΣ)(I − Σbbᵀ)]†, (…, 3, 3).

    The matrix in brackets is symmetric and vanishes on n = Σb/‖Σb‖ alone, so that its pseudoinverse is ([…] + nnᵀ)⁻¹ − nnᵀ.
    """
    normal = b @ covariance
    outer = b[..., :, None] * normal[..., None, :]  # bbᵀΣ
    square = np.sum(normal**2, axis=-1)[..., None, None]
    across = normal[..., :, None] * normal[..., None, :] / square
    projection = np.eye(3) - outer
    inverse = np.linalg.inv(projection @ np.swapaxes(projection, -1, -2) + across) - across
    return (np.eye(3) - across) @ inverse / np.sum(b**2, axis=-1)[..., None, None]


def derivative(p: Array, direction: Array, covariance: Array) -> tuple[Array, Array]:
    """b = p/‖p‖_Σ and its derivative along a direction of p, (…, 3) each."""
    length = norm(p, covariance)
    b = p / length
    return b, (direction - b * np.sum((b @ covariance) * direction, axis=-1, keepdims=True)) / length


def in_blocks(integral: Any, covariance: Array, *corners: Array) -> Array:
    """A quadrature over n curves or triangles, a block of them at a time."""
    blocks = [slice(start, start + BLOCK) for start in range(0, len(corners[0]), BLOCK)]
    return np.concatenate([integral(covariance, *(c[block] for c in corners)) for block in blocks])


def gauss(order: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Gauss–Legendre nodes and weights on [0, 1]."""
    nodes, weights = np.polynomial.legendre.leggauss(order)
    return (nodes + 1) / 2, weights / 2


def curve_length(covariance: Array, a: Array, b: Array) -> Array:
    """Lengths ∫√(b'ᵀGb') of chords from a to b (n, 3) normalised onto Ω, which are geodesics; five Gauss points, error O(h¹¹)."""
    nodes, weights = gauss(5)
    chord = np.broadcast_to((b - a)[:, None], (len(a), nodes.size, 3))
    point, speed = derivative(a[:, None] + nodes[:, None] * chord, chord, covariance)
    return np.sqrt(np.einsum("nqi,nqij,nqj->nq", speed, metric(point, covariance), speed)) @ weights


def surface_area(covariance: Array, a: Array, b: Array, c: Array) -> Array:
    """Areas ∫√det(JᵀGJ) of flat triangles a, b, c (n, 3) normalised onto Ω.

    3 × 3 Gauss points of the collapsed square: the relative error falls like h⁵ to h⁶.
    """
    s, ws = gauss(3)
    s, t = np.repeat(s, s.size), np.tile(s, s.size)
    weights = np.outer(ws, ws).ravel() * s  # the side opposite to a is at s = 1
    u, v = (b - a)[:, None], (c - b)[:, None]
    point = a[:, None] + s[:, None] * (u + t[:, None] * v)
    base, first = derivative(point, np.broadcast_to(u, point.shape), covariance)
    second = derivative(point, np.broadcast_to(v, point.shape), covariance)[1]
    jacobian = np.stack([first, second], axis=-1)
    gram = np.swapaxes(jacobian, -1, -2) @ metric(base, covariance) @ jacobian
    return np.sqrt(np.linalg.det(gram)) @ weights
