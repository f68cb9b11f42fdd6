"""What do hostile cases do? Shipped cases with random damage are loaded, shown, made concrete and solved for a few steps.

Each number of a series is one damaged case: keys deleted, doubled, renamed, values of other types and of absurd sizes, tables of
other cases, bytes of the text flipped, or wrong `--set` strings. It may run, or be refused with an InputError or a SolveError.
Anything else is a fault:

    traceback   any other exception
    warning     a RuntimeWarning of NumPy
    signal      the process ends by a signal
    slow        `gridflow show` takes more than SHOW_SECONDS, or the whole more than LIMIT_SECONDS
    large       more than RESIDENT_MAX of memory is in use

Cases run in child processes with a limit on their address space; a child that hangs or dies is replaced. `--full` has 50,000
cases, of which every tenth takes steps.

    python -m validation.fuzz_cases [--full] [--count N] [--first K] [--seed S] [--steps EVERY]
"""

import argparse
import multiprocessing
import random
import re
import resource
import sys
import tempfile
import time
import tomllib
import traceback
import warnings
from collections import Counter
from collections.abc import Sequence
from copy import deepcopy
from functools import lru_cache
from math import isfinite, prod
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

from gridflow.case.case import Case, load_case
from gridflow.case.changes import parse_setting
from gridflow.case.shipped import shipped_cases
from gridflow.errors import InputError, SolveError
from gridflow.preview import preview
from gridflow.scheme.jko.scheme import JKO
from gridflow.solver import solve

SHOW_SECONDS, LIMIT_SECONDS = 2.0, 60.0
ADDRESS_MAX, RESIDENT_MAX = 4 * 2**30, 1.5 * 2**30
"""Bytes. Compiled code needs far more addresses than memory."""
FULL, STEPS_EVERY, CHILDREN = 50_000, 10, 2
CELLS, CELLS_MAX, STEPS = 24, 200_000, 3
"""Along lines, of most cases; of grids on which more than `show` is tried, which takes however long; steps."""
NUMBERS: list[Any] = [
    -1, 0, 1, 2, 3, 4, 5, 7, 1000, 10**5, 10**6, 10**9, 2**31, 2**63, 2**64, 10**20, 10**200, -(10**30), 0.0, -0.0, 5e-324,
    1e-300, 1e-150, 1e-30, 1e-9, 0.5, 1.5, 1e5, 1e9, 1e30, 1e75, 1e100, 1e149, 1e150, 1e308, -0.5, -1e-300, -1e9, -1e149,
    float("nan"), float("inf"), float("-inf"),
]  # fmt: skip
WORDS: list[Any] = [
    "", "a", "x", "θ", "é", "\x00", "\u202e", "🙂", "\ud800", "../../etc/passwd", "/dev/zero", "/", "x" * 10_000, "kind",
    "nan", "1e3",
    "normal", "uniform", "labels", "circle", "interval", "sphere", "jko", "finite-volume", "gaussian", "relu", "file", "sum",
]  # fmt: skip
OTHERS: list[Any] = [True, False, None, [], {}, [[]], [0.0], [1.0, 2.0], [2.0, 1.0], [0.0, 0.0], [[1.0, 0.0], [0.0, 1.0]], [{}]]
NOISE = [
    "[",
    "]",
    "{",
    "}",
    '"',
    "'",
    "=",
    ".",
    ",",
    "\n",
    "#",
    "\\",
    "\x00",
    "\ufeff",
    "é",
    "nan",
    "inf",
    "1e999",
    "[[",
    '"""',
    "-",
]


class Outcome(NamedTuple):
    """stage : the last one; kind : "clean", "refused", "failed", or a fault of the head; text : where and what"""

    stage: str
    kind: str
    text: str = ""


FINE = ("clean", "refused", "failed")


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
    factors = [-1, 0, 2, 0.5, 10, 1e3, 1e6, 1e12, 1e-3, 1e-9, 1e-15]
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


def coarse(table: dict[str, Any]) -> None:
    """Few cells and a few steps, in place, before the damage."""
    for factor in table["space"].values():
        factor |= {"cells": min(factor["cells"], CELLS)} if "cells" in factor else {}
        factor |= {"level": min(factor["level"], 1)} if "level" in factor else {}


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


def processor_seconds() -> float:
    """Of this process and of its children that have ended: what other processes do does not count."""
    return sum(sum(resource.getrusage(who)[:2]) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))


def stages(seed: int, number: int, steps: bool, folder: Path, shows: bool = True) -> Any:
    """Stage by stage: the name before it begins."""
    yield "load"
    case = damaged_case(seed, number, steps, folder)
    yield "show"
    began = processor_seconds()
    case.text()
    if shows:
        preview(case)
        if processor_seconds() - began > SHOW_SECONDS:
            raise TimeoutError
    if prod(spec.size for spec in case.space.values()) > CELLS_MAX:
        return
    yield "problem"
    problem = case.problem()
    problem.check_start()
    if steps:
        yield "steps"
        iterations = {"scheme.max_iterations": 50} if isinstance(case.scheme, JKO) else {}
        solve(case.replace({"time.max_steps": STEPS, "time.save": 2, **iterations}))
    yield "end"


