"""The command solve."""

import argparse
from pathlib import Path

from gridflow.commands.base import (
    EXIT_FAILED,
    Command,
    add_case,
    add_overwrite,
    add_quiet,
    add_size,
    add_threads,
    changed_case,
    message,
)
from gridflow.commands.results import solve_json
from gridflow.errors import require
from gridflow.interrupts import interruptions
from gridflow.launched import end_all, launched_rank
from gridflow.messages import command_to_resume, left_to_resume, reason_of, summary


def add(solve: argparse.ArgumentParser) -> None:
    """Adds the options."""
    add_case(solve)
    solve.add_argument("-o", "--output", type=Path, metavar="F.nc", help="default: CASE.nc")
    solve.add_argument("--resume", action="store_true", help="continue an interrupted run, or a complete one to a later time")
    solve.add_argument("--plot", action="store_true", help="also draw F.png")
    add_size(solve)
    solve.add_argument("--json", action="store_true", help="the result as one JSON object on stdout")
    add_overwrite(solve)
    add_quiet(solve)
    add_threads(solve)


def command_solve(arguments: argparse.Namespace) -> int:
    """Solves a case into a file, and draws it with --plot."""
    output = arguments.output or Path(f"{Path(arguments.case).stem}.nc")
    try:
        with interruptions():
            return solved(arguments, output)
    except KeyboardInterrupt:  # while it starts or ends; else the run has ended in good order
        message(f"interrupted {left_to_resume(output)}. Go on with:\n  {command_to_resume(arguments, output)}")
        end_all()
    except (OSError, MemoryError) as error:  # a disk or a memory that does not suffice
        if arguments.debug:
            raise
        message(f"gridflow: {reason_of(error)}\n  {output} {left_to_resume(output)}. Once that is put right, go on with:")
        message(f"  {command_to_resume(arguments, output)}")
        end_all("" if launched_rank() == 0 else reason_of(error))
    return EXIT_FAILED


def solved(arguments: argparse.Namespace, output: Path) -> int:
    """Solves a case into a file, and draws it with --plot; what it writes is there, or the run can be resumed."""
    from gridflow.files import check_new_file
    from gridflow.output.remains import check_output
    from gridflow.progress import progress_for
    from gridflow.slabs.ranks import ranks
    from gridflow.solver import solve_to_file

    case = changed_case(arguments)
    check_output(output, arguments.overwrite, arguments.resume)
    picture = output.with_suffix(".png")
    require(arguments.plot or arguments.size == "screen", "--size without --plot", "both or none", "add --plot")
    if arguments.plot:
        check_new_file(picture, {".png"}, arguments.overwrite or arguments.resume)
    progress = None if arguments.quiet or launched_rank() > 0 else progress_for(case.name, case.time.stop)
    ending = solve_to_file(
        case,
        output,
        overwrite=arguments.overwrite,
        resume=arguments.resume,
        progress=progress,
        threads=arguments.threads,
        ranks=ranks(),
    )
    status = ending.attrs["status"]
    failed = status.startswith(("failed", "unconverged"))
    if launched_rank() > 0:
        return EXIT_FAILED if failed or status == "interrupted" else 0
    if arguments.json:
        print(solve_json(ending, output, picture if arguments.plot else None))
    if status == "interrupted":
        message(
            f"interrupted at time {ending.reached:.6g}, with a checkpoint. Go on with:\n  {command_to_resume(arguments, output)}"
        )
        return EXIT_FAILED
    message(summary(ending, output), arguments.quiet and not failed)
    if arguments.plot:
        from gridflow.output.plotting import plot

        plot(output, picture, arguments.overwrite or arguments.resume, arguments.size)
        message(f"wrote {picture}", arguments.quiet)
    return EXIT_FAILED if failed else 0


SOLVE = Command("solve", "solve a case and write its density over time to NetCDF", add, command_solve)
