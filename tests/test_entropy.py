"""Reaction with the entropy: relaxation of log ρ, birth and death beside Langevin's diffusion, free energies."""

import numpy as np
import pytest
from helpers import QUADRATIC, Linear, case_of, problem_of
from test_order import slopes
from test_reaction import MODES, SPACES

from gridflow.case.case import load_case
from gridflow.flow.reaction import Reaction
from gridflow.flow.term import Point
from gridflow.solver import solve
from gridflow.space.grid import Grid
from gridflow.space.line import Interval

RATE, TEMPERATURE = 1.7, 0.4


def term_of(grid, energy, conserve, temperature=TEMPERATURE, entropy=True):
    problem = problem_of(grid, energy, temperature, Reaction(RATE, conserve, entropy))
    return next(term for term in problem.terms if term.key == "reaction"), problem


@pytest.mark.parametrize("conserve", MODES)
@pytest.mark.parametrize("grid", SPACES.values(), ids=SPACES.keys())
def test_a_reaction_alone_relaxes_the_logarithm(grid, conserve, rng):
    """log ρ_t = a log ρ₀ + (1 − a)(−V/D − 1), a = e^{−κDt}, up to a constant where the mass is kept: to round-off."""
    potential = rng.standard_normal(grid.shape)
    term, problem = term_of(grid, Linear(potential), conserve)
    start = rng.random(grid.shape) + 0.01
    start /= grid.integrate(start)
    density, time, parts = start, 0.37, 5
    for _ in range(parts):
        density = term.advance(Point(density, problem.evaluate), time / parts).density
    a = np.exp(-RATE * TEMPERATURE * time)
    exact = np.exp(a * np.log(start) + (1 - a) * (-potential / TEMPERATURE - 1))
    if conserve:
        exact /= grid.integrate(exact)
    np.testing.assert_allclose(density, exact, rtol=1e-12)  # a few roundings of exponents of order one
    assert abs(grid.integrate(exact) - 1) > 0.01 or conserve


def test_a_low_temperature_is_none(rng):
    grid = SPACES["plane"]
    density, potential = rng.random(grid.shape), rng.standard_normal(grid.shape)
    density /= grid.integrate(density)
    found = []
    for temperature in (0.0, 1e-9):
        term, problem = term_of(grid, Linear(potential), True, temperature)
        found.append(term.advance(Point(density, problem.evaluate), 0.2))
    cold, warm = found
    np.testing.assert_allclose(warm.density, cold.density, rtol=1e-7)


def test_empty_cells_stay_empty_and_full_ones_do_not_overflow():
    grid = Grid([Interval(bounds=(0.0, 1.0), cells=4).factor("x")])
    term, problem = term_of(grid, Linear(np.zeros(4)), True)
    density = np.array([0.0, 1e-300, 1.0, 3.0])
    after = term.advance(Point(density, problem.evaluate), 0.5).density
    assert after[0] == 0
    assert after[1] > 1e-300**0.75
    assert grid.integrate(after) == pytest.approx(1.0, rel=1e-12)


@pytest.mark.parametrize("conserve", MODES)
def test_second_order_in_time_where_the_first_variation_depends_on_the_density(conserve):
    """Fixed grid and steps, nothing moves: the midpoint of ξ beside the exact relaxation of log ρ."""
    table = {
        **{k: v for k, v in QUADRATIC.items() if k != "exact"},
        "flow": {
            "temperature": 0.3,
            "reaction": {"rate": 2.0, "conserve": conserve},
            "mobility": {"theta": {"value": 0.0}},
        },
    }
    problem = case_of(table).problem()
    (term,) = (t for t in problem.terms if t.key == "reaction")

    def run(steps):
        density = problem.start / problem.grid.volume
        for _ in range(steps):
            density = term.advance(Point(density, problem.evaluate), 0.25 / steps).density
        return density

    finest = run(2048)
    gaps = [np.abs(run(n) - finest).sum() for n in (32, 64, 128)]
    assert np.abs(slopes(gaps) - 2).max() <= 0.1, f"errors {gaps}"


