"""How much of the teacher a student has found: what S3 says of stationary states, as numbers at every save.

A stationary ρ > 0 has zero loss and ∫σ(x·θ)(ρ − ρ*)dθ = 0 for all x (S3 Theorem 2; with trained weights w, Theorem 5, for the
signed measure ∫w ρ dw in place of ρ). At a finite loss E = ½‖A(ρ − ρ*)‖² only some of that holds. Here η = ρ − ρ*, and A is the
feature operator from L²(Θ, dV) to L²(μ), (Aη)_j = √μ_j ∫φ(θ; x_j)dη = Σ_i s_i u_ij ∫e_i dη.

modes       The coefficient c_i = ∫e_i dη of the mode e_i (singular functions, of norm 1 in L²(Θ)) obeys Σ s_i²c_i² ≤ 2E, hence
            |c_i| ≤ √(2E)/s_i. Modes with s_i ≥ √(2E)/tolerance are determined: |c_i| ≤ tolerance.
parity      S3 Example 2, d = 1. Gaussian and softplus: η becomes odd; tanh, arctan, sigmoid: η becomes even. `defect_right` is
            the Kantorovich norm ∫|∫^t| of the part that must vanish, `defect_wrong` that of the other part.
moment      Softplus: ∫θ dη = 0 as well. Identity: this alone. Quadratic: ∫θ² dη = 0 alone; S3 says that η is odd, which suffices
            but does not follow.
directions  S3 Examples 1 and 3, d = 2, ReLU: harmonics a_k = ∫|θ|e^{−ik·angle} dη of the moments ∫|θ|^d η d|θ| per direction.
            max(cos t, 0) = Σ_k κ_k e^{ikt} with κ_0 = 1/π, κ_±1 = 1/4, κ_k = (−1)^{k/2+1}/(π(k² − 1)) for even k, and 0 for odd
            k from 3 on: those of η are invisible and nothing drives them to 0. (S3 takes the null space to be trivial.) With μ
            uniform on a circle of radius r, 2E = r²Σ_k κ_k²|a_k|², hence |a_0| ≤ √(2E)/(rκ_0), |a_k| ≤ √(2E)/(√2 r|κ_k|).

ρ on a grid is a sum of point masses at the cell points, whose loss that of the grid is; in `parity` it is constant in each cell.
ρ* is never put on cells: its neurons, or the nodes of its densities, count where they are.
"""

from dataclasses import dataclass
from functools import reduce
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from msgspec import Meta, Struct
from numpy.typing import NDArray

from gridflow.energy.activation import ACTIVATIONS
from gridflow.energy.base import Evaluation
from gridflow.energy.measures import CircleInputs
from gridflow.energy.teacher import check_inside
from gridflow.errors import InputError
from gridflow.space.factor import Array, Factor
from gridflow.space.grid import Grid

if TYPE_CHECKING:
    from gridflow.energy.data import Data, TeacherData
    from gridflow.energy.network import Network

Statement = Literal["modes", "parity", "moment", "directions"]
PARITY = {"gaussian": "odd", "softplus": "odd", "tanh": "even", "arctan": "even", "sigmoid": "even"}
"""What ρ − ρ* becomes (S3 Example 2)."""
MOMENT = {"quadratic": 2, "softplus": 1, "identity": 1}
"""The moment of ρ − ρ* that vanishes."""
SINGULAR_MIN = 1e-7
"""Modes below this share of the largest singular value are not counted: rounding, 1e−16, makes their c_i wrong by 1e−9."""
MODES_BYTES = 2**29
"""The largest matrix of features whose modes are computed; the work holds three of them."""


class Stationarity(Struct, frozen=True, forbid_unknown_fields=True):
    """What to tell at every save of a network with a teacher.

    statements : see the module; tolerance : coefficients at most so large call a mode determined; harmonics : the largest degree
    in `directions`
    """

    statements: Annotated[list[Statement], Meta(min_length=1)]
    tolerance: Annotated[float, Meta(gt=0.0)] = 0.05
    harmonics: Annotated[int, Meta(ge=3, le=64)] = 8

    def bind(self, spec: "Network", data: "Data", grid: Grid) -> "BoundStationarity":
        """Raises InputError for a network or a teacher of which S3 says nothing."""
        teacher = check_network(spec)
        by_name = {f.name: f for f in grid.factors}
        factors = [by_name[name] for name in spec.branches[0].weights]
        if any(f.kind != "interval" for f in factors):
            raise refused(f"weights on {', '.join(f'the {f.kind} {f.name!r}' for f in factors)}", "weights on intervals")
        check_inside(np.array([n.direction for n in teacher.neurons]).reshape(-1, len(factors)), teacher.densities, factors)
        check_mass(spec, teacher, grid)
        for statement in self.statements:
            check_statement(statement, spec, teacher.inputs, len(factors))
        if "directions" in self.statements and len(data.inputs) <= 2 * self.harmonics:
            raise refused(
                f"{self.harmonics} harmonics of {len(data.inputs)} inputs", "more than twice as many inputs", "raise inputs.count"
            )
        return BoundStationarity(self, spec, teacher, data, grid)


