"""The Gibbs density of a flow with a temperature: distances, the certified gap, rates beside logarithmic Sobolev constants."""

import numpy as np
import pytest
from helpers import ORNSTEIN_UHLENBECK, QUADRATIC, Linear, case_of, problem_of

from gridflow.case.case import load_case
from gridflow.errors import InputError
from gridflow.flow.gibbs import Gibbs, certified_rate, flat_constant, vertex
from gridflow.scheme.finite_volume.spread import bernoulli
from gridflow.solver import solve
from gridflow.space.circle import Circle
from gridflow.space.grid import Grid
from gridflow.space.labels import Labels
from gridflow.space.line import Grading, Interval
from gridflow.space.sphere import Sphere

X = Interval(bounds=(-2.0, 3.0), cells=24, grading=Grading(focus=0.0, ratio=3.0)).factor("x")
SPACES = {
    "graded interval": Grid([X]),
    "cylinder": Grid([X, Circle(cells=12).factor("angle")]),
    "sphere and labels": Grid([Sphere(level=1).factor("b"), Labels(values=[0.0, 1.0], volumes=[0.5, 2.0]).factor("s")]),
}


def random_density(grid, rng, mass=1.0):
    density = rng.random(grid.shape)
    density.ravel()[::5] = 0.0
    return density * (mass / grid.integrate(density))


def free_energy(problem, density):
    return problem.free_energy(density, problem.evaluate(density))[0]


@pytest.mark.parametrize("mass", [1.0, 3.4])
@pytest.mark.parametrize("grid", SPACES.values(), ids=SPACES.keys())
def test_the_gap_of_a_potential_is_the_free_energy_above_its_minimum(grid, mass, rng):
    """ξ does not depend on ρ: the bound is an equality, and the minimum is at the Gibbs density."""
    problem = problem_of(grid, Linear(rng.standard_normal(grid.shape)), 0.3)
    density = random_density(grid, rng, mass)
    xi = problem.evaluate(density).first_variation
    gibbs = problem.gibbs.density(xi, density)
    axes = tuple(k for k, f in enumerate(grid.factors) if f.moves)
    masses, found = ((field * grid.volume).sum(axis=axes) for field in (density, gibbs))
    np.testing.assert_allclose(found, masses, rtol=1e-13)  # at every label
    np.testing.assert_allclose(np.ptp(xi + 0.3 * np.log(gibbs), axis=axes), 0.0, atol=1e-13)
    found = problem.diagnose(density, problem.evaluate(density))
    assert found["free_energy_gap"] == pytest.approx(free_energy(problem, density) - free_energy(problem, gibbs), rel=1e-12)
    assert found["gibbs_distance"] == pytest.approx(float((np.abs(density - gibbs) * grid.volume).sum()), rel=1e-13)
    at_rest = problem.diagnose(gibbs, problem.evaluate(gibbs))
    assert max(at_rest.values()) <= 1e-14 * mass


def test_a_steep_potential_does_not_overflow():
    grid = SPACES["graded interval"]
    gibbs, flat = Gibbs(grid, 1e-6, (0,)), np.full(24, 0.2)
    density = gibbs.density(grid.factors[0].points ** 2, flat)
    assert np.isfinite(gibbs.logarithm(grid.factors[0].points ** 2, flat)).all()
    assert grid.integrate(density) == pytest.approx(1.0, rel=1e-12)


TEMPERATURE = 0.2
NETWORK = {**{k: v for k, v in QUADRATIC.items() if k != "exact"}, "flow": {"temperature": TEMPERATURE}}


def test_the_gap_bounds_the_free_energy_of_a_network(rng):
    """D·KL(ρ|ρ*) ≤ F − F* ≤ D·KL(ρ|ρ̂) along a run and at random densities; the bound is less than twenty times too large."""
    case = case_of(NETWORK, time__stop=100.0, time__save=[0.1, 0.5, 2.0, 10.0, 100.0])
    dataset, problem = solve(case), case.problem()
    least, optimum = float(dataset["energy"][-1]), dataset["density"][-1].to_numpy()
    assert float(dataset["gibbs_distance"][-1]) <= 1e-8
    assert dataset.attrs["free_energy_bound"] == "free_energy_gap"
    densities = [*dataset["density"].to_numpy()[:-1], *(random_density(problem.grid, rng) for _ in range(5))]
    for density in densities:
        excess = free_energy(problem, density) - least
        gap = problem.diagnose(density, problem.evaluate(density))["free_energy_gap"]
        positive = np.where(density > 0, density, 1.0)
        kl = float((density * np.log(positive / optimum) * problem.grid.volume).sum())
        assert TEMPERATURE * kl <= excess * (1 + 1e-9) + 1e-12
        assert excess <= gap * (1 + 1e-9) + 1e-12
        assert gap <= 20 * excess


def test_only_temperatures_have_the_numbers_and_only_convex_energies_the_bound():
    names = {"gibbs_distance", "free_energy_gap"}
    cold = solve(case_of(NETWORK, flow__temperature=0.0, time__stop=0.01, time__save=2))
    assert not names & set(cold)
    assert "free_energy_bound" not in cold.attrs
    wide = load_case("wide-resnet").replace({"flow.temperature": 0.1, "time.stop": 0.01, "time.save": 2, "exact": None})
    wide = solve(wide.replace({f"space.{n}.cells": 16 for n, f in wide.space.items() if f.resolution_key == "cells"}))
    assert names < set(wide)
    assert wide.attrs["free_energy_bound"].startswith("none")
    assert case_of(NETWORK).problem().diagnostics == ("gibbs_distance", "free_energy_gap")


