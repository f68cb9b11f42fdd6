"""S2 Algorithm 1 as printed, in logarithms: scalings by the Gibbs kernel, and the prox of the energy that it needs."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from gridflow.energy.base import BoundEnergy
from gridflow.errors import SolveError
from gridflow.scheme.jko.gibbs import GibbsKernel
from gridflow.space.factor import Array

PROX_STEPS, SHARE_MIN = 200, 1e-6
"""Newton steps of a prox, and the shortest part of one."""
CG_STEPS, CG_TOLERANCE, DIFFERENCE = 100, 1e-4, 1e-4
"""Conjugate gradients for a Newton step: their number, the part of the slope that they may leave, and the step of differences
of ξ as a part of the mass, which for energies that are not quadratic leaves as much of the slope."""


@dataclass(frozen=True)
class Scaled:
    """log a, p, iterations, the stopping quantities ConstrEven and ConstrOdd, and whether both are below the tolerance."""

    log_a: Array
    density: Array
    iterations: int
    even: float
    odd: float
    converged: bool


def algorithm_1(
    kernel: GibbsKernel, volume: Array, log_before: Array, prox: Callable[[Array], Array], tolerance: float, iterations: int
) -> Scaled:
    """p ← prox^{KL}(Kb), a ← p/(Kb), b ← q/(Ka), from b = 1, until ConstrEven and ConstrOdd are below the tolerance.

    ConstrEven = ‖b·Ka − q‖/‖q‖ stands before the update of b (line 7; behind it, it is 0), ConstrOdd = ‖a·Kb − p‖/‖q‖ behind
    it (line 9). The source stops by ConstrOdd alone. prox : log z → log argmin_p KL(p|z) + (2τ/ε)E(p).
    """

    def norm(density: Array) -> float:
        return float(np.sqrt(np.vdot(density**2, volume)))

    before, log_b = np.exp(log_before), np.zeros_like(log_before)
    log_kb = kernel.apply_log(log_b)
    for iteration in range(1, iterations + 1):  # noqa: B007
        logs = prox(log_kb)
        log_a = logs - log_kb
        log_ka = kernel.apply_log(log_a)
        with np.errstate(over="ignore"):  # far from the solution
            even = norm(np.exp(log_b + log_ka) - before) / norm(before)
        log_b = log_before - log_ka
        log_kb = kernel.apply_log(log_b)
        density = np.exp(log_a + log_kb)
        odd = norm(density - np.exp(logs)) / norm(before)
        converged = max(even, odd) < tolerance
        if converged:
            break
    return Scaled(log_a, density, iteration, even, odd, converged)


def kl_prox(energy: BoundEnergy, volume: Array, force: float, temperature: float, tolerance: float) -> Callable[[Array], Array]:
    """log z → log argmin_p J(p), J = KL(p|z) + force·(E + D∫p log p), by Newton's method with a line search on J.

    For l = log p the gradient of J over pV is F = (1 + force·D) l − log z + force·(ξ + D), and the Newton step d solves
    (1 + force·D) d + force·E''[pV d] = −F. For convex energies this is symmetric and positive in the inner product with weights
    pV, and d leads downhill. It is found by conjugate gradients, which end after as many products as E'' has dimensions, with E''
    from differences of ξ. Each call starts from the ξ of the last one. The prox raises SolveError if it does not converge.
    """
    stiffness, xi = 1 + force * temperature, np.zeros(())

    def prox(log_z: Array) -> Array:
        nonlocal xi
        logs = (log_z - force * (xi + temperature)) / stiffness
        for _ in range(PROX_STEPS):
            masses = np.exp(logs) * volume
            evaluation = energy.evaluate(masses)
            xi = evaluation.first_variation
            slope = stiffness * logs - log_z + force * (xi + temperature)
            size = float(np.abs(slope).max())
            roundoff = 16 * np.finfo(float).eps * float(np.abs(log_z).max() + np.abs(force * xi).max())
            if size < max(0.01 * tolerance, roundoff):
                return logs
            direction = newton_direction(energy, masses, xi, slope, force, stiffness)
            value = value_of(logs, masses, evaluation.value, log_z)
            promised, share = float(np.vdot(masses * slope, direction)), 1.0
            while share > SHARE_MIN:
                trial = logs + share * direction
                with np.errstate(over="ignore", invalid="ignore"):
                    new = np.exp(trial) * volume
                    step = energy.evaluate(new)
                    gain = value_of(trial, new, step.value, log_z) - value
                    left = np.abs(stiffness * trial - log_z + force * (step.first_variation + temperature)).max()
                if gain <= 1e-4 * share * promised or left < 0.5 * size:  # the second where J is all round-off
                    break
                share /= 2
            else:
                if size < tolerance:  # round-off of ξ ends the descent: cells that are a hundred times too heavy have more of it
                    return logs
                break
            logs = trial
        raise SolveError(f'the prox of the energy did not converge (slope {size:.1e}); use algorithm = "newton"')

    def value_of(logs: Array, masses: Array, energy_value: float, log_z: Array) -> float:
        return float(np.vdot(masses, stiffness * logs - log_z - 1)) + force * energy_value

    return prox


def newton_direction(energy: BoundEnergy, masses: Array, xi: Array, slope: Array, force: float, stiffness: float) -> Array:
    """d of stiffness·d + force·E''[masses·d] = −slope, by conjugate gradients with the weights `masses`."""

    def bent(direction: Array) -> Array:  # force·E''[masses·d]; exact for quadratic energies
        moved = masses * direction
        size = float(np.abs(moved).sum())
        if size == 0:
            return np.zeros_like(direction)
        share = DIFFERENCE * float(masses.sum()) / size
        return (energy.evaluate(masses + share * moved).first_variation - xi) * (force / share)

    direction, residual = np.zeros_like(slope), -slope
    search, square = residual, float(np.vdot(masses, residual**2))
    target = CG_TOLERANCE * np.abs(slope).max()  # in all cells, those without mass too
    for _ in range(CG_STEPS):
        product = stiffness * search + bent(search)
        bend = float(np.vdot(masses * search, product))
        if not bend > 0:  # cells with mass are solved
            break
        length = square / bend
        direction, residual = direction + length * search, residual - length * product
        if np.abs(residual).max() <= target:
            break
        previous, square = square, float(np.vdot(masses, residual**2))
        search = residual + square / previous * search
    # cells without mass do not bear on E''[masses·d]: the equation gives them at once
    return np.where(masses > 0, direction, -(slope + bent(direction)) / stiffness)
