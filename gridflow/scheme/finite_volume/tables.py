"""Tables of the face sweep: what it needs of a grid, as plain arrays. Leading factors are all but the last."""

from typing import NamedTuple

import numpy as np

from gridflow.space.factor import Array, Factor
from gridflow.space.grid import Grid
from gridflow.space.labels import Labels
from gridflow.space.mesh import surface_of

SHRINK = 1.0 - 16 * float(np.finfo(float).eps)
"""Face values are extrapolated over this share of the distance: beside an empty cell ρ_f = ρ_a − ρ_a, and no rounding of
the product may turn that negative."""
BAND_CELLS, BANDS_MAX = 2**15, 16
"""Cells that a band has at least, and the most bands. They depend on the grid alone, so that results do not depend on threads.
A band computes the fluxes into its first rows once more; it takes some microseconds to hand to a thread, and sixty to sweep."""
PAGE, SHIFT = 512, 42
"""Numbers in a page of memory, and between the places of a page at which two rows start."""


class Rows(NamedTuple):
    """What the sweep needs of lines, circles and labels. L leading factors: those with faces, or one in which nothing moves.

    Cells and faces of the leading factors come one after the other; those of the last factor stand alone.
    """

    leading: np.ndarray  # (L, 4) cells, rows between neighbours, first cell in `around`, first buffer row
    around: np.ndarray  # (n_cells, 4) rows from a cell to the second and the first before, the first and the second after it
    faces: np.ndarray  # (n_cells, 2, 3) the faces before and after a cell, see `face_table`
    inverse_volume: np.ndarray  # (n_cells,) 1/V
    buffers: int  # buffer rows of all factors
    mobility: np.ndarray  # (L + 1, rows), the last entry is the last factor
    last_faces: np.ndarray  # (3, m + 1) `face_table` of the last factor
    last_cells: np.ndarray  # (2, m) 1/V and V of the last factor
    edges: np.ndarray  # (4, 5) two faces at either end of the last factor: the face, the cell behind, before, after and beyond it
    row_volume: np.ndarray  # (rows,) volume of the leading factors
    mesh_gain: np.ndarray  # (rows, m) what surfaces bring, one row without any: fresh memory would cost more than the sums
    mesh_outflow: np.ndarray
    adds: bool  # whether more than one leading factor, or a surface, adds to a row


class Surfaces(NamedTuple):
    """What it needs of surfaces: per factor k of all K, and per face of all surfaces."""

    size: np.ndarray  # (K - 1,) cells of the leading factors
    stride: np.ndarray  # (K - 1,) rows between neighbours
    has_polygons: np.ndarray  # (K,)
    first_cell: np.ndarray  # (K,) of a factor in `inverse_volume`
    inverse_volume: np.ndarray  # (n_cells,)
    mobility: np.ndarray  # (K, rows)
    first_face: np.ndarray  # (K + 1,) faces of factor k are first_face[k]:first_face[k + 1]
    ends: np.ndarray  # (n_faces, 2) cells on both sides
    rate: np.ndarray  # (n_faces,) A/d
    behind: np.ndarray  # (n_faces, 4) two cells behind either end
    weights: np.ndarray  # (n_faces, 4)


class Tables(NamedTuple):
    """All of them."""

    rows: Rows
    surfaces: Surfaces | None  # None without one
    bands: np.ndarray  # (n_bands + 1,) rows bands[k]:bands[k + 1] are swept apart from others
    work: list[np.ndarray]  # (3 + buffers, > m) for each band: kernels own no memory (`gridflow.scheme.finite_volume.compiler`)


