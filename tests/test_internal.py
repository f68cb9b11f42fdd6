"""Internal energies: laws, their flow by finite volumes and at particles, against Barenblatt's densities and a temperature."""

from itertools import pairwise

import numpy as np
import pytest
from helpers import HEAT_CIRCLE, HEAT_INTERVAL, ORNSTEIN_UHLENBECK, case_of, problem_of
from msgspec import ValidationError, convert

import gridflow
from gridflow.case.case import load_case
from gridflow.energy.base import Evaluation
from gridflow.energy.internal import Entropy, InternalEnergy, Power
from gridflow.energy.potential import PotentialEnergy, Quadratic
from gridflow.energy.sum import SumEnergy
from gridflow.errors import InputError
from gridflow.exact.barenblatt import SelfSimilar
from gridflow.flow.reaction import Reaction
from gridflow.flow.term import Point
from gridflow.particles.integrator import RungeKutta2
from gridflow.scheme.finite_volume.internal_stepper import InternalStepper
from gridflow.scheme.finite_volume.lines import GAMMA
from gridflow.scheme.finite_volume.pressure import Pressure, secants
from gridflow.scheme.finite_volume.scheme import FiniteVolume
from gridflow.space.circle import Circle
from gridflow.space.distances import quantiles_of_cells, quantiles_of_points, wasserstein, wasserstein1
from gridflow.space.grid import Grid
from gridflow.space.labels import Labels
from gridflow.space.line import Grading, Interval
from gridflow.space.mixture import Component, mixture_masses
from gridflow.space.radial import Barenblatt
from gridflow.space.sphere import Sphere

LAWS = [Power(2.0), Power(3.5, 0.4), Power(1.5), Power(0.6, 2.0), Entropy(0.7)]
EXPLICIT = {"scheme__diffusion": "scharfetter-gummel"}
"""Without a temperature all but "implicit" leave the internal energy in ξ."""


def name_of(law):
    return f"{law.exponent:g}"


# ------------------------------------------------------------------------------------------------------------------ laws
@pytest.mark.parametrize("law", LAWS, ids=name_of)
def test_derivatives_of_a_law(law):
    """Central differences, whose error is the third derivative times h²/6, about 1e−8 here."""
    density, h = np.linspace(0.3, 4.0, 20), 1e-4
    slope = (law.value(density + h) - law.value(density - h)) / (2 * h)
    np.testing.assert_allclose(law.derivative(density), slope, rtol=1e-6)
    bend = (law.derivative(density + h) - law.derivative(density - h)) / (2 * h)
    np.testing.assert_allclose(law.second(density), bend, rtol=1e-6)
    assert (law.second(density) > 0).all()  # convex
    np.testing.assert_allclose(law.pressure(density), density * law.derivative(density) - law.value(density), rtol=1e-13)


@pytest.mark.parametrize("law", LAWS, ids=name_of)
def test_a_law_is_finite_at_density_zero(law):
    zero = np.zeros(3)
    assert (law.value(zero) == 0).all()
    assert (law.pressure(zero) == 0).all()
    for numbers in (law.derivative(zero), law.second(zero)):
        assert np.isfinite(numbers).all()


@pytest.mark.parametrize("law", LAWS, ids=name_of)
def test_the_first_variation_is_the_derivative_of_the_value(law, rng):
    grid = Grid([Interval((0.0, 1.0), 6, Grading(0.2, 3.0)).factor("x"), Circle(5).factor("y")])
    bound, mass, move = InternalEnergy(law).bind(grid), rng.random(grid.shape) + 0.2, rng.standard_normal(grid.shape)
    evaluation, h = bound.evaluate(mass), 1e-5
    slope = (bound.evaluate(mass + h * move).value - bound.evaluate(mass - h * move).value) / (2 * h)
    assert np.vdot(evaluation.first_variation, move) == pytest.approx(slope, rel=1e-6)
    assert evaluation.value == pytest.approx(float((grid.volume * law.value(mass / grid.volume)).sum()), rel=1e-14)


def test_an_exponent_that_loses_mass_is_refused():
    factors = [Interval((-1.0, 1.0), 4).factor(name) for name in "xyz"]
    for exponent, dimension in ((0.2, 1), (0.1, 2), (0.4, 3)):
        InternalEnergy(Power(exponent)).bind(Grid(factors[:dimension]))
    with pytest.raises(InputError, match=r"exponent = 0.3 in 3 dimensions(?s:.)*1 − 2/dimension = 0.333"):
        InternalEnergy(Power(0.3)).bind(Grid(factors))
    frozen = Grid(factors, {"z": (None, np.zeros(1))})
    assert InternalEnergy(Power(0.3)).bind(frozen).convex  # two dimensions in which mass moves
    with pytest.raises(ValidationError, match="entropy"):
        convert({"kind": "power", "exponent": 1.0}, Power)


def test_the_law_of_a_sum():
    grid = Grid([Interval((-1.0, 1.0), 8).factor("x")])
    potential, porous, heat = PotentialEnergy({"x": Quadratic()}), InternalEnergy(Power(2.0)), InternalEnergy(Entropy(0.3))
    assert SumEnergy((potential,)).bind(grid).local is None
    one = SumEnergy((potential, porous)).bind(grid)
    assert one.local == Power(2.0)
    both = SumEnergy((porous, heat)).bind(grid)
    assert both.local is not None
    assert both.local.finite
    density = np.linspace(0.1, 2.0, 8)
    for method in ("value", "derivative", "second", "pressure"):
        parts = [getattr(law, method)(density) for law in (Power(2.0), Entropy(0.3))]
        np.testing.assert_allclose(getattr(both.local, method)(density), sum(parts), rtol=1e-14)
    np.testing.assert_allclose(both.evaluate(density * grid.volume).first_variation, both.local.derivative(density), rtol=1e-14)


# ---------------------------------------------------------------------------------------------------- Barenblatt's densities
SPACES = {1: (-4.0, 4.2), 2: (-3.0, 3.3), 3: (-2.0, 2.2)}


