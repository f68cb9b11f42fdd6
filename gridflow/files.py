"""Files that a user names: opened and refused in one place, with one kind of message."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from gridflow.errors import InputError, require

if TYPE_CHECKING:
    import xarray


@contextmanager
def open_netcdf(path: Path, purpose: str) -> Iterator["xarray.Dataset"]:
    """An xarray.Dataset of a NetCDF file. Raises InputError if there is none or it cannot be read."""
    import xarray

    fix = "check the path; in a case it is relative to the case file"
    require(path.is_file(), f"{purpose}: no file {path.name!r}", "a NetCDF file", fix)
    try:
        dataset = xarray.open_dataset(path, decode_coords="all")
    except (OSError, ValueError) as error:
        raise InputError(f"{purpose}: {path.name!r} cannot be read as NetCDF", "a NetCDF file", "check the file") from error
    with dataset:
        yield dataset


@contextmanager
def replaced_by(path: Path) -> Iterator[Path]:
    """A name for a file that is to be written: afterwards it replaces `path` at once; after an error it is removed."""
    part = path.with_name(path.name + ".part")
    try:
        yield part
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def check_new_file(path: Path, endings: set[str], overwrite: bool) -> None:
    """Raises InputError, before any work is done, for a file that exists, has a wrong ending or cannot be written."""
    allowed = f"a file name that ends in {', '.join(sorted(endings))}"
    require(path.suffix in endings, f"output {path.name!r}", allowed, f"write NAME{min(endings)}, for example")
    require(not path.is_dir(), f"the output {path.name!r} is a directory", "the name of a file", "choose another name")
    fix = "choose another name, or allow to overwrite it (--overwrite)"
    require(overwrite or not path.exists(), f"the output file {path.name!r} exists", "a new file", fix)
    folder = path.parent
    received = f"the directory {str(folder)!r} of the output does not exist"
    require(folder.is_dir(), received, "an existing directory", "create it first")
    probe = folder / f".{path.name}.{os.getpid()}.tmp"
    try:
        probe.touch(exist_ok=False)
        probe.unlink()
    except OSError as error:
        received = f"the directory {str(folder)!r} cannot be written: {error.strerror}"
        raise InputError(received, "a writable directory", "choose another place") from None
