"""Targets of Langevin sampling: potentials V = −scale·log π of a mixture π, in logarithms throughout.

    log π = log Σ_k w_k p_k,    grad log π = Σ_k r_k grad log p_k,    r_k = w_k p_k/π

with p_k a product of named densities, as an initial density is, or a density in a file; on a box each is divided by its mass
there (a file is taken as it is). Far out in the tails, where all p_k are 0 in floating point, the sum is still that of the
largest. With scale = 1 and flow.temperature = 1 the free energy is ∫ρ log(ρ/π) = KL(ρ|π), and ρ tends to π; else to π^(scale/D)
over its mass.

`weight_error` = max_k |∫r_k dρ − w_k| is 0 for ρ = π, and where the p_k do not overlap the largest error of the masses of modes.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gridflow.energy.base import Records
from gridflow.energy.tabulated import Tabulated
from gridflow.errors import require
from gridflow.space.factor import Array, Factor, block, columns_of
from gridflow.space.grid import Grid
from gridflow.space.mixture import Component, factor_masses

PURPOSE = "energy.target"
WEIGHT_RECORDS: Records = {
    "weight_error": ("1", "largest error of the weights of the target: max_k |integral(r_k rho) - w_k|, r_k = w_k p_k/pi"),
}


@dataclass(frozen=True)
class LogTarget:
    """−scale·log π. components : of π; directory : of their files"""

    components: tuple[Component, ...]
    scale: float
    directory: Path

    def on(self, factors: tuple[Factor, ...]) -> "TargetOn":
        """The potential on a product of factors. Raises InputError for a target that vanishes somewhere or does not fit."""
        return TargetOn(self, factors)


class TargetOn:
    """−scale·log π on a product of factors. weights : w_k, sum 1"""

    def __init__(self, target: LogTarget, factors: tuple[Factor, ...]) -> None:
        self.target, self.factors = target, factors
        self.weights = np.array([c.weight for c in target.components])
        self.weights /= self.weights.sum()
        self.shifts = np.log(self.weights)
        self.tables: dict[int, Tabulated] = {}
        for k, component in enumerate(target.components):
            if component.density:
                inside = [masses.sum() for masses in factor_masses(component, factors, PURPOSE)]
                received = f"{PURPOSE}: a density without any mass on the grid"
                require(min(inside) > 0, received, "positive mass", "move the density or the bounds of its space")
                self.shifts[k] -= np.log(inside).sum()
            else:
                path = target.directory / str(component.file)
                self.tables[k] = Tabulated(path, "density", factors, PURPOSE, logarithm=True, time=component.time)
        self.at(np.concatenate([np.reshape(f.points[:1], (1, -1)) for f in factors], axis=1))  # raises for what vanishes

    def at(self, points: Array) -> tuple[Array, Array]:
        """(V, (n,); ∇V, (n, n_columns), 0 along labels) at points (n, n_columns)."""
        logs, gradients = zip(*(self.component_at(k, points) for k in range(len(self.weights))), strict=True)
        total = np.logaddexp.reduce(logs, axis=0)
        gradient = sum(np.exp(log - total)[:, None] * slope for log, slope in zip(logs, gradients, strict=True))
        return -self.target.scale * total, -self.target.scale * gradient

    def shares_at(self, points: Array) -> Array:
        """r_k at points, (n_components, n)."""
        logs = np.stack([self.component_at(k, points)[0] for k in range(len(self.weights))])
        shares: Array = np.exp(logs - np.logaddexp.reduce(logs, axis=0))
        return shares

    def component_at(self, k: int, points: Array) -> tuple[Array, Array]:
        """(log w_k p_k, its gradient)."""
        if k in self.tables:
            value, gradient = self.tables[k].at(points)
            return value + self.shifts[k], gradient
        value, gradient = np.full(len(points), self.shifts[k]), np.zeros(points.shape)
        for factor, c in zip(self.factors, columns_of(self.factors), strict=True):
            density = self.target.components[k].density[factor.name]
            log, gradient[:, c] = density.logarithm(block(points, c), factor)
            value += log
        return value, gradient


@dataclass(frozen=True)
class TargetWeights:
    """The weights of a target on a grid. shares : r_k times the cell volume, (n_components, n_cells); weights : w_k"""

    grid: Grid
    shares: Array
    weights: Array

    def numbers(self, density: Array) -> dict[str, float]:
        """`weight_error` of a density, for its mass divided by the whole."""
        found = self.grid.total(self.shares @ density.ravel())
        return {"weight_error": float(np.abs(found / found.sum() - self.weights).max())}
