"""Pictures of densities on a surface: a map (Mollweide) and a globe from two sides (orthographic), from the dataset alone.

An ellipsoid is drawn as the sphere that it is isometric to.
"""

from typing import TYPE_CHECKING, Any

import numpy as np
import scipy
import xarray

from gridflow.energy.table import Landmark
from gridflow.output.landmarks import CONTOURS, MARK, Handles, chosen_points, contours, handle, legend_below, line_handle
from gridflow.output.panels import Sheet, Update, add_colours, map_scale, together
from gridflow.output.projections import Block, Part, label_selections
from gridflow.output.reference import masses_on
from gridflow.output.scales import Scale, levels
from gridflow.output.style import COLOURS
from gridflow.output.ugrid import cell_points, marginal, mesh_names, polygons, unit_vectors
from gridflow.space.factor import Array
from gridflow.space.mesh import unit

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PIXELS = 180
"""Pixels of a map from pole to pole."""
TILT = 35.0
"""Largest latitude that a globe is seen from."""


def surface_blocks(dataset: xarray.Dataset, labels: list[str]) -> list[Block]:
    """Mass per area of every surface, with one part (time, NAME) per label."""
    result = []
    for name in mesh_names(dataset):
        density = marginal(dataset, name, tuple(labels))
        area = dataset[f"{name}_area"]
        parts = [Part(density.sel(chosen), area, chosen) for chosen in label_selections(dataset, labels)]
        result.append(Block(parts, whole=True))
    return result


def draw_surface(figure: Any, sheet: Sheet, block: Block, saves: list[int], scaled: list[int], globes: bool = True) -> Update:
    """One row per label; for each save a map and, with `globes`, two sides of a globe; one bar of colours for all.

    scaled : the saves that the scale holds
    """
    name = block.parts[0].x
    points, corners = cell_points(sheet.dataset, name), polygons(sheet.dataset, name)
    scale = map_scale(block.parts, scaled)
    norm, ratios = scale.norm(), [1.9, 1, 1] if globes else [1]
    grid = figure.add_gridspec(len(block.parts), len(ratios) * len(saves), width_ratios=ratios * len(saves))
    updates: list[Update] = []
    handles: Handles = {}
    panels, mesh = [], None
    for row, part in enumerate(block.parts):
        view = viewpoint(points[part.density[-1].to_numpy().argmax()])
        for k, save in enumerate(saves):
            place = len(ratios) * k
            panels.append(figure.add_subplot(grid[row, place], projection="mollweide"))
            mesh, update = draw_map(panels[-1], points, part, save, scale, norm)
            words = ", ".join(filter(None, [part.title, sheet.time(save) if len(saves) > 1 else ""]))
            panels[-1].set_title(words)
            handles |= mark_map(panels[-1], sheet, part)
            updates.append(update)
            for side, eye in enumerate((view, -view) if globes else ()):
                panels.append(figure.add_subplot(grid[row, place + 1 + side]))
                updates.append(draw_globe(panels[-1], points, corners, part, save, eye, scale, norm))
                mark_globe(panels[-1], sheet, part, eye)
    add_colours(figure, mesh, panels, scale, "mass per area", len(block.parts))
    legend_below(figure, handles)
    return together(updates)


def viewpoint(peak: Array) -> Array:
    """Direction of a point, its latitude cut at ±TILT so that north stays up."""
    lon = np.arctan2(peak[1], peak[0])
    lat = np.radians(np.clip(np.degrees(np.arctan2(peak[2], np.hypot(peak[0], peak[1]))), -TILT, TILT))
    return unit_vectors(lon, lat)


def draw_map(axes: "Axes", points: Array, part: Part, save: int, scale: Scale, norm: Any) -> tuple[Any, Update]:
    """Every pixel in the colour of its cell; longitude 0 in the middle."""
    cells = scipy.spatial.KDTree(points).query(directions_of_pixels()[2])[1]
    edges = np.linspace(-np.pi, np.pi, 2 * PIXELS + 1), np.linspace(-np.pi / 2, np.pi / 2, PIXELS + 1)
    mesh = axes.pcolormesh(*edges, scale.raised(part.density[save].to_numpy()[cells]), norm=norm, cmap=COLOURS, rasterized=True)
    axes.set_xticks(np.radians([-120, -60, 0, 60, 120]), [])
    axes.set_yticks(np.radians([-60, -30, 0, 30, 60]), [])
    axes.grid(color="white", alpha=0.3, linewidth=0.5)
    return mesh, lambda index: mesh.set_array(scale.raised(part.density[index].to_numpy()[cells]))


