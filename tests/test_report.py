"""The page about results: complete in itself, safe against what files say, and alive in a browser."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import xarray
from helpers import ORNSTEIN_UHLENBECK, QUADRATIC, case_of

from gridflow.cli import main
from gridflow.errors import InputError
from gridflow.reports import page
from gridflow.reports.equation import equation
from gridflow.reports.figures import CELLS, density_figures, starts, sums
from gridflow.reports.page import report
from gridflow.reports.sections import claims_sections, section_of
from gridflow.solver import solve
from gridflow.verdict.runner import validate

ROOT = Path(__file__).parents[1]
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
OPTIONS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]
OPTIONS += ["--disable-background-networking", "--disable-component-update", "--disable-sync"]
PLANE = {
    **ORNSTEIN_UHLENBECK,
    "space": {n: {"kind": "interval", "bounds": [-4.0, 4.0], "cells": 100} for n in "xy"},
    "initial": [{"density": {n: {"kind": "normal", "mean": 1.0, "deviation": 0.5} for n in "xy"}}],
    "energy": {"kind": "potential", "terms": {n: {"kind": "quadratic"} for n in "xy"}},
    "time": {"stop": 0.2, "save": 5},
}


@pytest.fixture(scope="module")
def plane():
    table = {key: value for key, value in PLANE.items() if key != "exact"}
    return solve(case_of(table))


def data_of(text):
    """The figures in a page, by name."""
    found = re.findall(r'<script type="application/json" id="([^"]+)">(.*?)</script>', text, re.DOTALL)
    return {name: json.loads(content) for name, content in found}


def test_a_page_has_status_certificates_equation_and_figures(plane):
    text = report(plane)
    for part in ("completed", "largest relative error in a step", "<math", "How to get this file", "mass in the outermost cells"):
        assert part in text
    figures = data_of(text)
    assert len(figures["f0-0"]["frames"]) == plane.sizes["time"]
    assert len(figures["f0-0"]["layout"]["sliders"][0]["steps"]) == plane.sizes["time"]


def test_nothing_is_asked_of_others(plane):
    text = report(plane)
    assert "default-src 'none'" in text
    own = text[: text.index("<script>")]
    assert not re.search(r"(src|href)=[\"']?(https?:)?//", own)


def test_text_of_files_cannot_act(plane):
    bad = "</script><script>alert(1)</script><img src=x onerror=alert(2)>"
    hostile = plane.assign_attrs(title=bad, source=bad, warnings=bad, status=bad, scheme=bad)
    text = report(hostile)
    assert "<script>alert" not in text
    assert "<img src=x" not in text


@pytest.mark.parametrize("text", ["a =", "[" * 20000, "a = " + "9" * 5000], ids=["syntax", "depth", "digits"])
def test_cases_of_files_are_read_with_care(plane, text):
    with pytest.raises(InputError, match="the case of a dataset"):
        report(plane.assign_attrs(case=text))


def test_maps_are_coarsened_by_sums_of_masses():
    rng = np.random.default_rng(1)
    masses = rng.random((100, 3))
    rows, columns = starts(100), starts(3)
    assert len(rows) <= CELLS
    assert sums(masses, rows, columns).sum() == pytest.approx(masses.sum(), rel=1e-13)
    assert np.allclose(sums(masses, rows, columns)[1, 2], masses[2:4, 2].sum(), rtol=1e-13)


def test_figures_fit_ten_to_a_page(plane):
    """Ten results below 12 MB, plotly's 4.8 MB among them: 0.7 MB each."""
    assert sum(len(figure.to_json()) for figure in density_figures(plane)) < 7e5


@pytest.mark.parametrize("kind", ["network", "resnet", "mmd", "potential", "interaction", "internal", "sum", "sobolev", "own"])
def test_equations(kind):
    flow = {"temperature": 1.0, "reaction": {"rate": 1.0}, "mobility": {"x": {}}, "diffusion": {"x": 1.0}}
    for text in equation({"energy": {"kind": kind}, "flow": flow}):
        assert text.startswith("<math")
        assert "\\" not in text