# --------------------------------------------------------------------------------------------------------------- rates
def spectral_gap(x, potential, temperature):
    """Smallest positive eigenvalue of −∂_x(D ∂_x + V') on an interval, fitted fluxes."""
    step = np.diff(potential) / temperature
    rate = temperature / np.diff(x.points)
    down, up = bernoulli(step)  # what leaves k + 1 and k: B(−step), B(step)
    matrix = np.zeros((x.size, x.size))
    for k in range(x.size - 1):
        matrix[k, k] += rate[k] * up[k] / x.volumes[k]
        matrix[k + 1, k] -= rate[k] * up[k] / x.volumes[k + 1]
        matrix[k + 1, k + 1] += rate[k] * down[k] / x.volumes[k + 1]
        matrix[k, k + 1] -= rate[k] * down[k] / x.volumes[k]
    return np.sort(np.linalg.eigvals(matrix).real)[1]


WELLS = {
    "flat": lambda x: 0 * x,
    "quadratic": lambda x: 0.8 * (x - 0.3) ** 2,
    "two wells": lambda x: 0.5 * (x**2 - 1) ** 2,
    "tilted": lambda x: 0.5 * x,
}


@pytest.mark.parametrize("temperature", [0.3, 1.0])
@pytest.mark.parametrize("well", WELLS.values(), ids=WELLS.keys())
def test_the_logarithmic_sobolev_bound_is_below_the_spectral_gap(well, temperature):
    """α ≤ gap/D for every density (Rothaus 1978): the bound is one, and sharp for flat and quadratic potentials."""
    x = Interval(bounds=(-3.0, 3.0), cells=200).factor("x")
    potential = well(x.points)
    bound = Gibbs(Grid([x]), temperature, (0,)).log_sobolev(potential)
    gap = spectral_gap(x, potential, temperature) / temperature
    assert 0 < bound <= gap * (1 + 1e-3)  # h² of the eigenvalue
    square = (x.points - vertex(x.points, potential)) ** 2 / 2
    tried = [k / temperature * np.exp(-np.ptp(potential - k * square) / temperature) for k in np.geomspace(1e-3, 20, 4000)]
    flat = (np.pi / 6) ** 2 * np.exp(-np.ptp(potential) / temperature)
    assert bound == pytest.approx(max(flat, *tried), rel=0.05)  # the best of Holley and Stroock; steps of 0.25 % in k
    if well is WELLS["flat"]:
        assert bound == pytest.approx(gap, rel=1e-3)
    if well is WELLS["quadratic"] and temperature < 1:  # at 1 the walls confine it further
        assert bound == pytest.approx(1.6 / temperature, rel=1e-4)
        assert gap == pytest.approx(bound, rel=0.02)


def test_flat_constants_of_factors_and_mobilities():
    line, circle, sphere = (Interval((0.0, 2.0), 8).factor("x"), Circle(8, 3.0).factor("a"), Sphere(1).factor("b"))
    assert flat_constant(line) == pytest.approx((np.pi / 2) ** 2)
    assert flat_constant(circle) == pytest.approx((2 * np.pi / 3) ** 2)
    assert flat_constant(sphere) == 2
    grid = Grid([line, Labels([0.0, 1.0]).factor("s")])
    assert Gibbs(grid, 1.0, (1,)).log_sobolev(np.array([[0.0] * 8, [7.0] * 8])) == pytest.approx((np.pi / 2) ** 2)
    assert Gibbs(grid, 1.0, (0, 1)).log_sobolev(np.zeros((2, 8))) == 0  # a reaction joins the labels, transport does not
    slow = Grid([line], {"x": (None, np.array([0.25]))})
    assert Gibbs(slow, 1.0, (0,)).log_sobolev(np.zeros(8)) == pytest.approx((np.pi / 4) ** 2)


def test_a_displaced_normal_density_falls_at_the_certified_rate():
    """Ornstein–Uhlenbeck with the variance at rest: F − F* = k m²/2 and −dF/dt = k²m², so that all three rates are 2k = 2αD."""
    start = [{"density": {"x": {"kind": "normal", "mean": -0.8, "deviation": float(np.sqrt(0.3 / 1.5))}}}]
    case = case_of({**ORNSTEIN_UHLENBECK, "initial": start}, space__x__cells=256)
    dataset, problem = solve(case), case.problem()
    rate, alpha = certified_rate(dataset).to_numpy(), problem.gibbs.log_sobolev(problem.bound.potential)
    np.testing.assert_allclose(rate, 3.0, rtol=2e-3)  # h² of a cell in deviations
    assert 2 * alpha * 0.3 == pytest.approx(3.0, rel=1e-3)
    gaps = dataset["free_energy_gap"].to_numpy()
    assert np.log(gaps[0] / gaps[-1]) / 0.4 == pytest.approx(3.0, rel=2e-3)


def test_no_certified_rate_without_a_temperature():
    with pytest.raises(InputError, match="free_energy_gap"):
        certified_rate(solve(case_of(NETWORK, flow__temperature=0.0, time__stop=0.01, time__save=2)))


@pytest.mark.parametrize("conserve", [True, False])
def test_the_gap_is_no_bound_where_a_reaction_frees_the_mass(conserve):
    """Its minimum is over densities of one mass: that of all densities is lower."""
    dataset = solve(case_of(NETWORK, time__stop=0.1, time__save=2, flow__reaction={"rate": 1.0, "conserve": conserve}))
    assert dataset.attrs["free_energy_bound"] == ("free_energy_gap" if conserve else "none: the mass is free")
