"""Entropic JKO: the kernel, the two algorithms against each other, exact solutions, bias, and what is refused."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from helpers import IDENTITY, ORNSTEIN_UHLENBECK, QUADRATIC, Linear, case_of, problem_of
from scipy.optimize import brentq

from gridflow.case.case import load_case
from gridflow.errors import InputError
from gridflow.progress import Progress
from gridflow.scheme.jko.algorithm_1 import kl_prox
from gridflow.scheme.jko.anderson import Anderson
from gridflow.scheme.jko.gibbs import GibbsKernel, gibbs_matrix
from gridflow.scheme.jko.scheme import JKO
from gridflow.solver import solve
from gridflow.space.circle import Circle
from gridflow.space.distances import quantiles_of_cells, wasserstein
from gridflow.space.grid import Grid
from gridflow.space.labels import Labels
from gridflow.space.line import Grading, Interval
from gridflow.space.mixture import mixture_masses
from gridflow.verdict.verdict import grid_error

LINE = Interval(bounds=(-1.0, 2.0), cells=40).factor("x")
GRADED = Interval(bounds=(-1.0, 2.0), cells=40, grading=Grading(focus=0.3, ratio=3.0)).factor("x")
CIRCLE = Circle(cells=32).factor("angle")
SIGNS = Labels(values=[-1.0, 1.0]).factor("sign")


# --------------------------------------------------------------------------------------------------------- the kernel
@pytest.mark.parametrize("factor", [LINE, GRADED, CIRCLE], ids=["line", "graded", "circle"])
def test_the_kernel_keeps_constants_and_mass(factor):
    epsilon = 1.5 * factor.volumes.max() ** 2
    kernel = gibbs_matrix(factor, epsilon)
    assert (kernel >= 0).all()
    np.testing.assert_allclose(kernel.sum(axis=1), 1.0, rtol=1e-14)  # K1 = 1: no density piles up or leaves at a wall
    np.testing.assert_allclose(factor.volumes @ kernel, factor.volumes, rtol=1e-13)
    np.testing.assert_allclose(factor.volumes[:, None] * kernel, (factor.volumes[:, None] * kernel).T, atol=1e-15)


def test_the_kernel_is_the_gaussian_of_the_cost_away_from_walls():
    epsilon = 4 * LINE.volumes[0] ** 2
    kernel = gibbs_matrix(LINE, epsilon)
    ratio = kernel[20] / kernel[20, 20]
    np.testing.assert_allclose(ratio[12:29], np.exp(-((LINE.points[12:29] - LINE.points[20]) ** 2) / epsilon), rtol=1e-6)


def test_the_grid_kernel_is_the_product_of_its_factors(rng):
    """Labels are not mixed; a mobility that depends on the label scales ε; a mobility 0 freezes."""
    grid = Grid([SIGNS, LINE, CIRCLE], {"x": ("sign", np.array([0.0, 2.0])), "angle": (None, np.array([0.5]))})
    epsilon = 2.0 * CIRCLE.volumes[0] ** 2
    kernel = GibbsKernel(grid, epsilon)
    names = [f.name for f in grid.factors]
    field = rng.random(grid.shape)
    turning = gibbs_matrix(CIRCLE, 0.5 * epsilon)
    result = kernel.apply(field)
    for label, matrix in enumerate([np.eye(40), gibbs_matrix(LINE, 2.0 * epsilon)]):
        part = field[label] if names[1] == "angle" else field[label].T
        expected = turning @ part @ matrix.T
        mine = result[label] if names[1] == "angle" else result[label].T
        np.testing.assert_allclose(mine, expected, rtol=1e-12)
    np.testing.assert_allclose(kernel.filter(field, kernel.modes[1]), result, rtol=1e-10)  # K in its own eigenbasis


def test_logarithms_agree_with_the_linear_domain_and_reach_beyond_it(rng):
    grid = Grid([SIGNS, LINE, CIRCLE])
    kernel = GibbsKernel(grid, 2.0 * CIRCLE.volumes[0] ** 2)
    small = 50 * rng.random(grid.shape)
    np.testing.assert_allclose(kernel.apply_log(small), np.log(kernel.apply(np.exp(small))), rtol=1e-12)
    wide = small.copy()
    wide[0, 0, 0] -= 700.0  # enough to leave the linear domain, too little of the sum to change it
    np.testing.assert_allclose(kernel.apply_log(wide)[1], kernel.apply_log(small)[1], rtol=1e-12)
    steep = 2000 * grid.coordinate("x") * np.ones(grid.shape)
    result = kernel.apply_log(steep)
    assert np.isfinite(result).all()
    middle = (slice(None), slice(None), slice(10, 30)) if grid.order[2] == "x" else (slice(None), slice(10, 30))
    # K e^{sx} = e^{sx + ε s²/4}, four deviations away from the walls
    gentle = 2 * grid.coordinate("x") * np.ones(grid.shape)
    np.testing.assert_allclose((kernel.apply_log(gentle) - gentle)[middle], kernel.epsilon, rtol=1e-3)


def test_a_mobility_along_another_line_is_refused():
    grid = Grid([LINE, CIRCLE], {"angle": ("x", (LINE.points + 2) ** -2)})
    with pytest.raises(InputError, match="finite-volume"):
        GibbsKernel(grid, 0.1)


# ------------------------------------------------------------------------------------------- one step, two algorithms
def first_step(case, **scheme):
    grid = case.grid()
    masses = mixture_masses(case.initial, grid, Path(case.directory), "initial")
    bound = case.energy.load(Path(case.directory)).bind(grid)
    stepper = JKO(**scheme).init(problem_of(grid, bound, case.flow.temperature))
    state = stepper.step(stepper.start(masses / grid.volume), 1.0)
    return grid, replace(state, reports=stepper.report(state))


SMALL = {
    "potential and entropy": case_of(ORNSTEIN_UHLENBECK, space__x__cells=48),
    "quadratic activation": case_of(QUADRATIC, space__theta__cells=48),
    "network with signs": load_case("relu-regression").replace({"space.w.cells": 20, "space.b.cells": 18}),
    "batch norm": load_case("bn-circle").replace({"space.a.cells": 24, "space.angle.cells": 20, "energy.data.inputs.count": 20}),
    "mmd": load_case("mmd-gaussian").replace({"space.x.cells": 24, "space.y.cells": 22}),
}


@pytest.mark.parametrize("case", SMALL.values(), ids=SMALL.keys())
def test_both_algorithms_give_the_same_step(case):
    """S2 Algorithm 1 and the quasi-Newton iteration solve the same problem: L1 difference within their tolerances."""
    tau = 0.05
    grid, reference = first_step(case, tau=tau, bias="plain", algorithm="scaling", tolerance=1e-9, max_iterations=20_000)
    _, ours = first_step(case, tau=tau, bias="plain", tolerance=1e-10)
    assert np.abs((ours.density - reference.density) * grid.volume).sum() <= 1e-6
    assert ours.reports["constr_odd"] <= 1e-8
    assert ours.reports["constr_even"] <= 1e-8
    assert max(reference.reports["constr_even"], reference.reports["constr_odd"]) <= 1e-9
    assert reference.reports["iterations"] > ours.reports["iterations"]


@pytest.mark.parametrize("bias", ["plain", "compensate", "debias"])
@pytest.mark.parametrize("case", SMALL.values(), ids=SMALL.keys())
def test_steps_keep_mass_and_sign_and_lower_the_energy(case, bias):
    grid, state = first_step(case, tau=0.05, bias=bias)
    assert state.density.min() >= 0
    assert grid.integrate(state.density) == pytest.approx(1.0, abs=1e-13)
    assert state.dissipation > 0


@pytest.mark.parametrize("algorithm", ["newton", "scaling"])
def test_both_constraints_measure_how_far_a_step_is_from_its_end(algorithm):
    """ConstrEven stands before the update of b, behind which it is 0 for everything (S2 Algorithm 1, lines 7 and 8): it must
    be large after few iterations, fall as they go on, and end below the tolerance."""
    case, found = SMALL["network with signs"], []
    for iterations in (1, 4, 1000):
        scheme = {"tau": 0.2, "bias": "plain", "algorithm": algorithm, "tolerance": 1e-9, "on_unconverged": "continue"}
        grid, state = first_step(case, **scheme, max_iterations=iterations)
        found.append([state.reports["constr_even"], state.reports["constr_odd"]])
        assert state.unconverged == (iterations < 1000)
        assert grid.integrate(state.density) == pytest.approx(1.0, abs=1e-13)
    first, second, last = np.array(found)
    assert (first > 1e-3).all(), f"{found}"
    assert (second < first).all(), f"{found}"
    assert (last < 1e-8).all(), f"{found}"


@pytest.mark.parametrize("kind", ["plain potential", "network", "network with temperature"])
def test_the_prox_of_algorithm_1_is_a_minimum(kind, rng):
    """log p − log z + force·(ξ + D(1 + log p)) = 0, from z a hundred times too heavy too; without energy it is z."""
    case = case_of(ORNSTEIN_UHLENBECK) if kind == "plain potential" else SMALL["network with signs"]
    grid, temperature, force = case.grid(), 0.1 if kind == "network with temperature" else 0.0, 40.0
    energy = case.energy.load(Path(case.directory)).bind(grid)
    prox = kl_prox(energy, grid.volume, force, temperature, 1e-8)
    for log_z in (rng.standard_normal(grid.shape), np.log(100.0) + np.zeros(grid.shape)):
        logs = prox(log_z)
        xi = energy.evaluate(np.exp(logs) * grid.volume).first_variation
        np.testing.assert_allclose(logs - log_z + force * (xi + temperature * (1 + logs)), 0.0, atol=1e-8)  # the tolerance


def test_the_prox_of_algorithm_1_gives_cells_without_mass_their_logarithm():
    """Three cells with mass, the others e^−10000 of them: all equations hold, those of empty cells too."""
    case = SMALL["network with signs"]
    grid, force = case.grid(), 40.0
    energy = case.energy.load(Path(case.directory)).bind(grid)
    log_z = np.full(grid.size, -1e4)
    log_z[grid.size // 3 : grid.size // 3 + 3] = 0.0
    log_z = log_z.reshape(grid.shape)
    logs = kl_prox(energy, grid.volume, force, 0.0, 1e-8)(log_z)
    xi = energy.evaluate(np.exp(logs) * grid.volume).first_variation
    np.testing.assert_allclose(logs - log_z + force * xi, 0.0, atol=1e-8 * 1e4)  # the tolerance, of logarithms of 10⁴


def test_steps_that_go_on_unconverged_have_no_accuracy():
    scheme = {"kind": "jko", "tau": 0.05, "accuracy": 0.5, "on_unconverged": "continue"}
    with pytest.raises(InputError, match="remove accuracy"):
        solve(case_of(QUADRATIC, scheme=scheme))


def test_anderson_keeps_the_fixed_point(rng):
    """A linear contraction x ↦ Ax + b with a slow mode: the same limit, far fewer steps."""
    matrix, target = np.diag([0.9, 0.5, -0.7, 0.2]), rng.standard_normal(4)
    x, mixing = np.zeros(4), Anderson(np.asarray)
    for _ in range(12):
        x = mixing.next(x, matrix @ (x - target) + target - x, np.ones(4))
    np.testing.assert_allclose(x, target, atol=1e-8)


# ------------------------------------------------------------------------------------------------------ exact solutions
def error_of(table, **changes):
    dataset = solve(case_of(table, **changes))
    assert dataset.attrs["status"] == "completed"
    assert dataset.attrs["mass_error_max"] <= 1e-12
    return dataset


@pytest.mark.parametrize(("bias", "epsilon", "low", "high"), [
    ("plain", 4.0, 8e-2, 1e-1),  # the bias itself: D = ε/(4τ) acts for T = 1, about 9e−2
    ("compensate", 1.25, 0.0, 1e-3),
    ("debias", 4.0, 0.0, 1e-3),
])  # fmt: skip
def test_quadratic_activation(bias, epsilon, low, high):
    scheme = {"kind": "jko", "tau": 0.02, "bias": bias, "epsilon": epsilon}
    dataset = error_of(QUADRATIC, scheme=scheme, space__theta__cells=256)
    assert low <= float(dataset["error_w1"][-1]) <= high
    assert int(dataset["iterations"][-1]) <= 12 * int(dataset["steps"][-1])
    assert float(dataset["constr_odd"][-1]) < 1e-6


@pytest.mark.parametrize("table", [QUADRATIC, IDENTITY], ids=["quadratic", "identity"])
def test_order_one_in_the_step(table):
    errors = []
    for tau in (0.04, 0.02, 0.01):
        scheme = {"kind": "jko", "tau": tau}
        errors.append(float(error_of(table, scheme=scheme, space__theta__cells=512, time__stop=0.64)["error_w1"][-1]))
    slopes = np.log2(np.array(errors[:-1]) / np.array(errors[1:]))
    assert np.abs(slopes - 1).max() <= 0.15, f"errors {errors}"  # an implicit Euler step; τ² seen at the coarse end


def jko_of_a_normal_density(mean, deviation, tau, steps, stiffness, centre, temperature):
    """Exact JKO steps of N(m, s²) for k(x − c)²/2 and D: m' = (m + τkc)/(1 + τk), (s' − s)/τ + k s' − D/s' = 0."""
    for _ in range(steps):
        mean = (mean + tau * stiffness * centre) / (1 + tau * stiffness)
        deviation = brentq(lambda s, old=deviation: (s - old) / tau + stiffness * s - temperature / s, 1e-3, 10.0, xtol=1e-14)
    return mean, deviation**2


@pytest.mark.parametrize("bias", ["compensate", "debias"])
@pytest.mark.parametrize("epsilon", [2.0, 8.0])
def test_ornstein_uhlenbeck_against_exact_jko(epsilon, bias):
    """Means agree; the variance exceeds the exact one by ε²/(16τs) per unit time, relaxing with the flow: compensate within 10 %
    of that, debias without 99 % of it, once it is above what cells leave, h²/12 of a variance."""
    tau, steps = 0.05, 8
    table = {**ORNSTEIN_UHLENBECK, "exact": None}
    scheme = {"kind": "jko", "tau": tau, "epsilon": epsilon, "tolerance": 1e-10, "bias": bias}
    dataset = error_of(table, scheme=scheme, space__x__cells=256, time__stop=tau * steps)
    x, masses = dataset["x"].to_numpy(), (dataset["density"] * dataset["cell_volume"]).to_numpy()
    h = x[1] - x[0]
    variances = [m @ x**2 - (m @ x) ** 2 for m in masses]
    path = [jko_of_a_normal_density(-0.8, np.sqrt(variances[0]), tau, k, 1.5, 0.2, 0.3) for k in range(steps + 1)]
    assert masses[-1] @ x == pytest.approx(path[-1][0], abs=1e-6)
    excess = 0.0
    for _, variance in path[:-1]:  # ε²/(16τs) per unit time, relaxing with rate 2k
        excess = (excess + (epsilon * h**2) ** 2 / (16 * variance)) / (1 + 2 * 1.5 * tau)
    left = variances[-1] - path[-1][1]
    assert left == pytest.approx(excess, rel=0.1) if bias == "compensate" else abs(left) <= 0.01 * excess


@pytest.mark.parametrize(("bias", "epsilon", "spread"), [("compensate", 1.5, 1.1), ("debias", 1.5, 1.1), ("debias", 2.0, 0.02)])
def test_a_linear_potential_translates(bias, epsilon, spread):
    """τ per step and unit slope, to 10⁻³ of a cell in a hundred steps; ε ≥ 1.5 h², because the lattice pins by e^(−π²ε/h²).

    The variance grows by ε²/(16τs) per unit time where only the leading bias is gone; debias leaves less than two percent of it.
    """
    table = {
        **ORNSTEIN_UHLENBECK,
        "energy": {"kind": "potential", "terms": {"x": {"kind": "linear", "slope": -1.0}}},
        "flow": {},
        "exact": None,
    }
    scheme = {"kind": "jko", "tau": 0.02, "epsilon": epsilon, "bias": bias}
    dataset = error_of(table, scheme=scheme, space__x__cells=128, time__stop=2.0)
    x, masses = dataset["x"].to_numpy(), (dataset["density"] * dataset["cell_volume"]).to_numpy()
    h = x[1] - x[0]
    assert masses[-1] @ x - masses[0] @ x == pytest.approx(2.0, abs=1e-3 * h)
    start, end = (m @ x**2 - (m @ x) ** 2 for m in masses[[0, -1]])
    assert abs(end - start) <= spread * 2.0 * (epsilon * h**2) ** 2 / (16 * 0.02 * start)


@pytest.mark.parametrize("bias", ["compensate", "debias"])
def test_steps_follow_the_accuracy(bias):
    """Error in time allowed per unit time, in cells: kept, in this contracting flow by far; steps grow as the flow slows down."""
    errors, steps = [], []
    for accuracy in (0.8, 0.4, 0.2):
        scheme = {"kind": "jko", "tau": 0.02, "accuracy": accuracy, "bias": bias}
        dataset = error_of(QUADRATIC, scheme=scheme, space__theta__cells=256)
        errors.append(float(dataset["error_w1"][-1]) / (6 / 256))
        steps.append(int(dataset["steps"][-1]))
        assert errors[-1] <= 0.5 * accuracy
        assert float(dataset["time_step"][-1]) > 2 * float(dataset["time_step"][1])
    assert 1.6 <= steps[1] / steps[0] <= 2.2  # order 1: steps like 1/accuracy, up to those that end at a save
    assert 1.6 <= steps[2] / steps[1] <= 2.2
    assert errors[0] > 1.3 * errors[1] > 1.69 * errors[2]


def test_an_accuracy_that_the_bias_forbids_is_a_status():
    scheme = {"kind": "jko", "tau": 0.02, "accuracy": 0.02}
    dataset = solve(case_of(QUADRATIC, scheme=scheme, space__theta__cells=256))
    assert "scheme.accuracy = 0.02 is not reached" in dataset.attrs["status"]
    assert 'bias = "debias"' in dataset.attrs["status"]


def test_the_sweeps_of_debias_tend_to_the_sinkhorn_divergence():
    """d·Kd = p: every sweep multiplies the error of log d by at most (1 − σ)/2 ≤ ½."""
    grid = Grid([LINE])
    density = np.exp(-((LINE.points - 0.4) ** 2) / 0.3)
    defects = []
    for sweeps in (1, 2, 4, 20):
        stepper = JKO(tau=0.1, bias="debias", sweeps=sweeps).init(problem_of(grid, Linear(0 * density), 0.0))
        log_d = 0.5 * np.log(density) + stepper.equation.correction(np.log(density))
        defects.append(np.abs(log_d + stepper.kernel.apply_log(log_d) - np.log(density)).max())
    assert defects[1] <= 0.5 * defects[0]
    assert defects[2] <= 0.25 * defects[1]
    assert defects[3] <= 1e-5 * defects[0]


@pytest.mark.parametrize("name", ["bn-circle", "mmd-gaussian", "relu-regression"])
def test_jko_and_finite_volumes_agree_within_their_errors(name):
    """W1 of every marginal: at most the sum of the estimates, in space for both, in τ for JKO (order 1: the last difference)."""
    case = load_case(name)
    stop = {"bn-circle": 1.0, "mmd-gaussian": 10.0, "relu-regression": 1.0}[name]
    case = case.replace({"time.stop": stop, "time.save": [0.0, stop], "exact": None})
    lines = [n for n, f in case.space.items() if f.resolution_key == "cells"]

    def marginals(divide, scheme):
        changes = {f"space.{n}.cells": 96 // divide for n in lines}
        smaller = case.replace({**changes, "scheme": scheme})
        grid = smaller.grid()
        dataset = solve(smaller)
        assert dataset.attrs["status"] == "completed"
        density = dataset["density"].isel(time=-1).transpose(*grid.order).to_numpy()
        return {n: (grid.marginal_masses(density, n), next(f for f in grid.factors if f.name == n)) for n in lines}

    def gap(one, two, name):
        return wasserstein(quantiles_of_cells(*one[name]), quantiles_of_cells(*two[name]), 1)

    volumes = [marginals(d, {"kind": "finite-volume"}) for d in (1, 2, 4)]
    tau = stop / 16
    jko = [marginals(d, {"kind": "jko", "tau": tau}) for d in (1, 2, 4)]
    coarse = marginals(1, {"kind": "jko", "tau": 2 * tau})
    for n in lines:
        allowed = gap(coarse, jko[0], n)
        for runs in (volumes, jko):
            allowed += 1.25 * float(grid_error(np.array([gap(runs[0], runs[1], n), gap(runs[1], runs[2], n)]))[0])
        assert gap(volumes[0], jko[0], n) <= allowed
        assert allowed <= 0.25  # and the estimates say something


# ------------------------------------------------------------------------------------------------------- good manners
def test_an_interrupted_run_resumes(tmp_path):
    """State and warm start go through the checkpoint: the same density as without the interruption."""
    case = case_of(QUADRATIC, scheme={"kind": "jko", "tau": 0.05}, time__save=5)

    class Stop(Progress):
        def __init__(self):
            self.steps = 0

        def update(self, state, steps, mass_error):
            self.steps += 1
            if self.steps == 8:
                raise KeyboardInterrupt

        def close(self):
            pass

    whole = solve(case)
    assert solve(case, tmp_path / "a.nc", progress=Stop()).attrs["status"] == "interrupted"
    resumed = solve(case, tmp_path / "a.nc", resume=True)
    np.testing.assert_allclose(resumed["density"], whole["density"], atol=1e-12)
    np.testing.assert_array_equal(resumed["iterations"], whole["iterations"])


@pytest.mark.parametrize("scheme", [{}, {"algorithm": "scaling", "bias": "plain"}], ids=["newton", "scaling"])
def test_steps_that_do_not_converge_may_go_on_and_are_counted(scheme):
    """S2 §1.2: "prox solution is not accurate due to small number of inner iterations"."""
    scheme = {"kind": "jko", "tau": 0.05, "max_iterations": 2, "tolerance": 1e-12, "on_unconverged": "continue", **scheme}
    dataset = solve(case_of(QUADRATIC, scheme=scheme, space__theta__cells=48))
    steps = int(dataset["steps"][-1])
    assert dataset.attrs["status"].startswith(f"unconverged: {steps} of {steps} steps ended before their tolerance; raise ")
    assert int(dataset["iterations"][-1]) == 2 * steps
    assert dataset.attrs["mass_error_max"] <= 1e-12
    assert float(dataset["constr_even"][-1]) > 1e-12


def test_a_step_that_does_not_converge_is_a_status():
    dataset = solve(case_of(QUADRATIC, scheme={"kind": "jko", "tau": 0.05, "max_iterations": 1, "tolerance": 1e-13}))
    assert dataset.attrs["status"].startswith("failed: the JKO step at time 0 did not converge in")


@pytest.mark.parametrize(
    ("scheme", "message"),
    [
        ({"kind": "jko", "tau": 0.0}, "tau"),
        ({"kind": "jko"}, "tau"),
        ({"kind": "jko", "tau": 0.1, "epsilon": 0.3}, "at least 0.5"),
        ({"kind": "jko", "tau": 0.1, "bias": "none"}, "compensate"),
        ({"kind": "jko", "tau": 0.1, "algorithm": "scaling"}, "plain steps"),
    ],
)
def test_impossible_numbers_are_refused(scheme, message):
    with pytest.raises(InputError, match=message):
        solve(case_of(QUADRATIC, scheme=scheme))
