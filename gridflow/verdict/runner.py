"""`gridflow.validate`: a case in, its verdict as a dataset out, and in files where a directory is given."""

import os
from pathlib import Path

import msgspec
import xarray

from gridflow.case.case import Case
from gridflow.compiled import on_compilation
from gridflow.energy.base import Energy
from gridflow.energy.own import identity_of
from gridflow.energy.sum import bound_parts
from gridflow.errors import InputError, require
from gridflow.files import check_new_file
from gridflow.progress import Progress, RunTally, shown
from gridflow.solver import check_one_energy
from gridflow.sums.choice import reductions
from gridflow.threads import blas_threads, runs_side_by_side
from gridflow.verdict.coarsening import LEVELS, check_coarsening, coarse_case
from gridflow.verdict.dataset import verdict_dataset
from gridflow.verdict.experiment import run_experiment
from gridflow.verdict.plan import check_case
from gridflow.verdict.verdict import judge

QUICK_WIDER = 2
QUICK_SCALE = 4.0
"""A quick validation has twice wider cells and a quarter of the particles: errors of second order are four times larger."""
QUICK_ENSEMBLES = 16
"""Largest number of ensembles of a quick validation."""


def validate(
    case: Case,
    directory: str | Path | None = None,
    *,
    quick: bool = False,
    energy: Energy | None = None,
    overwrite: bool = False,
    progress: Progress | bool | None = None,
    threads: int | None = None,
) -> xarray.Dataset:
    """The verdict on the grid solution of a case: compared with particle runs and, where there is one, its exact solution.

    Parameters
    ----------
    case : from `gridflow.load_case`, with [validation] and [particles], or instead of these an exact solution or diagnostics
    directory : where NAME-validation.nc and NAME-validation.png go; created if missing. Default: no files
    quick : cells twice as wide, a quarter of the particles, thresholds four times as large
    energy : an energy of one's own, for grids and for particles (`gridflow.energy.base`)
    overwrite : replace existing files
    progress : True counts the runs: a bar on a terminal or in a notebook, else lines on stderr. Default nothing
    threads : particle runs side by side; default that of GRIDFLOW_THREADS, else the number of CPUs (`gridflow.threads`)

    Returns a dataset with every curve; its attribute `verdict` is "pass", "fail" or "inconclusive" (see
    `gridflow.verdict.verdict`), `outcome` and `reason` say so per quantity, `worth` is the particle count the grid is worth.

    >>> changes = {"space.x.cells": 64, "particles": None, "validation": {"w1": {"threshold": 0.01, "reason": "half a cell"}}}
    >>> gridflow.validate(gridflow.load_case("porous-medium").replace(changes)).attrs["verdict"]  # by its exact solution
    'pass'

    Raises InputError for a case that cannot be validated, SolveError for a grid or particle run that fails or diverges.
    """
    check_case(case)
    check_one_energy(case, energy)
    paths = None if directory is None else output_paths(case, Path(directory), overwrite)
    check_coarsening(case, energy, max(LEVELS) * (QUICK_WIDER if quick else 1))
    chosen = quick_case(case) if quick else case
    tally = shown(progress, lambda: RunTally(case.name))
    try:
        with blas_threads(1), on_compilation(tally.compiling), reductions(case.reductions) as use:
            experiment = run_experiment(chosen, energy, tally, runs_side_by_side(threads))
    finally:
        tally.close()
    scale = QUICK_SCALE if quick else 1.0
    own = None if energy is None else identity_of(energy, bound_parts(experiment.plan.problem.bound))
    result = verdict_dataset(chosen, experiment, judge(experiment, scale), scale, quick, own)
    result.attrs |= use.attributes
    if paths is not None:
        write_files(result, *paths)
    return result


def quick_case(case: Case) -> Case:
    """The case on twice wider cells with a quarter of the particles. Raises InputError for too few of either."""
    particles = check_case(case)
    coarse = coarse_case(case, QUICK_WIDER).replace(
        {"scheme": msgspec.to_builtins(case.scheme)}
    )  # its steps are those of the case
    if particles is None:
        return coarse
    received = f"a quick validation with particles.counts = {particles.counts}"
    require(particles.counts[0] >= 8, received, "counts from 8 on", "remove --quick")
    return coarse.replace(
        {
            "particles.counts": [n // 4 for n in particles.counts],
            "particles.ensembles": min(particles.ensembles, QUICK_ENSEMBLES),
            "particles.verdict.count": max(2, particles.verdict.count // 4),
        }
    )


def output_paths(case: Case, directory: Path, overwrite: bool) -> tuple[Path, Path]:
    """(NetCDF file, picture). Raises InputError, before any work is done, for what exists or cannot be written."""
    possible = directory.is_dir() or not directory.exists()
    require(possible, f"the output {str(directory)!r} is not a directory", "a directory", "choose another name")
    try:
        directory.mkdir(exist_ok=True)
    except OSError as error:
        received = f"the directory {str(directory)!r} cannot be created: {error.strerror}"
        raise InputError(received, "a writable place", "create it first") from None
    paths = directory / f"{case.name}-validation.nc", directory / f"{case.name}-validation.png"
    for path in paths:
        check_new_file(path, {path.suffix}, overwrite)
    return paths


def write_files(result: xarray.Dataset, data: Path, picture: Path) -> None:
    """Writes the dataset and its picture; both files appear complete or not at all."""
    from gridflow.verdict.picture import verdict_figure

    parts = {path: path.with_name(path.name + ".part") for path in (data, picture)}
    try:
        result.to_netcdf(parts[data], engine="netcdf4")
        verdict_figure(result).savefig(parts[picture], dpi=110, format="png")
        for path, part in parts.items():
            os.replace(part, path)
    finally:
        for part in parts.values():
            part.unlink(missing_ok=True)
