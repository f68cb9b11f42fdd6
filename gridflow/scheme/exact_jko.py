"""Exact JKO steps: ρ_{k+1} = argmin_p W₂²(p, ρ_k)/(2τ) + E(p) (S2 §6, §8 and §10.1, where W₂ is to be read as W₂²).

For comparison with entropic steps: nothing is regularised, so nothing diffuses. As a problem for plans π ≥ 0 whose marginal
q = ρ_k is given and whose marginal p is free,

    J(π) = ⟨c, π⟩/(2τ) + E(p),     c = dist²/M,

it is solved by simplicial decomposition, the conditional gradient method with fully corrective weights (von Hohenbalken 1977):

1. for ξ = δE/δρ[p] the best plan sends every cell y to T(y) = argmin_x c(x, y)/(2τ) + ξ(x). Costs are sums over factors, and so
   the minimum is taken factor by factor, without a matrix of n_cells²;
2. weights λ in the simplex of the plans (id × T_k)#q found so far minimise J: a quadratic problem in few unknowns, with second
   derivatives of E from differences of ξ. This is one Newton step, with a line search on J; for quadratic energies it is exact;
3. plans of weight 0 are dropped.

With ψ(y) = min_x c(x, y)/(2τ) + ξ(x) the duality gap ⟨c, π⟩/(2τ) + ⟨ξ, p⟩ − ⟨ψ, q⟩ ≥ J(π) − min J certifies the step. It is 0
exactly where −2τξ is, up to a constant, a Kantorovich potential of p and q. For quadratic energies the method is finite.

On a grid the step is bound to the lattice: mass moves by whole cells (E may split that of one cell), and only if τ|grad ξ|
exceeds half a cell. Small steps stand still: τ must not go to 0 on a fixed grid.
"""

from dataclasses import dataclass, replace
from typing import Annotated, ClassVar

import numpy as np
from msgspec import Meta, Struct
from numpy.typing import NDArray

from gridflow.energy.base import Evaluation
from gridflow.errors import InputError, SolveError, require
from gridflow.problem import Problem
from gridflow.scheme.base import State
from gridflow.scheme.finite_volume.transport import Transport
from gridflow.space.factor import Array
from gridflow.space.grid import Grid

BYTES_MAX = 2**30
"""Largest temporary array."""
DIFFERENCE = 1e-3
"""Step of the differences of ξ: exact for quadratic energies up to 1e−13; for others Newton's method contracts by it."""
HALVINGS = 40
MOVED = "longest_step_w2"
"""Key of the longest way of a step so far, in the reports of a state."""
DOUBLINGS = 10
"""Of steps that moved nothing, until a longer one is given up."""
RIDGE = 1e-9
EMPTY = 1e-13
"""Weights below are zero."""


class ExactWasserstein(Struct, frozen=True, forbid_unknown_fields=True, tag="exact-wasserstein", tag_field="kind"):
    """JKO steps without regularisation, for comparison.

    tau : physical time step; tolerance : of the duality gap, relative to that of standing still; max_iterations : of a step
    """

    tau: Annotated[float, Meta(gt=0.0)]
    tolerance: Annotated[float, Meta(gt=1e-14, lt=1.0)] = 1e-8
    max_iterations: Annotated[int, Meta(ge=1)] = 1000

    label: ClassVar[str] = "exact JKO"
    knows: ClassVar[frozenset[str]] = frozenset()
    step_key: ClassVar[str | None] = "tau"  # of the case, of first order
    ghosts: ClassVar[int | None] = None

    def not_in_slabs(self) -> str | None:
        """What keeps it from slabs of a grid."""
        return "exact JKO steps: use entropic ones"

    def init(self, problem: Problem) -> "ExactWassersteinStepper":
        """Bind to a problem. Raises InputError for a combination that this scheme cannot do."""
        instead = '"jko"' if problem.temperature > 0 else '"finite-volume"'
        problem.check(self.knows, "exact Wasserstein steps", f"use scheme.kind = {instead}")
        law, received = problem.bound.local, "exact Wasserstein steps of an energy that is infinite at some densities"
        require(law is None or law.finite, received, "laws whose U is finite", 'use scheme.kind = "jko"')
        return ExactWassersteinStepper(self, problem)


