"""Do the numbers of an energy of one's own belong together? ξ and gradients against differences of the value, before a run.

On a grid, for cell masses m that move along η = m·r with r of mean 0 (the mass is kept, and cells without any stay so),

    d/ds E(m + sη) = Σ ξ η,

and for particles at x_i that move along d_i, with weights w_i,

    d/ds E(x + s d) = Σ w_i grad ξ(x_i)·d_i,       d/ds E(w + s w r) = Σ ξ(x_i) w_i r_i.

The directions are ξ (or the gradient) itself, where a wrong sign or factor shows most, and waves across the whole mass. They are
smooth: a value and a ξ that are discretised in different ways, which agree on smooth fields alone, are no error.

The derivative is a central difference, of a step s for which s and s/10 agree: the curvature of E is in neither, its third
derivative in neither that agree. Particles try smaller steps too, for energies that are singular where they meet. At a kink of E
the two one-sided differences keep their distance as s falls; any ξ between them is right. Where round-off covers the differences,
or no two agree, nothing is concluded.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from gridflow.energy.base import BoundEnergy, Evaluation, ParticleEnergy, ParticleEvaluation
from gridflow.errors import InputError, require
from gridflow.space.factor import Array, Factor, block, columns_of
from gridflow.space.grid import Grid

TOLERANCE = 0.2
"""Of the largest rate that ξ admits along a direction. What is looked for, a sign, a factor, a missing cell volume, is wrong by
half and more. Two discretisations of one formula differ by O(h²): stencils of ∫|∇ρ|² by 12 % where a bump is two cells wide."""
AGREE = 0.02
"""Two steps agree if their differences do so well: a tenth of the tolerance."""
STEPS = (1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6, 1e-7, 1e-8, 1e-9, 1e-10)
"""s: masses change by at most 2s of themselves, positions by about s of the width of the cloud. The smallest are for energies
that are singular where particles meet: their nearest pairs are N² times closer than the cloud is wide."""
LONG = 3
"""Pairs of steps in a row, over as many decades."""
KINK = 0.5
"""The distance of the one-sided differences falls to a tenth from step to step where E is smooth, and stays at a kink."""
WAVES = 3
"""Directions beside the first one on a grid, and for the weights of particles."""
EPSILON = 16 * float(np.finfo(float).eps)
"""Of the size of a value: its round-off, at least."""
TINY = float(np.finfo(float).tiny)


class Slope(NamedTuple):
    """The derivative along a direction lies between low and high; uncertain : by curvature, which the tolerance follows."""

    low: float
    high: float
    uncertain: float


def fits(slope: Slope, claimed: float, largest: float) -> bool:
    """Whether a rate that is claimed is the slope, within the tolerance."""
    margin = TOLERANCE * max(largest, abs(slope.low), abs(slope.high), slope.uncertain)
    return slope.low - margin <= claimed <= slope.high + margin


class Compared(NamedTuple):
    """A direction: the rate of the value by differences (None where they show nothing), that by ξ, and the largest possible."""

    slope: Slope | None
    claimed: float
    largest: float

    @property
    def agrees(self) -> bool:
        """Whether the two rates agree, or cannot be compared."""
        return self.slope is None or fits(self.slope, self.claimed, self.largest)

    @property
    def measured(self) -> float:
        """The middle of the slope."""
        return np.nan if self.slope is None else (self.slope.low + self.slope.high) / 2


@dataclass(frozen=True)
class Check:
    """What a comparison says: a text for the dataset, and whether nothing could be concluded."""

    text: str
    doubtful: bool


# ----------------------------------------------------------------------------------------------------------- derivatives
def slopes(value: Callable[[float], tuple[float, float]], largest: float) -> Iterator[Slope | None]:
    """The derivative at 0 of s ↦ (value, round-off) by every two steps, None where they do not agree; until round-off covers it.

    largest : the size that is expected
    """
    centre, noise_centre = value(0.0)
    before: tuple[float, float] | None = None
    uncertain = 0.0
    for s in STEPS:
        (ahead, noise_ahead), (back, noise_back) = value(s), value(-s)
        if not np.isfinite(ahead + back):
            before = None
            yield None
            continue
        right, left = (ahead - centre) / s, (centre - back) / s
        mean, jump = (right + left) / 2, abs(right - left)
        noise = 2 * max(noise_centre, noise_ahead, noise_back) / s
        uncertain = uncertain or jump
        limit = AGREE * max(largest, abs(mean), uncertain)
        rounded = before is not None and before[0] != 0 and ahead == centre == back
        if noise > limit or rounded:
            return
        if before is not None:
            half = jump / 2 if jump > KINK * before[1] else 0.0
            agree = abs(mean - before[0]) <= limit + noise
            yield Slope(mean - half - noise, mean + half + noise, uncertain) if agree else None
        before = mean, jump


def slope_at_zero(value: Callable[[float], tuple[float, float]], largest: float) -> Slope | None:
    """The first on which two steps agree."""
    return next((slope for slope in slopes(value, largest) if slope is not None), None)


def slope_among_neighbours(
    value: Callable[[float], tuple[float, float]], largest: float, fits: Callable[[Slope], bool]
) -> Slope | None:
    """The first that fits, else the last on which steps agree and smaller ones too.

    Where E is singular as particles meet, neighbours pass each other along large steps, which may agree by chance. What `LONG`
    pairs in a row agree on stays where smaller steps show nothing but round-off that is not declared.
    """
    kept, long, row = None, None, 0
    for slope in slopes(value, largest):
        if slope is not None and fits(slope):
            return slope
        if slope is None and row >= LONG:
            long = kept
        kept, row = slope, 0 if slope is None else row + 1
    return kept or long


def spread(values: Array, weights: Array) -> float:
    """Root mean square of values (n,) or (n, k) with weights (n,)."""
    squares = values**2 if values.ndim == 1 else (values**2).sum(axis=1)
    return float(np.sqrt(weights @ squares / weights.sum()))


def centred(values: Array, weights: Array) -> Array:
    """Values (n,) or (n, k) minus their weighted mean."""
    return values - weights @ values / weights.sum()


def standard(values: Array, weights: Array) -> Array:
    """Centred values in units of their spread; 0 where they have none."""
    moved = centred(values, weights)
    with np.errstate(over="ignore"):  # far tails, whose masses are not numbers
        return moved / max(spread(moved, weights), TINY)


def waves(coordinates: Array, weights: Array, number: int) -> Iterator[Array]:
    """Plane waves across a measure, one or two lengths long, (n,) each; coordinates (n, k)."""
    random = np.random.default_rng(0)  # the same directions in every run
    places = standard_columns(coordinates, weights)
    for _ in range(number):
        wave = random.standard_normal(places.shape[1]) / np.sqrt(places.shape[1])
        yield np.cos(2 * places @ wave + random.uniform(0, 2 * np.pi))


def standard_columns(coordinates: Array, weights: Array) -> Array:
    """Every column in units of its own spread, tails bent so that no place is far away."""
    return np.stack([np.tanh(standard(column, weights) / 2) * 2 for column in coordinates.T], axis=1)


def compare_masses(
    value: Callable[[Array], tuple[float, float]], masses: Array, xi: Array, coordinates: Array, keeps_mass: bool
) -> list[Compared]:
    """ξ (n,) of masses (n,) ≥ 0 compared with differences of value(masses)."""
    own = np.tanh(standard(xi, masses))
    found = []
    for shape in (own, *waves(coordinates, masses, WAVES)):
        found.append(compare_direction(value, masses, centred(xi, masses), centred(shape, masses)))
    if not keeps_mass:
        found.append(compare_direction(value, masses, xi, np.ones(xi.size)))
    return found


def compare_direction(value: Callable[[Array], tuple[float, float]], masses: Array, xi: Array, shape: Array) -> Compared:
    """Along η = m·r."""
    largest = float(masses.sum()) * spread(xi, masses) * spread(shape, masses)
    slope = slope_at_zero(lambda s: value(masses * (1 + s * shape)), largest) if shape.any() else None
    return Compared(slope, float(np.vdot(xi, masses * shape)), largest)


# -------------------------------------------------------------------------------------------------------------- on a grid
def check_on_grid(name: str, bound: BoundEnergy, grid: Grid, masses: Array, keeps_mass: bool) -> Check:
    """Compares ξ at cell masses. Raises InputError where it is not finite, or not the derivative of the value."""
    evaluation = bound.evaluate(masses.copy())
    check_finite(name, evaluation, bound.driven)
    some = masses.ravel() > 0
    columns = [grid.along(axis, image) for axis, f in enumerate(grid.factors) for image in f.length_image(f.points).T]
    coordinates = np.stack([np.broadcast_to(column, grid.shape).ravel()[some] for column in columns], axis=1)

    def value(part: Array) -> tuple[float, float]:
        whole = np.zeros(masses.size)
        whole[some] = part
        with np.errstate(all="ignore"):
            found = bound.evaluate(whole.reshape(grid.shape))
        return found.value, max(found.roundoff, EPSILON * abs(found.value))

    mine = masses.ravel()[some]
    found = compare_masses(value, mine, evaluation.first_variation.ravel()[some], coordinates, keeps_mass)
    volume = float(mine @ grid.volume.ravel()[some] / mine.sum())
    refuse(found, f"the first variation of {name}", "first_variation = δE/δρ, the derivative of value by a cell mass", volume)
    return summary(found, "first variation")


def check_finite(name: str, evaluation: Evaluation, driven: bool) -> None:
    """Raises InputError for what a run cannot start from."""
    for what, values in (("first_variation", evaluation.first_variation), ("drive", evaluation.drive)):
        bad = 0 if values is None else int((~np.isfinite(values)).sum())
        if bad:
            received = f"{name}: {what} is not finite at {bad} of {evaluation.first_variation.size} cells of the start"
            fix = "keep logarithms and powers away from 0: np.log(np.maximum(density, 1e-300))"
            raise InputError(received, "finite numbers, also where the density is 0", fix)
    finite = bool(np.isfinite(evaluation.value) and np.isfinite(evaluation.roundoff))
    received = f"{name}: value = {evaluation.value}, roundoff = {evaluation.roundoff} at the start"
    require(finite, received, "finite numbers", "choose a start at which the energy is finite")
    check_driven(name, evaluation.drive, driven)


def check_driven(name: str, drive: Array | None, driven: bool) -> None:
    """Raises InputError where a drive is given and not declared, or declared and not given."""
    received = f"{name}: driven = {driven}, and an evaluation {'without' if drive is None else 'with'} a drive"
    require((drive is not None) == driven, received, "both or none", "declare driven = True and return a drive, or neither")


def refuse(found: Sequence[Compared], what: str, allowed: str, volume: float | None = None) -> None:
    """Raises InputError for directions that do not agree; the first of them is named. volume : of a cell, for the hint."""
    wrong = [c for c in found if not c.agrees]
    if not wrong:
        return
    worst = wrong[0]
    received = (
        f"{what}: along a direction the value changes at the rate {worst.measured:.4g} by differences, and at"
        f" {worst.claimed:.4g} by what is returned ({len(wrong)} of {sum(c.slope is not None for c in found)} directions differ)"
    )
    raise InputError(received, f"{allowed}, up to {TOLERANCE:.0%}", hint(found, volume))


def hint(found: Sequence[Compared], volume: float | None) -> str:
    """What the ratios of both rates say of the fault, where they are the same in all directions."""
    clear = [c for c in found if abs(c.measured) > TOLERANCE * c.largest / 2]
    ratios = np.array([c.claimed / c.measured for c in clear])
    if ratios.size < 2 or np.ptp(ratios) > TOLERANCE * np.abs(ratios).max():
        return "derive it from the value again, term by term; if it is an estimate, declare compared = False in the energy"
    ratio = float(np.median(ratios))
    if abs(ratio + 1) <= TOLERANCE:
        return "return it with the other sign: mass moves down the gradient of what is returned, −grad ξ"
    if volume is not None and min(abs(ratio / volume - 1), abs(ratio * volume - 1)) <= TOLERANCE:
        return "they differ by the cell volume: densities are mass/grid.volume, and first_variation is no derivative by a density"
    return f"divide it by {ratio:.4g}, or multiply the value by that"


def summary(found: Sequence[Compared], what: str) -> Check:
    """A sentence on what was compared."""
    known = sum(c.slope is not None for c in found)
    if known == 0:
        moves = any(c.largest > 0 for c in found)
        return Check(f"{what}: not compared, differences of the value show nothing but round-off", moves)
    return Check(f"{what} is the derivative of the value in {known} of {len(found)} directions, within {TOLERANCE:.0%}", False)


# ----------------------------------------------------------------------------------------------------------- at particles
def check_at_particles(
    name: str, energy: ParticleEnergy, factors: tuple[Factor, ...], points: Array, weights: Array, keeps_mass: bool
) -> None:
    """Compares gradients, and first variations where they are given. Raises InputError where they are no derivatives."""
    evaluation = energy.evaluate(points.copy(), weights.copy())
    check_particles_finite(name, evaluation, factors, energy.driven)
    coordinates = np.hstack([f.length_image(block(points, c)) for f, c in zip(factors, columns_of(factors), strict=True)])
    found = []
    for factor, columns in zip(factors, columns_of(factors), strict=True):
        if factor.moves:
            found += list(compare_factor(energy, factor, columns, points, weights, evaluation.gradient, coordinates))
    refuse(found, f"the gradient of {name} at particles", "gradient_i = grad ξ(x_i), the derivative of value by x_i over w_i")
    if evaluation.first_variation is not None:

        def value(changed: Array) -> tuple[float, float]:
            return size(energy.evaluate(points.copy(), changed))

        found = compare_masses(value, weights, evaluation.first_variation, coordinates, keeps_mass)
        refuse(found, f"the first variation of {name} at particles", "first_variation_i = ∂value/∂w_i")


def check_particles_finite(name: str, evaluation: ParticleEvaluation, factors: tuple[Factor, ...], driven: bool) -> None:
    """Raises InputError for what a run cannot start from."""
    for what, values in (("gradient", evaluation.gradient), ("first_variation", evaluation.first_variation)):
        finite = values is None or bool(np.isfinite(values).all())
        require(finite, f"{name}: {what} is not finite at the start", "finite numbers", "choose another start, or correct it")
    require(bool(np.isfinite(evaluation.value)), f"{name}: value = {evaluation.value}", "a finite number", "choose another start")
    for factor, columns in zip(factors, columns_of(factors), strict=True):
        rests = factor.moves or not evaluation.gradient[:, columns].any()
        require(rests, f"{name}: a gradient along the labels {factor.name!r}", "0 along labels", "leave that column 0")
    check_driven(name, evaluation.drive, driven)


def size(evaluation: ParticleEvaluation) -> tuple[float, float]:
    """(value, round-off)."""
    return evaluation.value, EPSILON * abs(evaluation.value)


def compare_factor(
    energy: ParticleEnergy, factor: Factor, columns: slice, points: Array, weights: Array, gradient: Array, coordinates: Array
) -> Iterator[Compared]:
    """The gradient along one factor: in its own direction, and along a wave."""
    x, mine = points[:, columns], gradient[:, columns]
    width = spread(centred(factor.length_image(block(points, columns)), weights), weights) or factor.cell_width
    largest = max(spread(mine, weights), TINY)
    random = np.random.default_rng(columns.start)
    across = next(waves(coordinates, weights, 1))[:, None] * random.choice([-1.0, 1.0], factor.columns)
    for shape in (np.tanh(mine / largest), across):
        way = width * shape
        inside = np.ones((len(x), 1)) if factor.walls is None else away_from_walls(x, STEPS[0] * np.abs(way), factor)
        way = way * inside

        def moved(s: float, way: Array = way) -> tuple[float, float]:
            places = points.copy()
            places[:, columns] = factor.fold(x + s * way)
            with np.errstate(all="ignore"):
                return size(energy.evaluate(places, weights.copy()))

        tangent = way if factor.columns == 1 else (factor.fold(x + 1e-6 * way) - factor.fold(x - 1e-6 * way)) / 2e-6
        rate = float(weights @ (mine * tangent).sum(axis=1))
        bound = float(weights.sum()) * spread(mine, weights) * spread(tangent, weights)

        def right(slope: Slope, rate: float = rate, bound: float = bound) -> bool:
            return fits(slope, rate, bound)

        yield Compared(slope_among_neighbours(moved, bound, right) if way.any() else None, rate, bound)


def away_from_walls(x: Array, reach: Array, factor: Factor) -> Array:
    """1 for places (n, 1) that stay inside when they move so far, else 0."""
    return ((x - reach > factor.edges[0]) & (x + reach < factor.edges[-1])).astype(float)
