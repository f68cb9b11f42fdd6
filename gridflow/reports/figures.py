"""Figures of a page: densities with a slider over the time, energies, predictions and errors, as plotly draws them.

Maps are coarsened, by sums of masses, to what a screen shows; hover values are those of the coarsened cells.
"""

from typing import TYPE_CHECKING, Any

import numpy as np
import xarray
from numpy.typing import NDArray

from gridflow.output.globe import surface_blocks
from gridflow.output.projections import Block, Part, blocks, edges_of, label_names
from gridflow.output.reference import reference_of
from gridflow.output.remap import remap
from gridflow.output.scales import Scale, scale_of, telling_saves
from gridflow.output.style import BLUE, COLOURS, ORANGE, PURPLE, SKY, VERMILLION
from gridflow.output.ugrid import mesh_names
from gridflow.space.factor import Array

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

FRAMES = 16
"""Times of a slider, at most."""
CELLS = 72
"""Cells of a map along a side, at most: ten results with their slider stay below 12 MB."""
DEGREES = 4.0
"""Width of the boxes of latitude and longitude by which surfaces are shown."""
LINES = (BLUE, VERMILLION, SKY, ORANGE, PURPLE)
COLOUR = "#808890"
"""Text and axes: readable on a light and on a dark page."""


def density_figures(dataset: xarray.Dataset) -> "list[Figure]":
    """Densities over two factors, one or a surface; every one with a slider."""
    saves = telling_saves(dataset, FRAMES)
    said = reference_of(dataset)
    maps, curves = blocks(dataset, said.order, said.views)
    figures = [map_figure(dataset, part, block.what, saves) for block in maps for part in block.parts]
    figures += [curve_figure(dataset, block, saves) for block in curves]
    for name, block in zip(mesh_names(dataset), surface_blocks(dataset, label_names(dataset)), strict=True):
        boxes = remap(dataset, DEGREES, name)
        figures.append(surface_figure(boxes, name, block, saves))
    return figures


def map_figure(dataset: xarray.Dataset, part: Part, what: str, saves: list[int]) -> "Figure":
    """A map of a density over two factors."""
    assert part.y is not None
    x, y = edges_of(dataset, part.x), edges_of(dataset, part.y)
    sizes = part.sizes.to_numpy()
    rows, columns = (starts(n) for n in sizes.shape)
    area = sums(sizes, rows, columns)
    fields = [sums(part.density[k].to_numpy() * sizes, rows, columns) / area for k in saves]
    scale = scale_of((field, area) for field in fields)
    edges = np.append(x[columns], x[-1]), np.append(y[rows], y[-1])
    title = f"{what}, {part.title}" if part.title else what
    return slider_of_maps(fields, scale, edges, (part.x, part.y), title, dataset["time"].to_numpy()[saves])


def surface_figure(boxes: xarray.Dataset, name: str, block: Block, saves: list[int]) -> "Figure":
    """A map of mass per area over longitude and latitude, all labels together."""
    area = boxes["cell_area"].transpose("lat", "lon").to_numpy()
    density = boxes["density"].transpose("time", "lat", "lon")
    fields = [density[k].to_numpy() for k in saves]
    scale = scale_of((field, area) for field in fields)
    edges = boxes["lon"].to_numpy(), boxes["lat"].to_numpy()
    title = f"mass per area of {name}" if len(block.parts) == 1 else f"mass per area of {name}, all labels"
    return slider_of_maps(fields, scale, edges, ("longitude (°)", "latitude (°)"), title, boxes["time"].to_numpy()[saves])


