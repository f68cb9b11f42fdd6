"""S3 §2.2: two teacher neurons are learned at the speeds of the student's masses, on the grid and with particles."""

import numpy as np
import pytest

from gridflow.case.case import load_case
from gridflow.particles.integrator import RungeKutta2
from gridflow.particles.simulation import simulate
from gridflow.solver import solve

RATE = 0.5
"""c = E max(x, 0)²."""


def speeds(alpha, split):
    """Rates (2,) at which |∫|θ|dρ − α_i| decays on the sides θ > 0 and θ < 0: on the grid, and with particles."""
    case = load_case("teacher-two-speeds").replace(
        {
            "space.theta.cells": 128,
            "time.stop": 6.0,
            "time.save": 13,
            "energy.data.neurons": [{"direction": [1.0], "weight": alpha}, {"direction": [-1.0], "weight": 1 - alpha}],
            "initial": [
                {"weight": mass, "density": {"theta": {"kind": "normal", "mean": mean, "deviation": 0.1}}}
                for mass, mean in ((split, 0.5), (1 - split, -0.5))
            ],
        }
    )
    dataset = solve(case)
    run = simulate(case, 1024, sampling="sobol", integrator=RungeKutta2(0.05))
    weights = np.array([alpha, 1 - alpha])
    found = []
    for theta, masses in (
        (dataset["theta"].to_numpy(), (dataset["density"] * dataset["cell_volume"]).to_numpy()),
        (run.points[..., 0], run.weights),
    ):
        moments = np.stack([(np.maximum(side * theta, 0) * masses).sum(axis=-1) for side in (1, -1)], axis=1)
        found.append(-np.polyfit(dataset["time"], np.log(np.abs(moments - weights)), 1)[0])
    return found


@pytest.mark.parametrize("alpha", [0.6, 0.8, 0.9])
def test_rates_are_in_the_ratio_of_the_weights_if_the_mass_has_split_so(alpha):
    """c·α_i each. 2 %: a thousand particles split to 1e−3, of which the smaller side holds a tenth; the grid is at 0.1 %."""
    for rates in speeds(alpha, alpha):
        np.testing.assert_allclose(rates, RATE * np.array([alpha, 1 - alpha]), rtol=0.02)
        assert rates[0] / rates[1] == pytest.approx(alpha / (1 - alpha), rel=0.02)


def test_rates_are_those_of_the_masses_and_not_of_the_weights():
    """Equal halves learn a teacher of 0.8 and 0.2 at one speed: S3's ratio 4 needs the split."""
    for rates in speeds(0.8, 0.5):
        assert rates[0] / rates[1] == pytest.approx(1.0, rel=0.02)
