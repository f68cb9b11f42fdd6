"""Pieces of lines and circles: what a slab of a grid has of the factor across which it is cut (`gridflow.slabs.slab`)."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from gridflow.space.coordinate import Coordinate
from gridflow.space.factor import Array, Factor


@dataclass(frozen=True, eq=False)
class Piece(Coordinate):
    """Some cells of a line or circle that follow each other, with walls where they end. Its geometry is that of the whole."""

    of: Coordinate = field(kw_only=True)

    @property
    def components(self) -> int:  # type: ignore[override]
        return self.of.components

    @property
    def walls(self) -> tuple[float, float]:
        return float(self.edges[0]), float(self.edges[-1])

    @property
    def covariance(self) -> Array | None:
        return self.of.covariance

    def fold(self, x: Array) -> Array:
        return self.of.fold(x)

    def embed(self, x: Array) -> Array:
        return self.of.embed(x)

    def embed_tangent(self, x: Array) -> Array:
        return self.of.embed_tangent(x)


def goes_around(factor: Factor) -> bool:
    """Whether the cell behind the last one is the first."""
    return factor.period > 0


def piece(factor: Coordinate, numbers: NDArray[np.int64]) -> Piece:
    """Cells of a factor; numbers : of the cells, which go on around a circle."""
    n, turns = factor.size, np.floor_divide(numbers, factor.size) * factor.period
    faces = np.append(numbers, numbers[-1] + 1)
    edges = factor.edges[faces % n] + np.floor_divide(faces, n) * factor.period if factor.period > 0 else factor.edges[faces]
    cells, at = numbers % n, faces % n if factor.period > 0 else faces
    return Piece(
        factor.name, factor.kind, factor.units, factor.points[cells] + turns, factor.volumes[cells], edges, factor.distances[at],
        of=factor,
    )  # fmt: skip
