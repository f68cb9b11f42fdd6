"""Files that gridflow did not write, or not like this: each is used or refused, with one kind of message."""

import os
from pathlib import Path

import netCDF4
import numpy as np
import pytest
import xarray
from helpers import QUADRATIC, case_of, surface_dataset

from gridflow.classic import check_classic
from gridflow.cli import main
from gridflow.errors import InputError, printable
from gridflow.files import open_contents
from gridflow.output.reader import PICTURE, read_density, read_result
from gridflow.paths import part_path
from gridflow.progress import Progress
from gridflow.solver import solve
from validation.faults.damaged_files import Content, content_of, write
from validation.faults.fuzz_files import outcomes


@pytest.fixture(scope="module")
def line(tmp_path_factory):
    path = tmp_path_factory.mktemp("line") / "line.nc"
    return path, solve(case_of(QUADRATIC, time__stop=0.2, time__save=3), path)


@pytest.fixture(scope="module")
def surface(tmp_path_factory):
    path = tmp_path_factory.mktemp("surface") / "surface.nc"
    return path, surface_dataset(path)[0], surface_dataset()[0]


def changed(path: Path, change, target: Path) -> Path:
    """A copy of a file with a change of its `Content`."""
    content = content_of(path.read_bytes())
    change(content)
    write(content, target)
    return target


def test_a_file_is_read_as_the_run_had_it_in_memory(line, surface):
    memory = solve(case_of(QUADRATIC, time__stop=0.2, time__save=3))
    varying = ("wall_seconds", "history", "records")
    for read, kept in ((read_result(line[0], "test", PICTURE), memory), (read_result(surface[0], "test"), surface[2])):
        for dataset in (read, kept):
            dataset.attrs = {k: v for k, v in dataset.attrs.items() if k not in varying}
        xarray.testing.assert_identical(read, kept)
        assert {n: v.dtype for n, v in read.variables.items()} == {n: v.dtype for n, v in kept.variables.items()}


def renamed(old, new):
    def change(content: Content) -> None:
        content.variables = {new if n == old else n: v for n, v in content.variables.items()}

    return change


def dimension(old, new):
    def change(content: Content) -> None:
        content.sizes = {new if d == old else d: n for d, n in content.sizes.items()}
        content.variables = {n: ([new if d == old else d for d in v[0]], *v[1:]) for n, v in content.variables.items()}

    return change


def attribute(name, key, value):
    return lambda content: (content.variables[name][2] if name else content.attrs).update({key: value})


def numbers(name, index, value):
    return lambda content: content.variables[name][1].__setitem__(index, value)


def of_type(name, dtype):
    def change(content: Content) -> None:
        dims, values, attrs = content.variables[name]
        content.variables[name] = dims, values.astype(str).astype(object) if dtype is object else values.astype(dtype), attrs

    return change


