"""The Gibbs kernel of entropic transport, exp(−c/ε) with c = dist²/M, as one small matrix per factor.

On a line the Gaussian is reflected at the walls, on a circle wound around it, on a surface one of the geodesic distance; then it
is scaled symmetrically so that K1 = 1: constant densities stay constant, walls included, on graded cells too. (The heat kernel
exp((ε/4)Δ_h) of the discrete Laplacian does that as well, but its tails are those of a random walk: it would transport over
several cells too cheaply.) Labels and factors with mobility 0 do not move. Matrices act on densities with respect to the cell
volumes: V_i K_ij = V_j K_ji.

Products run in the linear domain where the range of the field allows it without loss, else in the logarithmic one, blockwise:
within a block of 8 × 8 cells a matrix product of scaled exponentials, between blocks logarithms. Nothing limits the range.

A surface with more than DENSE_MAX cells has no matrix (`gridflow.scheme.jko.surface_kernel`).
"""

from collections.abc import Callable
from functools import cached_property, partial

import numpy as np
import scipy
from numba import njit

from gridflow.errors import InputError
from gridflow.scheme.jko.surface_kernel import ChebyshevModes, SurfaceKernel
from gridflow.space.factor import Array, Factor
from gridflow.space.grid import Grid
from gridflow.space.mesh import Mesh

RANGE_MAX = 400.0
"""Nats that a field may span in the linear domain: what K loses below TINY is then less than e^(400 − 460) of every sum."""
TINY = 1e-200
"""Entries of K below are zero: no arithmetic with subnormal numbers."""
SCALINGS = 200
DENSE_MAX = 4096
"""Cells of a factor with a matrix: it has 128 MiB, and its eigenvectors take a minute."""
COSINES_MIN = 160
"""Cells from which a cosine transform is faster than the product with the matrix of eigenvectors."""
BLOCK = 8
"""Cells of a block: its products are exact for slopes up to some 20 nats per cell, steeper rows are summed term by term."""
SMALLEST = 345.0
"""e^−345 = 1e−150: the product of two such numbers is still normal."""


def log_gaussian(factor: Factor, epsilon: float) -> Array:
    """Logarithm of the Gaussian before it is scaled, (n_cells, n_cells); on a surface that of the geodesic distance."""
    if factor.is_mesh:
        return -(factor.distance() ** 2) / epsilon
    x = factor.points
    difference, length = x[:, None] - x[None, :], factor.length
    turns = int(np.ceil(np.sqrt(0.25 + 40 * epsilon / length**2)))  # images beyond are e^−40 of the nearest
    shifts = range(-turns, turns + 1)
    if factor.is_circle:
        images = [difference + k * length for k in shifts]
    else:
        mirrored = x[:, None] + x[None, :] - 2 * factor.edges[0]
        images = [d + 2 * k * length for k in shifts for d in (difference, mirrored)]
    return np.logaddexp.reduce([-(d**2) / epsilon for d in images], axis=0)


def log_gibbs_matrix(factor: Factor, epsilon: float) -> Array:
    """log K of one factor with unit mobility, (n_cells, n_cells)."""
    logs = log_gaussian(factor, epsilon)
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


