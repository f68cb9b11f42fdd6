"""The transport of a problem on its grid: one stage of the face sweep, and the dissipation of the flow discrete in space."""

from copy import copy
from typing import Any, NamedTuple, Self

import numpy as np

from gridflow.energy.base import Evaluation
from gridflow.flow.noise_on_grid import diffusion
from gridflow.problem import Problem
from gridflow.scheme.base import State
from gridflow.scheme.finite_volume.sliding import Viscosity
from gridflow.scheme.finite_volume.stage import largest_rate, moved_energy, stage
from gridflow.scheme.finite_volume.tables import sweep_tables, upwind_ratio
from gridflow.space.factor import Array

PECLET_MAX = 3.83
"""(P/2) coth(P/2) = 2."""
UNRESOLVED_MAX = 0.05
"""Share of the mass that diffuses more than twice as much as it should before a result carries a warning: the mean diffusivity is
then wrong by more than this share of D."""


EULER = 1.0
"""Share of an Euler step in a stage that is nothing else; the outflow is not measured."""


class Swept(NamedTuple):
    """What a sweep measures: largest outflow rate (without `base`), Σ V ξ (out − ρ), Σ V ξ (ρ − base), min out;
    with a viscosity, the parts of the first sum by its cross fluxes, and by all that moves through faces where it acts."""

    outflow: float
    moved: float
    moved_before: float
    low: float
    work: float = 0.0
    kinks: float = 0.0


