"""Numbers that decay in time: the temperature of a flow that is annealed, the level of a noise that is injected.

    number(t) = floor + (start − floor)·s(t/time),    s(0) = 1, falling to 0

    power          s(u) = (1 + u)^(−power)
    exponential    s(u) = e^(−u)
    logarithmic    s(u) = 1/log(e + u)

With the temperature start/log(e + t/time) mean-field Langevin dynamics reach the minimum of a convex energy E, and not that of
E + D∫ρ log ρ, where `start` is large enough (Chizat 2022, TMLR; simulated annealing: Holley and Stroock 1988).
"""

from collections.abc import Callable
from math import e, exp, log, sqrt
from typing import Annotated

from msgspec import Meta, Struct

GAUSS_LEGENDRE = tuple((0.5 + shift * sqrt(0.15), weight / 18) for shift, weight in ((-1, 5), (0, 8), (1, 5)))
"""Nodes on [0, 1] and weights of the quadrature that is exact up to degree 5."""


class Decaying(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """time : in which it falls at first; floor : what it falls to, in the units of the number."""

    time: Annotated[float, Meta(gt=0.0)]
    floor: Annotated[float, Meta(ge=0.0)] = 0.0

    def share(self, u: float) -> float:
        """s(u)."""
        raise NotImplementedError

    def at(self, start: float, time: float) -> float:
        """The number at a time."""
        return self.floor + (start - self.floor) * self.share(time / self.time)

    def mean(self, start: float, first: float, last: float) -> float:
        """The mean of the number between two times."""
        return mean(lambda time: self.at(start, time), first, last)

    def check(self, start: float, name: str) -> None:
        """Raises ValueError for a number that would not fall."""
        if not start > self.floor:
            raise ValueError(f"{name} = {start:g} does not fall to floor = {self.floor:g}; lower the floor")


class PowerDecay(Decaying, frozen=True, forbid_unknown_fields=True, kw_only=True, tag="power", tag_field="kind"):
    """(1 + t/time)^(−power)."""

    power: Annotated[float, Meta(gt=0.0)] = 0.5

    def share(self, u: float) -> float:
        return float((1 + u) ** -self.power)


class ExponentialDecay(Decaying, frozen=True, forbid_unknown_fields=True, kw_only=True, tag="exponential", tag_field="kind"):
    """e^(−t/time), to a floor above 0, below which no scheme has numbers."""

    floor: Annotated[float, Meta(gt=0.0)]

    def share(self, u: float) -> float:
        return exp(-u)


class LogarithmicDecay(Decaying, frozen=True, forbid_unknown_fields=True, kw_only=True, tag="logarithmic", tag_field="kind"):
    """1/log(e + t/time)."""

    def share(self, u: float) -> float:
        return 1 / log(e + u)


Schedule = PowerDecay | ExponentialDecay | LogarithmicDecay


def mean(number: Callable[[float], float], first: float, last: float) -> float:
    """∫number/(last − first) between two times, by Gauss and Legendre's three nodes.

    Their error is that of (last − first)⁶ times the sixth derivative over 2·10⁶: far below that of steps of second order.
    """
    return sum(weight * number(first + node * (last - first)) for node, weight in GAUSS_LEGENDRE)
