"""`gridflow reproduce`: every figure and claim of the sources, measured again, with a page that shows them.

The reproductions stand in `validation/` of the repository, not in the installed package.
"""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from gridflow.errors import require
from gridflow.reports.page import report

ROOT = Path(__file__).parents[2]
"""Of the repository, where the package stands in one."""


def reproduce(names: Sequence[str], directory: Path, full: bool = False, jobs: int = 2) -> int:
    """Runs reproductions, by default all of them, small or at full size, into a new folder with the page claims.html.

    Returns the exit code of `python -m validation`: 0 where every verdict is as recorded. Raises InputError where gridflow is
    installed without them, or for a folder that has files.
    """
    fix = "git clone the repository, install it there with pip install -e ., and run this again"
    require(
        (ROOT / "validation" / "__main__.py").is_file(), "gridflow without its reproductions", "a clone of the repository", fix
    )
    empty = not directory.exists() or (directory.is_dir() and not any(directory.iterdir()))
    require(empty, f"the output {directory.name!r}, which has files", "a new folder", "choose another name")
    words = [sys.executable, "-m", "validation", *names, "-o", str(directory.resolve()), "--jobs", str(jobs)]
    code = subprocess.run([*words, *(["--full"] if full else [])], cwd=ROOT, check=False).returncode
    if any(directory.glob("*.json")):
        size = "full size" if full else "small"
        report(
            [], directory / "claims.html", title=f"What the sources claim, and what gridflow measures ({size})", claims=directory
        )
    return code
