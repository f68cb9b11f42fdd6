"""Runs that are killed at random times, and resumed until they are done: what is lost, what is damaged, what is refused.

    python -m validation.faults.kills [--full] [--seed S]

`gridflow solve … --resume` is sent SIGKILL at a random moment of its start, its compilation, its steps or a write, one to four
times, and then left to end. Every file that it completes is compared with that of a run that nobody killed, bit for bit, but for
the time that it took. A third of the kills come while a file is being written: as soon as a name that ends in .tmp appears, or
the number of records changes.
"""

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from validation.claim import Claim

RUNS = {
    "finite volumes": ["relu-regression", "--set", "time.stop=600.0", "--set", "time.save=301"],
    "implicit": ["gaussian-mixture-sampling", "--set", "time.save=401"],
    "JKO": ["bn-circle-jko", "--set", "time.stop=5.0", "--set", "time.save=51"],
    "entropic Wasserstein–Fisher–Rao": ["relu-total-variation", "--set", "time.save=201"],
}
KILLS_MAX = 4
"""In a row, before a run is left to end."""
QUICK, FULL = 60, 200
SEED = 20261126


@dataclass
class Found:
    """kills : by moment; lost : seconds of work for each; the rest are names of what went wrong."""

    kills: dict[str, int] = field(default_factory=dict)
    lost: list[float] = field(default_factory=list)
    finished: int = 0
    refused: list[str] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)
    different: list[str] = field(default_factory=list)


def started(words: list[str], output: Path, log: Path) -> subprocess.Popen:
    """`gridflow solve … --resume` in a process of its own."""
    command = [sys.executable, "-m", "gridflow.cli", "solve", *words, "-o", str(output), "--resume", "--quiet"]
    with log.open("a") as stream:
        return subprocess.Popen(command, stderr=stream, stdout=stream)


def written(path: Path) -> float:
    """When a file was changed last, or 0."""
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def kill(process: subprocess.Popen, output: Path, after: float, in_write: bool) -> str | None:
    """Kills a process after so many seconds, or at the first write then: the moment, or None where it had ended before."""
    names = [output.with_name(output.name + end) for end in (".tmp", ".checkpoint.tmp")]
    part = output.with_name(output.name + ".part")
    began, before = time.monotonic(), None
    while process.poll() is None:
        if time.monotonic() - began >= after:
            now = written(part)
            before = now if before is None else before
            if not in_write or now != before or any(name.exists() for name in names):
                process.send_signal(signal.SIGKILL)
                process.wait()
                return "in a write" if in_write else "before a record" if now == 0 else "at any time"
        time.sleep(0.0005 if in_write else 0.01)
    return None


def same(one: Path, two: Path) -> bool:
    """Whether two results are the same but for the time that they took."""
    import xarray

    with xarray.open_dataset(one) as a, xarray.open_dataset(two) as b:
        attrs = [{k: str(v) for k, v in d.attrs.items() if k not in ("wall_seconds", "history")} for d in (a, b)]
        alike = attrs[0] == attrs[1] and set(a.variables) == set(b.variables)
        return alike and all(np.array_equal(a[n].to_numpy(), b[n].to_numpy(), equal_nan=True) for n in a.variables)


def one_run(words: list[str], whole: Path, seconds: float, directory: Path, found: Found, chance: random.Random) -> None:
    """Kills a run some times and lets it end. seconds : that it takes undisturbed."""
    number = found.finished + len(found.refused)
    output, log = directory / f"killed-{number}.nc", directory / f"killed-{number}.log"
    for _ in range(chance.randint(1, KILLS_MAX)):
        process, began = started(words, output, log), time.time()
        moment = kill(process, output, chance.uniform(0.0, seconds), chance.random() < 1 / 3)
        if moment is None:
            break
        found.kills[moment] = found.kills.get(moment, 0) + 1
        kept = written(output.with_name(output.name + ".checkpoint"))
        found.lost.append(min(time.time() - kept, time.time() - began))
    else:
        process = started(words, output, log)
        process.wait()
    if process.returncode != 0 or not output.is_file():
        found.refused.append(f"{output.name}: exit code {process.returncode}: {log.read_text()[-300:]}")
        return
    found.finished += 1
    litter = sorted(p.name for p in directory.glob(output.name + ".*"))
    try:
        if litter or not same(output, whole):
            found.different.append(f"{output.name} ({' '.join(words)}) {litter}")
    except (OSError, ValueError) as error:
        found.unreadable.append(f"{output.name}: {error}")
    output.unlink()


def campaign(kills: int, seed: int, directory: Path) -> Found:
    """So many kills, shared out among `RUNS`."""
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    chance, found, wholes = random.Random(seed), Found(), {}
    for name, words in RUNS.items():
        whole = directory / f"whole-{len(wholes)}.nc"
        for _ in range(2):  # the first one compiles
            began = time.monotonic()
            whole.unlink(missing_ok=True)
            subprocess.run([sys.executable, "-m", "gridflow.cli", "solve", *words, "-o", str(whole), "--quiet"], check=True)
            wholes[name] = whole, time.monotonic() - began
        print(f"{name}: {wholes[name][1]:.1f} s undisturbed", flush=True)
    while len(found.lost) < kills:
        name = chance.choice(list(RUNS))
        one_run(RUNS[name], *wholes[name], directory, found, chance)
        wrong = len(found.refused) + len(found.unreadable) + len(found.different)
        print(f"{len(found.lost)} of {kills} kills, {found.finished} runs completed, {wrong} wrong", flush=True)
    return found


def report(found: Found) -> None:
    """Prints what was found."""
    moments = ", ".join(f"{count} {moment}" for moment, count in sorted(found.kills.items()))
    print(f"{len(found.lost)} kills ({moments}), {found.finished} runs completed")
    print(f"work lost by a kill: {np.mean(found.lost):.1f} s in the mean, {max(found.lost):.1f} s at most")
    for what in ("refused", "unreadable", "different"):
        print(f"{what}: {len(getattr(found, what))}")
        for line in getattr(found, what):
            print(f"    {line}")


def reproduce(directory: Path, quick: bool) -> list[Claim]:
    return claims_of(campaign(QUICK if quick else FULL, SEED, directory))


def claims_of(found: Found) -> list[Claim]:
    report(found)
    wrong = len(found.refused) + len(found.unreadable) + len(found.different)
    return [
        Claim(
            "kills",
            "gridflow",
            "A run that is killed at any time and resumed ends with the same file, bit for bit.",
            "completed runs, killed one to four times, that were refused, unreadable or different",
            wrong,
            (0, 0),
            "nothing may be lost",
            (1, np.inf),
        ),
        Claim(
            "kills-lost",
            "gridflow",
            "A kill loses seconds of work.",
            "most seconds between the last checkpoint, or the start, and a kill",
            max(found.lost),
        ),
    ]


def main() -> int:
    """Kills and resumes; exit code 1 where something was lost."""
    parser = argparse.ArgumentParser(prog="python -m validation.faults.kills", description=__doc__.splitlines()[0])
    parser.add_argument("--full", action="store_true", help=f"{FULL} kills instead of {QUICK}")
    parser.add_argument("--seed", type=int, default=SEED, metavar="S")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="gridflow-kills-") as name:
        claims = claims_of(campaign(FULL if options.full else QUICK, options.seed, Path(name)))
    return 0 if claims[0].value == 0 else 1


if __name__ == "__main__":
    sys.exit(main())
