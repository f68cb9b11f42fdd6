"""Strategies for factors, densities, schemes and integrators: one for every entry of their registries."""

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import msgspec
from hypothesis import strategies as st

from gridflow.space.factor import Factor
from gridflow.space.specs import FactorSpec

Table = dict[str, Any]
"""A table of a case file."""
Draw = Callable[..., Any]
"""What hypothesis passes to a composite strategy: a strategy in, an example of it out."""

rarely = st.sampled_from([False, False, False, True])


def number(low: float, high: float) -> st.SearchStrategy[float]:
    """Numbers of few digits, so that a shrunk case can be read."""
    return st.integers(0, 100).map(lambda k: round(low + k / 100 * (high - low), 6))


def scale(low: float, high: float) -> st.SearchStrategy[float]:
    """Positive numbers of all sizes between two powers of ten."""
    return st.integers(0, 100).map(lambda k: float(f"{10 ** (low + k / 100 * (high - low)):.3g}"))


def signed(low: float, high: float) -> st.SearchStrategy[float]:
    """The same of both signs."""
    return st.tuples(scale(low, high), st.sampled_from([1.0, -1.0])).map(lambda pair: pair[0] * pair[1])


# ------------------------------------------------------------------------------------------------------------- factors
def interval(draw: Draw, cells: int) -> Table:
    lower, length = draw(number(-3.0, 0.5)), draw(number(1.0, 6.0))
    table = {"kind": "interval", "bounds": [lower, round(lower + length, 6)], "cells": draw(st.integers(4, cells))}
    if draw(rarely):
        table["grading"] = {"focus": round(lower + draw(number(0.0, 1.0)) * length, 6), "ratio": draw(number(1.1, 10.0))}
    return table


def circle(draw: Draw, cells: int) -> Table:
    return {"kind": "circle", "cells": draw(st.integers(4, cells)), "length": draw(number(0.5, 8.0))}


def labels(draw: Draw, cells: int) -> Table:
    values = draw(st.lists(st.integers(-3, 3).map(float), min_size=1, max_size=3, unique=True))
    table: Table = {"kind": "labels", "values": sorted(values)}
    if draw(rarely):
        table["volumes"] = [draw(number(0.1, 3.0)) for _ in values]
    return table


def ellipse(draw: Draw, cells: int) -> Table:
    return {"kind": "ellipse", "cells": draw(st.integers(4, cells)), "covariance": covariance(draw, 2)}


def sphere(draw: Draw, cells: int) -> Table:
    return {"kind": "sphere", "level": draw(st.integers(0, 1 if cells < 40 else 2)), "relaxation": draw(st.integers(0, 10))}


def ellipsoid(draw: Draw, cells: int) -> Table:
    return {"kind": "ellipsoid", "level": 1 if cells < 40 else 2, "covariance": covariance(draw, 3)}


def covariance(draw: Draw, dim: int) -> list[list[float]]:
    """Symmetric and positive definite: diagonally dominant."""
    entries = [[0.0] * dim for _ in range(dim)]
    for i in range(dim):
        entries[i][i] = draw(number(1.0, 2.0))
        for j in range(i):
            entries[i][j] = entries[j][i] = draw(number(-0.3, 0.3))
    return entries


FACTORS: dict[str, Callable[[Draw, int], Table]] = {
    "interval": interval,
    "circle": circle,
    "labels": labels,
    "ellipse": ellipse,
    "sphere": sphere,
    "ellipsoid": ellipsoid,
}
LINES, SURFACES = ("interval", "circle", "ellipse"), ("sphere", "ellipsoid")
CELLS = {0: 4, 1: 64, 2: 20, 3: 9}
"""Most cells of a line, by the number of factors in which mass moves."""


def space_of(draw: Draw, kinds: list[str]) -> Table:
    """A space of factors of these kinds, called x, y and z."""
    moving = sum(kind != "labels" for kind in kinds)
    return {name: FACTORS[kind](draw, CELLS[moving]) for name, kind in zip("xyz", kinds, strict=False)}


def any_space(draw: Draw, allowed: tuple[str, ...], most: int) -> Table:
    """A space of up to so many factors, at most one a surface, and one or more in which mass moves."""
    first = draw(st.sampled_from([kind for kind in allowed if kind != "labels"]))
    others = [kind for kind in allowed if kind not in SURFACES]
    count = draw(st.integers(0, most - 1)) if others else 0
    return space_of(draw, [first, *(draw(st.sampled_from(others)) for _ in range(count))])


@lru_cache(maxsize=256)
def made(encoded: bytes) -> Factor:
    return msgspec.json.decode(encoded, type=FactorSpec).factor("x")


def factor_of(table: Table) -> Factor:
    """The factor of a table."""
    return made(msgspec.json.encode(table))


# ----------------------------------------------------------------------------------------------------------- densities
def normal(draw: Draw, table: Table) -> Table:
    factor = factor_of(table)
    lower, length = float(factor.edges[0]), factor.total_volume
    mean, deviation = lower + draw(number(0.4, 0.6)) * length, draw(scale(-4.0, -1.16)) * length
    return {"kind": "normal", "mean": float(f"{mean:.6g}"), "deviation": float(f"{deviation:.3g}")}


