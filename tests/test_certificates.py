"""The weighted Poisson problem, the negative Sobolev distance, and what certifies an MMD flow."""

from pathlib import Path

import numpy as np
import pytest
import scipy.sparse.linalg
from helpers import case_of
from scipy.integrate import quad

from gridflow.energy.mmd.certificates import Certificates, energy_bound
from gridflow.energy.mmd.mmd import MMD, Target
from gridflow.energy.sobolev.poisson import WeightedPoisson
from gridflow.errors import InputError, SolveError
from gridflow.solver import solve
from gridflow.space.circle import Circle
from gridflow.space.densities import Cosine
from gridflow.space.deposit import deposit
from gridflow.space.grid import Grid
from gridflow.space.labels import Labels
from gridflow.space.line import Grading, Interval
from gridflow.sums.kernels import Gaussian, Laplace, Riesz

HERE = Path()
X = Interval(bounds=(-2.0, 1.0), cells=9, grading=Grading(focus=0.2, ratio=5.0)).factor("x")
Y = Interval(bounds=(0.0, 2.5), cells=12).factor("y")
Z = Interval(bounds=(0.0, 1.0), cells=5).factor("z")
ANGLE = Circle(cells=10).factor("angle")
SPACES = {
    "line": Grid([X]),
    "circle": Grid([ANGLE]),
    "plane": Grid([X, Y]),
    "cylinder": Grid([X, ANGLE]),
    "space": Grid([X, Y, Z]),
    "mobility": Grid([X, Y], {"x": ("y", 1.0 + Y.points**2)}),
}


def dense(grid, density, delta):
    """L by its definition: a loop over factors and faces."""
    index = np.arange(grid.size).reshape(grid.shape)
    matrix = np.zeros((grid.size, grid.size))
    for axis, factor in enumerate(grid.factors):
        mobility = np.broadcast_to(grid.mobility[axis], grid.shape)
        for f in range(0 if factor.period > 0 else 1, factor.size):
            c, o = np.take(index, f - 1, axis).ravel(), np.take(index, f, axis).ravel()
            area = grid.volume.ravel()[c] / factor.volumes[f - 1]
            w = area * mobility.ravel()[c] / factor.distances[f] * ((density.ravel()[c] + density.ravel()[o]) / 2 + delta)
            for k, (i, j) in enumerate(zip(c, o, strict=True)):
                matrix[[i, j], [i, j]] += w[k]
                matrix[[i, j], [j, i]] -= w[k]
    return matrix


def random_density(grid, rng):
    """Over six decades."""
    density = 10 ** rng.uniform(-6, 0, grid.shape)
    return density / grid.integrate(density)


@pytest.mark.parametrize("grid", SPACES.values(), ids=SPACES.keys())
def test_the_problem_is_the_definition(grid, rng):
    density, problem = random_density(grid, rng), WeightedPoisson(grid, 1e-3)
    matrix = dense(grid, density, 1e-3 / grid.volume.sum())
    one, two = rng.standard_normal((2, *grid.shape))
    assert problem.form(density, one, two) == pytest.approx(one.ravel() @ matrix @ two.ravel(), rel=1e-11)
    source = random_density(grid, rng) * grid.volume - density * grid.volume
    g = problem.solve(density, source)
    expected = np.linalg.lstsq(matrix, source.ravel(), rcond=1e-14)[0]
    # condition number of L ~ 1e6
    np.testing.assert_allclose((g - g.mean()).ravel(), expected - expected.mean(), atol=1e-8 * np.ptp(expected))
    assert np.vdot(source, g) == pytest.approx(problem.form(density, g, g), rel=1e-10)


@pytest.mark.parametrize("grid", SPACES.values(), ids=SPACES.keys())
def test_half_the_square_is_the_derivative_in_the_masses(grid, rng):
    density, problem = random_density(grid, rng), WeightedPoisson(grid, 1e-3)
    g, change = rng.standard_normal((2, *grid.shape))
    slope = problem.form(density + 0.5 * change, g, g) - problem.form(density - 0.5 * change, g, g)  # linear in ν
    assert 2 * np.vdot(problem.half_square(g), change * grid.volume) == pytest.approx(slope, rel=1e-11)


def test_the_distance_is_of_second_order():
    """On an interval S² = ∫(F_ν* − F_ν)²/ν dx, by quadrature; in the plane the same for densities that vary along x alone."""
    k, length = np.pi / 3, 3.0

    def density(x):
        return (1 + 0.6 * np.cos(k * (x + 1))) / length

    def gap(x):
        return (0.7 * np.sin(2 * k * (x + 1)) / (2 * k) - 0.6 * np.sin(k * (x + 1)) / k) / length

    exact = quad(lambda x: gap(x) ** 2 / density(x), -1.0, 2.0, epsabs=1e-13)[0]
    for other in ((), (Interval(bounds=(0.0, 2.0), cells=8).factor("y"),)):
        gaps = []
        for cells in (16, 32, 64):
            grid = Grid([Interval(bounds=(-1.0, 2.0), cells=cells).factor("x"), *other])
            axis = grid.order.index("x")
            start, target = (grid.along(axis, Cosine(*c).masses(grid.factors[axis])) for c in ((0.6, 1), (0.7, 2)))
            masses = [m * np.ones(grid.shape) * cells / grid.size for m in (start, target)]
            source = masses[1] - masses[0]
            gaps.append(abs(np.vdot(WeightedPoisson(grid, 0.0).solve(masses[0] / grid.volume, source), source) - exact))
        slopes = np.log2(np.array(gaps[:-1]) / np.array(gaps[1:]))
        assert np.abs(slopes - 2).max() <= 0.1, f"gaps {gaps}"


