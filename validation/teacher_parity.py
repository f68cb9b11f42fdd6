"""What a student learns of its teacher: S3 Theorem 2 with Examples 1 and 2, Theorem 5 with Example 3.

The cases teacher-1d-…, teacher-2d-relu and teacher-weights are solved. At a finite loss E the theorems hold mode by mode: the
coefficient of ρ − ρ* in a singular function of the feature operator with singular value s_i is at most √(2E)/s_i, and the
moments per direction obey the same bound harmonic by harmonic (`gridflow.energy.network.stationarity`). Parities are Kantorovich
norms of the even and the odd part of ρ − ρ*.

Findings. Theorems 2 and 5 are shown, and the positivity that they suppose is needed: a student of the ReLU whose mass is all on
one side of 0 is stationary at the loss of the other side. Parities are as in Example 2 for the Gaussian, softplus, tanh, arctan
and sigmoid; for z² Example 2 errs, since (4) fixes the second moment alone. Examples 1 and 3 suppose that max(x̂·θ̂, 0) has a
trivial null space on the circle; it has not (harmonics of degree 3, 5, … are invisible), so that moments per direction may differ
from the teacher's at zero loss. The visible ones obey their bounds.
"""

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

import gridflow
from gridflow.energy.network.defects import Harmonics, Parity
from gridflow.particles.cloud import Cloud
from gridflow.particles.integrator import RungeKutta2
from validation.claim import Claim

ODD, EVEN = ("gaussian", "softplus"), ("tanh", "arctan", "sigmoid")
PLANES = {"teacher-2d-relu": {"u": 70, "v": 70}, "teacher-weights": {"u": 36, "v": 36, "w": 32}}
"""Cells of quick runs."""
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#000000")
STOP = 30.0
INF = float("inf")


def ends(dataset, *names):
    """Values of diagnostics at the start and at the end."""
    return ", ".join(f"{n} {float(dataset[n][0]):.3g} → {float(dataset[n][-1]):.3g}" for n in names)


def print_state(name, dataset):
    start, loss, fall = float(dataset["energy"][0]), float(dataset["energy"][-1]), float(dataset["dissipation"][-1])
    print(f"{name}: E = {start:.2g} → {loss:.2g} at t = {float(dataset['time'][-1]):g}, −(dE/dt)/E = {fall / loss:.2g}")
    print("  modes:", ends(dataset, "determined_modes", "determined_defect", "undetermined_defect", "mode_ratio_max"))


def last(dataset, name):
    return float(dataset[name][-1])


def harmonics(case, dataset):
    """(|a_k| at the start and at the end, their bounds at the end, whether they are visible), (n_degrees,) each."""
    grid = case.grid()
    bound = case.energy.load(Path(case.directory)).bind(grid)
    part = next(p for p in bound.stationarity.parts if isinstance(p, Harmonics))
    masses = dataset["density"].transpose("time", *grid.order).to_numpy() * grid.volume
    first, final = (np.abs(part.harmonics(bound.stationarity.weight_masses(m))) for m in (masses[0], masses[-1]))
    with np.errstate(divide="ignore"):
        return first, final, np.sqrt(2 * last(dataset, "energy")) / part.sizes, part.visible


def one_side_and_both():
    """Loss over that at the start at t = 30 of students of δ₁ (ReLU, d = 1): with mass on θ < 0 alone, and on both sides."""
    neuron = [{"direction": [1.0], "weight": 1.0}]
    case = gridflow.load_case("teacher-two-speeds").replace({"energy.data.neurons": neuron, "time.stop": STOP, "time.save": 2})
    one = Cloud(np.full((64, 1), -0.6), np.full(64, 1 / 64))
    both = Cloud(np.repeat([[-0.6], [0.6]], 32, axis=0), np.full(64, 1 / 64))
    runs = [gridflow.simulate(case, cloud, integrator=RungeKutta2(0.02)) for cloud in (one, both)]
    return runs[0].energy[-1], runs[1].energy[-1] / runs[1].energy[0]


def claims_of_positivity():
    stuck, fallen = one_side_and_both()
    print(f"student of the ReLU with mass on one side: E → {stuck:.15g}; on both: E/E₀ → {fallen:.3g}, theory {np.exp(-15):.3g}")
    return [
        Claim(
            "teacher-positive-fits",
            "S3 Theorem 2",
            "A stationary density with mass everywhere has zero loss.",
            f"loss at t = {STOP:g} over that at the start (ReLU, δ₁, half of the mass on each side)",
            float(fallen),
            (0.0, 2 * np.exp(-15)),
            "exact: both sides have the rate c·m = 1/4, E falls like e^{−t/2}; the factor 2 is for steps of 0.02",
            (0.5, INF),
        ),
        Claim(
            "teacher-positive-needed",
            "S3 Theorem 2",
            "The theorem supposes ρ > 0.",
            f"loss at t = {STOP:g} with no mass on the teacher's side, over its value 1/4 at the stationary δ₀",
            float(4 * stuck),
            (1 - 1e-9, 1 + 1e-9),
            "exact: the mass shrinks onto 0 like e^{−t/2}, which leaves e^{−30} of the loss beside 1/4",
            finding="A stationary state whose mass misses a side keeps the loss of that side.",
        ),
    ]


