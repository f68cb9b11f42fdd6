"""A problem is a case made concrete; schemes and integrators say which terms of its flow they admit."""

import numpy as np
import pytest
from helpers import ORNSTEIN_UHLENBECK, QUADRATIC, case_of

import gridflow
from gridflow.energy.base import BoundEnergy, Energy, Evaluation
from gridflow.errors import InputError
from gridflow.flow.flow import KEYS, TERMS, Flow
from gridflow.flow.reaction import Reaction
from gridflow.flow.term import Advance, FlowTerm, Point
from gridflow.particles.integrator import Adaptive, GradientDescent, ProximalPoint, RungeKutta2
from gridflow.particles.simulation import Simulator
from gridflow.problem import DRIVE, Problem
from gridflow.scheme.exact_jko import ExactWasserstein
from gridflow.scheme.finite_volume.scheme import FiniteVolume
from gridflow.scheme.jko.scheme import JKO

SCHEMES = [FiniteVolume(), JKO(tau=0.1), ExactWasserstein(tau=0.1)]
INTEGRATORS = [
    GradientDescent(step=0.1),
    GradientDescent(step=0.1, batch=1),
    RungeKutta2(0.1),
    Adaptive(),
    ProximalPoint(step=0.1),
]


def test_a_problem_is_the_case():
    """The same grid, energy and start: cell masses of 1, and the free energy E + D∫ρ log ρ."""
    case = case_of(ORNSTEIN_UHLENBECK)
    problem = case.problem()
    assert problem.start.sum() == pytest.approx(1, abs=1e-12)
    assert problem.bound is problem.bound
    density = problem.start / problem.grid.volume
    value = problem.free_energy(density, problem.evaluate(density)).value
    entropy = (problem.start * np.log(np.where(density > 0, density, 1))).sum()
    assert value == pytest.approx(float(np.vdot(problem.bound.potential, problem.start)) + 0.3 * entropy, rel=1e-13)


def test_a_problem_takes_an_energy_of_ones_own():
    case = case_of(ORNSTEIN_UHLENBECK, exact=None)
    other = case_of(QUADRATIC, exact=None).problem().energy
    assert case.problem(other).energy is other


@pytest.mark.parametrize("scheme", SCHEMES, ids=lambda s: s.label)
def test_schemes_admit_terms_that_exist(scheme):
    assert scheme.knows <= KEYS | {DRIVE}


@pytest.mark.parametrize("integrator", INTEGRATORS, ids=lambda i: i.label)
def test_integrators_admit_terms_that_exist(integrator):
    assert integrator.knows <= KEYS


PRESENT = {
    "reaction": {"reaction": {"rate": 2.0}},
    "diffusion": {"diffusion": {"x": 0.1}},
    "temperature": {"temperature": 0.3},
    "noise_injection": {"noise_injection": {"level": 0.5}},
}
"""For every term of the registry a flow that has it."""


@pytest.mark.parametrize("kind", TERMS, ids=lambda kind: kind.key)
def test_a_term_acts_only_where_a_case_names_it_and_is_refused_by_name(kind):
    case = case_of(ORNSTEIN_UHLENBECK, exact=None, flow={})
    assert case.problem().terms == ()
    with_term = case.replace({"flow": PRESENT[kind.key]})
    (term,) = with_term.problem().terms
    assert type(term) is kind
    for scheme in SCHEMES:
        if kind.key not in scheme.knows:
            with pytest.raises(InputError, match=rf"{term.stated}(?s:.)*allowed(?s:.)*fix: use scheme\.kind"):
                scheme.init(with_term.problem())
    for integrator in INTEGRATORS:
        if kind.key not in integrator.knows and not term.drives:
            with pytest.raises(InputError, match=rf"{term.stated}(?s:.)*fix: use particles\.integrator\.kind"):
                gridflow.simulate(with_term, 8, integrator=integrator)


class Recorded(FlowTerm[None]):
    """A term that splits and does nothing but write down its name."""

    key = "diffusion"
    splits = True
    acts = True

    def __init__(self, name, calls, grid):
        super().__init__(None, 0.0, grid)
        self.name, self.calls = name, calls

    def advance(self, point, time):
        self.calls.append((self.name, time))
        return Advance(point.density)


def test_a_step_is_a_palindrome():
    """Half steps of the terms in their order, the transport, half steps in the reverse order: Strang splitting of any number."""
    problem = case_of(QUADRATIC, exact=None).problem()
    calls = []
    problem.__dict__["terms"] = tuple(Recorded(name, calls, problem.grid) for name in "abc")
    stepper = FiniteVolume().init(problem)
    state = stepper.start(problem.start / problem.grid.volume)
    calls.clear()
    new = stepper.step(state, 1e-3)
    assert [name for name, _ in calls] == list("abccba")
    np.testing.assert_allclose([time for _, time in calls], (new.time - state.time) / 2)


