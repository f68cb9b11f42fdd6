"""Two-dimensional factors: closed surfaces cut into polygonal cells, as inert data.

A mesh plays the same part in a product as a line does (`gridflow.space.factor`): cell points, cell volumes, faces. Its faces are
listed twice, once from either side, sorted by the cell they belong to: the half-faces of cell c are first[c]:first[c+1], counter-
clockwise seen from outside. Half-face h leads to neighbour[h], and reverse[h] leads back.

Every face lies orthogonally on the geodesic between its two cell points and halves it, so that two-point fluxes are consistent.
The value *behind* an upwind cell, at the mirror image of the downwind cell, is extrapolated linearly from two neighbours around
that image, ρ_a − back with back = Σ_k weights[h, k] (ρ_a − ρ[behind[h, k]]), weights ≥ 0.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix, diags

from gridflow.space.factor import Array, Factor

Indices = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Mesh(Factor):
    """A surface in R³ (lengths in its own metric); `points` is (n_cells, 3), `volumes` the cell areas; edges, areas and distances
    stay empty.

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
