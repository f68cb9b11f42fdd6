"""Conservative remap from the cells of a surface to boxes of latitude and longitude.

The overlap of box i and cell c is measured by subpoints of each box: W_ic = area of those whose nearest cell point is c. Then
rows and columns are scaled in turn (Sinkhorn), the columns last, so that

    Σ_i W_ic = area of cell c       every cell gives its mass away exactly
    Σ_c W_ic = area of box i        constants stay constants, up to the attribute `constant_error` of the result

and a density becomes its average (Wρ)_i / area of box i, which is of second order in the width of the cells.
"""

from collections.abc import Hashable
from math import ceil, cos, floor, pi, sqrt

import numpy as np
import scipy
import xarray
from scipy.sparse import coo_matrix, csr_matrix, diags, vstack

from gridflow.errors import InputError, require
from gridflow.output.schema import attributes_of
from gridflow.output.ugrid import cell_points, face_attributes, marginal, mesh_names, reserved_names, unit_vectors
from gridflow.space.factor import Array
from gridflow.space.regrid import scale_to_areas

SUBPOINTS = 8
"""Subpoints along the width of a cell: overlaps to about 2 % before they are scaled."""
DEGREES_MIN = 0.25
"""A million boxes."""


def remap(dataset: xarray.Dataset, degrees: float, mesh: str | None = None, integrate: bool = True) -> xarray.Dataset:
    """A result on boxes of latitude and longitude: its density, and what else is given on the cells of a surface.

    Parameters
    ----------
    dataset : a gridflow result with a surface
    degrees : width of the boxes, 180 / a whole number
    mesh : name of the surface; needed if there are several
    integrate : sum the mass over all other factors, so that `density` (time, lat, lon) is mass per area; else they are kept, and
        `cell_volume` becomes that of a box times the cells of the other factors

    Returns a dataset with coordinates `lat`, `lon` (degrees, of b/‖b‖), their bounds, and `cell_area`. Variables without the
    surface are kept. Raises InputError for other widths, a dataset without surface or an unknown name.
    """
    name = mesh_of(dataset, mesh)
    n_lat = number_of_boxes(degrees)
    weights = overlaps(cell_points(dataset, name), dataset[f"{name}_area"].to_numpy(), n_lat)
    area = box_areas(n_lat)
    average = (diags(1 / np.repeat(area, 2 * n_lat)) @ weights).tocsr()
    constant_error = float(np.abs(average @ np.ones(average.shape[1]) - 1).max())
    gone = {name}
    if integrate:
        fields = {"density": marginal(dataset, name)}
        gone = {str(d) for d in dataset["density"].dims if d != "time"}
    else:
        fields = {str(v): dataset[v] for v in dataset.data_vars if on_cells(dataset[v], name)}
    others = (dataset["cell_volume"] / dataset[f"{name}_area"]).isel({name: 0}, drop=True)  # the same for every cell of a surface
    surfaces = [n for n in mesh_names(dataset) if n in gone]
    gone |= {reserved for n in surfaces for reserved in reserved_names(n)}
    result = dataset.drop_dims([d for d in dataset.dims if d in gone]).drop_vars([f"{n}_mesh" for n in surfaces])
    for axis, edges in (("lat", np.linspace(-90.0, 90.0, n_lat + 1)), ("lon", np.linspace(-180.0, 180.0, 2 * n_lat + 1))):
        attrs = attributes_of(axis)
        attrs |= {"standard_name": attrs["long_name"], "bounds": f"{axis}_bounds"}
        result[axis] = (axis, (edges[:-1] + edges[1:]) / 2, attrs)
        result[f"{axis}_bounds"] = ((axis, "bounds"), np.stack([edges[:-1], edges[1:]], axis=1))
    result["cell_area"] = (("lat", "lon"), np.tile(area[:, None], 2 * n_lat), attributes_of("cell_area"))
    for key, field in fields.items():
        values = field.transpose(..., name)
        boxed = (average @ values.to_numpy().reshape(-1, values.sizes[name]).T).T.reshape(*values.shape[:-1], n_lat, 2 * n_lat)
        attrs = {k: v for k, v in field.attrs.items() if k not in ("mesh", "location", "cell_measures", "cell_methods")}
        measures = "area: cell_area" if integrate else "volume: cell_volume"
        attrs |= {"cell_measures": measures, **mesh_attributes(result, values.dims)}
        result[key] = ((*values.dims[:-1], "lat", "lon"), boxed, attrs)
    if not integrate:
        volume = others * result["cell_area"]
        attrs = attributes_of("cell_volume") | mesh_attributes(result, volume.dims)
        result["cell_volume"] = (volume.dims, volume.to_numpy(), attrs)
        result = result.set_coords("cell_volume")
    result.attrs["Conventions"] = "CF-1.11 UGRID-1.0" if mesh_names(result) else "CF-1.11"
    result.attrs["remapped"] = f"surface {name} to boxes of {degrees:g} degrees, conservative"
    result.attrs["constant_error"] = constant_error
    return result.set_coords(["lat_bounds", "lon_bounds", "cell_area"])


