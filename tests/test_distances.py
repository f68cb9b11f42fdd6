"""Distances against their definitions."""

import numpy as np
import pytest
from scipy.stats import wasserstein_distance

from gridflow.distances import l1, wasserstein1
from gridflow.space.density import Normal, Uniform
from gridflow.space.factor import Circle, Grading, Interval

LINE = Interval(bounds=(-2.0, 2.0), cells=200, grading=Grading(focus=0.0, ratio=3.0)).factor("x")
CIRCLE = Circle(cells=400).factor("x")


def test_w1_on_a_line_is_the_transport_of_cell_masses():
    one, two = Normal(-0.3, 0.2).masses(LINE), Uniform((-1.0, 1.5)).masses(LINE)
    # masses at the cell points: the same sum, exactly
    assert wasserstein1(one, two, LINE) == pytest.approx(wasserstein_distance(LINE.points, LINE.points, one, two), rel=1e-10)


def test_w1_of_a_translation_is_its_length():
    assert wasserstein1(Normal(0.25, 0.2).masses(LINE), Normal(-0.5, 0.2).masses(LINE), LINE) == pytest.approx(0.75, rel=1e-4)


@pytest.mark.parametrize(("start", "angle"), [(1.0, 0.7), (6.0, 1.0), (0.3, -1.2), (2.0, 2.5)])
def test_w1_on_a_circle_goes_the_short_way(start, angle):
    """Rotating a narrow density by an angle well below π moves all mass by that angle, through the seam or not."""
    one, two = Normal(start, 0.1).masses(CIRCLE), Normal(start + angle, 0.1).masses(CIRCLE)
    assert wasserstein1(one, two, CIRCLE) == pytest.approx(abs(angle), rel=1e-3)


def test_l1_of_disjoint_densities_is_two():
    assert l1(np.array([0.5, 0.5, 0.0]), np.array([0.0, 0.0, 1.0])) == 2.0
