"""`gridflow export`: what is written is what the result holds; errors leave nothing behind."""

import csv
import json
import sys

import cf_xarray  # noqa: F401  (registers ds.cf)
import netCDF4
import numpy as np
import pandas
import pytest
import xarray
from helpers import QUADRATIC, case_of, surface_dataset
from pyarrow import parquet

from gridflow.cli import main
from gridflow.output import export, table
from gridflow.solver import solve


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def line(here):
    return solve(case_of(QUADRATIC, time__stop=0.2, time__save=3), here / "line.nc")


@pytest.fixture
def surface(here):
    surface_dataset(here / "surface.nc")
    with xarray.open_dataset(here / "surface.nc") as file:
        return file.load()


def read_table(path):
    with path.open(encoding="utf-8") as file:
        header, *rows = csv.reader(file)
    return dict(zip(header, np.array(rows, dtype=float).T, strict=True))


def test_a_density_as_a_table_has_every_digit(here, line, capsys):
    assert main(["export", "line.nc", "-o", "a.csv"]) == 0
    assert capsys.readouterr().err == "wrote a.csv\n"
    table = read_table(here / "a.csv")
    assert list(table) == ["time", "theta", "cell_volume", "density"]
    np.testing.assert_array_equal(table["density"].reshape(line["density"].shape), line["density"])
    np.testing.assert_array_equal(table["theta"][:64], line["theta"])
    np.testing.assert_array_equal(table["time"][::64], line["time"])


def test_numbers_over_time(here, line):
    assert main(["export", "line.nc", "-o", "a.csv", "--variable", "energy", "--variable", "steps"]) == 0
    table = read_table(here / "a.csv")
    assert list(table) == ["time", "energy", "steps"]
    np.testing.assert_array_equal(table["energy"], line["energy"])


def test_chosen_times(here, line):
    assert main(["export", "line.nc", "-o", "a.csv", "--time", "last", "--time", "0.1", "--variable", "mass"]) == 0
    np.testing.assert_array_equal(read_table(here / "a.csv")["time"], [0.1, 0.2])


def test_netcdf_is_compressed_and_complete(here, surface):
    assert main(["export", "surface.nc", "-o", "a.nc"]) == 0
    with xarray.open_dataset("a.nc") as file:
        assert file.reset_coords().identical(surface.reset_coords())
    with netCDF4.Dataset("a.nc") as raw:
        assert raw.variables["density"].filters()["zlib"]
        assert raw.variables["b_face_nodes"].dtype == np.int32


def test_a_chosen_variable_brings_its_surface(here, surface):
    assert main(["export", "surface.nc", "-o", "a.nc", "--variable", "density", "--time", "last"]) == 0
    with xarray.open_dataset("a.nc") as file:
        assert file.sizes["time"] == 1
        assert {"density", "b_mesh", "b_node_lon", "b_node_lat", "b_face_nodes", "b_lon", "b_lat", "b_area"} <= set(
            file.variables
        )
        assert "energy" not in file


def test_a_surface_as_a_table(here, surface):
    assert main(["export", "surface.nc", "-o", "a.csv", "--time", "first"]) == 0
    table = read_table(here / "a.csv")
    assert {"time", "s", "b", "a", "b_lon", "b_lat", "density"} <= set(table)
    assert table["b"].max() == surface.sizes["b"] - 1
    assert (table["density"] @ table["cell_volume"]) == pytest.approx(1.0, rel=1e-13)


NAMING = ("bounds", "cell_measures", "coordinates", "mesh", "node_coordinates", "face_coordinates", "face_node_connectivity")
"""Attributes of CF and UGRID that name other variables."""


@pytest.mark.parametrize("words", [[], ["--latlon", "30"], ["--latlon", "30", "--marginal"]], ids=" ".join)
@pytest.mark.parametrize("source", ["line", "surface"])
def test_what_attributes_name_is_there(here, request, source, words):
    """Every variable on its own: what its attributes, and those of what comes along, name is in the file."""
    dataset = request.getfixturevalue(source)
    if source == "line" and words:
        return
    for name in ("density", "energy"):
        assert main(["export", f"{source}.nc", "-o", "a.nc", "--overwrite", "--variable", name, *words]) == 0
        with netCDF4.Dataset("a.nc") as raw:
            named = [
                word
                for variable in raw.variables.values()
                for attribute in set(NAMING) & set(variable.ncattrs())
                for word in variable.getncattr(attribute).split()
                if not word.endswith(":")
            ]
            assert set(named) <= set(raw.variables)
            if name == "density" and source == "line":
                np.testing.assert_array_equal(raw.variables["theta_bounds"][:], dataset["theta_bounds"])


