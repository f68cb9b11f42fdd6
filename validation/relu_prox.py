"""Proximal point and "Wasserstein descent" of a ReLU network with γ = 10 (S2 §1): are the distances the same?

    python validation/relu_prox.py DIRECTORY [--overwrite]

The case relu-prox in a wider box, N = 128 neurons. Writes relu-prox.nc with every curve and relu-prox.png, and prints

* energy and distance between iterates for proximal points with the distance of Frobenius, of the optimal assignment (W₂) and
  sliced, for gradient descent (with γ itself if its energy falls, else with a smaller step, which it says), and for the flow;
* one step from the start for several γ: difference of the distances, and of the step to the gradient flow. Theory: the assignment
  is the identity below some γ, and then there is no difference; the sliced distance exchanges neurons along some directions at
  every γ, but its step differs by less than O(γ); an implicit step is off by O(γ²), but for the neurons that cross a kink: hence
  medians over neurons;
* the same steps for densities on a small grid, with the exact W₂ and with entropic transport (S2 §1.2). "Very similar, but then
  it looks stuck" is what exact transport does on a lattice: it stands still once γ|grad ξ| is below half a cell.
"""

import argparse
from pathlib import Path

import numpy as np
import xarray
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from scipy.optimize import linear_sum_assignment

import gridflow
from gridflow.errors import SolveError
from gridflow.files import check_new_file
from gridflow.particles.cloud import draw_cloud
from gridflow.particles.integrator import GradientDescent, ProximalPoint, RungeKutta2
from gridflow.scheme.wasserstein import exact_transport

GAMMA, ITERATIONS, COUNT = 10.0, 20, 128
TOLERANCE = 1e-3
"""Of positions, which are of order one: far below what the curves show."""
GAMMAS = (10.0, 3.0, 1.0, 0.3, 0.1, 0.03)
BOX = {"space.w.bounds": [-6.0, 6.0], "space.b.bounds": [-3.6, 3.6]}
DESCENT_STEPS = (10.0, 5.0, 2.0, 1.0, 0.5, 0.2)
COMPARED = (1, 5, 20)
"""Iterations at which the densities of both transports are compared."""
DISTANCES = ("frobenius", "assignment", "sliced")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--overwrite", action="store_true")
    options = parser.parse_args()
    options.directory.mkdir(parents=True, exist_ok=True)
    outputs = {ending: options.directory / f"relu-prox{ending}" for ending in (".nc", ".png")}
    for ending, path in outputs.items():
        check_new_file(path, {ending}, options.overwrite)
    case = gridflow.load_case("relu-prox").replace(BOX)
    dataset = xarray.merge([particle_runs(case), small_steps(case), grid_runs(case)], combine_attrs="no_conflicts")
    dataset.attrs["title"] = f"relu-prox: proximal points with γ = {GAMMA:g}, {COUNT} neurons"
    report(dataset)
    dataset.to_netcdf(outputs[".nc"])
    draw(dataset).savefig(outputs[".png"], dpi=130)


# ---------------------------------------------------------------------------------------------------------- particles
def proximal(case, distance, times, tolerance=TOLERANCE):
    prox = ProximalPoint(step=times[1], distance=distance, tolerance=tolerance)
    return gridflow.simulate(case, cloud(case), times=times, integrator=prox)


def cloud(case):
    return draw_cloud(case.initial, case.grid().factors, COUNT, 1, "sobol")


