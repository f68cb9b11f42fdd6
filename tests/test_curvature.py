"""The largest curvature of an energy along its flow, and the steps that it allows: no mode grows, at grid scale either."""

from pathlib import Path

import numpy as np
import pytest
from helpers import IDENTITY, QUADRATIC, case_of, problem_of
from test_sobolev import LINE, PLANE, blob

import gridflow.scheme.finite_volume.curvature as module
from gridflow.energy.base import ROUNDOFF, BoundEnergy, Energy, Evaluation
from gridflow.scheme.finite_volume.curvature import SHARE
from gridflow.scheme.finite_volume.scheme import FiniteVolume
from gridflow.solver import solve
from gridflow.space.circle import Circle
from gridflow.space.distances import wasserstein1
from gridflow.space.grid import Grid
from gridflow.space.line import Grading, Interval
from gridflow.space.mixture import mixture_masses


class Square(Energy, BoundEnergy):
    """∫ρ², whose flow is ∂ρ/∂t = Δρ²: an energy of a user, which declares nothing beyond `convex`."""

    convex = True

    def bind(self, grid):
        self.volume = grid.volume
        return self

    def evaluate(self, mass):
        value = float((mass**2 / self.volume).sum())
        return Evaluation(value, np.ascontiguousarray(2 * mass / self.volume), ROUNDOFF * value)


class Total(Energy, BoundEnergy):
    """25(p − 1)², p = ∫(1 + x/10)dρ: its curvature belongs to constants, which a reaction with free mass moves."""

    convex = True

    def bind(self, grid):
        self.factor = 1 + 0.1 * grid.coordinate(grid.order[0]) * np.ones(grid.shape)
        return self

    def evaluate(self, mass):
        gap = float((self.factor * mass).sum()) - 1
        return Evaluation(25 * gap**2, np.ascontiguousarray(50 * gap * self.factor), ROUNDOFF * (1 + 25 * gap**2))


def descent(cells, **changes):
    """KSD descent between two bumps over a uniform density, smooth for all times here."""
    energy = {**LINE["energy"], "target": blob(0.4), "flow": "descent"}
    table = {**LINE, "initial": blob(-0.4), "energy": energy, "time": {"stop": 0.5, "save": 2, "max_steps": 100_000}}
    return case_of(table, exact=None, space__x__cells=cells, **changes)


def porous(cells, **changes):
    return descent(cells, **{"energy": {"kind": "potential"}, **changes})


def stepper_of(case, energy=None, temperature=0.0):
    grid = case.grid()
    bound = (energy or case.energy.load(Path())).bind(grid)
    return case.scheme.init(problem_of(grid, bound, temperature, case.flow.reaction)), start_of(case)


def start_of(case):
    grid = case.grid()
    return mixture_masses(case.initial, grid, Path(), "initial") / grid.volume


def dense(linearised):
    """(K, H) as matrices of densities over potentials and back, from their columns."""
    units = np.eye(linearised.density.size).reshape(-1, *linearised.density.shape)
    k = np.stack([linearised.moves(u).ravel() for u in units], axis=1)
    h = np.stack([linearised.second_derivative(u).ravel() for u in units], axis=1)
    return k, h


CASES = {
    "square": (porous(24), Square()),
    "Sobolev": (descent(24), None),
    "Sobolev in the plane": (
        case_of(PLANE, exact=None, energy__flow="descent", space__x__cells=8, space__angle__cells=6), None,
    ),
    "network": (case_of(QUADRATIC, exact=None, space__theta__cells=32), None),
    "square with reaction": (porous(24, flow={"reaction": {"rate": 30.0}}), Square()),
    "mass with reaction": (porous(24, flow={"reaction": {"rate": 4.0}}), Total()),
}  # fmt: skip


@pytest.mark.parametrize(("case", "energy"), CASES.values(), ids=CASES.keys())
def test_the_power_method_finds_the_largest_eigenvalue(case, energy):
    """Of K H, dense. From below, by at most the 20 % that the step leaves; K and H are symmetric, K ≥ 0."""
    stepper, density = stepper_of(case, energy)
    linearised = stepper.linearised(stepper.start(density))
    k, h = dense(linearised)
    weight = linearised.grid.volume.ravel()[:, None]
    np.testing.assert_allclose(weight * k, (weight * k).T, atol=1e-9 * np.abs(weight * k).max())
    np.testing.assert_allclose(weight * h, (weight * h).T, atol=1e-3 * np.abs(weight * h).max())  # differences, of ρ·1e−5
    assert np.linalg.eigvalsh(weight * k).min() > -1e-9 * np.abs(weight * k).max()
    largest = np.linalg.eigvals(k @ h).real.max()
    found = linearised.first().largest
    assert SHARE * largest <= found <= 1.001 * largest


