"""Pictures from datasets: what is drawn is what the dataset holds, with what its case says of it."""

import matplotlib
import numpy as np
import pytest
import xarray
from helpers import QUADRATIC, case_of
from matplotlib.collections import QuadMesh
from matplotlib.colors import LogNorm
from matplotlib.contour import ContourSet
from matplotlib.text import Text
from PIL import Image, ImageSequence
from test_cases import reduced

from gridflow.case.case import load_case
from gridflow.case.shipped import shipped_cases
from gridflow.cli import main
from gridflow.errors import InputError
from gridflow.output.animation import first_frame
from gridflow.output.numbers import certificates
from gridflow.output.panels import Sheet
from gridflow.output.plotting import plot
from gridflow.output.projections import blocks
from gridflow.output.reference import reference_of
from gridflow.output.scales import scale_of, telling_saves, window
from gridflow.output.style import MOVIE, STYLES, number, symbol
from gridflow.solver import solve

SIZES = list(STYLES)


@pytest.fixture(scope="module")
def signed():
    return solve(
        load_case("relu-regression").replace({"space.w.cells": 12, "space.b.cells": 10, "time.stop": 0.5, "time.save": 4})
    )


@pytest.fixture(scope="module")
def curves():
    return solve(case_of(QUADRATIC, time__save=9))


@pytest.fixture(scope="module")
def discrepancy():
    """Two lines and a target density."""
    return solve(load_case("mmd-gaussian").replace({"space.x.cells": 30, "space.y.cells": 28, "time.stop": 6.0, "time.save": 4}))


def maps_of(figure):
    """The axes with a mesh of colours that are no bars of colours."""
    return [a for a in figure.get_axes() if a.get_label() != "<colorbar>" and mesh_of(a) is not None]


def mesh_of(axes):
    return next((c for c in axes.collections if isinstance(c, QuadMesh)), None)


# what is drawn


def test_one_map_per_label(signed):
    maps, rest = blocks(signed, ("w", "b", "sign"))
    assert rest == []
    assert [part.title for part in maps[0].parts] == ["sign = −1", "sign = 1"]
    np.testing.assert_array_equal(maps[0].parts[1].density, signed["density"].sel(sign=1.0).transpose("time", "b", "w"))


def test_one_line_with_many_labels_is_a_map():
    """Eight layers × θ: one panel per time instead of forty curves; with four labels or fewer there are curves."""
    case = load_case("wide-resnet").replace({"space.theta.cells": 16, "time.stop": 0.5, "time.save": 2})
    dataset = solve(case)
    maps, rest = blocks(dataset, reference_of(dataset).order)
    assert rest == []
    assert [part.density.dims for part in maps[0].parts] == [("time", "theta", "layer")]


@pytest.fixture
def three():
    """Three lines with cells of different widths."""
    widths = {"x": [1.0, 2.0, 1.0, 2.0], "y": [0.5] * 4, "z": [1.0, 2.0, 1.0, 2.0]}
    dataset = xarray.Dataset({"density": (("time", *widths), np.random.default_rng(0).random((2, 4, 4, 4)))})
    volume = np.einsum("x,y,z->xyz", *widths.values())
    dataset["cell_volume"] = tuple(widths), volume
    for name, values in widths.items():
        edges = np.concatenate([[0.0], np.cumsum(values)])
        dataset = dataset.assign_coords({name: (edges[1:] + edges[:-1]) / 2})
        dataset[f"{name}_bounds"] = (name, "bounds"), np.stack([edges[:-1], edges[1:]], axis=1)
    return dataset


def test_further_lines_are_integrated_out_and_have_marginals(three):
    maps, rest = blocks(three)
    density = three["density"].to_numpy()
    np.testing.assert_allclose(maps[0].parts[0].density, np.einsum("txyz,z->tyx", density, [1, 2, 1, 2]))
    np.testing.assert_allclose(rest[0].parts[0].density, np.einsum("txyz,x,y->tz", density, [1, 2, 1, 2], [0.5] * 4))
    assert maps[0].what == rest[0].what == "marginal density"


