"""The reproductions in `validation/`: their interface, their record, and that none is left out."""

import importlib
import inspect
import math
import sys
import types

import pytest

from validation.__main__ import main
from validation.beside import BESIDE, README, with_six_figures
from validation.claim import CONTRADICTED, MEASURED, NOT_SHOWN, SHOWN, Claim
from validation.runner import run
from validation.sources import SOURCES
from validation.table import FIGURES, HERE, difference, items_of, module_names, readme, recorded, rows_by_item


def claim(value, **other):
    parts = {"name": "a", "source": "S1 Fig. 1", "says": "b", "quantity": "c", "band": (0.0, 1.0), "reason": "d"} | other
    return Claim(value=value, **parts)


@pytest.mark.parametrize("name", module_names())
def test_every_script_is_a_reproduction(name):
    signature = inspect.signature(importlib.import_module(f"validation.{name}").reproduce)
    assert list(signature.parameters) == ["directory", "quick"]


def test_every_reproduction_is_recorded_with_its_pictures():
    parts = recorded()
    assert sorted(parts) == module_names()
    names = [row["name"] for part in parts.values() for row in part["claims"]]
    assert len(names) == len(set(names))
    pictures = {p for part in parts.values() for row in part["claims"] for p in row["pictures"]}
    assert all((FIGURES / p).is_file() for p in pictures)


def test_every_item_of_the_sources_has_a_claim():
    rows = rows_by_item()
    assert set(rows) == {*SOURCES, "gridflow"}, "a claim names an item that validation/sources.py does not list"
    assert [item for item in SOURCES if not rows[item]] == []


def test_the_table_is_that_of_the_record():
    assert (HERE / "README.md").read_text() == readme()


def test_the_readme_shows_six_figures_of_the_sources():
    """Of all four, each beside a picture of the same module as its claims; the text is that of the record."""
    assert README.read_text(encoding="utf-8") == with_six_figures(README.read_text(encoding="utf-8"))
    assert len(BESIDE) == 6
    assert {b.item.split()[0] for b in BESIDE} == {"S1", "S2", "S3", "S4"}
    rows = {row["name"]: (name, row) for name, part in recorded().items() for row in part["claims"]}
    for beside in BESIDE:
        assert beside.item in items_of(rows[beside.claims[0]][1])
        assert len({rows[c][0] for c in beside.claims}) == 1
        assert any(beside.picture in rows[c][1]["pictures"] for c in beside.claims)


def test_verdicts_follow_the_bands():
    assert claim(0.5).verdict == SHOWN
    assert claim(1.5).verdict == NOT_SHOWN
    assert claim(math.nan).verdict == NOT_SHOWN
    assert claim(3.0, opposite=(2.0, math.inf)).verdict == CONTRADICTED
    assert claim(1.5, opposite=(2.0, math.inf)).verdict == NOT_SHOWN
    assert claim(3.0, band=None, reason="").verdict == MEASURED


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({"reason": ""}, "without its reason"),
        ({"band": (1.0, 0.0)}, "must not exceed"),
        ({"opposite": (0.5, 2.0)}, "overlap"),
        ({"band": None, "opposite": (0.5, 2.0)}, "without `band`"),
    ],
)
def test_bands_are_checked(other, said):
    with pytest.raises(ValueError, match=said):
        claim(0.5, **other)


def test_a_changed_verdict_is_a_difference():
    before = {"claims": [claim(0.5).record(), claim(0.5, name="gone").record()]}
    after = {"claims": [claim(1.5).record(), claim(0.5, name="new").record()]}
    said = difference("module", before, after)
    assert len(said) == 3
    assert "a is not shown, recorded as shown" in said[2]
    assert difference("module", before, before) == []
    reworded = {"claims": [claim(0.5, says="other").record(), before["claims"][1]]}
    assert "says of the claim a has changed" in difference("module", before, reworded)[0]
    assert "nothing is recorded" in difference("module", None, after)[0]


def test_a_claim_may_name_several_items():
    assert items_of({"source": "S1 Fig. 1, S1 §4.1"}) == ["S1 Fig. 1", "S1 §4.1"]


@pytest.mark.parametrize("outcome", ["claims", "crash"])
def test_a_module_runs_or_crashes_into_a_row(outcome, monkeypatch, tmp_path):
    def reproduce(directory, quick):
        print(f"quick is {quick}")
        if outcome == "crash":
            raise ZeroDivisionError("no such luck")
        return [claim(0.5)]

    module = types.ModuleType("validation.made_up")
    module.reproduce = reproduce
    monkeypatch.setitem(sys.modules, "validation.made_up", module)
    result = run("made_up", tmp_path, quick=True)
    assert "quick is True" in (tmp_path / "made_up.log").read_text()
    if outcome == "crash":
        assert result["claims"] == []
        assert "no such luck" in result["crash"]
    else:
        assert result["crash"] is None
        assert result["claims"][0]["verdict"] == SHOWN


def test_wrong_words_start_nothing(tmp_path, capsys):
    (tmp_path / "mine.txt").touch()
    for words, said in (
        (["no-such-module"], "there are"),
        (["bn_metric", "-o", str(tmp_path)], "nothing there is overwritten"),
        (["bn_metric", "--jobs", "0"], "positive"),
    ):
        with pytest.raises(SystemExit) as stop:
            main(words)
        assert stop.value.code == 2
        assert said in capsys.readouterr().err
    assert [p.name for p in tmp_path.iterdir()] == ["mine.txt"]
