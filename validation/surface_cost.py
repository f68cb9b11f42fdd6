"""What does a surface cost? A step of R × S² against what the two-dimensional figures of this machine promise.

    python validation/surface_cost.py

Takes the RK2 step of bn-sphere (64 cells of a × 2562 cells of the sphere, 300 data) and predicts it from plain 2D grids, all in
one run: sweep of 512² per cell × cells + the two evaluations of the energy, whose moments are contracted over the cells and then
multiplied by n_B × n_data features, forth and back, at the rates per cell and per multiply-add of bn-circle. Medians; then
the parts of the step: the two sweeps with and without the mesh, the evaluations, and the rest (controls).
"""

import time
from collections.abc import Callable

import numpy as np

import gridflow
from gridflow.scheme import sweep
from gridflow.scheme.finite_volume import FiniteVolumeStepper
from gridflow.space.factor import Interval
from gridflow.space.grid import Grid

REPEATS = 15
CELLS_A, LEVEL, N_DATA = 64, 4, 300
DATA = (300, 3000)
"""Numbers of data of bn-circle between which the rate of the products is measured."""


def median(function: Callable[[], object]) -> float:
    function()
    times = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return float(np.median(times))


def sweeps(grid: Grid, rho: np.ndarray, xi: np.ndarray, tables: sweep.Tables | None = None) -> float:
    """Seconds of both sweeps of a step."""
    view = (grid.size // grid.shape[-1], grid.shape[-1])
    tables = tables or sweep.sweep_tables(grid)
    rho, xi, one, two = rho.reshape(view), xi.reshape(view), np.empty(view), np.empty(view)

    def step() -> None:
        sweep.stage(one, None, rho, xi, 1e-9, tables, True, None)
        sweep.stage(two, rho, one, xi, 1e-9, tables, True, None)

    return median(step)


def stepper_of(case: gridflow.Case) -> FiniteVolumeStepper:
    grid = case.grid()
    return case.scheme.init(grid, case.energy.load(case.directory).bind(grid), 0.0)


def energy_rates() -> tuple[float, float]:
    """Seconds of an evaluation on bn-circle per cell, and per multiply-add of the two products with the features."""
    times = []
    for count in DATA:
        case = gridflow.load_case("bn-circle").replace({"energy.data.inputs.count": count})
        stepper = stepper_of(case)
        density = np.ones(stepper.grid.shape)
        times.append(median(lambda stepper=stepper, density=density: stepper.evaluate(density)))
    inner = stepper.grid.shape[stepper.grid.order.index("angle")]
    per_product = (times[1] - times[0]) / (2 * inner * (DATA[1] - DATA[0]))
    return (times[0] - 2 * inner * DATA[0] * per_product) / stepper.grid.size, per_product


def main() -> None:
    rng = np.random.default_rng(1)
    square = Grid([Interval(bounds=(0.0, 1.0), cells=512).factor(n) for n in ("x", "y")])
    per_cell = sweeps(square, rng.random(square.shape), 0.01 * rng.random(square.shape)) / square.size
    energy_per_cell, per_product = energy_rates()
    print(f"in two dimensions: both sweeps {1e9 * per_cell:.2f} ns per cell (512²); one evaluation of bn-circle", end=" ")
    print(f"{1e9 * energy_per_cell:.2f} ns per cell + {1e9 * per_product:.3f} ns per multiply-add")

    case = gridflow.load_case("bn-sphere")
    case = case.replace({"space.a.cells": CELLS_A, "space.b.level": LEVEL, "energy.data.inputs.count": N_DATA})
    stepper = stepper_of(case)
    grid = stepper.grid
    n_surface = next(f for f in grid.factors if f.is_mesh).size
    state = stepper.start(0.5 + rng.random(grid.shape))
    state = stepper.step(state, np.inf)
    dt = state.dt / 2
    step = median(lambda: stepper.attempt(state, dt))
    one_energy = median(lambda: stepper.evaluate(state.density))
    swept = sweeps(grid, state.density, state.evaluation.first_variation, stepper.tables)
    still = stepper.tables._replace(is_mesh=np.zeros_like(stepper.tables.is_mesh))
    without = sweeps(grid, state.density, state.evaluation.first_variation, still)

    predicted_sweep = per_cell * grid.size
    predicted_energy = 2 * (energy_per_cell * grid.size + per_product * 2 * n_surface * N_DATA)
    predicted = predicted_sweep + predicted_energy
    print(f"\nR × S², {CELLS_A} × {n_surface} = {grid.size} cells, {N_DATA} data; ms, median of {REPEATS}")
    print("                      measured   predicted    ratio")
    rows = [("both sweeps", swept, predicted_sweep), ("two evaluations", 2 * one_energy, predicted_energy)]
    for name, value, guess in [*rows, ("whole step", step, predicted)]:
        print(f"{name:20s} {1e3 * value:9.2f} {1e3 * guess:11.2f} {value / guess:8.2f}")
    print(
        f"of the sweeps, the mesh takes {1e3 * (swept - without):.2f} ms, {1e9 * (swept - without) / grid.size:.2f} ns per cell"
    )
    print(f"rest of the step (controls): {1e3 * (step - swept - 2 * one_energy):.2f} ms")


if __name__ == "__main__":
    main()
