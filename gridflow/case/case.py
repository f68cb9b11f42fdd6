"""What a case is: TOML data, read strictly, with every default filled in.

A case names a space, an energy, an initial density, a flow, a scheme and times. It holds data only: nothing in it is
evaluated or imported. Unknown keys, wrong types, numbers out of range and non-finite numbers are errors that say where.
"""

import math
from collections.abc import Collection
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct, field

from gridflow.case.changes import apply_changes, paths_from_here
from gridflow.case.explain import HIDDEN, input_error
from gridflow.case.plain import NUMBER_MIN, plain
from gridflow.case.shipped import number_of_cells, shipped_cases, shipped_directory
from gridflow.case.text import BYTES_MAX, read_tables
from gridflow.case.thresholds import Validation
from gridflow.energy.base import Energy
from gridflow.energy.sum import EnergySpec
from gridflow.errors import InputError, require, suggestion
from gridflow.exact.specs import ExactSpec
from gridflow.files import regular_file
from gridflow.flow.flow import Flow
from gridflow.html import folded_html, table_html
from gridflow.launched import launched_here
from gridflow.memory import require_memory
from gridflow.output.schema import RESERVED
from gridflow.output.ugrid import reserved_names
from gridflow.particles.spec import Particles
from gridflow.problem import Problem, within_numbers
from gridflow.scheme.finite_volume.scheme import FiniteVolume
from gridflow.scheme.specs import SchemeSpec
from gridflow.space.factor import Factor
from gridflow.space.grid import Grid
from gridflow.space.mixture import Component
from gridflow.space.specs import FactorSpec
from gridflow.sums.choice import Reductions

BYTES_PER_CELL = 80
"""A run holds about ten fields (`gridflow.case.cost` measures it)."""


class Time(Struct, frozen=True, forbid_unknown_fields=True):
    """Mean-field time.

    stop : the end; save : number of equidistant saves including 0 and stop, or a list of times
    steady : a run ends where the dissipation is below, 0 for never; max_steps : a run fails after so many steps
    """

    stop: Annotated[float, Meta(gt=0.0)]
    save: Annotated[int, Meta(ge=2, le=100_000)] | list[float] = 21
    steady: Annotated[float, Meta(ge=0.0)] = 0.0
    max_steps: Annotated[int, Meta(ge=1)] = 1_000_000

    def __post_init__(self) -> None:
        times = self.save
        if isinstance(times, list):
            increasing = all(a < b for a, b in pairwise(times))
            if len(times) < 2 or not increasing or times[0] < 0 or times[-1] > self.stop:
                raise ValueError(f"save {times} is not an increasing list of at least two times in [0, stop]")

    def save_times(self) -> list[float]:
        """All saved times, from 0 to stop."""
        if isinstance(self.save, list):
            return ([] if self.save[0] == 0 else [0.0]) + list(self.save) + ([] if self.save[-1] == self.stop else [self.stop])
        return [self.stop * k / (self.save - 1) for k in range(self.save)]


