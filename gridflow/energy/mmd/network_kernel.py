"""MMD with the kernel of a network, k(θ, θ') = E_x[φ(θ; x)·φ(θ'; x)] (S4, student and teacher; MATH §1.1).

Its F = ½E_x|∫φ d(ν − ν*)|² is the squared loss of a two-layer network whose targets are the predictions of ν*: evaluations
contract the moments of ν first, and cost O(n_cells + n_B n_data), never n_cells². The expectation is over seeded inputs.

Noise injection displaces all weights on intervals, b and the factors of u alike (`gridflow.flow.noise`). Features are linear in
those of u, and b·x is displaced by β|x| times a standard normal number, so that the field at displaced positions is that of

    u·E σ(b·x + β|x|n)

by Gauss–Hermite quadrature, for (leaky) ReLUs in closed form, with the prediction of the density as it is.
"""

from dataclasses import dataclass, replace
from typing import Annotated

import numpy as np
from msgspec import Meta, Struct
from numpy.typing import NDArray

from gridflow.energy.base import BoundEnergy, Evaluation, ParticleEnergy, ParticleEvaluation, Variation
from gridflow.energy.network.activation import ActivationName, normal_average
from gridflow.energy.network.branch import Branch, weight_vectors
from gridflow.energy.network.data import Data
from gridflow.energy.network.features import Chosen
from gridflow.energy.network.grid import BoundBranch, BoundNetwork, BranchModel, features_of
from gridflow.energy.network.inputs import GaussHermiteInputs, NormalInputs, UniformInputs
from gridflow.energy.network.loss import LOSSES
from gridflow.energy.network.particles import NetworkParticles
from gridflow.energy.network.spec import Network, NetworkEnergy
from gridflow.errors import require
from gridflow.space.factor import Array
from gridflow.space.grid import Grid


class Features(Struct, frozen=True, forbid_unknown_fields=True, tag="features", tag_field="kind"):
    """E_x[φ(θ; x)·φ(θ'; x)]: branches, activation and bias as of a network; inputs x by a named generator."""

    inputs: NormalInputs | GaussHermiteInputs | UniformInputs
    branches: Annotated[list[Branch], Meta(min_length=1)]
    activation: ActivationName = "relu"
    bias: bool = False

    def energy(self, targets: Array | None = None) -> NetworkEnergy:
        """The network energy with the given targets, (n_data, n_outputs); without any, zeros."""
        inputs, weights = self.inputs.points()
        if targets is None:
            targets = np.zeros((len(inputs), len(self.branches[0].outputs)))
        spec = Network(data=None, branches=self.branches, activation=self.activation, bias=self.bias)  # type: ignore[arg-type]
        return NetworkEnergy(spec, Data(inputs, targets, weights))


class BoundFeatures(BoundEnergy):
    """The network energy on a grid, and its field at displaced positions. (Its data go to the dataset, with the predictions.)"""

    convex = True

    def __init__(self, energy: NetworkEnergy, grid: Grid) -> None:
        self.energy, self.grid, self.model = energy, grid, energy.model(grid, energy.data)
        self.network = BoundNetwork(energy.data, LOSSES[energy.spec.loss], lambda data: self.model, grid)
        self.data, self.smooth, self.attributes = energy.data, self.network.smooth, self.network.attributes

    def predict(self, mass: Array) -> Array:
        return self.network.predict(mass)

    def evaluate(self, mass: Array) -> Evaluation:
        return self.network.evaluate(mass)

    def smooth_variation(self, level: float) -> Variation:
        """Residuals of the network, pulled back through its smoothed features."""
        network, pairs = self.network, zip(self.energy.spec.branches, self.model.branches, strict=True)
        smooth = BranchModel([smoothed_branch(b, self.energy, bound, self.grid, level) for b, bound in pairs])
        return lambda mass: smooth.pull_back(network.loss.evaluate(network.data, self.model.forward(mass)[0])[1])


def smoothed_branch(branch: Branch, energy: NetworkEnergy, bound: BoundBranch, grid: Grid, level: float) -> BoundBranch:
    """The bound branch with E σ(b·x + β|x|n) for σ(b·x). Raises InputError for weights that are not on intervals."""
    by_name = {f.name: f for f in grid.factors}
    named = {*branch.weights, *(n for names in branch.outputs for n in names)}
    others = sorted(n for n in named if not by_name[n].walls and (by_name[n].moves or n in branch.weights))
    require(
        not others,
        f"noise injection for features with weights on {others}",
        "weights on intervals, and labels in `outputs`",
        "use intervals",
    )
    inputs = energy.data.inputs_with_bias(energy.spec.bias)
    amplitude = level * np.linalg.norm(inputs, axis=1)
    directions = weight_vectors(branch, grid.factors, grid.flat_coordinates(bound.split.inner))

    def entries(cells: Chosen, data: Chosen) -> Array:
        return normal_average(energy.spec.activation, directions[cells] @ inputs[data].T, amplitude[data])

    return replace(bound, inner=features_of(entries, len(directions), inputs))


@dataclass(frozen=True)
class FeatureParticles(ParticleEnergy):
    """The network energy of particles, and its field at other positions, in free space."""

    network: NetworkParticles

    def evaluate(self, points: Array, weights: Array, batch: NDArray[np.int64] | None = None) -> ParticleEvaluation:
        return self.network.evaluate(points, weights, batch)

    def extend(self, reach: float) -> "FeatureParticles":
        """Itself: features are defined everywhere."""
        return self

    def gradient_at(self, places: Array, points: Array, weights: Array) -> Array:
        """∇ξ at places: particles of weight 0 have the field of the others and no field of their own."""
        both, none = np.concatenate([points, places]), np.concatenate([weights, np.zeros(len(places))])
        return self.network.evaluate(both, none).gradient[len(points) :]
