"""Which faults does a verdict find? Faults planted into one side, grid or particles, of a case that passes.

Each fault changes one side and leaves the other right. With f the factor of the fault:

    speed            the side runs in faster or slower time, ρ(f t): particles at the times f t; on a grid ξ, temperature and
                     diffusion times f
    velocity         times f, without temperature and diffusion
    sign             of ξ on the grid, of the last coordinate of the velocity of particles
    half domain      velocity times f on the upper half of the first line or circle, right on the other half
    temperature      times f on one side
    τ                JKO steps of f τ counted as τ
    walls            particles clipped to the walls instead of mirrored
    quarter cell     the start displaced by a quarter of a cell: on a grid by a quarter of its own cells, whatever their size
    deviation        the start of the particles f times as wide along the first line or circle
    identity         a fault that does nothing, through the same machinery: no number may change

A verdict claims to find relative errors of the speed above its `detects`, and that claim is put to the test at 1.2 times this
level, in both directions and on both sides. It claims nothing of faults on a part of the domain or of the temperature alone:
whether it finds them is recorded. A run that stops, or that diverges, is no verdict either: it counts as found. A start that
is a share of a cell off on every grid looks like an error of first order, which the estimate of the grid's error allows for; the
check of the start at t = 0 (`gridflow.verdict.start`) finds it.
"""

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import numpy as np
from matplotlib.figure import Figure

import gridflow
from gridflow.case.shipped import shipped_cases
from gridflow.energy.base import BoundEnergy, Energy, ParticleEnergy
from gridflow.energy.guard import bound_to, particles_of
from gridflow.energy.sum import BOUND_RULES, PARTICLE_RULES
from gridflow.particles.cloud import draw_cloud
from gridflow.particles.simulation import Simulator
from gridflow.progress import Progress
from gridflow.space.factor import Factor, columns_of
from gridflow.space.grid import Grid
from gridflow.space.line import LineFactor
from gridflow.threads import runs_side_by_side
from gridflow.verdict.ensembles import Runs
from gridflow.verdict.experiment import Experiment, run_ensembles
from gridflow.verdict.grids import Grids, run_grids
from gridflow.verdict.plan import Plan, plan_of
from gridflow.verdict.runner import quick_case
from gridflow.verdict.verdict import Judgement, judge
from validation.claim import Claim

GENEROUS = 1e3
"""Thresholds of a case times this: a fault is to be found by comparison, and small cases may be as coarse as they like."""
ABOVE = 1.2
"""Errors of the speed are planted at so many times the level that a verdict claims to detect."""
QUARTER, FAST, HALF, HOT, WIDE = 0.25, 1.02, 1.1, 1.05, 1.1
"""Share of a cell by which starts are displaced; factors of velocity, also on half the domain, of temperature, deviation."""


# ----------------------------------------------------------------------------------------- energies with a fault
@dataclass(frozen=True)
class Spoiled(Energy):
    """An energy with ξ and drive changed on the grid, `(ξ, grid) → ξ`, and gradients at particles, `(g, points, factors) → g`."""

    compared = False  # whether a verdict finds the fault is the question

    energy: Energy
    on_grid: Callable[[np.ndarray, Grid], np.ndarray] = lambda xi, grid: xi
    on_particles: Callable[[np.ndarray, np.ndarray, tuple[Factor, ...]], np.ndarray] = lambda gradient, points, factors: gradient

    def bind(self, grid: Grid) -> BoundEnergy:
        return SpoiledGrid(bound_to(grid, self.energy), partial(self.on_grid, grid=grid))

    def particles(self, factors: tuple[Factor, ...]) -> ParticleEnergy:
        return SpoiledParticles(particles_of(self.energy, factors), partial(self.on_particles, factors=factors))


class SpoiledGrid(BoundEnergy):
    """The right energy with changed potentials; values stay."""

    def __init__(self, right: BoundEnergy, change: Callable[[np.ndarray], np.ndarray]) -> None:
        self.right, self.change = right, change
        for name in BOUND_RULES:
            setattr(self, name, getattr(right, name))
        self.diagnose, self.check_start = right.diagnose, right.check_start
        self.displacement_moments = right.displacement_moments

    def evaluate(self, mass):
        return self.changed(self.right.evaluate(mass))

    def evaluate_density(self, density, volume):
        return self.changed(self.right.evaluate_density(density, volume))

    def changed(self, result):
        drive = None if result.drive is None else self.change(result.drive)
        return replace(result, first_variation=self.change(result.first_variation), drive=drive)

    def smooth_variation(self, level):
        variation = self.right.smooth_variation(level)
        return lambda mass: self.change(variation(mass))


