"""Features of (leaky) ReLUs with one or two weights, bias included: sums by sorted angles, O(n_inner + n_data).

The feature is linear on both sides of the line b·x = 0 (`gridflow.sums.kinks`). A network of many data has few lines between
them: for the squared loss the data between two neighbouring lines are replaced by two, exactly, so that a step with a million
data costs about what one with as many data as inner cells does.
"""

from copy import copy
from dataclasses import replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from gridflow.energy.network.data import Data
from gridflow.energy.network.features import Chosen, Features
from gridflow.space.factor import Array
from gridflow.sums.kinks import KinkedSums, SortedData, grouped, merge


class KinkedFeatures(Features):
    """factor·σ(b·x), σ(z) = s₊ max(z, 0) + s₋ min(z, 0), for b (n_inner, 1 or 2), inputs (n_data, 1 or 2), slopes (s₋, s₊).

    factor : (n_inner,), or None for 1
    """

    def __init__(self, directions: Array, factor: Array | None, inputs: Array, slopes: tuple[float, float]) -> None:
        points, self.slopes = in_plane(directions), slopes
        self.data = SortedData.of(in_plane(inputs))
        self.cuts, self.ahead = self.data.cuts(points)
        self.points = points if factor is None else points * factor[:, None]
        self.n_inner, self.n_data = len(points), len(inputs)
        self.note = f"piecewise linear, sums over {self.n_data} sorted data"

    @cached_property
    def sums(self) -> KinkedSums:
        """The sums over the sorted data."""
        starts, (cuts,) = grouped([self.cuts], self.n_data)
        return KinkedSums(self.slopes, starts, self.data.vectors, self.data.signs, self.points, self.places(cuts, starts.size))

    def places(self, cuts: NDArray[np.int32], size: int) -> NDArray[np.int32]:
        """Cuts by group, with the sign behind them, as `KinkedSums` has them."""
        return cuts + np.int32(size) * self.ahead.astype(np.int32)

    def predict(self, moments: Array) -> Array:
        found = np.empty((len(moments), self.n_data))
        for values, masses in zip(found, moments, strict=True):
            values[self.data.order] = self.sums.over_points(np.ascontiguousarray(masses))
        return found

    def pull_back(self, residuals: Array) -> Array:
        return np.array([self.sums.over_data(residual[self.data.order]) for residual in residuals])

    def largest(self) -> Array:
        bound = np.empty(self.n_data)
        bound[self.data.order] = bounds(self.sums)
        return bound

    def at_cells(self, cells: Chosen) -> "KinkedFeatures":
        found = copy(self)
        vars(found).pop("sums", None)
        found.cuts, found.ahead, found.points = self.cuts[cells], self.ahead[cells], self.points[cells]
        found.n_inner = len(found.points)
        return found


class MergedFeatures(Features):
    """The same for data that `merge` has made from many, in their order."""

    def __init__(self, sums: KinkedSums, note: str) -> None:
        self.sums, self.note = sums, note
        self.n_inner, self.n_data = len(sums.points), len(sums.vectors)

    def predict(self, moments: Array) -> Array:
        return np.array([self.sums.over_points(np.ascontiguousarray(masses)) for masses in moments])

    def pull_back(self, residuals: Array) -> Array:
        return np.array([self.sums.over_data(np.ascontiguousarray(residual)) for residual in residuals])

    def largest(self) -> Array:
        return bounds(self.sums)

    def at_cells(self, cells: Chosen) -> "MergedFeatures":
        return MergedFeatures(replace(self.sums, points=self.sums.points[cells], places=self.sums.places[cells]), self.note)


def in_plane(vectors: Array) -> Array:
    """Vectors (n, 1 or 2) as (n, 2)."""
    return vectors if vectors.shape[1] == 2 else np.hstack([vectors, np.zeros((len(vectors), 1))])


def bounds(sums: KinkedSums) -> Array:
    """max |σ(b·x)| ≤ max(|s₊|, |s₋|) max |b| |x| at the data, (n_data,)."""
    longest = float(np.linalg.norm(sums.points, axis=1).max()) * max(map(abs, sums.slopes))
    return longest * np.linalg.norm(sums.vectors, axis=1)


def merged(features: list[KinkedFeatures], data: Data) -> tuple[list[MergedFeatures], Data, float]:
    """(features at few data, these with weights 1, what the squared loss has beside them) for branches with the same inputs."""
    source, n_data = features[0].data, features[0].n_data
    starts, cuts = grouped([f.cuts for f in features], n_data)
    roots = np.sqrt(data.weights[source.order])[:, None]
    rows = np.hstack([source.vectors, data.targets[source.order]]) * roots
    starts, rows, signs, rest = merge(starts, rows, source.signs)
    vectors, targets = np.ascontiguousarray(rows[:, :2]), np.ascontiguousarray(rows[:, 2:])
    note = f"piecewise linear, {n_data} data merged to {len(rows)} without error"
    found = []
    for f, cut in zip(features, cuts, strict=True):
        sums = KinkedSums(f.slopes, starts, vectors, signs, f.points, f.places(cut, starts.size))
        found.append(MergedFeatures(sums, note))
    return found, Data(vectors, targets, np.ones(len(rows))), rest / 2
