"""At which speeds does a student learn two teacher neurons (S3 §2.2)?

    python validation/teacher_two_speeds.py

S3: with ρ* = α₁δ_{c₁} + α₂δ_{c₂} the flow decouples after a short time, and the neuron of weight α₁ is learned α₁/α₂ times as
fast as the other. In the case teacher-two-speeds (ReLU in one dimension, c = ±1) it decouples exactly. With the mass m of a side
and M = ∫|θ| dρ over it,

    dM/dt = −c m(M − α),    c = E max(x, 0)² = ½,

and m does not change as long as no mass crosses θ = 0. So the rates are c·m: α₁ : α₂ if the student's mass has split like the
teacher's, and as it has split otherwise. Prints for three values of α₁/α₂, from a generic start as well, the masses at the end,
the rates fitted to the defects |M − α| on the grid and with particles, and the times in which the defects fall to 1/e. (From the
generic start mass crosses 0 where M > α on its side: the rates change with the masses.)
"""

import numpy as np

import gridflow
from gridflow.particles.integrator import RungeKutta2

ALPHAS = (0.6, 0.8, 0.9)
SIDES = (1.0, -1.0)
PARTICLES = 4096
STARTS = {
    "split like the teacher": lambda alpha: [(alpha, 0.6, 0.1), (1 - alpha, -0.6, 0.1)],
    "generic, one bump": lambda alpha: [(1.0, 0.1, 0.3)],
}
SAVES = 121
FITTED = 1e-3
"""Defects below this share of their start are not fitted: the mass is close to the teacher within a small part of a cell."""


def two_speeds(alpha, start):
    """The case with the teacher's masses α, 1 − α and a mixture of (weight, mean, deviation) to start from, until t = 30."""
    neurons = [{"direction": [side], "weight": weight} for side, weight in zip(SIDES, (alpha, 1 - alpha), strict=True)]
    initial = [{"weight": w, "density": {"theta": {"kind": "normal", "mean": m, "deviation": d}}} for w, m, d in start]
    changes = {"energy.data.neurons": neurons, "initial": initial, "time.stop": 30.0, "time.save": SAVES}
    return gridflow.load_case("teacher-two-speeds").replace(changes)


def sides_of_grid(case):
    """Times (n,), masses (2,) at the end and moments M (n, 2) on the two sides."""
    dataset = gridflow.solve(case)
    theta = dataset["theta"].to_numpy()
    masses = (dataset["density"] * dataset["cell_volume"]).to_numpy()
    moments = np.stack([masses @ np.maximum(side * theta, 0) for side in SIDES], axis=1)
    return dataset["time"].to_numpy(), np.array([masses[-1] @ (side * theta > 0) for side in SIDES]), moments


def sides_of_particles(case):
    """The same; a fixed step, because the velocity jumps at 0."""
    run = gridflow.simulate(case, PARTICLES, seed=1, sampling="sobol", integrator=RungeKutta2(0.02))
    theta = run.points[..., 0]
    moments = np.stack([np.maximum(side * theta, 0) @ run.weights for side in SIDES], axis=1)
    return np.array(run.times), np.array([run.weights @ (side * theta[-1] > 0) for side in SIDES]), moments


def rates(time, moments, weights):
    """(slopes of −log|M − α| by least squares, times in which |M − α| falls to 1/e), (2,) each."""
    shares = np.abs(moments - weights) / np.abs(moments[0] - weights)
    found, times = [], []
    for share in shares.T:
        kept = share > FITTED
        last = kept.size if kept.all() else int(np.argmin(kept))
        found.append(-np.polyfit(time[:last], np.log(share[:last]), 1)[0])
        k = int(np.argmax(share <= np.exp(-1)))
        times.append(np.interp(1.0, -np.log(share[[k - 1, k]]), time[[k - 1, k]]))
    return np.array(found), np.array(times)


def main():
    for name, start in STARTS.items():
        print(f"start: {name}")
        print("  α₁ : α₂          masses             rates              ratio    1/e after")
        for alpha in ALPHAS:
            case, weights = two_speeds(alpha, start(alpha)), np.array([alpha, 1 - alpha])
            ratio = f"{alpha / (1 - alpha):.3g}"
            for kind, sides in (("grid", sides_of_grid(case)), ("particles", sides_of_particles(case))):
                time, masses, moments = sides
                speeds, times = rates(time, moments, weights)
                print(
                    f"  {ratio:<5} {kind:<10} {masses[0]:.4f} {masses[1]:.4f}      {speeds[0]:.4f} {speeds[1]:.4f}"
                    f"      {speeds[0] / speeds[1]:<8.4f} {times[0]:.2f} {times[1]:.2f}"
                )


if __name__ == "__main__":
    main()
