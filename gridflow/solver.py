"""The only time loop on the grid: a case in, a density over time out.

The loop saves at the times of the case, counts steps, checks the mass after each, writes checkpoints and shows progress. Why it
stopped is the status of the dataset (`solve`).
"""

import time
import warnings
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gridflow.case.case import Case
from gridflow.compiled import on_compilation
from gridflow.energy.base import Energy, prediction_of
from gridflow.errors import SolveError, require
from gridflow.log import LOG
from gridflow.output.checkpoint import Checkpoint, read_checkpoint, remove_checkpoints, write_checkpoint
from gridflow.output.dataset import Ending, FileWriter, MemoryWriter, Record, check_output, layout_of, part_path, records_of
from gridflow.output.schema import RECORDS, REPORTS, RESERVED
from gridflow.progress import Progress, progress_for, shown
from gridflow.scheme.base import State, Stepper
from gridflow.scheme.watch import Watch
from gridflow.space.concentration import concentration_warnings
from gridflow.space.distances import wasserstein1
from gridflow.space.walls import ON_GRID, largest_shares, wall_shares, wall_warnings
from gridflow.sums.choice import Use, reductions
from gridflow.threads import blas_threads

if TYPE_CHECKING:
    import xarray

MASS_ERROR_MAX = 1e-12
"""Relative mass error that no step may exceed: finite volumes conserve mass up to summation round-off."""
CHECKPOINT_SECONDS = 30.0
"""A lost machine costs at most this much work."""


@dataclass
class Counters:
    """What the loop carries beside the state of the scheme, restored by `resume`.

    last_step : length of the last step; mass : at the start; mass_error : the largest relative one; at_walls : largest share of
    the mass at the walls of each interval
    """

    steps: int = 0
    saved: int = 0
    last_step: float = 0.0
    mass: float = 1.0
    mass_error: float = 0.0
    wall_seconds: float = 0.0
    at_walls: dict[str, float] = field(default_factory=dict)


def solve(
    case: Case,
    output: str | Path | None = None,
    *,
    energy: Energy | None = None,
    overwrite: bool = False,
    resume: bool = False,
    progress: Progress | bool | None = None,
    threads: int | None = None,
) -> "xarray.Dataset":
    """The dataset of a case, solved on its grid, and written to the NetCDF file `output` if given.

    Parameters
    ----------
    case : from `gridflow.load_case`
    output : path of a new .nc file. While the run lasts it is called NAME.nc.part, with NAME.nc.checkpoint beside it
    energy : an energy of one's own in Python, instead of the one in the case (see `gridflow.energy.base`)
    overwrite : replace an existing file
    resume : continue an interrupted run of the same case
    progress : True shows how far the run is: a bar on a terminal or in a notebook, else lines on stderr. Default nothing
    threads : of BLAS, sweeps and sums; default that of the environment variable GRIDFLOW_THREADS, else 1 (`gridflow.threads`)

    The attribute `status` of the dataset is "completed", "steady" (dissipation below time.steady), "interrupted" (Ctrl-C),
    "unconverged: how many steps" (where the scheme goes on from them) or "failed: reason", with the last good state saved. An
    interrupted run with an output leaves the part and the checkpoint for `resume`. The attribute `warnings`, if there, names in
    one line each what makes the result doubtful: mass at the walls of an interval (`gridflow.space.walls`), or all in one cell.

    The numbers of an energy of one's own are compared with each other at the start (`gridflow.energy.check`) and along the run
    (`gridflow.scheme.balance`), of which a Python warning tells too.

    >>> case = gridflow.load_case("ornstein-uhlenbeck").replace({"space.x.cells": 64, "time.save": 3})
    >>> ds = gridflow.solve(case)
    >>> ds.attrs["status"], dict(ds["density"].sizes)
    ('completed', {'time': 3, 'x': 64})
    >>> ds.attrs["mass_error_max"] <= 1e-12, bool(ds["energy"][-1] < ds["energy"][0])
    (True, True)

    Raises InputError for wrong input, before anything is written.
    """
    path = None if output is None else Path(output)
    without_file = (overwrite or resume) and path is None
    require(not without_file, "overwrite or resume without an output", "both need a file", "name the output")
    run = finished(case, energy, path, overwrite, resume, progress, threads)
    for doubt in run.watch.warnings():
        warnings.warn(doubt, stacklevel=2)
    from gridflow.output.opening import with_directory

    return with_directory(run.writer.dataset(), case.directory)


