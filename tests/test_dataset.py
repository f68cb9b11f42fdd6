"""The schema: CF conventions, plain xarray, the same in memory and in a file, nothing overwritten."""

import json
from contextlib import nullcontext
from tempfile import TemporaryFile

import netCDF4
import numpy as np
import pytest
import xarray
from helpers import QUADRATIC, case_of

from gridflow.case.case import load_case
from gridflow.errors import InputError
from gridflow.output.remains import check_output
from gridflow.output.schema import RECORDS
from gridflow.paths import part_path
from gridflow.solver import solve

SMALL = {"space.w.cells": 12, "space.b.cells": 10, "time.stop": 0.5, "time.save": 3}


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """The same run in memory and from a file opened with plain xarray."""
    case = load_case("relu-regression").replace(SMALL)
    path = tmp_path_factory.mktemp("data") / "a.nc"
    solve(case, path)
    with xarray.open_dataset(path) as file:
        return solve(case), file.load(), path


def test_the_file_opens_with_plain_xarray_and_equals_the_result_in_memory(pair):
    memory, file, _ = pair
    assert set(memory.variables) == set(file.variables)
    for name in memory.variables:
        np.testing.assert_array_equal(memory[name], file[name])
        assert memory[name].dims == file[name].dims
        assert memory[name].dtype == file[name].dtype
        assert dict(memory[name].attrs) == dict(file[name].attrs)
    assert set(memory.attrs) | {"records"} == set(file.attrs)


def test_names_and_dimensions(pair):
    _, file, _ = pair
    assert file["density"].dims == ("time", "sign", "b", "w")
    assert file["prediction"].dims == ("time", "data")
    required = {"energy", "dissipation", "mass", "boundary_mass", "density_min", "steps"}
    assert required <= set(RECORDS) & set(file.variables)
    for name in ("title", "source", "case", "gridflow_version", "scheme", "status", "wall_seconds", "history", "Conventions"):
        assert name in file.attrs
    assert "standardize = true" in file.attrs["case"]
    assert "standard deviation 1" in file.attrs["data_notes"]


def test_cf_attributes(pair):
    _, file, path = pair
    assert file.attrs["Conventions"] == "CF-1.11"
    assert file["time"].attrs["axis"] == "T"
    assert file["time"].attrs["units"] == "1"
    for name in file.variables:
        if name not in ("bounds",) and not str(name).endswith("_bounds"):
            assert "long_name" in file[name].attrs, name
            assert "units" in file[name].attrs, name
    assert file["w"].attrs["bounds"] == "w_bounds"
    with netCDF4.Dataset(path) as raw:
        assert raw.dimensions["time"].isunlimited()
        assert raw.data_model == "NETCDF4"
        for variable in raw.variables.values():
            assert "_FillValue" not in variable.ncattrs()
        assert raw.variables["density"].cell_measures == "volume: cell_volume"
    with xarray.open_dataset(path, decode_coords="all") as decoded:
        assert {"w_bounds", "b_bounds", "cell_volume"} <= set(decoded.coords)


def test_the_numbers_are_those_of_the_density(pair):
    _, file, _ = pair
    mass = (file["density"] * file["cell_volume"]).sum(("sign", "b", "w"))
    np.testing.assert_allclose(file["mass"], mass, rtol=1e-13)
    feature = file["sign"] * np.maximum(file["w"] * file["input"].isel(input_component=0) + file["b"], 0)
    prediction = (file["density"] * file["cell_volume"] * feature).sum(("sign", "b", "w"))
    np.testing.assert_allclose(file["prediction"], prediction.transpose("time", "data"), atol=1e-14)
    loss = ((file["prediction"] - file["target"]) ** 2 / 2 * file["data_weight"]).sum("data")
    np.testing.assert_allclose(file["energy"], loss, rtol=1e-12)


def test_nothing_is_overwritten(tmp_path):
    path = tmp_path / "a.nc"
    path.write_text("precious")
    for resume in (False, True):
        with pytest.raises(InputError, match=r"the output file 'a.nc' exists"):
            solve(case_of(QUADRATIC), path, resume=resume)
    assert path.read_text() == "precious"
    assert list(tmp_path.iterdir()) == [path]
    solve(case_of(QUADRATIC), path, overwrite=True)
    assert xarray.open_dataset(path).attrs["status"] == "completed"


def test_a_part_of_another_run_is_not_overwritten(tmp_path):
    part_path(tmp_path / "a.nc").write_text("another run")
    with pytest.raises(InputError, match="--resume to continue"):
        solve(case_of(QUADRATIC), tmp_path / "a.nc")


def test_outputs_that_cannot_be_written_are_refused(tmp_path, monkeypatch):
    with pytest.raises(InputError, match=r"ends in \.nc"):
        check_output(tmp_path / "a.h5", False, False)
    with pytest.raises(InputError, match="does not exist"):
        check_output(tmp_path / "missing" / "a.nc", False, False)

    def denied(dir):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("gridflow.files.TemporaryFile", denied)  # tests may run as root, who may write anywhere
    with pytest.raises(InputError, match="cannot be written: Permission denied"):
        check_output(tmp_path / "a.nc", False, False)


def test_a_process_that_is_killed_while_it_checks_the_output_leaves_nothing(tmp_path, monkeypatch):
    found = []

    def watched(dir):
        with TemporaryFile(dir=dir):
            found.append(list(tmp_path.iterdir()))
        return nullcontext()

    monkeypatch.setattr("gridflow.files.TemporaryFile", watched)
    check_output(tmp_path / "a.nc", False, False)
    assert found == [[]]


def test_a_density_from_a_file_continues_a_run(tmp_path):
    """[[initial]] file = …: the flow of the quadratic activation has no memory, so two halves are the whole."""
    table = {k: v for k, v in QUADRATIC.items() if k != "exact"}
    solve(case_of(table, time__stop=0.5, time__save=2), tmp_path / "half.nc")
    second = case_of({**table, "initial": [{"file": str(tmp_path / "half.nc")}]}, time__stop=0.5, time__save=2)
    whole = solve(case_of(table, time__stop=1.0, time__save=3))
    halves = solve(second)
    # the step sequence restarts, so the halves agree up to the error in time, well below the 1e−2 of the error in space
    assert np.abs(halves["density"][-1] - whole["density"][-1]).max() < 1e-3
    xarray.Dataset({"a": 1}).to_netcdf(tmp_path / "other.nc")
    with pytest.raises(InputError, match="lacks the variables time, density"):
        solve(case_of({**table, "initial": [{"file": str(tmp_path / "other.nc")}]}))


def test_a_factor_called_like_a_record_of_the_energy_is_refused(tmp_path):
    table = json.loads(json.dumps(QUADRATIC).replace('"theta"', '"moment_defect"'))
    case = case_of({**table, "energy": {**table["energy"], "stationarity": {"statements": ["moment"]}}})
    with pytest.raises(InputError, match="a factor called 'moment_defect'"):
        solve(case, tmp_path / "a.nc")
    assert not list(tmp_path.iterdir())
