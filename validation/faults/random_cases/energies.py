"""Strategies for energies, with a space that each of them admits: one for every entry of the registries."""

from collections.abc import Callable
from typing import NamedTuple

from hypothesis import strategies as st

from gridflow.energy.network.activation import ACTIVATIONS, JETS
from validation.faults.random_cases.parts import (
    LINES,
    Draw,
    Table,
    any_space,
    covariance,
    factor_of,
    mixture,
    number,
    rarely,
    scale,
    signed,
    space_of,
)


class Model(NamedTuple):
    """space, energy : tables; evenly : a factor that starts with equal masses; frozen : one along which nothing moves"""

    space: Table
    energy: Table
    evenly: str | None = None
    frozen: str | None = None


# ---------------------------------------------------------------------------------------------------------- potentials
def term_on(draw: Draw, table: Table) -> Table:
    """A term of a potential on a factor."""
    kind, amplitude = table["kind"], signed(-2.0, 2.0)
    if kind in ("sphere", "ellipsoid"):
        return {"kind": "tilt", "slope": [draw(amplitude) for _ in range(3)]}
    wave = {"kind": "cosine", "amplitude": draw(amplitude), "wavenumber": draw(st.integers(1, 2))}
    if kind in ("circle", "ellipse"):
        return wave
    straight = [
        {"kind": "quadratic", "stiffness": draw(amplitude), "centre": draw(number(-2.0, 2.0))},
        {"kind": "linear", "slope": draw(amplitude)},
        {"kind": "double-well", "position": draw(number(0.2, 2.0)), "height": draw(scale(-2.0, 1.0))},
    ]
    return draw(st.sampled_from(straight if kind == "labels" else [*straight, wave]))


def potential_on(draw: Draw, space: Table) -> Table:
    """A potential on a space: terms, a polynomial, or the logarithm of a target."""
    table: Table = {"kind": "potential", "terms": {n: term_on(draw, f) for n, f in space.items() if draw(st.booleans())}}
    straight = [n for n, f in space.items() if f["kind"] in ("interval", "labels")]
    if straight and draw(rarely):
        powers = {n: draw(st.integers(1, 3)) for n in straight}
        table["polynomial"] = [{"coefficient": draw(number(-1.0, 1.0)), "powers": powers}]
    if draw(rarely):
        density = {n: logarithmic_on(draw, f) for n, f in space.items()}
        table |= {"target": [{"density": density}], "scale": draw(scale(-2.0, 0.3))}
    return table


def logarithmic_on(draw: Draw, table: Table) -> Table:
    """A density that is positive and smooth all over a factor."""
    kind = table["kind"]
    if kind in ("sphere", "ellipsoid"):
        return {"kind": "fisher", "direction": [0.0, 0.6, 0.8], "concentration": draw(number(0.1, 5.0))}
    if kind == "labels" or draw(st.booleans()):
        return {"kind": "uniform"}
    factor = factor_of(table)
    length = factor.total_volume
    return {"kind": "normal", "mean": float(factor.edges[0]) + 0.45 * length, "deviation": draw(number(0.04, 0.08)) * length}


def potential(draw: Draw) -> Model:
    space = any_space(draw, ("interval", "circle", "labels", "ellipse", "sphere", "ellipsoid"), 3)
    return Model(space, potential_on(draw, space))


# ------------------------------------------------------------------------------------------------------------ networks
def inputs_of(draw: Draw, dim: int) -> Table:
    """Inputs of a network, in so many dimensions."""
    match draw(
        st.sampled_from(["nodes", "gauss-hermite", "gauss-legendre", "normal", {1: "uniform", 2: "circle"}.get(dim, "nodes")])
    ):
        case "gauss-hermite":
            count, deviation = draw(st.integers(1, 3)), draw(number(0.3, 2.0))
            return {"kind": "gauss-hermite", "count": count, "dimension": dim, "deviation": deviation}
        case "gauss-legendre":
            return {"kind": "gauss-legendre", "count": draw(st.integers(1, 3)), "bounds": [[-1.0, draw(number(0.5, 2.0))]] * dim}
        case "normal":
            return {"kind": "normal", "count": dim + draw(st.integers(1, 6)), "covariance": covariance(draw, dim)}
        case "uniform":
            return {"kind": "uniform", "count": draw(st.integers(1, 6)), "bounds": [-1.0, draw(number(0.0, 2.0))]}
        case "circle":
            return {"kind": "circle", "count": draw(st.integers(1, 6)), "radius": draw(number(0.3, 2.0))}
    nodes = [[draw(number(-2.0, 2.0)) for _ in range(dim)] for _ in range(draw(st.integers(1, 5)))]
    return {"kind": "nodes", "nodes": nodes}


