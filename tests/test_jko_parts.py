"""What entropic JKO steps are made of: products in logarithms, single passes, extrapolated starts, the estimate of changes."""

import numpy as np
import pytest
from helpers import Linear, problem_of

from gridflow.scheme.jko.anderson import Anderson
from gridflow.scheme.jko.gibbs import GibbsKernel, log_gibbs_matrix
from gridflow.scheme.jko.log_product import in_blocks, log_product
from gridflow.scheme.jko.newton import extrapolated, next_differences
from gridflow.scheme.jko.passes import exponentials, mixing_pass
from gridflow.scheme.jko.scheme import JKO
from gridflow.space.circle import Circle
from gridflow.space.grid import Grid
from gridflow.space.labels import Labels
from gridflow.space.line import Grading, Interval

LINES = {
    "line": Interval(bounds=(-1.0, 2.0), cells=83).factor("x"),
    "graded": Interval(bounds=(-1.0, 2.0), cells=80, grading=Grading(focus=0.3, ratio=3.0)).factor("x"),
    "circle": Circle(cells=75).factor("x"),
}


def direct_product(logs, field):
    """log Σ_j exp(logs[i, j] + f[b, j, a]), term by term."""
    terms = logs[None, :, :, None] + field[:, None, :, :]
    top = terms.max(axis=2)
    return top + np.log(np.exp(terms - top[:, :, None, :]).sum(axis=2))


@pytest.mark.parametrize("slope", [0.0, 3.0, 30.0, 200.0], ids=lambda s: f"slope {s:g}")
@pytest.mark.parametrize("name", LINES)
def test_products_in_logarithms_agree_with_the_sum_term_by_term(name, slope, rng):
    """Columns and rows, full strips and the rest of one, empty cells; slopes in nats per cell, gentle ones and such that the
    largest scaled terms of a block are nothing."""
    factor = LINES[name]
    logs = log_gibbs_matrix(factor, 2.0 * factor.volumes.max() ** 2)
    blocks, n = in_blocks(logs), factor.size
    for before, after in ((1, 1), (70, 1), (1, 67), (3, 5)):
        field = slope * np.abs(np.arange(n) - 0.4 * n)[None, :, None] * rng.choice([-1.0, 1.0], (before, 1, after))
        field = field + 5 * rng.standard_normal((before, n, after))
        field[0, :3] = -1e4
        out = np.empty_like(field)
        log_product(*blocks, field, out)
        expected = direct_product(logs, field)
        # round-off of exponents as large as these, and of blocks below 2^−60 that are left out
        np.testing.assert_allclose(out, expected, rtol=1e-14, atol=1e-13)


def test_a_field_that_is_not_a_number_has_a_product_that_is_none():
    """A diverging iteration must be seen."""
    factor = LINES["line"]
    field = np.zeros((1, factor.size, 9))
    field[0, 20, 4] = np.nan
    out = np.empty_like(field)
    log_product(*in_blocks(log_gibbs_matrix(factor, factor.volumes.max() ** 2)), field, out)
    assert np.isnan(out[0, 16:24, 4]).all()
    assert np.isfinite(np.delete(out, 4, axis=2)).all()


def test_exponentials_reach_as_far_as_doubles_do():
    logs, volume = np.linspace(-800.0, 705.0, 1001), np.linspace(0.5, 2.0, 1001)
    masses = np.empty_like(logs)
    floored = logs.copy()
    exponentials(floored, -690.0, volume, masses)
    np.testing.assert_array_equal(floored, np.maximum(logs, -690.0))
    np.testing.assert_allclose(masses, np.exp(floored) * volume, rtol=2e-15)


