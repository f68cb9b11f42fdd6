"""Files in VTK's XML format for unstructured grids (.vtu), and collections of them over time (.pvd).

Numbers are appended in binary form after the XML: little-endian, compressed by zlib in blocks, as VTK, ParaView and meshio read
them. Cells may be polygons of any number of corners. (meshio writes polygons too, but no fields, which hold the time.)
"""

import zlib
from dataclasses import dataclass
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


def write_unstructured(path: Path, cells: Cells, arrays: dict[str, Array], fields: dict[str, Array]) -> None:
    """Writes cells with numbers on them by name, (n_cells,) each, and fields, (n,) each of its own length."""
    appended = Appended()
    size = len(cells.ends)
    with path.open("wb") as file:
        xml = [HEAD.format("UnstructuredGrid", ' compressor="vtkZLibDataCompressor"'), "<UnstructuredGrid>\n<FieldData>\n"]
        xml += [appended.add(name, v, f' NumberOfTuples="{len(v)}"') for name, v in fields.items()]
        xml.append(f'</FieldData>\n<Piece NumberOfPoints="{len(cells.points)}" NumberOfCells="{size}">\n<Points>\n')
        xml += [appended.add("Points", cells.points, ' NumberOfComponents="3"'), "</Points>\n<Cells>\n"]
        types = np.full(size, cells.kind, dtype=np.uint8)
        xml += [appended.add(n, v) for n, v in (("connectivity", cells.corners), ("offsets", cells.ends), ("types", types))]
        xml.append("</Cells>\n<CellData>\n")
        xml += [appended.add(name, v) for name, v in arrays.items()]
        xml.append('</CellData>\n</Piece>\n</UnstructuredGrid>\n<AppendedData encoding="raw">\n_')
        file.write("".join(xml).encode())
        file.writelines(appended.blocks)
        file.write(b"\n</AppendedData>\n</VTKFile>\n")


class Appended:
    """Arrays one after the other, compressed."""

    def __init__(self) -> None:
        self.blocks: list[bytes] = []
        self.size = 0

    def add(self, name: str, values: Any, words: str = "") -> str:
        """Keeps an array; returns the XML that says where it is."""
        values = np.ascontiguousarray(values)
        values = values.astype(values.dtype.newbyteorder("<"), copy=False)
        kind, data = TYPES[values.dtype.str[1:]], values.tobytes()
        blocks = [zlib.compress(data[k : k + BLOCK], 1) for k in range(0, len(data), BLOCK)]
        head = np.array([len(blocks), BLOCK, len(data) % BLOCK, *map(len, blocks)], dtype="<u8").tobytes()
        start = self.size
        self.blocks += [head, *blocks]
        self.size += len(head) + sum(map(len, blocks))
        return f'<DataArray type="{kind}" Name={quoteattr(name)}{words} format="appended" offset="{start}"/>\n'


def write_collection(path: Path, files: dict[str, float]) -> None:
    """Writes a collection: the time of every file, whose names are relative to that of the collection."""
    sets = [f'<DataSet timestep="{time!r}" group="" part="0" file={quoteattr(name)}/>\n' for name, time in files.items()]
    path.write_text(f"{HEAD.format('Collection', '')}<Collection>\n{''.join(sets)}</Collection>\n</VTKFile>\n", encoding="utf-8")