def outcome(seed: int, number: int, steps: bool, folder: Path, shows: bool = True) -> Outcome:
    """What becomes of one case; steps : whether it takes some; shows : whether `gridflow show` is tried."""
    stage, before = "load", peak()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", RuntimeWarning)
        try:
            for stage in stages(seed, number, steps, folder, shows):  # noqa: B007
                pass
        except (InputError, SolveError) as error:
            return Outcome(stage, "refused" if isinstance(error, InputError) else "failed", str(error))
        except TimeoutError:
            return Outcome(stage, "slow", f"gridflow show took more than {SHOW_SECONDS:g} s")
        except Exception as error:
            return Outcome(stage, *fault(str(error) if "Traceback" in str(error) else traceback.format_exc()))
    large = peak() > max(before, RESIDENT_MAX)
    return Outcome(stage, "large", f"{peak() / 2**30:.1f} GiB") if large else Outcome(stage, "clean")


def peak() -> float:
    """Most bytes that were in use so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def fault(text: str) -> tuple[str, str]:
    """(kind, error and place) of a traceback."""
    last, frames = text.strip().splitlines()[-1], re.findall(r'File ".*/gridflow/(.*)", line (\d+), in (\w+)', text)
    where = "{}:{} {}".format(*frames[-1]) if frames else "?"
    return "warning" if last.startswith("RuntimeWarning") else "traceback", f"{last[:160]} ({where})"


def child(pipe: Connection, seed: int) -> None:
    """Answers numbers with outcomes until the pipe closes."""
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_MAX, ADDRESS_MAX))
    with tempfile.TemporaryDirectory() as folder:
        while True:
            try:
                number, steps = pipe.recv()
            except EOFError:
                return
            pipe.send(outcome(seed, number, steps, Path(folder)))


class Child:
    """A process that takes one case at a time."""

    def __init__(self, seed: int) -> None:
        context = multiprocessing.get_context("spawn")
        self.seed, (self.pipe, theirs) = seed, context.Pipe()
        self.process = context.Process(target=child, args=(theirs, seed), daemon=True)
        self.process.start()
        theirs.close()
        self.number, self.began = -1, 0.0

    def take(self, number: int, steps: bool) -> None:
        """Begins a case."""
        self.number, self.began = number, time.monotonic()
        self.pipe.send((number, steps))

    def answer(self) -> Outcome | None:
        """The outcome; None while it runs."""
        try:
            if self.pipe.poll(0.01):
                return self.pipe.recv()
        except (EOFError, ConnectionResetError):
            self.process.join()
            return Outcome("?", "signal", f"exit code {self.process.exitcode}")
        if time.monotonic() - self.began > LIMIT_SECONDS:
            self.process.kill()
            self.process.join()
            return Outcome("?", "slow", f"more than {LIMIT_SECONDS:g} s")
        return None


def series(seed: int, numbers: range, every: int) -> list[tuple[int, Outcome]]:
    """Outcomes of the cases of these numbers; every so many take steps."""
    children, left, found = [Child(seed) for _ in range(CHILDREN)], iter(numbers), []
    busy: dict[int, Child] = {}
    for k, worker in enumerate(children):
        if (number := next(left, None)) is not None:
            worker.take(number, number % every == 0)
            busy[k] = worker
    while busy:
        for k, worker in list(busy.items()):
            if (answer := worker.answer()) is None:
                continue
            found.append((worker.number, answer))
            if not worker.process.is_alive():
                worker = Child(seed)
            if (number := next(left, None)) is None:
                del busy[k]
                worker.pipe.close()
            else:
                worker.take(number, number % every == 0)
                busy[k] = worker
    return sorted(found)


def report(found: list[tuple[int, Outcome]]) -> str:
    """Counts by stage and kind, and every fault with the first number that has it."""
    counts = Counter((o.stage, o.kind) for _, o in found)
    lines = [f"{len(found)} cases"] + [f"  {stage:8} {kind:10} {n}" for (stage, kind), n in sorted(counts.items())]
    faults = [(number, o) for number, o in found if o.kind not in FINE]
    texts = Counter(o.kind + " " + o.text for _, o in faults)
    for text, n in texts.most_common():
        first = [(number, o.stage) for number, o in faults if o.kind + " " + o.text == text]
        lines.append(f"  {n:4} × {text}; number {first[0][0]} at {first[0][1]}")
    return "\n".join(lines)


def main() -> int:
    """Runs a series; exit code 1 if it finds faults."""
    parser = argparse.ArgumentParser(description="damaged cases")
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--steps", type=int, default=STEPS_EVERY, help="every so many cases take steps")
    arguments = parser.parse_args()
    count = FULL if arguments.full else arguments.count
    found = series(arguments.seed, range(arguments.first, arguments.first + count), arguments.steps)
    print(report(found))
    return int(any(o.kind not in FINE for _, o in found))


if __name__ == "__main__":
    sys.exit(main())
