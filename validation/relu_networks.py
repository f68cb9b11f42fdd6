"""Three ReLU networks as densities: fixed signs (S2 §8), both layers with weight decay (S2 §9), two scales (S2 §10.3.1).

Signs, f(x) = ∫ s (wx + b)₊ dρ, s = ±1. A neuron with any output weight α is one of these, at (|α|w, |α|b) and with the sign of α.
From independent standard normal (w, b) and signs the sum (1/m) Σ_i s_i (w_i x + b_i)₊ differs from f by the sampling error,
of variance (1 + x²)/(2m). Moving mass on the grid is moving neurons, and the density fits the regression.

Weight decay, E = ½ Σ_j μ_j (f(x_j) − y_j)² + λ∫(|w|² + α²) dρ, f(x) = ∫ α⟨w, (x, 1)⟩₊ dρ. The loss moves w along αg(w) and α
along ⟨w, g(w)⟩, which keeps |w|² − α², and the decay moves w by −2λw, α by −2λα. Hence, neuron by neuron and for ∫ … dρ,

    d/dt (|w|² − α²) = −4λ (|w|² − α²).

Two scales, labels s = ±s₁, ±s₂: a neuron moves with s g(w), its dissipation is s²|g(w)|². If every neuron is there at both
scales, the large ones start s₂/s₁ times faster and with the share s₂²/(s₁² + s₂²) of the dissipation.

Findings: the law of the decay holds for particles up to the step, and on a grid as long as the velocity is smooth. Where neurons
slide along kinks ⟨w, (x_j, 1)⟩ = 0 the grid loses |w|² − α² too fast, 1.4 % of it until t = 2 on the cells of the case.
"""

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

import gridflow
from gridflow.case.shipped import shipped_directory
from gridflow.particles.cloud import Cloud
from gridflow.particles.integrator import RungeKutta2
from gridflow.particles.simulation import Simulator
from validation.claim import Claim

PICTURE = "relu-networks.png"
COUNTS = (64, 256, 1024)
ROUNDOFF = 1e-12
"""Relative, of sums of some thousand terms in any order: these times the unit round-off 1e-16."""


def column(case, name):
    return list(case.grid().order).index(name)


def coarser(case, names, part):
    return {f"space.{n}.cells": round(case.space[n].cells * part) for n in names}


# ------------------------------------------------------------------------------------------------- S2 §8: fixed signs
def loss_of_best_line(dataset):
    inputs, targets = dataset["input"].to_numpy().ravel(), dataset["target"].to_numpy()
    root = np.sqrt(dataset["data_weight"].to_numpy())
    table = np.stack([inputs, np.ones_like(inputs)], axis=1) * root[:, None]
    line = np.linalg.lstsq(table, targets * root, rcond=None)[0]
    return 0.5 * float(((table @ line - targets * root) ** 2).sum()), line


def signs(quick):
    """What the claims of S2 §8 and the picture need."""
    case = gridflow.load_case("relu-regression")
    case = case.replace(coarser(case, ("w", "b"), 0.5 if quick else 1.0))
    dataset, simulator, times = gridflow.solve(case), Simulator.of(case), [0.0, case.time.stop]
    many = simulator.run(8192, times=times, sampling="sobol").prediction[-1, :, 0]
    seeds = 64 if quick else 256
    start = [simulator.run(n, times=[0.0, 0.1], seed=1000 * n + k).prediction[0, :, 0] for n in COUNTS for k in range(seeds)]
    variance = (1 + dataset["input"].to_numpy().ravel() ** 2) / 2
    scores = np.array(start) * np.sqrt(np.repeat(COUNTS, seeds)[:, None] / variance)
    least, line = loss_of_best_line(dataset)
    return {
        "dataset": dataset,
        "line": line,
        "over_line": float(dataset["energy"][-1]) / least,
        "beside": float(np.abs(dataset["prediction"].to_numpy()[-1] - many).max()),
        "width": float(np.diff(dataset["w"].to_numpy()[:2])[0]),
        "score": float(np.sqrt((scores**2).mean())),
        "networks": len(scores),
        "stop": times[-1],
    }


def difference_of_fixed_signs(case, points, weights):
    """Predictions of neurons (w, b, α), and of (|α|w, |α|b) with the sign of α fixed: their difference over their size."""
    w, b, alpha = (points[:, column(case, n)] for n in ("w", "b", "alpha"))
    points_file = str(shipped_directory() / "data" / "five-points.csv")
    data = {"energy.data.file": points_file, "energy.data.inputs": ["x"]}
    fixed = gridflow.load_case("relu-regression").replace(data | {"energy.data.targets": ["y"], "energy.data.standardize": False})
    mapped = np.empty_like(points)
    for name, values in {"w": np.abs(alpha) * w, "b": np.abs(alpha) * b, "sign": np.sign(alpha)}.items():
        mapped[:, column(fixed, name)] = values
    trained, same = (Simulator.of(c).energy.evaluate(p, weights).prediction for c, p in ((case, points), (fixed, mapped)))
    return float(np.abs(trained - same).max() / np.abs(trained).max())


