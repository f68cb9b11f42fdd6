"""Is batch normalisation less sensitive to the learning rate (S1 §4.2)? How many decades of rates train a network?

S1: neurons of different lengths learn at different rates, so that a network with BN finds the right one among its neurons and
depends less on the rate that is given. Gradient descent θ ← θ + η v of neurons (a, b) in R × R², data and teacher of
bn-circle, with and without BN, over six decades of η. A rate counts where the loss at the end is at most 1 % of that of no
network at all. Two sweeps: one rate for all parameters, as S1 means it; and a rate for b alone, that of a being fixed, since only
b is normalised. Two starts: unit neurons, and lengths spread evenly over 0.1 to 10 in logarithms.

With one rate for all the range with BN is not wider by a decade, it lies at larger rates; with a rate for b alone no rate
diverges, as S1 argues.

What bounds the range: slow rates have not learned at the end,
in either model; fast ones diverge. Without BN all parameters do. With
BN b cannot: a step that is too long makes b longer, and the next one shorter (S1 §4.3). The rate of a alone has a limit,
2/λ, λ the largest eigenvalue of (1/N)Σ_i E σ(b̄_iᵀx)σ(b̄_jᵀx); without BN λ contains ‖b‖_Σ².
"""

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from validation.bn_first_step import Plane, plane
from validation.claim import Claim

DECADES = (-3.0, 3.0)
GOAL = 0.01
RATE_OF_A = 0.1
STEPS = 500
SWEEPS = ("unit", "all"), ("spread", "all"), ("spread", "b")
RESOLUTION = 1.0
"""Decades. Less is no difference: the range of either model moves by nearly as much with the neurons, the data and the steps."""
FINDINGS = {
    "unit-all": "With BN larger rates train and small ones no longer do: the range moves, and widens by less than a decade.",
    "spread-all": "BN gains from larger rates, not from its mixture of lengths: less than a decade with one rate for all.",
    "spread-b": "With BN no rate of b diverges, up to a thousand; without BN rates from about ten on do.",
}
HUGE = 1e6
"""A run with a parameter beyond diverges: targets are of order one."""
PICTURE = ("bn-learning-rate.png",)


def descend(model: Plane, lengths: np.ndarray, eta: float, eta_a: float) -> float:
    """Loss after gradient descent; infinite if it diverges."""
    count = len(lengths)
    random = np.random.default_rng(1)
    cloud = model.cloud(random.normal(scale=0.5, size=count), lengths, (np.arange(count) + 0.5) * 2 * np.pi / count)
    rate = np.full(3, eta)
    rate[model.columns[0]] = eta_a
    points = cloud.points
    for _ in range(STEPS):
        points = points - rate * model.energy.evaluate(points, cloud.weights).gradient
        if not np.abs(points).max() < HUGE:
            return np.inf
    return model.energy.evaluate(points, cloud.weights).value


def starts(count: int) -> dict[str, np.ndarray]:
    """Lengths: neighbours in direction have different ones."""
    spread = np.geomspace(0.1, 10.0, count)
    return {"unit": np.ones(count), "spread": np.random.default_rng(3).permutation(spread)}


def reproduce(directory: Path, quick: bool) -> list[Claim]:
    count, per_decade = (32, 2) if quick else (64, 6)
    rates = np.logspace(*DECADES, round((DECADES[1] - DECADES[0]) * per_decade) + 1)
    changes = {"energy.data.inputs.count": 100 if quick else 300}
    models = {"with BN": plane(True, changes), "without BN": plane(False, changes)}
    data = models["with BN"].energy.data
    zero = 0.5 * float(data.weights @ data.targets[:, 0] ** 2)
    losses, decades = {}, {}
    for start, sweep in SWEEPS:
        for name, model in models.items():
            lengths, key = starts(count)[start], (start, sweep, name)
            losses[key] = np.array([descend(model, lengths, e, e if sweep == "all" else RATE_OF_A) for e in rates])
            low, high = ends(rates, losses[key] / (GOAL * zero))
            decades[key] = float(np.log10(high / low))
            near = int((losses[key] <= 10 * losses[key].min()).sum()) / per_decade
            print(f"{start:7} {sweep:4} {name:11} rates from {low:.2g} to {high:.2g}, {decades[key]:5.2f} decades,", end=" ")
            print(f"reach {GOAL:g} of the loss {zero:.3f}; best {losses[key].min():.1e}, near it {near:.2f} decades")
    draw(directory, rates, losses, zero)
    return [claim(decades, start, sweep) for start, sweep in SWEEPS]


def ends(rates: np.ndarray, loss: np.ndarray) -> tuple[float, float]:
    """Least and largest rate with a loss of at most 1: between rates, linear in logarithms below, the middle above, where runs
    diverge. Equal ends if there is none."""
    good = np.flatnonzero(loss <= 1)
    if not good.size:
        return 1.0, 1.0
    first, last, x, y = good[0], good[-1], np.log(rates), np.log(np.minimum(loss, HUGE))
    low = x[0] if first == 0 else x[first] + (x[first - 1] - x[first]) * y[first] / (y[first] - y[first - 1])
    high = x[-1] if last == len(x) - 1 else (x[last] + x[last + 1]) / 2
    return float(np.exp(low)), float(np.exp(high))


def claim(decades: dict, start: str, sweep: str) -> Claim:
    gain = decades[start, sweep, "with BN"] - decades[start, sweep, "without BN"]
    neurons = {"unit": "unit neurons", "spread": "lengths from 0.1 to 10"}[start]
    rate = {"all": "one rate for all", "b": "the rate of b alone, that of a fixed"}[sweep]
    return Claim(
        f"bn-learning-rate-{start}-{sweep}", "S1 §4.2", "Training with BN is less sensitive to the choice of the learning rate.",
        f"decades of rates that train to 1 % of the loss, more with BN than without: {neurons}, {rate}", gain, (RESOLUTION, 6.0),
        "a decade: the ranges move by nearly as much with the neurons, the data and the number of steps", opposite=(-6.0,
        -RESOLUTION), pictures=PICTURE,
        finding=FINDINGS[f"{start}-{sweep}"],
    )  # fmt: skip


def draw(directory: Path, rates: np.ndarray, losses: dict, zero: float) -> None:
    """Loss at the end against the rate, a panel for each sweep; diverged runs at the upper edge."""
    figure = Figure(figsize=(10, 4), layout="constrained")
    for axes, sweep in zip(figure.subplots(1, 2, sharey=True), ("all", "b"), strict=True):
        for (start, which, name), loss in losses.items():
            if which == sweep:
                style = {"with BN": "o-", "without BN": "s--"}[name]
                colour = {"unit": "C0", "spread": "C1"}[start]
                label = {"unit": "‖b₀‖ = 1", "spread": "‖b₀‖ from 0.1 to 10"}[start]
                axes.loglog(rates, np.minimum(loss / zero, 10), style, ms=3, color=colour, label=f"{name}, {label}")
        axes.axhline(GOAL, color="0.6", lw=1)
        title = "one learning rate for all" if sweep == "all" else f"rate of b alone, that of a is {RATE_OF_A:g}"
        axes.set(xlabel="learning rate η/N", ylim=(1e-9, 20), title=title)
    figure.axes[0].set_ylabel(f"loss after {STEPS} steps over that of no network")
    figure.axes[0].legend(fontsize="small", loc="lower left")
    figure.savefig(directory / PICTURE[0], dpi=90)
