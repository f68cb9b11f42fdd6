"""Ranges of pictures by what carries mass: one range of colours for all times of a density, and the part of a box that is shown.

A level of share s of a density is the value v such that cells up to v hold the share s of the mass.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import xarray

from gridflow.space.factor import Array

if TYPE_CHECKING:
    from matplotlib.colors import Normalize

TOP = 0.98
"""Colours end at the level of this share, of the time where it is largest: a few narrow peaks leave the rest visible."""
CLIPPED = 1.5
"""Where the largest density is not more than this multiple of that level, colours end at the largest density."""
LOGARITHMIC = 15.0
"""Colours are logarithmic where a quarter of the mass, at the time where it is thinnest, lies so far below their end."""
FAINT = 0.05
"""Logarithmic colours begin at half the level of this share, at the time where that is smallest, …"""
DECADES = 1e-4
"""… but at most four decades below their end."""
TAIL = 1e-3
"""Mass on either side of what is shown of a line."""
MARGIN = 0.08
"""Beyond that, as a share of what is shown."""


@dataclass(frozen=True)
class Scale:
    """Colours from `lower` to `upper`; largest : the largest density of all."""

    lower: float
    upper: float
    logarithmic: bool
    largest: float

    @property
    def clipped(self) -> bool:
        """Whether larger densities have the last colour."""
        return self.largest > self.upper

    def norm(self) -> "Normalize":
        """For matplotlib."""
        from matplotlib.colors import LogNorm, Normalize

        return (LogNorm if self.logarithmic else Normalize)(self.lower, self.upper)

    def raised(self, field: Array) -> Array:
        """The field with values below a logarithmic scale raised to its lowest colour."""
        return np.maximum(field, self.lower)

    def label(self, what: str) -> str:
        """What the colours are, and how far densities go beyond them."""
        return f"{what} (≤ {self.largest:.2g})" if self.clipped else what


def levels(field: Array, sizes: Array, shares: Sequence[float]) -> Array:
    """The levels of a density in cells of the given sizes, (n_shares,)."""
    values = field.ravel()
    order = np.argsort(values)
    below = np.cumsum((values * sizes.ravel())[order])
    if not below[-1] > 0:
        return np.zeros(len(shares))
    found = np.searchsorted(below, np.asarray(shares) * below[-1])
    return values[order][np.minimum(found, values.size - 1)]


def scale_of(frames: Iterable[tuple[Array, Array]]) -> Scale:
    """One scale for frames (density, sizes of its cells), each of one shape."""
    rows, largest = [], 0.0
    for field, sizes in frames:
        rows.append(levels(field, sizes, (FAINT, 0.25, TOP)))
        largest = max(largest, float(field.max()))
    faint, quarter, top = np.array([row for row in rows if row[2] > 0] or [np.ones(3)]).T
    upper = float(top.max())
    if largest <= CLIPPED * upper:
        upper = largest
    logarithmic = upper > LOGARITHMIC * quarter.min()
    lower = max(0.5 * float(faint.min()), DECADES * upper) if logarithmic else 0.0
    return Scale(lower, upper, logarithmic, max(largest, upper))


def window(masses: Array, edges: Array, points: Sequence[float]) -> tuple[float, float]:
    """Where the mass is along a line at all times, masses (n_times, n_cells), with the points that lie inside of the box."""
    lower, upper = edges[-1], edges[0]
    for row in masses:
        below = np.concatenate([[0.0], np.cumsum(row)])
        if below[-1] > 0:
            first, last = np.searchsorted(below, TAIL * below[-1], "right"), np.searchsorted(below, (1 - TAIL) * below[-1])
            lower, upper = min(lower, edges[first - 1]), max(upper, edges[min(last, edges.size - 1)])
    inside = [p for p in points if edges[0] <= p <= edges[-1]]
    lower, upper = min([lower, *inside]), max([upper, *inside])
    pad = MARGIN * (upper - lower)
    lower, upper = max(lower - pad, edges[0]), min(upper + pad, edges[-1])
    whole = float(edges[-1] - edges[0])
    return (float(edges[0]), float(edges[-1])) if upper - lower > 0.8 * whole else (float(lower), float(upper))


def telling_saves(dataset: xarray.Dataset, count: int) -> list[int]:
    """Indices of about `count` saves, the first and the last included: half by time, half by how much the density changes."""
    n, time = dataset.sizes["time"], dataset["time"].to_numpy()
    if n <= count:
        return list(range(n))
    density, volume = dataset["density"], dataset["cell_volume"].transpose(*dataset["density"].dims[1:]).to_numpy()
    fields = (density[k].to_numpy() for k in range(n))
    before, changes = next(fields), [0.0]
    for field in fields:
        changes.append(float((np.abs(field - before) * volume).sum()))
        before = field
    path = np.cumsum(changes)
    done = (time - time[0]) / (time[-1] - time[0]) + path / max(path[-1], np.finfo(float).tiny)
    chosen = [int(np.abs(done - done[-1] * share).argmin()) for share in np.linspace(0.0, 1.0, count)]
    return sorted({0, n - 1, *chosen})
