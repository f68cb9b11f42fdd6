"""The command `gridflow`, which `python -m gridflow` is too: what signals ask while it is being imported is heard afterwards."""

import signal
import sys
from types import FrameType

from gridflow.interrupts import SIGNALS


def main() -> int:
    """Runs the command line of the process; returns the exit code."""
    came: list[int] = []

    def wait(number: int, frame: FrameType | None) -> None:
        came.append(number)

    for number in SIGNALS:
        if signal.getsignal(number) not in (signal.SIG_IGN, None):
            signal.signal(number, wait)
    from gridflow.cli import main as run

    return run(came=came)


if __name__ == "__main__":
    sys.exit(main())
