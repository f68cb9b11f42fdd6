"""Proximal point: one implicit step of the particle system, V = argmin_V F(V) + d(V, W)/(2γ) (S2 §2.2).

F is the energy of the empirical measure of V, γ the step in mean-field time, and d a squared distance to the last iterate W, with
|x|² = Σ x_k²/M_k for mobilities M:

    frobenius    Σ_i m_i |V_i − W_i|²                                   (S2 §2.2.1; m_i = 1/N)
    assignment   min_σ (1/N) Σ_i |V_i − W_σ(i)|²                        (S2 §2.2.2: W₂² of two clouds of N points)
    sliced       n_dim · mean_u W₂²(u·V, u·W), u on a fixed sample of the unit sphere

The mean of ⟨u, x⟩² over the sphere is |x|²/n_dim: hence the factor. The sample consists of whole orthonormal frames, for which
this is exact: as long as no two particles change their order along any u, the sliced distance is that of Frobenius. For small
steps the optimal assignment is the identity. Labels do not move, and particles of different labels are not exchanged.
Stationarity is V_i = W_i − γ M grad ξ(V_i); S2 §2.2 prints the wrong sign, −, before ∇d in the descent that solves it.

F has kinks where a neuron meets a datum, and a minimum of the step lies *on* many of them: there the gradient does not vanish,
but 0 is a convex combination of gradients nearby. The default is therefore gradient sampling (Burke, Lewis and Overton 2005),
particle by particle: gradients at probes within a radius of V_i, their convex combination of least norm as the direction, a line
search on the objective of all particles, a radius that shrinks to `tolerance`. It ends when γ|direction| ≤ tolerance for every
particle: at a local minimum, reached downhill from W. Probes are particles of weight 0: they see the energy and do not change it.

`inner_method = "gradient-descent"` is S2 §2.2: V ← V − rate·(V − W + γM grad ξ(V)) from V = W. With rate = 1 this is
V ← W − γ∇F(V) of S2 §2.2.1, for small γ only. It stops at kinks only by chance. Non-convergence is an error with every method,
or, with `on_unconverged = "continue"`, the end of the step: S2 §1.2 has "small number of inner iterations".
"""

from collections.abc import Iterator
from itertools import product
from typing import Annotated, ClassVar, Literal

import numpy as np
import scipy
from msgspec import Meta, Struct
from numpy.typing import NDArray

from gridflow.errors import SolveError, require
from gridflow.particles.cloud import fold
from gridflow.particles.dynamics import Dynamics, Positive, fixed_steps
from gridflow.space.factor import Array

SHRINK = 3.0
"""Of the radius of the probes, once the direction is as short as the radius."""
DECREASE = 0.3
"""Share of the decrease promised by the direction that the line search requires."""
STEP_MIN = 1e-9
"""Shortest step of the line search, as a share of γ."""
HULL_STEPS = 100
LENGTH_MAX = 1e100
"""Of a residual of gradient descent that has not diverged."""


class ProximalPoint(Struct, frozen=True, forbid_unknown_fields=True, tag="proximal-point", tag_field="kind"):
    """Proximal point steps, of order 1.

    step : γ in mean-field time; distance : in which steps are proximal; inner_method : what solves them
    inner : largest number of inner iterations of a step; tolerance : a length, of positions; rate : of gradient descent
    frames : orthonormal frames of directions of the sliced distance; seed : of these
    on_unconverged : whether a step that ends before its tolerance stops the run, or counts in its `unconverged`
    """

    step: Positive
    distance: Literal["frobenius", "assignment", "sliced"] = "frobenius"
    inner_method: Literal["sampling", "gradient-descent"] = "sampling"
    inner: Annotated[int, Meta(ge=1)] = 2000
    tolerance: Annotated[float, Meta(gt=1e-14)] = 1e-4
    rate: Annotated[float, Meta(gt=0.0, le=1.0)] = 1.0
    frames: Annotated[int, Meta(ge=1)] = 16
    seed: Annotated[int, Meta(ge=0)] = 0
    on_unconverged: Literal["stop", "continue"] = "stop"

    knows: ClassVar[frozenset[str]] = frozenset()
    label: ClassVar[str] = "a proximal point"
    instead: ClassVar[str] = '"gradient-descent" or "rk2"'
    error_factor: ClassVar[float] = 2.0
    step_falls_with_count: ClassVar[bool] = False

    def run(self, dynamics: Dynamics, points: Array, times: list[float]) -> Iterator[Array]:
        check_run(self, dynamics)

        def advance(points: Array, dt: float) -> Array:
            step = ProximalStep(self, dynamics, fold(points, dynamics.factors), dt)
            return step.by_sampling() if self.inner_method == "sampling" else step.by_descent()

        return fixed_steps(advance, points, times, self.step, dynamics)


