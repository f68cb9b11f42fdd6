"""Wide ResNets and their approximations on a grid (equations: `gridflow.energy.resnet.layers`).

σ acts row by row, so that ρ matters only through the marginals of depth and one row of θ, and ξ is a sum of functions of those.
They are contracted first: an evaluation costs O(n_cells + L·d·n_row·n_data), n_row the cells of one row (all of Θ for d = 1).
"""

from abc import abstractmethod
from collections.abc import Callable

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


class ResNetModel(Model):
    """A residual network on a grid, from its marginals (n_depth, n_k) of depth and row k."""

    convex = False  # f is of degree 2 or more in ρ
    keep = True  # every evaluation uses the features at the inputs

    def __init__(self, jet: Jet, data: Data, rows: Rows) -> None:
        self.jet, self.rows, self.inputs = jet, rows, np.ascontiguousarray(data.inputs.T)
        self.features = [RowFeatures(jet, directions, self.inputs, self.keep) for directions in rows.directions]

    @abstractmethod
    def run(self, marginals: list[Array]) -> tuple[Array, Callable[[Array], list[Array]]]:
        """f (d, n_data), with r (d, n_data) ↦ ξ by depth and row."""

    def forward(self, mass: Array) -> tuple[Array, PullBack]:
        output, adjoint = self.run(self.rows.contract(mass))
        return np.ascontiguousarray(output.T), lambda residual: self.rows.expand(adjoint(np.ascontiguousarray(residual.T)))

    def magnitude(self, targets: Array) -> Array:
        largest = np.stack([features.largest() for features in self.features], axis=1)
        return np.abs(targets) + np.abs(self.inputs.T) + largest


class WideModel(ResNetModel):
    """X^L of one path through the layers."""

    keep = False  # features at the states of the layers are new in every evaluation

    def run(self, marginals: list[Array]) -> tuple[Array, Callable[[Array], list[Array]]]:
        directions = self.rows.directions
        layers = [[(b, m[k]) for b, m in zip(directions, marginals, strict=True)] for k in range(self.rows.n_depth)]
        passed = WidePass(self.jet, layers, self.inputs)

        def adjoint(residual: Array) -> list[Array]:
            pairs = list(zip(passed.features, passed.adjoints(residual), strict=True))
            return [np.concatenate([f[k].pull_back(p[None, k]) for f, p in pairs]) for k in range(len(residual))]

        return passed.output, adjoint

    def check_start(self, masses: Array) -> None:
        """Raises InputError for layers whose mass is not 1/L."""
        depth, layers = self.rows.layout.depth, self.rows.layout.layers
        assert layers is not None
        check_layers(masses.sum(axis=tuple(k for k in range(masses.ndim) if k != depth)), layers, "initial")


class LinearModel(ResNetModel):
    """The first order of the wide model."""

    convex = True  # f is linear in ρ

    def run(self, marginals: list[Array]) -> tuple[Array, Callable[[Array], list[Array]]]:
        masses = [m.sum(axis=0, keepdims=True) for m in marginals]
        output = self.inputs + np.concatenate([f.sums(m)[0] for f, m in zip(self.features, masses, strict=True)])

        def adjoint(residual: Array) -> list[Array]:
            pulled = [f.pull_back(r[None]) for f, r in zip(self.features, residual, strict=True)]
            return [np.repeat(values, self.rows.n_depth, axis=0) for values in pulled]

        return output, adjoint


class QuadraticModel(ResNetModel):
    """The second order of the wide model."""

    def run(self, marginals: list[Array]) -> tuple[Array, Callable[[Array], list[Array]]]:
        sums = [f.sums(m) for f, m in zip(self.features, marginals, strict=True)]
        total, slopes = np.stack([s for s, _ in sums], axis=1), np.stack([j for _, j in sums], axis=1)
        passed = QuadraticPass(total, slopes, self.inputs, self.rows.layout.diagonal)

        def adjoint(residual: Array) -> list[Array]:
            pulled, before = passed.adjoints(residual), passed.before
            rows = enumerate(self.features)
            return [f.pull_back(pulled[:, k]) + f.pull_back_slopes(residual[k] * before) for k, f in rows]

        return passed.output, adjoint


MODELS: dict[str, type[ResNetModel]] = {"wide": WideModel, "linear": LinearModel, "quadratic": QuadraticModel}
