"""Energies: every first variation against finite differences of the value, every fast path against its definition."""

from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from numba import njit

from gridflow.energy.base import BoundEnergy, Energy, Evaluation, ParticleEnergy, ParticleEvaluation
from gridflow.energy.guard import bound_to, particles_of
from gridflow.energy.interaction.interaction import Interaction
from gridflow.energy.internal import Internal, Power
from gridflow.energy.mmd.certificates import Certificates
from gridflow.energy.mmd.mmd import MMD, Target
from gridflow.energy.mmd.network_kernel import Features
from gridflow.energy.network import activation, features
from gridflow.energy.network.activation import ACTIVATIONS, Activation
from gridflow.energy.network.branch import Branch
from gridflow.energy.network.data import Data
from gridflow.energy.network.generic import FeatureNetwork
from gridflow.energy.network.inputs import GaussHermiteInputs, NormalInputs
from gridflow.energy.network.loss import LOSSES
from gridflow.energy.network.spec import Network, NetworkEnergy
from gridflow.energy.network.teacher import Neuron, TeacherData
from gridflow.energy.polynomial import Monomial
from gridflow.energy.potential import DoubleWell, Linear, Potential, Quadratic, Wave
from gridflow.energy.resnet.spec import ResNet
from gridflow.energy.sobolev.sobolev import Sobolev
from gridflow.energy.sum import BOUND_RULES, PARTICLE_RULES, BoundSum, EnergySpec, Sum, SumEnergy, SumParticles
from gridflow.errors import InputError
from gridflow.space.circle import Circle
from gridflow.space.densities import Cosine, Normal, Uniform
from gridflow.space.factor import columns_of
from gridflow.space.grid import Grid
from gridflow.space.labels import Labels
from gridflow.space.line import Interval
from gridflow.space.mixture import Component, mixture_masses
from gridflow.space.sphere import Sphere
from gridflow.sums.kernels import InverseMultiquadric, Laplace, Polynomial, Riesz
from gridflow.sums.laws import Exponential, PowerLaw
from tests.reference.activation import DERIVATIVES

HERE = Path()
A = Interval(bounds=(-2.0, 2.0), cells=9).factor("a")
ANGLE = Circle(cells=11).factor("angle")
SIGN = Labels(values=[-1.0, 1.0]).factor("sign")
W = Interval(bounds=(-1.5, 1.0), cells=6).factor("w")
B = Interval(bounds=(-1.0, 1.0), cells=7).factor("b")

PLANE = TeacherData(inputs=NormalInputs(count=20, covariance=[[5.0, 1.0], [1.0, 1.0]], seed=3), neurons=[Neuron([1.0, 0.5], 0.7)])
LINE = TeacherData(inputs=GaussHermiteInputs(count=12), neurons=[Neuron([0.8])])
LINE_RESNET = TeacherData(inputs=GaussHermiteInputs(count=12), neurons=[Neuron([0.8])], activation="tanh")
TWO_OUTPUTS = TeacherData(inputs=NormalInputs(count=15, covariance=[[1.0]], seed=4), neurons=[Neuron([1.0], [0.5, -1.0])])

TARGET = [Target(density={"a": Normal(0.3, 0.2), "angle": Normal(2.0, 0.4)})]
ON_PLANE = [Target(density={"w": Normal(0.1, 0.15), "b": Normal(-0.2, 0.15)})]
SIGNED = [Target(density={**ON_PLANE[0].density, "sign": Uniform()})]
MMD_PLANE = MMD(bandwidth=0.8, target=TARGET)
BATCH_NORM = Network(data=PLANE, branches=[Branch(["angle"], [["a"]])], normalization=True)