class GibbsKernel:
    """K on a grid, applied factor by factor.

    Labels come first in memory, so that a field is (blocks, line, line, …); a mobility may depend on labels.
    """

    def __init__(self, grid: Grid, epsilon: float) -> None:
        self.epsilon = epsilon
        lines = [k for k, f in enumerate(grid.factors) if f.moves]
        labels = grid.shape[: len(grid.shape) - len(lines)]
        self.blocks = int(np.prod(labels))
        self.shape = (self.blocks, *(grid.shape[k] for k in lines))
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
        self.surfaces = [f if isinstance(f, Mesh) and f.size > DENSE_MAX else None for f in self.factors]
        """Factors without a matrix."""
        self.check_sizes()
        self.matrices = [
            np.zeros((len(values), 0, 0))
            if surface
            else np.stack([np.eye(f.size) if m == 0 else gibbs_matrix(f, epsilon * m) for m in values])
            for f, values, surface in zip(self.factors, self.mobility, self.surfaces, strict=True)
        ]

    def check_sizes(self) -> None:
        for factor, surface in zip(self.factors, self.surfaces, strict=True):
            if factor.size > DENSE_MAX and surface is None:
                raise InputError(
                    f"entropic transport with {factor.size} cells of {factor.name!r}: a matrix of"
                    f" {factor.size**2 * 8 / 2**30:.1f} GiB and its eigenvectors",
                    f"at most {DENSE_MAX} cells of an interval, a circle or an ellipse",
                    'lower the cells, or use scheme.kind = "finite-volume"',
                )
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
        before, after = int(np.prod(x.shape[1:axis])), int(np.prod(x.shape[axis + 1 :]))
        if after > 1:
            y = np.matmul(stack[:, None], x.reshape(self.blocks, before, x.shape[axis], after))
        else:
            y = np.matmul(x.reshape(self.blocks, before, x.shape[axis]), np.swapaxes(stack, 1, 2))
        return y.reshape(self.shape)

    def apply_log(self, logs: Array) -> Array:
        """log K e^l."""
        top = logs.max()
        if top - logs.min() < RANGE_MAX and not any(self.surfaces):
            return np.log(self.apply(np.exp(logs - top))) + top
        x = logs.reshape(self.shape)
        for axis, products in enumerate(self.log_products, start=1):
            moved = np.moveaxis(x, axis, 1)  # the line first, all others behind it
            field = np.ascontiguousarray(moved.reshape(self.blocks, x.shape[axis], -1))
            out = np.stack([products[block % len(products)](field[block]) for block in range(self.blocks)])
            x = np.ascontiguousarray(np.moveaxis(out.reshape(moved.shape), 1, axis))
        return x.reshape(logs.shape)

    @cached_property
    def log_products(self) -> list[list[Callable[[Array], Array]]]:
        """f → log K e^f for fields (n_cells, k), per line and mobility."""
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
        sigma = np.ones((1,) * len(self.shape))
        for axis, (factor, stack) in enumerate(zip(self.factors, self.matrices, strict=True), start=1):
            surface = self.surfaces[axis - 1]
            if surface is not None:
                modes = ChebyshevModes(surface)
                transforms.append(modes)
                values = np.exp(self.epsilon / 4 * np.multiply.outer(self.mobility[axis - 1], modes.eigenvalues))
            elif factor.kind == "interval" and factor.size >= COSINES_MIN and np.ptp(factor.volumes) < 1e-12 * factor.volumes[0]:
                transforms.append(None)
                values = scipy.fft.dct(stack[:, :, 0], axis=1) / scipy.fft.dct(np.eye(factor.size)[0])
            else:
                root = np.sqrt(factor.volumes)
                values, vectors = np.linalg.eigh(root[:, None] * stack / root)
                transforms.append((np.swapaxes(vectors, 1, 2) * root, vectors / root[:, None]))
            shape = [len(stack) if k == 0 else -1 if k == axis else 1 for k in range(len(self.shape))]
            sigma = sigma * np.clip(values, 0.0, 1.0).reshape(shape)
        return transforms, sigma

    def filtered(self, field: Array, symbol: Array) -> Array:
        """Multiply the modes of a field by a symbol, (blocks, line, line, …) like σ of `modes`."""
        transforms, _ = self.modes
        x = field.reshape(self.shape)
        for axis, transform in enumerate(transforms, start=1):
            if transform is None:
                x = scipy.fft.dct(x, axis=axis, norm="ortho")
            elif isinstance(transform, tuple):
                x = self.along_axis(transform[0], x, axis)
        polynomial = next(((t, k) for k, t in enumerate(transforms, start=1) if isinstance(t, ChebyshevModes)), None)
        x = polynomial[0].filtered(x, symbol, polynomial[1]) if polynomial else x * symbol
        for axis, transform in enumerate(transforms, start=1):
            if transform is None:
                x = scipy.fft.idct(x, axis=axis, norm="ortho")
            elif isinstance(transform, tuple):
                x = self.along_axis(transform[1], x, axis)
        return x.reshape(field.shape)


# ------------------------------------------------------------------------------------------- products of logarithms
def log_product_of(factor: Factor, epsilon: float, surface: Mesh | None) -> Callable[[Array], Array]:
    """f → log K e^f of one factor with unit mobility, the identity where ε = 0."""
    if surface is not None:
        return SurfaceKernel(surface, epsilon) if epsilon > 0 else np.copy
    return partial(log_product, *in_blocks(frozen_logs(factor.size) if epsilon == 0 else log_gibbs_matrix(factor, epsilon)))


