"""What a sweep runs: the members of a grid of values, or of a list of changes, each a case of its own.

A member is named by the content of its case: a sweep that is run again, with more values or after an interruption, finds what
is done.
"""

import csv
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

import gridflow
from gridflow.case.case import Case
from gridflow.case.changes import parse_value
from gridflow.case.text import NotTOML, parse
from gridflow.errors import InputError, require
from gridflow.output.schema import RESERVED, name_of_key

MEMBERS_MAX = 100_000
"""Members of one sweep: their names and results still fit one file and a few seconds."""
TABLE_BYTES_MAX = 2**24


@dataclass(frozen=True)
class Member:
    """One case: what changes, its place along the dimensions of the sweep, and the name of its content."""

    case: Case
    changes: dict[str, Any]
    place: tuple[int, ...]
    name: str


@dataclass(frozen=True)
class Plan:
    """axes : the values of every swept key, a dimension each; or, where `listed`, one value of every key per member."""

    case: Case
    axes: dict[str, list[Any]]
    listed: bool
    members: list[Member]

    @property
    def dims(self) -> tuple[str, ...]:
        """Names of the dimensions."""
        return ("member",) if self.listed else tuple(map(name_of_key, self.axes))

    @property
    def shape(self) -> tuple[int, ...]:
        """Their lengths."""
        return (len(self.members),) if self.listed else tuple(map(len, self.axes.values()))


def sweep_plan(
    case: Case, over: Mapping[str, Sequence[Any]] | None, listed: Sequence[Mapping[str, Any]] | None, suffix: str = ""
) -> Plan:
    """The members of all combinations of the values `over`, or of the changes `listed`; suffix : of what is done with them.

    Raises InputError, before anything runs, for a key or a value that the case refuses, for values that repeat, and for too many.
    """
    one = (over is None) != (listed is None)
    require(
        one, "a sweep over both a grid and a list" if over else "a sweep over nothing", "one of the two", "use --over or --list"
    )
    rows, axes = listed_rows(listed) if listed is not None else combinations(over or {})
    names = [name_of_key(key) for key in axes]
    taken = sorted({n for n in names if n in RESERVED | {"member"} or names.count(n) > 1})
    require(not taken, f"swept keys whose names are {taken} in a dataset", "other names", "sweep over other keys")
    members = []
    for number, (place, changes) in enumerate(rows):
        try:
            changed = case.replace(changes)
        except InputError as error:
            received, allowed, fix = error.parts
            raise InputError(f"member {number + 1}, {changes_text(changes)}: {received}", allowed, fix) from None
        members.append(Member(changed, changes, place, content_name(changed, suffix)))
    return Plan(case, axes, listed is not None, members)


def combinations(over: Mapping[str, Sequence[Any]]) -> tuple[list[tuple[tuple[int, ...], dict[str, Any]]], dict[str, list[Any]]]:
    """(place, changes) of every member, and the axes."""
    axes: dict[str, list[Any]] = {}
    for key, values in over.items():
        is_list = isinstance(values, list | tuple | range | np.ndarray) and len(values) > 0
        require(is_list, f"the values {values!r} of {key!r}", "a list of at least one value", f"--over {key}=v1,v2")
        check_number(math.prod([*map(len, axes.values()), len(values)]))
        axes[key] = values.tolist() if isinstance(values, np.ndarray) else list(values)
        repeated = [text for text, times in Counter(map(repr, axes[key])).items() if times > 1]
        require(not repeated, f"{key} with the value {', '.join(repeated[:3])} twice", "different values", "remove one of them")
    places = product(*(range(len(values)) for values in axes.values()))
    return [(p, {key: axes[key][k] for key, k in zip(axes, p, strict=True)}) for p in places], axes


def listed_rows(listed: Sequence[Mapping[str, Any]]) -> tuple[list[tuple[tuple[int, ...], dict[str, Any]]], dict[str, list[Any]]]:
    """The same for a list of changes, which all change the same keys."""
    check_number(len(listed))
    keys = list(listed[0]) if listed else []
    require(len(keys) > 0, "a list of no changes", "at least one member that changes a key", "name a key and its values")
    for number, row in enumerate(listed):
        received = f"member {number + 1} of the list changes {sorted(row)}"
        require(set(row) == set(keys), received, f"the same keys in every member: {sorted(keys)}", "give every member all values")
    return [((k,), dict(row)) for k, row in enumerate(listed)], {key: [row[key] for row in listed] for key in keys}


def check_number(members: int) -> None:
    """Raises InputError for too many members, before any of them is made."""
    received, fix = f"a sweep of {members:.4g} members", "use fewer values, or several sweeps"
    require(members <= MEMBERS_MAX, received, f"at most {MEMBERS_MAX}", fix)


def content_name(case: Case, suffix: str) -> str:
    """A name of what determines the result: the case, the version of gridflow, and what is done."""
    content = f"gridflow {gridflow.__version__}\n{suffix}\n{case.text()}\n{case.directory}"
    return sha256(content.encode()).hexdigest()[:24]


def changes_text(changes: Mapping[str, Any]) -> str:
    """Changes as one types them."""
    return ", ".join(f"{key}={value}" for key, value in changes.items())


def parse_over(text: str) -> tuple[str, list[Any]]:
    """'flow.temperature=0.1,0.2' → ("flow.temperature", [0.1, 0.2]). Values are TOML, or else words between commas."""
    key, separator, values = text.partition("=")
    fix = "for example --over flow.temperature=0.1,0.2"
    require(bool(separator and key.strip() and values.strip()), f"--over {text}", "KEY=VALUE,VALUE,…", fix)
    where = f"--over {key.strip()}"
    try:
        return key.strip(), parse(f"values = [{values}]", where)["values"]
    except NotTOML:
        return key.strip(), [parse_value(word, where) for word in values.split(",")]


def read_list(path: Path) -> list[dict[str, Any]]:
    """The changes in a CSV table: keys of the case in the first row, the values of a member in each further one."""
    fix = "write a table whose first row has keys of the case, such as flow.temperature,time.stop"
    require(path.is_file(), f"no file {path.name!r} with members of a sweep", "a CSV table", "check the path")
    fits = path.stat().st_size <= TABLE_BYTES_MAX
    require(fits, f"{path.name!r} of {path.stat().st_size} bytes", f"at most {TABLE_BYTES_MAX} bytes", "use several sweeps")
    try:
        with open(path, encoding="utf-8", newline="") as file:
            rows = [row for row in csv.reader(file, skipinitialspace=True) if row]
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path.name!r} is no CSV table: {error}", "a CSV table in UTF-8", fix) from None
    require(len(rows) >= 2, f"{path.name!r} with {len(rows)} rows", "a row of keys and one per member", fix)
    keys = [key.strip() for key in rows[0]]
    require(len(set(keys)) == len(keys), f"{path.name!r} with the keys {keys}", "every key once", fix)
    for number, row in enumerate(rows[1:], start=2):
        received = f"row {number} of {path.name!r} has {len(row)} values"
        require(len(row) == len(keys), received, f"{len(keys)}, one per key", fix)
    return [dict(zip(keys, (parse_value(word, repr(path.name)) for word in row), strict=True)) for row in rows[1:]]
