"""Entropic JKO steps: ρ_{k+1} = argmin_p W_ε(p, ρ_k)/(2τ) + E(p) + D∫p log p (S2 §8.1, §10.2; Peyré 2015).

W_ε(p, q) = min_π ⟨c, π⟩ + ε KL(π | V⊗V), c = dist²/M, V the cell volumes, τ the physical step (S2 §8.1 writes 2τ for it). With
a the scaling of the optimal plan and φ = log a, the marginal q is eliminated exactly (b = q/(Ka)) and

    p(φ) = a·K(q/(Ka)),     R(φ) = φ + (2τ/ε)(ξ[p] + D log p) − B[p] = const

is all that remains. Mass is exact and p > 0 for every φ.

Bias. In a free step a mode with eigenvalue σ = 1 − s of K (s = εk²/4 for smooth ones) is multiplied by

    "plain"       B = 0                 σ                        diffusion with ε/(4τ): worse with smaller τ
    "compensate"  B = ½ log p           2σ/(1 + σ²) ≈ 1 − s²/2   that entropy taken out; variance + ε²/(16τ·variance) per time
    "debias"      B = log d, d·Kd = p   1                        the Sinkhorn divergence W_ε(p, q) − ½W_ε(p, p) − ½W_ε(q, q)

d is found by `sweeps` symmetric Sinkhorn sweeps d ← (d·p/(Kd))^½ from √p inside every evaluation. Each multiplies its error by
s/2 ≤ ½, so that k sweeps leave 1 − (s/2)^k s²/2: two are enough for smooth densities, and the finest modes, which would need
the inverse of K, keep a bounded weight 2^(k+1). (Solved to the end, those modes make the problem as ill-conditioned as K.)
                  W1 error at T = 1, τ = 0.02, 256 cells       variance in excess, OU,    milliseconds of a warm step, 256²
                  (quadratic teacher; ε = 1.25h², 4h²)         ε = 8h² (theory 9.54e-5)   (validation/jko_speed.py, network)
    plain                -    8.9e-2                            grows without limit        17
    compensate       7.4e-4   1.1e-3                            9.6e-5                     44
    debias           7.5e-4   7.2e-4                            8.5e-7                     160

"compensate" is the default: what it leaves at ε = 1.25h² is below the error of the time step itself, at two to three times the
price of "plain". "debias" pays where ε must be large (a lattice pins at ε below 1.5h² when steps are shorter than a cell) or the
variance matters to more digits.

R = const is solved by a quasi-Newton iteration in the eigenbasis of K, factor by factor,

    φ ← φ − C^{-1}R,   C = 1 + (2τD/ε − β)(1 − σ²),   β = 0 (plain), ½ (compensate), β_{k+1} = ½(β_k + 1 − σβ_k) (debias),

with Anderson mixing, which keeps the fixed point. In a sequence of equal steps it starts from the φ that the last steps
extrapolate to. It ends when the estimated change of p in L1 is below `tolerance` *and* no mass is hidden; where the
iteration contracts slowly, in steep wells, the error left is up to six tolerances. The change is that of
the fluxes, (ε/2) div(p M grad step), where the step is smooth: what is constant over √ε moves no mass. Hidden mass is what
Σ pV exp(−R) sees in cells where p has collapsed, which a p-weighted residual cannot. In cells that are all but empty the
residual is bounded, lest φ diverge there unseen. Where the iteration diverges all the same (steep densities and high
temperatures), and for the first step, over-relaxed scaling takes its place (`gridflow.scheme.jko.scaling`), globally
convergent for a given ξ: first for a better start, then for good, with ξ updated until R = const. If that does not end either,
the step fails with a status; nothing is silently accepted.

An evaluation of R costs two products with K (and `sweeps` for "debias"), in logarithms, by compiled blocks that follow the width
of the kernel (`gridflow.scheme.jko.log_product`), a pair of cosine transforms, and passes over the fields.

A temperature that falls (`flow.annealing`) stands still in a step, at its mean: of order τ like all of the step.

Time steps. `tau` is the step, and its error of order τ; with `accuracy` only the first: every step is taken whole and in two
halves, their difference is the error of the halves, which are kept, and τ follows from the error allowed per time.

An internal energy ∫U(p) is taken cell by cell (`gridflow.scheme.jko.pointwise`), a bound of the density among them; flows with
reaction take steps between densities of different mass (`gridflow.scheme.jko.unbalanced`). Both have iterations of their own.

`algorithm = "scaling"` is S2 Algorithm 1 as printed: slow, for plain steps; the reference of the tests.
"""

from copy import copy
from dataclasses import replace
from typing import Annotated, ClassVar, Literal, Self

