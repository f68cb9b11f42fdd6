"""The command validate."""

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING

from gridflow.commands.base import (
    EXIT_FAILED,
    Command,
    add_case,
    add_overwrite,
    add_quiet,
    add_threads,
    changed_case,
    message,
)
from gridflow.commands.results import validate_json
from gridflow.interrupts import interruptions
from gridflow.messages import command_to_resume, reason_of

if TYPE_CHECKING:
    from gridflow.verdict.output import Output


def add(validate: argparse.ArgumentParser) -> None:
    """Adds the options."""
    add_case(validate)
    where = "where CASE-validation.nc and .png go; default: this directory"
    validate.add_argument("-o", "--output", type=Path, metavar="DIR", help=where)
    own = "your own particle runs, .nc or .csv, in place of those of the case; may be repeated"
    validate.add_argument("--particles", type=Path, action="append", metavar="FILE", help=own)
    validate.add_argument("--resume", action="store_true", help="continue an interrupted validation")
    validate.add_argument("--quick", action="store_true", help="half the cells, a quarter of the particles, thresholds × 4")
    validate.add_argument("--json", action="store_true", help="the result as one JSON object on stdout")
    add_overwrite(validate)
    add_quiet(validate)
    add_threads(validate)


def command_validate(arguments: argparse.Namespace) -> int:
    """Prints the verdict on a case; writes its dataset and picture."""
    from gridflow.verdict.output import Output

    case = changed_case(arguments)
    directory = arguments.output or Path()
    try:
        from gridflow.progress import RunTally
        from gridflow.verdict.runner import validate

        progress = None if arguments.quiet else RunTally(case.name)
        chosen = {name: vars(arguments)[name] for name in ("quick", "overwrite", "resume", "threads", "particles")}
        with interruptions():
            result = validate(case, directory, progress=progress, **chosen)
    except (KeyboardInterrupt, OSError, MemoryError) as error:
        if arguments.debug and isinstance(error, Exception):
            raise
        return stopped(arguments, Output(case.name, directory), error)
    files = directory / f"{case.name}-validation.nc", directory / f"{case.name}-validation.png"
    print(validate_json(result, *files) if arguments.json else result.attrs["table"])
    message(f"wrote {directory / case.name}-validation.nc and .png", arguments.quiet)
    return 0 if result.attrs["verdict"] == "pass" else EXIT_FAILED


def stopped(arguments: argparse.Namespace, output: "Output", error: BaseException) -> int:
    """Says why a validation ended too early, and how to go on; after a second interrupt with particle runs still under way."""
    from threading import enumerate as threads

    from gridflow.threads import SIDE_BY_SIDE

    why = f"gridflow: {reason_of(error)}\n " if isinstance(error, Exception) else "interrupted:"
    message(f"{why} {output.number_kept} finished runs are kept in {output.kept}. Go on with:")
    message(f"  {command_to_resume(arguments, arguments.output)}")
    if any(thread.name.startswith(SIDE_BY_SIDE) for thread in threads()):
        os._exit(EXIT_FAILED)  # what was kept is complete
    return EXIT_FAILED


VALIDATE = Command("validate", "compare the grid with particles and exact solutions: a verdict", add, command_validate)
