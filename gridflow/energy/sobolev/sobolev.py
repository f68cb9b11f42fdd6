"""The negative Sobolev distance as a loss, E = ½S²(ν*|ν) (S4: KSD descent), and the transport along its potential (MATH §1.5).

With g of the weighted Poisson problem, −div((ν + δ)∇g) = ν* − ν (`gridflow.energy.sobolev.poisson`), S² = ∫g d(ν* − ν), the
derivative of E in ν is

    ξ = −g − ½|∇g|²

and E is convex in ν, as a supremum of functions that are linear in it. Two flows:

    flow = "descent"      v = −∇ξ: the gradient flow of E
    flow = "transport"    v = ∇g: with δ = 0 the density is exactly ν_t = ν* + e^{−t}(ν₀ − ν*)

Particles have no density, and without one S is infinite: for them g is sought among products of cosines of at most `modes` waves
per interval (cosines and sines on a circle), ψ_k, so that with c = A⁻¹(μ* − μ)

    g = Σ_k c_k ψ_k,   A_kl = ∫∇ψ_k·∇ψ_l d(ν + δ),   μ_k = ∫ψ_k dν,   E = ½(μ* − μ)·c

is a problem for any measure: the Galerkin method, which converges to g where ν is smooth, as fast as its coefficients fall. Along
the transport all moments μ_k still relax exactly like e^{−t}.
"""

from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import scipy
from msgspec import Meta
from numpy.typing import NDArray

from gridflow.energy.base import ROUNDOFF, BoundEnergy, Energy, Evaluation, ParticleEnergy, ParticleEvaluation
from gridflow.energy.mmd.target import Samples, Target, TargetMeasure
from gridflow.energy.sobolev.poisson import TOLERANCE, WeightedPoisson
from gridflow.energy.table import EnergyTable, Landmark
from gridflow.errors import SolveError, require
from gridflow.space.factor import Array, Factor
from gridflow.space.grid import Grid
from gridflow.space.mixture import Component

MODES_MAX = 2048
"""Unknowns of the particles' problem, which is dense."""
FINE_CELLS = 4096
"""Cells of the quadrature of a target's moments along a factor."""
RIDGE = 1e-13
"""Of the trace of A, added to its diagonal: fewer particles than modes leave A singular."""


class Sobolev(EnergyTable, frozen=True, forbid_unknown_fields=True, tag="sobolev", tag_field="kind"):
    """½S² to a target, S the negative Sobolev distance.

    target : a mixture of densities and samples; flow : "descent" of ½S², or "transport" along the potential of S
    regularization : as for certificates, δ times the volume of the space; modes : of particles, per factor
    """

    target: Annotated[list[Target], Meta(min_length=1)]
    flow: Literal["descent", "transport"] = "descent"
    regularization: Annotated[float, Meta(ge=0.0, le=1.0)] = 1e-6
    modes: Annotated[int, Meta(ge=1, le=512)] = 24

    def load(self, directory: Path) -> "SobolevEnergy":
        """The energy, with its target in files of a folder."""
        return SobolevEnergy(self, TargetMeasure(self.target, directory))

    def landmarks(self, grid: Grid, directory: Path) -> list[Landmark]:
        return TargetMeasure(self.target, directory).landmarks(grid)


@dataclass(frozen=True)
class SobolevEnergy(Energy):
    """½S² to a target."""

    spec: Sobolev
    target: TargetMeasure

    def bind(self, grid: Grid) -> "BoundSobolev":
        plain = all(m.min() == m.max() == 1 for m in grid.mobility)
        require(plain, "a Sobolev energy with flow.mobility", "mobility 1", "remove flow.mobility")
        problem, target = WeightedPoisson(grid, self.spec.regularization), self.target.masses_with_samples(grid)
        return BoundSobolev(problem, target, self.spec.flow == "transport")

    def particles(self, factors: tuple[Factor, ...]) -> "SobolevParticles":
        densities, samples = self.target.densities, self.target.samples(factors)
        require(
            all(f.one_dimensional for f in factors) and all(c.density for _, c in densities),
            "particles of a Sobolev energy on labels or surfaces, or with a target from a density file",
            "intervals and circles, and named densities or samples",
            "write the target as a mixture",
        )
        require(
            (self.spec.modes + 1) ** len(factors) <= MODES_MAX,
            f"particles of a Sobolev energy with {self.spec.modes} modes along {len(factors)} factors",
            f"at most {MODES_MAX} products of modes",
            "lower energy.modes",
        )
        self.target.check(factors)
        return SobolevParticles(self.spec, factors, densities, samples)


class BoundSobolev(BoundEnergy):
    """½S² on a grid. target : cell masses of ν*."""

    convex = True

    def __init__(self, problem: WeightedPoisson, target: Array, driven: bool) -> None:
        self.problem, self.target, self.driven = problem, target, driven

    def evaluate(self, mass: Array) -> Evaluation:
        density, source = mass / self.problem.grid.volume, self.target - mass
        g = self.problem.solve(density, source)
        value = 0.5 * float(np.vdot(g, source))
        # of ν* − ν, the difference of two numbers: near ν* it is all there is
        roundoff = ROUNDOFF * float(np.vdot(np.abs(g), mass + self.target)) + TOLERANCE * abs(value)
        xi = -g - self.problem.half_square(g)
        return Evaluation(value, xi, roundoff, drive=-g if self.driven else None)


