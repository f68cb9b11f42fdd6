"""S2 Algorithm 1 beside the quasi-Newton iteration, for the same entropic JKO steps of the network of two signs (S2 §8, §8.1).

    p_{k+1} = argmin_p W_ε(p, p_k) + 2τE(p),     f(x) = Σ_i α_i (w_i x + b_i)₊ p_i,  α_i = ±1,  E = (1/2n) Σ_j (f(x_j) − y_j)²

on the three points of S2 §7, standardised, 144² cells of [−6, 6]² for each sign (quick: 40²), 16 steps τ = 0.2 (quick: 8).
Algorithm 1 is p ← prox(Kb), a ← p/(Kb), b ← q/(Ka) (case relu-jko-algorithm-1); the other path is the quasi-Newton iteration for
a alone (case relu-jko with bias = "plain"). ε = 1.25 cells² in both; the tolerances are 1e-5, of ConstrEven and ConstrOdd, and
1e-8, of the change of p in L1. Algorithm 1 starts every step from b = 1, the quasi-Newton iteration from the last step.

Findings. The densities are the same within what the tolerances leave, and so are the losses, which no step raises. Both meet
the stopping criterion of S2, with ConstrEven taken before b is updated (line 7): after it, it would vanish by construction.
Algorithm 1 needs more iterations on finer grids, the quasi-Newton iteration hardly. The diffusion that S2 names as a price of
the entropy is ε/(4τ): a step without any force adds the variance ε/2 along w and along b, whatever τ is, so that shorter steps
diffuse more.
"""

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

import gridflow
from gridflow.case.case import Case
from gridflow.energy.base import Energy
from gridflow.energy.potential import Potential
from gridflow.scheme.base import State
from gridflow.scheme.jko.scheme import JKO, JKOStepper
from gridflow.space.factor import Array
from gridflow.space.grid import Grid
from validation.claim import Claim

TOLERANCE = 1e-5
"""Of ConstrEven and ConstrOdd, in the case relu-jko-algorithm-1."""
FREE_STEPS = 4
PICTURES = ("relu-algorithm-1.png",)


@dataclass(frozen=True)
class Descent:
    """One run: density at the end, −Ė/E at the start, losses; ConstrEven, ConstrOdd, iterations, CPU seconds of every step."""

    density: Array
    rate: float
    loss: Array
    even: Array
    odd: Array
    iterations: Array
    seconds: Array


def case_of(name: str, cells: int) -> Case:
    """The case on cells² cells; relu-jko with the steps of relu-jko-algorithm-1, which are plain."""
    case = gridflow.load_case(name).replace({"space.w.cells": cells, "space.b.cells": cells})
    return case.replace({"scheme.bias": "plain"})


def start(case: Case, energy: Energy | None = None) -> tuple[JKOStepper, State]:
    """energy : instead of that of the case."""
    if not isinstance(case.scheme, JKO):
        raise TypeError(f"received the scheme {case.scheme}; give a case with JKO steps")
    problem = case.problem(energy)
    stepper = case.scheme.init(problem)
    return stepper, stepper.start(problem.start / problem.grid.volume)


def descend(case: Case, steps: int) -> Descent:
    """`steps` steps of the case."""
    stepper, state = start(case)
    loss, rows, rate = [state.free_energy], [], state.dissipation / state.free_energy
    for step in range(steps):
        before, began = state.reports.get("iterations", 0), time.process_time()
        state = stepper.step(state, np.inf)
        seconds = time.process_time() - began
        report = stepper.report(state)
        loss.append(state.free_energy)
        rows.append((report["constr_even"], report["constr_odd"], report["iterations"] - before, seconds))
        print(
            f"{case.scheme.algorithm} step {step + 1}: loss {loss[-1]:.9f}, ConstrEven {rows[-1][0]:.1e}, ConstrOdd"
            f" {rows[-1][1]:.1e}, {rows[-1][2]:.0f} iterations, {seconds:.3f} s of CPU", flush=True,
        )  # fmt: skip
    return Descent(state.density, rate, np.array(loss), *np.array(rows).T)


def free_growth(case: Case) -> float:
    """Variance that a step without any force adds, over ε/2: the mean of FREE_STEPS steps, w and b."""
    grid = case.grid()
    stepper, state = start(case, Potential().load(Path()))  # without terms: E = 0

    def variance(density: Array) -> float:
        masses = density * grid.volume
        found = 0.0
        for name in ("w", "b"):
            x = grid.coordinate(name)
            found += float((masses * x**2).sum() - (masses * x).sum() ** 2) / 2
        return found

    before = variance(state.density)
    for _ in range(FREE_STEPS):
        state = stepper.step(state, np.inf)
    return (variance(state.density) - before) / (FREE_STEPS * stepper.epsilon / 2)


