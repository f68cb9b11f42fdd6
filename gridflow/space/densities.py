"""Named probability densities on one factor and their exact cell masses.

Every density is a distribution function, so that a cell receives its exact mass (difference of the distribution function
at the cell ends), never a point value: a normal density far narrower than a cell is still represented without error.
Targets of potentials need point values, `logarithm`: log p and its derivative, however far out in the tails.
"""

from math import erfc, sqrt
from typing import Annotated

import numpy as np
import scipy
from msgspec import Meta, Struct

from gridflow.errors import InputError, require
from gridflow.space.densities_on_surfaces import Fisher, Harmonic
from gridflow.space.distribution import cell_ends, inverse, singular, surface_under
from gridflow.space.factor import Array, Factor

WIDEST = 2.0
"""Deviation over circumference beyond which all wound normal densities are the same: uniform to e^(−2π²·4) = 5e−35."""


def normal_below(z: Array) -> Array:
    """Φ(z) elementwise, with the relative accuracy of the C library in the lower tail; without loading scipy.special."""
    return np.array([0.5 * erfc(-x) for x in (z / sqrt(2.0)).ravel().tolist()]).reshape(z.shape)


class Normal(Struct, frozen=True, forbid_unknown_fields=True, tag="normal", tag_field="kind"):
    """Normal density; wrapped around on a circle."""

    mean: float
    deviation: Annotated[float, Meta(gt=0.0)]

    def masses(self, factor: Factor) -> Array:
        """Masses of the cells, (n_cells,)."""
        edges, period = cell_ends(factor, "normal"), factor.period
        if period == 0:
            return self.between(edges)
        equal, shifts = self.on_circle(period)
        return np.sum([equal.between(edges + shift) for shift in shifts], axis=0)

    def on_circle(self, period: float) -> tuple["Normal", list[float]]:
        """An equal density with its mean on the first winding and not much wider than the circle, and all shifts that count."""
        equal = Normal(float(np.mod(self.mean, period)), min(self.deviation, WIDEST * period))
        reach = 1 + int(np.ceil(10 * equal.deviation / period))  # ten deviations hold all but 1e−23 of the mass
        return equal, [turn * period for turn in range(-reach, reach + 1)]

    def logarithm(self, x: Array, factor: Factor) -> tuple[Array, Array]:
        """(log p, (n,); its derivative, (n, n_columns)) at positions x."""
        cell_ends(factor, "normal")
        equal, shifts = self.on_circle(factor.period) if factor.period > 0 else (self, [0.0])
        z = (x[:, None] + np.array(shifts) - equal.mean) / equal.deviation
        logs = -(z**2) / 2 - np.log(equal.deviation * sqrt(2 * np.pi))
        total = np.logaddexp.reduce(logs, axis=1)
        slope = -(z * np.exp(logs - total[:, None])).sum(axis=1, keepdims=True) / equal.deviation
        return total, slope

    def quantile(self, level: Array, factor: Factor) -> Array:
        """Positions with the given levels in (0, 1); the density is cut at the walls of an interval, as the grid's is."""
        if factor.period > 0:
            equal, _ = self.on_circle(factor.period)
            return np.mod(equal.mean + equal.deviation * scipy.special.ndtri(level), factor.period)
        lower, upper = scipy.special.ndtr((factor.edges[[0, -1]] - self.mean) / self.deviation)
        return np.clip(self.mean + self.deviation * scipy.special.ndtri(lower + (upper - lower) * level), *factor.edges[[0, -1]])

    def between(self, edges: Array) -> Array:
        """Mass between neighbouring edges, accurate in relative terms in both tails."""
        z = (edges - self.mean) / self.deviation
        left_of, right_of = normal_below(z), normal_below(-z)
        return np.where(z[:-1] > 0, right_of[:-1] - right_of[1:], left_of[1:] - left_of[:-1])

    def below(self, x: Array) -> Array:
        """The distribution function on the line."""
        return normal_below((x - self.mean) / self.deviation)


