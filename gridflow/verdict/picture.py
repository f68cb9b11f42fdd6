"""The picture of a validation, from its dataset alone."""

from typing import TYPE_CHECKING, Any

import numpy as np
import xarray

from gridflow.output.numbers import legend_above
from gridflow.output.style import BLACK, BLUE, LINES, ORANGE, STYLES, VERMILLION, finish, number, settings

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TINY = 1e-17
COLUMNS, HEIGHT = 3, 2.5
"""Panels side by side, and their height in inches."""


def verdict_figure(result: xarray.Dataset) -> "Figure":
    """A panel per quantity with a rate (distance against N), then the verdict over time, errors over time, and energies."""
    from matplotlib import rc_context

    from gridflow.output.figures import Picture

    style, particles = STYLES["screen"], "distance" in result
    judged = [k for k in range(result.sizes["quantity"]) if int(result["slope_judged"][k])] if "slope" in result else []
    lines = -(-len(judged) // COLUMNS)
    heights = [*([HEIGHT * lines + 0.4] if judged else []), HEIGHT + 0.9]
    a = result.attrs
    worth = "" if a["worth_quantity"] == "none" else f"; worth {a['worth']:.1e} particles"
    with rc_context(settings(style)):
        figure = Picture(figsize=(style.width, sum(heights) + 0.3), layout="constrained", facecolor="white")
        figure.suptitle(f"{a['title']}: {a['verdict']}{' (quick)' if a['quick'] else ''}{worth}", weight="bold", parse_math=False)
        parts: Any = figure.subfigures(len(heights), 1, height_ratios=heights, squeeze=False)[:, 0]
        if judged:
            draw_rates(parts[0], result, judged, lines)
        over_time = [*([draw_verdict] if particles else []), draw_errors, draw_energy]
        for axes, draw in zip(parts[-1].subplots(1, len(over_time)), over_time, strict=True):
            draw(axes, result)
        handles = parts[-1].axes[0].get_legend_handles_labels()
        parts[-1].legend(*handles, loc="outside lower left", ncols=6, borderaxespad=0.0, borderpad=0.2)
        finish(figure, style)
    return figure


def draw_rates(figure: Any, result: xarray.Dataset, judged: list[int], lines: int) -> None:
    """A panel for each of the quantities with a rate, and one legend."""
    grid = figure.subplots(lines, min(COLUMNS, len(judged)), squeeze=False).ravel()
    for axes, k in zip(grid, judged, strict=False):
        draw_rate(axes, result.isel(quantity=k))
    for axes in grid[len(judged) :]:
        axes.set_axis_off()
    for axes in grid[::COLUMNS]:
        axes.set_ylabel("distance")
    figure.legend(*grid[0].get_legend_handles_labels(), loc="outside lower left", ncols=6, borderaxespad=0.0, borderpad=0.2)


def draw_rate(axes: "Axes", row: xarray.Dataset) -> None:
    """Distances of random ensembles at the time where the grid is worth least, against N."""
    count = row["count"].to_numpy().astype(float)
    sampling = row["random_null"].mean("pair") / np.sqrt(2)
    worst = int((row["grid_error"] / (sampling * np.sqrt(count)).mean("count")).to_numpy().argmax())
    at = row.isel(time=worst)
    distance, null = at["random_distance"], at["random_null"]
    lower, upper = (null.quantile(level, "pair") for level in (0.05, 0.95))
    axes.fill_between(count, lower, upper, color=BLUE, lw=0, alpha=0.25, label="between ensembles, 90 %")
    axes.loglog(count, distance.mean("ensemble"), "o-", ms=4, color=BLUE, label="to the grid")
    fitted = float(np.exp(np.log(sampling.isel(time=worst) * np.sqrt(count)).mean()))
    floor = float(at["grid_error"])
    reach = np.geomspace(count[0], max(count[-1], min(4 * (fitted / max(floor, TINY)) ** 2, 1e12)), 50)
    axes.loglog(reach, fitted / np.sqrt(reach), "--", color=BLACK, lw=0.8, label="$N^{-1/2}$")
    axes.axhline(floor, color=VERMILLION, lw=1, label="grid error")
    axes.axhline(float(at["distance"]), color=ORANGE, lw=1, label="verdict ensembles")
    axes.axhline(float(at["allowed"]), color=ORANGE, ls=":", lw=1.2, label="allowed")
    slope = f"slope {float(row['slope']):+.2f} ± {float(row['slope_error']):.2f}"
    axes.set(xlabel="particles $N$", title=f"{row['quantity'].item()}, t = {number(float(at['time']))}\n{slope}")


def draw_verdict(axes: "Axes", result: xarray.Dataset) -> None:
    """Distances to the particles over time, as shares of what is allowed."""
    for name, row, line in rows_of(result):
        ratio = row["distance"] / np.maximum(row["allowed"], TINY)
        axes.semilogy(row["time"], np.maximum(ratio, 1e-3), marker="o", ms=3, label=name, **line)
    axes.axhline(1.0, color=BLACK, lw=1)
    axes.set(xlabel="time $t$", title="distance to the particles / allowed")


def draw_errors(axes: "Axes", result: xarray.Dataset) -> None:
    """Errors of the grid over time, estimated and against an exact solution, with their thresholds."""
    for name, row, line in rows_of(result):
        axes.semilogy(row["time"], np.maximum(row["grid_error"], TINY), marker="o", ms=3, label=name, **line)
        if "exact_error" in row:
            axes.semilogy(row["time"], np.maximum(row["exact_error"], TINY), "x", ms=4, color=line["color"])
        axes.axhline(float(row["threshold"]), color=line["color"], lw=0.6, ls=":")
    exact = ", exact ×" if "exact_error" in result else ""
    axes.set(xlabel="time $t$", title=f"grid error: estimated ○{exact}, thresholds ⋯")


def rows_of(result: xarray.Dataset) -> list[tuple[str, xarray.Dataset, dict[str, str]]]:
    """Name, part of the dataset and line of every quantity."""
    names = [str(name) for name in result["quantity"].values]
    lines = [{"color": LINES[k % len(LINES)], "ls": ("-", "--", "-.")[k // len(LINES) % 3]} for k in range(len(names))]
    return [(name, result.sel(quantity=name), line) for name, line in zip(names, lines, strict=True)]


def draw_energy(axes: "Axes", result: xarray.Dataset) -> None:
    """Energies of the grid, and of the random ensembles of the smallest and the largest N or a user's own, over time."""
    time, energies = result["time"], [result["energy"]]
    shown: list[tuple[int, xarray.DataArray, str]] = []
    if "random_energy" in result:
        parts = [
            (result["random_energy"].isel(count=k), colour) for k, colour in ((0, ORANGE), (result.sizes["count"] - 1, BLUE))
        ]
        shown = [(int(part["count"]), part, colour) for part, colour in parts]
    elif "verdict_energy" in result:
        shown = [(result.attrs["verdict_count"], result["verdict_energy"].rename(verdict_ensemble="ensemble"), BLUE)]
    for count, part, colour in shown:
        low, high = part.min("ensemble"), part.max("ensemble")
        axes.fill_between(time, low, high, color=colour, lw=0, alpha=0.35, label=f"{count} particles")
        energies.append(part)
    axes.plot(time, result["energy"], ".-", color=BLACK, lw=1, ms=4, label="grid")
    if all((energy > 0).all() for energy in energies):
        axes.set_yscale("log")
    axes.set(xlabel="time $t$", ylabel="energy")
    legend_above(axes)
