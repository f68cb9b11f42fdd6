"""Gaussians that wind around circles, k = Π_k κ(x_k − y_k): κ is summed over all windings of a circle, so that it is periodic.

(A Gaussian of the geodesic distance is not positive definite there.)
"""

from dataclasses import dataclass
from functools import reduce
from math import ceil

import numpy as np

from gridflow.compiled import inner
from gridflow.space.factor import Array
from gridflow.sums.choice import Precision
from gridflow.sums.definition import in_blocks
from gridflow.sums.elementary import REORDER, compiled, exp_decaying
from gridflow.sums.formulas import WINDINGS, Formula, formula_sum, wound_formula_sum
from gridflow.sums.pairs import BLOCK, Sums, contiguous, shared_rows
from gridflow.sums.waves import gaussian_sums_by_waves


def along(difference: Array, period: float, bandwidth: float) -> Array:
    """exp(−d²/(2·bandwidth²)) of coordinate differences, any shape, summed over the windings of a circle (period > 0)."""
    return np.sum([np.exp(-(d**2) / (2 * bandwidth**2)) for d in windings(difference, period, bandwidth)], axis=0)


def slope(difference: Array, period: float, bandwidth: float) -> Array:
    """Derivative of `along` in the difference."""
    scale, images = bandwidth**2, windings(difference, period, bandwidth)
    return reduce(np.add, [-d / scale * np.exp(-(d**2) / (2 * scale)) for d in images])


def windings(difference: Array, period: float, bandwidth: float) -> list[Array]:
    """Differences from all images that are not below round-off."""
    turns = 1 + ceil(WINDINGS * bandwidth / period) if period > 0 else 0
    return [difference + period * turn for turn in range(-turns, turns + 1)]


@dataclass(frozen=True, eq=False)
class WoundGaussian:
    """The kernel as the engines sum it. lengths : (n_dim,) circumference of a circle, 0 for a line."""

    bandwidth: float
    lengths: Array

    def by_numpy(self, points: Array, sources: Array, weights: Array) -> Sums:
        """The definition, block by block."""

        def rows(part: Array) -> Sums:
            differences = [part[:, None, k] - sources[None, :, k] for k in range(self.lengths.size)]
            values = [along(d, period, self.bandwidth) for d, period in zip(differences, self.lengths, strict=True)]
            gradient = np.empty(part.shape)
            for k, (d, period) in enumerate(zip(differences, self.lengths, strict=True)):
                gradient[:, k] = np.prod([*values[:k], slope(d, period, self.bandwidth), *values[k + 1 :]], axis=0) @ weights
            return np.prod(values, axis=0) @ weights, gradient

        points, sources = folded(points, self.lengths), folded(sources, self.lengths)
        return in_blocks(rows, points, len(sources))

    def by_numba(self, points: Array, sources: Array, weights: Array, gradient: bool) -> Sums:
        """Compiled, rows shared out among threads."""
        return wound_sum(points, sources, weights, self.bandwidth, self.lengths)

    def by_keops(self, points: Array, sources: Array, weights: Array, gradient: bool, precision: Precision) -> Sums:
        """One formula for all factors, by pykeops."""
        return wound_formula_sum(points, sources, weights, self.bandwidth, self.lengths, gradient, precision)

    def by_structure(self, points: Array, sources: Array, weights: Array) -> Sums | None:
        """Through waves, on one circle."""
        length = float(self.lengths[0])
        return gaussian_sums_by_waves(points, sources, weights, self.bandwidth, length) if self.lengths.size == 1 else None


