"""A case made concrete: grid, energy, flow and start, without files and times. Schemes, particles, exact solutions take it."""

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from gridflow.energy.base import BoundEnergy, Energy, Evaluation, ParticleEnergy
from gridflow.energy.check import Check, check_on_grid
from gridflow.energy.guard import bound_to, particles_of
from gridflow.energy.own import is_compared, is_own, name_of
from gridflow.errors import InputError, SolveError, require
from gridflow.flow.flow import Flow, check_drive, check_terms
from gridflow.flow.gibbs import RECORDS as GIBBS_RECORDS
from gridflow.flow.gibbs import Gibbs
from gridflow.flow.temperature import entropy
from gridflow.flow.term import FlowTerm
from gridflow.space.factor import Array
from gridflow.space.grid import Grid
from gridflow.space.mixture import Component, start_masses

START_MASS_ERROR = 1e-9
"""Of a result whose numbers are those of a run; its mass is 1 to 1e−12."""
DRIVE = "drive"
"""What a scheme `knows` where it moves mass along another potential than ξ, which noise injection and some energies give."""


@contextmanager
def within_numbers(what: str) -> Iterator[None]:
    """Raises InputError where the numbers of a case overflow, instead of warnings and values that are not finite."""
    try:
        with np.errstate(over="raise", invalid="raise", divide="raise"):
            yield
    except FloatingPointError as error:
        allowed = "numbers whose squares and products stay between 1e-308 and 1e308"
        raise InputError(f"{what}: {error}", allowed, "use less extreme numbers, in other units for example") from None


TEMPERATURE = "temperature"
"""The record of every save of a flow that is annealed."""


class FreeEnergy(NamedTuple):
    """value : E + D∫ρ log ρ dV; roundoff : a bound on its own; entropy : ∫ρ log ρ dV, 0 where there is no temperature."""

    value: float
    roundoff: float
    entropy: float


