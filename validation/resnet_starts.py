"""Several starts of the quadratic approximation of a wide ResNet: E is quartic in ρ, and may have local minima (S3 §3.2).

    python validation/resnet_starts.py DIRECTORY

S3 suggests several runs to identify ρ*. Runs wide-resnet-quadratic from normal densities with several means, alike at all depths,
and from two components in either order. Prints for each the loss at the start and at the end, the dissipation left, W1 between
the marginals of θ of student and teacher, and how much of the order of the teacher the student has: the slope of the mean of θ
over the depth, at the start and at the end. Writes resnet-starts.png.

What it shows: no start ends in a local minimum, all fit; but they end at different densities. The sign of the order is that of
the start, also where it is opposite to the teacher's, and marginals agree only in what the loss sees: fits do not identify ρ*.
"""

import sys
from pathlib import Path

import numpy as np

import gridflow
from gridflow.distances import wasserstein1
from gridflow.space.density import mixture_masses

MEANS = (-2.4, -1.2, 0.0, 1.2, 2.4)
STOP = 60.0


def normal(mean: float, deviation: float = 0.3) -> dict:
    return {"kind": "normal", "mean": mean, "deviation": deviation}


def starts(case: gridflow.Case) -> dict[str, list]:
    """Initial densities by name."""
    found = {f"mean {mean:g}": [{"density": {"depth": {"kind": "uniform"}, "theta": normal(mean)}}] for mean in MEANS}
    for name, sign in (("first negative", 1.0), ("first positive", -1.0)):
        found[name] = [
            {"density": {"depth": {"kind": "cosine", "amplitude": 0.9 * s}, "theta": normal(m)}}
            for s, m in ((sign, -0.9), (-sign, 0.9))
        ]
    return found


def slope(masses: np.ndarray, grid) -> float:
    """Of the mean of θ over the depth, by least squares."""
    depth, theta = (grid.factors[grid.order.index(name)].points for name in ("depth", "theta"))
    by_depth = masses if grid.order == ("depth", "theta") else masses.T
    return float(np.polyfit(depth, by_depth @ theta / by_depth.sum(axis=1), 1)[0])


def main(directory: Path) -> None:
    case = gridflow.load_case("wide-resnet-quadratic").replace({"time.stop": STOP, "time.save": 61})
    grid = case.grid()
    line = grid.factors[grid.order.index("theta")]
    teacher = mixture_masses(case.energy.data.density, grid, Path(), "teacher")
    axis = grid.order.index("depth")
    print(f"teacher: slope of the mean of θ over the depth {slope(teacher, grid):.3f}; the runs end at t = {STOP:g}\n")
    print(f"{'start':16s}{'loss':>10s}{'at the end':>12s}{'dissipation':>13s}{'W1 of θ':>10s}{'slope':>8s}{'at the end':>12s}")
    runs = {}
    for name, initial in starts(case).items():
        dataset = gridflow.solve(case.replace({"initial": initial}))
        masses = dataset["density"].transpose("time", *grid.order).to_numpy() * grid.volume
        away = wasserstein1(masses[-1].sum(axis=axis), teacher.sum(axis=axis), line)
        energy = dataset["energy"].to_numpy()
        print(f"{name:16s}{energy[0]:10.4f}{energy[-1]:12.2e}{float(dataset['dissipation'][-1]):13.1e}{away:10.3f}", end="")
        print(f"{slope(masses[0], grid):8.3f}{slope(masses[-1], grid):12.3f}")
        runs[name] = (dataset["time"].to_numpy(), energy, masses[-1].sum(axis=axis) / line.volumes)
    draw(runs, line.points, teacher.sum(axis=axis) / line.volumes, directory / "resnet-starts.png")


def draw(runs: dict, points: np.ndarray, target: np.ndarray, path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.5, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    for name, (times, energy, marginal) in runs.items():
        left.semilogy(times, energy, label=name)
        right.plot(points, marginal)
    right.plot(points, target, "k--", label="teacher")
    left.set(xlabel="time", ylabel="loss", title="seven starts of wide-resnet-quadratic")
    right.set(xlabel="θ", ylabel="density", title=f"marginals of θ at t = {STOP:g}", ylim=(0, 2))
    left.legend(fontsize="small")
    right.legend()
    figure.savefig(path, dpi=80)
    print(f"\nwrote {path}")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path())