class Uniform(Struct, frozen=True, forbid_unknown_fields=True, tag="uniform", tag_field="kind"):
    """Uniform density on the whole factor, or on `bounds`."""

    bounds: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        if self.bounds is not None and not self.bounds[1] > self.bounds[0]:
            raise ValueError(f"bounds {list(self.bounds)} are not increasing; write bounds = [lower, upper]")

    def masses(self, factor: Factor) -> Array:
        """Masses of the cells, (n_cells,)."""
        if not factor.one_dimensional:
            received = f"bounds for a uniform density on the {factor.kind} {factor.name!r}"
            require(self.bounds is None, received, "no bounds", "remove `bounds`")
            return factor.volumes / factor.total_volume
        lower, upper = self.bounds or factor.edges[[0, -1]]
        return np.diff(np.clip((factor.edges - lower) / (upper - lower), 0.0, 1.0))

    def below(self, x: Array) -> Array:
        """The distribution function on the line, of a density with bounds."""
        assert self.bounds is not None
        return np.clip((x - self.bounds[0]) / (self.bounds[1] - self.bounds[0]), 0.0, 1.0)

    def logarithm(self, x: Array, factor: Factor) -> tuple[Array, Array]:
        """See `Normal.logarithm`. Raises InputError for a density that is 0 on a part of the factor."""
        length = factor.total_volume if self.bounds is None else self.bounds[1] - self.bounds[0]
        if not np.allclose(self.masses(factor) * length, factor.volumes):
            raise singular(f"a uniform density on a part of {factor.name!r}, 0 elsewhere", "remove `bounds`, or use a normal one")
        return np.full(len(x), -np.log(length)), np.zeros((len(x), factor.columns))

    def quantile(self, level: Array, factor: Factor) -> Array:
        """Positions from levels in (0, 1), (n,), or (n, 2) on a surface."""
        if self.bounds is None and factor.columns > 1:
            return surface_under(factor, "uniform").around((0.0, 0.0, 1.0), 2 * level[:, 0] - 1, level[:, 1])
        if self.bounds is None and not factor.moves:
            return quantile_of_masses(self.masses(factor), level, factor)
        lower, upper = self.bounds or factor.edges[[0, -1]]
        return lower + (upper - lower) * level


class Semicircle(Struct, frozen=True, forbid_unknown_fields=True, tag="semicircle", tag_field="kind"):
    """2√(radius² − (x − centre)²)/(π radius²) on an interval (Wigner 1955)."""

    centre: float = 0.0
    radius: Annotated[float, Meta(gt=0.0)] = 1.0

    def masses(self, factor: Factor) -> Array:
        """Masses of the cells, (n_cells,). Raises InputError on a circle."""
        ends = cell_ends(factor, "semicircle")
        require(factor.period == 0, f"a semicircle on the circle {factor.name!r}", "intervals", 'use kind = "normal"')
        return np.diff(self.below(ends))

    def below(self, x: Array) -> Array:
        """The distribution function."""
        z = np.clip((x - self.centre) / self.radius, -1.0, 1.0)
        return 0.5 + (z * np.sqrt(1 - z * z) + np.arcsin(z)) / np.pi

    def logarithm(self, x: Array, factor: Factor) -> tuple[Array, Array]:
        """Raises InputError: the density is 0 beyond its radius."""
        raise singular(f"a semicircle on {factor.name!r}, 0 beyond its radius", 'use kind = "normal"')

    def quantile(self, level: Array, factor: Factor) -> Array:
        """Positions with the given levels in (0, 1), by bisection."""
        lower, upper = self.centre - self.radius, self.centre + self.radius
        return np.clip(inverse(self.below, level, lower, upper, 55), *factor.edges[[0, -1]])


