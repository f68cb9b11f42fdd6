"""Files that nobody wrote: thousands of changed results, tables and interrupted runs, given to all that reads files.

    python -m validation.faults.fuzz_files [--full] [--seed S] [--count N]      300 files, 5,000 with --full

Each seed takes a good file, spoils it in one to three ways, and gives it to a consumer: a picture, an animation, an export, the
start of a case, the data of a network or a tabulated potential, --resume, or a verdict. It has to be used, or refused by an
InputError. Everything else is a finding: other exceptions, warnings of NumPy, xarray and matplotlib, crashes and runs without
end. Seeds run in child processes with limits on time and memory, a batch in each; a seed makes the same file everywhere.
"""

import argparse
import os
import random
import signal
import sys
import tempfile
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from io import StringIO
from pathlib import Path

from gridflow.commands.results import validate_json
from gridflow.errors import InputError, SolveError
from gridflow.output.animation import animate
from gridflow.output.export import export
from gridflow.output.plotting import plot
from gridflow.output.reader import PICTURE, read_result
from gridflow.solver import solve
from gridflow.verdict.output import Output
from gridflow.verdict.runner import validate
from validation.faults.damaged_files import (
    CASES,
    JUDGED,
    good_bytes,
    interrupted,
    particle_runs,
    spoiled_bytes,
    spoiled_result,
    spoiled_table,
    verdict,
)

BATCH, SECONDS, MEMORY = 100, 30, 4 * 2**30
"""Seeds in a child; limits of one seed and of a child."""
FEW, FULL = 300, 5000


# -------------------------------------------------------------------------------------------------------- consumers
def draw(rng: random.Random, folder: Path) -> None:
    """A picture of a spoiled result."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    spoiled_result(rng, good_bytes(rng.choice(list(CASES))), folder / "a.nc")
    figure = plot(folder / "a.nc")
    figure.set_dpi(30)
    FigureCanvasAgg(figure).draw()


def film(rng: random.Random, folder: Path) -> None:
    """An animation of a spoiled result."""
    spoiled_result(rng, good_bytes(rng.choice(["line", "plane"])), folder / "a.nc")
    animate(read_result(folder / "a.nc", "plot", PICTURE), folder / "a.gif")


def hand_on(rng: random.Random, folder: Path) -> None:
    """An export of a spoiled result."""
    name = rng.choice(list(CASES))
    spoiled_result(rng, good_bytes(name), folder / "a.nc")
    boxes = {"latlon": 45.0, "marginal": rng.random() < 0.5} if name == "sphere" and rng.random() < 0.5 else {}
    times = rng.choice([None, ["last"], ["first", "0"]])
    export(folder / "a.nc", folder / rng.choice(["b.nc", "b.csv"]), rng.choice([None, ["density"], ["energy"]]), times, **boxes)


def begin(rng: random.Random, folder: Path) -> None:
    """The start of a case from a spoiled result, on its cells or others."""
    name = rng.choice(list(CASES))
    spoiled_result(rng, good_bytes(name), folder / "a.nc")
    case, more = CASES[name], rng.random() < 0.5
    finer = {key: value + 1 if key.endswith("level") else 2 * value for key, value in case.resolution().items()} if more else {}
    time = {} if rng.random() < 0.7 else {"time": rng.choice([0.0, 0.02, 1.0])}
    case.replace({**finer, "initial": [{"file": str(folder / "a.nc"), **time}]}).problem().check_start()


def tabulate(rng: random.Random, folder: Path) -> None:
    """A spoiled result as a potential."""
    name = rng.choice(["line", "circle", "classic"])
    spoiled_result(rng, good_bytes(name), folder / "a.nc")
    potential = {"kind": "potential", "file": str(folder / "a.nc"), "variable": "density"}
    CASES[name].replace({"energy": potential}).problem().check_start()


def train(rng: random.Random, folder: Path) -> None:
    """Spoiled tables and results as the data of a network."""
    if rng.random() < 0.6:
        spoiled_table(rng, folder / "a.csv")
        data = {"file": str(folder / "a.csv"), "inputs": ["x"], "targets": ["y"], "weights": rng.choice([None, "m"])}
    else:
        spoiled_result(rng, good_bytes("plane"), folder / "a.nc")
        data = {"file": str(folder / "a.nc"), "inputs": ["data_weight"], "targets": ["target"]}
    energy = {"kind": "network", "activation": "tanh", "bias": True, "branches": [{"weights": ["w", "b"]}]}
    CASES["plane"].replace({"energy": {**energy, "data": {"kind": "file", **data}}}).problem().check_start()


def resume(rng: random.Random, folder: Path) -> None:
    """A run that goes on from what an interrupted one left, of which one file is spoiled."""
    files = interrupted("line")
    for name, data in files.items():
        (folder / name).write_bytes(data)
    name = rng.choice(list(files))
    if files[name].startswith((b"\x89HDF", b"CDF")):
        spoiled_result(rng, files[name], folder / name)
    else:
        (folder / name).write_bytes(spoiled_bytes(rng, files[name]))
    solve(CASES["line"], folder / "a.nc", resume=True)


def compare(rng: random.Random, folder: Path) -> None:
    """Particle runs of one's own, spoiled, in a verdict."""
    ending = rng.choice([".nc", ".nc", ".csv"])
    path, good = folder / f"a{ending}", particle_runs()[ending]
    if ending == ".csv":
        spoiled_table(rng, path, good)
    else:
        spoiled_result(rng, good, path)
    validate(JUDGED, particles=path, threads=1)


