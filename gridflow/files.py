"""Files that a user names: opened and refused in one place, with one kind of message.

A file may come from anywhere. It has to be a regular file, and what is read of it has to fit into the memory of the machine, by
its own header. It may not name other files (`gridflow.hdf5.links`). HDF5 has checksums for its structure, not for numbers: 1500
files with changed or lost bytes ended in the errors of `BROKEN` or in other numbers, none in a crash or without end. Classic
formats have none (`gridflow.classic`).
"""

import math
import os
import shutil
import stat
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from typing import TYPE_CHECKING, Any

import numpy as np

from gridflow.errors import InputError, require
from gridflow.hdf5.links import ElsewhereError
from gridflow.memory import require_memory
from gridflow.netcdf import ONE_THREAD, read_dataset, read_file

if TYPE_CHECKING:
    import netCDF4
    import xarray

BROKEN = (OSError, RuntimeError, ValueError, AttributeError, KeyError, IndexError, TypeError, OverflowError, MemoryError)
"""What netCDF4 and xarray raise for a file that is damaged or has attributes of the wrong type."""
PATH_FIX = "check the path; in a case file it starts at its folder, in --set of a shipped case at the current directory"


@dataclass(frozen=True)
class Stored:
    """What the header of a file says of a variable; dtype : None where it holds no plain numbers."""

    dims: tuple[str, ...]
    shape: tuple[int, ...]
    dtype: np.dtype | None
    attrs: dict[str, Any]

    @property
    def size(self) -> float:
        """Bytes of its numbers."""
        return 0.0 if self.dtype is None else float(self.dtype.itemsize) * math.prod(map(float, self.shape))


@dataclass(frozen=True)
class Contents:
    """A NetCDF file that is open: its header, and numbers as they lie there, on demand."""

    name: str
    purpose: str
    attrs: dict[str, Any]
    variables: dict[str, Stored]
    handle: "netCDF4.Dataset"

    def values(self, name: str, where: Any = ...) -> np.ndarray:
        """Numbers of a variable, in the byte order of the machine. Raises InputError where they cannot be read."""
        with reading(self.name, self.purpose):
            found = np.asarray(self.handle.variables[name][where])
            return found.astype(found.dtype.newbyteorder("="), copy=False)

    def require(self, condition: Any, received: str, allowed: str, fix: str) -> None:
        """Raises InputError, with the purpose and the name of the file, unless the condition holds."""
        require(bool(condition), f"{self.purpose}: {self.name!r} {received}", allowed, fix)

    def check_size(self, size: float) -> None:
        """Raises InputError for more bytes than the machine can hold."""
        check_size(size, f"{self.purpose}: {self.name!r}")


@contextmanager
def reading(name: str, purpose: str) -> Iterator[None]:
    """Within it, nothing but a library that reads a file: what it raises becomes an InputError."""
    try:
        yield
    except ElsewhereError as error:
        fix = "ask for a file that holds its numbers itself; nccopy writes one, where those files are to be trusted"
        raise InputError(f"{purpose}: {name!r} {error}", "numbers in the file itself", fix) from None
    except BROKEN as error:
        raise InputError(
            f"{purpose}: {name!r} cannot be read as NetCDF ({type(error).__name__})", "a NetCDF file", "check the file"
        ) from error


def check_size(size: float, what: str) -> None:
    """Raises InputError for more bytes than the machine can hold, with what is drawn or computed of them, as large again."""
    require_memory(f"{what}, with a copy", 2 * size, "take fewer times or variables from it, or use a machine with more memory")


def regular_file(path: Path, purpose: str, bytes_max: float = float("inf")) -> Path:
    """The path of a file that may be read as a whole.

    Raises InputError for none, for a folder, a device, a pipe or a socket, and for more than `bytes_max` bytes.
    """
    name = path.name or str(path)
    try:
        found = path.stat()
    except (OSError, ValueError) as error:  # ValueError: a name with a null byte
        flaw = error.strerror if isinstance(error, OSError) else str(error)
        raise InputError(f"{purpose}: no file {name[:200]!r} ({flaw})", "the path of a file", PATH_FIX) from None
    require(stat.S_ISREG(found.st_mode), f"{purpose}: {name!r} is no regular file", "a file with data", "name another file")
    received = f"{purpose}: {name!r} has {found.st_size} bytes"
    require(found.st_size <= bytes_max, received, f"at most {bytes_max:.0f}", "use a smaller file")
    return path


