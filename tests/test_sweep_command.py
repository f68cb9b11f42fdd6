"""`gridflow sweep`: members of a grid of values or of a list, each done once, as one dataset."""

from concurrent.futures import BrokenExecutor, Executor, Future, ThreadPoolExecutor

import numpy as np
import pytest
import xarray
from helpers import ORNSTEIN_UHLENBECK, case_of

from gridflow.cli import main
from gridflow.errors import InputError
from gridflow.progress import Progress
from gridflow.solver import solve
from gridflow.sweeps.picture import sweep_figure
from gridflow.sweeps.plan import parse_over, read_list, sweep_plan
from gridflow.sweeps.pools import together
from gridflow.sweeps.sweep import sweep

CASE = case_of({**ORNSTEIN_UHLENBECK, "time": {"stop": 0.1, "save": 3}})
OVER = {"flow.temperature": [0.1, 0.2, 0.4], "initial.0.weight": [1.0]}


class Counted(Progress):
    runs = 0

    def start(self, runs):
        self.runs = runs


class Here(Executor):
    """Runs at once; the first `losses` members are lost with their worker."""

    def __init__(self, losses=()):
        self.losses = list(losses)

    def submit(self, function, *arguments):
        future = Future()
        if self.losses and self.losses[0](arguments[0]):
            self.losses.pop(0)
            future.set_exception(BrokenExecutor("the worker died"))
        else:
            future.set_result(function(*arguments))
        return future


def swept(folder, over=None, executor=None, **options):
    return sweep(CASE, OVER if over is None else over, output=folder, executor=executor or Here(), **options)


def test_members_are_what_solve_gives(tmp_path):
    dataset = swept(tmp_path)
    assert dataset["energy"].dims == ("flow_temperature", "initial_0_weight", "time")
    assert (dataset["status"] == "completed").all()
    for temperature in OVER["flow.temperature"]:
        alone = solve(CASE.replace({"flow.temperature": temperature}))
        member = dataset.sel(flow_temperature=temperature).isel(initial_0_weight=0)
        assert np.array_equal(member["energy"], alone["energy"])
        assert np.array_equal(member["density"], alone["density"][-1])
    with xarray.open_dataset(tmp_path / "sweep.nc") as written:
        assert np.array_equal(written["density"], dataset["density"])


def test_members_of_a_moment_and_longer_ones_are_the_same(tmp_path, monkeypatch):
    """In memory with a small file, or in a file with checkpoints: the same numbers bit for bit, now and in a later sweep."""
    monkeypatch.setattr("gridflow.sweeps.member.MOMENT", 600.0)  # however busy the machine
    short, again = swept(tmp_path / "short"), swept(tmp_path / "short")
    monkeypatch.setattr("gridflow.sweeps.member.MOMENT", 0.0)
    long = swept(tmp_path / "long")
    kinds = [{p.read_bytes()[:3] for p in (tmp_path / name / "members").iterdir()} for name in ("short", "long")]
    assert kinds == [{b"CDF"}, {b"\x89HD"}]
    for other in (again, long):
        assert dict(other.sizes) == dict(short.sizes)
        for name, variable in short.variables.items():
            assert other[name].attrs == variable.attrs
            assert name == "seconds" or np.array_equal(other[name], variable)
    with xarray.open_dataset(tmp_path / "short" / short["file"].values[0, 0]) as member:
        alone = solve(CASE.replace({"flow.temperature": 0.1, "initial.0.weight": 1.0}))
        assert np.array_equal(member["density"], alone["density"])
        assert set(member.coords) == set(alone.coords)


def test_a_turn_ends_after_a_while(tmp_path, monkeypatch):
    """A worker gives back what it has not begun, and the sweep gives it out again."""
    given = []

    class Noted(Here):
        def submit(self, function, tasks):
            given.append(len(tasks))
            return super().submit(function, tasks)

    monkeypatch.setattr("gridflow.sweeps.pools.together", lambda *sizes: 3)
    monkeypatch.setattr("gridflow.sweeps.member.TURN", 600.0)
    over = {"flow.temperature": [round(0.1 + 0.01 * k, 2) for k in range(9)]}
    assert (swept(tmp_path / "lots", over, Noted())["status"] == "completed").all()
    assert given == [1, 1, 1, 1, 3, 2]
    given.clear()
    monkeypatch.setattr("gridflow.sweeps.member.TURN", 0.0)
    assert (swept(tmp_path / "turns", over, Noted())["status"] == "completed").all()
    assert sum(given) > len(given) >= 9 - 3
    assert given.count(1) == 4 + 3


