"""Where the members of a sweep run: processes of this machine, or a Dask cluster. Both are `concurrent.futures.Executor`.

A pool whose worker dies (killed, out of memory, a machine that is switched off) may be lost as a whole: it is made anew, and what
was not done is given to it again, some times at most.
"""

import multiprocessing
import signal
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor, CancelledError, Executor, Future, ProcessPoolExecutor, as_completed
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from gridflow.errors import InputError, require
from gridflow.sweeps.member import TURN, Outcome, Task, run_in_turn
from gridflow.threads import runs_side_by_side

TRIES = 2
"""A member whose worker dies so many times while nothing else runs is given up."""
WORKERS_MAX = 4096
ANSWER_SECONDS = 10
"""A scheduler that is silent for so long is taken for absent."""

AHEAD = 4
"""Members for each worker that are given out one by one, before it is known how long one takes."""
TOGETHER = 32
"""Members that go to a worker together, at most; so many that they take half a turn (`gridflow.sweeps.member`)."""


@dataclass(frozen=True)
class Pool:
    """make : an executor, again after it was lost; workers : of it, as far as known."""

    make: Callable[[], Executor]
    workers: int = 1


@contextmanager
def local_pool(workers: int | None) -> Iterator[Pool]:
    """Processes of this machine, by default one per CPU; an interruption ends them. Raises InputError."""
    number = runs_side_by_side(None) if workers is None else workers
    fix = "use the number of CPUs, or leave it out"
    require(1 <= number <= WORKERS_MAX, f"workers = {workers}", f"a whole number from 1 to {WORKERS_MAX}", fix)
    context, others = multiprocessing.get_context("spawn"), set(multiprocessing.active_children())
    try:
        yield Pool(lambda: ProcessPoolExecutor(number, mp_context=context, initializer=ignore_interrupts), number)
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
        number = workers or runs_side_by_side(None)
        cluster = LocalCluster(n_workers=number, threads_per_worker=1, dashboard_address=None)
        with cluster, Client(cluster) as client:
            yield Pool(client.get_executor, number)
        return
    try:
        client = Client(address, timeout=ANSWER_SECONDS)
    except (OSError, TimeoutError, ValueError) as error:
        why = str(error).splitlines()[0] if str(error) else type(error).__name__
        received = f"no Dask scheduler answers at {address!r} ({why})"
        fix = "start one with `dask scheduler` and workers with `dask worker ADDRESS`, and use the address that it prints"
        raise InputError(received, "the address of a scheduler, such as tcp://host:8786, or local", fix) from None
    with client:
        yield Pool(client.get_executor, sum(client.nthreads().values()))


def outcomes(tasks: dict[Any, Task], pool: Pool) -> Iterator[tuple[Any, Outcome]]:
    """(key, outcome) of every task, in the order in which they end.

    Where workers die again and again before anything is done, members run alone until one is found whose worker dies then too: it
    is an outcome.
    """
    waiting, idle = dict(tasks), 0
    while waiting:
        before = len(waiting)
        yield from one_round(waiting, pool)
        idle = 0 if len(waiting) < before else idle + 1
        if idle < TRIES:  # once may be chance
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
    """Runs what waits on one executor, and removes what is done: what was lost with its worker still waits.

    The first members go out one by one, the others together where these are short: each worker loads, or compiles, in its first.
    """
    executor, lost, waits = pool.make(), lost_workers(), True
    futures: dict[Future[list[Outcome]], list[Any]] = {}

    def submit(keys: list[Any], size: int) -> None:
        for start in range(0, len(keys), size):
            part = keys[start : start + size]
            futures[executor.submit(run_in_turn, [waiting[key] for key in part])] = part

    try:
        later, seconds = list(waiting)[AHEAD * pool.workers :], list[float]()
        submit(list(waiting)[: AHEAD * pool.workers], 1)
        while futures:
            for future in as_completed(list(futures)):
                keys, found = futures.pop(future), list[Outcome]()
                with suppress(*lost):
                    found = future.result()
                for key, outcome in zip(keys, found, strict=False):
                    del waiting[key]
                    yield key, outcome
                if found:
                    submit(keys[len(found) :], 1)
                seconds += [outcome.seconds for outcome in found]
                if later and (len(seconds) > pool.workers or not futures):
                    submit(later, together(min(seconds), len(later), pool.workers) if seconds else 1)
                    later = []
                    break  # to wait for these too
    except BrokenExecutor:  # broken while tasks are submitted
        return
    except KeyboardInterrupt:
        waits = False  # what runs is ended by whoever made the pool, and goes on from its checkpoint
        raise
    finally:
        for future in futures:
            future.cancel()
        executor.shutdown(wait=waits)


def together(seconds: float, members: int, workers: int) -> int:
    """How many members of so many seconds go to a worker together: each still gets some such lots."""
    return max(1, min(TOGETHER, int(0.5 * TURN / max(seconds, 1e-3)), members // (AHEAD * workers)))


def lost_workers() -> tuple[type[BaseException], ...]:
    """What a future raises whose worker died; Dask has an error of its own."""
    scheduler = sys.modules.get("distributed.scheduler")
    return (BrokenExecutor, CancelledError, *(() if scheduler is None else (scheduler.KilledWorker,)))
