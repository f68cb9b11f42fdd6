"""Residual networks in the mean-field limit (S3 §3), on R^d with matrices θ ∈ Θ ⊂ R^{d×d} and σ entry by entry.

    E(ρ) = Σ_j μ_j ℓ(f_ρ(x_j), y_j),    ℓ(f, y) = ½|f − y|²

| model     | ρ lives on                 | f_ρ                                                              |
|-----------|----------------------------|------------------------------------------------------------------|
| ensemble  | Θ^L                        | ∫X^L_θ dρ, the mean of ResNets (S3 §3.1); E is convex            |
| wide      | Θ × labels(L)              | X^L, X^{ℓ+1} = X^ℓ + (1/L)∫σ(θX^ℓ) dρ^ℓ, one path (S3 (7), (8))  |
| linear    | Θ × [0, 1], × labels(L)    | x + ∬σ(θx) dρ, first order of the wide one (S3 (10)); convex     |
| quadratic | Θ × [0, 1], × labels(L)    | + ∬_{ε'>ε} ∇σ(θ'x)θ'σ(θx) dρ dρ, its second order (S3 §3.2)      |

A wide ResNet is one density of mass 1, with mass 1/L in every layer: over labels of volume 1/L it is the ρ^ℓ of S3 in each. ξ is
L times δE/δρ^ℓ of S3 (8), and the time here is t = (time of S3)/L; that is t = kα/(NL) after k steps with learning rate α of N
neurons in each layer, and the wide ResNet moves at the speed of its approximations. (S3 omits the 1/L of
ρ(θ, ε) = (1/L) Σ_a ρ^a δ_{a/L}, without which the total mass is L.) Layers keep their mass: nothing moves between labels, and a
continuous depth is frozen by `flow.mobility`. Where a reaction changes it, a layer of mass m is a step of length m.
"""

from dataclasses import dataclass, replace
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from msgspec import Meta

from gridflow.energy.base import Energy
from gridflow.energy.network.activation import ACTIVATIONS, JETS, ActivationName
from gridflow.energy.network.data import Data, FileData
from gridflow.energy.network.generic import FeatureNetwork
from gridflow.energy.network.grid import BoundNetwork, Model
from gridflow.energy.network.loss import LOSSES
from gridflow.energy.network.stationarity import BoundStationarity
from gridflow.energy.network.teacher import TeacherData
from gridflow.energy.resnet.ensemble import ensemble_features
from gridflow.energy.resnet.grid import MODELS, Rows
from gridflow.energy.resnet.layout import DEPTHS, Layout
from gridflow.energy.resnet.particles import ResNetParticles
from gridflow.energy.resnet.stationarity import ResNetStationarity
from gridflow.energy.resnet.teacher import ResNetTeacher
from gridflow.energy.table import EnergyTable, Landmark
from gridflow.errors import require
from gridflow.space.factor import Array, Factor
from gridflow.space.grid import Grid
from gridflow.space.mixture import mixture_masses


class ResNet(EnergyTable, frozen=True, forbid_unknown_fields=True, tag="resnet", tag_field="kind"):
    """A residual network.

    weights : the d² factors that form θ row by row, θ_11, θ_12, …; for an ensemble those of θ^0, then those of θ^1, …
    depth : the factor of the layers: labels, or an interval that stands for [0, 1]; none for an ensemble
    stationarity : numbers of S3 Theorems 3 and 4 for a student and its teacher, at every save
    """

    model: Literal[tuple(DEPTHS)]  # type: ignore[valid-type]
    data: FileData | TeacherData | ResNetTeacher
    weights: Annotated[list[str], Meta(min_length=1)]
    depth: str | None = None
    activation: ActivationName = "tanh"
    loss: Literal["squared", "huber"] = "squared"
    stationarity: ResNetStationarity | None = None

    def load(self, directory: Path) -> "ResNetEnergy":
        """The energy with its data. Raises InputError for an activation or a stationarity that S3 does not admit."""
        sigma = ACTIVATIONS[self.activation]
        flaw = f"σ(0) = {float(sigma.value(np.zeros(1))[0]):.3g}" if sigma.is_smooth else "a kink at 0"
        received = f"a ResNet with the activation {self.activation!r}, which has {flaw}"
        allowed = f"smooth activations with σ(0) = 0 (S3 §3.2): {', '.join(JETS)}"
        require(self.activation in JETS, received, allowed, "choose one of them")
        if self.stationarity is not None:
            self.stationarity.check(self.model, self.data, self.loss)
        return ResNetEnergy(self, self.data.load(directory, self.activation), directory)

    @property
    def views(self) -> tuple[tuple[str, str], ...]:
        names = self.weights
        if self.model == "ensemble":
            return tuple(combinations(names, 2))
        return tuple(zip(names[::2], names[1::2], strict=False))  # rows of a 2 × 2 matrix

    def landmarks(self, grid: Grid, directory: Path) -> list[Landmark]:
        teacher = self.data
        if not isinstance(teacher, ResNetTeacher):
            return []
        if teacher.density:
            masses = mixture_masses(teacher.density, grid, directory, "energy.data.density")
            return [Landmark("teacher", over=grid.order, masses=masses)]
        return [teacher.landmark(self.model, self.load(directory).layout(grid.factors))]


