"""Potential energies E(ρ) = ∫V dρ, ξ = V.

V is the sum of named terms, one per factor, and of potentials that do not separate: a polynomial in several factors, the
logarithm of a target (`gridflow.energy.target`) and a table in a file (`gridflow.energy.tabulated`). These are loaded as objects
whose `on(factors)` has `at(points)`, values and gradients at points of the space; cells and particles read the same function.

A term has `value(factor, x)`, (n,), and `derivative(factor, x)`, (n, n_columns), at positions x of its factor, and is `periodic`
where circles admit it. On a surface the derivative is a vector of R³.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, ClassVar, Protocol

import numpy as np
from msgspec import Meta, Struct, field
from numpy.typing import NDArray

from gridflow.energy.base import (
    NO_RECORDS,
    ROUNDOFF,
    BoundEnergy,
    Energy,
    Evaluation,
    ParticleEnergy,
    ParticleEvaluation,
    Records,
)
from gridflow.energy.polynomial import Monomial, Polynomial
from gridflow.energy.table import EnergyTable, Landmark
from gridflow.energy.tabulated import Tabulated
from gridflow.energy.target import PURPOSE, WEIGHT_RECORDS, LogTarget, TargetOn, TargetWeights
from gridflow.errors import require
from gridflow.space.factor import Array, Factor, block, columns_of, factor_index
from gridflow.space.grid import Grid
from gridflow.space.mesh import unit
from gridflow.space.mixture import Component, mixture_masses


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


Values = tuple[Array, Array]
"""(V, (n,); ∇V, (n, n_columns), 0 along labels)."""
BLOCK = 65_536
"""Cells at which fields are evaluated at a time: their points and gradients take a few megabytes."""


class FieldOn(Protocol):
    """A potential on a product of factors."""

    def at(self, points: Array) -> Values:
        """Values and gradients at points (n, n_columns) of the space."""


class Field(Protocol):
    """A potential before it meets a space."""

    def on(self, factors: tuple[Factor, ...]) -> FieldOn:
        """The potential on a product of factors. Raises InputError for factors that it does not fit."""


Term = Quadratic | Linear | DoubleWell | Wave | Tilt


class Potential(EnergyTable, frozen=True, forbid_unknown_fields=True, tag="potential", tag_field="kind"):
    """V(θ) = Σ over the named factors of their terms + Σ polynomial − scale·log(target) + variable of the file.

    terms : by factor, those without are free; polynomial : monomials in several factors; target : components of a mixture
    scale : of its logarithm; file : of a table, with its `variable`; variable : its name
    weights : whether every save has the `weight_error` of a target of several components
    """

    terms: dict[str, Term] = field(default_factory=dict)
    polynomial: list[Monomial] = field(default_factory=list)
    target: list[Component] = field(default_factory=list)
    scale: Annotated[float, Meta(gt=0.0)] = 1.0
    weights: bool = False
    file: str | None = None
    variable: str = "potential"

    def __post_init__(self) -> None:
        if self.weights and len(self.target) < 2:
            raise ValueError("weights of a target need one of several components; remove `weights`")

    def load(self, directory: Path) -> "PotentialEnergy":
        """The energy, with its files in a folder."""
        parts: list[Field] = [Polynomial(tuple(self.polynomial))] if self.polynomial else []
        parts += [LogTarget(tuple(self.target), self.scale, directory)] if self.target else []
        parts += [Table(directory / self.file, self.variable)] if self.file is not None else []
        return PotentialEnergy(self.terms, tuple(parts), self.weights)

    def landmarks(self, grid: Grid, directory: Path) -> list[Landmark]:
        if not self.target:
            return []
        return [Landmark("target", over=grid.order, masses=mixture_masses(self.target, grid, directory, PURPOSE))]


@dataclass(frozen=True)
class Table:
    """A variable of a file."""

    path: Path
    variable: str

    def on(self, factors: tuple[Factor, ...]) -> Tabulated:
        """Its splines. Raises InputError for a file that does not fit the factors."""
        return Tabulated(self.path, self.variable, factors, "energy.file")


@dataclass(frozen=True)
class PotentialEnergy(Energy):
    """∫V dρ. terms : of V, by factor; parts : the rest of V; weights : whether saves have those of a target"""

    terms: dict[str, Term]
    parts: tuple[Field, ...] = ()
    weights: bool = False

    slabs = True

    def bind(self, grid: Grid) -> "BoundPotential":
        self.check(grid.whole.factors)
        potential, whole = np.zeros(grid.shape), grid.whole
        for axis, factor in enumerate(whole.factors):
            if factor.name in self.terms:
                potential += grid.cut(whole.along(axis, self.terms[factor.name].value(factor, factor.points)))
        parts = [part.on(whole.factors) for part in self.parts]
        for points, cells in blocks_of_points(grid) if parts else ():
            potential.ravel()[cells] += np.sum([part.at(points)[0] for part in parts], axis=0)
        target = next((part for part in parts if isinstance(part, TargetOn)), None) if self.weights else None
        return BoundPotential(grid, potential, None if target is None else weights_on(grid, target))

    def particles(self, factors: tuple[Factor, ...]) -> "PotentialParticles":
        self.check(factors)
        return PotentialParticles(self.terms, factors, tuple(part.on(factors) for part in self.parts))

    def check(self, factors: tuple[Factor, ...]) -> None:
        """Raises InputError for a term of an unknown factor, and for one that its factor cannot have."""
        for name, term in self.terms.items():
            factor, kind = factors[factor_index(factors, name, f"energy.terms.{name}")], term.__struct_config__.tag
            tilt, surface = isinstance(term, Tilt), factor.columns > 1
            place, needs = ("surface", 'kind = "tilt"') if surface else (factor.kind, "any other kind")
            require(surface == tilt, f"a {kind} potential on the {place} {name!r}", needs, "choose another kind of term")
            fits, allowed = factor.period == 0 or term.periodic, f"{kind} on intervals and labels"
            require(fits, f"a {kind} potential on the circle {name!r}", allowed, 'use kind = "cosine"')


def blocks_of_points(grid: Grid) -> Iterator[tuple[Array, slice]]:
    """Cell points, (n, n_columns) in the storage order of the grid, and the cells of each block."""
    for start in range(0, grid.size, BLOCK):
        cells = slice(start, min(start + BLOCK, grid.size))
        numbers = np.unravel_index(np.arange(cells.start, cells.stop), grid.shape)
        yield np.column_stack([f.points[k] for f, k in zip(grid.factors, numbers, strict=True)]), cells


def weights_on(grid: Grid, target: TargetOn) -> TargetWeights:
    """The weights of a target on a grid."""
    shares = np.concatenate([target.shares_at(points) for points, _ in blocks_of_points(grid)], axis=1)
    return TargetWeights(grid, shares * grid.volume.ravel(), target.weights)


@dataclass(frozen=True, eq=False)
class BoundPotential(BoundEnergy):
    """∫V dρ on a grid. potential : V at the cells; target : the weights of which every save has the error, or None"""

    grid: Grid
    potential: Array
    target: TargetWeights | None = None

    convex = True
    linear = True
    slabs = True

    @property
    def diagnostics(self) -> Records:  # type: ignore[override]
        return NO_RECORDS if self.target is None else WEIGHT_RECORDS

    def diagnose(self, density: Array, evaluation: Evaluation) -> dict[str, float]:
        return {} if self.target is None else self.target.numbers(density)

    def evaluate(self, mass: Array) -> Evaluation:
        value, size = self.grid.total(np.array([np.vdot(self.potential, mass), np.vdot(self.size, np.abs(mass))])).tolist()
        return Evaluation(value, self.potential, ROUNDOFF * size)

    @cached_property
    def size(self) -> Array:
        """|V| at the cells."""
        return np.abs(self.potential)


@dataclass(frozen=True)
class PotentialParticles(ParticleEnergy):
    """Σ_i w_i V(θ_i)."""

    terms: dict[str, Term]
    factors: tuple[Factor, ...]
    parts: tuple[FieldOn, ...] = ()

    def evaluate(self, points: Array, weights: Array, batch: NDArray[np.int64] | None = None) -> ParticleEvaluation:
        xi, gradient = np.zeros(len(points)), np.zeros(points.shape)
        for factor, c in zip(self.factors, columns_of(self.factors), strict=True):
            if factor.name in self.terms:
                x = block(points, c)
                xi += self.terms[factor.name].value(factor, x)
                if factor.moves:
                    gradient[:, c] = self.terms[factor.name].derivative(factor, x)
        for part in self.parts:
            value, slope = part.at(points)
            xi, gradient = xi + value, gradient + slope
        return ParticleEvaluation(float(weights @ xi), gradient, first_variation=xi)
