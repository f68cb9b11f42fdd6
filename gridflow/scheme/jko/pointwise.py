"""Steps of energies with a part ∫U(ρ) dV that acts cell by cell: internal energies, and densities with an upper bound.

    ρ_{k+1} = argmin_p W_ε(p, ρ_k)/(2τ) + ∫ξ dp + ∫U(p) + D∫p log p

for a given first variation ξ of the other parts. With p = a·Kb the step is a fixed point of scaling (Peyré 2015, SIAM J. Imaging
Sci. 8, 2323; Chizat, Peyré, Schmitzer and Vialard 2018, Math. Comp. 87, 2563),

    p ← prox(Kb) = argmin_p KL(p | Kb) + (2τ/ε)(ξp + U(p) + D p log p) − β p log p,    a ← p/(Kb),    b ← q/(Ka),

which converges for every start, β what the bias takes out of the entropy (`gridflow.scheme.jko.scheme`). The prox is one equation
per cell: l = log p solves

    (1 + g) l + (2τ/ε) U'(e^l) = log Kb − (2τ/ε)ξ,    g = 2τD/ε − β

unless e^l is above the bound of the density, at which it then stays (congestion; Maury, Roudneff-Chupin and Santambrogio 2010,
Math. Models Methods Appl. Sci. 20, 1787).

Near the solution a sweep multiplies the error by γ·S, S the symmetric product of K and its adjoint, 0 ≤ S ≤ 1, γ = g'/(1 + g'),
g' = g + (2τ/ε)pU''(p); γ is one where cells are full: there pressure spreads a kernel's width per sweep, and some hundred cells
side by side would need thousands of them. Where compensation makes γ negative, the change of φ is multiplied by 1 + g' ≥ ½. The
changes that are left then fall by factors 1 − δ between zero and one, and are accelerated by the momentum

    φ ← φ + (1 + √β)²·(change) + β·(last move of φ),     √β = (1 − √δ)/(1 + √δ)

(heavy ball; Polyak 1964), by √β per sweep. δ is measured on the way: with a smaller β the slowest change falls by the λ with
λ² − (1 + β − (1 + √β)² δ)λ + β = 0; momentum is halved where changes grow, for sweeps without it always converge. In full cells
the error of p is the change itself, and is what the tolerance bounds.

Where ξ depends on p, it is updated from p until it no longer changes, mixed with earlier ones.
"""

from dataclasses import dataclass

import numpy as np

from gridflow.energy.base import BoundEnergy, Law
from gridflow.energy.internal import BoundInternal
from gridflow.energy.sum import BoundSum
from gridflow.errors import SolveError
from gridflow.scheme.base import State
from gridflow.scheme.jko.anderson import Anderson
from gridflow.scheme.jko.equation import LOG_FLOOR, Equation, Marginal
from gridflow.scheme.jko.gibbs import GibbsKernel
from gridflow.scheme.jko.newton import Solution, extrapolated
from gridflow.space.factor import Array

PROX_STEPS, NEWTON_STEPS, PROX_TOLERANCE = 120, 6, 1e-13
"""Steps of the prox, those of Newton's method alone, and the relative change of log p at which they end."""
LOWEST, HIGHEST = -1e6, 700.0
"""Bounds of log p: emptier cells do not matter, and there are no fuller ones."""
WINDOW = 8
"""Sweeps over which the contraction is measured, at least."""
DELTA_MIN = 1e-8
GROWTH = 10.0
"""Of the error over its best, at which momentum is taken back."""
UPDATES, ATTEMPTS = 100, 5
"""Of ξ; of max_iterations each, to solve a step for one ξ."""


