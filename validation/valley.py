"""How fast does mass slide along a kink of ξ that is oblique to the grid? Too slowly, on fine grids as well.

ξ = |n| − s·t with t along a line through the origin and n across it: mass falls onto the line and slides along it with speed s.
ReLU networks have such valleys at w x_j + b = 0. Fluxes see ξ at cells only: where the line passes close to a cell point, all
four neighbours of that cell may be higher, and mass stays there. Measured is the mean displacement along the line at time 2
over s·2, which is 1 for the exact flow: along the grid, and for a line at an angle of 0.5, for finite volumes and JKO steps,
which move mass over several cells at once.
"""

from pathlib import Path
from typing import Any

import numpy as np

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

STOP, ANGLE, HALF_WIDTH = 2.0, 0.5, 3.0
SLOPES = (0.1, 0.3, 1.0)


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


def displacement(scheme: FiniteVolume | JKO, cells: int, angle: float, slope: float) -> float:
    """Mean displacement along the line over slope·t."""
    interval, start = Interval(bounds=(-HALF_WIDTH, HALF_WIDTH), cells=cells), Normal(mean=0.0, deviation=0.3)
    case = Case(
        title="valley", space={"x": interval, "y": interval}, energy=Potential(), initial=[Component({"x": start, "y": start})],
        time=Time(stop=STOP, save=2), scheme=scheme,
    )  # fmt: skip
    valley = Valley(angle, slope)
    dataset = gridflow.solve(case, energy=valley)
    masses = (dataset["density"] * dataset["cell_volume"]).isel(time=-1)
    return float((masses * valley.along(dataset["x"], dataset["y"])).sum()) / (slope * STOP)


def picture(path: Path, found: dict[tuple[str, float, int], float], grids: tuple[int, ...]) -> None:
    """The displacements at the oblique line over the slope."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(6.4, 4.0), layout="constrained")
    colours = {"finite volumes": "#0072b2", "JKO, τ = h": "#d55e00", "JKO, τ = 4h": "#009e73"}
    for scheme, colour in colours.items():
        for cells, style in zip(grids, ("o--", "s-"), strict=True):
            values = [found[scheme, slope, cells] for slope in SLOPES]
            axes.plot(SLOPES, values, style, color=colour, label=f"{scheme}, {cells}² cells", markersize=5)
    axes.axhline(1.0, color="black", linewidth=0.8)
    axes.set(xscale="log", xlabel="slope s along the valley", ylabel="displacement over s·t", ylim=(-0.05, 1.15))
    axes.set_xticks(SLOPES, [f"{s:g}" for s in SLOPES])
    axes.minorticks_off()
    figure.suptitle(f"Sliding along a kink at an angle of {ANGLE:g} to the grid; the line at 1 is exact", fontsize=10)
    figure.legend(loc="outside right center", fontsize=8)
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


def reproduce(directory: Path, quick: bool) -> list[Claim]:
    grids = (24, 48) if quick else (48, 96)
    print("angle   slope   cells   finite volumes   JKO, tau = h   JKO, tau = 4h")
    found: dict[tuple[str, float, int], float] = {}
    for slope in SLOPES:
        for cells in grids:
            h = 2 * HALF_WIDTH / cells
            schemes = {"finite volumes": FiniteVolume(), "JKO, τ = h": JKO(tau=h), "JKO, τ = 4h": JKO(tau=4 * h)}
            row = [displacement(scheme, cells, ANGLE, slope) for scheme in schemes.values()]
            found |= {(name, slope, cells): value for name, value in zip(schemes, row, strict=True)}
            print("{:<7g} {:<7g} {:<7d} {:<16.3f} {:<14.3f} {:.3f}".format(ANGLE, slope, cells, *row))
    straight = min(displacement(FiniteVolume(), grids[0], 0.0, slope) for slope in SLOPES)
    print(f"along the grid, finite volumes: at least {straight:.4f}")
    picture(directory / "valley.png", found, grids)
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
    ]  # fmt: skip
