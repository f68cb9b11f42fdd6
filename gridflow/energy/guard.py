"""Between the energies that users write and all that takes them: what they return is looked at, and copied.

Everything that `evaluate` returns must have the types and shapes that `gridflow.energy.base` states. A fault in the first
evaluation is wrong input; in a later one the run cannot go on. Arrays are copied, so that an energy may return one that it keeps
and changes later. Energies of gridflow pass as they are.
"""

from collections.abc import Callable, Mapping
from numbers import Real
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gridflow.energy.base import (
    BoundEnergy,
    Energy,
    Evaluation,
    Moments,
    ParticleEnergy,
    ParticleEvaluation,
    Variation,
)
from gridflow.energy.own import class_name, is_shipped
from gridflow.errors import InputError, SolveError
from gridflow.space.factor import Array, Factor
from gridflow.space.grid import Grid


class Fault(NamedTuple):
    """What is wrong, as the three parts of an InputError."""

    received: str
    allowed: str
    fix: str


Shape = tuple[int | None, ...]
"""None for a length that may be any."""


# ---------------------------------------------------------------------------------------------------------- what is sound
def stated(value: Any) -> str:
    """What a value is, in words: for messages."""
    if isinstance(value, np.ndarray):
        return f"an array of {value.dtype} of shape {value.shape}"
    kind = type(value).__name__
    return f"{value!r}" if value is None or isinstance(value, int | float | complex) else f"an object of type {kind}"


def number(what: str, value: Any) -> tuple[float, Fault | None]:
    """A real number, as float; arrays without axes count as numbers."""
    inside = value[()] if isinstance(value, np.ndarray) and value.ndim == 0 else value
    if isinstance(inside, Real):
        return float(inside), None
    fix = "take its one element" if isinstance(value, np.ndarray) and value.size == 1 else f"return float({what.split()[-1]})"
    return np.nan, Fault(f"{what}: {stated(value)}", "a real number", fix)


def array(what: str, value: Any, shape: Shape, means: str) -> tuple[Array, Fault | None]:
    """A copy of a float64 array of a shape; `means` says what the shape is."""
    allowed = f"a float64 array of shape {shape} ({means})".replace("None", "any")
    if not isinstance(value, np.ndarray):
        fix = "return it at the end of evaluate" if value is None else "return np.asarray(…, dtype=float)"
        return np.zeros(0), Fault(f"{what}: {stated(value)}", allowed, fix)
    if value.dtype != np.float64:
        real = value.dtype.kind in "biuf"
        fix = "compute in float64, or return .astype(float) of it" if real else "return its real part, if that is what is meant"
        return np.zeros(0), Fault(f"{what}: {stated(value)}", allowed, fix)
    fits = value.ndim == len(shape) and all(n is None or n == m for n, m in zip(shape, value.shape, strict=True))
    if not fits:
        return np.zeros(0), Fault(f"{what}: {stated(value)}", allowed, "multiply by np.ones of that shape, or reshape it")
    return np.array(value, order="C"), None


def optional(what: str, value: Any, shape: Shape, means: str) -> tuple[Array | None, Fault | None]:
    """The same where None is allowed."""
    return (None, None) if value is None else array(what, value, shape, means)


def first_fault(label: str, *faults: Fault | None) -> Fault | None:
    """The first fault, with the name of the energy before it."""
    found = next((fault for fault in faults if fault is not None), None)
    return None if found is None else Fault(f"{label}: {found.received}", found.allowed, found.fix)


def wrong_kind(label: str, found: Any, kind: type) -> Fault | None:
    """The fault of something else than an evaluation."""
    if isinstance(found, kind):
        return None
    return Fault(f"{label}: evaluate returned {stated(found)}", f"a {class_name(kind)}", f"return {kind.__name__}(value, …)")


