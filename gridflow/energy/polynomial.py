"""Polynomials in several factors."""

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from msgspec import Meta, Struct

from gridflow.errors import require
from gridflow.space.factor import Array, Factor, columns_of, factor_index


class Monomial(Struct, frozen=True, forbid_unknown_fields=True):
    """coefficient·Π x^power over the named factors, intervals and labels."""

    coefficient: float
    powers: Annotated[dict[str, Annotated[int, Meta(ge=1, le=16)]], Meta(min_length=1)]


@dataclass(frozen=True)
class Polynomial:
    """Σ of monomials."""

    monomials: tuple[Monomial, ...]

    def on(self, factors: tuple[Factor, ...]) -> "PolynomialOn":
        """The polynomial on a product of factors. Raises InputError for circles, surfaces and unknown factors."""
        for name in sorted({name for monomial in self.monomials for name in monomial.powers}):
            factor = factors[factor_index(factors, name, "energy.polynomial")]
            fits = factor.columns == 1 and factor.period == 0
            received, fix = f"a polynomial on the {factor.kind} {name!r}", "use a term or a target"
            require(fits, received, "intervals and labels", fix)
        return PolynomialOn(self.monomials, factors)


@dataclass(frozen=True)
class PolynomialOn:
    """Σ of monomials on a product of factors."""

    monomials: tuple[Monomial, ...]
    factors: tuple[Factor, ...]

    def at(self, points: Array) -> tuple[Array, Array]:
        """(V, (n,); ∇V, (n, n_columns), 0 along labels) at points (n, n_columns)."""
        columns = {f.name: c.start for f, c in zip(self.factors, columns_of(self.factors), strict=True)}
        moves = {f.name: f.moves for f in self.factors}
        value, gradient = np.zeros(len(points)), np.zeros(points.shape)
        for monomial in self.monomials:
            powers = {columns[name]: power for name, power in monomial.powers.items()}
            value += monomial.coefficient * np.prod([points[:, c] ** p for c, p in powers.items()], axis=0)
            for name, power in monomial.powers.items():
                if moves[name]:
                    lower = {**powers, columns[name]: power - 1}
                    product = np.prod([points[:, c] ** p for c, p in lower.items()], axis=0)
                    gradient[:, columns[name]] += monomial.coefficient * power * product
        return value, gradient