# ----------------------------------------------------------------------------------------------- S2 §9: weight decay
def excess(case, points):
    """|w|² − α² of every neuron, the bias a weight, (…, n_particles)."""
    w, b, alpha = (points[..., column(case, n)] for n in ("w", "b", "alpha"))
    return w**2 + b**2 - alpha**2


def rate(values, time, decay):
    """c of exp(−cλt) from its first and last value."""
    return float(-np.log(values[-1] / values[0]) / (decay * time[-1]))


def decay_of_grid(case, part):
    """(time, ∫(|w|² − α²) dρ) until t = 2 on `part` of the cells along each axis."""
    changes = coarser(case, ("w", "b", "alpha"), part) | {"time.stop": 2.0, "time.save": 5}
    dataset = gridflow.solve(case.replace(changes))
    mass = dataset["density"] * dataset["cell_volume"]
    total = ((dataset["w"] ** 2 + dataset["b"] ** 2 - dataset["alpha"] ** 2) * mass).sum(["w", "b", "alpha"])
    return dataset["time"].to_numpy(), total.to_numpy()


def weight_decay(quick):
    """What the claims of S2 §9 and the picture need."""
    case = gridflow.load_case("relu-weight-decay")
    decay, simulator = case.energy.decay, Simulator.of(case)
    times = np.linspace(0.0, case.time.stop, 9)
    count, step = (1024, 0.025) if quick else (8192, 0.0125)
    runs = [simulator.run(count, times=list(times), sampling="sobol", integrator=RungeKutta2(h)) for h in (2 * step, step)]
    found = [excess(case, run.points) for run in runs]
    coarse, fine = (rate(values.mean(axis=1), times, decay) for values in found)
    law = found[1][0] * np.exp(-4 * decay * times)[:, None]
    parts = (0.5, 1.0) if quick else (1.0, 1.5)
    grids = [decay_of_grid(case, part) for part in parts]
    wide, narrow = (rate(values[:2], time[:2], decay) for time, values in grids)  # until t = 0.5
    correction = (narrow - wide) / ((parts[1] / parts[0]) ** 2 - 1)
    return {
        "case": case,
        "trained": (runs[1].points[-1], runs[1].weights),
        "times": times,
        "particles": found[1].mean(axis=1),
        "step": step,
        "rate": fine,
        "change": abs(fine - coarse),
        "worst": float((np.abs(found[1] - law) / (runs[1].points[0] ** 2).sum(axis=1)).max()),
        "grid": narrow + correction,
        "correction": abs(correction),
        "grids": dict(zip(parts, grids, strict=True)),
    }


# ------------------------------------------------------------------------------------------------- S2 §10.3.1: scales
def scaled_cloud(case, neurons, labels):
    """Every neuron (w, b) at each of the scales."""
    points = np.empty((len(neurons) * len(labels), 3))
    points[:, column(case, "w")], points[:, column(case, "b")] = np.tile(neurons, (len(labels), 1)).T
    points[:, column(case, "scale")] = np.repeat(labels, len(neurons))
    return Cloud(points, np.full(len(points), 1 / len(points)))


def scales(quick):
    """What the claims of S2 §10.3.1 and the picture need."""
    case = gridflow.load_case("relu-two-scales")
    simulator, times = Simulator.of(case), np.linspace(0.0, case.time.stop, 81)
    labels = np.array(case.space["scale"].values)
    small, large = np.abs(labels).min(), np.abs(labels).max()
    neurons = np.random.default_rng(1).normal(size=(512 if quick else 4096, 2))
    choices = {"both": labels, "small": labels[np.abs(labels) == small], "large": labels[np.abs(labels) == large]}
    runs = {n: simulator.run(scaled_cloud(case, neurons, c), times=list(times)) for n, c in choices.items()}
    run = runs["both"]
    squared = np.array([(simulator.energy.evaluate(p, run.weights).gradient ** 2).sum(axis=1) for p in run.points])
    is_large = np.abs(run.points[0, :, column(case, "scale")]) == large
    dissipation = np.stack([squared[:, ~is_large] @ run.weights[~is_large], squared[:, is_large] @ run.weights[is_large]])
    moved = np.linalg.norm(run.points[-1] - run.points[0], axis=1)
    fallen = np.trapezoid(dissipation, times, axis=1)
    speeds = np.sqrt(squared[0])
    return {
        "times": times,
        "losses": {n: r.energy for n, r in runs.items()},
        "scale": (float(small), float(large)),
        "speeds": float(speeds[is_large].mean() / speeds[~is_large].mean()),
        "moved": float(moved[is_large].mean() / moved[~is_large].mean()),
        "shares": dissipation[1] / dissipation.sum(axis=0),
        "share": float(fallen[1] / fallen.sum()),
        "balance": float(fallen.sum() / (run.energy[0] - run.energy[-1])),
    }


