"""The grid runs of a verdict: the case, the same with two and with four times wider cells, and slightly faster."""

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from gridflow.case.case import Case
from gridflow.energy.base import prediction_of
from gridflow.errors import SolveError
from gridflow.problem import Problem
from gridflow.progress import Progress
from gridflow.solver import solve_compared
from gridflow.space.factor import Array
from gridflow.verdict.coarsening import LEVELS, coarse_case, longer_step
from gridflow.verdict.plan import Plan, Sketches
from gridflow.verdict.quantities import GridSnapshot

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


def run_grids(plan: Plan, tally: Progress) -> Grids:
    """The case on all its grids. Raises SolveError for a run that does not complete."""
    order = 2 if plan.problem.bound.smooth else 1  # a velocity that jumps
    sketches: dict[int, Sketches] = {}  # at every save
    for factor in LEVELS:
        tally.stage(f"grid with {factor}-fold cells" if factor > 1 else "grid")
        snapshots, dataset = grid_path(plan, coarse_case(plan.case, factor, order))
        sketches[factor] = plan.sketches(snapshots)
        tally.advance()
    tally.stage("sensitivity")
    sensitive = sensitivity(plan, coarse_case(plan.case, 2, order))
    tally.advance()
    fine = [[row[k] for k in plan.saves] for row in sketches[1]]
    pairs = [(sketches[1], sketches[2]), (sketches[2], sketches[4])]
    return Grids(
        fine=fine,
        start=snapshots[0].masses,
        coarse=np.stack([maxima_around(plan.distances(*pair), plan.saves) for pair in pairs]),
        exact=exact_error(plan, fine),
        sensitivity=sensitive,
        energy=np.array([snapshots[k].energy for k in plan.saves]),
        diagnostics={name: float(dataset[name][-1]) for name in ("dissipation", *plan.problem.diagnostics)},
        seconds=float(dataset.attrs["wall_seconds"]),
        steps=int(dataset["steps"][-1]),
        warnings=dataset.attrs.get("warnings", ""),
        at_walls=dataset.attrs.get("mass_at_walls", ""),
    )


def exact_error(plan: Plan, fine: Sketches) -> Array | None:
    """Distance of the grid to the exact solution of the case, if it has one."""
    if plan.case.exact is None:
        return None
    solution = plan.case.exact.masses(plan.problem, plan.times)
    return plan.distances(fine, plan.sketches([grid_snapshot(plan.problem, m) for m in solution]))


def sensitivity(plan: Plan, case: Case) -> Array:
    """Distance per relative error of the speed, (n_quantities, n_times), on the grid of a coarsened case.

    A velocity 1 + δ times too large, and with it temperature and reaction, solves the case in faster time, ρ((1 + δ)t): δ = 1 %.
    """
    right, fast = plan.times, [SPEED * t for t in plan.times]
    if case.scheme.step_key is not None:  # the same steps, 1 % longer: each errs by itself, however short
        before, after = (
            grid_path(plan, case.replace({"time.stop": times[-1], "time.save": times, **longer_step(case, factor)}))[0][1:]
            for times, factor in ((right, 1.0), (fast, SPEED))
        )
    else:
        saves = sorted({*right, *fast})
        path = grid_path(plan, case.replace({"time.stop": fast[-1], "time.save": saves}))[0]
        snapshots = dict(zip([0.0, *saves], path, strict=True))
        before, after = [snapshots[t] for t in right], [snapshots[t] for t in fast]
    return plan.distances(plan.sketches(before), plan.sketches(after)) / 0.01


def grid_path(plan: Plan, case: Case) -> tuple[list[GridSnapshot], "xarray.Dataset"]:
    """The solution of a coarsened case at every save, and its dataset. Raises SolveError for a run that does not complete."""
    problem = case.problem(plan.problem.energy)
    dataset = solve_compared(case.replace({"exact": None}), problem.energy)
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
