"""The three residual networks of S3 Fig. 1 (vanilla, ensemble, wide), and what Theorem 3 says of the ensemble.

A vanilla ResNet of L layers is an ensemble of one, and a wide ResNet of one neuron per layer: gradient descent on the particles
of either energy must be gradient descent on its parameters by back-propagation (ten lines of NumPy below, the reference). Time is
that of the mean field: a step η of the ensemble is a step η/L of the wide one (`gridflow.energy.resnet.spec`). With N networks
in the ensemble, or N neurons in each layer, predictions come close to those of the densities, as N^{-1/2}.

Theorem 3: at a loss E every coefficient of ρ − ρ* in a singular function of θ → X^L_θ is at most √(2E)/s_i, and the condition (5)
holds at inputs between the data as it does at the data.

Findings. All of this is shown. One network with a teacher of two becomes stationary at a loss, which Theorem 3 allows since δ_θ
is not positive.
"""

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

import gridflow
from gridflow.particles.cloud import Cloud
from gridflow.particles.integrator import GradientDescent, RungeKutta2
from gridflow.particles.simulation import Simulator
from validation.claim import Claim

TEACHER = (2.0, 0.8)
LAYERS = len(TEACHER)
STEP, STOP = 0.05, 10.0
COUNTS = (8, 32, 128, 512)
BLUE, ORANGE, GREEN = "#0072B2", "#D55E00", "#009E73"
INF = float("inf")


def backpropagation(theta, x, y, weights):
    """(loss, its gradient (L,)) of X^{ℓ+1} = X^ℓ + tanh(θ^ℓX^ℓ)/L, X^0 = x, for scalars θ^ℓ."""
    states = [x]
    for t in theta:
        states.append(states[-1] + np.tanh(t * states[-1]) / len(theta))
    error = weights * (states[-1] - y)
    loss, gradient = (error * (states[-1] - y)).sum() / 2, np.zeros(len(theta))
    for k in range(len(theta) - 1, -1, -1):
        turned = error * (1 - np.tanh(theta[k] * states[k]) ** 2) / len(theta)
        gradient[k] = (turned * states[k]).sum()
        error = error + theta[k] * turned
    return float(loss), gradient


def descent(theta, data, steps):
    """Iterates (steps + 1, L) and losses (steps + 1,) of gradient descent with the step STEP."""
    x, y, weights = data.inputs[:, 0], data.targets[:, 0], data.weights
    path, losses = [np.array(theta)], []
    for k in range(steps + 1):
        loss, gradient = backpropagation(path[-1], x, y, weights)
        losses.append(loss)
        if k < steps:
            path.append(path[-1] - STEP * gradient)
    return np.array(path), np.array(losses)


def ensemble(cells, networks=None):
    changes = {"space.theta_0.cells": cells, "space.theta_1.cells": cells, "time.stop": STOP, "time.save": 21}
    return gridflow.load_case("ensemble-resnet-2").replace(changes | ({"energy.data.networks": networks} if networks else {}))


def wide(cells):
    """The wide ResNet of two layers, with the data, the teacher and the initial neurons of the ensemble; its time is t/L."""
    start = [
        {"density": {"layer": {"kind": "weights", "values": v}, "theta": {"kind": "normal", "mean": m, "deviation": 0.5}}}
        for v, m in (([1, 0], -0.3), ([0, 1], 0.1))
    ]
    layers = [float(k) for k in range(LAYERS)]
    changes = {
        "space.layer.values": layers,
        "space.layer.volumes": [1 / LAYERS] * LAYERS,
        "space.theta.cells": cells,
        "initial": start,
        "space.theta.bounds": [-3.5, 3.5],
        "energy.data.networks": [{"layers": [[[t]] for t in TEACHER]}],
        "time.stop": STOP / LAYERS,
        "time.save": 21,
    }
    return gridflow.load_case("wide-resnet").replace(changes)


def data_of(case):
    return case.energy.load(Path(case.directory)).bind(case.grid()).data


def vanilla_by_particles(start):
    """Iterates (n_times, L) of an ensemble of one, and of a wide ResNet with one neuron per layer, at the saves."""
    one, layered = ensemble(16), wide(16)
    names = [f.name for f in one.grid().factors]
    point = np.array([[start[("theta_0", "theta_1").index(name)] for name in names]])
    run = gridflow.simulate(one, Cloud(point, np.ones(1)), integrator=GradientDescent(step=STEP))
    first = run.points[:, 0, [names.index(f"theta_{k}") for k in range(LAYERS)]]
    names = [f.name for f in layered.grid().factors]
    columns = {"layer": np.arange(LAYERS), "theta": np.array(start)}
    cloud = Cloud(np.stack([columns[name] for name in names], axis=1).astype(float), np.full(LAYERS, 1 / LAYERS))
    run = gridflow.simulate(layered, cloud, integrator=GradientDescent(step=STEP / LAYERS))
    return first, run.points[:, :, names.index("theta")]


