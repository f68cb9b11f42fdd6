"""Files that a run keeps for itself, to go on after it was killed: plain arrays and JSON, never pickles, and never half a file.

Written beside their place, synchronised, then renamed: a file is the old one or the new one. Inside, in this order:

    the format              "gridflow kept 1", a line of 16 bytes
    the header's length     8 bytes
    the header              JSON: the version of gridflow, the numbers, name, type and shape of each array, a digest of the arrays
    a digest                of everything before, 16 bytes
    the arrays              one after the other

The file must be as long as its header says before anything is allocated, and both digests must fit.
"""

import errno
import json
import math
import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from hashlib import blake2b
from io import BufferedIOBase
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np

import gridflow
from gridflow.space.factor import Array

Result = TypeVar("Result")
TRANSIENT = {errno.EINTR, errno.EAGAIN, errno.EBUSY, errno.ESTALE}
"""Errors of file systems that may be gone a moment later; a full disk or one that cannot be written is none of them."""
WAITS = (0.05, 0.2, 1.0)
"""Seconds before each further try."""
FORMAT = b"gridflow kept 1\n"
NUMBER = "[<>|][biufc][0-9]{1,2}"
"""The types of arrays, as NumPy names them."""
DIGEST, LENGTH = 16, 8
"""Bytes of a digest, and of the length of the header."""


class UnreadableError(RuntimeError):
    """A kept file gives nothing. reason : there is none, it is damaged, or another version wrote it; the message says it."""

    def __init__(self, path: Path, reason: Literal["missing", "damaged", "version"], why: str) -> None:
        super().__init__(f"{path.name!r} {why}")
        self.path, self.reason, self.why = path, reason, why

    def __reduce__(self) -> tuple[Any, ...]:
        """So that other processes can have it."""
        return UnreadableError, (self.path, self.reason, self.why)


def retried(call: Callable[[], Result]) -> Result:
    """What a call returns, tried again where it meets an error of `TRANSIENT`. The one policy of all files that are replaced."""
    for wait in WAITS:
        try:
            return call()
        except OSError as error:
            if error.errno not in TRANSIENT:
                raise
        time.sleep(wait)
    return call()


def synchronise(path: Path) -> None:
    """A file, or the names in a directory, are on the disk. Some file systems cannot do this for directories (EINVAL)."""
    if path.is_dir() and os.name != "posix":
        return
    number = os.open(path, os.O_RDONLY)
    try:
        os.fsync(number)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
    finally:
        os.close(number)


def publish(temporary: Path, path: Path, older: Path | None = None) -> None:
    """A complete file gets its name, after its content is on the disk. older : then the name of what had it before."""

    def rename() -> None:
        synchronise(temporary)
        if older is not None:
            with suppress(FileNotFoundError):
                os.replace(path, older)
        os.replace(temporary, path)
        synchronise(path.parent)

    retried(rename)


@contextmanager
def replaced_by(path: Path) -> Iterator[Path]:
    """A name for a file that is to be written: afterwards it replaces `path` at once; after an error it is removed."""
    part = path.with_name(path.name + ".part")
    try:
        yield part
        publish(part, path)
    finally:
        part.unlink(missing_ok=True)


def temporary_path(path: Path) -> Path:
    """Where a file is written before it gets its name. One process at a time writes a file."""
    return path.with_name(path.name + ".tmp")


def write_kept(path: Path, arrays: dict[str, Array], numbers: dict[str, Any], older: Path | None = None) -> None:
    """Writes a file as a whole or not at all; the one before stays, where this fails.

    arrays : of numbers, of any shape, by name; numbers : what JSON can hold, NaN and infinity among it; older : see `publish`.
    Raises OSError, and TypeError for what cannot be kept.
    """
    path, parts = Path(path), packed(arrays, numbers)
    temporary = temporary_path(path)

    def write() -> None:
        with open(temporary, "wb") as file:
            for part in parts:
                file.write(part)

    try:
        retried(write)
        publish(temporary, path, older)
    except BaseException:  # Ctrl-C too: nothing half done stays
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise


