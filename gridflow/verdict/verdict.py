"""The verdict: from measured distances to pass, fail or inconclusive, and to the particle count that a grid is worth.

For each quantity and time, with d the distance in that quantity:

* grid error e, estimated from d(h, 2h) and d(2h, 4h) by extrapolation with the observed order p ≤ 2: d(h, 2h)/(2^p − 1). Tests
  of consistency take a bound e⁺ = 1.25 e, or 3 e where the observed order is below ½: the safety factors that are customary for
  grids inside and outside of the asymptotic range (Roache 1994). Where σ has a kink the velocity jumps, no order above 1 can be
  relied upon (Delarue, Lagoutière and Vauchelet 2017), and e⁺ takes p ≤ 1;
* spread q of the particles, *measured*: the 95 % quantile of d between independent ensembles of equal N;
* time error τ of the particles: d between a run and the same run with a refined step.

consistent  the mean of d(ensemble, grid) is at most `allowed` = e⁺ + q + τ. For a right grid the mean is near the mean of d
            between ensembles over √2, well below q, so that chance does not fail a verdict.
accurate    e, and the distance to the exact solution where there is one, are at most the threshold of the case.
resolved    q + τ is at most that threshold: else the particles are too few for a statement, and the verdict is inconclusive.
rate        where theory says N^(−1/2): the slope of d between random ensembles lies between −0.6 and −0.4, up to the 95 %
            error of that slope, measured on four blocks of ensembles; with a standard error above 0.1 it is inconclusive.

start       W1 along every factor between the grid's start and the verdict clouds at t = 0 is at most what sampling and cells
            explain (`gridflow.verdict.start`): a start that is wrong by a share of a cell on every grid is found here alone.

Consistency is asked of the verdict ensembles, and of the random ensembles of every N except in the energy: that of N particles
is biased by O(1/N). A relative error δ of the speed (velocity, and temperature with it) displaces the solution to ρ((1 + δ)t), by
δ·s with a sensitivity s that is measured. The errors of grid and particles, together at most `allowed`, may hide as much of it:
what fails the verdict for certain is δ = 2·allowed/s, the `detects` of the dataset.

Diagnostics are numbers that an energy tells of the grid's state at the end. Those with a threshold pass or fail by it, in a quick
validation too, because they are statements about any grid and not errors.

A grid is worth N* = (c/e)² particles, c/√N the sampling error of N random ones in the mean square, d between ensembles over √2.
"""

from dataclasses import dataclass

import numpy as np
import xarray
from numpy.typing import NDArray

from gridflow.case.case import Case
from gridflow.space.factor import Array
from gridflow.verdict.experiment import Experiment, Series
from gridflow.verdict.start import LAGS, Start

NULL_LEVEL = 0.95
ORDER_MIN, ORDER_MAX = 0.5, 2.0
"""Observed orders are believed between these: finite volumes have order 2; below ½ nothing converges yet."""
ORDER_KINK = 1.0
SAFETY, SAFETY_UNRESOLVED = 1.25, 3.0
SLOPE, SLOPE_MARGIN, SLOPE_ERROR_MAX = -0.5, 0.1, 0.1
BLOCKS, STUDENT = 4, 3.18
"""Groups of ensembles, each with a slope of its own: their scatter is the standard error, with three degrees of freedom."""
NEGLIGIBLE = 1e-9
"""Share of a threshold below which differences are round-off, and errors are not told apart."""
DENSITY_KINDS = ("w1", "sliced_w1", "energy_distance")
"""Distances of densities: the smallest worth among them is the headline. (A prediction may contract by itself, in any run.)"""


def grid_error(coarse: Array, order_max: float = ORDER_MAX) -> tuple[Array, Array]:
    """(e, observed order), from distances [d(h, 2h), d(2h, 4h)] of any shape."""
    fine, wide = np.maximum(coarse, 1e-150)  # equal grids: a ratio without overflow
    order = np.clip(np.log2(wide / fine), ORDER_MIN, order_max)
    # a distance that is small by chance (a difference that changes its sign) does not make a small error
    return np.maximum(fine, wide / 2**order) / (2**order - 1), order


def error_bound(coarse: Array, smooth: bool) -> Array:
    """e⁺, from the same distances."""
    error, order = grid_error(coarse, ORDER_MAX if smooth else ORDER_KINK)
    return np.where(order > ORDER_MIN, SAFETY, SAFETY_UNRESOLVED) * error


