"""What a case may hold, as JSON Schema, from the types that read it.

Kinds, limits and defaults are those of the structs. What a key means stands in the docstring of its struct, as `name : meaning`
or `name, other : meaning`, up to the next one or an empty line.
"""

import inspect
import re
from functools import cache
from typing import Any, get_args, get_type_hints

import msgspec
from msgspec import Struct

from gridflow.case.case import Case
from gridflow.case.explain import HIDDEN, alternatives, is_struct

Table = dict[str, Any]


@cache
def case_schema() -> Table:
    """The JSON Schema of a case file, to be read alone; every key has its meaning as `description`."""
    schema = msgspec.json.schema(Case)
    tables = schema["$defs"]
    for name, struct in structs_of(Case).items():
        table = tables[name]
        table["description"] = summary_of(struct)
        for key, meaning in meanings_of(struct).items():
            table["properties"][key]["description"] = meaning
    for hidden in HIDDEN:
        del tables["Case"]["properties"][hidden]
    tables["Case"]["description"] = "A case of gridflow: what `gridflow solve` takes"
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "gridflow case", **schema}


def structs_of(root: type[Struct]) -> dict[str, type[Struct]]:
    """Every struct that may stand in a case, by its name in the schema: the class, with its module where two are called so."""
    found: dict[type[Struct], None] = {}
    todo: list[Any] = [root]
    while todo:
        for part in alternatives(todo.pop()):
            if is_struct(part) and part not in found:
                found[part] = None
                todo += get_type_hints(part, include_extras=True).values()
            elif not is_struct(part):
                todo += get_args(part)
    names = [s.__name__ for s in found]
    return {s.__name__ if names.count(s.__name__) == 1 else f"{s.__module__}.{s.__name__}": s for s in found}


def summary_of(struct: type[Struct]) -> str:
    """The first paragraph of its docstring, up to what its keys mean."""
    text = inspect.getdoc(struct) or ""
    found = key_pattern(struct).search(text)
    return " ".join(text[: found.start() if found else None].partition("\n\n")[0].split())


def meanings_of(struct: type[Struct]) -> dict[str, str]:
    """What its docstring says of its keys."""
    text = inspect.getdoc(struct) or ""
    found = list(key_pattern(struct).finditer(text))
    ends = [m.start() for m in found[1:]] + [len(text)]
    meanings: dict[str, str] = {}
    for match, end in zip(found, ends, strict=False):
        meaning = " ".join(text[match.end() : end].partition("\n\n")[0].split()).rstrip(";.")
        meanings |= dict.fromkeys(match[1].split(", "), meaning)
    return meanings


def key_pattern(struct: type[Struct]) -> re.Pattern[str]:
    """`name : ` or `name, other : ` at the start of a line or after a full stop or semicolon."""
    names = "|".join(f.encode_name for f in msgspec.structs.fields(struct)) or "(?!)"
    return re.compile(rf"(?:^|(?<=[.;] )|(?<=[.;]\n))\s*((?:{names})(?:, (?:{names}))*) : ", re.MULTILINE)
