"""Teachers as data, and what is measured of a student and its teacher (S3): each number against a definition or a closed form."""

from pathlib import Path

import numpy as np
import pytest
from helpers import QUADRATIC, case_of
from scipy.special import ndtr

from gridflow.energy.network import defects
from gridflow.energy.network.branch import Branch
from gridflow.energy.network.defects import relu_harmonics
from gridflow.energy.network.inputs import CircleInputs, GaussHermiteInputs, GaussLegendreInputs, NodesInputs
from gridflow.energy.network.spec import Network
from gridflow.energy.network.stationarity import Stationarity
from gridflow.energy.network.teacher import Neuron, TeacherData, TeacherDensity
from gridflow.errors import InputError
from gridflow.solver import solve
from gridflow.space.circle import Circle
from gridflow.space.densities import Normal, Uniform
from gridflow.space.grid import Grid
from gridflow.space.line import Interval

HERE = Path()
LINE = GaussHermiteInputs(count=20, deviation=2.0)
THETA = Interval(bounds=(-3.0, 3.0), cells=96).factor("theta")
BUMPS = [TeacherDensity([Normal(1.1, 0.2)], 0.7), TeacherDensity([Uniform((-1.3, 0.2))], 0.3)]
PAIR = [Neuron([1.03], 0.7), Neuron([-0.61], 0.3)]


def targets(density, inputs, activation):
    return TeacherData(inputs=inputs, densities=[TeacherDensity(density)]).load(HERE, activation).targets[:, 0]


# ------------------------------------------------------------------------------------------------------- data measures
def test_quadratures_integrate_what_they_claim():
    x, weights = GaussHermiteInputs(count=4, deviation=1.5, dimension=3).points()
    assert weights @ (x[:, 0] ** 2 * x[:, 1] ** 4) == pytest.approx(1.5**2 * 3 * 1.5**4, rel=1e-13)
    x, weights = GaussLegendreInputs(count=3, bounds=[(-1.0, 2.0), (0.0, 4.0)]).points()
    assert weights @ (x[:, 0] ** 2 * x[:, 1] ** 5) == pytest.approx(1.0 * 4**5 / 6, rel=1e-13)  # means of x² and y⁵
    x, weights = CircleInputs(count=7, radius=2.0).points()
    angle = np.arctan2(x[:, 1], x[:, 0])
    np.testing.assert_allclose(np.hypot(*x.T), 2.0, rtol=1e-15)
    np.testing.assert_allclose([weights @ np.exp(1j * k * angle) for k in range(1, 7)], 0, atol=1e-14)
    x, weights = NodesInputs(nodes=[[1.0, 2.0], [0.0, -1.0]], weights=[1.0, 3.0]).points()
    np.testing.assert_array_equal(weights @ x, [0.25, -0.25])


# ------------------------------------------------------------------------------------------------- teachers of density
@pytest.mark.parametrize("mean", [0.4, -0.3, 2.0])
def test_a_normal_teacher_of_the_relu_is_its_closed_form(mean):
    """E max(N(m, s²), 0) = mΦ(m/s) + sφ(m/s), in one dimension to the mass beyond seven deviations."""
    x, _ = LINE.points()
    m, s = mean * x[:, 0], 0.5 * np.abs(x[:, 0])
    expected = m * ndtr(m / s) + s * np.exp(-((m / s) ** 2) / 2) / np.sqrt(2 * np.pi)
    np.testing.assert_allclose(targets([Normal(mean, 0.5)], LINE, "relu"), expected, rtol=0, atol=1e-10)


def test_a_uniform_teacher_of_the_relu_is_its_closed_form():
    """Mean of max(θx, 0) over (−1, 2): x·4/6 for x > 0 and |x|/6 for x < 0; the rule has its break at the kink."""
    x = LINE.points()[0][:, 0]
    np.testing.assert_allclose(targets([Uniform((-1.0, 2.0))], LINE, "relu"), np.where(x > 0, x * 4, -x) / 6, rtol=1e-12)


