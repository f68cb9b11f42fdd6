"""What a dataset was computed from: the case in its attributes, and its problem on the same grid."""

import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import xarray

from gridflow.case.case import Case
from gridflow.case.shipped import shipped_cases, shipped_directory
from gridflow.energy.base import Energy
from gridflow.errors import InputError, require
from gridflow.output.saves import Time, at_time, fields_of
from gridflow.output.spaces import grid_of
from gridflow.problem import Problem
from gridflow.space.factor import Array
from gridflow.space.grid import Grid
from gridflow.sums.choice import reductions

DIRECTORY = "case_directory"
"""In the encoding of a dataset, which no file keeps: where the relative paths of its case start."""


def case_of(dataset: xarray.Dataset, directory: str | Path | None = None) -> Case:
    """The case in the attributes of a dataset. Raises InputError where there is none, or one whose energy is in Python.

    directory : where its relative paths start; default that of the run, for a file the folder of the shipped cases where it is
        one of these by name, else the current one
    """
    own = dataset.attrs.get("energy_class")
    received, fix = f"the case of a run with the energy {own}, in Python", "pass energy=…, an instance of that class"
    require(own is None, received, "a run whose case names its energy", fix)
    return Case.from_dict(case_table(dataset), *place(dataset, directory))


def case_table(dataset: xarray.Dataset) -> dict[str, Any]:
    """The tables of that case; of joined results (`gridflow.concat`) it is a variable, one for each run."""
    joined = dataset["case"] if "case" in dataset.data_vars else None
    if joined is not None and joined.ndim > 0:
        dim = joined.dims[0]
        fix = f"choose one, for example ds.isel({{{dim!r}: 0}})"
        raise InputError(f"the case of {joined.size} runs along {dim!r}", "a dataset of one run", fix)
    text = dataset.attrs.get("case") if joined is None else joined.item()
    if not isinstance(text, str):
        fix = "keep its attributes: with xarray.set_options(keep_attrs=True)"
        raise InputError("a dataset without the attribute case", "a result of gridflow.solve", fix)
    return tomllib.loads(text)


def place(dataset: xarray.Dataset, directory: str | Path | None) -> tuple[str, str | Path]:
    """Name and directory of that case."""
    name = str(dataset.attrs.get("case_name", "case"))
    default = shipped_directory() if name in shipped_cases() else Path()
    return name, dataset.encoding.get(DIRECTORY, default) if directory is None else directory


def problem_of(dataset: xarray.Dataset, energy: Energy | None, directory: str | Path | None) -> tuple[Case, Problem]:
    """The case, and its problem; energy : of one's own, in place of that in the case. Raises InputError for another grid."""
    if energy is None:
        case = case_of(dataset, directory)
    else:  # the case of such a run has no energy, and needs none
        table = {"title": "", **case_table(dataset), "energy": {"kind": "potential"}, "exact": None}
        case = Case.from_dict(table, *place(dataset, directory))
    problem, mine = case.problem(energy), grid_of(dataset)
    same = mine.shape == problem.grid.shape and all(
        a.name == b.name and np.allclose(a.points, b.points) for a, b in zip(mine.factors, problem.grid.factors, strict=True)
    )
    received = f"a density on {sizes_text(mine)}, whose case has {sizes_text(problem.grid)}"
    require(same, received, "the grid of the case", "keep all cells of the result")
    return case, problem


def evaluated(
    dataset: xarray.Dataset, time: Time, energy: Energy | None, directory: str | Path | None
) -> tuple[list[float], list[Array], xarray.DataArray]:
    """Free energies and first variations of the densities at a time, and their numbers (`fields_of`)."""
    chosen = at_time(dataset, time, "the energy")
    case, problem = problem_of(chosen, energy, directory)
    fields, numbers = fields_of(chosen, problem.grid)
    with reductions(case.reductions):
        evaluations = [problem.evaluate(np.ascontiguousarray(f)) for f in fields]
    values = [problem.free_energy(f, e)[0] for f, e in zip(fields, evaluations, strict=True)]
    return values, [e.first_variation for e in evaluations], numbers


def predicted(
    dataset: xarray.Dataset, inputs: Any, time: Time, energy: Energy | None, directory: str | Path | None
) -> tuple[list[Array], xarray.DataArray]:
    """Predictions (n_points,) or (n_points, n_outputs) of the densities at a time, and their numbers (`fields_of`)."""
    chosen = at_time(dataset, time, "a prediction")
    case, problem = problem_of(chosen, energy, directory)
    data, fix = problem.bound.data, "predict with a network, or a residual one"
    if data is None:
        raise InputError(f"a prediction of {problem.bound.label}, which has no data", "networks", fix)
    points, width = np.asarray(inputs, dtype=float), data.inputs.shape[1]
    points = points[:, None] if points.ndim == width == 1 else points
    fits = points.ndim == 2 and points.shape[1] == width
    require(fits, f"inputs of shape {points.shape}", f"(n_points, {width})", "give one row for each point")
    scaled = points if data.input_scaling is None else data.input_scaling.scaled(points)
    fields, numbers = fields_of(chosen, problem.grid)
    with reductions(case.reductions):
        found = [problem.bound.predict_at(scaled, f * problem.grid.volume) for f in fields]
    received = f"a prediction at new inputs of {problem.bound.label}, which has no predict_at"
    predictions = [p for p in found if p is not None]
    require(
        len(predictions) == len(found), received, "energies that have it, as networks do", "in Python write it beside predict"
    )
    given = [p if data.target_scaling is None else data.target_scaling.given(p) for p in predictions]
    return [p[:, 0] if p.shape[1] == 1 else p for p in given], numbers


def sizes_text(grid: Grid) -> str:
    """Cells by factor."""
    return " × ".join(f"{f.name} {f.size}" for f in grid.factors)
