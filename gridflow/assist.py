"""Commands that help to write cases and commands, keys, schema and completion; and results in words and as JSON."""

import argparse
import math
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gridflow.errors import InputError

if TYPE_CHECKING:
    import xarray

    from gridflow.output.dataset import Ending

SHELLS = ("bash", "zsh", "fish")
CERTIFICATES = ("mass_error_max", "energy_decreases", "energy_rise_max", "energy_roundoff", "wall_seconds")


def add_assistance(commands: Any) -> None:
    """Adds the commands."""
    keys = commands.add_parser("keys", help="the keys of a case: what is allowed, the default, the meaning")
    keys.add_argument("section", nargs="?", default="", metavar="SECTION", help="e.g. flow, energy.network, space.interval")
    commands.add_parser("schema", help="the JSON Schema of a case, for editors")
    completion = commands.add_parser("completion", help="a script that completes commands, options, cases and keys in a shell")
    completion.add_argument("shell", choices=SHELLS, help='bash: eval "$(gridflow completion bash)"')


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


ASSISTANCE: dict[str, Callable[[argparse.Namespace], int]] = {
    "keys": command_keys,
    "schema": command_schema,
    "completion": command_completion,
}


# --------------------------------------------------------------------------------------------------------- completion
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


# ------------------------------------------------------------------------------------------------------------ results
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


def solve_json(ending: "Ending", output: Path, picture: Path | None) -> str:
    """Status, file, certificates and the numbers of the last save, in one line."""
    attrs = ending.attrs
    result = {
        "status": attrs["status"],
        "file": str(output),
        "picture": None if picture is None else str(picture),
        "certificates": {name: attrs[name] for name in CERTIFICATES},
        "warnings": attrs.get("warnings", "").splitlines(),
        "last": ending.last,
    }
    return json_line(result)


def validate_json(result: "xarray.Dataset", data: Path, picture: Path) -> str:
    """Verdict, files, and outcome, threshold and reason of every quantity, in one line."""
    attrs = result.attrs
    quantities = {
        str(row["quantity"].values): {name: row[name].item() for name in ("outcome", "threshold", "reason")}
        for row in (result.isel(quantity=k) for k in range(result.sizes["quantity"]))
    }
    found = {
        "verdict": attrs["verdict"],
        "file": str(data),
        "picture": str(picture),
        "quick": bool(attrs["quick"]),
        "worth": attrs.get("worth"),
        "detects": attrs.get("detects"),
        "quantities": quantities,
        "warnings": attrs.get("warnings", "").splitlines(),
    }
    return json_line(found)


def json_line(value: Any) -> str:
    """JSON; numbers that it does not have, as an infinite worth, are null."""
    import json

    return json.dumps(json_value(value), ensure_ascii=False, allow_nan=False)


def json_value(value: Any) -> Any:
    """The same with null for NaN and infinities."""
    if isinstance(value, dict):
        return {key: json_value(entry) for key, entry in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value
