"""Remap to latitude and longitude: mass is conserved, constants stay constants, harmonics converge at second order."""

import numpy as np
import pytest
import xarray
from helpers import QUADRATIC, case_of, surface_dataset

from gridflow.errors import InputError
from gridflow.output.remap import box_areas, number_of_boxes, overlaps, remap
from gridflow.output.ugrid import marginal
from gridflow.solver import solve
from gridflow.space.sphere import Sphere


@pytest.mark.parametrize("degrees", [1.0, 7.5, 90.0])
@pytest.mark.parametrize("level", [0, 3])
def test_areas_are_conserved(level, degrees):
    mesh = Sphere(level=level).factor("b")
    area = np.repeat(box_areas(number_of_boxes(degrees)), 2 * number_of_boxes(degrees))
    assert area.sum() == pytest.approx(4 * np.pi, rel=1e-13)
    weights = overlaps(mesh.points, mesh.volumes, number_of_boxes(degrees))
    assert weights.min() >= 0
    np.testing.assert_allclose(weights.T @ np.ones(area.size), mesh.volumes, rtol=1e-12)
    np.testing.assert_allclose(weights @ np.ones(mesh.size), area, rtol=5e-3)  # what is stated in gridflow.output.remap


def smooth(x, y, z):
    return 1 + x * y + z / 2 + z * z


def box_averages(n_lat, parts=40):
    """Averages of `smooth` by the midpoint rule with parts² points per box."""
    lat = (np.arange(n_lat * parts) + 0.5) / (n_lat * parts) * np.pi - np.pi / 2
    lon = (np.arange(2 * n_lat * parts) + 0.5) / (n_lat * parts) * np.pi - np.pi
    lat, lon = np.meshgrid(lat, lon, indexing="ij")
    values = smooth(np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat))
    parted = [(f * np.cos(lat)).reshape(n_lat, parts, 2 * n_lat, parts).sum(axis=(1, 3)) for f in (values, np.ones(lat.shape))]
    return (parted[0] / parted[1]).ravel()


def test_a_harmonic_converges_at_second_order():
    n_lat, errors = 18, []
    area, exact = np.repeat(box_areas(n_lat), 2 * n_lat), box_averages(n_lat)
    for level in (2, 3, 4, 5):
        mesh = Sphere(level=level).factor("b")
        values = overlaps(mesh.points, mesh.volumes, n_lat) @ smooth(*mesh.points.T) / area
        errors.append(np.sqrt(area @ (values - exact) ** 2 / (4 * np.pi)))
    slope = -np.polyfit(range(4), np.log2(errors), 1)[0]
    assert slope > 1.9, errors
    assert errors[-1] < 5e-4


@pytest.mark.parametrize("kind", ["sphere", "ellipsoid"])
def test_a_dataset(kind, tmp_path):
    factor = {"kind": kind, "level": 2} | ({} if kind == "sphere" else {"covariance": np.diag([3.0, 1.0, 0.5]).tolist()})
    dataset, _ = surface_dataset(b=factor)
    result = remap(dataset, 15)
    assert result["density"].dims == ("time", "lat", "lon")
    assert result["density"].shape == (2, 12, 24)
    np.testing.assert_allclose((result["density"] * result["cell_area"]).sum(("lat", "lon")), 1.0, rtol=1e-12)
    assert result.attrs["constant_error"] < 1e-3
    assert {"energy", "mass"} <= set(result)
    assert not [v for v in result.variables if str(v).startswith("b_")]
    peak = result["density"][-1].argmax(("lat", "lon"))
    assert abs(float(result["lat"][peak["lat"]]) - np.degrees(np.arctan2(0.8, 0.6))) < 10
    assert abs(float(result["lon"][peak["lon"]])) < 10
    np.testing.assert_allclose(result["density"].max(), marginal(dataset, "b").max(), rtol=0.2)
    result.to_netcdf(tmp_path / "a.nc")
    with xarray.open_dataset(tmp_path / "a.nc") as file:
        np.testing.assert_array_equal(file["density"], result["density"])


def test_other_factors_can_be_kept():
    dataset, grid = surface_dataset()
    result = remap(dataset, 30, integrate=False)
    assert result["density"].dims == ("time", "s", "a", "lat", "lon")
    other = np.multiply.outer(np.ones(2), next(f for f in grid.factors if f.name == "a").volumes)
    masses = np.einsum("tsayx,sa,yx->tsa", result["density"], other, result["cell_area"])
    exact = (dataset["density"] * dataset["cell_volume"]).sum("b").transpose("time", "s", "a")
    np.testing.assert_allclose(masses, exact, rtol=1e-12)


def test_several_surfaces_need_a_name():
    dataset, _ = surface_dataset(c={"kind": "sphere", "level": 0})
    with pytest.raises(InputError, match="name the surface"):
        remap(dataset, 30)
    with pytest.raises(InputError, match=r"the surface 'd'[\s\S]*one of: "):
        remap(dataset, 30, mesh="d")
    result = remap(dataset, 30, mesh="c")
    np.testing.assert_allclose((result["density"] * result["cell_area"]).sum(("lat", "lon")), 1.0, rtol=1e-12)


@pytest.mark.parametrize("degrees", [0.0, -1.0, 7.0, 0.1, 180.0, float("inf"), float("nan")])
def test_wrong_widths_are_refused(degrees):
    dataset, _ = surface_dataset()
    with pytest.raises(InputError, match="180 / a whole number"):
        remap(dataset, degrees)


def test_a_result_without_surface_is_refused():
    with pytest.raises(InputError, match="a result with a sphere or an ellipsoid"):
        remap(solve(case_of(QUADRATIC, time__stop=0.01, time__save=2)), 10)