def box(dimension, cells):
    lower, upper = SPACES[dimension]
    return Grid([Interval((lower, upper), cells).factor("xyz"[k]) for k in range(dimension)])


@pytest.mark.parametrize(
    ("exponent", "dimension"), [(2.0, 1), (3.0, 1), (2.0, 2), (1.5, 2), pytest.param(2.0, 3, marks=pytest.mark.slow)]
)
def test_a_barenblatt_density_solves_its_equation(exponent, dimension):
    """d/dt ∫|x|² dρ = 2d ∫ρ^m, and d/dt ρ = Δρ^m at cells away from the front: both of second order in the cells."""
    grid, h = box(dimension, {1: 256, 2: 96, 3: 32}[dimension]), 1e-4
    density, before, after = (Barenblatt(exponent, 0.1 + s).masses(grid.factors) / grid.volume for s in (0.0, -h, h))
    assert grid.integrate(density) == pytest.approx(1.0, abs=1e-6)
    square = sum(grid.coordinate(name) ** 2 for name in grid.order)
    growth = grid.integrate((after - before) * square) / (2 * h)
    assert growth == pytest.approx(2 * dimension * grid.integrate(density**exponent), rel=0.02)
    size = float(grid.factors[0].volumes[0])
    bend = sum(np.roll(density**exponent, s, k) for k in range(dimension) for s in (1, -1)) - 2 * dimension * density**exponent
    inside = density > 0.4 * density.max()
    change, bend = (after - before) / (2 * h), bend / size**2
    np.testing.assert_allclose(bend[inside], change[inside], atol=0.02 * np.abs(bend).max())


@pytest.mark.parametrize(("exponent", "dimension"), [(2.0, 1), (0.8, 1), (2.0, 2), (0.8, 2), (3.0, 3)])
def test_points_of_a_barenblatt_density_have_its_moments(exponent, dimension, rng):
    grid = Grid([Interval((-30.0, 30.0), 240, Grading(0.0, 200.0)).factor("xyz"[k]) for k in range(min(dimension, 2))])
    density = Barenblatt(exponent, 0.2, {"x": 0.3})
    factors = grid.factors if dimension < 3 else (*grid.factors, Interval((-30.0, 30.0), 8).factor("z"))
    points = density.points(rng.random((40000, dimension)), factors)
    for k, factor in enumerate(factors[:2]):
        masses = density.marginal(factor, factors).masses(factor)
        drawn = quantiles_of_points(points[:, k], np.full(40000, 1 / 40000), factor)
        w1 = wasserstein(drawn, quantiles_of_cells(masses, factor), 1)
        assert w1 < 0.02  # random points: about N^{−1/2} of the width 1
        assert points[:, k].mean() == pytest.approx(0.3 if factor.name == "x" else 0.0, abs=0.03)


@pytest.mark.parametrize("exponent", [2.0, 4.0, 0.7])
def test_cell_masses_sum_to_the_marginals(exponent):
    """Quadrature across lines against the exact distribution function of the marginal."""
    grid = Grid([Interval((-20.0, 20.0), 64, Grading(0.0, 50.0)).factor(name) for name in "xy"])
    density = Barenblatt(exponent, 0.3, {"x": 0.2, "y": -0.1})
    masses = density.masses(grid.factors)
    for k, factor in enumerate(grid.factors):
        marginal = density.marginal(factor, grid.factors).masses(factor)
        np.testing.assert_allclose(masses.sum(axis=1 - k), marginal, atol=1e-3 * marginal.max())  # the front in a cell


@pytest.mark.parametrize("exponent", [0.9999, 0.999, 1.001, 1.0001, 400.0])
def test_barenblatt_densities_next_to_the_heat_kernel_and_far_from_it(exponent):
    """Their Gamma functions overflow alone; near 1 they are normal densities of the variance 2t, up to |m − 1|."""
    x = Interval((-4.0, 4.0), 400).factor("x")
    masses = Barenblatt(exponent, 0.1).masses((x,))
    assert masses.sum() == pytest.approx(1.0, abs=1e-9)
    assert Barenblatt(exponent, 0.1).profile(2).integral(2) > 0
    if exponent < 2:
        normal = np.exp(-(x.points**2) / 0.4) / np.sqrt(0.4 * np.pi) * x.volumes
        assert np.abs(masses - normal).sum() < 10 * abs(exponent - 1) + 1e-4


def test_a_power_whose_pressure_is_below_all_numbers_stands_still():
    """m = 400 at a density below 0.1: P and its derivative are 0 in the machine, beside a potential too."""
    initial = [{"density": {"x": {"kind": "uniform"}}}]
    for stiffness in (0.0, 0.1):
        case = case_of(barenblatt(400.0, stiffness=stiffness, half=10.0, cells=16, stop=0.1), exact=None, initial=initial)
        dataset = gridflow.solve(case)
        assert dataset.attrs["status"] == "completed"
        if stiffness == 0:
            np.testing.assert_allclose(dataset["density"][-1], dataset["density"][0], rtol=1e-13)


def test_joint_densities_say_what_they_need():
    x, circle, labels = Interval((-1.0, 1.0), 8).factor("x"), Circle(8).factor("c"), Labels([0.0, 1.0]).factor("l")
    for factor in (circle, labels):
        with pytest.raises(InputError, match="intervals"):
            mixture_masses([Component(joint=Barenblatt(2.0, 0.01))], Grid([x, factor]), None, "initial")
    with pytest.raises(InputError, match="along z"):
        Barenblatt(2.0, 0.01, {"z": 1.0}).masses((x,))
    with pytest.raises(InputError, match=r"exponent 0\.2 in 3 dimensions"):
        Barenblatt(0.2, 0.01).profile(3)
    with pytest.raises(InputError, match="4 dimensions"):
        Barenblatt(2.0, 0.01).points(np.full((1, 4), 0.5), tuple(Interval((-1.0, 1.0), 8).factor(name) for name in "abcd"))
    with pytest.raises(ValidationError, match="joint"):
        convert({"joint": {"kind": "barenblatt", "exponent": 2.0, "time": 1.0}, "file": "a.nc"}, Component)


