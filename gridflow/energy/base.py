"""What an energy is: immutable model data with `bind(grid)` for schemes and `particles(factors)` for integrators.

An energy of one's own derives from `Energy`, what its `bind` returns from `BoundEnergy`, and what its `particles` returns from
`ParticleEnergy`; it is passed to `gridflow.solve(case, energy=…)`. README.md has a complete example. The base classes declare
every member that schemes, integrators and sums of energies read, with its default.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from gridflow.energy.network.data import Data
from gridflow.errors import InputError
from gridflow.space.factor import Array, Factor
from gridflow.space.grid import Grid

Records = Mapping[str, tuple[str, str]]
"""(units, long name) by name, of numbers in the dataset."""
NO_RECORDS: Records = MappingProxyType({})
Variation = Callable[[Array], Array]
"""Cell masses ↦ a first variation, both of the shape of the grid."""
Moments = Callable[[Array], tuple[list[Array], Array]]
"""Cell masses ↦ (E ∂ξ along every factor that moves, E|∇ξ|²) at the cells."""
ROUNDOFF = 8 * float(np.finfo(float).eps)
"""Relative error allowed for a sum of many terms: a few times what pairwise summation commits."""
REACH = 7.0
"""Normal densities, of noise too, are followed so many deviations far: 3e−12 of them is beyond."""


@dataclass(frozen=True)
class Evaluation:
    """An energy at one density.

    value : E(ρ); first_variation : ξ = δE/δρ at the cell points, contiguous, shape of the grid;
    roundoff : bound on the floating-point error of `value`: what "does not increase" means in practice;
    prediction : (n_data, n_outputs) for networks, else None, or where `BoundEnergy.predict` computes it;
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


class Law(Protocol):
    """U of an internal energy ∫U(ρ) dV: convex, all of its methods elementwise on densities ρ ≥ 0, of any shape.

    finite : U and U' are finite for every ρ > 0; schemes that need no more than proximal steps of U admit others;
    largest : the density up to which they are.
    At ρ = 0, where U' may be −∞, derivatives are large numbers instead.
    """

    @property
    def finite(self) -> bool:
        """See above."""

    @property
    def largest(self) -> float:
        """See above."""

    def value(self, density: Array) -> Array:
        """U(ρ)."""

    def derivative(self, density: Array) -> Array:
        """U'(ρ), the part of ξ."""

    def second(self, density: Array) -> Array:
        """U''(ρ) ≥ 0."""

    def pressure(self, density: Array) -> Array:
        """P = ρU' − U, so that ∂ρ/∂t = div(M grad P)."""


class BoundEnergy(ABC):
    """An energy on a grid, with all that evaluations share. `evaluate` must be given, the rest may be.

    convex : E is convex in ρ (along straight lines): SSP schemes then inherit the energy decrease of an Euler step
    linear : ξ does not depend on ρ
    smooth : False where the first variation has kinks
    driven : the flow follows the `drive` of the evaluations instead of ξ
    diagnostics : of the numbers that `diagnose` adds to every save, (units, long name) by name
    data : of a network, for the dataset
    attributes : of the dataset, text by name
    has_displacement_moments : whether `displacement_moments` is given
    label : what messages call the energy
    slabs : whether it binds to slabs of a grid, whose sums are those of all (`gridflow.slabs`)
    local : the law U where a part of the energy is ∫U(ρ) dV: U'(ρ) is then a part of ξ, and ξ − U'(ρ) the rest

    A new field needs a rule in `gridflow.energy.sum.BOUND_RULES`.
    """

    convex: bool = False
    linear: bool = False
    smooth: bool = True
    driven: bool = False
    diagnostics: Records = NO_RECORDS
    data: Data | None = None
    attributes: Mapping[str, str] = MappingProxyType({})
    has_displacement_moments: bool = False
    label: str = "this energy"
    slabs: bool = False
    local: Law | None = None

    def __init_subclass__(cls) -> None:
        """A class that overrides `evaluate` alone is evaluated by that, whatever its base has beside it."""
        super().__init_subclass__()
        if "evaluate" in vars(cls) and "evaluate_density" not in vars(cls):
            cls.evaluate_density = BoundEnergy.evaluate_density  # type: ignore[method-assign]

    @abstractmethod
    def evaluate(self, mass: Array) -> Evaluation:
        """Energy of the cell masses ρV, shape of the grid."""

    def evaluate_density(self, density: Array, volume: Array) -> Evaluation:
        """The same of a density, cells of this volume; energies that need no array of masses save its making."""
        return self.evaluate(density * volume)

    def diagnose(self, density: Array, evaluation: Evaluation) -> dict[str, float]:
        """A number for each of the `diagnostics`."""
        return {}

    def predict(self, mass: Array) -> Array | None:
        """The prediction of cell masses, (n_data, n_outputs), for energies whose evaluations leave it out; else None."""
        return None

    def predict_at(self, inputs: Array, mass: Array) -> Array | None:
        """The prediction of cell masses at other inputs (n_inputs, n_dim), scaled as the data are: (n_inputs, n_outputs)."""
        return None

    def check_start(self, masses: Array) -> None:  # noqa: B027 - optional
        """Raises InputError for an initial density, as cell masses, that this energy cannot start from."""

    def smooth_variation(self, level: float) -> Variation:
        """ξ averaged over displacements by noise of the given level (`gridflow.flow.noise_on_grid`)."""
        raise noise_refusal(self.label)

    def displacement_moments(self, level: float) -> Moments:
        """Moments of ∇ξ over such displacements, where the energy has them."""
        raise noise_refusal(self.label)


