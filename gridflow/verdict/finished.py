"""Finished runs of a verdict, kept until it is written, so that a validation that was interrupted can go on.

The folder NAME-validation.kept beside the output holds a file for every finished run on a grid or of particles. Its name has a
hash of all that determines the numbers of the run:

    the package     the sources of gridflow and the versions of the numerical packages
    the energy      its numbers at the start of the case, on the grid and at particles, which depend on every file that the case
                    names; of an energy of one's own also the class, the hash of its source and its instance
    the run         the case without what is said about it and what judges it; of particles their number, seed, sampling,
                    integrator and times; how sums over pairs are computed

A run with the same hash is read instead of made. No seed depends on which runs those are, so that the verdict is the same to the
last bit, with the seconds that were measured when a run was made. A file that is damaged, or of anything else, is not used.

While a run lasts it has files of its own beside that place, NAME.run.…, from which it goes on.
"""

import json
import pickle
import warnings
from collections.abc import Callable, Mapping
from contextlib import suppress
from contextvars import copy_context
from dataclasses import dataclass
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

import gridflow
from gridflow.case.case import Case
from gridflow.energy.own import NO_SOURCE, identity_of, is_own, is_shipped, name_of, parts_of
from gridflow.energy.sum import bound_parts
from gridflow.output.kept import UnreadableError, read_kept, write_kept
from gridflow.particles.cloud import draw_cloud
from gridflow.particles.simulation import Simulator
from gridflow.problem import Problem
from gridflow.space.factor import Array
from gridflow.sums.choice import CURRENT, Use, chosen_engine, precision, record, reductions
from gridflow.verdict.output import ENDING

Result = TypeVar("Result")
Parts = tuple[dict[str, Array], dict[str, Any]]
"""Arrays by name, and numbers that JSON can hold: all that is left of a finished run."""
PACKAGES = ("numpy", "scipy", "numba")
CLOUD = 128
"""Particles at which an energy is known by its numbers, or as many as there are labels, each of which may need its mass."""
ABOUT: dict[str, Any] = {
    "title": "",
    "source": "",
    "description": "",
    "seconds": 0.0,
    "exact": None,
    "validation": {},
    "particles": None,
}
"""Keys of a case that no run on a grid depends on, and how they are left out."""


@dataclass(frozen=True)
class Finished:
    """folder : where finished runs are kept, or None for nowhere; common : what determines all of them."""

    folder: Path | None = None
    common: str = ""

    def parts(self, label: str, determined_by: Mapping[str, Any], make: Callable[[Path | None], Parts]) -> Parts:
        """The parts of a run: read where it is kept, else made and kept. They are the same bit by bit, in one memory layout.

        make : given the start of the names of files from which the run may go on, or None where it keeps none
        """
        if self.folder is None:
            return plain_parts(*make(None))
        key = digest(self.common, label, determined_by)
        path = self.folder / f"{label}-{key[:16]}{ENDING}"
        found = kept_parts(path, key)
        if found is not None:
            return found
        self.folder.mkdir(exist_ok=True)
        try:
            with reductions(CURRENT.get().chosen) as use:
                arrays, numbers = plain_parts(*make(path))
        except BaseException:
            with suppress(OSError):  # there is something to go on from
                self.folder.rmdir()
            raise
        write_kept(path, arrays, {"key": key, "reductions": sorted(use.used), "numbers": numbers})
        for left in self.folder.glob(f"{path.name}.*"):
            left.unlink()
        return arrays, numbers

    def of_particles(self, simulator: Simulator) -> "Finished":
        """Runs of particles, which depend on the energy at particles too: its numbers at a cloud of the start count."""
        if self.folder is None:
            return self
        count = max([CLOUD, *(f.size for f in simulator.factors if not f.moves)])
        cloud = draw_cloud(simulator.initial, simulator.factors, count, 0, "random", simulator.energy.strata)
        simulator.energy.check_start(cloud.points, cloud.weights)
        with np.errstate(over="ignore", invalid="ignore"):
            at = unrecorded(lambda: simulator.energy.evaluate(cloud.points, cloud.weights))
        numbers = digest_of_arrays(cloud.points, at.value, at.gradient, at.first_variation, at.drive, at.prediction)
        return Finished(self.folder, digest(self.common, numbers))


NOT_KEPT = Finished()


def kept_parts(path: Path, key: str) -> Parts | None:
    """The parts in a file; None where there is none, or it is damaged or of another run."""
    try:
        arrays, kept = read_kept(path)
    except UnreadableError:
        return None
    if kept.get("key") != key:
        return None
    for words in kept["reductions"]:
        record(words)
    return arrays, kept["numbers"]


def plain_parts(arrays: dict[str, Array], numbers: dict[str, Any]) -> Parts:
    """What reading the file of these parts gives: sums depend on the layout of arrays in memory."""
    return {name: np.asarray(a, order="C") for name, a in arrays.items()}, json.loads(json.dumps(numbers))


def finished_runs(problem: Problem, folder: Path | None) -> Finished:
    """The finished runs of a problem in a folder: those on grids, of which `of_particles` makes those of particles.

    An energy of one's own that cannot be identified has none, and a warning says so.
    """
    if folder is None:
        return NOT_KEPT
    identity = identity_of_energy(problem)
    if identity is None:
        doubt = f"finished runs are not kept: {name_of(problem.energy)} cannot be identified in a later session"
        warnings.warn(f"{doubt}; define its class in a file, with attributes that can be pickled", stacklevel=2)
        return NOT_KEPT
    sources = [path.read_bytes() for path in sorted(Path(gridflow.__file__).parent.rglob("*.py"))]
    packages = [gridflow.__version__, *(version(name) for name in PACKAGES)]
    at = unrecorded(lambda: problem.bound.evaluate(problem.start))
    numbers = digest_of_arrays(problem.start, at.value, at.first_variation, at.drive, at.prediction)
    return Finished(folder, digest(packages, digest(*sources), identity, chosen_engine(), precision(), numbers))


def identity_of_energy(problem: Problem) -> list[str] | None:
    """Class, source and instance of an energy of one's own; nothing for those of gridflow, None where something is unknown."""
    if not is_own(problem.energy):
        return []
    identity = identity_of(problem.energy, bound_parts(problem.bound))
    if identity["energy_source"] == NO_SOURCE:
        return None
    try:
        instance = pickle.dumps([vars(part) for part in parts_of(problem.energy) if not is_shipped(type(part))])
    except (pickle.PicklingError, AttributeError, TypeError):  # functions without a name, open files
        return None
    return [*identity.values(), digest(instance)]


def unrecorded(evaluate: Callable[[], Result]) -> Result:
    """An evaluation that is no part of the verdict: how it sums over pairs is not written down as if it were."""
    context = copy_context()
    context.run(CURRENT.set, Use(CURRENT.get().chosen))
    return context.run(evaluate)


def digest_of_arrays(*arrays: Array | float | None) -> str:
    """A digest of numbers, some of which there are not."""
    return digest(*(None if a is None else np.ascontiguousarray(a).tobytes() for a in arrays))


def determining_text(case: Case, *without: str) -> str:
    """The case without what no run on a grid depends on, and without further keys."""
    return case.text(without={*ABOUT, *without})


def digest(*parts: Any) -> str:
    """SHA-256 of bytes, and of what JSON can hold."""
    found = sha256()
    for part in parts:
        data = part if isinstance(part, bytes) else json.dumps(part, sort_keys=True).encode()
        found.update(f"{len(data)}:".encode())
        found.update(data)
    return found.hexdigest()
