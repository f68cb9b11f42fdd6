"""Named data measures μ by samples or quadrature: `points()` are inputs (n_data, n_dim) and weights (n_data,) of sum 1."""

from functools import reduce
from math import prod
from typing import Annotated

import numpy as np
from msgspec import Meta, Struct

from gridflow.errors import require
from gridflow.memory import require_memory
from gridflow.space.factor import Array

Count = Annotated[int, Meta(ge=1, le=10_000_000)]
Positive = Annotated[float, Meta(gt=0.0)]


def check_size(count: int, dim: int, fix: str = "lower count") -> None:
    """Raises InputError for inputs (count, dim) that do not fit into the memory: they, a copy and the targets of as many."""
    require_memory(f"inputs of {count} data in {dim} dimensions", 24 * count * (dim + 1), fix)


def product_rule(rules: list[tuple[Array, Array]]) -> tuple[Array, Array]:
    """Product of one-dimensional rules (nodes, weights): points (n, n_dim), weights (n,), the last input fastest."""
    check_size(prod(nodes.size for nodes, _ in rules), len(rules))
    points = np.stack(np.meshgrid(*(nodes for nodes, _ in rules), indexing="ij"), axis=-1)
    return points.reshape(-1, len(rules)), reduce(np.multiply.outer, [weights for _, weights in rules]).reshape(-1)


class NormalInputs(Struct, frozen=True, forbid_unknown_fields=True, tag="normal", tag_field="kind"):
    """Normal sample, whitened: its mean is 0 and its covariance is exactly the given one (the Σ of S1)."""

    count: Count
    covariance: list[list[float]]
    seed: Annotated[int, Meta(ge=0)] = 0

    def points(self) -> tuple[Array, Array]:
        dim = len(self.covariance)
        allowed = "a symmetric positive definite matrix"
        square = dim > 0 and all(len(row) == dim for row in self.covariance)
        covariance = np.array(self.covariance if square else [[np.nan]], dtype=float)
        fix = "write it row by row, [[5.0, 0.0], [0.0, 1.0]]"
        require(np.allclose(covariance, covariance.T), f"covariance {self.covariance}", allowed, fix)
        values = np.linalg.eigvalsh(covariance)
        received = f"covariance {self.covariance} with eigenvalues {values}"
        require(bool(values.min() > 0), received, allowed, "make all eigenvalues positive")
        require(self.count > dim, f"{self.count} samples in dimension {dim}", f"more than {dim}", "raise count")
        check_size(self.count, dim)
        sample = np.random.default_rng(self.seed).standard_normal((self.count, dim))
        sample -= sample.mean(axis=0)
        whiten = np.linalg.inv(np.linalg.cholesky(sample.T @ sample / self.count)).T
        return sample @ whiten @ np.linalg.cholesky(covariance).T, np.full(self.count, 1 / self.count)


class GaussHermiteInputs(Struct, frozen=True, forbid_unknown_fields=True, tag="gauss-hermite", tag_field="kind"):
    """Gauss–Hermite quadrature of an isotropic normal measure with mean 0: exact up to degree 2·count − 1 in each input."""

    count: Annotated[int, Meta(ge=1, le=180)]
    deviation: Positive = 1.0
    dimension: Annotated[int, Meta(ge=1, le=3)] = 1

    def points(self) -> tuple[Array, Array]:
        nodes, weights = np.polynomial.hermite_e.hermegauss(self.count)
        return product_rule([(self.deviation * nodes, weights / weights.sum())] * self.dimension)


class UniformInputs(Struct, frozen=True, forbid_unknown_fields=True, tag="uniform", tag_field="kind"):
    """Equidistant midpoints of an interval."""

    count: Count
    bounds: tuple[float, float]

    def points(self) -> tuple[Array, Array]:
        lower, upper = self.bounds
        require(upper > lower, f"bounds {list(self.bounds)}", "increasing bounds", "write bounds = [lower, upper]")
        check_size(self.count, 1)
        nodes = lower + (upper - lower) * (np.arange(self.count) + 0.5) / self.count
        return nodes[:, None], np.full(self.count, 1 / self.count)


class GaussLegendreInputs(Struct, frozen=True, forbid_unknown_fields=True, tag="gauss-legendre", tag_field="kind"):
    """The uniform measure on a box, `count` Gauss–Legendre nodes per input: exact up to degree 2·count − 1 in each.

    bounds : one pair for each input
    """

    count: Annotated[int, Meta(ge=1, le=500)]
    bounds: Annotated[list[tuple[float, float]], Meta(min_length=1, max_length=3)]

    def __post_init__(self) -> None:
        if any(not upper > lower for lower, upper in self.bounds):
            raise ValueError(f"bounds {[list(b) for b in self.bounds]} are not increasing; write bounds = [[lower, upper], …]")

    def points(self) -> tuple[Array, Array]:
        nodes, weights = np.polynomial.legendre.leggauss(self.count)
        return product_rule([(lower + (upper - lower) * (nodes + 1) / 2, weights / 2) for lower, upper in self.bounds])


class CircleInputs(Struct, frozen=True, forbid_unknown_fields=True, tag="circle", tag_field="kind"):
    """The uniform measure on a circle in the plane, at `count` equidistant points: exact for harmonics of degree < count.

    The first point lies half a step above the first axis, so that an even count is symmetric to both axes.
    """

    count: Annotated[int, Meta(ge=1, le=1_000_000)]
    radius: Annotated[float, Meta(gt=0.0)] = 1.0

    def points(self) -> tuple[Array, Array]:
        angle = (np.arange(self.count) + 0.5) * (2 * np.pi / self.count)
        return self.radius * np.stack([np.cos(angle), np.sin(angle)], axis=1), np.full(self.count, 1 / self.count)


class NodesInputs(Struct, frozen=True, forbid_unknown_fields=True, tag="nodes", tag_field="kind"):
    """Nodes of one's own, one list of numbers for each, with weights ≥ 0, which are divided by their sum; default equal ones."""

    nodes: Annotated[list[Annotated[list[float], Meta(min_length=1)]], Meta(min_length=1)]
    weights: list[Annotated[float, Meta(ge=0.0)]] | None = None

    def __post_init__(self) -> None:
        if len({len(node) for node in self.nodes}) > 1:
            raise ValueError("nodes of different dimensions; give every node equally many numbers")
        if self.weights is not None and (len(self.weights) != len(self.nodes) or not sum(self.weights) > 0):
            raise ValueError(f"{len(self.weights)} weights for {len(self.nodes)} nodes; give one ≥ 0 for each, not all 0")

    def points(self) -> tuple[Array, Array]:
        weights = np.ones(len(self.nodes)) if self.weights is None else np.array(self.weights)
        return np.array(self.nodes, dtype=float), weights / weights.sum()


InputsSpec = NormalInputs | GaussHermiteInputs | UniformInputs | GaussLegendreInputs | CircleInputs | NodesInputs
