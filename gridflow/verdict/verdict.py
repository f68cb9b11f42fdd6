"""The verdict: from measured distances to pass, fail or inconclusive, and to the particle count that a grid is worth.

For each quantity and time, with d the distance in that quantity:

* grid error e, estimated from d(h, 2h) and d(2h, 4h) by extrapolation with the observed order p ≤ 2: d(h, 2h)/(2^p − 1). Tests
  of consistency take a bound e⁺ = 1.25 e, or 3 e where the observed order is below ½: the safety factors that are customary for
  grids inside and outside of the asymptotic range (Roache 1994). Where σ has a kink the velocity jumps, no order above 1 can be
  relied upon (Delarue, Lagoutière and Vauchelet 2017), and e⁺ takes p ≤ 1;
* sampling error q of the particles, *measured*: the 95 % quantile of d between independent ensembles of equal N;
* time error τ of the particles: d between a run and the same run with a refined step, and, where a kernel between particles is
  mollified, half the length of that, of every N.

consistent  the mean of d(ensemble, grid) is at most `allowed` = e⁺ + q + τ. For a right grid the mean is near the mean of d
            between ensembles over √2, well below q, so that chance does not fail a verdict.
accurate    e, and the distance to the exact solution where there is one, are at most the threshold of the case.
resolved    q + τ is at most that threshold: else the particles are too few for a statement, and the verdict is inconclusive.
rate        where theory says N^(−1/2): the slope of d between random ensembles lies between −0.6 and −0.4, up to the 95 %
            error of that slope, measured on four blocks of ensembles; with a standard error above 0.1 it is inconclusive.

start       W1 along every factor between the grid's start and the verdict clouds at t = 0 is at most what sampling and cells
            explain (`gridflow.verdict.start`): a start that is wrong by a share of a cell on every grid is found here alone.

Consistency is required of the verdict ensembles, and of the random ensembles of every N except in the energy: that of N particles
is biased by O(1/N). A relative error δ of the speed (velocity, and temperature with it) displaces the solution to ρ((1 + δ)t), by
δ·s with a sensitivity s that is measured. The errors of grid and particles, together at most `allowed`, may hide as much of it:
what fails the verdict for certain is δ = 2·allowed/s, the `detects` of the dataset.

Particle runs of a user's own (`gridflow.verdict.own_particles`) have one N and no refined twin: the rate is not judged, τ counts
as 0, and notes of the verdict say so.

A density with more than 1e−3 of its mass at walls that cut off an unbounded space (`gridflow.space.walls`) is inconclusive at
best: what it would do without them nobody has computed.

A case without particles (a flow that no particles follow) is judged by its errors, estimated and exact, and by its diagnostics.

Diagnostics are numbers that the energy computes of the grid's state at the end. Those with a threshold pass or fail by it, also
in a quick validation, because they are statements about any grid and not errors.

A grid is worth N* = (c/e)² particles, c/√N the sampling error of N random ones in the mean square, d between ensembles over √2.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gridflow.case.thresholds import Threshold
from gridflow.space.factor import Array
from gridflow.verdict.ensembles import Series
from gridflow.verdict.experiment import Experiment
from gridflow.verdict.start import LAGS

NULL_LEVEL = 0.95
ORDER_MIN, ORDER_MAX = 0.5, 2.0
"""Observed orders are believed between these: finite volumes have order 2; below ½ nothing converges yet."""
ORDER_KINK = 1.0
SAFETY, SAFETY_UNRESOLVED = 1.25, 3.0
SLOPE, SLOPE_MARGIN, SLOPE_ERROR_MAX = -0.5, 0.1, 0.1
BLOCKS, STUDENT = 4, 3.18
"""Groups of ensembles, each with a slope of its own: their scatter is the standard error, with three degrees of freedom."""
NEGLIGIBLE = 1e-9
"""Share of a threshold below which differences are round-off."""


@dataclass(frozen=True)
class Diagnostic:
    """A number of the grid's state at the end, and the limit that the case sets, if it does."""

    name: str
    value: float
    limit: Threshold | None

    @property
    def threshold(self) -> float:
        """Largest value tolerated; NaN where the case sets none."""
        return np.nan if self.limit is None else self.limit.threshold

    @property
    def reason(self) -> str:
        """Why that value; empty where the case sets none."""
        return "" if self.limit is None else self.limit.reason

    @property
    def outcome(self) -> str:
        """pass, fail or not judged."""
        return "not judged" if self.limit is None else "pass" if self.value <= self.limit.threshold else "fail"


