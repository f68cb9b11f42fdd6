"""Two-dimensional factors: closed surfaces cut into polygonal cells, as inert data.

A mesh plays the same part in a product as a line does (`gridflow.space.factor`): cell points, cell volumes, faces. Its faces are
listed twice, once from either side, sorted by the cell they belong to: the half-faces of cell c are first[c]:first[c+1], counter-
clockwise seen from outside. Half-face h leads to neighbour[h], and reverse[h] leads back.

Every face lies orthogonally on the geodesic between its two cell points and halves it, so that two-point fluxes are consistent.
The value *behind* an upwind cell, at the mirror image of the downwind cell, is extrapolated linearly from two neighbours around
that image, ρ_a − back with back = Σ_k weights[h, k] (ρ_a − ρ[behind[h, k]]), weights ≥ 0.
"""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix, diags
from scipy.spatial import KDTree
from scipy.spatial.distance import cdist

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
    def rate(self) -> Array:
        """(n_half,) face length / (distance × area of the cell): what a flux per density difference needs."""
        return self.face_lengths / self.face_distances / np.repeat(self.volumes, np.diff(self.first))

    @cached_property
    def sparse_laplacian(self) -> csr_matrix:
        """Two-point Laplacian acting on cell values: rows sum to 0, volumesᵀL = 0, off-diagonals ≥ 0."""
        between = csr_matrix((self.rate, self.neighbour, self.first), shape=(self.size, self.size))
        return (between - diags(np.asarray(between.sum(axis=1)).ravel())).tocsr()

    def laplacian(self) -> Array:
        return self.sparse_laplacian.toarray()

    # ------------------------------------------------------------------------------------------------------- positions
    @cached_property
    def cells(self) -> Indices:
        """(n_half,) the cell of every half-face."""
        return np.repeat(np.arange(self.size), np.diff(self.first))

    @cached_property
    def image(self) -> Array:
        """(n_cells, 3) images b/‖b‖ of the cell points on the unit sphere: an isometry from the metric of either surface."""
        return unit(self.points)

    @cached_property
    def tree(self) -> KDTree:
        return KDTree(self.image)

    def cell_of(self, points: Array) -> Indices:
        """Index of the cell that contains each point, (n, 3) → (n,): that of the nearest cell point (Voronoi)."""
        return self.tree.query(unit(points))[1].astype(np.int64)

    def distance(self) -> Array:
        """Geodesic distances of the cell points, (n_cells, n_cells)."""
        return 2 * np.arctan2(cdist(self.image, self.image), cdist(self.image, -self.image))

    def embed(self, x: Array) -> Array:
        """Positions are weight vectors, (n, 3)."""
        return x

    def fold(self, x: Array) -> Array:
        """Retraction b/‖b‖_Σ of points near the surface, (n, 3)."""
        return x / np.sqrt(np.sum((x @ self.covariance) * x, axis=-1, keepdims=True))

    def tangent_gradient(self, points: Array, gradient: Array) -> Array:
        """Riemannian gradient ‖b‖²(I − bbᵀΣ)(I − Σbbᵀ)g of the Euclidean one g, (n, 3): S1 (14); on the sphere (I − bbᵀ)g."""
        normal = points @ self.covariance
        covector = gradient - normal * np.sum(points * gradient, axis=-1, keepdims=True)
        vector = covector - points * np.sum(normal * covector, axis=-1, keepdims=True)
        return np.sum(points**2, axis=-1, keepdims=True) * vector

    @staticmethod
    def longitude_latitude(points: Array) -> Array:
        """Degrees east in (−180, 180] and north of b/‖b‖, (n, 3) → (n, 2)."""
        x, y, z = points.T
        return np.degrees(np.stack([np.arctan2(y, x), np.arctan2(z, np.hypot(x, y))], axis=1))

    def replace(self, **changes: Any) -> "Mesh":
        """A copy with other values of some fields."""
        return replace(self, **changes)
