"""Distances against their definitions, and against POT."""

import numpy as np
import ot
import pytest
from scipy.spatial.distance import cdist

from gridflow.particles.cloud import draw_cloud
from gridflow.space.circle import Circle
from gridflow.space.densities import Normal, Uniform
from gridflow.space.distances import Slices, quantiles_of_cells, quantiles_of_points, wasserstein, wasserstein1
from gridflow.space.grid import Grid
from gridflow.space.labels import Labels
from gridflow.space.line import Grading, Interval
from gridflow.space.mixture import Component, mixture_masses

LINE = Interval(bounds=(-2.0, 2.0), cells=200, grading=Grading(focus=0.0, ratio=3.0)).factor("x")
CIRCLE = Circle(cells=400).factor("x")


def test_w1_of_a_translation_is_its_length():
    assert wasserstein1(Normal(0.25, 0.2).masses(LINE), Normal(-0.5, 0.2).masses(LINE), LINE) == pytest.approx(0.75, rel=1e-4)


@pytest.mark.parametrize("power", [1, 2])
@pytest.mark.parametrize(("start", "angle"), [(1.0, 0.7), (6.0, 1.0), (0.3, -1.2), (2.0, 2.5)])
def test_distances_on_a_circle_go_the_short_way(start, angle, power):
    """Rotating a narrow density by an angle well below π moves all mass by that angle, through the seam or not."""
    one, two = (quantiles_of_cells(Normal(mean, 0.1).masses(CIRCLE), CIRCLE) for mean in (start, start + angle))
    assert wasserstein(one, two, power) == pytest.approx(abs(angle), rel=1e-3)


@pytest.mark.parametrize("power", [1, 2])
def test_clouds_on_a_line_against_pot(power, rng):
    x, y, weights = rng.normal(0, 0.4, 300), rng.normal(0.2, 0.5, 217), rng.random(217)
    weights /= weights.sum()
    ours = wasserstein(quantiles_of_points(x, np.full(300, 1 / 300), LINE), quantiles_of_points(y, weights, LINE), power)
    assert ours == pytest.approx(ot.wasserstein_1d(x, y, None, weights, p=power) ** (1 / power), rel=1e-10)


@pytest.mark.parametrize("power", [1, 2])
def test_clouds_on_a_circle_against_linear_programming(power, rng):
    """POT's exact solver with the geodesic cost knows nothing of quantile functions."""
    x, y, weights = rng.uniform(0, 2 * np.pi, 30), rng.normal(0, 1, 41) % (2 * np.pi), rng.random(41)
    weights /= weights.sum()
    uniform = np.full(30, 1 / 30)
    gap = np.abs(x[:, None] - y)
    exact = ot.emd2(uniform, weights, np.minimum(gap, 2 * np.pi - gap) ** power) ** (1 / power)
    ours = wasserstein(quantiles_of_points(x, uniform, CIRCLE), quantiles_of_points(y, weights, CIRCLE), power)
    assert ours == pytest.approx(exact, rel=1e-9)


@pytest.mark.parametrize("factor", [LINE, CIRCLE], ids=["line", "circle"])
def test_a_density_is_uniform_inside_its_cells(factor):
    """From cells to atoms in their middles: W1 = Σ m h/4, W2² = Σ m h²/12."""
    masses = Normal(0.3, 0.5).masses(factor)
    masses /= masses.sum()
    atoms = quantiles_of_points((factor.edges[1:] + factor.edges[:-1]) / 2, masses, factor)
    cells = quantiles_of_cells(masses, factor)
    assert wasserstein(atoms, cells, 1) == pytest.approx(masses @ factor.volumes / 4, rel=1e-9)
    assert wasserstein(atoms, cells, 2) ** 2 == pytest.approx(masses @ factor.volumes**2 / 12, rel=1e-9)
    assert wasserstein(cells, cells, 2) <= 1e-7  # on a circle the shift is found to 1e−10 of a turn