class Carried(Recorded):
    """A term that writes down how much it is carried in a step."""

    def change(self, before, after, density, carried):
        self.calls.append((self.name, carried))
        return carried


def test_a_term_is_carried_by_the_transport_and_by_the_terms_behind_it():
    """|moved| + 2|∫ξ d(start − own)|, twice for the half steps on both sides; nothing is behind the last term."""
    problem, calls = case_of(QUADRATIC, exact=None).problem(), []
    problem.__dict__["terms"] = tuple(Carried(name, calls, problem.grid) for name in "ab")
    stepper = FiniteVolume().init(problem)
    densities = [problem.start / problem.grid.volume]
    densities += [np.roll(densities[0], 3), np.roll(densities[0], 5)]
    points = [Point(density, problem.evaluate) for density in densities]
    state = stepper.start(densities[0])
    stepper.limit_of_changes(state, points, points[0], -0.3, 0.1)
    behind = abs(float(np.vdot(points[2].evaluation.first_variation, (densities[2] - densities[1]) * problem.grid.volume)))
    assert behind > 1e-3  # far above the tolerance of the comparison
    assert dict(calls) == pytest.approx({"a": 0.3 + 2 * behind, "b": 0.3})


def test_a_reaction_does_not_go_with_noise_injection():
    noisy = case_of(QUADRATIC, exact=None, flow={"noise_injection": {"level": 0.5}}).flow.noise_injection
    both = Flow(reaction=Reaction(rate=1.0), noise_injection=noisy)
    with pytest.raises(InputError, match=r"remove flow\.reaction"):
        both.terms(case_of(QUADRATIC).grid())


# ------------------------------------------------------------------------------------------------- a case from a dict
def test_a_case_from_a_dict_is_that_of_a_file(tmp_path):
    path = tmp_path / "mine.toml"
    case = gridflow.Case.from_dict(QUADRATIC, "mine", tmp_path)
    path.write_text(case.text(), encoding="utf-8")
    assert gridflow.load_case(path) == case


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"spaces": {}}, "unknown key 'spaces'"),
        ({"time": {"stop": float("nan")}}, "time.stop = nan"),
        ({"time": {"stop": -1.0}}, "time.stop"),
        ({"name": "x"}, "named by its file"),
        ({"space": {"theta": {"kind": "interval", "bounds": (-1.0, np.inf), "cells": 8}}}, "finite numbers"),
        ({"energy": object()}, "energy"),
    ],
)
def test_a_wrong_dict_is_refused_as_a_file_is(change, message):
    with pytest.raises(InputError, match=message):
        gridflow.Case.from_dict({**QUADRATIC, **change})


def test_something_else_than_a_dict_is_refused():
    with pytest.raises(InputError, match="a dict of tables"):
        gridflow.Case.from_dict("bn-circle")


# ------------------------------------------------------------------------------------------------- what is refused by hand
def test_a_problem_without_a_start_says_so():
    problem = Problem(case_of(QUADRATIC).grid(), case_of(QUADRATIC).problem().energy)
    with pytest.raises(InputError, match="name an initial density"):
        problem.check_start()
    with pytest.raises(InputError, match="name an initial density"):
        Simulator(problem, RungeKutta2(0.1), [0.0, 0.1]).run(8)


def test_times_of_particles_may_be_an_array_and_must_increase():
    case = case_of(QUADRATIC)
    run = gridflow.simulate(case, 8, times=np.array([0.0, 0.1]), integrator=RungeKutta2(0.1))
    assert run.times == [0.0, 0.1]
    for times in ([], [0.0, np.nan], [0.0, np.inf]):
        with pytest.raises(InputError, match="increasing from 0"):
            gridflow.simulate(case, 8, times=times, integrator=RungeKutta2(0.1))


def test_another_way_of_sampling_is_refused():
    with pytest.raises(InputError, match="random or sobol"):
        gridflow.simulate(case_of(QUADRATIC), 8, sampling="halton", integrator=RungeKutta2(0.1))


@pytest.mark.parametrize(
    "space", [{"kind": "labels", "values": [0.0, 1.0]}, {"kind": "sphere", "level": 1}], ids=["labels", "sphere"]
)
def test_only_lines_and_circles_have_a_mobility_along_a_line(space):
    uniform = {"kind": "uniform"}
    case = case_of(
        {**ORNSTEIN_UHLENBECK, "space": {**ORNSTEIN_UHLENBECK["space"], "s": space}},
        exact=None,
        initial=[{"density": {**ORNSTEIN_UHLENBECK["initial"][0]["density"], "s": uniform}}],
        flow={"mobility": {"s": {"factor": "x", "power": 2.0}}},
    )
    with pytest.raises(InputError, match=r"flow\.mobility\.s depends on 'x'"):
        case.problem()


def test_a_term_that_lacks_what_it_declares_is_no_term():
    with pytest.raises(TypeError, match="Incomplete lacks key, advance, growth"):

        class Incomplete(FlowTerm[float]):
            splits = weighs = acts = True


