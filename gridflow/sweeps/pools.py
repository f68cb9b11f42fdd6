"""Where the members of a sweep run: processes of this machine, or a Dask cluster. Both are `concurrent.futures.Executor`.

A pool whose worker dies (killed, out of memory, a machine that is switched off) may be lost as a whole: it is made anew, and what
was not done is given to it again, some times at most.
"""

import multiprocessing
import signal
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor, CancelledError, Executor, Future, ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from typing import Any

from gridflow.errors import InputError, require
from gridflow.sweeps.member import Outcome, Task, run_member
from gridflow.threads import runs_side_by_side

TRIES = 2
"""A member whose worker dies so many times while nothing else runs is given up."""
WORKERS_MAX = 4096
ANSWER_SECONDS = 10
"""A scheduler that is silent for so long is taken for absent."""

Pool = Callable[[], Executor]
"""Makes an executor, again after it was lost."""


@contextmanager
def local_pool(workers: int | None) -> Iterator[Pool]:
    """Processes of this machine, by default one per CPU; an interruption ends them. Raises InputError."""
    number = runs_side_by_side(None) if workers is None else workers
    fix = "use the number of CPUs, or leave it out"
    require(1 <= number <= WORKERS_MAX, f"workers = {workers}", f"a whole number from 1 to {WORKERS_MAX}", fix)
    context, others = multiprocessing.get_context("spawn"), set(multiprocessing.active_children())
    try:
        yield lambda: ProcessPoolExecutor(number, mp_context=context, initializer=ignore_interrupts)
    except KeyboardInterrupt:
        for worker in set(multiprocessing.active_children()) - others:
            worker.terminate()  # what it runs has a checkpoint
        raise


def ignore_interrupts() -> None:
    """Ctrl-C reaches all processes of a terminal: the one that waits for them decides."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


@contextmanager
def dask_pool(address: str, workers: int | None) -> Iterator[Pool]:
    """A Dask cluster by the address of its scheduler, or "local" for one that is started here. Raises InputError."""
    try:
        from distributed import Client, LocalCluster
    except ImportError:
        fix = "pip install 'gridflow[cluster]', or leave --scheduler out for processes of this machine"
        raise InputError(f"the scheduler {address!r}, but Dask is not installed", "the package distributed", fix) from None
    if address == "local":
        cluster = LocalCluster(n_workers=workers or runs_side_by_side(None), threads_per_worker=1, dashboard_address=None)
        with cluster, Client(cluster) as client:
            yield client.get_executor
        return
    try:
        client = Client(address, timeout=ANSWER_SECONDS)
    except (OSError, TimeoutError, ValueError) as error:
        why = str(error).splitlines()[0] if str(error) else type(error).__name__
        received = f"no Dask scheduler answers at {address!r} ({why})"
        fix = "start one with `dask scheduler` and workers with `dask worker ADDRESS`, and use the address that it prints"
        raise InputError(received, "the address of a scheduler, such as tcp://host:8786, or local", fix) from None
    with client:
        yield client.get_executor


def outcomes(tasks: dict[Any, Task], pool: Pool) -> Iterator[tuple[Any, Outcome]]:
    """(key, outcome) of every task, in the order in which they end.

    Where workers die before anything is done, members run alone until one is found whose worker dies then too: it is an outcome.
    """
    waiting = dict(tasks)
    while waiting:
        before = len(waiting)
        yield from one_round(waiting, pool)
        if len(waiting) < before:
            continue
        for key in list(waiting):
            alone = {key: waiting[key]}
            for _ in range(TRIES):
                yield from one_round(alone, pool)
                if not alone:
                    break
            del waiting[key]
            if alone:
                yield key, Outcome(f"failed: its worker died, {TRIES} times alone (killed, or out of memory)", False, 0.0)
                break


def one_round(waiting: dict[Any, Task], pool: Pool) -> Iterator[tuple[Any, Outcome]]:
    """Runs what waits on one executor, and removes what is done: what was lost with its worker still waits."""
    executor, lost, waits = pool(), lost_workers(), True
    futures: dict[Future[Outcome], Any] = {}
    try:
        for key, task in waiting.items():
            futures[executor.submit(run_member, task)] = key
        for future in as_completed(futures):
            try:
                outcome = future.result()
            except lost:
                continue
            del waiting[futures[future]]
            yield futures[future], outcome
    except BrokenExecutor:  # broken while tasks are submitted
        return
    except KeyboardInterrupt:
        waits = False  # what runs is ended by whoever made the pool, and goes on from its checkpoint
        raise
    finally:
        for future in futures:
            future.cancel()
        executor.shutdown(wait=waits)


def lost_workers() -> tuple[type[BaseException], ...]:
    """What a future raises whose worker died; Dask has an error of its own."""
    scheduler = sys.modules.get("distributed.scheduler")
    return (BrokenExecutor, CancelledError, *(() if scheduler is None else (scheduler.KilledWorker,)))
