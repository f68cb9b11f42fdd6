"""Noise injection: smoothed kernels, particles as printed, their limit on the grid, finite steps, levels."""

from pathlib import Path

import numpy as np
import pytest
from helpers import QUADRATIC, case_of, problem_of
from scipy.interpolate import CubicSpline
from scipy.special import ndtr

from gridflow.energy.interaction.convolution import cell_points
from gridflow.energy.mmd.mmd import MMD, Target
from gridflow.energy.mmd.smoothing import SmoothKernel
from gridflow.errors import InputError
from gridflow.flow.noise import NoiseInjection, temperature
from gridflow.flow.schedule import PowerDecay
from gridflow.particles.integrator import GradientDescent
from gridflow.particles.simulation import Simulator, simulate
from gridflow.solver import solve
from gridflow.space.circle import Circle
from gridflow.space.densities import Normal, Uniform
from gridflow.space.distances import wasserstein1
from gridflow.space.grid import Grid
from gridflow.space.labels import Labels
from gridflow.space.line import Grading, Interval
from gridflow.sums.kernels import Gaussian, InverseMultiquadric, Laplace, Polynomial, Riesz

HERE = Path()
X = Interval(bounds=(-2.0, 1.0), cells=14).factor("x")
Y = Interval(bounds=(0.0, 2.5), cells=9).factor("y")
GRADED = Interval(bounds=(-2.0, 1.0), cells=12, grading=Grading(focus=0.2, ratio=5.0)).factor("x")
ANGLE = Circle(cells=8).factor("angle")
SIGN = Labels(values=[-1.0, 1.0]).factor("sign")
NODES, WEIGHTS = np.polynomial.hermite_e.hermegauss(60)
WEIGHTS = WEIGHTS / WEIGHTS.sum()