def frozen_logs(n: int) -> Array:
    """Logarithm of the identity."""
    logs = np.full((n, n), -np.inf)
    np.fill_diagonal(logs, 0.0)
    return logs


def in_blocks(logs: Array) -> tuple[Array, Array, Array]:
    """(logs, the largest of every block, e^(logs − largest) blockwise (n_blocks, n_blocks, BLOCK, BLOCK))."""
    n = len(logs)
    count = -(-n // BLOCK)
    padded = np.full((count * BLOCK, count * BLOCK), -np.inf)
    padded[:n, :n] = logs
    blocks = padded.reshape(count, BLOCK, count, BLOCK).swapaxes(1, 2)
    tops = np.maximum(blocks.max(axis=(2, 3)), -1e300)
    scaled = np.exp(blocks - tops[:, :, None, None])
    scaled[scaled < np.exp(-SMALLEST)] = 0.0
    return logs, tops, np.ascontiguousarray(scaled)


@njit(nogil=True, error_model="numpy", cache=True)
def log_product(logs, tops, scaled, field):
    """(n, k): log Σ_j exp(logs[i, j] + field[j, a]).

    A block row sums the products of its blocks, each scaled by the largest term that it can have; blocks below e^−SMALLEST of
    the largest are left out. Rows with a sum so small that this could be felt are summed term by term.
    """
    n, after = field.shape
    count = len(tops)
    out = np.empty_like(field)
    weights, largest = np.zeros((count * BLOCK, after)), np.full((count, after), -np.inf)
    for j in range(n):
        for a in range(after):
            largest[j // BLOCK, a] = max(largest[j // BLOCK, a], field[j, a])
    for j in range(n):
        for a in range(after):
            difference = field[j, a] - largest[j // BLOCK, a]
            weights[j, a] = np.exp(difference) if difference > -SMALLEST else 0.0
    highest = np.empty(count)
    for j in range(count):
        highest[j] = largest[j].max()
    top, factor = np.empty(after), np.empty(after)
    part, total = np.empty((BLOCK, after)), np.empty((BLOCK, after))
    for i in range(count):
        top[:] = tops[i, i] + largest[i]
        lowest = top.min() - SMALLEST
        for j in range(count):
            if tops[i, j] + highest[j] > lowest:
                for a in range(after):
                    top[a] = max(top[a], tops[i, j] + largest[j, a])
        total[:] = 0.0
        for j in range(count):
            if tops[i, j] + highest[j] <= lowest:
                continue
            needed = False
            for a in range(after):
                difference = tops[i, j] + largest[j, a] - top[a]
                factor[a] = np.exp(difference) if difference > -SMALLEST else 0.0
                needed |= difference > -SMALLEST
            if needed:
                np.dot(scaled[i, j], weights[j * BLOCK : (j + 1) * BLOCK], part)
                for k in range(BLOCK):
                    for a in range(after):
                        total[k, a] += factor[a] * part[k, a]
        for k in range(min(BLOCK, n - i * BLOCK)):
            row = i * BLOCK + k
            for a in range(after):
                if total[k, a] > 1e-130:  # what was left out is below n·1e−150
                    out[row, a] = top[a] + np.log(total[k, a])
                else:
                    out[row, a] = log_sum_of_row(logs, tops, field, largest, row, a)
    return out


@njit(nogil=True, error_model="numpy", cache=True)
def log_sum_of_row(logs, tops, field, largest, row, a):
    """log Σ_j exp(logs[row, j] + field[j, a]); blocks that cannot reach the largest term are skipped."""
    n, count, i = len(logs), len(tops), row // BLOCK
    top = -np.inf
    for step in range(2 * count):  # from the nearest block outwards
        j = i + (step + 1) // 2 if step % 2 else i - step // 2
        if 0 <= j < count and tops[i, j] + largest[j, a] > top:
            for m in range(j * BLOCK, min(n, (j + 1) * BLOCK)):
                top = max(top, logs[row, m] + field[m, a])
    total = 0.0
    for j in range(count):
        if tops[i, j] + largest[j, a] > top - 40.0:
            for m in range(j * BLOCK, min(n, (j + 1) * BLOCK)):
                term = logs[row, m] + field[m, a] - top
                if term > -40.0:  # below 4e−18 of the largest
                    total += np.exp(term)
    return top + np.log(total)
