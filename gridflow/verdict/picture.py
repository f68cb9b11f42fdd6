"""The picture of a validation, from its dataset alone."""

from typing import TYPE_CHECKING

import numpy as np
import xarray

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TINY = 1e-17


def verdict_figure(result: xarray.Dataset) -> "Figure":
    """A panel per quantity with a rate (distance against N), then the verdict over time, errors over time, and energies."""
    from gridflow.output.figures import Picture

    particles = "distance" in result
    judged = [k for k in range(result.sizes["quantity"]) if int(result["slope_judged"][k])] if particles else []
    over_time = [*([draw_verdict] if particles else []), draw_errors, draw_energy]
    panels = len(judged) + len(over_time)
    columns = min(4, panels)
    rows = -(-panels // columns)
    figure = Picture(figsize=(4.3 * columns, 3.7 * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for ax, k in zip(axes, judged, strict=False):
        draw_rate(ax, result.isel(quantity=k))
    for ax, draw in zip(axes[len(judged) :], over_time, strict=False):
        draw(ax, result)
    for ax in axes[panels:]:
        ax.set_axis_off()
    a = result.attrs
    worth = "" if a["worth_quantity"] == "none" else f"; worth {a['worth']:.1e} particles"
    figure.suptitle(f"{a['title']}: {a['verdict']}{' (quick)' if a['quick'] else ''}{worth}")
    return figure


def draw_rate(axes: "Axes", row: xarray.Dataset) -> None:
    """Distances of random ensembles at the time where the grid is worth least, against N."""
    count = row["count"].to_numpy().astype(float)
    sampling = row["random_null"].mean("pair") / np.sqrt(2)
    worst = int((row["grid_error"] / (sampling * np.sqrt(count)).mean("count")).to_numpy().argmax())
    at = row.isel(time=worst)
    distance, null = at["random_distance"], at["random_null"]
    lower, upper = (null.quantile(level, "pair") for level in (0.05, 0.95))
    axes.fill_between(count, lower, upper, alpha=0.25, label="between ensembles, 90 %")
    axes.loglog(count, distance.mean("ensemble"), "o-", label="to the grid")
    fitted = float(np.exp(np.log(sampling.isel(time=worst) * np.sqrt(count)).mean()))
    floor = float(at["grid_error"])
    reach = np.geomspace(count[0], max(count[-1], min(4 * (fitted / max(floor, TINY)) ** 2, 1e12)), 50)
    axes.loglog(reach, fitted / np.sqrt(reach), "k--", lw=0.8, label="$N^{-1/2}$")
    axes.axhline(floor, color="tab:red", lw=1, label="grid error")
    axes.axhline(float(at["allowed"]), color="tab:green", ls=":", lw=1)
    axes.axhline(float(at["distance"]), color="tab:green", lw=1, label="verdict ensembles; allowed (dotted)")
    slope = f"slope {float(row['slope']):+.2f} ± {float(row['slope_error']):.2f}"
    axes.set(xlabel="particles N", title=f"{row['quantity'].item()}, t = {float(at['time']):.3g}: {slope}")
    axes.legend(fontsize="x-small")


def draw_verdict(axes: "Axes", result: xarray.Dataset) -> None:
    """Distances to the particles over time, as shares of what is allowed."""
    for name, row in rows_of(result):
        ratio = row["distance"] / np.maximum(row["allowed"], TINY)
        axes.semilogy(row["time"], np.maximum(ratio, 1e-3), "o-", ms=3, label=name)
    axes.axhline(1.0, color="k", lw=1)
    axes.set(xlabel="time", title="distance to the particles / allowed")
    axes.legend(fontsize="xx-small", ncols=2, framealpha=0.6)


def draw_errors(axes: "Axes", result: xarray.Dataset) -> None:
    """Errors of the grid over time, estimated and against an exact solution, with their thresholds."""
    for k, (name, row) in enumerate(rows_of(result)):
        axes.semilogy(row["time"], np.maximum(row["grid_error"], TINY), "o-", ms=3, color=f"C{k}", label=name)
        if "exact_error" in row:
            axes.semilogy(row["time"], np.maximum(row["exact_error"], TINY), "x--", ms=4, color=f"C{k}")
        axes.axhline(float(row["threshold"]), color=f"C{k}", lw=0.6, ls=":")
    exact = ", exact (x)" if "exact_error" in result else ""
    axes.set(xlabel="time", title=f"grid error: estimated (o){exact}; thresholds dotted")
    axes.legend(fontsize="xx-small", ncols=2, framealpha=0.6)


def rows_of(result: xarray.Dataset) -> list[tuple[str, xarray.Dataset]]:
    """Name and part of the dataset of every quantity."""
    return [(str(name), result.sel(quantity=name)) for name in result["quantity"].values]


def draw_energy(axes: "Axes", result: xarray.Dataset) -> None:
    """Energies of the grid, and of the random ensembles of the smallest and the largest N, over time."""
    time, energies = result["time"], [result["energy"]]
    for k in (0, result.sizes["count"] - 1) if "random_energy" in result else ():
        part = result["random_energy"].isel(count=k)
        label = f"{int(part['count'])} particles, ensembles"
        axes.fill_between(time, part.min("ensemble"), part.max("ensemble"), alpha=0.3, label=label)
        energies.append(part)
    axes.plot(time, result["energy"], "k.-", lw=1, label="grid")
    if all((energy > 0).all() for energy in energies):
        axes.set_yscale("log")
    axes.set(xlabel="time", title="energy")
    axes.legend(fontsize="x-small")
