"""Residual networks of finitely many neurons (S3 (6)): value, prediction, ξ and grad ξ at weighted particles.

Equations are those of `gridflow.energy.resnet.layers` and `gridflow.energy.resnet.ensemble` for a measure Σ_i w_i δ_{(θ_i, ε_i)};
velocities are −grad_θ ξ. Particles at the same depth are one layer. In the quadratic approximation on a continuous depth they
count half a pair with each other and with themselves, as the neurons of a cell of the grid do.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gridflow.energy.base import ParticleEnergy, ParticleEvaluation
from gridflow.energy.network.activation import CURVATURES, JETS
from gridflow.energy.network.data import Data
from gridflow.energy.network.features import row_blocks
from gridflow.energy.network.loss import Loss
from gridflow.energy.resnet.ensemble import ensemble_gradient, ensemble_output, ensemble_pass
from gridflow.energy.resnet.layers import BLOCK_ENTRIES, QuadraticPass, RowFeatures, WidePass
from gridflow.energy.resnet.layout import Layout, check_layers
from gridflow.space.factor import Array


@dataclass(frozen=True)
class Neurons:
    """theta : (n, d, d), or (n, L, d, d) in an ensemble; depth : (n,), 0 without one; weights : (n,)."""

    theta: Array
    depth: Array
    weights: Array


Adjoint = Callable[[Array], tuple[Array, Array]]
"""r (d, n_data) → ξ (n,) and ∂ξ/∂θ, shape of theta."""


def forward_ensemble(activation: str, neurons: Neurons, inputs: Array, diagonal: float) -> tuple[Array, Adjoint]:
    """f (d, n_data) of an ensemble at inputs (d, n_data), with its adjoint."""
    jet, theta = JETS[activation], neurons.theta

    def adjoint(residual: Array) -> tuple[Array, Array]:
        xi, along = np.empty(len(theta)), np.empty(theta.shape)
        for block in row_blocks(len(theta), inputs.size, BLOCK_ENTRIES):  # recomputed: cheaper than to keep L states per particle
            states, slopes = ensemble_pass(jet, theta[block], inputs)
            xi[block] = np.tensordot(states[-1], residual, axes=2)
            along[block] = ensemble_gradient(theta[block], states, slopes, residual)
        return xi, along

    return ensemble_output(jet, theta, neurons.weights, inputs), adjoint


def forward_wide(activation: str, neurons: Neurons, inputs: Array, diagonal: float) -> tuple[Array, Adjoint]:
    """f of a wide ResNet."""
    theta = neurons.theta
    depths, number = np.unique(neurons.depth, return_inverse=True)
    layers = [np.flatnonzero(number == k) for k in range(len(depths))]
    rows = [[(theta[mine, k], neurons.weights[mine]) for k in range(len(inputs))] for mine in layers]
    passed = WidePass(JETS[activation], rows, inputs)

    def adjoint(residual: Array) -> tuple[Array, Array]:
        xi, along = np.zeros(len(theta)), np.empty(theta.shape)
        for mine, features, p in zip(layers, passed.features, passed.adjoints(residual), strict=True):
            for k, feature in enumerate(features):
                xi[mine] += feature.pull_back(p[None, k])[0]
                along[mine, k] = feature.gradient(p[k])
        return xi, along

    return passed.output, adjoint


def forward_linear(activation: str, neurons: Neurons, inputs: Array, diagonal: float) -> tuple[Array, Adjoint]:
    """f of the linear approximation."""
    features = [RowFeatures(JETS[activation], neurons.theta[:, k], inputs) for k in range(len(inputs))]

    def adjoint(residual: Array) -> tuple[Array, Array]:
        xi = np.sum([f.pull_back(r[None])[0] for f, r in zip(features, residual, strict=True)], axis=0)
        return xi, np.stack([f.gradient(r) for f, r in zip(features, residual, strict=True)], axis=1)

    return inputs + np.concatenate([f.sums(neurons.weights[None])[0] for f in features]), adjoint


def forward_quadratic(activation: str, neurons: Neurons, inputs: Array, diagonal: float) -> tuple[Array, Adjoint]:
    """f of the quadratic approximation, with h = diagonal. Features (n, d, n_data) of all neurons at x are held at once:
    O(n·d²·n_data) memory."""
    theta = neurons.theta
    depths, number = np.unique(neurons.depth, return_inverse=True)
    order = np.argsort(number, kind="stable")
    starts = np.searchsorted(number[order], np.arange(len(depths)))
    z = theta @ inputs
    curvature = CURVATURES[activation](z)
    value, slope = JETS[activation](z)
    weighted = neurons.weights[:, None, None] * slope
    total = np.add.reduceat((neurons.weights[:, None, None] * value)[order], starts)
    slopes = np.add.reduceat((weighted[:, :, None, :] * theta[..., None])[order], starts)
    passed = QuadraticPass(total, slopes, inputs, diagonal)

    def adjoint(residual: Array) -> tuple[Array, Array]:
        q, before = passed.adjoints(residual)[number], passed.before[number]
        turned = theta @ before  # θT, (n, d, n_data)
        pulled = residual * slope
        xi = (q * value + pulled * turned).sum(axis=(1, 2))
        inner = q * slope + residual * curvature * turned
        return xi, inner @ inputs.T + pulled @ before.swapaxes(1, 2)

    return passed.output, adjoint


FORWARD = {"ensemble": forward_ensemble, "wide": forward_wide, "linear": forward_linear, "quadratic": forward_quadratic}
"""By model. Only the quadratic approximation uses the diagonal h."""


@dataclass(frozen=True)
class ResNetParticles(ParticleEnergy):
    """A residual network of N particles.

    strata : the layers of a wide ResNet, which have their exact mass in every cloud
    """

    model: str
    activation: str
    loss: Loss
    data: Data
    layout: Layout
    strata: str | None = None

    def check_start(self, points: Array, weights: Array) -> None:
        """Raises InputError for layers of a wide ResNet whose mass is not 1/L."""
        depth, layers = self.layout.depth, self.layout.layers
        if self.strata is not None and layers is not None:
            check_layers(np.array([weights[points[:, depth] == value].sum() for value in layers.points]), layers, "particles")

    def evaluate(self, points: Array, weights: Array, batch: NDArray[np.int64] | None = None) -> ParticleEvaluation:
        data = self.data if batch is None else self.data.subset(batch)
        layout = self.layout
        depth = np.zeros(len(points)) if layout.depth is None else points[:, layout.depth]
        neurons = Neurons(points[:, layout.columns], depth, weights)
        inputs = np.ascontiguousarray(data.inputs.T)
        output, adjoint = FORWARD[self.model](self.activation, neurons, inputs, layout.diagonal)
        prediction = output.T.copy()
        value, residual = self.loss.evaluate(data, prediction)
        xi, along = adjoint(np.ascontiguousarray(residual.T))
        gradient = np.zeros(points.shape)
        gradient[:, layout.columns] = along
        for k, factor in enumerate(layout.factors):
            if not factor.moves:
                gradient[:, k] = 0.0
        return ParticleEvaluation(value, gradient, prediction, xi)
