"""What is compared: quantities of a probability measure, each with the distance in which two measures differ.

A quantity reads a `Snapshot` (cell masses of a grid or weighted particles, with its energy and predictions) into a sketch once;
distances are between sketches. Units are those of the coordinates, of the energy, or of the predictions.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from operator import attrgetter
from typing import Any

import numpy as np

from gridflow.case.thresholds import Validation
from gridflow.errors import require
from gridflow.space.distances import Quantiles, Slices, quantiles_of_cells, quantiles_of_points, wasserstein
from gridflow.space.factor import Array, Factor, block, columns_of
from gridflow.space.grid import Grid


@dataclass(frozen=True, eq=False)
class GridSnapshot:
    """A state on a grid. masses : of the cells, shape of the grid; prediction : (n_data, n_outputs) or None."""

    grid: Grid
    masses: Array
    energy: float
    prediction: Array | None

    def marginal(self, axis: int) -> Array:
        """Masses of the cells of one factor, (n_cells of it,)."""
        return self.masses.sum(axis=tuple(k for k in range(self.masses.ndim) if k != axis))

    @cached_property
    def quantiles(self) -> dict[str, Quantiles]:
        """Quantiles of the marginal along every line and circle, by name."""
        return {f.name: quantiles_of_cells(self.marginal(k), f) for k, f in enumerate(self.grid.factors) if f.one_dimensional}

    @cached_property
    def slices(self) -> Array:
        """Distribution functions of its projections, see `Slices`."""
        return Slices(self.grid.factors).of_grid(self.grid, self.masses)

    @cached_property
    def moments(self) -> dict[str, Array]:
        """Moments of the marginals along all factors but labels, by name (`moments_of`)."""
        moving = [(k, f) for k, f in enumerate(self.grid.factors) if f.moves]
        return {f.name: moments_of(f, f.centres, self.marginal(k), f.volumes**2 / 12) for k, f in moving}

    @property
    def mass(self) -> float:
        """Total mass."""
        return float(self.masses.sum())


@dataclass(frozen=True, eq=False)
class CloudSnapshot:
    """A state of particles, with what a `GridSnapshot` has. points : (n_particles, n_columns); weights : (n_particles,)."""

    factors: tuple[Factor, ...]
    points: Array
    weights: Array
    energy: float
    prediction: Array | None

    @cached_property
    def positions(self) -> dict[str, Array]:
        """Positions by factor, (n_particles,) or, on a surface, (n_particles, 3)."""
        return {f.name: block(self.points, c) for f, c in zip(self.factors, columns_of(self.factors), strict=True)}

    @cached_property
    def quantiles(self) -> dict[str, Quantiles]:
        """Quantiles of the marginal along every line and circle, by name."""
        lines = [f for f in self.factors if f.one_dimensional]
        return {f.name: quantiles_of_points(self.positions[f.name], self.weights, f) for f in lines}

    @cached_property
    def slices(self) -> Array:
        """Distribution functions of its projections, see `Slices`."""
        return Slices(self.factors).of_points(self.points, self.weights)

    @cached_property
    def moments(self) -> dict[str, Array]:
        """Moments of the marginals along all factors but labels, by name (`moments_of`)."""
        moving = [f for f in self.factors if f.moves]
        return {f.name: moments_of(f, self.positions[f.name], self.weights, np.zeros(1)) for f in moving}

    @property
    def mass(self) -> float:
        """Total weight."""
        return float(self.weights.sum())


Snapshot = GridSnapshot | CloudSnapshot


def moments_of(factor: Factor, x: Array, weights: Array, variances: Array) -> Array:
    """(mean from the middle, deviation) along an interval, (∫cos, ∫sin)·length/2π along a circle, ∫x on the unit sphere.

    All are lengths. variances : of what stands at every position x, (n,), or (1,) for points
    """
    image, shares = factor.length_image(x), weights / weights.sum()
    mean = shares @ image
    return mean if factor.components > 1 else np.append(mean, np.sqrt(shares @ ((image[:, 0] - mean) ** 2 + variances)))


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
    possible = validation.prediction is None or data_weights is not None
    received = "validation.prediction for an energy without data"
    require(possible, received, "network energies", "remove validation.prediction")
    slices = Slices(factors)

    def root_mean_square(one: Array, two: Array) -> float:
        assert data_weights is not None
        return float(np.sqrt((data_weights[:, None] * (one - two) ** 2).sum()))

    # kind: (has a rate, what of a snapshot, distance). W2 falls more slowly where the density has gaps; near a
    # minimum the sampling error of E is of second order, 1/N; moments may be kept by a symmetry, and the mass by the flow
    marginal: dict[str, tuple[bool, Any, Any]] = {
        "w1": (True, attrgetter("quantiles"), lambda a, b: wasserstein(a, b, 1)),
        "w2": (False, attrgetter("quantiles"), lambda a, b: wasserstein(a, b, 2)),
        "moments": (False, attrgetter("moments"), lambda a, b: float(np.abs(a - b).max())),
    }
    whole: dict[str, tuple[bool, Any, Any]] = {
        "sliced_w1": (True, attrgetter("slices"), slices.sliced_wasserstein1),
        "energy_distance": (True, attrgetter("slices"), slices.energy_distance),
        "energy": (False, attrgetter("energy"), lambda a, b: abs(a - b)),
        "prediction": (True, attrgetter("prediction"), root_mean_square),
        "mass": (False, attrgetter("mass"), lambda a, b: abs(float(np.log(a / b)))),
    }
    found = []
    for kind in validation.thresholds():
        if kind in whole:
            found.append(Quantity(kind, kind, *whole[kind]))
            continue
        has_rate, read, distance = marginal[kind]
        names = [f.name for f in factors if f.one_dimensional or (kind == "moments" and f.moves)]
        received = f"validation.{kind} on labels or surfaces alone"
        require(bool(names), received, "intervals or circles", f"remove validation.{kind}")
        found += [Quantity(f"{kind}:{n}", kind, has_rate, entry_reader(read, n), distance) for n in names]
    return found


def entry_reader(read: Callable[[Snapshot], Any], name: str) -> Callable[[Snapshot], Any]:
    """The function that reads one entry of what another reads."""
    return lambda snapshot: read(snapshot)[name]
