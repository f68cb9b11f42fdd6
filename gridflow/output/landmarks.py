"""Targets, teachers and exact solutions over a density: contours and marks in maps, lines and arrows along an axis.

Marks are white with a black rim in maps, where every colour of the density lies behind them.
"""

from typing import TYPE_CHECKING, Any

import numpy as np
import xarray

from gridflow.energy.table import Landmark
from gridflow.output.projections import Part
from gridflow.output.reference import masses_on
from gridflow.output.scales import levels
from gridflow.output.style import VERMILLION
from gridflow.space.factor import Array

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Handles = dict[str, Any]
"""What a legend shows, by its words."""
CONTOURS = (0.1, 0.5)
"""Contours hold all but these shares of the mass of a density."""
MARK: dict[str, Any] = {"marker": "D", "mfc": "white", "mec": "black", "mew": 0.8, "ls": "none"}
"""Points."""
ARROW: dict[str, Any] = {"mfc": VERMILLION, "mec": "white", "mew": 0.6, "ls": "none"}
"""Arrows at the frame."""
MANY = 30
"""More points than these are drawn as dots."""


def chosen_points(landmark: Landmark, part: Part) -> Array:
    """Which of the points belong to the labels of a part: by their value, or by its sign."""
    n = len(next(iter(landmark.points.values())))
    kept = np.ones(n, dtype=bool)
    for name, value in part.selection.items():
        if name in landmark.points:
            kept &= landmark.points[name] == value
        elif name in landmark.signs:
            kept &= landmark.signs[name] == np.sign(value)
    return kept


def draw_on_map(axes: "Axes", landmark: Landmark, part: Part, dataset: xarray.Dataset) -> Handles:
    """A landmark over a map of two factors; nothing where it says nothing of them."""
    from matplotlib import rcParams

    x, y = part.x, str(part.y)
    if landmark.over:
        field = masses_on(landmark.masses, landmark.over, part, dataset)
        if field is None:
            return {}
        draw_contours(axes, part, field, "-")
        return {f"{landmark.label}: 50 %, 90 %": line_handle("-")}
    kept, xlim, ylim = chosen_points(landmark, part), axes.get_xlim(), axes.get_ylim()
    points = {n: landmark.points[n][kept] for n in (x, y) if n in landmark.points}
    if not kept.any() or not points:
        return {}
    rim: dict[str, Any] = {"color": "white", "path_effects": rims()}
    if landmark.rays and len(points) == 2:
        reach = 2 * max(np.abs([*xlim, *ylim]))
        for a, b in zip(points[x], points[y], strict=True):
            far = reach / np.hypot(a, b)
            axes.plot([0, far * a], [0, far * b], "--", lw=0.7 * rcParams["lines.linewidth"], scalex=False, scaley=False, **rim)
        return {landmark.label: line_handle("--")}
    if len(points) == 2:
        many = kept.sum() > MANY
        mark = {**MARK, "marker": "o", "ms": 0.4 * rcParams["lines.markersize"], "mew": 0.3} if many else MARK
        axes.plot(points[x], points[y], scalex=False, scaley=False, **mark)
        return {landmark.label: handle(**mark)}
    draw_places(axes, landmark, kept, next(iter(points)), part)
    return {landmark.label: handle(**ARROW, marker=">")}


def draw_places(axes: "Axes", landmark: Landmark, kept: Array, name: str, part: Part) -> None:
    """Points that are fixed along one factor of a map: arrows at the frame, on the side of their sign, and faint dotted lines."""
    from matplotlib import rcParams

    vertical = name == part.x
    other, ends = (str(part.y), axes.get_ylim()) if vertical else (part.x, axes.get_xlim())
    signs = landmark.signs[other][kept] if other in landmark.signs else np.zeros(kept.sum())
    faint: dict[str, Any] = {"color": "white", "ls": ":", "lw": 0.8, "scalex": False, "scaley": False}
    size = 1.3 * rcParams["lines.markersize"]
    transform = axes.get_xaxis_transform() if vertical else axes.get_yaxis_transform()
    for value, sign in zip(landmark.points[name][kept], signs, strict=True):
        along = [max(ends[0], 0.0) if sign > 0 else ends[0], min(ends[1], 0.0) if sign < 0 else ends[1]]
        axes.plot(*(([value, value], along) if vertical else (along, [value, value])), **faint)
        edge = 1.0 if sign > 0 or (vertical and sign == 0) else 0.0
        marker = ("v" if edge else "^") if vertical else ("<" if edge else ">")
        place = ([value], [edge]) if vertical else ([edge], [value])
        axes.plot(*place, marker=marker, ms=size, transform=transform, clip_on=False, zorder=5, **ARROW)


def draw_contours(axes: "Axes", part: Part, field: Array, style: str) -> Any:
    """Contours that hold 90 % and 50 % of a density (y, x); the set of them, or None where it is too flat to have any."""
    return contours(
        axes, part.density[part.x], part.density[part.y], field, levels(field, part.sizes.to_numpy(), CONTOURS), style
    )


def contours(axes: "Axes", x: Any, y: Any, field: Array, values: Array, style: str) -> Any:
    """White contours with a black rim at the values inside of the range of a field (y, x); None without any."""
    from matplotlib import rcParams

    values = np.unique(values[(values > field.min()) & (values < field.max())])
    if not values.size or min(field.shape) < 2:
        return None
    width = 0.7 * rcParams["lines.linewidth"]
    return axes.contour(x, y, field, values, colors="white", linewidths=width, linestyles=style, path_effects=rims())


def draw_along(axes: "Axes", landmark: Landmark, part: Part, dataset: xarray.Dataset) -> Handles:
    """A landmark in a panel of curves: a grey area, or lines at the places of its points."""
    if landmark.over:
        field = masses_on(landmark.masses, landmark.over, part, dataset)
        if field is None:
            return {}
        area = axes.fill_between(part.density[part.x], field, color="0.85", lw=0, zorder=0)
        return {landmark.label: area}
    kept = chosen_points(landmark, part)
    if part.x not in landmark.points or not kept.any():
        return {}
    values = landmark.points[part.x][kept]
    if values.size > MANY:
        axes.plot(values, np.zeros(values.size), "|", color=VERMILLION, ms=5, mew=0.5, zorder=3)
        return {landmark.label: handle(marker="|", color=VERMILLION, ls="none")}
    for value in values:
        axes.axvline(value, color=VERMILLION, ls=":", lw=1.1, zorder=0)
    return {landmark.label: handle(color=VERMILLION, ls=":", lw=1.1)}


def rims() -> list[Any]:
    """A black rim around white lines."""
    from matplotlib import patheffects, rcParams

    return [patheffects.Stroke(linewidth=0.7 * rcParams["lines.linewidth"] + 0.9, foreground="black"), patheffects.Normal()]


def handle(**properties: Any) -> Any:
    """A line for a legend."""
    from matplotlib.lines import Line2D

    return Line2D([], [], **properties)


def line_handle(style: str) -> Any:
    """A white line with a black rim for a legend."""
    from matplotlib import rcParams

    return handle(color="white", ls=style, lw=0.7 * rcParams["lines.linewidth"], path_effects=rims())


def legend_below(figure: Any, handles: Handles) -> None:
    """A legend under the panels of a figure; none without entries."""
    if handles:
        figure.legend(handles.values(), handles.keys(), loc="outside lower right", ncols=4, borderaxespad=0.0, borderpad=0.2)
