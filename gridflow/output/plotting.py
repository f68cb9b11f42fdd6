"""Pictures and animations of a result. They need only the dataset, in memory or opened from a file."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import xarray

from gridflow.errors import require
from gridflow.files import check_new_file, open_netcdf
from gridflow.output.animation import animate
from gridflow.output.globe import draw_surfaces, surface_panels
from gridflow.output.panels import (
    draw_certificates,
    draw_curves,
    draw_density,
    draw_directions,
    draw_energy,
    draw_fit_or_time_step,
)
from gridflow.output.projections import PANELS, direction_panels, label_names, panel_times, projections

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOVIES = {".gif", ".mp4"}
PICTURES = {".png", ".pdf", ".svg"}


def plot(result: xarray.Dataset | str | Path, output: str | Path | None = None, overwrite: bool = False) -> "Figure":
    """Density at several times, energy, mass error, fit and directions of a network; written to `output` if given.

    `output` ends in .png, .pdf or .svg for a picture, in .gif or .mp4 for an animation over the saved times.
    >>> case = gridflow.load_case("ornstein-uhlenbeck").replace({"space.x.cells": 64, "time.save": 3})
    >>> figure = gridflow.plot(gridflow.solve(case))
    >>> [axes.get_title() for axes in figure.axes][1:]
    ['energy and dissipation', 'certificates', 'time step']

    Raises InputError for a file that is not a gridflow result, an unknown ending, or an output that exists.
    """
    target = None if output is None else Path(output)
    if target is not None:
        check_new_file(target, PICTURES | MOVIES, overwrite)
    dataset = result if isinstance(result, xarray.Dataset) else read_result(Path(result), "plot")
    joined = [str(d) for d in dataset["density"].dims if d != "time" and d not in dataset["cell_volume"].dims]
    require(not joined, f"a picture of runs along {', '.join(joined)}", "one run", "choose one with ds.isel")
    if target is not None and target.suffix in MOVIES:
        return animate(dataset, target)
    figure = overview(dataset)
    if target is not None:
        figure.savefig(target, dpi=110)
    return figure


def read_result(path: Path, purpose: str) -> xarray.Dataset:
    """A result from its file. Raises InputError for another file; `purpose` is named in the message."""
    with open_netcdf(path, purpose) as file:
        dataset = file.load()
    complete = {"density", "energy", "cell_volume"} <= set(map(str, dataset.variables)) and dataset.sizes["time"] > 0
    received = f"{path.name!r} lacks the variables of a gridflow result"
    require(complete, received, "a NetCDF file written by gridflow", "solve a case first")
    return dataset


def overview(dataset: xarray.Dataset) -> "Figure":
    """Surfaces, densities at several times, directions of neurons; below them energy, certificates and fit or time step."""
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    from gridflow.output.figures import Picture

    parts, surfaces = projections(dataset), surface_panels(dataset, label_names(dataset))
    columns = panel_times(dataset)
    turning = direction_panels(dataset)
    flat = any(part.ndim == 3 for part in parts.values())
    rows = len(parts) if flat else 1
    heights = [h for h in (len(surfaces), rows if parts else 0, 1 if turning else 0) if h] + [1]
    size = (3.2 * PANELS, 2.9 * sum(heights))
    figure = Picture(figsize=size, layout=ConstrainedLayoutEngine(rect=(0.0, 0.0, 1.0, 1 - 0.3 / size[1])))  # the title
    figure.suptitle(f"{dataset.attrs.get('title', '')} ({dataset.attrs.get('source', '')})")
    subfigures: Any = figure.subfigures(len(heights), 1, height_ratios=heights, squeeze=False)[:, 0]
    *remaining, bottom = subfigures
    if surfaces:
        draw_surfaces(remaining.pop(0), dataset, surfaces, [columns[0], columns[-1]])
    if flat:
        panels = remaining.pop(0).subplots(rows, len(columns), squeeze=False)
        for line, (title, part) in zip(panels, parts.items(), strict=True):
            for axes, index in zip(line, columns, strict=True):
                draw_density(axes, part, index, title)
    elif parts:
        draw_curves(remaining.pop(0).subplots(), parts, columns)
    for panel in remaining:
        for axes, (title, part) in zip(panel.subplots(1, len(turning), squeeze=False)[0], turning.items(), strict=True):
            draw_directions(axes, part, title)
    for axes, draw in zip(bottom.subplots(1, 3), (draw_energy, draw_certificates, draw_fit_or_time_step), strict=True):
        draw(axes, dataset)
    return figure
