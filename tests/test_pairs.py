"""Kernel sums over scattered points: the compiled version against the NumPy definition."""

import numpy as np
import pytest

from gridflow.sums.elementary import (
    compiled,
    exp_and_less_one,
    exp_decaying,
    log1p_of_share,
    log2_and_inverse,
    power_and_inverse,
)
from gridflow.sums.kernels import Gaussian, InverseMultiquadric, Laplace, Polynomial, Riesz
from tests.reference import pairs as reference


@pytest.mark.parametrize("lengths", [[0.0], [0.0, 0.0], [0.0, 0.0, 0.0], [2.0], [0.0, 6.3], [1.0, 6.3]], ids=str)
@pytest.mark.parametrize("bandwidth", [0.3, 2.0])
def test_the_compiled_sum_is_the_definition(lengths, bandwidth, rng):
    lengths = np.array(lengths)
    points, sources = rng.standard_normal((40, len(lengths))), rng.standard_normal((30, len(lengths)))
    weights = rng.random(30)
    fast = Gaussian(bandwidth).sum(points, sources, weights, lengths)
    slow = reference.gaussian_sum(points, sources, weights, bandwidth, lengths)
    np.testing.assert_allclose(fast[0], slow[0], rtol=1e-12)
    # slopes of a nearly constant kernel cancel: round-off is relative to the values over the bandwidth
    np.testing.assert_allclose(fast[1], slow[1], rtol=1e-12, atol=1e-14 * slow[0].max() / bandwidth)


def test_a_particle_does_not_push_itself():
    """∇k(0) = 0 (S4)."""
    value, gradient = Gaussian(1.0).sum(np.zeros((1, 2)), np.zeros((1, 2)), np.ones(1), np.zeros(2))
    assert value[0] == 1.0
    assert (gradient == 0).all()


def test_far_apart_on_a_circle_nothing_is_felt():
    points = np.array([[0.1, -8.0], [3.2, 5.0]])
    weights, lengths = np.array([0.5, 0.5]), np.array([2 * np.pi, 0.0])
    slow = reference.gaussian_sum(points, points, weights, 0.05, lengths)
    for value, gradient in (Gaussian(0.05).sum(points, points, weights, lengths), slow):
        np.testing.assert_allclose(value, 0.5)
        np.testing.assert_array_equal(gradient, 0.0)


@pytest.mark.parametrize("dimension", [1, 2, 3])
@pytest.mark.parametrize(
    "kernel", [Laplace(0.4), InverseMultiquadric(0.7), Riesz(0.5), Riesz(1.0), Riesz(1.7), Polynomial(3)], ids=str
)
def test_other_kernels_are_their_definition(kernel, dimension, rng):
    points, sources = rng.standard_normal((40, dimension)), rng.standard_normal((30, dimension))
    sources[:5] = points[:5]  # coincident pairs: their gradient is 0
    weights, lengths = rng.random(30), np.zeros(dimension)
    fast = kernel.sum(points, sources, weights, lengths)
    slow = reference.kernel_sum(kernel, points, sources, weights)
    scale = np.abs(slow[1]).max()
    np.testing.assert_allclose(fast[0], slow[0], rtol=1e-12, atol=1e-12 * np.abs(slow[0]).max())
    np.testing.assert_allclose(fast[1], slow[1], rtol=1e-12, atol=1e-12 * scale)
    np.testing.assert_array_equal(kernel.sum(points, sources, weights, lengths, gradient=False)[0], fast[0])


@compiled
def powers(base, exponent, out):
    for j in range(base.size):
        out[j], _ = power_and_inverse(base[j], exponent)


@compiled
def logarithms(x, log2, inverse):
    for j in range(x.size):
        log2[j], inverse[j] = log2_and_inverse(x[j])


