"""Sums over pairs of scattered points (`gridflow.sums.pairs`, `gridflow.sums.kernels`); O(n_points·n_sources) memory."""

import numpy as np

from gridflow.sums.formulas import WINDINGS
from gridflow.sums.kernels import Polynomial

TINY_STEP = 1e-30


def gaussian_sum(points, sources, weights, bandwidth, lengths):
    kernel = np.ones((len(points), len(sources)))
    slopes = []
    for k, length in enumerate(lengths):
        difference = points[:, None, k] - sources[None, :, k]
        if length > 0:
            difference -= length * np.round(difference / length)
        turns = int(np.ceil(WINDINGS * bandwidth / length)) + 1 if length > 0 else 0
        images = [difference + turn * length for turn in range(-turns, turns + 1)]
        values = np.sum([np.exp(-(d**2) / (2 * bandwidth**2)) for d in images], axis=0)
        pulls = np.sum([-d / bandwidth**2 * np.exp(-(d**2) / (2 * bandwidth**2)) for d in images], axis=0)
        slopes.append(pulls / np.where(values > 0, values, 1.0))
        kernel *= values
    return kernel @ weights, np.stack([(kernel * slope) @ weights for slope in slopes], axis=1)


def kernel_sum(kernel, points, sources, weights):
    """Slopes of a radial kernel are those of its `radial`, by a complex step; none where points coincide."""
    if isinstance(kernel, Polynomial):
        base = 1 + points @ sources.T
        return base**kernel.degree @ weights, (kernel.degree * base ** (kernel.degree - 1) * weights) @ sources
    difference = points[:, None] - sources[None]
    squared = (difference**2).sum(axis=2)
    away = np.where(squared > 0, squared, 1.0)
    slopes = np.where(squared > 0, 2 * kernel.radial(away + TINY_STEP * 1j).imag / TINY_STEP, 0.0)
    return kernel.radial(squared) @ weights, ((slopes * weights)[:, :, None] * difference).sum(axis=1)
