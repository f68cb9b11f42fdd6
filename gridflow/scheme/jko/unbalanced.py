"""Steps of flows with reaction, where mass is transported, grows and decays (Wasserstein–Fisher–Rao).

∂ρ/∂t = div(ρ M grad ξ) − κξρ descends E in the metric of ∫∫(|v|²/M + w²/κ) dρ dt, v the velocity and w the rate of growth
(Liero, Mielke and Savaré 2018, Invent. Math. 211, 969). Over a step its square is, to first order, that of transport between
densities that may differ from both ends (Chizat, Peyré, Schmitzer and Vialard 2018, Math. Comp. 87, 2563):

    ρ_{k+1} = argmin_p min_π [⟨c, π⟩ + ε KL(π | V⊗V) + λ KL(π₁ | p) + λ KL(π₂ | ρ_k)]/(2τ) + E(p),    c = dist²/M, λ = 4/κ:

alone, without transport, the two KL make min_m λ KL(m | p) + λ KL(m | q) = λ∫(√p − √q)², and ∫w²/κ over unit time is as much.
With π = a·K·b the optimal q side is b = (q/(Ka))^{λ/(λ+ε)}, and with s = ε/λ the p side is

    p = π₁/(1 + 2τξ/λ),    log a = −(1/s) log(1 + 2τξ/λ),    so that    log p = log Kb + (1 + s) log a.

The bias is the same as in steps of fixed mass, an entropy ε/(4τ) ∫p log p beside E that diffuses and reacts, and it is
compensated in the same way (`gridflow.scheme.jko.scheme`): log a is raised by β log p, β = 0 ("plain") or 1/(2 + s), for which a
uniform density without ξ stays as it is; plain steps multiply its logarithm by 1/(1 + s)², and are for small s alone. For κ → 0
this is a step of fixed mass, and without transport it is p = q/(1 + τκξ/2)², e^{−τκξ} to first order.
A sweep multiplies the error by at most ½, with half the change of log a where compensation makes it swing.
"""

from dataclasses import dataclass

import numpy as np

from gridflow.energy.base import BoundEnergy
from gridflow.errors import SolveError, require
from gridflow.problem import Problem
from gridflow.scheme.base import State
from gridflow.scheme.jko.anderson import Anderson
from gridflow.scheme.jko.equation import LOG_FLOOR, Equation
from gridflow.scheme.jko.newton import Solution, extrapolated
from gridflow.space.factor import Array

UPDATES = 100
"""Of ξ."""
PLAIN_MAX = 1e-2
"""ε/λ of plain steps: of every logarithm of a density they lose so much in a step."""
FIX = 'use scheme.kind = "finite-volume"'


