"""Two-layer networks in the mean-field limit (S1, S2, S3 §2.1 and §5.1).

    f_ρ(x) = ∫ φ(θ; x) dρ,    E(ρ) = Σ_j μ_j ℓ(f_ρ(x_j), y_j) + λ∫G dρ,    ξ(θ) = Σ_j μ_j ℓ'(f_ρ(x_j), y_j) φ(θ; x_j) + λ G(θ)

Features are sums of branches that factorise over two groups of factors, φ = Σ u(θ_A) v(θ_B; x), v = σ(b(θ_B)·x). The u-moment is
contracted first, so that an evaluation costs O(n_cells + n_B n_data), never n_cells². A feature that does not factorise is one
branch with u = 1 on all factors (`FeatureNetwork`). Feature matrices are stored while they fit a memory budget, and
recomputed block by block beyond it.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property, reduce
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from msgspec import Meta, Struct, field
from numpy.typing import NDArray

from gridflow.energy.base import ROUNDOFF, BoundEnergy, Energy, Evaluation, ParticleEnergy, ParticleEvaluation
from gridflow.energy.network import neurons
from gridflow.energy.network.activation import ACTIVATIONS
from gridflow.energy.network.data import Data, DataSpec
from gridflow.energy.network.loss import LOSSES, Loss
from gridflow.energy.network.stationarity import BoundStationarity, Stationarity
from gridflow.errors import InputError
from gridflow.space.ellipse import EllipseFactor
from gridflow.space.factor import Array, Factor, block, columns_of, factor_named
from gridflow.space.grid import Grid, Split
from gridflow.space.mesh import Mesh

STORED_BYTES = 2**30
"""Feature matrices up to this size are stored: reading them back is faster than recomputing any activation but the ReLU."""
BLOCK_ENTRIES = 2**17
"""Entries of a recomputed block: 1 MiB, so that it stays in the second-level cache between its two uses."""
NORM_ERROR_MAX = 1e-12
"""‖b‖_Σ − 1 on an ellipse: round-off of Σ, which may be a sum over many data."""

Rows = Callable[[slice], Array]
"""Feature values v of a slice of inner cells, (n_rows, n_data)."""


@dataclass(frozen=True, eq=False)
class StoredFeatures:
    """Inner features as one matrix (n_inner, n_data)."""

    matrix: Array

    def predict(self, moments: Array) -> Array:
        """(n_terms, n_inner) → (n_terms, n_data)."""
        return moments @ self.matrix

    def pull_back(self, residuals: Array) -> Array:
        """(n_terms, n_data) → (n_terms, n_inner)."""
        return residuals @ self.matrix.T

    def largest(self) -> Array:
        return np.abs(self.matrix).max(axis=0)


@dataclass(frozen=True, eq=False)
class RecomputedFeatures:
    """Inner features that do not fit the memory budget: recomputed in blocks of rows."""

    rows: Rows
    n_inner: int
    n_data: int

    def blocks(self) -> list[slice]:
        step = max(1, BLOCK_ENTRIES // self.n_data)
        return [slice(k, min(k + step, self.n_inner)) for k in range(0, self.n_inner, step)]

    def predict(self, moments: Array) -> Array:
        return reduce(np.add, (moments[:, b] @ self.rows(b) for b in self.blocks()))

    def pull_back(self, residuals: Array) -> Array:
        return np.concatenate([residuals @ self.rows(b).T for b in self.blocks()], axis=1)

    def largest(self) -> Array:
        return reduce(np.maximum, (np.abs(self.rows(b)).max(axis=0) for b in self.blocks()))


def features(rows: Rows, n_inner: int, n_data: int) -> StoredFeatures | RecomputedFeatures:
    if n_inner * n_data * 8 <= STORED_BYTES:
        return StoredFeatures(rows(slice(0, n_inner)))
    return RecomputedFeatures(rows, n_inner, n_data)


@dataclass(frozen=True, eq=False)
class BoundBranch:
    """Σ_terms u(θ_A) v(θ_B; x): term t feeds the output `outputs[t]`.

    outer : (n_terms, n_outer) values u; inner : features v over (n_inner, n_data).
    """

    split: Split
    outer: Array
    inner: StoredFeatures | RecomputedFeatures
    outputs: list[int]


class BoundNetwork(BoundEnergy):
    """A network energy on a grid."""

    data: Data
    convex = True  # every loss in LOSSES is convex in f, and f is linear in ρ

    def __init__(
        self,
        data: Data,
        loss: Loss,
        branches: list[BoundBranch],
        penalty: Array | None,
        smooth: bool = True,
        stationarity: BoundStationarity | None = None,
    ) -> None:
        self.data, self.loss, self.branches, self.penalty, self.smooth = data, loss, branches, penalty, smooth
        self.stationarity = stationarity
        if stationarity is not None:
            self.diagnostics = stationarity.records
        self.scale = np.abs(data.targets)
        for branch in branches:
            for term, output in enumerate(branch.outputs):
                self.scale[:, output] += np.abs(branch.outer[term]).max() * branch.inner.largest()

    def diagnose(self, density: Array, evaluation: Evaluation) -> dict[str, float]:
        """How much of the teacher the student has found, where the case asks (`gridflow.energy.network.stationarity`)."""
        return {} if self.stationarity is None else self.stationarity.diagnose(density, evaluation)

    def predict(self, mass: Array) -> Array:
        """f_ρ(x_j), (n_data, n_outputs)."""
        prediction = np.zeros_like(self.data.targets)
        for branch in self.branches:
            terms = branch.inner.predict(branch.split.contract(branch.outer, mass))
            for term, output in enumerate(branch.outputs):
                prediction[:, output] += terms[term]
        return prediction

    def evaluate(self, mass: Array) -> Evaluation:
        data = self.data
        prediction = self.predict(mass)
        weights = data.weights[:, None]
        value = float((weights * self.loss.value(prediction, data.targets)).sum())
        residual = weights * self.loss.derivative(prediction, data.targets)
        roundoff = ROUNDOFF * (float((np.abs(residual) * self.scale).sum()) + abs(value))
        xi = reduce(np.add, (b.split.expand(b.outer, b.inner.pull_back(residual.T[b.outputs])) for b in self.branches))
        if self.penalty is not None:
            penalty = float(np.vdot(self.penalty, mass))
            value, roundoff = value + penalty, roundoff + ROUNDOFF * penalty
            xi += self.penalty
        return Evaluation(value, xi, roundoff, prediction)


# ----------------------------------------------------------------------------------------------- networks in a case
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


class Network(Struct, frozen=True, forbid_unknown_fields=True, tag="network", tag_field="kind"):
    """A two-layer network: branches, activation, loss, data.

    bias : append 1 to the inputs, so that the last weight is a bias
    normalization : batch normalisation, b̄ = b/‖b‖_Σ with Σ the covariance of the centred data (S1 (2)–(4))
    decay, decay_on : weight decay λ Σ ‖b‖² over the named factors (S2 §9), b being what a position stands for in `weights`: its
        coordinate on a line or a label, a unit vector on a circle or a sphere. Where ‖b‖ = 1, as on a sphere or for labels ±1, it
        is λ times the total mass, G(μ) = λ|μ| of S2 §4.1, and moves mass only if flow.reaction does not conserve it
    stationarity : what to tell of a student and its teacher at every save
    """

    data: DataSpec
    branches: Annotated[list[Branch], Meta(min_length=1)]
    activation: Literal[tuple(ACTIVATIONS)] = "relu"  # type: ignore[valid-type]
    loss: Literal[tuple(LOSSES)] = "squared"  # type: ignore[valid-type]
    bias: bool = False
    normalization: bool = False
    decay: Annotated[float, Meta(ge=0.0)] = 0.0
    decay_on: list[str] = []
    stationarity: Stationarity | None = None

    def load(self, directory: Path) -> "NetworkEnergy":
        """Read or generate the data; batch normalisation centres the inputs (S1 (2)), and says so."""
        data = self.data.load(directory, self.activation)
        if self.normalization:
            mean = data.weights @ data.inputs
            data = replace(
                data, inputs=data.inputs - mean, notes=(*data.notes, "inputs centred for batch normalisation (S1 (2))")
            )
        if self.normalization and self.bias:
            raise InputError(
                "a bias under batch normalisation", "one of the two", "remove bias: normalised inputs have mean 0 (S1 (2))"
            )
        if self.loss == "logistic" and not np.isin(data.targets, (-1.0, 1.0)).all():
            raise InputError(
                "targets other than ±1 with the logistic loss", "targets −1 and 1", "recode the targets or choose another loss"
            )
        return NetworkEnergy(self, data)


@dataclass(frozen=True)
class NetworkEnergy(Energy):
    """Immutable model data of a network: its description and its training data."""

    spec: Network
    data: Data

    def bind(self, grid: Grid) -> BoundNetwork:
        spec, data = self.spec, self.data
        inputs = augmented(data, spec.bias)
        branches = [bound for branch in spec.branches for bound in bind_branch(branch, spec, inputs, data, grid)]
        smooth = ACTIVATIONS[spec.activation].is_smooth
        stationarity = None if spec.stationarity is None else spec.stationarity.bind(spec, data, grid)
        return BoundNetwork(data, LOSSES[spec.loss], branches, self.penalty(grid), smooth, stationarity)

    def particles(self, factors: tuple[Factor, ...]) -> "NetworkParticles":
        for branch in self.spec.branches:
            check_branch(branch, self.spec, augmented(self.data, self.spec.bias), self.data, factors)
        self.check_decay(factors)
        kind = ACTIVATIONS[self.spec.activation].compiled
        if kind is None:
            compiled = ", ".join(name for name, sigma in ACTIVATIONS.items() if sigma.compiled is not None)
            raise InputError(
                f"particles of a network with the activation {self.spec.activation!r}, which has no compiled form",
                f"one of: {compiled}",
                "add it to gridflow.energy.network.neurons.activate and give its number in ACTIVATIONS, or use a grid",
            )
        return NetworkParticles(self.spec, self.data, factors, kind)

    def check_decay(self, factors: tuple[Factor, ...]) -> None:
        if self.spec.decay > 0 and not self.spec.decay_on:
            names = ", ".join(f.name for f in factors)
            raise InputError("weight decay without factors to act on", f"factors: {names}", "list them in energy.decay_on")
        for name in self.spec.decay_on:
            factor_named(factors, name, "energy.decay_on")

    def penalty(self, grid: Grid) -> Array | None:
        if self.spec.decay == 0:
            return None
        self.check_decay(grid.factors)
        total = np.zeros(grid.shape)
        for axis, factor in enumerate(grid.factors):
            if factor.name in self.spec.decay_on:
                total += self.spec.decay * grid.along(axis, squared_length(factor.embed(factor.points)))
        return total


def squared_length(vectors: Array) -> Array:
    """‖b‖² of weight vectors (n, n_components), (n,)."""
    return (vectors**2).sum(axis=1)


def augmented(data: Data, bias: bool) -> Array:
    """Inputs, with a last column of ones for the bias, (n_data, n_dim)."""
    return np.hstack([data.inputs, np.ones((len(data.inputs), 1))]) if bias else data.inputs


def bind_branch(branch: Branch, spec: Network, inputs: Array, data: Data, grid: Grid) -> list[BoundBranch]:
    """Tabulate u over the outer cells and v over the inner ones. Raises InputError for a branch that does not fit."""
    check_branch(branch, spec, inputs, data, grid.factors)
    inside = {base(n) for n in branch.weights}
    split = grid.split(tuple(f.name for f in grid.factors if f.name not in inside))
    inner = grid.flat_coordinates(split.inner)
    directions = np.hstack(embedded_weights(branch, grid.factors, inner))
    if spec.normalization:
        directions = directions / norms_of_weights(directions, data.covariance())
    sigma = ACTIVATIONS[spec.activation].value

    def bound(outputs: list[list[str]], numbers: list[int], factor: Array | None) -> BoundBranch:
        def rows(block: slice) -> Array:
            values = sigma(directions[block] @ inputs.T)
            return values if factor is None else values * factor[block, None]

        outer = output_weights(outputs, branch.scale, grid.flat_coordinates(split.outer), split.n_outer).T
        return BoundBranch(split, outer, features(rows, split.n_inner, len(inputs)), numbers)

    if not any(base(n) in inside for names in branch.outputs for n in names):
        return [bound(branch.outputs, list(range(len(branch.outputs))), None)]
    found = []  # outputs that are components of the surface which also carries the weights: one feature for each output
    for number, names in enumerate(branch.outputs):
        mine = [n for n in names if base(n) in inside]
        factor = reduce(np.multiply, (coordinate(inner, n) for n in mine), np.ones(split.n_inner))
        found.append(bound([[n for n in names if n not in mine]], [number], factor))
    return found


def check_branch(branch: Branch, spec: Network, inputs: Array, data: Data, factors: tuple[Factor, ...]) -> None:
    """Raises InputError for a branch that fits neither the factors nor the data."""
    named = {name for names in branch.outputs for name in names}
    both = named & set(branch.weights)
    if both:
        raise InputError(
            f"{sorted(both)} in both `weights` and `outputs` of a branch", "disjoint groups of factors", "remove one of them"
        )
    by_name = {f.name: f for f in factors}
    for name in (*branch.weights, *sorted(named)):
        factor_named(factors, base(name), "energy.branches")
        mesh, part = by_name[base(name)].is_mesh, name.removeprefix(base(name))
        if part not in ((".1", ".2", ".3") if mesh else ("",)) and not (part == "" and name in branch.weights):
            allowed = f"{base(name)}.1, {base(name)}.2 or {base(name)}.3" if mesh else base(name)
            raise InputError(f"energy.branches names {name!r}", allowed, "components belong to surfaces, by their number from 1")
    if len(branch.outputs) != data.targets.shape[1]:
        raise InputError(
            f"{len(branch.outputs)} entries in `outputs` of a branch",
            f"{data.targets.shape[1]}, one per target column",
            "give one list of factors for each output",
        )
    components = sum(1 if n != base(n) else by_name[n].components for n in branch.weights)
    if components != inputs.shape[1]:
        raise InputError(
            f"weights {branch.weights} form vectors of length {components}",
            f"{inputs.shape[1]}, the number of inputs{' and the bias' if spec.bias else ''}",
            "name one factor per input (a circle or an ellipse counts for two, a surface for three), and one more if bias = true",
        )
    if spec.normalization:
        for name in branch.weights:
            check_ellipse(by_name[name], data.covariance())


def check_ellipse(factor: Factor, covariance: Array) -> None:
    """On an ellipse or ellipsoid weights are normalised already, if it is that of these data. Raises InputError."""
    if isinstance(factor, EllipseFactor) or (isinstance(factor, Mesh) and factor.kind == "ellipsoid"):
        b = factor.embed(factor.points)
        error = float(np.abs(norms_of_weights(b, covariance) - 1).max())
        if error > NORM_ERROR_MAX:
            raise InputError(
                f"the {factor.kind} {factor.name!r} of the covariance {factor.covariance.tolist()}, on which ‖b‖_Σ differs from 1"
                f" by up to {error:.1e}",
                f"the covariance of the centred inputs, {covariance.tolist()}",
                f"set space.{factor.name}.covariance to it",
            )


def base(name: str) -> str:
    """The factor of "b" or of the component "b.1"."""
    return name.partition(".")[0]


def coordinate(coordinates: dict[str, Array], name: str) -> Array:
    """Values of "a" or "b.1" at points, (n_points,), from the positions in all factors."""
    x = coordinates[base(name)]
    return x if name == base(name) else x[:, int(name.partition(".")[2]) - 1]


def output_weights(outputs: list[list[str]], scale: float, coordinates: dict[str, Array], n_points: int) -> Array:
    """u at points given by their coordinates, (n_points, n_outputs)."""
    start = np.full(n_points, scale)
    return np.stack([reduce(np.multiply, [coordinate(coordinates, n) for n in names], start) for names in outputs], axis=1)


def embedded_weights(branch: Branch, factors: tuple[Factor, ...], coordinates: dict[str, Array]) -> list[Array]:
    """The parts of the weight vectors b, one (n_points, n_components) for each factor in `weights`."""
    by_name = {f.name: f for f in factors}
    return [by_name[n].embed(coordinates[n]) if n in by_name else coordinate(coordinates, n)[:, None] for n in branch.weights]


def norms_of_weights(directions: Array, covariance: Array) -> Array:
    """‖b‖_Σ (S1 (3)), (n_points, 1)."""
    norms = np.sqrt(((directions @ covariance) * directions).sum(axis=1))
    if not norms.min() > 1e-12 * np.sqrt(np.trace(covariance)):  # zero up to the rounding of the coordinates
        raise InputError(
            "a weight vector with ‖b‖_Σ = 0 under batch normalisation",
            "weights on a circle or an ellipse, and Σ positive definite",
            "use a circle factor",
        )
    return norms[:, None]


# -------------------------------------------------------------------------------------------------------- particles
@dataclass(frozen=True)
class NetworkParticles(ParticleEnergy):
    """A network of N neurons: prediction, loss and grad ξ at the neurons, O(N·n_data·n_dim) in compiled sums.

    Velocities are −grad ξ = −N ∂E/∂θ_i for equal weights. With batch normalisation S1 (10) holds for neurons on the
    unit circle; the derivative of b̄ = b/‖b‖_Σ is (I − b̄ b̄ᵀΣ) db/‖b‖_Σ. kind : number of the activation in `neurons.activate`.
    """

    spec: Network
    data: Data
    factors: tuple[Factor, ...]
    kind: int

    @cached_property
    def columns(self) -> Array:
        """All inputs, (n_dim, n_data)."""
        return np.ascontiguousarray(augmented(self.data, self.spec.bias).T)

    @cached_property
    def covariance(self) -> Array:
        return self.data.covariance()

    def evaluate(self, points: Array, weights: Array, batch: NDArray[np.int64] | None = None) -> ParticleEvaluation:
        spec, loss, kind = self.spec, LOSSES[self.spec.loss], self.kind
        data = self.data if batch is None else self.data.subset(batch)
        columns = self.columns if batch is None else np.ascontiguousarray(augmented(data, spec.bias).T)
        branches = [self.neurons(branch, points) for branch in spec.branches]
        prediction = np.zeros_like(data.targets)
        for outer, _, directions, _ in branches:
            prediction += neurons.predict(kind, directions, weights[:, None] * outer, columns).T
        value = float((data.weights[:, None] * loss.value(prediction, data.targets)).sum())
        residual = np.ascontiguousarray((data.weights[:, None] * loss.derivative(prediction, data.targets)).T)
        xi, gradient = np.zeros(len(points)), np.zeros(points.shape)
        for outer, outer_slopes, directions, tangents in branches:
            pulled, along = neurons.pull_back(kind, directions, outer, residual, columns)
            xi += (outer * pulled).sum(axis=1)
            for column, slope in outer_slopes.items():
                gradient[:, column] += (slope * pulled).sum(axis=1)
            for column, tangent in tangents.items():
                gradient[:, column] += (tangent * along).sum(axis=1)
        for factor, c in zip(self.factors, columns_of(self.factors), strict=True):
            if spec.decay > 0 and factor.name in spec.decay_on:
                x = block(points, factor, c)
                b = factor.embed(x)
                value += spec.decay * float(weights @ squared_length(b))
                xi += spec.decay * squared_length(b)
                slope = 2 * spec.decay * (b if factor.is_mesh else (b * factor.embed_tangent(x)).sum(axis=1, keepdims=True))
                gradient[:, c] += slope
            if not factor.moves:
                gradient[:, c] = 0.0
        return ParticleEvaluation(value, gradient, prediction, xi)

    def neurons(self, branch: Branch, points: Array) -> tuple[Array, dict[int, Array], Array, dict[int, Array]]:
        """u (n, n_outputs), ∂u by column, b or b̄ (n, n_dim), its derivative by column."""
        named = {f.name: (f, c) for f, c in zip(self.factors, columns_of(self.factors), strict=True)}
        coordinates = {name: block(points, f, c) for name, (f, c) in named.items()}
        outer = output_weights(branch.outputs, branch.scale, coordinates, len(points))

        def first_column(name: str) -> int:
            return named[base(name)][1].start + (int(name.partition(".")[2]) - 1 if name != base(name) else 0)

        slopes = {}
        for name in {n for names in branch.outputs for n in names}:
            # u is linear in each of its factors: its derivative is u without the factor, where it occurs
            present = np.array([name in names for names in branch.outputs])
            others = [[n for n in names if n != name] for names in branch.outputs]
            slopes[first_column(name)] = present * output_weights(others, branch.scale, coordinates, len(points))
        parts = embedded_weights(branch, self.factors, coordinates)
        directions = np.hstack(parts)
        tangents, start = {}, 0
        for name, part in zip(branch.weights, parts, strict=True):
            factor = named[base(name)][0]
            along_line = factor.embed_tangent(coordinates[name]) if factor.is_line else None
            for number in range(1 if along_line is not None else part.shape[1]):
                tangent = np.zeros(directions.shape)
                if along_line is not None:
                    tangent[:, start : start + part.shape[1]] = along_line
                else:  # labels, and the components of a surface: b is linear in them
                    tangent[:, start + number] = 1.0
                tangents[first_column(name) + number] = tangent
            start += part.shape[1]
        if self.spec.normalization:
            norms = norms_of_weights(directions, self.covariance)
            directions = directions / norms
            turned = directions @ self.covariance
            for column, tangent in tangents.items():
                along = (turned * tangent).sum(axis=1, keepdims=True)
                tangents[column] = (tangent - directions * along) / norms
        return outer, slopes, directions, tangents


# ------------------------------------------------------------------------------------------------ arbitrary features
@dataclass(frozen=True)
class FeatureNetwork(Energy):
    """A network with any feature, in Python: φ(coordinates, inputs) → (n_cells, n_data) or (n_cells, n_data, n_outputs).

    `coordinates` maps factor names to flat arrays (n_cells,); `inputs` is (n_data, n_dim). The generic
    fallback: an evaluation costs O(n_cells n_data).
    """

    feature: Callable[[dict[str, Array], Array], Array]
    data: Data
    loss: str = "squared"

    def bind(self, grid: Grid, stationarity: BoundStationarity | None = None) -> BoundNetwork:
        coordinates = grid.flat_coordinates(tuple(range(len(grid.shape))))
        split = grid.split(())
        n_data, n_outputs = self.data.targets.shape

        def output_rows(output: int) -> Rows:
            def rows(block: slice) -> Array:
                values = self.feature({n: c[block] for n, c in coordinates.items()}, self.data.inputs)
                return values.reshape(-1, n_data, n_outputs)[:, :, output]

            return rows

        branches = [
            BoundBranch(split, np.ones((1, 1)), features(output_rows(k), split.n_inner, n_data), [k]) for k in range(n_outputs)
        ]
        return BoundNetwork(self.data, LOSSES[self.loss], branches, None, stationarity=stationarity)
