"""The viscosity that lets mass slide along kinks of ξ oblique to the grid: a tensor A at the cells, from ξ alone.

Fluxes see ξ at cell points. Where a valley with a kink, ξ ≈ |n| − s·t, passes a cell obliquely, all neighbours of that cell
may be higher, and mass stays there, on fine grids as on coarse ones. Diffusion *across* the kink spreads mass over both of its
sides, and it slides. Along lines and circles k, with distances d, slopes g of ξ through faces and mobilities M:

1. j_i = max(0, g_{i+½} − g_{i−½}), at walls that of the neighbour, and the jump of the slope without what varies slowly,
   J_k = max(0, j_{i−1} + j_i + j_{i+1} − SMOOTH·min(j_{i−2}, j_{i+2})): a kink may meet three cells, and the sum is that of all;
   where ξ is smooth and resolved J = 0. q_k = ℓ_i J_k, ℓ_i the mean of both d;
2. with b the mean over 5 cells along every axis and central differences,
   s_kl = b(∂_k∂_lξ)/(b(max(∂_k²ξ, 0)) b(max(∂_l²ξ, 0)))^½, within ±1: the sign of n_k n_l;
3. the gate: only where ξ rises on both sides does a kink hold mass, which passes others. With n ∝ (s_kl J_k)_k, l the axis with
   the largest J, and grad ξ from the faces 3/2 cells before and behind, all J are multiplied by min(1, GATE·2 max(0, rise)/|J|),
   rise the smaller one of n·grad ξ on the side of n and −n·grad ξ on the other: 1/2 of the jump where both sides are alike;
4. J and q become their maximum over 5 cells along every axis, smoothed by (¼, ½, ¼), so that both sides of a kink have it;
   τ = |q|;
5. A_kl = τ s_kl M_k J_k M_l J_l/Σ_m M_m J_m²,   A_kk = τ M_k (M_k J_k²/Σ_m M_m J_m² + ALONG).

With M = 1 and equal cells A = q qᵀ/|q|, the size of a cell times the jump, across the kink: along it nothing diffuses but ALONG.
The width of what is spread is fixed in cells (deviation 1.8 h).

Kernels: `gridflow.scheme.finite_volume.sliding_stencils`.
"""

from itertools import combinations
from typing import Any, NamedTuple

import numpy as np

from gridflow.scheme.finite_volume.sliding_stencils import (
    along,
    bend,
    central,
    kink,
    largest,
    mean,
    rises,
    slope_behind,
    smoothed,
)
from gridflow.space.factor import Array, Indices
from gridflow.space.grid import Grid

GATE = 3.0
"""Between 1, where a shallow kink at 45° slides at .92 of its speed, and ∞, where kinks that mass crosses spread it."""
ALONG = 0.01
"""Share of τ that diffuses in all directions: it closes gaps between cells where s_kl is uncertain."""
ROUNDOFF = 64 * float(np.finfo(float).eps)
"""q relative to the largest |ξ| that may be round-off of differences."""
TINY = 1e-300


class Tensor(NamedTuple):
    """A at the cells. tau : τ; diagonal : A_kk/M_k by axis; mixed : A_kl by axes k < l."""

    tau: Array
    diagonal: dict[int, Array]
    mixed: dict[tuple[int, int], Array]


