"""How particles move: dθ = v(θ) dt + √(2 D M) dW, v = −M grad ξ, the Lagrangian form of the flow.

Positions are *unfolded* while they move: an interval is continued by mirror images and a circle by windings, and the velocity
with them, so that every integrator sees R^n; `gridflow.particles.cloud.fold` brings positions back.

Terms of the flow that weigh, such as a reaction (`gridflow.flow.reaction`), act on a last column g beside the positions, which
carries the weights, w_i = w_i(0) exp(g_i),

    dg_i = −κ (ξ(θ_i) − ξ̄) dt,

and integrators treat it like a position: weights stay positive. Where the mass is kept they are scaled to that of the start, on
which ġ does not depend otherwise. Where the weights of few particles dominate, the sample is no larger than these few.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import reduce
from itertools import pairwise
from math import ceil
from typing import Annotated, Any, Protocol

import numpy as np
from msgspec import Meta
from numpy.random import Generator
from numpy.typing import NDArray

from gridflow.energy.base import ParticleEnergy
from gridflow.errors import SolveError, require
from gridflow.flow.noise import NoiseInjection
from gridflow.flow.term import FlowTerm
from gridflow.particles.cloud import fold, retract
from gridflow.space.factor import Array, Factor, columns_of

Positive = Annotated[float, Meta(gt=0.0)]


@dataclass(frozen=True)
class Course:
    """A run so far: the states at the save times, and the current one.

    steps : since the last save, where they are fixed; at : else the time, and the length of the next one
    """

    saved: list[Array]
    state: Array
    steps: int = 0
    at: tuple[float, float] | None = None


class Keeper(Protocol):
    """What keeps a run, so that it goes on after it was killed: with the generators and counts of `Dynamics`, bit by bit."""

    seconds: float
    """That it took before."""

    def begin(self, dynamics: "Dynamics", course: Course) -> Course:
        """Where it goes on, or the start that is given."""

    def after_step(self, dynamics: "Dynamics", course: Course) -> None:
        """It has come so far."""


@dataclass
class Dynamics:
    """The velocity of states, and the noise.

    A state is the unfolded positions (n_particles, n_columns), and one column more where a term of the flow weighs.

    mobility : positions inside the space → M, broadcastable to the points; terms : of the flow; batches : draws minibatches
    mean_temperature : of the flow, between two times; time : at which the step under way begins
    evaluations, unconverged : of the velocity, and implicit steps that ended before their tolerance, so far
    pieces : normal increments that make up one step; substeps : into which every step is divided. A run of two pieces and one
        of two substeps follow the same Brownian path: their difference is the error in time
    keeper : of the run, or none
    """

    energy: ParticleEnergy
    factors: tuple[Factor, ...]
    weights: Array
    mobility: Callable[[Array], Array]
    terms: tuple[FlowTerm[Any], ...]
    mean_temperature: Callable[[float, float], float]
    random: Generator
    batches: Generator
    pieces: int = 1
    substeps: int = 1
    keeper: Keeper | None = None
    evaluations: int = 0
    unconverged: int = 0
    time: float = 0.0

    def __post_init__(self) -> None:
        self.weighing = [term for term in self.terms if term.weighs]
        self.diffusing = [term for term in self.terms if term.diffuses]
        self.keeps_mass = all(term.keeps_mass for term in self.terms)

    @property
    def weighs(self) -> bool:
        """Whether states have a column of weights."""
        return bool(self.weighing)

    def state(self, points: Array) -> Array:
        """The state in which positions start."""
        return np.column_stack([points, np.zeros(len(points))]) if self.weighs else points

    def split(self, state: Array) -> tuple[Array, Array]:
        """(unfolded positions, weights) of a state."""
        if not self.weighs:
            return state, self.weights
        weights = self.weights * np.exp(state[:, -1])
        return state[:, :-1], weights * (self.weights.sum() / weights.sum()) if self.keeps_mass else weights

    def velocity(self, state: Array, batch: NDArray[np.int64] | None = None) -> Array:
        """−M grad ξ, mirrored with the positions, and the growth of the weights. Raises SolveError if it is not finite."""
        self.evaluations += 1
        points, weights = self.split(state)
        inside = fold(points, self.factors)
        evaluation = self.energy.evaluate(inside, weights, batch)
        gradient, xi = evaluation.gradient if evaluation.drive is None else evaluation.drive, evaluation.first_variation
        require(
            not self.weighs or xi is not None,
            "a reaction of particles with an energy that gives no first variation at them",
            "first_variation in its ParticleEvaluation",
            "return ξ at the particles, (n_particles,)",
        )
        if not np.isfinite(gradient.sum() + (xi.sum() if xi is not None else 0.0)):
            raise SolveError("a particle run diverged (a velocity is not finite); use a smaller step")
        velocity: Array = -self.mobility(inside) * self.unfold(points, inside, gradient)
        if xi is None or not self.weighs:
            return velocity
        return np.column_stack([velocity, reduce(np.add, [term.growth(xi, weights) for term in self.weighing])])

    def unfold(self, points: Array, inside: Array, gradient: Array) -> Array:
        """The gradient at unfolded positions, from the one inside the space; overwrites it."""
        for factor, c in zip(self.factors, columns_of(self.factors), strict=True):
            gradient[:, c] = factor.unfolded_gradient(points[:, c], inside[:, c], gradient[:, c])
        return gradient

    def velocity_displaced(self, state: Array, dt: float, noise: NoiseInjection) -> Array:
        """The velocity at displaced positions (S4), −M ∇f(Z + β_t u), for a step of length dt."""
        self.evaluations += 1
        inside = fold(state, self.factors)
        moves = np.array([f.moves for f in self.factors])
        normal = self.normal(state.shape) * moves

        def gradient(level: float) -> Array:
            return self.unfold(state, inside, self.energy.gradient_at(inside + level * normal, inside, self.weights))

        def holds(level: float) -> bool:
            step = gradient(level)
            after = fold(state - dt * self.mobility(inside) * step, self.factors)
            fall = before - self.energy.evaluate(after, self.weights).value
            return bool(fall >= noise.decrease * dt * float(self.weights @ (step**2).sum(axis=1)))

        level = noise.at(self.time)
        if noise.adapts:
            before = self.energy.evaluate(inside, self.weights).value
            level = noise.largest(holds)
        velocity: Array = -self.mobility(inside) * gradient(level)
        if not np.isfinite(velocity.sum()):
            raise SolveError("a particle run diverged (a velocity is not finite); use a smaller step")
        return velocity

    def normal(self, shape: tuple[int, ...]) -> Array:
        """Standard normal numbers, of `pieces` increments."""
        total: Array = np.sum([self.random.standard_normal(shape) for _ in range(self.pieces)], axis=0) / np.sqrt(self.pieces)
        return total

    def noise(self, state: Array, dt: float) -> Array | float:
        """√(2∫(D M + D_k) dt)·(standard normal numbers) for a step of length dt, along geodesics; labels and weights stay."""
        if not self.diffusing:
            return 0.0
        points = self.split(state)[0]
        normal = self.normal(points.shape)
        inside = fold(points, self.factors)
        mobility = self.mobility(inside)
        temperature = self.mean_temperature(self.time, self.time + dt)
        diffusivity = reduce(np.add, [t.at(temperature).diffusivity(mobility) for t in self.diffusing])
        noise: Array = np.sqrt(2 * dt * diffusivity) * normal
        for factor, c in zip(self.factors, columns_of(self.factors), strict=True):
            noise[:, c] = factor.walk(inside[:, c], noise[:, c])
        return self.state(noise)  # none in the weights


def fixed_steps(
    advance: Callable[[Array, float], Array], points: Array, times: list[float], dt_max: float, dynamics: Dynamics
) -> Iterator[Array]:
    """States at the times; between two of them equal steps of at most dt_max, each divided into substeps.

    Surfaces: a step is made in R³ and then retracted.
    """
    keeper, course = dynamics.keeper, Course([points], points)
    if keeper is not None:
        course = keeper.begin(dynamics, course)
    saved, points, done = list(course.saved), course.state, course.steps
    yield from course.saved
    for before, after in list(pairwise(times))[len(saved) - 1 :]:
        count = dynamics.substeps * max(
            1, ceil((after - before) / dt_max * (1 - 1e-9))
        )  # a multiple of dt_max up to round-off is one
        dt = (after - before) / count
        for k in range(done, count):
            dynamics.time = before + k * dt
            points = retract(advance(points, dt), dynamics.factors)
            if keeper is not None:
                keeper.after_step(dynamics, Course(saved, points, k + 1))
        saved, done = [*saved, points], 0
        yield points
