"""Ellipsoids in R³ as factors, cells as on the sphere (`gridflow.space.sphere`).

Ω = {bᵀΣb = 1} carries the metric G of batch normalisation (S1 Proposition 1), in which it is isometric to the sphere by
T b = b/‖b‖. T places its cells; their lengths and areas come from G alone, so that sphere and ellipsoid are two computations of
one geometry.
"""

from dataclasses import replace
from math import pi
from typing import Any, ClassVar

import numpy as np
from msgspec import Struct

from gridflow.errors import InputError
from gridflow.space.ellipse import covariance_matrix
from gridflow.space.factor import Array
from gridflow.space.mesh import Mesh
from gridflow.space.sphere import Level, Relaxation, Sphere, cells_of

QUADRATURE_ERROR_MAX = 1e-3
"""Largest relative error of the area of an ellipsoid: below the discretisation error of a level that resolves it."""
RATIO_MAX = 1e12
"""Largest ratio of eigenvalues of Σ."""
BLOCK = 20_000
"""Half-faces whose quadrature points are held at a time."""


class Ellipsoid(Struct, frozen=True, forbid_unknown_fields=True, tag="ellipsoid", tag_field="kind"):
    """Ω = {bᵀΣb = 1} in R³ with the metric G of S1 Proposition 1; cells as on the sphere.

    covariance : Σ, row by row; level, relaxation, units : as of the sphere
    """

    covariance: list[list[float]]
    level: Level
    relaxation: Relaxation = 10
    units: str = "1"

    resolution_key: ClassVar[str | None] = "level"

    def __post_init__(self) -> None:
        covariance_matrix(self.covariance, 3, RATIO_MAX)

    @property
    def size(self) -> int:
        """Number of cells."""
        return cells_of(self.level)

    def factor(self, name: str) -> Mesh:
        """Raises InputError where the level does not resolve the ellipsoid."""
        sphere = Sphere(level=self.level, relaxation=self.relaxation).factor(name)
        return mesh_ellipsoid(sphere, covariance_matrix(self.covariance, 3, RATIO_MAX), self.units)


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
    changes: dict[str, Any] = {"kind": "ellipsoid", "units": units, "matrix": covariance, "points": points, "nodes": nodes}
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


def gauss(order: int) -> tuple[Array, Array]:
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
