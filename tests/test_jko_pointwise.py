"""JKO steps of internal energies and of densities with an upper bound: the prox, the step, exact solutions, what is refused."""

import msgspec
import numpy as np
import pytest
from helpers import ORNSTEIN_UHLENBECK, QUADRATIC, Linear, case_of, problem_of

from gridflow.case.case import load_case
from gridflow.energy.congestion import Congestion
from gridflow.energy.internal import Entropy, InternalEnergy, Power
from gridflow.energy.sum import BoundSum, SumEnergy, SumLaw
from gridflow.errors import InputError
from gridflow.exact.congestion import crowd_masses
from gridflow.scheme.jko.pointwise import Proximal
from gridflow.scheme.jko.scheme import JKO
from gridflow.solver import solve
from gridflow.space.circle import Circle
from gridflow.space.distances import wasserstein1
from gridflow.space.grid import Grid
from gridflow.space.line import Interval

LAWS = {
    "m = 2": Power(2.0),
    "m = 5": Power(5.0, 0.3),
    "m = 0.6": Power(0.6),
    "entropy": Entropy(0.7),
    "m = 3 + m = 0.5": SumLaw((Power(3.0), Power(0.5, 2.0))),
    "congestion": Congestion(0.8),
    "m = 2 + congestion": SumLaw((Power(2.0), Congestion(0.8))),
}


# ------------------------------------------------------------------------------------------------------------ the prox
@pytest.mark.parametrize("law", LAWS.values(), ids=LAWS.keys())
@pytest.mark.parametrize("force", [0.1, 300.0])
def test_the_prox_solves_its_equation_in_every_cell(law, force):
    """(1 + g) l + force·U'(e^l) = right, for l to twelve digits; above the bound l is the bound's, and U' presses on."""
    right, proximal = np.linspace(-300.0, 300.0, 1201), Proximal(law, force, 0.5)
    for start in (np.zeros(right.size), np.full(right.size, -700.0), right):
        logs = proximal.logs(right, start)
        density = np.exp(logs)
        terms = 0.5 * logs, force * law.derivative(density)
        gap, allowed = terms[0] + terms[1] - right, 1e-12 * (1 + np.abs(logs)) * proximal.rate(logs)
        free = logs < np.log(law.largest)
        inside = free & (density > 1e-140)  # below, U' is cut off where it is infinite at 0
        assert inside.sum() > 100
        assert (np.abs(gap) <= allowed)[inside].all()
        assert (gap <= allowed)[~free].all()
        assert (np.diff(logs) >= -1e-12).all()
        assert density.max() <= law.largest * (1 + 1e-15)


# ------------------------------------------------------------------------------------------------------------ the step
def valley(grid):
    """A quadratic potential that is not centred."""
    x, y = grid.coordinate("x"), grid.coordinate("y")
    return Linear((0.5 * (x - 0.3) ** 2 + 0.5 * np.cos(y)) * np.ones(grid.shape))


def plane(n=32):
    return Grid([Interval(bounds=(-2.0, 2.0), cells=n).factor("x"), Circle(cells=n).factor("y")])


def blob(grid):
    density = np.exp(-2 * (grid.coordinate("x") + 0.5) ** 2 + np.cos(grid.coordinate("y") - 1)) * np.ones(grid.shape)
    return density / grid.integrate(density)


def steps(grid, energy, count=2, temperature=0.0, **scheme):
    stepper = JKO(**{"tau": 0.05, "tolerance": 1e-10, **scheme}).init(problem_of(grid, energy, temperature))
    state = stepper.start(blob(grid))
    for _ in range(count):
        state = stepper.step(state, 1.0)
    return stepper, state


@pytest.mark.parametrize("bias", [pytest.param("plain", marks=pytest.mark.slow), "compensate", "debias"])
def test_an_entropy_law_is_a_temperature(bias):
    """The same steps, found by scaling cell by cell and by the quasi-Newton iteration."""
    grid = plane()
    law = BoundSum([valley(grid), InternalEnergy(Entropy(0.4)).bind(grid)])
    one, two = steps(grid, law, bias=bias)[1], steps(grid, valley(grid), temperature=0.4, bias=bias)[1]
    assert np.abs((one.density - two.density) * grid.volume).sum() <= 1e-8
    assert np.abs((one.density - blob(grid)) * grid.volume).sum() > 0.01


