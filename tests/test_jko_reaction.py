"""JKO steps of flows with reaction: against exact solutions and finite volumes, and in the limits of either part alone."""

import numpy as np
import pytest
from helpers import QUADRATIC as NETWORK
from helpers import Linear, case_of, problem_of

from gridflow.errors import InputError
from gridflow.flow.reaction import Reaction
from gridflow.scheme.jko.scheme import JKO
from gridflow.solver import solve
from gridflow.space.grid import Grid
from gridflow.space.labels import Labels
from gridflow.space.line import Interval

LINE = Interval(bounds=(-2.0, 2.0), cells=64).factor("x")


def table(term, rate, **flow):
    return {
        "title": "reaction",
        "space": {"x": {"kind": "interval", "bounds": [-4.0, 4.0], "cells": 256}},
        "energy": {"kind": "potential", "terms": {"x": term}},
        "initial": [{"density": {"x": {"kind": "normal", "mean": -0.8, "deviation": 0.4}}}],
        "flow": {"reaction": {"rate": rate}, **flow},
        "scheme": {"kind": "jko", "tau": 0.04},
        "time": {"stop": 0.64, "save": 2},
    }


QUADRATIC = {"kind": "quadratic", "stiffness": 1.2, "centre": 0.2}


def moments(dataset):
    masses, x = (dataset["density"] * dataset["cell_volume"]).to_numpy()[-1], dataset["x"].to_numpy()
    mean = masses @ x / masses.sum()
    return np.array([masses.sum(), mean, masses @ (x - mean) ** 2 / masses.sum()])


@pytest.mark.parametrize("term", [QUADRATIC, {"kind": "linear", "slope": -0.7}], ids=["quadratic", "linear"])
@pytest.mark.parametrize("rate", [0.5, 3.0])
def test_mass_mean_and_variance_at_order_one(term, rate):
    """Against finite volumes, of order 2 in time: ∂ρ/∂t = ∂(ρV')/∂x − κVρ; the bias does not disturb mass and mean."""
    errors = []
    for tau in (0.04, 0.02, 0.01):
        case = case_of(table(term, rate), scheme={"kind": "jko", "tau": tau, "epsilon": 1.5})
        dataset = solve(case)
        assert dataset.attrs["status"] == "completed"
        exact = solve(case.replace({"scheme": {"kind": "finite-volume", "accuracy": 0.05}}))
        errors.append(np.abs(moments(dataset) / moments(exact) - 1))
    slopes = np.log2(np.array(errors[:-1]) / np.array(errors[1:]))[:, :2]
    assert np.abs(slopes - 1).max() <= 0.2, f"errors {errors}"  # an implicit Euler step; τ² seen at the coarse end
    assert errors[-1].max() <= 0.03  # τ times the rate of the variance, 2·1.2 + 3·1.2·0.16 = 3


def test_a_network_that_reacts_at_order_one():
    """ξ depends on the density, and is updated within a step."""
    changes = {"exact": None, "flow": {"reaction": {"rate": 2.0}}, "space.theta.cells": 192, "time.stop": 0.32, "time.save": 2}
    found = []
    for scheme in ({"kind": "finite-volume", "accuracy": 0.05}, *({"kind": "jko", "tau": tau} for tau in (0.04, 0.02, 0.01))):
        dataset = solve(case_of(NETWORK).replace({**changes, "scheme": scheme}))
        assert dataset.attrs["status"] == "completed"
        masses, x = (dataset["density"] * dataset["cell_volume"]).to_numpy()[-1], dataset["theta"].to_numpy()
        found.append([masses.sum(), masses @ x, masses @ x**2])
    errors = np.abs(np.array(found[1:]) / found[0] - 1)
    slopes = np.log2(errors[:-1] / errors[1:])
    assert np.abs(slopes - 1).max() <= 0.2, f"errors {errors}"
    assert errors[-1].max() <= 0.02
    assert abs(found[0][0] - 1) > 0.05


def one_step(kappa, potential, density, grid, tau=0.1, **scheme):
    reaction = Reaction(kappa)
    stepper = JKO(**{"tau": tau, "tolerance": 1e-11, **scheme}).init(problem_of(grid, Linear(potential), 0.0, reaction))
    return stepper, stepper.step(stepper.start(density), 1.0)


@pytest.mark.parametrize("kappa", [0.5, 2.0])
def test_without_transport_a_step_is_a_square(kappa):
    """ξ and ρ that do not vary along the line: p = q/(1 + τκξ/2)² label by label, up to κε of the exponent."""
    grid = Grid([LINE, Labels(values=[-1.0, 0.5, 2.0]).factor("kind")])
    kinds = grid.coordinate("kind") * np.ones(grid.shape)
    density = (1.5 + kinds**2) * np.ones(grid.shape)
    _, state = one_step(kappa, kinds, density, grid)
    np.testing.assert_allclose(state.density, density / (1 + 0.1 * kappa * kinds / 2) ** 2, rtol=0.5 * kappa * 0.005)


