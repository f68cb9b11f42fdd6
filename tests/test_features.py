"""The kernel of networks: MMD as a loss, its field at displaced positions."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from gridflow.case.case import load_case
from gridflow.energy.interaction.convolution import cell_points
from gridflow.energy.mmd.mmd import MMD, Target
from gridflow.energy.mmd.network_kernel import Features
from gridflow.energy.network.activation import ACTIVATIONS, normal_average
from gridflow.energy.network.branch import Branch
from gridflow.energy.network.inputs import NormalInputs, UniformInputs
from gridflow.errors import InputError
from gridflow.space.circle import Circle
from gridflow.space.densities import Normal, Uniform
from gridflow.space.grid import Grid
from gridflow.space.labels import Labels
from gridflow.space.line import Interval

HERE = Path()
A = Interval(bounds=(-2.0, 2.0), cells=7).factor("a")
W = Interval(bounds=(-1.5, 1.0), cells=6).factor("w")
B = Interval(bounds=(-1.0, 1.0), cells=9).factor("b")
SIGN = Labels(values=[-1.0, 1.0]).factor("sign")
INPUTS = UniformInputs(count=5, bounds=(-1.0, 2.0))
OUTER = Features(inputs=INPUTS, branches=[Branch(["w", "b"], [["a"]])], activation="tanh", bias=True)
KERNELS = {
    "outer weight": (OUTER, (A, W, B)),
    "two outputs": (Features(inputs=INPUTS, branches=[Branch(["w"], [["a"], ["b"]])], activation="gaussian"), (A, W, B)),
    "signs": (Features(inputs=INPUTS, branches=[Branch(["w", "b"], [["sign"]])], bias=True), (SIGN, W, B)),
    "normal inputs": (Features(inputs=NormalInputs(7, [[1.0, 0.2], [0.2, 0.5]], seed=2), branches=[Branch(["w", "b"])]), (W, B)),
}


def feature(kernel, names, points):
    """φ(θ; x_j)√μ_j, (n, n_outputs·n_data), from its definition."""
    at = dict(zip(names, points.T, strict=True))
    inputs, weights = kernel.inputs.points()
    if kernel.bias:
        inputs = np.column_stack([inputs, np.ones(len(inputs))])
    branch = kernel.branches[0]
    inner = ACTIVATIONS[kernel.activation].value(np.stack([at[n] for n in branch.weights], axis=1) @ inputs.T)
    outer = [np.prod([at[n] for n in names], axis=0) if names else 1.0 for names in branch.outputs]
    return np.hstack([np.reshape(u, (-1, 1)) * inner * np.sqrt(weights) for u in outer])


def target_of(factors):
    return [Target(density={f.name: Uniform() if f is SIGN else Normal(float(f.points.mean()) + 0.1, 0.12) for f in factors})]


@pytest.mark.parametrize(("kernel", "factors"), KERNELS.values(), ids=KERNELS.keys())
def test_the_energy_is_half_the_squared_mmd(kernel, factors, rng, tmp_path):
    """½ΣΣ k (m − m*)(m − m*)' with k = E φφ' of every pair; samples stay where they are."""
    grid = Grid(list(factors))
    names = [f.name for f in grid.factors]
    sample = np.array([1.0 if f.name == "sign" else 0.3 for f in grid.factors])
    (tmp_path / "s.csv").write_text(",".join(names) + "\n" + ",".join(map(str, sample)))
    target = [*target_of(factors), Target(file="s.csv", columns={n: n for n in names}, weight=0.25)]
    bound = MMD(kernel=kernel, target=target).load(tmp_path).bind(grid)
    mass = rng.random(grid.shape)
    mass /= mass.sum()
    density = MMD(kernel=kernel, target=target[:1]).load(tmp_path)
    goal = density.target.masses(grid).ravel()
    points = np.concatenate([cell_points(grid), [sample]])
    weights = np.append(mass.ravel() - 0.8 * goal, -0.2)
    phi = feature(kernel, names, points)
    matrix = phi @ phi.T
    result = bound.evaluate(mass)
    assert result.value == pytest.approx(weights @ matrix @ weights / 2, rel=1e-11)
    np.testing.assert_allclose(result.first_variation.ravel(), (matrix @ weights)[:-1], atol=1e-13)


@pytest.mark.parametrize("name", ACTIVATIONS)
@pytest.mark.parametrize("amplitude", [0.0, 0.3, 1.2])
def test_smoothed_activations_are_averages(name, amplitude):
    """E σ(z + a n) by the trapezoidal rule; at the kink of a ReLU it is exact to 1e−6."""
    z = np.linspace(-2.0, 2.0, 9)[:, None]
    n = np.linspace(-10.0, 10.0, 40001)
    weights = np.exp(-(n**2) / 2) / np.sqrt(2 * np.pi) * (n[1] - n[0])
    expected = ACTIVATIONS[name].value(z + amplitude * n) @ weights
    found = normal_average(name, z, np.array([amplitude]))[:, 0]
    tolerance = 1e-5 if name == "arctan" else 1e-6  # Gauss–Hermite of a function with poles at ±i/a
    np.testing.assert_allclose(found, expected, atol=tolerance)


@pytest.mark.parametrize(("kernel", "factors"), KERNELS.values(), ids=KERNELS.keys())
def test_the_drive_is_the_first_variation_at_displaced_positions(kernel, factors, rng):
    """Averages over 2·10⁵ quasi-random displacements of the particles' ξ, the density being as it is; labels stay."""
    from scipy.special import ndtri
    from scipy.stats import qmc

    grid = Grid(list(factors))
    energy = MMD(kernel=kernel, target=target_of(factors)).load(HERE)
    bound = energy.bind(grid)
    mass = rng.random(grid.shape)
    mass /= mass.sum()
    level = 0.3
    drive = bound.smooth_variation(level)(mass).ravel()
    particles, points = energy.particles(grid.factors).network, cell_points(grid)
    particles = replace(particles, data=bound.data)  # the target of the grid
    u = ndtri(qmc.Sobol(len(factors), seed=5).random(2**12))
    u[:, [not f.moves for f in grid.factors]] = 0.0
    for i in rng.integers(0, grid.size, 3):
        places = np.concatenate([points, points[i] + level * u])
        weights = np.concatenate([mass.ravel(), np.zeros(len(u))])
        xi = particles.evaluate(places, weights).first_variation[grid.size :]
        assert drive[i] == pytest.approx(xi.mean(), abs=2e-3 * np.abs(drive).max() + 4 * xi.std() / len(u))