# ---------------------------------------------------------------------------------------------------------- bad input
def refused(received: str, allowed: str, fix: str = "remove energy.stationarity, or change the case") -> InputError:
    return InputError(f"energy.stationarity for {received}", allowed, fix)


def check_network(spec: "Network") -> "TeacherData":
    """The teacher of a network as S3 has it."""
    from gridflow.energy.data import TeacherData

    if not isinstance(spec.data, TeacherData):
        raise refused("data without a teacher", 'energy.data with kind = "teacher"')
    if spec.loss != "squared" or spec.decay > 0 or spec.bias or spec.normalization or spec.data.normalization:
        raise refused("another loss, weight decay, a bias or batch normalisation", "the squared loss and σ(x·θ) alone")
    if spec.data.activation not in (None, spec.activation):
        raise refused(f"a {spec.activation} student of a {spec.data.activation} teacher", "one activation for both")
    if len(spec.branches) != 1 or len(spec.branches[0].outputs) != 1 or spec.branches[0].scale != 1.0:
        raise refused("several branches or outputs, or a scale", "one branch with one output")
    return spec.data


def check_mass(spec: "Network", teacher: "TeacherData", grid: Grid) -> None:
    """Whether a probability on Θ can be the teacher."""
    weights = np.array([float(np.sum(w)) for w in teacher.weights()])
    names = spec.branches[0].outputs[0]
    if not names:
        if (weights <= 0).any() or abs(weights.sum() - 1) > 1e-9:
            raise refused(
                f"a teacher with the weights {weights.tolist()}",
                "weights > 0 with the sum 1: the student is a probability, without output weights",
                "divide the weights by their sum",
            )
        return
    values = np.ones(1)
    for factor in (f for f in grid.factors if f.name in names):
        ends = factor.edges[[0, -1]] if factor.is_line else factor.points
        values = np.outer(values, ends).ravel()
    lower, upper = float(values.min()), float(values.max())
    mass = needed(weights[weights > 0].sum(), upper) + needed(-weights[weights < 0].sum(), -lower)
    if not (mass <= 1 and lower <= weights.sum() <= upper):
        raise refused(
            f"a teacher with the weights {weights.tolist()}, outside of Θ",
            f"means of output weights between {lower:g} and {upper:g}",
            f"widen the bounds of {', '.join(names)}, or make the weights smaller",
        )


def needed(total: float, largest: float) -> float:
    """The least mass whose output weights, at most `largest`, add up to `total`."""
    return 0.0 if total == 0 else total / largest if largest > 0 else np.inf


def check_statement(statement: str, spec: "Network", inputs: Any, dim: int) -> None:
    sigma, weighted = spec.activation, bool(spec.branches[0].outputs[0])
    if statement == "parity" and (dim != 1 or sigma not in PARITY or weighted):
        raise refused(
            f'"parity" with σ = {sigma}, {dim} inputs{" and trained weights" if weighted else ""}',
            f"one input, no output weight, σ one of {', '.join(PARITY)} (S3 Example 2; the quadratic σ tells a moment alone)",
            'leave "parity" out of statements',
        )
    if statement == "moment" and (dim != 1 or sigma not in MOMENT):
        raise refused(
            f'"moment" with σ = {sigma}, {dim} inputs', f"one input, σ one of {', '.join(MOMENT)}",
            'leave "moment" out of statements',
        )  # fmt: skip
    if statement == "directions" and not (isinstance(inputs, CircleInputs) and sigma == "relu"):
        raise refused(
            f'"directions" with σ = {sigma}, inputs of kind {inputs.__struct_config__.tag!r}',
            'σ = relu (S3 Examples 1 and 3) and inputs = { kind = "circle", … }',
            'leave "directions" out of statements',
        )  # fmt: skip


