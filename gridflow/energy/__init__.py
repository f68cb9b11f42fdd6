"""Energies: what a case may name under [energy], and sums of them."""

from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import Annotated

import numpy as np
from msgspec import Meta, Struct

from gridflow.energy.base import BoundEnergy, Energy, Evaluation
from gridflow.energy.mmd import MMD
from gridflow.energy.network import Network
from gridflow.energy.potential import Potential
from gridflow.space.factor import Array
from gridflow.space.grid import Grid

EnergyPart = Network | MMD | Potential


class Sum(Struct, frozen=True, forbid_unknown_fields=True, tag="sum", tag_field="kind"):
    """E = Σ of the parts."""

    parts: Annotated[list[EnergyPart], Meta(min_length=1)]

    def load(self, directory: Path) -> "SumEnergy":
        return SumEnergy(tuple(part.load(directory) for part in self.parts))


EnergySpec = Network | MMD | Potential | Sum


@dataclass(frozen=True)
class SumEnergy:
    parts: tuple[Energy, ...]

    def bind(self, grid: Grid) -> "BoundSum":
        return BoundSum([part.bind(grid) for part in self.parts])


class BoundSum:
    """Sum of bound energies; the predictions are those of the first network among them."""

    def __init__(self, parts: list[BoundEnergy]) -> None:
        self.parts = parts
        self.convex = all(part.convex for part in parts)

    def evaluate(self, mass: Array) -> Evaluation:
        terms = [part.evaluate(mass) for part in self.parts]
        xi = np.ascontiguousarray(reduce(np.add, [t.first_variation for t in terms]))
        prediction = next((t.prediction for t in terms if t.prediction is not None), None)
        return Evaluation(sum(t.value for t in terms), xi, sum(t.roundoff for t in terms), prediction)
