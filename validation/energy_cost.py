"""What does one evaluation of a network energy cost? O(n_cells + n_circle·n_data), never n_cells·n_data.

    python validation/energy_cost.py

Times `evaluate` (prediction, value and first variation) on the grid of `bn-circle` over n_data, beside the cost of the generic
feature φ(θ; x) = aσ(b̄ᵀx) without factorisation, and beside a fit t = c₀ + c₁·n_circle·n_data.
"""

import time

import numpy as np

from gridflow.case import load_case
from gridflow.energy.network import FeatureNetwork

N_DATA = (100, 300, 1000, 3000, 10_000)
GENERIC_MAX = 1000
REPEATS = 15


def median(function) -> float:
    function()
    times = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return float(np.median(times))


def main() -> None:
    case = load_case("bn-circle")
    grid = case.grid()
    n_circle = grid.shape[grid.order.index("angle")]
    mass = np.full(grid.shape, 1 / grid.size)
    print(f"grid {dict(zip(grid.order, grid.shape, strict=True))}, {grid.size} cells; median of {REPEATS} evaluations\n")
    print(f"{'n_data':>8s} {'n_circle·n_data':>16s} {'evaluate':>12s} {'generic feature':>16s}")
    rows = []
    for n_data in N_DATA:
        energy = case.replace({"energy.data.inputs.count": n_data}).energy.load(".")
        bound = energy.bind(grid)
        seconds = median(lambda bound=bound: bound.evaluate(mass))
        generic = "–"
        if n_data <= GENERIC_MAX:
            data = energy.data
            sigma = (data.inputs * data.weights[:, None]).T @ data.inputs

            def feature(coordinates, inputs, sigma=sigma):
                b = np.stack([np.cos(coordinates["angle"]), np.sin(coordinates["angle"])], axis=1)
                b /= np.sqrt(np.einsum("id,de,ie->i", b, sigma, b))[:, None]
                return coordinates["a"][:, None] * np.maximum(b @ inputs.T, 0.0)

            slow = FeatureNetwork(feature, data).bind(grid)
            generic = f"{1e3 * median(lambda slow=slow: slow.evaluate(mass)):.2f} ms"
        rows.append((n_circle * n_data, seconds))
        print(f"{n_data:8d} {n_circle * n_data:16d} {1e3 * seconds:9.3f} ms {generic:>16s}")
    work, seconds = np.array(rows).T
    slope, offset = np.polyfit(work, seconds, 1)
    print(f"\nfit: {1e3 * offset:.3f} ms for the {grid.size} cells + {1e9 * slope:.2f} ns per n_circle·n_data")


if __name__ == "__main__":
    main()