class TransportCost:
    """c = dist²/M on a grid, a sum over factors; no transport between labels.

    matrices : for every interval and circle, (n_blocks or 1, n_cells, n_cells), a block being one combination of labels. Labels
    come first in memory, so that a field is (blocks, line, line, …).

    Raises InputError for a mobility that varies along an interval or circle, and for a grid that needs too much memory.
    """

    def __init__(self, grid: Grid) -> None:
        lines = [(f, m) for f, m in zip(grid.factors, grid.mobility, strict=True) if f.moves]
        labels = grid.shape[: len(grid.shape) - len(lines)]
        check_memory(grid.size * max((f.size for f, _ in lines), default=1))
        self.shape = (int(np.prod(labels)), *(f.size for f, _ in lines))
        self.matrices: list[Array] = []
        for factor, mobility in lines:
            if any(size > 1 for size in mobility.shape[len(labels) :]):
                raise InputError(
                    f"optimal transport with a mobility of {factor.name!r} that varies along another interval or circle",
                    "constant mobilities, or ones that depend on labels", 'use scheme.kind = "finite-volume"',
                )  # fmt: skip
            by_block = np.broadcast_to(mobility.reshape(mobility.shape[: len(labels)]), labels).reshape(-1, 1, 1)
            squares = factor.distance() ** 2
            still = np.where((squares > 0) & (by_block == 0), np.inf, 0.0)  # mobility 0: no transport
            self.matrices.append(still + squares / np.where(by_block > 0, by_block, 1.0))

    def best_map(self, xi: Array, tau: float) -> tuple[NDArray[np.int64], Array, Array]:
        """T, c(T(y), y) and ψ(y) = min_x c(x, y)/(2τ) + ξ(x) = c(T(y), y)/(2τ) + ξ(T(y)): flat, (n_cells,) each."""
        target: NDArray[np.int64] = np.arange(xi.size).reshape(self.shape)
        least, paid = xi.reshape(self.shape), np.zeros(self.shape)
        for axis, matrix in enumerate(self.matrices, start=1):
            least, paid, target = np.moveaxis(least, axis, -1), np.moveaxis(paid, axis, -1), np.moveaxis(target, axis, -1)
            costs = matrix.reshape(len(matrix), *(1,) * (len(self.shape) - 2), *matrix.shape[1:])
            sums = costs / (2 * tau) + least[..., None, :]  # (blocks, …, y, x)
            x = sums.argmin(axis=-1, keepdims=True)
            least = np.take_along_axis(sums, x, -1)[..., 0]
            step = np.take_along_axis(np.broadcast_to(costs, sums.shape), x, -1)[..., 0]
            paid = np.take_along_axis(paid, x[..., 0], -1) + step
            target = np.take_along_axis(target, x[..., 0], -1)
            least, paid, target = np.moveaxis(least, -1, axis), np.moveaxis(paid, -1, axis), np.moveaxis(target, -1, axis)
        return target.ravel(), paid.ravel(), least.ravel()


def check_memory(entries: int) -> None:
    """Raises InputError for an array of more than BYTES_MAX."""
    if entries * 8 > BYTES_MAX:
        raise InputError(
            f"exact optimal transport on a grid that needs an array of {entries * 8 / 2**30:.3g} GiB",
            f"at most {BYTES_MAX / 2**30:g} GiB", 'use fewer cells, or entropic steps, scheme.kind = "jko"',
        )  # fmt: skip


