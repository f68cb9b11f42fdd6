"""What a person at a prompt or in a notebook sees: names, short texts, tables, pictures, and messages for `logging`."""

import logging
import typing
from importlib.resources import files

import pytest
from helpers import ORNSTEIN_UHLENBECK, QUADRATIC, case_of, surface_case

import gridflow
from gridflow.case.shipped import shipped_cases
from gridflow.html import folded_html, table_html
from gridflow.particles.integrator import RungeKutta2
from gridflow.solver import solve


def test_completion_offers_what_there_is_to_use():
    names = [name for name in dir(gridflow) if not name.startswith("_")]
    assert set(names) == {*gridflow.__all__, "open"}
    assert all(getattr(gridflow, name) is not None for name in names)
    assert not [name for name, value in vars(gridflow).items() if value is typing.Any]


def test_type_checkers_are_told_that_there_are_types():
    assert (files("gridflow") / "py.typed").is_file()


@pytest.mark.parametrize("name", shipped_cases())
def test_cases_are_one_line(name):
    text = repr(gridflow.load_case(name))
    assert name in text
    assert len(text) < 160


def test_runs_grids_and_problems_are_short():
    case = case_of(ORNSTEIN_UHLENBECK)
    run = gridflow.simulate(case, 100, integrator=RungeKutta2(0.05))
    assert repr(run).startswith("<ParticleRun: particles 100; times 3, from 0 to 0.4; energy ")
    assert repr(gridflow.simulate(case, run_cloud(case), integrator=RungeKutta2(0.05))).startswith("<ParticleRun: particles 5;")
    assert repr(run_cloud(case)) == "<Cloud of 5 particles in 1 columns>"
    assert repr(case.problem()) == "<Problem: PotentialEnergy on x 64 cells>"
    assert repr(case_of(QUADRATIC).problem()) == "<Problem: NetworkEnergy on theta 64 cells>"
    assert len(repr(surface_case().grid()).splitlines()) == 3


def run_cloud(case):
    return solve(case).gridflow.sample(5)


def test_tables_for_notebooks_name_everything_and_escape_text():
    case = case_of({**ORNSTEIN_UHLENBECK, "title": "a < b"})
    for shown, part in (
        (case._repr_html_(), "a &lt; b"),
        (case._repr_html_(), "stiffness = 1.5"),
        (case.grid()._repr_html_(), '<td style="text-align: left">interval</td>'),
        (gridflow.simulate(case, 100, integrator=RungeKutta2(0.05))._repr_html_(), "particle run"),
    ):
        assert part in shown
    assert table_html([(1, "<")], ("n", "sign")).count("<tr>") == 2
    assert "<pre>a &amp; b</pre>" in folded_html("more", "a & b")


def test_a_figure_shows_itself():
    """matplotlib leaves that to pyplot, which knows nothing of it; IPython asks for `_repr_png_`."""
    figure = gridflow.plot(solve(case_of(ORNSTEIN_UHLENBECK)))
    assert figure._repr_png_().startswith(b"\x89PNG")


def test_programs_may_listen(caplog):
    with caplog.at_level(logging.INFO, logger="gridflow"):
        solve(case_of(ORNSTEIN_UHLENBECK))
    messages = [record.getMessage() for record in caplog.records]
    assert messages[0].startswith("<Case test: x 64 cells")
    assert messages[-1].startswith("test: completed after ")
    handlers = logging.getLogger("gridflow").handlers
    assert any(isinstance(handler, logging.NullHandler) for handler in handlers)  # else warnings would be printed