def test_how_many_members_go_to_a_worker_together():
    """Lots of half a turn, a quarter of a second, of at most 32, and four of them for each worker."""
    assert together(0.004, 1000, 2) == 32
    assert together(0.05, 1000, 2) == 5
    assert together(10.0, 1000, 2) == 1
    assert together(0.004, 40, 10) == 1


def test_what_is_done_is_not_run_again(tmp_path):
    swept(tmp_path, {"flow.temperature": [0.1, 0.2]})
    tally = Counted()
    more = swept(tmp_path, {"flow.temperature": [0.1, 0.2, 0.4]}, progress=tally)
    assert tally.runs == 1
    assert (more["status"] == "completed").all()
    assert np.isfinite(more["energy"]).all()


def test_a_damaged_member_is_run_again(tmp_path):
    first = swept(tmp_path)
    files = sorted((tmp_path / "members").glob("*.nc"))
    files[0].write_bytes(files[0].read_bytes()[:1000])
    tally = Counted()
    assert swept(tmp_path, progress=tally)["energy"].equals(first["energy"])
    assert tally.runs == 1


def test_members_that_fail_are_rows_with_their_message(tmp_path):
    dataset = swept(tmp_path, {"time.max_steps": [1, 1000]})
    few, many = dataset["status"].values
    assert few.startswith("failed: 1 steps done")
    assert many == "completed"
    assert np.isfinite(dataset["energy"].sel(time_max_steps=1000)).all()


def test_lost_workers_cost_nothing(tmp_path):
    class Pool(Here):
        losses = [lambda task: True] * 3

        def __init__(self):
            pass

    name = sweep_plan(CASE, OVER, None).members[0].name
    (tmp_path / "members").mkdir()
    (tmp_path / "members" / f"{name}.nc.host-1.tmp").write_bytes(b"CDF")  # of a worker that died while it wrote
    dataset = swept(tmp_path, executor=Pool())
    assert (dataset["status"] == "completed").all()
    assert {p.suffix for p in (tmp_path / "members").iterdir()} == {".nc"}


def test_a_member_that_kills_its_worker_is_found(tmp_path):
    class Pool(Here):
        """Breaks as a whole while the culprit is among its members."""

        def submit(self, function, tasks):
            future, (task,) = Future(), tasks
            self.broken = getattr(self, "broken", False) or task.case.flow.temperature == 0.2
            if self.broken:
                self.broken = False if task.case.flow.temperature == 0.4 else self.broken
                future.set_exception(BrokenExecutor("out of memory"))
            else:
                future.set_result(function(tasks))
            return future

    dataset = swept(tmp_path, {"flow.temperature": [0.2, 0.1, 0.4]}, executor=Pool())
    assert list(dataset["status"].values[1:]) == ["completed", "completed"]
    assert "its worker died" in dataset["status"].values[0]


def test_different_grids_and_times_leave_out_what_differs(tmp_path):
    name = next(iter(CASE.space))
    dataset = swept(tmp_path, {f"space.{name}.cells": [32, 64]})
    assert "density" in dataset.attrs["left_out"]
    assert "density" not in dataset
    assert dataset["energy"].dims == (f"space_{name}_cells", "time")
    other = swept(tmp_path / "times", {"time.stop": [0.1, 0.2]})
    assert other["energy"].dims == ("time_stop", "save")
    assert list(other["time_of_save"].values[:, -1]) == [0.1, 0.2]


def test_lists(tmp_path):
    table = tmp_path / "members.csv"
    table.write_text("flow.temperature,time.stop\n0.1,0.1\n0.2,0.05\n")
    dataset = sweep(CASE, members=read_list(table), executor=Here())
    assert dataset["energy"].dims == ("member", "save")
    assert list(dataset["flow_temperature"].values) == [0.1, 0.2]
    sweep_figure(dataset)


