"""Which factors of a space form θ, and which one is the depth of a residual network."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gridflow.energy.network.data import Data
from gridflow.errors import InputError, require
from gridflow.space.factor import Array, Factor, factor_index
from gridflow.space.grid import Grid

DEPTHS: dict[str, tuple[str | None, ...]] = {
    "ensemble": (None,),
    "wide": ("labels",),
    "linear": (None, "labels", "interval"),
    "quadratic": ("labels", "interval"),
}
"""Kinds of factors that may be the depth of a model."""
LAYER_MASS_ERROR = 1e-9
"""Relative error of the mass 1/L of a layer: the round-off of weights that a case writes in decimals."""


@dataclass(frozen=True)
class Layout:
    """Factors of θ and of the depth, by their numbers. columns : (d, d), for an ensemble (L, d, d)"""

    factors: tuple[Factor, ...]
    columns: NDArray[np.int64]
    depth: int | None

    @staticmethod
    def of(model: str, weights: list[str], depth: str | None, data: Data, factors: tuple[Factor, ...]) -> "Layout":
        """Of a model with named factors. Raises InputError for factors that do not fit the model or the data."""
        dim = data.inputs.shape[1]
        n_targets = data.targets.shape[1]
        received, allowed = f"a ResNet with {dim} inputs and {n_targets} targets", "as many targets as inputs (S3 §3)"
        require(n_targets == dim, received, allowed, "correct energy.data")
        numbers = [factor_index(factors, name, "energy.weights") for name in weights]
        entries, ensemble = dim * dim, model == "ensemble"
        fits = len(numbers) % entries == 0 if ensemble else len(numbers) == entries
        require(
            fits and len(set(numbers)) == len(numbers),
            f"energy.weights = {weights} for matrices θ of {dim} × {dim} entries",
            f"{entries} different factors{' for each layer' if ensemble else ''}",
            "name one factor per entry of θ, row by row",
        )
        for weight in (factors[k] for k in numbers):
            received = f"a weight on the {weight.kind} {weight.name!r}"
            require(weight.components == 1, received, "intervals", "use an interval")
        axis = None if depth is None else factor_index(factors, depth, "energy.depth")
        check_depth(model, None if axis is None else factors[axis], axis in numbers)
        idle = [f.name for k, f in enumerate(factors) if k not in numbers and k != axis]
        received = f"the factor {', '.join(map(repr, idle))}, on which the ResNet does not depend"
        require(not idle, received, "those of energy.weights and energy.depth", "name it there, or remove it from the space")
        return Layout(factors, np.array(numbers).reshape((-1, dim, dim) if ensemble else (dim, dim)), axis)

    @property
    def layers(self) -> Factor | None:
        """The labels that are layers, or None for a continuous depth and without depth."""
        factor = None if self.depth is None else self.factors[self.depth]
        return factor if factor is not None and not factor.moves else None

    @property
    def n_layers(self) -> int:
        """L, or 0 where the depth is continuous or missing."""
        return len(self.columns) if self.columns.ndim == 3 else 0 if self.layers is None else self.layers.size

    @property
    def diagonal(self) -> float:
        """h of the quadratic approximation (`gridflow.energy.resnet.layers`)."""
        return 0.0 if self.n_layers else 0.5

    def theta(self, coordinates: dict[str, Array]) -> Array:
        """θ, (n, d, d) or (n, L, d, d), from flat coordinates (n,) by factor."""
        entries = [coordinates[self.factors[k].name] for k in self.columns.ravel()]
        return np.stack(entries, axis=1).reshape(-1, *self.columns.shape)

    def check_frozen(self, grid: Grid) -> None:
        """S3 (10): parameters stay at their depth. Raises InputError."""
        if self.depth is None:
            return
        depth = self.factors[self.depth]
        require(
            not depth.moves or bool(grid.mobility[self.depth].max() == 0),
            f"a ResNet whose depth {depth.name!r} has a mobility",
            "mobility only in θ (S3 (10))",
            f"set flow.mobility.{depth.name} = {{ value = 0.0 }}; flow.diffusion.{depth.name} lets parameters change their depth",
        )


def check_depth(model: str, depth: Factor | None, is_weight: bool) -> None:
    """Raises InputError for a depth that the model cannot have."""
    # the kind as a case spells it: DEPTHS are the words of the message too
    if is_weight or (None if depth is None else depth.kind) not in DEPTHS[model]:
        received = "no depth" if depth is None else f"{'the weight' if is_weight else depth.kind} {depth.name!r} as its depth"
        raise InputError(
            f"a ResNet, model = {model!r}, with {received}",
            f"energy.depth: {' or '.join(kind or 'none' for kind in DEPTHS[model])}",
            "an ensemble names the factors of all its layers in energy.weights; other models need one label or depth per layer",
        )
    if depth is not None:
        received, fix = f"layers {depth.points.tolist()}", f"order the values of space.{depth.name}"
        require(bool((np.diff(depth.points) > 0).all()), received, "increasing values", fix)


def check_layers(masses: Array, layers: Factor, purpose: str) -> None:
    """Raises InputError for masses (L,) of the layers that are not 1/L."""
    require(
        bool(np.abs(masses * layers.size - 1).max() <= LAYER_MASS_ERROR),
        f"{purpose} with masses {np.array2string(masses, precision=4)} of the layers {layers.name!r}",
        f"the same mass in all of them, 1/{layers.size}",
        "give the labels equal volumes and a uniform density, or weight the particles of every layer alike",
    )
