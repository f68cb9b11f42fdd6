"""Residual networks of finitely many neurons (S3 (6)): value, prediction, ξ and grad ξ at weighted particles.

Equations are those of `gridflow.energy.resnet.layers` and `gridflow.energy.resnet.ensemble` for a measure Σ_i w_i δ_{(θ_i, ε_i)};
velocities are −grad_θ ξ. Particles at the same depth are one layer. In the quadratic approximation on a continuous depth they
count half a pair with each other and with themselves, as the neurons of a cell of the grid do.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from gridflow.energy.base import ParticleEnergy, ParticleEvaluation
from gridflow.energy.network.activation import CURVATURES, JETS
from gridflow.energy.network.data import Data
from gridflow.energy.network.loss import Loss
from gridflow.energy.resnet.ensemble import ensemble_blocks, ensemble_gradient, ensemble_output, ensemble_pass
from gridflow.energy.resnet.layers import QuadraticPass, RowFeatures, WidePass
from gridflow.energy.resnet.layout import Layout, check_layers
from gridflow.space.factor import Array


@dataclass(frozen=True)
class Neurons:
    """theta : (n, d, d), or (n, L, d, d) in an ensemble; depth : (n,), 0 without one; weights : (n,)."""

    theta: Array
    depth: Array
    weights: Array


class Cloud(Protocol):
    """A model at neurons and inputs (d, n_data), with the diagonal h that only the quadratic approximation uses.

    output : f (d, n_data); adjoint : r (d, n_data) → ξ (n,) and ∂ξ/∂θ, shape of theta
    """

    output: Array

    def __init__(self, activation: str, neurons: Neurons, inputs: Array, diagonal: float) -> None: ...

    def adjoint(self, residual: Array) -> tuple[Array, Array]: ...


class EnsembleCloud:
    def __init__(self, activation: str, neurons: Neurons, inputs: Array, diagonal: float) -> None:
        self.jet, self.theta, self.inputs = JETS[activation], neurons.theta, inputs
        self.output = ensemble_output(self.jet, neurons.theta, neurons.weights, inputs)

    def adjoint(self, residual: Array) -> tuple[Array, Array]:
        xi, along = np.empty(len(self.theta)), np.empty(self.theta.shape)
        for block in ensemble_blocks(len(self.theta), self.inputs):  # recomputed: cheaper than to keep L states per particle
            states, slopes = ensemble_pass(self.jet, self.theta[block], self.inputs)
            xi[block] = np.tensordot(states[-1], residual, axes=2)
            along[block] = ensemble_gradient(self.theta[block], states, slopes, residual)
        return xi, along


class WideCloud:
    def __init__(self, activation: str, neurons: Neurons, inputs: Array, diagonal: float) -> None:
        depths, number = np.unique(neurons.depth, return_inverse=True)
        self.theta = neurons.theta
        self.layers = [np.flatnonzero(number == k) for k in range(len(depths))]
        rows = [[(neurons.theta[mine, k], neurons.weights[mine]) for k in range(len(inputs))] for mine in self.layers]
        self.passed = WidePass(JETS[activation], rows, inputs)
        self.output = self.passed.output

    def adjoint(self, residual: Array) -> tuple[Array, Array]:
        xi, along = np.zeros(len(self.theta)), np.empty(self.theta.shape)
        for mine, features, p in zip(self.layers, self.passed.features, self.passed.adjoints(residual), strict=True):
            for k, feature in enumerate(features):
                xi[mine] += feature.pull_back(p[None, k])[0]
                along[mine, k] = feature.gradient(p[k])
        return xi, along


class LinearCloud:
    def __init__(self, activation: str, neurons: Neurons, inputs: Array, diagonal: float) -> None:
        self.features = [RowFeatures(JETS[activation], neurons.theta[:, k], inputs) for k in range(len(inputs))]
        self.output = inputs + np.concatenate([f.sums(neurons.weights[None])[0] for f in self.features])

    def adjoint(self, residual: Array) -> tuple[Array, Array]:
        xi = np.sum([f.pull_back(r[None])[0] for f, r in zip(self.features, residual, strict=True)], axis=0)
        return xi, np.stack([f.gradient(r) for f, r in zip(self.features, residual, strict=True)], axis=1)


class QuadraticCloud:
    """RowFeatures (n, d, n_data) of all neurons at x are held at once: O(n·d²·n_data) memory."""

    def __init__(self, activation: str, neurons: Neurons, inputs: Array, diagonal: float) -> None:
        self.inputs, self.theta = inputs, neurons.theta
        depths, self.number = np.unique(neurons.depth, return_inverse=True)
        order = np.argsort(self.number, kind="stable")
        starts = np.searchsorted(self.number[order], np.arange(len(depths)))
        z = neurons.theta @ inputs
        self.curvature = CURVATURES[activation](z)
        self.value, self.slope = JETS[activation](z)
        weighted = neurons.weights[:, None, None] * self.slope
        total = np.add.reduceat((neurons.weights[:, None, None] * self.value)[order], starts)
        slopes = np.add.reduceat((weighted[:, :, None, :] * neurons.theta[..., None])[order], starts)
        self.passed = QuadraticPass(total, slopes, inputs, diagonal)
        self.output = self.passed.output

    def adjoint(self, residual: Array) -> tuple[Array, Array]:
        q, before = self.passed.adjoints(residual)[self.number], self.passed.before[self.number]
        turned = self.theta @ before  # θT, (n, d, n_data)
        pulled = residual * self.slope
        xi = (q * self.value + pulled * turned).sum(axis=(1, 2))
        inner = q * self.slope + residual * self.curvature * turned
        return xi, inner @ self.inputs.T + pulled @ before.swapaxes(1, 2)


CLOUDS: dict[str, type[Cloud]] = {
    "ensemble": EnsembleCloud,
    "wide": WideCloud,
    "linear": LinearCloud,
    "quadratic": QuadraticCloud,
}


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
        cloud = CLOUDS[self.model](self.activation, neurons, inputs, layout.diagonal)
        prediction = cloud.output.T.copy()
        value, residual = self.loss.evaluate(data, prediction)
        xi, along = cloud.adjoint(np.ascontiguousarray(residual.T))
        gradient = np.zeros(points.shape)
        gradient[:, layout.columns] = along
        for k, factor in enumerate(layout.factors):
            if not factor.moves:
                gradient[:, k] = 0.0
        return ParticleEvaluation(value, gradient, prediction, xi)
