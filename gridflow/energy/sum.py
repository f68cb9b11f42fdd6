"""Energies: what a case may name under [energy], and sums of them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from gridflow.energy.base import (
    NO_RECORDS,
    BoundEnergy,
    Energy,
    Evaluation,
    Law,
    ParticleEnergy,
    ParticleEvaluation,
    Records,
)
from gridflow.energy.guard import GuardedBound, bound_to, particles_of
from gridflow.energy.interaction.interaction import Interaction
from gridflow.energy.internal import Internal
from gridflow.energy.mmd.mmd import MMD
from gridflow.energy.network.spec import Network
from gridflow.energy.potential import Potential
from gridflow.energy.resnet.spec import ResNet
from gridflow.energy.sobolev.sobolev import Sobolev
from gridflow.energy.table import EnergyTable, Landmark
from gridflow.errors import require
from gridflow.space.factor import Array, Factor
from gridflow.space.grid import Grid

EnergyPart = Network | ResNet | MMD | Sobolev | Potential | Interaction | Internal


class Sum(EnergyTable, frozen=True, forbid_unknown_fields=True, tag="sum", tag_field="kind"):
    """E = Σ of the parts."""

    parts: Annotated[list[EnergyPart], Meta(min_length=1)]

    def __post_init__(self) -> None:
        if any(isinstance(part, Network | ResNet) and part.stationarity is not None for part in self.parts):
            raise ValueError("stationarity in a sum of energies, whose stationary states S3 does not describe; remove it")
        if any(isinstance(part, MMD) and part.certificates is not None for part in self.parts):
            raise ValueError("certificates in a sum of energies: they bound an MMD along its own flow alone; remove them")

    def load(self, directory: Path) -> "SumEnergy":
        """The sum of the parts, with their files in a folder."""
        return SumEnergy(tuple(part.load(directory) for part in self.parts))

    @property
    def views(self) -> tuple[tuple[str, str], ...]:
        return tuple(dict.fromkeys(view for part in self.parts for view in part.views))

    def landmarks(self, grid: Grid, directory: Path) -> list[Landmark]:
        return [landmark for part in self.parts for landmark in part.landmarks(grid, directory)]


EnergySpec = EnergyPart | Sum


@dataclass(frozen=True)
class SumEnergy(Energy):
    """Σ of energies, of a case or of one's own."""

    parts: tuple[Energy, ...]

    @property
    def summands(self) -> tuple[Energy, ...]:  # type: ignore[override]
        return self.parts

    @property
    def slabs(self) -> bool:  # type: ignore[override]
        return all(part.slabs for part in self.parts)

    def bind(self, grid: Grid) -> "BoundSum":
        return BoundSum([bound_to(grid, part) for part in self.parts])

    def particles(self, factors: tuple[Factor, ...]) -> "SumParticles":
        return SumParticles([particles_of(part, factors) for part in self.parts])


def first(values: list[Any]) -> Any:
    """The first value that is not None."""
    return next((value for value in values if value is not None), None)


def no_drive(values: list[Any]) -> bool:
    """False. Potentials that are no first variation make no flow of the sum."""
    received = "a sum with a Sobolev transport, or with another flow that ξ does not drive"
    require(not any(values), received, "gradient flows", 'use flow = "descent"')
    return False


def no_diagnostics(values: list[Records]) -> Records:
    """None. Diagnostics describe a part along its own flow."""
    received = f"a sum with a part that adds {', '.join(name for value in values for name in value)}"
    allowed = "parts without diagnostics, which describe one energy alone"
    require(not any(values), received, allowed, "remove them, or solve that part alone")
    return NO_RECORDS


def joined(values: list[Mapping[str, str]]) -> Mapping[str, str]:
    """The attributes of all parts; those of one name in one text."""
    names = dict.fromkeys(name for value in values for name in value)
    return {name: "; ".join(dict.fromkeys(value[name] for value in values if name in value)) for name in names}


def one_strata(values: list[str | None]) -> str | None:
    """The factor that all parts share which name one."""
    names = sorted({name for name in values if name is not None})
    received = f"a sum whose parts need the exact masses of the labels of {' and of '.join(map(repr, names))}"
    require(len(names) <= 1, received, "one such factor", "give the residual networks of the sum the same depth")
    return next(iter(names), None)


@dataclass(frozen=True)
class SumLaw:
    """The sum of laws of internal energies."""

    laws: tuple[Law, ...]

    @property
    def finite(self) -> bool:
        return all(law.finite for law in self.laws)

    @property
    def largest(self) -> float:
        return min(law.largest for law in self.laws)

    def value(self, density: Array) -> Array:
        return reduce(np.add, [law.value(density) for law in self.laws])

    def derivative(self, density: Array) -> Array:
        return reduce(np.add, [law.derivative(density) for law in self.laws])

    def second(self, density: Array) -> Array:
        return reduce(np.add, [law.second(density) for law in self.laws])

    def pressure(self, density: Array) -> Array:
        return reduce(np.add, [law.pressure(density) for law in self.laws])


def sum_of_laws(values: list[Law | None]) -> Law | None:
    """The law of the internal energies among the parts."""
    laws = tuple(law for law in values if law is not None)
    return SumLaw(laws) if len(laws) > 1 else first(values)