def packed(arrays: dict[str, Array], numbers: dict[str, Any]) -> list[bytes | memoryview]:
    """The content of a kept file, in parts that follow each other. Raises TypeError for what cannot be kept."""
    parts = {name: np.asarray(array, order="C") for name, array in arrays.items()}
    for name, array in parts.items():
        if array.dtype.kind not in "biufc":
            raise TypeError(f"the array {name!r} holds {array.dtype}, no numbers")
    table = [[name, array.dtype.str, list(array.shape)] for name, array in parts.items()]
    digest = blake2b(digest_size=DIGEST)
    for array in parts.values():
        digest.update(bytes_of(array))
    header = {"gridflow": gridflow.__version__, "numbers": numbers, "arrays": table, "digest": digest.hexdigest()}
    text = json.dumps(header).encode()
    head = FORMAT + len(text).to_bytes(LENGTH, "little") + text
    return [head + blake2b(head, digest_size=DIGEST).digest(), *(bytes_of(array) for array in parts.values())]


def bytes_of(array: Array) -> memoryview:
    """The memory of a contiguous array."""
    return array.reshape(-1).view(np.uint8).data


def read_kept(path: Path) -> tuple[dict[str, Array], dict[str, Any]]:
    """The arrays and the numbers of a file that `write_kept` has written. Raises UnreadableError, whatever the file holds.

    That they are those which somebody needs, and of his shapes, is for him to check.
    """
    path = Path(path)

    def read() -> tuple[dict[str, Array], dict[str, Any]]:
        with open(path, "rb") as file:
            return unpacked(path, file, os.fstat(file.fileno()).st_size)

    try:
        return retried(read)
    except FileNotFoundError:
        raise UnreadableError(path, "missing", "does not exist") from None
    except OSError as error:
        raise UnreadableError(path, "damaged", f"cannot be read: {error.strerror}") from None


def unpacked(path: Path, file: BufferedIOBase, size: int) -> tuple[dict[str, Array], dict[str, Any]]:
    """What `read_kept` returns, from a stream of so many bytes; path : for messages."""
    header = read_header(path, file, size)
    try:
        numbers, empty = header["numbers"], empty_arrays(header["arrays"], size - file.tell())
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise UnreadableError(path, "damaged", f"is cut off, or no kept file: {error}") from None
    if not isinstance(numbers, dict):
        raise UnreadableError(path, "damaged", "holds no table of numbers")
    digest = blake2b(digest_size=DIGEST)
    for array in empty.values():
        file.readinto(bytes_of(array))
        digest.update(bytes_of(array))
    if digest.hexdigest() != header.get("digest"):
        raise UnreadableError(path, "damaged", "is damaged: the checksum of its arrays differs")
    return empty, numbers


def read_header(path: Path, file: BufferedIOBase, size: int) -> dict[str, Any]:
    """The header of a file of so many bytes, whose checksum and version fit. Raises UnreadableError."""
    start = file.read(len(FORMAT) + LENGTH)
    kind, length = start[: len(FORMAT)], int.from_bytes(start[len(FORMAT) :], "little")
    if kind != FORMAT and (found := re.fullmatch(rb"gridflow kept (\d+)\n?", kind)):
        raise UnreadableError(path, "version", f"has the format {int(found[1])}; this gridflow reads the format 1")
    if kind != FORMAT or len(start) + length + DIGEST > size:
        raise UnreadableError(path, "damaged", "is cut off, or no kept file")
    text = file.read(length)
    if blake2b(start + text, digest_size=DIGEST).digest() != file.read(DIGEST):
        raise UnreadableError(path, "damaged", "is damaged: the checksum of its header differs")
    try:
        header = json.loads(text)
    except (ValueError, RecursionError):
        header = None
    if not isinstance(header, dict):
        raise UnreadableError(path, "damaged", "has a header that is no table")
    if header.get("gridflow") != gridflow.__version__:
        why = f"was written by gridflow {header.get('gridflow')}; this is gridflow {gridflow.__version__}"
        raise UnreadableError(path, "version", why)
    return header


def empty_arrays(table: list, room: int) -> dict[str, Array]:
    """Arrays for what follows a header, by name. Raises ValueError or TypeError for a table that does not fit into the file."""
    if not all(re.fullmatch(NUMBER, kind) and min(shape, default=0) >= 0 for _, kind, shape in table):
        raise ValueError("its arrays hold no numbers")
    kinds = [(str(name), np.dtype(kind), [int(n) for n in shape]) for name, kind, shape in table]
    needed = sum(kind.itemsize * math.prod(shape) for _, kind, shape in kinds)
    if needed != room:
        raise ValueError(f"its arrays take {needed} bytes, of which there are {room}")
    return {name: np.empty(shape, kind) for name, kind, shape in kinds}
