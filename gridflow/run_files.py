"""The files of a run: where its records go, and what it needs to go on from there.

A part has the records, one checkpoint or two the state (`gridflow.output.part`, `gridflow.output.checkpoint`). On slabs of a grid
one process writes, and others give it their cells.
"""

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from gridflow.case.case import Case
from gridflow.output.checkpoint import Checkpoint, Counters, remove_checkpoints, write_checkpoint
from gridflow.output.dataset import Ending, FileWriter, MemoryWriter, NoWriter
from gridflow.output.layout import Layout
from gridflow.restart import checkpoint_interval, checkpoint_of, final_state, part_of
from gridflow.scheme.base import State
from gridflow.scheme.watch import Watch
from gridflow.space.grid import Grid


class RunFiles:
    """What a run writes. path : of its output, or None; late : the file is begun with the first checkpoint"""

    case: Case
    path: Path | None
    grid: Grid
    watch: Watch
    state: State
    counters: Counters
    writer: MemoryWriter | FileWriter | NoWriter
    late: bool
    began: float
    checkpoint_due: float

    def open(self, layout: Layout) -> None:
        """The writer of a run from the start."""
        if self.path is not None:
            remove_checkpoints(self.path)  # of an earlier run under this name
        self.writer = MemoryWriter(layout) if self.path is None or self.late else FileWriter(self.path, layout)

    def reopen(self, path: Path, checkpoint: Checkpoint, layout: Layout, extends: Path | None) -> None:
        """The writer of a run that goes on from a checkpoint. Raises UnreadableError where its records are not there."""
        self.writer = FileWriter(path, layout, part_of(path, checkpoint, layout, extends))

    @property
    def in_memory(self) -> bool:
        """Whether there is no file, or not yet."""
        return self.path is None or (self.late and not isinstance(self.writer, FileWriter))

    def finished(self, attrs: dict[str, Any], status: str, final: Checkpoint | None) -> Ending:
        """What `ending` returns, in the process that writes."""
        writer = self.writer
        if not isinstance(writer, FileWriter) or final is None:
            return writer.finish(attrs)
        if status == "interrupted":
            return replace(writer.suspend(attrs), reached=self.state.time)
        try:
            result = writer.finish(attrs, final_state(final, writer.part))
        except OSError:
            write_checkpoint(writer.path, final)  # no step need be done again
            raise
        remove_checkpoints(writer.path)
        return result

    def checkpoint(self) -> Checkpoint | None:
        """What is needed to go on from here, on any number of ranks; None in processes that do not write."""
        counters = replace(self.counters, wall_seconds=time.monotonic() - self.began)
        arrays = {name: self.grid.gather(array) for name, array in self.state.arrays.items()}
        density = self.grid.gather(self.state.density)
        if not isinstance(self.writer, FileWriter):
            return None
        whole = replace(self.state, density=density, arrays=arrays)
        return checkpoint_of(self.case.text(), whole, counters, self.watch, self.writer.part)

    def save_checkpoint(self) -> None:
        """Records of the part come first, so that a checkpoint never counts a lost one. Nothing for a run in memory."""
        if self.path is None:
            return
        if self.late and isinstance(self.writer, MemoryWriter):
            self.writer = self.writer.in_file(self.path)
        began, checkpoint = time.monotonic(), self.checkpoint()
        if checkpoint is not None and isinstance(self.writer, FileWriter):
            self.writer.part.synchronise()
            write_checkpoint(self.writer.path, checkpoint)
        now = time.monotonic()
        self.checkpoint_due = now + checkpoint_interval(now - began)
