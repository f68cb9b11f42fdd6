"""Training data: files, the shipped data set, generators."""

from pathlib import Path

import numpy as np
import pytest
import xarray

from gridflow.case.shipped import shipped_directory
from gridflow.energy.network.data import FileData, standard_scaling
from gridflow.energy.network.inputs import GaussHermiteInputs, NormalInputs, UniformInputs
from gridflow.energy.network.teacher import Neuron, TeacherData
from gridflow.errors import InputError


def test_the_shipped_data_set_is_the_certified_one():
    """NIST certifies the residual sum of squares of the cubic/cubic fit to 11 digits: any wrong digit in the file shows."""
    data = FileData("data/thurber.csv", ["log_density"], ["mobility"]).load(shipped_directory(), "relu")
    x, y = data.inputs[:, 0], data.targets[:, 0]
    b = [1.2881396800e3, 1.4910792535e3, 5.8323836877e2, 7.5416644291e1, 9.6629502864e-1, 3.9797285797e-1, 4.9727297349e-2]
    fit = np.polyval(b[3::-1], x) / np.polyval([*b[:3:-1], 1.0], x)
    assert len(x) == 37
    assert ((y - fit) ** 2).sum() == pytest.approx(5.6427082397e3, rel=1e-9)


def write(tmp_path, text):
    (tmp_path / "d.csv").write_text(text, encoding="utf-8")
    return tmp_path


def test_columns_weights_and_standardisation(tmp_path):
    folder = write(tmp_path, "# a comment\nx, y, m # another\n1, 2, 1\n3, 6, 3\n\n")
    plain = FileData("d.csv", ["x"], ["y"], weights="m").load(folder, "relu")
    np.testing.assert_allclose(plain.weights, [0.25, 0.75])
    scaled = FileData("d.csv", ["x"], ["y"], weights="m", standardize=True).load(folder, "relu")
    assert scaled.weights @ scaled.inputs[:, 0] == pytest.approx(0, abs=1e-15)
    assert scaled.weights @ scaled.targets[:, 0] ** 2 == pytest.approx(1)
    assert "standard deviation 1" in scaled.notes[0]


def test_scalings_lead_back_to_the_file(tmp_path):
    """Those of columns, and with those of batch normalisation on top."""
    folder = write(tmp_path, "x,y,m\n1,2,1\n3,6,3\n-2,1,1\n")
    data = FileData("d.csv", ["x"], ["y"], weights="m", standardize=True).load(folder, "relu")
    np.testing.assert_allclose(data.input_scaling.given(data.inputs)[:, 0], [1, 3, -2], rtol=1e-14)
    np.testing.assert_allclose(data.target_scaling.given(data.targets)[:, 0], [2, 6, 1], rtol=1e-14)
    np.testing.assert_allclose(data.input_scaling.scaled(np.array([[3.0]])), data.inputs[1:2], rtol=1e-14)
    for standardize in (False, True):
        centred = FileData("d.csv", ["x"], ["y"], standardize=standardize).load(folder, "relu").centred("centred")
        assert centred.inputs.mean() == pytest.approx(0, abs=1e-15)
        np.testing.assert_allclose(centred.input_scaling.given(centred.inputs)[:, 0], [1, 3, -2], rtol=1e-14)


def test_data_that_are_held_out_are_scaled_as_the_others(tmp_path):
    values = np.arange(10.0)
    folder = write(tmp_path, "x,y,m\n" + "\n".join(f"{v},{v**2},{v + 1}" for v in values))
    options = {"weights": "m", "standardize": True, "held_out": 0.3, "seed": 4}
    plain = FileData("d.csv", ["x"], ["y"], held_out=0.3).load(folder, "relu").centred("centred")
    given = [plain.input_scaling.given(part.inputs)[:, 0] for part in (plain, plain.held_out)]
    np.testing.assert_allclose(np.sort(np.concatenate(given)), values, atol=1e-14)
    data = FileData("d.csv", ["x"], ["y"], **options).load(folder, "relu").centred("centred")
    held = data.held_out
    assert (len(data.inputs), len(held.inputs)) == (7, 3)
    given = [data.input_scaling.given(part.inputs)[:, 0] for part in (data, held)]
    np.testing.assert_allclose(np.sort(np.concatenate(given)), values, atol=1e-14)
    np.testing.assert_allclose(data.target_scaling.given(held.targets)[:, 0], given[1] ** 2, atol=1e-12)
    np.testing.assert_allclose(held.weights, (given[1] + 1) / (given[1] + 1).sum(), rtol=1e-14)
    assert data.weights @ data.targets[:, 0] ** 2 == pytest.approx(1)
    assert "3 of 10 data held out" in data.notes
    other = FileData("d.csv", ["x"], ["y"], **options | {"seed": 5}).load(folder, "relu")
    assert not np.array_equal(np.sort(given[1]), np.sort(other.input_scaling.given(other.held_out.inputs)[:, 0]))
    with pytest.raises(InputError, match="data of positive weight on both sides"):
        FileData("d.csv", ["x"], ["y"], held_out=0.01).load(folder, "relu")