class Cosine(Struct, frozen=True, forbid_unknown_fields=True, tag="cosine", tag_field="kind"):
    """1 + amplitude·cos(harmonic): an eigenfunction of the Laplacian with no-flux ends, or of the circle.

    The phase is 2π·wavenumber·x/length on a circle and π·wavenumber·(x − lower)/length on an interval.
    """

    amplitude: Annotated[float, Meta(ge=-1.0, le=1.0)]
    wavenumber: Annotated[int, Meta(ge=1)] = 1

    def frequency(self, factor: Factor) -> float:
        """Derivative of the phase."""
        return (2 if factor.period else 1) * np.pi * self.wavenumber / factor.total_volume

    def masses(self, factor: Factor) -> Array:
        """Masses of the cells, (n_cells,)."""
        edges, k = cell_ends(factor, "cosine"), self.frequency(factor)
        x = edges - edges[0]
        return np.diff(x + self.amplitude * np.sin(k * x) / k) / factor.total_volume

    def logarithm(self, x: Array, factor: Factor) -> tuple[Array, Array]:
        """See `Normal.logarithm`. Raises InputError for a density that vanishes somewhere."""
        edges, k = cell_ends(factor, "cosine"), self.frequency(factor)
        if abs(self.amplitude) == 1:
            raise singular(f"a cosine density on {factor.name!r} that vanishes at a point", "use an amplitude below 1")
        phase = k * (x - edges[0])
        value = 1 + self.amplitude * np.cos(phase)
        return np.log(value / factor.total_volume), (-self.amplitude * k * np.sin(phase) / value)[:, None]

    def quantile(self, level: Array, factor: Factor) -> Array:
        """The distribution function x + (A/k) sin kx, inverted by bisection: it may be flat where A = ±1."""
        k, length = self.frequency(factor), factor.total_volume
        return factor.edges[0] + inverse(lambda x: (x + self.amplitude * np.sin(k * x) / k) / length, level, 0.0, length, 60)


class Weights(Struct, frozen=True, forbid_unknown_fields=True, tag="weights", tag_field="kind"):
    """Masses of the cells or labels themselves, up to a common factor."""

    values: list[Annotated[float, Meta(ge=0.0)]]

    def masses(self, factor: Factor) -> Array:
        """Masses of the cells, (n_cells,). Raises InputError for another number of weights."""
        values = np.array(self.values)
        if values.size != factor.size or not values.sum() > 0:
            raise InputError(
                f"weights {self.values} for {factor.name!r}",
                f"{factor.size} numbers ≥ 0 with a positive sum",
                "give one weight per cell",
            )
        return values / values.sum()

    def logarithm(self, x: Array, factor: Factor) -> tuple[Array, Array]:
        """See `Normal.logarithm`. Raises InputError for weights of cells, between which the density jumps, and for zeros."""
        masses = self.masses(factor)
        if factor.moves or not masses.min() > 0:
            raise singular(f"weights of cells, or weights 0 of labels, {factor.name!r}", "name another density")
        (nearest, _), _ = factor.neighbours(x)
        return np.log(masses / factor.volumes)[nearest], np.zeros((len(x), 1))

    def quantile(self, level: Array, factor: Factor) -> Array:
        """Positions with the given levels in (0, 1), uniform inside each cell. Raises InputError on a surface."""
        received = f"particles from weights of cells on the surface {factor.name!r}"
        require(factor.columns == 1, received, "a named density", 'use kind = "fisher"')
        return quantile_of_masses(self.masses(factor), level, factor)


def quantile_of_masses(masses: Array, level: Array, factor: Factor) -> Array:
    """Positions along a coordinate from levels in (0, 1), (n,), of masses of cells, uniform inside each, or of labels."""
    levels = np.cumsum(masses)
    if not factor.one_dimensional:
        return factor.points[np.minimum(np.searchsorted(levels, level, side="right"), factor.size - 1)]
    return np.asarray(np.interp(level, np.concatenate([[0.0], levels]), factor.edges), dtype=np.float64)


DensitySpec = Normal | Uniform | Semicircle | Cosine | Weights | Fisher | Harmonic
