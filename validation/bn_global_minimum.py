"""Where does training end (S1 Theorem 5)? In a global minimum if the start separates; elsewhere perhaps if it does not.

Smooth σ = tanh, d = 2, targets of two teacher neurons, so that the global minimum is 0.

1. A start that separates {a = r} × Ω from {a = −r} × Ω: uniform on [−1, 1] × Ω, case bn-global-minimum. On the grid and with
   neurons the loss goes to 0.
2. A start that does not: all neurons at one point. The velocity of a neuron depends on its place and on the predictions only, so
   neurons at one place stay together: the densities δ_θ form an invariant set, on which the flow is that of one neuron.
   Its loss stays above L₁ = min_θ L(δ_θ) > 0, computed here by least squares over a for 10⁵ directions (too large by 1e−10 then).
   It stalls where the gradient vanishes, and this is no global minimum: there g(b) = E[ℓ' σ(b̄ᵀx)] ≠ 0 for other b, and a neuron
   there would lower the loss at the rate |a g|. A path from {−r} × Ω to {r} × Ω gets around one point. On a grid every density
   becomes positive, so that this part is for neurons alone.
3. A start in a small disc around that point does not separate either. Theorem 5 is silent about it: its condition is sufficient.
   It lingers near the loss of one neuron and then leaves: the stationary point of 2. is unstable in the space of densities.

Losses and gradients (root mean square over neurons, of −grad ξ) are printed over time.
"""

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

import gridflow
from gridflow.particles.cloud import Cloud
from gridflow.particles.simulation import Simulator
from validation.claim import Claim

TIMES = [0.0, *np.geomspace(0.5, 400.0, 40).round(3).tolist()]
SHOWN = (0, 1, 10, 20, 25, 30, 35, 40)
NEURONS = 256
STARTS = 12
RADIUS = 0.1
DIRECTIONS = 100_000


def features(energy, angle):
    """σ(b̄ᵀx) for directions, (n, n_data)."""
    data = energy.data
    b = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    b /= np.sqrt(np.einsum("ni,ij,nj->n", b, data.covariance(), b))[:, None]
    return np.tanh(b @ data.inputs.T)


def best_of_one_neuron(energy):
    """(L₁, a, angle): the least loss of one neuron; a by least squares for each direction."""
    mu, y = energy.data.weights, energy.data.targets[:, 0]
    best = (np.inf, 0.0, 0.0)
    for angle in np.array_split(np.arange(DIRECTIONS) * 2 * np.pi / DIRECTIONS, 100):
        phi = features(energy, angle)
        a = phi @ (mu * y) / (phi**2 @ mu)
        loss = 0.5 * ((a[:, None] * phi - y) ** 2) @ mu
        k = int(loss.argmin())
        best = min(best, (float(loss[k]), float(a[k]), float(angle[k])))
    return best


def gradients(simulator, run):
    """Root mean square of grad ξ at the neurons over the saves."""
    norms = []
    for points in run.points:
        gradient = simulator.energy.evaluate(points, run.weights).gradient
        norms.append(float(np.sqrt(run.weights @ (gradient**2).sum(axis=1))))
    return np.array(norms)


