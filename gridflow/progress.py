"""Progress: a bar on a terminal or in a notebook, otherwise one line on stderr every ten seconds."""

import shutil
import sys
import time
from collections.abc import Callable
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
        layout = "{desc} {percentage:3.0f}%|{bar}| t={n:.4g}/{total:.4g} [{elapsed}<{remaining}]{postfix}"
        self.fresh = True
        self.bar = tqdm_bar(total=stop, desc=title, bar_format=layout)

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
        remaining = f" remaining={(self.stop - state.time) * (now - self.began) / done:.0f}s" if done > 0 else ""
        share = 100 * state.time / self.stop
        line = f"{self.title} {share:.0f}% t={state.time:.4g} {state_text(state, steps, mass_error)}{remaining}"
        print(line, file=sys.stderr, flush=True)


def in_notebook() -> bool:
    """Whether this process answers to a notebook: a kernel of Jupyter."""
    if "IPython" not in sys.modules:
        return False
    from IPython import get_ipython

    shell = get_ipython()
    return shell is not None and "IPKernelApp" in shell.config


def tqdm_bar(**options: Any) -> Any:
    """A tqdm bar, in a notebook one of its own."""
    if in_notebook():
        from tqdm.auto import tqdm as notebook_bar

        return notebook_bar(mininterval=0.2, **options)
    from tqdm import tqdm

    columns = shutil.get_terminal_size().columns  # 80 where there is no terminal
    return tqdm(file=sys.stderr, mininterval=0.2, ncols=columns, **options)


def has_bars() -> bool:
    """Whether a bar can be seen to move."""
    return sys.stderr.isatty() or in_notebook()


def progress_for(title: str, stop: float) -> Progress:
    """A bar on a terminal or in a notebook, else lines; `stop` is the last mean-field time."""
    return Bar(title, stop) if has_bars() else Lines(title, stop)


def shown(progress: Progress | bool | None, otherwise: Callable[[], Progress]) -> Progress:
    """A progress of one's own, or with True that which fits the place; nothing with False or None."""
    if isinstance(progress, Progress):
        return progress
    return otherwise() if progress else Progress()


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
        if has_bars():
            self.bar = tqdm_bar(total=runs, desc=self.title, unit="run")

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
