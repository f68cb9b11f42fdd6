"""Directions of neurons: shares of sectors, from datasets alone."""

import numpy as np
import pytest
from matplotlib.figure import Figure

from gridflow.case.case import load_case
from gridflow.output.directions import direction_planes, directions
from gridflow.output.plotting import plot
from gridflow.output.projections import direction_panels
from gridflow.output.style import scale_by_cells
from gridflow.solver import solve


@pytest.fixture(scope="module")
def signed():
    changes = {"space.w.cells": 20, "space.b.cells": 20, "time.stop": 0.5, "time.save": 4}
    return solve(load_case("relu-regression").replace(changes))


def test_planes_are_the_weights_of_the_branches(signed):
    assert direction_planes(signed) == [("w", "b")]
    assert (
        direction_planes(solve(load_case("ornstein-uhlenbeck").replace({"time.save": 2, "time.stop": 0.1, "exact": None}))) == []
    )


def test_shares_add_up_to_the_mean_norm(signed):
    """The mean norm of normal weights is (π/2)^½·deviation; exact masses spread over cells of width h have variance 1 + h²/6."""
    shares = directions(signed, ("w", "b")).sum(["angle", "sign"])
    np.testing.assert_allclose(shares[0], np.sqrt(np.pi / 2 * (1 + 0.7**2 / 6)), rtol=1e-2)  # of order h⁴
    assert directions(signed, ("w", "b")).dims == ("time", "sign", "angle")


def test_a_rotationally_symmetric_density_has_no_direction(signed):
    """A quarter turn maps the parts of cells onto each other: quadrants are equal. (Smaller sectors are not.)"""
    shares = directions(signed, ("w", "b"), bins=4).isel(time=0)
    np.testing.assert_allclose(shares / shares.mean(), 1, rtol=1e-12)


def test_the_angle_is_that_of_first_and_second(signed):
    """Mass in one cell at w > 0, b = 0 and at w = 0, b > 0."""
    one = signed.copy(deep=True).isel(time=[0])
    one["density"][:] = 0.0
    one["density"].loc[{"sign": 1.0}] = (np.abs(one["b"]) < 0.5) * (one["w"] > 5.0) * 1.0
    one["density"].loc[{"sign": -1.0}] = (np.abs(one["w"]) < 0.5) * (one["b"] > 5.0) * 1.0
    shares = directions(one, ("w", "b"), bins=4).isel(time=0)  # sectors from 0°: both masses straddle an axis
    np.testing.assert_allclose(shares.sel(sign=1.0)[[0, 3]] / shares.sel(sign=1.0).sum(), 0.5)
    np.testing.assert_allclose(shares.sel(sign=-1.0)[[0, 1]] / shares.sel(sign=-1.0).sum(), 0.5)


def test_panels_have_sum_one_and_are_drawn(signed):
    panels = direction_panels(signed)
    assert list(panels) == ["($w$, $b$), sign = −1", "($w$, $b$), sign = 1"]
    for part in panels.values():
        np.testing.assert_allclose(part.sum("angle"), 1)
    assert set(panels) <= {axes.get_title() for axes in plot(signed).get_axes()}


def test_directions_that_stay_are_not_drawn(signed):
    assert direction_panels(signed.isel(time=[0])) == {}


def test_graded_cells_have_one_width_on_paper():
    points = np.sinh(np.linspace(-6.0, 6.0, 61)) / 100
    axes = Figure().subplots()
    assert scale_by_cells(axes, "x", points)
    assert not scale_by_cells(axes, "y", points[28:33])
    assert (axes.get_xscale(), axes.get_yscale()) == ("function", "linear")
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["−1", "−0.1", "0", "0.1", "1"]
