"""Cell masses from one grid to another one of the same factors: conservative, positive, factor by factor.

    intervals, circles, ellipses    linear in every cell of the file, with van Leer's limited slope; a new cell has the integral:
                                    second order, positive; the masses of cells that are joined are exact
    labels                          by value
    spheres, ellipsoids             constant in every cell: first order in the width of the cells, second order between two
                                    neighbouring levels. Overlaps are measured by subpoints of the new cells and scaled to the
                                    areas of the cells on both sides, so that constants stay constant up to 2e−4

A factor with the same cells is left alone, bit by bit. Beyond the walls of a new interval mass would be lost: up to CUT_MAX of it
is left out and made up for by the rest, more is an error.
"""

from math import ceil, sqrt

import numpy as np
import scipy

from gridflow.errors import require
from gridflow.output.axes import Axis
from gridflow.output.reader import SavedDensity
from gridflow.space.factor import UNIFORM, Array, Factor
from gridflow.space.grid import Grid
from gridflow.space.mesh import Mesh, surface_of, unit

CUT_MAX = 1e-6
"""Largest share of a mass that a box may cut off: below the discretisation error of every shipped case."""
SUBPOINTS = 40
"""In a cell of the finer of two surfaces: overlaps to a few percent before they are scaled."""
BLOCK = 2**14
"""Half-faces whose subpoints are held at a time."""
SCALINGS = 100
CONSTANT_ERROR = 1e-12
"""Scaling stops here, or after SCALINGS rounds: where boxes are narrower than cells, errors of up to 5e−3 were seen to remain."""


def masses_on(saved: SavedDensity, grid: Grid, purpose: str) -> Array:
    """Masses of a density in a file on the cells of a grid, shape of the grid; their sum is that of the file.

    Raises InputError for other factors, and for a grid that leaves out more than CUT_MAX of the mass.
    """
    where = f"{purpose}: {saved.file!r}"
    names, known = [a.name for a in saved.axes], list(grid.order)
    fix = f"start from a result on {sorted(known)}, or take the space of that case"
    require(sorted(names) == sorted(known), f"{where} is a density over {sorted(names)}", f"over {sorted(known)}", fix)
    masses: Array = np.ascontiguousarray(np.transpose(saved.masses, [names.index(n) for n in known]))
    total, other = masses.sum(), False
    for axis, factor in enumerate(grid.factors):
        old = saved.axes[names.index(factor.name)]
        check_same_space(old, factor, where)
        if not same_cells(old, factor):
            masses, other = moved(masses, axis, old, factor, where), True
    return masses * (total / masses.sum()) if other else masses


def check_same_space(old: Axis, factor: Factor, where: str) -> None:
    """Raises InputError where the factor of a file is another space than the one of the same name."""
    name, fix = factor.name, f"change space.{factor.name}, or start from another file"
    kinds = f"{factor.kind} {name!r} in units {factor.units!r}"
    same = old.kind == factor.kind and old.units == factor.units
    require(same, f"{where} has the {old.kind or 'factor'} {name!r} in units {old.units!r}", kinds, fix)
    if factor.period > 0:
        length = float(old.edges[-1] - old.edges[0])
        same = abs(length - factor.period) <= UNIFORM * factor.period and abs(old.edges[0] - factor.edges[0]) <= UNIFORM * length
        received = f"{where} has the {factor.kind} {name!r} from {old.edges[0]:g} to {old.edges[-1]:g}"
        require(bool(same), received, f"from {factor.edges[0]:g} to {factor.edges[-1]:g}", fix)
    covariance = factor.covariance
    if covariance is not None and not same_cells(old, factor):
        known = old.covariance is not None and old.covariance.size == covariance.size
        same = known and np.allclose(np.ravel(np.asarray(old.covariance)), covariance.ravel(), rtol=UNIFORM, atol=0.0)
        require(bool(same), f"{where} has another covariance of {name!r}", str(covariance.tolist()), fix)


def same_cells(old: Axis, factor: Factor) -> bool:
    """Whether the cells of a file are those of a factor, up to rounding."""
    if old.points.shape != factor.points.shape or old.edges.shape != factor.edges.shape:
        return False
    if surface_of(factor) is not None:
        return bool(np.abs(old.points - factor.points).max() <= UNIFORM * np.abs(factor.points).max())
    if factor.edges.size:
        return bool(np.abs(old.edges - factor.edges).max() <= UNIFORM * factor.volumes.min())
    return bool(np.array_equal(old.points, factor.points))


def moved(masses: Array, axis: int, old: Axis, factor: Factor, where: str) -> Array:
    """The masses with other cells along one axis. Raises InputError where too much would be left out."""
    first = np.moveaxis(masses, axis, 0)
    flat = first.reshape(len(first), -1)
    surface = surface_of(factor)
    if surface is not None:
        new = surface_matrix(unit(old.points), old.areas, surface) @ flat
    elif factor.edges.size:
        new = line_masses(flat, old.edges, factor.edges, factor.period > 0)
    else:
        new = (factor.points[:, None] == old.points) @ flat
    lost = 1 - float(new.sum() / flat.sum())
    held = f"the values {old.points.tolist()}" if not old.edges.size else f"bounds [{old.edges[0]:g}, {old.edges[-1]:g}]"
    received = f"{where} has {lost:.2g} of its mass beyond the {factor.kind} {factor.name!r}"
    require(lost <= CUT_MAX, received, f"at most {CUT_MAX:g}", f"give space.{factor.name} {held}, as in the file, or more")
    return np.moveaxis(new.reshape(-1, *first.shape[1:]), 0, axis)


