"""What do hostile cases do? Shipped cases with random damage are loaded, shown, made concrete and solved for a few steps.

Each number of a series is one damaged case (`validation.faults.damaged_cases`). It may run, or be refused with an InputError or a
SolveError. Anything else is a fault:

    traceback   any other exception
    warning     a RuntimeWarning of NumPy
    signal      the process ends by a signal
    slow        `gridflow show` takes more than SHOW_SECONDS, or the whole more than LIMIT_SECONDS
    large       more than RESIDENT_MAX of memory is in use

Cases run in child processes with a limit on their address space; a child that hangs or dies is replaced. `--full` has 50,000
cases, of which every tenth takes steps. With `--verdicts` the damage is mostly to what concerns particles: a run of few is made,
and every tenth case has its verdict, as `gridflow validate --quick` makes it; what takes more than UNFINISHED_SECONDS is left.

    python -m validation.faults.fuzz_cases [--full] [--count N] [--first K] [--seed S] [--steps EVERY] [--verdicts]
"""

import argparse
import multiprocessing
import re
import resource
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from math import prod
from multiprocessing.connection import Connection
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

from gridflow.errors import InputError, SolveError
from gridflow.particles.simulation import Simulator
from gridflow.preview import preview
from gridflow.scheme.jko.scheme import JKO
from gridflow.solver import solve
from gridflow.verdict.runner import validate
from validation.faults.damaged_cases import damaged_case, damaged_verdict

SHOW_SECONDS, LIMIT_SECONDS = 2.0, 60.0
ADDRESS_MAX, RESIDENT_MAX = 4 * 2**30, 2**30
"""Bytes. Compiled code needs far more addresses than memory."""
UNFINISHED_SECONDS = 20
FULL, STEPS_EVERY, CHILDREN = 50_000, 10, 2
CELLS_MAX, STEPS = 200_000, 3
"""Cells of grids on which more than `show` is tried, which takes however long; steps."""


class Outcome(NamedTuple):
    """stage : the last one; kind : "clean", "refused", "failed", or a fault of the head; text : where and what"""

    stage: str
    kind: str
    text: str = ""


FINE = ("clean", "refused", "failed", "unfinished")


class UnfinishedError(Exception):
    """A run goes on, and is left."""


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
        if processor_seconds() - began > SHOW_SECONDS:  # kernels were compiled, once, or else it takes that long again
            began = processor_seconds()
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


def stages_of_verdict(seed: int, number: int, judged: bool) -> Any:
    """The same of a case whose particles are run; judged : whether it has a verdict."""
    yield "load"
    case = damaged_verdict(seed, number)
    yield "particles"
    before = signal.signal(signal.SIGALRM, leave)
    signal.alarm(UNFINISHED_SECONDS)
    try:
        if prod(spec.size for spec in case.space.values()) > CELLS_MAX or case.particles is None:
            return
        simulator, times = Simulator.of(case), [0.0, case.time.stop * 1e-3]
        for sampling, options in (("random", {"pieces": 2}), (case.particles.verdict.sampling, {"substeps": 2})):
            simulator.run(case.particles.verdict.count, times=times, sampling=sampling, **options)
        if judged:
            yield "verdict"
            validate(case, quick=True, threads=1)
        yield "end"
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def leave(number: int, frame: FrameType | None) -> None:
    """Ends what goes on for too long."""
    raise UnfinishedError


def outcome(seed: int, number: int, steps: bool, folder: Path, shows: bool = True, verdicts: bool = False) -> Outcome:
    """What becomes of one case; steps : whether it takes some; shows : whether `gridflow show` is; verdicts : see the top."""
    stage, kind, text = "load", "clean", ""
    before = peak()  # of a process that did other things
    chosen = stages_of_verdict(seed, number, steps) if verdicts else stages(seed, number, steps, folder, shows)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", RuntimeWarning)
        try:
            for stage in chosen:  # noqa: B007
                pass
        except (InputError, SolveError) as error:
            kind, text = "refused" if isinstance(error, InputError) else "failed", str(error)
        except UnfinishedError:
            kind = "unfinished"
        except TimeoutError:
            kind, text = "slow", f"gridflow show took more than {SHOW_SECONDS:g} s"
        except Exception as error:
            left = isinstance(error.__cause__, UnfinishedError)  # Numba makes a SystemError of it
            kind, text = (
                ("unfinished", "") if left else fault(str(error) if "Traceback" in str(error) else traceback.format_exc())
            )
    large = kind in FINE and peak() > max(RESIDENT_MAX, before)
    return Outcome(stage, "large", f"{peak() / 2**30:.1f} GiB") if large else Outcome(stage, kind, text)


def peak() -> float:
    """Most bytes that this process, or one that it started, has had in use so far."""
    return max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)) * 1024


def fault(text: str) -> tuple[str, str]:
    """(kind, error and place) of a traceback."""
    last, frames = text.strip().splitlines()[-1], re.findall(r'File ".*/gridflow/(.*)", line (\d+), in (\w+)', text)
    where = "{}:{} {}".format(*frames[-1]) if frames else "?"
    return "warning" if last.startswith("RuntimeWarning") else "traceback", f"{last[:160]} ({where})"


def child(pipe: Connection, seed: int, verdicts: bool) -> None:
    """Answers numbers with outcomes until the pipe closes, or one was large: the peak of a process does not sink."""
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_MAX, ADDRESS_MAX))
    with tempfile.TemporaryDirectory() as folder:
        while True:
            try:
                number, steps = pipe.recv()
            except EOFError:
                return
            found = outcome(seed, number, steps, Path(folder), verdicts=verdicts)
            pipe.send(found)
            if found.kind == "large":
                return


class Child:
    """A process that takes one case at a time."""

    def __init__(self, seed: int, verdicts: bool) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=child, args=(theirs, seed, verdicts), daemon=True)
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
                found: Outcome = self.pipe.recv()
                if found.kind == "large":
                    self.process.join()
                return found
        except (EOFError, ConnectionResetError):
            self.process.join()
            return Outcome("?", "signal", f"exit code {self.process.exitcode}")
        if time.monotonic() - self.began > LIMIT_SECONDS:
            self.process.kill()
            self.process.join()
            return Outcome("?", "slow", f"more than {LIMIT_SECONDS:g} s")
        return None


def series(seed: int, numbers: range, every: int, verdicts: bool) -> list[tuple[int, Outcome]]:
    """Outcomes of the cases of these numbers; every so many take steps, or have a verdict."""
    children, left, found = [Child(seed, verdicts) for _ in range(CHILDREN)], iter(numbers), []
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
                worker = Child(seed, verdicts)
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
    parser.add_argument("--steps", type=int, default=STEPS_EVERY, help="every so many cases take steps, or have a verdict")
    parser.add_argument("--verdicts", action="store_true", help="run particles, and judge")
    arguments = parser.parse_args()
    count = FULL if arguments.full else arguments.count
    found = series(arguments.seed, range(arguments.first, arguments.first + count), arguments.steps, arguments.verdicts)
    print(report(found))
    return int(any(o.kind not in FINE for _, o in found))


if __name__ == "__main__":
    sys.exit(main())
