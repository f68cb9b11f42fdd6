"""Results read from files, for pictures, exports and starts: nothing is used before it was compared with the schema.

A result holds `density` (time, factors…), `cell_volume` (factors…) and what tells of each factor:

    NAME, NAME_bounds                                 the points and cells of an interval, a circle or an ellipse
    NAME                                              the values of labels
    NAME_mesh, NAME_points, NAME_area, …              a surface (`gridflow.output.ugrid`)

beside numbers over time and predictions. Files of other versions are read where they hold that. Numbers are taken as they lie in
the file; nothing is decoded, so that the dataset of a file is the one that the run had in memory. Of a part of a run that goes
on or was killed, the complete records count. Control characters of texts become escapes.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

import gridflow
from gridflow.errors import InputError, printable, suggestion
from gridflow.files import Contents, Stored, open_contents
from gridflow.output.axes import Axis, axis_of
from gridflow.output.checks import ANEW, FORMAT, SIZE_MAX, check_numbers, check_stored, check_text

if TYPE_CHECKING:
    import xarray

Array = NDArray[np.float64]

PICTURE = ("energy", "dissipation", "mass", "boundary_mass", "time_step")
"""Numbers over time without which no picture is drawn."""
MASS_ERROR = 1e-6
"""Relative difference of the mass of the density to the recorded one: single precision rounds to less."""
TIME_ERROR = 1e-6
"""A saved time is named by its value up to this share of the whole time."""


@dataclass(frozen=True)
class SavedDensity:
    """The density at one saved time, (n_1, …) in the order of its factors, and its cell masses."""

    file: str
    time: float
    axes: tuple[Axis, ...]
    masses: Array


def read_result(path: Path, purpose: str, numbers: tuple[str, ...] = ()) -> "xarray.Dataset":
    """A result from its file, in memory; numbers : over time that it has to have. Raises InputError, which names the purpose."""
    import xarray

    with open_contents(path, purpose) as file:
        records, _ = check_header(file, numbers)
        check_text(file)
        file.check_size(sum(v.size for v in file.variables.values()))
        found: dict[str, Any] = {}
        for name, stored in file.variables.items():
            values = file.values(name)
            values = values[:records] if stored.dims[:1] == ("time",) else values
            check_numbers(file, name, values)
            found[name] = variable_of(name, stored, values)
        coordinates = {word for v in file.variables.values() for word in words(v.attrs)} | words(file.attrs)
        check_masses(file, {name: found[name].values for name in ("density", "cell_volume", "mass") if name in found})
        attrs = {k: cleaned(v) for k, v in file.attrs.items() if k != "coordinates"}
    return xarray.Dataset(found, attrs=attrs).set_coords(sorted(coordinates & set(found)))


def read_density(path: Path, purpose: str, time: float | None = None) -> SavedDensity:
    """The density of a result at a saved time, by default the last one. Raises InputError for a file that holds none."""
    with open_contents(path, purpose) as file:
        records, axes = check_header(file, ())
        index = records - 1 if time is None else saved_index(file.values("time")[:records], time, f"{purpose}: {path.name!r} at")
        file.check_size(2 * file.variables["cell_volume"].size)
        density, volume = file.values("density", index).astype(float), file.values("cell_volume").astype(float)
        check_numbers(file, "density", density)
        check_numbers(file, "cell_volume", volume)
        found = {"density": density[None], "cell_volume": volume}
        if "mass" in file.variables:
            found["mass"] = file.values("mass")[[index]]
        check_masses(file, found)
        return SavedDensity(path.name, float(file.values("time")[index]), axes, density * volume)


def saved_index(times: Array, time: float, what: str) -> int:
    """Index of a saved time. Raises InputError for a time that was not saved."""
    nearest = int(np.abs(times - time).argmin()) if np.isfinite(time) else 0
    if abs(times[nearest] - time) <= TIME_ERROR * max(times[-1], np.finfo(float).tiny):
        return nearest
    shown = ", ".join(f"{t:g}" for t in times[:6]) + (f", … {times[-1]:g}" if times.size > 6 else "")
    fix = f"write {times[nearest]:g}" if np.isfinite(time) else f"write {times[-1]:g}"
    raise InputError(f"{what} time {time:g}", f"a saved time: {shown}", fix)


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


def check_header(file: Contents, numbers: tuple[str, ...]) -> tuple[int, tuple[Axis, ...]]:
    """The number of complete records, and the factors of the density. Raises InputError for a file that is no result."""
    is_verdict = "verdict" in file.attrs and "density" not in file.variables
    fix = "gridflow validate has drawn it beside this file; name the result of gridflow solve here"
    file.require(not is_verdict, "is a verdict", "a result of gridflow solve", fix)
    missing = [n for n in ("time", "density", "cell_volume", *numbers) if n not in file.variables]
    version = str(file.attrs.get("gridflow_version", ""))
    other = f"; gridflow {version} wrote it, this is {gridflow.__version__}" if version not in ("", gridflow.__version__) else ""
    received = f"lacks the variables {', '.join(missing)} of a result{other}"
    file.require(not missing, received, FORMAT, ANEW)
    for name, stored in file.variables.items():
        check_stored(file, name, stored)
    density = file.variables["density"]
    order = density.dims[1:]
    received = f"has density ({', '.join(density.dims)}) and cell_volume ({', '.join(file.variables['cell_volume'].dims)})"
    ordered = density.dims[:1] == ("time",) and order and len(set(density.dims)) == len(density.dims)
    file.require(ordered and file.variables["cell_volume"].dims == order, received, FORMAT, ANEW)
    file.require(0 not in density.shape[1:], f"has a density of shape {density.shape}", "at least one cell per factor", ANEW)
    records = number_of_records(file)
    axes = tuple(axis_of(file, name) for name in order)
    meshes = [n.removesuffix("_mesh") for n, v in file.variables.items() if v.attrs.get("cf_role") == "mesh_topology"]
    file.require(set(meshes) <= set(order), f"has surfaces {meshes} beside its factors {list(order)}", "factors", ANEW)
    check_predictions(file)
    return records, axes


def number_of_records(file: Contents) -> int:
    """Of complete ones. Raises InputError for none, and for times that do not increase."""
    size = file.variables["time"].shape[0]
    records = file.attrs.get("records", size)
    fits = isinstance(records, int | np.integer) and records > 0 and size > 0
    file.require(fits, f"has {records} complete records of {size}", "at least one", "let the run save one, or solve anew")
    records = min(int(records), size)  # an export of some times has fewer
    times = file.values("time")[:records]
    check_numbers(file, "time", times)
    file.require((np.diff(times) > 0).all(), "has times that do not increase", "saved times in order", ANEW)
    return records


def check_predictions(file: Contents) -> None:
    """Raises InputError for predictions without targets and inputs of the same data."""
    if "prediction" not in file.variables:
        return
    dims = {n: file.variables[n].dims if n in file.variables else () for n in ("prediction", "target", "input")}
    fits = dims["prediction"] == ("time", *dims["target"]) and dims["target"] in (("data",), ("data", "output"))
    shown = ", ".join(f"{n} ({', '.join(d)})" for n, d in dims.items())
    allowed = "prediction (time, data[, output]), target (data[, output]), input (data, input_component)"
    file.require(fits and dims["input"] == ("data", "input_component"), f"has {shown}", allowed, ANEW)


def check_masses(file: Contents, found: dict[str, np.ndarray]) -> None:
    """Raises InputError for a density without mass, or with another mass than the one recorded."""
    volume = found["cell_volume"]
    masses = np.array([np.vdot(density, volume) for density in found["density"].astype(float)])
    fits, allowed = masses.min() >= 1 / SIZE_MAX and masses.max() <= SIZE_MAX, f"mass from {1 / SIZE_MAX:g} to {SIZE_MAX:g}"
    file.require(fits, "has a density without mass, or with too much", allowed, ANEW)
    if "mass" in found:
        error = float(np.abs(masses / found["mass"] - 1).max())
        received = f"has a density whose mass differs from the recorded one by {error:.1e}"
        file.require(error <= MASS_ERROR, received, f"the same up to {MASS_ERROR:g}", "the file is damaged: solve the case anew")


def variable_of(name: str, stored: Stored, values: np.ndarray) -> "xarray.Variable":
    """The variable as a run has it in memory: floating-point numbers of double precision, missing integers as NaN."""
    import xarray

    attrs = {k: cleaned(v) for k, v in stored.attrs.items() if k not in ("_FillValue", "coordinates")}
    encoding: dict[str, Any] = {}
    if name.endswith("_face_nodes"):
        values, encoding = np.where(values < 0, np.nan, values), {"dtype": np.dtype(np.int32), "_FillValue": np.int32(-1)}
    elif values.dtype.kind == "f":
        values = values.astype(float, copy=False)
    return xarray.Variable(stored.dims, values, attrs, encoding)


def words(attrs: dict[str, Any]) -> set[str]:
    """Names in the attribute `coordinates`."""
    return set(attrs.get("coordinates", "").split())


def cleaned(value: Any) -> Any:
    """An attribute, without control characters if it is text."""
    return printable(value) if isinstance(value, str) else value
