"""Teachers as measures: ρ* = Σᵢ αᵢ δ_{cᵢ} + Σ_k α_k ρ_k, ρ_k products of named densities (S3 §2.1).

Targets y(x) = ∫σ(θ·x) dρ* are data: particles and grids of any size see the same numbers. A density is therefore integrated on
nodes of its own, Gauss–Legendre on each side of θ = 0, where the ReLU has its kink in one dimension. For smooth σ the rule
converges exponentially; for the ReLU in two dimensions, whose kinks lie oblique to the nodes, its error is about 1e−4.

With trained weights (S3 §5.1) α is the mean output weight ∫w ρ*(θ, w)dw, all that the network depends on.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
from msgspec import Meta, Struct

from gridflow.energy.network.activation import ACTIVATIONS, ActivationName
from gridflow.energy.network.data import Data
from gridflow.energy.network.inputs import InputsSpec, product_rule
from gridflow.errors import InputError
from gridflow.space.densities import Normal, Uniform
from gridflow.space.factor import Array, Factor
from gridflow.space.mixture import CUT_MAX

NODES = {1: 400, 2: 64, 3: 32}
"""Nodes per coordinate, by the number of coordinates."""
BLOCK_ENTRIES = 2**22
"""Pre-activations of a teacher that are held at once: 32 MiB."""
REACH = 7.0
"""Deviations of a normal density that are integrated: all but 2.6e−12 of it."""


class TeacherDensity(Struct, frozen=True, forbid_unknown_fields=True):
    """weight·∫σ(θ·x)dρ of a product density: one normal, or uniform with bounds, for each input, in their order."""

    density: Annotated[list[Normal | Uniform], Meta(min_length=1, max_length=3)]
    weight: float | list[float] = 1.0

    def __post_init__(self) -> None:
        if any(isinstance(d, Uniform) and d.bounds is None for d in self.density):
            raise ValueError("a uniform teacher density without bounds; write bounds = [lower, upper]")


class Neuron(Struct, frozen=True, forbid_unknown_fields=True):
    """One neuron of a teacher: weight·σ(direction·x), or weight·σ(direction·x/‖direction‖_Σ) with batch normalisation."""

    direction: Annotated[list[float], Meta(min_length=1)]
    weight: float | list[float] = 1.0


@dataclass(frozen=True)
class TeacherMeasure:
    """A weighted sum of neurons: points (n_neurons, n_dim), weights (n_neurons, n_outputs)."""

    points: Array
    weights: Array


def support(density: Normal | Uniform) -> tuple[float, float]:
    """The interval on which a density is integrated."""
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


class TeacherData(Struct, frozen=True, forbid_unknown_fields=True, tag="teacher", tag_field="kind"):
    """Inputs from a named measure, targets from a teacher: y(x) = Σᵢ wᵢ σ(cᵢ·x) + Σ_k w_k ∫σ(θ·x) dρ_k (S3 §2.1).

    neurons, densities : the parts of the teacher, at least one; densities are integrated once, on nodes of their own
    """

    inputs: InputsSpec
    neurons: list[Neuron] = []
    normalization: bool = False
    activation: ActivationName | None = None
    densities: list[TeacherDensity] = []

    def __post_init__(self) -> None:
        if not self.neurons and not self.densities:
            raise ValueError("a teacher without neurons and densities; give at least one of them")
        if self.densities and self.normalization:
            raise ValueError("a teacher with densities under batch normalisation; remove densities or normalization")

    def weights(self) -> list[float | list[float]]:
        """Of the neurons, then of the densities."""
        return [n.weight for n in self.neurons] + [d.weight for d in self.densities]

    def measure(self) -> TeacherMeasure:
        """The teacher as a weighted sum of neurons: those of `neurons`, and the quadrature nodes of `densities`."""
        points = [np.array([n.direction]) for n in self.neurons]
        weights = [np.array([np.atleast_1d(n.weight)]) for n in self.neurons]
        for density in self.densities:
            nodes, masses = quadrature(density)
            points.append(nodes)
            weights.append(masses[:, None] * np.atleast_1d(density.weight))
        return TeacherMeasure(np.concatenate(points), np.concatenate(weights))

    def load(self, directory: Path, activation: str) -> Data:
        inputs, weights = self.inputs.points()
        self.check(inputs.shape[1])
        sigma, teacher = ACTIVATIONS[self.activation or activation].value, self.measure()
        if self.normalization:
            z = self.batch_normalization(inputs @ teacher.points.T, weights)
            return Data(inputs, sigma(z) @ teacher.weights, weights)
        step = max(1, BLOCK_ENTRIES // len(teacher.points))
        blocks = [inputs[k : k + step] for k in range(0, len(inputs), step)]
        return Data(inputs, np.concatenate([sigma(x @ teacher.points.T) @ teacher.weights for x in blocks]), weights)

    def check(self, dim: int) -> None:
        """Raises InputError for neurons or densities that do not fit the inputs, or each other."""
        outputs = {np.size(w) for w in self.weights()}
        if len(outputs) > 1:
            raise InputError(
                f"teacher neurons with {sorted(outputs)} outputs",
                "one number of outputs",
                "give every neuron equally many weights",
            )
        for neuron in self.neurons:
            if len(neuron.direction) != dim:
                raise InputError(
                    f"teacher direction {neuron.direction}", f"{dim} numbers, one per input", "match the dimension of the inputs"
                )
        for density in self.densities:
            if len(density.density) != dim:
                raise InputError(
                    f"a teacher density of {len(density.density)} coordinates", f"{dim}, one per input", "match the inputs"
                )

    def batch_normalization(self, z: Array, weights: Array) -> Array:
        """Pre-activations (n_data, n_neurons) centred, then divided by ‖direction‖_Σ, their deviation (S1 (2))."""
        z = z - weights @ z
        norms = np.sqrt(weights @ z**2)
        if not (norms > 0).all():
            raise InputError(
                f"teacher direction {self.neurons[int(np.argmin(norms))].direction} under batch normalisation",
                "a direction in which the inputs vary",
                "change it",
            )
        return z / norms


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
