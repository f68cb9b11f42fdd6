"""`ds.gridflow`: integrals, samples, distances and energies of datasets, of gridflow and of others."""

from dataclasses import fields

import numpy as np
import pytest
import xarray
from helpers import ORNSTEIN_UHLENBECK, QUADRATIC, Bound, Linear, case_of, surface_case, surface_dataset

import gridflow
import gridflow.accessor
from gridflow.errors import InputError
from gridflow.output.samples import sample_cells
from gridflow.particles.cloud import Cloud
from gridflow.particles.integrator import RungeKutta2
from gridflow.solver import solve
from gridflow.space.distances import Slices, wasserstein1
from gridflow.space.factor import factor_index

SIGMA3 = [[2.0, 0.3, 0.0], [0.3, 1.0, 0.1], [0.0, 0.1, 0.5]]
FACTORS = {
    "interval": {"kind": "interval", "bounds": [-1.0, 2.0], "cells": 7, "units": "m"},
    "graded": {"kind": "interval", "bounds": [-1.0, 2.0], "cells": 7, "grading": {"focus": 0.5, "ratio": 3.0}},
    "circle": {"kind": "circle", "cells": 9, "length": 2.0},
    "ellipse": {"kind": "ellipse", "cells": 9, "covariance": [[5.0, 0.2], [0.2, 1.0]]},
    "labels": {"kind": "labels", "values": [2.0, -1.0, 5.0], "volumes": [0.5, 0.25, 2.0]},
    "sphere": {"kind": "sphere", "level": 1},
    "ellipsoid": {"kind": "ellipsoid", "level": 1, "covariance": SIGMA3},
}


@pytest.fixture(scope="module")
def line():
    return solve(case_of(ORNSTEIN_UHLENBECK))


@pytest.fixture(scope="module")
def surfaces():
    return surface_dataset()[0]


def foreign(**density):
    """A dataset of somebody else: one interval by its bounds, one circle by its period, labels, and a density."""
    x, phi = np.linspace(0.05, 0.95, 10), (np.arange(8) + 0.5) * 45.0
    volume = 0.1 * 45.0 * np.array([1.0, 3.0])
    dataset = xarray.Dataset(
        {"density": (("time", "phi", "kind", "x"), np.full((2, 8, 2, 10), 1 / (360.0 * 4.0)))},
        {
            "time": [0.0, 1.0],
            "x": ("x", x, {"bounds": "x_bnds", "units": "m"}),
            "phi": ("phi", phi, {"bounds": "phi_bnds", "period": 360.0}),
            "x_bnds": (("x", "nv"), np.stack([x - 0.05, x + 0.05], axis=1)),
            "phi_bnds": (("phi", "nv"), np.stack([phi - 22.5, phi + 22.5], axis=1)),
            "cell_volume": (("x", "kind", "phi"), np.ones((10, 2, 8)) * volume[:, None]),
        },
    )
    return dataset.assign(density) if density else dataset


# ------------------------------------------------------------------------------------------------------------ the space
@pytest.mark.parametrize("where", ["memory", "file"])
@pytest.mark.parametrize("kind", FACTORS)
def test_the_grid_of_a_dataset_is_that_of_its_case(kind, where, tmp_path):
    """For every kind of factor, beside labels, a surface and an interval; lengths and areas are numbers of the file."""
    path = None if where == "memory" else tmp_path / "a.nc"
    dataset, grid = surface_dataset(path, f=FACTORS[kind])
    found = dataset.gridflow.grid
    assert found.order == grid.order
    np.testing.assert_allclose(found.volume, grid.volume, rtol=1e-13)
    for mine, theirs in zip(found.factors, grid.factors, strict=True):
        assert type(mine) is type(theirs)
        assert (mine.units, mine.walls, mine.period > 0) == (theirs.units, theirs.walls, theirs.period > 0)
        for name in ("points", "volumes", "edges", "distances", "period", "reach"):
            np.testing.assert_allclose(getattr(mine, name), getattr(theirs, name), rtol=1e-13, err_msg=name)


def test_the_dataset_of_another_program_has_a_grid():
    grid = foreign().gridflow.grid
    assert {f.name: f.kind for f in grid.factors} == {"x": "interval", "phi": "circle", "kind": "labels"}
    np.testing.assert_allclose(grid.factors[factor_index(grid.factors, "kind", "a test")].volumes, [1.0, 3.0])
    assert grid.factors[factor_index(grid.factors, "x", "a test")].walls == pytest.approx((0.0, 1.0))
    np.testing.assert_allclose(foreign().gridflow.integrate(), 1.0)


