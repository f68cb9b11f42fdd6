"""Kernels and targets of the maximum mean discrepancy: fast sums against their definitions, order, positive definiteness."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from helpers import case_of
from scipy.integrate import quad, solve_ivp
from scipy.special import ndtr, ndtri

from gridflow.case.case import load_case
from gridflow.energy.interaction.convolution import Fourier, Moments, Pairs, Products, cell_points, operator
from gridflow.energy.mmd.mmd import MMD, BoundMMD, Target
from gridflow.errors import InputError
from gridflow.space.circle import Circle
from gridflow.space.densities import Normal, Uniform
from gridflow.space.grid import Grid
from gridflow.space.labels import Labels
from gridflow.space.line import Grading, Interval
from gridflow.sums.kernels import Gaussian, InverseMultiquadric, Laplace, Polynomial, Riesz, self_correction

HERE = Path()
X = Interval(bounds=(-2.0, 1.0), cells=14).factor("x")
Y = Interval(bounds=(0.0, 2.5), cells=9).factor("y")
Z = Interval(bounds=(-1.0, 1.0), cells=7).factor("z")
GRADED = Interval(bounds=(-2.0, 1.0), cells=12, grading=Grading(focus=0.2, ratio=5.0)).factor("x")
LABELS = Labels(values=[-1.0, 0.5, 3.0]).factor("label")
SIGN = Labels(values=[-1.0, 1.0]).factor("sign")
KERNELS = [Gaussian(0.8), Laplace(0.7), InverseMultiquadric(0.9), Riesz(0.5), Riesz(1.0), Riesz(1.6), Polynomial(3)]
SPACES = {
    "line": (X,),
    "graded line": (GRADED,),
    "plane": (X, Y),
    "graded plane": (GRADED, Y),
    "space": (X, Y, Z),
    "labels and a line": (LABELS, X),
    "labels and a plane": (LABELS, SIGN, X, Y),
    "labels and a graded line": (LABELS, GRADED),
    "labels": (LABELS, SIGN),
}


def identify(value):
    return value if isinstance(value, str) else str(value)


def dense(kernel, grid):
    """The definition: k between all cell points, corrected where a point is its own neighbour."""
    points = cell_points(grid)
    if isinstance(kernel, Polynomial):
        return (1 + points @ points.T) ** kernel.degree
    matrix = kernel.radial(((points[:, None] - points[None]) ** 2).sum(axis=2))
    lines = [k for k, f in enumerate(grid.factors) if f.one_dimensional]
    if lines:
        own = np.broadcast_to(grid.along(lines[0], grid.factors[lines[0]].volumes), grid.shape).ravel()
        matrix += np.diag(self_correction(kernel, len(lines), own))
    return matrix


@pytest.mark.parametrize("kernel", KERNELS, ids=identify)
@pytest.mark.parametrize("factors", SPACES.values(), ids=SPACES.keys())
def test_the_operator_is_the_double_sum(kernel, factors, rng):
    grid = Grid(list(factors))
    mass = rng.standard_normal(grid.shape)
    chosen = operator(kernel, grid)
    matrix = dense(kernel, grid)
    field = (matrix @ mass.ravel()).reshape(grid.shape)
    np.testing.assert_allclose(chosen.apply(mass), field, rtol=0, atol=1e-12 * np.abs(matrix).max())
    assert chosen.bound >= (1 - 1e-14) * np.abs(matrix - np.diag(np.diag(matrix))).max()
    assert chosen.apply(mass).flags.c_contiguous


@pytest.mark.parametrize(
    ("kernel", "factors", "kind"),
    [
        (Gaussian(0.8), (GRADED, Circle(cells=8).factor("angle")), Products),
        (Riesz(), (X,), Products),
        (Riesz(), (Interval(bounds=(0.0, 1.0), cells=5000).factor("x"),), Fourier),
        (Riesz(), (X, Y), Fourier),
        (Laplace(0.7), (GRADED, Y), Pairs),
        (Polynomial(2), (X, Y), Moments),
    ],
    ids=identify,
)
def test_the_fastest_operator_is_chosen(kernel, factors, kind):
    assert isinstance(operator(kernel, Grid(list(factors))).apply, kind)


def test_rounding_stays_within_what_the_energy_says(rng):
    """FFT against matrix products, on masses as concentrated as they get."""
    grid = Grid([Interval(bounds=(-3.0, 3.0), cells=40).factor(n) for n in ("x", "y")])
    target = [Target(density={"x": Uniform(), "y": Normal(0.0, 0.3)})]
    for kernel in KERNELS[1:]:
        bound = MMD(kernel=kernel, target=target).load(HERE).bind(grid)
        mass = np.zeros(grid.shape)
        mass[3, 5], mass[30, 31] = 0.25, 0.75
        difference = (mass - bound.target).ravel()
        result = bound.evaluate(mass)
        assert abs(difference @ dense(kernel, grid) @ difference / 2 - result.value) <= result.roundoff


@pytest.mark.parametrize("kernel", KERNELS, ids=identify)
@pytest.mark.parametrize("factors", [(X,), (GRADED,), (X, Y), (LABELS, X)], ids=["line", "graded", "plane", "labels"])
def test_the_discrete_energy_is_positive_definite(kernel, factors):
    """On differences of measures of equal mass; polynomials are semidefinite. Round-off is relative to the largest eigenvalue."""
    matrix = dense(kernel, Grid(list(factors)))
    n = len(matrix)
    centre = np.eye(n) - 1 / n
    values = np.linalg.eigvalsh(centre @ matrix @ centre + np.abs(matrix).max() / n)
    assert values[0] >= -1e-13 * values[-1]
    if isinstance(kernel, Riesz | Laplace):
        assert values[0] > 1e-6 * values[-1]


@pytest.mark.parametrize("exponent", [0.1, 0.3, 0.7, 0.95])
def test_the_corrected_diagonal_stays_positive_definite(exponent):
    """The least eigenvalue of a lattice is the symbol at θ = π: 0 < it, in units of h^p, on uniform and graded cells."""
    for grading in (None, Grading(focus=0.3, ratio=20.0)):
        grid = Grid([Interval(bounds=(0.0, 1.0), cells=200, grading=grading).factor("x")])
        matrix = dense(Riesz(exponent), grid)
        values = np.linalg.eigvalsh(matrix + 2)
        smallest = grid.factors[0].volumes.min()
        assert values[0] > 0.3 * exponent * smallest**exponent


@pytest.mark.parametrize("graded", [False, True], ids=["uniform", "graded"])
@pytest.mark.parametrize("exponent", [0.3, 0.6, 1.0, 1.5])
def test_riesz_sums_along_a_line_are_second_order(exponent, graded):
    """Against adaptive quadrature of −∫|x − u|^p ρ(u)du at cell points; without its correction p = 0.3 has order 1.3."""
    normal = Normal(0.2, 0.25)

    def exact(x):
        def integrand(u):
            return -(abs(x - u) ** exponent) * np.exp(-((u - 0.2) ** 2) / (2 * 0.25**2)) / (0.25 * np.sqrt(2 * np.pi))

        return sum(quad(integrand, a, b, epsabs=1e-12, epsrel=1e-11)[0] for a, b in ((-2.0, x), (x, 2.0)))

    gaps = []
    for cells in (129, 257, 513):
        grading = Grading(focus=0.0, ratio=3.0) if graded else None
        grid = Grid([Interval(bounds=(-2.0, 2.0), cells=cells, grading=grading).factor("x")])
        field = operator(Riesz(exponent), grid).apply(normal.masses(grid.factors[0]))
        chosen = [cells // 2 + round(k * cells / 65) for k in range(-15, 16, 5)]
        gaps.append(max(abs(field[i] - exact(grid.factors[0].points[i])) for i in chosen))
    slopes = np.log2(np.array(gaps[:-1]) / np.array(gaps[1:]))
    assert slopes.min() >= 1.9, f"errors {gaps}"


def test_riesz_velocities_on_faces_are_exact_in_1d():
    """k = −|x − y|: −∂ξ at a face is 2(F_ν − F_ν*), whatever the cells."""
    factor = GRADED
    target = [Target(density={"x": Normal(-0.2, 0.2)})]
    bound = MMD(kernel=Riesz(1.0), target=target).load(HERE).bind(Grid([factor]))
    mass = Uniform((-1.0, 0.3)).masses(factor)
    velocity = -np.diff(bound.evaluate(mass).first_variation) / factor.distances[1:-1]
    np.testing.assert_allclose(velocity, 2 * np.cumsum(mass - bound.target)[:-1], atol=1e-13)


# ---------------------------------------------------------------------------------------------------------- targets
def sample_file(tmp_path, rows):
    (tmp_path / "x.csv").write_text("p,q\n" + "\n".join(f"{a},{b}" for a, b in rows), encoding="utf-8")
    return tmp_path


SAMPLES = Target(file="x.csv", columns={"x": "p", "y": "q"})


@pytest.mark.parametrize("kernel", KERNELS, ids=identify)
def test_samples_are_a_target(kernel, tmp_path, rng):
    """Alone and beside a density: the energy of the grid's measure minus the samples, as one double sum; weights 1/n."""
    directory = sample_file(tmp_path, [(-0.5, 1.0), (0.25, 0.75), (0.25, 2.0)])
    grid = Grid([X, Y])
    density = Target(density={"x": Normal(-0.5, 0.2), "y": Normal(1.2, 0.2)}, weight=3.0)
    mass = rng.random(grid.shape)
    mass /= mass.sum()
    for target, share in (([SAMPLES], 1.0), ([SAMPLES, density], 0.25)):
        bound = MMD(kernel=kernel, target=target).load(directory).bind(grid)
        columns = [("x", [-0.5, 0.25, 0.25]), ("y", [1.0, 0.75, 2.0])]
        samples = np.stack([dict(columns)[n] for n in grid.order], axis=1)
        points = np.concatenate([cell_points(grid), samples])
        weights = np.concatenate([(mass - bound.target).ravel(), np.full(3, -share / 3)])
        if isinstance(kernel, Polynomial):
            matrix = (1 + points @ points.T) ** kernel.degree
        else:
            matrix = kernel.radial(((points[:, None] - points[None]) ** 2).sum(axis=2))
        result = bound.evaluate(mass)
        assert result.value == pytest.approx(weights @ matrix @ weights / 2, rel=1e-11)
        field = (matrix @ weights)[: grid.size].reshape(grid.shape)
        np.testing.assert_allclose(result.first_variation, field, atol=1e-12 * np.abs(matrix).max())


