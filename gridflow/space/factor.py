"""Factors: the one-dimensional building blocks of a parameter space, as inert data.

A space is a product of factors (`gridflow.space.grid`). Every factor holds cell points, cell volumes and faces; geometry
enters the schemes through these arrays only. Face f of a line lies between the cells f−1 and f; the faces 0 and n are
the walls of an interval (area 0, no flux) or, on a circle, one and the same face between the cells n−1 and 0.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import pi
from typing import Annotated, ClassVar, Literal

import numpy as np
from msgspec import Meta, Struct
from numpy.typing import NDArray

from gridflow.errors import InputError

Array = NDArray[np.float64]
Cells = Annotated[int, Meta(ge=4, le=1_000_000)]
Ratio = Annotated[float, Meta(gt=1.0, le=1e6)]
Kind = Literal["interval", "circle", "labels", "ellipse", "sphere", "ellipsoid"]


@dataclass(frozen=True, eq=False)
class Factor:
    """Inert data of one coordinate (lengths in units of the coordinate).

    Attributes
    ----------
    points : (n_cells,) cell points
    volumes : (n_cells,) cell lengths, or the point volumes of labels
    edges : (n_cells + 1,) cell ends, increasing; for labels empty
    areas : (n_faces,) 1 at faces that carry flux, 0 at walls; n_faces = n_cells + 1, or 0 for labels
    distances : (n_faces,) geodesic distance of the two cell points of a face (at a wall: from the cell point to the wall)
    """

    name: str
    kind: Kind
    units: str
    points: Array
    volumes: Array
    edges: Array
    areas: Array
    distances: Array

    @property
    def size(self) -> int:
        return self.volumes.size

    @property
    def is_line(self) -> bool:
        """True for lines and circles: one coordinate along which mass moves from cell to cell."""
        return self.areas.size > 0

    @property
    def is_mesh(self) -> bool:
        """True for surfaces (`gridflow.space.mesh.Mesh`)."""
        return self.points.ndim == 2

    @property
    def moves(self) -> bool:
        """True for factors along which mass moves; false for labels."""
        return self.is_line or self.is_mesh

    @property
    def columns(self) -> int:
        """Numbers that a position takes: 1, or 3 on a surface in R³."""
        return 3 if self.is_mesh else 1

    @property
    def components(self) -> int:
        """Length of the weight vector that a position stands for: see `embed`."""
        return 2 if self.is_circle else self.columns

    @property
    def is_circle(self) -> bool:
        return self.kind in ("circle", "ellipse")

    @property
    def length(self) -> float:
        return float(self.volumes.sum())

    @property
    def resolution(self) -> float:
        """L/n², L the length and n the number of cells: the error of second order in units of a length, up to a constant."""
        return self.length / self.size**2

    def distance(self) -> Array:
        """Geodesic distances of the cell points, (n_cells, n_cells)."""
        d = np.abs(self.points[:, None] - self.points[None, :])
        return np.minimum(d, self.length - d) if self.is_circle else d

    @property
    def is_round(self) -> bool:
        """True for circles, ellipses and surfaces: closed, isometric to a circle or a sphere of the given `radius`."""
        return self.is_circle or self.is_mesh

    @property
    def radius(self) -> float:
        """Of the circle that is meant, in units of lengths; 1 on lines and on surfaces."""
        return self.length / (2 * pi) if self.is_circle else 1.0

    def chart(self, x: Array) -> Array:
        """Positions over `radius` in a space of lengths, (n,) → (n, n_components): x itself on a line, (cos, sin) on a circle."""
        if not self.is_circle:
            return x[:, None]
        angle = x * (2 * pi / self.length)
        return np.stack([np.cos(angle), np.sin(angle)], axis=1)

    def chart_tangent(self, x: Array) -> Array:
        """Derivative of `chart` along the coordinate, (n,) → (n, n_components)."""
        if not self.is_circle:
            return np.ones((x.size, 1))
        angle = x * (2 * pi / self.length)
        return np.stack([-np.sin(angle), np.cos(angle)], axis=1) * (2 * pi / self.length)

    def embed(self, x: Array) -> Array:
        """Positions as weight vectors, (n,) → (n, n_components): the chart, but for an ellipse, where b ∈ Ω."""
        return self.chart(x)

    def embed_tangent(self, x: Array) -> Array:
        """Derivative of `embed` along the coordinate, (n,) → (n, n_components)."""
        return self.chart_tangent(x)

    def fold(self, x: Array) -> Array:
        """Positions brought back into the factor: mirrored at the walls of an interval, modulo the length of a circle."""
        if not self.is_line:
            return x
        lower, length = self.edges[0], self.length
        if self.is_circle:
            return np.mod(x - lower, length) + lower
        y = np.mod(x - lower, 2 * length)
        return lower + np.minimum(y, 2 * length - y)

    def fold_slope(self, x: Array) -> Array:
        """Derivative of `fold`: −1 in mirror images of an interval, else 1."""
        if self.kind != "interval":
            return np.ones(x.shape)
        return np.where(np.mod(x - self.edges[0], 2 * self.length) <= self.length, 1.0, -1.0)

    def gaussian(self, difference: Array, bandwidth: float) -> Array:
        """exp(−d²/(2·bandwidth²)) of coordinate differences, any shape.

        On a circle it is summed over all windings: a Gaussian of the geodesic distance is not positive definite there.
        """
        turns = 1 + int(np.ceil(9 * bandwidth / self.length)) if self.is_circle else 0  # exp(−9²/2) is below round-off
        shifts = self.length * np.arange(-turns, turns + 1)
        return np.sum([np.exp(-((difference + shift) ** 2) / (2 * bandwidth**2)) for shift in shifts], axis=0)

    def gaussian_kernel(self, bandwidth: float) -> Array:
        """`gaussian` between the cell points, (n_cells, n_cells)."""
        return self.gaussian(self.points[:, None] - self.points[None, :], bandwidth)

    def refined(self, cells: int) -> "Factor":
        """The same line or circle (a round one) with at least so many uniform cells, for quadratures; others stay."""
        if not self.is_line or self.size >= cells:
            return self
        if self.is_circle:
            return Circle(cells=cells, length=self.length, units=self.units).factor(self.name)
        return Interval(bounds=(float(self.edges[0]), float(self.edges[-1])), cells=cells, units=self.units).factor(self.name)

    def halved(self) -> "Factor":
        """The same line or circle with its cells joined in pairs (an even number of them)."""
        points, edges = self.points.reshape(-1, 2).mean(axis=1), self.edges[::2]
        around = self.is_circle
        distances = gaps_around(points, self.length) if around else np.diff(points, prepend=edges[0], append=edges[-1])
        return replace(self, points=points, volumes=np.diff(edges), edges=edges, areas=self.areas[::2], distances=distances)

    def laplacian(self) -> Array:
        """Two-point Laplacian acting on cell values, (n_cells, n_cells): rows sum to 0, volumesᵀL = 0, off-diagonals ≥ 0."""
        matrix = np.zeros((self.size, self.size))
        if self.is_line:
            right = np.arange(self.size) if self.is_circle else np.arange(self.size - 1)
            left, right = right, (right + 1) % self.size
            weight = (self.areas / self.distances)[left + 1]
            np.add.at(matrix, (left, right), weight / self.volumes[left])
            np.add.at(matrix, (right, left), weight / self.volumes[right])
            matrix -= np.diag(matrix.sum(axis=1))
        return matrix

    def heat_kernel(self, time: float) -> Array:
        """exp(time·L) by uniformisation and squaring, (n_cells, n_cells); entries ≥ 0, volumes kept to round-off.

        All terms of the series Σ Poisson(k)·Pᵏ, P = I + L/q ≥ 0, are nonnegative; an eigendecomposition is not.
        """
        laplacian = self.laplacian()
        rate = float(-laplacian.diagonal().min(initial=0.0)) * time
        if rate == 0.0:
            return np.eye(self.size)
        squarings = max(0, int(np.ceil(np.log2(rate))))
        q = rate / 2**squarings
        step = np.eye(self.size) + laplacian * (time / rate)
        term = np.exp(-q) * np.eye(self.size)
        kernel = term.copy()
        for k in range(1, 30):  # the Poisson(q ≤ 1) tail beyond 30 terms is below 1e−32
            term = (q / k) * (term @ step)
            kernel += term
        for _ in range(squarings):
            kernel = kernel @ kernel
        return kernel * (self.volumes / (self.volumes @ kernel))

    def heat_operator(self, time: float) -> Callable[[Array], Array]:
        """`heat_kernel` acting on (n_cells, k)."""
        kernel = self.heat_kernel(time)
        return lambda values: kernel @ values


def gaps_around(points: Array, length: float) -> Array:
    """Distances of neighbours on a circle by face, (n_cells + 1,): the first face is the last one."""
    inner, seam = np.diff(points), points[0] + length - points[-1]
    return np.concatenate([[seam], inner, [seam]])


class Grading(Struct, frozen=True, forbid_unknown_fields=True):
    """Cells that grow smoothly away from `focus`; `ratio` = largest over smallest map derivative."""

    focus: float
    ratio: Ratio


class Interval(Struct, frozen=True, forbid_unknown_fields=True, tag="interval", tag_field="kind"):
    """A bounded interval with no-flux ends: a truncated line."""

    bounds: tuple[float, float]
    cells: Cells
    grading: Grading | None = None
    units: str = "1"

    resolution_key: ClassVar[str | None] = "cells"  # of the case: the size that coarsening changes

    def __post_init__(self) -> None:
        lower, upper = self.bounds
        if not upper > lower:
            raise ValueError(f"bounds {list(self.bounds)} are not increasing; write bounds = [lower, upper]")
        if self.grading is not None and not lower <= self.grading.focus <= upper:
            raise ValueError(f"grading.focus {self.grading.focus} lies outside bounds {list(self.bounds)}")

    def factor(self, name: str) -> Factor:
        lower, upper = self.bounds
        middles = (np.arange(self.cells) + 0.5) / self.cells
        if self.grading is None:
            points = lower + (upper - lower) * middles
            edges = np.linspace(lower, upper, self.cells + 1)
        else:
            points = sinh_map(middles, lower, upper, self.grading)
            edges = np.concatenate([[lower], (points[1:] + points[:-1]) / 2, [upper]])
        areas = np.ones(self.cells + 1)
        areas[[0, -1]] = 0.0
        distances = np.diff(points, prepend=lower, append=upper)
        return Factor(name, "interval", self.units, points, np.diff(edges), edges, areas, distances)


def sinh_map(fraction: Array, lower: float, upper: float, grading: Grading) -> Array:
    """x(s) = focus + c·sinh(g(s − s₀)) from [0, 1] onto [lower, upper], with max cosh(g(s − s₀)) = ratio."""
    focus = grading.focus
    longest = max(focus - lower, upper - focus)
    reach = np.arccosh(grading.ratio)
    scale = longest / np.sinh(reach)
    left, right = np.arcsinh((lower - focus) / scale), np.arcsinh((upper - focus) / scale)
    return focus + scale * np.sinh(left + (right - left) * fraction)


class Circle(Struct, frozen=True, forbid_unknown_fields=True, tag="circle", tag_field="kind"):
    """A circle of the given circumference; the coordinate runs from 0."""

    cells: Cells
    length: Annotated[float, Meta(gt=0.0)] = 2 * pi
    units: str = "radian"

    resolution_key: ClassVar[str | None] = "cells"

    def factor(self, name: str) -> Factor:
        edges: Array = np.linspace(0.0, self.length, self.cells + 1)
        h = self.length / self.cells
        points = (np.arange(self.cells, dtype=np.float64) + 0.5) * h
        ones, volumes = np.ones(self.cells + 1), np.full(self.cells, h)
        return Factor(name, "circle", self.units, points, volumes, edges, ones, np.full(self.cells + 1, h))


class Labels(Struct, frozen=True, forbid_unknown_fields=True, tag="labels", tag_field="kind"):
    """Finitely many points with given volumes and no faces: signs, neuron lengths, layers. Mass is kept per label."""

    values: Annotated[list[float], Meta(min_length=1)]
    volumes: list[Annotated[float, Meta(gt=0.0)]] | None = None
    units: str = "1"

    resolution_key: ClassVar[str | None] = None

    def __post_init__(self) -> None:
        if len(set(self.values)) != len(self.values):
            raise ValueError(f"values {self.values} are not distinct")
        if self.volumes is not None and len(self.volumes) != len(self.values):
            raise ValueError(f"{len(self.volumes)} volumes for {len(self.values)} values; give one per value")

    def factor(self, name: str) -> Factor:
        values = np.array(self.values, dtype=float)
        volumes = np.ones(values.size) if self.volumes is None else np.array(self.volumes)
        none = np.zeros(0)
        return Factor(name, "labels", self.units, values, volumes, none, none, none)


def columns_of(factors: tuple[Factor, ...]) -> list[slice]:
    """Where the position in each factor stands in the row of a particle."""
    ends = np.cumsum([f.columns for f in factors])
    return [slice(int(end) - f.columns, int(end)) for f, end in zip(factors, ends, strict=True)]


def block(points: Array, factor: Factor, columns: slice) -> Array:
    """Positions in one factor, (n,) or, on a surface, (n, 3)."""
    return points[:, columns] if factor.is_mesh else points[:, columns.start]


def factor_named(factors: tuple[Factor, ...], name: str, purpose: str) -> int:
    """Index of the factor called `name`, or a clear error."""
    names = [f.name for f in factors]
    if name not in names:
        raise InputError(
            f"{purpose} names the factor {name!r}", f"factors of this space: {', '.join(names)}", "use one of these names"
        )
    return names.index(name)
