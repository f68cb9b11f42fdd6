"""Training data of network energies, from files and teachers (`gridflow.energy.network.teacher`)."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
from msgspec import Meta, Struct
from numpy.typing import NDArray

from gridflow.energy.network.columns import check_names, read_columns
from gridflow.errors import require
from gridflow.space.factor import Array


@dataclass(frozen=True)
class Data:
    """inputs (n_data, n_dim), targets (n_data, n_outputs), weights (n_data,) with sum 1; notes : what was done to them.

    saved : numbers of the data that a dataset has, None for all
    """

    inputs: Array
    targets: Array
    weights: Array
    notes: tuple[str, ...] = ()
    saved: NDArray[np.int64] | None = None

    def in_dataset(self, values: Array) -> Array:
        """Of values of all data, (n_data, …), those that a dataset has."""
        return values if self.saved is None else values[self.saved]

    def covariance(self) -> Array:
        """Σ_j μ_j x_j x_jᵀ, (n_dim, n_dim): the Σ of S1 where the inputs are centred."""
        return (self.inputs * self.weights[:, None]).T @ self.inputs

    def inputs_with_bias(self, bias: bool) -> Array:
        """Inputs, with a last column of ones for a bias, (n_data, n_dim)."""
        return np.hstack([self.inputs, np.ones((len(self.inputs), 1))]) if bias else self.inputs

    def subset(self, rows: NDArray[np.int64]) -> "Data":
        """A minibatch; its weights are scaled so that a uniformly drawn batch has the right mean, n/|rows|·μ_j."""
        return Data(self.inputs[rows], self.targets[rows], self.weights[rows] * (len(self.weights) / len(rows)), self.notes)


class FileData(Struct, frozen=True, forbid_unknown_fields=True, tag="file", tag_field="kind"):
    """Columns of a CSV file (first row: names; `#` starts a comment) or variables of a NetCDF file.

    file : relative to the case; inputs, targets : columns; weights : column of the weights of the data, equal by default
    standardize : shift and scale inputs and targets to mean 0 and standard deviation 1 (weighted), one column at a time
    predictions : so many of the data, evenly spaced in the order of the file, are in the dataset with their predictions at every
        save; default all. It changes nothing else
    """

    file: str
    inputs: Annotated[list[str], Meta(min_length=1)]
    targets: Annotated[list[str], Meta(min_length=1)]
    weights: str | None = None
    standardize: bool = False
    predictions: Annotated[int, Meta(ge=1)] | None = None

    def load(self, directory: Path, activation: str) -> Data:
        """The data. Raises InputError for columns that do not make any."""
        named = [*self.inputs, *self.targets, *([] if self.weights is None else [self.weights])]
        columns = read_columns(directory / self.file, self.file, named)
        inputs, targets = self.pick(columns, self.inputs), self.pick(columns, self.targets)
        received = f"{len(inputs)} inputs and {len(targets)} targets in {self.file!r}"
        require(len(inputs) == len(targets), received, "equally many", "correct the file")
        weights = np.ones(len(inputs)) if self.weights is None else self.pick(columns, [self.weights])[:, 0]
        received, positive = f"weights column {self.weights!r} of {self.file!r}", (weights >= 0).all() and weights.sum() > 0
        require(bool(positive), received, "numbers ≥ 0 with a positive sum", "correct the column")
        weights = weights / weights.sum()
        notes: tuple[str, ...] = ()
        if self.standardize:
            inputs, targets = (standard_scores(v, n, weights) for v, n in ((inputs, self.inputs), (targets, self.targets)))
            notes = ("inputs and targets shifted and scaled to mean 0 and standard deviation 1",)
        saved = None
        if self.predictions is not None and self.predictions < len(inputs):
            saved = np.linspace(0, len(inputs) - 1, self.predictions).round().astype(np.int64)
            notes = (*notes, f"{saved.size} of {len(inputs)} data, evenly spaced in the order of the file")
        return Data(inputs, targets, weights, notes, saved)

    def pick(self, columns: dict[str, Array], names: list[str]) -> Array:
        """The named columns, (n_rows, n_names). Raises InputError for missing ones, and for numbers that are not finite."""
        check_names(names, list(columns), self.file)
        sizes = sorted({columns[n].size for n in names})
        received = f"{', '.join(names)} of {self.file!r} have {sizes} entries"
        require(len(sizes) == 1, received, "equally many", "correct the file")
        picked = np.stack([columns[n] for n in names], axis=1)
        finite = np.isfinite(picked).all(axis=1)
        row = 1 + int(np.argmin(finite))
        received = f"{self.file!r} has a missing or non-finite value in data row {row} of {', '.join(names)}"
        require(bool(finite.all()), received, "finite numbers", "remove or complete the row")
        return picked


def standard_scores(values: Array, names: list[str], weights: Array) -> Array:
    """Columns (n_data, n_columns) with mean 0 and standard deviation 1. Raises InputError for constant ones."""
    centred = values - weights @ values
    deviation = np.sqrt(weights @ centred**2)
    varies = np.ptp(values[weights > 0], axis=0) > 0  # the mean of equal numbers is rounded
    received = f"column {names[int(np.argmin(np.where(varies, deviation, -1.0)))]!r} is constant"
    require(bool((varies & (deviation > 0)).all()), received, "columns that vary", "set standardize = false")
    return centred / deviation
