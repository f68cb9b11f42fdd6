"""Maximum mean discrepancy to a target (S4):

    F(ν) = ½∬k d(ν − ν*)⊗²,    ξ = ∫k(·, u)(ν − ν*)(du)

(S4 prints the opposite sign of ξ and no ½; time runs twice as fast there.) A Gaussian of the geodesic distance is a product
over factors, so an evaluation is one small matrix product per factor, O(n_cells Σ n_k), never n_cells². Cell points stand for
cells (midpoint rule): second order.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from msgspec import Meta, Struct
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline

from gridflow.energy.base import ROUNDOFF, Evaluation, ParticleEvaluation
from gridflow.errors import InputError
from gridflow.reduce import gaussian_sum
from gridflow.space.density import Component, mixture_masses
from gridflow.space.factor import Array, Factor
from gridflow.space.grid import Grid


class MMD(Struct, frozen=True, forbid_unknown_fields=True, tag="mmd", tag_field="kind"):
    """Gaussian kernel exp(−|x−y|²/(2·bandwidth²)) and a target given as a mixture of named densities."""

    bandwidth: Annotated[float, Meta(gt=0.0)]
    target: Annotated[list[Component], Meta(min_length=1)]
    kernel: Literal["gaussian"] = "gaussian"

    def load(self, directory: Path) -> "MMDEnergy":
        return MMDEnergy(self, directory)


@dataclass(frozen=True)
class MMDEnergy:
    spec: MMD
    directory: Path

    def bind(self, grid: Grid) -> "BoundMMD":
        for factor in grid.factors:
            if factor.is_line and self.spec.bandwidth < factor.volumes.max():
                raise InputError(
                    f"a bandwidth {self.spec.bandwidth:g} below the cell size {factor.volumes.max():.3g} of {factor.name!r}",
                    "a bandwidth of at least one cell",
                    "raise energy.bandwidth or the number of cells",
                )
        check_no_surface(grid.factors)
        target = mixture_masses(self.spec.target, grid, self.directory, "energy.target")
        return BoundMMD([f.gaussian_kernel(self.spec.bandwidth) for f in grid.factors], target)

    def particles(self, factors: tuple[Factor, ...]) -> "MMDParticles":
        return MMDParticles(self.spec, factors)


def check_no_surface(factors: tuple[Factor, ...]) -> None:
    for factor in factors:
        if factor.is_mesh:
            raise InputError(f"an MMD on the surface {factor.name!r}", "intervals, circles and labels", "choose another energy")


class BoundMMD:
    """MMD on a grid: per-factor kernel matrices and the target's cell masses."""

    convex = True  # the kernel is positive definite

    def __init__(self, kernels: list[Array], target: Array) -> None:
        self.kernels, self.target = kernels, target

    def smooth(self, mass: Array) -> Array:
        """∫k(·, u) m(du): one matrix product per factor, last factor first."""
        field = mass
        for axis in reversed(range(len(self.kernels))):
            matrix = self.kernels[axis]
            before, after = int(np.prod(mass.shape[:axis])), int(np.prod(mass.shape[axis + 1 :]))
            field = (
                np.matmul(matrix, field.reshape(before, mass.shape[axis], after))
                if after > 1
                else field.reshape(before, -1) @ matrix
            )
        return np.ascontiguousarray(field.reshape(mass.shape))

    def evaluate(self, mass: Array) -> Evaluation:
        difference = mass - self.target
        xi = self.smooth(difference)
        value = 0.5 * float(np.vdot(difference, xi))
        # rounding of ξ is relative to ∫k dν + ∫k dν* ≤ 2, whatever cancels in the difference
        roundoff = ROUNDOFF * float(np.abs(difference).sum()) * 2 * float(np.prod([k.max() for k in self.kernels]))
        return Evaluation(value, xi, roundoff)


FINE_CELLS = 4096
NODES_PER_BANDWIDTH = 16
"""Of the tables, at least; the quadrature of the target has four cells per node, a relative error (cell/bandwidth)²/24."""


class MMDParticles:
    """MMD of N particles to the target: V-statistic, ∇k(0) = 0 (S4), O(N²) in a compiled kernel sum.

    The smoothed target Π_k ∫κ(x_k − u) ν*_k(du) of each component is tabulated once per factor, as a cubic spline.
    """

    order = 2  # the cost of an evaluation is that of all pairs

    def __init__(self, spec: MMD, factors: tuple[Factor, ...]) -> None:
        if any(not c.density for c in spec.target):
            raise InputError("particles of an MMD to a target from a file", "named densities", "write the target as a mixture")
        check_no_surface(factors)
        self.spec, self.factors = spec, factors
        self.lengths = np.array([f.length if f.is_circle else 0.0 for f in factors])
        total = sum(c.weight for c in spec.target)
        self.components = [(c.weight / total, [self.smoothed(c, f) for f in factors]) for c in spec.target]
        self.constant = sum(
            w1 * w2 * float(np.prod([np.vdot(m2, t1(x2)) for (t1, _, _), (_, x2, m2) in zip(one, two, strict=True)]))
            for w1, one in self.components
            for w2, two in self.components
        )

    def smoothed(self, component: Component, factor: Factor) -> tuple[Any, Array, Array]:
        """(x ↦ ∫κ(x − u)ν*(du) along one factor, quadrature points, their masses)."""
        nodes_needed = max(FINE_CELLS // 4, int(np.ceil(NODES_PER_BANDWIDTH * factor.length / self.spec.bandwidth)))
        fine = factor.refined(4 * nodes_needed)
        masses = component.density[factor.name].masses(fine)
        masses = masses / masses.sum()
        if not factor.is_line:
            return (lambda x: factor.gaussian(x[:, None] - factor.points, self.spec.bandwidth) @ masses), factor.points, masses
        nodes = np.linspace(fine.edges[0], fine.edges[-1], nodes_needed + 1)
        values = factor.gaussian(nodes[:, None] - fine.points, self.spec.bandwidth) @ masses
        return CubicSpline(nodes, values), fine.points, masses

    def target_at(self, points: Array) -> tuple[Array, Array]:
        """∫k(x, u)ν*(du) at the particles, (n,), and its gradient, (n, n_factors)."""
        value, gradient = np.zeros(len(points)), np.zeros(points.shape)
        for weight, parts in self.components:
            tables = [part[0] for part in parts]
            along = np.stack([table(points[:, k]) for k, table in enumerate(tables)], axis=1)
            value += weight * along.prod(axis=1)
            for k, factor in enumerate(self.factors):
                if factor.is_line:
                    others = np.delete(along, k, axis=1).prod(axis=1)
                    gradient[:, k] += weight * others * tables[k](points[:, k], 1)
        return value, gradient

    def evaluate(self, points: Array, weights: Array, batch: NDArray[np.int64] | None = None) -> ParticleEvaluation:
        smooth, gradient = gaussian_sum(points, points, weights, self.spec.bandwidth, self.lengths)
        target, target_gradient = self.target_at(points)
        gradient -= target_gradient
        gradient[:, [not f.is_line for f in self.factors]] = 0.0
        value = 0.5 * float(weights @ (smooth - 2 * target)) + 0.5 * self.constant
        return ParticleEvaluation(value, gradient, first_variation=smooth - target)
