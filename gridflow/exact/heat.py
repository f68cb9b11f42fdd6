"""The heat equation from one eigenfunction."""

from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np

from gridflow.energy.potential import PotentialEnergy
from gridflow.exact.base import Exact
from gridflow.problem import Problem
from gridflow.space.densities import Cosine
from gridflow.space.densities_on_surfaces import Harmonic
from gridflow.space.factor import Array


class Heat(Exact, frozen=True, forbid_unknown_fields=True, tag="heat", tag_field="kind"):
    """No energy, temperature D, one cosine or spherical harmonic: it decays by exp(−D k² t), k² = l(l + 1) on the sphere."""

    needs: ClassVar[str] = "one factor, no labels; one cosine or harmonic; a potential without terms; no mobility, reaction"
    knows: ClassVar[frozenset[str]] = frozenset({"temperature"})

    def solution_of(self, problem: Problem) -> Callable[[float], Array]:
        self.require(problem.flow.mobility == {})
        energy = self.energy_of(problem, PotentialEnergy)
        self.require(not energy.terms and not energy.parts)
        self.require(len(problem.initial) == len(problem.grid.factors) == 1)
        density: Any = next(iter(problem.initial[0].density.values()), None)
        self.require(isinstance(density, Cosine | Harmonic))
        factor = problem.grid.factors[0]
        harmonic = isinstance(density, Harmonic)
        square = density.degree * (density.degree + 1) if harmonic else density.frequency(factor) ** 2

        def at(t: float) -> Array:
            amplitude = density.amplitude * float(np.exp(-problem.flow.temperature * square * t))
            if harmonic:
                return Harmonic(amplitude, density.degree, density.axis).masses(factor)
            return Cosine(amplitude, density.wavenumber).masses(factor)

        return at