class SobolevParticles(ParticleEnergy):
    """½S² with g among products of waves. All moments are those of ψ_k, (n_modes,), the constant left out."""

    def __init__(
        self, spec: Sobolev, factors: tuple[Factor, ...], components: list[tuple[float, Component]], samples: Samples | None
    ) -> None:
        self.spec, self.factors, self.driven = spec, factors, spec.flow == "transport"
        self.target = reduce(np.add, [w * self.moments_of(c) for w, c in components], np.zeros(1))
        if samples is not None:
            tables = [waves(f, samples.points[:, k], spec.modes)[0] for k, f in enumerate(factors)]
            self.target = self.target + samples.weights @ self.products(tables)
        squares = [wave_squares(f, spec.modes) for f in factors]
        mass = reduce(np.multiply.outer, [s for s, _ in squares])
        stiffness = np.zeros_like(mass)
        for k in range(len(factors)):
            stiffness += reduce(np.multiply.outer, [s[int(a == k)] for a, s in enumerate(squares)])
        delta = spec.regularization / float(np.prod([f.total_volume for f in factors]))
        self.regular = delta * stiffness.ravel()[1:]  # ∫∇ψ_k·∇ψ_l dx is diagonal

    def products(self, parts: list[Array]) -> Array:
        """(n, m) along every factor → (n, n_modes)."""
        whole = reduce(lambda a, b: (a[:, :, None] * b[:, None, :]).reshape(len(a), -1), parts)
        return whole[:, 1:]

    def moments_of(self, component: Component) -> Array:
        """∫ψ_k of a product density, by quadrature."""
        along = []
        for factor in self.factors:
            fine = factor.refinement(FINE_CELLS)
            masses = component.density[factor.name].masses(fine)
            along.append(masses / masses.sum() @ waves(factor, fine.points, self.spec.modes)[0])
        return reduce(np.multiply.outer, along).ravel()[1:]

    def evaluate(self, points: Array, weights: Array, batch: NDArray[np.int64] | None = None) -> ParticleEvaluation:
        if not np.isfinite(points.sum() + weights.sum()):
            raise SolveError("a particle run diverged (a position or weight is not finite); use a smaller step")
        dim = len(self.factors)
        tables = [waves(f, points[:, k], self.spec.modes, 3) for k, f in enumerate(self.factors)]

        def derivative(*axes: int) -> Array:
            return self.products([tables[k][axes.count(k)] for k in range(dim)])

        psi, slopes = derivative(), [derivative(k) for k in range(dim)]
        matrix = reduce(np.add, [(s * weights[:, None]).T @ s for s in slopes]) + np.diag(self.regular)
        matrix[np.diag_indices_from(matrix)] += RIDGE * np.trace(matrix)
        gap = self.target - weights @ psi
        c = scipy.linalg.cho_solve(scipy.linalg.cho_factor(matrix), gap)
        gradient = np.stack([s @ c for s in slopes], axis=1)
        turned = [sum((derivative(k, a) @ c) * gradient[:, a] for a in range(dim)) for k in range(dim)]
        xi = -(psi @ c) - 0.5 * (gradient**2).sum(axis=1)
        slope = -gradient - np.stack(turned, axis=1)
        return ParticleEvaluation(0.5 * float(gap @ c), slope, first_variation=xi, drive=-gradient if self.driven else None)


def waves(factor: Factor, x: Array, modes: int, orders: int = 1) -> list[Array]:
    """Eigenfunctions of the Laplacian and their derivatives up to orders − 1, (n, modes + 1) each.

    cos(πk(x − lower)/length), k ≤ modes; on a circle sin and cos of 2πkx/length by turns.
    """
    place = np.arange(modes + 1)
    wave, rate = (place, np.pi) if factor.period == 0 else ((place + 1) // 2, 2 * np.pi)
    rate /= factor.total_volume
    turn = np.exp(1j * rate * (x - factor.edges[0]))
    powers = np.cumprod(np.column_stack([np.ones(x.size), np.repeat(turn[:, None], wave[-1], axis=1)]), axis=1)[:, wave]
    if factor.period > 0:
        powers = powers * np.where(place % 2 == 1, -1j, 1.0)
    return [(rate * wave) ** n * (1j**n * powers).real for n in range(orders)]


def wave_squares(factor: Factor, modes: int) -> tuple[Array, Array]:
    """(∫ψ², ∫ψ'²) of the `waves`, (modes + 1,) each."""
    mass = np.full(modes + 1, factor.total_volume / 2)
    mass[0] = factor.total_volume
    number = np.arange(modes + 1) if factor.period == 0 else (np.arange(modes + 1) + 1) // 2 * 2
    return mass, mass * (np.pi * number / factor.total_volume) ** 2
