"""What a kernel of pairs declares, from which every engine sums it.

A new kernel is a class with its numbers, and five members:

    radial(r²)    in NumPy; or of_product(1 + x·y) where `formula.of` says so
    formula       the same and its slope in the language of pykeops (`gridflow.sums.formulas`)
    numbers       the p of the formula
    rows(…)       the sum over pairs, compiled: a function of its own that calls `radial_sum` or `product_sum`
                  (`gridflow.sums.pairs`) with a scalar function of the kernel

and, where there is a sum that does not take all pairs, `order` and `by_structure`. numba's cache of the sums looks at the file of
the kernel and at what it calls.
"""

import numpy as np
from msgspec import Struct

from gridflow.space.factor import Array
from gridflow.sums.choice import Precision
from gridflow.sums.definition import distance_definition, in_blocks, product_definition
from gridflow.sums.door import pair_sum
from gridflow.sums.formulas import Formula, formula_sum
from gridflow.sums.pairs import Sums, shared_rows


class PairKernel(Struct, frozen=True):
    """k(x, y), a function of r = |x − y| or of x·y, and its sums over scattered points by every engine."""

    @property
    def formula(self) -> Formula:
        """k and its slope for pykeops."""
        raise NotImplementedError

    @property
    def numbers(self) -> tuple[float, ...]:
        """The numbers of the formula."""
        raise NotImplementedError

    def radial(self, squared: Array) -> Array:
        """k of r², any shape; of complex numbers too."""
        raise NotImplementedError

    def of_product(self, base: Array) -> Array:
        """k of 1 + x·y, any shape; of complex numbers too."""
        raise NotImplementedError

    def rows(self, points: Array, sources: Array, weights: Array, gradient: bool) -> Sums:
        """The compiled sum, on this thread."""
        raise NotImplementedError

    def order(self, dim: int) -> int:
        """Power of the number of points that the cost of a sum grows with, up to a logarithm."""
        return 2

    def by_structure(self, points: Array, sources: Array, weights: Array) -> Sums | None:
        """The sum of order 1, where there is one."""
        return None

    def sum(self, points: Array, sources: Array, weights: Array, lengths: Array, gradient: bool = True) -> Sums:
        """Σ_j w_j k(x_i, y_j), and its gradient, of points (n_points, n_dim); lengths : circumferences, 0 for lines."""
        return pair_sum(self, points, sources, weights, gradient)

    def by_numpy(self, points: Array, sources: Array, weights: Array) -> Sums:
        """The definition, block by block."""
        if self.formula.of == "product":
            return in_blocks(lambda rows: product_definition(self.of_product, rows, sources, weights), points, len(sources))
        return in_blocks(lambda rows: distance_definition(self.radial, rows, sources, weights), points, len(sources))

    def by_numba(self, points: Array, sources: Array, weights: Array, gradient: bool) -> Sums:
        """Compiled, rows shared out among threads."""
        return shared_rows(lambda part: self.rows(part, sources, weights, gradient), points, len(sources))

    def by_keops(self, points: Array, sources: Array, weights: Array, gradient: bool, precision: Precision) -> Sums:
        """The formula, by pykeops."""
        return formula_sum(self.formula, points, sources, weights, np.array(self.numbers), gradient, precision)
