"""Two-layer networks on a grid: branches tabulated over cells, moments contracted before features.

Features factorise over two groups of factors, φ = Σ u(θ_A) v(θ_B; x), so that an evaluation costs O(n_cells + n_B n_data), never
n_cells².
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce

import numpy as np

from gridflow.energy.base import ROUNDOFF, BoundEnergy, Evaluation
from gridflow.energy.network.branch import Branch, base, coordinate, embedded_weights, norms_of_weights, output_weights
from gridflow.energy.network.data import Data
from gridflow.energy.network.features import Features
from gridflow.energy.network.loss import Loss
from gridflow.energy.network.stationarity import BoundStationarity
from gridflow.space.factor import Array
from gridflow.space.grid import Grid, Split


@dataclass(frozen=True, eq=False)
class BoundBranch:
    """Σ_terms u(θ_A) v(θ_B; x): term t feeds the output `outputs[t]`.

    outer : (n_terms, n_outer) values u; inner : features v over (n_inner, n_data).
    """

    split: Split
    outer: Array
    inner: Features
    outputs: list[int]


def pull_back(branches: list[BoundBranch], residual: Array) -> Array:
    """Σ_j r_j·φ(θ; x_j) at the cells, shape of the grid, from r (n_data, n_outputs)."""
    return reduce(np.add, (b.split.expand(b.outer, b.inner.pull_back(residual.T[b.outputs])) for b in branches))


class BoundNetwork(BoundEnergy):
    """A network energy on a grid.

    penalty : λG at the cells, shape of the grid, or None; smooth : of the features
    """

    data: Data
    convex = True  # every loss in LOSSES is convex in f, and f is linear in ρ

    def __init__(
        self,
        data: Data,
        loss: Loss,
        branches: list[BoundBranch],
        penalty: Array | None,
        smooth: bool = True,
        stationarity: BoundStationarity | None = None,
    ) -> None:
        self.data, self.loss, self.branches, self.penalty, self.smooth = data, loss, branches, penalty, smooth
        self.stationarity = stationarity
        self.diagnostics = () if stationarity is None else stationarity.names
        self.scale = np.abs(data.targets)
        for branch in branches:
            for term, output in enumerate(branch.outputs):
                self.scale[:, output] += np.abs(branch.outer[term]).max() * branch.inner.largest()

    def diagnose(self, density: Array, evaluation: Evaluation) -> dict[str, float]:
        """How much of the teacher the student has found (`gridflow.energy.network.stationarity`)."""
        return {} if self.stationarity is None else self.stationarity.diagnose(density, evaluation)

    def predict(self, mass: Array) -> Array:
        """f_ρ(x_j), (n_data, n_outputs)."""
        prediction = np.zeros_like(self.data.targets)
        for branch in self.branches:
            terms = branch.inner.predict(branch.split.contract(branch.outer, mass))
            for term, output in enumerate(branch.outputs):
                prediction[:, output] += terms[term]
        return prediction

    def evaluate(self, mass: Array) -> Evaluation:
        prediction = self.predict(mass)
        value, residual = self.loss.evaluate(self.data, prediction)
        roundoff = ROUNDOFF * (float((np.abs(residual) * self.scale).sum()) + abs(value))
        xi = pull_back(self.branches, residual)
        if self.penalty is not None:
            penalty = float(np.vdot(self.penalty, mass))
            value, roundoff = value + penalty, roundoff + ROUNDOFF * penalty
            xi += self.penalty
        return Evaluation(value, xi, roundoff, prediction)


def bind_branch(
    branch: Branch, sigma: Callable[[Array], Array], inputs: Array, covariance: Array | None, grid: Grid
) -> list[BoundBranch]:
    """u tabulated over the outer cells and v over the inner ones, for inputs (n_data, n_dim).

    covariance : Σ under batch normalisation
    """
    inside = {base(n) for n in branch.weights}
    split = grid.split(tuple(f.name for f in grid.factors if f.name not in inside))
    inner = grid.flat_coordinates(split.inner)
    directions = np.hstack(embedded_weights(branch, grid.factors, inner))
    if covariance is not None:
        directions = directions / norms_of_weights(directions, covariance)

    def bound(outputs: list[list[str]], numbers: list[int], factor: Array | None) -> BoundBranch:
        def rows(block: slice) -> Array:
            values = sigma(directions[block] @ inputs.T)
            return values if factor is None else values * factor[block, None]

        outer = output_weights(outputs, branch.scale, grid.flat_coordinates(split.outer), split.n_outer).T
        return BoundBranch(split, outer, Features(rows, split.n_inner, len(inputs)), numbers)

    if not any(base(n) in inside for names in branch.outputs for n in names):
        return [bound(branch.outputs, list(range(len(branch.outputs))), None)]
    found = []  # outputs that are components of the surface which also carries the weights: one feature for each output
    for number, names in enumerate(branch.outputs):
        mine = [n for n in names if base(n) in inside]
        factor = reduce(np.multiply, (coordinate(inner, n) for n in mine), np.ones(split.n_inner))
        found.append(bound([[n for n in names if n not in mine]], [number], factor))
    return found
