"""Limits on the step of finite volumes: positivity, energy, curvature, accuracy (`gridflow.scheme.finite_volume.stepper`)."""

from dataclasses import dataclass

import numpy as np

from gridflow.flow.reaction import ENERGY_SAFETY
from gridflow.scheme.finite_volume.transport import Transport
from gridflow.space.factor import Factor
from gridflow.space.grid import Grid

CELLS_MIN = 64
"""Cells that the accuracy of a split term counts at least: on a few labels there is no error in space to compare with."""


@dataclass(frozen=True)
class Limits:
    """cfl : share of the positivity limit; kappa : largest density at a face over that of its cell; fitted : whether the fluxes
    contain a temperature; tolerance : accuracy·L/n², a length over √M; change_max : of the exponent of a split term.

    All arguments of the limits are finite: `Problem.evaluate` raises before.
    """

    cfl: float
    kappa: float
    fitted: bool
    tolerance: float
    change_max: float

    @classmethod
    def of(cls, cfl: float, accuracy: float, grid: Grid, transport: Transport) -> "Limits":
        """The limits of a scheme on a grid."""
        moving = [(f, m) for f, m in zip(grid.factors, grid.mobility, strict=True) if f.moves and m.max() > 0]
        tolerance = accuracy * min((resolution(f) / float(np.sqrt(m.max())) for f, m in moving), default=np.inf)
        cells = max(int(f.size ** (1 / f.dimension)) for f in grid.factors)  # along one direction
        change_max = accuracy / max(CELLS_MIN, cells) ** 2
        return cls(cfl, transport.kappa, transport.fitted is not None, tolerance, change_max)

    def positivity(self, outflow: float) -> float:
        """cfl/(κ·largest outflow rate)."""
        return self.cfl / (self.kappa * outflow) if outflow > 0 else np.inf

    def energy(self, dt: float, decrease: float, bend: float, roundoff: float) -> float:
        """0.9·2·Dissipation/D²E[ρ̇, ρ̇]; none where the decrease is round-off of the energy, and so is the quotient.

        decrease, bend : dt·Dissipation and dt²·D²E[ρ̇, ρ̇]. Where there is none, the limit `curvature` bounds the step.
        Fitted fluxes are driven by the entropy too and are only checked afterwards.
        """
        if self.fitted or not decrease > roundoff:
            return np.inf
        return ENERGY_SAFETY * 2 * dt * decrease / bend if bend > 0 else np.inf

    def curvature(self, dt: float, step_max: float) -> float:
        """The step dt, or a smaller one for which no mode grows. With fitted fluxes the rates of diffusion and energy add up."""
        if not self.fitted:
            return min(dt, step_max)
        rate = 1 / dt + 1 / step_max
        return 1 / rate if rate > 0 else np.inf

    def accuracy(self, dt: float, decrease0: float, decrease1: float) -> float:
        """The step for which ½dt|√D₁ − √D₀| meets the tolerance. Fitted fluxes have dt = O(h²) anyway.

        decrease0, decrease1 : dt·D of the two stages
        """
        if self.fitted:
            return np.inf
        drift = 0.5 * np.sqrt(dt) * abs(np.sqrt(max(decrease1, 0.0)) - np.sqrt(max(decrease0, 0.0)))
        return dt * float(np.sqrt(self.tolerance / drift)) if drift > 0 else np.inf

    def change(self, dt: float, rate: float) -> float:
        """The step in which a split term, changing at this rate, changes by no more than `change_max` in half the time."""
        drift = 0.5 * dt * rate
        return dt * float(np.sqrt(self.change_max / drift)) if drift > 0 else np.inf


def resolution(factor: Factor) -> float:
    """L/n², L the length and n the cells along one direction: the error of second order, up to a constant."""
    return factor.total_volume ** (1 / factor.dimension) / factor.size ** (2 / factor.dimension)
