"""Kernels smoothed by a normal density in free space, (G_β * k)(x) = E k(x + βu), u standard normal, and moments of ∇f there.

A Gaussian stays one along every factor, of bandwidth (σ² + β²)^½ and σ/(σ² + β²)^½ times as high, windings of a circle included.
The other radial kernels are mixtures of Gaussians, k(r) = ∫e^{−s r²} μ(ds), so that in d dimensions

    (G_β * k)(r) = ∫(1 + 2β²s)^{−d/2} exp(−s r²/(1 + 2β²s)) μ(ds)

    inverse multiquadric   μ = (πs)^{−1/2} e^{−s} ds            in units of the bandwidth
    Laplace                μ = (4πs³)^{−1/2} e^{−1/(4s)} ds       in units of the bandwidth

by the trapezoidal rule in log s, which converges geometrically. Of −r^p it is known (Kummer's function):

    −(2β²)^{p/2} Γ((d + p)/2)/Γ(d/2) · ₁F₁(−p/2; d/2; −r²/(2β²))

Labels do not move, and are not displaced.
"""

from dataclasses import dataclass
from math import ceil, prod

import numpy as np
import scipy

from gridflow.energy.base import REACH
from gridflow.energy.interaction.convolution import Operator, cell_points, check_matrices, operator, product_operator
from gridflow.energy.mmd.target import Samples
from gridflow.errors import InputError
from gridflow.memory import require_memory
from gridflow.space.factor import Array, Factor
from gridflow.space.grid import Grid
from gridflow.sums.kernels import Gaussian, InverseMultiquadric, Kernel, Laplace, Polynomial, Riesz, periods

LOG_STEP = 0.15
"""Of the trapezoidal rule in log s: relative error below 1e−12."""
TABLE = 4096
"""Nodes of the cubic spline of a smoothed kernel in r."""


@dataclass(frozen=True)
class SmoothKernel:
    """A radial kernel other than the Gaussian, smoothed in `dim` dimensions."""

    kernel: Laplace | InverseMultiquadric | Riesz
    level: float
    dim: int

    def radial(self, squared: Array) -> Array:
        """Values at squared distances, any shape; many of them by a spline."""
        if squared.size <= TABLE:
            return self.exact(squared)
        nodes = np.linspace(0.0, float(np.sqrt(squared.max())), TABLE)
        return scipy.interpolate.CubicSpline(nodes, self.exact(nodes**2), bc_type=((1, 0.0), "not-a-knot"))(np.sqrt(squared))

    def exact(self, squared: Array) -> Array:
        """Values at squared distances, without a spline."""
        kernel, double = self.kernel, 2 * self.level**2
        if isinstance(kernel, Riesz):
            half, d = kernel.exponent / 2, self.dim / 2
            factor = double**half * np.exp(scipy.special.gammaln(d + half) - scipy.special.gammaln(d))
            return -factor * scipy.special.hyp1f1(-half, d, -squared / double)
        log_s = np.arange(-75.0, 75.0, LOG_STEP)
        s = np.exp(log_s)
        if isinstance(kernel, InverseMultiquadric):
            weight = np.sqrt(s / np.pi) * np.exp(-s)
        else:
            weight = np.exp(-1 / (4 * s)) / np.sqrt(4 * np.pi * s)
        kept = weight > 1e-18 * weight.max()
        s, weight = s[kept] / kernel.bandwidth**2, LOG_STEP * weight[kept]
        spread = 1 + double * s
        weight = weight * spread ** (-self.dim / 2)
        return np.exp(-squared[..., None] * (s / spread)) @ weight


def smoothed_operator(kernel: Kernel, grid: Grid, level: float) -> Operator:
    """`operator` of the smoothed kernel. Raises InputError for kernels and grids for which there is none."""
    if isinstance(kernel, Gaussian):
        check_matrices(grid)
        parts = [(f, *smoothed_gaussian(kernel, f, level)) for f in grid.factors]
        return product_operator([height * Gaussian(bandwidth).matrix(factor) for factor, bandwidth, height in parts], grid)
    lines = all(f.walls and f.uniform for f in grid.factors)
    if isinstance(kernel, Polynomial) or not (lines or (len(grid.factors) == 1 and grid.factors[0].walls)):
        raise InputError(
            f"noise injection with the kernel {kernel.__struct_config__.tag!r} on this grid",
            "the Gaussian; Laplace, imq and Riesz on uniform intervals and on one graded interval",
            'use kernel = {kind = "gaussian", bandwidth = …}',
        )
    return operator(SmoothKernel(kernel, level, len(grid.factors)), grid)  # type: ignore[arg-type]


def smoothed_gaussian(kernel: Gaussian, factor: Factor, level: float) -> tuple[float, float]:
    """(bandwidth, height) along one factor."""
    bandwidth = float(np.hypot(kernel.bandwidth, level)) if factor.moves else kernel.bandwidth
    return bandwidth, kernel.bandwidth / bandwidth