SPHERE = {
    "title": "noise on a sphere",
    "space": {"b": {"kind": "sphere", "level": 1}},
    "energy": {
        "kind": "mmd",
        "kernel": {
            "kind": "features",
            "activation": "tanh",
            "inputs": {"kind": "normal", "count": 20, "covariance": np.eye(3).tolist()},
            "branches": [{"weights": ["b"]}],
        },
        "target": [{"density": {"b": {"kind": "fisher", "direction": [0.0, 0.0, 1.0], "concentration": 3.0}}}],
    },
    "initial": [{"density": {"b": {"kind": "uniform"}}}],
    "flow": {"noise_injection": {"level": 0.5}},
    "scheme": {"kind": "finite-volume"},
    "time": {"stop": 1.0, "save": 2},
}


def test_noise_does_not_leave_a_surface():
    case = gridflow.Case.from_dict(SPHERE)
    for run in (gridflow.solve, lambda case: gridflow.simulate(case, 8, integrator=GradientDescent(step=0.1))):
        with pytest.raises(InputError, match="noise"):
            run(case)


def test_densities_of_particles_fit_their_factors():
    table = {**SPHERE, "flow": {}, "initial": [{"density": {"b": {"kind": "uniform", "bounds": [0.0, 1.0]}}}]}
    with pytest.raises(InputError, match="uniform"):
        gridflow.simulate(gridflow.Case.from_dict(table), 8, integrator=GradientDescent(step=0.1))


# ---------------------------------------------------------------------------------------------------- energies of one's own
class Own(Energy):
    """E = 0, with numbers of its own; as long as nothing."""

    def __init__(self, declared, returned):
        self.declared, self.returned = declared, returned

    def __len__(self):
        return 0

    def bind(self, grid):
        return BoundOwn(self.declared, self.returned)


class BoundOwn(BoundEnergy):
    def __init__(self, declared, returned):
        self.diagnostics, self.returned = declared, returned

    def evaluate(self, mass):
        return Evaluation(0.0, np.zeros(mass.shape), 0.0)

    def diagnose(self, density, evaluation):
        return self.returned


def solved(energy):
    return gridflow.solve(case_of(QUADRATIC, exact=None, time__stop=0.1), energy=energy)


def test_an_own_energy_is_taken_even_if_it_is_empty():
    dataset = solved(Own({"length": ("1", "mine")}, {"length": 2.0}))
    assert dataset["length"].to_numpy().tolist() == [2.0] * 5
    for nothing in (0, [], "", False):
        with pytest.raises(InputError, match="as an energy"):
            solved(nothing)
    with pytest.raises(InputError, match="pass an instance"):
        solved(Own)


@pytest.mark.parametrize("name", ["energy", "steps", "error_l1", "noise_level", "density", "time"])
def test_an_own_energy_does_not_record_under_a_name_of_the_dataset(name):
    with pytest.raises(InputError, match="rename its diagnostics"):
        solved(Own({name: ("1", "mine")}, {name: -7.0}))


def test_an_own_energy_returns_the_numbers_that_it_declares():
    with pytest.raises(InputError, match="for each of them"):
        solved(Own({"length": ("1", "mine")}, {"other": 1.0}))
    with pytest.raises(InputError, match="units, long name"):
        solved(Own(("length",), {"length": 1.0}))


# ------------------------------------------------------------------------------------------------------- values of tables
def nested(depth):
    return {"x": nested(depth - 1)} if depth else {}


CYCLIC: dict = {}
CYCLIC["x"] = CYCLIC


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"initial": ({"density": {"theta": {"kind": "normal", "mean": "a", "deviation": 0.4}}},)}, "mean"),
        ({"energy": CYCLIC}, "at most 32 levels"),
        ({"energy": nested(100)}, "at most 32 levels"),
        ({"space": {1: QUADRATIC["space"]["theta"]}}, r"keys \[1\]"),
        ({"space": range(3)}, "space"),
        ({"title": "\ud800"}, "Unicode"),
        ({"time": {"stop": 10**160}}, "an integer of 532 bits"),
        ({"energy": {1, 2}}, "of type set"),
    ],
)
def test_values_that_no_case_is_made_of_are_refused(change, message):
    with pytest.raises(InputError, match=message):
        gridflow.Case.from_dict({**QUADRATIC, **change})


def test_numbers_of_numpy_are_numbers():
    table = {**QUADRATIC, "title": np.str_("mine"), "time": {"stop": np.float64(1.0), "save": np.linspace(0.0, 1.0, 5)}}
    case = gridflow.Case.from_dict(table)
    assert case.time.save == [0.0, 0.25, 0.5, 0.75, 1.0]
    assert type(case.title) is str


def test_an_exact_solution_refuses_terms_that_it_does_not_contain():
    with pytest.raises(InputError, match="ornstein-uhlenbeck"):
        gridflow.solve(case_of(ORNSTEIN_UHLENBECK, flow={"temperature": 0.3, "diffusion": {"x": 0.3}}))
