"""Labels: finitely many points with given volumes and no faces."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np
from msgspec import Meta, Struct

from gridflow.space.coordinate import Coordinate
from gridflow.space.factor import Array


@dataclass(frozen=True, eq=False)
class LabelsFactor(Coordinate):
    """Labels count in distances and kernels like any coordinate, but nothing moves between them."""

    moves: ClassVar[bool] = False

    def fold(self, x: Array) -> Array:
        return x

    def walk(self, x: Array, vectors: Array) -> Array:
        return np.zeros_like(vectors)


class Labels(Struct, frozen=True, forbid_unknown_fields=True, tag="labels", tag_field="kind"):
    """Finitely many points with given volumes and no faces: signs, neuron lengths, layers. Mass is kept per label.

    values : the points; volumes : of each, 1 by default; units : for files
    """

    values: Annotated[list[float], Meta(min_length=1)]
    volumes: list[Annotated[float, Meta(gt=0.0)]] | None = None
    units: str = "1"

    resolution_key: ClassVar[str | None] = None

    def __post_init__(self) -> None:
        if len(set(self.values)) != len(self.values):
            raise ValueError(f"values {self.values} are not distinct")
        if self.volumes is not None and len(self.volumes) != len(self.values):
            raise ValueError(f"{len(self.volumes)} volumes for {len(self.values)} values; give one per value")

    @property
    def size(self) -> int:
        """Number of cells."""
        return len(self.values)

    def factor(self, name: str) -> LabelsFactor:
        values = np.array(self.values, dtype=float)
        volumes = np.ones(values.size) if self.volumes is None else np.array(self.volumes)
        return LabelsFactor(name, "labels", self.units, values, volumes)
