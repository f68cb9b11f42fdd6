"""What `gridflow show` finds out beyond the case: what a run would refuse, and what it takes, within a second.

All that a run does before its first step is done, and, on large grids, a few steps on coarser ones. This may take long, or more
memory than there is time to fill: it is done in a child process, which is ended when its time is over. Systems without `fork`
take the time that it takes; so does compiling, once.
"""

import json
import os
import select
import signal
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import asdict
from math import prod
from pathlib import Path
from typing import Any

from gridflow.case.case import Case
from gridflow.case.cost import Cost, cost_of
from gridflow.compiled import on_compilation
from gridflow.errors import InputError, SolveError
from gridflow.interrupts import Held
from gridflow.memory import bytes_text, require_disk
from gridflow.progress import Progress
from gridflow.run import FEWER, Run
from gridflow.sums.choice import reductions

SECONDS = 1.2
"""With loading what is needed, `gridflow show` then takes less than two."""
COMPILING_SECONDS = 120.0
"""More where kernels must be compiled, once after an installation."""
LARGE = 2**30
"""Bytes of a result from which they are said."""
Tell = Callable[[str, Any], None]
"""(kind, plain values) of what is found, as soon as it is."""


def preview(case: Case) -> list[str]:
    """Sentences on what a run takes. Raises what a run would raise before its first step, if that is found in time."""
    cells, saves = prod(spec.size for spec in case.space.values()), len(case.time.save_times())
    require_disk(f"{saves} saves of {cells} cells", 8 * cells * saves, Path(), FEWER)
    found = dict(within(SECONDS, lambda tell: find(case, tell)))
    if "refused" in found:
        raise InputError(*found["refused"])
    if "failed" in found:
        raise SolveError(found["failed"])
    if "crashed" in found:
        raise RuntimeError(found["crashed"])
    late = f"not found out within {SECONDS:g} s"
    shape = {name: spec.size for name, spec in case.space.items()}
    cost = Cost(**found["cost"]) if "cost" in found else Cost(shape, problem=late)
    if "checked" not in found:
        return [*cost.lines(), f"whether a run would refuse the case is not known: {late}"]
    large = found["checked"] >= LARGE
    return [*cost.lines(), *([f"the file of a run takes about {bytes_text(found['checked'])}"] if large else [])]


def find(case: Case, tell: Tell) -> None:
    """Tells what a run would refuse, or that it would begin, and what it takes."""
    try:
        with reductions(case.reductions) as use, on_compilation(lambda kept: tell("compiling", kept)):
            run = Run(case, None, None, None, Progress(), use, Held())
            require_disk(f"a result of {len(run.times)} saves", run.size, Path(), FEWER)
            tell("checked", run.size)
            tell("cost", asdict(cost_of(case)))
    except InputError as error:
        tell("refused", error.parts)
    except SolveError as error:
        tell("failed", str(error))
    except Exception:
        tell("crashed", traceback.format_exc())


def within(seconds: float, work: Callable[[Tell], None]) -> list[tuple[str, Any]]:
    """What the work tells in so many seconds, in a child process where there are such."""
    found: list[tuple[str, Any]] = []
    if os.name != "posix":
        work(lambda kind, value: found.append((kind, value)))
        return found
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            work(lambda kind, value: write_all(writer, (json.dumps((kind, value)) + "\n").encode()))
        finally:
            os._exit(0)  # without what the parent does at its end
    os.close(writer)
    try:
        found = list(lines_until(time.monotonic() + seconds, reader))
    finally:
        os.close(reader)
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
    died = os.WIFSIGNALED(status) and os.WTERMSIG(status) != signal.SIGKILL
    return [*found, ("crashed", f"signal {os.WTERMSIG(status)}")] if died else found


def write_all(pipe: int, text: bytes) -> None:
    """Writes a text of any length."""
    while text:
        text = text[os.write(pipe, text) :]


def lines_until(deadline: float, reader: int) -> Iterator[tuple[str, Any]]:
    """Lines of a pipe, each as it comes, up to its end or to the deadline, which compiling puts off."""
    rest = b""
    while (left := deadline - time.monotonic()) > 0 and select.select([reader], [], [], left)[0]:
        more = os.read(reader, 65536)
        *lines, rest = (rest + more).split(b"\n")
        for line in lines:
            kind, value = json.loads(line)
            deadline += COMPILING_SECONDS if kind == "compiling" else 0.0
            yield kind, value
        if not more:
            return
