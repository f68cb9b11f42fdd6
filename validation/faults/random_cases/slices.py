"""One slice of random cases in this process: draws them by a seed, counts their statuses, shrinks what is wrong.

python -m validation.faults.random_cases.slices SEED COUNT FOLDER
"""

import json
import signal
import sys
import warnings
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from hypothesis import HealthCheck, Phase, given, seed, settings

from validation.faults.random_cases.cases import Trial, trials
from validation.faults.random_cases.checks import Outcome, outcome_of

SLICE = 50
CURRENT, RESULT = "current.toml", "result.json"
SLOW = 60
"""Seconds of CPU after which a case is given up, and listed."""


@dataclass
class Slice:
    """statuses : cases by status; warnings : cases by warning; violations : the smallest case that shows each, as TOML"""

    statuses: Counter[str] = field(default_factory=Counter)
    warnings: Counter[str] = field(default_factory=Counter)
    violations: dict[str, str] = field(default_factory=dict)

    @staticmethod
    def read(folder: Path, ended: int) -> "Slice":
        """What a process has left; one that was ended by a signal has left the case that it was at."""
        result, current = folder / RESULT, folder / CURRENT
        if result.is_file():
            table = json.loads(result.read_text(encoding="utf-8"))
            return Slice(Counter(table["statuses"]), Counter(table["warnings"]), table["violations"])
        case = current.read_text(encoding="utf-8") if current.is_file() else "before the first case"
        return Slice(Counter({f"crash, exit code {ended}": 1}), Counter(), {f"crash, exit code {ended}": case})


class Violation(AssertionError):
    """What a case violates, while the smallest such case is looked for."""


class Slow(BaseException):
    """A case takes too long; no solver takes this for an error of its own."""


def give_up(number: int, frame: object) -> None:
    raise Slow


def drawn(count: int, number: int, phases: tuple[Phase, ...]):
    """Settings of a deterministic run that writes no file."""

    def decorate(test):
        checks, once = list(HealthCheck), {"report_multiple_bugs": False, "database": None, "deadline": None}
        chosen = settings(max_examples=count, phases=phases, suppress_health_check=checks, **once)
        return seed(number)(chosen(given(trials())(test)))

    return decorate


def run(number: int, count: int, folder: Path) -> Slice:
    """A slice of random cases."""
    found, known = Slice(), {}
    signal.signal(signal.SIGPROF, give_up)

    def outcome(trial: Trial):
        (folder / CURRENT).write_text(repr(trial), encoding="utf-8")
        signal.setitimer(signal.ITIMER_PROF, SLOW)
        try:
            with np.errstate(divide="raise", over="raise", invalid="raise"), warnings.catch_warnings():
                warnings.simplefilter("error")
                return outcome_of(trial)
        except Slow:
            return Outcome(f"more than {SLOW} s of CPU")
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)

    @drawn(count, number, (Phase.generate,))
    def census(trial: Trial) -> None:
        result = outcome(trial)
        found.statuses[result.status] += 1
        found.warnings.update(set(result.warnings))
        for violation in result.violations:
            known.setdefault(violation, repr(trial))

    census()
    for violation, example in known.items():
        found.violations[violation] = smallest(violation, outcome, number, count) or example
    (folder / RESULT).write_text(json.dumps(vars(found)), encoding="utf-8")
    return found


def smallest(violation: str, outcome, number: int, count: int) -> str:
    """The smallest case that hypothesis finds for a violation, as TOML."""
    last = ""

    @drawn(count, number, (Phase.generate, Phase.shrink))
    def shrinking(trial: Trial) -> None:
        nonlocal last
        if violation in outcome(trial).violations:
            last = repr(trial)
            raise Violation(violation)

    with suppress(Violation):
        shrinking()
    return last


if __name__ == "__main__":
    run(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
