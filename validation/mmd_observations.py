"""S4's observations on an MMD flow as numbers: collapse, escape, plateau; no displacement convexity; the trade-off of the noise.

1. mmd-gaussian over time (t ≤ 400): the mass within ½ of the target's mean (of ν* it is 1 − e^{−½} = 39 %: more is a
   collapse), the
   mass farther from it than 6 (the start lies 4 away), F and its rate −Ḟ/F, and |∇f| on ν and in the whole space.
2. MMD² along one W2 geodesic, the translation of a normal density, against its chord.
3. The level of the noise, constant β on the same scene up to t = 60: F at the end, the largest rise of F, the least −Ḟ/D_β with
   D_β = ∫E_u|∇f(z + βu)|² dν (sufficient decrease asks for ½), and the claimed bound F(t) ≤ F(0) exp(−4∫λ²β² dt) with
   λ² = D_β/(8β²F) measured on the run, for the adaptive level, which keeps sufficient decrease.

Findings. All three observations are there. The mass that escapes does not go to infinity: ν* blurred by the kernel has the longer
tail, and from t ≈ 10 on the far mass comes back, slower and slower. It is what holds the collapse: at the mean of ν* the density
spreads only when less than 1 − (1 + s²/σ²)^{−(1+d/2)} of the mass is elsewhere (11 % here, s = ½ and σ = 2 in d = 2 dimensions).
The slide on the trade-off prints its condition as an upper bound +Cγ E|∇f(Z + βu)|² on the change of MMD², which every flow that
does not ascend fulfils whatever β is; the bound that it concludes then fails. With −C both are right. Under wide noise F rises
where most of the
mass is at its place already, as the slide warns; from far away it falls under every level, only slower.
"""

from pathlib import Path

import numpy as np
import xarray
from matplotlib.figure import Figure

import gridflow
from gridflow.case.case import Case
from gridflow.energy.mmd.certificates import rate_bound
from gridflow.space.densities import Normal
from gridflow.space.factor import Array
from gridflow.space.mixture import Component, mixture_masses
from validation.claim import Claim

NEAR, FAR = 0.5, 6.0
SHARE = float(1 - np.exp(-0.5))
"""Of the target within NEAR, its deviation, of its mean."""
LEVELS = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0)


def grid_of(quick: bool, stop: float, save: int) -> dict:
    cells = (60, 56) if quick else (120, 112)
    return {"space.x.cells": cells[0], "space.y.cells": cells[1], "time.stop": stop, "time.save": save}


def observe(case: Case, dataset: xarray.Dataset) -> Array:
    """Rows of (time, mass near, mass far, F, −Ḟ/F, root mean square of |∇f| on ν, its maximum over the space)."""
    grid = case.grid()
    bound = case.energy.load(Path(case.directory)).bind(grid)
    x, y = grid.coordinate("x") - 2.0, grid.coordinate("y") - 1.0
    distance, rows = np.sqrt(x**2 + y**2), []
    for time, density in zip(dataset["time"].to_numpy(), dataset["density"].transpose("time", *grid.order), strict=True):
        mass = density.to_numpy() * grid.volume
        result = bound.evaluate(mass)
        slopes = np.gradient(result.first_variation, *[f.points for f in grid.factors])
        square = slopes[0] ** 2 + slopes[1] ** 2
        on, anywhere = np.sqrt(np.vdot(square, mass)), np.sqrt(square.max())
        rows.append((time, mass[distance < NEAR].sum(), mass[distance > FAR].sum(), result.value, on, anywhere))
    table = np.array(rows)
    rate = dataset["dissipation"].to_numpy() / dataset["energy"].to_numpy()
    return np.insert(table, 4, rate, axis=1)


def convexity() -> tuple[Array, Array, Array]:
    """(t, F(t), chord) along the translation of a copy of the target, N((2, 1), ½²), from (−6, 1) to its place."""
    case = gridflow.load_case("mmd-gaussian").replace(grid_of(False, 1.0, 2))
    grid = case.grid()
    bound = case.energy.load(Path(case.directory)).bind(grid)
    values, t = [], np.linspace(0.0, 1.0, 21)
    for s in t:
        density = {"x": Normal(-6.0 + 8.0 * s, 0.5), "y": Normal(1.0, 0.5)}
        values.append(bound.evaluate(mixture_masses([Component(density=density)], grid, Path(), "initial")).value)
    return t, np.array(values), (1 - t) * values[0] + t * values[-1]


