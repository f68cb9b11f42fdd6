"""∫k(·, u) m(du) at the cell points of a grid, m being cell masses at the cell points (midpoint rule: second order).

`operator(kernel, grid)` chooses:

    products over factors         one matrix product per factor, O(n_cells Σ n_k); O(n_cells Σ r_k) where it has low rank r_k
    any radial kernel in 1D       one matrix product, of low rank where it is analytic
    radial, uniform cells         FFT over zero-padded lines: the sum in free space, exactly; O(n_cells log n_cells)
    radial, one surface           one matrix product; a compiled sum over pairs where the matrix is large
    radial, graded cells          compiled sum over pairs, O(n_cells²) time and no memory
    polynomial                    moments up to its degree, O(n_cells·degree)

Radial kernels are for intervals and labels, which count in the distance like any coordinate, and for one surface, of which they
take the distance in R³. Products (Gaussian, cosine, exponential) are for all factors.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import reduce
from math import factorial, prod

import numpy as np
import scipy

from gridflow.memory import require_memory
from gridflow.slabs.slab import Slab
from gridflow.space.factor import Array, Factor
from gridflow.space.grid import Grid
from gridflow.sums.kernels import InverseMultiquadric, Kernel, Polynomial, Radial, self_correction
from gridflow.sums.lattice import lattice_value
from gridflow.sums.laws import Law, Peaked, Product, RadialLaw
from gridflow.sums.low_rank import SymmetricFactor, symmetric_factor

MATRIX_CELLS = 4096
"""Uniform lines with more cells go to the FFT: their matrix would have more than 128 MiB."""


FACTOR_CELLS = 48
"""Factors with fewer cells keep their matrix: the products of two factors take as long."""
SAMPLE = 257
"""Distances at which a kernel is looked at for its largest value."""
RANK_SHARE = 0.4
"""Largest rank, as a share of the cells, that is used: at one half both cost the same."""


@dataclass(frozen=True)
class Operator:
    """apply : cell masses, shape of the grid → field, the same shape, contiguous; bound : on |k| over the grid.

    note : how the sums are computed, for the dataset
    """

    apply: Callable[[Array], Array]
    bound: float
    note: str = ""

    @property
    def slabs(self) -> bool:
        """Whether it is there for slabs of a grid."""
        return isinstance(self.apply, Products | SlabProducts)

    def on(self, grid: Grid) -> "Operator":
        """The operator of a whole grid on a slab of it, where it is there for slabs."""
        found = SlabProducts(self.apply, grid) if isinstance(self.apply, Products) and isinstance(grid, Slab) else self.apply
        return replace(self, apply=found)


def operator(kernel: Kernel | Law | RadialLaw, grid: Grid) -> Operator:
    """∫k(·, u) m(du) on a grid, by the fastest method of the list above."""
    if not grid.alone:
        return operator(kernel, grid.whole).on(grid)
    if isinstance(kernel, Product):
        check_matrices(grid)
        return product_operator([kernel.matrix(f) for f in grid.factors], grid)
    ends = [(f.points.min(axis=0), f.points.max(axis=0)) for f in grid.factors]
    if isinstance(kernel, Polynomial):
        largest = 1 + sum(float(np.sum(np.maximum(abs(a), abs(b)) ** 2)) for a, b in ends)
        return Operator(Moments(kernel.degree, grid), largest**kernel.degree)
    bound = largest_value(kernel, grid, sum(float(np.sum((b - a) ** 2)) for a, b in ends))
    lines = [f for f in grid.factors if f.moves]
    uniform = lines != [] and all(f.uniform and f.dimension == 1 for f in lines)
    if len(grid.factors) == 1 and grid.size <= MATRIX_CELLS:
        matrix = factor_matrix(kernel, grid.factors[0])
        found = compressed(matrix) if isinstance(kernel, InverseMultiquadric) else matrix
        return Operator(Products([found]), bound, rank_note([found], grid))
    if uniform:
        return Operator(Fourier(kernel, grid), bound, "fast Fourier transforms")
    return Operator(Pairs(kernel, grid), bound, "sums over all pairs of cells")


def check_matrices(grid: Grid) -> None:
    """Raises InputError for factors whose matrices, (n_cells, n_cells), do not fit into the memory: each, and two copies."""
    for factor in grid.factors:
        what = f"the kernel between {factor.size} cells of {factor.name!r}"
        require_memory(what, 24 * factor.size**2, "use fewer cells of this factor")


def largest_value(kernel: Radial | RadialLaw, grid: Grid, diameter_squared: float) -> float:
    """A bound on |k| between cell points: at r = 0 and, on a sample of distances from half a cell to the diameter, elsewhere."""
    width = min((float(f.volumes.min()) ** (1 / f.dimension) for f in grid.factors if f.moves), default=1.0)
    furthest = max(float(np.sqrt(diameter_squared)), 0.5 * width)
    found = float(np.abs(kernel.radial(np.append(np.geomspace(0.5 * width, furthest, SAMPLE) ** 2, 0.0))).max())
    lines = [f for f in grid.factors if f.one_dimensional]
    if not lines:
        return found
    own = self_value(kernel, lines, np.array([lines[0].volumes.min()])) + kernel.radial(np.zeros(1))
    return max(found, float(np.abs(own).max()))


def self_value(kernel: Radial | RadialLaw, lines: list[Factor], volumes: Array) -> Array:
    """What stands for k(x_i, x_i) minus k(0) at cells of the given volumes along the first of the lines, (n_cells,)."""
    if not isinstance(kernel, Peaked):
        return self_correction(kernel, len(lines), volumes) if isinstance(kernel, Radial) else np.zeros_like(volumes)
    others = [float(f.volumes.max()) for f in lines[1:]]
    if not kernel.peaked or not lines:
        return np.zeros_like(volumes)
    rounded, place = np.unique(np.round(volumes / volumes.max(), 12), return_inverse=True)
    widths = rounded * float(volumes.max())
    values = np.array([lattice_value(kernel, np.array([width, *others])) for width in widths])
    return (values - kernel.radial(np.zeros(1)))[place]


def product_operator(matrices: list[Array], grid: Grid) -> Operator:
    """The operator of one symmetric matrix ≥ 0 for each factor."""
    found = [compressed(m) for m in matrices]
    return Operator(Products(found), prod(float(m.max()) for m in matrices), rank_note(found, grid))


def compressed(matrix: Array) -> Array | SymmetricFactor:
    """The factor of a symmetric matrix ≥ 0 of low rank; the matrix itself where that is no gain."""
    few = len(matrix) < FACTOR_CELLS
    return matrix if few else symmetric_factor(matrix, int(RANK_SHARE * len(matrix))) or matrix


def rank_note(matrices: list[Array | SymmetricFactor], grid: Grid) -> str:
    """Ranks and errors along every factor."""
    notes = []
    for factor, matrix in zip(grid.factors, matrices, strict=True):
        form = "full matrix"
        if isinstance(matrix, SymmetricFactor):
            form = f"rank {matrix.rank} of {factor.size}, relative error {matrix.error:.0e}"
        notes.append(f"{factor.name}: {form}")
    return "; ".join(notes)


def factor_matrix(kernel: Radial | RadialLaw, factor: Factor) -> Array:
    """k between the cell points of one factor, (n_cells, n_cells)."""
    points = factor.points.reshape(factor.size, -1)
    matrix = kernel.radial(reduce(np.add, [(x[:, None] - x) ** 2 for x in points.T]))
    return matrix + np.diag(self_value(kernel, [factor] if factor.moves else [], factor.volumes))


class Products:
    """One symmetric matrix per factor, applied along its axis, the last factor first.

    Those of low rank, F Fᵀ, act on all axes as Fᵀ before any matrix acts as F: what is in between is small.
    """

    def __init__(self, matrices: list[Array | SymmetricFactor]) -> None:
        last = range(len(matrices))[::-1]
        low = {k: m.factor for k, m in enumerate(matrices) if isinstance(m, SymmetricFactor)}
        self.gathers = [(k, np.ascontiguousarray(low[k].T)) for k in last if k in low]
        self.spreads = [(k, m.factor if isinstance(m, SymmetricFactor) else m) for k, m in enumerate(matrices)][::-1]

    def __call__(self, mass: Array) -> Array:
        return np.ascontiguousarray(along_axes([*self.gathers, *self.spreads], mass))


def along_axes(steps: list[tuple[int, Array]], field: Array) -> Array:
    """Matrices along axes of a field, one after the other."""
    for axis, matrix in steps:
        shape = field.shape
        before, after = prod(shape[:axis]), prod(shape[axis + 1 :])
        flat = field.reshape(before, shape[axis], after)
        field = matrix @ flat if after > 1 else flat[:, :, 0] @ matrix.T
        field = field.reshape(*shape[:axis], len(matrix), *shape[axis + 1 :])
    return field


class SlabProducts:
    """The same on a slab: what Fᵀ, or along the cut a whole matrix, makes of all slabs is added up before the rest is done."""

    def __init__(self, whole: Products, slab: Slab) -> None:
        self.slab, cut, cells = slab, slab.axis, slab.cells
        low = any(k == cut for k, _ in whole.gathers)
        matrix = next(m for k, m in whole.spreads if k == cut)
        self.gathers = [(k, np.ascontiguousarray(m[:, cells]) if k == cut else m) for k, m in whole.gathers]
        self.spreads = [(k, np.ascontiguousarray(m[cells]) if k == cut else m) for k, m in whole.spreads]
        if not low:
            self.gathers.append((cut, np.ascontiguousarray(matrix[cells].T)))
            self.spreads = [(k, m) for k, m in self.spreads if k != cut]
        self.taken = not low

    def __call__(self, mass: Array) -> Array:
        few = self.slab.total(along_axes(self.gathers, mass))
        few = few.take(self.slab.cells, self.slab.axis) if self.taken else few
        return np.ascontiguousarray(along_axes(self.spreads, few))


class Moments:
    """(1 + x·y)^d = Σ_α c_α x^α y^α, c_α = d!/(α!(d − |α|)!) for |α| ≤ d: the moments of m, then a polynomial."""

    def __init__(self, degree: int, grid: Grid) -> None:
        entries, count = (degree + 1) ** len(grid.factors), len(grid.factors)
        require_memory(f"moments up to degree {degree} of {count} factors", 8 * (count + 4) * entries, "lower the degree")
        self.powers = [f.points ** np.arange(degree + 1)[:, None] for f in grid.factors]  # (degree + 1, n_cells)
        index = np.indices((degree + 1,) * len(grid.factors)).reshape(len(grid.factors), -1)
        factorials = np.array([float(factorial(k)) for k in range(degree + 1)])
        rest = degree - index.sum(axis=0)
        number = factorial(degree) / (factorials[index].prod(axis=0) * factorials[np.maximum(rest, 0)])
        self.coefficients = np.where(rest >= 0, number, 0.0).reshape((degree + 1,) * len(grid.factors))

    def __call__(self, mass: Array) -> Array:
        field = mass
        for matrix in self.powers:  # every axis goes from the front to the back, and ends where it was
            field = np.tensordot(field, matrix, axes=(0, 1))
        field = field * self.coefficients
        for matrix in self.powers:
            field = np.tensordot(field, matrix, axes=(0, 0))
        return np.ascontiguousarray(field)


class Fourier:
    """Convolution on uniform lines, zero-padded to at least 2n − 1 points: no images. Labels are summed as they stand."""

    def __init__(self, kernel: Radial | RadialLaw, grid: Grid) -> None:
        lines = [f for f in grid.factors if f.moves]
        labels = [f for f in grid.factors if not f.moves]
        combinations = cell_points(Grid(labels)) if labels else np.zeros((1, 1))
        what = f"the kernel between {len(combinations)} labels"
        require_memory(what, 8 * len(combinations) ** 2 * (2 + len(labels)), "use fewer labels")
        self.shape, self.cells, self.labels = grid.shape, [f.size for f in lines], len(combinations)
        self.padded = [scipy.fft.next_fast_len(2 * f.size - 1, real=f is lines[-1]) for f in lines]
        turns = [np.minimum(np.arange(n), n - np.arange(n)) for n in self.padded]
        offsets = [turn * (f.total_volume / f.size) for turn, f in zip(turns, lines, strict=True)]
        squared = reduce(np.add.outer, [o**2 for o in offsets])
        gaps = ((combinations[:, None] - combinations[None]) ** 2).sum(axis=2)  # squared distances of labels
        correction = self_value(kernel, lines, lines[0].volumes[:1])[0]
        numbers, position = np.unique(gaps, return_inverse=True)
        what = f"the kernel on {prod(self.padded)} points at {numbers.size} distances of labels"
        require_memory(what, 8 * prod(self.padded) * (numbers.size + 4), "use fewer cells, or labels at fewer distances")
        spectra = np.empty((numbers.size, *self.padded[:-1], self.padded[-1] // 2 + 1))
        for k, gap in enumerate(numbers):
            values = kernel.radial(squared + gap)
            values.flat[0] += correction * (gap == 0)
            spectra[k] = scipy.fft.rfftn(values).real  # even along every axis
        self.spectra, self.position = spectra, position.reshape(gaps.shape)

    def __call__(self, mass: Array) -> Array:
        dim = len(self.cells)
        spectrum = scipy.fft.rfft(mass.reshape(self.labels, *self.cells), n=self.padded[-1], axis=dim)
        for axis in range(dim - 1, 0, -1):
            spectrum = scipy.fft.fft(spectrum, n=self.padded[axis - 1], axis=axis)
        if self.labels == 1:
            spectrum *= self.spectra[0]
        else:
            spectrum = np.stack([sum(self.spectra[k] * s for k, s in zip(row, spectrum, strict=True)) for row in self.position])
        for axis in range(1, dim):
            crop = (slice(None),) * axis + (slice(self.cells[axis - 1]),)
            spectrum = scipy.fft.ifft(spectrum, axis=axis, overwrite_x=True)[crop]
        field = scipy.fft.irfft(spectrum, n=self.padded[-1], axis=dim)[..., : self.cells[-1]]
        return np.ascontiguousarray(field).reshape(self.shape)


class Pairs:
    """The sum over all pairs of cells."""

    def __init__(self, kernel: Radial | RadialLaw, grid: Grid) -> None:
        self.kernel, self.points = kernel, cell_points(grid)
        self.lengths = np.zeros(self.points.shape[1])
        lines = [k for k, f in enumerate(grid.factors) if f.moves]
        axis = lines[0] if lines else 0
        correction = self_value(kernel, [grid.factors[k] for k in lines], grid.factors[axis].volumes)
        self.correction = grid.along(axis, correction)

    def __call__(self, mass: Array) -> Array:
        field, _ = self.kernel.sum(self.points, self.points, mass.ravel(), self.lengths, gradient=False)
        return field.reshape(mass.shape) + self.correction * mass


def cell_points(grid: Grid) -> Array:
    """Cell points in the storage order of the grid, (n_cells, n_columns)."""
    numbers = np.meshgrid(*[np.arange(f.size) for f in grid.factors], indexing="ij")
    return np.column_stack([f.points[number.ravel()] for f, number in zip(grid.factors, numbers, strict=True)])
