"""Entropic JKO steps: ρ_{k+1} = argmin_p W_ε(p, ρ_k)/(2τ) + E(p) + D∫p log p (S2 §8.1, §10.2; Peyré 2015).

W_ε(p, q) = min_π ⟨c, π⟩ + ε KL(π | V⊗V), c = dist²/M, V the cell volumes, τ the physical step (S2 §8.1 writes 2τ for it). With
a the scaling of the optimal plan and φ = log a, the marginal q is eliminated exactly (b = q/(Ka)) and

    p(φ) = a·K(q/(Ka)),     R(φ) = φ + (2τ/ε)(ξ[p] + D log p) − B[p] = const

is all that remains. Mass is exact and p > 0 for every φ.

Bias: a plain step (B = 0) diffuses with ε/(4τ). "compensate", B = ½ log p, takes that entropy out of the energy; what remains is
of second order in ε. A mode with eigenvalue σ of K is multiplied, in a free step, by σ (plain) or 2σ/(1 + σ²) (compensate).

R = const is solved by a quasi-Newton iteration in the eigenbasis of K, factor by factor,

    φ ← φ − C^{-1}R,   C = 1 + g(1 − σ²),   g = 2τD/ε − β,   β = 0 (plain) or ½ (compensate),

with Anderson mixing, which keeps the fixed point. It ends when the estimated change of p in L1 is below `tolerance` *and* no mass
is hidden: Σ pV exp(−R) sees cells where p has collapsed, which a p-weighted residual cannot. Where it diverges (steep densities
and high temperatures) two-sided over-relaxed scaling takes its place, globally convergent for a given ξ: first for a better
start, then for good, with ξ updated until R = const. If that does not end either, the step fails with a status; nothing is
silently accepted.

`algorithm = "scaling"` is S2 Algorithm 1 as printed: p ← prox^{KL}(Kb), a ← p/(Kb), b ← q/(Ka), stopped on ConstrEven and
ConstrOdd. It is the reference: slow, for plain steps.
"""

from dataclasses import dataclass, field
from typing import Annotated, ClassVar, Literal

import numpy as np
from msgspec import Meta, Struct
from scipy.optimize import root

from gridflow.energy.base import BoundEnergy
from gridflow.errors import InputError, SolveError
from gridflow.scheme.base import State
from gridflow.scheme.finite_volume import FiniteVolume, FiniteVolumeStepper
from gridflow.scheme.gibbs import GibbsKernel
from gridflow.space.factor import Array
from gridflow.space.grid import Grid

EPSILON_MIN = 0.5
"""ε below half of h² pins mass to the lattice: the kernel no longer reaches the next cell."""
LOG_FLOOR, LOG_EMPTY = -700.0, -1e4
"""Floor of log p below its maximum: nothing above the smallest double is touched; and the logarithm of an empty cell."""
DIVERGED = 1e3
"""Growth of the estimated change over its best value at which the quasi-Newton iteration is given up."""
NEAR = 1e-2
"""Error of the marginal at which over-relaxed scaling hands over to the quasi-Newton iteration."""
SWEEPS = 20_000
UPDATES = 200
"""Limits of the safeguard: sweeps for one ξ, and updates of ξ."""
HIDDEN_MASS = 0.01
WINDOW = 5
"""Anderson history; its coefficients are distrusted beyond a sum of 20."""
COEFFICIENTS_MAX = 20.0


class JKO(Struct, frozen=True, forbid_unknown_fields=True, tag="jko", tag_field="kind"):
    """Numbers of the scheme. tau : physical time step; epsilon : in units of the largest cell², dimensionless."""

    tau: Annotated[float, Meta(gt=0.0)]
    epsilon: Annotated[float, Meta(gt=0.0)] = 1.25
    bias: Literal["plain", "compensate"] = "compensate"
    algorithm: Literal["newton", "scaling"] = "newton"
    tolerance: Annotated[float, Meta(gt=1e-14, lt=1.0)] = 1e-8
    max_iterations: Annotated[int, Meta(ge=1)] = 1000

    label: ClassVar[str] = "entropic JKO"

    def init(self, grid: Grid, energy: BoundEnergy, temperature: float) -> "JKOStepper":
        """Bind to a grid and an energy. Raises InputError for a combination that this scheme cannot do."""
        return JKOStepper(self, grid, energy, temperature)


