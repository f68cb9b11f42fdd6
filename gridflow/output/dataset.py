"""Results: every variable, dimension, unit and attribute of a dataset, in memory and in NetCDF.

The names are those of `gridflow.output.schema`. A result is an `xarray.Dataset`, CF-1.11; `xarray.open_dataset` is enough to open
one.

A file is written as NAME.part, one record per saved time, synchronised after each (a killed run loses nothing that was
announced), and renamed at the end: NAME is complete or absent.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import gridflow
from gridflow.case.case import Case
from gridflow.errors import InputError, require
from gridflow.files import check_new_file
from gridflow.output.schema import INTEGERS, attributes_of
from gridflow.output.ugrid import add_mesh, face_attributes
from gridflow.space.factor import Array
from gridflow.space.grid import Grid
from gridflow.space.mesh import surface_of

if TYPE_CHECKING:
    import xarray

NO_FILL: dict[str, Any] = {"_FillValue": None}


@dataclass(frozen=True)
class Record:
    """What is saved at one time: density in storage order, prediction (n_data, n_outputs) or None, and numbers by name."""

    time: float
    density: Array
    prediction: Array | None
    numbers: dict[str, float]


def static_dataset(case: Case, grid: Grid, data: Any, records: Mapping[str, tuple[str, str]]) -> "xarray.Dataset":
    """A dataset of everything that does not change in time, with empty variables (time = 0) for what does.

    records : units and long names of the numbers per saved time, by name. Raises InputError for a factor that is
    called like a record.
    """
    import xarray

    order = grid.order
    dataset = xarray.Dataset(attrs=attributes(case, "solve"))
    dataset["time"] = ("time", np.zeros(0), {**attributes_of("time"), "axis": "T"})
    coordinates = ["cell_volume"]
    meshes: dict[str, str] = {}
    for factor in grid.factors:
        if (surface := surface_of(factor)) is not None:
            coordinates += add_mesh(dataset, surface)
            meshes = meshes or face_attributes(factor.name)  # UGRID has one mesh per variable
            continue
        attrs = {"units": factor.units, "long_name": f"{factor.kind} coordinate {factor.name}"}
        dataset[factor.name] = (factor.name, factor.points, attrs)
        if factor.one_dimensional:
            dataset[factor.name].attrs["bounds"] = f"{factor.name}_bounds"
            dataset[f"{factor.name}_bounds"] = ((factor.name, "bounds"), np.stack([factor.edges[:-1], factor.edges[1:]], axis=1))
            coordinates.append(f"{factor.name}_bounds")
    if meshes:
        dataset.attrs["Conventions"] += " UGRID-1.0"
    dataset["cell_volume"] = (order, grid.volume, {**attributes_of("cell_volume"), **meshes})
    lines = " ".join(f"{f.name}:" for f in grid.factors if f.moves)
    dataset["density"] = (
        ("time", *order),
        np.zeros((0, *grid.shape)),
        {
            **attributes_of("density"),
            "cell_measures": "volume: cell_volume",
            "cell_methods": f"time: point {lines} mean" if lines else "time: point",
            **meshes,
        },
    )
    for name, (units, long_name) in records.items():
        if name in dataset.variables or name in dataset.dims:
            raise InputError(f"a factor called {name!r}", "any other name", "rename the factor: the energy records this name")
        empty = np.zeros(0, dtype=np.int64 if name in INTEGERS else float)
        dataset[name] = ("time", empty, {"units": units, "long_name": long_name})
    if data is not None:
        add_data(dataset, data)
    return dataset.set_coords(coordinates)


def add_data(dataset: "xarray.Dataset", data: Any) -> None:
    """Adds the training data, and an empty variable for the predictions."""
    single = data.targets.shape[1] == 1
    outputs: tuple[str, ...] = ("data",) if single else ("data", "output")
    inputs, targets, weights = (data.in_dataset(values) for values in (data.inputs, data.targets, data.weights))
    dataset["input"] = (("data", "input_component"), inputs, attributes_of("input"))
    dataset["target"] = (outputs, targets[:, 0] if single else targets, attributes_of("target"))
    dataset["data_weight"] = ("data", weights, attributes_of("data_weight"))
    shape = (0, *dataset["target"].shape)
    dataset["prediction"] = (("time", *outputs), np.zeros(shape), attributes_of("prediction"))
    if data.notes:
        dataset.attrs["data_notes"] = "; ".join(data.notes)


def attributes(case: Case, command: str) -> dict[str, Any]:
    """Global attributes of every dataset of a case."""
    return {
        "Conventions": "CF-1.11",
        "title": case.title,
        "source": case.source or "user",
        "case": case.text(),
        "case_name": case.name,
        "gridflow_version": gridflow.__version__,
        "scheme": f"{type(case.scheme).label}, {case.scheme!r}",
        "history": f"{datetime.now(UTC).isoformat(timespec='seconds')} gridflow {gridflow.__version__}: {command} {case.name}",
    }


def record_values(record: Record, dataset: Any) -> dict[str, Any]:
    """Values of one record by variable name, in the shapes of the dataset."""
    values: dict[str, Any] = {"time": record.time, "density": record.density, **record.numbers}
    if record.prediction is not None and "prediction" in dataset.variables:
        values["prediction"] = record.prediction[:, 0] if record.prediction.shape[1] == 1 else record.prediction
    return values


class MemoryWriter:
    """Collects records and builds the dataset."""

    def __init__(self, static: "xarray.Dataset") -> None:
        self.static = static
        self.records: list[dict[str, Any]] = []

    def append(self, record: Record) -> None:
        """Keeps a record."""
        self.records.append(record_values(record, self.static))

    def finish(self, attrs: dict[str, Any]) -> "xarray.Dataset":
        """The dataset of all records, with the attributes."""
        dataset = self.static
        columns = {name: np.array([r[name] for r in self.records]) for name in self.records[0]}
        filled = {n: (dataset[n].dims, c.astype(dataset[n].dtype), dataset[n].attrs) for n, c in columns.items()}
        result = dataset.drop_dims("time").assign(filled)
        result.attrs |= attrs
        return result


class FileWriter:
    """Writes records to NAME.part and renames it to NAME at the end; `records` > 0 continues an existing part.

    What may be overwritten is decided before, by `check_output`.
    """

    def __init__(self, path: Path, static: "xarray.Dataset", records: int = 0) -> None:
        import netCDF4

        self.path, self.part = path, part_path(path)
        if records == 0:
            # coordinates must not carry a fill value (CF 2.5.1); where padding needs one, its encoding has it
            encoding = {str(name): NO_FILL for name in static.variables if "_FillValue" not in static[name].encoding}
            static.to_netcdf(self.part, engine="netcdf4", unlimited_dims=["time"], encoding=encoding)
        self.file = netCDF4.Dataset(self.part, "a")
        self.records = records

    def append(self, record: Record) -> None:
        """Writes a record so that a killed run does not lose it."""
        for name, value in record_values(record, self.file).items():
            self.file.variables[name][self.records] = value
        self.records += 1
        self.file.setncattr("records", np.int32(self.records))
        self.file.sync()

    def finish(self, attrs: dict[str, Any]) -> "xarray.Dataset":
        """The dataset of all records, with the attributes, in its file."""
        dataset = self.suspend(attrs)
        os.replace(self.part, self.path)
        return dataset

    def suspend(self, attrs: dict[str, Any]) -> "xarray.Dataset":
        """What the part holds, with the attributes; closes it so that it can be read, or resumed."""
        import xarray

        self.file.setncatts(attrs)
        self.file.close()
        with xarray.open_dataset(self.part, decode_coords="all") as dataset:
            return dataset.load()


def records_of(part: Path) -> int:
    """Number of complete records in a part."""
    import xarray

    with xarray.open_dataset(part) as dataset:
        return int(dataset.attrs.get("records", 0))


def part_path(path: Path) -> Path:
    """The file of a result while its run lasts."""
    return path.with_name(path.name + ".part")


def check_output(path: Path, overwrite: bool, resume: bool) -> None:
    """Raises InputError, before any work is done, for an output that exists or cannot be written."""
    check_new_file(path, {".nc"}, overwrite)
    part = part_path(path)
    received = f"{part.name!r} exists: a run that is going on or was interrupted"
    fix = "add --resume to continue it, or --overwrite to start anew"
    require(overwrite or resume or not part.exists(), received, "a new file", fix)
