"""Pair interactions: sums on grids and at particles against their definitions, order, gradients, convexity, exact flows."""

import numpy as np
import pytest
from scipy.special import ive, spherical_in

from gridflow.case.case import Case, load_case
from gridflow.energy.interaction.convolution import cell_points
from gridflow.energy.interaction.interaction import InteractionEnergy
from gridflow.energy.sum import SumEnergy
from gridflow.errors import InputError
from gridflow.particles.simulation import simulate
from gridflow.solver import solve
from gridflow.space.circle import Circle
from gridflow.space.concentration import concentration_warnings
from gridflow.space.grid import Grid
from gridflow.space.labels import Labels
from gridflow.space.line import Grading, Interval
from gridflow.space.sphere import Sphere
from gridflow.sums.distance import OfDistance
from gridflow.sums.kernels import Gaussian, Laplace, Riesz
from gridflow.sums.lattice import lattice_value
from gridflow.sums.laws import Bessel, Cosine, Exponential, Logarithmic, Morse, PowerLaw
from gridflow.sums.powers import MollifiedLogarithm

X = Interval(bounds=(-2.0, 1.0), cells=14).factor("x")
Y = Interval(bounds=(0.0, 2.5), cells=9).factor("y")
Z = Interval(bounds=(-1.0, 1.0), cells=7).factor("z")
WIDE = Interval(bounds=(-2.0, 2.0), cells=16).factor("x")
GRADED = Interval(bounds=(-2.0, 1.0), cells=12, grading=Grading(focus=0.2, ratio=5.0)).factor("x")
LABELS = Labels(values=[-1.0, 0.5, 3.0]).factor("label")
CIRCLE = Circle(cells=24).factor("angle")
SPHERE = Sphere(level=1).factor("b")
OWN = OfDistance(lambda r: np.cos(r) / (1 + r), lambda r: -np.sin(r) / (1 + r) - np.cos(r) / (1 + r) ** 2)
RADIAL = [
    PowerLaw(attraction=4.0, repulsion=2.0),
    PowerLaw(repulsion=-0.5),
    PowerLaw(attraction=3.0, repulsion=0.5, softening=0.1),
    Logarithmic(),
    Logarithmic(softening=0.3),
    Morse(),
    OWN,
    Laplace(0.8),
]
SPACES = {
    "line": (X,),
    "graded line": (GRADED,),
    "plane": (X, Y),
    "space": (X, Y, Z),
    "labels and a line": (LABELS, X),
}
EVERYWHERE = [(kernel, space) for space in SPACES.values() for kernel in RADIAL]
EVERYWHERE += [(Bessel(length=0.7, dimension=d), (X, Y, Z)[:d]) for d in (1, 2, 3)]
EVERYWHERE += [(Cosine(), (CIRCLE,)), (Cosine(wavenumber=3), (CIRCLE,))]
EVERYWHERE += [
    (kernel, space) for kernel in (Exponential(rate=1.5), Gaussian(1.3)) for space in [(CIRCLE,), (SPHERE,), (X, SPHERE)]
]
EVERYWHERE += [(kernel, (SPHERE,)) for kernel in (Morse(), Laplace(1.0), Riesz(1.0), OWN)]


def name(value):
    return "-".join(f.name for f in value) if isinstance(value, tuple) else None


def dense(kernel, grid):
    """The definition: k between all cell points, (n_cells, n_cells)."""
    if isinstance(kernel, Cosine):
        return kernel.matrix(grid.factors[0])
    if isinstance(kernel, Exponential):
        vectors = [f.embed(f.points) for f in grid.factors]
        numbers = np.indices(grid.shape).reshape(len(vectors), -1)
        points = np.column_stack([v[n] for v, n in zip(vectors, numbers, strict=True)])
        return np.exp(kernel.rate * points @ points.T)
    if isinstance(kernel, Gaussian) and grid.factors[0].period:
        return kernel.matrix(grid.factors[0])
    points = cell_points(grid)
    squared = ((points[:, None] - points[None]) ** 2).sum(axis=2)
    matrix = kernel.radial(squared)
    lines = [f for f in grid.factors if f.one_dimensional]
    if getattr(kernel, "peaked", False):
        others = [f.volumes[0] for f in lines[1:]]
        along = lines[0].volumes if not lines[0].uniform else lines[0].volumes[:1]
        own = np.array([lattice_value(kernel, np.array([width, *others])) for width in along])
        own = np.broadcast_to(own, lines[0].size)
        axis = grid.factors.index(lines[0])
        np.fill_diagonal(matrix, np.broadcast_to(grid.along(axis, own), grid.shape).ravel())
    return matrix


