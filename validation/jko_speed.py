"""CPU milliseconds per JKO step in a warm sequence, and the agreement of the fast path with S2 Algorithm 1.

Two problems on n × n cells of [−1, 1]², n = 64 to 256 (quick: 64 and 128): a wavy potential with temperature ½, and a ReLU
network with 20 data and two signs; a tolerance of 1e-6 in L1; plain and compensated steps with ε = 4h², debiased ones with
ε = 2h². The first step (cold) is printed apart; medians of the last ones are measured: they depend on the machine, without band.

Plain steps are compared with S2 Algorithm 1 on 24 × 24 cells, two steps of each problem.
"""

import time
from pathlib import Path

import numpy as np

from gridflow.case.case import load_case
from gridflow.energy.base import ROUNDOFF, BoundEnergy, Energy, Evaluation
from gridflow.energy.network.branch import Branch
from gridflow.energy.network.data import Data
from gridflow.energy.network.spec import Network, NetworkEnergy
from gridflow.flow.flow import Flow
from gridflow.problem import Problem
from gridflow.scheme.jko.scheme import JKO, JKOStepper
from gridflow.space.factor import Array
from gridflow.space.grid import Grid
from gridflow.space.labels import Labels
from gridflow.space.line import Interval
from validation.claim import Claim

SIZES = {True: (64, 128), False: (64, 128, 256)}
"""Cells along a side, by `quick`."""
STEPS, COLD = 9, 4
"""Steps of every sequence, and those of them that are left out."""
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


def milliseconds(stepper: JKOStepper, density: Array, tau: float) -> tuple[float, float, float, float]:
    """(first step, median of warm steps, iterations of a warm step, ConstrOdd at the end)."""
    state = stepper.start(density)
    times, iterations = [], [0.0]
    for _ in range(STEPS):
        start = time.process_time()
        state = stepper.step(state, tau)
        times.append(1e3 * (time.process_time() - start))
        iterations.append(state.reports["iterations"])
    odd = stepper.report(state)["constr_odd"]
    return times[0], float(np.median(times[COLD:])), float(np.diff(iterations)[COLD:].mean()), odd


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
    for n in SIZES[quick]:
        for title, problem, tau, density in problems(n):
            for bias, epsilon in EPSILON.items():
                stepper = JKO(tau=tau, epsilon=epsilon, bias=bias, tolerance=1e-6).init(problem)
                first, warm, count, odd = milliseconds(stepper, density / problem.grid.integrate(density), tau)
                print(
                    f"{n:4d}²  {title:20s} {bias:10s} first {first:7.1f} ms, then {warm:7.1f} ms, {count:.1f} iterations,"
                    f" ConstrOdd {odd:.0e}", flush=True,
                )  # fmt: skip
                if n == SIZES[quick][-1]:
                    claims.append(
                        Claim(
                            f"jko-speed-{NAMES[title]}-{bias}", "gridflow", "JKO steps cost a handful of kernel products.",
                            f"CPU milliseconds of a warm {bias} step, {title}, {n}² cells", warm,
                        )
                    )  # fmt: skip
    return claims
