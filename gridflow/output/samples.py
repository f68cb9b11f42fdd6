"""Independent points of a density that is uniform inside its cells."""

import numpy as np

from gridflow.space.factor import Array, Factor, Indices
from gridflow.space.grid import Grid
from gridflow.space.mesh import Mesh, surface_of, unit


def sample_cells(grid: Grid, masses: Array, count: int, random: np.random.Generator) -> Array:
    """Points (count, n_columns) in storage order: a cell in proportion to the masses, then uniformly within the cell."""
    levels = np.cumsum(masses.ravel())
    chosen = np.searchsorted(levels, random.random(count) * levels[-1], side="right")
    cells = np.unravel_index(np.minimum(chosen, np.flatnonzero(masses)[-1]), grid.shape)  # round-off of the last level
    columns = [sample_factor(f, k, random).reshape(-1, f.columns) for f, k in zip(grid.factors, cells, strict=True)]
    return np.hstack(columns)


def sample_factor(factor: Factor, cells: Indices, random: np.random.Generator) -> Array:
    """Positions inside the given cells of one factor, (n,) or, on a surface, (n, 3)."""
    surface = surface_of(factor)
    if surface is not None:
        return sample_surface(surface, cells, random)
    if not factor.edges.size:
        return factor.points[cells]
    return factor.edges[cells] + np.diff(factor.edges)[cells] * random.random(cells.size)


def sample_surface(mesh: Mesh, cells: Indices, random: np.random.Generator) -> Array:
    """The same on a surface: uniform points of caps around the cells on its round image, again until they lie inside."""
    cosines = (unit(mesh.nodes)[mesh.corners] * mesh.image[mesh.cells]).sum(axis=1)
    farthest = np.minimum.reduceat(cosines, mesh.first[:-1])
    found, todo = np.empty((cells.size, 3)), np.arange(cells.size)
    while todo.size:
        centre = mesh.image[cells[todo]]
        side = unit(np.cross(centre, np.eye(3)[np.abs(centre).argmin(axis=1)]))
        cosine = 1 - (1 - farthest[cells[todo]]) * random.random(todo.size)
        turn = 2 * np.pi * random.random(todo.size)[:, None]
        around = np.cos(turn) * side + np.sin(turn) * np.cross(centre, side)
        found[todo] = cosine[:, None] * centre + np.sqrt(1 - cosine**2)[:, None] * around
        todo = todo[mesh.cell_of(found[todo]) != cells[todo]]
    return mesh.fold(found)
