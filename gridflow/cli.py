"""The command line: list, show, solve, validate, sweep, plot, export, doctor.

Requested results go to stdout, files to the path of -o, everything else to stderr. Exit codes: 0 good, 1 the run failed
or was interrupted, 2 the input is wrong. Heavy modules are imported inside the commands, so that `--help` and `list` are instant.
"""

import argparse
import gc
import shlex
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, NoReturn

from gridflow import __version__
from gridflow.errors import InputError, SolveError, suggestion

if TYPE_CHECKING:
    from gridflow.case.case import Case
    from gridflow.output.dataset import Ending

EXIT_FAILED, EXIT_INPUT = 1, 2
GARBAGE_AFTER = 50_000
"""New objects until Python looks for garbage: imports make hundreds of thousands that stay, a tenth of a small run's time."""


class Parser(argparse.ArgumentParser):
    """argparse whose errors name the help text, with exit code 2."""

    def error(self, message: str) -> NoReturn:
        self.exit(EXIT_INPUT, f"{self.prog}: {message}\n  fix: see {self.prog} --help\n")


def build_parser() -> argparse.ArgumentParser:
    """Commands and options."""
    parser = Parser(prog="gridflow", description="Wasserstein gradient flows solved as densities on a grid.")
    parser.add_argument("--version", action="version", version=f"gridflow {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)

    listing = commands.add_parser("list", help="cases that ship with gridflow, and about how many seconds of CPU each takes")
    listing.add_argument("--json", action="store_true", help="as JSON on stdout")

    show = commands.add_parser("show", help="a case with every default filled in, as TOML, and what it costs")
    add_case(show)

    solve = commands.add_parser("solve", help="solve a case and write its density over time to NetCDF")
    add_case(solve)
    solve.add_argument("-o", "--output", type=Path, metavar="F.nc", help="default: CASE.nc")
    solve.add_argument("--resume", action="store_true", help="continue an interrupted run")
    solve.add_argument("--plot", action="store_true", help="also draw F.png")

    validate = commands.add_parser("validate", help="compare the grid with particles and exact solutions: a verdict")
    add_case(validate)
    where = "where CASE-validation.nc and .png go; default: this directory"
    validate.add_argument("-o", "--output", type=Path, metavar="DIR", help=where)
    validate.add_argument("--quick", action="store_true", help="half the cells, a quarter of the particles, thresholds × 4")

    sweep = commands.add_parser("sweep", help="solve or validate a case for many values of some keys: one dataset")
    add_case(sweep)
    over = "the values of a key, e.g. flow.temperature=0.1,0.2; may be repeated: all combinations"
    sweep.add_argument("--over", action="append", default=[], metavar="KEY=V1,V2", help=over)
    sweep.add_argument("--list", type=Path, metavar="F.csv", help="instead: a table of keys, one member in each row")
    sweep.add_argument("-o", "--output", type=Path, metavar="DIR", help="default: CASE-sweep")
    sweep.add_argument("--validate", action="store_true", help="judge every member against particles instead of solving it")
    sweep.add_argument("--quick", action="store_true", help="with --validate: half the cells, a quarter of the particles")
    sweep.add_argument("--workers", type=int, metavar="N", help="processes; default: one per CPU")
    address = "of a Dask scheduler, e.g. tcp://host:8786; or local, to start one"
    sweep.add_argument("--scheduler", metavar="ADDRESS", help=address)
    sweep.add_argument("--record", metavar="NAME", help="what the picture shows; default: the energy, or what a grid is worth")
    sweep.add_argument("--against", metavar="KEY", help="against which key; default: the first")

    plot = commands.add_parser("plot", help="draw a result")
    plot.add_argument("file", type=Path, metavar="F.nc")
    plot.add_argument("-o", "--output", type=Path, metavar="OUT", help=".png, .pdf, .svg, .gif or .mp4; default: F.png")

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
    for command in (solve, validate, sweep, plot, export):
        command.add_argument("--overwrite", action="store_true", help="replace existing files")
    for command in (solve, validate, sweep):
        command.add_argument("--quiet", action="store_true", help="no progress, no messages")
    for command in (solve, validate):
        command.add_argument("--threads", type=int, metavar="N", help="of BLAS, sweeps and sums, or particle runs side by side")
    for command in commands.choices.values():
        command.add_argument("--debug", action="store_true", help="show the traceback of an error")
    return parser


def add_case(command: argparse.ArgumentParser) -> None:
    """Adds CASE and --set."""
    command.add_argument("case", help="a shipped name or a TOML file")
    change = "change a key, e.g. space.a.cells=128"
    command.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="settings", help=change)


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
    from gridflow.case.cost import cost_of

    case = changed_case(arguments)
    comments = [f"# {line}" for line in cost_of(case).lines()]
    print(case.text(), *comments, sep="\n")
    return 0


def command_solve(arguments: argparse.Namespace) -> int:
    """Solves a case into a file, and draws it with --plot."""
    from gridflow.files import check_new_file
    from gridflow.output.dataset import check_output
    from gridflow.progress import progress_for
    from gridflow.solver import solve_to_file

    case = changed_case(arguments)
    output = arguments.output or Path(f"{case.name}.nc")
    check_output(output, arguments.overwrite, arguments.resume)
    picture = output.with_suffix(".png")
    if arguments.plot:
        check_new_file(picture, {".png"}, arguments.overwrite)
    signal.signal(signal.SIGTERM, interrupt)
    progress = None if arguments.quiet else progress_for(case.name, case.time.stop)
    ending = solve_to_file(
        case, output, overwrite=arguments.overwrite, resume=arguments.resume, progress=progress, threads=arguments.threads
    )
    status = ending.attrs["status"]
    if status == "interrupted":
        flags = [flag for flag in ("overwrite", "quiet", "plot") if vars(arguments)[flag]]
        settings = [word for setting in arguments.settings for word in ("--set", setting)]
        threads = [] if arguments.threads is None else ["--threads", str(arguments.threads)]
        words = ["gridflow", "solve", arguments.case, "-o", str(output), *settings, *threads]
        words += [*(f"--{flag}" for flag in flags), "--resume"]
        message(
            f"interrupted after time {ending.last.get('time', 0.0):.6g}, with a checkpoint. Go on with:\n  {shlex.join(words)}"
        )
        return EXIT_FAILED
    failed = status.startswith(("failed", "unconverged"))
    message(summary(ending, output), arguments.quiet and not failed)
    if arguments.plot:
        from gridflow.output.plotting import plot

        plot(output, picture, arguments.overwrite)
        message(f"wrote {picture}", arguments.quiet)
    return EXIT_FAILED if failed else 0


