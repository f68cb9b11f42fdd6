"""How fast do neurons turn, with and without batch normalisation (S1 §4.1, Fig. 1)?

    python validation/bn_speed.py OUTDIR

Solves bn-speed (with) and bn-vanilla (without) up to iteration 500, t = 1.25 with the assumed η/N = 0.0025, and draws the
speed of b along the tangent of the unit circle against its direction: of particles as dots, of the density as a line (its
mean over all neurons of a direction). Beside it the directions of particles at iterations 0 to 8000, as in Fig. 1. Prints how
much faster the neurons with batch normalisation are. S1 says by an order of magnitude, but not how long its neurons are: the
speed of b is proportional to 1/‖b‖ with batch normalisation (S1 (21)) and does not depend on ‖b‖ without. Here ‖b‖ = 1.
Writes OUTDIR/bn-speed.png.
"""

import sys
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

import gridflow

ITERATIONS = [0, 2000, 4000, 6000, 8000]
PER_TIME = 400  # iterations per unit of mean-field time: η/N = 0.0025
NEURONS = 150
BINS = 36


def neurons(case, count, times):
    """Points, velocities (n_times, n_particles, n_factors), and columns by name, in a box that is not felt."""
    wide = {f"space.{n}.bounds": [-50.0, 50.0] for n, f in case.space.items() if hasattr(f, "bounds")}
    case = case.replace({**wide, "time.stop": times[-1], "time.save": 2})
    factors = case.grid().factors
    energy = case.energy.load(Path(case.directory)).particles(factors)
    run = gridflow.simulate(case, count, times=times, seed=2)
    velocity = -np.stack([energy.evaluate(p, run.weights).gradient for p in run.points])
    return run.points, velocity, {f.name: k for k, f in enumerate(factors)}


def turning(points, velocity, columns):
    """Direction of b, and its speed along the tangent of the unit circle, both (…)."""
    if "angle" in columns:
        return points[..., columns["angle"]] % (2 * np.pi), velocity[..., columns["angle"]]
    b, v = (x[..., [columns["b1"], columns["b2"]]] for x in (points, velocity))
    length = np.hypot(b[..., 0], b[..., 1])
    return np.arctan2(b[..., 1], b[..., 0]) % (2 * np.pi), (b[..., 0] * v[..., 1] - b[..., 1] * v[..., 0]) / length


def of_density(case):
    """Mean speed |v| over the neurons of each sector, (BINS,), and the energy at the end."""
    grid = case.grid()
    dataset = gridflow.solve(case)
    masses = dataset["density"].isel(time=-1).transpose(*grid.order).to_numpy() * grid.volume
    xi = case.energy.load(Path(case.directory)).bind(grid).evaluate(masses).first_variation
    columns = {f.name: k for k, f in enumerate(grid.factors)}
    points = np.stack(np.broadcast_arrays(*(grid.coordinate(n) for n in grid.order)), axis=-1)
    velocity = np.zeros(points.shape)
    for name, k in columns.items():
        f = grid.factors[k]
        if f.is_circle:  # central differences on uniform cells
            velocity[..., k] = -(np.roll(xi, -1, k) - np.roll(xi, 1, k)) / (2 * f.volumes[0])
        elif name != "a":
            velocity[..., k] = -np.gradient(xi, f.points, axis=k)
    direction, speed = turning(points, velocity, columns)
    sector = np.minimum((direction * BINS / (2 * np.pi)).astype(int), BINS - 1).ravel()
    total, moved = (np.bincount(sector, w.ravel(), BINS) for w in (masses, masses * np.abs(speed)))
    return moved / total, float(dataset["energy"][-1])


def main(directory):
    directory.mkdir(parents=True, exist_ok=True)
    figure = Figure(figsize=(17, 5.6), layout="constrained")
    rows, angles = figure.subplots(2, 6, width_ratios=[1.6, 1, 1, 1, 1, 1]), (np.arange(BINS) + 0.5) * 360 / BINS
    speeds, largest = [], []
    for line, name, title in zip(rows, ("bn-speed", "bn-vanilla"), ("with BN", "without BN"), strict=True):
        case = gridflow.load_case(name)
        mean, energy = of_density(case)
        speeds.append(mean)
        points, velocity, columns = neurons(case, 2000, [0.0, case.time.stop])
        direction, speed = turning(points[-1], velocity[-1], columns)
        largest.append(np.abs(speed).max())
        print(
            f"{title:10}  energy at iteration 500: {energy:.3f}   speed: mean {mean.mean():.4f}, 90 % of neurons below", end=" "
        )
        print(f"{np.quantile(np.abs(speed), 0.9):.4f}, largest of 2000 neurons {largest[-1]:.4f}")
        line[0].plot(np.degrees(direction), np.abs(speed), ".", ms=2, alpha=0.5, label="2000 neurons")
        line[0].plot(angles, mean, "k", lw=1.2, label="density: mean of the direction")
        line[0].set(xlim=(0, 360), ylim=(0, 0.6), xticks=range(0, 361, 90), ylabel="speed of b along the tangent")
        line[0].set(xlabel="direction of b in degrees", title=f"{title}, iteration 500")
        line[0].legend(fontsize="small", loc="upper right")
        points, velocity, columns = neurons(case, NEURONS, [i / PER_TIME for i in ITERATIONS])
        direction, _ = turning(points, velocity, columns)
        for axes, iteration, angle, output in zip(line[1:], ITERATIONS, direction, points[..., columns["a"]], strict=True):
            draw_directions(axes, angle, np.where(output > 0, "C3", "C0"))
            axes.set_title(f"{title}, {iteration}")
    ratio = speeds[0] / speeds[1]
    print(
        f"with / without: mean speed {speeds[0].mean() / speeds[1].mean():.2f}, largest {largest[0] / largest[1]:.2f},", end=" "
    )
    print(f"by direction {ratio.min():.2f} to {ratio.max():.2f}")
    print(f"ten times in the mean where neurons with BN have the length {speeds[0].mean() / speeds[1].mean() / 10:.3f}")
    significant = np.abs(np.cos(np.radians(angles))) > np.sqrt(0.5)
    anisotropy = [s[~significant].mean() / s[significant].mean() for s in speeds]
    print("mean speed within 45° of e₂ (small data) over that within 45° of e₁ (large data):", end=" ")
    print(f"with BN {anisotropy[0]:.2f}, without {anisotropy[1]:.2f}")
    figure.savefig(directory / "bn-speed.png", dpi=75)


def draw_directions(axes, angles, colours):
    """Neurons as lines to the unit circle; red where a > 0, blue where a < 0."""
    circle = np.linspace(0, 2 * np.pi, 200)
    axes.plot(np.cos(circle), np.sin(circle), color="0.7", lw=1)
    for angle, colour in zip(angles, colours, strict=True):
        axes.plot([0, np.cos(angle)], [0, np.sin(angle)], color=colour, lw=0.6, alpha=0.6)
    axes.set(aspect="equal", xlim=(-1.1, 1.1), ylim=(-1.1, 1.1), xticks=[-1, 0, 1], yticks=[-1, 0, 1])


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(Path(sys.argv[1]))
