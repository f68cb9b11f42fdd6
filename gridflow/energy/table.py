"""Energies as tables of a case, and what they state for pictures: where the density should go, which pairs of factors matter."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from msgspec import Struct

from gridflow.space.factor import Array
from gridflow.space.grid import Grid

if TYPE_CHECKING:
    from gridflow.energy.base import Energy

NO_MASSES: Array = np.zeros(0)


@dataclass(frozen=True)
class Landmark:
    """Points of a space or of some of its factors, or a density there, that a picture draws over the density.

    label : what it is, for legends
    points : by factor the coordinates of the points, (n_points,), on a surface unit vectors, (n_points, 3). Along other factors
        the points are not fixed
    signs : by factor, the sign that its coordinate has beside each point, (n_points,)
    rays : every positive multiple of a point is as good as the point
    over, masses : of a density, its factors and the masses of their cells; of points, nothing
    """

    label: str
    points: Mapping[str, Array] = field(default_factory=dict)
    signs: Mapping[str, Array] = field(default_factory=dict)
    rays: bool = False
    over: tuple[str, ...] = ()
    masses: Array = field(default_factory=lambda: NO_MASSES)


class EnergyTable(Struct, frozen=True, forbid_unknown_fields=True):
    """The table [energy] of a case. `load` must be given, the rest may be.

    views : pairs of factors whose joint density says more than that of other pairs, for spaces of more than two factors
    """

    def load(self, directory: Path) -> "Energy":
        """The energy, with its files in a folder."""
        raise NotImplementedError

    @property
    def views(self) -> tuple[tuple[str, str], ...]:
        """See above."""
        return ()

    def landmarks(self, grid: Grid, directory: Path) -> list[Landmark]:
        """Where the density should go: targets and teachers, with their files in a folder."""
        return []
