"""Hostile cases: texts, numbers, sizes and files that nobody means well with are refused, and say why."""

import os
import signal
import socket
from types import SimpleNamespace

import numpy as np
import pytest
from helpers import HEAT_CIRCLE, ORNSTEIN_UHLENBECK, QUADRATIC, case_of

from gridflow import preview
from gridflow.case.case import Case, load_case
from gridflow.case.changes import parse_setting
from gridflow.case.cost import Cost
from gridflow.case.text import BYTES_MAX
from gridflow.errors import InputError, shortened
from gridflow.particles.simulation import Simulator
from gridflow.scheme.finite_volume.scheme import FiniteVolume
from gridflow.solver import solve
from gridflow.space.circle import Circle
from gridflow.space.densities import Normal
from gridflow.space.line import Interval
from validation.faults.fuzz_cases import FINE, outcome

FREE = {k: v for k, v in ORNSTEIN_UHLENBECK.items() if k != "exact"}


# ----------------------------------------------------------------------------------------------------------------- text
TEXTS = {
    "nested lists": ("a = " + "[" * 5000, "nested too deep"),
    "nested tables": ("a = " + "{a=" * 5000, "nested too deep"),
    "digits": ("a = " + "9" * 5000, "a number of more than 1000 digits"),
    "digits with underscores": ("a = 1" + "_1" * 5000, "a number of more than 1000 digits"),
    "a long fraction": ("a = 1." + "1" * 5000, "a number of more than 1000 digits"),
    "a long key": ("a" + ".a" * 40_000 + " = 1", "a key of more than 32 parts"),
    "a long quoted key": ("'a'" + ' . "a"' * 20_000 + " = 1", "a key of more than 32 parts"),
    "a long header": ("[a" + ".a" * 40_000 + "]", "a key of more than 32 parts"),
    "a long file": ("#" * (BYTES_MAX + 1), "has .* bytes"),
    "no number": ("a = 1e999", "a = inf"),
    "a date": ("a = 1979-05-27", "a of type date"),
    "no date": ("a = 1979-02-31", "is not TOML"),
    "no text": (b"\xff\xfe\x00", "is not TOML"),
    "a name with a blank": ("[space.'a b']\nkind = 'circle'\ncells = 8", "the name 'a b' in space"),
    "no name": ("[space.'']\nkind = 'circle'\ncells = 8", "the name '' in space"),
    "no key": ("'' = 1", "unknown key ''"),
}


@pytest.mark.parametrize(("text", "message"), TEXTS.values(), ids=TEXTS)
def test_texts_are_refused(tmp_path, text, message):
    path = tmp_path / "mine.toml"
    head = b"title = 'x'\nenergy = {kind = 'potential'}\ninitial = [{density = {x = {kind = 'uniform'}}}]\ntime = {stop = 1.0}\n"
    path.write_bytes(head + (text if isinstance(text, bytes) else text.encode()))
    with pytest.raises(InputError, match=message):
        load_case(path)


SETTINGS = [
    "a=" + "[" * 5000,
    "a=" + "9" * 5000,
    "initial.²=1",
    "initial." + "9" * 5000 + "=1",
    "space.²=1",
    "a." * 50 + "a=1",
    "..=1",
]


@pytest.mark.parametrize("setting", SETTINGS, ids=range(len(SETTINGS)))
def test_settings_are_refused(setting):
    with pytest.raises(InputError, match="fix:"):
        case_of(QUADRATIC).replace(dict([parse_setting(setting)]))


def test_changes_nested_deep_are_refused():
    nested = []
    for _ in range(5000):
        nested = [nested]
    with pytest.raises(InputError, match="nested 33 deep"):
        case_of(QUADRATIC).replace({"title": nested})


def test_errors_in_tables_of_any_name_are_found():
    """The first of several, also where later ones have the same error, and among many."""
    entries = {f"a{k}": {"value": 1.0} for k in range(300)} | {"wrong": {"value": "x"}, "too": {"value": "x"}}
    with pytest.raises(InputError, match=r"flow\.mobility\.wrong\.value = 'x'"):
        Case.from_dict({**QUADRATIC, "flow": {"mobility": entries}})


