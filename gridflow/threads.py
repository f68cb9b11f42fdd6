"""How many threads gridflow uses: one policy for BLAS, face sweeps, sums over pairs and particle runs side by side, undone after.

Products of a few hundred rows, of which a run makes thousands, are slower on several BLAS threads than on one wherever another
process is busy: the threads wait for each other by spinning. Without a choice BLAS therefore has one thread, and a verdict makes
as many particle runs side by side as the machine has CPUs. (NumPy's BLAS is meant; one that SciPy loads later, for its linear
algebra, which few energies use, keeps its own number.)

Face sweeps and sums over pairs share their rows out among as many threads (`share_out`): parts are taken by whichever thread is
free, the calling one among them, so that a busy second core costs at most the time of one part.
"""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import lru_cache
from itertools import pairwise
from threading import Lock
from typing import Any

from gridflow.errors import InputError

VARIABLE = "GRIDFLOW_THREADS"
"""The environment variable that chooses where a call does not."""
PARTS = 4
"""Of shared work for each thread: a thread that another process holds up leaves its parts to the others."""
SIDE_BY_SIDE = "gridflow-particles"
"""Names of the threads in which particle runs are made begin so."""
THREADS_MAX = 4096
"""More is a slip of the keyboard: no machine has as many CPUs, and every thread takes memory."""


def thread_count(threads: int | None) -> int | None:
    """The number that a call, or else the environment, chooses; None without a choice. Raises InputError."""
    name, chosen = ("threads", threads) if threads is not None else (VARIABLE, os.environ.get(VARIABLE))
    if chosen is None:
        return None
    try:
        number = int(chosen) if not isinstance(chosen, bool | float) else 0
    except ValueError:
        number = 0
    if not 1 <= number <= THREADS_MAX:
        allowed = f"a whole number from 1 to {THREADS_MAX}"
        raise InputError(f"{name} = {chosen!r}", allowed, "use the number of CPUs, or leave it out")
    return number


class Limit:
    """The limit of this process. Calls under way side by side or within each other share it: the first one sets it."""

    def __init__(self) -> None:
        self.lock, self.users, self.number = Lock(), 0, 1
        self.pools: Any = None

    def enter(self, number: int) -> None:
        """One user more."""
        with self.lock:
            if self.users == 0:
                from threadpoolctl import threadpool_limits

                self.pools, self.number = threadpool_limits(number, user_api="blas"), number
            self.users += 1

    def leave(self) -> None:
        """One user less; the last one restores what was."""
        with self.lock:
            self.users -= 1
            if self.users == 0:
                self.number = 1
                self.pools.restore_original_limits()


LIMIT = Limit()


@contextmanager
def blas_threads(threads: int | None) -> Iterator[None]:
    """BLAS has so many threads, or as many as the environment chooses, or one; then as many as before. Raises InputError."""
    number = thread_count(threads) or 1
    LIMIT.enter(number)
    try:
        yield
    finally:
        LIMIT.leave()


def runs_side_by_side(threads: int | None) -> int:
    """Particle runs at a time. Raises InputError."""
    return thread_count(threads) or os.cpu_count() or 1


def threads_allowed() -> int:
    """Threads on which the work under way may share itself out."""
    return LIMIT.number


@lru_cache(maxsize=1)
def helper_threads(number: int) -> ThreadPoolExecutor:
    """So many threads beside the calling one; they wait without using a core."""
    return ThreadPoolExecutor(number, thread_name_prefix="gridflow")


def share_out(work: Callable[[int, int], None], count: int) -> None:
    """work(first, last) for ranges that make up range(count), on as many threads as the work under way may use."""
    number = threads_allowed()
    parts = min(count, PARTS * number) if number > 1 else 1
    if parts <= 1:
        return work(0, count)
    ranges = iter(list(pairwise(count * k // parts for k in range(parts + 1))))  # of a list: threads may take from it at once

    def take() -> None:
        for first, last in ranges:
            work(first, last)

    others = [helper_threads(number - 1).submit(take) for _ in range(min(number, parts) - 1)]
    try:
        take()
    finally:
        for other in others:
            if not other.cancel():
                other.result()
