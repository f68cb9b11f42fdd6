"""Named probability densities and their exact cell masses: initial densities and targets of a case.

Every density is a distribution function, so that a cell receives its exact mass (difference of the distribution function
at the cell ends), never a point value: a normal density far narrower than a cell is still represented without error.
"""

from collections.abc import Callable
from functools import reduce
from pathlib import Path
from typing import Annotated

import numpy as np
from msgspec import UNSET, Meta, Struct, UnsetType, field
from scipy.special import eval_legendre, ndtr, ndtri

from gridflow.errors import InputError
from gridflow.files import open_netcdf
from gridflow.space.factor import Array, Factor
from gridflow.space.grid import Grid
from gridflow.space.mesh import Mesh

CUT_MAX = 1e-6
"""Largest share of the initial mass that a box may cut off: below the discretisation error of every shipped case."""


class Normal(Struct, frozen=True, forbid_unknown_fields=True, tag="normal", tag_field="kind"):
    """Normal density; wrapped around on a circle."""

    mean: float
    deviation: Annotated[float, Meta(gt=0.0)]

    def masses(self, factor: Factor) -> Array:
        if not factor.is_line:
            raise InputError(f"a normal density on the labels {factor.name!r}", "intervals and circles", 'use kind = "weights"')
        if not factor.is_circle:
            return self.between(factor.edges)
        reach = 1 + int(np.ceil(10 * self.deviation / factor.length))  # ten deviations hold all but 1e−23 of the mass
        home = int(np.floor(self.mean / factor.length))
        turns = range(home - reach, home + reach + 1)
        return np.sum([self.between(factor.edges + turn * factor.length) for turn in turns], axis=0)

    def quantile(self, level: Array, factor: Factor) -> Array:
        """Positions with the given levels in (0, 1); the density is cut at the walls of an interval, as the grid's is."""
        if factor.is_circle:
            return np.mod(self.mean + self.deviation * ndtri(level), factor.length)
        lower, upper = ndtr((factor.edges[[0, -1]] - self.mean) / self.deviation)
        return np.clip(self.mean + self.deviation * ndtri(lower + (upper - lower) * level), factor.edges[0], factor.edges[-1])

    def between(self, edges: Array) -> Array:
        """Mass between neighbouring edges, accurate in relative terms in both tails."""
        z = (edges - self.mean) / self.deviation
        lower, upper = z[:-1], z[1:]
        right = lower > 0
        return np.where(right, ndtr(-lower) - ndtr(-upper), ndtr(upper) - ndtr(lower))

    def below(self, x: Array) -> Array:
        """The distribution function on the line."""
        return ndtr((x - self.mean) / self.deviation)


class Uniform(Struct, frozen=True, forbid_unknown_fields=True, tag="uniform", tag_field="kind"):
    """Uniform density on the whole factor, or on `bounds`."""

    bounds: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        if self.bounds is not None and not self.bounds[1] > self.bounds[0]:
            raise ValueError(f"bounds {list(self.bounds)} are not increasing; write bounds = [lower, upper]")

    def masses(self, factor: Factor) -> Array:
        if not factor.is_line:
            if self.bounds is not None:
                kind = "surface" if factor.is_mesh else "labels"
                raise InputError(f"bounds for a uniform density on the {kind} {factor.name!r}", "no bounds", "remove `bounds`")
            return factor.volumes / factor.length
        lower, upper = self.bounds or (factor.edges[0], factor.edges[-1])
        return np.diff(np.clip((factor.edges - lower) / (upper - lower), 0.0, 1.0))

    def below(self, x: Array) -> Array:
        """The distribution function on the line, of a density with bounds."""
        assert self.bounds is not None
        return np.clip((x - self.bounds[0]) / (self.bounds[1] - self.bounds[0]), 0.0, 1.0)

    def quantile(self, level: Array, factor: Factor) -> Array:
        if factor.kind == "labels":
            return label_quantile(self.masses(factor), level, factor)
        if factor.is_mesh:
            return around((0.0, 0.0, 1.0), 2 * level[:, 0] - 1, level[:, 1], factor)
        lower, upper = self.bounds or (factor.edges[0], factor.edges[-1])
        return lower + (upper - lower) * level