ENERGIES = {
    "batch norm": (BATCH_NORM, Grid([A, ANGLE])),
    "batch norm, tanh, huber": (
        Network(data=PLANE, branches=[Branch(["angle"], [["a"]])], normalization=True, activation="tanh", loss="huber"),
        Grid([A, ANGLE]),
    ),
    "vanilla with decay": (
        Network(data=PLANE, branches=[Branch(["w", "b"], [["a"]])], decay=0.1, decay_on=["w", "b", "a"]),
        Grid([A, W, B]),
    ),
    "total variation": (
        Network(data=LINE, branches=[Branch(["angle"], [["sign"]])], bias=True, decay=0.1, decay_on=["angle", "sign"]),
        Grid([SIGN, ANGLE]),
    ),
    "fixed signs and a bias": (Network(data=LINE, branches=[Branch(["w", "b"], [["sign"]])], bias=True), Grid([W, B, SIGN])),
    "no output weight": (Network(data=LINE, branches=[Branch(["a"])], activation="softplus"), Grid([A])),
    "two branches": (Network(data=LINE, branches=[Branch(["w"]), Branch(["b"], scale=-1.0)]), Grid([W, B])),
    "two outputs": (Network(data=TWO_OUTPUTS, branches=[Branch(["w"], [["a"], ["b"]])], activation="arctan"), Grid([A, W, B])),
    "idle factor": (Network(data=LINE, branches=[Branch(["w"])], activation="sigmoid"), Grid([W, SIGN])),
    "mmd": (MMD_PLANE, Grid([A, ANGLE])),
    "mmd, laplace": (MMD(kernel=Laplace(0.9), target=ON_PLANE), Grid([W, B])),
    "mmd, imq, signs": (MMD(kernel=InverseMultiquadric(0.7), target=SIGNED), Grid([SIGN, W, B])),
    "mmd, riesz": (MMD(kernel=Riesz(1.3), target=ON_PLANE), Grid([W, B])),
    "mmd, riesz in 1D": (MMD(kernel=Riesz(0.6), target=[Target(density={"a": Normal(0.3, 0.2)})]), Grid([A])),
    "mmd, polynomial": (MMD(kernel=Polynomial(3), target=ON_PLANE), Grid([W, B])),
    "mmd, features": (
        MMD(kernel=Features(LINE.inputs, [Branch(["w", "b"])], "tanh", bias=True), target=ON_PLANE),
        Grid([W, B]),
    ),
    "sobolev": (Sobolev([Target(density={"w": Cosine(0.5), "b": Cosine(-0.4)})], modes=5, regularization=0.1), Grid([W, B])),
    "sobolev on a cylinder": (
        Sobolev([Target(density={"a": Cosine(0.5), "angle": Normal(2.0, 0.8)})], modes=4, regularization=0.1),
        Grid([A, ANGLE]),
    ),
    "potential": (Potential({"a": DoubleWell(), "angle": Wave(wavenumber=2), "b": Linear(slope=-1.0)}), Grid([A, ANGLE, B])),
    "internal": (Internal(Power(2.0), 0.7), Grid([A, ANGLE])),
    "interaction": (Interaction(PowerLaw(repulsion=1.5), 0.3, ["w", "b"]), Grid([W, B, SIGN])),
    "interaction on a circle": (Interaction(Exponential(1.5)), Grid([A, ANGLE])),
    "potential, target and polynomial": (
        Potential(
            target=[
                Component({"a": Normal(0.3, 0.4), "angle": Cosine(0.5)}, 2.0),
                Component({"a": Normal(-1.0, 0.3), "angle": Normal(1.0, 0.6)}),
            ],
            polynomial=[Monomial(0.3, {"a": 3})],
            weights=True,
        ),
        Grid([A, ANGLE]),
    ),
    "resnet": (ResNet("linear", LINE_RESNET, ["a"]), Grid([A])),
    "resnet, ensemble": (ResNet("ensemble", LINE_RESNET, ["w", "b"]), Grid([W, B])),
    "sum": (Sum([MMD_PLANE, Potential({"a": Quadratic(2.0, 0.1)}), BATCH_NORM]), Grid([A, ANGLE])),
}


def random_mass(grid, rng):
    mass = rng.random(grid.shape)
    return mass / mass.sum()


def test_every_registered_energy_is_tested():
    assert {type(spec) for spec, _ in ENERGIES.values()} == set(get_args(EnergySpec))


@pytest.mark.parametrize(("spec", "grid"), ENERGIES.values(), ids=ENERGIES.keys())
def test_first_variation_is_the_derivative_of_the_value(spec, grid, rng):
    bound = spec.load(HERE).bind(grid)
    mass, direction = random_mass(grid, rng), rng.standard_normal(grid.shape) / grid.size
    step = 1e-4
    ahead, back = bound.evaluate(mass + step * direction), bound.evaluate(mass - step * direction)
    slope = (ahead.value - back.value) / (2 * step)
    # central differences: exact for quadratic energies up to round-off 1e−16/step, O(step²) for the Huber loss
    assert np.vdot(bound.evaluate(mass).first_variation, direction) == pytest.approx(slope, rel=1e-7, abs=1e-11)


