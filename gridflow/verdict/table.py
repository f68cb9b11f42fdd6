"""The verdict in words: a table and a few lines, from the dataset alone."""

import numpy as np
import xarray


def table(result: xarray.Dataset) -> str:
    """The verdict as text: one row per quantity, each number at its worst time, and the headline figures."""
    rows = rows_of(result)
    columns = [max(len(row[c]) for row in rows) for c in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, columns, strict=True)).rstrip() for row in rows]
    return "\n".join([*lines, *lines_below(result)])


def rows_of(result: xarray.Dataset) -> list[list[str]]:
    """The cells of the table: the names of its columns, then one row per quantity."""
    exact, particles, rates = "exact_error" in result, "distance" in result, "slope" in result
    head = [
        "quantity",
        "grid error",
        *(["vs exact"] if exact else []),
        *(["distance", "allowed"] if particles else []),
        "threshold",
    ]
    rows = [[*head, *(["slope in N"] if rates else []), *(["worth N", "detects"] if particles else []), "verdict"]]
    for k, name in enumerate(result["quantity"].values):
        row = result.isel(quantity=k)
        beside, behind = particle_cells(row) if particles else ([], [])
        errors = [row["grid_error"], *([row["exact_error"]] if exact else [])]
        cells = [str(name), *(f"{float(error.max()):.1e}" for error in errors), *beside, f"{float(row['threshold']):.1e}"]
        rows.append([*cells, *behind, str(row["outcome"].values)])
    return rows


def lines_below(result: xarray.Dataset) -> list[str]:
    """Reasons of what does not pass, start, diagnostics and headline figures."""
    reasons = [f"  {q}: {r}" for q, r in zip(result["quantity"].values, result["reason"].values, strict=True) if r]
    return [*reasons, *start_lines(result), *diagnostic_lines(result), *headline_lines(result)]


def particle_cells(row: xarray.Dataset) -> tuple[list[str], list[str]]:
    """What particles say of a quantity: distance and what is allowed at the worst time; slope, worth and what is detected.

    The slope, where there is one; the worth, where theory says how distances fall with N.
    """
    ratio = row["distance"].values / np.maximum(row["allowed"].values, np.finfo(float).tiny)
    worst, judged, slope = int(ratio.argmax()), bool(row.get("slope_judged", True)), []
    if "slope" in row:
        slope = [f"{float(row['slope']):+.2f} ± {float(row['slope_error']):.2f}" + ("" if judged else " (not judged)")]
    worth = count_text(float(row["worth"])) if judged and np.isfinite(row["worth"]) else ""
    return (
        [f"{float(row[name][worst]):.1e}" for name in ("distance", "allowed")],
        [*slope, worth, percent_text(float(row["detects"].min()))],
    )


def start_lines(result: xarray.Dataset) -> list[str]:
    """The worst factor of the start, in a line; none for surfaces alone."""
    if result.sizes["start_factor"] == 0:
        return []
    row = result.isel(start_factor=int((result["start_distance"] / result["start_allowed"]).to_numpy().argmax()))
    distance, allowed, outcome = (row[f"start_{name}"].item() for name in ("distance", "allowed", "outcome"))
    return [f"start along {row['start_factor'].item()}: {distance:.1e} from the particles', allowed {allowed:.1e}: {outcome}"]


def diagnostic_lines(result: xarray.Dataset) -> list[str]:
    """Diagnostics of the state at the end, and the rate at which the energy still falls."""
    names = [str(name) for name in result["diagnostic"].values]
    if names == ["dissipation"]:
        return []
    values = dict(zip(names, result["diagnostic_value"].values, strict=True))
    loss, rate = float(result["energy"][-1]), values.pop("dissipation")
    lines = [f"at the end (energy {loss:.2g}, which falls at the rate {rate / loss:.2g}):" if loss > 0 else "at the end:"]
    for name, value in values.items():
        row = result.sel(diagnostic=name)
        outcome, limit = str(row["diagnostic_outcome"].values), float(row["diagnostic_threshold"])
        lines.append(f"  {name} {value:.3g}" + ("" if np.isnan(limit) else f", threshold {limit:.2g}: {outcome}"))
    return lines


def headline_lines(result: xarray.Dataset) -> list[str]:
    """The verdict, what it detects, and what the grid is worth."""
    a = result.attrs
    fewer = "" if "agrees" in a else "a quarter of the particles, "
    quick = f" (quick: half the cells, {fewer}thresholds × 4)" if a["quick"] else ""
    lines = [f"verdict: {a['verdict']}{quick}"]
    if "mass_at_walls" in a:
        lines.append("  inconclusive at best, with mass at walls that grid and particles share (see the warning)")
    if "detects" in a:
        lines.append(f"  smallest relative error of the speed that is detected for certain: {percent_text(a['detects'])}")
    else:
        lines.append("  without particles: by the errors of the grid and the diagnostics alone")
    if "agrees" in a:
        agrees = "agree with the grid, as far as they resolve" if a["agrees"] else "contradict the grid"
        lines.append(f"  the particles {agrees}: distances are {'' if a['agrees'] else 'not '}at most what is allowed")
    if a["worth_quantity"] != "none":
        lines.append(
            f"  this grid ({a['grid_cells']} cells, {a['grid_steps']} steps, {a['grid_seconds']:.2g} s) is worth"
            f" {count_text(a['worth'])} particles ({a['worth_quantity']}, worst time)"
        )
    if "particle_seconds" in a:
        took = f"{a['particle_seconds_count']} particles took {a['particle_seconds']:.2g} s; cost ~ N^{a['particle_cost_order']}"
        many = f"a run of so many would take {a['worth_seconds']:.2g} s, {a['time_ratio']:.2g} times the grid's ({took})"
        lines.append(f"  {many if a['worth_quantity'] != 'none' else took}")
    lines += [f"  the kernel between particles: {a['particle_kernel']}"] if "particle_kernel" in a else []
    lines += [f"  note: {line}" for line in a.get("notes", "").splitlines()]
    return lines + [f"  warning: {line}" for line in a.get("warnings", "").splitlines()]


def count_text(value: float) -> str:
    """A number of particles."""
    return f"{value:.1e}" if value >= 1e4 else f"{value:.0f}"


def percent_text(value: float) -> str:
    """A share in percent; none where it is not finite."""
    return f"{100 * value:.2g} %" if np.isfinite(value) else "none"
