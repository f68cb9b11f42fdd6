"""Mass that has met in one cell: finite-time blow-up, or a collapse below what the grid resolves."""

from gridflow.space.factor import Array
from gridflow.space.grid import Grid

SHARE_MAX = 0.5
"""Of all mass in one cell: a normal density of a deviation of three quarters of a cell, of which no width is left to see."""


def moving_axes(grid: Grid) -> tuple[int, ...]:
    """Of the factors along which mass moves."""
    return tuple(k for k, f in enumerate(grid.factors) if f.moves)


def largest_share(grid: Grid, density: Array) -> float:
    """Share of the mass in one cell, or in one cell for every combination of labels; 0 where no mass moves."""
    moving, masses = moving_axes(grid), density * grid.volume
    return float(grid.largest(masses.max(axis=moving)).sum() / grid.integrate(density)) if moving else 0.0


def is_concentrated(grid: Grid, density: Array) -> bool:
    """Whether one cell holds most of the mass."""
    return largest_share(grid, density) > SHARE_MAX


def concentration_warnings(grid: Grid, density: Array, spread_until: float = 0.0) -> list[str]:
    """A sentence where one cell holds most of the mass at the end; spread_until : the last time at which none did, 0 for none."""
    share = largest_share(grid, density)
    if not share > SHARE_MAX:
        return []
    where = "in one cell" if len(moving_axes(grid)) == len(grid.factors) else "in one cell per label"
    stop = f", or --set time.stop={spread_until:.6g}, until when it was wider" if spread_until > 0 else ""
    return [
        f"{share:.0%} of the mass is {where} at the end (above {SHARE_MAX:.0%}): it is narrower than the grid shows;"
        f" use finer cells there{stop}"
    ]