@pytest.mark.parametrize("ending", ["nc", "csv"])
def test_latitudes_and_longitudes_keep_the_other_factors(here, surface, ending):
    assert main(["export", "surface.nc", "-o", f"a.{ending}", "--latlon", "30", "--time", "last", "--variable", "density"]) == 0
    if ending == "csv":
        table = read_table(here / "a.csv")
        assert set(table) == {"time", "s", "a", "lat", "lon", "cell_area", "cell_volume", "density"}
        assert table["density"] @ table["cell_volume"] == pytest.approx(1.0, rel=1e-12)
        return
    with xarray.open_dataset("a.nc") as file:
        assert file["density"].dims == ("time", "s", "a", "lat", "lon")
        masses = (file["density"] * file["cell_volume"]).sum(["lat", "lon"])[0]
        exact = (surface["density"] * surface["cell_volume"]).isel(time=-1).sum("b")
        np.testing.assert_allclose(masses, exact.transpose("s", "a"), rtol=1e-12)


@pytest.mark.parametrize("ending", ["nc", "csv"])
def test_the_marginal_on_latitudes_and_longitudes(here, surface, ending):
    words = ["--latlon", "30", "--marginal", "--time", "last", "--variable", "density"]
    assert main(["export", "surface.nc", "-o", f"a.{ending}", *words]) == 0
    if ending == "csv":
        table = read_table(here / "a.csv")
        assert set(table) == {"time", "lat", "lon", "cell_area", "density"}
        assert table["density"] @ table["cell_area"] == pytest.approx(1.0, rel=1e-12)
        return
    with xarray.open_dataset("a.nc") as file:
        assert file["density"].dims == ("time", "lat", "lon")
        assert float((file["density"] * file["cell_area"]).sum()) == pytest.approx(1.0, rel=1e-12)


ELLIPSOID = {"kind": "ellipsoid", "level": 1, "covariance": [[2.0, 0.3, 0.0], [0.3, 1.0, 0.1], [0.0, 0.1, 0.5]]}


@pytest.mark.parametrize(("along", "other"), [("b", "c"), ("c", "b")])
def test_one_of_several_surfaces(here, capsys, along, other):
    """The one that is remapped goes, the other stays with its topology, and so does every mass; or its mass is summed over."""
    dataset, _ = surface_dataset(here / "two.nc", s={"kind": "labels", "values": [1.0]}, c=ELLIPSOID)
    assert main(["export", "two.nc", "-o", "a.nc", "--latlon", "45"]) == 2
    assert "fix: name the surface: --along b" in capsys.readouterr().err
    words = ["--latlon", "45", "--time", "last", "--along", along]
    assert main(["export", "two.nc", "-o", "a.nc", *words]) == 0
    masses = (dataset["density"] * dataset["cell_volume"]).isel(time=-1)
    with xarray.open_dataset("a.nc") as file:
        assert file["density"].attrs["mesh"] == f"{other}_mesh"
        assert {f"{other}_face_nodes", f"{other}_node_lon", f"{other}_area"} <= set(file.variables)
        assert not [v for v in file.variables if v.startswith(f"{along}_")]
        kept = (file["density"] * file["cell_volume"]).sum(["lat", "lon"])[0]
        np.testing.assert_allclose(kept.transpose("s", other, "a"), masses.sum(along).transpose("s", other, "a"), rtol=1e-12)
    assert main(["export", "two.nc", "-o", "m.nc", *words, "--marginal"]) == 0
    with xarray.open_dataset("m.nc") as file:
        assert float((file["density"] * file["cell_area"]).sum()) == pytest.approx(1.0, rel=1e-12)
        assert not [v for v in file.variables if v.startswith(("b_", "c_"))]