def check_run(scheme: ProximalPoint, dynamics: Dynamics) -> None:
    """Raises InputError for a cloud or a space for which a distance is not defined."""
    equal = np.ptp(dynamics.weights) <= 1e-12 * dynamics.weights.max()
    received = f'distance = "{scheme.distance}" with particles of different weights'
    require(scheme.distance == "frobenius" or equal, received, "equal weights", 'use distance = "frobenius"')
    flat = all(f.columns == 1 for f in dynamics.factors)
    require(flat, "proximal points on a surface", "intervals, circles and labels", 'use particles.integrator.kind = "rk2"')
    straight = scheme.distance != "sliced" or not any(f.period for f in dynamics.factors)
    require(straight, 'distance = "sliced" on a circle', "intervals and labels", 'use distance = "assignment"')


class ProximalStep:
    """One step from W, in coordinates z = θ/√M of the factors that move, (n_particles, n_moving); folded W, V unfolded."""

    def __init__(self, scheme: ProximalPoint, dynamics: Dynamics, start: Array, dt: float) -> None:
        self.scheme, self.dynamics, self.start, self.dt = scheme, dynamics, start, dt
        self.columns = [k for k, f in enumerate(dynamics.factors) if f.moves]
        labels = [k for k, f in enumerate(dynamics.factors) if not f.moves]
        kinds = np.unique(start[:, labels], axis=0, return_inverse=True)[1].ravel()
        self.groups = [np.flatnonzero(kinds == k) for k in range(kinds.max() + 1)]
        self.mobility = np.broadcast_to(dynamics.mobility(start), start.shape)
        self.root = np.sqrt(self.mobility[:, self.columns])
        self.scale = np.where(self.root > 0, self.root, 1.0)
        self.origin = start[:, self.columns] / self.scale
        moving = [dynamics.factors[k] for k in self.columns]
        lower, upper = np.array([f.walls or (-np.inf, np.inf) for f in moving]).T
        self.lower, self.upper = lower / self.scale, upper / self.scale
        self.periods = np.array([f.period for f in moving]) / self.scale
        self.directions = random_directions(len(self.columns), scheme.frames, scheme.seed)
        self.offsets = probe_offsets(len(self.columns))

    # ------------------------------------------------------------------------------------------------ inner iterations
    def by_sampling(self) -> Array:
        """Gradient sampling. Raises SolveError if it does not converge and must."""
        tolerance, z, share, length = self.scheme.tolerance, self.origin, 0.1, np.inf
        radius = max(tolerance, 0.1 * self.dt * longest(self.gradients(z, 0.0)[1][:, 0]))
        for _ in range(self.scheme.inner):
            value, hulls = self.gradients(z, radius)
            direction = self.free_direction(z, least_norm(hulls))
            length = self.dt * longest(direction)
            if length <= radius:
                if radius <= tolerance:
                    return self.accept(z)
                radius = max(tolerance, radius / SHRINK)
                continue
            slack = 8 * np.finfo(float).eps * abs(value)
            trial = 2 * share if share * self.dt * self.mean(direction**2) > slack else share  # no growth that nothing checks
            share = min(1.0, trial)
            while share > STEP_MIN:
                new = np.clip(z - share * self.dt * direction, self.lower, self.upper)
                promised = DECREASE * self.mean(direction * (z - new))
                if self.gradients(new, 0.0)[0] <= value - promised + slack:
                    break
                share /= 2
            if share > STEP_MIN:
                z = new
            elif radius > tolerance:
                radius, share = max(tolerance, radius / SHRINK), 0.1
            else:
                break
        return self.end_unconverged(z, length, "gradient sampling", "raise inner or tolerance, or use a smaller step")

    def by_descent(self) -> Array:
        """V ← V − rate·(V − W + γM grad ξ(V)) (S2 §2.2, §2.2.1). Raises SolveError if it does not converge and must."""
        z, length = self.origin, np.inf
        for _ in range(self.scheme.inner):
            residual = self.free_direction(z, self.dt * self.gradients(z, 0.0)[1][:, 0])
            length = longest(residual)
            if length <= self.scheme.tolerance:
                return self.accept(z)
            if not length < LENGTH_MAX:
                break
            z = np.clip(z - self.scheme.rate * residual, self.lower, self.upper)
        return self.end_unconverged(
            z, length, "the inner gradient descent", 'lower rate or step, or use inner_method = "sampling"'
        )

    def end_unconverged(self, z: Array, length: float, method: str, fix: str) -> Array:
        """The last iterate, where the scheme goes on from it. Raises SolveError otherwise, and where the iteration diverged."""
        if self.scheme.on_unconverged == "stop" or not length < LENGTH_MAX:
            raise SolveError(
                f"a proximal point step did not converge: {method} ended {length:.1e} from stationarity (tolerance"
                f" {self.scheme.tolerance:.1e}); {fix}"
            )
        self.dynamics.unconverged += 1
        return self.accept(z)

    def accept(self, z: Array) -> Array:
        """The points of V. Raises InputError where the mobility at V is another one than at W."""
        points = self.place(z)
        after = np.broadcast_to(self.dynamics.mobility(fold(points, self.dynamics.factors)), points.shape)
        received = "a proximal point with a mobility that depends on a factor that moves"
        fix = 'use particles.integrator.kind = "rk2"'
        require(np.array_equal(self.mobility, after), received, "mobilities constant or by label", fix)
        return points

    # ----------------------------------------------------------------------------------------------------- the objective
    def mean(self, terms: Array) -> float:
        """Σ_i m_i Σ_k of terms (n_particles, n_moving)."""
        return float(self.dynamics.weights @ terms.sum(axis=1))

    def place(self, z: Array) -> Array:
        """Points, (n_particles, n_columns), of coordinates z."""
        points = self.start.copy()
        points[:, self.columns] = np.where(self.root > 0, self.root * z, points[:, self.columns])
        return points

    def gradients(self, z: Array, radius: float) -> tuple[float, Array]:
        """F + d/(2γ) at z, and its gradients over m_i at z and, if radius > 0, at probes: (n_particles, n_probes, n_moving)."""
        probes = z + radius * self.offsets[: 1 if radius == 0 else None, None, :]
        cloud = np.concatenate([self.place(np.clip(p, self.lower, self.upper)) for p in probes])
        weights = np.concatenate([self.dynamics.weights, np.zeros((len(probes) - 1) * len(z))])
        self.dynamics.evaluations += 1
        result = self.dynamics.energy.evaluate(fold(cloud, self.dynamics.factors), weights)
        if not np.isfinite(result.value + result.gradient.sum()):
            raise SolveError("a proximal point step met a value that is not finite; use a smaller step")
        squared, pull = self.distance(z)
        slopes = result.gradient[:, self.columns].reshape(len(probes), *z.shape) * self.root + pull / self.dt
        return result.value + squared / (2 * self.dt), np.swapaxes(slopes, 0, 1)

    def free_direction(self, z: Array, direction: Array) -> Array:
        """A direction without the components that −direction would push through a wall."""
        return np.where(((z <= self.lower) & (direction > 0)) | ((z >= self.upper) & (direction < 0)), 0.0, direction)

    def distance(self, z: Array) -> tuple[float, Array]:
        """d, and half its gradient over m_i, (n_particles, n_moving)."""
        find = {"frobenius": self.move, "assignment": self.assign, "sliced": self.sort}[self.scheme.distance]
        total, pull = 0.0, np.zeros(z.shape)
        for group in self.groups:
            squares, pull[group] = find(z[group], group)
            total += float(self.dynamics.weights[group] @ squares)
        return total, pull

    def move(self, z: Array, group: NDArray[np.int64]) -> tuple[Array, Array]:
        """Squares of the gaps to W, (n_group,), and the gaps, (n_group, n_moving)."""
        gaps = z - self.origin[group]
        return (gaps**2).sum(axis=1), gaps

    def assign(self, z: Array, group: NDArray[np.int64]) -> tuple[Array, Array]:
        """Gaps to the partners of the optimal assignment, on a circle the shorter way."""
        gaps = z[:, None, :] - self.origin[group][None, :, :]
        period = np.broadcast_to(self.periods, self.origin.shape)[group][None]
        gaps -= np.where(period > 0, period * np.round(gaps / np.where(period > 0, period, 1.0)), 0.0)
        rows, partners = scipy.optimize.linear_sum_assignment((gaps**2).sum(axis=2))
        chosen = gaps[rows, partners]
        return (chosen**2).sum(axis=1), chosen

    def sort(self, z: Array, group: NDArray[np.int64]) -> tuple[Array, Array]:
        """Along every direction the k-th of V belongs to the k-th of W."""
        shadows, old = z @ self.directions.T, np.sort(self.origin[group] @ self.directions.T, axis=0)
        ranks = np.argsort(np.argsort(shadows, axis=0, kind="stable"), axis=0, kind="stable")
        gaps = shadows - np.take_along_axis(old, ranks, axis=0)
        share = z.shape[1] / len(self.directions)
        return share * (gaps**2).sum(axis=1), share * (gaps @ self.directions)


