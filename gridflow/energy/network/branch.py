"""Branches of a neuron, u·σ(b·x): which factors form the output weights u and the weight vectors b."""

from functools import reduce
from typing import Annotated

import numpy as np
from msgspec import Meta, Struct, field

from gridflow.energy.network.data import Data
from gridflow.errors import InputError, require
from gridflow.space.factor import Array, Factor, factor_index

NORM_ERROR_MAX = 1e-12
"""‖b‖_Σ − 1 on an ellipse: round-off of Σ, which may be a sum over many data."""


class Branch(Struct, frozen=True, forbid_unknown_fields=True):
    """One branch u·σ(b·x) of the neuron.

    weights : factors whose coordinates form b, in the order of the inputs; a circle gives (cos, sin), an ellipse b ∈ Ω, a
        surface all three components; "b.1", "b.2", "b.3" are single components of a surface b
    outputs : for each output of the network the factors whose coordinates are multiplied to u; [[]] means u = 1
    scale : constant factor, −1 for a negative branch (S2 §10)
    """

    weights: Annotated[list[str], Meta(min_length=1)]
    outputs: Annotated[list[list[str]], Meta(min_length=1)] = field(default_factory=lambda: [[]])
    scale: float = 1.0


def weight_planes(branches: list[Branch]) -> tuple[tuple[str, str], ...]:
    """Pairs of factors that form a weight vector."""
    return tuple(dict.fromkeys((b.weights[0], b.weights[1]) for b in branches if len(b.weights) == 2))


def check_branch(branch: Branch, data: Data, bias: bool, normalization: bool, factors: tuple[Factor, ...]) -> None:
    """Raises InputError for a branch that does not fit the factors, the data, or batch normalisation."""
    named = {name for names in branch.outputs for name in names}
    by_name, both = {f.name: f for f in factors}, sorted(named & set(branch.weights))
    require(not both, f"{both} in both `weights` and `outputs` of a branch", "disjoint groups of factors", "remove one of them")
    for name in (*branch.weights, *sorted(named)):
        factor_index(factors, base(name), "energy.branches")
        mesh, part = by_name[base(name)].columns > 1, name.removeprefix(base(name))
        if part not in ((".1", ".2", ".3") if mesh else ("",)) and not (part == "" and name in branch.weights):
            allowed = f"{base(name)}.1, {base(name)}.2 or {base(name)}.3" if mesh else base(name)
            raise InputError(f"energy.branches names {name!r}", allowed, "components belong to surfaces, by their number from 1")
    require(
        len(branch.outputs) == data.targets.shape[1],
        f"{len(branch.outputs)} entries in `outputs` of a branch",
        f"{data.targets.shape[1]}, one per target column",
        "give one list of factors for each output",
    )
    n_components, n_inputs = sum(components(n, by_name) for n in branch.weights), data.inputs.shape[1] + bias
    require(
        n_components == n_inputs,
        f"weights {branch.weights} form vectors of length {n_components}",
        f"{n_inputs}, the number of inputs{' and the bias' if bias else ''}",
        "name one factor per input (a circle or an ellipse counts for two, a surface for three), and one more if bias = true",
    )
    for name in branch.weights if normalization else []:
        check_ellipse(by_name[name], data.covariance())


def check_ellipse(factor: Factor, covariance: Array) -> None:
    """On an ellipse or ellipsoid weights are normalised already, if it is that of these data. Raises InputError."""
    if factor.covariance is None:
        return
    error = float(np.abs(norms_of_weights(factor.embed(factor.points), covariance) - 1).max())
    require(
        error <= NORM_ERROR_MAX,
        f"the {factor.kind} {factor.name!r} of the covariance {factor.covariance.tolist()}, on which ‖b‖_Σ differs from 1"
        f" by up to {error:.1e}",
        f"the covariance of the centred inputs, {covariance.tolist()}",
        f"set space.{factor.name}.covariance to it",
    )


def base(name: str) -> str:
    """The factor of "b" or of the component "b.1"."""
    return name.partition(".")[0]


def component(name: str) -> int | None:
    """The number, from 0, of the component "b.1"; None for a whole factor "b"."""
    number = name.partition(".")[2]
    return int(number) - 1 if number else None


def components(name: str, by_name: dict[str, Factor]) -> int:
    """How many components of b come from "b" or "b.1"."""
    return by_name[name].components if name in by_name else 1


def coordinate(coordinates: dict[str, Array], name: str) -> Array:
    """Values of "a" or "b.1" at points, (n_points,), from the positions in all factors."""
    x, number = coordinates[base(name)], component(name)
    return x if number is None else x[:, number]


def output_weights(outputs: list[list[str]], scale: float, coordinates: dict[str, Array], n_points: int) -> Array:
    """u at points given by their coordinates, (n_points, n_outputs)."""
    start = np.full(n_points, scale)
    return np.stack([reduce(np.multiply, [coordinate(coordinates, n) for n in names], start) for names in outputs], axis=1)


def weight_vectors(branch: Branch, factors: tuple[Factor, ...], coordinates: dict[str, Array]) -> Array:
    """b at points given by their coordinates, (n_points, n_dim)."""
    by_name = {f.name: f for f in factors}
    names = branch.weights
    return np.hstack([by_name[n].embed(coordinates[n]) if n in by_name else coordinate(coordinates, n)[:, None] for n in names])


def squared_length(vectors: Array) -> Array:
    """‖b‖² of weight vectors (n, n_components), (n,)."""
    return (vectors**2).sum(axis=1)


def norms_of_weights(directions: Array, covariance: Array) -> Array:
    """‖b‖_Σ (S1 (3)), (n_points, 1)."""
    norms = np.sqrt(((directions @ covariance) * directions).sum(axis=1))
    require(
        bool(norms.min() > 1e-12 * np.sqrt(np.trace(covariance))),  # zero up to the rounding of the coordinates
        "a weight vector with ‖b‖_Σ = 0 under batch normalisation",
        "weights on a circle or an ellipse, and Σ positive definite",
        "use a circle factor",
    )
    return norms[:, None]
