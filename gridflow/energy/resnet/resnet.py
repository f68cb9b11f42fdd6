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
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from msgspec import Meta, Struct
from numpy.typing import NDArray

from gridflow.energy.base import Energy
from gridflow.energy.network.activation import ACTIVATIONS, JETS
from gridflow.energy.network.data import Data, FileData
from gridflow.energy.network.generic import FeatureNetwork
from gridflow.energy.network.grid import BoundNetwork
from gridflow.energy.network.loss import LOSSES
from gridflow.energy.network.stationarity import BoundStationarity
from gridflow.energy.network.teacher import TeacherData
from gridflow.energy.resnet.ensemble import ensemble_features
from gridflow.energy.resnet.grid import BoundResNet, Rows
from gridflow.energy.resnet.particles import ResNetParticles
from gridflow.energy.resnet.stationarity import ResNetStationarity
from gridflow.energy.resnet.teacher import ResNetTeacher
from gridflow.errors import InputError
from gridflow.space.densities import mixture_masses
from gridflow.space.factor import Array, Factor, factor_named
from gridflow.space.grid import Grid

DEPTHS: dict[str, tuple[str | None, ...]] = {
    "ensemble": (None,),
    "wide": ("labels",),
    "linear": (None, "labels", "interval"),
    "quadratic": ("labels", "interval"),
}
"""Kinds of factors that may be the depth of a model."""


class ResNet(Struct, frozen=True, forbid_unknown_fields=True, tag="resnet", tag_field="kind"):
    """A residual network.

    weights : the d² factors that form θ row by row, θ_11, θ_12, …; for an ensemble those of θ^0, then those of θ^1, …
    depth : the factor of the layers: labels, or an interval that stands for [0, 1]; none for an ensemble
    stationarity : what S3 Theorems 3 and 4 say of a student and its teacher, at every save
    """

    model: Literal[tuple(DEPTHS)]  # type: ignore[valid-type]
    data: FileData | TeacherData | ResNetTeacher
    weights: Annotated[list[str], Meta(min_length=1)]
    depth: str | None = None
    activation: Literal[tuple(ACTIVATIONS)] = "tanh"  # type: ignore[valid-type]
    loss: Literal["squared", "huber"] = "squared"
    stationarity: ResNetStationarity | None = None

    def load(self, directory: Path) -> "ResNetEnergy":
        """Read or generate the data. Raises InputError for an activation or a stationarity that S3 does not admit."""
        if self.activation not in JETS:
            sigma = ACTIVATIONS[self.activation]
            flaw = f"σ(0) = {float(sigma.value(np.zeros(1))[0]):.3g}" if sigma.is_smooth else "a kink at 0"
            raise InputError(
                f"a ResNet with the activation {self.activation!r}, which has {flaw}",
                f"smooth activations with σ(0) = 0 (S3 §3.2): {', '.join(JETS)}",
                "choose one of them",
            )
        if self.stationarity is not None:
            self.stationarity.check(self)
        return ResNetEnergy(self, self.data.load(directory, self.activation), directory)


@dataclass(frozen=True)
class ResNetEnergy(Energy):
    """Immutable model data: the description and the training data; those of a teacher density depend on the space."""

    spec: ResNet
    data: Data
    directory: Path

    def bind(self, grid: Grid) -> BoundNetwork | BoundResNet:
        layout = Layout.of(self, grid.factors)
        layout.check_frozen(grid)
        data = self.taught(layout, grid)
        return self.bound(layout, grid, data, self.stationarity(layout, grid, data))

    def stationarity(self, layout: "Layout", grid: Grid, data: Data) -> BoundStationarity | None:
        """What the case asks of S3 Theorems 3 and 4; the teacher also answers at inputs between the data."""
        asked, between = self.spec.stationarity, data
        if asked is None:
            return None
        if asked.inputs is not None:
            inputs, weights = asked.inputs.points()
            between = replace(self, data=Data(inputs, inputs, weights)).taught(layout, grid)
        return asked.bind(self.spec, data, between, grid)

    def bound(
        self, layout: "Layout", grid: Grid, data: Data, stationarity: BoundStationarity | None = None
    ) -> BoundNetwork | BoundResNet:
        spec, jet = self.spec, JETS[self.spec.activation]
        if spec.model != "ensemble":
            rows = Rows(grid, layout.columns.tolist(), layout.depth)
            return BoundResNet(spec.model, jet, data, rows, LOSSES[spec.loss], stationarity)

        def feature(coordinates: dict[str, Array], inputs: Array) -> Array:
            theta = np.stack([coordinates[name] for name in spec.weights], axis=1).reshape(-1, *layout.columns.shape)
            return np.moveaxis(ensemble_features(jet, theta, inputs.T), 1, 2)

        return FeatureNetwork(feature, data, spec.loss).bind(grid, stationarity)

    def particles(self, factors: tuple[Factor, ...]) -> ResNetParticles:
        layout, spec = Layout.of(self, factors), self.spec
        data = self.taught(layout, Grid(list(factors)))
        return ResNetParticles(
            spec.model, spec.activation, LOSSES[spec.loss], data, factors, layout.columns, layout.depth, layout.n_layers > 0
        )

    def taught(self, layout: "Layout", grid: Grid) -> Data:
        """The data, with the targets of a teacher: a discrete one, or a density on the same grid. Raises InputError."""
        teacher, spec = self.spec.data, self.spec
        if not isinstance(teacher, ResNetTeacher):
            return self.data
        if teacher.density:
            masses = mixture_masses(teacher.density, grid, self.directory, "energy.data.density")
            bound = self.bound(layout, grid, self.data)
            if isinstance(bound, BoundResNet):
                bound.check_start(masses)
            return replace(self.data, targets=bound.predict(masses))
        factors = [layout.factors[k] for k in layout.columns.ravel()]
        teacher.check(spec.model, layout.n_layers, layout.dim, factors)
        diagonal = 0.0 if layout.n_layers else 0.5
        return replace(self.data, targets=teacher.targets(spec.model, spec.activation, self.data.inputs, diagonal))


