"""How fast do neurons turn, with and without batch normalisation (S1 §4.1, Fig. 1)?

S1 shows the speed of b along the tangent of the unit circle at iteration 500, ten times larger with batch normalisation, and the
directions at iterations 0, 2000, …, 8000. It gives neither targets, nor lengths, nor output weights, nor learning rate. With
neurons that are equal in all else, directions φ, z = Σ^{-1/2}x, ψ the direction of Σ^½b and H(ψ) = E[ℓ' σ(cos ψ z₁ + sin ψ z₂)],

    with BN (21):  ‖b‖φ̇ = −(a/‖b‖) √det Σ H'(ψ)/‖b̂‖_Σ²        without (22):  ‖b‖φ̇ = −a (∂_φ‖b̂‖_Σ H(ψ) + √det Σ H'(ψ)/‖b̂‖_Σ)

(b̂ = b/‖b‖; ReLU). So at equal a and equal predictions the ratio of the speeds of b is ∝ ‖b₀‖^{-1}: directions turn ∝ ‖b₀‖^{-2}
with BN and ∝ ‖b₀‖^{-1} without. Where output weights start at 0 they must grow first, ȧ = −H with BN and −‖b‖ ‖b̂‖_Σ H without,
and the ratio is ∝ ‖b₀‖^{-2}. Both laws are measured at the start.

*The setting.* Unit neurons, as S1 §2.1 allows, are not ten times as fast with BN while the networks learn (the picture of the
law): ‖b₀‖ matters, though the network does not see it. Short neurons with small output weights are, ‖b₀‖ = 0.1 and a of
deviation 0.01, at t = 0.3 (η/N = 0.0006); these are bn-speed and bn-vanilla. At iteration 2000 nearly all neurons with BN have
gathered in two directions, at 8000 near those of the teacher (so for another teacher too), though data are small in one of them.
Without BN they gather later and elsewhere: the targets are learned by then with other directions.

*Anisotropy* (S1 §4.1). By the formulas the speed at e₂ over that at e₁, averaged over all rotations of z, is λ₁/λ₂ = 5 with BN
and √5 without: the vanilla model has half of the effect, in logarithms, and BN multiplies it by ‖e₁‖_Σ/‖e₂‖_Σ = √5 exactly.
"""

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from scipy.special import ndtri

import gridflow
from gridflow.case.case import Case
from gridflow.output.style import BLUE, VERMILLION
from gridflow.particles.cloud import Cloud
from gridflow.particles.integrator import RungeKutta2
from gridflow.space.factor import Array
from validation.bn_first_step import Plane, plane
from validation.claim import Claim

ITERATIONS = [0, 2000, 4000, 6000, 8000]
PER_ITERATION = 0.0006
T500 = 500 * PER_ITERATION
LENGTH, DEVIATION = 0.1, 0.01
BINS = 36
NEAR = 0.2
"""Radians, to either side: two such windows hold 13 % of uniform directions."""
OTHER_TEACHER = [{"direction": [1.0, 0.0], "weight": 1.0}, {"direction": [-0.5, 0.5], "weight": -1.0}]
DECADE = (10**0.5, 10**1.5)
NAMES = ("with BN", "without BN")
PICTURES = ("bn-speed.png", "bn-speed-law.png")


def start(model: Plane, count: int, length: float, deviation: float) -> Cloud:
    """Directions equidistant, output weights normal: quantiles in random order."""
    a = deviation * np.random.default_rng(2).permutation(ndtri((np.arange(count) + 0.5) / count))
    return model.cloud(a, length, (np.arange(count) + 0.5) * 2 * np.pi / count)


def turning(position: Array, velocity: Array) -> tuple[Array, Array]:
    """Direction of b and |speed| along the tangent of the circle, from (…, 3) arrays of a, b₁, b₂."""
    (b1, b2), (v1, v2) = np.moveaxis(position[..., 1:], -1, 0), np.moveaxis(velocity[..., 1:], -1, 0)
    return np.arctan2(b2, b1) % (2 * np.pi), np.abs(b1 * v2 - b2 * v1) / np.hypot(b1, b2)


