"""Sliding along kinks of ξ: that mass slides where it was pinned, and what the viscosity leaves alone."""

from dataclasses import replace

import numpy as np
import pytest
from helpers import QUADRATIC, Linear, case_of, problem_of
from test_solver import InterruptAt

from gridflow.case.case import Case, Time, load_case
from gridflow.energy.potential import Potential
from gridflow.errors import InputError
from gridflow.flow.term import Point, half_steps
from gridflow.scheme.finite_volume import stepper
from gridflow.scheme.finite_volume.scheme import FiniteVolume
from gridflow.scheme.finite_volume.sliding import Sliding, Viscosity
from gridflow.scheme.finite_volume.stages import HEUN
from gridflow.solver import solve
from gridflow.space.circle import Circle
from gridflow.space.densities import Normal
from gridflow.space.grid import Grid
from gridflow.space.labels import Labels
from gridflow.space.line import Grading, Interval
from gridflow.space.mixture import Component
from gridflow.space.sphere import Sphere
from validation.valley import Valley

STOP, SLOPE = 2.0, 0.2
PLANE = {
    "title": "a plane",
    "space": {name: {"kind": "interval", "bounds": [-3.0, 3.0], "cells": 32} for name in "xy"},
    "energy": {"kind": "potential", "terms": {name: {"kind": "quadratic", "stiffness": 1.5, "centre": 0.2} for name in "xy"}},
    "initial": [{"density": {name: {"kind": "normal", "mean": -0.8, "deviation": 0.4} for name in "xy"}}],
    "scheme": {"kind": "finite-volume", "sliding": True},
    "time": {"stop": 0.5, "save": 3},
}


def relu_case():
    """Energy that is not linear, with kinks on lines w x + b = 0, small."""
    changes = {"space.w.cells": 40, "space.b.cells": 36, "scheme.sliding": True, "time.stop": 0.5, "time.save": 5}
    return load_case("relu-two-scales").replace(changes)


def valley_case(cells=64, sliding=True, **changes):
    """The case of `validation.valley`, whose energy goes with it."""
    interval, start = Interval(bounds=(-3.0, 3.0), cells=cells), Normal(mean=0.0, deviation=0.3)
    space = {"x": Interval(bounds=(-3.0, 3.0), cells=cells, grading=changes.pop("grading", None)), "y": interval}
    scheme, time = FiniteVolume(sliding=sliding), Time(stop=STOP, save=2)
    case = Case(
        title="valley",
        space=space,
        energy=Potential(),
        initial=[Component({"x": start, "y": start})],
        time=time,
        scheme=scheme,
    )
    return case.replace({key.replace("__", "."): value for key, value in changes.items()})


def displacement(dataset, valley, mobility=(1.0, 1.0)):
    """Mean displacement along the kink over the exact one, s(t·Mt − (t·Mn)²/n·Mn) for mobilities M."""
    masses = (dataset["density"] * dataset["cell_volume"]).isel(time=-1)
    m, t = np.array(mobility), np.array([np.cos(valley.angle), np.sin(valley.angle)])
    n = np.array([t[1], -t[0]])
    speed = valley.slope * (t @ (m * t) - (t @ (m * n)) ** 2 / (n @ (m * n)))
    return float((masses * valley.along(dataset["x"], dataset["y"])).sum()) / (speed * STOP)


def plane(angle, cells=24, slope=SLOPE, circle=False, offset=0.1):
    """A grid of two axes, the directions n and t, and ξ = |n| − slope·t."""
    y = Circle(cells=cells).factor("y") if circle else Interval(bounds=(-3.0, 3.0), cells=cells).factor("y")
    grid = Grid([Interval(bounds=(-3.0, 3.0), cells=cells).factor("x"), y])
    across = np.sin(angle) * grid.coordinate("x") - np.cos(angle) * grid.coordinate("y") - offset
    along = np.cos(angle) * grid.coordinate("x") + np.sin(angle) * grid.coordinate("y")
    return grid, across, np.ascontiguousarray(np.abs(across) - slope * along)


