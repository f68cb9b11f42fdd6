"""Invariants over scheme × space × energy: mass, positivity, energy decrease, the identity of dissipation and energy."""

from pathlib import Path

import numpy as np
import pytest
from helpers import HEAT_CIRCLE, ORNSTEIN_UHLENBECK, QUADRATIC, Linear, case_of, problem_of

from gridflow.energy.base import BoundEnergy, Energy, Evaluation
from gridflow.energy.mmd.mmd import MMD, Target
from gridflow.energy.network.branch import Branch
from gridflow.energy.network.inputs import NormalInputs
from gridflow.energy.network.spec import Network
from gridflow.energy.network.teacher import Neuron, TeacherData
from gridflow.energy.potential import DoubleWell, Potential, Wave
from gridflow.errors import InputError, SolveError
from gridflow.flow.diffusion import HeatSemigroup
from gridflow.scheme.finite_volume.scheme import FiniteVolume
from gridflow.scheme.finite_volume.stages import STAGES_MAX
from gridflow.scheme.finite_volume.stepper import FiniteVolumeStepper
from gridflow.scheme.finite_volume.transport import Transport
from gridflow.solver import solve
from gridflow.space.circle import Circle
from gridflow.space.densities import Normal, Uniform
from gridflow.space.grid import Grid
from gridflow.space.labels import Labels
from gridflow.space.line import Grading, Interval
from gridflow.space.mixture import Component, mixture_masses

FIRST = Interval(bounds=(-2.0, 2.0), cells=24, grading=Grading(focus=0.0, ratio=2.0)).factor("a")
ANGLE = Circle(cells=20).factor("angle")
SIGN = Labels(values=[-1.0, 1.0]).factor("sign")
SPACES = {
    "line × circle": Grid([FIRST, ANGLE]),
    "line × circle × labels": Grid([FIRST, ANGLE, SIGN]),
    "mobility": Grid([FIRST, ANGLE, SIGN], {"angle": ("sign", np.array([1.0, 0.25]))}),
}
DATA = TeacherData(NormalInputs(count=25, covariance=[[2.0, 0.0], [0.0, 1.0]]), [Neuron([1.0, 0.5]), Neuron([0.0, -1.0], 0.5)])
MARGINALS = {"a": Normal(0.5, 0.2), "angle": Normal(2.0, 0.5), "sign": Uniform()}
ENERGIES = {
    "network": lambda names: Network(data=DATA, branches=[Branch(["angle"], [["a"]])], normalization=True),
    "logistic network": lambda names: Network(
        data=TeacherData(NormalInputs(count=25, covariance=[[1.0, 0.0], [0.0, 1.0]]), [Neuron([3.0, 1.0])], activation="sign"),
        branches=[Branch(["angle"], [["a"]])],
        activation="tanh",
        loss="logistic",
    ),
    "mmd": lambda names: MMD(bandwidth=0.8, target=[Target(density={n: MARGINALS[n] for n in names})]),
    "potential": lambda names: Potential({"a": DoubleWell(), "angle": Wave()}),
}
SCHEMES = {
    "first order": (FiniteVolume(order=1), 0.0),
    "second order": (FiniteVolume(), 0.0),
    "fitted": (FiniteVolume(diffusion="scharfetter-gummel"), 0.2),
    "implicit": (FiniteVolume(), 0.2),
    "Strang": (FiniteVolume(diffusion="heat-semigroup"), 0.2),
}


@pytest.fixture(autouse=True)
def sign_activation(monkeypatch):
    """Labels ±1 for the logistic loss."""
    from gridflow.energy.network import activation

    sign = activation.Activation(lambda z: np.where(z > 0, 1.0, -1.0), is_smooth=False)
    monkeypatch.setitem(activation.ACTIVATIONS, "sign", sign)


def start_density(grid):
    densities = {"a": Normal(-0.3, 0.3), "angle": Uniform(), "sign": Uniform()}
    component = Component(density={f.name: densities[f.name] for f in grid.factors})
    return mixture_masses([component], grid, Path(), "initial") / grid.volume


def start(scheme, temperature, grid, energy):
    stepper = scheme.init(problem_of(grid, energy(grid.order).load(Path()).bind(grid), temperature))
    return stepper, stepper.start(start_density(grid))


