"""Sums of Gaussians on a line or a circle through waves, in O(n·n_waves):

    exp(−d²/(2σ²)) = (hσ/√(2π)) Σ_k e^{−(khσ)²/2} e^{ikhd},    2π/h ≥ largest |d| + REACH·σ, or the length of the circle,

the trapezoidal rule for the Fourier integral, and on a circle the Fourier series itself. What is left out on either side is below
e^{−REACH²/2} = 4e−17. Sums over sources are taken once for each wave, and sums over waves once for each point. The error is
round-off of Σ_j |w_j|, at all points alike.
"""

from math import ceil, pi, sqrt

import numpy as np

from gridflow.space.factor import Array
from gridflow.sums.elementary import compiled
from gridflow.sums.pairs import Sums, shared_rows

REACH = 8.7
"""Bandwidths beyond which a Gaussian is below round-off; its transform likewise."""
PAIRS_PER_WAVE = 2.5
"""Pairs that take as long as one wave of one point."""
BLOCK = 128
"""Points at a time: six buffers of them stay in registers and the first-level cache."""


def gaussian_sums_by_waves(points: Array, sources: Array, weights: Array, bandwidth: float, length: float) -> Sums | None:
    """(s, g), points (n_points, 1), sources (n_sources, 1); length : of the circle, 0 for a line. None where pairs are faster."""
    lower, upper = min(points.min(), sources.min()), max(points.max(), sources.max())
    spacing = 2 * pi / (length if length > 0 else float(upper - lower) + REACH * bandwidth)
    waves = ceil(REACH / (bandwidth * spacing))
    if not PAIRS_PER_WAVE * waves * (len(points) + len(sources)) < len(points) * len(sources):
        return None
    middle = float(lower + upper) / 2
    numbers = spacing * np.arange(waves + 1)
    heights = spacing * bandwidth / sqrt(2 * pi) * np.exp(-((numbers * bandwidth) ** 2) / 2) * np.where(numbers > 0, 2.0, 1.0)
    even, odd = moments(spacing * (sources[:, 0] - middle), weights, waves)
    even, odd = heights * even, heights * odd
    return shared_rows(lambda rows: at_points(spacing * (rows[:, 0] - middle), even, odd, spacing), points, len(sources))


@compiled
def moments(angles, weights, waves):
    """Σ_j w_j cos(k θ_j) and Σ_j w_j sin(k θ_j) for k = 0 … waves."""
    even, odd = np.zeros(waves + 1), np.zeros(waves + 1)
    cosine, sine, first_cosine, first_sine = np.empty(BLOCK), np.empty(BLOCK), np.empty(BLOCK), np.empty(BLOCK)
    for start in range(0, angles.size, BLOCK):
        size = min(BLOCK, angles.size - start)
        for j in range(size):
            first_cosine[j], first_sine[j] = np.cos(angles[start + j]), np.sin(angles[start + j])
            cosine[j], sine[j] = weights[start + j], 0.0
        for k in range(waves + 1):
            sum_0, sum_1 = 0.0, 0.0
            for j in range(size):
                c, s = cosine[j], sine[j]
                sum_0 += c
                sum_1 += s
                cosine[j] = c * first_cosine[j] - s * first_sine[j]
                sine[j] = s * first_cosine[j] + c * first_sine[j]
            even[k] += sum_0
            odd[k] += sum_1
    return even, odd


@compiled
def at_points(angles, even, odd, spacing):
    """(s, g): Σ_k (even_k cos kθ + odd_k sin kθ), and its derivative in θ times the spacing, as (n_points, 1)."""
    values, gradient = np.zeros(angles.size), np.zeros((angles.size, 1))
    cosine, sine, first_cosine, first_sine = np.empty(BLOCK), np.empty(BLOCK), np.empty(BLOCK), np.empty(BLOCK)
    total, slope = np.empty(BLOCK), np.empty(BLOCK)
    for start in range(0, angles.size, BLOCK):
        size = min(BLOCK, angles.size - start)
        for i in range(size):
            first_cosine[i], first_sine[i] = np.cos(angles[start + i]), np.sin(angles[start + i])
            cosine[i], sine[i], total[i], slope[i] = 1.0, 0.0, 0.0, 0.0
        for k in range(even.size):
            for i in range(size):
                c, s = cosine[i], sine[i]
                total[i] += even[k] * c + odd[k] * s
                slope[i] += k * (odd[k] * c - even[k] * s)
                cosine[i] = c * first_cosine[i] - s * first_sine[i]
                sine[i] = s * first_cosine[i] + c * first_sine[i]
        for i in range(size):
            values[start + i], gradient[start + i, 0] = total[i], spacing * slope[i]
    return values, gradient
