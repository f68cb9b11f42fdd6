"""Batch normalisation is a change of metric (S1 Prop. 1, Theorems 2 and 3): three checks by numbers.

    python validation/bn_metric.py

1. T b = b/‖b‖_Σ maps the unit sphere onto Ω = {bᵀΣb = 1}, and DTᵀ G DT = I on tangent vectors, G as Prop. 1 prints it: (Ω, G)
   is a round sphere, in every dimension.
2. The velocity S1 (10) of b, pushed forward by T, is the velocity S1 (14) on Ω.
3. d = 2: the flow of one network, solved on Ω (cells uniform in φ, arc length from G) and on the round circle (uniform
   cells). Both have one loss and, as angles, one density, up to the error of the grids: of second order while the density is
   smooth on the scale of the cells, lower where ReLU neurons gather at kinks of the velocity.
"""

import numpy as np

import gridflow
from gridflow.distances import quantiles_of_cells, wasserstein
from gridflow.space.ellipse import metric

DIMENSIONS = (2, 3, 4, 6)
SAMPLES = 1000


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


if __name__ == "__main__":
    main()
