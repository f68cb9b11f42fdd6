"""Pictures and animations of a result. They need only the dataset, in memory or opened from a file."""

from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray

from gridflow.errors import InputError
from gridflow.files import check_new_file, open_netcdf
from gridflow.output.directions import direction_planes, directions
from gridflow.output.globe import draw_surfaces, surface_panels
from gridflow.output.ugrid import mesh_names

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from gridflow.space.factor import Array

PANELS = 5
"""Densities shown side by side: the source of the batch-norm figures shows five times."""
LABELS_MAX = 4
"""Labels for which curves along a single line are drawn; of more labels the density over both is."""
MOVIES = {".gif", ".mp4"}
PICTURES = {".png", ".pdf", ".svg"}


def plot(result: xarray.Dataset | str | Path, output: str | Path | None = None, overwrite: bool = False) -> "Figure":
    """Density at several times, energy, mass error, fit and directions of a network; written to `output` if given.

    `output` ends in .png, .pdf or .svg for a picture, in .gif or .mp4 for an animation over the saved times.
    Raises InputError for a file that is not a gridflow result, an unknown ending, or an output that exists.
    """
    target = None if output is None else Path(output)
    if target is not None:
        check_new_file(target, PICTURES | MOVIES, overwrite)
    dataset = result if isinstance(result, xarray.Dataset) else read_result(Path(result))
    if target is not None and target.suffix in MOVIES:
        return animate(dataset, target)
    figure = overview(dataset)
    if target is not None:
        figure.savefig(target, dpi=110)
    return figure


def read_result(path: Path) -> xarray.Dataset:
    with open_netcdf(path, "plot") as file:
        dataset = file.load()
    if not {"density", "energy", "cell_volume"} <= set(map(str, dataset.variables)) or dataset.sizes["time"] == 0:
        raise InputError(
            f"{path.name!r} lacks the variables of a gridflow result", "a NetCDF file written by gridflow", "solve a case first"
        )
    return dataset


# -------------------------------------------------------------------------------------------------------- projections
def factor_names(dataset: xarray.Dataset) -> list[str]:
    return [str(d) for d in dataset["density"].dims if d != "time"]


def is_labels(dataset: xarray.Dataset, name: str) -> bool:
    return f"{name}_bounds" not in dataset.variables and f"{name}_mesh" not in dataset.variables


def label_names(dataset: xarray.Dataset) -> list[str]:
    return [n for n in factor_names(dataset) if is_labels(dataset, n)]


def projections(dataset: xarray.Dataset) -> dict[str, xarray.DataArray]:
    """Densities of dimension one or two to draw, by title: one per label; marginals over surfaces and further lines.

    One line with many labels is drawn as a density of both.
    """
    meshes, labels = mesh_names(dataset), label_names(dataset)
    lines = [n for n in factor_names(dataset) if n not in (*meshes, *labels)]
    shown = lines[:2]
    density = dataset["density"]
    if meshes and not lines:
        return {}
    for name in meshes:
        density = (density * dataset[f"{name}_area"]).sum(name)
    for name in lines[2:]:
        density = (density * widths(dataset, name)).sum(name)
    if len(shown) == len(labels) == 1 and dataset.sizes[labels[0]] > LABELS_MAX:
        return {"": density.transpose("time", *labels, *shown)}
    result = {}
    for values in product(*(dataset[n].to_numpy() for n in labels)):
        chosen = dict(zip(labels, values, strict=True))
        title = ", ".join(f"{n} = {v:g}" for n, v in chosen.items())
        result[title] = density.sel(chosen).transpose("time", *shown)
    return result


def direction_panels(dataset: xarray.Dataset) -> dict[str, xarray.DataArray]:
    """Directions over time of every plane of weights, by title: one per label, each with sum 1 over the sectors."""
    result = {}
    for plane in direction_planes(dataset):
        shares = directions(dataset, plane)
        labels = [str(d) for d in shares.dims[1:-1]]
        for values in product(*(shares[n].to_numpy() for n in labels)):
            chosen = dict(zip(labels, values, strict=True))
            part = shares.sel(chosen)
            title = f"directions of ({', '.join(plane)})" + "".join(f", {n} = {v:g}" for n, v in chosen.items())
            result[title] = part / np.maximum(part.sum("angle"), np.finfo(float).tiny)
    return result


def widths(dataset: xarray.Dataset, name: str) -> xarray.DataArray:
    bounds = dataset[f"{name}_bounds"]
    return bounds.isel(bounds=1) - bounds.isel(bounds=0)


