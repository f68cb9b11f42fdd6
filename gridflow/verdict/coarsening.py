"""The same case on wider cells: the grids from which a verdict extrapolates, and whether a case has them."""

from math import log2

from gridflow.case.case import Case
from gridflow.energy.base import Energy
from gridflow.errors import InputError, require

LEVELS = (4, 2, 1)
"""Factors by which the cells of the grid are widened; the coarse ones come first and compile for the fine one."""
CELLS_MIN = 4
"""Cells of a line or circle, at least (`gridflow.space.factor.Cells`)."""
GROWTHS = (1, 2, 4)
"""Factors by which finer grids are tried where a case cannot be coarsened."""


def coarse_case(case: Case, factor: int, order: int = 2) -> Case:
    """The same case on `factor` times wider cells; labels stay.

    Fixed steps of first order grow like factor^order, with the order of the error in space: all errors together grow by as much
    and can be extrapolated as one. Raises InputError for a factor with too few cells.
    """
    sizes = case.resolution()
    few = {key: size for key, size in sizes.items() if size < sufficient_size(key, factor)}
    enough = {key: sufficient_size(key, factor) for key in few}
    require(not few, f"{listing(few)}, too few for {factor} times wider cells", f"at least {listing(enough)}", "use more cells")
    coarse = {key: coarse_size(key, size, factor) for key, size in sizes.items()}
    return case.replace(coarse | longer_step(case, factor**order))


def longer_step(case: Case, factor: float) -> dict[str, float]:
    """The change of a case whose scheme has a fixed step to one `factor` times as long; none for other schemes."""
    key = case.scheme.step_key
    return {} if key is None else {f"scheme.{key}": getattr(case.scheme, key) * factor}


def check_coarsening(case: Case, energy: Energy | None, factor: int) -> None:
    """Raises InputError for a case whose space, start or energy does not exist on `factor` times wider cells.

    It names what has too few cells, and sizes with which the case was tried and found right.
    """
    try:
        return coarse_case(case, factor).problem(energy).check_start()
    except InputError as error:
        problem, before = str(error).splitlines()[0], case.resolution()
    received = f"{case.name}, compared with grids of up to {factor} times wider cells: {problem}; it has {listing(before)}"
    case.problem(energy).check_start()  # what is wrong on the grid of the case itself is said of that
    for growth in GROWTHS:
        more = {key: max(coarse_size(key, size, 1 / growth), sufficient_size(key, factor)) for key, size in before.items()}
        changes = {key: size for key, size in more.items() if size != before[key]}
        if changes and is_possible(case.replace(changes), energy, factor):
            raise InputError(received, "a grid that can be coarsened that far", f"use {listing(changes)}, which works")
    raise InputError(received, "a grid that can be coarsened that far", f"more cells than {listing(more)}, which fail too")


def is_possible(case: Case, energy: Energy | None, factor: int) -> bool:
    """Whether a case can run on its own and on `factor` times wider cells."""
    try:
        for wider in (factor, 1):
            coarse_case(case, wider).problem(energy).check_start()
    except InputError:
        return False
    return True


def sufficient_size(key: str, factor: int) -> int:
    """The smallest size that can be made `factor` times coarser."""
    return round(log2(factor)) if key.endswith("level") else CELLS_MIN * factor


def coarse_size(key: str, size: int, factor: float) -> int:
    """The size with `factor` times wider cells."""
    return size - round(log2(factor)) if key.endswith("level") else int(size // factor)


def listing(found: dict[str, int]) -> str:
    """Sizes by key in words."""
    return ", ".join(f"{key} = {size}" for key, size in found.items())
