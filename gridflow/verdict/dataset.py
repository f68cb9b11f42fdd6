"""The dataset of a verdict: every curve, with the outcome and the headline figures as attributes."""

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
VARIABLES: dict[str, tuple[tuple[str, ...], str, dict[str, Any]]] = {
    # name: (dimensions, long name, other attributes)
    "quantity": (Q, "quantity that is compared", {}),
    "time": (("time",), "mean-field time", {**NUMBER, "axis": "T"}),
    "count": (("count",), "particles of a random ensemble", NUMBER),
    "grid_error": (QT, "estimated error of the grid, by extrapolation from two coarser grids", NUMBER),
    "observed_order": (QT, "order observed on three grids, between 0.5 and 2", NUMBER),
    "distance": (QT, "mean distance of the verdict ensembles to the grid", NUMBER),
    "allowed": (QT, "bound of the grid error + resolution", NUMBER),
    "resolution": (QT, "95 % quantile of the distance between verdict ensembles + time_step_error", NUMBER),
    "time_step_error": (QT, "distance of a particle run to itself with a refined time step", NUMBER),
    "sensitivity": (QT, "distance per relative error of the speed: velocity, and temperature with it", NUMBER),
    "detects": (QT, "smallest relative error of the speed that fails the verdict for certain", NUMBER),
    "exact_error": (QT, "distance of the grid to the exact solution", NUMBER),
    "random_distance": ((*QTN, "ensemble"), "distance of an ensemble to the grid, random particles", NUMBER),
    "random_null": ((*QTN, "pair"), "distance between two independent ensembles, random particles", NUMBER),
    "verdict_distance": ((*QT, "verdict_ensemble"), "distance of an ensemble to the grid, verdict", NUMBER),
    "verdict_null": ((*QT, "verdict_pair"), "distance between two independent ensembles, verdict", NUMBER),
    "energy": (("time",), "energy of the grid, without entropy", NUMBER),
    "random_energy": (("time", "count", "ensemble"), "energy of random ensembles", NUMBER),
    "consistent": (QT, "distance is at most allowed", FLAG),
    "random_consistent": (QTN, "the same for random ensembles", FLAG),
    "slope": (Q, "slope of the sampling error in N; theory says -0.5", NUMBER),
    "slope_error": (Q, "standard error of the slope", NUMBER),
    "slope_judged": (Q, "", FLAG),
    "worth": (Q, "particles with the sampling error of the grid, worst time", NUMBER),
    "threshold": (Q, "largest error tolerated", NUMBER),
    "threshold_reason": (Q, "", {}),
    "outcome": (Q, "pass, fail or inconclusive", {}),
    "reason": (Q, "why it does not pass", {}),
    "start_factor": (START, "factor along which the starts are compared", {}),
    "start_distance": (START, "mean W1 of the verdict clouds at t = 0 to the grid's start; of labels, of masses", {}),
    "start_allowed": (START, "largest W1 between two clouds + W1 of the cell averages to the exact density", {}),
    "start_outcome": (START, "pass or fail", {}),
    "diagnostic": (DIAGNOSTIC, "number that the energy tells", {}),
    "diagnostic_value": (DIAGNOSTIC, "its value on the grid at the end", {}),
    "diagnostic_threshold": (DIAGNOSTIC, "largest value tolerated", {}),
    "diagnostic_reason": (DIAGNOSTIC, "why", {}),
    "diagnostic_outcome": (DIAGNOSTIC, "pass, fail or not judged", {}),
}


def verdict_dataset(case: Case, experiment: Experiment, judgement: Judgement, scale: float, quick: bool) -> xarray.Dataset:
    """The variables above, and the headline as attributes."""
    diagnostics = diagnostic_values(case, experiment.grids.diagnostics)
    values = {
        **judgement_values(case, judgement),
        **experiment_values(experiment),
        "start_factor": experiment.start.names,
        "start_distance": experiment.start.distance,
        "start_allowed": experiment.start.allowed,
        "start_outcome": experiment.start.outcome,
        **diagnostics,
    }
    result = xarray.Dataset(attrs=attributes(case, "validate"))
    for name, (dims, long_name, attrs) in VARIABLES.items():
        if name in values:
            result[name] = (dims, values[name], attrs | ({"long_name": long_name} if long_name else {}))
    outcomes = {*judgement.outcome, *experiment.start.outcome, *diagnostics["diagnostic_outcome"]} - {"not judged"}
    result.attrs["verdict"] = "fail" if "fail" in outcomes else "pass" if outcomes == {"pass"} else "inconclusive"
    result.attrs |= {"quick": int(quick), "threshold_scale": scale, **headline(experiment, judgement)}
    return result


