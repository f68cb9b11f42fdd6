"""How fast is the face sweep? ns per cell and full second-order RK2 step (both stages), on one thread and on two.

Measured in one run: the time of a step on product grids (both sweeps; once the whole step with its controls too),
the share of the memory bandwidth that a STREAM triad reaches, and, as a yardstick that does not depend on the machine, the
ratio to a plain two-dimensional stencil written by hand for uniform lines only (no factors, no walls, no mobility), with which
it must agree away from the walls.
"""

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numba import njit

from gridflow.energy.potential import PotentialEnergy, Quadratic
from gridflow.problem import Problem
from gridflow.scheme.finite_volume.scheme import FiniteVolume
from gridflow.scheme.finite_volume.stage import stage
from gridflow.scheme.finite_volume.tables import sweep_tables
from gridflow.space.circle import Circle
from gridflow.space.grid import Grid
from gridflow.space.labels import Labels
from gridflow.space.line import Interval
from gridflow.threads import blas_threads
from validation.claim import Claim

BYTES_PER_CELL_STEP = 7 * 8  # stage 1 reads ρ₀, ξ₀ and writes ρ₁; stage 2 reads ρ₀, ρ₁, ξ₁ and writes ρ₂


def line(name: str, cells: int) -> object:
    return Interval(bounds=(0.0, 1.0), cells=cells).factor(name)


GRIDS = {
    "line 512 × line 512": [line("x", 512), line("y", 512)],
    "line 256 × line 256": [line("x", 256), line("y", 256)],
    "line 1024 × line 1024": [line("x", 1024), line("y", 1024)],
    "line 128 × line 128 × line 128": [line("x", 128), line("y", 128), line("z", 128)],
    "line 192 × circle 256": [line("a", 192), Circle(cells=256).factor("angle")],
    "labels 2 × line 160 × line 160": [Labels(values=[-1.0, 1.0]).factor("s"), line("x", 160), line("y", 160)],
    "line 100000": [line("x", 100_000)],
}


def median_and_best(function: Callable[[], object], repeats: int) -> tuple[float, float]:
    function()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return float(np.median(times)), min(times)


def triad_bandwidth(repeats: int) -> float:
    """Bytes per second of a = b + s·c on arrays far larger than the caches."""

    @njit(fastmath=True)
    def triad(a, b, c):
        for i in range(a.size):
            a[i] = b[i] + 3.0 * c[i]

    a, b, c = (np.ones(20_000_000) for _ in range(3))
    return 3 * a.nbytes / median_and_best(lambda: triad(a, b, c), repeats)[0]


@njit(fastmath=True, error_model="numpy")
def flux_by_hand(u, c, o, behind, ahead):
    x, y = o - c, behind if u > 0 else ahead
    s = min(max(0.25 * (x + y), min(max(x, y), 0.0)), max(min(x, y), 0.0))
    return u * ((c if u > 0 else o) + (s if u > 0 else -s))


@njit(fastmath=True, error_model="numpy")
def stage_by_hand(out, base, rho, xi, share, dt):
    """The same second-order stage for uniform lines in two dimensions, h = 1, inner cells only; LLVM vectorises both loops."""
    n, m = rho.shape
    east, south, top = np.zeros(m + 1), np.zeros(m), np.zeros(m)
    for r in range(1, n - 2):
        for q in range(2, m - 1):
            behind, ahead = rho[r, q - 1] - rho[r, q - 2], rho[r, q + 1] - rho[r, q]
            east[q] = flux_by_hand(xi[r, q - 1] - xi[r, q], rho[r, q - 1], rho[r, q], behind, ahead)
        for q in range(1, m - 1):
            behind, ahead = rho[r, q] - rho[r - 1, q], rho[r + 2, q] - rho[r + 1, q]
            flux = flux_by_hand(xi[r, q] - xi[r + 1, q], rho[r, q], rho[r + 1, q], behind, ahead)
            leaving = max(xi[r, q] - xi[r + 1, q], 0.0) + max(xi[r, q] - xi[r - 1, q], 0.0)
            leaving += max(xi[r, q] - xi[r, q + 1], 0.0) + max(xi[r, q] - xi[r, q - 1], 0.0)
            top[q] = max(top[q], leaving)
            out[r, q] = (1 - share) * base[r, q] + share * (rho[r, q] + dt * (east[q] - east[q + 1] + south[q] - flux))
            south[q] = flux
    return top.max()


