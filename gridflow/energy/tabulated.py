"""Fields of NetCDF files as smooth functions: values at the points of a grid of their own, cubic splines in between.

Along intervals the splines are not-a-knot and go on to the walls, half a cell beyond the last points; along circles they are
periodic; labels have one spline each. The grid of the file may be finer or coarser than that of the case.
"""

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gridflow.errors import require
from gridflow.files import open_netcdf
from gridflow.memory import require_memory
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

    def __init__(self, path: Path, variable: str, factors: tuple[Factor, ...], purpose: str, *, logarithm: bool = False) -> None:
        self.factors = factors
        with open_netcdf(path, purpose) as dataset:
            values = values_of(dataset, variable, factors, f"{purpose}: {path.name}")
            points = [dataset[f.name].to_numpy().astype(float) for f in factors]
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


def values_of(dataset: "xarray.Dataset", variable: str, factors: tuple[Factor, ...], where: str) -> Array:
    """The variable in the order of the factors, at its last time. Raises InputError where it has other dimensions."""
    known = ", ".join(map(str, dataset.data_vars))
    require(variable in dataset, f"{where} has no variable {variable!r}", f"one of: {known}", "name it as `variable`")
    surfaces = [f.name for f in factors if f.columns > 1]
    require(not surfaces, f"{where}: a file for the surfaces {surfaces}", "intervals, circles and labels", "name a density")
    field, names = dataset[variable], [f.name for f in factors]
    if "time" in field.dims and field.sizes["time"] > 0:
        field = field.isel(time=-1)
    same = sorted(map(str, field.dims)) == sorted(names) and all(n in dataset.coords or n in dataset for n in names)
    require(same, f"{where}: {variable!r} over {list(field.dims)}", f"with coordinates over {names}", "write it on such a grid")
    require_memory(f"{where}: {variable!r} of {field.size} values", 32 * field.size, "write it on a coarser grid")
    return np.asarray(field.transpose(*names).to_numpy(), dtype=float)


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
