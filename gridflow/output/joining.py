"""Results of one case with changed keys as one dataset, which knows what was changed."""

import json
import tomllib
from collections.abc import Iterable, Iterator
from typing import Any

import xarray

import gridflow.accessor  # noqa: F401 (it registers itself)
from gridflow.errors import InputError, require
from gridflow.output.rebuilt import DIRECTORY
from gridflow.output.schema import name_of_key
from gridflow.output.spaces import check_schema

WORDS = ("title", "description", "source", "seconds")
"""Keys of a case that change nothing in its result."""
RUN = "run"


def concat(datasets: Iterable[xarray.Dataset]) -> xarray.Dataset:
    """Results on one grid with the same saved times, joined along the key in which their cases differ.

    The new dimension is called like that key, with underscores for dots as in `gridflow.sweep`, and has its values. Where cases
    differ in several keys it is called "run", with a coordinate for each of them; where they do not differ, it has numbers.
    Attributes in which the results differ, status and case among them, become variables along it.

    >>> case = gridflow.load_case("ornstein-uhlenbeck").replace({"space.x.cells": 64, "time.save": 3, "exact": None})
    >>> runs = [gridflow.solve(case.replace({"flow.temperature": d})) for d in (0.2, 0.4)]
    >>> ds = gridflow.concat(runs)
    >>> ds["density"].dims
    ('flow_temperature', 'time', 'x')
    >>> variance = ds.gridflow.moment(2, "x") - ds.gridflow.moment(1, "x") ** 2
    >>> variance.sel(flow_temperature=0.2, time=3.0).round(1).item()
    0.2

    Raises InputError for no results, and for different grids or times.
    """
    runs = list(datasets)
    require(len(runs) > 0, "no datasets to join", "one or more results", "pass a list of them")
    for run in runs:
        check_schema(run, "concat")
    swept = changed_keys([dict(leaves(case_of_run(run))) for run in runs])
    dim = name_of_key(next(iter(swept))) if len(swept) == 1 else RUN
    attrs = {name: [run.attrs.get(name) for run in runs] for name in dict.fromkeys(n for run in runs for n in run.attrs)}
    kept = {name: values[0] for name, values in attrs.items() if all(same(value, values[0]) for value in values)}
    first = runs[0]
    varying = [n for n, v in first.data_vars.items() if "time" in v.dims or any(not v.equals(r[n]) for r in runs if n in r)]
    try:
        joined = xarray.concat(
            [run.drop_attrs(deep=False) for run in runs],
            dim,
            data_vars=varying,
            coords="minimal",
            compat="equals",
            join="exact",
            combine_attrs="override",
        )
    except ValueError as error:
        received, fix = f"results that differ in more than numbers ({error})", "solve all on one grid with the same time.save"
        raise InputError(received, "one grid, the same saved times and the same variables", fix) from error
    numbers: dict[str, Any] = {} if swept else {RUN: (dim, list(range(len(runs))))}
    values_of_keys = {name_of_key(key): (dim, values, {"long_name": f"key {key} of the case"}) for key, values in swept.items()}
    joined = joined.assign_coords({**numbers, **values_of_keys})
    different = {
        name: (dim, ["" if v is None else v for v in values], {"long_name": f"attribute {name} of the run"})
        for name, values in attrs.items()
        if name not in kept
    }
    joined = joined.assign(different).assign_attrs(kept)
    places = {run.encoding.get(DIRECTORY) for run in runs}
    joined.encoding = {DIRECTORY: places.pop()} if len(places) == 1 and None not in places else {}
    return joined


def case_of_run(run: xarray.Dataset) -> dict[str, Any]:
    """The tables of its case, but for words; nothing where it has none."""
    table = tomllib.loads(str(run.attrs.get("case", "")))
    return {key: value for key, value in table.items() if key not in WORDS}


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Keys joined by dots, as --set takes them, with numbers and words, or lists of these."""
    if isinstance(value, list) and any(isinstance(entry, dict) for entry in value):
        value = {str(number): entry for number, entry in enumerate(value)}
    if not isinstance(value, dict):
        yield path, value
        return
    for key, entry in value.items():
        yield from leaves(entry, f"{path}.{key}" if path else key)


def changed_keys(tables: list[dict[str, Any]]) -> dict[str, list[Any]]:
    """Keys in which cases differ, with the value in each: lists as text, nothing as the empty text."""
    names = dict.fromkeys(name for table in tables for name in table)
    found = {name: [table.get(name, "") for table in tables] for name in names}
    changed = {name: values for name, values in found.items() if any(value != values[0] for value in values)}
    return {name: [json.dumps(v) if isinstance(v, list) else v for v in values] for name, values in changed.items()}


def same(one: Any, two: Any) -> bool:
    """Whether two attributes are equal, arrays included."""
    return bool(xarray.Variable((), 0, {"a": one}).identical(xarray.Variable((), 0, {"a": two})))
