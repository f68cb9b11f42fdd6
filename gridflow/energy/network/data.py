"""Training data of network energies: files with columns, and named, seeded generators."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from msgspec import Meta, Struct
from numpy.typing import NDArray

from gridflow.energy.network.activation import ACTIVATIONS
from gridflow.energy.network.inputs import CircleInputs, GaussLegendreInputs, NodesInputs, product_rule
from gridflow.energy.network.teacher import Teacher, TeacherDensity, quadrature
from gridflow.errors import InputError, suggestion
from gridflow.files import open_netcdf
from gridflow.space.factor import Array

Count = Annotated[int, Meta(ge=1, le=10_000_000)]
Positive = Annotated[float, Meta(gt=0.0)]
BLOCK_ENTRIES = 2**22
"""Pre-activations of a teacher that are held at once: 32 MiB."""


@dataclass(frozen=True)
class Data:
    """inputs (n_data, n_dim), targets (n_data, n_outputs), weights (n_data,) with sum 1; notes say what was done to them."""

    inputs: Array
    targets: Array
    weights: Array
    notes: tuple[str, ...] = ()

    def covariance(self) -> Array:
        """Σ_j μ_j x_j x_jᵀ, (n_dim, n_dim): the Σ of S1 where the inputs are centred."""
        return (self.inputs * self.weights[:, None]).T @ self.inputs

    def subset(self, rows: NDArray[np.int64]) -> "Data":
        """A minibatch; its weights are scaled so that a uniformly drawn batch has the right mean, n/|rows|·μ_j."""
        return Data(self.inputs[rows], self.targets[rows], self.weights[rows] * (len(self.weights) / len(rows)), self.notes)


# ------------------------------------------------------------------------------------------------------------- files
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
        columns = read_columns(directory / self.file, self.file)
        inputs, targets = self.pick(columns, self.inputs), self.pick(columns, self.targets)
        if len(inputs) != len(targets):
            raise InputError(
                f"{len(inputs)} inputs and {len(targets)} targets in {self.file!r}", "equally many", "correct the file"
            )
        weights = np.ones(len(inputs)) if self.weights is None else self.pick(columns, [self.weights])[:, 0]
        if not (weights >= 0).all() or not weights.sum() > 0:
            raise InputError(
                f"weights column {self.weights!r} of {self.file!r}", "numbers ≥ 0 with a positive sum", "correct the column"
            )
        weights = weights / weights.sum()
        notes: tuple[str, ...] = ()
        if self.standardize:
            inputs, targets = (standardized(v, n, weights) for v, n in ((inputs, self.inputs), (targets, self.targets)))
            notes = ("inputs and targets shifted and scaled to mean 0 and standard deviation 1",)
        return Data(inputs, targets, weights, notes)

    def pick(self, columns: dict[str, Array], names: list[str]) -> Array:
        for name in names:
            if name not in columns:
                raise InputError(
                    f"column {name!r} of {self.file!r}",
                    f"its columns: {', '.join(columns)}",
                    suggestion(name, columns) or "use one of them",
                )
        sizes = {columns[n].size for n in names}
        if len(sizes) > 1:
            raise InputError(
                f"{', '.join(names)} of {self.file!r} have {sorted(sizes)} entries", "equally many", "correct the file"
            )
        picked = np.stack([columns[n] for n in names], axis=1)
        if not np.isfinite(picked).all():
            row = int(np.argwhere(~np.isfinite(picked).all(axis=1))[0, 0])
            raise InputError(
                f"{self.file!r} has a missing or non-finite value in data row {row + 1} of {', '.join(names)}",
                "finite numbers",
                "remove or complete the row",
            )
        return picked


def standardized(values: Array, names: list[str], weights: Array) -> Array:
    centred = values - weights @ values
    deviation = np.sqrt(weights @ centred**2)
    if not (deviation > 0).all():
        raise InputError(
            f"column {names[int(np.argmin(deviation))]!r} is constant", "columns that vary", "set standardize = false"
        )
    return centred / deviation


def read_columns(path: Path, shown: str) -> dict[str, Array]:
    """Columns of a CSV or NetCDF file by name."""
    if path.suffix == ".nc":
        with open_netcdf(path, "energy.data") as dataset:
            columns = {str(n): np.asarray(v, dtype=float).ravel() for n, v in dataset.variables.items() if v.dtype.kind in "fiu"}
        return columns
    if not path.is_file():
        raise InputError(
            f"the data file {shown!r} does not exist", "a CSV or NetCDF file", "check the path; it is relative to the case file"
        )
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"the data file {shown!r} cannot be read as text", "a CSV file in UTF-8", "convert it, or check its permissions"
        ) from error
    lines = [line.split("#")[0].strip() for line in text.splitlines()]
    rows = [[entry.strip() for entry in line.split(",")] for line in lines if line]
    if len(rows) < 2:
        raise InputError(
            f"{shown!r} holds no data", "one row of column names and at least one row of numbers", "complete the file"
        )
    names, body = rows[0], rows[1:]
    if len(set(names)) < len(names):
        raise InputError(f"{shown!r} has columns of the same name: {', '.join(names)}", "distinct names", "rename them")
    values = np.empty((len(body), len(names)))
    for number, row in enumerate(body, start=1):
        if len(row) != len(names):
            raise InputError(
                f"data row {number} of {shown!r} has {len(row)} entries", f"{len(names)}, one per column name", "correct the row"
            )
        for k, entry in enumerate(row):
            try:
                values[number - 1, k] = float(entry or "nan")
            except ValueError:
                raise InputError(f"{entry!r} in data row {number} of {shown!r}", "numbers", "correct the entry") from None
    return dict(zip(names, values.T, strict=True))


# -------------------------------------------------------------------------------------------------------- generators
class NormalInputs(Struct, frozen=True, forbid_unknown_fields=True, tag="normal", tag_field="kind"):
    """Normal sample, whitened: its mean is 0 and its covariance is exactly the one asked for (the Σ of S1)."""

    count: Count
    covariance: list[list[float]]
    seed: int = 0

    def points(self) -> tuple[Array, Array]:
        dim = len(self.covariance)
        allowed = "a symmetric positive definite matrix"
        square = dim > 0 and all(len(row) == dim for row in self.covariance)
        covariance = np.array(self.covariance if square else [[np.nan]], dtype=float)
        if not np.allclose(covariance, covariance.T):
            raise InputError(f"covariance {self.covariance}", allowed, "write it row by row, [[5.0, 0.0], [0.0, 1.0]]")
        if np.linalg.eigvalsh(covariance).min() <= 0:
            raise InputError(
                f"covariance {self.covariance} with eigenvalues {np.linalg.eigvalsh(covariance)}",
                allowed,
                "make all eigenvalues positive",
            )
        if self.count <= dim:
            raise InputError(f"{self.count} samples in dimension {dim}", f"more than {dim}", "raise count")
        sample = np.random.default_rng(self.seed).standard_normal((self.count, dim))
        sample -= sample.mean(axis=0)
        whiten = np.linalg.inv(np.linalg.cholesky(sample.T @ sample / self.count)).T
        return sample @ whiten @ np.linalg.cholesky(covariance).T, np.full(self.count, 1 / self.count)


class GaussHermiteInputs(Struct, frozen=True, forbid_unknown_fields=True, tag="gauss-hermite", tag_field="kind"):
    """Gauss–Hermite quadrature of an isotropic normal measure with mean 0: exact up to degree 2·count − 1 in each input."""

    count: Annotated[int, Meta(ge=1, le=180)]
    deviation: Positive = 1.0
    dimension: Annotated[int, Meta(ge=1, le=3)] = 1

    def points(self) -> tuple[Array, Array]:
        nodes, weights = np.polynomial.hermite_e.hermegauss(self.count)
        return product_rule([(self.deviation * nodes, weights / weights.sum())] * self.dimension)


class UniformInputs(Struct, frozen=True, forbid_unknown_fields=True, tag="uniform", tag_field="kind"):
    """Equidistant midpoints of an interval."""

    count: Count
    bounds: tuple[float, float]

    def points(self) -> tuple[Array, Array]:
        lower, upper = self.bounds
        if not upper > lower:
            raise InputError(f"bounds {list(self.bounds)}", "increasing bounds", "write bounds = [lower, upper]")
        nodes = lower + (upper - lower) * (np.arange(self.count) + 0.5) / self.count
        return nodes[:, None], np.full(self.count, 1 / self.count)


class Neuron(Struct, frozen=True, forbid_unknown_fields=True):
    """One neuron of a teacher: weight·σ(direction·x), or weight·σ(direction·x/‖direction‖_Σ) with batch normalisation."""

    direction: Annotated[list[float], Meta(min_length=1)]
    weight: float | list[float] = 1.0


InputsSpec = NormalInputs | GaussHermiteInputs | UniformInputs | GaussLegendreInputs | CircleInputs | NodesInputs


class TeacherData(Struct, frozen=True, forbid_unknown_fields=True, tag="teacher", tag_field="kind"):
    """Inputs from a named measure, targets from a teacher: y(x) = Σᵢ wᵢ σ(cᵢ·x) + Σ_k w_k ∫σ(θ·x) dρ_k (S3 §2.1).

    neurons, densities : the parts of the teacher, at least one; densities are integrated once, on nodes of their own
    """

    inputs: InputsSpec
    neurons: list[Neuron] = []
    normalization: bool = False
    activation: Literal[tuple(ACTIVATIONS)] | None = None  # type: ignore[valid-type]
    densities: list[TeacherDensity] = []

    def __post_init__(self) -> None:
        if not self.neurons and not self.densities:
            raise ValueError("a teacher without neurons and densities; give at least one of them")
        if self.densities and self.normalization:
            raise ValueError("a teacher with densities under batch normalisation; remove densities or normalization")

    def weights(self) -> list[float | list[float]]:
        """Of the neurons, then of the densities."""
        return [n.weight for n in self.neurons] + [d.weight for d in self.densities]

    def teacher(self) -> Teacher:
        """The teacher as a weighted sum of neurons: those of `neurons`, and the quadrature nodes of `densities`."""
        points = [np.array([n.direction]) for n in self.neurons]
        weights = [np.array([np.atleast_1d(n.weight)]) for n in self.neurons]
        for density in self.densities:
            nodes, masses = quadrature(density)
            points.append(nodes)
            weights.append(masses[:, None] * np.atleast_1d(density.weight))
        return Teacher(np.concatenate(points), np.concatenate(weights))

    def load(self, directory: Path, activation: str) -> Data:
        inputs, weights = self.inputs.points()
        self.check(inputs.shape[1])
        sigma, teacher = ACTIVATIONS[self.activation or activation].value, self.teacher()
        if self.normalization:
            z = self.normalized(inputs @ teacher.points.T, weights)
            return Data(inputs, sigma(z) @ teacher.weights, weights)
        step = max(1, BLOCK_ENTRIES // len(teacher.points))
        blocks = [inputs[k : k + step] for k in range(0, len(inputs), step)]
        return Data(inputs, np.concatenate([sigma(x @ teacher.points.T) @ teacher.weights for x in blocks]), weights)

    def check(self, dim: int) -> None:
        """Raises InputError for neurons or densities that do not fit the inputs, or each other."""
        outputs = {np.size(w) for w in self.weights()}
        if len(outputs) > 1:
            raise InputError(
                f"teacher neurons with {sorted(outputs)} outputs",
                "one number of outputs",
                "give every neuron equally many weights",
            )
        for neuron in self.neurons:
            if len(neuron.direction) != dim:
                raise InputError(
                    f"teacher direction {neuron.direction}", f"{dim} numbers, one per input", "match the dimension of the inputs"
                )
        for density in self.densities:
            if len(density.density) != dim:
                raise InputError(
                    f"a teacher density of {len(density.density)} coordinates", f"{dim}, one per input", "match the inputs"
                )

    def normalized(self, z: Array, weights: Array) -> Array:
        """Pre-activations (n_data, n_neurons) centred, then divided by ‖direction‖_Σ, their deviation (S1 (2))."""
        z = z - weights @ z
        norms = np.sqrt(weights @ z**2)
        if not (norms > 0).all():
            raise InputError(
                f"teacher direction {self.neurons[int(np.argmin(norms))].direction} under batch normalisation",
                "a direction in which the inputs vary",
                "change it",
            )
        return z / norms


DataSpec = FileData | TeacherData
