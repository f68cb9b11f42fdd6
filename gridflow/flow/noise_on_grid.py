"""Noise injection on a grid (`gridflow.flow.noise` has the equations): the potential that moves the mass instead of ξ."""

from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache

import numpy as np

from gridflow.energy.base import BoundEnergy, Evaluation
from gridflow.errors import require
from gridflow.flow.noise import NoiseInjection
from gridflow.space.factor import Array, Factor
from gridflow.space.grid import Grid

LEVELS_KEPT = 20
"""Levels of noise whose smoothed kernels are kept: a constant one, or those of an adaptive one."""


class Injection:
    """falls : (density, ξ, drive) → −dF/dt; change : (density, drive) → ∂ρ/∂t.

    Raises InputError for an energy or a space without what the noise needs.
    """

    def __init__(
        self,
        noise: NoiseInjection,
        grid: Grid,
        energy: BoundEnergy,
        falls: Callable[[Array, Array, Array], float],
        change: Callable[[Array, Array], Array],
    ) -> None:
        self.noise, self.grid, self.falls, self.change = noise, grid, falls, change
        self.has_moments = energy.has_displacement_moments
        self.variation = lru_cache(LEVELS_KEPT)(energy.smooth_variation)
        self.moments = lru_cache(LEVELS_KEPT)(energy.displacement_moments)
        self.variation(noise.level)  # refuses an energy or a kernel without a smoothed one
        needs = "an adaptive level" if noise.adapts else "a correction of finite steps" if noise.corrections else None
        admitted = needs is None or self.has_moments
        require(admitted, f"{needs} of noise with this kernel", "a Gaussian kernel", "use it, or leave that out")
        require(
            not noise.corrections or (len(grid.factors) == 1 and grid.factors[0].one_dimensional),
            f"flow.noise_injection.corrections on {len(grid.factors)} factors",
            "one interval or circle: elsewhere the diffusion is a full tensor",
            "remove the corrections",
        )

    @property
    def reports(self) -> tuple[str, ...]:
        """Names of the numbers of a save: the level, and D_β where it can be computed."""
        return ("noise_level", "injected_dissipation") if self.has_moments else ("noise_level",)

    def numbers(self, density: Array, level: float) -> dict[str, float]:
        """The numbers of a save, by the names of `reports`."""
        numbers = {"noise_level": level}
        return numbers | {"injected_dissipation": self.dissipation(density, level)} if self.has_moments else numbers

    def dissipation(self, density: Array, level: float) -> float:
        """D_β = ∫E_u|∇f(z + βu)|² dν."""
        mass = density * self.grid.volume
        return float(np.vdot(self.moments(level)(mass)[1], mass))

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
        return self.variation(level)(density * self.grid.volume)

    def evaluation_with_drive(self, density: Array, evaluation: Evaluation, time: float, level: float) -> Evaluation:
        """The evaluation with its drive, and with the diffusivity of a finite step."""
        drive, noise = self.smooth(density, level), self.noise
        if not noise.corrections:
            return replace(evaluation, drive=drive)
        gamma = noise.step or 0.0
        mean, square = self.moments(level)(density * self.grid.volume)
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
