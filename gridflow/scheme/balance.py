"""Does the energy fall as fast as it dissipates? The balance of a run of finite volumes with an energy of one's own.

The flow discrete in space has dF/dt = −D, with F the (free) energy and D the dissipation, both measured: F by the value, D by
ξ (or by what else drives the flow) and the fluxes. Between two saves, with D₀ and D₁ at the ends of every step,

    |F(start) − F(end) − Σ dt (D₀ + D₁)/2|  ≤  share·Σ dt (|D₀| + |D₁|)/2  +  Σ dt |D₁ − D₀|/2  +  rest·S  +  round-off

must hold, S the sum of dt (|D₀| + |D₁|)/2 since the start of the run. The second term is the error in time: where D changes
monotonically in a step, its mean lies between D₀ and D₁. The first is what else may differ: little where a step moves mass by
the very fluxes of D; with a temperature D is that of fitted fluxes, also where a step splits diffusion off, and the two differ by
an error in space. Then D keeps a small value where such a step has come to rest, which is the third term.

What is looked for, a ξ that is no longer the derivative of the value after the start, is wrong by more. A ξ that is f times the
right one moves mass f times as fast, while D becomes f² times as large: the two sides differ by the factor f.

JKO steps have no such balance: they lower E + W²/(2τ), the entropic ones up to a blur, the exact ones between the points of a
lattice, and come to rest where D of the fluxes is not 0.
"""

from dataclasses import dataclass, fields, replace

import numpy as np

from gridflow.scheme.base import State, Stepper

SHARE = 0.05
"""Without a temperature. Shipped cases at a quarter of their cells need 0.003."""
SHARE_FITTED, REST_FITTED = 0.5, 0.01
"""With a temperature. Shipped cases at a quarter of their cells need 0.24, where a density is as narrow as a cell."""


@dataclass(frozen=True)
class Balance:
    """The balance since the last save, and the worst one until then.

    fitted : 1 where D is that of fitted fluxes, else 0; value, rate : F at the last save, D at the last step; roundoff : of F
    dissipated, size, open : the sums over steps of dt times the mean of D and of |D|, and of half the change of D
    total : the sum of dt times the mean of |D| since the start of the run
    worst : the largest |difference| over what is allowed; time, fell, took : where that interval ends, and its fall by F and by D
    """

    fitted: float
    value: float
    rate: float
    roundoff: float
    dissipated: float = 0.0
    size: float = 0.0
    open: float = 0.0
    total: float = 0.0
    worst: float = 0.0
    time: float = 0.0
    fell: float = 0.0
    took: float = 0.0

    @classmethod
    def of(cls, stepper: Stepper, state: State, fitted: bool) -> "Balance":
        """That of a run which starts in a state."""
        return cls(
            float(fitted), state.free_energy, stepper.dissipation(state.density, state.evaluation), state.evaluation.roundoff
        )

    def after_step(self, stepper: Stepper, state: State, taken: float) -> "Balance":
        """With one more step."""
        rate = stepper.dissipation(state.density, state.evaluation)
        size = taken * (abs(self.rate) + abs(rate)) / 2
        return replace(
            self,
            rate=rate,
            roundoff=max(self.roundoff, state.evaluation.roundoff, state.rise_roundoff),
            dissipated=self.dissipated + taken * (self.rate + rate) / 2,
            size=self.size + size,
            total=self.total + size,
            open=self.open + taken * abs(rate - self.rate) / 2,
        )

    def after_save(self, state: State) -> "Balance":
        """Closed at a save, and begun again."""
        fell = self.value - state.free_energy
        share, rest = (SHARE_FITTED, REST_FITTED) if self.fitted else (SHARE, 0.0)
        allowed = share * self.size + self.open + rest * self.total + 2 * self.roundoff
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
            " the derivative of value there, evaluate depends on more than the masses, or far too few cells follow the density"
        ]

    def numbers(self) -> dict[str, float]:
        """For a checkpoint."""
        return {f.name: float(getattr(self, f.name)) for f in fields(self)}
