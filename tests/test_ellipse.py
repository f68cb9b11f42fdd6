"""Ω = {bᵀΣb = 1} with the metric of S1 Prop. 1: its geometry, and the flow of a batch-norm network on it."""

from pathlib import Path

import numpy as np
import pytest
from helpers import problem_of

from gridflow.case.case import Case, load_case
from gridflow.cli import main
from gridflow.energy.network.loss import LOSSES
from gridflow.energy.potential import Potential, Wave
from gridflow.errors import InputError
from gridflow.scheme.finite_volume.tables import upwind_ratio
from gridflow.scheme.jko.scheme import JKO
from gridflow.solver import solve
from gridflow.space.circle import Circle, Ellipse
from gridflow.space.densities import Normal
from gridflow.space.distances import Slices, quantiles_of_cells, wasserstein
from gridflow.space.ellipse import metric
from gridflow.space.grid import Grid
from gridflow.space.line import Interval
from gridflow.sums.kernels import Gaussian

COVARIANCES = {"diagonal": [[5.0, 0.0], [0.0, 1.0]], "full": [[5.0, 1.5], [1.5, 1.0]]}
TABLE = 1e-10
"""Error of the tabulated φ(s): 1e−12 for these Σ, with two digits to spare."""


@pytest.fixture(params=COVARIANCES.values(), ids=COVARIANCES.keys())
def covariance(request):
    return request.param


def test_the_ellipse_is_as_long_as_the_unit_circle(covariance):
    """Prop. 1: (Ω, G) is isometric to the round circle."""
    factor = Ellipse(covariance=covariance, cells=40).factor("x")
    assert factor.total_volume == pytest.approx(2 * np.pi, rel=1e-13)  # Gauss quadrature: round-off
    assert factor.volumes.max() > 2 * factor.volumes.min()  # a graded circle, not a uniform one


def test_arc_length_is_the_angle_of_b(covariance, rng):
    """Prop. 1: T b = b/‖b‖."""
    factor = Ellipse(covariance=covariance, cells=40).factor("x")
    s = rng.random(200) * 2 * np.pi
    b = factor.embed(s)
    np.testing.assert_allclose(np.einsum("ni,ij,nj->n", b, np.array(covariance), b), 1, rtol=1e-14)
    np.testing.assert_allclose(np.mod(np.arctan2(b[:, 1], b[:, 0]), 2 * np.pi), s, atol=TABLE)
    assert factor.embed(np.zeros(1))[0, 1] == 0  # the coordinate starts along e₁


def test_tangents_are_derivatives_of_unit_length(covariance, rng):
    factor = Ellipse(covariance=covariance, cells=40).factor("x")
    s, h = rng.random(200) * 2 * np.pi, 1e-5
    tangent = factor.embed_tangent(s)
    np.testing.assert_allclose((factor.embed(s + h) - factor.embed(s - h)) / (2 * h), tangent, atol=1e-8)  # h² + 1e−13/h
    lengths = np.einsum("ni,nij,nj->n", tangent, metric(factor.embed(s), np.array(covariance)), tangent)
    np.testing.assert_allclose(lengths, 1, atol=1e-7)  # cubic Hermite: its derivative has order 3


def test_cells_and_faces_close_the_circle(covariance):
    factor = Ellipse(covariance=covariance, cells=40).factor("x")
    for f in (factor, factor.coarsening(1)):
        assert f.edges[0] == 0.0
        assert f.edges[-1] == pytest.approx(2 * np.pi, rel=1e-13)
        assert f.distances[0] == f.distances[-1] == pytest.approx(f.points[0] - f.points[-1] + f.total_volume, rel=1e-13)
        np.testing.assert_allclose(f.volumes @ f.laplacian(), 0, atol=1e-12)
        quotients = f.distances[1:-1] / f.distances[2:]
        largest = max(quotients.max(), (1 / quotients).max(), f.distances[1] / f.distances[-1])
        assert upwind_ratio(Grid([f])) >= (1 + largest) * (1 - 1e-15)  # the seam counts too
    assert factor.coarsening(1).embed(factor.points) == pytest.approx(factor.embed(factor.points))


def test_an_ellipse_is_a_circle_of_its_length_for_distances(covariance, rng):
    """Sliced distances, moments and kernels see the metric, not how Ω lies in the plane of weights."""
    ellipse, circle = Ellipse(covariance=covariance, cells=40).factor("x"), Circle(cells=40).factor("x")
    points, weights = rng.random((50, 1)) * 2 * np.pi, np.full(50, 0.02)
    np.testing.assert_allclose(Slices((ellipse,)).of_points(points, weights), Slices((circle,)).of_points(points, weights))
    np.testing.assert_allclose(*(Gaussian(0.7).along(points, f.period) for f in (ellipse, circle)), rtol=1e-12)