@pytest.mark.parametrize("energy", ENERGIES.values(), ids=ENERGIES.keys())
@pytest.mark.parametrize("grid", SPACES.values(), ids=SPACES.keys())
@pytest.mark.parametrize(("scheme", "temperature"), SCHEMES.values(), ids=SCHEMES.keys())
def test_invariants_hold_at_every_step(scheme, temperature, grid, energy):
    if scheme.diffusion == "heat-semigroup" and any(m.size > 1 for m in grid.mobility):
        with pytest.raises(InputError, match="constant mobilities"):
            start(scheme, temperature, grid, energy)
        return
    stepper, state = start(scheme, temperature, grid, energy)
    labels = grid.marginal_masses(state.density, "sign") if "sign" in grid.order else None
    for _ in range(60):
        new = stepper.step(state, np.inf if np.isfinite(state.dt) else 1.0)
        assert new.time > state.time
        assert new.density.min() >= 0
        assert grid.integrate(new.density) == pytest.approx(1.0, abs=1e-13)
        if stepper.energy_decreases:
            assert new.free_energy <= state.free_energy + 1e-13 * max(
                1.0, abs(state.free_energy)
            )  # round-off of a sum of 1e3 terms
        state = new
    if labels is not None:
        np.testing.assert_allclose(grid.marginal_masses(state.density, "sign"), labels, rtol=1e-13)  # mass is kept per label
    assert state.free_energy < stepper.start(start_density(grid)).free_energy - 1e-4


@pytest.mark.parametrize("energy", ENERGIES.values(), ids=ENERGIES.keys())
@pytest.mark.parametrize(("scheme", "temperature"), list(SCHEMES.values())[:3], ids=list(SCHEMES)[:3])
def test_dissipation_is_the_rate_of_the_energy(scheme, temperature, energy):
    """dE/dt = −Σ A d ρ_f u²/M exactly in space; in time by an Euler step, whose error is dt·E''/2."""
    grid = SPACES["line × circle"]
    stepper, state = start(scheme, temperature, grid, energy)
    state = stepper.step(state, 0.01)
    dissipation = stepper.dissipation(state.density, state.evaluation)
    rates = []
    for dt in (1e-5, 5e-6):
        new, _ = stepper.attempt(state, dt)
        rates.append((state.free_energy - new.free_energy) / dt)
    extrapolated = 2 * rates[1] - rates[0]
    assert extrapolated == pytest.approx(dissipation, rel=1e-4)


def test_dissipation_under_strang_splitting_is_that_of_the_free_energy():
    """A smooth positive density: the reported rate differs from the measured one by the error in space, (h/σ)² = 2 %."""
    stepper, state = start(*SCHEMES["Strang"], SPACES["line × circle"], ENERGIES["potential"])
    for _ in range(20):
        state = stepper.step(state, np.inf)
    new, _ = stepper.attempt(state, 1e-5)
    dissipation = stepper.dissipation(state.density, state.evaluation)
    assert (state.free_energy - new.free_energy) / 1e-5 == pytest.approx(dissipation, rel=0.02)


@pytest.mark.parametrize("order", [1, 2])
def test_the_step_does_not_grow_until_the_energy_rises(order):
    """Towards the stationary state the velocity vanishes; with the positivity limit alone E stalls at 3e−5 and rises."""
    case = case_of(QUADRATIC, scheme__order=order)
    grid = case.grid()
    stepper = case.scheme.init(problem_of(grid, case.energy.load(Path()).bind(grid), 0.0))
    state = stepper.start(mixture_masses(case.initial, grid, Path(), "initial") / grid.volume)
    for _ in range(400):
        new = stepper.step(state, 1e4 - state.time)
        assert new.free_energy <= state.free_energy + 1e-16
        state = new
    assert state.time > 20
    assert state.free_energy < 1e-25  # E = (c/2)(m₂ − m₂*)², m₂ to round-off