@pytest.mark.parametrize(("angle", "slope"), [(0.3, SLOPE), (0.5, SLOPE), (np.pi / 4, SLOPE), (np.pi / 4, 1.0)])
def test_mass_slides_along_an_oblique_kink(monkeypatch, angle, slope):
    """As far as it should but for 3 %, in as many steps of two stages as without; pinned it reaches less than half."""
    monkeypatch.setattr(stepper, "STAGES_MAX", HEUN)
    valley = Valley(angle, slope)
    slides, pinned = (solve(valley_case(sliding=sliding), energy=valley) for sliding in (True, False))
    assert 0.97 <= displacement(slides, valley) <= 1.01
    assert displacement(pinned, valley) < 0.5
    assert slides["steps"][-1] <= 1.02 * pinned["steps"][-1]
    assert slides["density"].min() >= 0
    assert slides.attrs["mass_error_max"] < 1e-13
    assert slides.attrs["energy_decreases"] == "guaranteed up to viscous_work and round-off"
    assert slides["viscous_work"].to_numpy()[-1] > 0
    assert "viscous_work" not in pinned


def test_the_width_along_the_kink_is_kept():
    """Across it mass spreads over a width fixed in cells; along it the deviation of the start stays, up to the cells there."""
    valley = Valley(0.5, SLOPE)
    dataset = solve(valley_case(), energy=valley)
    masses = (dataset["density"] * dataset["cell_volume"]).isel(time=-1)
    along, across = valley.along(dataset["x"], dataset["y"]), np.sin(0.5) * dataset["x"] - np.cos(0.5) * dataset["y"]
    deviation = [float((masses * z**2).sum() - (masses * z).sum() ** 2) ** 0.5 for z in (along, across)]
    assert deviation[0] == pytest.approx(0.3, rel=0.1)
    assert deviation[1] < 2.5 * 6 / 64


@pytest.mark.parametrize("mobility", [(1.0, 0.3), (0.3, 1.0)])
def test_a_mobility_bends_the_path(mobility):
    valley = Valley(0.5, SLOPE)
    case = valley_case(flow={"mobility": {name: {"value": m} for name, m in zip("xy", mobility, strict=True)}})
    assert displacement(solve(case, energy=valley), valley, mobility) == pytest.approx(1.0, abs=0.04)


def test_mass_slides_on_graded_cells():
    valley = Valley(0.5, SLOPE)
    case = valley_case(grading=Grading(focus=0.3, ratio=3.0))
    assert displacement(solve(case, energy=valley), valley) == pytest.approx(1.0, abs=0.05)


@pytest.mark.parametrize("angle", [0.5, -0.5])
def test_the_tensor_diffuses_across_the_kink(angle):
    """n·An = h·jump near the kink, and t·At is what `ALONG` and the limited accuracy of the sign leave of it."""
    grid, across, xi = plane(angle, cells=48)
    tensor = Sliding(grid).viscosity(xi).tensor
    near = np.abs(across) < 0.1
    n, t = (np.sin(angle), -np.cos(angle)), (np.cos(angle), np.sin(angle))

    def form(v):
        mixed = tensor.mixed[0, 1]
        if grid.order == ("y", "x"):
            v = v[::-1]
        return float((v[0] ** 2 * tensor.diagonal[0] + v[1] ** 2 * tensor.diagonal[1] + 2 * v[0] * v[1] * mixed)[near].mean())

    assert form(n) == pytest.approx(2.0 * 6 / 48, rel=0.2)
    assert abs(form(t)) < 0.1 * form(n)
    assert tensor.tau[np.abs(across) > 8 * 6 / 48].max() == 0


def test_a_circle_has_no_first_cell():
    """Turning ξ along a circle turns the tensor, bit by bit."""
    grid, _, _ = plane(0.5, circle=True)
    axis = grid.order.index("y")
    x, y = grid.coordinate("x"), grid.coordinate("y")
    xi = np.ascontiguousarray(np.abs(np.sin(0.5) * x - np.sin(y) + 0.1) - 0.2 * x)
    one = Sliding(grid).viscosity(xi).tensor
    for shift in (1, 11):
        other = Sliding(grid).viscosity(np.ascontiguousarray(np.roll(xi, shift, axis))).tensor
        np.testing.assert_array_equal(other.tau, np.roll(one.tau, shift, axis))
        np.testing.assert_array_equal(other.mixed[0, 1], np.roll(one.mixed[0, 1], shift, axis))