def smoothed_samples(kernel: Kernel, samples: Samples, grid: Grid, level: float) -> Array:
    """∫(G_β * k)(·, u)ν*(du) of samples at the cell points, shape of the grid."""
    points = cell_points(grid)
    if isinstance(kernel, Gaussian):
        parts = [smoothed_gaussian(kernel, f, level) for f in grid.factors]
        scale = np.array([kernel.bandwidth / bandwidth for bandwidth, _ in parts])  # lengths in units of each bandwidth
        lengths = periods(grid.factors) * scale
        values, _ = kernel.sum(points * scale, samples.points * scale, samples.weights, lengths, gradient=False)
        return float(np.prod([height for _, height in parts])) * values.reshape(grid.shape)
    assert not isinstance(kernel, Polynomial)
    smooth = SmoothKernel(kernel, level, len(grid.factors))
    field = np.zeros(len(points))
    for place, weight in zip(samples.points, samples.weights, strict=True):
        field += weight * smooth.radial(((points - place) ** 2).sum(axis=1))
    return field.reshape(grid.shape)


class DisplacementMoments:
    """Cell masses ↦ moments of ∇f(z + βu) over u at the cells, for a Gaussian kernel.

    ∇f is evaluated at points that reach REACH·β beyond the walls, at distances of (1/β² + 2/σ²)^{−1/2}: the spectrum of |∇f|²
    falls like e^{−k²σ²/4}, so that sums over them err by e^{−2π²} = 3e−9 of what they average. The average over u is a normalised
    sum along every factor, so that variances are never negative.
    """

    def __init__(self, kernel: Gaussian, grid: Grid, level: float, target: Array, samples: Samples | None) -> None:
        self.grid, self.target = grid, target
        spacing = float((1 / level**2 + 2 / kernel.bandwidth**2) ** -0.5)
        lines = grid.factors
        counts = [spaced_count(line, spacing, REACH * level) for line in lines]
        whole = prod(max(count, line.size) for count, line in zip(counts, lines, strict=True))
        whole += sum(count * line.size for count, line in zip(counts, lines, strict=True))
        what = f"the field at {' × '.join(str(count) for count in counts)} points that the noise reaches"
        require_memory(what, 32 * whole, "raise flow.noise_injection.level, or choose a wider kernel")
        places = [spaced_points(line, count, REACH * level) for line, count in zip(lines, counts, strict=True)]
        differences = [y[:, None] - line.points for line, y in zip(lines, places, strict=True)]  # (n_places, n_cells)
        self.values = [kernel.along(d, line.period) for line, d in zip(lines, differences, strict=True)]
        self.slopes = [kernel.slope(d, line.period) for line, d in zip(lines, differences, strict=True)]
        self.means = [mean_matrix(line, y, level) for line, y in zip(lines, places, strict=True)]
        self.pull: Array | None = None
        if samples is not None:
            points = np.stack([c.ravel() for c in np.meshgrid(*places, indexing="ij")], axis=1)
            self.pull = samples.field(kernel, points, grid.factors)[1].T.reshape(len(places), *[p.size for p in places])

    def __call__(self, mass: Array) -> tuple[list[Array], Array]:
        """([E ∂f of every factor that moves], E|∇f|²)."""
        difference = mass - self.target
        first, second = [], np.zeros(self.grid.shape)
        for axis, factor in enumerate(self.grid.factors):
            if not factor.moves:
                continue
            slope = along_axes([*self.values[:axis], self.slopes[axis], *self.values[axis + 1 :]], difference)
            if self.pull is not None:
                slope = slope - self.pull[axis]
            first.append(along_axes(self.means, slope))
            second += along_axes(self.means, slope**2)
        return first, second


def along_axes(matrices: list[Array], field: Array) -> Array:
    """Every matrix (m_k, n_k) applied along its axis."""
    for axis, matrix in enumerate(matrices):
        field = np.moveaxis(np.tensordot(matrix, field, axes=(1, axis)), 0, axis)
    return np.ascontiguousarray(field)


def spaced_count(factor: Factor, spacing: float, margin: float) -> int:
    """Number of positions at most `spacing` apart, and so far beyond the walls of an interval; of labels all."""
    if factor.walls is not None:
        return 2 + int((factor.total_volume + 2 * margin) / spacing)
    return ceil(factor.total_volume / spacing) if factor.period > 0 else factor.size


def spaced_points(factor: Factor, count: int, margin: float) -> Array:
    """So many positions, up to so far beyond the walls of an interval; the points of labels."""
    if factor.walls is not None:
        return np.linspace(factor.edges[0] - margin, factor.edges[-1] + margin, count)
    return factor.total_volume * np.arange(count) / count if factor.period > 0 else factor.points


def mean_matrix(line: Factor, places: Array, level: float) -> Array:
    """Average over displacements by u from every cell point, (n_cells, n_places); rows sum to 1."""
    if not line.moves:
        return np.eye(line.size)
    weights = Gaussian(level).along(line.points[:, None] - places, line.period)
    return weights / weights.sum(axis=1, keepdims=True)
