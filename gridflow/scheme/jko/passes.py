"""What an evaluation of R(φ) does cell by cell, compiled into single passes over the fields, all flat (n_cells,)."""

from typing import Any

from gridflow.compiled import kernel
from gridflow.scheme.jko.logarithms import power_of_two, scaled_exponential

exact: Any = kernel(fastmath={"contract"}, nogil=True)
sums: Any = kernel(fastmath={"contract", "reassoc", "nsz"}, nogil=True)
"""Sums may be reordered, so that they vectorise; not those inside of exponentials."""

CHUNK = 1024
"""Cells that stay in the first-level cache from one product to the next."""
LARGEST = 10.0
"""Nats that a step changes φ by at most. In cells that are all but empty the iteration may diverge without being seen, until mass
gets there; and their large residuals would leave round-off everywhere."""


@exact
def exponentials(logs, floor, volume, masses):
    """logs ← max(logs, floor), masses ← e^logs·V."""
    for i in range(logs.size):
        logs[i] = max(logs[i], floor)
        exponent, value = scaled_exponential(logs[i])
        masses[i] = value * power_of_two(exponent) * volume[i]


@sums
def residual_sum(potential, drive, logs, g, masses):
    """Σ masses·R, R = φ + drive + g log p."""
    total = 0.0
    for i in range(logs.size):
        total += masses[i] * (potential[i] + drive[i] + g * logs[i])
    return total


@sums
def residual_pass(potential, drive, logs, g, masses, mean, residual):
    """residual ← R − mean, cut at ±LARGEST·(1 + |g|); (Σ masses·|residual|, Σ residual²)."""
    felt, square, largest = 0.0, 0.0, LARGEST * (1.0 + abs(g))
    for i in range(logs.size):
        residual[i] = min(max(potential[i] + drive[i] + g * logs[i] - mean, -largest), largest)
        felt += masses[i] * abs(residual[i])
        square += residual[i] * residual[i]
    return felt, square


@sums
def step_pass(filtered, masses, mean, step):
    """step ← mean − filtered; Σ masses·|step|."""
    change = 0.0
    for i in range(step.size):
        step[i] = mean - filtered[i]
        change += masses[i] * abs(step[i])
    return change


@sums
def weighted_product(weight, x, y, squared):
    """Σ weight·x·y, or Σ weight·x."""
    total = 0.0
    if squared:
        for i in range(x.size):
            total += weight[i] * x[i] * y[i]
    else:
        for i in range(x.size):
            total += weight[i] * x[i]
    return total


@sums
def mixing_pass(changes, step, weight, products):
    """products[i, j] ← Σ weight·(change i or, last, the step)·(change j) for j ≤ i."""
    kept, n = changes.shape
    products[:] = 0.0
    for start in range(0, n, CHUNK):
        end = min(n, start + CHUNK)
        weights, steps = weight[start:end], step[start:end]
        for j in range(kept):
            change = changes[j, start:end]
            for i in range(j, kept):
                products[i, j] += weighted_product(weights, changes[i, start:end], change, True)
            products[kept, j] += weighted_product(weights, steps, change, True)


@sums
def mixed(proposal, coefficients, moves):
    """proposal ← proposal − Σ coefficient·move."""
    for start in range(0, proposal.size, CHUNK):
        part = proposal[start : start + CHUNK]
        for j in range(coefficients.size):
            c, move = coefficients[j], moves[j, start : start + CHUNK]
            for a in range(part.size):
                part[a] -= c * move[a]


@sums
def flux_pass(divergence, step, masses, rate, inverse_volume, mobility):
    """divergence ← divergence + net outflow of M p grad step over 2 along one line; fields (n_before, n_cells, n_after).

    rate : (n_cells,) area over distance of the face behind every cell, the last one back to the first; mobility : (n_before,)
    """
    before, n, after = step.shape
    for b in range(before):
        for i in range(n):
            k = i + 1 if i + 1 < n else 0
            weight = 0.5 * mobility[b] * rate[i]
            if weight == 0.0:
                continue
            here, there = inverse_volume[i], inverse_volume[k]
            s, t, m, o, left, right = step[b, i], step[b, k], masses[b, i], masses[b, k], divergence[b, i], divergence[b, k]
            for a in range(after):
                flux = weight * (m[a] * here + o[a] * there) * (t[a] - s[a])
                left[a] += flux
                right[a] -= flux
