"""Potentials that do not separate: targets, polynomials and tables; gradients, tails, agreement of cells and particles."""

from pathlib import Path

import numpy as np
import pytest
import xarray
from helpers import case_of
from scipy.integrate import dblquad

from gridflow.energy.polynomial import Monomial
from gridflow.energy.potential import BLOCK, Potential, Quadratic, blocks_of_points
from gridflow.errors import InputError
from gridflow.particles.integrator import RungeKutta2
from gridflow.particles.simulation import Simulator
from gridflow.solver import solve
from gridflow.space.circle import Circle
from gridflow.space.densities import Cosine, Normal, Semicircle, Uniform, Weights
from gridflow.space.densities_on_surfaces import Fisher, Harmonic
from gridflow.space.factor import columns_of
from gridflow.space.grid import Grid
from gridflow.space.labels import Labels
from gridflow.space.line import Grading, Interval
from gridflow.space.mixture import Component
from gridflow.space.sphere import Sphere

X = Interval(bounds=(-3.0, 3.0), cells=40).factor("x")
Y = Interval(bounds=(-2.0, 4.0), cells=36, grading=Grading(focus=0.5, ratio=3.0)).factor("y")
ANGLE = Circle(cells=32).factor("angle")
SIGN = Labels(values=[-1.0, 1.0], volumes=[0.5, 2.0]).factor("s")
B = Sphere(level=2).factor("b")
EVERY = Grid([X, ANGLE, SIGN, B])
MIXTURE = [
    Component(
        {"x": Normal(0.0, 0.4), "angle": Normal(6.0, 0.7), "s": Weights([0.3, 0.7]), "b": Fisher((0.0, 1.0, 1.0), 3.0)}, 0.3
    ),
    Component({"x": Cosine(-0.5), "angle": Cosine(0.5, 2), "s": Uniform(), "b": Harmonic(0.4, 3, (1.0, 0.0, 2.0))}, 0.9),
]
POTENTIALS = {
    "target": (Potential(target=MIXTURE, scale=1.3), EVERY),
    "polynomial": (Potential(polynomial=[Monomial(0.7, {"x": 2, "s": 1}), Monomial(-0.3, {"x": 3})]), EVERY),
    "all": (Potential({"x": Quadratic()}, [Monomial(0.4, {"x": 1, "s": 2})], MIXTURE), EVERY),
}


def points_in(grid, rng, count=40):
    """Random places: anywhere on lines and circles, at the cell points of labels and surfaces."""
    columns = []
    for f in grid.factors:
        inside = rng.uniform(f.edges[0], f.edges[-1], count) if f.one_dimensional else f.points[rng.integers(0, f.size, count)]
        columns.append(inside.reshape(count, -1))
    return np.hstack(columns)


@pytest.mark.parametrize(("spec", "grid"), POTENTIALS.values(), ids=POTENTIALS.keys())
def test_gradients_are_derivatives(spec, grid, rng):
    energy = spec.load(Path()).particles(grid.factors)
    points, weights = points_in(grid, rng), np.full(40, 1 / 40)
    found, step = energy.evaluate(points, weights), 1e-5
    for f, c in zip(grid.factors, columns_of(grid.factors), strict=True):
        for column in range(c.start, c.stop):
            move = step * (np.arange(points.shape[1]) == column)
            ahead, back = (energy.evaluate(points + sign * move, weights).first_variation for sign in (1, -1))
            slope = (ahead - back) / (2 * step) if f.moves else 0.0
            np.testing.assert_allclose(found.gradient[:, column], slope, atol=1e-8)  # step² and round-off over step
    assert found.value == pytest.approx(found.first_variation.mean())


@pytest.mark.parametrize(("spec", "grid"), POTENTIALS.values(), ids=POTENTIALS.keys())
def test_cells_and_particles_read_the_same_function(spec, grid):
    energy = spec.load(Path())
    points = np.concatenate([p for p, _ in blocks_of_points(grid)])
    assert len(points) == grid.size > BLOCK  # more than one block
    found = energy.particles(grid.factors).evaluate(points, np.full(len(points), 1 / len(points)))
    np.testing.assert_allclose(energy.bind(grid).potential.ravel(), found.first_variation, atol=1e-12)


