"""Several starts of the quadratic approximation of a wide ResNet: E is quartic in ρ, and may have local minima (S3 §3.2).

S3 suggests several runs to identify ρ*. Runs of wide-resnet-quadratic start from normal densities with several means, alike at
all depths, and from two components in either order. Measured for each: the loss, the dissipation left, W1 between the marginals
of θ of student and teacher, and how much of the order of the teacher the student has, the slope of the mean of θ over the depth.

Findings. No start ends in a local minimum, all fit; but they end at different densities. The sign of the order is that of the
start, also where it is opposite to the teacher's, and marginals agree only in what the loss sees: fits do not identify ρ*.
"""

from itertools import combinations
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

import gridflow
from gridflow.space.distances import wasserstein1
from gridflow.space.mixture import mixture_masses
from validation.claim import Claim

MEANS = (-2.4, -1.2, 0.0, 1.2, 2.4)
STOP = 60.0
STYLES = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#7F7F7F")


def normal(mean: float, deviation: float = 0.3) -> dict:
    return {"kind": "normal", "mean": mean, "deviation": deviation}


def starts(case: gridflow.Case) -> dict[str, list]:
    """Initial densities by name."""
    found = {f"mean {mean:g}": [{"density": {"depth": {"kind": "uniform"}, "theta": normal(mean)}}] for mean in MEANS}
    for name, sign in (("first negative", 1.0), ("first positive", -1.0)):
        found[name] = [
            {"density": {"depth": {"kind": "cosine", "amplitude": 0.9 * s}, "theta": normal(m)}}
            for s, m in ((sign, -0.9), (-sign, 0.9))
        ]
    return found


def slope(masses: np.ndarray, grid) -> float:
    """Of the mean of θ over the depth, by least squares."""
    depth, theta = (grid.factors[grid.order.index(name)].points for name in ("depth", "theta"))
    by_depth = masses if grid.order == ("depth", "theta") else masses.T
    return float(np.polyfit(depth, by_depth @ theta / by_depth.sum(axis=1), 1)[0])


def run(case: gridflow.Case, initial: list) -> tuple:
    """Dataset and masses (n_times, n_depth, n_theta) from a start."""
    dataset = gridflow.solve(case.replace({"initial": initial}))
    return dataset, (dataset["density"] * dataset["cell_volume"]).transpose("time", *case.grid().order).to_numpy()


def reproduce(directory: Path, quick: bool) -> list[Claim]:
    case = gridflow.load_case("wide-resnet-quadratic")
    case = case.replace({"time.stop": STOP, "time.save": 31, "space.theta.cells": 96 if quick else 256})
    grid = case.grid()
    line, axis = grid.factors[grid.order.index("theta")], grid.order.index("depth")
    teacher = mixture_masses(case.energy.data.density, grid, Path(), "teacher")
    order = slope(teacher, grid)
    print(f"teacher: slope of the mean of θ over the depth {order:.3f}; the runs end at t = {STOP:g}\n")
    print(f"{'start':16s}{'loss':>10s}{'at the end':>12s}{'dissipation':>13s}{'W1 of θ':>10s}{'slope':>8s}{'at the end':>12s}")
    runs, shares, rates, slopes = {}, [], [], {}
    for name, initial in starts(case).items():
        dataset, masses = run(case, initial)
        energy, left = dataset["energy"].to_numpy(), float(dataset["dissipation"][-1])
        marginal = masses[-1].sum(axis=axis)
        away = wasserstein1(marginal, teacher.sum(axis=axis), line)
        slopes[name] = (slope(masses[0], grid), slope(masses[-1], grid))
        print(
            f"{name:16s}{energy[0]:10.4f}{energy[-1]:12.2e}{left:13.1e}{away:10.3f}{slopes[name][0]:8.3f}{slopes[name][1]:12.3f}"
        )
        runs[name] = (dataset["time"].to_numpy(), energy, marginal)
        shares.append(energy[-1] / energy[0])
        rates.append(left / energy[-1])
    apart = max(wasserstein1(a, b, line) for (_, _, a), (_, _, b) in combinations(runs.values(), 2))
    width = float(line.volumes.max())
    print(f"largest W1 between the marginals of two runs {apart:.3f}, cells of {width:.3f}")
    draw(runs, line, teacher.sum(axis=axis) / line.volumes, directory / "resnet-starts.png")
    minima = sum(share > 0.01 and rate * STOP < 0.01 for share, rate in zip(shares, rates, strict=True))
    opposite = max(end / order for start, end in slopes.values() if start / order < -0.1)
    pictures = ("resnet-starts.png",)
    return [
        Claim(
            "resnet-starts-minima",
            "S3 §3.2",
            "E is quartic in ρ, so that a stationary density might be a local minimum.",
            "starts, of seven, that end at more than a hundredth of their loss and hardly move",
            float(minima),
            (1.0, 7.0),
            "one at least",
            finding="None was found: all seven fit the teacher.",
            pictures=pictures,
        ),
        Claim(
            "resnet-starts-fit",
            "gridflow",
            "All starts fit the teacher.",
            "largest share of the loss that is left at t = 60",
            max(shares),
            (0.0, 0.01),
            "a hundredth: predictions then agree to a tenth of what they differed by",
            pictures=pictures,
        ),
        Claim(
            "resnet-starts-identify",
            "S3 §3.2",
            "Several starts might identify ρ* more efficiently.",
            "largest W1 between the marginals of θ of two fits, in cells",
            apart / width,
            (0.0, 1.0),
            "a cell",
            None,
            "Not in this model: fits differ from each other and from ρ*, in what the loss does not see.",
            pictures,
        ),
        Claim(
            "resnet-starts-order",
            "S3 §3.2",
            "Several starts might identify ρ*, with the order of its layers.",
            "order of a fit over that of the teacher, from the start of the opposite order",
            opposite,
            (0.9, 1.1),
            "1: a tenth is a twentieth of the way from −1",
            None,
            "The fit keeps the sign of its start.",
            pictures,
        ),
    ]


def draw(runs: dict, line, target: np.ndarray, path: Path) -> None:
    figure = Figure(figsize=(10.5, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    for (name, (times, energy, marginal)), colour in zip(runs.items(), STYLES, strict=True):
        left.semilogy(times, energy, color=colour, label=name)
        right.plot(line.points, marginal / line.volumes, color=colour)
    right.plot(line.points, target, "k--", label="teacher")
    left.set(xlabel="time", ylabel="loss", title="seven starts of wide-resnet-quadratic", ylim=(1e-5, 30))
    right.set(xlabel="θ", ylabel="density", title=f"marginals of θ at t = {STOP:g}", ylim=(0, 2))
    left.legend(fontsize="small", ncols=2, loc="upper right")
    right.legend()
    figure.savefig(path, dpi=85)
