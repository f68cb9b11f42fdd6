"""Files that a user names: opened and refused in one place, with one kind of message."""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from gridflow.errors import InputError, require

if TYPE_CHECKING:
    import xarray


def regular_file(path: Path, purpose: str, bytes_max: float = float("inf")) -> Path:
    """The path of a file that may be read as a whole.

    Raises InputError for none, for a folder, a device, a pipe or a socket, and for more than `bytes_max` bytes.
    """
    name = path.name or str(path)
    try:
        found = path.stat()
    except (OSError, ValueError) as error:  # ValueError: a name with a null byte
        flaw = error.strerror if isinstance(error, OSError) else str(error)
        fix = "check the path; in a case it is relative to the case file"
        raise InputError(f"{purpose}: no file {name[:200]!r} ({flaw})", "the path of a file", fix) from None
    require(stat.S_ISREG(found.st_mode), f"{purpose}: {name!r} is no regular file", "a file with data", "name another file")
    received = f"{purpose}: {name!r} has {found.st_size} bytes"
    require(found.st_size <= bytes_max, received, f"at most {bytes_max:.0f}", "use a smaller file")
    return path


@contextmanager
def open_netcdf(path: Path, purpose: str) -> Iterator["xarray.Dataset"]:
    """An xarray.Dataset of a NetCDF file. Raises InputError if there is none or it cannot be read."""
    import xarray

    regular_file(path, purpose)
    try:
        dataset = xarray.open_dataset(path, decode_coords="all")
    except (OSError, ValueError) as error:
        raise InputError(f"{purpose}: {path.name!r} cannot be read as NetCDF", "a NetCDF file", "check the file") from error
    with dataset:
        yield dataset


def part_path(output: Path) -> Path:
    """The file of a result while its run lasts."""
    return output.with_name(output.name + ".part")


def checkpoint_path(output: Path) -> Path:
    """The file of the newest checkpoint of a result."""
    return output.with_name(output.name + ".checkpoint")


def older_path(output: Path) -> Path:
    """The file of the checkpoint before."""
    return output.with_name(output.name + ".checkpoint.old")


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