def test_without_the_energy_limit_the_energy_rises(monkeypatch):
    """The test above can fail: it does so as soon as the limits are gone (the check after the step too)."""
    from gridflow.scheme.finite_volume import curvature
    from gridflow.scheme.finite_volume.limits import Limits

    monkeypatch.setattr(curvature, "SHARE", np.inf)
    monkeypatch.setattr(Limits, "energy", lambda self, *limits: np.inf)
    monkeypatch.setattr(Limits, "accuracy", lambda self, *limits: np.inf)
    monkeypatch.setattr(FiniteVolumeStepper, "energy_decreases", False)
    case = case_of(QUADRATIC)
    grid = case.grid()
    stepper = case.scheme.init(problem_of(grid, case.energy.load(Path()).bind(grid), 0.0))
    state = stepper.start(mixture_masses(case.initial, grid, Path(), "initial") / grid.volume)
    for _ in range(200):
        state = stepper.step(state, 1000.0)
    assert state.rise > 1e-6


def test_fitted_fluxes_keep_the_discrete_equilibrium():
    """ρ ∝ exp(−V/D) at the cell points is stationary for Scharfetter–Gummel fluxes, to round-off."""
    grid = SPACES["line × circle"]
    energy = ENERGIES["potential"](grid.order).load(Path()).bind(grid)
    density = np.exp(-energy.potential / 0.2)
    density /= grid.integrate(density)
    stepper = FiniteVolume(diffusion="scharfetter-gummel").init(problem_of(grid, energy, 0.2))
    new = stepper.step(stepper.start(density), np.inf)
    np.testing.assert_allclose(new.density, density, rtol=1e-12)


def test_strang_says_by_how_much_the_free_energy_rose():
    stepper, state = start(*SCHEMES["Strang"], SPACES["line × circle"], ENERGIES["potential"])
    assert not stepper.energy_decreases
    for _ in range(200):
        state = stepper.step(state, np.inf)
    assert 0 <= state.rise < 1e-3


def test_a_large_first_step_is_cut_to_an_accepted_one():
    case = case_of(HEAT_CIRCLE, scheme__diffusion="scharfetter-gummel")
    grid = case.grid()
    stepper = case.scheme.init(problem_of(grid, case.energy.load(Path()).bind(grid), 0.2))
    density = mixture_masses(case.initial, grid, Path(), "initial") / grid.volume
    h = grid.factors[0].volumes[0]
    new = stepper.step(stepper.start(density, dt=100.0), 100.0)
    assert new.time <= (STAGES_MAX - 1) * h**2 / (2 * 0.2)  # explicit diffusion: positivity of an Euler step is h²/(2D)


class Broken(Energy, BoundEnergy):
    """An energy that turns into NaN away from its start."""

    convex = True

    def __init__(self, good: int) -> None:
        self.calls, self.good = 0, good

    def bind(self, grid):
        return self

    def evaluate(self, mass):
        self.calls += 1
        value = 1.0 / self.calls if self.calls <= self.good else np.nan
        return Evaluation(value, np.linspace(0, 1, mass.size).reshape(mass.shape), 1e-15)


def test_non_finite_energies_stop_the_run():
    grid = Grid([Interval(bounds=(-1.0, 1.0), cells=8).factor("x")])
    with pytest.raises(SolveError, match="non-finite energy"):
        FiniteVolume().init(problem_of(grid, Broken(0), 0.0)).start(np.full(8, 0.5))
    stepper = FiniteVolume().init(problem_of(grid, Broken(2), 0.0))
    with pytest.raises(SolveError, match="non-finite energy"):
        stepper.step(stepper.start(np.full(8, 0.5)), 1e-3)


def test_a_first_variation_that_is_not_finite_stops_the_run():
    """Even where there is no mass: the sweep alone would not notice."""

    class Singular(Broken):
        def evaluate(self, mass):
            xi = np.zeros(mass.shape)
            xi[0] = np.nan
            return Evaluation(1.0, xi, 1e-15)

    grid = Grid([Interval(bounds=(-1.0, 1.0), cells=8).factor("x")])
    with pytest.raises(SolveError, match="first variation"):
        FiniteVolume().init(problem_of(grid, Singular(0), 0.0)).start(np.array([0.0] * 4 + [1.0] * 4))


class Perturbed(Energy, BoundEnergy):
    """An energy whose sums are rounded differently at each evaluation: another order of summation is the exact sum of terms that
    are each changed by a few units of round-off."""

    def __init__(self, case, seed):
        self.energy, self.random = case.energy.load(Path()), np.random.default_rng(seed)

    def bind(self, grid):
        self.bound, self.convex = self.energy.bind(grid), True
        return self

    def evaluate(self, mass):
        return self.bound.evaluate(mass * (1 + np.finfo(float).eps * self.random.uniform(-2, 2, mass.shape)))


