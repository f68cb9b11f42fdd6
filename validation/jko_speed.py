"""Milliseconds per JKO step in a warm sequence, and how the cost grows with the grid.

    OPENBLAS_NUM_THREADS=1 python validation/jko_speed.py

Two problems on n × n cells of [−1, 1]²: a wavy potential with temperature ½, and a ReLU network with 20 data and two signs;
a tolerance of 1e−6 in L1; plain and compensated steps with ε = 4h², debiased ones with ε = 2h². The first step (cold) is given
apart; medians of the last ones. ConstrOdd is the stopping quantity of S2, the other marginal is exact by construction.
"""

import time

import numpy as np

from gridflow.case import load_case
from gridflow.energy.base import ROUNDOFF, Evaluation
from gridflow.energy.data import Data
from gridflow.energy.network import Branch, Network, NetworkEnergy
from gridflow.scheme.jko import JKO
from gridflow.space.factor import Interval, Labels
from gridflow.space.grid import Grid

SIZES = (64, 128, 256, 512)
STEPS = 12
EPSILON = {"plain": 4.0, "compensate": 4.0, "debias": 2.0}


class Wavy:
    """V = ½|x − c|² + ¼ sin 3πx sin 2πy."""

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
    yield "potential + entropy", grid, Wavy(grid), 0.5, 0.02, spots(grid)
    signed = Grid([*plane, Labels(values=[-1.0, 1.0]).factor("sign")])
    inputs = np.linspace(-1, 1, 20)[:, None]
    data = Data(inputs, 0.3 * np.sin(2.5 * inputs), np.full(20, 1 / 20))
    network = NetworkEnergy(network_spec(), data).bind(signed)
    x, y = signed.coordinate("x"), signed.coordinate("y")
    yield "network, 20 data", signed, network, 0.0, 0.2, np.exp(-(x**2 + y**2) / 0.18) * np.ones(signed.shape)


def network_spec():
    unused = load_case("relu-regression").energy.data  # the data are given beside it
    return Network(data=unused, branches=[Branch(["x", "y"], [["sign"]])], activation="relu", bias=True)


def main() -> None:
    for n in SIZES:
        for title, grid, energy, temperature, tau, density in problems(n):
            for bias, epsilon in EPSILON.items():
                scheme = JKO(tau=tau, epsilon=epsilon, bias=bias, tolerance=1e-6)
                stepper = scheme.init(grid, energy, temperature)
                state = stepper.start(density / grid.integrate(density))
                times, iterations = [], [0]
                for _ in range(STEPS):
                    start = time.perf_counter()
                    state = stepper.step(state, tau)
                    times.append(1e3 * (time.perf_counter() - start))
                    iterations.append(int(state.reports["iterations"]))
                warm, count, odd = np.median(times[4:]), np.diff(iterations)[4:].mean(), state.reports["constr_odd"]
                print(
                    f"{n:4d}²  {title:20s} {bias:10s} first {times[0]:7.1f} ms, then {warm:7.1f} ms, {count:.1f} iterations,"
                    f" ConstrOdd {odd:.0e}", flush=True
                )  # fmt: skip


if __name__ == "__main__":
    main()
