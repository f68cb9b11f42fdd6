"""Where noise injection reaches the target of an MMD flow, and where it only delays the collapse.

The noisy gradient descent Z ← Z − γ∇f(Z + β_t u) has, as γ → 0, the density ∂ν/∂t = div(ν∇(G_β * f)): ν is moved by a kernel of
bandwidth (σ² + β²)^½. Two densities on a grid and particles that do as printed:

* mmd-noise, β = 2(1 + t/10)^{−½} on a way of length 4 with σ = 2: the counterexample;
* mmd-noise-reaches, β = 8(1 + t/1500)^{−4} on the same way, and the same without noise and with noise on the iterate instead.

What decides (all of it on the grid, in the limit γ → 0).
1. Mass collapses at the mean of ν* as long as more than 1 − (1 + s²/σ²)^{−(1+d/2)} of the mass is missing there, 11 % for s = ½,
   σ = 2, d = 2: then its own repulsion is weaker than the attraction of ν*.
2. Mass is left behind wherever it is not moved alike: where |∇²(G_β * f)| counts. The pull on the share ε that is left behind
is of
   order ε itself, since what has arrived cancels the attraction of ν*: ε decays like 1/t, with noise and without.
3. Noise with β well above the way makes G_β * k a parabola over the scene: all mass moves as one, at the rate σ^d/(σ² +
β²)^{1+d/2}
   (1/1156 here), and nothing is left behind. β of the order of σ does not, and only delays: case mmd-noise.
4. When β has decayed the flow is that of F near its minimum, where it is stable: the size of ν* is found.
Steps of finite length are not what helps. They add the diffusion (γ/2)∇∇:(Cν), C = Cov_u[∇f(z + βu)], which vanishes at ν* but on
the way leaves single particles far away: F at the end grows with γ. In one dimension the grid offers these terms
(`flow.noise_injection` corrections), and a grid with them and particles of the same γ agree.

KSD and the other methods on a student and a teacher: mmd_methods and mmd_student_teacher.
"""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import xarray
from matplotlib.animation import FuncAnimation, PillowWriter
from matplotlib.figure import Figure

import gridflow
from gridflow.case.case import Case
from gridflow.flow.noise import temperature
from gridflow.particles.integrator import GradientDescent
from gridflow.particles.simulation import ParticleRun, simulate
from gridflow.space.factor import Array
from validation.claim import Claim
from validation.mmd_observations import NEAR, SHARE

MEAN, DEVIATION, HALF_CELL = np.array([2.0, 1.0]), 0.5, 0.0625
SLACK = HALF_CELL * NEAR / DEVIATION**2 * float(np.exp(-0.5))
"""What the share within NEAR changes by when NEAR changes by half a cell of the shipped grid."""
NOISE = {"level": 8.0, "decay": {"kind": "power", "time": 1500.0, "power": 4.0}}
LINE_NOISE = {"level": 8.0, "decay": {"kind": "power", "time": 400.0, "power": 4.0}}
GAMMA = 0.25
"""The step of the particles on the line."""


class Summary(NamedTuple):
    """near : share of the mass within NEAR of the target's mean; deviations : (2,); energy : F."""

    near: float
    deviations: Array
    energy: float


def summary(points: Array, weights: Array, energy: float) -> Summary:
    """points : (n, n_dim) relative to the target's mean."""
    mean = weights @ points
    near = float(weights[np.sqrt((points**2).sum(axis=1)) < NEAR].sum())
    return Summary(near, np.sqrt(weights @ (points - mean) ** 2), energy)


def grid_summary(case: Case, dataset: xarray.Dataset, save: int = -1) -> Summary:
    """Columns x and, in the plane, y."""
    grid = case.grid()
    mass = dataset["density"].transpose("time", *grid.order).to_numpy()[save] * grid.volume
    names = [n for n in ("x", "y") if n in grid.order]
    columns = [np.broadcast_to(grid.coordinate(n) - m, grid.shape).ravel() for n, m in zip(names, MEAN, strict=False)]
    energy = case.energy.load(Path(case.directory)).bind(grid).evaluate(mass).value  # F, without the entropy of a temperature
    return summary(np.stack(columns, axis=1), mass.ravel(), energy)


