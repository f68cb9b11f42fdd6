"""Energies of one's own: which ones they are, and by what a file tells them apart.

A file cannot hold an energy that is written in Python. It names the class, and holds a hash of the source of that class and of
what it binds, with their bases outside gridflow. A script may change around them. The numbers of an instance, and functions that
its methods call, are not part of the hash.
"""

import hashlib
import inspect
from collections.abc import Iterable

from gridflow.energy.base import BoundEnergy, Energy

PACKAGE = "gridflow"
NO_SOURCE = "source not available"


def is_shipped(kind: type) -> bool:
    """Whether a class is part of gridflow."""
    return kind.__module__.split(".")[0] == PACKAGE


def parts_of(energy: Energy) -> list[Energy]:
    """The parts of a sum, and of the sums in it; an energy that is no sum is its only part."""
    return [part for outer in energy.summands for part in parts_of(outer)] or [energy]


def is_own(energy: Energy) -> bool:
    """Whether an energy, or a part of it, is one's own."""
    return not all(is_shipped(type(part)) for part in parts_of(energy))


def is_compared(energy: Energy) -> bool:
    """Whether runs with an energy compare its numbers with each other."""
    return is_own(energy) and all(part.compared for part in parts_of(energy))


def name_of(energy: Energy) -> str:
    """The class of an energy with its module, or those of its parts."""
    return " + ".join(class_name(type(part)) for part in parts_of(energy))


def class_name(kind: type) -> str:
    """Module and name of a class."""
    return f"{kind.__module__}.{kind.__qualname__}"


def identity_of(energy: Energy, bound: Iterable[BoundEnergy]) -> dict[str, str]:
    """Attributes of a dataset by which an energy is known; bound : its parts on the grid."""
    kinds = [type(part) for part in parts_of(energy)] + [type(part) for part in bound]
    return {"energy_class": name_of(energy), "energy_source": hash_of(kinds)}


def hash_of(kinds: Iterable[type]) -> str:
    """SHA-256 of the source of classes and of their bases; of those of gridflow only the name counts."""
    every = dict.fromkeys(base for kind in kinds for base in kind.__mro__)
    own = [kind for kind in every if not is_shipped(kind) and kind.__module__ not in ("abc", "typing") and kind is not object]
    names = [class_name(kind) for kind in every if is_shipped(kind)]
    try:
        text = "\n".join([*names, *(inspect.getsource(kind) for kind in own)])
    except (OSError, TypeError):  # typed in by hand, or compiled
        return NO_SOURCE
    return f"sha256 {hashlib.sha256(text.encode()).hexdigest()}"
