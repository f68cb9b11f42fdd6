"""Orders against exact solutions, in space and in time.

Slopes in W1 ≥ 1.9 (theory 2); in L1 ≥ 1.8, because the limiter clips the extrema of the density and L1 sees it.
"""

import numpy as np
import pytest
from helpers import HEAT_CIRCLE, HEAT_INTERVAL, IDENTITY, ORNSTEIN_UHLENBECK, QUADRATIC, case_of

from gridflow.case.case import load_case
from gridflow.solver import solve

CELLS = (256, 512, 1024)
FITTED = {"scheme__diffusion": "scharfetter-gummel"}
STRANG = {"scheme__diffusion": "heat-semigroup"}

SECOND_ORDER = {
    # name: (case, factor, changes, ceiling on the W1 error at 256 cells). Ceilings: 4e−4 is what we promise for the quadratic
    # activation; a translation clips the peaks over a longer way; the harmonics have the relative error (kh)²/12·Dk²t of their
    # discrete rate, times the amplitude
    "quadratic activation": (QUADRATIC, "theta", {}, 4e-4),
    "identity activation": (IDENTITY, "theta", {}, 1e-3),
    "Ornstein–Uhlenbeck, fitted": (ORNSTEIN_UHLENBECK, "x", FITTED, 4e-4),
    "Ornstein–Uhlenbeck, Strang": (ORNSTEIN_UHLENBECK, "x", STRANG, 4e-4),
    "heat on an interval, fitted": (HEAT_INTERVAL, "x", FITTED, 1e-4),
    "heat on an interval, semigroup": (HEAT_INTERVAL, "x", STRANG, 1e-4),
    "heat on a circle, fitted": (HEAT_CIRCLE, "x", FITTED, 1e-4),
    "heat on a circle, semigroup": (HEAT_CIRCLE, "x", STRANG, 1e-4),
}


def errors(table, factor, changes, cells):
    case = case_of(table, **{f"space__{factor}__cells": cells, **changes})
    last = solve(case).isel(time=-1)
    return float(last["error_w1"]), float(last["error_l1"])


def slopes(values):
    return np.log2(np.array(values[:-1]) / np.array(values[1:]))


@pytest.mark.parametrize(("table", "factor", "changes", "ceiling"), SECOND_ORDER.values(), ids=SECOND_ORDER.keys())
def test_second_order_in_space(table, factor, changes, ceiling):
    w1, l1 = zip(*(errors(table, factor, changes, n) for n in CELLS), strict=True)
    assert w1[0] <= ceiling
    assert slopes(w1).min() >= 1.9, f"W1 errors {w1}, slopes {slopes(w1)}"
    assert slopes(l1).min() >= 1.8, f"L1 errors {l1}, slopes {slopes(l1)}"


@pytest.mark.parametrize(("table", "factor"), [(QUADRATIC, "theta"), (IDENTITY, "theta")])
def test_first_order_upwind_has_order_one(table, factor):
    w1 = [errors(table, factor, {"scheme__order": 1}, n)[0] for n in CELLS]
    assert np.abs(slopes(w1) - 1).max() <= 0.1, f"W1 errors {w1}"


def test_graded_cells_keep_the_order():
    changes = {"space__theta__grading": {"focus": 1.0, "ratio": 4.0}}
    w1 = [errors(QUADRATIC, "theta", changes, n)[0] for n in CELLS]
    assert slopes(w1).min() >= 1.9, f"W1 errors {w1}"


@pytest.mark.parametrize("changes", [{}, STRANG], ids=["Runge–Kutta", "Strang"])
def test_second_order_in_time(changes):
    """Fixed grid and fixed steps against very small ones; first-order fluxes, whose right-hand side is smooth where u ≠ 0."""
    table = {**ORNSTEIN_UHLENBECK, "exact": None} if changes else {**QUADRATIC, "exact": None}
    table = {k: v for k, v in table.items() if v is not None}
    case = case_of(table, scheme__order=1, **changes)
    grid = case.grid()
    stepper = case.scheme.init(case.problem())
    start = stepper.start(case_density(case, grid))
    span = 0.125

    def run(steps):
        state = start
        for _ in range(steps):
            state = stepper.attempt(state, span / steps)[0]
            assert state is not None
        return state.density

    finest = run(2048)
    gaps = [np.abs(run(n) - finest).sum() for n in (32, 64, 128)]
    assert np.abs(slopes(gaps) - 2).max() <= 0.1, f"errors {gaps}"


def case_density(case, grid):
    from pathlib import Path

    from gridflow.space.mixture import mixture_masses

    return mixture_masses(case.initial, grid, Path(), "initial") / grid.volume


def test_riesz_quantiles():
    """MMD with −|x − y|: order 2 in W1, and 2e−5 of the domain at 512 cells."""
    case = load_case("mmd-riesz-1d")
    w1 = [float(solve(case.replace({"space.x.cells": n, "time.save": 5}))["error_w1"].max()) for n in (128, 256, 512)]
    assert w1[-1] <= 2e-5 * 6.0
    assert slopes(w1).min() >= 1.9, f"W1 errors {w1}, slopes {slopes(w1)}"
