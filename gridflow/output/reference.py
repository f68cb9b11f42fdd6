"""What the case in a dataset states beside its numbers: the order of its factors, targets, teachers, and its exact solution.

A dataset keeps the text of its case, and everything here is made from that. Files that a case names are looked for beside the
shipped cases where the case is one of them, else in the current directory. An energy of the user's own is not in the text.
"""

import tomllib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import xarray

from gridflow.case.case import Case
from gridflow.case.shipped import shipped_cases, shipped_directory
from gridflow.energy.table import Landmark
from gridflow.errors import InputError, SolveError
from gridflow.output.projections import Part, factor_names
from gridflow.space.factor import Array


@dataclass(frozen=True)
class Reference:
    """order, views : of factors (`gridflow.output.projections.blocks`); landmarks : targets and teachers;
    solution : time ↦ cell masses of the exact solution, or None; stored : the factors of those arrays, in their order;
    temperature : of the flow; notes : why something is missing
    """

    order: tuple[str, ...] = ()
    views: tuple[tuple[str, str], ...] = ()
    landmarks: list[Landmark] = field(default_factory=list)
    solution: Callable[[float], Array] | None = None
    stored: tuple[str, ...] = ()
    temperature: float = 0.0
    notes: tuple[str, ...] = ()


def reference_of(dataset: xarray.Dataset) -> Reference:
    """The statements of the case of a dataset; what cannot be had is in the notes."""
    table = tomllib.loads(str(dataset.attrs.get("case", "")))
    stored = tuple(factor_names(dataset))
    order = tuple(n for n in table.get("space", {}) if n in stored)
    temperature = float(table.get("flow", {}).get("temperature", 0.0))
    if "energy" not in table:
        return Reference(order, stored=stored, temperature=temperature)
    try:
        case = case_of(dataset, table)
        grid = case.grid()
        views = case.energy.views
        if grid.order != stored or grid.shape != tuple(dataset.sizes[n] for n in stored):
            return Reference(order, views, stored=stored, temperature=temperature)
        landmarks = case.energy.landmarks(grid, case_directory(dataset))
        solution = None if case.exact is None else case.exact.solution(case.problem())
    except (InputError, SolveError) as error:
        reason = str(error).splitlines()[0]
        return Reference(order, stored=stored, temperature=temperature, notes=(f"without target and exact solution: {reason}",))
    return Reference(order, views, landmarks, solution, stored, temperature)


def case_directory(dataset: xarray.Dataset) -> Path:
    """Where the files of its case are."""
    return shipped_directory() if dataset.attrs.get("case_name") in shipped_cases() else Path()


def case_of(dataset: xarray.Dataset, table: dict[str, Any]) -> Case:
    """The case of a dataset. Raises InputError for a text that this version of gridflow does not read."""
    return Case.from_dict(table, str(dataset.attrs.get("case_name", "case")), case_directory(dataset))


def masses_on(values: Array, dims: tuple[str, ...], part: Part, dataset: xarray.Dataset) -> Array | None:
    """Cell masses over some factors as a density over those of a part, (y, x) or (x,); None where they lack one of them."""
    shown = [str(d) for d in part.density.dims[1:]]
    if not set(shown) <= set(dims):
        return None
    chosen = {n: v for n, v in part.selection.items() if n in dims}
    masses = xarray.DataArray(values, {n: dataset[n] for n in chosen}, dims=dims).sel(chosen)
    kept = masses.sum([d for d in masses.dims if d not in shown]).transpose(*shown).to_numpy()
    return kept / part.sizes.to_numpy()
