"""Two-layer networks in the mean-field limit (S1, S2, S3 §2.1 and §5.1).

    f_ρ(x) = ∫ φ(θ; x) dρ,    E(ρ) = Σ_j μ_j ℓ(f_ρ(x_j), y_j) + λ∫G dρ,    ξ(θ) = Σ_j μ_j ℓ'(f_ρ(x_j), y_j) φ(θ; x_j) + λ G(θ)

Features are sums of branches (`gridflow.energy.network.branch`). A feature that does not factorise is a `FeatureNetwork`
(`gridflow.energy.network.generic`).
"""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from msgspec import Meta, field

from gridflow.energy.base import Energy
from gridflow.energy.network.activation import ACTIVATIONS, NUMBERS, ActivationName
from gridflow.energy.network.branch import Branch, check_branch, squared_length, weight_planes
from gridflow.energy.network.data import Data, FileData
from gridflow.energy.network.grid import BoundNetwork, BranchModel, bind_branch
from gridflow.energy.network.landmarks import teacher_landmarks
from gridflow.energy.network.loss import LOSSES
from gridflow.energy.network.particles import NetworkParticles
from gridflow.energy.network.stationarity import BoundStationarity, Stationarity, require_stated
from gridflow.energy.network.teacher import TeacherData
from gridflow.energy.table import EnergyTable, Landmark
from gridflow.errors import require
from gridflow.space.factor import Array, Factor, factor_index
from gridflow.space.grid import Grid


class Network(EnergyTable, frozen=True, forbid_unknown_fields=True, tag="network", tag_field="kind"):
    """A two-layer network.

    data : inputs and targets; branches : what a neuron computes, u·σ(b·x) or a sum of such; activation : σ; loss : ℓ
    bias : append 1 to the inputs, so that the last weight is a bias
    normalization : batch normalisation, b̄ = b/‖b‖_Σ with Σ the covariance of the centred data (S1 (2)–(4))
    decay, decay_on : weight decay λ Σ ‖b‖² over the named factors (S2 §9), b being what a position stands for in `weights`: its
        coordinate on a line or a label, a unit vector on a circle or a sphere. Where ‖b‖ = 1, as on a sphere or for labels ±1, it
        is λ times the total mass, G(μ) = λ|μ| of S2 §4.1, and moves mass only if flow.reaction does not conserve it
    stationarity : numbers of a student and its teacher at every save
    """

    data: FileData | TeacherData
    branches: Annotated[list[Branch], Meta(min_length=1)]
    activation: ActivationName = "relu"
    loss: Literal[tuple(LOSSES)] = "squared"  # type: ignore[valid-type]
    bias: bool = False
    normalization: bool = False
    decay: Annotated[float, Meta(ge=0.0)] = 0.0
    decay_on: list[str] = field(default_factory=list)
    stationarity: Stationarity | None = None

    def load(self, directory: Path) -> "NetworkEnergy":
        """The energy with its data; batch normalisation centres the inputs (S1 (2)), and a note says so."""
        data = self.data.load(directory, self.activation)
        if self.normalization:
            data = data.centred("inputs centred for batch normalisation (S1 (2))")
        both = self.normalization and self.bias
        fix = "remove bias: normalised inputs have mean 0 (S1 (2))"
        require(not both, "a bias under batch normalisation", "one of the two", fix)
        binary = self.loss != "logistic" or bool(np.isin(data.targets, (-1.0, 1.0)).all())
        fix = "recode the targets or choose another loss"
        require(binary, "targets other than ±1 with the logistic loss", "targets −1 and 1", fix)
        return NetworkEnergy(self, data)

    @property
    def views(self) -> tuple[tuple[str, str], ...]:
        return weight_planes(self.branches)

    def landmarks(self, grid: Grid, directory: Path) -> list[Landmark]:
        if not isinstance(self.data, TeacherData):
            return []
        return teacher_landmarks(self.data, self.branches, self.activation, self.normalization, grid)


