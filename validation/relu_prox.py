"""Proximal points and "Wasserstein descent" of a ReLU network (S2 §1, §2.2, §6): are the distances the same, and is it the flow?

The case relu-prox in a wider box. Proximal points V = argmin F(V) + d(V, W)/(2γ) with the distance of Frobenius and with W₂² by
optimal assignment, the gradient flow, and the same steps for densities on a grid, by exact and by entropic transport.

F does not depend on the order of neurons of equal sign. The global minima of the steps with both distances are therefore the same
but for that order, for every γ. The minimisations go downhill from V = W, however, and end in local minima: the same ones, to the
last digit, while the optimal assignment is the identity, as it must be for γ·max|grad ξ| below half the distance of two neurons
of equal sign, and others for γ = 10: energies then differ by less than a percent of the first, d_F and W₂² of late steps by a
third, and idle neurons, which stay where they are otherwise, are exchanged with others.
For γ → 0 the step tends to the flow: one step at order 2, but for the few neurons that cross a kink (hence medians over neurons),
and many steps at order 1. S2 §2.2 prints its inner iteration with the wrong sign of ∇d: it then climbs, without end.
On a grid an exact step stands still once γ|grad ξ| is below half a cell: "it looks stuck" (S2 §1.2) can also mean that.
"""

from pathlib import Path
from typing import Literal

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

import gridflow
from gridflow.case.case import Case
from gridflow.errors import SolveError
from gridflow.output.style import BLACK, BLUE, SKY, VERMILLION
from gridflow.particles.cloud import draw_cloud
from gridflow.particles.integrator import IntegratorSpec, ProximalPoint, RungeKutta2
from gridflow.particles.simulation import ParticleRun
from gridflow.space.factor import Array
from validation.claim import Claim

GAMMA, ITERATIONS, LATE = 10.0, 20, 10
SMALL = 0.1
"""γ of the run in which the assignment should be the identity throughout."""
GAMMAS = (10.0, 3.0, 1.0, 0.3, 0.1, 0.03)
IDENTITY, ORDER = 0.1, 0.3
"""Largest γ at which no neuron may be exchanged in the first step, and of the fit of the order of one step."""
FLOW_TIMES, FLOW_GAMMAS = [0.0, 1.0, 2.0, 4.0], (0.5, 0.25, 0.125)
INNER, RATE = 30, 0.1
FILLED = 1e-6
"""Density from which a cell has mass: the mean is 0.02, the duality gap bounds ξ only where there is some."""
BOX = {"space.w.bounds": [-6.0, 6.0], "space.b.bounds": [-3.6, 3.6]}


class Network:
    """The case with `count` neurons: columns of positions are the sign, w and b."""

    def __init__(self, count: int) -> None:
        self.case: Case = gridflow.load_case("relu-prox").replace(BOX)
        self.cloud = draw_cloud(self.case.initial, self.case.grid().factors, count, 1, "sobol")
        data = self.case.energy.load(Path(self.case.directory)).data
        self.inputs, self.targets = data.inputs[:, 0], data.targets[:, 0]

    def run(self, times: list[float], integrator: IntegratorSpec) -> ParticleRun:
        return gridflow.simulate(self.case, self.cloud, times=times, integrator=integrator)

    def proximal(self, distance: Literal["frobenius", "assignment"], times: list[float], gamma: float) -> ParticleRun:
        """Of order γ² is what is measured in the difference to the flow: tolerances are a thousandth of that."""
        return self.run(times, ProximalPoint(step=gamma, distance=distance, tolerance=1e-3 * min(1.0, gamma**2)))

    def energy(self, points: Array) -> tuple[float, Array]:
        """E = ½ mean (f − y)² and its gradient in (w, b) times the number of neurons: grad ξ, (n_particles, 2)."""
        sign, w, b = points.T
        outputs = w[:, None] * self.inputs + b[:, None]
        errors = (sign[:, None] * np.maximum(outputs, 0)).mean(axis=0) - self.targets
        slopes = sign[:, None] * (outputs > 0) * errors / len(errors)
        return 0.5 * float((errors**2).mean()), np.stack([slopes @ self.inputs, slopes.sum(axis=1)], axis=1)


def squares(new: Array, old: Array) -> Array:
    """|V_i − W_j|²; neurons of different signs are not exchanged."""
    return np.where(new[:, None, 0] == old[None, :, 0], ((new[:, None] - old[None]) ** 2).sum(axis=2), 1e6)


