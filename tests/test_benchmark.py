"""The benchmark: every line runs small, what is missing is said, the record is what the picture in the README shows."""

import json

import pytest

from validation.benchmark.__main__ import FIGURE, RECORD, main, table
from validation.benchmark.exact import ERRORS, PROBLEMS, TITLES
from validation.benchmark.lines import LINES
from validation.benchmark.measure import MISSING, Point, Row, exponent, machine, medians
from validation.benchmark.picture import draw


@pytest.mark.slow
@pytest.mark.parametrize("name", [*PROBLEMS, *LINES])
def test_every_line_runs_small(name, tmp_path, capsys):
    assert main(["--quick", "--only", name, "-o", str(tmp_path)]) == 0
    result = json.loads((tmp_path / "benchmark.json").read_text())
    found = result["points"] or result["rows"][name]
    assert found
    assert (tmp_path / "benchmark.png").is_file() == (name in PROBLEMS)
    assert result["mode"] == "quick"
    assert capsys.readouterr().out


def test_a_quick_problem_finds_a_second_order(tmp_path):
    """Twice as many cells, a quarter of the error: what is drawn are errors against the exact solution."""
    main(["--quick", "--only", "riesz-mmd", "-o", str(tmp_path)])
    points = json.loads((tmp_path / "benchmark.json").read_text())["points"]
    coarse, fine = (p for p in points if p["method"] == "gridflow")
    assert (coarse["size"], fine["size"]) == (32, 64)
    assert 3 < coarse["error"] / fine["error"] < 5.5


def test_the_record_is_complete_and_names_no_place():
    text = RECORD.read_text(encoding="utf-8")
    result = json.loads(text)
    assert {p["problem"] for p in result["points"]} <= set(PROBLEMS)
    assert set(result["rows"]) <= set(LINES)
    assert result["mode"] == "full"
    assert set(result["machine"]) == set(machine())
    assert "/home" not in text
    assert FIGURE.is_file()


def test_every_problem_has_a_title_and_an_error():
    assert set(PROBLEMS) <= set(TITLES)
    assert set(PROBLEMS) <= set(ERRORS)


def test_a_picture_needs_no_peer(tmp_path):
    draw([Point("riesz-mmd", "gridflow", 32, 0.1, 1e-2), Point("riesz-mmd", "gridflow", 64, 0.2, 3e-3)], tmp_path / "a.png")
    assert (tmp_path / "a.png").stat().st_size > 1000


def test_measures():
    assert exponent([1, 2, 4], [3.0, 12.0, 48.0]) == pytest.approx(2.0)
    calls = []
    clock = iter(range(100))
    times, ratios = medians({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, 3, lambda: next(clock))
    assert calls == ["a", "b"] * 4
    assert times == {"a": 1, "b": 1}
    assert ratios == {"a": 1, "b": 1}
    assert table([], {"x": [Row("speed", "s", 0.5, {"other": MISSING})]}) == f"speed: 0.5 s (other {MISSING})"


def test_unknown_lines_are_refused(capsys):
    with pytest.raises(SystemExit):
        main(["--only", "nothing"])
    assert "there are fokker-planck" in capsys.readouterr().err
