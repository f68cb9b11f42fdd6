"""Targets ν* of discrepancies: mixtures of densities and of samples, which stay where they are, on grids too."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from msgspec import UNSET, UnsetType

from gridflow.energy.network.columns import read_columns
from gridflow.energy.network.data import FileData
from gridflow.energy.table import Landmark
from gridflow.errors import require
from gridflow.space.deposit import deposit
from gridflow.space.factor import Array, Factor
from gridflow.space.grid import Grid
from gridflow.space.mixture import Component, factor_masses, mixture_masses
from gridflow.sums.kernels import Kernel, periods
from gridflow.sums.pairs import Sums


class Target(Component, frozen=True, forbid_unknown_fields=True):
    """A component of the target: as for initial densities, or samples of equal weight in the columns of a file.

    columns : {factor: column of `file`, CSV or NetCDF}
    """

    columns: dict[str, str] | UnsetType = UNSET


@dataclass(frozen=True)
class Samples:
    """points : (n_samples, n_factors); weights : (n_samples,), whose sum is the share of the target that they are."""

    points: Array
    weights: Array

    def field(self, kernel: Kernel, places: Array, factors: tuple[Factor, ...]) -> Sums:
        """∫k(·, u)ν*(du) of the samples at places (n, n_factors), and its gradient."""
        return kernel.sum(places, self.points, self.weights, periods(factors))

    def self_energy(self, kernel: Kernel, factors: tuple[Factor, ...]) -> float:
        """∬k of the samples with themselves."""
        return float(self.weights @ self.field(kernel, self.points, factors)[0])


@dataclass(frozen=True)
class TargetMeasure:
    """ν*. components : as a case names them; directory : of their files."""

    components: list[Target]
    directory: Path

    @property
    def total(self) -> float:
        """The sum of the weights, by which they are divided."""
        return sum(c.weight for c in self.components)

    @property
    def densities(self) -> list[tuple[float, Component]]:
        """Shares of the mass, and components, of those that are densities."""
        return [(c.weight / self.total, c) for c in self.components if c.columns is UNSET]

    def samples(self, factors: tuple[Factor, ...]) -> Samples | None:
        """All samples, or None. Raises InputError for any outside of the space."""
        sampled = [c for c in self.components if c.columns is not UNSET]
        if not sampled:
            return None
        points = [read_samples(c, factors, self.directory) for c in sampled]
        weights = [np.full(len(p), c.weight / self.total / len(p)) for c, p in zip(sampled, points, strict=True)]
        return Samples(np.concatenate(points), np.concatenate(weights))

    def check(self, factors: tuple[Factor, ...]) -> None:
        """Raises InputError for named densities that are not those of the factors."""
        for _, component in self.densities:
            if component.density:
                factor_masses(component, factors, "energy.target")

    def masses(self, grid: Grid) -> Array:
        """Cell masses of the densities."""
        densities = [c for _, c in self.densities]
        if not densities:
            return np.zeros(grid.shape)
        share = sum(c.weight for c in densities) / self.total
        return share * mixture_masses(densities, grid, self.directory, "energy.target")

    def masses_with_samples(self, grid: Grid) -> Array:
        """Cell masses, samples being spread over the cells around them."""
        masses, samples = self.masses(grid), self.samples(grid.factors)
        return masses if samples is None else masses + deposit(samples.points, samples.weights, grid)

    def landmarks(self, grid: Grid) -> list[Landmark]:
        """The target, for pictures: its densities and its samples."""
        found, samples = [], self.samples(grid.factors)
        if self.densities:
            found.append(Landmark("target", over=grid.order, masses=self.masses(grid)))
        if samples is not None:
            found.append(Landmark("sample", {f.name: x for f, x in zip(grid.factors, samples.points.T, strict=True)}))
        return found


def read_samples(component: Target, factors: tuple[Factor, ...], directory: Path) -> Array:
    """Samples of a file, (n_samples, n_factors) in the order of the factors. Raises InputError for any outside of the space."""
    assert isinstance(component.columns, dict)
    assert isinstance(component.file, str)
    names = [f.name for f in factors]
    lines = all(f.columns == 1 for f in factors)
    require(lines, "energy.target: samples on a surface", "densities there", 'use density = { kind = "fisher", … }')
    require(
        set(component.columns) == set(names),
        f"energy.target: samples with columns for {sorted(component.columns)}",
        f"one for each factor of the space: {sorted(names)}",
        "write columns = { FACTOR = COLUMN, … }",
    )
    chosen = [component.columns[n] for n in names]
    columns = read_columns(directory / component.file, component.file, chosen)
    points = FileData(component.file, chosen, chosen).pick(columns, chosen)
    for factor, column in zip(factors, points.T, strict=True):
        if factor.period > 0:
            column[:] = factor.fold(column)
            continue
        inside, allowed, fix = np.isin(column, factor.points), f"the labels {factor.points.tolist()}", "add the label"
        if factor.walls is not None:
            lower, upper = factor.walls
            inside, allowed, fix = (
                (column >= lower) & (column <= upper),
                f"[{lower:g}, {upper:g}]",
                "widen the bounds",
            )
        row = int(np.argmin(inside))
        where = f"data row {row + 1} of {component.file!r}"
        received = f"energy.target: the sample {column[row]:g} in {where} is outside of {factor.name!r}"
        require(bool(inside.all()), received, allowed, f"{fix}, or remove the row")
    return points