class Cosine(Struct, frozen=True, forbid_unknown_fields=True, tag="cosine", tag_field="kind"):
    """1 + amplitude·cos(harmonic): an eigenfunction of the Laplacian with no-flux ends, or of the circle.

    The phase is 2π·wavenumber·x/length on a circle and π·wavenumber·(x − lower)/length on an interval.
    """

    amplitude: Annotated[float, Meta(ge=-1.0, le=1.0)]
    wavenumber: Annotated[int, Meta(ge=1)] = 1

    def frequency(self, factor: Factor) -> float:
        return (2 if factor.is_circle else 1) * np.pi * self.wavenumber / factor.length

    def masses(self, factor: Factor) -> Array:
        if not factor.is_line:
            raise InputError(f"a cosine density on the labels {factor.name!r}", "intervals and circles", 'use kind = "weights"')
        k = self.frequency(factor)
        x = factor.edges - factor.edges[0]
        return np.diff(x + self.amplitude * np.sin(k * x) / k) / factor.length

    def quantile(self, level: Array, factor: Factor) -> Array:
        """The distribution function x + (A/k) sin kx, inverted by bisection: it may be flat where A = ±1."""
        k, length = self.frequency(factor), factor.length
        lower, upper = np.zeros(level.shape), np.full(level.shape, length)
        for _ in range(60):  # halves the length below round-off
            middle = (lower + upper) / 2
            below = (middle + self.amplitude * np.sin(k * middle) / k) / length < level
            lower, upper = np.where(below, middle, lower), np.where(below, upper, middle)
        return factor.edges[0] + (lower + upper) / 2


class Weights(Struct, frozen=True, forbid_unknown_fields=True, tag="weights", tag_field="kind"):
    """Masses of the cells or labels themselves, up to a common factor."""

    values: list[Annotated[float, Meta(ge=0.0)]]

    def masses(self, factor: Factor) -> Array:
        values = np.array(self.values)
        if values.size != factor.size or not values.sum() > 0:
            raise InputError(
                f"weights {self.values} for {factor.name!r}",
                f"{factor.size} numbers ≥ 0 with a positive sum",
                "give one weight per cell",
            )
        return values / values.sum()

    def quantile(self, level: Array, factor: Factor) -> Array:
        if factor.is_mesh:
            raise InputError(
                f"particles from weights of cells on the surface {factor.name!r}", "a named density", 'use kind = "fisher"'
            )
        masses = self.masses(factor)
        if factor.kind == "labels":
            return label_quantile(masses, level, factor)
        return np.interp(level, np.concatenate([[0.0], np.cumsum(masses)]), factor.edges)  # uniform inside each cell


def label_quantile(masses: Array, level: Array, factor: Factor) -> Array:
    return factor.points[np.minimum(np.searchsorted(np.cumsum(masses), level, side="right"), factor.size - 1)]


Direction = tuple[float, float, float]


class Fisher(Struct, frozen=True, forbid_unknown_fields=True, tag="fisher", tag_field="kind"):
    """von Mises–Fisher density on a surface, κ exp(κ(cos − 1))/(2π(1 − e^{−2κ})), cos to `direction` on the unit sphere it is
    isometric to (Fisher 1953)."""

    direction: Direction
    concentration: Annotated[float, Meta(gt=0.0, le=1e4)]

    def __post_init__(self) -> None:
        check_direction(self.direction)

    def masses(self, factor: Factor) -> Array:
        k = self.concentration
        return surface_masses(
            lambda cosine: k * np.exp(k * (cosine - 1)) / (-2 * np.pi * np.expm1(-2 * k)), self.direction, factor, "fisher"
        )

    def quantile(self, level: Array, factor: Factor) -> Array:
        """Positions from (n, 2) levels in (0, 1): the cosine by its distribution function, and the turn around the axis."""
        k = self.concentration
        cosine = 1 + np.log(level[:, 0] + (1 - level[:, 0]) * np.exp(-2 * k)) / k
        return around(self.direction, cosine, level[:, 1], factor)


class Harmonic(Struct, frozen=True, forbid_unknown_fields=True, tag="harmonic", tag_field="kind"):
    """(1 + amplitude·P_l(cos))/4π on a surface, cos to `axis` on the unit sphere it is isometric to: a spherical harmonic of
    degree l, eigenfunction of the Laplacian with l(l + 1)."""

    amplitude: Annotated[float, Meta(ge=-1.0, le=1.0)]
    degree: Annotated[int, Meta(ge=1, le=16)] = 1
    axis: Direction = (0.0, 0.0, 1.0)

    def __post_init__(self) -> None:
        check_direction(self.axis)

    def masses(self, factor: Factor) -> Array:
        return surface_masses(
            lambda cosine: (1 + self.amplitude * eval_legendre(self.degree, cosine)) / (4 * np.pi), self.axis, factor, "harmonic"
        )

    def quantile(self, level: Array, factor: Factor) -> Array:
        """The distribution function of the cosine, inverted by bisection; ∫P_l = (P_{l+1} − P_{l−1})/(2l + 1)."""
        lower, upper = np.full(len(level), -1.0), np.ones(len(level))
        for _ in range(55):  # halves the length below round-off
            middle = (lower + upper) / 2
            wave = (eval_legendre(self.degree + 1, middle) - eval_legendre(self.degree - 1, middle)) / (2 * self.degree + 1)
            below = (middle + 1 + self.amplitude * wave) / 2 < level[:, 0]
            lower, upper = np.where(below, middle, lower), np.where(below, upper, middle)
        return around(self.axis, (lower + upper) / 2, level[:, 1], factor)


