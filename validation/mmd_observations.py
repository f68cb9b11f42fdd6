"""The observations of S4 on MMD flows as numbers.

    python validation/mmd_observations.py OUTDIR

1. mmd-gaussian, mmd-noise (the remedy) and mmd-diffusion over time: mass within half a unit of the target's mean (of ν* it is
   39 %: more is a collapse), mass farther from it than 6 (escape), F and its rate −Ḟ/F (plateau), and the root mean square of
   |∇f| on ν and on the target, off the support of ν.
2. MMD² is not displacement convex: F along one W2 geodesic, the translation of a normal density, against its chord.
3. β trade-off on mmd-gaussian: F at the end for constant, decaying and adaptive levels, whether F rose, the smallest −Ḟ/D_β at a
   save (sufficient decrease asks ½), and F over F(0)exp(−4∫λ²β²) with λ_t² = D_β/(8β²F) measured on the run: at most 1 where
   −Ḟ ≥ ½D_β all along, and only there.

Writes OUTDIR/mmd-observations.png.
"""

import sys
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

import gridflow
from gridflow.energy.certificates import rate_bound
from gridflow.space.density import Component, Normal, mixture_masses

CASES = ("mmd-gaussian", "mmd-noise", "mmd-diffusion")
NEAR, FAR = 0.5, 6.0
COARSE = {"space.x.cells": 120, "space.y.cells": 112, "time.stop": 60.0, "time.save": 31}
LEVELS = [{}] + [{"level": b} for b in (0.5, 1.0, 2.0, 4.0, 8.0)]
LEVELS += [{"level": 2.0, "schedule": "decaying", "time": 10.0}, {"level": 8.0, "schedule": "adaptive"}]


def observe(case, dataset):
    """Rows of (time, mass near, mass far, F, −Ḟ/F, |∇f| on ν, |∇f| on ν*); D of the diffusion is not part of Ḟ."""
    grid = case.grid()
    bound = case.energy.load(Path(case.directory)).bind(grid)
    x, y = grid.coordinate("x") - 2.0, grid.coordinate("y") - 1.0
    distance, rows = np.sqrt(x**2 + y**2), []
    for time, density in zip(dataset["time"].to_numpy(), dataset["density"].transpose("time", *grid.order), strict=True):
        mass = density.to_numpy() * grid.volume
        result = bound.evaluate(mass)
        slopes = np.gradient(result.first_variation, *[f.points for f in grid.factors])
        square = slopes[0] ** 2 + slopes[1] ** 2
        on, off = np.sqrt(np.vdot(square, mass)), np.sqrt(np.vdot(square, bound.target))
        rows.append((time, mass[distance < NEAR].sum(), mass[distance > FAR].sum(), result.value, np.nan, on, off))
    rows = np.array(rows)
    rows[:, 4] = -np.gradient(np.log(rows[:, 3]), rows[:, 0])
    return rows


def convexity():
    """(t, F(t), chord) along the translation of a copy of the target, N((2, 1), ½²), from (−6, 1) to its place."""
    case = gridflow.load_case("mmd-gaussian")
    grid = case.grid()
    bound = case.energy.load(Path(case.directory)).bind(grid)
    values, t = [], np.linspace(0.0, 1.0, 21)
    for s in t:
        density = {"x": Normal(-6.0 + 8.0 * s, 0.5), "y": Normal(1.0, 0.5)}
        values.append(bound.evaluate(mixture_masses([Component(density=density)], grid, Path(), "initial")).value)
    chord = (1 - t) * values[0] + t * values[-1]
    return t, np.array(values), chord


def main(directory):
    directory.mkdir(parents=True, exist_ok=True)
    figure = Figure(figsize=(13, 4), layout="constrained")
    near, plateau, line = figure.subplots(1, 3)
    for name in CASES:
        case = gridflow.load_case(name).replace(COARSE)
        rows = observe(case, gridflow.solve(case))
        print(f"{name}\n  time   near    far      F        −Ḟ/F    |∇f| on ν   on ν*")
        for row in rows[::5]:
            print("  {:<5.3g} {:6.1%} {:7.2%} {:9.2e} {:8.3f} {:10.4f} {:8.4f}".format(*row))
        near.plot(rows[:, 0], rows[:, 1], label=f"{name}: within {NEAR}")
        plateau.semilogy(rows[:, 0], rows[:, 3], label=name)
    near.axhline(1 - np.exp(-0.5), color="0.6", ls=":", label="of the target")
    t, values, chord = convexity()
    print(f"displacement convexity fails: F exceeds its chord by up to {(values - chord).max():.3f}")
    line.plot(t, values, label="F along a geodesic")
    line.plot(t, chord, "--", label="its chord")
    print("noise                                         F(T)      largest rise   least −Ḟ/D_β   F/bound at T")
    for noise in LEVELS:
        case = gridflow.load_case("mmd-gaussian").replace({**COARSE, "flow.noise_injection": noise})
        dataset = gridflow.solve(case)
        energy = dataset["energy"].to_numpy()
        least = bound = np.nan
        if noise:
            least = float((dataset["dissipation"] / dataset["injected_dissipation"]).min())
            bound = float(dataset["energy"][-1] / rate_bound(dataset)[-1])
        print(f"{noise!s:<45} {energy[-1]:.2e} {max(0.0, np.diff(energy).max()):12.1e} {least:14.2f} {bound:14.2f}")
    near.set(xlabel="time", ylabel="mass near the target's mean")
    plateau.set(xlabel="time", ylabel="F")
    line.set(xlabel="t", title="MMD² is not displacement convex")
    for axes in (near, plateau, line):
        axes.legend(fontsize="small")
    figure.savefig(directory / "mmd-observations.png", dpi=90)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(Path(sys.argv[1]))
