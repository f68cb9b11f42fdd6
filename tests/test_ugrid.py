"""Datasets with surfaces: UGRID topology, the same in memory and in a file that plain xarray opens."""

import netCDF4
import numpy as np
import pytest
import xarray
from helpers import surface_case, surface_dataset

from gridflow.output.dataset import FileWriter, Record, layout_of
from gridflow.output.part import Part
from gridflow.output.schema import RECORDS
from gridflow.output.ugrid import cell_points, marginal, mesh_names, polygons
from gridflow.paths import part_path
from gridflow.space.mixture import Component, mixture_masses


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """The same density on labels × sphere × interval from both writers; the file opened with plain xarray."""
    path = tmp_path_factory.mktemp("data") / "a.nc"
    memory, _ = surface_dataset()
    surface_dataset(path)
    with xarray.open_dataset(path) as file:
        return memory, file.load(), path


def test_the_file_opens_with_plain_xarray_and_equals_the_result_in_memory(pair):
    memory, file, _ = pair
    assert set(memory.variables) == set(file.variables)
    for name in memory.variables:
        np.testing.assert_array_equal(memory[name], file[name])
        assert memory[name].dims == file[name].dims
        assert memory[name].dtype == file[name].dtype
        np.testing.assert_equal(dict(memory[name].attrs), dict(file[name].attrs))
    assert {"b_lon", "b_lat", "b_area"} <= set(memory.coords) & set(file.coords)
    assert set(memory.attrs) | {"records"} == set(file.attrs)


def test_a_dataset_in_memory_can_be_written_and_read(pair, tmp_path):
    memory, file, _ = pair
    memory.to_netcdf(tmp_path / "b.nc")
    with xarray.open_dataset(tmp_path / "b.nc") as again:
        assert again.drop_attrs().equals(file.drop_attrs())


def test_topology(pair):
    _, file, path = pair
    assert file.attrs["Conventions"] == "CF-1.11 UGRID-1.0"
    topology = file["b_mesh"].attrs
    assert topology["cf_role"] == "mesh_topology"
    assert topology["topology_dimension"] == 2
    for key in ("node_coordinates", "face_coordinates", "face_node_connectivity"):
        for name in topology[key].split():
            assert name in file.variables
    assert topology["face_dimension"] == "b"
    assert mesh_names(file) == ["b"]
    for name in ("density", "cell_volume", "b_area"):
        assert "b" in file[name].dims
        assert file[name].attrs["mesh"] == "b_mesh"
        assert file[name].attrs["location"] == "face"
    with netCDF4.Dataset(path) as raw:
        faces = raw.variables["b_face_nodes"]
        assert faces.dtype == np.int32
        assert faces.start_index == 0
        assert faces.start_index.dtype == np.int32
        table = faces[:]
        assert table.mask.sum() == 12  # the pentagons
        assert table.min() == 0
        assert table.max() == raw.dimensions["b_node"].size - 1
        for axis, units in (("lon", "degrees_east"), ("lat", "degrees_north")):
            for prefix in ("b", "b_node"):
                assert raw.variables[f"{prefix}_{axis}"].units == units
                assert "_FillValue" not in raw.variables[f"{prefix}_{axis}"].ncattrs()


def test_the_geometry_is_that_of_the_mesh(pair):
    _, file, _ = pair
    mesh = next(f for f in surface_case().grid().factors if f.columns == 3)
    np.testing.assert_allclose(cell_points(file, "b"), mesh.points, atol=1e-15)
    corners = polygons(file, "b")
    for cell in (0, 17, mesh.size - 1):
        own = mesh.nodes[mesh.corners[mesh.first[cell] : mesh.first[cell + 1]]]
        np.testing.assert_allclose(corners[cell, : len(own)], own, atol=1e-15)
        np.testing.assert_allclose(corners[cell, len(own) :], np.broadcast_to(own[-1], (6 - len(own), 3)), atol=1e-15)
    np.testing.assert_allclose(file["b_area"], mesh.volumes)
    lon, lat = np.radians(file["b_lon"]), np.radians(file["b_lat"])
    np.testing.assert_allclose(np.cos(lat) * np.cos(lon), mesh.points[:, 0], atol=1e-14)


def test_marginals(pair):
    _, file, _ = pair
    masses = marginal(file, "b") * file["b_area"]
    np.testing.assert_allclose(masses.sum("b"), 1.0, rtol=1e-13)
    labels = marginal(file, "b", ("s",))
    assert labels.dims == ("time", "s", "b")
    np.testing.assert_allclose(labels.sum("s"), marginal(file, "b"), rtol=1e-12)


def test_ellipsoids_name_their_matrix_and_show_the_round_image():
    covariance = [[1.0, 0.3, 0.1], [0.3, 2.0, -0.2], [0.1, -0.2, 0.5]]
    round_one, _ = surface_dataset()
    dataset, _ = surface_dataset(b={"kind": "ellipsoid", "level": 1, "covariance": covariance})
    np.testing.assert_allclose(dataset["b_points"].attrs["covariance"], np.ravel(covariance))
    np.testing.assert_allclose(dataset["b_node_lat"], round_one["b_node_lat"], atol=1e-12)
    np.testing.assert_allclose(cell_points(dataset, "b"), cell_points(round_one, "b"), atol=1e-15)


def test_a_density_from_a_file_starts_a_run(pair):
    _, file, path = pair
    grid = surface_case().grid()
    masses = mixture_masses([Component(file=str(path))], grid, path.parent, "initial")
    last = (file["density"][-1] * file["cell_volume"]).transpose(*grid.order)
    np.testing.assert_allclose(masses, last, rtol=1e-12)


def test_names_that_the_topology_needs_are_reserved():
    with pytest.raises(ValueError, match="a factor called 'b_lon'"):
        surface_case(b_lon={"kind": "interval", "bounds": [0.0, 1.0], "cells": 4}).grid()


def test_a_part_can_be_continued(tmp_path):
    case = surface_case()
    grid = case.grid()
    writer = FileWriter(tmp_path / "a.nc", layout_of(case, grid, None, {"energy": RECORDS["energy"]}))
    writer.append(Record(0.0, np.ones(grid.shape), None, {"energy": 1.0}))
    writer.suspend({})
    begin, digest = writer.part.begin, writer.part.digest
    layout = layout_of(case, grid, None, {"energy": RECORDS["energy"]})
    part = Part.resumed(part_path(tmp_path / "a.nc"), layout, begin, 1, digest)
    again = FileWriter(tmp_path / "a.nc", layout, part)
    again.append(Record(1.0, np.ones(grid.shape), None, {"energy": 0.5}))
    assert again.finish({}).last["energy"] == 0.5
    assert again.dataset()["time"].size == 2
