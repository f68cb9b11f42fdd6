"""Files in VTK's XML format for unstructured grids (.vtu), and collections of them over time (.pvd).

Numbers are appended in binary form after the XML: little-endian, compressed by zlib in blocks, as VTK, ParaView and meshio read
them. Cells may be polygons of any number of corners. (meshio writes polygons too, but no fields, which hold the time.)
"""

import zlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any
from xml.sax.saxutils import quoteattr

import numpy as np

from gridflow.space.factor import Array

LINE, POLYGON, QUAD, HEXAHEDRON = 3, 7, 9, 12
"""Types of cells in VTK."""
BLOCK = 1 << 20
"""Bytes that are compressed together."""
TYPES = {"f8": "Float64", "i8": "Int64", "i4": "Int32", "u1": "UInt8"}
HEAD = '<?xml version="1.0"?>\n<VTKFile type="{}" version="1.0" byte_order="LittleEndian" header_type="UInt64"{}>\n'


@dataclass(frozen=True)
class Cells:
    """Cells of one type. points : (n_points, 3); corners : numbers of points, cell by cell, of which cell i ends at `ends[i]`"""

    points: Array
    corners: Any
    ends: Any
    kind: int

    @cached_property
    def encoded(self) -> dict[str, "Encoded"]:
        """The arrays that every file of a series repeats, compressed once."""
        types = np.full(len(self.ends), self.kind, dtype=np.uint8)
        arrays = {"Points": self.points, "connectivity": self.corners, "offsets": self.ends, "types": types}
        return {name: encoded(values) for name, values in arrays.items()}


def write_unstructured(path: Path, cells: Cells, arrays: dict[str, Array], fields: dict[str, Array]) -> None:
    """Writes cells with numbers on them by name, (n_cells,) each, and fields, (n,) each of its own length."""
    appended = Appended()
    with path.open("wb") as file:
        xml = [HEAD.format("UnstructuredGrid", ' compressor="vtkZLibDataCompressor"'), "<UnstructuredGrid>\n<FieldData>\n"]
        xml += [appended.add(name, encoded(v), f' NumberOfTuples="{len(v)}"') for name, v in fields.items()]
        xml.append(f'</FieldData>\n<Piece NumberOfPoints="{len(cells.points)}" NumberOfCells="{len(cells.ends)}">\n<Points>\n')
        points, *others = cells.encoded.items()
        xml += [appended.add(*points, ' NumberOfComponents="3"'), "</Points>\n<Cells>\n"]
        xml += [appended.add(name, v) for name, v in others] + ["</Cells>\n<CellData>\n"]
        xml += [appended.add(name, encoded(v)) for name, v in arrays.items()]
        xml.append('</CellData>\n</Piece>\n</UnstructuredGrid>\n<AppendedData encoding="raw">\n_')
        file.write("".join(xml).encode())
        file.writelines(appended.blocks)
        file.write(b"\n</AppendedData>\n</VTKFile>\n")


@dataclass(frozen=True)
class Encoded:
    """An array as it lies in a file: the name of its type, and the sizes of its blocks followed by these."""

    kind: str
    blocks: list[bytes]


def encoded(values: Any) -> Encoded:
    """An array, little-endian and compressed."""
    values = np.ascontiguousarray(values)
    values = values.astype(values.dtype.newbyteorder("<"), copy=False)
    data = values.tobytes()
    blocks = [zlib.compress(data[k : k + BLOCK], 1) for k in range(0, len(data), BLOCK)]
    sizes = np.array([len(blocks), BLOCK, len(data) % BLOCK, *map(len, blocks)], dtype="<u8")
    return Encoded(TYPES[values.dtype.str[1:]], [sizes.tobytes(), *blocks])


class Appended:
    """Arrays one after the other."""

    def __init__(self) -> None:
        self.blocks: list[bytes] = []
        self.size = 0

    def add(self, name: str, array: Encoded, words: str = "") -> str:
        """Keeps an array; returns the XML that says where it is."""
        start = self.size
        self.blocks += array.blocks
        self.size += sum(map(len, array.blocks))
        return f'<DataArray type="{array.kind}" Name={quoteattr(name)}{words} format="appended" offset="{start}"/>\n'


def write_collection(path: Path, files: dict[str, float]) -> None:
    """Writes a collection: the time of every file, whose names are relative to that of the collection."""
    sets = [f'<DataSet timestep="{time!r}" group="" part="0" file={quoteattr(name)}/>\n' for name, time in files.items()]
    path.write_text(f"{HEAD.format('Collection', '')}<Collection>\n{''.join(sets)}</Collection>\n</VTKFile>\n", encoding="utf-8")
