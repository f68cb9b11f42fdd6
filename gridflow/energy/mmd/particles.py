"""MMD of N particles to a target: V-statistic, ∇k(0) = 0 (S4), O(N²) in a sum over pairs (`gridflow.sums.door`), and O(N log N)
on a line where the kernel admits sorting.

    ξ(x) = Σ_j w_j k(x, x_j) − ∫k(x, u)ν*(du)

Samples of the target are one more sum over pairs. Densities are smoothed once: for a Gaussian, Π_k ∫κ(x_k − u) ν*_k(du), one
cubic spline per factor; for other kernels a cubic spline over the space, through the values at the points of a fine uniform grid,
independent of the grid of the case.
"""

from functools import reduce
from typing import Any

import numpy as np
import scipy
from numpy.typing import NDArray

from gridflow.energy.base import ParticleEnergy, ParticleEvaluation
from gridflow.energy.interaction.convolution import operator
from gridflow.energy.mmd.target import Samples
from gridflow.errors import require
from gridflow.space.coordinate import coordinate_of
from gridflow.space.factor import Array, Factor
from gridflow.space.grid import Grid
from gridflow.space.mixture import Component
from gridflow.space.sphere import finer_sphere
from gridflow.sums.kernels import Gaussian, Kernel, periods

FINE_CELLS = {1: 4096, 2: 512, 3: 96}
"""Cells per line of the quadrature of a target, at least, by the number of lines."""
FINE_LEVEL = 6
"""Of the finest sphere for a target: 40,962 points, a second for the pairs among them."""
NODES_PER_BANDWIDTH = 16
"""Of a Gaussian's tables, at least; the quadrature has four cells per node, a relative error (cell/bandwidth)²/24."""

OUTER_NODES_PER_BANDWIDTH = 32
"""The same beyond the walls, where particles with noise evaluate the field of the target."""


class MMDParticles(ParticleEnergy):
    """components : shares of the target that are densities; samples : the others. All shares sum to 1.

    reach : how far beyond the walls the field of the target is evaluated
    """

    def __init__(
        self,
        kernel: Kernel,
        factors: tuple[Factor, ...],
        components: list[tuple[float, Component]],
        samples: Samples | None = None,
        reach: float = 0.0,
    ) -> None:
        self.kernel, self.factors, self.samples, self.components = kernel, factors, samples, components
        self.lengths = periods(factors)
        self.order = kernel.order(self.lengths.size)  # of the cost of an evaluation
        self.fixed = [not f.moves for f in factors for _ in range(f.columns)]
        self.tables: ProductTables | SpaceTable | SurfaceTable | None = None
        if components and any(f.columns > 1 for f in factors):
            self.tables = SurfaceTable(kernel, factors, components)
        elif components and isinstance(kernel, Gaussian):
            self.tables = ProductTables(kernel, factors, components, reach)
        elif components:
            self.tables = SpaceTable(kernel, factors, components, reach)
        self.constant = 0.0 if self.tables is None else self.tables.constant
        if samples is not None:
            self.constant += samples.self_energy(kernel, factors)
            if self.tables is not None:
                self.constant += 2 * float(samples.weights @ self.tables.at(samples.points)[0])

    def target_at(self, points: Array) -> tuple[Array, Array]:
        """∫k(x, u)ν*(du) at the particles, (n,), and its gradient, (n, n_factors)."""
        value, gradient = self.tables.at(points) if self.tables is not None else (np.zeros(len(points)), np.zeros(points.shape))
        if self.samples is not None:
            more, slope = self.samples.field(self.kernel, points, self.factors)
            value, gradient = value + more, gradient + slope
        return value, gradient

    def extend(self, reach: float) -> "MMDParticles":
        return MMDParticles(self.kernel, self.factors, self.components, self.samples, reach)

    def gradient_at(self, places: Array, points: Array, weights: Array) -> Array:
        gradient = self.kernel.sum(places, points, weights, self.lengths)[1] - self.target_at(places)[1]
        gradient[:, self.fixed] = 0.0
        return gradient

    def evaluate(self, points: Array, weights: Array, batch: NDArray[np.int64] | None = None) -> ParticleEvaluation:
        smooth, gradient = self.kernel.sum(points, points, weights, self.lengths)
        target, target_gradient = self.target_at(points)
        gradient -= target_gradient
        gradient[:, self.fixed] = 0.0
        value = 0.5 * float(weights @ (smooth - 2 * target)) + 0.5 * self.constant
        return ParticleEvaluation(value, gradient, first_variation=smooth - target)