def train(model: Plane, cloud: Cloud, times: list[float], step: float) -> tuple[Array, Array, Array]:
    """(directions, speeds, output weights), all (n_times, n_particles)."""
    run = gridflow.simulate(model.case, cloud, times=times, integrator=RungeKutta2(step))
    velocity = np.stack([model.velocity(p, run.weights) for p in run.points])
    position = run.points[..., model.columns]
    return (*turning(position, velocity), position[..., 0])


def step_of(length: float, normalized: bool) -> float:
    """Directions turn 1/‖b₀‖² times as fast with BN; a twentieth of the time in which they do."""
    return min(0.05, length**2) if normalized else 0.05


def of_density(case: Case) -> Array:
    """Mean speed over the neurons of each sector of directions, (BINS,), at the end of a case."""
    grid = case.grid()
    dataset = gridflow.solve(case.replace({"time.save": 2}))
    masses = dataset["density"].isel(time=-1).transpose(*grid.order).to_numpy() * grid.volume
    xi = case.energy.load(Path(case.directory)).bind(grid).evaluate(masses).first_variation
    at = {f.name: grid.coordinate(f.name) for f in grid.factors}
    if "angle" in at:  # b moves ‖b‖ times the velocity of its angle, which is −‖b‖^{-2}∂ξ
        k = grid.order.index("angle")
        slope = (np.roll(xi, -1, k) - np.roll(xi, 1, k)) / (2 * grid.factors[k].volumes[0])
        direction, speed = np.broadcast_to(at["angle"], xi.shape), np.abs(slope) / LENGTH
    else:
        slopes = [np.gradient(xi, grid.factors[k].points, axis=k) for k in (grid.order.index("b1"), grid.order.index("b2"))]
        position = np.stack(np.broadcast_arrays(at["a"], at["b1"], at["b2"]), axis=-1)
        direction, speed = turning(position, -np.stack([np.zeros_like(xi), *slopes], axis=-1))
    sector = np.minimum((direction * BINS / (2 * np.pi)).astype(int), BINS - 1).ravel()
    total, moved = (np.bincount(sector, w.ravel(), BINS) for w in (masses, masses * speed))
    return moved / total


def teacher_directions(case: Case) -> Array:
    return np.array([np.arctan2(n.direction[1], n.direction[0]) for n in case.energy.data.neurons])


def share_near(direction: Array, targets: Array) -> float:
    return float((np.abs(np.angle(np.exp(1j * (direction[:, None] - targets)))) < NEAR).any(axis=1).mean())


def share_gathered(direction: Array) -> float:
    """Share of the neurons in the two windows of ±NEAR that hold most: the fullest, and the fullest of the others."""
    centres = np.linspace(0, 2 * np.pi, 721)[:-1]
    inside = np.abs(np.angle(np.exp(1j * (direction - centres[:, None])))) < NEAR
    first = inside[inside.sum(axis=1).argmax()]
    return float(first.mean() + (inside & ~first).mean(axis=1).max())


def laws(models: tuple[Plane, Plane]) -> dict[str, float]:
    """Powers of ‖b₀‖ at the start: of the speeds of directions, of the ratio of the speeds of b, and of that for a₀ = 0; and both
    ratios for ‖b₀‖ = 1.

    Pairs ±a in each direction make the predictions 0 exactly. From a₀ = 0 the velocity at a time t far below ‖b₀‖² is ∝ t.
    """
    lengths = np.array([0.1, 0.2, 0.5, 1.0])
    angle, brief = np.repeat((np.arange(100) + 0.5) * 2 * np.pi / 100, 2), 1e-4
    speeds = np.empty((2, 2, lengths.size))
    for k, model in enumerate(models):
        for j, length in enumerate(lengths):
            cloud = model.cloud(np.tile([0.5, -0.5], 100), length, angle)
            speeds[0, k, j] = turning(cloud.points[:, model.columns], model.velocity(*vars(cloud).values()))[1].mean()
            speeds[1, k, j] = train(model, model.cloud(np.zeros(200), length, angle), [0.0, brief], brief)[1][-1].mean()
    power = lambda values: float(np.polyfit(np.log(lengths), np.log(values), 1)[0])  # noqa: E731
    turn = speeds[0] / lengths
    return {
        "with": power(turn[0]), "without": power(turn[1]),
        "ratio": power(speeds[0, 0] / speeds[0, 1]), "zero": power(speeds[1, 0] / speeds[1, 1]),
        "unit": float(speeds[0, 0, -1] / speeds[0, 1, -1]), "unit zero": float(speeds[1, 0, -1] / speeds[1, 1, -1]),
    }  # fmt: skip


