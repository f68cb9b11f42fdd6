"""What named densities share: where they are given, what is refused, and the inverse of a distribution function."""

from collections.abc import Callable

import numpy as np

from gridflow.errors import InputError, require
from gridflow.space.factor import Array, Factor
from gridflow.space.mesh import Mesh, surface_of


def cell_ends(factor: Factor, kind: str) -> Array:
    """Cell ends, (n_cells + 1,), of an interval or a circle on which a density is given. Raises InputError for others."""
    other = "fisher" if factor.columns > 1 else "weights"
    received = f"a {kind} density on the {factor.kind} {factor.name!r}"
    require(factor.one_dimensional, received, "intervals and circles", f'use kind = "{other}"')
    return factor.edges


def surface_under(factor: Factor, kind: str) -> Mesh:
    """The surface on which a density is given. Raises InputError for other factors."""
    surface = surface_of(factor)
    if surface is None:
        raise InputError(f"a {kind} density on the {factor.kind} {factor.name!r}", "surfaces", "use another kind of density")
    return surface


def singular(what: str, fix: str) -> InputError:
    """The error of a density without a smooth logarithm."""
    return InputError(f"the logarithm of {what}", "densities that are positive and smooth all over the space", fix)


def inverse(distribution: Callable[[Array], Array], level: Array, lower: float, upper: float, halvings: int) -> Array:
    """Where a function that does not decrease from `lower` to `upper` takes the levels, by bisection."""
    left, right = np.full(level.shape, lower), np.full(level.shape, upper)
    for _ in range(halvings):  # to below round-off
        middle = (left + right) / 2
        below = distribution(middle) < level
        left, right = np.where(below, middle, left), np.where(below, right, middle)
    return (left + right) / 2