def test_a_target_is_the_logarithm_of_its_density():
    """Against cell masses, which come from distribution functions: equal up to h²/24·p''/p, a fourth on half the cells."""
    errors = []
    for level in (0, 1):
        x, angle = Interval((-3.0, 3.0), 64 * 2**level).factor("x"), Circle(64 * 2**level).factor("angle")
        grid = Grid([x, angle, SIGN])
        components = [Component({n: d for n, d in c.density.items() if n != "b"}, c.weight) for c in MIXTURE]
        density = sum(
            c.weight / 1.2 * np.multiply.outer(np.multiply.outer(*(c.density[f.name].masses(f) for f in grid.factors[:2])),
                                               c.density[grid.factors[2].name].masses(grid.factors[2])) for c in components
        ) / grid.volume  # fmt: skip
        potential = Potential(target=components).load(Path()).bind(grid).potential
        errors.append(np.abs(potential + np.log(density)).max())
    assert errors[0] <= 0.02  # (6/64)²/24·(p''/p of about 40 four deviations away)
    assert np.log2(errors[0] / errors[1]) == pytest.approx(2, abs=0.1)


def test_a_box_that_cuts_a_target_divides_it_by_what_is_left():
    """∫π over the box is 1: components of different shares inside keep their weights."""
    x = Interval((0.0, 3.0), 16).factor("x")
    y = Interval((-1.0, 1.0), 16).factor("y")
    components = [
        Component({"x": Normal(0.0, 1.0), "y": Normal(0.0, 2.0)}, 0.25),
        Component({"x": Normal(2.0, 0.5), "y": Uniform()}, 0.75),
    ]
    energy = Potential(target=components).load(Path()).particles((x, y))

    def density(b, a):
        return float(np.exp(-energy.evaluate(np.array([[a, b]]), np.ones(1)).value))

    total, _ = dblquad(density, 0.0, 3.0, -1.0, 1.0, epsabs=1e-6)
    assert total == pytest.approx(1.0, abs=1e-5)


def test_far_out_in_the_tails_the_nearest_component_rules():
    """A hundred deviations away every density is 0 in floating point; its logarithm and slope are not."""
    x = Interval((-50.0, 50.0), 16).factor("x")
    target = [Component({"x": Normal(-1.0, 0.3)}), Component({"x": Normal(1.0, 0.2)})]
    found = Potential(target=target).load(Path()).particles((x,)).evaluate(np.array([[-40.0], [40.0]]), np.ones(2) / 2)
    exact = [39**2 / (2 * 0.09), 39**2 / (2 * 0.09)]  # on both sides the wider one is nearer, in deviations
    exact[1] = min(39**2 / (2 * 0.04), 41**2 / (2 * 0.09))
    np.testing.assert_allclose(found.first_variation, np.array(exact) + np.log(2 * 0.3 * np.sqrt(2 * np.pi)), rtol=1e-12)
    np.testing.assert_allclose(found.gradient[:, 0], [-39 / 0.09, 41 / 0.09], rtol=1e-12)


# -------------------------------------------------------------------------------------------------------------- tables
def write_table(path, function, factors, variable="potential"):
    """A function of all coordinates at the points of the factors."""
    coordinates = {f.name: f.points for f in factors}
    values = function(*np.meshgrid(*coordinates.values(), indexing="ij"))
    xarray.Dataset({variable: (tuple(coordinates), values)}, coords=coordinates).to_netcdf(path)


def wavy(x, s, angle):
    return np.sin(x) * np.cos(angle) * s + 0.1 * x**2


def test_a_table_is_its_own_values_on_its_grid_and_of_fourth_order_between(tmp_path, rng):
    errors = []
    for n in (24, 48):
        x, angle = Interval((-3.0, 3.0), n, Grading(focus=0.0, ratio=2.0)).factor("x"), Circle(n).factor("angle")
        write_table(tmp_path / "v.nc", wavy, [x, SIGN, angle])
        energy, grid = Potential(file="v.nc").load(tmp_path), Grid([x, angle, SIGN])
        places = {f.name: grid.along(k, f.points) for k, f in enumerate(grid.factors)}
        exact = wavy(places["x"], places["s"], places["angle"])
        np.testing.assert_allclose(energy.bind(grid).potential, exact, atol=1e-13)
        finer = Grid([Interval((-3.0, 3.0), 101).factor("x"), Circle(77).factor("angle"), SIGN])
        places = {f.name: finer.along(k, f.points) for k, f in enumerate(finer.factors)}
        between = energy.bind(finer).potential - wavy(places["x"], places["s"], places["angle"])
        points = points_in(grid, rng, 400)
        columns = {f.name: points[:, c.start] for f, c in zip(grid.factors, columns_of(grid.factors), strict=True)}
        found = energy.particles(grid.factors).evaluate(points, np.full(400, 1 / 400))
        slope = np.cos(columns["x"]) * np.cos(columns["angle"]) * columns["s"] + 0.2 * columns["x"]
        k = [f.name for f in grid.factors].index("x")
        errors.append([np.abs(between).max(), np.abs(found.gradient[:, k] - slope).max()])
        assert np.abs(found.gradient[:, [f.name for f in grid.factors].index("s")]).max() == 0
    order = np.log2(np.array(errors[0]) / errors[1])
    assert order[0] >= 3.6, errors  # 4
    assert order[1] >= 2.6, errors  # 3: of the derivative, at the walls


