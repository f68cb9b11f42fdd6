"""A convex problem for a signed measure of neurons, S2 §4.1, solved by the flow of densities and by particles.

    J(μ) = R(∫φ dμ) + G(μ),    φ(d; x) = ⟨d, (x, 1)⟩₊ on the circle,    R = ½ Σ_j μ_j (f_j − y_j)²,    G = λ|μ|(S¹)

`relu-total-variation` writes μ as the difference of two densities, at the signs ±1: ξ = Σ_j μ_j (f_j − y_j) s φ(d; x_j) + λ. It
is a minimiser where ξ = 0 on it and ξ ≥ 0 everywhere. The minimum J* is computed without any flow, as a quadratic programme with
masses ≥ 0 at 7200 directions and both signs, and certified by the dual problem

    J* ≥ −½ Σ μ_j p_j² − Σ μ_j p_j y_j    for every p with |Σ_j μ_j p_j φ(d; x_j)| ≤ λ for all d.

Findings: the flow gathers its mass in a few cells and its J tends to J*; the gap falls faster than 1/t, the bound of mirror
descent, which holds for the reaction alone. The mass is sparse because of G: without it more than ten times as many directions
remain. Some starts of four random particles lack a direction or a sign and stop above J*; none of sixteen does.
"""

import math
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from scipy.optimize import nnls

import gridflow
from gridflow.particles.integrator import RungeKutta2
from gridflow.particles.simulation import simulate
from validation.claim import Claim

CASE = "relu-total-variation"
STOP = 40.0
DIRECTIONS = 7200
"""Of the quadratic programme."""
SMALL = 1e-5
"""Weight of (Σ masses + λ/SMALL²)², whose cross term is λ Σ masses: its square changes J by 1e−10."""
COUNTS = (4, 16, 64)
INTEGRATOR = RungeKutta2(0.05)


class Problem:
    """The data of the case and both sides of the convex problem."""

    def __init__(self, case, dataset):
        self.inputs = np.hstack([dataset["input"], np.ones((dataset.sizes["data"], 1))])
        self.targets = dataset["target"].to_numpy()[:, 0] if dataset["target"].ndim > 1 else dataset["target"].to_numpy()
        self.weights = dataset["data_weight"].to_numpy()
        self.strength = case.energy.decay
        self.angles = (np.arange(DIRECTIONS) + 0.5) * 2 * np.pi / DIRECTIONS
        plain = self.features(self.angles)
        self.signed = np.vstack([plain, -plain])

    def features(self, angles):
        return np.maximum(np.stack([np.cos(angles), np.sin(angles)], axis=1) @ self.inputs.T, 0.0)

    def minimum(self):
        """(J*, a bound below it, masses at the directions for both signs)."""
        root = np.sqrt(self.weights)
        rows = np.vstack([self.signed.T * root[:, None], np.full(len(self.signed), SMALL)])
        masses = nnls(rows, np.append(root * self.targets, -self.strength / SMALL))[0]
        residual = masses @ self.signed - self.targets
        value = self.weights @ residual**2 / 2 + self.strength * masses.sum()
        dual = residual * min(1.0, self.strength / np.abs(self.signed @ (self.weights * residual)).max())
        return value, -self.weights @ dual**2 / 2 - self.weights @ (dual * self.targets), masses

    def best_single(self):
        """min J over measures at one direction."""
        active = self.signed[np.abs(self.signed).max(axis=1) > 0]
        gain = active @ (self.weights * self.targets) - self.strength
        lost = np.maximum(gain, 0.0) ** 2 / (2 * active**2 @ self.weights)
        return self.weights @ self.targets**2 / 2 - lost.max()

    def first_variation(self, prediction):
        """ξ at the directions for both signs."""
        return self.signed @ (self.weights * (prediction - self.targets)) + self.strength


def effective_number(masses):
    """1/Σp² of the shares p: n for n equal masses."""
    shares = masses / masses.sum()
    return float(1 / (shares**2).sum())


def final_masses(dataset):
    """(n_signs, n_cells)."""
    return (dataset["density"].isel(time=-1) * dataset["cell_volume"]).transpose("sign", "angle").to_numpy()


def particle_gaps(case, optimum, seeds):
    """J − J* of particles at the end, (counts, seeds)."""

    def final(count, seed):
        return simulate(case, count, times=[0.0, STOP], seed=seed, integrator=INTEGRATOR).energy[-1]

    return np.array([[final(count, seed) for seed in range(seeds)] for count in COUNTS]) - optimum


def draw(directory, problem, optimum, masses, runs, gaps):
    figure = Figure(figsize=(11, 6.4), layout="constrained")
    (over_time, over_count), (found, without) = figure.subplots(2, 2)
    regular = runs["with"]
    over_time.loglog(regular["time"][1:], regular["energy"][1:] - optimum, "o-", color="C0", ms=3, label="the flow on a grid")
    time = regular["time"].to_numpy()[1:]
    over_time.loglog(time, (regular["energy"].to_numpy()[1] - optimum) * time[0] / time, "k:", label="1/t")
    over_time.set(xlabel="time", ylabel="J − J*")
    over_count.loglog(COUNTS, np.maximum(gaps, 1e-6), "o", color="C7", ms=3)
    over_count.loglog(COUNTS, np.median(gaps, axis=1), "s-", color="C1", label=f"median of {gaps.shape[1]} starts")
    over_count.set_xticks(COUNTS, [str(n) for n in COUNTS])
    over_count.set_xticks([], minor=True)
    over_count.set(xlabel="number of particles", ylabel=f"J − J* at t = {STOP:g}")
    degrees = np.degrees(problem.angles)
    for axes, name, title in ((found, "with", "λ = 0.05"), (without, "without", "λ = 0")):
        final = final_masses(runs[name])
        cells = np.degrees(runs[name]["angle"].to_numpy())
        for sign, row, colour in ((-1, final[0], "C3"), (1, final[1], "C0")):
            axes.semilogy(cells, np.maximum(row, 1e-7), color=colour, label=f"sign {sign:+d}")
        axes.set(xlabel="direction in degrees", ylabel="mass of a cell", title=f"{title}, t = {STOP:g}", ylim=(1e-7, 5))
    for sign, part, colour in ((1, masses[:DIRECTIONS], "C0"), (-1, masses[DIRECTIONS:], "C3")):
        atoms = part > 1e-9
        found.plot(degrees[atoms], part[atoms], "v", mfc="none", color=colour, ms=9, label=f"minimiser, sign {sign:+d}")
    for axes in figure.axes:
        axes.legend(fontsize="small")
    figure.savefig(directory / "relu-total-variation.png", dpi=100)


