"""Both flows of the negative Sobolev distance: exact solution, descent, particles."""

from pathlib import Path

import numpy as np
import pytest
from helpers import case_of

from gridflow.case.case import load_case
from gridflow.energy.sobolev.sobolev import Sobolev, wave_squares, waves
from gridflow.errors import InputError, SolveError
from gridflow.particles.simulation import simulate
from gridflow.solver import solve
from gridflow.space.circle import Circle
from gridflow.space.line import Interval

HERE = Path()


def blob(mean, weight=0.5):
    """A normal component and a uniform one: bounded away from zero."""
    return [
        {"weight": weight, "density": {"x": {"kind": "normal", "mean": mean, "deviation": 0.3}}},
        {"weight": 1 - weight, "density": {"x": {"kind": "uniform"}}},
    ]


LINE = {
    "title": "Sobolev",
    "space": {"x": {"kind": "interval", "bounds": [-2.0, 2.0], "cells": 64}},
    "energy": {"kind": "sobolev", "flow": "transport", "regularization": 0.0, "target": blob(0.5, 0.6)},
    "initial": blob(-0.5),
    "scheme": {"kind": "finite-volume"},
    "time": {"stop": 1.0, "save": 5, "max_steps": 5000},
    "exact": {"kind": "sobolev-transport"},
    "particles": {"counts": [64, 256, 1024], "integrator": {"kind": "adaptive", "tolerance": 1e-6}},
}  # fmt: skip


def in_plane(mean, other):
    normal = {"kind": "normal", "mean": mean, "deviation": 0.4}
    return [
        {"weight": 0.5, "density": {"x": normal, "angle": {"kind": "normal", "mean": other, "deviation": 0.8}}},
        {"weight": 0.5, "density": {"x": {"kind": "uniform"}, "angle": {"kind": "uniform"}}},
    ]


PLANE = {
    **LINE,
    "space": {**LINE["space"], "angle": {"kind": "circle", "cells": 64}},
    "energy": {**LINE["energy"], "target": in_plane(0.0, 2.0)},
    "initial": in_plane(0.0, 4.0),
    "time": {"stop": 0.5, "save": 3, "max_steps": 5000},
}


def test_the_dissipation_is_the_rate_of_the_energy():
    """For the transport −dE/dt = ∫∇ξ·∇(−g) dν, with the fluxes of the drive; steps of 1e−4, second order differences."""
    for flow in ("descent", "transport"):
        case = case_of(LINE, exact=None, energy__flow=flow, time={"stop": 2e-4, "save": 3})
        dataset = solve(case)
        rate = float(dataset["energy"][0] - dataset["energy"][2]) / 2e-4
        assert rate > 0
        assert float(dataset["dissipation"][1]) == pytest.approx(rate, rel=1e-3)


def test_transport_on_a_line_is_of_second_order():
    """Against ν* + e^{−t}(ν₀ − ν*): slopes ≥ 1.9 in W1 (theory 2), ≥ 1.8 in L1, because the limiter clips extrema."""
    runs = [solve(case_of(LINE, space__x__cells=n)) for n in (128, 256, 512)]
    for name, least in (("error_w1", 1.9), ("error_l1", 1.8)):
        errors = np.array([float(d[name].max()) for d in runs])
        assert np.log2(errors[:-1] / errors[1:]).min() >= least, f"{name} {errors}"
    assert float(runs[1]["error_w1"].max()) < 2e-4  # of a domain of length 4


def test_transport_on_a_cylinder_is_of_second_order():
    """L1 alone in two dimensions, and no W1 in the dataset; slopes as on the line."""
    runs = [solve(case_of(PLANE, space__x__cells=n, space__angle__cells=n)) for n in (24, 48, 96)]
    errors = np.array([float(d["error_l1"].max()) for d in runs])
    assert np.log2(errors[:-1] / errors[1:])[-1] >= 1.8, f"{errors}"
    assert "error_w1" not in runs[0]


def test_half_the_square_falls_like_the_exact_one():
    """Along the transport S² is that of the exact density, whatever the energy does to ξ."""
    case = case_of(LINE, space__x__cells=256)
    dataset = solve(case)
    exact = case.exact.masses(case.problem(), [float(t) for t in dataset["time"]])
    bound = case.energy.load(HERE).bind(case.grid())
    np.testing.assert_allclose(dataset["energy"], [bound.evaluate(m).value for m in exact], rtol=2e-3)
    assert dataset.attrs["energy_decreases"].startswith("not claimed")
    assert (np.diff(dataset["energy"]) < 0).all()


@pytest.mark.parametrize("table", [LINE, PLANE], ids=["line", "cylinder"])
def test_descent_decreases_its_energy(table):
    case = case_of(table, exact=None, energy__flow="descent", space__x__cells=32)
    dataset = solve(case if table is LINE else case.replace({"space.angle.cells": 32}))
    assert dataset.attrs["energy_decreases"].startswith("guaranteed")
    assert dataset.attrs["energy_rise_max"] <= dataset.attrs["energy_roundoff"] <= 1e-12
    assert dataset["energy"][-1] < 0.5 * dataset["energy"][0]


@pytest.mark.parametrize("flow", ["transport", "descent"])
def test_particles_follow_the_density(flow):
    """1024 Sobol particles and 24 cosines against 256 cells: energies within what the truncation leaves, 1 %."""
    case = case_of(LINE, exact=None, energy__flow=flow, space__x__cells=256)
    dataset, run = solve(case), simulate(case, 1024, sampling="sobol")
    np.testing.assert_allclose(run.energy, dataset["energy"], rtol=1e-2)
    mean = (dataset["density"] * dataset["x"] * dataset["cell_volume"]).sum("x")
    np.testing.assert_allclose(run.points[:, :, 0].mean(axis=1), mean, atol=2e-3)


