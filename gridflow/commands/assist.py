"""Commands that help to write cases and commands: keys, schema, completion."""

import argparse
import os
from collections.abc import Mapping
from typing import Any

from gridflow.commands.base import Command
from gridflow.errors import InputError

SHELLS = ("bash", "zsh", "fish")


def command_keys(arguments: argparse.Namespace) -> int:
    """Prints the keys of a section."""
    from gridflow.case.keys import keys_text

    print(keys_text(arguments.section))
    return 0


def command_schema(arguments: argparse.Namespace) -> int:
    """Prints the JSON Schema of a case."""
    import json

    from gridflow.case.schema import case_schema

    print(json.dumps(case_schema(), indent=2, ensure_ascii=False))
    return 0


def command_completion(arguments: argparse.Namespace) -> int:
    """Prints the script."""
    import argcomplete

    print(argcomplete.shellcode(["gridflow"], shell=arguments.shell))
    return 0


def add_keys(keys: argparse.ArgumentParser) -> None:
    """Adds the section."""
    keys.add_argument("section", nargs="?", default="", metavar="SECTION", help="e.g. flow, energy.network, space.interval")


def add_nothing(command: argparse.ArgumentParser) -> None:
    """No options."""


def add_shell(completion: argparse.ArgumentParser) -> None:
    """Adds the shell."""
    completion.add_argument("shell", choices=SHELLS, help='bash: eval "$(gridflow completion bash)"')


KEYS = Command("keys", "the keys of a case: what is allowed, the default, the meaning", add_keys, command_keys)
SCHEMA = Command("schema", "the JSON Schema of a case, for editors", add_nothing, command_schema)
COMPLETION = Command(
    "completion", "a script that completes commands, options, cases and keys in a shell", add_shell, command_completion
)


def complete(parser: argparse.ArgumentParser, commands: Mapping[str, argparse.ArgumentParser]) -> None:
    """Where a shell asks for completions, answers and ends the process."""
    if "_ARGCOMPLETE" not in os.environ:
        return
    import argcomplete
    from argcomplete.completers import FilesCompleter

    completers = {
        "case": complete_case,
        "settings": complete_key,
        "section": complete_section,
        "file": FilesCompleter(("nc",)),
        "output": FilesCompleter(),
    }
    for command in commands.values():
        for action in command._actions:
            if action.dest in completers:
                vars(action)["completer"] = completers[action.dest]
    argcomplete.autocomplete(parser)


def complete_case(prefix: str, **_: Any) -> list[str]:
    """Shipped names, and TOML files."""
    from argcomplete.completers import FilesCompleter

    from gridflow.case.shipped import shipped_cases

    return [*shipped_cases(), *FilesCompleter(("toml",))(prefix)]


def complete_key(prefix: str, parsed_args: argparse.Namespace, **_: Any) -> list[str]:
    """KEY= of every key that the named case has, with its defaults."""
    from gridflow.case.case import load_case
    from gridflow.case.keys import keys_of_case

    try:
        return [f"{key}=" for key in keys_of_case(load_case(parsed_args.case))]
    except InputError:  # no case is named yet, or a wrong one
        return []


def complete_section(prefix: str, **_: Any) -> list[str]:
    """Sections one level below what is written."""
    from gridflow.case.keys import sections_below

    return sections_below(prefix)