@dataclass(frozen=True)
class Proximal:
    """The prox. law : U; force : 2τ/ε; stiffness : 1 + g."""

    law: Law
    force: float
    stiffness: float

    def logs(self, right: Array, start: Array) -> Array:
        """l with (1 + g) l + force·U'(e^l) = right, or the logarithm of the bound where that is smaller.

        Newton's method from `start`; where a few steps are not enough, every other one halves the bracket that has been found.
        """
        top = np.log(self.law.largest)
        logs, low, high = np.clip(start, LOWEST, min(top, HIGHEST)), np.full(right.shape, LOWEST), np.full(right.shape, HIGHEST)
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            for step in range(PROX_STEPS):
                slope = self.stiffness * logs + self.force * self.law.derivative(np.exp(logs)) - right
                low, high = np.where(slope <= 0, logs, low), np.where(slope >= 0, logs, high)
                rate = self.rate(logs)
                new = logs - slope / rate
                newton = (new >= low) & (new <= high) & (rate < np.inf)
                if step > NEWTON_STEPS and step % 2 == 1:
                    newton &= np.abs(new - logs) <= PROX_TOLERANCE * (1 + np.abs(logs))
                new = np.where(newton, new, (low + high) / 2)
                done = bool((np.abs(new - logs) <= PROX_TOLERANCE * (1 + np.abs(logs))).all())
                logs = new
                if done:
                    break
        return np.minimum(logs, top)

    def rate(self, logs: Array) -> Array:
        """1 + g' = 1 + g + force·pU''(p)."""
        density = np.exp(logs)
        return self.stiffness + self.force * density * self.law.second(density)

    def share(self, logs: Array, careful: bool) -> Array:
        """Of the change of φ that is made: 1 + g' where that is below one; all where the cell is full, unless `careful`.

        Cells at the edge of full ones may swing between the two; with a share of 1 + g at most everywhere, none does.
        """
        share = np.minimum(self.rate(logs), 1.0)
        return np.minimum(share, self.stiffness) if careful else np.where(logs < np.log(self.law.largest), share, 1.0)


@dataclass
class Sweeps:
    """Scaling with momentum for one drive, (2τ/ε)ξ, and its state: φ, log p, √β."""

    kernel: GibbsKernel
    proximal: Proximal
    volume: Array
    log_before: Array
    drive: Array
    potential: Array
    logs: Array
    root: float = 0.0
    careful: bool = False

    def solve(self, tolerance: float, sweeps: int) -> tuple[int, bool]:
        """Sweep until the prox changes p by less than the tolerance in L1. Returns (sweeps, whether it does)."""
        best, kept, first, since = np.inf, self.potential, np.inf, 0
        move = np.zeros(self.potential.shape)
        for sweep in range(1, sweeps + 1):
            log_z = self.kernel.apply_log(self.log_before - self.kernel.apply_log(self.potential))
            self.logs = self.proximal.logs(log_z - self.drive, self.logs)
            change = self.logs - log_z - self.potential
            with np.errstate(over="ignore"):  # far from the solution
                gap = np.exp(self.logs) - np.exp(self.potential + log_z)
            if float(np.abs(gap * self.volume).sum()) < tolerance:
                return sweep, True
            error, since = float(np.abs(change).max()), since + 1
            if error < best:
                best, kept = error, self.potential
            if not error < GROWTH * best:
                self.root, self.potential, move, since, first = self.root / 2, kept, 0 * move, 0, best
                continue
            if since >= WINDOW + 1 / (1 - self.root):
                self.measure(error, first, since)
                since = 0
            if since == 0 or first == np.inf:
                first, since = error, 0
            change *= (1 + self.root) ** 2 * self.proximal.share(self.logs, self.careful)
            move = change + self.root**2 * move
            self.potential = self.potential + move
        self.potential = kept
        return sweeps, False

    def measure(self, error: float, first: float, since: int) -> None:
        """Set √β by the contraction from one error to another so many sweeps later."""
        contraction, root = (error / first) ** (1 / since), self.root
        if contraction >= 1:
            self.root, self.careful = root / 2, True
        elif contraction > root:
            delta = max((1 + root**2 - contraction - root**2 / contraction) / (1 + root) ** 2, DELTA_MIN)
            self.root = max(root, (1 - np.sqrt(delta)) / (1 + np.sqrt(delta)))