@pytest.mark.parametrize(
    ("covariance", "message"),
    [
        ([[1.0]], "is not 2 × 2"),
        ([[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]], "is not 2 × 2"),
        ([[1.0, 0.5], [0.0, 1.0]], "not symmetric"),
        ([[1.0, 2.0], [2.0, 1.0]], "must be positive"),
        ([[1.0, 0.0], [0.0, 1e-6]], "scale the inputs"),
    ],
)
def test_a_wrong_covariance_is_refused(covariance, message):
    with pytest.raises(ValueError, match=message):
        Ellipse(covariance=covariance, cells=40)


def ellipse_case(covariance, **changes):
    """bn-circle on Ω, coarse and short."""
    case = load_case("bn-circle").replace({"energy.data.inputs.covariance": covariance, "time.stop": 2.0, "time.save": 3})
    return case.replace(
        {"space.angle": {"kind": "ellipse", "covariance": covariance, "cells": 48}, "space.a.cells": 40, **changes}
    )


def test_the_ellipse_of_other_data_is_refused():
    case = ellipse_case([[5.0, 0.0], [0.0, 1.0]], **{"space.angle.covariance": [[4.0, 0.0], [0.0, 1.0]]})
    with pytest.raises(InputError, match=r"(?s)\[\[4\.0, 0\.0\].*covariance of the centred inputs, \[\[(5|4\.99)"):
        solve(case)


def test_case_files_name_the_wrong_covariance():
    table = {"space": {"x": {"kind": "ellipse", "covariance": [[1.0, 2.0], [2.0, 1.0]], "cells": 8}}}
    with pytest.raises(InputError, match=r"space\.x.*must be positive"):
        Case.from_dict({**load_case_table("bn-circle"), **table})


def load_case_table(name):
    import tomllib

    return tomllib.loads(load_case(name).text())


# ------------------------------------------------------------------------------------------------------- equations
def expectation(energy, points, evaluation, directions, a, slope):
    """E[ℓ' aσ'(b̄ᵀx) x] by NumPy, (n_particles, 2)."""
    data = energy.data
    residual = data.weights * LOSSES["squared"].derivative(evaluation.prediction, data.targets)[:, 0]
    return a[:, None] * (slope(directions @ data.inputs.T) * residual) @ data.inputs


def heaviside(z):
    return (z > 0).astype(float)


def test_particles_on_the_ellipse_follow_s1_14(covariance, rng):
    """v̄ = −‖b̄‖²(I − b̄b̄ᵀΣ)(I − Σb̄b̄ᵀ)E[ℓ' aσ'(b̄ᵀx)x], as printed."""
    case = ellipse_case(covariance)
    factors, energy = case.grid().factors, case.energy.load(Path(case.directory))
    columns = {f.name: k for k, f in enumerate(factors)}
    points = np.empty((50, 2))
    points[:, columns["a"]], points[:, columns["angle"]] = rng.normal(size=50), rng.random(50) * 2 * np.pi
    evaluation = energy.particles(factors).evaluate(points, np.full(50, 0.02))
    factor, s, a = factors[columns["angle"]], points[:, columns["angle"]], points[:, columns["a"]]
    b, sigma = factor.embed(s), energy.data.covariance()
    moved = -evaluation.gradient[:, columns["angle"], None] * factor.embed_tangent(s)
    mean = expectation(energy, points, evaluation, b, a, heaviside)
    printed = np.empty((50, 2))
    for k in range(50):
        project = np.eye(2) - np.outer(b[k], b[k]) @ sigma
        printed[k] = -(b[k] @ b[k]) * project @ project.T @ mean[k]
    np.testing.assert_allclose(moved, printed, atol=1e-7 * np.abs(printed).max())  # db/ds is good to 1e−8
    np.testing.assert_allclose(np.einsum("ni,ij,nj->n", b, sigma, moved), 0, atol=1e-9)  # b̄ stays on Ω


def test_neurons_of_unit_length_push_forward_to_s1_14(covariance, rng):
    """S1 (10) in the plane: bᵀv_b = 0, and b̄ = b/‖b‖_Σ moves by S1 (14) where ‖b‖ = 1."""
    line = {"kind": "interval", "bounds": [-6.0, 6.0], "cells": 8}
    case = load_case("bn-circle").replace(
        {
            "space": {"a": line, "b1": line, "b2": line},
            "energy.branches": [{"weights": ["b1", "b2"], "outputs": [["a"]]}],
            "energy.data.inputs.covariance": covariance,
        }
    )
    factors, energy = case.grid().factors, case.energy.load(Path(case.directory))
    columns = [[f.name for f in factors].index(n) for n in ("a", "b1", "b2")]
    angle, a = rng.random(50) * 2 * np.pi, rng.normal(size=50)
    b, points = np.stack([np.cos(angle), np.sin(angle)], axis=1), np.empty((50, 3))
    points[:, columns] = np.column_stack([a, b])
    evaluation = energy.particles(factors).evaluate(points, np.full(50, 0.02))
    v, sigma = -evaluation.gradient[:, columns[1:]], energy.data.covariance()
    np.testing.assert_allclose((b * v).sum(axis=1), 0, atol=1e-14)
    norms = np.sqrt(np.einsum("ni,ij,nj->n", b, sigma, b))[:, None]
    bar = b / norms
    mean = expectation(energy, points, evaluation, bar, a, heaviside)
    for k in range(50):
        ten = -(np.eye(2) - sigma @ np.outer(b[k], b[k]) / norms[k] ** 2) @ mean[k] / norms[k]
        np.testing.assert_allclose(v[k], ten, atol=1e-13)  # S1 (10)
        project = np.eye(2) - np.outer(bar[k], bar[k]) @ sigma
        pushed = project @ v[k] / norms[k]  # d(b/‖b‖_Σ)
        np.testing.assert_allclose(pushed, -(bar[k] @ bar[k]) * project @ project.T @ mean[k], atol=1e-13)


