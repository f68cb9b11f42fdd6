"""Numbers that decay in time: the temperature of a flow that is annealed, the level of a noise that is injected.

    number(t) = floor + (start − floor)·s(t/time),    s(0) = 1, falling to 0

    power          s(u) = (1 + u)^(−power)
    exponential    s(u) = e^(−u)
    logarithmic    s(u) = 1/log(e + u)

With the temperature start/log(e + t/time) mean-field Langevin dynamics reach the minimum of a convex energy E, and not that of
E + D∫ρ log ρ, where `start` is large enough (Chizat 2022, TMLR; simulated annealing: Holley and Stroock 1988).
"""

from math import e, exp, expm1, log, log1p, sqrt
from typing import Annotated

import scipy
from msgspec import Meta, Struct

GAUSS_LEGENDRE = tuple((0.5 + shift * sqrt(0.15), weight / 18) for shift, weight in ((-1, 5), (0, 8), (1, 5)))
"""Nodes on [0, 1] and weights of the quadrature that is exact up to degree 5."""
NARROW = 0.03
"""Width of log(e + u) up to which that quadrature of 1/log(e + u) errs by 1e−13 at most; beyond, differences of Ei by less."""
LATEST = 1e300
"""Largest u that counts: its logarithm, and e^u to the power of it in Ei, are numbers of the machine."""


class Decaying(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """time : in which it falls at first; floor : what it falls to, in the units of the number."""

    time: Annotated[float, Meta(gt=0.0)]
    floor: Annotated[float, Meta(ge=0.0)] = 0.0

    def share(self, u: float) -> float:
        """s(u)."""
        raise NotImplementedError

    def mean_share(self, u: float, width: float) -> float:
        """The mean of s between u and u + width, width > 0: to round-off, however wide."""
        raise NotImplementedError

    def at(self, start: float, time: float) -> float:
        """The number at a time."""
        return self.floor + (start - self.floor) * self.share(min(time / self.time, LATEST))

    def mean(self, start: float, first: float, last: float) -> float:
        """The mean of the number between two times."""
        u = min(first / self.time, LATEST)
        width = min((last - first) / self.time, LATEST - u)
        return self.floor + (start - self.floor) * (self.mean_share(u, width) if width > 0 else self.share(u))

    def check(self, start: float, name: str) -> None:
        """Raises ValueError for a number that would not fall."""
        if not start > self.floor:
            raise ValueError(f"{name} = {start:g} does not fall to floor = {self.floor:g}; lower the floor")


class PowerDecay(Decaying, frozen=True, forbid_unknown_fields=True, kw_only=True, tag="power", tag_field="kind"):
    """(1 + t/time)^(−power)."""

    power: Annotated[float, Meta(gt=0.0)] = 0.5

    def share(self, u: float) -> float:
        return float((1 + u) ** -self.power)

    def mean_share(self, u: float, width: float) -> float:
        """s(u)·∫(1 + v)^(−power)dv/w, from 0 to w = width/(1 + u)."""
        w, rest = width / (1 + u), 1 - self.power
        return self.share(u) * ((expm1(rest * log1p(w)) / rest if rest else log1p(w)) / w)


class ExponentialDecay(Decaying, frozen=True, forbid_unknown_fields=True, kw_only=True, tag="exponential", tag_field="kind"):
    """e^(−t/time), to a floor above 0, below which no scheme has numbers."""

    floor: Annotated[float, Meta(gt=0.0)]

    def share(self, u: float) -> float:
        return exp(-u)

    def mean_share(self, u: float, width: float) -> float:
        return exp(-u) * (-expm1(-width) / width)


class LogarithmicDecay(Decaying, frozen=True, forbid_unknown_fields=True, kw_only=True, tag="logarithmic", tag_field="kind"):
    """1/log(e + t/time)."""

    def share(self, u: float) -> float:
        return 1 / log(e + u)

    def mean_share(self, u: float, width: float) -> float:
        """∫du/log(e + u) = Ei(log(e + u)); narrow means by Gauss and Legendre's three nodes."""
        first, last = log(e + u), log(e + u + width)
        if last - first <= NARROW:
            return sum(weight * self.share(u + node * width) for node, weight in GAUSS_LEGENDRE)
        return float(scipy.special.expi(last) - scipy.special.expi(first)) / width


Schedule = PowerDecay | ExponentialDecay | LogarithmicDecay
