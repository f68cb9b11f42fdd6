"""A case made concrete: grid, energy, flow and start, without files and times. Schemes, particles, exact solutions take it."""

from collections.abc import Collection
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from gridflow.energy.base import BoundEnergy, Energy, Evaluation, ParticleEnergy
from gridflow.energy.check import Check, check_on_grid
from gridflow.energy.guard import bound_to, particles_of
from gridflow.energy.own import is_compared, name_of
from gridflow.errors import InputError, SolveError, require
from gridflow.flow.flow import Flow, check_drive, check_terms
from gridflow.flow.gibbs import RECORDS as GIBBS_RECORDS
from gridflow.flow.gibbs import Gibbs
from gridflow.flow.temperature import entropy
from gridflow.flow.term import FlowTerm
from gridflow.space.factor import Array
from gridflow.space.grid import Grid
from gridflow.space.mixture import Component, mixture_masses

DRIVE = "drive"
"""What a scheme `knows` where it moves mass along another potential than ξ, which noise injection and some energies give."""


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
    def terms(self) -> tuple[FlowTerm[Any], ...]:
        """The terms of the flow that act, on the grid."""
        return self.flow.terms(self.grid)

    @cached_property
    def bound(self) -> BoundEnergy:
        """The energy on the grid. Raises InputError for one that the grid does not admit."""
        return bound_to(self.grid, self.energy)

    @cached_property
    def particles(self) -> ParticleEnergy:
        """The energy at particles. Raises InputError for one without them."""
        return particles_of(self.energy, self.grid.factors)

    @cached_property
    def start(self) -> Array:
        """Cell masses of the initial density, shape of the grid. Raises InputError for one that does not fit the grid."""
        return mixture_masses(list(self.initial), self.grid, self.directory, "initial")

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
        """Whether the free energy never increases along the exact flow."""
        return not self.driven and all(term.lowers_energy for term in self.terms)

    @property
    def lowers_energy_of_particles(self) -> bool:
        """Whether the energy of particles never increases but for errors in time: E alone, without entropy, and without noise."""
        return all(term.lowers_energy and not term.diffuses for term in self.terms)

    @cached_property
    def gibbs(self) -> Gibbs | None:
        """The Gibbs density of a temperature, which a flow that ξ drives tends to; else None."""
        grid, temperature = self.grid, self.flow.temperature
        grows = any(term.weighs for term in self.terms)  # mass comes and goes everywhere
        moves = [grows or (f.moves and float(m.max()) > 0) for f, m in zip(grid.factors, grid.mobility, strict=True)]
        axes = tuple(axis for axis, move in enumerate(moves) if move)
        return Gibbs(grid, temperature, axes) if temperature > 0 and axes and not self.driven else None

    @property
    def diagnostics(self) -> tuple[str, ...]:
        """Names of what `diagnose` gives: numbers of the energy, and of the Gibbs density."""
        return (*self.bound.diagnostics, *(() if self.gibbs is None else GIBBS_RECORDS))

    def diagnose(self, density: Array, evaluation: Evaluation) -> dict[str, float]:
        """A number for each of the `diagnostics`. Raises InputError for an energy that gives others than it declares."""
        found, declared = self.bound.diagnose(density, evaluation) if self.bound.diagnostics else {}, self.bound.diagnostics
        received = f"diagnostics {sorted(found)} of an energy that declares {sorted(declared)}"
        require(set(found) == set(declared), received, "the declared ones", "return a number for each of them from diagnose")
        return found | ({} if self.gibbs is None else self.gibbs.numbers(density, evaluation.first_variation))

    def check(self, knows: Collection[str], what: str, fix: str) -> None:
        """Raises InputError for a part of the problem that a scheme does not know."""
        check_terms(self.terms, knows, what, fix)
        check_drive(self.driven, self.terms)
        if self.bound.driven and DRIVE not in knows:
            raise InputError(f"{what} with a flow that ξ does not drive", "gradient flows", fix)

    def check_start(self) -> None:
        """Raises InputError for an initial density, an energy or a pair of them that the grid does not admit."""
        start = self.start
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
        return finite(self.bound.evaluate_density(density, self.grid.volume))

    def free_energy(self, density: Array, evaluation: Evaluation) -> tuple[float, float]:
        """(E + D∫ρ log ρ dV, bound on its round-off)."""
        temperature = self.flow.temperature
        if temperature == 0:
            return evaluation.value, evaluation.roundoff
        value, roundoff = entropy(density, self.grid.volume)
        return evaluation.value + temperature * value, evaluation.roundoff + temperature * roundoff


def finite(evaluation: Evaluation) -> Evaluation:
    """The evaluation itself. Raises SolveError if the energy, or the square of what moves the mass, is not finite."""
    if not np.isfinite(evaluation.value + np.vdot(evaluation.potential, evaluation.potential)):  # quicker than their sum
        raise SolveError(f"non-finite energy ({evaluation.value}) or first variation")
    return evaluation