LINE = {
    "time is called otherwise": (renamed("time", "t"), "lacks the variables time of a result"),
    "its dimension": (dimension("time", "t"), r"has time \(t\)"),
    "a factor": (renamed("theta", "x"), "no coordinate 'theta'"),
    "bounds": (renamed("theta_bounds", "x"), "no bounds of 'theta'"),
    "density": (renamed("density", "rho"), "lacks the variables density"),
    "scale_factor": (attribute("density", "scale_factor", 2.0), "the attribute 'scale_factor' of 'density'"),
    "add_offset": (attribute("energy", "add_offset", "x"), "the attribute 'add_offset' of 'energy'"),
    "missing value": (attribute("mass", "missing_value", 1.0), "'missing_value'"),
    "days": (attribute("time", "units", "days since 1900-01-01"), "'time' in units 'days since 1900-01-01'"),
    "coordinates": (attribute("density", "coordinates", 3), "the attribute 'coordinates' of 'density' of type int64"),
    "covariance": (attribute("theta", "covariance", "days"), "the attribute 'covariance' of 'theta' = 'days'"),
    "period": (attribute("theta", "period", np.array([1.0, 2.0])), "the attribute 'period' of 'theta'"),
    "title": (attribute("", "title", np.array([1.0, 2.0])), "the attribute 'title' of type ndarray"),
    "long title": (attribute("", "title", "a" * 2000), "a title of 2000 characters"),
    "case": (attribute("", "case", "[energy"), "'case' that is no case"),
    "case of another shape": (attribute("", "case", "energy = 3"), "'case' that is no case"),
    "no record": (attribute("", "records", 0), "has 0 complete records"),
    "nan": (numbers("density", (1, 3), np.nan), "'density' with 1 numbers that are not finite"),
    "inf": (numbers("energy", 0, np.inf), "'energy' with 1 numbers that are not finite"),
    "negative": (numbers("density", (2, 5), -1.0), "'density' with negative numbers"),
    "huge": (numbers("density", (2, 5), 1e300), r"'density' with numbers beyond 1e\+30"),
    "never written": (numbers("energy", 2, netCDF4.default_fillvals["f8"]), r"'energy' with numbers beyond 1e\+30"),
    "empty": (numbers("density", slice(None), 0.0), "without mass"),
    "another mass": (numbers("density", (2, slice(None)), 1.0), "differs from the recorded one"),
    "time goes back": (numbers("time", 1, 0.0), "times that do not increase"),
    "cells overlap": (numbers("theta_bounds", (3, 1), 2.0), "cells of 'theta' that do not fit"),
    "equal points": (numbers("theta", 3, 5.0), "do not fit together"),
    "volume": (numbers("cell_volume", 0, 0.0), "'cell_volume' with numbers that are not positive"),
    "text for numbers": (of_type("density", object), "'density', which does not hold plain numbers"),
    "name": (renamed("steps", "a b"), "has the name 'a b'"),
    "verdict": (lambda c: (renamed("density", "distance")(c), c.attrs.update(verdict="pass")), "is a verdict"),
    "another version": (
        lambda c: (renamed("energy", "free_energy")(c), c.attrs.update(gridflow_version="9.1")),
        r"lacks the variables energy of a result; gridflow 9\.1 wrote it, this is",
    ),
}
SURFACE = {
    "corners": (numbers("b_face_nodes", (0, 0), 10**6), "with corners that are not there"),
    "negative corners": (numbers("b_face_nodes", (0, 1), -5), "with corners that are not there"),
    "fill": (attribute("b_face_nodes", "_FillValue", 3), "no table b_face_nodes"),
    "areas": (numbers("b_area", 0, 100.0), "areas of 'b' with the sum"),
    "points": (numbers("b_points", (0, 0), 7.0), "not on the sphere"),
    "corner places": (numbers("b_node_lat", 0, 91.0), "beyond 90 degrees"),
    "role": (attribute("b_mesh", "cf_role", "x"), "cf_role 'x'"),
    "another surface": (lambda c: c.variables.update(z_mesh=c.variables["b_mesh"]), "surfaces .*'z'"),
}


@pytest.mark.parametrize(
    ("base", "change", "message"), [("line", *v) for v in LINE.values()] + [("surface", *v) for v in SURFACE.values()]
)
def test_what_no_result_has_is_refused(base, change, message, request, tmp_path):
    path = changed(request.getfixturevalue(base)[0], change, tmp_path / "a.nc")
    with pytest.raises(InputError, match=message) as error:
        read_result(path, "test", PICTURE)
    assert "\n  allowed: " in str(error.value)
    assert "\n  fix: " in str(error.value)


def test_single_precision_and_other_orders_of_bytes_are_read(line, tmp_path):
    for kind, error in (("f4", 1e-6), (">f8", 0.0)):
        path = changed(line[0], of_type("density", kind), tmp_path / f"{kind[-2:]}.nc")
        dataset = read_result(path, "test")
        assert dataset["density"].dtype == np.float64
        np.testing.assert_allclose(dataset["density"], line[1]["density"], rtol=error, atol=1e-30)