def test_labels_slide_by_themselves():
    grid, _, xi = plane(0.5)
    labels = Grid([*grid.factors, Labels(values=[-1.0, 1.0]).factor("sign")])
    both = np.ascontiguousarray(np.stack([xi, 0 * xi]))
    tensor = Sliding(labels).viscosity(both).tensor
    np.testing.assert_array_equal(tensor.tau[0], Sliding(grid).viscosity(xi).tensor.tau)
    assert not tensor.tau[1].any()


def test_three_dimensions():
    """Signs of n relative to its largest component: mass in a plane kink slides within the plane."""
    grid = Grid([Interval(bounds=(-1.0, 1.0), cells=16).factor(name) for name in "xyz"])
    n = np.array([0.3, -0.6, 1.0]) / np.sqrt(1.45)
    across = sum(c * grid.coordinate(name) for c, name in zip(n, "xyz", strict=True)) - 0.03
    xi = np.ascontiguousarray(np.abs(across) + 0.0 * grid.volume)
    tensor = Sliding(grid).viscosity(xi).tensor
    near = (np.abs(across) < 0.06) & (np.abs(grid.coordinate("x")) < 0.6) & (np.abs(grid.coordinate("y")) < 0.6)
    for (k, other), mixed in tensor.mixed.items():
        assert np.sign(mixed[near].mean()) == np.sign(n[k] * n[other])


def test_the_tensor_of_three_axes_is_positive_semidefinite():
    """Where kinks cross too, whose signs by pairs do not agree; relative to the trace, up to round-off."""
    grid = Grid([Interval(bounds=(-1.0, 1.0), cells=cells).factor(name) for name, cells in zip("xyz", (8, 9, 10), strict=True)])
    normals, coordinates = np.random.default_rng(3).standard_normal((4, 3)), [grid.coordinate(name) for name in "xyz"]
    for xi in (
        sum(np.abs(sum(c * z for c, z in zip(n, coordinates, strict=True)) - 0.1) for n in normals[[i, 3]]) for i in range(3)
    ):
        tensor = Sliding(grid).viscosity(np.ascontiguousarray(xi)).tensor
        matrices = np.zeros((3, 3, grid.size))
        for k in range(3):
            matrices[k, k] = tensor.diagonal[k].ravel()
        for (k, other), mixed in tensor.mixed.items():
            matrices[k, other] = matrices[other, k] = mixed.ravel()
        matrices = matrices.transpose(2, 0, 1)
        assert (np.linalg.eigvalsh(matrices)[:, 0] >= -1e-13 * np.trace(matrices, axis1=1, axis2=2)).all()


@pytest.mark.parametrize("names", ["xy", "yx", "xyz"])
def test_roundoff_of_xi_decides_nothing(names):
    """Where kinks along all axes cross the mixed differences are round-off; the kinks hold mass weakly: the gate is below 1."""
    grid = Grid([Interval(bounds=(-1.0, 1.0), cells=24).factor(name) for name in names])
    x, y, noise = grid.coordinate("x"), grid.coordinate("y"), np.random.default_rng(4)
    xi = np.abs(x - 0.02) + 2 * np.abs(y - 0.03) + 0.9 * x + 1.9 * y + 0.0 * grid.volume
    xi += np.abs(grid.coordinate("z")) if "z" in names else 0.0
    exact = Sliding(grid).viscosity(np.ascontiguousarray(xi)).tensor
    for _ in range(5):
        perturbed = np.ascontiguousarray(xi * (1 + 1e-15 * noise.standard_normal(grid.shape)))
        tensor = Sliding(grid).viscosity(perturbed).tensor
        np.testing.assert_allclose(tensor.tau, exact.tau, rtol=0, atol=1e-9 * exact.tau.max())
        for pair, mixed in tensor.mixed.items():  # s is below 1/64 where all second differences are round-off, beside both kinks
            np.testing.assert_allclose(mixed, exact.mixed[pair], rtol=0, atol=1e-3 * exact.tau.max())


