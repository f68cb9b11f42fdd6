"""`gridflow.solve`: a case in, a density over time out. Why it stopped is its status; the loop is `gridflow.run`."""

import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from gridflow.case.case import Case
from gridflow.compiled import on_compilation
from gridflow.energy.base import Energy
from gridflow.errors import require
from gridflow.interrupts import holding
from gridflow.log import LOG
from gridflow.memory import require_memory
from gridflow.output.dataset import Ending, dataset_in
from gridflow.output.lock import locked
from gridflow.output.remains import check_output, remains_of
from gridflow.progress import Progress, progress_for, shown
from gridflow.run import FEWER, Run
from gridflow.sums.choice import reductions
from gridflow.threads import blas_threads

if TYPE_CHECKING:
    import xarray

    from gridflow.slabs.ranks import Ranks


@dataclass(frozen=True)
class Finished:
    """What a run leaves; dataset : makes it; doubts : what speaks against an energy of one's own."""

    ending: Ending
    dataset: Callable[[], "xarray.Dataset"]
    doubts: list[str]


def solve(
    case: Case,
    output: str | Path | None = None,
    *,
    energy: Energy | None = None,
    overwrite: bool = False,
    resume: bool = False,
    progress: Progress | bool | None = None,
    threads: int | None = None,
) -> "xarray.Dataset":
    """The dataset of a case, solved on its grid, and written to the NetCDF file `output` if given.

    Parameters
    ----------
    case : from `gridflow.load_case`
    output : path of a new .nc file. While the run lasts there are NAME.nc.part, NAME.nc.checkpoint and NAME.nc.lock
    energy : an energy of one's own in Python, instead of the one in the case (see `gridflow.energy.base`)
    overwrite : replace an existing file
    resume : continue a run of the same case that was interrupted or killed, bit for bit, from its last checkpoint; start it where
        there is none; return the result where it is complete
    progress : True shows how far the run is: a bar on a terminal or in a notebook, else lines on stderr. Default nothing
    threads : of BLAS, sweeps and sums; default that of the environment variable GRIDFLOW_THREADS, else 1 (`gridflow.threads`)

    The attribute `status` of the dataset is "completed", "steady" (dissipation below time.steady), "interrupted" (Ctrl-C),
    "unconverged: how many steps" (where the scheme goes on from them) or "failed: reason", with the last good state saved. An
    interrupted run with an output leaves the part and the checkpoint for `resume`. The attribute `warnings`, if there, names in
    one line each what makes the result doubtful: mass at the walls of an interval (`gridflow.space.walls`), or all in one cell.

    The numbers of an energy of one's own are compared with each other at the start (`gridflow.energy.check`) and along the run
    (`gridflow.scheme.balance`), of which a Python warning tells too.

    >>> case = gridflow.load_case("ornstein-uhlenbeck").replace({"space.x.cells": 64, "time.save": 3})
    >>> ds = gridflow.solve(case)
    >>> ds.attrs["status"], dict(ds["density"].sizes)
    ('completed', {'time': 3, 'x': 64})
    >>> ds.attrs["mass_error_max"] <= 1e-12, bool(ds["energy"][-1] < ds["energy"][0])
    (True, True)

    Raises InputError for wrong input, before anything is written, and for an output that another run is writing; OSError where
    the output can no longer be written, and MemoryError: both leave what `resume` needs.
    """
    path = None if output is None else Path(output)
    without_file = (overwrite or resume) and path is None
    require(not without_file, "overwrite or resume without an output", "both need a file", "name the output")
    run = finished(case, energy, path, overwrite, resume, progress, threads)
    for doubt in run.doubts:
        warnings.warn(doubt, stacklevel=2)
    from gridflow.output.opening import with_directory

    return with_directory(run.dataset(), case.directory)


def solve_compared(case: Case, energy: Energy, path: Path | None = None) -> "xarray.Dataset":
    """The dataset of a case with an energy whose numbers have been compared before.

    path : of the file that a long run begins, and from which it goes on; a short one makes none
    """
    again = path is not None
    run = finished(case, energy, path, overwrite=again, resume=again, progress=None, threads=None, compare=False, late=again)
    return run.dataset()


def solve_to_file(
    case: Case,
    output: Path,
    *,
    overwrite: bool = False,
    resume: bool = False,
    progress: Progress | None = None,
    threads: int | None = None,
    ranks: "Ranks | None" = None,
) -> Ending:
    """What `solve` writes, without a dataset in memory: the attributes of the file, and its first and last numbers.

    ranks : over which the grid is cut into slabs (`gridflow.slabs.ranks.ranks`); each of them calls this
    """
    return finished(case, None, output, overwrite, resume, progress, threads, ranks=ranks).ending


def finished(
    case: Case,
    energy: Energy | None,
    path: Path | None,
    overwrite: bool,
    resume: bool,
    progress: Progress | bool | None,
    threads: int | None,
    compare: bool = True,
    late: bool = False,
    ranks: "Ranks | None" = None,
) -> Finished:
    """A run from its checks to its end; compare : whether numbers of an energy of one's own, at the start; late : see `Run`."""
    if path is not None:
        check_output(path, overwrite, resume)
    check_one_energy(case, energy)
    writes = ranks is None or ranks.rank == 0
    shows = shown(progress, lambda: progress_for(case.name, case.time.stop)) if writes else Progress()
    alone = nullcontext() if path is None else locked(path) if ranks is None else locked_by_first(path, ranks)
    with blas_threads(threads), on_compilation(shows.compiling), reductions(case.reductions) as use, alone, holding() as held:
        remains = None if path is None else remains_of(path, case, overwrite, resume)
        if path is not None and remains is not None and remains.complete is not None:
            shows.note(f"{path.name} is complete: nothing is done")
            shows.close()
            return Finished(remains.complete, lambda: dataset_in(path), [])
        run = Run(case, energy, path, remains, shows, use, held, compare, late, ranks)
        if path is None or late:  # the records, and the dataset that they become
            require_memory(f"a result of {len(run.times)} saves", 2 * run.size, f"name an output file, or {FEWER}")
        try:
            LOG.info("%r starts at time %g", case, run.state.time)
            ending = run.result()
            LOG.info("%s: %s after %d steps", case.name, ending.attrs["status"], run.counters.steps)
            return Finished(ending, run.writer.dataset, run.watch.warnings())
        finally:
            run.writer.close()


@contextmanager
def locked_by_first(path: Path, ranks: "Ranks") -> Iterator[None]:
    """`locked`, by rank 0 for all. Raises InputError, in all, where another run has the lock."""
    with ExitStack() as stack:
        ranks.first(lambda: stack.enter_context(locked(path)))
        yield


def check_one_energy(case: Case, energy: Energy | None) -> None:
    """Raises InputError for an energy of one's own beside the exact solution of another."""
    allowed, fix = "one of the two", 'use case.replace({"exact": None})'
    require(energy is None or case.exact is None, "an energy of one's own for a case with [exact]", allowed, fix)