@dataclass(frozen=True)
class Judgement:
    """Arrays over (n_quantities, n_times), and over n_quantities where said.

    limit : the thresholds of the case, scaled; error : e, with its observed `order`; distance : mean of the verdict ensembles to
    the grid, at most `allowed` where they are `consistent`; resolution : q + τ; worth : N*
    """

    experiment: Experiment
    diagnostics: list[Diagnostic]
    limit: Array  # (n_quantities,)
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

    @property
    def verdict(self) -> str:
        """pass, fail or inconclusive: of all quantities, of the start and of the diagnostics that are judged.

        Inconclusive at best with mass at walls that cut off an unbounded space: grid and particles share them.
        """
        outcomes = {*self.outcome, *self.experiment.start.outcome, *(d.outcome for d in self.diagnostics)} - {"not judged"}
        outcomes |= {"inconclusive"} if self.experiment.grids.at_walls else set()
        return "fail" if "fail" in outcomes else "pass" if outcomes == {"pass"} else "inconclusive"

    @property
    def outcome(self) -> list[str]:
        """pass, fail or inconclusive, by quantity."""
        numbers = range(self.limit.size)
        return ["fail" if self.failures(k) else "inconclusive" if self.doubts(k) else "pass" for k in numbers]

    @property
    def reason(self) -> list[str]:
        """Why a quantity does not pass; empty where it does."""
        return ["; ".join(self.failures(k) or self.doubts(k)) for k in range(self.limit.size)]

    def failures(self, k: int) -> list[str]:
        """What is wrong in quantity k, in words."""
        quantity, limit, exact, found = self.experiment.plan.quantities[k], self.limit[k], self.experiment.grids.exact, []
        if not self.consistent[k].all():
            ratio = (self.distance[k] / self.allowed[k]).max()
            found.append(f"{ratio:.2g} times farther from the particles than allowed")
        if not self.random_consistent[k].all() and quantity.kind != "energy":  # which is biased by O(1/N)
            wrong = sorted({self.experiment.random[n].count for n in np.nonzero(~self.random_consistent[k])[1]})
            found.append(f"inconsistent with random ensembles of {', '.join(map(str, wrong))}")
        if self.error[k].max() > limit:
            found.append(f"estimated error {self.error[k].max():.2g} above the threshold {limit:.2g}")
        if exact is not None and exact[k].max() > limit:
            found.append(f"error against the exact solution {exact[k].max():.2g} above the threshold {limit:.2g}")
        beyond = abs(self.slope[k] - SLOPE) - SLOPE_MARGIN - STUDENT * self.slope_error[k]
        if quantity.has_rate and beyond > 0 and self.slope_error[k] <= SLOPE_ERROR_MAX:
            found.append(f"slope in N {self.slope[k]:.2f} ± {self.slope_error[k]:.2f}, not {SLOPE} ± {SLOPE_MARGIN}")
        return found

    def doubts(self, k: int) -> list[str]:
        """Why nothing can be said about quantity k."""
        limit, resolution, slope_error, found = self.limit[k], self.resolution[k].max(), self.slope_error[k], []
        if resolution > limit:
            more = "raise particles.verdict" if self.experiment.random else "take more particles in each ensemble"
            found.append(f"the particles resolve {resolution:.2g} only, the threshold is {limit:.2g}: {more}")
        if self.experiment.plan.quantities[k].has_rate and slope_error > SLOPE_ERROR_MAX:
            found.append(f"the slope in N is known to ± {slope_error:.2f} only: raise particles.ensembles or spread the counts")
        return found


