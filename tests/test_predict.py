"""Predictions of networks at new inputs, in the units of the data, and the loss of data that are held out."""

import numpy as np
import pytest
from helpers import ORNSTEIN_UHLENBECK, QUADRATIC, case_of

import gridflow
from gridflow.energy.network.generic import FeatureNetwork
from gridflow.errors import InputError
from gridflow.solver import solve

X = np.linspace(-1.0, 3.0, 12)
TWO = 5 * np.stack([np.sin(X), np.cos(X)], axis=1) + 7.0


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("data")
    rows = "\n".join(f"{x},{a},{b}" for x, (a, b) in zip(X, TWO, strict=True))
    (path / "d.csv").write_text("x,a,b\n" + rows)
    return path


def trained(folder, standardize=True, normalization=False, targets=("a",), **data):
    """A small ReLU network; under batch normalisation without a bias."""
    space = {
        "w": {"kind": "interval", "bounds": [-3.0, 3.0], "cells": 8},
        "b": {"kind": "interval", "bounds": [-3.0, 3.0], "cells": 8},
    }
    space |= {"u": {"kind": "labels", "values": [-4.0, 4.0]}, "v": {"kind": "labels", "values": [-4.0, 4.0]}}
    names = ["u", "v"][: len(targets)]
    space = {n: f for n, f in space.items() if n in ("w", "b", *names)}
    file = {"kind": "file", "file": "d.csv", "inputs": ["x"], "targets": list(targets), "standardize": standardize, **data}
    weights = {"weights": ["w", "b"], "outputs": [[n] for n in names]}
    table = {
        "title": "a network",
        "space": space,
        "energy": {"kind": "network", "bias": True, "branches": [weights], "data": file},
        "initial": [{"density": {n: {"kind": "uniform"} for n in space}}],
        "scheme": {"kind": "finite-volume"},
        "time": {"stop": 0.5, "save": 3},
    }
    if normalization:
        table["space"]["w"] = {"kind": "circle", "cells": 8}
        del table["space"]["b"], table["initial"][0]["density"]["b"]
        table["energy"] |= {"bias": False, "normalization": True, "branches": [{**weights, "weights": ["w"]}]}
        table["energy"]["data"] |= {"inputs": ["x", "b"]}
    return solve(gridflow.Case.from_dict(table, "mine", folder))


@pytest.mark.parametrize("targets", [("a",), ("a", "b")])
def test_predictions_at_the_data_are_those_of_the_run_in_their_units(folder, targets):
    dataset = trained(folder, targets=targets)
    found = dataset.gridflow.predict(X)
    given = dataset["prediction"] * dataset["target_scale"] + dataset["target_mean"]
    np.testing.assert_allclose(found, given, rtol=1e-12)
    np.testing.assert_allclose(dataset["input"] * dataset["input_scale"] + dataset["input_mean"], X[:, None], rtol=1e-14)
    expected = TWO[:, 0] if len(targets) == 1 else TWO
    np.testing.assert_allclose(dataset["target"] * dataset["target_scale"] + dataset["target_mean"], expected, rtol=1e-14)
    last = dataset.gridflow.predict(X[3:5], "last")
    np.testing.assert_allclose(last, found[-1, 3:5], rtol=1e-12)


def test_batch_normalisation_is_that_of_the_training_data(folder):
    """Its covariance and its mean stay, whatever the new inputs are."""
    dataset = trained(folder, normalization=True, standardize=False)
    inputs = np.stack([X, TWO[:, 1]], axis=1)
    np.testing.assert_allclose(dataset.gridflow.predict(inputs[4:6])[-1], dataset["prediction"][-1, 4:6], rtol=1e-12)
    assert "target_mean" not in dataset
    np.testing.assert_allclose(dataset["input_mean"], inputs.mean(axis=0), rtol=1e-14)


def test_predictions_of_a_file_need_its_data(folder, tmp_path):
    dataset = trained(folder)
    dataset.to_netcdf(tmp_path / "a.nc")
    with gridflow.open(tmp_path / "a.nc") as opened:
        found = opened.gridflow.predict(X, directory=folder)
        np.testing.assert_array_equal(found, dataset.gridflow.predict(X))
        with pytest.raises(InputError, match=r"d\.csv"):
            opened.gridflow.predict(X)
    joined = gridflow.concat([dataset, dataset])
    np.testing.assert_array_equal(joined.isel(run=1).gridflow.predict(X), found)


def test_held_out_data_have_a_loss_at_every_save(folder):
    dataset = trained(folder, held_out=0.25, seed=2)
    assert dataset.sizes["data"] == 9
    trained_on = dataset["input"].to_numpy()[:, 0] * float(dataset["input_scale"][0]) + float(dataset["input_mean"][0])
    held = ~np.isclose(X[:, None], trained_on).any(axis=1)
    assert held.sum() == 3
    error = (dataset.gridflow.predict(X[held]) - TWO[held, 0]) / float(dataset["target_scale"])
    np.testing.assert_allclose(dataset["held_out_loss"], (error**2).mean("point") / 2, rtol=1e-12)
    assert "held_out_loss" not in trained(folder)


def test_predictions_of_other_networks():
    """A residual network, and one with any feature in Python."""
    case = gridflow.load_case("wide-resnet").replace({"time.stop": 0.01, "time.save": 2})
    dataset = solve(case)
    inputs = dataset["input"].to_numpy()[:3]
    np.testing.assert_allclose(dataset.gridflow.predict(inputs), dataset["prediction"][:, :3], rtol=1e-12)
    mine = case_of({k: v for k, v in QUADRATIC.items() if k != "exact"})
    data = mine.problem().bound.data
    energy = FeatureNetwork(lambda at, x: np.tanh(at["theta"][:, None] * x[:, 0]), data)
    dataset = solve(mine, energy=energy)
    found = dataset.gridflow.predict(data.inputs[:2], energy=energy)
    np.testing.assert_allclose(found, dataset["prediction"][:, :2], rtol=1e-12)


def test_wrong_predictions_are_refused(folder):
    with pytest.raises(InputError, match="which has no data"):
        solve(case_of(ORNSTEIN_UHLENBECK)).gridflow.predict([0.0])
    with pytest.raises(InputError, match=r"\(n_points, 1\)"):
        trained(folder).gridflow.predict(np.zeros((2, 2)))
