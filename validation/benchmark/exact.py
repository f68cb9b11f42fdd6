"""Error against time on problems with exact solutions: the default scheme on several grids, particles, other programs."""

import statistics
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

import gridflow
from gridflow.case.case import Case
from gridflow.case.shipped import shipped_cases
from gridflow.space.distances import quantiles_of_cells, quantiles_of_points, wasserstein
from validation.benchmark import peers, problems
from validation.benchmark.measure import Point, cpu_seconds

LINES = {"quadratic-teacher": "teacher-1d-quadratic", "riesz-mmd": "mmd-riesz-1d", "barenblatt": "porous-medium"}
"""Problems on a line by the names of their cases; a case that does not ship is left out."""
SHORT = 1.0
"""CPU seconds below which a run is repeated."""


def solved(case: Case) -> tuple[float, Any]:
    """(CPU seconds, dataset) of a case that was solved before, which compiles; short runs are the median of three."""
    found: list[Any] = [gridflow.solve(case)]
    times = [cpu_seconds(lambda: gridflow.solve(case))]
    while times[0] < SHORT and len(times) < 3:
        times.append(cpu_seconds(lambda: gridflow.solve(case)))
    return statistics.median(times), found[0]


def fokker_planck(quick: bool) -> Iterator[Point]:
    """L1 error at t = 0.5 in the plane; ours, and that of py-pde."""
    name = "fokker-planck"
    for cells in (32, 64) if quick else (64, 128, 256, 384):
        seconds, dataset = solved(problems.fokker_planck(cells))
        edges = np.linspace(-problems.SIDE, problems.SIDE, cells + 1)
        masses = (dataset["density"][-1] * dataset["cell_volume"]).transpose("x", "y").to_numpy()
        yield Point(name, "gridflow", cells, seconds, float(np.abs(masses - problems.fokker_planck_exact(edges)).sum()))
    for cells in (32,) if quick else (64, 128, 256):
        yield from peers.fokker_planck_pde(name, cells)


def line(name: str) -> Callable[[bool], Iterator[Point]]:
    """W1 to the exact solution at the end of a problem on a line: on grids, and by independent random particles."""

    def points(quick: bool) -> Iterator[Point]:
        case = gridflow.load_case(LINES[name])
        case = case.replace({"time.save": 2})
        key = next(iter(case.resolution()))
        for cells in (32, 64) if quick else (64, 128, 256, 512, 1024):
            seconds, dataset = solved(case.replace({key: cells}))
            yield Point(name, "gridflow", cells, seconds, float(dataset["error_w1"][-1]))
        fine = case.replace({key: 4096})
        problem = fine.problem()
        factor, exact = problem.grid.factors[0], fine.exact.solution(problem)(fine.time.stop)
        counts = (256, 1024, 4096, 16384)[
            : 4 if problem.particles.order == 1 else 2
        ]  # as many as cases with sums over pairs have
        for count in (64,) if quick else counts:
            run = gridflow.simulate(case, count, seed=1)
            errors = []
            for seed in range(2 if quick else 5):
                run = gridflow.simulate(case, count, seed=seed)
                cloud = quantiles_of_points(run.points[-1][:, 0], run.weights_at(-1), factor)
                errors.append(wasserstein(cloud, quantiles_of_cells(exact, factor), 1))
            yield Point(name, "particles", count, run.seconds, float(np.mean(errors)))

    return points


PROBLEMS = {"fokker-planck": fokker_planck, **{name: line(name) for name, case in LINES.items() if case in shipped_cases()}}
ERRORS = dict.fromkeys(LINES, "W1") | {"fokker-planck": "L1"}
TITLES = {
    "fokker-planck": "Fokker–Planck in the plane",
    "quadratic-teacher": "teacher, quadratic activation",
    "riesz-mmd": "Riesz MMD on the line",
    "barenblatt": "Barenblatt",
}