def step_distances(run: ParticleRun) -> Array:
    """(d_F = mean |V_i − W_i|², W₂²) of every step."""
    costs = [squares(new, old) for old, new in zip(run.points[:-1], run.points[1:], strict=True)]
    return np.array([(c.diagonal().mean(), c[linear_sum_assignment(c)].mean()) for c in costs])


def largest_difference(one: Array, two: Array) -> float:
    return float(np.abs(two / one - 1).max())


# ------------------------------------------------------------------------------------------------------------ particles
def long_runs(net: Network, gamma: float) -> dict[str, ParticleRun]:
    times = [gamma * k for k in range(ITERATIONS + 1)]
    return {"frobenius": net.proximal("frobenius", times, gamma), "assignment": net.proximal("assignment", times, gamma)}


def idle_moves(net: Network, run: ParticleRun) -> tuple[int, float, float]:
    """Of neurons that activate no datum at the start: their number, how far the farthest moved, and the largest distance from
    one of their places to the nearest neuron of the same sign at the end."""
    start, end = run.points[0], run.points[-1]
    idle = idle_neurons(net, start)
    empty = np.sqrt(squares(end, start[idle]).min(axis=0))
    return int(idle.sum()), float(np.linalg.norm((end - start)[idle], axis=1).max()), float(empty.max())


def idle_neurons(net: Network, points: Array) -> NDArray[np.bool_]:
    return (points[:, 1:2] * net.inputs + points[:, 2:] <= 0).all(axis=1)


def single_steps(net: Network) -> dict[str, Array]:
    """One step from the start for every γ: share of neurons exchanged, median distance to the flow, length of the step."""
    rows = []
    print("      γ   exchanged   to the flow (median)   length of the step   Frobenius − assignment")
    for gamma in GAMMAS:
        start, frobenius = net.proximal("frobenius", [0.0, gamma], gamma).points
        assignment = net.proximal("assignment", [0.0, gamma], gamma).points[1]
        flow = net.run([0.0, gamma], RungeKutta2(gamma / 200)).points[1]
        exchanged = float((linear_sum_assignment(squares(assignment, start))[1] != np.arange(len(start))).mean())
        gaps = (frobenius - flow, frobenius - start, frobenius - assignment)
        lengths = [np.linalg.norm(gap, axis=1) for gap in gaps]
        rows.append((exchanged, np.median(lengths[0]), *(np.sqrt((length**2).mean()) for length in lengths[1:])))
        print(f"{gamma:7.2f} {100 * exchanged:9.1f} % {rows[-1][1]:20.3e} {rows[-1][2]:20.3e} {rows[-1][3]:22.3e}")
    return dict(zip(("exchanged", "flow", "moved", "apart"), np.array(rows).T, strict=True))


def certain_gamma(net: Network) -> float:
    """γ below which no first step can exchange neurons: all move by less than half the distance of two of the same sign."""
    gaps = squares(net.cloud.points, net.cloud.points) + np.diag(np.full(len(net.cloud.points), np.inf))
    return float(np.sqrt(gaps.min()) / 2 / np.linalg.norm(net.energy(net.cloud.points)[1], axis=1).max())


def flow_differences(net: Network) -> list[float]:
    """Largest relative difference of the energies of steps with W₂ by assignment and of the flow, for every FLOW_GAMMAS."""
    flow = net.run(FLOW_TIMES, RungeKutta2(0.02)).energy
    found = [largest_difference(flow, net.proximal("assignment", FLOW_TIMES, gamma).energy) for gamma in FLOW_GAMMAS]
    print(
        "relative difference of energies, assignment and flow: "
        + ", ".join(f"γ = {g}: {d:.2e}" for g, d in zip(FLOW_GAMMAS, found, strict=True))
    )
    return found


def inner_objective(net: Network, pull: float) -> float:
    """F + d/(2γ), γ = 1, after INNER steps V ← V − RATE·(γ grad ξ + pull·(V − W)), over its value at V = W. Right: pull = 1."""
    start = net.cloud.points
    points, first = start.copy(), net.energy(start)[0]
    for _ in range(INNER):
        points[:, 1:] -= RATE * (net.energy(points)[1] + pull * (points - start)[:, 1:])
    return (net.energy(points)[0] + 0.5 * float(((points - start) ** 2).sum(axis=1).mean())) / first


