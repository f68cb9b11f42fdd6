"""Reaction: mass grows where ξ is low and decays where it is high, beside the transport.

    ∂ρ/∂t = div(ρ M grad ξ) − κ (ξ_F − ξ̄) ρ,     ξ_F = ξ + D(1 + log ρ)

D is the temperature of the flow, so that ξ_F is the first variation of the free energy F = E + D∫ρ log ρ. With ξ̄ = 0 the mass is
free: the flow of F in the Wasserstein–Fisher–Rao metric (S2 §4.2 with κ = 4 on the sphere; Chizat, Peyré, Schmitzer and Vialard
2018). With ξ̄ = ∫ξ_F dρ/∫dρ (`conserve`) the mass is kept: Fisher–Rao on probabilities, birth and death of samples (Lu, Lu and
Nolen 2019). F falls by κ∫(ξ_F − ξ̄)ξ_F dρ, which is κ∫ξ_F² dρ, or κ Var_ρ ξ_F times the mass.

On a grid a step of time s is exact for ξ of the middle of the step: then log ρ relaxes linearly, at the rate κD,

    ρ ← ρ exp(−κ s' (ξ_F − ξ̄)),     s' = (1 − e^{−κDs})/(κD),     ξ_F = ξ[ρ_½] + D(1 + log ρ),

which is ρ^a e^{−κs'ξ}, a = e^{−κDs}, up to its mass: the geometric mean of ρ and of the Gibbs density e^{−ξ/D}. ρ_½ is the same
after s/2 with ξ[ρ]. It is positive, of order 2, and exact where ξ does not depend on ρ; with `conserve` the mass is restored to
the last bit that summation allows. A density that is 0 stays 0, and one that is small, as numerical tails are, counts by its
logarithm, whose error fades with a.

With entropy = false ξ alone acts, ξ_F = ξ and s' = s: the replicator equation, in which a temperature is mutation. F may then
rise even without any error in time. Particles carry that in their weights, ẇ_i = −κ (ξ(θ_i) − ξ̄) w_i, of which the logarithm is
integrated beside the positions. They have no density, hence no log ρ: with a temperature and entropy = true they are refused.
"""

from collections.abc import Callable
from typing import Annotated, Any

import numpy as np
from msgspec import Meta, Struct

from gridflow.energy.base import Evaluation, ParticleEnergy
from gridflow.errors import require
from gridflow.flow.term import Advance, FlowTerm, Point
from gridflow.space.factor import Array
from gridflow.space.grid import Grid

Total = Callable[[Any], Any]


def as_it_is(value: Any) -> Any:
    """A sum to which nothing is added."""
    return value


GROWTH_MAX = 2.0
"""The mass may at most double, or halve, in one exponential: a step that does more is redone with a shorter one."""
EXPONENT_MAX = 700.0
"""exp of more overflows, also where there is no mass."""
ENERGY_SAFETY = 0.9
"""Share of the energy limit that a step uses."""


class Reaction(Struct, frozen=True, forbid_unknown_fields=True):
    """Birth and death. rate : κ, 0 for no reaction; conserve : whether ξ̄ is the mean of ξ, so that the mass is kept, or 0;
    entropy : whether ξ_F contains D(1 + log ρ) where the flow has a temperature D."""

    rate: Annotated[float, Meta(ge=0.0)] = 0.0
    conserve: bool = False
    entropy: bool = True

    def centred(self, xi: Array, masses: Array, total: Total = as_it_is) -> Array:
        """ξ − ξ̄ at the masses of cells or particles; total : of sums over these, where others are elsewhere."""
        return xi - total(np.vdot(xi, masses)) / total(masses.sum()) if self.conserve else xi

    def growth(self, xi: Array, masses: Array, total: Total = as_it_is) -> Array:
        """−κ(ξ − ξ̄): the rate of every log mass."""
        return -self.rate * self.centred(xi, masses, total)

    def dissipation(self, xi: Array, masses: Array, potential: Array | None = None, total: Total = as_it_is) -> float:
        """κ∫(ξ − ξ̄)ξ dρ; with the `potential` of another energy instead of the last ξ, the rate at which that one falls."""
        centred = self.centred(xi, masses, total)
        return self.rate * float(total(np.vdot(centred * masses, centred if potential is None else potential)))

    def exponential(self, density: Array, grid: Grid, xi: Array, time: float) -> Array | None:
        """ρ exp(−κ·time·(ξ − ξ̄)), or None where the mass changes by more than a factor GROWTH_MAX."""
        before = grid.integrate(density)
        exponents = np.minimum(time * self.growth(xi, density * grid.volume, grid.total), EXPONENT_MAX)
        with np.errstate(over="ignore", invalid="ignore"):
            after = density * np.exp(exponents)
            mass = grid.integrate(after)
        if not before / GROWTH_MAX <= mass <= before * GROWTH_MAX:
            return None
        return after * (before / mass) if self.conserve else after


