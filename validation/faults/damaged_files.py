"""Good results, parts and tables, and what spoils them: names, types, attributes, values, shapes and bytes; all seeded.

Used by `validation.faults.fuzz_files` and by the tests.
"""

import random
import tempfile
import warnings
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import netCDF4
import numpy as np
import xarray

from gridflow.case.case import Case, load_case
from gridflow.particles.simulation import simulate
from gridflow.progress import Progress
from gridflow.solver import solve
from gridflow.verdict.runner import validate


@dataclass
class Content:
    """A NetCDF file in memory: lengths of dimensions; dimensions, values and attributes by variable; global attributes."""

    sizes: dict[str, int]
    variables: dict[str, tuple[list[str], np.ndarray, dict[str, Any]]]
    attrs: dict[str, Any]


def shrunk(name: str, **changes: Any) -> Case:
    """A shipped case without exact solution, small."""
    return load_case(name).replace({"exact": None, **{k.replace("__", "."): v for k, v in changes.items()}})


CASES: dict[str, Case] = {
    "line": shrunk("ornstein-uhlenbeck", space__x__cells=24, time__stop=0.1, time__save=4),
    "circle": shrunk("torsion", space__angle__cells=16, time__stop=0.02, time__save=3),
    "plane": shrunk("relu-regression", space__w__cells=8, space__b__cells=6, time__stop=0.1, time__save=3),
    "sphere": shrunk("heat-sphere", space__b__level=1, time__stop=0.02, time__save=3),
}


CASES["classic"] = CASES["line"]  # its result in a classic format
PARTICLES = {"counts": [8, 16, 64], "ensembles": 8, "verdict": {"count": 16, "ensembles": 8}}
JUDGED = CASES["line"].replace({"validation.times": 1, **{f"particles.{key}": value for key, value in PARTICLES.items()}})
"""A case with a verdict."""


@lru_cache
def good_bytes(name: str) -> bytes:
    """The result of a case as a file."""
    with tempfile.TemporaryDirectory() as folder:
        if name == "classic":
            write(content_of(good_bytes("line")), Path(folder) / "a.nc", "NETCDF3_64BIT_DATA")
            return (Path(folder) / "a.nc").read_bytes()
        solve(CASES[name], Path(folder) / "a.nc")
        return (Path(folder) / "a.nc").read_bytes()


@lru_cache
def particle_runs() -> dict[str, bytes]:
    """The runs of eight ensembles, by the ending of their file."""
    runs = [simulate(JUDGED, 8, times=[0.0, 0.1], seed=k).to_dataset() for k in range(8)]
    together = xarray.concat(runs, xarray.DataArray(np.arange(8), dims="ensemble", name="ensemble"))
    table = together[["x", "weight"]].to_dataframe().reset_index()[["ensemble", "time", "x", "weight"]]
    with tempfile.TemporaryDirectory() as folder:
        together.to_netcdf(Path(folder) / "a.nc")
        return {".nc": (Path(folder) / "a.nc").read_bytes(), ".csv": table.to_csv(index=False).encode()}


@lru_cache
def verdict() -> dict[str, bytes]:
    """The files of a verdict, by name."""
    with tempfile.TemporaryDirectory() as folder:
        validate(JUDGED, folder)
        return {path.name: path.read_bytes() for path in sorted(Path(folder).iterdir())}


@lru_cache
def interrupted(name: str) -> dict[str, bytes]:
    """The files that a run leaves which was interrupted, by name."""

    class Stop(Progress):
        def update(self, state: Any, steps: int, mass_error: float) -> None:
            if steps == 3:
                raise KeyboardInterrupt

    with tempfile.TemporaryDirectory() as folder:
        solve(CASES[name], Path(folder) / "a.nc", progress=Stop())
        return {path.name: path.read_bytes() for path in sorted(Path(folder).iterdir())}


def content_of(data: bytes) -> Content:
    """What a file holds."""
    with netCDF4.Dataset("memory", memory=data) as file:
        file.set_auto_maskandscale(False)
        variables = {
            n: (list(v.dimensions), np.asarray(v[...]), {a: v.getncattr(a) for a in v.ncattrs()})
            for n, v in file.variables.items()
        }
        sizes = {n: d.size for n, d in file.dimensions.items()}
        return Content(sizes, variables, {a: file.getncattr(a) for a in file.ncattrs()})