@dataclass
class Anderson:
    """Mixing of type II: the combination of the last steps that makes the residual smallest in a weighted norm."""

    points: list[Array] = field(default_factory=list)
    steps: list[Array] = field(default_factory=list)

    def next(self, point: Array, step: Array, weight: Array) -> Array:
        self.points, self.steps = [*self.points, point][-WINDOW - 1 :], [*self.steps, step][-WINDOW - 1 :]
        if len(self.points) == 1:
            return point + step
        changes = np.stack([(step - s).ravel() for s in self.steps[:-1]])
        moved = np.stack([(point - x).ravel() for x in self.points[:-1]])
        weighted = changes * weight.ravel()
        gram = weighted @ changes.T
        scale = 1 / np.sqrt(np.maximum(gram.diagonal(), 1e-300))
        gram = gram * scale[:, None] * scale + 1e-10 * np.eye(len(gram))
        coefficients = np.linalg.solve(gram, (weighted @ step.ravel()) * scale) * scale
        if not np.abs(coefficients).sum() < COEFFICIENTS_MAX:
            self.points, self.steps = [point], [step]
            return point + step
        return point + step - (coefficients @ (moved + changes)).reshape(point.shape)


@dataclass
class JKOStepper:
    """A scheme bound to a grid and an energy."""

    scheme: JKO
    grid: Grid
    energy: BoundEnergy
    temperature: float

    energy_decreases: ClassVar[bool] = False  # of E + W_ε/(2τ); E alone may rise by the entropic blur
    conserves_mass: ClassVar[bool] = True
    reports: ClassVar[tuple[str, ...]] = ("iterations", "constr_even", "constr_odd")

    def __post_init__(self) -> None:
        lines = [f for f in self.grid.factors if f.is_line]
        width = max((float(f.volumes.max()) for f in lines), default=1.0)
        if self.scheme.epsilon < EPSILON_MIN:
            raise InputError(
                f"scheme.epsilon = {self.scheme.epsilon} (in units of the largest cell², {width**2:.3g})",
                f"at least {EPSILON_MIN}",
                f"use {EPSILON_MIN} or more; 1 to 1.5 is best",
            )
        if self.scheme.algorithm == "scaling" and self.scheme.bias != "plain":
            raise InputError(
                f'scheme.bias = "{self.scheme.bias}" with scheme.algorithm = "scaling"', "plain steps, as the source has them",
                'use bias = "plain" or algorithm = "newton"',
            )  # fmt: skip
        self.epsilon = self.scheme.epsilon * width**2
        self.kernel = GibbsKernel(self.grid, self.epsilon)
        self.measure: FiniteVolumeStepper = FiniteVolume().init(self.grid, self.energy, self.temperature)

    def start(self, density: Array, time: float = 0.0, dt: float = np.inf) -> State:
        state = self.measure.start(density, time, dt=self.scheme.tau)
        return State(
            density=state.density, time=time, dt=min(dt, self.scheme.tau), evaluation=state.evaluation,
            free_energy=state.free_energy, dissipation=state.dissipation, density_min=state.density_min,
        )  # fmt: skip

    def dissipation(self, density: Array, xi: Array) -> float:
        return self.measure.dissipation(density, xi)

    # -------------------------------------------------------------------------------------------------------- one step
    def step(self, state: State, dt_max: float, interval: float = np.inf) -> State:
        """One step of length min(τ, dt_max). Raises SolveError if the iteration does not converge."""
        tau = min(self.scheme.tau, dt_max)
        with np.errstate(divide="ignore"):
            log_before = np.maximum(np.log(state.density), LOG_EMPTY)
        if self.scheme.algorithm == "scaling":
            solution = self.scaling(state, log_before, tau)
        else:
            solution = (
                self.newton(state, log_before, tau, self.first_guess(state, log_before, tau))
                or self.newton(state, log_before, tau, self.relaxed(log_before, state.evaluation.first_variation, tau, NEAR)[0])
                or self.safeguard(state, log_before, tau)
            )
        # exact up to round-off: kept from adding up
        density = solution.density * (self.grid.integrate(state.density) / self.grid.integrate(solution.density))
        evaluation = self.measure.evaluate(density)
        value, roundoff = self.measure.free_energy(density, evaluation)
        return State(
            density=density,
            time=state.time + tau,
            dt=self.scheme.tau,
            evaluation=evaluation,
            free_energy=value,
            dissipation=(state.free_energy - value) / tau,
            density_min=min(state.density_min, float(density.min())),
            rise=max(state.rise, value - state.free_energy),
            rise_roundoff=max(state.rise_roundoff, roundoff),
            arrays={"potential": solution.potential / tau},
            reports={
                "iterations": state.reports.get("iterations", 0) + solution.iterations,
                "constr_even": solution.even,
                "constr_odd": solution.odd,
            },
        )

    def plan(self, potential: Array, log_before: Array) -> Array:
        """log p(φ) = φ + log K(q/(Ka))."""
        logs = potential + self.kernel.apply_log(log_before - self.kernel.apply_log(potential))
        return np.maximum(logs, logs.max() + LOG_FLOOR)

    def weights(self, tau: float) -> tuple[float, float]:
        """(2τ/ε, g)."""
        force = 2 * tau / self.epsilon
        return force, force * self.temperature - (0.5 if self.scheme.bias == "compensate" else 0.0)

    def defect(self, potential: Array, log_before: Array, tau: float) -> "Defect":
        """p(φ), R(φ) without its p-mean, the quasi-Newton step, and the change of p in L1 that it would make."""
        force, g = self.weights(tau)
        logs = self.plan(potential, log_before)
        density = np.exp(logs)
        masses = density * self.grid.volume
        total = float(masses.sum())
        xi = self.energy.evaluate(masses).first_variation
        residual = potential + force * xi + g * logs
        residual -= np.vdot(masses, residual) / total
        sigma = self.kernel.modes[2]
        step = -self.kernel.filtered(residual, 1 / (1 + g * (1 - sigma**2)))
        step -= np.vdot(masses, step) / total
        change = 2 * float(np.vdot(masses, np.abs(step)))
        hidden = float(np.vdot(masses, np.exp(np.clip(-residual, -50, 50) / (1 + max(g, 0.0))))) / total - 1
        return Defect(density, masses, xi, residual, step, change, hidden)

    def solution(self, potential: Array, defect: "Defect", before: Array, iterations: int) -> "Solution":
        odd = self.norm(defect.density * np.expm1(np.clip(defect.residual, -50, 50))) / self.norm(before)
        return Solution(potential - (potential.max() + potential.min()) / 2, defect.density, iterations, 0.0, odd)

    def first_guess(self, state: State, log_before: Array, tau: float) -> Array:
        """φ of the last step; else R = 0 with p = q."""
        if "potential" in state.arrays:
            return state.arrays["potential"] * tau
        half = 0.5 if self.scheme.bias == "compensate" else 0.0
        logs = np.maximum(log_before, log_before.max() + LOG_FLOOR)
        return half * logs - self.weights(tau)[0] * state.evaluation.first_variation

    def newton(self, state: State, log_before: Array, tau: float, potential: Array) -> "Solution | None":
        """R(φ) = const by the quasi-Newton iteration; None where it diverges."""
        mixing, best = Anderson(), np.inf
        for iteration in range(1, self.scheme.max_iterations + 1):
            with np.errstate(over="ignore", invalid="ignore", divide="ignore"):  # a diverging iteration is told by its change
                defect = self.defect(potential, log_before, tau)
            if not np.isfinite(defect.change) or defect.change > DIVERGED * best:
                return None
            if defect.change < self.scheme.tolerance and defect.hidden < HIDDEN_MASS:
                return self.solution(potential, defect, state.density, iteration)
            if defect.change > 10 * best:
                mixing = Anderson()
            best = min(best, defect.change)
            potential = mixing.next(potential, defect.step, defect.masses)
        return None

    def safeguard(self, state: State, log_before: Array, tau: float) -> "Solution":
        """Over-relaxed scaling for a given ξ, ξ updated with the density. Raises SolveError."""
        xi, iterations, change = state.evaluation.first_variation, 0, np.inf
        for _ in range(UPDATES):
            potential, sweeps = self.relaxed(log_before, xi, tau, 0.1 * self.scheme.tolerance)
            iterations += sweeps
            defect = self.defect(potential, log_before, tau)
            change = defect.change
            if change < self.scheme.tolerance and defect.hidden < HIDDEN_MASS:
                return self.solution(potential, defect, state.density, iterations)
            if iterations > SWEEPS or iterations > self.scheme.max_iterations * UPDATES or not np.isfinite(change):
                break
            xi = defect.xi
        raise SolveError(
            f"the JKO step at time {state.time:.6g} did not converge in {iterations} sweeps (change of p {change:.1e},"
            f" tolerance {self.scheme.tolerance:.1e}); use a smaller scheme.tau"
        )

    def relaxed(self, log_before: Array, xi: Array, tau: float, tolerance: float) -> tuple[Array, int]:
        """φ for a fixed ξ: (1 + g)φ = −(2τ/ε)ξ − g log K e^u with u = log q − log K e^φ, both over-relaxed; and its sweeps."""
        force, g = self.weights(tau)
        share, fixed = g / (1 + g), -force * xi / (1 + g)
        omega = 2 / (1 + np.sqrt(1 - share))
        before, best = np.exp(log_before) * self.grid.volume, np.inf
        potential, u = fixed, log_before - self.kernel.apply_log(fixed)
        sweeps = 0
        while sweeps < self.scheme.max_iterations:
            sweeps += 1
            potential = (1 - omega) * potential + omega * (fixed - share * self.kernel.apply_log(u))
            exact = log_before - self.kernel.apply_log(potential)
            error = float(np.vdot(before, np.abs(np.expm1(np.clip(u - exact, -50, 50)))))
            if error < tolerance:
                break
            if error > 100 * best:  # too much relaxation
                omega, best = 1 + (omega - 1) / 2, error
            best = min(best, error)
            u = (1 - omega) * u + omega * exact
        return potential, sweeps

    def scaling(self, state: State, log_before: Array, tau: float) -> "Solution":
        """S2 Algorithm 1 in logarithms, from b = 1. Raises SolveError."""
        norm = self.norm(state.density)
        log_kb, odd = self.kernel.apply_log(np.zeros_like(log_before)), np.inf
        for iteration in range(1, self.scheme.max_iterations + 1):
            logs = self.prox(log_kb, tau)
            log_a = logs - log_kb
            log_ka = self.kernel.apply_log(log_a)
            log_b = log_before - log_ka
            log_kb = self.kernel.apply_log(log_b)
            density = np.exp(log_a + log_kb)
            even = self.norm(np.exp(log_b + log_ka) - state.density) / norm
            odd = self.norm(density - np.exp(logs)) / norm
            if max(even, odd) < self.scheme.tolerance:
                return Solution(log_a, density, iteration, even, odd)
        raise SolveError(
            f"the scaling iteration at time {state.time:.6g} did not converge in {iteration} iterations (ConstrOdd {odd:.1e});"
            ' use algorithm = "newton" or a larger scheme.epsilon'
        )

    def norm(self, density: Array) -> float:
        return float(np.sqrt(np.vdot(density**2, self.grid.volume)))

    def prox(self, log_z: Array, tau: float) -> Array:
        """log of prox^{KL}_{(2τ/ε)F}(z) = argmin_p KL(p|z) + (2τ/ε)(E(p) + D∫p log p), by scipy's Newton–Krylov method."""
        force = 2 * tau / self.epsilon

        def stationarity(logs: Array) -> Array:
            xi = self.energy.evaluate(np.exp(logs) * self.grid.volume).first_variation
            return logs - log_z + force * (xi + self.temperature * (logs + 1))

        start = (log_z - force * self.temperature) / (1 + force * self.temperature)
        solution = root(stationarity, start, method="krylov", options={"fatol": 0.01 * self.scheme.tolerance, "maxiter": 200})
        if not solution.success:
            raise SolveError(f"the prox of the energy did not converge: {solution.message}")
        return np.asarray(solution.x)


@dataclass(frozen=True)
class Solution:
    """φ, p, iterations, and the stopping quantities of S2: ‖b·Ka − q‖/‖q‖ and ‖a·Kb − p‖/‖q‖."""

    potential: Array
    density: Array
    iterations: int
    even: float
    odd: float


@dataclass(frozen=True)
class Defect:
    """How far φ is from the solution: see `JKOStepper.defect`."""

    density: Array
    masses: Array
    xi: Array
    residual: Array
    step: Array
    change: float
    hidden: float
