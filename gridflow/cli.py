"""The command line: list, show, solve, validate, plot, export, doctor, and those of `gridflow.assist`.

Requested results go to stdout, files to the path of -o, everything else to stderr. Exit codes: 0 good, 1 the run failed
or was interrupted, 2 the input is wrong. Heavy modules are imported inside the commands, so that `--help` and `list` are instant.
"""

import argparse
import gc
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from gridflow import __version__
from gridflow.assist import ASSISTANCE, add_assistance, complete, solve_json, validate_json
from gridflow.errors import InputError, SolveError, require, suggestion
from gridflow.interrupts import stopping
from gridflow.memory import unlimited
from gridflow.messages import command_to_resume, left_to_resume, reason_of, summary

if TYPE_CHECKING:
    from gridflow.case.case import Case
    from gridflow.verdict.output import Output

EXIT_FAILED, EXIT_INPUT = 1, 2
GARBAGE_AFTER = 50_000
"""New objects until Python looks for garbage: imports make hundreds of thousands that stay, a tenth of a small run's time."""


class Parser(argparse.ArgumentParser):
    """argparse whose errors name the help text of the command, with exit code 2."""

    def error(self, message: str, hint: str = "") -> NoReturn:
        self.exit(EXIT_INPUT, f"{self.prog}: {message}\n  fix: {hint}see {self.prog} --help\n")


class CommandParser(Parser):
    """That of one command, which does not leave words that it does not know to the program, and guesses none."""

    def __init__(self, **options: Any) -> None:
        super().__init__(allow_abbrev=False, **options)

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        found, unknown = super().parse_known_args(args, namespace)
        if unknown:
            close = suggestion(unknown[0].partition("=")[0], self._option_string_actions)
            self.error(f"unknown: {' '.join(unknown)}", f"{close} Or " if close else "")
        return found, unknown


def build_parser() -> argparse.ArgumentParser:
    """Commands and options."""
    parser = Parser(prog="gridflow", description="Wasserstein gradient flows solved as densities on a grid.")
    parser.add_argument("--version", action="version", version=f"gridflow {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True, parser_class=CommandParser)

    listing = commands.add_parser("list", help="cases that ship with gridflow, and about how many seconds of CPU each takes")
    listing.add_argument("--json", action="store_true", help="as JSON on stdout")

    show = commands.add_parser("show", help="a case with every default filled in, as TOML, and what it costs")
    add_case(show)

    solve = commands.add_parser("solve", help="solve a case and write its density over time to NetCDF")
    add_case(solve)
    solve.add_argument("-o", "--output", type=Path, metavar="F.nc", help="default: CASE.nc")
    solve.add_argument("--resume", action="store_true", help="continue an interrupted run")
    solve.add_argument("--plot", action="store_true", help="also draw F.png")
    add_size(solve)

    validate = commands.add_parser("validate", help="compare the grid with particles and exact solutions: a verdict")
    add_case(validate)
    where = "where CASE-validation.nc and .png go; default: this directory"
    validate.add_argument("-o", "--output", type=Path, metavar="DIR", help=where)
    own = "your own particle runs, .nc or .csv, in place of those of the case; may be repeated"
    validate.add_argument("--particles", type=Path, action="append", metavar="FILE", help=own)
    validate.add_argument("--resume", action="store_true", help="continue an interrupted validation")
    validate.add_argument("--quick", action="store_true", help="half the cells, a quarter of the particles, thresholds × 4")

    plot = commands.add_parser("plot", help="draw a result")
    plot.add_argument("file", type=Path, metavar="F.nc")
    plot.add_argument("-o", "--output", type=Path, metavar="OUT", help=".png, .pdf, .svg, .gif or .mp4; default: F.png")

    add_size(plot)

    export = commands.add_parser("export", help="variables of a result as compressed NetCDF or as a CSV table")
    export.add_argument("file", type=Path, metavar="F.nc")
    export.add_argument("-o", "--output", type=Path, metavar="OUT", required=True, help=".nc or .csv")
    variables = "may be repeated; default: all in .nc, density in .csv"
    export.add_argument("--variable", action="append", metavar="NAME", dest="variables", help=variables)
    times = "a saved time, first or last; may be repeated; default: all"
    export.add_argument("--time", action="append", metavar="T", dest="times", help=times)
    export.add_argument("--latlon", type=float, metavar="DEGREES", help="remap a sphere to boxes of latitude and longitude")
    export.add_argument("--marginal", action="store_true", help="with --latlon, sum the mass over the other factors")
    doctor = commands.add_parser("doctor", help="what works on this machine, and how to repair what does not")
    doctor.add_argument("--json", action="store_true", help="as JSON on stdout")
    add_assistance(commands)
    for command in (solve, validate):
        command.add_argument("--json", action="store_true", help="the result as one JSON object on stdout")
    for command in (solve, validate, plot, export):
        command.add_argument("--overwrite", action="store_true", help="replace existing files")
    for command in (solve, validate):
        command.add_argument("--quiet", action="store_true", help="no progress, no messages")
        command.add_argument("--threads", type=int, metavar="N", help="of BLAS, sweeps and sums, or particle runs side by side")
    for command in commands.choices.values():
        command.add_argument("--debug", action="store_true", help="show the traceback of an error")
    complete(parser, commands.choices)
    return parser


def add_case(command: argparse.ArgumentParser) -> None:
    """Adds CASE, --set and --force."""
    command.add_argument("case", help="a shipped name or a TOML file")
    change = "change a key, e.g. space.a.cells=128"
    command.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="settings", help=change)
    command.add_argument("--force", action="store_true", help="try what does not fit into the memory all the same")


