"""Under batch normalisation short neurons turn faster than long ones (S1 §4.2, Fig. 2): by how much?

Neurons (a, b) in R × R² move by S1 (10), half of them with ‖b₀‖ = 1 and half, equal in all else, with ‖b₀‖ = 10. Nothing is
assumed about their speeds. Measured: the ratio of the speeds of b (S1: 1/c = 1/10), with and without batch normalisation, that of
the times in which each half turns by a given angle (c² = 100 while the predictions stay), how well lengths are kept,
and the distance
of the directions to the density of bn-two-lengths, which has the mobility 1/c². Directions at iterations 0 to 10000, η/N = 0.001.
"""

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

import gridflow
from gridflow.output.style import BLUE, VERMILLION
from gridflow.particles.integrator import RungeKutta2
from gridflow.particles.simulation import ParticleRun
from gridflow.space.distances import quantiles_of_cells, quantiles_of_points, wasserstein
from gridflow.space.factor import Array
from validation.bn_first_step import Plane, plane
from validation.claim import Claim

ITERATIONS = [0, 2000, 4000, 6000, 8000, 10000]
PER_TIME = 1000
RATIO = 10.0
SHOWN = 60
TURN = 0.0005
"""Radians: the predictions have hardly changed when long neurons have turned so far."""
STEP = 0.05


def halves(count: int) -> tuple[Array, Array, Array]:
    """(output weights, lengths, directions) of `count` short neurons, then of as many long ones."""
    a = np.random.default_rng(1).normal(scale=0.5, size=count)
    return np.tile(a, 2), np.repeat([1.0, RATIO], count), np.tile((np.arange(count) + 0.5) * 2 * np.pi / count, 2)


def speed_ratios(model: Plane, count: int) -> tuple[float, float]:
    """(least, largest) ratio of the speeds of b, long over short, at the start."""
    cloud = model.cloud(*halves(count))
    speed = np.linalg.norm(model.velocity(cloud.points, cloud.weights)[:, 1:], axis=1)
    ratios = (speed[count:] / speed[:count])[speed[:count] > 0]
    return float(ratios.min()), float(ratios.max())


def directions(model: Plane, run: ParticleRun) -> tuple[Array, Array]:
    """(angles without jumps, lengths), both (n_times, n_particles)."""
    b = run.points[:, :, model.columns[1:]]
    return np.unwrap(np.arctan2(b[..., 1], b[..., 0]), axis=0), np.linalg.norm(b, axis=2)


def distances_to_density(direction: Array, count: int, quick: bool) -> list[float]:
    """W1 between the directions at the end and the density of bn-two-lengths, of either length."""
    case = gridflow.load_case("bn-two-lengths").replace({"time.save": 2})
    case = case.replace({"space.a.cells": 48, "space.angle.cells": 96} if quick else {})
    dataset, grid = gridflow.solve(case), case.grid()
    factor = next(f for f in grid.factors if f.name == "angle")
    masses = (dataset["density"] * dataset["cell_volume"]).isel(time=-1).sum("a").transpose("length", "angle").to_numpy()
    return [
        wasserstein(
            quantiles_of_points(np.mod(part, 2 * np.pi), np.full(count, 1 / count), factor),
            quantiles_of_cells(mass / mass.sum(), factor), 1,
        )
        for mass, part in zip(masses, direction.reshape(2, count), strict=True)
    ]  # fmt: skip


