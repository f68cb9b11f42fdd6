"""Solves random valid cases, and lists the statuses, and what is wrong with the smallest case that shows it.

    python -m validation.faults.random_cases [--full] [--seed S] [--count N]

100 cases, with --full 1,000, in slices, each in a process of its own with the seeds S, S + 1, …: a crash of one ends no other.
Exit code 1 where something is wrong. Needs hypothesis (`pip install '.[test]'`).
"""

import argparse
import os
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from validation.faults.random_cases.slices import SLICE, Slice

QUICK, FULL = 100, 1000


def main(words: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m validation.faults.random_cases", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--full", action="store_true", help=f"{FULL} cases instead of {QUICK}")
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="of the first slice")
    parser.add_argument("--count", type=int, metavar="N", help="number of cases")
    options = parser.parse_args(words)
    count = options.count or (FULL if options.full else QUICK)
    statuses: Counter[str] = Counter()
    warnings: Counter[str] = Counter()
    wrong = 0
    for number in range(-(-count // SLICE)):
        seed, size = options.seed + number, min(SLICE, count - number * SLICE)
        with tempfile.TemporaryDirectory() as folder:
            command = [sys.executable, "-m", "validation.faults.random_cases.slices", str(seed), str(size), folder]
            ended = subprocess.run(command, check=False).returncode
            found = Slice.read(Path(folder), ended)
        statuses.update(found.statuses)
        warnings.update(found.warnings)
        wrong += len(found.violations)
        print(f"seed {seed}: {sum(found.statuses.values())} cases, {len(found.violations)} violations", flush=True)
        for violation, example in found.violations.items():
            print(f"\nVIOLATION {violation}\n{example}", flush=True)
    for title, counts in (("status", statuses), ("warning", warnings)):
        print(f"\ncases  {title}")
        for text, many in counts.most_common():
            print(f"{many:5d}  {text}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