def line_masses(masses: Array, old: Array, new: Array, around: bool) -> Array:
    """Masses (n_old, k) of cells with ends `old` on the cells with ends `new`, (n_new, k).

    A piece of an old cell with the share f of its width, its middle t widths from that of the cell, has f·(1 + s·t) of its mass;
    |s| ≤ 2 is the slope of the density over a width, divided by its mean.
    """
    ends = np.unique(np.clip(np.concatenate([old, new]), max(old[0], new[0]), min(old[-1], new[-1])))
    middles, width = (ends[1:] + ends[:-1]) / 2, np.diff(old)
    source, target = (np.clip(np.searchsorted(e, middles) - 1, 0, e.size - 2) for e in (old, new))
    share = np.diff(ends) / width[source]
    offset = np.clip((middles - (old[:-1] + old[1:])[source] / 2) / width[source], -0.5, 0.5)
    pieces = masses[source] * (share[:, None] * (1 + limited_slopes(masses, width, around)[source] * offset[:, None]))
    gathered = scipy.sparse.csr_matrix(
        (np.ones(target.size), (target, np.arange(target.size))), shape=(new.size - 1, target.size)
    )
    return np.asarray(gathered @ pieces)


def limited_slopes(masses: Array, width: Array, around: bool) -> Array:
    """Slopes of the density, (n, k), in multiples of its mean per width of the cell: harmonic means of those to both sides.

    0 at walls, at extrema and in empty cells (van Leer, J. Comput. Phys. 14 (1974)); cut at ±2, where the density ends at 0.
    """
    density = masses / width[:, None]
    distance = (width + np.roll(width, -1))[:, None] / 2
    ahead = (np.roll(density, -1, axis=0) - density) / distance
    behind = np.roll(ahead, 1, axis=0)
    if not around:
        ahead[-1], behind[0] = 0.0, 0.0
    with np.errstate(over="ignore"):  # beside a full cell one that is all but empty has a slope beyond all numbers, which is cut
        scaled = [np.divide(s * width[:, None], density, out=np.zeros_like(s), where=density > 0) for s in (ahead, behind)]
    agree = (np.sign(scaled[0]) == np.sign(scaled[1])) & (scaled[0] != 0)
    low, high = (np.where(agree, f(np.abs(scaled[0]), np.abs(scaled[1])), 1.0) for f in (np.minimum, np.maximum))
    return np.where(agree, np.sign(scaled[0]) * np.minimum(2 * low / (1 + low / high), 2.0), 0.0)


def surface_matrix(points: Array, areas: Array, surface: Mesh) -> "scipy.sparse.csr_matrix":
    """Shares of the masses of old cells, whose points (n_old, 3) lie on the unit sphere, that new cells get: (n_new, n_old).

    Columns sum to 1.
    """
    tree = scipy.spatial.KDTree(points)
    parts = max(1, ceil(sqrt(SUBPOINTS / 6 * max(1.0, len(points) / surface.size))))
    rows, columns, weights = [], [], []
    following = np.arange(surface.corners.size) + 1
    following[surface.first[1:] - 1] = surface.first[:-1]
    corners = unit(surface.nodes)[surface.corners]
    for start in range(0, following.size, BLOCK):
        half = slice(start, min(start + BLOCK, following.size))
        triangle = np.stack([surface.image[surface.cells[half]], corners[half], corners[following[half]]], axis=1)
        flat = barycentres(parts) @ triangle
        size = np.linalg.norm(np.cross(triangle[:, 1] - triangle[:, 0], triangle[:, 2] - triangle[:, 0]), axis=1)
        length = np.linalg.norm(flat, axis=2)
        rows.append(np.repeat(surface.cells[half], flat.shape[1]))
        columns.append(tree.query((flat / length[:, :, None]).reshape(-1, 3))[1])
        weights.append((size[:, None] / length**3).ravel())
    found = (np.concatenate(weights), (np.concatenate(rows), np.concatenate(columns)))
    overlap = scipy.sparse.coo_matrix(found, shape=(surface.size, len(points))).tocsr()
    missed = np.flatnonzero(np.asarray(overlap.sum(axis=0)).ravel() == 0)
    if missed.size:  # cells without any subpoint give all to the nearest one
        overlap = overlap + scipy.sparse.csr_matrix(
            (areas[missed], (surface.cell_of(points[missed]), missed)), shape=overlap.shape
        )
    scaled = scale_to_areas(overlap, surface.volumes, areas * (surface.volumes.sum() / areas.sum()))
    return (scaled @ scipy.sparse.diags(1 / np.asarray(scaled.sum(axis=0)).ravel())).tocsr()


def barycentres(parts: int) -> Array:
    """Centres of the parts² triangles into which a triangle is cut, as barycentric coordinates, (parts², 3)."""
    upward = [(i + 1 / 3, j + 1 / 3) for i in range(parts) for j in range(parts - i)]
    downward = [(i + 2 / 3, j + 2 / 3) for i in range(parts) for j in range(parts - i - 1)]
    second, third = np.array(upward + downward).T / parts
    return np.stack([1 - second - third, second, third], axis=1)


def scale_to_areas(weights: "scipy.sparse.csr_matrix", rows: Array, columns: Array) -> "scipy.sparse.csr_matrix":
    """diag(a) W diag(b) whose rows sum to about `rows`, and its columns to `columns` exactly (Sinkhorn)."""
    b = columns / (weights.T @ np.ones(rows.size))
    for _ in range(SCALINGS):
        a = rows / (weights @ b)
        b = columns / (weights.T @ a)
        if np.abs(a * (weights @ b) / rows - 1).max() < CONSTANT_ERROR:
            break
    return (scipy.sparse.diags(a) @ weights @ scipy.sparse.diags(b)).tocsr()
