"""CPU milliseconds per JKO step in a warm sequence, their true errors, and the agreement with S2 Algorithm 1.

Two problems on n × n cells of [−1, 1]², n = 64 to 512 (quick: 64 and 128): a wavy potential with temperature ½, and a ReLU
network with 20 data and two signs; a tolerance of 1e-6 in L1; plain and compensated steps with ε = 4h², debiased ones with
ε = 2h². The first step (cold) is printed apart; medians of the last ones are measured: they depend on the machine, without band.
For comparison the time of four products with K is printed, and the true error: the L1 difference of the last step from the
same step to a tolerance of 1e-10.

Plain steps are compared with S2 Algorithm 1 on 24 × 24 cells, two steps of each problem.
"""

import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np
from msgspec.structs import replace

from gridflow.case.case import load_case
from gridflow.energy.base import ROUNDOFF, BoundEnergy, Energy, Evaluation
from gridflow.energy.network.branch import Branch
from gridflow.energy.network.data import Data
from gridflow.energy.network.spec import Network, NetworkEnergy
from gridflow.flow.flow import Flow
from gridflow.problem import Problem
from gridflow.scheme.jko.scheme import JKO
from gridflow.space.factor import Array
from gridflow.space.grid import Grid
from gridflow.space.labels import Labels
from gridflow.space.line import Interval
from validation.claim import Claim

SIZES = {True: (64, 128), False: (64, 128, 256, 512)}
"""Cells along a side, by `quick`."""
STEPS, COLD = 9, 4
"""Steps of every sequence, and those of them that are left out."""
TOLERANCE, TIGHT = 1e-6, 1e-10
"""Of the steps that are timed, and of those that they are compared with."""
SMALL, COMPARED, EXACT = 24, 2, 1e-7
"""Cells and steps of the comparison, and the tolerance of Algorithm 1."""
NAMES = {"potential + entropy": "potential", "network, 20 data": "network"}
EPSILON = {"plain": 4.0, "compensate": 4.0, "debias": 2.0}


class Wavy(Energy):
    """∫V dρ, V = ½|x − c|² + ¼ sin 3πx sin 2πy."""

    def bind(self, grid):
        return BoundWavy(grid)


class BoundWavy(BoundEnergy):
    convex = True

    def __init__(self, grid):
        x, y = grid.coordinate("x"), grid.coordinate("y")
        wave = 0.25 * np.sin(3 * np.pi * x) * np.sin(2 * np.pi * y)
        self.potential = 0.5 * ((x - 0.3) ** 2 + (y + 0.2) ** 2) + wave

    def evaluate(self, mass):
        value = float(np.vdot(self.potential, mass))
        return Evaluation(value, np.ascontiguousarray(np.broadcast_to(self.potential, mass.shape)), ROUNDOFF * abs(value))


def spots(grid):
    x, y = grid.coordinate("x"), grid.coordinate("y")
    parts = [(1.0, -0.4, -0.4, 0.12), (0.7, 0.4, 0.3, 0.2), (0.5, 0.1, -0.6, 0.08)]
    return sum(w * np.exp(-((x - a) ** 2 + (y - b) ** 2) / (2 * s**2)) for w, a, b, s in parts) + 1e-3


def problems(n):
    plane = [Interval(bounds=(-1.0, 1.0), cells=n).factor(name) for name in ("x", "y")]
    grid = Grid(plane)
    yield "potential + entropy", Problem(grid, Wavy(), Flow(0.5)), 0.02, spots(grid)
    signed = Grid([*plane, Labels(values=[-1.0, 1.0]).factor("sign")])
    inputs = np.linspace(-1, 1, 20)[:, None]
    data = Data(inputs, 0.3 * np.sin(2.5 * inputs), np.full(20, 1 / 20))
    network = Problem(signed, NetworkEnergy(network_spec(), data))
    x, y = signed.coordinate("x"), signed.coordinate("y")
    yield "network, 20 data", network, 0.2, np.exp(-(x**2 + y**2) / 0.18) * np.ones(signed.shape)


def network_spec():
    unused = load_case("relu-regression").energy.data  # the data are given beside it
    return Network(data=unused, branches=[Branch(["x", "y"], [["sign"]])], activation="relu", bias=True)