@dataclass(frozen=True)
class Problem:
    """∂ρ/∂t = div(ρ M grad ξ) + the terms of `flow`, from an initial density.

    grid : the space with its mobilities M
    energy : E, with ξ = δE/δρ on the grid and at particles
    flow : the other terms, as data
    initial : components of the initial density; directory : where their files are
    """

    grid: Grid
    energy: Energy
    flow: Flow = field(default_factory=Flow)
    initial: tuple[Component, ...] = ()
    directory: Path = Path()

    def __repr__(self) -> str:
        grid = " × ".join(f"{f.name} {f.size}" for f in self.grid.factors)
        return f"<Problem: {type(self.energy).__name__} on {grid} cells>"

    @cached_property
    def temperature(self) -> float:
        """D; of the start where the flow is annealed."""
        return self.flow.temperature

    @property
    def annealed(self) -> bool:
        """Whether the temperature falls."""
        return self.flow.annealing is not None

    def at(self, temperature: float) -> "Problem":
        """The problem with a temperature that stands still; it shares all else."""
        if temperature == self.temperature:
            return self
        other = copy(self)
        vars(other).pop("gibbs", None)
        vars(other).update(temperature=temperature, terms=tuple(term.at(temperature) for term in self.terms))
        return other

    def at_time(self, time: float) -> "Problem":
        """The problem with the temperature of a time, for what a save records."""
        return self.at(self.flow.temperature_at(time))

    @cached_property
    def terms(self) -> tuple[FlowTerm[Any], ...]:
        """The terms of the flow that act, on the grid."""
        with within_numbers("the flow on this space"):
            return self.flow.terms(self.grid)

    @cached_property
    def has_own_energy(self) -> bool:
        """Whether the energy, or what is passed as one, is not of gridflow alone: its warnings are the affair of its author."""
        return not isinstance(self.energy, Energy) or is_own(self.energy)

    @cached_property
    def bound(self) -> BoundEnergy:
        """The energy on the grid. Raises InputError for one that the grid does not admit."""
        if self.has_own_energy:
            return bound_to(self.grid, self.energy)
        with within_numbers("the energy on this space"):
            return bound_to(self.grid, self.energy)

    @cached_property
    def particles(self) -> ParticleEnergy:
        """The energy at particles. Raises InputError for one without them."""
        return particles_of(self.energy, self.grid.factors)

    @cached_property
    def start(self) -> Array:
        """Cell masses of the initial density, shape of the grid. Raises InputError for one that does not fit the grid."""
        with within_numbers("the initial density on this space"):
            return start_masses(list(self.initial), self.grid, self.directory)

    @property
    def driven(self) -> bool:
        """Whether something else than ξ moves the mass."""
        return self.bound.driven or any(term.drives for term in self.terms)

    @property
    def keeps_mass(self) -> bool:
        """Whether every term of the flow conserves the mass."""
        return all(term.keeps_mass for term in self.terms)

    @property
    def lowers_energy(self) -> bool:
        """Whether the free energy never increases along the exact flow, at a temperature that stands still."""
        return not self.driven and all(term.lowers_energy for term in self.terms)

    @property
    def lowers_energy_of_particles(self) -> bool:
        """Whether the energy of particles never increases but for errors in time: E alone, without entropy, and without noise."""
        return all(term.lowers_energy and not term.diffuses for term in self.terms)

    @cached_property
    def gibbs(self) -> Gibbs | None:
        """The Gibbs density of a temperature, which a flow that ξ drives tends to; else None."""
        grid, temperature = self.grid, self.temperature
        grows = any(term.weighs for term in self.terms)  # mass comes and goes everywhere
        moves = [grows or (f.moves and float(m.max()) > 0) for f, m in zip(grid.factors, grid.whole.mobility, strict=True)]
        axes = tuple(axis for axis, move in enumerate(moves) if move)
        return Gibbs(grid, temperature, axes) if temperature > 0 and axes and not self.driven else None

    @property
    def diagnostics(self) -> tuple[str, ...]:
        """Names of what `diagnose` gives: numbers of the energy, of the Gibbs density, and the temperature where it falls."""
        gibbs = () if self.gibbs is None else GIBBS_RECORDS
        return (*self.bound.diagnostics, *gibbs, *((TEMPERATURE,) if self.annealed else ()))

    def diagnose(self, density: Array, evaluation: Evaluation) -> dict[str, float]:
        """A number for each of the `diagnostics`. Raises InputError for an energy that gives others than it declares."""
        found, declared = self.bound.diagnose(density, evaluation) if self.bound.diagnostics else {}, self.bound.diagnostics
        received = f"diagnostics {sorted(found)} of an energy that declares {sorted(declared)}"
        require(set(found) == set(declared), received, "the declared ones", "return a number for each of them from diagnose")
        found = found | ({} if self.gibbs is None else self.gibbs.numbers(density, evaluation.first_variation))
        return found | ({TEMPERATURE: self.temperature} if self.annealed else {})

    def check(self, knows: Collection[str], what: str, fix: str) -> None:
        """Raises InputError for a part of the problem that a scheme does not know."""
        check_terms(self.terms, knows, what, fix)
        check_drive(self.driven, self.terms)
        if self.bound.driven and DRIVE not in knows:
            raise InputError(f"{what} with a flow that ξ does not drive", "gradient flows", fix)

    def check_start(self) -> None:
        """Raises InputError for an initial density, an energy or a pair of them that the grid does not admit."""
        start = self.start
        mass = self.grid.sum(start)  # of a result that a reaction has changed
        fix = "start from a result of a flow that keeps its mass, or add flow.reaction"
        kept = not self.keeps_mass or abs(mass - 1) <= START_MASS_ERROR
        require(kept, f"initial: a density of mass {mass:.6g}", "mass 1 where no reaction changes it", fix)
        self.bound.check_start(start)

    def check_energy(self) -> Check | None:
        """Compares the numbers of an energy of one's own at the start; None for energies of gridflow.

        Raises InputError where they do not belong together (`gridflow.energy.check`).
        """
        if not is_compared(self.energy):
            return None
        return check_on_grid(name_of(self.energy), self.bound, self.grid, self.start, self.keeps_mass)

    def evaluate(self, density: Array) -> Evaluation:
        """The energy at a density. Raises SolveError if it is not finite."""
        if self.has_own_energy:
            return self.finite(self.bound.evaluate_density(density, self.grid.volume))
        seen: Literal["raise", "ignore"] = "raise" if self.grid.alone else "ignore"  # by one rank, for which others would wait
        try:
            with np.errstate(over=seen, invalid=seen):
                return self.finite(self.bound.evaluate_density(density, self.grid.volume))
        except FloatingPointError as error:
            raise SolveError(f"the energy is not finite: {error}") from None

    def finite(self, evaluation: Evaluation) -> Evaluation:
        """The evaluation itself. Raises SolveError if the energy, or the square of what moves the mass, is not finite."""
        square = np.vdot(evaluation.potential, evaluation.potential)  # quicker than a sum
        if not np.isfinite(evaluation.value + self.grid.total(square)):
            raise SolveError(
                f"non-finite energy ({evaluation.value}) or first variation: the last finite state is kept; end before with"
                " time.stop, narrow the bounds of the space to where they are finite, or correct an energy of your own"
            )
        return evaluation

    def free_energy(self, density: Array, evaluation: Evaluation) -> FreeEnergy:
        """Of a density where the energy has been evaluated."""
        if self.temperature == 0:
            return FreeEnergy(evaluation.value, evaluation.roundoff, 0.0)
        value, roundoff = self.grid.total(np.array(entropy(density, self.grid.volume))).tolist()
        total = evaluation.value + self.temperature * value
        return FreeEnergy(total, evaluation.roundoff + self.temperature * roundoff, value)
