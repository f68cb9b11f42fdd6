"""Files for ParaView: other programs read the same cells, volumes and masses; errors leave nothing behind."""

from xml.etree import ElementTree

import meshio
import numpy as np
import pytest
from helpers import surface_dataset

import gridflow.accessor  # noqa: F401  (registers ds.gridflow)
from gridflow.cli import main
from gridflow.errors import InputError
from gridflow.output import unstructured, vtk

COVARIANCE = [[2.0, 0.3, 0.0], [0.3, 1.0, 0.1], [0.0, 0.1, 0.5]]
LINES = {
    "x": {"kind": "interval", "bounds": [-1.0, 2.0], "cells": 6},
    "y": {"kind": "circle", "cells": 4, "length": 2.0},
    "z": {"kind": "interval", "bounds": [0.0, 1.0], "cells": 5, "grading": {"focus": 0.5, "ratio": 3.0}},
}


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def surface(here):
    """Labels × sphere × interval, two times."""
    return surface_dataset(here / "surface.nc")[0]


def read(path):
    """(points, cells as lists of corners, arrays by name, fields by name) as meshio reads them."""
    mesh = meshio.read(path)
    cells = [corners for block in mesh.cells for corners in block.data]
    return mesh.points, cells, {n: np.concatenate(v) for n, v in mesh.cell_data.items()}, mesh.field_data


def areas_of(points, cells):
    """Areas of plane polygons: half the length of the sum of cross products around them."""
    return np.array([np.linalg.norm(np.cross(points[c], np.roll(points[c], -1, axis=0)).sum(axis=0)) / 2 for c in cells])


@pytest.mark.parametrize("marginal", [False, True])
def test_a_surface_keeps_its_polygons_and_its_mass(here, surface, marginal):
    assert main(["export", "surface.nc", "-o", "a.vtu", "--time", "last", *["--marginal"][: int(marginal)]]) == 0
    points, cells, arrays, fields = read("a.vtu")
    assert [len(c) for c in cells] == np.isfinite(surface["b_face_nodes"]).sum("b_corner").to_numpy().tolist()
    assert sorted({len(c) for c in cells}) == [5, 6]
    np.testing.assert_allclose(np.linalg.norm(points, axis=1), 1.0, rtol=1e-15)
    np.testing.assert_array_equal(arrays["cell_volume"], surface["b_area"])
    centres = np.array([points[c].mean(axis=0) for c in cells])
    np.testing.assert_array_less(np.linalg.norm(centres - surface["b_points"].to_numpy(), axis=1), 0.15)  # a third of a cell
    assert fields["TimeValue"] == [1.0]
    if marginal:
        assert arrays["density"] @ arrays["cell_volume"] == pytest.approx(1.0, rel=1e-12)
        return
    others = [f"density s={s} a={a:g}" for s in (-1, 1) for a in (-0.8, -0.4, 0, 0.4, 0.8)]
    assert list(arrays) == ["cell_volume", *others]
    np.testing.assert_array_equal(arrays["density s=1 a=-0.4"], surface["density"].isel(time=1, s=1, a=1))
    masses = [arrays[name] @ arrays["cell_volume"] for name in others]
    assert np.dot(masses, fields["other_volumes"]) == pytest.approx(1.0, rel=1e-12)


def test_areas_of_polygons_tend_to_those_of_the_sphere(here):
    """Plane polygons are smaller by the second order in the width, which halves with every level."""
    errors = []
    for level in (1, 2, 3):
        dataset, _ = surface_dataset(b={"kind": "sphere", "level": level})
        dataset.gridflow.to_vtk(f"{level}.vtu", time="last", marginal=True)
        points, cells, arrays, _ = read(f"{level}.vtu")
        errors.append(np.abs(areas_of(points, cells) / arrays["cell_volume"] - 1).max())
    order = np.log2(errors[0] / errors[2]) / 2
    assert order == pytest.approx(2.0, abs=0.1), errors
    assert errors[2] < 0.01


