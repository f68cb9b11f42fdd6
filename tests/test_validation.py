"""The verdict: green for what is right, red for planted faults, and never green by default."""

from pathlib import Path

import numpy as np
import pytest
import xarray
from helpers import ORNSTEIN_UHLENBECK, QUADRATIC, case_of

from gridflow.case.case import load_case
from gridflow.case.shipped import shipped_cases
from gridflow.case.thresholds import Threshold
from gridflow.cli import main
from gridflow.errors import InputError, SolveError
from gridflow.particles.cloud import draw_cloud
from gridflow.particles.simulation import Simulator
from gridflow.space.mixture import mixture_masses
from gridflow.verdict import experiment
from gridflow.verdict.coarsening import coarse_case
from gridflow.verdict.ensembles import Runs
from gridflow.verdict.plan import validation_saves
from gridflow.verdict.runner import quick_case, validate
from gridflow.verdict.start import marginals_of_points, start_comparison
from gridflow.verdict.table import table
from gridflow.verdict.verdict import grid_error, rate_of_sampling, slope_error
from validation.planted_faults import Displaced, Spoiled, quarter_cell, quarter_cell_masses

LIMIT = {"threshold": 0.02, "reason": "a few standard errors of the verdict ensembles"}
PARTICLES = {"counts": [32, 128, 512], "ensembles": 20, "verdict": {"count": 512, "ensembles": 8}}
FLOW = {
    **QUADRATIC,
    "space": {"theta": {"kind": "interval", "bounds": [-3.0, 3.0], "cells": 128}},
    "particles": {**PARTICLES, "integrator": {"kind": "adaptive", "tolerance": 1e-7}},
    "validation": {"w1": LIMIT, "energy_distance": LIMIT, "prediction": LIMIT, "energy": LIMIT, "times": 3},
}
NOISY = {
    **ORNSTEIN_UHLENBECK,
    "particles": {**PARTICLES, "integrator": {"kind": "rk2", "step": 0.05}, "verdict": {"count": 4096, "ensembles": 8}},
    "validation": {"w1": {**LIMIT, "threshold": 0.05}, "moments": {**LIMIT, "threshold": 0.05}, "times": 2},
}


def trained_in_both_layers():
    """bn-circle, small and smooth: a and the angle move, so that a fault may sit in one derivative alone."""
    return load_case("bn-circle").replace(
        {
            "energy.activation": "tanh",
            "space.a.cells": 96,
            "space.a.bounds": [-4.0, 4.0],
            "space.angle.cells": 96,
            "energy.data.inputs.count": 40,
            "time.stop": 3.0,
            "time.save": 7,
            "particles": {**PARTICLES, "integrator": {"kind": "rk2", "step": 0.1}},
            "validation": {kind: {**LIMIT, "threshold": 0.05} for kind in ("w1", "energy_distance", "prediction")} | {"times": 3},
        }
    )


def faulty(case, spoil):
    """The energy of a case, right on the grid; `spoil(gradient, factors)` plants a fault into the velocity of the particles."""
    energy = case.energy.load(Path(case.directory))
    return Spoiled(energy, on_particles=lambda gradient, points, factors: spoil(gradient, factors))


def failures(result):
    return [str(q) for q, o in zip(result["quantity"].values, result["outcome"].values, strict=True) if o == "fail"]


# ------------------------------------------------------------------------------------------------- green where right
@pytest.mark.parametrize("case", [case_of(FLOW), case_of(NOISY), trained_in_both_layers()], ids=["flow", "noise", "network"])
def test_right_cases_pass(case, tmp_path):
    result = validate(case, tmp_path)
    assert result.attrs["verdict"] == "pass", table(result)
    assert (result["consistent"] == 1).all()
    slopes = result["slope"].where(result["slope_judged"] == 1, drop=True)
    errors = result["slope_error"].where(result["slope_judged"] == 1, drop=True)
    assert (np.abs(slopes + 0.5) <= 0.1 + 2 * errors).all()
    assert (errors <= 0.1).all()
    with xarray.open_dataset(tmp_path / f"{case.name}-validation.nc") as file:
        xarray.testing.assert_identical(file.load(), result)
    assert (tmp_path / f"{case.name}-validation.png").stat().st_size > 20_000
    text = table(result)
    assert "verdict: pass" in text
    assert "is worth" in text
    assert all(str(q) in text for q in result["quantity"].values)


