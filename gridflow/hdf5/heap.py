"""Links of large groups in HDF5 files: a fractal heap, and trees whose records have places in it (`gridflow.hdf5.links`).

HDF5 File Format Specification 3.0, III.A.2 (version 2 B-trees) and III.G (fractal heap). A heap is one range of addresses, cut
into blocks: W of the size S in the first two rows, then twice as large from row to row; from a size on they are heaps themselves.
"""

from collections.abc import Iterator

from gridflow.hdf5.structure import Fields, Structure

DEPTH_MAX, ROWS_MAX = 16, 64
PREFIX = 10
"""Bytes of a node beside its records: name, version, kind and checksum."""


def bytes_for(most: int) -> int:
    """Bytes that numbers up to this one take."""
    return max(most.bit_length() - 1, 0) // 8 + 1


def records(structure: Structure, address: int) -> Iterator[bytes]:
    """All records of a tree."""
    head = structure.at(address, 16 + structure.offset + 2, b"BTHD")
    head.bytes(2)
    size, width, depth, _ = head.number(4), head.number(2), head.number(2), head.bytes(2)
    root, count = structure.address(head), head.number(2)
    if depth > DEPTH_MAX or width == 0 or size < PREFIX + width:
        raise ValueError("a tree of unusual shape")
    most = (size - PREFIX) // width
    sizes, totals, total = bytes_for(most), [0], most  # bytes of a number of records, in a node and in what is below it
    for _ in range(depth):
        pointer = structure.offset + sizes + totals[-1]
        inside = (size - PREFIX - pointer) // (width + pointer)
        total = (inside + 1) * total + inside
        totals.append(bytes_for(total))

    def node(address: int, count: int, depth: int) -> Iterator[bytes]:
        fields = structure.at(address, size, b"BTIN" if depth else b"BTLF")
        fields.bytes(2)
        for _ in range(count):
            yield fields.bytes(width)
        for _ in range(count + 1 if depth else 0):
            below, number = fields.number(structure.offset), fields.number(sizes)
            fields.bytes(totals[depth - 1])
            yield from node(below, number, depth - 1)

    if root is not None and count:
        yield from node(root, count, depth)


class Heap:
    """A heap of links."""

    def __init__(self, structure: Structure, address: int) -> None:
        self.structure, wide, far = structure, structure.length, structure.offset
        head = structure.at(address, 22 + 12 * wide + 3 * far, b"FRHP")
        version, _, filters, _, largest = head.number(1), head.number(2), head.number(2), head.number(1), head.number(4)
        head.bytes(2 * far + 10 * wide)
        self.width, self.start, self.direct, bits = head.number(2), head.number(wide), head.number(wide), head.number(2)
        head.bytes(2)
        self.root, self.rows = head.number(far), head.number(2)
        if version != 0 or filters != 0:
            raise ValueError("compressed links")
        powers = (self.width, self.start, self.direct)
        if any(n == 0 or n & (n - 1) for n in powers) or self.rows > ROWS_MAX:
            raise ValueError("a heap of unusual shape")
        self.place = (bits + 7) // 8
        self.count = min((self.direct.bit_length() + 6) // 8, bytes_for(largest))
        self.prefix = 5 + far + self.place

    def item(self, place: bytes) -> Fields:
        """What lies at a place: bits of its kind, where it begins, how long it is."""
        if place[0] & 0xF0 or 1 + self.place + self.count > len(place):
            raise ValueError("links that are huge or tiny")
        begin = int.from_bytes(place[1 : 1 + self.place], "little")
        count = int.from_bytes(place[1 + self.place : 1 + self.place + self.count], "little")
        block, size = self.root, self.start
        if self.rows:
            block, begin, size = self.block(self.root, self.rows, begin)
        if begin < self.prefix or begin + count > size:
            raise ValueError("a link outside its block")
        self.structure.at(block, 4, b"FHDB")
        return self.structure.at(block + begin, count)

    def block(self, address: int, rows: int, begin: int) -> tuple[int, int, int]:
        """(address, where in it, size) of the block in which a place is, below the block of blocks at an address."""
        self.structure.at(address, 4, b"FHIB")
        for row in range(rows):
            size = self.start << max(row - 1, 0)
            if begin >= size * self.width:
                begin -= size * self.width
                continue
            column, begin = divmod(begin, size)
            entry = address + self.prefix + (row * self.width + column) * self.structure.offset
            found = self.structure.at(entry, self.structure.offset).number(self.structure.offset)
            if size <= self.direct:
                return found, begin, size
            return self.block(found, (size // (self.start * self.width)).bit_length(), begin)
        raise ValueError("a link outside its heap")
