"""The Gibbs kernel of a surface with so many cells that its matrix does not fit.

Products are sums over pairs of cells, in logarithms (`gridflow.sums.geodesic`). Functions of K, of which only preconditioners are
made, are Chebyshev polynomials of the sparse Laplacian, with K ≈ exp((ε/4)Δ).
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import scipy

from gridflow.space.factor import Array
from gridflow.space.mesh import Mesh
from gridflow.sums.geodesic import Ball, log_sum

SCALINGS = 200
CHEBYSHEV = 64
"""Terms of a function of Δ: enough for preconditioners as sharp as 1/(1 + 100(1 − σ²)) at ε = 1.5h²."""


class SurfaceKernel:
    """K with unit mobility: K_ij = s_i exp(−dist²/ε) s_j V_j/r_i, s such that K1 = 1 and r what rounding leaves of that."""

    def __init__(self, mesh: Mesh, epsilon: float) -> None:
        self.ball, self.epsilon = Ball.of(mesh.image), epsilon
        log_volumes = np.log(mesh.volumes)[:, None]
        log_scale = -0.5 * self.sum(log_volumes)
        for _ in range(SCALINGS):
            new = 0.5 * (log_scale - self.sum(log_scale + log_volumes))
            done = np.abs(new - log_scale).max() < 1e-13  # round-off of logarithms
            log_scale = new
            if done:
                break
        self.before = log_scale + log_volumes
        self.after = -self.sum(self.before)

    def sum(self, field: Array) -> Array:
        return log_sum(self.ball, field, self.epsilon)

    def __call__(self, field: Array) -> Array:
        """log K e^f for f (n_cells, k)."""
        return self.after + self.sum(field + self.before)


@dataclass(frozen=True, eq=False)
class ChebyshevModes:
    """Functions of Δ on a surface from their values at the Chebyshev points of [−bound, 0], which holds its eigenvalues."""

    mesh: Mesh

    @cached_property
    def bound(self) -> float:
        """By Gershgorin's theorem."""
        return float(-2 * self.mesh.sparse_laplacian.diagonal().min())

    @property
    def eigenvalues(self) -> Array:
        """(CHEBYSHEV,) where symbols are sampled."""
        return self.bound / 2 * (np.cos(np.pi * (np.arange(CHEBYSHEV) + 0.5) / CHEBYSHEV) - 1)

    def filter(self, x: Array, symbol: Array, axis: int) -> Array:
        """symbol(Δ) x along an axis; the symbol (CHEBYSHEV along this axis, broadcastable to x else) at `eigenvalues`."""
        coefficients = np.moveaxis(scipy.fft.dct(symbol, axis=axis) / CHEBYSHEV, axis, 0)
        coefficients[0] /= 2
        field = np.moveaxis(x, axis, 0)
        coefficients = np.broadcast_to(coefficients, (CHEBYSHEV, *field.shape[1:]))

        def scaled_laplacian(y: Array) -> Array:  # (2/bound)Δ + 1, whose eigenvalues lie in [−1, 1]
            flat = y.reshape(len(y), -1)
            return (2 / self.bound * (self.mesh.sparse_laplacian @ flat) + flat).reshape(y.shape)

        last, this = field, scaled_laplacian(field)
        total = coefficients[0] * last + coefficients[1] * this
        for coefficient in coefficients[2:]:
            last, this = this, 2 * scaled_laplacian(this) - last
            total += coefficient * this
        return np.moveaxis(total, 0, axis)
