"""What an energy is: immutable model data with `bind(grid)`, and what a bound energy answers.

To add one's own energy write a class with `bind(grid)` that returns an object with `convex` and `evaluate(mass)`, and pass
it to `gridflow.solve(case, energy=…)`. README.md has a complete example.
"""

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from gridflow.space.factor import Array
from gridflow.space.grid import Grid

ROUNDOFF = 8 * float(np.finfo(float).eps)
"""Relative error allowed for a sum of many terms: a few times what pairwise summation commits."""


@dataclass(frozen=True)
class Evaluation:
    """An energy at one density.

    value : E(ρ); first_variation : ξ = δE/δρ at the cell points, contiguous, shape of the grid;
    roundoff : bound on the floating-point error of `value`: what "does not increase" means in practice;
    prediction : (n_data, n_outputs) for networks, else None;
    drive : the potential that moves the mass, v = −M grad drive, where it is not ξ; diffusivity : of a diffusion beside it.
    """

    value: float
    first_variation: Array
    roundoff: float
    prediction: Array | None = None
    drive: Array | None = None
    diffusivity: Array | None = None

    @property
    def potential(self) -> Array:
        """What moves the mass."""
        return self.first_variation if self.drive is None else self.drive


class BoundEnergy(Protocol):
    """An energy on a grid, with everything computed once that evaluations share.

    An energy whose first variation has kinks says so by an attribute `smooth = False`; the default is True. One that tells more
    at every save has `diagnostics`, some of the names in `gridflow.schema.DIAGNOSTICS`, and `diagnose(density, evaluation)`,
    which returns a number for each. One whose flow follows the `drive` of its evaluations instead of ξ has `driven = True`. One
    that knows unfit initial densities has `check_start(masses)`, which raises InputError.
    """

    @property
    def convex(self) -> bool:
        """E is convex in ρ (along straight lines): SSP schemes then inherit the energy decrease of an Euler step."""

    def evaluate(self, mass: Array) -> Evaluation:
        """Energy of the cell masses ρV, shape of the grid."""


def diagnostics_of(energy: BoundEnergy) -> tuple[str, ...]:
    """Names of the numbers that a bound energy adds to every save."""
    return getattr(energy, "diagnostics", ())


def is_driven(energy: BoundEnergy) -> bool:
    """Whether the flow of an energy follows a potential other than its first variation."""
    return bool(getattr(energy, "driven", False))


def check_start(energy: Any, *state: Array) -> None:
    """Ask an energy, or the parts of a sum, whether a run may start: from the masses of cells, or from points and weights."""
    for part in getattr(energy, "parts", [energy]):
        getattr(part, "check_start", lambda *_: None)(*state)


class Energy(Protocol):
    def bind(self, grid: Grid) -> BoundEnergy: ...


@dataclass(frozen=True)
class ParticleEvaluation:
    """An energy at weighted particles.

    value : E of the empirical measure; gradient : grad ξ at the particles, (n_particles, n_factors), 0 along labels;
    prediction : (n_data, n_outputs) for networks, else None;
    first_variation : ξ at the particles, (n_particles,), which is ∂E/∂w_i; only reaction flows need it;
    drive : gradient of the potential that moves the particles, where it is not ξ, (n_particles, n_factors).
    """

    value: float
    gradient: Array
    prediction: Array | None = None
    first_variation: Array | None = None
    drive: Array | None = None


class ParticleEnergy(Protocol):
    """An energy for particles. `batch` are indices of data for a stochastic gradient; energies without data ignore it.

    An energy whose evaluation costs O(N²) says so by an attribute `order = 2`; the default is 1. One that needs the exact mass of
    every label names their factor as `strata`; `check_start(points, weights)` is that of bound energies. One that knows noise
    injection has `widened(reach)`, which returns an energy with `gradient_at(places, points, weights)`: see `MMDParticles`.
    """

    def evaluate(self, points: Array, weights: Array, batch: NDArray[np.int64] | None = None) -> ParticleEvaluation: ...