def test_views_are_the_pairs_that_are_shown(three):
    maps, rest = blocks(three, ("z", "y", "x"), (("z", "y"), ("z", "x"), ("y", "x")))
    assert [block.parts[0].density.dims[1:] for block in maps] == [("y", "z"), ("x", "z"), ("x", "y")]
    assert rest == []


def test_saves_are_those_where_something_happens(curves):
    assert telling_saves(curves, 20) == list(range(9))
    chosen = telling_saves(curves, 4)
    assert chosen[0] == 0
    assert chosen[-1] == 8
    still = curves.copy(deep=True)
    still["density"][3:] = still["density"][2]
    assert sum(k <= 3 for k in telling_saves(still, 5)) > sum(k <= 3 for k in np.linspace(0, 8, 5).round())


def test_names_are_written_as_formulas():
    assert [symbol(n) for n in ("theta_0", "b1", "w_plus", "t11", "a", "alpha")] == [
        r"$\theta_{0}$", "$b_{1}$", "$w_{+}$", "$t_{11}$", "$a$", r"$\alpha$",
    ]  # fmt: skip
    assert [symbol(n) for n in ("angle", "depth", "bill_length")] == ["angle", "depth", "bill length"]
    assert [number(v) for v in (0.0, -1.0, 1500.0, 0.123456, 1e-6)] == ["0", "−1", "1500", "0.123", "1e−06"]


# scales


def test_a_narrow_peak_does_not_hide_the_rest():
    """99 of 100 cells have the density 1, and a small one 40 with 1.9 % of the mass."""
    density, sizes = np.ones(100), np.ones(100)
    density[7], sizes[7] = 40.0, 0.048
    scale = scale_of([(density, sizes)])
    assert scale.upper == 1
    assert scale.clipped
    assert scale.label("density") == "density (≤ 40)"
    assert not scale_of([(np.ones(100), np.ones(100))]).clipped


def test_colours_are_logarithmic_where_the_mass_needs_it():
    x = np.linspace(-5, 5, 101)
    normal = np.exp(-(x**2 + x[:, None] ** 2) / 2)
    assert not scale_of([(normal, np.ones((101, 101)))]).logarithmic
    collapsed = np.exp(-100 * (x**2 + x[:, None] ** 2) / 2) * 100
    scale = scale_of([(normal, np.ones((101, 101))), (collapsed, np.ones((101, 101)))])
    assert scale.logarithmic
    assert 0 < scale.lower < 0.06  # half of the density inside of which 95 % of the wide one are, e^{−3}
    assert isinstance(scale.norm(), LogNorm)


def test_the_window_holds_the_mass_at_all_times_and_the_points():
    edges = np.linspace(0.0, 10.0, 101)
    masses = np.zeros((2, 100))
    masses[0, 30:40], masses[1, 35:45] = 1.0, 1.0
    lower, upper = window(masses, edges, [5.0, 12.0])
    assert 2.5 < lower < 3
    assert 5 < upper < 5.5
    assert window(np.ones((1, 100)), edges, []) == (0.0, 10.0)


@pytest.mark.parametrize("size", SIZES)
def test_maps_of_a_row_share_their_colours_and_limits(signed, discrepancy, size):
    for dataset in (signed, discrepancy):
        panels = maps_of(plot(dataset, size=size))[: STYLES[size].frames]
        assert len({(mesh_of(a).norm.vmin, mesh_of(a).norm.vmax) for a in panels}) == 1
        assert len({(a.get_xlim(), a.get_ylim()) for a in panels}) == 1


def test_the_first_factor_is_drawn_horizontally(discrepancy):
    panels = maps_of(plot(discrepancy))
    assert (panels[0].get_xlabel(), panels[0].get_ylabel()) == ("$x$", "$y$")


# targets, teachers, exact solutions


def test_the_target_is_drawn_over_every_map(discrepancy):
    (target,) = reference_of(discrepancy).landmarks
    assert target.masses.sum() == pytest.approx(1)
    for axes in maps_of(plot(discrepancy)):
        (contours,) = (c for c in axes.collections if isinstance(c, ContourSet))
        inside = contours.get_paths()[0].vertices
        np.testing.assert_allclose(inside.mean(axis=0), [2.0, 1.0], atol=0.2)  # the mean of the target, to half a cell