def anisotropy(count: int) -> Array:
    """Speed of b at e₂ over that at e₁ of unit neurons with predictions 0: root mean squares over teachers, (with, without)."""
    squares = np.zeros((2, 2))
    for psi in np.arange(count) * 2 * np.pi / count:  # of the teacher's neuron, in z = Σ^{-1/2}x
        teacher = [{"direction": [float(np.cos(psi) / np.sqrt(5)), float(np.sin(psi))], "weight": 1.0}]
        for k, normalized in enumerate((True, False)):
            model = plane(normalized, {"energy.data.neurons": teacher, "energy.data.inputs.count": 3000})
            cloud = model.cloud(np.array([1.0, -1.0, 1.0, -1.0]), 1.0, np.array([0.0, 0.0, np.pi / 2, np.pi / 2]))
            _, speed = turning(cloud.points[:, model.columns], model.velocity(cloud.points, cloud.weights))
            squares[k] += speed[[0, 2]] ** 2
    return np.sqrt(squares[:, 1] / squares[:, 0])


def by_length(models: tuple[Plane, Plane], count: int, lengths: list[float], times: list[float]) -> tuple[Array, Array]:
    """Ratios (with over without) of the (largest, mean) speeds for starts of all lengths, each (n_lengths, n_times)."""
    largest, mean = (np.empty((len(lengths), len(times))) for _ in range(2))
    for row, length in enumerate(lengths):
        one, two = (
            train(m, start(m, count, length, DEVIATION), [0.0, *times], step_of(length, k == 0))[1][1:]
            for k, m in enumerate(models)
        )
        largest[row], mean[row] = one.max(axis=1) / two.max(axis=1), one.mean(axis=1) / two.mean(axis=1)
    return largest, mean


