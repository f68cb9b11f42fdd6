"""Two-layer networks on a grid: branches tabulated over cells, moments contracted before features.

Features factorise over two groups of factors, φ = Σ u(θ_A) v(θ_B; x), so that an evaluation costs O(n_cells + n_B n_data), never
n_cells².
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce

import numpy as np

from gridflow.energy.base import ROUNDOFF, BoundEnergy, Evaluation
from gridflow.energy.network.branch import Branch, base, coordinate, norms_of_weights, output_weights, weight_vectors
from gridflow.energy.network.data import Data
from gridflow.energy.network.features import FeatureMatrix
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
    inner: FeatureMatrix
    outputs: list[int]


PullBack = Callable[[Array], Array]
"""r (n_data, n_outputs) ↦ Σ_j r_j·δf_ρ(x_j)/δρ at the cells, shape of the grid."""


class Model(ABC):
    """The prediction f_ρ of a network on a grid.

    convex : E is convex in ρ for a convex loss; smooth : δf/δρ has no kinks
    """

    convex: bool = True
    smooth: bool = True

    @abstractmethod
    def forward(self, mass: Array) -> tuple[Array, PullBack]:
        """f_ρ(x_j), (n_data, n_outputs), of cell masses, with the adjoint of its derivative in ρ."""

    @abstractmethod
    def magnitude(self, targets: Array) -> Array:
        """|y| and the largest terms of f, (n_data, n_outputs): what rounding errors of f − y are proportional to."""

    def check_start(self, masses: Array) -> None:  # noqa: B027 - optional
        """Raises InputError for cell masses that the network cannot start from."""


class BranchModel(Model):
    """Σ of branches: f is linear in ρ."""

    def __init__(self, branches: list[BoundBranch], smooth: bool = True) -> None:
        self.branches, self.smooth = branches, smooth
        self.n_outputs = 1 + max(output for branch in branches for output in branch.outputs)

    def forward(self, mass: Array) -> tuple[Array, PullBack]:
        terms = [(b, b.inner.predict(b.split.contract(b.outer, mass))) for b in self.branches]
        prediction = np.zeros((terms[0][1].shape[1], self.n_outputs))
        for branch, values in terms:
            for term, output in enumerate(branch.outputs):
                prediction[:, output] += values[term]
        return prediction, self.pull_back

    def pull_back(self, residual: Array) -> Array:
        return reduce(np.add, (b.split.expand(b.outer, b.inner.pull_back(residual.T[b.outputs])) for b in self.branches))

    def magnitude(self, targets: Array) -> Array:
        found = np.abs(targets)
        for branch in self.branches:
            for term, output in enumerate(branch.outputs):
                found[:, output] += np.abs(branch.outer[term]).max() * branch.inner.largest()
        return found


class BoundNetwork(BoundEnergy):
    """E(ρ) = Σ_j μ_j ℓ(f_ρ(x_j), y_j) + λ∫G dρ on a grid, with f_ρ of a model.

    penalty : λG at the cells, or None
    """

    data: Data

    def __init__(
        self,
        data: Data,
        loss: Loss,
        model: Model,
        penalty: Array | None = None,
        stationarity: BoundStationarity | None = None,
    ) -> None:
        self.data, self.loss, self.model, self.penalty, self.stationarity = data, loss, model, penalty, stationarity
        self.convex, self.smooth = model.convex, model.smooth
        if stationarity is not None:
            self.diagnostics = stationarity.records
        self.magnitude = model.magnitude(data.targets)

    def check_start(self, masses: Array) -> None:
        self.model.check_start(masses)

    def diagnose(self, density: Array, evaluation: Evaluation) -> dict[str, float]:
        return {} if self.stationarity is None else self.stationarity.diagnose(density, evaluation)

    def predict(self, mass: Array) -> Array:
        """f_ρ(x_j), (n_data, n_outputs)."""
        return self.model.forward(mass)[0]

    def evaluate(self, mass: Array) -> Evaluation:
        prediction, pull_back = self.model.forward(mass)
        value, residual = self.loss.evaluate(self.data, prediction)
        roundoff = ROUNDOFF * (float((np.abs(residual) * self.magnitude).sum()) + abs(value))
        xi = pull_back(residual)
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
    directions = weight_vectors(branch, grid.factors, inner)
    if covariance is not None:
        directions = directions / norms_of_weights(directions, covariance)

    def bound(outputs: list[list[str]], numbers: list[int], factor: Array | None) -> BoundBranch:
        def rows(block: slice) -> Array:
            values = sigma(directions[block] @ inputs.T)
            return values if factor is None else values * factor[block, None]

        outer = output_weights(outputs, branch.scale, grid.flat_coordinates(split.outer), split.n_outer).T
        return BoundBranch(split, outer, FeatureMatrix(rows, split.n_inner, len(inputs)), numbers)

    if not any(base(n) in inside for names in branch.outputs for n in names):
        return [bound(branch.outputs, list(range(len(branch.outputs))), None)]
    found = []  # outputs that are components of the surface which also carries the weights: one feature for each output
    for number, names in enumerate(branch.outputs):
        mine = [n for n in names if base(n) in inside]
        factor = reduce(np.multiply, (coordinate(inner, n) for n in mine), np.ones(split.n_inner))
        found.append(bound([[n for n in names if n not in mine]], [number], factor))
    return found
