"""Exact JKO steps: the certificate, POT, exact solutions up to the lattice, entropic steps, and what is refused."""

from pathlib import Path

import numpy as np
import pytest
from helpers import ORNSTEIN_UHLENBECK, QUADRATIC, case_of, problem_of

from gridflow.case.case import load_case
from gridflow.energy.base import BoundEnergy
from gridflow.errors import InputError
from gridflow.scheme.exact_jko import ExactWasserstein, TransportCost, simplex_minimum
from gridflow.scheme.jko.scheme import JKO
from gridflow.solver import solve
from gridflow.space.circle import Circle
from gridflow.space.grid import Grid
from gridflow.space.labels import Labels
from gridflow.space.line import Interval
from gridflow.space.mixture import mixture_masses
from tests.reference.transport import block, exact_transport

POTENTIAL = {**ORNSTEIN_UHLENBECK, "flow": {}, "exact": None}
CASES = {
    "potential": case_of(POTENTIAL),
    "quadratic activation": case_of(QUADRATIC),
    "network with signs": load_case("relu-prox").replace({"space.w.cells": 20, "space.b.cells": 18}),
    "batch norm on a circle": load_case("bn-circle").replace({"space.a.cells": 20, "space.angle.cells": 18}),
    "mmd": load_case("mmd-gaussian").replace({"space.x.cells": 20, "space.y.cells": 18}),
    "huber": load_case("relu-regression").replace({"space.w.cells": 16, "space.b.cells": 16, "energy.loss": "huber"}),
}
TAU = {"mmd": 10.0, "network with signs": 4.0, "huber": 2.0, "batch norm on a circle": 2.0}


def bound(case, scheme):
    grid = case.grid()
    masses = mixture_masses(case.initial, grid, Path(case.directory), "initial")
    stepper = scheme.init(problem_of(grid, case.energy.load(Path(case.directory)).bind(grid), case.flow.temperature))
    return grid, stepper, stepper.start(masses / grid.volume)


# ------------------------------------------------------------------------------------------------------ the transport
def random_grid(mobility=None):
    line, circle = Interval(bounds=(-1.0, 2.0), cells=6).factor("x"), Circle(cells=5).factor("angle")
    return Grid([Labels(values=[-1.0, 1.0]).factor("sign"), line, circle], mobility)


def test_the_best_map_is_the_minimum_over_all_cells(rng):
    """Factor by factor against the definition, with a mobility by label and the shorter way around the circle."""
    grid = random_grid({"x": ("sign", np.array([0.5, 2.0])), "angle": (None, np.array([0.25]))})
    xi, tau = rng.standard_normal(grid.shape), 0.7
    target, paid, least = TransportCost(grid).best_map(xi, tau)
    at = grid.flat_coordinates((0, 1, 2))
    turn = np.abs(at["angle"][:, None] - at["angle"])
    turn = np.minimum(turn, 2 * np.pi - turn)
    way = (at["x"][:, None] - at["x"]) ** 2 / np.where(at["sign"] < 0, 0.5, 2.0) + turn**2 / 0.25
    cost = np.where(at["sign"][:, None] == at["sign"], way, np.inf)
    total = cost / (2 * tau) + xi.ravel()
    np.testing.assert_allclose(least, total.min(axis=1), rtol=1e-13)
    np.testing.assert_array_equal(target, total.argmin(axis=1))
    np.testing.assert_allclose(paid, cost[np.arange(grid.size), target], rtol=1e-13)
    blocks = [block(TransportCost(grid), k) for k in range(2)]
    np.testing.assert_allclose(blocks[0], cost[:30, :30], rtol=1e-13)
    np.testing.assert_allclose(blocks[1], cost[30:, 30:], rtol=1e-13)


def test_mobility_zero_stands_still(rng):
    grid = random_grid({"x": (None, np.zeros(1))})
    target, paid, _ = TransportCost(grid).best_map(100 * rng.standard_normal(grid.shape), 1.0)
    x = grid.flat_coordinates((0, 1, 2))["x"]
    np.testing.assert_array_equal(x[target], x)
    assert np.isfinite(paid).all()


