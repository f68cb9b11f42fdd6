"""Teachers as measures: ρ* = Σᵢ αᵢ δ_{cᵢ} + Σ_k α_k ρ_k, ρ_k products of named densities (S3 §2.1).

Targets y(x) = ∫σ(θ·x) dρ* are data: particles and grids of any size see the same numbers. A density is therefore integrated on
nodes of its own, Gauss–Legendre on each side of θ = 0, where the ReLU has its kink in one dimension. For smooth σ the rule
converges exponentially; for the ReLU in two dimensions, whose kinks lie oblique to the nodes, its error is about 1e−4.

With trained weights (S3 §5.1) α is the mean output weight ∫w ρ*(θ, w)dw, all that the network depends on.
"""

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from msgspec import Meta, Struct

from gridflow.energy.network.inputs import product_rule
from gridflow.errors import InputError
from gridflow.space.densities import CUT_MAX, Normal, Uniform
from gridflow.space.factor import Array, Factor

NODES = {1: 400, 2: 64, 3: 32}
"""Nodes per coordinate, by the number of coordinates."""
REACH = 7.0
"""Deviations of a normal density that are integrated: all but 2.6e−12 of it."""


class TeacherDensity(Struct, frozen=True, forbid_unknown_fields=True):
    """weight·∫σ(θ·x)dρ of a product density: one normal, or uniform with bounds, for each input, in their order."""

    density: Annotated[list[Normal | Uniform], Meta(min_length=1, max_length=3)]
    weight: float | list[float] = 1.0

    def __post_init__(self) -> None:
        if any(isinstance(d, Uniform) and d.bounds is None for d in self.density):
            raise ValueError("a uniform teacher density without bounds; write bounds = [lower, upper]")


@dataclass(frozen=True)
class Teacher:
    """points : (n_neurons, n_dim); weights : (n_neurons, n_outputs)."""

    points: Array
    weights: Array


def support(density: Normal | Uniform) -> tuple[float, float]:
    if isinstance(density, Uniform):
        assert density.bounds is not None
        return density.bounds
    return density.mean - REACH * density.deviation, density.mean + REACH * density.deviation


def rule(density: Normal | Uniform, count: int) -> tuple[Array, Array]:
    """Nodes and weights (sum 1) of a density on the line: Gauss–Legendre on each side of 0, or on the support of one sign."""
    lower, upper = support(density)
    pieces = [(lower, 0.0), (0.0, upper)] if lower < 0 < upper else [(lower, upper)]
    unit, unit_weights = np.polynomial.legendre.leggauss(count // len(pieces))
    nodes = np.concatenate([a + (b - a) * (unit + 1) / 2 for a, b in pieces])
    weights = np.concatenate([(b - a) * unit_weights for a, b in pieces])
    if isinstance(density, Normal):
        weights = weights * np.exp(-(((nodes - density.mean) / density.deviation) ** 2) / 2)
    return nodes, weights / weights.sum()


def quadrature(component: TeacherDensity) -> tuple[Array, Array]:
    """Nodes (n, n_dim) and weights (n,) with sum 1."""
    return product_rule([rule(d, NODES[len(component.density)]) for d in component.density])


def check_inside(neurons: Array, densities: list[TeacherDensity], factors: list[Factor]) -> None:
    """Raises InputError for a teacher outside Θ: neurons beyond the walls, or a density of which they cut off more than 1e−6."""
    for k, factor in enumerate(factors):
        lower, upper = factor.edges[0], factor.edges[-1]
        beyond = (neurons[:, k] < lower) | (neurons[:, k] > upper)
        if beyond.any():
            raise InputError(
                f"a teacher neuron at {neurons[beyond][0].tolist()}, outside of Θ along {factor.name!r}",
                f"[{lower:g}, {upper:g}]",
                f"widen space.{factor.name}.bounds, or move the neuron",
            )
        for component in densities:
            cut = 1 - float(component.density[k].masses(factor).sum())
            if cut > CUT_MAX:
                raise InputError(
                    f"a teacher density of which Θ cuts off {cut:.2g} along {factor.name!r}",
                    f"at most {CUT_MAX:g} outside of [{lower:g}, {upper:g}]",
                    f"widen space.{factor.name}.bounds, or make the density narrower",
                )
