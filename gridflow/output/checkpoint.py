"""Checkpoints: what a run needs to go on, in one small file beside its result (`gridflow.output.kept`).

The previous one is kept, so that one good checkpoint always exists.
"""

from dataclasses import asdict, dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from gridflow.netcdf import read_file
from gridflow.output.kept import UnreadableError, packed, read_kept, temporary_path, unpacked, write_kept
from gridflow.output.part import GROUP, STATE
from gridflow.paths import checkpoint_path, older_path
from gridflow.space.factor import Array
from gridflow.space.walls import Bounds


@dataclass
class Counters:
    """What the time loop carries beside the state of the scheme.

    last_step : length of the last step; mass : at the start; mass_error : the largest relative one; at_walls : largest share of
    the mass at the walls of each interval; reached : bounds that the mass takes in, or would without walls; spread_until : the
    last save at which no cell had most of the mass
    """

    steps: int = 0
    saved: int = 0
    last_step: float = 0.0
    mass: float = 1.0
    mass_error: float = 0.0
    wall_seconds: float = 0.0
    at_walls: dict[str, float] = field(default_factory=dict)
    reached: Bounds = field(default_factory=dict)
    spread_until: float = 0.0


class Numbers(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Numbers of a checkpoint.

    case : its text; state, reports : numbers of `gridflow.scheme.base.State`; watch : of `gridflow.scheme.watch`; part_begin,
    part_digest : where the records of the part begin, and the checksum of those that are counted
    """

    case: str
    state: dict[str, float]
    reports: dict[str, float]
    counters: Counters
    watch: dict[str, Any]
    part_begin: int
    part_digest: int


@dataclass(frozen=True)
class Checkpoint:
    """State of a run: `arrays` by name, the density among them, and `numbers`."""

    arrays: dict[str, Array]
    numbers: Numbers


def write_checkpoint(output: Path, checkpoint: Checkpoint) -> None:
    """Writes the checkpoint of the result `output`; the one before becomes the older one."""
    write_kept(checkpoint_path(output), checkpoint.arrays, table_of(checkpoint.numbers), older_path(output))


def read_checkpoint(path: Path) -> Checkpoint:
    """The checkpoint in a file. Raises UnreadableError where it lacks something."""
    return checked(path, *read_kept(path))


def checked(path: Path, arrays: dict[str, Array], numbers: dict[str, Any]) -> Checkpoint:
    """The checkpoint of what a kept file holds. Raises UnreadableError where it lacks something."""
    try:
        found = msgspec.convert(numbers, Numbers)
    except msgspec.ValidationError as error:
        raise UnreadableError(path, "damaged", f"is no checkpoint: {error}") from None
    if "density" not in arrays:
        raise UnreadableError(path, "damaged", "is no checkpoint: it holds no density")
    return Checkpoint(arrays, found)


def table_of(numbers: Numbers) -> dict[str, Any]:
    """Numbers as JSON holds them."""
    return {name: getattr(numbers, name) for name in Numbers.__struct_fields__} | {"counters": asdict(numbers.counters)}


def packed_state(checkpoint: Checkpoint, room: float) -> bytes:
    """A checkpoint without its density, which is the last record of its file; arrays only where they take so many bytes."""
    arrays = {name: array for name, array in checkpoint.arrays.items() if name != "density"}
    kept = arrays if sum(array.nbytes for array in arrays.values()) <= room else {}
    return b"".join(packed(kept, table_of(checkpoint.numbers)))


def read_final_state(path: Path) -> Checkpoint:
    """The state after the last record of a complete file. Raises UnreadableError where it has none."""
    try:
        with read_file(path) as file:
            file.set_auto_mask(False)
            content, density = file[f"{GROUP}/{STATE}"][:].tobytes(), file.variables["density"][-1]
    except (OSError, RuntimeError, IndexError, KeyError):
        raise UnreadableError(path, "missing", "holds no state to go on from") from None
    arrays, numbers = unpacked(path, BytesIO(content), len(content))
    return checked(path, {**arrays, "density": density}, numbers)


def remove_checkpoints(output: Path) -> None:
    """Removes both, where they exist, and one that was not complete when its process was killed."""
    for path in (checkpoint_path(output), older_path(output), temporary_path(checkpoint_path(output))):
        path.unlink(missing_ok=True)
