"""Mixtures of products of named densities: initial densities and targets of a case."""

from functools import reduce
from pathlib import Path
from typing import Annotated

import numpy as np
from msgspec import UNSET, Meta, Struct, UnsetType, field

from gridflow.errors import InputError, require
from gridflow.output.reader import read_density
from gridflow.space.densities import DensitySpec
from gridflow.space.factor import Array, Factor
from gridflow.space.grid import Grid
from gridflow.space.radial import JointSpec, Line
from gridflow.space.regrid import CUT_MAX, masses_on


class Component(Struct, frozen=True, forbid_unknown_fields=True):
    """One component of a mixture: a product of named densities, one per factor, a joint density of all factors, or the density
    of a result, brought to the cells of the grid (`gridflow.space.regrid`).

    density : by factor; joint : of all factors; file : of a result; time : a saved one of it, the last by default
    weight : of the component, divided by the sum of all
    """

    density: dict[str, DensitySpec] = field(default_factory=dict)
    weight: Annotated[float, Meta(gt=0.0)] = 1.0
    file: str | UnsetType = UNSET
    joint: JointSpec | None = None
    time: Annotated[float, Meta(ge=0.0)] | None = None

    def __post_init__(self) -> None:
        if bool(self.density) + isinstance(self.file, str) + (self.joint is not None) != 1:
            raise ValueError("a component needs either `density.NAME = {kind = …}` for every factor, or `joint`, or `file`")
        if self.time is not None and not isinstance(self.file, str):
            raise ValueError("`time` names a saved time of a `file`; remove it, or name the file")

    @property
    def named(self) -> bool:
        """Whether it is known outside a grid."""
        return bool(self.density) or self.joint is not None

    def marginal(self, factor: Factor, factors: tuple[Factor, ...]) -> DensitySpec | Line:
        """The density along one of the factors, of a component that is `named`."""
        return self.density[factor.name] if self.joint is None else self.joint.marginal(factor, factors)


def start_masses(components: list[Component], grid: Grid, directory: Path) -> Array:
    """Cell masses of the initial density of a case, shape of the grid: of a result alone they are its own, else they sum to 1.

    Raises InputError as `mixture_masses` does.
    """
    if len(components) == 1 and isinstance(components[0].file, str):
        return file_masses(components[0], grid, directory, "initial")
    return mixture_masses(components, grid, directory, "initial")


def mixture_masses(components: list[Component], grid: Grid, directory: Path, purpose: str) -> Array:
    """Cell masses of a mixture, summing to 1, shape of the grid.

    Raises InputError for a factor without density, for a density without factor, for a density without mass on the grid and
    for a box that cuts off more than 1e−6 of the mass.
    """
    require(len(components) > 0, f"{purpose}: no density", "one component or more", "name an initial density")
    total = np.zeros(grid.shape)
    for component in components:
        if component.joint is not None:
            masses = grid.cut(component.joint.masses(grid.whole.factors))
        elif component.density:
            found = factor_masses(component, grid.whole.factors, purpose)
            masses = reduce(np.multiply, [grid.cut(grid.whole.along(k, mass)) for k, mass in enumerate(found)])
        else:
            masses = file_masses(component, grid, directory, purpose)
            masses = masses / grid.sum(masses)
        inside = grid.sum(masses)
        received = f"{purpose}: a density without any mass on the grid"
        require(inside > 0, received, "positive mass", "move the density or the bounds of its space")
        if 1 - inside > CUT_MAX:
            check_surfaces(component, grid, purpose)
            raise InputError(
                f"{purpose}: the box cuts off {1 - inside:.2g} of the mass{cut_detail(component, grid)}",
                f"at most {CUT_MAX:g}",
                "widen the bounds of the space, or make the density narrower",
            )
        total += component.weight * masses / inside
    return total / grid.sum(total)


def check_surfaces(component: Component, grid: Grid, purpose: str) -> None:
    """Raises InputError for a density that is too narrow for the cells of a surface, which cuts nothing off."""
    for factor in grid.factors:
        if factor.columns > 1 and factor.name in component.density:
            missing = 1 - float(component.density[factor.name].masses(factor).sum())
            received = f"{purpose}: the cells of the surface {factor.name!r} miss {missing:.2g} of the mass"
            fix = f"raise space.{factor.name}.level, or make the density wider"
            require(missing <= CUT_MAX, received, f"at most {CUT_MAX:g}: a density that they resolve", fix)


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
    """Masses of the density of a result on the cells of a grid. Raises InputError for a file that does not fit."""
    return grid.cut(masses_on(read_density(directory / str(component.file), purpose, component.time), grid.whole, purpose))
