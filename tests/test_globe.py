"""Pictures of surfaces: panels hold the masses of the dataset, and every kind of picture is drawn."""

import numpy as np
import pytest
from helpers import surface_dataset
from matplotlib.collections import PolyCollection, QuadMesh
from matplotlib.figure import Figure

from gridflow.cli import main
from gridflow.output.globe import colour_scale, draw_globe, surface_panels, viewpoint
from gridflow.output.plotting import plot
from gridflow.output.projections import projections
from gridflow.output.ugrid import cell_points, polygons


@pytest.fixture(scope="module")
def mixed():
    return surface_dataset()[0]


def test_one_panel_per_surface_and_label_with_all_its_mass(mixed):
    panels = surface_panels(mixed, ["s"])
    assert list(panels) == [("b", "b, s = -1"), ("b", "b, s = 1")]
    assert sum(float((part[-1] * mixed["b_area"]).sum()) for part in panels.values()) == pytest.approx(1.0, rel=1e-13)


def test_surfaces_are_integrated_out_of_the_other_panels(mixed):
    parts = projections(mixed)
    assert list(parts) == ["s = -1", "s = 1"]
    widths = mixed["a_bounds"].isel(bounds=1) - mixed["a_bounds"].isel(bounds=0)
    assert sum(float((part[-1] * widths).sum()) for part in parts.values()) == pytest.approx(1.0, rel=1e-13)


def test_a_globe_shows_half_of_the_cells(mixed):
    points, corners = cell_points(mixed, "b"), polygons(mixed, "b")
    field = points[:, 2] + 2
    for eye in np.eye(3):
        if abs(eye[2]) == 1:
            eye = viewpoint(eye)
        axes = Figure().subplots()
        draw_globe(axes, points, corners, field, eye, colour_scale(field))
        (cells,) = (c for c in axes.collections if isinstance(c, PolyCollection))
        shown = cells.get_array()
        assert len(field) / 2 <= shown.size < len(field)
        assert shown[-1] == pytest.approx(field[np.argmax(points @ eye)])  # the nearest cell lies on top
        assert all(np.hypot(*path.vertices.T).max() <= 1 + 1e-12 for path in cells.get_paths())


def test_scales():
    assert colour_scale(np.array([1.0, 2.0])).vmin == 0
    assert colour_scale(np.array([0.0, 2.0])).vmin == pytest.approx(2e-6)
    assert colour_scale(np.zeros(2)).vmax == 1


def test_viewpoints_keep_north_up():
    for peak in (np.array([0.0, 0.0, 1.0]), np.array([0.0, 0.6, -0.8])):
        view = viewpoint(peak)
        assert np.linalg.norm(view) == pytest.approx(1)
        assert abs(view[2]) == pytest.approx(np.sin(np.radians(35)))


@pytest.mark.parametrize("factors", [{}, {"c": {"kind": "interval", "bounds": [0.0, 1.0], "cells": 4}}], ids=["line", "plane"])
def test_pictures(tmp_path, factors, monkeypatch):
    monkeypatch.chdir(tmp_path)
    dataset, _ = surface_dataset(tmp_path / "a.nc", **factors)
    assert main(["plot", "a.nc"]) == 0
    assert (tmp_path / "a.png").stat().st_size > 5000
    figure = plot(dataset)
    maps = [a for a in figure.get_axes() if a.name == "mollweide"]
    assert [a.get_title() for a in maps] == [f"b, s = {s}, t = {t}" for s in (-1, 1) for t in (0, 1)]
    (pixels,) = (c for c in maps[-1].collections if isinstance(c, QuadMesh))
    assert pixels.get_array().max() == pytest.approx(float(surface_panels(dataset, ["s"])["b", "b, s = 1"][-1].max()))


def test_a_surface_alone(tmp_path):
    """Without labels and lines."""
    dataset, _ = surface_dataset()
    alone = dataset.isel(s=0, a=0, drop=True).drop_vars("a_bounds")
    alone["cell_volume"] = alone["b_area"]
    assert projections(alone) == {}
    plot(alone, tmp_path / "a.svg")
    plot(alone, tmp_path / "a.gif")
    assert (tmp_path / "a.gif").stat().st_size > 5000