def some_masses(grid, seed=0):
    masses = np.random.default_rng(seed).random(grid.shape)
    return masses / masses.sum()


@pytest.mark.parametrize(("kernel", "space"), EVERYWHERE, ids=name)
def test_energy_and_first_variation_are_their_definitions(kernel, space):
    grid = Grid(list(space))
    masses, matrix = some_masses(grid), -0.7 * dense(kernel, grid)
    found = InteractionEnergy(kernel, amplitude=-0.7).bind(grid).evaluate(masses)
    scale = np.abs(matrix).max()
    np.testing.assert_allclose(found.first_variation.ravel(), matrix @ masses.ravel(), atol=1e-12 * scale)
    assert found.value == pytest.approx(0.5 * masses.ravel() @ matrix @ masses.ravel(), abs=1e-12 * scale)
    assert 0 < found.roundoff <= 1e-13 * scale


@pytest.mark.parametrize(("kernel", "space"), EVERYWHERE, ids=name)
def test_convexity_is_claimed_where_the_matrix_has_it(kernel, space):
    """Definite on differences of equal mass, for both signs; what is claimed is sufficient."""
    grid = Grid(list(space))
    matrix = dense(kernel, grid)
    lowest = np.linalg.eigvalsh(centred(matrix))[0]
    if InteractionEnergy(kernel, 1.0).bind(grid).convex:
        assert lowest >= -1e-11 * np.abs(matrix).max()
    assert not InteractionEnergy(kernel, -1.0).bind(grid).convex


def random_points(factors, count, seed=1):
    generator = np.random.default_rng(seed)
    parts = []
    for f in factors:
        if f.columns > 1:
            parts.append(f.fold(generator.standard_normal((count, 3))))
        elif f.moves:
            parts.append(generator.uniform(f.edges[0], f.edges[-1], (count, 1)))
        else:
            parts.append(generator.choice(f.points, (count, 1)))
    return np.concatenate(parts, axis=1)


def between(kernel, factors, points):
    """k between points, (n, n), from its formula."""
    if isinstance(kernel, Cosine):
        return np.cos(kernel.wavenumber * (points - points.T))
    if isinstance(kernel, Exponential):
        columns, vectors = 0, []
        for f in factors:
            part = points[:, columns : columns + f.columns]
            vectors.append(f.embed(part[:, 0] if f.columns == 1 else part).reshape(len(points), -1))
            columns += f.columns
        vectors = np.concatenate(vectors, axis=1)
        return np.exp(kernel.rate * vectors @ vectors.T)
    if isinstance(kernel, Gaussian) and factors[0].period:
        turns = 2 * np.pi * np.arange(-9, 10)
        return np.exp(-((points - points.T + turns[:, None, None]) ** 2) / (2 * kernel.bandwidth**2)).sum(axis=0)
    return kernel.radial(((points[:, None] - points[None]) ** 2).sum(axis=2))


@pytest.mark.parametrize(("kernel", "space"), EVERYWHERE, ids=name)
def test_particles(kernel, space):
    """The value against the definition; the gradient w_i ∂ξ(x_i) against differences of the value along every coordinate."""
    factors = Grid(list(space)).factors
    points, weights = random_points(factors, 9), np.linspace(0.5, 1.5, 9) / 9
    energy = InteractionEnergy(kernel, 1.3).particles(factors)
    found, step = energy.evaluate(points, weights), 1e-5
    field = 1.3 * between(kernel, factors, points) @ weights
    if getattr(kernel, "singular", False):  # particles leave themselves out, other pairs count for these
        field /= 1 - (weights**2).sum()
    np.testing.assert_allclose(found.first_variation, field, rtol=1e-11, atol=1e-11)
    assert found.value == pytest.approx(0.5 * weights @ found.first_variation, rel=1e-12)
    column = 0
    for f in factors:
        for c in range(column, column + f.columns):
            if not f.moves:
                assert (found.gradient[:, c] == 0).all()
                continue
            for i in range(len(points)):
                values = []
                for sign in (1, -1):
                    moved = points.copy()
                    moved[i, c] += sign * step
                    values.append(energy.evaluate(moved, weights).value)
                slope = (values[0] - values[1]) / (2 * step)
                assert weights[i] * found.gradient[i, c] == pytest.approx(slope, rel=1e-5, abs=1e-8)
        column += f.columns