# ------------------------------------------------------------------------------------------------- cases for finite volumes
def barenblatt(exponent=2.0, dimension=1, cells=64, time=0.1, stop=0.4, stiffness=0.0, centre=0.0, half=2.5, amplitude=1.0):
    """Barenblatt's density, free or in a quadratic potential around 0."""
    names = "xyz"[:dimension]
    parts = [{"kind": "internal", "law": {"kind": "power", "exponent": exponent, "amplitude": amplitude}}]
    if stiffness > 0:
        terms = {name: {"kind": "quadratic", "stiffness": stiffness} for name in names}
        parts.append({"kind": "potential", "terms": terms})
    return {
        "title": "Barenblatt",
        "space": {name: {"kind": "interval", "bounds": [-half, half + 0.1], "cells": cells} for name in names},
        "energy": parts[0] if len(parts) == 1 else {"kind": "sum", "parts": parts},
        "initial": [{"joint": {"kind": "barenblatt", "exponent": exponent, "time": time, "centre": {"x": centre}}}],
        "scheme": {"kind": "finite-volume"},
        "time": {"stop": stop, "save": 3},
        "exact": {"kind": "barenblatt"},
    }


def errors(case):
    """(L1, largest W1 of a marginal) at the end."""
    problem = case.problem()
    found = gridflow.solve(case)["density"][-1].to_numpy() * problem.grid.volume
    exact = case.exact.solution(problem)(case.time.stop)
    axes = range(found.ndim)
    marginals = [[m.sum(axis=tuple(a for a in axes if a != k)) for m in (found, exact)] for k in axes]
    return np.abs(found - exact).sum(), max(wasserstein1(*m, f) for m, f in zip(marginals, problem.grid.factors, strict=True))


ORDERS = {
    "porous": (barenblatt(), (64, 128, 256)),
    "porous, confined": (barenblatt(stiffness=1.0, centre=0.5, time=0.05, stop=1.0), (64, 128, 256)),
    "porous, plane": (barenblatt(dimension=2), (32, 64, 128)),
    "porous, plane, confined": (barenblatt(dimension=2, stiffness=1.0, centre=0.5, time=0.05, half=2.0), (32, 64, 128)),
    "fast": (load_case("fast-diffusion"), (64, 128, 256)),
}


def observed_orders(case, cells, **changes):
    """Slopes of the last refinement, and the errors there. A case as a table or as it is shipped."""
    table = case if isinstance(case, dict) else None
    case = case_of(table, **changes) if table else case.replace({key.replace("__", "."): v for key, v in changes.items()})
    found = [errors(case.replace({f"space.{name}.cells": n for name in case.space})) for n in cells]
    slopes = [np.log2(np.array(a) / np.array(b)) for a, b in pairwise(found)]
    return np.mean(slopes, axis=0), found[-1]


@pytest.mark.parametrize("name", ORDERS)
def test_order_of_implicit_steps(name):
    """L1 at least of order 1, which a front allows (ρ is Lipschitz there: about 2); W1 of order 2."""
    slopes, (l1, w1) = observed_orders(*ORDERS[name])
    assert slopes[0] >= 1.0, (slopes, l1)
    assert slopes[1] >= 1.8, (slopes, w1)
    assert w1 < 1e-3


def test_order_of_explicit_steps():
    slopes, (l1, w1) = observed_orders(barenblatt(), (64, 128, 256), **EXPLICIT)
    assert slopes[0] >= 1.0, (slopes, l1)
    assert slopes[1] >= 1.8, (slopes, w1)
    assert w1 < 1e-3


def test_order_at_a_steep_front():
    """m = 3: ρ falls like the root of the distance to the front, for which L1 is of order 1.5."""
    slopes, (l1, w1) = observed_orders(barenblatt(3.0, half=2.0), (64, 128, 256))
    assert slopes[0] >= 1.0, (slopes, l1)
    assert slopes[1] >= 1.3, (slopes, w1)
    assert w1 < 1e-3


@pytest.mark.parametrize("amplitude", [0.25, 4.0])
def test_an_amplitude_is_a_speed(amplitude):
    """aΔρ^m for the time t/a: the same density at the end, by the same steps."""
    one, other = (case_of(barenblatt(amplitude=a, stop=0.4 / a)) for a in (1.0, amplitude))
    found = [gridflow.solve(case)["density"][-1].to_numpy() for case in (one, other)]
    np.testing.assert_allclose(found[1], found[0], atol=1e-9)


# -------------------------------------------------------------------------------------------------------------- invariants
@pytest.mark.parametrize("scheme", ["implicit", "scharfetter-gummel"])
@pytest.mark.parametrize("stiffness", [0.0, 1.0], ids=["free", "confined"])
@pytest.mark.parametrize("law", [Power(2.0), Power(3.5), Power(1.5)], ids=name_of)
def test_mass_positivity_and_energy(law, stiffness, scheme):
    """From two separate uniform bumps, whose edges are jumps, around a point of the valley: every step keeps what it must."""
    case = case_of(barenblatt(stiffness=stiffness, half=3.0), exact=None, scheme__diffusion=scheme, time__stop=0.3)
    bumps = [{"density": {"x": {"kind": "uniform", "bounds": b}}} for b in ([-1.5, -0.7], [0.2, 0.6])]
    table = {"kind": "power", "exponent": law.exponent}
    key = "energy.parts" if stiffness else "energy.law"
    parts = [{"kind": "internal", "law": table}, {"kind": "potential", "terms": {"x": {"kind": "quadratic"}}}]
    dataset = gridflow.solve(case.replace({"initial": bumps, key: parts if stiffness else table}))
    assert dataset.attrs["status"] == "completed"
    assert dataset.attrs["energy_decreases"].startswith("guaranteed")
    assert dataset.attrs["energy_rise_max"] <= dataset.attrs["energy_roundoff"] <= 1e-13
    assert dataset.attrs["mass_error_max"] <= 1e-12
    assert float(dataset["density_min"].min()) >= 0