@dataclass(frozen=True)
class Judgement:
    """Arrays over (n_quantities, n_times), and over n_quantities where said."""

    error: Array
    order: Array
    allowed: Array
    distance: Array
    resolution: Array
    consistent: NDArray[np.bool_]
    random_consistent: NDArray[np.bool_]  # (n_quantities, n_times, n_counts)
    detects: Array
    slope: Array  # (n_quantities,)
    slope_error: Array  # (n_quantities,)
    worth: Array  # (n_quantities,)
    outcome: list[str]  # by quantity
    reason: list[str]


def spread(series: Series) -> Array:
    return np.quantile(series.null, NULL_LEVEL, axis=-1)


def judge(case: Case, experiment: Experiment, scale: float = 1.0) -> Judgement:
    """Judge an experiment by the thresholds of the case, times `scale`."""
    thresholds = {name: t.threshold * scale for name, t in case.validation.thresholds().items()}
    floor = NEGLIGIBLE * np.array([thresholds[q.kind] for q in experiment.plan.quantities])[:, None]
    coarse, exact = experiment.grids.coarse, experiment.grids.exact
    error, order = grid_error(coarse)
    bound = error_bound(coarse, experiment.plan.bound.smooth)
    worst = np.maximum(floor, error if exact is None else np.maximum(error, exact))
    resolution = spread(experiment.verdict) + experiment.time_step + floor
    allowed = bound + resolution
    distance = experiment.verdict.distance.mean(axis=-1)
    consistent = distance <= allowed
    random_consistent = np.stack(
        [s.distance.mean(axis=-1) <= bound + spread(s) + experiment.time_step + floor for s in experiment.random], axis=-1
    )
    biased = [q.kind == "energy" for q in experiment.plan.quantities]
    with np.errstate(divide="ignore"):
        detects = np.where(experiment.grids.sensitivity > 0, 2 * allowed / experiment.grids.sensitivity, np.inf)

    counts = np.array([s.count for s in experiment.random], dtype=float)
    sampling = np.stack([s.null.mean(axis=-1) / np.sqrt(2) for s in experiment.random], axis=-1)  # (q, t, n_counts)
    slopes, constants = rate_of_sampling(counts, sampling)
    slope_errors = slope_error(counts, [s.null for s in experiment.random])
    worth = ((constants / worst) ** 2).min(axis=-1)

    outcome, reason = [], []
    for k, quantity in enumerate(experiment.plan.quantities):
        limit = thresholds[quantity.kind]
        beyond = abs(slopes[k] - SLOPE) - SLOPE_MARGIN - STUDENT * slope_errors[k]
        failures = []
        if not consistent[k].all():
            failures.append(f"{(distance[k] / allowed[k]).max():.2g} times farther from the particles than allowed")
        if not random_consistent[k].all() and not biased[k]:
            wrong = sorted({int(counts[n]) for n in np.nonzero(~random_consistent[k])[1]})
            failures.append(f"inconsistent with random ensembles of {', '.join(map(str, wrong))}")
        if error[k].max() > limit:
            failures.append(f"estimated error {error[k].max():.2g} above the threshold {limit:.2g}")
        if experiment.grids.exact is not None and experiment.grids.exact[k].max() > limit:
            failures.append(
                f"error against the exact solution {experiment.grids.exact[k].max():.2g} above the threshold {limit:.2g}"
            )
        if quantity.has_rate and beyond > 0 and slope_errors[k] <= SLOPE_ERROR_MAX:
            failures.append(f"slope in N {slopes[k]:.2f} ± {slope_errors[k]:.2f}, not {SLOPE} ± {SLOPE_MARGIN}")
        doubts = []
        if resolution[k].max() > limit:
            doubts.append(
                f"the particles resolve {resolution[k].max():.2g} only, the threshold is {limit:.2g}: raise particles.verdict"
            )
        if quantity.has_rate and slope_errors[k] > SLOPE_ERROR_MAX:
            doubts.append(
                f"the slope in N is known to ± {slope_errors[k]:.2f} only: raise particles.ensembles or spread the counts"
            )
        outcome.append("fail" if failures else "inconclusive" if doubts else "pass")
        reason.append("; ".join(failures or doubts))
    return Judgement(
        error,
        order,
        allowed,
        distance,
        resolution,
        consistent,
        random_consistent,
        detects,
        slopes,
        slope_errors,
        worth,
        outcome,
        reason,
    )