def judge(experiment: Experiment, scale: float = 1.0) -> Judgement:
    """What an experiment shows, by the thresholds of its case times `scale`."""
    plan, grids, random = experiment.plan, experiment.grids, experiment.random
    validation = plan.case.validation
    thresholds = validation.thresholds()
    limit = np.array([thresholds[q.kind].threshold * scale for q in plan.quantities])
    diagnostics = [Diagnostic(name, value, validation.diagnostics.get(name)) for name, value in grids.diagnostics.items()]
    floor = NEGLIGIBLE * limit[:, None]
    error, order = grid_error(grids.coarse)
    bound = error_bound(grids.coarse, plan.problem.bound.smooth)
    worst = np.maximum(floor, error if grids.exact is None else np.maximum(error, grids.exact))
    if experiment.verdict is None:
        return judgement_of_grids(experiment, diagnostics, limit, error, order, bound)
    resolution = null_quantile(experiment.verdict) + experiment.verdict.time_step + floor
    allowed = bound + resolution
    distance = experiment.verdict.distance.mean(axis=-1)
    random_allowed = [bound + null_quantile(s) + s.time_step + floor for s in random]
    with np.errstate(divide="ignore"):
        detects = np.where(grids.sensitivity > 0, 2 * allowed / grids.sensitivity, np.inf)
    shown = random or [experiment.verdict]  # of a user's own particles there is one N
    counts = np.array([s.count for s in shown], dtype=float)
    sampling = np.stack([s.null.mean(axis=-1) / np.sqrt(2) for s in shown], axis=-1)  # (q, t, n_counts)
    slope, constants = rate_of_sampling(counts, sampling)
    worth = ((constants / worst) ** 2).min(axis=-1)
    has_rate = np.array([q.has_rate for q in plan.quantities])
    agree = [s.distance.mean(axis=-1) <= a for s, a in zip(random, random_allowed, strict=True)]
    return Judgement(
        experiment,
        diagnostics,
        limit,
        error,
        order,
        allowed,
        distance,
        resolution,
        consistent=distance <= allowed,
        random_consistent=np.stack(agree, axis=-1) if random else np.ones((*distance.shape, 0), dtype=bool),
        detects=detects,
        slope=slope,
        slope_error=slope_error(counts, [s.null for s in shown]),
        worth=worth if random else np.where(has_rate, worth, np.nan),
    )


def judgement_of_grids(
    experiment: Experiment, diagnostics: list[Diagnostic], limit: Array, error: Array, order: Array, bound: Array
) -> Judgement:
    """The same without particles: errors of the grid and diagnostics are judged, and nothing can be inconsistent."""
    quantities, times = error.shape
    everywhere, unknown = np.ones(error.shape, dtype=bool), np.full(quantities, np.nan)
    return Judgement(
        experiment,
        diagnostics,
        limit,
        error,
        order,
        allowed=bound,
        distance=np.zeros(error.shape),
        resolution=np.zeros(error.shape),
        consistent=everywhere,
        random_consistent=np.ones((quantities, times, 0), dtype=bool),
        detects=np.full(error.shape, np.inf),
        slope=unknown,
        slope_error=np.zeros(quantities),
        worth=unknown,
    )


def null_quantile(series: Series) -> Array:
    """Sampling error q: the 95 % quantile of the distance between two ensembles, (n_quantities, n_times)."""
    return np.quantile(series.null, NULL_LEVEL, axis=-1)


def grid_error(coarse: Array, order_max: float = ORDER_MAX) -> tuple[Array, Array]:
    """(e, observed order), from distances [d(h, 2h), d(2h, 4h)] of any shape."""
    fine, wide = np.maximum(coarse, 1e-150)  # equal grids: a ratio without overflow
    order = np.clip(np.log2(wide / fine), ORDER_MIN, order_max)
    # a distance that is small by chance (a difference that changes its sign) does not make a small error
    return np.maximum(fine, wide / 2**order) / (2**order - 1), order


def error_bound(coarse: Array, smooth: bool) -> Array:
    """Bound e⁺ of the error, from the same distances."""
    error, order = grid_error(coarse, ORDER_MAX if smooth else ORDER_KINK)
    return np.where(order > ORDER_MIN, SAFETY, SAFETY_UNRESOLVED) * error


def rate_of_sampling(counts: Array, sampling: Array) -> tuple[Array, Array]:
    """(slope of log sampling error in log N, mean over times, (n_quantities,); c = √N·error, geometric mean over N, (q, t)).

    The slope is NaN for one N.
    """
    x = np.log(counts) - np.log(counts).mean()
    logs = np.log(np.maximum(sampling, np.finfo(float).tiny))
    slope = (logs @ x / (x @ x)).mean(axis=-1) if counts.size > 1 else np.full(len(logs), np.nan)
    return slope, np.exp((logs + 0.5 * np.log(counts)).mean(axis=-1))


def slope_error(counts: Array, nulls: list[Array]) -> Array:
    """Standard error of the slope from the slopes of `BLOCKS` groups of pairs, (n_quantities,)."""
    ensembles = nulls[0].shape[-1] // len(LAGS)
    first = np.arange(nulls[0].shape[-1]) % ensembles  # pairs are ordered by lag, then by their first ensemble
    groups = [first * BLOCKS // ensembles == g for g in range(BLOCKS)]
    slopes = [rate_of_sampling(counts, np.stack([n[..., g].mean(axis=-1) for n in nulls], axis=-1))[0] for g in groups]
    return np.std(slopes, axis=0, ddof=1) / np.sqrt(BLOCKS)
