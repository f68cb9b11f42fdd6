"""S4's four methods on a student and a teacher of one-dimensional inputs, as densities: F against iterations, in one picture.

Case mmd-student-teacher (Gaussian neurons of one input) from one start: gradient descent (the MMD flow), noise injection
(decaying
and constant), diffusion (noise on the iterate, temperature β²/(2γ)), and KSD, the gradient flow of ½S(ν*|ν)². Iterations of step
γ = 0.1. F is that of the student, whatever the method minimises. KSD is given the density of the teacher, which the other methods
are not: they have its predictions alone. The setting of S4, with networks on a sphere and KSD from the teacher's outputs, is in
mmd_student_teacher.
"""

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

import gridflow
from gridflow.flow.noise import temperature
from gridflow.space.densities import Normal
from gridflow.space.factor import Array
from validation.claim import Claim

STEP, STOP = 0.1, 400.0
METHODS = {
    "gradient descent": {},
    "noise injection, 1·(1 + t/20)^(−1/2)": {"flow.noise_injection": {"level": 1.0, "decay": {"kind": "power", "time": 20.0}}},
    "noise injection, β = 0.3": {"flow.noise_injection": {"level": 0.3}},
    "diffusion, β = 0.01": {"flow.temperature": temperature(0.01, STEP)},
    "diffusion, β = 0.03": {"flow.temperature": temperature(0.03, STEP)},
    "KSD, given the teacher's density": None,
}
PLAIN, NOISE, _, DIFFUSION, _, KSD = METHODS


def run(changes: dict | None, quick: bool) -> tuple[Array, Array, str]:
    """(times, F at them, status); changes None for KSD."""
    case = gridflow.load_case("mmd-student-teacher")
    measure = case.energy.load(Path())
    settings = {"time.stop": STOP, "time.save": [float(t) for t in np.geomspace(0.1, STOP, 37)]}
    if quick:
        settings |= {"space.w.cells": 32, "space.b.cells": 40}
    elif changes is None:
        settings |= {"space.w.cells": 48, "space.b.cells": 60}
    if changes is None:
        table = [{"weight": c.weight, "density": {k: table_of(d) for k, d in c.density.items()}} for c in case.energy.target]
        changes = {"energy": {"kind": "sobolev", "flow": "descent", "regularization": 1e-4, "target": table}}
    case = case.replace({**settings, **changes})
    dataset = gridflow.solve(case)
    grid = case.grid()
    bound = measure.bind(grid)
    masses = dataset["density"].transpose("time", *grid.order).to_numpy() * grid.volume
    return dataset["time"].to_numpy(), np.array([bound.evaluate(m).value for m in masses]), dataset.attrs["status"]


def table_of(normal: Normal) -> dict:
    return {"kind": "normal", "mean": normal.mean, "deviation": normal.deviation}


def reproduce(directory: Path, quick: bool) -> list[Claim]:
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.subplots()
    last = {}
    for (name, changes), line in zip(METHODS.items(), ("-", "-", "--", "-", "--", "-."), strict=True):
        time, loss, status = run(changes, quick)
        last[name] = float(loss[-1])
        shown = ", ".join(f"{loss[np.searchsorted(time, t)]:.2e}" for t in (10.0, 100.0, STOP))
        print(f"{name:<40} F at 100, 1000 and 4000 iterations: {shown} ({status})")
        axes.loglog(time[1:] / STEP, loss[1:], ls=line, label=name)
    axes.set(xlabel="iterations", ylabel="F", title="student and teacher of one input, as densities")
    axes.legend(fontsize="small", loc="lower left")
    figure.savefig(directory / "mmd-methods.png", dpi=90)
    return [
        claim("noise", "gradient descent", last[PLAIN] / last[NOISE]),
        claim("diffusion", "diffusion of the smaller level", last[DIFFUSION] / last[NOISE]),
        claim("ksd", "KSD, given the teacher's density,", last[KSD] / last[NOISE], KSD_FINDING),
    ]


KSD_FINDING = "This KSD has the density of the teacher, of which the others have predictions alone: no fair comparison."


def claim(name: str, other: str, value: float, finding: str = "") -> Claim:
    return Claim(
        f"methods-{name}", "S4 student-teacher", "Noise injection reaches a lower loss than the other methods (S4's picture).",
        f"F of {other} over F of noise injection at 4000 iterations, one input, densities",
        value, (1 + 1e-6, np.inf), "an order: above one", None if finding else (0.0, 1 - 1e-6), finding, ("mmd-methods.png",),
    )  # fmt: skip
