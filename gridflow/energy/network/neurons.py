"""Compiled sums over neurons × data, O(n_particles·n_data·n_dim) without temporaries of that size.

    f_jo = Σ_i c_io σ(b_i·x_j),    p_io = Σ_j r_jo σ(b_i·x_j),    g_i = Σ_j (Σ_o u_io r_jo) σ'(b_i·x_j) x_j

One neuron at a time: its pre-activations for all data fit the first-level cache, and every inner loop runs along the data.
The NumPy definitions of σ and σ' are in `gridflow.energy.network.activation`.
"""

import numpy as np
from numba import njit

from gridflow.energy.network.activation import LEAK
from gridflow.sums.elementary import REORDER


@njit(fastmath=REORDER, nogil=True, error_model="numpy", cache=True)
def activate(kind, z, value, slope):
    """σ(z) and σ'(z), elementwise, of the activation whose `compiled` is `kind`: it branches on it outside its loops."""
    if kind == 0:
        for j in range(z.size):
            value[j], slope[j] = (z[j], 1.0) if z[j] > 0.0 else (0.0 * z[j], 0.0)
    elif kind == 1:
        for j in range(z.size):
            value[j] = z[j] if z[j] > 0.0 else LEAK * z[j]
            slope[j] = 1.0 if z[j] > 0.0 else (LEAK if z[j] < 0.0 else 0.0)
    elif kind == 2:
        for j in range(z.size):
            value[j] = np.tanh(z[j])
            slope[j] = 1.0 - value[j] * value[j]
    elif kind == 3:
        for j in range(z.size):
            small = np.exp(-abs(z[j]))  # ≤ 1: no overflow
            value[j] = (1.0 if z[j] >= 0.0 else small) / (1.0 + small)
            slope[j] = small / ((1.0 + small) * (1.0 + small))
    elif kind == 4:
        for j in range(z.size):
            small = np.exp(-abs(z[j]))
            value[j] = max(z[j], 0.0) + np.log1p(small)
            slope[j] = (1.0 if z[j] >= 0.0 else small) / (1.0 + small)
    elif kind == 5:
        for j in range(z.size):
            value[j] = np.arctan(z[j])
            slope[j] = 1.0 / (1.0 + z[j] * z[j])
    elif kind == 6:
        for j in range(z.size):
            value[j] = np.exp(-0.5 * z[j] * z[j])
            slope[j] = -z[j] * value[j]
    elif kind == 7:
        for j in range(z.size):
            value[j] = z[j] * z[j]
            slope[j] = 2.0 * z[j]
    elif kind == 8:
        for j in range(z.size):
            value[j] = z[j]
            slope[j] = 1.0
    else:
        raise ValueError("an activation without a branch in gridflow.energy.network.neurons.activate")


@njit(fastmath=REORDER, nogil=True, error_model="numpy", cache=True)
def dot(direction, columns, z):
    """z_j = b·x_j for columns (n_dim, n_data)."""
    for j in range(z.size):
        z[j] = direction[0] * columns[0, j]
    for d in range(1, direction.size):
        b = direction[d]
        for j in range(z.size):
            z[j] += b * columns[d, j]


@njit(fastmath=REORDER, nogil=True, error_model="numpy", cache=True)
def predict(kind, directions, coefficients, columns):
    """f, (n_outputs, n_data), from directions (n, n_dim), coefficients (n, n_outputs), columns (n_dim, n_data)."""
    n_data = columns.shape[1]
    prediction = np.zeros((coefficients.shape[1], n_data))
    z, value, slope = np.empty(n_data), np.empty(n_data), np.empty(n_data)
    for i in range(directions.shape[0]):
        dot(directions[i], columns, z)
        activate(kind, z, value, slope)
        for o in range(coefficients.shape[1]):
            c = coefficients[i, o]
            for j in range(n_data):
                prediction[o, j] += c * value[j]
    return prediction


@njit(fastmath=REORDER, nogil=True, error_model="numpy", cache=True)
def pull_back(kind, directions, outer, residual, columns):
    """p, (n, n_outputs), and g, (n, n_dim), from outer = u (n, n_outputs) and residual r (n_outputs, n_data)."""
    n_data = columns.shape[1]
    pulled, along = np.zeros(outer.shape), np.zeros(directions.shape)
    z, value, slope, mixed = np.empty(n_data), np.empty(n_data), np.empty(n_data), np.empty(n_data)
    for i in range(directions.shape[0]):
        dot(directions[i], columns, z)
        activate(kind, z, value, slope)
        mixed[:] = 0.0
        for o in range(outer.shape[1]):
            u, total = outer[i, o], 0.0
            for j in range(n_data):
                total += residual[o, j] * value[j]
                mixed[j] += u * residual[o, j] * slope[j]
            pulled[i, o] = total
        for d in range(directions.shape[1]):
            total = 0.0
            for j in range(n_data):
                total += mixed[j] * columns[d, j]
            along[i, d] = total
    return pulled, along
