"""Networks with any feature, in Python: one branch with u = 1 on all factors."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from gridflow.energy.base import Energy
from gridflow.energy.network.data import Data
from gridflow.energy.network.features import Chosen, Entries, FeatureMatrix, Features
from gridflow.energy.network.grid import BoundBranch, BoundNetwork, BranchModel, features_of
from gridflow.energy.network.loss import LOSSES
from gridflow.energy.network.low_rank import WHOLE_ENTRIES
from gridflow.space.factor import Array
from gridflow.space.grid import Grid


@dataclass(frozen=True)
class FeatureNetwork(Energy):
    """A network with any feature, in Python: φ(coordinates, inputs) → (n_cells, n_data) or (n_cells, n_data, n_outputs).

    `coordinates` maps factor names to flat arrays (n_cells,); `inputs` is (n_data, n_dim). The generic
    fallback: an evaluation costs O(n_cells n_data).
    """

    feature: Callable[[dict[str, Array], Array], Array]
    data: Data
    loss: str = "squared"

    def bind(self, grid: Grid) -> BoundNetwork:
        return BoundNetwork(self.data, LOSSES[self.loss], partial(self.model, grid), grid)

    def model(self, grid: Grid, data: Data) -> BranchModel:
        """One branch for every output, over all factors, at the inputs of any data."""
        coordinates = grid.flat_coordinates(tuple(range(len(grid.shape))))
        split = grid.split(())
        n_data, n_outputs = len(data.inputs), self.data.targets.shape[1]

        def output_entries(output: int) -> Entries:
            def entries(cells: Chosen, chosen: Chosen) -> Array:  # a feature may depend on all inputs at once
                values = self.feature({n: c[cells] for n, c in coordinates.items()}, data.inputs)
                return values.reshape(-1, n_data, n_outputs)[:, chosen, output]

            return entries

        def features(entries: Entries) -> Features:
            if split.n_inner * n_data > WHOLE_ENTRIES:  # larger matrices would be evaluated at some data alone
                return FeatureMatrix(entries, split.n_inner, n_data, f"full matrix of {n_data} data")
            return features_of(entries, split.n_inner, data.inputs)

        inner = [features(output_entries(k)) for k in range(n_outputs)]
        return BranchModel([BoundBranch(split, np.ones((1, 1)), values, [k]) for k, values in enumerate(inner)])