class Transport:
    """∂ρ/∂t = div(ρ M grad ξ), and with fitted fluxes + D div(M grad ρ), by the sweep.

    order : 1 or 2, of upwind fluxes; fitted : whether fluxes contain the temperature, where there is one
    view : shape of a density for the sweep, lines of the last factor as rows; kappa : see `upwind_ratio`
    """

    def __init__(self, problem: Problem, order: int = 2, *, fitted: bool = False) -> None:
        self.problem, self.grid = problem, problem.grid.padded
        grid = self.grid
        self.tables = sweep_tables(grid)
        self.view = (grid.size // grid.factors[-1].size, grid.factors[-1].size)
        self.fitted = problem.temperature if fitted and problem.temperature > 0 else None
        self.second_order = True if order == 2 and self.fitted is None else None
        self.kappa = upwind_ratio(grid.whole) if self.second_order else 1.0

    def at(self, problem: Problem) -> Self:
        """The same at the temperature of another problem."""
        other = copy(self)
        other.problem, other.fitted = problem, None if self.fitted is None else problem.temperature
        return other

    def stage(
        self,
        out: Array,
        base: Array | None,
        rho: Array,
        drive: Array,
        dt: float,
        diffusivity: Array | None = None,
        share: float = 0.5,
        viscosity: Viscosity | None = None,
    ) -> Swept:
        """One sweep (`stage`), and beside it diffusion along the only factor, or sliding. All arrays have the shape `view`."""
        swept = self.of_all(Swept(*stage(out, base, rho, drive, dt, self.tables, self.second_order, self.fitted, share)), out)
        if diffusivity is None and viscosity is None:
            return swept
        outflow, work, kinks = swept.outflow, 0.0, 0.0
        if viscosity is not None:
            work, kinks = viscosity.correct(out, rho, drive, dt if base is None else share * dt)
        if diffusivity is not None:
            added, rate = diffusion(self.problem.grid.factors[0], rho.ravel(), diffusivity)
            change = dt * added.reshape(rho.shape)
            out += change if base is None else share * change
            outflow += rate / self.kappa
        moved = moved_energy(drive, rho, out, self.tables)
        return swept._replace(outflow=outflow, moved=moved, low=float(out.min()), work=work, kinks=kinks)

    def of_all(self, swept: Swept, out: Array) -> Swept:
        """What a sweep of all slabs measures; the cells of neighbours in `out` become theirs."""
        grid = self.grid
        if grid.alone:
            return swept
        field = grid.exchange(out.reshape(grid.shape))  # before, cells of neighbours lacked what the next ones bring
        moved, moved_before = grid.total(np.array([swept.moved, swept.moved_before])).tolist()
        outflow, low = grid.largest(np.array([swept.outflow, -field.min()])).tolist()
        return swept._replace(outflow=outflow, moved=moved, moved_before=moved_before, low=-low)

    def outflow(self, rho: Array, evaluation: Evaluation) -> float:
        """The largest rate of what leaves a cell, per density, and 1/κ of that by diffusion."""
        outflow = largest_rate(evaluation.potential.reshape(self.view), self.tables, self.fitted)
        outflow = float(self.problem.grid.largest(outflow))
        if evaluation.diffusivity is None:
            return outflow
        return outflow + diffusion(self.problem.grid.factors[0], rho.ravel(), evaluation.diffusivity)[1] / self.kappa

    def first_order(self, out: Array, rho: Array, drive: Array) -> None:
        """One Euler step of length 1 with upwind fluxes of first order."""
        stage(out, rho, rho, drive, 1.0, self.tables, None, None, EULER)

    def state(
        self,
        density: Array,
        time: float,
        dt: float,
        evaluation: Evaluation | None = None,
        dissipation: float | None = None,
        **rest: Any,
    ) -> State:
        """The state of a density; evaluation, dissipation : there, where they are known; rest : further fields.

        Raises SolveError where the energy is not finite.
        """
        density = np.ascontiguousarray(density, dtype=float)
        evaluation = self.problem.evaluate(density) if evaluation is None else evaluation
        value, _, entropy = self.problem.free_energy(density, evaluation)
        return State(
            density=density,
            time=time,
            dt=dt,
            evaluation=evaluation,
            free_energy=value,
            entropy=entropy,
            dissipation=self.dissipation(density, evaluation) if dissipation is None else dissipation,
            density_min=self.least(density),
            **rest,
        )

    def state_after(self, before: State, density: Array, tau: float, dt: float, **rest: Any) -> State:
        """The state after a step of length tau to a density of the same mass; dt : the next step; rest : further fields."""
        grid = self.problem.grid
        density = density * (grid.integrate(before.density) / grid.integrate(density))  # round-off, kept from adding up
        evaluation = self.problem.evaluate(density)
        value, roundoff, entropy = self.problem.free_energy(density, evaluation)
        return State(
            density=density,
            time=before.time + tau,
            dt=dt,
            evaluation=evaluation,
            free_energy=value,
            entropy=entropy,
            dissipation=(before.free_energy - value) / tau,
            density_min=min(before.density_min, self.least(density)),
            rise=max(before.rise, value - before.free_energy),
            rise_roundoff=max(before.rise_roundoff, roundoff),
            **rest,
        )

    def least(self, density: Array) -> float:
        """The smallest density."""
        return -float(self.problem.grid.largest(-density.min()))

    def unresolved_mass(self, density: Array, xi: Array) -> float:
        """Share of the mass at faces of lines and circles where fitted fluxes diffuse more than twice as much as they should.

        Their diffusivity is D·(P/2) coth(P/2), P = |ξ_c − ξ_o|/D the Péclet number of the cell, as for first-order upwinding.
        """
        if self.fitted is None:
            return 0.0
        grid, worst = self.problem.grid, 0.0
        masses, everything = density * grid.volume, grid.integrate(density)
        for axis, (factor, mobility) in enumerate(zip(grid.factors, grid.whole.mobility, strict=True)):
            if factor.one_dimensional and mobility.max() > 0:
                lower, upper = ((slice(None),) * axis + (part,) for part in (slice(None, -1), slice(1, None)))
                steep = np.abs(xi[upper] - xi[lower]) > PECLET_MAX * self.fitted
                worst = max(worst, float(grid.total(((masses[lower] + masses[upper]) / 2)[steep].sum())) / everything)
        return worst

    def warnings(self, density: Array, xi: Array) -> list[str]:
        """A sentence where that share is more than UNRESOLVED_MAX."""
        share = self.unresolved_mass(density, xi)
        where = f"{share:.0%} of the mass ends where |grad ξ| times a cell exceeds {PECLET_MAX:g} times the temperature"
        fix = 'fitted fluxes diffuse more than twice as much there; use scheme.diffusion = "implicit" or more cells'
        return [f"{where}: {fix}"] if share > UNRESOLVED_MAX else []

    def dissipation(self, density: Array, evaluation: Evaluation) -> float:
        """−dF/dt of the flow discrete in space: Σ F_f (ξ_c − ξ_o) over faces; its terms are ≥ 0 where ξ drives the flow.

        With a temperature Σ F_f (ξ + D log ρ)|_o^c for the fitted fluxes: exact for them, second order for the Strang splitting.
        The other terms of the flow add their own (`FlowTerm.dissipation`).
        """
        temperature = self.problem.temperature
        xi = np.ascontiguousarray(evaluation.first_variation)
        rho, potential, drive = (self.problem.grid.pad(f).reshape(self.view) for f in (density, xi, evaluation.potential))
        after = np.empty(self.view)
        if temperature == 0:
            self.stage(after, rho, rho, drive, 1.0, evaluation.diffusivity, EULER)
        else:
            stage(after, rho, rho, drive, 1.0, self.tables, None, temperature, EULER)
            potential = potential + temperature * np.log(np.maximum(rho, np.finfo(float).tiny))
        falls = -float(self.problem.grid.total(moved_energy(potential, rho, after, self.tables)))
        if evaluation.drive is None:
            falls = max(0.0, falls)
        return falls + sum(term.dissipation(density, xi) for term in self.problem.terms)
