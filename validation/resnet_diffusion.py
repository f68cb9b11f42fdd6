"""Neurons that diffuse in depth (the question with which S3 §4 closes).

S3 (10) is degenerate: nothing moves in ε. S3 wonders whether parameters may jump between adjacent layers. With D ∂²ρ/∂ε² beside
(10) they do: on cells of the width h, at the rate D/h² to either side.

Linear approximation: ξ does not depend on ε, all depths follow one flow in θ, and it commutes with the diffusion. So the marginal
of θ is that without diffusion, and the cosine ∫cos(πε)ρ dε, what distinguishes the layers, is exp(−Dπ²t) times that without.
Quadratic approximation (the case wide-resnet-diffusion): the order of the layers matters, and diffusion forgets it.

Findings. The decay is the predicted one, and the marginal is learned as without diffusion. In the quadratic approximation the
layers become alike in the same way; the loss falls as it does without diffusion, although the order is lost.
"""

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

import gridflow
from gridflow.space.distances import wasserstein1
from validation.claim import Claim

DIFFUSION = 0.02
STOP = 20.0
BLUE, ORANGE, GREEN = "#0072B2", "#D55E00", "#009E73"
INF = float("inf")


def pair(name, cells):
    """Datasets of a case without and with diffusion in depth."""
    case = gridflow.load_case(name).replace({"space.theta.cells": cells, "time.stop": STOP, "time.save": 21})
    return [gridflow.solve(case.replace({"flow.diffusion": d})) for d in ({}, {"depth": DIFFUSION})]


def masses_of(dataset):
    """(n_times, n_depth, n_theta)."""
    return (dataset["density"] * dataset["cell_volume"]).transpose("time", "depth", "theta").to_numpy()


def order(dataset):
    """∬θ cos(πε) dρ, (n_times,): by how much the first layers differ from the last ones."""
    return masses_of(dataset) @ dataset["theta"].to_numpy() @ np.cos(np.pi * dataset["depth"].to_numpy())


def contrast(dataset):
    """Total variation ∫|∫cos(πε)ρ dε|dθ, (n_times,)."""
    return np.abs(np.einsum("tek,e->tk", masses_of(dataset), np.cos(np.pi * dataset["depth"].to_numpy()))).sum(axis=1)


def draw(linear, quadratic, path):
    figure = Figure(figsize=(14.5, 4), layout="constrained")
    panels = figure.subplots(1, 4, width_ratios=[1, 1, 1.15, 1.15])
    for axes, dataset, title in zip(panels, quadratic, ("without diffusion", f"with D = {DIFFUSION:g}"), strict=False):
        density = dataset["density"].isel(time=-1).transpose("theta", "depth")
        axes.pcolormesh(dataset["depth"], dataset["theta"], density, cmap="cividis", vmin=0, vmax=2.5, rasterized=True)
        axes.set(xlabel="depth ε", ylabel="θ", ylim=(-2.5, 3), title=f"quadratic, {title}, t = {STOP:g}")
    for (still, mixed), name, colour in ((linear, "linear", BLUE), (quadratic, "quadratic", ORANGE)):
        panels[2].semilogy(still["time"], contrast(mixed) / contrast(still), color=colour, label=name)
        panels[3].semilogy(still["time"], still["energy"], color=colour, label=f"{name}, without diffusion")
        panels[3].semilogy(
            mixed["time"], mixed["energy"], ":", color="k", lw=2.5, label="with diffusion" if name == "linear" else None
        )
    time = linear[0]["time"].to_numpy()
    panels[2].semilogy(time, np.exp(-DIFFUSION * np.pi**2 * time), "k:", lw=2.5, label="exp(−Dπ²t)")
    panels[2].set(xlabel="time", title="what distinguishes the layers,\nwith diffusion over without")
    panels[3].set(xlabel="time", title="loss")
    for axes in panels[2:]:
        axes.legend(fontsize="small")
    figure.savefig(path, dpi=75)


