"""Pictures of surfaces: panels hold the masses of the dataset, and every kind of picture is drawn."""

import numpy as np
import pytest
import xarray
from helpers import surface_dataset
from matplotlib.collections import PolyCollection, QuadMesh
from matplotlib.contour import ContourSet
from matplotlib.figure import Figure

from gridflow.case.case import load_case
from gridflow.cli import main
from gridflow.output.globe import draw_globe, surface_blocks, viewpoint
from gridflow.output.plotting import plot
from gridflow.output.projections import Part, blocks
from gridflow.output.reference import reference_of
from gridflow.output.scales import Scale
from gridflow.output.ugrid import cell_points, polygons
from gridflow.solver import solve


@pytest.fixture(scope="module")
def mixed():
    return surface_dataset()[0]


def test_one_part_per_label_with_all_the_mass(mixed):
    (block,) = surface_blocks(mixed, ["s"])
    assert [part.title for part in block.parts] == ["$s$ = −1", "$s$ = 1"]
    assert sum(float((part.density[-1] * part.sizes).sum()) for part in block.parts) == pytest.approx(1.0, rel=1e-13)


def test_surfaces_are_integrated_out_of_the_other_panels(mixed):
    maps, (rest,) = blocks(mixed)
    assert maps == []
    assert sum(part.masses_along("a", [-1]).sum() for part in rest.parts) == pytest.approx(1.0, rel=1e-13)


def test_a_globe_shows_half_of_the_cells(mixed):
    points, corners = cell_points(mixed, "b"), polygons(mixed, "b")
    field = points[:, 2] + 2
    part = Part(xarray.DataArray(field[None], dims=("time", "b")), mixed["b_area"], {})
    for eye in np.eye(3):
        if abs(eye[2]) == 1:
            eye = viewpoint(eye)
        axes = Figure().subplots()
        draw_globe(axes, points, corners, part, 0, eye, Scale(0.0, 3.0, False, 3.0), None)
        (cells,) = (c for c in axes.collections if isinstance(c, PolyCollection))
        shown = cells.get_array()
        assert len(field) / 2 <= shown.size < len(field)
        assert shown[-1] == pytest.approx(field[np.argmax(points @ eye)])  # the nearest cell lies on top
        assert all(np.hypot(*path.vertices.T).max() <= 1 + 1e-12 for path in cells.get_paths())


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
    assert [a.get_title() for a in maps] == [f"$s$ = {s}, t = {t}" for s in ("−1", "1") for t in (0, 1)]
    (pixels,) = (c for c in maps[-1].collections if isinstance(c, QuadMesh))
    largest = float(surface_blocks(dataset, ["s"])[0].parts[1].density[-1].max())
    assert pixels.get_array().max() == pytest.approx(largest)
    meshes = [
        c for a in figure.get_axes() for c in a.collections if isinstance(c, PolyCollection | QuadMesh) and c.norm is pixels.norm
    ]
    assert len(meshes) == 4 * 3 + 1  # maps, both sides of globes, and the bar


def test_a_surface_alone(tmp_path):
    """Without labels and lines."""
    dataset, _ = surface_dataset()
    alone = dataset.isel(s=0, a=0, drop=True).drop_vars("a_bounds")
    alone["cell_volume"] = alone["b_area"]
    assert blocks(alone) == ([], [])
    plot(alone, tmp_path / "a.svg")
    plot(alone, tmp_path / "a.gif")
    assert (tmp_path / "a.gif").stat().st_size > 5000


def test_targets_and_teachers_on_a_sphere():
    """The teacher neurons of bn-sphere as marks, the caps of mmd-sphere as contours."""
    changes = {"space.a.cells": 8, "space.b.level": 1, "time.stop": 0.1, "time.save": 2}
    axes = next(a for a in plot(solve(load_case("bn-sphere").replace(changes))).get_axes() if a.name == "mollweide")
    marks = next(line for line in axes.lines if line.get_marker() == "D")
    np.testing.assert_allclose(marks.get_xdata(), np.arctan2([0.5, 1.0], [1.0, -0.5]))
    np.testing.assert_allclose(marks.get_ydata(), np.arctan2([0.5, 0.5], np.hypot([1.0, -0.5], [0.5, 1.0])))
    changes = {"space.b.level": 2, "time.stop": 0.1, "time.save": 2, "energy.bandwidth": 1.0}
    dataset = solve(load_case("mmd-sphere").replace(changes))
    (target,) = reference_of(dataset).landmarks
    assert target.masses.sum() == pytest.approx(1)
    maps = [a for a in plot(dataset).get_axes() if a.name == "mollweide"]
    assert all(any(isinstance(c, ContourSet) for c in axes.collections) for axes in maps)
