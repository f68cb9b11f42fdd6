"""Whether pykeops works on this machine: tried in a child process, so that a compiler or a driver that crashes takes no run down.

The answer is kept beside the compiled formulas, by machine, versions, compiler and driver; `gridflow doctor` asks anew. The child
is `python -m gridflow.sums.probe`: it prints one line of JSON.
"""

import json
import os
import platform
import shutil
import signal
import subprocess
import sys
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from gridflow.sums.keops import KeOpsUnavailable, Reduction, cuda_library, gpu_available, keops_folder, pykeops_version

SECONDS = 600.0
"""Until the child is given up: a compiler on a busy machine takes a minute."""
REASON_LENGTH = 400
"""Of what the child said last, so much is kept."""
AGREEMENT = 1e-12
CHILD = "gridflow.sums.probe"


@dataclass(frozen=True)
class Probe:
    """works : on `device`, "gpu" or "cpu"; reason : why not; kept : the answer was found in the cache folder."""

    works: bool
    device: str = ""
    reason: str = ""
    kept: bool = False


@lru_cache(maxsize=1)
def known_probe() -> Probe:
    """The answer for this machine, kept or found now."""
    table = read_answers()
    if machine() in table:
        return Probe(**{**table[machine()], "kept": True})
    return probe()


def probe() -> Probe:
    """Asks anew, in a child process; keeps the answer."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([package_root(), *filter(None, [os.environ.get("PYTHONPATH")])])}
    command = [sys.executable, "-m", CHILD]
    known_probe.cache_clear()
    try:
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=SECONDS)
    except (OSError, subprocess.TimeoutExpired) as error:
        return Probe(False, reason=shortened(str(error)))
    found = answer_of(done)
    keep_answer(found)
    return found


def package_root() -> str:
    """The folder that holds this package, for the child."""
    return str(Path(__file__).resolve().parents[2])


def answer_of(done: subprocess.CompletedProcess[str]) -> Probe:
    """What the child found, or how it ended."""
    lines = done.stdout.strip().splitlines()
    if done.returncode == 0 and lines:
        try:
            return Probe(**json.loads(lines[-1]))
        except (ValueError, TypeError):
            return Probe(False, reason=shortened(f"the probe answered {lines[-1]!r}"))
    if done.returncode < 0:
        return Probe(False, reason=f"the probe crashed with signal {signal.Signals(-done.returncode).name}")
    said = done.stderr.strip().splitlines()
    return Probe(False, reason=shortened(said[-1] if said else f"the probe ended with exit code {done.returncode}"))


def shortened(text: str) -> str:
    """One line, not too long."""
    line = " ".join(text.split())
    return line if len(line) <= REASON_LENGTH else line[: REASON_LENGTH - 1] + "…"


def machine() -> str:
    """What the answer depends on."""
    compiler = os.environ.get("CXX", "g++")
    where = shutil.which(compiler) or f"no {compiler}"
    driver = cuda_library() or "no CUDA driver"
    python = f"{sys.executable} {platform.python_version()}"
    return f"{platform.node()}, {python}, pykeops {pykeops_version()}, numpy {np.__version__}, {where}, {driver}"


def answers_file() -> Path:
    """Beside the folder of compiled formulas."""
    return keops_folder().parent / "keops-probe.json"


def read_answers() -> dict[str, dict]:
    """All answers that are kept; none where the file is torn or missing."""
    try:
        table = json.loads(answers_file().read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return table if isinstance(table, dict) else {}


def keep_answer(found: Probe) -> None:
    """Writes the answer; where nothing can be written it holds for this process."""
    table = {**read_answers(), machine(): {k: v for k, v in asdict(found).items() if k != "kept"}}
    part = answers_file().with_suffix(f".{os.getpid()}.part")
    try:
        part.write_text(json.dumps(table, indent=1), encoding="utf-8")
        os.replace(part, answers_file())
    except OSError:
        part.unlink(missing_ok=True)


def small_sum() -> Probe:
    """A sum over pairs by pykeops beside its definition, here in this process."""
    reduction = Reduction("w * Exp(-SqDist(x, y))", ["x = Vi(2)", "y = Vj(2)", "w = Vj(1)"], "Sum")
    x, y, w = np.linspace(0, 1, 10).reshape(5, 2), np.linspace(-1, 2, 14).reshape(7, 2), np.linspace(1, 2, 7)[:, None]
    expected = np.exp(-((x[:, None] - y) ** 2).sum(axis=2)) @ w
    try:
        found = reduction(x, y, w)
        device = "gpu" if gpu_available() else "cpu"
    except KeOpsUnavailable as error:
        return Probe(False, reason=shortened(str(error)))
    gap = float(np.abs(found - expected).max())
    return Probe(True, device) if gap <= AGREEMENT else Probe(False, device, f"a sum on the {device} is wrong by {gap:.1e}")


if __name__ == "__main__":
    print(json.dumps(asdict(small_sum())))
