"""Noise injection on a grid (`gridflow.flow.noise` has the equations): the potential that moves the mass instead of ξ."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from gridflow.energy.base import BoundEnergy, Evaluation
from gridflow.errors import InputError
from gridflow.flow.noise import NoiseInjection
from gridflow.space.factor import Array, Factor
from gridflow.space.grid import Grid

RATE = Callable[[Array, Array, Array], float]
CHANGE = Callable[[Array, Array], Array]


@dataclass(frozen=True)
class Injection:
    """falls : (density, ξ, drive) → −dF/dt; change : (density, drive) → ∂ρ/∂t.

    Raises InputError for an energy or a space without what the noise needs.
    """

    noise: NoiseInjection
    grid: Grid
    energy: BoundEnergy
    falls: RATE
    change: CHANGE

    def __post_init__(self) -> None:
        noise = self.noise
        self.energy.smoothed(noise.level)  # refuses an energy or a kernel without a smoothed one
        needs = "an adaptive level" if noise.adapts else "a correction of finite steps" if noise.corrections else None
        if needs and not self.measures:
            raise InputError(f"{needs} of noise with this kernel", "a Gaussian kernel", "use it, or leave that out")
        if noise.corrections and (len(self.grid.factors) != 1 or not self.grid.factors[0].one_dimensional):
            raise InputError(
                f"flow.noise_injection.corrections on {len(self.grid.factors)} factors",
                "one interval or circle: elsewhere the diffusion is a full tensor",
                "remove the corrections",
            )

    @property
    def measures(self) -> bool:
        """Whether D_β can be computed."""
        return self.energy.displaces

    @property
    def reports(self) -> tuple[str, ...]:
        return ("noise_level", "injected_dissipation") if self.measures else ("noise_level",)

    def numbers(self, density: Array, level: float) -> dict[str, float]:
        """The numbers of a save, by the names of `reports`."""
        numbers = {"noise_level": level}
        return numbers | {"injected_dissipation": self.dissipation(density, level)} if self.measures else numbers

    def dissipation(self, density: Array, level: float) -> float:
        """D_β = ∫E_u|∇f(z + βu)|² dν."""
        mass = density * self.grid.volume
        return float(np.vdot(self.energy.displaced(level).moments(mass)[1], mass))

    def choose(self, density: Array, evaluation: Evaluation, time: float) -> float:
        """The level at a time; an adaptive one for this density."""
        if not self.noise.adapts:
            return self.noise.at(time)

        def holds(level: float) -> bool:
            drive = self.smooth(density, level)
            falls = self.falls(density, evaluation.first_variation, drive)
            return falls >= self.noise.decrease * self.dissipation(density, level)

        return self.noise.largest(holds)

    def smooth(self, density: Array, level: float) -> Array:
        """G_β * f at the cells."""
        drive: Array = self.energy.smoothed(level).evaluate(density * self.grid.volume).first_variation
        return drive

    def driven(self, density: Array, evaluation: Evaluation, time: float, level: float) -> Evaluation:
        """The evaluation with its drive, and with the diffusivity of a finite step."""
        drive, noise = self.smooth(density, level), self.noise
        if not noise.corrections:
            return replace(evaluation, drive=drive)
        gamma = noise.step or 0.0
        mean, square = self.energy.displaced(level).moments(density * self.grid.volume)
        slope, diffusivity = mean[0], None
        potential = drive.copy()
        if "drift" in noise.corrections:
            along = self.smooth(density + self.change(density, drive), level) - drive  # linear in ν
            later = noise.at(time + gamma)
            if not noise.adapts and later != level:
                along = along + (self.smooth(density, later) - drive) / gamma
            potential += gamma / 2 * (slope**2 / 2 - along)
        if "diffusion" in noise.corrections:
            diffusivity = gamma / 2 * (square - slope**2)
            potential += diffusivity
        return replace(evaluation, drive=potential, diffusivity=diffusivity)


def diffusion(factor: Factor, density: Array, diffusivity: Array) -> tuple[Array, float]:
    """(∂_x(K ∂_x ρ) along one factor, no flux through walls; the largest rate at which it empties a cell)."""
    ahead = np.roll(density, -1) - density
    conductance = 0.5 * (diffusivity + np.roll(diffusivity, -1)) * factor.areas[1:] / factor.distances[1:]
    flux = conductance * ahead  # through the face behind every cell; 0 at walls, where the area is 0
    rate = (conductance + np.roll(conductance, 1)) / factor.volumes
    return (flux - np.roll(flux, 1)) / factor.volumes, float(rate.max())