@pytest.mark.slow
def test_chance_does_not_fail_a_verdict():
    """Twelve seeds of two right cases: consistency never fails. (The slope of so few ensembles may leave its band.)"""
    for table_ in (FLOW, NOISY):
        for seed in range(12):
            result = validate(case_of(table_).replace({"particles.seed": seed}))
            assert (result["consistent"] == 1).all(), table(result)
            assert (result["random_consistent"] == 1).all(), table(result)


# ---------------------------------------------------------------------------------------------------- red where wrong
def flip_angle(gradient, factors):
    return gradient * [-1.0 if f.period > 0 else 1.0 for f in factors]


@pytest.mark.parametrize(
    "spoil",
    [lambda g, _: 1.02 * g, lambda g, _: 0.98 * g, flip_angle, lambda g, _: g / 2, lambda g, _: 2 * g],
    ids=["2 % too fast", "2 % too slow", "sign of the feature's derivative", "half the time", "twice the time"],
)
def test_planted_faults_are_rejected(spoil):
    case = trained_in_both_layers().replace({"particles.ensembles": 8, "particles.counts": [8, 16, 64]})
    assert failures(validate(case, energy=faulty(case, spoil)))


def test_what_a_verdict_claims_to_detect_it_does_detect():
    """A fault a little larger than `detects` fails the verdict; `detects` is at most 2 % here."""
    case = case_of(FLOW, exact=None)
    smallest = validate(case).attrs["detects"]
    assert smallest <= 0.02
    for sign in (1, -1):
        factor = 1 + sign * 1.2 * smallest
        assert failures(validate(case, energy=faulty(case, lambda g, _, factor=factor: factor * g)))


def test_a_wrong_temperature_is_rejected(monkeypatch):
    """Particles at half the temperature of the grid: their noise is √D instead of √(2D)."""
    right = experiment.Simulator.of
    monkeypatch.setattr(experiment.Simulator, "of", lambda case, energy: right(case.replace({"flow.temperature": 0.15}), energy))
    assert failures(validate(case_of(NOISY, exact=None)))


@pytest.mark.parametrize("side", ["grid", "particles"])
def test_a_start_that_is_a_quarter_of_a_cell_off_is_rejected(side, monkeypatch):
    """On all grids at once it looks like an error of first order: nothing but the start at t = 0 shows it there."""
    from gridflow import problem

    if side == "grid":
        monkeypatch.setattr(problem, "start_masses", quarter_cell_masses(problem.start_masses))
    else:
        displaced = Displaced.of(case_of(FLOW, exact=None, time__steady=0.0), move=quarter_cell)
        monkeypatch.setattr(experiment.Simulator, "of", lambda case, energy: displaced)
    result = validate(case_of(FLOW, exact=None))
    assert result.attrs["verdict"] == "fail"
    assert list(result["start_outcome"].values) == ["fail"]
    assert "start along theta" in table(result)
    if side == "grid":
        assert not failures(result)


def test_an_error_above_the_threshold_fails():
    strict = {**FLOW, "validation": {"w1": {**LIMIT, "threshold": 1e-4}, "times": 1}}
    result = validate(case_of(strict))
    assert result.attrs["verdict"] == "fail"
    assert "above the threshold" in str(result["reason"].values[0])


def test_too_few_particles_are_inconclusive():
    few = {**NOISY, "particles": {**NOISY["particles"], "verdict": {"count": 16, "ensembles": 8}}}
    few["validation"] = {"w1": {**LIMIT, "threshold": 0.05}, "times": 1}
    result = validate(case_of(few))
    assert result.attrs["verdict"] == "inconclusive"
    assert "raise particles.verdict" in str(result["reason"].values[0])