def solve_compared(case: Case, energy: Energy) -> "xarray.Dataset":
    """The dataset of a case with an energy whose numbers have been compared before."""
    return finished(case, energy, None, False, False, None, None, compare=False).writer.dataset()


def solve_to_file(
    case: Case,
    output: Path,
    *,
    overwrite: bool = False,
    resume: bool = False,
    progress: Progress | None = None,
    threads: int | None = None,
) -> Ending:
    """What `solve` writes, without a dataset in memory: the attributes of the file, and its first and last numbers."""
    return finished(case, None, output, overwrite, resume, progress, threads).ended


def finished(
    case: Case,
    energy: Energy | None,
    path: Path | None,
    overwrite: bool,
    resume: bool,
    progress: Progress | bool | None,
    threads: int | None,
    compare: bool = True,
) -> "Run":
    """A run from its checks to its end; compare : whether the numbers of an energy of one's own, at the start."""
    if path is not None:
        check_output(path, overwrite, resume)
    check_one_energy(case, energy)
    shows = shown(progress, lambda: progress_for(case.name, case.time.stop))
    with blas_threads(threads), on_compilation(shows.compiling), reductions(case.reductions) as use:
        run = Run(case, energy, path, resume, shows, use, compare)
        LOG.info("%r starts at time %g", case, run.state.time)
        run.ended = run.result()
        LOG.info("%s: %s after %d steps", case.name, run.ended.attrs["status"], run.counters.steps)
        return run


def check_one_energy(case: Case, energy: Energy | None) -> None:
    """Raises InputError for an energy of one's own beside the exact solution of another."""
    allowed, fix = "one of the two", 'use case.replace({"exact": None})'
    require(energy is None or case.exact is None, "an energy of one's own for a case with [exact]", allowed, fix)


