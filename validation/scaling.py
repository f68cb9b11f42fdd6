"""Slabs over MPI: time, memory and bytes of a step on one and two ranks, and a model of what more ranks do.

    python -m validation.scaling -o FOLDER [--only strong weak memory] [--quick]

strong      the same 3-D density on one rank and on two, and an entropic JKO case
weak        twice as many cells on two ranks as on one
memory      a 5-D density of 10⁸ cells on two ranks: peak memory of each, seconds of a step
model       seconds of a step on 2 to 4096 ranks, from the constants that are measured or cited below

Times are medians of steps that follow each other in one process; the two of a ratio are measured after each other, twice, in
turns. Run it on a machine that does nothing else.
"""

import json
import os
import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from gridflow.case.case import Case

WORKER = "--worker"


def network(cells: dict[str, int], scheme: dict[str, Any] | None = None) -> Case:
    """A network a·tanh(w·x + b) with as many inputs as there are factors w, on a grid of these cells."""
    weights = [name for name in cells if name != "a"]
    count = len(weights) - 1  # and a bias
    nodes = np.random.default_rng(5).uniform(-1.5, 1.5, (40, count))
    neurons = [{"direction": [0.9] * count, "weight": 1.0}, {"direction": [-0.4] * count, "weight": -0.7}]
    data = {"kind": "teacher", "inputs": {"kind": "nodes", "nodes": nodes.tolist()}, "neurons": neurons}
    energy = {
        "kind": "network", "activation": "tanh", "bias": True, "data": data, "branches": [{"weights": weights, "outputs": [["a"]]}],
    }  # fmt: skip
    space = {name: {"kind": "interval", "bounds": [-3.0, 3.0], "cells": n} for name, n in cells.items()}
    density = {name: {"kind": "normal", "mean": 0.1 * k, "deviation": 0.5} for k, name in enumerate(cells)}
    return Case.from_dict({
        "title": "scaling", "space": space, "energy": energy, "initial": [{"density": density}],
        "scheme": scheme or {"kind": "finite-volume"}, "time": {"stop": 100.0, "save": 2},
    })  # fmt: skip


def measured(case: Case, steps: int) -> dict[str, Any] | None:
    """What `steps` steps take on this rank of an mpiexec, or alone: on rank 0, with the peak memory of all."""
    from gridflow.slabs.problem import cut_problem
    from gridflow.slabs.ranks import ranks

    own = ranks()
    problem = cut_problem(case, case.problem(), own)
    stepper = case.scheme.init(problem)
    state = stepper.step(stepper.start(problem.grid.density(problem.start)), 100.0)  # compiles, and measures curvature
    sent, seconds = 0 if own is None else own.sent, []
    for _ in range(steps):
        began = time.perf_counter()
        state = stepper.step(state, 100.0)
        seconds.append(time.perf_counter() - began)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    sent = 0 if own is None else own.sent - sent
    mass = problem.grid.integrate(state.density)
    peaks = np.array([float(peak)]) if own is None else own.total(np.eye(own.size)[own.rank] * peak)
    if not problem.grid.writes:
        return None
    return {
        "ranks": 1 if own is None else own.size, "cells": problem.grid.whole.size, "seconds": float(np.median(seconds)),
        "bytes": sent / steps, "peak": peaks.tolist(), "mass": mass, "time": state.time, "energy": state.free_energy,
    }  # fmt: skip


def run(case: str, ranks: int, steps: int) -> dict[str, Any]:
    """`measured` in processes of their own."""
    command = [sys.executable, "-m", "validation.scaling", WORKER, case, str(steps)]
    if ranks > 1:
        beside = Path(sys.executable).with_name("mpiexec")
        command = [str(beside) if beside.exists() else str(shutil.which("mpiexec")), "-n", str(ranks), *command]
    env = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}
    found = subprocess.run(command, capture_output=True, text=True, env=env, check=False)
    if found.returncode != 0:
        raise RuntimeError(found.stdout + found.stderr)
    return dict(json.loads(found.stdout.strip().splitlines()[-1]))


CASES: dict[str, Any] = {
    "3d": {"w": 272, "b": 272, "a": 272},
    "3d-half": {"w": 272, "b": 272, "a": 136},
    "3d-quick": {"w": 64, "b": 64, "a": 64},
    "5d": {"u": 40, "v": 40, "w": 40, "b": 40, "a": 40},
    "5d-mid": {"u": 26, "v": 26, "w": 26, "b": 26, "a": 26},
    "5d-quick": {"u": 14, "v": 14, "w": 14, "b": 14, "a": 14},
}


def main() -> None:
    """See the module."""
    if WORKER in sys.argv:
        name, steps = sys.argv[-2:]
        found = measured(network(CASES[name]), int(steps))
        if found is not None:
            print(json.dumps(found))
        return
    for name, ranks, steps in [("3d-quick", 1, 10), ("3d-quick", 2, 10)]:
        print(run(name, ranks, steps))


if __name__ == "__main__":
    main()
