"""What messages about numbers advise is done, and works; that after `--set` in `test_guards.py` and `test_walls.py`."""

import re

import pytest
from helpers import ORNSTEIN_UHLENBECK, QUADRATIC, case_of
from test_certificates import MMD_1D
from test_guards import proposed
from test_sobolev import LINE as SOBOLEV
from test_validation import FLOW

from gridflow.case.case import load_case
from gridflow.errors import InputError, SolveError
from gridflow.particles import integrator
from gridflow.particles.integrator import Adaptive, ProximalPoint, RungeKutta2
from gridflow.particles.simulation import simulate
from gridflow.solver import solve
from gridflow.verdict.coarsening import check_coarsening
from gridflow.verdict.plan import check_case

FLAT = {k: v for k, v in ORNSTEIN_UHLENBECK.items() if k not in ("exact", "flow")}
JKO = {"kind": "jko", "tau": 0.05}

RUNS = {
    # what is wrong: (case, words of the status, changes that they advise)
    "steps of Algorithm 1": (
        case_of(QUADRATIC, scheme={**JKO, "algorithm": "scaling", "bias": "plain", "max_iterations": 2}),
        r'the scaling iteration did not converge .* use algorithm = "newton"',
        [{"scheme.algorithm": "newton", "scheme.max_iterations": 100}],
    ),
    "too few iterations, counted": (
        case_of(QUADRATIC, scheme={**JKO, "max_iterations": 3, "tolerance": 1e-9, "on_unconverged": "continue"}),
        r"unconverged: .* raise scheme.max_iterations",
        [{"scheme.max_iterations": 100}],
    ),
    "too few iterations of a crowd": (
        load_case("congestion").replace({"space.x.cells": 64, "time.stop": 0.4, "time.save": 2, "scheme.max_iterations": 3}),
        r"did not converge .* raise scheme.max_iterations",
        [{"scheme.max_iterations": 300}],
    ),
    "too few iterations of an exact step": (
        case_of(QUADRATIC, exact=None, scheme={"kind": "exact-wasserstein", "tau": 0.3, "max_iterations": 2}),
        r"did not converge in 2 iterations .* raise scheme.max_iterations or scheme.tolerance",
        [{"scheme.max_iterations": 100}, {"scheme.tolerance": 0.3}],
    ),
    "too long a step for a reaction": (
        case_of(QUADRATIC, exact=None, flow={"reaction": {"rate": 40.0}}, scheme={**JKO, "tau": 0.2}),
        r"too long for the reaction: .* use a smaller scheme.tau",
        [{"scheme.tau": 0.005}],
    ),
    "an accuracy that the bias forbids": (
        case_of(QUADRATIC, scheme={**JKO, "tau": 0.02, "accuracy": 0.02}, space__theta__cells=256),
        r'accuracy = 0.02 is not reached .* raise accuracy, use bias = "debias"',
        [{"scheme.accuracy": 0.8}, {"scheme.bias": "debias"}],
    ),
    "mass in one cell": (
        case_of(FLAT, energy={"kind": "potential", "terms": {"x": {"kind": "quadratic", "centre": 0.05}}}, time__stop=2.0),
        r"of the mass is in one cell at the end .* use finer cells there",
        [{"space.x.cells": 512}],
    ),
}


def said(dataset):
    """What a dataset has to complain of."""
    status = dataset.attrs["status"]
    return "" if status == "completed" and "warnings" not in dataset.attrs else f"{status} {dataset.attrs.get('warnings', '')}"


@pytest.mark.parametrize("name", RUNS)
def test_a_change_that_a_run_advises_works(name):
    case, words, changes = RUNS[name]
    assert re.search(words, said(solve(case)))
    for change in changes:
        assert said(solve(case.replace(change))) == ""


