"""Explicit time integrators of particles (`gridflow.particles.dynamics` has the equation), and what a case may name as one.

N equal particles move with v_i = −N ∂E/∂θ_i. One step of gradient descent with learning rate η is therefore an explicit Euler
step of mean-field time η/N, and iteration k is t = kη/N.
"""

from collections.abc import Iterator
from typing import Annotated, Any, ClassVar

import scipy
from msgspec import Meta, Struct

from gridflow.errors import SolveError, require
from gridflow.flow.flow import KEYS
from gridflow.flow.noise import NoiseTerm
from gridflow.particles.cloud import fold
from gridflow.particles.dynamics import Course, Dynamics, Positive, fixed_steps
from gridflow.particles.proximal import ProximalPoint
from gridflow.space.factor import Array

EVALUATIONS_MAX = 100_000
"""Of the velocity in an adaptive run: far more than a smooth flow needs."""
EXPLICIT = KEYS - {NoiseTerm.key}
"""Terms of a flow that every explicit method with fixed steps admits."""


class GradientDescent(Struct, frozen=True, forbid_unknown_fields=True, tag="gradient-descent", tag_field="kind"):
    """Explicit Euler, θ ← θ + dt·v + noise: plain gradient descent (S2 §7, S3 §2), with `batch` stochastic gradient descent,
    with flow.noise_injection v at displaced positions (S4; `gridflow.flow.noise`).

    step : dt in mean-field time, or learning_rate : η, dt = η/N; saves divide their interval into equal steps of at most dt
    batch : data drawn afresh for each step, uniformly and without repetition; order 1, with a batch ½ in the mean square
    """

    step: Positive | None = None
    learning_rate: Positive | None = None
    batch: Annotated[int, Meta(ge=1)] | None = None

    error_factor: ClassVar[float] = 2.0
    label: ClassVar[str] = "stochastic gradient descent"
    instead: ClassVar[str] = '"gradient-descent" without batch'

    @property
    def knows(self) -> frozenset[str]:
        """Keys of the terms that it admits: noise injection with all data alone."""
        return EXPLICIT if self.batch is not None else KEYS

    def __post_init__(self) -> None:
        if (self.step is None) == (self.learning_rate is None):
            raise ValueError("gradient descent needs either step (mean-field time) or learning_rate (step = learning_rate/N)")

    @property
    def step_falls_with_count(self) -> bool:
        """Whether more particles have shorter steps: dt = η/N."""
        return self.learning_rate is not None

    def run(self, dynamics: Dynamics, points: Array, times: list[float]) -> Iterator[Array]:
        dt_max = self.step if self.step is not None else float(self.learning_rate or 0) / len(points)
        n_data = self.count_data(dynamics, points)
        noise = next((term.spec for term in dynamics.terms if isinstance(term, NoiseTerm)), None)

        def advance(points: Array, dt: float) -> Array:
            batch = dynamics.batches.choice(n_data, self.batch, replace=False) if self.batch is not None else None
            velocity = dynamics.velocity_displaced(points, dt, noise) if noise else dynamics.velocity(points, batch)
            return points + dt * velocity + dynamics.noise(points, dt)

        return fixed_steps(advance, points, times, dt_max, dynamics)

    def count_data(self, dynamics: Dynamics, points: Array) -> int:
        """Number of data, 0 without minibatches. Raises InputError where there are fewer than in a batch."""
        if self.batch is None:
            return 0
        positions, weights = dynamics.split(points)
        prediction = dynamics.energy.evaluate(fold(positions, dynamics.factors), weights).prediction
        count = 0 if prediction is None else len(prediction)
        require(
            count >= self.batch,
            f"batch = {self.batch} for an energy with {count or 'no'} data",
            "at most all data",
            "lower or remove batch",
        )
        return count


