"""Implicit temperature and diffusion: the method along lines and surfaces, its order, and its errors at every Péclet number."""

from dataclasses import replace

import numpy as np
import pytest
from helpers import HEAT_CIRCLE, HEAT_INTERVAL, ORNSTEIN_UHLENBECK, QUADRATIC, case_of
from scipy.linalg import expm

from gridflow.case.case import Case
from gridflow.errors import InputError
from gridflow.flow.term import Point
from gridflow.scheme.finite_volume.axis import NO_DRIFT, Drift
from gridflow.scheme.finite_volume.implicit import Implicit, axis_of
from gridflow.scheme.finite_volume.implicit_stepper import PECLET_HIGH, PECLET_LOW
from gridflow.scheme.finite_volume.lines import GAMMA, half_coth, half_coth_large
from gridflow.scheme.finite_volume.spread import bernoulli
from gridflow.solver import solve
from gridflow.space.circle import Circle
from gridflow.space.grid import Grid
from gridflow.space.labels import Labels
from gridflow.space.line import Grading, Interval
from gridflow.space.sphere import Sphere

FACTORS = {
    "interval": Interval(bounds=(-1.0, 2.0), cells=12),
    "graded interval": Interval(bounds=(-1.0, 2.0), cells=12, grading=Grading(focus=0.3, ratio=4.0)),
    "circle": Circle(cells=12),
    "sphere": Sphere(level=1),
}
D = 0.7


def generator(factor, xi):
    """A, acting on masses, from the formula: F = rate·D·(B(−s)ρ_l − B(s)ρ_r), s = (ξ_l − ξ_r)/D."""
    matrix = np.zeros((factor.size, factor.size))
    for left, right, rate in zip(*factor.faces, strict=True):
        s = (xi[left] - xi[right]) / D
        for a, b, share in ((left, right, -s), (right, left, s)):
            leaves = rate * D * (share / np.expm1(share) if share else 1.0) / factor.volumes[a]
            matrix[b, a] += leaves
            matrix[a, a] -= leaves
    return matrix


def method(matrix, masses, time):
    """R of `gridflow.scheme.finite_volume.lines`, by dense algebra."""
    resolvent = np.linalg.inv(np.eye(len(matrix)) - GAMMA * time * matrix)
    return resolvent @ resolvent @ (masses + (1 - 2 * GAMMA) * time * matrix @ masses)


@pytest.fixture(params=FACTORS.values(), ids=FACTORS.keys())
def factor(request):
    return request.param.factor("x")


def wavy(factor, columns=1):
    """A potential of the size 1 on a factor, another one in every column."""
    image = factor.length_image(factor.points).reshape(factor.size, -1)[:, 0] / factor.reach
    return np.sin(3.0 * image)[:, None] * np.linspace(1.0, 2.0, columns) + np.cos(2.0 * image)[:, None]