@dataclass(frozen=True)
class Timing:
    """CPU milliseconds of the first step, the median of warm steps and of four products with K; evaluations of a warm step, the
    true L1 error of the last one, and ConstrOdd there."""

    first: float
    warm: float
    products: float
    evaluations: float
    error: float
    odd: float

    @classmethod
    def of(cls, problem: Problem, density: Array, tau: float, bias: str) -> "Timing":
        """Of a sequence of STEPS steps."""
        scheme = JKO(tau=tau, epsilon=EPSILON[bias], bias=bias, tolerance=TOLERANCE)
        stepper, exact = scheme.init(problem), replace(scheme, tolerance=TIGHT).init(problem)
        state = stepper.start(density)
        times, evaluations = [], [0.0]
        for _ in range(STEPS):
            before, start = state, time.process_time()
            state = stepper.step(state, tau)
            times.append(1e3 * (time.process_time() - start))
            evaluations.append(state.reports["iterations"])
        potential = state.arrays["differences"][0]
        start = time.process_time()
        for _ in range(4):
            stepper.kernel.apply_log(potential)
        products = 1e3 * (time.process_time() - start)
        error = problem.grid.integrate(np.abs(state.density - exact.step(before, tau).density))
        odd = stepper.report(state)["constr_odd"]
        return cls(times[0], median(times[COLD:]), products, float(np.diff(evaluations)[COLD:].mean()), error, odd)


def agreement(problem: Problem, tau: float, density: Array) -> tuple[float, float]:
    """L1 difference of plain steps by both algorithms, and EXACT times the iterations of Algorithm 1."""
    ends, iterations = [], 0.0
    for algorithm, tolerance in (("newton", 0.01 * EXACT), ("scaling", EXACT)):
        scheme = JKO(
            tau=tau, epsilon=EPSILON["plain"], bias="plain", algorithm=algorithm, tolerance=tolerance, max_iterations=10_000
        )
        stepper = scheme.init(problem)
        state = stepper.start(density)
        for _ in range(COMPARED):
            state = stepper.step(state, tau)
        ends.append(state.density)
        iterations = state.reports["iterations"]
    return problem.grid.integrate(np.abs(ends[0] - ends[1])), EXACT * iterations


def reproduce(directory: Path, quick: bool) -> list[Claim]:
    claims = []
    for title, problem, tau, density in problems(SMALL):
        apart, allowed = agreement(problem, tau, density / problem.grid.integrate(density))
        print(f"{SMALL}²  {title}: L1 difference to Algorithm 1 {apart:.1e}, allowed {allowed:.1e}")
        claims.append(
            Claim(
                f"jko-speed-{NAMES[title]}-same", "gridflow", "The quasi-Newton iteration solves the steps of S2 Algorithm 1.",
                f"L1 difference of the densities after {COMPARED} plain steps by both, {title}", apart, (0.0, allowed),
                "1e-7 times the iterations of Algorithm 1: n iterations to 1e-7 mean a rate r with 1/(1 − r) < n,"
                " and errors of steps add up",
            )
        )  # fmt: skip
    errors = []
    for n in SIZES[quick]:
        for title, problem, tau, density in problems(n):
            for bias in EPSILON:
                found = Timing.of(problem, density / problem.grid.integrate(density), tau, bias)
                errors.append(found.error)
                print(
                    f"{n:4d}²  {title:20s} {bias:10s} first {found.first:7.1f} ms, then {found.warm:6.1f} ms,"
                    f" {found.evaluations:4.1f} evaluations, true error {found.error:.0e}, ConstrOdd {found.odd:.0e};"
                    f" four products {found.products:5.1f} ms", flush=True,
                )  # fmt: skip
                if n == SIZES[quick][-1]:
                    claims.append(
                        Claim(
                            f"jko-speed-{NAMES[title]}-{bias}", "gridflow", "JKO steps cost a handful of kernel products.",
                            f"CPU milliseconds of a warm {bias} step, {title}, {n}² cells", found.warm,
                        )
                    )  # fmt: skip
    claims.append(
        Claim(
            "jko-speed-error", "gridflow", "A JKO step is as accurate as its tolerance says.",
            f"largest L1 difference of a step to {TOLERANCE:g} from the same step to {TIGHT:g}, all problems and sizes",
            max(errors), (0.0, TOLERANCE), "the tolerance: the estimate of an iteration that contracts bounds its error",
        )
    )  # fmt: skip
    return claims
