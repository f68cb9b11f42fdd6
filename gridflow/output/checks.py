"""What no result has: names, types, attributes and numbers that a file is refused for (`gridflow.output.reader`)."""

import re
import tomllib
from typing import Any

import numpy as np

from gridflow.files import Contents, Stored
from gridflow.output.schema import INTEGERS, RECORDS, VARIABLES

SIZE_MAX = 1e30
"""Numbers beyond are none of a result: those that were never written are 9.97e36 in a NetCDF file."""
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
PACKED = ("scale_factor", "add_offset", "missing_value", "_Unsigned")
"""Attributes that change what the numbers of a file mean."""
SPELLED: tuple[str, ...] = (
    "units",
    "long_name",
    "standard_name",
    "coordinates",
    "bounds",
    "cell_measures",
    "cell_methods",
    "mesh",
    "location",
)
SPELLED += ("cf_role", "axis", "calendar", "grid_mapping", "title", "source", "case", "status", "exported", "gridflow_version")
"""Attributes that are text."""
NUMERIC = {"covariance": (4, 9), "period": (1,)}
"""Attributes that are numbers, and how many."""
TITLE_MAX = 1000
"""Characters of a title."""
FORMAT = "density (time, factors…), cell_volume and coordinates, as gridflow writes them"
ANEW = "write it with gridflow solve CASE -o F.nc"


def check_stored(file: Contents, name: str, stored: Stored) -> None:
    """Raises InputError for a variable whose name, type, dimensions or attributes no result has."""
    for word in (name, *stored.dims):
        file.require(NAME.fullmatch(word), f"has the name {word!r}", "letters, digits and underscores", "rename it")
    file.require(stored.dtype is not None, f"has {name!r}, which does not hold plain numbers", "numbers", "leave it out")
    for key in PACKED:
        received, fix = f"has the attribute {key!r} of {name!r}", "write it as gridflow does, without packing"
        file.require(key not in stored.attrs, received, "numbers as they are", fix)
    check_attributes(file, name, stored.attrs)
    table = RECORDS | VARIABLES
    if name in table and "units" in stored.attrs:
        units = stored.attrs["units"]
        file.require(units == table[name][0], f"has {name!r} in units {units!r}", f"{table[name][0]!r}", ANEW)
    if name in RECORDS or name == "time":
        file.require(stored.dims == ("time",), f"has {name} ({', '.join(stored.dims)})", f"{name} (time)", ANEW)


def check_attributes(file: Contents, name: str, attrs: dict[str, Any]) -> None:
    """Raises InputError for attributes that are neither text nor numbers, or not text where they should be."""
    for key, value in attrs.items():
        plain = isinstance(value, str) or np.asarray(value).dtype.kind in "iuf"
        fits, what = plain and (isinstance(value, str) or key not in SPELLED), "text" if key in SPELLED else "text or numbers"
        where = f"the attribute {key!r}" + (f" of {name!r}" if name else "")
        file.require(fits, f"has {where} of type {type(value).__name__}", what, "remove or correct the attribute")
        if key in NUMERIC:
            numbers = not isinstance(value, str) and np.size(value) in NUMERIC[key] and np.isfinite(value).all()
            file.require(numbers, f"has {where} = {str(value)[:40]!r}", f"{' or '.join(map(str, NUMERIC[key]))} numbers", ANEW)
        file.require("/" not in key and key.isprintable(), f"has {where}", "a name without slashes", "rename it")


def check_text(file: Contents) -> None:
    """Raises InputError for global attributes that pictures cannot use."""
    check_attributes(file, "", file.attrs)
    for key in ("title", "source"):
        size = len(file.attrs.get(key, ""))
        file.require(size <= TITLE_MAX, f"has a {key} of {size} characters", f"at most {TITLE_MAX}", "shorten the attribute")
    try:
        readable = weights_are_listed(tomllib.loads(file.attrs.get("case", "")))
    except (tomllib.TOMLDecodeError, RecursionError):
        readable = False
    file.require(readable, "has an attribute 'case' that is no case", "a case in TOML", "correct or remove the attribute")


def weights_are_listed(case: dict[str, Any]) -> bool:
    """Whether the branches of the networks in a case, which pictures look at, are tables with lists of names."""
    energy = case.get("energy", {})
    parts = energy.get("parts", [energy]) if isinstance(energy, dict) else None
    if not isinstance(parts, list) or not all(isinstance(part, dict) for part in parts):
        return False
    lists = [part.get("branches", []) for part in parts]
    if not all(isinstance(branches, list) for branches in lists):
        return False
    weights = [branch.get("weights") if isinstance(branch, dict) else None for branches in lists for branch in branches]
    return all(isinstance(names, list) and all(isinstance(n, str) for n in names) for names in weights)


def check_numbers(file: Contents, name: str, values: np.ndarray) -> None:
    """Raises InputError for numbers that no variable of this name has."""
    finite = np.isfinite(values)
    bounded = bool((np.abs(values[finite]) <= SIZE_MAX).all())
    file.require(bounded, f"has {name!r} with numbers beyond {SIZE_MAX:g}", "smaller numbers", ANEW)
    known = name in ("density", "cell_volume", "time", "mass", "energy", "boundary_mass", "density_min", "time_step", *INTEGERS)
    data = name in ("prediction", "target", "input") or name.endswith("_bounds")
    received = f"has {name!r} with {values.size - np.count_nonzero(finite)} numbers that are not finite"
    file.require(finite.all() or not (known or data), received, "finite numbers", ANEW)
    if name in ("cell_volume", "mass"):
        file.require((values > 0).all(), f"has {name!r} with numbers that are not positive", "positive numbers", ANEW)
    elif known and name != "energy":
        file.require((values >= 0).all(), f"has {name!r} with negative numbers", "numbers ≥ 0", ANEW)