def test_moments_of_transported_particles_relax_exactly():
    """d/dt ∫ψ_k dν = Σ_l A_kl c_l = μ*_k − μ_k for every wave, for forty particles as for a density."""
    case = case_of(LINE, exact=None, energy__modes=5)
    run = simulate(case, 40, seed=3, times=[0.0, 0.3, 1.0])
    particles = case.energy.load(HERE).particles(case.grid().factors)
    moments = [waves(case.grid().factors[0], p[:, 0], 5)[0][:, 1:].mean(axis=0) for p in run.points]
    for t, now in zip((0.3, 1.0), moments[1:], strict=True):
        expected = particles.target + np.exp(-t) * (moments[0] - particles.target)
        np.testing.assert_allclose(now, expected, atol=1e-5)  # tolerance 1e−6 of the integrator, in forty particles


@pytest.mark.parametrize(
    "factor", [Interval(bounds=(-2.0, 1.0), cells=4000).factor("x"), Circle(cells=4000).factor("x")], ids=["line", "circle"]
)
def test_waves_are_orthogonal_and_have_their_derivatives(factor):
    modes = 6
    values, slopes, turns = waves(factor, factor.points, modes, 3)
    mass, stiffness = wave_squares(factor, modes)
    np.testing.assert_allclose((values.T * factor.volumes) @ values, np.diag(mass), atol=1e-10)
    np.testing.assert_allclose((slopes.T * factor.volumes) @ slopes, np.diag(stiffness), atol=1e-5)  # midpoint rule
    step = 1e-5
    ahead, back = (waves(factor, factor.points + s, modes, 2) for s in (step, -step))
    np.testing.assert_allclose(slopes, (ahead[0] - back[0]) / (2 * step), atol=1e-7)
    np.testing.assert_allclose(turns, (ahead[1] - back[1]) / (2 * step), atol=1e-6)
    if factor.period > 0:
        np.testing.assert_allclose(values[0], values[-1], atol=0.02)


def test_a_target_of_samples(tmp_path, rng):
    """Samples spread over cells on the grid, as they are for particles: particles at the samples have no force."""
    points = rng.uniform(-1.5, 1.5, 40)
    (tmp_path / "s.csv").write_text("p\n" + "\n".join(str(p) for p in points))
    energy = {"kind": "sobolev", "target": [{"file": "s.csv", "columns": {"x": "p"}}], "regularization": 1e-2, "modes": 8}
    case = case_of(LINE, exact=None, energy=energy)
    particles = case.energy.load(tmp_path).particles(case.grid().factors)
    same = particles.evaluate(points[:, None], np.full(40, 1 / 40))
    assert same.value == pytest.approx(0.0, abs=1e-20)
    np.testing.assert_allclose(same.gradient, 0.0, atol=1e-10)
    bound = case.energy.load(tmp_path).bind(case.grid())
    assert bound.target.sum() == pytest.approx(1.0)
    assert bound.evaluate(np.full(64, 1 / 64)).value > 0


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: solve(case_of(LINE, energy__regularization=1e-3)), "no regularization"),
        (lambda: solve(case_of(LINE, energy__flow="descent")), "with transport"),
        (lambda: solve(case_of(LINE, exact=None, flow__mobility={"x": {"value": 2.0}})), "mobility 1"),
        (lambda: solve(case_of(LINE, exact=None, scheme={"kind": "jko", "tau": 0.1})), "a flow that ξ does not drive"),
        (lambda: solve(case_of(LINE, exact=None, energy={"kind": "sum", "parts": [LINE["energy"]]})), "a sum with a Sobolev"),
        (lambda: solve(case_of(LINE, exact=None, flow__reaction={"rate": 1.0})), "flow.reaction.rate = 1 in a flow"),
        (lambda: simulate(case_of(PLANE, exact=None, energy__modes=60), 16), "lower energy.modes"),
        (lambda: labelled(), "labels 's'"),
        (lambda: labelled(True), "on labels or surfaces"),
        (lambda: case_of(LINE, energy__flow="ascent"), "energy.flow"),
        (lambda: case_of(LINE, energy__target=[]), "energy.target"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused(call, message):
    with pytest.raises(InputError, match=message):
        call()


def labelled(particles=False):
    labels = {"kind": "labels", "values": [-1.0, 1.0]}
    target = [{"density": {"x": {"kind": "uniform"}, "s": {"kind": "uniform"}}}]
    energy = {"kind": "sobolev", "target": target}
    case = case_of({**LINE, "space": {**LINE["space"], "s": labels}, "energy": energy, "initial": target}, exact=None)
    return simulate(case, 16) if particles else solve(case)


def test_the_case_is_the_one_of_the_exact_solution():
    case = load_case("mmd-sobolev")
    assert isinstance(case.energy, Sobolev)
    assert case.energy.flow == "transport"


def test_particles_that_diverge_say_so():
    """Weights of a reaction that overflow in steps of a quarter of the time: no ValueError of a factorisation."""
    table = {k: v for k, v in LINE.items() if k != "exact"}
    changes = {"energy__flow": "descent", "energy__regularization": 0.004, "flow": {"reaction": {"rate": 0.2, "conserve": True}}}
    narrow = [{"density": {"x": {"kind": "semicircle", "radius": 0.4}}}]
    case = case_of(table, initial=narrow, time__stop=4.0, particles__integrator={"kind": "rk2", "step": 1.0}, **changes)
    with pytest.raises(SolveError, match=r"diverged .* use a smaller step"):
        simulate(case, 8, seed=1)
