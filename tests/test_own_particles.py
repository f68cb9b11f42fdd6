"""A verdict on particles of a user's own: the same numbers as on ours, and one message for all that is missing or wrong."""

import numpy as np
import pytest
import xarray
from helpers import QUADRATIC, case_of

from gridflow.case.case import load_case
from gridflow.cli import main
from gridflow.errors import InputError
from gridflow.particles.simulation import simulate
from gridflow.space.circle import Circle
from gridflow.space.labels import Labels
from gridflow.space.line import Interval
from gridflow.space.sphere import Sphere
from gridflow.verdict.own_particles import own_runs
from gridflow.verdict.own_series import inside
from gridflow.verdict.runner import validate

LIMIT = {"threshold": 0.2, "reason": "several times what the ensembles resolve"}
SAMPLED = {"count": 1024, "ensembles": 8, "sampling": "random"}
WIDE = {"threshold": 0.5, "reason": "W2 sees few particles far away, and resolves less"}
CASE = case_of(
    {
        **QUADRATIC,
        "particles": {
            "counts": [8, 16, 64],
            "ensembles": 8,
            "verdict": SAMPLED,
            "integrator": {"kind": "rk2", "step": 0.05},
        },
        "validation": {**dict.fromkeys(("w1", "w2", "energy_distance", "prediction", "energy"), LIMIT), "times": 2, "w2": WIDE},
    }
)
COUNT, TIMES = 1024, [0.0, 0.25, 1.0]
OF_ENSEMBLES = ["verdict_distance", "verdict_null", "verdict_energy", "distance", "start_distance", "start_allowed"]


def seed_of(number):
    """That of the verdict's own run of this number."""
    return int(np.random.SeedSequence([CASE.particles.seed, COUNT, number, False]).generate_state(1)[0])


@pytest.fixture(scope="module")
def runs():
    return [simulate(CASE, COUNT, times=TIMES, seed=seed_of(k)) for k in range(8)]


@pytest.fixture(scope="module")
def datasets(runs):
    return [run.to_dataset() for run in runs]


@pytest.fixture(scope="module")
def direct(runs):
    return validate(CASE, particles=runs)


def same_numbers(one, two, names=OF_ENSEMBLES):
    for name in names:
        np.testing.assert_array_equal(one[name].values, two[name].values, err_msg=name)


# ---------------------------------------------------------------------------------------------------- the same numbers
def test_our_runs_given_as_ones_own_make_the_same_distances(direct):
    same_numbers(direct, validate(CASE))


@pytest.mark.parametrize("form", ["files", "one file", "a table", "datasets"])
def test_every_form_holds_the_same_runs(form, direct, datasets, tmp_path):
    if form == "datasets":
        given = datasets
    elif form == "files":
        given = [tmp_path / f"{k}.nc" for k in range(8)]
        for path, dataset in zip(given, datasets, strict=True):
            dataset.to_netcdf(path, engine="netcdf4")
    elif form == "one file":
        given = tmp_path / "all.nc"
        xarray.concat(datasets, "ensemble").to_netcdf(given, engine="netcdf4")
    else:
        given = str(tmp_path / "all.csv")
        xarray.concat(datasets, "ensemble").to_dataframe().to_csv(given)
    same_numbers(direct, validate(CASE, particles=given))


def test_what_is_known_of_them_is_judged_and_the_rest_is_said(direct):
    assert direct.attrs["verdict"] == "pass", direct.attrs["table"]
    assert (direct["time_step_error"] == 0).all()
    assert not {"slope", "random_distance", "count"} & set(direct.variables)
    assert {"particle_seconds", "time_ratio"}.isdisjoint(direct.attrs)
    text = direct.attrs["table"]
    for words in (
        "8 ensembles of 1024",
        "error in time is unknown, and taken as 0",
        "rate in N is not judged",
        "worth is counted",
    ):
        assert words in text
    assert "slope" not in text
    assert "start along theta" in text
    assert "[particles" not in direct.attrs["case"]
    assert np.isnan(direct["worth"].sel(quantity="energy"))
    null = direct["verdict_null"].mean("verdict_pair") / np.sqrt(2)
    worth = (COUNT * (null / np.maximum(direct["grid_error"], direct["exact_error"])) ** 2).min("time")
    for name in ("w1:theta", "prediction"):
        assert float(direct["worth"].sel(quantity=name)) == pytest.approx(float(worth.sel(quantity=name)), rel=1e-12)


def test_particles_that_are_too_fast_fail(datasets):
    """At a quarter of the time they are where they should be at the end."""
    fast = [d.isel(time=[0, 2, 2]).assign_coords(time=[0.0, 0.25, 1.0]) for d in datasets]
    result = validate(CASE, particles=fast)
    assert result.attrs["verdict"] == "fail"
    assert "the particles contradict the grid" in result.attrs["table"]
    assert "farther from the particles than allowed" in str(result["reason"].sel(quantity="prediction").values)


