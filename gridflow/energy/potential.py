"""Potential energies E(ρ) = ∫V dρ, ξ = V, with V a sum of named terms, one per factor.

A term has `value(factor, x)`, (n,), and `derivative(factor, x)`, (n, n_columns), at positions x of its factor, and is `periodic`
where circles admit it. On a surface the derivative is a vector of R³.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

import numpy as np
from msgspec import Meta, Struct
from numpy.typing import NDArray

from gridflow.energy.base import ROUNDOFF, BoundEnergy, Energy, Evaluation, ParticleEnergy, ParticleEvaluation
from gridflow.errors import require
from gridflow.space.factor import Array, Factor, block, columns_of, factor_index
from gridflow.space.grid import Grid
from gridflow.space.mesh import unit


class Quadratic(Struct, frozen=True, forbid_unknown_fields=True, tag="quadratic", tag_field="kind"):
    """½·stiffness·(x − centre)²."""

    stiffness: float = 1.0
    centre: float = 0.0
    periodic: ClassVar[bool] = False

    def value(self, factor: Factor, x: Array) -> Array:
        return 0.5 * self.stiffness * (x - self.centre) ** 2

    def derivative(self, factor: Factor, x: Array) -> Array:
        return self.stiffness * (x - self.centre)[:, None]


class Linear(Struct, frozen=True, forbid_unknown_fields=True, tag="linear", tag_field="kind"):
    """slope·x."""

    slope: float
    periodic: ClassVar[bool] = False

    def value(self, factor: Factor, x: Array) -> Array:
        return self.slope * x

    def derivative(self, factor: Factor, x: Array) -> Array:
        return np.full((len(x), 1), self.slope)


class DoubleWell(Struct, frozen=True, forbid_unknown_fields=True, tag="double-well", tag_field="kind"):
    """height·((x/position)² − 1)²: minima at ±position."""

    position: Annotated[float, Meta(gt=0.0)] = 1.0
    height: Annotated[float, Meta(gt=0.0)] = 1.0
    periodic: ClassVar[bool] = False

    def value(self, factor: Factor, x: Array) -> Array:
        return self.height * ((x / self.position) ** 2 - 1) ** 2

    def derivative(self, factor: Factor, x: Array) -> Array:
        return (4 * self.height * x / self.position**2 * ((x / self.position) ** 2 - 1))[:, None]


class Wave(Struct, frozen=True, forbid_unknown_fields=True, tag="cosine", tag_field="kind"):
    """−amplitude·cos(2π·wavenumber·(x − centre)/length): a minimum at the centre for amplitude > 0."""

    amplitude: float = 1.0
    centre: float = 0.0
    wavenumber: Annotated[int, Meta(ge=1)] = 1
    periodic: ClassVar[bool] = True

    def value(self, factor: Factor, x: Array) -> Array:
        return -self.amplitude * np.cos(2 * np.pi * self.wavenumber * (x - self.centre) / factor.total_volume)

    def derivative(self, factor: Factor, x: Array) -> Array:
        k = 2 * np.pi * self.wavenumber / factor.total_volume
        return (self.amplitude * k * np.sin(k * (x - self.centre)))[:, None]


class Tilt(Struct, frozen=True, forbid_unknown_fields=True, tag="tilt", tag_field="kind"):
    """−slope·T(b), T(b) = b/‖b‖, on a surface: a minimum in the direction of `slope`; a spherical harmonic of degree 1."""

    slope: tuple[float, float, float]
    periodic: ClassVar[bool] = True

    def value(self, factor: Factor, x: Array) -> Array:
        return -unit(x) @ np.array(self.slope)

    def derivative(self, factor: Factor, x: Array) -> Array:
        image, slope = unit(x), np.array(self.slope)
        return -(slope - image * (image @ slope)[:, None]) / np.linalg.norm(x, axis=1, keepdims=True)


Term = Quadratic | Linear | DoubleWell | Wave | Tilt


class Potential(Struct, frozen=True, forbid_unknown_fields=True, tag="potential", tag_field="kind"):
    """V(θ) = Σ over the named factors of their terms; factors without a term are free."""

    terms: dict[str, Term] = {}

    def load(self, directory: Path) -> "PotentialEnergy":
        """The energy: it has no files."""
        return PotentialEnergy(self.terms)


@dataclass(frozen=True)
class PotentialEnergy(Energy):
    """∫V dρ, V(θ) = Σ over the named factors of their terms."""

    terms: dict[str, Term]

    def bind(self, grid: Grid) -> "BoundPotential":
        self.check(grid.factors)
        potential = np.zeros(grid.shape)
        for axis, factor in enumerate(grid.factors):
            if factor.name in self.terms:
                potential += grid.along(axis, self.terms[factor.name].value(factor, factor.points))
        return BoundPotential(potential)

    def particles(self, factors: tuple[Factor, ...]) -> "PotentialParticles":
        self.check(factors)
        return PotentialParticles(self.terms, factors)

    def check(self, factors: tuple[Factor, ...]) -> None:
        """Raises InputError for a term of an unknown factor, and for one that its factor cannot have."""
        for name, term in self.terms.items():
            factor, kind = factors[factor_index(factors, name, f"energy.terms.{name}")], term.__struct_config__.tag
            tilt, surface = isinstance(term, Tilt), factor.columns > 1
            place, needs = ("surface", 'kind = "tilt"') if surface else (factor.kind, "any other kind")
            require(surface == tilt, f"a {kind} potential on the {place} {name!r}", needs, "choose another kind of term")
            fits, allowed = factor.period == 0 or term.periodic, f"{kind} on intervals and labels"
            require(fits, f"a {kind} potential on the circle {name!r}", allowed, 'use kind = "cosine"')


@dataclass(frozen=True, eq=False)
class BoundPotential(BoundEnergy):
    """∫V dρ on a grid. potential : V at the cells"""

    potential: Array

    convex = True
    linear = True

    def evaluate(self, mass: Array) -> Evaluation:
        roundoff = ROUNDOFF * float(np.abs(self.potential * mass).sum())
        return Evaluation(float(np.vdot(self.potential, mass)), self.potential, roundoff)


@dataclass(frozen=True)
class PotentialParticles(ParticleEnergy):
    """Σ_i w_i V(θ_i)."""

    terms: dict[str, Term]
    factors: tuple[Factor, ...]

    def evaluate(self, points: Array, weights: Array, batch: NDArray[np.int64] | None = None) -> ParticleEvaluation:
        xi, gradient = np.zeros(len(points)), np.zeros(points.shape)
        for factor, c in zip(self.factors, columns_of(self.factors), strict=True):
            if factor.name in self.terms:
                x = block(points, c)
                xi += self.terms[factor.name].value(factor, x)
                if factor.moves:
                    gradient[:, c] = self.terms[factor.name].derivative(factor, x)
        return ParticleEvaluation(float(weights @ xi), gradient, first_variation=xi)