@pytest.mark.parametrize(("spec", "grid"), ENERGIES.values(), ids=ENERGIES.keys())
def test_energies_that_claim_convexity_are_convex_along_segments(spec, grid, rng):
    bound = spec.load(HERE).bind(grid)
    assert bound.convex
    for _ in range(20):
        one, two = random_mass(grid, rng), random_mass(grid, rng)
        middle = bound.evaluate((one + two) / 2)
        assert middle.value <= (bound.evaluate(one).value + bound.evaluate(two).value) / 2 + middle.roundoff


@pytest.mark.parametrize("name", ["logistic", "huber", "squared"])
def test_losses_have_their_derivatives(name, rng):
    f, y = rng.standard_normal((50, 1)) * 2, np.sign(rng.standard_normal((50, 1)))
    loss, step = LOSSES[name], 1e-6
    slope = (loss.value(f + step, y) - loss.value(f - step, y)) / (2 * step)
    np.testing.assert_allclose(
        loss.derivative(f, y), slope, atol=1e-8
    )  # round-off 1e−16/1e−6; second derivative jumps at isolated points


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations_have_their_derivatives(name, rng):
    z, step = rng.standard_normal(200) * 2, 1e-6
    sigma = ACTIVATIONS[name]
    slope = (sigma.value(z + step) - sigma.value(z - step)) / (2 * step)
    np.testing.assert_allclose(DERIVATIVES[name](z), slope, atol=1e-8)
    if not sigma.is_smooth:
        assert DERIVATIVES[name](np.zeros(1))[0] == 0.0  # S2 §9


@njit
def activate_row(kind, z, value, slope):
    activation.activate(kind, z, value, slope)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_every_activation_has_its_compiled_form(name, rng):
    """One registry: what a case may name, particles can run."""
    z = np.concatenate([rng.standard_normal(200) * 3, [0.0, -40.0, 40.0]])
    sigma, value, slope = ACTIVATIONS[name], np.empty(z.size), np.empty(z.size)
    activate_row(activation.NUMBERS[name], z, value, slope)
    np.testing.assert_allclose(value, sigma.value(z), rtol=1e-14, atol=2.0**-865)  # where exponentials end
    np.testing.assert_allclose(slope, DERIVATIVES[name](z), rtol=1e-13, atol=4e-16)  # 1 − tanh² cancels


def test_an_activation_for_grids_alone_is_refused_for_particles(monkeypatch):
    monkeypatch.setitem(ACTIVATIONS, "cube", Activation(lambda z: z**3))
    energy = Network(data=LINE, branches=[Branch(["a"])], activation="cube").load(HERE)
    energy.bind(Grid([A]))
    with pytest.raises(InputError, match=r"(?s)'cube', which has no compiled form.*relu, leaky-relu"):
        energy.particles((A,))
    with pytest.raises(ValueError, match="without a number"):
        activate_row(len(ACTIVATIONS), np.zeros(1), np.zeros(1), np.zeros(1))


@pytest.mark.parametrize("factor", [ANGLE, SIGN, Sphere(level=0).factor("eta")], ids=["circle", "signs", "sphere"])
def test_weight_decay_of_unit_vectors_and_signs_is_the_total_mass(factor, rng):
    """G(μ) = λ|μ| of S2 §4.1: λ∫dρ in the energy, λ in ξ, nothing in the gradient on the space."""
    weights = [["eta.1", "eta.2"], ["eta.3"]] if factor.columns == 3 else [["w", "b"], []]
    grid = Grid([W, B, factor])
    with_mass, without = (
        Network(data=LINE, branches=[Branch(weights[0], [weights[1]])], bias=True, decay=decay, decay_on=[factor.name]).load(HERE)
        for decay in (0.3, 0.0)
    )
    mass = 2 * random_mass(grid, rng)
    found, plain = (e.bind(grid).evaluate(mass) for e in (with_mass, without))
    assert found.value - plain.value == pytest.approx(0.3 * mass.sum(), rel=1e-12)
    np.testing.assert_allclose(found.first_variation - plain.first_variation, 0.3, rtol=1e-12)
    columns = columns_of(grid.factors)
    points = np.hstack([f.fold(rng.choice(f.points, 5)).reshape(5, -1) for f in grid.factors])
    mine = columns[grid.factors.index(factor)]
    found, plain = (e.particles(grid.factors).evaluate(points, np.full(5, 0.4)) for e in (with_mass, without))
    assert found.value - plain.value == pytest.approx(0.3 * 2.0, rel=1e-12)
    np.testing.assert_allclose(found.first_variation - plain.first_variation, 0.3, rtol=1e-12)
    change = found.gradient - plain.gradient
    if factor.columns == 3:  # the gradient in R³ is 2λη; the flow takes its tangential part
        change[:, mine] = factor.unfolded_gradient(points[:, mine], points[:, mine], change[:, mine])
    np.testing.assert_allclose(change, 0.0, atol=1e-15)


