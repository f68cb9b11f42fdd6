"""Reaction: mass grows where ξ is low and decays where it is high, beside the transport.

    ∂ρ/∂t = div(ρ M grad ξ) − κ (ξ − ξ̄) ρ

With ξ̄ = 0 the mass is free: the flow of E in the Wasserstein–Fisher–Rao metric (S2 §4.2 with κ = 4 on the sphere; Chizat, Peyré,
Schmitzer and Vialard 2018). With ξ̄ = ∫ξ dρ/∫dρ (`conserve`) the mass is kept: Fisher–Rao on probabilities. The energy falls by
κ∫(ξ − ξ̄)ξ dρ, which is κ∫ξ² dρ, or κ Var_ρ ξ times the mass.

On a grid a step of time s is the exact exponential for ξ of the middle of the step,

    ρ ← ρ exp(−κ s (ξ[ρ_½] − ξ̄)),     ρ_½ = ρ exp(−κ (s/2) (ξ[ρ] − ξ̄)):

positive, of order 2, and exact where ξ does not depend on ρ; with `conserve` the mass is restored to the last bit that summation
allows. Particles carry it in their weights, ẇ_i = −κ (ξ(θ_i) − ξ̄) w_i, of which the logarithm is integrated beside the positions.

A temperature acts by diffusion (or noise) alone: ξ is that of E, without the entropy, because particles have no density.
The free energy may then rise even without any error in time.
"""

from typing import Annotated

import numpy as np
from msgspec import Meta, Struct

from gridflow.energy.base import Evaluation
from gridflow.flow.term import Advance, FlowTerm, Point
from gridflow.space.factor import Array

GROWTH_MAX = 2.0
"""The mass may at most double, or halve, in one exponential: a step that does more is redone with a shorter one."""
EXPONENT_MAX = 700.0
"""exp of more overflows, also where there is no mass."""
ENERGY_SAFETY = 0.9
"""Share of the energy limit that a step uses."""


class Reaction(Struct, frozen=True, forbid_unknown_fields=True):
    """rate : κ, 0 for no reaction; conserve : whether ξ̄ is the mean of ξ, so that the mass is kept, or 0."""

    rate: Annotated[float, Meta(ge=0.0)] = 0.0
    conserve: bool = False

    def centred(self, xi: Array, masses: Array) -> Array:
        """ξ − ξ̄ at the masses of cells or particles."""
        return xi - np.vdot(xi, masses) / masses.sum() if self.conserve else xi

    def growth(self, xi: Array, masses: Array) -> Array:
        """−κ(ξ − ξ̄): the rate of every log mass."""
        return -self.rate * self.centred(xi, masses)

    def dissipation(self, xi: Array, masses: Array, potential: Array | None = None) -> float:
        """κ∫(ξ − ξ̄)ξ dρ; with the `potential` of another energy instead of the last ξ, the rate at which that one falls."""
        centred = self.centred(xi, masses)
        return self.rate * float(np.vdot(centred * masses, centred if potential is None else potential))

    def exponential(self, density: Array, volume: Array, xi: Array, time: float) -> Array | None:
        """ρ exp(−κ·time·(ξ − ξ̄)), or None where the mass changes by more than a factor GROWTH_MAX."""
        before = float(np.vdot(density, volume))
        exponents = np.minimum(time * self.growth(xi, density * volume), EXPONENT_MAX)
        with np.errstate(over="ignore", invalid="ignore"):
            after = density * np.exp(exponents)
            mass = float(np.vdot(after, volume))
        if not before / GROWTH_MAX <= mass <= before * GROWTH_MAX:
            return None
        return after * (before / mass) if self.conserve else after


class ReactionTerm(FlowTerm[Reaction]):
    """−κ(ξ − ξ̄)ρ as a term of a flow."""

    key = "reaction"
    splits = True
    weighs = True

    @property
    def acts(self) -> bool:
        return self.spec.rate > 0

    @property
    def stated(self) -> str:
        return f"flow.reaction.rate = {self.spec.rate:g}"

    @property
    def keeps_mass(self) -> bool:  # type: ignore[override]
        return self.spec.conserve

    @property
    def lowers_energy(self) -> bool:  # type: ignore[override]
        return self.temperature == 0  # ξ leaves the entropy out

    def advance(self, point: Point, time: float) -> Advance:
        """The exponential with ξ of the middle of the time; the Euler step to there keeps 0.9·2·Dissipation/D²E[ρ̇, ρ̇]."""
        reaction, volume, xi = self.spec, self.grid.volume, point.evaluation.first_variation
        middle = reaction.exponential(point.density, volume, xi, time / 2)
        if middle is None:
            return Advance(None, time)
        xi_middle = point.evaluate(middle).first_variation
        change = (middle - point.density) * volume
        decrease, curvature = -float(np.vdot(xi, change)), float(np.vdot(xi_middle - xi, change))
        after = reaction.exponential(point.density, volume, xi_middle, time)
        if after is None:
            return Advance(None, time)
        if not decrease > point.evaluation.roundoff:  # so is the quotient; the curvature of the flow bounds the step there
            return Advance(after)
        return Advance(after, 2 * ENERGY_SAFETY * time * decrease / curvature if curvature > 0 else np.inf)

    def change(self, before: Evaluation, after: Evaluation, density: Array, carried: float) -> float:
        """κ·(root mean square of the change of ξ at the cells + mean of its change by the transport)."""
        masses = density * self.grid.volume
        change = self.spec.centred(after.first_variation - before.first_variation, masses)
        mass = float(masses.sum())
        return self.spec.rate * (float(np.sqrt(np.vdot(change**2, masses) / mass)) + carried / mass)

    def dissipation(self, density: Array, xi: Array) -> float:
        """κ∫(ξ − ξ̄)ξ dρ, or with a temperature κ∫(ξ − ξ̄)(ξ + D log ρ + D) dρ."""
        masses = density * self.grid.volume
        if self.temperature == 0:
            return self.spec.dissipation(xi, masses)
        entropy = 1 + np.log(np.maximum(density, np.finfo(float).tiny))
        return self.spec.dissipation(xi, masses, xi + self.temperature * entropy)

    def response(self, density: Array, potential: Array) -> Array | None:
        return density * self.spec.growth(potential, density * self.grid.volume)

    def growth(self, xi: Array, weights: Array) -> Array:
        return self.spec.growth(xi, weights)