def reproduce(directory: Path, quick: bool) -> list[Claim]:
    cells = (64, 128) if quick else (128, 256)
    pairs = [pair("wide-resnet-linear", n) for n in cells]
    quadratic = pair("wide-resnet-diffusion", cells[-1])
    linear = pairs[-1]
    predicted = np.exp(-DIFFUSION * np.pi**2 * STOP)
    decay = float((contrast(linear[1]) / contrast(linear[0]))[-1] / predicted)
    gaps = []
    for n, datasets in zip(cells, pairs, strict=True):
        line = gridflow.load_case("wide-resnet-linear").replace({"space.theta.cells": n}).grid()
        factor = line.factors[line.order.index("theta")]
        gaps.append(wasserstein1(*(masses_of(d)[-1].sum(axis=0) for d in datasets), factor))
    learned = wasserstein1(*(masses_of(linear[0])[k].sum(axis=0) for k in (0, -1)), factor)
    ratio = float((contrast(quadratic[1]) / contrast(quadratic[0]))[-1])
    print(
        f"linear: contrast with over without diffusion / exp(−Dπ²t) = {decay:.5f}; W1 of the marginals {gaps}, of {learned:.3g}"
    )
    print(f"quadratic: contrast with over without {ratio:.4f}, predicted for the linear one {predicted:.4f}")
    for name, (still, mixed) in (("linear", linear), ("quadratic", quadratic)):
        print(
            f"{name}: ∬θcos(πε)dρ {order(still)[0]:.4f} → {order(still)[-1]:.4f} without, {order(mixed)[-1]:.4f} with diffusion"
        )
        print(f"{name}: E {float(still['energy'][0]):.4g} → {float(still['energy'][-1]):.4g}, {float(mixed['energy'][-1]):.4g}")
    draw(linear, quadratic, directory / "resnet-diffusion.png")
    share = float(mixed["energy"][-1] / mixed["energy"][0])
    width = float(np.diff(linear[0]["theta"][:2])[0])
    pictures = ("resnet-diffusion.png",)
    return [
        Claim(
            "resnet-diffusion-decay",
            "S3 §4 diffusion",
            "Parameters might be let jump between adjacent layers, a diffusion in ε.",
            f"total variation of ∫cos(πε)ρ dε at t = {STOP:g} with diffusion over without, over exp(−Dπ²t), linear model",
            decay,
            (0.98, 1.02),
            "exact up to (π/32)²/12 of the exponent 3.9, 0.3 %, and the limiter, which sees other densities",
            (0.0, 0.5),
            pictures=pictures,
        ),
        Claim(
            "resnet-diffusion-marginal",
            "S3 §4 diffusion",
            "Diffusion in ε leaves the marginal of θ as it is (our reading).",
            f"W1 between the marginals of θ with and without diffusion at t = {STOP:g}, linear model, in cells",
            gaps[-1] / width,
            (0.0, 0.1),
            "0, but for errors of order 2: the limiter sees other densities; training has moved it by many cells",
            (1.0, INF),
        ),
        Claim(
            "resnet-diffusion-alike",
            "S3 §4 diffusion",
            "Neurons that jump between layers forget their layer (ours).",
            f"total variation of ∫cos(πε)ρ dε at t = {STOP:g} with diffusion over without, quadratic model",
            ratio,
            (0.0, 0.1),
            f"{predicted:.3f} for one flow at all depths; here those of the depths differ, by the quadratic term",
            (0.5, INF),
            pictures=pictures,
        ),
        Claim(
            "resnet-diffusion-trains",
            "S3 §4 diffusion",
            "With diffusion in ε the model is still trained (our question).",
            f"loss at t = {STOP:g} over that at the start, quadratic model with diffusion",
            share,
            (0.0, 0.1),
            "a tenth: it falls although diffusion is no part of the energy's gradient flow",
            (0.9, INF),
            "The order of the layers is lost, and the loss falls all the same.",
            pictures,
        ),
    ]