def test_volumes_of_several_labels_of_another_program():
    """What the other factors leave is shared out: a product of two, up to a factor that no result depends on."""
    dataset = foreign().expand_dims(sign=[-1.0, 1.0]).drop_vars("cell_volume")
    volume = foreign()["cell_volume"] * xarray.DataArray([2.0, 0.5], dims="sign")
    found = dataset.assign_coords(cell_volume=volume).gridflow
    np.testing.assert_allclose(
        found.marginal("sign", "kind") * found.marginal("sign", "kind")["cell_volume"],
        found.masses().sum(["x", "phi"]).transpose("time", "sign", "kind"),
    )


WRONG = {
    "no density": (lambda ds: ds[["cell_volume"]].reset_coords(), "without density"),
    "a lost factor": (lambda ds: ds.assign(density=ds["density"].isel(x=0)), "lacks the dimensions x"),
    "gaps": (lambda ds: ds.isel(x=[0, 2]), "leave gaps"),
    "decreasing": (lambda ds: ds.isel(x=slice(None, None, -1)), "sortby"),
    "half a circle": (lambda ds: ds.isel(phi=slice(4)), "make up one turn"),
    "no product": (lambda ds: ds.assign_coords(cell_volume=ds["cell_volume"] * (ds["x"] + ds["phi"])), "products"),
    "words": (lambda ds: ds.assign_coords(kind=["a", "b"]), "number them"),
}


@pytest.mark.parametrize(("change", "part"), WRONG.values(), ids=WRONG.keys())
def test_what_does_not_follow_the_schema_is_refused(change, part):
    with pytest.raises(InputError, match=part) as error:
        change(foreign()).gridflow.marginal("x")
    assert "\n  allowed: " in str(error.value)
    assert "\n  fix: " in str(error.value)


def test_a_remapped_dataset_has_integrals(tmp_path):
    """Its boxes are no products, and its cell volumes are what integrals need."""
    from gridflow.output.remap import remap

    dataset = surface_dataset()[0]
    boxes = remap(dataset, 30.0, integrate=False)
    np.testing.assert_allclose(boxes.gridflow.integrate(), dataset.gridflow.integrate(), rtol=1e-12)
    with pytest.raises(InputError, match="products"):
        _ = boxes.gridflow.grid


# ------------------------------------------------------------------------------------------------------------ integrals
def test_integrals_are_sums_over_cells(surfaces):
    masses = (surfaces["density"] * surfaces["cell_volume"]).transpose("time", "s", "b", "a").to_numpy()
    s, a = surfaces["s"].to_numpy()[:, None, None], surfaces["a"].to_numpy()
    north = surfaces["b_points"].to_numpy()[:, 2, None]
    found = surfaces.gridflow.integrate(lambda s, b, a: (1 + s) * b.isel(b_component=2) * a**2)
    np.testing.assert_allclose(found, ((1 + s) * north * a**2 * masses).sum(axis=(1, 2, 3)), rtol=1e-12)
    np.testing.assert_allclose(surfaces.gridflow.integrate(surfaces["a"]), (a * masses).sum(axis=(1, 2, 3)), rtol=1e-12)
    assert surfaces.gridflow.integrate(time="last").ndim == 0
    with pytest.raises(InputError, match="a function of 'c'"):
        surfaces.gridflow.integrate(lambda c: c)


def test_moments_of_every_kind_of_factor(surfaces):
    ds = surfaces.gridflow
    np.testing.assert_allclose(ds.moment(3, "a"), ds.integrate(lambda a: a**3))
    np.testing.assert_allclose(ds.moment(1, "s"), ds.integrate(lambda s: s))
    np.testing.assert_allclose(ds.moment(1, "b"), ds.integrate(lambda b: b), atol=1e-15)
    tensor = ds.moment(2, "b").to_numpy()
    np.testing.assert_allclose(np.trace(tensor, axis1=1, axis2=2), ds.integrate(), rtol=1e-12)  # |b| = 1
    with pytest.raises(InputError, match="order 3"):
        ds.moment(3, "b")