@dataclass
class UnbalancedSolver:
    """κ : rate of the reaction; tolerance : of p, L1 over the mass; continues : go on from the last iterate."""

    equation: Equation
    energy: BoundEnergy
    kappa: float
    tolerance: float
    max_iterations: int
    continues: bool

    def __post_init__(self) -> None:
        received = f'scheme.bias = "plain" with ε·flow.reaction.rate/4 = {self.s:.2g}'
        fits = self.equation.beta > 0 or self.s <= PLAIN_MAX
        require(fits, received, f"at most {PLAIN_MAX:g}, or another bias", 'use bias = "compensate"')

    def solve(self, state: State, log_before: Array, tau: float) -> Solution:
        """log a and p of one step. Raises SolveError."""
        drive, mixing, iterations = self.drive(state.density, tau), Anderson(self.equation.grid.total), 0
        grid = self.equation.grid
        logs = np.maximum(log_before, grid.largest(log_before.max()) + LOG_FLOOR)
        potential = self.beta * logs - drive
        if "differences" in state.arrays and tau == state.arrays["tau"][0]:
            potential = extrapolated(state.arrays["differences"], state.density, grid)
        for _ in range(UPDATES):
            potential, logs, more, met = self.sweeps(log_before, drive, potential, tau)
            iterations += more
            if self.energy.linear or not met:
                break
            density = np.exp(logs)
            change, masses = self.drive(density, tau) - drive, density * grid.volume
            met = self.is_met(change, masses)
            if met:
                break
            drive = mixing.next(drive, change, masses)
        if not met and not self.continues:
            raise SolveError(
                f"the JKO step at time {state.time:.6g} did not converge in {iterations} sweeps (tolerance {self.tolerance:.1e});"
                ' use a smaller scheme.tau, or on_unconverged = "continue"'
            )
        return Solution(potential, np.exp(logs), iterations, met)

    def sweeps(self, log_before: Array, drive: Array, potential: Array, tau: float) -> tuple[Array, Array, int, bool]:
        """(log a, log p, sweeps, whether they met the tolerance) for one drive. Raises SolveError for steps that are too long."""
        kernel, volume, s, share, met = self.equation.kernel, self.equation.grid.volume, self.s, self.share, False
        lowest = -float(self.equation.grid.largest(-drive.min()))
        if not lowest * s > -1:
            raise SolveError(
                f"a JKO step of {tau:.3g} is too long for the reaction: 1 + τκξ/2 = {1 + s * lowest:.3g} at the"
                " lowest ξ; use a smaller scheme.tau"
            )
        growth = -np.log1p(s * drive) / s
        for sweep in range(1, self.max_iterations + 1):  # noqa: B007
            log_z = kernel.apply_log((log_before - kernel.apply_log(potential)) / (1 + s))
            logs = (log_z + (1 + s) * growth) / share
            change = (logs - log_z) / (1 + s) - potential
            masses = np.exp(logs) * volume
            met = self.is_met(change, masses)
            if met:
                break
            potential = potential + share * change
        return potential, logs, sweep, met

    def is_met(self, change: Array, masses: Array) -> bool:
        """Whether a change of logarithms changes the masses by less than the tolerance, in L1."""
        changed, mass = self.equation.grid.total(np.array([np.vdot(np.abs(change), masses), masses.sum()]))
        return bool(changed < self.tolerance * mass)

    def next_iterate(self, potential: Array, log_before: Array, tau: float) -> tuple[Array, Array, Array]:
        """(log p of a φ; φ and log p after one iteration of scaling from there, for ξ at p)."""
        s, kernel = self.s, self.equation.kernel
        log_z = kernel.apply_log((log_before - kernel.apply_log(potential)) / (1 + s))
        logs = log_z + (1 + s) * potential
        after = (log_z - (1 + 1 / s) * np.log1p(s * self.drive(np.exp(logs), tau))) / self.share
        return logs, (after - log_z) / (1 + s), after

    @property
    def s(self) -> float:
        """ε/λ."""
        return self.equation.epsilon * self.kappa / 4

    @property
    def share(self) -> float:
        """1 − (1 + s)β, of log p."""
        return 1 - (1 + self.s) * self.beta

    @property
    def beta(self) -> float:
        """Of log p in log a."""
        return 1 / (2 + self.s) if self.equation.beta > 0 else 0.0

    def drive(self, density: Array, tau: float) -> Array:
        """(2τ/ε)ξ."""
        return self.equation.weights(tau)[0] * self.energy.evaluate(density * self.equation.grid.volume).first_variation


def check_reaction(problem: Problem, bias: str, algorithm: str, adapts: bool) -> None:
    """Raises InputError for a reaction that these steps cannot do."""
    flow, what = problem.flow, "entropic JKO steps with flow.reaction"
    require(not flow.reaction.conserve, f"{what} and conserve", "a mass that is free", FIX)
    require(flow.temperature == 0, f"{what} and flow.temperature", "one of them", FIX)
    require(problem.bound.local is None, f"{what} and an internal energy", "other energies", FIX)
    require(bias != "debias", f'{what} and bias = "debias"', 'bias = "compensate" or "plain"', 'use bias = "compensate"')
    require(algorithm == "newton", f'{what} and algorithm = "{algorithm}"', "its own scaling", "remove scheme.algorithm")
    require(not adapts, f"{what} and accuracy", "a fixed step: W1 compares equal masses", "remove scheme.accuracy")
