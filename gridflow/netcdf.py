"""The door to netCDF4 and to what xarray does with files: one thread of the process at a time.

Neither netCDF nor HDF5, which it is built on, is safe for threads, not even with different files: two threads that write end the
process. xarray has a lock for the numbers that it reads and writes, not for headers. `ONE_THREAD` is held for both. While it is
held nobody else's dataset reads from a file either, since it takes the lock of xarray too, where xarray is loaded.

Neither is safe for files of others. Before they open one, its format is checked: by the grammar of the classic formats, and for
HDF5 that it names no other files, which would be read with it.
"""

import errno
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import RLock
from typing import TYPE_CHECKING, Any, Literal

from gridflow.classic import check_classic
from gridflow.hdf5.links import check_self_contained
from gridflow.hdf5.structure import SIGNATURE

if TYPE_CHECKING:
    import netCDF4
    import xarray

Format = Literal["NETCDF4", "NETCDF3_64BIT_DATA"]


class OneThread:
    """A lock that its thread may take again, and that xarray may use; alone : without the lock of xarray."""

    def __init__(self) -> None:
        self.alone, self.depth, self.others = RLock(), 0, None

    def acquire(self, blocking: bool = True) -> bool:
        """Takes the lock; False where another thread has it, and nobody waits."""
        if not self.alone.acquire(blocking):
            return False
        if self.depth == 0:
            others = lock_of_xarray()
            if others is not None and not others.acquire(blocking):
                self.alone.release()
                return False
            self.others = others
        self.depth += 1
        return True

    def release(self) -> None:
        """Gives it back."""
        self.depth -= 1
        if self.depth == 0 and self.others is not None:
            self.others.release()
            self.others = None
        self.alone.release()

    def __enter__(self) -> None:
        self.acquire()

    def __exit__(self, *_: object) -> None:
        self.release()

    def __reduce__(self) -> str:
        """Datasets that are sent to other processes take the lock there."""
        return "ONE_THREAD"


ONE_THREAD = OneThread()


def lock_of_xarray() -> Any:
    """The lock under which xarray reads and writes numbers with HDF5; None in a process without xarray."""
    if "xarray" not in sys.modules:
        return None
    import xarray  # noqa: F401 - waits where another thread imports it, which its parts do not
    from xarray.backends.locks import HDF5_LOCK

    return HDF5_LOCK


def check_format(path: Path) -> None:
    """Raises OSError for what is no NetCDF file, and for a file that names others (`gridflow.hdf5.links.ElsewhereError`)."""
    with path.open("rb") as file:
        first = file.read(len(SIGNATURE))
    try:
        check = check_self_contained if first == SIGNATURE else check_classic
        check(path)
    except ValueError as error:
        raise OSError(f"no NetCDF file: {error}") from None


@contextmanager
def read_file(path: Path) -> Iterator["netCDF4.Dataset"]:
    """A file that is read by this thread alone. Raises what `check_format` and netCDF4 raise."""
    check_format(path)
    with ONE_THREAD:
        import netCDF4

        with netCDF4.Dataset(path) as file:
            yield file


@contextmanager
def written_file(path: Path, mode: Literal["w", "a"], kind: Format = "NETCDF4") -> Iterator["netCDF4.Dataset"]:
    """A file of the format `kind` that is written by this thread alone. Raises OSError where it cannot be written."""
    with ONE_THREAD:
        import netCDF4

        file = netCDF4.Dataset(path, mode, format=kind)
        try:
            yield file
            file.close()
        except RuntimeError as error:  # what netCDF makes of a write that failed
            file._isopen = 0  # or its destructor closes it once more, which ends the process
            raise OSError(errno.EIO, f"NetCDF cannot write it ({error})", str(path)) from None


def read_dataset(path: str | Path, **decoding: Any) -> "xarray.Dataset":
    """The dataset of a file, of which numbers are read when they are used; decoding : of xarray.open_dataset.

    Raises what `check_format` and xarray raise.
    """
    import xarray

    check_format(Path(path))
    with ONE_THREAD:
        return xarray.open_dataset(path, engine="netcdf4", lock=ONE_THREAD, **decoding)


def write_dataset(dataset: "xarray.Dataset", path: Path, unlimited: Iterable[str] = ()) -> None:
    """Writes a dataset as NetCDF-4."""
    dataset.load()
    with ONE_THREAD.alone:  # xarray takes its own lock, and not twice
        dataset.to_netcdf(path, engine="netcdf4", unlimited_dims=list(unlimited))
