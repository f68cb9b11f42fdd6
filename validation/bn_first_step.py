"""First-step amplification (S1 §4.3, Fig. 3): gradient descent makes short neurons long, once.

    python validation/bn_first_step.py OUTDIR

Neurons (a, b) in R × R² with batch normalisation and explicit Euler steps b ← b − η∇_b, without any projection. ∇_b is
orthogonal to b, so ‖b₁‖² = ‖b₀‖² + η²‖∇_b‖², and ‖∇_b‖ ∝ 1/‖b₀‖: the shorter the neuron, the longer it becomes. In the
continuous flow (bn-first-step) no length changes. Data and teacher are those of bn-circle; η is 0.02 per neuron, as assumed
in bn-first-step. Prints the error of the identity and the fitted power; writes OUTDIR/bn-first-step.png.
"""

import sys
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

import gridflow

ETA = 0.02
LENGTHS = np.geomspace(0.005, 2.0, 60)
PER_LENGTH = 50
STEPS = 20


def plane_case():
    """bn-circle with b in the plane. Particles see the intervals as the line: they are wide."""
    line = {"kind": "interval", "bounds": [-1e3, 1e3], "cells": 8}
    case = gridflow.load_case("bn-circle")
    return case.replace(
        {"space": dict.fromkeys(("a", "b1", "b2"), line), "energy.branches": [{"weights": ["b1", "b2"], "outputs": [["a"]]}]}
    )


def main(directory):
    directory.mkdir(parents=True, exist_ok=True)
    case = plane_case()
    factors = case.grid().factors
    columns = [[f.name for f in factors].index(n) for n in ("a", "b1", "b2")]
    energy = case.energy.load(Path(case.directory)).particles(factors)
    rng = np.random.default_rng(1)
    length = np.repeat(LENGTHS, PER_LENGTH)
    angle, a = rng.random(length.size) * 2 * np.pi, rng.normal(scale=0.5, size=length.size)
    points = np.empty((length.size, 3))
    points[:, columns] = np.column_stack([a, length * np.cos(angle), length * np.sin(angle)])
    weights = np.full(length.size, 1 / length.size)
    lengths, gradients = [length], []
    for _ in range(STEPS):
        gradient = energy.evaluate(points, weights).gradient
        gradients.append(np.linalg.norm(gradient[:, columns[1:]], axis=1))
        points = points - ETA * gradient
        lengths.append(np.linalg.norm(points[:, columns[1:]], axis=1))
    identity = np.abs(lengths[1] ** 2 / (lengths[0] ** 2 + (ETA * gradients[0]) ** 2) - 1).max()
    by_length = [np.sqrt((g.reshape(LENGTHS.size, PER_LENGTH) ** 2).mean(axis=1)) for g in gradients]
    slope = np.polyfit(np.log(LENGTHS), np.log(by_length[0]), 1)[0]
    scaled = gradients[0] * length / np.abs(a)  # a function of the direction alone
    print(f"‖b₁‖² = ‖b₀‖² + η²‖∇_b‖²: largest relative error {identity:.1e}")
    print(f"‖∇_b‖ ∝ ‖b₀‖^p, root mean square over {PER_LENGTH} neurons per length: p = {slope:.3f}")
    print(f"‖∇_b‖·‖b₀‖/|a|: at most {scaled.max():.3f}, whatever the length")
    print("step   shortest, 10 %, median, 90 %, longest neuron   largest turn of a neuron in the step")
    for k in (0, 1, 2, 5, STEPS):
        turn = f"{np.degrees(np.arctan(ETA * gradients[k] / lengths[k]).max()):8.1f}°" if k < STEPS else ""
        print(f"{k:4d}   " + "  ".join(f"{v:7.3f}" for v in np.quantile(lengths[k], [0, 0.1, 0.5, 0.9, 1])) + "   " + turn)

    figure = Figure(figsize=(13, 4), layout="constrained")
    left, middle, right = figure.subplots(1, 3)
    left.loglog(length, gradients[0], ".", ms=2, alpha=0.4, label="neurons")
    left.loglog(LENGTHS, by_length[0], "k", lw=1, label=f"root mean square, power {slope:.2f}")
    left.set(xlabel="‖b₀‖", ylabel="‖∇_b‖", ylim=(1e-3, None), title="the gradient of a short neuron is large")
    left.legend(fontsize="small")
    middle.loglog(length, lengths[1], ".", ms=2, alpha=0.4, label="neurons")
    middle.loglog(LENGTHS, np.sqrt(LENGTHS**2 + (ETA * by_length[0]) ** 2), "k", lw=1, label="(‖b₀‖² + η²⟨‖∇_b‖²⟩)^½")
    middle.loglog(LENGTHS, LENGTHS, "k--", lw=0.8, label="continuous flow: no change")
    middle.set(xlabel="‖b₀‖", ylabel="‖b₁‖", title=f"one step, η = {ETA:g}: the shortest becomes long")
    middle.legend(fontsize="small")
    for group, colour in zip((0, 12, 24, 36, 48), ("C0", "C1", "C2", "C3", "C4"), strict=True):
        rows = slice(group * PER_LENGTH, (group + 1) * PER_LENGTH)
        median = [np.median(v[rows]) for v in lengths]
        right.semilogy(median, "o-", ms=3, color=colour, label=f"‖b₀‖ = {LENGTHS[group]:.2g}")
    right.set(xlabel="step", ylabel="median ‖b‖", xticks=range(0, STEPS + 1, 5), title="and then no longer changes much")
    right.legend(fontsize="small")
    figure.savefig(directory / "bn-first-step.png", dpi=100)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(Path(sys.argv[1]))
