"""Circles, by their arc length; an ellipse in its own metric (`gridflow.space.ellipse`) is one too."""

from dataclasses import dataclass
from math import pi
from typing import Annotated, ClassVar

import numpy as np
from msgspec import Meta, Struct

from gridflow.space.coordinate import Coordinate, face_distances
from gridflow.space.ellipse import Arc, arc_of, covariance_matrix
from gridflow.space.factor import Array, Cells

RATIO_MAX = 1e4
"""Largest ratio of eigenvalues of Σ on an ellipse."""


@dataclass(frozen=True, eq=False)
class CircleFactor(Coordinate):
    """A circle: unfolded positions wind around it. Weight vectors are (cos, sin), or lie on `curve`."""

    curve: Arc | None = None

    components: ClassVar[int] = 2

    @property
    def period(self) -> float:
        return self.total_volume

    @property
    def covariance(self) -> Array | None:
        return None if self.curve is None else self.curve.covariance

    @property
    def radius(self) -> float:
        """Of the round circle of this length."""
        return self.total_volume / (2 * pi)

    def fold(self, x: Array) -> Array:
        return np.mod(x - self.edges[0], self.period) + self.edges[0]

    def embed(self, x: Array) -> Array:
        return self.round_image(x) if self.curve is None else self.curve.position(x)

    def embed_tangent(self, x: Array) -> Array:
        return self.round_tangent(x) if self.curve is None else self.curve.tangent(x)

    def round_image(self, x: Array) -> Array:
        """(cos, sin) of the angle that belongs to an arc length, (n,) → (n, 2)."""
        angle = x * (2 * pi / self.total_volume)
        return np.stack([np.cos(angle), np.sin(angle)], axis=1)

    def round_tangent(self, x: Array) -> Array:
        """Derivative of `round_image` along the coordinate, (n,) → (n, 2)."""
        angle = x * (2 * pi / self.total_volume)
        return np.stack([-np.sin(angle), np.cos(angle)], axis=1) * (2 * pi / self.total_volume)

    def length_image(self, x: Array) -> Array:
        return self.radius * self.round_image(x)

    @property
    def reach(self) -> float:
        return self.radius

    def shadow(self, direction: Array) -> tuple[Array, Array]:
        tangent = self.radius * self.round_tangent(self.centres) @ direction
        return self.length_image(self.centres) @ direction, (tangent * self.volumes) ** 2

    def refinement(self, cells: int) -> "CircleFactor":
        return self if self.size >= cells else Circle(cells=cells, length=self.total_volume, units=self.units).factor(self.name)


class Circle(Struct, frozen=True, forbid_unknown_fields=True, tag="circle", tag_field="kind"):
    """A circle; the coordinate runs from 0. cells : their number; length : circumference; units : for files"""

    cells: Cells
    length: Annotated[float, Meta(gt=0.0)] = 2 * pi
    units: str = "radian"

    resolution_key: ClassVar[str | None] = "cells"

    @property
    def size(self) -> int:
        """Number of cells."""
        return self.cells

    def factor(self, name: str) -> CircleFactor:
        edges: Array = np.linspace(0.0, self.length, self.cells + 1)
        h = self.length / self.cells
        points = (np.arange(self.cells, dtype=np.float64) + 0.5) * h
        return CircleFactor(name, "circle", self.units, points, np.full(self.cells, h), edges, np.full(self.cells + 1, h))


class Ellipse(Struct, frozen=True, forbid_unknown_fields=True, tag="ellipse", tag_field="kind"):
    """Ω = {bᵀΣb = 1} for d = 2 (S1 Prop. 1); the coordinate is the arc length, from 0 along e₁.

    covariance : Σ, row by row; cells : their number; units : for files
    """

    covariance: list[list[float]]
    cells: Cells
    units: str = "radian"

    resolution_key: ClassVar[str | None] = "cells"

    def __post_init__(self) -> None:
        covariance_matrix(self.covariance, 2, RATIO_MAX)

    @property
    def size(self) -> int:
        """Number of cells."""
        return self.cells

    def factor(self, name: str) -> CircleFactor:
        arc = arc_of(tuple(map(tuple, covariance_matrix(self.covariance, 2, RATIO_MAX).tolist())))
        edges = arc.arc_length(np.linspace(0.0, 2 * pi, self.cells + 1))
        points = (edges[1:] + edges[:-1]) / 2
        distances = face_distances(points, edges, arc.length)
        return CircleFactor(name, "ellipse", self.units, points, np.diff(edges), edges, distances, arc)
