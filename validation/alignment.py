"""Do directions align before the loss falls (S2 §3)? From small weights yes, from big ones no.

The velocity of a ReLU neuron with a fixed sign α depends on its direction d only. While the predictions are still f₀ it is α ∇G,
G(d) = Σ_j μ_j (y_j − f₀(x_j)) ⟨d, x_j⟩₊: directions climb αG. Its local maxima with αG > 0 on the circle are the extremal vectors
of Maennel, Bousquet and Gelly (2018), computed here from the data alone. A neuron of norm σ turns within a time ~ σ/|∇G|, the
loss falls within a time that does not depend on σ.

Solves relu-small-init and relu-big-init and prints over time the loss and the share of mass·norm within 10° of an extremal vector
of its sign, and within 10° of where the directions of its sign have their mode at the end.
"""

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

import gridflow
from gridflow.output.directions import directions
from validation.claim import Claim

CASES = ("relu-small-init", "relu-big-init")
PLANE = ("w", "b")
WITHIN = 10.0
"""Degrees."""
BINS = 360
HALF = 0.5
PICTURE = "alignment.png"


def extremal_vectors(inputs, residual, sign):
    """Angles in degrees of the local maxima with sign·G > 0, by G on a fine circle."""
    angle = np.arange(0.0, 360.0, 0.1)
    d = np.stack([np.cos(np.radians(angle)), np.sin(np.radians(angle))], axis=1)
    height = sign * np.maximum(d @ inputs.T, 0.0) @ residual
    top = (height > np.roll(height, 1)) & (height >= np.roll(height, -1)) & (height > 0)
    return angle[top]


def near(angle, centres):
    """Whether each angle lies within 10° of one of the centres."""
    gap = np.abs((angle[:, None] - np.asarray(centres)[None, :] + 180) % 360 - 180)
    return (gap <= WITHIN).any(axis=1)


def alignment(dataset):
    """(loss over its start, share near extremal vectors, share near the modes at the end), each (n_times,)."""
    inputs = np.hstack([dataset["input"], np.ones((dataset.sizes["data"], 1))])
    residual = (dataset["data_weight"] * (dataset["target"] - dataset["prediction"].isel(time=0))).to_numpy()
    shares = directions(dataset, PLANE, BINS)
    angle, total = shares["angle"].to_numpy(), shares.sum(["sign", "angle"]).to_numpy()
    extremal, final = np.zeros_like(total), np.zeros_like(total)
    for sign in shares["sign"].to_numpy():
        part = shares.sel(sign=sign).to_numpy()
        vectors = extremal_vectors(inputs, residual, sign)
        mode = angle[part[-1].argmax()]
        extremal += part[:, near(angle, vectors)].sum(axis=1)
        final += part[:, near(angle, [mode])].sum(axis=1)
        print(f"  sign {sign:+.0f}: extremal vectors at {', '.join(f'{v:.0f}°' for v in vectors)}; mode at the end {mode:.0f}°")
    return (dataset["energy"] / dataset["energy"][0]).to_numpy(), extremal / total, final / total


def reproduce(directory: Path, quick: bool) -> list[Claim]:
    figure = Figure(figsize=(11, 4.6), layout="constrained")
    over_time, over_loss = figure.subplots(1, 2)
    left, turned = {}, {}
    for name, colour in zip(CASES, ("C0", "C1"), strict=True):
        print(name)
        case = gridflow.load_case(name)
        cells = {f"space.{n}.cells": case.space[n].cells // 2 for n in PLANE} if quick else {}
        dataset = gridflow.solve(case.replace(cells))
        time = dataset["time"].to_numpy()
        loss, extremal, final = alignment(dataset)
        print("  time    loss left   near extremal   near final")
        for row in zip(time, loss, extremal, final, strict=True):
            print("  {:<7.3g} {:9.1%} {:15.1%} {:12.1%}".format(*row))
        aligned = extremal >= HALF
        left[name] = float(loss[aligned.argmax()]) if aligned.any() else 0.0
        turned[name] = float(extremal.max() - extremal[0])
        over_time.plot(time, loss, "--", color=colour, label=f"{name}: loss over its start")
        over_time.plot(time, extremal, color=colour, label=f"{name}: share near extremal vectors")
        over_loss.plot(loss, extremal, "o-", ms=3, color=colour, label=name)
    over_time.set(xlabel="time", xlim=(0, None), ylim=(0, 1))
    over_loss.set(xlabel="loss over its start", ylabel="share of mass·norm near extremal vectors", xlim=(1, 0), ylim=(0, 1))
    over_loss.set_title("small weights align first; big ones do not")
    over_time.legend(fontsize="small", loc="upper center", bbox_to_anchor=(0.5, -0.15), ncols=2)
    over_loss.legend(fontsize="small")
    figure.savefig(directory / PICTURE, dpi=90)
    uniform = 2 * WITHIN / 360  # one extremal vector for each sign
    return [
        Claim(
            name="alignment-small-weights",
            source="S2 §3",
            says="Neurons of small norm turn towards the extremal vectors before the network learns.",
            quantity="share of the loss left when half of mass·norm is within 10° of an extremal vector (0: never so much)",
            value=left["relu-small-init"],
            band=(0.5, 1.0),
            reason="alignment comes first where more than half of the loss is left when more than half has aligned",
            opposite=(0.0, 0.3),
            pictures=(PICTURE,),
        ),
        Claim(
            name="alignment-big-weights",
            source="S2 §3",
            says="Neurons of large norm hardly change their direction.",
            quantity="largest increase of the share of mass·norm within 10° of an extremal vector",
            value=turned["relu-big-init"],
            band=(-0.1, (1 - uniform) / 4),
            reason=f"at most a quarter of what turning all of them would add to the {uniform:.0%} of uniform directions",
            opposite=(0.5, 1.0),
            pictures=(PICTURE,),
        ),
    ]
