"""The factors of a density in a file: their points, cells and surfaces, checked before they are used."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gridflow.files import Contents
from gridflow.output.checks import ANEW, check_numbers

Array = NDArray[np.float64]
SEAM = 1e-6
"""Cells may lie so far apart, or their points outside, as a share of their widths: rounded to single precision, bounds do."""
AREA_ERROR = 2e-3
"""Of the area of a surface to 4π: an ellipsoid may be wrong by half of that (`gridflow.space.ellipsoid`)."""
ON_SPHERE = 1e-6
"""Of the distance of a point of the unit sphere to its centre: rounded to single precision it is less wrong."""


@dataclass(frozen=True)
class Axis:
    """A factor of a density in a file. kind : "interval", …, or "" where the file does not say.

    points : (n_cells,), on a surface (n_cells, 3); edges : (n_cells + 1,), empty for labels and surfaces; areas : of a surface
    """

    name: str
    kind: str
    units: str
    points: Array
    edges: Array
    areas: Array
    covariance: Array | None


def axis_of(file: Contents, name: str) -> Axis:
    """A factor of the density. Raises InputError where the file does not describe it."""
    if f"{name}_mesh" in file.variables:
        return surface_axis(file, name)
    point, bounds = file.variables.get(name), file.variables.get(f"{name}_bounds")
    one = point is not None and point.dims == (name,)
    file.require(one, f"has no coordinate {name!r}", f"a variable {name} ({name}), or a surface", ANEW)
    attrs = point.attrs if point is not None else {}
    kind = kind_of(attrs, f" coordinate {name}")
    points = file.values(name).astype(float)
    check_numbers(file, name, points)
    edges = np.zeros(0)
    if bounds is not None or kind not in ("", "labels"):
        pairs = bounds is not None and bounds.shape == (points.size, 2) and bounds.dims[0] == name
        file.require(pairs, f"has no bounds of {name!r}", f"{name}_bounds ({name}, bounds)", ANEW)
        edges = edges_of(file, name, points)
    file.require(np.unique(points).size == points.size, f"has equal points along {name!r}", "distinct points", ANEW)
    covariance = np.asarray(attrs["covariance"], dtype=float) if "covariance" in attrs else None
    return Axis(name, kind, attrs.get("units", "1"), points, edges, np.zeros(0), covariance)


def edges_of(file: Contents, name: str, points: Array) -> Array:
    """Cell ends, (n_cells + 1,). Raises InputError for cells that overlap, leave gaps or do not hold their points."""
    lower, upper = file.values(f"{name}_bounds").astype(float).T
    check_numbers(file, f"{name}_bounds", np.stack([lower, upper]))
    width = upper - lower
    near = SEAM * np.abs(width)
    side_by_side = (width > 0).all() and (np.abs(lower[1:] - upper[:-1]) <= near[1:]).all()
    inside = ((points >= lower - near) & (points <= upper + near)).all()
    file.require(
        side_by_side and inside, f"has cells of {name!r} that do not fit together", "increasing cells side by side", ANEW
    )
    return np.append(lower, upper[-1])


def kind_of(attrs: dict[str, Any], rest: str) -> str:
    """The word before `rest` in the long name of a variable, or the empty string."""
    long_name = attrs.get("long_name", "")
    return str(long_name.removesuffix(rest)).split(" ")[-1] if long_name.endswith(rest) else ""


def surface_axis(file: Contents, name: str) -> Axis:
    """A surface. Raises InputError where its points, areas or tables do not fit together."""
    points, area = file.variables.get(f"{name}_points"), file.variables.get(f"{name}_area")
    size = area.shape[0] if area is not None and area.dims == (name,) else 0
    fits = points is not None and size > 3 and points.shape == (size, 3) and points.dims[0] == name
    file.require(fits, f"has no points and areas of the surface {name!r}", f"{name}_points and {name}_area", ANEW)
    check_corners(file, name, size)
    vectors, areas = file.values(f"{name}_points").astype(float), file.values(f"{name}_area").astype(float)
    for what, values in ((f"{name}_points", vectors), (f"{name}_area", areas)):
        check_numbers(file, what, values)
        file.require(np.isfinite(values).all(), f"has {what!r} with numbers that are not finite", "finite numbers", ANEW)
    total = areas.sum() / (4 * np.pi)
    whole = (areas > 0).all() and abs(total - 1) <= AREA_ERROR
    file.require(whole, f"has areas of {name!r} with the sum {total:.4g}·4π", "positive areas with the sum 4π", ANEW)
    attrs = file.variables[f"{name}_points"].attrs
    kind, lengths = kind_of(file.variables[f"{name}_mesh"].attrs, f" {name}"), np.linalg.norm(vectors, axis=1)
    near = np.abs(lengths - 1).max() <= ON_SPHERE if kind == "sphere" else lengths.min() > 0
    file.require(near, f"has points of {name!r} that are not on the {kind or 'surface'}", "points of the surface", ANEW)
    covariance = np.asarray(attrs["covariance"], dtype=float) if "covariance" in attrs else None
    return Axis(name, kind, attrs.get("units", "1"), vectors, np.zeros(0), areas, covariance)


def check_corners(file: Contents, name: str, size: int) -> None:
    """Raises InputError for corners of cells that are missing, not on the sphere or numbered beyond their list."""
    role = file.variables[f"{name}_mesh"].attrs.get("cf_role")
    file.require(role == "mesh_topology", f"has {name}_mesh with cf_role {role!r}", "'mesh_topology'", ANEW)
    table, nodes = file.variables.get(f"{name}_face_nodes"), 0
    for prefix, dimension in ((name, name), (f"{name}_node", f"{name}_node")):
        for axis, largest in (("lon", 360.0), ("lat", 90.0)):
            what = f"{prefix}_{axis}"
            known = what in file.variables and file.variables[what].dims == (dimension,)
            file.require(known, f"has no {what}", f"{what} ({dimension})", ANEW)
            degrees = file.values(what)
            within = np.isfinite(degrees).all() and (np.abs(degrees) <= largest).all()
            file.require(within, f"has {what!r} beyond {largest:g} degrees", f"degrees up to {largest:g}", ANEW)
            nodes = degrees.size
    fits = table is not None and len(table.shape) == 2 and table.dims[0] == name and table.shape[1] >= 3
    plain = table is not None and table.dtype is not None and table.dtype.kind == "i" and table.attrs.get("_FillValue", -1) == -1
    allowed = f"whole numbers ({name}, {name}_corner), missing ones −1"
    file.require(fits and plain, f"has no table {name}_face_nodes", allowed, ANEW)
    corners = file.values(f"{name}_face_nodes")
    present = corners >= 0
    numbered = (corners >= -1).all() and (corners < nodes).all() and present[:, :3].all() and len(corners) == size
    padded = (present[:, :-1] >= present[:, 1:]).all()
    file.require(numbered and padded, f"has cells of {name!r} with corners that are not there", f"numbers below {nodes}", ANEW)
