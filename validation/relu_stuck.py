"""Wasserstein descent that "looks stuck for a while" (S2 §1.2): with few inner iterations the energy falls more slowly.

The case relu-prox in a wider box, γ = 10, steps with W₂ by assignment. Every step is solved by the inner gradient descent of
S2 §2.2, V ← V − rate·(V − W + γ∇F(V)) from V = W, with rate 0.3 and 3 or 30 iterations, without regard to whether it converged,
and accurately, by gradient sampling. The start is similar; with 3 iterations the energy then falls about half as fast as with
accurate steps.
"""

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

import gridflow
from gridflow.particles.cloud import draw_cloud
from gridflow.particles.integrator import ProximalPoint
from validation.claim import Claim

GAMMA, ITERATIONS, RATE, FEW, MANY = 10.0, 20, 0.3, 3, 30
EARLY, LATE = 3, 8
BOX = {"space.w.bounds": [-6.0, 6.0], "space.b.bounds": [-3.6, 3.6]}


def energies(count: int) -> dict[str, np.ndarray]:
    case = gridflow.load_case("relu-prox").replace(BOX)
    cloud = draw_cloud(case.initial, case.grid().factors, count, 1, "sobol")
    times = [GAMMA * k for k in range(ITERATIONS + 1)]
    runs = {"accurate": ProximalPoint(step=GAMMA, distance="assignment", tolerance=1e-3)}
    for inner in (FEW, MANY):
        runs[f"{inner} inner iterations"] = ProximalPoint(
            step=GAMMA, distance="assignment", inner_method="gradient-descent", rate=RATE, inner=inner, tolerance=1e-3,
            on_unconverged="continue",
        )  # fmt: skip
    found = {}
    for name, integrator in runs.items():
        run = gridflow.simulate(case, cloud, times=times, integrator=integrator)
        print(f"{name}: {run.unconverged} of {ITERATIONS} steps unconverged, energies {run.energy}")
        found[name] = run.energy
    return found


def late_decrease(energy) -> float:
    return float(1 - energy[-1] / energy[LATE])


def reproduce(directory: Path, quick: bool) -> list[Claim]:
    found = energies(128)
    few, many, accurate = found[f"{FEW} inner iterations"], found[f"{MANY} inner iterations"], found["accurate"]
    figure = Figure(figsize=(6.0, 4.0), layout="constrained")
    axes = figure.subplots()
    for (name, energy), style in zip(found.items(), ("k-", "C1s--", "C0o:"), strict=True):
        axes.semilogy(energy, style, ms=4, label=name)
    axes.set(title="relu-prox, γ = 10, W₂ by assignment", xlabel="iteration", ylabel="E", xticks=range(0, ITERATIONS + 1, 5))
    axes.legend()
    figure.savefig(directory / "relu-stuck.png", dpi=110)
    pictures = ("relu-stuck.png",)
    early = float(np.abs(np.log(few[: EARLY + 1] / accurate[: EARLY + 1])).max())
    return [
        Claim(
            "relu-stuck-early",
            "S2 §1.2",
            "With few inner iterations the early trajectory is very similar.",
            f"largest |log ratio| of the energy to that of accurate steps, {EARLY} iterations",
            early,
            (0.0, 0.2),
            "the energy falls by a factor of more than ten meanwhile: a fifth is a thirteenth of that on a logarithmic scale",
            (1.0, np.inf),
            pictures=pictures,
        ),
        Claim(
            "relu-stuck-later",
            "S2 §1.2",
            "Then it looks stuck for a while.",
            f"relative decrease of the energy from iteration {LATE} to {ITERATIONS}, over that of accurate steps",
            late_decrease(few) / late_decrease(accurate),
            (0.0, 0.5),
            "stuck: less than half as fast",
            (0.75, np.inf),
            pictures=pictures,
        ),
        Claim(
            "relu-stuck-cause",
            "S2 §1.2",
            "Few inner iterations make the steps inaccurate; with more the energy falls as with accurate ones.",
            f"the same with {MANY} inner iterations instead of {FEW}",
            late_decrease(many) / late_decrease(accurate),
            (0.75, np.inf),
            "not stuck: at least three quarters as fast",
            (0.0, 0.5),
            pictures=pictures,
        ),
    ]
