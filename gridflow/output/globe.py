"""Pictures of densities on a surface: a map (Mollweide) and a globe from two sides (orthographic), from the dataset alone.

An ellipsoid is drawn as the sphere that it is isometric to.
"""

from typing import TYPE_CHECKING, Any

import numpy as np
import scipy
import xarray

from gridflow.output.projections import label_selections
from gridflow.output.ugrid import cell_points, marginal, mesh_names, polygons, unit_vectors
from gridflow.space.factor import Array
from gridflow.space.mesh import unit

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Normalize

Panels = dict[tuple[str, str], xarray.DataArray]
DECADES = 1e-6
"""Logarithmic colours reach so far below the largest density."""
LINEAR = 30.0
"""Densities whose largest and smallest value differ by less than this factor have linear colours."""
PIXELS = 180
"""Pixels of a map from pole to pole."""
TILT = 35.0
"""Largest latitude that a globe is seen from."""


def surface_panels(dataset: xarray.Dataset, labels: list[str]) -> Panels:
    """Mass per area (time, NAME) of every surface, one per label; by name of the surface and title."""
    result = {}
    for name in mesh_names(dataset):
        density = marginal(dataset, name, tuple(labels))
        for label, selection in label_selections(dataset, labels):
            result[name, f"{name}, {label}" if label else name] = density.sel(selection)
    return result


def draw_surfaces(figure: Any, dataset: xarray.Dataset, panels: Panels, times: list[int]) -> None:
    """One row per panel; for each time a map and the two sides of a globe."""
    grid = figure.add_gridspec(len(panels), 3 * len(times), width_ratios=[1.9, 1, 1] * len(times))
    for row, ((name, title), part) in enumerate(panels.items()):
        points, corners = cell_points(dataset, name), polygons(dataset, name)
        view = viewpoint(points[part.isel(time=-1).to_numpy().argmax()])
        colours = colour_scale(part.to_numpy())
        for k, index in enumerate(times):
            field = part.isel(time=index).to_numpy()
            axes = figure.add_subplot(grid[row, 3 * k], projection="mollweide")
            draw_map(axes, points, field, colours)
            axes.set_title(f"{title}, t = {float(part['time'][index]):.4g}")
            for side, eye in enumerate((view, -view)):
                draw_globe(figure.add_subplot(grid[row, 3 * k + 1 + side]), points, corners, field, eye, colours)


def viewpoint(peak: Array) -> Array:
    """Direction of a point, its latitude cut at ±TILT so that north stays up."""
    lon = np.arctan2(peak[1], peak[0])
    lat = np.radians(np.clip(np.degrees(np.arctan2(peak[2], np.hypot(peak[0], peak[1]))), -TILT, TILT))
    return unit_vectors(lon, lat)


def colour_scale(field: Array) -> "Normalize":
    """Linear colours from 0 for densities of one size, else logarithmic ones."""
    from matplotlib.colors import LogNorm, Normalize

    largest = field.max() if field.max() > 0 else 1.0
    if field.min() * LINEAR > largest:
        return Normalize(0.0, largest)
    return LogNorm(max(field.min(), largest * DECADES), largest)


def raised_to_scale(field: Array, colours: "Normalize") -> Array:
    """The field with values below a logarithmic scale raised to its lowest colour."""
    return np.maximum(field, colours.vmin or 0.0)


def draw_map(axes: "Axes", points: Array, field: Array, colours: "Normalize") -> None:
    """Every pixel in the colour of its cell; longitude 0 in the middle."""
    lat = (np.arange(PIXELS) + 0.5) / PIXELS * np.pi - np.pi / 2
    lon = (np.arange(2 * PIXELS) + 0.5) / PIXELS * np.pi - np.pi
    values = field[scipy.spatial.KDTree(points).query(unit_vectors(lon, lat[:, None]))[1]]
    edges = np.linspace(-np.pi, np.pi, 2 * PIXELS + 1), np.linspace(-np.pi / 2, np.pi / 2, PIXELS + 1)
    mesh = axes.pcolormesh(*edges, raised_to_scale(values, colours), norm=colours, cmap="magma", rasterized=True)
    axes.set_xticks(np.radians([-120, -60, 0, 60, 120]), [])
    axes.set_yticks(np.radians([-60, -30, 0, 30, 60]), ["60°S", "30°S", "0°", "30°N", "60°N"], fontsize="x-small")
    axes.grid(color="white", alpha=0.3, linewidth=0.5)
    axes.figure.colorbar(mesh, ax=axes, shrink=0.8, orientation="horizontal", pad=0.05, label="mass per area")


def draw_globe(axes: "Axes", points: Array, corners: Array, field: Array, eye: Array, colours: "Normalize") -> None:
    """The cells in front, seen from the direction `eye` (3,) at infinity with north up."""
    from matplotlib.collections import PolyCollection
    from matplotlib.patches import Circle

    right = unit(np.cross([0.0, 0.0, 1.0], eye))
    plane = np.stack([right, np.cross(eye, right)], axis=1)  # (3, 2)
    depth = points @ eye
    width = np.linalg.norm(corners - points[:, None], axis=-1).max()
    shown = np.flatnonzero(depth > -width)
    shown = shown[np.argsort(depth[shown])]  # cells at the rim first: what is nearer covers their far parts
    limb = Circle((0.0, 0.0), 1.0, facecolor="none", edgecolor="black", linewidth=0.8)
    axes.add_patch(limb)
    flat: Any = corners[shown] @ plane
    cells = PolyCollection(flat, norm=colours, cmap="magma", edgecolors="face", linewidths=0.3, rasterized=True)
    cells.set_array(raised_to_scale(field[shown], colours))
    axes.add_collection(cells)
    cells.set_clip_path(limb)
    for line in graticule():
        front = np.where((line @ eye > 0)[:, None], line @ plane, np.nan)
        axes.plot(*front.T, color="white", alpha=0.3, linewidth=0.5)
    lon, lat = round(np.degrees(np.arctan2(eye[1], eye[0]))), round(np.degrees(np.arcsin(eye[2])))
    axes.set_title(f"from {abs(lon)}°{'E' if lon >= 0 else 'W'}, {abs(lat)}°{'N' if lat >= 0 else 'S'}", fontsize="small")
    axes.set(xlim=(-1.02, 1.02), ylim=(-1.02, 1.02), aspect="equal")
    axes.set_axis_off()


def graticule() -> list[Array]:
    """Meridians and parallels every 30 degrees, (n_points, 3) each."""
    around = np.linspace(-np.pi, np.pi, 181)
    parallels = [(around, np.full(181, lat)) for lat in np.radians(np.arange(-60, 61, 30))]
    meridians = [(np.full(181, lon), around) for lon in np.radians(np.arange(0, 180, 30))]  # full circles through the poles
    lines = (*parallels, *meridians)
    return [unit_vectors(lon, lat) for lon, lat in lines]