def panel_times(dataset: xarray.Dataset, panels: int = PANELS) -> list[int]:
    """Indices of about equally spaced saved times, the first and the last included."""
    return sorted({round(k) for k in np.linspace(0, dataset.sizes["time"] - 1, panels)})


# ---------------------------------------------------------------------------------------------------------- pictures
def overview(dataset: xarray.Dataset) -> "Figure":
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    parts, surfaces = projections(dataset), surface_panels(dataset, label_names(dataset))
    columns = panel_times(dataset)
    turning = direction_panels(dataset)
    flat = any(part.ndim == 3 for part in parts.values())
    rows = len(parts) if flat else 1
    heights = [h for h in (len(surfaces), rows if parts else 0, 1 if turning else 0) if h] + [1]
    size = (3.2 * PANELS, 2.9 * sum(heights))
    figure = Figure(figsize=size, layout=ConstrainedLayoutEngine(rect=(0.0, 0.0, 1.0, 1 - 0.3 / size[1])))  # the title
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
    for axes, draw in zip(bottom.subplots(1, 3), (draw_energy, draw_certificates, draw_last), strict=True):
        draw(axes, dataset)
    return figure


def draw_density(axes: "Axes", part: xarray.DataArray, index: int, title: str) -> None:
    """Logarithmic colours over six decades below the largest density at this time: what lies lower is not seen at any scale."""
    from matplotlib.colors import LogNorm

    y, x = (str(d) for d in part.dims[1:])
    field = part.isel(time=index).to_numpy()
    largest = field.max() if field.max() > 0 else 1.0
    smallest = largest * 1e-6
    colours = LogNorm(smallest, largest)
    mesh = axes.pcolormesh(
        part[x], part[y], np.maximum(field, smallest), norm=colours, cmap="magma", shading="nearest", rasterized=True
    )
    axes.set(xlabel=x, ylabel=y, title=f"{title + ', ' if title else ''}t = {float(part['time'][index]):.4g}")
    scale_by_cells(axes.set_xscale, axes.set_xticks, part[x].to_numpy())
    scale_by_cells(axes.set_yscale, axes.set_yticks, part[y].to_numpy())
    axes.figure.colorbar(mesh, ax=axes, shrink=0.8)


def scale_by_cells(set_scale: Any, set_ticks: Any, points: "Array") -> None:
    """Cells of one width on paper, where their widths differ by more than ten: else nothing is seen at the focus."""
    steps = np.diff(points)
    if steps.max() < 10 * steps.min():
        return
    index = np.arange(points.size, dtype=float)
    set_scale("function", functions=(lambda v: np.interp(v, points, index), lambda i: np.interp(i, index, points)))
    marked = points[np.linspace(0, points.size - 1, 5).round().astype(int)]
    set_ticks(marked, [np.format_float_positional(v, precision=1, fractional=False, trim="-") for v in marked])


def draw_directions(axes: "Axes", part: xarray.DataArray, title: str) -> None:
    """Share of mass·norm per sector over the saved times, one column per save."""
    from matplotlib.colors import LogNorm

    shares = np.maximum(part.transpose("angle", "time").to_numpy(), 1e-4)
    columns = np.arange(part.sizes["time"])
    mesh = axes.pcolormesh(
        columns, part["angle"], shares, norm=LogNorm(1e-4, 1.0), cmap="magma", shading="nearest", rasterized=True
    )
    marked = panel_times(part.to_dataset(name="share"))
    axes.set_xticks(marked, [f"{float(part['time'][k]):.4g}" for k in marked])
    axes.set(xlabel="time", ylabel="angle in degrees", yticks=range(0, 361, 90), title=title)
    axes.figure.colorbar(mesh, ax=axes, shrink=0.8)


def draw_curves(axes: "Axes", parts: dict[str, xarray.DataArray], columns: list[int]) -> None:
    from matplotlib import colormaps

    for title, part in parts.items():
        if part.ndim == 1:  # labels alone: masses over time
            axes.plot(part["time"], part, label=title)
            axes.set(xlabel="time", ylabel="density")
            continue
        name = str(part.dims[1])
        for k, index in enumerate(columns):
            colour = colormaps["viridis"](k / max(1, len(columns) - 1) * 0.9)
            label = f"{title + ', ' if title else ''}t = {float(part['time'][index]):.4g}"
            axes.plot(part[name], part.isel(time=index), color=colour, label=label)
        axes.set(xlabel=name, ylabel="density")
    axes.legend(fontsize="small")