class Run:
    """One run of a case: its parts, and the loop. ended : what it leaves beside its records, at the end."""

    ended: Ending

    def __init__(
        self,
        case: Case,
        energy: Energy | None,
        path: Path | None,
        resume: bool,
        progress: Progress,
        use: Use,
        compare: bool = True,
    ) -> None:
        self.case, self.path, self.progress, self.use = case, path, progress, use
        problem = case.problem(energy)
        problem.check_start()
        self.problem, self.grid, self.bound = problem, problem.grid, problem.bound
        self.watch = Watch(problem, energy, compare)
        first = problem.grid.factors[0]
        self.line = first if len(problem.grid.factors) == 1 and first.one_dimensional else None
        self.stepper: Stepper = case.scheme.init(problem)
        self.watch.begin(self.stepper)
        rising = ", ".join(term.stated for term in problem.terms if not term.lowers_energy)
        why = "that ξ does not drive" if problem.driven else f"with {rising}, whose energy may rise"
        may_wait = case.time.steady == 0 or problem.lowers_energy
        require(may_wait, f"time.steady for a flow {why}", "steady = 0", "remove time.steady")
        self.times = case.time.save_times()
        self.counters = Counters()
        if resume and path is not None:
            self.state = self.restored_state(path)
        else:
            self.state = self.stepper.start(problem.start / self.grid.volume)
            self.counters.mass = self.grid.integrate(self.state.density)
            self.watch.start(self.state)
        self.exact = None if case.exact is None else case.exact.solution(problem)
        if case.exact is not None and self.exact is not None:
            case.exact.check(problem, self.times)
            for time_saved in self.times[: self.counters.saved]:  # the same steps as without an interruption
                self.exact(time_saved)
        saved = self.counters.saved
        layout = layout_of(case, self.grid, self.bound.data, self.records(), self.watch.identity)
        layout.attrs.update({**self.bound.attributes, **self.watch.attributes()})
        if problem.gibbs is not None:
            why = "the energy is not convex" if problem.keeps_mass else "the mass is free"
            layout.attrs["free_energy_bound"] = "free_energy_gap" if self.bound.convex and problem.keeps_mass else f"none: {why}"
        if path is not None and saved == 0:
            remove_checkpoints(path)  # of an earlier run under this name
        self.writer = MemoryWriter(layout) if path is None else FileWriter(path, layout, saved)
        self.began = time.monotonic() - self.counters.wall_seconds
        self.checkpointed = time.monotonic()

    def records(self) -> dict[str, tuple[str, str]]:
        """Units and long names of the numbers of every save, by name."""
        without = REPORTS - {*self.stepper.reports, *self.problem.diagnostics}
        if self.case.exact is None:
            without |= {"error_w1", "error_l1"}
        if self.line is None:  # W1 to the exact solution is computed in one dimension
            without |= {"error_w1"}
        taken = sorted(set(self.bound.diagnostics) & {*RECORDS, *RESERVED})
        require(not taken, f"an energy that records {taken}", "names that no dataset of gridflow has", "rename its diagnostics")
        return {**{n: RECORDS[n] for n in RECORDS if n not in without}, **self.bound.diagnostics}

    @property
    def saved_time(self) -> float:
        """The last saved time; negative where there is none."""
        return self.times[self.counters.saved - 1] if self.counters.saved else -1.0

    def result(self) -> Ending:
        """Runs to the end, or until it stops: what it leaves beside its records."""
        status = "completed"
        try:
            for target in self.times[self.counters.saved :]:
                self.step_to(target)
                self.save_state()
                if self.is_steady():
                    status = "steady"
                    break
        except SolveError as error:
            status = f"failed: {error}"
        except KeyboardInterrupt:
            status = "interrupted"
        finally:
            self.progress.close()
        if self.state.time > self.saved_time and (status != "interrupted" or self.path is None):
            self.save_state()  # the last good state
        return self.ending(status)

    def step_to(self, target: float) -> None:
        """Steps to the save time `target`, or to a steady state before it. Raises SolveError where no step can follow."""
        counters = self.counters
        interval = target - max(0.0, self.saved_time)
        while self.state.time < target and not self.is_steady():
            if counters.steps >= self.case.time.max_steps:
                raise SolveError(f"{self.case.time.max_steps} steps done at time {self.state.time:.6g}; raise time.max_steps")
            left = target - self.state.time
            if self.state.dt * (1 + 1e-9) < left < 2 * self.state.dt:  # two equal steps rather than a long and a tiny one
                left /= 2
            new = self.stepper.step(self.state, left, interval)
            taken = new.time - self.state.time
            if target - new.time <= 1e-14 * target:  # round-off of the sum of the steps
                new = replace(new, time=target)
            change = abs(self.grid.integrate(new.density) / counters.mass - 1)
            mass_error = change if self.stepper.conserves_mass else 0.0  # else the mass is part of the solution
            if not mass_error <= MASS_ERROR_MAX:
                raise SolveError(f"relative mass error {mass_error:.2e} at time {new.time:.6g}")
            counters.steps += 1
            counters.last_step = taken
            counters.mass_error = max(counters.mass_error, mass_error)
            self.watch.after_step(self.state, new)
            self.state = new
            self.progress.update(new, counters.steps, counters.mass_error)
            if self.path is not None and time.monotonic() - self.checkpointed > CHECKPOINT_SECONDS:
                self.save_checkpoint(self.path)

    def is_steady(self) -> bool:
        """Whether the dissipation is below time.steady; the cheap measure of the last step is confirmed before it counts."""
        steady, state = self.case.time.steady, self.state
        if steady == 0 or self.counters.steps == 0 or abs(state.dissipation) > steady:
            return False
        return abs(self.stepper.dissipation(state.density, state.evaluation)) <= steady

    def save_state(self) -> None:
        """Appends a record of the current state."""
        state, grid = self.state, self.grid
        masses = state.density * grid.volume
        numbers = {
            "energy": state.free_energy,
            "dissipation": self.stepper.dissipation(state.density, state.evaluation),
            "mass": grid.integrate(state.density),
            "boundary_mass": grid.boundary_mass(state.density),
            "density_min": state.density_min,
            "steps": self.counters.steps,
            "time_step": self.counters.last_step,
            **self.stepper.report(state),
        }
        numbers |= self.problem.diagnose(state.density, state.evaluation)
        if self.exact is not None:
            exact = self.exact(state.time)
            numbers["error_l1"] = float(abs(masses - exact).sum())
            if self.line is not None:
                numbers["error_w1"] = wasserstein1(masses, exact, self.line)
        prediction = prediction_of(self.bound, masses, state.evaluation)
        if prediction is not None and self.bound.data is not None:
            prediction = self.bound.data.in_dataset(prediction)
        self.writer.append(Record(state.time, state.density, prediction, numbers))
        self.counters.at_walls = largest_shares(wall_shares(grid, state.density), self.counters.at_walls)
        self.watch.after_save(state)
        self.counters.saved += 1

    def ending(self, status: str) -> Ending:
        """Adds the status and the certificates to what was saved; its file is complete, or can be resumed."""
        claims = self.stepper.energy_decreases
        but = "viscous_work and round-off" if "viscous_work" in self.stepper.reports else "round-off"
        if status in ("completed", "steady") and self.state.unconverged > 0:
            status = f"unconverged: {self.state.unconverged:.0f} of {self.counters.steps} steps ended before their tolerance"
        self.counters.wall_seconds = time.monotonic() - self.began
        attrs: dict[str, Any] = {
            "status": status,
            "wall_seconds": self.counters.wall_seconds,
            "mass_error_max": self.counters.mass_error,
            "energy_decreases": f"guaranteed up to {but}" if claims else "not claimed by this scheme and energy",
            "energy_rise_max": self.state.rise,
            "energy_roundoff": self.state.rise_roundoff,
            **self.use.attributes,
        }
        if not self.stepper.conserves_mass:
            attrs["mass_free"] = "the reaction changes the mass"
        warned = wall_warnings(self.grid.factors, self.counters.at_walls, ON_GRID)
        warned += [*concentration_warnings(self.grid, self.state.density), *self.stepper.warnings(self.state)]
        if lines := warned + self.watch.warnings():
            attrs["warnings"] = "\n".join(lines)
        if isinstance(self.writer, MemoryWriter):
            return self.writer.finish(attrs)
        if status == "interrupted":
            self.save_checkpoint(self.writer.path)
            return self.writer.suspend(attrs)
        result = self.writer.finish(attrs)
        remove_checkpoints(self.writer.path)
        return result

    def save_checkpoint(self, path: Path) -> None:
        """Writes what `restored_state` reads; records of the part come first, so that a checkpoint never counts a lost record."""
        state, counters = self.state, self.counters
        numbers = {
            "case": self.case.text(),
            "reports": state.reports,
            "state": {f.name: getattr(state, f.name) for f in fields(state) if isinstance(getattr(state, f.name), float)},
            "counters": {**vars(counters), "wall_seconds": time.monotonic() - self.began},
            "watch": self.watch.numbers(),
        }
        write_checkpoint(path, Checkpoint({**state.arrays, "density": state.density}, numbers))
        self.checkpointed = time.monotonic()

    def restored_state(self, path: Path) -> State:
        """The state of the newest checkpoint; counts what was done. Raises InputError for files that do not fit together."""
        checkpoint, part = read_checkpoint(path), part_path(path)
        numbers, arrays = checkpoint.numbers, dict(checkpoint.arrays)
        anew = "start anew with --overwrite"
        received = "--resume with a case that differs from the interrupted one"
        fix = f"repeat the same --set options, or {anew}"
        require(numbers["case"] == self.case.text(), received, "the same case and settings", fix)
        require(part.is_file(), f"{part.name!r} is missing beside its checkpoint", "both files", anew)
        self.counters = Counters(**numbers["counters"])
        complete = records_of(part) >= self.counters.saved
        require(complete, f"{part.name!r} holds fewer records than its checkpoint counts", "files of one run", anew)
        saved = numbers["state"]
        state = self.stepper.start(arrays.pop("density"), saved["time"], saved["dt"])
        self.watch.resume(numbers.get("watch", {}), state, saved["free_energy"], anew)
        return replace(state, **saved, arrays=arrays, reports=numbers["reports"])
