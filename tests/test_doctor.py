"""`gridflow doctor`, and the probe of pykeops in a child process that may crash."""

import json
import subprocess
import sys

import pytest

from gridflow import doctor
from gridflow.cli import main
from gridflow.doctor import Finding, findings, report
from gridflow.sums import keops, probe
from gridflow.sums.probe import Probe, known_probe


@pytest.fixture
def own_folder(monkeypatch, tmp_path):
    """An empty cache folder, and no answer in memory."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    for remembered in (keops.keops_folder, known_probe):
        remembered.cache_clear()
    yield tmp_path / "gridflow"
    for remembered in (keops.keops_folder, known_probe):
        remembered.cache_clear()


@pytest.fixture
def no_child(monkeypatch):
    """pykeops works, and no child is started to find out."""
    monkeypatch.setattr(probe, "probe", lambda: Probe(True, "cpu"))


def child_that(tmp_path, monkeypatch, code):
    """The probe runs this code."""
    (tmp_path / "child_of_a_test.py").write_text(code, encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(probe, "CHILD", "child_of_a_test")


def test_the_doctor_prints_what_works(no_child, capsys):
    assert main(["doctor"]) == 0
    text = capsys.readouterr().out
    for name in doctor.CHECKS:
        assert f"  {name}" in text
    assert "everything that gridflow needs works" in text
    assert "BROKEN" not in text


def test_the_doctor_answers_in_json(no_child, capsys):
    assert main(["doctor", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["name"] for row in rows] == list(doctor.CHECKS)
    assert all(row["state"] == "works" or not row["needed"] for row in rows)
    assert {"name", "state", "found", "fix", "needed"} == set(rows[0])


def test_what_is_needed_decides_the_exit_code(no_child, monkeypatch, capsys):
    optional = Finding("movies", "broken", "no", "install it", needed=False)
    monkeypatch.setattr(doctor, "CHECKS", {"movies": lambda name: optional})
    assert main(["doctor"]) == 0
    assert "broken  movies" in capsys.readouterr().out

    def fails(name):
        raise OSError("disk full")

    monkeypatch.setattr(doctor, "CHECKS", {"netcdf": fails, "movies": lambda name: optional})
    assert main(["doctor"]) == 1
    text = capsys.readouterr().out
    assert "BROKEN  netcdf        OSError: disk full" in text
    assert "fix: install gridflow again" in text
    assert "cannot work here as it is: netcdf (" in text


def test_a_wrong_number_of_threads_is_found(no_child, monkeypatch):
    monkeypatch.setenv("GRIDFLOW_THREADS", "many")
    bad = [f for f in findings() if not f.good]
    assert [f.name for f in bad] == ["threads"]
    assert "GRIDFLOW_THREADS = 'many'" in bad[0].text()
    assert report(bad).endswith(f"threads ({sys.executable})")


def test_a_wrong_engine_is_found(no_child, monkeypatch):
    monkeypatch.setenv("GRIDFLOW_REDUCTIONS", "nonsense")
    bad = [f for f in findings() if not f.good]
    assert [f.name for f in bad] == ["engine"]
    assert "GRIDFLOW_REDUCTIONS = 'nonsense'" in bad[0].text()


def test_an_optional_check_that_fails_in_its_own_way_is_no_failure(monkeypatch):
    def fails():
        raise ZeroDivisionError

    monkeypatch.setattr(probe, "probe", fails)
    finding = doctor.checked("keops", doctor.check_keops)
    assert finding.state == "broken"
    assert finding.good


@pytest.mark.parametrize("missing", ["numba", "scipy"])
def test_a_package_that_is_missing_is_a_finding(missing):
    """In a process in which it cannot be imported."""
    code = f"import sys; sys.modules[{missing!r}] = None; from gridflow.cli import main; sys.exit(main(['doctor']))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert f"BROKEN  packages      cannot import {missing}" in done.stdout
    assert "Traceback" not in done.stderr


def test_without_a_home_formulas_are_kept_in_a_temporary_folder(own_folder, monkeypatch):
    def homeless():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(keops.Path, "home", homeless)
    assert keops.keops_folder().is_dir()
    assert "gridflow-keops-" in str(keops.keops_folder())


def test_without_pykeops_it_is_unavailable(own_folder, monkeypatch):
    def absent(package):
        raise keops.PackageNotFoundError(package)

    def nothing():
        raise ModuleNotFoundError("No module named 'pykeops'")

    monkeypatch.setattr(keops, "version", absent)
    assert keops.keops_folder().name == "keops-none"
    assert "pykeops none" in probe.machine()
    with pytest.raises(keops.KeOpsUnavailable, match="No module named"):
        keops.attempt_twice(nothing)
    assert "pip install pykeops" in doctor.keops_fix("No module named 'pykeops'")


@pytest.mark.parametrize(
    ("found", "compiler", "expected"),
    [
        (Probe(False, reason="ModuleNotFoundError: pykeops_cpp"), None, "install g++"),
        (Probe(False, reason="ModuleNotFoundError: pykeops_cpp"), "/usr/bin/g++", "g++ cannot compile the formula"),
        (Probe(False, reason="the probe crashed with signal SIGSEGV"), "/usr/bin/g++", "set CXX to the g++ of the system"),
        (Probe(False, reason="ImportError: file too short"), "/usr/bin/g++", "empty"),
    ],
)
def test_a_fix_for_every_way_in_which_pykeops_fails(monkeypatch, found, compiler, expected):
    monkeypatch.setattr(probe, "probe", lambda: found)
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setattr(doctor.shutil, "which", lambda name: compiler)
    finding = doctor.check_keops("keops")
    assert finding.state == "broken"
    assert finding.good
    assert expected in finding.fix


def test_a_driver_that_pykeops_does_not_use_is_named(monkeypatch):
    monkeypatch.setattr(keops, "cuda_library", lambda: None)
    assert doctor.check_gpu("gpu").state == "lacks"
    monkeypatch.setattr(keops, "cuda_library", lambda: "libcuda.so.1")
    for device, state in (("gpu", "works"), ("cpu", "broken")):
        monkeypatch.setattr(probe, "known_probe", lambda device=device: Probe(True, device))
        assert doctor.check_gpu("gpu").state == state


# ------------------------------------------------------------------------------------------------------------- the probe
def test_a_child_that_crashes_is_an_answer_and_is_kept(own_folder, tmp_path, monkeypatch):
    child_that(tmp_path, monkeypatch, "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)")
    assert known_probe() == Probe(False, reason="the probe crashed with signal SIGSEGV")
    child_that(tmp_path, monkeypatch, "raise SystemExit('must not run')")
    known_probe.cache_clear()  # as in another process
    assert known_probe() == Probe(False, reason="the probe crashed with signal SIGSEGV", kept=True)
    assert probe.probe().reason == "must not run"  # the doctor asks anew
    assert known_probe().reason == "must not run"
    assert list(own_folder.glob("*.part")) == []


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ('print(\'noise\'); print(\'{"works": true, "device": "cpu"}\')', Probe(True, "cpu")),
        ("print('nonsense')", Probe(False, reason="the probe answered 'nonsense'")),
        ("raise ImportError('no headers\\n of Python')", Probe(False, reason="of Python")),
        ("raise SystemExit(3)", Probe(False, reason="the probe ended with exit code 3")),
    ],
)
def test_what_a_child_says(own_folder, tmp_path, monkeypatch, code, expected):
    child_that(tmp_path, monkeypatch, code)
    assert probe.probe() == expected


def test_answers_belong_to_a_machine_and_a_torn_file_is_none(own_folder, tmp_path, monkeypatch):
    child_that(tmp_path, monkeypatch, 'print(\'{"works": true, "device": "cpu"}\')')
    assert not known_probe().kept
    known_probe.cache_clear()
    monkeypatch.setenv("CXX", "another-compiler")
    assert not known_probe().kept
    known_probe.cache_clear()
    assert known_probe().kept
    probe.answers_file().write_text("{", encoding="utf-8")
    known_probe.cache_clear()
    assert not known_probe().kept


def test_a_child_that_never_ends_is_given_up_and_not_remembered(own_folder, tmp_path, monkeypatch):
    child_that(tmp_path, monkeypatch, "import time; time.sleep(60)")
    monkeypatch.setattr(probe, "SECONDS", 0.5)
    assert "timed out" in known_probe().reason
    assert probe.read_answers() == {}


def test_the_child_answers_in_one_line(tmp_path):
    """Really: pykeops compiles a formula in a process of its own."""
    done = subprocess.run([sys.executable, "-m", probe.CHILD], capture_output=True, text=True, check=True)
    answer = Probe(**json.loads(done.stdout))
    assert answer.works
    assert answer.device in ("cpu", "gpu")