def draw_energy(axes: "Axes", dataset: xarray.Dataset) -> None:
    energy, time = dataset["energy"].to_numpy(), dataset["time"].to_numpy()
    if (energy > 0).all():
        axes.semilogy(time, energy, label="energy")
    else:  # a free energy has no natural zero: show what is left to fall
        axes.semilogy(time[:-1], np.maximum(energy[:-1] - energy[-1], 1e-16), label="energy − last energy")
    dissipation = dataset["dissipation"].to_numpy()
    axes.semilogy(time[dissipation > 0], dissipation[dissipation > 0], "--", label="dissipation")
    axes.set(xlabel="time", title="energy and dissipation")
    axes.legend(fontsize="small")


def draw_certificates(axes: "Axes", dataset: xarray.Dataset) -> None:
    time, mass = dataset["time"], dataset["mass"].to_numpy()
    label = "relative change of mass" if "mass_free" in dataset.attrs else "relative mass error"
    axes.semilogy(time, np.maximum(np.abs(mass / mass[0] - 1), 1e-17), label=label)
    boundary = dataset["boundary_mass"].to_numpy()
    if boundary.max() > 0:
        axes.semilogy(time, np.maximum(boundary, 1e-17), label="boundary mass")
    for name in ("error_w1", "error_l1"):
        if name in dataset:
            axes.semilogy(time, np.maximum(dataset[name], 1e-17), label=name)
    axes.set(xlabel="time", title="certificates", ylim=(1e-17, None))
    axes.legend(fontsize="small")


def draw_last(axes: "Axes", dataset: xarray.Dataset) -> None:
    """The fit of a network, or the time step."""
    if "prediction" not in dataset:
        axes.plot(dataset["time"][1:], dataset["time_step"][1:])
        axes.set(xlabel="time", title="time step", ylim=(0.0, None))
        return
    target, prediction = dataset["target"].to_numpy(), dataset["prediction"].isel(time=-1).to_numpy()
    if dataset.sizes["input_component"] == 1 and target.ndim == 1:
        x = dataset["input"].to_numpy()[:, 0]
        order = np.argsort(x)
        axes.plot(x, target, "o", ms=4, label="data")
        axes.plot(x[order], prediction[order], label="prediction")
        axes.set(xlabel="input", title="fit at the last time")
    else:
        axes.plot(target.ravel(), prediction.ravel(), ".", ms=3, label="data")
        ends = [float(target.min()), float(target.max())]
        axes.plot(ends, ends, "k-", lw=0.8, label="perfect fit")
        axes.set(xlabel="target", ylabel="prediction", title="fit at the last time")
    axes.legend(fontsize="small")


def animate(dataset: xarray.Dataset, target: Path) -> "Figure":
    """One frame per saved time, all panels on one colour scale per frame."""
    from matplotlib import rcParams
    from matplotlib.animation import FFMpegWriter, FuncAnimation, PillowWriter
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    writer: Any = PillowWriter(fps=10)
    if target.suffix == ".mp4":
        try:
            import imageio_ffmpeg

            rcParams["animation.ffmpeg_path"] = imageio_ffmpeg.get_ffmpeg_exe()
        except ImportError:
            pass  # an ffmpeg on the PATH will do
        if not FFMpegWriter.isAvailable():
            raise InputError(
                "an .mp4 without ffmpeg on this machine", ".gif, or ffmpeg", "pip install 'gridflow[movie]', or write -o NAME.gif"
            )
        writer = FFMpegWriter(fps=10)
    parts, surfaces = projections(dataset), surface_panels(dataset, label_names(dataset))
    flat = any(part.ndim == 3 for part in parts.values())
    panels = len(parts) if flat or not parts else 1
    heights = [h for h in (len(surfaces), 1 if parts else 0) if h]
    figure = Figure(figsize=(max(5 * panels, 9 if surfaces else 0), 4.2 * sum(heights)), layout="constrained")
    FigureCanvasAgg(figure)

    def draw(index: int) -> list[Any]:
        figure.clear()
        subfigures: Any = figure.subfigures(len(heights), 1, height_ratios=heights, squeeze=False)[:, 0]
        if surfaces:
            draw_surfaces(subfigures[0], dataset, surfaces, [index])
        for k, axes in enumerate(subfigures[-1].subplots(1, panels, squeeze=False)[0] if parts else []):
            if flat:
                title, part = list(parts.items())[k]
                draw_density(axes, part, index, title)
            else:
                draw_curves(axes, parts, [index])
                axes.set_ylim(0, 1.05 * max(float(p.max()) for p in parts.values()))
        return []

    FuncAnimation(figure, draw, frames=dataset.sizes["time"]).save(target, writer=writer, dpi=80)
    return figure