def particle_runs(case):
    """Energy, step distances and positions of all methods over ITERATIONS of time GAMMA."""
    times = [GAMMA * k for k in range(ITERATIONS + 1)]
    runs = {name: proximal(case, name, times) for name in DISTANCES}
    for step in DESCENT_STEPS:
        try:
            descent = gridflow.simulate(case, cloud(case), times=times, integrator=GradientDescent(step=step))
        except SolveError:
            continue
        if (np.diff(descent.energy) <= 0).all():
            break
    else:
        raise SolveError(f"gradient descent is unstable for all of the steps {DESCENT_STEPS}")
    runs["gradient-descent"] = descent
    runs["flow"] = gridflow.simulate(case, cloud(case), times=times, integrator=RungeKutta2(0.1))
    factors = [f.name for f in case.grid().factors]
    positions = np.stack([r.points for r in runs.values()])
    distances = np.array([[step_distances(a, b) for a, b in zip(p[1:], p[:-1], strict=True)] for p in positions])
    data = case.energy.load(Path(case.directory)).data
    start = dict(zip(factors, positions[0, 0].T, strict=True))
    idle = (start["w"][:, None] * data.inputs[:, 0] + start["b"][:, None] <= 0).all(axis=1)
    return xarray.Dataset(
        {
            "energy": (("run", "iteration"), np.stack([r.energy for r in runs.values()])),
            "frobenius": (("run", "step"), distances[..., 0], {"long_name": "mean of |V_i - W_i|^2"}),
            "assignment": (("run", "step"), distances[..., 1], {"long_name": "squared W2 of the two clouds"}),
            "position": (("run", "iteration", "particle", "factor"), positions),
            "idle": ("particle", idle.astype(np.int8), {"long_name": "1 for neurons that activate no datum at the start"}),
        },
        coords={
            "run": list(runs),
            "iteration": range(ITERATIONS + 1),
            "step": range(1, ITERATIONS + 1),
            "factor": factors,
        },
        attrs={"descent_step": step, "gamma": GAMMA},
    )


def step_distances(new, old):
    """(mean |V_i − W_i|², W₂²); neurons of different signs are not exchanged. Column 0 is the sign."""
    squares = ((new[:, None] - old[None]) ** 2).sum(axis=2)
    squares[new[:, None, 0] != old[None, :, 0]] = 1e6
    return squares.diagonal().mean(), squares[linear_sum_assignment(squares)].mean()


def small_steps(case):
    """One step for every γ: differences of V from the Frobenius step in the root mean square, from the flow in the median."""
    columns = {name: [] for name in ("assignment_difference", "sliced_difference", "exchanged", "flow_difference", "moved")}
    for gamma in GAMMAS:
        tolerance = min(TOLERANCE, 1e-4 * gamma)
        ends = {name: proximal(case, name, [0.0, gamma], tolerance).points for name in DISTANCES}
        flow = gridflow.simulate(case, cloud(case), times=[0.0, gamma], integrator=RungeKutta2(gamma / 200)).points[1]
        start, end = ends["frobenius"]
        squares = ((ends["assignment"][1][:, None] - start[None]) ** 2).sum(axis=2)
        squares[start[:, None, 0] != start[None, :, 0]] = 1e6
        columns["exchanged"].append((linear_sum_assignment(squares)[1] != np.arange(COUNT)).mean())
        columns["moved"].append(size(end - start))
        columns["assignment_difference"].append(size(ends["assignment"][1] - end))
        columns["sliced_difference"].append(size(ends["sliced"][1] - end))
        columns["flow_difference"].append(float(np.median(np.linalg.norm(end - flow, axis=1))))
    return xarray.Dataset({name: ("gamma", values) for name, values in columns.items()}, coords={"gamma": list(GAMMAS)})


def size(gaps):
    return float(np.sqrt((gaps**2).sum(axis=1).mean()))


# --------------------------------------------------------------------------------------------------------------- grids
def grid_runs(case):
    """Energy and W₂² of the steps of densities on a grid with cells of 0.2, exact and entropic."""
    changes = {"space.w.cells": 60, "space.b.cells": 36, "time.stop": GAMMA * ITERATIONS, "time.save": ITERATIONS + 1}
    energies, masses, squared, grid = [], [], None, case.replace(changes).grid()
    for scheme in ({"kind": "exact-wasserstein", "tau": GAMMA}, {"kind": "jko", "tau": GAMMA}):
        dataset = gridflow.solve(case.replace({**changes, "scheme": scheme}))
        if dataset.attrs["status"] != "completed":
            raise SolveError(f"{scheme['kind']}: {dataset.attrs['status']}")
        energies.append(dataset["energy"].to_numpy())
        masses.append(dataset["density"].transpose("time", *grid.order).to_numpy() * grid.volume)
        if "step_w2" in dataset:
            squared = dataset["step_w2"].to_numpy()[1:] ** 2
    apart = [np.sqrt(exact_transport(grid, masses[0][k], masses[1][k])[0]) for k in COMPARED]
    return xarray.Dataset(
        {
            "grid_energy": (("transport", "iteration"), np.stack(energies)),
            "grid_squared_distance": ("step", squared),
            "grid_apart": ("compared", apart, {"long_name": "W2 of the densities of exact and entropic steps"}),
        },
        coords={"transport": ["exact", "entropic"], "compared": list(COMPARED)},
    )


