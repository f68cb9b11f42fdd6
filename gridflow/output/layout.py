"""A dataset before its first record: variables with dimensions and attributes as plain arrays.

It becomes an `xarray.Dataset`, or a NetCDF file that xarray reads as the same dataset. xarray and what it imports take longer to
load than a small case to solve; a run into a file goes without it.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gridflow.netcdf import Format, written_file

if TYPE_CHECKING:
    import xarray

UNLIMITED = "time"
"""The dimension along which records are appended."""


@dataclass(frozen=True)
class Variable:
    """One variable; with `fill`, integers of which some are missing, as NaN: in a file they are this number, of its type."""

    dims: tuple[str, ...]
    values: np.ndarray
    attrs: dict[str, Any]
    fill: np.integer | None = None


@dataclass
class Layout:
    """Global attributes, variables by name, and the names of those that are coordinates though no dimension is called so."""

    attrs: dict[str, Any]
    variables: dict[str, Variable] = field(default_factory=dict)
    coordinates: list[str] = field(default_factory=list)

    def add(self, name: str, dims: Iterable[str], values: Any, attrs: dict[str, Any], fill: np.integer | None = None) -> None:
        """Adds a variable with a copy of its attributes."""
        self.variables[name] = Variable(tuple(dims), np.asarray(values), dict(attrs), fill)

    @property
    def sizes(self) -> dict[str, int]:
        """Lengths of the dimensions, in the order of their first use."""
        return {d: n for v in self.variables.values() for d, n in zip(v.dims, v.values.shape, strict=True)}

    @property
    def bytes_per_record(self) -> int:
        """Of all variables along `UNLIMITED`."""
        sizes = self.sizes
        along = [v for v in self.variables.values() if UNLIMITED in v.dims]
        return sum(v.values.itemsize * prod(sizes[d] for d in v.dims if d != UNLIMITED) for v in along)

    def coordinates_of(self, name: str) -> str:
        """The coordinates along the dimensions of a variable, as CF writes them; none for what is a coordinate itself."""
        if name in self.coordinates or name in self.sizes:
            return ""
        dims = set(self.variables[name].dims)
        return " ".join(sorted(c for c in self.coordinates if set(self.variables[c].dims) <= dims))


def dataset_of(layout: Layout, records: dict[str, np.ndarray], attrs: dict[str, Any]) -> "xarray.Dataset":
    """The dataset in memory; records : values over time by name, of all variables along `UNLIMITED`; attrs : further ones."""
    import xarray

    found = {}
    for name, variable in layout.variables.items():
        values = records[name].astype(variable.values.dtype) if UNLIMITED in variable.dims else variable.values
        encoding = {} if variable.fill is None else {"dtype": variable.fill.dtype, "_FillValue": variable.fill}
        found[name] = xarray.Variable(variable.dims, values, variable.attrs, encoding)
    return xarray.Dataset(found, attrs=layout.attrs | attrs).set_coords(layout.coordinates)


def create_file(layout: Layout, path: Path, kind: Format = "NETCDF4") -> None:
    """Writes a file with everything that does not change, and empty variables along `UNLIMITED`; kind : see `written_file`."""
    with written_file(path, "w", kind) as file:
        for dim, size in layout.sizes.items():
            file.createDimension(dim, None if dim == UNLIMITED else size)
        listed = set()
        for name, variable in layout.variables.items():
            type_of = variable.values.dtype if variable.fill is None else variable.fill.dtype
            written = file.createVariable(name, type_of, variable.dims, fill_value=variable.fill)
            written.setncatts(variable.attrs)
            if along := layout.coordinates_of(name):
                written.setncattr("coordinates", along)
                listed |= set(along.split())
            if UNLIMITED not in variable.dims:
                missing = variable.fill is not None and np.isnan(variable.values)
                written[...] = np.where(missing, variable.fill, variable.values) if variable.fill is not None else variable.values
        file.setncatts(layout.attrs)
        if others := sorted(set(layout.coordinates) - listed):
            file.setncattr("coordinates", " ".join(others))