def judgement_values(case: Case, judgement: Judgement) -> dict[str, Any]:
    """Variables by name, from a judgement."""
    j, thresholds = judgement, case.validation.thresholds()
    return {
        "quantity": [q.name for q in j.quantities],
        "count": j.counts,
        "grid_error": j.error,
        "observed_order": j.order,
        "distance": j.distance,
        "allowed": j.allowed,
        "resolution": j.resolution,
        "detects": j.detects,
        "consistent": j.consistent.astype(np.int8),
        "random_consistent": j.random_consistent.astype(np.int8),
        "slope": j.slope,
        "slope_error": j.slope_error,
        "slope_judged": np.array([q.has_rate for q in j.quantities], dtype=np.int8),
        "worth": j.worth,
        "threshold": j.limit,
        "threshold_reason": [thresholds[q.kind].reason for q in j.quantities],
        "outcome": j.outcome,
        "reason": j.reason,
    }


def experiment_values(experiment: Experiment) -> dict[str, Any]:
    """Variables by name, from the runs."""
    grids, random, verdict = experiment.grids, experiment.random, experiment.verdict
    exact = {} if grids.exact is None else {"exact_error": grids.exact}
    return exact | {
        "time": experiment.plan.times,
        "time_step_error": experiment.time_step,
        "sensitivity": grids.sensitivity,
        "random_distance": np.stack([s.distance for s in random], axis=2),
        "random_null": np.stack([s.null for s in random], axis=2),
        "verdict_distance": verdict.distance,
        "verdict_null": verdict.null,
        "energy": grids.energy,
        "random_energy": np.stack([s.energy for s in random], axis=1),
    }


def diagnostic_values(case: Case, numbers: dict[str, float]) -> dict[str, list[Any]]:
    """Variables by name: the diagnostics of the energy at the end, beside the dissipation."""
    limits = [case.validation.diagnostics.get(name) for name in numbers]
    pairs = zip(numbers.values(), limits, strict=True)
    outcomes = ["not judged" if t is None else "pass" if value <= t.threshold else "fail" for value, t in pairs]
    return {
        "diagnostic": list(numbers),
        "diagnostic_value": list(numbers.values()),
        "diagnostic_threshold": [t.threshold if t else np.nan for t in limits],
        "diagnostic_reason": [t.reason if t else "" for t in limits],
        "diagnostic_outcome": outcomes,
    }


def headline(experiment: Experiment, judgement: Judgement) -> dict[str, Any]:
    """What the grid is worth, what the verdict detects, and the cost of both sides."""
    plan, grids, last, verdict = experiment.plan, experiment.grids, experiment.random[-1], experiment.verdict
    density = np.array([q.kind in DENSITY_KINDS for q in plan.quantities])
    worths = np.where(density, judgement.worth, np.inf)
    worth = float(worths.min()) if density.any() else float("nan")
    particle_seconds = float(last.seconds * np.float64(worth / last.count) ** experiment.particle_order)
    found = {
        "worth": worth,
        "worth_quantity": plan.quantities[int(worths.argmin())].name if density.any() else "none",
        "detects": float(judgement.detects.min()),
        "grid_seconds": grids.seconds,
        "grid_cells": plan.grid.size,
        "grid_steps": grids.steps,
        "particle_seconds": last.seconds,
        "particle_seconds_count": last.count,
        "particle_cost_order": experiment.particle_order,
        "worth_seconds": particle_seconds,
        "time_ratio": particle_seconds / grids.seconds,
        "verdict_count": verdict.count,
    }
    # walls of a box, which grid and particles share: no comparison sees them
    return found | ({"warnings": grids.warnings} if grids.warnings else {})
