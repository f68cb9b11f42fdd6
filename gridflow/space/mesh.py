"""Two-dimensional factors: closed surfaces cut into polygonal cells, as inert data.

A mesh plays the same part in a product as a line does (`gridflow.space.factor`): cell points, cell volumes, faces. Its faces are
listed twice, once from either side, sorted by the cell they belong to: the half-faces of cell c are first[c]:first[c+1], counter-
clockwise seen from outside. Half-face h leads to neighbour[h], and reverse[h] leads back.

Every face lies orthogonally on the geodesic between its two cell points and halves it, so that two-point fluxes are consistent.
The value *behind* an upwind cell, at the mirror image of the downwind cell, is extrapolated linearly from two neighbours around
that image, ρ_a − back with back = Σ_k weights[h, k] (ρ_a − ρ[behind[h, k]]), weights ≥ 0.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np
import scipy

from gridflow.space.factor import Array, Faces, Factor, Indices


def unit(vectors: Array) -> Array:
    """Vectors (…, 3) divided by their lengths."""
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def arc(a: Array, b: Array) -> Array:
    """Geodesic distance on the unit sphere, accurate for close and for opposite points."""
    return 2 * np.arctan2(np.linalg.norm(a - b, axis=-1), np.linalg.norm(a + b, axis=-1))


@dataclass(frozen=True, eq=False, kw_only=True)
class Mesh(Factor):
    """A surface in R³, lengths in its own metric; `points` is (n_cells, 3), `volumes` the areas.

    Attributes
    ----------
    nodes : (n_nodes, 3) corners of the cells; corners : (n_half,) the node at which half-face h starts
    first : (n_cells + 1,), neighbour, reverse : (n_half,), see above
    face_lengths, face_distances : (n_half,) length of the face, distance of the two cell points
    behind, weights : (n_half, 2) see above
    matrix : (3, 3) Σ of the surface {bᵀΣb = 1}; the identity for the unit sphere
    """

    nodes: Array
    corners: Indices
    first: Indices
    neighbour: Indices
    reverse: Indices
    face_lengths: Array
    face_distances: Array
    behind: Indices
    weights: Array
    matrix: Array

    dimension: ClassVar[int] = 2
    columns: ClassVar[int] = 3
    components: ClassVar[int] = 3

    @property
    def covariance(self) -> Array | None:
        return self.matrix if self.kind == "ellipsoid" else None

    @cached_property
    def cells(self) -> Indices:
        """(n_half,) the cell of every half-face."""
        return np.repeat(np.arange(self.size), np.diff(self.first))

    @cached_property
    def once(self) -> Indices:
        """(n_half/2,) one of the two half-faces of every face, sorted by its cell."""
        return np.flatnonzero(self.cells < self.neighbour)

    @cached_property
    def sparse_laplacian(self) -> "scipy.sparse.csr_matrix":
        """Two-point Laplacian acting on cell values: rows sum to 0, volumesᵀL = 0, off-diagonals ≥ 0."""
        rate = self.face_lengths / self.face_distances / self.volumes[self.cells]
        between = scipy.sparse.csr_matrix((rate, self.neighbour, self.first), shape=(self.size, self.size))
        return (between - scipy.sparse.diags(np.asarray(between.sum(axis=1)).ravel())).tocsr()

    @property
    def faces(self) -> Faces:
        once = self.once
        return Faces(self.cells[once], self.neighbour[once], (self.face_lengths / self.face_distances)[once])

    @cached_property
    def quadrature(self) -> tuple[Array, Array]:
        """Points (n_half, 7, 3) on the unit sphere and their areas (n_half, 7), half-face by half-face.

        Radon's rule of degree 5 (1948) on the plane triangles (cell point, corner, next corner) of the round image, projected
        from the centre.
        """
        following = np.arange(self.neighbour.size) + 1
        following[self.first[1:] - 1] = self.first[:-1]
        corners = unit(self.nodes)[self.corners]
        triangle = np.stack([self.image[self.cells], corners, corners[following]], axis=1)
        root = np.sqrt(15)
        barycentric, weights = [np.full(3, 1 / 3)], [9 / 40]
        for sign in (1, -1):
            near, weight = (6 - sign * root) / 21, (155 - sign * root) / 1200
            barycentric += [np.roll([1 - 2 * near, near, near], k) for k in range(3)]
            weights += [weight] * 3
        flat = np.array(barycentric) @ triangle
        length = np.linalg.norm(flat, axis=2)
        areas = np.array(weights) * np.abs(np.linalg.det(triangle))[:, None] / 2 / length**3
        return flat / length[:, :, None], areas

    def heat_operator(self, time: float) -> Callable[[Array], Array]:
        """exp(time·L) acting on (n_cells, k) by uniformisation, Σ Poisson(n)·Pⁿ, P = I + L/q ≥ 0: all terms are ≥ 0."""
        q = float(-self.sparse_laplacian.diagonal().min())
        step = (self.sparse_laplacian / q + scipy.sparse.identity(self.size)).tocsr()
        parts = max(1, int(np.ceil(q * time / 64)))
        mean = q * time / parts

        def apply(values: Array) -> Array:
            for _ in range(parts):
                term = np.exp(-mean) * values
                total = term.copy()
                for n in range(1, int(mean + 12 * np.sqrt(mean) + 24)):  # the Poisson tail beyond is below round-off
                    term = (mean / n) * (step @ term)
                    total += term
                values = total
            return values

        return apply

    # ------------------------------------------------------------------------------------------------------- positions
    @cached_property
    def image(self) -> Array:
        """(n_cells, 3) images b/‖b‖ of the cell points on the unit sphere: an isometry from the metric of either surface."""
        return unit(self.points)

    @cached_property
    def tree(self) -> "scipy.spatial.KDTree":
        """Nearest cell points on the unit sphere."""
        return scipy.spatial.KDTree(self.image)

    def cell_of(self, points: Array) -> Indices:
        """Index of the cell that contains each point, (n, 3) → (n,): that of the nearest cell point (Voronoi)."""
        return self.tree.query(unit(points))[1].astype(np.int64)

    def distance(self) -> Array:
        """Geodesic distances of the cell points, (n_cells, n_cells)."""
        chord = scipy.spatial.distance.cdist
        return 2 * np.arctan2(chord(self.image, self.image), chord(self.image, -self.image))

    def log_gaussian(self, epsilon: float) -> Array:
        return -(self.distance() ** 2) / epsilon

    def embed(self, x: Array) -> Array:
        return x

    def pull_back(self, x: Array, vectors: Array) -> Array:
        return vectors

    def fold(self, x: Array) -> Array:
        """Positions retracted to the surface, b/‖b‖_Σ."""
        return x / np.sqrt(((x @ self.matrix) * x).sum(axis=1, keepdims=True))

    def walk(self, x: Array, vectors: Array) -> Array:
        """End minus start of the geodesic from x that is the tangential part of `vectors` on the round image, (n, 3).

        A tangent vector of length r that is projected back onto the sphere would be shorter, arctan r.
        """
        centre = unit(x)
        step = vectors - centre * (centre * vectors).sum(axis=1, keepdims=True)
        length = np.linalg.norm(step, axis=1, keepdims=True)
        return self.fold(np.cos(length) * centre + np.sinc(length / np.pi) * step) - x

    def unfolded_gradient(self, unfolded: Array, x: Array, gradient: Array) -> Array:
        """grad ξ = ‖b‖²(I − b bᵀΣ)(I − Σ b bᵀ)∇ξ at b = x, S1 (14), from ∇ξ in R³; on the sphere (I − b bᵀ)∇ξ."""
        normal = x @ self.matrix
        covector = gradient - normal * (x * gradient).sum(axis=1, keepdims=True)
        return (x**2).sum(axis=1, keepdims=True) * (covector - x * (normal * covector).sum(axis=1, keepdims=True))

    # ------------------------------------------------------------------------------------------------ measures and shadows
    @property
    def centres(self) -> Array:
        return self.points

    def length_image(self, x: Array) -> Array:
        """T b = b/‖b‖, the isometry to the unit sphere (S1 Prop. 1), (n, 3)."""
        return unit(x)

    @property
    def reach(self) -> float:
        return 1.0

    def shadow(self, direction: Array) -> tuple[Array, Array]:
        """Every cell is a disc of the same area, seen at an angle: variance area/4π across."""
        middles = self.image @ direction
        return middles, 3 / np.pi * self.volumes * (1 - middles**2)

    def zonal_masses(self, density: Callable[[Array], Array], axis: tuple[float, float, float]) -> Array:
        """Cell masses, (n_cells,), of a density of the cosine to an axis, by quadrature of degree 5 over triangles."""
        points, weights = self.quadrature
        cosine = points @ (np.array(axis) / np.linalg.norm(axis))
        return np.add.reduceat((weights * density(cosine)).sum(axis=1), self.first[:-1])

    def around(self, axis: tuple[float, float, float], cosine: Array, turn: Array) -> Array:
        """Positions at the given cosines to an axis, turned about it by turn·2π, (n,) each → (n, 3)."""
        pole = np.array(axis) / np.linalg.norm(axis)
        side = np.cross(pole, np.eye(3)[np.abs(pole).argmin()])
        side /= np.linalg.norm(side)
        sine, angle = np.sqrt(np.maximum(1 - cosine**2, 0.0)), 2 * np.pi * turn
        plane = np.cos(angle)[:, None] * side + np.sin(angle)[:, None] * np.cross(pole, side)
        return self.fold(cosine[:, None] * pole + sine[:, None] * plane)

    def neighbours(self, x: Array) -> tuple[tuple[Indices, Indices], tuple[Array, Array]]:
        cell = self.cell_of(x)
        return (cell, cell), (np.ones(len(x)), np.zeros(len(x)))


def surface_of(factor: Factor) -> Mesh | None:
    """The factor, with its polygons; None where it is no surface."""
    return factor if isinstance(factor, Mesh) else None
