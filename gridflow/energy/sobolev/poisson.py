"""The weighted Poisson problem of the negative Sobolev distance (S4):

    −div((ν + δ) M ∇g) = ν* − ν,  no flux,      S² = ∫M|∇g|² d(ν + δ) = ∫g d(ν* − ν),
    S(ν*|ν) = sup{|∫g d(ν − ν*)| : ∫M|∇g|² d(ν + δ) ≤ 1}

On a product grid L g = b, with b the differences of cell masses and L = Σ_f w_f (e_c − e_o)(e_c − e_o)ᵀ over faces f between the
cells c and o,

    w_f = (A M/d)_f ((ν_c + ν_o)/2 + δ)

(times the volumes of the other factors): symmetric, rows that sum to 0, off-diagonals ≤ 0. Whatever a and b are, then
aᵀLb = Σ_f w_f Δa Δb, so that every inequality for S is one of Cauchy and Schwarz in finite dimension and holds to round-off.

δ regularises where ν ≈ 0. It is given as the share `regularization` of mass that is spread evenly, δ = regularization/|Θ|. S
falls as δ grows: S with δ is a lower bound for S, and without δ it may exceed every number.

Along a single factor g comes by two sums. Otherwise by conjugate gradients with the sparse factors (SuperLU) of an earlier L as
the preconditioner: it is exact when it is new, and as ν changes little in a time step it serves for many. Which L it was
changes g by up to `TOLERANCE`: so much a resumed run may differ from one that was never interrupted.
"""

from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np
import scipy

from gridflow.errors import SolveError, require
from gridflow.space.factor import Array
from gridflow.space.grid import Grid

TOLERANCE = 1e-12
"""Of g, relative to S in the norm of L: S² then has the error of round-off."""
OLD, LIMIT = 10, 60
"""Iterations at which the factors are too old, and at which they are given up at once."""
UNKNOWNS_MAX = {2: 2**19, 3: 2**15}
"""Cells by the number of factors: sparse factors of more take gigabytes or minutes."""


@dataclass(frozen=True)
class FluxFaces:
    """One factor's faces that carry flux: axis, cells on both sides along it, and A M/d times the volumes of the others."""

    axis: int
    left: Any
    right: Any
    rate: Array

    def mean(self, field: Array) -> Array:
        """Of both sides of every face."""
        return 0.5 * (np.take(field, self.left, self.axis) + np.take(field, self.right, self.axis))

    def jump(self, field: Array) -> Array:
        """Right minus left side of every face."""
        return np.take(field, self.right, self.axis) - np.take(field, self.left, self.axis)

    def gather(self, values: Array, size: int) -> Array:
        """Sum of face values over the faces of every cell, `size` cells along the axis."""
        total = np.zeros([size if k == self.axis else n for k, n in enumerate(values.shape)])
        moved, source = np.moveaxis(total, self.axis, 0), np.moveaxis(values, self.axis, 0)
        moved[self.left] += source  # no cell occurs twice on the same side
        moved[self.right] += source
        return total