def reproduce(directory: Path, quick: bool) -> list[Claim]:
    count = 150 if quick else 600
    models = plane(True), plane(False)
    times = [0.0, T500, *(k * PER_ITERATION for k in ITERATIONS[1:])]
    runs = [train(m, start(m, count, LENGTH, DEVIATION), times, step_of(LENGTH, k == 0)) for k, m in enumerate(models)]
    coarse = {"space.a.cells": 96, "space.angle.cells": 180}, {f"space.{n}.cells": 32 for n in ("a", "b1", "b2")}
    cases = [gridflow.load_case(n).replace(c if quick else {}) for n, c in zip(("bn-speed", "bn-vanilla"), coarse, strict=True)]
    densities = [of_density(case) for case in cases]
    draw(directory, runs, densities)

    speeds = [run[1][1] for run in runs]
    largest, mean = (float(f(speeds[0]) / f(speeds[1])) for f in (np.max, np.mean))
    targets = teacher_directions(models[0].case)
    print("iteration  gathered: with, without   near the teacher: with, without   (uniform directions: 0.13)")
    for k, t in enumerate(times):
        at = [run[0][k] for run in runs]
        print(f"{t / PER_ITERATION:9.0f}  " + "  ".join(f"{share_gathered(d):6.2f}" for d in at), end="       ")
        print("  ".join(f"{share_near(d, targets):6.2f}" for d in at))
    gathered = [share_gathered(run[0][2]) for run in runs]
    small = float((np.abs(np.sin(runs[0][0][-1])) > np.sqrt(0.5)).mean())
    near = [share_near(run[0][-1], targets) for run in runs]
    density_ratio = float(densities[0].mean() / densities[1].mean())
    print(f"mean speed at iteration 500, with over without: neurons {mean:.2f}, densities of the cases {density_ratio:.2f}")

    law = laws(models)
    lengths = [0.05, 0.1, 0.2, 0.4, 1.0] if quick else [0.05, 0.07, 0.1, 0.14, 0.2, 0.3, 0.5, 0.7, 1.0]
    saves = [0.1, T500, 1.0]
    ratios = by_length(models, 100, lengths, saves)
    unit_times = [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4]
    unit = by_length(models, 100, [1.0], unit_times)
    other = plane(True, {"energy.data.neurons": OTHER_TEACHER})
    end = train(other, start(other, 100, LENGTH, DEVIATION), [0.0, times[-1]], step_of(LENGTH, True))[0][-1]
    print(f"another teacher, with BN, iteration 8000: gathered {share_gathered(end):.2f}, near it", end=" ")
    print(f"{share_near(end, teacher_directions(other.case)):.2f}")
    print(f"\nratio of the mean speeds (of the largest) by ‖b₀‖, at t = {saves}")
    for length, m, most in zip(lengths, ratios[1], ratios[0], strict=True):
        print(f"{length:6.2f}   " + "   ".join(f"{x:7.2f} ({y:.2f})" for x, y in zip(m, most, strict=True)))
    print(f"unit neurons, t = 0.1 to 6.4: mean {unit[1].min():.2f} to {unit[1].max():.2f}, largest to {unit[0].max():.2f}")
    draw_law(directory, law, lengths, saves, ratios[1], (unit_times, unit[1][0]))
    square = anisotropy(12 if quick else 48)
    print(f"speed at e₂ over that at e₁: with {square[0]:.3f}, without {square[1]:.3f}, factor {square[0] / square[1]:.6f}")

    picture, error = PICTURES[:1], 3 * np.sqrt(0.5 / count)
    decade = "half an order of magnitude to either side of 10: S1 speaks of one order, of the scale of an axis"
    return [
        Claim(
            "bn-speed-ratio-largest", "S1 Fig. 1", "At iteration 500 the speed with BN is larger by an order of magnitude.",
            "ratio of the largest speeds, ‖b₀‖ = 0.1, a₀ of deviation 0.01, t = 0.3", largest, DECADE, decade, pictures=PICTURES,
            finding="For short neurons with small output weights, of which S1 says nothing, and early."
            " Later, at t = 1, the ratio is at most about two at every length.",
        ),
        Claim(
            "bn-speed-ratio-mean", "S1 Fig. 1", "At iteration 500 the speed with BN is larger by an order of magnitude.",
            "ratio of the mean speeds, the same neurons", mean, DECADE, decade, pictures=PICTURES,
        ),
        Claim(
            "bn-speed-ratio-density", "S1 Fig. 1", "At iteration 500 the speed with BN is larger by an order of magnitude.",
            "ratio of the mean speeds in the densities of bn-speed and bn-vanilla", density_ratio, DECADE, decade,
            pictures=picture,
        ),
        Claim(
            "bn-speed-ratio-unit", "S1 Fig. 1", "The same for neurons of length 1, as S1 §2.1 takes them.",
            "largest ratio of the mean speeds at seven times from 0.1 to 6.4, ‖b₀‖ = 1", float(unit[1].max()), DECADE, decade,
            pictures=PICTURES[1:],
            finding="Unit neurons are slower with BN at first."
            " Later the ratio grows beyond one, since the vanilla network has learned and stops.",
        ),
        Claim(
            "bn-speed-gathered", "S1 Fig. 1, S1 §4.1", "With BN the neurons soon concentrate in few directions.",
            "share of the neurons within 0.2 of two directions at iteration 2000, with BN", gathered[0], (0.5, 1.0),
            "most of the neurons; uniform directions would have 0.13", opposite=(0.0, 0.13 + error), pictures=picture,
        ),
        Claim(
            "bn-speed-gathered-more", "S1 Fig. 1, S1 §4.1", "Without BN they concentrate more slowly.",
            "share within 0.2 of two directions at iteration 2000, with less without BN", gathered[0] - gathered[1], (error, 1.0),
            "more than three standard errors of the difference of two shares", opposite=(-1.0, -error), pictures=picture,
        ),
        Claim(
            "bn-speed-significant", "S1 §4.1, S1 Fig. 1",
            "With BN neurons leave directions in which data are small and concentrate in those in which data are large.",
            "share of the neurons within 45° of ±e₂, where data are small, at iteration 8000, with BN (uniform: 0.5)",
            small, (0.0, 0.5 - error), "three standard errors below uniform directions", (0.5 - error / 3, 1.0),
            "They leave e₂ faster, but gather where the teacher is, be data small there.", picture,
        ),
        Claim(
            "bn-speed-near-teacher", "gridflow", "At iteration 8000 neurons with BN have reached the directions to be learned.",
            "share within 0.2 of the teacher's two directions at iteration 8000, with less without BN", near[0] - near[1], (error,
            1.0),
            "more than three standard errors of the difference of two shares", opposite=(-1.0, -error), pictures=picture,
            finding="Without BN neurons have gathered elsewhere. With BN they gather where the teacher is, be data small there.",
        ),
        Claim(
            "bn-speed-law-with", "S1 Fig. 1, S1 §4.1", "With BN the speed of b is proportional to 1/‖b‖.",
            "power of ‖b₀‖ in the speed of the direction at the start, with BN", law["with"], (-2 - 1e-9, -2 + 1e-9),
            "ḃ ∝ 1/‖b‖ exactly (S1 (21)), and the direction turns by ḃ/‖b‖: round-off", pictures=PICTURES[1:],
        ),
        Claim(
            "bn-speed-law-without", "S1 Fig. 1, S1 §4.1", "Without BN the speed of b does not depend on ‖b‖.",
            "power of ‖b₀‖ in the speed of the direction at the start, without BN", law["without"], (-1 - 1e-9, -1 + 1e-9),
            "ḃ does not depend on ‖b‖ (S1 (22), ReLU), and the direction turns by ḃ/‖b‖: round-off", pictures=PICTURES[1:],
        ),
        Claim(
            "bn-speed-law-zero", "gridflow",
            "From output weights 0 the ratio of the speeds of b is ∝ ‖b₀‖^{-2}, from given ones ∝ ‖b₀‖^{-1}.",
            "power of ‖b₀‖ in the ratio of the mean speeds of b, a₀ = 0, t = 10⁻⁴", law["zero"], (-2.05, -1.95),
            f"ȧ ∝ ‖b‖ without BN alone; directions turn by (t/‖b₀‖)² ≤ 10⁻⁶ by then. From given a₀ it is {law['ratio']:.4f}",
            pictures=PICTURES[1:],
        ),
        Claim(
            "bn-speed-anisotropy", "S1 §4.1", "With BN neurons move faster in directions in which data are small.",
            "speed at e₂ over that at e₁ with BN, root mean squares over rotated teachers", float(square[0]), (4.5, 5.5),
            "λ₁/λ₂ = 5; 3000 whitened data are isotropic but for 3000^{-½} = 2 % in each higher moment, some of which enter",
            opposite=(0.0, 1.0),
        ),
        Claim(
            "bn-speed-anisotropy-without", "gridflow", "Without BN they do so too, less: √5 times at e₂ instead of 5 times.",
            "speed at e₂ over that at e₁ without BN, root mean squares over rotated teachers", float(square[1]),
            (0.9 * np.sqrt(5), 1.1 * np.sqrt(5)), "(λ₁/λ₂)^½, with the same data", opposite=(0.0, 1.0),
        ),
        Claim(
            "bn-speed-anisotropy-factor", "S1 §4.1", "What BN adds comes from the factor 1/‖b‖_Σ.",
            "anisotropy with BN over that without", float(square[0] / square[1]), (np.sqrt(5) - 1e-9, np.sqrt(5) + 1e-9),
            "‖e₁‖_Σ/‖e₂‖_Σ = √5 exactly at eigenvectors of Σ: round-off",
        ),
    ]  # fmt: skip


