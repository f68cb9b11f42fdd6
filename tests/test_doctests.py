"""The examples in the docstrings of what users call are run."""

import doctest
import importlib

import pytest
from helpers import ORNSTEIN_UHLENBECK, case_of

import gridflow
from gridflow.accessor import Accessor

PUBLIC = ["accessor", "case.case", "output.joining", "output.opening", "output.plotting", "particles.simulation"]
PUBLIC += ["reports.page", "solver", "sweeps.sweep", "verdict.runner"]
"""Modules of all that `gridflow` exports, but for its errors."""
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


def examples(module):
    found = doctest.DocTestFinder(exclude_empty=True).find(importlib.import_module(f"gridflow.{module}"))
    return [test for test in found if test.examples]


@pytest.mark.parametrize("test", [t for name in PUBLIC for t in examples(name)], ids=lambda test: test.name)
def test_examples_in_docstrings_run(test, dataset, capsys, tmp_path, monkeypatch):
    """Those of the accessor have a dataset at hand."""
    monkeypatch.chdir(tmp_path)
    test.globs |= {"gridflow": gridflow, "ds": dataset}
    failed = doctest.DocTestRunner(optionflags=FLAGS).run(test).failed
    assert failed == 0, capsys.readouterr().out


@pytest.fixture(scope="module")
def dataset():
    return gridflow.solve(case_of(ORNSTEIN_UHLENBECK))


def test_every_public_function_has_an_example():
    names = {test.name for module in PUBLIC for test in examples(module)}
    exported = {f"gridflow.{module}.{name}" for name, module in gridflow._HOME.items() if module != "errors"}
    methods = {f"gridflow.accessor.Accessor.{name}" for name, value in vars(Accessor).items() if callable(value)}
    wanted = {n for n in exported | methods if "._" not in n}
    wanted |= {f"gridflow.case.case.Case.{name}" for name in ("from_dict", "replace")}
    wanted -= {"gridflow.case.case.Case"}  # its methods have them
    assert sorted(wanted - names) == []