# --------------------------------------------------------------------------------------- numbers that an energy computes
def asking(**thresholds):
    limits = {name: {"threshold": value, "reason": "planted by the test"} for name, value in thresholds.items()}
    energy = {**FLOW["energy"], "stationarity": {"statements": ["modes", "moment"]}}
    return case_of({**FLOW, "energy": energy, "validation": {**FLOW["validation"], "times": 1, "diagnostics": limits}})


def test_diagnostics_are_judged_at_the_end(tmp_path):
    """δ = m₂ − m₂* obeys δ̇ = −4δ(1 + δ), so that it is −1.1e−2 at t = 1: above 5e−3, below 2e−2."""
    passing, failing = validate(asking(moment_defect=2e-2), tmp_path), validate(asking(moment_defect=5e-3, mode_ratio_max=2.0))
    assert passing.attrs["verdict"] == "pass", table(passing)
    assert failing.attrs["verdict"] == "fail"
    assert not failures(failing)  # no quantity is to blame
    row = failing.sel(diagnostic="moment_defect")
    assert str(row["diagnostic_outcome"].values) == "fail"
    assert float(row["diagnostic_value"]) == pytest.approx(np.sqrt(2 * float(failing["energy"][-1])), rel=1e-9)
    assert str(failing["diagnostic_outcome"].sel(diagnostic="mode_ratio_max").values) == "pass"
    assert str(failing["diagnostic_outcome"].sel(diagnostic="determined_modes").values) == "not judged"
    text = table(failing)
    assert "threshold 0.005: fail" in text
    assert "which falls at the rate" in text
    with xarray.open_dataset(tmp_path / "test-validation.nc") as file:
        xarray.testing.assert_identical(file.load(), passing)


def test_a_threshold_on_a_number_that_the_energy_lacks_is_refused():
    with pytest.raises(InputError, match=r"(?s)names 'moment_defekt'.*did you mean 'moment_defect'"):
        validate(asking(moment_defekt=1.0))
    with pytest.raises(InputError, match=r"(?s)names 'moment_defect'.*none"):
        validate(asking(moment_defect=1.0).replace({"energy.stationarity": None}))


def test_without_particles_an_exact_solution_or_diagnostics_decide(tmp_path):
    """The grid of 128 cells is about 1e−3 wrong in W1: a threshold below fails, and a diagnostic above its limit does."""
    alone = {k: v for k, v in FLOW.items() if k != "particles"}
    right = validate(case_of(alone), tmp_path)
    assert right.attrs["verdict"] == "pass", table(right)
    assert float(right["exact_error"].max()) > 0
    assert (tmp_path / "test-validation.png").is_file()
    assert "without particles" in table(right)
    assert "distance" not in right
    strict = validate(case_of(alone, validation__w1__threshold=1e-6))
    assert failures(strict) == ["w1:theta"]
    limits = {"gibbs_distance": {"threshold": 1e-9, "reason": "planted by the test"}}
    warm = case_of(
        {**alone, "flow": {"temperature": 0.1}, "validation": {**alone["validation"], "diagnostics": limits}}, exact=None
    )
    assert validate(warm).attrs["verdict"] == "fail"
    assert validate(warm.replace({"validation.diagnostics.gibbs_distance.threshold": 2.0}), quick=True).attrs["verdict"] == "pass"


def test_a_verdict_on_predictions_alone_is_worth_no_number_of_particles():
    """Worth is that of a density: without one it is not said, nor how long such a run would take."""
    result = validate(case_of({**FLOW, "validation": {"prediction": LIMIT, "times": 1}}, exact=None))
    assert "nan" not in table(result)
    assert "particles took" in table(result)


