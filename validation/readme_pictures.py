"""The pictures of the README: a batch-norm network on R × S¹ with its verdict, and one on R × S² (S1 Fig. 1, setting assumed).

Solves bn-circle and bn-sphere, draws them as `gridflow solve CASE --plot` does, and validates bn-circle as `gridflow validate`
does. The caption says that neurons with a > 0 gather at one teacher direction and those with a < 0 at the other: measured is the
share of ∫|a|dρ of each sign whose direction is within 0.2 of that of the teacher neuron of this sign; 0.064 if it were uniform.
"""

from pathlib import Path

import numpy as np

import gridflow
from validation.claim import Claim

NEAR = 0.2
QUICK_GRID = {"space.a.cells": 80, "space.angle.cells": 192}
QUICK_VERDICT = {
    "time.stop": 5.0,
    "time.save": 11,
    "validation.times": 2,
    "particles.counts": [32, 128, 512],
    "particles.ensembles": 8,
    "particles.verdict.count": 2048,
    "particles.integrator.step": 0.1,
}


def share_near(case, dataset, sign: float, direction: list[float]) -> float:
    """Share of ∫|a|dρ over the neurons with this sign of a whose angle is within NEAR of the direction, at the end."""
    masses = (dataset["density"].isel(time=-1) * dataset["cell_volume"]).transpose("a", "angle").to_numpy()
    outputs, angles = dataset["a"].to_numpy(), dataset["angle"].to_numpy()
    by_angle = np.maximum(sign * outputs, 0.0) @ masses
    apart = np.angle(np.exp(1j * (angles - np.arctan2(direction[1], direction[0]))))
    return float(by_angle[np.abs(apart) < NEAR].sum() / by_angle.sum())


def reproduce(directory: Path, quick: bool) -> list[Claim]:
    case = gridflow.load_case("bn-circle")
    dataset = gridflow.solve(case.replace(QUICK_GRID) if quick else case)
    gridflow.plot(dataset, directory / "bn-circle.png")
    sphere = gridflow.load_case("bn-sphere").replace({"space.a.cells": 32, "space.b.level": 2} if quick else {})
    surface = gridflow.solve(sphere)
    gridflow.plot(surface, directory / "bn-sphere.png")
    verdict = gridflow.validate(case.replace(QUICK_VERDICT) if quick else case, directory, quick=quick)
    neurons = case.energy.data.neurons
    claims = [
        Claim(
            f"readme-neurons-{word}",
            "gridflow",
            f"Neurons with a {symbol} 0 gather at one teacher direction.",
            f"share of ∫|a|dρ over a {symbol} 0 within {NEAR} of the direction of the teacher neuron of this sign, t = 20",
            share_near(case, dataset, sign, neuron.direction),
            band=(0.5, 1.0),
            reason="most of it; 0.064 if nothing gathered",
            pictures=("bn-circle.png",),
        )
        for word, symbol, sign, neuron in (("positive", ">", 1.0, neurons[0]), ("negative", "<", -1.0, neurons[1]))
    ]
    claims.append(
        Claim(
            "readme-verdict",
            "gridflow",
            "The density of bn-circle agrees with particle runs of the same energy.",
            "number of compared quantities that do not pass",
            float((verdict["outcome"] != "pass").sum()),
            band=(0.0, 0.0),
            reason="every quantity passes its threshold",
            pictures=("bn-circle-validation.png",),
        )
    )
    claims.append(
        Claim(
            "readme-mass",
            "gridflow",
            "Mass is conserved to round-off.",
            "largest error of the mass in bn-circle and bn-sphere",
            max(float(d.attrs["mass_error_max"]) for d in (dataset, surface)),
            band=(0.0, 1e-12),
            reason="sums of 10⁵ cells in float64 over 10⁴ steps: 10⁻¹⁶ times the square root of the steps, with a margin",
            pictures=("bn-sphere.png",),
        )
    )
    return claims
