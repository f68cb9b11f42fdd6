"""Residual networks: first variations, gradients, approximations and teachers of S3 §3, on grids and at particles."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from helpers import case_of

import gridflow
from gridflow.energy.network.activation import ACTIVATIONS, CURVATURES, JETS
from gridflow.energy.network.data import Data
from gridflow.energy.network.inputs import GaussHermiteInputs, NormalInputs, UniformInputs
from gridflow.energy.resnet import layers as resnet_layers
from gridflow.energy.resnet.layers import RowFeatures
from gridflow.energy.resnet.spec import ResNet, ResNetEnergy
from gridflow.energy.resnet.teacher import ResNetTeacher, TeacherResNet
from gridflow.errors import InputError
from gridflow.particles.cloud import draw_cloud
from gridflow.particles.integrator import RungeKutta2
from gridflow.space.circle import Circle
from gridflow.space.densities import Normal, Uniform, Weights
from gridflow.space.distances import wasserstein1
from gridflow.space.grid import Grid
from gridflow.space.labels import Labels
from gridflow.space.line import Interval
from gridflow.space.mixture import Component
from tests.reference.activation import DERIVATIVES

HERE = Path()
LINE = UniformInputs(count=7, bounds=(-2.0, 1.5))
PLANE = NormalInputs(count=9, covariance=[[1.0, 0.3], [0.3, 0.5]], seed=2)


def line(name, cells, bounds=(-1.5, 1.2)):
    return Interval(bounds=bounds, cells=cells).factor(name)


def layers(n):
    return Labels(values=[float(k) for k in range(n)], volumes=[1 / n] * n).factor("layer")


def vanilla(*layers):
    return [TeacherResNet([[list(np.atleast_1d(theta))] for theta in layers])]


DEPTH = line("depth", 5, (0.0, 1.0))  # between the sizes of θ_22 and θ_21: axes in an order of period three
MATRIX = [f"t{k}{m}" for k in (1, 2) for m in (1, 2)]
MATRIX_FACTORS = [line(name, n) for name, n in zip(MATRIX, (5, 4, 6, 4), strict=True)]
ROTATION = (0.3, -0.5, 0.4, 0.1)


def frozen(*factors):
    return Grid(list(factors), {"depth": (None, np.zeros(1))})


def teach(inputs, *thetas):
    return ResNetTeacher(inputs=inputs, networks=vanilla(*thetas))


CASES = {
    "ensemble of 2": (ResNet("ensemble", teach(LINE, 0.8, -0.5), ["a", "b"]), Grid([line("a", 6), line("b", 5)])),
    "ensemble of 3, arctan": (
        ResNet("ensemble", teach(LINE, 0.8, -0.5, 0.2), ["a", "b", "c"], activation="arctan"),
        Grid([line("a", 7), line("b", 5), line("c", 4)]),
    ),
    "ensemble in the plane": (ResNet("ensemble", teach(PLANE, ROTATION), MATRIX), Grid(MATRIX_FACTORS)),
    "ensemble of 2 in the plane": (
        ResNet("ensemble", teach(PLANE, ROTATION, ROTATION[::-1]), [*MATRIX, *(f"{name}_next" for name in MATRIX)]),
        Grid([line(name + end, 2) for end in ("", "_next") for name in MATRIX]),
    ),
    "wide": (ResNet("wide", teach(LINE, 0.8, -0.5, 0.2), ["a"], "layer"), Grid([line("a", 9), layers(3)])),
    "wide, huber": (
        ResNet("wide", teach(LINE, 0.8, -0.5), ["a"], "layer", activation="arctan", loss="huber"),
        Grid([line("a", 9), layers(2)]),
    ),
    "wide in the plane": (
        ResNet("wide", teach(PLANE, ROTATION, ROTATION[::-1]), MATRIX, "layer"),
        Grid([*MATRIX_FACTORS, layers(2)]),
    ),
    "linear": (ResNet("linear", teach(LINE, 0.8, -0.5), ["a"], "depth"), frozen(line("a", 9), DEPTH)),
    "linear without depth": (ResNet("linear", teach(LINE, 0.8), ["a"]), Grid([line("a", 9)])),
    "linear in the plane": (ResNet("linear", teach(PLANE, *[ROTATION] * 3), MATRIX, "layer"), Grid([*MATRIX_FACTORS, layers(3)])),
    "quadratic": (ResNet("quadratic", teach(LINE, 0.8, -0.5), ["a"], "depth"), frozen(line("a", 9), DEPTH)),
    "quadratic, layers": (
        ResNet("quadratic", teach(LINE, 0.8, -0.5, 0.1), ["a"], "layer", activation="arctan"),
        Grid([line("a", 9), layers(3)]),
    ),
    "quadratic in the plane": (
        ResNet("quadratic", teach(PLANE, ROTATION, ROTATION[::-1]), MATRIX, "depth"),
        frozen(*MATRIX_FACTORS, DEPTH),
    ),
}
every = pytest.mark.parametrize(("spec", "grid"), CASES.values(), ids=CASES.keys())


def random_mass(grid, rng):
    mass = rng.random(grid.shape)
    return mass / mass.sum()


def cells_as_points(grid):
    return np.stack([np.broadcast_to(grid.coordinate(n), grid.shape).ravel() for n in grid.order], axis=1)


# --------------------------------------------------------------------------------------------------- the derivatives
@every
def test_first_variation_is_the_derivative_of_the_value(spec, grid, rng):
    bound = spec.load(HERE).bind(grid)
    mass, direction = random_mass(grid, rng), rng.standard_normal(grid.shape) / grid.size
    step = 1e-4
    slope = (bound.evaluate(mass + step * direction).value - bound.evaluate(mass - step * direction).value) / (2 * step)
    # central differences: round-off 1e−16/step, and third derivatives of order one times step²
    assert np.vdot(bound.evaluate(mass).first_variation, direction) == pytest.approx(slope, rel=1e-6, abs=1e-10)


@every
def test_particles_at_the_cells_have_the_energy_and_first_variation_of_the_grid(spec, grid, rng):
    energy, mass = spec.load(HERE), random_mass(grid, rng)
    on_grid = energy.bind(grid).evaluate(mass)
    cloud = energy.particles(grid.factors).evaluate(cells_as_points(grid), mass.ravel())
    assert cloud.value == pytest.approx(on_grid.value, rel=1e-12)
    np.testing.assert_allclose(cloud.prediction, on_grid.prediction, atol=1e-13)
    np.testing.assert_allclose(cloud.first_variation, on_grid.first_variation.ravel(), atol=1e-13)
    assert on_grid.first_variation.flags.c_contiguous


def random_cloud(grid, rng, n=9):
    points = np.stack(
        [rng.uniform(*f.edges[[0, -1]], n) if f.one_dimensional else f.points[np.arange(n) % f.size] for f in grid.factors],
        axis=1,
    )
    weights = rng.random(n)
    return points, weights / weights.sum()


@every
def test_gradient_at_particles_is_the_derivative_of_the_value(spec, grid, rng):
    """w_i grad ξ(θ_i) = ∂E/∂θ_i; labels do not move, and a depth only orders the particles."""
    energy = spec.load(HERE).particles(grid.factors)
    points, weights = random_cloud(grid, rng)
    result, step = energy.evaluate(points, weights), 1e-6
    for k, factor in enumerate(grid.factors):
        if not factor.one_dimensional:
            assert (result.gradient[:, k] == 0).all()
            continue
        for i in range(len(points)):
            ahead, back = points.copy(), points.copy()
            ahead[i, k] += step
            back[i, k] -= step
            slope = (energy.evaluate(ahead, weights).value - energy.evaluate(back, weights).value) / (2 * step)
            # round-off 1e−16/1e−6
            assert weights[i] * result.gradient[i, k] == pytest.approx(slope, rel=1e-6, abs=1e-9)


@every
def test_first_variation_at_particles_is_the_derivative_in_the_weights(spec, grid, rng):
    energy = spec.load(HERE).particles(grid.factors)
    points, weights = random_cloud(grid, rng)
    xi, step = energy.evaluate(points, weights).first_variation, 1e-4
    for i in range(len(points)):
        change = step * (np.arange(len(points)) == i)
        slope = (energy.evaluate(points, weights + change).value - energy.evaluate(points, weights - change).value) / (2 * step)
        assert xi[i] == pytest.approx(slope, rel=1e-6, abs=1e-9)


@every
def test_convexity_is_claimed_where_f_is_linear_in_the_density(spec, grid, rng):
    bound = spec.load(HERE).bind(grid)
    assert bound.convex == (spec.model in ("ensemble", "linear"))
    if bound.convex:
        for _ in range(20):
            one, two = random_mass(grid, rng), random_mass(grid, rng)
            middle = bound.evaluate((one + two) / 2)
            assert middle.value <= (bound.evaluate(one).value + bound.evaluate(two).value) / 2 + middle.roundoff


def test_a_wide_resnet_is_not_convex():
    """σ = identity, d = 1, two layers: f = x(1 + m₀/2)(1 + m₁/2) in the means of the layers; (−2, 0) and (0, −2) both give f = 0,
    and the middle between them x/4."""
    spec = ResNet("wide", teach(LINE, -2.0, -2.0), ["a"], "layer", activation="identity")
    bound = spec.load(HERE).bind(Grid([Labels(values=[-2.0, 0.0]).factor("a"), layers(2)]))
    axis = bound.model.rows.grid.order.index("a")
    one = np.array([[0.5, 0.0], [0.0, 0.5]])  # masses of (−2, 0) in the layers 0 and 1
    two = one[::-1]
    if axis == 0:
        one, two = one.T, two.T
    assert bound.evaluate(one).value == pytest.approx(0.0, abs=1e-30)
    assert bound.evaluate(two).value == pytest.approx(0.0, abs=1e-30)
    assert bound.evaluate((one + two) / 2).value > 0.01


# -------------------------------------------------------------------------------------------------- the definitions
def test_the_wide_resnet_is_its_definition(rng):
    """S3 (7) and the adjoint of (8), by loops: X^{ℓ+1} = X^ℓ + (1/L) Σ_i ρ^ℓ_i σ(θ_i X^ℓ), ξ = L·∂E/∂ρ^ℓ."""
    spec, grid = CASES["wide in the plane"]
    energy = spec.load(HERE)
    bound = energy.bind(grid)
    mass = random_mass(grid, rng)
    points, weights = cells_as_points(grid), mass.ravel()
    columns = [grid.order.index(name) for name in MATRIX]
    layer = points[:, grid.order.index("layer")]
    x = energy.data.inputs.copy()
    for number in (0.0, 1.0):
        step = np.zeros_like(x)
        for i in np.flatnonzero(layer == number):
            step += weights[i] * np.tanh(x @ points[i, columns].reshape(2, 2).T)
        x = x + step
    np.testing.assert_allclose(bound.evaluate(mass).prediction, x, rtol=1e-12)


def test_the_quadratic_approximation_is_its_definition(rng):
    """S3 §3.2 by loops over pairs of layers b > a: x + Σ σ(θx) + Σ ∇σ(θ'x)θ'σ(θx)."""
    spec, grid = CASES["quadratic, layers"]
    energy = spec.load(HERE)
    points, weights = random_cloud(grid, rng)
    theta, layer = points[:, grid.order.index("a")], points[:, grid.order.index("layer")]
    x = energy.data.inputs[:, 0]
    f = x.copy()
    for i in range(len(points)):
        f += weights[i] * np.arctan(theta[i] * x)
        for k in range(len(points)):
            if layer[k] > layer[i]:
                f += weights[i] * weights[k] * theta[k] / (1 + (theta[k] * x) ** 2) * np.arctan(theta[i] * x)
    np.testing.assert_allclose(energy.particles(grid.factors).evaluate(points, weights).prediction[:, 0], f, rtol=1e-12)


def test_identical_layers_of_the_identity_are_powers():
    """σ = identity and θ = c in every layer: X^L = (1 + c/L)^L x, its approximations 1 + c and 1 + c + c²(1 − 1/L)/2."""
    c, n = 0.7, 5
    theta, weights = np.full((n, 1), c), np.full(n, 1 / n)
    factors = (layers(n), line("a", 8))
    points = np.hstack([np.arange(n)[:, None], theta])
    data = teach(LINE, *[c] * n)
    x = LINE.points()[0]
    exact = {"wide": (1 + c / n) ** n, "linear": 1 + c, "quadratic": 1 + c + c**2 * (1 - 1 / n) / 2}
    for model, factor in exact.items():
        energy = ResNet(model, data, ["a"], "layer", activation="identity").load(HERE).particles(factors)
        result = energy.evaluate(points, weights)
        np.testing.assert_allclose(result.prediction, factor * x, rtol=1e-14)
        assert result.value == pytest.approx(0.0, abs=1e-28)  # the teacher is of the same model


def test_a_continuous_depth_is_the_limit_of_many_layers():
    """Identity, θ = c at all depths: 1 + c + c²/2 for any number of cells, by the half weight of the diagonal."""
    c = 0.5
    for cells in (4, 16):
        grid = frozen(Labels(values=[c]).factor("a"), line("depth", cells, (0.0, 1.0)))
        energy = ResNet("quadratic", teach(LINE, c), ["a"], "depth", activation="identity").load(HERE)
        f = energy.bind(grid).predict(np.full(grid.shape, 1 / cells))
        np.testing.assert_allclose(f, (1 + c + c**2 / 2) * LINE.points()[0], rtol=1e-14)


def test_the_ensemble_is_the_mean_of_resnets(rng):
    spec, grid = CASES["ensemble of 3, arctan"]
    energy = spec.load(HERE)
    points, weights = random_cloud(grid, rng)
    x = energy.data.inputs[:, 0]
    f = np.zeros_like(x)
    for point, weight in zip(points, weights, strict=True):
        state = x.copy()
        for name in ("a", "b", "c"):
            state = state + np.arctan(point[grid.order.index(name)] * state) / 3
        f += weight * state
    np.testing.assert_allclose(energy.particles(grid.factors).evaluate(points, weights).prediction[:, 0], f, rtol=1e-13)


# ----------------------------------------------------------------------------------- errors of the approximations
def approximation_errors(radius, mean):
    """Largest error of the linear and the quadratic prediction against the wide ResNet of four layers on [−radius, radius]."""
    grid = Grid([line("a", 16, (-radius, radius)), layers(4)])
    profile = 1 + mean * np.linspace(-1, 1, 16) + 0.3 * np.cos(np.arange(4))[:, None] * np.linspace(-1, 1, 16) ** 3
    mass = profile if grid.order[0] == "layer" else profile.T
    mass = mass / mass.sum()
    f = {
        model: ResNet(model, teach(LINE, *[0.0] * 4), ["a"], "layer").load(HERE).bind(grid).predict(mass)
        for model in ("wide", "linear", "quadratic")
    }
    return [float(np.abs(f[m] - f["wide"]).max()) for m in ("linear", "quadratic")]


def test_errors_of_the_approximations_fall_like_powers_of_the_radius():
    """S3 (9): k-linear terms are O(radius^k), so that the errors fall like radius² and radius³ where ∫θρ ≠ 0."""
    radii = np.array([0.08, 0.04, 0.02])
    errors = np.array([approximation_errors(radius, 0.8) for radius in radii])
    slopes = np.log2(errors[:-1] / errors[1:])
    # the next power enters with a relative weight of radius, 0.04 in the mean, divided by two in a slope per octave
    assert np.abs(slopes - [2, 3]).max() <= 0.1, f"slopes {slopes}, errors {errors}"


def test_errors_of_symmetric_densities_vanish():
    """Even densities and odd σ: ∫σ(θX)ρ = 0, every approximation gives x."""
    assert max(approximation_errors(0.5, 0.0)[:1]) > 0  # the cubic part is odd: not symmetric
    grid = Grid([line("a", 16, (-1.0, 1.0)), layers(4)])
    mass = np.full(grid.shape, 1 / grid.size)
    for model in ("wide", "linear", "quadratic"):
        f = ResNet(model, teach(LINE, *[0.0] * 4), ["a"], "layer").load(HERE).bind(grid).predict(mass)
        np.testing.assert_allclose(f, LINE.points()[0], atol=1e-15)


# --------------------------------------------------------------------------------------------------------- teachers
def test_a_student_at_its_teacher_has_zero_loss():
    """Vanilla teachers δ_{θ*}, and one of several neurons per layer, with the student's particles on them."""
    for model in ("ensemble", "wide", "linear", "quadratic"):
        ensemble = model == "ensemble"
        spec = ResNet(model, teach(LINE, 0.8, -0.5), ["a", "b"] if ensemble else ["a"], None if ensemble else "layer")
        factors = (line("a", 6), line("b", 6)) if ensemble else (layers(2), line("a", 6))
        points = np.array([[0.8, -0.5]]) if ensemble else np.array([[0.0, 0.8], [1.0, -0.5]])
        result = spec.load(HERE).particles(factors).evaluate(points, np.full(len(points), 1 / len(points)))
        assert result.value == pytest.approx(0.0, abs=1e-30)
        assert np.abs(result.gradient).max() < 1e-14


def test_teachers_of_several_neurons_and_networks():
    wide = ResNetTeacher(inputs=LINE, networks=[TeacherResNet([[[0.8], [0.2]], [[-0.5]]])])
    points = np.array([[0.0, 0.8], [0.0, 0.2], [1.0, -0.5]])
    energy = ResNet("wide", wide, ["a"], "layer").load(HERE).particles((layers(2), line("a", 6)))
    assert energy.evaluate(points, np.array([0.25, 0.25, 0.5])).value == pytest.approx(0.0, abs=1e-30)
    two = ResNetTeacher(inputs=LINE, networks=[TeacherResNet([[[0.8]], [[0.2]]], 3.0), TeacherResNet([[[-0.5]], [[1.0]]], 1.0)])
    energy = ResNet("ensemble", two, ["a", "b"]).load(HERE).particles((line("a", 6), line("b", 6)))
    assert energy.evaluate(np.array([[0.8, 0.2], [-0.5, 1.0]]), np.array([0.75, 0.25])).value == pytest.approx(0.0, abs=1e-30)


@pytest.mark.parametrize("name", ["ensemble of 2", "wide", "quadratic", "linear"])
def test_a_density_as_teacher_has_zero_loss_on_its_grid(name, rng):
    from gridflow.space.mixture import mixture_masses

    spec, grid = CASES[name]
    density = {f.name: Normal(0.1, 0.15) if f.name in spec.weights else Uniform() for f in grid.factors}
    teacher = [Component(density=density)]
    from msgspec.structs import replace as changed

    energy = changed(spec, data=ResNetTeacher(inputs=LINE, density=teacher)).load(HERE)
    bound = energy.bind(grid)
    result = bound.evaluate(mixture_masses(teacher, grid, HERE, "initial"))
    assert result.value == pytest.approx(0.0, abs=1e-30)
    np.testing.assert_array_equal(energy.particles(grid.factors).data.targets, bound.data.targets)


def test_generated_data_are_seeded():
    one, two = (teach(NormalInputs(count=9, covariance=[[1.0]], seed=s), 0.5, 0.1).load(HERE, "tanh").inputs for s in (1, 2))
    again = teach(NormalInputs(count=9, covariance=[[1.0]], seed=1), 0.5, 0.1).load(HERE, "tanh").inputs
    np.testing.assert_array_equal(one, again)
    assert np.abs(one - two).max() > 0.1


def test_data_weights_enter(rng):
    """Gauss–Hermite weights: E = ½Σμ|f − y|², and a batch of all data is all data."""
    spec = ResNet("wide", teach(GaussHermiteInputs(count=6), 0.8, -0.5), ["a"], "layer")
    energy = spec.load(HERE).particles((layers(2), line("a", 6)))
    points, weights = np.array([[0.0, 0.3], [1.0, 0.9]]), np.full(2, 0.5)
    result = energy.evaluate(points, weights)
    data = energy.data
    assert result.value == pytest.approx((data.weights[:, None] * (result.prediction - data.targets) ** 2).sum() / 2)
    halves = [energy.evaluate(points, weights, np.array(batch)) for batch in ([0, 1, 2], [3, 4, 5])]
    np.testing.assert_allclose((halves[0].gradient + halves[1].gradient) / 2, result.gradient, atol=1e-15)


# ---------------------------------------------------------------------------------------------- features in blocks
@pytest.mark.parametrize("name", JETS)
def test_jets_are_the_activations_with_their_derivatives(name, rng):
    z, step = 2 * rng.standard_normal(100), 1e-6
    value, slope = JETS[name](z.copy())
    np.testing.assert_allclose(value, ACTIVATIONS[name].value(z), rtol=1e-15)
    np.testing.assert_allclose(slope, DERIVATIVES[name](z), rtol=1e-13)
    ahead, back = JETS[name](z + step)[1], JETS[name](z - step)[1]
    np.testing.assert_allclose(CURVATURES[name](z), (ahead - back) / (2 * step), atol=1e-8)  # round-off 1e−16/1e−6


def test_blocks_of_features_are_the_whole(rng, monkeypatch):
    directions, inputs, weights = rng.standard_normal((11, 2)), rng.standard_normal((2, 5)), rng.random((3, 11))
    turned, pulled = rng.standard_normal((3, 2, 5)), rng.standard_normal((3, 5))

    def results(keep):
        features = RowFeatures(JETS["tanh"], directions, inputs, keep)
        total, slopes = features.sums(weights)
        parts = [total, slopes, features.pull_back(pulled), features.pull_back_slopes(turned), features.gradient(pulled[0])]
        return [*parts, features.largest()], features

    whole, kept = results(True)
    assert kept.kept is not None
    monkeypatch.setattr(resnet_layers, "BLOCK_ENTRIES", 10)
    monkeypatch.setattr(resnet_layers, "KEPT_BYTES", 100)
    for keep in (False, True):
        parts, features = results(keep)
        assert len(features.blocks) == 6
        assert features.kept is None
        for one, two in zip(whole, parts, strict=True):
            np.testing.assert_allclose(one, two, rtol=1e-13)


def test_ensembles_beyond_the_memory_budget_are_recomputed(rng, monkeypatch):
    spec, grid = CASES["ensemble of 2"]
    mass = random_mass(grid, rng)
    stored = spec.load(HERE).bind(grid)
    monkeypatch.setattr("gridflow.energy.network.features.STORED_BYTES", 100)
    monkeypatch.setattr("gridflow.energy.network.features.BLOCK_ENTRIES", 50)
    recomputed = spec.load(HERE).bind(grid)
    assert stored.model.branches[0].inner.stored is not None
    assert recomputed.model.branches[0].inner.stored is None
    one, two = stored.evaluate(mass), recomputed.evaluate(mass)
    np.testing.assert_allclose(one.first_variation, two.first_variation, rtol=1e-12)
    np.testing.assert_allclose(one.prediction, two.prediction, rtol=1e-13)


# ---------------------------------------------------------------------------------------------------------- refusals
def bind(model="wide", data=None, weights=("a",), depth="layer", factors=None, mobility=None, **options):
    factors = [line("a", 6), layers(2)] if factors is None else factors
    spec = ResNet(model, data or teach(LINE, 0.5, 0.1), list(weights), depth, **options)
    return spec.load(HERE).bind(Grid(factors, mobility))


def two_targets():
    return ResNetEnergy(
        ResNet("wide", teach(LINE, 0.5), ["a"], "layer"), Data(np.ones((3, 1)), np.ones((3, 2)), np.ones(3) / 3), HERE
    )


THIRD = Labels(values=[0.0, 1.0, 2.0]).factor("layer")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: bind(activation="relu"), "a kink at 0"),
        (lambda: bind(activation="softplus"), r"σ\(0\) = 0.693"),
        (lambda: bind(weights=["b"]), "names the factor 'b'"),
        (lambda: bind(weights=["a", "a"]), "1 different factors"),
        (lambda: bind(data=teach(PLANE, ROTATION, ROTATION)), "4 different factors"),
        (lambda: bind("ensemble", None, ["a", "b"], None, [line("a", 6), line("b", 6), DEPTH]), "the factor 'depth'"),
        (lambda: bind(factors=[Circle(cells=6).factor("a"), layers(2)]), "a weight on the circle 'a'"),
        (lambda: bind(depth=None), "model = 'wide', with no depth"),
        (lambda: bind("ensemble"), "with labels 'layer' as its depth"),
        (lambda: bind(depth="a"), "the weight 'a' as its depth"),
        (lambda: bind(factors=[line("a", 6), Labels(values=[1.0, 0.0]).factor("layer")]), "increasing values"),
        (lambda: bind("quadratic", depth="depth", factors=[line("a", 6), DEPTH]), "mobility only in θ"),
        (lambda: two_targets().bind(Grid([line("a", 6), layers(2)])), "1 inputs and 2 targets"),
        (lambda: bind(factors=[line("a", 6), THIRD]), "a teacher of 2 layers"),
        (lambda: bind(data=teach(LINE, 5.0, 0.1)), "5.0 outside of 'a'"),
        (lambda: bind(data=teach(LINE, (1.0, 2.0), 0.1)), "1 numbers, θ row by row"),
        (lambda: bind(data=ResNetTeacher(inputs=LINE, networks=2 * vanilla(0.1, 0.2))), "2 networks for a wide ResNet"),
        (
            lambda: bind(
                "ensemble", ResNetTeacher(inputs=LINE, networks=[TeacherResNet([[[0.1], [0.2]]])]), ["a"], None, [line("a", 6)]
            ),
            "2 neurons in layer 0",
        ),
        (
            lambda: bind(
                data=ResNetTeacher(
                    inputs=LINE, density=[Component(density={"a": Normal(0.1, 0.1), "layer": Weights([1.0, 3.0])})]
                )
            ),
            "masses .* of the layers",
        ),
        (lambda: bind().check_start(np.array([[0.7], [0.3]]) * np.full(6, 1 / 6)), "initial with masses"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused(call, message):
    with pytest.raises(InputError, match=message):
        call()


def test_particles_of_unequal_layers_are_refused():
    energy = ResNet("wide", teach(LINE, 0.5, 0.1), ["a"], "layer").load(HERE).particles((layers(2), line("a", 6)))
    points = np.array([[0.0, 0.5], [1.0, 0.2]])
    energy.check_start(points, np.array([0.5, 0.5]))
    with pytest.raises(InputError, match="particles with masses"):
        energy.check_start(points, np.array([0.6, 0.4]))


def test_a_teacher_is_networks_or_a_density():
    with pytest.raises(ValueError, match="either networks or a density"):
        ResNetTeacher(inputs=LINE)


def test_other_data_may_be_given(rng):
    """Data of one's own, such as from a file: d inputs, d targets."""
    data = Data(rng.standard_normal((5, 1)), rng.standard_normal((5, 1)), np.full(5, 0.2))
    spec, grid = CASES["wide"]
    from msgspec.structs import replace as changed

    from gridflow.energy.network.teacher import Neuron, TeacherData

    plain = changed(spec, data=TeacherData(inputs=LINE, neurons=[Neuron([0.5])]))
    energy = replace(plain.load(HERE), data=data)
    assert energy.bind(grid).data is data


# ---------------------------------------------------------------------------------------------------- clouds and runs
@pytest.mark.parametrize("sampling", ["random", "sobol"])
def test_clouds_give_every_layer_its_exact_mass(sampling):
    """Two components that give the layers different shares, 0.75·(.5, .3, .2) + 0.25·(.1, .1, .8), each at a place of its own."""
    mixture = [
        Component(density={"layer": Weights([0.5, 0.3, 0.2]), "a": Normal(-0.8, 0.05)}, weight=3.0),
        Component(density={"layer": Weights([0.1, 0.1, 0.8]), "a": Normal(0.8, 0.05)}, weight=1.0),
    ]
    factors = (layers(3), line("a", 6))
    cloud = draw_cloud(mixture, factors, 2000, 3, sampling, "layer")
    assert len(cloud.weights) == 2000
    masses = np.array([cloud.weights[cloud.points[:, 0] == k].sum() for k in range(3)])
    np.testing.assert_allclose(masses, [0.4, 0.25, 0.35], rtol=1e-12)
    for k, right in enumerate([0.025 / 0.4, 0.025 / 0.25, 0.2 / 0.35]):
        here = cloud.points[cloud.points[:, 0] == k, 1]
        assert len(here) in (666, 667)
        assert (here > 0).mean() == pytest.approx(right, abs=4 * np.sqrt(0.25 / 666))  # four standard errors at most
    np.testing.assert_array_equal(cloud.points, draw_cloud(mixture, factors, 2000, 3, sampling, "layer").points)
    with pytest.raises(InputError, match="2 particles for 3 labels"):
        draw_cloud(mixture, factors, 2, 3, sampling, "layer")


WIDE = {
    "title": "wide",
    "space": {
        "a": {"kind": "interval", "bounds": [-2.5, 2.5], "cells": 40},
        "layer": {"kind": "labels", "values": [0.0, 1.0, 2.0], "volumes": [1 / 3, 1 / 3, 1 / 3]},
    },
    "energy": {
        "kind": "resnet",
        "model": "wide",
        "weights": ["a"],
        "depth": "layer",
        "data": {
            "kind": "resnet-teacher",
            "inputs": {"kind": "uniform", "count": 12, "bounds": [-2.0, 2.0]},
            "networks": [{"layers": [[[0.8]], [[-0.5]], [[1.0]]]}],
        },
    },
    "initial": [{"density": {"a": {"kind": "normal", "mean": 0.2, "deviation": 0.3}, "layer": {"kind": "uniform"}}}],
    "scheme": {"kind": "finite-volume"},
    "time": {"stop": 2.0, "save": 3},
}


def test_a_wide_resnet_keeps_the_mass_of_its_layers_and_lowers_its_energy():
    dataset = gridflow.solve(case_of(WIDE))
    masses = (dataset["density"] * dataset["cell_volume"]).sum("a")
    np.testing.assert_allclose(masses, 1 / 3, rtol=1e-12)
    assert (np.diff(dataset["energy"]) < 0).all()
    assert dataset.attrs["energy_decreases"].startswith("not claimed")
    np.testing.assert_allclose(dataset["density"].sum("a") * 5 / 40, 1, rtol=1e-12)  # each is a probability density on Θ


def test_grid_and_particles_of_a_wide_resnet_agree():
    """Predictions of the grid at half the cells and of 3·512 Sobol particles: second order, and less than one over N."""
    case = case_of(WIDE)
    run = gridflow.simulate(case, 1536, seed=1, sampling="sobol", integrator=RungeKutta2(0.02))
    coarse, fine = (gridflow.solve(c)["prediction"][-1].to_numpy() for c in (case, case.replace({"space.a.cells": 80})))
    error = np.abs(coarse - fine).max()
    assert np.abs(run.prediction[-1][:, 0] - fine).max() < error / 3 * 1.5 + 1e-3
    assert error < 5e-3


def test_unequal_layers_are_refused_by_both_sides():
    case = case_of(WIDE, initial__0__density__layer={"kind": "weights", "values": [1.0, 2.0, 1.0]})
    with pytest.raises(InputError, match="initial with masses"):
        gridflow.solve(case)
    with pytest.raises(InputError, match="particles with masses"):
        gridflow.simulate(case, 9, integrator=RungeKutta2(0.1))


def test_sums_pass_the_layers_on():
    """Weight decay by a sum with a potential: clouds are stratified, starts are checked."""
    table = {
        **WIDE,
        "energy": {"kind": "sum", "parts": [WIDE["energy"], {"kind": "potential", "terms": {"a": {"kind": "quadratic"}}}]},
    }
    run = gridflow.simulate(case_of(table), 10, integrator=RungeKutta2(0.1))
    layer = [f.name for f in case_of(table).grid().factors].index("layer")
    np.testing.assert_allclose([run.weights[run.points[0, :, layer] == k].sum() for k in range(3)], 1 / 3, rtol=1e-12)
    with pytest.raises(InputError, match="initial with masses"):
        gridflow.solve(case_of(table, initial__0__density__layer={"kind": "weights", "values": [1.0, 2.0, 1.0]}))


def test_a_two_dimensional_ensemble_of_two_layers_runs_as_particles():
    """d = 2, L = 2: eight parameters per particle; no grid of that dimension is worth solving."""
    names = [f"t{layer}{k}{m}" for layer in range(2) for k in (1, 2) for m in (1, 2)]
    table = {
        **WIDE,
        "space": {name: {"kind": "interval", "bounds": [-3.0, 3.0], "cells": 4} for name in names},
        "energy": {
            "kind": "resnet",
            "model": "ensemble",
            "weights": names,
            "data": {
                "kind": "resnet-teacher",
                "inputs": {"kind": "normal", "count": 20, "covariance": [[1.0, 0.0], [0.0, 1.0]]},
                "networks": [{"layers": [[[0.5, -1.0, 1.0, 0.5]], [[1.0, 0.0, 0.3, -0.5]]]}],
            },
        },
        "initial": [{"density": {name: {"kind": "normal", "mean": 0.1, "deviation": 0.5} for name in names}}],
    }
    run = gridflow.simulate(case_of(table), 64, seed=1, integrator=RungeKutta2(0.05))
    assert run.energy[-1] < 0.5 * run.energy[0]


def test_the_linear_approximation_learns_the_marginal_alone_and_diffusion_in_depth_does_not_disturb_it():
    """S3 (11): ξ does not depend on ε. Diffusion in ε (S3 §4) changes nothing but the depth: cosines decay by exp(−Dπ²t)."""
    gaps = []
    for cells in (64, 128):
        case = gridflow.load_case("wide-resnet-linear").replace({"space.theta.cells": cells, "time.stop": 2.0, "time.save": 2})
        grid = case.grid()
        bound = case.energy.load(HERE).bind(grid)
        xi = bound.evaluate(np.full(grid.shape, 1 / grid.size)).first_variation
        assert np.ptp(xi, axis=grid.order.index("depth")).max() == 0.0
        still, mixed = (gridflow.solve(c) for c in (case, case.replace({"flow.diffusion": {"depth": 0.2}})))
        masses = [(d["density"] * d["cell_volume"]).isel(time=-1) for d in (still, mixed)]
        line = grid.factors[grid.order.index("theta")]
        gaps.append(wasserstein1(*(m.sum("depth").to_numpy() for m in masses), line))
        order = [float((m * m["theta"] * np.cos(np.pi * m["depth"])).sum()) for m in masses]
        # the eigenvalue of 32 cells is smaller by (π/32)²/12, which is 8e−4 of 3.95 in the exponent
        assert order[1] / order[0] == pytest.approx(np.exp(-0.2 * np.pi**2 * 2.0), rel=4e-3)
    # equal but for errors of second order in W1: the limiter sees other densities, and the splitting takes other steps
    assert gaps[1] < gaps[0] / 3
    assert gaps[1] < 2e-4