PARTICLES = {
    # what is wrong: (case, wrong integrator, words of the error, one that they advise)
    "velocities that jump": (
        case_of(FLAT, energy={"kind": "potential", "terms": {"x": {"kind": "linear", "slope": 1.0}}}, time__stop=20.0),
        Adaptive(1e-9),
        r'use particles.integrator.kind = "rk2"',
        RungeKutta2(0.1),
    ),
    "steps of a proximal point": (
        case_of(FLAT, time__stop=1.6, time__save=2),
        ProximalPoint(0.8, inner_method="gradient-descent", rate=1.0, tolerance=1e-12),
        r"did not converge: the inner gradient descent .* lower rate or step",
        ProximalPoint(0.4, inner_method="gradient-descent", rate=1.0, tolerance=1e-12),
    ),
    "weights that overflow": (
        case_of(
            {k: v for k, v in SOBOLEV.items() if k != "exact"},
            initial=[{"density": {"x": {"kind": "semicircle", "radius": 0.4}}}],
            time__stop=4.0,
            energy__flow="descent",
            energy__regularization=0.004,
            flow={"reaction": {"rate": 0.2, "conserve": True}},
        ),
        RungeKutta2(1.0),
        r"diverged .* use a smaller step",
        RungeKutta2(0.002),
    ),
}


@pytest.mark.parametrize("name", PARTICLES)
def test_an_integrator_that_a_particle_run_advises_works(name, monkeypatch):
    monkeypatch.setattr(integrator, "EVALUATIONS_MAX", 2000)
    case, wrong, words, right = PARTICLES[name]
    with pytest.raises(SolveError, match=words):
        simulate(case, 8, seed=1, integrator=wrong)
    simulate(case, 8, seed=1, integrator=right)


REFUSED = {
    # what is wrong: (case, words of the error, changes that they advise)
    "a kernel between two cells": (
        case_of(QUADRATIC, scheme={**JKO, "epsilon": 0.3}),
        r"at least 0.5.*\n.*use 0.5 or more",
        [{"scheme.epsilon": 0.5}],
    ),
    "a bandwidth of an MMD": (
        case_of(MMD_1D, energy__kernel__bandwidth=0.05),
        r"bandwidth 0.05 below the cell size.*\n.*\n.*raise energy.bandwidth or the number of cells",
        [{"energy.kernel.bandwidth": 0.2}, {"space.x.cells": 128}],
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_change_that_a_refusal_advises_works(name):
    case, words, changes = REFUSED[name]
    with pytest.raises(InputError, match=words):
        solve(case)
    for change in changes:
        assert solve(case.replace({"time.stop": 0.05, "time.save": 2} | change)).attrs["status"] == "completed"


TOO_COARSE = {
    # what cannot be coarsened: (case, by how much)
    "few cells of a line": (case_of(FLOW, space__theta__cells=12), 4),
    "few cells of one of two factors": (load_case("bn-circle").replace({"space.a.cells": 10}), 8),
    "a coarse surface": (load_case("heat-sphere").replace({"space.b.level": 1}), 4),
    "a bandwidth": (load_case("mmd-gaussian").replace({"energy.bandwidth": 0.3}), 8),
}


@pytest.mark.parametrize("name", TOO_COARSE)
def test_the_sizes_that_a_grid_too_coarse_to_coarsen_advises_work(name):
    case, factor = TOO_COARSE[name]
    with pytest.raises(InputError, match=r"use .*, which works") as error:
        check_coarsening(case, None, factor)
    sizes = re.findall(r"(space\.\w+\.\w+) = (\d+)", str(error.value).split("use ")[-1])
    assert sizes
    check_coarsening(case.replace({key: int(size) for key, size in sizes}), None, factor)


def test_a_verdict_says_all_that_it_needs():
    """Particles and thresholds at once, and with what it names the case can be judged."""
    bare = case_of({k: v for k, v in FLOW.items() if k not in ("particles", "validation", "exact")})
    with pytest.raises(InputError, match=r"counts = \[64, 256, 1024\].*w1 = \{ threshold = 0.01, reason") as error:
        check_case(bare)
    counts = [int(n) for n in re.findall(r"\d+", re.search(r"counts = (\[.*?\])", str(error.value))[1])]
    check_case(bare.replace({"particles": {"counts": counts}, "validation.w1": {"threshold": 0.01, "reason": "a cell"}}))


def test_a_run_that_is_short_of_everything_needs_one_change_at_a_time():
    """Box and steps: each message proposes what helps against it, and after both nothing is left."""
    energy = {"kind": "potential", "terms": {"x": {"kind": "linear", "slope": -1.0}}}
    case = case_of(FLAT, energy=energy, time__stop=8.0, time__max_steps=20)
    for _ in range(4):
        words = said(solve(case))
        if not words:
            break
        case = proposed(case, words.split("; where the space ends")[0])
    assert words == ""