def check_direction(direction: Direction) -> None:
    if not np.linalg.norm(direction) > 1e-12:
        raise ValueError(f"direction {list(direction)} has no length; give a vector other than 0")


def surface_masses(density: Callable[[Array], Array], axis: Direction, factor: Factor, kind: str) -> Array:
    """Cell masses of a density of the cosine to an axis, by quadrature of degree 5 over the triangles of the cells."""
    if not isinstance(factor, Mesh):
        raise InputError(f"a {kind} density on the {factor.kind} {factor.name!r}", "surfaces", "use another kind of density")
    points, weights = factor.quadrature
    cosine = points @ (np.array(axis) / np.linalg.norm(axis))
    return np.add.reduceat((weights * density(cosine)).sum(axis=1), factor.first[:-1])


def around(axis: Direction, cosine: Array, turn: Array, factor: Factor) -> Array:
    """Positions on a surface at the given cosines to an axis, turned about it by turn·2π, (n, 3)."""
    pole = np.array(axis) / np.linalg.norm(axis)
    side = np.cross(pole, np.eye(3)[np.abs(pole).argmin()])
    side /= np.linalg.norm(side)
    sine, angle = np.sqrt(np.maximum(1 - cosine**2, 0.0)), 2 * np.pi * turn
    plane = np.cos(angle)[:, None] * side + np.sin(angle)[:, None] * np.cross(pole, side)
    return factor.fold(cosine[:, None] * pole + sine[:, None] * plane)


DensitySpec = Normal | Uniform | Cosine | Weights | Fisher | Harmonic


class Component(Struct, frozen=True, forbid_unknown_fields=True):
    """One component of a mixture: a product of named densities, one per factor, or a density from a gridflow file."""

    density: dict[str, DensitySpec] = field(default_factory=dict)
    weight: Annotated[float, Meta(gt=0.0)] = 1.0
    file: str | UnsetType = UNSET

    def __post_init__(self) -> None:
        if bool(self.density) == isinstance(self.file, str):
            raise ValueError("a component needs either `density.NAME = {kind = …}` for every factor, or `file`")


def mixture_masses(components: list[Component], grid: Grid, directory: Path, purpose: str) -> Array:
    """Cell masses of a mixture, summing to 1, shape of the grid.

    Raises InputError for a factor without density, for a density without factor, for a density without mass on the grid and
    for a box that cuts off more than 1e−6 of the mass.
    """
    total = np.zeros(grid.shape)
    for component in components:
        masses = (
            file_masses(component, grid, directory, purpose)
            if component.density == {}
            else product_masses(component, grid, purpose)
        )
        inside = masses.sum()
        if not inside > 0:
            raise InputError(
                f"{purpose}: a density without any mass on the grid",
                "positive mass",
                "move the density or the bounds of its space",
            )
        if 1 - inside > CUT_MAX:
            raise InputError(
                f"{purpose}: the box cuts off {1 - inside:.2g} of the mass{cut_detail(component, grid)}",
                f"at most {CUT_MAX:g}",
                "widen the bounds of the space, or make the density narrower",
            )
        total += component.weight * masses / inside
    return total / total.sum()


def product_masses(component: Component, grid: Grid, purpose: str) -> Array:
    names = [f.name for f in grid.factors]
    missing = [n for n in names if n not in component.density]
    unknown = [n for n in component.density if n not in names]
    if missing or unknown:
        raise InputError(
            f"{purpose}: densities for {sorted(component.density)}",
            f"one for each factor of the space: {sorted(names)}",
            "; ".join([f"add density.{n}" for n in missing] + [f"remove density.{n}" for n in unknown]),
        )
    return reduce(np.multiply.outer, [component.density[f.name].masses(f) for f in grid.factors])


def cut_detail(component: Component, grid: Grid) -> str:
    cut = {f.name: 1 - component.density[f.name].masses(f).sum() for f in grid.factors if f.name in component.density}
    return "".join(f" ({share:.2g} of it along {name!r})" for name, share in cut.items() if share > CUT_MAX)


def file_masses(component: Component, grid: Grid, directory: Path, purpose: str) -> Array:
    """Masses of the last density in a gridflow dataset on the same grid."""
    path = directory / str(component.file)
    with open_netcdf(path, purpose) as dataset:
        if "density" not in dataset or dataset.sizes.get("time", 0) == 0:
            raise InputError(
                f"{purpose}: {path.name} has no variable 'density'", "a NetCDF file written by gridflow", "solve a case first"
            )
        density = dataset["density"].isel(time=-1)
        for factor in grid.factors:
            same = factor.name in density.dims and density.sizes[factor.name] == factor.size
            if not same or not np.allclose(dataset[f"{factor.name}_points" if factor.is_mesh else factor.name], factor.points):
                raise InputError(
                    f"{purpose}: the grid of {path.name} differs along {factor.name!r}",
                    "the same factors with the same cells",
                    "solve both cases on one grid",
                )
        return density.transpose(*grid.order).to_numpy() * grid.volume