def test_a_density_in_a_file_may_be_a_target(tmp_path):
    case = mixture_case()
    dataset = solve(case.replace({"time.stop": 0.05, "time.save": 2}), tmp_path / "a.nc")
    found = case_of({**SAMPLING, "energy": {"kind": "potential", "target": [{"file": "a.nc"}]}})
    energy = found.replace({"energy.target": [{"file": str(tmp_path / "a.nc")}]}).problem()
    last = dataset["density"][-1].transpose(*energy.grid.order).to_numpy()
    np.testing.assert_allclose(energy.bound.potential, -np.log(last), rtol=1e-10)


# ------------------------------------------------------------------------------------------------------------ sampling
SAMPLING = {
    "title": "a mixture of two normal densities",
    "space": {
        "x": {"kind": "interval", "bounds": [-4.0, 4.0], "cells": 48},
        "y": {"kind": "interval", "bounds": [-3.0, 3.0], "cells": 32},
    },
    "energy": {
        "kind": "potential",
        "weights": True,
        "target": [
            {"weight": 0.7, "density": {"x": {"kind": "normal", "mean": -1.2, "deviation": 0.6},
                                        "y": {"kind": "normal", "mean": 0.3, "deviation": 0.5}}},
            {"weight": 0.3, "density": {"x": {"kind": "normal", "mean": 1.2, "deviation": 0.5},
                                        "y": {"kind": "normal", "mean": -0.3, "deviation": 0.6}}},
        ],
    },
    "initial": [{"density": {"x": {"kind": "normal", "mean": 0.4, "deviation": 0.4},
                             "y": {"kind": "normal", "mean": 0.0, "deviation": 0.4}}}],
    "flow": {"temperature": 1.0},
    "scheme": {"kind": "finite-volume"},
    "time": {"stop": 60.0, "save": 7},
}  # fmt: skip


def mixture_case(**changes):
    return case_of(SAMPLING, **changes)


def test_langevin_ends_in_the_target_and_the_free_energy_is_kl():
    dataset = solve(mixture_case())
    problem = mixture_case().problem()
    last = dataset["density"][-1].transpose(*problem.grid.order).to_numpy()
    target = np.exp(-problem.bound.potential)
    assert problem.grid.integrate(target) == pytest.approx(1.0, abs=1e-4)  # the rule of midpoints
    np.testing.assert_allclose(last, target, atol=1e-4)
    assert float(dataset["energy"][-1]) == pytest.approx(0.0, abs=1e-4)
    assert float(dataset["energy"][0]) == pytest.approx(kl_of(dataset, 0, target, problem.grid), rel=1e-9)
    assert float(dataset["weight_error"][-1]) <= 1e-4 < 0.05 < float(dataset["weight_error"][0])


def kl_of(dataset, number, target, grid):
    rho = dataset["density"][number].transpose(*grid.order).to_numpy()
    return float((np.where(rho > 0, rho * np.log(np.where(rho > 0, rho, 1.0) / target), 0.0) * grid.volume).sum())


def test_the_weights_of_a_target_are_those_of_its_modes():
    """For modes that hardly overlap ∫r_k dρ is the mass around mode k."""
    case = mixture_case(energy__target__0__density__x__deviation=0.2, energy__target__1__density__x__deviation=0.2)
    problem = case.problem()
    x = problem.grid.coordinate("x")
    for share in (0.0, 0.2, 1.0):
        left, right = (np.exp(-((x - mean) ** 2) / 0.08) * np.ones(problem.grid.shape) for mean in (-1.2, 1.2))
        density = share * left / problem.grid.integrate(left) + (1 - share) * right / problem.grid.integrate(right)
        found = problem.diagnose(density, problem.evaluate(density))["weight_error"]
        assert found == pytest.approx(abs(share - 0.7), abs=1e-6)


