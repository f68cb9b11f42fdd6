"""Congestion: no cell may hold more than a given density (Maury, Roudneff-Chupin and Santambrogio 2010).

The energy is 0 where ρ ≤ ρ_max and infinite elsewhere. Its Wasserstein flow with a potential V is a crowd that goes down V until
it is in its own way: ∂ρ/∂t = div(ρ grad(V + π)) with a pressure π ≥ 0 that is positive only where ρ = ρ_max. It is the limit
m → ∞ of U = ρ_max (ρ/ρ_max)^m/(m − 1). Steps that minimise need no more of it than min(ρ, ρ_max); it has no first variation to
follow.
"""

from math import inf
from typing import Annotated, ClassVar

import numpy as np
from msgspec import Meta, Struct

from gridflow.space.factor import Array


class Congestion(Struct, frozen=True, forbid_unknown_fields=True, tag="congestion", tag_field="kind"):
    """U = 0 for ρ ≤ largest, else infinite. largest : ρ_max"""

    largest: Annotated[float, Meta(gt=0.0)] = 1.0

    exponent: ClassVar[float] = inf
    finite: ClassVar[bool] = False

    def value(self, density: Array) -> Array:
        """0: what a step leaves above the bound is its tolerance."""
        return np.zeros_like(density)

    def derivative(self, density: Array) -> Array:
        return np.zeros_like(density)

    def second(self, density: Array) -> Array:
        return np.zeros_like(density)

    def pressure(self, density: Array) -> Array:
        return np.zeros_like(density)
