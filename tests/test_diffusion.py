"""Diffusion along single factors, beside the gradient flow: on the grid, with particles, and what refuses it."""

import numpy as np
import pytest
from helpers import HEAT_CIRCLE, HEAT_INTERVAL, ORNSTEIN_UHLENBECK, case_of

import gridflow
from gridflow.errors import InputError
from gridflow.flow.flow import Flow
from gridflow.space.grid import Grid
from gridflow.space.labels import Labels
from gridflow.space.line import Interval

BAR = {
    **ORNSTEIN_UHLENBECK,
    "title": "Ornstein–Uhlenbeck beside a frozen line with diffusion",
    "space": {
        "x": {"kind": "interval", "bounds": [-4.0, 4.0], "cells": 48},
        "depth": {"kind": "interval", "bounds": [0.0, 1.0], "cells": 64},
    },
    "initial": [
        {
            "density": {
                "x": {"kind": "normal", "mean": -0.8, "deviation": 0.4},
                "depth": {"kind": "cosine", "amplitude": 0.8, "wavenumber": 2},
            }
        }
    ],
    "flow": {"mobility": {"depth": {"value": 0.0}}, "diffusion": {"depth": 0.05}},
    "exact": None,
}


def without_exact(table):
    return {k: v for k, v in table.items() if v is not None}


def wave(dataset):
    """Amplitude of cos(2πε) in the marginal of the depth."""
    masses = (dataset["density"].isel(time=-1) * dataset["cell_volume"]).sum("x")
    return 2 * float((masses * np.cos(2 * np.pi * dataset["depth"])).sum())


def test_a_cosine_decays_at_its_rate_and_the_other_factor_does_not_notice():
    """exp(−D(2π)²t) along the depth; along x the transport alone, as without diffusion."""
    case = case_of(without_exact(BAR))
    dataset = gridflow.solve(case)
    # the Laplacian of n cells has the eigenvalue k²(1 − (kh)²/12), k = 2π, h = 1/64: 8e−4 of 0.79 in the exponent;
    # cell means and midpoints of the cosine differ by (kh)²/24 each
    assert wave(dataset) == pytest.approx(0.8 * np.exp(-0.05 * (2 * np.pi) ** 2 * 0.4), rel=2e-3)
    still = gridflow.solve(case.replace({"flow.diffusion": {}}))
    marginals = [(d["density"].isel(time=-1) * d["cell_volume"]).sum("depth") for d in (dataset, still)]
    assert np.abs(marginals[0] - marginals[1]).sum() < 2e-3  # steps differ: the ladder of the splitting
    assert wave(still) == pytest.approx(0.8, rel=2e-3)
    assert dataset.attrs["mass_error_max"] <= 1e-12
    assert dataset.attrs["energy_decreases"].startswith("not claimed")
    # a frozen factor has no walls that mass could be pressed against, whatever its density there
    assert float(dataset["boundary_mass"].max()) < 1e-10


def test_diffusion_alone_is_a_temperature_of_that_factor():
    for table in (HEAT_INTERVAL, HEAT_CIRCLE):
        hot = case_of(table, scheme__diffusion="heat-semigroup")
        own = hot.replace({"flow.temperature": 0.0, "flow.diffusion": {"x": 0.2}, "exact": None})
        one, two = (gridflow.solve(c)["density"].isel(time=-1) for c in (hot, own))
        np.testing.assert_allclose(one, two, rtol=1e-12)


def test_the_dissipation_counts_the_diffusion():
    """E = ∫½x² dρ rises by D per unit time: dissipation 2E − D for a stiffness of 1."""
    case = case_of(
        without_exact({**ORNSTEIN_UHLENBECK, "exact": None}),
        flow__temperature=0.0,
        flow__diffusion={"x": 0.3},
        energy__terms__x__stiffness=1.0,
        energy__terms__x__centre=0.0,
        space__x__cells=256,
    )
    dataset = gridflow.solve(case)
    energy = dataset["energy"].to_numpy()
    np.testing.assert_allclose(dataset["dissipation"], 2 * energy - 0.3, atol=2e-3)  # second order: h² = 1e−3


def test_particles_diffuse_alike():
    """W1 of the depth between grid and 2¹³ particles stays at the sampling error."""
    case = case_of(without_exact(BAR))
    from gridflow.particles.integrator import RungeKutta2

    n = 2**13
    run = gridflow.simulate(case, n, seed=2, integrator=RungeKutta2(0.02))
    depth = run.points[-1][:, [f.name for f in case.grid().factors].index("depth")]
    found = 2 * np.cos(2 * np.pi * depth).mean()
    expected = 0.8 * np.exp(-0.05 * (2 * np.pi) ** 2 * 0.4)
    assert abs(found - expected) < 4 * np.sqrt(2 / n)  # four standard errors, variance of 2cos at most 2


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"scheme": {"kind": "jko", "tau": 0.1}}, "JKO steps with flow.diffusion"),
        ({"scheme": {"kind": "exact-wasserstein", "tau": 0.1}}, "Wasserstein steps with flow.diffusion"),
        ({"time.steady": 1e-3}, "with flow.diffusion"),
        ({"flow.diffusion": {"z": 0.1}}, "flow.diffusion names the factor 'z'"),
    ],
)
def test_what_cannot_have_diffusion_refuses_it(changes, message):
    with pytest.raises(InputError, match=message):
        gridflow.solve(case_of(without_exact(BAR)).replace(changes))


def test_particles_without_noise_refuse_diffusion():
    from gridflow.particles.integrator import Adaptive
    from gridflow.particles.proximal import ProximalPoint

    for integrator in (Adaptive(), ProximalPoint(step=0.1)):
        with pytest.raises(InputError, match="diffusion"):
            gridflow.simulate(case_of(without_exact(BAR)), 8, integrator=integrator)


def test_labels_do_not_diffuse():
    factors = [Labels(values=[0.0, 1.0]).factor("s"), Interval(bounds=(0.0, 1.0), cells=4).factor("x")]
    with pytest.raises(InputError, match="along 's'"):
        Flow(diffusion={"s": 0.1}).terms(Grid(factors))
