"""Sums over features and kernels with few numbers against sums term by term: values, ξ, predictions; where there is no gain."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from gridflow.case.case import load_case
from gridflow.energy.base import prediction_of
from gridflow.energy.interaction.convolution import Products, compressed
from gridflow.energy.network import low_rank
from gridflow.energy.network.activation import ACTIVATIONS, LEAK
from gridflow.energy.network.branch import Branch
from gridflow.energy.network.data import Data
from gridflow.energy.network.features import FeatureMatrix
from gridflow.energy.network.generic import FeatureNetwork
from gridflow.energy.network.kinked import KinkedFeatures, MergedFeatures
from gridflow.energy.network.loss import LOSSES
from gridflow.energy.network.low_rank import LowRankFeatures, low_rank_features, spread
from gridflow.energy.network.reduced import StoredFeatures
from gridflow.energy.network.spec import Network, NetworkEnergy
from gridflow.energy.potential import Potential, Quadratic
from gridflow.energy.sum import BoundSum
from gridflow.solver import solve
from gridflow.space.circle import Circle
from gridflow.space.grid import Grid
from gridflow.space.labels import Labels
from gridflow.space.line import Interval
from gridflow.space.sphere import Sphere
from gridflow.sums.kernels import Gaussian
from gridflow.sums.kinks import KinkedSums, SortedData, grouped, merge
from gridflow.sums.low_rank import TOLERANCE, SymmetricFactor, skeleton, symmetric_factor
from gridflow.threads import blas_threads

ROUNDING = 1e-12
"""Relative to the largest number: sums of thousands of terms in another order, and 1e−13 of low rank."""


def assert_close(found, wanted, tolerance=ROUNDING):
    np.testing.assert_allclose(found, wanted, rtol=0, atol=tolerance * np.abs(wanted).max())


def sigma(z, slopes):
    below, above = slopes
    return np.where(z > 0, above * z, below * z)


KINKS = {"relu": (0.0, 1.0), "leaky": (LEAK, 1.0), "odd": (1.0, 1.0), "even": (-1.0, 1.0)}


@pytest.mark.parametrize("slopes", KINKS.values(), ids=KINKS.keys())
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(("n_data", "n_points"), [(37, 500), (1, 5), (5, 1), (400, 60)])
def test_sums_by_sorted_angles_are_the_sums_term_by_term(slopes, bias, n_data, n_points, rng):
    data, points = rng.standard_normal((n_data, 2)), rng.standard_normal((n_points, 2))
    if bias:
        data[:, 1] = 1.0
    masses, residual = rng.random(n_points), rng.standard_normal(n_data)
    matrix = sigma(points @ data.T, slopes)
    s = SortedData.of(data)
    cuts, ahead = s.cuts(points)
    starts, (cuts,) = grouped([cuts], n_data)
    places = cuts + np.int32(starts.size) * ahead.astype(np.int32)
    sums = KinkedSums(slopes, starts, s.vectors, s.signs, points, places)
    size = np.abs(points).max() * np.abs(data).max()
    np.testing.assert_allclose(sums.over_points(masses), (masses @ matrix)[s.order], atol=1e-14 * size * masses.sum())
    found = sums.over_data(residual[s.order])
    np.testing.assert_allclose(found, matrix @ residual, atol=1e-14 * size * np.abs(residual).sum())
    if bias and slopes == (0.0, 1.0):
        dead = (matrix == 0).all(axis=1)
        assert (found[dead] == 0).all(), "points that no datum activates do not move"


@pytest.mark.parametrize("bias", [True, False])
def test_merged_data_have_the_same_squared_loss(bias, rng):
    """Leaky ReLUs, weights, two outputs: loss and its derivative, exactly but for round-off."""
    slopes, data, points = (LEAK, 1.0), rng.standard_normal((3000, 2)), rng.standard_normal((40, 2))
    if bias:
        data[:, 1] = 1.0
    weights, targets = rng.random(3000) / 3000, rng.standard_normal((3000, 2))
    masses, matrix = rng.standard_normal((2, 40)), sigma(points @ data.T, slopes)
    s = SortedData.of(data)
    cuts, ahead = s.cuts(points)
    starts, (cuts,) = grouped([cuts], 3000)
    rows = np.hstack([s.vectors, targets[s.order]]) * np.sqrt(weights[s.order])[:, None]
    starts, rows, signs, rest = merge(starts, rows, s.signs)
    assert len(rows) <= 4 * starts.size
    sums = KinkedSums(slopes, starts, rows[:, :2].copy(), signs, points, cuts + np.int32(starts.size) * ahead.astype(np.int32))
    residual = np.stack([sums.over_points(m) for m in masses]) - rows[:, 2:].T
    wanted = masses @ matrix - targets.T
    assert (np.sum(residual**2) + rest) / 2 == pytest.approx((weights * wanted**2).sum() / 2, rel=1e-13)
    for found, other in zip(residual, wanted, strict=True):
        assert_close(sums.over_data(np.ascontiguousarray(found)), matrix @ (weights * other), 1e-13)


A = Interval(bounds=(-1.0, 1.5), cells=6).factor("a")
W = Interval(bounds=(-3.0, 2.0), cells=50).factor("w")
B = Interval(bounds=(-2.0, 2.0), cells=44).factor("b")
SIGN = Labels(values=[-1.0, 1.0]).factor("sign")
ANGLE = Circle(cells=96).factor("angle")
ETA = Sphere(level=3).factor("eta")


def data_of(count, dim=1, outputs=1, binary=False):
    rng = np.random.default_rng(count)
    inputs, weights = rng.standard_normal((count, dim)), rng.random(count)
    targets = np.sin(2 * inputs[:, :1]) + 0.1 * rng.standard_normal((count, outputs))
    return Data(inputs, np.sign(targets) if binary else targets, weights / weights.sum())


def network(count, branches, dim=1, outputs=1, **other):
    data = data_of(count, dim, outputs, other.get("loss") == "logistic")
    return NetworkEnergy(Network(data=None, branches=branches, **other), data)


SIGNED = [Branch(["w", "b"], [["sign"]])]
PAIR = [Branch(["w", "b"], [["a"]]), Branch(["w", "b"], [[]], scale=-0.5)]
NETWORKS = {
    "relu": (network(37, SIGNED, bias=True), [SIGN, W, B], KinkedFeatures),
    "relu, many data": (network(9000, SIGNED, bias=True), [SIGN, W, B], MergedFeatures),
    "relu, one weight": (network(2000, [Branch(["w"])]), [W], MergedFeatures),
    "relu, two branches": (network(9000, PAIR, bias=True), [A, W, B], MergedFeatures),
    "leaky, logistic": (network(90, SIGNED, dim=2, activation="leaky-relu", loss="logistic"), [SIGN, W, B], KinkedFeatures),
    "relu, batch norm": (network(900, [Branch(["angle"], [["a"]])], dim=2, normalization=True), [A, ANGLE], MergedFeatures),
    "relu, a surface": (network(60, [Branch(["eta.1", "eta.2"], [["eta.3"]])], bias=True), [ETA], KinkedFeatures),
    "relu, three inputs": (network(3000, [Branch(["eta"], [["a"]])], dim=3), [A, ETA], StoredFeatures),
    "tanh": (network(300, SIGNED, bias=True, activation="tanh"), [SIGN, W, B], StoredFeatures),
    "tanh, huber": (network(300, SIGNED, bias=True, activation="tanh", loss="huber"), [SIGN, W, B], LowRankFeatures),
    "softplus, two branches": (network(400, PAIR, bias=True, activation="softplus"), [A, W, B], StoredFeatures),
    "gaussian, two outputs": (
        network(300, [Branch(["w"], [["a"], ["b"]])], outputs=2, activation="gaussian"),
        [A, W, B],
        FeatureMatrix,
    ),
    "sigmoid, two outputs": (
        network(500, [Branch(["w", "b"], [["a"], ["sign"]])], bias=True, outputs=2, activation="sigmoid"),
        [A, SIGN, W, B],
        StoredFeatures,
    ),
}


def in_full(energy, grid, monkeypatch):
    """The same energy by full matrices."""
    with monkeypatch.context() as patch:
        for name in ("reduced.SMALL", "grid.SMALL", "grid.KINKED_MIN"):
            patch.setattr(f"gridflow.energy.network.{name}", 1 << 60)
        return energy.bind(grid)


@pytest.mark.parametrize(("energy", "factors", "form"), NETWORKS.values(), ids=NETWORKS.keys())
def test_a_density_needs_no_array_of_masses(energy, factors, form, rng):
    grid = Grid([*factors])
    bound, density = energy.bind(grid), rng.random(grid.shape)
    one, two = bound.evaluate(density * grid.volume), bound.evaluate_density(density, grid.volume)
    assert two.value == pytest.approx(one.value, rel=1e-12)
    assert two.roundoff == pytest.approx(one.roundoff, rel=1e-6)
    np.testing.assert_allclose(two.first_variation, one.first_variation, rtol=0, atol=1e-12 * np.abs(one.first_variation).max())


@pytest.mark.parametrize(("energy", "factors", "form"), NETWORKS.values(), ids=NETWORKS.keys())
def test_values_variations_and_predictions_are_those_of_full_matrices(energy, factors, form, monkeypatch, rng):
    """Round-off of sums in another order, and 1e−13 of low rank."""
    grid = Grid(factors)
    bound, full = energy.bind(grid), in_full(energy, grid, monkeypatch)
    assert all(isinstance(b.inner, form) for b in bound.summed.branches)
    assert all(isinstance(b.inner, FeatureMatrix) for b in full.summed.branches)
    mass = rng.random(grid.shape)
    mass /= mass.sum()
    one, two = bound.evaluate(mass), full.evaluate(mass)
    assert_close(one.first_variation, two.first_variation)
    assert one.value == pytest.approx(two.value, rel=ROUNDING)
    assert_close(prediction_of(bound, mass, one), two.prediction)
    assert "full matrix" in full.attributes["features"]


def random_matrix(shape, seed=3):
    return np.random.default_rng(seed).standard_normal(shape)


def entries_of(matrix):
    return lambda cells, data: matrix[cells][:, data]


def test_a_matrix_without_low_rank_stays_full():
    grid, matrix = Grid([W, B]), random_matrix((2200, 90))
    energy = FeatureNetwork(lambda at, inputs: matrix[: at["w"].size] + 0 * at["w"][:, None], data_of(90))
    bound = energy.bind(grid)
    assert bound.attributes == {"features": "full matrix of 90 data, not of low rank"}
    assert bound.evaluate(np.full(grid.shape, 1 / grid.size)).prediction is not None
    assert low_rank_features(entries_of(matrix), 2200, 90, np.arange(3)) is None


def test_a_feature_in_python_is_compressed(rng):
    grid = Grid([W, B])
    energy = FeatureNetwork(lambda at, inputs: np.exp(-((at["w"][:, None] - inputs.T) ** 2) - at["b"][:, None] ** 2), data_of(90))
    bound, mass = energy.bind(grid), rng.random(grid.shape)
    assert bound.attributes["features"].startswith("rank ")
    matrix = energy.feature(grid.flat_coordinates((0, 1)), energy.data.inputs)
    prediction = mass.ravel() @ matrix
    residual = energy.data.weights * (prediction - energy.data.targets[:, 0])
    assert_close(bound.evaluate(mass).first_variation.ravel(), matrix @ residual)
    assert_close(bound.predict(mass)[:, 0], prediction)


def test_a_large_matrix_is_known_from_some_of_its_entries(monkeypatch, rng):
    """The error at entries that were not compared, with data far from all others."""
    for name, value in (("WHOLE_ENTRIES", 1000), ("SIDE", 60), ("QUICK_SIDE", 97), ("CHECK_ENTRIES", 50_000)):
        monkeypatch.setattr(low_rank, name, value)
    cells, inputs = np.linspace(-2.0, 2.0, 700), rng.standard_normal(1500)
    inputs[700:704] = 6.0, -7.0, 9.0, 12.0
    matrix = np.tanh(cells[:, None] * inputs)
    found = low_rank_features(entries_of(matrix), 700, 1500, spread(inputs[:, None]))
    assert found.coefficients.shape[1] < 60
    error = np.abs(matrix - found.coefficients @ found.pivots.stored).max()
    assert error <= 2 * TOLERANCE, found.note


def test_compression_does_not_depend_on_threads():
    energy, factors, _ = NETWORKS["tanh"]
    grid = Grid(factors)
    mass = np.random.default_rng(2).random(grid.shape)
    found = []
    for threads in (1, 2):
        with blas_threads(threads):
            found.append(energy.bind(grid))
    one, two = (bound.evaluate(mass) for bound in found)
    assert found[0].attributes == found[1].attributes
    assert one.value == pytest.approx(two.value, rel=1e-13)
    assert_close(one.first_variation, two.first_variation, 1e-13)


def test_skeletons_and_their_ranks():
    smooth = 1 / (1 + np.add.outer(np.linspace(0, 1, 80), np.linspace(0, 2, 50)))
    found = skeleton(smooth, 30)
    assert found.rank == np.linalg.matrix_rank(smooth, tol=1e-14)
    assert_close(found.coefficients(smooth[:, found.columns]) @ smooth[found.rows], smooth, 1e-14)
    assert skeleton(smooth, found.rank - 1) is None
    assert skeleton(np.eye(5), 5).rank == 5
    assert skeleton(np.zeros((4, 3)), 2).rank == 0


def test_factors_of_gaussian_kernels():
    """Rank 27 for 240 cells of [−9, 6] and bandwidth 2; a narrow kernel keeps its matrix."""
    line = Interval(bounds=(-9.0, 6.0), cells=240).factor("x")
    matrix = Gaussian(2.0).matrix(line)
    found = symmetric_factor(matrix, 96)
    assert found.rank == 27
    assert found.error == pytest.approx(np.abs(matrix - found.factor @ found.factor.T).max(), rel=1e-6)
    assert found.error <= TOLERANCE
    assert symmetric_factor(matrix, 20) is None
    assert isinstance(compressed(matrix), SymmetricFactor)
    assert isinstance(compressed(Gaussian(0.08).matrix(line)), np.ndarray)


@pytest.mark.parametrize("low", [(True, True, False), (False, True, True), (True, False, True), (False, False, False)])
def test_products_of_factors_are_products_of_matrices(low, rng):
    shape = (5, 6, 7)
    factors = [rng.standard_normal((n, 3)) for n in shape]
    matrices = [f @ f.T for f in factors]
    mixed = [SymmetricFactor(f, 0.0) if is_low else m for f, m, is_low in zip(factors, matrices, low, strict=True)]
    field = rng.standard_normal(shape)
    found = Products(mixed)(field)
    assert found.flags.c_contiguous
    assert_close(found, np.einsum("ia,jb,kc,abc->ijk", *matrices, field), 1e-13)


def test_sums_of_energies_have_the_attributes_and_the_prediction_of_their_parts(rng):
    energy, factors, _ = NETWORKS["tanh"]
    grid = Grid(factors)
    parts = [Potential({"w": Quadratic()}).load(Path()).bind(grid), energy.bind(grid), NETWORKS["relu"][0].bind(grid)]
    bound, mass = BoundSum(parts), rng.random(grid.shape)
    evaluation = bound.evaluate(mass)
    assert evaluation.prediction is None, "of the first network, whose evaluations have none"
    assert_close(prediction_of(bound, mass, evaluation), parts[1].predict(mass))
    assert bound.attributes["features"] == "; ".join(p.attributes["features"] for p in parts[1:])


def test_a_dataset_has_predictions_of_all_data_or_of_chosen_ones(tmp_path):
    data = data_of(400)
    table = np.hstack([data.inputs, data.targets, data.weights[:, None]])
    np.savetxt(tmp_path / "d.csv", table, delimiter=",", header="x,y,m", comments="")
    source = {"kind": "file", "file": str(tmp_path / "d.csv"), "inputs": ["x"], "targets": ["y"], "weights": "m"}
    changes = {"space.w.cells": 40, "space.b.cells": 36, "energy.activation": "tanh", "time.stop": 0.2, "time.save": 2}
    case = load_case("relu-regression").replace({**changes, "energy.data": source})
    every, some = (solve(c) for c in (case, case.replace({"energy.data.predictions": 5})))
    assert every.attrs["features"].startswith("rank ")
    rows = [0, 100, 200, 299, 399]
    for name in ("prediction", "input", "target", "data_weight"):
        np.testing.assert_array_equal(some[name], every[name].isel(data=rows))
    assert "5 of 400 data" in some.attrs["data_notes"]
    np.testing.assert_array_equal(some["density"], every["density"])
    loss = (every["data_weight"] * (every["prediction"] - every["target"]) ** 2).sum("data") / 2
    np.testing.assert_allclose(loss, every["energy"], rtol=ROUNDING)


def test_losses_other_than_the_squared_one_see_all_data():
    energy, factors, _ = NETWORKS["tanh, huber"]
    bound = energy.bind(Grid(factors))
    assert bound.summed is bound.model
    assert not bound.reduced
    squared = replace(energy, spec=Network(data=None, branches=SIGNED, bias=True, activation="tanh")).bind(Grid(factors))
    assert squared.reduced
    assert squared.loss is LOSSES["squared"]
    assert len(squared.few.targets) < 0.3 * len(squared.data.targets)


@pytest.mark.parametrize("activation", ["softplus", "quadratic", "tanh"])
@pytest.mark.parametrize("weight", [0.0, 1.0])
def test_an_outlying_datum_hides_no_others(activation, weight):
    """A masked row of 10⁸ among ordinary ones: their predictions and ξ keep their digits."""
    random = np.random.default_rng(3)
    x = np.concatenate([random.normal(size=(800, 1)), [[1e8]]])
    z = np.array([[w, b] for w in np.linspace(-2, 2, 30) for b in np.linspace(-2, 2, 31)])
    smooth = ACTIVATIONS[activation].value

    def entries(cells, data):
        return smooth(z[cells] @ np.stack([x[data, 0], np.ones(len(x))[data]]))

    found = low_rank_features(entries, len(z), len(x), spread(x))
    if found is None:  # then the full matrix is taken
        return
    full = entries(np.arange(len(z)), np.arange(len(x)))
    moments = random.random((1, len(z)))
    predictions = moments @ full
    np.testing.assert_allclose(found.predict(moments)[0, :-1], predictions[0, :-1], rtol=1e-11)
    residuals = np.append(random.normal(size=800), weight * 1e-8)[None]
    np.testing.assert_allclose(
        found.pull_back(residuals), residuals @ full.T, rtol=0, atol=1e-10 * np.abs(full[:, :-1]).max() * 800
    )
