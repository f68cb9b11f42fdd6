"""Changes of a case by keys such as "space.a.cells", as `--set` and `Case.replace` take them.

A table with a `kind` that gets another kind keeps the keys that the new kind has too. It loses the keys that the new kind lacks,
since they cannot apply, and those that still hold the default of the old kind, so that the new kind has its own defaults.
"""

from pathlib import Path
from typing import Any

import msgspec
from msgspec import NODEFAULT, Struct

from gridflow.case.explain import Key, entry_at, structs_at
from gridflow.case.text import NotTOML, parse
from gridflow.errors import require


def parse_setting(setting: str) -> tuple[str, Any]:
    """'space.a.cells=128' → ("space.a.cells", 128). The value is TOML; anything else is taken as a string."""
    key, separator, text = setting.partition("=")
    require(bool(separator and key.strip()), f"--set {setting}", "KEY=VALUE", "for example --set space.a.cells=128")
    return key.strip(), parse_value(text, f"--set {key.strip()}")


def parse_value(text: str, where: str) -> Any:
    """A value in TOML; anything else is taken as a string. where : of it, for messages."""
    try:
        return parse(f"value = {text}", where)["value"]
    except NotTOML:
        return text.strip()


def apply_changes(changes: dict[str, Any], table: dict[str, Any], root: type[Struct]) -> None:
    """Changes the tables of a case in place: whole tables before their parts, and a kind before the keys beside it.

    The order in which changes are written does not matter; a change of a part of a table that another change brings reaches into
    it. Raises InputError for a key that cannot exist.
    """
    for key in sorted(changes, key=lambda k: (k.count("."), not is_kind(k))):
        if is_kind(key):
            change_kind(key, changes[key], table, root)
        else:
            set_key(table, key, changes[key])


def paths_from_here(value: Any, key: str = "") -> Any:
    """Changes with the paths in them, of whatever is called `file`, from the current directory."""
    if isinstance(value, dict):
        return {k: paths_from_here(v, str(k)) for k, v in value.items()}
    if isinstance(value, list):
        return [paths_from_here(v, key) for v in value]
    is_path = isinstance(value, str) and key.split(".")[-1] == "file" and "\0" not in value
    return str(Path(value).absolute()) if is_path else value


def is_kind(key: str) -> bool:
    """Whether a key is the kind of a table."""
    return key.endswith(".kind")


def change_kind(key: str, kind: Any, table: dict[str, Any], root: type[Struct]) -> None:
    """Gives a table its new kind; the keys that stay are those that the head of this module names."""
    keys: list[Key] = [int(part) if is_number(part) else part for part in key.split(".")[:-1]]
    node = entry_at(table, keys)
    before = structs_at(keys, table, root) if isinstance(node, dict) else []
    changes = isinstance(node, dict) and node.get("kind") not in (None, kind)
    set_key(table, key, kind)
    after = structs_at(keys, table, root)
    if not changes or len(before) != 1 or len(after) != 1:
        return  # not a change, or a word that is no kind here: reading the case says so
    old, known = default_values(before[0]), {field.encode_name for field in msgspec.structs.fields(after[0])}
    for name in set(node) - {"kind"}:
        if name not in known or (name in old and node[name] == old[name]):
            del node[name]


def default_values(struct: type[Struct]) -> dict[str, Any]:
    """Default values of a table, as TOML holds them."""
    values: dict[str, Any] = {}
    for field in msgspec.structs.fields(struct):
        if field.default is not NODEFAULT:
            values[field.encode_name] = msgspec.to_builtins(field.default)
        elif field.default_factory is not NODEFAULT:
            values[field.encode_name] = msgspec.to_builtins(field.default_factory())
    return values


def set_key(table: dict[str, Any], key: str, value: Any) -> None:
    """table["a"]["b"] = value for the key "a.b"; list entries by number. Raises InputError for a key that cannot exist."""
    *parents, last = key.split(".")
    node: Any = table
    for part in parents:
        index = index_in(node, part, key)
        if isinstance(node, dict) and node.get(part) is None:
            node[part] = {}
        node = node[index]
    node[index_in(node, last, key)] = value


def is_number(part: str) -> bool:
    """Whether a part of a key is the number of an entry of a list."""
    return part.isascii() and part.isdecimal() and len(part) < 10


def index_in(node: Any, part: str, key: str) -> Key:
    """The index in a table or a list that a part of a key names. Raises InputError where there is none."""
    if isinstance(node, list) and is_number(part) and int(part) < len(node):
        return int(part)
    allowed, fix = "a key of the case, parts joined by dots", "see `gridflow show CASE` for the keys"
    require(isinstance(node, dict), f"key {key!r}", allowed, fix)
    return part
