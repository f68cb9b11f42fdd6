"""Starting from a result: masses on other cells of the same factors, conservative, positive, exact where cells are the same."""

import numpy as np
import pytest
import xarray
from helpers import HEAT_CIRCLE, QUADRATIC, case_of, surface_case, surface_dataset
from scipy.special import ndtr

from gridflow.case.case import load_case
from gridflow.errors import InputError
from gridflow.output.export import export
from gridflow.solver import solve
from gridflow.space.circle import Circle
from gridflow.space.line import Grading, Interval
from gridflow.space.regrid import line_masses, surface_matrix
from gridflow.space.sphere import Sphere

PLAIN = {k: v for k, v in QUADRATIC.items() if k != "exact"}
MASS = 1e-12
"""Of sums of some hundred numbers: round-off, with room."""


def started(table, path, **changes):
    """Cell masses of the start of a case from a file, and its grid."""
    case = case_of({**table, "initial": [{"file": str(path), **changes.pop("component", {})}]}, **changes)
    problem = case.problem()
    problem.check_start()
    return problem.start, problem.grid


@pytest.fixture(scope="module")
def line(tmp_path_factory):
    path = tmp_path_factory.mktemp("line") / "line.nc"
    return path, solve(case_of(PLAIN, time__stop=0.2, time__save=3), path)


def test_the_same_cells_keep_every_bit(line):
    path, dataset = line
    saved = (dataset["density"] * dataset["cell_volume"]).to_numpy()
    np.testing.assert_array_equal(started(PLAIN, path)[0], saved[-1])
    for time, index in ((0.0, 0), (0.1, 1), (0.2, 2)):
        np.testing.assert_array_equal(started(PLAIN, path, component={"time": time})[0], saved[index])
    with pytest.raises(InputError, match=r"a saved time: 0, 0.1, 0.2\n  fix: write 0.1"):
        started(PLAIN, path, component={"time": 0.12})


@pytest.mark.parametrize(
    "changes", [{"cells": 17}, {"cells": 200}, {"bounds": [-3.5, 4.0]}, {"bounds": [-2.9, 2.9], "cells": 90}]
)
def test_other_cells_keep_the_mass_and_no_density_is_negative(line, changes):
    path, dataset = line
    masses, grid = started(PLAIN, path, **{f"space__theta__{k}": v for k, v in changes.items()})
    assert masses.sum() == pytest.approx(float(dataset["mass"][-1]), rel=MASS)
    assert masses.min() >= 0
    mean = float((dataset["density"][-1] * dataset["cell_volume"] * dataset["theta"]).sum())
    assert masses @ grid.factors[0].points == pytest.approx(mean, abs=0.05)  # a tenth of the widest cell


def test_a_box_that_cuts_off_mass_says_how_much_and_what_holds_it(line):
    with pytest.raises(InputError, match=r"has 0\.\d+ of its mass beyond the interval 'theta'") as error:
        started(PLAIN, line[0], space__theta__bounds=[-0.4, 3.0])
    assert "give space.theta bounds [-3, 3], as in the file, or more" in str(error.value)
    assert started(PLAIN, line[0], space__theta__bounds=[-3.0, 3.0], space__theta__cells=30)[0].sum() == pytest.approx(
        1, rel=MASS
    )


@pytest.mark.parametrize("grading", [None, Grading(focus=0.5, ratio=3.0)])
def test_a_line_is_of_second_order(grading):
    errors = []
    for cells in (50, 100, 200, 400):
        old = Interval(bounds=(-4.0, 4.0), cells=cells, grading=grading).factor("x").edges
        new = np.linspace(-4.1, 5.0, int(1.37 * cells) + 1)
        found = line_masses(np.diff(ndtr((old - 0.3) / 0.5))[:, None], old, new, False)[:, 0]
        errors.append(np.abs(found - np.diff(ndtr((new - 0.3) / 0.5))).sum())
        assert found.min() >= 0
        assert found.sum() == pytest.approx(1, rel=MASS)
    assert -np.polyfit(range(4), np.log2(errors), 1)[0] > 1.9, errors
    assert errors[-1] < 5e-5


def test_cells_that_are_all_but_empty_beside_full_ones_have_no_slope_that_overflows():
    masses = np.array([1e-310, 1.0, 5e-324, 1e-320, 1e-200, 1e-20, 0.0, 2.0])[:, None]
    with np.errstate(all="raise", under="ignore"):
        found = line_masses(masses, np.linspace(0, 1, 9), np.linspace(0, 1, 14), False)
    assert found.min() >= 0
    assert found.sum() == pytest.approx(3, rel=MASS)


