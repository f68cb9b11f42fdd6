"""Maximum mean discrepancy to a target (S4):

    F(ν) = ½∬k d(ν − ν*)⊗²,    ξ = ∫k(·, u)(ν − ν*)(du)

(S4 prints the opposite sign of ξ and no ½; time runs twice as fast there.) Kernels are in `gridflow.energy.mmd.kernels`, their
sums on grids in `gridflow.energy.mmd.convolution`, those of particles in `gridflow.energy.mmd.particles`. Cell points stand for
cells (midpoint rule): second order. Samples of a target stay where they are, on grids too.
"""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

import numpy as np
from msgspec import UNSET, Struct, UnsetType

from gridflow.energy.base import ROUNDOFF, BoundEnergy, Energy, Evaluation
from gridflow.energy.mmd.certificates import BoundCertificates, Certificates
from gridflow.energy.mmd.convolution import Operator, cell_points, operator
from gridflow.energy.mmd.kernels import Bandwidth, Gaussian, Kernel, Polynomial, Riesz
from gridflow.energy.mmd.network_kernel import BoundFeatures, FeatureParticles, Features, predictions_of
from gridflow.energy.mmd.particles import FINE_CELLS, MMDParticles, Samples, periods
from gridflow.energy.mmd.smoothing import Displaced, smoothed_operator, smoothed_samples
from gridflow.energy.network.data import FileData, read_columns
from gridflow.errors import InputError
from gridflow.space.deposit import deposit
from gridflow.space.factor import Array, Factor
from gridflow.space.grid import Grid
from gridflow.space.mixture import Component, mixture_masses

LEVELS_KEPT = 20
"""Levels of noise whose kernels are kept: a constant one, or those of an adaptive one."""


class Target(Component, frozen=True, forbid_unknown_fields=True):
    """A component of the target: as for initial densities, or samples of equal weight in the columns of a file.

    columns : {factor: column of `file`, CSV or NetCDF}
    """

    columns: dict[str, str] | UnsetType = UNSET


