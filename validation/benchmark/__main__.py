"""Speeds of gridflow beside those of other programs, as a table, as JSON and as a picture.

    python -m validation.benchmark [--quick] [--only NAME ...] [-o DIR] [--record]

Writes benchmark.json and benchmark.png to DIR (default: a new temporary directory) and prints the table; a program that is not
installed has no number (`pip install '.[bench]'` installs all). --record keeps the results beside this script, in place of
those of the same lines, and the picture in validation/figures. Run it on a quiet machine: half an hour; --quick, on small grids,
some minutes.
"""

import argparse
import json
import os
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # what is measured is one thread, where nothing else is said

from validation.benchmark.exact import PROBLEMS
from validation.benchmark.lines import LINES, timed
from validation.benchmark.measure import Point, Row, machine
from validation.benchmark.picture import draw

HERE = Path(__file__).parent
RECORD, FIGURE = HERE / "benchmark.json", HERE.parent / "figures" / "benchmark.png"


def main(words: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m validation.benchmark", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="small grids, few repeats")
    parser.add_argument("--only", nargs="+", metavar="NAME", help=f"of {', '.join([*PROBLEMS, *LINES])}")
    parser.add_argument("-o", "--output", type=Path, metavar="DIR")
    parser.add_argument("--record", action="store_true", help="keep the results in validation/")
    options = parser.parse_args(words)
    chosen = options.only or [*PROBLEMS, *LINES]
    unknown = [name for name in chosen if name not in PROBLEMS and name not in LINES]
    if unknown:
        parser.error(f"received {', '.join(unknown)}; there are {', '.join([*PROBLEMS, *LINES])}")
    directory = options.output or Path(tempfile.mkdtemp(prefix="gridflow-benchmark-"))
    directory.mkdir(parents=True, exist_ok=True)
    points = [point for name in chosen if name in PROBLEMS for point in PROBLEMS[name](options.quick)]
    rows = {name: timed(name, options.quick) for name in chosen if name in LINES}
    write(directory, points, rows, options.quick)
    print(table(points, rows))
    if options.record:
        keep(json.loads((directory / "benchmark.json").read_text(encoding="utf-8")))
    print(f"in {directory}")
    return 0


def write(directory: Path, points: list[Point], rows: dict[str, list[Row]], quick: bool) -> None:
    """benchmark.json, and benchmark.png where an exact problem was solved."""
    result = {
        "machine": machine(),
        "mode": "quick" if quick else "full",
        "points": [rounded(asdict(p)) for p in points],
        "rows": {name: [rounded(asdict(r)) for r in part] for name, part in rows.items()},
    }
    write_json(result, directory / "benchmark.json")
    if points:
        draw(points, directory / "benchmark.png")


def write_json(result: dict, path: Path) -> None:
    path.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def rounded(value):
    """Three digits: more would be noise."""
    if isinstance(value, dict):
        return {k: rounded(v) for k, v in value.items()}
    return float(f"{value:.3g}") if isinstance(value, float) else value


def table(points: list[Point], rows: dict[str, list[Row]]) -> str:
    """All numbers, one a line."""
    lines = [f"{p.problem}, {p.method}, {p.size}: {p.seconds:.3g} s, error {p.error:.2e}" for p in points]
    for row in (row for part in rows.values() for row in part):
        others = "; ".join(f"{k} {v if isinstance(v, str) else f'{v:.3g}'}" for k, v in row.peers.items())
        lines.append(f"{row.quantity}: {row.ours:.3g} {row.unit}" + (f" ({others})" if others else ""))
    return "\n".join(lines)


def keep(new: dict) -> None:
    """Replaces what was measured again in the record, and draws its picture, which the README shows."""
    record = json.loads(RECORD.read_text(encoding="utf-8")) if RECORD.is_file() else {"points": [], "rows": {}}
    again = {p["problem"] for p in new["points"]}
    points = [p for p in record["points"] if p["problem"] not in again] + new["points"]
    write_json({**new, "points": points, "rows": record["rows"] | new["rows"]}, RECORD)
    if points:
        draw([Point(**p) for p in points], FIGURE)


if __name__ == "__main__":
    sys.exit(main())