@pytest.mark.parametrize("form", ["NETCDF3_CLASSIC", "NETCDF3_64BIT_OFFSET", "NETCDF3_64BIT_DATA"])
def test_classic_formats_are_read_and_their_headers_checked(form, tmp_path):
    """The C library crashes or loops on some of these: numbers of records, lengths and places out of range are refused before."""
    for sizes in ((3, 5), (1, 1)):
        path = tmp_path / f"{sizes[0]}.nc"
        with netCDF4.Dataset(path, "w", format=form) as file:
            file.title = "odd"
            file.createDimension("time", None)
            file.createDimension("x", sizes[1])
            file.createVariable("a", "i2", ("time", "x"))[:] = np.ones(sizes)
            if sizes[0] == 3:
                file.createVariable("b", "f8", ("x",))[:] = 1.0
                file.createVariable("c", "i1", ("time",))[:] = 1
        check_classic(path)
    data, random = (tmp_path / "3.nc").read_bytes(), np.random.default_rng(1)
    refused = 0
    for _ in range(150):
        spoiled = np.frombuffer(data, dtype=np.uint8).copy()
        spoiled[random.integers(4, 200, 3)] = random.integers(0, 256, 3)
        (tmp_path / "b.nc").write_bytes(spoiled.tobytes())
        try:
            with open_contents(tmp_path / "b.nc", "test") as file:
                file.check_size(sum(v.size for v in file.variables.values()))
                for name in file.variables:
                    file.values(name)
        except InputError:
            refused += 1
    assert 50 < refused < 150  # bytes of padding, of names and of numbers change nothing here
    (tmp_path / "b.nc").write_bytes(data[:-4])  # three bytes are padding
    with pytest.raises(InputError, match="cannot be read"), open_contents(tmp_path / "b.nc", "test"):
        pass


def test_what_does_not_fit_into_memory_is_not_read(line, tmp_path, monkeypatch):
    with netCDF4.Dataset(tmp_path / "a.nc", "w") as file:
        file.createDimension("time", 10**6)
        file.createDimension("x", 10**6)
        for name, dims in {"time": ("time",), "x": ("x",), "cell_volume": ("x",), "density": ("time", "x")}.items():
            file.createVariable(name, "f8", dims, zlib=True, chunksizes=(1000,) * len(dims))
    monkeypatch.setattr("gridflow.output.reader.check_header", lambda file, numbers: (1, ()))
    with pytest.raises(InputError, match=r"with a copy: about 14\.6 TiB\n  allowed: at most .*the memory of this machine"):
        read_result(tmp_path / "a.nc", "test")
    monkeypatch.undo()
    monkeypatch.setattr("gridflow.memory.memory_limit", lambda: 1000)
    with pytest.raises(InputError, match="the memory of this machine"):
        read_density(line[0], "test")


@pytest.mark.skipif(os.name != "posix", reason="pipes and devices")
def test_only_regular_files_are_opened(tmp_path):
    os.mkfifo(tmp_path / "pipe.nc")
    for path in (tmp_path / "pipe.nc", tmp_path, Path("/dev/zero")):
        with pytest.raises(InputError, match="is no regular file"):
            read_result(path, "test")


def test_of_a_part_the_complete_records_count(tmp_path):
    class Stop(Progress):
        def update(self, state, steps, mass_error):
            if state.time > 0.5:
                raise KeyboardInterrupt

    solve(case_of(QUADRATIC), tmp_path / "a.nc", progress=Stop())
    part = part_path(tmp_path / "a.nc")
    records = read_result(part, "test").sizes["time"]
    assert 1 < records < 5
    fewer = changed(part, attribute("", "records", 1), tmp_path / "b.nc")
    assert read_result(fewer, "test").sizes["time"] == 1


def test_control_characters_reach_no_terminal(line, tmp_path, capsys):
    path = changed(line[0], attribute("", "title", "\x1b[31mred\x07 \u202e"), tmp_path / "a.nc")
    assert read_result(path, "test").attrs["title"] == "\\x1b[31mred\\x07 \\u202e"
    changed(line[0], attribute("", "gridflow_version", "\x1b]0;title\x07"), tmp_path / "b.nc")
    with netCDF4.Dataset(tmp_path / "b.nc", "a") as file:
        file.renameVariable("energy", "\u202eenergy")
    assert main(["plot", str(tmp_path / "b.nc"), "-o", str(tmp_path / "b.png")]) == 2
    message = capsys.readouterr().err
    assert not {"\x1b", "\x07", "\u202e"} & set(message)
    assert printable("a\tb\nρ − ξ · α") == "a\tb\nρ − ξ · α"


@pytest.mark.parametrize(
    ("kinds", "count"),
    [(("export", "initial", "potential", "data"), 20), (("plot",), 3), (("particles",), 4)],
    ids=["read", "drawn", "judged"],
)
def test_spoiled_files_are_used_or_refused(kinds, count, tmp_path):
    found = dict(outcomes(range(count), kinds, tmp_path))
    assert [f"seed {seed}: {text}" for seed, text in found.items() if "FOUND" in text] == []
    assert len(set(found.values())) > len(kinds) / 2  # some are used, some refused
