"""The picture of a sweep: a record at the last time against a swept key, from its dataset alone."""

from typing import TYPE_CHECKING

import numpy as np

from gridflow.errors import require

if TYPE_CHECKING:
    import xarray
    from matplotlib.figure import Figure

LINES_MAX = 12
"""Values of a second key, each with a line of its own."""


def sweep_figure(dataset: "xarray.Dataset", record: str | None = None, against: str | None = None) -> "Figure":
    """The last value of a record against the values of a key, with one line per value of a second one.

    record : default the energy, or for verdicts what the grid is worth; against : a swept key, default the first of
    numbers. A further key is averaged over, which the title says. Raises InputError.
    """
    from matplotlib import colormaps
    from matplotlib.figure import Figure

    keys = [key.strip() for key in dataset.attrs["swept"].split(",")]
    names = {key: key.replace(".", "_") for key in keys}
    numbers = [key for key in keys if dataset[names[key]].dtype.kind in "fiu"]
    chosen = against or (numbers or keys)[0]
    require(chosen in keys, f"the key {chosen!r}", f"a swept key: {', '.join(keys)}", "name one of these")
    swept = {*names.values(), "member"}
    of_members = [str(n) for n, v in dataset.data_vars.items() if v.dtype.kind == "f" and swept & set(v.dims)]
    drawn = record or next(n for n in ("energy", "worth", "seconds") if n in of_members)
    require(drawn in of_members, f"the record {drawn!r}", ", ".join(of_members), "name one of these")
    values = last(dataset[drawn])
    axis = dataset[names[chosen]]
    figure = Figure(figsize=(5.0, 3.6), layout="constrained")
    axes = figure.subplots()
    listed = "member" in dataset.dims
    others = [] if listed else [names[k] for k in keys if k != chosen]
    if len(others) > 1:
        values = values.mean(others[1:])
        axes.set_title(f"mean over {', '.join(k for k in keys if names[k] in others[1:])}", fontsize="small")
    x = axis.to_numpy() if axis.dtype.kind in "fiu" else np.arange(axis.size)
    if others:
        second = dataset[others[0]].to_numpy()
        require(len(second) <= LINES_MAX, f"{len(second)} lines", f"at most {LINES_MAX}", f"draw against {others[0]}")
        for k, value in enumerate(second):
            color = colormaps["viridis"](k / max(1, len(second) - 0.5))
            axes.plot(x, values.isel({others[0]: k}).to_numpy(), "o-", ms=4, color=color, label=str(value))
        figure.legend(title=next(k for k in keys if names[k] == others[0]), loc="outside right upper", fontsize="small")
    else:
        axes.plot(x, values.to_numpy(), "o" if listed else "o-", ms=4, color="#0072B2")
    if axis.dtype.kind not in "fiu":
        axes.set_xticks(x, axis.to_numpy().tolist())
    axes.set(xlabel=chosen, ylabel=f"{drawn} at the last time" if "time" in dataset[drawn].dims else str(drawn))
    axes.grid(alpha=0.3)
    return figure


def last(record: "xarray.DataArray") -> "xarray.DataArray":
    """The last number of every member: those that ended early have fewer; largest over what is neither a time nor a key."""
    for dim in ("time", "save"):
        if dim in record.dims:
            record = at_end(record, dim)
    extra = [d for d in record.dims if d in ("quantity", "count", "ensemble")]
    return record.max(extra) if extra else record


def at_end(record: "xarray.DataArray", dim: str) -> "xarray.DataArray":
    """The last value that is a number along a dimension."""
    values = np.moveaxis(record.to_numpy(), record.get_axis_num(dim), -1)
    there = np.isfinite(values)
    index = np.where(there.any(-1), values.shape[-1] - 1 - there[..., ::-1].argmax(-1), -1)
    return record.isel({dim: -1}, drop=True).copy(data=np.take_along_axis(values, index[..., None], -1)[..., 0])
