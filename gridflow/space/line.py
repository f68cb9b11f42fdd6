"""Bounded intervals with walls, uniform or graded."""

from dataclasses import dataclass
from math import ceil
from typing import Annotated, ClassVar

import numpy as np
from msgspec import Meta, Struct

from gridflow.errors import require
from gridflow.memory import require_memory
from gridflow.space.coordinate import Coordinate, face_distances
from gridflow.space.factor import Array, Cells

Ratio = Annotated[float, Meta(gt=1.0, le=1e6)]
WIDTH_LEAST = 1e-30
"""Of an interval, and 1 over its most: volumes of cells in several dimensions are then numbers that can be squared."""
WIDTH_MIN = 1e3
"""Of a cell, in units of the rounding of its ends."""


@dataclass(frozen=True, eq=False)
class LineFactor(Coordinate):
    """An interval: unfolded positions are continued by its mirror images. closed : its walls are part of the problem"""

    closed: bool = False

    @property
    def walls(self) -> tuple[float, float]:
        return float(self.edges[0]), float(self.edges[-1])

    @property
    def cuts_off(self) -> bool:
        return not self.closed

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
        require_memory(f"{self.name!r} with {margin / h:.3g} cells more on both sides", 240 * margin / h, "use wider cells")
        more = ceil(margin / h)
        bounds = (lower - more * h, upper + more * h)
        return Interval(bounds, self.size + 2 * more, units=self.units).factor(self.name) if more > 0 else self


class Grading(Struct, frozen=True, forbid_unknown_fields=True):
    """Cells that grow smoothly. focus : where they are smallest; ratio : of the largest to the smallest map derivative"""

    focus: float
    ratio: Ratio


class Interval(Struct, frozen=True, forbid_unknown_fields=True, tag="interval", tag_field="kind"):
    """A bounded interval with no-flux ends: a line that is cut off there, or, closed, one that really ends there.

    bounds : lower and upper end; cells : their number; grading : of the widths, uniform by default; units : for files
    closed : whether the space really ends there
    """

    bounds: tuple[float, float]
    cells: Cells
    grading: Grading | None = None
    closed: bool = False
    units: str = "1"

    resolution_key: ClassVar[str | None] = "cells"

    def __post_init__(self) -> None:
        lower, upper = self.bounds
        if not upper > lower:
            raise ValueError(f"bounds {list(self.bounds)} are not increasing; write bounds = [lower, upper]")
        if not (upper - lower) / self.cells > WIDTH_MIN * np.spacing(max(abs(lower), abs(upper))):
            raise ValueError(f"bounds {list(self.bounds)} are too close for {self.cells} cells; use wider bounds or fewer cells")
        if not WIDTH_LEAST <= upper - lower <= 1 / WIDTH_LEAST:
            allowed = f"use units in which they are {WIDTH_LEAST:g} to {1 / WIDTH_LEAST:g} apart"
            raise ValueError(f"bounds {list(self.bounds)} are {upper - lower:g} apart; {allowed}")
        if self.grading is not None and not lower <= self.grading.focus <= upper:
            raise ValueError(f"grading.focus {self.grading.focus} lies outside bounds {list(self.bounds)}")

    @property
    def size(self) -> int:
        """Number of cells."""
        return self.cells

    def factor(self, name: str) -> LineFactor:
        lower, upper = self.bounds
        middles = (np.arange(self.cells) + 0.5) / self.cells
        if self.grading is None:
            points = lower + (upper - lower) * middles
            edges = np.linspace(lower, upper, self.cells + 1)
        else:
            points = sinh_map(middles, lower, upper, self.grading)
            edges = np.concatenate([[lower], (points[1:] + points[:-1]) / 2, [upper]])
        distances = face_distances(points, edges, 0.0)
        return LineFactor(name, "interval", self.units, points, np.diff(edges), edges, distances, self.closed)


def sinh_map(fraction: Array, lower: float, upper: float, grading: Grading) -> Array:
    """x(s) = focus + c·sinh(g(s − s₀)) from [0, 1] onto [lower, upper], with max cosh(g(s − s₀)) = ratio."""
    focus = grading.focus
    longest = max(focus - lower, upper - focus)
    reach = np.arccosh(grading.ratio)
    scale = longest / np.sinh(reach)
    left, right = np.arcsinh((lower - focus) / scale), np.arcsinh((upper - focus) / scale)
    return focus + scale * np.sinh(left + (right - left) * fraction)