# -------------------------------------------------------------------------------------------------------------- report
def report(dataset) -> None:
    print(f"gradient descent with step {dataset.attrs['descent_step']:g} (energy falls at every save)")
    print("\niteration   energy: " + "  ".join(f"{m:>16}" for m in dataset["run"].values) + "   grid exact  grid entropic")
    for k in (0, 1, 2, 3, 5, 10, 15, ITERATIONS):
        at = dataset.isel(iteration=k)
        numbers = [*at["energy"].values, *at["grid_energy"].values]
        print(f"{k:9d}          " + "  ".join(f"{v:16.5f}" for v in numbers))
    print("\niteration   Frobenius point: d_F, W2²     assignment point: d_F, W2²     exact W2² on the grid")
    for k in (0, 1, 2, 4, 9, 14, ITERATIONS - 1):
        at = dataset.isel(step=k)
        pairs = [float(at[d].sel(run=m)) for m in ("frobenius", "assignment") for d in ("frobenius", "assignment")]
        print(f"{k + 1:9d}   " + "  ".join(f"{v:13.6f}" for v in [*pairs, float(at["grid_squared_distance"])]))
    apart = ", ".join(f"{float(d):.3f}" for d in dataset["grid_apart"])
    print(f"\nW2 between the densities of exact and entropic steps after {COMPARED} iterations, cells of 0.2: {apart}")
    print("\n    γ     moved    assignment   exchanged     sliced    to the flow   (differences from Frobenius, over moved)")
    for row in range(len(GAMMAS)):
        at = dataset.isel(gamma=row)
        relative = [float(at[n] / at["moved"]) for n in ("assignment_difference", "sliced_difference", "flow_difference")]
        first, last = f"{float(at['gamma']):6.2f}  {float(at['moved']):8.4f}   {relative[0]:9.2e}", 100 * float(at["exchanged"])
        print(f"{first}   {last:7.1f} %   {relative[1]:9.2e}   {relative[2]:9.2e}")
    small = dataset.sel(gamma=[g for g in GAMMAS if g <= 1.0])
    slope = np.polyfit(np.log(small["gamma"]), np.log(small["flow_difference"]), 1)[0]
    print(f"slope of the distance to the flow in γ ≤ 1: {slope:.2f} (theory 2)")
    slope = np.polyfit(np.log(small["gamma"][1:]), np.log(small["sliced_difference"][1:]), 1)[0]
    print(f"slope of the distance to the sliced step in γ < 1: {slope:.2f} (theory: above 1)")
    idle = dataset["idle"].values == 1
    moved = np.abs(dataset["position"].isel(iteration=-1) - dataset["position"].isel(iteration=0)).isel(particle=idle)
    print(f"{idle.sum()} of {COUNT} neurons activate no datum at the start; they moved by at most")
    for name in dataset["run"].values:
        print(f"    {float(moved.sel(run=name).max()):.1e}  {name}")