class SlidingTensor:
    """The tensor of any ξ on one grid. axes : those along which mass slides, at least two lines and circles that move.

    All fields, those of the tensor too, are overwritten by the next call: fresh memory would cost more than the sums.
    """

    def __init__(self, grid: Grid, axes: list[int]) -> None:
        self.grid = grid
        self.tables = {k: along(grid, k) for k in axes}
        self.slopes, self.bends, self.jumps = ({k: np.empty(grid.shape) for k in axes} for _ in range(3))
        self.signs = {pair: np.empty(grid.shape) for pair in combinations(axes, 2)}
        self.scratch = np.empty(grid.shape), np.empty(grid.shape)
        diagonal, mixed = {k: np.empty(grid.shape) for k in axes}, {pair: np.empty(grid.shape) for pair in self.signs}
        self.last = Tensor(np.empty(grid.shape), diagonal, mixed)

    def of(self, xi: Array) -> Tensor | None:
        """The tensor, or None where it is 0."""
        _, product = self.scratch
        for k, t in self.tables.items():
            slope, bent = self.slopes[k].reshape(t.shape), self.bends[k].reshape(t.shape)
            slope_behind(slope, xi.reshape(t.shape), t.cells, t.inverse_distance)
            bend(bent, slope, t.bends)
            kink(self.jumps[k].reshape(t.shape), bent, t.cells)
        floor = ROUNDOFF * max(float(xi.max()), -float(xi.min()))
        if all(float(np.multiply(self.length(k), jump, out=product).max()) <= floor for k, jump in self.jumps.items()):
            return None
        self.find_signs(xi)
        gate = self.gate()
        for k, jump in self.jumps.items():
            jump *= gate
            jump *= np.multiply(self.length(k), jump, out=product) > floor
        return self.assembled() if any(jump.any() for jump in self.jumps.values()) else None

    def find_signs(self, xi: Array) -> None:
        """s_kl, k < l; uses up j."""
        for k, bent in self.bends.items():
            bent /= self.length(k)
            self.chain([mean], bent, bent)
        one, two = self.scratch
        for (k, other), sign in self.signs.items():
            for values, out, axis in ((xi, one, k), (one, two, other)):
                t = self.tables[axis]
                central(out.reshape(t.shape), values.reshape(t.shape), t.cells, t.inverse_span)
            self.chain([mean], two, sign)
            np.multiply(self.bends[k], self.bends[other], out=one)
            np.maximum(one, TINY, out=one)
            sign /= np.sqrt(one, out=one)
            np.clip(sign, -1.0, 1.0, out=sign)

    def gate(self) -> Array:
        """min(1, GATE·2 max(0, rise)/|J|), with the signs of the components of n relative to the largest; uses up the slopes."""
        axes = list(self.jumps)
        main = np.argmax(np.stack([self.jumps[k] for k in axes]), axis=0) if len(axes) > 2 else None
        ahead, back = self.scratch
        ahead[...], back[...] = 0.0, 0.0
        for k, t in self.tables.items():
            fields = (z.reshape(t.shape) for z in (ahead, back, self.slopes[k], self.jumps[k], self.sign_towards(k, axes, main)))
            rises(*fields, t.slopes)
        squared = self.slopes[axes[0]]
        squared[...] = TINY
        rise = np.minimum(ahead, back, out=ahead)
        for jump in self.jumps.values():
            squared += np.multiply(jump, jump, out=back)
        np.maximum(rise, 0.0, out=rise)
        rise *= 2 * GATE
        rise /= squared
        return np.minimum(rise, 1.0, out=rise)

    def sign_towards(self, axis: int, axes: list[int], main: Indices | None) -> Array:
        """The sign of n_k relative to that of the main axis, by cell: of two axes the first one is as good as any.

        That of an axis relative to itself, 1, is given by J, where it counts.
        """
        relative = [self.jumps[k] if axis == k else self.signs[min(axis, k), max(axis, k)] for k in axes]
        return relative[0] if main is None else np.choose(main, relative)

    def assembled(self) -> Tensor:
        """Steps 4 and 5, from gated J of every axis."""
        (tau, diagonal, mixed), spread, weighted = self.last, self.bends, self.slopes
        ratio, product = self.scratch
        tau[...] = 0.0
        for k, jump in self.jumps.items():
            self.chain([largest, smoothed], jump, spread[k])
            q = np.multiply(self.length(k), spread[k] if self.tables[k].uniform else jump, out=weighted[k])
            if not self.tables[k].uniform:
                self.chain([largest, smoothed], q, q)
            tau += np.multiply(q, q, out=q)
        np.sqrt(tau, out=tau)
        total = ratio
        total[...] = TINY
        for k, jump in spread.items():
            np.multiply(self.grid.mobility[k], jump, out=weighted[k])
            total += np.multiply(weighted[k], jump, out=product)
        np.divide(tau, total, out=ratio)
        for k, jump in spread.items():
            np.multiply(weighted[k], jump, out=diagonal[k])
            diagonal[k] *= ratio
            diagonal[k] += np.multiply(ALONG, tau, out=product)
        for (k, other), sign in self.signs.items():
            np.multiply(ratio, sign, out=mixed[k, other])
            mixed[k, other] *= weighted[k]
            mixed[k, other] *= weighted[other]
        return self.last

    def length(self, axis: int) -> Array:
        """ℓ of the cells along an axis, broadcasting against fields."""
        return self.grid.along(axis, self.tables[axis].length)

    def chain(self, transforms: list[Any], values: Array, out: Array) -> None:
        """Filters, each along every axis, from `values`, which may be any field but the first scratch one, to `out`."""
        passes = [(transform, t) for transform in transforms for t in self.tables.values()]
        for number, (transform, t) in enumerate(passes):
            target = out if number == len(passes) - 1 else self.scratch[number % 2]
            transform(target.reshape(t.shape), values.reshape(t.shape), t.cells)
            values = target
