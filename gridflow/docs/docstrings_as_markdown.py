"""Docstrings as Markdown, when the documentation is built (an extension of griffe, which mkdocstrings reads).

Docstrings here are plain text. Three of their habits mean something else in Markdown, and are rewritten: examples that begin with
`>>>`, definitions `name : meaning` at the beginning of a line, and headings underlined with dashes.
"""

import re
from typing import Any

import griffe

DEFINITION = re.compile(r"^([a-z_]\w*(?:, [a-z_]\w*)*) : ")
EXAMPLE = (">>> ", "... ")


def as_markdown(text: str) -> str:
    """A docstring as Markdown."""
    lines = re.sub(r"^(\w+)\n-{3,}$", r"**\1**\n", text, flags=re.MULTILINE).split("\n")
    made: list[str] = []
    example = False
    for line in lines:
        begins = line.startswith(EXAMPLE)
        if begins and not example:
            made += ["", "```pycon"]
        elif example and not line.strip():
            made.append("```")
        example = begins or (example and bool(line.strip()))
        found = None if example else DEFINITION.match(line)
        made.append(f"* `{found[1]}`: {line[found.end() :]}" if found else line)
        if found and len(made) > 1 and made[-2].strip() and not made[-2].startswith(("* ", "    ")):
            made.insert(-1, "")
    return "\n".join([*made, "```"] if example else made)


class DocstringsAsMarkdown(griffe.Extension):
    """Rewrites the docstring of every object."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Called by griffe for every module, class, function and attribute, once it is read."""
        if obj.docstring is not None:
            obj.docstring.value = as_markdown(obj.docstring.value)
