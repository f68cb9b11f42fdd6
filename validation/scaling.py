"""Slabs over MPI (`gridflow.slabs`): time, memory and bytes of a step on one rank and on two, and a model of more.

Two networks a·tanh(w·x + b) are solved on one rank and on two, each in processes of its own:

    strong    the same 3-D density, and an entropic JKO case in the plane
    weak      half of the 3-D density on one rank, all of it on two
    memory    a 5-D density of 10⁸ cells on two ranks

The bytes that a rank sends are counted, and compared with what a cut costs: in every exchange two layers of cells, 16 N/n bytes
to a neighbour (N cells, n of them along the cut), and per sum a few numbers. The model takes the seconds per cell (in six
dimensions those of five) and the counts of exchanges and sums per step from here, and a cluster's constants from what its makers
state (`CLUSTER`):

    T(P) = t_cell (N/P + 4N/n) + exchanges·(α + 16(N/n)/β) + sums·α log₂ P        in each of at most n/4 ranks

Times are medians of steps that follow each other; a machine that does other things shows it twice: ranks wait for each other.
"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from gridflow.case.case import Case
from gridflow.launched import mpiexec_path
from validation.claim import Claim

CASES: dict[str, dict[str, int]] = {
    "3d": {"w": 272, "b": 272, "a": 272},
    "3d-half": {"w": 272, "b": 272, "a": 136},
    "5d": {"u": 40, "v": 40, "w": 40, "b": 40, "a": 40},
    "jko": {"w": 1024, "b": 1024},
}
QUICK: dict[str, dict[str, int]] = {
    "3d": {"w": 40, "b": 40, "a": 40},
    "3d-half": {"w": 40, "b": 40, "a": 20},
    "5d": {"u": 8, "v": 8, "w": 8, "b": 8, "a": 12},
    "jko": {"w": 96, "b": 96},
}
STEPS = {"3d": 10, "3d-half": 10, "5d": 2, "jko": 6}
TURNS = 2
"""Measurements of one and of two ranks, in turns."""
CLUSTER = {"latency": 2e-6, "bandwidth": 25e9, "cores": 64, "memory": 256 * 2**30}
"""A node with 64 cores and 256 GiB, on InfiniBand HDR: 200 Gb/s, and about 1 µs between two nodes (NVIDIA, ConnectX-6 product
brief), doubled for the switch. One rank per node, with threads inside."""
THREADS_SHARE = 0.5
"""Of 64 times the speed of one core: a sweep is bound by the memory of its node before all cores are."""
LARGE = {"3-D, 16384 × 781²": (16384, 16384 * 781**2), "6-D, 512 × 28⁵": (512, 512 * 28**5), "6-D, 46⁶": (46, 46**6)}
"""Grids of about 10¹⁰ cells: cells along the cut, and in all."""
EXACT, EXACT_JKO = 1e-12, 1e-7
"""Relative, of sums that are taken in another order, after a few steps; and of JKO steps, each of which ends at 1e-8: one
iteration more, for a sum in another order, is a difference of this size."""


def network(cells: dict[str, int], jko: bool) -> Case:
    """A network on a grid of these cells; every factor but a is a weight or, the last, a bias."""
    weights = [name for name in cells if name != "a"]
    count = len(weights) - 1
    nodes = np.random.default_rng(5).uniform(-1.5, 1.5, (40, count)).tolist()
    neurons = [{"direction": [size] * count, "weight": weight} for size, weight in ((0.9, 1.0), (-0.4, -0.7))]
    branch = {"weights": weights, "outputs": [["a"] if "a" in cells else []]}
    data = {"kind": "teacher", "inputs": {"kind": "nodes", "nodes": nodes}, "neurons": neurons}
    table: dict[str, Any] = {
        "title": "scaling",
        "space": {name: {"kind": "interval", "bounds": [-3.0, 3.0], "cells": n} for name, n in cells.items()},
        "energy": {"kind": "network", "activation": "tanh", "bias": True, "data": data, "branches": [branch]},
        "initial": [{"density": {name: {"kind": "normal", "mean": 0.1 * k, "deviation": 0.5} for k, name in enumerate(cells)}}],
        "scheme": {"kind": "jko", "tau": 0.05} if jko else {"kind": "finite-volume"},
        "time": {"stop": 100.0, "save": 2},
    }
    return Case.from_dict(table)


def measured(case: Case, steps: int) -> dict[str, Any] | None:
    """What steps take on this rank of an mpiexec, or alone; None on other ranks than the first."""
    import resource

    from gridflow.slabs.problem import cut_problem
    from gridflow.slabs.ranks import Ranks, ranks

    counts = {"exchanges": 0, "sums": 0, "bytes": 0}

    class Counting(Ranks):
        """Counts what is sent to others."""

        def exchange(self, field, axis, before, after, around):
            counts["exchanges"] += 1
            counts["bytes"] += 8 * (before + after) * (field.size // field.shape[axis])
            super().exchange(field, axis, before, after, around)

        def total(self, values):
            counts["sums"] += 1
            counts["bytes"] += 8 * np.size(values)
            return super().total(values)

        def to_all(self, sent, parts, shapes):
            counts["bytes"] += sum(part.nbytes for k, part in enumerate(parts) if k != self.rank)
            return super().to_all(sent, parts, shapes)

    found = ranks()
    own = None if found is None else Counting(found.comm)
    problem = cut_problem(case, case.problem(), own)
    stepper, stop = case.scheme.init(problem), case.time.stop
    state = stepper.step(stepper.start(problem.grid.density(problem.start)), stop)  # compiles, and measures the curvature
    before, seconds = dict(counts), []
    for _ in range(steps):
        began = time.perf_counter()
        state = stepper.step(state, stop)
        seconds.append(time.perf_counter() - began)
    mine = {name: (counts[name] - before[name]) / steps for name in counts}
    grid, peak = problem.grid, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    peaks = [peak] if own is None else own.total(np.eye(own.size)[own.rank] * peak).tolist()
    density = grid.gather(state.density)
    if not grid.writes:
        return None
    sample = density.ravel()[:: max(1, density.size // 10000)].tolist()
    cells = {"cells": grid.whole.size, "cut": max(grid.whole.shape)}
    return {**cells, **mine, "seconds": float(np.median(seconds)), "peaks": peaks, "sample": sample, "energy": state.free_energy}


def run(name: str, ranks: int, quick: bool) -> dict[str, Any]:
    """`measured` in processes of their own."""
    command = [sys.executable, "-m", "validation.scaling", name, "quick" if quick else "full"]
    if ranks > 1:
        command = [str(mpiexec_path()), "-n", str(ranks), *command]
    env = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}
    found = subprocess.run(command, capture_output=True, text=True, env=env, check=False)
    if found.returncode != 0:
        raise RuntimeError(f"{' '.join(command[-4:])}: {found.stdout}{found.stderr}")
    return dict(json.loads(found.stdout.strip().splitlines()[-1]))


def in_turns(one: str, two: str, quick: bool) -> tuple[dict[str, Any], dict[str, Any], float]:
    """One rank, two ranks, and the ratio of their seconds per step, the median of TURNS."""
    pairs = [(run(one, 1, quick), run(two, 2, quick)) for _ in range(1 if quick else TURNS)]
    return *pairs[-1], float(np.median([a["seconds"] / b["seconds"] for a, b in pairs]))


def model(cells: int, cut: int, ranks: int, cell_seconds: float, exchanges: float, sums: float) -> float:
    """T(P) of the module, seconds per step."""
    work = cell_seconds / (CLUSTER["cores"] * THREADS_SHARE) * (cells / ranks + 4 * cells / cut)
    layer = CLUSTER["latency"] + 16 * cells / cut / CLUSTER["bandwidth"]
    return work + exchanges * layer + sums * CLUSTER["latency"] * np.log2(ranks)


def draw(path: Path, step: dict[str, Any], cell_seconds: dict[str, float]) -> None:
    """Seconds of a step over ranks, by the model, up to where slabs end; cell_seconds : by how a name begins."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(3.4, 2.8), layout="constrained")
    axes = figure.subplots()
    for (name, (cut, cells)), style in zip(LARGE.items(), ("-", "--", ":"), strict=True):
        counts = [p for p in 2 ** np.arange(1, 13) if p <= cut // 4]
        cell = cell_seconds[name[:3]]
        axes.loglog(counts, [model(cells, cut, int(p), cell, step["exchanges"], step["sums"]) for p in counts], style, label=name)
    axes.set(xlabel="nodes", ylabel="seconds per step (model)")
    axes.legend(fontsize=7, frameon=False)
    figure.savefig(path, dpi=200)


def reproduce(directory: Path, quick: bool) -> list[Claim]:
    one, two, strong = in_turns("3d", "3d", quick)
    _, _, weak = in_turns("3d-half", "3d", quick)
    plain, cut, jko = in_turns("jko", "jko", quick)
    five = run("5d", 2, quick)
    here = five["cells"] * (1 / 2 + 2 / five["cut"])  # cells of a rank, with those of its neighbour
    cell_seconds = {"3-D": one["seconds"] / one["cells"], "6-D": five["seconds"] / here}
    draw(directory / "scaling.png", two, cell_seconds)

    def apart(a: dict[str, Any], b: dict[str, Any]) -> float:
        x, y = np.array(a["sample"]), np.array(b["sample"])
        return float(np.abs(x - y).max() / np.abs(x).max())

    formula = two["exchanges"] * 16 * two["cells"] / two["cut"]
    gibibytes = sum(five["peaks"]) / 2**30
    most = LARGE["6-D, 512 × 28⁵"]
    large = model(most[1], most[0], 128, cell_seconds["6-D"], two["exchanges"], two["sums"])

    def claim(name: str, says: str, quantity: str, value: float, **more: Any) -> Claim:
        return Claim(f"slabs-{name}", "gridflow", says, quantity, value, **more)

    same = {"band": (0.0, EXACT), "reason": "the same operations but for the order of sums"}
    ended = {"band": (0.0, EXACT_JKO), "reason": "the tolerance of a JKO step, over some steps"}
    few = {"band": (1.0, 1.25 if quick else 1.01), "reason": "sums of some 40 numbers, which count where layers are small"}
    ends = (
        f"Of 10¹⁰ cells in six dimensions a cut along one line of 46 cells ends at {46 // 4} nodes; a line of 512 has 128, with"
        " the seconds of a step that the model gives."
    )
    size = f"{five['cells']} cells in 5-D on 2 ranks"
    return [
        claim(
            "same", "Slabs compute what a whole grid does.", "largest difference of densities on 2 ranks", apart(one, two), **same
        ),
        claim("same-jko", "So do entropic JKO steps.", "the same for JKO", apart(plain, cut), **ended),
        claim(
            "bytes", "A step sends the surface and few numbers.", "bytes over 16 N/n per exchange", two["bytes"] / formula, **few
        ),
        claim("strong", "Two ranks share the work.", "speed on 2 ranks over 1, 3-D network", strong),
        claim("strong-jko", "Two ranks share the work of JKO steps.", "speed on 2 ranks over 1, JKO in the plane", jko),
        claim("weak", "Twice the cells on two ranks take as long.", "seconds of half on 1 rank over those of all on 2", weak),
        claim("memory", "A density may have the memory of several machines.", f"peak GiB of {size}", gibibytes),
        claim("seconds", "So may it have their time.", f"seconds of a step of {size}", five["seconds"]),
        claim(
            "model",
            "10¹⁰ cells in six dimensions are in reach of a cluster.",
            "model: seconds of a step of 512 × 28⁵ cells on 128 nodes",
            large,
            finding=ends,
            pictures=("scaling.png",),
        ),
    ]


def main() -> None:
    """Of one process that `run` has started."""
    name, size = sys.argv[1:]
    cells = (QUICK if size == "quick" else CASES)[name]
    found = measured(network(cells, name == "jko"), STEPS[name])
    if found is not None:
        print(json.dumps(found))


if __name__ == "__main__":
    main()
