"""Wide residual networks, their linear and quadratic approximation, and what the linear one determines (S3 §3.2, Theorem 4).

S3 (9) expands the wide network in its parameters: k-linear terms are of order radius^k, so that the errors of the linear and the
quadratic approximation fall like radius² and radius³. Measured with a wide network of four layers with random neurons, for inputs
on the line and in the plane.

Theorem 4: a stationary density of the linear approximation obeys (11), which speaks of the marginal over the depth alone. In
wide-resnet-linear the teacher turns one way with the depth and the student the other; the student learns the marginal as far as
the loss determines it (mode by mode), and keeps its own order.

Findings. All shown, also in the plane. Neurons may exchange their depths without any change of the loss and of ξ.
"""

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

import gridflow
from gridflow.energy.resnet.particles import FORWARD, Neurons
from gridflow.space.mixture import mixture_masses
from validation.claim import Claim

LAYERS, WIDTH = 4, 32
RADII = np.array([0.16, 0.08, 0.04, 0.02])
BLUE, ORANGE, GREEN = "#0072B2", "#D55E00", "#009E73"
INF = float("inf")


def approximation_errors(dim):
    """Largest errors of the predictions, (n_radii, 2), linear and quadratic, of random neurons with a mean that is not 0."""
    rng = np.random.default_rng(dim)
    shape = (LAYERS * WIDTH, dim, dim)
    theta, inputs = 0.5 + 0.5 * rng.uniform(-1, 1, shape), rng.uniform(-2, 2, (dim, 40))
    depth, weights = np.repeat(np.arange(LAYERS) + 0.5, WIDTH) / LAYERS, np.full(LAYERS * WIDTH, 1 / (LAYERS * WIDTH))
    found = []
    for radius in RADII:
        neurons = Neurons(radius * theta, depth, weights)
        f = {model: FORWARD[model]("tanh", neurons, inputs, 0.0)[0] for model in ("wide", "linear", "quadratic")}
        found.append([np.abs(f[model] - f["wide"]).max() for model in ("linear", "quadratic")])
    return np.array(found)


def masses_of(case, dataset):
    """Masses (n_depth, n_theta) of the teacher, the student at the start and at the end."""
    grid = case.grid()
    teacher = mixture_masses(case.energy.data.density, grid, Path(), "teacher")
    student = dataset["density"].transpose("time", *grid.order).to_numpy() * grid.volume
    turned = (lambda m: m) if grid.order == ("depth", "theta") else np.transpose
    return tuple(turned(m) for m in (teacher, student[0], student[-1]))


def order(masses, grid):
    """Slope of the mean of θ over the depth by least squares, of masses (n_depth, n_theta)."""
    depth, theta = (grid.factors[grid.order.index(name)].points for name in ("depth", "theta"))
    return float(np.polyfit(depth, masses @ theta / masses.sum(axis=1), 1)[0])


def exchange(case):
    """Largest change of ξ and of E, relative to their size, when the neurons exchange their depths ε → 1 − ε."""
    grid = case.grid()
    bound = case.energy.load(Path(case.directory)).bind(grid)
    masses = mixture_masses(case.initial, grid, Path(), "initial")
    first, second = (bound.evaluate(m) for m in (masses, np.flip(masses, axis=grid.order.index("depth"))))
    xi = np.abs(first.first_variation - second.first_variation).max() / np.abs(first.first_variation).max()
    return max(float(xi), abs(first.value / second.value - 1))


