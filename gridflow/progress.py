"""Progress on stderr: a bar on a terminal, otherwise one line every ten seconds."""

import shutil
import sys
import time
from typing import Any

from gridflow.scheme.base import State


class Progress:
    """What a run on the grid (`update`) or a job of many runs (`start`, `stage`, `advance`) shows of itself: here nothing."""

    def update(self, state: State, steps: int, mass_error: float) -> None:
        """A step is done."""

    def compiling(self, kept: bool) -> None:
        """Functions are being compiled, and kept for later runs or not."""

    def note(self, text: str) -> None:
        """A sentence on how the run begins."""

    def start(self, runs: int) -> None:
        """So many runs follow."""

    def stage(self, text: str) -> None:
        """What runs from now on."""

    def advance(self) -> None:
        """A run is done."""

    def close(self) -> None:
        """Nothing follows."""


def compiling_text(kept: bool) -> str:
    """Why the first step takes long."""
    if kept:
        return "compiling, some seconds, once: later runs find what they need"
    return "compiling, some seconds, in every run: no folder can be written to keep it; set NUMBA_CACHE_DIR to one that can"


def state_text(state: State, steps: int, mass_error: float) -> str:
    """Energy, mass error, next step and number of steps."""
    return f"E={state.free_energy:.6g} mass error={mass_error:.1e} dt={state.dt:.2e} steps={steps}"


class Bar(Progress):
    """A tqdm bar over mean-field time; tqdm estimates the remaining time."""

    def __init__(self, title: str, stop: float) -> None:
        from tqdm import tqdm

        layout = "{desc} {percentage:3.0f}%|{bar}| t={n:.4g}/{total:.4g} [{elapsed}<{remaining}]{postfix}"
        self.fresh = True
        columns = shutil.get_terminal_size().columns  # 80 where there is no terminal
        self.bar = tqdm(total=stop, desc=title, file=sys.stderr, bar_format=layout, mininterval=0.2, ncols=columns)

    def compiling(self, kept: bool) -> None:
        self.note(compiling_text(kept))

    def note(self, text: str) -> None:
        self.bar.write(f"{self.bar.desc}: {text}", file=sys.stderr)

    def update(self, state: State, steps: int, mass_error: float) -> None:
        if self.fresh and steps > 1:  # a resumed run: what was done before is no measure of the speed
            self.bar.n = self.bar.initial = state.time
        self.fresh = False
        self.bar.set_postfix_str(state_text(state, steps, mass_error), refresh=False)
        self.bar.update(state.time - self.bar.n)

    def close(self) -> None:
        self.bar.close()


class Lines(Progress):
    """Log lines for batch systems, with the remaining time if the rest goes like what was done."""

    interval = 10.0

    def __init__(self, title: str, stop: float) -> None:
        self.title, self.stop = title, stop
        self.first: float | None = None
        self.began = self.printed = time.monotonic()

    def compiling(self, kept: bool) -> None:
        self.note(compiling_text(kept))

    def note(self, text: str) -> None:
        print(f"{self.title}: {text}", file=sys.stderr, flush=True)

    def update(self, state: State, steps: int, mass_error: float) -> None:
        now = time.monotonic()
        if self.first is None:  # without the compilation before it, and what a resumed run did earlier
            self.first, self.began = state.time, now
        if now - self.printed < self.interval:
            return
        self.printed = now
        done = state.time - self.first
        remaining = (self.stop - state.time) * (now - self.began) / done if done > 0 else float("inf")
        share = 100 * state.time / self.stop
        print(
            f"{self.title} {share:.0f}% t={state.time:.4g} {state_text(state, steps, mass_error)} remaining={remaining:.0f}s",
            file=sys.stderr,
            flush=True,
        )


def progress_for(title: str, stop: float) -> Progress:
    """A bar on a terminal, else lines; `stop` is the last mean-field time."""
    return Bar(title, stop) if sys.stderr.isatty() else Lines(title, stop)


class RunTally(Progress):
    """Runs done out of all: a tqdm bar on a terminal, otherwise one line per kind of run."""

    def __init__(self, title: str) -> None:
        self.title, self.total, self.done = title, 0, 0
        self.bar: Any = None

    def compiling(self, kept: bool) -> None:
        self.note(compiling_text(kept))

    def note(self, text: str) -> None:
        if self.bar is None:
            print(f"{self.title}: {text}", file=sys.stderr, flush=True)
        else:
            self.bar.write(f"{self.title}: {text}", file=sys.stderr)

    def start(self, runs: int) -> None:
        self.total = runs
        if sys.stderr.isatty():
            from tqdm import tqdm

            self.bar = tqdm(total=runs, desc=self.title, file=sys.stderr, unit="run", mininterval=0.2)

    def stage(self, text: str) -> None:
        if self.bar is None:
            print(f"{self.title} {self.done}/{self.total} runs; now {text}", file=sys.stderr, flush=True)
        else:
            self.bar.set_postfix_str(text)

    def advance(self) -> None:
        self.done += 1
        if self.bar is not None:
            self.bar.update()

    def close(self) -> None:
        if self.bar is not None:
            self.bar.close()
