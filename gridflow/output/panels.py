"""Rows of panels: maps of densities over two factors, curves of densities over one, directions of neurons.

A row draws the saves that it is given, with one scale for all of them, and returns a function that draws another save in its
first panels, for animations.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray

from gridflow.output.landmarks import Handles, draw_along, draw_contours, draw_on_map, handle, legend_below
from gridflow.output.projections import Block, Part, edges_of
from gridflow.output.reference import Reference, masses_on
from gridflow.output.scales import Scale, scale_of, window
from gridflow.output.style import BLUE, COLOURS, Style, axis_label, mark_decades, number, scale_by_cells, set_ticks, turn_of
from gridflow.space.factor import Array

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Update = Callable[[int], None]
"""Draws another save."""
Limits = tuple[tuple[float, float], tuple[float, float]]
"""Ends of the horizontal and of the vertical axis."""


@dataclass(frozen=True)
class Sheet:
    """What all rows of a figure share: the dataset, what its case states, and the style."""

    dataset: xarray.Dataset
    reference: Reference
    style: Style

    def exact(self, part: Part, index: int) -> Array | None:
        """The exact solution over the factors of a part at a save, if there is one."""
        if self.reference.solution is None:
            return None
        masses = self.reference.solution(float(self.dataset["time"][index]))
        return masses_on(masses, self.reference.stored, part, self.dataset)

    def ends(self, parts: list[Part], name: str, saves: list[int]) -> tuple[float, float]:
        """Which part of a factor is shown: where the mass is, with the points of landmarks; all of a circle, and of labels."""
        edges = edges_of(self.dataset, name)
        whole = float(edges[0]), float(edges[-1])
        if f"{name}_bounds" not in self.dataset.variables or turn_of(self.dataset[name], whole):
            return whole
        masses = np.concatenate([part.masses_along(name, saves) for part in parts])
        points = [p for mark in self.reference.landmarks if name in mark.points for p in mark.points[name] if not mark.rays]
        marginals = [mark for mark in self.reference.landmarks if name in mark.over]
        for mark in marginals:
            axes = tuple(k for k, n in enumerate(mark.over) if n != name)
            masses = np.concatenate([masses, mark.masses.sum(axis=axes)[None]])
        return window(masses, edges, points)

    def time(self, index: int) -> str:
        """t = …"""
        return f"t = {number(float(self.dataset['time'][index]))}"


@dataclass(frozen=True)
class Panel:
    """A part at a save, under a title."""

    part: Part
    save: int
    title: str = ""


def together(updates: list[Update]) -> Update:
    """All of the updates as one."""

    def update(save: int) -> None:
        for one in updates:
            one(save)

    return update


def map_scale(parts: list[Part], saves: list[int]) -> Scale:
    """One scale for all maps of a row."""
    return scale_of((part.density[k].to_numpy(), part.sizes.to_numpy()) for part in parts for k in saves)


def draw_maps(
    figure: Any, sheet: Sheet, what: str, rows: list[list[Panel]], saves: list[int], title: str | None = None
) -> Update:
    """Maps with one bar of colours; saves : all that the scale holds, as the limits of the axes; title : over all of them."""
    parts = list({id(panel.part): panel.part for row in rows for panel in row}.values())
    alike = len({part.density.dims for part in parts}) == 1
    limits = {id(part): map_limits(sheet, parts if alike else [part], saves) for part in (parts[:1] if alike else parts)}
    scale = map_scale(parts, saves)
    norm = scale.norm()
    grid = figure.subplots(len(rows), len(rows[0]), sharex=alike, sharey=alike, squeeze=False)
    handles: Handles = {}
    updates, mesh = [], None
    for line, row in zip(grid, rows, strict=True):
        for axes, panel in zip(line, row, strict=True):
            mesh, update = draw_map(axes, sheet, panel.part, panel.save, scale, norm)
            updates.append(update)
            set_limits(axes, sheet, panel.part, limits[id(parts[0] if alike else panel.part)])
            axes.set_title(panel.title)
            for landmark in sheet.reference.landmarks:
                handles |= draw_on_map(axes, landmark, panel.part, sheet.dataset)
        if len(rows) > 1:
            line[0].set_ylabel(f"{row[0].part.title}\n{line[0].get_ylabel()}")
    for axes in grid.ravel() if alike else ():
        axes.label_outer()
    if sheet.reference.solution is not None:
        handles["exact solution: 50 %, 90 %"] = handle(color="black", ls=":", lw=1.2)
    add_colours(figure, mesh, list(grid.ravel()), scale, what, len(rows))
    if title is not None:
        figure.suptitle(title)
    legend_below(figure, handles)
    return together(updates)


def map_limits(sheet: Sheet, parts: list[Part], saves: list[int]) -> Limits:
    """Limits of maps of the same two factors."""
    return sheet.ends(parts, parts[0].x, saves), sheet.ends(parts, str(parts[0].y), saves)


def true_proportion(sheet: Sheet, part: Part, limits: Limits) -> float | None:
    """Height of a map over its width where both factors have the same unit, and neither is much longer; else None."""
    names = [part.x, str(part.y)]
    width, height = (upper - lower for lower, upper in limits)
    units = {str(sheet.dataset[name].attrs.get("units", "1")) for name in names}
    lines = all(f"{name}_bounds" in sheet.dataset.variables for name in names)
    return height / width if lines and len(units) == 1 and 0.45 <= height / width <= 1.3 else None


def proportion(sheet: Sheet, block: Block, saves: list[int]) -> float:
    """Height of a map over its width."""
    return true_proportion(sheet, block.parts[0], map_limits(sheet, block.parts, saves)) or 0.9


def add_colours(figure: Any, mesh: Any, axes: list["Axes"], scale: Scale, what: str, rows: int = 1) -> None:
    """A bar of colours beside rows of axes."""
    extend = "max" if scale.clipped else "neither"
    bar = figure.colorbar(mesh, ax=axes, label=scale.label(what), extend=extend, pad=0.01, aspect=22 * rows)
    bar.outline.set_linewidth(0.5)
    if scale.logarithmic:
        mark_decades(bar.ax.yaxis, (scale.lower, scale.upper))


def draw_map(axes: "Axes", sheet: Sheet, part: Part, save: int, scale: Scale, norm: Any) -> tuple[Any, Update]:
    """One map; the mesh, and what draws another save in it."""
    x, y = (edges_of(sheet.dataset, str(n)) for n in (part.x, part.y))
    mesh = axes.pcolormesh(x, y, scale.raised(part.density[save].to_numpy()), norm=norm, cmap=COLOURS, rasterized=True)
    contours: list[Any] = []

    def update(index: int) -> None:
        mesh.set_array(scale.raised(part.density[index].to_numpy()))
        while contours:
            contours.pop().remove()
        exact = sheet.exact(part, index)
        drawn = None if exact is None else draw_contours(axes, part, exact, ":")
        contours.extend([] if drawn is None else [drawn])

    update(save)
    return mesh, update


def set_limits(axes: "Axes", sheet: Sheet, part: Part, limits: Limits) -> None:
    """Limits, ticks and labels of a map."""
    graded = False
    for which, name, ends in zip("xy", (part.x, str(part.y)), limits, strict=True):
        inside = sheet.dataset[name].to_numpy()
        inside = inside[(inside >= ends[0]) & (inside <= ends[1])]
        if f"{name}_bounds" in sheet.dataset.variables and scale_by_cells(axes, which, inside):
            graded = True
        else:
            set_ticks(axes, which, sheet.dataset[name], ends, sheet.style.ticks)
        axes.set(**{f"{which}lim": ends, f"{which}label": axis_label(sheet.dataset[name])})
    if not graded and true_proportion(sheet, part, limits) is not None:
        axes.set_aspect("equal")


def draw_curves(figure: Any, sheet: Sheet, block: Block, saves: list[int], ticks: int = 5, movie: bool = False) -> Update:
    """Densities over one factor, a panel for each combination of labels, with colours of time and one bar for them.

    ticks : most of them; movie : one save is drawn over the first one, with the limits of all.
    """
    from matplotlib import colormaps

    drawn = [saves[0]] if movie else saves
    colours = [BLUE] if movie else [colormaps[COLOURS](0.88 * k / max(1, len(drawn) - 1)) for k in range(len(drawn))]
    scale = map_scale(block.parts, saves)
    panels = figure.subplots(1, len(block.parts), sharex=True, sharey=True, squeeze=False)[0]
    handles: Handles = {}
    updates = []
    for axes, part in zip(panels, block.parts, strict=True):
        for landmark in sheet.reference.landmarks:
            handles |= draw_along(axes, landmark, part, sheet.dataset)
        if movie:
            axes.plot(part.density[part.x], part.density[saves[0]], color="0.6", lw=1.0)
        lines = [axes.plot(part.density[part.x], part.density[k], color=c)[0] for k, c in zip(drawn, colours, strict=True)]
        dashed: list[Any] = []
        for save in drawn:
            exact = sheet.exact(part, save)
            dashed += [] if exact is None else axes.plot(part.density[part.x], exact, "--", color="black", lw=0.8)
        if dashed:
            handles["exact solution"] = dashed[0]
        updates.append(curve_update(sheet, part, lines[0], dashed))
        ends = sheet.ends(block.parts, part.x, saves)
        set_ticks(axes, "x", sheet.dataset[part.x], ends, ticks if len(block.parts) == 1 else 3)
        axes.set(xlim=ends, xlabel=axis_label(sheet.dataset[part.x]), title=part.title)
        if scale.logarithmic:
            axes.set(yscale="log", ylim=(scale.lower / 3, 1.5 * scale.largest))
        else:
            axes.set_ylim(0, 1.06 * max(scale.largest, min(axes.dataLim.ymax, 2 * scale.largest)))
    panels[0].set_ylabel(block.what)
    if not movie:
        time_bar(figure, panels, sheet, saves, colours)
    legend_below(figure, handles)
    return together(updates)


def curve_update(sheet: Sheet, part: Part, line: Any, dashed: list[Any]) -> Update:
    """What draws another save in a panel of curves."""

    def update(index: int) -> None:
        line.set_ydata(part.density[index].to_numpy())
        exact = sheet.exact(part, index) if dashed else None
        if exact is not None:
            dashed[0].set_ydata(exact)

    return update


def time_bar(figure: Any, panels: Any, sheet: Sheet, saves: list[int], colours: list[Any]) -> None:
    """The times of the curves by their colours."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import BoundaryNorm, ListedColormap

    steps = BoundaryNorm(np.arange(len(saves) + 1) - 0.5, len(saves))
    bar = figure.colorbar(ScalarMappable(steps, ListedColormap(colours)), ax=list(panels), label="time $t$", pad=0.01, aspect=22)
    bar.set_ticks(range(len(saves)), labels=[number(float(sheet.dataset["time"][k])) for k in saves])
    bar.ax.tick_params(length=0)
    bar.outline.set_linewidth(0.5)


def draw_directions(figure: Any, sheet: Sheet, panels: dict[str, xarray.DataArray]) -> None:
    """Share of mass·norm per sector over time, one panel per label, with one bar of colours."""
    scale = scale_of((part.to_numpy().ravel(), np.ones(part.size)) for part in panels.values())
    axes = figure.subplots(1, len(panels), sharex=True, sharey=True, squeeze=False)[0]
    time = sheet.dataset["time"].to_numpy()
    edges = np.concatenate([time[:1], (time[1:] + time[:-1]) / 2, time[-1:]])
    norm, mesh = scale.norm(), None
    for ax, (title, part) in zip(axes, panels.items(), strict=True):
        shares = part.transpose("angle", "time").to_numpy()
        angles = np.linspace(0, 360, len(shares) + 1)
        mesh = ax.pcolormesh(edges, angles, scale.raised(shares), norm=norm, cmap=COLOURS, rasterized=True)
        ax.set(xlabel="time $t$", title=title)
        ax.set_yticks(range(0, 361, 90))
        ax.label_outer()
    axes[0].set_ylabel("direction (°)")
    add_colours(figure, mesh, list(axes), scale, "share of mass × norm")
