"""The cases that ship with gridflow, without heavy imports, so that `gridflow list` is instant."""

import tomllib
from pathlib import Path
from typing import Any


def shipped_directory() -> Path:
    """The folder of the shipped cases: inside the installed package; in a source checkout beside it."""
    package = Path(__file__).resolve().parent.parent
    return package / "cases" if (package / "cases").is_dir() else package.parent / "cases"


def shipped_cases() -> dict[str, Path]:
    """Names and files of the shipped cases, sorted."""
    return {path.stem: path for path in sorted(shipped_directory().glob("*.toml"))}


def number_of_cells(factor: dict[str, Any]) -> int:
    """Cells of a factor from its table: those of a line, values of labels, 10·4^level + 2 of a surface."""
    if "level" in factor:
        return 10 * 4 ** int(factor["level"]) + 2
    return int(factor["cells"]) if "cells" in factor else len(factor["values"])


def table_row(path: Path) -> dict[str, Any]:
    """Title, source, grid and expected seconds of CPU of a case, without checking or computing anything."""
    table = tomllib.loads(path.read_text(encoding="utf-8"))
    sizes = {name: number_of_cells(factor) for name, factor in table["space"].items()}
    return {
        "name": path.stem,
        "title": table["title"],
        "source": table.get("source", ""),
        "grid": " × ".join(f"{name} {size}" for name, size in sizes.items()),
        "seconds": table.get("seconds"),
    }