# ----------------------------------------------------------------------------------------------------------------- grids
def grid_run(case: Case, kind: str, cells: int) -> tuple[Array, Array]:
    """(energies, largest γ(ξ(y) − ξ(x))/h² over neighbours x of cells y with mass at the end), h the size of square cells."""
    changes = {"space.w.cells": 5 * cells, "space.b.cells": 3 * cells, "time.stop": GAMMA * ITERATIONS}
    case = case.replace({**changes, "time.save": ITERATIONS + 1, "scheme": {"kind": kind, "tau": GAMMA}})
    dataset, grid = gridflow.solve(case), case.grid()
    if dataset.attrs["status"] != "completed":
        raise SolveError(f"{kind} on {grid.shape}: {dataset.attrs['status']}")
    bound, width = case.energy.load(Path(case.directory)).bind(grid), 12.0 / (5 * cells)
    speeds = np.zeros(ITERATIONS + 1)
    for k, density in enumerate(dataset["density"].transpose("time", *grid.order).to_numpy()):
        xi = bound.evaluate(density * grid.volume).first_variation
        for axis in (a for a, f in enumerate(grid.factors) if f.moves):
            rise, filled = np.diff(xi, axis=axis), density > FILLED
            left, right = (np.delete(filled, end, axis) for end in (-1, 0))
            gain = np.where(left, -rise, 0.0), np.where(right, rise, 0.0)
            speeds[k] = max(speeds[k], GAMMA * float(np.max(gain)) / width**2)
    print(f"{kind}, cells of {width:.3g}: energy, γ|grad ξ| in cells")
    for k in (0, 1, 2, 3, 5, 7, LATE, ITERATIONS):
        print(f"    {k:3d}  {float(dataset['energy'][k]):.5f}  {speeds[k]:.3f}")
    return dataset["energy"].to_numpy(), speeds


def decrease(energy: Array) -> float:
    return float(1 - energy[-1] / energy[LATE])