# ---------------------------------------------------------------------------------------------------------- the numbers
class BoundStationarity:
    """The statements of a case on a grid; the network depends on ρ through the measure ∫u ρ du on the weight vectors alone."""

    def __init__(self, spec: Stationarity, network: "Network", teacher: "TeacherData", data: "Data", grid: Grid) -> None:
        from gridflow.energy.network import output_weights

        branch = network.branches[0]
        self.volume = grid.volume
        self.split = grid.split(tuple(n for n in grid.order if n not in branch.weights))
        outer = grid.flat_coordinates(self.split.outer)
        self.outer = output_weights(branch.outputs, branch.scale, outer, self.split.n_outer).T
        inner = grid.flat_coordinates(self.split.inner)
        measure = teacher.teacher()
        setting = Setting(
            points=np.stack([inner[name] for name in branch.weights], axis=1),
            volumes=reduce(np.multiply.outer, [grid.factors[k].volumes for k in self.split.inner]).ravel(),
            neurons=measure.points,
            weights=measure.weights[:, 0],
            factors=tuple(next(f for f in grid.factors if f.name == name) for name in branch.weights),
        )
        parts: dict[str, Any] = {
            "modes": lambda: Modes(setting, data, network.activation, spec.tolerance),
            "parity": lambda: Parity(setting.factors[0], teacher, PARITY[network.activation]),
            "moment": lambda: Moment(setting, MOMENT[network.activation]),
            "directions": lambda: Directions(setting, spec.harmonics, float(np.linalg.norm(data.inputs[0]))),
        }
        self.parts = [parts[statement]() for statement in dict.fromkeys(spec.statements)]
        self.names = tuple(name for part in self.parts for name in part.names)

    def weighted(self, mass: Array) -> Array:
        """∫u ρ du, (n_inner,), from cell masses in storage order."""
        return self.split.contract(self.outer, mass)[0]

    def diagnose(self, density: Array, evaluation: Evaluation) -> dict[str, float]:
        """The numbers by name, for a density in storage order and its evaluation."""
        masses = self.weighted(density * self.volume)
        numbers = [part.numbers(masses, evaluation) for part in self.parts]
        return {name: value for part in numbers for name, value in part.items()}


@dataclass(frozen=True, eq=False)
class Setting:
    """Of the weight vectors points (n_inner, n_dim), volumes (n_inner,) and factors in the order of the inputs; of the teacher
    neurons (n_neurons, n_dim) and weights (n_neurons,)."""

    points: Array
    volumes: Array
    neurons: Array
    weights: Array
    factors: tuple[Factor, ...]


class Modes:
    """Coefficients c_i = ∫e_i d(ρ − ρ*) and what the loss says of them; e_i(θ) = Σ_j σ(θ·x_j) √μ_j W_ji/s_i for any θ.

    With output weights u the singular functions on the whole of Θ are u·e_i/‖u‖, singular values and coefficients s_i‖u‖ and
    c_i/‖u‖: the same products.
    """

    names = ("determined_modes", "determined_defect", "undetermined_defect", "mode_ratio_max")

    def __init__(self, setting: Setting, data: "Data", activation: str, tolerance: float) -> None:
        size = len(setting.points) * len(data.inputs) * 8
        if size > MODES_BYTES:
            raise refused(
                f'"modes" on {len(setting.points)} weight vectors × {len(data.inputs)} data, {size / 2**30:.1f} GiB',
                f"at most {MODES_BYTES / 2**30:g} GiB",
                'use fewer cells or data, or leave "modes" out of statements',
            )
        sigma, root = ACTIVATIONS[activation].value, np.sqrt(data.weights)
        features = sigma(setting.points @ data.inputs.T) * root  # (n_inner, n_data)
        triangle = np.linalg.qr(np.sqrt(setting.volumes)[:, None] * features, mode="r")
        _, singular, transposed = np.linalg.svd(triangle)
        kept = singular >= SINGULAR_MIN * singular[0]
        self.singular, self.tolerance = singular[kept], tolerance
        directions = transposed[: singular.size][kept].T / self.singular  # (n_data, n_modes)
        self.functions = features @ directions  # (n_inner, n_modes)
        self.wanted = setting.weights @ (sigma(setting.neurons @ data.inputs.T) * root) @ directions

    def coefficients(self, masses: Array) -> Array:
        """∫e_i d(ρ − ρ*), (n_modes,), from masses (n_inner,)."""
        return masses @ self.functions - self.wanted

    def numbers(self, masses: Array, evaluation: Evaluation) -> dict[str, float]:
        c = np.abs(self.coefficients(masses))
        bound = np.sqrt(2 * max(evaluation.value, evaluation.roundoff)) / self.singular
        determined = bound <= self.tolerance
        return {
            "determined_modes": float(determined.sum()),
            "determined_defect": float(c[determined].max(initial=0.0)),
            "undetermined_defect": float(c[~determined].max(initial=0.0)),
            "mode_ratio_max": float((c / bound).max()),
        }