def test_batch_norm_network_is_its_definition(rng):
    """S1 (4): f = ∫ aσ(b̄ᵀx)dρ with b̄ = b/‖b‖_Σ, by a loop over cells."""
    grid = Grid([A, ANGLE])
    energy = BATCH_NORM.load(HERE)
    mass = random_mass(grid, rng)
    x = energy.data.inputs
    sigma = x.T @ x / len(x)
    f = np.zeros(len(x))
    for i, a in enumerate(A.points):
        for k, angle in enumerate(ANGLE.points):
            b = np.array([np.cos(angle), np.sin(angle)])
            f += mass[i, k] * a * np.maximum(x @ b / np.sqrt(b @ sigma @ b), 0)
    result = energy.bind(grid).evaluate(mass)
    np.testing.assert_allclose(result.prediction[:, 0], f, rtol=1e-13)
    assert result.value == pytest.approx(((f - energy.data.targets[:, 0]) ** 2).mean() / 2, rel=1e-13)


def test_batch_norm_centres_its_inputs_and_says_so():
    data = Data(np.array([[1.0, 0.0], [3.0, 1.0], [2.0, 5.0]]), np.ones((3, 1)), np.full(3, 1 / 3))

    class Fixed:
        def load(self, directory, activation):
            return data

    energy = Network(data=Fixed(), branches=[Branch(["angle"], [["a"]])], normalization=True).load(HERE)
    np.testing.assert_allclose(energy.data.inputs.mean(axis=0), 0, atol=1e-15)
    assert "centred" in energy.data.notes[-1]


@pytest.mark.parametrize("key", ["batch norm", "two outputs", "two branches"])
def test_recomputed_features_equal_stored_ones(key, rng, monkeypatch):
    spec, grid = ENERGIES[key]
    mass = random_mass(grid, rng)
    stored = spec.load(HERE).bind(grid).evaluate(mass)
    monkeypatch.setattr(features, "STORED_BYTES", 0)
    monkeypatch.setattr(features, "BLOCK_ENTRIES", 40)
    bound = spec.load(HERE).bind(grid)
    assert bound.model.branches[0].inner.stored is None
    again = bound.evaluate(mass)
    np.testing.assert_allclose(again.first_variation, stored.first_variation, rtol=1e-12, atol=1e-15)
    assert again.value == pytest.approx(stored.value, rel=1e-13)
    assert again.roundoff == pytest.approx(stored.roundoff)


def test_the_generic_feature_equals_the_factorised_one(rng):
    spec, grid = ENERGIES["fixed signs and a bias"]
    energy = spec.load(HERE)
    generic = FeatureNetwork(
        lambda c, x: c["sign"][:, None] * np.maximum(np.outer(c["w"], x[:, 0]) + c["b"][:, None], 0), energy.data
    )
    mass = random_mass(grid, rng)
    one, two = energy.bind(grid).evaluate(mass), generic.bind(grid).evaluate(mass)
    assert one.value == pytest.approx(two.value, rel=1e-13)
    np.testing.assert_allclose(one.first_variation, two.first_variation, rtol=1e-12, atol=1e-15)


def test_mmd_is_the_double_sum(rng):
    """½ΣΣ k(θ, θ')(m − m*)(m − m*)' with the kernel of every pair; windings on the circle."""
    grid = Grid([A, ANGLE])
    bound = MMD_PLANE.load(HERE).bind(grid)
    mass = random_mass(grid, rng)
    a, angle = (np.broadcast_to(grid.coordinate(n), grid.shape).ravel() for n in ("a", "angle"))
    line = np.exp(-((a[:, None] - a[None]) ** 2) / (2 * 0.8**2))
    turns = 2 * np.pi * np.arange(-4, 5)
    circle = np.exp(-((angle[:, None, None] - angle[None, :, None] + turns) ** 2) / (2 * 0.8**2)).sum(axis=2)
    difference = (mass - bound.target).ravel()
    result = bound.evaluate(mass)
    np.testing.assert_allclose(result.first_variation.ravel(), (line * circle) @ difference, rtol=0, atol=1e-14)
    assert result.value == pytest.approx(difference @ (line * circle) @ difference / 2, rel=1e-12)


