"""Cases: strict reading, changes, errors that say what was received, what is allowed and how to fix it."""

import json

import numpy as np
import pytest
from helpers import HEAT_CIRCLE, IDENTITY, ORNSTEIN_UHLENBECK, QUADRATIC, case_of

from gridflow.case.case import Case, load_case
from gridflow.case.changes import parse_setting
from gridflow.case.shipped import shipped_cases
from gridflow.errors import InputError


def write(tmp_path, text):
    path = tmp_path / "mine.toml"
    path.write_text(text, encoding="utf-8")
    return path


MINIMAL = """
title = "mine"
[space.x]
kind = "interval"
bounds = [-4.0, 4.0]
cells = 32
[energy]
kind = "potential"
terms.x = { kind = "quadratic" }
[[initial]]
density.x = { kind = "normal", mean = 1.0, deviation = 0.4 }
[scheme]
kind = "finite-volume"
[time]
stop = 1.0
"""


def test_a_minimal_case_gets_its_defaults(tmp_path):
    case = load_case(write(tmp_path, MINIMAL))
    assert case.name == "mine"
    assert case.directory == str(tmp_path)
    assert case.scheme.order == 2
    assert case.time.save_times()[:2] == [0.0, 0.05]


def test_the_printed_case_is_the_case(tmp_path):
    """`gridflow show` prints TOML that loads to the same case, for every shipped one."""
    for name in shipped_cases():
        case = load_case(name)
        again = load_case(write(tmp_path, case.text()))
        assert again.text() == case.text()


def test_replace_changes_keys_and_checks_again():
    case = case_of(QUADRATIC, space__theta__cells=32, initial__1__weight=0.5)
    assert case.grid().shape == (32,)
    assert case.initial[1].weight == 0.5
    assert case_of(QUADRATIC, flow__temperature=0.5).flow.temperature == 0.5
    with pytest.raises(InputError, match="unknown key 'cels'"):
        case.replace({"space.theta.cels": 3})
    for key in ("title.x", "initial.7.weight", "initial.7"):
        with pytest.raises(InputError, match="parts joined by dots"):
            case.replace({key: 1})


def test_settings_are_toml_values_or_strings():
    assert parse_setting("space.a.cells=128") == ("space.a.cells", 128)
    assert parse_setting("time.save=[0.0, 1.0]") == ("time.save", [0.0, 1.0])
    assert parse_setting("scheme.diffusion=heat-semigroup") == ("scheme.diffusion", "heat-semigroup")
    for wrong in ("space.a.cells", "=3"):
        with pytest.raises(InputError, match="KEY=VALUE"):
            parse_setting(wrong)