# ------------------------------------------------------------------------------------------------------------ the flow
def test_the_flow_on_the_ellipse_is_the_flow_on_the_circle():
    """Theorems 2 and 3: pushed forward to angles, one density and one loss, up to the second-order error of the grids."""
    covariance = [[5.0, 1.0], [1.0, 1.0]]
    gaps = []
    for n in (40, 80, 160):
        cells = {"space.a.cells": n, "space.angle.cells": n, "energy.activation": "tanh", "energy.data.activation": "relu"}
        on_ellipse = ellipse_case(covariance, **cells)
        on_circle = on_ellipse.replace({"space.angle": {"kind": "circle", "cells": n}})
        ends = []
        for case in (on_ellipse, on_circle):
            dataset, grid = solve(case), case.grid()
            density = dataset["density"].isel(time=-1).transpose(*grid.order).to_numpy()
            marginals = {f.name: quantiles_of_cells(grid.marginal_masses(density, f.name), f) for f in grid.factors}
            ends.append((float(dataset["energy"][-1]), marginals))
        (energy1, marginals1), (energy2, marginals2) = ends
        gaps.append(
            [
                *(wasserstein(marginals1[name], marginals2[name], 1) for name in ("a", "angle")),
                abs(energy1 - energy2),
            ]
        )
    slopes = np.log2(np.array(gaps[:-1]) / np.array(gaps[1:]))
    assert (slopes[-1] >= 1.8).all(), (gaps, slopes)
    assert max(gaps[-1]) < 1e-3, gaps


def test_data_that_are_not_centred_are_centred_and_the_terminal_says_so(tmp_path, capsys):
    rng = np.random.default_rng(3)
    x = rng.normal(size=(40, 2)) @ [[2.0, 0.3], [0.0, 1.0]] + [3.0, -1.0]
    rows = "\n".join(f"{float(a)!r},{float(b)!r},{float(np.tanh(a))!r}" for a, b in x)
    (tmp_path / "data.csv").write_text("x1,x2,y\n" + rows)
    table = load_case_table("bn-circle")
    table["energy"]["data"] = {"kind": "file", "file": "data.csv", "inputs": ["x1", "x2"], "targets": ["y"]}
    table["space"]["angle"] = {"kind": "ellipse", "covariance": np.cov(x.T, bias=True).tolist(), "cells": 16}
    table["space"]["a"]["cells"] = 16
    table["time"] = {"stop": 0.1, "save": 2}
    import tomli_w

    (tmp_path / "mine.toml").write_text(tomli_w.dumps(table), encoding="utf-8")
    assert main(["solve", str(tmp_path / "mine.toml"), "-o", str(tmp_path / "mine.nc")]) == 0
    assert "inputs centred for batch normalisation" in capsys.readouterr().err


def test_positions_of_an_interval_are_their_own_weight_vectors():
    factor = Interval(bounds=(0.0, 1.0), cells=4).factor("x")
    np.testing.assert_array_equal(factor.embed(factor.points), factor.points[:, None])


def test_jko_on_the_ellipse_is_jko_on_the_circle(covariance):
    """One potential of the arc length, the same steps: W1 of both densities falls with the square of the cells."""
    gaps = []
    for cells in (48, 96):
        masses = []
        for spec in (Ellipse(covariance=covariance, cells=cells), Circle(cells=cells)):
            factor = spec.factor("angle")
            grid = Grid([factor])
            energy = Potential(terms={"angle": Wave(amplitude=1.0, centre=2.0)}).load(Path()).bind(grid)
            stepper = JKO(tau=0.05).init(problem_of(grid, energy, 0.1))
            state = stepper.start(Normal(1.0, 0.5).masses(factor) / factor.volumes)
            for _ in range(6):
                state = stepper.step(state, 1.0)
            masses.append((factor, state.density * factor.volumes))
        (ellipse, one), (circle, two) = masses
        gaps.append(wasserstein(quantiles_of_cells(one, ellipse), quantiles_of_cells(two, circle), 1))
    assert gaps[1] <= gaps[0] / 3, gaps