def sound_evaluation(label: str, found: Any, shape: tuple[int, ...], outputs: Shape) -> tuple[Evaluation | None, Fault | None]:
    """A copy of an evaluation on a grid, or its first fault; outputs : (n_data, n_outputs)."""
    if fault := wrong_kind(label, found, Evaluation):
        return None, fault
    value, no_value = number("value", found.value)
    roundoff, no_roundoff = number("roundoff", found.roundoff)
    if no_roundoff is None and not (roundoff >= 0 or np.isnan(value)):  # what is not finite is said of the value
        no_roundoff = Fault(f"roundoff: {roundoff}", "a number ≥ 0", "return ROUNDOFF times the sum of the sizes of all terms")
    xi, no_xi = array("first_variation", found.first_variation, shape, "that of the grid")
    drive, no_drive = optional("drive", found.drive, shape, "that of the grid")
    spread, no_spread = optional("diffusivity", found.diffusivity, (None,), "faces of the only factor")
    prediction, no_prediction = optional("prediction", found.prediction, outputs, "n_data, n_outputs")
    fault = first_fault(label, no_value, no_roundoff, no_xi, no_drive, no_spread, no_prediction)
    return Evaluation(value, xi, roundoff, prediction, drive, spread), fault


def sound_at_particles(label: str, found: Any, shape: tuple[int, ...]) -> tuple[ParticleEvaluation | None, Fault | None]:
    """A copy of an evaluation at particles, or its first fault; shape : (n_particles, n_columns)."""
    if fault := wrong_kind(label, found, ParticleEvaluation):
        return None, fault
    value, no_value = number("value", found.value)
    gradient, no_gradient = array("gradient", found.gradient, shape, "that of the points")
    drive, no_drive = optional("drive", found.drive, shape, "that of the points")
    xi, no_xi = optional("first_variation", found.first_variation, shape[:1], "that of the weights")
    prediction, no_prediction = optional("prediction", found.prediction, (None, None), "n_data, n_outputs")
    fault = first_fault(label, no_value, no_gradient, no_drive, no_xi, no_prediction)
    return ParticleEvaluation(value, gradient, prediction, xi, drive), fault


class Gate:
    """Raises the faults of one energy: InputError for the first evaluation, SolveError for later ones."""

    def __init__(self, label: str) -> None:
        self.label, self.passed = label, False

    def check(self, fault: Fault | None) -> None:
        """Raises for a fault."""
        if fault is not None:
            raise SolveError(f"{fault.received}; allowed: {fault.allowed}") if self.passed else InputError(*fault)

    def check_unchanged(self, *pairs: tuple[Array, Array]) -> None:
        """Raises InputError where an evaluation has changed what it was given; pairs : (before, now)."""
        if not all(np.array_equal(before, now, equal_nan=True) for before, now in pairs):
            received = f"{self.label}: evaluate changes the arrays that it is given"
            raise InputError(received, "arrays that stay as they are", "work on a copy")


# ----------------------------------------------------------------------------------------------------------- the guards
class GuardedBound(BoundEnergy):
    """An energy of one's own on a grid, whose evaluations are looked at and copied; inner : the energy itself."""

    def __init__(self, inner: BoundEnergy, grid: Grid) -> None:
        self.inner, self.shape, self.gate = inner, grid.shape, Gate(type(inner).__qualname__)
        for name in BoundEnergy.__annotations__:
            setattr(self, name, getattr(inner, name))
        self.outputs: Shape = (None, None) if self.data is None else self.data.targets.shape

    def evaluate(self, mass: Array) -> Evaluation:
        return self.sound(self.inner.evaluate, mass)

    def evaluate_density(self, density: Array, volume: Array) -> Evaluation:
        return self.sound(self.inner.evaluate_density, density, volume)

    def sound(self, evaluate: Callable[..., Evaluation], *given: Array) -> Evaluation:
        """A copy of what an evaluation of the given arrays returns, looked at."""
        before = () if self.gate.passed else tuple(array.copy() for array in given)
        evaluation, fault = sound_evaluation(self.gate.label, evaluate(*given), self.shape, self.outputs)
        self.gate.check(fault)
        self.gate.check_unchanged(*zip(before, given, strict=False))
        self.gate.passed = True
        assert evaluation is not None
        return evaluation

    def diagnose(self, density: Array, evaluation: Evaluation) -> dict[str, float]:
        numbers = {name: number(f"the diagnostic {name}", n) for name, n in self.inner.diagnose(density, evaluation).items()}
        for _, fault in numbers.values():
            self.gate.check(first_fault(self.gate.label, fault))
        return {name: n for name, (n, _) in numbers.items()}

    def predict(self, mass: Array) -> Array | None:
        prediction, fault = optional("prediction", self.inner.predict(mass), self.outputs, "n_data, n_outputs")
        self.gate.check(first_fault(self.gate.label, fault))
        return prediction

    def predict_at(self, inputs: Array, mass: Array) -> Array | None:
        return self.inner.predict_at(inputs, mass)

    def check_start(self, masses: Array) -> None:
        self.inner.check_start(masses)

    def smooth_variation(self, level: float) -> Variation:
        return self.inner.smooth_variation(level)

    def displacement_moments(self, level: float) -> Moments:
        return self.inner.displacement_moments(level)