@pytest.mark.parametrize("dimension", [1, 2, 3])
def test_a_normal_teacher_of_a_gaussian_is_its_closed_form(dimension):
    """E exp(−z²/2) = exp(−m²/(2(1 + s²)))/√(1 + s²) for z ~ N(m, s²); 32 nodes per coordinate in three dimensions."""
    inputs = GaussHermiteInputs(count=4, dimension=dimension)
    x, _ = inputs.points()
    density = [Normal(0.5, 0.3), Normal(-0.2, 0.4), Normal(0.1, 0.2)][:dimension]
    m, s2 = x @ [d.mean for d in density], x**2 @ [d.deviation**2 for d in density]
    expected = np.exp(-(m**2) / (2 * (1 + s2))) / np.sqrt(1 + s2)
    np.testing.assert_allclose(targets(density, inputs, "gaussian"), expected, rtol=0, atol=1e-9 if dimension < 3 else 1e-6)


def test_a_normal_teacher_of_the_relu_in_the_plane():
    """As on the line, to 1e−4: the kinks lie oblique to the nodes."""
    inputs = CircleInputs(count=9)
    x, _ = inputs.points()
    density = [Normal(0.3, 0.4), Normal(-0.2, 0.3)]
    m, s = x @ [0.3, -0.2], np.sqrt(x**2 @ [0.4**2, 0.3**2])
    expected = m * ndtr(m / s) + s * np.exp(-((m / s) ** 2) / 2) / np.sqrt(2 * np.pi)
    np.testing.assert_allclose(targets(density, inputs, "relu"), expected, rtol=0, atol=2e-4)


def test_neurons_and_densities_add_up():
    both = TeacherData(inputs=LINE, neurons=[Neuron([0.5], 0.4)], densities=[TeacherDensity([Normal(1.0, 0.1)], 0.6)])
    x = LINE.points()[0][:, 0]
    expected = 0.4 * (0.5 * x) ** 2 + 0.6 * (1 + 0.01) * x**2  # m₂ of each
    np.testing.assert_allclose(both.load(HERE, "quadratic").targets[:, 0], expected, rtol=1e-10)


# --------------------------------------------------------------------------------------------------------- diagnostics
def bound(activation="tanh", statements=("modes",), factors=(THETA,), branch=None, inputs=LINE, **teacher):
    """A bound network that computes `statements`, and its grid."""
    data = TeacherData(inputs=inputs, **(teacher or {"densities": BUMPS}))
    spec = Network(data, [branch or Branch(["theta"])], activation, stationarity=Stationarity(list(statements), harmonics=40))
    grid = Grid(list(factors))
    return spec.load(HERE).bind(grid), grid


def numbers_of(network, grid, mass):
    return network.diagnose(mass / grid.volume, network.evaluate(mass))


def bump(factor, mean, deviation):
    masses = Normal(mean, deviation).masses(factor)
    return masses / masses.sum()


@pytest.mark.parametrize("activation", ["gaussian", "tanh", "softplus", "relu"])
@pytest.mark.parametrize("teacher", [{"densities": BUMPS}, {"neurons": PAIR}], ids=["densities", "neurons"])
def test_modes_are_orthonormal_and_carry_the_loss(activation, teacher, rng):
    """∫e_i e_k dV = δ_ik, Σ(s_i c_i)² = 2E, and no |c_i| exceeds √(2E)/s_i, for any masses."""
    network, grid = bound(activation, **teacher)
    modes = network.stationarity.parts[0]
    gram = modes.functions.T * grid.volume @ modes.functions
    np.testing.assert_allclose(gram, np.eye(len(gram)), atol=1e-8)  # 1e−16 over the smallest singular value that counts
    mass = rng.random(grid.shape)
    mass /= mass.sum()
    loss = network.evaluate(mass).value
    assert ((modes.singular * modes.coefficients(mass)) ** 2).sum() == pytest.approx(2 * loss, rel=1e-9)
    found = numbers_of(network, grid, mass)
    assert 0 < found["mode_ratio_max"] <= 1 + 1e-9
    determined = modes.singular >= np.sqrt(2 * loss) / 0.05
    assert found["determined_modes"] == determined.sum()
    assert found["undetermined_defect"] == pytest.approx(np.abs(modes.coefficients(mass))[~determined].max())


def test_singular_functions_are_those_of_the_operator():
    """s_i² e_i(θ) = ∫k(θ, θ') e_i(θ') dθ', k(θ, θ') = Σ_j μ_j σ(θx_j)σ(θ'x_j), by a loop over the data."""
    network, grid = bound("arctan")
    modes, data = network.stationarity.parts[0], network.data
    kernel = np.zeros((grid.size, grid.size))
    for x, weight in zip(data.inputs[:, 0], data.weights, strict=True):
        value = np.arctan(THETA.points * x)
        kernel += weight * np.outer(value, value)
    first = modes.functions[:, :3]
    np.testing.assert_allclose(kernel * grid.volume @ first, modes.singular[:3] ** 2 * first, rtol=0, atol=1e-12)


