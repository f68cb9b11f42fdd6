"""S4's four methods on its student and teacher, as densities: loss against iterations, in one picture.

    python validation/mmd_methods.py OUTDIR

mmd-student-teacher from one start: gradient descent (the MMD flow), noise injection (decaying and constant), diffusion (noise on
the iterate, temperature β²/(2γ)), and KSD, the gradient flow of ½S². Iterations of step γ = 0.1. F is that of the student,
whatever the method minimises; KSD as a density knows the density of the teacher, not its predictions alone, and is never held up.
Writes OUTDIR/mmd-methods.png.
"""

import sys
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

import gridflow
from gridflow.noise import temperature

STEP = 0.1
METHODS = {
    "gradient descent": {},
    "noise injection, 1·(1 + t/20)^(−1/2)": {"flow.noise_injection": {"level": 1.0, "schedule": "decaying", "time": 20.0}},
    "noise injection, β = 0.3": {"flow.noise_injection": {"level": 0.3}},
    "diffusion, β = 0.01": {"flow.temperature": temperature(0.01, STEP)},
    "diffusion, β = 0.03": {"flow.temperature": temperature(0.03, STEP)},
    "KSD": None,
}
TIME = {"time.stop": 400.0, "time.save": [float(t) for t in np.geomspace(0.1, 400.0, 37)]}
KSD = {**TIME, "space.w.cells": 48, "space.b.cells": 60}


def run(changes):
    """(times, F at them)."""
    case = gridflow.load_case("mmd-student-teacher")
    if changes is not None:
        case = case.replace({**TIME, **changes})
    else:
        table = [{"weight": c.weight, "density": {k: vars_of(d) for k, d in c.density.items()}} for c in case.energy.target]
        energy = {"kind": "sobolev", "flow": "descent", "regularization": 1e-4, "target": table}
        case = case.replace({**KSD, "energy": energy})
    dataset = gridflow.solve(case)
    measure = gridflow.load_case("mmd-student-teacher").energy.load(Path())
    grid = case.grid()
    bound = measure.bind(grid)
    masses = dataset["density"].transpose("time", *grid.order).to_numpy() * grid.volume
    return dataset["time"].to_numpy(), np.array([bound.evaluate(m).value for m in masses]), dataset.attrs["status"]


def vars_of(normal):
    return {"kind": "normal", "mean": normal.mean, "deviation": normal.deviation}


def main(directory):
    directory.mkdir(parents=True, exist_ok=True)
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    for name, changes in METHODS.items():
        time, loss, status = run(changes)
        shown = ", ".join(f"{loss[np.searchsorted(time, t)]:.2e}" for t in (10.0, 100.0, 400.0))
        print(f"{name:<40} F at 100, 1000 and 4000 iterations: {shown} ({status})")
        axes.loglog(time[1:] / STEP, loss[1:], label=name)
    axes.set(xlabel="iterations", ylabel="F", title="S4, student and teacher")
    axes.legend(fontsize="small")
    figure.savefig(directory / "mmd-methods.png", dpi=90)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(Path(sys.argv[1]))