def with_noise(noise: dict, quick: bool) -> xarray.Dataset:
    changes = {**grid_of(quick, 60.0, 31), "flow.noise_injection": noise}
    return gridflow.solve(gridflow.load_case("mmd-gaussian").replace(changes))


def rise_near_target(quick: bool) -> float:
    """Largest rise of F over F(0) under wide noise from a start of which only a tenth is not at its place."""
    parts = [(0.9, 2.0, 1.0), (0.1, -4.0, -3.0)]
    initial = [{"weight": w, "density": {"x": normal(x), "y": normal(y)}} for w, x, y in parts]
    changes = {**grid_of(quick, 200.0, 21), "flow.noise_injection": {"level": LEVELS[-2]}, "initial": initial}
    energy = gridflow.solve(gridflow.load_case("mmd-gaussian").replace(changes))["energy"].to_numpy()
    print(f"from nine tenths of the target, β = {LEVELS[-2]:g}: F from {energy[0]:.2e} to {energy.max():.2e} at most")
    return float(energy.max() / energy[0] - 1)


def normal(mean: float) -> dict:
    return {"kind": "normal", "mean": mean, "deviation": 0.5}


def observation_claims(rows: Array) -> list[Claim]:
    _, near, far, _, rate, on, anywhere = rows.T
    picture = ("mmd-observations.png",)
    return [
        Claim(
            "mmd-collapse", "S4 collapse", "Almost all mass gathers near the mean of the target.",
            f"largest share of the mass within {NEAR} of the mean (of the target {SHARE:.3f})",
            float(near.max()), (2 * SHARE, 1.0), "twice the share of the target, which only a far narrower density has",
            (0.0, SHARE), pictures=picture,
        ),
        Claim(
            "mmd-escape", "S4 escape", "Some mass seems to escape to infinity.",
            f"largest share of the mass farther than {FAR} from the mean, over that of the start",
            float(far.max() / max(far[0], 1e-12)), (10.0, np.inf), "of another order than the tail of the start", (0.0, 1.0),
            pictures=picture,
        ),
        Claim(
            "mmd-escape-returns", "S4 escape", "Some mass seems to escape to infinity.",
            "that share at the end over its largest value",
            float(far[-1] / far.max()), (0.99, 1.0), "what escapes for good stays away, but for round-off", (0.0, 0.9),
            "It does not: ν* blurred by the kernel has a longer tail than the gathered mass and draws it back, ever slower.",
            pictures=picture,
        ),
        Claim(
            "mmd-plateau-rate", "S4 plateau", "The loss stops decreasing.",
            "rate −Ḟ/F at the end over its largest value",
            float(rate[-1] / rate.max()), (0.0, 0.1), "an order of magnitude", (0.9, 1.0), pictures=picture,
        ),
        Claim(
            "mmd-plateau-support", "S4 plateau", "The gradient of f vanishes on the support of ν, not outside of it.",
            "root mean square of |∇f| on ν over the maximum of |∇f| over the space, at the end",
            float(on[-1] / anywhere[-1]), (0.0, 0.25),
            "at most a quarter of what the gradient is elsewhere", (0.9, 1.0), pictures=picture,
        ),
    ]  # fmt: skip


