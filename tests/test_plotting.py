"""Pictures from datasets: what is drawn is what the dataset holds."""

import numpy as np
import pytest
import xarray
from helpers import QUADRATIC, case_of

from gridflow.case.case import load_case
from gridflow.errors import InputError
from gridflow.output.plotting import plot
from gridflow.output.projections import panel_times, projections
from gridflow.solver import solve


@pytest.fixture(scope="module")
def signed():
    return solve(
        load_case("relu-regression").replace({"space.w.cells": 12, "space.b.cells": 10, "time.stop": 0.5, "time.save": 4})
    )


def test_one_panel_row_per_label(signed):
    parts = projections(signed)
    assert list(parts) == ["sign = -1", "sign = 1"]
    np.testing.assert_array_equal(parts["sign = 1"], signed["density"].sel(sign=1.0).transpose("time", "b", "w"))


def test_one_line_with_many_labels_is_a_map():
    """Eight layers × θ: one panel per time instead of forty curves; with four labels or fewer there are curves."""
    case = load_case("wide-resnet").replace({"space.theta.cells": 16, "time.stop": 0.5, "time.save": 2})
    parts = projections(solve(case))
    assert {title: part.dims for title, part in parts.items()} == {"": ("time", "layer", "theta")}


def test_further_lines_are_integrated_out():
    density = xarray.DataArray(np.random.default_rng(0).random((2, 4, 4, 4)), dims=("time", "x", "y", "z"))
    bounds = xarray.DataArray([[0.0, 1.0], [1.0, 3.0], [3.0, 4.0], [4.0, 6.0]], dims=("z", "bounds"))
    dataset = xarray.Dataset(
        {"density": density, "x_bounds": ("x", np.zeros(4)), "y_bounds": ("y", np.zeros(4)), "z_bounds": bounds}
    )
    part = projections(dataset)[""]
    np.testing.assert_allclose(part, np.einsum("txyz,z->txy", density, [1, 2, 1, 2]))


def test_panels_hold_the_first_and_the_last_time(signed):
    assert panel_times(signed) == [0, 1, 2, 3]
    assert panel_times(solve(case_of(QUADRATIC, time__save=101)))[::4] == [0, 100]


@pytest.mark.parametrize("ending", ["png", "pdf", "svg", "gif"])
def test_pictures_of_two_dimensional_densities(signed, tmp_path, ending):
    plot(signed, tmp_path / f"a.{ending}")
    assert (tmp_path / f"a.{ending}").stat().st_size > 5000


def test_the_picture_shows_density_energy_certificates_and_fit(signed):
    figure = plot(signed)
    titles = [axes.get_title() for axes in figure.get_axes()]
    assert "sign = -1, t = 0" in titles
    assert {"energy and dissipation", "certificates", "fit at the last time"} <= set(titles)


def test_one_dimensional_densities_are_curves(tmp_path):
    dataset = solve(case_of(QUADRATIC))
    axes = plot(dataset, tmp_path / "a.png").get_axes()[0]
    np.testing.assert_array_equal(axes.lines[-1].get_ydata(), dataset["density"].isel(time=-1))
    plot(dataset, tmp_path / "a.gif")


def test_foreign_files_are_refused(tmp_path):
    xarray.Dataset({"a": 1}).to_netcdf(tmp_path / "a.nc")
    with pytest.raises(InputError, match="lacks the variables"):
        plot(tmp_path / "a.nc", tmp_path / "a.png")
    with pytest.raises(InputError, match="existing directory"):
        plot(tmp_path / "a.nc", tmp_path / "no" / "a.png")


def test_mp4_needs_an_ffmpeg(signed, tmp_path, monkeypatch):
    monkeypatch.setattr("matplotlib.animation.FFMpegWriter.isAvailable", lambda: False)
    with pytest.raises(InputError, match="gridflow\\[movie\\]"):
        plot(signed, tmp_path / "a.mp4")
