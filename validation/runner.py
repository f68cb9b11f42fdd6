"""Runs one reproduction, in a process of its own, and keeps what it found."""

import contextlib
import importlib
import json
import shutil
import time
import traceback
from pathlib import Path

from validation.table import CLAIMS, FIGURES


def run(name: str, directory: Path, quick: bool) -> dict:
    """The rows of one module and the CPU seconds that it took; a crash is a row with its traceback."""
    directory.mkdir(parents=True, exist_ok=True)
    log = directory / f"{name}.log"
    start, cpu = time.perf_counter(), time.process_time()
    result: dict = {"module": name, "mode": "quick" if quick else "full", "claims": [], "crash": None}
    with log.open("w") as stream, contextlib.redirect_stdout(stream), contextlib.redirect_stderr(stream):
        try:
            claims = importlib.import_module(f"validation.{name}").reproduce(directory, quick)
            result["claims"] = [c.record() for c in claims]
        except Exception:  # whatever a module dies of is a result that the table must show
            result["crash"] = traceback.format_exc()
            print(result["crash"])
    result["cpu_seconds"] = round(time.process_time() - cpu, 1)
    result["seconds"] = round(time.perf_counter() - start, 1)
    return result


def record(result: dict, directory: Path) -> None:
    """Keeps the rows and the pictures of one module."""
    kept = {key: result[key] for key in ("module", "mode", "cpu_seconds", "claims")}
    CLAIMS.mkdir(exist_ok=True)
    (CLAIMS / f"{result['module']}.json").write_text(json.dumps(kept, indent=1, ensure_ascii=False) + "\n")
    for picture in sorted({p for row in result["claims"] for p in row["pictures"]}):
        shutil.copyfile(directory / picture, FIGURES / picture)
