"""Results for other programs: chosen variables and times as compressed NetCDF or as a table in CSV."""

import csv
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import xarray

from gridflow.errors import InputError, require, suggestion
from gridflow.files import check_new_file
from gridflow.netcdf import write_dataset
from gridflow.output.reader import read_result, saved_index
from gridflow.output.remap import remap
from gridflow.output.ugrid import topology_names
from gridflow.space.factor import Array

ENDINGS = {".nc", ".csv"}
COMPRESSION: dict[str, Any] = {"zlib": True, "complevel": 1}  # level 4 buys nothing over 1
NO_FILL: dict[str, Any] = {"_FillValue": None}
ENCODINGS = {"_FillValue", "dtype", "bounds", "cell_measures", "node_coordinates"}
"""Where xarray keeps attributes that name other variables."""


def export(
    source: str | Path,
    output: str | Path,
    variables: list[str] | None = None,
    times: list[str] | None = None,
    latlon: float | None = None,
    overwrite: bool = False,
    marginal: bool = False,
) -> xarray.Dataset:
    """Writes variables of a result to `output`, which ends in .nc or .csv; returns what was written.

    variables : default all in NetCDF, the density in CSV. A table holds variables of the same dimensions, one row per entry
    times : saved times, "first", "last"; default all
    latlon : remap the (only) surface to boxes of so many degrees; the other factors stay
    marginal : with `latlon`, sum the mass over the other factors, so that the density is mass per area of the surface

    Raises InputError for wrong input, before anything is written. The output is complete or absent.
    """
    target = Path(output)
    check_new_file(target, ENDINGS, overwrite)
    require(not marginal or latlon is not None, "--marginal without --latlon", "the two together", "add --latlon DEGREES")
    dataset = read_result(Path(source), "export")
    if times:
        dataset = dataset.isel(time=sorted({time_index(dataset["time"].to_numpy(), word) for word in times}))
    if latlon is not None:
        dataset = remap(dataset, latlon, integrate=marginal)
    if variables or target.suffix == ".csv":
        dataset = selection(dataset, variables or ["density"])
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        (write_table if target.suffix == ".csv" else write_netcdf)(dataset, part)
        os.replace(part, target)
    finally:
        part.unlink(missing_ok=True)
    return dataset


def time_index(times: Array, word: str) -> int:
    """Index of the saved time that a word names."""
    if word in ("first", "last"):
        return 0 if word == "first" else times.size - 1
    try:
        return saved_index(times, float(word), "export:")
    except InputError:
        raise
    except ValueError:
        fix = suggestion(word, ["first", "last"]) or "write a number"
    raise InputError(f"time {word!r}", "first, last or a saved time", fix)


def selection(dataset: xarray.Dataset, names: list[str]) -> xarray.Dataset:
    """The variables, their coordinates with the bounds of these, and the surfaces that they live on."""
    known = [str(v) for v in dataset.data_vars]
    for name in names:
        fix = suggestion(name, known) or "use one of these"
        require(name in known, f"variable {name!r}", f"one of: {', '.join(sorted(known))}", fix)
    surfaces = [m.removesuffix("_mesh") for n in names if (m := dataset[n].attrs.get("mesh")) in known]
    topology = [v for surface in surfaces for v in topology_names(surface)]
    dims = dict.fromkeys(dim for n in names for dim in dataset[n].dims)
    bounds = [b for dim in dims if dim in dataset.coords and (b := bounds_of(dataset[dim])) is not None]
    return dataset[list(dict.fromkeys([*names, *topology, *bounds]))].assign_attrs(exported=" ".join(names))


def bounds_of(coordinate: xarray.DataArray) -> str | None:
    """The variable with the ends of the cells of a coordinate, in memory among its attributes, from a file in its encoding."""
    return coordinate.attrs.get("bounds", coordinate.encoding.get("bounds"))


def write_netcdf(dataset: xarray.Dataset, path: Path) -> None:
    """Writes everything, compressed."""
    dataset = dataset.copy()
    for name in dataset.variables:
        variable = dataset[name].variable
        kept = {k: v for k, v in variable.encoding.items() if k in ENCODINGS}
        variable.encoding = NO_FILL | kept | (COMPRESSION if variable.ndim else {})
    unlimited = ["time"] if "time" in dataset.dims else []
    write_dataset(dataset, path, unlimited)


def write_table(dataset: xarray.Dataset, path: Path) -> None:
    """Writes one row per entry: dimensions, the coordinates along them, the variables."""
    names = str(dataset.attrs["exported"]).split()
    dims = dataset[names[0]].dims
    for name in names:
        first, other = (f"{n!r} ({', '.join(map(str, dataset[n].dims))})" for n in (names[0], name))
        received, fix = f"variables {first} and {other} in one table", "write them to several tables, or to one .nc"
        require(set(dataset[name].dims) == set(dims), received, "variables of the same dimensions", fix)
    beside = [str(c) for c in dataset.coords if c not in dims and dataset[c].dims and set(dataset[c].dims) <= set(dims)]
    columns = [*map(str, dims), *beside, *names]
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        for block in table_blocks(dataset, dims, columns):
            writer.writerows(zip(*block, strict=True))


def table_blocks(dataset: xarray.Dataset, dims: tuple[Any, ...], columns: list[str]) -> Iterator[list[list[Any]]]:
    """Columns of the table for one index of the first dimension at a time; numbers are written with all their digits."""
    sizes = [dataset.sizes[d] for d in dims]
    for index in range(sizes[0] if dims else 1):
        part = dataset.isel({dims[0]: [index]}) if dims else dataset
        values = []
        for name in columns:
            array = xarray.DataArray([index], dims=dims[:1]) if name not in part.variables and name in dims[:1] else part[name]
            full = array.broadcast_like(part[columns[-1]]).transpose(*dims)
            values.append(full.to_numpy().ravel().tolist())
        yield values
