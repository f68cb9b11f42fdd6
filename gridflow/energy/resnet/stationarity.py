"""How much of the teacher a residual network has found: S3 Theorems 3 and 4, as numbers at every save.

A stationary ρ > 0 of the ensemble has zero loss and, for each x, ∫X^L_θ(x)(ρ − ρ*)dθ = 0 (S3 (5)); one of the linear
approximation has ∫σ(θx)(∫ρ dε − ∫ρ* dε)dθ = 0 (S3 (11)), which leaves ρ free but for its marginal over the depth. Both are
∫φ(θ; x) dη = 0 with φ = X^L_θ or σ(θx) and η = ρ − ρ* on Θ^L or, after the integral over ε, on Θ. At a finite loss
2E = Σ_j μ_j|∫φ(θ; x_j)dη|²:

condition   max |∫φ(θ; x)dη| over the components of φ and x in `inputs`. At a datum it is at most √(2E/μ_j); S3 claims it for
            every x, so that inputs between the data show more than the loss.
modes       as for two-layer networks (`gridflow.energy.network.stationarity`): |∫e_i dη| ≤ √(2E)/s_i for every singular function
            e_i of the operator with the kernel √μ_j φ_k(θ; x_j) from L²(Θ^L) or L²(Θ).

S3 makes no statement on the wide network and of its quadratic approximation, whose loss is not convex in ρ.
"""

from typing import Annotated, Literal

import numpy as np
from msgspec import Meta, Struct

from gridflow.energy.network.activation import JETS
from gridflow.energy.network.data import Data
from gridflow.energy.network.defects import Condition, Modes, check_modes
from gridflow.energy.network.stationarity import BoundStationarity, require_stated, volumes_of
from gridflow.energy.resnet.ensemble import ensemble_features
from gridflow.energy.resnet.layout import Layout
from gridflow.energy.resnet.particles import FORWARD, Neurons
from gridflow.energy.resnet.teacher import ResNetInputs, ResNetTeacher
from gridflow.space.factor import Array
from gridflow.space.grid import Grid


class ResNetStationarity(Struct, frozen=True, forbid_unknown_fields=True):
    """The statements of a case on a residual network with a teacher, whose numbers every save has.

    statements : see the module; tolerance : coefficients at most so large call a mode determined; inputs : where the condition is
    taken, those of the data if missing
    """

    statements: Annotated[list[Literal["condition", "modes"]], Meta(min_length=1)]
    tolerance: Annotated[float, Meta(gt=0.0)] = 0.05
    inputs: ResNetInputs | None = None

    def check(self, model: str, data: Struct, loss: str) -> None:
        """Raises InputError for a network or a teacher of which S3 makes no statement."""
        allowed = 'model = "ensemble" (S3 Theorem 3) or "linear" (Theorem 4)'
        require_stated(model in ("ensemble", "linear"), f"a {model} ResNet", allowed)
        received, allowed = "data without a teacher of the same model", 'energy.data with kind = "resnet-teacher"'
        require_stated(isinstance(data, ResNetTeacher), received, allowed)
        assert isinstance(data, ResNetTeacher)
        require_stated(loss == "squared", f"the loss {loss!r}", "the squared loss")
        same = self.inputs is None or self.inputs.points()[0].shape[1] == data.inputs.points()[0].shape[1]
        require_stated(same, "inputs of another dimension than the data", "inputs of the same dimension", "correct its inputs")

    def bind(self, model: str, activation: str, layout: Layout, data: Data, between: Data, grid: Grid) -> BoundStationarity:
        """The numbers on a grid.

        data : with the targets of the teacher; between : the same at `inputs`
        """
        split = grid.split(() if layout.depth is None else (grid.factors[layout.depth].name,))
        theta = layout.theta(grid.flat_coordinates(split.inner))

        def predict(masses: Array) -> Array:
            """f_ρ at the inputs of the condition, (n_inputs, d)."""
            neurons = Neurons(theta, np.zeros(len(theta)), masses)
            return FORWARD[model](activation, neurons, np.ascontiguousarray(between.inputs.T), 0.0)[0].T

        def modes() -> Modes:
            check_modes(split.n_inner, data.inputs.size)
            root = np.sqrt(data.weights)
            features = features_of(model, activation, theta, data.inputs.T) * root  # (n_inner, d, n_data)
            constant = data.inputs if model == "linear" else 0.0  # x, which is no part of φ
            wanted = (data.targets - constant).T * root
            return Modes(features.reshape(len(theta), -1), volumes_of(grid, split), wanted.ravel(), self.tolerance)

        parts = {"condition": lambda: Condition(predict, between.targets), "modes": modes}
        found = tuple(parts[name]() for name in dict.fromkeys(self.statements))
        return BoundStationarity(grid, tuple(grid.order[k] for k in split.outer), np.ones((1, split.n_outer)), found)


def features_of(model: str, activation: str, theta: Array, inputs: Array) -> Array:
    """φ, (n_inner, d, n_data), from parameters (n_inner, L, d, d) or (n_inner, d, d) and inputs (d, n_data)."""
    jet = JETS[activation]
    return ensemble_features(jet, theta, inputs) if model == "ensemble" else jet(theta @ inputs)[0]
