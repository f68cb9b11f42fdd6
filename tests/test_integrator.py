"""Particle runs: orders in time, noise, walls, weights, minibatches, and what is refused."""

from pathlib import Path

import numpy as np
import pytest
from helpers import HEAT_CIRCLE, HEAT_INTERVAL, IDENTITY, ORNSTEIN_UHLENBECK, QUADRATIC, case_of

from gridflow.case.case import load_case
from gridflow.energy.base import Energy, ParticleEnergy, ParticleEvaluation
from gridflow.energy.network.branch import Branch
from gridflow.energy.network.data import Data
from gridflow.energy.network.spec import Network, NetworkEnergy
from gridflow.errors import InputError, SolveError
from gridflow.particles.cloud import Cloud
from gridflow.particles.integrator import Adaptive, GradientDescent, RungeKutta2
from gridflow.particles.simulation import Simulator, simulate
from gridflow.space.distances import quantiles_of_cells, quantiles_of_points, wasserstein


def scaled(start, time, rate=1.0, target=1.0):
    """Quadratic activation: every particle is multiplied by s(t), and m₂ solves ṁ = −4c(m − m*)m, a logistic equation."""
    m0 = (start**2).mean()
    m = target / (1 + (target / m0 - 1) * np.exp(-4 * rate * target * time))
    return start * np.sqrt(m / m0)


@pytest.mark.parametrize(("kind", "order"), [(GradientDescent, 1), (RungeKutta2, 2)])
def test_orders_in_time(kind, order):
    case = case_of(QUADRATIC)
    errors = []
    for steps in (16, 32, 64):
        run = simulate(case, 50, times=[0.0, 0.8], seed=3, integrator=kind(step=0.8 / steps))
        errors.append(np.abs(run.points[1, :, 0] - scaled(run.points[0, :, 0], 0.8)).max())
    slopes = np.log2(np.array(errors[:-1]) / np.array(errors[1:]))
    assert np.abs(slopes - order).max() <= 0.15, f"slopes {slopes}"  # coarse steps: next order still seen
    assert run.evaluations == steps * order


def test_the_adaptive_integrator_keeps_its_tolerance():
    for tolerance in (1e-4, 1e-8):
        run = simulate(case_of(QUADRATIC), 50, times=[0.0, 0.3, 0.8], seed=3, integrator=Adaptive(tolerance))
        error = np.abs(run.points[2, :, 0] - scaled(run.points[0, :, 0], 0.8)).max()
        assert error <= 10 * tolerance  # the error per step is controlled; a few dozen steps, contracting flow


@pytest.mark.parametrize("kind", [GradientDescent, RungeKutta2])
def test_noise_has_the_variance_of_the_scheme(kind):
    """Ornstein–Uhlenbeck, k = 1.5, D = 0.3, coarse steps: mean and variance follow their exact recursions."""
    h, steps, k, temperature = 0.2, 5, 1.5, 0.3
    wide = case_of(ORNSTEIN_UHLENBECK, space__x__bounds=[-9.0, 9.0], time__stop=h * steps, exact=None)
    n = 40_000
    run = simulate(wide, n, times=[0.0, h * steps], seed=1, sampling="sobol", integrator=kind(step=h))
    if kind is GradientDescent:
        factor, noise = 1 - k * h, 1.0
    else:
        factor, noise = 1 - k * h + (k * h) ** 2 / 2, 1 - k * h / 2
    mean, variance = -0.8 - 0.2, 0.4**2
    for _ in range(steps):
        mean, variance = factor * mean, factor**2 * variance + noise**2 * 2 * temperature * h
    x = run.points[1, :, 0]
    assert x.mean() == pytest.approx(0.2 + mean, abs=4 * np.sqrt(variance / n))
    assert x.var() == pytest.approx(variance, rel=4 * np.sqrt(2 / n))