def add_size(command: argparse.ArgumentParser) -> None:
    """Adds --size."""
    sizes = "of the picture: screen (default), or paper for one row of panels as wide as a column"
    command.add_argument("--size", default="screen", choices=["screen", "paper"], help=sizes)


def changed_case(arguments: argparse.Namespace) -> "Case":
    """The case of the command line with its --set options."""
    from gridflow.case.case import load_case
    from gridflow.case.changes import parse_setting

    return load_case(arguments.case).replace(dict(map(parse_setting, arguments.settings)))


def command_list(arguments: argparse.Namespace) -> int:
    """Prints the shipped cases as a table or as JSON."""
    from gridflow.case.shipped import shipped_cases, table_row

    rows = [table_row(path) for path in shipped_cases().values()]
    if arguments.json:
        import json

        print(json.dumps(rows, indent=2, ensure_ascii=False))
        return 0
    table = [("case", "seconds", "grid", "title (source)")]
    table += [(r["name"], f"{r['seconds']:g}", r["grid"], f"{r['title']} ({r['source']})") for r in rows]
    columns = [max(len(row[k]) for row in table) for k in range(3)]
    for row in table:
        print("  ".join([row[0].ljust(columns[0]), row[1].rjust(columns[1]), row[2].ljust(columns[2]), row[3]]))
    return 0


def command_show(arguments: argparse.Namespace) -> int:
    """Prints a case and, as comments, its cost."""
    from gridflow.preview import preview

    case = changed_case(arguments)
    print(case.text())
    for line in preview(case):
        print(f"# {line}")
    return 0


def command_solve(arguments: argparse.Namespace) -> int:
    """Solves a case into a file, and draws it with --plot."""
    output = arguments.output or Path(f"{Path(arguments.case).stem}.nc")
    try:
        return solved(arguments, output)
    except KeyboardInterrupt:  # while it starts or ends; else the run has ended in good order
        message(f"interrupted {left_to_resume(output)}. Go on with:\n  {command_to_resume(arguments, output)}")
    except (OSError, MemoryError) as error:  # a disk or a memory that does not suffice
        if arguments.debug:
            raise
        message(f"gridflow: {reason_of(error)}\n  {output} {left_to_resume(output)}. Once that is put right, go on with:")
        message(f"  {command_to_resume(arguments, output)}")
    return EXIT_FAILED


