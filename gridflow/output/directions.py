"""Directions of neurons whose weight vector lies in a plane of the space: the angle of (w, b), from a dataset alone.

The direction of a ReLU neuron decides where it is active, and its norm is a factor of the output. Directions are weighted by
mass·norm: what a direction contributes to the network. (Neurons near the origin have directions that mean little.)
"""

import tomllib

import numpy as np
import xarray
from scipy.sparse import csr_array

SPLIT = 4
"""A cell is split into SPLIT² parts: near the origin it spans many directions."""


def direction_planes(dataset: xarray.Dataset) -> list[tuple[str, str]]:
    """Pairs of intervals whose coordinates are the weight vector of a branch, from the case in the attributes."""
    energy = tomllib.loads(str(dataset.attrs.get("case", ""))).get("energy", {})
    branches = [branch for part in energy.get("parts", [energy]) for branch in part.get("branches", [])]
    planes = [tuple(b["weights"]) for b in branches if len(b["weights"]) == 2]
    bounded = {n for n in map(str, dataset.variables) if f"{n}_bounds" in dataset.variables}
    return list(dict.fromkeys((a, b) for a, b in planes if {a, b} <= bounded))


def directions(dataset: xarray.Dataset, plane: tuple[str, str], bins: int = 72) -> xarray.DataArray:
    """∫|(w, b)| dρ over sectors of (w, b) and all other intervals and circles, (n_times, labels…, bins).

    The coordinate `angle` is that of the middle of a sector, atan2(b, w) in degrees from 0 to 360.
    """
    first, second = plane
    a, b = (subcell_middles(dataset[f"{name}_bounds"].to_numpy()) for name in plane)
    a, b = np.broadcast_arrays(a[:, None, :, None], b[None, :, None, :])  # (n_first, n_second, SPLIT, SPLIT)
    sector = np.floor(np.degrees(np.arctan2(b, a)) % 360 * bins / 360).astype(int) % bins
    cell = np.broadcast_to(np.arange(a[..., 0, 0].size).reshape(*a.shape[:2], 1, 1), a.shape)
    norms = csr_array((np.hypot(a, b).ravel() / SPLIT**2, (cell.ravel(), sector.ravel())), shape=(cell.max() + 1, bins))
    masses = dataset["density"] * dataset["cell_volume"]
    others = [str(d) for d in masses.dims if f"{d}_bounds" in dataset.variables and d not in plane]
    labels = [str(d) for d in masses.dims if d not in (*plane, *others)]  # time among them
    flat = masses.sum(others).transpose(*labels, first, second)
    shares = flat.to_numpy().reshape(-1, norms.shape[0]) @ norms
    coordinates = {**{n: dataset[n] for n in labels}, "angle": (np.arange(bins) + 0.5) * 360 / bins}
    return xarray.DataArray(shares.reshape(*flat.shape[:-2], bins), coordinates, dims=(*labels, "angle"))


def subcell_middles(bounds: np.ndarray) -> np.ndarray:
    """Middles of the parts of every cell, (n_cells, SPLIT)."""
    return bounds[:, :1] + np.diff(bounds) * (np.arange(SPLIT) + 0.5) / SPLIT
