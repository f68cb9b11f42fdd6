"""Homogeneous ReLU neurons as directions and masses, S2 §4.2: particles follow the flow, and a start with all directions matters.

    ∂_tν = div(ν∇J'(η|ν)) − 4 J'(η|ν) ν on S²,    ψ(η) = η₃⟨(η₁, η₂), (x, 1)⟩₊

(the source prints neither ν behind the 4 nor the prime). The data are the five points of relu-representations, which a network
can fit exactly: the global minimum is 0. Theorem 2 needs particles: on a grid numerical diffusion fills in the directions that a
start lacks. The start that lacks directions is uniform on the cap η₃ ≥ 1/√2. There η₃ > 0 forever: for a neuron (w, b, α) = rη
the difference α² − w² − b² is constant, so that |α| ≥ ‖(w, b)‖ at the start keeps α from 0. Its loss can never fall below

    L₊ = min over measures μ ≥ 0 on the circle of ½ Σ_j μ_j (∫⟨d, (x_j, 1)⟩₊ dμ − y_j)²,

a quadratic programme that is solved without any flow. Findings: from all directions the loss falls far below L₊, from the cap it
stalls there. Random particles of m neurons err like m^−½ beside the flow of many.
"""

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from scipy.optimize import nnls

import gridflow
from gridflow.case.shipped import shipped_directory
from gridflow.particles.cloud import Cloud
from gridflow.particles.integrator import RungeKutta2
from gridflow.particles.simulation import Simulator
from validation.claim import Claim

PICTURE = "relu-directions.png"
CHANGES = {
    "space.eta.level": 4,
    "energy.data": {
        "kind": "file",
        "file": str(shipped_directory() / "data" / "five-points.csv"),
        "inputs": ["x"],
        "targets": ["y"],
    },
}
CAP = 1 / np.sqrt(2)
"""Smallest η₃ of the start that lacks directions."""
INTEGRATOR = RungeKutta2(0.04)
LONG = 60.0
COUNTS = (64, 256, 1024)
SHORT = 2.0


def case_of_points():
    return gridflow.load_case("relu-sphere").replace(CHANGES)


def uniform_directions(count, seed, lowest):
    """Independent and uniform on the part η₃ ≥ lowest of the sphere, (count, 3)."""
    random = np.random.default_rng(seed)
    height, turn = random.uniform(lowest, 1.0, count), random.uniform(0.0, 2 * np.pi, count)
    radius = np.sqrt(1 - height**2)
    return np.stack([radius * np.cos(turn), radius * np.sin(turn), height], axis=1)


def cloud(count, seed, lowest=-1.0):
    return Cloud(uniform_directions(count, seed, lowest), np.full(count, 1 / count))


def least_loss_without_negative_neurons(inputs, targets, weights):
    """L₊ by nonnegative least squares at 7200 directions."""
    angle = (np.arange(7200) + 0.5) * 2 * np.pi / 7200
    features = np.maximum(np.stack([np.cos(angle), np.sin(angle)], axis=1) @ inputs.T, 0.0)
    root = np.sqrt(weights)
    return nnls(features.T * root[:, None], targets * root)[1] ** 2 / 2


def errors_of_particles(simulator, seeds):
    """RMS difference of predictions at SHORT from those of many Sobol particles, over seeds and data, by count."""
    times = [0.0, SHORT]
    many = simulator.run(16 * COUNTS[-1], times=times, sampling="sobol", integrator=INTEGRATOR).prediction[-1]
    runs = [
        [simulator.run(cloud(n, [n, seed]), times=times, integrator=INTEGRATOR).prediction[-1] for seed in range(seeds)]
        for n in COUNTS
    ]
    return many, np.sqrt(((np.array(runs) - many) ** 2).mean(axis=(1, 2, 3)))


def draw(directory, times, losses, bound, errors):
    figure = Figure(figsize=(11, 4), layout="constrained")
    over_time, over_count = figure.subplots(1, 2)
    for (label, loss), colour in zip(losses.items(), ("C0", "C1"), strict=True):
        over_time.semilogy(times, loss, color=colour, label=label)
    over_time.axhline(bound, color="k", ls=":", label="L₊, the least loss without negative neurons")
    over_time.set(xlabel="time", ylabel="loss")
    over_count.loglog(COUNTS, errors, "o-", color="C0", label="random particles beside the flow")
    over_count.loglog(COUNTS, errors[0] * np.sqrt(COUNTS[0] / np.array(COUNTS)), "k:", label="m^−½")
    over_count.set_xticks(COUNTS, [str(n) for n in COUNTS])
    over_count.set_xticks([], minor=True)
    over_count.set(xlabel="particles m", ylabel=f"RMS error of predictions at t = {SHORT:g}")
    for axes in figure.axes:
        axes.legend(fontsize="small")
    figure.savefig(directory / PICTURE, dpi=100)


