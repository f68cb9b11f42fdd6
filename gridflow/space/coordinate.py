"""What factors with one coordinate have in common: intervals, circles and labels.

Everything here follows from the data: edges and faces (none for labels), the period (0 but for circles) and the points.
"""

from dataclasses import dataclass, replace
from math import ceil
from typing import Self

import numpy as np

from gridflow.errors import InputError
from gridflow.space.factor import Array, Faces, Factor, Indices

UNIFORM_FROM = 32
"""ε over length² from which the kernel e^(−d²/ε) of all images is uniform, to e^−79, and no longer changes."""


@dataclass(frozen=True, eq=False)
class Coordinate(Factor):
    """A factor whose positions are one number, the weight vector of a straight coordinate."""

    @property
    def extent(self) -> tuple[float, float]:
        """Smallest and largest coordinate."""
        ends = self.edges if self.edges.size else self.points
        return float(ends.min()), float(ends.max())

    def embed(self, x: Array) -> Array:
        return x[:, None]

    def embed_tangent(self, x: Array) -> Array:
        """Derivative of `embed` along the coordinate, (n,) → (n, n_components)."""
        return np.ones((x.size, 1))

    def pull_back(self, x: Array, vectors: Array) -> Array:
        return (vectors * self.embed_tangent(x)).sum(axis=1, keepdims=True)

    @property
    def centres(self) -> Array:
        return (self.edges[1:] + self.edges[:-1]) / 2 if self.edges.size else self.points

    def length_image(self, x: Array) -> Array:
        return x[:, None] - sum(self.extent) / 2

    @property
    def reach(self) -> float:
        return float(np.abs(self.length_image(np.array(self.extent))).max())

    def shadow(self, direction: Array) -> tuple[Array, Array]:
        widths = self.volumes if self.edges.size else np.zeros(self.size)
        return self.length_image(self.centres) @ direction, (direction[0] * widths) ** 2

    def neighbours(self, x: Array) -> tuple[tuple[Indices, Indices], tuple[Array, Array]]:
        if not self.edges.size:
            nearest = np.abs(x[:, None] - self.points).argmin(axis=1)
            return (nearest, nearest), (np.ones(x.size), np.zeros(x.size))
        points, around = self.points, int(self.period > 0)
        if around:
            points = np.concatenate([points[-1:] - self.period, points, points[:1] + self.period])
        left = np.clip(np.searchsorted(points, x) - 1, 0, points.size - 2)
        share = np.clip((x - points[left]) / (points[left + 1] - points[left]), 0.0, 1.0)
        return ((left - around) % self.size, (left + 1 - around) % self.size), (1 - share, share)

    @property
    def faces(self) -> Faces:
        left = np.arange(np.count_nonzero(self.areas[1:]))
        return Faces(left, (left + 1) % self.size, (self.areas / self.distances)[left + 1])

    def distance(self) -> Array:
        d = np.abs(self.points[:, None] - self.points[None, :])
        return np.minimum(d, self.period - d) if self.period > 0 else d

    def log_gaussian(self, epsilon: float) -> Array:
        x, length, differences = self.points, self.total_volume, [self.points[:, None] - self.points[None, :]]
        epsilon = min(epsilon, UNIFORM_FROM * length**2)
        turns = ceil(np.sqrt(0.25 + 40 * epsilon / length**2))  # images beyond are e^−40 of the nearest
        if self.walls is not None:  # every second image is a mirror image
            differences.append(x[:, None] + x[None, :] - 2 * self.edges[0])
        images = [d + len(differences) * k * length for k in range(-turns, turns + 1) for d in differences]
        return np.logaddexp.reduce([-(d**2) / epsilon for d in images], axis=0)

    def extension(self, margin: float) -> Self:
        """The same uniform interval with cells that reach so far beyond its walls; others stay."""
        return self

    def coarsening(self, cells: int) -> Self:
        if not self.edges.size or self.size % 2 or self.size < 2 * cells:
            return self
        points, edges = self.points.reshape(-1, 2).mean(axis=1), self.edges[::2]
        distances = face_distances(points, edges, self.period)
        return replace(self, points=points, volumes=np.diff(edges), edges=edges, distances=distances)


def coordinate_of(factor: Factor) -> Coordinate:
    """The factor, with what needs one coordinate. Raises InputError for a surface."""
    if not isinstance(factor, Coordinate):
        raise InputError(
            f"one coordinate of the surface {factor.name!r}", "intervals, circles and ellipses", "use another factor"
        )
    return factor


def face_distances(points: Array, edges: Array, period: float) -> Array:
    """Distances of the cell points on both sides of every face, (n_cells + 1,): to the walls, or around a circle."""
    if period == 0:
        return np.diff(points, prepend=edges[0], append=edges[-1])
    inner, seam = np.diff(points), points[0] + period - points[-1]
    return np.concatenate([[seam], inner, [seam]])
