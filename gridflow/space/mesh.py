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
from typing import NoReturn

import numpy as np
import scipy
from numpy.typing import NDArray

from gridflow.errors import InputError
from gridflow.space.factor import Array, Factor

Indices = NDArray[np.int64]


def unit(vectors: Array) -> Array:
    """Vectors (…, 3) divided by their lengths."""
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def arc(a: Array, b: Array) -> Array:
    """Geodesic distance on the unit sphere, accurate for close and for opposite points."""
    return 2 * np.arctan2(np.linalg.norm(a - b, axis=-1), np.linalg.norm(a + b, axis=-1))


@dataclass(frozen=True, eq=False)
class Mesh(Factor):
    """A surface in R³, lengths in its own metric; `points` is (n_cells, 3), `volumes` the areas; edges, areas, distances empty.

    Attributes
    ----------
    nodes : (n_nodes, 3) corners of the cells; corners : (n_half,) the node at which half-face h starts
    first : (n_cells + 1,), neighbour, reverse : (n_half,), see above
    face_lengths, face_distances : (n_half,) length of the face, distance of the two cell points
    behind, weights : (n_half, 2) see above
    covariance : (3, 3) Σ of the surface {bᵀΣb = 1}; the identity for the unit sphere
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
    covariance: Array

    @cached_property
    def cells(self) -> Indices:
        """(n_half,) the cell of every half-face."""
        return np.repeat(np.arange(self.size), np.diff(self.first))

    @cached_property
    def once(self) -> Indices:
        """(n_half/2,) one of the two half-faces of every face, sorted by its cell."""
        return np.flatnonzero(self.cells < self.neighbour)

    @cached_property
    def rate(self) -> Array:
        """(n_half,) face length / (distance × area of the cell): what a flux per density difference needs."""
        return self.face_lengths / self.face_distances / self.volumes[self.cells]

    @cached_property
    def sparse_laplacian(self) -> "scipy.sparse.csr_matrix":
        """Two-point Laplacian acting on cell values: rows sum to 0, volumesᵀL = 0, off-diagonals ≥ 0."""
        between = scipy.sparse.csr_matrix((self.rate, self.neighbour, self.first), shape=(self.size, self.size))
        return (between - scipy.sparse.diags(np.asarray(between.sum(axis=1)).ravel())).tocsr()

    def laplacian(self) -> Array:
        return self.sparse_laplacian.toarray()

    @property
    def resolution(self) -> float:
        """L/n² with L² the area and n² the number of cells."""
        return float(np.sqrt(self.length) / self.size)

    @cached_property
    def quadrature(self) -> tuple[Array, Array]:
        """Points (n_half, 7, 3) on the unit sphere and their areas (n_half, 7), half-face by half-face.

        Radon's rule of degree 5 (1948) on the plane triangles (cell point, corner, next corner) of the round image, projected
        from the centre.
        """
        following = np.arange(self.neighbour.size) + 1
        following[self.first[1:] - 1] = self.first[:-1]
        corners = self.chart(self.nodes)[self.corners]
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
        return scipy.spatial.KDTree(self.image)

    def cell_of(self, points: Array) -> Indices:
        """Index of the cell that contains each point, (n, 3) → (n,): that of the nearest cell point (Voronoi)."""
        return self.tree.query(unit(points))[1].astype(np.int64)

    def distance(self) -> Array:
        """Geodesic distances of the cell points, (n_cells, n_cells)."""
        chord = scipy.spatial.distance.cdist
        return 2 * np.arctan2(chord(self.image, self.image), chord(self.image, -self.image))

    def embed(self, x: Array) -> Array:
        """Positions as weight vectors: themselves, (n, 3)."""
        return x

    def chart(self, x: Array) -> Array:
        """T b = b/‖b‖, the isometry to the unit sphere (S1 Prop. 1), (n, 3)."""
        return unit(x)

    def fold(self, x: Array) -> Array:
        """Positions retracted to the surface, b/‖b‖_Σ."""
        return x / np.sqrt(((x @ self.covariance) * x).sum(axis=1, keepdims=True))

    def walk(self, x: Array, vectors: Array) -> Array:
        """End minus start of the geodesic from x that is the tangential part of `vectors` on the round image, (n, 3).

        A tangent vector of length r that is projected back onto the sphere would be shorter, arctan r.
        """
        centre = self.chart(x)
        step = vectors - centre * (centre * vectors).sum(axis=1, keepdims=True)
        length = np.linalg.norm(step, axis=1, keepdims=True)
        return self.fold(np.cos(length) * centre + np.sinc(length / np.pi) * step) - x

    def tangent_gradient(self, x: Array, gradient: Array) -> Array:
        """grad ξ = ‖b‖²(I − b bᵀΣ)(I − Σ b bᵀ)∇ξ, S1 (14), from the gradient ∇ξ in R³; on the sphere (I − b bᵀ)∇ξ."""
        normal = x @ self.covariance
        covector = gradient - normal * (x * gradient).sum(axis=1, keepdims=True)
        return (x**2).sum(axis=1, keepdims=True) * (covector - x * (normal * covector).sum(axis=1, keepdims=True))

    # ------------------------------------------------------------------------- what needs one coordinate and does not exist
    def lines_only(self, what: str) -> NoReturn:
        raise InputError(f"{what} of the surface {self.name!r}", "intervals, circles and ellipses", "use another factor")

    def chart_tangent(self, x: Array) -> NoReturn:
        self.lines_only("the derivative along the coordinate")

    def embed_tangent(self, x: Array) -> NoReturn:
        self.lines_only("the derivative along the coordinate")

    def fold_slope(self, x: Array) -> NoReturn:
        self.lines_only("the derivative along the coordinate")

    def gaussian(self, difference: Array, bandwidth: float) -> NoReturn:
        self.lines_only("a Gaussian kernel of coordinate differences")

    def gaussian_kernel(self, bandwidth: float) -> NoReturn:
        self.lines_only("a Gaussian kernel of coordinate differences")

    def halved(self) -> NoReturn:
        self.lines_only("cells joined in pairs")

    @staticmethod
    def longitude_latitude(points: Array) -> Array:
        """Degrees east in (−180, 180] and north of b/‖b‖, (n, 3) → (n, 2)."""
        x, y, z = points.T
        return np.degrees(np.stack([np.arctan2(y, x), np.arctan2(z, np.hypot(x, y))], axis=1))
