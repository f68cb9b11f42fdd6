"""The structure of an HDF5 file, as NetCDF-4 files are: numbers, addresses and the messages of object headers.

HDF5 File Format Specification 3.0: II.A (superblock), IV.A.1 (object headers). Addresses count from the start of the file.
"""

import os
from collections.abc import Iterator
from typing import BinaryIO

SIGNATURE = b"\x89HDF\r\n\x1a\n"
"""How a file begins."""
CONTINUATION = 0x10
"""A message: the header goes on elsewhere."""
CACHE_IMAGE = 0x18
"""A message: other structures are used in place of those in the file."""
READ_MAX, READ = 2**25, 64
"""Bytes of structure that are read of a file, of a hundred thousand objects; bytes that each reading counts beside its own."""


class Fields:
    """Bytes, of which one number after the other is taken. Numbers have their lowest byte first."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def bytes(self, count: int) -> bytes:
        """The next so many. Raises ValueError where there are fewer."""
        self.at += count
        if self.at > len(self.data):
            raise ValueError("a structure of HDF5 is cut off")
        return self.data[self.at - count : self.at]

    def number(self, count: int) -> int:
        """The next number of so many bytes."""
        return int.from_bytes(self.bytes(count), "little")

    def left(self) -> int:
        """Bytes that are left."""
        return len(self.data) - self.at


class Structure:
    """Structure of an open file; offset, length : bytes of an address and of a length."""

    def __init__(self, file: BinaryIO) -> None:
        self.file, self.size, self.read = file, os.fstat(file.fileno()).st_size, 0
        self.offset = self.length = 8

    def at(self, address: int, count: int, name: bytes = b"") -> Fields:
        """So many bytes at an address, after the name of a structure that has to stand there."""
        self.read += count + READ
        if address + count > self.size or self.read > READ_MAX:
            raise ValueError("a structure of HDF5 is not in the file, or too large")
        self.file.seek(address)
        found = Fields(self.file.read(count))
        if found.bytes(len(name)) != name:
            raise ValueError(f"no {name.decode()} where it should be")
        return found

    def address(self, fields: Fields) -> int | None:
        """The next address; None where it is undefined."""
        found = fields.number(self.offset)
        return None if found == 2 ** (8 * self.offset) - 1 else found

    def root(self) -> int:
        """Address of the root group, from the superblock."""
        head = self.at(0, min(128, self.size), SIGNATURE)
        version = head.number(1)
        if version > 3:
            raise ValueError(f"a superblock of version {version}")
        head.bytes(4 if version < 2 else 0)
        self.offset, self.length = head.number(1), head.number(1)
        if not {self.offset, self.length} <= {2, 4, 8}:
            raise ValueError("addresses of unusual size")
        head.bytes({0: 9, 1: 13}.get(version, 1))
        base, extension = head.number(self.offset), self.address(head)
        head.bytes((3 if version < 2 else 1) * self.offset)
        found = self.address(head)
        if base != 0 or found is None:
            raise ValueError("no root group")
        if version >= 2 and extension is not None and any(kind == CACHE_IMAGE for kind, *_ in self.messages(extension)):
            raise ValueError("a cache image")
        return found

    def messages(self, address: int) -> Iterator[tuple[int, Fields, bool]]:
        """(type, content, whether that is the place of a shared message) of the messages of an object header."""
        second = self.at(address, 4).data == b"OHDR"
        if second:
            start = self.at(address, min(34, self.size - address), b"OHDR")
            version, flags = start.number(1), start.number(1)
            start.bytes(16 * bool(flags & 0x20) + 4 * bool(flags & 0x10))
            size, begin = start.number(1 << (flags & 3)), address + start.at
        else:
            start = self.at(address, 16)
            version, flags = start.number(2), 0
            start.bytes(6)
            size, begin = start.number(4), address + 16
        if version != (2 if second else 1):
            raise ValueError("an object header of unusual version")
        chunks = [self.at(begin, size)]
        for chunk in chunks:  # which grows
            while chunk.left() >= (4 + 2 * bool(flags & 4) if second else 8):
                kind, count, shared = chunk.number(1 if second else 2), chunk.number(2), bool(chunk.number(1) & 2)
                chunk.bytes(2 * bool(flags & 4) if second else 3)
                content = Fields(chunk.bytes(count))
                if kind == CONTINUATION:
                    where, count = content.number(self.offset), content.number(self.length)
                    chunks.append(self.at(where, count - 4, b"OCHK") if second else self.at(where, count))
                else:
                    yield kind, content, shared
