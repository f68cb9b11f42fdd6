"""Every shipped case runs, at reduced resolution by default and as shipped with --runslow, and keeps its invariants."""

from pathlib import Path

import numpy as np
import pytest

from gridflow.case.case import load_case
from gridflow.case.shipped import shipped_cases
from gridflow.energy.interaction.interaction import Interaction, definite
from gridflow.solver import solve
from gridflow.verdict.coarsening import coarse_case
from gridflow.verdict.runner import quick_case

JKO = {name for name in shipped_cases() if load_case(name).scheme.label == "entropic JKO"}
"""Cases whose scheme does not claim that the energy falls: JKO steps lower E + W_ε/(2τ), and E alone up to the entropic blur."""


def attracts(energy):
    """Whether a part of an energy is an interaction that is not positive definite."""
    parts = getattr(energy, "parts", [energy])
    return any(isinstance(p, Interaction) and not (p.amplitude > 0 and definite(p.kernel)) for p in parts)


WIDE = {n for n in shipped_cases() if getattr(load_case(n).energy, "model", None) in ("wide", "quadratic")}
NOT_CONVEX = WIDE | {n for n in shipped_cases() if attracts(load_case(n).energy)}
"""Cases whose energy is not convex in ρ, so that no scheme claims that it falls; it does between their saves."""


def claims_nothing(case):
    """A reaction may leave the entropy out; with noise injection, along a Sobolev transport, or by diffusion along single
    factors something else than ξ moves the mass."""
    reaction = case.flow.reaction
    splits = case.flow.temperature > 0 and reaction.rate > 0 and not reaction.entropy
    driven = case.flow.noise_injection.acts or getattr(case.energy, "flow", "") == "transport"
    return splits or driven


EXEMPT = JKO | NOT_CONVEX | {name for name in shipped_cases() if claims_nothing(load_case(name))}
ANNEALED = {name for name in shipped_cases() if load_case(name).flow.annealing is not None}
"""Cases whose temperature falls: a step lowers the free energy of its mean temperature; that of the time of a save may rise."""
FILLED = {"mmd-sobolev"}
"""Cases whose density fills the box, with walls that are part of the problem."""
BLURRED = {"relu-jko-algorithm-1"}
"""Cases of plain entropic steps, which blur by ε ∝ h²: on four times wider cells the tails reach the walls."""