@pytest.mark.parametrize("kernel", KERNELS, ids=identify)
def test_particles_and_samples(kernel, tmp_path, rng):
    """The same measure on both sides has energy 0 and no force; gradient and first variation by finite differences."""
    rows = np.round(np.stack([rng.uniform(-1.5, 0.5, 6), rng.uniform(0.5, 2.0, 6)], axis=1), 3)
    directory = sample_file(tmp_path, rows)
    alone = MMD(kernel=kernel, target=[SAMPLES]).load(directory).particles((X, Y))
    same = alone.evaluate(rows, np.full(6, 1 / 6))
    assert same.value == pytest.approx(0.0, abs=1e-13)
    np.testing.assert_allclose(same.gradient, 0.0, atol=1e-13)
    density = Target(density={"x": Normal(-0.5, 0.2), "y": Normal(1.2, 0.2)})
    mixed = MMD(kernel=kernel, target=[SAMPLES, density]).load(directory).particles((X, Y))
    points, weights = rows + 0.1, np.full(6, 1 / 6)
    result = mixed.evaluate(points, weights)
    for i in range(6):
        for k in range(2):
            change = 1e-6 * np.outer(np.arange(6) == i, np.arange(2) == k)
            slope = (mixed.evaluate(points + change, weights).value - mixed.evaluate(points - change, weights).value) / 2e-6
            assert weights[i] * result.gradient[i, k] == pytest.approx(slope, rel=1e-5, abs=1e-8)
        change = 1e-4 * (np.arange(6) == i)
        slope = (mixed.evaluate(points, weights + change).value - mixed.evaluate(points, weights - change).value) / 2e-4
        assert result.first_variation[i] == pytest.approx(slope, rel=1e-7, abs=1e-9)


