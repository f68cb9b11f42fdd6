"""What a run on the grid needs to go on, made from its parts and put back into them; and how often it is written down."""

from dataclasses import fields, replace
from pathlib import Path

from gridflow.output.checkpoint import Checkpoint, Counters, Numbers, packed_state
from gridflow.output.kept import UnreadableError
from gridflow.output.layout import Layout
from gridflow.output.part import Part
from gridflow.output.remains import ANEW
from gridflow.paths import checkpoint_path, part_path
from gridflow.scheme.base import State, Stepper
from gridflow.scheme.watch import Watch
from gridflow.space.grid import Grid

CHECKPOINT_SECONDS, CHECKPOINT_SECONDS_MAX = 2.0, 1800.0
"""Between two checkpoints at least and at most: a lost machine costs that much work."""
CHECKPOINT_SHARE = 0.02
"""Of the time of a run that checkpoints may take, if the next is as fast as the last."""
FINAL_SHARE = 0.1
"""Of the records, that arrays of the last state may add to a file; without them a longer run is not the same to the last bit."""

STATE_NUMBERS = [f.name for f in fields(State) if f.type is float]


def checkpoint_interval(seconds: float) -> float:
    """Until the next checkpoint, after one that took so many seconds."""
    return min(max(CHECKPOINT_SECONDS, seconds / CHECKPOINT_SHARE), CHECKPOINT_SECONDS_MAX)


def checkpoint_of(case: str, state: State, counters: Counters, watch: Watch, part: Part) -> Checkpoint:
    """The checkpoint of a run; case : its text."""
    numbers = Numbers(
        case=case,
        state={name: float(getattr(state, name)) for name in STATE_NUMBERS},
        reports={name: float(value) for name, value in state.reports.items()},
        counters=counters,
        watch=watch.numbers(),
        part_begin=part.begin,
        part_digest=part.digest,
    )
    return Checkpoint({**state.arrays, "density": state.density}, numbers)


def final_state(checkpoint: Checkpoint, part: Part) -> bytes:
    """What the complete file keeps, to be extended."""
    return packed_state(checkpoint, FINAL_SHARE * part.records * part.kind.itemsize)


def part_of(path: Path, checkpoint: Checkpoint, layout: Layout, extends: Path | None) -> Part:
    """The part that belongs to a checkpoint; extends : see `gridflow.output.remains.Remains`.

    Raises UnreadableError for files that do not fit together.
    """
    numbers, shape = checkpoint.numbers, layout.variables["density"].values.shape[1:]
    if checkpoint.arrays["density"].shape != shape or set(numbers.state) != set(STATE_NUMBERS):
        raise UnreadableError(checkpoint_path(path), "damaged", "holds a state of another shape")
    count, digest = numbers.counters.saved, numbers.part_digest
    if extends is None:
        return Part.resumed(part_path(path), layout, numbers.part_begin, count, digest)
    return Part.rebuilt(part_path(path), layout, extends, count, digest)


def restored(checkpoint: Checkpoint, grid: Grid, stepper: Stepper, watch: Watch) -> State:
    """The state of a checkpoint, on a grid or a slab of it. Raises InputError for another energy."""
    numbers, arrays = checkpoint.numbers, {name: grid.scatter(array) for name, array in checkpoint.arrays.items()}
    density, saved = arrays.pop("density"), numbers.state
    state = stepper.start(density, saved["time"], saved["dt"])
    watch.resume(numbers.watch, state, saved["free_energy"], ANEW)
    return replace(state, arrays=arrays, reports=numbers.reports, **saved)  # type: ignore[arg-type]
