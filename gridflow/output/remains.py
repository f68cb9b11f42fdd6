"""What earlier runs left under the name of an output, and whether a run may start or go on there.

A file that cannot be read is passed over: with --resume a run goes on from what there is, or starts anew. What belongs to
another case, or to another version of gridflow, is refused.
"""

import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from gridflow.case.case import Case, Time
from gridflow.errors import InputError, require
from gridflow.files import check_new_file
from gridflow.hdf5.links import ElsewhereError
from gridflow.netcdf import read_file
from gridflow.output.checkpoint import Checkpoint, read_checkpoint, read_final_state
from gridflow.output.dataset import OF_THE_ENERGY, Ending
from gridflow.output.kept import UnreadableError
from gridflow.paths import checkpoint_path, older_path, part_path

SHOWN = 6
"""Differences of two cases that a message names."""
ANEW = "choose another output, or start anew with --overwrite alone"


EXTENDABLE = {"time.stop", "time.save", "time.max_steps"}
"""Keys that may differ where the records so far stay the same."""
SAME_TIME = 1e-12
"""Relative difference of two save times that are meant to be one."""


@dataclass(frozen=True)
class Remains:
    """checkpoints : of an unfinished run of the case, the newest first; complete : of a finished one; extends : the complete file
    with the records of the only checkpoint; notes : sentences on what there is, without an end."""

    checkpoints: list[Checkpoint] = field(default_factory=list)
    complete: Ending | None = None
    extends: Path | None = None
    notes: list[str] = field(default_factory=list)


def check_output(path: Path, overwrite: bool, resume: bool) -> None:
    """Raises InputError, before any work is done, for an output that exists or cannot be written."""
    check_new_file(path, {".nc"}, overwrite or resume)


def remains_of(path: Path, case: Case, overwrite: bool, resume: bool) -> Remains:
    """What there is of a run to go on with, or nothing without `resume`. Raises InputError where no run may write there."""
    part = part_path(path)
    if not resume:
        received = f"{part.name!r} exists: a run that was interrupted or killed"
        fix = "add --resume to continue it, or --overwrite to start anew"
        require(overwrite or not part.exists(), received, "a new file", fix)
        return Remains()
    checkpoints, notes = list[Checkpoint](), list[str]()
    for file in (checkpoint_path(path), older_path(path)):
        try:
            checkpoints.append(read_checkpoint(file))
        except UnreadableError as error:
            check_version(error)
            notes += [str(error)] if error.reason == "damaged" else []
    for checkpoint in checkpoints:
        check_continued(path, checkpoint.numbers.case, case, checkpoint)
    if checkpoints:
        return Remains(checkpoints, notes=notes)
    complete = ending_of(path) if path.exists() else None
    if complete is not None and (found := extension_of(path, complete, case)) is not None:
        return Remains([found], extends=path, notes=notes)
    if part.exists():
        check_case_of_file(path, part, case)
        return Remains(notes=[*notes, "the run before had no checkpoint yet" if not notes else "no other checkpoint is left"])
    if not path.exists():
        return Remains(notes=[*notes, "there is nothing to go on from"])
    if complete is not None and not overwrite:
        check_case_of_file(path, path, case)
    if complete is None or differences(str(complete.attrs["case"]), case.text()):
        check_new_file(path, {".nc"}, overwrite)
        return Remains(notes=[*notes, f"{path.name!r} is of another case"])
    return Remains(complete=complete)


def check_version(error: UnreadableError) -> None:
    """Raises InputError for what another version of gridflow has kept."""
    fix = f"resume it with that version, {ANEW}"
    require(error.reason != "version", f"--resume: {error}", "a run of this version", fix)


def extension_of(path: Path, complete: Ending, case: Case) -> Checkpoint | None:
    """The last state of a complete file, where the case only goes on longer. Raises InputError where records would change."""
    found = differences(str(complete.attrs["case"]), case.text())
    if not found or not set(found) <= EXTENDABLE:
        return None
    try:
        state = read_final_state(path)
    except UnreadableError as error:
        check_version(error)
        return None
    check_continued(path, str(complete.attrs["case"]), case, state)
    return state


