"""The time loop: saves, stops, restarts, energies of one's own."""

import numpy as np
import pytest
from helpers import ORNSTEIN_UHLENBECK, QUADRATIC, case_of

from gridflow.energy.base import BoundEnergy, Energy, Evaluation
from gridflow.errors import InputError, SolveError
from gridflow.paths import checkpoint_path, part_path
from gridflow.progress import Progress
from gridflow.scheme.finite_volume.drive import Drive
from gridflow.scheme.finite_volume.stepper import FiniteVolumeStepper
from gridflow.solver import solve


class InterruptAt(Progress):
    """Progress that presses Ctrl-C in the given step."""

    def __init__(self, step):
        self.step = step

    def update(self, state, steps, mass_error):
        if steps == self.step:
            raise KeyboardInterrupt


def test_saves_are_at_the_times_of_the_case():
    dataset = solve(case_of(QUADRATIC, time__save=[0.1, 0.25, 0.7]))
    assert dataset["time"].to_numpy().tolist() == [0.0, 0.1, 0.25, 0.7, 1.0]
    assert dataset.attrs["status"] == "completed"
    assert dataset["steps"].to_numpy()[0] == 0
    assert (np.diff(dataset["steps"]) > 0).all()


def test_a_steady_state_stops_the_run():
    dataset = solve(case_of(QUADRATIC, time__stop=100.0, time__save=3, time__steady=1e-8))
    assert dataset.attrs["status"] == "steady"
    assert dataset["time"].to_numpy()[-1] < 50
    assert dataset["dissipation"].to_numpy()[-1] < 1e-7


def test_a_limit_on_steps_fails_the_run_and_keeps_the_last_state(tmp_path):
    dataset = solve(case_of(QUADRATIC, time__max_steps=7), tmp_path / "a.nc")
    assert dataset.attrs["status"].startswith("failed: 7 steps done at time")
    assert dataset["steps"].to_numpy()[-1] == 7
    assert (tmp_path / "a.nc").is_file()
    assert not part_path(tmp_path / "a.nc").exists()


def test_non_finite_values_fail_the_run_with_the_last_good_state(monkeypatch):
    evaluate = Drive.evaluate
    calls = []

    def breaks(self, density, *rest):
        calls.append(1)
        if len(calls) == 60:
            raise SolveError("non-finite energy")
        return evaluate(self, density, *rest)

    monkeypatch.setattr(Drive, "evaluate", breaks)
    dataset = solve(case_of(QUADRATIC))
    assert "failed: non-finite energy" in dataset.attrs["status"]
    assert np.isfinite(dataset["density"]).all()
    assert dataset["time"].to_numpy()[-1] > 0


def test_a_mass_error_fails_the_run(monkeypatch):
    step = FiniteVolumeStepper.step

    def leaks(self, state, dt, interval):
        from dataclasses import replace

        new = step(self, state, dt, interval)
        return replace(new, density=new.density * (1 - 1e-11))

    monkeypatch.setattr(FiniteVolumeStepper, "step", leaks)
    assert "failed: relative mass error 1.00e-11" in solve(case_of(QUADRATIC)).attrs["status"]


def test_an_interrupted_run_in_memory_returns_what_it_has():
    dataset = solve(case_of(QUADRATIC), progress=InterruptAt(13))
    assert dataset.attrs["status"] == "interrupted"
    assert dataset["steps"].to_numpy()[-1] >= 12


@pytest.mark.parametrize("changes", [{}, {"scheme__diffusion": "heat-semigroup"}], ids=["explicit", "Strang"])
def test_a_resumed_run_is_the_same_run_bit_by_bit(tmp_path, changes):
    table = ORNSTEIN_UHLENBECK if changes else QUADRATIC
    case = case_of(table, time__save=9, **changes)
    whole = solve(case)
    path = tmp_path / "a.nc"
    for number in (3, 9, 11):
        part = solve(case, path, progress=InterruptAt(number), resume=path.with_name("a.nc.part").exists())
        assert part.attrs["status"] == "interrupted"
        assert not path.exists()
        assert part_path(path).exists()
    resumed = solve(case, path, resume=True)
    assert resumed.attrs["status"] == "completed"
    assert not checkpoint_path(path).exists()
    assert not part_path(path).exists()
    for name in ("time", "density", "energy", "steps", "density_min"):
        np.testing.assert_array_equal(resumed[name], whole[name])


def test_overwrite_and_resume_need_a_file():
    with pytest.raises(InputError, match="both need a file"):
        solve(case_of(QUADRATIC), resume=True)


def test_steady_is_confirmed_by_the_true_dissipation():
    """Under Strang splitting a rising free energy looks like a negative dissipation."""
    table = {k: v for k, v in ORNSTEIN_UHLENBECK.items() if k != "exact"}
    case = case_of(table, scheme__diffusion="heat-semigroup", time__stop=30.0, time__save=4, time__steady=1e-6)
    dataset = solve(case)
    assert dataset.attrs["status"] == "completed" or float(dataset["dissipation"][-1]) <= 1e-6


def test_an_exact_solution_is_not_claimed_for_another_energy():
    with pytest.raises(InputError, match="one's own"):
        solve(case_of(QUADRATIC), energy=object())


def test_a_network_inside_a_sum_keeps_its_predictions():
    table = {k: v for k, v in QUADRATIC.items() if k != "exact"}
    parts = [{"kind": "potential", "terms": {"theta": {"kind": "linear", "slope": 0.1}}}, QUADRATIC["energy"]]
    dataset = solve(case_of({**table, "energy": {"kind": "sum", "parts": parts}}, time__stop=0.1))
    assert dataset["prediction"].shape == (5, 3)
    assert dataset["target"].shape == (3,)


def test_an_energy_of_ones_own():
    class Attraction(Energy, BoundEnergy):
        """½∬|x − y|²/2: particles attract each other; the mean stays, the variance falls like e^{−2t}."""

        convex = False  # along mixtures it is concave, along the flow the energy falls all the same

        def bind(self, grid):
            self.x = grid.coordinate("theta")
            return self

        def evaluate(self, mass):
            mean, second = (mass * self.x).sum(), (mass * self.x**2).sum()
            return Evaluation((second - mean**2) / 2, (self.x - mean) ** 2 / 2, 1e-15)

    table = {k: v for k, v in QUADRATIC.items() if k != "exact"}
    dataset = solve(case_of(table, space__theta__cells=512, time__save=2), energy=Attraction())
    ratio = dataset["energy"].to_numpy()[-1] / dataset["energy"].to_numpy()[0]
    assert ratio == pytest.approx(np.exp(-2), rel=2e-3)  # second order, h/σ = 1/5 of the narrower peak at the end
    assert "not claimed" in dataset.attrs["energy_decreases"]
    assert dataset.attrs["energy_class"].endswith("Attraction")