def test_at_a_crossing_the_gate_is_the_mean_of_those_of_both_kinks():
    """Of jumps 2 and 4 that rise by 0.1 on one side: 0.3 and 0.15 alone, 0.18 there; τ has the larger one of either part."""
    grid = Grid([Interval(bounds=(-1.0, 1.0), cells=48).factor(name) for name in "xy"])
    x, y = grid.coordinate("x"), grid.coordinate("y")
    one, other = np.abs(x - 0.02) + 0.9 * x, 2 * np.abs(y - 0.03) + 1.9 * y
    for xi, jump in ((one, 0.3 * 2), (other, 0.15 * 4), (one + other, np.hypot(0.3 * 2, 0.18 * 4))):
        tensor = Sliding(grid).viscosity(np.ascontiguousarray(xi + 0.0 * grid.volume)).tensor
        assert tensor.tau.max() == pytest.approx(jump / 24, rel=1e-6)


def test_large_values_where_nothing_moves():
    """A label whose mobilities are 0 divides by none."""
    flat, _, xi = plane(0.5)
    names, mobility = [factor.name for factor in flat.factors], np.array([0.0, 1.0])
    grid = Grid([*flat.factors, Labels(values=[-1.0, 1.0]).factor("s")], dict.fromkeys(names, ("s", mobility)))
    tensor = Sliding(grid).viscosity(np.ascontiguousarray(1e9 * np.stack([xi, xi]))).tensor
    for values in (tensor.tau, *tensor.diagonal.values(), *tensor.mixed.values()):
        assert np.isfinite(values).all()
    assert not tensor.mixed[min(tensor.mixed)][0].any()


@pytest.mark.parametrize(("angle", "flat", "cells"), [(0.0, 0.5, 0.9), (0.5, 0.5, 0.9), (0.0, 0.05, 1.7), (0.5, 0.05, 2.1)])
def test_across_unequal_slopes_the_mean_is_on_the_flat_side(angle, flat, cells):
    """By the figures of the docstring, to 0.1 cells."""
    grid = Grid([Interval(bounds=(-1.0, 1.0), cells=48).factor(name) for name in "xy"])
    x, y = grid.coordinate("x"), grid.coordinate("y")
    across = np.cos(angle) * x + np.sin(angle) * y - 0.02
    density = np.exp(-100 * across**2 - 50 * (x**2 + y**2))
    xi = np.ascontiguousarray(np.abs(across) + (1 - flat) * across + 0.0 * grid.volume)
    scheme = FiniteVolume(sliding=True).init(problem_of(grid, Linear(xi)))
    state = scheme.start(density / grid.integrate(density))
    while state.time < 3.0:
        state = scheme.step(state, 3.0 - state.time)
    assert grid.integrate(state.density * across) * 24 == pytest.approx(-cells, abs=0.1)


def test_smooth_energies_keep_their_bits():
    slides, plain = (solve(case_of(PLANE, scheme__sliding=sliding)) for sliding in (True, False))
    for name in ("density", "steps", "energy", "dissipation"):
        np.testing.assert_array_equal(slides[name], plain[name])
    assert slides["viscous_work"].to_numpy().max() == 0


def test_where_no_kink_holds_mass_there_is_no_viscosity():
    """Convex wells, flat ξ with round-off, ridges, and kinks that mass only crosses."""
    grid, across, valley = plane(0.5, cells=48)
    x, y = grid.coordinate("x"), grid.coordinate("y")
    sliding = Sliding(grid)
    assert sliding.viscosity(valley) is not None
    flat = 1.0 + 1e-15 * np.random.default_rng(1).random(grid.shape)
    for xi in (x**2 + 0.3 * x * y + y**2, np.cosh(x) + np.cosh(y), flat, -np.abs(across), 2 * across + np.abs(across)):
        assert sliding.viscosity(np.ascontiguousarray(xi + 0.0 * grid.volume)) is None


def test_what_is_left_where_a_smooth_gradient_varies_fast_is_of_fourth_order():
    """ξ'' = 0 at the bottom of the well: τ = O(h⁴), less than any error of second order."""
    found = []
    for cells in (48, 96, 192):
        grid = Grid([Interval(bounds=(-3.0, 3.0), cells=cells).factor(name) for name in "xy"])
        x, y = grid.coordinate("x"), grid.coordinate("y")
        found.append(float(Sliding(grid).viscosity(np.ascontiguousarray(x**4 + y**4 + x * y)).tensor.tau.max()))
    assert np.log2(found[0] / found[1]) == pytest.approx(4.0, abs=0.1)
    assert np.log2(found[1] / found[2]) == pytest.approx(4.0, abs=0.1)