@pytest.mark.parametrize("table", [HEAT_INTERVAL, HEAT_CIRCLE], ids=["walls", "circle"])
def test_reflected_and_wrapped_noise_solves_the_heat_equation(table):
    case = case_of(table)
    grid, stop, n = case.grid(), case.time.stop, 20_000
    run = simulate(case, n, times=[0.0, stop], seed=2, integrator=RungeKutta2(stop / 4))  # exact for free particles
    exact = case.exact.masses(case.problem(), [0.0, stop])
    factor = grid.factors[0]
    chance = (
        0.7 * factor.total_volume / np.sqrt(n)
    )  # the mean of W1 is √(2/πN)∫√(F(1 − F)) ≈ 0.31·length/√N, its deviation a third
    for k, masses in enumerate(exact):
        cloud = quantiles_of_points(run.points[k, :, 0], run.weights, factor)
        assert wasserstein(cloud, quantiles_of_cells(masses, factor), 1) <= chance
    moved = wasserstein(quantiles_of_cells(exact[0], factor), quantiles_of_cells(exact[1], factor), 1)
    assert moved > 2 * chance  # so that standing still would be seen


@pytest.mark.parametrize("stop", [0.5, 0.25])
def test_substeps_follow_the_same_brownian_path(stop):
    """Free particles are solved exactly: pieces and substeps end at the same points, whether the step divides the time or not."""
    simulator = Simulator.of(case_of(HEAT_CIRCLE))
    choices = {"times": [0.0, stop], "seed": 4, "integrator": RungeKutta2(0.1)}
    coarse, fine = simulator.run(20, **choices, pieces=2), simulator.run(20, **choices, substeps=2)
    np.testing.assert_allclose(coarse.points, fine.points, atol=1e-12)
    assert fine.evaluations == 2 * coarse.evaluations


def test_particles_stay_inside_and_labels_stay():
    case = load_case("relu-regression").replace({"flow.temperature": 0.5, "space.b.bounds": [-3.5, 3.5]})
    run = simulate(case, 300, times=[0.0, 3.0], seed=0, integrator=RungeKutta2(0.05))
    sign = case.grid().order.index("sign")
    np.testing.assert_array_equal(run.points[0, :, sign], run.points[1, :, sign])
    for k, factor in enumerate(case.grid().factors):
        if factor.one_dimensional:
            assert run.points[1, :, k].min() >= factor.edges[0]
            assert run.points[1, :, k].max() <= factor.edges[-1]
            assert (run.points[1, :, k] != run.points[0, :, k]).all()


def test_mobility_scales_velocity_and_noise():
    """Identity activation with M = value·s^power on labels: speeds in the ratio of the mobilities; 0 freezes."""
    table = {
        **IDENTITY,
        "space": {**IDENTITY["space"], "s": {"kind": "labels", "values": [1.0, 2.0]}},
        "initial": [{"density": {"theta": {"kind": "normal", "mean": 0.5, "deviation": 0.1}, "s": {"kind": "uniform"}}}],
        "flow": {"mobility": {"theta": {"factor": "s", "power": -2.0}}},
        "exact": None,
    }
    case = case_of(table)
    run = simulate(case, 100, times=[0.0, 0.01], seed=0, integrator=GradientDescent(step=0.01))
    s, theta = (case.grid().order.index(n) for n in ("s", "theta"))
    moved = run.points[1, :, theta] - run.points[0, :, theta]
    short, long = run.points[0, :, s] == 1.0, run.points[0, :, s] == 2.0
    assert moved[short].mean() / moved[long].mean() == pytest.approx(4.0, rel=1e-12)
    frozen = case_of({**table, "flow": {"temperature": 0.2, "mobility": {"theta": {"value": 0.0}}}})
    still = simulate(frozen, 100, times=[0.0, 1.0], seed=0, integrator=RungeKutta2(0.1))
    np.testing.assert_array_equal(still.points[0], still.points[1])


