"""What pages of the documentation take from elsewhere when they are built: help of the commands, claims, pictures.

mkdocs calls `on_files` with the files of the site, and `on_page_markdown` with the text of every page. In a page the line
`<!-- from: commands -->` stands for the help of every command, `<!-- from: claims -->` for the table in `validation/README.md`.
"""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gridflow.cli import build_parser

VALIDATION = Path(__file__).parents[2] / "validation"


def help_of_commands() -> str:
    """The help of `gridflow`, and below a heading for each command its own."""
    parser = build_parser()
    (commands,) = [a.choices for a in parser._actions if isinstance(a, argparse._SubParsersAction)]
    parts = [("gridflow", parser), *((f"gridflow {name}", command) for name, command in commands.items())]
    return "\n\n".join(f"## {name}\n\n```text\n{command.format_help().rstrip()}\n```" for name, command in parts)


def table_of_claims() -> str:
    """`validation/README.md` without its title."""
    return (VALIDATION / "README.md").read_text(encoding="utf-8").split("\n", 1)[1].strip()


SOURCES: dict[str, Callable[[], str]] = {"commands": help_of_commands, "claims": table_of_claims}


def on_files(files: Any, config: Any) -> Any:
    """The files of the site, with the pictures of `validation/figures` as `figures/NAME`."""
    from mkdocs.structure.files import File

    for picture in sorted((VALIDATION / "figures").iterdir()):
        files.append(File.generated(config, f"figures/{picture.name}", abs_src_path=str(picture)))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """The text of a page with what its lines stand for."""
    for name, text in SOURCES.items():
        line = f"<!-- from: {name} -->"
        if line in markdown:
            markdown = markdown.replace(line, text())
    return markdown