def uniform(draw: Draw, table: Table) -> Table:
    if table["kind"] != "interval" or draw(st.booleans()):
        return {"kind": "uniform"}
    lower, upper = table["bounds"]
    part = draw(number(0.0, 0.4)), draw(number(0.6, 1.0))
    return {"kind": "uniform", "bounds": [lower + p * (upper - lower) for p in part]}


def semicircle(draw: Draw, table: Table) -> Table:
    lower, upper = table["bounds"]
    return {"kind": "semicircle", "centre": (lower + upper) / 2, "radius": draw(number(0.1, 0.49)) * (upper - lower)}


def cosine(draw: Draw, table: Table) -> Table:
    return {"kind": "cosine", "amplitude": draw(number(-1.0, 1.0)), "wavenumber": draw(st.integers(1, 3))}


def weights(draw: Draw, table: Table) -> Table:
    size = factor_of(table).size
    values = draw(st.lists(st.integers(0, 5).map(float), min_size=size, max_size=size).filter(any))
    return {"kind": "weights", "values": values}


def fisher(draw: Draw, table: Table) -> Table:
    direction = draw(st.sampled_from([[0.0, 0.0, 1.0], [1.0, 0.0, 0.0], [0.3, -0.5, 0.8]]))
    return {"kind": "fisher", "direction": direction, "concentration": draw(scale(-1.0, 1.0))}


def harmonic(draw: Draw, table: Table) -> Table:
    return {"kind": "harmonic", "amplitude": draw(number(-1.0, 1.0)), "degree": draw(st.integers(1, 3))}


DENSITIES: dict[str, Callable[[Draw, Table], Table]] = {
    "normal": normal,
    "uniform": uniform,
    "semicircle": semicircle,
    "cosine": cosine,
    "weights": weights,
    "fisher": fisher,
    "harmonic": harmonic,
}
ON = {
    "interval": ("normal", "uniform", "semicircle", "cosine", "weights"),
    "circle": ("normal", "uniform", "cosine", "weights"),
    "ellipse": ("normal", "uniform", "cosine", "weights"),
    "labels": ("uniform", "weights"),
    "sphere": ("fisher", "harmonic", "uniform", "weights"),
    "ellipsoid": ("fisher", "harmonic", "uniform"),
}
"""Kinds of densities on a factor."""


def density_on(draw: Draw, table: Table) -> Table:
    """A density on a factor."""
    kinds = [kind for kind in ON[table["kind"]] if kind != "weights" or factor_of(table).size <= 12]
    return DENSITIES[draw(st.sampled_from(kinds))](draw, table)


def mixture(draw: Draw, space: Table) -> list[Table]:
    """One or two components on a space."""
    count = draw(st.integers(1, 2))
    weights = [draw(number(0.1, 2.0)) if count > 1 else 1.0 for _ in range(count)]
    return [{"weight": w, "density": {name: density_on(draw, f) for name, f in space.items()}} for w in weights]


# ------------------------------------------------------------------------------------------------ schemes, integrators
def finite_volume(draw: Draw, stop: float) -> Table:
    return {
        "kind": "finite-volume",
        "order": draw(st.sampled_from([2, 2, 1])),
        "cfl": draw(st.sampled_from([0.9, 0.5, 1.0])),
        "accuracy": draw(st.sampled_from([1.0, 0.1, 10.0])),
        "diffusion": draw(st.sampled_from(["implicit", "scharfetter-gummel", "heat-semigroup"])),
        "sliding": draw(rarely),
    }


def jko(draw: Draw, stop: float) -> Table:
    table = {
        "kind": "jko",
        "tau": stop / draw(st.integers(1, 5)),
        "epsilon": draw(number(0.5, 4.0)),
        "bias": draw(st.sampled_from(["compensate", "plain", "debias"])),
        "max_iterations": draw(st.sampled_from([300, 10])),
        "on_unconverged": draw(st.sampled_from(["stop", "continue"])),
    }
    if table["bias"] == "plain" and draw(rarely):
        table["algorithm"] = "scaling"
    elif table["on_unconverged"] == "stop" and draw(rarely):
        table["accuracy"] = draw(scale(-1.0, 1.0))
    return table


def exact_wasserstein(draw: Draw, stop: float) -> Table:
    return {"kind": "exact-wasserstein", "tau": stop / draw(st.integers(1, 3)), "max_iterations": 200}


SCHEMES = {"finite-volume": finite_volume, "jko": jko, "exact-wasserstein": exact_wasserstein}


def gradient_descent(draw: Draw, step: float) -> Table:
    return {"kind": "gradient-descent", "step": step}


def rk2(draw: Draw, step: float) -> Table:
    return {"kind": "rk2", "step": step}


def adaptive(draw: Draw, step: float) -> Table:
    return {"kind": "adaptive", "tolerance": draw(scale(-6.0, -2.0))}


def proximal_point(draw: Draw, step: float) -> Table:
    method, distance = draw(st.sampled_from(["sampling", "gradient-descent"])), draw(st.sampled_from(["frobenius", "assignment"]))
    return {
        "kind": "proximal-point",
        "step": step,
        "inner_method": method,
        "distance": distance,
        "inner": 20,
        "on_unconverged": "continue",
    }


INTEGRATORS = {
    "gradient-descent": gradient_descent,
    "rk2": rk2,
    "adaptive": adaptive,
    "proximal-point": proximal_point,
}
