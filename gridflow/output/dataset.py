"""Results: every variable, dimension, unit and attribute of a dataset, in memory and in NetCDF.

The names are those of `gridflow.output.schema`. A result is an `xarray.Dataset`, CF-1.11, which is laid out as a
`gridflow.output.layout.Layout` before; `xarray.open_dataset` is enough to open one.

While a run lasts there is NAME.part (`gridflow.output.part`), one record per saved time. NAME is complete or absent.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import gridflow
from gridflow.case.case import Case
from gridflow.errors import InputError
from gridflow.netcdf import read_dataset
from gridflow.output.kept import publish, temporary_path
from gridflow.output.layout import Layout, dataset_of
from gridflow.output.part import Part, write_complete
from gridflow.output.schema import INTEGERS, attributes_of
from gridflow.output.ugrid import add_mesh, face_attributes
from gridflow.paths import part_path
from gridflow.space.factor import Array
from gridflow.space.grid import Grid
from gridflow.space.mesh import surface_of

if TYPE_CHECKING:
    import xarray


@dataclass(frozen=True)
class Record:
    """What is saved at one time: density in storage order, prediction (n_data, n_outputs) or None, and numbers by name."""

    time: float
    density: Array
    prediction: Array | None
    numbers: dict[str, float]


@dataclass(frozen=True)
class Ending:
    """What a run leaves beside its dataset: all attributes, and the numbers of its first and its last record by name.

    reached : the time of its last state, where it was interrupted
    """

    attrs: dict[str, Any]
    first: dict[str, float]
    last: dict[str, float]
    reached: float = 0.0


def layout_of(
    case: Case, grid: Grid, data: Any, records: Mapping[str, tuple[str, str]], own: Mapping[str, str] | None = None
) -> Layout:
    """A dataset of everything that does not change in time, with empty variables (time = 0) for what does.

    records : units and long names of the numbers per saved time, by name; own : see `attributes`. Raises InputError for a factor
    that is called like a record.
    """
    order = grid.order
    layout = Layout(attributes(case, "solve", own))
    layout.add("time", ("time",), np.zeros(0), {**attributes_of("time"), "axis": "T"})
    layout.coordinates.append("cell_volume")
    meshes: dict[str, str] = {}
    for factor in grid.factors:
        if (surface := surface_of(factor)) is not None:
            add_mesh(layout, surface)
            meshes = meshes or face_attributes(factor.name)  # UGRID has one mesh per variable
            continue
        attrs = {"units": factor.units, "long_name": f"{factor.kind} coordinate {factor.name}"}
        ends = {"bounds": f"{factor.name}_bounds"} if factor.one_dimensional else {}
        curve = {} if factor.covariance is None else {"covariance": factor.covariance.ravel()}
        turn = {"period": factor.period} if factor.period > 0 else {}
        held = {} if factor.moves or (factor.volumes == 1).all() else {"volumes": factor.volumes}
        layout.add(factor.name, (factor.name,), factor.points, attrs | ends | curve | turn | held)
        for name in ends.values():
            layout.add(name, (factor.name, "bounds"), np.stack([factor.edges[:-1], factor.edges[1:]], axis=1), {})
            layout.coordinates.append(name)
    if meshes:
        layout.attrs["Conventions"] += " UGRID-1.0"
    layout.add("cell_volume", order, grid.volume, {**attributes_of("cell_volume"), **meshes})
    lines = " ".join(f"{f.name}:" for f in grid.factors if f.moves)
    of_density = {"cell_measures": "volume: cell_volume", "cell_methods": f"time: point {lines} mean" if lines else "time: point"}
    layout.add("density", ("time", *order), np.zeros((0, *grid.shape)), {**attributes_of("density"), **of_density, **meshes})
    for name, (units, long_name) in records.items():
        if name in layout.variables or name in layout.sizes:
            raise InputError(f"a factor called {name!r}", "any other name", "rename the factor: the energy records this name")
        empty = np.zeros(0, dtype=np.int64 if name in INTEGERS else float)
        layout.add(name, ("time",), empty, {"units": units, "long_name": long_name})
    if data is not None:
        add_data(layout, data)
    return layout


def add_data(layout: Layout, data: Any) -> None:
    """Adds the training data, and an empty variable for the predictions."""
    inputs, targets, weights = (data.in_dataset(values) for values in (data.inputs, data.targets, data.weights))
    targets = targets[:, 0] if data.targets.shape[1] == 1 else targets
    outputs = ("data", "output")[: targets.ndim]
    layout.add("input", ("data", "input_component"), inputs, attributes_of("input"))
    layout.add("target", outputs, targets, attributes_of("target"))
    scalings = {"input": (("input_component",), data.input_scaling), "target": (outputs[1:], data.target_scaling)}
    for name, (dims, scaling) in scalings.items():
        if scaling is not None:
            mean, scale = (values if dims else values[0] for values in (scaling.mean, scaling.scale))
            layout.add(f"{name}_mean", dims, mean, attributes_of(f"{name}_mean"))
            layout.add(f"{name}_scale", dims, scale, attributes_of(f"{name}_scale"))
    layout.add("data_weight", ("data",), weights, attributes_of("data_weight"))
    layout.add("prediction", ("time", *outputs), np.zeros((0, *targets.shape)), attributes_of("prediction"))
    if data.notes:
        layout.attrs["data_notes"] = "; ".join(data.notes)


OF_THE_ENERGY = ("energy", "title", "source", "description", "exact")
"""Keys of a case that say which energy it has, or of whom."""


def attributes(case: Case, command: str, own: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Global attributes of every dataset of a case; own : of an energy in Python, in place of the one in the case.

    With such an energy the case gives space, start, flow and times alone: neither its [energy] nor what it says of itself is
    written down as if it belonged to the result.
    """
    given = f" with the energy {own['energy_class']}" if own else ""
    done = f"gridflow {gridflow.__version__}: {command} {case.name}{given}"
    without = f"# without [energy]: it is {own['energy_class']}, in Python\n" if own else ""
    return {
        "Conventions": "CF-1.11",
        "title": f"energy {own['energy_class']} in place of that of: {case.title}" if own else case.title,
        "source": "user" if own else case.source or "user",
        "case": without + case.text(without=OF_THE_ENERGY if own else ()),
        "case_name": case.name,
        "gridflow_version": gridflow.__version__,
        "scheme": f"{type(case.scheme).label}, {case.scheme!r}",
        "history": f"{datetime.now(UTC).isoformat(timespec='seconds')} {done}",
        **(own or {}),
    }