@pytest.mark.parametrize("kernel", [Laplace(0.7), InverseMultiquadric(0.9), Riesz(1.0), Polynomial(3)], ids=identify)
@pytest.mark.parametrize("labels", [False, True], ids=["plane", "labels"])
def test_the_target_of_particles_is_that_of_a_fine_grid(kernel, labels):
    """The table against a sum over a quadrature of the target around its mean: both err by (cell/deviation)²/24 ~ 7e−5 of k''."""
    factors = (SIGN, X, Y) if labels else (X, Y)
    density = {"x": Normal(-0.5, 0.2), "y": Normal(1.2, 0.2), **({"sign": Uniform()} if labels else {})}
    energy = MMD(kernel=kernel, target=[Target(density=density)]).load(HERE).particles(factors)
    points = np.array([[-0.5, 1.2], [0.3, 0.4], [-1.9, 2.4]])
    points = np.hstack([np.array([[1.0], [-1.0], [1.0]]), points]) if labels else points
    value, _ = energy.target_at(points)
    around = [
        Interval(bounds=(density[name].mean - 1.2, density[name].mean + 1.2), cells=301).factor(name) for name in ("x", "y")
    ]
    cloud = cell_points(Grid(around))
    masses = np.multiply.outer(
        *[normal.masses(f) for normal, f in zip((density["x"], density["y"]), around, strict=True)]
    ).ravel()
    if labels:
        masses = np.tile(masses / 2, 2)
        cloud = np.concatenate([np.hstack([np.full((len(cloud), 1), s), cloud]) for s in (-1.0, 1.0)])
    expected, _ = kernel.sum(points, cloud, masses, np.zeros(points.shape[1]))
    np.testing.assert_allclose(value, expected, rtol=1e-4)