def deviations(case, runs, stop):
    """Root mean square difference of the predictions of N particles (in every layer) and of the density at the end, by N."""
    dataset = gridflow.solve(case)
    wanted, weights = dataset["prediction"][-1].to_numpy().reshape(-1), data_of(case).weights
    simulator, found = Simulator.of(case), []
    per_layer = LAYERS if case.energy.model == "wide" else 1
    for i, count in enumerate(COUNTS):
        squares = []
        for seed in range(runs):
            run = simulator.run(count * per_layer, times=[0.0, stop], seed=100 * i + seed, integrator=RungeKutta2(stop / 25))
            squares.append(weights @ (run.prediction[-1][:, 0] - wanted) ** 2)
        found.append(np.sqrt(np.mean(squares)))
    return dataset, np.array(found)


def stuck():
    """(loss, |gradient|²) of a vanilla ResNet with a teacher of two networks, after descent until it hardly moves."""
    networks = [{"weight": 0.5, "layers": [[[2.0]], [[0.8]]]}, {"weight": 0.5, "layers": [[[-3.0]], [[1.5]]]}]
    data = data_of(ensemble(16, networks))
    theta, x, y = np.array([0.1, 0.2]), data.inputs[:, 0], data.targets[:, 0]
    for _ in range(4000):
        loss, gradient = backpropagation(theta, x, y, data.weights)
        theta = theta - 0.5 * gradient
    return loss, float(gradient @ gradient)


def lebesgue(case, dataset):
    """max over the inputs x of (5) of Σ|l_j(x)|, for the polynomials l_j of the data that these inputs span."""
    inputs = case.energy.stationarity.inputs.points()[0][:, 0]
    nodes = data_of(case).inputs[:, 0]
    nodes = np.sort(nodes)[[k for k in range(len(nodes)) if abs(np.sort(nodes)[k]) <= 3.5]]
    factors = (inputs[:, None, None] - nodes) / np.where(np.eye(len(nodes), dtype=bool), 1.0, nodes[:, None] - nodes)
    factors[:, np.eye(len(nodes), dtype=bool)] = 1.0
    at_data = np.abs(dataset["prediction"][-1].to_numpy().reshape(-1) - data_of(case).targets[:, 0])
    return float(np.abs(factors.prod(axis=2)).sum(axis=1).max()), float(at_data[np.abs(data_of(case).inputs[:, 0]) <= 3.5].max())


def draw(dataset, layered, paths, losses, found, path):
    figure = Figure(figsize=(13.5, 4.2), layout="constrained")
    planes, over_time, errors = figure.subplots(1, 3)
    density = dataset["density"].isel(time=-1).transpose("theta_1", "theta_0")
    planes.contourf(
        dataset["theta_0"], dataset["theta_1"], np.log10(np.maximum(density, 1e-4)), np.arange(-3, 1.6, 0.5), cmap="Blues"
    )
    for k, line in enumerate(paths):
        planes.plot(*line.T, color=ORANGE, lw=0.9, label="vanilla ResNets" if k == 0 else None)
        planes.plot(*line[-1], ".", color=ORANGE, ms=5)
        over_time.semilogy(np.arange(len(losses[k])) * STEP, losses[k], color=ORANGE, lw=0.7, label="vanilla" if k == 0 else None)
    planes.plot(*TEACHER, "k*", ms=13, label="teacher")
    planes.set(
        xlabel="θ⁰", ylabel="θ¹", xlim=(-2.5, 3.5), ylim=(-2, 3), title=f"density of the ensemble at t = {STOP:g} (blue, log)"
    )
    over_time.semilogy(dataset["time"], dataset["energy"], color=BLUE, lw=2.5, label="ensemble")
    over_time.semilogy(LAYERS * layered["time"], layered["energy"], "--", color=GREEN, lw=2.5, label="wide")
    over_time.set(xlabel="time of the ensemble", ylabel="loss", title="training of the three models", ylim=(3e-3, 3))
    for (label, values), colour in zip(found.items(), (BLUE, GREEN), strict=True):
        errors.loglog(COUNTS, values, "o-", color=colour, label=label)
    errors.loglog(COUNTS, 0.7 * found["ensemble"][0] * np.sqrt(COUNTS[0] / np.array(COUNTS)), "k--", label="N$^{−1/2}$")
    errors.set(
        xlabel="networks, or neurons per layer, N", ylabel="rms difference of predictions", title="N particles and their density"
    )
    for axes in (planes, over_time, errors):
        axes.legend(fontsize="small")
    figure.savefig(path, dpi=80)