def test_too_few_particles_are_inconclusive(runs):
    few = [run.to_dataset().isel(particle=slice(0, 16)).drop_vars("weight") for run in runs]
    result = validate(CASE.replace({"validation.w1.threshold": 0.05}), particles=few)
    assert result.attrs["verdict"] == "inconclusive"
    assert "agree with the grid, as far as they resolve" in result.attrs["table"]
    assert "take more particles in each ensemble" in str(result["reason"].sel(quantity="w1:theta").values)


def test_a_case_needs_no_particles_of_its_own(datasets):
    """And without time 0 the start is not compared."""
    later = [dataset.isel(time=[1, 2]) for dataset in datasets]
    result = validate(CASE.replace({"particles": None, "exact": None}), particles=later, quick=True)
    assert "the start is not compared" in result.attrs["notes"]
    assert result.sizes["start_factor"] == 0
    assert result.attrs["verdict"] == "pass", result.attrs["table"]


def test_on_the_command_line(datasets, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "test.toml").write_text(CASE.text(), encoding="utf-8")
    xarray.concat(datasets[:5], "ensemble").to_netcdf("five.nc", engine="netcdf4")
    xarray.concat(datasets[5:], "ensemble").to_dataframe().to_csv("three.csv")
    words = ["validate", "test.toml", "--particles", "five.nc", "--quiet"]
    assert main(words) == 2
    assert "5 ensembles of particles" in capsys.readouterr().err
    assert main([*words, "--particles", "three.csv"]) == 0
    shown = capsys.readouterr()
    assert "particles of one's own: 8 ensembles of 1024" in shown.out
    assert shown.err == ""
    assert (tmp_path / "test-validation.png").stat().st_size > 10_000
    with xarray.open_dataset("test-validation.nc") as file:
        assert file.attrs["table"] in shown.out


# -------------------------------------------------------------------------------------------------- missing or wrong
def changed(datasets, change):
    return [change(dataset) if k == 2 else dataset for k, dataset in enumerate(datasets)]


def moved(time, particle, value, name="theta"):
    """One number of a dataset is another."""

    def change(dataset):
        values = dataset[name].values.copy()
        values[(time, particle) if values.ndim == 2 else particle] = value
        return dataset.assign({name: (dataset[name].dims, values)})

    return change


WRONG = {
    "a time": (lambda d: d.isel(time=[0, 2]), r"dataset 3 has the times 0, 1, without 0\.25.*compared: 0\.25, 1.*times = 1"),
    "a factor": (lambda d: d.rename(theta="tetha"), r"dataset 3 without the variable 'theta'.*did you mean 'tetha'"),
    "not a number": (moved(1, 5, np.nan), r"dataset 3 at time 0\.25: 1 positions in 'theta' that are no numbers"),
    "outside": (moved(2, 7, -3.2), r"dataset 3 at time 1: 1 positions outside of 'theta', such as -3\.2.*from -3 to 3"),
    "fewer": (
        lambda d: d.isel(particle=slice(0, 100)),
        r"different size: 1024 particles in dataset 8, 100 particles in dataset 3",
    ),
    "weights": (lambda d: d.assign(weight=d["weight"] * 1024), r"weights with the sum 1024.*the sum 1.*divide them"),
    "negative weights": (moved(0, 3, -0.1, "weight"), r"weights that are negative or no numbers"),
    "dimensions": (lambda d: d.rename(particle="neuron"), r"'theta' with the dimensions \(time, neuron\).*\(time, particle\)"),
    "dates": (
        lambda d: d.assign_coords(time=d["time"].values.astype("datetime64[s]")),
        r"'time' holds datetime64.*without units",
    ),
}


@pytest.mark.parametrize(("change", "message"), WRONG.values(), ids=WRONG.keys())
def test_what_is_wrong_is_said(change, message, datasets):
    with pytest.raises(InputError, match=f"(?s){message}"):
        validate(CASE, particles=changed(datasets, change))


def test_runs_that_are_too_few_or_equal_are_refused(datasets):
    with pytest.raises(InputError, match=r"(?s)7 ensembles of particles.*at least 8.*other seeds"):
        validate(CASE, particles=datasets[:7])
    with pytest.raises(InputError, match=r"(?s)8 ensembles, of which 1 repeat others.*seed of its own"):
        validate(CASE, particles=[*datasets[:7], datasets[0]])
    with pytest.raises(InputError, match=r"dataset 1 has the times , without 0\.25"):
        validate(CASE, particles=[d.isel(time=[]) for d in datasets])
    with pytest.raises(InputError, match="ensembles of 1 particles"):
        validate(CASE, particles=[d.isel(particle=[0]).drop_vars("weight") for d in datasets])


