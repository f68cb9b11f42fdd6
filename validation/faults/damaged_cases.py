"""Shipped cases with random damage, by number: keys deleted, doubled, renamed, values of other types and of absurd sizes, tables
of other cases, bytes of the text flipped, or wrong `--set` strings. `fuzz_cases` finds out what becomes of them.
"""

import random
import tomllib
from collections.abc import Sequence
from copy import deepcopy
from functools import lru_cache
from math import isfinite
from pathlib import Path
from typing import Any

from gridflow.case.case import Case, load_case
from gridflow.case.changes import parse_setting
from gridflow.case.shipped import shipped_cases

CELLS, CELLS_OF_VERDICTS = 24, 64
"""Along lines of most cases; a verdict has four times wider ones too, and twice as wide again where it is quick."""
NUMBERS: list[Any] = [
    -1, 0, 1, 2, 3, 4, 5, 7, 1000, 10**5, 10**6, 10**9, 2**31, 2**63, 2**64, 10**20, 10**200, -(10**30), 0.0, -0.0, 5e-324,
    1e-300, 1e-150, 1e-30, 1e-9, 0.5, 1.5, 1e5, 1e9, 1e30, 1e75, 1e100, 1e149, 1e150, 1e308, -0.5, -1e-300, -1e9, -1e149,
    float("nan"), float("inf"), float("-inf"),
]  # fmt: skip
WORDS: list[Any] = [
    "", "a", "x", "θ", "é", "\x00", "\u202e", "🙂", "\ud800", "../../etc/passwd", "/dev/zero", "/", "x" * 10_000, "kind", "nan",
    "1e3",
    "normal", "uniform", "labels", "circle", "interval", "sphere", "jko", "finite-volume", "gaussian", "relu", "file", "sum",
]  # fmt: skip
OTHERS: list[Any] = [
    True, False, None, [], {}, [[]], [0.0], [1.0, 2.0], [2.0, 1.0], [0.0, 0.0], [[1.0, 0.0], [0.0, 1.0]], [{}],
]  # fmt: skip
NOISE = [
    "[", "]", "{", "}", '"', "'", "=", ".", ",", "\n", "#", "\\", "\x00", "\ufeff", "é", "nan", "inf", "1e999", "[[", '"""', "-",
]  # fmt: skip


@lru_cache
def texts() -> dict[str, str]:
    """Shipped cases as text."""
    return {name: path.read_text(encoding="utf-8") for name, path in shipped_cases().items()}


@lru_cache
def tables() -> dict[str, dict[str, Any]]:
    """The same as tables."""
    return {name: tomllib.loads(text) for name, text in texts().items()}