def draw(directory: Path, runs: list, densities: list[Array]) -> None:
    """Speeds at iteration 500 and directions at five iterations, a row with and a row without BN, as in S1 Fig. 1."""
    figure = Figure(figsize=(13, 4.7), layout="constrained")
    rows, angles = figure.subplots(2, 6, width_ratios=[1.9, 1, 1, 1, 1, 1]), (np.arange(BINS) + 0.5) * 360 / BINS
    for line, name, (direction, speed, a), mean in zip(rows, NAMES, runs, densities, strict=True):
        line[0].plot(np.degrees(direction[1]), speed[1], ".", ms=4, alpha=0.6, label="neurons")
        line[0].plot(angles, mean, "k", lw=1.2, label="density, mean")
        line[0].set(xlim=(0, 360), ylim=(0, 1.35 * speed[1].max()), xticks=range(0, 361, 90), ylabel="speed of b")
        line[0].set(xlabel="direction of b in degrees", title=f"{name}, iteration 500")
        line[0].legend(fontsize="small", loc="upper right", ncols=2)
        for axes, iteration, k in zip(line[1:], ITERATIONS, (0, 2, 3, 4, 5), strict=True):
            chosen = slice(None, None, len(a[0]) // 100)
            draw_directions(axes, direction[k][chosen], np.where(a[k][chosen] > 0, VERMILLION, BLUE))
            axes.set_title(f"{name}, {iteration}", fontsize="medium")
    figure.savefig(directory / PICTURES[0], dpi=75)


def draw_directions(axes, angles: Array, colours: Array) -> None:
    """Neurons as lines to the unit circle; orange where a > 0, blue where a < 0."""
    circle = np.linspace(0, 2 * np.pi, 200)
    axes.plot(np.cos(circle), np.sin(circle), color="0.6", lw=0.8)
    for angle, colour in zip(angles, colours, strict=True):
        axes.plot([0, np.cos(angle)], [0, np.sin(angle)], color=colour, lw=0.6, alpha=0.6)
    axes.set(aspect="equal", xlim=(-1.1, 1.1), ylim=(-1.1, 1.1), xticks=[], yticks=[])


def draw_law(
    directory: Path,
    law: dict[str, float],
    lengths: list[float],
    saves: list[float],
    ratios: Array,
    unit: tuple[list[float], Array],
) -> None:
    """Ratio of the mean speeds against ‖b₀‖ at several times, and against time for unit neurons."""
    figure = Figure(figsize=(9, 3.8), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    x = np.array([min(lengths), 1.0])
    left.loglog(x, law["unit zero"] * x**-2.0, "k--", lw=0.8, label="start with a₀ = 0: ‖b₀‖⁻²")
    left.loglog(x, law["unit"] / x, "k:", lw=0.8, label="start with given a₀: ‖b₀‖⁻¹")
    for t, row, style in zip(saves, ratios.T, ("o-", "s-", "^-"), strict=True):
        left.loglog(lengths, row, style, ms=4, label=f"t = {t:g}")
    left.set(xlabel="‖b₀‖", ylabel="mean speed of b, with BN over without", title="a₀ of deviation 0.01")
    right.loglog(*unit, "o-", ms=4, color="C3", label="‖b₀‖ = 1")
    right.set(xlabel="time", title="unit neurons")
    for axes in (left, right):
        axes.axhspan(*DECADE, color="0.9", label="an order of magnitude")
        axes.legend(fontsize="small")
    figure.savefig(directory / PICTURES[1], dpi=90)