def simplex_minimum(hessian: Array, slope: Array, start: Array) -> Array:
    """argmin of gᵀ(λ − λ₀) + ½(λ − λ₀)ᵀ(H + r)(λ − λ₀) over λ ≥ 0, Σλ = 1 by an active set; H ≥ 0, `start` is a feasible λ₀.

    The ridge r decides where H is singular (for potentials H = 0): RIDGE of all numbers, well above their round-off. It slows
    down directions of less curvature, but does not displace the solution, at which λ = λ₀.
    """
    slope = slope - slope @ start
    ridge = RIDGE * max(float(np.abs(hessian).max()), float(np.ptp(slope)))
    system = hessian + ridge * np.eye(start.size)
    weights, active = start.copy(), (start > 0) | (slope < 0)
    for _ in range(20 * start.size):
        index = np.flatnonzero(active)
        right = (system @ start - slope)[index]
        free, shift = np.linalg.solve(system[np.ix_(index, index)], np.stack([right, np.ones(index.size)], axis=1)).T
        wanted = free + shift * (1 - free.sum()) / shift.sum()
        now, falling = weights[index], wanted < 0
        if falling.any():  # go until the first weight is 0
            share = np.where(falling, now / np.where(falling, now - wanted, 1.0), np.inf)
            first = int(share.argmin())
            weights[index] = np.maximum(now + share[first] * (wanted - now), 0.0)
            weights[index[first]], active[index[first]] = 0.0, False
            continue
        weights[index] = wanted
        reduced = slope + system @ (weights - start)
        reduced -= weights @ reduced
        worst = int(np.where(active, 0.0, reduced).argmin())
        if reduced[worst] >= -1e-6 * ridge:
            break
        active[worst] = True
    weights[weights < EMPTY] = 0.0
    return weights / weights.sum()


