"""Mass at the walls of intervals: how much a result depends on the box in which it was computed.

On a grid it is the mass in the outermost cells of an interval that is not frozen. For particles it is the mass in those cells
and, beside it, the mass that a wall has mirrored: particles whose path, followed through the walls without mirroring, has left
the box.
"""

from gridflow.space.factor import Array, Factor, columns_of
from gridflow.space.grid import Grid

WALL_MASS_MAX = 1e-3
"""Share of the mass at the walls of one factor above which a result carries a warning: what moves there is not free to go on, and
integrals over the density are off by as much."""
ON_GRID, OF_PARTICLES = "was in the outermost cells", "was mirrored by them or in the outermost cells"


def factors_with_walls(grid: Grid) -> list[Factor]:
    """The intervals along which mass moves."""
    return [f for f, m in zip(grid.factors, grid.mobility, strict=True) if f.walls and m.max() > 0]


def wall_shares(grid: Grid, density: Array) -> dict[str, float]:
    """Share of the mass in the two outermost cells of every interval along which mass moves."""
    shares = {}
    for factor in factors_with_walls(grid):
        masses = grid.marginal_masses(density, factor.name)
        shares[factor.name] = float((masses[0] + masses[-1]) / masses.sum())
    return shares


def wall_shares_particles(grid: Grid, points: Array, weights: Array) -> dict[str, float]:
    """The same for particles, (n_particles, n_columns) before they are mirrored into the box; mirrored ones count too."""
    columns = {f.name: c.start for f, c in zip(grid.factors, columns_of(grid.factors), strict=True)}
    shares = {}
    for factor in factors_with_walls(grid):
        place = points[:, columns[factor.name]]
        outside = (place < factor.edges[1]) | (place > factor.edges[-2])
        shares[factor.name] = float(weights[outside].sum() / weights.sum())
    return shares


def largest_shares(one: dict[str, float], two: dict[str, float]) -> dict[str, float]:
    """The larger share of every factor."""
    return {name: max(share, two.get(name, 0.0)) for name, share in one.items()}


def wall_warnings(factors: tuple[Factor, ...], shares: dict[str, float], where: str) -> list[str]:
    """A sentence for every factor with more than WALL_MASS_MAX at its walls; `where` says what was counted."""
    found = {f.name: f for f in factors if shares.get(f.name, 0.0) > WALL_MASS_MAX}
    return [
        f"walls of {name!r}: up to {shares[name]:.1e} of the mass {where} (above {WALL_MASS_MAX:g}); if the bounds"
        f" {f.edges[0]:g} and {f.edges[-1]:g} stand for an unbounded space, this is not the solution there;"
        f" fix: wider space.{name}.bounds"
        for name, f in found.items()
    ]
