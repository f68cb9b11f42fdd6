"""Temperature D: the entropy joins the energy, F = E + D∫ρ log ρ, and the flow is ∂ρ/∂t = div(ρ M grad ξ) + D div(M grad ρ).

A scheme may take it into its fluxes; or split it off as the heat semigroup of every factor, exact in time where the mobility is
constant. Particles follow Langevin's equation, dθ = −M grad ξ dt + √(2DM) dW.
"""

import numpy as np

from gridflow.energy.base import ROUNDOFF
from gridflow.flow.diffusion import HeatSemigroup
from gridflow.flow.term import Advance, FlowTerm, Point
from gridflow.space.factor import Array
from gridflow.space.grid import Grid


def entropy(density: Array, volume: Array) -> tuple[float, float]:
    """(∫ρ log ρ dV, bound on its round-off)."""
    terms = np.maximum(density, np.finfo(float).tiny)
    np.log(terms, out=terms)
    terms *= density
    value = float(np.vdot(terms, volume))
    return value, ROUNDOFF * float(np.vdot(np.abs(terms, out=terms), volume))


class Temperature(FlowTerm[float]):
    """D·div(M grad ρ), D = flow.temperature; as a term of its own where a scheme splits it off."""

    key = "temperature"
    diffuses = True
    splits = True
    fits = True

    def __init__(self, spec: float, temperature: float, grid: Grid) -> None:
        super().__init__(spec, temperature, grid)
        self.semigroup = HeatSemigroup(grid, [temperature * float(m.max()) for m in grid.mobility])

    @property
    def acts(self) -> bool:
        return self.temperature > 0

    @property
    def stated(self) -> str:
        return f"flow.temperature = {self.temperature:g}"

    def advance(self, point: Point, time: float) -> Advance:
        return Advance(self.semigroup(point.density, time))

    def diffusivity(self, mobility: Array) -> Array | float:
        return self.temperature * mobility