def solved(arguments: argparse.Namespace, output: Path) -> int:
    """Solves a case into a file, and draws it with --plot; what it writes is there, or the run can be resumed."""
    from gridflow.files import check_new_file
    from gridflow.output.remains import check_output
    from gridflow.progress import progress_for
    from gridflow.solver import solve_to_file

    case = changed_case(arguments)
    check_output(output, arguments.overwrite, arguments.resume)
    picture = output.with_suffix(".png")
    require(arguments.plot or arguments.size == "screen", "--size without --plot", "both or none", "add --plot")
    if arguments.plot:
        check_new_file(picture, {".png"}, arguments.overwrite or arguments.resume)
    progress = None if arguments.quiet else progress_for(case.name, case.time.stop)
    ending = solve_to_file(
        case, output, overwrite=arguments.overwrite, resume=arguments.resume, progress=progress, threads=arguments.threads
    )
    status = ending.attrs["status"]
    if arguments.json:
        print(solve_json(ending, output, picture if arguments.plot else None))
    if status == "interrupted":
        message(
            f"interrupted at time {ending.reached:.6g}, with a checkpoint. Go on with:\n  {command_to_resume(arguments, output)}"
        )
        return EXIT_FAILED
    failed = status.startswith(("failed", "unconverged"))
    message(summary(ending, output), arguments.quiet and not failed)
    if arguments.plot:
        from gridflow.output.plotting import plot

        plot(output, picture, arguments.overwrite or arguments.resume, arguments.size)
        message(f"wrote {picture}", arguments.quiet)
    return EXIT_FAILED if failed else 0


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


def command_plot(arguments: argparse.Namespace) -> int:
    """Draws a result."""
    from gridflow.output.plotting import plot

    file = arguments.file
    output = arguments.output or file.parent / f"{file.stem}.png"
    plot(file, output, arguments.overwrite, arguments.size)
    message(f"wrote {output}")
    return 0


def command_export(arguments: argparse.Namespace) -> int:
    """Writes variables of a result for other programs."""
    from gridflow.output.export import export

    chosen = ("variables", "times", "latlon", "overwrite", "marginal")
    export(arguments.file, arguments.output, **{name: vars(arguments)[name] for name in chosen})
    message(f"wrote {arguments.output}")
    return 0


def command_doctor(arguments: argparse.Namespace) -> int:
    """Prints what works on this machine."""
    from gridflow.doctor import findings, report

    found = findings()
    if arguments.json:
        import json
        from dataclasses import asdict

        print(json.dumps([asdict(f) for f in found], indent=2, ensure_ascii=False))
    else:
        print(report(found))
    return 0 if all(f.good for f in found) else EXIT_FAILED


def message(text: str, quiet: bool = False) -> None:
    """Prints to stderr unless quiet; a terminal that is gone is no reason to fail."""
    if not quiet:
        with suppress(OSError):
            print(text, file=sys.stderr)


COMMANDS = {
    "list": command_list,
    "show": command_show,
    "solve": command_solve,
    "validate": command_validate,
    "plot": command_plot,
    "export": command_export,
    "doctor": command_doctor,
    **ASSISTANCE,
}


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command line, by default that of the process; returns the exit code."""
    gc.set_threshold(GARBAGE_AFTER)
    words = list(sys.argv[1:] if argv is None else argv)
    named = next((w for w in words if not w.startswith("-")), None)
    if named is not None and named not in COMMANDS:
        fix = suggestion(named, COMMANDS) or "see gridflow --help"
        message(f"gridflow: no command {named!r}\n  allowed: {', '.join(COMMANDS)}\n  fix: {fix}")
        return EXIT_INPUT
    arguments = build_parser().parse_args(words)
    try:
        with stopping(), unlimited(vars(arguments).get("force", False)):
            return COMMANDS[arguments.command](arguments)
    except BrokenPipeError:  # `gridflow list | head`
        sys.stderr.close()
        return 0
    except KeyboardInterrupt:
        message(f"gridflow: {arguments.command} was interrupted; the same command starts it again")
        return EXIT_FAILED
    except (InputError, SolveError, OSError, MemoryError) as error:  # wrong input, a run that cannot go on, a disk that is full
        if arguments.debug:
            raise
        message(f"gridflow: {reason_of(error)}")
        return EXIT_INPUT if isinstance(error, InputError) else EXIT_FAILED


if __name__ == "__main__":
    sys.exit(main())
