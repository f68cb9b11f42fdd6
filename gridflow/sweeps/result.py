"""What the dataset of a sweep takes of one member: from its file, or from memory where the member has just ended there."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gridflow.errors import InputError
from gridflow.files import Contents, open_contents
from gridflow.output.reader import variable_of, words

if TYPE_CHECKING:
    import xarray

BYTES_MAX = 2**31
"""Densities at the last time of all members, at most: larger ones stay in the files of the members."""


@dataclass(frozen=True)
class Result:
    """What a file of a member holds; of densities and predictions, which are `late`, the last record alone, without its time."""

    attrs: dict[str, Any]
    variables: dict[str, "xarray.Variable"]
    coordinates: set[str]
    late: set[str]

    @property
    def sizes(self) -> dict[str, int]:
        """Lengths of the dimensions."""
        return {str(d): n for v in self.variables.values() for d, n in v.sizes.items()}


def result_of(file: Path, members: int) -> Result | None:
    """The result in a file, one of so many; None where it is not complete."""
    if not file.is_file():
        return None
    try:
        with open_contents(file, "sweep") as contents:
            late = {n for n, v in contents.variables.items() if v.dims[:1] == ("time",) and len(v.dims) > 1}
            variables = {}
            for name, stored in contents.variables.items():
                if name not in late:
                    variables[name] = variable_of(name, stored, plain_values(contents, name))
                elif members * stored.size <= stored.shape[0] * BYTES_MAX:
                    kept = replace(stored, dims=stored.dims[1:], shape=stored.shape[1:])
                    variables[name] = variable_of(name, kept, contents.values(name, -1))
            named = set(" ".join(str(v.attrs.get("coordinates", "")) for v in contents.variables.values()).split())
            named |= words(contents.attrs) | {n for n, v in contents.variables.items() if v.dims == (n,)}
            return Result(contents.attrs, variables, named, late) if {"status", "verdict"} & set(contents.attrs) else None
    except InputError:
        return None


def plain_values(contents: Contents, name: str) -> np.ndarray:
    """Values of a variable, numbers or text."""
    if contents.variables[name].dtype is not None:
        return contents.values(name)
    return np.asarray(contents.handle.variables[name][...], dtype=object)


def result_in(dataset: "xarray.Dataset") -> Result:
    """The same of a dataset in memory, which is small."""
    variables = {str(n): v for n, v in dataset.variables.items()}
    late = {n for n, v in variables.items() if v.dims[:1] == ("time",) and v.ndim > 1}
    return Result(
        dataset.attrs, {n: v[-1] if n in late else v for n, v in variables.items()}, set(map(str, dataset.coords)), late
    )