def test_an_ellipsoid_has_its_own_shape(here):
    dataset, _ = surface_dataset(b={"kind": "ellipsoid", "level": 2, "covariance": COVARIANCE})
    dataset.gridflow.to_vtk("a.vtu", time=0.0, marginal=True)
    points, _, arrays, fields = read("a.vtu")
    np.testing.assert_allclose(np.einsum("ni,ij,nj->n", points, COVARIANCE, points), 1.0, rtol=1e-14)
    assert arrays["density"] @ arrays["cell_volume"] == pytest.approx(1.0, rel=1e-12)
    assert fields["TimeValue"] == [0.0]


@pytest.mark.parametrize("names", ["x", "xy", "xyz"])
def test_boxes_lie_where_their_cells_are(here, names):
    """The middle and the volume of every box are those of the cell whose density it has."""
    lines = {n: LINES[n] for n in names}
    dataset, grid = surface_dataset(**lines)
    dataset.gridflow.to_vtk("a.vtu", time="last", along=list(names), marginal=True)
    points, cells, arrays, _ = read("a.vtu")
    middle = np.array([points[c].mean(axis=0) for c in cells])
    extent = np.array([np.ptp(points[c], axis=0)[: len(names)] for c in cells])
    masses = dataset.gridflow.masses("last").sum([n for n in grid.order if n not in names]).transpose(*names).to_numpy().ravel()
    ends = [dataset[f"{n}_bounds"].to_numpy().mean(axis=1) for n in names]
    expected = np.stack([m.ravel() for m in np.meshgrid(*ends, indexing="ij")], axis=1)
    np.testing.assert_allclose(middle[:, : len(names)], expected, atol=1e-15)
    np.testing.assert_array_equal(middle[:, len(names) :], 0.0)
    np.testing.assert_allclose(extent.prod(axis=1), arrays["cell_volume"], rtol=1e-14)
    np.testing.assert_allclose(arrays["density"] * arrays["cell_volume"], masses, rtol=1e-12)
    assert {len(c) for c in cells} == {2 ** len(names)}


def test_hexahedra_are_not_inside_out():
    """VTK wants the corners of the lower face counter-clockwise seen from above, then those of the upper one above them."""
    dataset, _ = surface_dataset(**LINES)
    cells, _ = vtk.line_cells(dataset, ("x", "y", "z"))
    corners = cells.points[cells.corners.reshape(-1, 8)]
    edges = np.stack([corners[:, k] - corners[:, 0] for k in (1, 3, 4)], axis=1)
    assert (np.linalg.det(edges) > 0).all()
    np.testing.assert_allclose(corners[:, 4:] - corners[:, :4], np.repeat(edges[:, 2:], 4, axis=1), atol=1e-15)


def test_every_time_has_its_file(here, surface):
    assert main(["export", "surface.nc", "-o", "a.pvd"]) == 0
    sets = [dict(e.attrib) for e in ElementTree.parse("a.pvd").iter("DataSet")]
    assert [(float(s["timestep"]), s["file"]) for s in sets] == [(0.0, "a_vtu/0.vtu"), (1.0, "a_vtu/1.vtu")]
    for k, entry in enumerate(sets):
        _, _, arrays, fields = read(entry["file"])
        assert fields["TimeValue"] == [float(k)]
        np.testing.assert_array_equal(arrays["density s=-1 a=0"], surface["density"].isel(time=k, s=0, a=2))
    assert sorted(p.name for p in here.iterdir()) == ["a.pvd", "a_vtu", "surface.nc"]


def test_blocks_of_every_length_are_read(here, monkeypatch):
    """Whole blocks only, a rest, one block."""
    dataset, _ = surface_dataset()
    for bytes_ in (8, 24, 1 << 20):
        monkeypatch.setattr(unstructured, "BLOCK", bytes_)
        dataset.gridflow.to_vtk("a.vtu", time=0.0, marginal=True, overwrite=True)
        assert read("a.vtu")[2]["cell_volume"].tolist() == dataset["b_area"].to_numpy().tolist()


def test_vtk_itself_reads_the_series(here, surface):
    pyvista = pytest.importorskip("pyvista")
    assert main(["export", "surface.nc", "-o", "a.pvd", "--marginal"]) == 0
    reader = pyvista.get_reader("a.pvd")
    assert reader.time_values == [0.0, 1.0]
    reader.set_active_time_value(1.0)
    grid = reader.read()[0]
    assert set(grid.celltypes) == {unstructured.POLYGON}
    assert grid["density"] @ grid["cell_volume"] == pytest.approx(1.0, rel=1e-12)