def test_with_output_weights_the_modes_are_those_of_the_moment(rng):
    """Only ∫w ρ dw counts: two densities with the same moment have the same coefficients, and they carry the loss."""
    w = Interval(bounds=(-1.0, 2.0), cells=6).factor("w")
    network, grid = bound(
        branch=Branch(["theta"], [["w"]]), factors=(THETA, w), neurons=[Neuron([0.4], 0.5), Neuron([-1.0], -0.2)]
    )
    modes = network.stationarity.parts[0]
    mass = rng.random(grid.shape)
    mass /= mass.sum()
    axis = grid.order.index("w")
    moment = (mass * grid.coordinate("w")).sum(axis=axis)
    loss = network.evaluate(mass).value
    assert ((modes.singular * modes.coefficients(moment)) ** 2).sum() == pytest.approx(2 * loss, rel=1e-9)
    assert 0 < numbers_of(network, grid, mass)["mode_ratio_max"] <= 1 + 1e-9


@pytest.mark.parametrize(
    ("activation", "vanishes"), [("gaussian", "even"), ("softplus", "even"), ("tanh", "odd"), ("sigmoid", "odd")]
)
def test_parity_of_a_mirrored_teacher(activation, vanishes):
    """ρ the mirror image of ρ* = N(m, s²): ρ − ρ* is odd, and its norm is W1 = 2m, the translation. An even σ sees nothing."""
    network, grid = bound(activation, ["parity"], densities=[TeacherDensity([Normal(0.8, 0.25)])])
    found = numbers_of(network, grid, bump(THETA, -0.8, 0.25))
    odd, even = (
        (found["defect_right"], found["defect_wrong"]) if vanishes == "odd" else (found["defect_wrong"], found["defect_right"])
    )
    assert odd == pytest.approx(1.6, rel=1e-3)  # cells of 0.06: second order
    assert even == pytest.approx(0.0, abs=1e-14)
    loss = network.evaluate(bump(THETA, -0.8, 0.25)).value
    assert loss < 1e-6 if activation == "gaussian" else loss > 1e-3  # softplus sees the first moment too


def test_parity_of_a_mirrored_uniform_teacher():
    """Bounds at cell ends: both parts are exact, and the odd one is the translation by 1."""
    network, grid = bound("gaussian", ["parity"], densities=[TeacherDensity([Uniform((0.25, 0.75))])])
    found = numbers_of(network, grid, Uniform((-0.75, -0.25)).masses(THETA))
    assert found["defect_wrong"] == pytest.approx(1.0, rel=1e-13)
    assert found["defect_right"] == pytest.approx(0.0, abs=1e-14)


@pytest.mark.parametrize("activation", ["gaussian", "tanh"])
def test_parity_against_its_definition(activation):
    """∫|F_even| and ∫|F_odd| by the midpoint rule on a fine uniform grid; the teacher has two neurons inside of cells."""
    network, grid = bound(activation, ["parity"], neurons=PAIR)
    mass = bump(THETA, 0.3, 0.5)
    n = 60_000
    t = -3.0 + 6.0 * (np.arange(n) + 0.5) / n
    ends = np.concatenate([[0.0], np.cumsum(mass)])

    def difference(x):
        return np.interp(x, THETA.edges, ends) - 0.7 * (x > 1.03) - 0.3 * (x > -0.61)

    even = np.abs(difference(t) - difference(-t)).sum() / 2 * 6 / n
    odd = np.abs(difference(t) + difference(-t)).sum() / 2 * 6 / n
    found = numbers_of(network, grid, mass)
    right, wrong = (even, odd) if activation == "gaussian" else (odd, even)
    assert found["defect_right"] == pytest.approx(right, abs=3e-4)  # a jump within a fine cell of 1e−4
    assert found["defect_wrong"] == pytest.approx(wrong, abs=3e-4)
    assert found["defect_ratio"] == pytest.approx(found["defect_right"] / found["defect_wrong"])


@pytest.mark.parametrize(("activation", "power"), [("quadratic", 2), ("softplus", 1), ("identity", 1)])
def test_the_moment_that_the_loss_determines(activation, power):
    network, grid = bound(activation, ["moment"], neurons=PAIR)
    mass = bump(THETA, 0.3, 0.5)
    wanted = 0.7 * 1.03**power + 0.3 * (-0.61) ** power
    assert numbers_of(network, grid, mass)["moment_defect"] == pytest.approx(abs(mass @ THETA.points**power - wanted), rel=1e-12)