def sweep_tables(grid: Grid) -> Tables:
    """The tables of a grid."""
    sizes = [f.size for f in grid.factors[:-1]]
    rows = int(np.prod(sizes))
    mobility = np.array([np.broadcast_to(m, (*sizes, 1)).reshape(rows) for m in grid.mobility], dtype=float)
    meshes = any(surface_of(f) is not None for f in grid.factors)
    tables = row_tables(grid, mobility, meshes)
    count = min(rows, max(1, min(BANDS_MAX, grid.size // BAND_CELLS)))
    bands = np.array([rows * k // count for k in range(count + 1)])
    work = [working_memory(3 + tables.buffers, grid.factors[-1].size + 1) for _ in range(count)]
    return Tables(tables, surface_tables(grid, mobility) if meshes else None, bands, work)


def working_memory(rows: int, columns: int) -> np.ndarray:
    """Uninitialised memory of at least this shape, whose long rows start at different places of a page.

    Where the rows of fields are as long as a page, all of them start at one place, and processors confuse what is written and
    what is read at the same place of two pages: on grids of 512² a sweep takes up to half as long again.
    """
    pitch = columns if columns < PAGE // 2 else -(-columns // PAGE) * PAGE + SHIFT
    memory = np.empty(rows * pitch + PAGE)
    start = (SHIFT - memory.ctypes.data // memory.itemsize) % PAGE
    return memory[start : start + rows * pitch].reshape(rows, pitch)


def row_tables(grid: Grid, mobility: Array, meshes: bool) -> Rows:
    """mobility : (n_factors, rows); meshes : whether there is a surface"""
    last, rows = grid.factors[-1], mobility.shape[1]
    numbers = [k for k, f in enumerate(grid.factors[:-1]) if f.one_dimensional]
    leading = [grid.factors[k] for k in numbers] or [Labels(values=[0.0]).factor("")]
    strides = [int(np.prod([f.size for f in grid.factors[k + 1 : -1]])) for k in numbers] or [1]
    sizes = [f.size for f in leading]
    return Rows(
        leading=np.stack([sizes, strides, starts(sizes), starts(strides)], axis=1).astype(np.int64),
        around=np.concatenate([cells_around(f) * s for f, s in zip(leading, strides, strict=True)]).astype(np.int64),
        faces=np.concatenate([faces_of_cells(f) for f in leading]),
        inverse_volume=np.concatenate([1 / f.volumes for f in leading]),
        buffers=sum(strides),
        mobility=mobility[[*numbers, -1]] if numbers else mobility[[-1, -1]],
        last_faces=face_table(last),
        last_cells=np.stack([1 / last.volumes, grid.weights[-1]]),
        edges=edges(last),
        row_volume=grid.flat_volumes(tuple(range(len(grid.shape) - 1))),
        mesh_gain=np.zeros((rows if meshes else 1, last.size)),
        mesh_outflow=np.zeros((rows if meshes else 1, last.size)),
        adds=meshes or len(numbers) > 1,
    )


def surface_tables(grid: Grid, mobility: Array) -> Surfaces:
    """mobility : (n_factors, rows)"""
    sizes = [f.size for f in grid.factors]
    meshes = [surface_of(f) for f in grid.factors]
    found = [m for m in meshes if m is not None]
    return Surfaces(
        size=np.array(sizes[:-1], dtype=np.int64),
        stride=np.array([np.prod(sizes[k + 1 : -1]) for k in range(len(sizes) - 1)], dtype=np.int64),
        has_polygons=np.array([m is not None for m in meshes], dtype=np.bool_),
        first_cell=starts(sizes),
        inverse_volume=np.concatenate([1 / f.volumes for f in grid.factors]),
        mobility=mobility,
        first_face=np.cumsum([0, *(0 if m is None else len(m.once) for m in meshes)]),
        ends=np.concatenate([np.stack(m.faces[:2], axis=1) for m in found]).astype(np.int64),
        rate=np.concatenate([m.faces.rate for m in found]),
        behind=np.concatenate([np.hstack([m.behind, m.behind[m.reverse]])[m.once] for m in found]).astype(np.int64),
        weights=np.concatenate([np.hstack([m.weights, m.weights[m.reverse]])[m.once] for m in found]),
    )


def starts(counts: list[int]) -> np.ndarray:
    """Where each of so many entries begin, put one after the other."""
    return np.cumsum([0, *counts])[:-1].astype(np.int64)


def cells_around(factor: Factor) -> Array:
    """From every cell to the second and first one before and the first and second one after it, (n_cells, 4); walls stop them."""
    cells = np.arange(factor.size)[:, None]
    around = cells + np.array([-2, -1, 1, 2])
    return (around % factor.size if factor.period > 0 else np.clip(around, 0, factor.size - 1)) - cells


def face_table(factor: Factor) -> Array:
    """Of every face, (3, n_cells + 1): A/d, and d over the distances to the cells behind those before and after it, 0 at walls.

    Without faces 0.
    """
    if not factor.one_dimensional:
        return np.zeros((3, factor.size + 1))
    faces, distances = np.arange(factor.size + 1), factor.distances
    inverse = np.where(factor.areas > 0, 1 / distances, 0.0)
    if factor.period > 0:  # the first face is the last one
        before, after = (faces - 1) % factor.size, (faces + 1) % factor.size
    else:
        before, after = np.maximum(faces - 1, 0), np.minimum(faces + 1, factor.size)
    return np.stack([factor.areas / distances, distances * inverse[before], distances * inverse[after]])


def faces_of_cells(factor: Factor) -> Array:
    """The face table at the faces before and after every cell, (n_cells, 2, 3)."""
    table = face_table(factor).T
    return np.stack([table[:-1], table[1:]], axis=1)


def edges(factor: Factor) -> np.ndarray:
    """The two faces at either end: the face, and the cells behind, before, after and beyond it, (4, 5); walls stop them."""
    faces = np.minimum([0, 1, factor.size - 1, factor.size], factor.size)[:, None]
    cells = faces + np.array([-2, -1, 0, 1])
    cells = cells % factor.size if factor.period > 0 else np.clip(cells, 0, factor.size - 1)
    return np.hstack([faces, cells]).astype(np.int64)


def upwind_ratio(grid: Grid) -> float:
    """κ = 1 + the largest ratio of the distances on both sides of a cell: ρ_f ≤ κ ρ_a (2 on uniform grids)."""
    ratio = max([float(m.weights.sum(axis=1).max()) for m in map(surface_of, grid.factors) if m is not None], default=0.0)
    for factor in grid.factors:
        open_faces = factor.distances[factor.areas > 0]
        quotient = open_faces[1:] / open_faces[:-1]
        ratio = max(ratio, quotient.max(initial=0.0), (1 / quotient).max(initial=0.0))
    return 1.0 + ratio
