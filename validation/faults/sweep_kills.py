"""A sweep on a Dask cluster whose workers are killed on the way: nothing is lost, nothing differs, and what a member costs.

    python -m validation.faults.sweep_kills [--members N] [--kills K]

Runs a small Ornstein–Uhlenbeck case with N temperatures on a cluster of this machine, kills K workers on the way, and compares
every member, bit by bit, with the same sweep in this process; prints the overhead per member.
"""

import argparse
import os
import random
import signal
import sys
import tempfile
import time
from concurrent.futures import Executor, Future
from pathlib import Path
from typing import Any

import numpy as np

from gridflow.case.case import Case, load_case
from gridflow.progress import Progress
from gridflow.solver import solve_to_file
from gridflow.sweeps.sweep import sweep

CHANGES = {"space.x.cells": 32, "time.stop": 0.05, "time.save": 2, "exact": None, "particles": None, "validation": {}}


class Here(Executor):
    """Runs every task at once."""

    def submit(self, function: Any, /, *words: Any, **named: Any) -> Future:
        future: Future = Future()
        future.set_result(function(*words, **named))
        return future


class Killer(Progress):
    """Kills a worker after so many members."""

    def __init__(self, workers: Any, after: list[int]) -> None:
        self.workers, self.after, self.done, self.killed = workers, after, 0, 0

    def advance(self) -> None:
        self.done += 1
        if self.done in self.after and (pids := self.workers()):
            os.kill(random.choice(pids), signal.SIGKILL)
            self.killed += 1


def seconds_of_a_solve(case: Case, folder: Path) -> float:
    """Mean wall time of a solve into a file."""
    times = []
    for k in range(51):
        began = time.perf_counter()
        solve_to_file(case, folder / f"{k}.nc")
        times.append(time.perf_counter() - began)
    return sum(times[1:]) / 50  # the first one loads what it needs


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m validation.faults.sweep_kills", description=__doc__)
    parser.add_argument("--members", type=int, default=1000)
    parser.add_argument("--kills", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    random.seed(options.seed)
    from distributed import Client, LocalCluster

    case: Case = load_case("ornstein-uhlenbeck").replace(CHANGES)
    over = {"flow.temperature": np.linspace(0.1, 1.0, options.members)}
    with tempfile.TemporaryDirectory() as folder:
        direct = seconds_of_a_solve(case, Path(folder))
        began = time.perf_counter()
        alone = sweep(case, over, output=Path(folder) / "alone", executor=Here())
        one_by_one = time.perf_counter() - began
        with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster, Client(cluster) as client:

            def pids() -> list[int]:
                return list(client.run(os.getpid).values())

            after = sorted(random.sample(range(options.members // 10, options.members), options.kills))
            killer = Killer(pids, after)
            began = time.perf_counter()
            dataset = sweep(case, over, output=Path(folder) / "dask", executor=client.get_executor(), progress=killer)
            on_dask = time.perf_counter() - began
        equal = all(np.array_equal(alone[name], dataset[name]) for name in ("energy", "density", "status"))
        done = int((dataset["status"] == "completed").sum())
        for status in sorted({str(s) for s in dataset["status"].values} - {"completed"}):
            print(status)
    print(f"{done} of {options.members} members completed, {killer.killed} workers killed, all bits equal: {equal}")
    print(f"one by one {one_by_one:.1f} s; on two workers {on_dask:.1f} s; a solve into a file by itself {1e3 * direct:.1f} ms")
    n = options.members
    print(f"overhead per member: one by one {1e3 * (one_by_one / n - direct):.1f} ms, on two workers", end=" ")
    print(f"{1e3 * (on_dask / n - direct / 2):.1f} ms, with the starts of those that were killed")
    return 0 if equal and done == options.members else 1


if __name__ == "__main__":
    sys.exit(main())
