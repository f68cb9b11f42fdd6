"""The problems: the tables of cases, with their exact solutions where they have one."""

import numpy as np

import gridflow
from gridflow.case.case import Case
from gridflow.space.densities import Normal
from gridflow.space.factor import Array

SIDE, START, SPREAD, TIME = 4.0, 0.5, 0.2, 0.5
"""Fokker–Planck: half the side of the box, mean of x and variance at the start, time at the end."""


def fokker_planck(cells: int) -> Case:
    """∂ρ/∂t = div(ρ grad |x|²/2) + Δρ on [−4, 4]², from N((0.5, 0), 0.2 I) to t = 0.5."""
    interval = {"kind": "interval", "bounds": [-SIDE, SIDE], "cells": cells}
    quadratic = {"kind": "quadratic", "stiffness": 1.0, "centre": 0.0}
    normals = {name: {"kind": "normal", "mean": mean, "deviation": SPREAD**0.5} for name, mean in (("x", START), ("y", 0.0))}
    return Case.from_dict(
        {
            "title": "Fokker–Planck",
            "space": {"x": interval, "y": interval},
            "energy": {"kind": "potential", "terms": {"x": quadratic, "y": quadratic}},
            "initial": [{"density": normals}],
            "flow": {"temperature": 1.0},
            "scheme": {"kind": "finite-volume"},
            "time": {"stop": TIME, "save": 2},
        }
    )


def fokker_planck_exact(edges: Array) -> Array:
    """Cell masses at the end, (n_cells, n_cells), for cells with these edges along x and along y."""
    deviation = (1 - (1 - SPREAD) * np.exp(-2 * TIME)) ** 0.5
    x, y = (Normal(mean, deviation).between(edges) for mean in (START * np.exp(-TIME), 0.0))
    return np.outer(x, y)


def fokker_planck_density(x: Array, y: Array) -> Array:
    """The density at the start."""
    return np.exp(-((x - START) ** 2 + y**2) / (2 * SPREAD)) / (2 * np.pi * SPREAD)


def noisy_network(cells: int, temperature: float) -> Case:
    """A batch-norm network on R × S¹ with tanh, 50 data and temperature, to t = 2; `cells` along both factors."""
    changes = {
        "space.a.cells": cells,
        "space.angle.cells": cells,
        "energy.activation": "tanh",
        "energy.data.inputs.count": 50,
        "flow.temperature": temperature,
        "time.stop": 2.0,
        "time.save": 2,
    }
    return gridflow.load_case("bn-circle").replace(changes)
