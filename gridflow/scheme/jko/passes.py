"""What an evaluation of R(φ) does cell by cell, compiled into single passes over the fields, all flat (n_cells,)."""

from typing import Any

import numpy as np
from numba import njit

from gridflow.scheme.jko.logarithms import power_of_two, scaled_exponential

exact: Any = njit(fastmath={"contract"}, nogil=True, error_model="numpy", cache=True)
sums: Any = njit(fastmath={"contract", "reassoc", "nsz"}, nogil=True, error_model="numpy", cache=True)
"""Sums may be reordered, so that they vectorise; not those inside of exponentials."""

CHUNK = 1024
"""Cells that stay in the first-level cache from one product to the next."""
LARGEST = 10.0
"""Nats that a step may change φ by: in cells that are all but empty, where it is not seen, the iteration may diverge else."""


@exact
def exponentials(logs, floor, volume, masses):
    """logs ← max(logs, floor), masses ← e^logs·V."""
    for i in range(logs.size):
        logs[i] = max(logs[i], floor)
        exponent, value = scaled_exponential(logs[i])
        masses[i] = value * power_of_two(exponent) * volume[i]


@sums
def residual_pass(potential, drive, logs, g, masses, residual):
    """residual ← φ + drive + g log p; its sum weighted by the masses."""
    total = 0.0
    for i in range(logs.size):
        residual[i] = potential[i] + drive[i] + g * logs[i]
        total += masses[i] * residual[i]
    return total


@sums
def step_pass(filtered, masses, mass, step):
    """step ← the mean of `filtered` with weights `masses` minus `filtered`, at most LARGEST; the sum of |step|·masses before."""
    mean, change = 0.0, 0.0
    for i in range(step.size):
        mean += masses[i] * filtered[i]
    mean /= mass
    for i in range(step.size):
        whole = mean - filtered[i]
        change += masses[i] * abs(whole)
        step[i] = min(max(whole, -LARGEST), LARGEST)
    return change


@sums
def mixing_pass(changes, step, weight, products):
    """products[i, j] ← Σ weight·(change i or, last, the step)·(change j)."""
    kept, n = changes.shape
    weighted = np.empty(CHUNK)
    products[:] = 0.0
    for start in range(0, n, CHUNK):
        size = min(CHUNK, n - start)
        for j in range(kept):
            for a in range(size):
                weighted[a] = weight[start + a] * changes[j, start + a]
            for i in range(j, kept):
                total = 0.0
                for a in range(size):
                    total += weighted[a] * changes[i, start + a]
                products[i, j] += total
            total = 0.0
            for a in range(size):
                total += weighted[a] * step[start + a]
            products[kept, j] += total


@sums
def mixed(proposal, coefficients, moves):
    """proposal ← proposal − Σ coefficient·move."""
    for start in range(0, proposal.size, CHUNK):
        for j in range(coefficients.size):
            c = coefficients[j]
            for a in range(start, min(proposal.size, start + CHUNK)):
                proposal[a] -= c * moves[j, a]