def test_a_circle_is_of_second_order_across_its_seam():
    errors = []
    for cells in (32, 64, 128):
        old, new = (Circle(cells=n, length=1.0).factor("x").edges for n in (cells, cells * 5 // 4))
        below = lambda x: x + 0.8 * np.sin(2 * np.pi * x) / (2 * np.pi)  # noqa: E731
        found = line_masses(np.diff(below(old))[:, None], old, new, True)[:, 0]
        errors.append(np.abs(found - np.diff(below(new))).max() * new.size)
    assert -np.polyfit(range(3), np.log2(errors), 1)[0] > 1.5, errors  # the limiter cuts extrema: order 1 there, in one cell


def test_joined_cells_are_exact_and_a_circle_has_to_be_as_long(tmp_path):
    table = {k: v for k, v in HEAT_CIRCLE.items() if k != "exact"}
    dataset = solve(case_of(table), tmp_path / "a.nc")
    halved, _ = started(table, tmp_path / "a.nc", space__x__cells=32)
    saved = (dataset["density"] * dataset["cell_volume"])[-1].to_numpy()
    np.testing.assert_allclose(halved, saved.reshape(32, 2).sum(axis=1), rtol=1e-13)
    with pytest.raises(InputError, match=r"has the circle 'x' from 0 to 6\.28319\n  allowed: from 0 to 3"):
        started(table, tmp_path / "a.nc", space__x__length=3.0)
    with pytest.raises(InputError, match=r"has the circle 'x' in units 'radian'\n  allowed: interval 'x'"):
        started(
            {**table, "space": {"x": {"kind": "interval", "bounds": [0.0, 1.0], "cells": 8, "units": "radian"}}},
            tmp_path / "a.nc",
        )


@pytest.fixture(scope="module")
def surface(tmp_path_factory):
    path = tmp_path_factory.mktemp("surface") / "surface.nc"
    return path, *surface_dataset(path)


def table_of(surface_factors):
    case = surface_case(**surface_factors)
    from msgspec import to_builtins

    return {k: v for k, v in to_builtins(case).items() if k not in ("name", "directory") and v is not None}


def test_labels_by_value_and_a_sphere_with_finer_cells(surface):
    path, dataset, _ = surface
    space = {"s": {"kind": "labels", "values": [1.0, 0.0, -1.0]}, "b": {"kind": "sphere", "level": 2}}
    masses, grid = started(table_of(space), path)
    assert masses.sum() == pytest.approx(1, rel=MASS)
    assert masses.min() >= 0
    saved = (dataset["density"] * dataset["cell_volume"]).isel(time=-1).sum(("b", "a"))
    found = masses.sum(axis=tuple(k for k, f in enumerate(grid.factors) if f.name != "s"))
    np.testing.assert_allclose(found, [float(saved.sel(s=1.0)), 0.0, float(saved.sel(s=-1.0))], rtol=MASS)
    with pytest.raises(
        InputError, match=r"0\.5 of its mass beyond the labels 's'.*\n.*\n  fix: give space.s the values \[-1.0, 1.0\]"
    ):
        started(table_of({"s": {"kind": "labels", "values": [1.0, 0.0]}}), path)
    with pytest.raises(InputError, match="has the sphere 'b'"):
        started(table_of({"b": {"kind": "ellipsoid", "level": 1, "covariance": np.diag([2.0, 1.0, 1.0]).tolist()}}), path)


def test_a_sphere_is_of_first_order_over_two_levels_and_keeps_mass():
    errors = []
    for level in (1, 2, 3):
        old, new = Sphere(level=level).factor("b"), Sphere(level=level + 2).factor("b")
        matrix = surface_matrix(old.points, old.volumes, new)
        density = [1 + p[:, 0] * p[:, 1] + p[:, 2] / 2 for p in (old.points, new.points)]
        found = matrix @ (density[0] * old.volumes)
        errors.append(np.abs(found / new.volumes - density[1]) @ new.volumes / (4 * np.pi))
        assert found.sum() == pytest.approx((density[0] * old.volumes).sum(), rel=MASS)
        assert matrix.min() >= 0
        np.testing.assert_allclose(matrix @ old.volumes, new.volumes, rtol=1e-3)  # a constant
    assert -np.polyfit(range(3), np.log2(errors), 1)[0] > 0.9, errors


def test_a_mixture_with_a_result_sums_to_one_and_exports_can_be_started_from(line, tmp_path):
    path, dataset = line
    export(path, tmp_path / "a.nc", ["density"], ["last"])
    np.testing.assert_array_equal(started(PLAIN, tmp_path / "a.nc")[0], started(PLAIN, path)[0])
    parts = [{"file": str(path), "weight": 3.0}, {"density": {"theta": {"kind": "uniform"}}}]
    masses = case_of({**PLAIN, "initial": parts}).problem().start
    expected = 0.75 * (dataset["density"] * dataset["cell_volume"])[-1] + 0.25 / 64
    np.testing.assert_allclose(masses, expected, rtol=1e-12)


def test_paths_start_at_the_case_file_and_for_a_shipped_case_here(tmp_path, monkeypatch):
    shipped = load_case("torsion").replace({"space.angle.cells": 24, "time.stop": 0.01, "time.save": 2})
    solve(shipped, tmp_path / "a.nc")
    monkeypatch.chdir(tmp_path)
    again = shipped.replace({"initial": [{"file": "a.nc"}]})
    assert again.problem().start.sum() == pytest.approx(1, rel=MASS)
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "own.toml").write_text(shipped.text())
    own = load_case(tmp_path / "below" / "own.toml")
    assert own.replace({"initial": [{"file": "../a.nc"}]}).problem().start.sum() == pytest.approx(1, rel=MASS)
    with pytest.raises(InputError, match=r"no file 'a\.nc'"):
        _ = own.replace({"initial": [{"file": "a.nc"}]}).problem().start


def test_a_mass_that_a_reaction_has_changed_needs_a_reaction(line, tmp_path):
    with xarray.open_dataset(line[0]) as file:
        grown = file.load()
    for name in ("density", "mass"):
        grown[name] = grown[name] * 2
        grown[name].attrs |= {"units": "1"}
    grown.to_netcdf(tmp_path / "grown.nc")
    with pytest.raises(InputError, match="a density of mass 2"):
        started(PLAIN, tmp_path / "grown.nc")
    masses, _ = started(PLAIN, tmp_path / "grown.nc", flow={"reaction": {"rate": 1.0}})
    assert masses.sum() == pytest.approx(2, rel=MASS)
    with pytest.raises(InputError, match="names a saved time"):
        case_of({**PLAIN, "initial": [{**PLAIN["initial"][0], "time": 1.0}]})


def test_ellipses_and_ellipsoids_keep_their_covariance(tmp_path):
    round_one, long_one = np.eye(2).tolist(), np.diag([4.0, 1.0]).tolist()
    solid = {"kind": "ellipsoid", "level": 1, "covariance": np.diag([2.0, 1.0, 1.0]).tolist()}
    ellipse = {"kind": "ellipse", "cells": 8, "covariance": long_one}
    surface_dataset(tmp_path / "a.nc", b=solid, e=ellipse)
    finer = {"b": {**solid, "level": 2}, "e": {**ellipse, "cells": 12}}
    masses, _ = started(table_of(finer), tmp_path / "a.nc")
    assert masses.sum() == pytest.approx(1, rel=MASS)
    assert masses.min() >= 0
    for name, factor in (("e", {**ellipse, "cells": 12, "covariance": round_one}), ("b", {**solid, "level": 2})):
        other = {**factor, "covariance": np.eye(len(factor["covariance"])).tolist()}
        with pytest.raises(InputError, match=f"has another covariance of '{name}'"):
            started(table_of({"b": solid, "e": ellipse, name: other}), tmp_path / "a.nc")


def test_a_target_is_a_saved_density_too(tmp_path):
    table = {k: v for k, v in HEAT_CIRCLE.items() if k != "exact"}
    dataset = solve(case_of(table, time__save=3), tmp_path / "a.nc")
    for time, index in ((0.25, 1), (None, 2)):
        target = [{"file": str(tmp_path / "a.nc"), **({} if time is None else {"time": time})}]
        bound = case_of({**table, "energy": {"kind": "potential", "target": target}}).problem().bound
        potential = bound.evaluate(np.full(64, 1 / 64)).first_variation
        np.testing.assert_allclose(potential, -np.log(dataset["density"][index]), atol=1e-9)  # splines pass through their points
    with pytest.raises(InputError, match=r"a saved time: 0, 0\.25, 0\.5"):
        _ = case_of({**table, "energy": {"kind": "potential", "target": [{**target[0], "time": 0.3}]}}).problem().bound
    samples = {"file": "s.csv", "columns": {"x": "x"}, "time": 0.0}
    with pytest.raises(InputError, match="samples have no `time`"):
        case_of({**table, "energy": {"kind": "mmd", "bandwidth": 1.0, "target": [samples]}})
