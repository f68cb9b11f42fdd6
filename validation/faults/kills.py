"""Runs and validations that are killed at random times, and resumed until they are done: what is lost, damaged, or refused.

    python -m validation.faults.kills [--full] [--seed S] [--kills N] [--of NAME]

`gridflow solve … --resume`, or `gridflow validate … --resume`, is sent SIGKILL at a random moment of its start, its compilation,
its steps or a write, one to four times, and then left to end. Every file that it completes is compared with that of a run that
nobody killed, bit for bit, but for the time that it took. A third of the kills come while a file is being written: as soon as a
name that ends in .tmp appears, or the number of records changes.
"""

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from validation.claim import Claim

RUNS = {
    "finite volumes": ["solve", "relu-regression", "--set", "time.stop=600.0", "--set", "time.save=301"],
    "implicit": ["solve", "gaussian-mixture-sampling", "--set", "time.save=401"],
    "JKO": ["solve", "bn-circle-jko", "--set", "time.stop=5.0", "--set", "time.save=51"],
    "entropic Wasserstein–Fisher–Rao": ["solve", "relu-total-variation", "--set", "time.save=201"],
    "a verdict": ["validate", "ornstein-uhlenbeck", "--quick", "--set", "particles.verdict.count=1024"],
    "a verdict on JKO": ["validate", "teacher-1d-quadratic-jko", "--quick", "--set", "particles.verdict.count=1024"],
}
COSTS = {"wall_seconds", "history", "grid_seconds", "particle_seconds", "worth_seconds", "time_ratio", "table"}
"""Attributes of what a run took, or with it."""
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


@dataclass(frozen=True)
class Job:
    """A command with an output in a folder of its own."""

    words: list[str]
    folder: Path

    @property
    def output(self) -> Path:
        """The file that it completes."""
        return self.folder / ("a.nc" if self.words[0] == "solve" else f"{self.words[1]}-validation.nc")

    def command(self, *more: str) -> list[str]:
        """What starts it."""
        where = ["-o", str(self.output), "--quiet"] if self.words[0] == "solve" else ["-o", str(self.folder)]
        return [sys.executable, "-m", "gridflow", *self.words, *where, "--threads", "1", *more]

    def started(self, log: Path) -> subprocess.Popen:
        """It, or the rest of it, in a process of its own."""
        with log.open("a") as stream:
            return subprocess.Popen(self.command("--resume"), stderr=stream, stdout=stream)

    def kept(self) -> Iterator[Path]:
        """What it goes on from: its checkpoint, its finished runs and those under way."""
        yield from self.folder.rglob("*.checkpoint")
        yield from self.folder.glob("*.kept/*.run")
        yield from self.folder.glob("*.kept/*.particles")

    def litter(self) -> list[str]:
        """What should not be left beside the output."""
        good = {self.output, self.output.with_suffix(".png")}
        return sorted(path.name for path in self.folder.rglob("*") if path not in good)


def written(path: Path) -> float:
    """When a file was changed last, or 0."""
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def kill(process: subprocess.Popen, job: Job, after: float, in_write: bool) -> str | None:
    """Kills a process after so many seconds, or at the first write then: the moment, or None where it had ended before."""
    part = job.output.with_name(job.output.name + ".part")
    began, before = time.monotonic(), None
    while process.poll() is None:
        if time.monotonic() - began >= after:
            now = written(part)
            before = now if before is None else before
            if not in_write or now != before or any(job.folder.rglob("*.tmp")):
                process.send_signal(signal.SIGKILL)
                process.wait()
                none = now == 0 and not any(job.kept())
                return "in a write" if in_write else "before a record" if none else "at any time"
        time.sleep(0.0005 if in_write else 0.01)
    return None


def same(one: Path, two: Path) -> bool:
    """Whether two results, or two verdicts, are the same but for the time that they took."""
    import xarray

    with xarray.open_dataset(one) as a, xarray.open_dataset(two) as b:
        attrs = [{k: str(v) for k, v in d.attrs.items() if k not in COSTS} for d in (a, b)]
        alike = attrs[0] == attrs[1] and set(a.variables) == set(b.variables)
        return alike and all(equal(a[n].to_numpy(), b[n].to_numpy()) for n in a.variables)