def reproduce(directory: Path, quick: bool) -> list[Claim]:
    cells, runs = (64, 16) if quick else (192, 96)
    case, layered = ensemble(cells), wide(256)
    data, steps = data_of(case), round(STOP / STEP)
    start = (-0.7, 0.5)
    path, _ = descent(start, data, steps)
    one, neurons = vanilla_by_particles(start)
    saves = path[:: steps // 20]
    difference = [float(np.abs(found - saves).max()) for found in (one, neurons)]
    print(f"vanilla ResNet, gradient descent from {start} to {path[-1]}: differences of the iterates {difference}")
    rng = np.random.default_rng(3)
    trained = [descent(rng.normal([-0.3, 0.1], 0.5), data, steps) for _ in range(24)]
    dataset, of_ensemble = deviations(case, runs, STOP)
    wide_dataset, of_wide = deviations(layered, runs, STOP / LAYERS)
    slopes = [float(np.polyfit(np.log(COUNTS), np.log(values), 1)[0]) for values in (of_ensemble, of_wide)]
    print(f"rms difference of predictions, N = {COUNTS}: ensemble {of_ensemble}, wide {of_wide}; slopes {slopes}")
    loss, gradient = stuck()
    print(f"a vanilla student of two networks: loss {loss:.4g}, |gradient|² {gradient:.2g}")
    constant, at_data = lebesgue(case, dataset)
    condition = float(dataset["condition_defect"][-1])
    print(
        f"condition (5): {float(dataset['condition_defect'][0]):.4g} → {condition:.4g}, at data {at_data:.4g}; Λ {constant:.3g}"
    )
    print(f"modes {dataset['determined_modes'].to_numpy()}, E {float(dataset.energy[0]):.3g} → {float(dataset.energy[-1]):.3g}")
    draw(
        dataset,
        wide_dataset,
        [p for p, _ in trained],
        [e for _, e in trained],
        {"ensemble": of_ensemble, "wide": of_wide},
        directory / "resnet-models.png",
    )
    pictures = ("resnet-models.png",)
    rounding = "round-off of 200 steps; an error of the gradient would be of order one"
    # squares of normal deviations have a relative spread of √2, their root half of it
    spread = 3 * np.sqrt(0.5 / runs / np.square(np.log(COUNTS) - np.log(COUNTS).mean()).sum())
    half = (-0.5 - spread, -0.5 + spread)
    sampling = f"−1/2, with three standard errors of the slope for {runs} runs of each N"
    return [
        Claim(
            "resnet-vanilla-is-ensemble-of-one",
            "S3 Fig. 1",
            "A vanilla ResNet is a member of the ensemble (Fig. 1, left and middle).",
            "largest difference between gradient descent by back-propagation and an ensemble of one, 200 steps",
            difference[0],
            (0.0, 1e-12),
            rounding,
            (1e-3, INF),
            pictures=pictures,
        ),
        Claim(
            "resnet-vanilla-is-wide-of-one",
            "S3 Fig. 1",
            "A wide ResNet has one path like the vanilla one (Fig. 1, left and right).",
            "largest difference between gradient descent by back-propagation and a wide ResNet of one neuron a layer, 200 steps",
            difference[1],
            (0.0, 1e-12),
            rounding,
            (1e-3, INF),
        ),
        Claim(
            "resnet-ensemble-mean-field",
            "S3 Fig. 1",
            "Many networks in the ensemble are a density on Θ^L.",
            f"slope of the rms difference of predictions in N at t = {STOP:g}",
            slopes[0],
            half,
            sampling,
            (-0.1, INF),
            pictures=pictures,
        ),
        Claim(
            "resnet-wide-mean-field",
            "S3 Fig. 1",
            "Many neurons in every layer are one density on Θ per layer.",
            f"slope of the rms difference of predictions in N at t = {STOP:g}",
            slopes[1],
            half,
            sampling,
            (-0.1, INF),
            pictures=pictures,
        ),
        Claim(
            "ensemble-modes",
            "S3 Theorem 3",
            "A stationary positive density of the ensemble obeys (5): at a loss E, mode by mode.",
            "largest |c_i| over √(2E)/s_i, over all saves",
            float(dataset["mode_ratio_max"].max()),
            (0.0, 1.0001),
            "at most 1, up to round-off",
            (1.1, INF),
        ),
        Claim(
            "ensemble-modes-found",
            "S3 Theorem 3",
            "The loss falls, and with it what is left of (5).",
            "modes that the loss determines to 0.05 at the end and not at the start",
            float(dataset["determined_modes"][-1] - dataset["determined_modes"][0]),
            (1.0, INF),
            "at least one",
        ),
        Claim(
            "ensemble-condition",
            "S3 Theorem 3",
            "Condition (5) holds for each x, not only at the data.",
            "largest |∫X^L_θ(x)(ρ − ρ*)dθ| for |x| ≤ 3 over that at the data with |x| ≤ 3.5, at the end",
            condition / at_data,
            (0.0, 1.1 * constant),
            "Lebesgue constant of these data; a tenth for the remainder of the interpolation",
            (10 * constant, INF),
        ),
        Claim(
            "ensemble-positivity",
            "S3 Theorem 3",
            "The theorem supposes ρ > 0.",
            "|gradient|² over the loss where a vanilla ResNet stops that has a teacher of two networks",
            gradient / loss,
            (0.0, 1e-10),
            "stationary to a rate of 1e−10 at a loss that is not 0",
            finding="One network is stationary at a loss with a teacher of two: δ_θ is not positive.",
        ),
    ]
