"""One member of a sweep, as a worker runs it: in this process, in another one, or on another machine with the same files.

A member is solved in memory first, and its file written at its end. One that takes longer than `MOMENT` starts anew in its file,
with checkpoints: at most the moment, or what they allow, is lost with a worker.
"""

import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from gridflow.case.case import Case
from gridflow.errors import InputError, SolveError
from gridflow.files import open_contents
from gridflow.netcdf import write_dataset
from gridflow.output.kept import replaced_by
from gridflow.paths import part_path
from gridflow.progress import Progress
from gridflow.scheme.base import State
from gridflow.sweeps.result import Result, result_in
from gridflow.sweeps.small import write_small
from gridflow.threads import blas_threads

MOMENT = 0.5
"""Seconds that a member may take in memory."""
TURN = 0.5
"""Seconds after which a worker gives back those of its members that it has not begun."""
SENT_MAX = 2**16
"""Bytes of a result that goes to the sweep beside its file, which is then not read."""


@dataclass(frozen=True)
class Task:
    """A case, the file of its result, and what is done: solved, or judged against particles."""

    case: Case
    file: Path
    validate: bool
    quick: bool


@dataclass(frozen=True)
class Outcome:
    """status : of the result, or why there is none; written : whether its file is there; seconds : that it took now

    result : what the dataset of the sweep takes of it, where it is small and at hand
    """

    status: str
    written: bool
    seconds: float
    result: Result | None = None


class TooLong(Exception):
    """A member takes longer than a moment."""


class Hurry(Progress):
    """Ends a run that takes longer than a moment."""

    def __init__(self) -> None:
        self.until = time.monotonic() + MOMENT

    def update(self, state: State, steps: int, mass_error: float) -> None:
        if time.monotonic() > self.until:
            raise TooLong


def run_in_turn(tasks: Sequence[Task]) -> list[Outcome]:
    """The outcomes of the first of the tasks: those that were begun before the turn was over, one at least."""
    until, found = time.monotonic() + TURN, list[Outcome]()
    with blas_threads(1):  # once for all of them
        for task in tasks:
            found.append(run_member(task))
            if time.monotonic() > until:
                break
    return found


def run_member(task: Task) -> Outcome:
    """Solves or judges one case into its file, with one thread, going on where a worker was lost; errors are an outcome."""
    began = time.monotonic()
    if not task.file.parent.is_dir():
        status = f"failed: the folder of the sweep does not exist on {socket.gethostname()}; use one that all workers share"
        return Outcome(status, False, 0.0)
    if (before := status_in(task.file)) is not None:  # a scheduler that lost the answer of a worker asks again
        return Outcome(before, True, 0.0)
    try:
        task.file.unlink(missing_ok=True)  # a damaged one
        status, result = (judged(task), None) if task.validate else solved(task)
    except (InputError, SolveError, OSError, MemoryError) as error:
        status = f"failed: {str(error) or type(error).__name__}"
        return Outcome(status, False, time.monotonic() - began)
    return Outcome(status, True, time.monotonic() - began, result)


def status_in(file: Path) -> str | None:
    """The status or verdict in the result of a member; None where it is not complete."""
    if not file.is_file():
        return None
    try:
        with open_contents(file, "sweep") as contents:
            status = contents.attrs.get("status", contents.attrs.get("verdict"))
    except InputError:
        return None
    return None if status is None else str(status)


def solved(task: Task) -> tuple[str, Result | None]:
    """The status of the solution, and what the dataset of the sweep takes of it, if it is at hand."""
    from gridflow.solver import solve, solve_to_file

    if not part_path(task.file).exists():  # of a worker that was lost
        try:
            dataset = solve(task.case, progress=Hurry(), threads=1)
        except (TooLong, InputError, MemoryError):  # too long or too large for the memory, or what a file does not change
            pass
        else:
            if dataset.attrs["status"] != "interrupted":
                write_small(dataset, task.file)
                return str(dataset.attrs["status"]), result_in(dataset) if dataset.nbytes <= SENT_MAX else None
    return str(solve_to_file(task.case, task.file, resume=True, threads=1).attrs["status"]), None


def judged(task: Task) -> str:
    """The verdict."""
    from gridflow.verdict.runner import validate

    verdict = validate(task.case, quick=task.quick, threads=1)
    with replaced_by(task.file) as part:
        write_dataset(verdict, part)
    return str(verdict.attrs["verdict"])
