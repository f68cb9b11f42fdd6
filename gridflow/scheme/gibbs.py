"""The Gibbs kernel of entropic transport, exp(−c/ε) with c = dist²/M, as one small matrix per factor.

On a line the Gaussian is reflected at the walls, on a circle wound around it; then it is scaled symmetrically so that K1 = 1:
constant densities stay constant, walls included, on graded cells too. (The heat kernel exp((ε/4)Δ_h) of the discrete Laplacian
does that as well, but its tails are those of a random walk: it would transport over several cells too cheaply.) Labels and
factors with mobility 0 do not move. Matrices act on densities with respect to the cell volumes: V_i K_ij = V_j K_ji.
"""

from functools import cached_property

import numpy as np
from numba import njit

from gridflow.errors import InputError
from gridflow.space.factor import Array, Factor
from gridflow.space.grid import Grid

RANGE_MAX = 600.0
"""Nats that fields may span in the linear domain: double precision has 1400, of which the kernel itself uses some."""
TINY = 1e-200
"""Entries of K below are zero: nothing of the kernel is lost, and no arithmetic with subnormal numbers."""
SCALINGS = 200


def gibbs_matrix(factor: Factor, epsilon: float) -> Array:
    """K of one line or circle with unit mobility, (n_cells, n_cells)."""
    x = factor.points
    bandwidth = float(np.sqrt(epsilon / 2))  # exp(−d²/ε)
    if factor.is_circle:
        kernel = factor.gaussian(x[:, None] - x[None, :], bandwidth)
    else:  # images x + 2kL and their mirrors 2a − x + 2kL
        turns = 1 + int(np.ceil(np.sqrt(epsilon * 700) / factor.length))
        shifts = 2 * factor.length * np.arange(-turns, turns + 1)
        images = [d + s for s in shifts for d in (x[:, None] - x[None, :], x[:, None] + x[None, :] - 2 * factor.edges[0])]
        kernel = np.sum([np.exp(-(d**2) / epsilon) for d in images], axis=0)
    kernel[kernel < TINY] = 0.0
    scale = 1 / np.sqrt(kernel @ factor.volumes)
    for _ in range(SCALINGS):  # s ← (s/(K(sV)))^½ contracts: on uniform cells one step does it
        new = np.sqrt(scale / (kernel @ (scale * factor.volumes)))
        if np.abs(new / scale - 1).max() < 1e-15:
            break
        scale = new
    matrix = scale[:, None] * kernel * (scale * factor.volumes)
    return matrix / matrix.sum(axis=1, keepdims=True)


class GibbsKernel:
    """K on a grid: applied factor by factor, in the linear domain where the range allows it, else in the logarithmic one.

    Labels come first in memory, so that a field is (blocks, line, line, …); a mobility may depend on labels.
    """

    def __init__(self, grid: Grid, epsilon: float) -> None:
        self.epsilon = epsilon
        lines = [k for k, f in enumerate(grid.factors) if f.is_line]
        labels = grid.shape[: len(grid.shape) - len(lines)]
        self.grid, self.blocks = grid, int(np.prod(labels))
        self.shape = (self.blocks, *(grid.shape[k] for k in lines))
        self.matrices: list[Array] = []
        self.volumes = [grid.factors[k].volumes for k in lines]
        for k in lines:
            factor, mobility = grid.factors[k], grid.mobility[k]
            if any(mobility.shape[j] > 1 for j in lines):
                raise InputError(
                    f"entropic transport with a mobility of {factor.name!r} that varies along another interval or circle",
                    "constant mobilities, or ones that depend on labels",
                    'use scheme.kind = "finite-volume"',
                )
            values = np.broadcast_to(mobility, (*labels, *(1,) * len(lines))).ravel()
            distinct = {m: np.eye(factor.size) if m == 0 else gibbs_matrix(factor, epsilon * m) for m in set(values.tolist())}
            stack = [distinct[m] for m in values.tolist()]
            self.matrices.append(np.stack(stack) if len(distinct) > 1 else stack[0][None])

    def apply(self, field: Array) -> Array:
        """K u for u on the grid."""
        return self.along_axes(self.matrices, field)

    def along_axes(self, matrices: list[Array], field: Array) -> Array:
        x = field.reshape(self.shape)
        for axis, stack in enumerate(matrices, start=1):
            before, after = int(np.prod(x.shape[1:axis])), int(np.prod(x.shape[axis + 1 :]))
            if after > 1:
                y = np.matmul(stack[:, None], x.reshape(self.blocks, before, x.shape[axis], after))
            else:
                y = np.matmul(x.reshape(self.blocks, before, x.shape[axis]), np.swapaxes(stack, 1, 2))
            x = y.reshape(self.shape)
        return np.ascontiguousarray(x.reshape(field.shape))

    def apply_log(self, logs: Array) -> Array:
        """log K e^l; linear where l spans less than RANGE_MAX nats."""
        top = logs.max()
        if top - logs.min() < RANGE_MAX:
            values = self.apply(np.exp(logs - top))
            return np.log(values) + top
        x = logs.reshape(self.shape)
        for axis, stack in enumerate(self.log_matrices, start=1):
            before, after = int(np.prod(x.shape[1:axis])), int(np.prod(x.shape[axis + 1 :]))
            y = np.empty((self.blocks, before, x.shape[axis], after))
            for block in range(self.blocks):
                part = x[block].reshape(before, x.shape[axis], after)
                log_product(stack[block % len(stack)], np.ascontiguousarray(part), y[block])
            x = y.reshape(self.shape)
        return np.ascontiguousarray(x.reshape(logs.shape))

    @cached_property
    def log_matrices(self) -> list[Array]:
        with np.errstate(divide="ignore"):
            return [np.log(stack) for stack in self.matrices]

    @cached_property
    def modes(self) -> tuple[list[Array], list[Array], Array]:
        """(transforms, inverse transforms, eigenvalues σ on the grid) of the self-adjoint K."""
        forward, backward, sigma = [], [], np.ones(self.shape)
        for axis, (stack, volumes) in enumerate(zip(self.matrices, self.volumes, strict=True), start=1):
            root = np.sqrt(volumes)
            values, vectors = np.linalg.eigh(root[:, None] * stack / root)
            forward.append(np.swapaxes(vectors, 1, 2) * root)
            backward.append(vectors / root[:, None])
            shape = [len(stack) if k == 0 else -1 if k == axis else 1 for k in range(len(self.shape))]
            sigma = sigma * np.clip(values, 0.0, 1.0).reshape(shape)
        return forward, backward, sigma

    def filtered(self, field: Array, symbol: Array) -> Array:
        """Multiply the modes of a field by a symbol, (blocks, line, line, …)."""
        forward, backward, _ = self.modes
        spectrum = self.along_axes(forward, field.reshape(self.shape)) * symbol
        return self.along_axes(backward, spectrum).reshape(field.shape)


@njit(nogil=True, error_model="numpy", cache=True)
def log_product(logs, field, out):
    """out[b, i, a] = log Σ_j exp(logs[i, j] + field[b, j, a])."""
    n = logs.shape[0]
    for b in range(field.shape[0]):
        for a in range(field.shape[2]):
            for i in range(n):
                top = -np.inf
                for j in range(n):
                    top = max(top, logs[i, j] + field[b, j, a])
                total = 0.0
                for j in range(n):
                    term = logs[i, j] + field[b, j, a] - top
                    if term > -40.0:  # below 4e−18 of the largest
                        total += np.exp(term)
                out[b, i, a] = top + np.log(total)