def go_on(rng: random.Random, folder: Path) -> None:
    """A verdict with --resume, of which the data are spoiled, as it is printed."""
    output = Output(JUDGED.name, folder)
    for name, data in verdict().items():
        (folder / name).write_bytes(data)
    spoiled_result(rng, output.data.read_bytes(), output.data)
    found = output.complete(JUDGED, quick=False)
    if found is not None:
        print(validate_json(found, output.data, output.picture), found.attrs["table"], file=StringIO())


CONSUMERS: dict[str, Callable[[random.Random, Path], None]] = {
    "plot": draw,
    "animation": film,
    "export": hand_on,
    "initial": begin,
    "potential": tabulate,
    "data": train,
    "resume": resume,
    "particles": compare,
    "verdict": go_on,
}


# ----------------------------------------------------------------------------------------------------------- outcomes
def outcome(seed: int, kinds: tuple[str, ...], folder: Path) -> str:
    """ "KIND used", "KIND refused" or "KIND FOUND: what", of one seed."""
    rng = random.Random(seed)
    kind = kinds[seed % len(kinds)]
    with tempfile.TemporaryDirectory(dir=folder) as place, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            CONSUMERS[kind](rng, Path(place))
            ended = "used"
        except InputError as error:
            ended = "refused" if str(error).isprintable() or not set(str(error)) & set("\x1b\x07\x00") else "FOUND: raw control"
        except SolveError:
            ended = "refused"
        except Exception as error:
            last = traceback.extract_tb(error.__traceback__)
            own = [f for f in last if "gridflow/" in f.filename] or last
            ended = f"FOUND: {type(error).__name__} in {Path(own[-1].filename).name}:{own[-1].lineno}: {str(error)[:80]!r}"
    if caught and not ended.startswith("FOUND"):
        one = caught[0]
        ended = f"FOUND: {one.category.__name__} {Path(one.filename).name}:{one.lineno}: {str(one.message)[:80]!r}"
    return f"{kind} {ended}"


def outcomes(seeds: Iterable[int], kinds: tuple[str, ...], folder: Path) -> Iterator[tuple[int, str]]:
    """The outcome of each seed, in this process."""
    for seed in seeds:
        yield seed, outcome(seed, kinds, folder)


def limit_memory() -> None:
    """Of this process; a crash leaves no core behind."""
    import resource

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))


def in_children(seeds: list[int], kinds: tuple[str, ...], folder: Path) -> Iterator[tuple[int, str]]:
    """The same in child processes; a seed that ends its child is a finding, and the next child goes on after it."""
    for name in CASES:
        good_bytes(name)
    for kind, make in {"resume": partial(interrupted, "line"), "particles": particle_runs, "verdict": verdict}.items():
        if kind in kinds:
            make()
    todo = list(seeds)
    while todo:
        log = folder / "log"
        log.write_text("")
        child = os.fork()
        if child == 0:
            limit_memory()
            with log.open("w", buffering=1) as lines:
                for seed in todo[:BATCH]:
                    signal.alarm(SECONDS)
                    print(seed, outcome(seed, kinds, folder), file=lines)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        done = [line.split(" ", 1) for line in log.read_text().splitlines()]
        yield from ((int(seed), text) for seed, text in done)
        del todo[: len(done)]
        if os.WIFSIGNALED(status) and todo:
            ended = "no end" if os.WTERMSIG(status) == signal.SIGALRM else signal.Signals(os.WTERMSIG(status)).name
            yield todo[0], f"{kinds[todo[0] % len(kinds)]} FOUND: {ended}"
            del todo[0]


def main() -> int:
    """Counts outcomes and prints findings; 1 where there are any."""
    parser = argparse.ArgumentParser(prog="python -m validation.faults.fuzz_files")
    parser.add_argument("--full", action="store_true", help=f"{FULL} files instead of {FEW}")
    parser.add_argument("--seed", type=int, default=0, help="the first one")
    parser.add_argument("--count", type=int, help="of files")
    parser.add_argument("--kinds", nargs="+", choices=CONSUMERS, default=list(CONSUMERS))
    chosen = parser.parse_args()
    count = chosen.count or (FULL if chosen.full else FEW)
    table, found = Counter[str](), Counter[str]()
    with tempfile.TemporaryDirectory() as folder:
        for seed, text in in_children(list(range(chosen.seed, chosen.seed + count)), tuple(chosen.kinds), Path(folder)):
            kind, ended = text.split(" ", 1)
            table[f"{kind:10} {ended.split(':')[0]}"] += 1
            if ended.startswith("FOUND"):
                if not found[text]:
                    print(f"seed {seed}: {text}", flush=True)
                found[text] += 1
    for text, number in sorted(table.items()):
        print(f"{number:6} {text}")
    print(f"{sum(found.values())} of {count} files found something, {len(found)} different")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
