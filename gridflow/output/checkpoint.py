"""Checkpoints: what a run needs to go on, in one small file beside its result. Plain arrays and JSON, never pickles.

Written to a temporary file, synchronised, then renamed; the previous one is kept, so that one good checkpoint always exists.
"""

import json
import os
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gridflow.errors import InputError
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
    path = checkpoint_path(output)
    temporary = path.with_name(path.name + ".tmp")
    with open(temporary, "wb") as file:
        np.savez(file, allow_pickle=False, **checkpoint.arrays, numbers=np.array(json.dumps(checkpoint.numbers)))
        file.flush()
        os.fsync(file.fileno())
    if path.exists():
        os.replace(path, older_path(output))
    os.replace(temporary, path)


def read_checkpoint(output: Path) -> Checkpoint:
    """The newest readable checkpoint. Raises InputError if there is none."""
    for path in (checkpoint_path(output), older_path(output)):
        try:
            with open(path, "rb") as file, np.load(file, allow_pickle=False) as arrays:
                return Checkpoint({n: arrays[n] for n in arrays if n != "numbers"}, json.loads(str(arrays["numbers"])))
        except (OSError, ValueError, KeyError, zipfile.BadZipFile):
            continue
    received = f"no readable checkpoint beside {output.name!r}"
    raise InputError(received, "a run that was interrupted", "start it anew with --overwrite")


def remove_checkpoints(output: Path) -> None:
    """Removes both, where they exist."""
    for path in (checkpoint_path(output), older_path(output)):
        path.unlink(missing_ok=True)