def write(content: Content, path: Path, form: Any = "NETCDF4") -> None:
    """Writes what a file holds; what NetCDF does not admit is left out, or written as the nearest thing."""
    with netCDF4.Dataset(path, "w", format=form) as file:
        for dim, size in content.sizes.items():
            file.createDimension(dim, None if dim == "time" and size else size)
        for name, (dims, values, attrs) in content.variables.items():
            fill = attrs.get("_FillValue")
            fits = fill is not None and np.ndim(fill) == 0 and not isinstance(fill, str) and values.dtype.kind in "iuf"
            kind = str if values.dtype.kind in "OU" else values.dtype
            with warnings.catch_warnings(), np.errstate(all="ignore"):
                warnings.simplefilter("ignore")
                written = file.createVariable(name, kind, dims, fill_value=values.dtype.type(fill) if fits else None)
            written.set_auto_maskandscale(False)
            written[...] = values
            written.setncatts({k: v for k, v in attrs.items() if k != "_FillValue"})
        file.setncatts({k: v for k, v in content.attrs.items() if k != "_FillValue"})


WORDS = ["", "x", "time", "density", "\x1b[31mred\x07", "days since 1900-01-01", "$\\frac{", "a" * 5000, "energy = 3", "[energy"]
WORDS += ["[energy]\nparts = 3", "[[energy.parts]]\nbranches = [{ weights = [1, 2] }]", "seconds", "Ω‮", "mesh_topology", "[1]"]
NUMBERS = [0, 1, -1, 7, 2**31 - 1, float("nan"), float("inf"), 1e300, 1e-320, np.array([1.0, 2.0]), np.array([], dtype=float)]
KEYS = ["scale_factor", "add_offset", "_FillValue", "missing_value", "units", "calendar", "grid_mapping", "coordinates", "bounds"]
KEYS += ["dtype", "_Unsigned", "ancillary_variables", "formula_terms", "cell_measures", "cf_role", "long_name", "records", "mesh"]
KEYS += ["title", "source", "case", "exported", "status", "Conventions", "gridflow_version", "verdict", "covariance", "location"]
DTYPES = ["f4", "i4", "i1", "u8", ">f8", "i8", str]


def spoil_attribute(rng: random.Random, content: Content) -> None:
    """Another value for an attribute that is there, or one that readers decode."""
    attrs = rng.choice([content.attrs, *(v[2] for v in content.variables.values())])
    key = rng.choice([*KEYS, *attrs])
    if key in attrs and rng.random() < 0.3:
        del attrs[key]
    else:
        attrs[key] = rng.choice([*WORDS, *NUMBERS])


def spoil_name(rng: random.Random, content: Content) -> None:
    """Another name for a variable, or for a dimension."""
    new = rng.choice(["other", "Time", "x_bounds", "b_mesh", "ä", "a b", "density_", "_x"])
    if rng.random() < 0.5:
        old = rng.choice(list(content.sizes))
        content.sizes = {new if d == old else d: n for d, n in content.sizes.items()}
        for name, (dims, values, attrs) in content.variables.items():
            content.variables[name] = ([new if d == old else d for d in dims], values, attrs)
    else:
        old = rng.choice(list(content.variables))
        content.variables = {new if n == old else n: v for n, v in content.variables.items()}


def spoil_presence(rng: random.Random, content: Content) -> None:
    """A variable less, or one more."""
    name = rng.choice(list(content.variables))
    dims, values, attrs = content.variables[name]
    if rng.random() < 0.7:
        del content.variables[name]
    else:
        content.variables[rng.choice(["copy", "foo_mesh", "foo_bounds", "prediction", "lat_bounds"])] = dims, values, dict(attrs)


def spoil_type(rng: random.Random, content: Content) -> None:
    """Another type of number, or text."""
    name = rng.choice(list(content.variables))
    dims, values, attrs = content.variables[name]
    kind = rng.choice(DTYPES) if values.dtype.kind in "biuf" else str
    with np.errstate(all="ignore"):
        new = values.astype(str).astype(object) if kind is str else values.astype(kind)
    content.variables[name] = dims, new, attrs