class ReactionTerm(FlowTerm[Reaction]):
    """−κ(ξ − ξ̄)ρ as a term of a flow."""

    key = "reaction"
    slabs = True
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
        return self.temperature == 0 or self.spec.entropy

    @property
    def relaxes(self) -> bool:
        """Whether log ρ is part of what acts."""
        return self.temperature > 0 and self.spec.entropy

    def variation(self, xi: Array, density: Array) -> Array:
        """ξ_F."""
        return xi + self.temperature * entropy_variation(density) if self.relaxes else xi

    def effective(self, time: float) -> float:
        """s', in which ξ_F of the start acts like ξ_F of all of the time."""
        rate = self.spec.rate * self.temperature
        return -float(np.expm1(-rate * time)) / rate if self.relaxes else time

    def advance(self, point: Point, time: float) -> Advance:
        """The exponential with ξ of the middle of the time; the Euler step to there keeps 0.9·2·Dissipation/D²E[ρ̇, ρ̇]."""
        reaction, grid, density = self.spec, self.grid, point.density
        xi, own = point.evaluation.first_variation, self.variation(np.zeros_like(density), density)
        middle = reaction.exponential(density, grid, xi + own, self.effective(time / 2))
        if middle is None:
            return Advance(None, time)
        xi_middle = point.evaluate(middle).first_variation
        change = (middle - density) * grid.volume
        decrease, curvature = grid.total(np.array([-np.vdot(xi + own, change), np.vdot(xi_middle - xi, change)])).tolist()
        after = reaction.exponential(density, grid, xi_middle + own, self.effective(time))
        if after is None:
            return Advance(None, time)
        if not decrease > point.evaluation.roundoff:  # so is the quotient; the curvature of the flow bounds the step there
            return Advance(after)
        return Advance(after, 2 * ENERGY_SAFETY * time * decrease / curvature if curvature > 0 else np.inf)

    def change(self, before: Evaluation, after: Evaluation, density: Array, carried: float) -> float:
        """κ·(root mean square of the change of ξ at the cells + mean of its change by the transport)."""
        masses = density * self.grid.volume
        change = self.spec.centred(after.first_variation - before.first_variation, masses, self.grid.total)
        mass, square = self.grid.total(np.array([masses.sum(), np.vdot(change**2, masses)])).tolist()
        return self.spec.rate * (float(np.sqrt(square / mass)) + carried / mass)

    def dissipation(self, density: Array, xi: Array) -> float:
        """κ∫(ξ_F − ξ̄)ξ_F dρ; where the entropy does not act but counts, κ∫(ξ − ξ̄)ξ_F dρ."""
        masses, acting, total = density * self.grid.volume, self.variation(xi, density), self.grid.total
        if self.temperature == 0 or self.relaxes:
            return self.spec.dissipation(acting, masses, total=total)
        return self.spec.dissipation(xi, masses, xi + self.temperature * entropy_variation(density), total)

    def response(self, density: Array, potential: Array) -> Array | None:
        return density * self.spec.growth(potential, density * self.grid.volume, self.grid.total)

    def at_particles(self, energy: ParticleEnergy) -> ParticleEnergy:
        """Raises InputError where log ρ acts, which particles do not have."""
        received = "particles with a temperature and flow.reaction.entropy = true"
        fix = "set flow.reaction.entropy = false, or solve on the grid alone"
        require(not self.relaxes, received, "a reaction without log ρ: particles have no density", fix)
        return energy

    def growth(self, xi: Array, weights: Array) -> Array:
        return self.spec.growth(xi, weights)


def entropy_variation(density: Array) -> Array:
    """1 + log ρ, the first variation of ∫ρ log ρ; where there is no mass that of the smallest density."""
    found: Array = 1 + np.log(np.maximum(density, np.finfo(float).tiny))
    return found