def test_the_fix_of_missing_times_works(datasets):
    """Those who saved the end alone compare the end alone."""
    ends = [dataset.isel(time=[2]) for dataset in datasets]
    with pytest.raises(InputError, match=r"validation\.times = 1"):
        validate(CASE, particles=ends)
    assert list(validate(CASE.replace({"validation.times": 1}), particles=ends)["time"].values) == [1.0]


def test_files_that_cannot_be_read_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"no file 'no\.nc'"):
        validate(CASE, particles=tmp_path / "no.nc")
    with pytest.raises(InputError, match=r"no file 'no\.csv'"):
        validate(CASE, particles=tmp_path / "no.csv")
    with pytest.raises(InputError, match=r"(?s)particles in 'no\.txt'.*a \.nc or a \.csv"):
        validate(CASE, particles=tmp_path / "no.txt")
    with pytest.raises(InputError, match="particles of type int"):
        validate(CASE, particles=[4])
    other = simulate(load_case("ornstein-uhlenbeck"), 4, times=[0.0, 0.1])
    with pytest.raises(InputError, match=r"(?s)run 1 with the columns x.*theta.*run the case"):
        validate(CASE, particles=[other])
    table = tmp_path / "a.csv"
    table.write_text("time,thteta\n0,1\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"(?s)'a\.csv'|a\.csv without the column 'theta'.*did you mean 'thteta'"):
        validate(CASE, particles=table)
    table.write_text("time,theta\n0,1\n0,2\n0.25,1\n1,1\n1,2\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"with 2 rows at time 0, 1 at 0\.25"):
        validate(CASE, particles=table)
    table.write_bytes(b"time,theta\n0,\xff\n")
    with pytest.raises(InputError, match="cannot be read as text in UTF-8"):
        validate(CASE, particles=table)


def test_a_flow_that_changes_the_mass_needs_weights(datasets):
    growing = CASE.replace({"exact": None, "flow.reaction.rate": 0.5})
    with pytest.raises(InputError, match=r"(?s)no weights, in a flow that changes the mass.*add the variable `weight`"):
        validate(growing, particles=[d.drop_vars("weight") for d in datasets])


# ------------------------------------------------------------------------------------------------------------- geometry
LINE = Interval(bounds=(0.0, 2.0), cells=8).factor("a")
CIRCLE = Circle(cells=8).factor("phi")
LABELS = Labels(values=[-1.0, 1.0]).factor("s")
SPHERE = Sphere(level=1).factor("b")


def dataset_of(points, **more):
    dims = ("ensemble", "time", "particle")
    return xarray.Dataset({"time": [0.0, 1.0], **{n: (dims, v) for n, v in points.items()}, **more})


def test_a_surface_may_be_one_variable_or_three(rng):
    vectors = rng.standard_normal((2, 2, 5, 3))
    vectors /= np.linalg.norm(vectors, axis=-1, keepdims=True)
    line = rng.random((2, 2, 5))
    apart = dataset_of({"a": line, **{f"b_{axis}": vectors[..., k] for k, axis in enumerate("xyz")}})
    together = dataset_of({"a": line}, b=(("ensemble", "time", "particle", "component"), vectors)).transpose("particle", ...)
    for factors in ((LINE, SPHERE), (SPHERE, LINE)):
        parts = [line[..., None], vectors][:: 1 if factors[0] is LINE else -1]
        expected = np.concatenate(parts, axis=-1)
        for given in (apart, together):
            runs = own_runs(given, factors)
            np.testing.assert_array_equal(np.stack([run.points for run in runs]), expected)
            assert [run.name for run in runs] == ["dataset 1, ensemble 1", "dataset 1, ensemble 2"]
    with pytest.raises(InputError, match=r"(?s)without the variable 'b_x'"):
        own_runs(apart.drop_vars(["b_x"]), (LINE, SPHERE))
    with pytest.raises(InputError, match=r"(?s)'b' with the further dimensions.*one of length 3"):
        own_runs(together.isel(component=[0, 1]), (LINE, SPHERE))


def test_weights_may_change_with_time(rng):
    constant, varying, line = rng.random(5), rng.random((2, 5)), rng.random((3, 2, 5))
    for dims, given, expected in ((("particle",), constant, np.tile(constant, (2, 1))), (("time", "particle"), varying, varying)):
        for run in own_runs(dataset_of({"a": line}, weight=(dims, given)), (LINE,)):
            np.testing.assert_array_equal(run.weights, expected)


def test_some_without_ensembles_and_some_with_are_refused(rng):
    """Of weights alone without them it is not: they are equal in all ensembles."""
    one = dataset_of({"a": rng.random((1, 2, 5)), "phi": rng.random((1, 2, 5))})
    three = xarray.DataArray(rng.random((3, 2, 5)), dims=("ensemble", "time", "particle"))
    with pytest.raises(InputError, match=r"(?s)a, phi of 1, 3 ensembles.*with the dimension `ensemble`, or none"):
        own_runs(one.isel(ensemble=0).assign(phi=three), (LINE, CIRCLE))
    with pytest.raises(InputError, match=r"(?s)'weight' with the dimensions \(ensemble, time, particle\).*as positions have"):
        own_runs(one.isel(ensemble=0).assign(weight=three), (LINE,))
    with pytest.raises(InputError, match=r"(?s)'weight' with the dimensions \(neuron\)"):
        own_runs(one.assign(weight=("neuron", np.ones(5))), (LINE,))
    shared = own_runs(one.drop_dims("ensemble").assign(a=three, weight=("particle", np.arange(5.0))), (LINE,))
    assert [run.weights.tolist() for run in shared] == [[list(range(5))] * 2] * 3


@pytest.mark.parametrize("row", ["nan,1,0.5", ",1,0.5", "0,nan,0.5", "0,,0.5", "0,inf,0.5"])
def test_rows_without_a_time_or_an_ensemble_are_refused(row, tmp_path):
    (tmp_path / "a.csv").write_text(f"time,ensemble,a\n0,1,0.5\n{row}\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"(?s)entries of the column '(time|ensemble)' that are no numbers"):
        own_runs(tmp_path / "a.csv", (LINE,))


def test_numbers_that_cannot_be_read_are_refused(tmp_path, rng):
    """In a file whose header is good: HDF5 finds by their checksum that bytes are others."""
    dataset_of({"a": rng.random((1, 2, 500))}).to_netcdf(tmp_path / "a.nc", encoding={"a": {"fletcher32": True}})
    content = bytearray((tmp_path / "a.nc").read_bytes())
    content[content.index(xarray.open_dataset(tmp_path / "a.nc")["a"].values.tobytes()[:16])] ^= 1
    (tmp_path / "b.nc").write_bytes(content)
    with pytest.raises(InputError, match=r"'b\.nc' cannot be read as NetCDF"):
        own_runs(tmp_path / "b.nc", (LINE,))
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(InputError, match="is no regular file"):
        own_runs(tmp_path / "folder.csv", (LINE,))


def test_rows_of_a_table_may_stand_in_any_order(tmp_path, rng):
    values = rng.random((2, 3))
    rows = [(t, p, values[k, p]) for k, t in enumerate((0.0, 1.0)) for p in range(3)]
    path = tmp_path / "a.csv"
    path.write_text(
        "time,particle,a\n" + "\n".join(f"{t},{p},{float(v)!r}" for t, p, v in [*rows[3:], *rows[:3]]), encoding="utf-8"
    )
    np.testing.assert_array_equal(own_runs(path, (LINE,))[0].points[:, :, 0], values)


@pytest.mark.parametrize(
    ("factor", "x", "allowed"),
    [
        (LINE, [[2.1]], "from 0 to 2"),
        (LABELS, [[0.9]], "its labels: -1, 1"),
        (SPHERE, [[0.6, 0.0, 0.9]], "points on the surface"),
    ],
    ids=["line", "labels", "sphere"],
)
def test_positions_outside_of_a_factor_are_refused(factor, x, allowed):
    with pytest.raises(InputError, match=f"(?s)1 positions outside of '{factor.name}'.*{allowed}"):
        inside(factor, np.array(x), "here")


def test_positions_are_taken_as_they_are_but_for_round_off():
    """Single precision is round-off; around a circle any number of turns is right."""
    x = np.array([[0.3], [2.0]])
    np.testing.assert_array_equal(inside(LINE, x, "here"), x)
    assert inside(LINE, np.array([[2.0000001]]), "here")[0, 0] == pytest.approx(2.0, abs=2e-7)
    np.testing.assert_array_equal(inside(LABELS, np.array([[0.99999994], [-1.0]]), "here"), [[1.0], [-1.0]])
    np.testing.assert_allclose(inside(CIRCLE, np.array([[1.0 + 6 * np.pi], [1.0]]), "here"), 1.0, rtol=1e-14)
    vector = np.array([[0.6, 0.0, 0.8]], dtype=np.float32).astype(float)
    assert np.linalg.norm(inside(SPHERE, vector, "here")) == pytest.approx(1.0, abs=1e-15)
