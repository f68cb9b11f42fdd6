"""Proximal point steps: closed forms, the three distances against each other, order in γ, kinks, walls, and what is refused."""

import numpy as np
import pytest
from helpers import HEAT_CIRCLE, IDENTITY, ORNSTEIN_UHLENBECK, QUADRATIC, case_of

from gridflow.case.case import load_case
from gridflow.energy.base import Energy, ParticleEnergy, ParticleEvaluation
from gridflow.errors import InputError, SolveError
from gridflow.particles.cloud import Cloud
from gridflow.particles.integrator import GradientDescent, ProximalPoint, RungeKutta2
from gridflow.particles.proximal import HULL_STEPS, least_norm, random_directions
from gridflow.particles.simulation import simulate

METHODS = [{}, {"distance": "assignment"}, {"distance": "sliced"}, {"inner_method": "gradient-descent", "rate": 0.5}]
UNEQUAL = Cloud(np.array([[0.1], [0.2]]), np.array([0.3, 0.7]))
POTENTIAL = {**ORNSTEIN_UHLENBECK, "flow": {}, "exact": None}


def one_step(case, cloud, gamma, **options):
    run = simulate(case, cloud, times=[0.0, gamma], seed=3, integrator=ProximalPoint(step=gamma, **options))
    return run.points[0], run.points[1]


# ------------------------------------------------------------------------------------------------------- closed forms
@pytest.mark.parametrize("options", METHODS, ids=str)
def test_steps_that_do_not_converge_may_go_on_and_are_counted(options):
    """S2 §1.2: "prox solution is not accurate due to small number of inner iterations"."""
    few = ProximalPoint(step=0.4, inner=1, tolerance=1e-9, on_unconverged="continue", **options)
    run = simulate(case_of(QUADRATIC), 20, times=[0.0, 0.4, 1.2], seed=1, integrator=few)
    assert run.unconverged == 3
    assert np.isfinite(run.points).all()
    enough = simulate(case_of(POTENTIAL), 20, times=[0.0, 0.4], seed=1, integrator=ProximalPoint(step=0.4, **options))
    assert enough.unconverged == 0


@pytest.mark.parametrize("options", METHODS, ids=str)
def test_a_quadratic_potential(options):
    """V = (W + γkc)/(1 + γk): order is kept, so that all distances agree in one dimension. Error: the tolerance."""
    before, after = one_step(case_of(POTENTIAL), 40, 0.8, tolerance=1e-8, **options)
    np.testing.assert_allclose(after, (before + 0.8 * 1.5 * 0.2) / (1 + 0.8 * 1.5), atol=2e-8)  # probes add as much again


def test_the_fixed_point_iteration_needs_small_steps():
    """V ← W − γ∇F(V) (S2 §2.2.1) contracts for γk < 1, k = 1.5, to the proximal point; beyond, it is an error and says so."""
    case, fixed = case_of(POTENTIAL), {"inner_method": "gradient-descent", "rate": 1.0, "tolerance": 1e-12}
    before, after = one_step(case, 40, 0.4, **fixed)
    np.testing.assert_allclose(after, (before + 0.4 * 1.5 * 0.2) / (1 + 0.4 * 1.5), atol=1e-11)
    with pytest.raises(SolveError, match="did not converge"):
        one_step(case, 40, 0.8, **fixed)


@pytest.mark.parametrize("options", METHODS[:3], ids=str)
def test_steps_are_implicit_and_downhill(options):
    """V = W − γ∇ξ(V), not +, not ∇ξ(W): a network in one dimension, tolerance plus as much for the probes."""
    case, gamma = case_of(QUADRATIC), 0.2
    before, after = one_step(case, 30, gamma, tolerance=1e-8, **options)
    energy = Simulated(case)
    velocity = -energy.evaluate(after).gradient
    np.testing.assert_allclose(after - before, gamma * velocity, atol=3e-8)
    assert np.abs(after - before - gamma * -energy.evaluate(before).gradient).max() > 1e-2
    squared = ((after - before) ** 2).mean()
    assert energy.evaluate(after).value + squared / (2 * gamma) < energy.evaluate(before).value


class Simulated:
    """The energy of a case at equal particles."""

    def __init__(self, case):
        from pathlib import Path

        self.energy = case.energy.load(Path(case.directory)).particles(case.grid().factors)

    def evaluate(self, points):
        return self.energy.evaluate(points, np.full(len(points), 1 / len(points)))


def test_order_one_in_the_step():
    """Implicit Euler: errors to the gradient flow (Runge–Kutta, 100 times finer) fall like γ."""
    case, errors = case_of(QUADRATIC), []
    flow = simulate(case, 20, times=[0.0, 0.4], seed=1, integrator=RungeKutta2(0.001)).points[1]
    for steps in (8, 16, 32):
        run = simulate(case, 20, times=[0.0, 0.4], seed=1, integrator=ProximalPoint(step=0.4 / steps, tolerance=1e-7))
        errors.append(np.abs(run.points[1] - flow).max())
    slopes = np.log2(np.array(errors[:-1]) / np.array(errors[1:]))
    assert np.abs(slopes - 1).max() <= 0.1, f"errors {errors}"  # coarse steps: the next order is still seen
    euler = simulate(case, 20, times=[0.0, 0.4], seed=1, integrator=GradientDescent(step=0.4 / 32)).points[1]
    gap, implicit = euler - flow, run.points[1] - flow
    assert (gap * implicit).sum() / (gap**2).sum() == pytest.approx(-1, abs=0.2)  # explicit and implicit err to opposite sides