def test_moments_on_a_circle_are_its_harmonics():
    phi = np.radians(foreign()["phi"])
    ds = foreign(density=foreign()["density"] * (1 + np.cos(2 * phi - 0.3)))
    np.testing.assert_allclose(ds.gridflow.moment(2, "phi"), [[np.cos(0.3) / 2, np.sin(0.3) / 2]] * 2, atol=1e-14)
    np.testing.assert_allclose(ds.gridflow.moment(1, "phi"), 0.0, atol=1e-14)


def test_marginals_have_the_mass_and_their_own_volumes(surfaces):
    ds = surfaces.gridflow
    for names in (("a",), ("b", "s"), ("s", "a", "b")):
        marginal = ds.marginal(*names)
        assert marginal.dims == ("time", *names)
        np.testing.assert_allclose((marginal * marginal["cell_volume"]).sum(names), ds.integrate(), rtol=1e-12)
    whole = ds.marginal("s", "b", "a")
    np.testing.assert_allclose(whole, surfaces["density"].transpose("time", "s", "b", "a"), rtol=1e-12)
    with pytest.raises(InputError, match="a marginal without factors"):
        ds.marginal()


def test_interpolation_is_linear_between_cell_points(line):
    linear = line.assign(density=line["density"] * 0 + 2 + line["x"] / 3)
    found = linear.gridflow.interpolate({"x": [0.31, -1.7]})
    np.testing.assert_allclose(found, [[2 + 0.31 / 3, 2 - 1.7 / 3]] * 3, rtol=1e-13)
    np.testing.assert_allclose(line.gridflow.interpolate(line["x"].to_numpy()[:, None], time=0.2), line["density"][1], rtol=1e-14)
    with pytest.raises(InputError, match="≤ x ≤ 4"):
        line.gridflow.interpolate({"x": [5.0]})
    with pytest.raises(InputError, match="one entry for each factor: x"):
        line.gridflow.interpolate({"y": [0.0]})


def test_interpolation_winds_around_circles_and_keeps_labels():
    ds = foreign(density=foreign()["density"] * np.cos(np.radians(foreign()["phi"])) * xarray.DataArray([1.0, 2.0], dims="kind"))
    at = {"x": [0.5, 0.5], "phi": [0.0, 720.0], "kind": [0, 1]}
    found = ds.gridflow.interpolate(at, time="first").to_numpy() * 360.0 * 4.0
    np.testing.assert_allclose(found, np.cos(np.radians(22.5)) * np.array([1.0, 2.0]), rtol=1e-13)
    with pytest.raises(InputError, match="other kind than its labels"):
        ds.gridflow.interpolate({**at, "kind": [0, 2]})


# ------------------------------------------------------------------------------------------------ samples and distances
def test_a_sample_has_the_distribution_of_the_density(line):
    """W1 of n points to their density is about deviation/√n = 0.005 here."""
    cloud = line.gridflow.sample(10_000, seed=3)
    assert float(line.gridflow.distance(cloud, time="last")) < 0.01
    np.testing.assert_array_equal(cloud.points, line.gridflow.sample(10_000, seed=3).points)
    assert (cloud.points != line.gridflow.sample(10_000, seed=4).points).all()
    assert float(line.gridflow.distance(line.gridflow.sample(10_000, time="first"), time="first")) < 0.01