@pytest.mark.parametrize("diffusion", ["implicit", "scharfetter-gummel"])
def test_a_compact_support_stays_compact(diffusion):
    """m = 2: 1e−6 of the mass, far less than a cell holds at the front, is at most two cells beyond it."""
    case = case_of(barenblatt(cells=128), scheme__diffusion=diffusion)
    dataset, factor = gridflow.solve(case), case.grid().factors[0]
    for time in (0.2, 0.4):
        front = Barenblatt(2.0, 0.1 + time).profile(1).radius
        masses = dataset["density"].sel(time=time).to_numpy() * factor.volumes
        beyond = np.abs(factor.points) > front + 2.5 * factor.cell_width
        assert masses[beyond].sum() < 1e-6
        assert masses[np.abs(factor.points) > front - 3 * factor.cell_width].sum() > 1e-4  # and it is reached


@pytest.mark.parametrize("exponent", [0.6, 0.75])
def test_a_potential_drives_cells_that_are_empty(exponent):
    """U' is −1e60 there: the rest of ξ is that of the other parts, in all its digits, and empty cells feel V."""
    initial = [{"density": {"x": {"kind": "uniform", "bounds": [-0.5, 0.5]}}}]
    problem = case_of(barenblatt(exponent, stiffness=2.0), exact=None, initial=initial).problem()
    stepper = FiniteVolume().init(problem)
    assert isinstance(stepper, InternalStepper)
    density = problem.start / problem.grid.volume
    found, plain = stepper.drive.evaluate(density), problem.evaluate(density)
    assert found.value == plain.value
    np.testing.assert_array_equal(found.first_variation, plain.first_variation)
    np.testing.assert_allclose(found.potential, problem.grid.coordinate("x") ** 2, rtol=1e-14)
    alone = case_of(barenblatt(exponent), exact=None, initial=initial).problem()
    assert not FiniteVolume().init(alone).drive.evaluate(density).potential.any()


def test_fast_diffusion_fills_empty_cells_at_once():
    """m < 1: from a uniform density on a part of the box, with empty cells at the start."""
    initial = [{"density": {"x": {"kind": "uniform", "bounds": [-0.5, 0.5]}}}]
    case = case_of(barenblatt(0.75, half=5.0), exact=None, initial=initial, time__stop=0.2)
    dataset = gridflow.solve(case)
    assert dataset.attrs["status"] == "completed"
    assert float(dataset["density"][-1].min()) > 1e-6
    assert dataset.attrs["energy_rise_max"] <= dataset.attrs["energy_roundoff"]
    assert float(dataset["steps"][-1]) < 500


@pytest.mark.parametrize("stiffness", [0.0, 1.0], ids=["free", "confined"])
def test_the_energy_falls_by_the_dissipation(stiffness):
    """E(0) − E(T) = ∫ D dt by Simpson's rule over the saves, for the flow discrete in space: what remains is the error in time,
    and falls with the steps, which are proportional to the cells."""
    gaps = []
    for cells in (32, 64, 128):
        case = case_of(barenblatt(cells=cells, stiffness=stiffness, centre=0.3 * stiffness), time__save=81)
        dataset = gridflow.solve(case)
        energy, rate, time = (dataset[name].to_numpy() for name in ("energy", "dissipation", "time"))
        weights = np.where(np.arange(81) % 2 == 1, 4.0, 2.0)
        weights[[0, -1]] = 1.0
        gaps.append(abs(energy[0] - energy[-1] - rate @ weights * (time[1] - time[0]) / 3) / (energy[0] - energy[-1]))
    assert max(gaps) < 1e-4, gaps
    assert gaps[-1] < 0.6 * gaps[0], gaps


def test_a_confined_density_comes_to_rest():
    """s_∞ = a/(βκ) (`SelfSimilar`): long steps at the end, no rise of the energy, and ξ is constant where there is mass."""
    case = case_of(barenblatt(stiffness=1.0, centre=0.5, half=2.0), time__stop=30.0)
    problem, dataset = case.problem(), gridflow.solve(case)
    assert dataset.attrs["energy_rise_max"] <= dataset.attrs["energy_roundoff"]
    density = dataset["density"][-1].to_numpy()
    xi = problem.bound.evaluate(density * problem.grid.volume).first_variation
    inside = density > 0.05 * density.max()
    assert np.ptp(xi[inside]) < 1e-3
    rest = Barenblatt(2.0, 1 / 3).masses(problem.grid.factors)
    assert np.abs(density * problem.grid.volume - rest).sum() < 5e-3


RESTS = {
    "double well": ([{"kind": "potential", "terms": {"x": {"kind": "double-well", "height": 0.5}}}], 0.5),
    "steep wells": ([{"kind": "potential", "terms": {"x": {"kind": "double-well", "height": 5.0}}}], 0.05),
    "attraction": ([{"kind": "interaction", "kernel": {"kind": "gaussian", "bandwidth": 0.5}, "amplitude": -1.0}], 0.5),
}
"""Other parts of an energy, and the amplitude of ρ² beside them: a drift as fast as the diffusion, much faster, and nonlinear."""


@pytest.mark.parametrize("name", RESTS)
def test_implicit_and_explicit_steps_find_one_flow(name):
    """Both are of second order in the cells, by different fluxes: their moments, and their energies at the end."""
    parts, amplitude = RESTS[name]
    law = {"kind": "internal", "law": {"kind": "power", "exponent": 2.0, "amplitude": amplitude}}
    start = [{"density": {"x": {"kind": "normal", "mean": 0.5, "deviation": 0.4}}}]
    case = case_of({**barenblatt(stiffness=1.0, half=3.0), "initial": start}, exact=None, energy__parts=[law, *parts])
    one, two = (gridflow.solve(case.replace({"scheme.diffusion": kind})) for kind in ("implicit", "scharfetter-gummel"))
    x, volume = one["x"].to_numpy(), one["cell_volume"].to_numpy()
    for power in (1, 2):
        moments = [float(d["density"][-1].to_numpy() @ (volume * x**power)) for d in (one, two)]
        assert moments[0] == pytest.approx(moments[1], abs=5e-3)
    assert float(one["energy"][-1]) == pytest.approx(float(two["energy"][-1]), abs=2e-3)
    assert (np.diff(one["energy"]) < 0).all()


