"""How fast does mass slide along a kink of ξ that is oblique to the grid? Too slowly, without sliding = true.

ξ = |n| − s·t with t along a line through the origin and n across it: mass falls onto the line and slides along it with speed s.
ReLU networks have such valleys at w x_j + b = 0. Fluxes see ξ at cells only: where the line passes close to a cell point, all
four neighbours of that cell may be higher, and mass stays there. Measured is the mean displacement along the line at time 2
over s·2, which is 1 for the exact flow: along the grid, and for a line at an angle of 0.5, for finite volumes and JKO steps,
which move mass over several cells at once; and at other angles for finite volumes with and without `sliding`, the viscosity of
`gridflow.scheme.finite_volume.sliding`. There the marginal along the line is known too: the one of the start, moved by s·2.
"""

from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import ndtr

import gridflow
from gridflow.case.case import Case, Time
from gridflow.energy.base import ROUNDOFF, BoundEnergy, Energy, Evaluation
from gridflow.energy.potential import Potential
from gridflow.scheme.finite_volume.scheme import FiniteVolume
from gridflow.scheme.jko.scheme import JKO
from gridflow.space.densities import Normal
from gridflow.space.factor import Array
from gridflow.space.grid import Grid
from gridflow.space.line import Interval
from gridflow.space.mixture import Component
from validation.claim import Claim

STOP, ANGLE, HALF_WIDTH, DEVIATION = 2.0, 0.5, 3.0, 0.3
SLOPES = (0.1, 0.3, 1.0)
SLIDING_SLOPE = 0.2
ANGLES, SLIDING_CELLS = (0.0, 0.1, 0.2, 0.3, 0.5, 0.65, np.pi / 4, 1.0, 1.2, 1.4), (64, 128)


class Valley(Energy):
    """∫ξ dρ with ξ = |n| − slope·t."""

    def __init__(self, angle: float, slope: float) -> None:
        self.angle, self.slope = angle, slope

    def along(self, x: Any, y: Any) -> Any:
        return np.cos(self.angle) * x + np.sin(self.angle) * y

    def bind(self, grid: Grid) -> "BoundValley":
        x, y = grid.coordinate("x"), grid.coordinate("y")
        across = np.sin(self.angle) * x - np.cos(self.angle) * y
        return BoundValley(np.ascontiguousarray(np.abs(across) - self.slope * self.along(x, y)))


class BoundValley(BoundEnergy):
    """∫ξ dρ on a grid."""

    convex = True
    smooth = False

    def __init__(self, xi: Array) -> None:
        self.xi = xi

    def evaluate(self, mass: Array) -> Evaluation:
        return Evaluation(float((self.xi * mass).sum()), self.xi, ROUNDOFF * float(np.abs(self.xi * mass).sum()))


def final_masses(scheme: FiniteVolume | JKO, cells: int, angle: float, slope: float) -> tuple[Array, Array]:
    """Masses of the cells at the end, and their coordinate along the line, (cells²,) each."""
    interval, start = Interval(bounds=(-HALF_WIDTH, HALF_WIDTH), cells=cells), Normal(mean=0.0, deviation=DEVIATION)
    case = Case(
        title="valley", space={"x": interval, "y": interval}, energy=Potential(), initial=[Component({"x": start, "y": start})],
        time=Time(stop=STOP, save=2), scheme=scheme,
    )  # fmt: skip
    valley = Valley(angle, slope)
    dataset = gridflow.solve(case, energy=valley)
    masses = (dataset["density"] * dataset["cell_volume"]).isel(time=-1)
    along = valley.along(dataset["x"], dataset["y"]).transpose(*masses.dims)
    return masses.to_numpy().ravel(), along.to_numpy().ravel()


def displacement(scheme: FiniteVolume | JKO, cells: int, angle: float, slope: float) -> float:
    """Mean displacement along the line over slope·t."""
    masses, along = final_masses(scheme, cells, angle, slope)
    return float(masses @ along) / (slope * STOP)


def w1_along(scheme: FiniteVolume, cells: int, angle: float, slope: float) -> float:
    """W1 distance of the marginal along the line to the exact one, a normal density."""
    masses, along = final_masses(scheme, cells, angle, slope)
    ends = np.linspace(-2 * HALF_WIDTH, 2 * HALF_WIDTH, 4001)
    found = np.cumsum(np.histogram(along, ends, weights=masses)[0])
    exact = ndtr((ends[1:] - slope * STOP) / DEVIATION)
    return float(np.abs(found - exact).sum() * (ends[1] - ends[0]))


