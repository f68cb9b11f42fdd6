"""Finite volumes in space, SSP Runge–Kutta 2 in time, with a step that keeps ρ ≥ 0 and lets the energy decrease.

One step from ρ₀ (Heun's method in its strong-stability-preserving form, Gottlieb, Shu and Tadmor 2001):

    ρ₁ = ρ₀ + dt L(ρ₀; ξ[ρ₀]),     ρ₂ = (ρ₀ + ρ₁ + dt L(ρ₁; ξ[ρ₁]))/2

with L the face sweep (`gridflow.scheme.finite_volume.sweep`). Four limits on dt:

* positivity: κ·dt·(largest outflow rate) ≤ cfl; every new density is checked, and a step that fails is redone;
* energy: an Euler step lowers a quadratic energy exactly if dt ≤ 2·Dissipation/D²E[ρ̇, ρ̇], and ρ₂ is a convex combination of
  ρ₀ and two Euler steps, so that E(ρ₂) ≤ E(ρ₀) for every convex energy if both stages keep the limit. The first stage keeps 0.9
  of it; the outcome E(ρ₂) ≤ E(ρ₀) is checked, up to round-off, and a step that fails is redone. With positivity alone dt grows
  without bound where the flow becomes stationary, and then the energy rises;
* curvature: the same for every other direction than ρ̇, dt ≤ 0.8·2/λ, λ the largest eigenvalue of the linearised flow
  (`gridflow.scheme.finite_volume.curvature`). Without it modes at grid scale grow in flows whose ξ contains ρ or derivatives of
  its potential, while the energy falls. It is the limit that remains where a decrease is too small to be measured;
* accuracy: the lengths of the Euler and the Heun step, measured in the metric of the flow, differ by ½dt|√D₁ − √D₀| (D the
  dissipation = squared speed). They may differ by accuracy·L/n² (L, n: length and cells of the finest factor): the same power
  of the cell size as the error in space, so that the order 2 survives where dt is not bound to the cell size.

Temperature D > 0 adds D·M·Δρ, either by exponentially fitted fluxes ("scharfetter-gummel": the free energy E + D∫ρ log ρ
decreases; fluxes are first order where |grad ξ| h ≫ D, order 2 as h → 0) or by the heat semigroup of each factor in Strang
splitting ("heat-semigroup": second-order transport and no parabolic limit on dt, but the free energy may rise by the
splitting error, and the dataset says by how much).

Diffusion along single factors (`flow.diffusion`), of which no energy knows, is always split off like that.

Reaction (`gridflow.flow.reaction`) is added by Strang splitting too, half a step before and half a step after the transport. Both
lower the same energy, so that its decrease is kept by redoing steps, as above. With a temperature it is not claimed: the reaction
does not know the entropy. Two more limits on dt:

* energy: the first stage of a reaction step is an Euler step, and keeps the limit above;
* accuracy: along the paths of the flow ξ changes in a step by δ, part of it carried (−dt·M|grad ξ|²) and part because ρ changes,
  so that the exponent of the reaction changes by κ·dt·δ; half of it, the difference of a step of first and of second order, may
  be accuracy/n², n the cells of the largest factor (at least 64).
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Annotated, ClassVar, Literal, NamedTuple

import numpy as np
from msgspec import Meta, Struct

from gridflow.energy.base import ROUNDOFF, BoundEnergy, Evaluation, completed
from gridflow.errors import InputError, SolveError
from gridflow.flow.noise import NO_NOISE, NoiseInjection
from gridflow.flow.noise_on_grid import Injection, diffusion
from gridflow.flow.reaction import NO_REACTION, Reaction
from gridflow.scheme.base import State
from gridflow.scheme.finite_volume import sweep
from gridflow.scheme.finite_volume.curvature import Curvature, Linearised
from gridflow.space.factor import Array
from gridflow.space.grid import Grid

ATTEMPTS = 60
"""Steps are redone with at most half the step: 60 halvings end below round-off of any time."""
ENERGY_SAFETY = 0.9
"""Share of the energy limit that a step uses, so that the second stage rarely violates it."""
CELLS_MIN = 64
"""Cells that the accuracy of a reaction counts at least: on a few labels there is no error in space to compare with."""


class FiniteVolume(Struct, frozen=True, forbid_unknown_fields=True, tag="finite-volume", tag_field="kind"):
    """Numbers of the scheme. Dimensionless."""

    order: Literal[1, 2] = 2
    cfl: Annotated[float, Meta(gt=0.0, le=1.0)] = 0.9
    accuracy: Annotated[float, Meta(gt=0.0)] = 1.0
    diffusion: Literal["scharfetter-gummel", "heat-semigroup"] = "scharfetter-gummel"

    label: ClassVar[str] = "finite volumes, SSP-RK2"

    def init(
        self,
        grid: Grid,
        energy: BoundEnergy,
        temperature: float,
        reaction: Reaction = NO_REACTION,
        noise: NoiseInjection = NO_NOISE,
    ) -> "FiniteVolumeStepper":
        """Bind to a grid and an energy. Raises InputError for a combination that this scheme cannot do."""
        return FiniteVolumeStepper(self, grid, completed(energy, BoundEnergy), temperature, reaction, noise)


class Swept(NamedTuple):
    """What a sweep tells: largest outflow rate (first stages), Σ V ξ (out − ρ), Σ V ξ (ρ − base) (second stages), min out."""

    outflow: float
    moved: float
    moved_before: float
    low: float


@dataclass
class FiniteVolumeStepper:
    """A scheme bound to a grid and an energy: everything that is reused between steps."""

    scheme: FiniteVolume
    grid: Grid
    energy: BoundEnergy
    temperature: float
    reaction: Reaction = NO_REACTION
    noise: NoiseInjection = NO_NOISE
    tables: sweep.Tables = field(init=False)

    def __post_init__(self) -> None:
        grid = self.grid
        self.tables = sweep.sweep_tables(grid)
        last = grid.factors[-1]
        self.view = (grid.size // last.size, last.size)
        fitted = self.temperature > 0 and self.scheme.diffusion == "scharfetter-gummel"
        self.fitted_temperature = self.temperature if fitted else None
        self.second_order = True if self.scheme.order == 2 and not fitted else None
        self.kappa = sweep.upwind_ratio(grid) if self.second_order else 1.0
        self.split_temperature = 0.0 if fitted else self.temperature
        self.splits = self.split_temperature > 0 or any(grid.diffusion)
        moving = [(f, m) for f, m in zip(grid.factors, grid.mobility, strict=True) if f.moves and m.max() > 0]
        self.tolerance = self.scheme.accuracy * min((f.resolution / float(np.sqrt(m.max())) for f, m in moving), default=np.inf)
        cells = max(int(np.sqrt(f.size)) if f.is_mesh else f.size for f in grid.factors)
        self.change_max = self.scheme.accuracy / max(CELLS_MIN, cells) ** 2
        if self.split_temperature > 0 and any(m.size > 1 for m in grid.mobility):
            raise InputError(
                'scheme.diffusion = "heat-semigroup" with a mobility that depends on another factor',
                "constant mobilities",
                'use diffusion = "scharfetter-gummel"',
            )
        self.heat_operators = lru_cache(maxsize=16)(self.make_heat_operators)
        self.driven = self.noise.acts or self.energy.driven
        if self.driven and self.reaction.acts:
            raise InputError("a reaction in a flow that ξ does not drive", "one of the two", "remove flow.reaction")
        self.injection = self.make_injection() if self.noise.acts else None

    def make_injection(self) -> Injection:
        def falls(density: Array, xi: Array, drive: Array) -> float:
            return self.dissipation(density, Evaluation(0.0, xi, 0.0, drive=drive))

        def change(density: Array, drive: Array) -> Array:
            rho, after = density.reshape(self.view), np.empty(self.view)
            self.stage(after, None, rho, drive.reshape(self.view), 1.0)
            return after.reshape(density.shape) - density

        return Injection(self.noise, self.grid, self.energy, falls, change)

    @property
    def reports(self) -> tuple[str, ...]:
        return () if self.injection is None else self.injection.reports

    def report(self, state: State) -> dict[str, float]:
        """The numbers of `reports` for a state."""
        if self.injection is None:
            return {}
        return self.injection.numbers(state.density, state.reports["noise_level"])

    @property
    def conserves_mass(self) -> bool:
        return self.reaction.keeps_mass

    @property
    def energy_decreases(self) -> bool:
        """Whether this scheme claims that the (free) energy never increases."""
        both = self.reaction.acts and self.temperature > 0
        return self.energy.convex and not self.splits and not both and not self.driven

    # ------------------------------------------------------------------------------------------------ evaluations
    def evaluate(self, density: Array, time: float = 0.0, level: float = 0.0) -> Evaluation:
        """The energy at a density, with noise what drives the flow. Raises SolveError if one of them is not finite."""
        evaluation = self.energy.evaluate(density * self.grid.volume)
        if self.injection is not None:
            evaluation = self.injection.driven(density, evaluation, time, level)
        if not np.isfinite(evaluation.value + evaluation.potential.sum()):
            raise SolveError(f"non-finite energy ({evaluation.value}) or first variation")
        return evaluation

    def noise_level(self, density: Array, time: float) -> dict[str, float]:
        """The report of a new state: the level of its noise."""
        if self.injection is None:
            return {}
        plain = self.energy.evaluate(density * self.grid.volume) if self.noise.adapts else Evaluation(0.0, density, 0.0)
        return {"noise_level": self.injection.choose(density, plain, time)}

    def free_energy(self, density: Array, evaluation: Evaluation) -> tuple[float, float]:
        """(E + D∫ρ log ρ dV, bound on its round-off)."""
        if self.temperature == 0:
            return evaluation.value, evaluation.roundoff
        positive = np.where(density > 0, density, 1.0)
        terms = density * np.log(positive) * self.grid.volume
        noise = ROUNDOFF * self.temperature * float(np.abs(terms).sum())
        return evaluation.value + self.temperature * float(terms.sum()), evaluation.roundoff + noise

    def dissipation(self, density: Array, evaluation: Evaluation) -> float:
        """−dE/dt of the flow discrete in space: Σ F_f (ξ_c − ξ_o) over faces; its terms are ≥ 0 where ξ drives the flow.

        With a temperature Σ F_f (ξ + D log ρ)|_o^c for the fitted fluxes: exact for them, second order for the Strang splitting.
        A reaction adds κ∫(ξ − ξ̄)ξ dρ, or with a temperature κ∫(ξ − ξ̄)(ξ + D log ρ + D) dρ, and diffusion along factors
        −Σ_k D_k∫ξ ∂²ρ/∂θ_k², which may be negative.
        """
        rho, xi = density.reshape(self.view), np.ascontiguousarray(evaluation.first_variation)
        drive, potential, after = evaluation.potential.reshape(self.view), xi.reshape(self.view), np.empty(self.view)
        if self.temperature == 0:
            self.stage(after, None, rho, drive, 1.0, evaluation.diffusivity)
        else:
            sweep.stage(after, None, rho, drive, 1.0, self.tables, None, self.temperature)
            potential = potential + self.temperature * np.log(np.maximum(rho, np.finfo(float).tiny))
        falls = -float(sweep.moved_energy(potential, rho, after, self.tables))
        if evaluation.drive is None:
            falls = max(0.0, falls)
        return falls + self.reacted(density, xi) + self.spread(density, potential)

    def spread(self, density: Array, potential: Array) -> float:
        """What diffusion along factors adds to the dissipation."""
        weighted, total = potential.reshape(density.shape) * self.grid.volume, 0.0
        for axis, rate in enumerate(self.grid.diffusion):
            if rate > 0:
                change = np.tensordot(self.grid.factors[axis].laplacian(), density, axes=(1, axis))
                total -= rate * float(np.vdot(weighted, np.moveaxis(change, 0, axis)))
        return total

    def reacted(self, density: Array, xi: Array) -> float:
        """What the reaction adds to the dissipation."""
        if not self.reaction.acts:
            return 0.0
        masses = density * self.grid.volume
        if self.temperature == 0:
            return self.reaction.dissipation(xi, masses)
        entropy = 1 + np.log(np.maximum(density, np.finfo(float).tiny))
        return self.reaction.dissipation(xi, masses, xi + self.temperature * entropy)

    def stage(
        self, out: Array, base: Array | None, rho: Array, drive: Array, dt: float, diffusivity: Array | None = None
    ) -> "Swept":
        """One sweep, and beside it diffusion along the only factor."""
        swept = Swept(*sweep.stage(out, base, rho, drive, dt, self.tables, self.second_order, self.fitted_temperature))
        if diffusivity is None:
            return swept
        added, rate = diffusion(self.grid.factors[0], rho.ravel(), diffusivity)
        out += (dt if base is None else dt / 2) * added.reshape(rho.shape)
        moved = sweep.moved_energy(drive, rho, out, self.tables)
        return swept._replace(outflow=swept.outflow + rate / self.kappa, moved=float(moved), low=float(out.min()))

    def start(self, density: Array, time: float = 0.0, dt: float = np.inf) -> State:
        """The state of a density; without `dt` the first step is bound by positivity alone."""
        density = np.ascontiguousarray(density, dtype=float)
        reports = self.noise_level(density, time)
        evaluation = self.evaluate(density, time, reports.get("noise_level", 0.0))
        value, _ = self.free_energy(density, evaluation)
        if np.isinf(dt):
            rho, drive = density.reshape(self.view), evaluation.potential.reshape(self.view)
            dt = self.positivity_limit(self.stage(np.empty_like(rho), None, rho, drive, 0.0, evaluation.diffusivity).outflow)
        return State(
            density=density,
            time=time,
            dt=dt,
            evaluation=evaluation,
            free_energy=value,
            dissipation=self.dissipation(density, evaluation),
            density_min=float(density.min()),
            reports=reports,
        )

    # ------------------------------------------------------------------------------------------------------ steps
    def step(self, state: State, dt_max: float, interval: float = np.inf) -> State:
        """One accepted step of at most dt_max. Raises SolveError if no step is acceptable or a value is not finite."""
        curvature = self.curvature(state)
        proposed = min(state.dt, curvature.step_max) if state.arrays else self.curvature_limit(state.dt, curvature)
        state, dt = replace(state, arrays=curvature.arrays()), min(proposed, dt_max)
        for _ in range(ATTEMPTS):
            if self.splits:  # a dyadic ladder below the time between saves: the matrices of the semigroup are reused
                unit = interval if np.isfinite(interval) else 1.0
                dt = unit * 2.0 ** np.floor(np.log2(dt / unit * (1 + 1e-9)))
            new, dt_retry = self.attempt(state, dt)
            if new is not None:
                return new
            dt = min(dt_retry, dt / 2)
        raise SolveError(
            f"no acceptable step at time {state.time:.6g}: the energy or the density fails its check however small dt;"
            " try another scheme or a finer grid"
        )

    def curvature(self, state: State) -> Curvature:
        """The curvature that a state carries, measured anew where it is due."""
        before = Curvature.of_arrays(state.arrays) if state.arrays else None
        if before is not None and before.due > 0:
            return before
        linearised = self.linearised(state)
        return linearised.first() if before is None else linearised.renewed(before, state.dt)

    def linearised(self, state: State) -> Linearised:
        """The flow linearised around a state; with upwind fluxes of ψ and of −ψ, whose mean has the mean density at each face."""
        rho, level = state.density.reshape(self.view), state.reports.get("noise_level", 0.0)

        def moves(potential: Array) -> Array:
            psi, ahead, back = potential.reshape(self.view), np.empty(self.view), np.empty(self.view)
            sweep.stage(ahead, None, rho, psi, 1.0, self.tables, None, None)
            sweep.stage(back, None, rho, -psi, 1.0, self.tables, None, None)
            moved: Array = 0.5 * (back - ahead).reshape(potential.shape)
            if self.reaction.acts:
                moved -= state.density * self.reaction.growth(potential, state.density * self.grid.volume)
            return moved

        def variation(density: Array) -> Array:
            return self.evaluate(density, state.time, level).potential

        constants_rest = not self.reaction.acts or self.reaction.conserve
        return Linearised(moves, variation, state.density, self.grid.volume, constants_rest)

    def attempt(self, state: State, dt: float) -> tuple[State | None, float]:
        """(new state, _) or (None, the step to try next)."""
        begin, dt_reaction = self.react(state.density, state.evaluation, dt / 2, max(dt, state.dt))
        if begin is None or dt * ENERGY_SAFETY > dt_reaction:
            return None, dt_reaction
        start = self.diffuse(begin, dt / 2) if self.splits else begin
        level, end = state.reports.get("noise_level", 0.0), state.time + dt
        evaluation = state.evaluation if start is state.density else self.evaluate(start, state.time, level)
        rho0, drive0 = start.reshape(self.view), evaluation.potential.reshape(self.view)
        rho1, rho2 = np.empty_like(rho0), np.empty_like(rho0)

        # first stage: ρ₁, and the positivity limit
        first = self.stage(rho1, None, rho0, drive0, dt, evaluation.diffusivity)  # moved: −dt·D₀
        dt_positive = self.positivity_limit(first.outflow)
        if dt * self.scheme.cfl > dt_positive or first.low < 0:
            return None, dt_positive

        # second stage: ρ₂, the energy limit, and dt·D₁ from dt·L(ρ₁) = 2ρ₂ − ρ₀ − ρ₁
        if self.noise.acts and not self.noise.adapts:
            level = self.noise.at(end)
        middle = self.evaluate(rho1.reshape(start.shape), end, level)
        second = self.stage(rho2, rho0, rho1, middle.potential.reshape(self.view), dt, middle.diffusivity)
        dt_energy = self.energy_limit(dt, -first.moved, second.moved_before - first.moved, evaluation.roundoff)
        if dt * ENERGY_SAFETY > dt_energy:
            return None, dt_energy
        if second.low < 0:
            return None, dt / 2
        decrease = -(2 * second.moved + second.moved_before)
        dt_accurate = self.accuracy_limit(dt, -first.moved, decrease, max(2 * dt, state.dt))
        if dt_accurate < dt / 2:
            return None, dt_accurate

        density = rho2.reshape(start.shape)
        if self.splits:
            density = self.diffuse(density, dt / 2)
        if self.reaction.acts:
            last, _ = self.react(density, self.evaluate(density), dt / 2, np.inf)
            if last is None:
                return None, dt / 2
            density = last
        reports = self.noise_level(density, end)
        final = self.evaluate(density, end, reports.get("noise_level", 0.0))
        if self.reaction.acts:
            spread = 2 * abs(float(np.vdot(evaluation.first_variation, (start - begin) * self.grid.volume)))  # by diffusion
            drift = 0.5 * dt * self.change_of_rate(state.evaluation, final, density, abs(first.moved) + spread)
            dt_change = dt * float(np.sqrt(self.change_max / drift)) if drift > 0 else np.inf
            if dt_change < dt / 2:
                return None, dt_change
            dt_reaction = min(dt_reaction, dt_change, max(2 * dt, state.dt))
        value, roundoff = self.free_energy(density, final)
        rise, reacted = value - state.free_energy, self.reacted(start, evaluation.first_variation)
        if self.energy_decreases and rise > roundoff:
            return None, dt / 2
        dt_new, curvature = min(dt_positive, dt_energy, dt_accurate, dt_reaction), None
        if state.arrays:
            curvature = Curvature.of_arrays(state.arrays)
            dt_new = self.curvature_limit(dt_new, curvature)
        new = State(
            density=density,
            time=end,
            dt=float(dt_new),
            evaluation=final,
            free_energy=value,
            dissipation=-rise / dt if self.temperature > 0 else reacted - first.moved / dt,
            density_min=min(state.density_min, first.low, second.low, float(density.min()) if self.reaction.acts else np.inf),
            rise=max(state.rise, rise),
            rise_roundoff=max(state.rise_roundoff, roundoff),
            arrays={} if curvature is None else curvature.stepped().arrays(),
            reports=reports,
        )
        return new, dt

    def positivity_limit(self, outflow: float) -> float:
        """cfl/(κ·largest outflow rate)."""
        return self.scheme.cfl / (self.kappa * outflow) if outflow > 0 else np.inf

    def energy_limit(self, dt: float, decrease: float, curvature: float, roundoff: float) -> float:
        """0.9·2·Dissipation/D²E[ρ̇, ρ̇]; none where the decrease is round-off of the energy, and so is the quotient.

        There `curvature_limit` bounds the step. Fitted fluxes are driven by the entropy too and are only checked afterwards.
        """
        if self.fitted_temperature is not None or not decrease > roundoff:
            return np.inf
        return ENERGY_SAFETY * 2 * dt * decrease / curvature if curvature > 0 else np.inf

    def curvature_limit(self, dt: float, curvature: Curvature) -> float:
        """The step dt, or a smaller one for which no mode grows. With fitted fluxes the rates of diffusion and energy add up."""
        if self.fitted_temperature is None:
            return min(dt, curvature.step_max)
        rate = 1 / dt + 1 / curvature.step_max
        return 1 / rate if rate > 0 else np.inf

    def accuracy_limit(self, dt: float, decrease0: float, decrease1: float, largest: float) -> float:
        """The step for which ½dt|√D₁ − √D₀| meets the tolerance, at most `largest`. Fitted fluxes have dt = O(h²) anyway."""
        if self.fitted_temperature is not None:
            return np.inf
        drift = 0.5 * np.sqrt(dt) * abs(np.sqrt(max(decrease1, 0.0)) - np.sqrt(max(decrease0, 0.0)))
        return min(largest, dt * float(np.sqrt(self.tolerance / drift))) if drift > 0 else largest

    # --------------------------------------------------------------------------------------------------- reaction
    def react(self, density: Array, evaluation: Evaluation, time: float, proposed: float) -> tuple[Array | None, float]:
        """(density after the reaction for the given time or None, limit on dt), the time being half of dt."""
        if not self.reaction.acts:
            return density, np.inf
        volume, xi = self.grid.volume, evaluation.first_variation
        middle = self.reaction.exponential(density, volume, xi, time / 2)
        if middle is None:
            return None, time
        xi_middle = self.evaluate(middle).first_variation
        change = (middle - density) * volume
        decrease, curvature = -float(np.vdot(xi, change)), float(np.vdot(xi_middle - xi, change))
        after = self.reaction.exponential(density, volume, xi_middle, time)
        return after, self.reaction_limit(time, decrease, curvature, proposed) if after is not None else time

    def reaction_limit(self, time: float, decrease: float, curvature: float, proposed: float) -> float:
        """0.9·2·Dissipation/D²E[ρ̇, ρ̇] for the half step, which gets to its middle by an Euler step; as a limit on dt."""
        if not decrease > 0:
            return proposed
        return 2 * ENERGY_SAFETY * time * decrease / curvature if curvature > 0 else np.inf

    def change_of_rate(self, before: Evaluation, after: Evaluation, density: Array, carried: float) -> float:
        """κ·(root mean square of the change of ξ at the cells + mean of its change by the transport)."""
        masses = density * self.grid.volume
        change = self.reaction.centred(after.first_variation - before.first_variation, masses)
        mass = float(masses.sum())
        return self.reaction.rate * (float(np.sqrt(np.vdot(change**2, masses) / mass)) + carried / mass)

    # -------------------------------------------------------------------------------------------------- diffusion
    def make_heat_operators(self, time: float) -> list[Callable[[Array], Array] | None]:
        grid = self.grid
        rates = [self.split_temperature * float(m.max()) + d for m, d in zip(grid.mobility, grid.diffusion, strict=True)]
        return [
            f.heat_operator(time * rate) if f.moves and rate > 0 else None for f, rate in zip(grid.factors, rates, strict=True)
        ]

    def diffuse(self, density: Array, time: float) -> Array:
        """Heat semigroup of every factor for the given time; the mass is kept to the last bit that summation allows."""
        before = self.grid.integrate(density)
        for axis, operator in enumerate(self.heat_operators(time)):
            if operator is not None:
                moved = np.moveaxis(density, axis, 0)
                density = np.moveaxis(operator(moved.reshape(len(moved), -1)).reshape(moved.shape), 0, axis)
        density = np.ascontiguousarray(density)
        return density * (before / self.grid.integrate(density))