def test_quadratic_activation_determines_the_second_moment_alone():
    """E = (c/2)(m₂ − m₂*)², c = E x⁴: zero loss with ρ − ρ* neither odd nor even (S3 says odd)."""
    network, grid = bound("quadratic", ["moment", "modes"], neurons=[Neuron([1.0])])
    mass = bump(THETA, 0.4, 0.5)
    found, loss = numbers_of(network, grid, mass), network.evaluate(mass).value
    fourth = 3 * 2.0**4
    assert loss == pytest.approx(fourth / 2 * found["moment_defect"] ** 2, rel=1e-10)
    assert network.stationarity.parts[1].singular.size == 1  # the operator has rank 1


def test_harmonics_of_the_relu():
    """κ_k by a fast Fourier transform; the kink makes aliases of 1/n²."""
    n = 4096
    exact = np.fft.rfft(np.maximum(np.cos(2 * np.pi * np.arange(n) / n), 0)).real / n
    np.testing.assert_allclose(relu_harmonics(np.arange(12)), exact[:12], atol=1e-6)


PLANE = tuple(Interval(bounds=(-2.0, 2.0), cells=8).factor(n) for n in ("u", "v"))
FOUR = [(1.25, 0.25), (-0.75, 0.75), (-0.25, -1.25), (-0.25, 0.25)]
"""Cell points with the sum 0 that are not symmetric about the origin."""


def on_cells(points, shape=(8, 8)):
    mass = np.zeros(shape)
    for x, y in points:
        mass[round((x + 1.75) / 0.5), round((y + 1.75) / 0.5)] += 1 / len(points)
    return mass


def plane(statements, **changes):
    neurons = [Neuron(list(c), 0.25) for c in FOUR]
    options = {"factors": PLANE, "branch": Branch(["u", "v"]), "inputs": CircleInputs(count=101, radius=1.5), "neurons": neurons}
    return bound("relu", statements, **(options | changes))


def test_a_relu_teacher_and_its_mirror_image_are_one_network():
    """Σ max(x·c, 0) = ½Σ|x·c| + ½x·Σc: with Σc = 0 the neurons −c make the same function. The loss is 0, all visible harmonics
    agree, and the odd ones from 3 on are as wrong as can be, twice those of the teacher (S3 Example 1 says that they vanish)."""
    network, grid = plane(["directions"])
    mirrored = on_cells([(-x, -y) for x, y in FOUR])
    assert network.evaluate(mirrored).value == pytest.approx(0.0, abs=1e-30)
    found = numbers_of(network, grid, mirrored)
    z = np.array([complex(*c) for c in FOUR])
    third = [abs((np.abs(z) * np.exp(-1j * k * np.angle(z))).mean()) for k in range(3, 41, 2)]
    assert found["visible_defect"] == pytest.approx(0.0, abs=1e-14)
    assert found["invisible_defect"] == pytest.approx(2 * max(third), rel=1e-12)


def test_visible_harmonics_carry_the_loss(rng):
    """2E = r²Σ κ_k²|a_k|², up to the harmonics beyond 40 and the aliases of 101 inputs, both of order Σ_{k>40} κ_k² ~ 1e−6."""
    network, grid = plane(["directions", "modes"])
    mass = rng.random(grid.shape)
    mass /= mass.sum()
    harmonics = network.stationarity.parts[0].harmonics(mass.ravel())
    kappa = relu_harmonics(np.arange(41))
    twice = 1.5**2 * (np.abs(harmonics) ** 2 * kappa**2 * np.where(np.arange(41) == 0, 1, 2)).sum()
    assert twice == pytest.approx(2 * network.evaluate(mass).value, rel=1e-3)
    assert 0.5 < numbers_of(network, grid, mass)["harmonic_ratio_max"] <= 1.001


def test_a_single_visible_harmonic_reaches_its_bound():
    """Student and teacher differ by a factor: ρ* at one neuron on each axis, ±, so that a_0 carries nearly all of the loss."""
    network, grid = plane(["directions"], neurons=[Neuron(list(c), 0.25) for c in [(1, 0), (-1, 0), (0, 1), (0, -1)]])
    found = numbers_of(network, grid, on_cells([(0.25, 0.25), (-0.25, 0.25), (0.25, -0.25), (-0.25, -0.25)]))
    assert found["harmonic_ratio_max"] == pytest.approx(1.0, abs=0.02)
    assert found["invisible_defect"] == pytest.approx(0.0, abs=1e-14)


