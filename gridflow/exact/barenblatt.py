"""Porous media and fast diffusion from Barenblatt's densities, free and in a quadratic potential."""

from collections.abc import Callable, Iterable
from typing import ClassVar

import numpy as np

from gridflow.energy.base import Energy
from gridflow.energy.internal import InternalEnergy, Power
from gridflow.energy.potential import PotentialEnergy, Quadratic
from gridflow.energy.sum import SumEnergy
from gridflow.exact.base import Exact
from gridflow.problem import Problem
from gridflow.space.factor import Array, Factor
from gridflow.space.radial import Barenblatt


class SelfSimilar(Exact, frozen=True, forbid_unknown_fields=True, tag="barenblatt", tag_field="kind"):
    """∂ρ/∂t = a Δρ^m + div(ρ κ(x − c)) from a Barenblatt density of time s₀: it stays one, of the time s(t).

    Without potential s = s₀ + at. With V = κ|x − c|²/2 let ρ = e^{dκt} u(e^{κt}x, τ), c = 0: then ∂u/∂τ = Δu^m with
    τ̇ = a e^{βκt}, β = d(m − 1) + 2, and the width of u grows like τ^{1/β}, so that

        s = e^{−βκt} τ = s_∞ + (s₀ − s_∞) e^{−βκt},   s_∞ = a/(βκ),

    while a centre beside c approaches it like e^{−κt}: the rate of the flow in W2 (Otto 2001), s_∞ its stationary density. It is
    one of the whole space, and refused at times when the walls cut off mass.
    """

    needs: ClassVar[str] = (
        "intervals; one joint Barenblatt density, an internal energy with a power law of its exponent, alone or with quadratic"
        " potentials of one stiffness along every factor and nothing beside them; no mobility, temperature, reaction"
    )

    def solution_of(self, problem: Problem) -> Callable[[float], Array]:
        density, factors = self.densities(problem), problem.grid.factors

        def at(t: float) -> Array:
            self.require_inside(mass_beyond(density(t), factors), t)
            masses = density(t).masses(factors)
            return masses / masses.sum()

        return at

    def check(self, problem: Problem, times: Iterable[float]) -> None:
        density = self.densities(problem)
        for t in times:
            self.require_inside(mass_beyond(density(t), problem.grid.factors), t)

    def densities(self, problem: Problem) -> Callable[[float], Barenblatt]:
        """t ↦ the density on the whole space."""
        self.require(problem.flow.mobility == {} and len(problem.initial) == 1)
        start, factors = problem.initial[0].joint, problem.grid.factors
        self.require(start is not None)
        assert start is not None
        law, stiffness, centre = self.law_and_potential(problem)
        self.require(law.exponent == start.exponent)
        rate = (len(factors) * (law.exponent - 1) + 2) * stiffness

        def at(t: float) -> Barenblatt:
            grown = law.amplitude * (t if rate == 0 else -float(np.expm1(-rate * t)) / rate)
            decay = float(np.exp(-stiffness * t))
            places = {name: c + (start.centre.get(name, 0.0) - c) * decay for name, c in centre.items()}
            return Barenblatt(law.exponent, start.time * float(np.exp(-rate * t)) + grown, places)

        return at

    def law_and_potential(self, problem: Problem) -> tuple[Power, float, dict[str, float]]:
        """The law, the stiffness, and its centre by factor; where there is no potential 0 and the centre of the start."""
        energy, names = problem.energy, problem.grid.order
        parts: tuple[Energy, ...] = energy.parts if isinstance(energy, SumEnergy) else (energy,)
        laws = [part.law for part in parts if isinstance(part, InternalEnergy) and isinstance(part.law, Power)]
        potentials = [part for part in parts if isinstance(part, PotentialEnergy)]
        self.require(len(laws) == 1 and len(laws) + len(potentials) == len(parts) and len(potentials) <= 1)
        if not potentials:
            return laws[0], 0.0, dict.fromkeys(names, 0.0)
        terms = {name: term for name, term in potentials[0].terms.items() if isinstance(term, Quadratic)}
        stiffness = {term.stiffness for term in terms.values()}
        self.require(not potentials[0].parts)
        self.require(len(potentials[0].terms) == len(terms) == len(names) and len(stiffness) == 1 and min(stiffness) > 0)
        return laws[0], min(stiffness), {name: term.centre for name, term in terms.items()}


def mass_beyond(density: Barenblatt, factors: tuple[Factor, ...]) -> float:
    """Mass beyond the walls, summed over the factors."""
    return sum(1 - float(density.marginal(factor, factors).masses(factor).sum()) for factor in factors)


BarenblattSolution = SelfSimilar
