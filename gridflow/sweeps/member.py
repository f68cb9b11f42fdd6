"""One member of a sweep, as a worker runs it: in this process, in another one, or on another machine with the same files."""

import socket
import time
from dataclasses import dataclass
from pathlib import Path

from gridflow.case.case import Case
from gridflow.errors import InputError, SolveError
from gridflow.files import open_contents
from gridflow.netcdf import write_dataset
from gridflow.output.kept import replaced_by


@dataclass(frozen=True)
class Task:
    """A case, the file of its result, and what is done: solved, or judged against particles."""

    case: Case
    file: Path
    validate: bool
    quick: bool


@dataclass(frozen=True)
class Outcome:
    """status : of the result, or why there is none; written : whether its file is there; seconds : that it took now."""

    status: str
    written: bool
    seconds: float


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
        status = judged(task) if task.validate else solved(task)
    except (InputError, SolveError, OSError, MemoryError) as error:
        status = f"failed: {str(error) or type(error).__name__}"
        return Outcome(status, False, time.monotonic() - began)
    return Outcome(status, True, time.monotonic() - began)


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


def solved(task: Task) -> str:
    """The status of the solution."""
    from gridflow.solver import solve_to_file

    return str(solve_to_file(task.case, task.file, resume=True, threads=1).attrs["status"])


def judged(task: Task) -> str:
    """The verdict."""
    from gridflow.verdict.runner import validate

    verdict = validate(task.case, quick=task.quick, threads=1)
    with replaced_by(task.file) as part:
        write_dataset(verdict, part)
    return str(verdict.attrs["verdict"])
