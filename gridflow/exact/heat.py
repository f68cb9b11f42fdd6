"""The heat equation from one eigenfunction."""

from collections.abc import Callable
from typing import Any

import numpy as np

from gridflow.energy.potential import PotentialEnergy
from gridflow.exact.base import Exact, require_exact
from gridflow.problem import Problem
from gridflow.space.densities import Cosine, Harmonic
from gridflow.space.factor import Array


class Heat(Exact, frozen=True, forbid_unknown_fields=True, tag="heat", tag_field="kind"):
    """No energy, temperature D, one cosine or spherical harmonic: it decays by exp(−D k² t), k² = l(l + 1) on the sphere."""

    def solution(self, problem: Problem) -> Callable[[float], Array]:
        name, needs = (
            "heat",
            "one interval, circle or surface, a cosine or harmonic to start from, a potential without terms",
        )
        require_exact(problem.flow.mobility == {} and problem.flow.reaction.rate == 0, name, needs + ", no mobility, no reaction")
        require_exact(
            isinstance(problem.energy, PotentialEnergy)
            and not problem.energy.terms
            and len(problem.initial) == 1
            and len(problem.grid.factors) == 1,
            name,
            needs,
        )
        density: Any = next(iter(problem.initial[0].density.values()), None)
        require_exact(isinstance(density, Cosine | Harmonic), name, needs)
        factor = problem.grid.factors[0]
        harmonic = isinstance(density, Harmonic)
        square = density.degree * (density.degree + 1) if harmonic else density.frequency(factor) ** 2

        def at(t: float) -> Array:
            amplitude = density.amplitude * float(np.exp(-problem.flow.temperature * square * t))
            if harmonic:
                return Harmonic(amplitude, density.degree, density.axis).masses(factor)
            return Cosine(amplitude, density.wavenumber).masses(factor)

        return at
