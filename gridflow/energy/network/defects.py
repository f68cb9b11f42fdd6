"""What is left of ρ − ρ* on a grid: modes, conditions, parity, moments, harmonics. `gridflow.energy.network.stationarity` has the
theory.

Each class is set up once for a grid and a teacher. `records` are units and long names of its numbers; `numbers(masses,
evaluation)`, in their order, takes the masses ∫u ρ du of the weight vectors of the cells and the evaluation of the energy there.
Weight vectors are points (n_inner, n_dim) of the cells, neurons (n_neurons, n_dim) of the teacher with weights (n_neurons,).
"""

from collections.abc import Callable
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from gridflow.energy.base import ROUNDOFF, Evaluation, Records
from gridflow.energy.network.teacher import TeacherData
from gridflow.errors import require
from gridflow.space.factor import Array, Factor

SINGULAR_MIN = 1e-7
"""Modes below this share of the largest singular value are not counted: rounding, 1e−16, makes their c_i wrong by 1e−9."""
MODES_BYTES = 2**29
"""The largest matrix of features whose modes are computed; the work holds three of them."""


def check_modes(n_inner: int, n_values: int) -> None:
    """Raises InputError for a feature matrix that is too large to decompose."""
    require(
        n_inner * n_values * 8 <= MODES_BYTES,
        f'energy.stationarity: "modes" on {n_inner} weight vectors × {n_values} data, {n_inner * n_values / 2**27:.1f} GiB',
        f"at most {MODES_BYTES / 2**30:g} GiB",
        'use fewer cells or data, or leave "modes" out of statements',
    )


class Modes:
    """Coefficients c_i = ∫e_i d(ρ − ρ*) and their bounds by the loss; e_i(θ) = Σ_j φ(θ; x_j) √μ_j W_ji/s_i for any θ.

    With output weights u the singular functions on the whole of Θ are u·e_i/‖u‖, singular values and coefficients s_i‖u‖ and
    c_i/‖u‖: the same products.

    features : φ√μ, (n_inner, n_values), of every datum and component of φ; volumes : (n_inner,); target : ∫φ√μ dρ*, (n_values,)
    """

    records: ClassVar[Records] = {
        "determined_modes": ("1", "modes of the feature operator that the loss determines up to the tolerance"),
        "determined_defect": ("1", "largest coefficient of rho - teacher in a determined mode"),
        "undetermined_defect": ("1", "largest coefficient of rho - teacher in any other mode"),
        "mode_ratio_max": ("1", "largest coefficient of rho - teacher over its bound sqrt(2E)/singular value"),
    }

    def __init__(self, features: Array, volumes: Array, target: Array, tolerance: float) -> None:
        triangle = np.linalg.qr(np.sqrt(volumes)[:, None] * features, mode="r")
        _, singular, transposed = np.linalg.svd(triangle)
        kept = singular >= SINGULAR_MIN * singular[0]
        self.singular, self.tolerance = singular[kept], tolerance
        basis = transposed[: singular.size][kept].T / self.singular  # (n_values, n_modes)
        self.functions = features @ basis  # (n_inner, n_modes)
        self.target = target @ basis
        self.floor = ROUNDOFF * float(np.linalg.norm(target))  # of ‖A(ρ − ρ*)‖, where the loss is 0 exactly

    def coefficients(self, masses: Array) -> Array:
        """∫e_i d(ρ − ρ*), (n_modes,), from masses (n_inner,)."""
        return masses @ self.functions - self.target

    def numbers(self, masses: Array, evaluation: Evaluation) -> tuple[float, ...]:
        """(determined modes, largest determined and other coefficient, largest over its bound)."""
        c = np.abs(self.coefficients(masses))
        bound = max(np.sqrt(2 * max(evaluation.value, evaluation.roundoff)), self.floor) / self.singular
        determined = bound <= self.tolerance
        defects = float(c[determined].max(initial=0.0)), float(c[~determined].max(initial=0.0))
        return float(determined.sum()), *defects, float((c / bound).max())


class Condition:
    """The largest component of |∫φ(θ; x) d(ρ − ρ*)| at inputs x, which may lie between the data: S3 (5) and (11).

    predict : masses (n_inner,) → f_ρ(x), (n_inputs, n_outputs); targets : f_{ρ*}(x)
    """

    records: ClassVar[Records] = {
        "condition_defect": ("1", "largest mean feature of rho - teacher, over inputs that may lie between the data")
    }

    def __init__(self, predict: Callable[[Array], Array], targets: Array) -> None:
        self.predict, self.targets = predict, targets

    def numbers(self, masses: Array, _: Evaluation) -> tuple[float, ...]:
        """(largest component,)."""
        return (float(np.abs(self.predict(masses) - self.targets).max()),)