WRONG = {
    "several times": (["-o", "a.vtu"], ["2 saved times", "write a.pvd"]),
    "labels": (["-o", "a.pvd", "--along", "s"], ["cells along 's'", "b, a"]),
    "mistyped": (["-o", "a.pvd", "--along", "bb"], ["did you mean 'b'"]),
    "surface and line": (["-o", "a.pvd", "--along", "a", "--along", "b"], ["one surface, or up to three"]),
    "numbers over time": (["-o", "a.pvd", "--variable", "energy"], ["'energy' (time)", "(time, b, …)"]),
    "another marginal": (["-o", "a.pvd", "--marginal", "--variable", "b_points"], ["'b_points'"]),
    "unknown variable": (["-o", "a.pvd", "--variable", "densty"], ["did you mean 'density'"]),
    "existing": (["-o", "old.pvd"], ["'old_vtu' exists"]),
    "foreign folder": (["-o", "old.pvd", "--overwrite"], ["holds 'thesis.tex'", "files .vtu"]),
}


@pytest.mark.parametrize(("words", "parts"), WRONG.values(), ids=WRONG.keys())
def test_wrong_words_leave_nothing_behind(here, surface, capsys, words, parts):
    (here / "old_vtu").mkdir()
    (here / "old_vtu" / "thesis.tex").write_text("precious")
    assert main(["export", "surface.nc", *words]) == 2
    message = capsys.readouterr().err
    for part in ("gridflow: ", "\n  allowed: ", "\n  fix: ", *parts):
        assert part in message
    assert sorted(p.name for p in here.rglob("*")) == ["old_vtu", "surface.nc", "thesis.tex"]


def test_a_series_is_overwritten_on_demand(here, surface):
    assert main(["export", "surface.nc", "-o", "a.pvd"]) == 0
    assert main(["export", "surface.nc", "-o", "a.pvd", "--overwrite", "--time", "last"]) == 0
    assert [p.name for p in (here / "a_vtu").iterdir()] == ["0.vtu"]
    assert read("a_vtu/0.vtu")[3]["TimeValue"] == [1.0]


def test_a_full_disk_keeps_the_series_that_was_there(here, surface, capsys, monkeypatch):
    assert main(["export", "surface.nc", "-o", "a.pvd", "--time", "first"]) == 0
    before = {p: p.read_bytes() for p in here.rglob("*") if p.is_file()}

    def full(path, files):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(vtk, "write_collection", full)
    assert main(["export", "surface.nc", "-o", "a.pvd", "--overwrite"]) == 1
    assert {p: p.read_bytes() for p in here.rglob("*") if p.is_file()} == before


@pytest.mark.parametrize(
    ("change", "received"),
    [
        (lambda d: d.expand_dims(sweep=2), "densities along sweep"),
        (lambda d: d.assign_coords(cell_volume=d["cell_volume"] + d["b_area"] ** 2 * d["a"]), "no product"),
        (lambda d: d.drop_vars("b_node_lon"), "without b_node_lon"),
        (lambda d: d.isel(b=0, a=0), "cells of s: labels"),
    ],
    ids=["sweep", "no product", "no corners", "labels"],
)
def test_foreign_datasets_are_refused(here, change, received):
    dataset, _ = surface_dataset()
    with pytest.raises(InputError, match=received):
        change(dataset).gridflow.to_vtk("a.pvd")
    assert list(here.iterdir()) == []


def test_too_many_arrays_are_refused(here):
    dataset, _ = surface_dataset(a={"kind": "interval", "bounds": [-1.0, 1.0], "cells": 129})
    with pytest.raises(InputError, match="258 arrays") as error:
        dataset.gridflow.to_vtk("a.pvd")
    assert "--marginal" in str(error.value)
    dataset.gridflow.to_vtk("a.pvd", marginal=True)


def test_values_that_six_digits_do_not_tell_apart(here):
    dataset, _ = surface_dataset(s={"kind": "labels", "values": [1.0, 1.0 + 1e-9]})
    dataset.gridflow.to_vtk("a.vtu", time="last")
    assert {"density s=1.0 a=0", "density s=1.000000001 a=0"} <= set(read("a.vtu")[2])
