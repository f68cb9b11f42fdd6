"""Files that name other files are refused before the C library opens them; all others are read.

h5py, which has a copy of HDF5 of its own, writes the files: `gridflow.hdf5` reads the same structures by the specification.
"""

import os

import netCDF4
import numpy as np
import pytest
from helpers import QUADRATIC, case_of

from gridflow.cli import main
from gridflow.errors import InputError
from gridflow.hdf5.links import ElsewhereError, check_self_contained
from gridflow.netcdf import check_format
from gridflow.output.reader import read_result
from gridflow.paths import part_path
from gridflow.solver import solve

h5py = pytest.importorskip("h5py", reason="needs the extra test")

LIBRARIES = ["earliest", "v108", "v110", "latest"]
"""Bounds of HDF5 on the form of what is written: superblocks 0 to 3, object headers 1 and 2, layouts 3 and 4."""


def external_link(file, target):
    file["mass"] = h5py.ExternalLink(target, "/mass")


def external_storage(file, target):
    file.create_dataset("mass", (4,), dtype="f8", external=[(target, 0, 32)])


def virtual_dataset(file, target):
    layout = h5py.VirtualLayout((4,), "f8")
    layout[:] = h5py.VirtualSource(target, "mass", (4,))
    file.create_virtual_dataset("mass", layout)


WAYS = [external_link, external_storage, virtual_dataset]


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    path = tmp_path_factory.mktemp("line") / "a.nc"
    solve(case_of(QUADRATIC, time__stop=0.2, time__save=3), path)
    return path.read_bytes()


@pytest.fixture(params=WAYS, ids=lambda way: way.__name__)
def pointing(request, result, tmp_path):
    """A result whose mass is in another file: a pipe, at which whoever opens it waits without end."""
    os.mkfifo(tmp_path / "pipe")
    path = tmp_path / "a.nc"
    path.write_bytes(result)
    with h5py.File(path, "a") as file:
        del file["mass"]
        request.param(file, str(tmp_path / "pipe"))
    return path


@pytest.mark.parametrize(
    "words",
    [
        ["plot", "a.nc", "-o", "b.png"],
        ["export", "a.nc", "-o", "b.csv"],
        ["report", "a.nc", "-o", "b.html"],
        ["show", "ornstein-uhlenbeck", "--set", "initial=[{file='a.nc'}]"],
        ["solve", "ornstein-uhlenbeck", "-o", "a.nc", "--resume"],
        ["validate", "ornstein-uhlenbeck", "--particles", "a.nc"],
    ],
    ids=lambda words: words[0],
)
def test_a_file_that_names_others_is_refused_before_they_are_opened(words, pointing, monkeypatch, capsys):
    monkeypatch.chdir(pointing.parent)
    assert main(words) == 2
    said = capsys.readouterr().err
    assert "'a.nc' has numbers in other files" in said or "'a.nc' has links to other files" in said
    assert "numbers in the file itself" in said
    assert sorted(path.name for path in pointing.parent.iterdir()) == ["a.nc", "pipe"]


def test_a_part_that_names_others_is_refused(pointing, monkeypatch, capsys):
    monkeypatch.chdir(pointing.parent)
    pointing.rename(part_path(pointing))
    assert main(["solve", "ornstein-uhlenbeck", "-o", "a.nc", "--resume"]) == 2
    assert "in other files" in (said := capsys.readouterr().err) or "to other files" in said


@pytest.mark.parametrize("order", [False, True], ids=["by name", "by order"])
@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("count", [0, 7, 9, 300, 3000])
def test_one_link_among_many_is_found(count, library, order, tmp_path):
    """Few links lie in the header of their group, many in a heap: of one block, of several, of blocks of blocks."""
    for points in (False, True):
        path = tmp_path / f"{points}.h5"
        with h5py.File(path, "w", libver=(library, "latest"), track_order=order) as file:
            group = file.create_group("a/b")
            for k in range(count):
                name = f"{k} {'long ' * (k % 20)}"
                group[name] = h5py.SoftLink("/nowhere") if k % 3 == 0 else group if k % 50 else np.arange(3.0)
                group.attrs[f"{k}"] = "x" * min(k, 50)
                if points and k == count // 2:
                    group["there"] = h5py.ExternalLink("else.h5", "/")
            if points and count == 0:
                group["there"] = h5py.ExternalLink("else.h5", "/")
        if points:
            with pytest.raises(ElsewhereError, match="external links"):
                check_format(path)
        else:
            check_format(path)


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_every_way_is_found_in_every_form(way, library, tmp_path):
    with h5py.File(tmp_path / "a.h5", "w", libver=(library, "latest")) as file:
        file["chunks"] = h5py.Empty("f8")
        file.create_dataset("compressed", data=np.arange(1000.0), chunks=(10,), compression="gzip")
        file.create_dataset("compact", data=1.0)
        way(file.create_group("deep"), str(tmp_path / "other"))
    with pytest.raises(ElsewhereError):
        check_self_contained(tmp_path / "a.h5")


def test_groups_and_names_of_netcdf_are_read(tmp_path):
    with netCDF4.Dataset(tmp_path / "a.nc", "w") as file:
        file.createDimension("x", None)
        kind = file.createVLType("f8", "ragged")
        for k in range(40):
            group = file.createGroup(f"g{k}/h")
            group.createVariable("v", "f8", ("x",), zlib=k % 2 == 0)[:] = np.arange(k)
            group.createVariable("w", kind, ("x",))
    check_format(tmp_path / "a.nc")


def test_no_damage_ends_in_another_error(result, tmp_path):
    """Changed bytes are refused, or not seen here; structures that lead in circles have an end."""
    random, path, refused = np.random.default_rng(5), tmp_path / "a.nc", 0
    places = np.flatnonzero(np.frombuffer(result, dtype=np.uint8))
    for _ in range(400):
        data = np.frombuffer(result, dtype=np.uint8).copy()
        data[random.choice(places, 8)] = random.integers(0, 256, 8)
        path.write_bytes(data.tobytes()[: data.size - random.choice([0, 0, 0, 200, data.size // 2])])
        try:
            check_format(path)
        except OSError:
            refused += 1
    assert refused > 40


def test_a_user_block_is_refused(result, tmp_path):
    """The library would look for a file at byte 512, and further on."""
    (tmp_path / "a.nc").write_bytes(bytes(512) + result)
    with pytest.raises(InputError, match="cannot be read as NetCDF"):
        read_result(tmp_path / "a.nc", "test")