def test_samples_on_circles_and_labels(tmp_path):
    directory = sample_file(tmp_path, [(7.0, 1.0), (-1.0, -1.0)])
    angle = Circle(cells=12).factor("angle")
    energy = MMD(bandwidth=0.8, target=[Target(file="x.csv", columns={"angle": "p", "sign": "q"})]).load(directory)
    samples = energy.target.samples((SIGN, angle))
    np.testing.assert_allclose(samples.points, [[1.0, 7.0 - 2 * np.pi], [-1.0, 2 * np.pi - 1.0]])
    assert energy.bind(Grid([SIGN, angle])).evaluate(np.full((2, 12), 1 / 24)).value > 0


# ------------------------------------------------------------------------------------------------------------- errors
def sampled(directory, columns=("x", "y")):
    target = [Target(file="x.csv", columns=dict(zip(columns, "pq", strict=True)))]
    return MMD(kernel=Riesz(), target=target).load(directory)


PLANE = [Target(density={"x": Normal(-0.5, 0.2), "y": Normal(1.2, 0.2)})]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda d: sampled(d).bind(Grid([X, Y])), r"the sample 9 in data row 2 .* outside of 'x'"),
        (lambda d: sampled(d).particles((X, Y)), "widen the bounds"),
        (lambda d: sampled(d, ("y", "sign")).bind(Grid([Y, SIGN])), "outside of 'sign'"),
        (lambda d: sampled(d).bind(Grid([X])), "one for each factor of the space"),
        (lambda d: MMD(kernel=Riesz(), target=[SAMPLES]).load(d / "none").bind(Grid([X, Y])), "no file"),
        (lambda d: MMD(kernel=Laplace(0.1), target=PLANE).load(d).bind(Grid([X, Y])), "below the cell size"),
        (lambda d: MMD(kernel=InverseMultiquadric(0.1), target=PLANE).load(d).bind(Grid([X, Y])), "below the cell size"),
        (lambda d: MMD(kernel=Riesz(), target=PLANE).load(d).bind(Grid([X, Circle(cells=8).factor("y")])), "on the circle 'y'"),
        (lambda d: MMD(kernel=Polynomial(2), target=PLANE).load(d).particles((X, Circle(cells=8).factor("y"))), "on the circle"),
        (lambda d: four_lines(d), "1 to 3 intervals"),
    ],
)
def test_what_does_not_fit_is_refused(call, message, tmp_path):
    with pytest.raises(InputError, match=message):
        call(sample_file(tmp_path, [(-0.5, 1.0), (9.0, 0.5)]))


def four_lines(directory):
    factors = tuple(Interval(bounds=(-1.0, 1.0), cells=4).factor(n) for n in "abcd")
    density = {f.name: Normal(0.0, 0.1) for f in factors}
    MMD(kernel=Riesz(), target=[Target(density=density)]).load(directory).particles(factors)


CASE = {
    "title": "MMD",
    "space": {"x": {"kind": "interval", "bounds": [-2.0, 2.0], "cells": 32}},
    "energy": {
        "kind": "mmd",
        "kernel": {"kind": "riesz"},
        "target": [{"density": {"x": {"kind": "normal", "mean": 0.3, "deviation": 0.2}}}],
    },
    "initial": [{"density": {"x": {"kind": "normal", "mean": -0.4, "deviation": 0.2}}}],
    "scheme": {"kind": "finite-volume"},
    "time": {"stop": 1.0},
}  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"energy.kernel": {"kind": "riesz", "exponent": 2.0}}, "energy.kernel.exponent"),
        ({"energy.kernel": {"kind": "riesz", "exponent": 0.0}}, "energy.kernel.exponent"),
        ({"energy.kernel": {"kind": "riesz", "exponents": 1.0}}, "unknown key 'exponents' in energy.kernel"),
        ({"energy.kernel": {"kind": "gausian", "bandwidth": 1.0}}, "gaussian"),
        ({"energy.kernel": "riesz"}, "energy.kernel"),
        ({"energy.kernel": "gaussian"}, 'kernel = "gaussian" and bandwidth'),
        ({"energy.bandwidth": 1.0}, "write kernel = "),
        ({"energy.target": []}, "at least one"),
        ({"energy.target": [{"columns": {"x": "p"}, "density": {"x": {"kind": "uniform"}}}]}, "need a `file`"),
    ],
)
def test_wrong_tables_are_refused(changes, message):
    with pytest.raises(InputError, match=message):
        case_of(CASE).replace(changes)


