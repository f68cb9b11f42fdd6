"""What an energy is: immutable model data with `bind(grid)`, and everything that a bound energy may offer.

To add one's own energy write a class with `bind(grid)` that returns an object with `convex` and `evaluate(mass)`, and pass
it to `gridflow.solve(case, energy=…)`. README.md has a complete example. `BoundEnergy` and `ParticleEnergy` declare all optional
members with their defaults; what an object without these base classes leaves out is filled in where it enters, by `bound_to` and
`particles_of`, so that schemes and integrators read plain attributes.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from gridflow.errors import InputError
from gridflow.space.factor import Array, Factor
from gridflow.space.grid import Grid

if TYPE_CHECKING:
    from gridflow.energy.network.data import Data

Records = Mapping[str, tuple[str, str]]
"""(units, long name) by name, of numbers in the dataset."""
NO_RECORDS: Records = MappingProxyType({})
ROUNDOFF = 8 * float(np.finfo(float).eps)
"""Relative error allowed for a sum of many terms: a few times what pairwise summation commits."""
REACH = 7.0
"""Noise is followed so many deviations far: larger displacements have probability 3e−12."""


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


class BoundEnergy:
    """An energy on a grid, with everything computed once that evaluations share. `evaluate` must be given, the rest may be.

    convex : E is convex in ρ (along straight lines): SSP schemes then inherit the energy decrease of an Euler step
    smooth : False where the first variation has kinks
    driven : the flow follows the `drive` of the evaluations instead of ξ
    diagnostics : of the numbers that `diagnose` adds to every save, (units, long name) by name
    data : of a network, for the dataset
    displaces : `displaced` exists; `smoothed` and `displaced` are what noise injection needs (`gridflow.flow.noise_on_grid`)

    `gridflow.energy.BoundSum` has a rule for each of these.
    """

    convex: bool = False
    smooth: bool = True
    driven: bool = False
    diagnostics: Records = NO_RECORDS
    data: "Data | None" = None
    displaces: bool = False

    def evaluate(self, mass: Array) -> Evaluation:
        """Energy of the cell masses ρV, shape of the grid."""
        raise NotImplementedError(f"{type(self).__name__} has no evaluate(mass)")

    def diagnose(self, density: Array, evaluation: Evaluation) -> dict[str, float]:
        """A number for each of the `diagnostics`."""
        return {}

    def check_start(self, masses: Array) -> None:
        """Raises InputError for an initial density, as cell masses, that this energy cannot start from."""

    def smoothed(self, level: float) -> Any:
        """An energy with the first variation of this one, averaged over displacements by noise of the given level."""
        raise InputError("noise injection on a grid with this energy", "an MMD", 'use energy.kind = "mmd"')

    def displaced(self, level: float) -> Any:
        """Moments of ∇ξ at displaced positions, where `displaces`."""
        raise InputError("moments of displaced gradients with this energy", "an MMD", 'use energy.kind = "mmd"')


class Energy(Protocol):
    def bind(self, grid: Grid) -> Any:
        """A `BoundEnergy`, or an object with some of its members."""


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


class ParticleEnergy:
    """An energy for particles. `evaluate` must be given, the rest may be.

    order : power of N in the cost of an evaluation
    strata : the factor each of whose labels needs its exact mass in every cloud, or None
    driven : particles follow the `drive` of the evaluations instead of ξ

    `gridflow.energy.SumParticles` has a rule for each of these.
    """

    order: int = 1
    strata: str | None = None
    driven: bool = False

    def evaluate(self, points: Array, weights: Array, batch: NDArray[np.int64] | None = None) -> ParticleEvaluation:
        """`batch` : indices of data for a stochastic gradient; energies without data ignore it."""
        raise NotImplementedError(f"{type(self).__name__} has no evaluate(points, weights, batch)")

    def check_start(self, points: Array, weights: Array) -> None:
        """Raises InputError for a cloud that this energy cannot start from."""

    def widened(self, reach: float) -> Any:
        """The same energy with `gradient_at` for places so far beyond the walls: what noise injection needs."""
        raise InputError("noise injection for particles of this energy", "an MMD", 'use energy.kind = "mmd"')

    def gradient_at(self, places: Array, points: Array, weights: Array) -> Array:
        """∇ξ of the particles at `points`, in free space at `places`, (n_places, n_factors); of a widened energy."""
        raise InputError("noise injection for particles of this energy", "an MMD", 'use energy.kind = "mmd"')


Base = TypeVar("Base", BoundEnergy, ParticleEnergy)


def members(base: type) -> list[str]:
    """Names that a base class declares: required and optional members of an energy."""
    return [name for name in vars(base) if not name.startswith("_")]


def copied(offered: Any, base: type[Base]) -> Base:
    """An energy with the members of another object, and with the declared defaults for those that it lacks."""
    found = base()
    for name in members(base):
        if hasattr(offered, name):
            setattr(found, name, getattr(offered, name))
    return found


def completed(offered: Any, base: type[Base]) -> Base:
    """The object itself if it is of the base class, else a complete energy of its members."""
    return offered if isinstance(offered, base) else copied(offered, base)


def bound_to(grid: Grid, energy: Energy) -> BoundEnergy:
    """An energy bound to a grid, with every declared member."""
    return completed(energy.bind(grid), BoundEnergy)


def particles_of(energy: Any, factors: tuple[Factor, ...]) -> ParticleEnergy:
    """An energy for particles, with every declared member. Raises InputError for one without `particles(factors)`."""
    if not hasattr(energy, "particles"):
        raise InputError("an energy without particles(factors)", "an energy for particles", "write that method beside bind(grid)")
    return completed(energy.particles(factors), ParticleEnergy)