def equal(one: np.ndarray, two: np.ndarray) -> bool:
    """Whether two arrays are; NaN is NaN."""
    return np.array_equal(one, two, equal_nan=one.dtype.kind in "fc")


def one_run(job: Job, whole: Path, seconds: float, found: Found, chance: random.Random) -> float:
    """Kills a run some times and lets it end; seconds : that it takes undisturbed, which are returned, or fewer."""
    log, name = job.folder.with_suffix(".log"), f"{job.folder.name} ({' '.join(job.words)})"
    job.folder.mkdir()
    for turn in range(chance.randint(1, KILLS_MAX)):
        process, began = job.started(log), time.time()
        moment = kill(process, job, chance.uniform(0.0, seconds), chance.random() < 1 / 3)
        if moment is None:
            seconds = seconds if turn else min(seconds, time.time() - began)  # the machine had less to do
            break
        found.kills[moment] = found.kills.get(moment, 0) + 1
        found.lost.append(time.time() - max([began, *map(written, [*job.kept(), job.output])]))  # a complete one has all
    else:
        process = job.started(log)
        process.wait()
    if process.returncode not in (0, int(job.words[0] == "validate")) or not job.output.is_file():
        found.refused.append(f"{name}: exit code {process.returncode}: {log.read_text()[-300:]}")
        return seconds
    found.finished += 1
    try:
        if job.litter() or not same(job.output, whole):
            found.different.append(f"{name} {job.litter()}")
    except (OSError, ValueError) as error:
        found.unreadable.append(f"{name}: {error}")
    shutil.rmtree(job.folder)
    return seconds


def campaign(kills: int, seed: int, directory: Path, names: list[str]) -> Found:
    """So many kills, shared out among some of `RUNS`."""
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    chance, found, wholes = random.Random(seed), Found(), {}
    for name in names:
        for turn in range(2):  # the first one compiles
            job = Job(RUNS[name], directory / f"whole-{len(wholes)}-{turn}")
            job.folder.mkdir()
            began = time.monotonic()
            ended = subprocess.run(job.command(), stdout=subprocess.DEVNULL)
            assert ended.returncode == 0 or (ended.returncode == 1 and job.words[0] == "validate"), job
            seconds = time.monotonic() - began
        wholes[name] = job.output, seconds
        print(f"{name}: {seconds:.1f} s undisturbed", flush=True)
    while len(found.lost) < kills:
        name = chance.choice(names)
        job = Job(RUNS[name], directory / f"killed-{found.finished + len(found.refused)}")
        whole, seconds = wholes[name]
        wholes[name] = whole, one_run(job, whole, seconds, found, chance)
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
    return claims_of(campaign(QUICK if quick else FULL, SEED, directory, list(RUNS)))


def claims_of(found: Found) -> list[Claim]:
    report(found)
    wrong = len(found.refused) + len(found.unreadable) + len(found.different)
    return [
        Claim(
            "kills",
            "gridflow",
            "A run or a validation that is killed at any time and resumed ends with the same file, bit for bit.",
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
            "most seconds between the last checkpoint or finished run, or the start, and a kill",
            max(found.lost),
        ),
    ]


def main() -> int:
    """Kills and resumes; exit code 1 where something was lost."""
    parser = argparse.ArgumentParser(prog="python -m validation.faults.kills", description=__doc__.splitlines()[0])
    parser.add_argument("--full", action="store_true", help=f"{FULL} kills instead of {QUICK}")
    parser.add_argument("--seed", type=int, default=SEED, metavar="S")
    parser.add_argument("--kills", type=int, metavar="N", help="so many")
    parser.add_argument("--of", choices=RUNS, nargs="+", default=list(RUNS), help="some of the runs alone")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="gridflow-kills-") as name:
        kills = options.kills or (FULL if options.full else QUICK)
        print(f"seed {options.seed}")
        claims = claims_of(campaign(kills, options.seed, Path(name), options.of))
    return 0 if claims[0].value == 0 else 1


if __name__ == "__main__":
    sys.exit(main())