def test_logarithms_are_logarithms(rng):
    """Against NumPy from 1e−300 to 1e300, and around 1, where all digits of the small logarithm are right: a few roundings."""
    near = 1 + 10.0 ** rng.uniform(-12, -0.4, 2000) * rng.choice([-1, 1], 2000)
    x = np.concatenate([10.0 ** rng.uniform(-300, 300, 2000), near, np.sqrt(0.5) ** np.arange(-50, 51)])
    log2, inverse = np.empty_like(x), np.empty_like(x)
    logarithms(x, log2, inverse)
    np.testing.assert_allclose(log2, np.log(x) / np.log(2), rtol=1.5e-15)
    np.testing.assert_allclose(inverse, 1 / x, rtol=5e-16)


@pytest.mark.parametrize("exponent", [0.05, 0.25, 0.5, 0.95, -0.4])
def test_powers_are_powers(exponent, rng):
    """Against NumPy from 1e−200 to 1e200, powers of 2 and their neighbours included."""
    base = np.concatenate(
        [10.0 ** rng.uniform(-200, 200, 2000), 2.0 ** np.arange(-50, 50), np.nextafter(2.0 ** np.arange(-50, 50), 0)]
    )
    value = np.empty_like(base)
    powers(base, exponent, value)
    np.testing.assert_allclose(value, base**exponent, rtol=2e-13)  # 460·exponent·ε of the logarithm


@pytest.mark.parametrize("exponent", [6.0, 2.5, -6.0])
def test_powers_beyond_the_numbers_of_the_machine_are_infinite_or_count_for_nothing(exponent):
    base = np.array([1e-180, 1e-54, 1e-30, 1.0, 1e30, 1e54, 1e180])
    value = np.empty_like(base)
    powers(base, exponent, value)
    with np.errstate(over="ignore", under="ignore"):
        right = base**exponent
    counts = (right > 1e-300) & (right < 1e300)
    np.testing.assert_allclose(value[counts], right[counts], rtol=1e-12)
    assert (value[right >= 1e300] == np.inf).all()
    assert (value[right <= 1e-300] <= 1e-300).all()
    assert (value >= 0).all()


@compiled
def differences(x, whole, out):
    for j in range(x.size):
        whole[j], out[j] = exp_and_less_one(x[j])


@compiled
def shares(x, out):
    for j in range(x.size):
        out[j] = log1p_of_share(x[j])


def test_small_exponentials_and_logarithms_have_all_digits(rng):
    """e^x − 1 and log(1 + u) from 1e−300 on, against NumPy: a few roundings, two more for the former."""
    small = np.concatenate([10.0 ** rng.uniform(-300, 0, 4000), rng.uniform(0, 1, 4000), [1.0, np.sqrt(2) - 1, 0.0]])
    value = np.empty_like(small)
    shares(small, value)
    np.testing.assert_allclose(value, np.log1p(small), rtol=1e-15)
    x = -np.concatenate([small, rng.uniform(0, 500, 4000)])
    whole, value = np.empty_like(x), np.empty_like(x)
    differences(x, whole, value)
    np.testing.assert_array_less(np.abs(whole / np.exp(x) - 1), 1e-15 + 1.5e-16 * np.abs(x))
    np.testing.assert_allclose(value, np.expm1(x), rtol=2.5e-15)


@compiled
def exponentials(x, out):
    for j in range(x.size):
        out[j] = exp_decaying(x[j])


def test_exponentials_are_exponentials(rng):
    """To the rounding of two operations, and of x log₂e where that is large; flat where nothing is left."""
    x = np.concatenate([-(10.0 ** rng.uniform(-12, 0, 4000)), -rng.uniform(0, 599, 4000), [0.0, -np.log(2) / 2]])
    value = np.empty_like(x)
    exponentials(x, value)
    np.testing.assert_array_less(np.abs(value / np.exp(x) - 1), 1e-15 + 1.2e-16 * np.abs(x))
    far, value = np.array([-610.0, -1e5, -np.inf, np.nan, 0.0]), np.empty(5)
    exponentials(far, value)
    np.testing.assert_array_equal(value[:3], 2.0**-865)
    assert np.isnan(value[3])
    assert value[4] == 1.0
