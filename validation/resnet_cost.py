"""What a step of a wide ResNet costs: linear in L, n_cells and n_data (S3 §3.2 by the adjoint state).

Finite-volume steps of wide-resnet are timed with one number doubled at a time (n_cells by the cells of θ) from a base at which
work outweighs overhead, in turns, and the slope of log time in log number is fitted. Then steps on three- and four-dimensional
grids, of an ensemble and of wide ResNets in the plane (d = 2: Θ = R^{2×2}, four factors × layers), beside what `gridflow show`
foretells.
"""

import time
from pathlib import Path

import numpy as np

import gridflow
from gridflow.case.case import Case
from gridflow.case.cost import cost_of
from gridflow.space.mixture import mixture_masses
from validation.claim import Claim

BASE = {"L": 8, "θ cells": 512, "n_data": 64}
FACTORS = (1, 2, 4)


class Run:
    """A case in its first steps; `step` returns the seconds of the next one."""

    def __init__(self, case: Case) -> None:
        grid = case.grid()
        self.stop = case.time.stop
        self.stepper = case.scheme.init(case.problem())
        masses = mixture_masses(case.initial, grid, Path(case.directory), "initial")
        self.state = self.stepper.start(masses / grid.volume)
        self.step()  # compiles

    def step(self) -> float:
        began = time.perf_counter()
        self.state = self.stepper.step(self.state, self.stop)
        return time.perf_counter() - began


def fastest(cases: list[Case], repeats: int) -> list[float]:
    """Least seconds per step of each, in turns, so that other load on the machine meets all alike."""
    runs = [Run(case) for case in cases]
    return [float(t) for t in np.min([[run.step() for run in runs] for _ in range(repeats)], axis=0)]


def wide(layers: int, cells: int, n_data: int) -> Case:
    theta = np.linspace(2.0, -1.0, layers)
    return gridflow.load_case("wide-resnet").replace(
        {
            "space.layer.values": [float(k) for k in range(layers)],
            "space.layer.volumes": [1 / layers] * layers,
            "space.theta.cells": cells,
            "energy.data.inputs": {"kind": "uniform", "count": n_data, "bounds": [-3.0, 3.0]},
            "energy.data.networks": [{"layers": [[[float(t)]] for t in theta]}],
            "initial": [{"density": {"layer": {"kind": "uniform"}, "theta": {"kind": "normal", "mean": -0.3, "deviation": 0.5}}}],
        }
    )


def plane(cells: int, layers: int) -> Case:
    """A wide ResNet in the plane: a density on R^{2×2} × layers."""
    names = ["t11", "t12", "t21", "t22"]
    space = {name: {"kind": "interval", "bounds": [-3.0, 3.0], "cells": cells} for name in names}
    labels = {"kind": "labels", "values": [float(k) for k in range(layers)], "volumes": [1 / layers] * layers}
    density = {name: {"kind": "normal", "mean": 0.1, "deviation": 0.5} for name in names}
    data = {
        "kind": "resnet-teacher",
        "inputs": {"kind": "normal", "count": 50, "covariance": [[1.0, 0.0], [0.0, 1.0]]},
        "networks": [{"layers": [[[0.5, -1.0, 1.0, 0.5]]] * layers}],
    }
    table = {
        "title": "plane",
        "space": {**space, "layer": labels},
        "energy": {"kind": "resnet", "model": "wide", "weights": names, "depth": "layer", "data": data},
        "initial": [{"density": {**density, "layer": {"kind": "uniform"}}}],
        "scheme": {"kind": "finite-volume"},
        "time": {"stop": 1.0},
    }
    return Case.from_dict(table, "plane")


def doubled(repeats: int) -> dict[str, float]:
    """Slopes of log time in the log of every number."""
    base = ", ".join(f"{name} {value}" for name, value in BASE.items())
    print(f"wide-resnet, one number at a time from {base}; ms per step, least of {repeats}\n")
    print(f"{'':8s}{'× 1':>9s}{'× 2':>9s}{'× 4':>9s}{'slope':>8s}")
    slopes = {}
    for name in BASE:
        sizes = [{**BASE, name: BASE[name] * factor} for factor in FACTORS]
        seconds = fastest([wide(*size.values()) for size in sizes], repeats)
        slopes[name] = float(np.polyfit(np.log(FACTORS), np.log(seconds), 1)[0])
        print(f"{name:8s}" + "".join(f"{1e3 * s:9.2f}" for s in seconds) + f"{slopes[name]:8.2f}")
    return slopes


def reproduce(directory: Path, quick: bool) -> list[Claim]:
    repeats = 5 if quick else 15
    slopes = doubled(repeats)
    sizes = ((12, 2),) if quick else ((16, 2), (24, 2), (24, 4), (32, 2))
    cases = {"ensemble-resnet-3": gridflow.load_case("ensemble-resnet-3").replace({"energy.stationarity": None})}
    if quick:
        cells = {f"space.theta_{k}.cells": 48 for k in range(3)}
        cases["ensemble-resnet-3"] = cases["ensemble-resnet-3"].replace(cells)
    cases |= {f"wide, d = 2, {n}⁴ × {layers}": plane(n, layers) for n, layers in sizes}
    print(f"\n{'':22s}{'cells':>9s}{'ms per step':>13s}{'ns per cell':>13s}{'stated ms':>10s}{'stated memory':>15s}")
    per_cell = {}
    for name, case in cases.items():
        size, seconds, cost = case.grid().size, fastest([case], repeats)[0], cost_of(case)
        per_cell[name] = 1e9 * seconds / size
        stated = f"{1e3 * cost.step_seconds:10.1f}{cost.run_bytes / 2**20:11.0f} MiB"
        print(f"{name:22s}{size:9d}{1e3 * seconds:13.1f}{per_cell[name]:13.1f}{stated}")
    return [
        *(
            Claim(
                f"resnet-cost-{key}",
                "gridflow",
                f"How the time of a step of a wide ResNet grows with {text}; its work is linear.",
                f"slope of log time in log {name}",
                slopes[name],
            )
            for key, name, text in (
                ("layers", "L", "its layers"),
                ("cells", "θ cells", "the cells"),
                ("data", "n_data", "the data"),
            )
        ),
        Claim(
            "resnet-cost-ensemble",
            "gridflow",
            "What a step of an ensemble of three layers costs.",
            "ns per cell and step",
            per_cell["ensemble-resnet-3"],
        ),
        Claim(
            "resnet-cost-plane",
            "gridflow",
            "What a step of a wide ResNet in the plane costs.",
            "ns per cell and step, least of the sizes",
            min(value for name, value in per_cell.items() if name.startswith("wide")),
        ),
    ]
