"""Batch normalisation is a change of metric (S1 Prop. 1, Theorems 2 and 3): four checks by numbers.

    python validation/bn_metric.py

1. T b = b/‖b‖_Σ maps the unit sphere onto Ω = {bᵀΣb = 1}, and DTᵀ G DT = I on tangent vectors, G as Prop. 1 prints it: (Ω, G)
   is a round sphere, in every dimension.
2. The velocity S1 (10) of b, pushed forward by T, is the velocity S1 (14) on Ω.
3. d = 2: the flow of one network, solved on Ω (cells uniform in φ, arc length from G) and on the round circle (uniform
   cells). Both have one loss and, as angles, one density, up to the error of the grids: of second order while the density is
   smooth on the scale of the cells, lower where ReLU neurons gather at kinks of the velocity.
4. d = 3 (Theorems 2 and 3): the flow of bn-sphere on Ω, an ellipsoid, and on the sphere. T maps cells onto cells, so that masses
   are compared cell by cell; only lengths and areas differ, which on Ω are integrals over G by quadrature, of sixth order. With
   neurons, S1 (14) on Ω against the sphere from the same places: they differ by the error of the steps in time.
"""

import numpy as np

import gridflow
from gridflow.distances import quantiles_of_cells, wasserstein
from gridflow.space.ellipse import metric
from gridflow.space.factor import columns_of

DIMENSIONS = (2, 3, 4, 6)
SAMPLES = 1000
LEVELS = (2, 3, 4)


def check_metric(d, rng):
    """Largest errors of DTᵀ G DT = I, and of (10) pushed forward against (14), relative to the largest entry."""
    root = rng.normal(size=(d, d))
    sigma = root @ root.T / d + 0.1 * np.eye(d)
    b = rng.normal(size=(SAMPLES, d))
    b /= np.linalg.norm(b, axis=1)[:, None]
    norms = np.sqrt(np.einsum("ni,ij,nj->n", b, sigma, b))
    bar = b / norms[:, None]
    project = np.eye(d) - bar[:, :, None] * (bar @ sigma)[:, None, :]  # I − b̄b̄ᵀΣ
    dt = project / norms[:, None, None]
    frames = np.linalg.qr(np.concatenate([b[:, :, None], rng.normal(size=(SAMPLES, d, d - 1))], axis=2))[0][:, :, 1:]
    moved = dt @ frames
    gram = np.swapaxes(moved, 1, 2) @ metric(bar, sigma) @ moved
    mean = rng.normal(size=(SAMPLES, d, 1))  # stands for E[ℓ' aσ'(b̄ᵀx) x]
    ten = -np.swapaxes(project, 1, 2) @ mean / norms[:, None, None]
    fourteen = -(bar**2).sum(axis=1)[:, None, None] * project @ np.swapaxes(project, 1, 2) @ mean
    isometry = np.abs(gram - np.eye(d - 1)).max()
    return np.linalg.cond(sigma), isometry, np.abs(dt @ ten - fourteen).max() / np.abs(fourteen).max()


def flow(case):
    """Energies over the saves, and the marginals at the last one as quantile functions by factor."""
    dataset, grid = gridflow.solve(case), case.grid()
    density = dataset["density"].isel(time=-1).transpose(*grid.order).to_numpy()
    marginals = {f.name: quantiles_of_cells(grid.marginal_masses(density, f.name), f) for f in grid.factors}
    return dataset["energy"].to_numpy(), marginals


def main():
    rng = np.random.default_rng(1)
    print("d   cond Σ    |DTᵀ G DT − I|   |DT v(10) − v(14)| / |v(14)|")
    for d in DIMENSIONS:
        print("{}  {:7.1f} {:16.1e} {:20.1e}".format(d, *check_metric(d, rng)))
    for activation, stop in (("tanh", 2.0), ("relu", 1.0), ("relu", 4.0)):
        print(f"\n{activation}, t = {stop:g}: differences Ω − circle")
        compare(activation, stop)
    for activation in ("tanh", "relu"):
        compare_surfaces(activation)
        compare_neurons(activation)


