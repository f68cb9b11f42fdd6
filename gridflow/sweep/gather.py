"""The results of the members of a sweep as one dataset."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gridflow.netcdf import read_dataset
from gridflow.output.dataset import attributes
from gridflow.output.schema import VARIABLES
from gridflow.sweep.member import Outcome, status_in
from gridflow.sweep.plan import Plan, changes_text, dimension

if TYPE_CHECKING:
    import xarray

BYTES_MAX = 2**31
"""Densities at the last time of all members, at most: larger ones stay in the files of the members."""


def gathered(plan: Plan, store: Path, found: dict[str, Outcome]) -> "xarray.Dataset":
    """All members; `found` has the outcomes of those that were run just now. Numbers of failed members are NaN."""
    import xarray

    files = {m.name: store / f"{m.name}.nc" for m in plan.members}
    datasets = {name: opened(file) for name, file in files.items() if status_in(file) is not None}
    result = xarray.Dataset(coords=coordinates(plan), attrs=attributes(plan.case, "sweep"))
    result.attrs |= {"swept": ", ".join(plan.axes), "swept_case": plan.case.text()}
    statuses, seconds = {}, {}
    for m in plan.members:
        attrs = datasets[m.name].attrs if m.name in datasets else {}
        statuses[m.name] = str(attrs.get("status", attrs.get("verdict", ""))) or found[m.name].status
        seconds[m.name] = float(attrs.get("wall_seconds", found[m.name].seconds if m.name in found else np.nan))
    described: dict[str, tuple[dict[str, Any], str]] = {
        "status": (statuses, "status or verdict of the member, or why it has none"),
        "seconds": (seconds, "wall seconds that it took"),
        "file": ({m.name: f"members/{m.name}.nc" if m.name in datasets else "" for m in plan.members}, "its own result"),
        "changes": ({m.name: changes_text(m.changes) for m in plan.members}, "what differs from the case"),
    }
    for name, (values, long_name) in described.items():
        result[name] = (plan.dims, filled(plan, values, (), object if name != "seconds" else float), {"long_name": long_name})
    if datasets:
        add_results(result, plan, datasets)
    return result


def opened(file: Path) -> "xarray.Dataset":
    """The result of a member, not loaded."""
    return read_dataset(file, decode_coords="all", cache=False)


def coordinates(plan: Plan) -> dict[str, Any]:
    """Values of the swept keys along their dimensions; values that are no numbers as text."""
    dims = [("member",)] * len(plan.axes) if plan.listed else [(dimension(key),) for key in plan.axes]
    found = {}
    for (key, values), dim in zip(plan.axes.items(), dims, strict=True):
        numbers = all(isinstance(v, int | float) and not isinstance(v, bool) for v in values)
        found[dimension(key)] = (dim, values if numbers else [str(v) for v in values], {"long_name": f"key {key} of the case"})
    return found


def filled(plan: Plan, values: dict[str, Any], shape: tuple[int, ...], kind: Any) -> np.ndarray:
    """Values by the name of a member, at its place; NaN, zero or the empty text where there are none."""
    empty: Any = np.nan if np.issubdtype(np.dtype(kind), np.floating) else "" if kind is object else 0
    result = np.full((*plan.shape, *shape), empty, dtype=kind)
    for m in plan.members:
        if m.name in values:
            value = np.asarray(values[m.name])
            place: Any = (*m.place, *(slice(n) for n in value.shape))  # a run that ended early has fewer times
            result[place] = value if value.ndim else value.item()
    return result


def add_results(result: "xarray.Dataset", plan: Plan, datasets: dict[str, "xarray.Dataset"]) -> None:
    """Adds every variable that all members have alike, and names the others in the attribute `left_out`."""
    first = max(datasets.values(), key=lambda d: d.sizes.get("time", 0))  # those that ended early have the start of its times
    shared = {str(dim) for dim in first.dims if all(is_shared(str(dim), d, first) for d in datasets.values())}
    left_out = []
    for name in map(str, first.variables):
        if name in result.variables:
            continue
        found = {k: d.variables[name] for k, d in datasets.items() if name in d.variables}
        alike = len(found) == len(datasets) and all(is_alike(v, first.variables[name], shared) for v in found.values())
        once = name == "time" and "time" in shared
        if alike and "time" not in first.variables[name].dims:
            constant = name in first.coords or name in VARIABLES or first.variables[name].dtype.kind != "f"
            once = constant and all(np.array_equal(v.values, first.variables[name].values) for v in found.values())
        variable = (
            first.variables[name] if once else placed(plan, first.variables[name], found, "time" in shared) if alike else None
        )
        if variable is not None:
            result[name if name != "time" or "time" in shared else "time_of_save"] = variable
        else:
            left_out.append(name)
    if left_out:
        result.attrs["left_out"] = f"{', '.join(left_out)}: not alike in all members, or too large; see their files"
    for dataset in datasets.values():
        dataset.close()


def is_shared(dim: str, dataset: "xarray.Dataset", first: "xarray.Dataset") -> bool:
    """Whether a dataset has the same coordinate along a dimension; along the time, a start of it."""
    if dim not in dataset.dims:
        return False
    if dim not in first.variables:
        return dataset.sizes[dim] == first.sizes[dim]
    here, there = dataset[dim].values, first[dim].values
    return np.array_equal(here, there[: len(here)] if dim == "time" else there)


def is_alike(variable: Any, first: Any, shared: set[str]) -> bool:
    """Whether a variable has the same dimensions and kind of values, and along all but the time the same coordinates."""
    same = variable.dims == first.dims and variable.dtype.kind == first.dtype.kind
    return same and all(dim == "time" or dim in shared for dim in variable.dims)


def placed(plan: Plan, first: Any, found: dict[str, Any], same_times: bool) -> Any:
    """(dimensions, values, attributes) in the dataset of the sweep; None for what is too large.

    Densities and predictions are there at the last time of every member.
    """
    attrs, dims, shape = dict(first.attrs), first.dims, first.shape
    values = found
    if dims[:1] == ("time",) and first.ndim > 1:
        if 8 * int(np.prod([*plan.shape, *shape[1:]])) > BYTES_MAX:
            return None
        values = {k: v[{"time": -1}] for k, v in found.items()}
        attrs["comment"] = "at the last time of every member"
        dims, shape = dims[1:], shape[1:]
    kind = float if first.dtype.kind in "fiu" else object
    named = tuple(d if d != "time" or same_times else "save" for d in dims)
    return (*plan.dims, *named), filled(plan, {k: v.values for k, v in values.items()}, shape, kind), attrs