def test_the_work_of_the_viscosity_bounds_the_rise_of_the_energy(monkeypatch):
    """Mass at the bottom of a kink is spread, and the energy rises, by no more than the work; a step with less work is redone."""
    grid, across, xi = plane(0.5, slope=0.0)
    density = np.where(np.abs(across) < 0.15, 1.0, 0.0)
    scheme = FiniteVolume(sliding=True).init(problem_of(grid, Linear(xi)))
    state, rises = scheme.start(density / grid.integrate(density)), []
    for _ in range(20):
        new = scheme.step(state, np.inf)
        work = new.reports["viscous_work"] - scheme.report(state)["viscous_work"]
        assert new.free_energy - state.free_energy <= work + new.rise_roundoff
        rises += [(state, new)] if new.free_energy > state.free_energy + new.rise_roundoff else []
        state = new
    before, after = rises[0]
    monkeypatch.setattr(Viscosity, "work_of_step", lambda *arguments: 0.0)
    redone = scheme.step(before, np.inf)
    assert redone.free_energy <= before.free_energy + redone.rise_roundoff
    assert redone.time < after.time


def test_the_work_is_what_the_parts_add():
    """Of a linear energy exactly: mass at the bottom of a kink, in lines before and behind, and what stages add."""
    grid, across, xi = plane(0.5, slope=0.0)
    density, bound = np.where(np.abs(across) < 0.15, 1.0, 0.0), Linear(xi)
    viscosity = Sliding(grid).viscosity(xi)
    parts, evaluate = viscosity.steps(0.0), lambda rho: bound.evaluate(rho * grid.volume)
    before, _ = half_steps(Point(density, evaluate), parts, 0.05)
    behind, _ = half_steps(before[-1], parts[::-1], 0.05)
    rise = behind[-1].evaluation.value - before[0].evaluation.value
    assert rise > 0.1
    assert viscosity.work_of_step(before, behind, 0.125) == pytest.approx(rise + 0.125, rel=1e-12)


def test_every_step_of_a_network_keeps_the_bound():
    case = relu_case()
    scheme = case.scheme.init(case.problem())
    state, works = scheme.start(case.problem().start / case.grid().volume), []
    for _ in range(30):
        new = scheme.step(state, 0.1)
        works.append(new.reports["viscous_work"] - scheme.report(state)["viscous_work"])
        assert new.free_energy - state.free_energy <= works[-1] + new.rise_roundoff
        assert new.density.min() >= 0
        state = new
    assert max(works) > 0


def test_dissipation_is_the_rate_of_the_energy():
    """With the power of the viscosity; in time by two Euler steps."""
    grid, across, xi = plane(0.5)
    density = np.exp(-4 * across**2) * np.exp(-(grid.coordinate("x") ** 2))
    scheme = FiniteVolume(sliding=True).init(problem_of(grid, Linear(xi)))
    state = scheme.step(scheme.start(density / grid.integrate(density)), 0.01)
    dissipation = scheme.dissipation(state.density, state.evaluation)
    rates = [(state.free_energy - scheme.attempt(state, dt)[0].free_energy) / dt for dt in (2e-5, 1e-5)]
    assert 2 * rates[1] - rates[0] == pytest.approx(dissipation, rel=1e-4)
    assert abs(dissipation / scheme.transport.dissipation(state.density, state.evaluation) - 1) > 0.01


def test_cross_fluxes_take_no_more_than_there_is():
    """For any time: mass exact, nothing negative, where a cell is asked for more than it has."""
    grid, _, xi = plane(0.5)
    viscosity, density = Sliding(grid).viscosity(xi), np.random.default_rng(2).random(grid.shape) ** 8
    asked, after = density.copy(), density.copy()
    viscosity.correct(after, density, xi + 0.0, 0.0)
    np.testing.assert_array_equal(after, density)
    flat = np.zeros_like(xi)  # no drift: no face values
    for time in (1e-2, 1e3):
        after = density.copy()
        viscosity.correct(after, density, flat, time)
        assert after.min() >= 0
        assert grid.integrate(after) == pytest.approx(grid.integrate(density), rel=1e-14)
    assert np.abs(after - asked).max() > 0.1