@pytest.mark.parametrize("bias", ["plain", "compensate"])
@pytest.mark.parametrize("name", ["m = 2", "m = 0.6", "m = 3 + m = 0.5"])
def test_a_step_satisfies_its_first_order_condition(name, bias):
    """log a + (2τ/ε)(V + U'(p)) − β log p = 0 with p = a·K(q/(Ka)), and the mass of q."""
    grid, law = plane(), LAWS[name]
    laws = law.laws if isinstance(law, SumLaw) else (law,)
    stepper, state = steps(grid, BoundSum([valley(grid), *(InternalEnergy(one).bind(grid) for one in laws)]), bias=bias)
    potential, before = state.arrays["differences"][0], state.arrays["log_before"]
    log_ka = stepper.kernel.apply_log(potential)
    logs = potential + stepper.kernel.apply_log(before - log_ka)
    np.testing.assert_allclose(np.exp(logs), state.density, rtol=1e-8)
    force, beta = 2 * 0.05 / stepper.epsilon, 0.0 if bias == "plain" else 0.5
    gap = potential + force * (valley(grid).potential + law.derivative(state.density)) - beta * logs
    assert np.abs(gap * state.density * grid.volume).sum() <= 1e-7 * np.abs(potential).max()
    assert grid.integrate(state.density) == pytest.approx(1.0, abs=1e-12)
    report = stepper.report(state)
    assert max(report["constr_even"], report["constr_odd"]) <= 1e-8


def test_a_step_under_a_bound_has_a_pressure():
    """log a + (2τ/ε)V − ½ log p is 0 where p < 1, and not above where p = 1."""
    grid = plane()
    bound = 0.12  # the start has up to 0.16
    stepper, state = steps(grid, BoundSum([valley(grid), InternalEnergy(Congestion(bound)).bind(grid)]), count=3)
    potential, logs = state.arrays["differences"][0], np.log(state.density)
    gap = potential + 2 * 0.05 / stepper.epsilon * valley(grid).potential - 0.5 * logs
    full = state.density > bound * (1 - 1e-7)
    assert 0.05 < full.mean() < 0.6
    assert state.density.max() <= bound * (1 + 1e-6)
    assert np.abs(gap[~full]).max() <= 1e-5
    assert gap[full].max() <= 1e-5
    assert gap.min() < -0.5


def test_laws_join_energies_whose_variation_depends_on_the_density():
    """A network with an entropy law, whose ξ is updated, is a network with a temperature."""
    case = load_case("relu-regression").replace({"space.w.cells": 24, "space.b.cells": 24})
    scheme = {"kind": "jko", "tau": 0.05, "tolerance": 1e-9}
    table = {"scheme": scheme, "time.stop": 0.2, "time.save": 2, "exact": None}
    warm = solve(case.replace({**table, "flow.temperature": 0.05}))
    problem = case.problem()
    energy = SumEnergy((problem.energy, InternalEnergy(Entropy(0.05))))
    law = solve(case.replace(table), energy=energy)
    assert warm.attrs["status"] == law.attrs["status"] == "completed"
    np.testing.assert_allclose(law["density"], warm["density"], atol=1e-6 * float(warm["density"].max()))


# ------------------------------------------------------------------------------------------------------ exact solutions
def barenblatt(exponent, **changes):
    spread = 3.0 if exponent > 1 else 13.8
    table = {
        **QUADRATIC,
        "title": "Barenblatt in a potential",
        "space": {"x": {"kind": "interval", "bounds": [-spread, spread], "cells": 256}},
        "energy": {
            "kind": "sum",
            "parts": [
                {"kind": "internal", "law": {"kind": "power", "exponent": exponent}},
                {"kind": "potential", "terms": {"x": {"kind": "quadratic", "stiffness": 1.0, "centre": 0.2}}},
            ],
        },
        "initial": [{"joint": {"kind": "barenblatt", "exponent": exponent, "time": 0.05}}],
        "scheme": {"kind": "jko", "tau": 0.04},
        "time": {"stop": 0.64, "save": 2},
        "exact": {"kind": "barenblatt"},
    }
    return solve(case_of(table, **changes))


