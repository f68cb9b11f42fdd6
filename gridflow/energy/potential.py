"""Potential energies E(ρ) = ∫V dρ, ξ = V, with V a sum of named terms, one per factor."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
from msgspec import Meta, Struct

from gridflow.energy.base import ROUNDOFF, Evaluation
from gridflow.errors import InputError
from gridflow.space.factor import Array, Factor
from gridflow.space.grid import Grid


class Quadratic(Struct, frozen=True, forbid_unknown_fields=True, tag="quadratic", tag_field="kind"):
    """½·stiffness·(x − centre)²."""

    stiffness: float = 1.0
    centre: float = 0.0

    def values(self, factor: Factor) -> Array:
        if factor.is_circle:
            raise InputError(
                f"a quadratic potential on the circle {factor.name!r}", "quadratic on intervals", 'use kind = "cosine"'
            )
        return 0.5 * self.stiffness * (factor.points - self.centre) ** 2


class Linear(Struct, frozen=True, forbid_unknown_fields=True, tag="linear", tag_field="kind"):
    """slope·x."""

    slope: float

    def values(self, factor: Factor) -> Array:
        if factor.is_circle:
            raise InputError(f"a linear potential on the circle {factor.name!r}", "linear on intervals", 'use kind = "cosine"')
        return self.slope * factor.points


class DoubleWell(Struct, frozen=True, forbid_unknown_fields=True, tag="double-well", tag_field="kind"):
    """height·((x/position)² − 1)²: minima at ±position."""

    position: Annotated[float, Meta(gt=0.0)] = 1.0
    height: Annotated[float, Meta(gt=0.0)] = 1.0

    def values(self, factor: Factor) -> Array:
        if factor.is_circle:
            raise InputError(
                f"a double well on the circle {factor.name!r}",
                "double wells on intervals",
                'use kind = "cosine" with wavenumber = 2',
            )
        return self.height * ((factor.points / self.position) ** 2 - 1) ** 2


class Wave(Struct, frozen=True, forbid_unknown_fields=True, tag="cosine", tag_field="kind"):
    """−amplitude·cos(2π·wavenumber·(x − centre)/length): a minimum at the centre for amplitude > 0."""

    amplitude: float = 1.0
    centre: float = 0.0
    wavenumber: Annotated[int, Meta(ge=1)] = 1

    def values(self, factor: Factor) -> Array:
        return -self.amplitude * np.cos(2 * np.pi * self.wavenumber * (factor.points - self.centre) / factor.length)


class Potential(Struct, frozen=True, forbid_unknown_fields=True, tag="potential", tag_field="kind"):
    """V(θ) = Σ over the named factors of their terms; factors without a term are free."""

    terms: dict[str, Quadratic | Linear | DoubleWell | Wave] = {}

    def load(self, directory: Path) -> "Potential":
        return self

    def bind(self, grid: Grid) -> "BoundPotential":
        potential = np.zeros(grid.shape)
        for name, term in self.terms.items():
            axis = grid.order.index(name) if name in grid.order else -1
            if axis < 0:
                raise InputError(
                    f"energy.terms.{name}", f"factors of this space: {', '.join(grid.order)}", "use one of these names"
                )
            potential += grid.along(axis, term.values(grid.factors[axis]))
        return BoundPotential(potential)


@dataclass(frozen=True, eq=False)
class BoundPotential:
    potential: Array

    convex = True  # linear in ρ

    def evaluate(self, mass: Array) -> Evaluation:
        roundoff = ROUNDOFF * float(np.abs(self.potential * mass).sum())
        return Evaluation(float(np.vdot(self.potential, mass)), self.potential, roundoff)
