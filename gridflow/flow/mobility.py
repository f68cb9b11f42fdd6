"""Mobility M: the metric of the space, ∂ρ/∂t = div(ρ M grad ξ), one number for each factor, or a power of another coordinate."""

from typing import Annotated

import numpy as np
from msgspec import Meta, Struct

from gridflow.errors import InputError
from gridflow.space.factor import Array, Factor, factor_index


class Mobility(Struct, frozen=True, forbid_unknown_fields=True):
    """M = value·(coordinate of a factor)^power, or a constant.

    value : 0 freezes the factor; factor : another one on which M depends; power : of its coordinate
    """

    value: Annotated[float, Meta(ge=0.0)] = 1.0
    factor: str | None = None
    power: float = 0.0

    def on(self, name: str, factors: list[Factor]) -> tuple[str | None, Array]:
        """(factor that the mobility of the factor `name` depends on, its values there). Raises InputError."""
        if self.factor is None:
            return None, np.array([self.value])
        source = factors[factor_index(tuple(factors), self.factor, f"flow.mobility.{name}.factor")]
        if source.columns > 1:
            raise InputError(
                f"flow.mobility.{name} depends on the surface {source.name!r}",
                "lines, circles and labels",
                "choose another factor",
            )
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            values = self.value * source.points**self.power
        if not (np.isfinite(values) & (values >= 0)).all():
            raise InputError(
                f"flow.mobility.{name} = {self.value} · {self.factor}^{self.power} is negative, infinite or undefined",
                "mobilities ≥ 0 on the whole factor", "choose another power or factor",
            )  # fmt: skip
        return self.factor, values