def test_weights_solve_their_quadratic_problem(rng):
    """Kuhn–Tucker conditions of convex problems of any rank, up to the ridge of 1e−9 of all numbers."""
    for rank in (0, 1, 3, 8):
        root = rng.standard_normal((8, rank))
        hessian, slope, start = root @ root.T, rng.standard_normal(8), rng.dirichlet(np.ones(8))
        weights = simplex_minimum(hessian, slope, start)
        assert weights.min() >= 0
        assert weights.sum() == pytest.approx(1, abs=1e-14)
        reduced = slope + hessian @ (weights - start)
        reduced -= weights @ reduced
        assert reduced.min() >= -1e-7
        assert np.abs(reduced[weights > 0]).max() <= 1e-7


# ------------------------------------------------------------------------------------------------------------ one step
@pytest.mark.parametrize("name", CASES)
def test_the_step_is_certified(name):
    """Gap at the tolerance; POT's W₂² is that of the plan; −2τξ is a Kantorovich potential; the energy falls by W₂²/(2τ).

    Tolerances: W₂² of the plan exceeds the least by 2τ·gap at most, and the dual value of −2τξ stays below it by as much; POT's
    own round-off is 1e−12.
    """
    tau = TAU.get(name, 0.3)
    grid, stepper, state = bound(CASES[name], ExactWasserstein(tau=tau, tolerance=1e-9))
    new = stepper.step(state, tau)
    gap, squared = new.reports["duality_gap"], new.reports["step_w2"] ** 2
    assert squared > 0
    assert new.reports["iterations"] < 100
    before, after = state.density * grid.volume, new.density * grid.volume
    assert after.sum() == pytest.approx(1, abs=1e-14)
    assert after.min() >= 0
    least, phi, psi = exact_transport(grid, after, before)
    allowed = 2 * tau * gap + 1e-12
    assert least == pytest.approx(squared, abs=allowed)
    assert np.vdot(phi, after) + np.vdot(psi, before) == pytest.approx(least, abs=1e-9)  # the linear programme's tolerance
    conjugate = 2 * tau * TransportCost(grid).best_map(new.evaluation.first_variation, tau)[2]
    dual = -2 * tau * np.vdot(new.evaluation.first_variation, after) + conjugate @ before.ravel()
    assert dual <= least + 1e-12
    assert dual >= least - allowed
    assert new.free_energy + least / (2 * tau) <= state.free_energy + 1e-12
    xi = state.evaluation.first_variation
    standing = np.vdot(xi, before) - stepper.cost.best_map(xi, tau)[2] @ before.ravel()
    assert gap <= 1e-9 * standing + new.evaluation.roundoff


@pytest.mark.parametrize("name", ["quadratic activation", "network with signs", "mmd"])
def test_no_other_density_is_better(name):
    """The objective of the entropic step's density, and of densities between: not below ours but for the gap."""
    tau = TAU.get(name, 0.3)
    grid, stepper, state = bound(CASES[name], ExactWasserstein(tau=tau))
    ours = stepper.step(state, tau)
    entropic = bound(CASES[name], JKO(tau=tau))[1].step(state, tau)
    before = state.density * grid.volume

    def objective(density):
        masses = density * grid.volume
        return stepper.energy.evaluate(masses).value + exact_transport(grid, masses, before)[0] / (2 * tau)

    least = objective(ours.density)
    for share in (0.01, 0.1, 1.0):
        other = objective((1 - share) * ours.density + share * entropic.density)
        assert other >= least - ours.reports["duality_gap"] - 1e-12
    assert objective(entropic.density) > least + 1e-4  # the entropic blur costs


# ------------------------------------------------------------------------------------------------------ exact solutions
def test_a_linear_potential_translates_by_tau():
    """Steps of 3 cells: the density is shifted by as many, to the last bit; uphill would shift it the other way."""
    case = case_of(POTENTIAL, energy__terms={"x": {"kind": "linear", "slope": -1.0}}, time__stop=0.75, time__save=2)
    dataset = solve(case.replace({"scheme": {"kind": "exact-wasserstein", "tau": 0.375}, "space.x.cells": 64}))
    start, end = dataset["density"].to_numpy()
    np.testing.assert_allclose(end[6:], start[:-6], atol=1e-15)
    assert dataset["step_w2"][-1] == pytest.approx(0.375, rel=1e-12)


def test_small_steps_stand_still():
    """τ|ξ'| below half a cell of 0.125: the lattice pins."""
    case = case_of(POTENTIAL, energy__terms={"x": {"kind": "linear", "slope": -1.0}}, time__stop=0.12, time__save=2)
    dataset = solve(case.replace({"scheme": {"kind": "exact-wasserstein", "tau": 0.06}}))
    np.testing.assert_array_equal(dataset["density"][0], dataset["density"][1])