def test_samples_are_drawn():
    dataset = solve(reduced("mmd-samples"))
    for axes in maps_of(plot(dataset)):
        assert max(len(line.get_xdata()) for line in axes.lines) == 342


def test_exact_solutions_are_dashed(curves):
    dashed = [line for line in plot(curves).get_axes()[0].lines if line.get_linestyle() == "--"]
    assert len(dashed) == STYLES["screen"].curves
    case = case_of(QUADRATIC)
    masses = case.exact.masses(case.problem(), [1.0])[0]
    np.testing.assert_allclose(dashed[-1].get_ydata(), masses / curves["cell_volume"], atol=1e-9)  # an ODE, to 1e−12


LANDMARKS = {
    "bn-circle": [("teacher neuron", {"angle": [np.arctan2(0.5, 1.0), np.arctan2(1.0, -0.5)]})],
    "teacher-1d-quadratic": [("teacher neuron", {"theta": [1.0]})],
    "teacher-1d-identity": [("mean of the teacher", {"theta": [1.2]})],
    "ensemble-resnet-2": [("teacher neuron", {"theta_0": [2.0], "theta_1": [0.8]})],
    "wide-resnet": [("teacher neuron", {"theta": [2.0, 1.6, 1.2, 0.8, 0.3, -0.1, -0.6, -1.0], "layer": list(range(8))})],
    "langevin-network": [("teacher neuron", {"w": [2.0, -2.0], "b": [-1.0, -1.0]})],
    "teacher-weights": [("teacher neuron", {"u": [0.8, -0.4, -0.2], "v": [0.2, 0.6, -0.7]})],
    "teacher-2d-relu": [("teacher", {})],
    "gaussian-mixture-sampling": [("target", {})],
    "wide-resnet-linear": [("teacher", {})],
    "mmd-sobolev": [("target", {})],
    "relu-regression": [],
    "relu-prox": [],  # the teacher has another activation
    "linear-network": [],  # its weights are known up to a factor
}
"""What the energies of shipped cases state. In langevin-network −½tanh(2x + 1) is the student's neuron ½tanh(−2x − 1)."""


@pytest.mark.parametrize("name", LANDMARKS)
def test_landmarks_of_shipped_cases(name):
    case = load_case(name)
    grid = case.grid()
    found = case.energy.landmarks(grid, case.directory)
    assert [mark.label for mark in found] == [label for label, _ in LANDMARKS[name]]
    half = {f.name: f.cell_width / 2 if f.period > 0 else 1e-12 for f in grid.factors}
    for mark, (_, points) in zip(found, LANDMARKS[name], strict=True):
        assert set(mark.points) == set(points)
        for factor, values in points.items():
            np.testing.assert_allclose(mark.points[factor], values, atol=half[factor])
        assert mark.points or mark.masses.shape == tuple(grid.shape[grid.order.index(n)] for n in mark.over)


def test_teachers_stand_on_the_side_of_their_sign():
    """bn-circle: the neuron with the weight 1 at the right frame of every map, that with −1 at the left one."""
    case = load_case("bn-circle").replace({"space.a.cells": 20, "space.angle.cells": 24, "time.stop": 0.5, "time.save": 2})
    panels = maps_of(plot(solve(case)))
    assert [tick.get_text() for tick in panels[0].get_yticklabels()] == ["0", "π/2", "π", "3π/2", "2π"]
    for axes in panels:
        arrows = {
            line.get_marker(): (line.get_xdata()[0], line.get_ydata()[0]) for line in axes.lines if line.get_marker() in "<>"
        }
        assert {marker: place[0] for marker, place in arrows.items()} == {"<": 1.0, ">": 0.0}
        assert arrows["<"][1] == pytest.approx(np.arctan2(0.5, 1.0), abs=np.pi / 24)


def test_without_the_energy_or_its_files_there_is_no_target(discrepancy, tmp_path, monkeypatch):
    own = discrepancy.assign_attrs(energy_class="Mine", case="[space.x]\n[space.y]\n")
    assert reference_of(own).order == ("x", "y")
    assert reference_of(own).landmarks == []
    monkeypatch.chdir(tmp_path)
    text = solve(reduced("mmd-samples")).attrs["case"]
    moved = discrepancy.assign_attrs(case=text, case_name="mine")
    assert "without target and exact solution: no file" in str(reference_of(moved).notes) or reference_of(moved).landmarks == []
    assert "without target" in titles(plot(solve(reduced("mmd-samples")).assign_attrs(case_name="mine")))


