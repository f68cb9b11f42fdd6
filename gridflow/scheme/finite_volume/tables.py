"""Tables of the face sweep: what it needs of a grid, as plain arrays. Leading factors are all but the last, K of them."""

from typing import Any, NamedTuple

import numpy as np

from gridflow.space.factor import Array, Factor
from gridflow.space.grid import Grid
from gridflow.space.mesh import surface_of

SHRINK = 1.0 - 16 * float(np.finfo(float).eps)
"""Face values are extrapolated over this share of the distance: beside an empty cell ρ_f = ρ_a − ρ_a, and no rounding of
the product d·t may turn that negative."""


class Tables(NamedTuple):
    """Per factor k; per cell of all factors, one after the other; per face of all surfaces; and for the last factor alone."""

    size: np.ndarray  # (K,) cells of the leading factors
    stride: np.ndarray  # (K,) rows between neighbours
    has_faces: np.ndarray  # (K,) along a coordinate
    is_periodic: np.ndarray  # (K + 1,) the last entry is the last factor
    cell: np.ndarray  # (K + 1,) first cell of a factor in the next five
    inverse_volume: np.ndarray  # (n_cells,) 1/V
    around: np.ndarray  # (n_cells, 4) rows from a cell to the second and the first before, the first and the second after it
    rate: np.ndarray  # (n_cells, 2) A/d of the faces before and after a cell
    distance: np.ndarray  # (n_cells, 2) their d, shrunk by SHRINK
    inverse_distance: np.ndarray  # (n_cells, 4) 1/d of the faces between the cells `around`, 0 at walls: no difference there
    buffer: np.ndarray  # (K,) first buffer row of a factor
    buffers: int  # buffer rows of all factors
    mobility: np.ndarray  # (K + 1, rows), per row
    has_polygons: np.ndarray  # (K + 1,) a surface
    mesh_face: np.ndarray  # (K + 2,) faces of all meshes: those of factor k are mesh_face[k]:mesh_face[k + 1]
    ends: np.ndarray  # (n_faces, 2) cells on both sides
    mesh_rate: np.ndarray  # (n_faces,) A/d
    behind: np.ndarray  # (n_faces, 4) two cells behind either end
    weights: np.ndarray  # (n_faces, 4)
    mesh_sum: np.ndarray  # (rows, m) working memory for meshes, one row without any: fresh memory would cost more than the sums
    mesh_out: np.ndarray
    last_rate: np.ndarray  # the same for the last factor, (m + 1,) per face or (m,)
    last_distance: np.ndarray
    last_inverse_distance: np.ndarray
    last_inverse_volume: np.ndarray
    last_volume: np.ndarray
    row_volume: np.ndarray  # (rows,) volume of the leading factors


def sweep_tables(grid: Grid) -> Tables:
    """The tables of a grid."""
    leading, last = grid.factors[:-1], grid.factors[-1]
    sizes = [f.size for f in leading]
    rows = int(np.prod(sizes))
    stride = [int(np.prod(sizes[k + 1 :])) for k in range(len(leading))]
    mobility = np.array([np.broadcast_to(m, (*sizes, 1)).reshape(rows) for m in grid.mobility], dtype=float)
    meshes = [surface_of(f) for f in grid.factors]
    buffers = [s if f.one_dimensional else 0 for f, s in zip(leading, stride, strict=True)]
    return Tables(
        size=np.array(sizes, dtype=np.int64),
        stride=np.array(stride, dtype=np.int64),
        has_faces=np.array([f.one_dimensional for f in leading], dtype=np.bool_),
        is_periodic=np.array([f.period > 0 for f in grid.factors], dtype=np.bool_),
        cell=starts([*sizes, last.size]),
        inverse_volume=joined([1 / f.volumes for f in grid.factors]),
        around=joined([cells_around(f) * s for f, s in zip(leading, stride, strict=True)], 4).astype(np.int64),
        rate=joined([faces_around(f, f.areas / f.distances)[:, 1:3] for f in leading], 2),
        distance=joined([faces_around(f, f.distances * SHRINK)[:, 1:3] for f in leading], 2),
        inverse_distance=joined([faces_around(f, inverse_distance(f)) for f in leading], 4),
        buffer=starts(buffers),
        buffers=sum(buffers),
        mobility=mobility,
        has_polygons=np.array([m is not None for m in meshes], dtype=np.bool_),
        mesh_face=np.cumsum([0, *(len(m.once) if m else 0 for m in meshes)]),
        ends=joined([np.stack(m.faces[:2], axis=1) for m in meshes if m], 2).astype(np.int64),
        mesh_rate=joined([m.faces.rate for m in meshes if m]),
        behind=joined([np.hstack([m.behind, m.behind[m.reverse]])[m.once] for m in meshes if m], 4).astype(np.int64),
        weights=joined([np.hstack([m.weights, m.weights[m.reverse]])[m.once] for m in meshes if m], 4),
        mesh_sum=np.zeros((rows if any(meshes) else 1, last.size)),
        mesh_out=np.zeros((rows if any(meshes) else 1, last.size)),
        last_rate=last.areas / last.distances if last.one_dimensional else np.zeros(last.size + 1),
        last_distance=last.distances * SHRINK if last.one_dimensional else np.ones(last.size + 1),
        last_inverse_distance=inverse_distance(last) if last.one_dimensional else np.zeros(last.size + 1),
        last_inverse_volume=1 / last.volumes,
        last_volume=last.volumes,
        row_volume=np.ascontiguousarray(grid.volume.reshape(rows, last.size)[:, 0] / last.volumes[0]),
    )


def joined(values: list[Any], *columns: int) -> Array:
    """Arrays of all factors one after the other, (n,) or (n, columns); n may be 0."""
    return np.concatenate([np.zeros((0, *columns)), *values])


def starts(counts: list[int]) -> np.ndarray:
    """Where each of so many entries begin, put one after the other."""
    return np.cumsum([0, *counts])[:-1].astype(np.int64)


def cells_around(factor: Factor) -> Array:
    """From every cell to the second and first one before and the first and second one after it, (n_cells, 4); walls stop them."""
    cells = np.arange(factor.size)[:, None]
    around = cells + np.array([-2, -1, 1, 2])
    return (around % factor.size if factor.period > 0 else np.clip(around, 0, factor.size - 1)) - cells


def faces_around(factor: Factor, values: Array) -> Array:
    """Values of faces, (n_cells + 1,), at two faces before and two after every cell, (n_cells, 4); without faces 0."""
    if not factor.one_dimensional:
        return np.zeros((factor.size, 4))
    faces = np.arange(factor.size)[:, None] + np.array([-1, 0, 1, 2])
    return values[faces % factor.size if factor.period > 0 else np.clip(faces, 0, factor.size)]


def inverse_distance(factor: Factor) -> Array:
    """1/d of every face, (n_cells + 1,), 0 at walls."""
    return np.where(factor.areas > 0, 1 / factor.distances, 0.0)


def upwind_ratio(grid: Grid) -> float:
    """κ = 1 + the largest ratio of the distances on both sides of a cell: ρ_f ≤ κ ρ_a (2 on uniform grids)."""
    ratio = max([float(m.weights.sum(axis=1).max()) for m in map(surface_of, grid.factors) if m is not None], default=0.0)
    for factor in grid.factors:
        open_faces = factor.distances[factor.areas > 0]
        quotient = open_faces[1:] / open_faces[:-1]
        ratio = max(ratio, quotient.max(initial=0.0), (1 / quotient).max(initial=0.0))
    return 1.0 + ratio