def test_on_a_line_it_is_the_weighted_distance_of_distribution_functions(rng):
    """S² = Σ_f (F_ν* − F_ν)² d_f/(ν_f + δ)."""
    grid = SPACES["line"]
    density, other = random_density(grid, rng), random_density(grid, rng)
    gap = np.cumsum((other - density) * grid.volume)[:-1]
    face = (density[1:] + density[:-1]) / 2 + 1e-2 / 3
    expected = (gap**2 * X.distances[1:-1] / face).sum()
    problem = WeightedPoisson(grid, 1e-2)
    source = (other - density) * grid.volume
    assert np.vdot(problem.solve(density, source), source) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("grid", SPACES.values(), ids=SPACES.keys())
def test_the_distance_is_a_supremum(grid, rng):
    """|∫h d(ν − ν*)| ≤ S (∫|∇h|² d(ν + δ))^½ for every h, with equality for g; and S falls as δ grows."""
    density = random_density(grid, rng)
    source = random_density(grid, rng) * grid.volume - density * grid.volume
    distances = []
    for regularization in (1e-1, 1e-3, 1e-5):
        problem = WeightedPoisson(grid, regularization)
        g = problem.solve(density, source)
        distances.append(np.sqrt(np.vdot(g, source)))
        for h in [*rng.standard_normal((5, *grid.shape)), g]:
            largest = distances[-1] * np.sqrt(problem.form(density, h, h))
            assert abs(np.vdot(h, source)) <= largest * (1 + 1e-10)
        assert abs(np.vdot(g, source)) == pytest.approx(largest, rel=1e-10)
    assert distances == sorted(distances)


def test_factors_are_reused_while_the_density_changes_little(rng, monkeypatch):
    grid = Grid([Interval(bounds=(-1.0, 1.0), cells=30).factor(n) for n in "xy"])
    calls = []
    original = scipy.sparse.linalg.splu
    monkeypatch.setattr(scipy.sparse.linalg, "splu", lambda *a, **k: calls.append(1) or original(*a, **k))
    problem = WeightedPoisson(grid, 1e-6)
    density, other = random_density(grid, rng), random_density(grid, rng)
    for step in range(10):
        now = density * (1 + 0.02 * step * rng.random(grid.shape))
        now /= grid.integrate(now)
        source = (other - now) * grid.volume
        g = problem.solve(now, source)
        fresh = WeightedPoisson(grid, 1e-6).solve(now, source)
        np.testing.assert_allclose(g, fresh, atol=1e-9 * np.ptp(fresh))
    assert len(calls) < 2 * 10  # ten of them for the fresh ones
    before = len(calls)
    problem.solve(other, (density - other) * grid.volume)  # another density altogether
    assert len(calls) > before or problem.factors is None


# --------------------------------------------------------------------------------------------------------- on a run
MMD_1D = {
    "title": "MMD",
    "space": {"x": {"kind": "interval", "bounds": [-2.0, 2.0], "cells": 64}},
    "energy": {
        "kind": "mmd",
        "kernel": {"kind": "laplace", "bandwidth": 0.5},
        "certificates": {"regularization": 1e-3},
        "target": [{"density": {"x": {"kind": "normal", "mean": 0.3, "deviation": 0.3}}}],
    },
    "initial": [{"density": {"x": {"kind": "uniform"}}}],
    "scheme": {"kind": "finite-volume"},
    "time": {"stop": 2.0, "save": 21},
}  # fmt: skip


@pytest.mark.parametrize("regularization", [1e-2, 1e-6])
def test_certificates_of_a_run(regularization):
    """From a density that covers the target F is bound to fall, and falls below the bound (2)."""
    dataset = solve(case_of(MMD_1D, energy__certificates__regularization=regularization))
    assert (dataset["sobolev_ratio"] <= 1 + 1e-10).all()
    assert (dataset["sobolev_ratio"] > 0.3).all()  # the inequality is not empty here
    bound = energy_bound(dataset)
    assert bound[0] == pytest.approx(float(dataset["energy"][0]))
    assert (dataset["energy"][1:] < bound[1:]).all()
    assert bound[-1] < 1.3 * dataset["energy"][-1] < 0.5 * bound[0]  # S hardly changes: nearly an equality
    # on both sides of (1) the faces of S; the dissipation of the scheme differs from them by δ and by O(h²)
    extra = (dataset["sobolev_dissipation"] / dataset["dissipation"] - 1).to_numpy()
    assert abs(extra).max() < 0.05 + 20 * regularization