@pytest.mark.parametrize("cells", [64, 256])
def test_a_normal_density_in_a_quadratic_potential(cells):
    """m' = (m + τkc)/(1 + τk), s' = s/(1 + τk): every cell goes to the cell nearest to its image: half a cell at most."""
    tau, k, centre = 0.4, 1.5, 0.2
    grid, stepper, state = bound(case_of(POTENTIAL, space__x__cells=cells), ExactWasserstein(tau=tau))
    new = stepper.step(state, tau)
    x, h = grid.factors[0].points, grid.factors[0].volumes[0]
    (mean, deviation), (after, spread) = (
        (m @ x, np.sqrt(m @ x**2 - (m @ x) ** 2)) for m in (s.density * grid.volume for s in (state, new))
    )
    assert after == pytest.approx((mean + tau * k * centre) / (1 + tau * k), abs=h / 2)
    assert spread == pytest.approx(deviation / (1 + tau * k), abs=h / 2)
    assert new.reports["step_w2"] == pytest.approx(np.hypot(after - mean, spread - deviation), abs=h)


def test_entropic_steps_tend_to_exact_ones():
    """Means of both, two steps: within half a cell per step, the lattice of the exact steps."""
    case = case_of(QUADRATIC, space__theta__cells=192, time__stop=0.4, time__save=2, exact=None)
    means = {}
    for kind in ("exact-wasserstein", "jko"):
        dataset = solve(case.replace({"scheme": {"kind": kind, "tau": 0.2}}))
        assert dataset.attrs["status"] == "completed"
        masses, x = (dataset["density"] * dataset["cell_volume"]).to_numpy()[-1], dataset["theta"].to_numpy()
        means[kind] = np.array([masses @ np.abs(x), np.sqrt(masses @ x**2)])
    assert np.abs(means["jko"] - means["exact-wasserstein"]).max() <= 2 * 0.5 * 6.0 / 192


def test_whole_runs_complete_and_descend():
    case = load_case("relu-prox").replace({"space.w.cells": 24, "space.b.cells": 24, "time.stop": 20.0, "time.save": 6})
    dataset = solve(case.replace({"scheme": {"kind": "exact-wasserstein", "tau": 4.0}}))
    assert dataset.attrs["status"] == "completed"
    assert dataset.attrs["energy_decreases"].startswith("guaranteed")
    drops, lengths = -np.diff(dataset["energy"]), dataset["step_w2"].to_numpy()[1:]
    assert (drops >= lengths**2 / (2 * 4.0) - 1e-12).all()


# ------------------------------------------------------------------------------------------------------- good manners
def test_a_step_that_does_not_converge_is_a_status():
    dataset = solve(CASES["quadratic activation"].replace(
        {"exact": None, "scheme": {"kind": "exact-wasserstein", "tau": 0.3, "max_iterations": 2}}
    ))  # fmt: skip
    assert dataset.attrs["status"].startswith("failed: the exact JKO step at time 0 did not converge in 2 iterations")


def test_what_cannot_be_done_is_refused():
    scheme = ExactWasserstein(tau=0.1)
    with pytest.raises(InputError, match='kind = "jko"'):
        bound(case_of(ORNSTEIN_UHLENBECK), scheme)
    with pytest.raises(InputError, match="needs an array of"):
        TransportCost(Grid([Interval(bounds=(0.0, 1.0), cells=4096).factor(n) for n in "xy"]))
    line = Interval(bounds=(1.0, 2.0), cells=8).factor("x")
    polar = Grid([line, Circle(cells=8).factor("angle")], {"angle": ("x", line.points**-2)})
    with pytest.raises(InputError, match="finite-volume"):
        TransportCost(polar)
    grid = random_grid()
    masses = np.zeros(grid.shape)
    masses[0, 0, 0] = 1.0
    with pytest.raises(ValueError, match="labels do not move"):
        exact_transport(grid, masses, masses[::-1])
    with pytest.raises(ValueError, match="mobility 0"):
        exact_transport(random_grid({"x": (None, np.zeros(1))}), masses, masses)
    with pytest.raises(InputError, match="not convex"):
        scheme.init(problem_of(grid, NotConvex()))


class NotConvex(BoundEnergy):
    convex = False

    def evaluate(self, mass):
        raise NotImplementedError
