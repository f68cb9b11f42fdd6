"""Errors of msgspec in our own words: which key of the case, what was received, what is allowed, how to fix it.

msgspec names the first wrong place by a path like `$.space[...].cells`; here the path is resolved to the key that the user wrote,
and the types at that place say what is allowed.
"""

import re
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Struct

from gridflow.errors import InputError, suggestion

HIDDEN = {"name", "directory"}
"""Fields of a case that are not keys of its file."""

Key = str | int


def input_error(message: str, table: dict[str, Any], root: type[Struct]) -> InputError:
    """What was received, allowed, and the fix, from a message like 'Object contains unknown field `cels` - at `$.space[...]`'."""
    text, _, place = message.partition(" - at ")
    if of_key := place.startswith("`key` in "):
        place = place.removeprefix("`key` in ")
    keys = keys_of_path(place.strip("`"), message, table, root)
    if of_key:  # the only rule on keys is that of the names of factors
        wrong, allowed = first_with_error(table, keys, root, message), "a letter, then letters, digits and _"
        return InputError(f"the name {wrong!r} in {'.'.join(map(str, keys))}", allowed, "rename it")
    where = ".".join(map(str, keys)) or "the case"
    received = entry_at(table, keys)
    if match := re.search(r"unknown field `(.*)`", text):
        known = sorted({key for struct in structs_at(keys, table, root) for key in keys_of(struct)})
        fix = suggestion(match[1], known) or "remove it"
        return InputError(f"unknown key {match[1]!r} in {where}", f"keys: {', '.join(known)}", fix)
    if match := re.search(r"missing required field `(.+)`", text):
        words = sorted(words_at([*keys, match[1]], table, root))
        allowed = f"one of: {', '.join(words)}" if words else "every key without a default"
        return InputError(f"{where} lacks the key {match[1]!r}", allowed, f"add {match[1]} = …")
    if match := re.search(r"Invalid (?:enum )?value '(.*)'", text):
        words = sorted(words_at(keys, table, root))
        fix = suggestion(match[1], words) or "use one of these"
        return InputError(f"{where} = {match[1]!r}", f"one of: {', '.join(words)}", fix)
    if match := re.search(r"Expected (`.+?`.*?)(?:, got `(.+)`)?$", text):
        allowed = match[1].replace("`", "").replace("object", "table").replace("| null", "").replace("str", "string")
        allowed = re.sub(r"string of length >= (\d+)", r"string of at least \1 characters", allowed)
        allowed = re.sub(r"of length (>= )?(\d+)", lambda m: f"of {'at least ' if m[1] else ''}{m[2]} entries", allowed)
        kind = f" (a {match[2]})" if match[2] else ""
        return InputError(f"{where} = {received!r}{kind}", allowed.replace("|", "or").strip(), f"change {where}")
    return InputError(f"{where}: {text[0].lower()}{text[1:]}", "values as `gridflow show` prints them", f"correct {where}")


def keys_of_path(place: str, message: str, table: dict[str, Any], root: type[Struct]) -> list[Key]:
    """The keys of a msgspec path; '[...]', any key of a dictionary, becomes the first one that has the error."""
    keys: list[Key] = []
    for part in re.findall(r"\[\.\.\.\]|\[\d+\]|[^.\[\]$]+", place):
        if part == "[...]":
            keys.append(first_with_error(table, keys, root, message))
        else:
            keys.append(int(part[1:-1]) if part.startswith("[") else part)
    return keys


def first_with_error(table: dict[str, Any], keys: list[Key], root: type[Struct], message: str) -> str:
    """The first key of the dictionary at a place with which the case gives the message; later ones are not looked at."""
    entries = list(entry_at(table, keys).items())
    low, high = 0, len(entries)  # the first `low` entries are without the error, the first `high` have it
    while high - low > 1:
        middle = (low + high) // 2
        if error_of(with_entry(table, keys, dict(entries[:middle])), root) == message:
            high = middle
        else:
            low = middle
    return entries[low][0]


def error_of(table: dict[str, Any], root: type[Struct]) -> str:
    """The message that a case gives."""
    try:
        msgspec.convert(table, root)
    except msgspec.ValidationError as error:
        return str(error)
    return ""


def with_entry(table: Any, keys: list[Key], value: Any) -> Any:
    """The table with another entry at a place, sharing all others."""
    if not keys:
        return value
    copy: Any = table.copy()
    copy[keys[0]] = with_entry(table[keys[0]], keys[1:], value)
    return copy


def entry_at(table: Any, keys: list[Key]) -> Any:
    """What the case holds at a place; None where it holds nothing."""
    for key in keys:
        if isinstance(table, list) and isinstance(key, int) and key < len(table):
            table = table[key]
        else:
            table = table.get(key) if isinstance(table, dict) else None
    return table


def annotations_at(keys: list[Key], table: Any, root: type[Struct]) -> list[Any]:
    """Types that may stand at a place of a case, unions taken apart."""
    found: list[Any] = [root]
    for depth, key in enumerate(keys):
        kind = (entry_at(table, keys[:depth]) or {}).get("kind") if isinstance(key, str) else None
        following: list[Any] = []
        for annotation in found:
            if is_struct(annotation):
                tagged = annotation.__struct_config__.tag
                if key == "kind" and tagged is not None:
                    following.append(Literal[tagged])
                elif tagged in (None, kind):
                    following.append(get_type_hints(annotation).get(str(key)))
            else:
                following.append(get_args(annotation)[-1] if get_args(annotation) else None)
        found = [part for annotation in following for part in alternatives(annotation)]
    kind = (entry_at(table, keys) or {}).get("kind") if isinstance(entry_at(table, keys), dict) else None
    exact = [a for a in found if is_struct(a) and a.__struct_config__.tag is not None and a.__struct_config__.tag == kind]
    return exact or found


def alternatives(annotation: Any) -> list[Any]:
    """The members of a union, however it is nested in annotations."""
    if get_origin(annotation) is Annotated:
        return alternatives(get_args(annotation)[0])
    if get_origin(annotation) in (Union, UnionType):
        return [part for member in get_args(annotation) for part in alternatives(member)]
    return [annotation]


def is_struct(annotation: Any) -> bool:
    """Whether a type is that of a table."""
    return isinstance(annotation, type) and issubclass(annotation, Struct)


def structs_at(keys: list[Key], table: Any, root: type[Struct]) -> list[type[Struct]]:
    """The classes of the tables that may stand at a place."""
    return [a for a in annotations_at(keys, table, root) if is_struct(a)]


def keys_of(struct: type[Struct]) -> set[str]:
    """The keys that a table may have."""
    return set(struct.__struct_fields__) - HIDDEN | ({"kind"} if struct.__struct_config__.tag is not None else set())


def words_at(keys: list[Key], table: Any, root: type[Struct]) -> set[str]:
    """The words that a string at a place may be."""
    return {str(word) for a in annotations_at(keys, table, root) if get_origin(a) is Literal for word in get_args(a)}
