"""Flows of discrepancies between measures with exact solutions."""

from collections.abc import Callable
from typing import ClassVar

import numpy as np

from gridflow.energy.mmd.mmd import MMDEnergy
from gridflow.energy.sobolev.sobolev import SobolevEnergy
from gridflow.exact.base import Exact, Trajectory
from gridflow.exact.normals import normals
from gridflow.problem import Problem
from gridflow.space.densities import Normal
from gridflow.space.factor import Array
from gridflow.sums.kernels import Riesz

STARTS = 2048


class RieszQuantiles(Exact, frozen=True, forbid_unknown_fields=True, tag="riesz-quantiles", tag_field="kind"):
    """MMD with k = −|x − y| in 1D: quantiles decouple.

    F = ½∬k d(ν − ν*)², ξ = ∫k(·, u)(ν − ν*)(du) and ∂ₓ|x − u| = sign(x − u) give ∂ξ = −2(F_ν − F_ν*), hence v = −∂ξ =
    2(F_ν − F_ν*), and, F_ν being constant along the paths Q(s) of the mass, Q̇(s) = 2(s − F_ν*(Q(s))). The mass starts at x₀
    with s = F₀(x₀); J = ∂Q/∂x₀ obeys J̇ = 2(ρ₀(x₀) − ρ*(Q)J), so that F_ν at Q has the slope ρ₀/J: cubic Hermite
    interpolation between many starting points.
    """

    needs: ClassVar[str] = "one interval, normal densities, an MMD with kernel −|x − y|; no mobility, temperature, reaction"

    def solution_of(self, problem: Problem) -> Callable[[float], Array]:
        start, energy = normals(self, problem), self.energy_of(problem, MMDEnergy)
        self.require(energy.kernel == Riesz(1.0))
        densities = [(w, next(iter(c.density.values()), None)) for w, c in energy.target.densities]
        target = [(w, d) for w, d in densities if isinstance(d, Normal)]
        self.require(len(target) == len(energy.target.components))
        factor = problem.grid.factors[0]
        begin: Array = np.linspace(factor.edges[0], factor.edges[-1], 1 + max(STARTS, 4 * factor.size))
        level, density = distribution(start, begin)

        def rate(_: float, state: Array) -> Array:
            here, slope = np.split(state, 2)
            below, height = distribution(target, here)
            return np.concatenate([2 * (level - below), 2 * (density - height * slope)])

        path = Trajectory(rate, np.concatenate([begin, np.ones_like(begin)]))

        def at(t: float) -> Array:
            places, slopes = np.split(path.at(t), 2)
            return np.diff(level_at(factor.edges, places, level, density / slopes))

        return at


class SobolevTransport(Exact, frozen=True, forbid_unknown_fields=True, tag="sobolev-transport", tag_field="kind"):
    """v = ∇g with −div(ν∇g) = ν* − ν: ∂ν/∂t = ν* − ν, and so ν_t = ν* + e^{−t}(ν₀ − ν*), on any space."""

    needs: ClassVar[str] = "a Sobolev energy with transport, no regularization, temperature or reaction, a target without samples"

    def solution_of(self, problem: Problem) -> Callable[[float], Array]:
        energy = self.energy_of(problem, SobolevEnergy)
        self.require(energy.spec.flow == "transport" and energy.spec.regularization == 0)
        self.require(len(energy.target.densities) == len(energy.target.components))
        start, target = problem.start, energy.target.masses(problem.grid)
        return lambda t: target + np.exp(-t) * (start - target)


def distribution(components: list[tuple[float, Normal]], x: Array) -> tuple[Array, Array]:
    """Distribution function and density of a mixture."""
    from scipy.special import ndtr

    scaled = [(w, n.deviation, (x - n.mean) / n.deviation) for w, n in components]
    below = np.sum([w * ndtr(z) for w, _, z in scaled], axis=0)
    return below, np.sum([w / (d * np.sqrt(2 * np.pi)) * np.exp(-(z**2) / 2) for w, d, z in scaled], axis=0)


def level_at(edges: Array, places: Array, level: Array, slope: Array) -> Array:
    """The distribution function at the cell ends, from its values and slopes at increasing places; 0 and 1 beyond them."""
    kept = np.concatenate([[True], np.diff(places) > 0])
    from scipy.interpolate import CubicHermiteSpline

    inside = CubicHermiteSpline(places[kept], level[kept], slope[kept])(np.clip(edges, places[0], places[-1]))
    return np.where(edges < places[0], 0.0, np.where(edges > places[-1], 1.0, inside))


DiscrepancySolution = RieszQuantiles | SobolevTransport