def test_the_curvature_at_the_first_variation_is_that_of_a_step():
    """⟨ρ̇, Hρ̇⟩/⟨ξ, Kξ⟩ from this operator and from E along the flow: E(ρ + sρ̇) = E − s·D + ½s²·D·R exactly for ∫ρ²."""
    case = porous(64)
    stepper, density = stepper_of(case, Square())
    linearised = stepper.linearised(stepper.start(density))
    xi = stepper.drive.evaluate(density).first_variation
    move = linearised.moves(xi)
    values = [stepper.drive.evaluate(density - s * move).value for s in (-1e-3, 0.0, 1e-3)]
    fall, bend = (values[0] - values[2]) / 2e-3, (values[0] - 2 * values[1] + values[2]) / 1e-6
    assert linearised.inner(xi, move) == pytest.approx(fall, rel=1e-6)
    assert linearised.inner(move, linearised.second_derivative(move)) == pytest.approx(bend, rel=1e-6)


def test_the_limit_of_a_diffusion_is_that_of_von_neumann():
    """∫ρ² around ρ = 1 is diffusion with 2: the largest eigenvalue is 2·4/h² on a circle with an even number of cells, and half
    of that for each of two factors."""
    for factors in ([Circle(cells=32).factor("a")], [Circle(cells=32).factor("a"), Circle(cells=16).factor("b")]):
        grid = Grid(factors)
        stepper = FiniteVolume().init(problem_of(grid, Square().bind(grid), 0.0))
        exact = sum(8 / f.volumes[0] ** 2 for f in factors)
        found = stepper.linearised(stepper.start(np.ones(grid.shape))).first().largest
        assert SHARE * exact <= found <= 1.0001 * exact