@dataclass(frozen=True)
class Layout:
    """Which factors form θ and which one is the depth, by their numbers.

    columns : (d, d), for an ensemble (L, d, d); n_layers : L, or 0 where the depth is continuous or missing
    """

    factors: tuple[Factor, ...]
    columns: NDArray[np.int64]
    depth: int | None
    dim: int
    n_layers: int

    @staticmethod
    def of(energy: ResNetEnergy, factors: tuple[Factor, ...]) -> "Layout":
        """Raises InputError for factors that do not fit the model or the data."""
        spec, dim = energy.spec, energy.data.inputs.shape[1]
        if energy.data.targets.shape[1] != dim:
            raise InputError(
                f"a ResNet with {dim} inputs and {energy.data.targets.shape[1]} targets",
                "as many targets as inputs (S3 §3)",
                "correct energy.data",
            )
        weights = [factor_named(factors, name, "energy.weights") for name in spec.weights]
        entries, ensemble = dim * dim, spec.model == "ensemble"
        if len(set(weights)) < len(weights) or len(weights) % entries or (not ensemble and len(weights) > entries):
            raise InputError(
                f"energy.weights = {spec.weights} for matrices θ of {dim} × {dim} entries",
                f"{entries} different factors{' for each layer' if ensemble else ''}",
                "name one factor per entry of θ, row by row",
            )
        for k in weights:
            if factors[k].kind not in ("interval", "labels"):
                raise InputError(f"a weight on the {factors[k].kind} {factors[k].name!r}", "intervals", "use an interval")
        depth = None if spec.depth is None else factor_named(factors, spec.depth, "energy.depth")
        check_depth(spec, None if depth is None else factors[depth], depth in weights)
        idle = [f.name for k, f in enumerate(factors) if k not in weights and k != depth]
        if idle:
            raise InputError(
                f"the factor {idle[0]!r}, on which the ResNet does not depend",
                "factors that energy.weights and energy.depth name",
                "name it there, or remove it from the space",
            )
        layered = depth is not None and factors[depth].kind == "labels"
        n_layers = len(weights) // entries if ensemble else factors[depth or 0].size if layered else 0
        columns = np.array(weights).reshape((n_layers, dim, dim) if ensemble else (dim, dim))
        return Layout(factors, columns, depth, dim, n_layers)

    def check_frozen(self, grid: Grid) -> None:
        """S3 (10): parameters stay at their depth. Raises InputError."""
        if self.depth is not None and self.factors[self.depth].is_line and grid.mobility[self.depth].max() > 0:
            name = self.factors[self.depth].name
            raise InputError(
                f"a ResNet whose depth {name!r} has a mobility",
                "mobility only in θ (S3 (10))",
                f"set flow.mobility.{name} = {{ value = 0.0 }}; flow.diffusion.{name} lets parameters change their depth",
            )


def check_depth(spec: ResNet, depth: Factor | None, is_weight: bool) -> None:
    """Raises InputError for a depth that the model cannot have."""
    if is_weight or (None if depth is None else depth.kind) not in DEPTHS[spec.model]:
        received = "no depth" if depth is None else f"{'the weight' if is_weight else depth.kind} {depth.name!r} as its depth"
        raise InputError(
            f"a ResNet, model = {spec.model!r}, with {received}",
            f"energy.depth: {' or '.join(kind or 'none' for kind in DEPTHS[spec.model])}",
            "an ensemble names the factors of all its layers in energy.weights; other models need one label or depth per layer",
        )
    if depth is not None and (np.diff(depth.points) <= 0).any():
        raise InputError(f"layers {depth.points.tolist()}", "increasing values", f"order the values of space.{depth.name}")