class Case(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A case with every default filled in.

    title : of files and pictures; source : where the case is from; description : more words
    space : the factors of the space by name; flow, energy : what moves the density; initial : components of the initial density
    scheme : how steps are made; time : how long, and when densities are saved; exact : the exact solution, where there is one
    particles : runs that `gridflow validate` and `gridflow.simulate` make; validation : errors that a verdict tolerates
    reductions : what computes sums over pairs
    seconds : of CPU that solving it takes, once its kernels are compiled, rounded
    name, directory : of the case, not keys of its file; relative paths start in the directory
    """

    title: str
    space: Annotated[dict[Annotated[str, Meta(pattern="^[A-Za-z][A-Za-z0-9_]*$")], FactorSpec], Meta(min_length=1, max_length=8)]
    energy: EnergySpec
    initial: Annotated[list[Component], Meta(min_length=1)]
    time: Time
    scheme: SchemeSpec = field(default_factory=FiniteVolume)
    flow: Flow = field(default_factory=Flow)
    exact: ExactSpec | None = None
    particles: Particles | None = None
    validation: Validation = field(default_factory=Validation)
    reductions: Reductions = field(default_factory=Reductions)
    source: str = ""
    description: str = ""
    seconds: Annotated[float, Meta(ge=0.0)] = 0.0
    name: str = "case"
    directory: str = "."

    def __repr__(self) -> str:
        cells = " × ".join(f"{name} {number_of_cells(msgspec.to_builtins(spec))}" for name, spec in self.space.items())
        return f"<Case {self.name}: {cells} cells, {tag(self.energy)}, {tag(self.scheme)}, to time {self.time.stop:g}>"

    def _repr_html_(self) -> str:
        kinds = ", ".join(f"{name}: {tag(spec)}" for name, spec in self.space.items())
        rows = [("title", self.title), ("source", self.source), ("space", kinds), ("in short", repr(self))]
        return table_html(rows, caption=self.name) + folded_html("all keys, as TOML", self.text())

    def grid(self) -> Grid:
        """The product of the factors of [space], with the mobilities of [flow]."""
        size = math.prod(spec.size for spec in self.space.values())
        here = size * launched_here()  # on all machines of an mpiexec together it is all of them
        require_memory(f"a run on a grid of {size} cells", here * BYTES_PER_CELL, "use fewer cells per factor")
        factors: list[Factor] = [spec.factor(name) for name, spec in self.space.items()]
        taken = RESERVED.union(*(reserved_names(f.name) for f in factors if f.columns > 1))
        reserved = {name for name in self.space if name in taken or name.endswith("_bounds")}
        if reserved:
            fix = "rename the factor: the dataset uses this name itself"
            raise InputError(f"a factor called {min(reserved)!r}", "any other name", fix)
        return Grid(factors, {name: mobility.on(name, factors) for name, mobility in self.flow.mobility.items()})

    def problem(self, energy: Energy | None = None) -> Problem:
        """The case made concrete; energy : one of your own, instead of that in the case."""
        coldest = self.flow.temperature_at(self.time.stop)
        received = f"flow.annealing, by which the temperature is {coldest:.1e} at time.stop"
        held = self.flow.annealing is None or coldest >= NUMBER_MIN
        require(held, received, f"at least {NUMBER_MIN:g}", "give it a floor above 0, or a lower power")
        with within_numbers("the energy"):
            model = self.energy.load(Path(self.directory)) if energy is None else energy
        return Problem(self.grid(), model, self.flow, tuple(self.initial), Path(self.directory))

    @classmethod
    def from_dict(cls, table: dict[str, Any], name: str = "case", directory: str | Path = ".") -> "Case":
        """A case from the tables of a TOML file as a dict, with the same defaults, checks and errors.

        name, directory : of the case, and where its relative paths start. Raises InputError.

        >>> case = gridflow.Case.from_dict(
        ...     {
        ...         "title": "heat on a circle",
        ...         "space": {"x": {"kind": "circle", "cells": 32}},
        ...         "energy": {"kind": "potential"},
        ...         "initial": [{"density": {"x": {"kind": "cosine", "amplitude": 0.8, "wavenumber": 1}}}],
        ...         "flow": {"temperature": 0.2},
        ...         "scheme": {"kind": "finite-volume"},
        ...         "time": {"stop": 0.5, "save": 3},
        ...     }
        ... )
        >>> case.scheme.diffusion  # a default
        'implicit'
        """
        received = f"a case of type {type(table).__name__}"
        require(isinstance(table, dict), received, "a dict of tables", "read files with gridflow.load_case")
        check_hidden(table)
        is_path = isinstance(directory, str | Path) and "\0" not in str(directory)
        require(is_path, f"the directory {directory!r}", "a path", "name the folder where relative paths start")
        return checked_case({**table, "name": name, "directory": str(Path(directory).resolve())})

    def replace(self, changes: dict[str, Any]) -> "Case":
        """A copy with changes such as {"space.a.cells": 128}; every check runs again.

        A table that gets another `kind` keeps what the new kind has too, and takes its defaults (`gridflow.case.changes`). A
        relative path starts at the folder of the case file; for a shipped case, at the current directory.

        >>> case = gridflow.load_case("bn-circle").replace({"space.a.cells": 64, "scheme.kind": "jko", "scheme.tau": 0.02})
        >>> case.scheme.tau, case.resolution()
        (0.02, {'space.a.cells': 64, 'space.angle.cells': 384})

        Raises InputError for a key or a value that a case cannot have.
        """
        check_hidden(changes)
        if self.directory == str(shipped_directory()):
            changes = paths_from_here(changes)
        table = msgspec.to_builtins(self)
        apply_changes(plain(changes), table, Case)  # a copy: changes stay as they are
        return checked_case(table)

    def resolution(self) -> dict[str, int]:
        """By key of the case: the cells of a line or circle, the level of a surface; nothing for labels."""
        keys = {name: spec.resolution_key for name, spec in self.space.items()}
        return {f"space.{name}.{key}": getattr(self.space[name], key) for name, key in keys.items() if key is not None}

    def text(self, without: Collection[str] = ()) -> str:
        """The case as TOML, defaults included, but for the keys `without`."""
        import tomli_w

        table, left_out = msgspec.to_builtins(self), HIDDEN.union(without)
        return tomli_w.dumps({k: without_none(v) for k, v in table.items() if v is not None and k not in left_out})


def tag(spec: Struct) -> str:
    """The kind of a table."""
    return str(spec.__struct_config__.tag)


def without_none(value: Any) -> Any:
    """TOML has no null: a key that is not set is left out."""
    if isinstance(value, dict):
        return {k: without_none(v) for k, v in value.items() if v is not None}
    return [without_none(v) for v in value] if isinstance(value, list) else value


def load_case(case: str | Path) -> Case:
    """The shipped case of a name, or the case of a TOML file by its path.

    >>> gridflow.load_case("bn-circle").source
    'S1 Fig. 1'
    >>> gridflow.load_case("bn-circel")
    Traceback (most recent call last):
        ...
    gridflow.errors.InputError: no case 'bn-circel'
    ...

    Raises InputError that names the key, what was received, what is allowed and how to fix it.
    """
    path = find_case(str(case))
    return Case.from_dict(read_tables(path), path.stem, path.parent)


def check_hidden(table: dict[str, Any]) -> None:
    """Raises InputError for keys of a case that its file does not have."""
    if hidden := HIDDEN & set(table):
        fix = "remove it: a case is named by its file"
        raise InputError(f"unknown key {min(hidden)!r}", "keys that `gridflow show` prints", fix)


def find_case(case: str) -> Path:
    """The file of a shipped case by name, or of any case by path. Raises InputError where there is none."""
    shipped = shipped_cases()
    if case in shipped:
        return shipped[case]
    path = Path(case)
    allowed = f"a shipped case ({', '.join(sorted(shipped))}) or the path of a TOML file"
    require(path.suffix == ".toml", f"no case {case!r}", allowed, suggestion(case, shipped) or "run `gridflow list`")
    return regular_file(path, "the case", BYTES_MAX)


def checked_case(table: dict[str, Any]) -> Case:
    """The case of its tables, name and directory. Raises InputError."""
    table = plain(table)
    try:
        return msgspec.convert(table, Case)
    except msgspec.ValidationError as error:
        raise input_error(str(error), table, Case) from None