# ----------------------------------------------------------------------------------------------------------- refusals
def target_of(**density):
    names = {"x": Normal(0.0, 0.5), "angle": Uniform(), "s": Uniform(), "b": Uniform()} | density
    return Potential(target=[Component(names)]).load(Path()).bind(EVERY)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: target_of(x=Uniform((-1.0, 1.0))), "a part of 'x'"),
        (lambda: target_of(x=Cosine(1.0)), "vanishes"),
        (lambda: target_of(x=Semicircle()), "0 beyond its radius"),
        (lambda: target_of(x=Weights([1.0] * 40)), "weights of cells"),
        (lambda: target_of(s=Weights([1.0, 0.0])), "weights 0 of labels"),
        (lambda: target_of(b=Harmonic(-1.0)), "vanish"),
        (lambda: target_of(b=Normal(0.0, 1.0)), "normal density on the sphere"),
        (lambda: target_of(x=Normal(500.0, 0.5)), "without any mass"),
        (lambda: target_of(z=Uniform()), "remove density.z"),
        (lambda: Potential(polynomial=[Monomial(1.0, {"angle": 2})]).load(Path()).bind(EVERY), "polynomial on the circle"),
        (lambda: Potential(polynomial=[Monomial(1.0, {"z": 2})]).load(Path()).bind(EVERY), "names the factor 'z'"),
        (lambda: Potential(file="none.nc").load(Path()).bind(EVERY), "no file 'none.nc'"),
        (lambda: mixture_case(energy__target=[], exact=None), "several components"),
    ],
)
def test_what_is_refused(call, message):
    with pytest.raises(InputError, match=message):
        call()


@pytest.mark.parametrize(
    ("function", "factors", "options", "message"),
    [
        (lambda x: 0 * x + np.nan, [X], {}, "finite values"),
        (lambda x: x, [X], {"variable": "other"}, "no variable 'other'"),
        (lambda x: x, [Interval((-3.0, 2.0), 40).factor("x")], {}, r"all over \[-3, 3\]"),
        (lambda x, y: x, [X, Y], {}, r"over \['x', 'y'\]"),
    ],
)
def test_tables_that_do_not_fit_are_refused(function, factors, options, message, tmp_path):
    write_table(tmp_path / "v.nc", function, factors)
    with pytest.raises(InputError, match=message):
        Potential(file="v.nc", **options).load(tmp_path).bind(Grid([X]))


def test_a_density_of_a_file_that_vanishes_is_refused_as_a_target(tmp_path):
    write_table(tmp_path / "v.nc", lambda x: np.maximum(x, 0.0), [X], "density")
    with pytest.raises(InputError, match="> 0 everywhere"):
        Potential(target=[Component(file="v.nc")]).load(tmp_path).bind(Grid([X]))


def test_tables_have_no_surfaces(tmp_path):
    write_table(tmp_path / "v.nc", lambda x: x, [X])
    with pytest.raises(InputError, match="surfaces"):
        Potential(file="v.nc").load(tmp_path).bind(Grid([X, B]))


def test_exact_solutions_of_terms_refuse_other_potentials():
    table = {
        **{k: v for k, v in SAMPLING.items() if k != "energy"},
        "space": {"x": SAMPLING["space"]["x"]},
        "initial": [{"density": {"x": {"kind": "cosine", "amplitude": 0.5}}}],
        "energy": {"kind": "potential", "polynomial": [{"coefficient": 1.0, "powers": {"x": 2}}]},
        "exact": {"kind": "heat"},
    }
    with pytest.raises(InputError, match="exact solution"):
        solve(case_of(table))


def test_particles_sample_the_target():
    """Mean and deviation of noisy particles, within four standard errors of those of the grid, on the way to the target."""
    case = mixture_case(time__stop=1.0, time__save=2)
    dataset, problem = solve(case), case.problem()
    run = Simulator.of(case).run(4000, times=[0.0, 1.0], seed=4, sampling="sobol", integrator=RungeKutta2(0.02))
    axis = problem.grid.order.index("x")
    masses = dataset["density"][-1].transpose(*problem.grid.order).to_numpy() * problem.grid.volume
    x, found = problem.grid.coordinate("x"), run.points[1, :, axis]
    mean = float((masses * x).sum() / masses.sum())
    deviation = float(np.sqrt((masses * (x - mean) ** 2).sum() / masses.sum()))
    assert found.mean() == pytest.approx(mean, abs=4 * deviation / np.sqrt(4000))
    assert found.std() == pytest.approx(deviation, rel=4 / np.sqrt(4000))