def places(value: Any, keys: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Keys of everything in a table."""
    inner = list(value.items()) if isinstance(value, dict) else list(enumerate(value)) if isinstance(value, list) else []
    return [place for key, entry in inner for place in [(*keys, key), *places(entry, (*keys, key))]]


def at(table: Any, keys: Sequence[Any]) -> Any:
    """The entry at a place."""
    for key in keys:
        table = table[key]
    return table


def junk(rng: random.Random) -> Any:
    """A value that fits nowhere, or almost."""
    nested: Any = 1.0
    for _ in range(rng.choice([3, 40, 200])):
        nested = [nested] if rng.random() < 0.5 else {"a": nested}
    return rng.choice([rng.choice(NUMBERS), rng.choice(NUMBERS), rng.choice(WORDS), rng.choice(OTHERS), nested])


def changed_number(value: Any, rng: random.Random) -> Any:
    """Another number, close or far."""
    factors = [-1, 0, 2, 0.5, 3, 0.3, 10, 0.1, 100, 0.01, 1e3, 1e6, 1e12, 1e-3, 1e-9, 1e-15]
    if not isfinite(value):
        return rng.choice(NUMBERS)
    return rng.choice([rng.choice(NUMBERS), value * rng.choice(factors), value + rng.choice([-1, 1]), int(value), float(value)])


def damage(table: dict[str, Any], rng: random.Random) -> None:
    """One random change in place."""
    every = places(table) or [("title",)]
    numbers = [keys for keys in every if type(at(table, keys)) in (int, float)]
    if numbers and rng.random() < 0.6:  # what gets farthest
        *inside, last = rng.choice(numbers)
        at(table, inside)[last] = changed_number(at(table, inside)[last], rng)
        return
    keys = rng.choice(every)
    node, last = at(table, keys[:-1]), keys[-1]
    value = node[last] if isinstance(node, list) or last in node else 1
    action = rng.choice(["word", "junk", "delete", "rename", "double", "swap", "other", "other", "add"])
    if action == "word":
        node[last] = rng.choice(WORDS) if isinstance(value, str) else junk(rng)
    elif action == "junk":
        node[last] = junk(rng)
    elif action == "delete":
        del node[last]
    elif action == "rename" and isinstance(node, dict):
        node[rng.choice([str(last) + "x", str(last)[1:], str(last).upper(), "θ", "kind", *WORDS[:6]])] = node.pop(last)
    elif action == "double" and isinstance(value, list):
        node[last] = [*value, *deepcopy(value)]
    elif action == "swap":
        other = rng.choice(places(table))
        node[last] = deepcopy(at(table, other))
    elif action == "other":
        donor = tables()[rng.choice(sorted(tables()))]
        same = [place for place in places(donor) if place[-1] == last] or places(donor)
        node[last] = deepcopy(at(donor, rng.choice(same)))
    elif action == "add":
        donor = tables()[rng.choice(sorted(tables()))]
        name = rng.choice(sorted(donor))
        table[name] = deepcopy(donor[name])


def noisy(text: str, rng: random.Random) -> bytes:
    """A text with wrong bytes."""
    data = bytearray(text.encode())
    for _ in range(rng.choice([1, 2, 5, 30])):
        start = rng.randrange(len(data) + 1)
        kind = rng.choice(["flip", "insert", "cut", "double", "repeat"])
        if kind == "flip" and start < len(data):
            data[start] = rng.randrange(256)
        elif kind == "insert":
            data[start:start] = rng.choice(NOISE).encode()
        elif kind == "cut":
            del data[start : start + rng.choice([1, 3, 20])]
        elif kind == "double":
            data[start:start] = data[start : start + rng.choice([5, 50])]
        else:
            data[start:start] = rng.choice(NOISE).encode() * rng.choice([10, 3000])
    return bytes(data)


def settings(table: dict[str, Any], rng: random.Random) -> list[str]:
    """Wrong `--set` strings."""
    found = []
    for _ in range(rng.choice([1, 2, 3])):
        keys = [str(key) for key in rng.choice(places(table))]
        if rng.random() < 0.2:
            keys[rng.randrange(len(keys))] = rng.choice(["", "²", "9" * 5000, "-1", "kind", "x", "."])
        value = rng.choice(
            ["", "nan", "[", "{a=1}", "1\nb=2", "[" * 2000, "9" * 5000, *map(str, NUMBERS), *map(repr, WORDS[:12])]
        )
        found.append(".".join(keys) + rng.choice(["=", "=", "=", " = ", ""]) + value)
    return found


def coarse(table: dict[str, Any], cells: int = CELLS, level: int = 1) -> None:
    """Few cells, in place, before the damage."""
    for factor in table["space"].values():
        factor |= {"cells": min(factor["cells"], cells)} if "cells" in factor else {}
        factor |= {"level": min(factor["level"], level)} if "level" in factor else {}


def few_particles(table: dict[str, Any]) -> None:
    """As many as a verdict needs at least, in place, before the damage."""
    table["particles"] |= {"counts": [16, 32, 128], "ensembles": 8, "verdict": {"count": 32, "ensembles": 8}}


def damaged_verdict(seed: int, number: int) -> Case:
    """The case of a number with particles, of which the damage is more often in what concerns them. Raises InputError."""
    rng = random.Random(f"verdict {seed} {number}")
    name = rng.choice(sorted(name for name, table in tables().items() if "particles" in table))
    table = deepcopy(tables()[name])
    coarse(table, CELLS_OF_VERDICTS, 4)
    few_particles(table)
    table["validation"]["times"] = 2
    for _ in range(rng.choice([1, 1, 2, 3])):
        part = rng.choice(["particles", "particles", "validation", "flow", "initial", ""])
        if isinstance(table.get(part), dict | list) and table[part]:
            inside = {part: table[part]}
            damage(inside, rng)
            table = {key: value for key, value in table.items() if key != part} | inside
        else:
            damage(table, rng)
    return Case.from_dict(table, name, shipped_cases()[name].parent)


def damaged_case(seed: int, number: int, small: bool, folder: Path) -> Case:
    """The case of a number. Raises InputError."""
    rng = random.Random(f"{seed} {number}")
    name = rng.choice(sorted(tables()))
    table, directory, way = deepcopy(tables()[name]), shipped_cases()[name].parent, rng.random()
    if small or rng.random() < 0.5:
        coarse(table)
    if way < 0.15:
        path = folder / "noisy.toml"
        path.write_bytes(noisy(texts()[name], rng))
        return load_case(path)
    if way < 0.3:
        case = Case.from_dict(table, name, directory)
        return case.replace(dict(map(parse_setting, settings(tables()[name], rng))))
    for _ in range(rng.choice([1, 1, 2, 3])):
        damage(table, rng)
    return Case.from_dict(table, name, directory)