def perturbed_sums(monkeypatch, seed):
    """The sums of the sweep too: Σ V ξ (out − ρ) and Σ V ξ (ρ − base) to round-off of their terms."""
    from gridflow.scheme.finite_volume import transport

    exact, random, eps = transport.stage, np.random.default_rng(seed), np.finfo(float).eps

    def stage(out, base, rho, xi, *rest):
        outflow, moved, before, low = exact(out, base, rho, xi, *rest)
        noise = 4 * eps * float(np.abs(xi * (out - rho)).sum()) / out.size
        return outflow, moved + noise * random.uniform(-1, 1), before + noise * random.uniform(-1, 1), low

    monkeypatch.setattr(transport, "stage", stage)


@pytest.mark.parametrize("seed", [None, 0, 1, 2, 3])
def test_the_step_keeps_its_size_in_a_stationary_state(seed, monkeypatch):
    """Whatever the round-off. E = ½(m₂ − 1)² has one mode, θ², with λ = ∫|∇θ²|²dρ = 4m₂ = 4: Euler steps of 0.8·2/4 = 0.4, nine
    of them in a step, and so three steps in each of the 49 intervals between saves of 400 time units; a tenth for the start."""
    case = case_of(QUADRATIC, exact=None, time__stop=400.0, time__save=50)
    if seed is not None:
        perturbed_sums(monkeypatch, seed)
    dataset = solve(case, energy=None if seed is None else Perturbed(case, seed))
    assert dataset.attrs["status"] == "completed"
    assert 3 * 49 <= int(dataset["steps"][-1]) <= 1.1 * 3 * 49 + 49


def test_strang_splitting_reuses_its_matrices(monkeypatch):
    """Steps are save intervals over powers of two: a handful of different ones in a whole run."""
    built = []
    make = HeatSemigroup.make_operators

    def counted(self, time):
        built.append(time)
        return make(self, time)

    monkeypatch.setattr(HeatSemigroup, "make_operators", counted)
    table = {k: v for k, v in ORNSTEIN_UHLENBECK.items() if k != "exact"}
    dataset = solve(case_of(table, scheme__diffusion="heat-semigroup", time__stop=3.0, time__save=31))
    assert int(dataset["steps"][-1]) > 50
    assert len(built) <= 8


def test_an_energy_that_rises_whatever_the_step_is_reported():
    class Rising(Broken):
        def evaluate(self, mass):
            self.calls += 1
            return Evaluation(float(self.calls), np.linspace(0, 1, mass.size).reshape(mass.shape), 0.0)

    grid = Grid([Interval(bounds=(-1.0, 1.0), cells=8).factor("x")])
    stepper = FiniteVolume().init(problem_of(grid, Rising(0), 0.0))
    with pytest.raises(SolveError, match="no acceptable step"):
        stepper.step(stepper.start(np.full(8, 0.5)), 1.0)


@pytest.mark.parametrize(
    ("temperature", "diffusion", "warns"),
    [(1e-3, "scharfetter-gummel", True), (1e-3, "heat-semigroup", False), (0.3, "scharfetter-gummel", False)],
)
def test_fitted_fluxes_that_diffuse_by_the_grid_carry_a_warning(temperature, diffusion, warns):
    """At D = 10⁻³ cells of ⅛ have the Péclet number 1.5·|x − ⅕|·⅛/10⁻³: beyond 3.83 for |x − ⅕| > 0.02, a sixth of a cell."""
    case = case_of(ORNSTEIN_UHLENBECK, exact=None, flow__temperature=temperature, scheme__diffusion=diffusion)
    assert ("fitted fluxes" in solve(case).attrs.get("warnings", "")) == warns


def test_the_mass_that_fitted_fluxes_do_not_resolve():
    """ξ rises by 0, 3 and 5 temperatures between four cells: the last face alone is too steep, and has half of two masses."""
    grid = Grid([Interval(bounds=(0.0, 4.0), cells=4).factor("x")])
    transport = Transport(problem_of(grid, Linear(np.zeros(4)), 0.1), fitted=True)
    share = transport.unresolved_mass(np.array([0.1, 0.2, 0.3, 0.4]), np.array([0.0, 0.0, 0.3, 0.8]))
    assert share == pytest.approx((0.3 + 0.4) / 2)
