"""What commands share: their declaration, parsers whose errors help, common options, and words on stderr."""

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from gridflow.errors import suggestion
from gridflow.launched import launched_rank

if TYPE_CHECKING:
    from gridflow.case.case import Case

EXIT_FAILED, EXIT_INPUT = 1, 2


@dataclass(frozen=True)
class Command:
    """add : adds its options to its parser; run : does its work, and returns the exit code."""

    name: str
    help: str
    add: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], int]


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


def add_overwrite(command: argparse.ArgumentParser) -> None:
    """Adds --overwrite."""
    command.add_argument("--overwrite", action="store_true", help="replace existing files")


def add_quiet(command: argparse.ArgumentParser) -> None:
    """Adds --quiet."""
    command.add_argument("--quiet", action="store_true", help="no progress, no messages")


def add_threads(command: argparse.ArgumentParser) -> None:
    """Adds --threads."""
    command.add_argument("--threads", type=int, metavar="N", help="of BLAS, sweeps and sums, or particle runs side by side")


def add_file(command: argparse.ArgumentParser) -> None:
    """Adds the file of a result."""
    command.add_argument("file", type=Path, metavar="F.nc")


def changed_case(arguments: argparse.Namespace) -> "Case":
    """The case of the command line with its --set options."""
    from gridflow.case.case import load_case
    from gridflow.case.changes import parse_setting

    return load_case(arguments.case).replace(dict(map(parse_setting, arguments.settings)))


def message(text: str, quiet: bool = False) -> None:
    """Prints to stderr unless quiet; of the processes of an mpiexec the first one alone."""
    if not quiet and launched_rank() == 0:
        print(text, file=sys.stderr)