# ------------------------------------------------------------------------------------------------------------ results
def draw(directory, one, decay, two):
    figure = Figure(figsize=(13.5, 4.2), layout="constrained")
    fit, law, loss = figure.subplots(1, 3)
    data = one["dataset"].isel(time=-1)
    order = np.argsort(data["input"].to_numpy().ravel())
    x = data["input"].to_numpy().ravel()[order]
    fit.plot(x, data["target"].to_numpy()[order], "o", ms=4, color="0.5", label="data")
    fit.plot(x, one["line"][0] * x + one["line"][1], "k:", label="best straight line")
    fit.plot(x, data["prediction"].to_numpy()[order], color="C0", label=f"density of two signs, t = {one['stop']:g}")
    fit.set(xlabel="input (standardised)", ylabel="output (standardised)", title="S2 §8: regression by a density")
    times, rate_of_law = decay["times"], 4 * decay["case"].energy.decay
    for (part, (time, values)), style in zip(decay["grids"].items(), ("s--", "^-"), strict=True):
        deviation = values / values[0] * np.exp(rate_of_law * time) - 1
        law.plot(time, 100 * deviation, style, ms=5, color="C0", label=f"grid, {part:g} × the cells of an axis")
    deviation = decay["particles"] / decay["particles"][0] * np.exp(rate_of_law * times) - 1
    law.plot(times, 100 * deviation, "o-", ms=4, color="C1", label=f"particles, step {decay['step']:g}")
    law.axhline(0.0, color="k", ls=":", lw=1)
    law.set(xlabel="time", ylabel="∫(|w|² − α²)dρ beside exp(−4λt), %", title="S2 §9: weight decay", ylim=(-2, 2.5))
    names = {"both": "every neuron at both scales", "small": "small scale alone", "large": "large scale alone"}
    for (key, name), style in zip(names.items(), ("-", "--", ":"), strict=True):
        loss.semilogy(two["times"], two["losses"][key], style, color={"both": "C0", "small": "C1", "large": "k"}[key], label=name)
    loss.set(xlabel="time", ylabel="loss", title="S2 §10.3.1: two scales")
    for axes in figure.axes:
        axes.legend(fontsize="small")
    figure.savefig(directory / PICTURE, dpi=90)


def claims_of_signs(one, mapped):
    width, spread = one["width"], 2 / np.sqrt(2 * one["networks"])
    return [
        Claim(
            name="signs-expressivity",
            source="S2 §8",
            says="With both signs fixed the network keeps its expressivity: α scales the first layer.",
            quantity="largest relative difference of predictions of a trained network with output weights and its image",
            value=mapped,
            band=(0.0, ROUNDOFF),
            reason="an identity, neuron by neuron: round-off of the sums",
            opposite=(0.01, np.inf),
            pictures=(PICTURE,),
        ),
        Claim(
            name="signs-moved-mass",
            source="S2 §8",
            says="On a grid the change of a neuron is a displacement of mass.",
            quantity=f"largest difference of predictions between density and 8192 moving neurons at t = {one['stop']:g}",
            value=one["beside"],
            band=(0.0, width),
            reason=f"a cell, {width:g}: order 1, since the velocity jumps where a datum becomes active; targets have deviation 1",
            pictures=(PICTURE,),
        ),
        Claim(
            name="signs-neurons",
            source="S2 §8",
            says="The integral over the measure has the output of the network of m neurons.",
            quantity=f"RMS of predictions of networks of {COUNTS[0]} to {COUNTS[-1]} neurons at the start over √((1 + x²)/(2m))",
            value=one["score"],
            band=(1 - spread, 1 + spread),
            reason=f"1, the sampling error about 0; two standard errors of {one['networks']} networks, a number each",
            pictures=(PICTURE,),
        ),
        Claim(
            name="signs-regression",
            source="S2 §8",
            says="The network of two signs on a grid learns a regression.",
            quantity=f"loss at t = {one['stop']:g} over that of the best straight line",
            value=one["over_line"],
            band=(0.0, 1.0 - width),
            reason="below a line the network uses its kinks; resolved to a cell",
            opposite=(1.0, np.inf),
            pictures=(PICTURE,),
        ),
    ]


