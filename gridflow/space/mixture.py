"""Mixtures of products of named densities: initial densities and targets of a case."""

from functools import reduce
from pathlib import Path
from typing import Annotated

import numpy as np
from msgspec import UNSET, Meta, Struct, UnsetType, field

from gridflow.errors import InputError, require
from gridflow.files import open_netcdf
from gridflow.space.densities import DensitySpec
from gridflow.space.factor import Array, Factor
from gridflow.space.grid import Grid
from gridflow.space.radial import JointSpec, Line

CUT_MAX = 1e-6
"""Largest share of the initial mass that a box may cut off: below the discretisation error of every shipped case."""


class Component(Struct, frozen=True, forbid_unknown_fields=True):
    """One component of a mixture: a product of named densities, one per factor, a joint density of all factors, or a density
    from a gridflow file.

    density : by factor; joint : of all factors; file : whose last density it is, on the same grid
    weight : of the component, divided by the sum of all
    """

    density: dict[str, DensitySpec] = field(default_factory=dict)
    weight: Annotated[float, Meta(gt=0.0)] = 1.0
    file: str | UnsetType = UNSET
    joint: JointSpec | None = None

    def __post_init__(self) -> None:
        if bool(self.density) + isinstance(self.file, str) + (self.joint is not None) != 1:
            raise ValueError("a component needs either `density.NAME = {kind = …}` for every factor, or `joint`, or `file`")

    @property
    def named(self) -> bool:
        """Whether it is known outside a grid."""
        return bool(self.density) or self.joint is not None

    def marginal(self, factor: Factor, factors: tuple[Factor, ...]) -> DensitySpec | Line:
        """The density along one of the factors, of a component that is `named`."""
        return self.density[factor.name] if self.joint is None else self.joint.marginal(factor, factors)


def mixture_masses(components: list[Component], grid: Grid, directory: Path, purpose: str) -> Array:
    """Cell masses of a mixture, summing to 1, shape of the grid.

    Raises InputError for a factor without density, for a density without factor, for a density without mass on the grid and
    for a box that cuts off more than 1e−6 of the mass.
    """
    require(len(components) > 0, f"{purpose}: no density", "one component or more", "name an initial density")
    total = np.zeros(grid.shape)
    for component in components:
        if component.joint is not None:
            masses = component.joint.masses(grid.factors)
        elif component.density:
            masses = reduce(np.multiply.outer, factor_masses(component, grid.factors, purpose))
        else:
            masses = file_masses(component, grid, directory, purpose)
        inside = masses.sum()
        received = f"{purpose}: a density without any mass on the grid"
        require(inside > 0, received, "positive mass", "move the density or the bounds of its space")
        if 1 - inside > CUT_MAX:
            raise InputError(
                f"{purpose}: the box cuts off {1 - inside:.2g} of the mass{cut_detail(component, grid)}",
                f"at most {CUT_MAX:g}",
                "widen the bounds of the space, or make the density narrower",
            )
        total += component.weight * masses / inside
    return total / total.sum()


def factor_masses(component: Component, factors: tuple[Factor, ...], purpose: str) -> list[Array]:
    """Cell masses of the named densities along every factor. Raises InputError for other factors, and densities not for them."""
    names = [f.name for f in factors]
    missing = [n for n in names if n not in component.density]
    unknown = [n for n in component.density if n not in names]
    fix = "; ".join([f"add density.{n}" for n in missing] + [f"remove density.{n}" for n in unknown])
    received = f"{purpose}: densities for {sorted(component.density)}"
    require(not fix, received, f"one for each factor of the space: {sorted(names)}", fix)
    return [component.density[f.name].masses(f) for f in factors]


def cut_detail(component: Component, grid: Grid) -> str:
    """How much the box cuts off along every factor, for a message."""
    cut = {f.name: 1 - component.density[f.name].masses(f).sum() for f in grid.factors if f.name in component.density}
    return "".join(f" ({share:.2g} of it along {name!r})" for name, share in cut.items() if share > CUT_MAX)


def file_masses(component: Component, grid: Grid, directory: Path, purpose: str) -> Array:
    """Masses of the last density in a gridflow dataset on the same grid."""
    path = directory / str(component.file)
    with open_netcdf(path, purpose) as dataset:
        has_density = "density" in dataset and dataset.sizes.get("time", 0) > 0
        received = f"{purpose}: {path.name} has no variable 'density'"
        require(has_density, received, "a NetCDF file written by gridflow", "solve a case first")
        density = dataset["density"].isel(time=-1)
        for factor in grid.factors:
            name = f"{factor.name}_points" if factor.columns > 1 else factor.name
            same = factor.name in density.dims and density.sizes[factor.name] == factor.size
            require(
                same and np.allclose(dataset[name], factor.points),
                f"{purpose}: the grid of {path.name} differs along {factor.name!r}",
                "the same factors with the same cells",
                "solve both cases on one grid",
            )
        return density.transpose(*grid.order).to_numpy() * grid.volume