class ExactWassersteinStepper:
    """A scheme bound to a problem."""

    energy_decreases: ClassVar[bool] = True  # by W₂²/(2τ) and more: the search starts at p = ρ_k
    conserves_mass: ClassVar[bool] = True
    reports: ClassVar[tuple[str, ...]] = ("iterations", "duality_gap", "step_w2")

    def __init__(self, scheme: ExactWasserstein, problem: Problem) -> None:
        self.scheme, self.grid, self.energy = scheme, problem.grid, problem.bound
        if not self.energy.convex:
            raise InputError(
                "exact Wasserstein steps of an energy that is not convex in ρ", "convex energies: else nothing certifies a step",
                'use scheme.kind = "finite-volume"',
            )  # fmt: skip
        self.cost = TransportCost(self.grid)
        self.transport = Transport(problem)

    def start(self, density: Array, time: float = 0.0, dt: float = np.inf) -> State:
        return self.transport.state(density, time, min(dt, self.scheme.tau))

    def dissipation(self, density: Array, evaluation: Evaluation, time: float = 0.0) -> float:
        return self.transport.dissipation(density, evaluation)

    def report(self, state: State) -> dict[str, float]:
        return {name: state.reports.get(name, 0.0) for name in self.reports}

    def warnings(self, state: State) -> list[str]:
        """Of steps that all moved nothing, where a longer one would."""
        if state.reports.get(MOVED, np.inf) > 0:
            return []
        for longer in (self.scheme.tau * 2.0**k for k in range(1, DOUBLINGS + 1)):
            try:
                moves = self.solve(state, longer).squared_distance > 0
            except SolveError:  # too long
                return []
            if moves:
                return [
                    f"no step of {self.scheme.tau:g} moved anything, and one of {longer:g} does: mass moves by whole cells, of up"
                    f" to {max(f.cell_width for f in self.grid.factors):.3g} here; use --set scheme.tau={longer:g}, or more cells"
                ]
        return []

    def step(self, state: State, dt_max: float, interval: float = np.inf) -> State:
        """One step of length min(τ, dt_max). Raises SolveError if the duality gap does not fall below the tolerance."""
        tau = min(self.scheme.tau, dt_max)
        solution = self.solve(state, tau)
        reports = {
            "iterations": state.reports.get("iterations", 0) + solution.iterations,
            "duality_gap": solution.gap,
            "step_w2": float(np.sqrt(solution.squared_distance)),
        }
        reports[MOVED] = max(state.reports.get(MOVED, 0.0), reports["step_w2"])
        return self.transport.state_after(state, solution.masses / self.grid.volume, tau, self.scheme.tau, reports=reports)

    def solve(self, state: State, tau: float) -> "ExactStep":
        """Simplicial decomposition from the plan that stands still. Raises SolveError."""
        before = (state.density * self.grid.volume).ravel()
        plans, evaluation = Plans(np.ones(1), before[None], np.zeros(1)), state.evaluation
        limit = gap = np.inf
        for iteration in range(1, self.scheme.max_iterations + 1):
            xi = evaluation.first_variation.ravel()
            target, paid, psi = self.cost.best_map(xi, tau)
            masses, cost = plans.weights @ plans.masses, float(plans.weights @ plans.costs)
            gap = cost + float(masses @ xi - before @ psi)
            limit = max(self.scheme.tolerance * gap, evaluation.roundoff) if iteration == 1 else limit
            if gap <= limit:
                return ExactStep(masses.reshape(self.grid.shape), max(gap, 0.0), 2 * tau * cost, iteration)
            plans = plans.with_plan(np.bincount(target, before, before.size).astype(float), float(before @ paid) / (2 * tau))
            plans, evaluation = self.newton_step(plans, evaluation)
        raise SolveError(
            f"the exact JKO step at time {state.time:.6g} did not converge in {self.scheme.max_iterations} iterations (duality"
            f" gap {gap:.1e}, limit {limit:.1e}); raise scheme.max_iterations or scheme.tolerance"
        )

    def newton_step(self, plans: "Plans", evaluation: Evaluation) -> tuple["Plans", Evaluation]:
        """Better weights: the minimum of the quadratic model of J, with a line search. And the energy there."""
        xi, masses = evaluation.first_variation.ravel(), plans.weights @ plans.masses
        moves = plans.masses - masses
        bent = np.array([self.evaluate(masses + DIFFERENCE * m).first_variation.ravel() - xi for m in moves]) / DIFFERENCE
        hessian = moves @ bent.T
        slope = plans.costs + plans.masses @ xi
        direction = simplex_minimum((hessian + hessian.T) / 2, slope, plans.weights) - plans.weights
        value, promised = float(plans.weights @ plans.costs) + evaluation.value, float(slope @ direction)
        share = 1.0
        for _ in range(HALVINGS):
            weights = plans.weights + share * direction
            new = self.evaluate(weights @ plans.masses)
            if float(weights @ plans.costs) + new.value <= value + 0.1 * share * promised + new.roundoff:
                return replace(plans, weights=weights).without_zeros(), new
            share /= 2
        raise SolveError("the exact JKO step found no descent: the energy and its first variation do not belong together")

    def evaluate(self, masses: Array) -> Evaluation:
        return self.energy.evaluate(masses.reshape(self.grid.shape))


@dataclass(frozen=True)
class Plans:
    """Convex combination of plans (id × T_k)#q: weights λ_k, marginals p_k as rows of cell masses, costs ⟨c, π_k⟩/(2τ)."""

    weights: Array
    masses: Array
    costs: Array

    def with_plan(self, mass: Array, cost: float) -> "Plans":
        """One plan more, of weight 0."""
        return Plans(np.append(self.weights, 0.0), np.vstack([self.masses, mass]), np.append(self.costs, cost))

    def without_zeros(self) -> "Plans":
        """The plans of positive weight."""
        used = self.weights > 0
        return Plans(self.weights[used], self.masses[used], self.costs[used])


@dataclass(frozen=True)
class ExactStep:
    """p as cell masses, shape of the grid; duality gap; W₂² of the step, up to 2τ·gap; iterations."""

    masses: Array
    gap: float
    squared_distance: float
    iterations: int
