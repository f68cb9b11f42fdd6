"""The Gibbs kernel of entropic transport, exp(−c/ε) with c = dist²/M, as one small matrix per factor.

On a line the Gaussian is reflected at the walls, on a circle wound around it, on a surface one of the geodesic distance; then it
is scaled symmetrically so that K1 = 1: constant densities stay constant, walls included, on graded cells too. (The heat kernel
exp((ε/4)Δ_h) of the discrete Laplacian does that as well, but its tails are those of a random walk: it would transport over
several cells too cheaply.) Labels and factors with mobility 0 do not move. Matrices act on densities with respect to the cell
volumes: V_i K_ij = V_j K_ji.

Products run in logarithms (`gridflow.scheme.jko.log_product`): nothing limits the range, and a narrow kernel costs as much as its
width. Where the kernel is wide they run in the linear domain, if the range of the field allows it without loss.

A surface with more than DENSE_MAX cells has no matrix (`gridflow.scheme.jko.surface_kernel`).
"""

from collections.abc import Callable
from functools import cached_property, partial
from math import prod

import numpy as np
import scipy

from gridflow.errors import InputError
from gridflow.memory import require_memory
from gridflow.scheme.jko.log_product import BLOCK, in_blocks, log_product
from gridflow.scheme.jko.surface_kernel import ChebyshevModes, SurfaceKernel
from gridflow.space.factor import Array, Factor
from gridflow.space.grid import Grid
from gridflow.space.mesh import Mesh, surface_of

Product = Callable[[Array, Array], None]
"""Of a field (n_before, n_cells, n_after), into another one."""
RANGE_MAX = 400.0
"""Nats that a field may span in the linear domain: what K loses below TINY is then less than e^(400 − 460) of every sum."""
TINY = 1e-200
"""Entries of K below are zero: no arithmetic with subnormal numbers."""
SCALINGS = 200
DENSE_MAX = 4096
"""Cells of a factor with a matrix: it has 128 MiB, and its eigenvectors take a minute."""
COSINES_MIN = 64
"""Cells from which a cosine transform is faster than the product with the matrix of eigenvectors."""
SMALL, WIDE, FELT = 2**19, 0.4, 1e-18
"""Products in the linear domain are faster up to so many multiplications, and from this share of blocks with entries ≥ FELT."""


def log_gibbs_matrix(factor: Factor, epsilon: float) -> Array:
    """log K of one factor with unit mobility, (n_cells, n_cells)."""
    logs = factor.log_gaussian(epsilon)
    kernel = np.exp(logs)
    scale = 1 / np.sqrt(kernel @ factor.volumes)
    for _ in range(SCALINGS):  # s ← (s/(K(sV)))^½ contracts: on uniform cells one step does it
        new = np.sqrt(scale / (kernel @ (scale * factor.volumes)))
        if np.abs(new / scale - 1).max() < 1e-15:
            break
        scale = new
    rows = scale * (kernel @ (scale * factor.volumes))
    return np.log(scale / rows)[:, None] + logs + np.log(scale * factor.volumes)


def gibbs_matrix(factor: Factor, epsilon: float) -> Array:
    """K of one factor with unit mobility, (n_cells, n_cells)."""
    kernel = np.exp(log_gibbs_matrix(factor, epsilon))
    kernel[kernel < TINY] = 0.0
    return kernel / kernel.sum(axis=1, keepdims=True)


def largest_square(grid: Grid) -> float:
    """Largest (cell size)²/M of the factors that move, on surfaces the area of a cell: the unit of ε."""
    squares = [
        float(f.volumes.max()) ** (2 / f.dimension) / float(m[m > 0].min())
        for f, m in zip(grid.factors, grid.mobility, strict=True)
        if f.moves and (m > 0).any()
    ]
    return max(squares, default=1.0)


def lines_of(shape: tuple[int, ...]) -> list[tuple[int, int, int]]:
    """Shapes of a block around every line of fields (blocks, line, line, …): (n_before, n_cells, n_after)."""
    return [(prod(shape[1:k]), shape[k], prod(shape[k + 1 :])) for k in range(1, len(shape))]


