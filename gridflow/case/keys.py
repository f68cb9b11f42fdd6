"""The keys of a case in words: what is allowed, the default, the meaning; from its schema."""

import json
from collections.abc import Iterator
from textwrap import fill
from typing import Any

import msgspec

from gridflow.case.case import Case
from gridflow.case.explain import HIDDEN
from gridflow.case.schema import Table, case_schema
from gridflow.errors import InputError, require, suggestion

WIDTH = 110


def keys_text(section: str = "") -> str:
    """The keys of a section of a case in words: its kinds, and of each key what is allowed, the default and the meaning.

    section : keys joined by dots, as in --set, where a kind may follow the table that has kinds: "energy.network.data.file".
        Names of factors and numbers of list entries are left out. Raises InputError for one that there is not.
    """
    tables = case_schema()["$defs"]
    found, entry = tables_at(section.split(".") if section else [], tables)
    if not found:
        return f"{section}: {words_of(entry, tables)}\n" + indented(entry.get("description", ""))
    if len(found) > 1:
        kinds = [f"{section}.{kind_of(t)}\n{indented(t['description'])}" for t in found]
        return "\n".join([f"[{section}] has one of these kinds:", *kinds])
    return table_text(found[0], section, tables)


def tables_at(path: list[str], tables: Table) -> tuple[list[Table], Table]:
    """The tables that may stand at a place, and what the schema says of its last key. Raises InputError for an unknown key."""
    found, last = [tables["Case"]], tables["Case"]
    for depth, part in enumerate(path):
        known = words_below(found)
        received = f"no key {part!r} in {'.'.join(path[:depth]) or 'a case'}"
        require(part in known, received, ", ".join(known), suggestion(part, known) or "use one of these")
        entries = [table["properties"][part] for table in found if part in table["properties"]]
        chosen = [table for table in found if kind_of(table) == part]
        last = chosen[0] if chosen else entries[0]
        found = chosen or [tables[name] for name in dict.fromkeys(n for entry in entries for n in names_in(entry))]
    return found, last


def words_below(tables: list[Table]) -> list[str]:
    """Keys of tables, and their kinds where there are several."""
    kinds = [kind_of(table) for table in tables] if len(tables) > 1 else []
    return sorted({key for table in tables for key in table["properties"] if key != "kind"} | set(kinds))


def sections_below(prefix: str) -> list[str]:
    """What may follow the last dot of a section that is being written."""
    *path, _ = prefix.split(".")
    tables = case_schema()["$defs"]
    try:
        found, _ = tables_at(path, tables)
    except InputError:
        return []
    return [".".join([*path, word]) for word in words_below(found)]


def keys_of_case(case: Case) -> list[str]:
    """Every key that a case has, with its defaults, joined by dots."""
    return list(keys_below({key: value for key, value in msgspec.to_builtins(case).items() if key not in HIDDEN}))


def keys_below(value: Any, path: str = "") -> Iterator[str]:
    """Keys of the numbers, words and lists in tables."""
    if not isinstance(value, dict) or not value:
        yield path
        return
    for key, entry in value.items():
        yield from keys_below(entry, f"{path}.{key}" if path else key)


def table_text(table: Table, where: str, tables: Table) -> str:
    """One table: what it is, and its keys."""
    lines, told = [f"[{where}]" if where else "a case", indented(table.get("description", ""))], ""
    for key, entry in table["properties"].items():
        lines.append(f"{key}: {words_of(entry, tables)}; {default_text(entry, key in table.get('required', ()))}")
        meaning = entry.get("description", "")
        lines.append(indented(meaning if meaning != told else ""))  # keys that are explained together follow each other
        told = meaning
    inner = [f"{where}.{key}".strip(".") for key, entry in table["properties"].items() if any(names_in(entry))]
    lines.append(fill(f"tables: gridflow keys {', '.join(inner)}", WIDTH) if inner else "")
    return "\n".join(line for line in lines if line)


def kind_of(table: Table) -> str:
    """The kind of a table, or nothing."""
    return str(table["properties"].get("kind", {}).get("enum", [""])[0])


def names_in(entry: Any) -> Iterator[str]:
    """Names of the tables that may stand in an entry, in lists and under free names too."""
    if isinstance(entry, dict):
        for key, value in entry.items():
            if key == "$ref":
                yield str(value).rpartition("/")[2]
            elif key != "discriminator":
                yield from names_in(value)
    elif isinstance(entry, list):
        for value in entry:
            yield from names_in(value)


def default_text(entry: Table, required: bool) -> str:
    """What holds where a key is left out."""
    if required:
        return "required"
    default = entry.get("default", ...)
    if default is None or default is ...:
        return "not set by default" if default is None else "optional"
    return f"default {json.dumps(default, ensure_ascii=False)}"


def words_of(entry: Table, tables: Table) -> str:
    """What is allowed, in words."""
    if "$ref" in entry:
        table = tables[entry["$ref"].rpartition("/")[2]]
        return f'table of kind "{kind_of(table)}"' if kind_of(table) else "table"
    if "enum" in entry:
        return " or ".join(f'"{word}"' if isinstance(word, str) else str(word) for word in entry["enum"])
    if "anyOf" in entry:
        parts = [words_of(part, tables) for part in entry["anyOf"] if part.get("type") != "null"]
        kinds = [part.removeprefix("table of kind ") for part in parts if part.startswith("table of kind ")]
        others = [part for part in parts if not part.startswith("table of kind ")]
        return " or ".join(others + ([f"table of kind {', '.join(kinds)}"] if kinds else []))
    kind = entry.get("type")
    if kind == "array":
        fixed = entry.get("prefixItems")
        if fixed:
            return f"list of {len(fixed)}: {words_of(fixed[0], tables)}"
        least = f", at least {entry['minItems']}" if "minItems" in entry else ""
        return f"list of: {words_of(entry['items'], tables)}{least}"
    if kind == "object":
        return f"for each name: {words_of(entry['additionalProperties'], tables)}"
    return f"{TYPES[str(kind)]}{limits_of(entry)}"


TYPES = {"string": "text", "integer": "whole number", "number": "number", "boolean": "true or false"}
LIMITS = {
    "minimum": "≥ {}",
    "exclusiveMinimum": "> {}",
    "maximum": "≤ {}",
    "exclusiveMaximum": "< {}",
    "minLength": "of at least {} letters",
    "pattern": "like {}",
}
"""Of JSON Schema, in words."""


def limits_of(entry: Table) -> str:
    """The limits of a number or a text."""
    return "".join(f" {words.format(entry[name])}" for name, words in LIMITS.items() if name in entry)


def indented(text: str) -> str:
    """A paragraph under a key."""
    return fill(text, WIDTH, initial_indent="    ", subsequent_indent="    ") if text else ""
