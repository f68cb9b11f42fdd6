"""How many threads gridflow uses: one policy for BLAS and for particle runs side by side, undone when the work is done.

Products of a few hundred rows, of which a run makes thousands, are slower on several BLAS threads than on one wherever another
process is busy: the threads wait for each other by spinning. Without a choice BLAS therefore has one thread, and a verdict makes
as many particle runs side by side as the machine has CPUs. (NumPy's BLAS is meant; one that SciPy loads later, for its linear
algebra, which few energies use, keeps its own number.)
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock
from typing import Any

from gridflow.errors import InputError

VARIABLE = "GRIDFLOW_THREADS"
"""The environment variable that chooses where a call does not."""
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
        self.lock, self.users = Lock(), 0
        self.pools: Any = None

    def enter(self, number: int) -> None:
        """One user more."""
        with self.lock:
            if self.users == 0:
                from threadpoolctl import threadpool_limits

                self.pools = threadpool_limits(number, user_api="blas")
            self.users += 1

    def leave(self) -> None:
        """One user less; the last one restores what was."""
        with self.lock:
            self.users -= 1
            if self.users == 0:
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