def test_mmd_vanishes_at_its_target_and_pulls_towards_it():
    grid = Grid([Interval(bounds=(-3.0, 3.0), cells=60).factor("x")])
    bound = MMD(bandwidth=1.0, target=[Target(density={"x": Normal(1.0, 0.3)})]).load(HERE).bind(grid)
    assert bound.evaluate(bound.target).value == 0.0
    start = Uniform((-1.2, -0.8)).masses(grid.factors[0])
    xi = bound.evaluate(start).first_variation
    assert (np.diff(xi)[20:30] < 0).all()  # velocity −grad ξ > 0 between start and target


def test_a_teacher_in_the_model_class_has_zero_loss():
    """The student at the teacher's weights: E = 0, for every activation and the sum of two neurons."""
    grid = Grid([Labels(values=[0.5, -1.5]).factor("theta")])
    for name in ACTIVATIONS:
        data = TeacherData(inputs=GaussHermiteInputs(count=9), neurons=[Neuron([0.5], 0.25), Neuron([-1.5], 0.75)])
        bound = Network(data=data, branches=[Branch(["theta"])], activation=name).load(HERE).bind(grid)
        assert bound.evaluate(np.array([0.25, 0.75])).value == pytest.approx(0.0, abs=1e-28)


def test_sums_bind_energies_of_ones_own():
    class Constant(Energy, BoundEnergy):
        convex = True

        def bind(self, grid):
            return self

        def evaluate(self, mass):
            return Evaluation(2.0, np.ones(mass.shape), 0.0)

    grid = Grid([A])
    total = SumEnergy((Constant(), Potential({"a": Linear(1.0)}).load(HERE))).bind(grid)
    evaluation = total.evaluate(np.full(9, 1 / 9))
    assert evaluation.value == pytest.approx(2.0, abs=1e-15)
    np.testing.assert_allclose(evaluation.first_variation, 1 + A.points)


class OwnBound(BoundEnergy):
    """An energy of one's own with any members."""

    convex = True

    def __init__(self, **members):
        vars(self).update(members)

    def evaluate(self, mass):
        return Evaluation(0.0, np.zeros(mass.shape), 0.0)


class OwnParticles(ParticleEnergy):
    def __init__(self, **members):
        vars(self).update(members)

    def evaluate(self, points, weights, batch=None):
        return ParticleEvaluation(0.0, np.zeros(points.shape))


class Own(Energy):
    def __init__(self, **members):
        self.members = members

    def bind(self, grid):
        return OwnBound(**self.members)

    def particles(self, factors):
        return OwnParticles(**self.members)


@pytest.mark.parametrize(
    ("base", "total", "rules"),
    [(BoundEnergy, BoundSum, BOUND_RULES), (ParticleEnergy, SumParticles, PARTICLE_RULES)],
    ids=["grid", "particles"],
)
def test_a_sum_has_a_rule_for_every_member_that_an_energy_may_offer(base, total, rules):
    """A member that a base class declares and the sum leaves at its default would vanish in silence."""
    members = {name for name in vars(base) if not name.startswith("_")}
    methods = {name for name in members if callable(vars(base)[name])}
    assert members - methods == set(rules)
    assert set(base.__annotations__) == set(rules)
    refused = {"smooth_variation", "displacement_moments", "extend", "gradient_at"}  # what noise needs
    inherited = {"diagnose"} | refused  # nothing to diagnose
    assert methods - inherited == {name for name in vars(total) if name in methods}


def test_objects_without_the_base_classes_are_refused():
    class Loose:
        def bind(self, grid):
            return self

    class Bound(Energy):
        def bind(self, grid):
            return Loose()

        def particles(self, factors):
            return Loose()

    for call in (
        lambda: bound_to(Grid([A]), Loose()),
        lambda: bound_to(Grid([A]), Bound()),
        lambda: particles_of(Bound(), (A,)),
    ):
        with pytest.raises(InputError, match=r"(?s)class Loose.*let the class derive from gridflow\.energy\.base\."):
            call()