def rate_of_sampling(counts: Array, sampling: Array) -> tuple[Array, Array]:
    """(slope of log sampling error in log N, mean over times, (n_quantities,); c = √N·error, geometric mean over N, (q, t))."""
    x = np.log(counts) - np.log(counts).mean()
    logs = np.log(np.maximum(sampling, np.finfo(float).tiny))
    return (logs @ x / (x @ x)).mean(axis=-1), np.exp((logs + 0.5 * np.log(counts)).mean(axis=-1))


def slope_error(counts: Array, nulls: list[Array]) -> Array:
    """Standard error of the slope from the slopes of `BLOCKS` groups of pairs, (n_quantities,)."""
    ensembles = nulls[0].shape[-1] // len(LAGS)
    first = np.arange(nulls[0].shape[-1]) % ensembles  # pairs are ordered by lag, then by their first ensemble
    groups = [first * BLOCKS // ensembles == g for g in range(BLOCKS)]
    slopes = [rate_of_sampling(counts, np.stack([n[..., g].mean(axis=-1) for n in nulls], axis=-1))[0] for g in groups]
    return np.std(slopes, axis=0, ddof=1) / np.sqrt(BLOCKS)


def verdict_dataset(case: Case, experiment: Experiment, judgement: Judgement, scale: float, quick: bool) -> xarray.Dataset:
    """Every curve, with the verdict and the headline figures as attributes."""
    from gridflow.output.dataset import attributes

    j, e = judgement, experiment
    thresholds = case.validation.thresholds()
    kinds = [q.kind for q in e.plan.quantities]
    curves = {
        "grid_error": (j.error, "estimated error of the grid, by extrapolation from two coarser grids"),
        "observed_order": (j.order, "order observed on three grids, between 0.5 and 2"),
        "distance": (j.distance, "mean distance of the verdict ensembles to the grid"),
        "allowed": (j.allowed, "bound of the grid error + resolution"),
        "resolution": (j.resolution, "95 % quantile of the distance between verdict ensembles + time_step_error"),
        "time_step_error": (e.time_step, "distance of a particle run to itself with a refined time step"),
        "sensitivity": (e.grids.sensitivity, "distance per relative error of the speed: velocity, and temperature with it"),
        "detects": (j.detects, "smallest relative error of the speed that fails the verdict for certain"),
    }
    if e.grids.exact is not None:
        curves["exact_error"] = (e.grids.exact, "distance of the grid to the exact solution")
    dims, every = ("quantity", "time"), ("quantity", "time", "count")
    result = xarray.Dataset(attrs=attributes(case, "validate"))
    result["quantity"] = ("quantity", [q.name for q in e.plan.quantities], {"long_name": "quantity that is compared"})
    result["time"] = ("time", e.plan.times, {"units": "1", "axis": "T", "long_name": "mean-field time"})
    result["count"] = ("count", [s.count for s in e.random], {"units": "1", "long_name": "particles of a random ensemble"})
    for name, (values, text) in curves.items():
        result[name] = (dims, values, {"units": "1", "long_name": text})
    ensemble, pair = "distance of an ensemble to the grid", "distance between two independent ensembles"
    for name, parts, text in (
        ("random_distance", [s.distance for s in e.random], f"{ensemble}, random particles"),
        ("random_null", [s.null for s in e.random], f"{pair}, random particles"),
    ):
        inner = "ensemble" if name == "random_distance" else "pair"
        result[name] = ((*every, inner), np.stack(parts, axis=2), {"units": "1", "long_name": text})
    result["verdict_distance"] = (
        (*dims, "verdict_ensemble"),
        e.verdict.distance,
        {"units": "1", "long_name": f"{ensemble}, verdict"},
    )
    result["verdict_null"] = ((*dims, "verdict_pair"), e.verdict.null, {"units": "1", "long_name": f"{pair}, verdict"})
    result["energy"] = ("time", e.grids.energy, {"units": "1", "long_name": "energy of the grid, without entropy"})
    energies = np.stack([s.energy for s in e.random], axis=1)
    result["random_energy"] = (("time", "count", "ensemble"), energies, {"units": "1", "long_name": "energy of random ensembles"})
    flags = {"flag_values": np.array([0, 1], dtype=np.int8), "flag_meanings": "no yes"}
    result["consistent"] = (dims, j.consistent.astype(np.int8), {"long_name": "distance is at most allowed", **flags})
    result["random_consistent"] = (
        every,
        j.random_consistent.astype(np.int8),
        {"long_name": "the same for random ensembles", **flags},
    )
    result["slope"] = ("quantity", j.slope, {"units": "1", "long_name": "slope of the sampling error in N; theory says -0.5"})
    result["slope_error"] = ("quantity", j.slope_error, {"units": "1", "long_name": "standard error of the slope"})
    result["slope_judged"] = ("quantity", np.array([q.has_rate for q in e.plan.quantities], dtype=np.int8), flags)
    result["worth"] = (
        "quantity",
        j.worth,
        {"units": "1", "long_name": "particles with the sampling error of the grid, worst time"},
    )
    result["threshold"] = (
        "quantity",
        [thresholds[k].threshold * scale for k in kinds],
        {"units": "1", "long_name": "largest error tolerated"},
    )
    result["threshold_reason"] = ("quantity", [thresholds[k].reason for k in kinds])
    result["outcome"] = ("quantity", j.outcome, {"long_name": "pass, fail or inconclusive"})
    result["reason"] = ("quantity", j.reason, {"long_name": "why it does not pass"})

    told = [*add_start(result, e.start), *add_diagnostics(result, case, e.grids.diagnostics)]

    density = np.array([q.kind in DENSITY_KINDS for q in e.plan.quantities])
    worth = float(j.worth[density].min()) if density.any() else float("nan")
    last = e.random[-1]
    particle_seconds = float(last.seconds * np.float64(worth / last.count) ** e.particle_order)
    result.attrs |= {
        "verdict": overall([*j.outcome, *told]),
        "quick": int(quick),
        "threshold_scale": scale,
        "worth": worth,
        "worth_quantity": e.plan.quantities[int(np.where(density, j.worth, np.inf).argmin())].name if density.any() else "none",
        "detects": float(j.detects.min()),
        "grid_seconds": e.grids.seconds,
        "grid_cells": e.plan.grid.size,
        "grid_steps": e.grids.steps,
        "particle_seconds": last.seconds,
        "particle_seconds_count": last.count,
        "particle_cost_order": e.particle_order,
        "worth_seconds": particle_seconds,
        "time_ratio": particle_seconds / e.grids.seconds,
        "verdict_count": e.verdict.count,
    }
    if e.grids.warnings:  # walls of a box, which grid and particles share: no comparison sees them
        result.attrs["warnings"] = e.grids.warnings
    return result


def overall(outcomes: list[str]) -> str:
    return "fail" if "fail" in outcomes else "pass" if set(outcomes) == {"pass"} else "inconclusive"


def add_start(result: xarray.Dataset, start: Start) -> list[str]:
    """The start of the grid beside the clouds, by factor; returns the outcomes."""
    columns = {
        "start_factor": (start.names, "factor along which the starts are compared"),
        "start_distance": (start.distance, "mean W1 of the verdict clouds at t = 0 to the grid's start; of labels, of masses"),
        "start_allowed": (start.allowed, "largest W1 between two clouds + W1 of the cell averages to the exact density"),
        "start_outcome": (start.outcome, "pass or fail"),
    }
    for name, (values, text) in columns.items():
        result[name] = ("start_factor", values, {"long_name": text})
    return start.outcome


def add_diagnostics(result: xarray.Dataset, case: Case, numbers: dict[str, float]) -> list[str]:
    """The numbers of the energy at the end, beside the dissipation; returns the outcomes of those that are judged."""
    judged = {name: case.validation.diagnostics[name] for name in numbers if name in case.validation.diagnostics}
    outcome = {name: "pass" if numbers[name] <= t.threshold else "fail" for name, t in judged.items()}
    columns = {
        "diagnostic": (list(numbers), "number that the energy tells"),
        "diagnostic_value": (list(numbers.values()), "its value on the grid at the end"),
        "diagnostic_threshold": ([judged[n].threshold if n in judged else np.nan for n in numbers], "largest value tolerated"),
        "diagnostic_reason": ([judged[n].reason if n in judged else "" for n in numbers], "why"),
        "diagnostic_outcome": ([outcome.get(n, "not judged") for n in numbers], "pass, fail or not judged"),
    }
    for name, (values, text) in columns.items():
        result[name] = ("diagnostic", values, {"long_name": text})
    return list(outcome.values())
