"""Folders that code is kept in between runs. What is loaded from them runs, so that nobody else may write there.

A folder is private where it, and every folder that it stands in, belongs to this user or to root, and others can write to none of
them; above the folder itself one like /tmp, in which nobody moves what is not his own, will do. CACHE/gridflow, with CACHE the
absolute path in XDG_CACHE_HOME or ~/.cache, is made for the user alone (0700).
"""

import os
import shutil
import stat
import tempfile
from pathlib import Path

OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH


def is_private(folder: Path) -> bool:
    """Whether this user and root alone can change what a folder holds. Where files have no owners, every folder counts."""
    if os.name != "posix":
        return True
    try:
        place = folder.resolve(strict=True)
        return own(place.stat()) and all(own(above.stat(), sticky=True) for above in place.parents)
    except (OSError, RuntimeError):  # not there, or a circle of links
        return False


def is_own_file(path: Path) -> bool:
    """Whether a file itself, not what a link leads to, was written by this user or root and others cannot write to it."""
    if os.name != "posix":
        return True
    try:
        found = path.lstat()
    except OSError:
        return False
    return stat.S_ISREG(found.st_mode) and own(found)


def own(found: os.stat_result, sticky: bool = False) -> bool:
    """Whether this user or root owns something that others cannot write to; sticky : or only to add to it."""
    shared = bool(found.st_mode & OTHERS_WRITE) and not (sticky and found.st_mode & stat.S_ISVTX)
    return found.st_uid in (0, os.geteuid()) and not shared


def user_folder(name: str) -> Path | None:
    """CACHE/gridflow/name, made where it is not there, and emptied where others could write to it; None where it cannot be made,
    written or kept private."""
    try:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        if not base.is_absolute():
            return None
        folder = base / "gridflow" / name
        base.mkdir(mode=0o700, parents=True, exist_ok=True)
        for part in (folder.parent, folder):
            part.mkdir(mode=0o700, exist_ok=True)
            if os.name != "posix":
                continue
            if part.lstat().st_uid != os.geteuid():
                return None
            if part == folder and part.lstat().st_mode & OTHERS_WRITE:  # what is in it may be anybody's
                shutil.rmtree(part)
                part.mkdir(mode=0o700)
            part.chmod(0o700)
    except (OSError, RuntimeError):  # RuntimeError: a user without a home
        return None
    return folder if can_be_written(folder) and is_private(folder) else None


def can_be_written(folder: Path) -> bool:
    """Whether a file can be made in a folder."""
    try:
        tempfile.TemporaryFile(dir=folder).close()
    except OSError:
        return False
    return True
