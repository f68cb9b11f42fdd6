"""Energies: what a case may name under [energy], and sums of them."""

from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from msgspec import Meta, Struct
from numpy.typing import NDArray

from gridflow.energy.base import BoundEnergy, Evaluation, ParticleEnergy, ParticleEvaluation
from gridflow.energy.mmd import MMD
from gridflow.energy.network import Network
from gridflow.energy.potential import Potential
from gridflow.energy.resnet import ResNet
from gridflow.energy.sobolev import Sobolev
from gridflow.errors import InputError
from gridflow.space.factor import Array, Factor
from gridflow.space.grid import Grid

EnergyPart = Network | ResNet | MMD | Sobolev | Potential


class Sum(Struct, frozen=True, forbid_unknown_fields=True, tag="sum", tag_field="kind"):
    """E = Σ of the parts."""

    parts: Annotated[list[EnergyPart], Meta(min_length=1)]

    def __post_init__(self) -> None:
        if any(isinstance(part, Network | ResNet) and part.stationarity is not None for part in self.parts):
            raise ValueError("stationarity in a sum of energies, whose stationary states S3 does not describe; remove it")

    def load(self, directory: Path) -> "SumEnergy":
        return SumEnergy(tuple(part.load(directory) for part in self.parts))


EnergySpec = EnergyPart | Sum


@dataclass(frozen=True)
class SumEnergy:
    parts: tuple[Any, ...]

    def bind(self, grid: Grid) -> "BoundSum":
        return BoundSum([part.bind(grid) for part in self.parts])

    def particles(self, factors: tuple[Factor, ...]) -> "SumParticles":
        return SumParticles([part.particles(factors) for part in self.parts])


class BoundSum:
    """Sum of bound energies; the predictions are those of the first network among them."""

    def __init__(self, parts: list[BoundEnergy]) -> None:
        if any(getattr(part, "driven", False) for part in parts):
            raise InputError("a sum with a Sobolev transport", "gradient flows", 'use flow = "descent"')
        self.parts = parts
        self.convex = all(part.convex for part in parts)
        self.smooth = all(getattr(part, "smooth", True) for part in parts)
        self.data = next((part.data for part in parts if hasattr(part, "data")), None)

    def evaluate(self, mass: Array) -> Evaluation:
        terms = [part.evaluate(mass) for part in self.parts]
        xi = np.ascontiguousarray(reduce(np.add, [t.first_variation for t in terms]))
        prediction = next((t.prediction for t in terms if t.prediction is not None), None)
        return Evaluation(sum(t.value for t in terms), xi, sum(t.roundoff for t in terms), prediction)


@dataclass(frozen=True)
class SumParticles:
    parts: list[ParticleEnergy]

    @property
    def order(self) -> int:
        return max(getattr(part, "order", 1) for part in self.parts)

    @property
    def strata(self) -> str | None:
        return next((name for part in self.parts if (name := getattr(part, "strata", None)) is not None), None)

    def evaluate(self, points: Array, weights: Array, batch: NDArray[np.int64] | None = None) -> ParticleEvaluation:
        terms = [part.evaluate(points, weights, batch) for part in self.parts]
        predictions = [t.prediction for t in terms if t.prediction is not None]
        if batch is not None and len(predictions) > 1:
            raise InputError("a minibatch for a sum of several networks", "one network", "remove batch")
        prediction = predictions[0] if predictions else None
        variations = [t.first_variation for t in terms if t.first_variation is not None]
        xi = reduce(np.add, variations) if len(variations) == len(terms) else None
        return ParticleEvaluation(sum(t.value for t in terms), reduce(np.add, [t.gradient for t in terms]), prediction, xi)
