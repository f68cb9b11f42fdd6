"""Reaction: mass grows where ξ is low and decays where it is high, beside the transport.

    ∂ρ/∂t = div(ρ M grad ξ) − κ (ξ − ξ̄) ρ

With ξ̄ = 0 the mass is free: the flow of E in the Wasserstein–Fisher–Rao metric (S2 §4.2 with κ = 4 on the sphere; Chizat, Peyré,
Schmitzer and Vialard 2018). With ξ̄ = ∫ξ dρ/∫dρ (`conserve`) the mass is kept: Fisher–Rao on probabilities. The energy falls by
κ∫(ξ − ξ̄)ξ dρ, which is κ∫ξ² dρ, or κ Var_ρ ξ times the mass.

On a grid a step of time s is the exact exponential for ξ of the middle of the step,

    ρ ← ρ exp(−κ s (ξ[ρ_½] − ξ̄)),     ρ_½ = ρ exp(−κ (s/2) (ξ[ρ] − ξ̄)):

positive, of order 2, and exact where ξ does not depend on ρ; with `conserve` the mass is restored to the last bit that summation
allows. Particles carry it in their weights, ẇ_i = −κ (ξ(θ_i) − ξ̄) w_i, of which the logarithm is integrated beside the positions.

A temperature acts by diffusion (or noise) alone: ξ is that of E, without the entropy, because particles do not know their
density. The free energy may then rise even without any error in time.
"""

from typing import Annotated

import numpy as np
from msgspec import Meta, Struct

from gridflow.space.factor import Array

GROWTH_MAX = 2.0
"""The mass may at most double, or halve, in one exponential: a step that does more is redone with a shorter one."""
EXPONENT_MAX = 700.0
"""exp of more overflows, also where there is no mass."""


class Reaction(Struct, frozen=True, forbid_unknown_fields=True):
    """rate : κ, 0 for no reaction; conserve : whether ξ̄ is the mean of ξ, so that the mass is kept, or 0."""

    rate: Annotated[float, Meta(ge=0.0)] = 0.0
    conserve: bool = False

    @property
    def acts(self) -> bool:
        return self.rate > 0

    @property
    def keeps_mass(self) -> bool:
        return self.conserve or not self.acts

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


NO_REACTION = Reaction()