def longest(vectors: Array) -> float:
    """Largest length of vectors (n_particles, n_moving)."""
    return float(np.sqrt((vectors**2).sum(axis=1).max()))


def random_directions(dim: int, frames: int, seed: int) -> Array:
    """Random orthonormal frames, (frames·n_dim, n_dim): the mean of ⟨u, x⟩² is |x|²/n_dim exactly."""
    normal = np.random.default_rng(seed).standard_normal((frames, dim, dim))
    return np.concatenate([np.linalg.qr(matrix)[0] for matrix in normal])


def probe_offsets(dim: int) -> Array:
    """The point itself, both ways along axes and, in few dimensions, along diagonals, (n_probes, n_dim)."""
    axes = np.concatenate([np.zeros((1, dim)), np.eye(dim), -np.eye(dim)])
    if not 2 <= dim <= 4:
        return axes
    return np.concatenate([axes, np.array(list(product((-1.0, 1.0), repeat=dim))) / np.sqrt(dim)])


def least_norm(hulls: Array) -> Array:
    """The shortest convex combination of n_probes vectors for every particle, (n_particles, n_probes, n_dim) → (…, n_dim).

    Gilbert's method: towards the vector that is least along the current combination; exact after one step for two vectors.
    """
    shortest = hulls[:, 0].copy()
    for _ in range(HULL_STEPS):
        least = np.einsum("isk,ik->is", hulls, shortest).argmin(axis=1)
        way = np.take_along_axis(hulls, least[:, None, None], 1)[:, 0] - shortest
        squares = (way**2).sum(axis=1)
        gain = -(shortest * way).sum(axis=1)
        if not (gain > 1e-12 * (shortest**2).sum(axis=1)).any():
            break
        shortest += np.clip(gain / np.where(squares > 0, squares, 1.0), 0.0, 1.0)[:, None] * way
    return shortest
