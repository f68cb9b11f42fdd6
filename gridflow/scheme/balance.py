"""Does the energy fall as ξ says? The balance of a run on the grid with an energy of one's own.

The change of E between two saves is added up in two other ways, over the steps between densities ρ₀ and ρ₁, with cell masses m:

    along the path      −Σ (ξ₀ + ξ₁)/2·(m₁ − m₀)      for every scheme, whatever moves the mass
    by the dissipation   Σ dt (D₀ + D₁)/2              for finite volumes without temperature, implicit U and sliding

Both must be E(start) − E(end) up to `SHARE` of what is added up, the error in time, and round-off. For the error in time stands
half the change of the integrand in every step: where it changes monotonically, its mean lies between its ends. Masses have
round-off in every step, which a constant in ξ, as it may have where the mass is kept, makes as large as one wants.

The dissipation D is that of the fluxes, and of the other terms of the flow. With a temperature it is −d/dt (E + D∫ρ log ρ) of
exponentially fitted fluxes, which are not those of all steps: the two differ by an error in space, which does not vanish where
a split step comes to rest; and where D falls, Ḋ∫ρ log ρ is part of the rate of F. The sum along the path is one of E, which D
does not enter. So it is with an internal energy ∫U that is done implicitly. A viscosity that lets mass slide is implicit, and no
part of these fluxes. JKO steps lower E + W²/(2τ), and rest where the D of fluxes is not 0. Where ξ has kinks (`smooth` = False),
D jumps from step to step at rest. In all of these the path alone counts.

What is looked for is a ξ that is no longer the derivative of the value after the start. If it is f times the right one, the two
sides differ by a factor f.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from gridflow.energy.check import EPSILON
from gridflow.scheme.base import State, Stepper
from gridflow.scheme.finite_volume.internal_stepper import InternalStepper
from gridflow.scheme.finite_volume.stepper import FiniteVolumeStepper
from gridflow.space.factor import Array

SHARE = 0.05
"""For errors in space of the dissipation: shipped cases at a quarter of their cells need none beside the error in time."""
PATH, DISSIPATION = "ξ along its path", "its dissipation"


@dataclass(frozen=True)
class Sums:
    """Over the steps since a save: of what takes the energy, of its size, and of what the error in time leaves open."""

    took: float = 0.0
    size: float = 0.0
    open: float = 0.0

    def plus(self, first: float, last: float, roundoff: float) -> "Sums":
        """With one step more, from the energy that it takes by its start and by its end."""
        size = (abs(first) + abs(last)) / 2
        return Sums(self.took + (first + last) / 2, self.size + size, self.open + abs(last - first) / 2 + roundoff)


@dataclass(frozen=True)
class Worst:
    """The largest difference over what is allowed; until : the end of its interval; fell, took : by E, and by what says so."""

    ratio: float = 0.0
    until: float = 0.0
    fell: float = 0.0
    took: float = 0.0
    says: str = PATH


def roundoff_of(state: State) -> float:
    """Of the energy: what is declared, and at least that of a number of its size."""
    return max(state.evaluation.roundoff, EPSILON * abs(state.evaluation.value))


class Balance:
    """The balance since the last save, and the worst one until then. volume : of the cells; smooth : as energies declare it."""

    def __init__(self, stepper: Stepper, temperature: float, volume: Array, smooth: bool) -> None:
        self.stepper, self.volume = stepper, volume
        splits = isinstance(stepper, InternalStepper)
        own_fluxes = isinstance(stepper, FiniteVolumeStepper) and not splits and "viscous_work" not in stepper.reports
        self.dissipates = own_fluxes and temperature == 0 and smooth
        self.value = self.rate = np.nan
        self.roundoff = 0.0
        self.path, self.dissipation, self.worst = Sums(), Sums(), Worst()

    def start(self, state: State) -> None:
        """A run begins in a state."""
        self.value, self.roundoff, self.rate = state.evaluation.value, roundoff_of(state), self.rate_of(state)

    def rate_of(self, state: State) -> float:
        """D, where it counts."""
        return self.stepper.dissipation(state.density, state.evaluation, state.time) if self.dissipates else 0.0

    def after_step(self, before: State, after: State) -> None:
        """A step is done."""
        moved, rate = (after.density - before.density) * self.volume, self.rate_of(after)
        first, last = (-float(np.vdot(state.evaluation.first_variation, moved)) for state in (before, after))
        dt = after.time - before.time
        roundoff = EPSILON * float(np.vdot(np.abs(after.evaluation.first_variation), after.density * self.volume))  # of masses
        self.path = self.path.plus(first, last, roundoff)
        self.dissipation = self.dissipation.plus(dt * self.rate, dt * rate, roundoff)
        self.rate, self.roundoff = rate, max(self.roundoff, roundoff_of(after))

    def after_save(self, state: State) -> None:
        """A state is saved: both sums are compared, and begun again."""
        fell = self.value - state.evaluation.value
        for sums, says in ((self.path, PATH), (self.dissipation, DISSIPATION)):
            if says == PATH or self.dissipates:
                allowed = SHARE * sums.size + sums.open + 2 * self.roundoff
                gap = abs(fell - sums.took)
                ratio = gap / allowed if allowed > 0 else np.inf if gap > 0 else 0.0
                if ratio > self.worst.ratio:
                    self.worst = Worst(float(ratio), state.time, fell, sums.took, says)
        self.value, self.path, self.dissipation = state.evaluation.value, Sums(), Sums()

    def warnings(self) -> list[str]:
        """A sentence where the energy falls by something else than ξ says."""
        worst = self.worst
        if worst.ratio <= 1:
            return []
        return [
            f"from the save before until time {worst.until:.4g} the energy fell by {worst.fell:.4g}, and by {worst.took:.4g} as"
            f" {worst.says} says: {worst.ratio:.2g} times farther apart than errors of the scheme explain; first_variation is not"
            " the derivative of value there, evaluate depends on more than the masses, or the run is not resolved"
        ]

    def numbers(self) -> dict[str, Any]:
        """For a checkpoint."""
        parts = {name: vars(getattr(self, name)) for name in ("path", "dissipation", "worst")}
        return {"value": self.value, "rate": self.rate, "roundoff": self.roundoff, **parts}

    def resume(self, numbers: dict[str, Any]) -> None:
        """Goes on from the numbers of a checkpoint."""
        self.value, self.rate, self.roundoff = numbers["value"], numbers["rate"], numbers["roundoff"]
        self.path, self.dissipation = Sums(**numbers["path"]), Sums(**numbers["dissipation"])
        self.worst = Worst(**numbers["worst"])
