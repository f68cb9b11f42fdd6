"""The command line: what it prints where, exit codes, and one clear message for every kind of wrong input."""

import json
import os
import shlex
import signal
import subprocess
import sys
import time
import tomllib

import pytest
import xarray

from gridflow.case.case import load_case
from gridflow.case.shipped import shipped_cases, shipped_directory, table_row
from gridflow.cli import main

SMALL = ["--set", "space.theta.cells=32", "--set", "time.save=3"]
CASE = "teacher-1d-quadratic"


def gridflow(*words, cwd=None):
    return subprocess.run([sys.executable, "-m", "gridflow.cli", *words], capture_output=True, text=True, cwd=cwd, check=False)


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_list_names_every_case(capsys):
    assert main(["list"]) == 0
    table = capsys.readouterr().out
    assert main(["list", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [r["name"] for r in rows] == list(shipped_cases())
    for row in rows:
        assert row["name"] in table
        assert row["seconds"] > 0


def test_list_states_the_cells_of_every_factor():
    for name, path in shipped_cases().items():
        sizes = {factor.name: factor.size for factor in load_case(name).grid().factors}
        stated = dict(part.rsplit(" ", 1) for part in table_row(path)["grid"].split(" × "))
        assert {factor: int(size) for factor, size in stated.items()} == sizes


def test_help_and_list_import_nothing_heavy():
    """What makes them answer at once: no numerical package is loaded."""
    heavy = "('numpy', 'numba', 'xarray', 'scipy', 'msgspec', 'matplotlib')"
    script = f"import sys; from gridflow.cli import main; main(['list']); print([m for m in {heavy} if m in sys.modules])"
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert result.stdout.splitlines()[-1] == "[]"
    assert "solve" in gridflow("--help").stdout


def test_show_prints_toml_with_defaults(capsys):
    assert main(["show", CASE, "--set", "space.theta.cells=99"]) == 0
    table = tomllib.loads(capsys.readouterr().out)
    assert table["space"]["theta"]["cells"] == 99
    assert table["scheme"]["cfl"] == 0.9


def test_show_states_memory_and_time_of_big_grids_as_comments(capsys, monkeypatch):
    monkeypatch.setattr("gridflow.preview.SECONDS", 600.0)  # however busy the machine is
    assert main(["show", "relu-weight-decay"]) == 0
    text = capsys.readouterr().out
    assert tomllib.loads(text)["title"]
    assert "# grid: b 60 × w 72 × alpha 72 = 311040 cells; a density takes 2.37 MiB" in text
    assert "# a run holds about" in text


def test_solve_writes_the_file_and_reports_to_stderr(here, capsys):
    assert main(["solve", CASE, "-o", "a.nc", *SMALL, "--plot"]) == 0
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "completed: wrote a.nc" in captured.err
    assert "error against the exact solution" in captured.err
    assert (here / "a.png").is_file()
    assert xarray.open_dataset("a.nc").attrs["status"] == "completed"
    assert sorted(p.name for p in here.iterdir()) == ["a.nc", "a.png"]


def test_the_default_output_is_named_after_the_case(here, capsys):
    assert main(["solve", CASE, *SMALL, "--quiet"]) == 0
    assert capsys.readouterr().err == ""
    assert (here / f"{CASE}.nc").is_file()


def test_plot_draws_a_file(here, capsys):
    main(["solve", CASE, "-o", "a.nc", *SMALL, "--quiet"])
    assert main(["plot", "a.nc"]) == 0
    assert main(["plot", "a.nc", "-o", "b.gif"]) == 0
    assert (here / "a.png").is_file()
    assert (here / "b.gif").is_file()
    assert main(["plot", "a.nc"]) == 2
    assert main(["plot", "a.nc", "--overwrite"]) == 0


def test_a_failed_run_has_exit_code_1(here, capsys):
    assert main(["solve", CASE, "-o", "a.nc", *SMALL, "--set", "time.max_steps=2"]) == 1
    assert "failed: 2 steps done" in capsys.readouterr().err


def test_ctrl_c_says_how_to_resume_and_resume_works(here):
    """A real signal to a real process; the command that it prints is then run."""
    words = ["solve", "relu-regression", "-o", "a.nc", "--set", "time.stop=2000.0", "--set", "space.w.cells=64"]
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # jobs in the background of a shell ignore it
    process = subprocess.Popen([sys.executable, "-m", "gridflow.cli", *words], stderr=subprocess.PIPE, text=True)
    signal.signal(signal.SIGINT, before)
    deadline = time.monotonic() + 60
    while not (here / "a.nc.part").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(0.2)  # the whole run takes several times as long
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=60)
    assert process.returncode == 1, error
    command = shlex.split(error.splitlines()[-1])
    assert command[0] == "gridflow"
    assert command[-1] == "--resume"
    resumed = gridflow(*command[1:])
    assert resumed.returncode == 0, resumed.stderr
    assert sorted(p.name for p in here.iterdir()) == ["a.nc"]


def test_ctrl_c_before_the_first_step_is_no_traceback(here, capsys, monkeypatch):
    def interrupted(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr("gridflow.solver.solve_to_file", interrupted)
    assert main(["solve", CASE, "-o", "a.nc"]) == 1
    assert "interrupted" in capsys.readouterr().err


def test_a_full_disk_is_one_message(here, capsys, monkeypatch):
    def full(*arguments, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("gridflow.solver.solve_to_file", full)
    assert main(["solve", CASE, "-o", "a.nc"]) == 1
    assert "No space left on device" in capsys.readouterr().err


def test_a_directory_that_refuses_has_exit_code_2(here, capsys, monkeypatch):
    def denied(dir):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("gridflow.files.TemporaryFile", denied)  # root may write anywhere
    assert main(["solve", CASE, "-o", "a.nc"]) == 2
    assert "cannot be written: Permission denied" in capsys.readouterr().err
    assert list(here.iterdir()) == []


def test_a_failed_quiet_run_says_why(here, capsys):
    assert main(["solve", CASE, "-o", "a.nc", *SMALL, "--quiet", "--set", "time.max_steps=2"]) == 1
    assert "failed: 2 steps done" in capsys.readouterr().err


def test_a_closed_pipe_is_no_error():
    process = subprocess.run(
        f"{sys.executable} -m gridflow.cli show {CASE} | head -1", shell=True, capture_output=True, text=True, check=False
    )
    assert "Traceback" not in process.stderr


BAD_CASE = (shipped_directory() / f"{CASE}.toml").read_text(encoding="utf-8")


def wrong(old, new):
    assert old in BAD_CASE
    return BAD_CASE.replace(old, new, 1)


DATA_CASE = (shipped_directory() / "relu-regression.toml").read_text(encoding="utf-8").replace("data/thurber.csv", "d.csv")

WRONG_FILES = {
    "unknown key": (wrong("cells", "cels"), None, ["'cels'", "allowed: keys", "did you mean 'cells'"]),
    "wrong type": (wrong("cells = 256", 'cells = "256"'), None, ["space.theta.cells = '256' (a str)", "allowed: int"]),
    "out of range": (wrong("stop = 6.0", "stop = 0.0"), None, ["> 0"]),
    "mass cut off": (wrong("bounds = [-3.0, 3.0]", "bounds = [-0.7, 3.0]"), None, ["cuts off", "widen the bounds"]),
    "zero density": (
        wrong('kind = "normal", mean = 0.9, deviation = 0.15', 'kind = "uniform", bounds = [5.0, 6.0]'),
        None, ["without any mass"],
    ),
    "missing data file": (DATA_CASE, None, ["no file 'd.csv'"]),
    "wrong columns": (DATA_CASE, "log_density,y\n1,2\n2,3\n", ["column 'mobility'", "its columns: log_density, y"]),
    "NaN in data": (DATA_CASE, "log_density,mobility\n1,2\n2,nan\n", ["non-finite value in data row 2"]),
}  # fmt: skip


@pytest.mark.parametrize(("text", "data", "parts"), WRONG_FILES.values(), ids=WRONG_FILES.keys())
def test_wrong_cases_give_one_message_and_exit_code_2(here, capsys, text, data, parts):
    (here / "mine.toml").write_text(text, encoding="utf-8")
    if data:
        (here / "d.csv").write_text(data)
    before = sorted(here.iterdir())
    assert main(["solve", "mine.toml", "-o", "a.nc"]) == 2
    message = capsys.readouterr().err
    for part in ("gridflow: ", "\n  allowed: ", "\n  fix: ", *parts):
        assert part in message
    assert "Traceback" not in message
    assert sorted(here.iterdir()) == before  # nothing was written


WRONG_WORDS = {
    "unknown command": (["sovle", CASE], ["'sovle'", "did you mean 'solve'"]),
    "unknown case": (["solve", "teacher-1d-quadratc"], ["did you mean 'teacher-1d-quadratic'"]),
    "missing file": (["solve", "no.toml"], ["no file 'no.toml'"]),
    "bad setting": (["solve", CASE, "--set", "time.stop"], ["KEY=VALUE"]),
    "wrong ending": (["solve", CASE, "-o", "a.csv"], ["ends in .nc"]),
    "missing directory": (["solve", CASE, "-o", "no/a.nc"], ["does not exist"]),
    "existing output": (["solve", CASE, "-o", "old.nc"], ["'old.nc' exists", "--overwrite"]),
    "existing picture": (["solve", CASE, "-o", "new.nc", "--plot"], ["'new.png' exists"]),
    "plot of nothing": (["plot", "no.nc"], ["no file 'no.nc'"]),
    "plot of a foreign file": (["plot", "old.nc"], ["cannot be read as NetCDF"]),
    "plot to a foreign format": (["plot", "old.nc", "-o", "a.xyz"], ["ends in .gif"]),
}


@pytest.mark.parametrize(("words", "parts"), WRONG_WORDS.values(), ids=WRONG_WORDS.keys())
def test_wrong_words_give_one_message_and_exit_code_2(here, capsys, words, parts):
    for name in ("old.nc", "new.png"):
        (here / name).write_text("precious")
    assert main(words) == 2
    message = capsys.readouterr().err
    for part in ("gridflow: ", "\n  allowed: ", "\n  fix: ", *parts):
        assert part in message
    assert {p.name: p.read_text() for p in here.iterdir()} == {"old.nc": "precious", "new.png": "precious"}


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere; test_dataset simulates the refusal")
def test_a_directory_that_cannot_be_written(here, capsys):
    (here / "locked").mkdir(mode=0o500)
    assert main(["solve", CASE, "-o", "locked/a.nc"]) == 2
    assert "cannot be written" in capsys.readouterr().err


def test_missing_words_have_exit_code_2(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["solve"])
    assert stop.value.code == 2
    assert "fix: see gridflow solve --help" in capsys.readouterr().err


def test_debug_shows_the_traceback(here):
    result = gridflow("solve", "no.toml", "--debug")
    assert "Traceback" in result.stderr


HEAVY = {
    "xarray",
    "pandas",
    "matplotlib",
    "tqdm",
    "scipy.sparse",
    "scipy.special",
    "scipy.interpolate",
    "scipy.integrate",
    "scipy.spatial",
    "scipy.optimize",
}
"""What few cases need, or only those who read results: half of the time of a small run, if it were imported."""


def loaded(code):
    """The modules of `HEAVY`, and of numba's compiler, that a process has loaded at its end."""
    names = HEAVY | {"netCDF4", "numba.np.npyimpl"}
    script = f"import sys; {code}; print(*({names!r} & set(sys.modules)))"
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(found.stdout.split())


def test_the_solver_comes_without_what_few_cases_need():
    """It is imported on first use."""
    assert loaded("import gridflow; gridflow.solve") == set()


def test_a_small_run_into_a_file_loads_what_it_needs_alone(here):
    """In the second run, which compiles nothing; npyimpl stands for the part of numba that serves to compile."""
    words = ["solve", "ornstein-uhlenbeck", "-o", "a.nc", "--quiet", "--overwrite", "--set", "time.stop=0.01"]
    code = f"from gridflow.cli import main; main({words!r})"
    loaded(code)
    assert loaded(code) == {"netCDF4"}
