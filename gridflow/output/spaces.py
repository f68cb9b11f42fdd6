"""The space of a dataset, from its coordinates alone: what follows the schema is read, whoever wrote it.

The dimensions of `cell_volume` are the factors. NAME is a circle where its coordinate has the attribute `period`, an interval
where it has bounds, a surface where the dataset has its mesh (`gridflow.output.ugrid`), and labels otherwise, whose volumes are
the attribute `volumes`, or what the other factors leave of `cell_volume`. All other dimensions of `density`, time first, number
densities on that space.
"""

from functools import reduce

import numpy as np
import xarray

from gridflow.errors import require
from gridflow.output.ugrid import mesh_names
from gridflow.space.circle import CircleFactor
from gridflow.space.coordinate import face_distances
from gridflow.space.ellipsoid import mesh_ellipsoid
from gridflow.space.factor import Array, Factor
from gridflow.space.grid import Grid
from gridflow.space.labels import LabelsFactor
from gridflow.space.line import LineFactor
from gridflow.space.mesh import Mesh, unit
from gridflow.space.sphere import mesh_sphere, outward_triangles

PRODUCT_ERROR = 1e-9
"""Relative difference of cell volumes from the products of lengths and areas: both are written in double precision."""
SCHEMA = "a dataset with density (time, …) and cell_volume (…) on one dimension for each factor, as gridflow.solve returns it"


def check_schema(dataset: xarray.Dataset, purpose: str) -> None:
    """Raises InputError for a dataset that has no density per volume on cells."""
    missing = sorted({"density", "cell_volume"} - set(map(str, dataset.variables)))
    received = f"{purpose} of a dataset without {' and '.join(missing)}"
    require(not missing, received, SCHEMA, "open a result with gridflow.open(path), or add these variables")
    others = sorted(set(map(str, dataset["cell_volume"].dims)) - set(map(str, dataset["density"].dims)))
    received = f"{purpose} of a dataset whose density lacks the dimensions {', '.join(others)} of cell_volume"
    require(not others, received, SCHEMA, "keep every factor, or take marginals with ds.gridflow.marginal")


def factor_dims(dataset: xarray.Dataset) -> tuple[str, ...]:
    """Names of the factors."""
    return tuple(map(str, dataset["cell_volume"].dims))


def grid_of(dataset: xarray.Dataset) -> Grid:
    """The grid of a dataset. Raises InputError where cells are no products of intervals, circles, surfaces and labels."""
    names, surfaces = factor_dims(dataset), mesh_names(dataset)
    found: dict[str, Factor] = {n: surface(dataset, n) for n in names if n in surfaces}
    for name in names:
        if name not in found and (bounds := bounds_name(dataset, name)) is not None:
            found[name] = coordinate(dataset[name], dataset[bounds].to_numpy())
    labels = [n for n in names if n not in found]
    stated = {n: np.atleast_1d(dataset[n].attrs.get("volumes", [])) for n in labels}
    found |= {n: label_factor(dataset, n, v) for n, v in stated.items() if v.size == dataset.sizes[n]}  # all labels are kept
    labels = [n for n in labels if n not in found]
    volumes = dataset["cell_volume"].transpose(*found, *labels).to_numpy()
    rest = volumes[(0,) * len(found)] / np.prod([f.volumes[0] for f in found.values()])
    for axis, name in enumerate(labels):
        along = rest[tuple(slice(None) if k == axis else 0 for k in range(len(labels)))]
        found[name] = label_factor(dataset, name, along if axis == 0 else along / along[0])
    product = reduce(np.multiply.outer, [f.volumes for f in found.values()], np.ones(()))
    received = "a cell_volume that is not the product of the lengths, areas and label volumes of its factors"
    same = bool(np.allclose(product, volumes, rtol=PRODUCT_ERROR, atol=0.0))
    fix = "use integrate, or choose labels as lists, which keeps their dimension: ds.sel(NAME=[value])"
    require(same, received, "cells that are products", fix)
    return Grid(list(found.values()))


def bounds_name(dataset: xarray.Dataset, name: str) -> str | None:
    """The variable with the ends of cells: that which the attribute `bounds` names, in memory or of the file, or NAME_bounds."""
    if name not in dataset.coords:
        return None
    coordinate = dataset[name]
    named = (coordinate.attrs.get("bounds"), coordinate.encoding.get("bounds"), f"{name}_bounds")
    return next((str(n) for n in named if n in dataset.variables), None)


def coordinate(points: xarray.DataArray, bounds: Array) -> LineFactor | CircleFactor:
    """An interval or a circle. Raises InputError for cells that do not follow each other."""
    name, period = str(points.name), float(points.attrs.get("period", 0.0))
    received = f"the coordinate {name!r} with cells that leave gaps, overlap or decrease"
    follow = bounds.shape == (points.size, 2) and np.allclose(bounds[1:, 0], bounds[:-1, 1]) and (np.diff(bounds) > 0).all()
    require(bool(follow), received, "cells one after the other", f"sort it: ds.sortby({name!r})")
    edges = np.append(bounds[:, 0], bounds[-1, 1])
    x, units = points.to_numpy().astype(float), str(points.attrs.get("units", "1"))
    if period == 0:
        return LineFactor(name, "interval", units, x, np.diff(edges), edges, face_distances(x, edges, 0.0))
    received = f"the circle {name!r} of period {period:g} with cells of {edges[-1] - edges[0]:g} in all"
    whole = bool(np.isclose(edges[-1] - edges[0], period))
    require(whole, received, "cells that make up one turn", "keep all cells, or remove the attribute period")
    return CircleFactor(name, "circle", units, x, np.diff(edges), edges, face_distances(x, edges, period))


def label_factor(dataset: xarray.Dataset, name: str, volumes: Array) -> LabelsFactor:
    """Labels; without a coordinate they are numbered. Raises InputError for words."""
    values = dataset[name].to_numpy() if name in dataset.coords else np.arange(dataset.sizes[name])
    received = f"the labels {name!r} of type {values.dtype}"
    require(values.dtype.kind in "iuf", received, "numbers", f"number them: ds.assign_coords({name}=range({values.size}))")
    return LabelsFactor(name, "labels", str(dataset[name].attrs.get("units", "1")), values.astype(float), volumes)


def surface(dataset: xarray.Dataset, name: str) -> Mesh:
    """A sphere or an ellipsoid: the Voronoi cells of its cell points. Raises InputError where their areas are others."""
    points = dataset[f"{name}_points"]
    covariance, units = points.attrs.get("covariance"), str(points.attrs.get("units", "1"))
    image = unit(points.to_numpy())
    mesh = mesh_sphere(name, units, image, outward_triangles(image))
    if covariance is not None:
        mesh = mesh_ellipsoid(mesh, np.reshape(covariance, (3, 3)), units)
    same = np.allclose(mesh.volumes, dataset[f"{name}_area"], rtol=PRODUCT_ERROR, atol=0.0)
    received = f"the surface {name!r}, whose cells are not the Voronoi cells of its points"
    require(bool(same), received, "surfaces as gridflow writes them", "remap them, or keep all cells")
    return mesh
