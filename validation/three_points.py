"""Three points on a line (S2 §7): the first step of gradient descent, by gridflow's particles.

One neuron w = (w, b) with sign +1 on the points (1, 2), (2, 4), (4, 8) of cases/data/three-points.csv,
loss (1/(2n)) Σ (⟨w, X_j⟩₊ − y_j)², a step of length 1 from W⁰ = (1, 0):

    W¹ = W⁰ + (1/n) Σ_j (2 − 1) x_j (x_j, 1) = (1, 0) + (7, 7/3) = (8, 7/3).

All three points activate the neuron, since x_j > 0: the source prints s₁ = (0, 0, 0), with which nothing would move, but its
result (8, 7/3) is that of s₁ = (1, 1, 1). The energy of gridflow is the mean over the data with the factor ½, which is this loss.
"""

from pathlib import Path

import numpy as np

import gridflow
from gridflow.particles.cloud import Cloud
from gridflow.particles.integrator import GradientDescent
from validation.claim import Claim

EXACT = {"w": 8.0, "b": 7.0 / 3.0}
ROUNDOFF = 1e-12
"""A dozen operations on numbers of order ten."""


def first_step() -> tuple[dict[str, float], float]:
    """Coordinates of the neuron after one step, and the loss at the start."""
    case = gridflow.load_case("relu-jko").replace({"energy.data.standardize": False})
    names = [f.name for f in case.grid().factors]
    start = {"w": 1.0, "b": 0.0, "sign": 1.0}
    neuron = Cloud(np.array([[start[n] for n in names]]), np.ones(1))
    # the box of the case ends at 6, and W¹ = 8: walls would reflect it
    wide = case.replace({"space.w.bounds": [-12.0, 12.0]})
    run = gridflow.simulate(wide, neuron, times=[0.0, 1.0], integrator=GradientDescent(step=1.0))
    return dict(zip(names, run.points[1, 0], strict=True)), float(run.energy[0])


def reproduce(directory: Path, quick: bool) -> list[Claim]:
    step, loss = first_step()
    print(f"W1 = ({step['w']:.15g}, {step['b']:.15g}), loss at W0 {loss:.15g}")
    return [
        Claim(
            "three-points-first-step",
            "S2 §7",
            "One step of gradient descent of length 1 from (1, 0) leads to (8, 7/3).",
            "largest difference of a coordinate of W¹ to (8, 7/3)",
            max(abs(step[n] - value) for n, value in EXACT.items()),
            (0.0, ROUNDOFF),
            "round-off of a dozen operations on numbers of order ten",
            (1e-3, np.inf),
            "With the activations (1, 1, 1); the source prints (0, 0, 0), with which the gradient would vanish.",
        ),
        Claim(
            "three-points-loss",
            "S2 §7",
            "The errors at (1, 0) are −1, −2, −4, and the loss has the factor 1/(2n).",
            "difference of the loss at W⁰ to (1 + 4 + 16)/6",
            abs(loss - 3.5),
            (0.0, ROUNDOFF),
            "round-off",
        ),
    ]