class GibbsKernel:
    """K on a grid, applied factor by factor.

    Labels come first in memory, so that a field is (blocks, line, line, …); a mobility may depend on labels.
    """

    def __init__(self, grid: Grid, epsilon: float) -> None:
        self.grid, self.epsilon = grid, epsilon
        lines = [k for k, f in enumerate(grid.factors) if f.moves]
        labels = grid.shape[: len(grid.shape) - len(lines)]
        self.blocks = prod(labels)
        self.shape = (self.blocks, *(grid.shape[k] for k in lines))
        self.cells, self.lines = grid.size, lines_of(self.shape)
        self.factors = [grid.factors[k] for k in lines]
        self.mobility: list[list[float]] = []
        """Distinct mobilities per line: one, or one per block."""
        for k, factor in zip(lines, self.factors, strict=True):
            mobility = grid.mobility[k]
            if any(mobility.shape[j] > 1 for j in lines):
                raise InputError(
                    f"entropic transport with a mobility of {factor.name!r} that varies along another interval or circle",
                    "constant mobilities, or ones that depend on labels",
                    'use scheme.kind = "finite-volume"',
                )
            values = np.broadcast_to(mobility, (*labels, *(1,) * len(lines))).ravel().tolist()
            self.mobility.append(values if len(set(values)) > 1 else values[:1])
        self.surfaces = [surface_of(f) if f.size > DENSE_MAX else None for f in self.factors]
        """Factors without a matrix."""
        self.check_sizes()
        self.matrices = [
            np.zeros((len(values), 0, 0))
            if surface
            else np.stack([np.eye(f.size) if m == 0 else gibbs_matrix(f, epsilon * m) for m in values])
            for f, values, surface in zip(self.factors, self.mobility, self.surfaces, strict=True)
        ]

    def check_sizes(self) -> None:
        """Raises InputError for factors whose matrices do not fit."""
        for factor, surface in zip(self.factors, self.surfaces, strict=True):
            if factor.size > DENSE_MAX and surface is None:
                raise InputError(
                    f"entropic transport with {factor.size} cells of {factor.name!r}: a matrix of"
                    f" {factor.size**2 * 8 / 2**30:.1f} GiB and its eigenvectors",
                    f"at most {DENSE_MAX} cells of an interval, a circle or an ellipse",
                    'lower the cells, or use scheme.kind = "finite-volume"',
                )
        for factor, surface, values in zip(self.factors, self.surfaces, self.mobility, strict=True):
            if surface is None:
                what = f"{len(values)} matrices of entropic transport along {factor.size} cells of {factor.name!r}"
                require_memory(what, 32 * len(values) * factor.size**2, "use fewer cells, or one mobility")
        large = [f.name for f in self.surfaces if f is not None]
        if len(large) > 1:
            raise InputError(
                f"entropic transport on two surfaces, {' and '.join(large)}, of more than {DENSE_MAX} cells each",
                "one such surface",
                'lower a level, or use scheme.kind = "finite-volume"',
            )

    def apply(self, field: Array) -> Array:
        """K u for u > 0 on the grid."""
        if any(self.surfaces):
            return np.exp(self.apply_log(np.log(field)))
        x = field.reshape(self.shape)
        for axis, stack in enumerate(self.matrices, start=1):
            x = self.along_axis(stack, x, axis)
        return np.ascontiguousarray(x.reshape(field.shape))

    def along_axis(self, stack: Array, x: Array, axis: int) -> Array:
        """A matrix, or one per block, times a field (blocks, line, line, …) along one of its lines."""
        before, n, after = self.lines[axis - 1]
        if after > 1:
            y = np.matmul(stack[:, None], x.reshape(self.blocks, before, n, after))
        else:
            y = np.matmul(x.reshape(self.blocks, before, n), np.swapaxes(stack, 1, 2))
        return y.reshape(self.shape)

    def apply_log(self, logs: Array) -> Array:
        """log K e^l; of labels alone K is the identity."""
        if not self.lines:
            return logs.copy()
        if self.wide:
            top = self.grid.largest(logs.max())
            if top + self.grid.largest(-logs.min()) < RANGE_MAX:
                return np.log(self.apply(np.exp(logs - top))) + top
        return self.in_logarithms(logs)

    def in_logarithms(self, logs: Array) -> Array:
        """The same for fields of any range."""
        fields, out = np.ascontiguousarray(logs).reshape(self.shape), np.empty(self.shape)
        for block, (x, last) in enumerate(zip(fields, out, strict=True)):  # all lines of a block while it is in the cache
            for k, (products, line) in enumerate(zip(self.log_products, self.lines, strict=True)):
                target = (last if k + 1 == len(self.lines) else np.empty(last.shape)).reshape(line)
                products[block % len(products)](x.reshape(line), target)
                x = target
        return out.reshape(logs.shape)

    def after_division(self, log_before: Array, logs: Array) -> Array:
        """log K(q/(K e^l)), with log q."""
        return self.apply_log(log_before - self.apply_log(logs))

    @cached_property
    def wide(self) -> bool:
        """Whether products in the linear domain are faster: small grids, wide kernels, lines without others beside them."""
        if any(self.surfaces):
            return False
        if any(stack.shape[1] * self.cells <= SMALL or self.cells < BLOCK * stack.shape[1] for stack in self.matrices):
            return True
        return any(felt_share(matrix) > WIDE for stack in self.matrices for matrix in stack)

    @cached_property
    def log_products(self) -> list[list[Product]]:
        """f → log K e^f, per line, and per block where mobilities differ."""
        return [
            [log_product_of(f, self.epsilon * m, surface) for m in values]
            for f, values, surface in zip(self.factors, self.mobility, self.surfaces, strict=True)
        ]

    @cached_property
    def modes(self) -> tuple[list[tuple[Array, Array] | ChebyshevModes | None], Array]:
        """(transform and its inverse of every line, None for the cosine transform; eigenvalues σ) of the self-adjoint K.

        A surface without a matrix has no transform but `ChebyshevModes`, and σ is approximate.
        """
        transforms: list[tuple[Array, Array] | ChebyshevModes | None] = []
        sigma = self.filtered(np.ones((1,) * len(self.shape)))
        for axis, (factor, stack) in enumerate(zip(self.factors, self.matrices, strict=True), start=1):
            surface = self.surfaces[axis - 1]
            if surface is not None:
                modes = ChebyshevModes(surface)
                transforms.append(modes)
                values = np.exp(self.epsilon / 4 * np.multiply.outer(self.mobility[axis - 1], modes.eigenvalues))
            elif factor.walls and factor.uniform and factor.size >= COSINES_MIN:
                transforms.append(None)
                values = scipy.fft.dct(stack[:, :, 0], axis=1) / scipy.fft.dct(np.eye(factor.size)[0])
            else:
                root = np.sqrt(factor.volumes)
                values, vectors = np.linalg.eigh(root[:, None] * stack / root)
                transforms.append((np.swapaxes(vectors, 1, 2) * root, vectors / root[:, None]))
            shape = [len(stack) if k == 0 else -1 if k == axis else 1 for k in range(len(self.shape))]
            sigma = sigma * self.filtered(np.clip(values, 0.0, 1.0).reshape(shape))
        return transforms, sigma

    def filtered(self, symbol: Array) -> Array:
        """What `filter` takes, of a symbol that broadcasts against (blocks, line, line, …)."""
        return symbol

    @cached_property
    def single(self) -> bool:
        """Whether `filter` is made of cosine transforms alone."""
        return all(transform is None for transform in self.modes[0])

    def filter(self, field: Array, symbol: Array) -> Array:
        """Multiply the modes of a field by a symbol, (blocks, line, line, …) like σ of `modes`.

        Cosine transforms keep the precision of the field: single precision takes half the time.
        """
        transforms, _ = self.modes
        x = field.reshape(self.shape)
        for axis, transform in enumerate(transforms, start=1):
            if isinstance(transform, tuple):
                x = self.along_axis(transform[0], x, axis)
        lines = [axis for axis, transform in enumerate(transforms, start=1) if transform is None]
        if lines:
            x = scipy.fft.dctn(x, axes=lines, norm="ortho")
        polynomial = next(((t, k) for k, t in enumerate(transforms, start=1) if isinstance(t, ChebyshevModes)), None)
        x = polynomial[0].filter(x, symbol, polynomial[1]) if polynomial else x * symbol
        if lines:
            x = scipy.fft.idctn(x, axes=lines, norm="ortho", overwrite_x=True)
        for axis, transform in enumerate(transforms, start=1):
            if isinstance(transform, tuple):
                x = self.along_axis(transform[1], x, axis)
        return x.reshape(field.shape)


def felt_share(matrix: Array) -> float:
    """Share of the blocks with an entry that can be felt."""
    starts = np.arange(0, len(matrix), BLOCK)
    return float((np.maximum.reduceat(np.maximum.reduceat(matrix, starts, axis=0), starts, axis=1) > FELT).mean())


def log_product_of(factor: Factor, epsilon: float, surface: Mesh | None) -> Product:
    """f → log K e^f of one factor with unit mobility, the identity where ε = 0."""
    if epsilon == 0:
        return lambda field, out: np.copyto(out, field)
    if surface is not None:
        return partial(surface_product, SurfaceKernel(surface, epsilon))
    return partial(log_product, *in_blocks(log_gibbs_matrix(factor, epsilon)))


def surface_product(kernel: SurfaceKernel, field: Array, out: Array) -> None:
    """log K e^f without a matrix."""
    columns = np.moveaxis(field, 1, 0)
    result = kernel(np.ascontiguousarray(columns.reshape(len(columns), -1)))
    out[:] = np.moveaxis(result.reshape(columns.shape), 0, 1)