@dataclass(frozen=True)
class ResNetEnergy(Energy):
    """Immutable model data: the description and the training data; those of a teacher density depend on the space."""

    spec: ResNet
    data: Data
    directory: Path

    def bind(self, grid: Grid) -> BoundNetwork:
        layout = self.layout(grid.factors)
        layout.check_frozen(grid)
        data = self.data_with_targets(layout, grid)
        stationarity = self.stationarity(layout, grid, data)
        at, loss = partial(self.model, layout, grid), LOSSES[self.spec.loss]
        return BoundNetwork(data, loss, at, grid, stationarity=stationarity)

    def particles(self, factors: tuple[Factor, ...]) -> ResNetParticles:
        layout, spec = self.layout(factors), self.spec
        data = self.data_with_targets(layout, Grid(list(factors)))
        strata = layout.layers.name if spec.model == "wide" and layout.layers is not None else None
        return ResNetParticles(spec.model, spec.activation, LOSSES[spec.loss], data, layout, strata)

    def layout(self, factors: tuple[Factor, ...]) -> Layout:
        """Raises InputError for factors that do not fit the model or the data."""
        return Layout.of(self.spec.model, self.spec.weights, self.spec.depth, self.data, factors)

    def model(self, layout: Layout, grid: Grid, data: Data) -> Model:
        """The network on a grid, at the inputs of any data."""
        jet = JETS[self.spec.activation]
        if self.spec.model != "ensemble":
            return MODELS[self.spec.model](jet, data, Rows(grid, layout))

        def feature(coordinates: dict[str, Array], inputs: Array) -> Array:
            return np.moveaxis(ensemble_features(jet, layout.theta(coordinates), inputs.T), 1, 2)

        return FeatureNetwork(feature, self.data).model(grid, data)

    def data_with_targets(self, layout: Layout, grid: Grid) -> Data:
        """The data, with the targets of a teacher: a discrete one, or a density on the same grid. Raises InputError."""
        teacher, spec = self.spec.data, self.spec
        if not isinstance(teacher, ResNetTeacher):
            return self.data
        if teacher.density:
            masses = mixture_masses(teacher.density, grid, self.directory, "energy.data.density")
            model = self.model(layout, grid, self.data)
            model.check_start(masses)
            return replace(self.data, targets=model.forward(masses)[0])
        teacher.check(spec.model, layout)
        return replace(self.data, targets=teacher.targets(spec.model, spec.activation, self.data.inputs, layout.diagonal))

    def stationarity(self, layout: Layout, grid: Grid, data: Data) -> BoundStationarity | None:
        """The numbers of S3 Theorems 3 and 4, with targets of the teacher at inputs between the data too."""
        spec, between = self.spec.stationarity, data
        if spec is None:
            return None
        if spec.inputs is not None:
            inputs, weights = spec.inputs.points()
            between = replace(self, data=Data(inputs, inputs, weights)).data_with_targets(layout, grid)
        return spec.bind(self.spec.model, self.spec.activation, layout, data, between, grid)
