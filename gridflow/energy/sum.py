"""Energies: what a case may name under [energy], and sums of them."""

from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import Annotated, Any, NoReturn

import numpy as np
from msgspec import Meta, Struct
from numpy.typing import NDArray

from gridflow.energy.base import NO_RECORDS, BoundEnergy, Evaluation, ParticleEnergy, ParticleEvaluation, bound_to, particles_of
from gridflow.energy.mmd.mmd import MMD
from gridflow.energy.network.network import Network
from gridflow.energy.potential import Potential
from gridflow.energy.resnet.resnet import ResNet
from gridflow.energy.sobolev.sobolev import Sobolev
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
        if any(isinstance(part, MMD) and part.certificates is not None for part in self.parts):
            raise ValueError("certificates in a sum of energies: they bound an MMD along its own flow alone; remove them")

    def load(self, directory: Path) -> "SumEnergy":
        return SumEnergy(tuple(part.load(directory) for part in self.parts))


EnergySpec = EnergyPart | Sum


@dataclass(frozen=True)
class SumEnergy:
    parts: tuple[Any, ...]

    def bind(self, grid: Grid) -> "BoundSum":
        return BoundSum([bound_to(grid, part) for part in self.parts])

    def particles(self, factors: tuple[Factor, ...]) -> "SumParticles":
        return SumParticles([particles_of(part, factors) for part in self.parts])


def refuse_driven(driven: bool) -> None:
    """Raises InputError where a part does not follow its own ξ: on a grid and for particles alike."""
    if driven:
        raise InputError(
            "a sum with a Sobolev transport, or with another flow that ξ does not drive", "gradient flows", 'use flow = "descent"'
        )


NOISE = ("noise injection for a sum of energies", "an MMD alone", "remove flow.noise_injection, or the other parts")


class BoundSum(BoundEnergy):
    """Sum of bound energies, with a rule for every member of `BoundEnergy`:

    evaluate : values, ξ and round-off are added; predictions and data are those of the first part that has them
    convex, smooth : where all parts are
    check_start : of every part
    driven : refused, since potentials that are no first variation make no flow of the sum
    diagnostics, diagnose : refused, since they describe a part along its own flow
    smoothed, displaced, displaces : refused
    """

    driven = False
    displaces = False
    diagnostics = NO_RECORDS

    def __init__(self, parts: list[BoundEnergy]) -> None:
        refuse_driven(any(part.driven for part in parts))
        names = [name for part in parts for name in part.diagnostics]
        if names:
            raise InputError(
                f"a sum with a part that adds {', '.join(names)}", "parts without diagnostics, which describe one energy alone",
                "remove them, or solve that part alone",
            )  # fmt: skip
        self.parts = parts
        self.convex = all(part.convex for part in parts)
        self.smooth = all(part.smooth for part in parts)
        self.data = next((part.data for part in parts if part.data is not None), None)

    def evaluate(self, mass: Array) -> Evaluation:
        terms = [part.evaluate(mass) for part in self.parts]
        refuse_driven(any(t.drive is not None or t.diffusivity is not None for t in terms))
        xi = np.ascontiguousarray(reduce(np.add, [t.first_variation for t in terms]))
        prediction = next((t.prediction for t in terms if t.prediction is not None), None)
        return Evaluation(sum(t.value for t in terms), xi, sum(t.roundoff for t in terms), prediction)

    def check_start(self, masses: Array) -> None:
        for part in self.parts:
            part.check_start(masses)

    def diagnose(self, density: Array, evaluation: Evaluation) -> dict[str, float]:
        return {}

    def smoothed(self, level: float) -> NoReturn:
        raise InputError(*NOISE)

    def displaced(self, level: float) -> NoReturn:
        raise InputError(*NOISE)


class SumParticles(ParticleEnergy):
    """Sum of energies of particles, with a rule for every member of `ParticleEnergy`:

    evaluate : values, gradients and, where all parts give it, ξ are added; predictions are those of the first part that has them
    order : the largest
    strata : one factor, which all parts that name one share; else refused
    check_start : of every part
    driven : refused, as on a grid
    widened, gradient_at : refused
    """

    driven = False

    def __init__(self, parts: list[ParticleEnergy]) -> None:
        refuse_driven(any(part.driven for part in parts))
        strata = sorted({part.strata for part in parts if part.strata is not None})
        if len(strata) > 1:
            raise InputError(
                f"a sum whose parts need the exact masses of the labels of {' and of '.join(map(repr, strata))}",
                "one such factor", "give the residual networks of the sum the same depth",
            )  # fmt: skip
        self.parts = parts
        self.order = max(part.order for part in parts)
        self.strata = strata[0] if strata else None

    def evaluate(self, points: Array, weights: Array, batch: NDArray[np.int64] | None = None) -> ParticleEvaluation:
        terms = [part.evaluate(points, weights, batch) for part in self.parts]
        refuse_driven(any(t.drive is not None for t in terms))
        predictions = [t.prediction for t in terms if t.prediction is not None]
        if batch is not None and len(predictions) > 1:
            raise InputError("a minibatch for a sum of several networks", "one network", "remove batch")
        prediction = predictions[0] if predictions else None
        variations = [t.first_variation for t in terms if t.first_variation is not None]
        xi = reduce(np.add, variations) if len(variations) == len(terms) else None
        return ParticleEvaluation(sum(t.value for t in terms), reduce(np.add, [t.gradient for t in terms]), prediction, xi)

    def check_start(self, points: Array, weights: Array) -> None:
        for part in self.parts:
            part.check_start(points, weights)

    def widened(self, reach: float) -> NoReturn:
        raise InputError(*NOISE)

    def gradient_at(self, places: Array, points: Array, weights: Array) -> NoReturn:
        raise InputError(*NOISE)