class SpoiledParticles(ParticleEnergy):
    """The right energy with changed gradients; values stay."""

    def __init__(self, right: ParticleEnergy, change: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> None:
        self.right, self.change = right, change
        for name in PARTICLE_RULES:
            setattr(self, name, getattr(right, name))
        self.check_start = right.check_start

    def evaluate(self, points, weights, batch=None):
        result = self.right.evaluate(points, weights, batch)
        drive = None if result.drive is None else self.change(result.drive, points)
        return replace(result, gradient=self.change(result.gradient, points), drive=drive)

    def extend(self, reach):
        return SpoiledParticles(self.right.extend(reach), self.change)

    def gradient_at(self, places, points, weights):
        return self.change(self.right.gradient_at(places, points, weights), points)


def scaled_grid(xi: np.ndarray, grid: Grid, factor: float) -> np.ndarray:
    return factor * xi


def scaled_particles(gradient: np.ndarray, points: np.ndarray, factors: tuple[Factor, ...], factor: float) -> np.ndarray:
    return factor * gradient


def first_line(factors: tuple[Factor, ...]) -> int | None:
    return next((k for k, f in enumerate(factors) if f.one_dimensional), None)


def half_of_grid(xi: np.ndarray, grid: Grid, factor: float) -> np.ndarray:
    """ξ whose slope along the first line is `factor` times as large above its middle."""
    axis = first_line(grid.factors)
    if axis is None:
        return xi
    xi = np.moveaxis(xi, axis, 0)
    middle = len(xi) // 2
    changed = np.concatenate([xi[:middle], xi[middle] + factor * (xi[middle:] - xi[middle])])
    return np.ascontiguousarray(np.moveaxis(changed, 0, axis))


def half_of_particles(gradient: np.ndarray, points: np.ndarray, factors: tuple[Factor, ...], factor: float) -> np.ndarray:
    axis = first_line(factors)
    if axis is None:
        return gradient
    column, line = columns_of(factors)[axis].start, factors[axis]
    gradient = gradient.copy()
    gradient[:, column] *= np.where(points[:, column] > (line.edges[0] + line.edges[-1]) / 2, factor, 1.0)
    return gradient


def last_sign(gradient: np.ndarray, points: np.ndarray, factors: tuple[Factor, ...]) -> np.ndarray:
    moving = [c.stop - 1 for f, c in zip(factors, columns_of(factors), strict=True) if f.moves]
    signs = np.ones(gradient.shape[1])
    signs[moving[-1]] = -1
    return gradient * signs


# ---------------------------------------------------------------------------------------- particles with a fault
class Remembered(Simulator):
    """Right particles, whose runs are made once for all faults of the grid."""

    def __init__(self, *parts: Any) -> None:
        super().__init__(*parts)
        self.kept: dict[str, Any] = {}

    def run(self, particles, **options):
        key = f"{particles} {sorted(options.items())}"
        if key not in self.kept:
            self.kept[key] = super().run(particles, **options)
        return self.kept[key]


class Hurried(Simulator):
    """Particles whose clock runs `factor` times too fast."""

    def __init__(self, *parts: Any, factor: float) -> None:
        super().__init__(*parts)
        self.factor = factor

    def run(self, particles, *, times, **options):
        return super().run(particles, times=[self.factor * t for t in times], **options)


class Displaced(Simulator):
    """Particles whose start is moved: `move(x, line)` gives the new positions along the first line or circle."""

    def __init__(self, *parts: Any, move: Callable[[np.ndarray, Factor], np.ndarray]) -> None:
        super().__init__(*parts)
        self.move = move

    def run(self, particles, *, seed=0, sampling="random", **options):
        cloud = draw_cloud(list(self.problem.initial), self.factors, particles, seed, sampling, self.energy.strata)
        axis = first_line(self.factors)
        column, line = columns_of(self.factors)[axis].start, self.factors[axis]
        cloud.points[:, column] = line.fold(self.move(cloud.points[:, column], line))
        return super().run(cloud, seed=seed, sampling=sampling, **options)


def quarter_cell(x: np.ndarray, line: Factor) -> np.ndarray:
    return x + QUARTER * line.total_volume / line.size


def wider(x: np.ndarray, line: Factor, factor: float) -> np.ndarray:
    return x.mean() + factor * (x - x.mean())


class Clipped(LineFactor):
    """An interval that stops what leaves it at the walls."""

    def fold(self, x):
        return np.clip(x, *self.walls)

    def unfolded_gradient(self, unfolded, x, gradient):
        return gradient


def clipped(case: gridflow.Case) -> Simulator:
    simulator = Simulator.of(case)
    simulator.factors = tuple(
        Clipped(**{field.name: getattr(f, field.name) for field in fields(f)}) if f.walls else f for f in simulator.factors
    )
    return simulator


# --------------------------------------------------------------------------------------------- grids with a fault
def quarter_cell_masses(original: Callable) -> Callable:
    """Cell masses of the start displaced by a quarter of a cell along the first line; what would leave an interval stays."""

    def masses(components, grid, directory):
        found = np.moveaxis(original(components, grid, directory), first_line(grid.factors), 0)
        moved = QUARTER * found
        if grid.factors[first_line(grid.factors)].walls:
            moved[-1] = 0.0
        return np.ascontiguousarray(np.moveaxis(found - moved + np.roll(moved, 1, axis=0), 0, first_line(grid.factors)))

    return masses


def quarter_cell_grids(plan: Plan) -> Grids:
    from gridflow import problem

    with mock.patch("gridflow.problem.start_masses", quarter_cell_masses(problem.start_masses)):
        return run_grids(plan, Progress())


def grids_of(case: gridflow.Case, on_grid: Callable | None = None) -> Grids:
    energy = None if on_grid is None else Spoiled(case.energy.load(Path(case.directory)), on_grid=on_grid)
    return run_grids(plan_of(case, energy), Progress())


def longer_steps(plan: Plan, factor: float) -> Grids:
    """JKO steps `factor` times as long, as many of them as before, saved as if they had their length."""
    case = plan.case
    saves = [factor * t for t in case.time.save_times()[1:]]
    changes = {"scheme.tau": factor * case.scheme.tau, "time.stop": saves[-1], "time.save": saves}
    return run_grids(plan_of(case.replace(changes), None), Progress())


def heated(case: gridflow.Case, factor: float) -> gridflow.Case:
    changes = {"flow.temperature": factor * case.flow.temperature}
    return case.replace(changes | {f"flow.diffusion.{n}": factor * d for n, d in case.flow.diffusion.items()})


# ------------------------------------------------------------------------------------------------ one case, all faults
RIGHT = "fails without a fault"


class Row(NamedTuple):
    """size : relative error of the speed, else 0; found : what fails, "stopped" for a run that ended, or nothing."""

    case: str
    side: str
    fault: str
    size: float
    level: float
    found: tuple[str, ...]

    @property
    def claimed(self) -> bool:
        """An error of the whole speed above the level that the verdict states."""
        return abs(self.size) >= self.level

    @property
    def planted(self) -> bool:
        return self.fault != RIGHT


def failing(experiment: Experiment) -> tuple[Judgement, tuple[str, ...]]:
    judgement = judge(experiment, GENEROUS)
    names = [q.name for q, o in zip(experiment.plan.quantities, judgement.outcome, strict=True) if o == "fail"]
    return judgement, (*names, *(["start"] if "fail" in experiment.start.outcome else []))


def numbers(experiment: Experiment) -> list[np.ndarray]:
    """Every distance of an experiment."""
    series = [experiment.verdict, *experiment.random]
    return [experiment.grids.coarse, *(values for s in series for values in (s.time_step, s.distance, s.null))]


class Trial:
    """A right case, its experiment, and the same with one side replaced."""

    def __init__(self, case: gridflow.Case) -> None:
        self.case = case
        self.plan = plan_of(case, None)
        self.particles = Remembered.of(case)
        self.grids = run_grids(self.plan, Progress())
        self.right = self.experiment()
        judgement, self.wrong = failing(self.right)
        self.level = float(judgement.detects.min())

    def experiment(self, grids: Grids | None = None, simulator: Simulator | None = None) -> Experiment:
        runs = Runs(self.plan, simulator or self.particles, runs_side_by_side(None))
        return run_ensembles(runs, runs.time_step(Progress()), grids or self.grids, Progress())

    def row(self, side: str, fault: str, make: Callable[[], Any], size: float = 0.0) -> Row:
        """What the verdict says to a faulty side, Grids or a Simulator."""
        try:
            other = make()
            found = failing(self.experiment(**{"grids" if side == "grid" else "simulator": other}))[1]
        except gridflow.SolveError:
            found = ("stopped",)
        return Row(self.case.name, side, fault, size, self.level, found)

    def identity(self) -> int:
        """Numbers of the experiment that a fault that does nothing changes, on both sides together."""
        energy = Spoiled(self.case.energy.load(Path(self.case.directory)))
        other = self.experiment(run_grids(plan_of(self.case, energy), Progress()), Simulator.of(self.case, energy))
        return sum(int((a != b).sum()) for a, b in zip(numbers(self.right), numbers(other), strict=True))

    def rows(self) -> list[Row]:
        """Every fault of the case, or one row for a case in which none can be found, because it fails without one."""
        if self.wrong:
            return [Row(self.case.name, "both", RIGHT, 0.0, self.level, self.wrong)]
        rows = [*self.speeds(), *self.velocities()]
        if first_line(self.case.grid().factors) is not None:
            rows += self.places()
        if self.case.flow.temperature > 0:
            make = {"particles": lambda: Simulator.of(heated(self.case, HOT)), "grid": lambda: grids_of(heated(self.case, HOT))}
            rows += [self.row(side, "temperature +5 %", make[side]) for side in make]
        return rows

    def speeds(self) -> list[Row]:
        """A whole side in faster or slower time."""
        case, step = self.case, ABOVE * self.level
        faults = {"speed +1.2 detects": 1 + step, "speed −1.2 detects": 1 - step}
        rows = []
        for name, f in faults.items():
            if f > 0:
                rows.append(self.row("particles", name, partial(Hurried.of, case, factor=f), f - 1))
                rows.append(self.row("grid", name, partial(grids_of, heated(case, f), partial(scaled_grid, factor=f)), f - 1))
        if case.scheme.label == "entropic JKO":
            rows.append(self.row("grid", "τ +1.2 detects", partial(longer_steps, self.plan, 1 + step), step))
        return rows

    def velocities(self) -> list[Row]:
        """The velocity alone, which is the whole speed where nothing diffuses; sizes only there."""
        case, rows = self.case, list[Row]()
        whole = case.flow.temperature == 0 and not case.flow.diffusion and case.flow.reaction.rate == 0
        size, name = (FAST - 1 if whole else 0.0), "velocity +2 %"
        rows.append(self.row("particles", name, partial(self.spoiled, partial(scaled_particles, factor=FAST)), size))
        rows.append(self.row("grid", name, partial(grids_of, case, partial(scaled_grid, factor=FAST)), size))
        rows.append(self.row("particles", "sign", partial(self.spoiled, last_sign), np.inf))
        rows.append(self.row("grid", "sign", partial(grids_of, case, partial(scaled_grid, factor=-1.0)), np.inf))
        rows.append(self.row("particles", "half domain +10 %", partial(self.spoiled, partial(half_of_particles, factor=HALF))))
        rows.append(self.row("grid", "half domain +10 %", partial(grids_of, case, partial(half_of_grid, factor=HALF))))
        return rows

    def places(self) -> list[Row]:
        """The start and the walls."""
        case = self.case
        return [
            self.row("particles", "start ¼ cell off", partial(Displaced.of, case, move=quarter_cell)),
            self.row("grid", "start ¼ cell off", partial(quarter_cell_grids, self.plan)),
            self.row("particles", "deviation +10 %", partial(Displaced.of, case, move=partial(wider, factor=WIDE))),
            self.row("particles", "walls clip", partial(clipped, case)),
        ]

    def spoiled(self, change: Callable) -> Simulator:
        return Simulator.of(self.case, Spoiled(self.case.energy.load(Path(self.case.directory)), on_particles=change))


# ------------------------------------------------------------------------------------------------------- the cases
RK2 = {"kind": "rk2", "step": 0.05}
FEW = {"particles.counts": [8, 16, 64], "particles.ensembles": 8, "particles.verdict": {"count": 512, "ensembles": 8}}
"""Few particles: what they detect is coarse, and is stated as such by the verdict."""
SMALL = {**FEW, "exact": None, "time": {"stop": 1.0, "save": 3, "max_steps": 1000}, "validation.times": 2}
THRESHOLD = {"threshold": 1.0, "reason": "not judged: a fault is to be found by comparison"}
QUANTITIES = {"w1": THRESHOLD, "energy": THRESHOLD, "times": 2}


def network() -> gridflow.Case:
    changes = {**SMALL, "space.theta.cells": 64, "particles.integrator": RK2, "validation": QUANTITIES}
    return gridflow.load_case("teacher-1d-quadratic").replace(changes)


def steps() -> gridflow.Case:
    """The network by JKO steps."""
    changes = {
        **SMALL,
        "space.theta.cells": 64,
        "scheme.tau": 0.0125,
        "particles.integrator": {**RK2, "step": 0.1},
        "validation": QUANTITIES,
    }
    return gridflow.load_case("teacher-1d-quadratic-jko").replace({**changes, "time.stop": 0.4})


def walled() -> gridflow.Case:
    """The Ornstein–Uhlenbeck flow between walls that hold much of the mass."""
    start = [{"density": {"x": {"kind": "cosine", "amplitude": 0.6}}}]
    return gridflow.load_case("ornstein-uhlenbeck").replace(
        {
            **SMALL,
            "space.x": {"kind": "interval", "bounds": [-1.0, 1.0], "cells": 32},
            "initial": start,
            "time.stop": 0.3,
            "time.max_steps": 150,  # the right grid takes half of it; with the wrong sign no step is small enough
            "particles.verdict.count": 2048,
            "particles.integrator": RK2,
            "validation": QUANTITIES,
        }
    )


def transport() -> gridflow.Case:
    """The flow along a Sobolev potential, which ξ does not drive."""
    few = {"particles.counts": [128, 256, 1024], "energy.modes": 16}  # fewer particles than waves make the problem singular
    changes = {**few, "space.x.cells": 64, "particles.integrator": {**RK2, "step": 0.125}, "validation": QUANTITIES}
    return gridflow.load_case("mmd-sobolev").replace({**SMALL, **changes, "time.stop": 0.5})


def small_cases() -> list[gridflow.Case]:
    """A network by JKO steps, noise between walls, and a transport that ξ does not drive."""
    return [steps(), walled(), transport()]


def all_cases() -> list[gridflow.Case]:
    """Those, the network by finite volumes, and every other shipped case as in a quick validation, with few particles."""
    small = [*small_cases(), network()]
    named = [gridflow.load_case(n) for n in shipped_cases() if n not in {case.name for case in small}]
    others = [quick_case(case) for case in named if case.particles is not None]
    return [*small, *(case.replace({**FEW, "exact": None, "validation.times": 3}) for case in others)]


# ------------------------------------------------------------------------------------------------- picture and claims
def draw(rows: list[Row], path: Path) -> None:
    """A table: faults by cases, what finds each."""
    kinds = list(dict.fromkeys((r.side, r.fault) for r in rows))
    kinds.sort(key=lambda kind: [r.fault for r in rows].index(kind[1]))
    cases = list(dict.fromkeys(r.case for r in rows))
    by_key = {(r.side, r.fault, r.case): r for r in rows}
    texts, colours = [], []
    for side, fault in kinds:
        cells = [by_key.get((side, fault, name)) for name in cases]
        texts.append(["" if c is None else words(c) for c in cells])
        colours.append([colour(c) for c in cells])
    figure = Figure(figsize=(3.2 + 1.9 * len(cases), 1.9 + 0.26 * len(kinds)), layout="constrained")
    axes = figure.subplots()
    axes.axis("off")
    levels = [next(r.level for r in rows if r.case == name) for name in cases]
    heads = [f"{name}\ndetects {100 * level:.2g} %" for name, level in zip(cases, levels, strict=True)]
    table = axes.table(
        texts, cellColours=colours, rowLabels=[f"{fault}, {side}" for side, fault in kinds], colLabels=heads, loc="center"
    )
    table.auto_set_font_size(False)
    table.set_fontsize(8)
    table.scale(1, 1.25)
    for (row, _), cell in table.get_celld().items():
        if row == 0:
            cell.set_height(2 * cell.get_height())
    figure.supxlabel(LEGEND, x=0.01, ha="left", fontsize=8)
    figure.savefig(path, dpi=100)


LEGEND = """Blue: found, by what stands in the cell; "stopped": a run that diverges or does not end. White: not planted.
* the error of the whole speed is above `detects`: the verdict claims to find it; red would be such a fault that is not found.
Orange: not found, and the verdict claims nothing. Below `detects` the errors of grid and particles may hide a fault, and of a
wrong velocity on half the domain, or a wrong temperature, they see a share only. Clipping walls are wrong where mass is.
A start that is off by the same share of a cell on every grid looks like the grid's own error: the check of the start finds it."""


def colour(row: Row | None) -> str:
    if row is None:
        return "w"
    if not row.planted:
        return "#d9d9d9"
    return "#9ecae1" if row.found else "#e34a33" if row.claimed else "#fdd49e"


def words(row: Row) -> str:
    """What finds a fault, the start apart from the quantities; * : the verdict claims to find it."""
    kinds = list(dict.fromkeys(name.partition(":")[0] for name in row.found))
    return (", ".join(kinds) or "not found") + (" *" if row.claimed else "")


def share(rows: list[Row]) -> float:
    return float(np.mean([bool(r.found) for r in rows])) if rows else float("nan")


def reproduce(directory: Path, quick: bool) -> list[Claim]:
    """The claims of the verdict, put to the test."""
    return claims(small_cases() if quick else all_cases(), directory)


def claims(cases: list[gridflow.Case], directory: Path) -> list[Claim]:
    changed, rows = 0, []
    for case in cases:
        try:
            trial = Trial(case)
        except (gridflow.SolveError, gridflow.InputError) as error:  # so few particles or so wide cells may be too few for a case
            print(f"{case.name}: {error}")
            found, level = [Row(case.name, "both", RIGHT, 0.0, np.inf, ("stopped",))], np.inf
        else:
            changed += trial.identity()
            found, level = trial.rows(), trial.level
        rows += found
        print(f"{case.name}: detects {100 * level:.2g} %")
        for r in found:
            print(f"  {r.side:9} {r.fault:20} {words(r)}", flush=True)
    draw(rows, directory / "planted-faults.png")
    claimed = [r for r in rows if r.claimed]
    starts = [r for r in rows if r.fault.startswith("start")]
    unclaimed = [r for r in rows if r.planted and not r.claimed]
    unseen = [r for r in unclaimed if not r.found]
    common: dict[str, Any] = {"source": "gridflow", "pictures": ("planted-faults.png",)}
    return [
        Claim(
            "planted-identity", says="A fault that does nothing, planted by the same means, changes no number of a verdict.",
            quantity="distances that differ, bit for bit, over all cases", value=changed, band=(0.0, 0.0),
            reason="the same operations in the same order", **common,
        ),
        Claim(
            "planted-claimed", says="A verdict fails for every error of the speed above the level `detects` that it states.",
            quantity=f"share of {len(claimed)} faults of the whole speed above the level, on either side, that are found",
            value=share(claimed), band=(1.0, 1.0),
            reason="the level is twice what grid and particles may differ by, over the measured sensitivity", **common,
        ),
        Claim(
            "planted-start", says="A start that is a quarter of a cell off, on all grids or for all particles, fails a verdict.",
            quantity=f"share of {len(starts)} displaced starts that are found", value=share(starts), band=(1.0, 1.0),
            reason="the start is known exactly: cells and quantile functions differ by O(h²) and the sampling error",
            finding="On all grids at once it looks like an error of first order; the check of the start at t = 0 finds it there.",
            **common,
        ),
        Claim(
            "planted-unseen", says="Faults below the stated level, or of a part of the flow, may pass.",
            quantity=f"faults that are not found, of {len(unclaimed)} of which the verdict claims nothing",
            value=len(unseen),
            finding="The picture names them. What changes the solution by less than the errors of grid and particles is"
            " invisible, and so are walls that clip where no mass reaches them.",
            **common,
        ),
    ]  # fmt: skip