@pytest.mark.parametrize("kind", FACTORS)
def test_samples_lie_uniformly_within_their_cells(kind, rng):
    """All of one cell: means as of a uniform density, to four standard errors of 4000 points."""
    grid = surface_case(f=FACTORS[kind]).grid()
    masses = np.zeros(grid.shape)
    cell = tuple(n // 2 for n in grid.shape)
    masses[cell] = 0.3
    points = sample_cells(grid, masses, 4000, rng)
    start = 0
    for factor, k in zip(grid.factors, cell, strict=True):
        x = points[:, start : start + factor.columns]
        start += factor.columns
        if factor.columns == 3:
            assert (factor.cell_of(x) == k).all()
            np.testing.assert_allclose(factor.fold(x), x, rtol=1e-14)
            image, mine = factor.length_image(x), slice(factor.first[k], factor.first[k + 1])
            places, areas = (part[mine] for part in factor.quadrature)
            mean = np.einsum("hqi,hq->i", places, areas) / areas.sum()
            assert (abs(image.mean(axis=0) - mean) < 4 * image.std(axis=0) / np.sqrt(4000)).all()
        elif factor.edges.size:
            assert ((x >= factor.edges[k]) & (x <= factor.edges[k + 1])).all()
            width = factor.edges[k + 1] - factor.edges[k]
            assert x.mean() == pytest.approx(factor.centres[k], abs=4 * width / np.sqrt(12 * 4000))
            assert x.std() == pytest.approx(width / np.sqrt(12), rel=0.05)
        else:
            assert (x == factor.points[k]).all()


def test_a_sample_starts_particles(line):
    case = line.gridflow.case()
    run = gridflow.simulate(case, line.gridflow.sample(500, time="last"), times=[0.0, 0.1], integrator=RungeKutta2(0.05))
    assert run.points.shape == (2, 500, 1)
    with pytest.raises(InputError, match="a sample of 0 points"):
        line.gridflow.sample(0)


def test_distances_in_one_dimension_are_those_of_quantiles(line):
    ds, grid = line.gridflow, line.gridflow.grid
    masses = ds.masses().to_numpy()
    expected = [wasserstein1(m, masses[-1], grid.factors[0]) for m in masses]
    np.testing.assert_array_equal(ds.distance(line.isel(time=-1)), expected)
    np.testing.assert_allclose(ds.distance(line, "w2"), 0.0, atol=1e-12)
    moved = line.assign_coords(x=line["x"] + 0.5, x_bounds=line["x_bounds"] + 0.5)
    np.testing.assert_allclose(ds.distance(moved, "w2"), 0.5, rtol=1e-12)
    np.testing.assert_allclose(ds.distance(moved, "w1", time="last"), 0.5, rtol=1e-12)


def test_w1_and_w2_of_two_normals():
    """W2 is the difference of the deviations, W1 that times √(2/π); both to the second order in cells of width 1/32."""
    x = xarray.DataArray((np.arange(512) + 0.5) / 32 - 8, dims="x", attrs={"bounds": "x_bounds"})
    bounds = np.stack([x - 1 / 64, x + 1 / 64], axis=1)
    volume = xarray.DataArray(np.full(512, 1 / 32), dims="x")
    narrow, wide = (
        xarray.Dataset(
            {"density": np.exp(-((x / s) ** 2) / 2) / (s * np.sqrt(2 * np.pi))},
            {"x": x, "x_bounds": (("x", "bounds"), bounds), "cell_volume": volume},
        )
        for s in (0.5, 1.2)
    )
    assert float(narrow.gridflow.distance(wide, "w2")) == pytest.approx(0.7, rel=1e-3)
    assert float(narrow.gridflow.distance(wide, "w1")) == pytest.approx(0.7 * np.sqrt(2 / np.pi), rel=1e-3)


def test_distances_to_other_cells_are_small():
    """Of second order in the cells: 64 against 128 of width 1/8."""
    coarse, fine = (solve(case_of(ORNSTEIN_UHLENBECK, space__x__cells=n)) for n in (64, 128))
    for kind in ("w1", "w2", "sliced", "energy"):
        found = coarse.gridflow.distance(fine, kind)
        assert 0 < found.max() < 0.02
        np.testing.assert_allclose(found, fine.gridflow.distance(coarse, kind), rtol=1e-6)


def test_distances_in_the_full_space(surfaces):
    ds = surfaces.gridflow
    slices = Slices(ds.grid.factors)
    first, last = (slices.of_grid(ds.grid, m) for m in ds.masses().transpose("time", *ds.grid.order).to_numpy())
    expected = [slices.sliced_wasserstein1(first, last), 0.0]
    np.testing.assert_allclose(ds.distance(surfaces.isel(time=1), "sliced"), expected, rtol=1e-12)
    expected = [slices.energy_distance(first, last), 0.0]
    np.testing.assert_allclose(ds.distance(surfaces.isel(time=1), "energy"), expected, rtol=1e-12)
    cloud = ds.sample(4000, time="first")
    assert float(ds.distance(cloud, "sliced", time="first")) < 0.03  # sampling error, 1/√n
    assert float(ds.distance(cloud, "w1", along="a", time="first")) < 0.03
    assert float(ds.distance(cloud, "w1", along="s", time="first")) < 0.05


def test_a_particle_run_is_compared_at_its_times(line):
    run = gridflow.simulate(case_of(ORNSTEIN_UHLENBECK), 4000, integrator=RungeKutta2(0.05))
    found = line.gridflow.distance(run)
    np.testing.assert_array_equal(found["time"], line["time"])
    assert found.max() < 0.05  # sampling error, 1/√4000, three times
    assert float(line.gridflow.distance(run, time="last")) == found[-1]


def test_wrong_distances_are_refused(line, surfaces):
    refusals = {
        "one factor, where it is exact": lambda: surfaces.gridflow.distance(surfaces),
        "on the surface 'b'": lambda: surfaces.gridflow.distance(surfaces, along="b"),
        "of kind 'w3'": lambda: line.gridflow.distance(line, "w3"),
        "one of the full space": lambda: line.gridflow.distance(line, "energy", along="x"),
        "the same factors": lambda: line.gridflow.distance(surfaces, along="x"),
        "different 'x'": lambda: line.gridflow.distance(line.sel(x=slice(-2, 2)), "energy"),
        "interval .* circle": lambda: line.gridflow.distance(line.assign_coords(x=line["x"].assign_attrs(period=8.0))),
        "at different times": lambda: line.gridflow.distance(line.isel(time=[0, 2])),
        "saved time": lambda: line.gridflow.distance(line, time=0.123),
        "a distance to a list": lambda: line.gridflow.distance([1.0]),
    }
    for part, refused in refusals.items():
        with pytest.raises(InputError, match=part):
            refused()


# ------------------------------------------------------------------------------------------------- case and energies
@pytest.mark.parametrize("table", [QUADRATIC, ORNSTEIN_UHLENBECK], ids=["network", "temperature"])
def test_energies_are_what_was_recorded(table, tmp_path):
    case = case_of(table)
    in_memory = solve(case, tmp_path / "a.nc")
    for dataset in (in_memory, gridflow.open(tmp_path / "a.nc")):
        np.testing.assert_allclose(dataset.gridflow.free_energy(), dataset["energy"], rtol=1e-13)
        assert float(dataset.gridflow.free_energy("last")) == dataset.gridflow.free_energy()[-1]
        problem = case.problem()
        expected = problem.bound.evaluate(dataset["density"].to_numpy()[-1] * problem.grid.volume).first_variation
        np.testing.assert_allclose(dataset.gridflow.first_variation()[-1], expected, rtol=1e-12, atol=1e-15)


def test_an_energy_of_ones_own_is_passed_again():
    case = case_of({k: v for k, v in ORNSTEIN_UHLENBECK.items() if k != "exact"})
    energy = Bound(Linear(case.grid().coordinate("x") ** 2))
    dataset = solve(case, energy=energy)
    np.testing.assert_allclose(dataset.gridflow.free_energy(energy=energy), dataset["energy"], rtol=1e-13)
    with pytest.raises(InputError, match="pass energy="):
        dataset.gridflow.free_energy()


def test_the_case_of_a_dataset_is_solved_again(line):
    case = line.gridflow.case()
    assert case == case_of(ORNSTEIN_UHLENBECK)
    with pytest.raises(InputError, match="without the attribute case"):
        foreign().gridflow.case()
    with pytest.raises(InputError, match="the grid of the case"):
        line.isel(x=slice(8, 56)).gridflow.free_energy()


# ---------------------------------------------------------------------------------------------------------- files
def test_open_returns_results_alone(line, tmp_path):
    line.to_netcdf(tmp_path / "a.nc")
    with gridflow.open(tmp_path / "a.nc") as dataset:
        xarray.testing.assert_equal(dataset, line)
    xarray.Dataset({"a": 1}).to_netcdf(tmp_path / "b.nc")
    with pytest.raises(InputError, match="without cell_volume and density"):
        gridflow.open(tmp_path / "b.nc")
    with pytest.raises(InputError, match="no file"):
        gridflow.open(tmp_path / "c.nc")


def test_an_animation_shows_itself_in_a_notebook(line, tmp_path):
    film = line.isel(time=[0, 2]).gridflow.animate()
    assert film.gif.startswith(b"GIF")
    assert film._repr_html_().startswith('<img src="data:image/gif;base64,')
    assert "GIF of" in repr(film)
    with pytest.raises(InputError, match=r"\.gif or \.mp4"):
        line.gridflow.animate(tmp_path / "b.png")


def test_the_methods_are_listed(line):
    assert "marginal" in repr(line.gridflow)
    assert isinstance(line.gridflow.sample(3), Cloud)
    assert len(fields(Cloud)) == 2