def test_particles_feel_the_field_at_other_places(rng):
    """`gradient_at` by finite differences of ξ along every weight, and at the particles themselves the gradient."""
    energy = MMD(kernel=OUTER, target=target_of((A, W, B))).load(HERE)
    particles = energy.particles((A, W, B)).extend(1.0)
    points, weights = rng.uniform(-0.9, 0.9, (5, 3)), np.full(5, 0.2)
    np.testing.assert_allclose(
        particles.gradient_at(points, points, weights), particles.evaluate(points, weights).gradient, rtol=1e-12
    )
    place = np.array([[2.5, -3.0, 1.4]])  # beyond the walls
    found = particles.gradient_at(place, points, weights)[0]
    for k in range(3):
        step = 1e-6 * (np.arange(3) == k)
        both = [np.concatenate([points, place + s]) for s in (step, -step)]
        ahead, back = (particles.evaluate(b, np.append(weights, 0.0)).first_variation[-1] for b in both)
        assert found[k] == pytest.approx((ahead - back) / 2e-6, rel=1e-6, abs=1e-9)


def test_target_predictions_of_grid_and_particles_agree():
    """At cell points and on a fine grid: second order."""
    gaps = []
    for n in (16, 32, 64):
        factors = tuple(Interval(bounds=(-1.5, 1.5), cells=n).factor(k) for k in "wb")
        kernel = Features(inputs=INPUTS, branches=[Branch(["w", "b"])], activation="tanh", bias=True)
        target = [Target(density={"w": Normal(0.2, 0.25), "b": Normal(-0.1, 0.2)})]
        energy = MMD(kernel=kernel, target=target).load(HERE)
        one, two = energy.bind(Grid(list(factors))).data.targets, energy.particles(factors).network.data.targets
        gaps.append(np.abs(one - two).max())
    slopes = np.log2(np.array(gaps[:-1]) / np.array(gaps[1:]))
    assert np.abs(slopes - 2).max() <= 0.15, f"{gaps}"


def on_circle():
    factors = (Circle(cells=12).factor("angle"), A)
    kernel = Features(inputs=NormalInputs(4, [[1.0, 0.0], [0.0, 1.0]]), branches=[Branch(["angle"], [["a"]])])
    target = [Target(density={"angle": Normal(2.0, 0.4), "a": Normal(0.0, 0.2)})]
    MMD(kernel=kernel, target=target).load(HERE).bind(Grid(list(factors))).smooth_variation(0.3)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: MMD(kernel=OUTER, target=target_of((A, W))).load(HERE).bind(Grid([A, W])), "names the factor 'b'"),
        (on_circle, "weights on intervals"),
        (lambda: load_case("mmd-student-teacher").replace({"energy.certificates": {}}), "certificates are for kernels"),
        (lambda: load_case("mmd-student-teacher").replace({"energy.kernel.loss": "huber"}), "unknown key 'loss'"),
        (lambda: load_case("mmd-student-teacher").replace({"energy.bandwidth": 1.0}), "write kernel ="),
    ],
)
def test_what_does_not_fit_is_refused(call, message):
    with pytest.raises(InputError, match=message):
        call()
