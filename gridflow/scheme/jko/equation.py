"""The equation of one entropic JKO step, R(φ) = const (`gridflow.scheme.jko.scheme`), and how far a φ is from its solution."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from gridflow.energy.base import Evaluation
from gridflow.problem import Problem
from gridflow.scheme.jko.gibbs import GibbsKernel
from gridflow.scheme.jko.passes import exponentials, residual_pass, step_pass
from gridflow.space.factor import Array

LOG_FLOOR = -700.0
"""Of log p below its maximum: nothing above the smallest double is touched."""
HIDDEN_MASS = 0.01


@dataclass(frozen=True, eq=False)
class Defect:
    """How far φ is from the solution: see `Equation.defect`. log_ka, log_kb : of Ka and Kb; constant : of R(φ), taken out of it.

    change : estimate of what the step changes p by, in L1
    """

    masses: Array
    drive: Array
    step: Array
    change: float
    log_ka: Array
    log_kb: Array
    constant: float
    g: float

    @property
    def log_prox(self) -> Array:
        """Of the prox of Kb."""
        return (self.log_kb - self.drive + self.constant) / (1 + self.g)


class Equation:
    """R(φ) = φ + (2τ/ε)(ξ[p] + D log p) − B[p] = const, with p = a·K(q/(Ka)), φ = log a.

    sweeps : symmetric Sinkhorn sweeps of "debias", 0 for none; beta : B[p] = β log p, and what these sweeps add
    """

    def __init__(self, problem: Problem, kernel: GibbsKernel, epsilon: float, bias: str, sweeps: int) -> None:
        self.grid, self.energy, self.temperature = problem.grid, problem.bound, problem.flow.temperature
        self.kernel, self.epsilon = kernel, epsilon
        self.sweeps = sweeps if bias == "debias" else 0
        self.beta = 0.0 if bias == "plain" else 0.5
        self.volume = self.grid.volume.ravel()
        self.symbols: dict[float, Array | None] = {}
        """Of C⁻¹, of the last τ; None where it is one."""

    @cached_property
    def linearised_bias(self) -> Array | float:
        """Symbol of B in log p: β_k."""
        _, sigma = self.kernel.modes
        symbol: Array | float = self.beta
        for _ in range(self.sweeps):
            symbol = 0.5 * (symbol + 1 - sigma * symbol)
        return symbol

    def weights(self, tau: float) -> tuple[float, float]:
        """(2τ/ε, g = 2τD/ε − β)."""
        force = 2 * tau / self.epsilon
        return force, force * self.temperature - self.beta

    def correction(self, logs: Array) -> Array | float:
        """B[p] − β log p."""
        if self.sweeps == 0:
            return 0.0
        log_d = 0.5 * logs
        for _ in range(self.sweeps):
            log_d = 0.5 * (log_d + logs - self.kernel.apply_log(log_d))
        return log_d - 0.5 * logs

    def potential_at_rest(self, density: Array, evaluation: Evaluation, tau: float) -> Array:
        """φ of R = const with p = q: the potential of the last step, if its length was the same; without its constant."""
        force, g = self.weights(tau)
        with np.errstate(divide="ignore"):
            logs = np.log(density)
        logs = np.maximum(logs, logs.max() + LOG_FLOOR)
        potential = self.correction(logs) - g * logs - force * evaluation.first_variation
        return potential - (potential.max() + potential.min()) / 2

    def defect(self, potential: Array, log_before: Array, tau: float) -> Defect:
        """p(φ), R(φ), the quasi-Newton step without its p-mean, and the change of p in L1 that it would make."""
        force, g = self.weights(tau)
        log_ka = self.kernel.apply_log(potential)
        log_kb = self.kernel.apply_log(log_before - log_ka)
        logs, masses, residual = potential + log_kb, np.empty(potential.shape), np.empty(potential.shape)
        exponentials(logs.ravel(), float(logs.max()) + LOG_FLOOR, self.volume, masses.ravel())
        total = float(masses.sum())
        drive = force * self.energy.evaluate(masses).first_variation
        if self.sweeps:
            drive -= self.correction(logs)
        flat = potential.ravel(), drive.ravel(), logs.ravel()
        constant = residual_pass(*flat, g, masses.ravel(), total, residual.ravel())
        step = np.empty(potential.shape)
        change = 2 * step_pass(self.preconditioned(residual, tau).ravel(), masses.ravel(), total, step.ravel())
        return Defect(masses, drive, step, change, log_ka, log_kb, constant, g)

    def preconditioned(self, residual: Array, tau: float) -> Array:
        """C⁻¹R."""
        if tau not in self.symbols:
            _, sigma = self.kernel.modes
            g = self.weights(tau)[1]
            symbol = 1 / (1 + (g + self.beta - self.linearised_bias) * (1 - sigma**2))
            self.symbols = {tau: None if np.ptp(symbol) == 0 else symbol.astype(np.float32)}
        symbol = self.symbols[tau]
        return residual if symbol is None else self.kernel.filter(residual, symbol)

    def change_by_flux(self, defect: Defect) -> float:
        """The change of p in L1 that a smooth step makes, Σ|(ε/2) div(p M grad step)|; infinite on surfaces.

        p(φ) changes by p·(1 − TT*)·step, where 1 − TT* ≈ −(ε/2)(Δ + ∇log p·∇) is small for steps that are smooth on the scale √ε,
        and never larger than one: `defect.change` takes it as one.
        """
        if not all(f.one_dimensional or not f.moves for f in self.grid.factors):
            return np.inf
        divergence = np.zeros_like(defect.step)
        for axis, (factor, mobility) in enumerate(zip(self.grid.factors, self.grid.mobility, strict=True)):
            if not factor.moves:
                continue
            shape = [-1 if k == axis else 1 for k in range(divergence.ndim)]
            density = defect.masses / factor.volumes.reshape(shape)
            left, right = np.arange(factor.size), (np.arange(factor.size) + 1) % factor.size
            rate = (factor.areas / factor.distances)[1:].reshape(shape)
            flux = (density.take(right, axis) + density) * (defect.step.take(right, axis) - defect.step)
            flux *= self.epsilon / 4 * mobility * rate
            divergence += flux
            divergence -= flux.take(left - 1, axis)
        return float(np.abs(divergence).sum())

    def hides_mass(self, defect: Defect) -> bool:
        """Whether the prox, p·exp(−R/(1 + g)) without any floor, has mass where p has none."""
        logs = defect.log_prox
        top = float(logs.max())
        mass = top + np.log(np.vdot(np.exp(logs - top), self.grid.volume) / defect.masses.sum())
        return not bool(mass < HIDDEN_MASS)