def test_what_was_received_is_shortened():
    with pytest.raises(InputError) as error:
        case_of(QUADRATIC, space__theta__cells="x" * 100_000)
    assert len(str(error.value)) < 2000
    assert shortened("x" * 1000) == "x" * 1000


def test_the_scheme_has_a_default():
    assert Case.from_dict({k: v for k, v in FREE.items() if k != "scheme"}).scheme == FiniteVolume()


# -------------------------------------------------------------------------------------------------------------- numbers
POWER = {"coefficient": 1.0, "powers": {"x": 16}}
NUMBERS = {
    "seed": (QUADRATIC, {"energy.data.inputs": {"kind": "normal", "count": 9, "covariance": [[1.0]], "seed": -1}}, "int >= 0"),
    "level": (QUADRATIC, {"space": {"theta": {"kind": "sphere", "level": 10**9}}}, "int <= 8"),
    "too large": (FREE, {"energy.terms.x.stiffness": 1e51}, "energy.terms.x.stiffness = 1e.51"),
    "too small": (FREE, {"flow.temperature": -1e-51}, "flow.temperature = -1e-51"),
    "a short space": (FREE, {"space.x.bounds": [-1e-31, 1e-31]}, "2e-31 apart"),
    "overflow": (
        FREE,
        {"energy": {"kind": "potential", "polynomial": [POWER]}, "space.x.bounds": [-1e25, 1e25]},
        "the energy on this space: overflow",
    ),
    "a narrow teacher": (
        QUADRATIC,
        {"energy.data.densities": [{"density": [{"kind": "normal", "mean": 0.5, "deviation": 1e-49}]}]},
        "the energy: invalid value",
    ),
    "a steep start": (
        FREE,
        {
            "space.y": {"kind": "interval", "bounds": [-1.0, 1.0], "cells": 8},
            "initial": [{"joint": {"kind": "barenblatt", "exponent": 0.001, "time": 0.001}}],
        },
        "whose radius is 0",
    ),
    "noise": (FREE, {"flow": {"noise_injection": {"level": 1e9}}}, "0, or between 1e-12 and 2 times the longest"),
    "noise on a surface": (
        FREE,
        {"space": {"x": {"kind": "sphere", "level": 0}}, "energy": {"kind": "potential"},
         "flow": {"noise_injection": {"level": 1.0}},
         "initial": [{"density": {"x": {"kind": "uniform"}}}]},
        "on the surfaces",
    ),
    "wound kernel": (
        {k: v for k, v in HEAT_CIRCLE.items() if k != "exact"},
        {"energy": {"kind": "interaction", "kernel": {"kind": "gaussian", "bandwidth": 1e40}}},
        "at most 1.5 times its length",
    ),
    "wound discrepancy": (
        {k: v for k, v in HEAT_CIRCLE.items() if k != "exact"},
        {"energy": {"kind": "mmd", "bandwidth": 1e40, "target": [{"density": {"x": {"kind": "uniform"}}}]}},
        "at most 1.5 times its length",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("table", "changes", "message"), NUMBERS.values(), ids=NUMBERS)
def test_numbers_are_refused(table, changes, message):
    with pytest.raises(InputError, match=message):
        solve(case_of(table).replace({"exact": None, **changes}))


def test_wide_normal_densities_on_a_circle_are_uniform():
    circle = Circle(cells=8, length=3.0).factor("x")
    for deviation in (6.0, 1e3, 1e140):
        density = Normal(mean=1e9, deviation=deviation)
        np.testing.assert_allclose(density.masses(circle), 1 / 8, rtol=1e-12)  # round-off of the sum over windings
        value, slope = density.logarithm(circle.points, circle)
        np.testing.assert_allclose(value, -np.log(3.0), rtol=1e-12)
        np.testing.assert_allclose(slope, 0.0, atol=1e-12)
    far = Normal(mean=1.0 + 3.0 * 10, deviation=0.4).masses(circle)
    np.testing.assert_allclose(far, Normal(mean=1.0, deviation=0.4).masses(circle), rtol=1e-9)  # the mean is rounded


@pytest.mark.parametrize("factor", [Interval((0.0, 2.0), 6).factor("x"), Circle(cells=6, length=2.0).factor("x")], ids=str)
def test_wide_entropic_kernels_are_uniform(factor):
    for epsilon in (100.0, 1e8, 1e140):
        logs = factor.log_gaussian(epsilon)
        np.testing.assert_allclose(logs, logs[0, 0], rtol=1e-12)


# ---------------------------------------------------------------------------------------------------------------- sizes
NORMAL = {"kind": "normal", "mean": 0.0, "deviation": 0.3}
INPUTS = {"kind": "uniform", "count": 10**7, "bounds": [-1.0, 1.0]}
NODES = {"kind": "gauss-legendre", "count": 400, "bounds": [[-1.0, 1.0]] * 3}
SIZES = {
    "inputs": (QUADRATIC, {"energy.data.inputs": INPUTS}, "inputs of 10000000 data in 1 dimensions"),
    "nodes": (QUADRATIC, {"energy.data.inputs": NODES}, "inputs of 64000000 data in 3 dimensions"),
    "matrix": (
        FREE,
        {"space.x.cells": 20_000, "energy": {"kind": "interaction", "kernel": {"kind": "gaussian", "bandwidth": 1.0}}},
        "the kernel between 20000 cells",
    ),
    "moments": (
        FREE,
        {"space": {f"x{k}": {"kind": "interval", "bounds": [-2.0, 2.0], "cells": 4} for k in range(6)},
         "initial": [{"density": {f"x{k}": NORMAL for k in range(6)}}],
         "energy": {"kind": "interaction", "kernel": {"kind": "polynomial", "degree": 12}}},
        "moments up to degree 12 of 6 factors",
    ),
    "saves": (FREE, {"time.save": 100_000, "space.x.cells": 1000}, "a result of 100000 saves"),
}  # fmt: skip


@pytest.mark.parametrize(("table", "changes", "message"), SIZES.values(), ids=SIZES)
def test_sizes_beyond_the_memory_are_refused(monkeypatch, table, changes, message):
    monkeypatch.setattr("gridflow.memory.memory_limit", lambda: 2**27)
    with pytest.raises(InputError, match=rf"(?s){message}.*at most 128 MiB, the memory of this machine.*fix: .*--force"):
        solve(case_of(table).replace({"exact": None, **changes}))


def test_results_beyond_the_disk_are_refused(monkeypatch, tmp_path):
    monkeypatch.setattr("gridflow.memory.shutil.disk_usage", lambda folder: SimpleNamespace(free=1000))
    with pytest.raises(InputError, match=r"(?s)a result of 3 saves.*free on this disk.*save less often"):
        solve(case_of(FREE), tmp_path / "a.nc")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(InputError, match="3 saves of 64 cells"):
        preview.preview(case_of(FREE))


# ---------------------------------------------------------------------------------------------------------------- files
def strange_files(folder):
    """Names of what is no regular file."""
    (folder / "folder").mkdir()
    os.mkfifo(folder / "pipe")
    with socket.socket(socket.AF_UNIX) as listener:
        before = os.getcwd()
        os.chdir(folder)  # addresses are short
        listener.bind("socket")
        os.chdir(before)
    return {
        "folder": "is no regular file", "pipe": "is no regular file", "socket": "is no regular file",
        "/dev/zero": "is no regular file", "missing": "no file 'missing'",
        "x" * 5000: "no file 'xxx", "a\0b": "no file", "": "is no regular file",
    }  # fmt: skip


USES = {
    "initial": lambda name: {"initial": [{"file": name}]},
    "data": lambda name: {"energy": {"kind": "network", "branches": [{"weights": ["x"]}],
                                     "data": {"kind": "file", "file": name, "inputs": ["a"], "targets": ["b"]}}},
    "potential": lambda name: {"energy": {"kind": "potential", "file": name}},
    "target": lambda name: {"energy": {"kind": "potential", "target": [{"file": name}]}},
    "samples": lambda name: {"energy": {"kind": "mmd", "bandwidth": 1.0, "target": [{"file": name, "columns": {"x": "a"}}]}},
    "discrepancy": lambda name: {"energy": {"kind": "mmd", "bandwidth": 1.0, "target": [{"file": name}]}},
}  # fmt: skip


@pytest.mark.skipif(os.name != "posix", reason="pipes and sockets are files")
@pytest.mark.parametrize("use", USES.values(), ids=USES)
def test_only_regular_files_are_read(tmp_path, use):
    for name, message in strange_files(tmp_path).items():
        for ending in ("", ".nc") if name == "missing" else ("",):
            case = Case.from_dict({**FREE, **use(name + ending)}, "mine", tmp_path)
            with pytest.raises(InputError, match=message.removesuffix("'")):
                case.problem().check_start()


def test_a_case_is_a_regular_file(tmp_path):
    (tmp_path / "a.toml").mkdir()
    with pytest.raises(InputError, match="is no regular file"):
        load_case(tmp_path / "a.toml")


# ----------------------------------------------------------------------------------------------------------------- show
def test_show_refuses_what_solve_refuses():
    changes = {"energy.decay": 0.1}
    with pytest.raises(InputError, match="weight decay without factors to act on") as error:
        solve(case_of(QUADRATIC).replace(changes))
    with pytest.raises(InputError) as again:
        preview.preview(case_of(QUADRATIC).replace(changes))
    assert again.value.parts == error.value.parts


def test_show_says_what_it_does_not_find_out(monkeypatch):
    case = case_of(FREE)
    assert preview.preview(case) == Cost({"x": 64}).lines()
    monkeypatch.setattr(preview, "SECONDS", 0.0)
    lines = preview.preview(case)
    assert lines[0].startswith("grid: x 64 cells")
    assert lines[-1] == "whether a run would refuse the case is not known: not found out within 0 s"


@pytest.mark.skipif(os.name != "posix", reason="no child processes without fork")
def test_a_process_that_dies_is_told_from_one_that_ends():
    assert preview.within(60.0, lambda tell: tell("some", [1, None])) == [("some", [1, None])]
    assert preview.within(60.0, lambda tell: os.kill(os.getpid(), signal.SIGALRM)) == [("crashed", "signal 14")]


# ---------------------------------------------------------------------------------------------------------------- series
def test_damaged_cases_are_refused_or_run(tmp_path):
    """The first of the series of `validation.faults.fuzz_cases`: loaded, and made concrete."""
    found = [(number, outcome(1, number, False, tmp_path, shows=False)) for number in range(100)]
    assert [f for f in found if f[1].kind not in FINE] == []
    assert {f[1].kind for f in found} == {"clean", "refused"}


@pytest.mark.parametrize("energy", [{"kind": "mmd", "kernel": "gaussian", "bandwidth": 1.0}, {"kind": "sobolev"}])
def test_particles_of_a_target_on_another_space_are_refused(energy):
    """It was a KeyError of `gridflow.simulate`."""
    target = [{"density": {name: {"kind": "normal", "mean": 0.0, "deviation": 0.5} for name in ("x", "y")}}]
    case = case_of(ORNSTEIN_UHLENBECK, exact=None, energy={**energy, "target": target})
    with pytest.raises(InputError, match=r"(?s)energy.target: densities for \['x', 'y'\].*remove density.y"):
        Simulator.of(case)


@pytest.mark.skipif(os.name != "posix", reason="no alarms")
def test_damaged_particles_are_refused_or_run(tmp_path):
    """The first of the other series: runs of 32 particles."""
    found = [(number, outcome(1, number, False, tmp_path, verdicts=True)) for number in range(30)]
    assert [f for f in found if f[1].kind not in FINE] == []
    assert {f[1].kind for f in found} >= {"clean", "refused"}
