"""Flows of pair interactions with exact solutions, on one interval."""

from collections.abc import Callable
from typing import ClassVar

import numpy as np

from gridflow.energy.interaction.interaction import InteractionEnergy
from gridflow.energy.potential import PotentialEnergy, Quadratic
from gridflow.energy.sum import SumEnergy
from gridflow.exact.base import Exact
from gridflow.exact.normals import affine, first_moment, normal_masses, normals
from gridflow.problem import Problem
from gridflow.space.densities import Semicircle
from gridflow.space.factor import Array
from gridflow.sums.laws import Logarithmic, PowerLaw


class QuadraticInteraction(Exact, frozen=True, forbid_unknown_fields=True, tag="quadratic-interaction", tag_field="kind"):
    """W = a|x − y|²/2 and temperature D: the mean m stays, x ↦ m + e^{−at}(x − m), variances go to D/a.

    ξ = a(x − m)²/2 + const, so that the flow is that of Ornstein and Uhlenbeck around the mean.
    """

    needs: ClassVar[str] = "one interval, normal components, an interaction a|x − y|²/2, no mobility or reaction"
    knows: ClassVar[frozenset[str]] = frozenset({"temperature"})

    def solution_of(self, problem: Problem) -> Callable[[float], Array]:
        components, energy = normals(self, problem), self.energy_of(problem, InteractionEnergy)
        self.require(energy.kernel == PowerLaw(attraction=2.0))
        rate, mean = energy.amplitude, first_moment(components)

        def at(t: float) -> Array:
            decay = float(np.exp(-rate * t))
            variance = -problem.flow.temperature / rate * float(np.expm1(-2 * rate * t))
            return normal_masses(affine(components, decay, mean * (1 - decay), variance), problem.grid.factors[0])

        return at


class LogGas(Exact, frozen=True, forbid_unknown_fields=True, tag="log-gas", tag_field="kind"):
    """W = −c log|x − y| and V = k(x − x₀)²/2: a semicircle stays one (Rogers and Shi 1993).

    Around a semicircle of radius R, pv∫ρ(y)/(x − y) dy = 2(x − m)/R². So ṁ = −k(m − x₀) and Ṙ = −kR + 2c/R: with k = c = 1,
    R² = 2 + (R₀² − 2)e^{−2t}.
    """

    needs: ClassVar[str] = "one interval, a semicircle, a quadratic potential and a logarithmic repulsion, nothing else"

    def solution_of(self, problem: Problem) -> Callable[[float], Array]:
        energy = self.energy_of(problem, SumEnergy)
        self.require(len(energy.parts) == 2 and len(problem.initial) == 1 and problem.flow.mobility == {})
        potential, interaction = sorted(energy.parts, key=lambda part: isinstance(part, InteractionEnergy))
        self.require(isinstance(potential, PotentialEnergy) and isinstance(interaction, InteractionEnergy))
        assert isinstance(potential, PotentialEnergy)
        assert isinstance(interaction, InteractionEnergy)
        densities = list(problem.initial[0].density.values())
        terms = list(potential.terms.values())
        self.require(len(densities) == len(terms) == len(problem.grid.factors) == 1)
        start, well, c = densities[0], terms[0], interaction.amplitude
        self.require(isinstance(start, Semicircle) and isinstance(well, Quadratic))
        assert isinstance(start, Semicircle)
        assert isinstance(well, Quadratic)
        kernel = interaction.kernel
        self.require(isinstance(kernel, Logarithmic) and kernel.softening == 0 and well.stiffness > 0 and c > 0)
        k, rest = well.stiffness, 2 * c / well.stiffness

        def at(t: float) -> Array:
            radius = float(np.sqrt(rest + (start.radius**2 - rest) * np.exp(-2 * k * t)))
            centre = well.centre + (start.centre - well.centre) * float(np.exp(-k * t))
            return Semicircle(centre, radius).masses(problem.grid.factors[0])

        return at


InteractionSolution = QuadraticInteraction | LogGas