def test_a_particle_of_double_weight_is_two_particles():
    case = load_case("bn-circle").replace({"energy.data.inputs.count": 20})
    points = np.array([[0.3, 1.0], [-0.4, 2.0], [0.8, 5.0]])
    one = Cloud(points, np.array([0.5, 0.25, 0.25]))
    two = Cloud(points[[0, 0, 1, 2]], np.full(4, 0.25))
    weighted, doubled = (simulate(case, c, times=[0.0, 1.0], integrator=RungeKutta2(0.05)) for c in (one, two))
    np.testing.assert_allclose(weighted.points[1], doubled.points[1, 1:], atol=1e-13)
    np.testing.assert_allclose(weighted.prediction, doubled.prediction, atol=1e-13)


# --------------------------------------------------------------------------------------------------- gradient descent
def three_points():
    """S2 §7: data (1, 2), (2, 4), (4, 8), loss 1/(2n), one ReLU neuron with a bias."""
    data = Data(np.array([[1.0], [2.0], [4.0]]), np.array([[2.0], [4.0], [8.0]]), np.full(3, 1 / 3))
    case = load_case("relu-regression").replace({"space.w.bounds": [-20.0, 20.0], "space.b.bounds": [-20.0, 20.0]})
    spec = Network(data=case.energy.data, branches=[Branch(["w", "b"], [["sign"]])], bias=True)
    return case, NetworkEnergy(spec, data)


def test_one_gradient_step_on_the_three_points_of_the_source():
    """S2 §7: from (w, b) = (1, 0) one step with learning rate 1 gives (8, 7/3); N = 2 equal neurons need η = 2 (t = kη/N)."""
    case, energy = three_points()
    order = case.grid().order
    start = {"w": 1.0, "b": 0.0, "sign": 1.0}
    for n in (1, 2):
        cloud = Cloud(np.array([[start[name] for name in order]] * n), np.full(n, 1 / n))
        run = simulate(case, cloud, times=[0.0, 1.0], integrator=GradientDescent(learning_rate=float(n)), energy=energy)
        assert run.evaluations == 1
        end = dict(zip(order, run.points[1, 0], strict=True))
        assert end["w"] == pytest.approx(8.0, rel=1e-15)
        assert end["b"] == pytest.approx(7 / 3, rel=1e-15)


def test_a_batch_of_all_data_is_gradient_descent():
    case = load_case("relu-regression")
    runs = [
        simulate(case, 40, times=[0.0, 1.0], seed=1, integrator=GradientDescent(step=0.1, batch=batch)) for batch in (None, 37)
    ]
    np.testing.assert_allclose(runs[0].points, runs[1].points, atol=1e-12)


def test_single_data_have_the_gradient_as_their_mean():
    """Unbiased for weighted data too: Gauss–Hermite weights differ by a factor of four."""
    case = case_of(QUADRATIC)
    energy = case.energy.load(Path()).particles(case.grid().factors)
    points, weights = np.array([[0.3], [-0.7]]), np.array([0.4, 0.6])
    parts = [energy.evaluate(points, weights, np.array([k])) for k in range(3)]
    whole = energy.evaluate(points, weights)
    np.testing.assert_allclose(np.mean([p.gradient for p in parts], axis=0), whole.gradient, rtol=1e-13)
    assert np.mean([p.value for p in parts]) == pytest.approx(whole.value, rel=1e-13)


def test_stochastic_gradient_descent_converges_to_the_flow():
    """The gradient noise of a step is independent: the mean square distance to the flow falls with the step, slope 1."""
    case = case_of(QUADRATIC)
    squares = []
    steps = (0.02, 0.01, 0.005, 0.0025)
    for step in steps:
        square = 0.0
        for seed in range(40):
            run = simulate(case, 32, times=[0.0, 0.5], seed=seed, integrator=GradientDescent(step=step, batch=1))
            square += ((run.points[1, :, 0] - scaled(run.points[0, :, 0], 0.5)) ** 2).mean() / 40
        squares.append(square)
    slope = np.polyfit(np.log(steps), np.log(squares), 1)[0]
    # 40 runs: a variance to 22 %, so a slope over a factor of eight to 0.22/(ln 2·√5) = 0.14; twice that
    assert slope == pytest.approx(1.0, abs=0.28), f"mean squares {squares}"