# the whole figure


def titles(figure):
    return "\n".join(text.get_text() for text in figure.texts)


def test_the_title_has_the_source_and_what_is_doubtful(signed, curves):
    assert titles(plot(signed)) == "ReLU network on the Thurber regression data, (w, b) × {−1, +1} (S2 §8)"
    assert "user" not in titles(plot(curves))
    doubtful = curves.assign_attrs(warnings="mass at the walls\nand more", title="costs $5 and $")
    assert titles(plot(doubtful)) == "costs $5 and $\nNote: mass at the walls (+1)"
    assert titles(plot(doubtful, size="paper")) == ""


def test_panels_of_numbers_are_drawn_where_there_is_something_to_see(signed, curves):
    labels = [axes.get_ylabel() for axes in plot(signed).get_axes()]
    assert labels.count("loss") == labels.count("output") == 1
    assert not any("step" in label for label in labels)
    assert certificates(signed) == {}
    assert set(certificates(curves)) == {"error_w1", "error_l1"}
    assert "boundary_mass" in certificates(signed.assign(boundary_mass=signed["boundary_mass"] + 1e-3))


def check_texts(figure, size):
    """No text smaller than 6.5 points at the width of a column, or on a screen, no legend over axes, all inside of the figure.

    Returns the number of legends.
    """
    figure.draw_without_rendering()
    assert figure.get_figwidth() == STYLES[size].width
    assert figure.get_facecolor() == (1, 1, 1, 1)
    texts = [text for text in figure.findobj(Text) if text.get_visible() and text.get_text()]
    assert min(text.get_fontsize() for text in texts) >= 6.5
    parts = [figure, *figure.subfigs, *(inner for part in figure.subfigs for inner in part.subfigs)]
    legends = [legend for part in parts for legend in part.legends]
    legends += [axes.get_legend() for axes in figure.get_axes() if axes.get_legend() is not None]
    frames = [axes.patch.get_window_extent() for axes in figure.get_axes()]
    for legend in legends:
        box = legend.get_window_extent()
        assert not any(box.padded(-1).overlaps(frame) for frame in frames)
        assert box.x0 >= -1
        assert box.x1 <= figure.bbox.x1 + 1
    for axes in figure.get_axes():
        box = axes.get_tightbbox()
        assert box is None or (box.x0 >= -3 and box.x1 <= figure.bbox.x1 + 3)
    return len(legends)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", ["signed", "curves", "discrepancy"])
def test_texts_are_legible_and_legends_outside(name, size, request):
    dataset = request.getfixturevalue(name)
    assert check_texts(plot(dataset, size=size), size) > 0 or (name, size) == ("signed", "paper")


@pytest.mark.parametrize("saves", [[0], [-1], [0, -1]])
def test_results_of_few_saves_are_drawn(curves, discrepancy, saves, tmp_path):
    """Runs that were interrupted early."""
    for dataset in (curves, discrepancy):
        for size in SIZES:
            check_texts(plot(dataset.isel(time=saves), size=size), size)
    plot(curves.isel(time=saves), tmp_path / "a.gif")


def test_settings_of_the_session_are_left_alone(curves):
    before = dict(matplotlib.rcParams)
    plot(curves)
    assert dict(matplotlib.rcParams) == before


@pytest.mark.parametrize("ending", ["png", "pdf", "svg", "gif"])
def test_files(curves, tmp_path, ending):
    plot(curves, tmp_path / f"a.{ending}")
    assert (tmp_path / f"a.{ending}").stat().st_size > 5000


def test_one_dimensional_densities_are_curves(curves):
    lines = plot(curves.drop_attrs()).get_axes()[0].lines
    assert len(lines) == STYLES["screen"].curves
    np.testing.assert_array_equal(lines[-1].get_ydata(), curves["density"].isel(time=-1))