def solve_lines(quick):
    """Datasets by activation; the quadratic one is the most costly, so that a quick run has fewer cells of it."""
    changes = {"quadratic": {"space.theta.cells": 192}} if quick else {}
    return {
        sigma: gridflow.solve(gridflow.load_case(f"teacher-1d-{sigma}").replace(changes.get(sigma, {})))
        for sigma in (*ODD, *EVEN, "quadratic")
    }


def parity_of_quadratic(dataset):
    """Kantorovich norms of the even and of the odd part of ρ − ρ* at the end, which the diagnostics of this σ leave out."""
    case = gridflow.load_case("teacher-1d-quadratic").replace({"space.theta.cells": dataset.sizes["theta"]})
    part = Parity(case.grid().factors[0], case.energy.data, becomes="odd")
    return part.numbers((dataset["density"] * dataset["cell_volume"]).isel(time=-1).to_numpy(), None)[:2]


def claims_of_lines(lines):
    worst = {group: max(last(lines[s], "defect_ratio") for s in group) for group in (ODD, EVEN)}
    width = 8 / lines["tanh"].sizes["theta"]
    even, odd = parity_of_quadratic(lines["quadratic"])
    quadratic_width = float(np.diff(lines["quadratic"]["theta"][:2])[0])
    print(f"z²: even part of ρ − ρ* {even:.3g} at the end, odd part {odd:.3g}, at E = {last(lines['quadratic'], 'energy'):.2g}")
    reason = "0 at E = 0; at a finite loss at most half, where a wrong parity would give more than one"
    picture = ("teacher-parity.png",)
    return [
        Claim(
            "parity-odd",
            "S3 Example 2",
            "Gaussian and softplus: ρ − ρ* becomes odd.",
            "even over odd part of ρ − ρ* at the end, the larger one",
            worst[ODD],
            (0.0, 0.5),
            reason,
            (1.0, INF),
            pictures=picture,
        ),
        Claim(
            "parity-even",
            "S3 Example 2",
            "tanh, arctan and sigmoid: ρ − ρ* becomes even.",
            "odd over even part of ρ − ρ* at the end, the largest one",
            worst[EVEN],
            (0.0, 0.5),
            reason,
            (1.0, INF),
            pictures=picture,
        ),
        Claim(
            "softplus-moment",
            "S3 Example 2",
            "Softplus: the first moment of ρ − ρ* vanishes as well.",
            "|∫θ d(ρ − ρ*)| at the end",
            last(lines["softplus"], "moment_defect"),
            (0.0, width),
            "a cell",
            (10 * width, INF),
        ),
        Claim(
            "quadratic-parity",
            "S3 Example 2",
            "σ = z²: a stationary ρ has ρ − ρ* odd.",
            "Kantorovich norm of the even part of ρ − ρ* at a loss below 1e−10",
            even,
            (0.0, quadratic_width),
            "a cell",
            (4 * quadratic_width, INF),
            "S3 errs: (4) fixes the second moment alone, which is all that this loss sees; odd suffices, but does not follow.",
        ),
    ]


def claims_of_modes(name, item, datasets):
    """Bounds of all modes, and how many more the loss determines at the end."""
    ratio = max(float(d["mode_ratio_max"].max()) for d in datasets)
    found = min(last(d, "determined_modes") - float(d["determined_modes"][0]) for d in datasets)
    return [
        Claim(
            f"{name}-modes",
            item,
            "ρ fits the teacher to the extent of the loss, mode by mode.",
            "largest |c_i| over √(2E)/s_i, over all saves",
            ratio,
            (0.0, 1.001),
            "at most 1, up to the quadrature of the teacher",
            (1.1, INF),
        ),
        Claim(
            f"{name}-modes-found",
            item,
            "The stationary condition is reached as the loss falls.",
            "modes that the loss determines to 0.05 at the end and not at the start, the least number",
            found,
            (1.0, INF),
            "at least one: the flow did not stop at a loss",
        ),
    ]


def mirrored():
    """Loss between a ReLU teacher of four neurons with the sum 0 and its mirror image, and the moments' third harmonics' distance
    over that of the teacher: Σ max(x·c, 0) = ½Σ|x·c| + ½x·Σc is even in c."""
    c = np.array([1.25 + 0.25j, -0.75 + 0.75j, -0.25 - 1.25j, -0.25 + 0.25j])
    x = np.exp(2j * np.pi * np.arange(63) / 63)
    f = [np.maximum((x[:, None] * np.conj(s * c)).real, 0).mean(axis=1) for s in (1, -1)]
    third = [(np.abs(s * c) * np.exp(-3j * np.angle(s * c))).mean() for s in (1, -1)]
    return float(((f[0] - f[1]) ** 2).mean() / 2), float(abs(third[1] - third[0]) / abs(third[0]))