def network(draw: Draw) -> Model:
    shape = draw(st.sampled_from(["line", "plane", "circle", "ellipse", "sphere"]))
    kinds = {"line": ["interval"], "plane": ["interval", "interval"]}.get(shape, [shape])
    outer = draw(st.sampled_from([None, "interval", "labels"])) if len(kinds) == 1 else draw(st.sampled_from([None, "labels"]))
    space = space_of(draw, kinds + ([outer] if outer else []))
    names = list(space)
    weights, dim = names[: len(kinds)], {"line": 1, "sphere": 3}.get(shape, 2)
    branch: Table = {
        "weights": weights,
        "outputs": [[names[-1]] if outer else []],
        "scale": draw(st.sampled_from([1.0, -1.0, 0.5])),
    }
    normalization = shape in ("circle", "ellipse", "sphere") and draw(st.booleans())
    bias = dim > 1 and not normalization and draw(st.booleans())
    inputs = inputs_of(draw, dim - bias)
    if normalization:
        sigma = space[weights[0]].get("covariance") or covariance(draw, dim)
        inputs = {"kind": "normal", "count": dim + draw(st.integers(2, 6)), "covariance": sigma}
    neurons = [{"direction": [draw(number(-1.5, 1.5)) or 1.0 for _ in range(dim - bias)]} for _ in range(draw(st.integers(1, 2)))]
    table = {
        "kind": "network",
        "activation": draw(st.sampled_from(sorted(ACTIVATIONS))),
        "branches": [branch],
        "loss": draw(st.sampled_from(["squared", "huber"])),
        "bias": bias,
        "normalization": normalization,
        "data": {"kind": "teacher", "inputs": inputs, "neurons": neurons},
    }
    if shape == "line" and draw(rarely):  # labels ±1
        table |= {"loss": "logistic", "bias": False}
        table["data"] = {"kind": "teacher", "activation": "identity", "neurons": [{"direction": [1.0]}], "inputs": LABELS}
    if draw(rarely):
        table |= {"decay": draw(scale(-3.0, 0.0)), "decay_on": weights}
    return Model(space, table)


LABELS = {"kind": "nodes", "nodes": [[-1.0], [1.0]]}


def inside(draw: Draw, table: Table) -> float:
    """A position in an interval."""
    lower, upper = table["bounds"]
    return round(lower + draw(number(0.1, 0.9)) * (upper - lower), 6)


def resnet(draw: Draw) -> Model:
    model = draw(st.sampled_from(["ensemble", "wide", "linear", "quadratic"]))
    layers = draw(st.integers(1, 3))
    inputs = {"kind": "gauss-hermite", "count": draw(st.integers(1, 4)), "deviation": draw(number(0.3, 2.0))}
    table: Table = {"kind": "resnet", "model": model, "activation": draw(st.sampled_from(sorted(JETS)))}
    evenly = frozen = None
    if model == "ensemble":
        layers = min(layers, 2)
        space = space_of(draw, ["interval"] * layers)
        weights = list(space)
    else:
        deep = model == "quadratic" or draw(st.booleans())
        kind = "labels" if model == "wide" or draw(st.booleans()) else "interval"
        space, weights = space_of(draw, ["interval"]), ["x"]
        if model == "wide" or deep:
            table["depth"] = "layer"
            if kind == "labels":
                space["layer"] = {"kind": "labels", "values": [float(k) for k in range(layers)], "volumes": [1 / layers] * layers}
                evenly = "layer"
            else:
                space["layer"] = {"kind": "interval", "bounds": [0.0, 1.0], "cells": draw(st.integers(4, 8))}
                frozen = "layer"
    teacher = [[[inside(draw, space[weights[k % len(weights)]])]] for k in range(layers)]
    data = {"kind": "resnet-teacher", "inputs": inputs, "networks": [{"layers": teacher}]}
    return Model(space, table | {"weights": weights, "data": data}, evenly, frozen)


# -------------------------------------------------------------------------------------------------- pairs and densities
def widest(space: Table) -> float:
    """Largest cell of all factors in which mass moves."""
    return max(factor_of(f).cell_width for f in space.values() if f["kind"] != "labels")


def long_enough(draw: Draw, space: Table) -> float:
    """A length that the cells resolve."""
    return float(f"{widest(space) * draw(number(1.01, 8.0)):.6g}")


def power_law(draw: Draw, space: Table) -> Table:
    lowest = 0.1 - min(sum(f["kind"] == "interval" for f in space.values()), 3)
    exponents = st.sampled_from([2.0, 1.0, 4.0, 0.5, 1.5, max(lowest, -0.5)])
    which = draw(st.sampled_from(["attraction", "repulsion", "both"]))
    table: Table = {"kind": "power-law", "softening": draw(st.sampled_from([0.0, 0.1]))}
    table |= {name: draw(exponents) for name in ("attraction", "repulsion") if which in (name, "both")}
    return table


def morse(draw: Draw, space: Table) -> Table:
    lengths = {name: long_enough(draw, space) for name in ("repulsion_length", "attraction_length")}
    return {"kind": "morse", "repulsion": draw(number(0.0, 2.0)), "attraction": draw(number(0.0, 2.0)), **lengths}


def bessel(draw: Draw, space: Table) -> Table:
    return {"kind": "bessel", "length": long_enough(draw, space), "dimension": len(space)}


def exponential(draw: Draw, space: Table) -> Table:
    return {"kind": "exponential", "rate": min(draw(number(0.1, 3.0)), float(f"{3.9 / widest(space) ** 2:.3g}"))}