def test_members_of_parts_are_combined_or_refused():
    grid, points, weights = Grid([A]), np.zeros((2, 1)), np.full(2, 0.5)

    def refuse(*state):
        raise InputError("a start", "another", "change it")

    def bound(**others):
        return SumEnergy((Own(), Own(**others))).bind(grid)

    def particles(**others):
        return SumEnergy((Own(), Own(**others))).particles(grid.factors)

    assert (bound().convex, bound(convex=False).convex) == (True, False)
    assert (bound().smooth, bound(smooth=False).smooth) == (True, False)
    data = LINE.load(HERE, "relu")
    assert bound(data=data).data is data
    assert particles(order=2).order == 2
    assert particles(strata="s").strata == "s"
    with pytest.raises(InputError, match="exact masses of the labels of 'r' and of 's'"):
        SumEnergy((Own(strata="r"), Own(strata="s"))).particles(grid.factors)
    for call in (
        lambda: bound(check_start=refuse).check_start(weights),
        lambda: particles(check_start=refuse).check_start(points, weights),
    ):
        with pytest.raises(InputError, match="a start"):
            call()
    for refused in (bound, particles):
        with pytest.raises(InputError, match="a sum with a Sobolev transport"):
            refused(driven=True)
    with pytest.raises(InputError, match="a part that adds sobolev"):
        bound(diagnostics={"sobolev": ("1", "a number")})
    for call in (bound().smooth_variation, bound().displacement_moments, particles().extend):
        with pytest.raises(InputError, match="noise injection for a sum"):
            call(1.0)
    with pytest.raises(InputError, match="noise injection for a sum"):
        particles().gradient_at(points, points, weights)
    sliding = Evaluation(0.0, np.zeros(9), 0.0, drive=np.zeros(9))
    with pytest.raises(InputError, match="a sum with a Sobolev transport"):
        bound(evaluate=lambda mass: sliding).evaluate(np.full(9, 1 / 9))
    pushed = ParticleEvaluation(0.0, points, drive=points)
    with pytest.raises(InputError, match="a sum with a Sobolev transport"):
        particles(evaluate=lambda points, weights, batch=None: pushed).evaluate(points, weights)


def test_a_transport_in_a_sum_is_refused_on_both_sides():
    spec = Sum([Sobolev([Target(density={"a": Cosine(0.5)})], flow="transport", regularization=0.1, modes=4)])
    for side in (lambda: spec.load(HERE).bind(Grid([A])), lambda: spec.load(HERE).particles(Grid([A]).factors)):
        with pytest.raises(InputError, match=r'(?s)a sum with a Sobolev transport.*use flow = "descent"'):
            side()


def test_certificates_in_a_sum_are_refused():
    part = MMD(kernel="gaussian", bandwidth=1.0, target=ON_PLANE, certificates=Certificates())
    with pytest.raises(ValueError, match="certificates in a sum"):
        Sum([part])


@pytest.mark.parametrize("base", [Energy, BoundEnergy, ParticleEnergy])
def test_an_energy_without_its_one_method_is_refused(base):
    with pytest.raises(TypeError, match=r"abstract method '?(evaluate|bind)"):
        base()


# ------------------------------------------------------------------------------------------------------- particles
def cloud_at_cells(grid, rng):
    """Particles at the cell points with random masses: the same measure as a density on the grid."""
    mass = random_mass(grid, rng)
    columns = [np.broadcast_to(grid.coordinate(n), grid.shape).ravel() for n in grid.order]
    return mass, np.stack(columns, axis=1), mass.ravel()


@pytest.mark.parametrize("name", [n for n in ENERGIES if not n.startswith(("mmd", "sobolev", "internal")) and n != "sum"])
def test_particles_at_the_cells_have_the_energy_of_the_grid(name, rng):
    """The same sum over the same points: networks and potentials agree to round-off."""
    spec, grid = ENERGIES[name]
    energy = spec.load(HERE)
    mass, points, weights = cloud_at_cells(grid, rng)
    on_grid, cloud = energy.bind(grid).evaluate(mass), energy.particles(grid.factors).evaluate(points, weights)
    assert cloud.value == pytest.approx(on_grid.value, rel=1e-12)
    if on_grid.prediction is not None:
        np.testing.assert_allclose(cloud.prediction, on_grid.prediction, atol=1e-13)


