"""The grid runs of a verdict: the case, the same with two and with four times wider cells, and slightly faster."""

from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gridflow.case.case import Case
from gridflow.energy.base import prediction_of
from gridflow.errors import SolveError
from gridflow.problem import Problem
from gridflow.progress import Progress
from gridflow.solver import solve_compared
from gridflow.space.factor import Array
from gridflow.verdict.coarsening import LEVELS, coarse_case, longer_step
from gridflow.verdict.finished import ABOUT, NOT_KEPT, Finished, Parts, determining_text
from gridflow.verdict.plan import Plan
from gridflow.verdict.quantities import GridSnapshot
from gridflow.verdict.sketches import Sketches, arrays_of, sketches_of

if TYPE_CHECKING:
    import xarray

SPEED = 1.01
"""Factor of the speed whose effect is measured."""


@dataclass(frozen=True)
class Grids:
    """What the grid runs find: distances, (n_quantities, n_times).

    fine : sketches of the case itself; start : its cell masses at t = 0
    coarse : [between the grid and the twice wider one, between that and the four times wider one], the largest over the saves
        around each time, because a difference that changes its sign there would look like no error; exact : of the grid, or None;
    sensitivity : per relative error of the speed; energy : (n_times,) of the grid;
    diagnostics : its dissipation and the other numbers of its energy, at the end; seconds, steps : cost of the run;
    warnings : those of its dataset, one in a line; at_walls : those of mass at walls that cut off a space
    """

    fine: Sketches
    start: Array
    coarse: Array
    exact: Array | None
    sensitivity: Array
    energy: Array
    diagnostics: dict[str, float]
    seconds: float
    steps: int
    warnings: str
    at_walls: str = ""


@dataclass(frozen=True)
class GridRun:
    """What is kept of a run on one grid: sketches, energies at every save, masses at t = 0; numbers at the end, and its cost."""

    sketches: Sketches
    energies: Array
    start: Array
    numbers: dict[str, Any]

    @classmethod
    def of(cls, parts: Parts) -> "GridRun":
        """From the arrays and numbers of `grid_parts`."""
        arrays, numbers = parts
        return cls(sketches_of(arrays), arrays["energies"], arrays["start"], numbers)


def run_grids(plan: Plan, tally: Progress, finished: Finished = NOT_KEPT) -> Grids:
    """The case on all its grids. Raises SolveError for a run that does not complete."""
    order = 2 if plan.problem.bound.smooth else 1  # a velocity that jumps
    names, runs = [q.name for q in plan.quantities], dict[int, GridRun]()
    for factor in LEVELS:
        tally.stage(f"grid with {factor}-fold cells" if factor > 1 else "grid")
        case = coarse_case(plan.case, factor, order)
        parts = finished.parts(f"grid-{factor}", {"case": determining_text(case), "of": names}, partial(grid_parts, plan, case))
        runs[factor] = GridRun.of(parts)
        tally.advance()
    tally.stage("sensitivity")
    case = coarse_case(plan.case, 2, order)
    determined_by = {"case": determining_text(case), "of": names, "times": plan.times}
    sensitive = finished.parts("sensitivity", determined_by, lambda kept: ({"sensitivity": sensitivity(plan, case, kept)}, {}))[0]
    tally.advance()
    fine = [[row[k] for k in plan.saves] for row in runs[1].sketches]
    pairs = [(runs[1], runs[2]), (runs[2], runs[4])]
    return Grids(
        fine=fine,
        start=runs[1].start,
        coarse=np.stack([maxima_around(plan.distances(a.sketches, b.sketches), plan.saves) for a, b in pairs]),
        exact=exact_error(plan, fine),
        sensitivity=sensitive["sensitivity"],
        energy=runs[1].energies[plan.saves],
        **runs[1].numbers,
    )


