"""The dataset of a verdict: every curve, with the outcome and the headline figures as attributes."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import xarray

from gridflow.case.case import Case
from gridflow.output.dataset import attributes
from gridflow.verdict.experiment import Experiment
from gridflow.verdict.verdict import Judgement

DENSITY_KINDS = ("w1", "sliced_w1", "energy_distance")
"""Distances of densities: the smallest worth among them is the headline. (A prediction may contract by itself, in any run.)"""

Q, QT, QTN = ("quantity",), ("quantity", "time"), ("quantity", "time", "count")
START, DIAGNOSTIC = ("start_factor",), ("diagnostic",)
NUMBER = {"units": "1"}
FLAG = {"flag_values": np.array([0, 1], dtype=np.int8), "flag_meanings": "no yes"}
# fmt: off
VARIABLES: dict[str, tuple[tuple[str, ...], Callable[[Experiment, Judgement], Any], str, dict[str, Any]]] = {
    # name: (dimensions, values of an experiment and its judgement or None, long name, other attributes)
    "quantity": (Q, lambda e, j: [q.name for q in e.plan.quantities], "quantity that is compared", {}),
    "time": (("time",), lambda e, j: e.plan.times, "mean-field time", {**NUMBER, "axis": "T"}),
    "count": (("count",), lambda e, j: [s.count for s in e.random], "particles of a random ensemble", NUMBER),
    "grid_error": (QT, lambda e, j: j.error, "estimated error of the grid, by extrapolation from two coarser grids", NUMBER),
    "observed_order": (QT, lambda e, j: j.order, "order observed on three grids, between 0.5 and 2", NUMBER),
    "distance": (QT, lambda e, j: j.distance, "mean distance of the verdict ensembles to the grid", NUMBER),
    "allowed": (QT, lambda e, j: j.allowed, "bound of the grid error + resolution", NUMBER),
    "resolution": (QT, lambda e, j: j.resolution,
     "95 % quantile of the distance between verdict ensembles + time_step_error", NUMBER),
    "time_step_error": (QT, lambda e, j: e.judging.time_step,
     "distance of a particle run to itself with a refined time step, and a kernel mollified on half the length", NUMBER),
    "sensitivity": (QT, lambda e, j: e.grids.sensitivity,
     "distance per relative error of the speed: velocity, and temperature with it", NUMBER),
    "detects": (QT, lambda e, j: j.detects, "smallest relative error of the speed that fails the verdict for certain", NUMBER),
    "exact_error": (QT, lambda e, j: e.grids.exact, "distance of the grid to the exact solution", NUMBER),
    "random_distance": ((*QTN, "ensemble"), lambda e, j: np.stack([s.distance for s in e.random], axis=2),
     "distance of an ensemble to the grid, random particles", NUMBER),
    "random_null": ((*QTN, "pair"), lambda e, j: np.stack([s.null for s in e.random], axis=2),
     "distance between two independent ensembles, random particles", NUMBER),
    "verdict_distance": ((*QT, "verdict_ensemble"), lambda e, j: e.judging.distance,
     "distance of an ensemble to the grid, verdict", NUMBER),
    "verdict_null": ((*QT, "verdict_pair"), lambda e, j: e.judging.null,
     "distance between two independent ensembles, verdict", NUMBER),
    "energy": (("time",), lambda e, j: e.grids.energy, "energy of the grid, without entropy", NUMBER),
    "random_energy": (("time", "count", "ensemble"), lambda e, j: np.stack([s.energy for s in e.random], axis=1),
     "energy of random ensembles", NUMBER),
    "verdict_energy": (("time", "verdict_ensemble"), lambda e, j: e.judging.energy, "energy of the verdict ensembles", NUMBER),
    "consistent": (QT, lambda e, j: np.int8(j.consistent), "distance is at most allowed", FLAG),
    "random_consistent": (QTN, lambda e, j: np.int8(j.random_consistent), "the same for random ensembles", FLAG),
    "slope": (Q, lambda e, j: j.slope, "slope of the sampling error in N; theory says -0.5", NUMBER),
    "slope_error": (Q, lambda e, j: j.slope_error, "standard error of the slope", NUMBER),
    "slope_judged": (Q, lambda e, j: np.array([q.has_rate for q in e.plan.quantities], dtype=np.int8), "", FLAG),
    "worth": (Q, lambda e, j: j.worth, "particles with the sampling error of the grid, worst time", NUMBER),
    "threshold": (Q, lambda e, j: j.limit, "largest error tolerated", NUMBER),
    "threshold_reason": (Q, lambda e, j: [e.plan.case.validation.thresholds()[q.kind].reason for q in e.plan.quantities],
     "", {}),
    "outcome": (Q, lambda e, j: j.outcome, "pass, fail or inconclusive", {}),
    "reason": (Q, lambda e, j: j.reason, "why it does not pass", {}),
    "start_factor": (START, lambda e, j: e.start.names, "factor along which the starts are compared", {}),
    "start_distance": (START, lambda e, j: e.start.distance,
     "mean W1 of the verdict clouds at t = 0 to the grid's start; of labels, of masses", {}),
    "start_allowed": (START, lambda e, j: e.start.allowed,
     "largest W1 between two clouds + W1 of the cell averages to the exact density", {}),
    "start_outcome": (START, lambda e, j: e.start.outcome, "pass or fail", {}),
    "diagnostic": (DIAGNOSTIC, lambda e, j: [d.name for d in j.diagnostics], "number that the energy computes of its state", {}),
    "diagnostic_value": (DIAGNOSTIC, lambda e, j: [d.value for d in j.diagnostics], "its value on the grid at the end", {}),
    "diagnostic_threshold": (DIAGNOSTIC, lambda e, j: [d.threshold for d in j.diagnostics], "largest value tolerated", {}),
    "diagnostic_reason": (DIAGNOSTIC, lambda e, j: [d.reason for d in j.diagnostics], "why", {}),
    "diagnostic_outcome": (DIAGNOSTIC, lambda e, j: [d.outcome for d in j.diagnostics], "pass, fail or not judged", {}),
}
# fmt: on
OF_RANDOM = {
    "count",
    "random_distance",
    "random_null",
    "random_energy",
    "random_consistent",
    "slope",
    "slope_error",
    "slope_judged",
}  # fmt: skip
"""Variables that a verdict on particles of a user's own does not have."""
OF_PARTICLES = OF_RANDOM | {
    "distance",
    "allowed",
    "resolution",
    "time_step_error",
    "detects",
    "verdict_distance",
    "verdict_null",
    "verdict_energy",
    "consistent",
    "worth",
}  # fmt: skip
"""Variables that a case without particles does not have."""


