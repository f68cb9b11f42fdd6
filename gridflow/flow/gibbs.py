"""The Gibbs density of a flow with a temperature, and what it certifies (MATH §1.9).

F = E + D∫ρ log ρ has the first variation ξ + D(1 + log ρ), which is constant where ρ is its own Gibbs density

    ρ̂ = e^{−ξ[ρ]/D}/Z,

and there a flow of F rests. If E is convex along straight lines (networks with a convex loss, potentials, MMD),

    F(ρ) − min F ≤ D·KL(ρ|ρ̂),

the minimum over all densities of the same mass on the grid, and of the same masses at labels and where factors are frozen:
E(p) ≥ E(ρ) + ∫ξ d(p − ρ), and ρ̂ minimises the right side with the entropy of p added (Nitanda, Wu and Suzuki 2022, AISTATS;
Chizat 2022, TMLR). It holds for the discrete functional, exactly.

    dF/dt = −D²∫M|grad log(ρ/ρ̂)|²dρ ≤ −2αD·(D·KL(ρ|ρ̂)) ≤ −2αD·(F − min F)

with α the constant of a logarithmic Sobolev inequality for ρ̂, KL(p|ρ̂) ≤ (1/2α)∫M|grad log(p/ρ̂)|²dp. `log_sobolev` bounds it from
below, and `certified_rate` is what a run shows: (−dF/dt)/(D·KL), at least 2αD, and at most the rate at which F − min F falls.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from gridflow.errors import require
from gridflow.space.factor import Array, Factor
from gridflow.space.grid import Grid
from gridflow.space.mesh import surface_of

if TYPE_CHECKING:
    import xarray

RECORDS = ("gibbs_distance", "free_energy_gap")
"""Names of the numbers in `gridflow.output.schema.RECORDS`."""
STIFFNESS_ERROR = 1e-9
"""Of the stiffness of a reference, over the largest that matters: a wrong one costs its error times osc(½|θ − c|²)/D."""


@dataclass(frozen=True, eq=False)
class Gibbs:
    """The Gibbs density on a grid.

    temperature : D > 0; axes : of the factors along which mass moves: at every cell of the others, as at every label, ρ̂ has the
        mass that ρ has there, and the minimum of F is that over such densities
    """

    grid: Grid
    temperature: float
    axes: tuple[int, ...]

    def logarithm(self, xi: Array, density: Array) -> Array:
        """log ρ̂ for cell values of ξ and the masses of ρ, however large ξ/D is; −∞ where there is no mass."""
        log, volume = -xi / self.temperature, self.grid.volume
        log -= self.grid.largest(log.max(axis=self.axes, keepdims=True))
        both = [(field * volume).sum(axis=self.axes, keepdims=True) for field in (density, np.exp(log))]
        mass, total = self.grid.total(np.stack(both))
        return log + np.log(mass / total, out=np.full(mass.shape, -np.inf), where=mass > 0)

    def density(self, xi: Array, density: Array) -> Array:
        """ρ̂, shape of the grid."""
        return np.exp(self.logarithm(xi, density))

    def numbers(self, density: Array, xi: Array) -> dict[str, float]:
        """‖ρ − ρ̂‖₁ and D·KL(ρ|ρ̂), as D∫(ρ log(ρ/ρ̂) − ρ + ρ̂), whose integrand is ≥ 0."""
        log, volume, positive = self.logarithm(xi, density), self.grid.volume, density > 0
        gibbs = np.exp(log)
        ratio = np.log(density, out=np.zeros(density.shape), where=positive) - np.where(positive, log, 0.0)
        numbers = np.array([np.vdot(np.abs(density - gibbs), volume), np.vdot(density * ratio - density + gibbs, volume)])
        distance, gap = self.grid.total(numbers).tolist()
        return dict(zip(RECORDS, (distance, self.temperature * max(0.0, gap)), strict=True))

    def log_sobolev(self, xi: Array) -> float:
        """A lower bound of α for ρ̂ = e^{−ξ/D}/Z, from ξ at the cells: an oscillation between them, O(h²), is not seen.

        Bakry and Émery (1985) bound α for e^{−k|θ − c|²/2D} on a product of intervals by k/D, and a flat reference has that of
        its factors (`flat_constant`); Holley and Stroock (1987) multiply by e^{−osc} of what is left of ξ/D. The best k is taken:
        log k − osc(ξ − k|θ − c|²/2)/D is concave in k; c is where ξ is smallest. With mobilities the smallest
        multiplies. 0 where a reaction alone moves mass, between labels.
        """
        moving = [(axis, self.grid.factors[axis]) for axis in self.axes if self.grid.factors[axis].moves]
        mobility = [float(self.grid.mobility[axis].min()) for axis, _ in moving]
        flat = min((m * flat_constant(f) for m, (_, f) in zip(mobility, moving, strict=True)), default=0.0)
        found = flat * float(np.exp(-self.oscillation(xi)))
        if len(moving) < len(self.axes):
            return 0.0
        if any(f.walls is None for _, f in moving):
            return found
        lowest = np.unravel_index(int(np.argmin(xi)), xi.shape)
        lines = {axis: np.moveaxis(xi, axis, -1)[lowest[:axis] + lowest[axis + 1 :]] for axis, _ in moving}
        squares = [self.grid.along(axis, (f.points - vertex(f.points, lines[axis])) ** 2) for axis, f in moving]
        return max(found, min(mobility) * self.curved_constant(xi, np.asarray(sum(squares) / 2)))

    def oscillation(self, xi: Array) -> float:
        """osc ξ/D over the cells that mass may reach from one another, the largest."""
        return float(np.ptp(xi, axis=self.axes).max()) / self.temperature

    def curved_constant(self, xi: Array, square: Array) -> float:
        """The largest (k/D) e^{−osc(ξ − k·square)/D}."""
        from scipy.optimize import minimize_scalar

        def logarithm(stiffness: float) -> float:
            return float(np.log(stiffness / self.temperature)) - self.oscillation(xi - stiffness * square)

        largest = self.temperature * max(4 * self.oscillation(xi), 2.0) / float(square.max())  # beyond, the oscillation wins
        options = {"xatol": STIFFNESS_ERROR * largest, "maxiter": 200}
        best = minimize_scalar(lambda k: -logarithm(k), bounds=(0.0, largest), method="bounded", options=options)
        return float(np.exp(-best.fun))


def vertex(x: Array, values: Array) -> float:
    """Where values at increasing points are smallest: the vertex of the parabola through the lowest and its neighbours."""
    k = int(np.clip(np.argmin(values), 1, x.size - 2))
    (before, here, after), slopes = x[k - 1 : k + 2], np.diff(values[k - 1 : k + 2]) / np.diff(x[k - 1 : k + 2])
    curvature = (slopes[1] - slopes[0]) / (after - before)
    if not curvature > 0:
        return float(x[np.argmin(values)])
    return float(np.clip((before + here) / 2 - slopes[0] / (2 * curvature), x[0], x[-1]))


def flat_constant(factor: Factor) -> float:
    """α of the uniform density on a factor: its first eigenvalue, (π/L)² on an interval, (2π/L)² on a circle, 2 on a sphere.

    (An interval is half of a circle of twice its length, by reflection; surfaces are isometric to the round sphere, Mueller and
    Weissler 1982.)
    """
    if surface_of(factor) is not None:
        return 2.0
    return float((np.pi * (2 if factor.period > 0 else 1) / factor.total_volume) ** 2)


def certified_rate(dataset: "xarray.Dataset") -> "xarray.DataArray":
    """(−dF/dt)/(D·KL(ρ|ρ̂)) at every save, 1/time, (n_times,): at least 2αD, at most the rate of F − min F for convex E.

    NaN where the density is at rest to round-off. Raises InputError for a dataset without a temperature.
    """
    import xarray

    have = "free_energy_gap" in dataset
    require(have, "a dataset without 'free_energy_gap'", "one with a temperature", "solve with flow.temperature > 0")
    gap = dataset["free_energy_gap"].to_numpy()
    rate = np.divide(dataset["dissipation"].to_numpy(), gap, out=np.full(gap.shape, np.nan), where=gap > 0)
    attrs = {"long_name": "dissipation over free_energy_gap", "units": "1"}
    return xarray.DataArray(rate, dims="time", coords={"time": dataset["time"]}, attrs=attrs)
