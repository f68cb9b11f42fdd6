"""The largest curvature of an energy along its flow: the explicit step that lets no mode grow.

Linearised around a stationary ρ, a gradient flow is ∂η/∂t = −K H η, with the moves that a potential ψ makes, K ψ = −div(ρ M ∇ψ)
(and κρ(ψ − ψ̄) of a reaction), and the second derivative of the energy, H = D²E; elsewhere the transport div(η M ∇ξ) is added,
which the positivity limit bounds. K and H are symmetric, K ≥ 0, so that K H has real eigenvalues, the stationary values of

    R(ψ) = ⟨Kψ, H Kψ⟩/⟨ψ, Kψ⟩

At ψ = ξ this is the curvature over the dissipation. Its largest value λ bounds the step: for dt·λ ≤ 2 an Euler step lowers a
quadratic energy whatever ξ is, and so do the convex combinations of them that `gridflow.scheme.finite_volume.stages` takes. With
the quotient at ξ alone a smooth flow takes steps for which the modes at grid scale grow, until they are as large as the flow
itself lets them be: where ξ contains ρ (∫ρ²) or second derivatives of a potential of ρ (½S²), λ grows like 1/h².

The power method finds λ: ψ ← H Kψ. It takes nothing from the energy but ξ, from which it makes H by differences:
H η = (ξ[ρ + s η⁺] − ξ[ρ + s η⁻])/s with the positive and the negative part of η, so that no density is negative. R ≤ λ.
(Where another potential than ξ drives the flow, K H is not symmetric, and the number found an estimate.)
A start of independent normal numbers has its share in all modes alike; where the symbol of K H has a maximum, in d dimensions of
space, the
density of modes below the largest eigenvalue grows like (1 − x)^(d−1), x = eigenvalue/λ, so that after k iterations the mean of
1 − x, with weights x^(2k−1), is d/(2k + d): 11 % for k = 8 in two dimensions. `SHARE` leaves 20 %.

An energy that is not convex has negative eigenvalues too, of modes that shall grow; the step then resolves the largest of both
signs.

Cost: 16 evaluations of the energy at the start of a run, then 4 each 4 to 64 steps of at least 2: 3 % of a long run, and up to
10 % of one of some hundred steps.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from gridflow.space.factor import Array
from gridflow.space.grid import Grid

SHARE = 0.8
"""Of 2/λ that a step may use: the power method may have found 20 % less than λ."""
ITERATIONS_FIRST, ITERATIONS = 8, 2
"""Of the power method: at the start, and for each renewal, which goes on from the last mode."""
MIX = 0.25
"""Share of random numbers in the mode at a renewal: a largest mode that has come up elsewhere is found."""
DIFFERENCE = 1e-5
"""s·max|η| over max ρ: with the round-off 1e−16 of ξ, H keeps about ten digits, and its change with ρ is about 1e−5."""
WAIT_FIRST, WAIT_MAX = 4, 64
"""Steps until the first renewal, and the most between two."""
CHANGE_MAX = 0.05
"""Change of λ between two renewals above which the next comes sooner; a fourth of what `SHARE` leaves."""


@dataclass(frozen=True)
class Curvature:
    """largest : λ, 1/time; mode : ψ, shape of the grid; due : steps until the next renewal; wait : steps between the last two."""

    largest: float
    mode: Array
    due: int
    wait: int

    @property
    def step_max(self) -> float:
        """The largest step for which no mode grows."""
        return SHARE * 2 / self.largest if self.largest > 0 else np.inf

    def arrays(self) -> dict[str, Array]:
        """What a restart needs."""
        return {"curvature_mode": self.mode, "curvature": np.array([self.largest, self.due, self.wait])}

    @staticmethod
    def of_arrays(arrays: dict[str, Array]) -> "Curvature":
        """The curvature that the arrays of a state hold."""
        largest, due, wait = arrays["curvature"]
        return Curvature(float(largest), arrays["curvature_mode"], int(due), int(wait))

    def after_step(self) -> "Curvature":
        """One step nearer to the next renewal."""
        return Curvature(self.largest, self.mode, self.due - 1, self.wait)


@dataclass(frozen=True)
class Linearised:
    """K and H at one density.

    moves : ψ ↦ K ψ, linear; variation : ρ ↦ ξ; density : ρ; all of the shape of the grid.
    constants_rest : whether K1 = 0, as without a reaction or with one that keeps the mass
    """

    moves: Callable[[Array], Array]
    variation: Callable[[Array], Array]
    density: Array
    grid: Grid
    constants_rest: bool = True

    def second_derivative(self, move: Array) -> Array:
        """H η."""
        densest, furthest = self.grid.largest(np.array([self.density.max(), np.abs(move).max()])).tolist()
        step = DIFFERENCE * densest / furthest
        ahead, back = (self.variation(self.density + step * np.maximum(sign * move, 0.0)) for sign in (1.0, -1.0))
        change: Array = (ahead - back) / step
        return change

    def inner(self, one: Array, two: Array) -> float:
        """Σ V·one·two, in which K and H are symmetric."""
        return float(self.grid.total(np.vdot(one, two * self.grid.volume)))

    def unit_mode(self, mode: Array) -> tuple[Array, Array]:
        """(ψ, Kψ) with ⟨ψ, Kψ⟩ = 1, or twice 0 for a mode that moves nothing."""
        move = self.moves(mode)
        square = self.inner(mode, move)
        scale = 1 / np.sqrt(square) if square > 0 else 0.0
        return mode * scale, move * scale

    def largest(self, mode: Array | None, iterations: int) -> tuple[float, Array]:
        """(λ, its mode) by the power method, from random numbers and from a mode found before."""
        psi, move = self.unit_mode(self.grid.drawn(np.random.default_rng(0).standard_normal))
        if mode is not None:
            psi, move = self.unit_mode(self.unit_mode(mode)[0] + MIX * psi)
        value = 0.0
        for _ in range(iterations):
            if not self.grid.largest(np.abs(move).max()) > 0:
                break
            image = self.second_derivative(move)
            value = max(value, abs(self.inner(move, image)))
            psi, move = self.unit_mode(image - self.mean(image) if self.constants_rest else image)  # less round-off
        return value, psi

    def mean(self, field: Array) -> float:
        """Over the cells."""
        return self.grid.sum(field) / self.grid.whole.size

    def first(self) -> Curvature:
        """The curvature from a random start, by many steps of the power method."""
        value, mode = self.largest(None, ITERATIONS_FIRST)
        return Curvature(value, mode, WAIT_FIRST, WAIT_FIRST)

    def renewal(self, before: Curvature, dt: float) -> Curvature:
        """The curvature some steps later. The next renewal is twice as far where it grew little or is far from limiting dt."""
        value, mode = self.largest(before.mode, ITERATIONS)
        limits = dt * value > 0.25 * 2 * SHARE
        grown = value > (1 + CHANGE_MAX if limits else 2.0) * before.largest
        wait = max(1, before.wait // 2) if grown else min(2 * before.wait, WAIT_MAX)
        return Curvature(value, mode, wait, wait)
