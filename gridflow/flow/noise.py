"""Noise injection (S4): the velocity is taken at displaced positions, Z ← Z − γ∇f(Z + β_t u), u standard normal.

Particles do as printed, with the step γ of gradient descent. A density moves, as γ → 0, by

    ∂ν/∂t = div(ν ∇(G_β * f)),        G_β * f = ∫(G_β * k)(·, u)(ν − ν*)(du)

with the normal density G_β of deviation β: the *kernel* is smoothed, in free space, without the walls, as for particles.
For a constant β this is the gradient flow of another MMD, with the kernel G_β * k: for a Gaussian of bandwidth σ one of
bandwidth (σ² + β²)^½. F itself may rise.

To second order in γ (MATH §1.5), with b = ∇(G_β * f) and C = Cov_u[∇f(z + βu)],

    ∂ν/∂t = div(ν [b + (γ/2)((∇b)b − ∂b/∂t)]) + (γ/2) ∇∇:(Cν)

In one dimension both are offered: (∇b)b = ∇b²/2, and ∂_xx(Cν) = ∂_x(C ∂_x ν + ν ∂_x C), so that the drifts are those of a
potential G_β*f + (γ/2)(b²/2 − ∂_t(G_β*f) + C) and a diffusivity γC/2 is left.

Noise on the iterate itself, "SGD + diffusion" Z ← Z − γ∇f(Z) + βu, is a temperature D = β²/(2γ):
`gridflow.flow.noise.temperature`.

Level of the noise (S4, last slides): constant; decaying (`gridflow.flow.schedule`), as β₀(1 + t/time)^(−power) for example, with
Σβ² = ∞ for power ≤ ½; or adaptive, the largest β = β₀2^(−k/2) with sufficient decrease,

    −dF/dt ≥ C D_β,      D_β = ∫E_u|∇f(z + βu)|² dν                                       (1)

(of particles F after the step − F before ≤ −Cγ D_β; S4 prints +C). With λ_t² = D_β/(8β²F) measured on the run, (1) with C = ½
gives

    F(t) ≤ F(0) exp(−4∫λ²β² ds)                                                          (2)
"""

from collections.abc import Callable
from typing import Annotated, Literal

from msgspec import Meta, Struct

from gridflow.energy.base import REACH, ParticleEnergy
from gridflow.errors import require
from gridflow.flow.schedule import Schedule
from gridflow.flow.term import FlowTerm
from gridflow.space.grid import Grid

LADDER = 16
"""Adaptive levels are β₀·2^(−k/2), k ≤ 16: down to β₀/256."""

NARROWEST, WIDEST = 1e-12, 2
"""Level over length: below, noise is lost in the round-off of positions; beyond, it takes a particle anywhere, and the smoothed
kernel no longer depends on where the mass is."""

Correction = Literal["drift", "diffusion"]


class NoiseInjection(Struct, frozen=True, forbid_unknown_fields=True):
    """Noise injection (S4).

    level : β₀ in units of the coordinates, 0 for none; decay : how it falls
    adaptive, decrease : whether it follows the density instead, and with which C

    step, corrections : γ, and which terms of order γ a density in one dimension has. Particles take γ from their integrator.
    """

    level: Annotated[float, Meta(ge=0.0)] = 0.0
    decay: Schedule | None = None
    adaptive: bool = False
    decrease: Annotated[float, Meta(gt=0.0, lt=1.0)] = 0.5
    step: Annotated[float, Meta(gt=0.0)] | None = None
    corrections: list[Correction] = []

    def __post_init__(self) -> None:
        if self.corrections and self.step is None:
            raise ValueError("corrections need the step γ of the particles; give step")
        if self.decay is not None:
            self.decay.check(self.level, "decay: level")
            if self.adaptive:
                raise ValueError("an adaptive level with a decay; remove one of them")

    @property
    def acts(self) -> bool:
        """Whether there is noise."""
        return self.level > 0

    @property
    def adapts(self) -> bool:
        """Whether the level follows the density."""
        return self.acts and self.adaptive

    def at(self, time: float) -> float:
        """β at a time; of an adaptive level the largest."""
        return self.level if self.decay is None else self.decay.at(self.level, time)

    def largest(self, holds: Callable[[float], bool]) -> float:
        """The largest level for which (1) holds, by bisection of the ladder; its lowest rung is not tried."""
        low, high = 0, LADDER  # rungs above `low` fail, `high` holds
        while low < high:
            middle = (low + high) // 2
            if holds(self.level * 2.0 ** (-middle / 2)):
                high = middle
            else:
                low = middle + 1
        return self.level * 2.0 ** (-high / 2)


def temperature(level: float, step: float) -> float:
    """D = β²/(2γ) of Z ← Z − γ∇f(Z) + βu: a step γ with noise of variance β² is Langevin's with 2Dγ."""
    return level**2 / (2 * step)


class NoiseTerm(FlowTerm[NoiseInjection]):
    """Noise injection as a term of a flow: it replaces the potential that moves the mass (`gridflow.flow.noise_on_grid`)."""

    key = "noise_injection"
    lowers_energy = False
    drives = True

    def __init__(self, spec: NoiseInjection, temperature: float, grid: Grid) -> None:
        super().__init__(spec, temperature, grid)
        surfaces = [f.name for f in grid.factors if f.columns > 1]
        received, fix = f"{self.stated} on the surfaces {surfaces}", f"remove flow.{self.key}"
        require(not (self.acts and surfaces), received, "intervals, circles and labels", fix)
        longest = max((f.total_volume for f in grid.factors if f.one_dimensional), default=0.0)
        allowed = f"0, or between {NARROWEST:g} and {WIDEST} times the longest interval or circle, {longest:.3g}"
        fits = NARROWEST * longest <= spec.level <= WIDEST * longest or not self.acts or longest == 0.0
        require(fits, f"{self.stated}", allowed, "change the level")

    @property
    def acts(self) -> bool:
        return self.spec.acts

    @property
    def stated(self) -> str:
        return f"flow.noise_injection.level = {self.spec.level:g}"

    def at_particles(self, energy: ParticleEnergy) -> ParticleEnergy:
        """Beyond the walls too, as far as noise reaches. Raises InputError for an energy without that."""
        return energy.extend(REACH * self.spec.level)
