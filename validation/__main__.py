"""Runs the reproductions and compares what they find with what is recorded.

    python -m validation [NAME ...] [--full] [-o DIR] [--record] [--jobs N]

Without names it runs all of them, small ("quick"); --full runs them at full size. Claims (NAME.json) and pictures go to DIR
(default: a new temporary directory), what a module prints to DIR/NAME.log. --record keeps verdicts and pictures in
validation/claims and validation/figures, and writes validation/README.md and the six figures of README.md. Exit code 0: every
module ran, and no verdict differs from the recorded one; 1: something differs, is missing or crashed; 2: the input is wrong.
"""

import argparse
import json
import multiprocessing
import os
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

from validation.beside import README, with_six_figures
from validation.runner import record, run
from validation.table import HERE, difference, module_names, readme, recorded, row_text


def main(words: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m validation", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--full", action="store_true", help="full size: minutes to hours")
    parser.add_argument("-o", "--output", type=Path, metavar="DIR")
    parser.add_argument("--record", action="store_true", help="keep verdicts and pictures in validation/")
    parser.add_argument("--jobs", type=int, default=2, metavar="N", help="modules at a time (default 2)")
    options = parser.parse_args(words)
    known = module_names()
    unknown = [n for n in options.names if n not in known]
    if unknown:
        parser.error(f"received {', '.join(unknown)}; there are {', '.join(known)}")
    if options.jobs < 1:
        parser.error(f"received --jobs {options.jobs}; give a positive number")
    directory = options.output or Path(tempfile.mkdtemp(prefix="gridflow-validation-"))
    directory.mkdir(parents=True, exist_ok=True)
    if any(directory.iterdir()):
        parser.error(f"received -o {directory}, which has files; give a new or an empty directory: nothing there is overwritten")
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # of the workers: modules run side by side, and BLAS threads would spin
    before, failures, cpu = recorded(), [], 0.0
    with ProcessPoolExecutor(options.jobs, multiprocessing.get_context("spawn"), max_tasks_per_child=1) as pool:
        futures = [pool.submit(run, name, directory, not options.full) for name in options.names or known]
        for future in as_completed(futures):
            try:
                result = future.result()
            except BrokenProcessPool as error:
                failures.append(f"a module ended its process ({error}); run them one by one to see which")
                break
            name = result["module"]
            cpu += result["cpu_seconds"]
            print(f"{name} ({result['mode']}, {result['cpu_seconds']:g} s of CPU)", flush=True)
            if result["crash"]:
                print(result["crash"])
                failures.append(f"{name} crashed")
                continue
            (directory / f"{name}.json").write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
            for row in result["claims"]:
                print("  " + row_text(row))
            missing = [p for row in result["claims"] for p in row["pictures"] if not (directory / p).is_file()]
            if missing:
                failures.append(f"{name} did not write {', '.join(sorted(set(missing)))}")
            elif options.record:
                record(result, directory)
            else:
                failures += difference(name, before.get(name), result)
    if options.record:
        (HERE / "README.md").write_text(readme(), encoding="utf-8")
        README.write_text(with_six_figures(README.read_text(encoding="utf-8")), encoding="utf-8")
    print(f"pictures and logs in {directory}; {cpu:.0f} s of CPU")
    for failure in failures:
        print(f"FAILED: {failure}")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
