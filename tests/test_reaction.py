"""Reaction: exact solutions with and without transport, orders, dissipation, mass, particles with weights, planted faults."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from helpers import ORNSTEIN_UHLENBECK, QUADRATIC, Linear, case_of, problem_of
from test_order import slopes

from gridflow.energy.base import ROUNDOFF, BoundEnergy, Energy, Evaluation, ParticleEnergy, ParticleEvaluation
from gridflow.errors import InputError
from gridflow.flow.reaction import Reaction
from gridflow.particles.cloud import Cloud
from gridflow.particles.integrator import Adaptive, GradientDescent, RungeKutta2
from gridflow.particles.proximal import ProximalPoint
from gridflow.particles.simulation import simulate
from gridflow.scheme.finite_volume.scheme import FiniteVolume
from gridflow.solver import solve
from gridflow.space.circle import Circle
from gridflow.space.grid import Grid
from gridflow.space.labels import Labels
from gridflow.space.line import Interval
from gridflow.space.mixture import mixture_masses
from gridflow.verdict import experiment
from gridflow.verdict.runner import validate
from gridflow.verdict.table import table as verdict_table

MODES = [pytest.param(False, id="free mass"), pytest.param(True, id="mass kept")]
QUADRATIC_WELL = {"kind": "quadratic", "stiffness": 1.5, "centre": 0.2}
SLOPE = {"kind": "linear", "slope": -1.2}


def normal_case(potential, conserve, rate=0.7, entropy=False, **flow):
    return {
        **ORNSTEIN_UHLENBECK,
        "title": "normal density under transport and reaction",
        "energy": {"kind": "potential", "terms": {"x": potential}},
        "flow": {"reaction": {"rate": rate, "conserve": conserve, "entropy": entropy}, **flow},
        "time": {"stop": 0.6, "save": 3},
        "exact": {"kind": "normal-reaction"},
    }


def without_exact(table):
    return case_of({k: v for k, v in table.items() if k != "exact"})


def network_case(conserve, rate=2.0, **flow):
    """The quadratic activation: ξ depends on ρ."""
    table = {**QUADRATIC, "flow": {"reaction": {"rate": rate, "conserve": conserve}, **flow}}
    return {k: v for k, v in table.items() if k != "exact"}


def stepper_of(case):
    grid = case.grid()
    bound = case.energy.load(Path()).bind(grid)
    stepper = case.scheme.init(problem_of(grid, bound, case.flow.temperature, case.flow.reaction))
    return stepper, stepper.start(mixture_masses(case.initial, grid, Path(), "initial") / grid.volume)


# ------------------------------------------------------------------------------------------------------ exact solutions
@pytest.mark.parametrize("conserve", MODES)
def test_without_transport_the_exponential_of_the_potential(conserve):
    """ρ_t = ρ₀ exp(−κtV), divided by its mass where that is kept: to round-off, because ξ = V does not depend on ρ."""
    potential = {"kind": "double-well", "position": 1.0, "height": 1.3}
    case = without_exact(normal_case(potential, conserve, rate=1.7, mobility={"x": {"value": 0.0}}))
    dataset = solve(case)
    assert dataset.attrs["status"] == "completed"
    x, volume = dataset["x"].to_numpy(), dataset["cell_volume"].to_numpy()
    start = dataset["density"][0].to_numpy()
    for t, density in zip(dataset["time"].to_numpy(), dataset["density"].to_numpy(), strict=True):
        exact = start * np.exp(-1.7 * t * 1.3 * (x**2 - 1) ** 2)
        if conserve:
            exact /= exact @ volume
        np.testing.assert_allclose(density, exact, rtol=1e-10, atol=1e-15)  # exponents of up to 400, rounded
    assert abs(dataset["mass"][-1] - 1) > 0.1 or conserve


CELLS = (256, 512, 1024)
FLOWS = {
    "quadratic": (QUADRATIC_WELL, {}, {}),
    "linear": (SLOPE, {}, {}),
    "quadratic, fitted fluxes": (QUADRATIC_WELL, {"temperature": 0.2}, {"scheme__diffusion": "scharfetter-gummel"}),
    "linear, heat semigroup": (SLOPE, {"temperature": 0.2}, {"scheme__diffusion": "heat-semigroup"}),
    "quadratic, with the entropy": (QUADRATIC_WELL, {"temperature": 0.2, "entropy": True}, {}),
    "linear, with the entropy": (SLOPE, {"temperature": 0.2, "entropy": True}, {}),
    "quadratic, fitted fluxes, with the entropy": (
        QUADRATIC_WELL,
        {"temperature": 0.2, "entropy": True},
        {"scheme__diffusion": "scharfetter-gummel"},
    ),
}


@pytest.mark.parametrize("conserve", MODES)
@pytest.mark.parametrize(("potential", "flow", "changes"), FLOWS.values(), ids=FLOWS.keys())
def test_second_order_against_the_exact_normal_density(potential, flow, changes, conserve):
    """Space and time together, dt ∝ h. Slopes as in test_order; the error of the mass is of order 2 or below 1e−5."""
    w1, l1, mass = [], [], []
    cells = CELLS if "temperature" not in flow else (128, 256, 512)  # fitted fluxes: dt ∝ h²
    for n in cells:
        case = case_of(normal_case(potential, conserve, **flow), space__x__cells=n, **changes)
        last = solve(case).isel(time=-1)
        w1.append(float(last["error_w1"]))
        l1.append(float(last["error_l1"]))
        mass.append(abs(float(last["mass"]) - case.exact.masses(case.problem(), [0.6])[0].sum()))
    assert w1[0] <= 3e-3  # a tenth of the smallest cell
    assert slopes(w1).min() >= 1.8, f"W1 errors {w1}, slopes {slopes(w1)}"
    assert slopes(l1).min() >= 1.75, f"L1 errors {l1}, slopes {slopes(l1)}"
    if conserve:
        assert max(mass) <= 1e-12
    else:
        assert mass[-1] <= max(1e-5, mass[0] / 12), f"errors of the mass {mass}"  # 16 for order 2


@pytest.mark.parametrize("conserve", MODES)
@pytest.mark.parametrize("flow", [{}, {"mobility": {"theta": {"value": 0.0}}}], ids=["with transport", "alone"])
def test_second_order_in_time_where_the_first_variation_depends_on_the_density(flow, conserve):
    """Fixed grid and steps, against very small ones: Strang splitting and the midpoint of the exponential."""
    case = case_of(network_case(conserve, **flow), scheme__order=1, scheme__accuracy=1e9)
    stepper, start = stepper_of(case)

    def run(steps):
        state = start
        for _ in range(steps):
            state = stepper.attempt(state, 0.125 / steps)[0]
            assert state is not None
        return state.density

    finest = run(2048)
    gaps = [np.abs(run(n) - finest).sum() for n in (32, 64, 128)]
    assert np.abs(slopes(gaps) - 2).max() <= 0.1, f"errors {gaps}"


@pytest.mark.parametrize("conserve", MODES)
def test_the_accuracy_limit_makes_the_error_in_time_that_of_the_grid(conserve):
    """Nothing moves, so that no cell size binds dt: the error in time falls like n^(−2) because the limit says so."""
    gaps = []
    for n in (128, 256, 512):
        case = case_of(network_case(conserve, mobility={"theta": {"value": 0.0}}), space__theta__cells=n, time__save=2)
        coarse, fine = (solve(case.replace({"scheme.accuracy": a})).isel(time=-1) for a in (1.0, 0.01))
        gaps.append(float((np.abs(coarse["density"] - fine["density"]) * fine["cell_volume"]).sum()))
    assert slopes(gaps).min() >= 1.75, f"errors {gaps}"  # 2, up to whole numbers of steps
    assert gaps[0] <= 1e-3


def test_the_exact_solution_refuses_other_cases():
    for changes in ({"energy__terms__x": {"kind": "double-well"}}, {"initial__0__density__x": {"kind": "uniform"}}):
        with pytest.raises(InputError, match="normal-reaction"):
            solve(case_of(normal_case(QUADRATIC_WELL, False), **changes))
    for kind, name in ((ORNSTEIN_UHLENBECK, "ornstein-uhlenbeck"), (QUADRATIC, "quadratic-activation")):
        with pytest.raises(InputError, match=name):
            solve(case_of(kind, flow__reaction={"rate": 1.0}))


# ------------------------------------------------------------------------------------------- energy, mass, positivity
@pytest.mark.parametrize("conserve", MODES)
@pytest.mark.parametrize("scheme", [{}, {"scheme__order": 1}], ids=["second order", "upwind"])
def test_the_energy_falls_by_transport_and_reaction(scheme, conserve):
    """dE/dt = −∫M|grad ξ|²dρ − κ∫(ξ − ξ̄)²dρ, by central differences of steps so short that their error does not count."""
    case = case_of(network_case(conserve, mobility={"theta": {"value": 0.3}}), **scheme)
    stepper, state = stepper_of(case)
    for _ in range(3):
        state = stepper.step(state, np.inf)
    dt = 1e-5
    first = stepper.attempt(state, dt)[0]
    second = stepper.attempt(first, dt)[0]
    slope = (state.free_energy - second.free_energy) / (2 * dt)
    xi = first.evaluation.first_variation
    total = stepper.dissipation(first.density, first.evaluation)
    assert total == pytest.approx(slope, rel=1e-6)  # dt² and the round-off of E over dt
    assert first.dissipation == pytest.approx(slope, rel=1e-3)  # of the beginning of the step
    masses = first.density * stepper.grid.volume
    mean = (xi * masses).sum() / masses.sum() if conserve else 0.0
    reaction = 2.0 * ((xi - mean) ** 2 * masses).sum()
    if scheme:  # an upwind value is not the density of the face
        return
    x = stepper.grid.factors[0].points
    transport = 0.3 * (np.gradient(xi, x) ** 2 * masses).sum()
    assert total == pytest.approx(reaction + transport, rel=2e-3)  # (h/length)² of the quadrature
    assert min(reaction, transport) > 0.05 * total  # so that either would be missed


@pytest.mark.parametrize("entropy", [False, True], ids=["xi alone", "with the entropy"])
@pytest.mark.parametrize("conserve", MODES)
def test_the_free_energy_changes_by_transport_and_reaction(conserve, entropy):
    case = without_exact(normal_case(QUADRATIC_WELL, conserve, entropy=entropy, temperature=0.3)).replace(
        {"scheme.diffusion": "scharfetter-gummel"}
    )
    stepper, state = stepper_of(case)
    state = stepper.step(state, np.inf)
    dt = 1e-6
    first = stepper.attempt(state, dt)[0]
    second = stepper.attempt(first, dt)[0]
    slope = (state.free_energy - second.free_energy) / (2 * dt)
    assert stepper.dissipation(first.density, first.evaluation) == pytest.approx(slope, rel=1e-4)


SPACES = {
    "interval": Grid([Interval(bounds=(-2.0, 2.0), cells=24).factor("a")]),
    "circle and labels": Grid([Circle(cells=16).factor("angle"), Labels(values=[-1.0, 1.0, 2.0]).factor("s")]),
    "labels alone": Grid([Labels(values=[0.0, 1.0, 2.0], volumes=[0.5, 1.0, 2.0]).factor("s")]),
    "plane": Grid([Interval(bounds=(-2.0, 2.0), cells=12).factor("a"), Circle(cells=16).factor("angle")]),
}


class Attraction(BoundEnergy):
    """½(∫g dρ − 1)²: a first variation that the reaction changes quickly."""

    convex = True

    def __init__(self, g):
        self.g = g

    def evaluate(self, mass):
        gap = float((self.g * mass).sum()) - 1
        return Evaluation(gap**2 / 2, np.ascontiguousarray(gap * self.g), ROUNDOFF * (abs(gap) + 1))


@pytest.mark.parametrize("conserve", MODES)
@pytest.mark.parametrize(
    ("temperature", "entropy"), [(0.0, True), (0.1, True), (0.1, False)], ids=["cold", "warm", "warm, without the entropy"]
)
@pytest.mark.parametrize("grid", SPACES.values(), ids=SPACES.keys())
@pytest.mark.parametrize("kind", [Linear, Attraction])
def test_densities_stay_positive_and_mass_is_kept_where_it_should_be(kind, grid, temperature, entropy, conserve, rng):
    energy = kind(3 * rng.standard_normal(grid.shape))
    stepper = FiniteVolume().init(problem_of(grid, energy, temperature, Reaction(5.0, conserve, entropy)))
    falls = temperature == 0 or entropy
    assert stepper.energy_decreases == falls
    assert stepper.conserves_mass == conserve
    density = rng.random(grid.shape)
    density.ravel()[0] = 0.0
    density /= grid.integrate(density)
    state = stepper.start(density)
    for _ in range(40):
        new = stepper.step(state, 0.2)
        assert new.density.min() >= 0
        assert new.density_min <= state.density_min
        assert np.isfinite(new.density).all()
        if conserve:
            assert abs(grid.integrate(new.density) - 1) <= 1e-12
        if falls:
            assert new.free_energy <= state.free_energy + new.rise_roundoff
        state = new
    assert conserve or abs(grid.integrate(state.density) - 1) > 1e-3


def test_near_the_stationary_state_the_step_stays_stable():
    """ξ → 0 where nothing else holds dt back: the energy limit of the reaction does, and E falls to round-off."""
    grid = SPACES["labels alone"]
    stepper = FiniteVolume().init(problem_of(grid, Attraction(np.array([2.0, -1.0, 3.0])), 0.0, Reaction(rate=4.0)))
    state = stepper.start(np.full(3, 1 / 3.5))
    for _ in range(300):
        state = stepper.step(state, 1000.0)
    assert state.time > 20
    assert state.free_energy < 1e-25
    assert state.rise <= state.rise_roundoff


def test_the_dataset_says_that_the_mass_is_free(tmp_path):
    from gridflow.cli import main

    free, kept = (solve(case_of(network_case(c))) for c in (False, True))
    assert "mass_free" in free.attrs
    assert "mass_free" not in kept.attrs
    warm = solve(case_of(network_case(True), flow__temperature=0.1, flow__reaction__entropy=False))
    assert free.attrs["energy_decreases"] == kept.attrs["energy_decreases"] == "guaranteed up to round-off"
    assert warm.attrs["energy_decreases"] == "not claimed by this scheme and energy"
    np.testing.assert_allclose(free["mass"], (free["density"] * free["cell_volume"]).sum("theta"), rtol=1e-13)
    assert abs(free["mass"][-1] - 1) > 1e-2
    assert kept.attrs["mass_error_max"] <= 1e-12
    (tmp_path / "a.toml").write_text(case_of(network_case(False)).text(), encoding="utf-8")
    assert main(["solve", str(tmp_path / "a.toml"), "-o", str(tmp_path / "a.nc"), "--plot", "--quiet"]) == 0


def test_a_resumed_run_is_the_same_run_bit_by_bit(tmp_path):
    from test_solver import InterruptAt

    case = case_of(network_case(False))
    whole = solve(case)
    path = tmp_path / "a.nc"
    assert solve(case, path, progress=InterruptAt(7)).attrs["status"] == "interrupted"
    resumed = solve(case, path, resume=True)
    for name in ("time", "density", "energy", "mass", "steps", "density_min"):
        np.testing.assert_array_equal(resumed[name], whole[name])


# ------------------------------------------------------------------------------------------------------------ particles
INTEGRATORS = {"gradient descent": (GradientDescent, 1), "rk2": (RungeKutta2, 2)}


@pytest.mark.parametrize("conserve", MODES)
@pytest.mark.parametrize(("kind", "order"), INTEGRATORS.values(), ids=INTEGRATORS.keys())
def test_orders_of_positions_and_weights_in_time(kind, order, conserve):
    """Against the adaptive integrator, for an energy whose ξ depends on all particles."""
    case = case_of(network_case(conserve))
    options = {"times": [0.0, 0.4], "seed": 3}
    exact = simulate(case, 50, integrator=Adaptive(1e-9), **options)
    errors = []
    for steps in (32, 64, 128):
        run = simulate(case, 50, integrator=kind(step=0.4 / steps), **options)
        errors.append([np.abs(run.points[1] - exact.points[1]).max(), np.abs(run.weights[1] / exact.weights[1] - 1).max()])
    measured = np.log2(np.array(errors[:-1]) / np.array(errors[1:]))
    assert np.abs(measured - order).max() <= 0.15, f"slopes {measured}"  # as for transport alone
    mass = exact.weights.sum(axis=1)
    assert (np.abs(mass - 1) <= 1e-12).all() if conserve else abs(mass[1] - 1) > 1e-2
    assert np.ptp(exact.weights[1]) > 0.1 * exact.weights[1].mean()


@pytest.mark.parametrize("conserve", MODES)
@pytest.mark.parametrize("integrator", [Adaptive(1e-8), RungeKutta2(0.005)], ids=["adaptive", "rk2"])
def test_weights_of_frozen_particles_are_exponentials(integrator, conserve):
    case = without_exact(normal_case(SLOPE, conserve, mobility={"x": {"value": 0.0}}))
    cloud = Cloud(np.array([[-1.0], [0.0], [2.0]]), np.array([0.5, 0.25, 0.25]))
    run = simulate(case, cloud, times=[0.0, 0.5, 1.0], integrator=integrator)
    for t, weights in zip(run.times, run.weights, strict=True):
        exact = cloud.weights * np.exp(0.7 * 1.2 * t * cloud.points[:, 0])
        np.testing.assert_allclose(weights, exact / exact.sum() if conserve else exact, rtol=1e-6)  # tolerance, step²
        np.testing.assert_array_equal(run.points[0], cloud.points)
    assert run.weights_at(1) is not None
    np.testing.assert_array_equal(run.weights_at(2), run.weights[2])


def test_particles_without_reaction_keep_their_weights():
    run = simulate(case_of({**network_case(False, rate=0.0)}), 10, times=[0.0, 0.1], integrator=RungeKutta2(0.05))
    assert run.weights.shape == (10,)
    assert run.weights_at(1) is run.weights


@pytest.mark.parametrize("conserve", MODES)
def test_noisy_particles_with_weights_are_the_exact_normal_density(conserve):
    """Noise acts on the positions only: mass, mean and deviation of the weighted sample, within four standard errors."""
    case = case_of(normal_case(QUADRATIC_WELL, conserve, temperature=0.3))
    run = simulate(case, 20_000, times=[0.0, 0.6], seed=5, sampling="sobol", integrator=RungeKutta2(0.02))
    x, weights = run.points[1, :, 0], run.weights[1]
    grid = case.replace({"space.x.cells": 2048}).grid()
    exact, y = case.exact.masses(replace(case.problem(), grid=grid), [0.6])[0], grid.factors[0].points
    mean = exact @ y / exact.sum()
    deviation = np.sqrt(exact @ (y - mean) ** 2 / exact.sum())
    chance = 4 / np.sqrt(len(x))
    assert weights.sum() == pytest.approx(exact.sum(), rel=1e-12 if conserve else chance)
    sample = weights @ x / weights.sum()
    assert sample == pytest.approx(mean, abs=chance * deviation)
    assert np.sqrt(weights @ (x - sample) ** 2 / weights.sum()) == pytest.approx(deviation, rel=chance)


# ------------------------------------------------------------------------------------------------------------- verdicts
LIMIT = {"threshold": 0.05, "reason": "a few standard errors of the verdict ensembles"}


def judged(conserve):
    """Transport and reaction of comparable speed, with everything compared."""
    return case_of(
        {
            **network_case(conserve, rate=1.5),
            "space": {"theta": {"kind": "interval", "bounds": [-3.0, 3.0], "cells": 128}},
            "particles": {
                "counts": [32, 128, 512],
                "ensembles": 20,
                "verdict": {"count": 1024, "ensembles": 8},
                "integrator": {"kind": "rk2", "step": 0.02},
            },
            "validation": dict.fromkeys(("w1", "energy_distance", "moments", "prediction", "energy", "mass"), LIMIT)
            | {"times": 3},
        }
    )


@pytest.mark.parametrize("conserve", MODES)
def test_grid_and_weighted_particles_agree(conserve):
    result = validate(judged(conserve))
    assert result.attrs["verdict"] == "pass", verdict_table(result)
    assert (result["consistent"] == 1).all()


FAULTS = {"four fifths of the rate": 0.8, "no reaction": 0.0}


def failures(result):
    return [str(q) for q, o in zip(result["quantity"].values, result["outcome"].values, strict=True) if o == "fail"]


@pytest.mark.parametrize("conserve", MODES)
@pytest.mark.parametrize("share", FAULTS.values(), ids=FAULTS.keys())
def test_particles_with_a_wrong_rate_are_rejected(share, conserve, monkeypatch):
    right = experiment.Simulator.of
    monkeypatch.setattr(
        experiment.Simulator, "of", lambda case, energy: right(case.replace({"flow.reaction.rate": 1.5 * share}), energy)
    )
    found = failures(validate(judged(conserve)))
    assert "w1:theta" in found
    assert conserve or "mass" in found


@pytest.mark.parametrize("conserve", MODES)
def test_particles_with_the_wrong_sign_are_rejected(conserve, monkeypatch):
    growth = Reaction.growth
    monkeypatch.setattr("gridflow.flow.reaction.Reaction.growth", lambda self, *given: -growth(self, *given))
    monkeypatch.setattr(Reaction, "exponential", exponential_of(growth))
    assert "w1:theta" in failures(validate(judged(conserve)))


def exponential_of(growth):
    """The step of the grid with the right sign, while that of the particles is wrong."""

    def exponential(self, density, grid, xi, time):
        volume = grid.volume
        after = density * np.exp(time * growth(self, xi, density * volume))
        return after * (np.vdot(density, volume) / np.vdot(after, volume)) if self.conserve else after

    return exponential


# ------------------------------------------------------------------------------------------------------- what is refused
class Silent(Energy, ParticleEnergy):
    """An energy of one's own that gives no first variation at particles."""

    def bind(self, grid):
        raise NotImplementedError

    def particles(self, factors):
        return self

    def evaluate(self, points, weights, batch=None):
        return ParticleEvaluation(0.0, np.zeros(points.shape))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: solve(case_of(network_case(True), scheme={"kind": "exact-wasserstein", "tau": 0.1})), "exact W.*finite-volume"),
        (lambda: simulate(case_of(network_case(False)), 9, integrator=ProximalPoint(step=0.1)), "proximal point.*rk2"),
        (lambda: simulate(case_of(network_case(False)), 9, integrator=RungeKutta2(0.1), energy=Silent()), "no first variation"),
        (lambda: case_of(network_case(False), flow__reaction__rate=-1.0), "flow.reaction.rate"),
        (lambda: case_of(network_case(False), flow__reaction__speed=1.0), "flow.reaction"),
        (
            lambda: solve(case_of(network_case(False), flow__temperature=0.1, flow__reaction__entropy=False, time__steady=1e-3)),
            "time.steady",
        ),
        (
            lambda: simulate(case_of(network_case(True), flow__temperature=0.1), 10, integrator=RungeKutta2(0.1)),
            r"flow\.reaction\.entropy",
        ),
    ],
)
def test_what_reaction_cannot_do_is_refused(call, message):
    with pytest.raises(InputError, match=f"(?s){message}"):
        call()


def test_a_reaction_that_never_ends_fails_with_the_last_good_state():
    """V < 0 and free mass: the mass grows without bound, until the energy overflows."""
    steep = normal_case({"kind": "linear", "slope": -1e3}, False, rate=50.0, mobility={"x": {"value": 0.0}})
    with np.errstate(over="ignore", invalid="ignore"):
        dataset = solve(without_exact(steep))
    assert dataset.attrs["status"].startswith("failed: non-finite energy")
    assert np.isfinite(dataset["density"]).all()