@pytest.mark.parametrize("source", ["line", "surface"])
def test_a_zarr_store_is_the_result(here, request, source):
    dataset = request.getfixturevalue(source)
    assert main(["export", f"{source}.nc", "-o", "a.zarr"]) == 0
    with xarray.open_zarr("a.zarr") as store, xarray.open_dataset(f"{source}.nc") as file:
        assert store.load().reset_coords().identical(file.load().reset_coords())
        assert store["density"].encoding["chunks"] == dataset["density"].shape
    assert sorted(p.name for p in here.iterdir()) == ["a.zarr", f"{source}.nc"]


def test_chunks_are_cut_along_the_first_dimensions():
    """2²⁴ bytes hold 2²¹ numbers."""
    shapes = {
        (5, 64): (5, 64),
        (100, 1 << 10, 1 << 10): (2, 1 << 10, 1 << 10),
        (9, 1 << 12, 1 << 10): (1, 1 << 11, 1 << 10),
        (): (),
    }
    for shape, chunks in shapes.items():
        values = np.broadcast_to(0.0, shape)
        assert export.chunks_of(xarray.Variable(tuple("txyz"[: len(shape)]), values)) == chunks


def test_a_parquet_table_is_the_csv(here, surface):
    for ending in ("csv", "parquet"):
        assert main(["export", "surface.nc", "-o", f"a.{ending}"]) == 0
    expected, found = read_table(here / "a.csv"), pandas.read_parquet(here / "a.parquet")
    assert list(found) == list(expected)
    for name, values in expected.items():
        np.testing.assert_array_equal(found[name], values)
    schema = parquet.read_schema(here / "a.parquet")
    assert schema.field("b_lat").metadata[b"units"] == b"degrees_north"
    assert json.loads(schema.metadata[b"gridflow"])["case"] == surface.attrs["case"]


@pytest.mark.parametrize("ending", ["csv", "parquet"])
@pytest.mark.parametrize("variable", ["density", "energy"])
def test_a_table_in_pieces_is_the_same(here, surface, monkeypatch, ending, variable):
    for rows, name in ((1 << 18, "whole"), (1, "pieces")):
        monkeypatch.setattr(table, "ROWS", rows)
        assert main(["export", "surface.nc", "-o", f"{name}.{ending}", "--variable", variable]) == 0
    if ending == "csv":
        assert (here / "whole.csv").read_bytes() == (here / "pieces.csv").read_bytes()
        return
    assert parquet.read_table("whole.parquet").equals(parquet.read_table("pieces.parquet"))
    assert parquet.ParquetFile("pieces.parquet").num_row_groups == surface.sizes["time"]


def test_cf_readers_find_axes_bounds_and_measures(here, surface):
    assert main(["export", "surface.nc", "-o", "a.nc"]) == 0
    with xarray.open_dataset("a.nc") as file:
        assert file.cf.axes == {"T": ["time"]}
        assert file.cf.standard_names["longitude"] == ["b_lon", "b_node_lon"]
        assert file.cf.bounds == {"a": ["a_bounds"]}
        assert file["density"].cf.cell_measures == {"volume": ["cell_volume"]}


def test_ugrid_readers_find_the_surface(here, surface):
    """Their areas are those between great circles through the corners, as ours, by quadrature: 4e-5 on such wide cells."""
    uxarray = pytest.importorskip("uxarray")
    assert main(["export", "surface.nc", "-o", "a.nc"]) == 0
    grid = uxarray.open_grid("a.nc")
    np.testing.assert_allclose(grid.face_areas, surface["b_area"], rtol=1e-4)


WRONG = {
    "missing file": (["no.nc", "-o", "a.csv"], ["no file 'no.nc'"]),
    "foreign file": (["old.nc", "-o", "a.csv"], ["cannot be read as NetCDF"]),
    "wrong ending": (["line.nc", "-o", "a.txt"], ["ends in .csv, .nc, .parquet, .pvd, .vtu, .zarr"]),
    "existing output": (["line.nc", "-o", "old.nc"], ["'old.nc' exists", "--overwrite"]),
    "unknown variable": (["line.nc", "-o", "a.csv", "--variable", "densty"], ["did you mean 'density'"]),
    "different dimensions": (["line.nc", "-o", "a.csv", "--variable", "density", "--variable", "energy"], ["several tables"]),
    "unsaved time": (["line.nc", "-o", "a.csv", "--time", "0.12"], ["saved time: 0, 0.1, 0.2", "write 0.1"]),
    "wrong time": (["line.nc", "-o", "a.csv", "--time", "lst"], ["did you mean 'last'"]),
    "no time": (["line.nc", "-o", "a.csv", "--time", "nan"], ["a saved time: 0, 0.1, 0.2", "write 0.2"]),
    "marginal alone": (["line.nc", "-o", "a.csv", "--marginal"], ["add --latlon"]),
    "along alone": (["line.nc", "-o", "a.csv", "--along", "theta"], ["--along without --latlon", "add --latlon"]),
    "drawn latitudes": (["line.nc", "-o", "a.vtu", "--latlon", "10"], ["leave out --latlon"]),
    "two remapped": (["line.nc", "-o", "a.nc", "--latlon", "10", "--along", "a", "--along", "b"], ["one surface"]),
    "no surface": (["line.nc", "-o", "a.csv", "--latlon", "10"], ["without a surface"]),
}


