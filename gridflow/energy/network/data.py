"""Training data of network energies, and files with columns. Teachers are in `gridflow.energy.network.teacher`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
from msgspec import Meta, Struct
from numpy.typing import NDArray

from gridflow.errors import InputError, require, suggestion
from gridflow.files import open_netcdf
from gridflow.space.factor import Array


@dataclass(frozen=True)
class Data:
    """inputs (n_data, n_dim), targets (n_data, n_outputs), weights (n_data,) with sum 1; notes : what was done to them."""

    inputs: Array
    targets: Array
    weights: Array
    notes: tuple[str, ...] = ()

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

    `standardize` shifts and scales inputs and targets to mean 0 and standard deviation 1 (weighted), one column at a time.
    """

    file: str
    inputs: Annotated[list[str], Meta(min_length=1)]
    targets: Annotated[list[str], Meta(min_length=1)]
    weights: str | None = None
    standardize: bool = False

    def load(self, directory: Path, activation: str) -> Data:
        """The data. Raises InputError for columns that do not make any."""
        columns = read_columns(directory / self.file, self.file)
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
        return Data(inputs, targets, weights, notes)

    def pick(self, columns: dict[str, Array], names: list[str]) -> Array:
        """The named columns, (n_rows, n_names). Raises InputError for missing ones, and for numbers that are not finite."""
        for name in names:
            allowed, fix = f"its columns: {', '.join(columns)}", suggestion(name, columns) or "use one of them"
            require(name in columns, f"column {name!r} of {self.file!r}", allowed, fix)
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
    received = f"column {names[int(np.argmin(deviation))]!r} is constant"
    require(bool((deviation > 0).all()), received, "columns that vary", "set standardize = false")
    return centred / deviation


def read_columns(path: Path, shown: str) -> dict[str, Array]:
    """Columns of a CSV or NetCDF file by name."""
    if path.suffix == ".nc":
        with open_netcdf(path, "energy.data") as dataset:
            columns = {str(n): np.asarray(v, dtype=float).ravel() for n, v in dataset.variables.items() if v.dtype.kind in "fiu"}
        return columns
    received, fix = f"the data file {shown!r} does not exist", "check the path; it is relative to the case file"
    require(path.is_file(), received, "a CSV or NetCDF file", fix)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"the data file {shown!r} cannot be read as text", "a CSV file in UTF-8", "convert it, or check its permissions"
        ) from error
    lines = [line.split("#")[0].strip() for line in text.splitlines()]
    rows = [[entry.strip() for entry in line.split(",")] for line in lines if line]
    allowed = "one row of column names and at least one row of numbers"
    require(len(rows) >= 2, f"{shown!r} holds no data", allowed, "complete the file")
    names, body = rows[0], rows[1:]
    received = f"{shown!r} has columns of the same name: {', '.join(names)}"
    require(len(set(names)) == len(names), received, "distinct names", "rename them")
    values = np.empty((len(body), len(names)))
    for number, row in enumerate(body, start=1):
        received = f"data row {number} of {shown!r} has {len(row)} entries"
        require(len(row) == len(names), received, f"{len(names)}, one per column name", "correct the row")
        for k, entry in enumerate(row):
            try:
                values[number - 1, k] = float(entry or "nan")
            except ValueError:
                raise InputError(f"{entry!r} in data row {number} of {shown!r}", "numbers", "correct the entry") from None
    return dict(zip(names, values.T, strict=True))
