"""Mass that has met in one cell: finite-time blow-up, or a collapse below what the grid resolves."""

from gridflow.space.factor import Array
from gridflow.space.grid import Grid

SHARE_MAX = 0.5
"""Of all mass in one cell: a normal density of a deviation of three quarters of a cell, of which no width is left to see."""


def concentration_warnings(grid: Grid, density: Array) -> list[str]:
    """A sentence where one cell holds most of the mass, or one cell for every combination of labels."""
    moving = tuple(k for k, f in enumerate(grid.factors) if f.moves)
    if not moving:
        return []
    masses = density * grid.volume
    share = float(masses.max(axis=moving).sum() / masses.sum())
    if not share > SHARE_MAX:
        return []
    where = "in one cell" if len(moving) == len(grid.factors) else "in one cell per label"
    return [f"{share:.0%} of the mass is {where} at the end: it is narrower than the grid shows, use finer cells there"]