# ---------------------------------------------------------------------------------------------------------- bad input
def test_a_case_that_says_too_little_is_refused():
    with pytest.raises(InputError, match=r"no \[particles\]"):
        validate(case_of(QUADRATIC, exact=None))
    with pytest.raises(InputError, match=r"no thresholds in \[validation\]"):
        validate(case_of({**FLOW, "validation": {}}))
    with pytest.raises(InputError, match="one of the two"):
        validate(case_of(FLOW), energy=faulty(case_of(FLOW), lambda g, _: g))
    with pytest.raises(InputError, match="energy without data"):
        validate(case_of({**NOISY, "validation": {"prediction": LIMIT}}))
    labels = {"x": {"kind": "labels", "values": [0.0, 1.0]}}
    still = {**NOISY, "space": labels, "initial": [{"density": {"x": {"kind": "uniform"}}}], "exact": None}
    with pytest.raises(InputError, match="on labels or surfaces alone"):
        validate(case_of(still))
    with pytest.raises(InputError, match="remove --quick"):
        validate(case_of(FLOW, particles__counts=[4, 8, 64]), quick=True)
    with pytest.raises(
        InputError, match=r"(?s)theta.cells = 12, too few for 4 times wider cells.*use space.theta.cells = 16, which"
    ):
        validate(case_of(FLOW, space__theta__cells=12))
    with pytest.raises(InputError, match=r"(?s)up to 8 times wider.*a.cells = 10.*use space.a.cells = 32, which works"):
        validate(load_case("bn-circle").replace({"space.a.cells": 10}), quick=True)
    with pytest.raises(InputError, match=r"(?s)level = 1.*use space.b.level = 2, which works"):
        validate(load_case("heat-sphere").replace({"space.b.level": 1}))
    with pytest.raises(
        InputError, match=r"(?s)up to 8 times wider.*bandwidth 0.3 below.*x.cells = 480, space.y.cells = 448, which"
    ):
        validate(load_case("mmd-gaussian").replace({"energy.bandwidth": 0.3}), quick=True)
    given = {"kind": "weights", "values": [1.0] * 128}
    with pytest.raises(InputError, match=r"(?s)weights.*cells = 512, which fail too"):
        validate(case_of({**FLOW, "initial": [{"density": {"theta": given}}], "exact": None}))
    with pytest.raises(InputError, match="reason"):
        case_of({**FLOW, "validation": {"w1": {"threshold": 1.0}}})
    with pytest.raises(InputError, match="unknown key 'w3'"):
        case_of({**FLOW, "validation": {"w3": LIMIT}})


def test_a_diverging_ensemble_is_said():
    explosive = {**FLOW, "particles": {**PARTICLES, "integrator": {"kind": "gradient-descent", "step": 0.5}}}
    explosive["space"] = {"theta": {**FLOW["space"]["theta"], "bounds": [-60.0, 60.0], "cells": 512}}
    explosive["initial"] = [{"density": {"theta": {"kind": "normal", "mean": 2.5, "deviation": 0.5}}}]
    with pytest.raises(SolveError, match=r"ensemble 1 of 512 particles diverged: its energy rose"):
        validate(case_of(explosive, time__stop=0.5, time__save=2))


def test_what_does_not_move_is_not_a_failure():
    """A quantity that both sides keep exactly is judged by round-off, not by zero: labels keep their energy."""
    table_ = {
        **NOISY,
        "space": {"x": NOISY["space"]["x"], "s": {"kind": "labels", "values": [0.1, 0.7]}},
        "energy": {"kind": "potential", "terms": {"s": {"kind": "quadratic"}}},
        "initial": [{"density": {"x": {"kind": "normal", "mean": 0.0, "deviation": 0.3}, "s": {"kind": "uniform"}}}],
        "flow": {},
        "exact": None,
        "validation": {"energy": LIMIT, "w1": LIMIT, "times": 1},
    }
    result = validate(case_of(table_))
    assert "fail" not in set(result["outcome"].values), table(result)
    assert np.isfinite(result.attrs["worth"])


