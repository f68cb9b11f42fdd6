"""The records of a run that lasts, NAME.nc.part: NetCDF in the classic format with 64-bit integers (CDF-5), which readers open.

In this format records of one length follow each other, and their number stands at the start of the file. A record is written
behind the last one, then the number: nothing that is there before ever moves, so that a process that is killed in between
leaves every record that was counted. (In a NetCDF-4 file, which is HDF5, a record changes trees of indices in place.)
`gridflow.output.dataset` makes the result, NetCDF-4, from it.
"""

import errno
import os
import sys
import zlib
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from gridflow.netcdf import read_file, written_file
from gridflow.output.kept import UnreadableError, retried
from gridflow.output.layout import UNLIMITED, Layout, create_file

COUNT, COUNT_BYTES = 4, 8
"""Where the number of records stands, behind "CDF" and 5, and how long it is."""
ALIGNED = 4
"""Where records may begin."""


def record_type(layout: Layout) -> np.dtype:
    """One record, as the file holds it: every variable along `UNLIMITED`, in the order of the layout, high bytes first."""
    along = {n: v.values for n, v in layout.variables.items() if UNLIMITED in v.dims}
    kind = np.dtype([(name, values.dtype.newbyteorder(">"), values.shape[1:]) for name, values in along.items()])
    assert all(kind[name].itemsize % ALIGNED == 0 for name in along)  # else CDF-5 has gaps
    return kind


class Part:
    """A part that is open for writing; records : their number; digest : a checksum over all of them."""

    def __init__(self, path: Path, layout: Layout, begin: int, records: int = 0, digest: int = 0) -> None:
        self.path, self.kind = path, record_type(layout)
        self.begin, self.records, self.digest = begin, records, digest
        self.number = os.open(path, os.O_RDWR)

    @classmethod
    def new(cls, path: Path, layout: Layout) -> "Part":
        """A part without records, in place of any file of this name."""
        path.unlink(missing_ok=True)
        reserve(path, sum(v.values.nbytes for v in layout.variables.values()))
        create_file(layout, path, "NETCDF3_64BIT_DATA")
        return cls(path, layout, -(-path.stat().st_size // ALIGNED) * ALIGNED)

    @classmethod
    def resumed(cls, path: Path, layout: Layout, begin: int, records: int, digest: int) -> "Part":
        """A part with its first `records` records, which must have this digest. Raises UnreadableError."""
        if not path.is_file():
            raise UnreadableError(path, "missing", "is missing beside its checkpoint")
        part = cls(path, layout, begin, records)
        try:
            part.digest = 0
            for k in range(records):
                part.digest = zlib.crc32(part.bytes_at(k), part.digest)
            if part.digest != digest:
                raise UnreadableError(path, "damaged", "is damaged: the checksum of its records differs")
            part.count()
        except BaseException:
            part.close()
            raise
        return part

    @classmethod
    def rebuilt(cls, path: Path, layout: Layout, complete: Path, records: int, digest: int) -> "Part":
        """A part with the first records of a complete file, which must have this digest. Raises UnreadableError."""
        part = cls.new(path, layout)
        try:
            with read_file(complete) as file:
                file.set_auto_mask(False)
                for k in range(records):
                    part.append({name: file.variables[name][k] for name in part.kind.names or ()})
            if part.digest != digest:
                raise UnreadableError(complete, "damaged", "is damaged, or changed: the checksum of its records differs")
        except BaseException:
            part.close()
            path.unlink()
            raise
        return part

    def bytes_at(self, k: int) -> bytes:
        """The bytes of a record. Raises UnreadableError where the file ends before."""
        size, parts = self.kind.itemsize, list[bytes]()
        start = self.begin + k * size
        while size > 0:
            found = os.pread(self.number, size, start)
            if not found:
                raise UnreadableError(self.path, "damaged", f"holds fewer records than its checkpoint counts, {self.records}")
            parts, start, size = [*parts, found], start + len(found), size - len(found)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def values_at(self, k: int) -> dict[str, Any]:
        """A record, by name of variable."""
        record = np.frombuffer(self.bytes_at(k), self.kind)[0]
        return {name: record[name].astype(self.kind[name].base.newbyteorder("=")) for name in self.kind.names or ()}

    def append(self, values: Mapping[str, Any]) -> None:
        """Writes a record, and then counts it. Raises OSError."""
        record = np.zeros(1, self.kind)
        for name, value in values.items():
            record[name] = value
        content = record.view(np.uint8).data
        self.write(content, self.begin + self.records * self.kind.itemsize)
        self.digest = zlib.crc32(content, self.digest)
        self.records += 1
        self.count()

    def count(self) -> None:
        """Writes the number of records."""
        self.write(memoryview(self.records.to_bytes(COUNT_BYTES, "big")), COUNT)

    def write(self, content: memoryview, start: int) -> None:
        """Writes bytes at a place of the file. Raises OSError with its name."""
        try:
            while content:
                done = retried(partial(os.pwrite, self.number, content, start))
                content, start = content[done:], start + done
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(self.path)) from None

    def synchronise(self) -> None:
        """All records are on the disk."""
        retried(lambda: os.fsync(self.number))

    def close(self) -> None:
        """No more records; a second time does nothing."""
        if self.number >= 0:
            os.close(self.number)
        self.number = -1


GROUP, STATE = "restart", "state"
"""Where a complete file holds what an extension needs: beside the dataset, which does not show it."""


def write_complete(part: Part, layout: Layout, temporary: Path, attrs: dict[str, Any], state: bytes) -> None:
    """The records of a part, and the attributes of the whole, as NetCDF-4; state : a kept file, to go on from the last record.

    Raises OSError; then nothing of the file is left.
    """
    try:
        reserve(temporary, part.begin + part.records * part.kind.itemsize)
        create_file(layout, temporary, "NETCDF4")
        with written_file(temporary, "a") as file:
            for k in range(part.records):
                for name, value in part.values_at(k).items():
                    file.variables[name][k] = value
            file.setncatts({"records": np.int32(part.records), **attrs})
            if state:
                group = file.createGroup(GROUP)
                group.createDimension("bytes", len(state))
                group.createVariable(STATE, "u1", ("bytes",))[:] = np.frombuffer(state, np.uint8)
    except BaseException:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise


def reserve(path: Path, size: int) -> None:
    """Raises OSError with its true reason where a new file of this size would not fit: NetCDF gives none."""
    if sys.platform != "linux":
        return
    number = os.open(path, os.O_CREAT | os.O_WRONLY, 0o666)
    try:
        os.posix_fallocate(number, 0, max(size, 1))
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.EOPNOTSUPP):  # file systems that do not know how
            raise OSError(error.errno, error.strerror, str(path)) from None
    finally:
        os.close(number)
        path.unlink()
