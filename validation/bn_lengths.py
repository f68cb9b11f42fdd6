"""Under batch normalisation short neurons turn faster than long ones (S1 §4.2, Fig. 2): by how much?

    python validation/bn_lengths.py OUTDIR

Neurons (a, b) in R × R² move by S1 (10), half of them with ‖b₀‖ = 1 and half, equal in all else, with ‖b₀‖ = 10. Nothing is
assumed about their speeds. Prints the ratio of the speeds of b (S1: 1/c = 1/10) and of their directions (1/c² = 1/100), how
long each half takes to turn by given angles, how well lengths are kept, and the distance of the directions to the density of
bn-two-lengths, which has the mobility 1/c². Writes OUTDIR/bn-lengths.png: directions at iterations 0 to 10000, η/N = 0.001.
"""

import sys
from pathlib import Path

import numpy as np
from bn_first_step import plane_case
from matplotlib.figure import Figure

import gridflow
from gridflow.distances import quantiles_of_cells, quantiles_of_points, wasserstein
from gridflow.particles.cloud import Cloud

ITERATIONS = [0, 2000, 4000, 6000, 8000, 10000]
PER_TIME = 1000
RATIO = 10.0
HALF = 2000
SHOWN = 60


def main(directory):
    directory.mkdir(parents=True, exist_ok=True)
    case = plane_case()
    factors = case.grid().factors
    columns = [[f.name for f in factors].index(n) for n in ("a", "b1", "b2")]
    energy = case.energy.load(Path(case.directory)).particles(factors)
    rng = np.random.default_rng(1)
    angle, a = np.tile((np.arange(HALF) + 0.5) * 2 * np.pi / HALF, 2), np.tile(rng.normal(scale=0.5, size=HALF), 2)
    length = np.repeat([1.0, RATIO], HALF)
    points = np.empty((2 * HALF, 3))
    points[:, columns] = np.column_stack([a, length * np.cos(angle), length * np.sin(angle)])
    cloud = Cloud(points, np.full(2 * HALF, 0.5 / HALF))

    speed = np.linalg.norm(energy.evaluate(points, cloud.weights).gradient[:, columns[1:]], axis=1)
    moving = speed[:HALF] > 0
    ratios = (speed[HALF:] / speed[:HALF])[moving]
    print(f"speed of b, length {RATIO:g} over 1: {ratios.min():.12f} to {ratios.max():.12f}; of its direction 1/{RATIO:g} of it")
    times = np.concatenate([np.geomspace(0.005, 0.9, 40).round(6), np.arange(1.0, 10.01, 0.25)])
    run = gridflow.simulate(case, cloud, times=[0.0, *times.tolist()])
    b = run.points[:, :, columns[1:]]
    norms = np.linalg.norm(b, axis=2)
    print(f"lengths are kept to {np.abs(norms / norms[0] - 1).max():.1e} up to iteration {ITERATIONS[-1]} (RK2 steps of 0.05)")
    direction = np.unwrap(np.arctan2(b[..., 1], b[..., 0]), axis=0)
    turned = np.abs(direction - direction[0])
    means = [turned[:, :HALF].mean(axis=1), turned[:, HALF:].mean(axis=1)]
    print("mean turn     time of length 1   time of length 10   ratio (c² = 100 while the predictions stay)")
    for target in (0.0005, 0.001, 0.002, 0.004):
        short, long = (float(np.interp(target, m, [0.0, *times])) for m in means)
        print(f"{np.degrees(target):6.3f}° {short:18.4f} {long:19.3f} {long / short:12.1f}")
    print(f"mean turn at the end: {np.degrees(means[0][-1]):.1f}° and {np.degrees(means[1][-1]):.1f}°")

    grid_case = gridflow.load_case("bn-two-lengths")
    dataset, grid = gridflow.solve(grid_case), grid_case.grid()
    factor = next(f for f in grid.factors if f.name == "angle")
    masses = (dataset["density"] * dataset["cell_volume"]).isel(time=-1).sum("a").transpose("length", "angle").to_numpy()
    for number, (part, name) in enumerate(zip(masses, ("1", "10"), strict=True)):
        mine = np.mod(direction[-1, number * HALF : (number + 1) * HALF], 2 * np.pi)
        points_side = quantiles_of_points(mine, np.full(HALF, 1 / HALF), factor)
        w1 = wasserstein(points_side, quantiles_of_cells(part / part.sum(), factor), 1)
        print(f"length {name:>2}: W1 of the directions between {HALF} neurons and the density at the end {w1:.4f}")

    figure = Figure(figsize=(15, 3.1), layout="constrained")
    saves = np.array([0.0, *times])
    chosen = np.arange(0, HALF, HALF // SHOWN)[:SHOWN]
    circle = np.linspace(0, 2 * np.pi, 200)
    for axes, iteration in zip(figure.subplots(1, len(ITERATIONS)), ITERATIONS, strict=True):
        row = int(np.abs(saves - iteration / PER_TIME).argmin())
        axes.plot(np.cos(circle), np.sin(circle), color="0.7", lw=1)
        for start, colour, radius in ((HALF, "purple", 1.0), (0, "C0", 0.8)):
            angles = direction[row, start + chosen]
            zero = np.zeros(SHOWN)
            axes.plot([zero, radius * np.cos(angles)], [zero, radius * np.sin(angles)], color=colour, lw=0.8, alpha=0.6)
        axes.set(aspect="equal", xlim=(-1.1, 1.1), ylim=(-1.1, 1.1), xticks=[], yticks=[], title=f"iteration {iteration}")
    figure.suptitle("directions of neurons with ‖b‖ = 1 (blue, drawn shorter) and ‖b‖ = 10 (purple)", fontsize="medium")
    figure.savefig(directory / "bn-lengths.png", dpi=90)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(Path(sys.argv[1]))