class RungeKutta2(Struct, frozen=True, forbid_unknown_fields=True, tag="rk2", tag_field="kind"):
    """Heun's method, the same increment of noise in both stages: order 2, weakly too where the noise is additive.

    (Where the mobility depends on a factor that itself moves, the noise is taken at the start of the step: weak order 1. On
    surfaces steps are made in R³ and retracted. No mobility depends on its own factor, so that the Itô and the Stratonovich
    equation agree and no drift is missing.)
    """

    step: Positive

    knows: ClassVar[frozenset[str]] = EXPLICIT
    label: ClassVar[str] = "Heun's method"
    instead: ClassVar[str] = '"gradient-descent"'
    error_factor: ClassVar[float] = 2.0  # 4/3, but of weak order 1 where the noise depends on what moves
    step_falls_with_count: ClassVar[bool] = False

    def run(self, dynamics: Dynamics, points: Array, times: list[float]) -> Iterator[Array]:
        def advance(points: Array, dt: float) -> Array:
            noise = dynamics.noise(points, dt)
            first = dynamics.velocity(points)
            second = dynamics.velocity(points + dt * first + noise)
            return points + 0.5 * dt * (first + second) + noise

        return fixed_steps(advance, points, times, self.step, dynamics)


class Adaptive(Struct, frozen=True, forbid_unknown_fields=True, tag="adaptive", tag_field="kind"):
    """Dormand–Prince of order 8 (scipy's DOP853) with error control, relative and absolute; without noise.

    Not for particles that are pressed against a wall: the mirrored velocity jumps there.
    """

    tolerance: Annotated[float, Meta(gt=1e-10, lt=1.0)] = 1e-6

    knows: ClassVar[frozenset[str]] = frozenset({"reaction"})
    label: ClassVar[str] = "the adaptive integrator"
    instead: ClassVar[str] = '"gradient-descent" or "rk2"'
    error_factor: ClassVar[float] = 1.0
    step_falls_with_count: ClassVar[bool] = False

    def run(self, dynamics: Dynamics, points: Array, times: list[float]) -> Iterator[Array]:
        shape, tolerance = points.shape, self.tolerance if dynamics.substeps == 1 else self.tolerance / 100

        def velocity(_: float, y: Array) -> Array:
            if dynamics.evaluations >= EVALUATIONS_MAX:
                raise SolveError(
                    f"{EVALUATIONS_MAX} evaluations of the velocity, which jumps (walls, kinks); use particles.integrator.kind ="
                    ' "rk2"'
                )
            return dynamics.velocity(y.reshape(shape)).ravel()

        start = Course([points.ravel().reshape(shape)], points)
        course = start if dynamics.keeper is None else dynamics.keeper.begin(dynamics, start)
        begin, length = course.at or (0.0, None)
        first = None if length is None else times[-1] - begin
        solver: Any = scipy.integrate.DOP853(
            velocity, begin, course.state.ravel(), times[-1], first_step=first, rtol=tolerance, atol=tolerance
        )
        if length is not None:
            solver.h_abs = length
            dynamics.evaluations -= 1  # the velocity there has been counted
        saved = list(course.saved)
        yield from course.saved
        while solver.status == "running":
            message = solver.step()
            if solver.status == "failed":
                raise SolveError(f"a particle run failed: {message}")
            reached = [t for t in times[len(saved) :] if t <= solver.t]
            within: Any = solver.dense_output() if reached else None
            for t in reached:
                saved.append(within(t).reshape(shape))
                yield saved[-1]
            if dynamics.keeper is not None and solver.status == "running":
                dynamics.keeper.after_step(dynamics, Course(saved, solver.y.reshape(shape), at=(solver.t, solver.h_abs)))


IntegratorSpec = GradientDescent | RungeKutta2 | Adaptive | ProximalPoint
"""Each has `run(dynamics, points, times)`, the states (`Dynamics`) at each of the increasing times, from 0 on, and

    error_factor             error in time over the change that two substeps make, 1/(1 − 2^−order)
    step_falls_with_count    whether steps are inverse to the number of particles
    knows                    keys of the terms of a flow that it admits
    label, instead           its name, and another kind for the terms that it refuses
"""
