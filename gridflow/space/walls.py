"""Mass at the walls of intervals: how much a result depends on the box in which it was computed.

On a grid it is the mass in the outermost cells of an interval that is not frozen. For particles it is the mass in those cells
and, beside it, the mass that a wall has mirrored: particles whose path, followed through the walls without mirroring, has left
the box. Intervals that are `closed` really end at their walls, and are left out.

Wider bounds are proposed by what is seen of the density at the saves: its mean and deviation along the factor, and, beyond a wall
where mass is, the way that this mass would have gone on with the velocity and the diffusion that it has there.
"""

from math import ceil

import numpy as np

from gridflow.space.factor import Array, Factor, columns_of
from gridflow.space.grid import Grid

WALL_MASS_MAX = 1e-3
"""Share of the mass at the walls of one factor above which a result carries a warning: what moves there is not free to go on, and
integrals over the density are off by as much."""
ON_GRID, OF_PARTICLES = "was in the outermost cells", "was mirrored by them or in the outermost cells"
DEVIATIONS = 5.0
"""Of the density on each side of its mean in proposed bounds: a normal one has 6e−7 of its mass beyond."""
ARRIVED = 0.1
"""Share of WALL_MASS_MAX at a wall from which the velocity there counts."""
WIDER = 0.1
"""Least part of its length by which an interval is proposed to be longer on each side."""
Bounds = dict[str, list[float]]
"""[lower, upper] by factor."""


def factors_with_walls(grid: Grid) -> list[Factor]:
    """The intervals along which mass moves, and whose walls cut off more of them."""
    return [f for f, m in zip(grid.whole.factors, grid.whole.mobility, strict=True) if f.cuts_off and m.max() > 0]


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


def bounds_reached(grid: Grid, density: Array, potential: Array, temperature: float, left: float) -> Bounds:
    """What the mass along every factor takes in, without its walls, in the time `left`, or would take in by then.

    potential : whose gradient moves the mass; temperature : D, its mean over that time
    """
    found, masses = {}, density * grid.volume
    for factor in factors_with_walls(grid):
        axis = grid.order.index(factor.name)
        marginal = grid.marginal_masses(density, factor.name)
        total = float(marginal.sum())
        mean = float(marginal @ factor.points) / total
        spread = DEVIATIONS * float(np.sqrt(marginal @ (factor.points - mean) ** 2 / total))
        ends = [mean - spread, mean + spread]
        for side, (wall, inner, sign) in enumerate([(0, 1, -1.0), (-1, -2, 1.0)]):
            if marginal[wall] < ARRIVED * WALL_MASS_MAX * total:
                continue
            squares = 0.0
            if grid.has_wall(axis, side):
                slope = (potential.take([wall], axis) - potential.take([inner], axis)) / abs(
                    factor.points[wall] - factor.points[inner]
                )
                outward = np.maximum(-slope * grid.mobility[axis], 0.0)
                squares = float((masses.take([wall], axis) * outward**2).sum())
            speed = float(np.sqrt(grid.total(squares) / marginal[wall]))
            noise = DEVIATIONS * float(np.sqrt(2 * temperature * grid.whole.mobility[axis].max() * left))
            way = factor.edges[wall] + sign * (speed * left + noise + spread / DEVIATIONS)
            ends[side] = sign * max(sign * ends[side], sign * way)
        found[factor.name] = ends
    return found


def widest_bounds(one: Bounds, two: Bounds) -> Bounds:
    """The bounds that hold both, by factor."""
    both = {name: two.get(name, ends) for name, ends in one.items()}
    return {name: [min(one[name][0], both[name][0]), max(one[name][1], both[name][1])] for name in one}


def wall_warnings(factors: tuple[Factor, ...], shares: dict[str, float], where: str, reached: Bounds | None = None) -> list[str]:
    """A sentence for every factor with more than WALL_MASS_MAX at its walls; `where` says what was counted.

    reached : see `bounds_reached`; without it no numbers are proposed
    """
    found = {f.name: f for f in factors if shares.get(f.name, 0.0) > WALL_MASS_MAX}
    return [
        f"walls of {name!r}: up to {shares[name]:.1e} of the mass {where} (above {WALL_MASS_MAX:g}); if the bounds"
        f" {f.edges[0]:g} and {f.edges[-1]:g} stand for an unbounded space, this is not the solution there;"
        f" fix: wider space.{name}.bounds{proposal(f, None if reached is None else reached.get(name))};"
        f" where the space ends there, --set space.{name}.closed=true"
        for name, f in found.items()
    ]


def proposal(factor: Factor, reached: list[float] | None) -> str:
    """The settings of a wider interval with cells of the same size."""
    if reached is None:
        return ""
    lower, upper = float(factor.edges[0]), float(factor.edges[-1])
    length = upper - lower
    step = 10.0 ** np.floor(np.log10(length)) / 2  # bounds are rounded to half of the leading digit of the length
    low = step * float(np.floor(min(reached[0], lower - WIDER * length) / step)) if reached[0] < lower else lower
    high = step * float(np.ceil(max(reached[1], upper + WIDER * length) / step)) if reached[1] > upper else upper
    cells = ceil(factor.size * (high - low) / length - 1e-9)
    return f", --set space.{factor.name}.bounds=[{low:.15g},{high:.15g}] --set space.{factor.name}.cells={cells}"