def spoil_values(rng: random.Random, content: Content) -> None:
    """One, some or all numbers of a variable."""
    name = rng.choice([*content.variables, "density", "energy", "time", "cell_volume"])
    if name not in content.variables or content.variables[name][1].dtype.kind not in "if":
        return
    dims, values, attrs = content.variables[name]
    values, seeded = values.copy(), np.random.default_rng(rng.randrange(2**32))
    if rng.random() < 0.2 and values.ndim:
        content.variables[name] = dims, rng.choice([np.flip, np.sort, seeded.permutation])(values), attrs
        return
    number = rng.choice([0.0, -1.0, 1.0, 1e300, -1e300, 1e-320, 1e20, 2.0**31, float("nan"), float("inf"), -float("inf")])
    with np.errstate(all="ignore"):
        value = np.float64(number).astype(values.dtype)
        chosen = seeded.random(values.shape) < rng.choice([0.02, 0.3, 1.0])
        scaled = values * float(rng.choice([-1, 0, 2, 1000]))
        new = np.where(chosen, value if rng.random() < 0.7 else scaled, values).astype(values.dtype)
    content.variables[name] = dims, new, attrs


def spoil_shape(rng: random.Random, content: Content) -> None:
    """A dimension shorter, or the dimensions of a variable in another order or one less."""
    if rng.random() < 0.6:
        dim = rng.choice(list(content.sizes))
        size = min(content.sizes[dim], rng.choice([0, 1, 2, 3, content.sizes[dim] // 2]))
        content.sizes[dim] = size
        for name, (dims, values, attrs) in content.variables.items():
            content.variables[name] = dims, values[tuple(slice(size) if d == dim else slice(None) for d in dims)], attrs
        return
    name = rng.choice(list(content.variables))
    dims, values, attrs = content.variables[name]
    if len(dims) > 1 and rng.random() < 0.5:
        content.variables[name] = dims[::-1], values.T.copy(), attrs
    elif dims and values.shape[0]:
        content.variables[name] = dims[1:], values[0], attrs


SPOILERS = [spoil_attribute, spoil_attribute, spoil_name, spoil_presence, spoil_type, spoil_values, spoil_values, spoil_shape]


def spoiled_bytes(rng: random.Random, data: bytes) -> bytes:
    """Cut off, or with some bytes changed."""
    if rng.random() < 0.2:
        return data[: rng.randrange(len(data) + 1)]
    changed = bytearray(data)
    reach = rng.choice([len(data), min(len(data), 4000)])  # headers stand first
    for _ in range(rng.choice([1, 2, 8, 64])):
        changed[rng.randrange(reach)] = rng.randrange(256)
    return bytes(changed)


def spoiled_result(rng: random.Random, data: bytes, path: Path) -> None:
    """Writes a spoiled copy of a NetCDF file."""
    if rng.random() < 0.2 or data.startswith(b"CDF"):
        path.write_bytes(spoiled_bytes(rng, data))
        return
    content = content_of(data)
    for _ in range(rng.choice([1, 1, 2, 3])):
        rng.choice(SPOILERS)(rng, content)
    try:
        write(content, path)
    except (ValueError, TypeError, RuntimeError, IndexError, OverflowError, AttributeError, UnicodeError, OSError):
        path.write_bytes(spoiled_bytes(rng, data))  # what NetCDF does not admit cannot be written


def spoiled_table(rng: random.Random, path: Path, good: bytes = b"") -> None:
    """Writes a spoiled copy of a CSV table, by default of three columns."""
    rows = [["x", "y", "m"], *([f"{k / 7}", f"{k * k / 49}", "1"] for k in range(8))]
    rows = [line.split(",") for line in good.decode().splitlines()] if good else rows
    odd = ["", "nan", "inf", "1e999", "-1", "text", "1;2", '"1"', "\x1b[31m", "\x00", "1,2", "#", "0x10", "١", " "]
    for _ in range(rng.choice([1, 2, 5])):
        row = rng.choice(rows)
        row[rng.randrange(len(row))] = rng.choice([*odd, "x"])
    data = (
        rng.choice(["\n", "\r\n", "\r"]).join(",".join(row) for row in rows).encode(rng.choice(["utf-8", "utf-16", "utf-8-sig"]))
    )
    path.write_bytes(spoiled_bytes(rng, data) if rng.random() < 0.3 else data)