def picture(path: Path, found: dict[tuple[str, float, int], float], grids: tuple[int, ...], slides: dict) -> None:
    """The displacements at the oblique line over the slope, and over the angle."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, (axes, right) = pyplot.subplots(1, 2, figsize=(10.0, 4.4), layout="constrained", sharey=True)
    colours = {"finite volumes": "#0072b2", "JKO, τ = h": "#d55e00", "JKO, τ = 4h": "#009e73", "sliding": "#cc79a7"}
    for scheme, colour in colours.items():
        for cells, style in zip(grids, ("o--", "s-"), strict=True):
            values = [found[scheme, slope, cells] for slope in SLOPES]
            axes.plot(SLOPES, values, style, color=colour, label=f"{scheme}, {cells}² cells", markersize=5)
    axes.set(
        xscale="log", xlabel=f"slope s along the valley, angle {ANGLE:g}", ylabel="displacement over s·t", ylim=(-0.05, 1.15)
    )
    axes.set_xticks(SLOPES, [f"{s:g}" for s in SLOPES])
    axes.minorticks_off()
    for scheme in ("finite volumes", "sliding"):
        for cells, style in zip(SLIDING_CELLS, ("o--", "s-"), strict=True):
            values = [slides[scheme, angle, cells] for angle in ANGLES]
            right.plot(ANGLES, values, style, color=colours[scheme], label=f"{scheme}, {cells}² cells", markersize=5)
    right.set(xlabel=f"angle to the grid, slope {SLIDING_SLOPE:g}")
    for panel in (axes, right):
        panel.axhline(1.0, color="black", linewidth=0.8)
        panel.legend(loc="upper center", bbox_to_anchor=(0.5, -0.14), fontsize=8, ncols=2)
    figure.suptitle("Sliding along an oblique kink; the line at 1 is exact", fontsize=10)
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


def sliding_displacements(
    slope: float, names: tuple[str, ...] = ("finite volumes", "sliding")
) -> dict[tuple[str, float, int], float]:
    """Displacements over slope·t of finite volumes at all angles, with and without `sliding`."""
    return {
        (name, angle, cells): displacement(FiniteVolume(sliding=name == "sliding"), cells, angle, slope)
        for name in names for angle in ANGLES for cells in SLIDING_CELLS
    }  # fmt: skip


def sliding_claims(slides: dict[tuple[str, float, int], float]) -> list[Claim]:
    """What `sliding` changes at every angle."""
    coarse, fine = SLIDING_CELLS
    w1 = {n: max(w1_along(FiniteVolume(sliding=True), n, angle, SLIDING_SLOPE) for angle in ANGLES) for n in SLIDING_CELLS}
    flat = sliding_displacements(SLOPES[0], ("sliding",))
    print(f"largest W1 along the valley with sliding: {w1}")
    print(
        f"smallest and largest displacement with sliding, s = {SLOPES[0]}: {min(flat.values()):.3f} to {max(flat.values()):.3f}"
    )
    shared = {"source": "gridflow", "pictures": ("valley.png",)}
    quantity = f"smallest displacement over s·t at {len(ANGLES)} angles, {coarse}² and {fine}² cells, sliding"
    return [
        Claim(
            name="valley-sliding", **shared,
            says="With sliding = true finite volumes move mass along kinks at all angles as they should but for 3 %.",
            quantity=f"{quantity}, s = {SLIDING_SLOPE:g}",
            value=min(value for (name, *_), value in slides.items() if name == "sliding"), band=(0.97, 1.03),
            reason="a chart cannot show 3 %",
            finding="It does not converge to 1 but to a number from 0.98 to 1 that depends on the angle: the width of the mass"
            " in the kink is fixed in cells.",
        ),
        Claim(
            name="valley-sliding-flat", **shared,
            says="The same where the valley falls by a twentieth of the jump of the slope.",
            quantity=f"{quantity}, s = {SLOPES[0]:g}",
            value=min(flat.values()), band=(0.97, 1.03),
            reason="as for the steeper valley",
            finding="A valley this flat is near the limit: where the kink meets cells unevenly, ξ at the cells errs as much.",
        ),
        Claim(
            name="valley-sliding-w1", **shared,
            says="With sliding = true the density along the valley converges.",
            quantity=f"largest W1 to the exact marginal along the line, {fine}² over {coarse}² cells, s = {SLIDING_SLOPE:g}",
            value=w1[fine] / w1[coarse], band=(0.0, 0.6), opposite=(0.8, 10.0),
            reason="convergence of first order halves the error, with 0.1 for what is not asymptotic; 0.8 and more is none",
        ),
    ]  # fmt: skip


def reproduce(directory: Path, quick: bool) -> list[Claim]:
    grids = (24, 48) if quick else (48, 96)
    print("angle   slope   cells   finite volumes   JKO, tau = h   JKO, tau = 4h  sliding")
    found: dict[tuple[str, float, int], float] = {}
    for slope in SLOPES:
        for cells in grids:
            h = 2 * HALF_WIDTH / cells
            schemes = {"finite volumes": FiniteVolume(), "JKO, τ = h": JKO(tau=h), "JKO, τ = 4h": JKO(tau=4 * h)}
            schemes["sliding"] = FiniteVolume(sliding=True)
            row = [displacement(scheme, cells, ANGLE, slope) for scheme in schemes.values()]
            found |= {(name, slope, cells): value for name, value in zip(schemes, row, strict=True)}
            print("{:<7g} {:<7g} {:<7d} {:<16.3f} {:<14.3f} {:<14.3f} {:.3f}".format(ANGLE, slope, cells, *row))
    straight = min(displacement(FiniteVolume(), grids[0], 0.0, slope) for slope in SLOPES)
    print(f"along the grid, finite volumes: at least {straight:.4f}")
    slides = sliding_displacements(SLIDING_SLOPE)
    for name, angle, cells in slides:
        print(f"{name} at angle {angle:.3f}, {cells}² cells: {slides[name, angle, cells]:.3f}")
    picture(directory / "valley.png", found, grids, slides)
    fine = grids[-1]
    flat, steep = SLOPES[0], SLOPES[-1]
    volumes = found["finite volumes", flat, fine]
    longer = found["JKO, τ = 4h", flat, fine]
    shared = {"source": "gridflow", "pictures": ("valley.png",)}
    return [
        Claim(
            name="valley-along-the-grid", source="gridflow",
            says="Mass slides at full speed along a kink that runs along the grid.",
            quantity="smallest displacement over s·t, finite volumes, three slopes",
            value=straight, band=(0.99, 1.01),
            reason="only the walls, 3.3 deviations from the last mean, and the cells of the start hold mass back: below 1 %",
        ),
        Claim(
            name="valley-flat-pinned", **shared,
            says="Finite volumes move mass at the right speed along an oblique kink with slope 0.1.",
            quantity=f"displacement over s·t at the finer grid, finite volumes, s = {flat:g}",
            value=volumes, band=(0.9, 1.1), opposite=(-0.1, 0.5),
            reason="a tenth is what a chart can show; less than half is the opposite of the right speed",
            finding="Mass is pinned at cells that are lower than their neighbours on both sides of the kink.",
        ),
        Claim(
            name="valley-refinement", **shared,
            says="A twice finer grid moves mass at a twice smaller error along the oblique kink.",
            quantity=f"error of the displacement, finer over coarser grid, finite volumes, s = {flat:g}",
            value=abs(1 - volumes) / abs(1 - found["finite volumes", flat, grids[0]]), band=(0.0, 0.6), opposite=(0.8, 10.0),
            reason="convergence of first order halves the error, with 0.1 for what is not asymptotic; 0.8 and more is none",
            finding="A finer grid shows the same picture: the cells at which mass stays have the same share.",
        ),
        Claim(
            name="valley-steep", **shared,
            says="Where the valley falls as steeply as its walls, finite volumes move mass at the right speed.",
            quantity=f"displacement over s·t at the finer grid, finite volumes, s = {steep:g}",
            value=found["finite volumes", steep, fine], band=(0.9, 1.1), opposite=(-0.1, 0.5),
            reason="as for the flat valley",
        ),
        Claim(
            name="valley-jko", **shared,
            says="JKO steps that move mass over four cells come closer than finite volumes in the flat valley.",
            quantity=f"error of the displacement, JKO with τ = 4h over finite volumes, s = {flat:g}",
            value=abs(1 - longer) / abs(1 - volumes), band=(0.0, 0.9), opposite=(1.0, 100.0),
            reason="below 1 is closer; a tenth for the choice of the cells that the line meets",
        ),
        *sliding_claims(slides),
    ]  # fmt: skip