import numpy as np
from msgspec import Meta, Struct

from gridflow.energy.base import Evaluation
from gridflow.errors import InputError, SolveError, require
from gridflow.problem import Problem
from gridflow.scheme.base import State
from gridflow.scheme.finite_volume.transport import Transport
from gridflow.scheme.jko.algorithm_1 import algorithm_1, kl_prox
from gridflow.scheme.jko.equation import Equation
from gridflow.scheme.jko.gibbs import largest_square
from gridflow.scheme.jko.newton import Solution, StepSolver, next_differences
from gridflow.scheme.jko.pointwise import PointwiseSolver, other_parts
from gridflow.scheme.jko.slab_kernel import kernel_on
from gridflow.scheme.jko.unbalanced import UnbalancedSolver, check_reaction
from gridflow.space.distances import wasserstein1
from gridflow.space.factor import Array

EPSILON_MIN = 0.5
"""ε below half of h² pins mass to the lattice: the kernel no longer reaches the next cell."""
LOG_EMPTY = -1e4
"""The logarithm of an empty cell."""
SMALLEST_STEP = 2.0**-12
"""Adaptive steps below this part of tau are given up: the accuracy cannot be had by smaller steps."""


class JKO(Struct, frozen=True, forbid_unknown_fields=True, tag="jko", tag_field="kind"):
    """Entropic JKO steps.

    tau : physical time step, the first one where `accuracy` is given
    accuracy : error in time allowed per unit time, W1 of every marginal in units of the largest cell of the factor
    epsilon : ε in units of the largest (cell size)²/M, dimensionless
    bias : what is done about the diffusion of the regularisation: nothing, taken out to second order, or the Sinkhorn divergence
    sweeps : of "debias", symmetric Sinkhorn sweeps in every evaluation; algorithm : "newton", or S2 Algorithm 1 as printed
    tolerance : of every step, L1 of p, with algorithm "scaling" of ConstrEven and ConstrOdd; max_iterations : of every attempt to
        solve it; on_unconverged : "stop" fails there, "continue" goes on from the last iterate, as S2 §1.2 does ("not accurate
        due to small number of inner iterations"): after one attempt, without starts from coarser grids or other iterations; its
        mass is exact, and the status of the run counts such steps. Not with `accuracy`, which shortens them instead
    """

    tau: Annotated[float, Meta(gt=0.0)]
    accuracy: Annotated[float, Meta(gt=0.0)] | None = None
    epsilon: Annotated[float, Meta(gt=0.0)] = 1.25
    bias: Literal["plain", "compensate", "debias"] = "compensate"
    sweeps: Annotated[int, Meta(ge=1, le=20)] = 2
    algorithm: Literal["newton", "scaling"] = "newton"
    tolerance: Annotated[float, Meta(gt=1e-14, lt=1.0)] = 1e-8
    max_iterations: Annotated[int, Meta(ge=1)] = 1000
    on_unconverged: Literal["stop", "continue"] = "stop"

    label: ClassVar[str] = "entropic JKO"
    knows: ClassVar[frozenset[str]] = frozenset({"temperature", "reaction"})
    step_key: ClassVar[str | None] = "tau"  # of the case, of first order
    ghosts: ClassVar[int | None] = 0

    def not_in_slabs(self) -> str | None:
        """What keeps this scheme from slabs of a grid, and what to write instead."""
        return 'scheme.algorithm = "scaling": use "newton"' if self.algorithm == "scaling" else None

    def init(self, problem: Problem) -> "JKOStepper":
        """Bind to a problem. Raises InputError for a combination that this scheme cannot do."""
        problem.check(self.knows, "entropic JKO steps", 'use scheme.kind = "finite-volume"')
        measured = self.accuracy is None or any(f.one_dimensional for f in problem.grid.factors)
        require(measured, "scheme.accuracy without an interval or circle", "a fixed step", "remove accuracy, choose tau")
        both = self.accuracy is not None and self.on_unconverged == "continue"
        received = 'scheme.accuracy with on_unconverged = "continue"'
        require(not both, received, "one of the two: accuracy shortens such steps", "remove accuracy")
        return JKOStepper(self, problem)