class Parity:
    """Kantorovich norms ∫|F_even|dθ and ∫|F_odd|dθ of the even and the odd part of ρ − ρ*, F their distribution functions.

    With F that of ρ − ρ*, which vanishes at both ends: F_even(t) = (F(t) − F((−t)⁻))/2, F_odd(t) = (F(t) + F((−t)⁻))/2, taken on
    t > 0 and doubled. Between the cell ends, their mirror images and the neurons of the teacher both are linear (for a density of
    the teacher up to second order), and |linear| is integrated exactly.
    """

    names = ("defect_right", "defect_wrong", "defect_ratio")

    def __init__(self, factor: Factor, teacher: "TeacherData", becomes: str) -> None:
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

    def numbers(self, masses: Array, _: Evaluation) -> dict[str, float]:
        left, right, mirrored_left, mirrored_right = self.distribution(masses)
        even = self.integral((left - mirrored_left) / 2, (right - mirrored_right) / 2)
        odd = self.integral((left + mirrored_left) / 2, (right + mirrored_right) / 2)
        vanishing, other = (even, odd) if self.becomes == "odd" else (odd, even)
        ratio = vanishing / other if other > 0 else np.inf
        return {"defect_right": vanishing, "defect_wrong": other, "defect_ratio": ratio}

    def integral(self, a: Array, b: Array) -> float:
        """2∫|f| of f linear from a to b on every segment."""
        same = a * b >= 0
        total = np.abs(a) + np.abs(b)
        crossing = (a**2 + b**2) / np.where(total > 0, total, 1.0)
        return float((np.where(same, total, crossing) * self.lengths).sum())


def below(teacher: "TeacherData", places: Array, inside: Array) -> Array:
    """ρ*((−∞, t)) at places t; whether a neuron is below is told by a point inside of the segment that the place ends."""
    total = np.zeros(places.shape)
    for neuron in teacher.neurons:
        total += float(np.sum(neuron.weight)) * (neuron.direction[0] < inside)
    for component in teacher.densities:
        total += float(np.sum(component.weight)) * component.density[0].below(places)
    return total


class Moment:
    """|∫θ^power d(ρ − ρ*)|."""

    names = ("moment_defect",)

    def __init__(self, setting: Setting, power: int) -> None:
        self.values = setting.points[:, 0] ** power
        self.wanted = float(setting.weights @ setting.neurons[:, 0] ** power)

    def numbers(self, masses: Array, _: Evaluation) -> dict[str, float]:
        return {"moment_defect": abs(float(masses @ self.values) - self.wanted)}


class Directions:
    """Harmonics a_k = ∫|θ|e^{−ik·angle} d(ρ − ρ*), k = 0, …, harmonics, and their bounds (for more data than 2·harmonics)."""

    names = ("visible_defect", "invisible_defect", "harmonic_ratio_max")

    def __init__(self, setting: Setting, harmonics: int, radius: float) -> None:
        self.degrees = np.arange(harmonics + 1)
        self.visible = (self.degrees < 2) | (self.degrees % 2 == 0)
        self.sizes = radius * np.abs(relu_harmonics(self.degrees)) * np.where(self.degrees == 0, 1.0, np.sqrt(2))
        self.waves = waves(setting.points, self.degrees)
        self.wanted = setting.weights @ waves(setting.neurons, self.degrees)

    def harmonics(self, masses: Array) -> NDArray[np.complex128]:
        """a_k, (harmonics + 1,), from masses (n_inner,)."""
        return masses @ self.waves - self.wanted

    def numbers(self, masses: Array, evaluation: Evaluation) -> dict[str, float]:
        size, root = np.abs(self.harmonics(masses)), np.sqrt(2 * max(evaluation.value, evaluation.roundoff))
        return {
            "visible_defect": float(size[self.visible].max()),
            "invisible_defect": float(size[~self.visible].max()),
            "harmonic_ratio_max": float((size * self.sizes).max() / root),
        }


def relu_harmonics(degrees: NDArray[np.int64]) -> Array:
    """κ_k of max(cos t, 0) = Σ_k κ_k e^{ikt}, k ≥ 0."""
    even = degrees % 2 == 0
    values = np.where(even, -np.cos(np.pi * degrees / 2) / (np.pi * np.where(even, degrees**2 - 1.0, 1.0)), 0.0)
    return np.where(degrees == 1, 0.25, values)


def waves(points: Array, degrees: NDArray[np.int64]) -> NDArray[np.complex128]:
    """|θ|e^{−ik·angle}, (n, n_degrees), of points in the plane."""
    z = points[:, 0] + 1j * points[:, 1]
    return np.abs(z)[:, None] * np.exp(-1j * np.angle(z)[:, None] * degrees)