def claims_of_planes(states):
    loss, defect = mirrored()
    print(f"a teacher and its mirror image: loss {loss:.2g}, difference of the third harmonics {defect:.6g} of the teacher's")
    found = []
    for name, item in (("teacher-2d-relu", "S3 Example 1"), ("teacher-weights", "S3 Example 3")):
        _, dataset = states[name]
        found.append(
            Claim(
                f"{name}-visible",
                item,
                "The moments of ρ − ρ* per direction vanish at a stationary state.",
                "largest visible harmonic over its bound by the loss, over all saves",
                float(dataset["harmonic_ratio_max"].max()),
                (0.0, 1.01),
                "at most 1, up to aliases of the inputs on the circle",
                (1.1, INF),
                pictures=("teacher-parity.png",),
            )
        )
    found.append(
        Claim(
            "relu-null-space",
            "S3 Example 1, S3 Example 3",
            "If max(x̂·θ̂, 0) has a trivial null space, as S3 supposes, no moment per direction differs at zero loss.",
            "difference of the third harmonics of two teachers with the same function, over that of one of them",
            defect,
            (0.0, 1e-6),
            "0 for a trivial null space; the loss between the two is 0 up to round-off",
            (1.0, INF),
            "The supposition does not hold: odd harmonics from 3 on are invisible; a teacher with Σc = 0 and its mirror image are"
            " one network.",
            ("teacher-parity.png",),
        )
    )
    return found


def draw(lines, states, path):
    figure = Figure(figsize=(13, 4.4), layout="constrained")
    over_time, bars = figure.subplots(1, 2)
    for k, sigma in enumerate((*ODD, *EVEN)):
        over_time.semilogy(lines[sigma]["time"], lines[sigma]["defect_right"], color=COLOURS[k], label=sigma)
        over_time.semilogy(lines[sigma]["time"], lines[sigma]["defect_wrong"], "--", color=COLOURS[k])
    for k, (name, (case, dataset)) in enumerate(states.items()):
        first, final, limits, visible = harmonics(case, dataset)
        for degree in range(len(first)):
            limit = f"at most {limits[degree]:.3g}" if visible[degree] else "invisible"
            print(f"  {name}, harmonic {degree}: {first[degree]:.3g} → {final[degree]:.3g}, {limit}")
        place = np.arange(len(first)) + 0.4 * k - 0.2
        bars.bar(place, final, 0.35, color=COLOURS[k], label=f"{name}, at the end")
        bars.plot(place, first, "k_", ms=14, mew=2, label="at the start" if k == 0 else None)
        bars.plot(place[visible], limits[visible], "v", color="#CC79A7", ms=7, label="bound by the loss" if k == 0 else None)
    over_time.set(xlabel="time", ylabel="Kantorovich norm", xlim=(0, 100))
    over_time.set(title="d = 1: solid, the part of ρ − ρ* that must vanish; dashed, the other")
    bars.set(xlabel="harmonic", ylabel="moment of ρ − ρ* per direction", yscale="log", ylim=(1e-4, 100))
    bars.set(title="d = 2, ReLU: 3 is invisible and has no bound", xticks=range(5))
    over_time.legend(loc="lower left", fontsize="small", ncols=3)
    bars.legend(loc="upper center", fontsize="small", ncols=2)
    figure.savefig(path, dpi=80)


def reproduce(directory: Path, quick: bool) -> list[Claim]:
    lines = solve_lines(quick)
    for sigma, dataset in lines.items():
        print_state(f"teacher-1d-{sigma}", dataset)
        names = [n for n in ("defect_right", "defect_wrong", "defect_ratio", "moment_defect") if n in dataset]
        print("  parity, moment:", ends(dataset, *names))
    states = {}
    for name, cells in PLANES.items():
        case = gridflow.load_case(name).replace({f"space.{f}.cells": n for f, n in cells.items()} if quick else {})
        states[name] = (case, gridflow.solve(case))
        print_state(name, states[name][1])
    draw(lines, states, directory / "teacher-parity.png")
    two_layers = [lines[s] for s in (*ODD, *EVEN)] + [states["teacher-2d-relu"][1]]
    return [
        *claims_of_positivity(),
        *claims_of_modes("teacher", "S3 Theorem 2", two_layers),
        *claims_of_lines(lines),
        *claims_of_planes(states),
        *claims_of_modes("weights", "S3 Theorem 5", [states["teacher-weights"][1]]),
    ]