# ---------------------------------------------------------------------------------------------------------------- claims
def reproduce(directory: Path, quick: bool) -> list[Claim]:
    net = Network(32 if quick else 128)
    large, small = long_runs(net, GAMMA), long_runs(net, SMALL)
    flow = net.run([GAMMA * k for k in range(ITERATIONS + 1)], RungeKutta2(0.2))
    steps = {name: step_distances(run) for name, run in large.items()}
    report(net, large, steps, flow)
    same = [
        largest_difference(small["frobenius"].energy, small["assignment"].energy),
        largest_difference(step_distances(small["frobenius"])[:, 0], step_distances(small["assignment"])[:, 1]),
    ]
    apart = np.abs(large["assignment"].energy - large["frobenius"].energy).max() / flow.energy[0]
    single, gammas = single_steps(net), np.array(GAMMAS)
    certain, fit = certain_gamma(net), gammas <= ORDER
    print(f"no exchange is possible in the first step for γ < {certain:.3f}; γ = {SMALL}: differences {same}")
    order = float(np.polyfit(np.log(gammas[fit]), np.log(single["flow"][fit]), 1)[0])
    emd = flow_differences(net)
    emd_order = float(np.polyfit(np.log(FLOW_GAMMAS), np.log(emd), 1)[0])
    right, printed = inner_objective(net, 1.0), inner_objective(net, -2.0)
    print(f"objective after {INNER} inner steps over that at the start: +∇d/(2γ) {right:.4f}, −∇d/γ {printed:.3g}")
    cells = 6 if quick else 12
    grids = {kind: grid_run(net.case, kind, cells) for kind in ("exact-wasserstein", "jko")}
    exact, speeds = grids["exact-wasserstein"]
    draw(directory, net, large, steps, flow, grids, single)
    pictures = ("relu-prox.png",)
    idle = max(idle_moves(net, run)[1] for run in (large["frobenius"], flow))
    return [
        Claim(
            "relu-prox-energies", "S2 §1.1", "With γ = 10 the energies of both distances look exactly the same.",
            "largest difference of the energies over 20 iterations, over the first energy", float(apart), (0.0, 0.01),
            "one percent of the height of a linear axis is the width of a line: invisible in such a figure", (0.1, np.inf),
            pictures=pictures,
        ),
        Claim(
            "relu-prox-distances", "S2 §1.1", "So do the distances between iterates.",
            "largest relative difference of d_F of the one and W₂² of the other run, 20 iterations",
            largest_difference(steps["frobenius"][:, 0], steps["assignment"][:, 1]), (0.0, 0.01),
            "a percent would be invisible on a logarithmic axis, too",
            finding="The two steps have the same global minima but for the order of neurons, for every γ. Minimised downhill from"
            " V = W they end in different local ones for γ = 10: late steps, a thousandth of the first, differ much.",
            pictures=pictures,
        ),
        Claim(
            "relu-prox-same", "S2 §1.1, S2 §2.2", "Proximal points with Frobenius and with Wasserstein distance are the same.",
            f"largest relative difference of energies and step distances for γ = {SMALL}, 20 iterations", max(same), (0.0, 1e-6),
            "with the identity as assignment both do the same operations: 0, but for round-off where sums are ordered otherwise",
            (0.01, np.inf),
        ),
        Claim(
            "relu-prox-idle", "S2 §1.1", "Neurons that activate no datum, a triangle, do not move.",
            "how far the farthest of them moves, Frobenius with γ = 10 and gradient flow", idle, (0.0, 1e-12),
            "their gradient is 0 exactly: round-off", (0.1, np.inf),
            "With W₂ by assignment and γ = 10 some of them are exchanged with other neurons, and these do move.", pictures,
        ),
        Claim(
            "relu-prox-identity", "S2 §2.2", "If γ is small the optimal assignment is the identity.",
            f"largest share of neurons exchanged in the first step, γ ≤ {IDENTITY}",
            float(single["exchanged"][gammas <= IDENTITY].max()), (0.0, 0.0), "a count: no tolerance", (0.01, 1.0),
            pictures=pictures,
        ),
        Claim(
            "relu-prox-order", "S2 §2.2", "With smaller steps the proximal point tends to the gradient flow.",
            f"order in γ ≤ {ORDER} of the difference after one step, median over neurons", order, (1.9, 2.1),
            "2 in theory; the next term is smaller by γ times the rate of the flow, about 0.2: 0.06 in the slope", (-np.inf, 1.1),
            "A median, since neurons that cross a kink during the step differ at a lower order.", pictures,
        ),
        Claim(
            "relu-prox-sign", "S2 §2.2", "V ← V − β(∇F − ∇d/γ) from V = W solves the step.",
            f"F + d/(2γ) after {INNER} such iterations, over that at the start", printed, (0.0, 1.0),
            "a descent does not end above its start", (1.01, np.inf),
            "The sign of ∇d is a slip, as is its factor: with +∇d/(2γ), as S2 has it two lines below, the objective falls.",
        ),
        Claim(
            "relu-prox-emd", "S2 §6", "Gradient flow and Wasserstein gradient flow by EMD show no particular difference.",
            f"largest relative difference of energies until t = {FLOW_TIMES[-1]:g}, extrapolated linearly to γ = 0 from"
            f" {FLOW_GAMMAS[1]} and {FLOW_GAMMAS[2]}", abs(2 * emd[2] - emd[1]), (0.0, 0.01), "a percent: invisible in a figure",
            (0.1, np.inf),
        ),
        Claim(
            "relu-prox-emd-order", "S2 §6", "What difference there is comes from the step.",
            f"order of that difference in γ, {FLOW_GAMMAS[-1]} … {FLOW_GAMMAS[0]}", emd_order, (0.85, 1.15),
            "implicit Euler: 1; the next term is smaller by γ times the rate of the flow, 0.2; kinks add to it",
            (-np.inf, 0.5),
        ),
        Claim(
            "relu-prox-grid", "S2 §1.2", "Wasserstein descent looks stuck after a while.",
            f"relative decrease of the energy from iteration {LATE} to {ITERATIONS}: exact W₂ on a grid over entropic transport",
            decrease(exact) / decrease(grids["jko"][0]), (0.0, 0.5), "stuck: less than half as fast", (0.75, np.inf),
            "Another cause than few inner iterations: on a lattice an exact step stands still although the energy could fall.",
            pictures,
        ),
        Claim(
            "relu-prox-grid-cell", "gridflow", "Exact transport on a grid stands still once γ|grad ξ| is below half a cell.",
            f"largest γ|grad ξ| along w or b, in cells, where there is mass at iteration {ITERATIONS}", float(speeds[-1]),
            (0.0, 0.501), "no mass gains by going to the next cell: ξ(y) − ξ(x) ≤ h²/(2γ); 0.001 for the duality gap",
            (0.6, np.inf),
        ),
    ]  # fmt: skip


