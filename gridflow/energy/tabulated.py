"""Fields of NetCDF files as smooth functions: values at the points of a grid of their own, cubic splines in between.

Along intervals the splines are not-a-knot and go on to the walls, half a cell beyond the last points; along circles they are
periodic; labels have one spline each. The grid of the file may be finer or coarser than that of the case.
"""

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gridflow.errors import require
from gridflow.files import loaded, open_netcdf
from gridflow.output.reader import saved_index
from gridflow.space.factor import Array, Factor

if TYPE_CHECKING:
    import xarray

DEGREE = 3
BEYOND = 1.01
"""Distances of points that a spline may go on beyond the last ones: half of one, to a wall, on the grid of a case."""


class Tabulated:
    """A variable of a file, or its logarithm, on a product of factors, with one value for each point of the file's grid.

    Raises InputError for a file without the variable, for one whose coordinates do not cover the factors, for surfaces, for
    values that are not finite, and for a logarithm of values that are not positive.
    """

    def __init__(
        self,
        path: Path,
        variable: str,
        factors: tuple[Factor, ...],
        purpose: str,
        *,
        logarithm: bool = False,
        time: float | None = None,
    ) -> None:
        self.factors = factors
        with open_netcdf(path, purpose) as dataset:
            check_field(dataset, variable, factors, f"{purpose}: {path.name}")
            names = [variable, *(f.name for f in factors), *(n for n in ("time",) if n in dataset.variables)]
            found = loaded(dataset, names, path, purpose)
        values = values_of(found, variable, factors, time, f"{purpose}: {path.name}")
        points = [found[f.name].to_numpy().astype(float) for f in factors]
        fits = np.isfinite(values) & (values > 0 if logarithm else True)
        allowed = "finite values > 0 everywhere" if logarithm else "finite values"
        require(bool(fits.all()), f"{purpose}: values {variable!r} of {path.name}", allowed, "correct the file")
        self.values = np.log(values) if logarithm else values
        self.moving = [k for k, f in enumerate(factors) if f.moves]
        self.points = [check_points(x, f, f"{purpose}: {path.name}") for x, f in zip(points, factors, strict=True)]
        self.spline = lru_cache(maxsize=None)(self.make_spline)

    def make_spline(self, labels: tuple[int, ...]) -> Any:
        """The spline along the factors that move, at the labels with these numbers."""
        from scipy.interpolate import NdBSpline, make_interp_spline

        fixed = iter(labels)
        values = self.values[tuple(slice(None) if f.moves else next(fixed) for f in self.factors)]
        knots = []
        for axis, k in enumerate(self.moving):
            x, period = self.points[k], self.factors[k].period
            if period > 0:
                x, values = np.append(x, x[0] + period), np.concatenate([values, values.take([0], axis)], axis)
            along = make_interp_spline(x, values, DEGREE, axis=axis, bc_type="periodic" if period > 0 else None)
            knots.append(along.t)
            values = np.moveaxis(along.c, 0, axis)
        return NdBSpline(tuple(knots), values, DEGREE)

    def at(self, points: Array) -> tuple[Array, Array]:
        """(values, (n,); gradient, (n, n_factors), 0 along labels) at points (n, n_factors)."""
        value, gradient = np.empty(len(points)), np.zeros(points.shape)
        labels = [k for k, f in enumerate(self.factors) if not f.moves]
        numbers = np.stack([np.abs(points[:, [k]] - self.points[k]).argmin(axis=1) for k in labels] or [np.zeros(len(points))])
        for chosen in np.unique(numbers, axis=1).T:
            here = (numbers == chosen[:, None]).all(axis=0)
            which = tuple(int(n) for n in chosen[: len(labels)])
            if not self.moving:
                value[here] = self.values[which]
                continue
            spline, places = self.spline(which), self.places(points[here])
            value[here] = spline(places)
            for axis, k in enumerate(self.moving):
                gradient[here, k] = spline(places, nu=[int(axis == other) for other in range(len(self.moving))])
        return value, gradient

    def places(self, points: Array) -> Array:
        """Positions along the factors that move, those on circles from the first point of the file on."""
        columns = []
        for k in self.moving:
            period, first = self.factors[k].period, self.points[k][0]
            columns.append(first + np.mod(points[:, k] - first, period) if period > 0 else points[:, k])
        return np.stack(columns, axis=1)


def check_field(dataset: "xarray.Dataset", variable: str, factors: tuple[Factor, ...], where: str) -> None:
    """Raises InputError for a file without the variable, with other dimensions or without coordinates."""
    known = ", ".join(map(str, dataset.data_vars))
    require(variable in dataset.variables, f"{where} has no variable {variable!r}", f"one of: {known}", "name it as `variable`")
    surfaces = [f.name for f in factors if f.columns > 1]
    require(not surfaces, f"{where}: a file for the surfaces {surfaces}", "intervals, circles and labels", "name a density")
    field, names = dataset.variables[variable], [f.name for f in factors]
    over = [d for d in field.dims if d != "time" or "time" in names]
    coordinates = [dataset.variables[n] for n in names if n in dataset.variables]
    same = sorted(map(str, over)) == sorted(names) == sorted(str(c.dims[0]) for c in coordinates if c.ndim == 1)
    plain = all(v.dtype.kind in "fiu" and v.size > 0 for v in (field, *coordinates))
    received = f"{where}: {variable!r} over {list(field.dims)}"
    require(same and plain, received, f"numbers with coordinates over {names}", "write it on such a grid")


def values_of(
    found: Mapping[str, "xarray.Variable"], variable: str, factors: tuple[Factor, ...], time: float | None, where: str
) -> Array:
    """The variable in the order of the factors, at a saved time or else the last one."""
    field = found[variable]
    if "time" in field.dims and "time" not in [f.name for f in factors]:
        index = -1 if time is None else saved_index(found["time"].to_numpy().astype(float), time, f"{where}:")
        field = field.isel(time=index)
    return np.asarray(field.transpose(*(f.name for f in factors)).to_numpy(), dtype=float)


def check_points(x: Array, factor: Factor, where: str) -> Array:
    """The points of a file along a factor. Raises InputError where they do not cover it."""
    received, fix = f"{where}: the points along {factor.name!r}", "write the file on the space of this case"
    if not factor.moves:
        found = np.isclose(x[:, None], factor.points).any(axis=0).all()
        require(bool(found), received, f"the labels {factor.points.tolist()}", fix)
        return x
    increases = x.size > DEGREE and bool((np.diff(x) > 0).all())
    require(increases, received, f"more than {DEGREE} numbers that increase", fix)
    if factor.period > 0:
        seam = x[0] + factor.period - x[-1]
        require(bool(0 < seam <= 2 * np.diff(x).max()), received, f"once around a circle of {factor.period:g}", fix)
        return x
    lower, upper = factor.edges[0], factor.edges[-1]
    covered = lower >= x[0] - BEYOND * (x[1] - x[0]) and upper <= x[-1] + BEYOND * (x[-1] - x[-2])
    require(bool(covered), received, f"all over [{lower:g}, {upper:g}]", fix)
    return x