def rng_field(grid: Grid) -> np.ndarray:
    return np.random.default_rng(0).random(grid.shape)


def fields(shape: tuple[int, ...]) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    rho, xi = rng.random(shape), 0.01 * rng.random(shape)
    return [rho, xi, np.empty(shape), np.empty(shape)]


def difference_by_hand(cells: int) -> float:
    """Largest relative difference of the change of ρ in one second-order stage, sweep and by hand, away from walls."""
    grid = Grid([line("x", cells), line("y", cells)])
    rho, xi, one, two = fields((cells, cells))
    dt = 0.1
    stage(one, None, rho, xi, dt / cells**2, sweep_tables(grid), True, None)
    stage_by_hand(two, rho, rho, xi, 1.0, dt)
    inner = slice(3, -3), slice(3, -3)
    change = (two - rho)[inner]
    return float(np.abs((one - two)[inner]).max() / np.abs(change).max())


def reproduce(directory: Path, quick: bool) -> list[Claim]:
    repeats = 5 if quick else 31
    bandwidth = triad_bandwidth(repeats)
    print(f"STREAM triad: {bandwidth / 1e9:.1f} GB/s, median of {repeats}")
    rho, xi, one, two = fields((512, 512))

    def by_hand() -> None:
        stage_by_hand(one, rho, rho, xi, 1.0, 1e-3)
        stage_by_hand(two, rho, one, xi, 0.5, 1e-3)

    yardstick = median_and_best(by_hand, repeats)[0] / rho.size * 1e9
    print(f"yardstick, fused 2D stencil written by hand, 512²: {yardstick:.2f} ns per cell-step\n")
    columns = f"{'median':>8s} {'best':>8s} {'of triad':>9s} {'to yardstick':>13s} {'two threads':>12s}"
    print(f"{'grid':34s} {columns}   (ns per cell and RK2 step)")
    chosen = list(GRIDS.items())[: 2 if quick else None]
    speeds = {}
    for name, factors in chosen:
        grid = Grid(factors)
        tables = sweep_tables(grid)
        rho, xi, one, two = fields((grid.size // grid.shape[-1], grid.shape[-1]))

        def step(rho=rho, xi=xi, one=one, two=two, tables=tables) -> None:
            stage(one, None, rho, xi, 1e-9, tables, True, None)
            stage(two, rho, one, xi, 1e-9, tables, True, None)

        median, best = median_and_best(step, repeats)
        with blas_threads(2):
            gain = best / median_and_best(step, repeats)[1]
        share = grid.size * BYTES_PER_CELL_STEP / median / bandwidth
        per_cell = 1e9 / grid.size
        speeds[name] = median * per_cell
        ratio = median * per_cell / yardstick
        print(f"{name:34s} {median * per_cell:8.2f} {best * per_cell:8.2f} {share:9.0%} {ratio:13.2f} {gain:10.2f} ×")

    grid = Grid(GRIDS["line 512 × line 512"])
    stepper = FiniteVolume().init(Problem(grid, PotentialEnergy({"x": Quadratic(), "y": Quadratic()})))
    state = stepper.start(1 + rng_field(grid))
    whole = median_and_best(lambda: stepper.attempt(state, 1e-6), repeats)[0]
    energy = median_and_best(lambda: stepper.drive.evaluate(state.density), repeats)[0]
    print(f"\nwhole step on 512² without its two energy evaluations: {(whole - 2 * energy) / grid.size * 1e9:.2f} ns per cell")

    square = speeds["line 512 × line 512"]
    says = "The sweep of any product of factors is nearly as fast as a stencil written by hand for the plane."
    return [
        Claim(
            "sweep-speed-same", "gridflow", "The sweep is the second-order stencil.",
            "largest difference of ρ after one stage from the stencil by hand, over the largest change", difference_by_hand(64),
            (0.0, 1e-10), "the same terms, some in another order: round-off of ρ over a change of about a thousandth of it",
        ),
        Claim("sweep-speed-cell", "gridflow", says, "nanoseconds per cell and RK2 step, 512²", square),
        Claim("sweep-speed-ratio", "gridflow", says, "time over that of the stencil by hand, 512²", square / yardstick),
    ]  # fmt: skip