def test_frames_share_their_scale_and_show_the_time(discrepancy, tmp_path):
    figure, update = first_frame(Sheet(discrepancy, reference_of(discrepancy), MOVIE))
    (axes,) = maps_of(figure)
    seen = []
    for k in range(4):
        update(k)
        mesh = mesh_of(axes)
        seen.append((mesh.norm.vmin, mesh.norm.vmax, axes.get_xlim(), axes.get_ylim()))
        np.testing.assert_array_equal(mesh.get_array(), np.maximum(discrepancy["density"][k].transpose("y", "x"), mesh.norm.vmin))
        assert figure.get_suptitle() == f"t = {2 * k}"
    assert len(set(seen)) == 1


def test_a_gif_has_the_same_colours_in_all_frames(discrepancy, tmp_path):
    """The bar of colours looks the same in all of them, though they use different parts of it."""
    figure = plot(discrepancy, tmp_path / "a.gif")
    bar = next(axes for axes in figure.get_axes() if axes.get_label() == "<colorbar>").get_window_extent()
    with Image.open(tmp_path / "a.gif") as movie:
        assert movie.n_frames == 4
        assert movie.size[0] >= 800
        column = round((bar.x0 + bar.x1) / 2)
        rows = slice(round(movie.size[1] - bar.y1) + 2, round(movie.size[1] - bar.y0) - 2)
        bars = [np.asarray(frame.convert("RGB"))[rows, column] for frame in ImageSequence.Iterator(movie)]
    assert all((bar == bars[0]).all() for bar in bars)
    assert len(np.unique(bars[0], axis=0)) > 100


def test_frames_of_curves_keep_their_axes(curves):
    figure, update = first_frame(Sheet(curves, reference_of(curves), MOVIE))
    axes = figure.get_axes()[0]
    top = axes.get_ylim()[1]
    update(8)
    assert axes.get_ylim()[1] == top >= float(curves["density"].max())
    np.testing.assert_array_equal(axes.lines[-2].get_ydata(), curves["density"].isel(time=8))


def test_foreign_files_and_sizes_are_refused(tmp_path, curves):
    xarray.Dataset({"a": 1}).to_netcdf(tmp_path / "a.nc")
    with pytest.raises(InputError, match="lacks the variables"):
        plot(tmp_path / "a.nc", tmp_path / "a.png")
    with pytest.raises(InputError, match="existing directory"):
        plot(tmp_path / "a.nc", tmp_path / "no" / "a.png")
    with pytest.raises(InputError, match="one of: screen, paper"):
        plot(curves, size="poster")
    with pytest.raises(InputError, match=r"write a\.pdf"):
        plot(curves, tmp_path / "a.gif", size="paper")


def test_the_command_line_draws_both_sizes(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = ["--set", "space.theta.cells=32", "--set", "time.save=3", "--quiet", "--plot", "--size", "paper"]
    assert main(["solve", "teacher-1d-quadratic", "-o", "a.nc", *words]) == 0
    assert main(["plot", "a.nc", "-o", "b.png"]) == 0
    assert main(["solve", "teacher-1d-quadratic", "-o", "c.nc", "--size", "paper"]) == 2
    from matplotlib.image import imread

    widths = [imread(f"{name}.png").shape[1] for name in "ab"]
    assert widths == [round(STYLES[size].width * STYLES[size].dpi) for size in ("paper", "screen")]


def test_mp4_needs_an_ffmpeg(signed, tmp_path, monkeypatch):
    monkeypatch.setattr("matplotlib.animation.FFMpegWriter.isAvailable", lambda: False)
    with pytest.raises(InputError, match="gridflow\\[movie\\]"):
        plot(signed, tmp_path / "a.mp4")


FEW = ["ensemble-resnet-3", "porous-medium-2d", "torsion", "relu-total-variation", "heat-sphere"]
"""Cases of different kinds, which solve in no time when they are reduced."""


@pytest.mark.parametrize("name", [*FEW, *(pytest.param(n, marks=pytest.mark.slow) for n in shipped_cases() if n not in FEW)])
def test_every_case_is_drawn(name):
    """At both sizes, without warnings, which are errors here."""
    dataset = solve(reduced(name))
    for size in SIZES:
        check_texts(plot(dataset, size=size), size)
