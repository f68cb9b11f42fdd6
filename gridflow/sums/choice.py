"""Which engine computes sums over pairs: what a case or the environment chooses, and what was really used.

    numpy   the definition, block by block
    numba   compiled, on as many threads as the work under way may use (`gridflow.threads`)
    keops   pykeops, on a GPU where there is one (`gridflow.sums.keops`)

"auto" is keops for many pairs where it finds a GPU, else numba. A choice holds within `reductions`, in the thread that enters it
and in those that it hands it to; without one it is that of the environment variable, or "auto".
"""

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache
from typing import Any, Literal, get_args

from msgspec import Struct

from gridflow.errors import InputError, require
from gridflow.log import LOG
from gridflow.sums.keops import KeOpsUnavailable, cuda_library
from gridflow.sums.probe import known_probe
from gridflow.threads import threads_allowed

Engine = Literal["numpy", "numba", "keops"]
Precision = Literal["float64", "float32"]
VARIABLE = "GRIDFLOW_REDUCTIONS"
"""The environment variable that chooses the engine where a case says "auto"."""
GPU_PAIRS = 10_000_000
"""Fewer pairs than this take numba some 10 ms: a thousand such sums save no more than it takes to compile one formula."""
REPAIR = "run `gridflow doctor`, or choose engine = 'auto'"


class Reductions(Struct, frozen=True, forbid_unknown_fields=True):
    """What computes sums over pairs.

    engine : its name; precision : float32 is for keops alone, where "auto" finds it; the others have float64
    """

    engine: Literal["auto", "numpy", "numba", "keops"] = "auto"
    precision: Precision = "float64"

    def __post_init__(self) -> None:
        if self.precision == "float32" and self.engine in ("numpy", "numba"):
            raise ValueError(f'engine = "{self.engine}" computes in float64; for float32 write engine = "keops" or "auto"')


class Use:
    """The choice of a run, and what its sums used: "numba float64 2 threads". outer : of the run that this one is part of."""

    def __init__(self, chosen: Reductions, outer: "Use | None" = None) -> None:
        self.chosen, self.outer = chosen, outer
        self.used: set[str] = set()

    def record(self, words: str) -> None:
        """Sums were computed so."""
        self.used.add(words)
        if self.outer is not None:
            self.outer.record(words)

    @property
    def text(self) -> str:
        """What was used; empty where no sums were computed."""
        return "; ".join(sorted(self.used))

    @property
    def attributes(self) -> dict[str, str]:
        """For a dataset."""
        return {"reductions": self.text} if self.used else {}


CURRENT: ContextVar[Use] = ContextVar("reductions", default=Use(Reductions()))  # noqa: B039 (what all threads may share)


@contextmanager
def reductions(chosen: Reductions) -> Iterator[Use]:
    """The choice holds within it, and what was used is found in the `Use`."""
    token = CURRENT.set(Use(chosen, CURRENT.get()))
    try:
        yield CURRENT.get()
    finally:
        CURRENT.reset(token)


def handed_on() -> dict[str, Any]:
    """Options of a ThreadPoolExecutor whose threads have the choice of this one."""
    return {"initializer": CURRENT.set, "initargs": (CURRENT.get(),)}


def record(words: str) -> None:
    """Sums of the work under way were computed so."""
    CURRENT.get().record(words)


def chosen_engine() -> Literal["auto"] | Engine:
    """What the case, or else the environment, says. Raises InputError for an unknown word."""
    chosen = CURRENT.get().chosen.engine
    if chosen != "auto":
        return chosen
    word, allowed = os.environ.get(VARIABLE, "auto"), ("auto", *get_args(Engine))
    require(word in allowed, f"{VARIABLE} = {word!r}", " or ".join(allowed), "change or unset the environment variable")
    return word  # type: ignore[return-value]


def engine(pairs: int) -> Engine:
    """The engine for so many pairs. Raises InputError for one that the machine lacks and that was insisted on."""
    chosen = chosen_engine()
    if chosen == "numpy" or chosen == "numba":
        return chosen
    if chosen == "auto" and (pairs < GPU_PAIRS or cuda_library() is None):
        return "numba"
    found = known_probe()
    if chosen == "keops":
        if not found.works:
            raise unavailable(found.reason)
        return "keops"
    if not found.works:
        warn_once(found.reason)
    return "keops" if found.works and found.device == "gpu" else "numba"


def insisted() -> bool:
    """Whether an engine was chosen by its name, so that none may take its place."""
    return chosen_engine() != "auto"


def precision() -> Precision:
    """Of sums by keops."""
    return CURRENT.get().chosen.precision


def unavailable(reason: str) -> InputError:
    """What is said where keops was insisted on."""
    return InputError(f"reductions.engine = 'keops', and pykeops does not work here ({reason})", "an engine that works", REPAIR)


def fall_back(error: KeOpsUnavailable) -> None:
    """numba takes the place of keops, and a line says so. Raises InputError where keops was insisted on."""
    if insisted():
        raise unavailable(str(error)) from error
    warn_once(str(error))


@lru_cache
def warn_once(reason: str) -> None:
    """One line that says that sums are computed on the CPU."""
    LOG.warning("pykeops does not work here (%s); sums are computed on the CPU instead", reason)
    warnings.warn(f"pykeops does not work here ({reason}); sums are computed on the CPU instead", RuntimeWarning, stacklevel=3)


def threads_text() -> str:
    """For the record of what was used."""
    number = threads_allowed()
    return f"{number} thread{'s' if number > 1 else ''}"