def test_a_temperature_diffuses_beside_the_viscosity():
    """In split steps mass slides; the free energy never rises, since fitted steps, without viscosity, do what would raise it."""
    valley = Valley(0.5, SLOPE)
    slides, pinned = (solve(valley_case(sliding=sliding, flow={"temperature": 1e-3}), energy=valley) for sliding in (True, False))
    assert displacement(slides, valley) == pytest.approx(1.0, abs=0.05)
    assert displacement(pinned, valley) < 0.8
    assert slides["steps"][-1] <= 1.5 * pinned["steps"][-1]
    assert slides.attrs["energy_decreases"] == "guaranteed up to round-off"
    assert slides.attrs["energy_rise_max"] <= slides.attrs["energy_roundoff"]
    assert "viscous_work" not in slides


def test_the_error_of_fitted_steps_is_measured_in_kinks_too():
    """Where all steps are fitted none has a viscosity, and `sliding` changes nothing, their lengths neither."""
    grid, across, _ = plane(0.5, cells=32, offset=0.0)
    along = np.cos(0.5) * grid.coordinate("x") + np.sin(0.5) * grid.coordinate("y")
    xi, temperature = np.ascontiguousarray(np.abs(across) + 0.5 * along**2), 0.3
    density = np.exp(-np.abs(across) / temperature - (along + 1.2) ** 2 / 0.18)
    found = []
    for sliding in (True, False):
        scheme = FiniteVolume(sliding=sliding).init(problem_of(grid, Linear(xi), temperature))
        state = scheme.start(density / grid.integrate(density))
        assert not sliding or scheme.viscosity(state) is not None
        while state.time < 0.5:
            assert scheme.share(state) == 1
            state = scheme.step(state, 0.5 - state.time)
        found.append(state.density)
    np.testing.assert_array_equal(*found)


@pytest.mark.parametrize(("peclet", "within"), [(1.0, 1.0), (3.0, 0.5), (5.0, 0.0)])
def test_the_error_counts_in_kinks_by_the_share_of_fitted_steps(peclet, within):
    grid, _, xi = plane(0.5)
    scheme = FiniteVolume(sliding=True).init(problem_of(grid, Linear(xi), 0.05))
    state = scheme.start(np.full(grid.shape, 1 / grid.volume.sum()))
    state = replace(state, reports={**state.reports, "peclet": peclet})
    expected = np.where(scheme.viscosity(state).tensor.tau > 0, within, 1.0) * grid.volume
    np.testing.assert_allclose(scheme.weights_of_error(state), expected, rtol=1e-14)


def test_a_resumed_run_is_the_same_run_bit_by_bit(tmp_path):
    case = relu_case()
    whole = solve(case)
    path = tmp_path / "a.nc"
    assert solve(case, path, progress=InterruptAt(4)).attrs["status"] == "interrupted"
    resumed = solve(case, path, resume=True)
    for name in ("time", "density", "energy", "steps", "viscous_work"):
        np.testing.assert_array_equal(resumed[name], whole[name])
    assert whole["viscous_work"].to_numpy()[-1] > 0


def test_refusals():
    def bound(factors, **scheme):
        grid = Grid([factor.factor(name) for name, factor in factors.items()])
        temperature = scheme.pop("temperature", 0.0)
        FiniteVolume(sliding=True, **scheme).init(problem_of(grid, Linear(np.zeros(grid.shape)), temperature))

    interval = Interval(bounds=(-1.0, 1.0), cells=8)
    bound({"x": interval, "y": interval}, diffusion="heat-semigroup", temperature=0.1)
    with pytest.raises(InputError, match="order = 1"):
        bound({"x": interval, "y": interval}, order=1)
    with pytest.raises(InputError, match="surface b"):
        bound({"b": Sphere(level=1), "x": interval, "y": interval})
    with pytest.raises(InputError, match="along 1 interval or circle"):
        bound({"x": interval, "s": Labels(values=[-1.0, 1.0])})
    with pytest.raises(InputError, match="scharfetter-gummel"):
        bound({"x": interval, "y": interval}, diffusion="scharfetter-gummel", temperature=0.1)
    with pytest.raises(InputError, match="along 1 interval or circle"):
        solve(case_of(QUADRATIC, scheme__sliding=True))