def test_mmd_of_particles_at_the_cells_converges_to_that_of_the_grid():
    """The grid's target sits at the cell points, the particles' target is a fine quadrature: second order apart."""
    gaps = []
    for n in (18, 36, 72):
        grid = Grid([Interval(bounds=(-2.0, 2.0), cells=n).factor("a"), Circle(cells=n).factor("angle")])
        start = Component(density={"a": Normal(-0.2, 0.3), "angle": Normal(3.0, 0.7)})
        mass = mixture_masses([start], grid, HERE, "initial")
        points = np.stack([np.broadcast_to(grid.coordinate(k), grid.shape).ravel() for k in grid.order], axis=1)
        energy = MMD_PLANE.load(HERE)
        cloud = energy.particles(grid.factors).evaluate(points, mass.ravel())
        gaps.append(abs(energy.bind(grid).evaluate(mass).value - cloud.value))
    slopes = np.log2(np.array(gaps[:-1]) / np.array(gaps[1:]))
    assert np.abs(slopes - 2).max() <= 0.15, f"gaps {gaps}"


@pytest.mark.parametrize(("spec", "grid"), ENERGIES.values(), ids=ENERGIES.keys())
def test_the_gradient_of_particles_is_the_derivative_of_the_value(spec, grid, rng):
    """w_i grad ξ(θ_i) = ∂E/∂θ_i by central differences, for every moving coordinate; labels do not move."""
    energy = spec.load(HERE).particles(grid.factors)
    n = 7
    points = np.stack(
        [f.points[rng.integers(0, f.size, n)] + 0.123 * f.one_dimensional * rng.random(n) for f in grid.factors], axis=1
    )
    weights = rng.random(n)
    weights /= weights.sum()
    gradient = energy.evaluate(points, weights).gradient
    step = 1e-6
    for k, factor in enumerate(grid.factors):
        if not factor.one_dimensional:
            assert (gradient[:, k] == 0).all()
            continue
        for i in range(n):
            ahead, back = points.copy(), points.copy()
            ahead[i, k] += step
            back[i, k] -= step
            slope = (energy.evaluate(ahead, weights).value - energy.evaluate(back, weights).value) / (2 * step)
            # round-off 1e−16/1e−6, and the cubic spline of the MMD target: its derivative to 1e−9
            assert weights[i] * gradient[i, k] == pytest.approx(slope, rel=1e-5, abs=1e-8)


@pytest.mark.parametrize(("spec", "grid"), ENERGIES.values(), ids=ENERGIES.keys())
def test_the_first_variation_of_particles_is_the_derivative_in_the_weights(spec, grid, rng):
    """ξ(θ_i) = ∂E/∂w_i, for weights of any total."""
    energy = spec.load(HERE).particles(grid.factors)
    lower, upper = np.transpose([f.edges[[0, -1]] if f.one_dimensional else f.points[[0, -1]] for f in grid.factors])
    points = lower + (upper - lower) * rng.random((6, len(grid.factors)))
    for k, factor in enumerate(grid.factors):
        if not factor.one_dimensional:
            points[:, k] = rng.choice(factor.points, 6)
    weights, step = rng.random(6), 1e-5
    xi = energy.evaluate(points, weights).first_variation
    for i in range(6):
        change = step * (np.arange(6) == i)
        ahead, back = energy.evaluate(points, weights + change), energy.evaluate(points, weights - change)
        # as on the grid; MMD takes its target from a table, in value and ξ alike
        assert xi[i] == pytest.approx((ahead.value - back.value) / (2 * step), rel=1e-7, abs=1e-10)


def test_batch_norm_gradients_are_those_of_the_source():
    """S1 (10): v_b = −E[ℓ'aσ'(b̄ᵀx)‖b‖_Σ^{-1}(I − Σbbᵀ/‖b‖_Σ²)x] on the unit circle; its part along the circle is −∂ξ/∂angle."""
    energy = BATCH_NORM.load(HERE)
    data = energy.data
    points, weights = np.array([[0.7, 0.4], [-1.1, 2.5], [0.3, 5.0]]), np.array([0.5, 0.3, 0.2])
    factors = (A, ANGLE)
    result = energy.particles(factors).evaluate(points, weights)
    sigma = data.inputs.T @ data.inputs / len(data.inputs)
    error = (result.prediction - data.targets)[:, 0]
    for (a, angle), gradient in zip(points, result.gradient, strict=True):
        b = np.array([np.cos(angle), np.sin(angle)])
        norm = np.sqrt(b @ sigma @ b)
        active = data.inputs @ b > 0
        velocity = -((error * a * active) @ (data.inputs @ (np.eye(2) - np.outer(sigma @ b, b) / norm**2).T)) / (
            len(error) * norm
        )
        assert b @ velocity == pytest.approx(0.0, abs=1e-14)
        assert -gradient[1] == pytest.approx(np.array([-b[1], b[0]]) @ velocity, rel=1e-12)


