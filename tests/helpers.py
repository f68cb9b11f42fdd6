"""Small cases that several tests share."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from gridflow.case.case import Case
from gridflow.energy.base import ROUNDOFF, BoundEnergy, Energy, Evaluation
from gridflow.flow.flow import Flow
from gridflow.flow.noise import NoiseInjection
from gridflow.flow.reaction import Reaction
from gridflow.problem import Problem

QUADRATIC = {
    "title": "quadratic activation",
    "space": {"theta": {"kind": "interval", "bounds": [-3.0, 3.0], "cells": 64}},
    "energy": {
        "kind": "network",
        "activation": "quadratic",
        "branches": [{"weights": ["theta"]}],
        "data": {
            "kind": "teacher",
            "inputs": {"kind": "gauss-hermite", "count": 3, "deviation": 3**-0.25},
            "neurons": [{"direction": [1.0]}],
        },
    },
    "initial": [
        {"weight": 0.6, "density": {"theta": {"kind": "normal", "mean": 0.9, "deviation": 0.15}}},
        {"weight": 0.4, "density": {"theta": {"kind": "normal", "mean": -0.5, "deviation": 0.2}}},
    ],
    "scheme": {"kind": "finite-volume"},
    "time": {"stop": 1.0, "save": 5},
    "exact": {"kind": "quadratic-activation"},
}

IDENTITY = {
    **QUADRATIC,
    "title": "identity activation",
    "energy": {
        "kind": "network",
        "activation": "identity",
        "branches": [{"weights": ["theta"]}],
        "data": {"kind": "teacher", "inputs": {"kind": "gauss-hermite", "count": 3}, "neurons": [{"direction": [-0.4]}]},
    },
    "exact": {"kind": "identity-activation"},
}

ORNSTEIN_UHLENBECK = {
    "title": "Ornstein–Uhlenbeck",
    "space": {"x": {"kind": "interval", "bounds": [-4.0, 4.0], "cells": 64}},
    "energy": {"kind": "potential", "terms": {"x": {"kind": "quadratic", "stiffness": 1.5, "centre": 0.2}}},
    "initial": [{"density": {"x": {"kind": "normal", "mean": -0.8, "deviation": 0.4}}}],
    "flow": {"temperature": 0.3},
    "scheme": {"kind": "finite-volume"},
    "time": {"stop": 0.4, "save": 3},
    "exact": {"kind": "ornstein-uhlenbeck"},
}

HEAT_INTERVAL = {
    "title": "heat on an interval",
    "space": {"x": {"kind": "interval", "bounds": [-1.0, 1.5], "cells": 64}},
    "energy": {"kind": "potential"},
    "initial": [{"density": {"x": {"kind": "cosine", "amplitude": 0.8, "wavenumber": 3}}}],
    "flow": {"temperature": 0.2},
    "scheme": {"kind": "finite-volume"},
    "time": {"stop": 0.2, "save": 2},
    "exact": {"kind": "heat"},
}

HEAT_CIRCLE = {
    **HEAT_INTERVAL,
    "title": "heat on a circle",
    "space": {"x": {"kind": "circle", "cells": 64}},
    "initial": [{"density": {"x": {"kind": "cosine", "amplitude": 0.8, "wavenumber": 2}}}],
    "time": {"stop": 0.5, "save": 2},
}


def case_of(table: dict, **changes) -> Case:
    """The case of a table, with changes such as space__theta__cells=32."""
    case = Case.from_dict(table, "test")
    return case.replace({key.replace("__", "."): value for key, value in changes.items()})


@dataclass(frozen=True)
class Bound(Energy):
    """An energy that is already bound to its grid."""

    bound: Any

    def bind(self, grid):
        return self.bound


def problem_of(grid, bound, temperature=0.0, reaction=None, noise=None) -> Problem:
    """A problem on a grid with an energy that is bound to it."""
    return Problem(grid, Bound(bound), Flow(temperature, reaction or Reaction(), {}, {}, noise or NoiseInjection()))


class Linear(BoundEnergy):
    """∫V dρ for a potential given at the cells."""

    convex = True

    def __init__(self, potential):
        self.potential = np.ascontiguousarray(potential)

    def evaluate(self, mass):
        value = float(np.vdot(self.potential, mass))
        return Evaluation(value, self.potential, ROUNDOFF * abs(value))


def surface_case(**factors) -> Case:
    """Labels × a surface × an interval; nothing is solved on it here."""
    space = {
        "s": {"kind": "labels", "values": [-1.0, 1.0]},
        "b": {"kind": "sphere", "level": 1},
        "a": {"kind": "interval", "bounds": [-1.0, 1.0], "cells": 5},
        **factors,
    }
    density = {name: {"kind": "uniform"} for name in space}
    table = {
        **QUADRATIC,
        "title": "a surface",
        "space": space,
        "initial": [{"density": density}],
        "energy": {"kind": "potential"},
    }
    return case_of({k: v for k, v in table.items() if k != "exact"})


def surface_dataset(path=None, **factors):
    """Two times on `surface_case`, from the writer in memory or in a file, and the grid; the mass gathers around a point."""
    from gridflow.output.dataset import FileWriter, MemoryWriter, Record, layout_of
    from gridflow.output.schema import RECORDS, REPORTS

    case = surface_case(**factors)
    grid = case.grid()
    names = {n: RECORDS[n] for n in RECORDS if n not in REPORTS and not n.startswith("error_")}
    layout = layout_of(case, grid, None, names)
    writer = MemoryWriter(layout) if path is None else FileWriter(path, layout)
    axis = next(k for k, f in enumerate(grid.factors) if f.columns == 3)
    for time in (0.0, 1.0):
        north = np.exp(3 * (1 + time) * grid.factors[axis].image @ [0.6, 0.0, 0.8])
        density = np.ones(grid.shape) * grid.along(axis, north)
        density *= 1 + np.arange(grid.shape[-1]) + time
        density /= grid.integrate(density)
        writer.append(Record(time, density, None, dict.fromkeys(names, 1.0 / (1 + time)) | {"mass": 1.0}))
    writer.finish({"status": "completed"})
    return writer.dataset(), grid