def coarse(case):
    """A quarter of the cells per line and circle, two levels less on a surface."""
    lines = {f"space.{n}.cells": max(16, f.cells // 4) for n, f in case.space.items() if f.resolution_key == "cells"}
    return lines | {f"space.{n}.level": f.level - 2 for n, f in case.space.items() if f.resolution_key == "level"}


def reduced(name):
    """A quarter of the cells and the first tenth of the time."""
    case = load_case(name)
    changes = coarse(case)
    return case.replace({**changes, "time.stop": case.time.stop / 10, "time.save": 5})


def check(dataset, name):
    assert dataset.attrs["status"] in ("completed", "steady")
    assert dataset.attrs["mass_error_max"] <= 1e-12  # every step
    assert float(dataset["density_min"].min()) >= 0  # every step
    mass = (dataset["density"] * dataset["cell_volume"]).sum(dataset["cell_volume"].dims)
    np.testing.assert_allclose(mass, dataset["mass"] if "mass_free" in dataset.attrs else 1, rtol=1e-12)
    if name not in EXEMPT:
        claimed = "at the mean temperature of every step" if name in ANNEALED else "guaranteed"
        assert dataset.attrs["energy_decreases"].startswith(claimed)
        assert dataset.attrs["energy_rise_max"] <= dataset.attrs["energy_roundoff"]
        assert dataset.attrs["energy_roundoff"] <= 1e-13  # and that is round-off, not a loophole
    if name not in JKO | ANNEALED:
        assert (np.diff(dataset["energy"]) < 0).all()
    assert (dataset["dissipation"] > 0).all()
    if name not in FILLED:
        assert float(dataset["boundary_mass"].max()) < (1e-5 if name in BLURRED else 1e-6)  # the box is wide enough


@pytest.mark.parametrize("name", shipped_cases())
def test_reduced(name):
    check(solve(reduced(name)), name)


@pytest.mark.slow
@pytest.mark.parametrize("name", shipped_cases())
def test_as_shipped(name):
    dataset = solve(load_case(name))
    check(dataset, name)
    if "error_w1" in dataset:
        limit = load_case(name).validation.w1.threshold if name in EXEMPT else 1e-3  # 256 cells, second order: see test_order
        assert float(dataset["error_w1"].max()) <= limit


@pytest.mark.slow
@pytest.mark.parametrize("name", shipped_cases())
def test_long_runs_stay_monotone(name):
    """Ten times as long on a coarse grid: as the flow becomes stationary the step must not grow until the energy rises."""
    case = load_case(name)
    changes = coarse(case)
    dataset = solve(case.replace({**changes, "time.stop": 10 * case.time.stop, "time.save": 5}))
    assert dataset.attrs["status"] in ("completed", "steady")
    assert dataset.attrs["mass_error_max"] <= 1e-12
    if name not in EXEMPT:
        assert dataset.attrs["energy_rise_max"] <= dataset.attrs["energy_roundoff"]


def test_the_case_files_say_what_the_list_needs():
    for name in shipped_cases():
        case = load_case(name)
        assert case.title
        assert case.source
        assert case.description
        assert case.seconds > 0


@pytest.mark.parametrize("name", shipped_cases())
def test_the_widest_cells_of_a_quick_validation_are_admitted(name):
    """Eight times as wide as shipped: twice for being quick, and four times more to extrapolate."""
    case = coarse_case(quick_case(load_case(name)), 4)
    case.energy.load(Path(case.directory)).bind(case.grid())


def test_the_double_well_ends_in_its_gibbs_density():
    """ρ ∝ exp(−(V + (m − m*)x)/D) with its own mean m, up to what the dissipation leaves: fitted fluxes keep it on any grid."""
    case = load_case("double-well").replace({"space.x.cells": 32, "time.stop": 30.0, "time.steady": 1e-8})
    dataset = solve(case)
    assert dataset.attrs["status"] == "steady"
    x, volume, density = (dataset[name].to_numpy() for name in ("x", "cell_volume", "density"))
    mean = density[-1] @ (x * volume)
    gibbs = np.exp(-(0.5 * (x**2 - 1) ** 2 + (mean - 0.3) * x) / case.flow.temperature)
    gibbs /= gibbs @ volume
    rate = np.sqrt(8) / np.pi * np.exp(-0.5 / 0.25)  # Kramers: the spectral gap at a fixed mean
    kl = float(dataset["dissipation"][-1]) / (2 * 0.25 * rate)  # D·KL is at most the dissipation over twice the gap
    assert np.abs(density[-1] - gibbs) @ volume <= np.sqrt(2 * kl)  # Pinsker
    assert gibbs @ (x * volume) == pytest.approx(mean, abs=1e-3)  # ½·L1 times the distance 2 of the wells


def test_dipoles_end_in_the_langevin_function():
    dataset = solve(load_case("langevin-sphere").replace({"space.b.level": 3, "time.stop": 12.0, "time.save": 2}))
    cosine = dataset["b_points"].to_numpy() @ np.array([1.0, 2.0, 2.0]) / 3
    mean = (dataset["density"][-1] * dataset["cell_volume"]).to_numpy() @ cosine
    assert mean == pytest.approx(1 / np.tanh(3) - 1 / 3, abs=3e-3)  # level 3: cells of 0.14, order 2


def test_a_linear_network_keeps_the_difference_of_its_layers():
    """α + w and α − w are multiplied by e^R and e^(−R): the product of their second moments stays."""
    dataset = solve(load_case("linear-network"))
    masses, w, alpha = dataset["density"] * dataset["cell_volume"], dataset["w"], dataset["alpha"]
    product = (masses * (alpha + w) ** 2).sum(("w", "alpha")) * (masses * (alpha - w) ** 2).sum(("w", "alpha"))
    np.testing.assert_allclose(product, 0.25, rtol=0.01)  # (2·0.5²)²; 0.4 % of it is the width of the cells, order 2
    assert float(dataset["prediction"][-1, -1]) == pytest.approx(float(dataset["target"][-1]), rel=1e-3)


def test_exclusive_or_is_learned():
    dataset = solve(reduced("relu-xor").replace({"time.stop": 15.0}))
    assert (np.sign(dataset["prediction"][-1]) == dataset["target"]).all()
    np.testing.assert_allclose(dataset["prediction"][0], 0.0, atol=1e-12)  # the start is symmetric: it answers nothing
