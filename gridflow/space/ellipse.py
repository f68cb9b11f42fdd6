"""The curved space of batch normalisation for d = 2: the ellipse Ω = {bᵀΣb = 1} with the metric G of S1 Prop. 1.

    b(φ) = L^{−T}(cos φ, sin φ), Σ = LLᵀ,     s(φ) = ∫₀^φ √(b'ᵀ G_b b') dφ

The coordinate of the factor is the arc length s, so that distances and volumes are those of G. Cells are uniform in φ: in s they
are graded. By Prop. 1, s is the angle of b: Ω is a round circle in disguise. Nothing here uses that. The flow on this factor is
therefore an independent check of the flow on a `circle`.
"""

from dataclasses import dataclass
from functools import cached_property, lru_cache
from math import pi

import numpy as np
import scipy

from gridflow.space.factor import Array

NODES = 1024
"""Nodes of the table of s(φ), times √(largest/smallest eigenvalue of Σ): errors near 1e−12."""
GAUSS = 4
"""Gauss points between two nodes: order 8."""
RANK = 1e-9
"""Singular values below this share of the largest are the zero of the pseudo-inverse."""


def covariance_matrix(rows: list[list[float]], dim: int, ratio_max: float) -> Array:
    """Σ, (dim, dim), from the rows in a case. Raises ValueError if it is not positive definite, or has eigenvalues of a larger
    ratio than ratio_max."""
    if [len(row) for row in rows] != [dim] * dim:
        word = {2: "two", 3: "three"}[dim]
        raise ValueError(f"covariance {rows} is not {dim} × {dim}; write {word} rows of {word} numbers")
    matrix = np.array(rows, dtype=float)
    if not np.allclose(matrix, matrix.T, rtol=1e-12, atol=0.0):
        raise ValueError(f"covariance {rows} is not symmetric; write a symmetric positive definite matrix")
    eigenvalues = np.linalg.eigvalsh(matrix)
    if not eigenvalues[0] > 0:
        raise ValueError(
            f"covariance {rows} has the eigenvalues {eigenvalues.tolist()}; all must be positive: leave out inputs that are"
            " constant or copies of others"
        )
    if eigenvalues[-1] > ratio_max * eigenvalues[0]:
        raise ValueError(
            f"covariance {rows} has eigenvalues of ratio {eigenvalues[-1] / eigenvalues[0]:.1e}, more than {ratio_max:.0e};"
            " scale the inputs: batch normalisation does not see their units"
        )
    return (matrix + matrix.T) / 2


def metric(b: Array, covariance: Array) -> Array:
    """G_b = ‖b‖^{−2} (I − Σbbᵀ Σ/(bᵀΣ²b)) [(I − bbᵀΣ)(I − Σbbᵀ)]† as S1 Prop. 1 prints it, (n, d) on Ω → (n, d, d)."""
    turned, identity = b @ covariance, np.eye(b.shape[1])
    project = identity - b[:, :, None] * turned[:, None, :]  # I − bbᵀΣ
    normal = turned[:, :, None] * turned[:, None, :] / (turned**2).sum(axis=1)[:, None, None]
    inverse = np.linalg.pinv(project @ project.transpose(0, 2, 1), rcond=RANK, hermitian=True)
    return (identity - normal) @ inverse / (b**2).sum(axis=1)[:, None, None]


@dataclass(frozen=True, eq=False)
class Arc:
    """The ellipse of one Σ (2, 2), parametrised by φ and by arc length."""

    covariance: Array

    @cached_property
    def frame(self) -> Array:
        """L^{−T}: upper triangular, so that φ = 0 points along e₁."""
        return np.linalg.inv(np.linalg.cholesky(self.covariance)).T

    def at(self, phi: Array) -> Array:
        """b(φ), (n,) → (n, 2)."""
        return np.stack([np.cos(phi), np.sin(phi)], axis=1) @ self.frame.T

    def slope(self, phi: Array) -> Array:
        """b'(φ), (n,) → (n, 2)."""
        return np.stack([-np.sin(phi), np.cos(phi)], axis=1) @ self.frame.T

    def speed(self, phi: Array) -> Array:
        """ds/dφ = √(b'ᵀ G_b b')."""
        slope = self.slope(phi)
        return np.sqrt(np.einsum("ni,nij,nj->n", slope, metric(self.at(phi), self.covariance), slope))

    @cached_property
    def nodes(self) -> tuple[Array, Array, Array]:
        """φ, s(φ) and ds/dφ from 0 to one turn, by Gauss quadrature between the nodes."""
        eigenvalues = np.linalg.eigvalsh(self.covariance)
        count = NODES * int(np.ceil(np.sqrt(eigenvalues[-1] / eigenvalues[0])))
        phi: Array = np.linspace(0.0, 2 * pi, count + 1)
        x, weights = np.polynomial.legendre.leggauss(GAUSS)
        width = 2 * pi / count
        inner = phi[:-1, None] + (x + 1) * width / 2
        lengths = self.speed(inner.ravel()).reshape(inner.shape) @ weights * width / 2
        return phi, np.concatenate([[0.0], np.cumsum(lengths)]), self.speed(phi)

    @cached_property
    def length(self) -> float:
        """Of the whole ellipse in the metric G."""
        return float(self.nodes[1][-1])

    @cached_property
    def arc_length(self) -> "scipy.interpolate.CubicHermiteSpline":
        """φ ↦ s on [0, 2π]."""
        return scipy.interpolate.CubicHermiteSpline(*self.nodes)

    @cached_property
    def parameter(self) -> "scipy.interpolate.CubicHermiteSpline":
        """s ↦ φ on [0, length]."""
        phi, s, speed = self.nodes
        return scipy.interpolate.CubicHermiteSpline(s, phi, 1 / speed)

    def position(self, s: Array) -> Array:
        """b(φ(s)) ∈ Ω, (n,) → (n, 2)."""
        return self.at(self.parameter(np.mod(s, self.length)))

    def tangent(self, s: Array) -> Array:
        """db/ds, (n,) → (n, 2)."""
        s = np.mod(s, self.length)
        return self.slope(self.parameter(s)) * self.parameter(s, 1)[:, None]


@lru_cache(maxsize=16)
def arc_of(covariance: tuple[tuple[float, ...], ...]) -> Arc:
    """Tables are shared by all grids of a run: they cost a tenth of a second."""
    return Arc(np.array(covariance))