KERNELS: dict[str, tuple[tuple[str, ...], int, Callable[[Draw, Table], Table]]] = {
    # kinds of factors that a kernel admits, the most of them, its table
    "gaussian": (("interval", "circle", "labels"), 2, lambda draw, space: {"bandwidth": long_enough(draw, space)}),
    "laplace": (("interval", "labels", "sphere"), 2, lambda draw, space: {"bandwidth": long_enough(draw, space)}),
    "imq": (("interval", "labels", "sphere"), 2, lambda draw, space: {"bandwidth": long_enough(draw, space)}),
    "riesz": (("interval", "labels", "sphere"), 2, lambda draw, space: {"exponent": draw(number(0.3, 1.9))}),
    "polynomial": (("interval", "labels"), 2, lambda draw, space: {"degree": draw(st.integers(1, 3))}),
    "power-law": (("interval",), 1, power_law),
    "logarithmic": (("interval",), 1, lambda draw, space: {"softening": draw(st.sampled_from([0.0, 0.2]))}),
    "morse": (("interval", "labels", "sphere"), 2, morse),
    "bessel": (("interval",), 1, bessel),
    "cosine": (("circle",), 1, lambda draw, space: {"wavenumber": 1}),
    "exponential": (("circle", "sphere"), 1, exponential),
}
DISCREPANCIES = ("gaussian", "laplace", "imq", "riesz", "polynomial")
"""Kernels of an MMD."""


def kernel_and_space(draw: Draw, names: list[str]) -> tuple[Table, Table]:
    """A kernel, and a space of its factors; a surface stands alone."""
    name = draw(st.sampled_from(names))
    kinds, most, table = KERNELS[name]
    first = draw(st.sampled_from([kind for kind in kinds if kind != "labels"]))
    others = [kind for kind in kinds if kind != "sphere"]
    more = draw(st.integers(0, most - 1)) if first != "sphere" else 0
    space = space_of(draw, [first, *(draw(st.sampled_from(others)) for _ in range(more))])
    return {"kind": name, **table(draw, space)}, space


def interaction(draw: Draw) -> Model:
    kernel, space = kernel_and_space(draw, sorted(KERNELS))
    return Model(space, {"kind": "interaction", "kernel": kernel, "amplitude": draw(signed(-2.0, 2.0))})


def mmd(draw: Draw) -> Model:
    kernel, space = kernel_and_space(draw, list(DISCREPANCIES))
    table = {"kind": "mmd", "kernel": kernel, "target": mixture(draw, space)}
    if all(f["kind"] in LINES for f in space.values()) and draw(rarely):
        table["certificates"] = {}
    if draw(rarely) and set(space) == {"x"} and space["x"]["kind"] == "interval":
        inputs = {"kind": "gauss-hermite", "count": draw(st.integers(1, 3))}
        table["kernel"] = {"kind": "features", "inputs": inputs, "activation": "tanh", "branches": [{"weights": ["x"]}]}
        table.pop("certificates", None)
    return Model(space, table)


def sobolev(draw: Draw) -> Model:
    space = any_space(draw, ("interval", "circle"), 2)
    flow = draw(st.sampled_from(["descent", "transport"]))
    return Model(
        space, {"kind": "sobolev", "flow": flow, "target": mixture(draw, space), "regularization": draw(scale(-6.0, -1.0))}
    )


def power(draw: Draw, space: Table) -> Table:
    return {"kind": "power", "exponent": draw(st.sampled_from([2.0, 3.0, 1.5, 0.75, 1.01])), "amplitude": draw(scale(-2.0, 0.5))}


def congestion(draw: Draw, space: Table) -> Table:
    room = 1.0
    for f in space.values():
        room *= float(factor_of(f).volumes.sum())
    return {"kind": "congestion", "largest": float(f"{draw(number(1.2, 4.0)) / room:.4g}")}


def entropy(draw: Draw, space: Table) -> Table:
    return {"kind": "entropy", "amplitude": draw(scale(-2.0, 0.5))}


LAWS = {"power": power, "entropy": entropy, "congestion": congestion}


def internal_on(draw: Draw, space: Table) -> Table:
    """An internal energy on a space."""
    return {"kind": "internal", "law": LAWS[draw(st.sampled_from(sorted(LAWS)))](draw, space)}


def internal(draw: Draw) -> Model:
    space = any_space(draw, (*LINES, "labels", "sphere"), 2)
    return Model(space, internal_on(draw, space))


def sum_of_two(draw: Draw) -> Model:
    part = draw(st.sampled_from([interaction, internal, mmd, network]))(draw)
    part.energy.pop("certificates", None)  # which bound an MMD alone
    return part._replace(energy={"kind": "sum", "parts": [potential_on(draw, part.space), part.energy]})


ENERGIES: dict[str, Callable[[Draw], Model]] = {
    "potential": potential,
    "network": network,
    "resnet": resnet,
    "interaction": interaction,
    "mmd": mmd,
    "sobolev": sobolev,
    "internal": internal,
    "sum": sum_of_two,
}
