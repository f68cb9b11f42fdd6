"""Four ways to write one ReLU network as a measure (S2 §10): the same predictions at the start, different dynamics.

    relu-representations             density on R² × R, (w, α):     f = E[α ⟨w, x⟩₊]
    relu-representations-signed      signed measure on R²:          f = E[± ⟨w, x⟩₊]
    relu-representations-pairs       density on R² × R²:            f = E[⟨w₊, x⟩₊ − ⟨w₋, x⟩₊]
    relu-representations-directions  density on S¹ × R, (d, α̃):    f = E[α̃ ⟨d, x⟩₊]

Weights start rotationally symmetric. With w ~ N(0, s²I) and α independent of it, f(x) = E[α] s ‖x‖/√(2π), x with its bias 1;
with shares p₊ and p₋ of the signs, p₊ − p₋ takes the place of E[α]; with pairs s₊ − s₋ = E[α] s; with uniform directions
E⟨d, x⟩₊ = ‖x‖/π, so that E[α̃] = E[α] s √(π/2). The source says of the first three that they work, and of the last that its
gradients differ. Findings: all four start from the predictions of the continuum and lose half of their loss, at different speeds.
"""

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

import gridflow
from validation.claim import Claim

CASES = tuple(f"relu-representations{ending}" for ending in ("", "-signed", "-pairs", "-directions"))
MEAN_OUTPUT, DEVIATION = 0.5, 0.6
"""E[α] and s of the cases."""
STOP, SAVES = 2.5, 26
"""A little longer than the cases: the slowest then has lost half of its loss."""
PICTURE = "relu-representations.png"


def prediction_at_start(inputs):
    """In the continuum, (n_data,); inputs without bias."""
    return MEAN_OUTPUT * DEVIATION * np.sqrt((inputs**2).sum(axis=1) + 1) / np.sqrt(2 * np.pi)


def curves(name, quick):
    """Loss, predictions over time and the width of the widest cell of a line; densities are not kept."""
    case = gridflow.load_case(name)
    changes = {"time.stop": STOP, "time.save": SAVES}
    if quick:
        changes |= {f"space.{n}.cells": f.cells // 2 for n, f in case.space.items() if hasattr(f, "cells")}
    dataset = gridflow.solve(case.replace(changes))
    if dataset.attrs["status"] != "completed":
        raise RuntimeError(f"{name}: {dataset.attrs['status']}")
    widths = [float(np.diff(dataset[f"{n}_bounds"]).max()) for n, f in case.space.items() if hasattr(f, "cells")]
    return dataset[["energy", "prediction", "input", "target"]].load(), max(widths)


def half_time(energy):
    """When half of the loss is gone, by linear interpolation; inf if it is not."""
    values, time = energy.to_numpy(), energy["time"].to_numpy()
    half = values[0] / 2
    return float(np.interp(-half, -values, time)) if values[-1] < half else np.inf


def draw(directory, results, exact):
    figure = Figure(figsize=(11, 4), layout="constrained")
    loss, fit = figure.subplots(1, 2)
    x = results[0]["input"].to_numpy()[:, 0]
    fit.plot(x, results[0]["target"], "ko", label="data")
    fit.plot(x, exact, "k:", label="all at the start")
    for name, result in zip(CASES, results, strict=True):
        loss.semilogy(result["time"], result["energy"], label=name)
        fit.plot(x, result["prediction"].isel(time=-1), label=name)
    loss.set(xlabel="time", title="loss")
    fit.set(xlabel="input", title=f"predictions at t = {float(results[0]['time'][-1]):g}")
    for axes in (loss, fit):
        axes.legend(fontsize="small")
    figure.savefig(directory / PICTURE, dpi=100)


def reproduce(directory: Path, quick: bool) -> list[Claim]:
    results, widths = zip(*(curves(name, quick) for name in CASES), strict=True)
    exact = prediction_at_start(results[0]["input"].to_numpy())
    starts = [r["prediction"].isel(time=0).to_numpy().ravel() for r in results]
    halves = [half_time(r["energy"]) for r in results]
    print(f"{'continuum':<32} {'  '.join(f'{v:+.4f}' for v in exact)}")
    for name, result, start, half in zip(CASES, results, starts, halves, strict=True):
        energy = result["energy"]
        shown = "  ".join(f"{v:+.4f}" for v in start)
        print(f"{name:<32} {shown}   loss {float(energy[0]):.4f} -> {float(energy[-1]):.4f}, half of it gone at t = {half:.3f}")
    draw(directory, results, exact)
    resolution = float(max(widths)) ** 2 / 12
    common = {"source": "S2 §10", "pictures": (PICTURE,)}
    return [
        Claim(
            name="representations-same-start",
            says="A network can be written as a density, a signed measure, pairs of neurons, or directions and output weights.",
            quantity="largest difference of a prediction at the start from that of the continuum, all four, targets of order 1",
            value=float(max(np.abs(start - exact).max() for start in starts)),
            band=(0.0, resolution),
            reason="midpoint rule, h²/24 for each of two weights, times a density of about 1 at the kink; h the widest cell",
            **common,
        ),
        Claim(
            name="representations-learn",
            says="Each of these measures can be trained by its Wasserstein gradient flow.",
            quantity=f"largest share of the loss of the start that is left at t = {STOP:g}, all four",
            value=float(max(float(r["energy"][-1] / r["energy"][0]) for r in results)),
            band=(0.0, 0.5),
            reason="half of the loss: the run is a little longer than the slowest needs for that",
            **common,
        ),
        Claim(
            name="representations-differ",
            says="The gradients of the representations differ, and so does the training.",
            quantity="latest over earliest time at which half of the loss is gone",
            value=float(max(halves) / min(halves)),
            band=(1.2, np.inf),
            reason="more than grids of one and of two cells width can shift it: 20 %",
            opposite=(0.0, 1.05),
            **common,
        ),
    ]
