"""Two-layer networks on a grid: branches tabulated over cells, moments contracted before features.

Features factorise over two groups of factors, φ = Σ u(θ_A) v(θ_B; x), so that an evaluation costs O(n_cells + n_B n_data), never
n_cells², with a full matrix of v; O(n_cells + n_data) for ReLUs with up to two weights (`gridflow.energy.network.kinked`),
O(n_cells + (n_B + n_data) rank) for v of low rank (`gridflow.energy.network.low_rank`). For the squared loss few rows replace the
n_data (`gridflow.energy.network.reduced`), and the predictions at the data are computed when a state is saved.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property, reduce

import numpy as np

from gridflow.energy.base import ROUNDOFF, BoundEnergy, Evaluation
from gridflow.energy.network.activation import Activation
from gridflow.energy.network.branch import Branch, base, coordinate, norms_of_weights, output_weights, weight_vectors
from gridflow.energy.network.data import Data
from gridflow.energy.network.features import Chosen, Entries, FeatureMatrix, Features
from gridflow.energy.network.kinked import KinkedFeatures
from gridflow.energy.network.loss import LOSSES, Loss
from gridflow.energy.network.low_rank import low_rank_features, spread
from gridflow.energy.network.reduced import SMALL, reduction
from gridflow.energy.network.stationarity import BoundStationarity
from gridflow.space.factor import Array
from gridflow.space.grid import Grid
from gridflow.space.split import Split

HELD_OUT = {"held_out_loss": ("1", "loss of the data that are not trained on")}
KINKED_MIN = 2**14
"""Entries of a feature matrix of ReLUs beyond which sums by sorted angles take less time than products with it."""


@dataclass(frozen=True, eq=False)
class BoundBranch:
    """Σ_terms u(θ_A) v(θ_B; x): term t feeds the output `outputs[t]`.

    outer : (n_terms, n_outer) values u; inner : features v over (n_inner, n_data).
    """

    split: Split
    outer: Array
    inner: Features
    outputs: list[int]

    @cached_property
    def outer_by_volume(self) -> Array:
        """u times the volumes of the outer cells."""
        return self.outer * self.split.outer_volumes

    def moments(self, mass: Array) -> Array:
        """Σ_outer u·mass, (n_terms, n_inner)."""
        return self.split.contract(self.outer, mass)

    def on(self, grid: Grid) -> "BoundBranch":
        """The same on a slab of the grid."""
        split = grid.split(tuple(grid.order[k] for k in self.split.outer))
        outer = np.ascontiguousarray(self.outer[:, grid.cells_of(self.split.outer)])
        return BoundBranch(split, outer, self.inner.at_cells(grid.cells_of(self.split.inner)), self.outputs)

    def moments_of_density(self, density: Array) -> Array:
        """The same of a density, without an array of masses."""
        return self.split.contract(self.outer_by_volume, density) * self.split.inner_volumes


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

    def forward_density(self, density: Array, volume: Array) -> tuple[Array, PullBack]:
        """The same of a density, cells of this volume."""
        return self.forward(density * volume)

    @abstractmethod
    def magnitude(self, targets: Array) -> Array:
        """|y| and the largest terms of f, (n_data, n_outputs): what rounding errors of f − y are proportional to."""

    def check_start(self, masses: Array) -> None:  # noqa: B027 - optional
        """Raises InputError for cell masses that the network cannot start from."""

    def reduced(self, data: Data) -> "tuple[Model, Data, float] | None":
        """(a model at few data, these, c) with the same squared loss up to the constant c, where there is one."""
        return None

    def forgetful(self) -> "Model":
        """The same for rare use: nothing of the size of the data is stored."""
        return self

    def on(self, grid: Grid) -> "Model":
        """The model of a whole grid on one of its slabs."""
        return self

    @property
    def note(self) -> str:
        """How features are summed."""
        return ""


class BranchModel(Model):
    """Σ of branches: f is linear in ρ."""

    def __init__(self, branches: list[BoundBranch], smooth: bool = True) -> None:
        self.branches, self.smooth = branches, smooth
        self.n_outputs = 1 + max(output for branch in branches for output in branch.outputs)

    def forward(self, mass: Array) -> tuple[Array, PullBack]:
        return self.prediction([b.moments(mass) for b in self.branches]), self.pull_back

    def forward_density(self, density: Array, volume: Array) -> tuple[Array, PullBack]:
        return self.prediction([b.moments_of_density(density) for b in self.branches]), self.pull_back

    def prediction(self, moments: list[Array]) -> Array:
        """f_ρ(x_j), (n_data, n_outputs), from the moments of every branch."""
        prediction = np.zeros((self.branches[0].inner.n_data, self.n_outputs))
        for branch, found in zip(self.branches, moments, strict=True):
            values = branch.inner.predict(found)
            for term, output in enumerate(branch.outputs):
                prediction[:, output] += values[term]
        return self.branches[0].split.total(prediction)

    def pull_back(self, residual: Array) -> Array:
        return reduce(np.add, (b.split.expand(b.outer, b.inner.pull_back(residual.T[b.outputs])) for b in self.branches))

    def magnitude(self, targets: Array) -> Array:
        found = np.abs(targets)
        for branch in self.branches:
            for term, output in enumerate(branch.outputs):
                found[:, output] += np.abs(branch.outer[term]).max() * branch.inner.largest()
        return found

    def on(self, grid: Grid) -> "BranchModel":
        return self if grid.alone else BranchModel([b.on(grid) for b in self.branches], self.smooth)

    def with_features(self, features: list[Features]) -> "BranchModel":
        """The same outer values with other features."""
        return BranchModel([replace(b, inner=f) for b, f in zip(self.branches, features, strict=True)], self.smooth)

    def reduced(self, data: Data) -> "tuple[BranchModel, Data, float] | None":
        found = reduction([b.inner for b in self.branches], data)
        return None if found is None else (self.with_features(found.features), found.data, found.constant)

    def forgetful(self) -> "BranchModel":
        return self.with_features([b.inner.forgetful() for b in self.branches])

    @property
    def note(self) -> str:
        return "; ".join(dict.fromkeys(b.inner.note for b in self.branches))


class BoundNetwork(BoundEnergy):
    """E(ρ) = Σ_j μ_j ℓ(f_ρ(x_j), y_j) + λ∫G dρ on a grid, with f_ρ of a model.

    For the squared loss evaluations go without the data where few others do (`gridflow.energy.network.reduced`): they have no
    prediction then, which `predict` computes. model_at : the network at the inputs of any data, on the whole grid; grid : the
    same, or one slab of it; penalty : λG at its cells, or None; slabs : whether there may be slabs
    """

    data: Data

    def __init__(
        self,
        data: Data,
        loss: Loss,
        model_at: Callable[[Data], Model],
        grid: Grid,
        penalty: Array | None = None,
        stationarity: BoundStationarity | None = None,
        slabs: bool = False,
    ) -> None:
        self.data, self.loss, self.grid, self.penalty, self.stationarity = data, loss, grid, penalty, stationarity
        self.slabs, self.model_at, model = slabs, model_at, model_at(data)
        reduced = model.reduced(data) if loss is LOSSES["squared"] else None
        self.reduced = reduced is not None
        summed, self.few, self.constant = (model, data, 0.0) if reduced is None else reduced
        self.summed, self.magnitude = summed.on(grid), summed.magnitude(self.few.targets)
        self.model = self.summed if reduced is None else model.forgetful().on(grid)
        self.convex, self.smooth = model.convex, model.smooth
        self.attributes = {"features": self.summed.note} if self.summed.note else {}
        if stationarity is not None:
            self.diagnostics = stationarity.records
        self.held_out = None if data.held_out is None else model_at(data.held_out).forgetful().on(grid)
        if self.held_out is not None:
            self.diagnostics = {**self.diagnostics, **HELD_OUT}

    def check_start(self, masses: Array) -> None:
        self.model.check_start(masses)

    def diagnose(self, density: Array, evaluation: Evaluation) -> dict[str, float]:
        found = {} if self.stationarity is None else self.stationarity.diagnose(density, evaluation)
        if self.held_out is not None and self.data.held_out is not None:
            prediction = self.held_out.forward_density(density, self.grid.volume)[0]
            found["held_out_loss"] = self.loss.evaluate(self.data.held_out, prediction)[0]
        return found

    def predict(self, mass: Array) -> Array:
        return self.model.forward(mass)[0]

    def predict_at(self, inputs: Array, mass: Array) -> Array:
        count = len(inputs)
        places = Data(inputs, np.zeros((count, self.data.targets.shape[1])), np.full(count, 1 / count))
        return self.model_at(places).on(self.grid).forward(mass)[0]

    def evaluate(self, mass: Array) -> Evaluation:
        return self.evaluation(*self.summed.forward(mass), mass)

    def evaluate_density(self, density: Array, volume: Array) -> Evaluation:
        if self.penalty is not None:
            return self.evaluate(density * volume)
        return self.evaluation(*self.summed.forward_density(density, volume), density)

    def evaluation(self, prediction: Array, pull_back: PullBack, mass: Array) -> Evaluation:
        """The energy from a prediction; mass : of the cells, for the penalty alone."""
        value, residual = self.loss.evaluate(self.few, prediction)
        value += self.constant
        roundoff = ROUNDOFF * (float(np.vdot(np.abs(residual), self.magnitude)) + abs(value))
        xi = pull_back(residual)
        if self.penalty is not None:
            penalty = float(self.grid.total(np.vdot(self.penalty, mass)))
            value, roundoff = value + penalty, roundoff + ROUNDOFF * penalty
            xi += self.penalty
        return Evaluation(value, xi, roundoff, None if self.reduced else prediction)


def features_of(entries: Entries, n_inner: int, inputs: Array) -> Features:
    """Of low rank where that is a gain, else as a matrix, whose note says so."""
    n_data = len(inputs)
    if n_inner * n_data <= SMALL:
        return FeatureMatrix(entries, n_inner, n_data, f"full matrix of {n_data} data")
    found, note = low_rank_features(entries, n_inner, n_data, spread(inputs)), f"full matrix of {n_data} data, not of low rank"
    return FeatureMatrix(entries, n_inner, n_data, note) if found is None else found


def bind_branch(branch: Branch, sigma: Activation, inputs: Array, covariance: Array | None, grid: Grid) -> list[BoundBranch]:
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
        def entries(cells: Chosen, data: Chosen) -> Array:
            values = sigma.value(directions[cells] @ inputs[data].T)
            return values if factor is None else values * factor[cells, None]

        def features() -> Features:
            kinks = sigma.slopes is not None and split.n_inner * len(inputs) > KINKED_MIN
            if kinks and sigma.slopes is not None and inputs.shape[1] <= 2:
                return KinkedFeatures(directions, factor, inputs, sigma.slopes)
            if kinks:
                return FeatureMatrix(entries, split.n_inner, len(inputs), f"full matrix of {len(inputs)} data")
            return features_of(entries, split.n_inner, inputs)

        outer = output_weights(outputs, branch.scale, grid.flat_coordinates(split.outer), split.n_outer).T
        return BoundBranch(split, outer, features(), numbers)

    if not any(base(n) in inside for names in branch.outputs for n in names):
        return [bound(branch.outputs, list(range(len(branch.outputs))), None)]
    found = []  # outputs that are components of the surface which also carries the weights: one feature for each output
    for number, names in enumerate(branch.outputs):
        mine = [n for n in names if base(n) in inside]
        factor = reduce(np.multiply, (coordinate(inner, n) for n in mine), np.ones(split.n_inner))
        found.append(bound([[n for n in names if n not in mine]], [number], factor))
    return found