class ProductTables:
    """Mixtures of products smoothed by a Gaussian; constant : ∬k of the mixture with itself."""

    def __init__(
        self, kernel: Gaussian, factors: tuple[Factor, ...], components: list[tuple[float, Component]], reach: float
    ) -> None:
        self.factors, self.kernel, self.reach = factors, kernel, reach
        self.components = [(weight, [self.smooth(c, f) for f in factors]) for weight, c in components]
        self.constant = sum(
            w1 * w2 * float(np.prod([np.vdot(m2, t1(x2)) for (t1, _, _), (_, x2, m2) in zip(one, two, strict=True)]))
            for w1, one in self.components
            for w2, two in self.components
        )

    def smooth(self, component: Component, factor: Factor) -> tuple[Any, Array, Array]:
        """(x ↦ ∫κ(x − u)ν*(du) along one factor, quadrature points, their masses)."""
        nodes_needed = max(FINE_CELLS[1] // 4, int(np.ceil(NODES_PER_BANDWIDTH * factor.total_volume / self.kernel.bandwidth)))
        fine = factor.refinement(4 * nodes_needed)
        masses = component.density[factor.name].masses(fine)
        masses = masses / masses.sum()
        if not factor.moves:
            return (lambda x: self.kernel.along(x[:, None] - factor.points, 0.0) @ masses), factor.points, masses
        reach = self.reach if factor.walls else 0.0
        nodes = np.linspace(fine.edges[0], fine.edges[-1], nodes_needed + 1)
        if reach > 0:  # a value every 32nd of a bandwidth beyond the walls: 1e-7 of its size, where noise takes it
            steps = np.linspace(0.0, reach, int(np.ceil(OUTER_NODES_PER_BANDWIDTH * reach / self.kernel.bandwidth)) + 1)[1:]
            nodes = np.concatenate([fine.edges[0] - steps[::-1], nodes, fine.edges[-1] + steps])
        values = self.kernel.along(nodes[:, None] - fine.points, factor.period) @ masses
        return scipy.interpolate.CubicSpline(nodes, values), fine.points, masses

    def at(self, points: Array) -> tuple[Array, Array]:
        """∫k(x, u)ν*(du) at points, (n,), and its gradient, (n, n_factors)."""
        value, gradient = np.zeros(len(points)), np.zeros(points.shape)
        x = np.stack([(f.fold(points[:, k]) if f.period else points[:, k]) for k, f in enumerate(self.factors)], axis=1)
        for weight, parts in self.components:
            tables = [part[0] for part in parts]
            along = np.stack([table(x[:, k]) for k, table in enumerate(tables)], axis=1)
            value += weight * along.prod(axis=1)
            for k, factor in enumerate(self.factors):
                if factor.moves:
                    others = np.delete(along, k, axis=1).prod(axis=1)
                    gradient[:, k] += weight * others * tables[k](x[:, k], 1)
        return value, gradient


class SurfaceTable:
    """Mixtures on one surface, smoothed by any kernel: sums over the points of a finer mesh.

    The relative error is (cell/bandwidth)²/24. On an ellipsoid the mesh is that of the case.
    """

    def __init__(self, kernel: Kernel, factors: tuple[Factor, ...], components: list[tuple[float, Component]]) -> None:
        factor = finer_sphere(factors[0], FINE_LEVEL)
        self.kernel, self.points, self.lengths = kernel, factor.points, periods(factors)
        self.masses = reduce(np.add, [weight * product(component, (factor,)) for weight, component in components])
        self.constant = float(self.masses @ self.at(self.points)[0])

    def at(self, points: Array) -> tuple[Array, Array]:
        """∫k(x, u)ν*(du) at points, (n,), and its gradient, (n, 3)."""
        return self.kernel.sum(points, self.points, self.masses, self.lengths)


class SpaceTable:
    """Mixtures smoothed by any kernel: one spline over the lines for every combination of labels."""

    def __init__(
        self, kernel: Kernel, factors: tuple[Factor, ...], components: list[tuple[float, Component]], reach: float
    ) -> None:
        self.factors, self.lines = factors, [k for k, f in enumerate(factors) if f.moves]
        self.labels = [k for k, f in enumerate(factors) if not f.moves]
        require(
            len(self.lines) in FINE_CELLS,
            f"particles of an MMD with a kernel other than the Gaussian on {len(self.lines)} intervals",
            "1 to 3 intervals where the target is a density",
            "give the target as samples, or use the Gaussian kernel",
        )
        cells = FINE_CELLS[len(self.lines)]
        inside = tuple(f.refinement(max(cells, f.size + 1)) for f in factors)
        grid = Grid([coordinate_of(f).extension(reach) for f in inside])
        fine = tuple(next(g for g in grid.factors if g.name == f.name) for f in factors)
        margins = [(g.size - f.size) // 2 for f, g in zip(inside, fine, strict=True)]
        masses = np.pad(reduce(np.add, [w * product(c, inside) for w, c in components]), [(m, m) for m in margins])
        order = [grid.order.index(f.name) for f in fine]
        field = np.transpose(operator(kernel, grid).apply(np.ascontiguousarray(np.transpose(masses, np.argsort(order)))), order)
        self.constant = float(np.vdot(masses, field))
        field = np.transpose(field, self.labels + self.lines)
        field = field.reshape(-1, *field.shape[len(self.labels) :])
        self.splines = [spline([fine[k].points for k in self.lines], part) for part in field]

    def at(self, points: Array) -> tuple[Array, Array]:
        """∫k(x, u)ν*(du) at points, (n,), and its gradient, (n, n_factors)."""
        value, gradient = np.zeros(len(points)), np.zeros(points.shape)
        combination = np.zeros(len(points), dtype=np.int64)
        for k in self.labels:
            nearest = np.abs(points[:, [k]] - self.factors[k].points).argmin(axis=1)
            combination = combination * self.factors[k].size + nearest
        for number, table in enumerate(self.splines):
            mine = np.flatnonzero(combination == number)
            place = np.ascontiguousarray(points[mine][:, self.lines])
            value[mine] = table(place)
            for axis, k in enumerate(self.lines):
                gradient[mine, k] = table(place, nu=[int(axis == a) for a in range(len(self.lines))])
        return value, gradient


def product(component: Component, factors: tuple[Factor, ...]) -> Array:
    """Masses of a component, each factor scaled to mass 1: what the box cuts off is put back."""
    along = [component.density[f.name].masses(f) for f in factors]
    return reduce(np.multiply.outer, [masses / masses.sum() for masses in along])


def spline(nodes: list[Array], values: Array) -> Any:
    """Cubic spline through values on a product of nodes: (points (n, n_nodes), orders of the derivative) → (n,)."""
    if len(nodes) == 1:
        line = scipy.interpolate.make_interp_spline(nodes[0], values, k=3)  # twenty times faster than the general one
        return lambda points, nu=(0,): line(points[:, 0], nu[0])
    knots, coefficients = [], values
    for axis, x in enumerate(nodes):
        one = scipy.interpolate.make_interp_spline(x, np.moveaxis(coefficients, axis, 0), k=3)
        knots.append(one.t)
        coefficients = np.moveaxis(one.c, 0, axis)
    return scipy.interpolate.NdBSpline(tuple(knots), np.ascontiguousarray(coefficients), 3)