@dataclass
class PointwiseSolver:
    """Steps of an energy with a law U.

    others : its parts that are no internal energies; tolerance : L1 of p
    continues : go on from the last iterate where max_iterations do not reach it
    """

    equation: Equation
    law: Law
    others: list[BoundEnergy]
    tolerance: float
    max_iterations: int
    continues: bool

    def solve(self, state: State, log_before: Array, tau: float) -> Solution:
        """φ and p of one step. Raises SolveError."""
        sweeps, mixing, iterations = self.start(state, log_before, tau), Anderson(self.equation.grid.total), 0
        for _ in range(UPDATES):
            for _ in range(1 if self.continues else ATTEMPTS):
                more, met = sweeps.solve(self.tolerance, self.max_iterations)
                iterations += more
                if met:
                    break
                sweeps.root = 0.0
            found = self.equation.marginal(sweeps.potential, log_before)
            if self.fixed or not met:
                break
            change = self.drive(found, tau) - sweeps.drive
            change -= np.vdot(change, found.masses) / found.masses.sum()
            met = float(np.vdot(np.abs(change), found.masses)) < self.tolerance
            if met:
                break
            sweeps.drive = mixing.next(sweeps.drive, change, found.masses)
        if not met and not self.continues:
            raise SolveError(
                f"the JKO step at time {state.time:.6g} did not converge in {iterations} sweeps (tolerance {self.tolerance:.1e});"
                ' raise scheme.max_iterations, use a smaller scheme.tau, or on_unconverged = "continue"'
            )
        return Solution(sweeps.potential, found.masses / self.equation.grid.volume, iterations, met)

    def start(self, state: State, log_before: Array, tau: float) -> Sweeps:
        """Sweeps from the φ that the last steps extrapolate to, or from that of a step of another length; else from b = q."""
        logs = np.maximum(log_before, log_before.max() + LOG_FLOOR)
        drive = self.drive(Marginal(state.density * self.equation.grid.volume, logs, logs), tau)
        kernel, proximal, volume = self.equation.kernel, self.proximal(tau), self.equation.grid.volume
        if "differences" in state.arrays:
            ratio = tau / float(state.arrays["tau"][0])
            if ratio == 1:
                start = extrapolated(state.arrays["differences"], state.density, self.equation.grid)
            else:  # φ − β log p is proportional to the step
                entropy = self.equation.beta * logs
                start = ratio * (state.arrays["differences"][0] - entropy) + entropy
            return Sweeps(kernel, proximal, volume, log_before, drive, start, logs)
        log_kb = kernel.apply_log(log_before)
        logs = proximal.logs(log_kb - drive, logs)
        return Sweeps(kernel, proximal, volume, log_before, drive, logs - log_kb, logs)

    def proximal(self, tau: float) -> Proximal:
        force, g = self.equation.weights(tau)
        return Proximal(self.law, force, 1 + g)

    @property
    def fixed(self) -> bool:
        """Whether the drive is the same for all p."""
        return all(part.linear and part.local is None for part in self.others) and self.equation.sweeps == 0

    def drive(self, found: Marginal, tau: float) -> Array:
        """(2τ/ε)ξ of the parts that do not act cell by cell, and what debiasing adds."""
        force, _ = self.equation.weights(tau)
        drive = np.zeros(found.masses.shape)
        for part in self.others:
            xi = part.evaluate(found.masses).first_variation
            drive += force * (xi if part.local is None else xi - part.local.derivative(np.exp(found.logs)))
        return drive - self.equation.correction(found.logs)

    def next_iterate(self, potential: Array, log_before: Array, tau: float) -> tuple[Array, Array, Array]:
        """(log p of a φ; φ and log p after one iteration of scaling from there, for ξ at p)."""
        found = self.equation.marginal(potential, log_before)
        log_kb = found.log_kb
        logs = self.proximal(tau).logs(log_kb - self.drive(found, tau), found.logs)
        return potential + log_kb, logs - log_kb, logs


def other_parts(energy: BoundEnergy) -> list[BoundEnergy]:
    """The parts of an energy that are not an internal energy."""
    parts = energy.parts if isinstance(energy, BoundSum) else [energy]
    return [part for part in parts if not isinstance(part, BoundInternal)]