@dataclass(frozen=True)
class NetworkEnergy(Energy):
    """Immutable model data of a network: its description and its training data."""

    spec: Network
    data: Data

    slabs = True

    def bind(self, grid: Grid) -> BoundNetwork:
        return BoundNetwork(
            self.data,
            LOSSES[self.spec.loss],
            partial(self.model, grid.whole),
            grid,
            self.penalty(grid),
            self.stationarity(grid),
            slabs=True,
        )

    def model(self, grid: Grid, data: Data) -> BranchModel:
        """The branches on a grid, at the inputs of any data; batch normalisation is that of the training data."""
        self.check(grid.factors)
        spec, sigma = self.spec, ACTIVATIONS[self.spec.activation]
        inputs, covariance = data.inputs_with_bias(spec.bias), self.data.covariance() if spec.normalization else None
        branches = [b for branch in spec.branches for b in bind_branch(branch, sigma, inputs, covariance, grid)]
        return BranchModel(branches, sigma.is_smooth)

    def particles(self, factors: tuple[Factor, ...]) -> NetworkParticles:
        self.check(factors)
        spec = self.spec
        require(
            spec.activation in NUMBERS,
            f"particles of a network with the activation {spec.activation!r}, which has no compiled form",
            f"one of: {', '.join(NUMBERS)}",
            "give it one in gridflow.energy.network.activation, or use a grid",
        )
        number, loss = NUMBERS[spec.activation], LOSSES[spec.loss]
        return NetworkParticles(spec.branches, number, loss, self.data, factors, spec.bias, spec.normalization, self.decay)

    @property
    def decay(self) -> dict[str, float]:
        """λ by factor."""
        return dict.fromkeys(self.spec.decay_on, self.spec.decay) if self.spec.decay > 0 else {}

    def check(self, factors: tuple[Factor, ...]) -> None:
        """Raises InputError for branches and weight decay that do not fit the factors."""
        spec = self.spec
        for branch in spec.branches:
            check_branch(branch, self.data, spec.bias, spec.normalization, factors)
        names = ", ".join(f.name for f in factors)
        acts = spec.decay == 0 or spec.decay_on != []
        require(acts, "weight decay without factors to act on", f"factors: {names}", "list them in energy.decay_on")
        for name in spec.decay_on:
            factor_index(factors, name, "energy.decay_on")

    def penalty(self, grid: Grid) -> Array | None:
        """λG at the cells."""
        if not self.decay:
            return None
        total = np.zeros(grid.shape)
        for axis, factor in enumerate(grid.factors):
            if factor.name in self.decay:
                total += self.decay[factor.name] * grid.along(axis, squared_length(factor.embed(factor.points)))
        return total

    def stationarity(self, grid: Grid) -> BoundStationarity | None:
        """The statements on a grid. Raises InputError for a network or a teacher of which S3 makes none."""
        spec, branch, teacher = self.spec, self.spec.branches[0], self.spec.data
        if spec.stationarity is None:
            return None
        self.check(grid.factors)
        require_stated(isinstance(teacher, TeacherData), "data without a teacher", 'energy.data with kind = "teacher"')
        assert isinstance(teacher, TeacherData)
        plain = spec.loss == "squared" and spec.decay == 0 and not (spec.bias or spec.normalization or teacher.normalization)
        received = "another loss, weight decay, a bias or batch normalisation"
        require_stated(plain, received, "the squared loss and σ(x·θ) alone")
        received = f"a {spec.activation} student of a {teacher.activation} teacher"
        require_stated(teacher.activation in (None, spec.activation), received, "one activation for both")
        single = len(spec.branches) == len(branch.outputs) == 1 and branch.scale == 1.0
        require_stated(single, "several branches or outputs, or a scale", "one branch with one output")
        return spec.stationarity.bind(branch, spec.activation, teacher, self.data, grid)
