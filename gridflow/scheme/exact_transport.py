"""Exact optimal transport on a grid with c = dist²/M, a sum over factors: best maps by factor, and POT's linear programme."""

import numpy as np
from numpy.typing import NDArray

from gridflow.errors import InputError, SolveError
from gridflow.space.factor import Array
from gridflow.space.grid import Grid

BYTES_MAX = 2**30
"""Largest temporary array."""


class TransportCost:
    """c = dist²/M on a grid, a sum over factors; no transport between labels.

    matrices : for every interval and circle, (n_blocks or 1, n_cells, n_cells), a block being one combination of labels. Labels
    come first in memory, so that a field is (blocks, line, line, …).

    Raises InputError for a mobility that varies along an interval or circle, and for a grid that needs too much memory.
    """

    def __init__(self, grid: Grid) -> None:
        lines = [(f, m) for f, m in zip(grid.factors, grid.mobility, strict=True) if f.moves]
        labels = grid.shape[: len(grid.shape) - len(lines)]
        check_memory(grid.size * max((f.size for f, _ in lines), default=1))
        self.shape = (int(np.prod(labels)), *(f.size for f, _ in lines))
        self.matrices: list[Array] = []
        for factor, mobility in lines:
            if any(size > 1 for size in mobility.shape[len(labels) :]):
                raise InputError(
                    f"optimal transport with a mobility of {factor.name!r} that varies along another interval or circle",
                    "constant mobilities, or ones that depend on labels", 'use scheme.kind = "finite-volume"',
                )  # fmt: skip
            by_block = np.broadcast_to(mobility.reshape(mobility.shape[: len(labels)]), labels).reshape(-1, 1, 1)
            squares = factor.distance() ** 2
            still = np.where((squares > 0) & (by_block == 0), np.inf, 0.0)  # mobility 0: no transport
            self.matrices.append(still + squares / np.where(by_block > 0, by_block, 1.0))

    def best_map(self, xi: Array, tau: float) -> tuple[NDArray[np.int64], Array, Array]:
        """T, c(T(y), y) and ψ(y) = min_x c(x, y)/(2τ) + ξ(x) = c(T(y), y)/(2τ) + ξ(T(y)): flat, (n_cells,) each."""
        target: NDArray[np.int64] = np.arange(xi.size).reshape(self.shape)
        least, paid = xi.reshape(self.shape), np.zeros(self.shape)
        for axis, matrix in enumerate(self.matrices, start=1):
            least, paid, target = np.moveaxis(least, axis, -1), np.moveaxis(paid, axis, -1), np.moveaxis(target, axis, -1)
            costs = matrix.reshape(len(matrix), *(1,) * (len(self.shape) - 2), *matrix.shape[1:])
            sums = costs / (2 * tau) + least[..., None, :]  # (blocks, …, y, x)
            x = sums.argmin(axis=-1, keepdims=True)
            least = np.take_along_axis(sums, x, -1)[..., 0]
            step = np.take_along_axis(np.broadcast_to(costs, sums.shape), x, -1)[..., 0]
            paid = np.take_along_axis(paid, x[..., 0], -1) + step
            target = np.take_along_axis(target, x[..., 0], -1)
            least, paid, target = np.moveaxis(least, -1, axis), np.moveaxis(paid, -1, axis), np.moveaxis(target, -1, axis)
        return target.ravel(), paid.ravel(), least.ravel()

    def block(self, number: int) -> Array:
        """c between all cells of one combination of labels, (n, n). Raises InputError where it needs too much memory."""
        check_memory(int(np.prod(self.shape[1:])) ** 2)
        total = np.zeros((1, 1))
        for matrix in self.matrices:
            part = matrix[number % len(matrix)]
            total = (total[:, None, :, None] + part[None, :, None, :]).reshape(len(total) * len(part), -1)
        return total


def check_memory(entries: int) -> None:
    if entries * 8 > BYTES_MAX:
        raise InputError(
            f"exact optimal transport on a grid that needs an array of {entries * 8 / 2**30:.3g} GiB",
            f"at most {BYTES_MAX / 2**30:g} GiB", 'use fewer cells, or entropic steps, scheme.kind = "jko"',
        )  # fmt: skip


def exact_transport(grid: Grid, masses: Array, other: Array) -> tuple[float, Array, Array]:
    """W₂² of two densities given by their cell masses, shape of the grid, and Kantorovich potentials (φ, ψ) of the two.

    By POT's linear programming (network simplex), of order n_cells² in memory and beyond in time: W₂² = ⟨φ, masses⟩ +
    ⟨ψ, other⟩ with φ(x) + ψ(y) ≤ c(x, y). Cells count as points. Potentials are not unique where mass stands still.

    Raises InputError if the labels hold different masses, if a mobility is 0, and for grids that need too much memory.
    """
    import ot

    cost = TransportCost(grid)
    one, two = (m.reshape(cost.shape[0], -1) for m in (masses, other))
    if not np.allclose(one.sum(axis=1), two.sum(axis=1), rtol=1e-9, atol=1e-12):
        raise InputError("densities with different masses on a label", "equal masses on every label", "labels do not move")
    if any(np.isinf(m).any() for m in cost.matrices):
        raise InputError("optimal transport along a factor of mobility 0", "positive mobilities", "leave out that factor")
    total, phi, psi = 0.0, np.zeros(one.shape), np.zeros(two.shape)
    for k, (a, b) in enumerate(zip(one, two, strict=True)):
        if a.sum() > 0:
            _, log = ot.emd(a / a.sum(), b / b.sum(), cost.block(k), numItermax=10**8, log=True)
            if log["warning"] is not None:
                raise SolveError(f"the linear programme of the transport did not end: {log['warning']}")
            total, phi[k], psi[k] = total + float(a.sum() * log["cost"]), log["u"], log["v"]
    return total, phi.reshape(grid.shape), psi.reshape(grid.shape)
