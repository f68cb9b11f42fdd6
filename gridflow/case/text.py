"""TOML with limits: no text takes long, or ends in another error than one that says what is wrong with it."""

import re
import tomllib
from pathlib import Path
from typing import Any

from gridflow.errors import InputError, require
from gridflow.files import regular_file

BYTES_MAX = 2**18
"""Of a case file, which takes at most a second to read: lists of some ten thousand numbers; more belongs into data files."""
PARTS_MAX = 32
"""Of a key a.b.c: every further part is looked up again for each line below it."""
PART = r"""(?:[A-Za-z0-9_-]++|"[^"\n]*+"|'[^'\n]*+')"""
LONG_KEY = re.compile(rf"""(?<![A-Za-z0-9_"'-]){PART}(?:[ \t]*+\.[ \t]*+{PART}){{{PARTS_MAX}}}""")
DIGITS_MAX = 1000
LONG_NUMBER = re.compile(rf"(?<![A-Za-z0-9_])[0-9](?:_?[0-9]){{{DIGITS_MAX}}}")


class NotTOML(InputError):
    """A text that is no TOML."""

    def __init__(self, name: str, flaw: str) -> None:
        super().__init__(f"{name} is not TOML: {flaw}", "a text file in TOML 1.0", "correct the place that the message names")


def read_tables(path: Path) -> dict[str, Any]:
    """The tables of a TOML file. Raises InputError for one that is too large, cannot be read or is not TOML."""
    regular_file(path, "the case", BYTES_MAX)
    try:
        text = path.read_bytes().decode("utf-8")
    except UnicodeDecodeError as error:
        raise NotTOML(path.name, str(error)) from None
    except OSError as error:
        received = f"{path.name} cannot be read: {error.strerror}"
        raise InputError(received, "a readable file", "check the path and its permissions") from None
    return parse(text, path.name)


def parse(text: str, name: str) -> dict[str, Any]:
    """The tables of a text in TOML. Raises InputError."""
    text = text.replace("\r\n", "\n")
    size, fix = len(text.encode("utf-8", "surrogatepass")), "move data into files that the case names"
    require(size <= BYTES_MAX, f"{name}: a text of {size} bytes", f"at most {BYTES_MAX}", fix)
    long = LONG_KEY.search(text)
    require(long is None, f"{name}: a key of more than {PARTS_MAX} parts", f"at most {PARTS_MAX}", "shorten it")
    long = LONG_NUMBER.search(text)
    require(long is None, f"{name}: a number of more than {DIGITS_MAX} digits", "numbers below 1e50", "shorten it")
    try:
        return tomllib.loads(text)
    except ValueError as error:  # a TOMLDecodeError, or one of numbers and dates that Python cannot hold
        raise NotTOML(name, str(error)) from None
    except RecursionError:
        raise InputError(f"{name}: tables or lists nested too deep", "at most 32 levels", "remove inner ones") from None
