"""Single axes of a picture: densities, directions, energy, certificates, fit."""

from typing import TYPE_CHECKING, Any

import numpy as np
import xarray

from gridflow.output.projections import panel_times

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from gridflow.space.factor import Array


def draw_density(axes: "Axes", part: xarray.DataArray, index: int, title: str) -> None:
    """Logarithmic colours over six decades below the largest density at this time: what lies lower is not seen at any scale."""
    y, x = (str(d) for d in part.dims[1:])
    field = part.isel(time=index).to_numpy()
    largest = field.max() if field.max() > 0 else 1.0
    draw_field(axes, part[x], part[y], field, 1e-6 * largest, largest)
    axes.set(xlabel=x, ylabel=y, title=f"{title + ', ' if title else ''}t = {float(part['time'][index]):.4g}")
    scale_by_cells(axes.set_xscale, axes.set_xticks, part[x].to_numpy())
    scale_by_cells(axes.set_yscale, axes.set_yticks, part[y].to_numpy())


def draw_field(axes: "Axes", x: Any, y: Any, field: "Array", smallest: float, largest: float) -> None:
    """Logarithmic colours from `smallest` to `largest` with their bar; field (y, x)."""
    from matplotlib.colors import LogNorm

    colours, values = LogNorm(smallest, largest), np.maximum(field, smallest)
    mesh = axes.pcolormesh(x, y, values, norm=colours, cmap="magma", shading="nearest", rasterized=True)
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
    shares = part.transpose("angle", "time").to_numpy()
    draw_field(axes, np.arange(part.sizes["time"]), part["angle"], shares, 1e-4, 1.0)
    marked = panel_times(part.to_dataset(name="share"))
    axes.set_xticks(marked, [f"{float(part['time'][k]):.4g}" for k in marked])
    axes.set(xlabel="time", ylabel="angle in degrees", yticks=range(0, 361, 90), title=title)


def draw_curves(axes: "Axes", parts: dict[str, xarray.DataArray], columns: list[int]) -> None:
    """Densities along one factor at the saves `columns`; masses of labels over time."""
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
    """Energy and dissipation over time."""
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
    """Changes of mass, mass at the boundary, distances to the Gibbs density and errors against an exact solution over time."""
    time, mass = dataset["time"], dataset["mass"].to_numpy()
    label = "relative change of mass" if "mass_free" in dataset.attrs else "relative mass error"
    axes.semilogy(time, np.maximum(np.abs(mass / mass[0] - 1), 1e-17), label=label)
    boundary = dataset["boundary_mass"].to_numpy()
    if boundary.max() > 0:
        axes.semilogy(time, np.maximum(boundary, 1e-17), label="boundary mass")
    for name in ("gibbs_distance", "free_energy_gap", "error_w1", "error_l1"):
        if name in dataset:
            axes.semilogy(time, np.maximum(dataset[name], 1e-17), label=name)
    axes.set(xlabel="time", title="certificates", ylim=(1e-17, None))
    axes.legend(fontsize="small")


def draw_fit_or_time_step(axes: "Axes", dataset: xarray.Dataset) -> None:
    """The fit of a network at the last time, or the time step over time."""
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