@pytest.mark.parametrize(("words", "parts"), WRONG.values(), ids=WRONG.keys())
def test_wrong_words_leave_nothing_behind(here, line, capsys, words, parts):
    (here / "old.nc").write_text("precious")
    before = sorted(here.iterdir())
    assert main(["export", *words]) == 2
    message = capsys.readouterr().err
    for part in ("gridflow: ", "\n  allowed: ", "\n  fix: ", *parts):
        assert part in message
    assert sorted(here.iterdir()) == before
    assert (here / "old.nc").read_text() == "precious"


def test_a_full_disk_leaves_nothing_behind(here, line, capsys, monkeypatch):
    def full(dataset, path, names):
        path.write_text("half a table")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("gridflow.output.export.write_csv", full)
    assert main(["export", "line.nc", "-o", "a.csv"]) == 1
    assert "No space left on device" in capsys.readouterr().err
    assert [p.name for p in here.iterdir()] == ["line.nc"]


def test_overwriting_is_allowed_on_demand(here, line):
    (here / "a.csv").write_text("old")
    assert main(["export", "line.nc", "-o", "a.csv", "--overwrite"]) == 0
    assert read_table(here / "a.csv")["density"].size == line["density"].size


def test_a_store_is_overwritten_and_nothing_else(here, line, capsys):
    assert main(["export", "line.nc", "-o", "a.zarr", "--time", "last"]) == 0
    assert main(["export", "line.nc", "-o", "a.zarr"]) == 2
    assert "'a.zarr' exists" in capsys.readouterr().err
    assert main(["export", "line.nc", "-o", "a.zarr", "--overwrite"]) == 0
    with xarray.open_zarr("a.zarr") as store:
        assert store.sizes["time"] == 3
    (here / "a.zarr" / "thesis.tex").write_text("precious")
    assert main(["export", "line.nc", "-o", "a.zarr", "--overwrite"]) == 2
    assert "holds 'thesis.tex'" in capsys.readouterr().err
    assert (here / "a.zarr" / "thesis.tex").read_text() == "precious"
    (here / "b.zarr").symlink_to("a.zarr")
    assert main(["export", "line.nc", "-o", "b.zarr", "--overwrite"]) == 2
    assert "is a file or a link" in capsys.readouterr().err


def test_a_full_disk_keeps_the_store_that_was_there(here, line, capsys, monkeypatch):
    assert main(["export", "line.nc", "-o", "a.zarr"]) == 0

    def full(dataset, path):
        (path / "density").write_text("half a store")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("gridflow.output.export.write_zarr", full)
    assert main(["export", "line.nc", "-o", "a.zarr", "--overwrite"]) == 1
    assert sorted(p.name for p in here.iterdir()) == ["a.zarr", "line.nc"]
    with xarray.open_zarr("a.zarr") as store:
        np.testing.assert_array_equal(store["density"], line["density"])


@pytest.mark.parametrize(("ending", "package"), [("zarr", "zarr"), ("parquet", "pyarrow")])
def test_a_missing_package_is_named(here, line, capsys, monkeypatch, ending, package):
    monkeypatch.setitem(sys.modules, package, None)
    assert main(["export", "line.nc", "-o", f"a.{ending}"]) == 2
    message = capsys.readouterr().err
    assert f"without the package {package}" in message
    assert "pip install 'gridflow[export]'" in message
    assert [p.name for p in here.iterdir()] == ["line.nc"]
