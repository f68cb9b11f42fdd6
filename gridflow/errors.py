"""The one exception for wrong input: what was received, what is allowed, how to fix it."""

import unicodedata
from collections.abc import Iterable
from difflib import get_close_matches

LENGTH_MAX = 1000
"""Characters of what was received in a message: it may be anything."""


class InputError(ValueError):
    """Something that the user gave cannot be used. The command line turns it into one message and exit code 2."""

    def __init__(self, received: str, allowed: str, fix: str) -> None:
        self.parts = shortened(printable(received)), printable(allowed), printable(fix)
        super().__init__("{}\n  allowed: {}\n  fix: {}".format(*self.parts))

    def __reduce__(self) -> tuple[type["InputError"], tuple[str, str, str]]:
        """So that other processes can have it."""
        return InputError, self.parts


def shortened(text: str) -> str:
    """A text, or its first and last words."""
    half = LENGTH_MAX // 2
    return text if len(text) <= LENGTH_MAX else f"{text[:half]} … {text[-half:]}"


def require(condition: bool, received: str, allowed: str, fix: str) -> None:
    """Raises InputError unless the condition holds. The texts are built in any case: they must not fail where it holds."""
    if not condition:
        raise InputError(received, allowed, fix)


def printable(text: str) -> str:
    """The text with its control characters, but for tabs and ends of lines, written as escapes: a terminal would obey them."""
    if text.isprintable():
        return text
    hidden = {c for c in text if unicodedata.category(c) in ("Cc", "Cf", "Cs") and c not in "\n\t"}
    return "".join(c.encode("unicode_escape").decode() if c in hidden else c for c in text)


class SolveError(RuntimeError):
    """A run cannot go on (non-finite values, no acceptable step). The last good state is kept. Exit code 1."""


def suggestion(word: str, known: Iterable[str]) -> str:
    """'did you mean …?', or the empty string, for a mistyped name."""
    by_lower = {name.lower(): name for name in known}
    close = get_close_matches(word.lower(), list(by_lower), n=1)
    return f"did you mean {by_lower[close[0]]!r}?" if close else ""