@dataclass(frozen=True)
class CircleCosine:
    """cos(rate·(x − y)) on one circle as the engines sum it."""

    rate: float

    def by_numpy(self, points: Array, sources: Array, weights: Array) -> Sums:
        """The definition, block by block."""

        def rows(part: Array) -> Sums:
            angle = self.rate * (part - sources.T)
            return np.cos(angle) @ weights, -self.rate * (np.sin(angle) @ weights)[:, None]

        return in_blocks(rows, points, len(sources))

    def by_structure(self, points: Array, sources: Array, weights: Array) -> Sums:
        """By cos(x − y) = cos x cos y + sin x sin y: in O(n)."""
        x, y = self.rate * points[:, 0], self.rate * sources[:, 0]
        even, odd = float(weights @ np.cos(y)), float(weights @ np.sin(y))
        return np.cos(x) * even + np.sin(x) * odd, (self.rate * (np.cos(x) * odd - np.sin(x) * even))[:, None]

    def by_numba(self, points: Array, sources: Array, weights: Array, gradient: bool) -> Sums:
        """The same."""
        return self.by_structure(points, sources, weights)

    def by_keops(self, points: Array, sources: Array, weights: Array, gradient: bool, precision: Precision) -> Sums:
        """All pairs, by pykeops."""
        formula, numbers = Formula("Cos(p * (x - y))", "-p * Sin(p * (x - y))", of="difference"), np.array([self.rate])
        return formula_sum(formula, points, sources, weights, numbers, gradient, precision)


def wound_sum(points: Array, sources: Array, weights: Array, bandwidth: float, lengths: Array) -> Sums:
    """(s, g) of a Gaussian; lengths : (n_dim,) circumference of a circle, 0 for a line."""
    circumference = np.where(lengths > 0, lengths, np.inf)
    images = np.maximum(np.ceil(WINDINGS * bandwidth / circumference - 0.5), 0).astype(np.int64)
    points, sources, weights = contiguous(folded(points, lengths), folded(sources, lengths), weights)
    return shared_rows(lambda rows: wound_rows(rows, sources, weights, 1 / bandwidth**2, lengths, images), points, len(sources))


def folded(points: Array, lengths: Array) -> Array:
    """Coordinates along circles in [0, length)."""
    safe = np.where(lengths > 0, lengths, 1.0)
    return np.where(lengths > 0, points - lengths * np.floor(points / safe), points)


@compiled
def wound_rows(points, sources, weights, scale, lengths, images):
    """(s, g) of points and sources in [0, length) along circles; images : of the nearest one, so many on both sides."""
    n, m, dim = points.shape[0], sources.shape[0], points.shape[1]
    values, gradient = np.zeros(n), np.zeros((n, dim))
    columns, slopes, terms, parts = sources.T.copy(), np.empty((dim, BLOCK)), np.empty(BLOCK), np.empty(BLOCK)
    for start in range(0, m, BLOCK):
        size = min(BLOCK, m - start)
        for i in range(n):
            for j in range(size):
                terms[j] = weights[start + j]
            for k in range(dim):
                y = columns[k, start : start + size]
                add_factor(terms, slopes[k], parts, points[i, k], y, scale, lengths[k], images[k])
            total = 0.0
            for j in range(size):
                total += terms[j]
            values[i] += total
            for k in range(dim):
                total = 0.0
                for j in range(size):
                    total += terms[j] * slopes[k, j]
                gradient[i, k] += total
    return values, gradient


@inner(fastmath=REORDER)
def add_factor(terms, slopes, parts, x, y, scale, length, images):
    """Multiplies `terms` by κ(x − y) along one factor, and sets `slopes` to κ'/κ; `parts` is a buffer."""
    if length == 0.0:
        for j in range(y.size):
            d = x - y[j]
            terms[j] *= exp_decaying(-0.5 * scale * d * d)
            slopes[j] = -scale * d
        return
    for j in range(y.size):
        parts[j], slopes[j] = 0.0, 0.0
    half = 0.5 * length
    for turn in range(-images, images + 1):
        for j in range(y.size):
            d = x - y[j]
            d += (length if d < -half else 0.0) - (length if d > half else 0.0) + turn * length
            image = exp_decaying(-0.5 * scale * d * d)
            parts[j] += image
            slopes[j] += d * image
    for j in range(y.size):
        terms[j] *= parts[j]
        slopes[j] *= -scale / parts[j]  # never 0: a decaying exponential stays above 1e−261