@pytest.mark.parametrize("exponent", [2.0, pytest.param(3.0, marks=pytest.mark.slow), 0.75])
def test_barenblatt_at_order_one_in_the_step(exponent):
    errors = []
    for tau in (0.04, 0.02, 0.01):
        dataset = barenblatt(exponent, scheme__tau=tau)
        assert dataset.attrs["status"] == "completed"
        assert dataset.attrs["mass_error_max"] <= 1e-12
        errors.append(float(dataset["error_w1"][-1]))
    slopes = np.log2(np.array(errors[:-1]) / np.array(errors[1:]))
    assert np.abs(slopes - 1).max() <= 0.15, f"errors {errors}"  # as for the other exact solutions of these steps
    assert errors[-1] <= 0.01


def test_a_crowd_keeps_below_its_bound_and_fills_the_valley():
    """The shipped case: W1 to the exact solution at all times, and the full interval around the exit at the end."""
    case = load_case("congestion").replace({"space.x.cells": 128, "scheme.tau": 0.04})
    dataset = solve(case)
    assert dataset.attrs["status"] == "completed"
    h = 6 / 128
    assert float(dataset["density"].max()) <= 1 + 1e-6  # 1e-8 of the mass, in one cell
    assert float(dataset["error_w1"].max()) <= 0.5 * h
    x, masses = dataset["x"].to_numpy(), (dataset["density"] * dataset["cell_volume"]).to_numpy()[-1]
    edges = np.append(x - h / 2, x[-1] + h / 2)
    patch = np.diff(np.clip(edges, -0.2, 0.8))  # {½(x − 0.3)² < ⅛}
    assert wasserstein1(masses, patch, case.grid().factors[0]) <= 0.1 * h + 0.75 * np.exp(-5.0)  # its mean is still so far away


@pytest.mark.parametrize("largest", [1.0, 2.5])
def test_the_exact_crowd_is_a_projection(largest):
    """Two blocks meet where their mean is, in both orders; one that is thin enough only contracts."""
    levels = np.array([0.0, 0.5, 0.5, 1.0])
    edges = np.linspace(-2.0, 2.0, 401)
    apart = crowd_masses(np.array([-1.5, -1.0, 1.0, 1.5]), levels, largest, edges)
    np.testing.assert_allclose(apart, np.diff(np.interp(edges, [-1.5, -1.0, 1.0, 1.5], levels)), atol=1e-14)
    met = crowd_masses(np.array([-0.1, 0.2, 0.15, 0.3]), levels, largest, edges)
    middle = (0.5 * 0.05 + 0.5 * 0.225) / 1.0
    np.testing.assert_allclose(met, np.diff(np.clip((edges - middle) * largest + 0.5, 0, 1)), atol=1e-14)


def test_the_exact_crowd_knows_no_walls():
    """Around an exit at a wall half of the block would be beyond it."""
    case = load_case("congestion").replace({"space.x.cells": 64, "space.x.bounds": [-3.0, 1.6]})
    inside = case.exact.masses(case.problem(), [0.0, 5.0])
    assert inside.sum(axis=1) == pytest.approx([1.0, 1.0])
    aside = case.replace({"energy.parts.0.terms.x.centre": 1.6})
    aside.exact.masses(aside.problem(), [0.0])
    with pytest.raises(InputError, match="of its mass is beyond the walls at time 5"):
        aside.exact.masses(aside.problem(), [5.0])
    with pytest.raises(InputError, match="beyond the walls"):
        solve(aside)
    repelled = case.replace({"energy.parts.0.terms.x.stiffness": -1e9})
    with pytest.raises(InputError, match="1 of its mass is beyond the walls at time 5"):
        repelled.exact.masses(repelled.problem(), [5.0])


def test_the_exact_crowd_has_no_other_potential():
    case = load_case("congestion").replace({"space.x.cells": 64})
    energy = msgspec.to_builtins(case.energy)
    energy["parts"][0]["polynomial"] = [{"coefficient": 0.1, "powers": {"x": 2}}]
    other = case.replace({"energy": energy})
    with pytest.raises(InputError, match="a quadratic potential alone"):
        other.exact.masses(other.problem(), [0.0])


