"""Teachers as measures: ρ* = Σᵢ αᵢ δ_{cᵢ} + Σ_k α_k ρ_k, ρ_k products of named densities (S3 §2.1).

Targets y(x) = ∫σ(θ·x) dρ* are data: particles and grids of any size see the same numbers. A density is therefore integrated on
nodes of its own, Gauss–Legendre on each side of θ = 0, where the ReLU has its kink in one dimension. For smooth σ the rule
converges exponentially; for the ReLU in two dimensions, whose kinks lie oblique to the nodes, its error is about 1e−4.

With trained weights (S3 §5.1) α is the mean output weight ∫w ρ*(θ, w)dw, all that the network depends on.
"""

from pathlib import Path
from typing import Annotated

import numpy as np
from msgspec import Meta, Struct

from gridflow.energy.base import REACH
from gridflow.energy.network.activation import ACTIVATIONS, ActivationName
from gridflow.energy.network.data import Data
from gridflow.energy.network.features import row_blocks
from gridflow.energy.network.inputs import InputsSpec, product_rule
from gridflow.errors import require
from gridflow.memory import require_memory
from gridflow.space.densities import Normal, Uniform
from gridflow.space.factor import Array, Factor
from gridflow.space.mixture import CUT_MAX

NODES = {1: 400, 2: 64, 3: 32}
"""Nodes per coordinate, by the number of coordinates."""
BLOCK_ENTRIES = 2**22
"""Pre-activations of a teacher that are held at once: 32 MiB."""


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


def rule(density: Normal | Uniform, count: int) -> tuple[Array, Array]:
    """Nodes and weights (sum 1) of a density on the line: Gauss–Legendre on each side of 0, or on the support of one sign."""
    if isinstance(density, Uniform):
        assert density.bounds is not None
        lower, upper = density.bounds
    else:  # all but 2.6e−12 of it
        lower, upper = density.mean - REACH * density.deviation, density.mean + REACH * density.deviation
    pieces = [(lower, 0.0), (0.0, upper)] if lower < 0 < upper else [(lower, upper)]
    unit, unit_weights = np.polynomial.legendre.leggauss(count // len(pieces))
    nodes = np.concatenate([a + (b - a) * (unit + 1) / 2 for a, b in pieces])
    weights = np.concatenate([(b - a) * unit_weights for a, b in pieces])
    if isinstance(density, Normal):
        weights = weights * np.exp(-(((nodes - density.mean) / density.deviation) ** 2) / 2)
    return nodes, weights / weights.sum()


class TeacherData(Struct, frozen=True, forbid_unknown_fields=True, tag="teacher", tag_field="kind"):
    """Inputs from a named measure, targets from a teacher: y(x) = Σᵢ wᵢ σ(cᵢ·x) + Σ_k w_k ∫σ(θ·x) dρ_k (S3 §2.1).

    inputs : where; activation : of the teacher, by default that of the student; normalization : batch normalisation of neurons
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

    def as_neurons(self) -> tuple[Array, Array]:
        """Points (n_neurons, n_dim) and weights (n_neurons, n_outputs): `neurons`, then quadrature nodes of `densities`."""
        points = [np.array([n.direction]) for n in self.neurons]
        weights = [np.array([np.atleast_1d(n.weight)]) for n in self.neurons]
        for component in self.densities:
            nodes, masses = product_rule([rule(d, NODES[len(component.density)]) for d in component.density])
            points.append(nodes)
            weights.append(masses[:, None] * np.atleast_1d(component.weight))
        return np.concatenate(points), np.concatenate(weights)

    def load(self, directory: Path, activation: str) -> Data:
        """Inputs and targets. Raises InputError for a teacher that does not fit the inputs."""
        inputs, weights = self.inputs.points()
        self.check(inputs.shape[1])
        sigma, (points, outer) = ACTIVATIONS[self.activation or activation].value, self.as_neurons()
        if self.normalization:
            pairs, fix = f"the {len(points)} neurons of a teacher at {len(inputs)} inputs", "lower inputs.count"
            require_memory(pairs, 24 * len(points) * len(inputs), fix)
            return Data(inputs, sigma(self.batch_normalization(inputs @ points.T, weights)) @ outer, weights)
        blocks = row_blocks(len(inputs), len(points), BLOCK_ENTRIES)
        return Data(inputs, np.concatenate([sigma(inputs[b] @ points.T) @ outer for b in blocks]), weights)

    def check(self, dim: int) -> None:
        """Raises InputError for neurons or densities that do not fit the inputs, or each other."""
        outputs = sorted({np.size(w) for w in self.weights()})
        received, fix = f"teacher neurons with {outputs} outputs", "give every neuron equally many weights"
        require(len(outputs) == 1, received, "one number of outputs", fix)
        for neuron in self.neurons:
            received, fits = f"teacher direction {neuron.direction}", len(neuron.direction) == dim
            require(fits, received, f"{dim} numbers, one per input", "match the dimension of the inputs")
        for component in self.densities:
            n = len(component.density)
            require(n == dim, f"a teacher density of {n} coordinates", f"{dim}, one per input", "match the inputs")

    def batch_normalization(self, z: Array, weights: Array) -> Array:
        """Pre-activations (n_data, n_neurons) centred, then divided by ‖direction‖_Σ, their deviation (S1 (2))."""
        z = z - weights @ z
        norms = np.sqrt(weights @ z**2)
        received = f"teacher direction {self.neurons[int(np.argmin(norms))].direction} under batch normalisation"
        require(bool((norms > 0).all()), received, "a direction in which the inputs vary", "change it")
        return z / norms


def check_inside(places: Array, densities: list[Normal | Uniform], factor: Factor) -> None:
    """Raises InputError for a teacher outside of a factor: neurons, or densities of which the walls cut off more than 1e−6."""
    along = f"along {factor.name!r}"
    (lower, upper), fix = (factor.edges[0], factor.edges[-1]), f"widen space.{factor.name}.bounds"
    for place in places:
        received = f"a teacher neuron at {place:g}, outside of Θ {along}"
        require(bool(lower <= place <= upper), received, f"[{lower:g}, {upper:g}]", f"{fix}, or move the neuron")
    for density in densities:
        cut = 1 - float(density.masses(factor).sum())
        received = f"a teacher density of which Θ cuts off {cut:.2g} {along}"
        require(cut <= CUT_MAX, received, f"at most {CUT_MAX:g}", f"{fix}, or make the density narrower")
