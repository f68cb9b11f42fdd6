"""A temperature that falls: its laws, their means over steps, the order of schemes with them, and what their energy does."""

from dataclasses import replace

import numpy as np
import pytest
from helpers import HEAT_INTERVAL, ORNSTEIN_UHLENBECK, QUADRATIC, case_of
from scipy.special import expi
from test_order import slopes

from gridflow.case.case import load_case
from gridflow.errors import InputError
from gridflow.flow.flow import Flow
from gridflow.flow.schedule import ExponentialDecay, LogarithmicDecay, PowerDecay
from gridflow.particles.simulation import Simulator
from gridflow.solver import solve

START = 0.5
FALLS = {"kind": "exponential", "time": 0.2, "floor": 0.05}
LAWS = {
    "power": PowerDecay(time=0.7, power=1.5, floor=0.1),
    "exponential": ExponentialDecay(time=0.7, floor=0.1),
    "logarithmic": LogarithmicDecay(time=0.7, floor=0.1),
}
INTEGRALS = {
    "power": lambda t: 2 * 0.7 * (1 - (1 + t / 0.7) ** -0.5),
    "exponential": lambda t: -0.7 * np.expm1(-t / 0.7),
    "logarithmic": lambda t: 0.7 * expi(np.log(np.e + t / 0.7)),
}
"""∫s from 0 to t, in closed form."""
LINE = {"energy": ORNSTEIN_UHLENBECK["energy"], "flow": {"temperature": START, "annealing": FALLS}}


def annealed(**changes):
    return case_of({**ORNSTEIN_UHLENBECK, **LINE}, **changes)


@pytest.mark.parametrize("name", LAWS)
def test_laws_fall_from_the_start_to_the_floor(name):
    law = LAWS[name]
    values = np.array([law.at(START, t) for t in (0.0, 0.1, 1.0, 1e3, 1e9)])
    assert values[0] == START
    assert (np.diff(values) <= 0).all()
    assert 0.1 <= values[-1] < 0.12 or name == "logarithmic"
    share = {"power": 2**-1.5, "exponential": np.exp(-1), "logarithmic": 1 / np.log(np.e + 1)}[name]
    assert law.at(START, 0.7) == pytest.approx(0.1 + 0.4 * share, rel=1e-14)


@pytest.mark.parametrize("last", [0.3000001, 0.318, 0.322, 0.35, 7.0, 7e4])
@pytest.mark.parametrize("name", INTEGRALS)
def test_means_are_integrals_however_long_a_step_is(name, last):
    """Round-off of a difference of integrals over its length, 1e−16/(last − first), and 1e−13 of Gauss' nodes."""
    first, law = 0.3, LAWS[name]
    integral = 0.1 * (last - first) + 0.4 * (INTEGRALS[name](last) - INTEGRALS[name](first))
    assert law.mean(START, first, last) == pytest.approx(integral / (last - first), rel=1e-12 + 1e-15 / (last - first))


def test_means_of_extreme_times_are_between_the_ends():
    for law in (*LAWS.values(), PowerDecay(time=0.7, power=1.0), PowerDecay(time=0.7, power=1e4)):
        for time in (5e-324, 1e-300, 1e300):
            extreme = replace_time(law, time)
            for first, last in ((0.0, 1.0), (1.0, 1.0), (1.0, 1e9)):
                assert extreme.at(START, last) <= extreme.mean(START, first, last) * (1 + 1e-12)
                assert extreme.mean(START, first, last) <= extreme.at(START, first) * (1 + 1e-12)


def replace_time(law, time):
    return type(law)(**{name: getattr(law, name) for name in law.__struct_fields__} | {"time": time})


@pytest.mark.parametrize(("of", "order"), [("mean", 2), ("start", 1)])
def test_steps_at_their_mean_temperature_have_order_two(of, order):
    """Fixed grid and steps, against many short ones; with the temperature of its start every step errs by ½τ²Ḋ∂²ρ."""
    problem = annealed(exact=None).problem()
    stepper = annealed(exact=None).scheme.init(problem)

    def run(steps, of):
        state, dt = stepper.start(problem.start / problem.grid.volume), 0.4 / steps
        for _ in range(steps):
            mean = problem.flow.mean_temperature(state.time, state.time + dt)
            temperature = mean if of == "mean" else problem.flow.temperature_at(state.time)
            state, _ = stepper.at(temperature).fitted_step(state.at(temperature), dt)
        return state.density * problem.grid.volume

    finest = run(512, "mean")
    gaps = [np.abs(run(n, of) - finest).sum() for n in (8, 16, 32)]
    assert np.abs(slopes(gaps) - order).max() <= 0.1, f"errors {gaps}"


