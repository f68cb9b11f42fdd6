"""Internal energies E(ρ) = ∫U(ρ) dV, ξ = U'(ρ): porous media, fast diffusion, entropy (Otto 2001, Comm. PDE 26, 101–174).

The flow is ∂ρ/∂t = div(ρ M grad U'(ρ)) = div(M grad P(ρ)), P = ρU' − U the pressure. `power` has U = a ρ^m/(m − 1) and P = a ρ^m:

* m > 1, a porous medium: mass spreads at finite speed, and a compact support stays compact;
* m < 1, fast diffusion: the density is positive at once everywhere, with tails ∝ |x|^(−2/(1 − m)). In d dimensions mass escapes
  to infinity in finite time for m < 1 − 2/d (Vázquez 2006), and at m = 1 − 2/d no self-similar solution of finite mass remains. A
  box keeps it, and what happens in it is then the work of its walls, so that m > max(0, 1 − 2/d) is required; at m ≤ 0 the
  energy of an empty cell would not be finite either.

`entropy`, U = a ρ log ρ, is the case between: the same flow as `flow.temperature` = a. All of them are convex in ρ, and so is E.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

import numpy as np
from msgspec import Meta, Struct

from gridflow.energy.base import ROUNDOFF, BoundEnergy, Energy, Evaluation, Law
from gridflow.errors import require
from gridflow.space.factor import Array, Factor
from gridflow.space.grid import Grid

EMPTY = 1e-150
"""Derivatives that are infinite at density 0 are those at this density: U'' is then a number of the machine for all m, and what
U lacks to be their integral, P(EMPTY), is below round-off for m ≥ 0.1."""
Amplitude = Annotated[float, Meta(gt=0.0)]


class Power(Struct, frozen=True, forbid_unknown_fields=True, tag="power", tag_field="kind"):
    """U = amplitude·ρ^m/(m − 1), m the exponent: ∂ρ/∂t = amplitude·Δρ^m."""

    exponent: Annotated[float, Meta(gt=0.0)]
    amplitude: Amplitude = 1.0

    finite: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if abs(self.exponent - 1) < 1e-6:
            raise ValueError(f'exponent {self.exponent}: at 1 U is not defined, and near it round-off; use law.kind = "entropy"')

    def value(self, density: Array) -> Array:
        return self.amplitude / (self.exponent - 1) * density**self.exponent

    def derivative(self, density: Array) -> Array:
        m = self.exponent
        return self.amplitude * m / (m - 1) * self.positive(density, 1.0) ** (m - 1)

    def second(self, density: Array) -> Array:
        m = self.exponent
        return self.amplitude * m * self.positive(density, 2.0) ** (m - 2)

    def pressure(self, density: Array) -> Array:
        return self.amplitude * density**self.exponent

    def positive(self, density: Array, least: float) -> Array:
        """The density, and EMPTY where that is 0 and m below `least`, so that its power would be infinite."""
        return density if self.exponent >= least else np.maximum(density, EMPTY)


class Entropy(Struct, frozen=True, forbid_unknown_fields=True, tag="entropy", tag_field="kind"):
    """U = amplitude·ρ log ρ: ∂ρ/∂t = amplitude·Δρ."""

    amplitude: Amplitude = 1.0

    exponent: ClassVar[float] = 1.0
    finite: ClassVar[bool] = True

    def value(self, density: Array) -> Array:
        return self.amplitude * density * np.log(np.maximum(density, EMPTY))

    def derivative(self, density: Array) -> Array:
        return self.amplitude * (1 + np.log(np.maximum(density, EMPTY)))

    def second(self, density: Array) -> Array:
        return self.amplitude / np.maximum(density, EMPTY)

    def pressure(self, density: Array) -> Array:
        return self.amplitude * density


LawSpec = Power | Entropy


class Internal(Struct, frozen=True, forbid_unknown_fields=True, tag="internal", tag_field="kind"):
    """E = ∫U(ρ) dV with a law U."""

    law: LawSpec

    def load(self, directory: Path) -> "InternalEnergy":
        """The energy: it has no files."""
        return InternalEnergy(self.law)


@dataclass(frozen=True)
class InternalEnergy(Energy):
    """∫U(ρ) dV."""

    law: LawSpec

    def bind(self, grid: Grid) -> "BoundInternal":
        moving = [f for f, m in zip(grid.factors, grid.mobility, strict=True) if f.moves and m.max() > 0]
        check_exponent(self.law, tuple(moving))
        return BoundInternal(grid.volume, self.law)


@dataclass(frozen=True, eq=False)
class BoundInternal(BoundEnergy):
    """∫U(ρ) dV on a grid: Σ V U(ρ) over the cells. volume : of the cells; local : the law U"""

    volume: Array
    local: Law

    convex = True
    label = "an internal energy"

    def evaluate(self, mass: Array) -> Evaluation:
        density = mass / self.volume
        terms = self.volume * self.local.value(density)
        return Evaluation(float(terms.sum()), self.local.derivative(density), ROUNDOFF * float(np.abs(terms).sum()))


def check_exponent(law: LawSpec, moving: tuple[Factor, ...]) -> None:
    """Raises InputError for a power for which mass escapes to infinity in a space of so many dimensions."""
    dimension = sum(f.dimension for f in moving)
    least = max(0.0, 1 - 2 / dimension) if dimension > 0 else 0.0
    received = f"energy.law.exponent = {law.exponent:g} in {dimension} dimensions"
    fix = "use a larger exponent: below, mass escapes to infinity, and walls decide what a box shows"
    require(law.exponent > least, received, f"more than 1 − 2/dimension = {least:g}", fix)
