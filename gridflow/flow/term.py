"""The contract of a flow term: what a flow may have beside the transport by the first variation, on a grid and at particles.

    ∂ρ/∂t = div(ρ M grad ξ) + Σ terms

On a grid a term that `splits` moves the density by itself, half a step before the transport and half a step after it (Strang
splitting; all terms together are a palindrome). At particles a term adds to their diffusivity, or to the growth of their
weights. Everything else about a term is declared below, with defaults for a term that does nothing.

To add a term: a class in a module of its own, its field in `gridflow.flow.flow.Flow` and its line in `TERMS` there, and, for
schemes that list keys instead of admitting every term, its key in their `knows`.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import dataclass
from typing import ClassVar, Generic, Protocol, Self, TypeVar

import numpy as np

from gridflow.energy.base import Evaluation, ParticleEnergy
from gridflow.space.factor import Array
from gridflow.space.grid import Grid

Spec = TypeVar("Spec")


class Point:
    """A density and the energy there, evaluated when it is first asked for."""

    def __init__(self, density: Array, evaluate: Callable[[Array], Evaluation], evaluation: Evaluation | None = None) -> None:
        self.density, self.evaluate, self.known = density, evaluate, evaluation

    @property
    def evaluation(self) -> Evaluation:
        """The energy at the density."""
        if self.known is None:
            self.known = self.evaluate(self.density)
        return self.known


@dataclass(frozen=True)
class Advance:
    """density : after the term, or None where the step was too long; limit : on the whole step of which this was a half."""

    density: Array | None
    limit: float = np.inf


class SplitStep(Protocol):
    """What a scheme needs of a part of a step that it splits off: see the methods of `FlowTerm`."""

    def advance(self, point: Point, time: float) -> Advance:
        """The density after `time`, which is half of a step."""

    def change(self, before: Evaluation, after: Evaluation, density: Array, carried: float) -> float | None:
        """How much the part itself changes over a step."""


def half_steps(point: Point, parts: Sequence[SplitStep], time: float) -> tuple[list[Point] | None, float]:
    """(the point and those after each of the parts, or None where one is too long; limit on the whole step)."""
    points, limit = [point], np.inf
    for part in parts:
        advance = part.advance(points[-1], time)
        limit = min(limit, advance.limit)
        if advance.density is None:
            return None, limit
        points.append(Point(advance.density, point.evaluate))
    return points, limit


class FlowTerm(ABC, Generic[Spec]):
    """A term of a flow on a grid.

    key : its name under [flow]; spec : what stands there
    temperature : D of the whole flow, which adds D∫ρ log ρ to the energy; of its start where it is annealed
    keeps_mass, lowers_energy : whether it conserves the mass, and never increases the free energy
    drives : mass moves along the gradient of something else than ξ, which `gridflow.flow.noise_on_grid` computes; of noise alone
    splits : `advance` moves a density; fits : unless a scheme takes the term into its fluxes
    weighs : it changes the weights of particles, and follows ξ there
    slabs : it acts on slabs of a grid (`gridflow.slabs`)
    diffuses : it smooths a density (steps are dyadic where it is split off) and moves particles by noise
    """

    key: ClassVar[str]
    keeps_mass: bool = True
    lowers_energy: bool = True
    drives: bool = False
    splits: bool = False
    fits: bool = False
    weighs: bool = False
    slabs: bool = False
    diffuses: bool = False

    def __init_subclass__(cls) -> None:
        """A term without its key, or without what it declares, is a TypeError where it is defined."""
        missing = [] if any("key" in vars(base) for base in cls.__mro__) else ["key"]
        missing += ["advance"] if cls.splits and cls.advance is FlowTerm.advance else []
        missing += ["growth"] if cls.weighs and cls.growth is FlowTerm.growth else []
        if missing:
            raise TypeError(f"{cls.__name__} lacks {', '.join(missing)}")

    def __init__(self, spec: Spec, temperature: float, grid: Grid) -> None:
        self.spec, self.temperature, self.grid = spec, temperature, grid

    def at(self, temperature: float) -> Self:
        """The same in a flow of another temperature."""
        other = copy(self)
        other.temperature = temperature
        return other

    @property
    @abstractmethod
    def acts(self) -> bool:
        """Whether the flow has this term at all."""

    @property
    def stated(self) -> str:
        """The term as a case states it, for messages."""
        return f"flow.{self.key}"

    # ------------------------------------------------------------------------------------------------------ on a grid
    def advance(self, point: Point, time: float) -> Advance:
        """The density after `time`, which is half of a step."""
        raise NotImplementedError

    def diffusion_rates(self) -> list[float] | None:
        """D_k of every factor where Σ_k D_k ∂²ρ/∂θ_k² is all that the term does: a scheme may have its own step for it."""
        return None

    def change(self, before: Evaluation, after: Evaluation, density: Array, carried: float) -> float | None:
        """How much the term itself changes over a step, `carried` of it by the transport; None for one that does not change."""
        return None

    def dissipation(self, density: Array, xi: Array) -> float:
        """What the term adds to the rate at which the free energy falls."""
        return 0.0

    def response(self, density: Array, potential: Array) -> Array | None:
        """∂ρ/∂t by this term were `potential` the first variation, or None for a term that does not depend on ξ."""
        return None

    # --------------------------------------------------------------------------------------------------- at particles
    def at_particles(self, energy: ParticleEnergy) -> ParticleEnergy:
        """The energy as this term needs it at particles."""
        return energy

    def diffusivity(self, mobility: Array) -> Array | float:
        """D of the noise √(2D dt) of every coordinate, at particles with the given mobility: broadcasts to (n, n_columns)."""
        return 0.0

    def growth(self, xi: Array, weights: Array) -> Array:
        """Rate of the logarithms of the weights, (n_particles,), of a term that `weighs`."""
        raise NotImplementedError


def steps_at(steps: Sequence[SplitStep], temperature: float) -> list[SplitStep]:
    """Parts of a step in a flow of another temperature: of them only terms of the flow depend on it."""
    return [step.at(temperature) if isinstance(step, FlowTerm) else step for step in steps]
