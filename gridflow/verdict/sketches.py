"""Sketches: what distances need of a history, one per quantity and time; and the same as plain arrays, for a file."""

from typing import Any

import numpy as np

from gridflow.space.distances import Quantiles
from gridflow.space.factor import Array

Sketches = list[list[Any]]
"""One sketch per quantity and time: quantiles of a marginal, an array or a number."""


def arrays_of(sketches: Sketches) -> dict[str, Array]:
    """Sketches as arrays, times first. Quantities that share their sketches, as W1 and W2 do, are written once."""
    found: dict[str, Array] = {}
    first: dict[tuple[int, ...], int] = {}
    for k, row in enumerate(sketches):
        shared = first.setdefault(tuple(map(id, row)), k)
        found[f"{k}.same"] = np.array(shared)
        if shared < k:
            continue
        if isinstance(row[0], Quantiles):
            for name in ("levels", "left", "right", "length"):
                found[f"{k}.{name}"] = np.array([vars(sketch)[name] for sketch in row])
        else:
            found[f"{k}.values"] = np.array(row)
    return found


def sketches_of(arrays: dict[str, Array]) -> Sketches:
    """The sketches of `arrays_of`, bit by bit."""
    found: Sketches = []
    while f"{len(found)}.same" in arrays:
        k = len(found)
        if (shared := int(arrays[f"{k}.same"])) < k:
            found.append(found[shared])
        elif f"{k}.values" in arrays:
            found.append(list(arrays[f"{k}.values"]))
        else:
            parts = [arrays[f"{k}.{name}"] for name in ("levels", "left", "right", "length")]
            found.append([Quantiles(a, b, c, float(length)) for a, b, c, length in zip(*parts, strict=True)])
    return found
