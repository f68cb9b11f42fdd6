"""What few numbers per step are worth: nanoseconds per cell and step, and a million rows of a CSV file against a thousand.

Time loops of three shipped cases: networks of ReLUs, whose sums run over sorted angles, and an MMD with a Gaussian kernel of
low rank. Beside them the same loops with full matrices. Then a network of ReLUs and one of tanh on rows of a CSV file, with the
squared loss: each in a process of its own, which reports seconds per step and its peak of memory. CPU seconds on one thread:
whoever else uses the machine counts little.
"""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch

import numpy as np

from gridflow.case.case import Case, load_case
from gridflow.threads import blas_threads
from validation.claim import Claim

CASES = ("relu-regression", "teacher-2d-relu", "mmd-gaussian")
STEPS, REPEATS = 30, 3
NEVER = 1 << 60
FULL = {
    "gridflow.energy.network.grid.SMALL": NEVER,
    "gridflow.energy.network.grid.KINKED_MIN": NEVER,
    "gridflow.energy.network.reduced.SMALL": NEVER,
    "gridflow.energy.interaction.convolution.FACTOR_CELLS": NEVER,
}
"""What makes every sum one with a full matrix."""


@contextmanager
def full_matrices() -> Iterator[None]:
    """All sums by full matrices."""
    changes = [patch(name, value) for name, value in FULL.items()]
    for change in changes:
        change.start()
    try:
        yield
    finally:
        for change in changes:
            change.stop()


def seconds_per_step(case: Case) -> float:
    """CPU seconds, the best of a few times so many steps."""
    problem = case.problem()
    stepper = case.scheme.init(problem)
    state = stepper.start(problem.start / problem.grid.volume)
    best = np.inf
    for repeat in range(REPEATS + 1):
        began = time.process_time()
        for _ in range(STEPS):
            state = stepper.step(state, case.time.stop)
        if repeat:  # the first steps measure the curvature
            best = min(best, (time.process_time() - began) / STEPS)
    return best


def on_rows(activation: str, path: Path, cells: int) -> Case:
    """A network on the rows of a file."""
    data = {"kind": "file", "file": str(path), "inputs": ["x"], "targets": ["y"], "standardize": True, "predictions": 1000}
    changes = {"energy.activation": activation, "energy.data": data, "space.w.cells": cells, "space.b.cells": cells}
    bounds = {f"space.{name}.bounds": [-5.2, 5.2] for name in ("w", "b")}
    return load_case("relu-regression").replace(changes | (bounds if activation == "tanh" else {}))


def write_rows(path: Path, rows: int) -> None:
    """y = sin 2x with noise, in blocks."""
    rng = np.random.default_rng(1)
    with path.open("w") as file:
        file.write("x,y\n")
        for _ in range(0, rows, 1000):
            x = rng.standard_normal(1000)
            np.savetxt(file, np.stack([x, np.sin(2 * x) + 0.1 * rng.standard_normal(1000)], axis=1), delimiter=",", fmt="%.9f")


def report(activation: str, path: str, cells: str) -> None:
    """Prints seconds per step, MiB at the peak and seconds of the set-up: the work of a process of its own."""
    import resource

    case = on_rows(activation, Path(path), int(cells))
    with blas_threads(1):
        began = time.process_time()
        features = case.problem().bound.attributes["features"]
        found = {"setup": time.process_time() - began, "step": seconds_per_step(case), "features": features}
    found["peak"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps(found))


def rows_of(activation: str, directory: Path, rows: int, cells: int) -> dict:
    path = directory / f"rows-{rows}.csv"
    if not path.exists():
        write_rows(path, rows)
    call = f"from validation.rank_speed import report; report({activation!r}, {str(path)!r}, '{cells}')"
    done = subprocess.run([sys.executable, "-c", call], capture_output=True, text=True, check=True)
    found = json.loads(done.stdout.splitlines()[-1])
    print(f"{activation} on {cells}² cells, {rows} rows: {1e3 * found['step']:.2f} ms per step, set-up {found['setup']:.1f} s,")
    print(f"    {found['peak']:.0f} MiB at the peak; {found['features']}")
    return found


def reproduce(directory: Path, quick: bool) -> list[Claim]:
    claims = []
    for name in CASES:
        case = load_case(name)
        cells = case.grid().size
        with blas_threads(1):
            few = seconds_per_step(case) / cells * 1e9
            with full_matrices():
                full = seconds_per_step(case) / cells * 1e9
        print(f"{name}: {few:.1f} ns per cell and step; with full matrices {full:.1f}")
        says = "A step costs tens of nanoseconds per cell, whatever the features or the kernel."
        quantity = f"nanoseconds of CPU per cell and step of {name}"
        claims.append(Claim(f"rank-speed-{name}", "gridflow", says, quantity, few))
    many, cells = (100_000, 140) if quick else (1_000_000, 280)
    for activation in ("relu", "tanh"):
        small, large = (rows_of(activation, directory, rows, cells) for rows in (1000, many))
        says = "A file of a million rows trains about as fast per step as one of a thousand, within 1 GiB."
        quantity = f"time of a step with {many} rows over that with 1000, {activation}"
        claims.append(Claim(f"rank-speed-rows-{activation}", "gridflow", says, quantity, large["step"] / small["step"]))
        quantity = f"MiB of the process at its peak with {many} rows, {activation}"
        claims.append(Claim(f"rank-speed-memory-{activation}", "gridflow", says, quantity, large["peak"]))
    return claims