def plane(name: str, changes: dict) -> tuple[Case, xarray.Dataset]:
    case = gridflow.load_case(name).replace(changes)
    return case, gridflow.solve(case)


def on_a_line(cells: int) -> Case:
    """The scene on a line: the same way, widths and bandwidth; β fades sooner, since the pull is stronger in one dimension."""
    normal = {"kind": "normal", "deviation": DEVIATION, "mean": 2.0}
    start = {"kind": "normal", "deviation": 0.8, "mean": -2.0}
    return gridflow.load_case("mmd-noise-reaches").replace(
        {
            "space": {"x": {"kind": "interval", "bounds": [-9.0, 6.0], "cells": cells}},
            "energy": {"kind": "mmd", "kernel": "gaussian", "bandwidth": 2.0, "target": [{"density": {"x": normal}}]},
            "initial": [{"density": {"x": start}}],
            "flow.noise_injection": LINE_NOISE,
            "time": {"stop": 800.0, "save": 5},
        }
    )


def finite_steps(quick: bool) -> list[Claim]:
    """The same on a line, with the terms of order γ and with particles."""
    count, case = (64, on_a_line(120)) if quick else (256, on_a_line(240))
    terms = {**LINE_NOISE, "step": GAMMA, "corrections": ["drift", "diffusion"]}
    plain = case.replace({"flow.noise_injection": {}})
    corrected = case.replace({"flow.noise_injection": terms})
    found = {name: grid_summary(c, gridflow.solve(c)) for name, c in (("none", plain), ("zero", case), ("step", corrected))}
    run = simulate(case, count, sampling="sobol", integrator=GradientDescent(step=GAMMA))
    particles = summary(run.points[-1] - 2.0, run.weights, float(run.energy[-1]))
    for name, s in {**found, "particles": particles}.items():
        print(f"on a line, {name:<10} near {s.near:.3f}, deviation {s.deviations[0]:.3f}, F {s.energy:.2e}")
    return [
        Claim(
            "noise-reaches-line", "S4 noise injection", "Noise injection reaches the target where the flow itself stalls.",
            "on a line: F without noise over F with it at t = 800, as γ → 0",
            found["none"].energy / found["zero"].energy, (10.0, np.inf), "an order of magnitude", (0.0, 1.0),
        ),
        Claim(
            "noise-finite-steps", "gridflow", "The remedy works as γ → 0; steps of finite length are not what helps.",
            f"on a line: F of the density with the terms of order γ = {GAMMA} over F without them at t = 800",
            found["step"].energy / found["zero"].energy, (1.0, np.inf), "an order: not smaller", (0.0, 0.99),
            "The diffusion (γ/2)∇∇:(Cν) leaves some mass far away, whose return is slow.",
        ),
        Claim(
            "noise-finite-steps-particles", "gridflow", "The terms of order γ describe particles of that step.",
            f"on a line: F of {count} particles over F of the density with the terms of order γ = {GAMMA}, at t = 800",
            particles.energy / found["step"].energy, (0.5, 2.0),
            "a factor of two, for F is made by the few particles far away; without the terms it is above four",
        ),
    ]  # fmt: skip


def reproduce(directory: Path, quick: bool) -> list[Claim]:
    cells = {"space.x.cells": 60, "space.y.cells": 56} if quick else {}
    count, step = (64, 0.5) if quick else (256, 0.25)
    case, noise = plane("mmd-noise-reaches", cells)
    without, plain = plane("mmd-noise-reaches", {**cells, "flow.noise_injection": {}})
    # the step of 0.05 of mmd-noise and mmd-diffusion: β = 0.0224
    iterate = {**cells, "flow.noise_injection": {}, "flow.temperature": temperature(0.0224, 0.05)}
    diffusing, diffusion = plane("mmd-noise-reaches", {**iterate, "scheme.diffusion": "heat-semigroup"})
    later, delayed = plane("mmd-noise", {**cells, "time.stop": 400.0, "time.save": 11})
    runs = [simulate(c, count, sampling="sobol", integrator=GradientDescent(step=step)) for c in (without, case)]
    for name, s in (
        ("mmd-noise-reaches", grid_summary(case, noise)),
        ("without noise", grid_summary(without, plain)),
        ("noise on the iterate", grid_summary(diffusing, diffusion)),
        ("mmd-noise at t = 400", grid_summary(later, delayed)),
        (f"{count} particles, γ = {step}", summary(runs[1].points[-1][:, ::-1] - MEAN, runs[1].weights, runs[1].energy[-1])),
    ):
        print(f"{name:<28} near {s.near:.3f} ({SHARE:.3f}), deviations {s.deviations.round(3)}, F {s.energy:.2e}")
    picture(directory, (without, case), (plain, noise), runs)
    if not quick:
        animation(directory, case, (plain, noise), runs)
    return [
        *plane_claims(grid_summary(case, noise), grid_summary(without, plain), grid_summary(diffusing, diffusion)),
        particle_claim(runs, count, step),
        delay_claim(grid_summary(later, delayed)),
        *finite_steps(quick),
    ]


