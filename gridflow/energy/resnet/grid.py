"""Wide ResNets and their approximations on a grid (equations: `gridflow.energy.resnet.layers`).

σ acts row by row, so that ρ matters only through the marginals of depth and one row of θ, and ξ is a sum of functions of those.
They are contracted first: an evaluation costs O(n_cells + L·d·n_row·n_data), n_row the cells of one row (all of Θ for d = 1).
"""

from typing import Protocol

import numpy as np

from gridflow.energy.network.activation import Jet
from gridflow.energy.network.data import Data
from gridflow.energy.network.grid import Model, PullBack
from gridflow.energy.resnet.layers import QuadraticPass, RowFeatures, WidePass
from gridflow.energy.resnet.layout import Layout, check_layers
from gridflow.space.factor import Array
from gridflow.space.grid import Grid


class Rows:
    """A field on the grid by depth and by row of θ.

    directions : for every row k the points (n_k, d) of its factors. Values of depth and row k are (n_depth, n_k).
    """

    def __init__(self, grid: Grid, layout: Layout) -> None:
        self.grid, self.layout = grid, layout
        groups, depth = layout.columns.tolist(), layout.depth
        self.n_depth = 1 if depth is None else grid.shape[depth]
        self.axes = [([] if depth is None else [depth]) + group for group in groups]
        self.directions = []
        for group in groups:
            coordinates = grid.flat_coordinates(tuple(group))
            self.directions.append(np.stack([coordinates[grid.factors[k].name] for k in group], axis=1))

    def contract(self, masses: Array) -> list[Array]:
        """Marginals for every row k."""
        found = []
        for axes in self.axes:
            marginal = masses.sum(axis=tuple(k for k in range(masses.ndim) if k not in axes))
            found.append(np.transpose(marginal, np.argsort(np.argsort(axes))).reshape(self.n_depth, -1))
        return found

    def expand(self, values: list[Array]) -> Array:
        """Σ_k of functions of depth and row k → contiguous field on the grid."""
        total = np.zeros(self.grid.shape)
        for axes, value in zip(self.axes, values, strict=True):
            field = np.transpose(value.reshape([self.grid.shape[k] for k in axes]), np.argsort(axes))
            total += field.reshape([n if k in axes else 1 for k, n in enumerate(self.grid.shape)])
        return total


class RowModel(Protocol):
    """forward : marginals to f (d, n_data), with what the adjoint needs; adjoint : r (d, n_data) to ξ by depth and row."""

    convex: bool

    def __init__(self, jet: Jet, rows: Rows, inputs: Array) -> None: ...

    def forward(self, marginals: list[Array]) -> Array: ...

    def adjoint(self, residual: Array) -> list[Array]: ...


class WideModel:
    convex = False  # f is of degree L in ρ for σ = identity

    def __init__(self, jet: Jet, rows: Rows, inputs: Array) -> None:
        self.jet, self.rows, self.inputs = jet, rows, inputs

    def forward(self, marginals: list[Array]) -> Array:
        layers = range(self.rows.n_depth)
        rows = [[(d, m[layer]) for d, m in zip(self.rows.directions, marginals, strict=True)] for layer in layers]
        self.passed = WidePass(self.jet, rows, self.inputs)
        return self.passed.output

    def adjoint(self, residual: Array) -> list[Array]:
        adjoints, features = self.passed.adjoints(residual), self.passed.features
        rows = range(len(residual))
        return [np.concatenate([f[k].pull_back(p[None, k]) for f, p in zip(features, adjoints, strict=True)]) for k in rows]


class LinearModel:
    convex = True  # f is linear in ρ

    def __init__(self, jet: Jet, rows: Rows, inputs: Array) -> None:
        self.inputs, self.n_depth = inputs, rows.n_depth
        self.features = [RowFeatures(jet, directions, inputs, keep=True) for directions in rows.directions]

    def forward(self, marginals: list[Array]) -> Array:
        masses = [m.sum(axis=0, keepdims=True) for m in marginals]
        return self.inputs + np.concatenate([f.sums(m)[0] for f, m in zip(self.features, masses, strict=True)])

    def adjoint(self, residual: Array) -> list[Array]:
        pulled = [f.pull_back(r[None]) for f, r in zip(self.features, residual, strict=True)]
        return [np.repeat(values, self.n_depth, axis=0) for values in pulled]


class QuadraticModel:
    convex = False  # f is quadratic in ρ

    def __init__(self, jet: Jet, rows: Rows, inputs: Array) -> None:
        self.inputs, self.diagonal = inputs, rows.layout.diagonal
        self.features = [RowFeatures(jet, directions, inputs, keep=True) for directions in rows.directions]

    def forward(self, marginals: list[Array]) -> Array:
        sums = [f.sums(m) for f, m in zip(self.features, marginals, strict=True)]
        total, slopes = np.stack([s for s, _ in sums], axis=1), np.stack([j for _, j in sums], axis=1)
        self.passed = QuadraticPass(total, slopes, self.inputs, self.diagonal)
        return self.passed.output

    def adjoint(self, residual: Array) -> list[Array]:
        pulled, before = self.passed.adjoints(residual), self.passed.before
        return [f.pull_back(pulled[:, k]) + f.pull_back_slopes(residual[k] * before) for k, f in enumerate(self.features)]


ROW_MODELS: dict[str, type[RowModel]] = {"wide": WideModel, "linear": LinearModel, "quadratic": QuadraticModel}


class ResNetModel(Model):
    """A wide ResNet, or its linear or quadratic approximation."""

    def __init__(self, model: str, jet: Jet, data: Data, rows: Rows) -> None:
        self.rows, self.inputs = rows, np.ascontiguousarray(data.inputs.T)
        self.needs_layers = model == "wide"
        self.row_model = ROW_MODELS[model](jet, rows, self.inputs)
        self.convex = self.row_model.convex
        self.largest = np.stack([RowFeatures(jet, b, self.inputs).largest() for b in rows.directions], axis=1)  # max |σ|

    def forward(self, mass: Array) -> tuple[Array, PullBack]:
        prediction = np.ascontiguousarray(self.row_model.forward(self.rows.contract(mass)).T)
        return prediction, self.pull_back

    def pull_back(self, residual: Array) -> Array:
        return self.rows.expand(self.row_model.adjoint(np.ascontiguousarray(residual.T)))

    def magnitude(self, targets: Array) -> Array:
        return np.abs(targets) + np.abs(self.inputs.T) + self.largest

    def check_start(self, masses: Array) -> None:
        """Raises InputError for layers of a wide ResNet whose mass is not 1/L."""
        depth, layers = self.rows.layout.depth, self.rows.layout.layers
        if self.needs_layers and layers is not None:
            check_layers(masses.sum(axis=tuple(k for k in range(masses.ndim) if k != depth)), layers, "initial")
