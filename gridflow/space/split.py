"""A grid seen as a matrix: moments of networks."""

from typing import Any, Protocol

import numpy as np

from gridflow.space.factor import Array, Factor, factor_index


class Product(Protocol):
    """What is needed of a grid."""

    factors: tuple[Factor, ...]
    shape: tuple[int, ...]

    def total(self, values: Any) -> Any:
        """Numbers summed over all slabs."""

    def flat_volumes(self, axes: tuple[int, ...]) -> Array:
        """What the cells of a group of factors count in integrals."""


class Split:
    """Views a field on the grid as a matrix (n_outer, n_inner): the factors `names` (outer) against the rest (inner).

    Contraction of u-moments goes through here: Σ_A u(θ_A) m(θ_A, θ_B) is one matrix product, and costs O(n_cells).
    """

    def __init__(self, grid: Product, names: tuple[str, ...]) -> None:
        self.shape, self.total = grid.shape, grid.total
        self.outer = tuple(factor_index(grid.factors, n, "a group of factors") for n in names)
        self.inner = tuple(k for k in range(len(grid.shape)) if k not in self.outer)
        self.n_outer = int(np.prod([self.shape[k] for k in self.outer]))
        self.n_inner = int(np.prod([self.shape[k] for k in self.inner]))
        self.outer_volumes, self.inner_volumes = grid.flat_volumes(self.outer), grid.flat_volumes(self.inner)
        order = self.outer + self.inner
        self.outer_last = self.outer == tuple(range(len(self.inner), len(self.shape)))
        self.outer_first = order == tuple(range(len(self.shape)))
        self.order, self.back = order, np.argsort(order)

    def matrix(self, field: Array) -> Array:
        """(n_outer, n_inner); a view where the outer factors come first or last in memory, else a copy."""
        if self.outer_last:  # transpose of a view
            return field.reshape(self.n_inner, self.n_outer).T
        return (field if self.outer_first else np.transpose(field, self.order)).reshape(self.n_outer, self.n_inner)

    def contract(self, outer_values: Array, field: Array) -> Array:
        """Σ_outer values·field: (n_terms, n_outer) with a field on the grid → (n_terms, n_inner)."""
        return outer_values @ self.matrix(field)

    def expand(self, outer_values: Array, inner_values: Array) -> Array:
        """Σ_terms outer ⊗ inner, (n_terms, n_outer) and (n_terms, n_inner) → contiguous field on the grid."""
        product = np.dot if len(outer_values) == 1 else np.matmul  # each twice as fast as the other, and as a product elementwise
        if self.outer_last:
            return product(inner_values.T, outer_values).reshape(self.shape)
        field = product(outer_values.T, inner_values)
        if self.outer_first:
            return field.reshape(self.shape)
        field = field.reshape([self.shape[k] for k in self.order])
        return np.ascontiguousarray(np.transpose(field, self.back))
