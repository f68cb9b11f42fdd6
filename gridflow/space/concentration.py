"""Mass that has met in one cell: finite-time blow-up, or a collapse below what the grid resolves."""

from gridflow.space.factor import Array
from gridflow.space.grid import Grid

SHARE_MAX = 0.5
"""Of all mass in one cell: a normal density of a deviation of three quarters of a cell, of which no width is left to see."""


def concentration_warnings(grid: Grid, density: Array) -> list[str]:
    """A sentence where one cell holds most of the mass; labels alone are meant to."""
    if not any(f.moves for f in grid.factors):
        return []
    masses = density * grid.volume
    share = float(masses.max() / masses.sum())
    if not share > SHARE_MAX:
        return []
    return [
        f"{share:.0%} of the mass is in one cell at the end: what happens there is narrower than the grid shows, use finer cells"
    ]