def test_directions_with_output_weights():
    """S3 Example 3: weights ½ and 1½ in equal parts are the weight 1 of the teacher; only ∫w ρ dw counts."""
    w = Interval(bounds=(-1.0, 3.0), cells=4).factor("w")  # w = −½, ½, 1½, 2½
    network, grid = plane(["directions"], factors=(*PLANE, w), branch=Branch(["u", "v"], [["w"]]))
    shape = tuple(8 if n != "w" else 4 for n in grid.order)
    mass = np.zeros(shape)
    half = on_cells(FOUR)
    axis = grid.order.index("w")
    planes = half if [n for n in grid.order if n != "w"] == ["u", "v"] else half.T
    for label in (1, 2):
        np.moveaxis(mass, axis, 0)[label] = planes / 2
    assert network.evaluate(mass).value == pytest.approx(0.0, abs=1e-30)
    found = numbers_of(network, grid, mass)
    assert max(found["visible_defect"], found["invisible_defect"]) == pytest.approx(0.0, abs=1e-14)


def test_the_numbers_are_in_the_dataset_where_the_case_names_them():
    case = case_of(QUADRATIC)
    assert not {n for n in solve(case).variables if str(n).endswith(("_defect", "_modes"))}
    extended = solve(case.replace({"energy.stationarity": {"statements": ["moment", "modes"]}}))
    assert {"moment_defect", "determined_modes"} <= set(extended.variables)
    # ṁ₂ = −4c(m₂ − m₂*)m₂ with c = m₂* = 1: the defect falls like the square root of the loss, E = ½(m₂ − m₂*)²
    np.testing.assert_allclose(extended["moment_defect"], np.sqrt(2 * extended["energy"]), rtol=1e-9)


def test_a_student_in_three_dimensions():
    """A teacher of a neuron and a density on a box of dimension 3: the loss falls and every mode stays within its bound."""
    names = ("a", "b", "c")
    normal = {"kind": "normal", "mean": 0.4, "deviation": 0.3}
    table = {
        **QUADRATIC,
        "space": {n: {"kind": "interval", "bounds": [-2.5, 2.5], "cells": 14} for n in names},
        "energy": {
            "kind": "network",
            "activation": "tanh",
            "branches": [{"weights": list(names)}],
            "stationarity": {"statements": ["modes"], "tolerance": 0.5},
            "data": {
                "kind": "teacher",
                "inputs": {"kind": "gauss-hermite", "count": 4, "dimension": 3},
                "neurons": [{"direction": [1.0, -0.5, 0.0], "weight": 0.5}],
                "densities": [{"weight": 0.5, "density": [normal] * 3}],
            },
        },
        "initial": [{"density": {n: {"kind": "normal", "mean": -0.1, "deviation": 0.4} for n in names}}],
        "time": {"stop": 3.0, "save": 4},
        "exact": None,
    }
    dataset = solve(case_of(table))
    assert float(dataset["energy"][-1]) < float(dataset["energy"][0]) / 10
    assert (dataset["mode_ratio_max"] <= 1 + 1e-9).all()
    assert int(dataset["determined_modes"][-1]) > int(dataset["determined_modes"][0])
    assert (dataset["determined_defect"] <= 0.5).all()


# ---------------------------------------------------------------------------------------------------------- bad input
NORMAL = {"kind": "normal", "mean": 0.0, "deviation": 1.0}


POSITIVE = Interval(bounds=(1.5, 2.0), cells=4).factor("w")
BOTH = Branch(["u", "v"], [["w"]])