def grid_parts(plan: Plan, case: Case, kept: Path | None) -> Parts:
    """The run of a coarsened case as a `GridRun` keeps it; kept : see `grid_path`."""
    snapshots, dataset = grid_path(plan, case, kept)
    arrays = {"energies": np.array([s.energy for s in snapshots]), "start": snapshots[0].masses}
    numbers = {
        "diagnostics": {name: float(dataset[name][-1]) for name in ("dissipation", *plan.problem.diagnostics)},
        "seconds": float(dataset.attrs["wall_seconds"]),
        "steps": int(dataset["steps"][-1]),
        "warnings": dataset.attrs.get("warnings", ""),
        "at_walls": dataset.attrs.get("mass_at_walls", ""),
    }
    return arrays | arrays_of(plan.sketches(snapshots)), numbers


def exact_error(plan: Plan, fine: Sketches) -> Array | None:
    """Distance of the grid to the exact solution of the case, if it has one."""
    if plan.case.exact is None:
        return None
    solution = plan.case.exact.masses(plan.problem, plan.times)
    return plan.distances(fine, plan.sketches([grid_snapshot(plan.problem, m) for m in solution]))


def sensitivity(plan: Plan, case: Case, kept: Path | None) -> Array:
    """Distance per relative error of the speed, (n_quantities, n_times), on the grid of a coarsened case; kept : see `grid_path`.

    A velocity 1 + δ times too large, and with it temperature and reaction, solves the case in faster time, ρ((1 + δ)t): δ = 1 %.
    """
    right, fast = plan.times, [SPEED * t for t in plan.times]
    if case.scheme.step_key is not None:  # the same steps, 1 % longer: each errs by itself, however short
        chosen = [
            ("right", case.replace({"time.stop": right[-1], "time.save": right})),
            ("fast", case.replace({"time.stop": fast[-1], "time.save": fast, **longer_step(case, SPEED)})),
        ]
        before, after = (grid_path(plan, same, kept, name)[0][1:] for name, same in chosen)
    else:
        saves = sorted({*right, *fast})
        path = grid_path(plan, case.replace({"time.stop": fast[-1], "time.save": saves}), kept)[0]
        snapshots = dict(zip([0.0, *saves], path, strict=True))
        before, after = [snapshots[t] for t in right], [snapshots[t] for t in fast]
    return plan.distances(plan.sketches(before), plan.sketches(after)) / 0.01


def grid_path(plan: Plan, case: Case, kept: Path | None, name: str = "grid") -> tuple[list[GridSnapshot], "xarray.Dataset"]:
    """The solution of a coarsened case at every save, and its dataset. Raises SolveError for a run that does not complete.

    kept : the start of the name of the file, with `name`, in which the run goes on after it was killed; None for none
    """
    problem = case.problem(plan.problem.energy)
    file = None if kept is None else kept.with_name(f"{kept.name}.{name}.nc")
    dataset = solve_compared(case.replace(ABOUT), problem.energy, file)
    if dataset.attrs["status"] == "interrupted":
        raise KeyboardInterrupt
    if dataset.attrs["status"] != "completed":
        raise SolveError(f"the grid run ended {dataset.attrs['status']}")
    masses = dataset["density"].transpose("time", *problem.grid.order).to_numpy() * problem.grid.volume
    return [grid_snapshot(problem, m) for m in masses], dataset


def grid_snapshot(problem: Problem, masses: Array) -> GridSnapshot:
    """The state of cell masses, shape of the grid."""
    evaluation = problem.bound.evaluate(masses)
    return GridSnapshot(problem.grid, masses, evaluation.value, prediction_of(problem.bound, masses, evaluation))


def maxima_around(distances: Array, saves: list[int]) -> Array:
    """Maxima over the saves nearest, in ratio, to each of `saves`: (n_quantities, all saves) → (n_quantities, n_times)."""
    borders = [0, *(round(float(np.sqrt(a * b))) for a, b in pairwise(saves)), distances.shape[1] - 1]
    return np.stack([distances[:, a : b + 1].max(axis=1) for a, b in pairwise(borders)], axis=1)
