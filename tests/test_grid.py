"""The grid: storage order, integrals, contractions."""

from itertools import combinations

import numpy as np
import pytest

from gridflow.errors import InputError
from gridflow.space.circle import Circle
from gridflow.space.grid import Grid
from gridflow.space.labels import Labels
from gridflow.space.line import Grading, Interval
from gridflow.space.sphere import Sphere


def make_grid(**mobility):
    factors = [
        Interval(bounds=(0.0, 2.0), cells=7, grading=Grading(focus=0.0, ratio=3.0)).factor("a"),
        Labels(values=[1.0, 2.0], volumes=[0.3, 0.7]).factor("c"),
        Circle(cells=5).factor("angle"),
    ]
    return Grid(factors, mobility)


def test_storage_order_puts_labels_first_and_the_longest_line_last():
    assert make_grid().order == ("c", "angle", "a")
    assert make_grid(angle=("a", np.ones(7))).order == ("c", "a", "angle")  # a factor that mobilities depend on leads


def test_volume_is_the_product_of_the_factor_volumes():
    grid = make_grid()
    assert grid.integrate(np.ones(grid.shape)) == pytest.approx(2.0 * 1.0 * 2 * np.pi, rel=1e-14)
    assert grid.coordinate("angle").shape == (1, 5, 1)


def test_marginals_sum_to_the_mass(rng):
    grid = make_grid()
    density = rng.random(grid.shape)
    for name in grid.order:
        assert grid.marginal_masses(density, name).sum() == pytest.approx(grid.integrate(density), rel=1e-14)
    np.testing.assert_allclose(grid.marginal_masses(density, "a"), np.einsum("cxa,cxa->a", density, grid.volume), rtol=1e-14)


def test_boundary_mass_counts_the_outer_cells_of_intervals_only(rng):
    grid = make_grid()
    density = rng.random(grid.shape)
    masses = density * grid.volume
    assert grid.boundary_mass(density) == pytest.approx(masses[:, :, [0, -1]].sum(), rel=1e-14)


@pytest.mark.parametrize("names", [n for k in range(4) for n in combinations(("a", "c", "angle"), k)], ids=str)
def test_contraction_and_expansion_are_the_einsums(names, rng):
    """The specification of `Split`, for every group of factors."""
    grid = make_grid()
    split = grid.split(names)
    letters = dict(zip(grid.order, "xyz", strict=True))
    outer = "".join(letters[n] for n in names)
    inner = "".join(letters[n] for n in grid.order if n not in names)
    outer_shape = [grid.shape[grid.order.index(n)] for n in names]
    inner_shape = [s for n, s in zip(grid.order, grid.shape, strict=True) if n not in names]
    u = rng.random((2, *outer_shape))
    field = rng.random(grid.shape)
    expected = np.einsum(f"t{outer},xyz->t{inner}", u, field).reshape(2, -1)
    np.testing.assert_allclose(split.contract(u.reshape(2, -1), field), expected, rtol=1e-13)
    g = rng.random((2, *inner_shape))
    expected = np.einsum(f"t{outer},t{inner}->xyz", u, g)
    result = split.expand(u.reshape(2, -1), g.reshape(2, -1))
    np.testing.assert_allclose(result, expected, rtol=1e-13)
    assert result.flags.c_contiguous


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: make_grid().coordinate("b"), "names the factor 'b'"),
        (lambda: make_grid(b=(None, np.ones(1))), "names the factor 'b'"),
        (lambda: make_grid(a=("a", np.ones(7))), "a factor other than itself"),
        (lambda: make_grid(a=("angle", np.ones(5)), angle=("a", np.ones(7))), "not both factors on each other"),
    ],
)
def test_wrong_names_are_refused(call, message):
    with pytest.raises(InputError, match=message):
        call()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Grid([]), "without factors"),
        (lambda: Grid([Circle(cells=5).factor("a"), Circle(cells=6).factor("a")]), "called a, a"),
        (lambda: make_grid(a=(None, np.array([-1.0]))), r"mobilities \[-1\.\] of 'a'"),
        (lambda: make_grid(a=("c", np.array([1.0, np.nan]))), "2 finite numbers"),
        (lambda: make_grid(a=(None, np.array([np.inf]))), "1 finite numbers"),
        (lambda: make_grid(a=("c", np.ones(3))), "2 finite numbers"),
        (lambda: make_grid(a=(None, np.ones(2))), "1 finite numbers"),
        (lambda: make_grid(a=("c", np.ones(0))), "2 finite numbers"),
    ],
)
def test_a_grid_made_by_hand_is_checked(call, message):
    with pytest.raises(InputError, match=message):
        call()


def test_a_grid_shows_its_factors():
    grid = Grid([*make_grid().factors, Sphere(level=0).factor("b")], {"a": ("c", np.array([1.0, 0.25]))})
    labels, sphere, circle, line = repr(grid).splitlines()
    assert labels == "c: labels, 2 cells in [1, 2], volumes 0.3 to 0.7"
    assert sphere.startswith("b: sphere, 12 cells in [-0.8")
    assert circle == "angle: circle, 5 cells in [0, 6.28319], volumes 1.25664 to 1.25664"
    assert line.startswith("a: interval, 7 cells in [0, 2], volumes 0.1")
    assert line.endswith(", mobility 0.25 to 1")
