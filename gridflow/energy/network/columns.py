"""Columns of numbers from CSV and NetCDF files; of a CSV file, whose text is never held as a whole, in blocks of rows."""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import TextIO

import numpy as np

from gridflow.errors import InputError, require, suggestion
from gridflow.files import loaded, open_netcdf, regular_file
from gridflow.memory import require_memory
from gridflow.space.factor import Array

BLOCK_ROWS = 2**15
"""Rows of a CSV file that are read at once: a few MiB of text."""


def check_names(names: list[str], columns: list[str], shown: str) -> None:
    """Raises InputError for a name that is none of the columns."""
    for name in names:
        allowed, fix = f"its columns: {', '.join(columns)}", suggestion(name, columns) or "use one of them"
        require(name in columns, f"column {name!r} of {shown!r}", allowed, fix)


def read_columns(path: Path, shown: str, names: list[str]) -> dict[str, Array]:
    """Named columns of a CSV or NetCDF file. Raises InputError for a file without them, or with something else than numbers."""
    if path.suffix == ".nc":
        with open_netcdf(path, "energy.data") as dataset:
            check_names(names, [str(n) for n, v in dataset.variables.items() if v.dtype.kind in "fiu"], shown)
            found = loaded(dataset, names, path, "energy.data")
            empty = [name for name in names if found[name].size == 0]
            require(not empty, f"the variables {empty} of {shown!r} hold no data", "at least one number", "complete the file")
            return {name: np.asarray(found[name].to_numpy(), dtype=float).ravel() for name in names}
    size = regular_file(path, "energy.data").stat().st_size
    require_memory(f"the data file {shown!r}", 4 * size, "use fewer data")  # 8 bytes for numbers of 3 letters, and a copy
    try:
        with path.open(encoding="utf-8") as file:
            return read_csv(file, shown, names)
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"the data file {shown!r} cannot be read as text", "a CSV file in UTF-8", "convert it, or check its permissions"
        ) from error


def read_csv(file: TextIO, shown: str, names: list[str]) -> dict[str, Array]:
    """Named columns; the first row has the names of all, `#` starts a comment."""
    lines = lines_of(file)
    header = [entry.strip() for entry in next(lines, "").split(",")]
    received = f"{shown!r} has columns of the same name: {', '.join(header)}"
    require(len(set(header)) == len(header), received, "distinct names", "rename them")
    blocks: list[Array] = []
    chosen: list[int] = []
    before = 0
    while rows := list(islice(lines, BLOCK_ROWS)):
        if not blocks:
            check_names(names, header, shown)
            chosen = [header.index(name) for name in names]
        blocks.append(numbers(rows, before, chosen, len(header), shown))
        before += len(rows)
    allowed = "one row of column names and at least one row of numbers"
    require(blocks != [], f"{shown!r} holds no data", allowed, "complete the file")
    return dict(zip(names, np.concatenate(blocks).T, strict=True))


def lines_of(file: TextIO) -> Iterator[str]:
    """Lines without comments and surrounding blanks, empty ones left out."""
    for line in file:
        text = line.partition("#")[0].strip()
        if text:
            yield text


def numbers(rows: list[str], before: int, chosen: list[int], width: int, shown: str) -> Array:
    """Chosen columns of rows, (n_rows, n_chosen); `before` : rows of the file that came earlier."""
    if all(row.count(",") == width - 1 for row in rows):
        try:
            return np.loadtxt(rows, delimiter=",", usecols=chosen, comments=None, ndmin=2)
        except ValueError:  # a missing entry, which is no error here, or the one to be found
            pass
    values = np.empty((len(rows), len(chosen)))
    for number, row in enumerate(rows):
        entries = [entry.strip() for entry in row.split(",")]
        received = f"data row {before + number + 1} of {shown!r} has {len(entries)} entries"
        require(len(entries) == width, received, f"{width}, one per column name", "correct the row")
        for k, column in enumerate(chosen):
            try:
                values[number, k] = float(entries[column] or "nan")
            except ValueError:
                received = f"{entries[column]!r} in data row {before + number + 1} of {shown!r}"
                raise InputError(received, "numbers", "correct the entry") from None
    return values
