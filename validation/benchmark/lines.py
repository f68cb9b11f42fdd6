"""The lines of the table, one function each: (quick) → rows. Times are CPU seconds, medians where they are short."""

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

import gridflow
from gridflow.case.case import Case
from gridflow.problem import Problem
from gridflow.scheme.finite_volume.stage import stage
from gridflow.scheme.finite_volume.tables import sweep_tables
from gridflow.space.grid import Grid
from gridflow.sums.kernels import Gaussian
from gridflow.threads import blas_threads
from validation import jko_speed, sweep_speed
from validation.benchmark import peers, problems
from validation.benchmark.exact import solved
from validation.benchmark.measure import MISSING, Row, cpu_seconds, exponent, medians, process_seconds, side_by_side

NS = 1e9


def noisy_network(quick: bool) -> list[Row]:
    """A network with temperature on R × S¹ to t = 2."""
    rows = []
    for temperature in (0.05, 0.005):
        cells = 64 if quick else 256
        seconds, dataset = solved(problems.noisy_network(cells, temperature))
        rows.append(Row(f"tanh network, D = {temperature}, {cells}²", "s", seconds, {"steps": float(dataset["steps"][-1])}))
    return rows


def two_stages(grid: Grid) -> Callable[[], None]:
    """Both sweeps of a Runge–Kutta step of two stages."""
    tables, view = sweep_tables(grid), (grid.size // grid.shape[-1], grid.shape[-1])
    rho, xi, one, two = (field.reshape(view) for field in sweep_speed.fields(grid.shape))

    def step() -> None:
        stage(one, None, rho, xi, 1e-9, tables, True, None)
        stage(two, rho, one, xi, 1e-9, tables, True, None)

    return step


def sweep(quick: bool) -> list[Row]:
    """Both sweeps of an RK2 step, beside a stencil by hand and a triad; two threads: wall time."""
    repeats = 5 if quick else 21
    bandwidth = sweep_speed.triad_bandwidth(repeats)
    rows = [Row("STREAM triad", "GB/s", bandwidth / 1e9, {})]
    rho, xi, one, two = sweep_speed.fields((512, 512))

    def by_hand() -> None:
        sweep_speed.stage_by_hand(one, rho, rho, xi, 1.0, 1e-3)
        sweep_speed.stage_by_hand(two, rho, one, xi, 0.5, 1e-3)

    shapes = [(256, 256), (512, 512), (1024, 1024), (128, 128, 128)]
    for shape in shapes[: 2 if quick else None]:
        grid = Grid([sweep_speed.line(name, n) for name, n in zip("xyz", shape, strict=False)])
        for threads in (1, 2):
            with blas_threads(threads):
                clock = time.process_time if threads == 1 else time.perf_counter
                times, ratios = medians({"hand": by_hand, "ours": two_stages(grid)}, repeats, clock)
            per_cell = NS * times["ours"] / grid.size
            yardsticks: dict[str, float | str] = {
                "share of the triad": sweep_speed.BYTES_PER_CELL_STEP / per_cell / bandwidth * NS,
                "over the stencil by hand": ratios["ours"] * rho.size / grid.size,
            }
            name = " × ".join(map(str, shape))
            rows.append(Row(f"sweeps of a step on {name}, threads = {threads}", "ns per cell", per_cell, yardsticks))
    return rows


BUSY = "while True: pass"


def busy_core(quick: bool) -> list[Row]:
    """bn-circle as a whole, with one thread, and with the default threads while another process is busy: wall seconds."""
    with tempfile.TemporaryDirectory() as folder:
        words = ["-m", "gridflow.cli", "solve", "bn-circle", "-o", f"{folder}/a.nc", "--overwrite", "--quiet"]
        words += ["--set", f"time.stop={0.2 if quick else 20.0}", "--set", "time.save=2"]
        process_seconds(words)
        alone = process_seconds([*words, "--threads", "1"])[1]
        other = subprocess.Popen([sys.executable, "-c", BUSY])
        try:
            beside = process_seconds(words)[1]
        finally:
            other.kill()
    return [Row("bn-circle, one thread", "s", alone, {"over alone, another process busy": beside / alone})]


def cells_and_steps(quick: bool) -> list[Row]:
    """Shipped networks and an MMD: the time of a step."""
    rows = []
    for name, stop in {"relu-regression": 1.0, "teacher-2d-relu": 10.0, "mmd-gaussian": 2.0}.items():
        case = gridflow.load_case(name).replace({"time.stop": stop / (20 if quick else 1), "time.save": 2})
        seconds, dataset = solved(case)
        work = dataset["cell_volume"].size * max(float(dataset["steps"][-1]), 1.0)
        rows.append(Row(name, "ns per cell and step", NS * seconds / work, {}))
    return rows


def jko(quick: bool) -> list[Row]:
    """Warm JKO steps of `validation.jko_speed`, and the same step of the potential by other programs, cold."""
    rows = []
    for n in (32,) if quick else (64, 128, 256, 512):
        for title, problem, tau, density in jko_speed.problems(n):
            biases = {"potential + entropy": ["plain"], "network, 20 data": list(jko_speed.EPSILON) if n in (256, 512) else []}
            density = density / problem.grid.integrate(density)
            for bias in biases[title] if n < 512 or title != "network, 20 data" else ["debias"]:
                warm = jko_speed.Timing.of(problem, density, tau, bias).warm
                others = jko_peers(problem, tau, density) if title == "potential + entropy" and n <= 128 else {}
                rows.append(Row(f"JKO step, {title}, {bias}, {n}²", "ms", warm, others))
    return rows


def jko_peers(problem: Problem, tau: float, density: np.ndarray) -> dict[str, float | str]:
    """CPU milliseconds of one cold step by programs that take a dense kernel (small grids alone) or a grid."""
    grid = problem.grid
    x, width = grid.factors[0].points, float(grid.factors[0].volumes[0])
    potential = np.asarray(problem.bound.evaluate(density * grid.volume).potential)
    found: dict[str, float | str] = {}
    for name, step in {"POT, dense": peers.jko_step_pot, "ott-jax, grid": peers.jko_step_ott}.items():
        if name.startswith("POT") and grid.size > 64**2:
            continue  # the kernel alone would take 2 GiB
        call = step(x, potential, density * grid.volume, tau, jko_speed.EPSILON["plain"] * width**2)
        if call is None:
            found[name] = MISSING
            continue
        call()
        found[name] = 1e3 * cpu_seconds(call)
    return found


def whole_process(quick: bool) -> list[Row]:
    """`gridflow solve` of a small case into a file: CPU seconds of the process, and in the first run, which compiles."""
    with tempfile.TemporaryDirectory() as folder:
        words = ["-m", "gridflow.cli", "solve", "ornstein-uhlenbeck", "-o", f"{folder}/a.nc", "--overwrite", "--quiet"]
        words += ["--set", "time.stop=0.1"]
        first = process_seconds(words, NUMBA_CACHE_DIR=folder)[0]
        numba = ["-c", "import numba"]
        rounds = [
            (process_seconds(words, NUMBA_CACHE_DIR=folder)[0], process_seconds(numba)[0]) for _ in range(3 if quick else 9)
        ]
    warm, ratio = statistics.median(a for a, _ in rounds), statistics.median(a / b for a, b in rounds)
    return [
        Row("gridflow solve ornstein-uhlenbeck to t = 0.1, warm", "s", warm, {"over `import numba`": ratio}),
        Row("the same, first run", "s", first, {}),
    ]


def streamed_data(quick: bool) -> list[Row]:
    """Seconds per step of a ReLU network on 128 × 128 × 2 cells that learns from a CSV file with many rows."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for count in (1000,) if quick else (1000, 1_000_000):
            case = case_of_rows(Path(folder), count)
            try:
                seconds, dataset = solved(case)
            except MemoryError:
                rows.append(Row(f"CSV of {count} rows", "s per step", float("nan"), {"note": "more memory than there is"}))
                continue
            rows.append(Row(f"CSV of {count} rows", "s per step", seconds / max(float(dataset["steps"][-1]), 1.0), {}))
    return rows


def case_of_rows(folder: Path, count: int) -> Case:
    """relu-regression with other data: a noisy sine."""
    rng = np.random.default_rng(0)
    x = rng.uniform(-2, 2, count)
    table = np.stack([x, np.sin(2 * x) + 0.1 * rng.standard_normal(count)], axis=1)
    np.savetxt(folder / "rows.csv", table, fmt="%.6g", delimiter=",", header="x,y", comments="")
    data = {"kind": "file", "file": str(folder / "rows.csv"), "inputs": ["x"], "targets": ["y"], "standardize": True}
    changes = {"energy.data": data, "space.w.cells": 128, "space.b.cells": 128, "time.stop": 0.5, "time.save": 2}
    return gridflow.load_case("relu-regression").replace(changes)


PAIR_SUM = """
import numpy as np
from gridflow.sums.kernels import Gaussian
rng = np.random.default_rng(0)
points, weights, lengths = rng.standard_normal(({count}, {dim})), rng.random({count}), np.zeros({dim})
def evaluate():
    Gaussian(0.5).sum(points, points, weights, lengths)
"""
"""The sum of `sums`, for processes side by side."""


def one_over_two(call: Callable[[], object], repeats: int) -> float:
    """Wall time on one thread over that on two, which take turns."""

    def on(threads: int) -> None:
        with blas_threads(threads):
            call()

    ratios = medians({"two": lambda: on(2), "one": lambda: on(1)}, repeats, time.perf_counter)[1]
    return ratios["one"]


def sums(quick: bool) -> list[Row]:
    """Sums over all pairs of particles, with their gradients, beside pykeops; two threads: wall time.

    What two threads gain is at most what two processes do of the same at once, which is less than two where others use the cores.
    """
    count, rows = 1000 if quick else 10_000, []
    rng = np.random.default_rng(0)
    for dim, place in ((2, "in the plane"), (3, "in space")):
        points, weights, lengths = rng.standard_normal((count, dim)), rng.random(count), np.zeros(dim)
        ours = partial(Gaussian(0.5).sum, points, points, weights, lengths)
        peer = peers.gaussian_sum_keops(points, weights, 0.5)
        times, ratios = medians({"ours": ours} | ({} if peer is None else {"pykeops": peer}), 5)
        beside: dict[str, float | str] = {
            "pykeops over ours": MISSING if peer is None else ratios["pykeops"],
            "one thread over two": one_over_two(ours, 5 if quick else 25),
            "two processes over one": side_by_side(PAIR_SUM.format(count=count, dim=dim), 1 if quick else 5),
        }
        title = f"Gaussian sum and gradient, {count} particles {place}"
        rows.append(Row(title, "ns per pair", NS * times["ours"] / count**2, beside))
    return rows


def particles(quick: bool) -> list[Row]:
    """bn-circle to t = 1 by as many particles as its grid is worth."""
    stop, count = (0.1, 2000) if quick else (1.0, 110_000)
    case = gridflow.load_case("bn-circle").replace({"time.stop": stop, "time.save": 2})
    seconds = solved(case)[0]
    gridflow.simulate(case, 10)
    beside = cpu_seconds(lambda: gridflow.simulate(case, count))
    return [
        Row(f"bn-circle to t = {stop:g}", "s", seconds, {f"{count} particles": beside, "particles over grid": beside / seconds})
    ]


def growth(quick: bool) -> list[Row]:
    """Exponents k of time ∝ n^k of a ReLU network: time of a step in cells and data, of a run in particles."""
    case = gridflow.load_case("bn-circle").replace({"time.stop": 0.2, "time.save": 2})

    def per_step(changes: dict) -> float:
        """Of the steps that the longer of two runs has more: without what a run does once."""
        short, long = (solved(case.replace({**changes, "time.stop": stop})) for stop in (1.0, 4.0))
        return (long[0] - short[0]) / float(long[1]["steps"][-1] - short[1]["steps"][-1])

    def of_particles(count: int) -> float:
        gridflow.simulate(case, 10)
        return cpu_seconds(lambda: gridflow.simulate(case, count))

    sides, data, counts = ([32, 64], [50, 100], [100, 200]) if quick else ([64, 128, 256], [300, 1200, 4800], [1000, 4000, 16000])
    by_cells = [per_step({"space.a.cells": n, "space.angle.cells": n}) for n in sides]
    by_data = [per_step({"energy.data.inputs.count": n}) for n in data]
    by_particles = [of_particles(n) for n in counts]
    return [
        Row(f"n_cells, {sides[0] ** 2} to {sides[-1] ** 2}", "exponent", exponent([n * n for n in sides], by_cells), {}),
        Row(f"n_data, {data[0]} to {data[-1]}", "exponent", exponent(data, by_data), {}),
        Row(f"n_particles, {counts[0]} to {counts[-1]}", "exponent", exponent(counts, by_particles), {}),
    ]


LINES: dict[str, Callable[[bool], list[Row]]] = {
    "noisy-network": noisy_network,
    "sweep": sweep,
    "busy-core": busy_core,
    "cells-and-steps": cells_and_steps,
    "jko": jko,
    "whole-process": whole_process,
    "streamed-data": streamed_data,
    "sums": sums,
    "particles": particles,
    "growth": growth,
}


def timed(name: str, quick: bool) -> list[Row]:
    """The rows of a line; prints how long it took."""
    began = time.perf_counter()
    rows = LINES[name](quick)
    print(f"{name}: {time.perf_counter() - began:.0f} s", flush=True)
    return rows
