"""Pair interactions

    E(ρ) = ½∬W(x, y) ρ(dx)ρ(dy),    ξ = ∫W(·, y) ρ(dy),    W = amplitude·k

with k from `gridflow.sums.kernels` and `gridflow.sums.laws`, of all factors or of those that a case names: mass then interacts
whatever its place in the others. Sums on grids are in `gridflow.energy.interaction.convolution`. Cell points stand for cells
(midpoint rule), with the value of a singular kernel at r = 0 that keeps the order 2.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import msgspec
import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from gridflow.energy.base import ROUNDOFF, BoundEnergy, Energy, Evaluation, ParticleEnergy, ParticleEvaluation
from gridflow.energy.interaction.convolution import operator
from gridflow.energy.interaction.space import AnyKernel, NamedKernel, check_space
from gridflow.energy.table import EnergyTable
from gridflow.space.factor import Array, Factor, block, columns_of, factor_index
from gridflow.space.grid import Grid
from gridflow.sums.distance import OfDistance
from gridflow.sums.kernel import PairKernel
from gridflow.sums.kernels import periods
from gridflow.sums.laws import Exponential, Law, Logarithmic, Peaked


class Interaction(EnergyTable, frozen=True, forbid_unknown_fields=True, tag="interaction", tag_field="kind"):
    """½∬W dρdρ, W = amplitude·k.

    kernel : k; amplitude : < 0 attracts where k is largest at 0; factors : those whose positions k sees, all by default
    """

    kernel: NamedKernel
    amplitude: float = 1.0
    factors: Annotated[list[str], Meta(min_length=1)] | None = None

    def __post_init__(self) -> None:
        if self.amplitude == 0:
            raise ValueError("an interaction of amplitude 0; give another number, or remove the interaction")
        if self.factors is not None and len(set(self.factors)) < len(self.factors):
            raise ValueError("factors of an interaction named twice; name each once")

    def load(self, directory: Path) -> "InteractionEnergy":
        """The energy: it has no files."""
        return InteractionEnergy(self.kernel, self.amplitude, None if self.factors is None else tuple(self.factors))


@dataclass(frozen=True)
class InteractionEnergy(Energy):
    """½∬W dρdρ, W = amplitude·k of the factors with the given names, or of all."""

    kernel: AnyKernel
    amplitude: float = 1.0
    names: tuple[str, ...] | None = None

    slabs = True

    def bind(self, grid: Grid) -> "BoundInteraction":
        chosen = self.chosen(grid.whole.factors)
        return BoundInteraction(self, grid, chosen, grid.of_factors(chosen))

    def particles(self, factors: tuple[Factor, ...]) -> "InteractionParticles":
        return InteractionParticles(self, factors, self.chosen(factors))

    def chosen(self, factors: tuple[Factor, ...]) -> list[int]:
        """Indices of the factors whose positions k sees. Raises InputError for unknown ones and where k is not defined."""
        names = [f.name for f in factors] if self.names is None else self.names
        found = sorted(factor_index(factors, name, "energy.factors") for name in names)
        check_space(self.kernel, tuple(factors[k] for k in found))
        return found


def definite(kernel: AnyKernel) -> bool:
    """Whether the kernel is positive definite on differences of equal mass."""
    return kernel.definite if isinstance(kernel, Law | OfDistance) else True


class BoundInteraction(BoundEnergy):
    """½∬W dρdρ on a grid; `axes` : of the factors that W sees, `sub` : their product."""

    label = "an interaction"

    def __init__(self, energy: InteractionEnergy, grid: Grid, axes: list[int], sub: Grid) -> None:
        self.energy, self.grid = energy, grid
        self.others = tuple(k for k in range(len(grid.factors)) if k not in axes)
        self.seen = tuple(grid.shape[k] if k in axes else 1 for k in range(len(grid.factors)))
        kept = [grid.factors[k].name for k in axes]
        self.to_sub = tuple(kept.index(name) for name in sub.order)
        self.operator, self.sub = operator(energy.kernel, sub), sub
        self.slabs = sub.whole is sub or self.operator.slabs
        self.convex = energy.amplitude > 0 and definite(energy.kernel)
        self.attributes = {"kernel_sums": self.operator.note} if self.operator.note else {}

    def evaluate(self, mass: Array) -> Evaluation:
        seen = mass.sum(axis=self.others)
        seen = np.transpose(seen if self.sub.alone == self.grid.alone else self.grid.total(seen), self.to_sub)
        field = self.energy.amplitude * self.operator.apply(np.ascontiguousarray(seen))
        total = float(self.grid.total(mass.sum()))
        value = 0.5 * float(self.sub.total(np.vdot(seen, field)))
        roundoff = ROUNDOFF * total**2 * abs(self.energy.amplitude) * self.operator.bound
        back = np.transpose(field, np.argsort(self.to_sub)).reshape(self.seen)
        return Evaluation(value, np.ascontiguousarray(np.broadcast_to(back, self.grid.shape)), roundoff)


class InteractionParticles(ParticleEnergy):
    """½ΣΣ w_i w_j W(x_i, x_j), with the mollified kernel where the case has one (`gridflow.sums.powers`).

    Where W is infinite at r = 0 the terms i = j are left out, and the others weighed by m²/(m² − Σw_i²), m = Σw_i, in their
    place: the average over random points is then ½∬W dρdρ. (Its change with w_i, of the order 1/N, is left out of ξ.)
    """

    label = "an interaction"

    def __init__(self, energy: InteractionEnergy, factors: tuple[Factor, ...], chosen: list[int]) -> None:
        self.energy, self.factors, self.chosen, columns = energy, factors, chosen, columns_of(factors)
        self.parts = [(factors[k], columns[k]) for k in chosen]
        self.embeds = isinstance(energy.kernel, Exponential)
        self.lengths = periods(tuple(f for f, _ in self.parts))
        self.order = energy.kernel.order(self.lengths.size)
        self.attributes = particle_note(energy.kernel)

    def evaluate(self, points: Array, weights: Array, batch: NDArray[np.int64] | None = None) -> ParticleEvaluation:
        named = self.energy.kernel
        kernel = named.of_particles(len(points)) if isinstance(named, Logarithmic) else named
        places = np.column_stack([self.place(f, block(points, c)) for f, c in self.parts])
        lengths = np.zeros(places.shape[1]) if self.embeds else self.lengths
        field, slopes = kernel.sum(places, places, weights, lengths)
        scale = self.energy.amplitude * pairs_for_all(kernel, weights)
        field, gradient, start = scale * field, np.zeros(points.shape), 0
        for factor, c in self.parts:
            x = block(points, c)
            width = factor.components if self.embeds else factor.columns
            slope = scale * slopes[:, start : start + width]
            if factor.moves:
                gradient[:, c] = factor.pull_back(x, slope) if self.embeds or factor.columns > 1 else slope
            start += width
        return ParticleEvaluation(0.5 * float(weights @ field), gradient, first_variation=field)

    def refined(self) -> "InteractionParticles":
        kernel = self.energy.kernel
        if not (isinstance(kernel, Logarithmic) and kernel.mollification > 0):
            return self
        finer = msgspec.structs.replace(kernel, mollification=kernel.mollification / 2)
        return InteractionParticles(replace(self.energy, kernel=finer), self.factors, self.chosen)

    def place(self, factor: Factor, x: Array) -> Array:
        """Positions as the kernel takes them."""
        return factor.embed(x) if self.embeds else x


def pairs_for_all(kernel: PairKernel | OfDistance, weights: Array) -> float:
    """What the weight of pairs of different particles is raised by."""
    if not (isinstance(kernel, Peaked) and kernel.singular):
        return 1.0
    all_pairs, same = float(weights.sum()) ** 2, float(weights @ weights)
    return all_pairs / (all_pairs - same) if all_pairs > same else 1.0


def particle_note(kernel: AnyKernel) -> dict[str, str]:
    """What stands for a singular kernel between particles, for the dataset of a verdict."""
    if not (isinstance(kernel, Peaked) and kernel.singular):
        return {}
    note = "singular as on the grid, without pairs of a particle with itself"
    if isinstance(kernel, Logarithmic) and kernel.mollification > 0:
        note = f"-log(r^2 + e^2)/2 + e^2/(r^2 + e^2) for -log(r), e = {kernel.mollification:g} N^(-1/2) with N particles"
    return {"particle_kernel": note}