def tradeoff_claims(quick: bool) -> list[Claim]:
    print("noise                                         F(T)      largest rise   least −Ḟ/D_β")
    last, least, risen, integrals = {}, {}, {}, {}
    for level in LEVELS:
        dataset = with_noise({"level": level}, quick)
        energy = dataset["energy"].to_numpy()
        last[level], risen[level] = float(energy[-1] / energy[0]), float(np.diff(energy).max())
        least[level] = float((dataset["dissipation"] / dataset["injected_dissipation"]).min())
        integrals[level] = 60.0 * level**2
        print(f"{level:<42g} {energy[-1]:.2e} {max(0.0, risen[level]):12.1e} {least[level]:14.3f}")
    adaptive = with_noise({"level": 8.0, "adaptive": True}, quick)
    over = float((adaptive["energy"].to_numpy() / rate_bound(adaptive).to_numpy()).max())
    print(f"adaptive, from 8: F(T) = {float(adaptive['energy'][-1]):.2e}; largest F over its bound {over:.3f}")
    best = min(last, key=lambda level: last[level])
    print(f"best constant level at t = 60: {best:g}")
    descends = [level for level in LEVELS if risen[level] <= 0]
    source = "S4 tradeoff"
    return [
        Claim(
            "tradeoff-large", source, "With large noise the step is no descent direction any more: MMD² rises.",
            f"largest rise of F over F(0), level {LEVELS[-2]:g}, from nine tenths of the target and a tenth far away",
            rise_near_target(quick), (1e-3, np.inf), "a rise beyond the error of the scheme", (-np.inf, 0.0),
            "So smoothed, f sees the means alone, and what is at its place moves away; from far away F falls under every level.",
        ),
        Claim(
            "tradeoff-small", source, "Too small a level is worse than a middle one.",
            f"F at t = 60 under the level {LEVELS[0]:g} over that under the best constant level",
            last[LEVELS[0]] / last[best], (1 + 1e-9, np.inf), "an order: not the smallest level is the best", (0.0, 1 - 1e-9),
            finding="The best constant level lies in between at any fixed time; with more time the best one is larger.",
        ),
        Claim(
            "tradeoff-rate", source, "With sufficient decrease all along the loss falls like exp(−Cγ Σβ²).",
            "largest ratio of F to F(0) exp(−4∫λ²β² dt), λ measured on the run, adaptive level",
            over, (0.0, 1 + 1e-3), "a bound; its integral over the time between saves errs by less than a thousandth",
        ),
        Claim(
            "tradeoff-as-printed", source, "It is enough that MMD² rises by at most Cγ E|∇f(Z + βu)|², as the slide prints it.",
            "largest ratio of F(T) to F(0) exp(−∫β² dt) over the levels under which F only falls (logarithm to base 10)",
            float(max(np.log10(last[b]) + integrals[b] / np.log(10) for b in descends)), (-np.inf, 0.0), "an inequality, C = 1",
            (1.0, np.inf),
            "Every flow of falling MMD² meets the condition with +C, and the loss falls far less than follows; −C is meant.",
        ),
    ]  # fmt: skip


def reproduce(directory: Path, quick: bool) -> list[Claim]:
    case = gridflow.load_case("mmd-gaussian").replace(grid_of(quick, 400.0, 81))
    rows = observe(case, gridflow.solve(case))
    print("mmd-gaussian\n  time    near    far      F        −Ḟ/F    |∇f| on ν   anywhere")
    for row in rows[::5]:
        print("  {:<6.3g} {:6.1%} {:7.2%} {:9.2e} {:8.4f} {:10.5f} {:8.4f}".format(*row))
    t, values, chord = convexity()
    picture(directory, rows, (t, values, chord))
    rise = float((values - chord).max())
    return [
        *observation_claims(rows),
        Claim(
            "mmd-not-displacement-convex", "S4 displacement convexity", "MMD² is not displacement convex.",
            "largest excess of F over its chord along a translation, over the height of the chord",
            rise / float(np.ptp(chord)), (1e-3, np.inf), "above zero by more than the midpoint rule errs, (h/σ)²/24 = 2e-4",
            (-np.inf, 0.0), pictures=("mmd-observations.png",),
        ),
        *tradeoff_claims(quick),
    ]  # fmt: skip


def picture(directory: Path, rows: Array, geodesic: tuple[Array, Array, Array]) -> None:
    figure = Figure(figsize=(12, 3.8), layout="constrained")
    mass, plateau, line = figure.subplots(1, 3)
    time, near, far, energy, rate, *_ = rows[1:].T
    mass.plot(time, near, color="C0", label=f"within {NEAR} of the target's mean")
    mass.axhline(SHARE, color="C0", ls=":", label="the same of the target")
    mass.plot(time, far, color="C1", ls="--", label=f"farther than {FAR:g}")
    mass.set(xlabel="time", ylabel="share of the mass", title="collapse and escape", ylim=(0, 1.35), xscale="log")
    plateau.loglog(time, energy, color="C0", label="F")
    plateau.loglog(time, rate, color="C1", ls="--", label="its rate −Ḟ/F")
    plateau.set(xlabel="time", title="plateau")
    t, values, chord = geodesic
    line.plot(t, values, color="C0", label="F along a W2 geodesic")
    line.plot(t, chord, color="C1", ls="--", label="its chord")
    line.set(xlabel="position on the geodesic", title="MMD² is not displacement convex")
    for axes in (mass, plateau, line):
        axes.legend(fontsize="small")
    figure.savefig(directory / "mmd-observations.png", dpi=90)
