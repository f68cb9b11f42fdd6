"""Files that a user names: opened and refused in one place, with one kind of message."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from gridflow.errors import InputError

if TYPE_CHECKING:
    import xarray


@contextmanager
def open_netcdf(path: Path, purpose: str) -> Iterator["xarray.Dataset"]:
    """An xarray.Dataset of a NetCDF file. Raises InputError if there is none or it cannot be read."""
    import xarray

    if not path.is_file():
        raise InputError(
            f"{purpose}: no file {path.name!r}", "a NetCDF file", "check the path; in a case it is relative to the case file"
        )
    try:
        dataset = xarray.open_dataset(path, decode_coords="all")
    except (OSError, ValueError) as error:
        raise InputError(f"{purpose}: {path.name!r} cannot be read as NetCDF", "a NetCDF file", "check the file") from error
    with dataset:
        yield dataset


def check_new_file(path: Path, endings: set[str], overwrite: bool) -> None:
    """Refuse, before any work is done, a file that exists, has a wrong ending or cannot be written."""
    if path.suffix not in endings:
        allowed = ", ".join(sorted(endings))
        raise InputError(f"output {path.name!r}", f"a file name that ends in {allowed}", f"write NAME{min(endings)}, for example")
    if path.is_dir():
        raise InputError(f"the output {path.name!r} is a directory", "the name of a file", "choose another name")
    if path.exists() and not overwrite:
        raise InputError(
            f"the output file {path.name!r} exists", "a new file", "choose another name, or allow to overwrite it (--overwrite)"
        )
    folder = path.parent
    if not folder.is_dir():
        raise InputError(
            f"the directory {str(folder)!r} of the output does not exist", "an existing directory", "create it first"
        )
    probe = folder / f".{path.name}.{os.getpid()}.tmp"
    try:
        probe.touch(exist_ok=False)
        probe.unlink()
    except OSError as error:
        raise InputError(
            f"the directory {str(folder)!r} cannot be written: {error.strerror}", "a writable directory", "choose another place"
        ) from None