def reproduce(directory: Path, quick: bool) -> list[Claim]:
    cells, steps = (40, 8) if quick else (144, 16)
    printed, fast = case_of("relu-jko-algorithm-1", cells), case_of("relu-jko", cells)
    for case in (printed, fast):  # compiles
        descend(case.replace({"space.w.cells": 12, "space.b.cells": 12}), 1)
    slow, quasi = descend(printed, steps), descend(fast, steps)
    grid, tau = printed.grid(), printed.scheme.tau
    difference = slow.density - quasi.density
    apart = grid.integrate(np.abs(difference))
    allowed = TOLERANCE * float(slow.iterations.sum())
    xi = printed.problem().bound.evaluate(slow.density * grid.volume).first_variation
    reach = float(np.ptp(xi)) / 2
    decay = (1 + tau * slow.rate / 2) ** (-2 * steps)
    growth = free_growth(printed)
    print(f"L1 {apart:.3e}, allowed {allowed:.3e}; half the range of ξ {reach:.3g}")
    print(f"final losses {slow.loss[-1]:.9f} and {quasi.loss[-1]:.9f}, share left {slow.loss[-1] / slow.loss[0]:.4f}")
    print(f"rate of the loss at the start {slow.rate:.4f}, which leaves {decay:.4f} by implicit Euler steps")
    print(f"CPU seconds {slow.seconds.sum():.2f} and {quasi.seconds.sum():.2f}")
    print(f"iterations {slow.iterations.sum():.0f} and {quasi.iterations.sum():.0f}")
    print(f"step without force: variance grows by {growth:.9f} ε/2")
    draw(directory, grid, slow, quasi, cells)
    return [*same_density(slow, quasi, apart, allowed), *same_loss(slow, quasi, allowed, reach, decay), diffusion(growth)]


def same_density(slow: Descent, quasi: Descent, apart: float, allowed: float) -> list[Claim]:
    return [
        Claim(
            "relu-algorithm-1-density", "S2 §8.1",
            "Dykstra's algorithm with KL proximal steps solves the entropic JKO step.",
            "L1 difference of the densities of Algorithm 1 and of the quasi-Newton iteration at the end", apart, (0.0, allowed),
            "1e-5 times the iterations of Algorithm 1: at a rate r the change of 1e-5 at which it ends leaves 1e-5/(1 − r), and"
            " n iterations from 1 to 1e-5 mean 1/(1 − r) < n; steps of a convex energy do not enlarge errors, which add up",
            (0.1, np.inf), pictures=PICTURES,
        ),
        Claim(
            "relu-algorithm-1-constr-even", "S2 §8.1", "ConstrEven, ‖b·Ka − q‖/‖q‖ before b is updated, becomes small.",
            "largest ConstrEven and ConstrOdd of all steps of Algorithm 1 at their end",
            float(max(slow.even.max(), slow.odd.max())), (0.0, TOLERANCE),
            "the tolerance of the case, reached before the limit of 1000 iterations",
            finding="The source stops by ConstrOdd alone; after the update of b, ConstrEven is 0. Here both are small.",
            pictures=PICTURES,
        ),
        Claim(
            "relu-algorithm-1-constr-even-newton", "S2 §8.1, gridflow",
            "The quasi-Newton iteration ends where Algorithm 1 does: its solution passes the criterion of the source.",
            "largest ConstrEven and ConstrOdd of one iteration of Algorithm 1 from the b of the quasi-Newton iteration",
            float(max(quasi.even.max(), quasi.odd.max())), (0.0, TOLERANCE), "the tolerance of Algorithm 1", pictures=PICTURES,
        ),
        Claim(
            "relu-algorithm-1-iterations", "gridflow", "The quasi-Newton iteration needs far fewer iterations than Algorithm 1.",
            "iterations of Algorithm 1 over those of the quasi-Newton iteration",
            float(slow.iterations.sum() / quasi.iterations.sum()),
            finding="The ratio grows with the number of cells: Algorithm 1 needs more iterations on finer grids.",
            pictures=PICTURES,
        ),
        Claim(
            "relu-algorithm-1-seconds", "gridflow", "The quasi-Newton iteration costs far less than Algorithm 1.",
            "CPU time of Algorithm 1 over that of the quasi-Newton iteration, all steps",
            float(slow.seconds.sum() / quasi.seconds.sum()), pictures=PICTURES,
        ),
    ]  # fmt: skip


