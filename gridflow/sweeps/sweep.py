"""`gridflow.sweep`: one case with many values of some keys, as independent tasks; a dataset with these keys as dimensions.

    DIR/members/NAME.nc   the result of every member, named by the content of its case
    DIR/sweep.nc          all of them as one dataset
    DIR/sweep.png         a record against a key

A member that is done is not run again; one that was interrupted goes on from its checkpoint, if it ran for long
enough to have one (`gridflow.sweeps.member`).
"""

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gridflow.case.case import Case
from gridflow.errors import InputError, require
from gridflow.files import check_new_file, open_contents
from gridflow.netcdf import write_dataset
from gridflow.output.kept import replaced_by
from gridflow.progress import Progress
from gridflow.sweeps.gather import gathered
from gridflow.sweeps.member import Outcome, Task, status_in
from gridflow.sweeps.plan import Plan, sweep_plan
from gridflow.sweeps.pools import Pool, dask_pool, local_pool, outcomes
from gridflow.verdict.plan import check_case

if TYPE_CHECKING:
    import xarray


def sweep(
    case: Case,
    over: Mapping[str, Sequence[Any]] | None = None,
    *,
    members: Sequence[Mapping[str, Any]] | None = None,
    output: str | Path | None = None,
    validate: bool = False,
    quick: bool = False,
    workers: int | None = None,
    scheduler: str | None = None,
    executor: Executor | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> "xarray.Dataset":
    """The results of a case for all combinations of values, as one dataset with the keys as dimensions.

    Parameters
    ----------
    case : from `gridflow.load_case`
    over : values by key, such as {"flow.temperature": [0.1, 0.2], "space.x.cells": [64, 128]}: 4 members
    members : instead, a list of changes of the same keys, one per member: the dimension is called `member`
    output : folder of the results, made if missing. Default: a temporary one, which is removed
    validate : judge every member against particles (`gridflow.validate`) instead of solving it; quick : of its options
    workers : processes of this machine, default one per CPU, or of a Dask cluster that is started here
    scheduler : the address of a Dask scheduler, such as "tcp://host:8786", or "local" to start one (extra `cluster`); its workers
        must see the folder of the output
    executor : instead of both, an executor of one's own. It is left open
    overwrite : replace DIR/sweep.nc of another sweep. Members are never replaced, but found by their content

    The dataset has `status` (of each member, or why it failed), `seconds` and `file`; every variable of the results that all
    members have alike with the keys as first dimensions, and the density at the last time where all grids are equal.

    >>> case = gridflow.load_case("ornstein-uhlenbeck").replace({"space.x.cells": 32, "time.stop": 0.1, "time.save": 2})
    >>> ds = gridflow.sweep(case, {"flow.temperature": [0.1, 0.2]}, workers=1)
    >>> ds["energy"].dims, ds["status"].values.tolist()
    (('flow_temperature', 'time'), ['completed', 'completed'])

    Raises InputError, before anything runs, for a key or a value that the case refuses, too many members, a scheduler that does
    not answer.
    """
    plan = sweep_plan(case, over, members, f"validate quick={quick}" if validate else "")
    one = executor is None or (workers is None and scheduler is None)
    require(one, "an executor beside workers or a scheduler", "one of them", "leave the others out")
    if validate:
        for member in plan.members:
            check_case(member.case)
    with folder_of(output) as folder, place_of(executor, scheduler, workers) as pool:
        target = folder / "sweep.nc"
        check_new_file(target, {".nc"}, overwrite or is_sweep_of(target, plan))
        found = run_members(plan, folder, validate, quick, pool, progress or Progress())
        dataset = gathered(plan, folder / "members", found)
        with replaced_by(target) as part:
            write_dataset(dataset, part)
    return dataset


def run_members(plan: Plan, folder: Path, validate: bool, quick: bool, pool: Pool, progress: Progress) -> dict[str, Outcome]:
    """The outcome of every member that was not done before, by its name."""
    store = folder / "members"
    store.mkdir(exist_ok=True)
    tasks = {m.name: Task(m.case, (store / f"{m.name}.nc").resolve(), validate, quick) for m in plan.members}
    todo = {name: task for name, task in tasks.items() if status_in(task.file) is None}
    found = {}
    progress.start(len(todo))
    progress.stage(f"{len(todo)} of {len(tasks)} members")
    try:
        for name, outcome in outcomes(todo, pool):
            found[name] = outcome
            progress.advance()
    finally:
        progress.close()
    for left in store.glob("*.tmp"):  # of workers that were killed
        if left.name.split(".")[0] in found:
            left.unlink(missing_ok=True)
    return found


def is_sweep_of(target: Path, plan: Plan) -> bool:
    """Whether a file is what an earlier sweep of the same case over the same keys wrote: it is brought up to date."""
    if not target.is_file():
        return False
    try:
        with open_contents(target, "sweep") as before:
            return before.attrs.get("swept_case") == plan.case.text() and before.attrs.get("swept") == ", ".join(plan.axes)
    except InputError:
        return False


@contextmanager
def folder_of(output: str | Path | None) -> Iterator[Path]:
    """The folder of the output, made if missing. Raises InputError where it cannot be made."""
    if output is None:
        with tempfile.TemporaryDirectory(prefix="gridflow-sweep-") as name:
            yield Path(name)
        return
    folder = Path(output)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        received = f"the folder {str(folder)!r} of the output cannot be made: {error.strerror}"
        raise InputError(received, "a writable place", "choose another one") from None
    yield folder


def place_of(executor: Executor | None, scheduler: str | None, workers: int | None) -> Any:
    """A context that gives the pool where members run."""
    if executor is not None:
        return nullcontext(Pool(lambda: Kept(executor)))
    return local_pool(workers) if scheduler is None else dask_pool(scheduler, workers)


class Kept(Executor):
    """Somebody else's executor, which is not shut down."""

    def __init__(self, executor: Executor) -> None:
        self.submit = executor.submit  # type: ignore[method-assign]

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Leaves it open."""


def draw_sweep(dataset: "xarray.Dataset", folder: Path, record: str | None = None, against: str | None = None) -> None:
    """Draws DIR/sweep.png (`gridflow.sweeps.picture`)."""
    from gridflow.sweeps.picture import sweep_figure

    with replaced_by(folder / "sweep.png") as part:
        sweep_figure(dataset, record, against).savefig(part, dpi=150, format="png")
