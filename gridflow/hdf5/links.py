"""Does an HDF5 file, as NetCDF-4 files are, hold its numbers itself? Found out before the C library opens it.

A file may name other files, which the library opens and reads as if they were part of it: pipes that never end, or files that
whoever sent it may not see but the reader may. There are three ways (HDF5 File Format Specification 3.0), all refused here:

    external links, and those of users          IV.A.2.g, link message; in large groups in a fractal heap, III.G
    external storage of numbers                 IV.A.2.h, external data files message
    virtual datasets                            IV.A.2.i, data layout message of class 3

The objects that links lead to, from the root group on, are read by the grammar: superblock, object headers, groups. Numbers and
attributes are passed over. What does not follow the grammar, or is so unusual that it is not read here, is refused too.
"""

from collections.abc import Iterator
from pathlib import Path

from gridflow.hdf5.heap import Heap, records
from gridflow.hdf5.structure import Fields, Structure

LINK_INFO, LINK, EXTERNAL_DATA, LAYOUT, SYMBOL_TABLE = THAT_MATTER = 0x02, 0x06, 0x07, 0x08, 0x11
"""Types of messages."""
HARD, SOFT, EXTERNAL, VIRTUAL = 0, 1, 64, 3
"""Types of links; the class of the layout of virtual datasets."""
HEAP_ID = 7
"""Bytes of the place of a link in its heap."""


class ElsewhereError(OSError):
    """A file that has numbers in other files; the message continues "The file …"."""


def linked_objects(structure: Structure, address: int) -> Iterator[int]:
    """Addresses of the objects in an object, if it is a group. Raises ElsewhereError for what is in other files."""
    for kind, content, shared in structure.messages(address):
        if shared and kind in THAT_MATTER:
            raise ValueError("a message that cannot be shared")
        if kind == LINK:
            yield from link(structure, content)
        elif kind == LINK_INFO:
            yield from dense_links(structure, content)
        elif kind == SYMBOL_TABLE:
            yield from symbols(structure, content.number(structure.offset))
        elif kind == EXTERNAL_DATA:
            raise ElsewhereError("has numbers in other files (external storage of HDF5)")
        elif kind == LAYOUT:
            content.bytes(0 if content.number(1) > 2 else 1)
            if content.number(1) == VIRTUAL:
                raise ElsewhereError("has numbers in other files (a virtual dataset of HDF5)")


def link(structure: Structure, content: Fields) -> Iterator[int]:
    """The address that a link leads to, if it is a hard one."""
    version, flags = content.number(1), content.number(1)
    if version != 1:
        raise ValueError("a link of unusual version")
    kind = content.number(1) if flags & 8 else HARD
    content.bytes(8 * bool(flags & 4) + bool(flags & 16))
    content.bytes(content.number(1 << (flags & 3)))
    if kind == HARD:
        yield content.number(structure.offset)
    elif kind != SOFT:
        raise ElsewhereError(f"has links to other files ({'external' if kind == EXTERNAL else 'user-defined'} links of HDF5)")


def symbols(structure: Structure, address: int, level: int | None = None) -> Iterator[int]:
    """The same of a group in the old form, whose links are hard or soft: of a node of its tree."""
    name = structure.at(address, 4).data
    if name == b"SNOD" and level in (None, -1):
        fields = structure.at(address, 8, b"SNOD")
        fields.bytes(2)
        count, entry = fields.number(2), 2 * structure.offset + 24
        fields = structure.at(address + 8, count * entry)
        for _ in range(count):
            fields.bytes(structure.offset)
            found, kind = structure.address(fields), fields.number(4)
            fields.bytes(20)
            if kind != 2 and found is not None:  # 2: a soft link
                yield found
        return
    fields = structure.at(address, 8 + 2 * structure.offset, b"TREE")
    kind, below, count = fields.number(1), fields.number(1), fields.number(2)
    if kind != 0 or level not in (None, below):
        raise ValueError("a tree of another kind")
    fields = structure.at(address + 8 + 2 * structure.offset, count * (structure.offset + structure.length))
    for _ in range(count):
        fields.bytes(structure.length)
        yield from symbols(structure, fields.number(structure.offset), below - 1)


def dense_links(structure: Structure, content: Fields) -> Iterator[int]:
    """The same of a large group: all links of its heap that its indices, by name and by order, name."""
    version, flags = content.number(1), content.number(1)
    if version != 0:
        raise ValueError("links of unusual version")
    content.bytes(8 * (flags & 1))
    where, trees = structure.address(content), [structure.address(content)]
    trees += [structure.address(content)] if flags & 2 else []
    if where is None:
        return
    heap = Heap(structure, where)
    for tree in trees:
        for record in records(structure, tree) if tree is not None else ():
            yield from link(structure, heap.item(record[-HEAP_ID:]))


def check_self_contained(path: Path) -> None:
    """Raises ElsewhereError for a file with numbers in other files, ValueError for what is no HDF5 file."""
    with path.open("rb") as file:
        structure = Structure(file)
        todo = [structure.root()]
        seen = set(todo)
        while todo:
            for address in linked_objects(structure, todo.pop()):
                if address not in seen:
                    seen.add(address)
                    todo.append(address)