def test_cases_are_printed_as_they_can_be_read():
    case = case_of(CASE)
    assert 'kind = "riesz"\nexponent = 1.0' in case.text()
    short = case.replace({"energy.kernel": {"kind": "gaussian", "bandwidth": 0.5}})
    long = case.replace({"energy.kernel": "gaussian", "energy.bandwidth": 0.5})
    assert short.energy.load(HERE).kernel == long.energy.load(HERE).kernel == Gaussian(0.5)


# ----------------------------------------------------------------------------------------------------- exact solution
def test_exact_masses_follow_the_quantiles():
    """Q̇(s) = 2(s − F*(Q)) solved from single quantiles, against the masses below where they arrive."""
    case = load_case("mmd-riesz-1d")
    start, targets = case.initial[0].density["x"], [(c.weight, c.density["x"]) for c in case.energy.target]
    level = np.array([0.01, 0.3, 0.5, 0.9])

    def rate(_, q):
        return 2 * (level - sum(w * ndtr((q - n.mean) / n.deviation) for w, n in targets))

    path = solve_ivp(rate, (0.0, 1.5), start.mean + start.deviation * ndtri(level), rtol=1e-11, atol=1e-12, method="DOP853")
    for end, s in zip(path.y[:, -1], level, strict=True):
        grid = Grid([Interval(bounds=(-3.0, 2 * end + 3.0), cells=64).factor("x")])  # a cell ends where the quantile arrives
        masses = case.exact.masses(replace(case.problem(), grid=grid), [0.0, 1.5])
        np.testing.assert_allclose(masses[0], start.between(grid.factors[0].edges), atol=1e-9)
        assert masses[1][:32].sum() == pytest.approx(s, abs=1e-8)
        assert masses.min() >= -1e-12


@pytest.mark.parametrize(
    "changes",
    [
        {"energy.kernel.exponent": 1.5},
        {"flow.temperature": 0.1},
        {"energy.target": [{"density": {"x": {"kind": "uniform"}}}]},
        {"energy": {"kind": "potential"}},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_the_exact_solution_refuses_other_cases(changes):
    case = load_case("mmd-riesz-1d").replace(changes)
    with pytest.raises(InputError, match="riesz-quantiles"):
        case.exact.masses(case.problem(), [0.0])


def test_riesz_particles_sort_and_so_cost_n_log_n(rng):
    target = [Target(density={"x": Normal(-0.2, 0.2)})]
    particles = MMD(kernel=Riesz(), target=target).load(HERE).particles((X,))
    assert particles.order == 1
    points, weights = rng.uniform(-1.5, 0.5, (7, 1)), np.full(7, 1 / 7)
    result = particles.evaluate(points, weights)
    rank = (np.argsort(np.argsort(points[:, 0])) + 0.5) / 7  # ∂ξ = −2(F_ν − F_ν*), half of a particle's own mass on either side
    np.testing.assert_allclose(-result.gradient[:, 0], 2 * (rank - ndtr((points[:, 0] + 0.2) / 0.2)), atol=1e-5)


@pytest.mark.parametrize("kernel", [Gaussian(1.0), Riesz(1.0)])
def test_the_value_keeps_its_digits_near_the_target(kernel):
    """F(ν* + sδ) = s²F(ν* + δ): to round-off over s of the masses, 1e−9, where interaction, potential and constant cancel to no
    digit (1e−16/s² = 1)."""
    grid = Grid([Interval(bounds=(-5.0, 5.0), cells=64).factor("x")])
    x = grid.factors[0].points
    target = np.exp(-(x**2) / 2) / np.exp(-(x**2) / 2).sum()
    change = target * (np.sin(x) - (target * np.sin(x)).sum())
    bound = BoundMMD(kernel, grid, target, None, None)
    whole, near = (bound.evaluate(target + s * change) for s in (1.0, 1e-8))
    assert near.value == pytest.approx(1e-16 * whole.value, rel=1e-6)
    np.testing.assert_allclose(near.first_variation, 1e-8 * whole.first_variation, atol=1e-14 * abs(whole.first_variation).max())