def test_a_verdict_has_its_table():
    small = {"counts": [16, 64, 128], "ensembles": 16, "verdict": {"count": 128, "ensembles": 8}}
    limit = {"threshold": 0.5, "reason": "what so few particles resolve"}
    table = {**QUADRATIC, "particles": {**small, "integrator": {"kind": "adaptive", "tolerance": 1e-4}}}
    verdict = validate(case_of({**table, "validation": {"w1": limit, "times": 2}, "time": {"stop": 0.5, "save": 9}}))
    section = section_of(verdict, "verdict")
    assert section.verdict.rows[0][0] == "w1:theta"
    assert {len(row) for row in section.verdict.rows} == {len(section.verdict.head)}
    assert [row[-1] for row in section.verdict.rows] == list(verdict["outcome"].values)
    assert section.state == verdict.attrs["verdict"]
    assert "error of the grid" in report(verdict)


def test_claims():
    sections = claims_sections(ROOT / "validation" / "claims")
    assert len(sections) == len(list((ROOT / "validation" / "claims").glob("*.json")))
    assert any(s.pictures for s in sections)
    assert all(c["verdict"] for s in sections for c in s.claims)


BAD = {
    "nothing": ([], "a report about nothing"),
    "another dataset": (xarray.Dataset({"a": ("x", [1.0])}), "lacks the variables"),
    "no file": ("absent.nc", "no file"),
    "no case": ("absent", "no case"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_sources(name, tmp_path):
    source, message = BAD[name]
    with pytest.raises(InputError, match=message):
        report(source, tmp_path / "page.html")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"claims": [{}], "module": "a"}', '{"claims": 3, "module": "a"}'])
def test_bad_claims(content, tmp_path):
    (tmp_path / "a.json").write_text(content)
    with pytest.raises(InputError, match="no claims"):
        claims_sections(tmp_path)


def test_a_missing_package_is_named(monkeypatch, plane):
    import builtins

    real = builtins.__import__

    def without(name, *words, **named):
        if name.startswith("plotly"):
            raise ImportError("no plotly", name="plotly")
        return real(name, *words, **named)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(InputError, match="without the package plotly"):
        page.libraries()


def test_command_line(tmp_path, plane):
    plane.to_netcdf(tmp_path / "a.nc")
    words = ["report", str(tmp_path / "a.nc"), "-o", str(tmp_path / "page.html"), "--title", "two words"]
    assert main(words) == 0
    assert "<title>two words</title>" in (tmp_path / "page.html").read_text(encoding="utf-8")
    assert main(words) == 2


def test_reproduce(tmp_path, capfd):
    """One small module, as a process of its own, then the page."""
    assert main(["reproduce", "bn_metric", "-o", str(tmp_path / "out")]) == 0
    text = (tmp_path / "out" / "claims.html").read_text(encoding="utf-8")
    assert "G is an inner product" in text
    assert main(["reproduce", "-o", str(tmp_path / "out")]) == 2
    assert "has files" in capfd.readouterr().err


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
@pytest.mark.parametrize("width", [1100, 390])
def test_in_a_browser(tmp_path, plane, width):
    """The slider moves the density, nothing is asked of others, no errors, nothing wider than the screen."""
    from playwright.sync_api import sync_playwright

    report(plane, tmp_path / "page.html")
    said, asked = [], []
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=OPTIONS)
        tab = browser.new_page(viewport={"width": width, "height": 900})
        tab.on("console", lambda m: said.append(m.text))
        tab.on("pageerror", lambda e: said.append(str(e)))
        tab.on("request", lambda r: asked.append(r.url))
        tab.goto((tmp_path / "page.html").as_uri())
        tab.locator(".figure").first.scroll_into_view_if_needed()
        tab.wait_for_selector("#s1 .figure .slider-rect, #s1 .figure .slider-container")
        before = tab.evaluate("JSON.stringify(document.querySelector('.figure').layout.sliders[0].active)")
        box = tab.locator(".figure .slider-rail-touch-rect").first.bounding_box()
        tab.mouse.click(box["x"] + 3, box["y"] + box["height"] / 2)
        tab.wait_for_function("document.querySelector('.figure').layout.sliders[0].active === 0")
        assert before != "0"
        assert tab.evaluate("document.documentElement.scrollWidth") <= width
        browser.close()
    assert said == []
    assert [a for a in asked if not a.startswith(("file:", "data:", "blob:"))] == []