# ---------------------------------------------------------------------------------------------------------- bad input
class Blowing(Energy, ParticleEnergy):
    """A velocity that is not finite as soon as the particles have moved: E = ∫Σx dρ, and NaN at means below −0.1 of the start."""

    start = None

    def bind(self, grid):
        raise NotImplementedError

    def particles(self, factors):
        return self

    def evaluate(self, points, weights, batch=None):
        value = float(weights @ points.sum(axis=1))
        self.start = value if self.start is None else self.start
        return ParticleEvaluation(value, np.full(points.shape, np.nan if value < self.start - 0.1 else 1.0))


class GridOnly(Energy):
    def bind(self, grid):
        raise NotImplementedError


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda c: simulate(c, 5, integrator=RungeKutta2(0.1), energy=Blowing()), SolveError, "diverged"),
        (lambda c: simulate(c, 5, integrator=Adaptive(), energy=Blowing()), SolveError, "diverged"),
        (lambda c: simulate(c, 5, integrator=RungeKutta2(0.1), energy=GridOnly()), InputError, "without particles"),
        (lambda c: simulate(c, 5), InputError, "without an integrator"),
        (lambda c: simulate(c, 5, integrator=GradientDescent(step=0.1, batch=4)), InputError, "with 3 data"),
        (lambda c: simulate(c, 5, integrator=RungeKutta2(0.1), times=[0.5, 1.0]), InputError, "increasing from 0"),
        (lambda c: simulate(c, 5, integrator=Adaptive(), times=[0.0]), InputError, "increasing from 0"),
        (lambda c: simulate(c.replace({"energy.bias": True}), 5, integrator=Adaptive()), InputError, "inputs and the bias"),
        (
            lambda c: simulate(c.replace({"energy.branches": [{"weights": ["q"]}]}), 5, integrator=Adaptive()),
            InputError,
            "names the factor 'q'",
        ),
        (
            lambda c: simulate(
                case_of(ORNSTEIN_UHLENBECK, flow__temperature=0.0, energy__terms={"x": {"kind": "linear", "slope": 1.0}}),
                8,
                times=[0.0, 20.0],
                integrator=Adaptive(1e-9),
            ),
            SolveError,
            "which jumps",
        ),
        (lambda c: simulate(c, 0, integrator=Adaptive()), InputError, "at least 1"),
        (
            lambda c: simulate(case_of(HEAT_CIRCLE), 5, integrator=Adaptive()),
            InputError,
            "adaptive integrator with flow.temperature",
        ),
        (
            lambda c: simulate(case_of(HEAT_CIRCLE), 5, integrator=GradientDescent(step=0.1, batch=1)),
            InputError,
            "energy with no data",
        ),
        (lambda c: c.replace({"particles": {"counts": [8, 16, 32]}}), InputError, "at least eight times"),
        (lambda c: c.replace({"particles": {"counts": [8, 16]}}), InputError, "particles.counts"),
        (
            lambda c: c.replace({"particles": {"counts": [8, 16, 64], "integrator": {"kind": "gradient-descent"}}}),
            InputError,
            "either step",
        ),
        (
            lambda c: c.replace({"particles": {"counts": [8, 16, 64], "integrator": {"kind": "rk3"}}}),
            InputError,
            "rk2",
        ),
    ],
)
def test_runs_that_cannot_be_are_refused(call, error, message, monkeypatch):
    monkeypatch.setattr("gridflow.particles.integrator.EVALUATIONS_MAX", 2000)
    with pytest.raises(error, match=message):
        call(case_of(QUADRATIC))
