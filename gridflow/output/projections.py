"""What a picture shows of a dataset: densities over one or two factors, and directions of neurons."""

from collections.abc import Iterator
from itertools import product

import numpy as np
import xarray

from gridflow.output.directions import direction_planes, directions
from gridflow.output.ugrid import mesh_names

PANELS = 5
"""Densities shown side by side: the source of the batch-norm figures shows five times."""
LABELS_MAX = 4
"""Labels for which curves along a single line are drawn; of more labels the density over both is."""


def factor_names(dataset: xarray.Dataset) -> list[str]:
    """Names of the factors, in storage order."""
    return [str(d) for d in dataset["density"].dims if d != "time"]


def label_names(dataset: xarray.Dataset) -> list[str]:
    """Names of the labels among them."""
    return [n for n in factor_names(dataset) if not {f"{n}_bounds", f"{n}_mesh"} & set(dataset.variables)]


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
        density = (density * dataset[f"{name}_bounds"].diff("bounds").isel(bounds=0)).sum(name)
    if len(shown) == len(labels) == 1 and dataset.sizes[labels[0]] > LABELS_MAX:
        return {"": density.transpose("time", *labels, *shown)}
    chosen = label_selections(dataset, labels)
    return {title: density.sel(selection).transpose("time", *shown) for title, selection in chosen}


def label_selections(dataset: xarray.Dataset | xarray.DataArray, labels: list[str]) -> Iterator[tuple[str, dict[str, float]]]:
    """(title, selection) for every combination of labels."""
    for values in product(*(dataset[n].to_numpy() for n in labels)):
        yield ", ".join(f"{n} = {v:g}" for n, v in zip(labels, values, strict=True)), dict(zip(labels, values, strict=True))


def direction_panels(dataset: xarray.Dataset) -> dict[str, xarray.DataArray]:
    """Directions over time of every plane of weights, by title: one per label, each with sum 1 over the sectors."""
    result = {}
    for plane in direction_planes(dataset):
        shares = directions(dataset, plane)
        labels = [str(d) for d in shares.dims[1:-1]]
        for label, selection in label_selections(shares, labels):
            part = shares.sel(selection)
            title = f"directions of ({', '.join(plane)})" + (f", {label}" if label else "")
            result[title] = part / np.maximum(part.sum("angle"), np.finfo(float).tiny)
    return result


def panel_times(dataset: xarray.Dataset) -> list[int]:
    """Indices of about equally spaced saved times, the first and the last included."""
    return sorted({round(k) for k in np.linspace(0, dataset.sizes["time"] - 1, PANELS)})
