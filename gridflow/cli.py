"""The command line: its commands stand in `gridflow.commands`.

Requested results go to stdout, files to the path of -o, everything else to stderr. Exit codes: 0 good, 1 the run failed
or was interrupted, 2 the input is wrong.
"""

import argparse
import gc
import sys
import traceback
from collections.abc import Sequence

from gridflow import __version__
from gridflow.commands.assist import COMPLETION, KEYS, SCHEMA, complete
from gridflow.commands.base import EXIT_FAILED, EXIT_INPUT, Command, CommandParser, Parser, message
from gridflow.commands.cases import DOCTOR, LIST, SHOW
from gridflow.commands.show_results import EXPORT, PLOT, REPORT, REPRODUCE
from gridflow.commands.solve import SOLVE
from gridflow.commands.sweep import SWEEP
from gridflow.commands.validate import VALIDATE
from gridflow.errors import InputError, SolveError, suggestion
from gridflow.interrupts import interruptions, stopping
from gridflow.launched import end_all, end_together, launched
from gridflow.memory import unlimited
from gridflow.messages import reason_of

GARBAGE_AFTER = 50_000
"""New objects until Python looks for garbage: imports make hundreds of thousands that stay, a tenth of a small run's time."""
IN_ORDER = (LIST, SHOW, KEYS, SOLVE, VALIDATE, SWEEP, PLOT, EXPORT, REPORT, REPRODUCE, DOCTOR, SCHEMA, COMPLETION)
COMMANDS: dict[str, Command] = {command.name: command for command in IN_ORDER}


def build_parser() -> argparse.ArgumentParser:
    """Commands and options."""
    parser = Parser(prog="gridflow", description="Wasserstein gradient flows solved as densities on a grid.")
    parser.add_argument("--version", action="version", version=f"gridflow {__version__}")
    parsers = parser.add_subparsers(dest="command", metavar="COMMAND", required=True, parser_class=CommandParser)
    for command in IN_ORDER:
        own = parsers.add_parser(command.name, help=command.help)
        command.add(own)
        own.add_argument("--debug", action="store_true", help="show the traceback of an error")
    complete(parser, parsers.choices)
    return parser


def main(argv: Sequence[str] | None = None, came: Sequence[int] = ()) -> int:
    """Runs a command line, by default that of the process; returns the exit code.

    came : signals that have asked the process to stop, before and while this module was imported
    """
    gc.set_threshold(GARBAGE_AFTER)
    words = list(sys.argv[1:] if argv is None else argv)
    named = next((w for w in words if not w.startswith("-")), None)
    if named is not None and named not in COMMANDS:
        fix = suggestion(named, COMMANDS) or "see gridflow --help"
        message(f"gridflow: no command {named!r}\n  allowed: {', '.join(COMMANDS)}\n  fix: {fix}")
        return EXIT_INPUT
    arguments = build_parser().parse_args(words)
    if launched() > 1 and arguments.command != SOLVE.name:
        received = f"gridflow: an mpiexec with {launched()} processes for gridflow {arguments.command}"
        message(f"{received}\n  allowed: mpiexec for gridflow solve\n  fix: run it without mpiexec")
        return EXIT_INPUT
    try:
        with interruptions(), stopping(), unlimited(vars(arguments).get("force", False)):
            if came:
                raise KeyboardInterrupt
            return COMMANDS[arguments.command].run(arguments)
    except BrokenPipeError:  # `gridflow list | head`
        sys.stderr.close()
        return 0
    except KeyboardInterrupt:
        message(f"gridflow: {arguments.command} was interrupted; the same command starts it again")
        return EXIT_FAILED
    except (InputError, SolveError, OSError, MemoryError) as error:  # wrong input, a run that cannot go on, a disk that is full
        if arguments.debug:
            fail_together()
            raise
        message(f"gridflow: {reason_of(error)}")
        end_together(reason_of(error))
        return EXIT_INPUT if isinstance(error, InputError) else EXIT_FAILED
    except Exception:
        fail_together()
        raise


def fail_together() -> None:
    """Of the processes of an mpiexec, one that ends with a traceback ends the others, who would wait for it."""
    if launched() > 1:
        traceback.print_exc()
        end_all("an error with a traceback")


if __name__ == "__main__":
    sys.exit(main())