class JKOStepper:
    """A scheme bound to a problem."""

    energy_decreases: ClassVar[bool] = False  # of E + W_ε/(2τ); E alone may rise by the entropic blur
    reports: ClassVar[tuple[str, ...]] = ("iterations", "constr_even", "constr_odd")

    def __init__(self, scheme: JKO, problem: Problem) -> None:
        self.scheme, self.problem, self.grid = scheme, problem, problem.grid
        square = largest_square(self.grid.whole)
        received = f"scheme.epsilon = {scheme.epsilon} (in units of the largest cell²/mobility, {square:.3g})"
        allowed = f"at least {EPSILON_MIN}: below, the kernel does not reach the next cell, and mass is pinned to the lattice"
        require(scheme.epsilon >= EPSILON_MIN, received, allowed, f"use {EPSILON_MIN} or more; 1 to 2 is best")
        if scheme.algorithm == "scaling" and scheme.bias != "plain":
            raise InputError(
                f'scheme.bias = "{scheme.bias}" with scheme.algorithm = "scaling"', "plain steps, as the source has them",
                'use bias = "plain" or algorithm = "newton"',
            )  # fmt: skip
        self.epsilon = scheme.epsilon * square
        self.kernel = kernel_on(self.grid, self.epsilon)
        self.transport = Transport(problem)
        self.equation = Equation(problem, self.kernel, self.epsilon, scheme.bias, scheme.sweeps)
        continues = scheme.on_unconverged == "continue"
        self.law, self.conserves_mass = problem.bound.local, problem.keeps_mass
        limits = scheme.tolerance, scheme.max_iterations, continues
        kappa = problem.flow.reaction.rate
        self.solver: StepSolver | PointwiseSolver | UnbalancedSolver
        if kappa > 0:
            check_reaction(problem, scheme.bias, scheme.algorithm, scheme.accuracy is not None)
            self.solver = UnbalancedSolver(self.equation, problem.bound, kappa, *limits)
        elif self.law is not None:
            received = f'scheme.algorithm = "{scheme.algorithm}" with an internal energy'
            require(scheme.algorithm == "newton", received, "its own scaling", "remove scheme.algorithm")
            self.solver = PointwiseSolver(self.equation, self.law, other_parts(problem.bound), *limits)
        else:
            self.solver = StepSolver(self.equation, *limits)

    def start(self, density: Array, time: float = 0.0, dt: float = np.inf) -> State:
        """The state of a density; dt : the step to go on with, else tau."""
        adapts = self.scheme.accuracy is not None and np.isfinite(dt)
        return self.transport.at(self.problem.at_time(time)).state(density, time, dt if adapts else self.scheme.tau)

    def at(self, temperature: float) -> Self:
        """The stepper of the problem with a temperature that stands still; it shares kernels."""
        if temperature == self.problem.temperature:
            return self
        other = copy(self)
        other.problem = self.problem.at(temperature)
        other.transport, other.equation = self.transport.at(other.problem), self.equation.at(temperature)
        other.solver = copy(self.solver)
        other.solver.equation = other.equation
        return other

    def dissipation(self, density: Array, evaluation: Evaluation, time: float = 0.0) -> float:
        """−dE/dt; with a bound of the density, whose pressure is no part of ξ, what the next step takes from E over τ."""
        if self.law is None or self.law.finite:
            return self.transport.at(self.problem.at_time(time)).dissipation(density, evaluation)
        try:
            return self.single(self.transport.state(density, time, self.scheme.tau, evaluation, 0.0), self.scheme.tau).dissipation
        except SolveError:
            return float("nan")

    def report(self, state: State) -> dict[str, float]:
        found = self.constraints(state) if "differences" in state.arrays else {}
        return dict.fromkeys(self.reports, 0.0) | state.reports | found

    def warnings(self, state: State) -> list[str]:
        """None."""
        return []

    # ---------------------------------------------------------------------------------------------------------- steps
    def step(self, state: State, dt_max: float, interval: float = np.inf) -> State:
        """One step of at most dt_max. Raises SolveError if the iteration does not converge."""
        if self.scheme.accuracy is None:
            return self.single(state, min(self.scheme.tau, dt_max))
        tau, allowed, spent = min(state.dt, dt_max), self.scheme.accuracy, 0.0
        while tau > SMALLEST_STEP * min(self.scheme.tau, dt_max):
            try:
                whole = self.single(state, tau)
                halves = self.single(self.single(state, tau / 2), tau / 2)
            except SolveError:  # nor does a step that long serve
                tau /= 4
                continue
            spent += whole.reports["iterations"] - state.reports.get("iterations", 0)
            rate = self.gap(whole.density, halves.density) / tau  # of order τ
            best = tau * float(np.clip(0.9 * allowed / max(rate, 1e-300), 0.2, np.inf))
            if rate <= allowed:
                reports = {**halves.reports, "iterations": halves.reports["iterations"] + spent}
                return replace(halves, dt=min(best, 2 * state.dt), reports=reports)
            spent += halves.reports["iterations"] - state.reports.get("iterations", 0)
            tau = best
        raise SolveError(
            f"scheme.accuracy = {allowed} is not reached at time {state.time:.6g} by steps of {tau:.1e}: the entropic bias grows"
            ' as they shrink; raise accuracy, use bias = "debias" or more cells'
        )

    def gap(self, one: Array, two: Array) -> float:
        """Largest W1 distance of the marginals on lines and circles, in units of the largest cell."""
        return max(
            wasserstein1(self.grid.marginal_masses(one, f.name), self.grid.marginal_masses(two, f.name), f) / f.cell_width
            for f in self.grid.whole.factors
            if f.one_dimensional
        )

    def single(self, state: State, tau: float) -> State:
        """One JKO step of length τ, at its mean temperature."""
        flow, end = self.problem.flow, state.time + tau
        mean = flow.mean_temperature(state.time, end)
        return self.at(mean).single_now(state.at(mean), tau).at(flow.temperature_at(end))

    def single_now(self, state: State, tau: float) -> State:
        """The same at the temperature of this stepper."""
        with np.errstate(divide="ignore"):
            log_before = np.maximum(np.log(state.density), LOG_EMPTY)
        arrays: dict[str, Array] = {}
        constraints: dict[str, float] = {}
        if self.scheme.algorithm == "scaling":
            solution, constraints = self.scale(log_before, tau)
        else:
            solution = self.solver.solve(state, log_before, tau)
            same = "differences" in state.arrays and tau == state.arrays["tau"][0]
            earlier = state.arrays["differences"] if same else None
            differences = next_differences(solution.potential, earlier, self.grid, isinstance(self.solver, StepSolver))
            arrays = {"differences": differences, "tau": np.array([tau]), "log_before": log_before}
            if solution.history is not None:
                arrays["history"] = solution.history  # type: ignore[assignment]
        reports = {"iterations": state.reports.get("iterations", 0) + solution.iterations, **constraints}
        unconverged = state.unconverged + (not solution.converged)
        before = state if self.conserves_mass else replace(state, density=solution.density)  # whose mass the new state is given
        return self.transport.state_after(
            before, solution.density, tau, self.scheme.tau, arrays=arrays, unconverged=unconverged, reports=reports
        )

    def scale(self, log_before: Array, tau: float) -> tuple[Solution, dict[str, float]]:
        """S2 Algorithm 1, and its stopping quantities. Raises SolveError."""
        prox = kl_prox(
            self.problem.bound, self.grid.volume, 2 * tau / self.epsilon, self.problem.temperature, self.scheme.tolerance
        )
        limits = self.scheme.tolerance, self.scheme.max_iterations
        scaled = algorithm_1(self.kernel, self.grid.volume, log_before, prox, *limits)
        if not scaled.converged and self.scheme.on_unconverged == "stop":
            raise SolveError(
                f"the scaling iteration did not converge in {scaled.iterations} iterations (ConstrEven {scaled.even:.1e},"
                f' ConstrOdd {scaled.odd:.1e}); use algorithm = "newton", a larger scheme.epsilon or on_unconverged = "continue"'
            )
        solution = Solution(scaled.log_a, scaled.density, scaled.iterations, scaled.converged)
        return solution, {"constr_even": scaled.even, "constr_odd": scaled.odd}

    def constraints(self, state: State) -> dict[str, float]:
        """ConstrEven and ConstrOdd of the last step by the quasi-Newton iteration: one iteration of S2 Algorithm 1 from its b.

        With b = q/(Ka), line 5 gives p' = prox(Kb), in closed form for ξ at p, line 6 a' = p'/(Kb), line 7 ‖b·Ka' − q‖/‖q‖; the
        odd constraint is that a and b themselves violate, ‖a·Kb − p'‖/‖q‖. Both are 0 at the solution only.
        """
        log_before = state.arrays["log_before"]
        potential, tau = state.arrays["differences"][0], float(state.arrays["tau"][0])
        then = self.at(self.problem.flow.mean_temperature(state.time - tau, state.time))
        logs, next_potential, next_logs = then.solver.next_iterate(potential, log_before, tau)
        before, last, log_ka = np.exp(log_before), self.kernel.apply_log(potential), self.kernel.apply_log(next_potential)
        with np.errstate(over="ignore"):  # far from the solution
            even = self.norm(before * np.expm1(log_ka - last)) / self.norm(before)
            odd = self.norm(np.exp(logs) - np.exp(next_logs)) / self.norm(before)
        return {"constr_even": even, "constr_odd": odd}

    def norm(self, density: Array) -> float:
        """L² norm over the volumes."""
        return float(np.sqrt(self.grid.integrate(density**2)))
