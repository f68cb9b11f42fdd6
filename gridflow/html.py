"""What notebooks show of cases, grids and particle runs: small tables."""

from collections.abc import Iterable, Sequence
from html import escape


def table_html(rows: Iterable[Sequence[object]], head: Sequence[str] = (), caption: str = "") -> str:
    """A table; entries are text."""
    above = f"<caption><b>{escape(caption)}</b></caption>" if caption else ""
    lines = ["".join(f"<th>{escape(name)}</th>" for name in head)] if head else []
    lines += ["".join(f'<td style="text-align: left">{escape(str(entry))}</td>' for entry in row) for row in rows]
    return f"<table>{above}{''.join(f'<tr>{line}</tr>' for line in lines)}</table>"


def folded_html(summary: str, text: str) -> str:
    """Text that opens on a click."""
    return f"<details><summary>{escape(summary)}</summary><pre>{escape(text)}</pre></details>"
