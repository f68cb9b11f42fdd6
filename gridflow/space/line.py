"""Bounded intervals with walls, uniform or graded."""

from dataclasses import dataclass
from math import ceil
from typing import Annotated, ClassVar

import numpy as np
from msgspec import Meta, Struct

from gridflow.errors import require
from gridflow.space.coordinate import Coordinate, face_distances
from gridflow.space.factor import Array, Cells

Ratio = Annotated[float, Meta(gt=1.0, le=1e6)]
WIDTH_MIN = 1e3
"""Of a cell, in units of the rounding of its ends."""


@dataclass(frozen=True, eq=False)
class LineFactor(Coordinate):
    """An interval: unfolded positions are continued by its mirror images."""

    @property
    def walls(self) -> tuple[float, float]:
        return float(self.edges[0]), float(self.edges[-1])

    def fold(self, x: Array) -> Array:
        lower, length = self.edges[0], self.total_volume
        y = np.mod(x - lower, 2 * length)
        return lower + np.minimum(y, 2 * length - y)

    def unfolded_gradient(self, unfolded: Array, x: Array, gradient: Array) -> Array:
        mirrored = np.mod(unfolded - self.edges[0], 2 * self.total_volume) > self.total_volume
        return gradient * np.where(mirrored, -1.0, 1.0)

    def refinement(self, cells: int) -> "LineFactor":
        return self if self.size >= cells else Interval(self.walls, cells, units=self.units).factor(self.name)

    def extension(self, margin: float) -> "LineFactor":
        """See `Coordinate`. Raises InputError for a graded interval."""
        received = f"an extension of the graded interval {self.name!r}"
        require(self.uniform, received, "uniform intervals", f"remove space.{self.name}.grading")
        h, (lower, upper) = float(self.volumes[0]), self.walls
        more = ceil(margin / h)
        bounds = (lower - more * h, upper + more * h)
        return Interval(bounds, self.size + 2 * more, units=self.units).factor(self.name) if more > 0 else self


class Grading(Struct, frozen=True, forbid_unknown_fields=True):
    """Cells that grow smoothly. focus : where they are smallest; ratio : of the largest to the smallest map derivative"""

    focus: float
    ratio: Ratio


class Interval(Struct, frozen=True, forbid_unknown_fields=True, tag="interval", tag_field="kind"):
    """A bounded interval with no-flux ends: a truncated line.

    bounds : lower and upper end; cells : their number; grading : of the widths, uniform by default; units : for files
    """

    bounds: tuple[float, float]
    cells: Cells
    grading: Grading | None = None
    units: str = "1"

    resolution_key: ClassVar[str | None] = "cells"

    def __post_init__(self) -> None:
        lower, upper = self.bounds
        if not upper > lower:
            raise ValueError(f"bounds {list(self.bounds)} are not increasing; write bounds = [lower, upper]")
        if not (upper - lower) / self.cells > WIDTH_MIN * np.spacing(max(abs(lower), abs(upper))):
            raise ValueError(f"bounds {list(self.bounds)} are too close for {self.cells} cells; use wider bounds or fewer cells")
        if self.grading is not None and not lower <= self.grading.focus <= upper:
            raise ValueError(f"grading.focus {self.grading.focus} lies outside bounds {list(self.bounds)}")

    def factor(self, name: str) -> LineFactor:
        lower, upper = self.bounds
        middles = (np.arange(self.cells) + 0.5) / self.cells
        if self.grading is None:
            points = lower + (upper - lower) * middles
            edges = np.linspace(lower, upper, self.cells + 1)
        else:
            points = sinh_map(middles, lower, upper, self.grading)
            edges = np.concatenate([[lower], (points[1:] + points[:-1]) / 2, [upper]])
        return LineFactor(name, "interval", self.units, points, np.diff(edges), edges, face_distances(points, edges, 0.0))


def sinh_map(fraction: Array, lower: float, upper: float, grading: Grading) -> Array:
    """x(s) = focus + c·sinh(g(s − s₀)) from [0, 1] onto [lower, upper], with max cosh(g(s − s₀)) = ratio."""
    focus = grading.focus
    longest = max(focus - lower, upper - focus)
    reach = np.arccosh(grading.ratio)
    scale = longest / np.sinh(reach)
    left, right = np.arcsinh((lower - focus) / scale), np.arcsinh((upper - focus) / scale)
    return focus + scale * np.sinh(left + (right - left) * fraction)
