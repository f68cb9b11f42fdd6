"""The file of a member that took a moment: its dataset from memory, NetCDF in the classic format (CDF-5).

A run into a file keeps what a kill would lose: a part, checkpoints, a lock, and every name on the disk before the next. For a
member of some milliseconds that is most of the time, and so is HDF5, whose files are ten times as large. Here the file is
written once, and gets its name when it is complete; the system brings it to the disk when it likes. A member that is killed, or
whose file did not reach the disk before the power was lost, is run again.
"""

import os
import socket
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from gridflow.output.layout import UNLIMITED, Layout, Variable, create_file
from gridflow.output.part import ALIGNED, Part

if TYPE_CHECKING:
    import xarray


def write_small(dataset: "xarray.Dataset", path: Path) -> None:
    """Writes a dataset of `gridflow.solve`, in place of any file of this name. Raises OSError where it cannot be written."""
    layout = Layout(dict(dataset.attrs), coordinates=[str(name) for name in dataset.coords if name not in dataset.dims])
    for name, v in dataset.variables.items():
        values, fill = v.values if UNLIMITED not in v.dims else v.values[:0], v.encoding.get("_FillValue")
        layout.variables[str(name)] = Variable(tuple(map(str, v.dims)), values, v.attrs, fill)
    along = {str(name): v.values for name, v in dataset.variables.items() if UNLIMITED in v.dims}
    temporary = path.with_name(f"{path.name}.{socket.gethostname()}-{os.getpid()}.tmp")
    try:
        create_file(layout, temporary, "NETCDF3_64BIT_DATA")
        part = Part(temporary, layout, -(-temporary.stat().st_size // ALIGNED) * ALIGNED)
        try:
            for k in range(dataset.sizes[UNLIMITED]):
                part.append({name: values[k] for name, values in along.items()})
        finally:
            part.close()
        os.replace(temporary, path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise
