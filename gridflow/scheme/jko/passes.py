"""What an evaluation of R(φ) does cell by cell, compiled into single passes over the fields, all flat (n_cells,)."""

from typing import Any

from numba import njit

from gridflow.scheme.jko.logarithms import power_of_two, scaled_exponential

exact: Any = njit(fastmath={"contract"}, nogil=True, error_model="numpy", cache=True)
sums: Any = njit(fastmath={"contract", "reassoc", "nsz"}, nogil=True, error_model="numpy", cache=True)
"""Sums may be reordered, so that they vectorise; not those inside of exponentials."""


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
    """step ← the mean of `filtered` with weights `masses` minus `filtered`; the sum of |step|·masses."""
    mean, change = 0.0, 0.0
    for i in range(step.size):
        mean += masses[i] * filtered[i]
    mean /= mass
    for i in range(step.size):
        step[i] = mean - filtered[i]
        change += masses[i] * abs(step[i])
    return change
