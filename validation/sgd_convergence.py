"""Does minibatch SGD converge to the density on the grid as its step goes to zero (S3 §2.1: t = kα/N)?

    python validation/sgd_convergence.py

bn-circle with one datum of 300 per step, drawn afresh, N = 4096 neurons (Sobol), to t = 3. All neurons see the same datum, so the
noise of the gradient does not average out over neurons: common to all, with a variance proportional to the step, it displaces the
whole cloud by O(√step). Prints, over the step, the root mean square displacement from the run with the full gradient and the
distance of the cloud to the grid, over several runs, with their slopes in the step. Theory: ½ until the floor of grid and sample.
"""

import numpy as np

import gridflow
from gridflow.distances import Slices
from gridflow.particles.cloud import draw_cloud
from gridflow.particles.integrator import GradientDescent, RungeKutta2

STOP = 3.0
STEPS = (0.1, 0.05, 0.025, 0.0125)
RUNS = 6
COUNT = 4096


def main() -> None:
    case = gridflow.load_case("bn-circle").replace({"time.stop": STOP, "time.save": [0.0, STOP], "space.angle.cells": 192})
    grid = case.grid()
    dataset = gridflow.solve(case)
    masses = dataset["density"].isel(time=-1).transpose(*grid.order).to_numpy() * grid.volume
    slices = Slices(grid.factors)
    on_grid = slices.of_grid(grid, masses)

    def to_grid(points):
        return slices.energy_distance(slices.of_points(points, np.full(COUNT, 1 / COUNT)), on_grid)

    full = gridflow.simulate(case, initial_cloud(case), integrator=RungeKutta2(0.0125)).points[-1]
    print(f"full gradient: root energy distance to the grid {to_grid(full):.2e} (floor)")
    length = np.array([f.length if f.is_circle else np.inf for f in grid.factors])
    displacements, distances = [], []
    for step in STEPS:
        squares, runs = [], []
        for seed in range(RUNS):
            run = gridflow.simulate(case, initial_cloud(case), seed=seed, integrator=GradientDescent(step=step, batch=1))
            gap = np.abs(run.points[-1] - full)
            gap = np.minimum(gap, length - gap)
            squares.append((gap**2).sum(axis=1).mean())
            runs.append(to_grid(run.points[-1]))
        displacements.append(np.sqrt(np.mean(squares)))
        distances.append(np.mean(runs))
        print(f"step {step:<7g} displacement {displacements[-1]:.3e}   root energy distance to the grid {distances[-1]:.3e}")
    for name, values in (("displacement", displacements), ("distance to the grid", distances)):
        print(f"slope of the {name} in the step: {np.polyfit(np.log(STEPS), np.log(values), 1)[0]:.2f}")


def initial_cloud(case):
    """The same for every run; the seed of a run draws its batches."""
    return draw_cloud(case.initial, case.grid().factors, COUNT, 1, "sobol")


if __name__ == "__main__":
    main()
