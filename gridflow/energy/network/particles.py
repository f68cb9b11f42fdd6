"""Two-layer networks of finitely many neurons: value, prediction, ξ and grad ξ at weighted particles.

Velocities are −grad ξ = −N ∂E/∂θ_i for equal weights. With batch normalisation S1 (10) holds for neurons on the unit circle; the
derivative of b̄ = b/‖b‖_Σ is (I − b̄ b̄ᵀΣ) db/‖b‖_Σ.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from gridflow.energy.base import ParticleEnergy, ParticleEvaluation
from gridflow.energy.network.branch import (
    Branch,
    base,
    component,
    components,
    norms_of_weights,
    output_weights,
    squared_length,
    weight_vectors,
)
from gridflow.energy.network.data import Data
from gridflow.energy.network.loss import Loss
from gridflow.energy.network.neuron_sums import predict, pull_back
from gridflow.space.coordinate import coordinate_of
from gridflow.space.factor import Array, Factor, block, columns_of


@dataclass(frozen=True)
class NetworkParticles(ParticleEnergy):
    """A network of N neurons: O(N·n_data·n_dim) in compiled sums.

    number : of the activation in `gridflow.energy.network.activation.NUMBERS`; decay : λ by factor
    """

    branches: list[Branch]
    number: int
    loss: Loss
    data: Data
    factors: tuple[Factor, ...]
    bias: bool
    normalization: bool
    decay: dict[str, float]

    @cached_property
    def columns(self) -> Array:
        """All inputs, (n_dim, n_data)."""
        return np.ascontiguousarray(self.data.inputs_with_bias(self.bias).T)

    @cached_property
    def covariance(self) -> Array | None:
        """Σ of batch normalisation."""
        return self.data.covariance() if self.normalization else None

    def evaluate(self, points: Array, weights: Array, batch: NDArray[np.int64] | None = None) -> ParticleEvaluation:
        data = self.data if batch is None else self.data.subset(batch)
        columns = self.columns if batch is None else np.ascontiguousarray(data.inputs_with_bias(self.bias).T)
        branches = [branch_at(branch, self.factors, points, self.covariance) for branch in self.branches]
        prediction = np.zeros_like(data.targets)
        for at in branches:
            prediction += predict(self.number, at.directions, weights[:, None] * at.outer, columns).T
        value, residual = self.loss.evaluate(data, prediction)
        residual = np.ascontiguousarray(residual.T)
        xi, gradient = np.zeros(len(points)), np.zeros(points.shape)
        for at in branches:
            pulled, along = pull_back(self.number, at.directions, at.outer, residual, columns)
            xi += (at.outer * pulled).sum(axis=1)
            for column, slope in at.outer_slopes.items():
                gradient[:, column] += (slope * pulled).sum(axis=1)
            for column, tangent in at.tangents.items():
                gradient[:, column] += (tangent * along).sum(axis=1)
        for factor, c in zip(self.factors, columns_of(self.factors), strict=True):
            if factor.name in self.decay:
                decay, x = self.decay[factor.name], block(points, c)
                b = factor.embed(x)
                value += decay * float(weights @ squared_length(b))
                xi += decay * squared_length(b)
                gradient[:, c] += 2 * decay * factor.pull_back(x, b)
            if not factor.moves:
                gradient[:, c] = 0.0
        return ParticleEvaluation(value, gradient, prediction, xi)


@dataclass(frozen=True)
class BranchAtParticles:
    """outer : u, (n, n_outputs); directions : b, or b̄ under batch normalisation, (n, n_dim); outer_slopes, tangents : their
    derivatives in the columns of the points, by column."""

    outer: Array
    outer_slopes: dict[int, Array]
    directions: Array
    tangents: dict[int, Array]


def branch_at(branch: Branch, factors: tuple[Factor, ...], points: Array, covariance: Array | None) -> BranchAtParticles:
    """A branch at points (n, n_columns). covariance : Σ under batch normalisation."""
    columns = {f.name: c for f, c in zip(factors, columns_of(factors), strict=True)}
    coordinates = {f.name: block(points, columns[f.name]) for f in factors}

    def first_column(name: str) -> int:
        return columns[base(name)].start + (component(name) or 0)

    def outer(outputs: list[list[str]]) -> Array:
        return output_weights(outputs, branch.scale, coordinates, len(points))

    slopes = {}
    for name in {n for names in branch.outputs for n in names}:
        # u is linear in each of its factors: its derivative is u without the factor, where it occurs
        present = np.array([name in names for names in branch.outputs])
        slopes[first_column(name)] = present * outer([[n for n in names if n != name] for names in branch.outputs])
    directions = weight_vectors(branch, factors, coordinates)
    tangents, start = {}, 0
    by_name = {f.name: f for f in factors}
    for name in branch.weights:
        factor, column, n_components = by_name[base(name)], first_column(name), components(name, by_name)
        if factor.one_dimensional:
            tangents[column] = np.zeros(directions.shape)
            tangents[column][:, start : start + n_components] = coordinate_of(factor).embed_tangent(coordinates[name])
        else:  # labels, and the components of a surface: b is linear in them
            for number in range(n_components):
                tangents[column + number] = np.zeros(directions.shape)
                tangents[column + number][:, start + number] = 1.0
        start += n_components
    if covariance is not None:
        norms = norms_of_weights(directions, covariance)
        directions = directions / norms
        turned = directions @ covariance
        for column, tangent in tangents.items():
            along = (turned * tangent).sum(axis=1, keepdims=True)
            tangents[column] = (tangent - directions * along) / norms
    return BranchAtParticles(outer(branch.outputs), slopes, directions, tangents)
