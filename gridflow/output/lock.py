"""One run at a time writes a result: NAME.nc.lock, which says who.

The file is locked by `flock`, so that a lock dies with its process, whatever it died of; one that is left lying means nothing.
On file systems that have no such locks, the process that it names counts: on this host one that still runs, with the same
start, so that a number that was used again is not taken for it; one of another host is believed.
"""

import errno
import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from gridflow.errors import InputError

NO_LOCKS = {errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK, errno.EINVAL}
"""What file systems say that do not lock."""


def lock_path(output: Path) -> Path:
    """The file of the lock of a result."""
    return output.with_name(output.name + ".lock")


@contextmanager
def locked(output: Path) -> Iterator[None]:
    """Within it, no other run writes the result `output`. Raises InputError where one does."""
    path = lock_path(output)
    number = acquired(path, output)
    try:
        content = json.dumps(this_process()).encode()
        os.ftruncate(number, 0)
        os.pwrite(number, content, 0)
        yield
    finally:
        with suppress(OSError):  # a directory that is gone, or cannot be written any more: a lock without its process is none
            path.unlink()
        os.close(number)


def acquired(path: Path, output: Path) -> int:
    """The number of the file, open and locked. Raises InputError."""
    while True:
        number = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            holder = holder_of(number)
            free = flocked(number)
            if free is False or (free is None and runs(holder)):
                raise InputError(
                    f"{output.name!r} is being written by {described(holder)}", "one run at a time for an output",
                    f"wait for it, or choose another name{unless_dead(holder, path, free)}",
                )  # fmt: skip
            with suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(number), os.stat(path)):  # else its holder has just removed it
                    return number
        except BaseException:
            os.close(number)
            raise
        os.close(number)


def flocked(number: int) -> bool | None:
    """Locks an open file: whether it could; None where nothing can be locked."""
    if os.name != "posix":
        return None
    import fcntl

    try:
        fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno in NO_LOCKS:
            return None
        raise
    return True


def this_process() -> dict[str, Any]:
    """What a lock says of its holder."""
    since = datetime.now(UTC).astimezone().isoformat(sep=" ", timespec="seconds")
    return {"pid": os.getpid(), "host": socket.gethostname(), "since": since, "start": start_of(os.getpid())}


def holder_of(number: int) -> dict[str, Any]:
    """What a lock says; nothing where it is empty or damaged."""
    try:
        found = json.loads(os.pread(number, 4096, 0))
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def described(holder: dict[str, Any]) -> str:
    """A holder in words."""
    if not holder:
        return "another run"
    return f"the process {holder.get('pid')} on {holder.get('host')} since {holder.get('since')}"


def unless_dead(holder: dict[str, Any], path: Path, free: bool | None) -> str:
    """What to do with a holder of another host that may be dead."""
    foreign = free is None and holder.get("host") != socket.gethostname()
    return f"; if that process has ended, remove {path.name}" if foreign else ""


def runs(holder: dict[str, Any]) -> bool:
    """Whether the process that a lock names may still run."""
    pid = holder.get("pid")
    if not isinstance(pid, int) or pid <= 0:
        return False
    if holder.get("host") != socket.gethostname():
        return True
    if pid == os.getpid() or os.name != "posix":  # of a thread of this process, or nothing is known
        return holder.get("start") == start_of(pid)
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return holder.get("start") == start_of(pid)


def start_of(pid: int) -> str:
    """When a process started, in ticks since the machine did; empty where the system does not say."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""
