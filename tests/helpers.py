"""Small cases that several tests share."""

import numpy as np

from gridflow.case import Case, convert
from gridflow.energy.base import ROUNDOFF, Evaluation

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
    from pathlib import Path

    case = convert(table, "test", Path())
    return case.replace({key.replace("__", "."): value for key, value in changes.items()})


class Linear:
    """∫V dρ for a potential given at the cells."""

    convex = True

    def __init__(self, potential):
        self.potential = np.ascontiguousarray(potential)

    def evaluate(self, mass):
        value = float(np.vdot(self.potential, mass))
        return Evaluation(value, self.potential, ROUNDOFF * abs(value))