def test_without_reaction_a_step_is_a_balanced_one():
    """κ → 0: the difference to the step with hard marginals falls like κ."""
    grid = Grid([LINE])
    density = np.exp(-2 * (LINE.points + 0.4) ** 2)
    potential = np.sin(2 * LINE.points)
    balanced = JKO(tau=0.1, tolerance=1e-11).init(problem_of(grid, Linear(potential)))
    expected = balanced.step(balanced.start(density), 1.0).density
    gaps = [np.abs(one_step(kappa, potential, density, grid)[1].density - expected).max() for kappa in (1e-2, 1e-3, 1e-4)]
    assert gaps[2] <= 1e-4
    np.testing.assert_allclose(np.log10(np.array(gaps[:-1]) / gaps[1:]), 1.0, atol=0.05)


@pytest.mark.parametrize("bias", ["plain", "compensate"])
def test_a_step_satisfies_both_conditions(bias):
    """p = π₁/G and a = G^(−λ/ε), G = (1 + 2τV/λ)p^(−βε/λ), λ = 4/κ, with π₁ = a·K(q/(Ka))^(λ/(λ+ε))."""
    grid, kappa, tau = Grid([LINE]), 1.7, 0.1
    density, potential = np.exp(-2 * (LINE.points + 0.4) ** 2), np.sin(2 * LINE.points)
    stepper, state = one_step(kappa, potential, density, grid, tau, bias=bias)
    epsilon, weight = stepper.epsilon, 4 / kappa
    log_a = state.arrays["differences"][0]
    log_b = weight / (weight + epsilon) * (np.log(density) - stepper.kernel.apply_log(log_a))
    first = np.exp(log_a + stepper.kernel.apply_log(log_b))
    beta = 0.0 if bias == "plain" else 1 / (2 + epsilon / weight)
    growth = (1 + 2 * tau / weight * potential) * state.density ** (-beta * epsilon / weight)
    np.testing.assert_allclose(state.density, first / growth, atol=1e-9 * density.max())
    np.testing.assert_allclose(log_a, -weight / epsilon * np.log(growth), atol=1e-5)
    report = stepper.report(state)
    assert max(report["constr_even"], report["constr_odd"]) <= 1e-8


def test_nothing_happens_without_force():
    """What compensation leaves is of second order in κε: a bump keeps its mass, and its shape but for the entropic blur."""
    grid = Grid([LINE])
    density = np.exp(-2 * LINE.points**2)
    _, state = one_step(2.0, np.zeros(grid.shape), density, grid)
    assert grid.integrate(state.density) == pytest.approx(grid.integrate(density), rel=1e-4)
    np.testing.assert_allclose(state.density, density, atol=1e-3)


@pytest.mark.parametrize("rate", [0.1, 30.0])
def test_a_uniform_density_without_force_rests_whatever_the_cells(rate):
    """ε/λ = εκ/4 from 1e-4 to 0.03 and beyond: what is added for p is what the plan takes, 1/(2 + s) of its logarithm."""
    wide = Interval(bounds=(-40.0, 40.0), cells=32).factor("x")  # ε/λ = 0.2 and 60
    for line in (LINE, wide):
        grid = Grid([line])
        density = np.full(grid.shape, 0.02)
        _, state = one_step(rate, np.zeros(grid.shape), density, grid)
        np.testing.assert_allclose(state.density, density, rtol=1e-6)


def test_plain_steps_are_for_small_blurs():
    wide = Grid([Interval(bounds=(-40.0, 40.0), cells=32).factor("x")])
    with pytest.raises(InputError, match="compensate"):
        one_step(1.0, np.zeros(wide.shape), np.full(wide.shape, 0.02), wide, bias="plain")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"flow": {"reaction": {"rate": 1.0, "conserve": True}}}, "conserve"),
        ({"flow": {"reaction": {"rate": 1.0}, "temperature": 0.1}}, "flow.temperature"),
        ({"scheme": {"kind": "jko", "tau": 0.1, "bias": "debias"}}, "debias"),
        ({"scheme": {"kind": "jko", "tau": 0.1, "bias": "plain", "algorithm": "scaling"}}, "its own scaling"),
        ({"scheme": {"kind": "jko", "tau": 0.1, "accuracy": 0.5}}, "accuracy"),
    ],
)
def test_what_reactions_do_not_admit_is_refused(changes, message):
    with pytest.raises(InputError, match=message):
        solve(case_of(table(QUADRATIC, 1.0)).replace(changes))


def test_a_step_that_is_too_long_is_a_status():
    dataset = solve(case_of(table({"kind": "linear", "slope": 3.0}, 4.0), scheme={"kind": "jko", "tau": 0.5}))
    assert "too long for the reaction" in dataset.attrs["status"]