@pytest.mark.parametrize("kernel", [Gaussian(0.8), Laplace(0.9), Riesz(1.0)], ids=str)
@pytest.mark.parametrize("space", ["line", "plane", "space"])
def test_the_inequality_is_one_of_the_discrete_operators(kernel, space, rng):
    """2F = −gᵀLξ to round-off of S√D, whatever ν is."""
    grid = SPACES[space]
    target = Target(density={f.name: Cosine(0.8) for f in grid.factors})
    bound = MMD(kernel=kernel, target=[target], certificates=Certificates(1e-6)).load(HERE).bind(grid)
    density = random_density(grid, rng)
    evaluation = bound.evaluate(density * grid.volume)
    numbers = bound.diagnose(density, evaluation)
    scale = numbers["sobolev"] * np.sqrt(numbers["sobolev_dissipation"])
    assert numbers["sobolev_ratio"] * scale == pytest.approx(2 * evaluation.value, rel=1e-10)
    problem = bound.certificates.problem
    source = bound.target - density * grid.volume
    g = problem.solve(density, source)
    pairing = -problem.form(density, g, evaluation.first_variation)
    assert abs(pairing - 2 * evaluation.value) <= 1e-10 * scale
    assert numbers["sobolev"] ** 2 == pytest.approx(np.vdot(g, source), rel=1e-8)  # round-off of ν* − ν over ν ~ 1e−6
    assert numbers["sobolev_ratio"] <= 1 + 1e-10


def test_samples_are_deposited_with_their_mean(rng):
    grid = SPACES["cylinder"]
    places = {"x": rng.uniform(X.points[0], X.points[-1], 30), "angle": rng.uniform(0, 2 * np.pi, 30)}
    points = np.stack([places[n] for n in grid.order], axis=1)
    weights = rng.random(30)
    masses = deposit(points, weights, grid)
    assert masses.min() >= 0
    assert masses.sum() == pytest.approx(weights.sum(), rel=1e-14)
    column = grid.order.index("x")
    assert (masses * grid.coordinate("x")).sum() == pytest.approx(weights @ points[:, column], rel=1e-12)
    one = deposit(np.array([[0.1, 0.1]]), np.ones(1), grid)  # beside the seam of the circle: cells 9 and 0 share it
    share = one.sum(axis=column)
    assert share[[0, -1]].sum() == pytest.approx(1.0)
    assert share[0] == pytest.approx((0.1 + np.pi / 10) / (np.pi / 5))


def test_a_target_of_samples_has_certificates(tmp_path, rng):
    (tmp_path / "s.csv").write_text("p,q\n" + "\n".join(f"{a},{b}" for a, b in rng.uniform(0.2, 0.9, (40, 2))))
    factors = [Interval(bounds=(0.0, 1.0), cells=24).factor(n) for n in "xy"]
    grid = Grid(factors)
    energy = MMD(kernel=Riesz(), target=[Target(file="s.csv", columns={"x": "p", "y": "q"})], certificates=Certificates(1e-4))
    bound = energy.load(tmp_path).bind(grid)
    density = np.full(grid.shape, 1.0)
    evaluation = bound.evaluate(density * grid.volume)
    numbers = bound.diagnose(density, evaluation)
    scale = numbers["sobolev"] * np.sqrt(numbers["sobolev_dissipation"])
    assert 0 < numbers["sobolev_ratio"] <= 1
    # linear interpolation of ξ at the samples: h²/8·|ξ''| ~ 2e−4/|x − x_j| near a sample; a twentieth of 2F
    assert numbers["sobolev_ratio"] * scale == pytest.approx(2 * evaluation.value, rel=0.05)


# ------------------------------------------------------------------------------------------------------------ errors
@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: WeightedPoisson(Grid([X, Labels(values=[-1.0, 1.0]).factor("s")]), 1e-6), "labels 's'"),
        (lambda: WeightedPoisson(Grid([X, Y], {"x": (None, np.zeros(1))}), 1e-6), "frozen factor 'x'"),
        (lambda: WeightedPoisson(Grid([Interval(bounds=(0.0, 1.0), cells=40).factor(n) for n in "xyz"]), 1e-6), "64000 cells"),
        (lambda: case_of(MMD_1D, energy__certificates__regularization=0.0), "energy.certificates.regularization"),
        (lambda: case_of(MMD_1D, energy__certificates__delta=0.1), "unknown key 'delta'"),
        (lambda: energy_bound(solve(case_of(MMD_1D, energy__certificates=None, time__stop=0.01))), "without 'sobolev'"),
        (lambda: energy_bound(solve(case_of(MMD_1D, flow__temperature=0.1, time__stop=0.01))), "noise, temperature"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused(call, message):
    with pytest.raises(InputError, match=message):
        call()


def test_no_density_and_no_regularization_is_an_error():
    with pytest.raises(SolveError, match="raise the regularization"):
        WeightedPoisson(SPACES["line"], 0.0).solve(np.zeros(9), np.zeros(9))
