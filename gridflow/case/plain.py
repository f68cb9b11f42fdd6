"""Tables of plain values: what a case may be made of, in TOML or as a dict in Python."""

from typing import Any

import numpy as np

from gridflow.errors import require

DEPTH_MAX = 32
"""Levels of tables within tables: the deepest that a case needs is about ten."""
NUMBER_MIN, NUMBER_MAX = 1e-50, 1e50
"""Products of six such numbers are still numbers of the machine. Entries of lists may be smaller: tails of densities."""


def plain(value: Any, path: str = "", depth: int = 0) -> Any:
    """A copy made of dicts, lists, strings, numbers, true, false and None; tuples, NumPy numbers and arrays become such.

    Raises InputError for anything else, for keys that are not strings, for tables nested deeper than DEPTH_MAX, for text that is
    no Unicode, for NaN, infinities, numbers beyond NUMBER_MAX, and others than 0 below NUMBER_MIN outside of lists.
    """
    where = path or "the case"
    require(depth <= DEPTH_MAX, f"{where}, nested {depth} deep", f"at most {DEPTH_MAX} levels", "remove inner tables")
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        unicode = not any("\ud800" <= letter <= "\udfff" for letter in value)
        require(unicode, f"{where} = {value!r}", "text in Unicode", "remove single surrogates")
        return str(value)
    if isinstance(value, dict):
        wrong = [key for key in value if not isinstance(key, str)]
        require(not wrong, f"{where}: the keys {wrong}", "strings as keys", "write them as text")
        return {str(key): plain(entry, f"{path}.{key}" if path else key, depth + 1) for key, entry in value.items()}
    if isinstance(value, list | tuple | range):
        return [plain(entry, f"{path}.{number}", depth + 1) for number, entry in enumerate(value)]
    kind, allowed = type(value).__name__, "tables, lists, text, numbers, true and false"
    require(isinstance(value, int | float), f"{where} of type {kind}", allowed, "write one of these")
    shown = str(value) if isinstance(value, float) else f"an integer of {value.bit_length()} bits"
    listed = path.rpartition(".")[2].isdecimal()
    small = 0 < abs(value) < NUMBER_MIN and not listed
    fits = -NUMBER_MAX < value < NUMBER_MAX and not small
    allowed, fix = (
        f"0, and finite numbers from {NUMBER_MIN:g} to {NUMBER_MAX:g}",
        "write one of these, in other units for example",
    )
    require(fits, f"{where} = {shown}", allowed, fix)
    return value