def claims_of_decay(decay):
    common = {"source": "S2 §9", "says": "Both layers are trained, with weight decay λ(|w|² + α²).", "pictures": (PICTURE,)}
    return [
        Claim(
            name="decay-particles",
            quantity="c of the decay e^{−cλt} of the mean of |w|² − α² over neurons",
            value=decay["rate"],
            band=(4 - 2 * decay["change"], 4 + 2 * decay["change"]),
            reason="4 for every loss; twice what halving the step changed, the error of order 1 or better",
            opposite=(-np.inf, 0.0),
            **common,
        ),
        Claim(
            name="decay-each-neuron",
            quantity="largest difference of |w|² − α² from the law over |w|² + α² at the start, over neurons and times",
            value=decay["worst"],
            band=(0.0, decay["step"]),
            reason="the step: Heun's method is of order 1 for neurons that slide along a kink; velocities are of order 1",
            opposite=(0.5, np.inf),
            **common,
        ),
        Claim(
            name="decay-grid",
            quantity="c of the decay e^{−cλt} of ∫(|w|² − α²)dρ until t = 0.5, extrapolated from two grids with order 2",
            value=decay["grid"],
            band=(4 - decay["correction"], 4 + decay["correction"]),
            reason="4; the correction by the extrapolation, the error of the finer grid",
            opposite=(-np.inf, 0.0),
            finding="Later, when neurons slide along kinks, the grid loses |w|² − α² too fast; finer cells have not mended it.",
            **common,
        ),
    ]


def claims_of_scales(two):
    small, large = two["scale"]
    ratio = large / small
    start = large**2 / (small**2 + large**2)
    common = {"source": "S2 §10.3.1", "pictures": (PICTURE,)}
    return [
        Claim(
            name="scales-speed",
            says="Each neuron is there at a small and at a large scale, which set how fast its copies train (our reading).",
            quantity=f"mean speed of neurons at the scale {large:g} over that at {small:g}, at the start, over {ratio:g}",
            value=two["speeds"] / ratio,
            band=(1 - ROUNDOFF, 1 + ROUNDOFF),
            reason="the velocity is the scale times a field of (w, b): round-off",
            opposite=(0.0, 1 / ratio),
            **common,
        ),
        Claim(
            name="scales-share",
            says="Of the two copies of a neuron the large one does most of the fitting (our reading; the source shows no run).",
            quantity=f"share of the fall of the loss through neurons at the large scale; of its slope at the start {start:.3f}",
            value=two["share"],
            band=(0.5, 1.0),
            reason="most: more than half",
            opposite=(0.0, 0.5 - 1e-3),
            **common,
        ),
        Claim(
            name="scales-duplicates",
            says="One solution where the grid dictates the scale: duplicate each neuron, at a small and at a very big scale.",
            quantity="loss left with both scales over that with the small one alone, at the stop of the case",
            value=float(two["losses"]["both"][-1] / two["losses"]["small"][-1]),
            band=(0.0, 0.5),
            reason="1 where duplicates do not help; at the start both learn (1 + s₂²/s₁²)/2 times faster than the small one",
            opposite=(1.0, np.inf),
            **common,
        ),
    ]


def reproduce(directory: Path, quick: bool) -> list[Claim]:
    one, decay, two = signs(quick), weight_decay(quick), scales(quick)
    mapped = difference_of_fixed_signs(decay["case"], *decay["trained"])
    print(f"signs: over line {one['over_line']:.4f}, beside {one['beside']:.2e}, score {one['score']:.4f}, mapped {mapped:.1e}")
    print(f"decay: particles {decay['rate']:.5f} ± {decay['change']:.5f}, worst {decay['worst']:.2e}, grid {decay['grid']:.4f}")
    for time, values in decay["grids"].values():
        print("  grid beside the law", values / values[0] * np.exp(4 * decay["case"].energy.decay * time) - 1)
    print(f"scales: speeds {two['speeds']:.6f}, paths {two['moved']:.3f}, share {two['share']:.4f}, balance {two['balance']:.4f}")
    print("  shares of the dissipation", two["shares"][::10], "losses", {n: e[[0, -1]] for n, e in two["losses"].items()})
    draw(directory, one, decay, two)
    return claims_of_signs(one, mapped) + claims_of_decay(decay) + claims_of_scales(two)