class Parity:
    """Kantorovich norms ∫|F_even|dθ and ∫|F_odd|dθ of the even and the odd part of ρ − ρ*, F their distribution functions.

    With F that of ρ − ρ*, which vanishes at both ends: F_even(t) = (F(t) − F((−t)⁻))/2, F_odd(t) = (F(t) + F((−t)⁻))/2, taken on
    t > 0 and doubled. Between the cell ends, their mirror images and the neurons of the teacher both are linear (for a density of
    the teacher up to second order), and |linear| is integrated exactly.
    """

    records: ClassVar[Records] = {
        "defect_right": ("1", "Kantorovich norm of the part of rho - teacher that vanishes at a stationary state"),
        "defect_wrong": ("1", "Kantorovich norm of the part of rho - teacher of the other parity"),
        "defect_ratio": ("1", "defect_right over defect_wrong"),
    }

    def __init__(self, factor: Factor, teacher: TeacherData, becomes: str) -> None:
        self.edges, self.becomes = factor.edges, becomes
        ends = np.unique(np.abs(np.concatenate([[0.0], factor.edges, [n.direction[0] for n in teacher.neurons]])))
        self.lengths, left, right = np.diff(ends), ends[:-1], ends[1:]
        middle = (left + right) / 2
        self.places = np.stack([left, right, -left, -right])
        self.target = below(teacher, self.places, np.stack([middle, middle, -middle, -middle]))

    def distribution(self, masses: Array) -> Array:
        """F at both ends of every segment, from within it, and of its mirror image, (4, n_segments)."""
        cumulative = np.concatenate([[0.0], np.cumsum(masses)])
        return np.interp(self.places, self.edges, cumulative) - self.target

    def numbers(self, masses: Array, _: Evaluation) -> tuple[float, ...]:
        """(norm of the part that vanishes, of the other part, their ratio)."""
        left, right, mirrored_left, mirrored_right = self.distribution(masses)
        even = self.integral((left - mirrored_left) / 2, (right - mirrored_right) / 2)
        odd = self.integral((left + mirrored_left) / 2, (right + mirrored_right) / 2)
        vanishing, other = (even, odd) if self.becomes == "odd" else (odd, even)
        return vanishing, other, vanishing / other if other > 0 else np.inf

    def integral(self, a: Array, b: Array) -> float:
        """2∫|f| of f linear from a to b on every segment."""
        same = a * b >= 0
        total = np.abs(a) + np.abs(b)
        crossing = (a**2 + b**2) / np.where(total > 0, total, 1.0)
        return float((np.where(same, total, crossing) * self.lengths).sum())


def below(teacher: TeacherData, places: Array, inside: Array) -> Array:
    """ρ*((−∞, t)) at places t; a neuron is below where it is below a point inside of the segment that the place ends."""
    total = np.zeros(places.shape)
    for neuron in teacher.neurons:
        total += float(np.sum(neuron.weight)) * (neuron.direction[0] < inside)
    for component in teacher.densities:
        total += float(np.sum(component.weight)) * component.density[0].below(places)
    return total


class Moment:
    """|∫θ^power d(ρ − ρ*)|."""

    records: ClassVar[Records] = {"moment_defect": ("1", "difference to the teacher in the moment that the loss determines")}

    def __init__(self, points: Array, neurons: Array, weights: Array, power: int) -> None:
        self.values = points[:, 0] ** power
        self.target = float(weights @ neurons[:, 0] ** power)

    def numbers(self, masses: Array, _: Evaluation) -> tuple[float, ...]:
        """(difference of the moments,)."""
        return (abs(float(masses @ self.values) - self.target),)


class Harmonics:
    """Harmonics a_k = ∫|θ|e^{−ik·angle} d(ρ − ρ*), k = 0, …, harmonics, and their bounds (for more data than 2·harmonics)."""

    records: ClassVar[Records] = {
        "visible_defect": ("1", "largest harmonic of the moments of rho - teacher per direction, of those that the ReLU sees"),
        "invisible_defect": ("1", "largest harmonic of the moments of rho - teacher per direction, of odd degree from 3 on"),
        "harmonic_ratio_max": ("1", "largest harmonic of the moments of rho - teacher per direction over its bound by the loss"),
    }

    def __init__(self, points: Array, neurons: Array, weights: Array, harmonics: int, radius: float) -> None:
        self.degrees = np.arange(harmonics + 1)
        self.visible = (self.degrees < 2) | (self.degrees % 2 == 0)
        self.sizes = radius * np.abs(relu_harmonics(self.degrees)) * np.where(self.degrees == 0, 1.0, np.sqrt(2))
        self.waves, self.target = waves(points, self.degrees), weights @ waves(neurons, self.degrees)

    def harmonics(self, masses: Array) -> NDArray[np.complex128]:
        """a_k, (harmonics + 1,), from masses (n_inner,)."""
        return masses @ self.waves - self.target

    def numbers(self, masses: Array, evaluation: Evaluation) -> tuple[float, ...]:
        """(largest visible and invisible harmonic, largest over its bound)."""
        size, root = np.abs(self.harmonics(masses)), np.sqrt(2 * max(evaluation.value, evaluation.roundoff))
        return float(size[self.visible].max()), float(size[~self.visible].max()), float((size * self.sizes).max() / root)


def relu_harmonics(degrees: NDArray[np.int64]) -> Array:
    """κ_k of max(cos t, 0) = Σ_k κ_k e^{ikt}, k ≥ 0."""
    even = degrees % 2 == 0
    values = np.where(even, -np.cos(np.pi * degrees / 2) / (np.pi * np.where(even, degrees**2 - 1.0, 1.0)), 0.0)
    return np.where(degrees == 1, 0.25, values)


def waves(points: Array, degrees: NDArray[np.int64]) -> NDArray[np.complex128]:
    """|θ|e^{−ik·angle}, (n, n_degrees), of points in the plane."""
    z = points[:, 0] + 1j * points[:, 1]
    return np.abs(z)[:, None] * np.exp(-1j * np.angle(z)[:, None] * degrees)
