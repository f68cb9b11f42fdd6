"""The face sweep (`gridflow.scheme.finite_volume.stage`) on products of lines, circles and labels."""

import numpy as np


def shift(values, axis, steps, circle):
    """values at cell i + steps along an axis; beyond a wall the last cell."""
    n = values.shape[axis]
    index = np.arange(n) + steps
    return np.take(values, index % n if circle else np.clip(index, 0, n - 1), axis=axis)


def flux_divergence(grid, rho, xi, limited, temperature):
    """(div(ρ M grad ξ + D M grad ρ), rate of what leaves a cell per density), one factor after the other; shapes of the grid."""
    total, outflow = np.zeros(grid.shape), np.zeros(grid.shape)
    for axis, factor in enumerate(grid.factors):
        if not factor.one_dimensional:
            continue
        circle = factor.period > 0
        along = lambda v, axis=axis: grid.along(axis, v)  # noqa: E731
        left, right = along(factor.distances[:-1]), along(factor.distances[1:])
        open_left, open_right = along(factor.areas[:-1]), along(factor.areas[1:])
        behind = open_left * (rho - shift(rho, axis, -1, circle)) / left
        ahead = open_right * (shift(rho, axis, 1, circle) - rho) / right
        mean = (behind + ahead) / 2
        limit = np.minimum(2 * np.minimum(abs(behind), abs(ahead)), abs(mean))
        slope = np.where(behind * ahead > 0, np.sign(mean) * limit, 0.0) if limited else np.zeros(grid.shape)
        east, difference = shift(rho, axis, 1, circle), xi - shift(xi, axis, 1, circle)
        weight = open_right / right * grid.mobility[axis]
        if temperature is None:
            upwind = np.where(difference > 0, rho + slope * right / 2, east - shift(slope, axis, 1, circle) * right / 2)
            flux = weight * difference * upwind
            leaving_east, leaving_west = weight * np.maximum(difference, 0), weight * np.maximum(-difference, 0)
        else:
            s = difference / temperature
            bernoulli = lambda z: np.where(z == 0, 1.0, z / np.expm1(np.where(z == 0, 1.0, z)))  # noqa: E731
            flux = weight * temperature * (bernoulli(-s) * rho - bernoulli(s) * east)
            leaving_east, leaving_west = weight * temperature * bernoulli(-s), weight * temperature * bernoulli(s)
        into = shift(flux, axis, -1, circle) * open_left
        total += (into - flux) / along(factor.volumes)
        outflow += (leaving_east + shift(leaving_west, axis, -1, circle) * open_left) / along(factor.volumes)
    return total, outflow
