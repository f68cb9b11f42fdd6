"""Named densities: exact cell masses, mixtures, refusals."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.special import ndtr

from gridflow.errors import InputError
from gridflow.space.circle import Circle
from gridflow.space.densities import Cosine, Normal, Uniform, Weights, normal_below
from gridflow.space.grid import Grid
from gridflow.space.labels import Labels
from gridflow.space.line import Interval
from gridflow.space.mixture import Component, mixture_masses

LINE = Interval(bounds=(-1.0, 3.0), cells=12).factor("x")
CIRCLE = Circle(cells=12).factor("x")
LABELS = Labels(values=[-1.0, 1.0], volumes=[0.25, 0.75]).factor("x")


def normal(x, mean, deviation):
    return np.exp(-((x - mean) ** 2) / (2 * deviation**2)) / (deviation * np.sqrt(2 * np.pi))


def wrapped(x, mean, deviation):
    return sum(normal(x + 2 * np.pi * k, mean, deviation) for k in range(-20, 21))


CASES = {
    "normal": (Normal(0.4, 0.6), LINE, lambda x: normal(x, 0.4, 0.6)),
    "wrapped normal": (Normal(5.9, 0.6), CIRCLE, lambda x: wrapped(x, 5.9, 0.6)),
    "wide wrapped normal with a far mean": (Normal(-20.0, 8.0), CIRCLE, lambda x: wrapped(x, -20.0, 8.0)),
    "uniform": (Uniform(), LINE, lambda x: 0.25),
    "uniform on bounds": (Uniform((0.1, 1.6)), LINE, lambda x: (0.1 < x < 1.6) / 1.5),
    "cosine": (Cosine(0.5, 3), LINE, lambda x: (1 + 0.5 * np.cos(3 * np.pi * (x + 1) / 4)) / 4),
    "cosine on the circle": (Cosine(-1.0, 2), CIRCLE, lambda x: (1 - np.cos(2 * x)) / (2 * np.pi)),
}


@pytest.mark.parametrize(("spec", "factor", "density"), CASES.values(), ids=CASES.keys())
def test_cell_masses_are_the_integrals_of_the_density(spec, factor, density):
    edges = factor.edges
    expected = [quad(density, a, b, points=[0.1, 1.6], epsabs=1e-13)[0] for a, b in pairwise(edges)]
    np.testing.assert_allclose(spec.masses(factor), expected, atol=1e-11)  # quad's own error at the jumps


def test_normal_masses_keep_relative_accuracy_in_both_tails():
    factor = Interval(bounds=(-20.0, 20.0), cells=40).factor("x")
    masses = Normal(0.0, 1.0).masses(factor)
    np.testing.assert_allclose(masses, masses[::-1], rtol=1e-12)
    assert 0 < masses[-1] < 1e-80


def test_a_mixture_has_mass_one_and_the_given_weights():
    grid = Grid([LABELS, Interval(bounds=(-9.0, 9.0), cells=64).factor("y")])
    parts = [
        Component(weight=3.0, density={"x": Weights([1.0, 0.0]), "y": Normal(-2.0, 0.5)}),
        Component(weight=1.0, density={"x": Weights([0.0, 5.0]), "y": Normal(2.0, 0.5)}),
    ]
    masses = mixture_masses(parts, grid, Path(), "initial")
    assert masses.sum() == pytest.approx(1.0, rel=1e-15)
    np.testing.assert_allclose(masses.sum(axis=1), [0.75, 0.25], rtol=1e-14)
    assert Uniform().masses(LABELS).tolist() == [0.25, 0.75]


def one(density, factor=LINE):
    return mixture_masses([Component(density={"x": density})], Grid([factor]), Path(), "initial")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: one(Normal(0.0, 0.5)), r"cuts off 0\.023 of the mass \(0\.023 of it along 'x'\)"),
        (lambda: one(Uniform((7.0, 8.0))), "without any mass"),
        (lambda: one(Weights([0.0, 0.0]), LABELS), "positive sum"),
        (lambda: one(Weights([1.0]), LABELS), "2 numbers"),
        (lambda: one(Uniform((0.0, 1.0)), LABELS), "no bounds"),
        (lambda: one(Normal(0.0, 1.0), LABELS), "intervals and circles"),
        (lambda: one(Cosine(0.5), LABELS), "intervals and circles"),
        (
            lambda: mixture_masses([Component(density={"y": Uniform()})], Grid([LINE]), Path(), "initial"),
            "add density.x; remove density.y",
        ),
        (lambda: mixture_masses([Component(file="no.nc")], Grid([LINE]), Path(), "initial"), "no file 'no.nc'"),
    ],
)
def test_wrong_densities_are_refused(call, message):
    with pytest.raises(InputError, match=message):
        call()


def test_a_component_is_either_a_product_or_a_file():
    for arguments in ({}, {"density": {"x": Uniform()}, "file": "a.nc"}):
        with pytest.raises(ValueError, match="either"):
            Component(**arguments)
    with pytest.raises(ValueError, match="not increasing"):
        Uniform((1.0, 0.0))


def test_the_normal_distribution_function_is_that_of_scipy():
    """Relative, down to the smallest normal numbers, up to the rounding of z, which counts z² times; of arrays of any shape."""
    z = np.linspace(-37, 9, 1000).reshape(2, 5, 100)
    np.testing.assert_allclose(normal_below(z), ndtr(z), rtol=1e-12)
