"""What does a surface cost? A step of R × S² against what the two-dimensional figures of this machine promise.

Takes the RK2 step of bn-sphere (64 cells of a × 2562 cells of the sphere, 300 data) and predicts it from plain 2D grids, all in
one run: sweep of 512² per cell × cells + the two evaluations of the energy, whose moments are contracted over the cells and then
multiplied by n_B × n_data features, forth and back, at the rates per cell and per multiply-add of bn-circle. Medians; then
the parts of the step.

The prediction counts cells. A cell of R × S² has four faces (three of hexagons, one along a), one of a square grid two, so that
a ratio of 2 for the sweeps is the price per face of the plain grid; what is above is the indirect access to six cells per face.
"""

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

import gridflow
from gridflow.scheme.finite_volume.stage import stage
from gridflow.scheme.finite_volume.stepper import FiniteVolumeStepper
from gridflow.scheme.finite_volume.tables import Tables, sweep_tables
from gridflow.space.grid import Grid
from gridflow.space.line import Interval
from validation.claim import Claim

N_DATA = 300
DATA = (300, 3000)
"""Numbers of data of bn-circle between which the rate of the products is measured."""


def medians(functions: dict[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """Seconds of each, in turns, so that other load on the machine meets all alike; each runs twice, for its caches."""
    times: dict[str, list[float]] = {name: [] for name in functions}
    for _ in range(repeats):
        for name, function in functions.items():
            function()
            start = time.perf_counter()
            function()
            times[name].append(time.perf_counter() - start)
    return {name: float(np.median(values)) for name, values in times.items()}


def sweeps(grid: Grid, rho: np.ndarray, xi: np.ndarray, tables: Tables) -> Callable[[], object]:
    """Both sweeps of a step."""
    view = (grid.size // grid.shape[-1], grid.shape[-1])
    rho, xi, one, two = rho.reshape(view), xi.reshape(view), np.empty(view), np.empty(view)

    def step() -> None:
        stage(one, None, rho, xi, 1e-9, tables, True, None)
        stage(two, rho, one, xi, 1e-9, tables, True, None)

    return step


def stepper_of(case: gridflow.Case) -> FiniteVolumeStepper:
    return case.scheme.init(case.problem())


def circle_evaluation(count: int) -> tuple[Grid, Callable[[], object]]:
    """One evaluation of the energy of bn-circle with so many data."""
    stepper = stepper_of(gridflow.load_case("bn-circle").replace({"energy.data.inputs.count": count}))
    density = np.ones(stepper.grid.shape)
    return stepper.grid, lambda: stepper.drive.evaluate(density)


def difference_of_loop(grid: Grid, tables: Tables, rng: np.random.Generator) -> float:
    """Largest difference of the first-order dρ/dt along the surface from a loop over its half-faces, relative."""
    k = next(k for k, f in enumerate(grid.factors) if f.columns == 3)
    mesh, view = grid.factors[k], (grid.size // grid.shape[-1], grid.shape[-1])
    rho, potential = rng.random(grid.shape), rng.random(mesh.size)
    xi = np.ascontiguousarray(np.broadcast_to(grid.along(k, potential), grid.shape))
    rows, plain = np.moveaxis(rho, k, 0), np.zeros((mesh.size, grid.size // mesh.size))
    for half, cell in enumerate(mesh.cells):
        other = mesh.neighbour[half]
        speed = (potential[cell] - potential[other]) * mesh.face_lengths[half] / mesh.face_distances[half]
        if speed > 0:
            plain[cell] -= speed * rows[cell] / mesh.volumes[cell]
            plain[other] += speed * rows[cell] / mesh.volumes[other]
    dt, out = 1 / np.abs(plain).max(), np.empty(view)
    stage(out, None, rho.reshape(view), xi.reshape(view), dt, tables, None, None)
    change = np.moveaxis((out.reshape(grid.shape) - rho) / dt, k, 0)
    return float(np.abs(change - plain).max() / np.abs(plain).max())


def reproduce(directory: Path, quick: bool) -> list[Claim]:
    cells_a, level, repeats, side = (32, 3, 5, 256) if quick else (64, 4, 15, 512)
    rng = np.random.default_rng(1)
    square = Grid([Interval(bounds=(0.0, 1.0), cells=side).factor(n) for n in ("x", "y")])
    circle, few = circle_evaluation(DATA[0])
    many = circle_evaluation(DATA[1])[1]
    case = gridflow.load_case("bn-sphere")
    case = case.replace({"space.a.cells": cells_a, "space.b.level": level, "energy.data.inputs.count": N_DATA})
    stepper = stepper_of(case)
    grid, tables = stepper.grid, stepper.transport.tables
    surface = next(f for f in grid.factors if f.columns == 3)
    n_surface = surface.size
    state = stepper.step(stepper.start(0.5 + rng.random(grid.shape)), np.inf)
    dt, rho, xi = state.dt / 2, state.density, state.evaluation.first_variation
    still = tables._replace(surfaces=None)
    seconds = medians(
        {
            "square": sweeps(square, rng.random(square.shape), 0.01 * rng.random(square.shape), sweep_tables(square)),
            "few": few,
            "many": many,
            "step": lambda: stepper.attempt(state, dt),
            "energy": lambda: stepper.drive.evaluate(rho),
            "sweeps": sweeps(grid, rho, xi, tables),
            "line": sweeps(grid, rho, xi, still),
        },
        repeats,
    )
    inner = circle.shape[circle.order.index("angle")]
    per_cell = seconds["square"] / square.size
    per_product = (seconds["many"] - seconds["few"]) / (2 * inner * (DATA[1] - DATA[0]))
    energy_per_cell = (seconds["few"] - 2 * inner * DATA[0] * per_product) / circle.size
    print(f"in two dimensions: both sweeps {1e9 * per_cell:.2f} ns per cell ({side}²), one evaluation of bn-circle", end=" ")
    print(f"{1e9 * energy_per_cell:.2f} ns per cell + {1e9 * per_product:.3f} ns per multiply-add")

    swept, energies, step = seconds["sweeps"], 2 * seconds["energy"], seconds["step"]
    predicted_sweep = per_cell * grid.size
    predicted_energy = 2 * (energy_per_cell * grid.size + per_product * 2 * n_surface * N_DATA)
    print(f"\nR × S², {cells_a} × {n_surface} = {grid.size} cells, {N_DATA} data; ms, medians of {repeats}")
    print("                      measured   predicted    ratio")
    for name, value, guess in (
        ("both sweeps", swept, predicted_sweep),
        ("two evaluations", energies, predicted_energy),
        ("whole step", step, predicted_sweep + predicted_energy),
    ):
        print(f"{name:20s} {1e3 * value:9.2f} {1e3 * guess:11.2f} {value / guess:8.2f}")
    mesh = 1e3 * (swept - seconds["line"])
    print(f"of the sweeps, the mesh takes {mesh:.2f} ms; rest of the step (controls) {1e3 * (step - swept - energies):.2f} ms")
    faces = grid.size + len(surface.once) * cells_a
    print(f"sweeps per face: {1e9 * swept / faces:.2f} ns, against {1e9 * per_cell / 2:.2f} ns: ", end="")
    print(f"a cell has {faces / grid.size:.1f} faces here and 2 there")

    says = "What a step on R × S² costs, beside a prediction from plane grids by cells, and by faces."
    return [
        Claim(
            "surface-cost-same", "gridflow", "The sweep over the faces of a surface is that of a plain loop over its edges.",
            "largest difference of dρ/dt (first order, along S² alone) from a loop in Python, relative",
            difference_of_loop(grid, tables, rng), (0.0, 1e-10),
            "sums of six terms in another order; dρ/dt is (ρ₁ − ρ)/dt with a change of about ρ",
        ),
        Claim("surface-cost-step", "gridflow", says, "time of a step over the prediction from two-dimensional rates per cell",
              step / (predicted_sweep + predicted_energy)),
        Claim("surface-cost-sweeps", "gridflow", says, "time of both sweeps over the prediction", swept / predicted_sweep),
        Claim("surface-cost-face", "gridflow", says, "time per face over that in the plane",
              (swept / faces) / (per_cell / 2)),
    ]  # fmt: skip