SCHEMES = {
    "implicit": ({}, 2, 1e-3),
    "scharfetter-gummel": ({"scheme__diffusion": "scharfetter-gummel", "scheme__accuracy": 0.25}, 1, 6e-3),
    "heat-semigroup": ({"scheme__diffusion": "heat-semigroup"}, 1, 1e-3),
}


@pytest.mark.parametrize("name", SCHEMES)
def test_the_density_is_that_of_the_variance_equation(name):
    """ṡ = −2ks + 2D(t) for a normal density, W1 at the end on 64 and 128 cells.

    Explicit fitted fluxes are of order one where the drift of a cell exceeds D; dyadic steps have an error in time beside space.
    """
    changes, order, ceiling = SCHEMES[name]
    errors = [float(solve(annealed(space__x__cells=n, **changes))["error_w1"][-1]) for n in (64, 128)]
    assert errors[1] <= ceiling
    assert np.log2(errors[0] / errors[1]) >= order - 0.3, f"errors {errors}"


def test_jko_steps_are_of_order_one():
    """Twice shorter steps, half the error, beside that of space; ε in units of h² stays."""
    errors = [
        float(solve(annealed(space__x__cells=256, scheme={"kind": "jko", "tau": tau}))["error_w1"][-1]) for tau in (0.04, 0.02)
    ]
    assert 1.6 <= errors[0] / errors[1] <= 2.4, f"errors {errors}"


def test_the_free_energy_may_rise_while_the_temperature_falls_and_every_step_lowers_its_own():
    """dF/dt = −dissipation + Ḋ∫ρ log ρ. On wide intervals ∫ρ log ρ < 0: close to rest F rises by the second term."""
    rest = {"density": {"x": {"kind": "normal", "mean": 0.2, "deviation": 0.58}}}
    case = annealed(initial=[rest], time__stop=0.1, time__save=101)
    dataset, problem = solve(case), case.problem()
    masses = dataset["density"].to_numpy() * problem.grid.volume
    assert dataset.attrs["energy_decreases"] == "at the mean temperature of every step up to round-off"
    assert dataset.attrs["energy_rise_max"] <= dataset.attrs["energy_roundoff"]
    assert float(dataset["energy"][-1]) > float(dataset["energy"][0]) + 0.01
    times, k = dataset["time"].to_numpy(), 50
    assert dataset["temperature"].to_numpy() == pytest.approx([problem.flow.temperature_at(t) for t in times], rel=1e-14)
    entropy = float((masses[k] * np.log(masses[k] / problem.grid.volume)).sum())
    falls = (problem.flow.temperature_at(times[k] + 1e-6) - problem.flow.temperature_at(times[k] - 1e-6)) / 2e-6
    rate = (float(dataset["energy"][k + 1]) - float(dataset["energy"][k - 1])) / (times[k + 1] - times[k - 1])
    said = -float(dataset["dissipation"][k]) + falls * entropy
    assert rate == pytest.approx(said, rel=2e-3)  # of the difference quotient, and of space
    assert abs(falls * entropy) > 2 * float(dataset["dissipation"][k])  # both terms are seen
    assert float(dataset["dissipation"][k]) > 5 * 2e-3 * rate


def test_numbers_of_a_save_are_those_of_its_temperature():
    case = annealed(time__save=3)
    dataset, problem = solve(case), case.problem()
    density = dataset["density"][1].to_numpy()
    now = problem.at_time(float(dataset["time"][1]))
    assert now.temperature == float(dataset["temperature"][1]) == now.gibbs.temperature
    evaluation = problem.evaluate(density)
    assert float(dataset["energy"][1]) == pytest.approx(now.free_energy(density, evaluation).value, rel=1e-14)
    numbers = now.gibbs.numbers(density, evaluation.first_variation)
    for name, number in numbers.items():
        assert float(dataset[name][1]) == pytest.approx(number, rel=1e-12)
        assert abs(number / problem.gibbs.numbers(density, evaluation.first_variation)[name] - 1) > 0.05  # not of the start


def test_a_resumed_run_goes_on_as_it_was():
    case = annealed(exact=None)
    problem = case.problem()
    stepper = case.scheme.init(problem)
    state = stepper.start(problem.start / problem.grid.volume)
    for _ in range(5):
        state = stepper.step(state, 0.02)
    again = stepper.start(state.density, state.time, state.dt)
    assert again.free_energy == state.free_energy
    assert again.entropy == state.entropy
    again = replace(again, reports=state.reports, arrays=state.arrays)
    np.testing.assert_array_equal(stepper.step(again, 0.02).density, stepper.step(state, 0.02).density)