def test_a_minibatch_is_the_energy_of_its_data(rng):
    energy = BATCH_NORM.load(HERE)
    points, weights = np.array([[0.7, 0.4], [-1.1, 2.5]]), np.array([0.5, 0.5])
    particles = energy.particles((A, ANGLE))
    batches = [np.arange(10), np.arange(10, 20)]
    parts = [particles.evaluate(points, weights, batch) for batch in batches]
    whole = particles.evaluate(points, weights)
    np.testing.assert_allclose((parts[0].gradient + parts[1].gradient) / 2, whole.gradient, atol=1e-15)
    assert (parts[0].value + parts[1].value) / 2 == pytest.approx(whole.value)


def test_one_gradient_step_on_the_three_points_of_the_source():
    """S2 §7: data (1, 2), (2, 4), (4, 8) with a bias, one ReLU neuron (w, b) = (1, 0), step 1, loss 1/(2n): W¹ = (8, 7/3)."""
    data = Data(np.array([[1.0], [2.0], [4.0]]), np.array([[2.0], [4.0], [8.0]]), np.full(3, 1 / 3))
    spec = Network(data=LINE, branches=[Branch(["w", "b"])], bias=True)
    wide = tuple(Interval(bounds=(-10.0, 10.0), cells=8).factor(n) for n in ("w", "b"))
    particles = NetworkEnergy(spec, data).particles(wide)
    start = np.array([[1.0, 0.0]])
    np.testing.assert_allclose(start - particles.evaluate(start, np.ones(1)).gradient, [[8.0, 7 / 3]], rtol=1e-15)


def bind(spec, *factors):
    return spec.load(HERE).bind(Grid(list(factors)))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: bind(BATCH_NORM, A), "names the factor 'angle'"),
        (lambda: bind(Network(data=PLANE, branches=[Branch(["a"], [["a"]])]), A, ANGLE), "disjoint groups"),
        (lambda: bind(Network(data=PLANE, branches=[Branch(["a"])]), A), "2, the number of inputs"),
        (lambda: bind(Network(data=PLANE, branches=[Branch(["a"])], bias=True), A), "inputs and the bias"),
        (lambda: bind(Network(data=TWO_OUTPUTS, branches=[Branch(["w"])]), W), "2, one per target column"),
        (lambda: bind(Network(data=LINE, branches=[Branch(["a"])], decay=1.0), A), "energy.decay_on"),
        (lambda: bind(Network(data=LINE, branches=[Branch(["a"])], loss="logistic"), A), "targets −1 and 1"),
        (
            lambda: bind(
                Network(data=LINE, branches=[Branch(["b"])], normalization=True),
                Interval(bounds=(-1.0, 1.0), cells=5).factor("b"),
            ),
            "‖b‖_Σ = 0",
        ),
        (lambda: bind(Network(data=LINE, branches=[Branch(["a"])], bias=True, normalization=True), A), "one of the two"),
        (lambda: bind(MMD(bandwidth=0.1, target=TARGET), A, ANGLE), "below the cell size"),
        (lambda: bind(Potential({"z": Linear(1.0)}), A), "names the factor 'z'"),
        (lambda: bind(Potential({"angle": Linear(1.0)}), ANGLE), "linear on intervals"),
        (lambda: bind(Potential({"angle": Quadratic()}), ANGLE), "quadratic on intervals"),
        (lambda: bind(Potential({"angle": DoubleWell()}), ANGLE), "double-well on intervals"),
    ],
)
def test_energies_that_do_not_fit_the_space_are_refused(call, message):
    with pytest.raises(InputError, match=message):
        call()


def test_network_energy_is_data():
    assert isinstance(BATCH_NORM.load(HERE), NetworkEnergy)
    with pytest.raises(AttributeError):
        BATCH_NORM.activation = "tanh"
