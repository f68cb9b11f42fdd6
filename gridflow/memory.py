"""What fits into the memory of this machine: sizes are compared with it before anything of that size is made.

The limit is the memory of the machine, or what a container (control groups) or a shell (ulimit -v) leaves of it. Within
`unlimited`, which holds for all threads, nothing is compared: what does not fit then ends in a MemoryError, or is swapped.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gridflow.errors import require

GROUPS, OWN_GROUP = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")
FORCED = "; --force (in Python: with gridflow.memory.unlimited()) tries it all the same"


class Comparison:
    """Whether sizes are compared."""

    lifted = False


@contextmanager
def unlimited(lifts: bool = True) -> Iterator[None]:
    """Within it sizes are not compared with the memory, if `lifts`."""
    before = Comparison.lifted
    Comparison.lifted = before or lifts
    try:
        yield
    finally:
        Comparison.lifted = before


def memory_limit() -> int:
    """Bytes that this process may use; 2^62 where the system does not say."""
    found = [2**62, *limits_of_groups()]
    if os.name == "posix":
        import resource

        found.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
        limit = resource.getrlimit(resource.RLIMIT_AS)[0]
        found += [limit] if limit != resource.RLIM_INFINITY else []
    return min(n for n in found if n > 0)


def limits_of_groups() -> list[int]:
    """Limits of the control groups (version 2) that this process is in; none where there are no such files."""
    try:
        own = next(line for line in OWN_GROUP.read_text().splitlines() if line.startswith("0::"))[3:].strip("/")
    except (OSError, StopIteration):
        own = ""
    group, found = GROUPS / own, []
    for folder in (group, *group.parents):
        if not folder.is_relative_to(GROUPS):
            break
        try:
            text = (folder / "memory.max").read_text().strip()
        except OSError:
            continue
        found += [int(text)] if text.isdecimal() else []
    return found


def require_memory(what: str, size: float, fix: str) -> None:
    """Raises InputError where something of so many bytes does not fit into the memory. what : a noun; fix : what to change."""
    if not Comparison.lifted:
        most = memory_limit()
        allowed = f"at most {bytes_text(most)}, the memory of this machine"
        require(size <= most, f"{what}: about {bytes_text(size)}", allowed, fix + FORCED)


def require_disk(what: str, size: float, folder: Path, fix: str) -> None:
    """The same of a file and the disk of its folder."""
    if not Comparison.lifted:
        free = shutil.disk_usage(folder).free
        require(size <= free, f"{what}: about {bytes_text(size)}", f"at most {bytes_text(free)}, free on this disk", fix + FORCED)


def bytes_text(number: float) -> str:
    """A number of bytes with its unit."""
    for exponent, name in ((40, "TiB"), (30, "GiB"), (20, "MiB")):
        if number >= 2**exponent:
            return f"{number / 2**exponent:.3g} {name}"
    return f"{number / 2**10:.3g} KiB"