class MMD(Struct, frozen=True, forbid_unknown_fields=True, tag="mmd", tag_field="kind"):
    """kernel = {kind = …}, or the word "gaussian" with `bandwidth` beside it; target: a mixture of densities and samples.

    certificates = {} adds the numbers of `gridflow.energy.mmd.certificates` to every save.
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
        if any(c.file is UNSET for c in self.target if has_columns(c)):
            raise ValueError("target: columns need a `file`")
        if isinstance(self.kernel, Features) and self.certificates is not None:
            raise ValueError("certificates are for kernels of positions; remove them for kind = 'features'")

    def load(self, directory: Path) -> "MMDEnergy | FeatureMMDEnergy":
        if isinstance(self.kernel, Features):
            return FeatureMMDEnergy(self.kernel, self.target, directory)
        kernel = Gaussian(self.bandwidth) if self.bandwidth is not None else self.kernel
        assert not isinstance(kernel, str)
        return MMDEnergy(kernel, self.target, directory, self.certificates)


def has_columns(component: Component) -> bool:
    """Whether a component of a target is samples of a file."""
    return isinstance(component, Target) and component.columns is not UNSET


@dataclass(frozen=True)
class MMDEnergy(Energy):
    """MMD with a kernel of positions."""

    kernel: Kernel
    target: list[Target]
    directory: Path
    certificates: Certificates | None = None

    def bind(self, grid: Grid) -> "BoundMMD":
        check_space(self.kernel, grid.factors)
        target, samples = target_masses(self.target, grid, self.directory)
        field = sample_field(self.kernel, samples, grid) if samples else None
        certificates = None
        if self.certificates is not None:
            deposited = target if samples is None else target + deposit(samples.points, samples.weights, grid)
            certificates = BoundCertificates(grid, deposited, self.certificates)
        return BoundMMD(operator(self.kernel, grid), target, field, certificates, KernelData(self.kernel, grid, samples))

    def particles(self, factors: tuple[Factor, ...]) -> MMDParticles:
        check_space(self.kernel, factors)
        densities, samples = self.parts(factors)
        if any(not c.density for c in densities):
            raise InputError("particles of an MMD to a target from a file", "named densities", "write the target as a mixture")
        total = sum(c.weight for c in self.target)
        return MMDParticles(self.kernel, factors, [(c.weight / total, c) for c in densities], samples)

    def parts(self, factors: tuple[Factor, ...]) -> tuple[list[Component], Samples | None]:
        """(components that are densities, all samples with their weights; weights of the whole target sum to 1)."""
        return target_parts(self.target, factors, self.directory)


@dataclass(frozen=True)
class FeatureMMDEnergy(Energy):
    """MMD with the kernel of a network: a network energy whose targets are the predictions of ν*."""

    kernel: Features
    target: list[Target]
    directory: Path

    def bind(self, grid: Grid) -> BoundFeatures:
        return BoundFeatures(self.kernel.energy(self.predictions(grid)), grid)

    def particles(self, factors: tuple[Factor, ...]) -> FeatureParticles:
        lines = sum(f.one_dimensional for f in factors)
        fine = Grid([f.refinement(FINE_CELLS.get(lines, 32)) for f in factors])
        return FeatureParticles(self.kernel.energy(self.predictions(fine)).particles(factors))

    def predictions(self, grid: Grid) -> Array:
        """∫φ dν* at the inputs, (n_data, n_outputs): densities by the cell points of a grid."""
        masses, samples = target_masses(self.target, grid, self.directory)
        found = self.kernel.energy().bind(grid).predict(masses)
        if samples is not None:
            found = found + predictions_of(self.kernel, grid.factors, samples.points, samples.weights)
        return found


def target_parts(target: list[Target], factors: tuple[Factor, ...], directory: Path) -> tuple[list[Component], Samples | None]:
    """(components that are densities, all samples with their weights); weights of the whole target sum to 1."""
    total = sum(c.weight for c in target)
    points = [(c.weight / total, read_samples(c, factors, directory)) for c in target if has_columns(c)]
    densities: list[Component] = [c for c in target if not has_columns(c)]
    if not points:
        return densities, None
    weights = np.concatenate([np.full(len(p), w / len(p)) for w, p in points])
    return densities, Samples(np.concatenate([p for _, p in points]), weights)


def target_masses(target: list[Target], grid: Grid, directory: Path) -> tuple[Array, Samples | None]:
    """(cell masses of the components that are densities, samples), together of mass 1."""
    densities, samples = target_parts(target, grid.factors, directory)
    masses = np.zeros(grid.shape)
    if densities:
        share = sum(c.weight for c in densities) / sum(c.weight for c in target)
        masses = share * mixture_masses(densities, grid, directory, "energy.target")
    return masses, samples


def check_space(kernel: Kernel, factors: tuple[Factor, ...]) -> None:
    """Raises InputError for a factor on which a kernel is not positive definite or not resolved."""
    for factor in factors:
        if factor.columns > 1:
            raise InputError(f"an MMD on the surface {factor.name!r}", "intervals, circles and labels", "choose another energy")
        if factor.period > 0 and not isinstance(kernel, Gaussian):
            raise InputError(
                f"the kernel {kernel.word!r} on the circle {factor.name!r}",
                "intervals and labels: distances of a circle make no positive definite kernel in general",
                'use kernel = {kind = "gaussian", bandwidth = …}, which winds around it',
            )
        if isinstance(kernel, Polynomial | Riesz):
            continue
        if kernel.bandwidth < factor.cell_width:
            raise InputError(
                f"a bandwidth {kernel.bandwidth:g} below the cell size {factor.cell_width:.3g} of {factor.name!r}",
                "a bandwidth of at least one cell",
                "raise energy.bandwidth or the number of cells",
            )


def read_samples(component: Component, factors: tuple[Factor, ...], directory: Path) -> Array:
    """Samples of a file, (n_samples, n_factors) in the order of the factors. Raises InputError for any outside of the space."""
    assert isinstance(component, Target)
    assert isinstance(component.columns, dict)
    assert isinstance(component.file, str)
    names = [f.name for f in factors]
    if set(component.columns) != set(names):
        raise InputError(
            f"energy.target: samples with columns for {sorted(component.columns)}",
            f"one for each factor of the space: {sorted(names)}",
            "write columns = { FACTOR = COLUMN, … }",
        )
    chosen = [component.columns[n] for n in names]
    points = FileData(component.file, chosen, chosen).pick(read_columns(directory / component.file, component.file), chosen)
    for factor, column in zip(factors, points.T, strict=True):
        if factor.walls is not None:
            lower, upper = factor.walls
            inside, allowed, fix = (
                (column >= lower) & (column <= upper),
                f"[{lower:g}, {upper:g}]",
                "widen the bounds of the space",
            )
        elif factor.period > 0:
            column[:] = factor.fold(column)
            continue
        else:
            inside, allowed = np.isin(column, factor.points), f"the labels {factor.points.tolist()}"
            fix = "add the label, or remove the row"
        if not inside.all():
            row = int(np.argmin(inside))
            where = f"data row {row + 1} of {component.file!r}"
            raise InputError(f"energy.target: the sample {column[row]:g} in {where} is outside of {factor.name!r}", allowed, fix)
    return points


@dataclass(frozen=True)
class SampleField:
    """field : ∫k(·, u)ν*(du) of the samples at the cell points; mass : of the samples; constant : ∬k d(samples)²."""

    field: Array
    mass: float
    constant: float = 0.0


def sample_field(kernel: Kernel, samples: Samples, grid: Grid) -> SampleField:
    """The part of ξ that comes from samples, at the cell points of a grid."""
    lengths = periods(grid.factors)
    field, _ = kernel.sum(cell_points(grid), samples.points, samples.weights, lengths)
    mutual, _ = kernel.sum(samples.points, samples.points, samples.weights, lengths)
    return SampleField(field.reshape(grid.shape), float(samples.weights.sum()), float(samples.weights @ mutual))


@dataclass(frozen=True)
class KernelData:
    """What a bound MMD needs to smooth its kernel."""

    kernel: Kernel
    grid: Grid
    samples: Samples | None


class BoundMMD(BoundEnergy):
    """MMD on a grid: the kernel as an operator and the target's cell masses, samples apart."""

    convex = True  # the kernel is positive definite on differences of equal mass

    def __init__(
        self,
        kernel: Operator,
        target: Array,
        samples: SampleField | None = None,
        certificates: BoundCertificates | None = None,
        data: KernelData | None = None,
    ) -> None:
        self.kernel, self.target, self.samples, self.certificates, self.source = kernel, target, samples, certificates, data
        if certificates is not None:
            self.diagnostics = certificates.records
        self.displaces = data is not None and isinstance(data.kernel, Gaussian)
        self.smoothed_at = lru_cache(LEVELS_KEPT)(self.make_smoothed)
        self.displaced_at = lru_cache(LEVELS_KEPT)(self.make_displaced)

    def smoothed(self, level: float) -> "BoundMMD":
        return self.smoothed_at(level)

    def displaced(self, level: float) -> Displaced:
        return self.displaced_at(level)

    def make_smoothed(self, level: float) -> "BoundMMD":
        """The MMD with the kernel smoothed by noise of the given level; of its evaluations only ξ counts."""
        data = self.source
        assert data is not None
        smooth = smoothed_operator(data.kernel, data.grid, level)
        if data.samples is None:
            return BoundMMD(smooth, self.target)
        field = SampleField(smoothed_samples(data.kernel, data.samples, data.grid, level), float(data.samples.weights.sum()))
        return BoundMMD(smooth, self.target, field)

    def make_displaced(self, level: float) -> Displaced:
        """Moments of ∇f at displaced positions."""
        data = self.source
        assert data is not None
        assert isinstance(data.kernel, Gaussian)
        return Displaced(data.kernel, data.grid, level, self.target, data.samples)

    def diagnose(self, density: Array, evaluation: Evaluation) -> dict[str, float]:
        assert self.certificates is not None
        return self.certificates.numbers(density, evaluation.first_variation)

    def evaluate(self, mass: Array) -> Evaluation:
        difference = mass - self.target
        xi = self.kernel.apply(difference)
        value, total = 0.5 * float(np.vdot(difference, xi)), float(np.abs(difference).sum())
        if self.samples is not None:
            value += 0.5 * self.samples.constant - float(np.vdot(difference, self.samples.field))
            xi -= self.samples.field
            total += self.samples.mass
        # rounding of ξ is relative to ∫|k| dν + ∫|k| dν* ≤ 2 max|k|, whatever cancels in the difference
        return Evaluation(value, xi, ROUNDOFF * total * 2 * self.kernel.bound)