def directions_of_pixels() -> tuple[Array, Array, Array]:
    """Longitudes and latitudes of the pixels of a map, and their directions, (n_lat, n_lon, 3)."""
    lat = (np.arange(PIXELS) + 0.5) / PIXELS * np.pi - np.pi / 2
    lon = (np.arange(2 * PIXELS) + 0.5) / PIXELS * np.pi - np.pi
    return lon, lat, unit_vectors(lon, lat[:, None])


def draw_globe(axes: "Axes", points: Array, corners: Array, part: Part, save: int, eye: Array, scale: Scale, norm: Any) -> Update:
    """The cells in front, seen from the direction `eye` (3,) at infinity with north up."""
    from matplotlib.collections import PolyCollection
    from matplotlib.patches import Circle

    plane = plane_of(eye)
    depth = points @ eye
    width = np.linalg.norm(corners - points[:, None], axis=-1).max()
    shown = np.flatnonzero(depth > -width)
    shown = shown[np.argsort(depth[shown])]  # cells at the rim first: what is nearer covers their far parts
    limb = Circle((0.0, 0.0), 1.0, facecolor="none", edgecolor="black", linewidth=0.8)
    axes.add_patch(limb)
    flat: Any = corners[shown] @ plane
    cells = PolyCollection(flat, norm=norm, cmap=COLOURS, edgecolors="face", linewidths=0.3, rasterized=True)
    cells.set_array(scale.raised(part.density[save].to_numpy()[shown]))
    axes.add_collection(cells)
    cells.set_clip_path(limb)
    for line in graticule():
        front = np.where((line @ eye > 0)[:, None], line @ plane, np.nan)
        axes.plot(*front.T, color="white", alpha=0.3, linewidth=0.5)
    lon, lat = round(np.degrees(np.arctan2(eye[1], eye[0]))), round(np.degrees(np.arcsin(eye[2])))
    axes.set_title(f"{abs(lon)}°{'E' if lon >= 0 else 'W'}, {abs(lat)}°{'N' if lat >= 0 else 'S'}")
    axes.set(xlim=(-1.02, 1.02), ylim=(-1.02, 1.02), aspect="equal")
    axes.set_axis_off()
    return lambda index: cells.set_array(scale.raised(part.density[index].to_numpy()[shown]))


def plane_of(eye: Array) -> Array:
    """Coordinates of the picture seen from a direction, to the right and up, (3, 2)."""
    right = unit(np.cross([0.0, 0.0, 1.0], eye))
    return np.stack([right, np.cross(eye, right)], axis=1)


def mark_map(axes: "Axes", sheet: Sheet, part: Part) -> Handles:
    """Points of landmarks on a map, and contours of their densities."""
    handles: Handles = {}
    for landmark in sheet.reference.landmarks:
        if part.x in landmark.points:
            x, y, z = landmark.points[part.x][chosen_points(landmark, part)].T
            axes.plot(np.arctan2(y, x), np.arcsin(z), **MARK)
            handles[landmark.label] = handle(**MARK)
        elif part.x in landmark.over:
            draw_target(axes, sheet, landmark, part)
            handles[f"{landmark.label}: 50 %, 90 %"] = line_handle("-")
    return handles


def draw_target(axes: "Axes", sheet: Sheet, landmark: Landmark, part: Part) -> None:
    """Contours of a density on a map, smooth by the means of the cells around every pixel."""
    field = masses_on(landmark.masses, landmark.over, part, sheet.dataset)
    assert field is not None
    lon, lat, directions = directions_of_pixels()
    distances, cells = scipy.spatial.KDTree(cell_points(sheet.dataset, part.x)).query(directions, k=7)
    weights = np.exp(-2 * (distances / distances.mean()) ** 2)
    smooth = (weights * field[cells]).sum(axis=-1) / weights.sum(axis=-1)
    contours(axes, lon, lat, smooth, levels(field, part.sizes.to_numpy(), CONTOURS), "-")


def mark_globe(axes: "Axes", sheet: Sheet, part: Part, eye: Array) -> None:
    """Points of landmarks on the side that is seen."""
    for landmark in sheet.reference.landmarks:
        if part.x in landmark.points:
            places = landmark.points[part.x][chosen_points(landmark, part)]
            axes.plot(*(places[places @ eye > 0] @ plane_of(eye)).T, **MARK)


def graticule() -> list[Array]:
    """Meridians and parallels every 30 degrees, (n_points, 3) each."""
    around = np.linspace(-np.pi, np.pi, 181)
    parallels = [(around, np.full(181, lat)) for lat in np.radians(np.arange(-60, 61, 30))]
    meridians = [(np.full(181, lon), around) for lon in np.radians(np.arange(0, 180, 30))]  # full circles through the poles
    lines = (*parallels, *meridians)
    return [unit_vectors(lon, lat) for lon, lat in lines]