def draw(dataset) -> Figure:
    figure = Figure(figsize=(15.5, 9.0), layout="constrained")
    (energy, steps, gaps), (start, end, small) = figure.subplots(2, 3)
    names = {
        "frobenius": "proximal point, Frobenius",
        "assignment": "proximal point, $W_2$ by assignment",
        "sliced": "proximal point, sliced",
        "gradient-descent": f"gradient descent, step {dataset.attrs['descent_step']:g}",
        "flow": "gradient flow",
    }
    styles = {"frobenius": "C0-", "assignment": "C1--", "sliced": "C2-.", "gradient-descent": "C4:", "flow": "k-"}
    for name, label in names.items():
        energy.semilogy(dataset["iteration"], dataset["energy"].sel(run=name), styles[name], label=label, lw=1.5)
    energy.semilogy(dataset["iteration"], dataset["grid_energy"].sel(transport="exact"), "C3o", ms=3.5, label="grid, exact $W_2$")
    energy.semilogy(
        dataset["iteration"], dataset["grid_energy"].sel(transport="entropic"), "C5x", ms=4, label="grid, entropic transport"
    )
    energy.set(title=f"energy, γ = {GAMMA:g} per iteration", xlabel="iteration", ylabel="E")

    for name in DISTANCES:
        steps.semilogy(dataset["step"], dataset["assignment"].sel(run=name), styles[name], label=names[name], lw=1.5)
    steps.semilogy(
        dataset["step"], dataset["grid_squared_distance"].where(lambda d: d > 0), "C3o", ms=3.5, label="grid, exact $W_2$"
    )
    steps.set(title="distance between iterates, $W_2^2(W^{t+1}, W^t)$", xlabel="iteration", ylabel="$W_2^2$")

    frobenius, assignment = dataset["frobenius"], dataset["assignment"]
    within = {m: (frobenius - assignment).sel(run=m) / assignment.sel(run=m) for m in ("frobenius", "assignment")}
    for (name, gap), style in zip(within.items(), ("C0-", "C1--"), strict=True):
        gaps.plot(dataset["step"], 100 * gap, style, label=f"$d_F / W_2^2 - 1$, {names[name]}")
    between = frobenius.sel(run="frobenius") / assignment.sel(run="assignment") - 1
    gaps.plot(dataset["step"], 100 * between, "k.-", lw=0.8, label="$d_F$ of the first over $W_2^2$ of the second, − 1")
    gaps.axhline(0, color="0.7", lw=0.8)
    gaps.set(title="difference of the two distances", xlabel="iteration", ylabel="%")

    run = dataset["position"].sel(run="frobenius")
    sign, w, b = (run.sel(factor=n).values for n in ("sign", "w", "b"))
    idle = dataset["idle"].values == 1
    for axes, k, title in ((start, 0, "neurons at the start"), (end, -1, f"after {ITERATIONS} iterations (Frobenius)")):
        if k:
            axes.plot(w, b, color="0.8", lw=0.5, zorder=0)
        for value, colour in ((1.0, "C3"), (-1.0, "C0")):
            at = (sign[0] == value) & ~idle
            axes.plot(w[k, at], b[k, at], ".", color=colour, label=f"sign {value:+.0f}")
        axes.plot(w[k, idle], b[k, idle], "^", color="0.4", ms=5, mfc="none", label="activates no datum at the start")
        axes.set(title=title, xlabel="w", ylabel="b")
        axes.set_aspect("equal", "datalim")

    gamma = dataset["gamma"]
    for name, style, label in (
        ("assignment_difference", "C1s--", "Frobenius − assignment"),
        ("sliced_difference", "C2^-.", "Frobenius − sliced"),
        ("flow_difference", "ko-", "Frobenius − gradient flow, median"),
        ("moved", "C7-", "length of the step"),
    ):
        values = dataset[name].where(dataset[name] > 1e-3 * np.minimum(gamma, 1.0) * 0.1)  # below the inner tolerance: the same
        small.loglog(gamma, values, style, label=label, ms=4)
    reference = float(dataset["flow_difference"].sel(gamma=1.0))
    small.loglog(gamma, reference * gamma**2, "k:", lw=0.8, label="slope 2")
    small.set(
        title="one step from the start (not drawn: no difference)", xlabel="γ", ylabel="difference, root mean square over neurons"
    )
    for axes in (energy, steps, gaps, start, end, small):
        axes.legend(fontsize=7.5)
    for axes in (energy, steps, gaps):
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    start.set(xlim=(-1.5, 1.5), ylim=(-1.6, 1.15))  # room for the legend
    start.set_aspect("equal", "box")
    start.legend(fontsize=7.5, loc="lower left")
    figure.suptitle(dataset.attrs["title"])
    return figure


if __name__ == "__main__":
    main()
