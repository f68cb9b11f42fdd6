"""Results for other programs: chosen variables and times as NetCDF, Zarr, a table, or pictures of ParaView."""

from math import prod
from pathlib import Path
from typing import Any

import xarray

from gridflow.errors import InputError, require, suggestion
from gridflow.files import check_new_file, check_new_folder, folder_replaced_by
from gridflow.netcdf import write_dataset
from gridflow.output import vtk
from gridflow.output.kept import replaced_by
from gridflow.output.reader import read_result, time_index
from gridflow.output.remap import remap
from gridflow.output.table import write_csv, write_parquet
from gridflow.output.ugrid import mesh_names, topology_names

WHOLE = {".nc", ".zarr"}
"""Endings of formats that hold a whole result."""
ENDINGS = WHOLE | {".csv", ".parquet"} | vtk.ENDINGS
CHUNK = 1 << 24
"""Bytes of a chunk in a Zarr store: a frame of a usual run, or many of a small one."""
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
    along: list[str] | None = None,
) -> xarray.Dataset:
    """Writes variables of a result to `output`, by its ending; returns what was written.

    variables : default all in .nc and .zarr, the density in tables (.csv, .parquet), which hold variables of the same dimensions,
        one row per entry, and in files for VTK (.vtu of one time, .pvd of several; `gridflow.output.vtk`)
    times : saved times, "first", "last"; default all
    latlon : remap a surface to boxes of so many degrees; the other factors stay
    marginal : with `latlon` or for VTK, sum the mass over the other factors, so that the density is mass per area of the surface
    along : the surface to remap, needed where there are several; for VTK one surface, or up to three intervals and circles

    Raises InputError for wrong input, before anything is written. The output is complete or absent.
    """
    target, along = Path(output), along or []
    drawn = target.suffix in vtk.ENDINGS
    check_target(target, overwrite)
    fix = "add --latlon DEGREES" if not drawn else "leave out --latlon: surfaces are drawn as they are"
    for word, given in (("--marginal", marginal), ("--along", bool(along))):
        require(not given or drawn or latlon is not None, f"{word} without --latlon", "the two together, or a .vtu or .pvd", fix)
    require(not drawn or latlon is None, f"--latlon with {target.suffix}", ".nc, .zarr or a table", fix)
    dataset = read_result(Path(source), "export")
    if times:
        dataset = dataset.isel(time=sorted({time_index(dataset["time"].to_numpy(), word) for word in times}))
    if latlon is not None:
        received = f"--along {' --along '.join(along)} with --latlon"
        require(len(along) < 2, received, "one surface", f"remap one after the other, --along {''.join(along[:1])}")
        dataset = remap(dataset, latlon, along[0] if along else None, integrate=marginal)
    names = variables or ["density"]
    check_names(dataset, names)
    if not drawn and (variables or target.suffix not in WHOLE):
        dataset = selection(dataset, names)
    if drawn:
        vtk.write_vtk(dataset, target, names, along, marginal)
    elif target.suffix == ".zarr":
        with folder_replaced_by(target) as part:
            write_zarr(dataset, part)
    else:
        with replaced_by(target) as part:
            if target.suffix == ".nc":
                write_netcdf(dataset, part)
            else:
                (write_csv if target.suffix == ".csv" else write_parquet)(dataset, part, names)
    return dataset


def check_target(target: Path, overwrite: bool) -> None:
    """Raises InputError, before any work is done, for outputs that exist or cannot be written."""
    if target.suffix == ".zarr":
        check_new_folder(target, overwrite, is_part_of_store, "a Zarr store")
    elif target.suffix in vtk.ENDINGS:
        vtk.check_target(target, overwrite)
    else:
        check_new_file(target, ENDINGS, overwrite)


def check_names(dataset: xarray.Dataset, names: list[str]) -> None:
    """Raises InputError for names of no variable."""
    known = [str(v) for v in dataset.data_vars]
    for name in names:
        fix = suggestion(name, known) or "use one of these"
        require(name in known, f"variable {name!r}", f"one of: {', '.join(sorted(known))}", fix)


def selection(dataset: xarray.Dataset, names: list[str]) -> xarray.Dataset:
    """The variables, their coordinates with the bounds of these, and the surfaces that they live on."""
    dims = dict.fromkeys(dim for n in names for dim in dataset[n].dims)
    topology = [v for surface in mesh_names(dataset) if surface in dims for v in topology_names(surface)]
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
        variable.encoding = kept_encoding(variable) | (COMPRESSION if variable.ndim else {})
    unlimited = ["time"] if "time" in dataset.dims else []
    write_dataset(dataset, path, unlimited)


def write_zarr(dataset: xarray.Dataset, path: Path) -> None:
    """Writes everything as a Zarr store, in chunks of at most 16 MiB.

    It has format 2, whose metadata in one place are part of the format: `xarray.open_zarr` warns of stores of format 3.

    Raises InputError where zarr is not installed.
    """
    try:
        import zarr  # noqa: F401  (used by xarray)
    except ImportError as error:
        raise InputError(f"a .zarr without the package {error.name}", "zarr", "pip install 'gridflow[export]'") from None
    dataset = dataset.copy()
    for name in dataset.variables:
        variable = dataset[name].variable
        variable.encoding = kept_encoding(variable) | {"chunks": chunks_of(variable)}
    dataset.to_zarr(path, mode="w", zarr_format=2, consolidated=True)


def kept_encoding(variable: xarray.Variable) -> dict[str, Any]:
    """What of the encoding of a variable is meaning, not storage."""
    return NO_FILL | {k: v for k, v in variable.encoding.items() if k in ENCODINGS}


def chunks_of(variable: xarray.Variable) -> tuple[int, ...]:
    """Sizes of the chunks of a variable: the first dimensions are cut until a chunk is small enough."""
    chunks = list(variable.shape)
    for axis in range(variable.ndim):
        rest = variable.dtype.itemsize * prod(variable.shape[axis + 1 :])
        chunks[axis] = min(chunks[axis], max(1, CHUNK // max(1, rest)))
        if rest <= CHUNK:
            break
    return tuple(chunks)


def is_part_of_store(path: Path) -> bool:
    """Whether a file or folder belongs to a Zarr store."""
    found = {path.name} | ({p.name for p in path.iterdir()} if path.is_dir() else set())
    return bool(found & {".zgroup", ".zattrs", ".zmetadata", ".zarray", "zarr.json"})