class WeightedPoisson:
    """The problem on one grid. Raises InputError for a space where it has no solution in general, or one too large."""

    def __init__(self, grid: Grid, regularization: float) -> None:
        for factor, mobility in zip(grid.factors, grid.mobility, strict=True):
            require(
                factor.one_dimensional and bool(mobility.min() > 0),
                f"a Sobolev distance on the {'frozen factor' if factor.one_dimensional else factor.kind} {factor.name!r}",
                "intervals and circles with mobilities > 0: where no mass moves, S is infinite",
                "leave out the certificates, or the factor",
            )
        dim, size = len(grid.factors), grid.size
        limit = UNKNOWNS_MAX.get(dim, 2**12 if dim > 1 else size)
        require(size <= limit, f"a Sobolev distance on {size} cells in {dim} dimensions", f"at most {limit}", "use fewer cells")
        self.grid = grid
        self.delta = regularization / float(grid.volume.sum())
        self.faces = [self.faces_along(axis) for axis in range(len(grid.factors))]
        index = np.arange(grid.size).reshape(grid.shape)
        self.left = np.concatenate([np.take(index, f.left, f.axis).ravel() for f in self.faces])
        self.right = np.concatenate([np.take(index, f.right, f.axis).ravel() for f in self.faces])
        self.factors: Any = None

    def faces_along(self, axis: int) -> FluxFaces:
        """The faces of one factor."""
        grid, factor = self.grid, self.grid.factors[axis]
        left, right, rate = factor.faces
        others = [np.ones(1) if k == axis else f.volumes for k, f in enumerate(grid.factors)]
        volumes = reduce(np.multiply.outer, others) * grid.mobility[axis]
        return FluxFaces(axis, left, right, grid.along(axis, rate) * volumes)

    def weights(self, density: Array) -> list[Array]:
        """w_f by factor."""
        return [f.rate * (f.mean(density) + self.delta) for f in self.faces]

    def form(self, density: Array, one: Array, two: Array) -> float:
        """oneᵀ L two = ∫M ∇one·∇two d(ν + δ)."""
        return sum(float((w * f.jump(one) * f.jump(two)).sum()) for f, w in zip(self.faces, self.weights(density), strict=True))

    def half_square(self, g: Array) -> Array:
        """½M|∇g|² at the cells: the derivative of ½ gᵀ L g in the cell masses of ν."""
        total = np.zeros(self.grid.shape)
        for f in self.faces:
            total += f.gather(0.25 * f.rate * f.jump(g) ** 2, self.grid.shape[f.axis])
        return total / self.grid.volume

    def solve(self, density: Array, source: Array) -> Array:
        """g with L g = source and mean 0; of cell masses `source` whose sum is not 0 their mean is taken off."""
        volume = self.grid.volume
        source = source - source.sum() / volume.sum() * volume
        weights = self.weights(density)
        if any(not w.min() > 0 for w in weights):
            raise SolveError("the weighted Poisson problem has faces without density; raise the regularization above 0")
        g = self.along_line(weights[0], source) if len(self.faces) == 1 else self.iterate(weights, source)
        return g - np.vdot(g, volume) / volume.sum()

    def along_line(self, weights: Array, source: Array) -> Array:
        """The flux through a face is the sum of the sources before it; on a circle up to a constant, for which g closes."""
        flux = -np.cumsum(source)
        if self.grid.factors[0].period == 0:
            return np.concatenate([[0.0], np.cumsum(flux[:-1] / weights)])
        flux = flux - (flux / weights).sum() / (1 / weights).sum()
        return np.concatenate([[0.0], np.cumsum(flux / weights)[:-1]])

    def matrix(self, weights: list[Array]) -> Any:
        """L without the row and column of the first cell, where g = 0."""
        w, n = np.concatenate([v.ravel() for v in weights]), self.grid.size
        rows = np.concatenate([self.left, self.right, self.left, self.right])
        columns = np.concatenate([self.right, self.left, self.left, self.right])
        return scipy.sparse.csc_array((np.concatenate([-w, -w, w, w]), (rows, columns)), shape=(n, n))[1:, 1:]

    def iterate(self, weights: list[Array], source: Array) -> Array:
        """Preconditioned conjugate gradients; `factors` are renewed when they have grown old."""
        from scipy.sparse.linalg import splu

        matrix, right = self.matrix(weights), source.ravel()[1:]
        for _ in range(2):
            if self.factors is None:
                options = {"SymmetricMode": True}
                try:  # diagonally dominant and symmetric: no pivoting, and an ordering of the symmetric pattern
                    self.factors = splu(matrix, permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options=options)
                except RuntimeError as error:  # "Factor is exactly singular": a density that varies beyond 1/round-off
                    raise SolveError(f"the weighted Poisson problem is singular ({error}); raise the regularization") from None
            solution, iterations = conjugate_gradients(matrix, self.factors.solve, right)
            if iterations >= OLD:
                self.factors = None
            if solution is not None:
                return np.concatenate([[0.0], solution]).reshape(self.grid.shape)
        raise SolveError("the weighted Poisson problem does not converge; raise the regularization")


def conjugate_gradients(matrix: Any, precondition: Any, right: Array) -> tuple[Array | None, int]:
    """(solution or None, iterations), to TOLERANCE in the norm of the matrix as the preconditioner measures it."""
    solution, residual = np.zeros_like(right), right.copy()
    towards = precondition(residual)
    rho = start = float(residual @ towards)
    if start == 0.0:
        return solution, 0
    direction = towards
    for iteration in range(1, LIMIT + 1):
        image = matrix @ direction
        step = rho / float(direction @ image)
        solution = solution + step * direction
        residual = residual - step * image
        towards = precondition(residual)
        new = float(residual @ towards)
        if not new > TOLERANCE**2 * start:
            return solution, iteration
        direction = towards + (new / rho) * direction
        rho = new
    return None, LIMIT
