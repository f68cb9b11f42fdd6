"""The face sweep against a plain NumPy version, on products of every kind of factor."""

import numpy as np
import pytest

from gridflow.scheme.finite_volume import tables as tables_module
from gridflow.scheme.finite_volume.stage import moved_energy, stage
from gridflow.scheme.finite_volume.tables import sweep_tables, upwind_ratio
from gridflow.space.circle import Circle
from gridflow.space.grid import Grid
from gridflow.space.labels import Labels
from gridflow.space.line import Grading, Interval
from gridflow.threads import blas_threads
from tests.reference.sweep import flux_divergence

LINE = Interval(bounds=(0.0, 2.0), cells=9).factor("line")
GRADED = Interval(bounds=(-1.0, 1.0), cells=8, grading=Grading(focus=0.2, ratio=4.0)).factor("graded")
CIRCLE = Circle(cells=7).factor("circle")
LONG_CIRCLE = Circle(cells=11).factor("long_circle")
LABELS = Labels(values=[1.0, 2.0, 4.0]).factor("labels")

GRIDS = {
    "line": Grid([LINE]),
    "circle": Grid([CIRCLE]),
    "labels": Grid([LABELS]),
    "line × circle": Grid([LINE, CIRCLE]),
    "circle × circle": Grid([CIRCLE, LONG_CIRCLE]),
    "graded × line × circle": Grid([GRADED, LINE, CIRCLE]),
    "labels × graded × circle": Grid([LABELS, GRADED, CIRCLE]),
    "labels × line × graded × circle": Grid([LABELS, LINE, GRADED, CIRCLE]),
    "mobility by label": Grid([LABELS, LINE, CIRCLE], {"circle": ("labels", LABELS.points**-2), "line": (None, np.array([0.5]))}),
    "mobility by line": Grid([LINE, CIRCLE], {"circle": ("line", LINE.points**-2.0)}),
    "frozen line": Grid([LINE, CIRCLE], {"line": (None, np.zeros(1))}),
}


MODES = {"first order": (None, None), "second order": (True, None), "fitted": (None, 0.3)}