def test_crossing_distribution_functions_are_integrated_exactly():
    """Uniform on [0, 1] against uniform on [¼, ¾]: Q − R = (s − ½)/2, so W1 = 1/8 and W2² = 1/48, on different grids."""
    one, two = (Interval(bounds=(0.0, 1.0), cells=n).factor("x") for n in (8, 12))
    wide, narrow = quantiles_of_cells(Uniform().masses(one), one), quantiles_of_cells(Uniform((0.25, 0.75)).masses(two), two)
    assert wasserstein(wide, narrow, 1) == pytest.approx(1 / 8, rel=1e-13)
    assert wasserstein(narrow, wide, 2) ** 2 == pytest.approx(1 / 48, rel=1e-13)


# ---------------------------------------------------------------------------------------------------- the full space
A, B = Interval(bounds=(-3.0, 3.0), cells=48).factor("a"), Interval(bounds=(-2.0, 4.0), cells=40).factor("b")
ANGLE, SIGN = Circle(cells=64, length=4.0).factor("angle"), Labels(values=[-1.0, 1.0]).factor("sign")
SPACES = {"line": [A], "plane": [A, B], "cylinder": [A, ANGLE], "signed plane": [A, B, SIGN], "four": [A, ANGLE, SIGN]}


def component(grid, mean):
    return Component(density={f.name: Normal(mean, 0.4) if f.one_dimensional else Uniform() for f in grid.factors})


@pytest.mark.parametrize("space", SPACES.values(), ids=SPACES.keys())
def test_slices_against_pot_and_the_definition(space):
    grid = Grid(space)
    slices = Slices(grid.factors)
    clouds = [draw_cloud([component(grid, mean)], grid.factors, n, n) for mean, n in ((0.0, 300), (0.3, 250))]
    x, y = (np.hstack([f.length_image(c.points[:, k]) for k, f in enumerate(grid.factors)]) for c in clouds)
    one, two = (slices.of_points(c.points, c.weights) for c in clouds)
    bin_width = slices.edges[1] - slices.edges[0]
    if x.shape[1] > 1:  # the same directions
        same = ot.sliced_wasserstein_distance(x, y, projections=slices.directions.T, p=1)
        assert slices.sliced_wasserstein1(one, two) == pytest.approx(same, abs=bin_width / np.sqrt(250))
    energy = np.sqrt(2 * cdist(x, y).mean() - cdist(x, x).mean() - cdist(y, y).mean())
    assert slices.energy_distance(one, two) == pytest.approx(energy, rel=0.05)  # 32 directions for all


@pytest.mark.parametrize("space", SPACES.values(), ids=SPACES.keys())
def test_cells_and_many_points_cast_the_same_slices(space):
    """A density uniform in its cells against quasi-random points: order 2 in the cell size, with a ceiling."""
    gaps = []
    for factor in (1, 2):
        grid = Grid([f if not f.one_dimensional else refined(f, factor) for f in space])
        slices = Slices(grid.factors)
        cloud = draw_cloud([component(grid, 0.2)], grid.factors, 2**16, 3, "sobol")
        masses = mixture_masses([component(grid, 0.2)], grid, None, "test")
        cells, points = slices.of_grid(grid, masses), slices.of_points(cloud.points, cloud.weights)
        assert cells[:, -1] == pytest.approx(1.0)
        assert (np.diff(cells, axis=1) >= -1e-15).all()
        gaps.append(slices.energy_distance(cells, points))
    assert gaps[1] <= gaps[0] / 2 + 5e-4, f"gaps {gaps}"  # the points themselves: N^(−3/4) or so
    assert gaps[0] <= 0.02


def refined(factor, times):
    if factor.period > 0:
        return Circle(cells=factor.size * times, length=factor.total_volume).factor(factor.name)
    return Interval(bounds=(factor.edges[0], factor.edges[-1]), cells=factor.size * times).factor(factor.name)


def test_subnormal_masses_do_not_count():
    """exp(−z²/2) far out is 1e−323: over such a piece a quantile function is infinitely steep."""
    factor = Interval(bounds=(0.0, 4.0), cells=4).factor("x")
    one, two = np.array([0.0, 1e-323, 0.5, 0.5]), np.array([5e-324, 0.5, 0.5, 0.0])
    assert wasserstein1(one, two, factor) == pytest.approx(1.0)
