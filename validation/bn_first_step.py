"""First-step amplification (S1 §4.3, Fig. 3): gradient descent makes short neurons long, once.

Neurons (a, b) in R × R² with batch normalisation and explicit Euler steps b ← b − η∇_b, without any projection. ∇_b is
orthogonal to b, so ‖b₁‖² = ‖b₀‖² + η²‖∇_b‖², and ‖∇_b‖ ∝ 1/‖b₀‖: the shorter the neuron, the longer it becomes. In the
continuous flow (bn-first-step) no length changes. Data and teacher are those of bn-circle; η is 0.02 per neuron, as assumed
in bn-first-step; the same pairs of output weights and directions at every length.

Why it is enough once: with |a|h = ‖∇_b‖·‖b‖, which does not depend on the length, a step turns b by arctan(η|a|h/‖b‖²), and after
the first ‖b₁‖² = ‖b₀‖² + (η|a|h/‖b₀‖)² ≥ 2η|a|h: the second turn is at most arctan ½ = 27° if |a|h has not grown. It has where b
was turned to a direction of larger gradient, so that S1's "all neurons" is too much: some steps are longer than the neuron in the
second step too, ever fewer later.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure

import gridflow
from gridflow.case.case import Case
from gridflow.energy.base import ParticleEnergy
from gridflow.particles.cloud import Cloud
from gridflow.space.factor import Array
from validation.claim import Claim

ETA = 0.02
LENGTHS = np.geomspace(0.005, 2.0, 60)
PER_LENGTH = {"quick": 50, "full": 400}
STEPS = 20
LARGE_TURN = np.radians(45)


class Plane(NamedTuple):
    """bn-circle with b in the plane, so that nothing is assumed about its length; columns : of a, b₁, b₂ in points."""

    case: Case
    energy: ParticleEnergy
    columns: list[int]

    def cloud(self, a: Array, length: Array | float, angle: Array) -> Cloud:
        """Neurons (a, length·(cos, sin)) of equal weight."""
        points = np.empty((len(a), 3))
        points[:, self.columns] = np.column_stack([a, length * np.cos(angle), length * np.sin(angle)])
        return Cloud(points, np.full(len(a), 1 / len(a)))

    def velocity(self, points: Array, weights: Array) -> Array:
        """(n_particles, 3): of a, b₁, b₂."""
        return -self.energy.evaluate(points, weights).gradient[:, self.columns]


def plane(normalization: bool = True, changes: dict | None = None) -> Plane:
    """Particles see the intervals as the line: they are wide."""
    line = {"kind": "interval", "bounds": [-1e4, 1e4], "cells": 8}
    case = gridflow.load_case("bn-circle").replace(
        {
            "space": dict.fromkeys(("a", "b1", "b2"), line),
            "energy.branches": [{"weights": ["b1", "b2"], "outputs": [["a"]]}],
            "energy.normalization": normalization,
            **(changes or {}),
        }
    )
    factors = case.grid().factors
    names = [f.name for f in factors]
    energy = case.energy.load(Path(case.directory)).particles(factors)
    return Plane(case, energy, [names.index(n) for n in ("a", "b1", "b2")])


def descend(per_length: int) -> tuple[Array, Array]:
    """(lengths before each step and at the end, (STEPS + 1, …); ‖∇_b‖ at each step, (STEPS, …)); …: n_lengths, per_length."""
    model = plane()
    rng = np.random.default_rng(1)
    angle, a = rng.random(per_length) * 2 * np.pi, rng.normal(scale=0.5, size=per_length)
    cloud = model.cloud(np.tile(a, LENGTHS.size), np.repeat(LENGTHS, per_length), np.tile(angle, LENGTHS.size))
    points, lengths, gradients = cloud.points, [], []
    for _ in range(STEPS):
        gradient = model.energy.evaluate(points, cloud.weights).gradient
        lengths.append(np.linalg.norm(points[:, model.columns[1:]], axis=1))
        gradients.append(np.linalg.norm(gradient[:, model.columns[1:]], axis=1))
        points = points - ETA * gradient
    lengths.append(np.linalg.norm(points[:, model.columns[1:]], axis=1))
    shape = (-1, LENGTHS.size, per_length)
    return np.reshape(lengths, shape), np.reshape(gradients, shape)


def reproduce(directory: Path, quick: bool) -> list[Claim]:
    lengths, gradients = descend(PER_LENGTH["quick" if quick else "full"])
    identity = float(np.abs(lengths[1] ** 2 / (lengths[0] ** 2 + (ETA * gradients[0]) ** 2) - 1).max())
    mean_square = np.sqrt((gradients[0] ** 2).mean(axis=1))
    slope = float(np.polyfit(np.log(LENGTHS), np.log(mean_square), 1)[0])
    turns = np.arctan(ETA * gradients / lengths[:-1])
    shares = (turns > LARGE_TURN).mean(axis=(1, 2))
    bound = float((ETA * gradients[0] * lengths[0] / lengths[1] ** 2).max())
    median = np.median(lengths, axis=2)
    print("step   shortest, 10 %, median, 90 %, longest neuron   share that turns by more than 45° in the step")
    for k in (0, 1, 2, 5, STEPS):
        share = f"{shares[k]:8.4f}" if k < STEPS else ""
        print(f"{k:4d}   " + "  ".join(f"{v:7.3f}" for v in np.quantile(lengths[k], [0, 0.1, 0.5, 0.9, 1])) + "   " + share)
    draw(directory, lengths, gradients[0], mean_square, slope)
    pictures = ("bn-first-step.png",)
    return [
        Claim(
            "bn-first-step-gradient", "S1 Fig. 3", "The gradient of a short neuron is larger than that of a long one.",
            "power of ‖b₀‖ in the mean square of ‖∇_b‖, the same neurons at 60 lengths", slope, (-1 - 1e-9, -1 + 1e-9),
            "‖∇_b‖ = |a|·h(direction)/‖b₀‖ exactly (S1 (21)): round-off alone", pictures=pictures,
        ),
        Claim(
            "bn-first-step-length", "S1 Fig. 3", "The gradient is tangent to the sphere of radius ‖b‖: a step makes b longer.",
            "largest relative error of ‖b₁‖² = ‖b₀‖² + η²‖∇_b‖²", identity, (0.0, 1e-10),
            "Pythagoras; round-off of b, of ∇_b of 10⁴ times its size, and of the squares", pictures=pictures,
        ),
        Claim(
            "bn-first-step-order", "S1 Fig. 3", "The shorter a neuron is at first, the longer it is after one step.",
            "median ‖b₁‖ of the neurons with ‖b₀‖ = 0.005, over that of those with ‖b₀‖ = 0.05",
            float(median[1, 0] / np.interp(0.05, LENGTHS, median[1])), (1.0, 10.0),
            "more than 1 is what S1 says; 10 is the limit where ‖b₁‖ = η‖∇_b‖ ∝ 1/‖b₀‖", opposite=(0.0, 0.999), pictures=pictures,
        ),
        Claim(
            "bn-first-step-bound", "S1 Fig. 3", "After the first step neurons are long enough for stable steps.",
            "largest η|a|h/‖b₁‖², |a|h = ‖∇_b‖·‖b‖ of the first step", bound, (0.0, 0.5 + 1e-9),
            "‖b₁‖² = ‖b₀‖² + (η|a|h/‖b₀‖)² is at least 2η|a|h; the tangent of the second turn if |a|h does not change",
            pictures=pictures,
        ),
        Claim(
            "bn-first-step-all", "S1 Fig. 3", "From the second step on this holds of all neurons.",
            "share of the neurons whose second step is longer than they are, a turn of more than 45°", float(shares[1]), (0.0,
            0.0),
            "all means none left out", opposite=(1e-6, 1.0),
            finding="It holds of most; the others have turned to where |a|h is larger. Ever fewer do so in later steps.",
            pictures=pictures,
        ),
    ]  # fmt: skip


def draw(directory: Path, lengths: Array, gradients: Array, mean_square: Array, slope: float) -> None:
    """Gradients and lengths after one step against ‖b₀‖; lengths over the steps."""
    shown = slice(0, 50)
    figure = Figure(figsize=(13, 4), layout="constrained")
    left, middle, right = figure.subplots(1, 3)
    left.loglog(lengths[0, :, shown].ravel(), gradients[:, shown].ravel(), ".", ms=2, alpha=0.4, label="neurons")
    left.loglog(LENGTHS, mean_square, "k", lw=1, label=f"root mean square, power {slope:.2f}")
    left.set(xlabel="‖b₀‖", ylabel="‖∇_b‖", ylim=(1e-3, None), title="the gradient of a short neuron is large")
    middle.loglog(lengths[0, :, shown].ravel(), lengths[1, :, shown].ravel(), ".", ms=2, alpha=0.4, label="neurons")
    middle.loglog(LENGTHS, np.sqrt(LENGTHS**2 + (ETA * mean_square) ** 2), "k", lw=1, label="(‖b₀‖² + η²⟨‖∇_b‖²⟩)^½")
    middle.loglog(LENGTHS, LENGTHS, "k--", lw=0.8, label="continuous flow: no change")
    middle.set(xlabel="‖b₀‖", ylabel="‖b₁‖", title=f"one step, η = {ETA:g}: the shortest becomes long")
    for group, style in zip((0, 12, 24, 36, 48), ("o-", "s-", "^-", "v-", "d-"), strict=True):
        right.semilogy(np.median(lengths[:, group], axis=1), style, ms=3, label=f"‖b₀‖ = {LENGTHS[group]:.2g}")
    right.set(xlabel="step", ylabel="median ‖b‖", xticks=range(0, STEPS + 1, 5), title="and then no longer changes much")
    for axes in (left, middle, right):
        axes.legend(fontsize="small")
    figure.savefig(directory / "bn-first-step.png", dpi=90)
