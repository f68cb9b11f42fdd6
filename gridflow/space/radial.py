"""Densities on all factors of a space together that are no products of densities along them: Barenblatt's.

    ρ(x, t) = t^{−α} (C − k|x|² t^{−2α/d})_+^p,   p = 1/(m − 1),   α = d/(d(m − 1) + 2),   k = α(m − 1)/(2md)

solves ∂ρ/∂t = Δρ^m in d dimensions, from a point mass at t = 0 (Barenblatt 1952, Pattle 1959, for m > 1; the same formula for
1 − 2/d < m < 1, where p < 0, k < 0 and the density is positive everywhere). With the radius R = (C/|k|)^½ t^{α/d} it is, up to a
factor, (1 − r²/R²)_+^p or (1 + r²/R²)^p. C follows from the mass 1:

    C^{p + d/2} |k|^{−d/2} S = 1,   S = ∫(1 − |y|²)_+^p dy = π^{d/2} Γ(p + 1)/Γ(p + 1 + d/2), or π^{d/2} Γ(−p − d/2)/Γ(−p)

Lines through it, and its marginals, are of the same family: their distribution functions are incomplete Beta functions.
"""

from math import pi
from typing import Annotated, NamedTuple

import numpy as np
import scipy
from msgspec import Meta, Struct

from gridflow.errors import require
from gridflow.space.factor import Array, Factor

NODES = 8
"""Of Gauss–Legendre quadrature in every cell, across the lines along which masses are exact: order 16 inside the support; at its
edge, where the integrand falls like the power p + 1 of the distance, order p + 2."""
DIMENSIONS_MAX = 3
"""For particles, whose directions are drawn."""


class Profile(NamedTuple):
    """(1 − r²/R²)_+^p for p > 0, (1 + r²/R²)^p for p < 0, r from a centre, up to a factor: R = radius, p = power."""

    radius: float
    power: float

    def section(self, square: float) -> "Profile":
        """The profile along a line at the distance² `square` from the centre."""
        return Profile(float(np.sqrt(max(self.radius**2 - np.sign(self.power) * square, 0.0))), self.power)

    def marginal(self, dimensions: int) -> "Profile":
        """The profile along one of so many dimensions when the others have been integrated out."""
        return Profile(self.radius, self.power + (dimensions - 1) / 2)

    def integral(self, dimensions: int = 1) -> float:
        """Of the profile, over all of space."""
        p, half = self.power, dimensions / 2
        inverse = scipy.special.poch(p + 1 if p > 0 else -p - half, half)  # Γ(a + half)/Γ(a), also where both overflow
        return float(self.radius**dimensions * pi**half / inverse)

    def beyond(self, x: Array) -> Array:
        """Share of the line beyond x ≥ 0, to all digits in the tail."""
        if self.power < 0:
            return 0.5 * scipy.special.betainc(-self.power - 0.5, 0.5, self.radius**2 / (self.radius**2 + x**2))
        inside = np.clip(1 - (x / self.radius) ** 2, 0.0, 1.0) if self.radius > 0 else np.zeros_like(x)
        return 0.5 * scipy.special.betainc(self.power + 1, 0.5, inside)

    def between(self, edges: Array) -> Array:
        """Shares of the line between neighbouring edges, which are measured from the centre."""
        beyond = self.beyond(np.abs(edges))
        below, above = np.where(edges < 0, beyond, 1 - beyond), np.where(edges < 0, 1 - beyond, beyond)
        return np.where(edges[:-1] > 0, above[:-1] - above[1:], below[1:] - below[:-1])

    def radii(self, level: Array, dimensions: int) -> Array:
        """Radii within which the density in so many dimensions has the shares `level`, in (0, 1)."""
        p, half = self.power, dimensions / 2
        if p > 0:
            return self.radius * np.sqrt(scipy.special.betaincinv(half, p + 1, level))
        share = scipy.special.betaincinv(half, -p - half, level)
        return self.radius * np.sqrt(share / (1 - share))


class Line(NamedTuple):
    """A profile along one factor, as a density on it."""

    profile: Profile
    centre: float

    def masses(self, factor: Factor) -> Array:
        """Masses of the cells, (n_cells,)."""
        return self.profile.between(factor.edges - self.centre)