@contextmanager
def open_contents(path: Path, purpose: str) -> Iterator[Contents]:
    """The header of a NetCDF file, and its numbers on demand.

    Raises InputError if there is none, it cannot be read, or it names other files with numbers.
    """
    regular_file(path, purpose)
    with ExitStack() as stack:
        with reading(path.name, purpose):
            handle = stack.enter_context(read_file(path.resolve()))
            handle.set_auto_maskandscale(False)
            attrs = attributes_of(handle)
            variables = {}
            for name, v in handle.variables.items():
                plain = isinstance(v.dtype, np.dtype) and v.dtype.kind in "iuf"
                shape = tuple(map(int, v.shape))
                variables[name] = Stored(tuple(v.dimensions), shape, v.dtype if plain else None, attributes_of(v))
        yield Contents(path.name, purpose, attrs, variables, handle)


def attributes_of(holder: Any) -> dict[str, Any]:
    """Attributes of a file or a variable."""
    return {name: holder.getncattr(name) for name in holder.ncattrs()}


@contextmanager
def open_netcdf(path: Path, purpose: str) -> Iterator["xarray.Dataset"]:
    """An xarray.Dataset of a NetCDF file of any kind; times stay numbers. What is used of it is to be `loaded`.

    Raises InputError if there is none or it cannot be read.
    """
    regular_file(path, purpose)
    with ONE_THREAD:
        with reading(path.name, purpose), unwarned():
            dataset = read_dataset(path.resolve(), decode_coords=False, decode_times=False, decode_timedelta=False)
        with dataset:
            yield dataset


@contextmanager
def unwarned() -> Iterator[None]:
    """Within it, xarray decodes attributes of any kind; numbers that overflow are found to be infinite afterwards."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        yield


def loaded(dataset: "xarray.Dataset", names: list[str], path: Path, purpose: str) -> Mapping[str, "xarray.Variable"]:
    """Variables of a file that is open, in memory. Raises InputError where they are too large or cannot be read."""
    check_size(sum(float(dataset.variables[n].nbytes) for n in names), f"{purpose}: {path.name!r}")
    with reading(path.name, purpose), unwarned():
        return {name: dataset.variables[name].load() for name in names}


@contextmanager
def folder_replaced_by(path: Path) -> Iterator[Path]:
    """A new folder to write files into: afterwards it replaces `path` as a whole; after an error it is removed."""
    part, old = (path.with_name(f".{path.name}.{os.getpid()}.{ending}") for ending in ("part", "old"))
    part.mkdir()
    try:
        yield part
        if path.exists():
            os.rename(path, old)
        os.rename(part, path)
    finally:
        if old.exists() and not path.exists():
            os.rename(old, path)
        for folder in (part, old):
            if folder.exists():
                shutil.rmtree(folder)


def check_new_file(path: Path, endings: set[str], overwrite: bool) -> None:
    """Raises InputError, before any work is done, for a file that exists, has a wrong ending or cannot be written."""
    allowed = f"a file name that ends in {', '.join(sorted(endings))}"
    require(path.suffix in endings, f"output {path.name!r}", allowed, f"write NAME{min(endings)}, for example")
    require(not path.is_dir(), f"the output {path.name!r} is a directory", "the name of a file", "choose another name")
    check_new(path, overwrite, "file")


def check_new_folder(path: Path, overwrite: bool, ours: Callable[[Path], bool], contents: str) -> None:
    """Raises InputError, before any work is done, for a folder that exists or cannot be written.

    ours : whether what is in an existing folder may go with it; contents : what that is, in words
    """
    check_new(path, overwrite, "folder")
    if path.exists() or path.is_symlink():
        plain = path.is_dir() and not path.is_symlink()
        require(plain, f"the output {path.name!r} is a file or a link", "a folder", "choose another name")
        foreign = sorted(p.name for p in path.iterdir() if not ours(p))
        received = f"the output folder {path.name!r} holds {', '.join(map(repr, foreign[:3]))}"
        require(not foreign, received, f"a folder with nothing but {contents}", "choose another name")


def check_new(path: Path, overwrite: bool, what: str) -> None:
    """Raises InputError for an output that exists, or cannot be written."""
    fix = "choose another name, or allow to overwrite it (--overwrite)"
    require(overwrite or not path.exists(), f"the output {what} {path.name!r} exists", f"a new {what}", fix)
    folder = path.parent
    received = f"the directory {str(folder)!r} of the output does not exist"
    require(folder.is_dir(), received, "an existing directory", "create it first")
    try:
        with TemporaryFile(dir=folder):  # without a name: a process that is killed leaves nothing
            pass
    except OSError as error:
        received = f"the directory {str(folder)!r} cannot be written: {error.strerror}"
        raise InputError(received, "a writable directory", "choose another place") from None