def reproduce(directory: Path, quick: bool) -> list[Claim]:
    case = case_of_points()
    simulator = Simulator.of(case)
    seeds, count = (12, 256) if quick else (64, 1024)
    grid = gridflow.solve(case.replace({"time.stop": SHORT, "time.save": 2}))
    inputs = np.hstack([grid["input"], np.ones((grid.sizes["data"], 1))])
    targets, weights = grid["target"].to_numpy().ravel(), grid["data_weight"].to_numpy()
    bound = least_loss_without_negative_neurons(inputs, targets, weights)
    times = list(np.linspace(0.0, LONG, 41))
    starts = {"start with all directions": -1.0, "start on the cap η₃ ≥ 1/√2": CAP}
    runs = {name: simulator.run(cloud(count, 1, low), times=times, integrator=INTEGRATOR) for name, low in starts.items()}
    losses = {name: run.energy for name, run in runs.items()}
    full, lacking = losses.values()
    lowest = float(list(runs.values())[1].points[..., 2].min())
    many, errors = errors_of_particles(simulator, seeds)
    slope = float(np.polyfit(np.log(COUNTS), np.log(errors), 1)[0])
    spread = 2 / np.sqrt(2 * seeds) / (np.log(COUNTS[-1] / COUNTS[0]) / np.sqrt(2))
    beside = float(np.abs(grid["prediction"].isel(time=-1).to_numpy().reshape(many.shape) - many).max())
    width = float(np.sqrt(4 * np.pi / grid.sizes["eta"]))
    print(
        f"L₊ = {bound:.6f}; at t = {LONG:g}: all directions {full[-1]:.3e}, cap {lacking[-1]:.6f}, its smallest η₃ {lowest:.3f}"
    )
    print(f"errors {errors} slope {slope:.3f} ± {spread:.3f}; grid beside many particles {beside:.2e}, cell {width:.3f}")
    draw(directory, times, losses, bound, errors)
    common = {"pictures": (PICTURE,)}
    return [
        Claim(
            name="directions-particles-rate",
            source="S2 §4.2 Theorem 1",
            says="As the number of neurons grows, the particles converge to the flow at every time.",
            quantity=f"exponent in m of the RMS error of the predictions at t = {SHORT:g}, m from {COUNTS[0]} to {COUNTS[-1]}",
            value=slope,
            band=(float(-0.5 - spread), float(-0.5 + spread)),
            reason=f"−½, independent starts; two standard errors of a slope from {seeds} seeds, a prediction each",
            opposite=(-0.2, np.inf),
            **common,
        ),
        Claim(
            name="directions-equation",
            source="S2 §4.2, S2 §4.2 Theorem 1",
            says="Directions with masses r² obey a transport equation with a reaction, which the particles follow.",
            quantity=f"largest difference of predictions between the equation on a grid and many particles at t = {SHORT:g}",
            value=beside,
            band=(0.0, width**2),
            reason="the square of the width of a cell: the grid is of second order, predictions are smooth in ν",
            **common,
        ),
        Claim(
            name="directions-all",
            source="S2 §4.2 Theorem 2",
            says="From a start with all directions the flow, where it converges, reaches a global optimum.",
            quantity=f"loss at t = {LONG:g} over L₊, the least loss without negative neurons; the optimum is 0",
            value=float(full[-1] / bound),
            band=(0.0, 0.05),
            reason="1 is where a start may stall; a twentieth of it is far below every such network",
            opposite=(0.5, np.inf),
            **common,
        ),
        Claim(
            name="directions-lacking",
            source="S2 §4.2 Theorem 2",
            says="The start must have all directions.",
            quantity=f"loss at t = {LONG:g} over L₊, from a start on the cap",
            value=float(lacking[-1] / bound),
            band=(1 - 1e-3, np.inf),
            reason="α > 0 is kept by every neuron of the cap, so that L₊ is a bound; 0.001 for the directions of its programme",
            opposite=(0.0, 0.5),
            finding="The loss stalls at the bound: no negative neuron ever appears among particles.",
            **common,
        ),
    ]