Rule = Callable[[list[Any]], Any]
"""The values of a field in all parts → its value in the sum."""
BOUND_RULES: dict[str, Rule] = {
    "convex": all,
    "linear": all,
    "smooth": all,
    "driven": no_drive,
    "diagnostics": no_diagnostics,
    "data": first,
    "attributes": joined,
    "has_displacement_moments": lambda values: False,
    "label": lambda values: "a sum of energies",
    "slabs": all,
    "local": sum_of_laws,
}
"""A rule for every field of `BoundEnergy`."""
PARTICLE_RULES: dict[str, Rule] = {
    "order": max,
    "strata": one_strata,
    "driven": no_drive,
    "attributes": joined,
    "label": lambda values: "a sum of energies",
}
"""A rule for every field of `ParticleEnergy`."""


def has_prediction(part: BoundEnergy, evaluation: Evaluation) -> bool:
    """Whether a part predicts, now or by `predict`."""
    return part.data is not None or evaluation.prediction is not None


class BoundSum(BoundEnergy):
    """Sum of bound energies: values, ξ and round-off are added; the prediction is that of the first part that has one."""

    def __init__(self, parts: list[BoundEnergy]) -> None:
        self.parts = parts
        for name, rule in BOUND_RULES.items():
            setattr(self, name, rule([getattr(part, name) for part in parts]))

    def evaluate(self, mass: Array) -> Evaluation:
        return self.total([part.evaluate(mass) for part in self.parts])

    def evaluate_density(self, density: Array, volume: Array) -> Evaluation:
        return self.total([part.evaluate_density(density, volume) for part in self.parts])

    def total(self, terms: list[Evaluation]) -> Evaluation:
        """The sum of evaluations of all parts."""
        no_drive([t.drive is not None or t.diffusivity is not None for t in terms])
        xi = np.ascontiguousarray(reduce(np.add, [t.first_variation for t in terms]))
        value, roundoff = sum(t.value for t in terms), sum(t.roundoff for t in terms)
        predictions = [t.prediction for t, part in zip(terms, self.parts, strict=True) if has_prediction(part, t)]
        return Evaluation(value, xi, roundoff, next(iter(predictions), None))

    def predict(self, mass: Array) -> Array | None:
        return next((part.predict(mass) for part in self.parts if part.data is not None), None)

    def predict_at(self, inputs: Array, mass: Array) -> Array | None:
        return next((part.predict_at(inputs, mass) for part in self.parts if part.data is not None), None)

    def check_start(self, masses: Array) -> None:
        for part in self.parts:
            part.check_start(masses)


def bound_parts(bound: BoundEnergy) -> list[BoundEnergy]:
    """The parts of a bound sum as they were written, without guards; an energy that is no sum is its only part."""
    if isinstance(bound, BoundSum):
        return [inner for part in bound.parts for inner in bound_parts(part)]
    return [bound.inner if isinstance(bound, GuardedBound) else bound]


def with_rest(bound: BoundEnergy, density: Array, volume: Array) -> tuple[Evaluation, Array]:
    """An evaluation, and the rest of ξ without the derivatives of laws, part by part.

    The whole ξ less U'(ρ) has only the digits that U' leaves: none in empty cells, where for ρ^m with m < 1 it is about −1e75.
    """
    if isinstance(bound, BoundSum):
        pairs = [with_rest(part, density, volume) for part in bound.parts]
        return bound.total([evaluation for evaluation, _ in pairs]), reduce(np.add, [rest for _, rest in pairs])
    evaluation = bound.evaluate_density(density, volume)
    if bound.local is None:
        return evaluation, evaluation.first_variation
    rounded = density * volume / volume  # as the part sees it: the rest of U' alone is then 0 to the last bit
    return evaluation, evaluation.first_variation - bound.local.derivative(rounded)


class SumParticles(ParticleEnergy):
    """The same at particles; ξ is given where all parts give it."""

    def __init__(self, parts: list[ParticleEnergy]) -> None:
        self.parts = parts
        for name, rule in PARTICLE_RULES.items():
            setattr(self, name, rule([getattr(part, name) for part in parts]))

    def evaluate(self, points: Array, weights: Array, batch: NDArray[np.int64] | None = None) -> ParticleEvaluation:
        terms = [part.evaluate(points, weights, batch) for part in self.parts]
        no_drive([t.drive is not None for t in terms])
        predictions = [t.prediction for t in terms if t.prediction is not None]
        require(batch is None or len(predictions) < 2, "a minibatch for a sum of several networks", "one network", "remove batch")
        variations = [t.first_variation for t in terms if t.first_variation is not None]
        xi = reduce(np.add, variations) if len(variations) == len(terms) else None
        gradient = reduce(np.add, [t.gradient for t in terms])
        return ParticleEvaluation(sum(t.value for t in terms), gradient, first(predictions), xi)

    def refined(self) -> "ParticleEnergy":
        parts = [part.refined() for part in self.parts]
        return SumParticles(parts) if any(new is not old for new, old in zip(parts, self.parts, strict=True)) else self

    def check_start(self, points: Array, weights: Array) -> None:
        for part in self.parts:
            part.check_start(points, weights)
