"""S2 §10: four measures that write the same network predict the same at the start, and differ afterwards."""

from pathlib import Path

import numpy as np
import pytest

from gridflow.case.case import load_case
from gridflow.space.mixture import mixture_masses

MEAN_OUTPUT, DEVIATION = 0.5, 0.6
SCALES = {
    "relu-representations": {"w": 0.6, "b": 0.6},
    "relu-representations-signed": {"w": 0.6, "b": 0.6},
    "relu-representations-pairs": {"w_plus": 0.9, "b_plus": 0.9, "w_minus": 0.6, "b_minus": 0.6},
    "relu-representations-directions": {"angle": np.sqrt(2 / np.pi)},
}
"""Deviations s of the weights. On the circle the density of ⟨d, x⟩ at 0 is 1/(π‖x‖): s = (2/π)^½ makes it 1/(s√(2π)‖x‖)."""


def start(name):
    """(predictions, inputs with their bias, cell widths by factor), at time 0."""
    case = load_case(name)
    grid, directory = case.grid(), Path(case.directory)
    bound = case.energy.load(directory).bind(grid)
    predictions = bound.evaluate(mixture_masses(case.initial, grid, directory, "initial")).prediction
    inputs = np.hstack([bound.data.inputs, np.ones((len(bound.data.inputs), 1))])
    return predictions[:, 0], inputs, {f.name: float(f.volumes.max()) for f in grid.factors}


@pytest.mark.parametrize("name", SCALES)
def test_predictions_at_the_start(name):
    """f(x) = E[α] s ‖x‖/√(2π). Mass at cell points instead of in cells of width h: E σ(z) changes by (h²/24) Σ x_k² p(z = 0),
    p(0) = 1/(s√(2π)‖x‖), times E|α| ≤ 1; twice that, for the terms of higher order."""
    predictions, inputs, widths = start(name)
    norms = np.linalg.norm(inputs, axis=1)
    exact = MEAN_OUTPUT * DEVIATION * norms / np.sqrt(2 * np.pi)
    change = sum(widths[n] ** 2 / 24 / (s * np.sqrt(2 * np.pi)) for n, s in SCALES[name].items()) * norms
    assert (np.abs(predictions - exact) <= 2 * change).all()
    assert (change < exact / 10).all()  # and that is a small part of them


def test_all_four_have_the_same_data_and_times():
    cases = [load_case(name) for name in SCALES]
    assert len({str(c.energy.data) for c in cases}) == 1
    assert len({c.time.stop for c in cases}) == 1