def draw(errors, dataset, masses, grid, path):
    figure = Figure(figsize=(13.5, 4), layout="constrained")
    powers, means, marginals = figure.subplots(1, 3)
    for dim, marker in ((1, "o"), (2, "s")):
        for k, (label, colour) in enumerate((("linear", BLUE), ("quadratic", ORANGE))):
            powers.loglog(RADII, errors[dim][:, k], marker + "-", color=colour, label=f"{label}, d = {dim}")
    for power, scale in ((2, errors[2][0, 0]), (3, errors[2][0, 1])):
        powers.loglog(RADII, 2 * scale * (RADII / RADII[0]) ** power, "k:", label=f"radius$^{power}$")
    powers.set(
        xlabel="radius of the parameters", ylabel="error of the prediction", title="against the wide ResNet of four layers"
    )
    powers.set(xticks=RADII, xticklabels=[f"{r:g}" for r in RADII], ylim=(5e-8, 3))
    powers.minorticks_off()
    depth, theta = (grid.factors[grid.order.index(name)].points for name in ("depth", "theta"))
    for m, label, style in zip(masses, ("teacher", "student, start", "student, end"), ("k--", BLUE, ORANGE), strict=True):
        line = {"ls": "--", "color": "k"} if style == "k--" else {"color": style}
        means.plot(depth, m @ theta / m.sum(axis=1), label=label, **line)
        marginals.plot(theta, m.sum(axis=0) / (theta[1] - theta[0]), label=label, **line)
    means.set(xlabel="depth ε", ylabel="mean of θ", title="wide-resnet-linear: the order is that of the start")
    marginals.set(
        xlabel="θ",
        ylabel="marginal density",
        title=f"marginals over the depth, t = {float(dataset['time'][-1]):g}",
        ylim=(0, 2),
    )
    powers.legend(fontsize="small", ncols=2, loc="upper left")
    for axes in (means, marginals):
        axes.legend(fontsize="small")
    figure.savefig(path, dpi=80)


def reproduce(directory: Path, quick: bool) -> list[Claim]:
    errors = {dim: approximation_errors(dim) for dim in (1, 2)}
    slopes = {dim: np.log2(e[-2] / e[-1]) for dim, e in errors.items()}
    print("slopes of the errors between the two smallest radii:", {dim: s.tolist() for dim, s in slopes.items()})
    changes = {"time.stop": 60.0, "time.save": 21, "space.theta.cells": 128 if quick else 256}
    case = gridflow.load_case("wide-resnet-linear").replace(changes)
    grid, dataset = case.grid(), gridflow.solve(case)
    masses = masses_of(case, dataset)
    orders, still = [order(m, grid) for m in masses], exchange(case)
    print(
        f"slopes of the mean of θ over the depth: teacher, start, end {orders}; exchange of depths changes ξ and E by {still:.2g}"
    )
    for name in ("energy", "condition_defect", "determined_modes", "determined_defect", "mode_ratio_max"):
        print(f"  {name}: {float(dataset[name][0]):.4g} → {float(dataset[name][-1]):.4g}")
    draw(errors, dataset, masses, grid, directory / "resnet-approximations.png")
    pictures = ("resnet-approximations.png",)
    reason = "the next power enters with a relative weight of the radius 0.02 to 0.04, times factors of order one"
    return [
        *(
            Claim(
                f"resnet-{name}-error-{dim}d",
                "S3 §3.2",
                f"For small parameters the {name} approximation leaves terms of order {power}.",
                f"power of the radius with which its error falls, inputs in R^{dim}",
                float(slopes[dim][power - 2]),
                (power - 0.1, power + 0.1),
                reason,
                (0.0, power - 0.8),
                pictures=pictures,
            )
            for dim in (1, 2)
            for power, name in ((2, "linear"), (3, "quadratic"))
        ),
        Claim(
            "resnet-linear-modes",
            "S3 Theorem 4",
            "A stationary density obeys (11): at a loss E, mode by mode of the marginal.",
            "largest |c_i| over √(2E)/s_i, over all saves",
            float(dataset["mode_ratio_max"].max()),
            (0.0, 1.0001),
            "at most 1, up to round-off",
            (1.1, INF),
        ),
        Claim(
            "resnet-linear-modes-found",
            "S3 Theorem 4",
            "The loss falls, and with it what is left of (11).",
            "modes that the loss determines to 0.05 at the end and not at the start",
            float(dataset["determined_modes"][-1] - dataset["determined_modes"][0]),
            (1.0, INF),
            "at least one",
        ),
        Claim(
            "resnet-linear-exchange",
            "S3 Theorem 4",
            "Only the marginal over the depth is determined.",
            "largest relative change of E and ξ when all neurons exchange their depths",
            still,
            (0.0, 1e-12),
            "round-off",
            (1e-3, INF),
        ),
        Claim(
            "resnet-linear-order",
            "S3 Theorem 4",
            "Only the marginal over the depth is determined.",
            "slope of the mean of θ over the depth at the end, over that of the teacher",
            orders[2] / orders[0],
            (-INF, 0.0),
            "negative as at the start: neurons keep their depth and their order; 1 if the depth were determined",
            (0.9, INF),
            pictures=pictures,
        ),
    ]
