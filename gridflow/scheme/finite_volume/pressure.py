"""Diffusion by the pressure of an internal energy, and the drift beside it, implicitly along lines and circles:

    ∂ρ/∂t = Σ_k ∂_k M_k (∂_k P(ρ) + ρ ∂_k η),   P = ρU' − U,   η = ξ − U'(ρ) the rest of the first variation

Through the face between the cells a and b goes k(F_a ρ_a − F_b ρ_b), k = A_f M/d_f, with

    F_a = K + c, F_b = K − c where |c| ≤ K,   c = (η_a − η_b)·Q/(ρ_a + ρ_b)
    K = (P_a − P_b)/(ρ_a − ρ_b) ≥ 0,   Q = (P_a − P_b)/(U'_a − U'_b) ≥ 0

K makes k(P_a − P_b) of the diffusion, exactly. Q is a mean of both densities, the arithmetic one for U = ρ²; with it the flux is
kQ(ξ_a − ξ_b), of second order. Where ξ is constant, |c| = |P_a − P_b|/(ρ_a + ρ_b) ≤ K however much the densities differ, so that
the flux is 0: the minima of the energy discrete in space are at rest. Where the drift across a cell is larger than the diffusion
(|c| > K), as in the last cell before a front, exponential fitting takes over, with the diffusivity K̃ that U' has per log ρ,

    F_a = K̃B(−s), F_b = K̃B(s),   s = (η_a − η_b)/K̃,   K̃ = (U'_a − U'_b)/(log ρ_a − log ρ_b),   B(s) = s/(eˢ − 1)

which becomes upwind for large |s| (here |s| > 2) and is 0 at the same densities. F ≥ 0 keeps every density positive and its mass.

F and η are taken from the middle of the step, to which a step of first order with those of its start leads. The step is then
linear in ρ and of order 2, and its lines and their palindrome are those of a temperature (`gridflow.scheme.finite_volume.lines`,
`gridflow.scheme.finite_volume.implicit`). Without drift a step of first order replaces densities by means of them, so that
Σ V U(ρ) falls for every convex U however long it is (Jensen); else, and at order 2, the energy is checked.

A temperature D is one more law, Dρ log ρ, with the pressure Dρ.
"""

from copy import copy
from typing import Self

import numpy as np

from gridflow.energy.base import Evaluation, Law
from gridflow.energy.internal import EMPTY, Entropy
from gridflow.energy.sum import SumLaw
from gridflow.flow.term import Point
from gridflow.scheme.finite_volume.axis import Drift, LineAxis
from gridflow.scheme.finite_volume.implicit import Implicit
from gridflow.scheme.finite_volume.pressure_rates import CLOSE, STEEP, face_rates
from gridflow.space.factor import Array
from gridflow.space.grid import Grid

RATES = -1.0
"""`Drift.factor` where rates are given."""