def same_loss(slow: Descent, quasi: Descent, allowed: float, reach: float, decay: float) -> list[Claim]:
    first = float(slow.loss[0])
    return [
        Claim(
            "relu-algorithm-1-loss-falls", "S2 §8", "The steps on the grid descend the loss of the network of two signs.",
            "largest change of the loss in a step of either path, over the loss at the start",
            float(max(np.diff(slow.loss).max(), np.diff(quasi.loss).max())) / first, (-np.inf, 0.0),
            "a descent: no step raises the loss", pictures=PICTURES,
        ),
        Claim(
            "relu-algorithm-1-loss-share", "S2 §8", "The network on the grid learns the three points.",
            "share of the loss left at the end, over that of implicit Euler steps of equal length at the rate of the start",
            float(slow.loss[-1]) / first / decay, (0.5, 2.0),
            "the tangent kernel changes by a share while weights of order one move by a share of their length: a factor of two",
            (0.5 / decay, np.inf), pictures=PICTURES,
        ),
        Claim(
            "relu-algorithm-1-loss-same", "S2 §8", "The loss does not depend on how the steps are solved.",
            "difference of the final losses of both paths, over what the allowed difference of the densities leaves",
            abs(float(slow.loss[-1] - quasi.loss[-1])) / (reach * allowed), (0.0, 1.0),
            "|E(p) − E(q)| ≤ ½(max ξ − min ξ)‖p − q‖ in L1, to first order, with the L1 difference allowed above",
            pictures=PICTURES,
        ),
    ]  # fmt: skip


def diffusion(growth: float) -> Claim:
    return Claim(
        "relu-algorithm-1-diffusion", "S2 §8, S2 §8.1", "Entropic JKO steps introduce diffusion.",
        f"variance that a step without force adds along w and along b, over 2Dτ = ε/2, D = ε/(4τ); mean of {FREE_STEPS} steps",
        growth, (0.999, 1.001),
        "the kernel is a Gaussian of variance ε/2 sampled at the cells: 8π²s·exp(−2π²s) = 2.2e-4 less, s = ε/(2 cells²) = 0.625"
        " (Poisson summation); the walls, five deviations away or more, take less than 1e-4",
        (-0.5, 0.5),
        "A step without force is the kernel applied once, whatever τ is: shorter steps diffuse more in the same time.",
    )  # fmt: skip


def draw(directory: Path, grid: Grid, slow: Descent, quasi: Descent, cells: int) -> None:
    """Density for sign +1 by both paths, and their difference; ConstrEven and ConstrOdd, iterations and CPU time by step."""
    figure = Figure(figsize=(10.0, 5.6), layout="constrained")
    axes = figure.subplots(2, 3)
    order = [grid.order.index(n) for n in ("sign", "b", "w")]
    fields = [np.transpose(d.density, order)[1] for d in (slow, quasi)]
    w, b = (next(f for f in grid.factors if f.name == n) for n in ("w", "b"))
    top = float(max(f.max() for f in fields))
    steps = np.arange(1, len(slow.iterations) + 1)
    for panel, field, title in zip(axes[0], fields, ("Algorithm 1", "quasi-Newton"), strict=False):
        image = panel.pcolormesh(w.edges, b.edges, field, vmin=0, vmax=top, cmap="viridis", rasterized=True)
        panel.set(title=f"{title}, sign +1", xlabel="w", ylabel="b", aspect="equal", xlim=(-3.5, 3.5), ylim=(-3.5, 3.5))
    figure.colorbar(image, ax=axes[0, :2], label="density", shrink=0.8)
    gap = fields[0] - fields[1]
    limit = float(np.abs(gap).max())
    image = axes[0, 2].pcolormesh(w.edges, b.edges, gap, vmin=-limit, vmax=limit, cmap="PuOr", rasterized=True)
    axes[0, 2].set(title="difference", xlabel="w", ylabel="b", aspect="equal", xlim=(-3.5, 3.5), ylim=(-3.5, 3.5))
    figure.colorbar(image, ax=axes[0, 2], shrink=0.8)
    for run, name, colour, mark in ((slow, "Algorithm 1", "C1", "s"), (quasi, "quasi-Newton", "C0", "o")):
        axes[1, 0].semilogy(steps, run.even, f"{colour}{mark}-", ms=5, label=f"ConstrEven, {name}")
        axes[1, 0].semilogy(steps, run.odd, "kx" if run is slow else "k+", ms=5, label=f"ConstrOdd, {name}")
        axes[1, 1].semilogy(steps, run.iterations, f"{colour}{mark}-", ms=4)
        axes[1, 2].semilogy(steps, run.seconds, f"{colour}{mark}-", ms=4)
    axes[1, 0].axhline(TOLERANCE, color="0.6", lw=0.8, label="tolerance of Algorithm 1")
    for panel, title in zip(axes[1], ("ConstrEven, ConstrOdd", "iterations per step", "CPU seconds per step"), strict=True):
        panel.set(title=title, xlabel="step")
    figure.legend(*axes[1, 0].get_legend_handles_labels(), loc="outside lower center", ncols=5, fontsize="small")
    figure.suptitle(f"the network of two signs on {cells}² cells for each sign, the same entropic JKO steps")
    figure.savefig(directory / "relu-algorithm-1.png", dpi=85)
