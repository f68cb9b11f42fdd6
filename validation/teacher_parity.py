"""What does a student learn of its teacher (S3 Examples 1 to 3)?

    python validation/teacher_parity.py [OUTDIR]

Solves the cases teacher-1d-…, teacher-2d-relu and teacher-weights, and prints for each what S3 says of a stationary state at the
start and at the end, beside how stationary that is: the loss E and the rate −(dE/dt)/E at which it still falls.

Modes: number of those that the loss determines (bound √(2E)/s_i below the tolerance), the largest coefficient of ρ − ρ* among
them, among the others, and over its bound, which is at most 1. Parity: the norm of the part of ρ − ρ* that must vanish beside
that of the other part. Moment: of the quadratic activation, of which S3 claims a parity, and of the softplus. Directions: every
harmonic of the moments per direction beside its bound; "invisible" ones have none. With OUTDIR writes OUTDIR/teacher-parity.png.
"""

import sys
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

import gridflow
from gridflow.energy.defects import Directions, Parity

LINES = ("gaussian", "softplus", "tanh", "arctan", "sigmoid")
PLANES = ("teacher-2d-relu", "teacher-weights")


def ends(dataset, *names):
    """Values of diagnostics at the start and at the end."""
    return ", ".join(f"{n} {float(dataset[n][0]):.3g} → {float(dataset[n][-1]):.3g}" for n in names)


def print_state(name, dataset):
    start, loss, fall = float(dataset["energy"][0]), float(dataset["energy"][-1]), float(dataset["dissipation"][-1])
    print(f"{name}: E = {start:.2g} → {loss:.2g} at t = {float(dataset['time'][-1]):g}, −(dE/dt)/E = {fall / loss:.2g}")
    print("  modes:", ends(dataset, "determined_modes", "determined_defect", "undetermined_defect", "mode_ratio_max"))


def harmonics(case, dataset):
    """(|a_k| at the start and at the end, their bounds at the end, whether they are visible), (n_degrees,) each."""
    grid = case.grid()
    bound = case.energy.load(Path(case.directory)).bind(grid)
    part = next(p for p in bound.stationarity.parts if isinstance(p, Directions))
    masses = dataset["density"].transpose("time", *grid.order).to_numpy() * grid.volume
    first, last = (np.abs(part.harmonics(bound.stationarity.weighted(m))) for m in (masses[0], masses[-1]))
    with np.errstate(divide="ignore"):
        return first, last, np.sqrt(2 * float(dataset["energy"][-1])) / part.sizes, part.visible


def parity_of_quadratic(dataset):
    """Kantorovich norms of the even and of the odd part of ρ − ρ* at the end, of which the diagnostics of this σ say nothing."""
    case = gridflow.load_case("teacher-1d-quadratic")
    part = Parity(case.grid().factors[0], case.energy.data, becomes="odd")
    masses = (dataset["density"] * dataset["cell_volume"]).isel(time=-1).to_numpy()
    numbers = part.numbers(masses, None)
    return numbers["defect_right"], numbers["defect_wrong"]


def main(directory):
    figure = Figure(figsize=(12, 4), layout="constrained")
    over_time, bars = figure.subplots(1, 2)
    for k, sigma in enumerate(LINES):
        dataset = gridflow.solve(gridflow.load_case(f"teacher-1d-{sigma}"))
        print_state(f"teacher-1d-{sigma}", dataset)
        print("  parity:", ends(dataset, "defect_right", "defect_wrong", "defect_ratio"))
        if "moment_defect" in dataset:
            print("  moment:", ends(dataset, "moment_defect"))
        over_time.semilogy(dataset["time"], dataset["defect_right"], color=f"C{k}", label=sigma)
        over_time.semilogy(dataset["time"], dataset["defect_wrong"], "--", color=f"C{k}")
    dataset = gridflow.solve(gridflow.load_case("teacher-1d-quadratic"))
    print_state("teacher-1d-quadratic", dataset)
    print("  moment, all that is determined:", ends(dataset, "moment_defect"))
    even, odd = parity_of_quadratic(dataset)
    print(f"  S3 says that ρ − ρ* becomes odd; its even part is {even:.3g} at the end, its odd part {odd:.3g}")
    for k, name in enumerate(PLANES):
        case = gridflow.load_case(name)
        dataset = gridflow.solve(case)
        print_state(name, dataset)
        first, last, limits, visible = harmonics(case, dataset)
        for degree in range(len(first)):
            limit = f"at most {limits[degree]:.3g}" if visible[degree] else "invisible"
            print(f"  harmonic {degree}: {first[degree]:.3g} → {last[degree]:.3g}, {limit}")
        place = np.arange(len(first)) + 0.4 * k - 0.2
        bars.bar(place, last, 0.35, color=f"C{k}", label=f"{name}, at the end")
        bars.plot(place, first, "k_", ms=12, label="at the start" if k == 0 else None)
        bars.plot(place[visible], limits[visible], "rv", ms=5, label="bound by the loss" if k == 0 else None)
    over_time.set(xlabel="time", title="d = 1: the part of ρ − ρ* that must vanish, and the other one (dashed)")
    bars.set(xlabel="harmonic", yscale="log", ylim=(1e-3, 30), title="d = 2: moments of ρ − ρ* per direction; 3 is invisible")
    for axes in (over_time, bars):
        axes.legend(fontsize="small")
    if directory is not None:
        directory.mkdir(parents=True, exist_ok=True)
        figure.savefig(directory / "teacher-parity.png", dpi=90)


if __name__ == "__main__":
    if len(sys.argv) > 2:
        sys.exit(__doc__)
    main(Path(sys.argv[1]) if len(sys.argv) == 2 else None)