def record_values(record: Record, layout: Layout) -> dict[str, Any]:
    """Values of one record by variable name, in the shapes of the dataset."""
    values: dict[str, Any] = {"time": record.time, "density": record.density, **record.numbers}
    if record.prediction is not None and "prediction" in layout.variables:
        values["prediction"] = record.prediction[:, 0] if record.prediction.shape[1] == 1 else record.prediction
    return values


class MemoryWriter:
    """Collects records, for a dataset in memory."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.records: list[dict[str, Any]] = []
        self.attrs: dict[str, Any] = {}

    def append(self, record: Record) -> None:
        """Keeps a record."""
        self.records.append(record_values(record, self.layout))

    def close(self) -> None:
        """Nothing is open."""

    def finish(self, attrs: dict[str, Any]) -> Ending:
        """Adds the attributes to those of the dataset."""
        self.attrs = attrs
        first, last = ({n: v for n, v in self.records[k].items() if np.ndim(v) == 0} for k in (0, -1))
        return Ending(self.layout.attrs | attrs, first, last)

    def dataset(self) -> "xarray.Dataset":
        """All records, with the attributes."""
        return dataset_of(self.layout, {n: np.array([r[n] for r in self.records]) for n in self.records[0]}, self.attrs)

    def in_file(self, path: Path) -> "FileWriter":
        """The writer of a file, with all records so far."""
        writer = FileWriter(path, self.layout)
        for values in self.records:
            writer.part.append(values)
        return writer


class NoWriter(MemoryWriter):
    """Of a process that does not write."""

    def append(self, record: Record) -> None:
        """Nothing is kept."""


class FileWriter:
    """Writes records to NAME.part, and NAME from it at the end. Whether a file may be replaced is decided before.

    part : of an interrupted run, to go on with
    """

    def __init__(self, path: Path, layout: Layout, part: Part | None = None) -> None:
        self.path, self.layout = path, layout
        self.part = part or Part.new(part_path(path), layout)
        self.written, self.attrs = self.part.path, dict[str, Any]()

    def append(self, record: Record) -> None:
        """Writes a record so that a killed run does not lose it."""
        self.part.append(record_values(record, self.layout))

    def finish(self, attrs: dict[str, Any], state: bytes = b"") -> Ending:
        """Makes the complete file, with the attributes; state : see `write_complete`. Raises OSError; the part stays."""
        temporary = temporary_path(self.path)
        write_complete(self.part, self.layout, temporary, attrs, state)
        ending = self.suspend(attrs)
        publish(temporary, self.path)
        self.part.path.unlink()
        self.written = self.path
        return ending

    def suspend(self, attrs: dict[str, Any]) -> Ending:
        """Closes the part so that it can be read, or resumed."""
        rows = [self.part.values_at(k) for k in (0, self.part.records - 1) if self.part.records > 0]
        first, last = ({n: float(v) for n, v in row.items() if v.ndim == 0} for row in rows or ({}, {}))
        self.part.close()
        self.attrs = attrs
        return Ending(self.layout.attrs | attrs, first, last)

    def close(self) -> None:
        """No more records, whatever has happened."""
        self.part.close()

    def dataset(self) -> "xarray.Dataset":
        """What the file or the part holds; after `finish` or `suspend`."""
        return dataset_in(self.written).assign_attrs(self.attrs)


def dataset_in(path: Path) -> "xarray.Dataset":
    """All of a file."""
    with read_dataset(path, decode_coords="all") as dataset:
        return dataset.load()
