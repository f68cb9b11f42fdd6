"""Exact optimal transport between two densities on a grid by POT's linear programme."""

import numpy as np
import ot

from gridflow.scheme.exact_jko import TransportCost
from gridflow.space.factor import Array
from gridflow.space.grid import Grid


def block(cost: TransportCost, number: int) -> Array:
    """c between all cells of one combination of labels, (n, n)."""
    total = np.zeros((1, 1))
    for matrix in cost.matrices:
        part = matrix[number % len(matrix)]
        total = (total[:, None, :, None] + part[None, :, None, :]).reshape(len(total) * len(part), -1)
    return total


def exact_transport(grid: Grid, masses: Array, other: Array) -> tuple[float, Array, Array]:
    """W₂² of two densities given by their cell masses, shape of the grid, and Kantorovich potentials (φ, ψ) of the two.

    By POT's linear programming (network simplex), of order n_cells² in memory and beyond in time: W₂² = ⟨φ, masses⟩ +
    ⟨ψ, other⟩ with φ(x) + ψ(y) ≤ c(x, y). Cells count as points. Potentials are not unique where mass stands still.

    Raises ValueError if the labels hold different masses, and if a mobility is 0.
    """
    cost = TransportCost(grid)
    one, two = (m.reshape(cost.shape[0], -1) for m in (masses, other))
    if not np.allclose(one.sum(axis=1), two.sum(axis=1), rtol=1e-9, atol=1e-12):
        raise ValueError("densities with different masses on a label: labels do not move")
    if any(np.isinf(m).any() for m in cost.matrices):
        raise ValueError("optimal transport along a factor of mobility 0")
    total, phi, psi = 0.0, np.zeros(one.shape), np.zeros(two.shape)
    for k, (a, b) in enumerate(zip(one, two, strict=True)):
        if a.sum() > 0:
            _, log = ot.emd(a / a.sum(), b / b.sum(), block(cost, k), numItermax=10**8, log=True)
            if log["warning"] is not None:
                raise RuntimeError(f"the linear programme of the transport did not end: {log['warning']}")
            total, phi[k], psi[k] = total + float(a.sum() * log["cost"]), log["u"], log["v"]
    return total, phi.reshape(grid.shape), psi.reshape(grid.shape)