def verdict_dataset(
    case: Case, experiment: Experiment, judgement: Judgement, scale: float, quick: bool, own: Mapping[str, str] | None = None
) -> xarray.Dataset:
    """The variables above, and the headline as attributes; own : see `gridflow.output.dataset.attributes`."""
    result = xarray.Dataset(attrs=attributes(case, "validate", own))
    for name, (dims, read, long_name, attrs) in VARIABLES.items():
        if (experiment.verdict is None and name in OF_PARTICLES) or (not experiment.random and name in OF_RANDOM):
            continue
        values = read(experiment, judgement)
        if values is not None:
            result[name] = (dims, values, attrs | ({"long_name": long_name} if long_name else {}))
    result.attrs |= {"verdict": judgement.verdict, "quick": int(quick), "threshold_scale": scale}
    result.attrs |= headline_attributes(experiment, judgement)
    return result


def headline_attributes(experiment: Experiment, judgement: Judgement) -> dict[str, Any]:
    """What the grid is worth, what the verdict detects, and the cost of both sides."""
    plan, grids, verdict = experiment.plan, experiment.grids, experiment.verdict
    cost: dict[str, Any] = {"grid_seconds": grids.seconds, "grid_cells": plan.problem.grid.size, "grid_steps": grids.steps}
    cost |= {"warnings": grids.warnings} if grids.warnings else {}
    cost |= {"notes": "\n".join(experiment.notes)} if experiment.notes else {}
    cost |= {"mass_at_walls": grids.at_walls} if grids.at_walls else {}
    energy = experiment.particle_energy
    if verdict is None or energy is None:
        return {"worth_quantity": "none"} | cost
    cost |= energy.attributes
    density = np.array([q.kind in DENSITY_KINDS for q in plan.quantities])
    worths = np.where(density, judgement.worth, np.inf)
    worth = float(worths.min()) if density.any() else float("nan")
    found = {
        "worth": worth,
        "worth_quantity": plan.quantities[int(worths.argmin())].name if density.any() else "none",
        "detects": float(judgement.detects.min()),
        "verdict_count": verdict.count,
    }
    if not experiment.random:  # what who brings particles wants to know first
        return found | cost | {"agrees": int(judgement.consistent.all() and "fail" not in experiment.start.outcome)}
    return found | cost | seconds_of_particles(experiment, worth, energy.order)


def seconds_of_particles(experiment: Experiment, worth: float, order: int) -> dict[str, Any]:
    """What a run of as many particles as the grid is worth would take; order : of the cost of an evaluation."""
    last = experiment.random[-1]
    seconds = float(last.seconds * np.float64(worth / last.count) ** order)
    return {
        "particle_seconds": last.seconds,
        "particle_seconds_count": last.count,
        "particle_cost_order": order,
        "worth_seconds": seconds,
        "time_ratio": seconds / experiment.grids.seconds,
    }
