"""Networks of m neurons tend to the density as m grows (S1 Theorem 4, S3 Theorem 1): how fast?

Solves bn-ellipse up to t = 4 on the grid, and runs m neurons on Ω, drawn at random, for several m. Measured: the mean distance of
the neurons to the density (sliced W1 in the full space, W1 of the marginals) and of the predictions over the ensembles,
and the power of m in it. The theorems say that it tends to 0; independent neurons allow m^{-½} for these distances of
one-dimensional shadows, and no faster.
"""

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

import gridflow
from gridflow.particles.simulation import Simulator
from gridflow.space.distances import Slices, quantiles_of_cells, quantiles_of_points, wasserstein
from gridflow.space.factor import Array
from validation.claim import Claim

STOP = 4.0
PICTURE = ("bn-particles-to-density.png",)


def distances(counts: list[int], runs: int, changes: dict) -> tuple[list[str], Array]:
    """(names of the distances, distances (n_counts, runs, n_names))."""
    case = gridflow.load_case("bn-ellipse").replace({"time.stop": STOP, "time.save": 2, **changes})
    dataset, grid = gridflow.solve(case), case.grid()
    density = dataset["density"].isel(time=-1).transpose(*grid.order).to_numpy()
    slices = Slices(grid.factors)
    shadow = slices.of_grid(grid, density * grid.volume)
    marginals = [quantiles_of_cells(grid.marginal_masses(density, f.name), f) for f in grid.factors]
    prediction, weights = dataset["prediction"].isel(time=-1).to_numpy(), dataset["data_weight"].to_numpy()
    simulator = Simulator.of(case)

    def of(count: int, seed: int) -> list[float]:
        run = simulator.run(count, times=[0.0, STOP], seed=seed)
        points = run.points[-1]
        marginal = [
            wasserstein(quantiles_of_points(points[:, k], run.weights, f), m, 1)
            for k, (f, m) in enumerate(zip(grid.factors, marginals, strict=True))
        ]
        error = np.sqrt(weights @ (run.prediction[-1][:, 0] - prediction) ** 2)
        return [slices.sliced_wasserstein1(slices.of_points(points, run.weights), shadow), *marginal, float(error)]

    names = ["sliced W1", *(f"W1 of {f.name}" for f in grid.factors), "prediction"]
    return names, np.array([[of(count, seed) for seed in range(runs)] for count in counts])


def reproduce(directory: Path, quick: bool) -> list[Claim]:
    counts, runs = ([16, 64, 256, 1024], 10) if quick else ([16, 64, 256, 1024, 4096], 32)
    names, values = distances(counts, runs, {"space.a.cells": 64, "space.angle.cells": 120} if quick else {})
    means = values.mean(axis=1)
    logs = np.log(counts)
    slopes = np.polyfit(logs, np.log(means), 1)[0]
    relative = (values.std(axis=1, ddof=1) / means).max(axis=0) / np.sqrt(runs)
    errors = relative / np.sqrt(((logs - logs.mean()) ** 2).sum())  # of the slope, independent ensembles
    print("neurons  " + "  ".join(f"{n:>12}" for n in names))
    for count, row in zip(counts, means, strict=True):
        print(f"{count:7d}  " + "  ".join(f"{v:12.2e}" for v in row))
    print("  power  " + "  ".join(f"{v:5.2f} ± {e:.2f}" for v, e in zip(slopes, errors, strict=True)))

    figure = Figure(figsize=(6, 4.4), layout="constrained")
    axes = figure.subplots()
    for name, mean, slope, style in zip(names, means.T, slopes, ("o-", "s-", "^-", "v-"), strict=True):
        axes.loglog(counts, mean, style, ms=4, label=f"{name}, power {slope:.2f}")
    axes.loglog(counts, means[0, 0] * np.sqrt(counts[0] / np.array(counts)) / 2, "k--", lw=0.8, label="power −½")
    axes.set(xlabel="neurons m", ylabel=f"mean distance to the density, {runs} runs", title=f"bn-ellipse on R × Ω, t = {STOP:g}")
    axes.legend(fontsize="small")
    figure.savefig(directory / PICTURE[0], dpi=90)
    return [
        Claim(
            "bn-particles-" + name.lower().replace(" ", "-").replace("w1-of-", "w1-"), "S1 Theorem 4, S3 Theorem 1",
            "On a finite time the flow of m neurons tends to the solution of the continuity equation.",
            f"power of m in the mean distance to the density at t = 4, {name}", float(slope), (-0.5 - width, -0.5 + width),
            f"−½ of independent neurons, ± {width:.2f}: three standard errors of the fit over {runs} runs of each m, 0.05 for "
            "the error of the grid and the next order in m",
            opposite=(-0.1, np.inf),
            pictures=PICTURE,
        )
        for name, slope, width in zip(names, slopes, 3 * errors + 0.05, strict=True)
    ]  # fmt: skip
