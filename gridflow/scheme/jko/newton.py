"""The solution of R(φ) = const: quasi-Newton steps with Anderson mixing, better starts, and a safeguard that always converges."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from gridflow.errors import SolveError
from gridflow.scheme.base import State
from gridflow.scheme.jko.anderson import Anderson, Single
from gridflow.scheme.jko.equation import Defect, Equation, middle
from gridflow.scheme.jko.passes import weighted_product
from gridflow.scheme.jko.scaling import Hierarchy, relaxed_scaling
from gridflow.space.factor import Array
from gridflow.space.grid import Grid

FAR, GROWTH = 20.0, 100.0
"""Estimated change of p in L1 (of at most 2), and its growth over the best, at which the quasi-Newton iteration is given up."""
NEAR = 1e-2
"""Error of the marginal at which over-relaxed scaling hands over to the quasi-Newton iteration."""
SMOOTH = 1000.0
"""A smooth step changes p less than p·|step|, up to about this factor."""
CAUTION = 1.25
"""Part of the error that later steps of a contraction would take away, beside the next one by its fluxes."""
EXTRAPOLATION = 4
"""Highest order of the differences that starts are made of."""
ATTEMPTS = 20
UPDATES = 200
"""Limits of the safeguard: sweeps in all, in units of max_iterations, and updates of ξ."""


@dataclass(frozen=True, eq=False)
class Solution:
    """φ = log a, p, iterations, whether they converged, and the history of Anderson mixing to go on with."""

    potential: Array
    density: Array
    iterations: int
    converged: bool
    history: Single | None = None


@dataclass
class StepSolver:
    """tolerance : L1 of p; continues : go on from the last iterate where max_iterations do not reach it."""

    equation: Equation
    tolerance: float
    max_iterations: int
    continues: bool

    @cached_property
    def hierarchy(self) -> Hierarchy:
        """The coarser grids, for starts."""
        return Hierarchy.below(self.equation.grid, self.equation.kernel)

    def solve(self, state: State, log_before: Array, tau: float) -> Solution:
        """R(φ) = const. Raises SolveError."""
        _, g = self.equation.weights(tau)
        if "differences" in state.arrays and tau == state.arrays["tau"][0]:
            start = extrapolated(state.arrays["differences"], state.density, self.equation.grid)
            solution = self.newton(state, log_before, tau, start)
        elif "differences" in state.arrays or abs(g) <= 1:
            base = self.equation.potential_at_rest(state.density, state.evaluation, tau)
            solution = self.newton(state, log_before, tau, base)
        else:
            solution = None
        if solution is not None:
            return solution
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):  # as in `newton`; the safeguard looks at its change
            return self.from_better_starts(state, log_before, tau)

    def from_better_starts(self, state: State, log_before: Array, tau: float) -> Solution:
        """The same from the solutions on coarser grids, then from over-relaxed scaling, then by the safeguard."""
        force, g = self.equation.weights(tau)
        drive = force * state.evaluation.first_variation
        start = self.hierarchy.start(log_before, drive, g, self.equation.beta, self.max_iterations)
        solution = self.newton(state, log_before, tau, start)
        if solution is None:
            start, _ = relaxed_scaling(
                self.equation.kernel,
                state.density * self.equation.grid.volume,
                log_before,
                drive,
                g,
                start,
                NEAR,
                self.max_iterations,
            )
            solution = self.newton(state, log_before, tau, start)
        return solution or self.safeguard(state, log_before, tau, start)

    def newton(self, state: State, log_before: Array, tau: float, potential: Array) -> Solution | None:
        """R(φ) = const by the quasi-Newton iteration; None where it diverges, or ends before the tolerance and may not."""
        total, best = self.equation.grid.total, np.inf
        goes_on = "history" in state.arrays and tau == state.arrays["tau"][0]
        mixing = Anderson(total, state.arrays["history"].astype(np.float32, copy=False) if goes_on else None)
        for iteration in range(1, self.max_iterations + 1):
            with np.errstate(over="ignore", invalid="ignore", divide="ignore"):  # a diverging iteration is seen by its change
                defect = self.equation.defect(potential, log_before, tau)
            if not defect.change < min(FAR, GROWTH * best):
                return None
            if self.is_solved(defect):
                return Solution(potential, self.density(defect), iteration, True, mixing.history)
            if defect.change > 10 * best:
                mixing = Anderson(total)
            best = min(best, defect.change)
            if iteration == self.max_iterations and self.continues:
                return Solution(potential, self.density(defect), iteration, False, mixing.history)
            potential = mixing.next(potential, defect.step, defect.masses)
        return None

    def safeguard(self, state: State, log_before: Array, tau: float, start: Array) -> Solution:
        """Over-relaxed scaling for a given drive; next the drive of its density, mixed with earlier ones. Raises SolveError."""
        _, g = self.equation.weights(tau)
        masses, potential = state.density * self.equation.grid.volume, start
        drive = self.equation.defect(start, log_before, tau).drive
        mixing, iterations, change = Anderson(self.equation.grid.total), 0, np.inf
        for _ in range(UPDATES):
            potential, sweeps = relaxed_scaling(
                self.equation.kernel, masses, log_before, drive, g, potential, 0.1 * self.tolerance, self.max_iterations
            )
            iterations += sweeps
            defect = self.equation.defect(potential, log_before, tau)
            change = defect.change
            if self.is_solved(defect):
                return Solution(potential, self.density(defect), iterations, True)
            if iterations > ATTEMPTS * self.max_iterations or not np.isfinite(change):
                break
            drive = mixing.next(drive, defect.drive - drive, defect.masses)
        if self.continues and np.isfinite(change):
            return Solution(potential, self.density(defect), iterations, False)
        raise SolveError(
            f"the JKO step at time {state.time:.6g} did not converge in {iterations} sweeps (change of p {change:.1e},"
            f' tolerance {self.tolerance:.1e}); use a smaller scheme.tau, or on_unconverged = "continue"'
        )

    def next_iterate(self, potential: Array, log_before: Array, tau: float) -> tuple[Array, Array, Array]:
        """(log p of a φ; φ and log p after one iteration of scaling from there, for ξ at p)."""
        defect = self.equation.defect(potential, log_before, tau)
        logs = defect.log_prox
        return potential + defect.log_kb, logs - defect.log_kb, logs

    def is_solved(self, defect: Defect) -> bool:
        """Whether p hardly changes any more, and no mass is hidden."""
        if not defect.change < SMOOTH * self.tolerance:
            return False
        change = min(defect.change, CAUTION * self.equation.change_by_flux(defect))
        return change < self.tolerance and not self.equation.hides_mass(defect)

    def density(self, defect: Defect) -> Array:
        """p."""
        return defect.masses / self.equation.grid.volume


def extrapolated(differences: Array, weight: Array, grid: Grid) -> Array:
    """The next φ of a sequence of equal steps from its backward differences φ, ∇φ, ∇²φ, … (k, grid).

    Extrapolation of order m would have erred by ∇^m φ in the last step: that with the smallest error, over p and without a mean,
    is taken; a straight line where two φ are all.
    """
    if len(differences) <= 2:
        return differences.sum(axis=0)
    flat, rows = weight.ravel(), [d.ravel() for d in differences[1:]]
    sums = [(weighted_product(flat, d, d, True), weighted_product(flat, d, d, False)) for d in rows]
    squares, means = grid.total(np.array(sums)).T
    errors = squares - means**2 / grid.total(weight.sum())
    return differences[: 1 + int(np.argmin(errors))].sum(axis=0)


def next_differences(potential: Array, differences: Array | None, grid: Grid, centred: bool = True) -> Array:
    """The backward differences with one more φ. centred : its constant does not matter, and is taken out."""
    if differences is None:
        differences = np.empty((0, *potential.shape))
    table = np.empty((min(len(differences), EXTRAPOLATION) + 1, *potential.shape))
    table[0] = potential - middle(grid, potential) if centred else potential
    for order in range(1, len(table)):
        np.subtract(table[order - 1], differences[order - 1], out=table[order])
    return table