@pytest.mark.parametrize("mode", MODES.values(), ids=MODES.keys())
@pytest.mark.parametrize("grid", GRIDS.values(), ids=GRIDS.keys())
def test_both_stages_agree_with_the_reference(grid, mode, rng):
    second_order, temperature = mode
    rho, xi = rng.random(grid.shape), rng.standard_normal(grid.shape)
    rate, outflow = flux_divergence(grid, rho, xi, second_order, temperature)
    view = (grid.size // grid.shape[-1], grid.shape[-1])
    tables = sweep_tables(grid)
    out, out2, dt = np.empty(view), np.empty(view), 0.01
    measured = stage(out, None, rho.reshape(view), xi.reshape(view), dt, tables, second_order, temperature)
    # sums of at most 8 fluxes of size 1e2: round-off 1e−14 times that
    np.testing.assert_allclose(out.reshape(grid.shape), rho + dt * rate, rtol=0, atol=1e-12)
    weight = xi * grid.volume
    decrease = pytest.approx((weight * dt * rate).sum(), abs=1e-13 * np.abs(weight).sum())  # round-off of densities of order 1
    assert measured == (pytest.approx(outflow.max(), rel=1e-12), decrease, 0.0, out.min())
    base = rng.random(grid.shape)
    measured = stage(out2, base.reshape(view), rho.reshape(view), xi.reshape(view), dt, tables, second_order, temperature)
    np.testing.assert_allclose(out2.reshape(grid.shape), (base + rho + dt * rate) / 2, rtol=0, atol=1e-12)
    before, after = (weight * (rho - base)).sum(), (weight * (out2.reshape(grid.shape) - rho)).sum()
    assert measured == (0.0, pytest.approx(after, rel=1e-10), pytest.approx(before, rel=1e-10), out2.min())


@pytest.mark.parametrize("mode", MODES.values(), ids=MODES.keys())
def test_mass_moves_downhill(mode):
    """The sign: in a bowl the second moment falls; at a small temperature too."""
    second_order, temperature = mode
    grid = Grid([Interval(bounds=(-1.0, 1.0), cells=20).factor("x")])
    x = grid.coordinate("x")
    rho, xi = np.ones(20), 5 * x**2
    out = np.empty((1, 20))
    stage(out, None, rho[None], xi[None], 1e-3, sweep_tables(grid), second_order, temperature)
    assert (out[0] * x**2).sum() < (rho * x**2).sum()


@pytest.mark.parametrize("grid", GRIDS.values(), ids=GRIDS.keys())
def test_the_positivity_bound_is_enough_even_beside_empty_cells(grid, rng):
    """dt·κ·outflow = 1 on densities with holes and jumps of 200 decades: never below zero."""
    tables, view = sweep_tables(grid), (grid.size // grid.shape[-1], grid.shape[-1])
    kappa = upwind_ratio(grid)
    for _ in range(200):
        rho = rng.random(view) * 10.0 ** rng.integers(-200, 1, view) * (rng.random(view) > 0.3)
        xi = rng.standard_normal(view)
        out = np.empty(view)
        outflow = stage(out, None, rho, xi, 0.0, tables, True, None)[0]
        dt = 1 / (kappa * outflow) if outflow > 0 else 1.0
        stage(out, None, rho, xi, dt, tables, True, None)
        assert out.min() >= 0


def test_a_frozen_factor_does_not_move(rng):
    grid = GRIDS["frozen line"]
    rho, xi = rng.random(grid.shape), rng.standard_normal(grid.shape)
    view = (grid.size // grid.shape[-1], grid.shape[-1])
    out = np.empty(view)
    stage(out, None, rho.reshape(view), xi.reshape(view), 0.01, sweep_tables(grid), True, None)
    out = out.reshape(grid.shape)
    np.testing.assert_allclose(grid.marginal_masses(out, "line"), grid.marginal_masses(rho, "line"), rtol=1e-14)
    assert not np.allclose(grid.marginal_masses(out, "circle"), grid.marginal_masses(rho, "circle"))


def test_moved_energy_is_its_sum(rng):
    grid = GRIDS["graded × line × circle"]
    view = (grid.size // grid.shape[-1], grid.shape[-1])
    potential, before, after = (rng.random(grid.shape) for _ in range(3))
    fields = (potential.reshape(view), before.reshape(view), after.reshape(view))
    total = moved_energy(*fields, sweep_tables(grid))
    assert total == pytest.approx((potential * (after - before) * grid.volume).sum(), rel=1e-12)


def test_subnormal_densities_are_flushed():
    grid = GRIDS["line"]
    out = np.empty((1, 9))
    stage(out, None, np.full((1, 9), 1e-300), np.zeros((1, 9)), 0.1, sweep_tables(grid), True, None)
    assert (out == 0).all()


@pytest.mark.parametrize("mode", MODES.values(), ids=MODES.keys())
@pytest.mark.parametrize("grid", GRIDS.values(), ids=GRIDS.keys())
def test_bands_are_one_sweep_whatever_the_threads(grid, mode, rng, monkeypatch):
    """As many bands as rows allow, at most 16: the same as one band, and bitwise the same on one, two and three threads."""
    view = (grid.size // grid.shape[-1], grid.shape[-1])
    rho, base, xi = rng.random(view), rng.random(view), rng.standard_normal(view)
    whole, measured = both_stages(rho, base, xi, sweep_tables(grid), mode)
    monkeypatch.setattr(tables_module, "BAND_CELLS", 1)
    tables = sweep_tables(grid)
    assert len(tables.bands) == 1 + min(16, view[0])
    found = []
    for threads in (1, 2, 3):
        with blas_threads(threads):
            found.append(both_stages(rho, base, xi, tables, mode))
    np.testing.assert_allclose(found[0][0], whole, rtol=0, atol=1e-12)
    np.testing.assert_allclose(found[0][1], measured, rtol=1e-10, atol=1e-12)
    for fields, numbers in found[1:]:
        np.testing.assert_array_equal(fields, found[0][0])
        assert numbers == found[0][1]


def both_stages(rho, base, xi, tables, mode):
    """New fields of an Euler and of an averaging stage, and what they measure."""
    fields = np.empty((2, *rho.shape))
    first = stage(fields[0], None, rho, xi, 0.01, tables, *mode)
    second = stage(fields[1], base, rho, xi, 0.01, tables, *mode, 0.9)
    return fields, [*first, *second]


def test_a_share_of_the_base(rng):
    """out = (1 − share)·base + share·(Euler step)."""
    grid = GRIDS["line × circle"]
    rho, base, xi = rng.random(grid.shape), rng.random(grid.shape), rng.standard_normal(grid.shape)
    euler, out = np.empty(grid.shape), np.empty(grid.shape)
    stage(euler, None, rho, xi, 0.01, sweep_tables(grid), True, None)
    stage(out, base, rho, xi, 0.01, sweep_tables(grid), True, None, 0.9)
    np.testing.assert_allclose(out, 0.1 * base + 0.9 * euler, rtol=0, atol=1e-14)


def test_mass_is_exact_on_large_grids_and_across_bands(rng):
    grid = Grid([Interval(bounds=(0.0, 1.0), cells=300).factor("x"), Circle(cells=256).factor("angle")])
    tables = sweep_tables(grid)
    assert len(tables.bands) > 2
    rho, xi, out = rng.random(grid.shape), rng.standard_normal(grid.shape), np.empty(grid.shape)
    stage(out, None, rho, xi, 1e-5, tables, True, None)
    assert grid.integrate(out) == pytest.approx(grid.integrate(rho), rel=1e-14)
    assert not np.allclose(out, rho, rtol=1e-3)