def test_one_step_is_the_method(factor):
    """Against dense algebra, on two lines with other potentials: the two solvers and the sides of the product."""
    random = np.random.default_rng(1)
    signs = Labels(values=[-1.0, 1.0]).factor("sign")
    for grid in (Grid([factor, signs]), Grid([factor])):
        axis = grid.order.index("x")
        density = 1.0 + random.random(grid.shape)
        xi = np.ascontiguousarray(
            np.moveaxis(wavy(factor, grid.size // factor.size).reshape(factor.size, *grid.shape[:axis]), 0, axis)
        )
        step = axis_of(grid, axis, np.ones(1))
        for time in (1e-3, 1e-2):
            found = step.advance(density, Drift(xi, 1 / D), time, D, True)
            for q, (before, after, potential) in enumerate(
                zip(*(np.moveaxis(a, axis, 0).reshape(factor.size, -1).T for a in (density, found, xi)), strict=True)
            ):
                expected = method(generator(factor, potential), before * factor.volumes, time) / factor.volumes
                np.testing.assert_allclose(after, expected, rtol=1e-13, err_msg=f"line {q}")


def test_the_method_has_order_two(factor):
    masses = np.exp(wavy(factor)[:, 0])
    matrix = generator(factor, wavy(factor)[:, 0])
    errors = []
    for steps in (64, 128, 256):
        after = masses
        for _ in range(steps):
            after = method(matrix, after, 0.2 / steps)
        errors.append(np.abs(after - expm(0.2 * matrix) @ masses).sum())
    slopes = np.log2(np.array(errors[:-1]) / np.array(errors[1:]))
    assert np.abs(slopes - 2).max() < 0.1


@pytest.mark.parametrize("time", [1e-4, 1.0, 1e12])
def test_any_step_is_positive_and_keeps_the_mass_and_the_equilibrium(factor, time):
    grid = Grid([factor])
    step, xi = axis_of(grid, 0, np.ones(1)), wavy(factor)[:, 0].copy()
    point = np.zeros(factor.size)
    point[factor.size // 2] = 1.0
    for drift in (Drift(xi, 1 / D), Drift(xi, 1 / D, xi[:, None].copy()), NO_DRIFT):
        after = step.advance(point, drift, time, D, True)
        assert after.min() >= 0
        assert grid.integrate(after) == pytest.approx(grid.integrate(point), rel=1e-12)
        rest = np.exp(-drift.factor * xi) if drift.factor else np.ones(factor.size)
        np.testing.assert_allclose(step.advance(rest, drift, time, D, True), rest, rtol=1e-9)


def test_one_matrix_for_all_lines_is_the_same(factor):
    """Where ξ is that of one factor, and for diffusion alone."""
    grid = Grid([factor, Interval(bounds=(0.0, 1.0), cells=20).factor("other")])
    axis = grid.order.index("x")
    density = 1.0 + np.random.default_rng(2).random(grid.shape)
    line = wavy(factor).copy()
    xi = np.ascontiguousarray(np.broadcast_to(grid.along(axis, line[:, 0]), grid.shape))
    step = axis_of(grid, axis, np.ones(1))
    for one, each in ((Drift(xi, 1 / D, line), Drift(xi, 1 / D)), (NO_DRIFT, Drift(0 * xi, 1 / D))):
        found, expected = (step.advance(density, drift, 0.01, D, True) for drift in (one, each))
        np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_a_mobility_changes_the_time_of_its_lines():
    scale = Labels(values=[1.0, 2.0]).factor("scale")
    mobility = {"x": ("scale", np.array([1.0, 0.25]))}
    grid, plain = Grid([Circle(cells=12).factor("x"), scale], mobility), Grid([Circle(cells=12).factor("x")])
    density = 1.0 + np.random.default_rng(3).random(grid.shape)
    for implicit_xi in (None, wavy(plain.factors[0])[:, 0].copy()):
        drift = NO_DRIFT if implicit_xi is None else Drift(np.ascontiguousarray(np.tile(implicit_xi, (2, 1))), 1 / D)
        one = NO_DRIFT if implicit_xi is None else Drift(implicit_xi, 1 / D)
        found = axis_of(grid, 1, grid.mobility[1]).advance(density, drift, 0.1, D, True)
        for k, share in enumerate((1.0, 0.25)):
            expected = axis_of(plain, 0, np.ones(1)).advance(density[k].copy(), one, 0.1 * share, D, True)
            np.testing.assert_allclose(found[k], expected, rtol=1e-12)


@pytest.mark.parametrize("s", [0.0, 1e-9, 0.3, 3.9, 4.1, 25.0, 60.0, 700.0])
def test_the_bernoulli_function(s):
    """(s/2)coth(s/2) to a few units in the last place; B(s) − B(−s) = −s, B(0) = 1."""
    exact = s / 2 / np.tanh(s / 2) if s else 1.0
    assert half_coth_large(s) == pytest.approx(exact, rel=4e-16)
    assert s > 4 or half_coth(-s) == pytest.approx(exact, rel=4e-16)
    ahead, back = bernoulli(np.array([s]))
    assert ahead - back == pytest.approx(s, rel=1e-15)
    assert (ahead + back) / 2 == pytest.approx(exact, rel=1e-15)


def test_a_step_of_the_flow_has_order_two_in_time():
    """A network with temperature, whose ξ moves with ρ: fitted steps of fixed length against very short ones."""
    table = {k: v for k, v in QUADRATIC.items() if k != "exact"}
    problem = case_of(table, flow={"temperature": 0.3}).problem()
    implicit = Implicit(problem.grid, problem.grid.mobility, 0.3, problem.bound.linear)

    def run(steps):
        density = problem.start / problem.grid.volume
        for _ in range(steps):
            density = implicit.step(Point(density, problem.evaluate), 0.25 / steps)
        return density

    finest = run(1024)
    errors = [problem.grid.integrate(np.abs(run(n) - finest)) for n in (32, 64, 128)]
    slopes = np.log2(np.array(errors[:-1]) / np.array(errors[1:]))
    assert np.abs(slopes - 2).max() < 0.1, errors


def errors(temperature, cells, diffusion, accuracy=1.0):
    """L1 errors of an Ornstein–Uhlenbeck flow."""
    changes = {
        "scheme.diffusion": diffusion,
        "scheme.accuracy": accuracy,
        "energy.terms.x": {"kind": "quadratic", "stiffness": 1.0, "centre": 0.0},
        "initial": [{"density": {"x": {"kind": "normal", "mean": 0.8, "deviation": 0.6}}}],
        "flow.temperature": temperature,
        "space.x.bounds": [-5.0, 5.0],
        "time": {"stop": 0.5, "save": 2},
    }
    case = case_of(ORNSTEIN_UHLENBECK).replace(changes)
    return np.array([float(solve(case.replace({"space.x.cells": n}))["error_l1"][-1]) for n in cells])


@pytest.mark.parametrize("peclet", [0.1, 1.0, 10.0, 100.0])
def test_the_error_is_no_larger_than_that_of_the_better_scheme(peclet):
    """At the Péclet number 0.8·h/D of 80 cells: explicit fitted fluxes, and the heat semigroup beside second-order transport.

    2 % more are allowed for errors in time. Order 2 but for the clipped peak, which 320 cells resolve.
    """
    cells = (80, 160, 320)
    temperature = 0.8 * 10 / 80 / peclet
    found = errors(temperature, cells, "implicit")
    fitted, split = (errors(temperature, cells, kind) for kind in ("scharfetter-gummel", "heat-semigroup"))
    assert (found <= 1.02 * np.minimum(fitted, split)).all(), (found, fitted, split)
    assert (np.log2(found[:-1] / found[1:]) >= [1.6, 1.8]).all(), found


@pytest.mark.parametrize("table", [HEAT_INTERVAL, HEAT_CIRCLE], ids=lambda t: t["title"])
def test_errors_in_time_fall_like_those_in_space(table):
    """With a tenth of the accuracy the error is that in space, of order 2; the one in time is of order 2 and smaller."""
    case, space, time = case_of(table, time={"stop": 0.4, "save": 2}), [], []
    for n in (256, 512, 1024):
        runs = [solve(case.replace({"space.x.cells": n, "scheme.accuracy": a})).isel(time=-1) for a in (1.0, 0.01)]
        time.append(float((np.abs(runs[0]["density"] - runs[1]["density"]) * runs[0]["cell_volume"]).sum()))
        space.append(float(runs[1]["error_l1"]))
    assert np.log2(np.array(space[:-1]) / np.array(space[1:])).min() >= 1.8, space
    assert np.log2(np.array(time[:-1]) / np.array(time[1:])).min() >= 1.7, time  # 2, with steps that are cut at saves
    assert time[-1] <= 2 * space[-1]


def test_the_peclet_numbers_and_what_follows_from_them():
    """0.2 and 0.4 temperatures between cells; at rest drift and diffusion are equal on every space."""
    case = case_of({k: v for k, v in ORNSTEIN_UHLENBECK.items() if k != "exact"})
    grid = Grid([Interval(bounds=(0.0, 3.0), cells=4).factor("x")])
    implicit = Implicit(grid, grid.mobility, 0.5)
    density = np.array([0.0, 1.0, 1.0, 0.0])
    assert implicit.cell_peclet(density, np.array([0.0, 0.1, 0.3, 0.3])) == pytest.approx(np.sqrt((0.2**2 + 2 * 0.4**2) / 4))
    for spec in FACTORS.values():
        space = Grid([spec.factor("x")])
        xi = wavy(space.factors[0])[:, 0].copy()
        one, two = Implicit(space, space.mobility, D), np.exp(-xi / D)
        assert one.peclet(two, xi) == pytest.approx(1.0, rel=0.25)  # 2tanh(s/2) for steps s of up to 2 between cells
        assert one.peclet(two, 3 * xi) == pytest.approx(3 * one.peclet(two, xi))
        assert one.peclet(np.ones(space.shape), xi) == np.inf
        assert one.peclet(two, 0 * xi) == 0.0
        assert one.dissipation(two, xi) == pytest.approx(0.0, abs=1e-12)
    stepper = case.scheme.init(case.problem())
    state = stepper.start(case.problem().start / case.grid().volume)
    for peclet, share in ((0.0, 1.0), (PECLET_LOW, 1.0), ((PECLET_LOW + PECLET_HIGH) / 2, 0.5), (PECLET_HIGH, 0.0), (9.0, 0.0)):
        assert stepper.share(replace(state, reports={**state.reports, "peclet": peclet})) == pytest.approx(share)


def test_sums_over_faces_are_those_of_numpy(factor, rng):
    """Of two factors in either place, with a mobility: drift, diffusion, mass and dissipation from their formulas."""
    other = Interval(bounds=(0.0, 2.0), cells=5, grading=Grading(focus=0.3, ratio=4.0)).factor("y")
    for factors in ([factor, other], [factor, Labels(values=[0.0, 1.0]).factor("label")]):
        grid = Grid(factors, {"x": (factors[1].name, 1.0 + np.arange(factors[1].size))} if factor.one_dimensional else None)
        axis = grid.order.index("x")
        density, xi = 0.1 + rng.random(grid.shape), 3 * rng.standard_normal(grid.shape)
        log, (left, right, rate) = np.log(density), factor.faces
        weight = grid.along(axis, rate) * (grid.mobility[axis] * grid.volume / grid.along(axis, factor.volumes)).take(left, axis)
        one, two, a, b = (field.take(side, axis) for field in (density, xi) for side in (left, right))
        found, rise, jump = axis_of(grid, axis, grid.mobility[axis]), a - b, 2 * (one - two) / (one + two)
        expected = [(weight * (one + two) * part).sum() for part in (rise**2, jump**2, 1.0)]
        np.testing.assert_allclose(found.sums(density, xi), expected, rtol=1e-12)
        ahead, back = bernoulli(rise / D)
        flux = ahead * one - back * two
        expected = (weight * flux * (rise / D + log.take(left, axis) - log.take(right, axis))).sum()
        assert found.dissipation(density, xi, log, 1 / D) == pytest.approx(expected, rel=1e-12)


def test_between_the_two_the_density_is_their_mean():
    """And the dataset says what was done."""
    case = case_of({k: v for k, v in ORNSTEIN_UHLENBECK.items() if k != "exact"}, time={"stop": 0.1, "save": 2})
    stepper = case.scheme.init(case.problem())
    state = stepper.start(case.problem().start / case.grid().volume)
    densities = []
    for peclet in (0.0, 9.0, (PECLET_LOW + PECLET_HIGH) / 2):
        new, _ = stepper.attempt(replace(state, reports={**state.reports, "peclet": peclet}), 1e-3)
        densities.append(new.density)
    np.testing.assert_allclose(densities[2], (densities[0] + densities[1]) / 2, rtol=1e-13)
    for cells, temperature, share in ((256, 1.0, 1.0), (64, 0.01, 0.0)):
        dataset = solve(case.replace({"space.x.cells": cells, "flow.temperature": temperature}))
        assert (dataset["fitted_share"] == share).all()
        assert (dataset["peclet"] > 0).all()
        assert dataset.attrs["energy_decreases"].startswith("guaranteed")
        assert dataset.attrs["energy_rise_max"] <= dataset.attrs["energy_roundoff"]


def test_at_rest_the_steps_grow_and_the_free_energy_does_not_rise():
    case = case_of({k: v for k, v in ORNSTEIN_UHLENBECK.items() if k != "exact"}, time={"stop": 1e4, "save": 3})
    dataset = solve(case.replace({"space.x.cells": 256, "flow.temperature": 1.0, "space.x.bounds": [-8.0, 8.0]}))
    assert int(dataset["steps"][-1]) < 400
    assert dataset.attrs["energy_rise_max"] <= dataset.attrs["energy_roundoff"]
    x = dataset["x"].to_numpy()
    gibbs = np.exp(-0.75 * (x - 0.2) ** 2)
    gibbs /= (gibbs * dataset["cell_volume"].to_numpy()).sum()
    np.testing.assert_allclose(dataset["density"][-1], gibbs, rtol=1e-6, atol=1e-12)


def test_close_to_rest_a_fitted_step_replaces_one_that_raises_the_free_energy():
    """Splitting has a state of rest of its own, and F rises on the way there from e^{−ξ/D}/Z, where it is smallest."""
    case = case_of({k: v for k, v in ORNSTEIN_UHLENBECK.items() if k != "exact"}).replace({"flow.temperature": 0.02})
    problem = case.problem()
    gibbs = np.exp(-(problem.bound.potential - problem.bound.potential.min()) / 0.02)
    stepper = case.scheme.init(problem)
    state = stepper.start(gibbs / problem.grid.integrate(gibbs))
    state = replace(state, reports={**state.reports, "peclet": 9.0})
    assert stepper.share(state) == 0
    split = super(type(stepper), stepper).attempt(state, 0.01)[0]
    assert split.free_energy > state.free_energy + 1e-6
    new = stepper.attempt(state, 0.01)[0]
    assert new.free_energy <= state.free_energy + new.rise_roundoff
    np.testing.assert_allclose(new.density, state.density, rtol=1e-10, atol=1e-60)


def test_every_line_keeps_its_mass_in_the_longest_steps():
    """Labels have masses of their own, which no rescaling of the whole may hide."""
    masses = np.array([0.98, 0.0199, 0.0001])
    for spec in FACTORS.values():
        grid = Grid([spec.factor("x"), Labels(values=[0.0, 1.0, 2.0]).factor("label")])
        density = np.zeros(grid.shape)
        density[:, 3] = masses / grid.volume[:, 3]
        implicit = Implicit(grid, grid.mobility, D)
        for time in (1.0, 1e6, 1e12):
            after = implicit.spread(density, time)
            np.testing.assert_allclose((after * grid.volume).sum(axis=1), masses, rtol=1e-12)


@pytest.mark.parametrize(("error", "measured"), [(1e-3, True), (1e-12, False)])
def test_a_step_of_which_too_much_error_is_predicted_is_measured(error, measured):
    """From the last measurement, by the cube of the step and the speed: from a saddle a flow speeds up a millionfold."""
    case = case_of({k: v for k, v in ORNSTEIN_UHLENBECK.items() if k != "exact"}, flow={"temperature": 1.0})
    stepper = case.scheme.init(case.problem())
    state = stepper.start(case.problem().start / case.grid().volume)
    dt, calls = 1e-3, []
    move = stepper.distance(stepper.attempt(state, dt)[0], state)
    known = {"due": 5.0, "measured_step": dt / 2, "measured_error": error / 4, "measured_move": move}
    state = replace(state, dt=dt, reports={**state.reports, **known, "error_step": 1.0})
    assert stepper.predicted_error(state, stepper.attempt(state, dt)[0]) == pytest.approx(error)
    stepper.measured = lambda state, dt: calls.append(dt) or type(stepper).measured(stepper, state, dt)
    new = stepper.step(state, dt)
    assert bool(calls) == measured
    assert (new.reports["due"] == 4.0) == (not measured)


def test_sharp_edges_are_carried_by_second_order_transport():
    """A box: the jumps at its ends are no diffusion that a cell resolves. L1 against the same on four times finer cells."""
    table = {k: v for k, v in ORNSTEIN_UHLENBECK.items() if k != "exact"}

    def end(kind, cells):
        case = case_of(table, flow={"temperature": 0.003}, space__x__cells=cells, scheme__diffusion=kind)
        stepper, x = case.scheme.init(case.problem()), case.grid().factors[0].points
        state = stepper.start(0.5 * ((x > -2.5) & (x < -0.5)))
        while state.time < 0.25 * (1 - 1e-12):
            state = stepper.step(state, 0.25 - state.time, 0.25)
        return state.density

    exact = end("heat-semigroup", 256).reshape(64, 4).mean(axis=1)

    def error(kind):
        return np.abs(end(kind, 64) - exact).sum() * 8 / 64

    assert error("implicit") <= 1.1 * error("heat-semigroup") < 0.7 * error("scharfetter-gummel")


def test_many_saves_do_not_multiply_the_steps():
    """Steps that saves cut short are measured as seldom as others: 201 saves, and hardly more attempts than steps."""
    case = case_of({k: v for k, v in ORNSTEIN_UHLENBECK.items() if k != "exact"}, flow={"temperature": 1.0})
    stepper, attempts = case.scheme.init(case.problem()), []
    attempt = type(stepper).attempt
    stepper.attempt = lambda state, dt: attempts.append(dt) or attempt(stepper, state, dt)
    state = stepper.start(case.problem().start / case.grid().volume)
    for k in range(1, 201):
        while state.time < 2e-3 * k * (1 - 1e-12):
            state = stepper.step(state, 2e-3 * k - state.time)
    assert len(attempts) < 1.5 * 200 + 40


@pytest.mark.parametrize("temperature", [5e-324, 1e200])
def test_temperatures_beyond_the_numbers_of_the_machine_are_refused(temperature):
    with pytest.raises(InputError, match=r"flow\.temperature"):
        solve(case_of(ORNSTEIN_UHLENBECK, exact=None, flow__temperature=temperature))


def test_a_mobility_that_depends_on_another_factor_with_temperature():
    """Heat on a circle at two speeds, exact per label; the heat semigroup refuses it."""
    table = {k: v for k, v in HEAT_CIRCLE.items() if k != "exact"}
    table["space"] = {**table["space"], "c": {"kind": "labels", "values": [1.0, 2.0]}}
    table["flow"] = {"temperature": 0.2, "mobility": {"x": {"factor": "c", "power": -2.0}}}
    table["initial"] = [{"density": {**table["initial"][0]["density"], "c": {"kind": "uniform"}}}]
    case = Case.from_dict(table)
    dataset = solve(case)
    n, stop = dataset.sizes["x"], case.time.stop
    k = case.initial[0].density["x"].wavenumber
    waves = [np.abs(np.fft.rfft(dataset["density"].isel(time=t).transpose("c", "x").to_numpy(), axis=1))[:, k] for t in (0, -1)]
    rate = (2 * n / (2 * np.pi) * np.sin(np.pi * k / n)) ** 2  # of the discrete Laplacian
    np.testing.assert_allclose(waves[1] / waves[0], np.exp(-0.2 * rate * stop / np.array([1.0, 4.0])), rtol=1e-3)
