"""Densities of a dataset one by one: of chosen saves, computed with, and put together again."""

from collections.abc import Callable, Mapping
from functools import reduce
from typing import Any

import numpy as np
import xarray

from gridflow.errors import InputError, require
from gridflow.output.reader import time_index
from gridflow.output.spaces import check_schema
from gridflow.particles.cloud import Cloud
from gridflow.particles.simulation import ParticleRun
from gridflow.space.factor import Array, Factor, block, columns_of
from gridflow.space.grid import Grid

Time = float | str | None
"""A saved time, "first", "last", or None for all of them."""


def at_time(dataset: xarray.Dataset, time: Time, purpose: str) -> xarray.Dataset:
    """The dataset at one saved time, without that dimension, or at all. Raises InputError for no density, or no such time."""
    check_schema(dataset, purpose)
    if time is None:
        return dataset
    received = f"{purpose} at time {time!r} of a density without the dimension time"
    require("time" in dataset["density"].dims, received, "a dataset over time", "leave out time")
    return dataset.isel(time=time_index(dataset["time"].to_numpy(), str(time)))


def fields_of(dataset: xarray.Dataset, grid: Grid) -> tuple[Array, xarray.DataArray]:
    """All densities (n, *shape of the grid), and their numbers 0 to n − 1 along the dimensions that are no factors."""
    density = dataset["density"].transpose(..., *grid.order)
    numbers = density.isel(dict.fromkeys(grid.order, 0), drop=True)
    count = max(1, numbers.size)
    return density.to_numpy().reshape(count, *grid.shape), numbers.copy(data=np.arange(count).reshape(numbers.shape))


def interpolated(fields: Array, grid: Grid, points: Mapping[str, Any] | Array) -> list[Array]:
    """Values (n_points,) of every field at points, from the two neighbours along every factor."""
    pairs = [f.neighbours(x) for f, x in zip(grid.factors, positions_in(points, grid), strict=True)]
    corners = list(np.ndindex(*(2,) * len(pairs)))
    shares = [reduce(np.multiply, [p[1][c] for p, c in zip(pairs, corner, strict=True)]) for corner in corners]
    cells = [tuple(p[0][c] for p, c in zip(pairs, corner, strict=True)) for corner in corners]
    return [reduce(np.add, [s * f[c] for s, c in zip(shares, cells, strict=True)]) for f in fields]


def together(values: list[Any], numbers: xarray.DataArray, dims: tuple[str, ...], name: str, long_name: str) -> xarray.DataArray:
    """One value for every number, each with dimensions `dims`."""
    found = np.asarray(values)
    shape = (*numbers.shape, *found.shape[1:])
    attrs = {"units": "1", "long_name": long_name}
    return xarray.DataArray(found.reshape(shape), numbers.coords, (*numbers.dims, *dims), name, attrs)


def against(
    between: Callable[[Any, Any], float], one: list[Any], numbers: xarray.DataArray, two: list[Any], others: xarray.DataArray
) -> xarray.DataArray:
    """A number for every pair of the same time. Raises InputError where the times differ."""
    try:
        return xarray.apply_ufunc(
            lambda i, j: between(one[i], two[j]), numbers, others, join="exact", vectorize=True, output_dtypes=[float]
        )
    except ValueError as error:
        received, fix = "densities at different times", "choose one of the other: other.isel(time=-1)"
        raise InputError(received, "the same saved times, or one density to compare with all", fix) from error


def described(values: xarray.DataArray, name: str, long_name: str) -> xarray.DataArray:
    """Values with their own name and attributes, instead of those that they were computed from."""
    values = values.rename(name)
    values.attrs = {"units": "1", "long_name": long_name}
    return values


def clouds_of(other: Any, time: Time) -> tuple[list[tuple[Array, Array]], xarray.DataArray]:
    """(points, weights) of a cloud, or of a particle run at all its times or at one, and their numbers. Raises InputError."""
    if isinstance(other, Cloud):
        return [(other.points, other.weights)], xarray.DataArray(0)
    if not isinstance(other, ParticleRun):
        received, allowed = f"a distance to a {type(other).__name__}", "a dataset, a gridflow.simulate run, or a Cloud of points"
        raise InputError(received, allowed, "make a cloud: gridflow.particles.cloud.Cloud(points, weights)")
    clouds = [(points, other.weights_at(k)) for k, points in enumerate(other.points)]
    if time is not None:
        chosen = time_index(np.array(other.times), str(time))
        return [clouds[chosen]], xarray.DataArray(0)
    return clouds, xarray.DataArray(np.arange(len(clouds)), {"time": other.times}, ("time",))


def positions_in(points: Mapping[str, Any] | Array, grid: Grid) -> list[Array]:
    """Positions by factor, (n_points,) or (n_points, 3), of a mapping by name or of columns in the order of the grid.

    Raises InputError for other shapes, and for points outside the space.
    """
    if isinstance(points, Mapping):
        received, names = f"points by {', '.join(map(str, points))}", ", ".join(grid.order)
        require(set(points) == set(grid.order), received, f"one entry for each factor: {names}", "name every factor once")
        places = [np.atleast_1d(np.asarray(points[f.name], dtype=float)) for f in grid.factors]
    else:
        columns, table = columns_of(grid.factors), np.asarray(points, dtype=float)
        received, width = f"points of shape {table.shape}", columns[-1].stop
        require(table.ndim == 2 and table.shape[1] == width, received, f"(n_points, {width})", "one row for each point")
        places = [block(table, c) for c in columns]
    shapes = [x.shape for x in places]
    fit = all(s == (shapes[0][0], *([f.columns] if f.columns > 1 else [])) for s, f in zip(shapes, grid.factors, strict=True))
    require(fit, f"points of shapes {shapes}", "(n_points,), on a surface (n_points, 3)", "give equally many for every factor")
    return [inside(f, x) for f, x in zip(grid.factors, places, strict=True)]


def inside(factor: Factor, x: Array) -> Array:
    """Positions in a factor: wound back on circles, retracted to surfaces. Raises InputError beyond walls, and off the labels."""
    name, fix = factor.name, "choose points of the space"
    if factor.walls is not None:
        lower, upper = factor.walls
        received = f"points with {name} from {x.min():g} to {x.max():g}"
        require(bool(((x >= lower) & (x <= upper)).all()), received, f"{lower:g} ≤ {name} ≤ {upper:g}", fix)
    elif not factor.moves:
        labels = ", ".join(f"{v:g}" for v in factor.points)
        require(bool(np.isin(x, factor.points).all()), f"points with other {name} than its labels", f"one of: {labels}", fix)
    return factor.fold(x)
