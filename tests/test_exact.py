"""Exact solutions that are integrated continue from the last time."""

import numpy as np
import pytest
from helpers import QUADRATIC, case_of

from gridflow.exact.base import Trajectory
from gridflow.solver import solve


class Counted:
    """ẏ = −y, with the number of its evaluations."""

    def __init__(self):
        self.calls = 0

    def __call__(self, _, state):
        self.calls += 1
        return -state


def test_later_times_cost_no_more_than_the_way_to_them():
    """Forty saves, each from the last one: at worst a step of DOP853 each (12 evaluations, and 5 for a start). Anew from 0, at
    least 20 times as long on average: 7000 evaluations and more."""
    rate = Counted()
    path = Trajectory(rate, [1.0, 2.0])
    for t in np.linspace(0.5, 20.0, 40):
        np.testing.assert_allclose(path.at(t), np.exp(-t) * np.array([1.0, 2.0]), rtol=1e-8)
    there = Counted()
    Trajectory(there, [1.0, 2.0]).at(20.0)
    assert rate.calls <= 3 * there.calls


def test_an_earlier_time_starts_anew():
    path = Trajectory(lambda _, y: -y, [1.0])
    later, earlier = path.at(2.0)[0], path.at(1.0)[0]
    assert later == pytest.approx(np.exp(-2.0), rel=1e-10)
    assert earlier == pytest.approx(np.exp(-1.0), rel=1e-10)
    assert path.at(0.0)[0] == 1.0


def test_saves_do_not_change_the_errors():
    """With many saves or few: trajectories agree to 1e−12 per piece, the errors of the density to the steps that saves cut."""
    few, many = (solve(case_of(QUADRATIC, time__save=n)) for n in (2, 21))
    case = case_of(QUADRATIC)
    at = case.exact.solution(case.problem())
    pieces = [at(float(t)) for t in many["time"]][-1]
    np.testing.assert_allclose(case.exact.masses(case.problem(), [1.0])[0], pieces, atol=1e-11)
    assert float(few["error_w1"][-1]) == pytest.approx(float(many["error_w1"][-1]), rel=0.2)