def report(net: Network, large: dict[str, ParticleRun], steps: dict[str, Array], flow: ParticleRun) -> None:
    print("iteration   E: Frobenius, assignment, flow    Frobenius: d_F, W₂²    assignment: d_F, W₂²")
    for k in range(1, ITERATIONS + 1):
        numbers = [r.energy[k] for r in (*large.values(), flow)] + [d for s in steps.values() for d in s[k - 1]]
        print(f"{k:9d}   " + "  ".join(f"{n:10.6f}" for n in numbers))
    for name, run in {**large, "flow": flow}.items():
        count, moved, empty = idle_moves(net, run)
        print(f"{name}: of {count} idle neurons the farthest moved by {moved:.2g}; farthest place left empty: {empty:.2g}")


def draw(
    directory: Path, net: Network, large: dict[str, ParticleRun], steps: dict[str, Array], flow: ParticleRun,
    grids: dict[str, tuple[Array, Array]], single: dict[str, Array],
) -> None:  # fmt: skip
    figure = Figure(figsize=(12.5, 7.2), layout="constrained")
    (energy, distance, small), (start, end, other) = figure.subplots(2, 3)
    curves = {"frobenius": (BLUE, "-", "proximal point, Frobenius")}
    curves["assignment"] = VERMILLION, "--", "proximal point, $W_2$ by assignment"
    for name, (colour, line, label) in curves.items():
        energy.semilogy(large[name].energy, line, color=colour, label=label)
        apart = steps[name][:, int(name == "assignment")]
        distance.semilogy(range(1, ITERATIONS + 1), apart, line, color=colour, label=label)
    energy.semilogy(flow.energy, "k:", label="gradient flow")
    dots = (("exact-wasserstein", BLACK, "o", "grid, exact $W_2$"), ("jko", SKY, "x", "grid, entropic"))
    for kind, colour, marker, label in dots:
        energy.semilogy(grids[kind][0], marker, color=colour, mfc="none", ms=4, label=label)
    energy.set(title=f"energy, γ = {GAMMA:g}", xlabel="iteration", ylabel="E")
    distance.set(title="distance between iterates", xlabel="iteration", ylabel="$d_F$ and $W_2^2$")
    for axes in (energy, distance):
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    small.loglog(GAMMAS, single["moved"], "C7s-", ms=4, label="length of the step, root mean square")
    small.loglog(GAMMAS, single["flow"], "ko-", ms=4, label="Frobenius − flow, median")
    seen = single["apart"] > 0
    small.loglog(
        np.array(GAMMAS)[seen], single["apart"][seen], "^--", color=VERMILLION, ms=5, label="Frobenius − assignment (else 0)"
    )
    small.loglog(GAMMAS, single["flow"][2] * np.array(GAMMAS) ** 2, "k:", lw=0.8, label="slope 2")
    small.set(title="one step from the start", xlabel="γ", ylabel="distance of neurons")
    first, last = large["frobenius"].points[0], {name: run.points[-1] for name, run in large.items()}
    idle = idle_neurons(net, first)
    clouds = {start: (first, "start"), end: (last["frobenius"], f"{ITERATIONS} iterations, Frobenius")}
    clouds[other] = last["assignment"], f"{ITERATIONS} iterations, $W_2$ by assignment"
    for axes, (points, title) in clouds.items():
        for value, colour, marker in ((1.0, VERMILLION, "o"), (-1.0, BLUE, "s")):
            at = (points[:, 0] == value) & ~idle
            axes.plot(points[at, 1], points[at, 2], marker, color=colour, ms=3.5, ls="", label=f"sign {value:+.0f}")
        axes.plot(points[idle, 1], points[idle, 2], "^", color="0.3", ms=5, mfc="none", label="activates no datum at the start")
        axes.set(title=title, xlabel="w", ylabel="b")
    start.set(ylim=(-1.1, 1.75))  # room for the legend
    small.set(ylim=(1e-5, 2e2))
    for axes, place in ((energy, "upper right"), (distance, "upper right"), (small, "upper left"), (start, "upper left")):
        axes.legend(fontsize=8, loc=place)
    figure.suptitle(f"relu-prox: {len(first)} neurons")
    figure.savefig(directory / "relu-prox.png", dpi=80)
