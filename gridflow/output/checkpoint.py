"""Checkpoints: what a run needs to go on, in one small file beside its result (`gridflow.output.kept`).

The previous one is kept, so that one good checkpoint always exists.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gridflow.errors import InputError
from gridflow.output.kept import UnreadableError, read_kept, write_kept
from gridflow.space.factor import Array


@dataclass(frozen=True)
class Checkpoint:
    """State of a run: `arrays` by name, and `numbers` that JSON can hold."""

    arrays: dict[str, Array]
    numbers: dict[str, Any]


def checkpoint_path(output: Path) -> Path:
    """The file of the newest checkpoint of a result."""
    return output.with_name(output.name + ".checkpoint")


def older_path(output: Path) -> Path:
    """The file of the checkpoint before."""
    return output.with_name(output.name + ".checkpoint.old")


def write_checkpoint(output: Path, checkpoint: Checkpoint) -> None:
    """Writes the checkpoint of the result `output`; the one before becomes the older one."""
    write_kept(checkpoint_path(output), checkpoint.arrays, checkpoint.numbers, older_path(output))


def read_checkpoint(output: Path) -> Checkpoint:
    """The newest readable checkpoint. Raises InputError if there is none."""
    for path in (checkpoint_path(output), older_path(output)):
        try:
            return Checkpoint(*read_kept(path))
        except UnreadableError:
            continue
    received = f"no readable checkpoint beside {output.name!r}"
    raise InputError(received, "a run that was interrupted", "start it anew with --overwrite")


def remove_checkpoints(output: Path) -> None:
    """Removes both, where they exist."""
    for path in (checkpoint_path(output), older_path(output)):
        path.unlink(missing_ok=True)
