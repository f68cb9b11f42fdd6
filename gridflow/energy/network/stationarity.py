"""How much of the teacher a student has found: the statements of S3 on stationary states, as numbers at every save.

A stationary ρ > 0 has zero loss and ∫σ(x·θ)(ρ − ρ*)dθ = 0 for all x (S3 Theorem 2; with trained weights w, Theorem 5, for the
signed measure ∫w ρ dw in place of ρ; residual networks: `gridflow.energy.resnet.stationarity`). At a finite loss
E = ½‖A(ρ − ρ*)‖² only some of that holds. Here η = ρ − ρ*, and A is the feature operator from L²(Θ, dV) to L²(μ),
(Aη)_j = √μ_j ∫φ(θ; x_j)dη = Σ_i s_i u_ij ∫e_i dη.

modes       The coefficient c_i = ∫e_i dη of the mode e_i (singular functions, of norm 1 in L²(Θ)) obeys Σ s_i²c_i² ≤ 2E, hence
            |c_i| ≤ √(2E)/s_i. Modes with s_i ≥ √(2E)/tolerance are determined: |c_i| ≤ tolerance.
parity      S3 Example 2, d = 1. Gaussian and softplus: η becomes odd; tanh, arctan, sigmoid: η becomes even. `defect_right` is
            the Kantorovich norm ∫|∫^t| of the part that must vanish, `defect_wrong` that of the other part.
moment      Softplus: ∫θ dη = 0 as well. Identity: this alone. Quadratic: ∫θ² dη = 0 alone; S3 has η odd, which suffices
            but does not follow.
directions  S3 Examples 1 and 3, d = 2, ReLU: harmonics a_k = ∫|θ|e^{−ik·angle} dη of the moments ∫|θ|^d η d|θ| per direction.
            max(cos t, 0) = Σ_k κ_k e^{ikt} with κ_0 = 1/π, κ_±1 = 1/4, κ_k = (−1)^{k/2+1}/(π(k² − 1)) for even k, and 0 for odd
            k from 3 on: those of η are invisible and nothing drives them to 0. (S3 takes the null space to be trivial.) With μ
            uniform on a circle of radius r, 2E = r²Σ_k κ_k²|a_k|², hence |a_0| ≤ √(2E)/(rκ_0), |a_k| ≤ √(2E)/(√2 r|κ_k|).

ρ on a grid is a sum of point masses at the cell points, whose loss that of the grid is; in `parity` it is constant in each cell.
ρ* is never put on cells: its neurons, or the nodes of its densities, count where they are.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, reduce
from typing import Annotated, Any, Literal

import numpy as np
from msgspec import Meta, Struct

from gridflow.energy.base import Evaluation, Records
from gridflow.energy.network.activation import ACTIVATIONS
from gridflow.energy.network.branch import Branch, base, output_weights, weight_vectors
from gridflow.energy.network.data import Data
from gridflow.energy.network.defects import Harmonics, Modes, Moment, Parity, check_modes
from gridflow.energy.network.inputs import CircleInputs, InputsSpec
from gridflow.energy.network.teacher import TeacherData, check_inside
from gridflow.errors import require
from gridflow.space.coordinate import coordinate_of
from gridflow.space.factor import Array
from gridflow.space.grid import Grid
from gridflow.space.split import Split

Statement = Literal["modes", "parity", "moment", "directions"]
PARITY = {"gaussian": "odd", "softplus": "odd", "tanh": "even", "arctan": "even", "sigmoid": "even"}
"""What ρ − ρ* becomes (S3 Example 2)."""
MOMENT = {"quadratic": 2, "softplus": 1, "identity": 1}
"""The moment of ρ − ρ* that vanishes."""


class Stationarity(Struct, frozen=True, forbid_unknown_fields=True):
    """The statements of a case on a network with a teacher, whose numbers every save has.

    statements : see the module; tolerance : coefficients at most so large call a mode determined; harmonics : the largest degree
    in `directions`
    """

    statements: Annotated[list[Statement], Meta(min_length=1)]
    tolerance: Annotated[float, Meta(gt=0.0)] = 0.05
    harmonics: Annotated[int, Meta(ge=3, le=64)] = 8

    def bind(self, branch: Branch, activation: str, teacher: TeacherData, data: Data, on: Grid) -> "BoundStationarity":
        """The numbers on a grid or a slab, for the one branch of a student. Raises InputError where S3 makes no statement."""
        grid = on.whole
        by_name = {f.name: f for f in grid.factors}
        factors = [by_name[base(name)] for name in branch.weights]
        received = f"weights on {', '.join(f'the {f.kind} {f.name!r}' for f in factors)}"
        require_stated(all(f.walls is not None for f in factors), received, "weights on intervals")
        for k, factor in enumerate(factors):
            check_inside(np.array([n.direction[k] for n in teacher.neurons]), [c.density[k] for c in teacher.densities], factor)
        check_mass(branch, teacher, grid)
        for statement in self.statements:
            check_statement(statement, branch, activation, teacher.inputs)
        n_data, most = len(data.inputs), self.harmonics if "directions" in self.statements else 0
        resolved, received = n_data > 2 * most, f"{most} harmonics of {n_data} inputs"
        require_stated(resolved, received, "more than twice as many inputs", "raise inputs.count")
        sigma = ACTIVATIONS[activation].value
        split = grid.split(tuple(n for n in grid.order if n not in branch.weights))
        outer = output_weights(branch.outputs, branch.scale, grid.flat_coordinates(split.outer), split.n_outer).T
        points, (neurons, weights) = (
            weight_vectors(branch, grid.factors, grid.flat_coordinates(split.inner)),
            teacher.as_neurons(),
        )
        measures = points, neurons, weights[:, 0]

        def modes() -> Modes:
            check_modes(split.n_inner, len(data.inputs))
            root = np.sqrt(data.weights)
            wanted = weights[:, 0] @ (sigma(neurons @ data.inputs.T) * root)
            return Modes(sigma(points @ data.inputs.T) * root, volumes_of(grid, split), wanted, self.tolerance)

        parts: dict[str, Callable[[], Any]] = {
            "modes": modes,
            "parity": lambda: Parity(grid.factors[split.inner[0]], teacher, PARITY[activation]),
            "moment": lambda: Moment(*measures, MOMENT[activation]),
            "directions": lambda: Harmonics(*measures, self.harmonics, float(np.linalg.norm(data.inputs[0]))),
        }
        found = tuple(parts[name]() for name in dict.fromkeys(self.statements))
        return BoundStationarity(on, tuple(grid.order[k] for k in split.outer), outer, found)


def require_stated(
    condition: bool, received: str, allowed: str, fix: str = "remove energy.stationarity, or change the case"
) -> None:
    """Raises InputError, unless the condition holds, for a case of which S3 makes no statement."""
    require(condition, f"energy.stationarity for {received}", allowed, fix)


def check_mass(branch: Branch, teacher: TeacherData, grid: Grid) -> None:
    """Raises InputError for a teacher that no probability on Θ represents."""
    weights, names = np.array([float(np.sum(w)) for w in teacher.weights()]), branch.outputs[0]
    received = f"a teacher with the weights {weights.tolist()}"
    if not names:
        probability = (weights > 0).all() and abs(weights.sum() - 1) <= 1e-9
        allowed = "weights > 0 with the sum 1: the student is a probability, without output weights"
        return require_stated(bool(probability), received, allowed, "divide the weights by their sum")
    values = np.ones(1)
    for factor in (f for f in grid.factors if f.name in names):
        values = np.outer(values, coordinate_of(factor).extent).ravel()
    lower, upper = float(values.min()), float(values.max())
    mass = least_mass(weights[weights > 0].sum(), upper) + least_mass(-weights[weights < 0].sum(), -lower)
    allowed, fix = f"means of output weights between {lower:g} and {upper:g}", f"widen the bounds of {', '.join(names)}"
    inside = mass <= 1 and lower <= weights.sum() <= upper
    require_stated(bool(inside), received + ", outside of Θ", allowed, f"{fix}, or make the weights smaller")


def least_mass(total: float, largest: float) -> float:
    """The least mass whose output weights, at most `largest`, add up to `total`."""
    return 0.0 if total == 0 else total / largest if largest > 0 else np.inf


def check_statement(statement: str, branch: Branch, sigma: str, inputs: InputsSpec) -> None:
    """Raises InputError for a statement that S3 does not make of this branch, activation and inputs."""
    dim, weighted = len(branch.weights), bool(branch.outputs[0])
    admits, allowed = {
        "modes": (True, ""),
        "parity": (
            dim == 1 and sigma in PARITY and not weighted,
            f"one input, no output weight, σ one of {', '.join(PARITY)} (S3 Example 2; the quadratic σ has a moment alone)",
        ),
        "moment": (dim == 1 and sigma in MOMENT, f"one input, σ one of {', '.join(MOMENT)}"),
        "directions": (
            isinstance(inputs, CircleInputs) and sigma == "relu",
            'σ = relu (S3 Examples 1 and 3) and inputs = { kind = "circle", … }',
        ),
    }[statement]
    numbered = f"{dim} inputs{' and trained weights' if weighted else ''}"
    received = f"inputs of kind {inputs.__struct_config__.tag!r}" if statement == "directions" else numbered
    require_stated(admits, f'"{statement}" with σ = {sigma}, {received}', allowed, f'leave "{statement}" out of statements')


def volumes_of(grid: Grid, split: Split) -> Array:
    """Volumes of the cells of the inner factors, (n_inner,)."""
    return reduce(np.multiply.outer, [grid.factors[k].volumes for k in split.inner]).ravel()


@dataclass(frozen=True, eq=False)
class BoundStationarity:
    """Statements on a grid; the energy depends on ρ through ∫u ρ du alone, u (1, n_outer) at the points of the outer factors.

    names : of the outer factors; u is that of the whole grid, of which there may be slabs
    """

    grid: Grid
    names: tuple[str, ...]
    outer: Array
    parts: tuple[Any, ...]

    @cached_property
    def split(self) -> Split:
        """The outer factors against the others."""
        return self.grid.split(self.names)

    @property
    def records(self) -> Records:
        """Units and long names of all numbers."""
        return {name: record for part in self.parts for name, record in part.records.items()}

    def weight_masses(self, mass: Array) -> Array:
        """∫u ρ du, (n_inner,), from cell masses in storage order."""
        here = self.outer[:, self.grid.cells_of(self.split.outer)]
        return self.grid.joined(self.split.inner, self.split.contract(here, mass)[0])

    def diagnose(self, density: Array, evaluation: Evaluation) -> dict[str, float]:
        """The numbers by name, for a density in storage order and its evaluation."""
        masses = self.weight_masses(density * self.grid.volume)
        numbers = [number for part in self.parts for number in part.numbers(masses, evaluation)]
        return dict(zip(self.records, numbers, strict=True))