def reproduce(directory: Path, quick: bool) -> list[Claim]:
    count = 400 if quick else 2000
    model = plane()
    with_bn, without = speed_ratios(model, count), speed_ratios(plane(False), count)
    print(f"speed of b, length {RATIO:g} over 1: with BN {with_bn}, without {without}")
    times = [0.0, *np.geomspace(0.005, 0.9, 40).round(6).tolist(), *np.arange(1.0, 10.01, 0.25).tolist()]
    run = gridflow.simulate(model.case, model.cloud(*halves(count)), times=times, integrator=RungeKutta2(STEP))
    direction, norms = directions(model, run)
    kept = float(np.abs(norms / norms[0] - 1).max())
    short, long = np.abs(direction - direction[0]).reshape(len(times), 2, count).mean(axis=2).T
    print("mean turn     time of length 1   time of length 10   ratio (c² = 100 while the predictions stay)")
    for target in (TURN, 0.001, 0.002, 0.004):
        pair = [float(np.interp(target, turned, times)) for turned in (short, long)]
        print(f"{np.degrees(target):6.3f}° {pair[0]:18.4f} {pair[1]:19.3f} {pair[1] / pair[0]:12.1f}")
    ratio = float(np.interp(TURN, long, times) / np.interp(TURN, short, times))
    ends = np.degrees([short[-1], long[-1]])
    print(f"mean turn at the end: {ends[0]:.1f}° and {ends[1]:.1f}°; lengths kept to {kept:.1e}")
    gaps = distances_to_density(direction[-1], count, quick)
    print(f"W1 of the directions between neurons and density at the end: length 1 {gaps[0]:.4f}, length 10 {gaps[1]:.4f}")
    draw(directory, times, direction, count)
    pictures, cell = ("bn-lengths.png",), 2 * np.pi / (96 if quick else 192)
    exact = "S1 (21), (22) with ReLU, exactly: round-off"
    return [
        Claim(
            "bn-lengths-speed", "S1 Fig. 2, S1 §4.2", "With BN a neuron c times as long moves 1/c times as fast.",
            "largest |c·ratio of the speeds of b − 1|, c = 10, over all neurons",
            max(abs(RATIO * r - 1) for r in with_bn), (0.0, 1e-9), exact,
        ),
        Claim(
            "bn-lengths-speed-without", "S1 Fig. 2, S1 §4.2", "Without BN (ReLU) its speed is the same.",
            "largest |ratio of the speeds of b − 1| over all neurons", max(abs(r - 1) for r in without), (0.0, 1e-9), exact,
        ),
        Claim(
            "bn-lengths-time", "S1 Fig. 2", "Short neurons turn faster.",
            "time in which long neurons turn by 0.0005 in the mean, over that of short ones", ratio, (85.0, 115.0),
            "c² = 100 while predictions stay; until then (t = 0.5) the loss falls by some 20 %, forces by half of that",
            pictures=pictures,
        ),
        Claim(
            "bn-lengths-converge", "S1 Fig. 2",
            "At iteration 10000 the short neurons have arrived, the long ones have hardly moved.",
            "mean turn of long neurons over that of short ones at iteration 10000", float(ends[1] / ends[0]), (0.0, 0.1),
            "1/c² = 0.01 for equal forces; up to ten times that, since the short ones stop where they arrive", opposite=(0.5,
            np.inf), pictures=pictures,
        ),
        Claim(
            "bn-lengths-kept", "S1 Fig. 2", "Lengths do not change in the continuous flow.",
            "largest relative change of a length until iteration 10000", kept, (0.0, STEP**2),
            "RK2 steps of 0.05: local errors of third order, 200 steps; the flow itself keeps them exactly",
        ),
        Claim(
            "bn-lengths-density", "gridflow",
            "The density with the mobility 1/c² of bn-two-lengths is the limit of these neurons.",
            "larger of the two W1 of directions, between neurons and density, at iteration 10000", max(gaps), (0.0, cell),
            "one cell of the angle: short neurons gather within a cell; equidistant neurons add less",
        ),
    ]  # fmt: skip


def draw(directory: Path, times: list[float], direction: Array, count: int) -> None:
    """Directions of short and long neurons at six iterations."""
    figure = Figure(figsize=(11, 2.35), layout="constrained")
    chosen = np.arange(SHOWN) * count // SHOWN
    circle = np.linspace(0, 2 * np.pi, 200)
    for axes, iteration in zip(figure.subplots(1, len(ITERATIONS)), ITERATIONS, strict=True):
        row = int(np.abs(np.array(times) - iteration / PER_TIME).argmin())
        axes.plot(np.cos(circle), np.sin(circle), color="0.7", lw=1)
        for first, colour, radius in ((count, VERMILLION, 1.0), (0, BLUE, 0.8)):
            angles, zero = direction[row, first + chosen], np.zeros(SHOWN)
            axes.plot([zero, radius * np.cos(angles)], [zero, radius * np.sin(angles)], color=colour, lw=0.8, alpha=0.6)
        axes.set(aspect="equal", xlim=(-1.1, 1.1), ylim=(-1.1, 1.1), xticks=[], yticks=[], title=f"iteration {iteration}")
        axes.title.set_fontsize("medium")
    figure.suptitle("directions of neurons with ‖b‖ = 1 (blue, drawn shorter) and ‖b‖ = 10 (orange)")
    figure.savefig(directory / "bn-lengths.png", dpi=84)