BAD = {
    "an unknown key": ({"flow.temprature": [1.0]}, "temprature"),
    "a wrong value": ({"flow.temperature": [0.1, -1.0]}, "member 2, flow.temperature=-1.0"),
    "one value twice": ({"flow.temperature": [0.1, 0.1]}, "twice"),
    "no values": ({"flow.temperature": []}, "at least one value"),
    "a number alone": ({"flow.temperature": 0.1}, "a list of at least one value"),
    "a billion members": ({"flow.temperature": range(1, 10**5), "time.stop": range(1, 10**4 + 1)}, "1e\\+09 members"),
    "nothing": (None, "a sweep over nothing"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_sweeps_start_nothing(name, tmp_path):
    over, message = BAD[name]
    with pytest.raises(InputError, match=message):
        sweep(CASE, over, output=tmp_path / "out", executor=Here())
    assert not (tmp_path / "out").exists()


def test_an_output_of_another_sweep_stays(tmp_path):
    swept(tmp_path)
    other = CASE.replace({"time.stop": 0.2})
    with pytest.raises(InputError, match="exists"):
        sweep(other, OVER, output=tmp_path, executor=Here())


def test_a_scheduler_that_does_not_answer(tmp_path, monkeypatch):
    pytest.importorskip("distributed")
    monkeypatch.setattr("gridflow.sweeps.pools.ANSWER_SECONDS", 0.2)
    with pytest.raises(InputError, match="no Dask scheduler answers"):
        sweep(CASE, OVER, output=tmp_path, scheduler="tcp://127.0.0.1:9")


@pytest.mark.parametrize(
    ("text", "values"),
    [("a.b=1,2.5", [1, 2.5]), ("a.b=[0.0, 1.0],[0.0, 2.0]", [[0.0, 1.0], [0.0, 2.0]]), ("a.b=relu,tanh", ["relu", "tanh"])],
)
def test_values_on_the_command_line(text, values):
    assert parse_over(text) == ("a.b", values)


@pytest.mark.parametrize("values", ["9" * 5000, "[" * 20000 + "]" * 20000], ids=["digits", "depth"])
def test_hostile_values_on_the_command_line(values):
    with pytest.raises(InputError, match="--over"):
        parse_over(f"a.b={values}")


@pytest.mark.parametrize("table", ["", "a\n", "a,b\n1\n", "a,a\n1,2\n"])
def test_bad_tables(table, tmp_path):
    (tmp_path / "t.csv").write_text(table)
    with pytest.raises(InputError):
        read_list(tmp_path / "t.csv")


def test_names_of_members_are_their_content():
    plan, same, other = (sweep_plan(CASE.replace(c), OVER, None) for c in ({}, {}, {"time.stop": 0.2}))
    assert [m.name for m in plan.members] == [m.name for m in same.members]
    assert not {m.name for m in plan.members} & {m.name for m in other.members}


@pytest.mark.filterwarnings("default")
def test_a_dask_cluster_by_its_address(tmp_path):
    distributed = pytest.importorskip("distributed")
    options = {"n_workers": 1, "threads_per_worker": 1, "processes": False, "dashboard_address": None}
    with distributed.LocalCluster(**options) as cluster:
        dataset = sweep(CASE, OVER, output=tmp_path, scheduler=cluster.scheduler_address)
    assert dataset["energy"].equals(swept(tmp_path / "here")["energy"])


def test_an_interruption_ends_what_runs_and_keeps_what_is_done(tmp_path):
    """After the first member; the next sweep runs the others."""

    class Interrupted(Counted):
        def advance(self):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sweep(CASE, OVER, output=tmp_path, workers=1, progress=Interrupted())
    tally = Counted()
    assert (swept(tmp_path, progress=tally)["status"] == "completed").all()
    assert tally.runs < 3


def test_the_command_line_says_how_to_go_on(tmp_path, monkeypatch, capsys):
    def interrupted(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr("gridflow.sweeps.sweep.sweep", interrupted)
    assert main(["sweep", "ornstein-uhlenbeck", "--over", "flow.temperature=0.1", "-o", str(tmp_path)]) == 1
    assert "the same command goes on" in capsys.readouterr().err


def test_executors_of_ones_own_stay_open():
    with ThreadPoolExecutor(1) as pool:
        sweep(CASE, OVER, executor=pool)
        assert pool.submit(int, "7").result() == 7


def test_command_line(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    words = ["sweep", "ornstein-uhlenbeck", "--set", "space.x.cells=32", "--set", "time.stop=0.02", "--quiet", "--workers", "1"]
    assert main([*words, "--over", "flow.temperature=0.1,0.2", "--record", "free_energy_gap"]) == 0
    folder = tmp_path / "ornstein-uhlenbeck-sweep"
    assert sorted(p.name for p in folder.iterdir()) == ["members", "sweep.nc", "sweep.png"]
    assert main([*words, "--over", "time.max_steps=1,500"]) == 2
    assert "--overwrite" in capsys.readouterr().err
