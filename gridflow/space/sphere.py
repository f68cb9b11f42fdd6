"""The unit sphere in R³ as a factor: icosahedral Voronoi cells.

The Delaunay triangulation is a subdivided icosahedron whose vertices are moved to the centroids of their Voronoi cells (Lloyd);
cells are the dual polygons.
"""

from typing import Annotated, ClassVar

import numpy as np
import scipy
from msgspec import Meta, Struct

from gridflow.space.factor import Array, Factor, Indices
from gridflow.space.mesh import Mesh, arc, unit

LEVEL_MAX = 8
"""655,362 cells: building a mesh takes 2000 bytes for each, 1.2 GiB, and minutes."""

Level = Annotated[int, Meta(ge=0, le=LEVEL_MAX)]
Relaxation = Annotated[int, Meta(ge=0, le=1000)]


def cells_of(level: int) -> int:
    """Number of cells of a level."""
    return 10 * 4**level + 2


class Sphere(Struct, frozen=True, forbid_unknown_fields=True, tag="sphere", tag_field="kind"):
    """The unit sphere with 10·4^level + 2 cells.

    level : subdivisions of an icosahedron; relaxation : Lloyd steps after each, which centre points in their cells
    units : for files

    A density is a mean over a cell, a difference of two densities one of values at points: on cells that are not centred the
    Laplacian is of first order. Heat in the harmonic of degree 1, levels 2 to 6: order 1.1, 0.8, 1.3 with 3 steps at the end
    only; 1.98, 1.98, 1.97, 1.97 with 10 after each subdivision, which move the long waves of the error on coarse levels.
    """

    level: Level
    relaxation: Relaxation = 10
    units: str = "1"

    resolution_key: ClassVar[str | None] = "level"

    @property
    def size(self) -> int:
        """Number of cells."""
        return cells_of(self.level)

    def factor(self, name: str) -> Mesh:
        return mesh_sphere(name, self.units, *renumber(*icosphere(self.level, self.relaxation)))


# ------------------------------------------------------------------------------------------------------ triangulation
def finer_sphere(factor: Factor, level_max: int) -> Factor:
    """A sphere with one level more, up to a largest one; other factors stay."""
    if factor.kind != "sphere":
        return factor
    level = round(float(np.log2((factor.size - 2) / 10)) / 2)
    return Sphere(level=level + 1).factor(factor.name) if level < level_max else factor


def icosphere(level: int, relaxation: int = 0) -> tuple[Array, Indices]:
    """Vertices (n, 3) and counter-clockwise triangles (2n − 4, 3) of the icosahedron, subdivided and relaxed `level` times."""
    golden = (1 + 5**0.5) / 2
    rectangle = np.array([[0.0, s, t * golden] for s in (-1, 1) for t in (-1, 1)])
    points = unit(np.concatenate([np.roll(rectangle, shift, axis=1) for shift in range(3)]))
    triangles = outward_triangles(points)
    for _ in range(level):
        points, triangles = relax(*subdivide(points, triangles), relaxation)
    return points, triangles


def outward_triangles(points: Array) -> Indices:
    """The Delaunay triangles (2n − 4, 3) of points (n, 3) on the unit sphere, counter-clockwise: faces of their convex hull."""
    triangles = scipy.spatial.ConvexHull(points).simplices.astype(np.int64)
    inward = np.linalg.det(points[triangles]) < 0
    triangles[inward] = triangles[inward, ::-1]
    return triangles


def subdivide(points: Array, triangles: Indices) -> tuple[Array, Indices]:
    """Every triangle cut into four at the middles of its sides."""
    sides = np.sort(triangles[:, [[0, 1], [1, 2], [2, 0]]], axis=2).reshape(-1, 2)
    sides, index = np.unique(sides, axis=0, return_inverse=True)
    middle = len(points) + index.reshape(-1, 3)  # of the sides ab, bc, ca
    (a, b, c), (ab, bc, ca) = triangles.T, middle.T
    parts = [(a, ab, ca), (ab, b, bc), (ca, bc, c), (ab, bc, ca)]
    return np.concatenate([points, unit(points[sides].sum(axis=1))]), np.concatenate([np.stack(t, axis=1) for t in parts])


def renumber(points: Array, triangles: Indices) -> tuple[Array, Indices]:
    """Cells renumbered so that neighbours are close in memory (reverse Cuthill–McKee)."""
    graph = scipy.sparse.coo_matrix((np.ones(triangles.size), (triangles.ravel(), np.roll(triangles, 1, axis=1).ravel()))).tocsr()
    order = scipy.sparse.csgraph.reverse_cuthill_mckee(graph, symmetric_mode=True)
    position = np.empty(order.size, dtype=np.int64)
    position[order] = np.arange(order.size)
    return points[order], position[triangles]


def relax(points: Array, triangles: Indices, steps: int) -> tuple[Array, Indices]:
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
    """Centres of the circles through the corners of triangles on the unit sphere, (n_triangles, 3)."""
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
    return Mesh(
        name=name,
        kind="sphere",
        units=units,
        points=points,
        volumes=np.bincount(cell, triangle_area(points[cell], nodes[start], nodes[end])).astype(np.float64),
        nodes=nodes,
        corners=start,
        first=np.searchsorted(cell, np.arange(len(points) + 1)),
        neighbour=neighbour,
        reverse=reverse,
        face_lengths=arc(nodes[start], nodes[end]),
        face_distances=arc(points[cell], points[neighbour]),
        behind=behind,
        weights=weights,
        matrix=np.eye(3),
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
