"""Does the energy fall as fast as it dissipates? The balance of a run with an energy of one's own.

The flow discrete in space has dF/dt = −D, with F the (free) energy and D the dissipation, both measured: F by the value, D by
ξ (or by what else drives the flow) and the fluxes. Between two saves, with D at the ends of all steps,

    |F(start) − F(end) − Σ dt (D₀ + D₁)/2|  ≤  SHARE Σ dt (|D₀| + |D₁|)/2  +  Σ dt |D₁ − D₀|/2  +  round-off

must hold. The second term is the error in time: where D changes monotonically in a step, the mean of D lies between D₀ and D₁,
and an implicit step of first order falls by what lies between them too. The first is the error in space: where the fluxes of a
step are not those by which D is measured (fitted and split steps, entropic JKO steps), they differ by what the cells leave open.
What is looked for, a ξ that is no longer the derivative of the value after the start, is wrong by more.
"""

from dataclasses import dataclass, fields, replace

import numpy as np

from gridflow.scheme.base import State, Stepper

SHARE = 0.2
"""TODO"""


@dataclass(frozen=True)
class Balance:
    """The balance since the last save, and the worst one until then.

    value, rate : F at the last save, D at the last step; dissipated, open : the sums over steps of what D takes, and of what the
    steps leave open; roundoff : of F; worst : the largest |difference| over what is allowed, between the saves ending at `time`,
    fell, took : there, by F and by D
    """

    value: float
    rate: float
    roundoff: float
    dissipated: float = 0.0
    size: float = 0.0
    open: float = 0.0
    worst: float = 0.0
    time: float = 0.0
    fell: float = 0.0
    took: float = 0.0

    @classmethod
    def of(cls, stepper: Stepper, state: State) -> "Balance":
        """That of a run which starts in a state."""
        return cls(state.free_energy, stepper.dissipation(state.density, state.evaluation), state.evaluation.roundoff)

    def after_step(self, stepper: Stepper, state: State, taken: float) -> "Balance":
        """With one more step."""
        rate = stepper.dissipation(state.density, state.evaluation)
        return replace(
            self,
            rate=rate,
            roundoff=max(self.roundoff, state.evaluation.roundoff, state.rise_roundoff),
            dissipated=self.dissipated + taken * (self.rate + rate) / 2,
            size=self.size + taken * (abs(self.rate) + abs(rate)) / 2,
            open=self.open + taken * abs(rate - self.rate) / 2,
        )

    def after_save(self, state: State) -> "Balance":
        """Closed at a save, and begun again."""
        fell = self.value - state.free_energy
        allowed = SHARE * self.size + self.open + 2 * self.roundoff
        gap = abs(fell - self.dissipated)
        begun = replace(self, value=state.free_energy, dissipated=0.0, size=0.0, open=0.0)
        ratio = gap / allowed if allowed > 0 else (np.inf if gap > 0 else 0.0)
        if ratio <= self.worst:
            return begun
        return replace(begun, worst=float(ratio), time=state.time, fell=fell, took=self.dissipated)

    def warnings(self) -> list[str]:
        """A sentence where the energy falls by something else than the dissipation."""
        if self.worst <= 1:
            return []
        return [
            f"until time {self.time:.4g} the energy fell by {self.fell:.4g} since the save before, and its dissipation says"
            f" {self.took:.4g}: {self.worst:.2g} times farther apart than errors of the scheme explain; first_variation is not"
            " the derivative of value there, or evaluate depends on more than the masses"
        ]

    def numbers(self) -> dict[str, float]:
        """For a checkpoint."""
        return {f.name: float(getattr(self, f.name)) for f in fields(self)}