class Pressure(Implicit):
    """Steps along all factors that move. own : U; heat : D; law : their sum"""

    def __init__(self, grid: Grid, law: Law, temperature: float = 0.0) -> None:
        super().__init__(grid, grid.mobility, 1.0, linear=False)
        self.own, self.heat, self.law = law, temperature, with_entropy(law, temperature)
        self.faces = {axis: faces_before(grid, axis) for axis in self.moving}

    def at(self, temperature: float) -> Self:
        other = copy(self)
        other.heat, other.law = temperature, with_entropy(self.own, temperature)
        return other

    def step(self, point: Point, time: float) -> Array:
        middle = point.density
        for axis, drift in self.fluxes(middle, point.evaluation.potential).items():
            middle = self.along(middle, drift, axis, time / 2, second_order=False)
        fluxes = self.fluxes(middle, point.evaluate(middle).potential)
        return self.palindrome(point.density, fluxes, time)

    def spread(self, density: Array, time: float) -> Array:
        """The same without drift, of order 2."""
        still = np.zeros_like(density)
        middle = self.spread_first(density, time / 2)
        return self.palindrome(density, self.fluxes(middle, still), time)

    def spread_first(self, density: Array, time: float) -> Array:
        """The same without drift, of order 1."""
        after = density
        for axis, drift in self.fluxes(density, np.zeros_like(density)).items():
            after = self.along(after, drift, axis, time, second_order=False)
        return after

    def fluxes(self, density: Array, rest: Array) -> dict[int, Drift]:
        """The rates of the fluxes along every factor. rest : η"""
        law = self.law
        fields = density, law.pressure(density), law.derivative(density), diffusivity_of(law, density), rest
        flat = [np.ascontiguousarray(field).reshape(-1) for field in fields]
        return {axis: Drift(self.rates(axis, *flat), RATES) for axis in self.moving}

    def rates(self, axis: int, *fields: Array) -> Array:
        """What every cell gives to the next along a factor, per mass and time, and to the one before it, (2, n_cells)."""
        lines, found = self.axes[axis], np.zeros((2, self.grid.size))
        assert isinstance(lines, LineAxis)
        face_rates(*found, *fields, lines.mobility, lines.line, lines.stride)
        return found

    def shares(self, axis: int, density: Array, pressure: Array, rest: Array) -> tuple[Array, Array]:
        """(F_a, F_b) of the face before every cell b; that of the first cell of an interval is a wall. What `face_rates` does."""
        secant, mean, fitted = secants(self.law, density, pressure, axis)
        drop, both = np.roll(rest, 1, axis) - rest, np.roll(density, 1, axis) + density
        if not drop.any():
            return secant, secant
        part = drop * np.divide(mean, both, where=both > 0, out=np.full_like(both, 0.5))
        central, size = np.abs(part) <= secant, np.abs(drop)
        fits = ~central & (size < STEEP * fitted)
        ratio = np.divide(size, fitted, where=fits, out=np.ones_like(size))
        against = np.where(fits, size / np.expm1(ratio), 0.0)
        ahead = np.where(central, secant + part, against + np.maximum(drop, 0.0))
        return ahead, np.where(central, secant - part, against + np.maximum(-drop, 0.0))

    def falls(self, density: Array, evaluation: Evaluation) -> float:
        """Σ k(F_a ρ_a − F_b ρ_b)(ξ + D log ρ)|_b^a over the faces: −dF/dt of the flow discrete in space."""
        xi, rest, total = evaluation.first_variation, evaluation.potential, 0.0
        if self.heat > 0:
            xi = xi + self.heat * np.log(np.maximum(density, EMPTY))
        pressure = self.law.pressure(density)
        for axis in self.moving:
            ahead, back = self.shares(axis, density, pressure, rest)
            flux = ahead * np.roll(density, 1, axis) - back * density
            total += float(np.vdot(self.weight_before(axis) * flux, np.roll(xi, 1, axis) - xi))
        return total

    def weight_before(self, axis: int) -> Array:
        """k of the face before every cell along a factor, times the volume across."""
        grid = self.grid
        return self.faces[axis] * (grid.volume / grid.along(axis, grid.factors[axis].volumes))

    def peclet(self, density: Array, xi: Array) -> float:
        """(∫ρM|grad η|² / ∫M grad P·grad U')^½, the root mean square of the drift over that of diffusion: 1 at rest. xi : η"""
        drift = diffusion = 0.0
        pressure, slope = self.law.pressure(density), self.law.derivative(density)
        for axis in self.moving:
            fall, rise, drop = (field - np.roll(field, 1, axis) for field in (pressure, slope, xi))
            mean = (density + np.roll(density, 1, axis)) / 2
            drift += float(np.vdot(self.weight_before(axis), mean * drop**2))
            diffusion += float(np.vdot(self.weight_before(axis), fall * rise))
        if drift == 0:
            return 0.0
        return float(np.sqrt(drift / diffusion)) if diffusion > 0 else np.inf

    def cell_peclet(self, density: Array, xi: Array) -> float:
        """Root mean squares of |η_a − η_b| over that of P', both over the mass, the largest of all factors. xi : η"""
        masses, largest = density * self.grid.volume, 0.0
        for axis in self.moving:
            step = np.where(self.faces[axis] > 0, xi - np.roll(xi, 1, axis), 0.0)
            largest = max(largest, float(np.vdot(masses, step * step)))
        diffusivity = diffusivity_of(self.law, density)
        square = float(np.vdot(masses, diffusivity * diffusivity))
        if square == 0:  # below all numbers, for large powers
            return np.inf if largest > 0 else 0.0
        return float(np.sqrt(largest / square))

    def time_of_cells(self, density: Array) -> float:
        """h² over the mean diffusivity P' of the mass: a step that is hardly too long."""
        masses = density * self.grid.volume
        mean = float(np.vdot(masses, diffusivity_of(self.law, density)) / masses.sum())
        return self.first_time() / mean if mean > 0 else np.inf


def with_entropy(law: Law, temperature: float) -> Law:
    """U + Dρ log ρ."""
    return SumLaw((law, Entropy(temperature))) if temperature > 0 else law


def faces_before(grid: Grid, axis: int) -> Array:
    """k = A_f M/d_f of the face before every cell along a line or circle, 0 at a wall; broadcasts against densities."""
    factor = grid.factors[axis]
    return grid.mobility[axis] * grid.along(axis, (factor.areas / factor.distances)[:-1])


def diffusivity_of(law: Law, density: Array) -> Array:
    """P' = ρU''."""
    return np.maximum(density, EMPTY) * law.second(density)


def secants(law: Law, density: Array, pressure: Array, axis: int) -> tuple[Array, Array, Array]:
    """(K, Q, K̃) of every cell and the one before it along an axis, cyclically."""
    other, slope, log = np.roll(density, 1, axis), law.derivative(density), np.log(np.maximum(density, EMPTY))
    gap, both, fall = density - other, density + other, pressure - np.roll(pressure, 1, axis)
    close = np.abs(gap) <= CLOSE * both
    mean = both / 2
    diffusivity = diffusivity_of(law, density)
    secant = np.divide(fall, gap, where=~close, out=(diffusivity + np.roll(diffusivity, 1, axis)) / 2)
    bend, rise = slope - np.roll(slope, 1, axis), log - np.roll(log, 1, axis)  # 0 where powers of small densities are
    fitted = np.divide(bend, rise, where=~close & (rise != 0), out=secant.copy())
    return secant, np.divide(fall, bend, where=~close & (bend != 0), out=mean), fitted
