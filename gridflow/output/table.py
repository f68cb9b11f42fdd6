"""Variables of a result as a table, in CSV or Parquet: one row per entry; few rows at a time are in memory beside the result."""

import csv
import json
from collections.abc import Iterator
from itertools import chain
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import xarray

from gridflow.errors import InputError, require

ROWS = 1 << 18
"""Rows that are written together, where one index of the first dimension has fewer."""


def columns_of(dataset: xarray.Dataset, names: list[str]) -> tuple[tuple[str, ...], list[str]]:
    """Dimensions of a table, and its columns: these, the coordinates along them, the variables.

    Raises InputError for variables of different dimensions.
    """
    dims = tuple(map(str, dataset[names[0]].dims))
    for name in names:
        first, other = (f"{n!r} ({', '.join(map(str, dataset[n].dims))})" for n in (names[0], name))
        received, fix = f"variables {first} and {other} in one table", "write them to several tables, or to one .nc"
        require(set(dataset[name].dims) == set(dims), received, "variables of the same dimensions", fix)
    beside = [str(c) for c in dataset.coords if c not in dims and dataset[c].dims and set(dataset[c].dims) <= set(dims)]
    return dims, [*dims, *beside, *names]


def table_blocks(dataset: xarray.Dataset, dims: tuple[str, ...], columns: list[str]) -> Iterator[list[Any]]:
    """Columns of the table, (n_rows,) each, for some indices of the first dimension at a time."""
    sizes = [dataset.sizes[d] for d in dims]
    step = max(1, ROWS // max(1, prod(sizes[1:])))
    for start in range(0, sizes[0] if dims else 1, step):
        part = dataset.isel({dims[0]: slice(start, start + step)}) if dims else dataset
        values = []
        for name in columns:
            array = part[name] if name in part.variables else numbers_along(name, part.sizes[name], start * (name == dims[0]))
            values.append(array.broadcast_like(part[columns[-1]]).transpose(*dims).to_numpy().ravel())
        yield values


def numbers_along(name: str, size: int, start: int) -> xarray.DataArray:
    """Numbers of the entries of a dimension without values."""
    return xarray.DataArray(np.arange(start, start + size), dims=(name,))


def write_csv(dataset: xarray.Dataset, path: Path, names: list[str]) -> None:
    """Writes numbers with all their digits."""
    dims, columns = columns_of(dataset, names)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        for block in table_blocks(dataset, dims, columns):
            writer.writerows(zip(*(values.tolist() for values in block), strict=True))


def write_parquet(dataset: xarray.Dataset, path: Path, names: list[str]) -> None:
    """Writes the same table; units and long names of columns, and the attributes of the result as JSON, are its metadata.

    Raises InputError where pyarrow is not installed.
    """
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise InputError(f"a .parquet without the package {error.name}", "pyarrow", "pip install 'gridflow[export]'") from None
    dims, columns = columns_of(dataset, names)
    blocks = table_blocks(dataset, dims, columns)
    first = next(blocks)
    fields = [field_of(pyarrow, dataset, n, values.dtype) for n, values in zip(columns, first, strict=True)]
    attrs = {k: np.asarray(v).tolist() if isinstance(v, np.ndarray | np.generic) else v for k, v in dataset.attrs.items()}
    schema = pyarrow.schema(fields, {"gridflow": json.dumps(attrs)})
    with parquet.ParquetWriter(path, schema, compression="zstd") as writer:
        for block in chain([first], blocks):
            writer.write_table(pyarrow.table(block, schema=schema))


def field_of(pyarrow: Any, dataset: xarray.Dataset, name: str, dtype: np.dtype) -> Any:
    """The description of a column."""
    attrs = dataset[name].attrs if name in dataset.variables else {}
    words = {k: str(attrs[k]) for k in ("units", "long_name") if k in attrs}
    return pyarrow.field(name, pyarrow.from_numpy_dtype(dtype), metadata=words)