def read_and_bind(case, changes, directory):
    changed = case.replace(changes)
    changed.energy.load(directory).bind(changed.grid())


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: bound(neurons=[Neuron([4.0])]), "outside of Θ along 'theta'"),
        (lambda: bound(neurons=[Neuron([-3.5])]), "outside of Θ along 'theta'"),
        (lambda: bound(densities=[TeacherDensity([Normal(2.0, 0.5)])]), "cuts off 0.023 along 'theta'"),
        (lambda: bound(neurons=[Neuron([1.0], 0.7)]), "weights > 0 with the sum 1"),
        (lambda: bound(neurons=[Neuron([1.0], 1.5), Neuron([0.5], -0.5)]), "weights > 0 with the sum 1"),
        (
            lambda: plane(
                ["modes"], factors=(*PLANE, Interval(bounds=(0.0, 0.5), cells=4).factor("w")), branch=Branch(["u", "v"], [["w"]])
            ),
            "between 0 and 0.5",
        ),
        (lambda: plane(["modes"], factors=(*PLANE, POSITIVE), branch=BOTH), "between 1.5 and 2"),
        (
            lambda: plane(["modes"], factors=(*PLANE, POSITIVE), branch=BOTH, neurons=[Neuron([0.5, 0.5], -1.0)]),
            "between 1.5 and 2",
        ),
        (lambda: plane(["directions"], inputs=CircleInputs(count=80)), "40 harmonics of 80 inputs"),
        (lambda: bound("quadratic", ["parity"]), r"\"parity\" with σ = quadratic"),
        (lambda: bound("relu", ["parity"]), r"\"parity\" with σ = relu"),
        (lambda: plane(["parity"]), r"\"parity\" with σ = relu, 2 inputs"),
        (lambda: bound("tanh", ["moment"]), r"\"moment\" with σ = tanh"),
        (lambda: bound("relu", ["directions"]), r"\"directions\" with σ = relu, inputs of kind 'gauss-hermite'"),
        (
            lambda: bound(
                statements=["parity"],
                branch=Branch(["theta"], [["w"]]),
                factors=(THETA, Interval(bounds=(0.0, 2.0), cells=4).factor("w")),
            ),
            "and trained weights",
        ),
        (lambda: bound(branch=Branch(["theta"], scale=-1.0)), "or a scale"),
        (lambda: bound(branch=Branch(["phi"])), "energy.branches names the factor 'phi'"),
        (lambda: plane(["modes"], factors=(Circle(cells=8).factor("angle"),), branch=Branch(["angle"])), "weights on intervals"),
        (lambda: bound(densities=[TeacherDensity([Normal(0.0, 0.1)] * 2)]), "2 coordinates"),
    ],
)
def test_what_the_source_does_not_cover_is_refused(call, message):
    with pytest.raises(InputError, match=message):
        call()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"energy.loss": "huber"}, "squared loss"),
        ({"energy.decay": 0.1, "energy.decay_on": ["theta"]}, "squared loss"),
        ({"energy.data.activation": "tanh"}, "a quadratic student of a tanh teacher"),
        ({"energy.data": {"kind": "file", "file": "x.csv", "inputs": ["x"], "targets": ["y"]}}, "data without a teacher"),
        ({"energy.stationarity.statements": ["modes", "moment", "speed"]}, "one of: directions, modes, moment, parity"),
        ({"energy.data.neurons": []}, "without neurons and densities"),
        ({"energy.data.densities": [{"density": [{"kind": "uniform"}]}]}, "uniform teacher density without bounds"),
        (
            {"energy.data.densities": [{"density": [NORMAL]}], "energy.data.normalization": True},
            "densities under batch normalisation",
        ),
        ({"energy.data.inputs": {"kind": "nodes", "nodes": [[1.0], [1.0, 2.0]]}}, "nodes of different dimensions"),
        ({"energy.data.inputs": {"kind": "nodes", "nodes": [[1.0]], "weights": [1.0, 2.0]}}, "2 weights for 1 nodes"),
        ({"energy.data.inputs": {"kind": "gauss-legendre", "count": 3, "bounds": [[1.0, 0.0]]}}, "not increasing"),
    ],
)  # fmt: skip
def test_cases_that_say_what_cannot_be_are_refused(changes, message, tmp_path):
    (tmp_path / "x.csv").write_text("x,y\n1,2\n2,3\n")
    case = case_of({**QUADRATIC, "exact": None})
    case = case.replace({"energy.stationarity": {"statements": ["modes"]}})
    with pytest.raises(InputError, match=message):
        read_and_bind(case, changes, tmp_path)


def test_modes_beyond_memory_are_refused(monkeypatch):
    monkeypatch.setattr(defects, "MODES_BYTES", 1000)
    with pytest.raises(InputError, match=r"\"modes\" on 96 weight vectors × 20 data"):
        bound()


def test_stationarity_in_a_sum_is_refused():
    network = {**QUADRATIC["energy"], "stationarity": {"statements": ["modes"]}}
    with pytest.raises(InputError, match="stationarity in a sum"):
        case_of({**QUADRATIC, "exact": None, "energy": {"kind": "sum", "parts": [network]}})
