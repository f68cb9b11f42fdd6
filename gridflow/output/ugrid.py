"""Surfaces in datasets: the topology of a mesh factor by the UGRID conventions 1.0, written and read.

For a factor NAME (also a dimension, that of its cells) a dataset holds

    NAME_mesh         topology: names what follows (cf_role = "mesh_topology")
    NAME_lon, _lat    cell points, NAME_node_lon, _node_lat  corners of the cells; degrees on the sphere b/‖b‖
    NAME_face_nodes   (NAME, NAME_corner) corners of each cell, counter-clockwise, padded
    NAME_points       (NAME, NAME_component) cell points as vectors
    NAME_area         areas of the cells

Padding is −1 in a file, the fill value of the variable; xarray, which has no missing integers, shows it as NaN.
"""

from typing import TYPE_CHECKING, Any

import numpy as np

from gridflow.output.layout import Layout
from gridflow.space.factor import Array, Indices
from gridflow.space.mesh import Mesh, unit

if TYPE_CHECKING:
    import xarray

SUFFIXES = ("mesh", "lon", "lat", "node_lon", "node_lat", "face_nodes", "points", "area", "node", "corner", "component")


def reserved_names(name: str) -> set[str]:
    """Names of variables and dimensions that a surface called `name` brings along."""
    return {f"{name}_{suffix}" for suffix in SUFFIXES}


def topology_names(name: str) -> list[str]:
    """Names of the variables that make up the topology of a surface."""
    return [f"{name}_{suffix}" for suffix in ("mesh", "node_lon", "node_lat", "face_nodes")]


def mesh_names(dataset: "xarray.Dataset") -> list[str]:
    """Names of the surfaces in a dataset."""
    variables = [str(v) for v in dataset.variables]
    return [v.removesuffix("_mesh") for v in variables if dataset[v].attrs.get("cf_role") == "mesh_topology"]


def face_attributes(name: str) -> dict[str, str]:
    """Attributes of a variable whose values belong to the cells of a surface."""
    return {"mesh": f"{name}_mesh", "location": "face"}


def add_mesh(layout: Layout, mesh: Mesh) -> None:
    """Adds the variables of a surface."""
    name = mesh.name
    layout.add(
        f"{name}_mesh",
        (),
        np.int32(0),
        {
            "cf_role": "mesh_topology",
            "long_name": f"topology of the {mesh.kind} {name}",
            "topology_dimension": np.int32(2),
            "node_coordinates": f"{name}_node_lon {name}_node_lat",
            "face_node_connectivity": f"{name}_face_nodes",
            "face_dimension": name,
            "face_coordinates": f"{name}_lon {name}_lat",
        },
    )
    for prefix, dimension, points, long_name in (
        (name, name, mesh.points, "cell points"),
        (f"{name}_node", f"{name}_node", mesh.nodes, "corners of the cells"),
    ):
        for axis, values in zip(("lon", "lat"), longitude_latitude(points).T, strict=True):
            full, units = ("longitude", "degrees_east") if axis == "lon" else ("latitude", "degrees_north")
            attributes = {"standard_name": full, "units": units, "long_name": f"{full} of {long_name}"}
            layout.add(f"{prefix}_{axis}", (dimension,), values, attributes)
    layout.add(
        f"{name}_face_nodes",
        (name, f"{name}_corner"),
        face_nodes(mesh),
        {
            "cf_role": "face_node_connectivity",
            "long_name": "corners of each cell, counter-clockwise",
            "units": "1",
            "start_index": np.int32(0),
        },
        fill=np.int32(-1),
    )
    surface = "the unit sphere" if mesh.covariance is None else "{b : bᵀΣb = 1}"
    attrs: dict[str, Any] = {"units": mesh.units, "long_name": f"cell points on {surface} as vectors"}
    if mesh.covariance is not None:
        attrs["covariance"] = mesh.covariance.ravel()
    layout.add(f"{name}_points", (name, f"{name}_component"), mesh.points, attrs)
    layout.add(f"{name}_area", (name,), mesh.volumes, {"units": "1", "long_name": "cell areas", **face_attributes(name)})
    layout.coordinates += [f"{name}_lon", f"{name}_lat", f"{name}_area"]


def face_nodes(mesh: Mesh) -> Array:
    """(n_cells, most corners of a cell): node numbers, then NaN."""
    degree = np.diff(mesh.first)
    table = np.full((mesh.size, degree.max()), np.nan)
    table[mesh.cells, np.arange(mesh.corners.size) - mesh.first[mesh.cells]] = mesh.corners
    return table


def longitude_latitude(points: Array) -> Array:
    """Degrees east in (−180, 180] and north of b/‖b‖, (n, 3) → (n, 2)."""
    x, y, z = points.T
    return np.degrees(np.stack([np.arctan2(y, x), np.arctan2(z, np.hypot(x, y))], axis=1))


def unit_vectors(longitude: Array, latitude: Array) -> Array:
    """(…, 3), from radians of shapes that broadcast to (…)."""
    x, y = np.cos(latitude) * np.cos(longitude), np.cos(latitude) * np.sin(longitude)
    return np.stack(np.broadcast_arrays(x, y, np.sin(latitude)), axis=-1)


def cell_points(dataset: "xarray.Dataset", name: str) -> Array:
    """Images b/‖b‖ of the cell points on the unit sphere, (n_cells, 3), to round-off."""
    return unit(dataset[f"{name}_points"].to_numpy())


def polygons(dataset: "xarray.Dataset", name: str) -> Array:
    """Corners of every cell on the unit sphere, (n_cells, n_corners, 3); the last corner is repeated where a cell has fewer."""
    table = dataset[f"{name}_face_nodes"].to_numpy()
    present = np.isfinite(table)
    last = np.where(present, np.arange(table.shape[1]), 0).max(axis=1)
    filled: Indices = np.where(present, table, np.take_along_axis(table, last[:, None], axis=1)).astype(np.int64)
    longitude, latitude = (np.radians(dataset[f"{name}_node_{axis}"].to_numpy()) for axis in ("lon", "lat"))
    return unit_vectors(longitude, latitude)[filled]


def marginal(dataset: "xarray.Dataset", name: str, keep: tuple[str, ...] = ()) -> "xarray.DataArray":
    """Mass per area of the surface `name`, summed over all factors but those in `keep`: (time, `keep`…, name)."""
    masses = dataset["density"] * dataset["cell_volume"]
    others = [str(d) for d in masses.dims if d not in ("time", name, *keep)]
    result = (masses.sum(others) / dataset[f"{name}_area"]).transpose("time", *keep, name)
    return result.assign_attrs(units="1", long_name=f"mass per area of {name}")
