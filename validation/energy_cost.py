"""What does one evaluation of a network energy cost? O(n_cells + n_circle·n_data), never n_cells·n_data.

Times `evaluate` (prediction, value and first variation) on the grid of `bn-circle` over n_data, beside the cost of the generic
feature φ(θ; x) = aσ(b̄ᵀx) without factorisation, and beside a fit t = c₀ + c₁·n_circle·n_data. Both must agree, since the feature
is the same.
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from gridflow.case.case import load_case
from gridflow.energy.base import BoundEnergy
from gridflow.energy.network.data import Data
from gridflow.energy.network.generic import FeatureNetwork
from gridflow.space.factor import Array
from gridflow.space.grid import Grid
from validation.claim import Claim

GENERIC_MAX = 1000
"""Data beyond which the generic feature is not tried: it stores n_cells·n_data numbers."""


class Row(NamedTuple):
    n_data: int
    seconds: float
    generic: float
    difference: float


def median(function: Callable[[], object], repeats: int) -> float:
    function()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return float(np.median(times))


def generic(data: Data, grid: Grid) -> BoundEnergy:
    """The energy of bn-circle from its feature as a plain function of a and the angle."""
    sigma = (data.inputs * data.weights[:, None]).T @ data.inputs

    def feature(coordinates: dict[str, Array], inputs: Array) -> Array:
        b = np.stack([np.cos(coordinates["angle"]), np.sin(coordinates["angle"])], axis=1)
        b /= np.sqrt(np.einsum("id,de,ie->i", b, sigma, b))[:, None]
        return coordinates["a"][:, None] * np.maximum(b @ inputs.T, 0.0)

    return FeatureNetwork(feature, data).bind(grid)


def measure(changes: dict, counts: tuple[int, ...], repeats: int) -> tuple[Grid, list[Row]]:
    """Seconds of both, and the largest difference of their first variations, for each number of data."""
    case = load_case("bn-circle").replace(changes)
    grid, rows = case.grid(), []
    mass = np.random.default_rng(1).random(grid.shape)
    mass /= mass.sum()
    for count in counts:
        energy = case.replace({"energy.data.inputs.count": count}).energy.load(Path(case.directory))
        bound, slow, difference = energy.bind(grid), np.nan, np.nan
        if count <= GENERIC_MAX:
            plain = generic(energy.data, grid)
            xi = bound.evaluate(mass).first_variation
            difference = float(np.abs(plain.evaluate(mass).first_variation - xi).max() / np.abs(xi).max())
            slow = median(lambda plain=plain: plain.evaluate(mass), max(repeats // 3, 3))
        rows.append(Row(count, median(lambda bound=bound: bound.evaluate(mass), repeats), slow, difference))
    return grid, rows


def reproduce(directory: Path, quick: bool) -> list[Claim]:
    coarse = {"space.a.cells": 80, "space.angle.cells": 192} if quick else {}
    grid, rows = measure(coarse, (100, 300, 1000, 3000) if quick else (100, 300, 1000, 3000, 10_000), 7 if quick else 15)
    n_circle = grid.shape[grid.order.index("angle")]
    print(f"grid {dict(zip(grid.order, grid.shape, strict=True))}, {grid.size} cells; medians")
    print(f"{'n_data':>8s} {'n_circle·n_data':>16s} {'evaluate':>12s} {'generic feature':>16s}")
    for r in rows:
        print(f"{r.n_data:8d} {n_circle * r.n_data:16d} {1e3 * r.seconds:9.3f} ms {1e3 * r.generic:13.2f} ms")
    slope, offset = np.polyfit([n_circle * r.n_data for r in rows], [r.seconds for r in rows], 1)
    print(f"fit: {1e3 * offset:.3f} ms for the {grid.size} cells + {1e9 * slope:.2f} ns per n_circle·n_data")
    last = next(r for r in reversed(rows) if r.n_data <= GENERIC_MAX)
    says = "A network energy costs O(n_cells + n_circle·n_data), not n_cells·n_data."
    return [
        Claim(
            "energy-cost-same", "gridflow", "Contracting the output weights first changes nothing but the cost.",
            "largest relative difference of the first variations, factorised and generic feature",
            max(r.difference for r in rows if r.n_data <= GENERIC_MAX), (0.0, 1e-12),
            "the same sums in another order: round-off of n_cells terms",
        ),
        Claim(
            "energy-cost-product", "gridflow", says, "nanoseconds per n_circle·n_data of one evaluation, fitted",
            float(1e9 * slope),
        ),
        Claim(
            "energy-cost-factor", "gridflow", says,
            f"time with the generic feature over that of an evaluation, {last.n_data} data",
            last.generic / last.seconds,
        ),
    ]  # fmt: skip