def prediction_of(bound: BoundEnergy, mass: Array, evaluation: Evaluation) -> Array | None:
    """The prediction of cell masses, (n_data, n_outputs), with their evaluation at hand; None for energies without data."""
    return bound.predict(mass) if evaluation.prediction is None else evaluation.prediction


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


class ParticleEnergy(ABC):
    """An energy for particles. `evaluate` must be given, the rest may be.

    order : power of N in the cost of an evaluation
    strata : the factor each of whose labels needs its exact mass in every cloud, or None
    driven : particles follow the `drive` of the evaluations instead of ξ
    attributes : of the dataset of a verdict, text by name
    label : what messages call the energy

    A new field needs a rule in `gridflow.energy.sum.PARTICLE_RULES`.
    """

    order: int = 1
    strata: str | None = None
    driven: bool = False
    attributes: Mapping[str, str] = MappingProxyType({})
    label: str = "this energy"

    @abstractmethod
    def evaluate(self, points: Array, weights: Array, batch: NDArray[np.int64] | None = None) -> ParticleEvaluation:
        """Energy of particles at points (n_particles, n_columns) with weights (n_particles,).

        batch : indices of data for a stochastic gradient; energies without data ignore it
        """

    def check_start(self, points: Array, weights: Array) -> None:  # noqa: B027 - optional
        """Raises InputError for a cloud that this energy cannot start from."""

    def refined(self) -> "ParticleEnergy":
        """The same energy with kernels mollified on half the length: itself where none is."""
        return self

    def extend(self, reach: float) -> "ParticleEnergy":
        """The same energy with `gradient_at` for places so far beyond the walls: what noise injection needs."""
        raise noise_refusal(self.label)

    def gradient_at(self, places: Array, points: Array, weights: Array) -> Array:
        """∇ξ of the particles at `points`, in free space at `places`, (n_places, n_factors); of an extended energy."""
        raise noise_refusal(self.label)


class Energy(ABC):
    """Immutable model data of an energy.

    summands : of a sum; compared : whether runs compare the numbers of an energy of one's own with each other
    (`gridflow.energy.check`). False for one whose ξ is known not to be the derivative of its value, as an estimate by chance;
    slabs : whether it can be bound to slabs of a grid, as its `BoundEnergy` then says of the grid at hand
    """

    summands: tuple["Energy", ...] = ()
    compared: bool = True
    slabs: bool = False

    @abstractmethod
    def bind(self, grid: Grid) -> BoundEnergy:
        """The energy on a grid. Raises InputError for a grid that it does not fit."""

    def particles(self, factors: tuple[Factor, ...]) -> ParticleEnergy:
        """The energy for particles in a product of factors. Raises InputError for factors that it does not fit."""
        raise InputError("an energy without particles(factors)", "an energy for particles", "write that method beside bind(grid)")


def noise_refusal(label: str) -> InputError:
    """The error of an energy whose first variation at displaced positions is not available."""
    return InputError(f"noise injection for {label}", "an MMD alone", 'use energy.kind = "mmd"')