class GuardedParticles(ParticleEnergy):
    """An energy of one's own for particles, whose evaluations are looked at and copied; inner : the energy itself."""

    def __init__(self, inner: ParticleEnergy) -> None:
        self.inner, self.gate = inner, Gate(type(inner).__qualname__)
        for name in ParticleEnergy.__annotations__:
            setattr(self, name, getattr(inner, name))

    def evaluate(self, points: Array, weights: Array, batch: NDArray[np.int64] | None = None) -> ParticleEvaluation:
        before = None if self.gate.passed else (points.copy(), weights.copy())
        evaluation, fault = sound_at_particles(self.gate.label, self.inner.evaluate(points, weights, batch), points.shape)
        self.gate.check(fault)
        if before is not None:
            self.gate.check_unchanged((before[0], points), (before[1], weights))
        self.gate.passed = True
        assert evaluation is not None
        return evaluation

    def check_start(self, points: Array, weights: Array) -> None:
        self.inner.check_start(points, weights)

    def refined(self) -> ParticleEnergy:
        finer = of_class(self.inner.refined(), ParticleEnergy)
        return self if finer is self.inner else guarded_particles(finer)

    def extend(self, reach: float) -> ParticleEnergy:
        return guarded_particles(self.inner.extend(reach))

    def gradient_at(self, places: Array, points: Array, weights: Array) -> Array:
        found, fault = array("gradient_at", self.inner.gradient_at(places, points, weights), places.shape, "that of the places")
        self.gate.check(first_fault(self.gate.label, fault))
        return found


def guarded_particles(particles: ParticleEnergy) -> ParticleEnergy:
    """The energy itself where it is part of gridflow, else behind a guard."""
    return particles if is_shipped(type(particles)) else GuardedParticles(particles)


def of_class(offered: Any, base: type) -> Any:
    """The object itself. Raises InputError for one that does not derive from the base class."""
    if not isinstance(offered, base):
        name = class_name(base)
        if isinstance(offered, type):
            raise InputError(f"the class {offered.__name__} itself as an energy", f"a {name}", "pass an instance of it")
        received = f"an object of the class {type(offered).__name__} as an energy"
        raise InputError(received, f"a {name}", f"let the class derive from {name}")
    return offered


def bound_to(grid: Grid, energy: Energy) -> BoundEnergy:
    """An energy bound to a grid. Raises InputError for objects that do not derive from the base classes."""
    bound: BoundEnergy = of_class(of_class(energy, Energy).bind(grid), BoundEnergy)
    if not isinstance(bound.diagnostics, Mapping):
        received = f"diagnostics of type {type(bound.diagnostics).__name__}"
        raise InputError(received, "{name: (units, long name)}", "declare units and a long name of every number")
    return bound if is_shipped(type(bound)) else GuardedBound(bound, grid)


def particles_of(energy: Energy, factors: tuple[Factor, ...]) -> ParticleEnergy:
    """An energy for particles. Raises InputError for objects that do not derive from the base classes."""
    return guarded_particles(of_class(of_class(energy, Energy).particles(factors), ParticleEnergy))