def test_mobility_may_be_a_power_of_another_factor():
    table = {
        **QUADRATIC,
        "space": {**QUADRATIC["space"], "c": {"kind": "labels", "values": [1.0, 2.0]}},
        "flow": {"mobility": {"theta": {"factor": "c", "power": -2.0}}},
    }
    grid = case_of(table).grid()
    np.testing.assert_allclose(grid.mobility[grid.order.index("theta")].ravel(), [1.0, 0.25])


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("cells = 32", "cels = 32", r"(?s)unknown key 'cels'.*keys: bounds, cells, closed, grading.*did you mean 'cells'"),
        ("cells = 32", "cells = 32.5", r"(?s)space.x.cells = 32.5 \(a float\).*allowed: int"),
        ("cells = 32", 'cells = "many"', r"(?s)space.x.cells = 'many' \(a str\).*allowed: int"),
        ("cells = 32", "cells = 2", r"(?s)space.x.cells = 2\n.*allowed: int >= 4"),
        ("cells = 32", "", "lacks the key 'cells'"),
        ("stop = 1.0", "stop = -1.0", r"(?s)time.stop = -1.0\n.*> 0"),
        ("stop = 1.0", "stop = nan", r"time.stop = nan"),
        ("stop = 1.0", "stop = 1.0\nsave = [0.5, 0.2]", "not an increasing list"),
        ("bounds = [-4.0, 4.0]", "bounds = [4.0, -4.0]", "not increasing"),
        ("bounds = [-4.0, 4.0]", "bounds = [4.0]", "bounds"),
        ("bounds = [-4.0, 4.0]", "bounds = [-inf, 4.0]", r"space.x.bounds.0 = -inf"),
        (
            'kind = "quadratic"',
            'kind = "quadratc"',
            r"(?s)energy.terms.x.kind = 'quadratc'.*one of: cosine, double-well, linear, quadratic, .*did you mean 'quadratic'",
        ),
        ('kind = "finite-volume"', 'kind = "finite-volume"\norder = 3', r"(?s)scheme.order = 3|scheme.order"),
        ("deviation = 0.4", "deviation = 0.0", r"(?s)initial.0.density.x.deviation = 0.0\n.*> 0"),
        ("[time]", "[tme]", "(?s)unknown key 'tme'.*did you mean 'time'"),
        ("title =", "name = 'x'\ntitle =", "unknown key 'name'"),
        ("title =", "title", "is not TOML"),
        ("[time]", "[flow]\ntemperature = -1.0\n[time]", r"(?s)flow.temperature = -1.0\n.*>= 0"),
    ],
)
def test_wrong_cases_are_refused(tmp_path, old, new, message):
    assert MINIMAL.count(old) == 1
    with pytest.raises(InputError, match=message):
        load_case(write(tmp_path, MINIMAL.replace(old, new)))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"space": {"time": {"kind": "circle", "cells": 8}}}, "a factor called 'time'"),
        ({"space": {"energy": {"kind": "circle", "cells": 8}}}, "a factor called 'energy'"),
        ({"space": {"a_bounds": {"kind": "circle", "cells": 8}}}, "a factor called 'a_bounds'"),
        ({"name": "x"}, "key 'name'"),
        ({"flow.mobility.theta": {"factor": "c"}}, "names the factor 'c'"),
        ({"flow.mobility.theta": {"value": -1.0}}, "mobility"),
        (
            {"space.c": {"kind": "labels", "values": [0.0, -1.0]}, "flow.mobility.theta": {"factor": "c", "power": 0.5}},
            "negative, infinite or undefined",
        ),
        (
            {"space.c": {"kind": "labels", "values": [1e-300, 1.0]}, "flow.mobility.theta": {"factor": "c", "power": -2.0}},
            "negative, infinite or undefined",
        ),
    ],
)
def test_wrong_grids_are_refused(changes, message):
    with pytest.raises(InputError, match=message):
        case_of(QUADRATIC).replace(changes).grid()


def test_unknown_cases_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"(?s)no case 'bn-circel'.*did you mean 'bn-circle'"):
        load_case("bn-circel")
    with pytest.raises(InputError, match=r"the case: no file 'missing.toml'"):
        load_case(tmp_path / "missing.toml")
    binary = tmp_path / "binary.toml"
    binary.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="is not TOML"):
        load_case(binary)


@pytest.mark.parametrize(
    "change",
    [
        {"energy.activation": "tanh"},
        {"flow.temperature": 0.1},
        {"flow.mobility.theta.value": 2.0},
        {"energy.data.neurons.0.direction": [1.0], "initial.0.density.theta": {"kind": "uniform"}},
    ],
)
def test_an_exact_solution_is_only_claimed_for_its_case(change):
    case = case_of(QUADRATIC).replace(change)
    with pytest.raises(InputError, match="exact solution"):
        case.exact.masses(case.problem(), [0.0])


@pytest.mark.parametrize("table", [IDENTITY, ORNSTEIN_UHLENBECK, HEAT_CIRCLE], ids=["identity", "Ornstein–Uhlenbeck", "heat"])
@pytest.mark.parametrize(
    "change", [{"flow.mobility": {"*": {"value": 2.0}}}, {"initial": [{"density": {"*": {"kind": "uniform"}}}]}], ids=str
)
def test_every_exact_solution_refuses_what_it_does_not_solve(table, change):
    name = next(iter(table["space"]))
    named = {key: json.loads(json.dumps(value).replace("*", name)) for key, value in change.items()}
    case = case_of(table).replace(named)
    with pytest.raises(InputError, match="exact solution"):
        case.exact.masses(case.problem(), [0.0])


def test_every_key_is_explained_by_a_table_type():
    """A table that is no table: the error names the place."""
    with pytest.raises(InputError, match=r"(?s)energy = 3 \(a int\).*allowed: table"):
        Case.from_dict({**QUADRATIC, "energy": 3})