def test_a_crowd_in_the_plane_fills_a_sublevel_set():
    """V = x²/2 + y²: {V < c} is the ellipse of area 1, c = 1/(π√2); its marginals are semicircles."""
    table = {
        **ORNSTEIN_UHLENBECK,
        "title": "crowd",
        "space": {n: {"kind": "interval", "bounds": [-1.5, 1.5], "cells": 48} for n in ("x", "y")},
        "energy": {
            "kind": "sum",
            "parts": [
                {
                    "kind": "potential",
                    "terms": {"x": {"kind": "quadratic", "stiffness": 1.0}, "y": {"kind": "quadratic", "stiffness": 2.0}},
                },
                {"kind": "internal", "law": {"kind": "congestion", "largest": 1.0}},
            ],
        },
        "initial": [
            {"density": {"x": {"kind": "uniform", "bounds": [-1.25, 0.25]}, "y": {"kind": "uniform", "bounds": [0.0, 1.0]}}}
        ],
        "flow": {},
        "scheme": {"kind": "jko", "tau": 0.2},
        "time": {"stop": 5.0, "save": 2},
        "exact": None,
    }
    case = case_of(table)
    dataset = solve(case)
    assert dataset.attrs["status"] == "completed"
    density, h = dataset["density"].isel(time=-1).transpose("x", "y").to_numpy(), 3 / 48
    assert density.max() <= 1 + 1e-5
    c = 1 / (np.pi * np.sqrt(2))
    for factor, semi in zip(case.grid().factors, (np.sqrt(2 * c), np.sqrt(c)), strict=True):
        share = np.clip(factor.edges / semi, -1, 1)
        exact = np.diff(0.5 + (share * np.sqrt(1 - share**2) + np.arcsin(share)) / np.pi)
        masses = density.sum(axis=1 if factor.name == "x" else 0) * h**2
        assert wasserstein1(masses, exact, factor) <= 0.25 * h  # the mean is at e^(-5) of where it was: 0.003


# -------------------------------------------------------------------------------------------------------- good manners
def test_what_a_bound_or_a_law_does_not_admit_is_refused():
    crowd = load_case("congestion").replace({"space.x.cells": 32, "exact": None})
    with pytest.raises(InputError, match=r"exact Wasserstein(?s:.)*jko"):
        solve(crowd.replace({"scheme": {"kind": "exact-wasserstein", "tau": 0.1}}))
    with pytest.raises(InputError, match="infinite at some densities"):
        solve(crowd.replace({"scheme": {"kind": "finite-volume"}}))
    with pytest.raises(InputError, match=r"remove scheme\.algorithm"):
        solve(crowd.replace({"scheme": {"kind": "jko", "tau": 0.1, "algorithm": "scaling", "bias": "plain"}}))
    with pytest.raises(InputError, match="bounds the density"):
        crowd.problem().energy.particles(crowd.grid().factors)
    with pytest.raises(InputError, match="no room"):
        solve(crowd.replace({"space.x.bounds": [-0.4, 0.4], "initial": [{"density": {"x": {"kind": "uniform"}}}]}))


def test_cells_at_the_edge_of_full_ones_do_not_swing_for_ever():
    """A step of the shipped case, four times as long, in which a cell was full in every other sweep."""
    dataset = solve(
        load_case("congestion").replace(
            {"space.x.cells": 128, "scheme.tau": 0.08, "time.stop": 2.2, "time.save": [0.0, 1.0, 2.2]}
        )
    )
    assert dataset.attrs["status"] == "completed"
    assert float(dataset["error_w1"].max()) <= 6 / 128


def test_a_crowd_that_does_not_converge_is_a_status():
    scheme = {"kind": "jko", "tau": 0.2, "max_iterations": 3}
    dataset = solve(load_case("congestion").replace({"space.x.cells": 64, "scheme": scheme}))
    assert "did not converge in" in dataset.attrs["status"]
    counted = solve(load_case("congestion").replace({"space.x.cells": 64, "scheme": {**scheme, "on_unconverged": "continue"}}))
    assert counted.attrs["status"].startswith("unconverged")