def test_a_file_is_read_in_blocks(tmp_path, monkeypatch, rng):
    """The same numbers as from the text as a whole; errors name the row of the file, not that of the block."""
    monkeypatch.setattr("gridflow.energy.network.columns.BLOCK_ROWS", 4)
    values = rng.standard_normal((11, 4)) * 10.0 ** rng.integers(-20, 20, (11, 4))
    rows = [", ".join(map(repr, map(float, row))) + ("  # note" if k % 3 == 0 else "\n") for k, row in enumerate(values)]
    folder = write(tmp_path, "a,text,x,y\n" + "\n".join(rows))
    data = FileData("d.csv", ["x", "a"], ["y"]).load(folder, "relu")
    np.testing.assert_array_equal(data.inputs, values[:, [2, 0]])
    np.testing.assert_array_equal(data.targets[:, 0], values[:, 3])
    scaled = FileData("d.csv", ["x"], ["y"], weights="y", standardize=True)
    np.savetxt(folder / "d.csv", np.abs(values), delimiter=",", header="a,text,x,y", comments="", fmt="%.17g")
    one, (_, _, x, y) = scaled.load(folder, "relu"), np.abs(values).T
    deviation = np.sqrt(y @ (x - y @ x / y.sum()) ** 2 / y.sum())
    np.testing.assert_allclose(one.inputs[:, 0], (x - y @ x / y.sum()) / deviation, rtol=1e-12)
    np.testing.assert_allclose(one.weights, y / y.sum(), rtol=1e-15)
    for wrong, message in (
        ("1,2,3", "data row 12 of .* has 3 entries"),
        ("1,2,z,4", "'z' in data row 12"),
        ("1,2,,4", "in data row 12"),
    ):
        with (folder / "d.csv").open("a") as file:
            file.write(wrong)
        with pytest.raises(InputError, match=message):
            FileData("d.csv", ["x"], ["y"]).load(folder, "relu")
        text = (folder / "d.csv").read_text()
        (folder / "d.csv").write_text(text[: -len(wrong)])


def test_columns_that_are_not_named_may_hold_anything(tmp_path):
    data = FileData("d.csv", ["x"], ["y"]).load(write(tmp_path, "name,x,y\nfirst,1,2\nsecond,3,4\n"), "relu")
    np.testing.assert_array_equal(data.targets, [[2.0], [4.0]])


def test_netcdf_variables_are_columns(tmp_path):
    xarray.Dataset({"x": ("data", [1.0, 2.0]), "y": ("data", [3, 4]), "name": ("data", ["a", "b"])}).to_netcdf(tmp_path / "d.nc")
    data = FileData("d.nc", ["x"], ["y"]).load(tmp_path, "relu")
    np.testing.assert_array_equal(data.targets, [[3.0], [4.0]])


GOOD = "x,y\n1,2\n2,3\n"


@pytest.mark.parametrize(
    ("text", "arguments", "message"),
    [
        (GOOD, {"inputs": ["X"]}, "(?s)column 'X'.*its columns: x, y.*did you mean 'x'"),
        (GOOD, {"weights": "w"}, "column 'w'"),
        ("x,y\n1,nan\n", {}, "missing or non-finite value in data row 1"),
        ("x,y\n1,2\n1,\n", {}, "missing or non-finite value in data row 2"),
        ("x,y\n1,2\n1,inf\n", {}, "data row 2"),
        ("x,y\n1,two\n", {}, "'two' in data row 1"),
        ("x,y\n1,2,3\n", {}, "has 3 entries"),
        ("x,y\n", {}, "holds no data"),
        ("x,y,w\n1,2,-1\n", {"weights": "w"}, "numbers ≥ 0"),
        ("x,y,w\n1,2,0\n", {"weights": "w"}, "positive sum"),
        ("x,x\n1,2\n", {}, "columns of the same name"),
        ("x,y\n1,2\n1,3\n", {"standardize": True}, "column 'x' is constant"),
    ],
)
def test_wrong_files_are_refused(tmp_path, text, arguments, message):
    folder = write(tmp_path, text)
    with pytest.raises(InputError, match=message):
        FileData(**({"file": "d.csv", "inputs": ["x"], "targets": ["y"]} | arguments)).load(folder, "relu")


def test_a_missing_file_is_refused():
    with pytest.raises(InputError, match="no file"):
        FileData("no.csv", ["x"], ["y"]).load(Path(), "relu")


