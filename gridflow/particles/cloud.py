"""Clouds: weighted particles in a product of factors, and how they are drawn from an initial density."""

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from gridflow.errors import require
from gridflow.space.densities import Weights
from gridflow.space.factor import Array, Factor, block, columns_of, factor_index
from gridflow.space.mixture import Component

Sampling = Literal["random", "sobol"]


@dataclass(frozen=True)
class Cloud:
    """points : (n_particles, n_columns) in the storage order of the grid, one column for each factor, three for a surface;
    weights : (n_particles,) with sum 1."""

    points: Array
    weights: Array

    def __repr__(self) -> str:
        return f"<Cloud of {len(self.points)} particles in {self.points.shape[1]} columns>"


def column_names(factors: tuple[Factor, ...]) -> list[str]:
    """Names of the columns of points: those of the factors, on a surface NAME_x, NAME_y and NAME_z."""
    return [n for f in factors for n in ([f.name] if f.columns == 1 else [f"{f.name}_{axis}" for axis in "xyz"])]


def fold(points: Array, factors: tuple[Factor, ...]) -> Array:
    """All particles back into the space: mirrored at walls, wrapped on circles, retracted to surfaces; labels stay."""
    return np.hstack([f.fold(points[:, c]) for f, c in zip(factors, columns_of(factors), strict=True)])


def retract(points: Array, factors: tuple[Factor, ...]) -> Array:
    """Surfaces alone, in place: lines and circles stay unfolded, and columns beyond those of the factors what they are."""
    for factor, c in zip(factors, columns_of(factors), strict=True):
        if factor.columns > 1:
            points[:, c] = factor.fold(points[:, c])
    return points


def draw_cloud(
    components: list[Component],
    factors: tuple[Factor, ...],
    count: int,
    seed: int,
    sampling: Sampling = "random",
    strata: str | None = None,
) -> Cloud:
    """N particles of equal weight from a mixture of products, independent or by a scrambled Sobol sequence.

    strata : a factor of labels, each of which gets its exact mass: N/(number of labels) particles, up to one, that share it,
        drawn for each label on its own

    Both use the quantile functions of the named densities; the first coordinate of the sequence chooses the component. Seeded:
    the same seed gives the same cloud.

    Raises InputError for fewer than one particle, or one for each label of `strata`, and for a component that comes from a file.
    """
    require(sampling in get_args(Sampling), f"sampling {sampling!r}", " or ".join(get_args(Sampling)), "use one of them")
    require(count >= 1, f"{count} particles", "at least 1", "use more particles")
    require(len(components) > 0, "particles without an initial density", "one component or more", "name an initial density")
    named = all(c.named for c in components)
    require(named, "particles from an initial density in a file", "named densities", "write the density as a mixture")
    if strata is not None:
        return draw_strata(components, factors, count, seed, sampling, strata)
    columns = columns_of(factors)
    starts = np.cumsum([1, *(f.dimension for f in factors)])
    levels = unit_points(count, int(starts[-1]), seed, sampling)
    weights = np.array([c.weight for c in components])
    chosen = np.minimum(np.searchsorted(np.cumsum(weights / weights.sum()), levels[:, 0], side="right"), len(components) - 1)
    points = np.empty((count, columns[-1].stop))
    for number, component in enumerate(components):
        mine = chosen == number
        if component.joint is not None:
            points[mine] = component.joint.points(levels[mine, 1:], factors)
            continue
        for k, factor in enumerate(factors):
            level = block(levels[mine], slice(starts[k], starts[k + 1]))
            points[mine, columns[k]] = component.density[factor.name].quantile(level, factor).reshape(-1, factor.columns)
    return Cloud(points, np.full(count, 1 / count))


def draw_strata(
    components: list[Component], factors: tuple[Factor, ...], count: int, seed: int, sampling: Sampling, strata: str
) -> Cloud:
    """A cloud from the density at each label: components keep their weights there, and the label the mass that they give it."""
    labels = factors[factor_index(factors, strata, "strata")]
    received = f"particles with the exact mass of every label {strata!r} from a joint density"
    require(all(c.density for c in components), received, "a density for every factor", "write the density as a mixture")
    shares = np.stack([c.density[strata].masses(labels) for c in components])
    shares *= np.array([c.weight for c in components])[:, None] / sum(c.weight for c in components)
    present = np.flatnonzero(shares.sum(axis=0))
    received = f"{count} particles for {len(present)} labels {strata!r}"
    require(count >= len(present), received, "at least one for each", "use more particles")
    parts = []
    for number, label in enumerate(present):
        here = Weights([float(k == label) for k in range(labels.size)])
        mixture = [
            Component({**c.density, strata: here}, float(s)) for c, s in zip(components, shares[:, label], strict=True) if s > 0
        ]
        size = count // len(present) + (number < count % len(present))
        own = int(np.random.SeedSequence([seed, int(label)]).generate_state(1)[0])
        cloud = draw_cloud(mixture, factors, size, own, sampling)
        parts.append(Cloud(cloud.points, cloud.weights * shares[:, label].sum()))
    return Cloud(np.concatenate([c.points for c in parts]), np.concatenate([c.weights for c in parts]))


def unit_points(count: int, dimension: int, seed: int, sampling: Sampling) -> Array:
    """Points in the open unit cube, (count, dimension)."""
    if sampling == "sobol":
        from scipy.stats import qmc

        engine = qmc.Sobol(dimension, seed=seed)
        points = engine.random_base2(int(np.ceil(np.log2(count))))[:count]
    else:
        points = np.random.default_rng(seed).random((count, dimension))
    tiny = np.finfo(float).tiny
    return np.clip(points, tiny, 1 - np.finfo(float).epsneg)
