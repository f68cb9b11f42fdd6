"""Teachers that are residual networks (S3 §3): inputs from a named measure, targets from a network of the student's own model."""

from pathlib import Path
from typing import Annotated

import numpy as np
from msgspec import Meta, Struct

from gridflow.energy.network.data import Data
from gridflow.energy.network.inputs import GaussHermiteInputs, NormalInputs, UniformInputs
from gridflow.energy.resnet.layout import Layout
from gridflow.energy.resnet.particles import FORWARD, Neurons
from gridflow.energy.table import Landmark
from gridflow.errors import require
from gridflow.space.coordinate import coordinate_of
from gridflow.space.factor import Array, Factor
from gridflow.space.mixture import Component


class TeacherResNet(Struct, frozen=True, forbid_unknown_fields=True):
    """A ResNet, layer by layer: `layers[ℓ]` are the matrices of the neurons of layer ℓ, each as d² numbers row by row.

    One matrix per layer makes the vanilla ResNet δ_{θ*}; several, whose mean is taken, a wide one. weight : in an ensemble
    """

    layers: Annotated[list[Annotated[list[list[float]], Meta(min_length=1)]], Meta(min_length=1)]
    weight: Annotated[float, Meta(gt=0.0)] = 1.0


ResNetInputs = NormalInputs | GaussHermiteInputs | UniformInputs
"""Named measures of inputs."""


class ResNetTeacher(Struct, frozen=True, forbid_unknown_fields=True, tag="resnet-teacher", tag_field="kind"):
    """Targets y = f_{ρ*}(x), with f that of the student's model and a teacher ρ* that is one of

    networks : a discrete measure. For an ensemble vanilla ResNets with weights; else one network: a wide ResNet, or for the
        approximations its neurons, layer ℓ of L at the depth (ℓ + ½)/L
    density : a mixture of named densities on the space of the student, as for initial densities
    """

    inputs: ResNetInputs
    networks: list[TeacherResNet] = []
    density: list[Component] = []

    def __post_init__(self) -> None:
        if bool(self.networks) == bool(self.density):
            raise ValueError("a teacher is either networks or a density; give one of the two")

    def load(self, directory: Path, activation: str) -> Data:
        """Inputs and weights; targets are those of the teacher once the space is known, and inputs until then."""
        inputs, weights = self.inputs.points()
        return Data(inputs, inputs, weights)

    def check(self, model: str, layout: Layout) -> None:
        """Raises InputError for a teacher that the student cannot represent."""
        ensemble, n_layers, n_entries = model == "ensemble", layout.n_layers, layout.columns.shape[-1] ** 2
        received = f"a teacher of {len(self.networks)} networks for a {model} ResNet"
        require(ensemble or len(self.networks) == 1, received, "one network", 'use model = "ensemble"')
        for network in self.networks:
            n, allowed = len(network.layers), f"{n_layers} layers, as the student has"
            require(n_layers in (0, n), f"a teacher of {n} layers", allowed, "give every layer its θ")
            for number, neurons in enumerate(network.layers):
                received = f"{len(neurons)} neurons in layer {number} of a teacher for an ensemble"
                require(not ensemble or len(neurons) == 1, received, "one: vanilla ResNets", "write several networks")
                columns = layout.columns[number] if ensemble else layout.columns
                for theta in neurons:
                    allowed = f"{n_entries} numbers, θ row by row"
                    require(len(theta) == n_entries, f"teacher parameters {theta}", allowed, "complete them")
                    for entry, k in zip(theta, columns.ravel(), strict=True):
                        check_inside(entry, layout.factors[k])

    def landmark(self, model: str, layout: Layout) -> Landmark:
        """The neurons of the networks: points of Θ^L, or of Θ with the layer that each is in."""
        if model == "ensemble":
            entries = np.array([[layer[0] for layer in n.layers] for n in self.networks]).reshape(len(self.networks), -1)
        else:
            entries = np.array([theta for layer in self.networks[0].layers for theta in layer])
        points = {layout.factors[k].name: entries[:, i] for i, k in enumerate(layout.columns.ravel())}
        if layout.depth is not None:
            layers = self.networks[0].layers
            depths = (np.arange(len(layers)) + 0.5) / len(layers) if layout.layers is None else layout.layers.points
            points[layout.factors[layout.depth].name] = np.repeat(depths, [len(neurons) for neurons in layers])
        return Landmark("teacher neuron", points)

    def targets(self, model: str, activation: str, inputs: Array, diagonal: float) -> Array:
        """y, (n_data, d)."""
        dim, networks = inputs.shape[1], self.networks
        if model == "ensemble":
            entries = np.array([[layer[0] for layer in n.layers] for n in networks])
            weights = np.array([n.weight for n in networks])
            neurons = Neurons(entries.reshape(len(networks), -1, dim, dim), np.zeros(len(networks)), weights / weights.sum())
        else:
            layers = networks[0].layers
            sizes = np.array([len(layer) for layer in layers])
            theta = np.array([entries for layer in layers for entries in layer]).reshape(-1, dim, dim)
            depth = np.repeat((np.arange(len(layers)) + 0.5) / len(layers), sizes)
            neurons = Neurons(theta, depth, np.repeat(1 / (len(layers) * sizes), sizes))
        return FORWARD[model](activation, neurons, np.ascontiguousarray(inputs.T), diagonal)[0].T


def check_inside(entry: float, factor: Factor) -> None:
    """Raises InputError for a parameter of the teacher outside of its factor."""
    lower, upper = coordinate_of(factor).extent
    received, allowed = f"the teacher parameter {entry} outside of {factor.name!r}", f"numbers in [{lower:g}, {upper:g}]"
    require(lower <= entry <= upper, received, allowed, "move the teacher, or widen the bounds of the space")
