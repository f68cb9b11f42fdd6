"""The viscosity that lets mass slide along kinks of ξ oblique to the grid: a tensor A at the cells, from ξ alone.

Fluxes see ξ at cell points. Where a valley with a kink, ξ ≈ |n| − s·t, passes a cell obliquely, all neighbours of that cell
may be higher, and mass stays there, on fine grids as on coarse ones. Diffusion *across* the kink spreads mass over both of its
sides, and it slides. Along lines and circles k, with distances d, slopes g of ξ through faces and mobilities M:

1. j_i = max(0, g_{i+½} − g_{i−½}), at walls that of the neighbour, and the jump of the slope without what varies slowly,
   J_k = max(0, j_{i−1} + j_i + j_{i+1} − SMOOTH·min(j_{i−2}, j_{i+2})): a kink may meet three cells, and the sum is that of all;
   where ξ is smooth and resolved J = 0. q_k = ℓ_i J_k, ℓ_i the mean of both d;
2. with b the mean over 5 cells along every axis and central differences,
   s_kl = b(∂_k∂_lξ)/(b(max(∂_k²ξ, 0)) b(max(∂_l²ξ, 0)))^½, within ±1: the sign of n_k n_l, and 0 where it is round-off;
3. the gate: only where ξ rises on both sides does a kink hold mass, which passes others. All J are multiplied by
   min(1, GATE·2 max(0, rise)/|J|). With n ∝ (sign(s_kl) J_k)_k as one axis l sees it, and grad ξ from the faces 3/2 cells before
   and behind, rise is the smaller one of n·grad ξ on the side of n and −n·grad ξ on the other: 1/2 of the jump where both sides
   are alike. With a weight of 1 − |s_kl| axis k adds instead the lesser of its two rises to both sides: where kinks along both
   axes cross, s_kl is 0, and its sign round-off. So the gate is a continuous function of ξ, and never more than with either sign
   alone: kinks that mass crosses do not spread it. Of two axes l is either one, of more the mean over all of them counts;
4. J and q become their maximum over 5 cells along every axis, smoothed by (¼, ½, ¼), so that both sides of a kink have it;
   τ = |q|;
5. A_kl = τ s_kl M_k J_k M_l J_l/Σ_m M_m J_m²,   A_kk = τ M_k (M_k J_k²/Σ_m M_m J_m² + ALONG). Of three axes and more the s_kl by
   pairs do not agree where kinks cross, and A would have eigenvalues down to −1/4 of its trace: there s_kl is the mean over m of
   s_mk s_ml with s_mm = 1, so that A is positive semidefinite.

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
from gridflow.space.factor import Array
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
        self.find_signs(xi, floor)
        gate = self.gate()
        for k, jump in self.jumps.items():
            jump *= gate
            jump *= np.multiply(self.length(k), jump, out=product) > floor
        return self.assembled() if any(jump.any() for jump in self.jumps.values()) else None

    def find_signs(self, xi: Array, floor: float) -> None:
        """s_kl, k < l; uses up j. `floor`, the round-off of ξ, is added to ℓ²∂²ξ: it makes no sign beside kinks along an axis."""
        for k, bent in self.bends.items():
            bent /= self.length(k)
            bent += floor / self.length(k) ** 2
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
        """min(1, GATE·2 max(0, rise·|J|)/|J|²); uses up the slopes, and the tensor of the last ξ."""
        rise = self.rise()
        squared, product = self.slopes[next(iter(self.slopes))], self.last.tau
        squared[...] = TINY
        for jump in self.jumps.values():
            squared += np.multiply(jump, jump, out=product)
        rise *= 2 * GATE
        rise /= squared
        return np.clip(rise, 0.0, 1.0, out=rise)

    def rise(self) -> Array:
        """rise·|J|: of two axes as either one sees it, of more the mean of what all of them see, with weights J_m²."""
        first, *others = self.jumps
        if len(others) == 1:
            return self.rise_from(first)
        weights, total, weight = self.last.tau, *list(self.last.diagonal.values())[:2]
        weights[...], total[...] = TINY, 0.0
        for main, jump in self.jumps.items():
            weights += np.multiply(jump, jump, out=weight)
            total += np.multiply(weight, self.rise_from(main), out=weight)
        total /= weights
        return total

    def rise_from(self, main: int) -> Array:
        """rise·|J| with the signs of the components of n relative to that of one axis."""
        ahead, back = self.scratch
        ahead[...], back[...] = 0.0, 0.0
        for k, t in self.tables.items():
            fields = (z.reshape(t.shape) for z in (ahead, back, self.slopes[k], self.jumps[k], self.sign_towards(k, main)))
            rises(*fields, t.slopes)
        return np.minimum(ahead, back, out=ahead)

    def sign_towards(self, axis: int, main: int) -> Array:
        """s_kl of an axis and the main one; of that itself, the largest |s_kl| of it."""
        if axis != main:
            return self.signs[min(axis, main), max(axis, main)]
        first, *others = [pair for pair in self.signs if main in pair]
        size = np.abs(self.signs[first], out=self.last.mixed[first])
        for pair in others:
            np.maximum(size, np.abs(self.signs[pair]), out=size)
        return size

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
        total[...] = 0.0
        for k, jump in spread.items():
            np.multiply(self.grid.mobility[k], jump, out=weighted[k])
            total += np.multiply(weighted[k], jump, out=product)
        agreeing = self.signs if len(spread) == 2 else self.agreeing_signs(weighted, total)
        total[total == 0.0] = np.inf  # where nothing moves, or J² underflows
        np.divide(tau, total, out=ratio)
        for k, jump in spread.items():
            np.multiply(weighted[k], jump, out=diagonal[k])
            diagonal[k] *= ratio
            diagonal[k] += np.multiply(ALONG, tau, out=product)
        for (k, other), sign in agreeing.items():
            np.multiply(ratio, sign, out=mixed[k, other])
            mixed[k, other] *= weighted[k]
            mixed[k, other] *= weighted[other]
        return self.last

    def agreeing_signs(self, weighted: dict[int, Array], total: Array) -> dict[tuple[int, int], Array]:
        """Signs of three axes and more of which A is positive semidefinite, as s_kl by pairs are not where kinks cross.

        Σ_m w_m s_mk s_ml with s_mm = 1, w_m the share M_m J_m² of `total`: every term with its diagonal raised to 1 is.
        """
        spread, shares = self.bends, {}
        for m, jump in spread.items():
            shares[m] = weighted[m] * jump / np.maximum(total, TINY)
        signs = {pair: (shares[pair[0]] + shares[pair[1]]) * sign for pair, sign in self.signs.items()}
        for k, other in signs:
            for m in (m for m in spread if m not in (k, other)):
                signs[k, other] += shares[m] * self.signs[min(k, m), max(k, m)] * self.signs[min(other, m), max(other, m)]
        return signs

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
