"""Which faults does a verdict find? Faults planted into one side, grid or particles, of a case that passes.

Each fault changes one side and leaves the other right. With f the factor of the fault:

    speed            the side runs in faster time, ρ(f t): particles at the times f t; on a grid ξ, temperature and diffusion times f
    sign             of ξ on the grid, of the last coordinate of the velocity of particles
    half domain      velocity times f on the upper half of the first line or circle, right on the other half
    temperature      times f on one side
    τ                JKO steps of f τ counted as τ: in W/(2τ) + E the same as E and temperature times f
    walls            particles clipped to the walls instead of mirrored
    quarter cell     the start displaced by a quarter of a cell: on a grid by a quarter of its own cells, whatever their size
    deviation        the start of the particles f times as wide along the first line or circle
    identity         a fault that does nothing, through the same machinery: no number may change

A verdict claims to find relative errors of the speed above its `detects`, and that claim is put to the test at 1.2 times this
level, in both directions and on both sides. It claims nothing of faults on a part of the domain or of the temperature alone: whether it
finds them is recorded. A start that is a share of a cell off on every grid looks like an error of first order, which the
estimate of the grid's error allows for; the check of the start at t = 0 (`gridflow.validation.start`) finds it.
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
from gridflow.energy.base import BoundEnergy, ParticleEnergy, bound_to, completed, copied, particles_of
from gridflow.particles.cloud import Cloud, draw_cloud
from gridflow.particles.simulation import Simulator
from gridflow.progress import SilentTally
from gridflow.shipped import shipped_cases
from gridflow.space.factor import Factor, columns_of
from gridflow.space.grid import Grid
from gridflow.validation.experiment import Experiment, Grids, Plan, Runs, compared, plan_of, run_grids
from gridflow.validation.runner import quickened
from gridflow.validation.verdict import Judgement, judge
from validation.claim import Claim

GENEROUS = 1e3
"""Thresholds of a case times this: a fault is to be found by comparison, and small cases may be as coarse as they like."""
ABOVE = 1.2
"""Errors of the speed are planted at so many times the level that a verdict claims to detect."""
QUARTER, HALF, HOT, WIDE = 0.25, 1.1, 1.05, 1.1
"""Share of a cell by which starts are displaced; factors of velocity on half the domain, of temperature, of a deviation."""


# ----------------------------------------------------------------------------------------- energies with a fault
@dataclass(frozen=True)
class Spoiled:
    """An energy with ξ and drive changed on the grid, `(ξ, grid) → ξ`, and gradients at particles, `(g, points, factors) → g`."""

    energy: Any
    on_grid: Callable[[np.ndarray, Grid], np.ndarray] = lambda xi, grid: xi
    on_particles: Callable[[np.ndarray, np.ndarray, tuple[Factor, ...]], np.ndarray] = lambda gradient, points, factors: gradient

    def bind(self, grid: Grid) -> BoundEnergy:
        return spoiled_grid(bound_to(grid, self.energy), partial(self.on_grid, grid=grid))

    def particles(self, factors: tuple[Factor, ...]) -> ParticleEnergy:
        return spoiled_particles(particles_of(self.energy, factors), partial(self.on_particles, factors=factors))


def spoiled_grid(right: BoundEnergy, change: Callable[[np.ndarray], np.ndarray]) -> BoundEnergy:
    """Every member of the right energy, with changed potentials; values stay."""
    found = copied(right, BoundEnergy)

    def evaluate(mass):
        result = right.evaluate(mass)
        drive = None if result.drive is None else change(result.drive)
        return replace(result, first_variation=change(result.first_variation), drive=drive)

    found.evaluate = evaluate
    found.smoothed = lambda level: spoiled_grid(completed(right.smoothed(level), BoundEnergy), change)
    return found


def spoiled_particles(right: ParticleEnergy, change: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> ParticleEnergy:
    found = copied(right, ParticleEnergy)

    def evaluate(points, weights, batch=None):
        result = right.evaluate(points, weights, batch)
        drive = None if result.drive is None else change(result.drive, points)
        return replace(result, gradient=change(result.gradient, points), drive=drive)

    found.evaluate = evaluate
    found.widened = lambda reach: spoiled_particles(completed(right.widened(reach), ParticleEnergy), change)
    found.gradient_at = lambda places, points, weights: change(right.gradient_at(places, points, weights), points)
    return found


def scaled_grid(xi: np.ndarray, grid: Grid, factor: float) -> np.ndarray:
    return factor * xi


def scaled_particles(gradient: np.ndarray, points: np.ndarray, factors: tuple[Factor, ...], factor: float) -> np.ndarray:
    return factor * gradient


def first_line(factors: tuple[Factor, ...]) -> int | None:
    return next((k for k, f in enumerate(factors) if f.is_line), None)


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

    def __init__(self, case: gridflow.Case) -> None:
        super().__init__(case)
        self.kept: dict[str, Any] = {}

    def run(self, particles, **options):
        key = f"{particles} {sorted(options.items())}"
        if key not in self.kept:
            self.kept[key] = super().run(particles, **options)
        return self.kept[key]


class Hurried(Simulator):
    """Particles whose clock runs `factor` times too fast."""

    def __init__(self, case: gridflow.Case, factor: float) -> None:
        super().__init__(case)
        self.factor = factor

    def run(self, particles, *, times, **options):
        return super().run(particles, times=[self.factor * t for t in times], **options)


class Displaced(Simulator):
    """Particles whose start is moved: `move(x, line)` gives the new positions along the first line or circle."""

    def __init__(self, case: gridflow.Case, move: Callable[[np.ndarray, Factor], np.ndarray]) -> None:
        super().__init__(case)
        self.move = move

    def run(self, particles, *, seed=0, sampling="random", **options):
        cloud = draw_cloud(self.case.initial, self.factors, particles, seed, sampling, self.energy.strata)
        axis = first_line(self.factors)
        column, line = columns_of(self.factors)[axis].start, self.factors[axis]
        cloud.points[:, column] = line.fold(self.move(cloud.points[:, column], line))
        return super().run(cloud, seed=seed, sampling=sampling, **options)


def quarter_cell(x: np.ndarray, line: Factor) -> np.ndarray:
    return x + QUARTER * line.length / line.size


def wider(x: np.ndarray, line: Factor, factor: float) -> np.ndarray:
    return x.mean() + factor * (x - x.mean())


class Clipped(Factor):
    """An interval that stops what leaves it at the walls."""

    def fold(self, x):
        return np.clip(x, self.edges[0], self.edges[-1]) if self.kind == "interval" else super().fold(x)

    def fold_slope(self, x):
        return np.ones(x.shape)


def clipped(case: gridflow.Case) -> Simulator:
    simulator = Simulator(case)
    simulator.factors = tuple(
        f if f.is_mesh else Clipped(**{field.name: getattr(f, field.name) for field in fields(Factor)}) for f in simulator.factors
    )
    return simulator


# --------------------------------------------------------------------------------------------- grids with a fault
def quarter_cell_masses(original: Callable) -> Callable:
    """Cell masses of the start displaced by a quarter of a cell along the first line; what would leave an interval stays."""

    def masses(components, grid, directory, purpose):
        found = np.moveaxis(original(components, grid, directory, purpose), first_line(grid.factors), 0)
        moved = QUARTER * found
        if grid.factors[first_line(grid.factors)].kind == "interval":
            moved[-1] = 0.0
        return np.ascontiguousarray(np.moveaxis(found - moved + np.roll(moved, 1, axis=0), 0, first_line(grid.factors)))

    return masses


def quarter_cell_grids(plan: Plan) -> Grids:
    import gridflow.solver

    with mock.patch("gridflow.solver.mixture_masses", quarter_cell_masses(gridflow.solver.mixture_masses)):
        return run_grids(plan, SilentTally())


def grids_of(case: gridflow.Case, on_grid: Callable | None = None) -> Grids:
    energy = None if on_grid is None else Spoiled(case.energy.load(Path(case.directory)), on_grid=on_grid)
    return run_grids(plan_of(case, energy), SilentTally())


def heated(case: gridflow.Case, factor: float) -> gridflow.Case:
    changes = {"flow.temperature": factor * case.flow.temperature}
    return case.replace(changes | {f"flow.diffusion.{n}": factor * d for n, d in case.flow.diffusion.items()})


# ------------------------------------------------------------------------------------------------ one case, all faults
class Row(NamedTuple):
    """size : the relative error of the speed, else 0; found : quantities that fail, "stopped" for a run that ended, or nothing."""

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


def failing(case: gridflow.Case, experiment: Experiment) -> tuple[Judgement, tuple[str, ...]]:
    judgement = judge(case, experiment, GENEROUS)
    names = [q.name for q, o in zip(experiment.plan.quantities, judgement.outcome, strict=True) if o == "fail"]
    return judgement, (*names, *(["start"] if "fail" in experiment.start.outcome else []))


class Trial:
    """A right case, its experiment, and the same with one side replaced."""

    def __init__(self, case: gridflow.Case) -> None:
        self.case = case
        self.plan = plan_of(case, None)
        self.particles = Remembered(case)
        self.grids = run_grids(self.plan, SilentTally())
        self.right = self.experiment()
        judgement, wrong = failing(case, self.right)
        if wrong:
            raise ValueError(f"{case.name} fails without a fault in {', '.join(wrong)}; choose a case that passes")
        self.level = float(judgement.detects.min())

    def experiment(self, grids: Grids | None = None, simulator: Simulator | None = None) -> Experiment:
        runs = Runs(self.plan, simulator or self.particles)
        return compared(runs, runs.time_step(SilentTally()), grids or self.grids, SilentTally())

    def row(self, side: str, fault: str, make: Callable[[], Any], size: float = 0.0) -> Row:
        """What the verdict says to a faulty side, Grids or a Simulator."""
        try:
            other = make()
            found = failing(self.case, self.experiment(**{"grids" if side == "grid" else "simulator": other}))[1]
        except gridflow.SolveError:
            found = ("stopped",)
        return Row(self.case.name, side, fault, size, self.level, found)

    def identity(self) -> int:
        """Numbers of the experiment that a fault that does nothing changes, on both sides together."""
        energy = Spoiled(self.case.energy.load(Path(self.case.directory)))
        other = self.experiment(run_grids(plan_of(self.case, energy), SilentTally()), Simulator(self.case, energy))
        mine, its = (
            [e.verdict.distance, *(s.distance for s in e.random), e.time_step, e.grids.coarse] for e in (self.right, other)
        )
        pairs = list(zip(mine, its, strict=True))
        return sum(int((a != b).sum()) for a, b in pairs)

    def rows(self) -> list[Row]:
        rows = [*self.speeds(), *self.velocities()]
        if first_line(self.case.grid().factors) is not None:
            rows += self.places()
        if self.case.flow.temperature > 0:
            make = {"particles": lambda: Simulator(heated(self.case, HOT)), "grid": lambda: grids_of(heated(self.case, HOT))}
            rows += [self.row(side, "temperature +5 %", make[side]) for side in make]
        return rows

    def speeds(self) -> list[Row]:
        """A whole side in faster or slower time."""
        case, step = self.case, ABOVE * self.level
        faults = {"speed +1.2 detects": 1 + step, "speed −1.2 detects": 1 - step, "time × 2": 2.0}
        rows = []
        for name, f in faults.items():
            if f > 0:
                rows.append(self.row("particles", name, partial(Hurried, case, f), f - 1))
                rows.append(self.row("grid", name, partial(grids_of, heated(case, f), partial(scaled_grid, factor=f)), f - 1))
        if case.scheme.label == "entropic JKO":
            f = 1 + step
            rows.append(
                self.row("grid", "τ + 1.2 detects", partial(grids_of, heated(case, f), partial(scaled_grid, factor=f)), f - 1)
            )
        return rows

    def velocities(self) -> list[Row]:
        """The velocity alone, which is the whole speed where nothing diffuses; sizes only there."""
        case, rows = self.case, []
        whole = case.flow.temperature == 0 and not case.flow.diffusion and not case.flow.reaction.acts
        for name, f in {"velocity +2 %": 1.02, "velocity −2 %": 0.98}.items():
            size = f - 1 if whole else 0.0
            rows.append(self.row("particles", name, partial(self.spoiled, partial(scaled_particles, factor=f)), size))
            rows.append(self.row("grid", name, partial(grids_of, case, partial(scaled_grid, factor=f)), size))
        rows.append(self.row("particles", "sign", partial(self.spoiled, last_sign), np.inf))
        rows.append(self.row("grid", "sign", partial(grids_of, case, partial(scaled_grid, factor=-1.0)), np.inf))
        rows.append(self.row("particles", "half domain +10 %", partial(self.spoiled, partial(half_of_particles, factor=HALF))))
        rows.append(self.row("grid", "half domain +10 %", partial(grids_of, case, partial(half_of_grid, factor=HALF))))
        return rows

    def places(self) -> list[Row]:
        """The start and the walls."""
        case = self.case
        return [
            self.row("particles", "start ¼ cell off", partial(Displaced, case, quarter_cell)),
            self.row("grid", "start ¼ cell off", partial(quarter_cell_grids, self.plan)),
            self.row("particles", "deviation +10 %", partial(Displaced, case, partial(wider, factor=WIDE))),
            self.row("particles", "walls clip", partial(clipped, case)),
        ]

    def spoiled(self, change: Callable) -> Simulator:
        return Simulator(self.case, Spoiled(self.case.energy.load(Path(self.case.directory)), on_particles=change))


# ------------------------------------------------------------------------------------------------------- the cases
SMALL = {
    "exact": None,
    "particles.counts": [16, 64, 256],
    "particles.ensembles": 8,
    "particles.verdict": {"count": 512, "ensembles": 8},
    "validation.times": 3,
}
"""Few particles: what they detect is coarse, and is stated as such by the verdict."""


def walled() -> gridflow.Case:
    """The Ornstein–Uhlenbeck flow between walls that hold much of the mass."""
    return gridflow.load_case("ornstein-uhlenbeck").replace(
        {
            "exact": None,
            "space.x": {"kind": "interval", "bounds": [-1.0, 1.0], "cells": 64},
            "initial": [{"density": {"x": {"kind": "cosine", "amplitude": 0.6}}}],
            "time": {"stop": 0.5, "save": 4},
        }
    )


def small_cases() -> list[gridflow.Case]:
    """One for each kind of energy and scheme: a network, noise between walls, a transport that ξ does not drive, JKO steps."""
    noisy = {"particles.verdict.count": 8192, "particles.integrator": {"kind": "rk2", "step": 0.02}}
    return [
        gridflow.load_case("teacher-1d-quadratic").replace({**SMALL, "space.theta.cells": 64, "time.stop": 1.0, "time.save": 5}),
        walled().replace({**SMALL, **noisy}),
        gridflow.load_case("mmd-sobolev").replace(
            {
                **SMALL,
                "energy.modes": 12,
                "space.x.cells": 64,
                "time": {"stop": 1.0, "save": 5},
                "particles.integrator.step": 0.1,
            }
        ),
        gridflow.load_case("teacher-1d-quadratic-jko").replace({**SMALL, "space.theta.cells": 64, "scheme.tau": 0.05}),
    ]


def all_cases() -> list[gridflow.Case]:
    """Every shipped case, as in a quick validation, with few particles."""
    return [walled(), *(quickened(gridflow.load_case(name)).replace(SMALL) for name in shipped_cases())]
