"""Internal energies E(ρ) = ∫U(ρ) dV, ξ = U'(ρ): porous media, fast diffusion, entropy (Otto 2001, Comm. PDE 26, 101–174).

The flow is ∂ρ/∂t = div(ρ M grad U'(ρ)) = div(M grad P(ρ)), P = ρU' − U the pressure. `power` has U = a ρ^m/(m − 1) and P = a ρ^m:

* m > 1, a porous medium: mass spreads at finite speed, and a compact support stays compact;
* m < 1, fast diffusion: the density is positive at once everywhere, with tails ∝ |x|^(−2/(1 − m)). In d dimensions mass escapes
  to infinity in finite time for m < 1 − 2/d (Vázquez 2006), and at m = 1 − 2/d no self-similar solution of finite mass remains. A
  box keeps it, and what happens in it is then the work of its walls, so that m > max(0, 1 − 2/d) is required; at m ≤ 0 the
  energy of an empty cell would not be finite either.

`entropy`, U = a ρ log ρ, is the case between: the same flow as `flow.temperature` = a. All of them are convex in ρ, and so is E.

Particles have no density; the blob method (Carrillo, Craig and Patacchini 2019, Calc. Var. 58:53) gives them one, smoothed by a
Gaussian φ of the deviation ε: E = Σ_i w_i F(c_i), F = U/ρ, c_i = Σ_j w_j φ(x_i − x_j), and

    grad ξ(x_i) = Σ_j w_j (F'(c_i) + F'(c_j)) grad φ(x_i − x_j),   F' = P/ρ²

with ε = `blob`·N^(−1/(d + 1)): it falls with N, but more slowly than the distance N^(−1/d) of particles, so that each of them
sees ever more others, and its bias ε² is below their sampling error N^(−1/2) in one and two dimensions. For m < 1, where F' grows
in the tails, such particles follow no density that they resolve, and none are offered.
"""

from dataclasses import dataclass
from math import inf, pi
from pathlib import Path
from typing import Annotated, ClassVar

import numpy as np
from msgspec import Meta, Struct
from numpy.typing import NDArray

from gridflow.energy.base import ROUNDOFF, BoundEnergy, Energy, Evaluation, Law, ParticleEnergy, ParticleEvaluation
from gridflow.energy.congestion import Congestion
from gridflow.energy.table import EnergyTable
from gridflow.errors import require
from gridflow.space.factor import Array, Factor
from gridflow.space.grid import Grid
from gridflow.sums.kernels import Gaussian, periods

EMPTY = 1e-150
"""Derivatives that are infinite at density 0 are those at this density: U'' is then a number of the machine for all m, and what
U lacks to be their integral, P(EMPTY), is below round-off for m ≥ 0.1."""
Amplitude = Annotated[float, Meta(gt=0.0)]


class Power(Struct, frozen=True, forbid_unknown_fields=True, tag="power", tag_field="kind"):
    """U = amplitude·ρ^m/(m − 1), m the exponent: ∂ρ/∂t = amplitude·Δρ^m."""

    exponent: Annotated[float, Meta(gt=0.0)]
    amplitude: Amplitude = 1.0

    finite: ClassVar[bool] = True
    largest: ClassVar[float] = inf

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
    largest: ClassVar[float] = inf

    def value(self, density: Array) -> Array:
        return self.amplitude * density * np.log(np.maximum(density, EMPTY))

    def derivative(self, density: Array) -> Array:
        return self.amplitude * (1 + np.log(np.maximum(density, EMPTY)))

    def second(self, density: Array) -> Array:
        return self.amplitude / np.maximum(density, EMPTY)

    def pressure(self, density: Array) -> Array:
        return self.amplitude * density


LawSpec = Power | Entropy | Congestion


class Internal(EnergyTable, frozen=True, forbid_unknown_fields=True, tag="internal", tag_field="kind"):
    """E = ∫U(ρ) dV with a law U. blob : of particles, a length: see above"""

    law: LawSpec
    blob: Annotated[float, Meta(gt=0.0)] = 1.0

    def load(self, directory: Path) -> "InternalEnergy":
        """The energy: it has no files."""
        return InternalEnergy(self.law, self.blob)