@pytest.mark.parametrize("widths", [[0.1], [0.1, 0.1], [0.1, 0.1, 0.1]])
def test_lattice_value_against_published_constants(widths):
    """−log(h/2π) and −log h − Z'(0) (Epstein zeta); 1/r: −ζ-like constants 3.90026492 (plane) and 2.83729748 (space)."""
    h, dim = widths[0], len(widths)
    if dim < 3:
        plane = -np.log(h) + 1.3105329259
        assert lattice_value(Logarithmic(), np.array(widths)) == pytest.approx(
            [-np.log(h / (2 * np.pi)), plane][dim - 1], rel=1e-8
        )
    if dim > 1:
        coulomb = lattice_value(PowerLaw(repulsion=-1.0), np.array(widths))
        assert coulomb * h == pytest.approx([3.90026492, 2.83729748][dim - 2], rel=1e-8)


@pytest.mark.parametrize("width", [0.02853, 0.02856])
def test_lattice_value_where_the_integral_of_the_kernel_vanishes(width):
    """∫−log r c dx = 0 for a cutoff of 2.8533, of 100 cells: no quadrature has digits of it (warnings are errors)."""
    assert lattice_value(Logarithmic(), np.array([width])) == pytest.approx(-np.log(width / (2 * np.pi)), abs=1e-11)