# --------------------------------------------------------------------------------------------------- smoothed kernels
@pytest.mark.parametrize("dim", [1, 2, 3])
@pytest.mark.parametrize("kernel", [Laplace(0.7), InverseMultiquadric(0.9), Riesz(0.5), Riesz(1.0), Riesz(1.7)], ids=str)
def test_smoothed_kernels_are_averages(kernel, dim):
    """E k(x + βu) by Gauss–Hermite quadrature in polar form: (x₁ + βu₁, β·χ) with χ² of dim − 1 degrees of freedom."""
    level, r = 0.6, np.array([0.0, 0.2, 1.0, 3.0, 8.0])
    u = np.linspace(-9.0, 9.0, 20001)
    normal = np.exp(-(u**2) / 2) / np.sqrt(2 * np.pi) * (u[1] - u[0])
    radius, across = np.zeros(1), np.ones(1)
    if dim > 1:
        radius = np.linspace(0.0, 9.0, 1501) + 1e-12
        density = np.exp(-(radius**2) / 2) * (np.sqrt(2 / np.pi) if dim == 2 else radius)
        across = density * (radius[1] - radius[0])
        across[[0, -1]] /= 2
        normal, u = normal[::10] * 10, u[::10]
    expected = [
        normal @ (kernel.radial((x + level * u[:, None]) ** 2 + (level * radius) ** 2) @ across) / across.sum() for x in r
    ]
    # trapezoidal rule across the kink of k at 0: 1e−5, for r^½ 1e−4
    tolerance = 1e-4 if kernel == Riesz(0.5) else 2e-5
    np.testing.assert_allclose(SmoothKernel(kernel, level, dim).radial(r**2), expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("kernel", [Laplace(0.7), InverseMultiquadric(0.9), Riesz(0.5), Riesz(1.7)], ids=str)
def test_without_noise_a_smoothed_kernel_is_the_kernel(kernel):
    """Away from the kink; β = 1e−7."""
    r = np.linspace(0.1, 10.0, 50)
    np.testing.assert_allclose(SmoothKernel(kernel, 1e-7, 2).radial(r**2), kernel.radial(r**2), rtol=1e-9, atol=1e-11)


def test_tables_of_smoothed_kernels_are_exact_enough():
    for kernel in (Laplace(0.7), Riesz(1.0)):
        smooth = SmoothKernel(kernel, 0.2, 2)
        squared = np.linspace(0.0, 100.0, 6000)
        np.testing.assert_allclose(smooth.radial(squared), smooth.exact(squared), atol=1e-9)


def mixed_target(factors):
    density = {f.name: Uniform() if f.name in ("sign", "angle") else Normal(float(f.points.mean()), 0.2) for f in factors}
    return [Target(density=density)]


@pytest.mark.parametrize(
    ("kernel", "factors"),
    [
        (Gaussian(0.8), (X,)),
        (Gaussian(0.8), (GRADED, Y)),
        (Gaussian(0.8), (SIGN, X, ANGLE)),
        (Riesz(1.0), (X, Y)),
        (Laplace(0.9), (X, Y)),
        (Laplace(0.9), (GRADED,)),
    ],
    ids=["line", "plane", "labels, line, circle", "riesz", "laplace", "laplace on a graded line"],
)
def test_the_drive_is_the_first_variation_at_displaced_positions(kernel, factors, rng):
    """E ξ(z + βu) of the particle energy at the cells, in free space, by quadrature over u; labels are not displaced."""
    grid = Grid(list(factors))
    level = 0.5
    target = mixed_target(grid.factors)
    bound = MMD(kernel=kernel, target=target).load(HERE).bind(grid)
    mass = rng.random(grid.shape)
    mass /= mass.sum()
    drive = bound.smooth_variation(level)(mass)
    points, places = cell_points(grid), cell_points(grid)
    moving = [k for k, f in enumerate(grid.factors) if f.moves]
    nodes = np.stack([n.ravel() for n in np.meshgrid(*[NODES] * len(moving), indexing="ij")], axis=1)
    weights = np.prod(np.meshgrid(*[WEIGHTS] * len(moving), indexing="ij"), axis=0).ravel()
    chosen = rng.integers(0, grid.size, 6)
    difference = (mass - bound.target).ravel()
    for i in chosen:
        displaced = np.repeat(places[[i]], len(nodes), axis=0)
        displaced[:, moving] += level * nodes
        if isinstance(kernel, Gaussian):
            values = np.ones((len(nodes), grid.size))
            for k, factor in enumerate(grid.factors):
                values *= kernel.along(displaced[:, [k]] - points[:, k], factor.period)
        else:
            values = kernel.radial(((displaced[:, None] - points[None]) ** 2).sum(axis=2))
        # 60 nodes average a kink to 1 %
        tolerance = 1e-10 if isinstance(kernel, Gaussian) else 2e-2 * np.abs(drive).max()
        assert drive.ravel()[i] == pytest.approx(weights @ values @ difference, abs=tolerance)


@pytest.mark.parametrize("factors", [(X,), (GRADED, Y), (SIGN, X, ANGLE)], ids=["line", "plane", "labels, line, circle"])
@pytest.mark.parametrize("level", [0.05, 0.5])
def test_moments_of_displaced_gradients(factors, level, rng, tmp_path):
    """E ∇f and E|∇f|² at the cells by Gauss–Hermite quadrature, with samples in the target."""
    grid = Grid(list(factors))
    names = [f.name for f in grid.factors]
    row = {"x": -0.3, "y": 1.1, "angle": 2.0, "sign": 1.0}
    (tmp_path / "s.csv").write_text(",".join(names) + "\n" + ",".join(str(row[n]) for n in names))
    target = [*mixed_target(grid.factors), Target(file="s.csv", columns={n: n for n in names}, weight=0.5)]
    energy = MMD(kernel=Gaussian(0.8), target=target).load(tmp_path)
    bound = energy.bind(grid)
    mass = rng.random(grid.shape)
    mass /= mass.sum()
    first, second = bound.displacement_moments(level)(mass)
    points = cell_points(grid)
    sources = np.concatenate([points, [[row[n] for n in names]]])
    weights = np.append((mass - bound.target).ravel(), -1 / 3)
    moving = [k for k, f in enumerate(grid.factors) if f.moves]
    nodes = np.stack([n.ravel() for n in np.meshgrid(*[NODES] * len(moving), indexing="ij")], axis=1)
    probability = np.prod(np.meshgrid(*[WEIGHTS] * len(moving), indexing="ij"), axis=0).ravel()
    from tests.reference.pairs import gaussian_sum

    lengths = np.array([f.period for f in grid.factors])
    for i in rng.integers(0, grid.size, 4):
        places = np.repeat(points[[i]], len(nodes), axis=0)
        places[:, moving] += level * nodes
        slope = gaussian_sum(places, sources, weights, 0.8, lengths)[1][:, moving]
        # the average is a sum over points at distances β: e^{−2π²} of what it is not
        np.testing.assert_allclose([f.ravel()[i] for f in first], probability @ slope, atol=1e-7)
        assert second.ravel()[i] == pytest.approx(probability @ (slope**2).sum(axis=1), abs=1e-7)


def test_a_constant_level_is_the_flow_of_another_mmd(tmp_path):
    """G_β * k is a Gaussian of bandwidth (σ² + β²)^½, (σ/·)^dim high: time runs slower, the densities are the same."""
    case = case_of(FLOW, flow__noise_injection={"level": 0.6})
    noisy = solve(case)
    wide = np.hypot(0.8, 0.6)
    other = solve(case_of(FLOW, energy__bandwidth=float(wide), time__stop=float(1.6 * 0.8 / wide)))
    gap = wasserstein1(
        *[d["density"][-1].to_numpy() * d["cell_volume"].to_numpy() for d in (noisy, other)], case.grid().factors[0]
    )
    assert gap < 2e-5  # the steps differ: second order in time, 1e−5 of the way


# ---------------------------------------------------------------------------------------------------------- the flow
FLOW = {
    "title": "noise injection",
    "space": {"x": {"kind": "interval", "bounds": [-4.0, 4.0], "cells": 256}},
    "energy": {
        "kind": "mmd",
        "bandwidth": 0.8,
        "target": [{"density": {"x": {"kind": "normal", "mean": 1.0, "deviation": 0.4}}}],
    },
    "initial": [{"density": {"x": {"kind": "normal", "mean": -0.8, "deviation": 0.4}}}],
    "scheme": {"kind": "finite-volume"},
    "time": {"stop": 1.6, "save": 2},
    "particles": {"counts": [16, 64, 256], "integrator": {"kind": "gradient-descent", "step": 0.1}},
}  # fmt: skip


def law_of_steps(case, gamma, steps, level):
    """Cell masses after so many steps Z ← Z − γ∇f(Z + β_n u): the law itself, without any sample.

    F_{n+1}(y) = E_u F_n(T_u^{-1}(y)) with T_u(z) = z − γf'(z + βu), increasing for these γ; Gauss–Hermite over u, cubic splines.
    """
    factor = case.grid().factors[0]
    start, goal = case.initial[0].density["x"], case.energy.target[0].density["x"]
    x = np.linspace(-5.0, 5.0, 4001)
    below = ndtr((x - start.mean) / start.deviation)
    sigma = case.energy.bandwidth
    wide = np.hypot(sigma, goal.deviation)
    y = np.linspace(-12.0, 12.0, 1601)
    towards = -(y - goal.mean) / wide**2 * sigma / wide * np.exp(-((y - goal.mean) ** 2) / (2 * wide**2))
    middle = (x[1:] + x[:-1]) / 2
    gap = y[:, None] - middle
    pull = -gap / sigma**2 * np.exp(-(gap**2) / (2 * sigma**2))
    nodes, weights = np.polynomial.hermite_e.hermegauss(24)
    for n in range(steps):
        slope = CubicSpline(y, pull @ np.diff(below) - towards)
        cdf, new = CubicSpline(x, below), np.zeros_like(below)
        for u, w in zip(nodes, weights / weights.sum(), strict=True):
            mapped = x - gamma * slope(x + level(n * gamma) * u)
            back = CubicSpline(mapped, x)(x)
            new += w * np.where(back <= x[0], 0.0, np.where(back >= x[-1], 1.0, cdf(np.clip(back, x[0], x[-1]))))
        below = new
    return np.diff(CubicSpline(x, below)(factor.edges))


@pytest.mark.parametrize("decay", [None, {"kind": "power", "time": 1.0}], ids=["constant", "decaying"])
def test_finite_steps_need_drift_and_diffusion(decay):
    """W1 between the law of the discrete scheme and the corrected density: order γ without, γ² with both corrections.

    The diffusion alone does not change the order. 384 cells: the error of the grid, 6e−6, is far below 2e−4, what is left with
    both for the smallest step.
    """
    noise = {"level": 0.7, "decay": decay}
    case = case_of(FLOW, space__x__cells=384, flow__noise_injection=noise)
    factor, gammas = case.grid().factors[0], (0.2, 0.1, 0.05)
    laws = {gamma: law_of_steps(case, gamma, round(1.6 / gamma), case.flow.noise_injection.at) for gamma in gammas}
    gaps: dict = {"none": [], "diffusion": [], "both": []}
    for name, corrections in (("none", []), ("diffusion", ["diffusion"]), ("both", ["drift", "diffusion"])):
        for gamma in gammas if decay is None or name == "both" else ():
            chosen = {"flow.noise_injection.step": gamma, "flow.noise_injection.corrections": corrections}
            dataset = solve(case.replace(chosen))
            gaps[name].append(wasserstein1(dataset["density"][-1].to_numpy() * factor.volumes, laws[gamma], factor))
    slopes = {name: np.log2(np.array(g[:-1]) / np.array(g[1:])) for name, g in gaps.items()}
    assert slopes["both"].min() >= 1.8, f"{gaps}"
    if decay is None:
        assert np.abs(slopes["none"] - 1).max() <= 0.15, f"{gaps}"
        assert np.abs(slopes["diffusion"] - 1).max() <= 0.15, f"{gaps}"
        assert gaps["both"][-1] < 0.2 * gaps["diffusion"][-1]


def test_particles_do_as_printed(rng):
    """One step of Z ← Z − γ∇f(Z + βu) from the definition, with the same random numbers; walls and labels included."""
    factors = (SIGN, X)
    target = mixed_target(factors)
    energy = MMD(kernel=Gaussian(0.5), target=target).load(HERE)
    points = np.array([[1.0, -1.9], [-1.0, 0.3], [1.0, 0.95]])
    wide = energy.particles(factors).extend(5.0)
    places = points + np.array([[0.0, -1.4], [0.0, 0.2], [0.0, 0.8]])
    weights = np.full(3, 1 / 3)
    found = wide.gradient_at(places, points, weights)
    step = 1e-6
    cells = np.linspace(-2.0, 1.0, 6001)
    middle = (cells[1:] + cells[:-1]) / 2
    mass = target[0].density["x"].between(cells)
    mass /= mass.sum()

    def f(sign, x):
        own = sum(w * np.exp(-((sign - p[0]) ** 2 + (x - p[1]) ** 2) / (2 * 0.25)) for w, p in zip(weights, points, strict=True))
        near = sum(0.5 * np.exp(-((sign - s) ** 2) / (2 * 0.25)) for s in (-1.0, 1.0))
        return own - near * (mass @ np.exp(-((x - middle) ** 2) / (2 * 0.25)))

    for (sign, x), gradient in zip(places, found, strict=True):
        assert gradient[0] == 0.0
        assert gradient[1] == pytest.approx((f(sign, x + step) - f(sign, x - step)) / (2 * step), abs=1e-6)


@pytest.mark.parametrize("kernel", [Gaussian(0.6), Laplace(0.6), Riesz(1.0), Polynomial(2)], ids=str)
def test_the_field_beyond_the_walls_is_that_of_free_space(kernel):
    """A wider box has the same field at places outside of the narrower one."""
    target = [Target(density={"x": Normal(-0.5, 0.15)})]
    energy = MMD(kernel=kernel, target=target).load(HERE)
    wide = (Interval(bounds=(-5.0, 4.0), cells=60).factor("x"),)
    places, points, weights = np.array([[-3.9], [0.0], [2.9]]), np.array([[-1.0], [0.2]]), np.array([0.5, 0.5])
    one = energy.particles((X,)).extend(2.5).gradient_at(places, points, weights)
    two = energy.particles(wide).gradient_at(places, points, weights)
    np.testing.assert_allclose(one, two, atol=1e-5)  # both tables are quadratures of 4096 cells
    same = energy.particles((X,)).extend(1.0).gradient_at(points, points, weights)
    np.testing.assert_allclose(same, energy.particles((X,)).evaluate(points, weights).gradient, atol=1e-5)


def test_particles_tend_to_the_density():
    """20000 quasi-random particles with γ = 0.05 against the corrected density: sampling error of the noise, 3e−3."""
    noise = {"level": 0.7, "step": 0.05, "corrections": ["drift", "diffusion"]}
    case = case_of(FLOW, flow__noise_injection=noise)
    dataset = solve(case)
    run = simulate(case, 4096, sampling="sobol", integrator=GradientDescent(step=0.05))
    mean = float((dataset["density"][-1] * dataset["x"] * dataset["cell_volume"]).sum())
    spread = float((dataset["density"][-1] * (dataset["x"] - mean) ** 2 * dataset["cell_volume"]).sum()) ** 0.5
    # 32 displacements of size 0.05·|f''|β per particle: deviation 0.02 of 4096 particles
    assert run.points[-1].mean() == pytest.approx(mean, abs=1.5e-3)
    assert run.points[-1].std() == pytest.approx(spread, abs=1.5e-3)
    assert run.energy[-1] == pytest.approx(float(dataset["energy"][-1]), rel=5e-3)


# ------------------------------------------------------------------------------------------------------------- levels
def test_levels():
    assert NoiseInjection(level=2.0).at(7.0) == 2.0
    decaying = NoiseInjection(level=2.0, decay=PowerDecay(time=4.0))
    assert decaying.at(12.0) == pytest.approx(1.0)
    adaptive = NoiseInjection(level=2.0, adaptive=True)
    assert adaptive.largest(lambda level: True) == 2.0
    assert adaptive.largest(lambda level: level <= 0.71) == pytest.approx(2.0 * 2**-1.5)
    assert adaptive.largest(lambda level: False) == pytest.approx(2.0 / 256)
    assert temperature(0.2, 0.1) == pytest.approx(0.2)


def test_an_adaptive_level_keeps_the_decrease():
    """−dF/dt ≥ C·D_β at every save, where a rung higher it would fail; F falls, and below the rate (2)."""
    noise = {"level": 3.0, "adaptive": True, "decrease": 0.5}
    dataset = solve(case_of(FLOW, flow__noise_injection=noise, time__stop=8.0, time__save=9))
    level = dataset["noise_level"].to_numpy()
    assert (dataset["dissipation"] >= 0.5 * dataset["injected_dissipation"]).all()
    assert (np.diff(dataset["energy"]) < 0).all()
    assert len(set(level)) > 1
    from gridflow.energy.mmd.certificates import rate_bound

    assert (dataset["energy"] <= rate_bound(dataset) * (1 + 1e-12)).all()
    higher = case_of(FLOW, flow__noise_injection={**noise, "level": float(level[4]) * 2**0.5, "adaptive": False})
    from gridflow.scheme.finite_volume.stepper import FiniteVolumeStepper

    bound = higher.energy.load(HERE).bind(higher.grid())
    stepper = higher.scheme.init(problem_of(higher.grid(), bound, 0.0, noise=higher.flow.noise_injection))
    assert isinstance(stepper, FiniteVolumeStepper)
    state = stepper.start(dataset["density"][4].to_numpy())
    falls = stepper.dissipation(state.density, state.evaluation)
    assert falls < 0.5 * stepper.report(state)["injected_dissipation"]


def test_adaptive_particles_follow_the_adaptive_density():
    noise = {"level": 3.0, "adaptive": True}
    case = case_of(FLOW, flow__noise_injection=noise, time__stop=4.0, time__save=5)
    dataset = solve(case)
    run = simulate(case, 1024, sampling="sobol", integrator=GradientDescent(step=0.05))
    # levels change by factors √2 at other times: a tenth of F
    np.testing.assert_allclose(run.energy, dataset["energy"], rtol=0.1)


def test_dissipation_is_the_rate_of_f_also_where_it_rises():
    """Far beyond the useful level F rises at first; the rate in the file is that of the energy in it."""

    def two(left, weight):
        places = ((left, weight), (1.0, 1 - weight))
        return [{"weight": w, "density": {"x": {"kind": "normal", "mean": m, "deviation": 0.25}}} for m, w in places]

    energy = {**FLOW["energy"], "bandwidth": 0.3, "target": two(-1.0, 0.5)}
    noise = {"level": 2.0}  # the smoothed field sees the excess on the left, and pushes it farther off its place
    dataset = solve(
        case_of(FLOW, energy=energy, initial=two(-0.9, 0.7), flow__noise_injection=noise, time__stop=0.02, time__save=3)
    )
    rate = (dataset["energy"][0] - dataset["energy"][2]) / 0.02
    assert rate < 0
    assert float(dataset["dissipation"][1]) == pytest.approx(float(rate), rel=1e-2)
    assert dataset.attrs["energy_decreases"].startswith("not claimed")


def test_a_run_with_noise_resumes_where_it_was(tmp_path):
    noise = {"level": 3.0, "adaptive": True}
    case = case_of(FLOW, space__x__cells=64, flow__noise_injection=noise, time__stop=2.0, time__save=3)
    stepper = case.scheme.init(
        problem_of(case.grid(), case.energy.load(HERE).bind(case.grid()), 0.0, noise=case.flow.noise_injection)
    )
    state = stepper.start(solve(case)["density"][1].to_numpy(), 1.0, 0.05)
    again = stepper.start(state.density, 1.0, 0.05)
    assert again.reports == state.reports
    np.testing.assert_array_equal(again.evaluation.drive, state.evaluation.drive)


# ------------------------------------------------------------------------------------------------------------- errors
ADAPTIVE = {"level": 1.0, "adaptive": True}


def with_kernel(kernel):
    return {**FLOW["energy"], "bandwidth": None, "kernel": kernel}


def noisy(**changes):
    level = {"flow__noise_injection": {"level": 0.5}}
    return case_of(FLOW, **{**level, **changes})


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: solve(case_of(QUADRATIC, exact=None, flow__noise_injection={"level": 0.5})), "this energy"),
        (lambda: solve(noisy(scheme={"kind": "jko", "tau": 0.1})), "entropic JKO steps with flow.noise_injection"),
        (lambda: solve(noisy(scheme={"kind": "exact-wasserstein", "tau": 0.1})), "exact Wasserstein steps with flow"),
        (lambda: solve(noisy(flow__reaction={"rate": 1.0})), "flow.reaction.rate = 1 in a flow"),
        (lambda: solve(noisy(time__steady=1e-3)), "time.steady"),
        (lambda: solve(noisy(energy=with_kernel({"kind": "polynomial", "degree": 2}))), "'polynomial'"),
        (
            lambda: solve(noisy(energy=with_kernel({"kind": "riesz"}), flow__noise_injection=ADAPTIVE)),
            "a Gaussian kernel",
        ),
        (lambda: case_of(FLOW, flow__noise_injection={"level": 0.5, "corrections": ["drift"]}), "need the step"),
        (lambda: case_of(FLOW, flow__noise_injection={"level": -0.5}), "flow.noise_injection.level"),
        (lambda: case_of(FLOW, flow__noise_injection={"beta": 0.5}), "unknown key 'beta'"),
        (lambda: simulate(noisy(particles__integrator={"kind": "rk2", "step": 0.1}), 16), "gradient-descent"),
        (lambda: Simulator.of(case_of(QUADRATIC, exact=None, flow__noise_injection={"level": 0.5})), "this energy"),
        (lambda: plane_with_corrections(), "elsewhere the diffusion is a full tensor"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused(call, message):
    with pytest.raises(InputError, match=message):
        call()


def plane_with_corrections():
    axis = {"kind": "interval", "bounds": [-4.0, 4.0], "cells": 16}
    normal = {"kind": "normal", "mean": 0.0, "deviation": 0.5}
    changes = {
        "space": {"x": axis, "y": axis},
        "energy": {"kind": "mmd", "bandwidth": 1.0, "target": [{"density": {"x": normal, "y": normal}}]},
        "initial": [{"density": {"x": normal, "y": normal}}],
    }
    noise = {"level": 0.7, "step": 0.1, "corrections": ["drift"]}
    solve(case_of({**FLOW, **changes}, flow__noise_injection=noise))


def test_simulators_of_other_energies_do_not_change():
    assert Simulator.of(case_of(FLOW)).energy.tables.reach == 0.0