# ------------------------------------------------------------------------------------------------- entropy and temperature
@pytest.mark.parametrize("table", [HEAT_INTERVAL, HEAT_CIRCLE], ids=["interval", "circle"])
def test_entropy_is_a_temperature(table):
    """The same flow: P = Dρ has the secant D, so that the lines are those of a temperature, and the steps as long."""
    warm = case_of(table)
    law = {"kind": "entropy", "amplitude": warm.flow.temperature}
    internal = warm.replace({"energy": {"kind": "internal", "law": law}, "flow.temperature": 0.0, "exact": None})
    one, two = (gridflow.solve(case) for case in (warm, internal))
    np.testing.assert_allclose(two["density"], one["density"], rtol=1e-10)
    volume, density = one["cell_volume"].to_numpy(), two["density"].to_numpy()
    np.testing.assert_allclose(
        two["energy"], warm.flow.temperature * (volume * density * np.log(density)).sum(axis=1), rtol=1e-12
    )


def in_a_well(law, **flow):
    """An internal energy in a quadratic potential, from a normal density beside its centre."""
    parts = [{"kind": "internal", "law": law}, {"kind": "potential", "terms": {"x": {"kind": "quadratic"}}}]
    start = [{"density": {"x": {"kind": "normal", "mean": -0.8, "deviation": 0.5}}}]
    space = {"x": {"kind": "interval", "bounds": [-4.0, 4.0], "cells": 64}}
    return case_of({**warm_line(), "space": space, "energy": {"kind": "sum", "parts": parts}, "initial": start, "flow": flow})


def warm_line():
    return {k: ORNSTEIN_UHLENBECK[k] for k in ("title", "scheme", "time")}