def test_normal_inputs_have_exactly_the_covariance():
    points, weights = NormalInputs(count=50, covariance=[[5.0, 1.0], [1.0, 2.0]], seed=7).points()
    np.testing.assert_allclose(weights @ points, 0, atol=1e-14)
    np.testing.assert_allclose((points * weights[:, None]).T @ points, [[5.0, 1.0], [1.0, 2.0]], rtol=1e-12)
    again, _ = NormalInputs(count=50, covariance=[[5.0, 1.0], [1.0, 2.0]], seed=7).points()
    np.testing.assert_array_equal(points, again)


def test_gauss_hermite_integrates_polynomials_exactly():
    points, weights = GaussHermiteInputs(count=3, deviation=2.0).points()
    assert weights @ points[:, 0] ** 4 == pytest.approx(3 * 2.0**4, rel=1e-14)


def test_uniform_inputs_are_midpoints():
    points, weights = UniformInputs(count=4, bounds=(0.0, 1.0)).points()
    assert points[:, 0].tolist() == [0.125, 0.375, 0.625, 0.875]
    assert weights.sum() == 1.0


def test_teacher_with_batch_normalisation_is_invariant_to_scale():
    def targets(factor, activation=None):
        inputs = NormalInputs(count=30, covariance=[[5.0, 0.0], [0.0, 1.0]])
        return (
            TeacherData(inputs, [Neuron([factor, 0.5 * factor])], normalization=True, activation=activation)
            .load(Path(), "relu")
            .targets
        )

    np.testing.assert_allclose(targets(1.0), targets(7.0), rtol=1e-13)
    assert targets(1.0, "tanh").min() < 0 <= targets(1.0).min()  # the teacher's own activation


def test_files_that_cannot_be_read_are_refused(tmp_path):
    (tmp_path / "latin.csv").write_bytes("größe,y\n1,2\n".encode("latin-1"))
    with pytest.raises(InputError, match="cannot be read as text"):
        FileData("latin.csv", ["x"], ["y"]).load(tmp_path, "relu")
    (tmp_path / "text.nc").write_text("no NetCDF")
    with pytest.raises(InputError, match="cannot be read as NetCDF"):
        FileData("text.nc", ["x"], ["y"]).load(tmp_path, "relu")
    xarray.Dataset({"x": ("a", [1.0, 2.0]), "y": ("b", [3.0]), "z": ("b", [1.0])}).to_netcdf(tmp_path / "odd.nc")
    with pytest.raises(InputError, match="2 inputs and 1 targets"):
        FileData("odd.nc", ["x"], ["y"]).load(tmp_path, "relu")
    with pytest.raises(InputError, match=r"have \[1, 2\] entries"):
        FileData("odd.nc", ["x", "z"], ["y"]).load(tmp_path, "relu")


def test_a_teacher_with_batch_normalisation_centres_its_inputs():
    """‖·‖_Σ is the standard deviation of the projected inputs (S1 (2)), whatever their mean."""
    inputs = UniformInputs(count=40, bounds=(3.0, 5.0))
    data = TeacherData(inputs, [Neuron([2.0])], normalization=True, activation="identity").load(Path(), "relu")
    assert data.targets.mean() == pytest.approx(0.0, abs=1e-14)
    assert (data.targets**2).mean() == pytest.approx(1.0, rel=1e-14)
    with pytest.raises(InputError, match="in which the inputs vary"):
        TeacherData(inputs, [Neuron([0.0])], normalization=True).load(Path(), "relu")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: NormalInputs(10, [[1.0, 2.0], [0.0, 1.0]]).points(), "symmetric positive definite"),
        (lambda: NormalInputs(10, [[1.0, 2.0], [2.0, 1.0]]).points(), "eigenvalues"),
        (lambda: NormalInputs(10, [[1.0, 2.0]]).points(), "symmetric positive definite"),
        (lambda: NormalInputs(2, [[1.0, 0.0], [0.0, 1.0]]).points(), "more than 2"),
        (lambda: UniformInputs(4, (1.0, 0.0)).points(), "increasing bounds"),
        (lambda: TeacherData(GaussHermiteInputs(3), [Neuron([1.0, 2.0])]).load(Path(), "relu"), "one per input"),
        (
            lambda: TeacherData(GaussHermiteInputs(3), [Neuron([1.0]), Neuron([1.0], [1.0, 2.0])]).load(Path(), "relu"),
            "one number of outputs",
        ),
    ],
)
def test_wrong_generators_are_refused(call, message):
    with pytest.raises(InputError, match=message):
        call()


@pytest.mark.parametrize(("value", "count"), [(0.1, 6), (273.15, 11), (0.1, 100_000)])
def test_a_column_of_equal_numbers_is_constant_however_its_mean_is_rounded(value, count):
    with pytest.raises(InputError, match="'x' is constant"):
        standard_scaling(np.full((count, 1), value), ["x"], np.full(count, 1 / count))
