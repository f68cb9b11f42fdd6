"""`gridflow.validate`: a case in, its verdict as a dataset out, and in files where a directory is given."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import msgspec
import xarray

from gridflow.case.case import Case
from gridflow.compiled import on_compilation
from gridflow.energy.base import Energy
from gridflow.energy.own import identity_of
from gridflow.energy.sum import bound_parts
from gridflow.errors import require
from gridflow.output.lock import locked
from gridflow.progress import Progress, RunTally, shown
from gridflow.solver import check_one_energy
from gridflow.sums.choice import reductions
from gridflow.threads import blas_threads, runs_side_by_side
from gridflow.verdict.coarsening import LEVELS, check_coarsening, coarse_case
from gridflow.verdict.dataset import verdict_dataset
from gridflow.verdict.experiment import Own, run_experiment
from gridflow.verdict.output import Output
from gridflow.verdict.plan import check_case
from gridflow.verdict.table import table
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
    particles: Own | None = None,
    overwrite: bool = False,
    resume: bool = False,
    progress: Progress | bool | None = None,
    threads: int | None = None,
) -> xarray.Dataset:
    """The verdict on the grid solution of a case: compared with particle runs and, where there is one, its exact solution.

    Parameters
    ----------
    case : from `gridflow.load_case`, with [validation] and [particles], or instead of these an exact solution or diagnostics
    directory : where NAME-validation.nc and NAME-validation.png go; created if missing. Default: no files. Until then
        finished runs are kept beside them, in NAME-validation.kept (`gridflow.verdict.finished`)
    quick : cells twice as wide, a quarter of the particles, thresholds four times as large
    energy : an energy of one's own, for grids and for particles (`gridflow.energy.base`)
    particles : independent runs of a user's own, in place of those of [particles]: one or several paths of NetCDF or CSV files,
        datasets, or runs of `gridflow.simulate` (`gridflow.verdict.own_particles` has the format)
    overwrite : replace existing files
    resume : go on with a validation that was interrupted or killed, to the same verdict bit for bit: runs of the same case that
        are kept are not made again. Return the verdict where it is complete
    progress : True counts the runs: a bar on a terminal or in a notebook, else lines on stderr. Default nothing
    threads : particle runs side by side; default that of GRIDFLOW_THREADS, else the number of CPUs (`gridflow.threads`)

    Returns a dataset with every curve; its attribute `verdict` is "pass", "fail" or "inconclusive" (see
    `gridflow.verdict.verdict`), `outcome` and `reason` say so per quantity, `worth` is the particle count the grid is worth;
    print the attribute `table` to read all of it.

    >>> changes = {"space.x.cells": 64, "particles": None, "validation": {"w1": {"threshold": 0.01, "reason": "half a cell"}}}
    >>> gridflow.validate(gridflow.load_case("porous-medium").replace(changes)).attrs["verdict"]  # by its exact solution
    'pass'

    Raises InputError for a case that cannot be validated and for files that another validation writes or left; SolveError for a
    grid or particle run that fails or diverges.
    """
    check_case(case, particles is not None)
    check_one_energy(case, energy)
    check_coarsening(case, energy, max(LEVELS) * (QUICK_WIDER if quick else 1))
    chosen = case if particles is None else case.replace({"particles": None})
    chosen = quick_case(chosen) if quick else chosen
    tally = shown(progress, lambda: RunTally(case.name))
    make = partial(verdict_of, chosen, energy, particles, quick, tally, runs_side_by_side(threads))
    if directory is None:
        require(not resume, "resume without a directory", "both, or neither", "name the directory where runs were kept")
        return make(None)
    output = Output(case.name, Path(directory))
    output.check_directory()
    known = resume and not overwrite and energy is None and particles is None
    found = output.complete(chosen, quick) if known else None
    if found is not None:
        tally.note(f"{output.data.name} is complete: nothing is done")
        output.remove_left()
        return found
    output.check(overwrite, resume)
    return written_verdict(make, output, overwrite, resume, tally)


def written_verdict(
    make: Callable[[Path], xarray.Dataset], output: Output, overwrite: bool, resume: bool, tally: Progress
) -> xarray.Dataset:
    """The verdict that `make` returns, given the folder of finished runs; its files are complete or not there."""
    with locked(output.data):
        output.check_kept(overwrite, resume)
        if resume:
            tally.note(f"{output.number_kept} finished runs are kept of the validation before")
        else:
            output.remove_kept()
        result = make(output.kept)
        output.write(result)
        output.remove_kept()
    return result


def verdict_of(
    case: Case,
    energy: Energy | None,
    particles: Own | None,
    quick: bool,
    tally: Progress,
    side_by_side: int,
    kept: Path | None,
) -> xarray.Dataset:
    """The verdict on a case, which is a `quick_case` where it says so; kept : the folder of finished runs, or none."""
    try:
        with blas_threads(1), on_compilation(tally.compiling), reductions(case.reductions) as use:
            experiment = run_experiment(case, energy, tally, side_by_side, kept, particles)
    finally:
        tally.close()
    scale = QUICK_SCALE if quick else 1.0
    own = None if energy is None else identity_of(energy, bound_parts(experiment.plan.problem.bound))
    result = verdict_dataset(case, experiment, judge(experiment, scale), scale, quick, own)
    result.attrs |= use.attributes
    result.attrs["table"] = table(result)
    return result


def quick_case(case: Case) -> Case:
    """The case on twice wider cells with a quarter of the particles. Raises InputError for too few of either."""
    particles = case.particles
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
