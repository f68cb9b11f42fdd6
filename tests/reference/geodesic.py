"""Sums of Gaussians of the geodesic distance (`gridflow.sums.geodesic`); O(n²k) memory."""

import numpy as np


def log_sum(points, field, epsilon):
    """log Σ_j exp(f_j − dist(x_i, x_j)²/ε), (n, k)."""
    difference, sum_ = points[:, None] - points, points[:, None] + points
    distance = 2 * np.arctan2(np.linalg.norm(difference, axis=2), np.linalg.norm(sum_, axis=2))
    return np.logaddexp.reduce(field - (distance**2 / epsilon)[:, :, None], axis=1)
