"""What the README shows is run: its Python, its case."""

import re
from pathlib import Path

import numpy as np
import pytest

from gridflow.case.case import load_case
from gridflow.solver import solve

README = Path(__file__).parents[1] / "README.md"
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)


def blocks(language):
    return [text for name, text in BLOCKS if name == language]


def test_the_case_of_ones_own_runs(tmp_path):
    (tmp_path / "mine.toml").write_text(blocks("toml")[0], encoding="utf-8")
    x = np.linspace(-1, 1, 9)
    (tmp_path / "mine.csv").write_text("x,y\n" + "\n".join(f"{a},{np.sin(2 * a)}" for a in x))
    case = load_case(tmp_path / "mine.toml")
    dataset = solve(case.replace({"space.w.cells": 16, "space.b.cells": 16, "time.stop": 0.5}))
    assert dataset.attrs["status"] == "completed"


def python_with(words):
    """The block that contains these words."""
    return next(text for text in blocks("python") if words in text)


@pytest.mark.slow
@pytest.mark.parametrize("words", ["bn-circle", "class Attraction"])
def test_the_python_runs(words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    exec(python_with(words), names)
    assert names["dataset"].attrs["status"] == "completed"


def test_the_particles_of_ones_own_agree(tmp_path, monkeypatch):
    """A thousand random ones resolve less than the thresholds of the case, and agree."""
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    exec(next(text for text in blocks("python") if "particles=" in text), names)
    assert names["verdict"].attrs["verdict"] == "inconclusive"
    assert names["verdict"].attrs["agrees"] == 1


def test_the_methods_of_datasets_run():
    """A thousand particles are about deviation/√1000 = 0.02 from the density at the end; its mean tends to 0.3."""
    names: dict = {}
    exec(python_with("gridflow.concat"), names)
    assert names["error"][-1] < 0.1
    assert names["mean"][-1] == pytest.approx(0.3, abs=0.1)
    assert names["joined"].sizes["flow_temperature"] == 3
    assert names["again"].flow.temperature == 0.1


def test_the_energy_of_ones_own_contracts():
    """The variance of the README's attraction falls like e^{−2t}."""
    names: dict = {}
    code = python_with("class Attraction").replace('"exact": None', '"exact": None, "time.stop": 0.5, "space.x.cells": 512')
    exec(code, names)
    energy = names["dataset"]["energy"].to_numpy()
    assert energy[-1] / energy[0] == pytest.approx(np.exp(-1), rel=1e-3)  # second order, h/σ = 1/8 at the end