# ------------------------------------------------------------------------------------------- beside Langevin's dynamics
def small(name, **changes):
    cells = {"space.x.cells": 72, "space.y.cells": 48}
    return load_case(f"gaussian-mixture-{name}").replace(cells | {k.replace("__", "."): v for k, v in changes.items()})


def test_birth_and_death_find_the_weights_that_langevin_does_not():
    """Langevin crosses the saddle at Kramers' rate; log(ρ/π) relaxes at the rate κ, whatever the barrier."""
    slow, fast = (solve(small(name)) for name in ("sampling", "fisher-rao"))
    for dataset in (slow, fast):
        assert float(dataset["weight_error"][0]) == pytest.approx(0.75, abs=0.01)
    assert float(slow["weight_error"][-1]) > 0.3
    assert float(fast["weight_error"][-1]) < 1e-3
    assert fast.attrs["energy_decreases"].startswith("guaranteed")
    assert fast.attrs["energy_rise_max"] <= fast.attrs["energy_roundoff"]
    late = fast["free_energy_gap"].to_numpy()[-6:]
    rates = -np.diff(np.log(late)) / np.diff(fast["time"].to_numpy()[-6:])
    assert rates.min() >= 1.9, rates  # KL falls like the square of log(ρ/π): 2κ, plus the diffusion


def test_fisher_rao_alone_has_the_exact_weights_of_the_modes_at_every_time():
    """Without transport ρ_t ∝ ρ₀^a π^(1−a): from a start that sees both modes, to round-off, on the grid of the case."""
    start = [
        {
            "density": {
                "x": {"kind": "normal", "mean": -0.5, "deviation": 0.8},
                "y": {"kind": "normal", "mean": 0.0, "deviation": 0.55},
            }
        }
    ]
    frozen = {"x": {"value": 0.0}, "y": {"value": 0.0}}
    case = small("fisher-rao", initial=start, flow__mobility=frozen, time__stop=4.0, time__save=9)
    dataset, problem = solve(case), case.problem()
    log_start, target = np.log(problem.start / problem.grid.volume), -problem.bound.potential
    errors = []
    for t, density in zip(dataset["time"].to_numpy(), dataset["density"], strict=True):
        a = np.exp(-t)
        exact = np.exp(a * log_start + (1 - a) * target)
        exact /= problem.grid.integrate(exact)
        np.testing.assert_allclose(density.transpose(*problem.grid.order).to_numpy(), exact, rtol=1e-9)
        errors.append(problem.diagnose(exact, problem.evaluate(exact))["weight_error"])
    np.testing.assert_allclose(dataset["weight_error"], errors, rtol=1e-8)
    assert errors[-1] < 0.05 < errors[0]


@pytest.mark.parametrize("diffusion", ["implicit", "scharfetter-gummel"])
def test_the_free_energy_of_a_network_falls_by_both(diffusion):
    """dF/dt = −dissipation, transport and reaction beside each other, along a run; and F falls at every step."""
    table = {k: v for k, v in QUADRATIC.items() if k != "exact"}
    flow = {"temperature": 0.3, "reaction": {"rate": 2.0, "conserve": True}}
    case = case_of({**table, "flow": flow, "scheme": {"kind": "finite-volume", "diffusion": diffusion}})
    stepper = case.scheme.init(case.problem())
    assert stepper.energy_decreases
    state = stepper.start(stepper.problem.start / stepper.grid.volume)
    for _ in range(20):
        new = stepper.step(state, 0.01)
        assert new.free_energy <= state.free_energy + new.rise_roundoff
        state = new
    dt = 1e-5
    first = stepper.attempt(state, dt)[0]
    second = stepper.attempt(first, dt)[0]
    slope = (state.free_energy - second.free_energy) / (2 * dt)
    assert stepper.dissipation(first.density, first.evaluation) == pytest.approx(slope, rel=1e-4)
    masses = first.density * stepper.grid.volume
    acting = first.evaluation.first_variation + 0.3 * np.log(first.density)
    variance = masses @ acting**2 - (masses @ acting) ** 2
    assert 0.1 < 2.0 * variance / slope < 0.9  # so that either would be missed
