"""What all runs of a verdict share: the case on its grid, the quantities, and the saved times at which they are compared."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np

from gridflow.case.case import Case
from gridflow.energy.base import Energy
from gridflow.errors import InputError, require, suggestion
from gridflow.particles.spec import Particles
from gridflow.problem import Problem
from gridflow.space.factor import Array
from gridflow.verdict.quantities import Quantity, Snapshot, quantities_of
from gridflow.verdict.sketches import Sketches


@dataclass(frozen=True)
class Plan:
    """problem : the case on its grid, with its energy or one's own; saves : numbers of the saves compared, at `times`;
    particles : None where the verdict rests on the grids, on an exact solution or on diagnostics alone."""

    case: Case
    particles: Particles | None
    problem: Problem
    quantities: list[Quantity]
    saves: list[int]
    times: list[float]

    def sketches(self, snapshots: Sequence[Snapshot]) -> Sketches:
        """Sketches of snapshots at successive times."""
        return [[quantity.sketch(s) for s in snapshots] for quantity in self.quantities]

    def distances(self, one: Sketches, two: Sketches) -> Array:
        """Distances between two histories, (n_quantities, n_times)."""
        rows = zip(self.quantities, one, two, strict=True)
        return np.array([[q.distance(a, b) for a, b in zip(*pair, strict=True)] for q, *pair in rows])


def plan_of(case: Case, energy: Energy | None, own: bool = False) -> Plan:
    """The plan of a case, with an energy of one's own or None. Raises InputError for a case that cannot be validated."""
    particles = check_case(case, own)
    case = case.replace({"time.steady": 0.0})  # all runs end at the same time
    problem = case.problem(energy)
    problem.check_energy()
    check_diagnostics(case, problem.diagnostics)
    data = problem.bound.data
    quantities = quantities_of(case.validation, problem.grid.factors, None if data is None else data.weights)
    saves = validation_saves(case)
    times = [case.time.save_times()[k] for k in saves]
    return Plan(case, particles, problem, quantities, saves, times)


def validation_saves(case: Case) -> list[int]:
    """Numbers of the saves that are compared: the last one and, denser towards the start, earlier ones, but never time 0."""
    last = len(case.time.save_times()) - 1
    wanted = np.geomspace(last, 1, min(case.validation.times, last))
    return sorted({round(float(k)) for k in wanted})


def check_case(case: Case, own: bool = False) -> Particles | None:
    """The particle runs of a case, if any; own : whether a user's own stand beside the grid, so that it needs none.

    Raises InputError for a case without thresholds, and for one that nothing stands beside: no particles, no exact solution and
    no diagnostics that are judged.
    """
    judged = bool(case.validation.thresholds())
    if not own and case.particles is None and case.exact is None and not case.validation.diagnostics:
        allowed = "particle runs, an exact solution, or thresholds on diagnostics"
        fix = "add [particles] with, for example, counts = [64, 256, 1024]; or [exact] or [validation.diagnostics]"
        also = "" if judged else "; and [validation] with, for example, w1 = { threshold = 0.01, reason = '…' }"
        raise InputError(f"{case.name} has no [particles]", allowed, fix + also)
    allowed = "for example w1 = { threshold = 0.01, reason = '…' }"
    fix = "add one for each quantity that should be judged; nothing passes by default"
    require(judged, f"{case.name} has no thresholds in [validation]", allowed, fix)
    return case.particles


def check_diagnostics(case: Case, known: Collection[str]) -> None:
    """Raises InputError for thresholds on numbers that are not among the diagnostics of the problem."""
    unknown = sorted(set(case.validation.diagnostics) - set(known))
    if unknown:
        fix = suggestion(unknown[0], known) or "remove it, or let the energy compute it (energy.stationarity)"
        allowed = f"diagnostics of this energy: {', '.join(known) or 'none'}"
        raise InputError(f"validation.diagnostics names {unknown[0]!r}", allowed, fix)
