"""Temperature D: the entropy joins the energy, F = E + D∫ρ log ρ, and the flow is ∂ρ/∂t = div(ρ M grad ξ) + D div(M grad ρ).

A scheme may take it into its fluxes; or split it off as the heat semigroup of every factor, exact in time where the mobility is
constant. Particles follow Langevin's equation, dθ = −M grad ξ dt + √(2DM) dW.

Annealing: D(t) falls (`gridflow.flow.schedule`). In a step from t to t + τ it stands still, at its mean D̄ there. With the
generators A of the drift and B of the diffusion, the solution of ∂ρ/∂t = (A + D(t)B)ρ is (Magnus 1954, Comm. Pure Appl. Math. 7)

    exp(τ(A + D̄B) + ½∫∫_{s<r} (D(s) − D(r))[A, B] ds dr + …) = exp(τ(A + D̄B) − (τ³/12)Ḋ[A, B] + …)

so that a step with D̄ errs by O(τ³), and a scheme of second order stays one; diffusion alone, and the noise √(2∫DM dt) of a
particle, are exact. (D of the start of the step adds (τ²/2)ḊB: order 1.)

The free energy F = E + D∫ρ log ρ that a run records has the D of its time:

    dF/dt = −dissipation + Ḋ∫ρ log ρ

The last term has any sign: F rises while D falls, where ρ is spread out so that ∫ρ log ρ < 0. What falls in every step is
E + D̄∫ρ log ρ, and this is claimed and checked. The Gibbs density and the gap to the minimum are those of the D of the time.
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
    slabs = True
    diffuses = True
    splits = True
    fits = True

    def __init__(self, spec: float, temperature: float, grid: Grid) -> None:
        super().__init__(spec, temperature, grid)
        self.semigroup = HeatSemigroup(grid, [float(m.max()) for m in grid.mobility])

    @property
    def acts(self) -> bool:
        return self.temperature > 0

    @property
    def stated(self) -> str:
        return f"flow.temperature = {self.temperature:g}"

    def advance(self, point: Point, time: float) -> Advance:
        return Advance(self.semigroup(point.density, self.temperature * time))

    def diffusivity(self, mobility: Array) -> Array | float:
        return self.temperature * mobility