def reproduce(directory: Path, quick: bool) -> list[Claim]:
    cells = 180 if quick else 360
    saves = [0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 40.0]
    case = gridflow.load_case(CASE).replace({"time.stop": STOP, "time.save": saves, "space.angle.cells": cells})
    runs = {"with": gridflow.solve(case), "without": gridflow.solve(case.replace({"energy.decay": 0.0}))}
    problem = Problem(case, runs["with"])
    optimum, below, masses = problem.minimum()
    single = problem.best_single()
    print(f"J* between {below:.8f} and {optimum:.8f}; the best single neuron {single:.6f}; |μ*| = {masses.sum():.4f}")
    gap = runs["with"]["energy"].to_numpy() - optimum
    print("time", runs["with"]["time"].to_numpy(), "\nJ − J*", gap)
    exponent = np.log(gap[-1] / gap[-3]) / np.log(4.0)
    xi = problem.first_variation(runs["with"]["prediction"].isel(time=-1).to_numpy().ravel())
    final = final_masses(runs["with"])
    at_cells = np.vstack([np.interp(runs["with"]["angle"], problem.angles, part) for part in (xi[DIRECTIONS:], xi[:DIRECTIONS])])
    on_support = float((np.abs(at_cells) * final).sum() / final.sum())
    slope = np.abs(np.diff(xi[:DIRECTIONS])).max() * DIRECTIONS / (2 * np.pi)
    resolved = float(slope * 2 * np.pi / cells / problem.strength)
    number, control = effective_number(final), effective_number(final_masses(runs["without"]))
    print(f"ξ/λ from {xi.min() / problem.strength:+.4f}; mean |ξ|/λ on the measure {on_support / problem.strength:.4f}")
    print(f"effective number of directions {number:.2f}; without G {control:.1f}")
    gaps = particle_gaps(case, optimum, 3 if quick else 8)
    print("particles", *(f"{n}: {np.median(g):.2e}" for n, g in zip(COUNTS, gaps, strict=True)))
    draw(directory, problem, optimum, masses, runs, gaps)
    pictures = ("relu-total-variation.png",)
    says = "Where the flow of a network with a convex regulariser of a signed measure converges, it is to a global minimiser."
    return [
        Claim(
            name="total-variation-minimum",
            source="S2 §4.1",
            says=says,
            quantity=f"(J − J*)/(J of the best single neuron − J*) at t = {STOP:g}, J* by a certified quadratic programme",
            value=float(gap[-1] / (single - optimum)),
            band=(-1e-3, 0.0125),
            reason="1 would be a minimum with a neuron less, which the flow passes at t = ½; a fall like 1/t, the bound of mirror"
            " descent, leaves 1/80 of that; below 0 by no more than the directions of the programme leave",
            pictures=pictures,
        ),
        Claim(
            name="total-variation-rate",
            source="S2 §4.1",
            says=says,
            quantity="exponent of J − J* over time, from a quarter of the time to its end",
            value=float(exponent),
            band=(-math.inf, -1.0),
            reason="mirror descent, the reaction alone: d/dt KL(ρ*|ρ) = −κ∫ξ d(ρ − ρ*) ≤ −κ(J − J*), so that the gap is O(1/t)",
            opposite=(-0.5, math.inf),
            pictures=pictures,
        ),
        Claim(
            name="total-variation-stationary",
            source="gridflow",
            says="A minimiser has ξ = 0 on its support and ξ ≥ 0 elsewhere, with ξ that of the loss plus λ.",
            quantity="larger of mean |ξ| on the measure and −min ξ, over λ",
            value=float(max(on_support, -xi.min()) / problem.strength),
            band=(0.0, resolved),
            reason="the change of ξ over one cell: a neuron between two cell points cannot do better",
            finding="The support is two or three cells; ξ has kinks at the directions of the data.",
            pictures=pictures,
        ),
        Claim(
            name="total-variation-sparse",
            source="gridflow",
            says="Total variation makes the minimiser sparse: at most as many neurons as data.",
            quantity="effective number of cells 1/Σp² that hold mass, both signs",
            value=number,
            band=(1.0, 2.0 * len(problem.targets)),
            reason="a minimiser has at most as many neurons as data, and each lies between two cell points",
            finding="Without the regulariser the flow fits the data with more than ten times as many directions.",
            pictures=pictures,
        ),
        Claim(
            name="total-variation-particles",
            source="S2 §4.1",
            says="Gradient flows of m particles reach the minimum of J as m and the time grow.",
            quantity=f"largest (J − J*)/(J of the best single neuron − J*) of all random starts of {COUNTS[-1]} particles",
            value=float(gaps[-1].max() / (single - optimum)),
            band=(-1e-3, 0.0125),
            reason="as for the density: what a gap that falls like 1/t leaves",
            finding="Starts of four particles may lack a direction or a sign that they would need.",
            pictures=pictures,
        ),
    ]
