"""Clouds: drawn from the same densities as the grid's cell masses, kept inside the space."""

import numpy as np
import pytest

from gridflow.errors import InputError
from gridflow.particles.cloud import draw_cloud, fold
from gridflow.space.circle import Circle
from gridflow.space.densities import Cosine, Normal, Uniform, Weights
from gridflow.space.labels import Labels
from gridflow.space.line import Interval
from gridflow.space.mixture import Component

LINE = Interval(bounds=(-1.0, 3.0), cells=16).factor("x")
CIRCLE = Circle(cells=16).factor("x")
LABELS = Labels(values=[-1.0, 1.0], volumes=[0.25, 0.75]).factor("x")

DENSITIES = {
    "normal": (Normal(0.9, 0.3), LINE),
    "wrapped normal": (Normal(6.0, 0.8), CIRCLE),
    "uniform": (Uniform(), LINE),
    "uniform on bounds": (Uniform((0.0, 1.5)), LINE),
    "uniform on labels": (Uniform(), LABELS),
    "cosine": (Cosine(-1.0, 2), CIRCLE),
    "cosine on a line": (Cosine(0.7, 3), LINE),
    "weights": (Weights([float(k % 3) for k in range(16)]), LINE),
    "weights on labels": (Weights([3.0, 1.0]), LABELS),
}


@pytest.mark.parametrize(("density", "factor"), DENSITIES.values(), ids=DENSITIES.keys())
def test_quantiles_invert_the_cell_masses(density, factor):
    """Equidistant levels fill every cell with its mass, up to one level per cell end."""
    count = 20_000
    x = density.quantile((np.arange(count) + 0.5) / count, factor)
    cells = np.searchsorted(factor.edges, x) - 1 if factor.one_dimensional else np.searchsorted(factor.points, x)
    shares = np.bincount(cells, minlength=factor.size) / count
    np.testing.assert_allclose(shares, density.masses(factor), atol=3 / count + 1e-6)  # 1e−6: what a box may cut off


@pytest.mark.parametrize("sampling", ["random", "sobol"])
def test_clouds_are_samples_of_the_mixture(sampling):
    factors = (Labels(values=[-1.0, 1.0]).factor("s"), Interval(bounds=(-4.0, 4.0), cells=8).factor("y"))
    mixture = [
        Component(weight=3.0, density={"s": Weights([1.0, 0.0]), "y": Normal(-1.0, 0.3)}),
        Component(weight=1.0, density={"s": Weights([0.0, 1.0]), "y": Normal(2.0, 0.1)}),
    ]
    count = 4096
    cloud = draw_cloud(mixture, factors, count, seed=5, sampling=sampling)
    assert len(cloud.weights) == count
    assert cloud.weights.sum() == pytest.approx(1.0)
    error = 4 / np.sqrt(count) if sampling == "random" else 0.01  # four standard errors; Sobol points are far better
    assert (cloud.points[:, 0] == -1.0).mean() == pytest.approx(0.75, abs=error)
    assert cloud.points[:, 1].mean() == pytest.approx(-0.25, abs=1.4 * error)
    again = draw_cloud(mixture, factors, count, seed=5, sampling=sampling)
    np.testing.assert_array_equal(again.points, cloud.points)


def test_fold_mirrors_at_walls_and_wraps_on_circles():
    factors = (LABELS, LINE, CIRCLE)
    points = np.array([[1.0, -1.25, -0.5], [-1.0, 3.5, 7.0], [1.0, 12.0, 1.0]])
    folded = fold(points, factors)
    np.testing.assert_allclose(folded[:, 1], [-0.75, 2.5, 2.0])  # 12 → −6 → 4 − … : two mirrors
    np.testing.assert_allclose(folded[:, 2], [2 * np.pi - 0.5, 7.0 - 2 * np.pi, 1.0])
    np.testing.assert_array_equal(folded[:, 0], points[:, 0])


def test_impossible_clouds_are_refused():
    with pytest.raises(InputError, match="at least 1"):
        draw_cloud([Component(density={"x": Uniform()})], (LINE,), 0, seed=0)
    with pytest.raises(InputError, match="named densities"):
        draw_cloud([Component(file="a.nc")], (LINE,), 3, seed=0)
