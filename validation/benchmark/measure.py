"""How a speed is measured: CPU seconds, medians, ratios of runs that alternate, whole processes; and on which machine."""

import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np

PACKAGES = ("numpy", "scipy", "numba", "POT", "ott-jax", "py-pde", "pykeops")
MISSING = "not installed"


@dataclass(frozen=True)
class Row:
    """One number of the table; `peers` : the same by other programs or yardsticks, or why there is none."""

    quantity: str
    unit: str
    ours: float
    peers: dict[str, float | str]


@dataclass(frozen=True)
class Point:
    """One run of an exact problem: `size` cells along a side, or particles."""

    problem: str
    method: str
    size: int
    seconds: float
    error: float


def cpu_seconds(function: Callable[[], object]) -> float:
    """CPU seconds of a call, of all its threads."""
    return seconds_of(function, time.process_time)


def seconds_of(function: Callable[[], object], clock: Callable[[], float]) -> float:
    """Seconds of a call by a clock."""
    began = clock()
    function()
    return clock() - began


def medians(
    functions: dict[str, Callable[[], object]], repeats: int, clock: Callable[[], float] = time.process_time
) -> tuple[dict[str, float], dict[str, float]]:
    """Seconds of each function, and their ratios to the first one, by name: medians over rounds in which all take turns."""
    for function in functions.values():
        function()  # compiles
    rounds = [{name: seconds_of(function, clock) for name, function in functions.items()} for _ in range(repeats)]
    first = next(iter(functions))
    times = {name: statistics.median(r[name] for r in rounds) for name in functions}
    return times, {name: statistics.median(r[name] / r[first] for r in rounds) for name in functions}


def process_seconds(words: list[str], **environment: str) -> tuple[float, float]:
    """(CPU, wall) seconds of a Python process, which keeps byte code as Python does by default. Raises CalledProcessError."""
    inherited = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run([sys.executable, *words], check=True, env=inherited | environment)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, time.perf_counter() - began


def side_by_side(program: str, repeats: int) -> float:
    """How many processes' work two processes do at once: what two threads can reach on this machine, as it is.

    program : Python that defines `evaluate()`, of one thread. Each process calls it for a second.
    """
    text = f"""{program}
import sys, time
evaluate()
print("ready", flush=True)
sys.stdin.readline()
began, count = time.perf_counter(), 0
while time.perf_counter() < began + 1.0:
    evaluate()
    count += 1
print(count / (time.perf_counter() - began))
"""

    def rate(number: int) -> float:
        """Evaluations per second of so many processes together."""
        words = [sys.executable, "-c", text]
        processes = [subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(number)]
        for process in processes:
            assert process.stdout is not None
            process.stdout.readline()
        for process in processes:
            assert process.stdin is not None
            process.stdin.write("\n")
            process.stdin.flush()
        return sum(float(process.communicate()[0]) for process in processes)

    return statistics.median(rate(2) / rate(1) for _ in range(repeats))


def exponent(sizes: list[int], seconds: list[float]) -> float:
    """k of the least-squares line: seconds ∝ size^k."""
    return float(np.polyfit(np.log(sizes), np.log(seconds), 1)[0])


def version_of(package: str) -> str:
    """The version of an installed package, or `MISSING`."""
    try:
        return version(package)
    except PackageNotFoundError:
        return MISSING


def machine() -> dict[str, object]:
    """What the numbers depend on beside gridflow: no paths, no names."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    model = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())
    packages = {name: version_of(name) for name in PACKAGES}
    cores, load = os.cpu_count(), round(os.getloadavg()[0], 1)  # processes at work: times of more than cores are too long
    return {
        "cpu": model,
        "cores": cores,
        "load": load,
        "system": platform.system(),
        "python": platform.python_version(),
        **packages,
    }