def test_a_picture_that_fails_leaves_no_data_behind(tmp_path, monkeypatch):
    from gridflow.verdict import picture

    def fail(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(picture, "verdict_figure", fail)
    with pytest.raises(KeyboardInterrupt):
        validate(case_of(FLOW, validation__times=1), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["test-validation.kept"]  # the runs, not half a result


def test_files_are_not_overwritten(tmp_path):
    (tmp_path / "test-validation.nc").touch()
    with pytest.raises(InputError, match="exists"):
        validate(case_of(FLOW), tmp_path)
    with pytest.raises(InputError, match="not a directory"):
        validate(case_of(FLOW), tmp_path / "test-validation.nc")
    with pytest.raises(InputError, match="cannot be created"):
        validate(case_of(FLOW), tmp_path / "a" / "b")


# ------------------------------------------------------------------------------------------------------------- pieces
@pytest.mark.parametrize("order", [0.7, 1.0, 1.5, 2.0])
def test_extrapolation_finds_the_error_of_a_power(order):
    """ρ^h = ρ + C h^p: d(h, 2h) = C(2^p − 1)h^p, and the estimate is C h^p."""
    coarse = np.array([2**order - 1, 4**order - 2**order])
    error, observed = grid_error(coarse)
    assert error == pytest.approx(1.0)
    assert observed == pytest.approx(order)


def test_extrapolation_is_careful():
    error, order = grid_error(np.array([[3.0, 0.0, 1.0], [48.0, 12.0, 1.0]]))
    np.testing.assert_allclose(order, [2.0, 2.0, 0.5])  # no faster than the scheme, no slower than believable
    np.testing.assert_allclose(error, [4.0, 1.0, 1 / (np.sqrt(2) - 1)])  # a difference that crosses zero is no small error


def test_the_rate_of_a_power_is_its_exponent():
    counts = np.array([10.0, 100.0, 1000.0])
    slope, constant = rate_of_sampling(counts, 3.0 / np.sqrt(counts)[None, None, :])
    assert slope == pytest.approx(-0.5)
    np.testing.assert_allclose(constant, 3.0)


def test_the_error_of_a_slope_covers_its_scatter(rng):
    """Chi-distributed distances of one degree of freedom, 200 experiments: the slope is in ±2 errors most of the time."""
    counts, hits = np.array([10.0, 40.0, 160.0]), 0
    for _ in range(200):
        samples = [rng.normal(size=24) / np.sqrt(n) for n in counts]
        nulls = [np.concatenate([np.abs(x - np.roll(x, -lag)) for lag in (1, 2, 3)])[None, None, :] for x in samples]
        slope = rate_of_sampling(counts, np.stack([n.mean(axis=-1) for n in nulls], axis=-1))[0]
        hits += abs(slope[0] + 0.5) <= 2 * slope_error(counts, nulls)[0]
    assert hits >= 160  # Student's t with three degrees of freedom: 86 % = 172, standard deviation 5


def test_times_are_denser_at_the_start():
    case = case_of(FLOW, time__save=41, validation__times=5)
    assert validation_saves(case) == [1, 3, 6, 16, 40]
    assert validation_saves(case_of(FLOW, time__save=2)) == [1]
    assert validation_saves(case_of(FLOW, time__save=41, validation__times=1)) == [40]


def test_steps_grow_with_the_order_of_the_error_in_space():
    """tau·factor² for a smooth velocity, tau·factor for one that jumps; cells grow alike."""
    case = load_case("teacher-1d-quadratic-jko")
    for order, growth in ((2, 16), (1, 4)):
        wide = coarse_case(case, 4, order)
        assert wide.scheme.tau == growth * case.scheme.tau
        assert wide.space["theta"].cells == case.space["theta"].cells // 4


def test_coarse_cases_keep_their_labels():
    case = coarse_case(load_case("relu-regression"), 2)
    assert case.space["w"].cells == load_case("relu-regression").space["w"].cells // 2
    assert case.space["sign"].values == [-1.0, 1.0]


def reduced(name):
    """An eighth of the cells, few particles: enough to see whether one number differs."""
    return quick_case(coarse_case(load_case(name), 4) if "sphere" not in name else load_case(name)).replace({"exact": None})


WITH_PARTICLES = [name for name in shipped_cases() if load_case(name).particles is not None]
"""All but those whose flow no particles follow."""


@pytest.mark.parametrize("name", WITH_PARTICLES)
def test_a_fault_that_does_nothing_changes_nothing(name):
    """Velocities of particles and a step of the grid are equal bit by bit: the machinery of planted faults hides nothing."""
    case = reduced(name)
    grid, right = case.grid(), case.energy.load(Path(case.directory))
    masses = mixture_masses(case.initial, grid, Path(case.directory), "initial")
    states, moved = [], []
    for energy in (right, Spoiled(right)):
        stepper = case.scheme.init(case.problem(energy))
        states.append(stepper.step(stepper.start(masses / grid.volume), case.time.save_times()[1]))
        integrator = case.particles.integrator
        by_rate = integrator.step_falls_with_count
        step = (integrator.learning_rate / 32 if by_rate else getattr(integrator, "step", 0.01)) or 0.01
        moved.append(Simulator.of(case, energy).run(32, times=[0.0, step], seed=3))
    np.testing.assert_array_equal(states[0].density, states[1].density)
    assert states[0].free_energy == states[1].free_energy
    for member in ("points", "weights", "energy"):
        np.testing.assert_array_equal(getattr(moved[0], member), getattr(moved[1], member))


@pytest.mark.parametrize("name", WITH_PARTICLES)
def test_every_shipped_case_starts_alike_on_both_sides(name):
    """The clouds of a verdict, at most 1024 particles, are no farther from the cells than sampling and cells explain."""
    case = load_case(name)
    grid, verdict = case.grid(), case.particles.verdict
    strata = Simulator.of(case).energy.strata
    masses = mixture_masses(case.initial, grid, Path(case.directory), "initial")
    count = min(verdict.count, 1024)
    clouds = [draw_cloud(case.initial, grid.factors, count, seed, verdict.sampling, strata) for seed in range(8)]
    start = start_comparison(case.initial, grid, masses, [marginals_of_points(grid.factors, c.points, c.weights) for c in clouds])
    assert "fail" not in start.outcome, dict(zip(start.names, start.distance / start.allowed, strict=True))
    assert len(start.names) == sum(f.columns != 3 for f in grid.factors)


@pytest.mark.parametrize("name", shipped_cases())
def test_every_shipped_case_gives_thresholds_with_reasons(name):
    case = load_case(name)
    thresholds = case.validation.thresholds()
    if case.particles is None:
        assert thresholds
        assert case.exact is not None or case.validation.diagnostics
        return
    surfaces_alone = not any(f.one_dimensional for f in case.grid().factors)  # W1 is one-dimensional
    assert "energy_distance" in thresholds
    if name != "mmd-noise-reaches":  # whose particles leave a hundredth far away: W1 would compare that alone
        assert ("sliced_w1" if surfaces_alone else "w1") in thresholds
    assert "energy" in thresholds or name == "heat-sphere"  # which has none
    assert all(isinstance(t, Threshold) and len(t.reason) >= 15 for t in thresholds.values())


# ------------------------------------------------------------------------------------------------------- command line
def test_the_command_line_prints_the_table_and_its_exit_code_is_the_verdict(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    case = case_of({**FLOW, "validation": {"w1": LIMIT, "energy_distance": LIMIT, "times": 3}})
    (tmp_path / "mine.toml").write_text(case.text(), encoding="utf-8")
    more = [
        "--set",
        "space.theta.cells=256",
        "--set",
        "particles.counts=[128, 512, 2048]",
        "--set",
        "particles.verdict.count=2048",
    ]
    assert main(["validate", "mine.toml", "-o", "out", "--quick", *more]) == 0
    shown = capsys.readouterr()
    assert "w1:theta" in shown.out
    assert "verdict: pass (quick" in shown.out
    assert "runs; now" in shown.err
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["mine-validation.nc", "mine-validation.png"]
    words = ["validate", "mine.toml", "--quiet", "--set", "validation.w1.threshold=1e-5", "--set", "validation.times=1"]
    assert main(words) == 1
    shown = capsys.readouterr()
    assert "verdict: fail" in shown.out
    assert shown.err == ""
    assert main([*words, "--overwrite", "--set", "particles=0"]) == 2
    assert main(words) == 2  # the files exist
    assert "exists" in capsys.readouterr().err


def test_a_verdict_that_cannot_be_reached_leaves_no_files(tmp_path, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.toml").write_text(case_of(FLOW).text(), encoding="utf-8")
    monkeypatch.setattr(Runs, "time_step", interrupt)
    assert main(["validate", "mine.toml", "-o", "out"]) == 1
    assert list((tmp_path / "out").iterdir()) == []
