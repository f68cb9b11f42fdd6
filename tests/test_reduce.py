"""Kernel sums over scattered points: the compiled version against the NumPy definition."""

import numpy as np
import pytest

from gridflow.sums.pairs import gaussian_sum, gaussian_sum_numpy, pair_sum, pair_sum_numpy, pair_values, powers


@pytest.mark.parametrize("lengths", [[0.0], [0.0, 0.0], [0.0, 0.0, 0.0], [2.0], [0.0, 6.3], [1.0, 6.3]], ids=str)
@pytest.mark.parametrize("bandwidth", [0.3, 2.0])
def test_the_compiled_sum_is_the_definition(lengths, bandwidth, rng):
    lengths = np.array(lengths)
    points, sources = rng.standard_normal((40, len(lengths))), rng.standard_normal((30, len(lengths)))
    weights = rng.random(30)
    fast = gaussian_sum(points, sources, weights, bandwidth, lengths)
    slow = gaussian_sum_numpy(points, sources, weights, bandwidth, lengths)
    np.testing.assert_allclose(fast[0], slow[0], rtol=1e-12)
    # slopes of a nearly constant kernel cancel: round-off is relative to the values over the bandwidth
    np.testing.assert_allclose(fast[1], slow[1], rtol=1e-12, atol=1e-14 * slow[0].max() / bandwidth)


def test_a_particle_does_not_push_itself():
    """∇k(0) = 0 (S4)."""
    value, gradient = gaussian_sum(np.zeros((1, 2)), np.zeros((1, 2)), np.ones(1), 1.0, np.zeros(2))
    assert value[0] == 1.0
    assert (gradient == 0).all()


def test_far_apart_on_a_circle_nothing_is_felt():
    points = np.array([[0.1, -8.0], [3.2, 5.0]])
    for compute in (gaussian_sum, gaussian_sum_numpy):
        value, gradient = compute(points, points, np.array([0.5, 0.5]), 0.05, np.array([2 * np.pi, 0.0]))
        np.testing.assert_allclose(value, 0.5)
        np.testing.assert_array_equal(gradient, 0.0)


@pytest.mark.parametrize("dimension", [1, 2, 3])
@pytest.mark.parametrize(
    ("kernel", "parameter"), [("laplace", 0.4), ("imq", 0.7), ("riesz", 0.5), ("riesz", 1.0), ("riesz", 1.7), ("polynomial", 3.0)]
)
def test_other_kernels_are_their_definition(kernel, parameter, dimension, rng):
    points, sources = rng.standard_normal((40, dimension)), rng.standard_normal((30, dimension))
    sources[:5] = points[:5]  # coincident pairs: their gradient is 0
    weights = rng.random(30)
    fast, slow = (
        pair_sum(points, sources, weights, kernel, parameter),
        pair_sum_numpy(points, sources, weights, kernel, parameter),
    )
    scale = np.abs(slow[1]).max()
    np.testing.assert_allclose(fast[0], slow[0], rtol=1e-12, atol=1e-12 * np.abs(slow[0]).max())
    np.testing.assert_allclose(fast[1], slow[1], rtol=1e-12, atol=1e-12 * scale)
    np.testing.assert_array_equal(pair_values(points, sources, weights, kernel, parameter), fast[0])


@pytest.mark.parametrize("exponent", [0.05, 0.25, 0.5, 0.95, -0.4])
def test_powers_are_powers(exponent, rng):
    """Against NumPy from 1e−200 to 1e200, powers of 2 and their neighbours included."""
    base = np.concatenate(
        [10.0 ** rng.uniform(-200, 200, 2000), 2.0 ** np.arange(-50, 50), np.nextafter(2.0 ** np.arange(-50, 50), 0)]
    )
    value, work = np.empty_like(base), np.empty_like(base)
    powers(base, exponent, value, work)
    np.testing.assert_allclose(value, base**exponent, rtol=2e-13)  # 460·exponent·ε of the logarithm
