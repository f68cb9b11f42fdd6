"""A crowd on a line: densities with an upper bound, driven by a quadratic potential."""

from collections.abc import Callable, Iterable
from typing import ClassVar

import numpy as np
import scipy

from gridflow.energy.base import Energy
from gridflow.energy.congestion import Congestion
from gridflow.energy.internal import InternalEnergy
from gridflow.energy.potential import PotentialEnergy, Quadratic
from gridflow.energy.sum import SumEnergy
from gridflow.exact.base import Exact
from gridflow.problem import Problem
from gridflow.space.factor import Array

PIECES = 16
"""Of the mass of every cell: of those that get into the way of others, the last one is full in part."""
FARTHEST = 100.0
"""Of κ < 0: e^100 times farther apart, nothing is left between the walls."""


class Crowd(Exact, frozen=True, forbid_unknown_fields=True, tag="crowd", tag_field="kind"):
    """ρ ≤ ρ_max in V = κ(x − c)²/2: the quantile function X(s, t), 0 ≤ s ≤ 1, is a projection.

    The bound says that Y = X − s/ρ_max does not decrease. The flow of ∫κ(X − c)²/2 ds in this cone is sticky, as that of
    particles on a line without pressure (Natile and Savaré 2009): what has met stays together, since the force that presses it
    grows. Hence Y(t) is the projection of what it would be without the bound, X = c + (X₀ − c)e^{−κt}, onto the functions that do
    not decrease: an isotonic regression. The limit is the full interval of length 1/ρ_max around c, {V < κ/(8ρ_max²)}.
    Walls are not in it: it is refused at times when mass is beyond them.
    """

    needs: ClassVar[str] = (
        "one interval; a congestion law and a quadratic potential alone; no mobility, temperature, reaction; a start below the"
        " bound"
    )

    def solution_of(self, problem: Problem) -> Callable[[float], Array]:
        law, potential = self.law_and_potential(problem)
        factor = problem.grid.factors[0]
        self.require(len(problem.grid.factors) == 1 and factor.walls is not None and problem.flow.mobility == {})
        cells = problem.start
        self.require(bool((cells <= (1 + 1e-9) * law.largest * factor.volumes).all()))
        share = np.linspace(0.0, 1.0, PIECES + 1)[:-1]
        places = np.append((factor.edges[:-1, None] + share * factor.volumes[:, None]).ravel(), factor.edges[-1])
        masses = np.repeat(cells / PIECES, PIECES)
        levels = np.concatenate([[0.0], np.cumsum(masses)])

        def at(t: float) -> Array:
            free = potential.centre + (places - potential.centre) * np.exp(min(-potential.stiffness * t, FARTHEST))
            found = crowd_masses(free, levels, law.largest, factor.edges)
            self.require_inside(float(levels[-1] - found.sum()), t)
            return found

        return at

    def check(self, problem: Problem, times: Iterable[float]) -> None:
        self.masses(problem, list(times))

    def law_and_potential(self, problem: Problem) -> tuple[Congestion, Quadratic]:
        energy = problem.energy
        parts: tuple[Energy, ...] = energy.parts if isinstance(energy, SumEnergy) else (energy,)
        laws = [part.law for part in parts if isinstance(part, InternalEnergy) and isinstance(part.law, Congestion)]
        potentials = [part for part in parts if isinstance(part, PotentialEnergy)]
        terms = [term for part in potentials for term in part.terms.values()]
        self.require(not any(part.parts for part in potentials))
        self.require(len(parts) == 2 and len(laws) == 1 and len(terms) == 1 and isinstance(terms[0], Quadratic))
        assert isinstance(terms[0], Quadratic)
        return laws[0], terms[0]


def crowd_masses(free: Array, levels: Array, largest: float, edges: Array) -> Array:
    """Cell masses of a quantile function, `free` at `levels` and linear between them, projected onto densities ≤ largest."""
    masses = np.diff(levels)
    held = masses > 0
    excess = free - levels / largest  # Y at the levels
    left, right, masses = excess[:-1][held], excess[1:][held], masses[held]
    result = scipy.optimize.isotonic_regression((left + right) / 2, weights=masses)
    block = np.repeat(np.arange(result.blocks.size - 1), np.diff(result.blocks))
    full = (np.diff(result.blocks)[block] > 1) | (right < left)
    low = np.where(full, result.x, left) + levels[:-1][held] / largest
    high = np.where(full, result.x, right) + levels[1:][held] / largest
    ends = np.stack([low, high], axis=1).ravel()
    mass = np.stack([levels[:-1][held], levels[1:][held]], axis=1).ravel()
    return np.diff(np.interp(edges, ends, mass, left=0.0, right=levels[-1]))


CrowdSolution = Crowd