# ---------------------------------------------------------------------------------------------------------- distances
def relu(n_cells=32):
    return load_case("relu-prox").replace({"space.w.cells": n_cells, "space.b.cells": n_cells})


def test_small_steps_are_one_method():
    """S2 §2.2.2: for a small step the identity is the optimal assignment. γ|∇ξ| below half the least gap of the cloud."""
    before, frobenius = one_step(relu(), 24, 0.02, tolerance=1e-9)
    gaps = np.linalg.norm(before[:, None] - before[None], axis=2) + 9 * np.eye(24)
    assert np.linalg.norm(frobenius - before, axis=1).max() < gaps.min() / 2
    _, assignment = one_step(relu(), 24, 0.02, tolerance=1e-9, distance="assignment")
    np.testing.assert_array_equal(frobenius, assignment)
    # no two neurons of one sign change their order along most directions; where they do the pull differs by the gap, O(γ)
    _, sliced = one_step(relu(), 24, 0.02, tolerance=1e-9, distance="sliced")
    assert np.abs(sliced - frobenius).max() <= 0.2 * np.abs(frobenius - before).max()


class Swap(Energy, ParticleEnergy):
    """½·k·|θ_i + W_i|²: every particle wants to the place of its mirror image, and a permutation brings them all there."""

    def __init__(self, start, stiffness):
        self.start, self.stiffness = start, stiffness

    def bind(self, grid):
        raise NotImplementedError

    def particles(self, factors):
        return self

    def evaluate(self, points, weights, batch=None):
        gap = points + np.tile(self.start, (len(points) // len(self.start), 1))
        return ParticleEvaluation(float(weights @ (gap**2).sum(axis=1)) * self.stiffness / 2, self.stiffness * gap)


def test_large_steps_differ():
    """Two particles at ±1 that want to swap: Frobenius pays for the way, V = W(1 − γk)/(1 + γk), assignment need not: V = −W."""
    start, k, gamma = np.array([[1.0], [-1.0]]), 1.0, 3.0
    case, cloud = case_of(POTENTIAL), Cloud(np.array([[1.0], [-1.0]]), np.full(2, 0.5))
    ends = {}
    for distance in ("frobenius", "assignment"):
        prox = ProximalPoint(step=gamma, distance=distance, tolerance=1e-8)
        ends[distance] = simulate(case, cloud, times=[0.0, gamma], integrator=prox, energy=Swap(start, k)).points[1]
    np.testing.assert_allclose(ends["frobenius"], start * (1 - gamma * k) / (1 + gamma * k), atol=1e-7)
    np.testing.assert_allclose(ends["assignment"], -start, atol=1e-7)


def test_directions_are_exact_for_squares(rng):
    for dim in (1, 2, 3):
        u, x = random_directions(dim, 5, 0), rng.standard_normal(dim)
        assert dim * ((u @ x) ** 2).mean() == pytest.approx(x @ x, rel=1e-13)


# --------------------------------------------------------------------------------------------------------------- kinks
def test_the_shortest_convex_combination(rng):
    """The first-order condition, to the accuracy of k conditional gradient steps, 27/4·diameter²/(k + 2) (Jaggi 2013)."""
    hulls = rng.standard_normal((50, 9, 2)) + rng.standard_normal((50, 1, 2)) * 3
    shortest = least_norm(hulls)
    products = np.einsum("isk,ik->is", hulls, shortest).min(axis=1)
    diameters = np.linalg.norm(hulls[:, :, None] - hulls[:, None], axis=3).max(axis=(1, 2))
    assert (products >= (shortest**2).sum(axis=1) - 6.75 * diameters**2 / (HULL_STEPS + 2)).all()
    corners = np.array([[[1.0, 0.2], [-1.0, 0.2], [0.0, 5.0]]])
    np.testing.assert_allclose(least_norm(corners), [[0.0, 0.2]], atol=1e-15)


class Absolute(Energy, ParticleEnergy):
    """|θ|: the proximal point is soft thresholding, and 0 for all that start within γ of the kink."""

    def bind(self, grid):
        raise NotImplementedError

    def particles(self, factors):
        return self

    def evaluate(self, points, weights, batch=None):
        return ParticleEvaluation(float(weights @ np.abs(points).sum(axis=1)), np.sign(points))


def test_soft_thresholding():
    start = np.array([[-1.2], [-0.3], [0.05], [0.29], [2.0]])
    cloud, prox = Cloud(start, np.full(5, 0.2)), ProximalPoint(step=0.4, tolerance=1e-6)
    end = simulate(case_of(POTENTIAL), cloud, times=[0.0, 0.4], integrator=prox, energy=Absolute()).points[1]
    np.testing.assert_allclose(end, np.sign(start) * np.maximum(np.abs(start) - 0.4, 0), atol=2e-6)
    descent = ProximalPoint(step=0.4, inner_method="gradient-descent", rate=0.3)
    with pytest.raises(SolveError, match="did not converge"):  # it hops over the kink for ever, and says so
        simulate(case_of(POTENTIAL), cloud, times=[0.0, 0.4], integrator=descent, energy=Absolute())


@pytest.mark.parametrize("distance", ["frobenius", "assignment"])
def test_a_relu_step_is_a_local_minimum(distance, rng):
    """γ = 10: many neurons end on a kink. No displacement of 10⁻² finds a lower objective, in total or neuron by neuron."""
    gamma = 10.0
    before, after = one_step(relu(), 64, gamma, tolerance=1e-4, distance=distance)
    energy = Simulated(relu())
    x = energy.energy.data.inputs[:, 0]
    names = relu().grid().order
    reach = np.abs(after[:, [names.index("w")]] * x + after[:, [names.index("b")]]).min(axis=1)
    assert (reach < 1e-3).sum() >= 10

    def objective(points):
        squares = ((points[:, None] - before[None]) ** 2).sum(axis=2)
        if distance == "assignment":
            from scipy.optimize import linear_sum_assignment

            squares[before[:, None, 0] != before[None, :, 0]] = 1e6
            squared = squares[linear_sum_assignment(squares)].mean()
        else:
            squared = squares.diagonal().mean()
        return energy.evaluate(points).value + squared / (2 * gamma)

    least = objective(after)
    assert least < objective(before)
    for trial in range(300):
        shift = np.zeros(after.shape)
        rows = slice(None) if trial % 3 == 0 else [rng.integers(64)]
        shift[rows, 1:] = 1e-2 * rng.standard_normal(shift[rows, 1:].shape)
        # stationary up to 1e−4/γ per unit of displacement, and second order beyond it
        assert objective(after + shift) >= least - 1e-4 / gamma * np.abs(shift).sum() / 64 - 1e-12
    np.testing.assert_array_equal(after[:, 0], before[:, 0])


# ------------------------------------------------------------------------------------------- walls, circles, mobilities
def test_walls_hold_and_circles_wind():
    for slope, gamma in ((-1.0, 4.8), (1.0, 3.2)):  # the mean −0.8 is to end at a wall, ±4
        push = {**POTENTIAL, "energy": {"kind": "potential", "terms": {"x": {"kind": "linear", "slope": slope}}}}
        before, after = one_step(case_of(push), 20, gamma, tolerance=1e-8)
        assert 4 <= (np.abs(after) == 4).sum() <= 16
        np.testing.assert_allclose(after, np.clip(before - slope * gamma, -4.0, 4.0), atol=1e-7)
    wave = {**HEAT_CIRCLE, "flow": {}, "energy": {"kind": "potential", "terms": {"x": {"kind": "cosine", "centre": 0.1}}}}
    for distance in ("frobenius", "assignment"):
        before, after = one_step(case_of(wave), 30, 0.5, tolerance=1e-8, distance=distance)
        turn = np.mod(after - before + np.pi, 2 * np.pi) - np.pi
        np.testing.assert_allclose(turn, -0.5 * np.sin(after - 0.1), atol=1e-7)


def test_mobilities_divide_the_distance():
    """V = (W + γMkc)/(1 + γMk)."""
    before, after = one_step(case_of({**POTENTIAL, "flow": {"mobility": {"x": {"value": 0.25}}}}), 20, 0.8, tolerance=1e-8)
    np.testing.assert_allclose(after, (before + 0.2 * 1.5 * 0.2) / (1 + 0.2 * 1.5), atol=1e-7)
    frozen = case_of({**POTENTIAL, "flow": {"mobility": {"x": {"value": 0.0}}}})
    np.testing.assert_array_equal(*one_step(frozen, 20, 0.8))


# ------------------------------------------------------------------------------------------------------------- refused
@pytest.mark.parametrize(
    ("table", "cloud", "options", "error", "message"),
    [
        (ORNSTEIN_UHLENBECK, 5, {}, InputError, "flow.temperature = 0.3"),
        (HEAT_CIRCLE | {"flow": {}}, 5, {"distance": "sliced"}, InputError, "on a circle"),
        (
            IDENTITY,
            Cloud(np.array([[0.1], [0.2]]), np.array([0.3, 0.7])),
            {"distance": "assignment"},
            InputError,
            "equal weights",
        ),
        (QUADRATIC, 20, {"inner": 2}, SolveError, "did not converge: gradient sampling"),
    ],
)
def test_steps_that_cannot_be_are_refused(table, cloud, options, error, message):
    with pytest.raises(error, match=message):
        one_step(case_of({**table, "exact": None}), cloud, 0.3, **options)


def test_a_mobility_along_a_moving_factor_is_refused():
    case = load_case("bn-circle").replace({"flow.mobility": {"angle": {"factor": "a", "power": 2.0}}})
    with pytest.raises(InputError, match="depends on a factor that moves"):
        one_step(case, 10, 0.5)