def check_case_of_file(path: Path, file: Path, case: Case) -> None:
    """Raises InputError where a file was written for another case; nothing is known of one that cannot be read."""
    attrs = attributes_of_file(file)
    without = OF_THE_ENERGY if "energy_class" in attrs else ()
    if "case" in attrs:
        check_same_case(path, differences(str(attrs["case"]), case.text(without=without)))


def check_continued(path: Path, before: str, case: Case, state: Checkpoint) -> None:
    """Raises InputError for a case that is not the one before, or one that goes on longer after the same records."""
    found, counters = differences(before, case.text()), state.numbers.counters
    if not found or not set(found) <= EXTENDABLE:
        return check_same_case(path, found)
    old, new = save_times(before), case.time.save_times()
    same = all(abs(a - b) <= SAME_TIME * a for a, b in zip(old[: counters.saved], new, strict=False))
    lasts = len(new) >= counters.saved and new[-1] >= state.numbers.state.get("time", 0.0)
    number = 1 + (len(old) - 1) * case.time.stop / old[-1]
    fix = (
        f"time.save = {number:.0f}, for example"
        if abs(number - round(number)) < SAME_TIME * number
        else "give time.save as a list"
    )
    received = f"--resume with save times other than those of the {counters.saved} records of {path.name!r}"
    return require(same and lasts, received, "these, and further ones", f"{fix}, or {ANEW}")


def save_times(case: str) -> list[float]:
    """The times that a case saves, from its text."""
    return msgspec.convert(tomllib.loads(case)["time"], Time).save_times()


def check_same_case(path: Path, found: dict[str, str]) -> None:
    """Raises InputError with the differences to the case of an earlier run."""
    lines = [f"{key}: {change}" for key, change in list(found.items())[:SHOWN]]
    lines += [f"and {len(found) - SHOWN} more"] if len(found) > SHOWN else []
    received = f"--resume with a case that differs from the one of {path.name!r}:\n    " + "\n    ".join(lines)
    require(not found, received, "the same case and settings", f"repeat the same --set options, {ANEW}")


def differences(before: str, now: str) -> dict[str, str]:
    """What differs between two cases, "before -> now" by key, from their texts."""
    if before == now:
        return {}
    try:
        old, new = flat(tomllib.loads(before)), flat(tomllib.loads(now))
    except tomllib.TOMLDecodeError:
        return {"the text of the case": "no TOML -> TOML"}
    return {key: f"{old.get(key, '-')} -> {new.get(key, '-')}" for key in {**old, **new} if old.get(key) != new.get(key)}


def flat(value: Any, key: str = "") -> dict[str, Any]:
    """The tables and lists of a case, as its plain values by keys such as "initial.0.weight"."""
    if isinstance(value, dict):
        parts = value.items()
    elif isinstance(value, list) and any(isinstance(v, dict | list) for v in value):
        parts = {str(k): v for k, v in enumerate(value)}.items()
    else:
        return {key: value}
    return {k: v for name, part in parts for k, v in flat(part, f"{key}.{name}" if key else name).items()}


def attributes_of_file(path: Path) -> dict[str, Any]:
    """Global attributes of a NetCDF file; none where it cannot be read. Raises InputError where it names other files."""
    try:
        with read_file(path) as file:
            return {name: file.getncattr(name) for name in file.ncattrs()}
    except ElsewhereError as error:
        raise InputError(f"--resume: {path.name!r} {error}", "numbers in the file itself", ANEW) from None
    except (OSError, RuntimeError, AttributeError, UnicodeDecodeError):
        return {}


def ending_of(path: Path) -> Ending | None:
    """What a finished run left in its file; None for a file that is no result of gridflow."""
    attrs = attributes_of_file(path)
    if not {"case", "status", "wall_seconds"} <= set(attrs):
        return None
    try:
        with read_file(path) as file:
            file.set_auto_mask(False)
            names = [n for n, v in file.variables.items() if v.dimensions == ("time",)]
            first, last = ({n: float(file.variables[n][k]) for n in names} for k in (0, -1))
    except (OSError, RuntimeError, IndexError):
        return None
    return Ending(attrs, first, last)
