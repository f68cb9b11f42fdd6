"""Diffusion along single factors, ∂ρ/∂t = D_k ∂²ρ/∂θ_k², whatever their mobility, and the heat semigroup that moves a density.

No energy has this term as its gradient, so that energies may rise along it. It is split off the transport: exp(t D_k Δ_k) of each
factor is exact in time. Particles follow Brownian paths.
"""

from collections.abc import Callable
from functools import lru_cache

import numpy as np

from gridflow.errors import InputError
from gridflow.flow.term import Advance, FlowTerm, Point
from gridflow.space.factor import Array, factor_index
from gridflow.space.grid import Grid


class HeatSemigroup:
    """exp(t Σ_k D_k Δ_k) on a grid, factor by factor; the mass is kept to the last bit that summation allows.

    rates : D_k of every factor, in the order of the grid
    """

    def __init__(self, grid: Grid, rates: list[float]) -> None:
        self.grid, self.rates = grid, rates
        self.operators = lru_cache(maxsize=16)(self.make_operators)  # the same few times again and again

    def make_operators(self, time: float) -> list[Callable[[Array], Array] | None]:
        """The operator of every factor for a time; None where nothing moves."""
        moving = [f.moves and rate > 0 for f, rate in zip(self.grid.factors, self.rates, strict=True)]
        return [
            f.heat_operator(time * rate) if moves else None
            for f, rate, moves in zip(self.grid.factors, self.rates, moving, strict=True)
        ]

    def __call__(self, density: Array, time: float) -> Array:
        """The density after a time."""
        before = self.grid.integrate(density)
        for axis, operator in enumerate(self.operators(time)):
            if operator is not None:
                moved = np.moveaxis(density, axis, 0)
                density = np.moveaxis(operator(moved.reshape(len(moved), -1)).reshape(moved.shape), 0, axis)
        density = np.ascontiguousarray(density)
        return density * (before / self.grid.integrate(density))


class Diffusion(FlowTerm[dict[str, float]]):
    """D_k ∂²ρ/∂θ_k² along the lines and circles that `flow.diffusion` names."""

    key = "diffusion"
    diffuses = True
    lowers_energy = False
    splits = True

    def __init__(self, spec: dict[str, float], temperature: float, grid: Grid) -> None:
        super().__init__(spec, temperature, grid)
        for name in spec:
            if not grid.factors[factor_index(grid.factors, name, "flow.diffusion")].one_dimensional:
                raise InputError(f"flow.diffusion along {name!r}", "intervals and circles", "remove it")
        self.rates = [spec.get(f.name, 0.0) for f in grid.factors]
        self.semigroup = HeatSemigroup(grid, self.rates)

    @property
    def acts(self) -> bool:
        return any(self.rates)

    def advance(self, point: Point, time: float) -> Advance:
        return Advance(self.semigroup(point.density, time))

    def diffusion_rates(self) -> list[float]:
        return self.rates

    def dissipation(self, density: Array, xi: Array) -> float:
        """−Σ_k D_k ∫(ξ + D log ρ) ∂²ρ/∂θ_k² dV, which may be negative."""
        potential = xi
        if self.temperature > 0:
            potential = xi + self.temperature * np.log(np.maximum(density, np.finfo(float).tiny))
        weighted, total = potential.reshape(density.shape) * self.grid.volume, 0.0
        for axis, rate in enumerate(self.rates):
            if rate > 0:
                change = np.tensordot(self.grid.factors[axis].laplacian(), density, axes=(1, axis))
                total -= rate * float(np.vdot(weighted, np.moveaxis(change, 0, axis)))
        return total

    def diffusivity(self, mobility: Array) -> Array | float:
        return np.repeat(self.rates, [f.columns for f in self.grid.factors])
