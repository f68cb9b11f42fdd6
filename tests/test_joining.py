"""Results of changed cases as one dataset."""

import numpy as np
import pytest
import xarray
from helpers import ORNSTEIN_UHLENBECK, case_of

import gridflow
from gridflow.errors import InputError
from gridflow.solver import solve

CASE = case_of({k: v for k, v in ORNSTEIN_UHLENBECK.items() if k != "exact"}, space__x__cells=32)
TEMPERATURES = [0.1, 0.3, 0.5]


@pytest.fixture(scope="module")
def runs():
    return [solve(CASE.replace({"flow.temperature": d, "title": f"D = {d}"})) for d in TEMPERATURES]


def test_results_are_joined_along_the_key_that_differs(runs, tmp_path):
    joined = gridflow.concat(runs)
    assert joined["density"].dims == ("flow_temperature", "time", "x")
    assert joined["cell_volume"].dims == ("x",)
    for run, d in zip(runs, TEMPERATURES, strict=True):
        one = joined.sel(flow_temperature=d)
        for name in run.variables:
            np.testing.assert_array_equal(one[name], run[name])
        assert one["case"].item() == run.attrs["case"]
        assert one.gridflow.case().flow.temperature == d
        np.testing.assert_allclose(one.gridflow.free_energy(), run["energy"], rtol=1e-13)
    assert joined.attrs["case_name"] == "test"
    assert "case" not in joined.attrs
    joined.to_netcdf(tmp_path / "a.nc")
    with gridflow.open(tmp_path / "a.nc") as opened:
        np.testing.assert_array_equal(opened.flow_temperature, TEMPERATURES)
    with pytest.raises(InputError, match=r"the case of 3 runs along 'flow_temperature'"):
        joined.gridflow.case()


def test_methods_keep_the_new_dimension(runs):
    joined = gridflow.concat(runs)
    variance = (joined.gridflow.moment(2, "x") - joined.gridflow.moment(1, "x") ** 2).isel(time=-1)
    assert (variance.diff("flow_temperature") > 0).all()
    distance = joined.gridflow.distance(runs[1])
    assert distance.dims == ("flow_temperature", "time")
    np.testing.assert_allclose(distance.isel(flow_temperature=1), 0.0, atol=1e-15)
    np.testing.assert_array_equal(distance[2], runs[2].gridflow.distance(runs[1]))


def test_a_picture_shows_one_run(runs):
    joined = gridflow.concat(runs)
    with pytest.raises(InputError, match="a picture of runs along"):
        joined.gridflow.plot()
    assert joined.isel(flow_temperature=0).gridflow.plot()._repr_png_().startswith(b"\x89PNG")


def test_several_keys_and_none_make_runs():
    changes = [{"flow.temperature": 0.1}, {"flow.temperature": 0.3, "time.steady": 1e-9}, {"time.save": [0.0, 0.2, 0.4]}]
    joined = gridflow.concat([solve(CASE.replace(c)) for c in changes])
    assert joined["density"].dims == ("run", "time", "x")
    np.testing.assert_array_equal(joined["flow_temperature"], [0.1, 0.3, 0.3])
    np.testing.assert_array_equal(joined["time_steady"], [0.0, 1e-9, 0.0])
    assert joined["time_save"].to_numpy().tolist() == ["3", "3", "[0.0, 0.2, 0.4]"]
    equal = gridflow.concat([solve(CASE), solve(CASE)])
    np.testing.assert_array_equal(equal["run"], [0, 1])
    assert equal.gridflow.integrate().shape == (2, 3)


def test_a_swept_key_has_one_name(runs):
    """In what `concat` joins and in what `sweep` solves, with the key as one types it as its long name."""
    swept = gridflow.sweep(CASE, {"flow.temperature": TEMPERATURES}, workers=1)
    joined = gridflow.concat(runs)
    assert swept["energy"].dims == joined["energy"].dims == ("flow_temperature", "time")
    np.testing.assert_array_equal(swept["energy"], joined["energy"])
    assert swept.flow_temperature.identical(joined.flow_temperature)
    assert joined.flow_temperature.attrs["long_name"] == "key flow.temperature of the case"
    assert [n for n, v in joined.variables.items() if "long_name" not in v.attrs and not n.endswith("_bounds")] == []


def test_what_does_not_fit_together_is_refused(runs):
    finer = solve(CASE.replace({"space.x.cells": 64}))
    other = solve(CASE.replace({"time.stop": 0.3}))
    for wrong in (finer, other):
        with pytest.raises(InputError, match="one grid, the same saved times"):
            gridflow.concat([runs[0], wrong])
    with pytest.raises(InputError, match="no datasets"):
        gridflow.concat([])
    with pytest.raises(InputError, match="without cell_volume and density"):
        gridflow.concat([xarray.Dataset()])