def test_a_temperature_beside_an_entropy_adds_to_it():
    """Dρ log ρ is one more law: 0.2 and 0.1 are 0.3, with the same steps, to round-off."""
    one = gridflow.solve(in_a_well({"kind": "entropy", "amplitude": 0.3}))
    two = gridflow.solve(in_a_well({"kind": "entropy", "amplitude": 0.2}, temperature=0.1))
    for name in ("density", "energy", "dissipation", "steps"):
        np.testing.assert_allclose(two[name], one[name], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("flow", [{"temperature": 0.3}, {"temperature": 0.3, "annealing": {"kind": "power", "time": 0.3}}])
@pytest.mark.parametrize("exponent", [0.75, 2.0])
def test_a_temperature_beside_a_power_is_implicit(exponent, flow):
    """The density of the explicit fluxes, which err by h² too, 3e−4; F falls in every step."""
    case = in_a_well({"kind": "power", "exponent": exponent}, **flow)
    cells = {"space.x.cells": 128}
    found, other = (
        gridflow.solve(case.replace(cells)),
        gridflow.solve(case.replace({**cells, "scheme.diffusion": "scharfetter-gummel"})),
    )
    assert float(np.abs(found["density"][-1] - other["density"][-1]).sum()) * 8 / 128 < 2e-3
    assert isinstance(case.scheme.init(case.problem()), InternalStepper)
    assert found.attrs["energy_rise_max"] <= found.attrs["energy_roundoff"]
    assert "not claimed" not in found.attrs["energy_decreases"]


def test_the_dissipation_of_a_power_and_a_temperature_is_the_rate_of_the_free_energy():
    """At a save in the middle, against the difference of F around it: to its second order."""
    dataset = gridflow.solve(
        in_a_well({"kind": "power", "exponent": 2.0}, temperature=0.3).replace({"time.stop": 0.2, "time.save": 41})
    )
    energy, time = dataset["energy"].to_numpy(), dataset["time"].to_numpy()
    rate = -(energy[21] - energy[19]) / (time[21] - time[19])
    assert float(dataset["dissipation"][20]) == pytest.approx(rate, rel=2e-3)


def test_entropy_in_a_potential_is_a_temperature():
    """Ornstein and Uhlenbeck: fluxes of other kinds, central and exponentially fitted, both of order 2."""
    gaps = []
    for cells in (32, 64, 128):
        warm = case_of(ORNSTEIN_UHLENBECK, space__x__cells=cells)
        law = {"kind": "entropy", "amplitude": warm.flow.temperature}
        parts = [{"kind": "internal", "law": law}, ORNSTEIN_UHLENBECK["energy"]]
        internal = warm.replace({"energy": {"kind": "sum", "parts": parts}, "flow.temperature": 0.0, "exact": None})
        one, two = (gridflow.solve(case) for case in (warm, internal))
        gaps.append(float(np.abs((one["density"] - two["density"])[-1] * one["cell_volume"]).sum()))
    assert gaps[-1] < 2e-3, gaps
    assert gaps[-1] < gaps[0] / 10, gaps


def test_entropy_on_a_sphere_is_explicit():
    """A surface has no lines: ξ = U'(ρ) drives the sweep. A harmonic decays by its eigenvalue 2."""
    initial = [{"density": {"b": {"kind": "harmonic", "amplitude": 0.5, "degree": 1}}}]
    table = {
        "title": "sphere",
        "space": {"b": {"kind": "sphere", "level": 2}},
        "energy": {"kind": "internal", "law": {"kind": "entropy", "amplitude": 0.25}},
        "initial": initial,
        "scheme": {"kind": "finite-volume"},
        "time": {"stop": 1.0, "save": 2},
    }
    case = case_of(table)
    assert not isinstance(case.scheme.init(case.problem()), InternalStepper)
    dataset = gridflow.solve(case)
    z = dataset["b_points"].to_numpy()[:, 2]
    mean = (dataset["density"] * dataset["cell_volume"]).to_numpy() @ z
    assert mean[-1] / mean[0] == pytest.approx(np.exp(-0.5), rel=1e-2)  # 162 cells, second order


# ------------------------------------------------------------------------------------------------------------ one step of it
def resting(rest):
    """Evaluations whose drive does not depend on the density."""
    return lambda density: Evaluation(0.0, rest, 0.0, drive=rest)


@pytest.mark.parametrize("law", [Power(2.0), Power(0.6), Entropy(0.5)], ids=name_of)
@pytest.mark.parametrize("factor", [Interval((-1.0, 2.0), 9, Grading(0.3, 4.0)), Circle(9)], ids=["interval", "circle"])
@pytest.mark.parametrize("strength", [0.0, 1.0, 30.0], ids=["still", "central", "fitted"])
def test_one_step_is_the_method(law, factor, strength, rng):
    """Against dense algebra with the fluxes of a loop over the faces."""
    line = factor.factor("x")
    grid, density, rest, time = Grid([line]), rng.random(9) + 0.1, strength * rng.random(9), 1e-3

    def generator(rho):
        matrix = np.zeros((9, 9))
        for left, right, rate in zip(*line.faces, strict=True):
            fall, drop = law.pressure(rho[left]) - law.pressure(rho[right]), rest[left] - rest[right]
            mean = fall / (law.derivative(rho[left]) - law.derivative(rho[right]))
            for a, b, sign in ((left, right, 1.0), (right, left, -1.0)):
                central = fall / (rho[left] - rho[right]) + sign * drop * mean / (rho[left] + rho[right])
                other = fall / (rho[left] - rho[right]) - sign * drop * mean / (rho[left] + rho[right])
                fitted = (law.derivative(rho[left]) - law.derivative(rho[right])) / np.log(rho[left] / rho[right])
                share = central if min(central, other) >= 0 else -sign * drop / np.expm1(-sign * drop / fitted)
                matrix[b, a] += rate * share / line.volumes[a]
                matrix[a, a] -= rate * share / line.volumes[a]
        return matrix

    one = np.eye(9)
    middle = np.linalg.solve(one - time / 2 * generator(density), density * line.volumes) / line.volumes
    matrix = generator(middle)
    resolvent = np.linalg.inv(one - GAMMA * time * matrix)
    expected = resolvent @ resolvent @ (one + (1 - 2 * GAMMA) * time * matrix) @ (density * line.volumes) / line.volumes
    pressure = Pressure(grid, law)
    np.testing.assert_allclose(pressure.step(Point(density, resting(rest)), time), expected, rtol=1e-11)
    if strength == 0:
        np.testing.assert_allclose(pressure.spread(density, time), expected, rtol=1e-11)


@pytest.mark.parametrize("law", LAWS, ids=name_of)
def test_fluxes_vanish_where_the_first_variation_is_constant(law, rng):
    """ξ = U'(ρ) + η = const, on cells whose drift is no faster than their diffusion."""
    grid = Grid([Interval((0.0, 1.0), 12).factor("x"), Circle(8).factor("y")])
    density = 1 + 0.3 * rng.random(grid.shape)
    pressure, rest = Pressure(grid, law), 2.0 - law.derivative(density)
    for time in (1e-3, 10.0):
        np.testing.assert_allclose(pressure.step(Point(density, resting(rest)), time), density, rtol=1e-10)
    assert pressure.peclet(density, rest) == pytest.approx(1.0, rel=0.1)
    assert pressure.peclet(density, 3 * rest) == pytest.approx(3 * pressure.peclet(density, rest))
    assert pressure.peclet(density, 0 * rest) == 0.0
    assert abs(pressure.falls(density, Evaluation(0.0, rest + law.derivative(density), 0.0, drive=rest))) < 1e-20


@pytest.mark.parametrize("ratio", [10.0, 100.0, 1000.0])
@pytest.mark.parametrize("law", LAWS, ids=name_of)
def test_fluxes_vanish_however_much_neighbours_differ(law, ratio, rng):
    """The same between cells whose densities differ by factors, up and down, beside all that flows between them in both ways."""
    grid = Grid([Interval((0.0, 1.0), 12).factor("x"), Circle(8).factor("y")])
    density = ratio ** ((np.indices(grid.shape).sum(axis=0) % 2) + 0.1 * rng.random(grid.shape)) / ratio
    pressure, rest = Pressure(grid, law), 2.0 - law.derivative(density)
    for axis in range(2):
        ahead, back = pressure.shares(axis, density, law.pressure(density), rest)
        gives, takes = ahead * np.roll(density, 1, axis), back * density
        assert (ahead >= 0).all()
        assert (back >= 0).all()
        inside = gives[1:] if axis == 0 else gives
        assert (np.abs(gives - takes) <= 1e-12 * np.maximum(gives, takes)).all()
        assert inside.min() > 0
    np.testing.assert_allclose(pressure.step(Point(density, resting(rest)), 1e-3), density, rtol=1e-9)


def test_a_stiff_well_comes_to_rest():
    """Neighbours that differ by factors in the tails: long steps to the end, at the density of the temperature."""
    well = {"kind": "potential", "terms": {"x": {"kind": "quadratic", "stiffness": 4.7, "centre": 0.4}}}
    warm = case_of(
        {
            **ORNSTEIN_UHLENBECK,
            "space": {"x": {"kind": "interval", "bounds": [-3.0, 3.1], "cells": 40}},
            "energy": well,
            "initial": [{"density": {"x": {"kind": "normal", "mean": 0.3, "deviation": 0.4}}}],
            "time": {"stop": 10.0, "save": 3, "max_steps": 2000},
        }
    )
    parts = [{"kind": "internal", "law": {"kind": "entropy", "amplitude": 0.3}}, well]
    internal = warm.replace({"energy": {"kind": "sum", "parts": parts}, "flow.temperature": 0.0, "exact": None})
    one, two = (gridflow.solve(case) for case in (warm, internal))
    assert two.attrs["status"] == "completed"
    assert two.attrs["energy_rise_max"] <= two.attrs["energy_roundoff"]
    np.testing.assert_allclose(two["density"][-1], one["density"][-1], atol=1e-6)


@pytest.mark.parametrize("law", LAWS, ids=name_of)
def test_compiled_rates_are_those_of_the_formula(law, rng):
    """Along both factors of a product, with mobilities, empty and equal cells, and drifts on both sides of the diffusion."""
    factors = [Interval((0.0, 1.0), 7, Grading(0.2, 3.0)).factor("x"), Circle(6).factor("y"), Labels([1.0, 2.0]).factor("l")]
    grid = Grid(factors, {"x": ("l", np.array([1.0, 3.0]))})
    density, rest = np.maximum(rng.random(grid.shape) - 0.3, 0.0), 3 * rng.random(grid.shape) ** 4
    density[0, :2] = 0.4
    pressure = Pressure(grid, law)
    for axis, drift in pressure.fluxes(density, rest).items():
        ahead, back = pressure.shares(axis, density, law.pressure(density), rest)
        inverse = grid.along(axis, 1 / grid.factors[axis].volumes)
        expected = np.roll(pressure.faces[axis] * ahead, -1, axis) * inverse, pressure.faces[axis] * back * inverse
        np.testing.assert_allclose(drift.field.reshape(2, *grid.shape), expected, rtol=1e-11, atol=1e-300)


@pytest.mark.parametrize("law", LAWS, ids=name_of)
def test_secants_of_close_and_of_equal_densities(law):
    density = np.array([0.7, 0.7, 0.7 * (1 + 1e-9), 0.7 * (1 + 3e-5), 0.2])
    found, mean, fitted = secants(law, density, law.pressure(density), 0)
    np.testing.assert_allclose(found[1:4], 0.7 * law.second(np.full(3, 0.7)), rtol=1e-4)
    assert found[4] == pytest.approx((law.pressure(density[4]) - law.pressure(density[3])) / (density[4] - density[3]), rel=1e-12)
    np.testing.assert_allclose(mean[1:4], 0.7, rtol=1e-4)
    assert min(density[3:]) < mean[4] < max(density[3:])
    np.testing.assert_allclose(fitted[1:4], found[1:4], rtol=1e-4)
    rise = law.derivative(density[4]) - law.derivative(density[3])
    assert fitted[4] == pytest.approx(rise / np.log(density[4] / density[3]), rel=1e-12)


@pytest.mark.parametrize("law", [Power(2.0), Power(3.5), Power(0.6)], ids=name_of)
def test_steps_of_first_order_lower_the_energy_however_long(law, rng):
    grid = Grid([Interval((0.0, 1.0), 12).factor("x"), Circle(8).factor("y")], {"x": (None, np.array([3.0]))})
    pressure, bound, density = Pressure(grid, law), InternalEnergy(law).bind(grid), rng.random(grid.shape)
    before = bound.evaluate(density * grid.volume).value
    for time in (1e-4, 1e-2, 1.0, 100.0):
        after = pressure.spread_first(density, time)
        assert after.min() >= 0
        assert grid.integrate(after) == pytest.approx(grid.integrate(density), rel=1e-13)
        assert bound.evaluate(after * grid.volume).value < before


@pytest.mark.parametrize("strength", [0.0, 1.0], ids=["still", "drift"])
def test_the_order_in_time_is_two(strength):
    """Against 256 steps on one grid: the error of the middle of the step and of the palindrome; η depends on the density."""
    grid = Grid([Interval((-1.0, 1.0), 24).factor("x"), Interval((-1.0, 1.0), 20).factor("y")])
    x, y = grid.coordinate("x"), grid.coordinate("y")
    start, pressure = 1 + 0.5 * np.sin(2 * x + y) * np.cos(x - y), Pressure(grid, Power(2.0))

    def evaluate(density):
        rest = strength * (np.cos(x + y) + 0.5 * y) * grid.integrate(density * (x - y) ** 2)
        return Evaluation(0.0, rest, 0.0, drive=rest)

    def after(steps):
        density = start
        for _ in range(steps):
            density = pressure.step(Point(density, evaluate), 0.05 / steps)
        return density

    exact = after(256)
    found = [np.abs(after(steps) - exact).max() for steps in (8, 16, 32)]
    slopes = [np.log2(a / b) for a, b in pairwise(found)]
    assert np.abs(np.array(slopes) - 2.0).max() <= 0.1, (slopes, found)


def test_what_finite_volumes_do_not_know():
    class Hard:
        finite = False
        value = derivative = second = pressure = staticmethod(np.zeros_like)

    grid = Grid([Interval((-1.0, 1.0), 8).factor("x")])
    bound = InternalEnergy(Power(2.0)).bind(grid)
    hard = type(bound)(grid.volume, Hard())
    with pytest.raises(InputError, match=r"infinite at some densities(?s:.)*jko"):
        FiniteVolume().init(problem_of(grid, hard))
    assert isinstance(FiniteVolume().init(problem_of(grid, bound)), InternalStepper)
    assert not isinstance(FiniteVolume(diffusion="scharfetter-gummel").init(problem_of(grid, bound)), InternalStepper)
    assert isinstance(FiniteVolume().init(problem_of(grid, bound, temperature=0.1)), InternalStepper)
    assert not isinstance(FiniteVolume().init(problem_of(grid, bound, reaction=Reaction(1.0))), InternalStepper)


# ------------------------------------------------------------------------------------------------------- exact and particles
@pytest.mark.parametrize(
    "change",
    [
        {"flow.temperature": 0.1},
        {"flow.mobility": {"x": {"value": 2.0}}},
        {"energy.law.exponent": 3.0},
        {"initial": [{"density": {"x": {"kind": "normal", "mean": 0.0, "deviation": 0.1}}}]},
        {"energy": {"kind": "potential"}},
    ],
)
def test_the_exact_solution_says_what_it_needs(change):
    case = case_of(barenblatt()).replace(change)
    with pytest.raises(InputError, match="exact solution"):
        case.exact.masses(case.problem(), [0.0])


def test_the_exact_solution_in_a_potential_of_another_kind():
    case = case_of(barenblatt(stiffness=1.0, dimension=2))
    for terms in ({"x": {"kind": "quadratic"}}, {"x": {"kind": "quadratic"}, "y": {"kind": "quadratic", "stiffness": 2.0}}):
        parts = [{"kind": "internal", "law": {"kind": "power", "exponent": 2.0}}, {"kind": "potential", "terms": terms}]
        other = case.replace({"energy.parts": parts})
        with pytest.raises(InputError, match="one stiffness along every factor"):
            other.exact.masses(other.problem(), [0.0])


def test_the_exact_solution_in_a_potential_that_has_more_than_terms():
    case = case_of(barenblatt(stiffness=1.0))
    polynomial = [{"coefficient": 0.1, "powers": {"x": 4}}]
    target = [{"density": {"x": {"kind": "normal", "mean": 0.0, "deviation": 0.5}}}]
    for more in ({"polynomial": polynomial}, {"target": target}):
        potential = {"kind": "potential", "terms": {"x": {"kind": "quadratic"}}, **more}
        parts = [{"kind": "internal", "law": {"kind": "power", "exponent": 2.0}}, potential]
        other = case.replace({"energy.parts": parts})
        with pytest.raises(InputError, match="nothing beside them"):
            other.exact.masses(other.problem(), [0.0])


@pytest.mark.parametrize("exponent", [2.0, 0.75])
def test_the_exact_solution_knows_no_walls(exponent):
    """It is refused before the run where mass is beyond them at a save, and at such a time alone."""
    case = case_of(barenblatt(exponent, half=2.0 if exponent > 1 else 20.0, dimension=2 if exponent > 1 else 1, stop=300.0))
    at = case.exact.solution(case.problem())
    assert at(0.1).sum() == pytest.approx(1.0)
    for refused in (lambda: at(300.0), lambda: gridflow.solve(case)):
        with pytest.raises(InputError, match=r"of its mass is beyond the walls at time \d+"):
            refused()


def test_the_confined_exact_solution_relaxes_at_its_rates():
    """Its centre like e^{−κt}, its time like e^{−βκt}, from the moments of its masses."""
    case = case_of(barenblatt(stiffness=0.7, centre=0.4, cells=256, half=3.0))
    at, x = SelfSimilar().solution(case.problem()), case.grid().factors[0].points
    for time in (0.0, 0.5, 2.0):
        masses = at(time)
        mean = masses @ x
        assert mean == pytest.approx(0.4 * np.exp(-0.7 * time), abs=1e-6)
        s = 1 / 2.1 + (0.1 - 1 / 2.1) * np.exp(-2.1 * time)
        radius = Barenblatt(2.0, s).profile(1).radius
        assert masses @ (x - mean) ** 2 == pytest.approx(radius**2 / 5, rel=1e-3)  # of a parabola


FACTORS = (Interval((-3.0, 3.0), 8).factor("x"), Circle(8, length=5.0).factor("y"))


@pytest.mark.parametrize("law", [Power(2.0), Power(3.0, 0.7), Power(1.3), Entropy(1.3)], ids=name_of)
def test_the_gradient_of_blobs_is_that_of_their_energy(law, rng):
    energy = InternalEnergy(law, 2.0).particles(FACTORS)
    points, weights, h = rng.normal(size=(9, 2)), rng.random(9) + 0.5, 1e-5
    weights /= weights.sum()
    found = energy.evaluate(points, weights)
    for i in range(9):
        for k in range(2):
            move = np.zeros((9, 2))
            move[i, k] = h
            slope = (energy.evaluate(points + move, weights).value - energy.evaluate(points - move, weights).value) / (2 * h)
            assert found.gradient[i, k] == pytest.approx(slope / weights[i], rel=1e-5, abs=1e-7)


def test_the_first_variation_of_blobs_is_the_derivative_in_a_weight(rng):
    """Moved between two particles; the number of particles, which sets ε, stays, and those of weight 0 do not count."""
    energy = InternalEnergy(Power(3.0), 2.0).particles(FACTORS)
    points, weights, h = rng.normal(size=(8, 2)), np.full(8, 1 / 8), 1e-6
    move = np.zeros(8)
    move[[2, 5]] = h, -h
    slope = (energy.evaluate(points, weights + move).value - energy.evaluate(points, weights - move).value) / (2 * h)
    xi = energy.evaluate(points, weights).first_variation
    assert xi[2] - xi[5] == pytest.approx(slope, rel=1e-5)
    probed = energy.evaluate(np.vstack([points, points + 0.1]), np.concatenate([weights, np.zeros(8)]))
    assert probed.value == energy.evaluate(points, weights).value


def test_blobs_move_as_the_density_does():
    """W1 to the exact density: ε² = 4/N of the size of the solution, and less with more particles."""
    case = case_of(barenblatt(), energy__blob=2.0)
    factor, exact = case.grid().factors[0], case.exact.solution(case.problem())(0.4)
    gaps = []
    for count in (128, 512):
        run = gridflow.simulate(case, count, seed=3, sampling="sobol", integrator=RungeKutta2(0.01), times=[0.0, 0.4])
        places = quantiles_of_points(run.points[-1][:, 0], run.weights, factor)
        gaps.append(wasserstein(places, quantiles_of_cells(exact, factor), 1))
    assert gaps[0] < 0.015
    assert gaps[1] < gaps[0] / 2


def test_internal_energies_without_particles_say_so():
    with pytest.raises(InputError, match=r"exponent 0\.75(?s:.)*at least 1"):
        gridflow.simulate(load_case("fast-diffusion"), 8, integrator=RungeKutta2(0.1))
    for other in (Labels([0.0, 1.0]).factor("l"), Sphere(0).factor("b")):
        with pytest.raises(InputError, match="intervals and circles"):
            InternalEnergy(Power(2.0)).particles((other,))


def test_labels_with_exact_masses_need_products():
    from gridflow.particles.cloud import draw_cloud

    labels, x = Labels([0.0, 1.0]).factor("l"), Interval((-1.0, 1.0), 8).factor("x")
    with pytest.raises(InputError, match="joint density"):
        draw_cloud([Component(joint=Barenblatt(2.0, 0.01))], (labels, x), 8, 0, "random", "l")
