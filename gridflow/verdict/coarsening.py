"""The same case on wider cells: the grids from which a verdict extrapolates, and whether a case has them."""

from math import log2
from typing import Any

from gridflow.case.case import Case
from gridflow.errors import InputError
from gridflow.scheme.exact_jko import ExactWasserstein
from gridflow.scheme.jko.scheme import JKO

LEVELS = (4, 2, 1)
"""Factors by which the cells of the grid are widened; the coarse ones come first and compile for the fine one."""
CELLS_MIN = 4
"""Cells of a line or circle, at least (`gridflow.space.factor.Cells`)."""
GROWTHS = (1, 2, 4)
"""Factors by which finer grids are tried where a case cannot be coarsened."""


def coarsened(case: Case, factor: int, order: int = 2) -> Case:
    """The same case on `factor` times wider cells; labels stay.

    Fixed steps of first order grow like factor^order, with the order of the error in space: all errors together grow by as much
    and can be extrapolated as one. Raises InputError for a factor with too few cells.
    """
    changes: dict[str, Any] = {key: size_wider(key, size, factor) for key, size in sizes(case).items()}
    few = {key: sizes(case)[key] for key, size in changes.items() if size < smallest(key)}
    if few:
        raise InputError(
            f"{written(few)}, too few for {factor} times wider cells",
            f"at least {written({key: size_needed(key, factor) for key in few})}",
            "use more cells",
        )
    if isinstance(case.scheme, JKO | ExactWasserstein):
        changes["scheme.tau"] = case.scheme.tau * factor**order
    return case.replace(changes)


def check_coarsening(case: Case, energy: Any, factor: int) -> None:
    """Raises InputError for a case whose space, start or energy does not exist on `factor` times wider cells.

    It names what has too few cells, and sizes with which the case was tried and found right.
    """
    try:
        return prepare(coarsened(case, factor), energy)
    except InputError as error:
        problem, before = str(error).splitlines()[0], sizes(case)
    received = f"{case.name}, compared with grids of up to {factor} times wider cells: {problem}; it has {written(before)}"
    prepare(case, energy)  # what is wrong on the grid of the case itself is said of that
    for growth in GROWTHS:
        more = {key: max(size_wider(key, size, 1 / growth), size_needed(key, factor)) for key, size in before.items()}
        changes = {key: size for key, size in more.items() if size != before[key]}
        if changes and works(case.replace(changes), energy, factor):
            raise InputError(received, "a grid that can be coarsened that far", f"use {written(changes)}, which works")
    raise InputError(received, "a grid that can be coarsened that far", f"more cells than {written(more)}, which fail too")


def prepare(case: Case, energy: Any) -> None:
    """Everything that a run needs before its first step."""
    case.problem(energy).check_start()


def works(case: Case, energy: Any, factor: int) -> bool:
    try:
        prepare(coarsened(case, factor), energy)
        prepare(case, energy)
    except InputError:
        return False
    return True


# a size is the number of cells of a line or circle, or the level of a surface, whose cells are four times as many on the next
def sizes(case: Case) -> dict[str, int]:
    found = {f"space.{name}.cells": f.cells for name, f in case.space.items() if hasattr(f, "cells")}
    return found | {f"space.{name}.level": f.level for name, f in case.space.items() if hasattr(f, "level")}


def smallest(key: str) -> int:
    return 0 if key.endswith("level") else CELLS_MIN


def size_needed(key: str, factor: int) -> int:
    return round(log2(factor)) if key.endswith("level") else CELLS_MIN * factor


def size_wider(key: str, size: int, factor: float) -> int:
    return size - round(log2(factor)) if key.endswith("level") else int(size // factor)


def written(found: dict[str, int]) -> str:
    return ", ".join(f"{key} = {size}" for key, size in found.items())
