"""What a picture shows of a dataset: densities over one or two factors, marginals of the rest, and directions of neurons."""

from dataclasses import dataclass
from itertools import product

import numpy as np
import xarray

from gridflow.output.directions import direction_planes, directions
from gridflow.output.style import number, symbol
from gridflow.output.ugrid import mesh_names
from gridflow.space.factor import Array

LABELS_MAX = 4
"""Labels that a picture shows one by one; of more along a single line it shows a map of both, else some of them."""

TURNED = 0.05
"""Directions are shown where more than this share of mass × norm has another one at the end."""


def factor_names(dataset: xarray.Dataset) -> list[str]:
    """Names of the factors, in storage order."""
    return [str(d) for d in dataset["density"].dims if d != "time"]


def label_names(dataset: xarray.Dataset) -> list[str]:
    """Names of the labels among them."""
    return [n for n in factor_names(dataset) if not {f"{n}_bounds", f"{n}_mesh"} & set(dataset.variables)]


@dataclass(frozen=True)
class Part:
    """A density over one or two factors, for one combination of labels.

    density : (time, x) or (time, y, x); sizes : of its cells; selection : the values of the labels
    """

    density: xarray.DataArray
    sizes: xarray.DataArray
    selection: dict[str, float]

    @property
    def title(self) -> str:
        """The labels in words."""
        return label_words(self.selection)

    @property
    def x(self) -> str:
        """The factor drawn horizontally."""
        return str(self.density.dims[-1])

    @property
    def y(self) -> str | None:
        """The factor drawn vertically, if there are two."""
        return str(self.density.dims[1]) if self.density.ndim == 3 else None

    def masses_along(self, name: str, saves: list[int]) -> Array:
        """(saves, cells of the factor)."""
        masses = self.density[saves] * self.sizes
        return masses.sum([d for d in masses.dims if d not in ("time", name)]).to_numpy()


@dataclass(frozen=True)
class Block:
    """Densities over the same factors, one for each combination of labels; whole : nothing is integrated out."""

    parts: list[Part]
    whole: bool

    @property
    def what(self) -> str:
        """What is drawn, in words."""
        return "density" if self.whole else "marginal density"


def edges_of(dataset: xarray.Dataset, name: str) -> Array:
    """Ends of the cells of a line; of labels, the middles between them."""
    if f"{name}_bounds" in dataset.variables:
        bounds = dataset[f"{name}_bounds"].to_numpy()
        return np.append(bounds[:, 0], bounds[-1, 1])
    values = dataset[name].to_numpy()
    if values.size == 1:
        return np.array([values[0] - 0.5, values[0] + 0.5])
    middles = (values[1:] + values[:-1]) / 2
    return np.concatenate([[2 * values[0] - middles[0]], middles, [2 * values[-1] - middles[-1]]])


def sizes_of(dataset: xarray.Dataset, keep: list[str]) -> xarray.DataArray:
    """Sizes of the cells of some factors, those of the others divided out but for labels, whose volumes count as 1."""
    others = [n for n in factor_names(dataset) if n not in keep]
    sizes = dataset["cell_volume"].isel(dict.fromkeys(others, 0), drop=True)
    for name in others:
        if f"{name}_mesh" in dataset.variables:
            sizes = sizes / float(dataset[f"{name}_area"][0])
        elif f"{name}_bounds" in dataset.variables:
            sizes = sizes / float(dataset[f"{name}_bounds"][0].diff("bounds").item())
    return sizes


def marginal_over(dataset: xarray.Dataset, keep: list[str]) -> tuple[xarray.DataArray, xarray.DataArray]:
    """Density over some factors, the others integrated out, (time, …), and the sizes of its cells."""
    others = [n for n in factor_names(dataset) if n not in keep]
    sizes = sizes_of(dataset, keep)
    if not others:
        return dataset["density"], sizes
    return xarray.dot(dataset["density"], dataset["cell_volume"], dim=others) / sizes, sizes


def block_over(dataset: xarray.Dataset, shown: list[str], labels: list[str]) -> Block:
    """One part for each combination of labels, of many for some of them; shown : (x,) or (x, y)."""
    density, sizes = marginal_over(dataset, [*shown, *labels])
    order = shown[::-1]
    selections = label_selections(dataset, labels)
    if len(selections) > LABELS_MAX:
        selections = [selections[k] for k in np.linspace(0, len(selections) - 1, LABELS_MAX).round().astype(int)]
    parts = [
        Part(density.sel(chosen).transpose("time", *order), sizes.sel(chosen).transpose(*order), chosen) for chosen in selections
    ]
    return Block(parts, whole=len(shown) + len(labels) == len(factor_names(dataset)))


def blocks(
    dataset: xarray.Dataset, order: tuple[str, ...] = (), views: tuple[tuple[str, str], ...] = ()
) -> tuple[list[Block], list[Block]]:
    """(maps over two factors, curves over one) of a dataset.

    order : of the factors; the first of a pair is drawn horizontally. views : pairs that matter where there are more than two
    lines; else the first two. Surfaces are integrated out, and lines that are in no map have their marginals as curves.
    """
    meshes, labels = mesh_names(dataset), label_names(dataset)
    ordered = list(order) if set(order) == set(factor_names(dataset)) else factor_names(dataset)
    lines = [n for n in ordered if n not in (*meshes, *labels)]
    if len(lines) == len(labels) == 1 and dataset.sizes[labels[0]] > LABELS_MAX:
        return [block_over(dataset, [n for n in ordered if n not in meshes], [])], []
    pairs = [view for view in views if set(view) <= set(lines)] if len(lines) > 2 else []
    if len(lines) >= 2 and not pairs:
        pairs = [(lines[0], lines[1])]
    drawn = {name for pair in pairs for name in pair}
    maps = [block_over(dataset, list(pair), labels) for pair in pairs]
    several = np.prod([dataset.sizes[n] for n in labels]) > LABELS_MAX
    rest = [block_over(dataset, [n], [] if several else labels) for n in lines if n not in drawn]
    return maps, rest


def label_selections(dataset: xarray.Dataset | xarray.DataArray, labels: list[str]) -> list[dict[str, float]]:
    """Every combination of labels."""
    return [dict(zip(labels, values, strict=True)) for values in product(*(dataset[n].to_numpy() for n in labels))]


def label_words(selection: dict[str, float]) -> str:
    """A combination of labels as it is written."""
    return ", ".join(f"{symbol(n)} = {number(v)}" for n, v in selection.items())


def direction_panels(dataset: xarray.Dataset) -> dict[str, xarray.DataArray]:
    """Directions over time of every plane of weights, where they turn, by title: one per label, each with sum 1."""
    result = {}
    for plane in direction_planes(dataset):
        shares = directions(dataset, plane)
        labels = [str(d) for d in shares.dims[1:-1]]
        for selection in label_selections(shares, labels):
            part = shares.sel(selection)
            title = ", ".join([f"({', '.join(map(symbol, plane))})", *([label_words(selection)] if selection else [])])
            result[title] = part / np.maximum(part.sum("angle"), np.finfo(float).tiny)
    turned = max((float(np.abs(part[-1] - part[0]).sum() / 2) for part in result.values()), default=0.0)
    return result if turned > TURNED else {}
