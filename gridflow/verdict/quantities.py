"""What is compared: quantities of a probability measure, each with the distance in which two measures differ.

A quantity reads a `Snapshot` (cell masses of a grid or weighted particles, with its energy and predictions) into a sketch once;
distances are between sketches. Units are those of the coordinates, of the energy, or of the predictions.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from operator import attrgetter
from typing import Any

import numpy as np

from gridflow.case.thresholds import Validation
from gridflow.errors import InputError
from gridflow.space.distances import Quantiles, Slices, quantiles_of_cells, quantiles_of_points, wasserstein
from gridflow.space.factor import Array, Factor, block, columns_of
from gridflow.space.grid import Grid


@dataclass(frozen=True, eq=False)
class Snapshot:
    """A state of either side, as quantities read it: `masses` on a grid, or `points` with `weights`."""

    factors: tuple[Factor, ...]
    energy: float
    prediction: Array | None
    grid: Grid | None = None
    masses: Array | None = None
    points: Array | None = None
    weights: Array | None = None
    memo: dict[Any, Any] = field(default_factory=dict)

    def once(self, key: Any, compute: Callable[[], Any]) -> Any:
        """Sketches that several quantities share are computed once."""
        if key not in self.memo:
            self.memo[key] = compute()
        return self.memo[key]

    def axis(self, name: str) -> int:
        return [f.name for f in self.factors].index(name)

    def quantiles(self, name: str) -> Quantiles:
        """Of the marginal along one factor."""
        axis = self.axis(name)
        factor = self.factors[axis]

        def compute() -> Quantiles:
            if self.points is not None and self.weights is not None:
                return quantiles_of_points(self.positions(axis), self.weights, factor)
            return quantiles_of_cells(self.marginal(axis), factor)

        return self.once(("quantiles", name), compute)

    def positions(self, axis: int) -> Array:
        """Of the particles in one factor, (n,) or, on a surface, (n, 3)."""
        assert self.points is not None
        return block(self.points, columns_of(self.factors)[axis])

    def marginal(self, axis: int) -> Array:
        assert self.masses is not None
        return self.masses.sum(axis=tuple(k for k in range(self.masses.ndim) if k != axis))

    def slices(self, slices: Slices) -> Array:
        def compute() -> Array:
            if self.points is not None and self.weights is not None:
                return slices.of_points(self.points, self.weights)
            assert self.grid is not None
            assert self.masses is not None
            return slices.of_grid(self.grid, self.masses)

        return self.once(("slices",), compute)

    def moments(self, name: str) -> Array:
        """(mean, deviation) along an interval, the mean from its middle; (∫cos, ∫sin)·length/2π along a circle; ∫x on the unit
        sphere: all lengths."""
        axis = self.axis(name)
        factor = self.factors[axis]
        if self.points is not None and self.weights is not None:
            x, weights, variances = self.positions(axis), self.weights, np.zeros(1)
        else:
            x, weights, variances = factor.centres, self.marginal(axis), factor.volumes**2 / 12
        image, weights = factor.length_image(x), weights / weights.sum()
        mean = weights @ image
        if factor.components > 1:
            return mean
        return np.append(mean, np.sqrt(weights @ ((image[:, 0] - mean) ** 2 + variances)))

    def mass(self) -> float:
        masses = self.weights if self.masses is None else self.masses
        assert masses is not None
        return float(masses.sum())


@dataclass(frozen=True)
class Quantity:
    """name : "w1:a"; has_rate : theory says that the sampling error of N particles falls like N^(−1/2)."""

    name: str
    kind: str
    has_rate: bool
    sketch: Callable[[Snapshot], Any]
    distance: Callable[[Any, Any], float]


def quantities_of(validation: Validation, factors: tuple[Factor, ...], data_weights: Array | None) -> list[Quantity]:
    """The quantities that a case gives thresholds for. Raises InputError for predictions of an energy without data."""
    if validation.prediction is not None and data_weights is None:
        raise InputError("validation.prediction for an energy without data", "network energies", "remove validation.prediction")
    slices = Slices(factors)

    def of_mean_square(one: Array, two: Array) -> float:
        assert data_weights is not None
        return float(np.sqrt((data_weights[:, None] * (one - two) ** 2).sum()))

    # kind: (has a rate, how a measure is read, distance). W2 falls more slowly where the density has gaps; near a
    # minimum the sampling error of E is of second order, 1/N; moments may be kept by a symmetry, and the mass by the flow
    marginal: dict[str, tuple[bool, Any, Any]] = {
        "w1": (True, Snapshot.quantiles, partial(wasserstein, power=1)),
        "w2": (False, Snapshot.quantiles, partial(wasserstein, power=2)),
        "moments": (False, Snapshot.moments, lambda a, b: float(np.abs(a - b).max())),
    }
    whole: dict[str, tuple[bool, Any, Any]] = {
        "sliced_w1": (True, partial(Snapshot.slices, slices=slices), slices.sliced_wasserstein1),
        "energy_distance": (True, partial(Snapshot.slices, slices=slices), slices.energy_distance),
        "energy": (False, attrgetter("energy"), lambda a, b: abs(a - b)),
        "prediction": (True, attrgetter("prediction"), of_mean_square),
        "mass": (False, Snapshot.mass, lambda a, b: abs(float(np.log(a / b)))),
    }
    found = []
    for kind in validation.thresholds():
        if kind in whole:
            found.append(Quantity(kind, kind, *whole[kind]))
        else:
            has_rate, read, distance = marginal[kind]
            names = [f.name for f in factors if f.one_dimensional or (kind == "moments" and f.moves)]
            if not names:
                raise InputError(
                    f"validation.{kind} on labels or surfaces alone", "intervals or circles", f"remove validation.{kind}"
                )
            found += [Quantity(f"{kind}:{n}", kind, has_rate, partial(read, name=n), distance) for n in names]
    return found
