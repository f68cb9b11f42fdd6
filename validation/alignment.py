"""Do directions align before the loss falls (S2 §3)? From small weights yes, from big ones no.

    python validation/alignment.py OUTDIR

The velocity of a ReLU neuron with a fixed sign α depends on its direction d only. While the predictions are still f₀ it is α ∇G,
G(d) = Σ_j μ_j (y_j − f₀(x_j)) ⟨d, x_j⟩₊: directions climb αG. Its local maxima with αG > 0 on the circle are the extremal vectors
of Maennel, Bousquet and Gelly (2018), computed here from the data alone. A neuron of norm σ turns within a time ~ σ/|∇G|, the
loss falls within a time that does not depend on σ.

Solves relu-small-init and relu-big-init and prints over time the loss and the share of mass·norm within 10° of an extremal vector
of its sign, and within 10° of where the directions of its sign have their mode at the end. Writes OUTDIR/alignment.png.
"""

import sys
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

import gridflow
from gridflow.directions import directions

CASES = ("relu-small-init", "relu-big-init")
PLANE = ("w", "b")
WITHIN = 10.0
"""Degrees."""
BINS = 360


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


def main(directory):
    directory.mkdir(parents=True, exist_ok=True)
    figure = Figure(figsize=(11, 4), layout="constrained")
    over_time, over_loss = figure.subplots(1, 2)
    for name, colour in zip(CASES, ("C0", "C1"), strict=True):
        print(name)
        dataset = gridflow.solve(gridflow.load_case(name))
        time = dataset["time"].to_numpy()
        loss, extremal, final = alignment(dataset)
        print("  time    loss left   near extremal   near final")
        for row in zip(time, loss, extremal, final, strict=True):
            print("  {:<7.3g} {:9.1%} {:15.1%} {:12.1%}".format(*row))
        aligned = extremal >= 0.5
        first = int(aligned.argmax())
        if aligned.any():
            print(f"  half of mass·norm is aligned at t = {time[first]:g}, with {loss[first]:.0%} of the loss left")
        else:
            print(f"  half of mass·norm is never aligned: at most {extremal.max():.0%}; {loss[-1]:.0%} of the loss is left")
        over_time.plot(time, loss, "--", color=colour, label=f"{name}: loss over its start")
        over_time.plot(time, extremal, color=colour, label=f"{name}: share near extremal vectors")
        over_loss.plot(loss, extremal, "o-", ms=3, color=colour, label=name)
    over_time.set(xlabel="time", xlim=(0, None), ylim=(0, 1))
    over_loss.set(xlabel="loss over its start", ylabel="share of mass·norm near extremal vectors", xlim=(1, 0), ylim=(0, 1))
    over_loss.set_title("small weights align first; big ones do not")
    for axes in (over_time, over_loss):
        axes.legend(fontsize="small")
    figure.savefig(directory / "alignment.png", dpi=110)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(Path(sys.argv[1]))
