"""The equation of one entropic JKO step, R(φ) = const (`gridflow.scheme.jko.scheme`), and how far a φ is from its solution."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from gridflow.energy.base import Evaluation
from gridflow.problem import Problem
from gridflow.scheme.jko.gibbs import GibbsKernel
from gridflow.space.factor import Array

LOG_FLOOR = -700.0
"""Of log p below its maximum: nothing above the smallest double is touched."""
HIDDEN_MASS = 0.01


@dataclass(frozen=True)
class Defect:
    """How far φ is from the solution: see `Equation.defect`. log_ka, log_kb, log_prox : of Ka, Kb, and of the prox of Kb."""

    density: Array
    masses: Array
    drive: Array
    residual: Array
    step: Array
    change: float
    log_ka: Array
    log_kb: Array
    log_prox: Array


class Equation:
    """R(φ) = φ + (2τ/ε)(ξ[p] + D log p) − B[p] = const, with p = a·K(q/(Ka)), φ = log a.

    sweeps : symmetric Sinkhorn sweeps of "debias", 0 for none; beta : B[p] = β log p, and what these sweeps add
    """

    def __init__(self, problem: Problem, kernel: GibbsKernel, epsilon: float, bias: str, sweeps: int) -> None:
        self.grid, self.energy, self.temperature = problem.grid, problem.bound, problem.flow.temperature
        self.kernel, self.epsilon = kernel, epsilon
        self.sweeps = sweeps if bias == "debias" else 0
        self.beta = 0.0 if bias == "plain" else 0.5

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
        """p(φ), R(φ) without its p-mean, the quasi-Newton step, and the change of p in L1 that it would make."""
        force, g = self.weights(tau)
        log_ka = self.kernel.apply_log(potential)
        log_kb = self.kernel.apply_log(log_before - log_ka)
        logs = potential + log_kb
        logs = np.maximum(logs, logs.max() + LOG_FLOOR)
        density = np.exp(logs)
        masses = density * self.grid.volume
        total = float(masses.sum())
        drive = force * self.energy.evaluate(masses).first_variation - self.correction(logs)
        residual = potential + drive + g * logs
        constant = np.vdot(masses, residual) / total
        residual -= constant
        _, sigma = self.kernel.modes
        step = -self.kernel.filter(residual, 1 / (1 + (g + self.beta - self.linearised_bias) * (1 - sigma**2)))
        step -= np.vdot(masses, step) / total
        change = 2 * float(np.vdot(masses, np.abs(step)))
        log_prox = (log_kb - drive + constant) / (1 + g)
        return Defect(density, masses, drive, residual, step, change, log_ka, log_kb, log_prox)

    def hides_mass(self, defect: Defect) -> bool:
        """Whether the prox, p·exp(−R/(1 + g)) without any floor, has mass where p has none."""
        top = float(defect.log_prox.max())
        mass = top + np.log(np.vdot(np.exp(defect.log_prox - top), self.grid.volume) / defect.masses.sum())
        return not bool(mass < HIDDEN_MASS)