def test_the_dissipation_of_jko_steps_with_a_bound_is_that_of_their_time():
    """What the next step takes: as with the temperature that stands still at the mean of that step."""
    case = load_case("congestion").replace({"exact": None, "space.x.cells": 64, "scheme.tau": 0.04, "flow.temperature": START})
    falls = case.replace({"flow.annealing": FALLS})
    problem, time = falls.problem(), 0.16
    density = problem.start / problem.grid.volume
    still = case.replace({"flow.temperature": problem.flow.mean_temperature(time, time + 0.04)})
    found, right = (
        each.scheme.init(each.problem()).dissipation(density, problem.evaluate(density), time) for each in (falls, still)
    )
    assert found == pytest.approx(right, rel=1e-12)


def test_a_reaction_with_the_entropy_relaxes_at_the_falling_temperature():
    """Frozen mass, κ = 1: ȧ = −D(t)a for log ρ = a log ρ₀ + b: the exponent a is e^{−∫D}."""
    case = annealed(exact=None, flow__reaction={"rate": 1.0, "conserve": True}, flow__mobility={"x": {"value": 0.0}})
    case = case.replace({"energy": {"kind": "potential"}, "time.save": 2})
    dataset = solve(case)
    first, last = (np.log(dataset["density"][k].to_numpy()) for k in (0, -1))
    middle = slice(20, 40)
    slope = np.polyfit(first[middle], last[middle], 1)[0]
    exact = np.exp(-(0.05 * 0.4 - 0.45 * 0.2 * np.expm1(-2.0)))
    assert slope == pytest.approx(exact, rel=1e-3)


class Ones:
    """Stands for random numbers."""

    def standard_normal(self, shape):
        return np.ones(shape)


@pytest.mark.parametrize("kind", ["rk2", "gradient-descent"])
def test_particles_get_the_noise_of_the_time(kind, monkeypatch):
    """Increments √(2∫D dt): the squares of all of them add up to 2∫D dt."""
    from gridflow.particles.dynamics import Dynamics

    squares, plain = [], Dynamics.noise

    def noise(self, state, dt):
        self.random = Ones()
        found = plain(self, state, dt)
        squares.append(float(found[0, 0]) ** 2)
        return found

    monkeypatch.setattr(Dynamics, "noise", noise)
    case = annealed(particles={"counts": [8, 32, 64], "integrator": {"kind": kind, "step": 0.05}})
    Simulator.of(case).run(4)
    assert len(squares) == 8
    assert sum(squares) == pytest.approx(2 * (0.05 * 0.4 - 0.45 * 0.2 * np.expm1(-2.0)), rel=1e-9)
    assert squares[0] > 3 * squares[-1]


def test_annealing_finds_the_deeper_well_and_no_constant_temperature_does():
    case = load_case("langevin-annealing").replace({"space.x.cells": 88, "time.save": 2})
    problem = case.problem()

    def potential_energy(case):
        return problem.bound.evaluate(solve(case)["density"][-1].to_numpy() * problem.grid.volume).value

    constant = {
        D: potential_energy(case.replace({"flow.annealing": None, "flow.temperature": D})) for D in (0.05, 0.1, 0.15, 0.2, 0.3)
    }
    assert potential_energy(case) < -0.09
    assert min(constant.values()) > -0.04, constant


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: solve(annealed(time__steady=1e-6)), "whose temperature falls"),
        (lambda: annealed(flow__temperature=0.0), "does not fall to floor"),
        (lambda: annealed(flow__annealing={"kind": "power", "time": 1.0, "floor": 0.6}), "does not fall to floor"),
        (lambda: annealed(flow__annealing={"kind": "exponential", "time": 1.0}), "floor"),
        (
            lambda: solve(annealed(flow__annealing={"kind": "power", "time": 0.1, "power": 1e3})),
            "the temperature is 0.0e.00 at time",
        ),
        (lambda: annealed(flow__noise_injection={"level": 0.5}), "annealing beside noise_injection"),
        (lambda: solve(case_of(HEAT_INTERVAL, flow__annealing={"kind": "power", "time": 1.0})), 'exact solution "heat"'),
        (lambda: case_of(QUADRATIC, flow__noise_injection={"level": 1.0, "adaptive": True, "decay": FALLS}), "an adaptive level"),
        (lambda: case_of(QUADRATIC, flow__noise_injection={"level": 0.01, "decay": FALLS}), "does not fall to floor"),
    ],
)
def test_what_does_not_fit_is_refused(call, message):
    with pytest.raises(InputError, match=message):
        call()


def test_without_annealing_nothing_moves():
    assert Flow(0.3).mean_temperature(1.0, 5.0) == Flow(0.3).temperature_at(7.0) == 0.3
