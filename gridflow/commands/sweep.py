"""The command sweep."""

import argparse
from pathlib import Path

from gridflow.commands.base import EXIT_FAILED, Command, add_case, add_overwrite, add_quiet, changed_case, message


def add(sweep: argparse.ArgumentParser) -> None:
    """Adds the options."""
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
    add_overwrite(sweep)
    add_quiet(sweep)


def command_sweep(arguments: argparse.Namespace) -> int:
    """Solves or validates many cases into a folder."""
    from gridflow.progress import RunTally
    from gridflow.sweeps.plan import parse_over, read_list
    from gridflow.sweeps.sweep import draw_sweep, sweep

    case = changed_case(arguments)
    folder = arguments.output or Path(f"{case.name}-sweep")
    listed = None if arguments.list is None else read_list(arguments.list)
    try:
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
    except KeyboardInterrupt:
        message(f"interrupted: members that are done are kept in {folder}, and the same command goes on")
        return EXIT_FAILED
    draw_sweep(result, folder, arguments.record, arguments.against)
    rows = zip(result["changes"].values.flat, result["status"].values.flat, strict=True)
    failed = [f"{changes}: {status}" for changes, status in rows if is_failure(status)]
    for line in failed[:10]:
        message(line)
    message(f"{len(failed)} of {result['status'].size} members failed; wrote {folder}/sweep.nc and .png", arguments.quiet)
    return EXIT_FAILED if failed else 0


def is_failure(status: str) -> bool:
    """Whether a member has no good result."""
    return not status.startswith(("completed", "steady", "pass"))


SWEEP = Command("sweep", "solve or validate a case for many values of some keys: one dataset", add, command_sweep)
