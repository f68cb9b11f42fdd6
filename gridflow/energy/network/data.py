"""Training data of network energies, from files and teachers (`gridflow.energy.network.teacher`)."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import numpy as np
from msgspec import Meta, Struct
from numpy.typing import NDArray

from gridflow.energy.network.columns import check_names, read_columns
from gridflow.errors import require
from gridflow.space.factor import Array


@dataclass(frozen=True)
class Scaling:
    """How columns were shifted and scaled: scaled = (given − mean)/scale, (n_columns,) each."""

    mean: Array
    scale: Array

    def scaled(self, given: Array) -> Array:
        """Of given values (…, n_columns)."""
        return (given - self.mean) / self.scale

    def given(self, scaled: Array) -> Array:
        """What scaled values were given as."""
        return scaled * self.scale + self.mean


@dataclass(frozen=True)
class Data:
    """inputs (n_data, n_dim), targets (n_data, n_outputs), weights (n_data,) with sum 1; notes : what was done to them.

    saved : numbers of the data that a dataset has, None for all
    input_scaling, target_scaling : how they were shifted and scaled, None for not at all
    held_out : data that are not trained on, scaled in the same way, or None
    """

    inputs: Array
    targets: Array
    weights: Array
    notes: tuple[str, ...] = ()
    saved: NDArray[np.int64] | None = None
    input_scaling: Scaling | None = None
    target_scaling: Scaling | None = None
    held_out: "Data | None" = None

    def rows(self, chosen: slice | NDArray[np.int64]) -> "Data":
        """Some of the data, with weights of sum 1."""
        return Data(self.inputs[chosen], self.targets[chosen], self.weights[chosen] / self.weights[chosen].sum())

    def scaled(self, inputs: Scaling, targets: Scaling) -> "Data":
        """The same, shifted and scaled."""
        scaled = inputs.scaled(self.inputs), targets.scaled(self.targets)
        return replace(self, inputs=scaled[0], targets=scaled[1], input_scaling=inputs, target_scaling=targets)

    def centred(self, note: str) -> "Data":
        """The same with inputs of mean 0, and a note that says so."""
        mean = self.weights @ self.inputs
        before = self.input_scaling or Scaling(np.zeros(mean.size), np.ones(mean.size))
        scaling = Scaling(before.given(mean), before.scale)
        held = None if self.held_out is None else replace(self.held_out, inputs=self.held_out.inputs - mean)
        inputs, notes = self.inputs - mean, (*self.notes, note)
        return replace(self, inputs=inputs, notes=notes, input_scaling=scaling, held_out=held)

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
    held_out : share of the data, drawn at random by `seed`, that are not trained on; every save has the loss there,
        `held_out_loss`
    predictions : so many of the data, evenly spaced in the order of the file, are in the dataset with their predictions at every
        save; default all. It changes nothing else
    """

    file: str
    inputs: Annotated[list[str], Meta(min_length=1)]
    targets: Annotated[list[str], Meta(min_length=1)]
    weights: str | None = None
    standardize: bool = False
    predictions: Annotated[int, Meta(ge=1)] | None = None
    held_out: Annotated[float, Meta(gt=0.0, lt=1.0)] | None = None
    seed: Annotated[int, Meta(ge=0)] = 0

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
        trained, held = self.split(weights)
        every, notes = Data(inputs, targets, weights), () if held is None else (f"{held.size} of {weights.size} data held out",)
        data, tested = every.rows(trained), None if held is None else every.rows(held)
        if self.standardize:
            scalings = [
                standard_scaling(v, n, data.weights) for v, n in ((data.inputs, self.inputs), (data.targets, self.targets))
            ]
            data, tested = data.scaled(*scalings), None if tested is None else tested.scaled(*scalings)
            notes = (*notes, "inputs and targets shifted and scaled to mean 0 and standard deviation 1")
        saved = None
        if self.predictions is not None and self.predictions < len(data.inputs):
            saved = np.linspace(0, len(data.inputs) - 1, self.predictions).round().astype(np.int64)
            notes = (*notes, f"{saved.size} of {len(data.inputs)} data, evenly spaced in the order of the file")
        return replace(data, notes=notes, saved=saved, held_out=tested)

    def split(self, weights: Array) -> tuple[slice | NDArray[np.int64], NDArray[np.int64] | None]:
        """Rows that are trained on, in the order of the file, and rows that are held out. Raises InputError for too few."""
        if self.held_out is None:
            return slice(None), None
        count = round(self.held_out * weights.size)
        chosen = np.sort(np.random.default_rng(self.seed).permutation(weights.size)[:count])
        trained = np.setdiff1d(np.arange(weights.size), chosen)
        received = f"held_out = {self.held_out} of {weights.size} data in {self.file!r}"
        enough = count > 0 and weights[chosen].sum() > 0 and weights[trained].sum() > 0
        require(bool(enough), received, "data of positive weight on both sides", "hold out more or fewer, or choose another seed")
        return trained, chosen

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


def standard_scaling(values: Array, names: list[str], weights: Array) -> Scaling:
    """The scaling of columns (n_data, n_columns) to mean 0 and standard deviation 1. Raises InputError for constant ones."""
    mean = weights @ values
    centred = values - mean
    deviation = np.sqrt(weights @ centred**2)
    varies = np.ptp(values[weights > 0], axis=0) > 0  # the mean of equal numbers is rounded
    received = f"column {names[int(np.argmin(np.where(varies, deviation, -1.0)))]!r} is constant"
    require(bool((varies & (deviation > 0)).all()), received, "columns that vary", "set standardize = false")
    return Scaling(mean, deviation)