class Barenblatt(Struct, frozen=True, forbid_unknown_fields=True, tag="barenblatt", tag_field="kind"):
    """Barenblatt's density of ∂ρ/∂t = Δρ^exponent at a `time`, around `centre`, by factor (0 where it is not named)."""

    exponent: Annotated[float, Meta(gt=0.0)]
    time: Annotated[float, Meta(gt=0.0)]
    centre: dict[str, float] = {}

    def profile(self, dimensions: int) -> Profile:
        """Its profile in so many dimensions. Raises InputError where it has no mass 1."""
        m, d = self.exponent, dimensions
        fits, allowed = m > 1 - 2 / d and m != 1, f"more than 1 − 2/d = {1 - 2 / d:g}, and not 1"
        require(fits, f"a Barenblatt density of exponent {m:g} in {d} dimensions", allowed, "use another exponent")
        p, alpha = 1 / (m - 1), d / (d * (m - 1) + 2)
        k = alpha * abs(m - 1) / (2 * m * d)
        constant = (k ** (d / 2) / Profile(1.0, p).integral(d)) ** (1 / (p + d / 2))
        with np.errstate(over="ignore", under="ignore", invalid="ignore"):  # looked at below
            radius = float(np.sqrt(constant / k) * self.time ** (alpha / d))
        received = f"a Barenblatt density of exponent {m:g} at time {self.time:g}, whose radius is {radius:g}"
        require(bool(0 < radius < np.inf), received, "a radius that is a number", "use a larger exponent, or a later time")
        return Profile(radius, p)

    def check(self, factors: tuple[Factor, ...]) -> None:
        """Raises InputError for other factors than intervals, and for a centre along one that is not there."""
        other = [f.name for f in factors if f.walls is None]
        received = f"a Barenblatt density with the factor {', '.join(other)}"
        require(not other, received, "intervals", "use a density for every factor")
        unknown = sorted(set(self.centre) - {f.name for f in factors})
        received = f"the centre of a Barenblatt density along {', '.join(unknown)}"
        require(not unknown, received, f"one of {', '.join(f.name for f in factors)}", "rename it")

    def marginal(self, factor: Factor, factors: tuple[Factor, ...]) -> Line:
        """The marginal along a factor."""
        return Line(self.profile(len(factors)).marginal(len(factors)), self.centre.get(factor.name, 0.0))

    def masses(self, factors: tuple[Factor, ...]) -> Array:
        """Masses of the cells, shape of the grid: exact along the last factor, by quadrature along the others."""
        self.check(factors)
        profile = self.profile(len(factors))
        edges = [f.edges - self.centre.get(f.name, 0.0) for f in factors]
        return section_masses(profile, edges) / profile.integral(len(factors))

    def points(self, level: Array, factors: tuple[Factor, ...]) -> Array:
        """Positions from levels in (0, 1), (n, n_factors) each. Raises InputError for more than three factors."""
        self.check(factors)
        count = len(factors)
        received = f"particles from a Barenblatt density in {count} dimensions"
        require(count <= DIMENSIONS_MAX, received, f"at most {DIMENSIONS_MAX}", "start from normal densities")
        if count == 1:
            away = self.profile(1).radii(np.abs(2 * level - 1), 1) * np.sign(level - 0.5)
        else:
            away = self.profile(count).radii(level[:, :1], count) * directions(level[:, 1:])
        places = away + np.array([self.centre.get(f.name, 0.0) for f in factors])
        return np.clip(places, [f.edges[0] for f in factors], [f.edges[-1] for f in factors])


def section_masses(profile: Profile, edges: list[Array]) -> Array:
    """Integrals of a profile over the cells between edges along every factor, which are measured from its centre."""
    if len(edges) == 1:
        return profile.integral() * profile.between(edges[0]) if profile.radius > 0 else np.zeros(edges[0].size - 1)
    nodes, weights = np.polynomial.legendre.leggauss(NODES)
    reach = profile.radius if profile.power > 0 else np.inf  # cells are cut at the edge of the support
    lower, upper = np.clip(edges[0][:-1], -reach, reach), np.clip(edges[0][1:], -reach, reach)
    total = np.zeros([e.size - 1 for e in edges])
    for cell in np.flatnonzero(upper > lower):
        half = (upper[cell] - lower[cell]) / 2
        for node, weight in zip(nodes, weights, strict=True):
            section = profile.section(float(lower[cell] + half * (1 + node)) ** 2)
            height = (section.radius / profile.radius) ** (2 * profile.power)
            total[cell] += half * weight * height * section_masses(section, edges[1:])
    return total


def directions(level: Array) -> Array:
    """Unit vectors in the plane or in space, uniform, from levels (n, 1) or (n, 2)."""
    angle = 2 * pi * level[:, 0]
    plane = np.column_stack([np.cos(angle), np.sin(angle)])
    if level.shape[1] == 1:
        return plane
    cosine = 2 * level[:, 1:] - 1
    return np.hstack([plane * np.sqrt(1 - cosine**2), cosine])


JointSpec = Barenblatt
