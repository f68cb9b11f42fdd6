"""Maximum mean discrepancy to a target (S4):

    F(ν) = ½∬k d(ν − ν*)⊗²,    ξ = ∫k(·, u)(ν − ν*)(du)

(S4 prints the opposite sign of ξ and no ½; time runs twice as fast there.) Kernels are in `gridflow.sums.kernels`, their sums
on grids in `gridflow.energy.interaction.convolution`, those of particles in `gridflow.energy.mmd.particles`. Cell points stand
for cells (midpoint rule): second order.

Up to a constant F is the interaction ½∬k dνdν beside the potential −∫k dν*, and shares its operator. It is summed over ν − ν*,
not over these terms: they cancel as ν nears ν*, and their sum has a relative error of 1e−3 where ν − ν* is 1e−6 of ν, and no
digit at 1e−8, where that over the difference has nine.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from msgspec import UNSET

from gridflow.energy.base import ROUNDOFF, BoundEnergy, Energy, Evaluation, Moments, Variation, noise_refusal
from gridflow.energy.interaction.convolution import cell_points, operator
from gridflow.energy.interaction.space import check_wound
from gridflow.energy.mmd.certificates import BoundCertificates, Certificates
from gridflow.energy.mmd.network_kernel import BoundFeatures, FeatureParticles, Features
from gridflow.energy.mmd.particles import FINE_CELLS, MMDParticles
from gridflow.energy.mmd.smoothing import DisplacementMoments, smoothed_operator, smoothed_samples
from gridflow.energy.mmd.target import Samples, Target, TargetMeasure
from gridflow.energy.network.branch import weight_planes
from gridflow.energy.sobolev.poisson import WeightedPoisson
from gridflow.energy.table import EnergyTable, Landmark
from gridflow.errors import InputError, require
from gridflow.space.factor import Array, Factor
from gridflow.space.grid import Grid
from gridflow.sums.kernels import Bandwidth, Gaussian, Kernel, Polynomial, Riesz


class MMD(EnergyTable, frozen=True, forbid_unknown_fields=True, tag="mmd", tag_field="kind"):
    """½MMD² to a target.

    target : a mixture of densities and samples; kernel : {kind = …}, or the word "gaussian" with a bandwidth beside it
    bandwidth : of this Gaussian; certificates : {} adds the numbers of `gridflow.energy.mmd.certificates` to every save
    """

    target: list[Target]
    kernel: Literal["gaussian"] | Kernel | Features = "gaussian"
    bandwidth: Bandwidth | None = None
    certificates: Certificates | None = None

    def __post_init__(self) -> None:
        if (self.kernel == "gaussian") != (self.bandwidth is not None):
            raise ValueError('write kernel = {kind = …, …}, or kernel = "gaussian" and bandwidth = …')
        if not self.target:
            raise ValueError("target has no component; give at least one density or file of samples")
        if any(c.columns is not UNSET and c.time is not None for c in self.target):
            raise ValueError("samples have no `time`; remove it")
        if any(c.columns is not UNSET and c.file is UNSET for c in self.target):
            raise ValueError("target: columns need a `file`")
        if isinstance(self.kernel, Features) and self.certificates is not None:
            raise ValueError("certificates are for kernels of positions; remove them for kind = 'features'")

    def load(self, directory: Path) -> "MMDEnergy | FeatureMMDEnergy":
        """The energy, with its target in files of a folder."""
        target = TargetMeasure(self.target, directory)
        if isinstance(self.kernel, Features):
            return FeatureMMDEnergy(self.kernel, target)
        kernel = Gaussian(self.bandwidth) if self.bandwidth is not None else self.kernel
        assert not isinstance(kernel, str)
        return MMDEnergy(kernel, target, self.certificates)

    @property
    def views(self) -> tuple[tuple[str, str], ...]:
        return weight_planes(self.kernel.branches) if isinstance(self.kernel, Features) else ()

    def landmarks(self, grid: Grid, directory: Path) -> list[Landmark]:
        return TargetMeasure(self.target, directory).landmarks(grid)


@dataclass(frozen=True)
class MMDEnergy(Energy):
    """MMD with a kernel of positions."""

    kernel: Kernel
    target: TargetMeasure
    certificates: Certificates | None = None

    slabs = True

    def bind(self, grid: Grid) -> "BoundMMD":
        check_space(self.kernel, grid.whole.factors)
        certificates = None
        if self.certificates is not None:
            lines = all(f.columns == 1 for f in grid.factors)
            require(lines, "certificates of an MMD on a surface", "intervals, circles and labels", "remove energy.certificates")
            problem = WeightedPoisson(grid, self.certificates.regularization)
            certificates = BoundCertificates(problem, self.target.masses_with_samples(grid))
        return BoundMMD(self.kernel, grid, self.target.masses(grid), self.target.samples(grid.whole.factors), certificates)

    def particles(self, factors: tuple[Factor, ...]) -> MMDParticles:
        check_space(self.kernel, factors)
        samples, densities = self.target.samples(factors), self.target.densities
        named = all(c.density for _, c in densities)
        require(named, "particles of an MMD to a target from a file", "named densities", "write the target as a mixture")
        self.target.check(factors)
        return MMDParticles(self.kernel, factors, densities, samples)


@dataclass(frozen=True)
class FeatureMMDEnergy(Energy):
    """MMD with the kernel of a network: a network energy whose targets are the predictions of ν*."""

    kernel: Features
    target: TargetMeasure

    def bind(self, grid: Grid) -> BoundFeatures:
        return BoundFeatures(self.kernel.energy(self.predictions(grid)), grid)

    def particles(self, factors: tuple[Factor, ...]) -> FeatureParticles:
        lines = sum(f.one_dimensional for f in factors)
        fine = Grid([f.refinement(FINE_CELLS.get(lines, 32)) for f in factors])
        return FeatureParticles(self.kernel.energy(self.predictions(fine)).particles(factors))

    def predictions(self, grid: Grid) -> Array:
        """∫φ dν* at the inputs, (n_data, n_outputs): densities by the cell points of a grid."""
        network, samples = self.kernel.energy(), self.target.samples(grid.factors)
        found = network.model(grid, network.data).forward(self.target.masses(grid))[0]
        if samples is None:
            return found
        sampled = network.particles(grid.factors).evaluate(samples.points, samples.weights).prediction
        assert sampled is not None
        return found + sampled


def check_space(kernel: Kernel, factors: tuple[Factor, ...]) -> None:
    """Raises InputError for a factor on which a kernel is not positive definite or not resolved."""
    surfaces = [f.name for f in factors if f.columns > 1]
    received = f"an MMD with the kernel {kernel.__struct_config__.tag!r} on the surface {', '.join(surfaces)}"
    alone = not surfaces or (len(factors) == 1 and not isinstance(kernel, Polynomial))
    allowed = "a Gaussian, Laplace, imq or Riesz kernel on one surface alone"
    require(alone, received, allowed, "remove the other factors, or choose another kernel")
    check_wound(kernel, factors)
    for factor in factors:
        if factor.period > 0 and not isinstance(kernel, Gaussian):
            raise InputError(
                f"the kernel {kernel.__struct_config__.tag!r} on the circle {factor.name!r}",
                "intervals and labels: distances of a circle make no positive definite kernel in general",
                'use kernel = {kind = "gaussian", bandwidth = …}, which winds around it',
            )
        if isinstance(kernel, Polynomial | Riesz):
            continue
        require(
            kernel.bandwidth >= factor.cell_width,
            f"a bandwidth {kernel.bandwidth:g} below the cell size {factor.cell_width:.3g} of {factor.name!r}",
            "a bandwidth of at least one cell",
            "raise energy.bandwidth or the number of cells",
        )


class BoundMMD(BoundEnergy):
    """MMD on a grid. target : cell masses of its densities; samples : the rest of it, with its field at the cells."""

    convex = True  # the kernel is positive definite on differences of equal mass
    label = "an MMD"

    def __init__(
        self, kernel: Kernel, grid: Grid, target: Array, samples: Samples | None, certificates: BoundCertificates | None
    ) -> None:
        self.kernel, self.grid, self.samples, self.certificates = kernel, grid, samples, certificates
        self.target, self.operator = grid.counted(target), operator(kernel, grid)
        self.slabs = self.operator.slabs and certificates is None
        self.attributes = {"kernel_sums": self.operator.note} if self.operator.note else {}
        self.has_displacement_moments = isinstance(kernel, Gaussian)
        if certificates is not None:
            self.diagnostics = certificates.records
        if samples is not None:
            self.field = samples.field(kernel, cell_points(grid), grid.whole.factors)[0].reshape(grid.shape)
            self.constant = samples.self_energy(kernel, grid.whole.factors)

    def evaluate(self, mass: Array) -> Evaluation:
        difference = mass - self.target
        xi = self.operator.apply(difference)
        value, total = self.grid.total(np.array([0.5 * np.vdot(difference, xi), np.abs(difference).sum()])).tolist()
        if self.samples is not None:
            value += 0.5 * self.constant - float(self.grid.total(np.vdot(difference, self.field)))
            xi -= self.field
            total += float(self.samples.weights.sum())
        # rounding of ξ is relative to ∫|k| dν + ∫|k| dν* ≤ 2 max|k|, whatever cancels in the difference
        return Evaluation(value, xi, ROUNDOFF * total * 2 * self.operator.bound)

    def diagnose(self, density: Array, evaluation: Evaluation) -> dict[str, float]:
        return {} if self.certificates is None else self.certificates.numbers(density, evaluation.first_variation)

    def smooth_variation(self, level: float) -> Variation:
        """∫(G_β * k)(·, u)(ν − ν*)(du) of cell masses of ν. Raises InputError for a kernel or a grid without G_β * k."""
        smooth = smoothed_operator(self.kernel, self.grid, level)
        field = 0.0 if self.samples is None else smoothed_samples(self.kernel, self.samples, self.grid, level)
        return lambda mass: smooth.apply(mass - self.target) - field

    def displacement_moments(self, level: float) -> Moments:
        if not isinstance(self.kernel, Gaussian):
            raise noise_refusal(self.label)
        return DisplacementMoments(self.kernel, self.grid, level, self.target, self.samples)