def plane_claims(noise: Summary, plain: Summary, diffusion: Summary) -> list[Claim]:
    source, pictures = "S4 noise injection", ("mmd-noise.png",)
    return [
        Claim(
            "noise-reaches-loss", source, "Noise injection reaches the target where the flow itself stalls.",
            "F without noise over F with it at t = 1500, case mmd-noise-reaches",
            plain.energy / noise.energy, (100.0, np.inf), "two orders of magnitude", (0.0, 1.0),
            "It does where β is well above the way, and lasts: then all mass moves as one.", pictures,
        ),
        Claim(
            "noise-reaches-share", source, "Noise injection reaches the target where the flow itself stalls.",
            f"share of the mass within {NEAR} of the target's mean at t = 1500 (of the target {SHARE:.3f})",
            noise.near, (SHARE - SLACK, SHARE + SLACK), "half a cell more or less of the radius", (2 * SHARE, 1.0),
            f"Without noise it is above {1.5 * SHARE:.2f}.", pictures,
        ),
        Claim(
            "noise-reaches-deviation", source, "Noise injection reaches the target where the flow itself stalls.",
            "largest difference of a deviation of the density from the target's 0.5, at t = 1500",
            float(np.abs(noise.deviations - DEVIATION).max()), (0.0, HALF_CELL), "half a cell", (0.5, np.inf), pictures=pictures,
        ),
        Claim(
            "diffusion-biased", "S4 diffusion", "Noise on the iterate is another method, with another limit.",
            "F with noise on the iterate (temperature 0.005) over F with injected noise at t = 1500, case mmd-noise-reaches",
            diffusion.energy / noise.energy, (10.0, np.inf), "an order of magnitude: a constant temperature leaves a bias",
            (0.0, 1.0),
        ),
    ]  # fmt: skip


def particle_claim(runs: list[ParticleRun], count: int, step: float) -> Claim:
    return Claim(
        "noise-reaches-particles", "S4 noise injection", "Noise injection reaches the target where the flow itself stalls.",
        f"F of {count} particles without noise over F with it at t = 1500, steps of {step:g}",
        float(runs[0].energy[-1] / runs[1].energy[-1]), (2.0, np.inf),
        "twice: the V-statistic of so many particles drawn from the target itself is a hundredth of F without noise or less",
        (0.0, 1.0), "Less than on the grid: single particles that finite steps leave far away make most of F.",
        ("mmd-noise.png",),
    )  # fmt: skip


def delay_claim(delayed: Summary) -> Claim:
    return Claim(
        "noise-delays", "S4 tradeoff", "With noise as small as the bandwidth the failure is that of the flow without.",
        f"share of the mass within {NEAR} of the target's mean at t = 400, case mmd-noise (of the target {SHARE:.3f})",
        delayed.near, (2 * SHARE, 1.0), "twice the share of the target, as for the collapse", (SHARE - SLACK, SHARE + SLACK),
        "Noise of the bandwidth's own size, β = 2(1 + t/10)^(−½), delays the collapse and does not prevent it.",
    )  # fmt: skip


