"""Signals that ask a process to stop: Ctrl-C (SIGINT), SIGTERM of batch systems, and SIGHUP of a terminal that closes.

The command line turns each into KeyboardInterrupt (`stopping`); what must be done as a whole holds them back (`Held`).
"""

import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

SIGNALS = [signal.SIGINT, signal.SIGTERM] + ([signal.SIGHUP] if sys.platform != "win32" else [])
SAME = 3.0
"""Seconds within which a further signal asks for the same: the first is being obeyed."""


class Stop:
    """A handler of signals: the first raises KeyboardInterrupt, others soon after say that it stops already."""

    def __init__(self) -> None:
        self.asked = -float("inf")

    def __call__(self, number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        again, self.asked = now - self.asked < SAME, now
        if not again:
            raise KeyboardInterrupt
        print("gridflow: already stopping", file=sys.stderr, flush=True)


class Held:
    """A handler that passes signals on to those before it; within `with held:` they wait until the end of the block.

    So that a signal does not come between two halves of what belongs together: a step and its count, a record and its number.
    """

    def __init__(self) -> None:
        self.depth = 0
        self.came: list[tuple[int, FrameType | None]] = []
        self.before: dict[int, Callable[[int, FrameType | None], Any]] = {}

    def __call__(self, number: int, frame: FrameType | None) -> None:
        if self.depth > 0:
            self.came.append((number, frame))
        else:
            self.before[number](number, frame)

    def __enter__(self) -> None:
        self.depth += 1

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        self.depth -= 1
        if self.came and self.depth == 0 and kind is None:
            number, frame = self.came[0]
            self.came.clear()  # one for all
            self.before[number](number, frame)


@contextmanager
def interruptions() -> Iterator[None]:
    """Within it, a KeyboardInterrupt that comes while Numba calls compiled code, and becomes a SystemError, is one again."""
    try:
        yield
    except SystemError as error:
        if not isinstance(error.__cause__, KeyboardInterrupt):
            raise
        raise KeyboardInterrupt from error


@contextmanager
def installed(handler: Callable[[int, FrameType | None], Any], chosen: list[signal.Signals]) -> Iterator[None]:
    """Within it, a handler of signals; in the main thread alone, which signals reach."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in chosen}
    try:
        for number in chosen:
            signal.signal(number, handler)
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)


@contextmanager
def stopping() -> Iterator[None]:
    """Within it, `Stop` handles the signals but those that are ignored, as nohup and shells in the background want it."""
    with installed(Stop(), [n for n in SIGNALS if signal.getsignal(n) not in (signal.SIG_IGN, None)]):
        yield


@contextmanager
def holding() -> Iterator[Held]:
    """Within it, signals that Python handles can be held back."""
    held = Held()
    for number in SIGNALS:
        handler = signal.getsignal(number)
        if callable(handler):
            held.before[number] = handler
    with installed(held, [number for number in SIGNALS if number in held.before]):
        yield held