def saw(density):
    """Amplitude of the saw-tooth: ρ against its neighbours, in the middle half, where the diffusion of both flows is positive."""
    gap = density[2:-2] - (4 * (density[1:-3] + density[3:-1]) - density[:-4] - density[4:]) / 6
    return float(np.abs(gap[gap.size // 4 : -gap.size // 4]).max())


def saw_after(case, energy, seed):
    """Amplitude of the saw-tooth at time 0.5, from one of `seed` times the density at the start."""
    stepper, density = stepper_of(case, energy)
    state = stepper.start(density * (1 + seed * (-1.0) ** np.arange(density.size)))
    while state.time < 0.5:
        state = stepper.step(state, 0.5 - state.time)
    return saw(state.density)


STIFF = {"Sobolev": (descent, None), "square": (porous, Square())}


@pytest.mark.parametrize(("make", "energy"), STIFF.values(), ids=STIFF.keys())
def test_a_saw_tooth_does_not_grow(make, energy):
    """Heun's method multiplies it by 1 − z + z²/2 ≤ 1 in each of some hundred steps: of 1 % nothing is left beside the smooth
    solution, whose fourth differences fall with the cells."""
    coarse, smooth, seeded = (saw_after(make(n), energy, seed) for n, seed in ((64, 0.0), (128, 0.0), (128, 0.01)))
    assert smooth < coarse
    assert seeded < 2 * smooth


@pytest.mark.parametrize(("make", "energy"), STIFF.values(), ids=STIFF.keys())
@pytest.mark.parametrize("fault", ["no limit", "sign"])
def test_without_the_limit_a_saw_tooth_grows(make, energy, fault, monkeypatch):
    """The quotient at ξ alone, or K with the wrong sign, leaves a saw-tooth several times the size of the smooth solution's."""
    smooth = saw_after(make(128), energy, 0.0)
    if fault == "no limit":
        monkeypatch.setattr(module, "SHARE", 1e9)
    else:
        inner = module.Linearised.inner
        monkeypatch.setattr(module.Linearised, "inner", lambda self, one, two: -inner(self, one, two))
    assert saw_after(make(128), energy, 0.0) > 5 * smooth


def test_descent_converges_in_space():
    """Differences of two grids in W1 fall with order 2, a little less while the limiter clips the maximum on coarse ones."""
    cells = (32, 64, 128, 256, 512)
    runs = [solve(descent(n)) for n in cells]
    assert all(r.attrs["status"] == "completed" for r in runs)
    masses = [r["density"].to_numpy()[-1] * r["cell_volume"].to_numpy() for r in runs]
    factors = [Interval(bounds=(-2.0, 2.0), cells=n).factor("x") for n in cells]
    gaps = [
        wasserstein1(a, b.reshape(-1, 2).sum(axis=1), f) for a, b, f in zip(masses, masses[1:], factors, strict=False)
    ]  # fmt: skip
    slopes = np.log2(np.array(gaps[:-1]) / gaps[1:])
    assert slopes.min() > 1.5, f"{gaps}"
    assert slopes[-1] > 1.8, f"{gaps}"
    assert gaps[-1] < 2e-5


def barenblatt(time, edges):
    """Cell masses of ρ = t^{−1/3}(C − x²t^{−2/3}/12)₊ with mass 1, m = 2 in one dimension: ∫(C − kx²)₊ = (4/3)C^{3/2}k^{−1/2}."""
    k = 1 / 12
    c = (0.75 * np.sqrt(k)) ** (2 / 3)
    scale = time ** (1 / 3)
    y = np.clip(edges / scale, -np.sqrt(c / k), np.sqrt(c / k))
    return np.diff(c * y - k * y**3 / 3)


def test_the_barenblatt_solution_is_reached_with_order():
    """∂ρ/∂t = Δρ², from t = 0.5 to 1, in W1. The front is a corner, which moves by O(h) only where cells are cut: the order is
    between 1 and 2."""
    errors = []
    for n in (32, 64, 128):
        factor = Interval(bounds=(-4.0, 4.0), cells=n).factor("x")
        grid = Grid([factor])
        stepper = FiniteVolume().init(problem_of(grid, Square().bind(grid), 0.0))
        state = stepper.start(barenblatt(0.5, factor.edges) / factor.volumes)
        while state.time < 0.5:
            state = stepper.step(state, 0.5 - state.time)
            assert state.rise <= state.rise_roundoff
        errors.append(wasserstein1(state.density * factor.volumes, barenblatt(1.0, factor.edges), factor))
    assert np.log2(np.array(errors[:-1]) / errors[1:]).min() > 1.0, f"{errors}"
    assert errors[-1] < 1e-3


def test_fitted_fluxes_keep_the_limit_too():
    """Diffusion by the energy beside diffusion by the temperature: the rates add up."""
    case = porous(128, flow={"temperature": 0.05})
    stepper, density = stepper_of(case, Square(), 0.05)
    density = density * (1 + 0.01 * (-1.0) ** np.arange(density.size))
    state = stepper.start(density)
    for _ in range(200):
        state = stepper.step(state, 1.0)
    assert saw(state.density) < 0.05 * saw(density)


@pytest.mark.parametrize("make", [descent, lambda n: case_of(IDENTITY, exact=None, time__stop=20.0, space__theta__cells=n)])
def test_the_limit_costs_few_evaluations(make, monkeypatch):
    """One energy a stage without it. Renewals of 4 evaluations each 4 to 64 steps, and 16 at the start: at most a fifth more."""
    calls, renewals = [], []
    stepper, density = stepper_of(make(64))
    bound = stepper.problem.bound
    evaluate, second_derivative = bound.evaluate_density, module.Linearised.second_derivative

    def counted(density, volume):
        calls.append(1)
        return evaluate(density, volume)

    def renewed(linearised, move):
        before = len(calls)
        change = second_derivative(linearised, move)
        renewals.append(len(calls) - before)
        return change

    monkeypatch.setattr(bound, "evaluate_density", counted, raising=False)
    monkeypatch.setattr(module.Linearised, "second_derivative", renewed)
    state = stepper.start(density)
    for _ in range(300):
        state = stepper.step(state, 1.0)
    assert 0 < sum(renewals) <= 0.2 * (len(calls) - sum(renewals))


def test_a_linear_energy_has_no_limit():
    case = porous(32, energy={"kind": "potential", "terms": {"x": {"kind": "double-well"}}})
    stepper, density = stepper_of(case)
    assert stepper.linearised(stepper.start(density)).first().step_max == np.inf


def test_a_graded_grid():
    """The smallest cells have the largest eigenvalue: the limit is that of the dense matrices there too."""
    grid = Grid([Interval(bounds=(-2.0, 2.0), cells=24, grading=Grading(focus=0.0, ratio=4.0)).factor("x")])
    stepper = FiniteVolume().init(problem_of(grid, Square().bind(grid), 0.0))
    linearised = stepper.linearised(stepper.start(np.full(24, 0.25)))
    k, h = dense(linearised)
    largest = np.linalg.eigvals(k @ h).real.max()
    assert SHARE * largest <= linearised.first().largest <= 1.001 * largest


def test_few_labels_have_a_curvature():
    """On three labels with a reaction that keeps the mass, where equal numbers at all labels move nothing."""
    labels = {"kind": "labels", "values": [0.0, 1.0, 2.0]}
    start = [{"density": {"x": {"kind": "uniform"}}}]
    flow = {"reaction": {"rate": 4.0, "conserve": True}}
    case = case_of(LINE, exact=None, energy={"kind": "potential"}, space={"x": labels}, initial=start, flow=flow)
    stepper, density = stepper_of(case, Total())
    linearised = stepper.linearised(stepper.start(density * np.array([0.5, 1.0, 1.5])))
    k, h = dense(linearised)
    largest = np.linalg.eigvals(k @ h).real.max()
    assert largest > 0.1
    assert SHARE * largest <= linearised.first().largest <= 1.001 * largest
