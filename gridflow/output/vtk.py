"""Densities for ParaView and other readers of VTK: cells with their true shape, one file per saved time.

The cells are those of one surface, polygons with five or six corners, or of one to three intervals and circles, laid out flat.
Other factors of the space are summed over (the marginal), or give one array for each of their cells:

    density                     where all factors are drawn, or the others are summed over
    density a=0.5 s=1           one for each cell of the others
    cell_volume                 length, area or volume of the drawn cells
    TimeValue, other_volumes    fields: the time; volumes of the cells of the others in the order of the arrays

so that the mass is Σ_j other_volumes_j Σ_i density_ij cell_volume_i, to round-off.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import xarray

from gridflow.errors import require, suggestion
from gridflow.files import check_new_file, check_new_folder, folder_replaced_by
from gridflow.output.kept import replaced_by
from gridflow.output.saves import Time, at_time
from gridflow.output.spaces import bounds_name, coordinate, factor_dims
from gridflow.output.ugrid import mesh_names, topology_names, unit_vectors
from gridflow.output.unstructured import HEXAHEDRON, LINE, POLYGON, QUAD, Cells, write_collection, write_unstructured
from gridflow.space.factor import Array

ENDINGS = {".vtu", ".pvd"}
ARRAYS_MAX = 256
"""Arrays of one variable in one file: more are found by nobody."""
PRODUCT_ERROR = 1e-5
"""Relative difference of cell volumes from products: rounded to single precision, files have less."""


@dataclass(frozen=True)
class Drawing:
    """What is drawn: factors and their cells with volumes (n_cells,); others, and volumes of their cells (n_other_cells,)."""

    names: tuple[str, ...]
    cells: Cells
    volumes: Array
    others: tuple[str, ...]
    other_volumes: Array


def folder_of(target: Path) -> Path:
    """The folder with the files of a collection."""
    return target.with_name(f"{target.stem}_vtu")


def check_target(target: Path, overwrite: bool) -> None:
    """Raises InputError, before any work is done, for outputs that exist or cannot be written."""
    check_new_file(target, ENDINGS, overwrite)
    if target.suffix == ".pvd":
        check_new_folder(folder_of(target), overwrite, lambda path: path.suffix == ".vtu", "files .vtu")


def to_vtk(
    dataset: xarray.Dataset,
    output: str | Path,
    time: Time = None,
    along: Sequence[str] = (),
    marginal: bool = False,
    overwrite: bool = False,
) -> None:
    """Writes the density of a dataset, at a saved time or at all; see `write_vtk`."""
    check_target(Path(output), overwrite)
    write_vtk(at_time(dataset, time, "a file for VTK"), Path(output), along=along, marginal=marginal)


def write_vtk(
    dataset: xarray.Dataset,
    target: Path,
    variables: Sequence[str] = ("density",),
    along: Sequence[str] = (),
    marginal: bool = False,
) -> None:
    """Writes a .vtu of one time, or a .pvd and a folder NAME_vtu with a file per time.

    variables : with the dimensions of the drawn factors
    along : factors to draw, one surface, or up to three lines, the first along x; by default the only surface, or all lines
    marginal : sum the mass over the other factors, of the density alone

    Raises InputError for what cannot be drawn. The outputs are complete or absent; one time is in memory beside the dataset.
    """
    drawing = drawing_of(dataset, along)
    check_variables(dataset, drawing, variables, marginal)
    times = dataset["time"].to_numpy() if "time" in dataset["density"].dims else np.zeros(0)
    if target.suffix == ".vtu":
        received, fix = f"{times.size} saved times in one .vtu", f"write {target.stem}.pvd, or choose one: --time last"
        require(times.size < 2, received, "one time", fix)
        with replaced_by(target) as part:
            write_time(dataset.isel(time=0) if times.size else dataset, part, drawing, variables, marginal)
        return
    require(times.size > 0, "a .pvd of a density without times", "saved times", f"write {target.stem}.vtu")
    digits = len(str(times.size - 1))
    names = [f"{k:0{digits}d}.vtu" for k in range(times.size)]
    folder = folder_of(target)
    with replaced_by(target) as collection, folder_replaced_by(folder) as part:
        for k, name in enumerate(names):
            write_time(dataset.isel(time=k), part / name, drawing, variables, marginal)
        write_collection(collection, dict(zip([f"{folder.name}/{n}" for n in names], times.tolist(), strict=True)))


def drawing_of(dataset: xarray.Dataset, along: Sequence[str]) -> Drawing:
    """The cells to draw. Raises InputError for factors that cannot be, and where they are to be named."""
    order, surfaces = factor_dims(dataset), mesh_names(dataset)
    numbering = [str(d) for d in dataset["density"].dims if d not in ("time", *order)]
    fix = f"choose one: ds.isel({numbering[0] if numbering else 'sweep'}=0)"
    require(not numbering, f"densities along {', '.join(numbering)} in VTK", "one density per time", fix)
    lines = [n for n in order if n not in surfaces and bounds_name(dataset, n) is not None]
    drawable = [n for n in order if n in surfaces or n in lines]
    for name in along:
        fix = suggestion(name, drawable) or "use one of these, or write a .csv"
        require(name in drawable, f"cells along {name!r}", f"a surface, interval or circle: {', '.join(drawable)}", fix)
    require(bool(drawable), f"cells of {', '.join(order)}: labels", "a surface, an interval or a circle", "write a .csv")
    names = tuple(dict.fromkeys(along)) or tuple(surfaces or lines)
    fits = len(names) == 1 or (len(names) <= 3 and not set(names) & set(surfaces))
    fix = f"add --along {drawable[0]} (along=[{drawable[0]!r}]), and --marginal to sum over the others"
    require(fits, f"cells along {', '.join(names)}", "one surface, or up to three intervals and circles", fix)
    cells, volumes = surface_cells(dataset, names[0]) if names[0] in surfaces else line_cells(dataset, names)
    others = tuple(n for n in order if n not in names)
    whole = dataset["cell_volume"].transpose(*names, *others).to_numpy().reshape(volumes.size, -1)
    other_volumes = whole[0] / volumes[0]
    same = np.allclose(whole, volumes[:, None] * other_volumes, rtol=PRODUCT_ERROR, atol=0.0)
    received, allowed = "a cell_volume that is no product", f"volumes along {', '.join(names)} times those of the others"
    require(bool(same), received, allowed, "write a .csv")
    return Drawing(names, cells, volumes, others, other_volumes)


def surface_cells(dataset: xarray.Dataset, name: str) -> tuple[Cells, Array]:
    """Polygons between the corners of the cells of a surface, and its areas (those of polygons are smaller, to second order)."""
    missing = [n for n in (*topology_names(name), f"{name}_points", f"{name}_area") if n not in dataset.variables]
    received = f"the surface {name!r} without {', '.join(missing)}"
    require(not missing, received, "all that gridflow writes about a surface", "keep these variables")
    degrees = [dataset[f"{name}_node_{axis}"].to_numpy() for axis in ("lon", "lat")]
    points = unit_vectors(*np.radians(degrees))
    covariance = dataset[f"{name}_points"].attrs.get("covariance")
    if covariance is not None:
        points /= np.sqrt(np.einsum("ni,ij,nj->n", points, np.reshape(covariance, (3, 3)), points))[:, None]
    table = dataset[f"{name}_face_nodes"].to_numpy()
    present = np.isfinite(table) & (table >= 0)
    ends = np.cumsum(present.sum(axis=1))
    return Cells(points, table[present].astype(np.int64), ends, POLYGON), dataset[f"{name}_area"].to_numpy()


def line_cells(dataset: xarray.Dataset, names: tuple[str, ...]) -> tuple[Cells, Array]:
    """Lines, rectangles or boxes in the plane or in space, the first factor along x, and their lengths, areas or volumes."""
    edges = [coordinate(dataset[n], dataset[str(bounds_name(dataset, n))].to_numpy()).edges for n in names]
    grids = np.meshgrid(*edges, indexing="ij")
    points = np.zeros((grids[0].size, 3))
    points[:, : len(names)] = np.stack([g.ravel() for g in grids], axis=1)
    steps = [(0, 0, 0), (1, 0, 0), (1, 1, 0), (0, 1, 0), (0, 0, 1), (1, 0, 1), (1, 1, 1), (0, 1, 1)][: 2 ** len(names)]
    shape = [e.size for e in edges]
    numbers = np.arange(grids[0].size).reshape(shape)
    inner = [numbers[tuple(slice(s, n - 1 + s) for s, n in zip(step, shape, strict=False))].ravel() for step in steps]
    corners = np.stack(inner, axis=1).ravel()
    volumes = reduce(np.multiply.outer, [np.diff(e) for e in edges]).ravel()
    ends = len(steps) * np.arange(1, volumes.size + 1)
    return Cells(points, corners, ends, (LINE, QUAD, HEXAHEDRON)[len(names) - 1]), volumes


def check_variables(dataset: xarray.Dataset, drawing: Drawing, variables: Sequence[str], marginal: bool) -> None:
    """Raises InputError for variables that are no numbers on the drawn cells, and for too many arrays."""
    for name in variables:
        dims = {str(d) for d in dataset[name].dims}
        received = f"{name!r} ({', '.join(map(str, dataset[name].dims))}) in VTK"
        allowed = f"(time, {', '.join(drawing.names)}, …)"
        inside = set(drawing.names) <= dims <= {"time", *drawing.names, *drawing.others}
        require(inside, received, allowed, "write it to a .csv or .nc")
        require(not marginal or name == "density", f"the marginal of {name!r}", "that of density", "leave out --marginal")
        count = drawing.other_volumes.size
        received = f"{count} arrays, one for each cell of {', '.join(drawing.others)}"
        fix = "sum over them (--marginal, marginal=True)"
        require(marginal or count <= ARRAYS_MAX, received, f"at most {ARRAYS_MAX}", fix)


def write_time(dataset: xarray.Dataset, path: Path, drawing: Drawing, variables: Sequence[str], marginal: bool) -> None:
    """Writes one time."""
    fields = {"TimeValue": np.array([float(dataset["time"])])} if "time" in dataset.coords else {}
    arrays = {"cell_volume": drawing.volumes}
    if marginal or not drawing.others:
        for name in variables:
            values = dataset[name].transpose(*drawing.names, *drawing.others).to_numpy()
            flat = values.reshape(drawing.volumes.size, drawing.other_volumes.size)
            arrays[name] = flat @ drawing.other_volumes if drawing.others else flat[:, 0]
    else:
        fields["other_volumes"] = drawing.other_volumes
        for name in variables:
            arrays |= slices(dataset[name], drawing)
    write_unstructured(path, drawing.cells, arrays, fields)


def slices(variable: xarray.DataArray, drawing: Drawing) -> dict[str, Any]:
    """One array for each cell of the other factors that the variable has, by its name and their values."""
    others = [n for n in drawing.others if n in variable.dims]
    words = [[f"{n}={word}" for word in short(variable, n)] for n in others]
    values = variable.transpose(*others, *drawing.names).to_numpy().reshape(-1, drawing.volumes.size)
    return {" ".join([str(variable.name), *chosen]): v for chosen, v in zip(product(*words), values, strict=True)}


def short(variable: xarray.DataArray, name: str) -> list[str]:
    """The values of a factor in few digits that tell them apart; numbers of cells where it has no values, as on a surface."""
    values = variable[name].to_numpy().tolist()
    words = [f"{v:.6g}" for v in values]
    return words if len(set(words)) == len(words) else [repr(v) for v in values]