def starts(cells: int) -> NDArray[np.int64]:
    """First cells of groups of equal numbers, at most CELLS."""
    return np.arange(0, cells, -(-cells // CELLS), dtype=np.int64)


def sums(field: Array, rows: NDArray[np.int64], columns: NDArray[np.int64]) -> Array:
    """Sums over groups of rows and columns."""
    return np.add.reduceat(np.add.reduceat(field, rows, axis=0), columns, axis=1)


def slider_of_maps(
    fields: list[Array], scale: Scale, edges: tuple[Array, Array], names: tuple[str, str], title: str, times: Array
) -> "Figure":
    """Heat maps with one range of colours for all times."""
    from plotly import graph_objects as go

    shown = [np.log10(scale.raised(field)) if scale.logarithmic else field for field in fields]
    low, high = (np.log10([scale.lower, scale.upper])) if scale.logarithmic else (scale.lower, scale.upper)
    label = f"log₁₀ {scale.label('density')}" if scale.logarithmic else scale.label("density")
    value = "10^%{z:.3f}" if scale.logarithmic else "%{z:.4g}"
    bar = {"title": {"text": label, "side": "right"}}
    looks = {"colorscale": COLOURS, "zmin": low, "zmax": high, "colorbar": bar}
    hover = f"{names[0]} = %{{x:.4g}}<br>{names[1]} = %{{y:.4g}}<br>density {value}<extra></extra>"

    def trace(k: int) -> Any:
        return go.Heatmap(x=edges[0], y=edges[1], z=np.float32(shown[k]), hovertemplate=hover, **looks)

    figure = with_slider([[trace(k)] for k in range(len(fields))], times, title)
    return figure.update_layout(xaxis_title=names[0], yaxis_title=names[1], height=460)


def curve_figure(dataset: xarray.Dataset, block: Block, saves: list[int]) -> "Figure":
    """Densities over one factor, one line per label, over the range of all times."""
    from plotly import graph_objects as go

    name = block.parts[0].x
    x = dataset[name].to_numpy()
    highest = max(float(part.density[saves].max()) for part in block.parts)

    def traces(save: int) -> list[Any]:
        return [
            go.Scatter(
                x=x,
                y=np.float32(part.density[save].to_numpy()),
                mode="lines",
                name=part.title or block.what,
                line={"color": LINES[k % len(LINES)]},
                hovertemplate=f"{name} = %{{x:.4g}}<br>density %{{y:.4g}}<extra></extra>",
            )
            for k, part in enumerate(block.parts)
        ]

    figure = with_slider([traces(k) for k in saves], dataset["time"].to_numpy()[saves], block.what)
    figure.update_layout(xaxis_title=name, yaxis_title="density", height=400, showlegend=len(block.parts) > 1)
    return figure.update_yaxes(range=[0.0, 1.05 * highest])


def with_slider(frames: list[list[Any]], times: Array, title: str) -> "Figure":
    """A figure whose traces change along a slider; it begins with the last time."""
    from plotly import graph_objects as go

    names = [f"{t:.6g}" for t in times]
    animation = {"mode": "immediate", "frame": {"duration": 0, "redraw": True}, "transition": {"duration": 0}}
    steps = [{"method": "animate", "label": name, "args": [[str(k)], animation]} for k, name in enumerate(names)]
    playing = {
        "mode": "immediate",
        "frame": {"duration": 250, "redraw": True},
        "transition": {"duration": 0},
        "fromcurrent": False,
    }
    play = {"method": "animate", "label": "▶ play", "args": [None, playing]}
    figure = go.Figure(frames[-1], frames=[go.Frame(data=data, name=str(k)) for k, data in enumerate(frames)])
    figure.update_layout(
        title=heading(title),
        sliders=[{"active": len(frames) - 1, "currentvalue": {"prefix": "time "}, "steps": steps, "pad": {"t": 40}}],
        updatemenus=[{"type": "buttons", "buttons": [play], "x": 1.0, "y": 1.15, "xanchor": "right", "showactive": False}],
    )
    return plain(figure)


def plain(figure: "Figure") -> "Figure":
    """The looks of every figure: no background, so that a light and a dark page both fit."""
    axis = {"gridcolor": "rgba(128,136,144,0.25)", "zeroline": False, "automargin": True}
    figure.update_xaxes(**axis)
    figure.update_yaxes(**axis)
    return figure.update_layout(
        template="none",
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        font={"color": COLOUR, "size": 12},
        margin={"l": 55, "r": 20, "t": 50, "b": 45},
        legend={"orientation": "h", "y": -0.25},
        height=330,
    )


def energy_figure(dataset: xarray.Dataset) -> "Figure":
    """The energy, or free energy, over time."""
    return line_figure(dataset, ["energy"], "energy, with a temperature the free energy")


def record_figures(dataset: xarray.Dataset) -> "list[Figure]":
    """Energy, and errors against an exact solution where they are recorded."""
    errors = [n for n in ("error_w1", "error_l1", "gibbs_distance", "free_energy_gap") if n in dataset]
    return [
        energy_figure(dataset),
        *([line_figure(dataset, errors, "errors and certificates", logarithmic=True)] if errors else []),
    ]


def line_figure(dataset: xarray.Dataset, names: list[str], title: str, logarithmic: bool = False) -> "Figure":
    """Records over time."""
    lines = [(name, dataset[name].to_numpy().astype(float)) for name in names]
    figure = lines_over_time(dataset["time"].to_numpy(), lines, title)
    return figure.update_yaxes(type="log", exponentformat="power") if logarithmic else figure


def lines_over_time(times: Array, lines: list[tuple[str, Array]], title: str) -> "Figure":
    """Named lines, each with a colour of its own."""
    from plotly import graph_objects as go

    figure = plain(go.Figure())
    for k, (name, values) in enumerate(lines):
        look = {"size": 4, "color": LINES[k % len(LINES)]}
        figure.add_scatter(x=times, y=values, name=name, mode="lines+markers", marker=look)
    return figure.update_layout(title=heading(title), xaxis_title="time", showlegend=len(lines) > 1)


def heading(text: str) -> dict[str, Any]:
    """The title of a figure."""
    return {"text": text, "font": {"size": 14}}


def fit_figure(dataset: xarray.Dataset) -> "Figure | None":
    """Predictions at the end against the targets of the data, at most a thousand; None without data."""
    from plotly import graph_objects as go

    if "prediction" not in dataset or "target" not in dataset:
        return None
    target, prediction = dataset["target"].to_numpy().ravel(), dataset["prediction"][-1].to_numpy().ravel()
    chosen = np.linspace(0, target.size - 1, min(target.size, 1000)).round().astype(int)
    ends = [float(target.min()), float(target.max())]
    figure = plain(go.Figure())
    figure.add_scatter(x=target[chosen], y=prediction[chosen], mode="markers", marker={"size": 5, "color": LINES[0]}, name="data")
    figure.add_scatter(x=ends, y=ends, mode="lines", line={"color": COLOUR, "dash": "dot"}, name="equal")
    return figure.update_layout(title=heading("predictions at the end"), xaxis_title="target", yaxis_title="prediction")


def verdict_figure(dataset: xarray.Dataset) -> "Figure":
    """Errors of the grid, as shares of their thresholds, over time."""
    share = (dataset["grid_error"] / dataset["threshold"]).transpose("quantity", "time")
    lines = [(str(row["quantity"].item()), row.to_numpy()) for row in share]
    figure = lines_over_time(dataset["time"].to_numpy(), lines, "error of the grid over its threshold")
    figure.add_hline(y=1.0, line={"color": COLOUR, "dash": "dot"})
    return figure.update_yaxes(type="log", exponentformat="power")
