"""The equation of one entropic JKO step, R(φ) = const (`gridflow.scheme.jko.scheme`), and how far a φ is from its solution."""

from copy import copy
from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import Self

import numpy as np

from gridflow.energy.base import Evaluation
from gridflow.problem import Problem
from gridflow.scheme.jko.gibbs import GibbsKernel
from gridflow.scheme.jko.passes import exponentials, flux_pass, residual_pass, residual_sum, step_pass, weighted_product
from gridflow.space.factor import Array
from gridflow.space.grid import Grid

LOG_FLOOR = -700.0
"""Of log p below its maximum: nothing above the smallest double is touched."""
HIDDEN_MASS = 0.01
SINGLE_MAX = 1e5
"""Residuals larger than so many times those where p has mass are not filtered in single precision: round-off would be felt."""


@dataclass(frozen=True, eq=False)
class Marginal:
    """p of a φ: masses pV; logs : log p, not below its maximum by more than LOG_FLOOR; log_kb : of Kb."""

    masses: Array
    logs: Array
    log_kb: Array


@dataclass(frozen=True, eq=False)
class Defect:
    """How far φ is from the solution: see `Equation.defect`. log_kb : of Kb; constant : of R(φ), taken out of it.

    change : estimate of what the step changes p by, in L1
    """

    masses: Array
    drive: Array
    step: Array
    change: float
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
        self.grid, self.energy, self.temperature = problem.grid, problem.bound, problem.temperature
        self.kernel, self.epsilon = kernel, epsilon
        self.sweeps = sweeps if bias == "debias" else 0
        self.beta = 0.0 if bias == "plain" else 0.5
        self.volume = self.grid.volume.ravel()
        self.symbols: dict[float, Array | None] = {}
        """Of C⁻¹, of the last τ; None where it is one."""

    def at(self, temperature: float) -> Self:
        """The same at another temperature."""
        other = copy(self)
        other.temperature, other.symbols = temperature, {}
        return other

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
        half = 0.5 * logs
        log_d = half
        for _ in range(self.sweeps):
            log_kd = self.kernel.apply_log(log_d)
            np.subtract(logs, log_kd, out=log_kd)
            log_kd += log_d
            log_kd *= 0.5
            log_d = log_kd
        log_d -= half
        return log_d

    def potential_at_rest(self, density: Array, evaluation: Evaluation, tau: float) -> Array:
        """φ of R = const with p = q: the potential of the last step, if its length was the same; without its constant."""
        force, g = self.weights(tau)
        with np.errstate(divide="ignore"):
            logs = np.log(density)
        logs = np.maximum(logs, self.grid.largest(logs.max()) + LOG_FLOOR)
        potential = self.correction(logs) - g * logs - force * evaluation.first_variation
        return potential - middle(self.grid, potential)

    def defect(self, potential: Array, log_before: Array, tau: float) -> Defect:
        """p(φ), R(φ), the quasi-Newton step without its p-mean, and the change of p in L1 that it would make."""
        force, g = self.weights(tau)
        found, symbol = self.marginal(potential, log_before), self.symbol(tau)
        logs, masses, grid = found.logs, found.masses, self.grid
        residual, step = np.empty(potential.shape), np.empty(potential.shape)
        total = grid.sum(masses)
        drive = force * self.energy.evaluate(masses).first_variation
        if self.sweeps:
            drive -= self.correction(logs)
        flat, weight = (potential.ravel(), drive.ravel(), logs.ravel(), g, masses.ravel()), masses.ravel()
        constant = float(grid.total(residual_sum(*flat))) / total
        felt, square = grid.total(np.array(residual_pass(*flat, constant, residual.ravel()))).tolist()
        if symbol is not None:
            single = self.kernel.single and (square / grid.whole.size) ** 0.5 < SINGLE_MAX * (felt / total)
            residual = self.kernel.filter(residual.astype(np.float32) if single else residual, symbol)
        filtered = residual.ravel()
        mean = float(grid.total(weighted_product(weight, filtered, filtered, False))) / total
        change = 2 * float(grid.total(step_pass(filtered, weight, mean, step.ravel())))
        return Defect(masses, drive, step, change, found.log_kb, constant, g)

    def marginal(self, potential: Array, log_before: Array) -> Marginal:
        """p(φ)."""
        log_kb = self.kernel.after_division(log_before, potential)  # b = q/(Ka)
        logs, masses = potential + log_kb, np.empty(potential.shape)
        exponentials(logs.ravel(), float(self.grid.largest(logs.max())) + LOG_FLOOR, self.volume, masses.ravel())
        return Marginal(masses, logs, log_kb)

    def symbol(self, tau: float) -> Array | None:
        """1/C; None where it is one."""
        if tau not in self.symbols:
            g, symbol = self.weights(tau)[1], None
            if g != 0 or self.sweeps > 0:  # else no modes are needed
                _, sigma = self.kernel.modes
                precision = np.float32 if self.kernel.single else float
                symbol = (1 / (1 + (g + self.beta - self.linearised_bias) * (1 - sigma**2))).astype(precision)
            self.symbols = {tau: symbol}
        return self.symbols[tau]

    def change_by_flux(self, defect: Defect) -> float:
        """The change of p in L1 that a smooth step makes, Σ|(ε/2) div(p M grad step)|; infinite on surfaces.

        p(φ) changes by p·(1 − TT*)·step, where 1 − TT* ≈ −(ε/2)(Δ + ∇log p·∇) is small for steps that are smooth on the scale √ε,
        and never larger than one: `defect.change` takes it as one.
        """
        if self.faces is None:
            return np.inf
        step, masses = self.grid.pad(defect.step), self.grid.pad(defect.masses)
        divergence = np.zeros_like(step)
        for shape, *face in self.faces:
            flux_pass(divergence.reshape(shape), step.reshape(shape), masses.reshape(shape), *face)
        return self.epsilon / 2 * self.grid.padded.sum(np.abs(divergence))

    @cached_property
    def faces(self) -> list[tuple[tuple[int, int, int], Array, Array, Array]] | None:
        """What `flux_pass` takes for every line, behind the shape of its fields; None with surfaces."""
        grid, faces = self.grid.padded, []
        if any(f.moves and not f.one_dimensional for f in grid.factors):
            return None
        for axis, (factor, mobility) in enumerate(zip(grid.factors, grid.mobility, strict=True)):
            if factor.moves:
                before = grid.shape[:axis]
                shape = prod(before), factor.size, prod(grid.shape[axis + 1 :])
                values = np.broadcast_to(mobility.reshape(mobility.shape[:axis]), before)  # labels come first in memory
                rate = (factor.areas / factor.distances)[1:]
                faces.append((shape, rate, 1 / factor.volumes, np.array(values, dtype=float).ravel()))
        return faces

    def hides_mass(self, defect: Defect) -> bool:
        """Whether the prox, p·exp(−R/(1 + g)) without any floor, has mass where p has none."""
        logs = defect.log_prox
        top = float(self.grid.largest(logs.max()))
        logs -= top
        masses = np.empty(logs.shape)
        exponentials(logs.ravel(), -np.inf, self.volume, masses.ravel())
        seen, known = self.grid.total(np.array([masses.sum(), defect.masses.sum()]))
        return not bool(top + np.log(seen / known) < HIDDEN_MASS)


def middle(grid: Grid, potential: Array) -> float:
    """Between the largest and the smallest value."""
    return float((grid.largest(potential.max()) - grid.largest(-potential.min())) / 2)