@dataclass(frozen=True)
class InternalEnergy(Energy):
    """∫U(ρ) dV."""

    law: LawSpec
    blob: float = 1.0

    def bind(self, grid: Grid) -> "BoundInternal":
        moving = [f for f, m in zip(grid.factors, grid.mobility, strict=True) if f.moves and m.max() > 0]
        check_exponent(self.law, tuple(moving))
        return BoundInternal(grid, self.law)

    def particles(self, factors: tuple[Factor, ...]) -> "Blobs":
        check_exponent(self.law, factors)
        bounded, fix = (
            "particles of an energy that bounds the density",
            "remove [particles]: the exact solution is the comparison",
        )
        require(self.law.finite, bounded, "laws whose U is finite", fix)
        received = f"particles of an internal energy with exponent {self.law.exponent:g}"
        fix = "remove [particles]: the exact solution is the comparison"
        require(self.law.exponent >= 1, received, "at least 1: in tails of fast diffusion no blob resolves the density", fix)
        other = [f.name for f in factors if not f.one_dimensional]
        received = f"particles of an internal energy with the factor {', '.join(other)}"
        require(not other, received, "intervals and circles", "remove [particles]")
        return Blobs(self.law, self.blob, periods(factors))


@dataclass(frozen=True, eq=False)
class BoundInternal(BoundEnergy):
    """∫U(ρ) dV on a grid: Σ V U(ρ) over the cells. local : the law U"""

    grid: Grid
    local: Law

    convex = True
    label = "an internal energy"

    def check_start(self, masses: Array) -> None:
        mass, room = self.grid.sum(masses), self.local.largest * self.grid.sum(self.grid.volume)
        received, fix = f"a mass of {mass:.3g} in room for {room:.3g}", "use a larger energy.law.largest or a larger space"
        require(mass < room, received, "more room than mass: no room is left to move", fix)

    def evaluate(self, mass: Array) -> Evaluation:
        density, volume = mass / self.grid.volume, self.grid.volume
        terms = volume * self.local.value(density)
        return Evaluation(float(terms.sum()), self.local.derivative(density), ROUNDOFF * float(np.abs(terms).sum()))


@dataclass(frozen=True, eq=False)
class Blobs(ParticleEnergy):
    """Σ_i w_i F(c_i) of particles with densities c smoothed by Gaussians. lengths : circumferences of circles, 0 of lines"""

    law: LawSpec
    blob: float
    lengths: Array

    order = 2
    label = "an internal energy"

    def evaluate(self, points: Array, weights: Array, batch: NDArray[np.int64] | None = None) -> ParticleEvaluation:
        dimension = self.lengths.size
        count = np.count_nonzero(weights)
        width = self.blob * float(count) ** (-1 / (dimension + 1))
        kernel, unit = Gaussian(width), (2 * pi * width**2) ** (-dimension / 2)
        density, gradient = kernel.sum_over_pairs(points, points, unit * weights, self.lengths)
        density = np.maximum(density, EMPTY)  # of a particle without mass, far from all others
        share = self.law.pressure(density) / density**2
        if self.law.exponent == 2:  # F' is constant
            around, gradient_around = share * density, share[:, None] * gradient
        else:
            around, gradient_around = kernel.sum_over_pairs(points, points, unit * weights * share, self.lengths)
        per_mass = self.law.value(density) / density
        gradient = share[:, None] * gradient + gradient_around
        return ParticleEvaluation(float(weights @ per_mass), gradient, first_variation=per_mass + around)


def check_exponent(law: LawSpec, moving: tuple[Factor, ...]) -> None:
    """Raises InputError for a power for which mass escapes to infinity in a space of so many dimensions."""
    dimension = sum(f.dimension for f in moving)
    least = max(0.0, 1 - 2 / dimension) if dimension > 0 else 0.0
    received = f"energy.law.exponent = {law.exponent:g} in {dimension} dimensions"
    fix = "use a larger exponent: below, mass escapes to infinity, and walls decide what a box shows"
    require(law.exponent > least, received, f"more than 1 − 2/dimension = {least:g}", fix)