def frame_drawer(axes, case: Case, dataset: xarray.Dataset, run: ParticleRun) -> Callable[[int], None]:
    """Draws the density at a save, the target's contours of one and two deviations, and the particles."""
    grid = case.grid()
    x, y = (next(f for f in grid.factors if f.name == n) for n in ("x", "y"))
    density = dataset["density"].transpose("time", "y", "x").to_numpy()
    order = [grid.order.index(n) for n in ("x", "y")]
    turn = np.linspace(0, 2 * np.pi, 100)

    def draw(k: int) -> None:
        axes.clear()
        top = np.quantile(density[k][density[k] > 1e-3], 0.98)
        axes.pcolormesh(x.edges, y.edges, density[k], cmap="Blues", vmin=0, vmax=top, rasterized=True)
        points = run.points[k][:, order]
        axes.plot(*points.T, ".", color="C1", ms=3, label="particles")
        for size in (1, 2):
            circle = MEAN[:, None] + size * DEVIATION * np.array([np.cos(turn), np.sin(turn)])
            axes.plot(*circle, color="k", lw=0.8, label="target, 1 and 2 deviations" if size == 1 else None)
        axes.set(xlim=(-8, 6), ylim=(-6, 5), aspect="equal", xlabel="x", title=f"t = {float(dataset['time'][k]):g}")

    return draw


def picture(directory: Path, cases: tuple[Case, Case], datasets: tuple, runs: list[ParticleRun]) -> None:
    figure = Figure(figsize=(12, 5.6), layout="constrained")
    rows = figure.subplots(2, 4)
    saves = (0, 6, 30)
    for row, name, case, dataset, run in zip(rows, ("without noise", "with noise"), cases, datasets, runs, strict=True):
        for axes, k in zip(row, saves, strict=False):
            frame_drawer(axes, case, dataset, run)(k)
        row[0].set_ylabel(f"{name}: y")
    rows[0, 0].legend(fontsize="x-small", loc="lower right")
    loss(rows[0, 3], datasets, runs)
    rows[0, 3].legend(fontsize="x-small", loc="upper right")
    shares(rows[1, 3], cases, datasets)
    figure.savefig(directory / "mmd-noise.png", dpi=80)


def loss(axes, datasets: tuple, runs: list[ParticleRun]) -> None:
    for name, colour, dataset, run in zip(("without noise", "with noise"), ("C3", "C0"), datasets, runs, strict=True):
        axes.semilogy(dataset["time"], dataset["energy"], color=colour, label=name)
        axes.semilogy(run.times, run.energy, color=colour, ls=":", label=f"{name}, particles")
    axes.set(xlabel="time", title="F", ylim=(1e-6, 50))


def shares(axes, cases: tuple[Case, Case], datasets: tuple) -> None:
    for name, colour, case, dataset in zip(("without noise", "with noise"), ("C3", "C0"), cases, datasets, strict=True):
        near = [grid_summary(case, dataset, k).near for k in range(dataset.sizes["time"])]
        axes.plot(dataset["time"], near, color=colour, label=name)
    axes.axhline(SHARE, color="k", lw=0.8, ls="--", label="of the target")
    axes.set(xlabel="time", title=f"mass within {NEAR} of the mean", ylim=(0, 1.3))
    axes.legend(fontsize="x-small", loc="upper right")


def animation(directory: Path, case: Case, datasets: tuple, runs: list[ParticleRun]) -> None:
    """mmd-noise.gif: both runs side by side, and the loss."""
    figure = Figure(figsize=(9, 3.2), layout="constrained")
    *two, right = figure.subplots(1, 3)
    loss(right, datasets, runs)
    right.legend(fontsize="x-small", loc="upper right")
    line = right.axvline(0.0, color="0.5")
    draws = [frame_drawer(axes, case, d, r) for axes, d, r in zip(two, datasets, runs, strict=True)]

    def update(k: int) -> list:
        for draw, axes, name in zip(draws, two, ("without noise", "with noise"), strict=True):
            draw(k)
            axes.set_title(f"{name}, {axes.get_title()}")
        line.set_xdata([runs[0].times[k]] * 2)
        return []

    FuncAnimation(figure, update, frames=len(runs[0].times)).save(directory / "mmd-noise.gif", PillowWriter(fps=5), dpi=60)
