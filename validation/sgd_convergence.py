"""Does minibatch SGD converge to the flow as its step goes to zero (S3 §2.1: t = kα/N), and how fast?

bn-circle with one datum of 300 per step, drawn afresh, from Sobol points, to t = 3. All neurons see the same datum, so the noise
of the gradient does not average out over neurons: it is common to all, with a variance proportional to the step, and displaces
the whole cloud by O(√step). Measured over the step are the root mean square displacement from the run with the full gradient,
and the distance of the cloud to the density on the grid, over several runs. Theory for the displacement: order ½.
"""

from pathlib import Path

import numpy as np

import gridflow
from gridflow.case.case import Case
from gridflow.particles.cloud import Cloud, draw_cloud
from gridflow.particles.integrator import GradientDescent, RungeKutta2
from gridflow.space.distances import Slices
from gridflow.space.factor import Array
from validation.claim import Claim

STOP = 3.0
STEPS = (0.1, 0.05, 0.025, 0.0125)
RUNS = 6


def initial_cloud(case: Case, count: int) -> Cloud:
    """The same for every run; the seed of a run draws its batches."""
    return draw_cloud(case.initial, case.grid().factors, count, 1, "sobol")


def measure(count: int, cells: int) -> tuple[Array, Array, float]:
    """(displacement and distance to the grid for each step, distance of the run with the full gradient to the grid)."""
    case = gridflow.load_case("bn-circle").replace({"time.stop": STOP, "time.save": [0.0, STOP], "space.angle.cells": cells})
    grid = case.grid()
    dataset = gridflow.solve(case)
    masses = dataset["density"].isel(time=-1).transpose(*grid.order).to_numpy() * grid.volume
    slices = Slices(grid.factors)
    on_grid = slices.of_grid(grid, masses)

    def to_grid(points: Array) -> float:
        return float(slices.energy_distance(slices.of_points(points, np.full(count, 1 / count)), on_grid))

    cloud = initial_cloud(case, count)
    full = gridflow.simulate(case, cloud, integrator=RungeKutta2(STEPS[-1])).points[-1]
    length = np.array([f.total_volume if f.period > 0 else np.inf for f in grid.factors])
    displacements, distances = [], []
    for step in STEPS:
        squares, gaps = [], []
        for seed in range(RUNS):
            run = gridflow.simulate(case, cloud, seed=seed, integrator=GradientDescent(step=step, batch=1))
            gap = np.abs(run.points[-1] - full)
            squares.append((np.minimum(gap, length - gap) ** 2).sum(axis=1).mean())
            gaps.append(to_grid(run.points[-1]))
        displacements.append(np.sqrt(np.mean(squares)))
        distances.append(np.mean(gaps))
        print(f"step {step:<7g} displacement {displacements[-1]:.3e}   root energy distance to the grid {distances[-1]:.3e}")
    return np.array(displacements), np.array(distances), to_grid(full)


def picture(path: Path, displacements: Array, distances: Array, floor: float) -> None:
    """Displacement and distance over the step."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(6.4, 4.0), layout="constrained")
    axes.loglog(STEPS, displacements, "o-", color="#0072b2", label="displacement from the full gradient (root mean square)")
    axes.loglog(STEPS, distances, "s-", color="#d55e00", label="root energy distance to the density on the grid")
    axes.loglog(STEPS, displacements[0] * np.sqrt(np.array(STEPS) / STEPS[0]), "k:", label="slope ½")
    axes.axhline(floor, color="#d55e00", linestyle="--", linewidth=1, label="distance of the full gradient to the grid")
    axes.set(xlabel="step in mean-field time", title="bn-circle, t = 3: stochastic gradients, one datum of 300 per step")
    axes.set_xticks(STEPS, [f"{s:g}" for s in STEPS])
    axes.minorticks_off()
    figure.legend(loc="outside lower center", fontsize=8)
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


def reproduce(directory: Path, quick: bool) -> list[Claim]:
    displacements, distances, floor = measure(*((512, 96) if quick else (4096, 192)))
    print(f"full gradient: root energy distance to the grid {floor:.2e} (floor)")
    picture(directory / "sgd-convergence.png", displacements, distances, floor)
    slope = float(np.polyfit(np.log(STEPS), np.log(displacements), 1)[0])
    print(f"slope of the displacement in the step: {slope:.2f}")
    shared = {"source": "S3 Theorem 1", "pictures": ("sgd-convergence.png",)}
    return [
        Claim(
            name="sgd-order", **shared,
            says="Stochastic gradient descent follows the flow, at t = steps times their length, as the step goes to 0.",
            quantity="slope of the displacement from the full gradient in the step",
            value=slope, band=(0.2, 0.8), opposite=(-1.0, 0.05),
            reason="theory ½; six runs of noise in two dimensions leave 20 % in each displacement, 0.13 in the slope over four"
            " steps: ± 0.3 is two of that and what is not asymptotic",
            finding="The noise of the gradient is common to all neurons: more of them do not reduce it, smaller steps do.",
        ),
        Claim(
            name="sgd-distance", **shared,
            says="The density of the neurons comes closer to that of the flow as the step goes to 0.",
            quantity="root energy distance to the density on the grid, smallest over largest step",
            value=float(distances[-1] / distances[0]), band=(0.0, 0.75), opposite=(1.0, 100.0),
            reason="theory (1/8)^½ = 0.35, with 20 % from six runs in either distance; twice that beside the floor",
        ),
    ]  # fmt: skip
