"""The results of the members of a sweep as one dataset."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gridflow.output.dataset import attributes
from gridflow.output.schema import VARIABLES, name_of_key
from gridflow.sweeps.member import Outcome
from gridflow.sweeps.plan import Plan, changes_text
from gridflow.sweeps.result import Result, result_of

if TYPE_CHECKING:
    import xarray


def gathered(plan: Plan, store: Path, found: dict[str, Outcome]) -> "xarray.Dataset":
    """All members; `found` has the outcomes of those that were run just now. Numbers of failed members are NaN."""
    import xarray

    at_hand = {name: outcome.result for name, outcome in found.items()}
    read = {m.name: at_hand.get(m.name) or result_of(store / f"{m.name}.nc", len(plan.members)) for m in plan.members}
    datasets = {name: result for name, result in read.items() if result is not None}
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


def coordinates(plan: Plan) -> dict[str, Any]:
    """Values of the swept keys along their dimensions; values that are no numbers as text."""
    dims = [("member",)] * len(plan.axes) if plan.listed else [(name_of_key(key),) for key in plan.axes]
    found = {}
    for (key, values), dim in zip(plan.axes.items(), dims, strict=True):
        numbers = all(isinstance(v, int | float) and not isinstance(v, bool) for v in values)
        found[name_of_key(key)] = (dim, values if numbers else [str(v) for v in values], {"long_name": f"key {key} of the case"})
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


def add_results(result: "xarray.Dataset", plan: Plan, datasets: dict[str, Result]) -> None:
    """Adds every variable that all members have alike, and names the others in the attribute `left_out`."""
    first = max(datasets.values(), key=lambda d: d.sizes.get("time", 0))  # those that ended early have the start of its times
    shared = {dim for dim in first.sizes if all(is_shared(dim, d, first) for d in datasets.values())}
    left_out = sorted(first.late - set(first.variables))
    for name, variable in first.variables.items():
        if name in result.variables:
            continue
        found = {k: d.variables[name] for k, d in datasets.items() if name in d.variables}
        if len(found) < len(datasets) or not all(is_alike(v, variable, shared) for v in found.values()):
            left_out.append(name)
            continue
        constant = name in first.coordinates or name in VARIABLES or variable.dtype.kind != "f"
        once = name == "time" and "time" in shared
        if constant and name not in first.late and "time" not in variable.dims:
            once = all(np.array_equal(v.values, variable.values) for v in found.values())
        note = {"comment": "at the last time of every member"} if name in first.late else {}
        placed = variable if once else stacked(plan, variable, found, "time" in shared, note)
        result["time_of_save" if name == "time" and not once else name] = placed
    if left_out:
        result.attrs["left_out"] = f"{', '.join(left_out)}: not alike in all members, or too large; see their files"


def is_shared(dim: str, dataset: Result, first: Result) -> bool:
    """Whether a result has the same coordinate along a dimension; along the time, a start of it."""
    if dim not in dataset.sizes:
        return False
    if dim not in first.variables:
        return dataset.sizes[dim] == first.sizes[dim]
    here, there = dataset.variables[dim].values, first.variables[dim].values
    return np.array_equal(here, there[: len(here)] if dim == "time" else there)


def is_alike(variable: "xarray.Variable", first: "xarray.Variable", shared: set[str]) -> bool:
    """Whether a variable has the same dimensions and kind of values, and along all but the time the same coordinates."""
    same = variable.dims == first.dims and variable.dtype.kind == first.dtype.kind
    return same and all(dim == "time" or dim in shared for dim in variable.dims)


def stacked(plan: Plan, first: "xarray.Variable", found: dict[str, "xarray.Variable"], same_times: bool, note: dict) -> Any:
    """(dimensions, values, attributes) in the dataset of the sweep."""
    kind = float if first.dtype.kind in "fiu" else object
    named = tuple(d if d != "time" or same_times else "save" for d in first.dims)
    values = filled(plan, {k: v.values for k, v in found.items()}, first.shape, kind)
    return (*plan.dims, *named), values, {**first.attrs, **note}