def test_mixing_products_are_weighted_sums(rng):
    changes = rng.standard_normal((3, 2500)).astype(np.float32)
    step, weight, products = rng.standard_normal(2500), rng.random(2500), np.empty((4, 3))
    mixing_pass(changes, step, weight, products)
    gram = (changes.astype(float) * weight) @ changes.T.astype(float)
    np.testing.assert_allclose(products[:3], np.tril(gram), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(products[3], changes.astype(float) @ (weight * step), rtol=1e-12, atol=1e-12)


def test_a_history_goes_on_where_it_ended(rng):
    """From the history of steps in all directions but one, two more steps solve a linear problem; without it they do not."""
    matrix, target = np.diag([0.9, 0.5, -0.7, 0.2]), rng.standard_normal(4)

    def steps(x, mixing, count):
        for _ in range(count):
            x = mixing.next(x, (matrix - np.eye(4)) @ (x - target), np.ones(4))
        return x, mixing.history

    x, history = steps(np.zeros(4), Anderson(np.asarray), 4)
    assert history.shape == (2, 3, 4)
    with_history, without = (np.abs(steps(x, Anderson(np.asarray, h), 3)[0] - target).max() for h in (history, None))
    assert with_history < 0.1 * without


@pytest.mark.parametrize("degree", [0, 1, 2, 3])
def test_starts_are_extrapolated_with_the_best_order(degree, rng):
    """Sequences that are polynomials of the step are continued exactly, noise is not amplified; constants do not count."""
    coefficients = rng.standard_normal((degree + 1, 40))
    weight, differences, grid = rng.random(40), None, Grid([Circle(cells=40).factor("x")])
    for step in range(8):
        value = sum(c * step**k for k, c in enumerate(coefficients))
        if step > degree + 1:
            start = extrapolated(differences, weight, grid)
            error = (start - value) - weight @ (start - value) / weight.sum()
            assert np.abs(error).max() <= 1e-9 * np.abs(coefficients).max() * 8**degree
        differences = next_differences(value, differences, grid)
    for _ in range(6):
        differences = next_differences(rng.standard_normal(40), differences, grid)
    start = extrapolated(differences, weight, grid)
    assert np.abs(start).max() <= 5 * np.abs(differences[0]).max()


@pytest.mark.parametrize("bias", ["plain", "compensate", "debias"])
def test_a_smooth_step_changes_the_density_as_its_fluxes_say(bias):
    """Σ|(ε/2) div(p M grad f)| against the change of p(φ + δf), on a graded line, a circle and labels with their mobilities."""
    signs = Labels(values=[-1.0, 1.0]).factor("sign")
    line = Interval(bounds=(-1.0, 2.0), cells=80, grading=Grading(focus=0.3, ratio=1.5)).factor("x")
    grid = Grid([line, Circle(cells=60).factor("angle"), signs], {"angle": ("sign", np.array([0.5, 1.0]))})
    x, angle = grid.coordinate("x"), grid.coordinate("angle")
    density = np.exp(-2 * (x - 0.4) ** 2 + 0.5 * np.cos(angle)) * np.ones(grid.shape)
    density /= grid.integrate(density)
    stepper = JKO(tau=0.05, epsilon=2.0, bias=bias).init(problem_of(grid, Linear(0 * density), 0.1))
    equation, logs = stepper.equation, np.log(density)
    potential = equation.potential_at_rest(density, stepper.start(density).evaluation, 0.05)
    defect = equation.defect(potential, logs, 0.05)
    smooth = 1e-4 * np.sin(x + 0.3) * (1 + 0.5 * np.cos(angle + 0.2)) * np.ones(grid.shape)
    moved = equation.defect(potential + smooth, logs, 0.05)
    true = float(np.abs(moved.masses - defect.masses).sum())
    probe = type(defect)(defect.masses, defect.drive, smooth, 0.0, defect.log_kb, 0.0, defect.g)
    assert equation.change_by_flux(probe) == pytest.approx(true, rel=0.05)  # smooth on the scale √ε: (ε/4)k² ≪ 1
    assert true < 0.1 * float((defect.masses * np.abs(smooth)).sum())  # where the crude estimate is far off


def test_large_grids_with_narrow_kernels_run_in_logarithms():
    """And agree with the linear domain, which small grids take."""
    grid = Grid([Interval(bounds=(-1.0, 1.0), cells=n).factor(name) for n, name in ((120, "x"), (96, "y"))])
    kernel = GibbsKernel(grid, 2.0 * float(grid.volume.max()))
    assert not kernel.wide
    assert GibbsKernel(Grid([LINES["line"]]), 0.01).wide
    field = 30 * np.sin(3 * grid.coordinate("x")) * np.cos(2 * grid.coordinate("y"))
    np.testing.assert_allclose(kernel.apply_log(field), np.log(kernel.apply(np.exp(field))), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("bias", ["plain", "compensate", "debias"])
def test_labels_alone_stay_where_they_are(bias):
    """Mass does not move between labels: K is the identity, and a step without temperature changes nothing."""
    grid = Grid([Labels(values=[-1.0, 0.5, 1.0]).factor("s")])
    logs = np.array([1.0, -2.0, 3.0])
    np.testing.assert_array_equal(GibbsKernel(grid, 1.0).apply_log(logs), logs)
    masses = np.array([0.1, 0.3, 0.6])
    stepper = JKO(tau=0.1, bias=bias).init(problem_of(grid, Linear([1.0, 0.0, 2.0])))
    new = stepper.step(stepper.start(masses / grid.volume), 0.1)
    np.testing.assert_allclose(new.density * grid.volume, masses, rtol=1e-6)
