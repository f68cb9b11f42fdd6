"""Networks of m neurons tend to the density as m grows (S1 Theorem 4): how fast?

    python validation/bn_particles_to_density.py OUTDIR

Solves bn-ellipse up to t = 4 on the grid, and runs m neurons on Ω, drawn at random, for several m. Prints the mean distance
of the neurons to the density (sliced W1 in the full space, W1 of the marginals) and of the predictions over the ensembles,
with the fitted power of m; random neurons allow −½. Writes OUTDIR/bn-particles-to-density.png.
"""

import sys
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

import gridflow
from gridflow.distances import Slices, quantiles_of_cells, quantiles_of_points, wasserstein
from gridflow.particles.simulation import Simulator

COUNTS = [16, 64, 256, 1024, 4096]
RUNS = 16
STOP = 4.0


def main(directory):
    directory.mkdir(parents=True, exist_ok=True)
    case = gridflow.load_case("bn-ellipse").replace({"time.stop": STOP, "time.save": 2})
    dataset, grid = gridflow.solve(case), case.grid()
    density = dataset["density"].isel(time=-1).transpose(*grid.order).to_numpy()
    masses, slices = density * grid.volume, Slices(grid.factors)
    shadow = slices.of_grid(grid, masses)
    marginals = [quantiles_of_cells(grid.marginal_masses(density, f.name), f) for f in grid.factors]
    prediction, weights = dataset["prediction"].isel(time=-1).to_numpy(), dataset["data_weight"].to_numpy()
    simulator = Simulator(case)
    names = ["sliced W1", *(f"W1 of {f.name}" for f in grid.factors), "prediction"]
    means = np.empty((len(COUNTS), len(names)))
    print("neurons  " + "  ".join(f"{n:>12}" for n in names))
    for row, count in enumerate(COUNTS):
        distances = []
        for seed in range(RUNS):
            run = simulator.run(count, times=[0.0, STOP], seed=seed)
            points = run.points[-1]
            marginal = [
                wasserstein(quantiles_of_points(points[:, k], run.weights, f), m, 1)
                for k, (f, m) in enumerate(zip(grid.factors, marginals, strict=True))
            ]
            error = np.sqrt(weights @ (run.prediction[-1][:, 0] - prediction) ** 2)
            distances.append([slices.sliced_wasserstein1(slices.of_points(points, run.weights), shadow), *marginal, error])
        means[row] = np.mean(distances, axis=0)
        print(f"{count:7d}  " + "  ".join(f"{v:12.2e}" for v in means[row]))
    slopes = np.polyfit(np.log(COUNTS), np.log(means), 1)[0]
    print("  power  " + "  ".join(f"{v:12.2f}" for v in slopes))

    figure = Figure(figsize=(6, 4.4), layout="constrained")
    axes = figure.subplots()
    for name, values, slope in zip(names, means.T, slopes, strict=True):
        axes.loglog(COUNTS, values, "o-", ms=4, label=f"{name}, power {slope:.2f}")
    axes.loglog(COUNTS, means[0, 0] * np.sqrt(COUNTS[0] / np.array(COUNTS)) / 2, "k--", lw=0.8, label="power −½")
    axes.set(xlabel="neurons m", ylabel=f"mean distance to the density, {RUNS} runs", title="S1 Theorem 4 on R × Ω, t = 4")
    axes.legend(fontsize="small")
    figure.savefig(directory / "bn-particles-to-density.png", dpi=110)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(Path(sys.argv[1]))