def compare(activation, stop):
    """Both flows on three grids."""
    print("cells a × angle   loss (largest over time)   W1 of a   W1 of the angle")
    rows = []
    for n in (1, 2, 4):
        ellipse = gridflow.load_case("bn-ellipse").replace(
            {
                "space.a.cells": 30 * n,
                "space.angle.cells": 60 * n,
                "time.stop": stop,
                "time.save": 9,
                "energy.activation": activation,
                "energy.data.activation": "relu",
            }
        )
        circle = ellipse.replace({"space.angle": {"kind": "circle", "cells": 60 * n}})
        (energy1, one), (energy2, two) = flow(ellipse), flow(circle)
        gaps = [np.abs(energy1 - energy2).max(), *(wasserstein(one[k], two[k], 1) for k in ("a", "angle"))]
        rows.append(gaps)
        print("{:4d} × {:<9d} {:24.2e} {:12.2e} {:14.2e}".format(30 * n, 60 * n, *gaps))
    rows = np.array(rows)
    print("order, last two  {:24.2f} {:12.2f} {:14.2f}".format(*np.log2(rows[-2] / rows[-1])))


def surface_case(kind, level, activation):
    """bn-sphere, or the same on the ellipsoid of its covariance."""
    case = gridflow.load_case("bn-sphere")
    surface = {"kind": kind, "level": level}
    if kind == "ellipsoid":
        surface["covariance"] = case.energy.data.inputs.covariance
    return case.replace(
        {
            "space.b": surface,
            "space.a.cells": 32,
            "time.stop": 1.0,
            "time.save": 5,
            "energy.activation": activation,
            "energy.data.activation": "relu",
        }
    )


def surface_difference(level, activation):
    """(largest difference of the loss over time, Σ|difference of the cell masses| at the end, relative error of the area)."""
    energies, masses = [], []
    for kind in ("sphere", "ellipsoid"):
        case = surface_case(kind, level, activation)
        dataset, grid = gridflow.solve(case), case.grid()
        density = dataset["density"].isel(time=-1).transpose(*grid.order).to_numpy()
        energies.append(dataset["energy"].to_numpy())
        masses.append(density * grid.volume)
    area = next(f for f in grid.factors if f.is_mesh).length
    return np.abs(energies[0] - energies[1]).max(), np.abs(masses[0] - masses[1]).sum(), abs(area / (4 * np.pi) - 1)


def compare_surfaces(activation):
    """Both flows on three levels."""
    print(f"\nd = 3, {activation}, t = 1: differences ellipsoid − sphere")
    print("level   loss (largest over time)   Σ|cell masses|   area of the ellipsoid")
    rows = np.array([surface_difference(level, activation) for level in LEVELS])
    for level, row in zip(LEVELS, rows, strict=True):
        print("{:5d} {:26.2e} {:16.2e} {:23.2e}".format(level, *row))
    print("order {:26.2f} {:16.2f} {:23.2f}   (last two)".format(*np.log2(rows[-2] / rows[-1])))


def compare_neurons(activation):
    """S1 (14) on Ω and the sphere, 512 neurons from the same seed."""
    print(f"\nd = 3, {activation}, t = 1, 512 neurons, same seed: Ω − sphere")
    print("step    loss (largest over time)   a (largest)   b/‖b‖ (largest)")
    rows = []
    for step in (0.1, 0.05, 0.025):
        runs = []
        for kind in ("sphere", "ellipsoid"):
            case = surface_case(kind, 1 if kind == "sphere" else LEVELS[0], activation)
            runs.append(gridflow.simulate(case.replace({"particles.integrator.step": step}), 512, seed=1))
        mesh, columns = next(
            (f, c) for f, c in zip(case.grid().factors, columns_of(case.grid().factors), strict=True) if f.is_mesh
        )
        ends = [mesh.chart(run.points[-1][:, columns]) for run in runs]
        other = [k for k in range(4) if not columns.start <= k < columns.stop]
        a = np.abs(runs[0].points[-1][:, other] - runs[1].points[-1][:, other]).max()
        rows.append((np.abs(runs[0].energy - runs[1].energy).max(), a, np.abs(ends[0] - ends[1]).max()))
        print("{:5.3f} {:26.2e} {:13.2e} {:18.2e}".format(step, *rows[-1]))
    rows = np.array(rows)
    print("order {:26.2f} {:13.2f} {:18.2f}   (last two)".format(*np.log2(rows[-2] / rows[-1])))


if __name__ == "__main__":
    main()