def summary(ending: "Ending", output: Path) -> str:
    """A few lines on a result: status, cost, energy, mass, warnings and errors."""
    attrs, first, last = ending.attrs, ending.first, ending.last
    change = f"mass {first['mass']:.4g} -> {last['mass']:.4g}"
    error = f"mass error {attrs['mass_error_max']:.1e}"
    lines = [
        f"{attrs['status']}: wrote {output}",
        f"  time {last['time']:g}, {int(last['steps'])} steps in {attrs['wall_seconds']:.1f} s",
        f"  energy {first['energy']:.6g} -> {last['energy']:.6g}; decrease {attrs['energy_decreases']},"
        f" largest rise in a step {attrs['energy_rise_max']:.1e}",
        f"  {change if 'mass_free' in attrs else error},"
        f" smallest density {last['density_min']:.1e}, boundary mass {last['boundary_mass']:.1e}",
    ]
    lines += [f"  warning: {line}" for line in attrs.get("warnings", "").splitlines()]
    if "data_notes" in attrs:
        lines.append(f"  data: {attrs['data_notes']}")
    if "error_w1" in last:
        lines.append(f"  error against the exact solution: W1 {last['error_w1']:.2e}, L1 {last['error_l1']:.2e}")
    return "\n".join(lines)


def command_validate(arguments: argparse.Namespace) -> int:
    """Prints the verdict on a case; writes its dataset and picture."""
    from gridflow.progress import RunTally
    from gridflow.verdict.runner import validate
    from gridflow.verdict.table import table

    case = changed_case(arguments)
    signal.signal(signal.SIGTERM, interrupt)
    directory = arguments.output or Path()
    progress = None if arguments.quiet else RunTally(case.name)
    result = validate(
        case, directory, quick=arguments.quick, overwrite=arguments.overwrite, progress=progress, threads=arguments.threads
    )
    print(table(result))
    message(f"wrote {directory / case.name}-validation.nc and .png", arguments.quiet)
    return 0 if result.attrs["verdict"] == "pass" else EXIT_FAILED


def command_sweep(arguments: argparse.Namespace) -> int:
    """Solves or validates many cases into a folder."""
    from gridflow.progress import RunTally
    from gridflow.sweep.plan import parse_over, read_list
    from gridflow.sweep.sweep import draw_sweep, sweep

    case = changed_case(arguments)
    folder = arguments.output or Path(f"{case.name}-sweep")
    listed = None if arguments.list is None else read_list(arguments.list)
    signal.signal(signal.SIGTERM, interrupt)
    result = sweep(
        case,
        dict(map(parse_over, arguments.over)) or None,
        members=listed,
        output=folder,
        validate=arguments.validate,
        quick=arguments.quick,
        workers=arguments.workers,
        scheduler=arguments.scheduler,
        overwrite=arguments.overwrite,
        progress=None if arguments.quiet else RunTally(case.name),
    )
    draw_sweep(result, folder, arguments.record, arguments.against)
    failed = [
        f"{c}: {s}" for c, s in zip(result["changes"].values.flat, result["status"].values.flat, strict=True) if is_failure(s)
    ]
    for line in failed[:10]:
        message(line)
    message(f"{len(failed)} of {result['status'].size} members failed; wrote {folder}/sweep.nc and .png", arguments.quiet)
    return EXIT_FAILED if failed else 0


def is_failure(status: str) -> bool:
    """Whether a member has no good result."""
    return not status.startswith(("completed", "steady", "pass"))


def command_plot(arguments: argparse.Namespace) -> int:
    """Draws a result."""
    from gridflow.output.plotting import plot

    file = arguments.file
    output = arguments.output or file.parent / f"{file.stem}.png"
    plot(file, output, arguments.overwrite)
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
    """Prints to stderr unless quiet."""
    if not quiet:
        print(text, file=sys.stderr)


def interrupt(number: int, frame: FrameType | None) -> NoReturn:
    """Raises KeyboardInterrupt: SIGTERM stops as cleanly as Ctrl-C."""
    raise KeyboardInterrupt


COMMANDS = {
    "list": command_list,
    "show": command_show,
    "solve": command_solve,
    "validate": command_validate,
    "sweep": command_sweep,
    "plot": command_plot,
    "export": command_export,
    "doctor": command_doctor,
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
        return COMMANDS[arguments.command](arguments)
    except BrokenPipeError:  # `gridflow list | head`
        sys.stderr.close()
        return 0
    except KeyboardInterrupt:  # before the first step or after the last one: nothing to resume
        message("gridflow: interrupted")
        return EXIT_FAILED
    except (InputError, SolveError, OSError) as error:  # wrong input, a run that cannot go on, a disk that is full
        if arguments.debug:
            raise
        message(f"gridflow: {error}")
        return EXIT_INPUT if isinstance(error, InputError) else EXIT_FAILED


if __name__ == "__main__":
    sys.exit(main())