def reproduce(directory: Path, quick: bool) -> list[Claim]:
    case = gridflow.load_case("bn-global-minimum")
    case = case.replace({"space.a.cells": 60, "space.angle.cells": 64, "particles.integrator.step": 0.4} if quick else {})
    starts, neuron_count = (2, 64) if quick else (STARTS, NEURONS)
    simulator = Simulator.of(case)
    energy = simulator.energy
    factors = [f.name for f in simulator.factors]
    columns = [factors.index(n) for n in ("a", "angle")]

    def run(places):
        points = np.empty((len(places), 2))
        points[:, columns] = places
        return simulator.run(Cloud(points, np.full(len(places), 1 / len(places))), times=TIMES)

    zero = 0.5 * float(energy.data.weights @ energy.data.targets[:, 0] ** 2)
    print(f"loss of no network at all {zero:.4f}")
    dataset = gridflow.solve(case)
    time, loss = dataset["time"].to_numpy(), dataset["energy"].to_numpy()
    neurons = simulator.run(neuron_count, times=TIMES, sampling="sobol")
    norms = gradients(simulator, neurons)
    print(f"\n1. separating start: grid, and {neuron_count} neurons\n  time    loss, grid   loss, neurons   gradient")
    for k in SHOWN:
        grid_loss = f"{np.exp(np.interp(TIMES[k], time, np.log(loss))):12.3e}" if TIMES[k] <= time[-1] else f"{'':>12}"
        print(f"{TIMES[k]:7.2f} {grid_loss} {neurons.energy[k]:13.3e} {norms[k]:12.1e}")
    late = np.array(TIMES) >= 40
    power = np.polyfit(np.log(np.array(TIMES)[late]), np.log(neurons.energy[late]), 1)[0]
    print(f"grid at t = {time[-1]:g}: {loss[-1]:.3e}; fitted power of t from 40 on, neurons: {power:.2f}")

    least, a, angle = best_of_one_neuron(energy)
    print(f"\n2. one point: least loss of one neuron L₁ = {least:.6f} at a = {a:.3f}, angle = {np.degrees(angle):.1f}°")
    rng = np.random.default_rng(1)
    places = np.column_stack([rng.uniform(-1, 1, starts), rng.uniform(0, 2 * np.pi, starts)])
    singles = [run(place[None]) for place in places]
    slopes, stalled = [], []
    print("  a₀   angle₀   final loss   above L₁   gradient   max |g(b)|   a, angle at the end")
    every = np.arange(3600) * np.pi / 1800
    mu = energy.data.weights
    for place, single in zip(places, singles, strict=True):
        end = single.points[-1][0, columns]
        g = features(energy, every) @ (mu * (single.prediction[-1][:, 0] - energy.data.targets[:, 0]))
        row = (place[0], np.degrees(place[1]), single.energy[-1], single.energy[-1] - least, gradients(simulator, single)[-1])
        slopes.append(float(np.abs(g).max()))
        stalled.append(row[-1])
        ends = (np.abs(g).max(), end[0], np.degrees(end[1]))
        print("{:6.2f} {:7.1f}° {:12.6f} {:10.1e} {:10.1e} {:10.3f} {:9.3f} {:7.1f}°".format(*row, *ends))
    together = run(np.repeat(places[:1], neuron_count, axis=0))
    spread = np.ptp(together.points[-1], axis=0).max()
    print(f"{neuron_count} neurons at the first point: loss {together.energy[-1]:.6f}, spread at the end {spread:.1e}")

    disc = RADIUS * np.sqrt(rng.random(neuron_count)), 2 * np.pi * rng.random(neuron_count)
    small = run(places[0] + np.column_stack([disc[0] * np.cos(disc[1]), disc[0] * np.sin(disc[1])]))
    norms = gradients(simulator, small)
    print(f"\n3. a disc of radius {RADIUS} around the first point\n  time         loss   gradient   spread of a, angle")
    for k in SHOWN:
        a, angle = small.points[k][:, columns].T
        turned = np.angle(np.exp(1j * (angle - angle[0])))
        print(f"{TIMES[k]:7.2f} {small.energy[k]:12.3e} {norms[k]:10.1e} {np.ptp(a):10.2f} {np.ptp(turned):8.2f}")

    draw(directory, least, (time, loss), neurons, singles, small)
    pictures = ("bn-global-minimum.png",)
    final = [single.energy[-1] for single in singles]
    start = float(loss[0])
    return [
        Claim(
            "bn-global-grid", "S1 Theorem 5", "A start that separates converges to a global minimum: loss 0, with a teacher.",
            "loss of the density at t = 40 over that at the start", float(loss[-1]) / start, (0.0, 1e-2),
            "towards 0 like a power of t (fitted below on neurons): a hundredth is far below the loss of one neuron",
            pictures=pictures,
            opposite=(least / start, np.inf),
        ),
        Claim(
            "bn-global-neurons", "S1 Theorem 5", "A start that separates converges to a global minimum: loss 0, with a teacher.",
            f"loss of {neuron_count} neurons at t = 400 over that at the start", float(neurons.energy[-1] / neurons.energy[0]),
            (0.0, 1e-3), "towards 0 like a power of t of some −1 or steeper: ten times below the bound at t = 40",
            pictures=pictures,
            opposite=(least / start, np.inf),
        ),
        Claim(
            "bn-global-power", "S1 Theorem 5", "It converges.", "power of t in the loss of the neurons from t = 40 to 400",
            float(power),
            (-np.inf, -0.5), "a gradient flow that converges lowers the loss for good; slower than t^{-½} would be a plateau",
            pictures=pictures, opposite=(-0.05, np.inf),
        ),
        Claim(
            "bn-global-one-point", "S1 Theorem 5", "Without separation it may end elsewhere (the theorem is silent).",
            "least final loss from all neurons at one point, over the least loss L₁ > 0 of one neuron", float(min(final) / least),
            (1 - 1e-6, np.inf),
            "neurons at one place stay together; L₁ by least squares for 10⁵ directions is too large by 10⁻¹⁰",
            pictures=pictures, finding="Neurons at one place stay together: the loss can never fall below that of one neuron.",
        ),
        Claim(
            "bn-global-stationary", "S1 Theorem 5", "A stationary point that is no global minimum has g(b) ≠ 0 for some b.",
            "least over the starts of max|g(b)| over the gradient at the end (or over 1e−9, if that is less)",
            min(g / max(d, 1e-9) for g, d in zip(slopes, stalled,
            strict=True)),
            (10.0, np.inf),
            "the neurons have stalled where their gradient is at most a tenth of what a neuron elsewhere would feel",
            pictures=pictures,
        ),
        Claim(
            "bn-global-disc", "gridflow",
            "The point is unstable: a small disc around it lingers, then leaves for the global minimum.",
            f"loss of {neuron_count} neurons from a disc of radius {RADIUS:g} at t = 400, over L₁",
            float(small.energy[-1] / least),
            (0.0, 0.5), "half of the least loss of one neuron: no network of one place has it", pictures=pictures, opposite=(1.0,
            np.inf),
        ),
    ]  # fmt: skip


def draw(directory, least, grid, neurons, singles, small) -> None:
    """Losses over time from starts that separate, and that do not."""
    time, loss = grid
    starts = len(singles)
    figure = Figure(figsize=(10, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    for axes in (left, right):
        axes.axhline(least, color="0.6", ls="--", lw=1, label="L₁, the least loss of one neuron")
        axes.set(xscale="log", yscale="log", xlabel="time", ylabel="loss", ylim=(1e-5, 1))
    left.plot(TIMES[1:], neurons.energy[1:], color="C0", label=f"separating start, {len(neurons.weights)} neurons")
    left.plot(time[1:], loss[1:], "--", color="k", lw=1.2, label="the same on the grid")
    left.set_title("a start that separates goes to 0")
    for number, single in enumerate(singles):
        right.plot(
            TIMES[1:], single.energy[1:], color="C3", lw=0.7, label=None if number else f"all at one point, {starts} starts"
        )
    right.plot(TIMES[1:], small.energy[1:], color="C1", label=f"{len(neurons.weights)} neurons in a disc of radius {RADIUS}")
    right.set_title("starts that do not separate")
    for axes in (left, right):
        axes.legend(fontsize="small")
    figure.savefig(directory / "bn-global-minimum.png", dpi=100)
