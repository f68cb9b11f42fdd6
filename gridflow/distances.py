"""Distances between densities on the same grid factor. All in units of the coordinate, or dimensionless."""

import numpy as np

from gridflow.space.factor import Array, Factor


def wasserstein1(masses: Array, other: Array, factor: Factor) -> float:
    """W1 between two one-dimensional densities given by their cell masses, (n_cells,) each.

    On a line ∫|F − G|; on a circle min_c ∫|F − G − c|, attained at the median (Rabin, Delon and Gousseau 2011). The distribution
    functions F, G are known exactly at the cell ends; between them the integral is a trapezoidal sum, second order.
    """
    gap = np.cumsum(masses - other)
    if factor.is_circle:
        return float(np.abs(gap - np.median(gap)) @ factor.volumes)  # the cells of a circle are equal
    return float(np.abs(gap[:-1]) @ np.diff(factor.points))


def l1(masses: Array, other: Array) -> float:
    """∫|ρ − ρ'| of the cell averages."""
    return float(np.abs(masses - other).sum())
