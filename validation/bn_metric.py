"""Batch normalisation is a change of metric (S1 Prop. 1, Theorems 2 and 3): four checks by numbers.

1. T b = b/‖b‖_Σ maps the unit sphere onto Ω = {bᵀΣb = 1}, and DTᵀ G DT = I on tangent vectors, G as Prop. 1 prints it: G is an
   inner product, and (Ω, G) is a round sphere, in every dimension.
2. The velocity S1 (10) of b, pushed forward by T, is the velocity S1 (14) on Ω (with the minus signs that (6) loses), and this
   is −grad_G: G v̄ = −P ∂L on tangent vectors.
3. d = 2: the flow of one network, solved on Ω (cells uniform in φ, arc length from G) and on the round circle (uniform
   cells). Both have one loss and, as angles, one density, up to the error of the grids: of second order while the density is
   smooth on the scale of the cells, lower where ReLU neurons gather at kinks of the velocity.
4. d = 3 (Theorems 2 and 3): the flow of bn-sphere on Ω, an ellipsoid, and on the sphere. T maps cells onto cells, so that masses
   are compared cell by cell; only lengths and areas differ, which on Ω are integrals over G by quadrature, of sixth order. With
   neurons, S1 (14) on Ω against the sphere from the same places: they differ by the error of the steps in time.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np

import gridflow
from gridflow.case.case import Case
from gridflow.space.distances import quantiles_of_cells, wasserstein
from gridflow.space.ellipse import metric
from gridflow.space.factor import Array, columns_of
from validation.claim import Claim

DIMENSIONS = (2, 3, 4, 6)
SAMPLES = 1000
NEURONS = 512


class MetricErrors(NamedTuple):
    condition: float
    isometry: float
    velocity: float
    gradient: float


def check_metric(d: int, rng: np.random.Generator) -> MetricErrors:
    """cond Σ; largest errors of DTᵀ G DT = I, of (10) pushed forward against (14), and of uᵀG v̄ = −uᵀ∂L for tangent u, the last
    two relative to the largest entry."""
    root = rng.normal(size=(d, d))
    sigma = root @ root.T / d + 0.1 * np.eye(d)
    b = rng.normal(size=(SAMPLES, d))
    b /= np.linalg.norm(b, axis=1)[:, None]
    norms = np.sqrt(np.einsum("ni,ij,nj->n", b, sigma, b))
    bar = b / norms[:, None]
    project = np.eye(d) - bar[:, :, None] * (bar @ sigma)[:, None, :]  # I − b̄b̄ᵀΣ
    dt = project / norms[:, None, None]
    frames = np.linalg.qr(np.concatenate([b[:, :, None], rng.normal(size=(SAMPLES, d, d - 1))], axis=2))[0][:, :, 1:]
    moved, matrix = dt @ frames, metric(bar, sigma)
    gram = np.swapaxes(moved, 1, 2) @ matrix @ moved
    mean = rng.normal(size=(SAMPLES, d, 1))  # stands for E[ℓ' aσ'(b̄ᵀx) x]
    ten = -np.swapaxes(project, 1, 2) @ mean / norms[:, None, None]
    fourteen = -(bar**2).sum(axis=1)[:, None, None] * project @ np.swapaxes(project, 1, 2) @ mean
    steepest = np.swapaxes(moved, 1, 2) @ mean
    return MetricErrors(
        float(np.linalg.cond(sigma)),
        float(np.abs(gram - np.eye(d - 1)).max()),
        float(np.abs(dt @ ten - fourteen).max() / np.abs(fourteen).max()),
        float(np.abs(np.swapaxes(moved, 1, 2) @ matrix @ fourteen + steepest).max() / np.abs(steepest).max()),
    )


def flow(case: Case) -> tuple[Array, dict]:
    """Energies over the saves, and the marginals at the last one as quantile functions by factor."""
    dataset, grid = gridflow.solve(case), case.grid()
    density = dataset["density"].isel(time=-1).transpose(*grid.order).to_numpy()
    marginals = {f.name: quantiles_of_cells(grid.marginal_masses(density, f.name), f) for f in grid.factors}
    return dataset["energy"].to_numpy(), marginals


def curve_differences(activation: str, stop: float, refinements: tuple[int, ...]) -> Array:
    """Rows (largest difference of the loss, W1 of a, W1 of the angle) between ellipse and circle, one for each grid."""
    print(f"\n{activation}, t = {stop:g}: differences Ω − circle\ncells a × angle   loss (over time)   W1 of a   W1 of the angle")
    rows = []
    for n in refinements:
        ellipse = gridflow.load_case("bn-ellipse").replace(
            {
                "space.a.cells": 30 * n, "space.angle.cells": 60 * n, "time.stop": stop, "time.save": 9,
                "energy.activation": activation, "energy.data.activation": "relu",
            }
        )  # fmt: skip
        circle = ellipse.replace({"space.angle": {"kind": "circle", "cells": 60 * n}})
        (energy1, one), (energy2, two) = flow(ellipse), flow(circle)
        rows.append([np.abs(energy1 - energy2).max(), *(wasserstein(one[k], two[k], 1) for k in ("a", "angle"))])
        print("{:4d} × {:<9d} {:16.2e} {:12.2e} {:14.2e}".format(30 * n, 60 * n, *rows[-1]))
    orders = np.log2(np.array(rows[-2]) / rows[-1])
    print("order, last two  {:16.2f} {:12.2f} {:14.2f}".format(*orders))
    return np.array(rows)


def surface_case(kind: str, level: int, activation: str) -> Case:
    """bn-sphere, or the same on the ellipsoid of its covariance."""
    case = gridflow.load_case("bn-sphere")
    surface = {"kind": kind, "level": level}
    if kind == "ellipsoid":
        surface["covariance"] = case.energy.data.inputs.covariance
    return case.replace(
        {
            "space.b": surface, "space.a.cells": 32, "time.stop": 1.0, "time.save": 5,
            "energy.activation": activation, "energy.data.activation": "relu",
        }
    )  # fmt: skip


def surface_difference(level: int, activation: str) -> list[float]:
    """[largest difference of the loss over time, Σ|difference of the cell masses| at the end, relative error of the area]."""
    energies, masses = [], []
    for kind in ("sphere", "ellipsoid"):
        case = surface_case(kind, level, activation)
        dataset, grid = gridflow.solve(case), case.grid()
        density = dataset["density"].isel(time=-1).transpose(*grid.order).to_numpy()
        energies.append(dataset["energy"].to_numpy())
        masses.append(density * grid.volume)
    area = next(f for f in grid.factors if f.columns == 3).total_volume
    loss = float(np.abs(energies[0] - energies[1]).max())
    return [loss, float(np.abs(masses[0] - masses[1]).sum()), abs(area / (4 * np.pi) - 1)]


def surface_differences(activation: str, levels: tuple[int, ...]) -> Array:
    """Rows of `surface_difference` for each level."""
    print(f"\nd = 3, {activation}, t = 1: differences ellipsoid − sphere")
    print("level   loss (largest over time)   Σ|cell masses|   area of the ellipsoid")
    rows = np.array([surface_difference(level, activation) for level in levels])
    for level, row in zip(levels, rows, strict=True):
        print("{:5d} {:26.2e} {:16.2e} {:23.2e}".format(level, *row))
    print("order {:26.2f} {:16.2f} {:23.2f}   (last two)".format(*np.log2(rows[-2] / rows[-1])))
    return rows


def neuron_differences(activation: str, steps: tuple[float, ...]) -> Array:
    """Rows (loss, a, b/‖b‖: largest differences) between S1 (14) on Ω and the sphere, for each step; same neurons."""
    print(f"\nd = 3, {activation}, t = 1, {NEURONS} neurons, same seed: Ω − sphere")
    print("step    loss (largest over time)   a (largest)   b/‖b‖ (largest)")
    rows = []
    for step in steps:
        runs = []
        for kind in ("sphere", "ellipsoid"):
            case = surface_case(kind, 1 if kind == "sphere" else 2, activation)
            runs.append(gridflow.simulate(case.replace({"particles.integrator.step": step}), NEURONS, seed=1))
        factors = case.grid().factors
        mesh, columns = next((f, c) for f, c in zip(factors, columns_of(factors), strict=True) if f.columns == 3)
        ends = [mesh.length_image(run.points[-1][:, columns]) for run in runs]
        other = [k for k in range(4) if not columns.start <= k < columns.stop]
        a = np.abs(runs[0].points[-1][:, other] - runs[1].points[-1][:, other]).max()
        rows.append((np.abs(runs[0].energy - runs[1].energy).max(), a, np.abs(ends[0] - ends[1]).max()))
        print("{:5.3f} {:26.2e} {:13.2e} {:18.2e}".format(step, *rows[-1]))
    print("order {:26.2f} {:13.2f} {:18.2f}   (last two)".format(*np.log2(np.array(rows[-2]) / rows[-1])))
    return np.array(rows)


def reproduce(directory: Path, quick: bool) -> list[Claim]:
    rng = np.random.default_rng(1)
    errors = [check_metric(d, rng) for d in DIMENSIONS]
    print("d   cond Σ    |DTᵀ G DT − I|   |DT v(10) − v(14)| / |v(14)|   |uᵀG v(14) + uᵀ∂L| / |uᵀ∂L|")
    for d, row in zip(DIMENSIONS, errors, strict=True):
        print("{}  {:7.1f} {:16.1e} {:20.1e} {:26.1e}".format(d, *row))
    bound = 1e-14 * max(e.condition for e in errors) ** 2
    curves = curve_differences("tanh", 1.0 if quick else 2.0, (1, 2) if quick else (1, 2, 4))
    surfaces = surface_differences("tanh", (1, 2) if quick else (2, 3, 4))
    neurons = neuron_differences("tanh", (0.1, 0.05, 0.025))
    if not quick:
        for stop in (1.0, 4.0):
            curve_differences("relu", stop, (1, 2, 4))
        surface_differences("relu", (2, 3, 4))
        neuron_differences("relu", (0.1, 0.05, 0.025))
    order_of = lambda values: float(np.log2(values[-2] / values[-1]))  # noqa: E731
    exact = "exact; round-off times the square of the condition number of Σ"
    second = "second order, of either grid; ± 0.5 for two coarse grids, the larger of which resolves the density"
    return [
        Claim(
            "bn-metric-isometry", "S1 Prop. 1", "G is an inner product on the tangent spaces of R × Ω.",
            "largest error of DTᵀ G DT = I for d = 2, 3, 4, 6", max(e.isometry for e in errors), (0.0, bound), exact,
            finding="More than that: with G the space Ω is a round sphere, and T its isometry, in every dimension.",
        ),
        Claim(
            "bn-metric-velocity", "S1 Theorem 2", "The velocity in Euclidean parameters, on Ω, is that of the manifold (14).",
            "largest relative error of DT v(10) = v(14) for d = 2, 3, 4, 6", max(e.velocity for e in errors), (0.0, bound), exact,
            finding="With the minus signs of (7), which (6) loses.",
        ),
        Claim(
            "bn-metric-gradient", "S1 Theorem 2, S1 Theorem 3", "The velocity (14) is the steepest descent in the metric G.",
            "largest relative error of uᵀG v(14) = −uᵀ∂L for tangent u, d = 2, 3, 4, 6", max(e.gradient for e in errors),
            (0.0, bound), exact,
        ),
        Claim(
            "bn-metric-curve-order", "S1 Theorem 3", "The density in Euclidean parameters and that on Ω follow one flow.",
            "order in the cell size of the difference of the losses, ellipse − circle, d = 2, tanh", order_of(curves[:, 0]),
            (1.5, 2.5), second, opposite=(-np.inf, 0.3),
        ),
        Claim(
            "bn-metric-curve", "S1 Theorem 3", "The density in Euclidean parameters and that on Ω follow one flow.",
            "W1 of the angles between ellipse and circle at the finest grid, over the width of a cell, d = 2, tanh",
            float(curves[-1, 2] / (2 * np.pi / (60 * (2 if quick else 4)))), (0.0, 0.5),
            "half a cell: two grids that place cells differently",
        ),
        Claim(
            "bn-metric-surface", "S1 Theorem 3", "The density in Euclidean parameters and that on Ω follow one flow.",
            "order in the cell size of Σ|difference of the cell masses|, ellipsoid − sphere, d = 3, tanh", order_of(surfaces[:,
            1]),
            (1.5, np.inf),
            "lengths and areas by quadrature of sixth order; where cells are few, at least the second order of the scheme",
            opposite=(-np.inf, 0.3),
        ),
        Claim(
            "bn-metric-neurons", "S1 Theorem 2", "Training in Euclidean parameters and on the manifold is the same.",
            "order in the time step of the difference of the losses, 512 neurons on Ω by (14) and on the sphere, d = 3",
            order_of(neurons[:, 0]), (1.7, 3.3), "RK2: order 2, or 3 where the leading terms agree; ± 0.3 for three steps",
            opposite=(-np.inf, 0.3),
        ),
    ]  # fmt: skip