@pytest.mark.parametrize("kernel", [Logarithmic(), PowerLaw(repulsion=-0.5), PowerLaw(repulsion=-1.0), Bessel(length=0.4)])
def test_singular_kernels_are_of_second_order(kernel):
    """The field at the centre of a normal density, against its radial integral ∫k(r) ρ(r) 2πr dr."""
    from scipy.integrate import quad

    def exact():
        def ring(u):  # r = u⁴: smooth at 0
            r = u**4
            return float(kernel.radial(np.array([r * r]))[0]) * np.exp(-(r**2) / (2 * 0.3**2)) / 0.09 * r * 4 * u**3

        return quad(ring, 1e-12, 2.4**0.25, epsabs=1e-13, epsrel=1e-12, limit=200)[0]

    errors = []
    for cells in (21, 43):
        lines = [Interval(bounds=(-2.1, 2.1), cells=cells).factor(n) for n in "xy"]
        grid = Grid(lines)
        squared = grid.along(0, grid.factors[0].points ** 2) + grid.along(1, grid.factors[1].points ** 2)
        masses = np.exp(-squared / (2 * 0.3**2)) / (2 * np.pi * 0.09) * grid.volume
        xi = InteractionEnergy(kernel).bind(grid).evaluate(masses).first_variation
        errors.append(abs(xi[cells // 2, cells // 2] - exact()))
    assert errors[1] <= errors[0] * (21 / 43) ** 1.8


# ---------------------------------------------------------------------------------------------------------------- flows
def shipped(name, **changes):
    from gridflow.case.case import load_case

    return solve(load_case(name).replace({key.replace("__", "."): value for key, value in changes.items()}))


def mean(dataset, function):
    return ((dataset["density"] * dataset["cell_volume"]) * function).sum(dataset["cell_volume"].dims).to_numpy()


@pytest.mark.parametrize(("name", "factor", "order"), [("aggregation-quadratic", "x", 1.7), ("log-gas", "x", 1.3)])
def test_exact_flows(name, factor, order):
    """Second order; the steep ends of a semicircle leave h^{3/2} (log-gas)."""
    errors = [
        float(shipped(name, **{f"space__{factor}__cells": n, "time__stop": 0.5, "time__save": 3})["error_w1"].max())
        for n in (128, 256)
    ]
    assert errors[1] <= errors[0] / 2**order
    assert errors[1] <= 1e-3


def test_log_gas_ends_as_the_semicircle():
    dataset = shipped("log-gas", space__x__cells=128)
    assert float(dataset["error_w1"][-1]) <= 1e-3
    assert mean(dataset, dataset["x"] ** 2)[-1] == pytest.approx(2 / 4 + (0.5**2 / 4 - 0.5) * np.exp(-6), rel=2e-3)  # R²/4


@pytest.mark.parametrize("temperature", [0.25, 0.75])
def test_kuramoto_order_parameter(temperature):
    """r = I₁(r/D)/I₀(r/D) below D = K/2, and decay at the rate D − K/2 above."""
    from scipy.optimize import brentq

    dataset = shipped(
        "kuramoto", space__theta__cells=64, scheme__accuracy=0.1, time__stop=40.0, time__save=41, flow__temperature=temperature
    )
    r = np.hypot(mean(dataset, np.cos(dataset["theta"])), mean(dataset, np.sin(dataset["theta"])))
    if temperature < 0.5:
        stationary = brentq(lambda r: r - ive(1, r / temperature) / ive(0, r / temperature), 0.1, 1.0)
        assert r[-1] == pytest.approx(stationary, abs=1e-3)
    else:
        times = dataset["time"].to_numpy()
        assert np.log(r[10] / r[4]) / (times[10] - times[4]) == pytest.approx(0.5 - temperature, rel=0.01)


@pytest.mark.parametrize("side", [0.1, -0.1])
def test_mckean_vlasov_has_two_states_below_the_critical_temperature(side):
    from scipy.optimize import brentq

    x = np.linspace(-2.6, 2.6, 4001)

    def mean_of(m):
        weight = np.exp(-((x**2 - 1) ** 2 / 4 + 0.25 * (x - m) ** 2) / 0.1)
        return (x * weight).sum() / weight.sum()

    stationary = brentq(lambda m: mean_of(m) - m, 0.3, 1.5)
    start = [{"density": {"x": {"kind": "normal", "mean": side, "deviation": 0.4}}}]
    dataset = shipped("mckean-vlasov-double-well", initial=start, time__stop=40.0)
    assert mean(dataset, dataset["x"])[-1] == pytest.approx(np.sign(side) * stationary, abs=2e-3)


@pytest.mark.parametrize(("amplitude", "stop", "half_box", "cells"), [(-2.0, 0.2, 4.0, 128), (-6.0, 0.05, 3.0, 256)])
def test_keller_segel_keeps_the_virial_identity(amplitude, stop, half_box, cells):
    """ṁ₂ = 4D − χ/2π, below and above the critical χ = 8πD, χ = −2π·amplitude: to 1e−3, and to second order in the cells."""
    exact, errors = 4 + amplitude, []
    for n in (cells // 2, cells):
        box = {f"space__{x}__{k}": v for x in "xy" for k, v in {"cells": n, "bounds": [-half_box, half_box]}.items()}
        dataset = shipped("keller-segel", energy__amplitude=amplitude, time__stop=stop, time__save=2, **box)
        second = mean(dataset, dataset["x"] ** 2 + dataset["y"] ** 2)
        errors.append((second[1] - second[0]) / stop / exact - 1)
    assert abs(errors[1]) <= min(1e-3, abs(errors[0]) / 2**1.8)


def test_blow_up_is_a_warning():
    box = {f"space__{n}__{k}": v for n in "xy" for k, v in {"cells": 32, "bounds": [-3.0, 3.0]}.items()}
    dataset = shipped("keller-segel", energy__amplitude=-8.0, time__stop=1.0, time__save=3, **box)
    assert dataset.attrs["status"] == "completed"
    assert "of the mass is in one cell" in dataset.attrs["warnings"]
    assert np.isfinite(dataset["density"]).all()


def test_ring():
    dataset = shipped("power-law-ring", space__x__cells=64, space__y__cells=64)
    radius = np.hypot(dataset["x"], dataset["y"])
    assert mean(dataset, radius)[-1] == pytest.approx(3**-0.5, abs=2.0 / 64 / 4)  # a quarter of a cell
    assert np.sqrt(mean(dataset, radius**2)[-1] - mean(dataset, radius)[-1] ** 2) <= 2 * 2.0 / 64


@pytest.mark.parametrize("degree", [1, 2, 3])
def test_attention_grows_harmonics_at_their_rates(degree):
    """W = −e^{βx·y}/β: l(l + 1)i_l(β)/β from the uniform state."""
    beta = 3.0
    case = {
        "title": "attention",
        "space": {"b": {"kind": "sphere", "level": 4}},
        "energy": {"kind": "interaction", "kernel": {"kind": "exponential", "rate": beta}, "amplitude": -1 / beta},
        "initial": [{"density": {"b": {"kind": "harmonic", "amplitude": 1e-3, "degree": degree, "axis": [1.0, 2.0, 2.0]}}}],
        "scheme": {"kind": "finite-volume"},
        "time": {"stop": 0.1, "save": 2},
    }
    dataset = solve(Case.from_dict(case))
    density = dataset["density"].to_numpy() * 4 * np.pi - 1
    growth = np.log(np.vdot(density[1], density[0]) / np.vdot(density[0], density[0])) / 0.1
    assert growth == pytest.approx(degree * (degree + 1) * spherical_in(degree, beta) / beta, rel=0.01)


BAD = {
    "beyond integrability": ({"kernel": {"kind": "power-law", "repulsion": -1.5}}, "exponents above −1"),
    "no exponent": ({"kernel": {"kind": "power-law"}}, "without exponents"),
    "exponent 0": ({"kernel": {"kind": "power-law", "repulsion": 0.0}}, "logarithmic"),
    "cosine on an interval": ({"kernel": {"kind": "cosine"}}, "one circle"),
    "another dimension": ({"kernel": {"kind": "bessel", "length": 1.0, "dimension": 2}}, "as many as dimension"),
    "amplitude 0": ({"kernel": {"kind": "laplace", "bandwidth": 1.0}, "amplitude": 0.0}, "amplitude 0"),
    "an unknown factor": ({"kernel": {"kind": "laplace", "bandwidth": 1.0}, "factors": ["y"]}, "energy.factors"),
    "next to what is integrable": ({"kernel": {"kind": "power-law", "repulsion": -0.9999}}, "exponents above −1"),
    "a short length": ({"kernel": {"kind": "bessel", "length": 0.01, "dimension": 1}}, "at least one cell"),
    "a narrow Morse": ({"kernel": {"kind": "morse", "attraction_length": 0.01}}, "attraction_length"),
    "a narrow kernel": ({"kernel": {"kind": "gaussian", "bandwidth": 1e-3}}, "at least one cell"),
}


@pytest.mark.parametrize("name", BAD)
def test_refusals(name):
    change, message = BAD[name]
    case = {
        "title": "bad",
        "space": {"x": {"kind": "interval", "bounds": [-1.0, 1.0], "cells": 16}},
        "energy": {"kind": "interaction", **change},
        "initial": [{"density": {"x": {"kind": "normal", "mean": 0.0, "deviation": 0.2}}}],
        "scheme": {"kind": "finite-volume"},
        "time": {"stop": 0.1},
    }
    with pytest.raises(InputError, match=message):
        solve(Case.from_dict(case))


def test_some_factors_alone():
    """An interaction of x alone acts on the marginal of x, whatever the order of the factors."""
    lines = [Interval(bounds=(-2.0, 1.0), cells=n).factor(name) for n, name in ((8, "x"), (9, "y"))]
    grid = Grid([*lines, LABELS])
    masses = some_masses(grid)
    found = InteractionEnergy(Laplace(0.9), 2.0, ("x",)).bind(grid).evaluate(masses)
    axis = grid.order.index("x")
    marginal = masses.sum(axis=tuple(k for k in range(3) if k != axis))
    field = 2.0 * dense(Laplace(0.9), Grid([lines[0]])) @ marginal
    np.testing.assert_allclose(found.first_variation, np.broadcast_to(grid.along(axis, field), grid.shape), atol=1e-13)
    assert found.value == pytest.approx(0.5 * field @ marginal, rel=1e-13)


def test_singular_kernels_want_cells_of_equal_sides_and_labels_apart():
    """On cells of 1 : 4 the matrix of a repulsion has negative eigenvalues, and mass forms stripes."""
    long = Interval(bounds=(-2.0, 1.0), cells=6).factor("y")
    short = Interval(bounds=(-2.0, 1.0), cells=24).factor("x")
    assert np.linalg.eigvalsh(centred(dense(Logarithmic(), Grid([short, long]))))[0] < -0.1
    with pytest.raises(InputError, match=r"sides within a factor 1\.5"):
        InteractionEnergy(Logarithmic()).bind(Grid([short, long]))
    InteractionEnergy(Laplace(1.0)).bind(Grid([short, long]))
    near = Labels(values=[0.0, 1e-3]).factor("label")
    with pytest.raises(InputError, match="labels at least one cell apart"):
        InteractionEnergy(Logarithmic()).bind(Grid([near, short]))
    InteractionEnergy(Logarithmic(), 1.0, ("x",)).bind(Grid([near, short]))


def centred(matrix):
    centring = np.eye(len(matrix)) - 1 / len(matrix)
    return centring @ matrix @ centring


def test_a_wave_needs_cells():
    with pytest.raises(InputError, match="at most 6"):
        InteractionEnergy(Cosine(wavenumber=7)).bind(Grid([CIRCLE]))


def test_softened_kernels_count_every_pair():
    """Two particles at a distance r: ½(k(0)·½ + k(r)·½), not weighed; singular ones ½k(r)."""
    points, weights = np.array([[0.0], [0.4]]), np.full(2, 0.5)
    soft = InteractionEnergy(Logarithmic(softening=0.3)).particles((X,)).evaluate(points, weights).value
    assert soft == pytest.approx(-0.25 * (np.log(0.3) + np.log(0.5)))
    assert InteractionEnergy(Logarithmic()).particles((X,)).evaluate(points, weights).value == pytest.approx(-0.5 * np.log(0.4))


def semicircle(count, radius=2**0.5):
    """Quantiles of Wigner's semicircle at the middles of equal masses."""
    from scipy.stats import semicircular

    return radius * semicircular.ppf((np.arange(count) + 0.5) / count)[:, None]


def mollified(mollification, amplitude=1.0):
    return InteractionEnergy(Logarithmic(mollification=mollification), amplitude).particles((WIDE,))


def test_the_mollified_field_of_a_semicircle():
    """With m(z) = 2(z − (z² − R²)^½)/R², log|x + iε| smooths −log r to −Re(1 − ε∂_ε)m(x + iε). N quantiles are a midpoint rule
    whose sums err by 1/(N ε)² of a kernel of width ε, and by N^{−3/2} at the ends; the plain softening is an order worse."""
    count, radius, length = 4000, 2**0.5, 0.05
    points, weights = semicircle(count), np.full(count, 1 / count)
    found = mollified(length * count**0.5).evaluate(points, weights).gradient[:, 0]
    z = points[:, 0] + 1j * length
    root = np.sqrt(z - radius) * np.sqrt(z + radius)  # the branch that is z at infinity
    m, slope = 2 * (z - root) / radius**2, 2 * (1 - z / root) / radius**2
    np.testing.assert_allclose(found, -(m - 1j * length * slope).real, atol=2e-4)
    inside = abs(points[:, 0]) < 0.8 * radius
    exact = -2 * points[:, 0] / radius**2
    soft = InteractionEnergy(Logarithmic(softening=length)).particles((WIDE,)).evaluate(points, weights).gradient[:, 0]
    assert abs(found - exact)[inside].max() <= length**2
    assert abs(soft - exact)[inside].max() >= length / 2


@pytest.mark.parametrize("amplitude", [1.0, -1.0])
def test_a_mollified_logarithm_repels_where_its_amplitude_is_positive(amplitude):
    """Two particles: −∂E/∂x_i = a w_j r(r² + 3ε²)/(r² + ε²)², away from the other one for a > 0; twice as many of half the
    weight have ε/√2."""
    points, weights, length = np.array([[-0.1], [0.3]]), np.full(2, 0.5), 0.2
    found = mollified(length * 2**0.5, amplitude).evaluate(points, weights)
    push = amplitude * 0.5 * 0.4 * (0.4**2 + 3 * length**2) / (0.4**2 + length**2) ** 2
    np.testing.assert_allclose(-found.gradient[:, 0], [-push, push], rtol=1e-12)
    own, other = (-0.5 * np.log(r**2 + length**2) + length**2 / (r**2 + length**2) for r in (0.0, 0.4))
    assert found.value == pytest.approx(amplitude * 0.25 * (own + other))
    four = mollified(length * 2**0.5, amplitude).evaluate(np.repeat(points, 2, axis=0), np.full(4, 0.25))
    half = MollifiedLogarithm(length / 2**0.5).radial(np.array([0.0, 0.4**2]))
    assert four.value == pytest.approx(amplitude * 0.25 * half.sum())


def test_particles_of_a_log_gas_end_as_the_semicircle():
    """∫x²dρ = R²/4 = ½, by the virial ½ΣΣ w_i w_j r·(slope) = ½ of −log r. On a line the mollified kernel has ½ + O(ε²): with
    ε² = 1/N and N = 256 less than 2·10⁻³, and a quarter of it with half the length; the plain softening loses O(ε), 2·10⁻²."""
    case = load_case("log-gas").replace({"time.stop": 5.0, "time.save": 2})
    errors = []
    for kernel in ({"mollification": 1.0}, {"mollification": 0.5}, {"softening": 256**-0.5}):
        parts = [
            {"kind": "potential", "terms": {"x": {"kind": "quadratic"}}},
            {"kind": "interaction", "kernel": {"kind": "logarithmic", **kernel}},
        ]
        changed = case.replace({"energy.parts": parts, "exact": None})
        run = simulate(changed, 256, sampling="sobol")
        errors.append((run.points[-1] ** 2).mean() - 0.5)
    assert -2e-3 < errors[0] < 0
    assert errors[1] == pytest.approx(errors[0] / 4, rel=0.25)
    assert errors[2] < -2e-2


def test_the_verdict_says_what_particles_use():
    singular = InteractionEnergy(Logarithmic()).particles((X,)).attributes["particle_kernel"]
    assert "without pairs of a particle with itself" in singular
    assert "e = 0.5 N^(-1/2)" in mollified(0.5).attributes["particle_kernel"]
    assert InteractionEnergy(Morse()).particles((X,)).attributes == {}
    energy = SumEnergy((InteractionEnergy(Logarithmic(mollification=0.5)), InteractionEnergy(Morse()))).particles((X,))
    finer = energy.refined().parts
    assert finer[0].energy.kernel == Logarithmic(mollification=0.25)
    assert finer[1] is energy.parts[1]
    plain = SumEnergy((InteractionEnergy(Morse()),)).particles((X,))
    assert plain.refined() is plain


def test_a_softened_logarithm_has_no_mollification():
    with pytest.raises(ValueError, match="remove one of them"):
        Logarithmic(softening=0.1, mollification=1.0)


def test_the_round_off_counts_the_value_at_zero():
    """At a spike of all mass the value is ½k(0), of the lattice."""
    grid = Grid([X])
    masses = np.zeros(grid.shape)
    masses[3] = 1.0
    kernel = PowerLaw(repulsion=-0.99)
    found = InteractionEnergy(kernel).bind(grid).evaluate(masses)
    assert found.value == pytest.approx(0.5 * lattice_value(kernel, X.volumes[:1]), rel=1e-9)
    assert found.roundoff >= 1e-16 * found.value


def test_mass_in_one_cell_is_judged_for_every_label():
    grid = Grid([X, LABELS])
    density = np.zeros(grid.shape)
    axis = grid.order.index("x")
    density[tuple(3 if k == axis else slice(None) for k in range(2))] = 1.0
    assert "per label" in concentration_warnings(grid, density)[0]
    assert concentration_warnings(grid, np.ones(grid.shape)) == []