def mesh_attributes(dataset: xarray.Dataset, dims: tuple[Hashable, ...]) -> dict[str, str]:
    """Attributes of a variable with these dimensions: the first of its surfaces."""
    names = [n for n in mesh_names(dataset) if n in dims]
    return face_attributes(names[0]) if names else {}


def on_cells(variable: xarray.DataArray, name: str) -> bool:
    """Whether the values of a variable belong to the cells of a surface."""
    return name in variable.dims and variable.attrs.get("location") == "face"


def mesh_of(dataset: xarray.Dataset, mesh: str | None) -> str:
    """Name of the surface to remap. Raises InputError for none, several or an unknown one."""
    names = mesh_names(dataset)
    if mesh is None and len(names) == 1:
        return names[0]
    if mesh in names:
        return str(mesh)
    received = "latitudes and longitudes of a result without a surface"
    require(bool(names), received, "a result with a sphere or an ellipsoid", "leave them out")
    received = "several surfaces" if mesh is None else f"the surface {mesh!r}"
    raise InputError(received, f"one of: {', '.join(names)}", f"name the surface: --along {names[0]} or mesh={names[0]!r}")


def number_of_boxes(degrees: float) -> int:
    """Boxes from pole to pole. Raises InputError for widths that do not divide 180 degrees."""
    number = round(180 / degrees) if degrees > 0 else 0
    possible = degrees >= DEGREES_MIN and number >= 2 and abs(number * degrees - 180) < 1e-9 * 180
    near = min(max(floor(180 / degrees), 2), round(180 / DEGREES_MIN)) if degrees > 0 else 90
    allowed = f"180 / a whole number, from {DEGREES_MIN:g} to 90"
    require(possible, f"boxes of {degrees:g} degrees", allowed, f"write {180 / near:.12g}")
    return number


def box_areas(n_lat: int) -> Array:
    """Areas of a box of each latitude, (n_lat,)."""
    return np.diff(np.sin(np.linspace(-pi / 2, pi / 2, n_lat + 1))) * pi / n_lat


def overlaps(points: Array, areas: Array, n_lat: int) -> csr_matrix:
    """W (n_boxes, n_cells), boxes row by row from the south; `points` (n_cells, 3) on the unit sphere."""
    width = pi / n_lat
    tree = scipy.spatial.KDTree(points)
    lines = max(2, ceil(SUBPOINTS * width / sqrt(4 * pi / len(points))))
    rows = []
    for k in range(n_lat):
        south = -pi / 2 + k * width
        columns = max(2, ceil(lines * cos(min(abs(south), abs(south + width)))))
        edges = south + width * np.arange(lines + 1) / lines
        lat, lon = (edges[:-1] + edges[1:]) / 2, -pi + width * (np.arange(2 * n_lat * columns) + 0.5) / columns
        cell = tree.query(unit_vectors(lon, lat[:, None]).reshape(-1, 3))[1]
        box = np.tile(np.repeat(np.arange(2 * n_lat), columns), lines)
        share = np.repeat(np.diff(np.sin(edges)) * width / columns, lon.size)
        rows.append(coo_matrix((share, (box, cell)), shape=(2 * n_lat, len(points))).tocsr())
    weights = vstack(rows).tocsr()
    return scale_to_areas(weights, np.repeat(box_areas(n_lat), 2 * n_lat), areas)
